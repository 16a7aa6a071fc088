//! Records to words and back, hostile pages, and a reader beside a writer.

use std::{
    sync::atomic::AtomicBool,
    thread,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::*;
use crate::{
    device::{Device, Verdict},
    fake::FakeKernel,
    mem::{Audit, DropReason, PageTier, Pool, PoolConfig, Region, audit::Owner},
    sync::Loads,
    sys::mmap::memfd,
    xdp::{Progress, RingSizes, Statistics},
};

/// A snapshot in which every figure is of `n`: a torn one has figures of two.
fn of(n: u32) -> Snapshot {
    let (wide, is_even) = (u64::from(n), n.is_multiple_of(2));
    let text = format!("n{n}");
    let ring = RingRecord { entries: n, level: wide };
    let mut pool = PoolRecord { slots: wide, frame_bytes: wide, ..PoolRecord::default() };
    Owner::ALL.into_iter().for_each(|owner| pool.owners[owner] = wide);
    let port = PortRecord {
        interface: text.as_str().into(),
        ifindex: n,
        netns_inode: is_even.then_some(wide),
        queue: n,
        mode: text.as_str().into(),
        need_wakeup: is_even,
        busy_poll: is_even,
        fill: ring,
        rx: ring,
        tx: ring,
        completion: ring,
        kernel_rx: wide,
        kernel_tx: wide,
        quarantined: wide,
        progress: Progress { filled: wide, received: wide, transmitted: wide, completed: wide },
        statistics: is_even.then_some(Statistics {
            rx_dropped: wide,
            rx_invalid_descs: wide,
            tx_invalid_descs: wide,
            rx_ring_full: wide,
            rx_fill_ring_empty_descs: wide,
            tx_ring_empty_descs: wide,
        }),
    };
    Snapshot {
        worker: Some(WorkerRecord {
            thread_id: n,
            cpu: n,
            batches: wide,
            empty_polls: wide,
            waits: wide,
        }),
        packets: Some(PacketRecord {
            received: wide,
            created: wide,
            cloned: wide,
            transmitted: wide,
            consumed: wide,
            held: wide,
            dropped: (0..n % 5).map(|_| (text.as_str().into(), wide)).collect(),
        }),
        regions: vec![RegionRecord {
            bytes: wide,
            page_bytes: wide,
            numa_node: is_even.then_some(n),
            tier: text.as_str().into(),
        }],
        pools: vec![pool],
        ports: vec![port; n as usize % 3],
    }
}

/// How long anything may take that must happen: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

fn page() -> Page {
    Page::create("test", Duration::from_secs(3600)).unwrap()
}

#[test]
fn what_is_published_is_read() {
    let page = Page::create("a command whose name is far too long", Duration::from_millis(7));
    let page = page.unwrap();
    let (mut first, mut second) = (page.area().unwrap(), page.area().unwrap());
    first.publish(&of(4));
    second.publish(&of(5));
    second.publish(&of(6));
    let before = boottime_ns();
    let read = read_fd(&page).unwrap();
    assert_eq!((read.pid, read.interval_ns), (process::id(), 7_000_000));
    assert_eq!(read.command.to_string(), "a command whose name is far too ");
    assert!(read.started_ns > 0 && read.started_ns <= before && read.read_ns >= before);
    assert_eq!(read.areas.len(), 2, "those that were given out");
    for (area, (publishes, n)) in read.areas.iter().zip([(1, 4), (2, 6)]) {
        assert_eq!((area.state, area.publishes), (AreaState::Live, publishes));
        assert_eq!((area.left_out, area.is_damaged), (0, false));
        assert!((read.started_ns..=before).contains(&area.published_ns));
        assert_eq!(area.snapshot, of(n));
    }
    drop(first);
    let read = read_fd(&page).unwrap();
    assert_eq!((read.areas[0].state, &read.areas[0].snapshot), (AreaState::Ended, &of(4)));
    assert_eq!(read.areas[1].state, AreaState::Live);
}

/// The ports go last and are counted; what is there is whole.
#[test]
fn records_without_room_are_left_out_and_counted() {
    let page = page();
    let mut area = page.area().unwrap();
    let mut snapshot = of(8);
    snapshot.ports = vec![snapshot.ports[0]; 100];
    area.publish(&snapshot);
    let read = read_fd(&page).unwrap();
    let area = &read.areas[0];
    let shown = area.snapshot.ports.len();
    assert!((10..100).contains(&shown), "{shown}");
    assert_eq!((area.left_out, area.is_damaged), (100 - shown as u64, false));
    snapshot.ports.truncate(shown);
    assert_eq!(area.snapshot, snapshot);
}

#[test]
fn areas_are_given_out_again_only_after_all_were() {
    let page = page();
    drop(page.area().unwrap());
    let mut areas: Vec<_> = (1..AREAS).map(|_| page.area().unwrap()).collect();
    let mut again = page.area().unwrap();
    again.publish(&of(1));
    assert!(page.area().unwrap_err().to_string().contains("all 256 areas have a worker"));
    let read = read_fd(&page).unwrap();
    assert_eq!((read.areas.len(), &read.areas[0].snapshot), (AREAS, &of(1)));
    areas.truncate(1);
    assert!(page.area().is_ok());
}

/// Kills: a worker that has ended taken for a stale one.
#[test]
fn silence_is_seen() {
    let page = Page::create("test", Duration::from_millis(20)).unwrap();
    let standing = || reader::found(1, true, read_fd(&page).unwrap()).standing;
    assert_eq!(standing(), Standing::Running, "no worker yet");
    let mut area = page.area().unwrap();
    thread::sleep(Duration::from_millis(260));
    assert_eq!(standing(), Standing::Stale);
    assert!(read_fd(&page).unwrap().areas[0].is_stale);
    // Unless the thread waits for a CPU just then.
    let patience = Instant::now() + PATIENCE;
    let runs = std::iter::repeat_with(|| {
        area.publish(&of(1));
        standing() == Standing::Running
    });
    let is_seen = runs.take_while(|_| Instant::now() < patience).any(|is_running| is_running);
    assert!(is_seen, "who has published is not stale");
    drop(area);
    thread::sleep(Duration::from_millis(260));
    assert_eq!(standing(), Standing::Running, "who has ended is not stale");
}

/// A file of the right name that anybody could write is no page, is not mapped, and is said to be there.
#[test]
fn a_file_without_seals_is_not_read() {
    let file = memfd(C_NAME, HEADER_BYTES + AREAS * AREA_BYTES, None).unwrap();
    let seals = "its seals are missing: F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_FUTURE_WRITE";
    let error = read_fd(&file).unwrap_err().to_string();
    assert!(error.contains(seals), "{error}");
    let error = of_process(process::id()).unwrap_err().to_string();
    assert!(error.contains(seals), "{error}");
    let census = all().unwrap();
    let ours = census.unreadable.iter().find(|(pid, _)| *pid == process::id()).unwrap();
    assert!(ours.1.to_string().contains(seals), "{}", ours.1);
}

/// A reader beside a writer that publishes as fast as it can gets whole states, each not older than the
/// one before, or says that it could not.
///
/// Kills: `try_read` that does not look at the sequence again. The fences, the memory orders and words
/// stored outside of the lock are the model's in `seqlock`: an x86-64 processor keeps most of the orders
/// without them.
#[test]
fn a_reader_beside_a_writer_sees_whole_states() {
    let page = page();
    let mut area = page.area().unwrap();
    area.publish(&of(0));
    let stop = AtomicBool::new(false);
    let (mut whole, mut seen) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let states: Vec<_> = (0..64).map(of).collect();
            let mut turn = states.iter().cycle();
            while !stop.load(Ordering::Relaxed) {
                area.publish(turn.next().unwrap());
            }
        });
        let _stop = Stop(&stop);
        let began = Instant::now();
        // For a while, and until there was enough where both wait for a CPU.
        while began.elapsed() < Duration::from_millis(1500)
            || (began.elapsed() < PATIENCE && (whole <= 20 || seen <= 10_000))
        {
            let read = read_fd(&page).unwrap();
            let area = &read.areas[0];
            if area.state == AreaState::Busy {
                assert_eq!(area.snapshot, Snapshot::default());
                continue;
            }
            assert!(!area.is_damaged, "{area:?}");
            assert!(area.publishes >= seen, "older than before");
            let n = area.snapshot.worker.unwrap().thread_id;
            assert_eq!(area.snapshot, of(n), "torn");
            // The first state was published once by hand.
            let published = u32::try_from((area.publishes + 62) % 64).unwrap();
            assert!(area.publishes == 1 || n == published, "{n} of {}", area.publishes);
            whole += u32::from(area.publishes > seen);
            seen = area.publishes;
        }
    });
    assert!(whole > 20 && seen > 10_000, "{whole} states seen, {seen} published");
}

/// Ends the writer, also when the reader's checks fail: its scope waits for it.
struct Stop<'flag>(&'flag AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Levels from indices are what the audit finds slot by slot, wherever the packets are.
#[test]
fn levels_are_what_an_audit_finds() {
    let region = Region::builder(64 * 2048).tiers(&[PageTier::Base4K]).build().unwrap();
    let config = PoolConfig { cache: 8, refill: 4, ..PoolConfig::default() };
    let handle = Pool::new(region, config).unwrap().handle();
    let sizes = RingSizes { rx: 16, tx: 8, fill: 16, completion: 8 };
    let (mut port, mut kernel) = FakeKernel::port(&handle, sizes, u32::MAX - 3);
    let mut record = PortRecord::new(&port);
    assert_eq!((record.interface.to_string(), record.tx.entries), ("fake".to_owned(), 8));
    let mut kept = Vec::new();
    let mut places = [0; Owner::ALL.len()];
    for round in 0..40u8 {
        for n in 0..round % 7 {
            kernel.deliver(&[n; 60]);
        }
        port.receive(u32::from(round % 5), &mut kept, |packet| match packet.bytes()[0] % 3 {
            0 => Verdict::Transmit,
            1 => Verdict::Keep,
            _ => Verdict::Drop(DropReason::IpCsum),
        });
        kept.truncate(usize::from(round % 6));
        let levels = record.update(&port);
        let audit = Audit::of(handle.pool(), [handle.walk(), port.walk()]);
        let by_levels = PoolRecord::of_levels(handle.pool(), [&levels]);
        assert_eq!(by_levels, PoolRecord::of_audit(handle.pool(), &audit), "round {round}");
        assert_eq!((record.rx.level, record.kernel_tx), (levels.rx, levels.kernel_tx));
        for (place, (_, count)) in places.iter_mut().zip(audit.owners.iter()) {
            *place += count;
        }
        let mut packets = PacketRecord::new();
        packets.set(&audit.counts);
        assert_eq!(packets.held, audit.held);
        assert_eq!(packets.dropped_total(), audit.counts.dropped.total());
    }
    let seen = |owner| places[owner as usize] > 0;
    assert!([Owner::Fill, Owner::Rx, Owner::User, Owner::Tx, Owner::Free].into_iter().all(seen));
}

fn words(values: &[u64]) -> Vec<AtomicU64> {
    values.iter().copied().map(AtomicU64::new).collect()
}

/// A header that a reader takes, for `areas` areas of `area_bytes`.
fn header(start_bytes: u64, area_bytes: u64, areas: u64) -> [u64; HEADER_WORDS] {
    let mut header = [0; HEADER_WORDS];
    header[..6].copy_from_slice(&[MAGIC, BYTE_ORDER, VERSION, start_bytes, area_bytes, areas]);
    header
}

/// Words that look like records now and then.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0..200u64,
        (0..9u64, 0..70u64).prop_map(|(kind, len)| kind << 32 | len),
        Just(u64::MAX),
    ]
}

proptest! {
    /// D6: whatever stands in a page, reading it ends, does not panic, and invents no records.
    ///
    /// Kills: a record's length not checked against the words that are left, and 0 taken; the number of
    /// drop reasons believed; the number of words in use not bounded.
    #[test]
    fn hostile_pages_are_read_without_harm(
        layout in prop_oneof![
            Just((128, 1024, 3)),
            (0..300u64, 0..2000u64, 0..5u64).prop_map(|(start, area, areas)| (start * 8, area, areas)),
            (any::<u64>(), any::<u64>(), any::<u64>()),
        ],
        body in prop::collection::vec(word(), 0..500),
        even in any::<bool>(),
    ) {
        let mut all = header(layout.0, layout.1, layout.2).to_vec();
        all.resize(16, 0);
        all.extend(&body);
        if even && layout == (128, 1024, 3) {
            for area in 0..3 {
                let sequence = 16 + area * 128;
                if let Some(word) = all.get_mut(sequence) {
                    *word = 2;
                }
                if let Some(word) = all.get_mut(sequence + 2) {
                    *word = 1;
                }
            }
        }
        let words = words(&all);
        if let Ok(page) = reader::report(&Loads::from(&words[..]), 5) {
            for area in page.areas {
                let snapshot = &area.snapshot;
                let records = snapshot.regions.len() + snapshot.pools.len() + snapshot.ports.len();
                prop_assert!(records + area.unknown_kinds.len() < all.len());
                let text = format!("{:?}", snapshot);
                prop_assert!(text.chars().all(|char| !char.is_control()));
            }
        }
    }

    /// Records come back as they went, with fields and kinds of a later version between them.
    #[test]
    fn records_come_back(n in any::<u32>(), more in prop::collection::vec(any::<u64>(), 0..9)) {
        let snapshot = of(n);
        let space = words(&[0; 1000]);
        let (used, left_out) = record::encode(&snapshot, &space);
        prop_assert_eq!(left_out, 0);
        let plain: Vec<u64> =
            space[..used].iter().map(|word| word.load(Ordering::Relaxed)).collect();
        // Behind each record one of an unknown kind, and behind the fields of each some more.
        let (mut later, mut rest, mut records) = (Vec::new(), &plain[..], 0);
        while let Some(&header) = rest.first() {
            let len = usize::try_from(header & 0xffff_ffff).unwrap();
            later.push(header + more.len() as u64);
            later.extend(&rest[1..len]);
            later.extend(&more);
            later.push(77 << 32 | (1 + more.len() as u64));
            later.extend(&more);
            rest = &rest[len..];
            records += 1;
        }
        for (words, unknown) in [(plain, 0), (later, records)] {
            let decoded = record::decode(&words);
            prop_assert_eq!(&decoded.snapshot, &snapshot);
            prop_assert_eq!(decoded.unknown_kinds, vec![77; unknown]);
            prop_assert!(!decoded.is_damaged);
            // Cut anywhere, it is damaged or shorter, and never longer.
            for cut in 0..words.len() {
                let decoded = record::decode(&words[..cut]);
                prop_assert!(decoded.is_damaged || decoded.snapshot != snapshot || unknown > 0);
            }
        }
    }
}
