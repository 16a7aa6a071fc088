//! What the running kernel tells of its network memory, held against what it has: a source that it has
//! answers with what is there, and one that it lacks is absent, with the reason, and never an empty list.
//!
//! ```text
//!   /proc/kallsyms, release --> must this source answer?     near --- datagrams to all ---> far
//!                                    |                      (a lab's veth pair, or the interfaces
//!   netlink, /proc, cgroups --> what it says <-- held against --- of NETMEM_CASES_PAIR)
//! ```
//! The kernel's own symbols are the judge, because versions do not tell how a kernel was configured. In
//! the emulated machines of `cargo xtask vm` there are drivers and options that others lack: page pools
//! with statistics, socket diagnosis of AF_XDP, the memory controller on version 2.
//!
//! The environment is that of the other programs there (CONTRIBUTING.md): with `NETMEM_CASES_REPORT=1`
//! each case is a line on stdout. What this kernel cannot show is skipped as `kernel_sources::CASE`.
//!
//! Planted and caught, with 7.3 on virtio-net unless said: queues asked for by another command; NAPIs told
//! as none (both netdev_sources); pages in flight and their bytes exchanged, `alloc_fast` read from
//! `alloc_waive` (page_pools); `rx_dropped` read from another counter, a queue's AF_XDP mark from another
//! attribute (xdp_socket); `high` of memory.events read from `max`, `sock` of memory.stat from another line
//! and 0 where it is not (cgroup); softnet's columns exchanged (sampler). On 6.18: statistics of page pools
//! and AF_XDP sockets that are absent told as none (netdev_sources, xdp_socket, sampler).
#![allow(clippy::unwrap_used, reason = "a test: an error where none may be is a failure")]
#![allow(clippy::print_stdout, reason = "the protocol of xtask vm, and of the test's own child")]

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use netmem_bpf::asm::{Assembler, Helper, Reg, Size, xdp_md};
use netmem_bpf::{AttachMode, Frags, LoadSpec, Map, MapKind, MapSpec, Program, XdpAction, XdpLink};
use netmem_host::lab::{Lab, NetNs, missing_privilege, skip};
use netmem_host::netlink::{
    AdminState, Direction, InetDump, InetProtocol, InetSocket, Netdev, Route, SockDiag,
    SocketState, XdpSocket,
};
use netmem_host::proc::{Bounds, CgroupMounts, CgroupVersion, SocketCgroup, SocketCgroups};
use netmem_host::process::Cgroups;
use netmem_host::queues::{MappedQueue, PoolState, QueueMap, QueueSources};
use netmem_host::sample::{NamespaceChoice, Sampler};
use netmem_host::source::{Reading, Root, SourceState, Unavailable};
use netmem_host::sysctl::Machine;
use netmem_host::xdp::{Hold, Topic, survey};
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, XdpOptionsFlags, XdpUmemReg, XdpUmemRegFlags,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

const TEST: &str = "lab_kernel_sources";
/// The cases, in their order; each runs on a thread of its own.
const CASES: [(&str, Case); 5] = [
    ("netdev_sources", netdev_sources),
    ("page_pools", page_pools),
    ("xdp_socket", xdp_socket),
    ("cgroup", cgroup),
    ("sampler", sampler),
];
/// By which functions a kernel is known to have a source. Only what it was built with has a symbol.
const SYMBOLS: [(&str, &str); 7] = [
    ("netdev", "netdev_nl_dev_get_dumpit"),
    ("queues", "netdev_nl_queue_get_dumpit"),
    ("napis", "netdev_nl_napi_get_dumpit"),
    ("page-pools", "netdev_nl_page_pool_get_dumpit"),
    ("page-pool-statistics", "page_pool_get_stats"),
    ("queue-statistics", "netdev_nl_qstats_get_dumpit"),
    ("xdp-sockets", "xsk_diag_handler_dump"),
];
/// An emulated machine beside other work is slow.
const PATIENCE: Duration = Duration::from_secs(60);
/// In the environment of the process that holds sockets in a control group.
const HOLDER: &str = "NETMEM_SOURCES_HOLDER";
/// In front of what that process says.
const HOLDER_MARK: &str = "holder: ";
const PAYLOAD_LEN: usize = 1400;
/// Ethernet, IPv4 and UDP in front of it.
const HEADERS_LEN: usize = 14 + 20 + 8;

type Case = fn(&Bed) -> Outcome;

/// What came of a case.
enum Outcome {
    /// It passed; what this kernel said of itself.
    Pass(String),
    /// This kernel cannot show it.
    Impossible(String),
}

/// Two joined interfaces.
struct Bed {
    /// The namespaces that they are in; `None` for this one.
    lab: Option<Lab>,
    near: String,
    far: String,
}

#[test]
fn lab_kernel_sources() {
    if env::var_os(HOLDER).is_some() {
        return hold_sockets();
    }
    if let Some(missing) = missing_privilege() {
        return skip(TEST, &missing);
    }
    let bed = Bed::new();
    let mut failures = Vec::new();
    for (name, case) in CASES {
        let caught = thread::scope(|scope| {
            // Cases change their thread's namespace.
            let work = || catch_unwind(AssertUnwindSafe(|| case(&bed)));
            scope.spawn(work).join().unwrap()
        });
        let (result, why) = match caught {
            Ok(Outcome::Pass(said)) => ("pass", said),
            Ok(Outcome::Impossible(why)) => {
                skip(&format!("kernel_sources::{name}"), &why);
                ("impossible", why)
            }
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                failures.push(format!("{name}: {}", text.unwrap_or("panic")));
                ("fail", text.unwrap_or("panic").to_owned())
            }
        };
        let driver = bed.driver();
        report(&format!(
            "case={name} mode=none device={driver} busy_poll=0 result={result} why={why:?}"
        ));
    }
    report(&format!("done cases={}", CASES.len()));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What the netdev family answers, request by request.
fn netdev_sources(bed: &Bed) -> Outcome {
    bed.enter_far();
    let (far, root) = (bed.far_index(), Root::live());
    let sources = QueueSources::read(&root);
    check("netdev", &sources);
    let sources = match sources {
        Ok(sources) => sources,
        Err(why) => {
            assert_eq!(why.source, "open generic netlink family netdev");
            assert_eq!(QueueMap::read(&root), Err(why.clone()));
            return Outcome::Pass(why.to_string());
        }
    };
    check("queues", &sources.queues);
    check("napis", &sources.napis);
    check("page-pools", &sources.pools);
    check("page-pool-statistics", &sources.pool_statistics);
    check("queue-statistics", &sources.queue_statistics);
    check("xdp-sockets", &sources.xdp_sockets);
    let lacks = SYMBOLS.iter().filter(|(source, _)| lack(source).is_some());
    let lacks: Vec<_> = lacks.map(|(source, _)| *source).collect();
    match QueueMap::read(&root) {
        Err(why) => assert_eq!(Some(&why), sources.queues.as_ref().err()),
        Ok(map) => {
            let of_far = || map.queues.iter().filter(|mapped| mapped.queue.ifindex == far);
            let ids: Vec<_> = of_far().map(|m| (m.queue.direction, m.queue.id)).collect();
            assert!(ids.contains(&(Direction::Rx, 0)) && ids.contains(&(Direction::Tx, 0)));
            let has_napis = lack("napis").is_none();
            for mapped in of_far().filter(|_| has_napis) {
                assert_eq!(mapped.napi.map(|napi| napi.id), mapped.queue.napi_id, "{mapped:?}");
            }
            // Each source that is lacking is a gap of the map, and nothing else is.
            let parts = ["napis", "page-pools", "page-pool-statistics", "queue-statistics"];
            let lacking = parts.iter().chain(&["xdp-sockets"]).filter(|part| lacks.contains(*part));
            assert_eq!(map.gaps.len(), lacking.count(), "{:?}", map.gaps);
            assert!(map.gaps.iter().all(|gap| gap.state == SourceState::Absent), "{:?}", map.gaps);
        }
    }
    Outcome::Pass(format!("lacks {lacks:?}"))
}

/// Page pools of a NIC whose driver names them, while packets come, wait in a socket, and go.
fn page_pools(bed: &Bed) -> Outcome {
    const READ: u32 = 512;
    const HELD: u32 = 1000;
    bed.enter_far();
    if let Some(errno) = lack("page-pools") {
        return Outcome::Impossible(format!("this kernel does not tell of page pools {errno}"));
    }
    let pools = Netdev::open().unwrap().page_pools().unwrap();
    if !pools.iter().any(|pool| pool.ifindex == Some(bed.far_index())) {
        let (driver, kernel) = (bed.driver(), &kernel().machine);
        assert!(driver != "virtio_net" || !kernel.since(7, 3), "virtio_net 7.3 names its pools");
        return Outcome::Impossible(format!("the driver {driver} does not name its page pools"));
    }
    if lack("page-pool-statistics").is_some() {
        return Outcome::Impossible("CONFIG_PAGE_POOL_STATS is off".to_owned());
    }
    let (socket, sender) = (packet_socket(), bed.sender());
    let [first, other] = [bed.far_pool(), bed.near_pool()];
    let page_bytes = rustix::param::page_size() as u64;
    let came = || bed.far_queue().statistics.unwrap().rx_packets.unwrap();
    let came_before = came();
    let inflight = |state: &PoolState| {
        let pages = state.pool.inflight.unwrap();
        assert_eq!(state.pool.inflight_bytes, Some(pages * page_bytes), "pages of order 0");
        pages
    };
    for from in (0..READ).step_by(16) {
        send(&sender, from..from + 16);
        receive(&socket, from..from + 16);
    }
    let second = bed.far_pool();
    // Of a page at most two buffers are made, and as many as were used are filled in again, but for a
    // ring of 256 that may be half empty.
    let (took, put) = (taken(&second) - taken(&first), recycled(&second) - recycled(&first));
    assert!(took >= u64::from(READ / 2 - 128), "{took} pages for {READ} packets");
    assert!(put >= u64::from(READ / 4), "{put} pages put back of {READ} packets");
    let at_rest = inflight(&second);
    assert!(
        at_rest >= 128 && at_rest < u64::from(HELD / 2),
        "{at_rest} pages, a ring's and a cache's"
    );

    send(&sender, 0..HELD);
    wait_for("packets", || came() >= came_before + u64::from(READ + HELD));
    let held = inflight(&bed.far_pool());
    assert!(held >= u64::from(HELD / 2), "{HELD} packets wait in {held} pages");
    receive(&socket, 0..HELD);
    wait_for("pages given back", || inflight(&bed.far_pool()) < held);
    let last = bed.far_pool();
    assert!(recycled(&last) > recycled(&second));
    assert_eq!(came(), came_before + u64::from(READ + HELD), "counted by the driver");
    // The sender received nothing.
    assert_eq!((bed.near_pool().statistics, bed.near_pool().pool), (other.statistics, other.pool));
    Outcome::Pass(format!(
        "{READ} packets took {took} pages and put {put} back; inflight {at_rest}, {held} while {HELD} \
         packets waited, then {}",
        inflight(&last)
    ))
}

/// A bound AF_XDP socket that drops, by all that tells of it.
fn xdp_socket(bed: &Bed) -> Outcome {
    const DROPPED: u64 = 50;
    bed.enter_far();
    let family = AddressFamily::XDP;
    let open =
        || rustix::net::socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, None).unwrap();
    let umem = Umem::new();
    let (far, socket) = (bed.far_index(), open());
    umem.register(&socket);
    bind(&socket, SocketAddrXdpFlags::XDP_COPY, far);
    let sockets = MapSpec {
        kind: MapKind::XskMap,
        key_bytes: 4,
        value_bytes: 4,
        max_entries: 1,
        name: "nm_sources",
    };
    let sockets = Map::create(&sockets).unwrap();
    sockets.set_socket(0, socket.as_fd()).unwrap();
    let link = XdpLink::attach(&redirect(&sockets), far, AttachMode::Native).unwrap();
    // Nobody has filled the fill ring: each packet is dropped. A link that was reset may lose the first.
    let sender = bed.sender();
    let own = || sockopt::xdp_statistics(&socket).unwrap();
    wait_for("drops", || {
        send(&sender, 0..1);
        own().rx_dropped > 0
    });
    // Several may have been on their way until the link passed any.
    let before = settled("the last of them", || own().rx_dropped);
    send(&sender, 0..u32::try_from(DROPPED).unwrap());
    wait_for("all drops", || own().rx_dropped >= before + DROPPED);

    let own = own();
    assert_eq!(own.rx_dropped, before + DROPPED);
    assert!(own.rx_fill_ring_empty_descs.unwrap() >= own.rx_dropped, "{own:?}");
    let listed: Reading<Vec<XdpSocket>> =
        SockDiag::open().unwrap().xdp_sockets().map_err(|error| Unavailable::from(&error));
    check("xdp-sockets", &listed);
    if let Ok(listed) = &listed {
        let [told] = &listed[..] else { panic!("{listed:?}") };
        assert_eq!((told.inode, told.ifindex, told.queue), (inode(&socket), far, 0));
        umem.check(told);
        assert!(!told.umem.unwrap().is_zero_copy);
        assert_eq!(counters(told), own_counters(&socket));
    }
    let said = queue_says(bed, inode(&socket));
    drop((link, sockets, socket));
    if listed.is_ok() {
        let is_gone = || SockDiag::open().unwrap().xdp_sockets().unwrap().is_empty();
        wait_for("the end of the socket", is_gone);
        if bed.has_zero_copy() {
            zero_copy(&open(), &umem, far);
        }
    }
    let drops = format!("{} dropped; {said}", own.rx_dropped);
    Outcome::Pass(match listed {
        Ok(_) => drops,
        Err(why) => format!("{drops}; {why}"),
    })
}

/// A socket of the driver's own queue: told so by socket diagnosis and by the socket.
fn zero_copy(socket: &OwnedFd, umem: &Umem, ifindex: u32) {
    umem.register(socket);
    bind(socket, SocketAddrXdpFlags::XDP_ZEROCOPY, ifindex);
    let listed = SockDiag::open().unwrap().xdp_sockets().unwrap();
    umem.check(&listed[0]);
    assert!(listed[0].umem.unwrap().is_zero_copy);
    let options = sockopt::xdp_options(socket).unwrap();
    assert!(options.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY));
}

/// What the queue that a socket is bound to says of it, and what is made of that.
fn queue_says(bed: &Bed, inode: u32) -> String {
    let (root, kernel, pid) = (Root::live(), kernel(), std::process::id());
    let is_told = kernel.machine.since(6, 15) && kernel.has("queues");
    if let Some(tells) = Netdev::tells_xdp_sockets() {
        assert_eq!(tells, is_told, "what the kernel's type information says");
    }
    if lack("queues").is_none() {
        let map = QueueMap::read(&root).unwrap();
        let of_far = map.queues.iter().filter(|m| m.queue.ifindex == bed.far_index());
        for mapped in of_far {
            assert_eq!(mapped.queue.is_xdp_socket, is_told && mapped.queue.id == 0, "{mapped:?}");
            let listed: Vec<_> = mapped.xdp_sockets.iter().map(|socket| socket.inode).collect();
            let is_listed = lack("xdp-sockets").is_none() && mapped.queue.id == 0;
            assert_eq!(listed, if is_listed { vec![inode] } else { vec![] });
        }
    }
    let found = survey(Some(&bed.far)).unwrap();
    let [interface] = &found.interfaces[..] else { panic!("{found:?}") };
    let [program] = &interface.programs[..] else { panic!("{interface:?}") };
    let Hold::Link { holders, .. } = &program.hold else { panic!("{program:?}") };
    assert!(holders.iter().any(|process| process.pid == pid), "{holders:?}");
    let is_known = is_told || kernel.has("xdp-sockets");
    assert_eq!(interface.queues, is_known.then(|| vec![0]), "not told is not none");
    assert_eq!(found.gap(Topic::Queues).is_some(), !is_known, "{:?}", found.gaps);
    assert_eq!(found.gap(Topic::Sockets).is_some(), !kernel.has("xdp-sockets"));
    // Who holds a socket is known of processes that live in the namespace; here a thread is in a lab's.
    if bed.lab.is_none() {
        let whole = survey(None).unwrap();
        let all = whole.interfaces.iter().flat_map(|interface| &interface.sockets);
        let found = all.chain(&whole.unplaced).find(|socket| socket.inode == inode).unwrap();
        assert!(found.holders.iter().any(|process| process.pid == pid), "{found:?}");
        assert_eq!(found.info.is_some(), kernel.has("xdp-sockets"));
    }
    if is_told { "its queue says so" } else { "its queue does not tell" }.to_owned()
}

/// Socket memory of a control group of version 2, by a process that fills two queues in it.
fn cgroup(_: &Bed) -> Outcome {
    let root = Root::live();
    let Some(mount) = CgroupMounts::read(&root).unwrap().v2 else {
        return Outcome::Impossible("control groups of version 2 are not mounted".to_owned());
    };
    let controllers = fs::read_to_string(mount.mount_point.join("cgroup.controllers")).unwrap();
    if mount.group != "/" || !controllers.split_whitespace().any(|name| name == "memory") {
        // What is read then is version 1, or absent, and never a group without sockets.
        match SocketCgroup::of_process(&root, None) {
            Ok(own) => assert_eq!((own.version, own.tcp.is_some()), (CgroupVersion::V1, true)),
            Err(why) => assert_eq!(why.state, SourceState::Absent),
        }
        return Outcome::Impossible("version 2 has not the memory controller here".to_owned());
    }
    NetNs::create()
        .unwrap()
        .run(|| {
            Route::open().unwrap().set_state("lo", AdminState::Up).unwrap();
            fill_queues_in_a_group(&root, &mount.mount_point)
        })
        .unwrap()
}

fn fill_queues_in_a_group(root: &Root, mount: &Path) -> Outcome {
    let group = Group::make(mount);
    let mut holder = Holder::start();
    let pid = holder.child.id();
    fs::write(group.folder.join("cgroup.procs"), pid.to_string()).unwrap();
    let now = || SocketCgroup::of_process(root, Some(pid)).unwrap();
    let before = now();
    assert_eq!((before.group.as_str(), before.version), (group.path.as_str(), CgroupVersion::V2));
    assert_eq!((before.sock_bytes, before.tcp), (0, None));
    let listed = || SocketCgroups::read(root, Bounds::default()).unwrap();
    let is_listed = |all: &SocketCgroups| all.groups.iter().any(|of| of.group == group.path);
    assert!(!is_listed(&listed()));

    holder.tell("open", "full");
    let id = fs::metadata(&group.folder).unwrap().ino();
    let (mut queued, mut charged, mut sockets) = (0, 0, 0);
    let dump = InetDump::new(InetProtocol::Tcp);
    let add = |socket: &InetSocket| {
        if socket.cgroup_id == Some(id) {
            let is_end = socket.state == SocketState::Established;
            queued += u32::from(is_end) * (socket.rqueue.min(1) + socket.wqueue.min(1));
            charged += socket.memory.unwrap().charged_bytes();
            sockets += 1;
        }
    };
    SockDiag::open().unwrap().for_each_inet(dump, add).unwrap();
    assert_eq!((sockets, queued), (3, 2), "a listener, and two ends with a full queue each");
    assert_eq!(Cgroups::scan(root).unwrap().path(id), Some(group.path.as_str()));
    // The kernel adds its CPUs' counts up every two seconds, or when there is much to add.
    wait_for("sock of memory.stat", || now().sock_bytes.abs_diff(charged) <= 64 << 12);
    let full = now();
    assert!(full.sock_bytes > 256 << 10, "{full:?}");
    assert!(is_listed(&listed()));

    // Above memory.high the next allocation waits.
    assert_eq!(full.events.unwrap().high, 0);
    fs::write(group.folder.join("memory.high"), "4096").unwrap();
    holder.say("allocate");
    wait_for("an event", || now().events.unwrap().high > 0);
    fs::write(group.folder.join("memory.high"), "max").unwrap();
    holder.wait_for("allocated");
    let throttled = now();
    let has_pressure = group.folder.join("memory.pressure").exists();
    assert_eq!(throttled.memory_pressure.is_some(), has_pressure);
    let stalled_us = throttled.memory_pressure.map(|pressure| pressure.some.unwrap().total_us);
    assert!(stalled_us.is_none_or(|waited_us| waited_us > 0), "{throttled:?}");
    assert_eq!((throttled.events.unwrap().oom, throttled.events.unwrap().oom_kill), (0, 0));

    holder.tell("close", "closed");
    wait_for("an empty group", || now().sock_bytes == 0);
    assert!(!is_listed(&listed()));
    Outcome::Pass(format!(
        "sock {} of {charged} charged; high {}, stalled {stalled_us:?} us",
        full.sock_bytes,
        throttled.events.unwrap().high
    ))
}

/// Two whole samples, with packets in between.
fn sampler(bed: &Bed) -> Outcome {
    const SENT: u32 = 64;
    bed.enter_far();
    let (far, sender) = (bed.far_index(), bed.sender());
    let mut sampler = Sampler::new(Root::live(), NamespaceChoice::Own, 10);
    let earlier = sampler.sample().unwrap();
    let socket = packet_socket();
    send(&sender, 0..SENT);
    receive(&socket, 0..SENT);
    let later = sampler.sample().unwrap();
    assert!(later.taken_ns > earlier.taken_ns + earlier.took_ns);
    let received = [&earlier, &later].map(|sample| {
        let links = sample.namespaces[0].links.as_ref().unwrap();
        let link = links.iter().find(|link| link.counters.ifindex == far).unwrap();
        assert_eq!(link.name, bed.far);
        link.counters.rx_packets
    });
    assert_eq!(received[1] - received[0], u64::from(SENT));
    let softnet =
        later.machine.softnet.as_ref().unwrap().since(earlier.machine.softnet.as_ref().unwrap());
    let processed: u32 = softnet.iter().map(|(_, of)| of.processed).sum();
    assert!(processed >= SENT, "{softnet:?}");
    let packets = later.namespaces[0].packet_sockets.as_ref().unwrap();
    let own = packets.iter().find(|of| of.socket.inode == inode(&socket)).unwrap();
    assert!(own.owners.iter().any(|owner| owner.pid == std::process::id()));

    let mut absent = Vec::new();
    for source in later.sources() {
        let is_judged = SYMBOLS.iter().any(|(name, _)| *name == source.name);
        if is_judged {
            assert_eq!(source.state == SourceState::Ok, lack(source.name).is_none(), "{source:?}");
        }
        match (source.state, &source.reason) {
            (SourceState::Ok, None) => {}
            (SourceState::Absent, Some(why)) if !why.is_empty() => {
                absent.push(format!("{} ({why})", source.name));
            }
            _ => panic!("{source:?}"),
        }
    }
    let whole = [
        "protocol-memory",
        "softnet",
        "slabs",
        "buddyinfo",
        "sockstat",
        "counters",
        "links",
        "sockets",
    ];
    let is_ok = |name| later.sources().any(|of| (of.name, of.state) == (name, SourceState::Ok));
    whole.into_iter().for_each(|name| assert!(is_ok(name), "{name}"));
    let slabs = later.machine.slabs.as_ref().unwrap();
    assert!(slabs.iter().any(|of| of.name == "skbuff_head_cache" && of.bytes > 0), "{slabs:?}");
    Outcome::Pass(format!("{} sources, absent {absent:?}", later.sources().count()))
}

/// What this kernel has.
struct Kernel {
    machine: Machine,
    symbols: BTreeSet<String>,
}

impl Kernel {
    fn has(&self, source: &str) -> bool {
        let symbol = SYMBOLS.iter().find(|(name, _)| *name == source).unwrap().1;
        // Statistics without netlink to tell them are there for ethtool only.
        let is_reached = source != "page-pool-statistics" || self.has("page-pools");
        is_reached && self.symbols.contains(symbol)
    }
}

fn kernel() -> &'static Kernel {
    static KERNEL: OnceLock<Kernel> = OnceLock::new();
    KERNEL.get_or_init(|| {
        // A kernel that has socket diagnosis as a module loads it now.
        let _ = SockDiag::open().and_then(|mut diag| diag.xdp_sockets());
        let text = fs::read_to_string("/proc/kallsyms").unwrap();
        let names = text.lines().filter_map(|line| line.split_whitespace().nth(2));
        let wanted = names.filter(|name| SYMBOLS.iter().any(|(_, symbol)| symbol == name));
        Kernel {
            machine: Machine::read(&Root::live()).unwrap(),
            symbols: wanted.map(str::to_owned).collect(),
        }
    })
}

/// How a source that this kernel lacks must say so; `None`: it must answer.
fn lack(source: &str) -> Option<&'static str> {
    match source {
        source if kernel().has(source) => None,
        "netdev" | "xdp-sockets" => Some("(ENOENT)"),
        _ if !kernel().has("netdev") => Some("(ENOENT)"),
        "page-pool-statistics" => Some("CONFIG_PAGE_POOL_STATS is off"),
        _ => Some("(EOPNOTSUPP)"),
    }
}

/// Holds what a source says against what the kernel has.
#[track_caller]
fn check<T: Debug>(source: &str, reading: &Reading<T>) {
    match (reading, lack(source)) {
        (Ok(_), None) => {}
        (Err(why), Some(end)) => {
            assert_eq!(why.state, SourceState::Absent, "{source}: {why}");
            assert!(why.reason.ends_with(end), "{source}: {why}");
        }
        (reading, lack) => panic!("{source}: must it be absent? {lack:?}: {reading:?}"),
    }
}

impl Bed {
    fn new() -> Self {
        match env::var("NETMEM_CASES_PAIR") {
            Ok(pair) if !pair.is_empty() => {
                let (near, far) = pair.split_once(',').unwrap();
                Self { lab: None, near: near.to_owned(), far: far.to_owned() }
            }
            _ => {
                let lab = Lab::builder().build().unwrap();
                let (near, far) = (lab.client_link().name.clone(), lab.server_link().name.clone());
                Self { lab: Some(lab), near, far }
            }
        }
    }

    /// Moves the thread to where the receiving interface is.
    fn enter_far(&self) {
        self.lab.iter().for_each(|lab| lab.server.enter().unwrap());
    }

    fn driver(&self) -> String {
        let path = fs::read_link(format!("/sys/class/net/{}/device/driver", self.far));
        let name = |path: PathBuf| Some(path.file_name()?.to_string_lossy().into_owned());
        path.ok().filter(|_| self.lab.is_none()).and_then(name).unwrap_or_else(|| "veth".into())
    }

    fn has_zero_copy(&self) -> bool {
        let modes = env::var("NETMEM_CASES_MODES").unwrap_or_default();
        let is_refused = env::var_os("NETMEM_VM_REFUSED").is_some();
        self.lab.is_none() && !is_refused && modes.split(',').any(|mode| mode == "zero-copy")
    }

    fn far_index(&self) -> u32 {
        Route::open().unwrap().link(&self.far).unwrap().index
    }

    fn far_queue(&self) -> MappedQueue {
        rx_queue(self.far_index())
    }

    fn far_pool(&self) -> PoolState {
        pool(&self.far_queue())
    }

    /// That of the sender; for interfaces of one namespace.
    fn near_pool(&self) -> PoolState {
        pool(&rx_queue(Route::open().unwrap().link(&self.near).unwrap().index))
    }

    /// A socket whose datagrams go out of the sending interface, with an address there or without.
    fn sender(&self) -> Socket {
        let open = || {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
            socket.set_broadcast(true).unwrap();
            socket.bind_device(Some(self.near.as_bytes())).unwrap();
            socket
        };
        match &self.lab {
            Some(lab) => lab.client.run(open).unwrap(),
            None => open(),
        }
    }
}

fn rx_queue(ifindex: u32) -> MappedQueue {
    let map = QueueMap::read(&Root::live()).unwrap();
    let wanted = (ifindex, Direction::Rx, 0);
    let is_it = |m: &MappedQueue| (m.queue.ifindex, m.queue.direction, m.queue.id) == wanted;
    map.queues.into_iter().find(is_it).unwrap()
}

/// The one pool of a receive queue, which belongs to its NAPI and interface, and is in use.
fn pool(mapped: &MappedQueue) -> PoolState {
    let [state] = mapped.pools[..] else { panic!("{mapped:?}") };
    let napi = mapped.napi.unwrap();
    assert_eq!(state.pool.napi_id, Some(napi.id.into()));
    assert_eq!(
        (state.pool.ifindex, napi.ifindex),
        (Some(mapped.queue.ifindex), mapped.queue.ifindex)
    );
    assert_eq!((state.pool.detach_time_s, state.detached_for_s), (None, None));
    state
}

/// Pages that a pool gave out.
fn taken(state: &PoolState) -> u64 {
    let of = state.statistics.unwrap();
    of.alloc_fast + of.alloc_slow + of.alloc_slow_high_order
}

/// Pages that came back to it.
fn recycled(state: &PoolState) -> u64 {
    let of = state.statistics.unwrap();
    of.recycle_cached + of.recycle_ring
}

/// What a datagram carries: its number, in every byte.
fn payload(number: u32) -> Vec<u8> {
    let byte = |at: u32| number.wrapping_mul(31).wrapping_add(at * 7).to_le_bytes()[0];
    (0..).map(byte).take(PAYLOAD_LEN - 4).chain(number.to_be_bytes()).collect()
}

/// Sends to everybody on the link: that needs no address and no neighbour.
fn send(sender: &Socket, numbers: std::ops::Range<u32>) {
    let discard = SocketAddrV4::new(Ipv4Addr::BROADCAST, 9).into();
    for number in numbers {
        assert_eq!(sender.send_to(&payload(number), &discard).unwrap(), PAYLOAD_LEN);
    }
}

/// A packet socket that sees IPv4 as it comes in, with room for all that is sent here at once.
fn packet_socket() -> Socket {
    let protocol = Protocol::from(i32::from(0x0800_u16.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).unwrap();
    socket.set_recv_buffer_size(4 << 20).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Takes the datagrams of these numbers, in order, every byte as it was sent.
fn receive(mut socket: &Socket, numbers: std::ops::Range<u32>) {
    let mut frame = [0; 2048];
    for number in numbers {
        let len = socket.read(&mut frame).unwrap();
        assert_eq!(&frame[HEADERS_LEN..len], payload(number), "datagram {number}");
    }
}

/// Memory for sockets that never touch it, from a page's begin.
struct Umem(Vec<u8>);

impl Umem {
    const LEN_BYTES: usize = 64 << 11;

    fn new() -> Self {
        Self(vec![0; Self::LEN_BYTES + 4096])
    }

    /// Makes it a socket's, with rings of four different sizes.
    fn register(&self, socket: &OwnedFd) {
        let region = XdpUmemReg {
            addr: (self.0.as_ptr().addr() as u64).next_multiple_of(4096),
            len: Self::LEN_BYTES as u64,
            chunk_size: 2048,
            headroom: 64,
            flags: XdpUmemRegFlags::empty(),
            tx_metadata_len: 0,
        };
        sockopt::set_xdp_umem_reg(socket, region).unwrap();
        sockopt::set_xdp_umem_fill_ring_size(socket, 64).unwrap();
        sockopt::set_xdp_umem_completion_ring_size(socket, 128).unwrap();
        sockopt::set_xdp_rx_ring_size(socket, 256).unwrap();
        sockopt::set_xdp_tx_ring_size(socket, 512).unwrap();
    }

    /// Holds what socket diagnosis says against what was registered.
    fn check(&self, told: &XdpSocket) {
        assert_eq!((told.fill_ring, told.completion_ring), (Some(64), Some(128)));
        assert_eq!((told.rx_ring, told.tx_ring), (Some(256), Some(512)));
        let umem = told.umem.unwrap();
        assert_eq!(umem.len_bytes, Self::LEN_BYTES as u64);
        assert_eq!((umem.chunk_bytes, umem.headroom_bytes), (2048, 64));
        assert!(umem.users >= 1);
    }
}

/// What socket diagnosis says of a socket's counters.
fn counters(told: &XdpSocket) -> [u64; 6] {
    let told = told.statistics.unwrap();
    let [received, invalid] = [told.rx_dropped, told.rx_invalid_descs];
    let rings = [told.rx_ring_full, told.rx_fill_ring_empty_descs, told.tx_ring_empty_descs];
    [received, invalid, told.tx_invalid_descs, rings[0], rings[1], rings[2]]
}

/// The same by the socket itself (`XDP_STATISTICS`).
fn own_counters(socket: &OwnedFd) -> [u64; 6] {
    let own = sockopt::xdp_statistics(socket).unwrap();
    let rings = [own.rx_ring_full, own.rx_fill_ring_empty_descs, own.tx_ring_empty_descs];
    let [full, empty, idle] = rings.map(Option::unwrap);
    [own.rx_dropped, own.rx_invalid_descs, own.tx_invalid_descs, full, empty, idle]
}

/// Binds to queue 0; whoever had it before may take a moment to be gone.
fn bind(socket: &OwnedFd, mode: SocketAddrXdpFlags, ifindex: u32) {
    wait_for("a free queue", || {
        match rustix::net::bind(socket, &SocketAddrXdp::new(mode, ifindex, 0)) {
            Err(rustix::io::Errno::BUSY) => false,
            bound => bound.map(|()| true).unwrap(),
        }
    });
}

/// Gives each packet to the socket of its queue.
fn redirect(sockets: &Map) -> Program {
    let mut a = Assembler::new();
    a.load(Size::W, Reg::R2, Reg::R1, xdp_md::RX_QUEUE_INDEX)
        .load_map(Reg::R1, sockets)
        .mov(Reg::R3, XdpAction::Pass)
        .call(Helper::RedirectMap)
        .exit();
    let instructions = a.finish().unwrap();
    let spec = LoadSpec { name: "nm_sources", instructions: &instructions, frags: Frags::No };
    Program::load(&spec).unwrap()
}

fn inode(socket: &impl AsRawFd) -> u32 {
    let path = format!("/proc/self/fd/{}", socket.as_raw_fd());
    fs::metadata(path).unwrap().ino().try_into().unwrap()
}

#[track_caller]
fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a count has been the same for a second, and returns it.
#[track_caller]
fn settled(what: &str, count: impl Fn() -> u64) -> u64 {
    let (mut last, mut since) = (count(), Instant::now());
    wait_for(what, || {
        let now = count();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_secs(1)
    });
    last
}

/// Prints a line for `xtask vm`.
fn report(line: &str) {
    if env::var_os("NETMEM_CASES_REPORT").is_some() {
        println!("netmem-vm {line}");
    }
}

/// A control group of its own below the root, gone with this value.
struct Group {
    folder: PathBuf,
    path: String,
    /// The root's switch of controllers, if it was off before.
    switched: Option<PathBuf>,
}

impl Group {
    fn make(mount: &Path) -> Self {
        let control = mount.join("cgroup.subtree_control");
        let is_on = fs::read_to_string(&control).unwrap().split_whitespace().any(|c| c == "memory");
        if !is_on {
            fs::write(&control, "+memory").unwrap();
        }
        let path = format!("/netmem-sources-{}", std::process::id());
        let folder = mount.join(&path[1..]);
        let group = Self { folder, path, switched: (!is_on).then_some(control) };
        fs::create_dir(&group.folder).unwrap();
        group
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The process in it has ended; the kernel may still be at it.
        for _ in 0..500 {
            if fs::remove_dir(&self.folder).is_ok() || !self.folder.exists() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        if let Some(control) = &self.switched {
            let _ = fs::write(control, "-memory");
        }
    }
}

/// A process that does what it is told, one word a line; killed with this value.
struct Holder {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Holder {
    fn start() -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", TEST, "--nocapture", "--test-threads=1"]).env(HOLDER, "1");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    fn say(&mut self, order: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{order}").unwrap();
    }

    fn wait_for(&mut self, answer: &str) {
        let expected = format!("{HOLDER_MARK}{answer}");
        let mut line = String::new();
        while !line.contains(&expected) {
            line.clear();
            assert!(
                self.said.read_line(&mut line).unwrap() > 0,
                "it ended before it said {answer}"
            );
        }
    }

    fn tell(&mut self, order: &str, answer: &str) {
        self.say(order);
        self.wait_for(answer);
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other process: opens a connection and fills its queues, once it is told to.
fn hold_sockets() {
    let mut held: Option<(TcpListener, TcpStream, TcpStream)> = None;
    let mut memory = Vec::new();
    for order in std::io::stdin().lines() {
        let answer = match order.unwrap().as_str() {
            "open" => {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let far = listener.accept().unwrap().0;
                near.set_nonblocking(true).unwrap();
                // Full is when nothing has fitted for a while: buffers grow by themselves.
                let mut refused = 0;
                while refused < 20 {
                    match near.write(&[7; 64 << 10]) {
                        Ok(1..) => refused = 0,
                        _ => {
                            refused += 1;
                            thread::sleep(Duration::from_millis(20));
                        }
                    }
                }
                held = Some((listener, near, far));
                "full"
            }
            "allocate" => {
                memory = vec![1_u8; 256 << 10];
                "allocated"
            }
            _ => {
                held = None;
                "closed"
            }
        };
        println!("{HOLDER_MARK}{answer}");
    }
    drop((held, memory));
}
