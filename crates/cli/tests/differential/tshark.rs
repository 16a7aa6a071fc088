//! The other side: tshark, asked for fields.

use std::{
    net::Ipv6Addr,
    path::Path,
    process::{Command, Stdio},
};

use crate::fields::NAMES;

/// Each packet on its own, and every checksum looked at.
const OPTIONS: [&str; 10] = [
    "ip.check_checksum:TRUE",
    "tcp.check_checksum:TRUE",
    "udp.check_checksum:TRUE",
    "sctp.checksum:crc-32c",
    "ip.defragment:FALSE",
    "ipv6.defragment:FALSE",
    "tcp.relative_sequence_numbers:FALSE",
    "tcp.analyze_sequence_numbers:FALSE",
    "tcp.desegment_tcp_streams:FALSE",
    "eth.fcs:Never",
];

/// Names in `frame.protocols` that are layers of ours, or no layers.
const KNOWN: [&str; 24] = [
    "eth",
    "ethertype",
    "vlan",
    "ieee8021ad",
    "llc",
    "sll",
    "raw",
    "null",
    "arp",
    "ip",
    "ipv6",
    "ipv6.hopopts",
    "ipv6.dstopts",
    "ipv6.routing",
    "ipv6.fraghdr",
    "ah",
    "tcp",
    "udp",
    "icmp",
    "icmpv6",
    "igmp",
    "gre",
    "vxlan",
    "geneve",
];

/// One packet as tshark sees it.
#[derive(Debug)]
pub(crate) struct Packet {
    /// `eth:ethertype:ip:tcp:http`.
    pub(crate) protocols: String,
    /// By the index of the field's name.
    pub(crate) values: Vec<Vec<String>>,
}

impl Packet {
    /// The first protocol that is no layer of ours.
    pub(crate) fn behind(&self) -> String {
        let mut names = self.protocols.split(':');
        names.find(|name| !KNOWN.contains(name)).unwrap_or("the same again").to_owned()
    }
}

/// Whether it can be started.
pub(crate) fn is_here() -> bool {
    let mut probe = Command::new("tshark");
    probe.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}

/// Asks for all packets of a file, and what it says if it stopped early.
pub(crate) fn read(path: &Path) -> Result<(Vec<Packet>, Option<String>), String> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-E", "occurrence=a", "-E", "separator=/t", "-r"]);
    command.arg(path).args(["-e", "frame.protocols"]).stdin(Stdio::null());
    // The port of VXLAN before it had one of its own, which the kernel still uses by default.
    command.args(["-d", "udp.port==8472,vxlan"]);
    for option in OPTIONS {
        command.args(["-o", option]);
    }
    for name in NAMES {
        command.args(["-e", name]);
    }
    let output = command.output().map_err(|error| format!("run tshark: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let ended = if output.status.success() {
        None
    } else {
        let text = String::from_utf8_lossy(&output.stderr);
        let words = text.lines().filter(|line| !line.starts_with("Running as"));
        Some(words.collect::<Vec<_>>().join(" "))
    };
    Ok((text.lines().map(packet).collect(), ended))
}

fn packet(line: &str) -> Packet {
    let mut columns = line.split('\t');
    let protocols = columns.next().unwrap_or_default().to_owned();
    let values = NAMES.iter().map(|name| {
        let column = columns.next().unwrap_or_default();
        let values = column.split(',').filter(|value| !value.is_empty());
        values.map(|value| plain(name, value)).collect()
    });
    Packet { values: values.collect(), protocols }
}

/// One spelling for each value.
fn plain(name: &str, value: &str) -> String {
    let number = match value.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => value.parse().ok(),
    };
    if name.ends_with(".status") && number == Some(3) {
        // Not present: nothing to verify.
        return "2".to_owned();
    }
    if matches!(name, "ip.frag_offset" | "ipv6.fraghdr.offset") {
        // In units of eight bytes, as the header has it.
        return number.map_or_else(|| value.to_owned(), |units| (units * 8).to_string());
    }
    let address = || value.parse::<Ipv6Addr>().ok().map(|address| address.to_string());
    number.map(|number| number.to_string()).or_else(address).unwrap_or_else(|| value.to_owned())
}
