//! A path with a long round trip between two namespaces, and a connection over it: what limits of TCP are
//! met by.
//!
//! ```text
//!   client  nm-a ==veth== wire-a   the namespace between   wire-b ==veth== nm-b  server
//!   192.0.2.1                 '--> each frame after a delay ->'                   192.0.2.2
//! ```
//! Senders are paced to 100 Mbit/s. Frames are handed on by plain packet sockets, so no queueing discipline is
//! needed. Segmentation offload is off at both ends, so that a frame is a segment. All of it is gone with the value.
//!
//! Shared by tests of the host crate and of the command.
#![allow(dead_code, reason = "each program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "tests: what cannot go on, panics")]

use std::{
    collections::VecDeque,
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use netmem_host::{
    lab::NetNs,
    netlink::{AdminState, Ethtool, Ipv4Interface, LinkSpec, OperState, Route},
};
use nix::{
    errno::Errno,
    ifaddrs::getifaddrs,
    libc,
    sys::socket::{
        AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvfrom,
        sendto, setsockopt, socket, sockopt,
    },
};
use socket2::SockRef;

/// Of what takes longer, nothing is expected any more.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes per second that a sender puts on the wire at most.
///
/// The kernel counts the time for which a send buffer holds back its program from where its queue runs empty
/// while the program waits for room (`tcp_cwnd_validate` in net/ipv4/tcp_output.c). On a veth without pacing
/// nothing is ever in that queue: what a call brings is sent in it, before it has to wait.
const BANDWIDTH: u64 = 12_500_000;
/// A frame of more bytes has data.
const DATA_FRAME_LEN: usize = 1000;
/// The byte at each place of a connection is that of its place in a table of so many.
const PATTERN_LEN: usize = 251;

/// Options that nobody else has.
#[allow(unreachable_pub, reason = "the macro's are public")]
mod option {
    use nix::{libc, setsockopt_impl, sockopt_impl};

    sockopt_impl!(MaxPacingRate, SetOnly, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, u64);
}

/// Two namespaces, and a third between them that hands frames on after a delay.
pub(crate) struct LongWire {
    pub(crate) client: NetNs,
    pub(crate) server: NetNs,
    is_over: Arc<AtomicBool>,
    ways: Vec<JoinHandle<()>>,
    /// Opened in the namespace between; the links go with it.
    route: Route,
}

/// What a wire does to frames.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wire {
    /// Of one way.
    pub(crate) delay: Duration,
    /// Each of so many frames with data for the server is lost.
    pub(crate) loses_one_in: Option<u64>,
}

/// How a connection's program sends.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sending {
    /// What it asks for with `SO_SNDBUF`.
    pub(crate) sndbuf_bytes: Option<usize>,
    /// It sends so much at a time, and then has nothing to send for so long; else it always has.
    pub(crate) portion: Option<(usize, Duration)>,
}

/// A connection over the wire from client to server; ended with this value.
pub(crate) struct Flow {
    received_bytes: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    ends: Vec<JoinHandle<()>>,
    sender: TcpStream,
}

impl LongWire {
    pub(crate) fn new(wire: Wire) -> Self {
        let namespace = || NetNs::create().unwrap();
        let (client, server, between) = (namespace(), namespace(), namespace());
        [&client, &server, &between].into_iter().for_each(without_ipv6);
        let mut route = between.run(|| Route::open().unwrap()).unwrap();
        for (near, far, end, last) in
            [("wire-a", "nm-a", &client, 1), ("wire-b", "nm-b", &server, 2)]
        {
            route.create_veth(&LinkSpec::new(near), &LinkSpec::new(far), end).unwrap();
            end.run(|| set_up_end(far, last)).unwrap();
            route.set_state(near, AdminState::Up).unwrap();
            wait_until_up(&mut route, near);
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let back = Wire { loses_one_in: None, ..wire };
        let ways = [("wire-a", "wire-b", wire), ("wire-b", "wire-a", back)];
        let ways = ways.map(|(from, to, wire)| {
            let is_over = Arc::clone(&is_over);
            between.spawn("wire", move || hand_on((from, to), wire, &is_over)).unwrap()
        });
        Self { client, server, is_over, ways: ways.into(), route }
    }
}

impl Default for Wire {
    /// A round trip of 40 ms without loss.
    fn default() -> Self {
        Self { delay: Duration::from_millis(20), loses_one_in: None }
    }
}

impl Drop for LongWire {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for way in self.ways.drain(..) {
            let _ = way.join();
        }
        for name in ["wire-a", "wire-b"] {
            let _ = self.route.delete_link(name);
        }
    }
}

impl Flow {
    /// Connects to a port of the server, and sends from then on.
    pub(crate) fn start(wire: &LongWire, port: u16, sending: Sending) -> Self {
        let (received_bytes, is_over) =
            (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let address = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 2), port));
        let listener = wire.server.run(|| TcpListener::bind(address).unwrap()).unwrap();
        let (count, over) = (Arc::clone(&received_bytes), Arc::clone(&is_over));
        let reader = wire.server.spawn("reader", move || receive(&listener, &count, &over));
        let (over, (sender, connected)) = (Arc::clone(&is_over), mpsc::channel());
        let writer = wire.client.spawn("writer", move || {
            let stream = TcpStream::connect(address).unwrap();
            sender.send(stream.try_clone().unwrap()).unwrap();
            send(stream, sending, &over);
        });
        let ends = vec![reader.unwrap(), writer.unwrap()];
        let sender = connected.recv_timeout(PATIENCE).unwrap();
        Self { received_bytes, is_over, ends, sender }
    }

    /// Bytes that came in that time, each the one that was sent.
    pub(crate) fn bytes_in(&self, time: Duration) -> u64 {
        let before = self.received_bytes.load(Ordering::Relaxed);
        thread::sleep(time);
        assert!(self.ends.iter().all(|end| !end.is_finished()), "an end has panicked");
        self.received_bytes.load(Ordering::Relaxed) - before
    }

    /// The limit of the sender's buffer.
    pub(crate) fn sndbuf_bytes(&self) -> usize {
        SockRef::from(&self.sender).send_buffer_size().unwrap()
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for end in self.ends.drain(..) {
            let _ = end.join();
        }
    }
}

fn without_ipv6(namespace: &NetNs) {
    let set = || {
        for scope in ["all", "default"] {
            // A kernel without IPv6 has no such file.
            let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1");
        }
    };
    namespace.run(set).unwrap();
}

fn set_up_end(name: &str, last: u8) {
    // Only loss makes its window smaller: BBR's is none of loss, and CUBIC's grows less when the delay varies.
    fs::write("/proc/sys/net/ipv4/tcp_congestion_control", "reno").unwrap();
    let mut route = Route::open().unwrap();
    let address = Ipv4Addr::new(192, 0, 2, last);
    route.add_address(name, Ipv4Interface { address, prefix_len: 24 }).unwrap();
    let offloads = Ethtool::open().unwrap().offloads_off(name).unwrap();
    assert!(offloads.still_on.is_empty(), "{offloads:?}");
    route.set_state("lo", AdminState::Up).unwrap();
    route.set_state(name, AdminState::Up).unwrap();
}

/// Until then its queueing discipline drops all.
fn wait_until_up(route: &mut Route, name: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let link = route.link(name).unwrap();
        if link.oper_state == OperState::Up && link.qdisc != "noop" {
            return;
        }
        assert!(Instant::now() < deadline, "{name} does not come up");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The address of an interface of the calling thread's namespace.
fn link_address(name: &str) -> LinkAddr {
    let mut all = getifaddrs().unwrap();
    let address = all.find_map(|it| {
        let address = it.address.filter(|_| it.interface_name == name)?;
        address.as_link_addr().copied()
    });
    address.unwrap_or_else(|| panic!("{name} has no address"))
}

/// One way of the wire.
fn hand_on((from, to): (&str, &str), wire: Wire, is_over: &AtomicBool) {
    let (from, to) = (link_address(from), link_address(to));
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let protocol = SockProtocol::EthAll;
    let socket = socket(AddressFamily::Packet, SockType::Raw, flags, protocol).unwrap();
    setsockopt(&socket, sockopt::RcvBufForce, &(8 << 20)).unwrap();
    bind(socket.as_raw_fd(), &from).unwrap();
    let mut under_way: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut frame = [0; 2048];
    let mut data_frames = 0_u64;
    while !is_over.load(Ordering::Relaxed) {
        match recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut frame) {
            // What this end sent itself is seen too.
            Ok((len, Some(of))) if of.pkttype() != libc::PACKET_OUTGOING => {
                data_frames += u64::from(len > DATA_FRAME_LEN);
                let is_lost =
                    wire.loses_one_in.is_some_and(|count| data_frames.is_multiple_of(count));
                if !is_lost || len <= DATA_FRAME_LEN {
                    under_way.push_back((Instant::now() + wire.delay, frame[..len].to_vec()));
                }
            }
            Ok(_) => {}
            Err(Errno::EAGAIN) => thread::sleep(Duration::from_micros(300)),
            Err(error) => panic!("receive a frame: {error}"),
        }
        while under_way.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            let (_, frame) = under_way.pop_front().unwrap();
            match sendto(socket.as_raw_fd(), &frame, &to, MsgFlags::MSG_DONTWAIT) {
                // What finds no room is lost, as on any wire.
                Ok(_) | Err(Errno::EAGAIN | Errno::ENOBUFS) => {}
                Err(error) => panic!("send a frame: {error}"),
            }
        }
    }
}

/// Bytes from a place of a connection on.
fn pattern() -> Vec<u8> {
    (0..=250).cycle().take((1 << 18) + PATTERN_LEN).collect()
}

fn receive(listener: &TcpListener, count: &AtomicU64, is_over: &AtomicBool) {
    listener.set_nonblocking(true).unwrap();
    let mut stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(_) if is_over.load(Ordering::Relaxed) => return,
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    };
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let (mut bytes, pattern, mut offset) = (vec![0; 1 << 18], pattern(), 0);
    while !is_over.load(Ordering::Relaxed) {
        let len = stream.read(&mut bytes).unwrap_or(0);
        assert!(
            bytes[..len] == pattern[offset % PATTERN_LEN..][..len],
            "other bytes from {offset} on"
        );
        offset += len;
        count.store(offset as u64, Ordering::Relaxed);
    }
}

fn send(mut stream: TcpStream, sending: Sending, is_over: &AtomicBool) {
    if let Some(bytes) = sending.sndbuf_bytes {
        SockRef::from(&stream).set_send_buffer_size(bytes).unwrap();
    }
    setsockopt(&stream, option::MaxPacingRate, &BANDWIDTH).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let (pattern, mut offset) = (pattern(), 0);
    let len = sending.portion.map_or(1 << 18, |(len, _)| len);
    while !is_over.load(Ordering::Relaxed) {
        // One that timed out is tried again.
        let sent = stream.write(&pattern[offset % PATTERN_LEN..][..len]).unwrap_or(0);
        offset += sent;
        if let Some((_, pause)) = sending.portion {
            thread::sleep(pause);
        }
    }
}
