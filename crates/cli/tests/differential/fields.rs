//! Our layers under tshark's names.

use std::collections::BTreeMap;

use netmem_cli::read::layers::{Checksum, Fields, layers};
use netmem_wire::dissect::{Dissection, Stop};

/// The fields that are compared, by tshark's names.
pub(crate) const NAMES: [&str; 60] = [
    "eth.dst",
    "eth.src",
    "eth.type",
    "vlan.id",
    "ieee8021ad.id",
    "arp.hw.type",
    "arp.proto.type",
    "arp.opcode",
    "arp.src.hw_mac",
    "arp.src.proto_ipv4",
    "arp.dst.hw_mac",
    "arp.dst.proto_ipv4",
    "ip.src",
    "ip.dst",
    "ip.hdr_len",
    "ip.dsfield.dscp",
    "ip.dsfield.ecn",
    "ip.len",
    "ip.id",
    "ip.flags",
    "ip.frag_offset",
    "ip.ttl",
    "ip.proto",
    "ip.checksum.status",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.tclass",
    "ipv6.plen",
    "ipv6.nxt",
    "ipv6.hlim",
    "ipv6.flow",
    "ipv6.fraghdr.offset",
    "ipv6.fraghdr.more",
    "ipv6.fraghdr.ident",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.seq_raw",
    "tcp.ack_raw",
    "tcp.hdr_len",
    "tcp.flags",
    "tcp.window_size_value",
    "tcp.urgent_pointer",
    "tcp.checksum.status",
    "udp.srcport",
    "udp.dstport",
    "udp.length",
    "udp.checksum.status",
    "icmp.type",
    "icmp.code",
    "icmp.checksum.status",
    "icmpv6.type",
    "icmpv6.code",
    "icmpv6.checksum.status",
    "sctp.srcport",
    "sctp.dstport",
    "sctp.checksum.status",
    "igmp.type",
    "igmp.checksum.status",
    "gre.flags_and_version",
    "gre.proto",
];

/// The values of one packet.
#[derive(Debug)]
pub(crate) struct Values {
    by_name: BTreeMap<&'static str, Vec<String>>,
    /// Whether the innermost level ends in bytes that are no layer of ours.
    pub(crate) is_open: bool,
    /// Why the innermost level ended.
    pub(crate) stop: Stop,
    /// Whether any level announces more than there is.
    pub(crate) is_cut: bool,
    /// Whether the frame is longer than an IP length can say.
    pub(crate) is_long: bool,
    /// The one line.
    pub(crate) line: String,
}

impl Values {
    /// The values of a frame.
    pub(crate) fn of(outermost: &Dissection<'_>) -> Self {
        let innermost = outermost.levels().last().unwrap();
        let mut values = Self {
            by_name: BTreeMap::new(),
            is_open: !matches!(innermost.stop(), Stop::Error(_)) && !innermost.payload().is_empty(),
            stop: innermost.stop(),
            is_cut: outermost.levels().any(|level| level.is_cut()),
            is_long: outermost.frame().len() > usize::from(u16::MAX),
            line: outermost.to_string(),
        };
        for layer in layers(outermost) {
            values.add(&layer.fields);
        }
        values
    }

    /// All values of a field, from the outside in.
    pub(crate) fn get(&self, name: &str) -> &[String] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    fn put(&mut self, name: &'static str, value: impl ToString) {
        assert!(NAMES.contains(&name), "{name}");
        self.by_name.entry(name).or_default().push(value.to_string());
    }

    fn put_some(&mut self, name: &'static str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    fn add(&mut self, fields: &Fields) {
        match fields {
            Fields::Ethernet { source, destination, type_or_length } => {
                self.put("eth.dst", destination);
                self.put("eth.src", source);
                if *type_or_length > 1535 {
                    self.put("eth.type", type_or_length);
                }
            }
            Fields::Vlan { tpid, id, .. } => {
                self.put(if *tpid == 0x88a8 { "ieee8021ad.id" } else { "vlan.id" }, id);
            }
            Fields::Arp(arp) => {
                self.put("arp.hw.type", arp.hardware_type);
                self.put("arp.proto.type", arp.protocol_type);
                self.put("arp.opcode", arp.operation);
                self.put_some("arp.src.hw_mac", arp.sender_mac.as_ref());
                self.put_some("arp.src.proto_ipv4", arp.sender_ip);
                self.put_some("arp.dst.hw_mac", arp.target_mac.as_ref());
                self.put_some("arp.dst.proto_ipv4", arp.target_ip);
            }
            Fields::Ipv4(_) | Fields::Ipv6(_) | Fields::Fragment { .. } => self.add_ip(fields),
            Fields::Tcp(_) | Fields::Udp { .. } => self.add_transport(fields),
            Fields::Icmpv4 { icmp_type, icmp_code, checksum } => {
                self.put("icmp.type", icmp_type);
                self.put("icmp.code", icmp_code);
                self.put("icmp.checksum.status", status(*checksum));
            }
            Fields::Icmpv6 { icmp_type, icmp_code, checksum } => {
                self.put("icmpv6.type", icmp_type);
                self.put("icmpv6.code", icmp_code);
                self.put("icmpv6.checksum.status", status(*checksum));
            }
            Fields::Sctp { source_port, destination_port, checksum, .. } => {
                self.put("sctp.srcport", source_port);
                self.put("sctp.dstport", destination_port);
                self.put("sctp.checksum.status", status(*checksum));
            }
            Fields::Igmp { igmp_type, checksum } => {
                self.put("igmp.type", igmp_type);
                self.put("igmp.checksum.status", status(*checksum));
            }
            Fields::Gre { flags, protocol } => {
                self.put("gre.flags_and_version", flags);
                self.put("gre.proto", protocol);
            }
            Fields::UdpLite { source_port, destination_port, .. } => {
                self.put("udp.srcport", source_port);
                self.put("udp.dstport", destination_port);
            }
            Fields::Extension { .. } => {}
        }
    }

    fn add_ip(&mut self, fields: &Fields) {
        match fields {
            Fields::Ipv4(ip) => {
                self.put("ip.src", ip.source);
                self.put("ip.dst", ip.destination);
                self.put("ip.hdr_len", ip.header_len_bytes);
                self.put("ip.dsfield.dscp", ip.dscp);
                self.put("ip.dsfield.ecn", ip.ecn);
                self.put("ip.len", ip.total_len_bytes);
                self.put("ip.id", ip.identification);
                self.put("ip.flags", ip.flags);
                self.put("ip.frag_offset", ip.fragment_offset_bytes);
                self.put("ip.ttl", ip.ttl);
                self.put("ip.proto", ip.protocol);
                self.put("ip.checksum.status", status(ip.checksum));
            }
            Fields::Ipv6(ip) => {
                self.put("ipv6.src", ip.source);
                self.put("ipv6.dst", ip.destination);
                self.put("ipv6.tclass", ip.dscp << 2 | ip.ecn);
                self.put("ipv6.plen", ip.payload_len_bytes);
                self.put("ipv6.nxt", ip.next_header);
                self.put("ipv6.hlim", ip.hop_limit);
                self.put("ipv6.flow", ip.flow_label);
            }
            Fields::Fragment { offset_bytes, more_fragments, identification, .. } => {
                self.put("ipv6.fraghdr.offset", offset_bytes);
                self.put("ipv6.fraghdr.more", u8::from(*more_fragments));
                self.put("ipv6.fraghdr.ident", identification);
            }
            _ => {}
        }
    }

    fn add_transport(&mut self, fields: &Fields) {
        match fields {
            Fields::Tcp(tcp) => {
                self.put("tcp.srcport", tcp.source_port);
                self.put("tcp.dstport", tcp.destination_port);
                self.put("tcp.seq_raw", tcp.sequence);
                self.put("tcp.ack_raw", tcp.acknowledgment);
                self.put("tcp.hdr_len", tcp.header_len_bytes);
                self.put("tcp.flags", tcp.flags);
                self.put("tcp.window_size_value", tcp.window);
                self.put("tcp.urgent_pointer", tcp.urgent_pointer);
                self.put("tcp.checksum.status", status(tcp.checksum));
            }
            Fields::Udp { source_port, destination_port, len_bytes, checksum } => {
                self.put("udp.srcport", source_port);
                self.put("udp.dstport", destination_port);
                self.put("udp.length", len_bytes);
                self.put("udp.checksum.status", status(*checksum));
            }
            _ => {}
        }
    }
}

/// tshark's numbers; what was left out counts as not verified on both sides.
fn status(checksum: Checksum) -> u8 {
    match checksum {
        Checksum::Bad => 0,
        Checksum::Good => 1,
        Checksum::Unverified => 2,
    }
}
