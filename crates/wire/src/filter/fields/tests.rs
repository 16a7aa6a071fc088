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
    /// How `l3` was made, if it is an IPv6 packet.
    packet: Option<Packet>,
}

impl Described {
    pub(crate) fn new(tags: &[(u16, u16)], ether_type: u16, l3: &[u8]) -> Self {
        Self { tags: tags.to_vec(), ether_type, l3: l3.to_vec(), packet: None }
    }

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
        let types: Vec<u16> = self.tags.iter().map(|tag| tag.0).chain([self.ether_type]).collect();
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
                0x86dd => {
                    if let Some(packet) = &self.packet {
                        packet.expect(&mut fields, l3);
                    }
                }
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
        other => expect_ports(fields, other, &l3[at..]),
    }
}

fn expect_ports(fields: &mut Fields, protocol: u8, l4: &[u8]) {
    if matches!(protocol, 6 | 17 | 132 | 136) && l4.len() >= 4 {
        fields.present |= Present::PORTS;
        fields.source_port = number(&l4[..2]);
        fields.destination_port = number(&l4[2..4]);
    }
    if protocol == 6 && l4.len() >= 14 {
        fields.present |= Present::TCP_FLAGS;
        fields.tcp_flags = l4[13];
    }
}

/// An extension header but for its next header.
#[derive(Clone, Debug)]
struct Extension {
    kind: u8,
    /// From byte 1 on.
    rest: Vec<u8>,
}

impl Extension {
    /// The fragment word, if it is a fragment header.
    fn word(&self) -> Option<u16> {
        (self.kind == 44).then(|| number(&self.rest[1..3]))
    }
}

/// An IPv6 packet described header by header.
#[derive(Clone, Debug)]
struct Packet {
    first: u8,
    source: [u8; 16],
    destination: [u8; 16],
    extensions: Vec<Extension>,
    /// No extension header that is walked over.
    protocol: u8,
    l4: Vec<u8>,
}

impl Packet {
    /// What header `index` says of the next one; the IPv6 header is 0.
    fn next(&self, index: usize) -> u8 {
        self.extensions.get(index).map_or(self.protocol, |extension| extension.kind)
    }

    fn l3(&self) -> Vec<u8> {
        let mut l3 = [self.first, 1, 2, 3, 0, 0, self.next(0), 64].to_vec();
        l3.extend([self.source, self.destination].concat());
        for (index, extension) in self.extensions.iter().enumerate() {
            l3.push(self.next(index + 1));
            l3.extend(&extension.rest);
        }
        [l3, self.l4.clone()].concat()
    }

    fn expect(&self, fields: &mut Fields, l3: &[u8]) {
        if l3.len() < 40 || !(0x60..0x70).contains(&self.first) {
            return;
        }
        fields.present |= Present::IPV6;
        (fields.ip6_source, fields.ip6_destination) = (self.source.into(), self.destination.into());
        let lens = self.extensions.iter().map(|extension| 1 + extension.rest.len());
        let ends: Vec<usize> = [40]
            .into_iter()
            .chain(lens.scan(40, |end, len| {
                *end += len;
                Some(*end)
            }))
            .collect();
        // Of each, the first eight bytes are asked for.
        let whole = (0..self.extensions.len().min(6)).take_while(|i| l3.len() >= ends[*i] + 8);
        let whole = &self.extensions[..whole.count()];
        let words: Vec<_> = whole.iter().map(|extension| extension.word().unwrap_or(0)).collect();
        let later = words.iter().position(|word| *word >= 8);
        let walked = later.map_or(whole.len(), |later| later + 1);
        if whole[..walked].iter().any(|extension| extension.kind == 44) {
            fields.present |= Present::FRAGMENT;
            fields.more_fragments = words[..walked].iter().any(|word| word % 2 == 1);
        }
        if let Some(later) = later {
            fields.fragment_offset_bytes = words[later] / 8 * 8;
        } else if walked < self.extensions.len() {
            return;
        }
        fields.present |= Present::FRAGMENT | Present::IP6_PROTOCOL;
        fields.ip6_protocol = self.next(walked);
        if later.is_none() {
            self.expect_l4(fields, l3.get(ends[walked]..).unwrap_or(&[]));
        }
    }

    fn expect_l4(&self, fields: &mut Fields, l4: &[u8]) {
        expect_ports(fields, self.protocol, l4);
        if self.protocol == 58 && l4.len() >= 4 {
            fields.present |= Present::ICMP6;
            (fields.icmp6_type, fields.icmp6_code) = (l4[0], l4[1]);
            if l4.len() >= 24 && (l4[0] == 135 || l4[0] == 136) {
                fields.present |= Present::ND_TARGET;
                fields.nd_target = <[u8; 16]>::try_from(&l4[8..24]).unwrap().into();
            }
        }
    }
}

fn extension() -> impl Strategy<Value = Extension> {
    let kind = prop::sample::select([0_u8, 43, 44, 51, 60].to_vec());
    let word = prop_oneof![2 => Just(0_u16), 2 => Just(1), 1 => 0_u16..16, 1 => any::<u16>()];
    // The length says nothing of a fragment header.
    (kind, 0_u8..4, word, any::<u8>()).prop_map(|(kind, len, word, fill)| {
        let unit = if kind == 51 { 4 } else { 8 };
        let len_bytes = if kind == 44 { 8 } else { 8 + unit * usize::from(len) };
        let mut rest = [fill].repeat(len_bytes - 1);
        rest[0] = len;
        if kind == 44 {
            rest[1..3].copy_from_slice(&word.to_be_bytes());
        }
        Extension { kind, rest }
    })
}

fn packet() -> impl Strategy<Value = Packet> {
    let first = prop_oneof![12 => 0x60_u8..0x70, 1 => any::<u8>()];
    let known = prop::sample::select([6_u8, 17, 58, 132, 136, 1, 50, 59].to_vec());
    let other = any::<u8>().prop_filter("walked over", |next| ![0, 43, 44, 51, 60].contains(next));
    let protocol = prop_oneof![6 => Just(58), 12 => known, 1 => other];
    let extensions = prop_oneof![2 => vec(extension(), 0..3), 1 => vec(extension(), 0..9)];
    let l4 = (prop_oneof![Just(135_u8), Just(136), any::<u8>()], vec(any::<u8>(), 3..32));
    (first, any::<[u8; 16]>(), any::<[u8; 16]>(), extensions, protocol, l4).prop_map(
        |(first, source, destination, extensions, protocol, (icmp_type, more))| Packet {
            first,
            source,
            destination,
            extensions,
            protocol,
            l4: [[icmp_type].to_vec(), more].concat(),
        },
    )
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

/// Frames with no, one, two or three tags, around ARP, IPv4, IPv6 or anything.
pub(crate) fn described() -> impl Strategy<Value = Described> {
    let tpid = prop::sample::select([0x8100_u16, 0x88a8].to_vec());
    let control = prop_oneof![2 => any::<u16>(), 1 => Just(0), 1 => Just(0xe000)];
    let l3 = prop_oneof![
        4 => (Just(0x0800_u16), ipv4_bytes()),
        2 => (Just(0x0806_u16), arp_bytes()),
        1 => (Just(0x9100_u16), ipv4_bytes()),
        1 => (0x0600_u16..0x8100, vec(any::<u8>(), 0..60)),
    ];
    let without = l3.prop_map(|(ether_type, l3)| Described::new(&[], ether_type, &l3));
    let of_ipv6 = packet().prop_map(|packet| Described {
        packet: Some(packet.clone()),
        ..Described::new(&[], 0x86dd, &packet.l3())
    });
    (vec((tpid, control), 0..4), prop_oneof![without, of_ipv6])
        .prop_map(|(tags, described)| Described { tags, ..described })
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
    let tags = [(0x88a8, 0x6064), (0x8100, 0x0005)];
    let frame = Described::new(&tags, 0x0800, l3).frame();
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

#[test]
fn an_advertisement_behind_the_longest_options_by_hand() {
    let options = [[58, 255].to_vec(), [1; 2046].to_vec()].concat();
    let target = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
    let l3 = [
        b"\x60\0\0\0\x08\x20\x2c\xff".to_vec(),
        Ipv6Addr::LOCALHOST.octets().to_vec(),
        Ipv6Addr::UNSPECIFIED.octets().to_vec(),
        // A fragment header that says that there is nothing but this fragment.
        b"\x3c\xff\0\0\0\0\0\x01".to_vec(),
        options,
        b"\x88\x07\0\0\0\0\0\0".to_vec(),
        target.octets().to_vec(),
    ];
    let mut frame = Described::new(&[], 0x86dd, &l3.concat()).frame();
    let expected = Fields {
        present: Present::ETHERNET
            | Present::IPV6
            | Present::FRAGMENT
            | Present::IP6_PROTOCOL
            | Present::ICMP6
            | Present::ND_TARGET,
        len_bytes: 14 + 40 + 8 + 2048 + 24,
        destination_mac: MacAddr([3; 6]),
        source_mac: MacAddr([2; 6]),
        ether_type: 0x86dd,
        ip6_source: Ipv6Addr::LOCALHOST,
        ip6_protocol: 58,
        icmp6_type: 136,
        icmp6_code: 7,
        nd_target: target,
        ..Fields::NONE
    };
    assert_eq!(Fields::parse(&frame), expected);
    // A later fragment of a packet whose first one goes on with destination options.
    frame[14 + 42..14 + 44].copy_from_slice(&[0xff, 0xf9]);
    let fields = Fields::parse(&frame);
    assert_eq!((fields.ip6_protocol, fields.fragment_offset_bytes), (60, 65528));
    assert!(fields.more_fragments && !fields.present.intersects(Present::L4));
}

proptest! {
    // Planted and caught: an id with its priority bits; one tag only; a header length below 20;
    // options ignored; ports of later fragments; transport or ARP that is cut; ARP address
    // lengths ignored. Of IPv6: version ignored; each kind of extension header not walked over, its
    // length in the other unit, that of a fragment header believed; five headers or seven; the last
    // fragment header alone; a later fragment without protocol, or with ports; ports of a TCP header
    // cut at 13 bytes with flags; a target of other messages.
    #[test]
    fn the_parse_follows_the_specification_at_every_length(described in described()) {
        let frame = described.frame();
        for len in 0..=frame.len() {
            let expected = described.expected(len);
            prop_assert_eq!(Fields::parse(&frame[..len]), expected, "first {} bytes", len);
        }
    }
}
