//! The one bounded parse that all back ends share. Its specification is the head of
//! [`filter`](crate::filter).

use core::net::{Ipv4Addr, Ipv6Addr};
use core::ops::{BitOr, BitOrAssign};

use crate::ethernet::ether_type;
use crate::ipv4::protocol;
use crate::{MacAddr, arp, be16, bytes, ethernet, ipv4, vlan};

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
        let l4 = l3.get(usize::from(self.header_len_bytes)..).and_then(<[u8]>::first_chunk::<4>);
        let Some(l4) = l4.filter(|_| self.fragment_offset_bytes == 0) else { return };
        match self.ip_protocol {
            protocol::ICMP => {
                self.present |= Present::ICMP;
                [self.icmp_type, self.icmp_code, ..] = *l4;
            }
            protocol::TCP | protocol::UDP | protocol::SCTP | protocol::UDP_LITE => {
                self.present |= Present::PORTS;
                (self.source_port, self.destination_port) = (be16(l4, 0), be16(l4, 2));
            }
            _ => {}
        }
    }
}

impl Default for Fields {
    fn default() -> Self {
        Self::NONE
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::vec::Vec;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// A frame described part by part, with the place of each part.
    #[derive(Clone, Debug)]
    pub(crate) struct Described {
        /// TPID and control information.
        pub(crate) tags: Vec<(u16, u16)>,
        pub(crate) ether_type: u16,
        /// The bytes after the last tag.
        pub(crate) l3: Vec<u8>,
    }

    impl Described {
        pub(crate) fn frame(&self) -> Vec<u8> {
            let mut frame = [3, 3, 3, 3, 3, 3, 2, 2, 2, 2, 2, 2].to_vec();
            for (tpid, control) in &self.tags {
                frame.extend([tpid.to_be_bytes(), control.to_be_bytes()].concat());
            }
            frame.extend(self.ether_type.to_be_bytes());
            frame.extend(&self.l3);
            frame
        }

        /// What the specification says about the first `len` bytes, written without a cursor: the
        /// place of everything is known beforehand.
        fn expected(&self, len: usize) -> Fields {
            let mut fields = Fields { len_bytes: u32::try_from(len).unwrap(), ..Fields::NONE };
            if len < 14 {
                return fields;
            }
            (fields.destination_mac, fields.source_mac) = (MacAddr([3; 6]), MacAddr([2; 6]));
            fields.present = Present::ETHERNET;
            let types: Vec<u16> =
                self.tags.iter().map(|tag| tag.0).chain([self.ether_type]).collect();
            // Of the tags the frame has, those that are whole, and no more than two.
            let count = self.tags.len().min(2).min((len - 14) / 4);
            fields.ether_type = types[count];
            fields.vlan_count = u8::try_from(count).unwrap();
            for (id, tag) in fields.vlan_ids.iter_mut().zip(&self.tags[..count]) {
                *id = tag.1 % 4096;
                fields.present |= Present::VLAN;
            }
            if count == self.tags.len() {
                let l3 = &self.l3[..len - 14 - 4 * count];
                match self.ether_type {
                    0x0806 => expect_arp(&mut fields, l3),
                    0x0800 => expect_ipv4(&mut fields, l3),
                    _ => {}
                }
            }
            fields
        }
    }

    fn number(bytes: &[u8]) -> u16 {
        bytes.iter().fold(0, |value, byte| value << 8 | u16::from(*byte))
    }

    /// The view as the oracle: it was checked against hand-made packets.
    fn expect_arp(fields: &mut Fields, l3: &[u8]) {
        if let Ok(arp) = crate::Arp::new_checked(l3) {
            fields.present |= Present::ARP;
            fields.arp_operation = arp.operation();
            fields.arp_sender = arp.sender_ip();
            fields.arp_target = arp.target_ip();
        }
    }

    fn expect_ipv4(fields: &mut Fields, l3: &[u8]) {
        // Lengths beyond the header do not matter: let the view see none.
        let mut header = l3.to_vec();
        header.resize(60, 0);
        if l3.len() < 20 || l3[0] < 0x45 || l3[0] > 0x4f {
            return;
        }
        header[2..4].copy_from_slice(&[0, 60]);
        let ip = crate::Ipv4::new_checked(header).unwrap();
        fields.present |= Present::IPV4 | Present::FRAGMENT;
        fields.header_len_bytes = u8::try_from(ip.header_len_bytes()).unwrap();
        fields.more_fragments = ip.more_fragments();
        fields.fragment_offset_bytes = ip.fragment_offset_bytes();
        fields.ip_protocol = ip.protocol();
        fields.ip_source = ip.source();
        fields.ip_destination = ip.destination();
        let at = ip.header_len_bytes();
        if ip.fragment_offset_bytes() != 0 || l3.len() < at + 4 {
            return;
        }
        match ip.protocol() {
            1 => {
                fields.present |= Present::ICMP;
                (fields.icmp_type, fields.icmp_code) = (l3[at], l3[at + 1]);
            }
            6 | 17 | 132 | 136 => {
                fields.present |= Present::PORTS;
                fields.source_port = number(&l3[at..at + 2]);
                fields.destination_port = number(&l3[at + 2..at + 4]);
            }
            _ => {}
        }
    }

    fn arp_bytes() -> impl Strategy<Value = Vec<u8>> {
        (vec(any::<u8>(), 28..60), 0_usize..12).prop_map(|(mut l3, damage)| {
            l3[..6].copy_from_slice(&[0, 1, 8, 0, 6, 4]);
            l3[6] = 0;
            if damage < 6 {
                l3[damage] ^= 1;
            }
            l3
        })
    }

    fn ipv4_bytes() -> impl Strategy<Value = Vec<u8>> {
        let first = prop_oneof![6 => Just(0x45_u8), 3 => 0x44_u8..=0x50, 1 => any::<u8>()];
        let fragment =
            prop_oneof![4 => Just(0_u16), 2 => Just(0x2000), 1 => Just(1), 2 => any::<u16>()];
        let known = prop::sample::select([1_u8, 6, 17, 132, 136].to_vec());
        let protocol = prop_oneof![8 => known, 1 => any::<u8>()];
        (vec(any::<u8>(), 20..84), first, fragment, protocol).prop_map(
            |(mut l3, first, word, protocol)| {
                l3[0] = first;
                l3[6..8].copy_from_slice(&word.to_be_bytes());
                l3[9] = protocol;
                l3
            },
        )
    }

    /// Frames with no, one, two or three tags, around ARP, IPv4 or anything.
    pub(crate) fn described() -> impl Strategy<Value = Described> {
        let tpid = prop::sample::select([0x8100_u16, 0x88a8].to_vec());
        let control = prop_oneof![2 => any::<u16>(), 1 => Just(0), 1 => Just(0xe000)];
        let l3 = prop_oneof![
            4 => (Just(0x0800_u16), ipv4_bytes()),
            2 => (Just(0x0806_u16), arp_bytes()),
            1 => (Just(0x9100_u16), ipv4_bytes()),
            1 => (0x0600_u16..0x8100, vec(any::<u8>(), 0..60)),
        ];
        (vec((tpid, control), 0..4), l3).prop_map(|(tags, (ether_type, l3))| Described {
            tags,
            ether_type,
            l3,
        })
    }

    #[test]
    fn the_parse_is_a_bit_set() {
        let both = Present::ETHERNET | Present::ICMP;
        assert!(both.contains(Present::ETHERNET) && both.contains(Present::ICMP));
        assert!(!both.contains(Present::ETHERNET | Present::ARP) && !both.contains(Present::L4));
        assert!(both.intersects(Present::L4) && !both.intersects(Present::PORTS));
        assert_eq!(both.bits(), 0b1_0001);
        assert_eq!(Fields::default(), Fields::parse(&[]));
    }

    #[test]
    fn a_double_tagged_datagram_by_hand() {
        let l3 =
            b"\x46\0\0\x20\0\0\x20\0\x40\x11\0\0\x0a\0\0\x01\x0a\0\0\x02\x01\x01\x01\0\0\x35\x10\0";
        let tags = [(0x88a8, 0x6064), (0x8100, 0x0005)].to_vec();
        let frame = Described { tags, ether_type: 0x0800, l3: l3.to_vec() }.frame();
        let expected = Fields {
            present: Present::ETHERNET
                | Present::VLAN
                | Present::IPV4
                | Present::FRAGMENT
                | Present::PORTS,
            len_bytes: 50,
            destination_mac: MacAddr([3; 6]),
            source_mac: MacAddr([2; 6]),
            vlan_count: 2,
            vlan_ids: [100, 5],
            ether_type: 0x0800,
            ip_source: Ipv4Addr::new(10, 0, 0, 1),
            ip_destination: Ipv4Addr::new(10, 0, 0, 2),
            ip_protocol: 17,
            header_len_bytes: 24,
            more_fragments: true,
            source_port: 53,
            destination_port: 4096,
            ..Fields::NONE
        };
        assert_eq!(Fields::parse(&frame), expected);
    }

    proptest! {
        // Planted and caught: an id with its priority bits; one tag only; a header length below 20;
        // options ignored; ports of later fragments; transport or ARP that is cut; ARP address
        // lengths ignored.
        #[test]
        fn the_parse_follows_the_specification_at_every_length(described in described()) {
            let frame = described.frame();
            for len in 0..=frame.len() {
                let expected = described.expected(len);
                prop_assert_eq!(Fields::parse(&frame[..len]), expected, "first {} bytes", len);
            }
        }
    }
}
