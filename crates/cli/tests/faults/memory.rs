//! Memory that is short: frames, huge pages, what may be locked, and what the machine has at all.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use netmem::{
    device::{Device, Verdict},
    mem::{
        Audit, DropReason, Packet, PageTier, Pool, PoolConfig, PoolHandle, Region, audit::Owner,
    },
    xdp::{Port, RingSizes, XdpMode},
};
use netmem_cli::responder::{Answer, Responder};
use netmem_host::{
    lab::skip,
    maps::{Kind, look},
    source::Root,
};
use netmem_wire::{
    MacAddr,
    filter::{self, Action, ResponderConfig, Rule, Rules},
};

use crate::support::{Bed, PATIENCE, Respond, Traces, has_programs, json, run, scenario, turn};

/// A port with its own pool of 64 frames on the server's interface, for as long as a test looks at it.
struct Held {
    port: Port,
    handle: PoolHandle,
    responder: Responder,
}

impl Held {
    /// Opens it in the calling thread, which is in the server's namespace.
    fn open(at: &Place, fill: u32) -> Self {
        let region = Region::builder(64 * 2048).tiers(&[PageTier::Base4K]).build().unwrap();
        let config = PoolConfig { frames: Some(64), ..PoolConfig::default() };
        let handle = Pool::new(region, config).unwrap().handle();
        let rings = RingSizes { rx: 64, tx: 64, fill, completion: 64 };
        let port =
            Port::builder(&at.interface, filter::responder(&ResponderConfig::ipv4(&[at.address])))
                .modes(&[XdpMode::Native])
                .rings(rings)
                .name("netmem_respond")
                .open(&handle)
                .unwrap();
        let responder = Responder::new(MacAddr(at.mac), &ResponderConfig::ipv4(&[at.address]));
        Self { port, handle, responder }
    }

    /// Answers until `until` says so.
    fn answer(&mut self, mut until: impl FnMut() -> bool) {
        let responder = &self.responder;
        while !until() {
            self.port.receive(64, &mut (), |packet| responder.verdict(packet));
            self.port.wait(Duration::from_millis(1)).unwrap();
        }
    }

    fn audit(&self) -> Audit {
        Audit::of(self.handle.pool(), [self.handle.walk(), self.port.walk()])
    }

    /// The audit after the end.
    fn close(self) -> Audit {
        let closed = self.port.close();
        let audit = Audit::of(self.handle.pool(), [self.handle.walk(), closed.walk]);
        assert!(audit.is_ok(), "{:?}", audit.findings);
        assert_eq!(audit.held, 0);
        audit
    }
}

/// Where a [`Held`] is opened.
#[derive(Clone)]
struct Place {
    interface: String,
    address: std::net::Ipv4Addr,
    mac: [u8; 6],
}

impl Place {
    fn of(bed: &Bed) -> Self {
        let mac = bed.lab.server_link().mac;
        Self { interface: bed.interface().to_owned(), address: bed.server_ip(), mac }
    }
}

/// Packets are kept until no frame is left for the kernel to receive into, which it counts. Those that
/// are answered late and those that are dropped give their frames back, and traffic goes on.
#[test]
fn starved_fill_ring() {
    scenario("memory::starved_fill_ring", |bed| {
        let at = Place::of(bed);
        // The program is on before the first request, so that the kernel answers none.
        let step = Arc::new(AtomicU32::new(0));
        let opened = Arc::clone(&step);
        let server: JoinHandle<()> =
            bed.lab.server.spawn("server", move || starve_and_release(&at, &opened)).unwrap();
        wait_for(&step, 1);
        let traffic = bed.traffic();
        server.join().unwrap();
        let score = traffic.stop();
        assert!(score.right > 32 + 100, "the late ones and those after: {score:?}");
        assert!(score.missing > 0, "those that found no frame: {score:?}");
    });
}

fn starve_and_release(at: &Place, step: &AtomicU32) {
    let mut held = Held::open(at, 64);
    step.store(1, Ordering::Release);
    let mut kept: Vec<Packet> = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while kept.len() < 64 || held.port.statistics().unwrap().rx_fill_ring_empty_descs == 0 {
        assert!(Instant::now() < deadline, "{} kept", kept.len());
        held.port.receive(64, &mut kept, |_| Verdict::Keep);
        held.port.wait(Duration::from_millis(1)).unwrap();
    }
    assert!(held.handle.alloc().is_none(), "every frame is held");
    let audit = held.audit();
    assert!(audit.is_ok(), "{:?}", audit.findings);
    assert_eq!((audit.held, audit.owners[Owner::User]), (64, 64));
    // Half of them get their late answer, the others are dropped.
    let mut late = kept.split_off(32);
    kept.into_iter().for_each(|packet| packet.discard(DropReason::QueuePurge));
    for packet in &mut late {
        let Answer::Reply { len_bytes } = held.responder.answer(packet.bytes_mut()) else {
            panic!("a request of the test's: {:?}", packet.bytes());
        };
        packet.trim(u32::try_from(packet.len() - len_bytes).unwrap()).unwrap();
    }
    assert_eq!(held.port.transmit(&mut late.into()).unwrap(), 32);
    let received = held.port.progress().received;
    let deadline = Instant::now() + PATIENCE;
    let mut since = 0;
    while since < 300 {
        assert!(Instant::now() < deadline, "traffic goes on: {since}");
        let mut turns = 0..10;
        held.answer(|| turns.next().is_none());
        since = held.port.progress().received - received;
    }
    let audit = held.close();
    assert_eq!(audit.counts.dropped[DropReason::FullRing], 0);
}

/// A program takes every free frame of the pool: allocation fails and is counted, the port goes on
/// with those it has; when they come back, they can be had again.
#[test]
fn exhausted_pool() {
    scenario("memory::exhausted_pool", |bed| {
        let at = Place::of(bed);
        let step = Arc::new(AtomicU32::new(0));
        let (theirs, reached) =
            (Arc::clone(&step), |step: &AtomicU32, at: u32| step.load(Ordering::Acquire) >= at);
        let server = bed.lab.server.spawn("server", move || {
            let mut held = Held::open(&at, 16);
            let taken: Vec<Packet> = std::iter::from_fn(|| held.handle.alloc()).collect();
            assert_eq!(taken.len(), 64 - 16);
            let failed = held.handle.pool().statistics().alloc_fail;
            assert!(failed > 0 && held.handle.alloc().is_none());
            assert_eq!(held.handle.pool().statistics().alloc_fail, failed + 1);
            theirs.store(1, Ordering::Release);
            held.answer(|| reached(&theirs, 2));
            assert!(held.handle.alloc().is_none(), "still");
            taken.into_iter().for_each(Packet::consume);
            held.handle.alloc().expect("what came back").consume();
            theirs.store(3, Ordering::Release);
            held.answer(|| reached(&theirs, 4));
            held.close().counts
        });
        wait_for(&step, 1);
        // Half of its frames at a time: the other half may still be on its way out.
        bed.assert_bursts_answered(30, 8);
        step.store(2, Ordering::Release);
        wait_for(&step, 3);
        bed.assert_bursts_answered(30, 8);
        step.store(4, Ordering::Release);
        let counts = server.unwrap().join().unwrap();
        assert_eq!((counts.created, counts.dropped.total()), (49, 0));
        assert!(counts.transmitted >= 2 * 30 * 8, "{counts:?}");
    });
}

fn wait_for(step: &AtomicU32, at: u32) {
    let deadline = Instant::now() + PATIENCE;
    while step.load(Ordering::Acquire) < at {
        assert!(Instant::now() < deadline, "the other side gets to step {at}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

const NR_HUGEPAGES: &str = "/proc/sys/vm/nr_hugepages";

/// The number of reserved 2 MiB pages, changed until this is dropped, by a panic too.
struct HugePages {
    before: String,
}

impl HugePages {
    /// Asks for `count` pages; says why not, where the kernel cannot.
    fn set(count: u64) -> Result<Self, String> {
        let read =
            || fs::read_to_string(NR_HUGEPAGES).map_err(|e| format!("read {NR_HUGEPAGES}: {e}"));
        if !fs::read_to_string("/proc/meminfo").unwrap().contains("Hugepagesize:       2048 kB") {
            return Err("the default huge page is not one of 2 MiB".into());
        }
        let guard = Self { before: read()? };
        let mut got = String::new();
        // Memory in pieces may be in one piece a moment later, and pages in use be given back.
        for _ in 0..50 {
            fs::write(NR_HUGEPAGES, count.to_string())
                .map_err(|error| format!("write {NR_HUGEPAGES}: {error}"))?;
            got = read()?;
            if got.trim() == count.to_string() {
                return Ok(guard);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(format!("the kernel reserves {} of {count} huge pages", got.trim()))
    }

    fn free() -> u64 {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
        let line = meminfo.lines().find_map(|line| line.strip_prefix("HugePages_Free:")).unwrap();
        line.trim().parse().unwrap()
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        let restored = fs::write(NR_HUGEPAGES, self.before.trim());
        assert!(
            restored.is_ok() || std::thread::panicking(),
            "restore {NR_HUGEPAGES}: {restored:?}"
        );
    }
}

/// No huge page is reserved: asked for nothing else, one message with what to do; asked for a list,
/// the next tier, and the reason in the report.
#[test]
fn huge_pages_absent() {
    let test = "memory::huge_pages_absent";
    scenario(test, |bed| {
        let _none = match HugePages::set(0) {
            Ok(none) => none,
            Err(why) => return skip(test, &why),
        };
        let words = ["respond", bed.interface(), "--ip", "192.0.2.2", "--pages", "2m"];
        let ran = bed.netmem_in_server(&words);
        let figures = "2m: cannot allocate memory (ENOMEM): needs 4 pages of 2m, 0 of 0 are free";
        let hint = "hint: add 4k to the list of page sizes";
        ran.assert_refused(4, &["map memory 8388608 bytes", figures, hint]);

        let mut respond = Respond::start(bed, &["--json", "--pages", "2m,4k"]);
        bed.assert_bursts_answered(10, 64);
        let memory = &respond.interrupt().assert_ended_well()["memory"];
        assert_eq!(memory["page_bytes"], 4096, "{memory}");
        let refused = &memory["refused"][0];
        assert_eq!((&refused["tier"], &refused["errno"]), (&"2m".into(), &12.into()), "{memory}");
        assert!(refused["why"].as_str().unwrap().contains("0 of 0 are free"), "{memory}");
    });
}

/// A huge page that has nothing to do with packets is not taken for packet memory by `maps`: not without an
/// AF_XDP socket, and not beside one whose memory is elsewhere and reaches further.
///
/// Planted and caught: every huge page a UMEM; the reach of the fill ring not looked at.
#[test]
fn huge_pages_without_packets() {
    let test = "memory::huge_pages_without_packets";
    scenario(test, |bed| {
        let _reserved = match HugePages::set(1) {
            Ok(reserved) => reserved,
            Err(why) => return skip(test, &why),
        };
        let plain = Region::builder(2 << 20).tiers(&[PageTier::Huge2M]).build().unwrap();
        let lengths = |kind| {
            let space = look(&Root::live(), std::process::id()).unwrap();
            let of_kind = space.mappings.iter().filter(|area| area.class.kind == kind);
            of_kind.map(|area| area.mapping.len_bytes()).collect::<Vec<_>>()
        };
        assert_eq!((lengths(Kind::HugePages), lengths(Kind::Umem)), (vec![2 << 20], vec![]));
        let with_socket = || {
            let region = Region::builder(8 << 20).tiers(&[PageTier::Base4K]).build().unwrap();
            let handle = Pool::new(region, PoolConfig::default()).unwrap().handle();
            let rules = Rules::new([Rule::new("all", "icmp".parse().unwrap(), Action::Take)]);
            let _port = Port::builder(bed.interface(), rules).open(&handle).unwrap();
            (lengths(Kind::HugePages), lengths(Kind::Umem))
        };
        let (huge, umem) = bed.lab.server.run(with_socket).unwrap();
        // This process may have larger memory of other tests, which a guess takes first.
        assert_eq!((huge, umem.len()), (vec![2 << 20], 1));
        assert!(umem[0] >= 8 << 20, "{umem:?}");
        drop(plain);
    });
}

/// Huge pages are reserved: the whole lab runs on them, and they are free again afterwards, of a
/// responder that is killed too.
#[test]
fn huge_pages_present() {
    let test = "memory::huge_pages_present";
    scenario(test, |bed| {
        let _some = match HugePages::set(32) {
            Ok(some) => some,
            Err(why) => return skip(test, &why),
        };
        let before = HugePages::free();
        let words = ["lab", "--pages", "2m", "--bursts", "20", "--latency", "0", "--flood", "1"];
        let ran = run(&[&words[..], &["--json"]].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let report = json(&ran.stdout);
        assert_eq!(report["memory"]["page_bytes"], 2 << 20, "{report}");
        assert_eq!(report["memory"]["refused"].as_array().unwrap().len(), 0, "{report}");
        assert_eq!((&report["ok"], &report["audit"]["ok"]), (&true.into(), &true.into()));
        assert_free_again(before);

        let mut respond = Respond::start(bed, &["--json", "--pages", "2m"]);
        assert_eq!(HugePages::free(), before - 4, "8 MiB are in use");
        bed.assert_bursts_answered(5, 64);
        respond.child.kill().unwrap();
        respond.child.wait().unwrap();
        assert_free_again(before);
    });
}

/// The kernel unpins them a little after the socket is closed.
fn assert_free_again(pages: u64) {
    let since = Instant::now();
    while HugePages::free() != pages {
        assert!(since.elapsed() < PATIENCE, "{} of {pages} huge pages are free", HugePages::free());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// More frames than the machine has memory for, where the kernel would let them be mapped and kill
/// for them, and where it would not: refused at once, with the figures, and nobody is killed.
#[test]
fn more_than_the_machine_has() {
    let test = "memory::more_than_the_machine_has";
    // Should the refusal be missing, the limit keeps the machine from harm.
    if !has_programs(test, &["prlimit"]) {
        return;
    }
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
    let figure = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    };
    if figure("MemAvailable:") >= 60 << 30 {
        return skip(test, "more memory is free than can be asked for");
    }
    scenario(test, |bed| {
        let killed = || {
            let text = fs::read_to_string("/proc/vmstat").unwrap();
            text.lines().find(|line| line.starts_with("oom_kill ")).map(str::to_owned)
        };
        let before = killed();
        // Not what is free now: others may free some meanwhile. And as many as may be asked for.
        let all_that_there_is = (figure("MemTotal:") / 4096).min(16_777_216).to_string();
        for frames in [all_that_there_is.as_str(), "16777216"] {
            for pages in ["thp", "4k", "thp,4k"] {
                let words =
                    ["respond", bed.interface(), "--ip", "192.0.2.2", "--frame-bytes", "4096"];
                let words = [&words[..], &["--frames", frames, "--pages", pages]].concat();
                let started = Instant::now();
                let ran = bed.netmem_in_server_by(&["prlimit", "--as=2147483648"], &words);
                ran.assert_refused(
                    4,
                    &["map memory", "needs ", "MiB are free", "MemAvailable", "hint: "],
                );
                assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
            }
        }
        assert_eq!(killed(), before);
        let ran = bed.netmem_in_server(&[
            "respond",
            bed.interface(),
            "--ip",
            "192.0.2.2",
            "--frames",
            "16777216",
        ]);
        if ran.code != Some(0) {
            let hugetlb = "1g: cannot allocate memory (ENOMEM): needs 32 pages of 1g";
            ran.assert_refused(4, &["map memory 34359738368 bytes", hugetlb, "hint: free memory"]);
        }
    });
}

/// 64 KiB may be locked and CAP_IPC_LOCK is missing: the limit is named with what is needed. What fits
/// works, up to the last byte, though each refused mode and each close is accounted until the kernel
/// gets to it.
#[test]
fn locked_memory_limit() {
    let test = "memory::locked_memory_limit";
    if !has_programs(test, &["prlimit", "setpriv"]) {
        return;
    }
    scenario(test, |bed| {
        let wrapper = [
            "prlimit",
            "--memlock=65536:65536",
            "setpriv",
            "--bounding-set",
            "-ipc_lock,-sys_resource",
            "--inh-caps=-all",
        ];
        let words = ["respond", bed.interface(), "--ip", "192.0.2.2"];
        for (frames, needed) in [("4096", "8388608"), ("33", "67584")] {
            let words = [&words[..], &["--frames", frames]].concat();
            let limit = format!(
                "RLIMIT_MEMLOCK is 65536 bytes for all AF_XDP memory of this user, {needed} are needed"
            );
            let cause = format!(
                "register umem of {frames} frames of 2048 bytes: no buffer space available (ENOBUFS)"
            );
            // It waits for no page here. A busy machine may slow down one start, and not each.
            let is_refused_at_once = |_| {
                let started = Instant::now();
                let ran = bed.netmem_in_server_by(&wrapper, &words);
                ran.assert_refused(4, &[&cause, &limit, "ulimit -l", "CAP_IPC_LOCK"]);
                started.elapsed() < Duration::from_millis(500)
            };
            assert!((0..10).any(is_refused_at_once), "at once");
        }
        for frames in ["16", "32"] {
            let mut respond = Respond::start_by(bed, &wrapper, &["--json", "--frames", frames]);
            bed.assert_bursts_answered(20, 8);
            respond.interrupt().assert_ended_well();
        }
    });
}

/// The tests' own guard: what a test changed is put back when it panics.
#[test]
fn huge_pages_are_put_back() {
    let test = "memory::huge_pages_are_put_back";
    let Some(_turn) = turn(test) else { return };
    let (traces, before) = (Traces::now(), fs::read_to_string(NR_HUGEPAGES).unwrap());
    let panicked = std::thread::spawn(|| {
        let _some = HugePages::set(2);
        panic!("planned");
    });
    assert!(panicked.join().is_err());
    assert_eq!(fs::read_to_string(NR_HUGEPAGES).unwrap(), before);
    traces.assert_nothing_more();
}
