//! What the running kernel tells of sockets and queues, beside what it tells others: `ss`, and each
//! socket itself. In namespaces of their own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::process::Command;

use netmem_host::lab::{Lab, NetNs, missing_privilege, skip};
use netmem_host::netlink::{
    AdminState, Direction, InetDump, InetProtocol, InetSocket, Route, SockDiag, SocketMemory,
    SocketState,
};
use netmem_host::process::{Cgroups, Identity};
use netmem_host::queues::QueueMap;
use netmem_host::sockets::{Ledger, for_each};
use netmem_host::source::{Root, SourceState};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt as xdp, xdp::SocketAddrXdp};
use socket2::{Domain, Protocol, Socket, Type};

/// Options that nobody else has.
#[allow(unreachable_pub, reason = "the macro's are public")]
mod option {
    use nix::{getsockopt_impl, libc, setsockopt_impl, sockopt_impl};

    /// `struct tpacket_req`.
    #[repr(C)]
    #[derive(Clone, Copy, Debug)]
    pub struct RingRequest {
        pub block_bytes: u32,
        pub blocks: u32,
        pub frame_bytes: u32,
        pub frames: u32,
    }

    sockopt_impl!(MemInfo, GetOnly, libc::SOL_SOCKET, libc::SO_MEMINFO, [u32; 9]);
    sockopt_impl!(RxRing, SetOnly, libc::SOL_PACKET, libc::PACKET_RX_RING, RingRequest);
}

/// Runs `work` in a new namespace with its loopback up; records a skip of `test` if there can be none.
fn alone(test: &str, work: impl FnOnce() + Send) {
    if let Some(reason) = missing_privilege() {
        return skip(test, &reason);
    }
    let ns = NetNs::create().unwrap();
    ns.run(|| {
        Route::open().unwrap().set_state("lo", AdminState::Up).unwrap();
        work();
    })
    .unwrap();
}

/// What `ss` prints, or nothing if it is not here; records a skip of `test` then.
fn ss(test: &str, arguments: &[&str]) -> Option<String> {
    match Command::new("ss").args(arguments).output() {
        Ok(output) => Some(String::from_utf8(output.stdout).unwrap()),
        Err(error) => {
            skip(test, &format!("ss (iproute2): {error}"));
            None
        }
    }
}

fn inode(socket: &impl AsRawFd) -> u32 {
    let path = format!("/proc/self/fd/{}", socket.as_raw_fd());
    fs::metadata(path).unwrap().ino().try_into().unwrap()
}

fn list(protocol: InetProtocol) -> Vec<InetSocket> {
    let mut sockets = Vec::new();
    let count = SockDiag::open()
        .unwrap()
        .for_each_inet(InetDump::new(protocol).with_tcp_info(), |socket| sockets.push(*socket))
        .unwrap();
    assert_eq!(count, sockets.len() as u64);
    sockets
}

fn find(protocol: InetProtocol, socket: &impl AsRawFd) -> InetSocket {
    let number = inode(socket);
    list(protocol).into_iter().find(|socket| socket.inode == number).unwrap()
}

fn numbers(memory: &SocketMemory) -> [u32; 9] {
    [
        memory.rmem_alloc_bytes,
        memory.rcvbuf_bytes,
        memory.wmem_alloc_bytes,
        memory.sndbuf_bytes,
        memory.fwd_alloc_bytes,
        memory.wmem_queued_bytes,
        memory.optmem_bytes,
        memory.backlog_bytes,
        memory.drops,
    ]
}

/// The nine numbers as `ss` writes them.
fn skmem(memory: &SocketMemory) -> String {
    let [r, rb, t, tb, f, w, o, bl, d] = numbers(memory);
    format!("skmem:(r{r},rb{rb},t{t},tb{tb},f{f},w{w},o{o},bl{bl},d{d})")
}

/// A connection whose first end has sent what the second does not read.
fn connection(len_bytes: usize) -> (TcpListener, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let far = listener.accept().unwrap().0;
    near.write_all(&vec![7; len_bytes]).unwrap();
    (listener, near, far)
}

#[track_caller]
fn wait_for(mut condition: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if condition() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("it did not come about within a minute");
}

/// Has failed with: `wmem_queued` and `fwd_alloc` read from each other's places, and with the port of
/// the source read from that of the destination.
#[test]
fn lab_sockets_are_as_ss_and_they_say() {
    let test = "lab_sockets_are_as_ss_and_they_say";
    alone(test, || {
        let (listener, near, far) = connection(100_000);
        let (one, other) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        for _ in 0..3 {
            other.send_to(&[1; 500], one.local_addr().unwrap()).unwrap();
        }
        // Until all is acknowledged.
        wait_for(|| find(InetProtocol::Tcp, &near).wqueue == 0);
        let own = |socket: &dyn AsFd| getsockopt(&socket.as_fd(), option::MemInfo).unwrap();
        let sockets = || -> [(_, u32, [u32; 9]); 5] {
            [
                (InetProtocol::Tcp, inode(&listener), own(&listener)),
                (InetProtocol::Tcp, inode(&near), own(&near)),
                (InetProtocol::Tcp, inode(&far), own(&far)),
                (InetProtocol::Udp, inode(&one), own(&one)),
                (InetProtocol::Udp, inode(&other), own(&other)),
            ]
        };
        let look = || (sockets(), ss(test, &["-tuamneOH"]), list(InetProtocol::Tcp));
        let mut looked = look();
        // And until nothing is charged or given back while all of them are asked: the kernel may still be at
        // the last acknowledgement.
        wait_for(|| {
            let before = std::mem::replace(&mut looked, look());
            before.0 == looked.0 && looked.0 == sockets()
        });
        let (sockets, text, tcp) = looked;
        let udp = list(InetProtocol::Udp);
        for (protocol, inode, own) in sockets {
            let all = if protocol == InetProtocol::Tcp { &tcp } else { &udp };
            let socket = all.iter().find(|socket| socket.inode == inode).unwrap();
            let memory = socket.memory.unwrap();
            assert_eq!(numbers(&memory), own);
            let Some(text) = &text else { continue };
            let line = text.lines().find(|line| line.contains(&format!(" ino:{inode} "))).unwrap();
            assert!(line.contains(&skmem(&memory)), "{line}\n{socket:?}");
            let fields: Vec<_> = line.split_whitespace().collect();
            let queues = [fields[2], fields[3]].map(|queue| queue.parse::<u32>().unwrap());
            assert_eq!(queues, [socket.rqueue, socket.wqueue], "{line}");
            assert_eq!(fields[4].parse::<SocketAddr>(), Ok(socket.source), "{line}");
            let state = match socket.state {
                SocketState::Established => "ESTAB",
                SocketState::Listen => "LISTEN",
                SocketState::Close => "UNCONN",
                other => panic!("{other:?}"),
            };
            assert_eq!(fields[1], state);
        }
        let far = find(InetProtocol::Tcp, &far);
        assert_eq!(far.rqueue, 100_000);
        assert!(far.memory.unwrap().rmem_alloc_bytes > 100_000, "truesize is more than payload");
        assert_eq!(far.destination, near.local_addr().unwrap());
        assert_eq!(far.tcp.unwrap().bytes_received, 100_000);
        let tcp = find(InetProtocol::Tcp, &near).tcp.unwrap();
        assert_eq!((tcp.bytes_sent - tcp.bytes_retrans, tcp.bytes_acked), (100_000, 100_001));
        assert!(tcp.rtt_us > 0 && tcp.min_rtt_us <= tcp.rtt_us && tcp.snd_mss_bytes > 0, "{tcp:?}");
        let three = find(InetProtocol::Udp, &one);
        // What waits at UDP is told with its overhead, as `ss` shows it.
        assert_eq!(three.rqueue, three.memory.unwrap().rmem_alloc_bytes);
    });
}

/// Has failed with: requests for IPv4 only.
#[test]
fn lab_ipv6_and_options_are_told() {
    alone("lab_ipv6_and_options_are_told", || {
        let Ok(listener) = TcpListener::bind("[::1]:0") else {
            return skip("lab_ipv6_and_options_are_told", "no IPv6");
        };
        let socket = find(InetProtocol::Tcp, &listener);
        assert_eq!(socket.source, listener.local_addr().unwrap());
        let has = |name| socket.options.is_some_and(|options| options.names().any(|o| o == name));
        assert!(has("is_icsk") && !has("freebind") && !has("transparent"), "{:?}", socket.options);
        let only = InetDump::new(InetProtocol::Tcp).states(&[SocketState::Established]);
        assert_eq!(SockDiag::open().unwrap().for_each_inet(only, |_| ()), Ok(0));
        let only = only.states(&[SocketState::Listen]).without_memory();
        let bare = |socket: &InetSocket| assert_eq!((socket.memory, socket.tcp), (None, None));
        assert_eq!(SockDiag::open().unwrap().for_each_inet(only, bare), Ok(1));
    });
}

/// Has failed with: `drops` read from the place of `backlog`.
#[test]
fn lab_udp_overflow_is_counted_exactly() {
    alone("lab_udp_overflow_is_counted_exactly", || {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        setsockopt(&receiver, sockopt::RcvBuf, &8192).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..50 {
            sender.send_to(&[1; 1000], receiver.local_addr().unwrap()).unwrap();
        }
        // Loopback delivers in a softirq, which is as a rule the sender's own.
        wait_for(|| find(InetProtocol::Udp, &receiver).memory.unwrap().drops >= 43);
        let memory = find(InetProtocol::Udp, &receiver).memory.unwrap();
        let mut ledger = Ledger::new(1);
        list(InetProtocol::Udp).iter().for_each(|socket| ledger.add(socket));
        let totals = ledger.finish(&Root::live());
        receiver.set_nonblocking(true).unwrap();
        let delivered = (0..50).filter(|_| receiver.recv(&mut [0; 1000]).is_ok()).count();
        assert_eq!((memory.drops, delivered), (43, 7));
        assert_eq!(memory.rcvbuf_bytes, 16384, "what was asked for is doubled");
        let own = totals.by_process[&std::process::id()];
        assert_eq!((own.sockets, own.drops, own.sockets_with_drops), (2, 43, 1));
        assert_eq!(totals.top[0].inode, inode(&receiver));
        let udp = fs::read_to_string("/proc/thread-self/net/udp").unwrap();
        assert!(udp.lines().any(|line| line.trim_end().ends_with(" 43")), "{udp}");
    });
}

#[test]
fn lab_packet_and_unix_sockets_are_told() {
    let test = "lab_packet_and_unix_sockets_are_told";
    alone(test, || {
        let packet = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0x0300))).unwrap();
        let request =
            option::RingRequest { block_bytes: 8192, blocks: 4, frame_bytes: 2048, frames: 16 };
        setsockopt(&packet, option::RxRing, &request).unwrap();
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(&[1; 300]).unwrap();
        let mut diag = SockDiag::open().unwrap();

        let sockets = diag.packet_sockets().unwrap();
        let [socket] = &sockets[..] else { panic!("{sockets:?}") };
        assert_eq!((socket.inode, socket.socket_type, socket.ether_type), (inode(&packet), 3, 3));
        let ring = socket.rx_ring.unwrap();
        assert_eq!(
            (ring.block_bytes, ring.blocks, ring.frame_bytes, ring.frames),
            (8192, 4, 2048, 16)
        );
        assert_eq!((ring.len_bytes(), socket.tx_ring, socket.fanout), (32768, None, None));
        let memory = socket.memory.unwrap();
        assert_eq!(numbers(&memory), getsockopt(&packet, option::MemInfo).unwrap());
        if let Some(text) = ss(test, &["-0amneOH"]) {
            assert!(text.contains(&format!("ino:{} ", socket.inode)), "{text}");
            assert!(text.contains(&skmem(&memory)), "{text}");
        }

        let sockets = diag.unix_sockets().unwrap();
        let of = |number| sockets.iter().find(|socket| socket.inode == number).unwrap();
        let (receiver, sender) = (of(inode(&near)), of(inode(&far)));
        assert_eq!((receiver.rqueue, receiver.peer_inode), (300, Some(sender.inode)));
        assert_eq!(receiver.state, SocketState::Established);
        let memory = sender.memory.unwrap();
        assert!(memory.wmem_alloc_bytes > 300, "it counts at the sender: {memory:?}");
        assert_eq!(numbers(&memory), getsockopt(&far, option::MemInfo).unwrap());
    });
}

/// Has failed with: an empty dump taken for none.
#[test]
fn lab_no_row_is_not_none() {
    alone("lab_no_row_is_not_none", || {
        let root = Root::live();
        let raw = InetDump::new(InetProtocol::Raw);
        let mut diag = SockDiag::open().unwrap();
        let before = for_each(&root, &mut diag, raw, |_| ());
        let _raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
        let mut seen = 0;
        match for_each(&root, &mut diag, raw, |_| seen += 1) {
            Ok(count) => assert_eq!((count, seen, before), (1, 1, Ok(0))),
            Err(unavailable) => {
                assert_eq!((unavailable.state, seen), (SourceState::Absent, 0), "{unavailable}");
            }
        }
        // Where the kernel can tell, none is none.
        let udp = InetDump::new(InetProtocol::Udp);
        assert_eq!(for_each(&root, &mut diag, udp, |_| ()), Ok(0));
        // The same answer beside figures that say otherwise.
        let folder = std::env::temp_dir().join(format!("nm-sockstat-{}", std::process::id()));
        fs::create_dir_all(folder.join("proc/net")).unwrap();
        fs::write(folder.join("proc/net/sockstat"), "sockets: used 9\nTCP: inuse 1 orphan 0 tw 0 alloc 1 mem 1\nUDP: inuse 3 mem 2\nRAW: inuse 0\n\
             FRAG: inuse 0 memory 0\n").unwrap();
        let told = for_each(&Root::at(&folder), &mut diag, udp, |_| ());
        let of_some = for_each(&Root::at(&folder), &mut diag, udp.states(&[]), |_| ());
        fs::remove_dir_all(&folder).unwrap();
        let unavailable = told.unwrap_err();
        assert_eq!(unavailable.state, SourceState::Absent);
        assert!(unavailable.reason.contains("sockstat counts 3"), "{unavailable}");
        assert_eq!(of_some, Ok(0), "of no state there are none");
    });
}

#[test]
fn lab_a_thousand_sockets_are_all_listed() {
    let test = "lab_a_thousand_sockets_are_all_listed";
    alone(test, || {
        // They are about as many as a process may have open by default, and other tests have some.
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, soft.max(hard.min(4096)), hard).unwrap();
        let bind = |_| UdpSocket::bind("127.0.0.1:0").unwrap();
        let sockets: Vec<_> = (0..1000).map(bind).collect();
        let mut listed: Vec<_> = list(InetProtocol::Udp).iter().map(|s| s.inode).collect();
        let mut expected: Vec<_> = sockets.iter().map(inode).collect();
        listed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(listed, expected);
        if let Some(text) = ss(test, &["-uanH"]) {
            assert_eq!(text.lines().count(), listed.len());
        }
    });
}

#[test]
fn lab_control_groups_are_told() {
    let test = "lab_control_groups_are_told";
    alone(test, || {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let own = Identity::read(&Root::live(), std::process::id()).unwrap();
        let (Some(id), Some(path), Ok(cgroups)) =
            (find(InetProtocol::Udp, &udp).cgroup_id, own.cgroup, Cgroups::scan(&Root::live()))
        else {
            return skip(test, "no control groups of version 2");
        };
        assert_eq!((cgroups.path(id), cgroups.id(&path)), (Some(path.as_str()), Some(id)));
    });
}

/// Memory for a socket that never touches it, from a page's begin.
struct Umem(Vec<u8>);

impl Umem {
    const LEN_BYTES: usize = 16 << 12;

    fn address(&self) -> u64 {
        (self.0.as_ptr().addr() as u64).next_multiple_of(4096)
    }
}

/// Has failed with: `is_xdp_socket` taken from another attribute.
#[test]
fn lab_queues_are_mapped() {
    let test = "lab_queues_are_mapped";
    if let Some(reason) = missing_privilege() {
        return skip(test, &reason);
    }
    let lab = Lab::builder().queues(2).build().unwrap();
    let umem = Umem(vec![0; Umem::LEN_BYTES + 4096]);
    let index = lab.server_link().index;
    let (socket, map, counters) = lab
        .server
        .run(|| {
            let family = AddressFamily::XDP;
            let socket =
                rustix::net::socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, None);
            let socket = match socket {
                Ok(socket) => socket,
                Err(error) => return (Err(error), None, None),
            };
            let region = rustix::net::xdp::XdpUmemReg {
                addr: umem.address(),
                len: Umem::LEN_BYTES as u64,
                chunk_size: 4096,
                headroom: 0,
                flags: rustix::net::xdp::XdpUmemRegFlags::empty(),
                tx_metadata_len: 0,
            };
            xdp::set_xdp_umem_reg(&socket, region).unwrap();
            xdp::set_xdp_umem_fill_ring_size(&socket, 64).unwrap();
            xdp::set_xdp_umem_completion_ring_size(&socket, 64).unwrap();
            xdp::set_xdp_rx_ring_size(&socket, 64).unwrap();
            let flags = rustix::net::xdp::SocketAddrXdpFlags::XDP_COPY;
            rustix::net::bind(&socket, &SocketAddrXdp::new(flags, index, 1)).unwrap();
            let map = QueueMap::read(&Root::live()).unwrap();
            let counters = Route::open().unwrap().link_counters().unwrap();
            (Ok(socket), Some(map), Some(counters))
        })
        .unwrap();
    let (Ok(_socket), Some(map), Some(counters)) = (socket, map, counters) else {
        return skip(test, "a kernel without AF_XDP");
    };
    let of_link = map.queues.iter().filter(|mapped| mapped.queue.ifindex == index);
    let told: Vec<_> = of_link.clone().map(|m| (m.queue.direction, m.queue.id)).collect();
    let (rx, tx) = (Direction::Rx, Direction::Tx);
    assert_eq!(told, [(rx, 0), (rx, 1), (tx, 0), (tx, 1)]);
    let marked: Vec<_> = of_link.map(|mapped| mapped.queue.is_xdp_socket).collect();
    assert_eq!(marked, [false, true, false, true]);
    // Counted by other means: `/proc/net/dev` is of the thread's namespace.
    let text = lab.server.run(|| fs::read_to_string("/proc/thread-self/net/dev").unwrap()).unwrap();
    let line = text.lines().find(|line| line.trim_start().starts_with("nm-server:")).unwrap();
    let received: u64 = line.split_whitespace().nth(2).unwrap().parse().unwrap();
    let link = counters.iter().find(|link| link.ifindex == index).unwrap();
    assert!(link.rx_packets <= received, "{link:?} {line}");
    assert!(counters.iter().any(|link| link.ifindex == 1), "loopback is a link");
}

/// What the kernel was built without is a gap with that name, not an empty list.
#[test]
fn page_pool_statistics_that_are_not_there_are_said_so() {
    let map = match QueueMap::read(&Root::live()) {
        Ok(map) => map,
        Err(unavailable) => {
            let test = "page_pool_statistics_that_are_not_there_are_said_so";
            return skip(test, &unavailable.to_string());
        }
    };
    let gap = map.gaps.iter().find(|gap| gap.source.contains("statistics of page pools"));
    if let Some(gap) = gap {
        assert_eq!(gap.state, SourceState::Absent);
        assert_eq!(gap.reason, "CONFIG_PAGE_POOL_STATS is off");
    }
    let config = Command::new("zcat").arg("/proc/config.gz").output();
    let config = String::from_utf8(config.map(|output| output.stdout).unwrap_or_default()).unwrap();
    if config.contains("CONFIG_PAGE_POOL=y") {
        assert_eq!(gap.is_none(), config.contains("CONFIG_PAGE_POOL_STATS=y"));
    }
}
