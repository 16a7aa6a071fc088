//! The readers of `/proc` and `/sys` beside the running kernel: what moved by so much must show as so much,
//! and as other tools show it.
//!
//! Planted and caught: the file of the main thread's namespace instead of the calling one's; pages
//! given as bytes; counters' names put to their neighbours' numbers; `received_rps` from the column
//! beside it; the failures of a cgroup's limit given as its peak; a file that is to read only taken for one
//! that can be written.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use netmem_host::lab::{Lab, NetNs, ServerAddress, missing_privilege, skip};
use netmem_host::netlink::{AdminState, Route};
use netmem_host::proc::{
    Bounds, CgroupVersion, Counters, MemoryPressure, ProtocolMemory, Provenance, SocketCgroups,
    Sockstat, Softnet, UdpSocket as UdpRow, UdpSockets,
};
use netmem_host::source::{Root, SourceState};
use netmem_host::sysctl::{self, Mode};
use socket2::SockRef;

/// A namespace of its own with loopback up; records a skip of `test` if there can be none.
fn namespace(test: &str) -> Option<NetNs> {
    if let Some(reason) = missing_privilege() {
        skip(test, &reason);
        return None;
    }
    let ns = NetNs::create().unwrap();
    ns.run(|| Route::open().unwrap().set_state("lo", AdminState::Up).unwrap()).unwrap();
    Some(ns)
}

/// Waits until something is so; the machine may be busy.
#[track_caller]
fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The row of a UDP socket, by the number of its descriptor.
fn row_of(socket: &UdpSocket) -> UdpRow {
    let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
    let inode = link.to_str().unwrap().trim_matches(|c: char| !c.is_ascii_digit()).parse();
    let inode: u64 = inode.unwrap();
    let sockets = UdpSockets::read(&Root::live()).unwrap();
    sockets.rows.into_iter().find(|row| row.inode == inode).unwrap()
}

/// The output of a program of iproute2 in the calling thread's namespace; `None` if it is not here.
fn peer(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).env("NSTAT_HISTORY", "/dev/null").output();
    let output = output.ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

#[test]
fn lab_sockets_count_where_they_are() {
    let Some(ns) = namespace("lab_sockets_count_where_they_are") else { return };
    let read = || Sockstat::read(&Root::live()).unwrap();
    // Others on this machine open and close sockets too, so what is global wants a quiet moment.
    let is_exact = (0..500).any(|_| {
        // A netlink socket that was closed counts until a grace period of RCU has ended.
        wait_for("no socket counts", || ns.run(read).unwrap().sockets_used == 0);
        let (outside, before) = (read(), ns.run(read).unwrap());
        let held: Vec<_> =
            ns.run(|| (0..9).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect()).unwrap();
        let datagrams: Vec<_> =
            ns.run(|| (0..4).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect()).unwrap();
        let (after, outside_after) = (ns.run(read).unwrap(), read());
        assert_eq!(after.tcp_inuse - before.tcp_inuse, held.len() as u64);
        assert_eq!(after.udp_inuse - before.udp_inuse, datagrams.len() as u64);
        assert_eq!(after.sockets_used - before.sockets_used, 13);
        thread::sleep(Duration::from_millis(20));
        after.tcp_alloc == before.tcp_alloc + 9
            && outside_after.tcp_alloc == outside.tcp_alloc + 9
            && outside_after.tcp_inuse == outside.tcp_inuse
    });
    assert!(is_exact, "alloc never moved by 9, in and outside of the namespace");
}

#[test]
fn lab_queued_memory_shows_within_the_error_bar() {
    let Some(ns) = namespace("lab_queued_memory_shows_within_the_error_bar") else { return };
    let read = || ProtocolMemory::read(&Root::live()).unwrap();
    let [tcp, udp] = read();
    let page_bytes = rustix::param::page_size() as u64;
    assert_eq!((tcp.bytes, udp.bytes), (tcp.pages * page_bytes, udp.pages * page_bytes));
    assert_eq!(tcp.limits.as_ref().map(|limits| limits.min_pages > 0), Ok(true));
    assert_eq!(udp.pressure, Ok(MemoryPressure::NotImplemented));

    // Twice the error bar, in sockets of at most half of it.
    let wanted = udp.error_bar_bytes * 2;
    let held = || {
        let to = UdpSocket::bind("127.0.0.1:0").unwrap();
        let from = UdpSocket::bind("127.0.0.1:0").unwrap();
        SockRef::from(&to).set_recv_buffer_size(4 << 20).unwrap();
        let mut last = 0;
        loop {
            from.send_to(&[7; 1000], to.local_addr().unwrap()).unwrap();
            let row = row_of(&to);
            if row.rx_queue_bytes == last || row.drops > 0 || last > wanted / 4 {
                return (to, row.rx_queue_bytes);
            }
            last = row.rx_queue_bytes;
        }
    };
    let (mut sockets, mut queued) = (Vec::new(), 0);
    while queued < wanted {
        let (socket, bytes) = ns.run(held).unwrap();
        sockets.push(socket);
        queued += bytes;
    }
    let [_, inside] = ns.run(read).unwrap();
    let slack = inside.error_bar_bytes;
    assert!(inside.bytes + slack >= queued, "{queued} queued, {inside:?}");
    assert!(inside.bytes <= queued + udp.bytes + 2 * slack, "{queued} queued, {inside:?}");
    // The sum is global, its limits are the initial namespace's, and so is the reserve's size.
    assert_eq!(inside.limits.as_ref().unwrap_err().state, SourceState::Absent);
    assert_eq!(inside.reserve.provenance, Provenance::Assumed);
}

#[test]
fn lab_an_overflow_is_counted_alike_everywhere() {
    let Some(ns) = namespace("lab_an_overflow_is_counted_alike_everywhere") else { return };
    ns.run(|| {
        let count = || Counters::read(&Root::live()).unwrap();
        let before = count();
        let to = UdpSocket::bind("127.0.0.1:0").unwrap();
        SockRef::from(&to).set_recv_buffer_size(8192).unwrap();
        let from = UdpSocket::bind("127.0.0.1:0").unwrap();
        for number in 0..50 {
            from.send_to(&[number; 1000], to.local_addr().unwrap()).unwrap();
        }
        // Loopback delivers in a softirq, which is as a rule the sender's own.
        wait_for("all are delivered", || {
            count().since(&before).value("IpInDelivers").is_some_and(|came| came >= 50)
        });
        let (row, moved) = (row_of(&to), count().since(&before));
        let ss = peer("ss", &["-uamnH"]);
        let nstat = peer("nstat", &["-asz", "UdpRcvbufErrors"]);
        to.set_nonblocking(true).unwrap();
        let mut bytes = [0; 1000];
        let delivered = std::iter::from_fn(|| to.recv(&mut bytes).ok()).count() as u64;

        let dropped = 50 - delivered;
        assert!(dropped > 30 && delivered > 0, "{delivered} delivered");
        assert_eq!(u64::from(row.drops), dropped);
        assert!(row.rx_queue_bytes > delivered * 1000, "truesize, not payload: {row:?}");
        assert_eq!(moved.udp_rcvbuf_errors(), Some(dropped));
        assert_eq!(moved.udp_in_errors(), Some(dropped));
        assert_eq!((moved.udp_mem_errors(), moved.value("UdpOutDatagrams")), (None, Some(50)));
        match (ss, nstat) {
            (Some(ss), Some(nstat)) => {
                assert!(ss.contains(&format!(",d{dropped})")), "{ss}");
                let line = nstat.lines().find(|line| line.starts_with("UdpRcvbufErrors")).unwrap();
                let counted = line.split_ascii_whitespace().nth(1).unwrap();
                assert_eq!(counted, dropped.to_string());
            }
            _ => skip("lab_an_overflow_is_counted_alike_everywhere", "ss or nstat is not here"),
        }
    })
    .unwrap();
}

#[test]
fn lab_packet_steering_is_counted() {
    let test = "lab_packet_steering_is_counted";
    if let Some(reason) = missing_privilege() {
        return skip(test, &reason);
    }
    if Softnet::read(&Root::live()).unwrap().cpus.len() < 2 {
        return skip(test, "packets cannot be steered: one CPU");
    }
    let lab = Lab::builder().server_address(ServerAddress::Kernel).build().unwrap();
    // The setting is under /sys/class/net, which shows the namespace it was mounted in.
    let steer =
        "mount -t sysfs sysfs /sys && echo 3 >/sys/class/net/nm-server/queues/rx-0/rps_cpus";
    let command = || Command::new("unshare").args(["-m", "sh", "-c", steer]).status();
    match lab.server.run(command).unwrap() {
        Ok(status) => assert!(status.success()),
        Err(error) => return skip(test, &format!("unshare of util-linux: {error}")),
    }
    let read = || Softnet::read(&Root::live()).unwrap();
    let before = read();
    let processed = || -> u64 {
        read().since(&before).iter().map(|(_, delta)| u64::from(delta.processed)).sum()
    };
    let target = lab.server.run(|| UdpSocket::bind("192.0.2.2:0")).unwrap().unwrap();
    let address = target.local_addr().unwrap();
    lab.client
        .run(|| {
            // Flows of many ports, so that some are steered to the other CPU.
            for flow in 1..=40 {
                let from = UdpSocket::bind("192.0.2.1:0").unwrap();
                (0..250).for_each(|_| drop(from.send_to(&[1; 64], address)));
                // The other CPU may be late, and its backlog holds a thousand.
                wait_for("a flow's packets", || processed() >= flow * 250);
            }
        })
        .unwrap();
    let moved = read().since(&before);
    let sum = |field: fn(&netmem_host::proc::SoftnetDelta) -> u32| -> u64 {
        moved.iter().map(|(_, delta)| u64::from(field(delta))).sum()
    };
    let steered = sum(|delta| delta.received_rps.unwrap_or(0));
    assert!(sum(|delta| delta.processed) >= 10_000, "{moved:?}");
    assert!((1..=10_000_000).contains(&steered), "{moved:?}");
    assert_eq!(moved.len(), before.cpus.len());
}

#[test]
fn lab_settings_look_different_in_a_namespace() {
    let Some(ns) = namespace("lab_settings_look_different_in_a_namespace") else { return };
    let root = Root::live();
    let mode = |key| sysctl::mode(&root, key);
    assert_eq!(mode("net.ipv4.tcp_mem"), Ok(Mode::ReadWrite));
    let inside = ns.run(|| (mode("net.ipv4.tcp_mem"), mode("net.ipv4.tcp_rmem"))).unwrap();
    assert_eq!(mode("net.core.netdev_rss_key"), Ok(Mode::ReadOnly));
    assert_eq!(inside.1, Ok(Mode::ReadWrite));
    let absent = inside.0.unwrap_err();
    assert_eq!(absent.state, SourceState::Absent);
    assert!(absent.reason.contains("global"), "{absent}");
    let seen = sysctl::scopes().as_ref().unwrap();
    assert_eq!(seen["net.ipv4.tcp_rmem"], sysctl::SeenInChild::OwnValue);
    assert_eq!(seen["net.ipv4.udp_mem"], sysctl::SeenInChild::Absent);
}

/// A cgroup of version 1 with a thread in it; gone with this value.
struct Group(PathBuf);

impl Group {
    /// `None` where the memory controller is not on version 1.
    fn create(limit_bytes: u64) -> Option<Self> {
        let folder = PathBuf::from("/sys/fs/cgroup/memory");
        if !folder.join("memory.kmem.tcp.limit_in_bytes").exists() {
            return None;
        }
        let group = Self(folder.join(format!("netmem-test-{}", std::process::id())));
        fs::create_dir(&group.0).ok()?;
        fs::write(group.0.join("memory.kmem.tcp.limit_in_bytes"), limit_bytes.to_string()).unwrap();
        Some(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A thread that has ended may be listed for a moment.
        let gone = (0..6000).any(|_| {
            thread::sleep(Duration::from_millis(5));
            fs::remove_dir(&self.0).is_ok()
        });
        assert!(gone || thread::panicking(), "{} stays", self.0.display());
    }
}

#[test]
fn lab_a_cgroup_holds_its_sockets_memory() {
    let test = "lab_a_cgroup_holds_its_sockets_memory";
    let Some(ns) = namespace(test) else { return };
    let limit = 1 << 20;
    let Some(group) = Group::create(limit) else {
        return skip(test, "no memory controller of cgroup version 1 that can be written");
    };
    let tasks = group.0.join("tasks");
    let name = format!("/{}", group.0.file_name().unwrap().to_str().unwrap());
    let find = || {
        let all = SocketCgroups::read(&Root::live(), Bounds::default()).unwrap();
        assert!(all.is_whole && all.looked_at > 1);
        all.groups.into_iter().find(|cgroup| cgroup.group == name)
    };
    assert_eq!(find(), None, "nothing yet");
    let found = ns
        .run(|| {
            let thread = fs::read_link("/proc/thread-self").unwrap();
            let id = thread.file_name().unwrap().to_str().unwrap().to_owned();
            fs::write(&tasks, id).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut from = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (_to, _) = listener.accept().unwrap();
            from.set_nonblocking(true).unwrap();
            while from.write(&[7; 65536]).is_ok() {}
            find()
        })
        .unwrap()
        .unwrap();
    assert_eq!(found.version, CgroupVersion::V1);
    let tcp = found.tcp.unwrap();
    assert_eq!(tcp.limit_bytes, Some(limit));
    assert!(found.sock_bytes > limit / 4 && found.sock_bytes <= tcp.peak_bytes, "{found:?}");
    // Another level than the machine's: that one is far from its limit.
    let [machine, _] = ProtocolMemory::read(&Root::live()).unwrap();
    assert_eq!(machine.pressure, Ok(MemoryPressure::No));
    wait_for("the memory is given back when the sockets are closed", || find().is_none());
}
