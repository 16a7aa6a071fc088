//! A recorded process, and this one.
//!
//! Planted and caught: a packet ring taken for an rx ring; program headers that are not heeded; the guess
//! kept beside a UMEM that is confirmed; a guess written as certain; every page of a sparse mapping looked
//! at.

use std::{
    io::Write as _,
    os::fd::AsFd as _,
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use super::*;
use crate::sys::ForeignRing;

/// The process of the first article, on kernel 5.15: rings of 2048 entries with Rss 0, UMEM on a page of
/// 1 GiB.
fn recorded() -> AddressSpace {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/maps/5.15");
    look(&Root::at(folder), 996_529).unwrap()
}

fn this_process() -> AddressSpace {
    look(&Root::live(), std::process::id()).unwrap()
}

fn kinds(space: &AddressSpace, kind: Kind) -> Vec<&Area> {
    space.mappings.iter().filter(|area| area.class.kind == kind).collect()
}

#[test]
fn the_articles_rings_and_memory_are_found() {
    let space = recorded();
    assert_eq!(space.mappings.len(), 74);
    let [socket] = &space.sockets[..] else { panic!("{:?}", space.sockets) };
    assert_eq!(socket.inode, 671_873);
    let rings: Vec<_> = socket.rings.iter().map(|r| (r.ring, r.mapping, r.entries)).collect();
    let entries = Some(Entries::Exactly(2048));
    assert_eq!(
        rings,
        [
            (Ring::Rx, Some(0x7f75_f8ff_7000), entries),
            (Ring::Tx, Some(0x7f75_f8fe_e000), entries),
            (Ring::Fill, Some(0x7f76_2287_4000), entries),
            (Ring::Completion, Some(0x7f75_f900_0000), entries),
        ]
    );
    for ring in Ring::ALL {
        let [area] = kinds(&space, Kind::Ring(ring))[..] else { panic!("{ring:?}") };
        assert_eq!(
            (area.class.certainty, area.mapping.usage.rss_bytes),
            (Certainty::Certain, Some(0))
        );
    }
    let [umem] = kinds(&space, Kind::Umem)[..] else { panic!("{space:?}") };
    assert_eq!((umem.mapping.start, umem.class.certainty), (0x7f75_8000_0000, Certainty::Likely));
    assert_eq!(umem.mapping.usage.page_bytes, Some(1 << 30));
    let totals = space.totals;
    assert_eq!((totals.hugetlb_bytes, totals.umem_bytes), (Some(1 << 30), 1 << 30));
    assert_eq!(totals.rss_bytes, Some(7884 << 10), "the sum that the article prints");
    assert_eq!((totals.ring_bytes, totals.ring_bytes_outside_rss), (112 << 10, 112 << 10));
    assert_eq!(totals.mapped_bytes, 2_276_760 << 10);
    assert_eq!(kinds(&space, Kind::Heap).len(), 1);
    assert_eq!(kinds(&space, Kind::Kernel).len(), 3);
    // Without its path the program is a file with code, as libc, libpthread and ld are.
    assert_eq!(kinds(&space, Kind::LibraryCode).len(), 4);
    assert!(space.program.is_err() && kinds(&space, Kind::Code).is_empty());
}

/// Planted and caught: any mapping is enough; the socket alone is enough. That a look is repeated, the
/// command's test of testpmd shows: with one look it fails most of the time.
#[test]
fn a_socket_that_is_mapped_since_is_missed() {
    let mut space = recorded();
    let all: Vec<_> = space.mappings.iter().map(|area| area.mapping.clone()).collect();
    assert!(!space.lacks_socket_of(&all));
    let is_heap = |area: &Area| area.class.kind == Kind::Heap;
    space.mappings.retain(|area| !is_heap(area));
    assert!(!space.lacks_socket_of(&all), "the heap is no socket");
    space.mappings.retain(|area| area.class.kind != Kind::Ring(Ring::Tx));
    assert!(space.lacks_socket_of(&all), "three of its four rings");
}

#[test]
fn the_articles_program_is_known_by_its_path() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/maps/5.15/proc/996529");
    let mappings = smaps::parse(&fs::read(folder.join("smaps")).unwrap()).unwrap();
    let program = Some("/opt/example_sendicmpv4_default");
    let classes = classify(&mappings, &Evidence { program, ..Evidence::default() });
    let kinds: Vec<_> = classes.iter().take(5).map(|class| class.kind).collect();
    assert_eq!(kinds, [Kind::Code, Kind::ReadOnlyData, Kind::Data, Kind::Bss, Kind::Heap]);
    assert_eq!(classes[3].certainty, Certainty::Likely, "by its place alone");
}

#[test]
fn a_confirmed_umem_drops_the_guess() {
    let mut space = recorded();
    let other = kinds(&space, Kind::Anonymous)[0].mapping.clone();
    space.confirm_umem(other.start, "its owner says so");
    let [umem] = kinds(&space, Kind::Umem)[..] else { panic!("{space:?}") };
    assert_eq!((umem.mapping.start, umem.class.certainty), (other.start, Certainty::Certain));
    assert_eq!(space.mapping(0x7f75_8000_0000).unwrap().class.kind, Kind::HugePages);
    assert_eq!(space.totals.umem_bytes, other.len_bytes());
}

#[test]
fn a_packet_ring_is_no_rx_ring() {
    let text = b"1000-9000 rw-s 00000000 00:08 77 socket:[77]\n9000-d000 rw-s 00000000 00:08 78 socket:[78]\n";
    let mappings = smaps::parse(text).unwrap();
    let kind_of = |protocols: &BTreeMap<u64, String>| {
        let evidence = Evidence { protocols: Some(protocols), ..Evidence::default() };
        classify(&mappings, &evidence).iter().map(|class| class.kind).collect::<Vec<_>>()
    };
    let told = BTreeMap::from([(77, "PACKET".to_owned()), (78, "XDP".to_owned())]);
    assert_eq!(kind_of(&told), [Kind::PacketRing, Kind::Ring(Ring::Rx)]);
    assert_eq!(kind_of(&BTreeMap::new()), [Kind::Socket, Kind::Socket], "offset 0 proves nothing");
}

#[test]
fn this_program_is_known_by_its_sections() {
    let space = this_process();
    let has = |kind, section: &str| {
        let areas = kinds(&space, kind);
        assert!(
            areas.iter().any(|area| area.sections.iter().any(|s| s == section)),
            "{section}: {areas:#?}"
        );
    };
    has(Kind::Code, ".text");
    has(Kind::ReadOnlyData, ".rodata");
    has(Kind::Data, ".data");
    let bss_is_somewhere = [Kind::Data, Kind::Bss].into_iter().flat_map(|kind| kinds(&space, kind));
    assert!(bss_is_somewhere.into_iter().any(|area| area.sections.iter().any(|s| s == ".bss")));
    let here = this_process as *const () as u64;
    let code = kinds(&space, Kind::Code);
    assert!(code.iter().any(|area| area.mapping.contains(here)), "{here:#x}: {code:?}");
    assert_eq!(kinds(&space, Kind::Stack).len(), 1);
    assert!(!kinds(&space, Kind::LibraryCode).is_empty());
    assert!(space.paging_levels.is_ok_and(|levels| levels == 4 || levels == 5));
}

#[test]
fn stacks_of_threads_are_found() {
    let (tell, told) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let local = 0u8;
        tell.send(std::ptr::from_ref(&local) as u64).unwrap();
        let _ = ended.recv();
    });
    let address = told.recv().unwrap();
    let mut kind = None;
    // Until the thread waits.
    let patience = Instant::now() + Duration::from_secs(60);
    while Instant::now() < patience {
        let space = this_process();
        let area = space.mappings.iter().find(|area| area.mapping.contains(address));
        kind = area.map(|area| area.class.kind);
        if kind == Some(Kind::ThreadStack) {
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    drop(end);
    thread.join().unwrap();
    assert_eq!(kind, Some(Kind::ThreadStack));
}

#[test]
fn two_mappings_of_one_file_share_its_pages() {
    let file = memfd_create("netmem-test-shared", MemfdFlags::CLOEXEC).unwrap();
    File::from(file.try_clone().unwrap()).write_all(&[1; 16384]).unwrap();
    let (whole, part) = (
        ForeignRing::map(file.as_fd(), 0, 16384).unwrap(),
        ForeignRing::map(file.as_fd(), 8192, 8192).unwrap(),
    );
    for offset in [0, 4096] {
        assert!(whole.load_u32(8192 + offset) == part.load_u32(offset));
    }
    let space = this_process();
    let ours: Vec<_> = space
        .mappings
        .iter()
        .filter(|area| area.mapping.name.contains("netmem-test-shared"))
        .collect();
    assert_eq!(ours.len(), 2, "{ours:?}");
    let starts: Vec<_> = ours.iter().map(|area| area.mapping.start).collect();
    let shared = space.shared.iter().find(|shared| shared.mappings == starts);
    let shared = shared.unwrap_or_else(|| panic!("{:?}", space.shared));
    assert_eq!(shared.bytes, 8192);
    // Without CAP_SYS_ADMIN frames read as zero.
    let hidden = space.not_known.iter().any(|u| u.source.ends_with("pagemap"));
    let proof = if hidden { SharingProof::FileOffsets } else { SharingProof::PageFrames };
    assert_eq!((shared.proof, shared.pages_compared), (proof, if hidden { 0 } else { 2 }));
    assert!(kinds(&space, Kind::Ring(Ring::Rx)).is_empty() && space.sockets.is_empty());
}

#[test]
fn a_sparse_terabyte_takes_no_time() {
    const TIB: u64 = 1 << 40;
    let file = memfd_create("netmem-test-sparse", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, TIB).unwrap();
    let len = usize::try_from(TIB).unwrap();
    let maps = [0, 0].map(|offset| ForeignRing::map(file.as_fd(), offset, len).unwrap());
    for at in 0..64 {
        let place = usize::try_from(TIB / 64 * at).unwrap();
        assert_eq!(maps.each_ref().map(|map| map.load_u32(place)), [Some(0); 2]);
    }
    let started = Instant::now();
    let space = this_process();
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    let sparse = |area: &&Area| area.mapping.name.contains("netmem-test-sparse");
    let starts: Vec<_> =
        space.mappings.iter().filter(sparse).map(|area| area.mapping.start).collect();
    let shared = space.shared.iter().find(|shared| shared.mappings == starts).unwrap();
    assert_eq!(shared.bytes, TIB);
}

#[test]
fn who_is_not_there_is_stale() {
    let gone = look(&Root::live(), u32::MAX).unwrap_err();
    assert_eq!(gone.state, SourceState::Stale, "{gone}");
}

#[test]
fn stack_pointers_are_read() {
    let waiting = "202 0x7f 0x189 0x0 0x0 0x0 0xffffffff 0x7f1234567890 0x7f55\n";
    assert_eq!(stack_pointer(waiting), Some(0x7f12_3456_7890));
    assert_eq!(stack_pointer("-1 0x7ffc00 0x7f55\n"), Some(0x7f_fc00));
    for none in ["running\n", "", "1 2\n", "-1 7ffc 7f55\n"] {
        assert_eq!(stack_pointer(none), None, "{none}");
    }
}
