use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use proptest::collection::vec as vec_of;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// What a frame is built from, outermost first, and so what must be found.
#[derive(Clone, Debug)]
enum Part {
    Ethernet { tags: Vec<u16>, snap: bool },
    Ipv4 { option_words: u8, fragment: u16 },
    Ipv6 { extensions: Vec<(u8, u8)>, fragment: Option<u16> },
    Tcp { option_words: u8, ports: (u16, u16) },
    Udp { ports: (u16, u16) },
    Vxlan,
    Geneve { option_words: u8 },
    Gre { flags: u16 },
    IcmpError,
    Data(Vec<u8>),
}

use Part::{Data, Ethernet, Geneve, Gre, IcmpError, Ipv4, Ipv6, Tcp, Udp, Vxlan};

#[allow(clippy::too_many_lines, reason = "one arm a header")]
/// Writes the parts back to front; returns the bytes and what the part in front must call them.
fn build(parts: &[Part]) -> (Vec<u8>, u16, u8) {
    let Some((first, rest)) = parts.split_first() else { return (Vec::new(), 0x88b5, 253) };
    let (inner, kind, protocol) = build(rest);
    let len = u16::try_from(inner.len()).unwrap();
    let mut bytes = Vec::new();
    let called = match first {
        Ethernet { tags, snap } => {
            bytes.extend([2; 12]);
            for id in tags {
                bytes.extend([[0x81, 0x00], id.to_be_bytes()].concat());
            }
            if *snap {
                bytes.extend((len + 8).to_be_bytes());
                bytes.extend([0xaa, 0xaa, 3, 0, 0, 0]);
            }
            bytes.extend(kind.to_be_bytes());
            (0x6558, 143)
        }
        Ipv4 { option_words, fragment } => {
            let header_len = 20 + 4 * u16::from(*option_words);
            bytes.extend([0x45 + option_words, 0]);
            bytes.extend((header_len + len).to_be_bytes());
            bytes.extend([0, 7]);
            bytes.extend(fragment.to_be_bytes());
            bytes.extend([64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
            bytes.resize(header_len.into(), 1);
            (0x0800, 4)
        }
        Ipv6 { extensions, fragment } => {
            let mut chain = Vec::new();
            let mut next = protocol;
            for (kind, units) in extensions.iter().rev() {
                let len =
                    if *kind == 51 { (*units as usize + 2) * 4 } else { (*units as usize + 1) * 8 };
                let mut header = vec![next, *units];
                header.resize(len, 0);
                chain.splice(0..0, header);
                next = *kind;
            }
            if let Some(word) = fragment {
                let word = word.to_be_bytes();
                chain.splice(0..0, [next, 0, word[0], word[1], 0, 1, 2, 3]);
                next = 44;
            }
            bytes.extend([0x60, 0, 0, 0]);
            bytes.extend((len + u16::try_from(chain.len()).unwrap()).to_be_bytes());
            bytes.extend([next, 64]);
            bytes.extend([0x20; 32]);
            bytes.extend(chain);
            (0x86dd, 41)
        }
        Tcp { option_words, ports } => {
            bytes.extend([ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat());
            bytes.extend([
                0,
                0,
                0,
                1,
                0,
                0,
                0,
                2,
                0x50 + (option_words << 4),
                0x12,
                1,
                0,
                0,
                0,
                0,
                0,
            ]);
            bytes.resize(20 + 4 * usize::from(*option_words), 1);
            (0x88b5, 6)
        }
        Udp { ports } => {
            let port = match rest.first() {
                Some(Vxlan) => 4789,
                Some(Geneve { .. }) => 6081,
                _ => ports.1,
            };
            bytes.extend([ports.0.to_be_bytes(), port.to_be_bytes()].concat());
            bytes.extend([(8 + len).to_be_bytes(), [0, 0]].concat());
            (0x88b5, 17)
        }
        Vxlan => {
            bytes.extend([8, 0, 0, 0, 0, 0, 5, 0]);
            (0x88b5, 253)
        }
        Geneve { option_words } => {
            bytes.extend([*option_words, 0]);
            bytes.extend(kind.to_be_bytes());
            bytes.extend([0, 0, 5, 0]);
            bytes.resize(8 + 4 * usize::from(*option_words), 0);
            (0x88b5, 253)
        }
        Gre { flags } => {
            bytes.extend([flags.to_be_bytes(), kind.to_be_bytes()].concat());
            bytes.resize(4 + 4 * flags.count_ones() as usize, 0);
            (0x88b5, 47)
        }
        IcmpError => {
            bytes.extend([if kind == 0x0800 { 3 } else { 1 }, 1, 0, 0, 0, 0, 0, 0]);
            (0x88b5, if kind == 0x0800 { 1 } else { 58 })
        }
        Data(data) => {
            bytes.extend(data);
            (0x88b5, 253)
        }
    };
    bytes.extend(inner);
    (bytes, called.0, called.1)
}

/// The levels that a list of parts makes, in words.
fn expected(parts: &[Part]) -> Vec<String> {
    let (mut levels, mut words) = (Vec::new(), String::new());
    let mut next = |words: &mut String, part: &Part| {
        let begins = matches!(part, Ethernet { .. } | Ipv4 { .. } | Ipv6 { .. });
        let within = words.is_empty() || (words.starts_with("eth") && !words.contains("ip"));
        let second_link = matches!(part, Ethernet { .. }) && !words.is_empty();
        if begins && (!within || second_link) {
            levels.push(core::mem::take(words));
        }
        let fragment = |word: u16, more: u16| {
            if word == 0 {
                String::new()
            } else {
                std::format!(" frag{}", u8::from(word & more != 0))
            }
        };
        *words += &match part {
            Ethernet { tags, .. } => {
                std::format!("eth{:?}", tags.iter().map(|tag| tag & 0xfff).collect::<Vec<_>>())
            }
            Ipv4 { fragment: word, .. } => std::format!(" ip4{}", fragment(*word, 0x2000)),
            Ipv6 { fragment: word, .. } => {
                std::format!(" ip6{}", fragment(word.unwrap_or(0) & 0xfff9, 1))
            }
            Tcp { ports, .. } => std::format!(" tcp{ports:?}"),
            Udp { ports } => std::format!(" udp{}", ports.0),
            Vxlan | Geneve { .. } => String::new(),
            Gre { .. } => " gre".to_string(),
            IcmpError => " icmp".to_string(),
            Data(data) => std::format!(" data{}", data.len()),
        };
    };
    for part in parts {
        next(&mut words, part);
    }
    levels.push(words);
    levels
}

/// What was found, in the words of [`expected`].
fn found(level: &Dissection<'_>) -> String {
    let mut words = String::new();
    if level.link() == Link::Ethernet {
        words += &std::format!("eth{:?}", level.vlans().map(|tag| tag.id()).collect::<Vec<_>>());
    }
    words += match level.network() {
        Network::Ipv4 => " ip4",
        Network::Ipv6 => " ip6",
        Network::Arp => " arp",
        Network::None => "",
    };
    if let Some(fragment) = level.fragment() {
        words += &std::format!(" frag{}", u8::from(fragment.more));
    }
    words += &match level.transport() {
        Transport::Tcp => std::format!(" tcp{:?}", level.ports().unwrap()),
        Transport::Udp => std::format!(" udp{}", level.ports().unwrap().0),
        Transport::Gre => " gre".to_string(),
        Transport::Icmpv4 | Transport::Icmpv6 => " icmp".to_string(),
        _ => String::new(),
    };
    if level.stop() != Stop::Inner {
        words += &std::format!(" data{}", level.payload().len());
    }
    words
}

fn networks() -> impl Strategy<Value = Part> {
    let extension = (select(vec![0_u8, 43, 60, 51, 135]), 0_u8..4).prop_map(|(kind, units)| {
        // AH is a multiple of 8 bytes in IPv6 only when its count is even.
        if kind == 51 { (kind, units * 2) } else { (kind, units) }
    });
    prop_oneof![
        (0_u8..=10, prop_oneof![6 => Just(0_u16), 1 => Just(0x2000)])
            .prop_map(|(option_words, fragment)| Ipv4 { option_words, fragment }),
        (vec_of(extension, 0..5), prop::option::weighted(0.2, select(vec![0_u16, 1])))
            .prop_map(|(extensions, fragment)| Ipv6 { extensions, fragment }),
    ]
}

fn ethernets() -> impl Strategy<Value = Part> {
    (vec_of(any::<u16>(), 0..4), prop::bool::weighted(0.1))
        .prop_map(|(tags, snap)| Ethernet { tags, snap })
}

/// What leads from a network header to the next level, ending in what may carry a link header or not.
fn tunnels() -> impl Strategy<Value = (Vec<Part>, bool)> {
    let udp = (1024_u16..).prop_map(|port| Udp { ports: (port, 0) });
    let flags = select(vec![0_u16, 0x8000, 0x2000, 0x3000, 0xb000]);
    prop_oneof![
        Just((vec![], false)),
        (flags, any::<bool>()).prop_map(|(flags, link)| (vec![Gre { flags }], link)),
        udp.clone().prop_map(|udp| (vec![udp, Vxlan], true)),
        (udp, 0_u8..8, any::<bool>())
            .prop_map(|(udp, option_words, link)| (vec![udp, Geneve { option_words }], link)),
    ]
}

/// Frames of whole, right layers.
fn frames() -> impl Strategy<Value = Vec<Part>> {
    let level =
        (tunnels(), ethernets(), networks()).prop_map(|((mut parts, link), ethernet, network)| {
            if link {
                parts.push(ethernet);
            }
            parts.push(network);
            parts
        });
    let ports = || (1024_u16.., (1_u16..4000));
    let last = prop_oneof![
        (0_u8..=10, ports()).prop_map(|(option_words, ports)| vec![Tcp { option_words, ports }]),
        ports().prop_map(|ports| vec![Udp { ports }]),
        (ethernets(), networks()).prop_map(|(_, network)| vec![IcmpError, network]),
    ];
    let data = vec_of(any::<u8>(), 0..30).prop_map(Data);
    (ethernets(), networks(), vec_of(level, 0..4), last, data).prop_map(
        |(ethernet, network, levels, last, data)| {
            let mut parts = vec![ethernet, network];
            parts.extend(levels.into_iter().flatten());
            parts.extend(last);
            parts.push(data);
            parts
        },
    )
}

/// What holds for every level of every frame.
fn check_bounds(frame: &[u8], outermost: &Dissection<'_>) {
    let mut before = 0;
    for level in outermost.levels() {
        let offsets = [
            before,
            level.link_offset_bytes(),
            level.network_offset_bytes(),
            level.transport_offset_bytes().max(level.network_offset_bytes()),
            level.payload_offset_bytes(),
            level.end_offset_bytes(),
            frame.len(),
        ];
        assert!(offsets.is_sorted(), "{offsets:?} of {level:?}");
        assert!(level.depth() <= MAX_DEPTH && level.vlans().len() <= MAX_TAGS.into());
        if let Some(Error::Short { offset_bytes, needed_bytes, available_bytes, .. }) =
            level.error()
        {
            assert!(needed_bytes > available_bytes);
            assert_eq!(offset_bytes + available_bytes, level.end_offset_bytes());
        }
        assert_eq!(level.inner().is_some(), level.stop() == Stop::Inner);
        before = level.payload_offset_bytes();
    }
    assert!(!outermost.to_string().is_empty());
}

/// The long way alone.
fn long_way(link_type: LinkType, frame: &[u8]) -> Dissection<'_> {
    let mut level = Dissection::empty(frame, (0, frame.len()), 0);
    dissect_any(link_type, &mut level);
    level
}

const LINK_TYPES: [LinkType; 9] = [
    LinkType::Ethernet,
    LinkType::RawIp,
    LinkType::Ipv4,
    LinkType::Ipv6,
    LinkType::Sll,
    LinkType::Sll2,
    LinkType::Null,
    LinkType::Loop,
    LinkType::Other(9),
];

#[test]
fn link_headers_of_captures() {
    let packet = build(&[Ipv4 { option_words: 0, fragment: 0 }, Udp { ports: (9, 10) }]).0;
    let packet6 = build(&[Ipv6 { extensions: vec![], fragment: None }, Udp { ports: (9, 10) }]).0;
    let sll = [&[0; 14], &[8, 0][..], &packet].concat();
    let sll2 = [&[8, 0][..], &[0; 18], &packet].concat();
    let little = [&[2, 0, 0, 0][..], &packet].concat();
    let big = [&[0, 0, 0, 30][..], &packet6].concat();
    for (number, link, frame) in [
        (101, Link::None, &packet),
        (101, Link::None, &packet6),
        (228, Link::None, &packet),
        (229, Link::None, &packet6),
        (113, Link::Sll, &sll),
        (276, Link::Sll2, &sll2),
        (0, Link::Loopback, &little),
        (0, Link::Loopback, &big),
        (108, Link::Loopback, &big),
    ] {
        let level = dissect(LinkType::from_linktype(number), frame);
        assert_eq!((level.link(), level.ports()), (link, Some((9, 10))), "{number}: {level}");
    }
    assert_eq!(dissect(LinkType::Loop, &little).stop(), Stop::LinkType(0x0200_0000));
    assert_eq!(
        dissect(LinkType::Ipv4, &packet6).error().unwrap().to_string(),
        "ipv4 header at byte 0: bad version"
    );
    let tagged = [&[0; 14], &[0x81, 0, 0x60, 5, 8, 0][..], &packet].concat();
    let level = dissect(LinkType::Sll, &tagged);
    assert_eq!((level.vlans().next().unwrap().id(), level.ports()), (5, Some((9, 10))));
    assert_eq!(level.flow_key().unwrap().vlan_id(), Some(5));
    let netlink = [&[0, 0, 3, 56][..], &[0; 10], &[8, 0], &packet].concat();
    assert_eq!(dissect(LinkType::Sll, &netlink).stop(), Stop::LinkType(824));
    assert_eq!(dissect(LinkType::Other(147), &packet).stop(), Stop::LinkType(147));
}

// Planted and caught: the length of 802.3 forgotten behind SNAP.
#[test]
fn what_802_3_announces_counts_behind_snap() {
    // It says 200 bytes, the packet in it 20.
    let snap = [&[2; 12][..], &[0, 200, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &[0x45, 0, 0, 20]].concat();
    let level_is_cut = |frame: &[u8]| dissect(LinkType::Ethernet, frame).is_cut();
    assert!(level_is_cut(&[&snap[..], &[0; 26]].concat()));
    assert!(!level_is_cut(&[&snap[..], &[0; 188]].concat()));
}

// Planted and caught: every first fragment of UDP taken for cut.
#[test]
fn a_first_fragment_is_not_cut() {
    // The first 8 bytes of a datagram of 100: the rest is in other fragments.
    let mut packet = [0; 36];
    packet[..10].copy_from_slice(&[0x45, 0, 0, 36, 0, 1, 0x20, 0, 64, 17]);
    packet[20..26].copy_from_slice(&[0, 1, 0, 2, 0, 100]);
    let level = dissect(LinkType::RawIp, &packet);
    assert_eq!((level.ports(), level.is_cut(), level.payload().len()), (Some((1, 2)), false, 8));
    assert!(level.fragment().is_some() && !level.to_string().contains("[cut]"));
    assert!(dissect(LinkType::RawIp, &packet[..30]).is_cut());
    packet[6] = 0;
    assert!(dissect(LinkType::RawIp, &packet).is_cut());
}

// Planted and caught: OUI 0x0000f8 left opaque.
#[test]
fn dissect_and_llc_know_the_same_organisations() {
    for (oui, network) in [(0, Network::Ipv4), (0xf8, Network::Ipv4), (1, Network::None)] {
        let llc = [0xaa, 0xaa, 3, 0, 0, oui, 8, 0];
        let frame = [&[2; 12][..], &[0, 28], &llc, &[0x45, 0, 0, 20], &[0; 16]].concat();
        assert_eq!(dissect(LinkType::Ethernet, &frame).network(), network);
        let snap = crate::Llc::new_checked(&frame[14..]).unwrap().snap().unwrap();
        assert_eq!(snap.ether_type().is_some(), network == Network::Ipv4);
    }
}

// Planted and caught: frame relay taken for IP.
#[test]
fn the_type_in_a_cooked_capture_counts_by_hardware() {
    for (hardware, network) in [(1, Network::Ipv4), (770, Network::None), (824, Network::None)] {
        let [a, b] = u16::to_be_bytes(hardware);
        let v1 = [&[0, 0, a, b][..], &[0; 10], &[8, 0]].concat();
        let v2 = [&[8, 0][..], &[0; 6], &[a, b], &[0; 10]].concat();
        for (link_type, header) in [(LinkType::Sll, v1), (LinkType::Sll2, v2)] {
            let frame = [&header[..], &[0x45, 0, 0, 20], &[0; 16]].concat();
            assert_eq!(dissect(link_type, &frame).network(), network, "{hardware}");
        }
    }
}

#[test]
fn lengths_cut_and_errors_say_where() {
    let parts = [
        Ethernet { tags: vec![5], snap: false },
        Ipv4 { option_words: 1, fragment: 0 },
        Tcp { option_words: 1, ports: (7, 8) },
        Data(vec![9; 10]),
    ];
    let frame = build(&parts).0;
    let padded = [frame.clone(), vec![0; 7]].concat();
    assert_eq!(dissect(LinkType::Ethernet, &padded).payload(), [9; 10]);
    let text = |len: usize| dissect(LinkType::Ethernet, &frame[..len]).to_string();
    assert_eq!(text(13), "[ethernet] ethernet header at byte 0: 14 bytes needed, 13 available");
    assert_eq!(text(17), "[ethernet] vlan header at byte 14: 4 bytes needed, 3 available");
    assert_eq!(
        text(37),
        "vlan 5, [ethernet] ipv4 header at byte 18: 20 bytes needed, 19 available"
    );
    assert_eq!(
        text(41),
        "vlan 5, IP 10.0.0.1 > 10.0.0.2: tcp, length 3 ipv4 header at byte 18: 24 bytes needed, 23 available"
    );
    assert_eq!(
        text(46),
        "vlan 5, IP 10.0.0.1.7 > 10.0.0.2.8: TCP tcp header at byte 42: 20 bytes needed, 4 available"
    );
    assert_eq!(
        text(70),
        "vlan 5, IP 10.0.0.1.7 > 10.0.0.2.8: Flags [S.], seq 1, ack 2, win 256, length 4 [cut]"
    );
    let mut bad = frame.clone();
    bad[54] = 0x40;
    assert!(
        dissect(LinkType::Ethernet, &bad)
            .to_string()
            .ends_with("tcp header at byte 54: bad data offset")
    );
    bad[20..22].copy_from_slice(&[0, 23]);
    assert!(
        dissect(LinkType::Ethernet, &bad)
            .to_string()
            .ends_with("ipv4 header at byte 20: bad total length")
    );
    // Segmentation in hardware leaves the length to the device.
    let mut big = frame.clone();
    big[20..22].fill(0);
    assert_eq!(dissect(LinkType::Ethernet, &big).payload(), [9; 10]);
}

#[test]
fn a_jumbogram_has_the_length_of_its_option() {
    let jumbo = |len: u32, there: usize| {
        let mut packet =
            build(&[Ipv6 { extensions: vec![(0, 0)], fragment: None }, Udp { ports: (1, 2) }]).0;
        packet[4..6].fill(0);
        packet[42..44].copy_from_slice(&[0xc2, 4]);
        packet[44..48].copy_from_slice(&len.to_be_bytes());
        // The length of its UDP datagram is 0 too.
        packet[52..54].fill(0);
        packet.resize(40 + there, 7);
        packet
    };
    let whole = jumbo(70_000, 70_020);
    let level = dissect(LinkType::RawIp, &whole);
    assert_eq!((level.ports(), level.is_cut()), (Some((1, 2)), false));
    assert_eq!((level.payload().len(), level.end_offset_bytes()), (70_000 - 16, 70_040));
    let cut = jumbo(70_000, 100);
    let level = dissect(LinkType::RawIp, &cut);
    assert_eq!((level.ports(), level.is_cut(), level.payload().len()), (Some((1, 2)), true, 84));
}

#[test]
fn a_header_shorter_than_one_is_refused_though_the_rest_would_fit() {
    let mut frame = build(&[
        Ethernet { tags: vec![], snap: false },
        Ipv4 { option_words: 0, fragment: 0 },
        Data(vec![0; 20]),
    ])
    .0;
    // With four words the destination would be ports, and a UDP length of 8 would follow.
    frame[14] = 0x44;
    frame[23] = 17;
    frame[34..36].copy_from_slice(&[0, 8]);
    let level = dissect(LinkType::Ethernet, &frame);
    assert!(matches!(level.error(), Some(Error::Field { field: "header length", .. })), "{level}");
}

#[test]
fn limits_stop_it() {
    let tags = |count| build(&[Ethernet { tags: vec![1; count], snap: false }]).0;
    let max = usize::from(MAX_TAGS);
    assert_eq!(dissect(LinkType::Ethernet, &tags(max)).stop(), Stop::EtherType(0x88b5));
    let over = tags(max + 1);
    let over = dissect(LinkType::Ethernet, &over);
    assert!(matches!(over.error(), Some(Error::Field { field: "number of tags", .. })));

    let extensions = |count| {
        let extensions = vec![(60, 0); count];
        build(&[Ipv6 { extensions, fragment: None }, Udp { ports: (1, 2) }]).0
    };
    let max = usize::from(MAX_EXTENSIONS);
    assert_eq!(dissect(LinkType::RawIp, &extensions(max)).ports(), Some((1, 2)));
    let over = extensions(max + 1);
    let over = dissect(LinkType::RawIp, &over);
    assert!(matches!(
        over.error(),
        Some(Error::Field { field: "number of extension headers", .. })
    ));

    let nested = |count| build(&vec![Ipv4 { option_words: 0, fragment: 0 }; count]).0;
    let max = usize::from(MAX_DEPTH) + 1;
    for (count, stop) in [(max, Stop::Protocol(253)), (max + 1, Stop::Depth)] {
        let packet = nested(count);
        let last = dissect(LinkType::RawIp, &packet).levels().last().unwrap();
        assert_eq!((last.depth(), last.stop()), (MAX_DEPTH, stop));
    }
}

#[test]
fn a_later_fragment_has_no_ports() {
    for parts in [
        [Ipv4 { option_words: 0, fragment: 1 }, Udp { ports: (1, 2) }],
        [Ipv6 { extensions: vec![], fragment: Some(8) }, Udp { ports: (1, 2) }],
    ] {
        let packet = build(&parts).0;
        let level = dissect(LinkType::RawIp, &packet);
        assert_eq!(
            (level.ports(), level.stop(), level.protocol()),
            (None, Stop::Fragment, Some(17))
        );
        assert_eq!(level.fragment().unwrap().offset_bytes, 8);
        assert_eq!(level.flow_key().unwrap().source_port(), 0);
    }
}

#[test]
fn a_flow_key_tells_what_it_was_made_of() {
    let (a, b) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
    let key = FlowKey::new((a, 1), (b, 2), 17, Some(5)).unwrap();
    let parts = [
        Ethernet { tags: vec![5, 6], snap: false },
        Ipv4 { option_words: 0, fragment: 0 },
        Udp { ports: (1, 2) },
    ];
    let frame = build(&parts).0;
    assert_eq!(flow_key(LinkType::Ethernet, &frame), Some(key));
    assert_eq!((key.source(), key.destination()), (a, b));
    assert_eq!((key.source_port(), key.destination_port()), (1, 2));
    assert_eq!((key.protocol(), key.vlan_id()), (17, Some(5)));
    assert_eq!(FlowKey::new((b, 2), (a, 1), 17, Some(5)), Some(key.reversed()));
    assert_eq!(FlowKey::new((a, 0), ("::1".parse().unwrap(), 0), 17, None), None);
    let six = FlowKey::new(("::1".parse().unwrap(), 0), ("::2".parse().unwrap(), 0), 6, None);
    assert_eq!(six.unwrap().source().to_string(), "::1");
    assert_eq!(six.unwrap().vlan_id(), None);
    assert_eq!(size_of::<FlowKey>(), 40);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    // Planted and caught: the tag's own bytes taken for its type; options of IPv4, TCP or GENEVE not
    // skipped; GRE's flags counted wrong; AH's length in eights; the fragment header's length read; an
    // inner level that begins at the transport header.
    #[test]
    fn right_frames_are_found_layer_by_layer(parts in frames(), padding in 0_usize..9) {
        let mut frame = build(&parts).0;
        frame.resize(frame.len() + padding, 0xee);
        let outermost = dissect(LinkType::Ethernet, &frame);
        prop_assert_eq!(outermost, long_way(LinkType::Ethernet, &frame));
        let levels: Vec<_> = outermost.levels().map(|level| found(&level)).collect();
        prop_assert_eq!(levels, expected(&parts));
        check_bounds(&frame, &outermost);
        prop_assert_eq!(flow_key(LinkType::Ethernet, &frame), outermost.flow_key());
    }

    // Planted and caught: the short way without its check for fragments, header length, total length,
    // payload length; a VLAN id with its priority.
    #[test]
    fn the_short_way_to_a_flow_key_agrees(
        tags in vec_of(any::<u16>(), 0..3), network in prop_oneof![
            (0_u8..2).prop_map(|option_words| Ipv4 { option_words, fragment: 0 }),
            Just(Ipv6 { extensions: vec![], fragment: None }),
        ], protocol in select(vec![1_u8, 6, 17, 132]),
        at in select(vec![0_usize, 2, 4, 6]), value in prop_oneof![0_u16..5, 18_u16..30, select(vec![0x2000, 0x4500, 0x6000])],
        cut in 14_usize..90,
    ) {
        let tags_len = 4 * tags.len();
        let mut frame = build(&[Ethernet { tags, snap: false }, network, Data(vec![3; 40])]).0;
        let l3 = 14 + tags_len;
        let next = if frame[l3] >> 4 == 4 { 9 } else { 6 };
        frame[l3 + next] = protocol;
        frame[l3 + at..l3 + at + 2].copy_from_slice(&value.to_be_bytes());
        frame.truncate(cut);
        let long_way = long_way(LinkType::Ethernet, &frame);
        prop_assert_eq!(flow_key(LinkType::Ethernet, &frame), long_way.flow_key());
        prop_assert_eq!(dissect(LinkType::Ethernet, &frame), long_way);
    }

    // Planted and caught: the short way of a dissection without its check for fragments, the version,
    // header lengths, the total length, ports of tunnels; an end that a UDP length does not move.
    #[test]
    fn the_short_way_of_a_dissection_agrees(
        tags in vec_of(any::<u16>(), 0..3), network in prop_oneof![
            (0_u8..2).prop_map(|option_words| Ipv4 { option_words, fragment: 0 }),
            Just(Ipv6 { extensions: vec![], fragment: None }),
        ],
        transport in prop_oneof![
            (0_u8..2).prop_map(|option_words| Tcp { option_words, ports: (1, 2) }),
            select(vec![2_u16, 4789, 8472, 6081]).prop_map(|port| Udp { ports: (1, port) }),
        ],
        data in vec_of(any::<u8>(), 0..20), padding in 0_usize..4,
        changes in vec_of(
            (0_usize..60, select(vec![0_u8, 1, 4, 8, 19, 20, 21, 24, 0x20, 0x40, 0x44, 0x45, 0x46, 0x50, 0x60, 0xff])),
            0..8,
        ),
    ) {
        let l3 = 14 + 4 * tags.len();
        let mut frame = build(&[Ethernet { tags, snap: false }, network, transport, Data(data)]).0;
        frame.resize(frame.len() + padding, 0);
        // The first change alone, then with the second, and so on.
        for (at, value) in changes {
            prop_assert_eq!(dissect(LinkType::Ethernet, &frame), long_way(LinkType::Ethernet, &frame));
            if let Some(byte) = frame.get_mut(l3 + at) {
                *byte = value;
            }
        }
        prop_assert_eq!(dissect(LinkType::Ethernet, &frame), long_way(LinkType::Ethernet, &frame));
    }

    // Planted and caught: an end that a length moves behind the frame; the short way to a flow key
    // without its check for the header length.
    #[test]
    fn damaged_frames_keep_the_bounds_and_the_flow(
        parts in frames(), link_type in select(LINK_TYPES.to_vec()), cut in any::<prop::sample::Index>(),
        changes in vec_of((any::<prop::sample::Index>(), any::<u8>()), 0..6), near in any::<bool>(),
    ) {
        let mut frame = build(&parts).0;
        for (at, value) in changes {
            let at = at.index(if near { frame.len().min(60) } else { frame.len() });
            frame[at] = value;
        }
        frame.truncate(cut.index(frame.len() * 2).min(frame.len()));
        let outermost = dissect(link_type, &frame);
        prop_assert_eq!(outermost, long_way(link_type, &frame));
        check_bounds(&frame, &outermost);
        prop_assert_eq!(flow_key(link_type, &frame), outermost.flow_key());
    }

    // Planted and caught: as above.
    #[test]
    fn random_bytes_keep_the_bounds(
        bytes in vec_of(any::<u8>(), 0..120), link_type in select(LINK_TYPES.to_vec()),
    ) {
        let outermost = dissect(link_type, &bytes);
        check_bounds(&bytes, &outermost);
        prop_assert_eq!(flow_key(link_type, &bytes), outermost.flow_key());
    }
}
