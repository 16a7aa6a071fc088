//! What packets ask for when they are sent, on the wire of a veth: checksums by the kernel in copy mode,
//! in place and owned, in one frame and in a chain, with the interface's own offloads on and off; and
//! timestamps.
//!
//! Planted and caught: the memory registered without `XDP_UMEM_TX_SW_CSUM` (wrong on the wire while the
//! veth's own offloads are on), a chain that is left to the kernel, the option missing from the
//! descriptor, the timestamp read at another place.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, ErrorKind, Read},
    net::{Ipv4Addr, Ipv6Addr},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use netmem::{
    device::{Device, Verdict},
    link::Link,
    mem::{Audit, Packet, PoolHandle},
    packet::FrameSocket,
    xdp::{DoneBy, MultiBuffer, Port, TxMetadata, XdpMode},
};
use netmem_host::lab::{NetNs, missing_privilege, skip};
use netmem_wire::{
    MacAddr,
    checksum::{self, Sum},
    compose::Composer,
    tcp::TcpRepr,
};

use crate::bed::{Bed, ETHERTYPE, PATIENCE, PEER, WEST, assert_closed, handle, rules};

/// The port that frames of the test are for.
const DESTINATION: u16 = 4242;
const V4: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
const V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2)];

/// A frame whose checksum is left to somebody.
#[derive(Debug)]
struct Frame {
    /// With the checksum that it should have.
    filled: Vec<u8>,
    /// With the pseudo header's sum in its place.
    unfilled: Vec<u8>,
    start: u32,
    offset: u32,
}

/// UDP and TCP over both, from the port `source`; every length and byte follows from it.
fn frame(source: u16) -> Frame {
    let (is_tcp, is_v6) = (source & 1 != 0, source & 2 != 0);
    let payload: Vec<u8> =
        (0..100 + source / 1000 * 200 + source % 8 * 37).map(|n| n.to_be_bytes()[1]).collect();
    let mut buffer = vec![0; 100 + payload.len()];
    buffer[100..].copy_from_slice(&payload);
    let end = buffer.len();
    let mut composer = Composer::new(&mut buffer, 100..end).unwrap();
    if is_tcp {
        composer.tcp(&TcpRepr::new(source, DESTINATION)).unwrap();
    } else {
        composer.udp(source, DESTINATION).unwrap();
    }
    if is_v6 {
        composer.ipv6(V6[0], V6[1]).unwrap();
    } else {
        composer.ipv4(V4[0], V4[1]).unwrap();
    }
    composer.ethernet(MacAddr([2, 0, 0, 0, 0, 2]), MacAddr([2, 0, 0, 0, 0, 1])).unwrap();
    let filled = composer.bytes().to_vec();
    let start: u32 = 14 + if is_v6 { 40 } else { 20 };
    let offset: u32 = if is_tcp { 16 } else { 6 };
    let pseudo = !pseudo(is_tcp, is_v6, filled.len() - start as usize).finish();
    let mut unfilled = filled.clone();
    unfilled[(start + offset) as usize..][..2].copy_from_slice(&pseudo.to_be_bytes());
    Frame { filled, unfilled, start, offset }
}

fn pseudo(is_tcp: bool, is_v6: bool, len: usize) -> Sum {
    let protocol = if is_tcp { 6 } else { 17 };
    if is_v6 {
        checksum::pseudo_header_v6(V6[0], V6[1], protocol, len.try_into().unwrap())
    } else {
        checksum::pseudo_header(V4[0], V4[1], protocol, len.try_into().unwrap())
    }
}

/// Whether the transport checksum of a frame is right, by netmem-wire.
fn is_right(bytes: &[u8]) -> bool {
    let is_v6 = bytes[12..14] == [0x86, 0xdd];
    let is_tcp = bytes[if is_v6 { 20 } else { 23 }] == 6;
    let segment = &bytes[14 + if is_v6 { 40 } else { 20 }..];
    pseudo(is_tcp, is_v6, segment.len()).combine(Sum::of(segment)).is_right()
}

fn source_of(bytes: &[u8]) -> u16 {
    let at = if bytes[12..14] == [0x86, 0xdd] { 54 } else { 34 };
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// How frames are sent, by their source port: the last two bits are the frame's own kind.
const OWNED: std::ops::Range<u16> = 1000..1008;
const CONTROL: std::ops::Range<u16> = 2000..2008;
const CHAIN: std::ops::Range<u16> = 3000..3008;
const IN_PLACE: std::ops::Range<u16> = 4000..4008;
const FRAMES: usize = 32;

fn packet(handle: &PoolHandle, bytes: &[u8]) -> Packet {
    let mut packet = handle.alloc().unwrap();
    packet.put(bytes.len().try_into().unwrap()).unwrap().copy_from_slice(bytes);
    packet
}

/// Sends one of each from the middle; the timestamps that came.
fn send_all(handle: &PoolHandle, port: &mut Port) -> Vec<(u64, u64)> {
    let mut queue = VecDeque::new();
    for source in OWNED.chain(CONTROL).chain(CHAIN) {
        let Frame { unfilled, start, offset, .. } = frame(source);
        let cut = if CHAIN.contains(&source) { 91 } else { unfilled.len() };
        let mut asking = packet(handle, &unfilled[..cut]);
        if cut < unfilled.len() {
            asking.append(packet(handle, &unfilled[cut..])).unwrap();
        }
        if !CONTROL.contains(&source) {
            asking.request_checksum(start, offset).unwrap();
            asking.request_timestamp(source.into());
        }
        queue.push_back(asking);
    }
    let mut stamps = Vec::new();
    let mut left = IN_PLACE;
    let deadline = Instant::now() + PATIENCE;
    while (stamps.len() < FRAMES - CONTROL.len() || !queue.is_empty()) && Instant::now() < deadline
    {
        port.transmit(&mut queue).unwrap();
        let tally = port.receive(8, &mut (), |packet| {
            let Some(source) = left.next() else { return Verdict::Consume };
            let Frame { unfilled, start, offset, .. } = frame(source);
            packet.trim(packet.len().try_into().unwrap()).unwrap();
            packet.put(unfilled.len().try_into().unwrap()).unwrap().copy_from_slice(&unfilled);
            packet.request_checksum(start, offset).unwrap();
            packet.request_timestamp(source.into()).unwrap();
            Verdict::Transmit
        });
        port.flush().unwrap();
        stamps.extend(port.timestamps().map(|stamp| (stamp.cookie, stamp.nanoseconds.unwrap())));
        if tally.received == 0 {
            port.wait(Duration::from_millis(2)).unwrap();
        }
    }
    stamps
}

/// Sends one of each in a mode; returns what came to the far end.
fn wire(bed: &Bed, mode: XdpMode) -> Vec<Vec<u8>> {
    let open = || FrameSocket::open(&Link::by_name(PEER).unwrap(), 64, 2048).unwrap();
    let mut far = bed.west.run(open).unwrap();
    let work = || {
        let handle = handle(4096);
        let asked = TxMetadata::checksums().timestamps(64);
        let builder = Port::builder(WEST, rules()).modes(&[mode]).tx_metadata(asked);
        let mut port = builder.multi_buffer(MultiBuffer::Always).open(&handle).unwrap();
        let report = port.report().tx_metadata.clone().unwrap();
        let who = (report.checksum.by, report.timestamp.by, report.headroom_bytes);
        assert_eq!(who, (DoneBy::Kernel, DoneBy::Kernel, 24), "{report:?}");
        let before = now();
        Bed::send(
            &bed.west,
            &IN_PLACE.map(|_| [&[0xff; 12], &ETHERTYPE[..], &[0; 60]].concat()).collect::<Vec<_>>(),
        );
        let mut stamps = send_all(&handle, &mut port);
        // CLOCK_TAI is ahead of the realtime clock by the leap seconds, where the system knows them.
        let times = before - Duration::from_secs(1)..now() + Duration::from_secs(60);
        for &(name, nanoseconds) in &stamps {
            assert!(times.contains(&Duration::from_nanos(nanoseconds)), "{name}: {nanoseconds}");
        }
        stamps.sort_unstable();
        let names: Vec<_> = stamps.iter().map(|&(name, _)| name).collect();
        let expected: Vec<u64> = OWNED.chain(CHAIN).chain(IN_PLACE).map(u64::from).collect();
        assert_eq!(names, expected, "{mode:?}");
        let counts = port.tx_metadata_counts();
        assert_eq!((counts.checksums_offloaded, counts.checksums_computed), (16, 8), "{counts:?}");
        assert_eq!(counts.timestamps_lost, 0);
        assert_eq!(port.statistics().unwrap().tx_invalid_descs, 0);
        assert_closed(&Audit::of(handle.pool(), [port.close().walk, handle.walk()]));
    };
    bed.mid.run(work).unwrap();
    let mut got = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while got.len() < FRAMES && Instant::now() < deadline {
        far.wait(Duration::from_millis(20)).unwrap();
        let keep = |bytes: &[u8]| got.push(bytes.to_vec());
        far.receive(keep).unwrap();
    }
    got
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

#[test]
fn lab_checksums_are_right_on_the_wire() {
    if let Some(missing) = missing_privilege() {
        return skip("lab_checksums_are_right_on_the_wire", &missing);
    }
    for bed in [Bed::with_offloads(1), Bed::new(1)] {
        for mode in [XdpMode::Native, XdpMode::Generic] {
            let mut got = wire(&bed, mode);
            got.sort_unstable_by_key(|bytes| source_of(bytes));
            let sources: Vec<_> = got.iter().map(|bytes| source_of(bytes)).collect();
            let expected: Vec<_> = OWNED.chain(CONTROL).chain(CHAIN).chain(IN_PLACE).collect();
            assert_eq!(sources, expected, "{mode:?}");
            for bytes in got {
                let source = source_of(&bytes);
                let Frame { filled, unfilled, .. } = frame(source);
                // The control can fail: without a request nobody fills the field in.
                let is_control = CONTROL.contains(&source);
                assert_eq!(is_right(&bytes), !is_control, "{mode:?} {source}");
                assert!(bytes == if is_control { unfilled } else { filled }, "{mode:?} {source}");
            }
        }
    }
}

/// A tcpdump that listens; killed when it is dropped.
struct Tcpdump(Child);

impl Tcpdump {
    /// `None` where none is installed.
    fn listen(namespace: &NetNs) -> Option<Self> {
        let count = FRAMES.to_string();
        let filter = format!("port {DESTINATION}");
        let spawn = || {
            Command::new("tcpdump")
                .args(["-i", PEER, "-n", "-vv", "-l", "-c", &count, &filter])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
        };
        let child = match namespace.run(spawn).unwrap() {
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            child => child.unwrap(),
        };
        let mut this = Self(child);
        let mut errors = BufReader::new(this.0.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert!(errors.read_line(&mut line).unwrap() > 0, "tcpdump does not listen");
        }
        // Its last words have to go somewhere.
        thread::spawn(move || errors.read_to_string(&mut String::new()));
        Some(this)
    }

    /// What it says of each packet, after the last one.
    fn packets(mut self) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        while self.0.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "tcpdump still waits for packets");
            thread::sleep(Duration::from_millis(5));
        }
        let mut text = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        let mut packets: Vec<String> = Vec::new();
        for line in text.lines() {
            match packets.last_mut() {
                Some(packet) if line.starts_with(char::is_whitespace) => packet.push_str(line),
                _ => packets.push(line.to_owned()),
            }
        }
        packets
    }
}

impl Drop for Tcpdump {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn lab_tcpdump_finds_the_checksums_right() {
    let name = "lab_tcpdump_finds_the_checksums_right";
    if let Some(missing) = missing_privilege() {
        return skip(name, &missing);
    }
    let bed = Bed::with_offloads(1);
    for mode in [XdpMode::Native, XdpMode::Generic] {
        let Some(tcpdump) = Tcpdump::listen(&bed.west) else {
            return skip(name, "no tcpdump");
        };
        wire(&bed, mode);
        let packets = tcpdump.packets();
        assert_eq!(packets.len(), FRAMES, "{packets:#?}");
        for source in OWNED.chain(CONTROL).chain(CHAIN).chain(IN_PLACE) {
            let is_of = |packet: &&String| packet.contains(&format!(".{source} > "));
            let packet = packets.iter().find(is_of).unwrap();
            let words = match (source & 1, CONTROL.contains(&source)) {
                (0, false) => "[udp sum ok]",
                (0, true) => "[bad udp cksum",
                (_, false) => "(correct)",
                (_, true) => "(incorrect",
            };
            assert!(packet.contains(words), "{mode:?}: no {words:?} in {packet}");
        }
    }
}
