//! What tcpdump says of what is composed.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::process::Command;
use std::string::String;

use super::presets::{UNREACHABLE, UNREACHABLE6, V4, V6, syn};
use super::*;
use crate::compose::preset::{
    Echo, Neighbor, arp_announcement, arp_probe, arp_reply, arp_request, echo, icmpv4_error,
    icmpv6_error, neighbor_advertisement, neighbor_solicitation, tcp_reset, tcp_syn, tcp_syn_ack,
    udp,
};

/// Frames, and words that tcpdump's lines about each of them must have.
type Cases = Vec<(Vec<u8>, &'static [&'static str])>;

/// Writes a frame by a preset without payload.
fn front(write: impl Fn(&mut [u8]) -> usize) -> Vec<u8> {
    let mut buffer = vec![0; 1600];
    let len_bytes = write(&mut buffer);
    buffer[..len_bytes].to_vec()
}

/// Writes a frame by a preset in front of four bytes.
fn behind(write: impl Fn(&mut [u8], Range<usize>) -> Range<usize>) -> Vec<u8> {
    let mut buffer = [0x20; 200];
    let range = write(&mut buffer, 196..200);
    buffer[range].to_vec()
}

fn steps(steps: &[Step]) -> Vec<u8> {
    let (frame, _, error) = compose(b"data", steps, (1000, 60));
    assert_eq!(error, None);
    frame
}

/// ARP and neighbor discovery.
fn resolution() -> Cases {
    let asked = ArpRepr {
        operation: 1,
        sender_mac: MAC_A,
        sender_ip: V4_A,
        target_mac: MacAddr::default(),
        target_ip: V4_B,
    };
    let neighbor = Neighbor { mac: MAC_B, is_router: true, override_cached: true };
    vec![
        (
            front(|buffer| arp_request(buffer, MAC_A, V4_A, V4_B).unwrap()),
            &["ARP", "Request who-has 10.0.0.2 tell 10.0.0.1, length 28"],
        ),
        (
            front(|buffer| arp_reply(buffer, &asked, MAC_B).unwrap()),
            &["Reply 10.0.0.2 is-at 02:00:00:00:00:02, length 28"],
        ),
        (
            front(|buffer| arp_probe(buffer, MAC_A, V4_A).unwrap()),
            &["Request who-has 10.0.0.1 tell 0.0.0.0, length 28"],
        ),
        (
            front(|buffer| arp_announcement(buffer, MAC_A, V4_A).unwrap()),
            &["Request who-has 10.0.0.1 tell 10.0.0.1, length 28"],
        ),
        (
            front(|buffer| neighbor_solicitation(buffer, MAC_A, V6_A, V6_B).unwrap()),
            &[
                "2001:db8::1 > ff02::1:ff00:2: [icmp6 sum ok] ICMP6, neighbor solicitation",
                "who has 2001:db8::2",
                "source link-address option (1), length 8 (1): 02:00:00:00:00:01",
            ],
        ),
        (
            front(|buffer| neighbor_advertisement(buffer, &V6, V6_B, &neighbor).unwrap()),
            &[
                "2001:db8::2 > 2001:db8::1: [icmp6 sum ok] ICMP6, neighbor advertisement",
                "tgt is 2001:db8::2, Flags [router, solicited, override]",
                "destination link-address option (2), length 8 (1): 02:00:00:00:00:02",
            ],
        ),
    ]
}

/// Echo, UDP, TCP, and ICMP errors.
fn upper() -> Cases {
    let request = Echo::Request { identifier: 3, sequence: 4 };
    let reply = Echo::Reply { identifier: 3, sequence: 4 };
    let sent = TcpRepr { flags: Flags::SYN, ..syn() };
    let udp4 = behind(|buffer, at| udp(buffer, at, &V4, 4000, 5000).unwrap());
    let udp6 = behind(|buffer, at| udp(buffer, at, &V6, 4000, 5000).unwrap());
    vec![
        (
            behind(|buffer, at| echo(buffer, at, &V4, request).unwrap()),
            &["10.0.0.1 > 10.0.0.2: ICMP echo request, id 3, seq 4, length 12"],
        ),
        (
            behind(|buffer, at| echo(buffer, at, &V4, reply).unwrap()),
            &["10.0.0.1 > 10.0.0.2: ICMP echo reply, id 3, seq 4, length 12"],
        ),
        (
            behind(|buffer, at| echo(buffer, at, &V6, request).unwrap()),
            &["2001:db8::1 > 2001:db8::2: [icmp6 sum ok] ICMP6, echo request, id 3, seq 4"],
        ),
        (
            behind(|buffer, at| echo(buffer, at, &V6, reply).unwrap()),
            &["[icmp6 sum ok] ICMP6, echo reply, id 3, seq 4"],
        ),
        (udp4.clone(), &["10.0.0.1.4000 > 10.0.0.2.5000: [udp sum ok] UDP, length 4"]),
        (udp6.clone(), &["2001:db8::1.4000 > 2001:db8::2.5000: [udp sum ok] UDP, length 4"]),
        (
            front(|buffer| tcp_syn(buffer, &V4, &syn()).unwrap()),
            &[
                "10.0.0.1.4000 > 10.0.0.2.80: Flags [S]",
                "(correct), seq 4294967295, win 1000",
                "options [mss 1460,sackOK,TS val 77 ecr 0,nop,wscale 7]",
            ],
        ),
        (
            front(|buffer| tcp_syn_ack(buffer, &V6, &sent, &syn()).unwrap()),
            &[
                "2001:db8::2.80 > 2001:db8::1.4000: Flags [S.]",
                "(correct), seq 4294967295, ack 0",
                "TS val 77 ecr 77",
            ],
        ),
        (
            front(|buffer| tcp_reset(buffer, &V4, &sent, 0).unwrap().unwrap()),
            &["10.0.0.2.80 > 10.0.0.1.4000: Flags [R.]", "(correct), seq 0, ack 0, win 0"],
        ),
        (
            front(|buffer| icmpv4_error(buffer, &udp4, (MAC_B, V4_B), &UNREACHABLE).unwrap()),
            &["10.0.0.2 > 10.0.0.1: ICMP 10.0.0.2 udp port 5000 unreachable, length 40"],
        ),
        (
            front(|buffer| icmpv6_error(buffer, &udp6, (MAC_B, V6_B), &UNREACHABLE6).unwrap()),
            &["[icmp6 sum ok] ICMP6, destination unreachable, unreachable port"],
        ),
    ]
}

/// Headers that no preset has.
fn headers() -> Cases {
    let udp = || Step::Udp(4000, 5000, UdpChecksum::Computed);
    let inner = [udp(), Step::V4(9, 0), Step::Ethernet];
    let with = |rest: &[Step]| steps(&[&inner[..], rest].concat());
    vec![
        (
            steps(&[Step::Udp(4000, 5000, UdpChecksum::Absent), Step::V4(9, 0), Step::Ethernet]),
            &["[no cksum] UDP, length 4"],
        ),
        (
            steps(&[
                udp(),
                Step::Options(3),
                Step::Atomic(7),
                Step::HopByHop(1),
                Step::V6(0),
                Step::Vlan(false, 3, 10),
                Step::Vlan(true, 0, 100),
                Step::Ethernet,
            ]),
            &["vlan 100", "vlan 10, p 3", "HBH", "DSTOPT", "frag (0x00000007:0|", "UDP, length 4"],
        ),
        (
            with(&[Step::Vxlan(42, UdpChecksum::Computed), Step::V6(0), Step::Ethernet]),
            &["4789: [udp sum ok] VXLAN, flags [I] (0x08), vni 42", "[udp sum ok] UDP, length 4"],
        ),
        (
            with(&[Step::Geneve(43, 0, UdpChecksum::Computed), Step::V4(9, 4), Step::Ethernet]),
            &["6081: [udp sum ok] Geneve, Flags [none], vni 0x2b", "[udp sum ok] UDP, length 4"],
        ),
        (
            with(&[Step::Gre(true, Some(5), Some(6)), Step::V4(9, 0), Step::Ethernet]),
            &[
                "GREv0, Flags [checksum present, key present, sequence# present]",
                "key=0x5, seq 6",
                "[udp sum ok] UDP, length 4",
            ],
        ),
        (
            steps(&[udp(), Step::V4(9, 0), Step::V6(0), Step::Ethernet]),
            &["2001:db8::1 > 2001:db8::2:", "[udp sum ok] UDP, length 4"],
        ),
        (
            compose(b"", &[Step::Arp, Step::Snap, Step::Ethernet], (100, 0)).0,
            &["802.3, length 36: LLC, dsap SNAP (0xaa)", "who-has 10.0.0.2"],
        ),
        (
            // SHUTDOWN COMPLETE.
            compose(&[14, 0, 0, 4], &[Step::Sctp(7, 8), Step::V4(9, 0), Step::Ethernet], (99, 0)).0,
            &["10.0.0.1.7 > 10.0.0.2.8: sctp", "[SHUTDOWN COMPLETE]"],
        ),
    ]
}

/// The classic format: magic, version 2.4, zeros, snap length, link type 1.
fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = vec![];
    for word in [0xa1b2_c3d4, 0x0002_0004, 0, 0, 65_535, 1_u32] {
        file.extend(word.to_be_bytes());
    }
    for (seconds, frame) in (1..).zip(frames) {
        let len_bytes = u32::try_from(frame.len()).unwrap();
        for word in [seconds, 0, len_bytes, len_bytes] {
            file.extend(word.to_be_bytes());
        }
        file.extend(frame);
    }
    file
}

/// Says that a test cannot run here.
#[expect(clippy::print_stderr, reason = "a skipped test must say so")]
fn skip(test: &str, reason: &str) {
    std::eprintln!("SKIPPED: {reason}");
    if let Some(path) = std::env::var_os("NETMEM_SKIPS").filter(|path| !path.is_empty()) {
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        writeln!(file, "{test}: {reason}").unwrap();
    }
}

/// Gives tcpdump's lines about each frame, or nothing if it is not installed.
fn tcpdump(frames: &[Vec<u8>]) -> Option<Vec<String>> {
    let name = std::format!("netmem-compose-{}.pcap", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, pcap(frames)).unwrap();
    let output = Command::new("tcpdump").args(["-e", "-n", "-vv", "-tt", "-r"]).arg(&path).output();
    std::fs::remove_file(&path).unwrap();
    let output = match output {
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        output => output.unwrap(),
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut packets: Vec<String> = vec![];
    for line in text.lines() {
        if line.starts_with(&std::format!("{}.000000 ", packets.len() + 1)) {
            packets.push(String::new());
        }
        let packet = packets.last_mut().unwrap();
        packet.push_str(line);
        packet.push('\n');
    }
    Some(packets)
}

#[test]
fn tcpdump_finds_nothing_wrong() {
    let cases = [resolution(), upper(), headers()].concat();
    let frames: Vec<_> = cases.iter().map(|(frame, _)| frame.clone()).collect();
    let Some(packets) = tcpdump(&frames) else {
        return skip("compose::tests::tcpdump::tcpdump_finds_nothing_wrong", "no tcpdump");
    };
    assert_eq!(packets.len(), cases.len());
    for (packet, (_, words)) in packets.iter().zip(&cases) {
        for word in *words {
            assert!(packet.contains(word), "no {word:?} in {packets:#?}");
        }
        for word in ["bad", "incorrect", "invalid", "truncated", "[|", "unknown"] {
            assert!(!packet.contains(word), "{word} in {packet}");
        }
    }
    // The same words do come for a damaged frame.
    let mut damaged = behind(|buffer, at| udp(buffer, at, &V4, 4000, 5000).unwrap());
    damaged[45] ^= 1;
    assert!(tcpdump(&[damaged]).unwrap()[0].contains("bad udp cksum"));
}
