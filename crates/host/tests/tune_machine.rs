//! Settings of the whole machine, from evidence to undoing: each limit is met by real traffic, leads to its
//! proposal, is raised by an application, is met less or not at all then, and is byte-equal after a rollback.
//!
//! ```text
//!   a limit, set low -> traffic that meets it -> plan -> apply -> the same traffic -> rollback
//!                            | what is lost, counted by the receiver        | less is lost
//! ```
//! Nobody's machine is to be changed by a test. So this one runs in the emulated machines of `cargo xtask
//! vm` alone, which are its own, and is skipped as `tune_machine` everywhere else. Settings that a namespace
//! has of its own are tested where tests of `tune` always run.
//!
//! R-QUEUES has no case, for neither emulated device counts what finds no buffer: the virtio-net waits for one,
//! and the igb raises a cause of interrupts (`igb_receive_internal` in QEMU's hw/net/igb_core.c) and leaves the
//! registers alone that its driver reads.
//!
//! A memory control group is no setting, and is told only: the command that is advised is carried out by hand.
//!
//! With `NETMEM_CASES_REPORT=1` each case is a line on stdout. Kernel: 6.11, for datagrams that the kernel
//! cuts into packets without a checksum of the device.
//!
//! Planted and caught: the backlog not raised; the time of a round raised without its packets; `udp_mem`'s
//! third number raised alone; `rmem_max` raised to what the socket has already; a rollback that leaves the
//! first of two settings; a least number that is one too small; `tcp_mem` raised without its second number, and
//! to what is used; the kernel's word of pressure left out; `wmem_max` raised by one; buffers that nobody fixed
//! in place of those that are; half of a buffer compared with the limit; the first look at control groups left out.
#![allow(clippy::unwrap_used, reason = "a test: an error where none may be is a failure")]
#![allow(clippy::print_stdout, reason = "the protocol of xtask vm")]

#[path = "support/long_wire.rs"]
mod long_wire;

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use long_wire::{Flow, LongWire, Sending, Wire};
use netmem_host::lab::{Lab, ServerAddress, skip};
use netmem_host::netlink::Ethtool;
use netmem_host::proc::Scope;
use netmem_host::source::Root;
use netmem_host::sysctl::{self, Arity, KEYS, Machine};
use netmem_host::tune::evidence::{Lookout, collect};
use netmem_host::tune::facts::Bounds;
use netmem_host::tune::{
    self, Applying, Ask, Drift, End, Place, Plan, SetBy, Store, Terms, rollback,
};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

const TEST: &str = "tune_machine";
/// Makes this program the other process: one that reads when it is told to.
const OTHER: &str = "NETMEM_TUNE_OTHER";
const OTHER_SAYS: &str = "other: ";
/// Each ends with what was seen.
const CASES: [(&str, Case); 8] = [
    ("numbers_that_are_taken", numbers_that_are_taken),
    ("a_full_backlog", a_full_backlog),
    ("rounds_that_end_by_packets", rounds_that_end_by_packets),
    ("memory_of_all_udp_sockets", memory_of_all_udp_sockets),
    ("memory_of_all_tcp_sockets", memory_of_all_tcp_sockets),
    ("a_buffer_as_large_as_allowed", a_buffer_as_large_as_allowed),
    ("a_send_buffer_as_large_as_allowed", a_send_buffer_as_large_as_allowed),
    ("a_full_control_group", a_full_control_group),
];
/// How long a look lasts at most, for a load that is slow; and as a rule.
const INTERVAL: Duration = Duration::from_secs(12);
const USUAL: Duration = Duration::from_secs(6);
/// How long a load runs again and again.
const LOAD: Duration = Duration::from_secs(3);
/// Bytes of a datagram; one segment where the kernel cuts it.
const PAYLOAD_LEN: usize = 1000;
/// Datagrams that are sent to a socket which does not read.
const FILL: u64 = 4000;
/// Connections whose programs do not read, and bytes that are sent over each.
const CONNECTIONS: usize = 96;
const CONNECTION_BYTES: usize = 100_000;
/// Of what takes longer, nothing is expected any more.
const PATIENCE: Duration = Duration::from_secs(30);
/// Tried beside the ends of each setting's bounds.
const NUMBERS: [i128; 16] = [
    -2,
    -1,
    0,
    1,
    2,
    255,
    256,
    300,
    4096,
    7999,
    8000,
    65_535,
    65_536,
    i32::MAX as i128,
    i32::MAX as i128 + 1,
    u64::MAX as i128 + 1,
];

type Case = fn() -> String;

/// Settings as they were, restored with this value.
struct Saved(Vec<(String, Vec<u8>)>);

/// Two namespaces of which one kernel sends the other datagrams in bursts.
struct Bursts {
    _lab: Lab,
    receiver: UdpSocket,
    sender: Socket,
}

/// A UDP socket, and one that sends to it.
struct Reader {
    socket: UdpSocket,
    sender: Socket,
}

/// A memory control group, and a process in it with a socket that is read when it is told to; gone with this
/// value.
struct Group {
    folder: PathBuf,
    other: Child,
    said: BufReader<ChildStdout>,
}

#[test]
fn lab_settings_of_the_machine() {
    if env::var_os(OTHER).is_some() {
        return read_when_told();
    }
    // Process 1 of a guest starts its programs itself.
    let is_guest = Path::new("/vm/programs").exists() && std::os::unix::process::parent_id() == 1;
    if !is_guest {
        return skip(TEST, "it changes settings of the whole machine (cargo xtask vm has its own)");
    }
    let mut failures = Vec::new();
    for (name, case) in CASES {
        let (result, why) = match catch_unwind(AssertUnwindSafe(case)) {
            Ok(said) => ("pass", said),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                failures.push(format!("{name}: {}", text.unwrap_or("panic")));
                ("fail", text.unwrap_or("panic").to_owned())
            }
        };
        report(&format!(
            "case={name} mode=none device=veth busy_poll=0 result={result} why={why:?}"
        ));
    }
    report(&format!("done cases={}", CASES.len()));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A burst that is longer than the backlog: what is above is dropped.
fn a_full_backlog() -> String {
    const BURST: u8 = 60;
    let saved = Saved::set(&[("net.core.netdev_max_backlog", "16")]);
    let bursts = Bursts::new();
    let lost_of = |rounds: u64| {
        let held: u64 = (0..rounds).map(|_| bursts.send(BURST)).sum();
        rounds * u64::from(BURST) - held
    };
    let mut lost = 0;
    let plan = look("R-BACKLOG", || lost += lost_of(1));
    let evidence = plan.changes[0].evidence.join("; ");
    assert!(evidence.contains(&format!("dropped +{lost} in")), "{lost}: {evidence}");
    assert_eq!(
        lost_of(10),
        10 * (u64::from(BURST) - 17),
        "the kernel takes one more than its limit"
    );
    let proposed: u64 = plan.changes[0].proposed.parse().unwrap();
    assert!(proposed >= 32, "{plan:?}");
    let after = saved.applied(&plan, || lost_of(10));
    assert_eq!(after, 10 * u64::from(BURST).saturating_sub(proposed + 1));
    format!("lost 430 of 600 with 16, {after} with {proposed}")
}

/// A burst that is longer than a round of polling may be: the rest waits for the next.
fn rounds_that_end_by_packets() -> String {
    const BURST: u8 = 40;
    let keys = [("net.core.netdev_budget", "32"), ("net.core.netdev_budget_usecs", "8000")];
    let saved = Saved::set(&keys);
    let bursts = Bursts::new();
    let squeezed_of = |rounds: u64| {
        let before = squeezes();
        for _ in 0..rounds {
            assert_eq!(bursts.send(BURST), u64::from(BURST), "late, and not lost");
            thread::sleep(Duration::from_millis(10));
        }
        squeezes() - before
    };
    let plan = look("R-BUDGET", || {
        squeezed_of(1);
    });
    let keys: Vec<&str> = plan.changes.iter().map(|change| change.key.as_str()).collect();
    assert_eq!(keys, ["net.core.netdev_budget", "net.core.netdev_budget_usecs"]);
    assert_eq!(plan.changes[0].proposed, "64");
    let before = squeezed_of(50);
    // Others' packets and a slow guest squeeze as well: the least of some counts.
    let after = saved.applied(&plan, || {
        let mut least = squeezed_of(50);
        for _ in 0..9 {
            if least * 5 >= before {
                least = least.min(squeezed_of(50));
            }
        }
        least
    });
    assert!(before >= 50 && after * 5 < before, "{before} before, {after} after");
    format!("{before} squeezes of 50 bursts, then {after}")
}

/// More unread datagrams than all sockets of UDP may have.
fn memory_of_all_udp_sockets() -> String {
    // Above what a CPU may set aside before the count knows.
    let saved = Saved::set(&[("net.ipv4.udp_mem", "1024 1365 2048")]);
    // More than any figure here, so that this socket's own limit is not met.
    let prepare = |socket: &Socket| setsockopt(socket, sockopt::RcvBufForce, &(64 << 20)).unwrap();
    let full = || {
        let reader = Reader::new(prepare);
        reader.send();
        reader
    };
    // The memory is there to be seen while a socket is full.
    let mut first = None;
    let plan = look("R-PROTO-MEM", || {
        first.get_or_insert_with(full);
        thread::sleep(Duration::from_millis(10));
    });
    let first = first.unwrap().drain();
    assert_eq!(plan.changes[0].key, "net.ipv4.udp_mem");
    let held = || full().drain();
    let before = held();
    assert!(before < FILL, "{before} datagrams of {FILL} were held");
    let after = saved.applied(&plan, held);
    assert!(after * 2 > before * 3, "{before} held before, {after} after");
    format!("{first}, {before} of {FILL} datagrams held, then {after}")
}

/// A socket with all that `rmem_max` allows, and a burst that does not fit.
fn a_buffer_as_large_as_allowed() -> String {
    let saved = Saved::set(&[("net.core.rmem_max", "1000000")]);
    let reader = || Reader::new(|socket| socket.set_recv_buffer_size(1 << 30).unwrap());
    // A socket tells what it lost while it lives. What was lost before the second look may be that of
    // before the first one, so it loses more later.
    let mut first = None;
    let mut first_held = 0;
    let plan = look("R-SOCK-MAX", || {
        let first = first.get_or_insert_with(reader);
        first.send();
        first_held = first.drain();
        thread::sleep(LOAD / 4);
    });
    drop(first);
    assert_eq!(plan.changes[0].key, "net.core.rmem_max");
    let held = || {
        let reader = reader();
        reader.send();
        reader.drain()
    };
    let before = held();
    assert!(before < FILL, "{before} datagrams of {FILL} were held");
    let after = saved.applied(&plan, held);
    assert!(after * 2 > before * 3, "{before} held before, {after} after");
    format!("{first_held}, {before} of {FILL} datagrams held, then {after}")
}

/// More unread data than may be there without pressure.
fn memory_of_all_tcp_sockets() -> String {
    let saved = Saved::set(&[("net.ipv4.tcp_mem", "1536 2048 3072")]);
    let full = || {
        let before = tcp_ext("TCPMemoryPressures");
        let connections = Connections::filled();
        (connections, tcp_ext("TCPMemoryPressures") - before)
    };
    // The memory is there to be seen while sockets are full.
    let mut first = None;
    let plan = look("R-PROTO-MEM", || {
        first.get_or_insert_with(full);
        thread::sleep(Duration::from_millis(10));
    });
    let (connections, before) = first.unwrap();
    connections.drain();
    assert!(before > 0, "no pressure");
    assert_eq!(plan.changes[0].key, "net.ipv4.tcp_mem");
    let evidence = plan.changes[0].evidence.join("; ");
    assert!(evidence.contains("TcpExtTCPMemoryPressures +"), "{evidence}");
    let after = saved.applied(&plan, || {
        let (connections, after) = full();
        connections.drain();
        after
    });
    assert_eq!(after, 0, "{plan:?}");
    format!("pressure begun {before} times, then {after}")
}

/// A connection over a long path whose program fixed a buffer of all that `wmem_max` allows.
fn a_send_buffer_as_large_as_allowed() -> String {
    let saved = Saved::set(&[("net.core.wmem_max", "65536")]);
    // An emulated machine is slow: a round trip of 200 ms is what keeps it from being the limit.
    let wire = LongWire::new(Wire { delay: Duration::from_millis(100), ..Wire::default() });
    let time = Duration::from_secs(3);
    let mut port = 5000;
    let mut flow = || {
        port += 1;
        Flow::start(&wire, port, Sending { sndbuf_bytes: Some(1 << 30), ..Sending::default() })
    };
    let first = flow();
    // Until its window is larger than the buffer.
    thread::sleep(Duration::from_secs(2));
    // The best of several, as afterwards.
    let before = (0..3).map(|_| first.bytes_in(time)).max().unwrap();
    assert_eq!(first.sndbuf_bytes(), 2 * 65_536);
    // Of connections in its own namespace; the setting can be read in each.
    let plan = wire.client.run(|| look("R-SOCK-MAX", || thread::sleep(time / 10))).unwrap();
    drop(first);
    let change = &plan.changes[0];
    assert_eq!((change.key.as_str(), change.proposed.as_str()), ("net.core.wmem_max", "131072"));
    let evidence = change.evidence.join("; ");
    assert!(evidence.contains("sndbuf 131072 = 2 x wmem_max, held back by it"), "{evidence}");
    let after = saved.applied(&plan, || {
        let second = flow();
        let (deadline, mut after) = (Instant::now() + PATIENCE, 0);
        while after * 4 <= before * 5 && Instant::now() < deadline {
            after = second.bytes_in(time);
        }
        assert_eq!(second.sndbuf_bytes(), 2 * 131_072);
        after
    });
    assert!(after * 4 > before * 5, "{before} bytes before, {after} after");
    format!("{before} bytes in {} s, then {after}", time.as_secs())
}

/// A group whose socket gets more than the group may have, and is not read.
fn a_full_control_group() -> String {
    // Less than what is sent takes; twice as much is enough.
    let mut group = Group::new(6 << 20);
    let sender = udp().unwrap();
    let port: u16 = group.answer().parse().unwrap();
    sender.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).unwrap();
    let (mem_errors, mut is_sent) = (counter("snmp", "Udp", "MemErrors"), false);
    let plan = looked(|| {
        if !std::mem::replace(&mut is_sent, true) {
            send_all(&sender);
        }
        thread::sleep(Duration::from_millis(10));
    });
    let found = plan.findings.iter().find(|finding| finding.rule == "R-MEMCG");
    let finding = found.unwrap_or_else(|| panic!("{plan:?}"));
    let path = format!("/{}", group.folder.file_name().unwrap().to_str().unwrap());
    assert!(finding.what.contains(&format!("control group {path} is at its limit")), "{finding:?}");
    let (met, evidence) = (group.met(), finding.evidence.join("\n"));
    assert!(met > 0 && evidence.contains(&format!("events.local +{met} in")), "{met}: {evidence}");
    assert!(evidence.contains("of memory.max 6 MiB (6291456), of it sockets "), "{evidence}");
    let pid = group.other.id().to_string();
    let processes = evidence.lines().last().unwrap();
    assert!(processes.starts_with("its processes: ") && processes.ends_with(&pid), "{evidence}");
    // What comes in is charged above the limit, and nothing is lost.
    let charged = group.number("memory.current");
    assert!(charged > 6 << 20, "{charged}");
    assert_eq!(counter("snmp", "Udp", "MemErrors"), mem_errors);

    let command = finding.advice.last().unwrap().split_once("echo ").unwrap().1;
    let (value, file) = command.split_once(" > ").unwrap();
    assert_eq!((value, Path::new(file)), ("12582912", &*group.folder.join("memory.max")));
    fs::write(file, value).unwrap();
    assert_eq!(group.read(), FILL);
    send_all(&sender);
    assert_eq!(group.met(), met, "the larger limit was met");
    assert_eq!(group.read(), FILL);
    format!("{charged} bytes of 6291456 charged, limit met {met} times, then 0")
}

/// What each global setting takes and what it refuses, by what is known of its bounds.
fn numbers_that_are_taken() -> String {
    let machine = Machine::read(&Root::live()).unwrap();
    let mut tried = 0;
    let mut wrong = Vec::new();
    for key in KEYS.iter().filter(|key| key.arity == Arity::Scalar) {
        // A namespace's own are compared elsewhere, with more texts.
        let is_global = sysctl::scopes().as_ref().unwrap()[key.name].scope() == Some(Scope::Global);
        let Ok(before) = fs::read(path(key.name)) else { continue };
        if !is_global {
            continue;
        }
        let bounds = Bounds::here(key.name, &machine).unwrap_or_else(|| Bounds::of(key.name));
        let ends = [bounds.min - 1, bounds.min, bounds.max, bounds.max + 1];
        for number in ends.into_iter().chain(NUMBERS).filter(|number| !is_costly(key.name, *number))
        {
            let is_taken = fs::write(path(key.name), number.to_string()).is_ok();
            fs::write(path(key.name), &before).unwrap();
            tried += 1;
            if is_taken != bounds.contains(number) {
                wrong.push(format!("{} {number}: {is_taken}", key.name));
            }
        }
        assert_eq!(fs::read(path(key.name)).unwrap(), before, "{}", key.name);
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(tried > 100, "{tried}");
    format!("{tried} numbers")
}

/// Whether a number is not tried: the kernel would make a table of so many entries, or its end is not known.
fn is_costly(key: &str, number: i128) -> bool {
    match key {
        "net.core.rps_sock_flow_entries" => (1 << 16..=1 << 29).contains(&number),
        "net.core.bpf_jit_limit" => !(1..=1 << 16).contains(&number),
        "net.core.flow_limit_table_len" => number > 1 << 16 && number <= 1 << 30,
        key if key.ends_with("unres_qlen") => (1_000_000..i32::MAX.into()).contains(&number),
        _ => false,
    }
}

/// Looks while `load` runs again and again; what the rule proposes, alone.
fn look(rule: &str, load: impl FnMut()) -> Plan {
    let mut plan = looked(load);
    let all = format!("{plan:?}");
    plan.changes.retain(|change| change.rule == rule);
    assert!(!plan.changes.is_empty(), "{all}");
    plan
}

/// Looks while `load` runs again and again.
fn looked(mut load: impl FnMut()) -> Plan {
    let root = Root::live();
    let (is_over, is_enough) = (AtomicBool::new(false), AtomicBool::new(false));
    let looked = thread::scope(|scope| {
        let (root, is_over, is_enough) = (&root, &is_over, &is_enough);
        let (sender, first_look) = std::sync::mpsc::channel::<()>();
        let looking = scope.spawn(move || {
            let (mut sender, begin) = (Some(sender), Instant::now());
            let lookout = Lookout { netns: None, interval: INTERVAL };
            let result = collect(root, &lookout, || {
                sender.take();
                is_enough.load(Ordering::Relaxed) && begin.elapsed() >= USUAL
            });
            is_over.store(true, Ordering::Relaxed);
            result
        });
        // Ends without a word when all was looked at once.
        assert!(first_look.recv().is_err());
        // The last sample must not be in the middle of it.
        let end = Instant::now() + LOAD;
        while Instant::now() < end && !is_over.load(Ordering::Relaxed) {
            load();
        }
        assert!(!is_over.load(Ordering::Relaxed), "it took longer than the look");
        is_enough.store(true, Ordering::Relaxed);
        looking.join().unwrap()
    });
    let (evidence, basis) = looked.unwrap();
    tune::plan(&evidence, &Ask::default(), basis, &SetBy::default())
}

impl Saved {
    fn set(settings: &[(&str, &str)]) -> Self {
        let read = |(key, _): &(&str, &str)| ((*key).to_owned(), fs::read(path(key)).unwrap());
        let saved = Self(settings.iter().map(read).collect());
        for (key, value) in settings {
            fs::write(path(key), value).unwrap();
        }
        saved
    }

    /// What `work` gives with the plan applied; undone afterwards, byte by byte.
    fn applied<T>(&self, plan: &Plan, work: impl FnOnce() -> T) -> T {
        let now =
            || -> Vec<_> { self.0.iter().map(|(key, _)| fs::read(path(key)).unwrap()).collect() };
        let before = now();
        let folder = env::temp_dir().join(format!("netmem-tune-machine-{}", std::process::id()));
        let store = Store::at(folder.join("state"));
        let place = Place::here(Root::live());
        let applying = Applying::begin(&store, place, plan, &Terms::default()).unwrap();
        let report = applying.write(&|| false);
        assert_eq!(report.end, End::Applied, "{report:?}");
        for change in &plan.changes {
            let value = fs::read_to_string(path(&change.key)).unwrap();
            assert!(value.split_whitespace().eq(change.proposed.split_whitespace()), "{value}");
        }
        let result = work();
        let report = rollback(&store, Root::live(), None, Drift::Leave).unwrap().unwrap();
        assert_eq!((report.end, &report.left[..]), (End::RolledBack, &[][..]), "{report:?}");
        assert_eq!(now(), before);
        fs::remove_dir_all(folder).unwrap();
        result
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        for (key, value) in &self.0 {
            fs::write(path(key), value).unwrap();
        }
    }
}

impl Bursts {
    fn new() -> Self {
        let lab = Lab::builder().server_address(ServerAddress::Kernel).build().unwrap();
        // So that the kernel cuts it here, and hands on all packets one after the other.
        let name = lab.client_link().name.clone();
        let offloads = lab.client.run(|| Ethtool::open().unwrap().offloads_off(&name).unwrap());
        assert!(offloads.unwrap().still_on.is_empty());
        let address = SocketAddr::from((lab.server_link().interface.address, 7000));
        let receiver = lab.server.run(|| UdpSocket::bind(address).unwrap()).unwrap();
        receiver.set_nonblocking(true).unwrap();
        let sender = lab.client.run(udp).unwrap().unwrap();
        let segment_len = i32::try_from(PAYLOAD_LEN).unwrap();
        setsockopt(&sender, sockopt::UdpGsoSegment, &segment_len).unwrap();
        sender.connect(&SockAddr::from(address)).unwrap();
        Self { _lab: lab, receiver, sender }
    }

    /// Sends so many packets at once, and returns how many came, each with its own content.
    fn send(&self, count: u8) -> u64 {
        let bytes: Vec<u8> = (0..count).flat_map(|number| [number; PAYLOAD_LEN]).collect();
        assert_eq!(self.sender.send(&bytes).unwrap(), bytes.len());
        let (mut came, mut buffer) = (0, [0; 2048]);
        let mut last = None;
        while let Ok(len) = self.receiver.recv(&mut buffer) {
            assert_eq!(len, PAYLOAD_LEN);
            assert!(buffer[..len].iter().all(|byte| *byte == buffer[0]) && last < Some(buffer[0]));
            last = Some(buffer[0]);
            came += 1;
        }
        came
    }
}

impl Reader {
    /// A socket that `prepare` made ready, and one that sends to it over loopback.
    fn new(prepare: impl FnOnce(&Socket)) -> Self {
        let socket = udp().unwrap();
        prepare(&socket);
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let sender = udp().unwrap();
        sender.connect(&socket.local_addr().unwrap()).unwrap();
        let socket: UdpSocket = socket.into();
        socket.set_nonblocking(true).unwrap();
        Self { socket, sender }
    }

    /// Sends more than it holds.
    fn send(&self) {
        send_all(&self.sender);
    }

    /// Reads what it held: how many, each with its own content.
    fn drain(&self) -> u64 {
        let mut held = 0;
        let mut buffer = [0; 2 * PAYLOAD_LEN];
        let mut next = 0;
        while let Ok(len) = self.socket.recv(&mut buffer) {
            let number = u64::from_be_bytes(buffer[..8].try_into().unwrap());
            assert!(len == PAYLOAD_LEN && number >= next, "{number} of {len} bytes");
            next = number + 1;
            held += 1;
        }
        held
    }
}

impl Group {
    /// A group with this limit, and a process with a socket in it.
    fn new(max_bytes: u64) -> Self {
        let mount = Path::new("/sys/fs/cgroup");
        fs::write(mount.join("cgroup.subtree_control"), "+memory").unwrap();
        let folder = mount.join(format!("netmem-tune-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("memory.max"), max_bytes.to_string()).unwrap();
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "lab_settings_of_the_machine", "--nocapture"]).env(OTHER, "1");
        let mut other = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(other.stdout.take().unwrap());
        let mut group = Self { folder, other, said };
        // What a socket holds is charged to the group in which it was opened.
        fs::write(group.folder.join("cgroup.procs"), group.other.id().to_string()).unwrap();
        group.say("open");
        group
    }

    fn say(&mut self, order: &str) {
        writeln!(self.other.stdin.as_mut().unwrap(), "{order}").unwrap();
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.said.read_line(&mut line).unwrap() > 0, "it has ended");
            if let Some((_, answer)) = line.split_once(OTHER_SAYS) {
                return answer.trim().to_owned();
            }
        }
    }

    /// Has the socket read: how many datagrams it held, each with its own content.
    fn read(&mut self) -> u64 {
        self.say("read");
        self.answer().parse().unwrap()
    }

    /// How often the limit was met.
    fn met(&self) -> u64 {
        let text = fs::read_to_string(self.folder.join("memory.events.local")).unwrap();
        let found = text.lines().find_map(|line| line.strip_prefix("max "));
        found.unwrap().parse().unwrap()
    }

    fn number(&self, file: &str) -> u64 {
        fs::read_to_string(self.folder.join(file)).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.other.kill();
        let _ = self.other.wait();
        // The kernel may still be at it.
        let deadline = Instant::now() + PATIENCE;
        while fs::remove_dir(&self.folder).is_err() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        let _ = fs::write("/sys/fs/cgroup/cgroup.subtree_control", "-memory");
    }
}

/// The other process: a socket that is opened, and read, when a line on standard input says so.
fn read_when_told() {
    let mut reader = None;
    for order in std::io::stdin().lines() {
        let answer = match (order.unwrap().as_str(), &reader) {
            ("read", Some(reader)) => Reader::drain(reader),
            _ => {
                // More than any figure here, so that this socket's own limit is not met.
                let prepare = |socket: &Socket| {
                    setsockopt(socket, sockopt::RcvBufForce, &(64 << 20)).unwrap();
                };
                let opened = reader.insert(Reader::new(prepare));
                opened.socket.local_addr().unwrap().port().into()
            }
        };
        println!("{OTHER_SAYS}{answer}");
    }
}

/// Sends numbered datagrams.
fn send_all(sender: &Socket) {
    for number in 0..FILL {
        let mut datagram = [0; PAYLOAD_LEN];
        datagram[..8].copy_from_slice(&number.to_be_bytes());
        sender.send(&datagram).unwrap();
    }
}

/// Connections over loopback, each with a place in what it sends that all sent so far.
struct Connections {
    all: Vec<(TcpStream, TcpStream)>,
    sent: Vec<usize>,
}

impl Connections {
    /// Sends until all is sent, nothing more has been taken for a while, or a look would soon be over.
    fn filled() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let connect = |_| {
            let sender = TcpStream::connect(address).unwrap();
            let receiver = listener.accept().unwrap().0;
            for end in [&sender, &receiver] {
                end.set_nonblocking(true).unwrap();
            }
            (sender, receiver)
        };
        let all: Vec<_> = (0..CONNECTIONS).map(connect).collect();
        let mut connections = Self { all, sent: vec![0; CONNECTIONS] };
        let begin = Instant::now();
        let mut last_taken = begin;
        while connections.sent.iter().any(|sent| *sent < CONNECTION_BYTES)
            && last_taken.elapsed() < Duration::from_millis(200)
            && begin.elapsed() < INTERVAL / 3
        {
            match connections.send() {
                0 => thread::sleep(Duration::from_millis(1)),
                _ => last_taken = Instant::now(),
            }
        }
        connections
    }

    /// Sends once over each what the kernel takes, and returns how much that was.
    fn send(&mut self) -> usize {
        let mut taken = 0;
        for (at, ((sender, _), sent)) in self.all.iter_mut().zip(&mut self.sent).enumerate() {
            let bytes = content(at);
            match sender.write(&bytes[*sent..]) {
                Ok(len) => (*sent, taken) = (*sent + len, taken + len),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
        }
        taken
    }

    /// Sends the rest, reads all, and finds each connection's bytes as they were sent.
    fn drain(mut self) {
        let deadline = Instant::now() + PATIENCE;
        let mut received = vec![Vec::new(); CONNECTIONS];
        while received.iter().any(|bytes: &Vec<u8>| bytes.len() < CONNECTION_BYTES) {
            assert!(Instant::now() < deadline, "not all came");
            self.send();
            for ((_, receiver), bytes) in self.all.iter_mut().zip(&mut received) {
                let read = receiver.read_to_end(bytes);
                assert_eq!(read.unwrap_err().kind(), ErrorKind::WouldBlock);
            }
        }
        for (at, bytes) in received.iter().enumerate() {
            assert!(*bytes == content(at), "connection {at}");
        }
    }
}

/// What a connection sends.
fn content(number: usize) -> Vec<u8> {
    (0..=250).cycle().skip(number).take(CONNECTION_BYTES).collect()
}

/// A counter of `TcpExt` in the calling thread's namespace.
fn tcp_ext(name: &str) -> u64 {
    counter("netstat", "TcpExt", name)
}

/// A counter of a file's group of counters in the calling thread's namespace.
fn counter(file: &str, group: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap();
    let prefix = format!("{group}: ");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(&prefix));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let mut all = names.split(' ').zip(values.split(' '));
    all.find_map(|(it, value)| (it == name).then(|| value.parse().unwrap())).unwrap()
}

fn udp() -> std::io::Result<Socket> {
    Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))
}

/// Rounds of polling of all CPUs that ended with work left.
fn squeezes() -> u64 {
    let text = fs::read_to_string("/proc/net/softnet_stat").unwrap();
    let third = |line: &str| u64::from_str_radix(line.split(' ').nth(2).unwrap(), 16).unwrap();
    text.lines().map(third).sum()
}

fn path(key: &str) -> String {
    format!("/proc/sys/{}", key.replace('.', "/"))
}

/// Prints a line for `xtask vm`.
fn report(line: &str) {
    if env::var_os("NETMEM_CASES_REPORT").is_some() {
        println!("netmem-vm {line}");
    }
}
