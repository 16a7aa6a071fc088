//! `netmem forward`: between two interfaces, and back on one.
//!
//! ```text
//!   west (kernel, 192.0.2.1) === nm-west :mid, netmem forward: nm-east === east (kernel, 192.0.2.2)
//! ```
//!
//! Planted and caught, by the test named: addresses not exchanged, a source set as destination, the filter
//! left out, addresses kept on one interface (`reflects`); what the other side received counted
//! (`between`); a queue whose worker passes it over (`every_queue`); the end without a drain, drops of no
//! reason, and of the wrong direction (`last_packets`); exit code 0 when an interface went
//! (`interface_gone`); the default route not looked at (`refusals`); one interface not promiscuous
//! (`status`); advice not printed (`advice`); sockets registered by the bind (`start_under_load`); the
//! namespace not known, no pool, and the rings of one worker only (`listed`). Not caught at first: packets
//! sent back by where they came from hung `between`, and advice told for each queue passed `advice`; both
//! are seen now. The audit not looked at is seen by a unit test of `forward` alone: no end with open books
//! can be made from outside.
#![allow(clippy::unwrap_used, reason = "a test: an error where none may be is a failure")]

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use netmem::{link::Link, packet::FrameSocket};
use netmem_host::{
    lab::NetNs,
    netlink::{AdminState, Ethtool, Ipv4Interface, LinkInfo, LinkSpec, OperState, Route},
};

use serde_json::json;

use crate::support::{PATIENCE, Ran, Running, Traces, start, turn};

const WEST: &str = "nm-west";
const EAST: &str = "nm-east";
const PEER: &str = "nm-peer";
const WEST_IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const EAST_IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// Three namespaces and two pairs.
struct Wires {
    west: NetNs,
    mid: NetNs,
    east: NetNs,
}

impl Wires {
    fn new(queues: u32) -> Self {
        let wires = Self {
            west: NetNs::create().unwrap(),
            mid: NetNs::create().unwrap(),
            east: NetNs::create().unwrap(),
        };
        for (peer, name, ip) in [(&wires.west, WEST, WEST_IP), (&wires.east, EAST, EAST_IP)] {
            let ready = || {
                std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
                (Route::open().unwrap(), Ethtool::open().unwrap())
            };
            let (mut near, mut near_offloads) = wires.mid.run(ready).unwrap();
            let (mut far, mut far_offloads) = peer.run(ready).unwrap();
            let spec = |name: &str| LinkSpec {
                rx_queues: Some(queues),
                tx_queues: Some(queues),
                ..LinkSpec::new(name)
            };
            near.create_veth(&spec(name), &spec(PEER), peer).unwrap();
            far.add_address(PEER, format!("{ip}/24").parse::<Ipv4Interface>().unwrap()).unwrap();
            assert!(near_offloads.offloads_off(name).unwrap().still_on.is_empty());
            assert!(far_offloads.offloads_off(PEER).unwrap().still_on.is_empty());
            near.set_state(name, AdminState::Up).unwrap();
            far.set_state(PEER, AdminState::Up).unwrap();
            for (route, name) in [(&mut near, name), (&mut far, PEER)] {
                wait_until_up(route, name);
            }
        }
        wires
    }

    /// Starts netmem in the middle, and waits until it says that it forwards.
    fn start(&self, words: &[&str]) -> Running {
        let mut running = self.mid.run(|| start(words)).unwrap();
        if !running.has_said("interface      ", PATIENCE) {
            panic!("ended: {:?}", running.wait(PATIENCE));
        }
        running
    }

    fn programs(&self) -> [bool; 2] {
        let is_there = |name| Link::by_name(name).unwrap().xdp.is_some();
        self.mid.run(|| [WEST, EAST].map(is_there)).unwrap()
    }
}

/// Until then the queueing discipline of a link drops all.
fn wait_until_up(route: &mut Route, name: &str) {
    let deadline = Instant::now() + PATIENCE;
    let is_up = |link: &LinkInfo| link.oper_state == OperState::Up && link.qdisc != "noop";
    while !is_up(&route.link(name).unwrap()) {
        assert!(Instant::now() < deadline, "{name} does not come up");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Sends `len` bytes by TCP from west to east and back, and compares every byte.
fn tcp_there_and_back(wires: &Wires, len: usize) {
    let listener = wires.east.run(|| TcpListener::bind((EAST_IP, 4000))).unwrap().unwrap();
    let sent: Vec<u8> = (0..len).map(|at| (at * 7 + at / 251).to_le_bytes()[0]).collect();
    let connect = || {
        let address = (EAST_IP, 4000).into();
        TcpStream::connect_timeout(&address, PATIENCE)
    };
    let mut stream = wires.west.run(connect).unwrap().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            stream.write_all(&all).unwrap();
        });
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut back = Vec::new();
        stream.write_all(&sent).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        stream.read_to_end(&mut back).unwrap();
        assert!(back == sent, "{} of {len} bytes came back, or others", back.len());
    });
}

/// The summary of a forward that ended well: each direction's books close.
fn closed(ended: &Ran) -> serde_json::Value {
    let summary = ended.assert_ended_well();
    assert_eq!(summary["schema"], "netmem.forward/1");
    for way in summary["directions"].as_array().unwrap() {
        let count = |name: &str| way[name].as_u64().unwrap();
        let dropped: u64 =
            way["dropped"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
        assert_eq!(count("received"), count("sent") + dropped + count("held"), "{way}");
        assert_eq!(count("held"), 0, "{way}");
    }
    summary
}

#[test]
fn between() {
    let Some(_turn) = turn("forward::between") else { return };
    for (extra, mode) in [
        (&["--mode", "native"][..], "native"),
        (&["--mode", "generic", "--no-sandbox"], "generic"),
        (&["--busy-poll", "--mac", "keep", "--frame-bytes", "4096"], "native"),
    ] {
        let wires = Wires::new(1);
        let words = [&["forward", WEST, EAST, "--json", "--interval", "1"], extra].concat();
        let mut forward = wires.start(&words);
        // ARP by broadcast, then both ways with acknowledgements, all by the kernels' stacks.
        tcp_there_and_back(&wires, 4 << 20);
        let ended = forward.interrupt();
        let summary = closed(&ended);
        let ways = summary["directions"].as_array().unwrap();
        assert_eq!(ways.len(), 2);
        for (way, [from, to]) in ways.iter().zip([[WEST, EAST], [EAST, WEST]]) {
            assert_eq!((&way["from"], &way["to"]), (&from.into(), &to.into()));
            // 4 MiB in frames of at most 1514 bytes.
            assert!(way["sent"].as_u64().unwrap() > 2800, "{way}");
        }
        let ports = summary["ports"].as_array().unwrap();
        assert!(ports.iter().all(|port| port["mode"] == mode), "{summary}");
        assert_eq!(wires.programs(), [false, false]);
    }
}

#[test]
fn every_queue() {
    let Some(_turn) = turn("forward::every_queue") else { return };
    let wires = Wires::new(4);
    let mut forward = wires.start(&["l2fwd", WEST, EAST, "--json"]);
    tcp_there_and_back(&wires, 1 << 20);
    let summary = closed(&forward.interrupt());
    let ports = summary["ports"].as_array().unwrap();
    let names: Vec<_> = ports
        .iter()
        .map(|p| (p["interface"].as_str().unwrap(), p["queue"].as_u64().unwrap()))
        .collect();
    let wanted = |name| (0..4).map(move |queue| (name, queue));
    assert_eq!(names, wanted(WEST).chain(wanted(EAST)).collect::<Vec<_>>());
    // Flows enough for every queue; each arrives.
    let mut forward = wires.start(&["forward", WEST, EAST, "--json"]);
    let server = wires.east.run(|| UdpSocket::bind((EAST_IP, 4002))).unwrap().unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let send = |n: u8| {
        let client = UdpSocket::bind((WEST_IP, 0)).unwrap();
        client.send_to(&[n], (EAST_IP, 4002)).unwrap();
    };
    for n in 0..64 {
        wires.west.run(|| send(n)).unwrap();
        let mut got = [0; 2];
        assert_eq!((server.recv(&mut got).unwrap(), got[0]), (1, n));
    }
    let summary = closed(&forward.interrupt());
    for port in &summary["ports"].as_array().unwrap()[..4] {
        assert!(port["received"].as_u64().unwrap() > 0, "{summary:#}");
    }
    // Fewer queues on one side: those of the other are dealt out.
    let mut forward = wires.start(&["forward", EAST, WEST, "--json", "--queue", "0,1,2,3"]);
    tcp_there_and_back(&wires, 1 << 20);
    closed(&forward.interrupt());
}

/// Sends `frame` from west, and returns the first frame of its kind that comes back in time.
fn exchange(wires: &Wires, frame: &[u8], patience: Duration) -> Option<Vec<u8>> {
    let exchange = || {
        let link = Link::by_name(PEER).unwrap();
        let mut socket = FrameSocket::open(&link, 64, 2048).unwrap();
        let mut back = None;
        let deadline = Instant::now() + patience;
        socket.send(&[frame]).unwrap();
        while back.is_none() && Instant::now() < deadline {
            socket.wait(Duration::from_millis(10)).unwrap();
            let visit = |bytes: &[u8]| {
                if bytes[12..14] == frame[12..14] {
                    back = Some(bytes.to_vec());
                }
            };
            socket.receive(visit).unwrap();
        }
        back
    };
    wires.west.run(exchange).unwrap()
}

#[test]
fn reflects() {
    let Some(_turn) = turn("forward::reflects") else { return };
    let wires = Wires::new(1);
    let (to, from) = ([2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 7]);
    let framed = |to: [u8; 6], from: [u8; 6], ethertype: [u8; 2]| {
        let mut frame = [&to[..], &from, &ethertype].concat();
        frame.extend((0..86).map(|at: u8| at.wrapping_mul(3)));
        frame
    };
    let ours = [0x88, 0xb5];
    let frame = framed(to, from, ours);
    let set = [2, 0, 0, 0, 0, 5];
    for (extra, wanted) in [
        (&[][..], framed(from, to, ours)),
        (&["--mac", "keep"], frame.clone()),
        (&["--source-mac", "02:00:00:00:00:05"], framed(to, set, ours)),
        (&["--destination-mac", "02:00:00:00:00:05"], framed(set, from, ours)),
        (&["--filter", "ether proto 0x88b5"], framed(from, to, ours)),
    ] {
        let mut forward = wires.start(&[&["forward", WEST, "--json"], extra].concat());
        assert_eq!(exchange(&wires, &frame, PATIENCE), Some(wanted), "{extra:?}");
        let is_left_out = extra.contains(&"--filter");
        // That nothing comes can be seen in a time only.
        let patience = if is_left_out { Duration::from_secs(1) } else { PATIENCE };
        let other = exchange(&wires, &framed(to, from, [0x88, 0xb6]), patience);
        assert_eq!(other.is_none(), is_left_out, "{extra:?}");
        let summary = closed(&forward.interrupt());
        assert_eq!(summary["directions"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn refusals() {
    let Some(_turn) = turn("forward::refusals") else { return };
    let wires = Wires::new(1);
    let refused = |words: &[&str], code, texts: &[&str]| {
        let mut running = wires.mid.run(|| start(words)).unwrap();
        running.wait(PATIENCE).assert_refused(code, texts);
        assert_eq!(wires.programs(), [false, false]);
    };
    refused(&["forward", WEST, WEST], 2, &["name it once"]);
    refused(&["forward", WEST, "nm-missing"], 4, &["find interface nm-missing"]);
    refused(&["forward", WEST, EAST, "--queue", "1"], 4, &["the interface's last queue is 0"]);
    let source = "--source-mac";
    refused(
        &["forward", WEST, source, "01:00:5e:00:00:01"],
        2,
        &["not the address of one station"],
    );
    // The default route goes by one of them.
    let route = || {
        Route::open().unwrap().add_address(EAST, "192.0.2.9/24".parse().unwrap()).unwrap();
        Command::new("ip").args(["route", "add", "default", "dev", EAST]).status().unwrap()
    };
    if !crate::support::has_programs("forward::refusals", &["ip"]) {
        return;
    }
    assert!(wires.mid.run(route).unwrap().success());
    let texts = ["forward on nm-east: the default route goes by it", "hint: --force"];
    refused(&["forward", WEST, EAST], 2, &texts);
    let mut forward = wires.start(&["forward", WEST, EAST, "--force", "--json"]);
    tcp_there_and_back(&wires, 1 << 16);
    closed(&forward.interrupt());
}

/// The process of the workers of `running`.
fn worker_of(running: &Running) -> u32 {
    let pid = running.child.id();
    let children = format!("/proc/{pid}/task/{pid}/children");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(&children).unwrap();
        if let Some(child) = text.split_whitespace().next() {
            return child.parse().unwrap();
        }
        assert!(Instant::now() < deadline, "no worker process");
        thread::sleep(Duration::from_millis(2));
    }
}

fn status_of(pid: u32, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().to_owned()
}

/// The workers are a process of another user without any privilege; when it is killed, the command
/// says so and takes everything down.
#[test]
fn worker_killed() {
    let Some(_turn) = turn("forward::worker_killed") else { return };
    let wires = Wires::new(1);
    let mut forward = wires.start(&["forward", WEST, EAST, "--json"]);
    let worker = worker_of(&forward);
    tcp_there_and_back(&wires, 1 << 16);
    assert_eq!(status_of(worker, "Uid:"), "65534\t65534\t65534\t65534");
    for set in ["CapEff:", "CapPrm:", "CapInh:", "CapBnd:", "CapAmb:"] {
        assert_eq!(status_of(worker, set), "0000000000000000", "{set}");
    }
    assert_eq!(
        (status_of(worker, "NoNewPrivs:"), status_of(worker, "Seccomp:")),
        ("1".into(), "2".into())
    );
    let killed = Command::new("kill").args(["-KILL", &worker.to_string()]).status().unwrap();
    assert!(killed.success());
    let ended = forward.wait(PATIENCE);
    ended.assert_refused(4, &["the worker was killed by signal 9 (SIGKILL)"]);
    assert_eq!(wires.programs(), [false, false]);
    let summary = crate::support::json(ended.stdout.lines().last().unwrap());
    assert_eq!(
        (&summary["kind"], &summary["audit"]["ok"]),
        (&"summary".into(), &serde_json::Value::Null)
    );
    // Nothing is in the way of the next one.
    let mut next = wires.start(&["forward", WEST, EAST, "--json"]);
    tcp_there_and_back(&wires, 1 << 16);
    closed(&next.interrupt());
}

/// When the command is killed, its workers go with it, and so do the programs.
#[test]
fn parent_killed() {
    let Some(_turn) = turn("forward::parent_killed") else { return };
    let before = Traces::now();
    let wires = Wires::new(1);
    let mut forward = wires.start(&["forward", WEST, EAST]);
    let worker = worker_of(&forward);
    tcp_there_and_back(&wires, 1 << 16);
    forward.child.kill().unwrap();
    forward.child.wait().unwrap();
    let killed = Instant::now();
    // Dead, whether or not somebody has taken note of it.
    let is_alive = || {
        let status = std::fs::read_to_string(format!("/proc/{worker}/status"));
        status.is_ok_and(|status| !status.contains("State:\tZ") && !status.contains("State:\tX"))
    };
    while is_alive() {
        assert!(killed.elapsed() < PATIENCE, "the worker outlives the command");
        thread::sleep(Duration::from_millis(2));
    }
    while wires.programs() != [false, false] {
        assert!(killed.elapsed() < PATIENCE, "the programs stay");
        thread::sleep(Duration::from_millis(2));
    }
    let mut next = wires.start(&["forward", WEST, EAST, "--json"]);
    tcp_there_and_back(&wires, 1 << 16);
    closed(&next.interrupt());
    drop(wires);
    before.assert_nothing_more();
}

/// What the status shows while packets move, and as text.
#[test]
fn status() {
    let Some(_turn) = turn("forward::status") else { return };
    let wires = Wires::new(1);
    let mut forward = wires.start(&["forward", WEST, EAST, "--interval", "1", "--user", "1:1"]);
    let client = wires.west.run(|| UdpSocket::bind((WEST_IP, 0))).unwrap().unwrap();
    let server = wires.east.run(|| UdpSocket::bind((EAST_IP, 4001))).unwrap().unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let started = Instant::now();
    let mut buffer = [0; 64];
    while started.elapsed() < Duration::from_millis(2500) {
        client.send_to(b"there?", (EAST_IP, 4001)).unwrap();
        assert_eq!(server.recv(&mut buffer).unwrap(), 6);
    }
    assert!(forward.has_said("[status after ", PATIENCE));
    assert_eq!(status_of(worker_of(&forward), "Uid:"), "1\t1\t1\t1");
    let hears = |name| Route::open().unwrap().link(name).unwrap().promiscuity > 0;
    assert_eq!(wires.mid.run(|| [WEST, EAST].map(hears)).unwrap(), [true, true]);
    let ended = forward.interrupt();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for text in [
        "forwarding between nm-west and nm-east: nm-west queue 0 (native), nm-east queue 0 (native)",
        "everything, nothing passes to the kernel",
        "which can open nothing",
        "[status after ",
        "nm-west -> nm-east",
    ] {
        assert!(ended.stderr.contains(text), "{text}: {}", ended.stderr);
    }
    for text in ["[summary after ", " sent + 0 dropped + 0 held", "closed: every frame"] {
        assert!(ended.stdout.contains(text), "{text}: {}", ended.stdout);
    }
}

/// What would work better otherwise is told on standard error and in the JSON.
#[test]
fn advice() {
    let Some(_turn) = turn("forward::advice") else { return };
    let wires = Wires::new(2);
    let rings = ["--fill-ring", "512", "--completion-ring", "1024"];
    let words = [&["forward", WEST, EAST, "--json", "--queue", "0"][..], &rings].concat();
    let ended = wires.start(&words).interrupt();
    let summary = closed(&ended);
    let mut wanted = Vec::new();
    for interface in [WEST, EAST] {
        for (queues, text) in [
            (
                &[0][..],
                "fill ring of 512: at least 2048 is advised, for the port's rx ring of 2048",
            ),
            (
                &[0],
                "completion ring of 1024: of the tx ring of 2048 no more than that is sent at a time",
            ),
            (&[], "packets of queue 1 pass to the kernel: no socket is bound there"),
        ] {
            wanted.push(json!({ "interface": interface, "queues": queues, "text": text }));
        }
    }
    // The other ends are in other namespaces.
    let checksums = "the other end of this veth may leave checksums to be filled in later, by nobody: \
                     packets from there would leave with wrong ones (ethtool -K PEER tx off)";
    for interface in [WEST, EAST] {
        wanted.push(json!({ "interface": interface, "queues": [], "text": checksums }));
    }
    assert_eq!(summary["advice"], serde_json::Value::Array(wanted.clone()), "{summary:#}");
    let told: Vec<_> = ended.stderr.lines().filter(|line| line.starts_with("advice ")).collect();
    let line = |advice: &serde_json::Value| {
        let [interface, text] = ["interface", "text"].map(|key| advice[key].as_str().unwrap());
        let queue = if advice["queues"] == json!([0]) { " queue 0" } else { "" };
        format!("advice         {interface}{queue}: {text}")
    };
    assert_eq!(told, wanted.iter().map(line).collect::<Vec<_>>());
    // Of all queues it is told once.
    let ended = wires.start(&["forward", WEST, "--json", "--fill-ring", "512"]).interrupt();
    let advice = &closed(&ended)["advice"][0];
    assert_eq!((&advice["queues"], &advice["text"]), (&json!([0, 1]), &wanted[0]["text"]));
    let line = format!("advice         {WEST} queues 0-1: fill ring of 512: ");
    assert_eq!(ended.stderr.matches(&line).count(), 1, "{ended:?}");
    assert_eq!(ended.stderr.matches("fill ring of 512").count(), 1, "{ended:?}");

    // An end that can be asked, and leaves its checksums.
    let make = || {
        let mut route = Route::open().unwrap();
        let (near, far) = (LinkSpec::new("nm-near"), LinkSpec::new("nm-far"));
        route.create_veth(&near, &far, NetNs::current().unwrap()).unwrap();
        for name in ["nm-near", "nm-far"] {
            route.set_state(name, AdminState::Up).unwrap();
        }
        for name in ["nm-near", "nm-far"] {
            wait_until_up(&mut route, name);
        }
    };
    wires.mid.run(make).unwrap();
    let summary = closed(&wires.start(&["forward", "nm-near", "--json"]).interrupt());
    let [advice] = &summary["advice"].as_array().unwrap()[..] else { panic!("{summary:#}") };
    let text = advice["text"].as_str().unwrap();
    assert!(text.starts_with("veth: packets of the peer's kernel come with TCP and UDP checksums"));
    assert_eq!((&advice["interface"], &advice["queues"]), (&json!("nm-near"), &json!([0])));
}

/// A frame of the test's own kind, with a number.
fn numbered(number: u32) -> Vec<u8> {
    let addresses = [2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 7];
    let mut frame = [&addresses[..], &[0x88, 0xb5], &number.to_be_bytes()].concat();
    frame.extend((frame.len()..100).map(|at| (number as usize * 7 + at).to_le_bytes()[0]));
    frame
}

/// Takes what has come of these, each byte as it was sent.
fn take_numbered(socket: &mut FrameSocket, numbers: &mut Vec<u32>) {
    let mut visit = |bytes: &[u8]| {
        if bytes[12..14] == [0x88, 0xb5] {
            let number = u32::from_be_bytes(bytes[14..18].try_into().unwrap());
            assert!(bytes == numbered(number), "{bytes:02x?}");
            numbers.push(number);
        }
    };
    while socket.receive(&mut visit).unwrap() > 0 {}
}

fn peer_socket() -> FrameSocket {
    FrameSocket::open(&Link::by_name(PEER).unwrap(), 64, 2048).unwrap()
}

/// Sends from the calling thread's namespace, until `end` are sent.
fn send_numbered(sent: &AtomicU32, end: &AtomicU32) {
    let mut socket = peer_socket();
    let deadline = Instant::now() + 2 * PATIENCE;
    while sent.load(Ordering::Relaxed) < end.load(Ordering::Relaxed) && Instant::now() < deadline {
        let next = sent.load(Ordering::Relaxed);
        let frames: Vec<_> = (next..next + 8).map(numbered).collect();
        let frames: Vec<_> = frames.iter().map(Vec::as_slice).collect();
        let count = u32::try_from(socket.send(&frames).unwrap()).unwrap();
        sent.fetch_add(count, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(1));
    }
}

/// Started under load, it loses nothing from the moment on that it says it forwards, and nothing waits
/// for its workers before: no ring runs over. A machine that keeps a worker waiting for 64 ms runs its
/// ring over as well, but not at each start.
#[test]
fn start_under_load() {
    let Some(_turn) = turn("forward::start_under_load") else { return };
    assert!((0..5).any(|_| is_lossless(&Wires::new(1))), "a ring runs over at each start");
}

/// Starts it under load: what it received arrives, whole and in order, and all that was sent since it
/// said that it forwards; `false` when a ring ran over.
fn is_lossless(wires: &Wires) -> bool {
    let mut socket = wires.east.run(peer_socket).unwrap();
    let (sent, end) = (AtomicU32::new(0), AtomicU32::new(u32::MAX));
    let (newest, is_done) = (AtomicU32::new(u32::MAX), AtomicBool::new(false));
    // Read from the first one on: its socket holds what comes in some seconds.
    let take = || {
        let mut numbers = Vec::new();
        let deadline = Instant::now() + 4 * PATIENCE;
        loop {
            let is_last = is_done.load(Ordering::Acquire) || Instant::now() > deadline;
            take_numbered(&mut socket, &mut numbers);
            newest.store(numbers.last().copied().unwrap_or(u32::MAX), Ordering::Relaxed);
            if is_last {
                return numbers;
            }
            thread::sleep(Duration::from_millis(1));
        }
    };
    let (mut numbers, first, last, summary) = thread::scope(|scope| {
        let reader = scope.spawn(take);
        let sender = scope.spawn(|| wires.west.run(|| send_numbered(&sent, &end)).unwrap());
        let deadline = Instant::now() + PATIENCE;
        while sent.load(Ordering::Relaxed) < 100 {
            assert!(Instant::now() < deadline, "the sender stands still");
            thread::sleep(Duration::from_millis(1));
        }
        let mut forward = wires.start(&["forward", WEST, EAST, "--json", "--rx-ring", "512"]);
        // What is being sent just now may have been looked at before.
        let first = sent.load(Ordering::Relaxed) + 8;
        end.store(first + 2000, Ordering::Relaxed);
        sender.join().unwrap();
        let last = sent.load(Ordering::Relaxed);
        // The last one comes, unless a ring had no room for it.
        let deadline = Instant::now() + Duration::from_secs(10);
        while newest.load(Ordering::Relaxed) != last - 1 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        let summary = closed(&forward.interrupt());
        is_done.store(true, Ordering::Release);
        (reader.join().unwrap(), first, last, summary)
    });
    let way = &summary["directions"][0];
    assert_eq!(way["received"], numbers.len(), "{way}");
    assert!(numbers.is_sorted(), "{numbers:?}");
    assert!(last >= first + 2000, "{first} to {last}");
    if ["rx_dropped", "rx_ring_full"].iter().any(|counter| way["kernel"][*counter] != 0) {
        return false;
    }
    numbers.retain(|number| *number >= first);
    assert_eq!(numbers, (first..last).collect::<Vec<_>>());
    true
}

/// What other processes see of workers that are confined, and of several: where their ports are, and
/// where all frames are.
#[test]
fn listed() {
    let Some(_turn) = turn("forward::listed") else { return };
    for (queues, extra) in [(1, &[][..]), (3, &[]), (2, &["--no-sandbox"])] {
        let wires = Wires::new(queues);
        let mut forward = wires.start(&[&["forward", WEST, EAST, "--json"], extra].concat());
        let is_confined = extra.is_empty();
        let pid = if is_confined { worker_of(&forward) } else { forward.child.id() };
        tcp_there_and_back(&wires, 1 << 16);
        // All workers tell twice a second; the first one tells of them all.
        thread::sleep(Duration::from_millis(1600));
        let list = || start(&["list", "--json"]).wait(PATIENCE);
        let listed = |ns: &NetNs| {
            let list = crate::support::json(&ns.run(list).unwrap().stdout);
            let mut all = list["processes"].as_array().unwrap().clone();
            all.retain(|process| process["pid"] == pid);
            all.pop().unwrap_or_else(|| panic!("not listed: {list:#}"))
        };
        let slots = u64::from(queues) * 2 * 4096;
        let count = |shown: &serde_json::Value, owner: &str| {
            shown["frames"]["owners"][owner].as_u64().unwrap_or(0)
        };
        let ready = |shown: &serde_json::Value| count(shown, "fill") + count(shown, "kernel_rx");
        // In a while it tells of all at rest: what is not free lies ready to be received into.
        let deadline = Instant::now() + PATIENCE;
        let mut shown = listed(&wires.mid);
        while ready(&shown) != slots / 2 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(100));
            shown = listed(&wires.mid);
        }
        let ports = shown["ports"].as_array().unwrap();
        assert_eq!(ports.len(), 2 * queues as usize, "{shown:#}");
        assert!(ports.iter().all(|port| port["in_this_namespace"] == true), "{shown:#}");
        let elsewhere = listed(&wires.west);
        let ports = elsewhere["ports"].as_array().unwrap();
        assert!(ports.iter().all(|port| port["in_this_namespace"] == false), "{elsewhere:#}");
        let owners = shown["frames"]["owners"].as_object().unwrap();
        let sum: u64 = owners.values().map(|n| n.as_u64().unwrap()).sum();
        assert_eq!((&shown["frames"]["slots"], sum), (&json!(slots), slots), "{shown:#}");
        assert_eq!((count(&shown, "user"), count(&shown, "quarantined")), (0, 0), "{shown:#}");
        assert_eq!(ready(&shown), slots / 2, "{shown:#}");
        closed(&forward.interrupt());
    }
}

/// Sends a signal to a process.
fn signal(name: &str, pid: u32) {
    let words = [format!("-{name}"), pid.to_string()];
    assert!(Command::new("kill").args(&words).status().unwrap().success(), "{words:?}");
}

/// How many packets an interface of the thread's namespace has received.
fn received_by(name: &str) -> u64 {
    let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let row = table.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'));
    row.unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What waits in the rings when the end comes still goes out; what a tx ring has no room for is dropped
/// in its own direction, by its reason.
#[test]
fn last_packets() {
    let Some(_turn) = turn("forward::last_packets") else { return };
    const COUNT: u32 = 4000;
    for tx_ring in ["4096", "8"] {
        let wires = Wires::new(1);
        let open = || FrameSocket::open(&Link::by_name(PEER).unwrap(), 64, 2048).unwrap();
        let mut socket = wires.east.run(open).unwrap();
        let sizes = ["--rx-ring", "4096", "--fill-ring", "4096", "--frames", "16384"];
        let tx_sizes = ["--tx-ring", tx_ring, "--completion-ring", tx_ring];
        let words = [&["forward", WEST, EAST, "--json"][..], &sizes, &tx_sizes].concat();
        let mut forward = wires.start(&words);
        let worker = worker_of(&forward);
        signal("STOP", worker);
        let before = wires.mid.run(|| received_by(WEST)).unwrap();
        let send = || {
            let mut socket = open();
            let mut next = 0;
            while next < COUNT {
                let frames: Vec<_> = (next..COUNT.min(next + 32)).map(numbered).collect();
                let frames: Vec<_> = frames.iter().map(Vec::as_slice).collect();
                next += u32::try_from(socket.send(&frames).unwrap()).unwrap();
                // A veth keeps 256 that its other end has not looked at yet; the rest is lost unseen.
                let since = Instant::now();
                while wires.mid.run(|| received_by(WEST)).unwrap() < before + u64::from(next)
                    && since.elapsed() < Duration::from_millis(100)
                {
                    thread::sleep(Duration::from_millis(1));
                }
            }
        };
        wires.west.run(send).unwrap();
        signal("INT", forward.child.id());
        let deadline = Instant::now() + PATIENCE;
        while wires.programs() != [false, false] {
            assert!(Instant::now() < deadline, "the programs stay");
            thread::sleep(Duration::from_millis(2));
        }
        signal("CONT", worker);
        let summary = closed(&forward.wait(PATIENCE));
        let mut numbers = Vec::new();
        take_numbered(&mut socket, &mut numbers);
        let [there, back] = &summary["directions"].as_array().unwrap()[..] else { panic!() };
        assert_eq!((&there["received"], &back["received"]), (&json!(COUNT), &json!(0)));
        assert_eq!(there["sent"], numbers.len(), "{there}");
        assert_eq!(back["dropped"], json!({}), "{back}");
        if tx_ring == "8" {
            let dropped = COUNT - u32::try_from(numbers.len()).unwrap();
            assert_eq!(there["dropped"], json!({ "FULL_RING": dropped }), "{there}");
            assert!(dropped > 0 && !numbers.is_empty());
        } else {
            assert_eq!(numbers, (0..COUNT).collect::<Vec<_>>(), "{there}");
        }
    }
}

/// One of the interfaces goes: one message, exit code 4, the books closed, and the other is let go. A packet on its
/// way there may see it before who waits for one from there.
#[test]
fn interface_gone() {
    let Some(_turn) = turn("forward::interface_gone") else { return };
    for (gone, stays) in [(WEST, EAST), (EAST, WEST)] {
        let wires = Wires::new(1);
        let mut forward = wires.start(&["forward", WEST, EAST, "--json"]);
        tcp_there_and_back(&wires, 1 << 16);
        wires.mid.run(|| Route::open().unwrap().delete_link(gone).unwrap()).unwrap();
        let ended = forward.wait(PATIENCE);
        ended.assert_refused(4, &[&format!(" on {gone} queue 0 (native): "), "was removed"]);
        let failed = |what: &str| ended.stderr.contains(&format!("netmem: {what} on {gone} "));
        assert!(failed("receive") || failed("send"), "{ended:?}");
        ended.closed_summary();
        let has_program = || Link::by_name(stays).unwrap().xdp.is_some();
        assert!(!wires.mid.run(has_program).unwrap(), "{stays}");
    }
}
