//! The filter's texts against tcpdump: the same text selects the same packets of real captures.
//!
//! All Ethernet packets of the captures go into one file, numbered by their timestamps; tcpdump
//! reads it once per text and writes those that match. Captures are classic pcap files in
//! `tests/pcaps` of the workspace, or in the folder that `NETMEM_PCAPS` names.
//!
//! Where the two differ on purpose (the table in `filter::text`), a rule about the packet, never
//! about the file, says which packets are not compared: see [`Differs`].
#![allow(clippy::unwrap_used, reason = "a test: an error where none may be is a failure")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use netmem_wire::filter::{Expr, Fields};

/// The most bytes of a packet that tcpdump takes.
const MAX_PACKET_LEN_BYTES: usize = 262_144;

/// Texts that both read.
const TEXTS: &str = include_str!("tcpdump/texts.txt");

/// A captured packet.
struct Packet {
    wire_len_bytes: usize,
    bytes: Vec<u8>,
}

/// Why the two may say different things about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Differs {
    /// tcpdump does not look behind tags.
    Tagged,
    /// tcpdump's length is the one on the wire.
    Cut,
    /// A packet that ends inside its headers fails the whole filter of tcpdump; we take what is
    /// there.
    EndsInHeader,
    /// tcpdump does not look at version, header length and the like.
    NoSuchHeader,
    /// tcpdump does not look behind extension headers.
    Extension,
    /// tcpdump has no ports in UDP-Lite.
    UdpLite,
    /// tcpdump reads the addresses of RARP, and of ARP for other hardware.
    OtherArp,
}

impl Packet {
    fn number(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    fn differs(&self, text: &str) -> Option<Differs> {
        let len = self.bytes.len();
        let lengths = text.contains("len") || text.contains("less") || text.contains("greater");
        if lengths && len != self.wire_len_bytes {
            return Some(Differs::Cut);
        }
        let addresses = ["host", "net", "src", "dst"].iter().any(|word| text.contains(word));
        if len < 14 {
            return Some(Differs::EndsInHeader);
        }
        match self.number(12) {
            0x8100 | 0x88a8 | 0x9100 => Some(Differs::Tagged),
            0x0806 if len < 42 => Some(Differs::EndsInHeader),
            0x0806 if addresses && self.bytes[14..20] != [0, 1, 8, 0, 6, 4] => {
                Some(Differs::OtherArp)
            }
            0x8035 if addresses => Some(Differs::OtherArp),
            0x0800 => self.differs_in_ipv4(),
            0x86dd => self.differs_in_ipv6(),
            _ => None,
        }
    }

    fn differs_in_ipv4(&self) -> Option<Differs> {
        let Some(first) = self.bytes.get(14) else { return Some(Differs::EndsInHeader) };
        let header_len = usize::from(first & 15) * 4;
        if self.bytes.len() < 34 {
            return Some(Differs::EndsInHeader);
        }
        if first >> 4 != 4 || header_len < 20 {
            return Some(Differs::NoSuchHeader);
        }
        match self.number(20) & 0x1fff {
            0 => self.differs_in_transport(self.bytes[23], 14 + header_len),
            _ => None,
        }
    }

    fn differs_in_ipv6(&self) -> Option<Differs> {
        if self.bytes.len() < 54 {
            return Some(Differs::EndsInHeader);
        }
        if self.bytes[14] >> 4 != 6 {
            return Some(Differs::NoSuchHeader);
        }
        match self.bytes[20] {
            0 | 43 | 44 | 51 | 60 => Some(Differs::Extension),
            protocol => self.differs_in_transport(protocol, 54),
        }
    }

    fn differs_in_transport(&self, protocol: u8, at: usize) -> Option<Differs> {
        let needed = match protocol {
            6 => 14,
            1 | 17 | 58 | 132 => 4,
            136 => return Some(Differs::UdpLite),
            _ => 0,
        };
        (self.bytes.len() < at + needed).then_some(Differs::EndsInHeader)
    }
}

/// Reads a number of a classic pcap file.
type Read32 = fn([u8; 4]) -> u32;

fn read32(file: &[u8], at: usize, read: Read32) -> Option<usize> {
    usize::try_from(read(file.get(at..at + 4)?.try_into().ok()?)).ok()
}

/// The packets of a classic pcap file of Ethernet, as far as it is whole.
fn packets(file: &[u8]) -> Vec<Packet> {
    let read: Read32 = match file.get(..4) {
        Some([0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d]) => u32::from_be_bytes,
        Some([0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1]) => u32::from_le_bytes,
        _ => return Vec::new(),
    };
    let mut packets = Vec::new();
    // The high bits say whether frames end with a check sequence, and how long.
    if read32(file, 20, read).is_none_or(|link_type| link_type & 0x03ff_ffff != 1) {
        return packets;
    }
    let mut at = 24;
    while let (Some(len), Some(wire_len_bytes)) =
        (read32(file, at + 8, read), read32(file, at + 12, read))
    {
        let Some(bytes) = file.get(at + 16..).and_then(|rest| rest.get(..len)) else { break };
        if len <= MAX_PACKET_LEN_BYTES {
            packets.push(Packet { wire_len_bytes, bytes: bytes.to_vec() });
        }
        at += 16 + len;
    }
    packets
}

/// Writes packets as one file; the timestamp is the number of the packet.
fn write(packets: &[Packet], path: &Path) {
    let word = |value: usize| u32::try_from(value).unwrap().to_le_bytes();
    let mut file = [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0].to_vec();
    for value in [0, 0, MAX_PACKET_LEN_BYTES, 1] {
        file.extend(word(value));
    }
    for (index, packet) in packets.iter().enumerate() {
        for value in [index, 0, packet.bytes.len(), packet.wire_len_bytes] {
            file.extend(word(value));
        }
        file.extend(&packet.bytes);
    }
    fs::write(path, file).unwrap();
}

/// Which packets of the file tcpdump selects; none if this machine has no `/etc/services`.
fn selected(path: &Path, text: &str, count: usize) -> Option<Vec<bool>> {
    let output =
        Command::new("tcpdump").args(["-n", "-w", "-", "-r"]).arg(path).arg(text).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("unknown port") || errors.contains("unknown ip proto") {
        return None;
    }
    assert!(output.status.success(), "{text}: {errors}");
    let (file, mut selected) = (output.stdout, vec![false; count]);
    let mut at = 24;
    while let Some(index) = read32(&file, at, u32::from_le_bytes) {
        selected[index] = true;
        at += 16 + read32(&file, at + 8, u32::from_le_bytes).unwrap();
    }
    Some(selected)
}

/// Says why nothing is compared, on stderr and in the file that `NETMEM_SKIPS` names.
#[expect(clippy::print_stderr, reason = "a skipped test must say so")]
fn skip(reason: &str) {
    eprintln!("SKIPPED the_same_text_selects_the_same_packets: {reason}");
    if let Some(path) = std::env::var_os("NETMEM_SKIPS").filter(|path| !path.is_empty()) {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        let line = format!("the_same_text_selects_the_same_packets: {reason}\n");
        file.write_all(line.as_bytes()).unwrap();
    }
}

/// The packets of all captures, in the order of the files' names.
fn corpus() -> Vec<Packet> {
    let folder = std::env::var_os("NETMEM_PCAPS").filter(|path| !path.is_empty());
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/pcaps");
    let folder = folder.map_or(default, PathBuf::from);
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .filter(|path| path.is_file())
        .flat_map(|p| packets(&fs::read(p).unwrap()))
        .collect()
}

// Planted and caught: `and` before `or`; `src` and `dst` exchanged; a port name without its
// protocol; `less` without the length itself; ARP addresses left out of `host`.
#[test]
fn the_same_text_selects_the_same_packets() {
    let packets = corpus();
    if packets.is_empty() {
        return skip("no captures: tests/pcaps is not there, and NETMEM_PCAPS names none");
    }
    if Command::new("tcpdump").arg("--version").output().is_err() {
        return skip("tcpdump is not installed");
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = path.join(format!("tcpdump-{}.pcap", std::process::id()));
    write(&packets, &path);
    let fields: Vec<Fields> = packets.iter().map(|packet| Fields::parse(&packet.bytes)).collect();
    let (mut texts, mut compared, mut matched) = (0, 0, 0);
    let mut differing = BTreeMap::new();
    let mut wrong = Vec::new();
    for text in TEXTS.lines().filter(|line| !line.starts_with('#')) {
        let expr: Expr = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        let Some(theirs) = selected(&path, text, packets.len()) else { continue };
        texts += 1;
        for (index, packet) in packets.iter().enumerate() {
            let ours = expr.matches(&fields[index]);
            match packet.differs(text) {
                Some(rule) => *differing.entry(rule).or_insert(0) += 1,
                None if ours == theirs[index] => {
                    compared += 1;
                    matched += usize::from(ours);
                }
                None => wrong.push(format!("{text}: we say {ours}: {:02x?}", packet.bytes)),
            }
        }
    }
    fs::remove_file(&path).unwrap();
    assert!(wrong.is_empty(), "{} differ, first: {}", wrong.len(), wrong[0]);
    assert!(texts >= 150, "{texts}");
    // The rules excuse few packets, and the texts select some.
    assert!(compared > 4 * differing.values().sum::<usize>(), "{compared} {differing:?}");
    assert!(matched > compared / 50, "{matched} of {compared}");
}
