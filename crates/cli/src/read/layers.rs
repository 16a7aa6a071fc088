//! The layers of a frame with their fields, as `read --json` prints them and as they are compared with
//! what another dissector says.
//!
//! [`netmem_wire::dissect`] says which headers there are and where; a layer is listed when the fixed
//! part of its header is there. Lengths are those that the header claims.

use std::net::{Ipv4Addr, Ipv6Addr};

use netmem_wire::{
    Sctp,
    checksum::{self, Sum},
    dissect::{Dissection, Link, Network, Transport},
    ipv6::extension,
};
use serde::Serialize;

/// What is known of a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// It fits the bytes.
    Good,
    /// It does not.
    Bad,
    /// Not all the bytes that it is of are there, or the sender left it out.
    Unverified,
}

/// One header of a frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// How many tunnels or quotes it is inside of.
    pub depth: u8,
    /// Its fields.
    #[serde(flatten)]
    pub fields: Fields,
}

/// The fields of a header. Addresses are text, as everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "layer", rename_all = "lowercase")]
#[allow(missing_docs, reason = "the fields have the names that the protocols' documents give them")]
pub enum Fields {
    Ethernet {
        source: String,
        destination: String,
        type_or_length: u16,
    },
    Vlan {
        tpid: u16,
        id: u16,
        priority: u8,
        drop_eligible: bool,
        ether_type: u16,
    },
    Arp(Arp),
    Ipv4(Ipv4),
    Ipv6(Ipv6),
    /// An extension header of IPv6 but the fragment header, or AH.
    Extension {
        protocol: u8,
        len_bytes: usize,
    },
    Fragment {
        next_header: u8,
        offset_bytes: u16,
        more_fragments: bool,
        identification: u32,
    },
    Tcp(Tcp),
    Udp {
        source_port: u16,
        destination_port: u16,
        len_bytes: u16,
        checksum: Checksum,
    },
    UdpLite {
        source_port: u16,
        destination_port: u16,
        coverage_bytes: u16,
    },
    Icmpv4 {
        icmp_type: u8,
        icmp_code: u8,
        checksum: Checksum,
    },
    Icmpv6 {
        icmp_type: u8,
        icmp_code: u8,
        checksum: Checksum,
    },
    Igmp {
        igmp_type: u8,
        checksum: Checksum,
    },
    Sctp {
        source_port: u16,
        destination_port: u16,
        verification_tag: u32,
        /// CRC32c of the packet (RFC 9260).
        checksum: Checksum,
    },
    Gre {
        flags: u16,
        protocol: u16,
    },
}

/// ARP or RARP; addresses where they are of Ethernet and of IPv4.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields have the names that RFC 826 gives them")]
pub struct Arp {
    pub hardware_type: u16,
    pub protocol_type: u16,
    pub hardware_len_bytes: u8,
    pub protocol_len_bytes: u8,
    pub operation: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender_mac: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender_ip: Option<Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_mac: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ip: Option<Ipv4Addr>,
}

/// The fixed part of an IPv4 header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields have the names that RFC 791 and 2474 give them")]
pub struct Ipv4 {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub header_len_bytes: u8,
    pub dscp: u8,
    pub ecn: u8,
    pub total_len_bytes: u16,
    pub identification: u16,
    /// From the reserved bit down: 2 is "don't fragment", 1 "more fragments".
    pub flags: u8,
    pub fragment_offset_bytes: u16,
    pub ttl: u8,
    pub protocol: u8,
    pub checksum: Checksum,
}

/// An IPv6 header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields have the names that RFC 8200 gives them")]
pub struct Ipv6 {
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
    pub dscp: u8,
    pub ecn: u8,
    pub flow_label: u32,
    pub payload_len_bytes: u16,
    pub next_header: u8,
    pub hop_limit: u8,
}

/// The fixed part of a TCP header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields have the names that RFC 9293 gives them")]
pub struct Tcp {
    pub source_port: u16,
    pub destination_port: u16,
    pub sequence: u32,
    pub acknowledgment: u32,
    pub header_len_bytes: u8,
    /// The 12 bits behind the data offset; FIN is the lowest.
    pub flags: u16,
    pub window: u16,
    pub urgent_pointer: u16,
    pub checksum: Checksum,
}

/// Lists the layers of a frame and of all that is inside it, in order.
#[must_use]
pub fn layers(outermost: &Dissection<'_>) -> Vec<Layer> {
    let mut layers = Vec::new();
    for level in outermost.levels() {
        let depth = level.depth();
        let mut add = |fields| layers.push(Layer { depth, fields });
        add_link(&level, &mut add);
        let header = level.network_bytes();
        match level.network() {
            Network::None => {}
            Network::Arp => add(arp(header)),
            Network::Ipv4 => add(ipv4(header)),
            Network::Ipv6 => add(ipv6(header)),
        }
        add_extensions(&level, &mut add);
        if let Some(fields) = transport(&level) {
            add(fields);
        }
    }
    layers
}

fn add_link(level: &Dissection<'_>, add: &mut impl FnMut(Fields)) {
    let mut tpid = match (level.link(), level.ethernet()) {
        (Link::Sll, _) => be16(level.frame(), 14),
        (Link::Sll2, _) => be16(level.frame(), 0),
        (_, Some(ethernet)) => {
            add(Fields::Ethernet {
                source: ethernet.source().to_string(),
                destination: ethernet.destination().to_string(),
                type_or_length: ethernet.ether_type(),
            });
            ethernet.ether_type()
        }
        (_, None) => return,
    };
    for tag in level.vlans() {
        let ether_type = tag.ether_type();
        add(Fields::Vlan {
            tpid,
            id: tag.id(),
            priority: tag.priority(),
            drop_eligible: tag.drop_eligible(),
            ether_type,
        });
        tpid = ether_type;
    }
}

fn arp(packet: &[u8]) -> Fields {
    /// Ethernet, and IEEE 802 networks, which have the same addresses.
    const ETHERNET: [u16; 2] = [1, 6];
    const IPV4: u16 = 0x0800;
    let (hardware_type, protocol_type) = (be16(packet, 0), be16(packet, 2));
    let (hardware_len, protocol_len) = (usize::from(packet[4]), usize::from(packet[5]));
    let is_mac = ETHERNET.contains(&hardware_type) && hardware_len == 6;
    let is_ip = protocol_type == IPV4 && protocol_len == 4;
    // Where one address is cut off, the others may not be where they seem.
    let addresses = packet.get(..8 + 2 * (hardware_len + protocol_len));
    let mac = |at: usize| {
        let bytes = addresses?.get(at..)?.first_chunk().filter(|_| is_mac)?;
        Some(netmem_wire::MacAddr(*bytes).to_string())
    };
    let ip = |at: usize| {
        let bytes = addresses?.get(at..)?.first_chunk::<4>().filter(|_| is_ip)?;
        Some(Ipv4Addr::from(*bytes))
    };
    let target = 8 + hardware_len + protocol_len;
    Fields::Arp(Arp {
        hardware_type,
        protocol_type,
        hardware_len_bytes: packet[4],
        protocol_len_bytes: packet[5],
        operation: be16(packet, 6),
        sender_mac: mac(8),
        sender_ip: ip(8 + hardware_len),
        target_mac: mac(target),
        target_ip: ip(target + hardware_len),
    })
}

fn ipv4(packet: &[u8]) -> Fields {
    let header_len_bytes = (packet[0] & 15) * 4;
    let fragment = be16(packet, 6);
    Fields::Ipv4(Ipv4 {
        source: array::<4>(packet, 12).into(),
        destination: array::<4>(packet, 16).into(),
        header_len_bytes,
        dscp: packet[1] >> 2,
        ecn: packet[1] & 3,
        total_len_bytes: be16(packet, 2),
        identification: be16(packet, 4),
        flags: packet[6] >> 5,
        fragment_offset_bytes: (fragment & 0x1fff) * 8,
        ttl: packet[8],
        protocol: packet[9],
        checksum: match packet.get(..header_len_bytes.into()) {
            Some(header) => verdict(Sum::of(header)),
            None => Checksum::Unverified,
        },
    })
}

fn ipv6(packet: &[u8]) -> Fields {
    let first = be32(packet, 0);
    let traffic_class = first.to_be_bytes()[0] << 4 | first.to_be_bytes()[1] >> 4;
    Fields::Ipv6(Ipv6 {
        source: array::<16>(packet, 8).into(),
        destination: array::<16>(packet, 24).into(),
        dscp: traffic_class >> 2,
        ecn: traffic_class & 3,
        flow_label: first & 0xf_ffff,
        payload_len_bytes: be16(packet, 4),
        next_header: packet[6],
        hop_limit: packet[7],
    })
}

/// What lies between the network and the transport header.
fn add_extensions(level: &Dissection<'_>, add: &mut impl FnMut(Fields)) {
    const FRAGMENT: u8 = 44;
    const AH: u8 = 51;
    let packet = level.network_bytes();
    let (mut at, mut protocol) = match level.network() {
        Network::Ipv4 => (usize::from(packet[0] & 15) * 4, packet[9]),
        Network::Ipv6 => (40, packet[6]),
        Network::None | Network::Arp => return,
    };
    let transport_at = level.transport_offset_bytes().saturating_sub(level.network_offset_bytes());
    while at < transport_at {
        let Some(&[next, units, a, b, c, d, e, f]) =
            packet.get(at..).and_then(|rest| rest.first_chunk())
        else {
            break;
        };
        let word = u16::from_be_bytes([a, b]);
        let len_bytes = match protocol {
            FRAGMENT => 8,
            AH => (usize::from(units) + 2) * 4,
            _ => (usize::from(units) + 1) * 8,
        };
        add(match protocol {
            FRAGMENT => Fields::Fragment {
                next_header: next,
                offset_bytes: word & 0xfff8,
                more_fragments: word & 1 != 0,
                identification: u32::from_be_bytes([c, d, e, f]),
            },
            _ => Fields::Extension { protocol, len_bytes },
        });
        (at, protocol) = (at + len_bytes, next);
    }
}

fn transport(level: &Dissection<'_>) -> Option<Fields> {
    let bytes = level.transport_bytes();
    if level.transport() == Transport::None || bytes.len() < fixed_len_bytes(level.transport()) {
        return None;
    }
    // An ICMP error may quote a packet whole: then its checksum says something.
    let is_alone = level.fragment().is_none();
    let whole = is_alone && !level.is_cut();
    let verify = |sum: Option<Sum>| match sum {
        Some(sum) if whole => verdict(sum),
        _ => Checksum::Unverified,
    };
    let (source_port, destination_port) = (be16(bytes, 0), be16(bytes, 2));
    Some(match level.transport() {
        Transport::None => return None,
        Transport::Tcp => Fields::Tcp(Tcp {
            source_port,
            destination_port,
            sequence: be32(bytes, 4),
            acknowledgment: be32(bytes, 8),
            header_len_bytes: (bytes[12] >> 4) * 4,
            flags: be16(bytes, 12) & 0xfff,
            window: be16(bytes, 14),
            urgent_pointer: be16(bytes, 18),
            checksum: verify(with_pseudo_header(level, bytes, 6)),
        }),
        Transport::Udp => Fields::Udp {
            source_port,
            destination_port,
            len_bytes: be16(bytes, 4),
            checksum: match be16(bytes, 6) {
                0 => Checksum::Unverified,
                // All of the datagram is there, even where all of the packet is not.
                _ if is_alone && usize::from(be16(bytes, 4)) == bytes.len() => {
                    with_pseudo_header(level, bytes, 17).map_or(Checksum::Unverified, verdict)
                }
                _ => verify(with_pseudo_header(level, bytes, 17)),
            },
        },
        Transport::UdpLite => {
            Fields::UdpLite { source_port, destination_port, coverage_bytes: be16(bytes, 4) }
        }
        Transport::Icmpv4 => Fields::Icmpv4 {
            icmp_type: bytes[0],
            icmp_code: bytes[1],
            checksum: verify(Some(Sum::of(bytes))),
        },
        Transport::Icmpv6 => Fields::Icmpv6 {
            icmp_type: bytes[0],
            icmp_code: bytes[1],
            checksum: verify(with_pseudo_header(level, bytes, 58)),
        },
        Transport::Igmp => {
            Fields::Igmp { igmp_type: bytes[0], checksum: verify(Some(Sum::of(bytes))) }
        }
        Transport::Sctp => {
            let verification_tag = be32(bytes, 4);
            let checksum = crc32c(Sctp::new_checked(bytes).ok().filter(|_| whole));
            Fields::Sctp { source_port, destination_port, verification_tag, checksum }
        }
        Transport::Gre => Fields::Gre { flags: be16(bytes, 0), protocol: be16(bytes, 2) },
    })
}

fn crc32c(packet: Option<Sctp<&[u8]>>) -> Checksum {
    match packet.map(|view| view.verify_checksum()) {
        Some(true) => Checksum::Good,
        Some(false) => Checksum::Bad,
        None => Checksum::Unverified,
    }
}

fn fixed_len_bytes(transport: Transport) -> usize {
    match transport {
        Transport::None => 0,
        Transport::Tcp => 20,
        Transport::Sctp => 12,
        Transport::Icmpv4 | Transport::Icmpv6 | Transport::Gre => 4,
        Transport::Udp | Transport::UdpLite | Transport::Igmp => 8,
    }
}

/// The sum of a message and of the pseudo header in front of it.
fn with_pseudo_header(level: &Dissection<'_>, message: &[u8], protocol: u8) -> Option<Sum> {
    let header = level.network_bytes();
    let len_bytes = u32::try_from(message.len()).ok()?;
    let pseudo = match level.network() {
        Network::Ipv4 => {
            // A packet longer than the field says was put together in hardware; the field has 16 bits.
            let len_bytes = u16::try_from(len_bytes).ok()?;
            let (source, destination) = (array::<4>(header, 12), array::<4>(header, 16));
            checksum::pseudo_header(source.into(), destination.into(), protocol, len_bytes)
        }
        Network::Ipv6 => {
            let source = array::<16>(header, 8);
            let destination = final_destination(level).unwrap_or_else(|| array(header, 24));
            checksum::pseudo_header_v6(source.into(), destination.into(), protocol, len_bytes)
        }
        Network::None | Network::Arp => return None,
    };
    Some(pseudo.combine(Sum::of(message)))
}

/// Where a routing header leads that is not at its end: the pseudo header has the final destination
/// (RFC 8200 section 8.1).
fn final_destination(level: &Dissection<'_>) -> Option<[u8; 16]> {
    let (header, payload) = level.network_bytes().split_at_checked(40)?;
    let upper = extension::upper_layer(header[6], payload).ok()?;
    upper.final_destination.map(|address| address.octets())
}

fn verdict(sum: Sum) -> Checksum {
    if sum.finish() == 0 { Checksum::Good } else { Checksum::Bad }
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array(bytes, at))
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(bytes, at))
}

/// Copies out of a header whose presence was checked.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut copy = [0; N];
    copy.copy_from_slice(&bytes[at..at + N]);
    copy
}
