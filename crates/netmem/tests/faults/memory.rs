//! Slots that run out and come back, huge pages that are taken away, and what ten ports leave behind.

use std::{
    env, fs,
    process::Command,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use netmem::{
    Result,
    device::{Device, Verdict},
    link::Link,
    mem::{
        Audit, Packet, PageTier, Pool, PoolConfig, PoolHandle, Region, audit::Owner,
        region::Sharing,
    },
    xdp::{RingSizes, XdpMode},
};
use netmem_host::lab::{missing_privilege, skip};

use crate::{
    bed::{Bed, PATIENCE, WEST, assert_closed, frame, handle},
    traffic::{Seen, Traffic, by, lost, receive, receive_until, settle, wait_until},
};

/// The program holds every slot while frames go on coming: the kernel counts what finds the fill ring
/// empty. When the slots come back, the same socket receives again, by nothing but receive and wait.
#[test]
fn lab_fill_starved_then_refilled() {
    if let Some(missing) = missing_privilege() {
        return skip("lab_fill_starved_then_refilled", &missing);
    }
    for mode in [XdpMode::Native, XdpMode::Generic] {
        let bed = Bed::new(1);
        let starve = || {
            let handle = handle(64);
            let rings = RingSizes { rx: 64, tx: 64, fill: 64, completion: 64 };
            let mut port = by(mode).rings(rings).open(&handle).unwrap();
            let traffic = Traffic::start(&bed.west);
            let mut kept: Vec<Packet> = Vec::new();
            let deadline = Instant::now() + PATIENCE;
            let empty =
                |port: &netmem::xdp::Port| port.statistics().unwrap().rx_fill_ring_empty_descs;
            while kept.len() < 64 || empty(&port) < 100 {
                assert!(Instant::now() < deadline, "{mode:?}: {} kept, {port:?}", kept.len());
                port.receive(64, &mut kept, |_| Verdict::Keep);
                port.wait(Duration::from_millis(5)).unwrap();
            }
            assert!(handle.alloc().is_none(), "{mode:?}: every slot is held");
            let audit = Audit::of(handle.pool(), [handle.walk(), port.walk()]);
            assert!(audit.is_ok(), "{mode:?}: {audit:?}");
            assert_eq!((audit.held, audit.owners[Owner::User]), (64, 64), "{mode:?}");
            // What lies in the slots is still what came, and each slot has its own.
            let mut seen = Seen::default();
            for packet in kept {
                seen.note(packet.bytes());
                packet.consume();
            }
            receive(&mut port, &mut seen, 1000);
            let sent = traffic.stop();
            settle(&mut port, &mut seen);
            let statistics = port.statistics().unwrap();
            assert!(statistics.rx_fill_ring_empty_descs <= lost(&statistics), "{statistics:?}");
            assert!(
                seen.count() + lost(&statistics) <= u64::from(sent),
                "{mode:?}: {statistics:?}"
            );
            let walk = port.close().walk;
            let audit = Audit::of(handle.pool(), [walk, handle.walk()]);
            assert_closed(&audit);
            assert_eq!(audit.counts.received, seen.count(), "{mode:?}");
        };
        bed.mid.run(starve).unwrap();
    }
}

const NR_HUGEPAGES: &str = "/proc/sys/vm/nr_hugepages";

/// The number of reserved 2 MiB pages, changed until this is dropped, by a panic too. One test at a
/// time has it.
struct HugePages {
    before: String,
    _turn: MutexGuard<'static, ()>,
}

impl HugePages {
    /// Reserves `count` pages; records `test` as skipped where that cannot be.
    fn reserve(test: &str, count: u64) -> Option<Self> {
        static TURN: Mutex<()> = Mutex::new(());
        if let Some(missing) = missing_privilege() {
            skip(test, &missing);
            return None;
        }
        if !fs::read_to_string("/proc/meminfo").unwrap().contains("Hugepagesize:       2048 kB") {
            skip(test, "the default huge page is not one of 2 MiB");
            return None;
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let pages = Self { before: fs::read_to_string(NR_HUGEPAGES).unwrap(), _turn: turn };
        // Where memory is in pieces for the moment, the kernel reserves fewer.
        let deadline = Instant::now() + PATIENCE;
        let got = loop {
            Self::set(count);
            let got = fs::read_to_string(NR_HUGEPAGES).unwrap();
            if got.trim() == count.to_string() || Instant::now() >= deadline {
                break got;
            }
            thread::sleep(Duration::from_millis(100));
        };
        if got.trim() != count.to_string() {
            skip(test, &format!("the kernel reserves {} of {count} huge pages", got.trim()));
            return None;
        }
        Some(pages)
    }

    fn set(count: u64) {
        fs::write(NR_HUGEPAGES, count.to_string()).unwrap();
    }

    /// A figure of /proc/meminfo.
    fn figure(name: &str) -> u64 {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        let restored = fs::write(NR_HUGEPAGES, self.before.trim());
        assert!(restored.is_ok() || thread::panicking(), "{restored:?}");
    }
}

/// Pages that are mapped and pinned stay, whatever the number of reserved pages is set to.
#[test]
fn lab_huge_pages_taken_away() {
    let Some(_pages) = HugePages::reserve("lab_huge_pages_taken_away", 16) else { return };
    let bed = Bed::new(1);
    let check = || {
        // Another test's region may have them for a while.
        let mut region = None;
        wait_until("four pages are to be had", || {
            region = Region::builder(8 << 20).tiers(&[PageTier::Huge2M]).build().ok();
            region.is_some()
        });
        let region = region.unwrap();
        assert_eq!(region.report().tier, PageTier::Huge2M);
        let handle = Pool::new(region, PoolConfig::default()).unwrap().handle();
        let mut port = by(XdpMode::Native).open(&handle).unwrap();
        let mut seen = Seen::default();
        let traffic = Traffic::start(&bed.west);
        receive(&mut port, &mut seen, 300);
        HugePages::set(0);
        // A neighbour's that is being built has some that are its own already, and still free.
        wait_until("none is free", || HugePages::figure("HugePages_Free:") == 0);
        // Other tests' regions may have some as well.
        assert!(HugePages::figure("HugePages_Surp:") >= 4, "in use, and nobody's reserve");
        // Every slot is written to and read: the device's by traffic, the others here.
        receive(&mut port, &mut seen, 4096);
        write_and_read(&handle);
        traffic.stop();
        settle(&mut port, &mut seen);
        let walk = port.close().walk;
        assert_closed(&Audit::of(handle.pool(), [walk, handle.walk()]));
    };
    bed.mid.run(check).unwrap();
    // The kernel unpins them a little after the socket is closed.
    wait_until("they are free", || HugePages::figure("HugePages_Total:") == 0);
}

/// The pages go at any moment between the look at what is free and the mapping: a region has all of its
/// memory, or there is none and the reason is told.
#[test]
fn lab_huge_pages_taken_away_during_the_build() {
    const NAME: &str = "lab_huge_pages_taken_away_during_the_build";
    let Some(_pages) = HugePages::reserve(NAME, 4) else { return };
    let is_over = AtomicBool::new(false);
    let build = |sharing| -> Result<()> {
        let region = Region::builder(8 << 20).tiers(&[PageTier::Huge2M]).sharing(sharing);
        write_and_read(&Pool::new(region.build()?, PoolConfig::default())?.handle());
        Ok(())
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            for count in [0, 4].into_iter().cycle() {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                HugePages::set(count);
                thread::yield_now();
            }
        });
        let (mut built, mut refused) = (0, 0);
        let deadline = Instant::now() + PATIENCE;
        while (built < 50 || refused < 50) && Instant::now() < deadline {
            for sharing in [Sharing::Private, Sharing::Memfd] {
                match build(sharing) {
                    Ok(()) => built += 1,
                    Err(error) => {
                        refused += 1;
                        let error = error.to_string();
                        assert!(error.contains("needs 4 pages of 2m, "), "{error}");
                    }
                }
            }
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(built >= 50 && refused >= 50, "{built} built, {refused} refused");
    });
    // Nothing of either kind is left. What the kernel cannot take out at this moment goes a little later.
    wait_until("all pages are free and go", || {
        HugePages::set(0);
        HugePages::figure("HugePages_Total:") == 0
    });
}

/// Fills all free slots of the pool, then reads them back.
fn write_and_read(handle: &PoolHandle) {
    let fill = |number: usize| {
        let mut packet = handle.alloc()?;
        packet.put(1600).unwrap().fill(number.to_le_bytes()[0]);
        Some(packet)
    };
    let all: Vec<Packet> = (0..).map_while(fill).collect();
    assert!(all.len() >= 1024, "{} slots", all.len());
    for (number, packet) in all.into_iter().enumerate() {
        assert!(packet.bytes().iter().all(|&byte| byte == number.to_le_bytes()[0]));
        packet.consume();
    }
}

/// Set for the process that opens and closes ports, alone.
const ALONE: &str = "NETMEM_TEST_ALONE";

/// Open, traffic, close, ten times in one process and each mode: the queue is free at once, and no
/// descriptor and no mapping more than before.
#[test]
fn lab_teardown_ten_times() {
    const NAME: &str = "lab_teardown_ten_times";
    if let Some(missing) = missing_privilege() {
        return skip(NAME, &missing);
    }
    if env::var_os(ALONE).is_some() {
        return ten_times();
    }
    // In a process of its own, where nobody else opens or maps anything.
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", &format!("memory::{NAME}"), "--nocapture"])
        .env(ALONE, "1")
        .status();
    assert!(status.unwrap().success());
}

fn ten_times() {
    let bed = Bed::new(1);
    let handle = handle(4096);
    let frames: Vec<_> = (0..200).map(frame).collect();
    let mut before = None;
    let mut walks = Vec::new();
    let pool = std::sync::Arc::clone(handle.pool());
    let round = |mode| {
        let handle = pool.handle();
        let mut port = by(mode).open(&handle).unwrap();
        Bed::send(&bed.west, &frames);
        let mut seen = Seen::default();
        receive_until(&mut port, &mut seen, |_, seen| seen.count() == 200);
        let closed = port.close();
        assert_eq!(closed.quarantined, 0, "{mode:?}");
        assert_eq!(Link::by_name(WEST).unwrap().xdp, None);
        [closed.walk.counts_only(), handle.walk().counts_only()]
    };
    for number in 0..=10 {
        for mode in [XdpMode::Native, XdpMode::Generic] {
            walks.extend(bed.mid.run(|| round(mode)).unwrap());
            let mut audited = vec![handle.walk()];
            audited.extend(walks.iter().cloned());
            assert_closed(&Audit::of(handle.pool(), audited));
        }
        let left = (descriptors(), mappings());
        // The first round has what threads and the allocator keep for the next.
        let before = before.get_or_insert_with(|| left.clone());
        assert_eq!(left, *before, "after round {number}: {}", maps());
    }
}

/// What the process has open.
fn descriptors() -> Vec<String> {
    let entries = fs::read_dir("/proc/self/fd").unwrap();
    let target = |entry: fs::DirEntry| fs::read_link(entry.path()).ok();
    let open = entries.filter_map(|entry| target(entry.unwrap()));
    let mut open: Vec<_> = open.map(|target| target.to_string_lossy().into_owned()).collect();
    open.sort();
    open
}

/// How many mappings the process has, and their bytes without the heap, which the walks make grow.
fn mappings() -> (usize, usize) {
    let bytes = |line: &str| {
        let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let address = |text| usize::from_str_radix(text, 16).unwrap();
        if line.ends_with("[heap]") { 0 } else { address(end) - address(start) }
    };
    let maps = maps();
    (maps.lines().count(), maps.lines().map(bytes).sum())
}

fn maps() -> String {
    fs::read_to_string("/proc/self/maps").unwrap()
}
