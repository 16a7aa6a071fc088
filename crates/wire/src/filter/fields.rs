//! The one bounded parse that all back ends share. Its specification is the head of
//! [`filter`](crate::filter).

use core::net::{Ipv4Addr, Ipv6Addr};
use core::ops::{BitOr, BitOrAssign};

use crate::ethernet::ether_type;
use crate::ipv4::protocol;
use crate::{MacAddr, arp, be16, bytes, ethernet, ipv4, vlan};

const IPV6_LEN_BYTES: usize = 40;
/// As many extension headers are walked over.
const EXTENSIONS_MAX: usize = 6;
const ICMPV6: u8 = 58;
/// Neighbor solicitation and advertisement.
const ND_TYPES: [u8; 2] = [135, 136];
/// What the parse asks of the transports: type, code and checksum; both ports; up to the flags;
/// up to the target's end.
const ICMP_LEN_BYTES: usize = 4;
const PORTS_LEN_BYTES: usize = 4;
const TCP_FLAGS_END_BYTES: usize = 14;
const ND_LEN_BYTES: usize = 24;

/// Which fields of a frame are there: a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Present(u16);

impl Present {
    /// The empty set: what is there in every frame, as `len_bytes` is.
    pub const NONE: Self = Self(0);
    /// The addresses, `ether_type` and `vlan_count`.
    pub const ETHERNET: Self = Self(1);
    /// At least one complete tag: the first `vlan_count` of `vlan_ids`.
    pub const VLAN: Self = Self(1 << 1);
    /// ARP for IPv4 over Ethernet: the `arp_` fields.
    pub const ARP: Self = Self(1 << 2);
    /// The fixed IPv4 header: the `ip_` fields and `header_len_bytes`.
    pub const IPV4: Self = Self(1 << 3);
    /// `icmp_type` and `icmp_code`.
    pub const ICMP: Self = Self(1 << 4);
    /// `source_port` and `destination_port`.
    pub const PORTS: Self = Self(1 << 5);
    /// The IPv6 header: `ip6_source` and `ip6_destination`.
    pub const IPV6: Self = Self(1 << 6);
    /// `fragment_offset_bytes` and `more_fragments`, of IPv4 or IPv6.
    pub const FRAGMENT: Self = Self(1 << 7);
    /// `ip6_protocol`: the end of the IPv6 extension headers was found.
    pub const IP6_PROTOCOL: Self = Self(1 << 8);
    /// `icmp6_type` and `icmp6_code`.
    pub const ICMP6: Self = Self(1 << 9);
    /// `nd_target`.
    pub const ND_TARGET: Self = Self(1 << 10);
    /// `tcp_flags`.
    pub const TCP_FLAGS: Self = Self(1 << 11);
    /// Any transport: `ICMP`, `ICMP6` or `PORTS`; ask with [`intersects`](Self::intersects).
    pub const L4: Self = Self(Self::ICMP.0 | Self::ICMP6.0 | Self::PORTS.0);

    /// Returns the bits as a number, the form that bytecode keeps them in.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Tells whether all bits of `other` are set.
    #[inline]
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Tells whether any bit of `other` is set.
    #[inline]
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Present {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Present {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// What the parse of a frame yields; a field that is not [`present`](Self::present) is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fields {
    /// Which of the following fields are there.
    pub present: Present,
    /// Length of the frame as it was given.
    pub len_bytes: u32,
    /// Ethernet destination address.
    pub destination_mac: MacAddr,
    /// Ethernet source address.
    pub source_mac: MacAddr,
    /// Number of complete tags, 0 to 2.
    pub vlan_count: u8,
    /// VLAN ids, outermost first, 0 to 4095.
    pub vlan_ids: [u16; 2],
    /// Ethernet type after the tags.
    pub ether_type: u16,
    /// ARP operation: 1 request, 2 reply.
    pub arp_operation: u16,
    /// IPv4 address of the ARP sender.
    pub arp_sender: Ipv4Addr,
    /// IPv4 address of the ARP target.
    pub arp_target: Ipv4Addr,
    /// IPv4 source address.
    pub ip_source: Ipv4Addr,
    /// IPv4 destination address.
    pub ip_destination: Ipv4Addr,
    /// IPv4 protocol.
    pub ip_protocol: u8,
    /// Length of the IPv4 header with options: 20 to 60. The options may be cut off.
    pub header_len_bytes: u8,
    /// IPv6 source address.
    pub ip6_source: Ipv6Addr,
    /// IPv6 destination address.
    pub ip6_destination: Ipv6Addr,
    /// The protocol behind the IPv6 extension headers.
    pub ip6_protocol: u8,
    /// Where the fragment begins, 0 to 65528.
    pub fragment_offset_bytes: u16,
    /// Whether fragments follow this one.
    pub more_fragments: bool,
    /// ICMP type (IPv4).
    pub icmp_type: u8,
    /// ICMP code (IPv4).
    pub icmp_code: u8,
    /// `ICMPv6` type.
    pub icmp6_type: u8,
    /// `ICMPv6` code.
    pub icmp6_code: u8,
    /// Target address of a neighbor solicitation or advertisement.
    pub nd_target: Ipv6Addr,
    /// Source port of TCP, UDP, UDP-Lite or SCTP.
    pub source_port: u16,
    /// Destination port of TCP, UDP, UDP-Lite or SCTP.
    pub destination_port: u16,
    /// Byte 13 of the TCP header: CWR, ECE, URG, ACK, PSH, RST, SYN, FIN from the highest bit.
    pub tcp_flags: u8,
}

impl Fields {
    /// The fields of an empty frame: none.
    pub const NONE: Self = Self {
        present: Present::NONE,
        len_bytes: 0,
        destination_mac: MacAddr([0; 6]),
        source_mac: MacAddr([0; 6]),
        vlan_count: 0,
        vlan_ids: [0; 2],
        ether_type: 0,
        arp_operation: 0,
        arp_sender: Ipv4Addr::UNSPECIFIED,
        arp_target: Ipv4Addr::UNSPECIFIED,
        ip_source: Ipv4Addr::UNSPECIFIED,
        ip_destination: Ipv4Addr::UNSPECIFIED,
        ip_protocol: 0,
        header_len_bytes: 0,
        ip6_source: Ipv6Addr::UNSPECIFIED,
        ip6_destination: Ipv6Addr::UNSPECIFIED,
        ip6_protocol: 0,
        fragment_offset_bytes: 0,
        more_fragments: false,
        icmp_type: 0,
        icmp_code: 0,
        icmp6_type: 0,
        icmp6_code: 0,
        nd_target: Ipv6Addr::UNSPECIFIED,
        source_port: 0,
        destination_port: 0,
        tcp_flags: 0,
    };

    /// Parses an Ethernet frame as far as its bytes go; never fails.
    #[must_use]
    pub fn parse(frame: &[u8]) -> Self {
        let len_bytes = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let mut fields = Self { len_bytes, ..Self::NONE };
        let Some(header) = frame.first_chunk::<{ ethernet::HEADER_LEN_BYTES }>() else {
            return fields;
        };
        fields.present = Present::ETHERNET;
        fields.destination_mac = MacAddr(bytes(header, 0));
        fields.source_mac = MacAddr(bytes(header, 6));
        fields.ether_type = be16(header, 12);
        let mut rest = &frame[ethernet::HEADER_LEN_BYTES..];
        for id in 0..fields.vlan_ids.len() {
            if !vlan::is_tag(fields.ether_type) {
                break;
            }
            let Some((tag, after)) = rest.split_first_chunk::<{ vlan::HEADER_LEN_BYTES }>() else {
                return fields;
            };
            fields.present |= Present::VLAN;
            fields.vlan_count += 1;
            fields.vlan_ids[id] = be16(tag, 0) & 0x0fff;
            fields.ether_type = be16(tag, 2);
            rest = after;
        }
        match fields.ether_type {
            ether_type::ARP => fields.parse_arp(rest),
            ether_type::IPV4 => fields.parse_ipv4(rest),
            ether_type::IPV6 => fields.parse_ipv6(rest),
            _ => {}
        }
        fields
    }

    fn parse_arp(&mut self, l3: &[u8]) {
        let Some(packet) = l3.first_chunk::<{ arp::PACKET_LEN_BYTES }>() else { return };
        if packet[..6] != arp::ETHERNET_IPV4 {
            return;
        }
        self.present |= Present::ARP;
        self.arp_operation = be16(packet, 6);
        self.arp_sender = bytes::<4>(packet, 14).into();
        self.arp_target = bytes::<4>(packet, 24).into();
    }

    fn parse_ipv4(&mut self, l3: &[u8]) {
        let Some(header) = l3.first_chunk::<{ ipv4::HEADER_LEN_BYTES }>() else { return };
        if header[0] >> 4 != 4 || header[0] & 0x0f < 5 {
            return;
        }
        self.present |= Present::IPV4 | Present::FRAGMENT;
        self.header_len_bytes = (header[0] & 0x0f) * 4;
        let fragment = be16(header, 6);
        self.more_fragments = fragment & 0x2000 != 0;
        self.fragment_offset_bytes = (fragment & 0x1fff) << 3;
        self.ip_protocol = header[9];
        self.ip_source = bytes::<4>(header, 12).into();
        self.ip_destination = bytes::<4>(header, 16).into();
        let Some(l4) = l3.get(usize::from(self.header_len_bytes)..) else { return };
        if self.fragment_offset_bytes != 0 {
            return;
        }
        if self.ip_protocol != protocol::ICMP {
            return self.parse_ports(self.ip_protocol, l4);
        }
        let Some(&[icmp_type, icmp_code, ..]) = l4.first_chunk::<ICMP_LEN_BYTES>() else { return };
        self.present |= Present::ICMP;
        (self.icmp_type, self.icmp_code) = (icmp_type, icmp_code);
    }

    fn parse_ipv6(&mut self, l3: &[u8]) {
        let Some((header, rest)) = l3.split_first_chunk::<IPV6_LEN_BYTES>() else { return };
        if header[0] >> 4 != 6 {
            return;
        }
        self.present |= Present::IPV6;
        self.ip6_source = bytes::<16>(header, 8).into();
        self.ip6_destination = bytes::<16>(header, 24).into();
        let Some(l4) = self.skip_extensions(header[6], rest) else { return };
        if self.ip6_protocol != ICMPV6 {
            return self.parse_ports(self.ip6_protocol, l4);
        }
        let Some(&[icmp_type, icmp_code, ..]) = l4.first_chunk::<ICMP_LEN_BYTES>() else { return };
        self.present |= Present::ICMP6;
        (self.icmp6_type, self.icmp6_code) = (icmp_type, icmp_code);
        let Some(message) = l4.first_chunk::<ND_LEN_BYTES>() else { return };
        if ND_TYPES.contains(&icmp_type) {
            self.present |= Present::ND_TARGET;
            self.nd_target = bytes::<16>(message, 8).into();
        }
    }

    /// Walks over the extension headers in `rest`, the first of which is `next`; returns what is
    /// behind them, unless that is absent or belongs to a later fragment.
    fn skip_extensions<'f>(&mut self, mut next: u8, mut rest: &'f [u8]) -> Option<&'f [u8]> {
        for _ in 0..EXTENSIONS_MAX {
            if !extension::is_known(next) {
                break;
            }
            let header = rest.first_chunk::<{ extension::LEN_MIN_BYTES }>()?;
            let len_bytes = extension::len_bytes(next, header[1]);
            if next == extension::FRAGMENT {
                let word = be16(header, 2);
                self.present |= Present::FRAGMENT;
                self.more_fragments |= word & 1 != 0;
                self.fragment_offset_bytes = word & 0xfff8;
            }
            next = header[0];
            if self.fragment_offset_bytes != 0 {
                self.present |= Present::IP6_PROTOCOL;
                self.ip6_protocol = next;
                return None;
            }
            rest = rest.get(len_bytes..).unwrap_or_default();
        }
        if extension::is_known(next) {
            return None;
        }
        self.present |= Present::FRAGMENT | Present::IP6_PROTOCOL;
        self.ip6_protocol = next;
        Some(rest)
    }

    /// Reads what the transports with ports have in common, then the flags of TCP.
    fn parse_ports(&mut self, protocol: u8, l4: &[u8]) {
        let (protocol::TCP | protocol::UDP | protocol::SCTP | protocol::UDP_LITE) = protocol else {
            return;
        };
        let Some(ports) = l4.first_chunk::<PORTS_LEN_BYTES>() else { return };
        self.present |= Present::PORTS;
        (self.source_port, self.destination_port) = (be16(ports, 0), be16(ports, 2));
        if protocol == protocol::TCP
            && let Some([.., flags]) = l4.first_chunk::<TCP_FLAGS_END_BYTES>()
        {
            self.present |= Present::TCP_FLAGS;
            self.tcp_flags = *flags;
        }
    }
}

impl Default for Fields {
    fn default() -> Self {
        Self::NONE
    }
}

/// The extension headers of IPv6 that are walked over (RFC 8200 section 4, RFC 4302).
mod extension {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const AUTHENTICATION: u8 = 51;
    pub(super) const DESTINATION: u8 = 60;
    /// What the shortest of them has.
    pub(super) const LEN_MIN_BYTES: usize = 8;

    pub(super) const fn is_known(next: u8) -> bool {
        matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION)
    }

    /// The length of the header of this kind whose byte 1 is `len`.
    pub(super) fn len_bytes(kind: u8, len: u8) -> usize {
        match kind {
            FRAGMENT => LEN_MIN_BYTES,
            AUTHENTICATION => LEN_MIN_BYTES + usize::from(len) * 4,
            _ => LEN_MIN_BYTES + usize::from(len) * 8,
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
