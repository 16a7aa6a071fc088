use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::options::*;
use super::*;
use crate::Icmpv6;

const A: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const B: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x1234, 0x5678);
const GLOBAL: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ANY: Ipv6Addr = Ipv6Addr::UNSPECIFIED;

fn message(repr: NdpRepr, option: Option<NdpOption<'_>>, ends: (Ipv6Addr, Ipv6Addr)) -> Vec<u8> {
    let mut message = [0xa5; 40][..repr.header_len_bytes()].to_vec();
    if let Some(option) = option {
        message.resize(message.len() + option.len_bytes(), 0xa5);
        option.emit(&mut message[repr.header_len_bytes()..]).unwrap();
    }
    repr.emit(&mut message, ends.0, ends.1).unwrap();
    message
}

#[test]
fn an_advertisement_by_hand() {
    let repr = NdpRepr::NeighborAdvertisement {
        router: true,
        solicited: false,
        override_cached: true,
        target: A,
    };
    let message = message(repr, Some(NdpOption::TargetLinkLayer(&[2, 0, 0, 0, 0, 1])), (A, B));
    assert_eq!(message[..2], [136, 0]);
    assert_eq!(message[4..8], [0xa0, 0, 0, 0]);
    assert_eq!(message[8..24], A.octets());
    assert_eq!(message[24..], [2, 1, 2, 0, 0, 0, 0, 1]);
    assert_eq!(validate(&message, A, B, 255), Ok(()));
    assert_eq!(NdpRepr::parse(&message, A, B), Ok(repr));
    assert!(NeighborAdvertisement::new_checked(&message[..23]).is_err());
    assert!(NeighborSolicitation::new_checked(&message).is_err());
    assert!(NdpRepr::parse(&message, A, A).is_err());
    assert!(repr.emit(&mut [0; 23], A, B).is_err());
}

#[test]
fn the_solicited_node_group() {
    assert_eq!(solicited_node(B), "ff02::1:ff34:5678".parse::<Ipv6Addr>().unwrap());
    assert_eq!(solicited_node(solicited_node(B)), solicited_node(B));
}

#[test]
fn each_rule_is_named() {
    let solicitation = NdpRepr::NeighborSolicitation { target: A };
    let link_layer = Some(NdpOption::SourceLinkLayer(&[2; 6]));
    let advertisement = |solicited, target| NdpRepr::NeighborAdvertisement {
        router: false,
        solicited,
        override_cached: false,
        target,
    };
    let router = NdpRepr::RouterAdvertisement(RouterAdvertisementRepr::default());
    let redirect = |target, destination| NdpRepr::Redirect { target, destination };
    let cases = [
        (solicitation, link_layer, (B, A), Ok(())),
        (solicitation, None, (ANY, solicited_node(A)), Ok(())),
        (solicitation, None, (ANY, A), Err(Rule::DestinationSolicitedNode)),
        (solicitation, link_layer, (ANY, solicited_node(A)), Err(Rule::SourceLinkLayer)),
        (
            NdpRepr::NeighborSolicitation { target: ALL_NODES },
            None,
            (A, B),
            Err(Rule::TargetMulticast),
        ),
        (advertisement(true, A), None, (A, B), Ok(())),
        (advertisement(false, A), None, (A, ALL_NODES), Ok(())),
        (advertisement(true, A), None, (A, ALL_NODES), Err(Rule::SolicitedMulticast)),
        (advertisement(true, ALL_NODES), None, (A, B), Err(Rule::TargetMulticast)),
        (NdpRepr::RouterSolicitation, link_layer, (A, B), Ok(())),
        (NdpRepr::RouterSolicitation, None, (ANY, B), Ok(())),
        (NdpRepr::RouterSolicitation, link_layer, (ANY, B), Err(Rule::SourceLinkLayer)),
        (router, link_layer, (A, ALL_NODES), Ok(())),
        (router, link_layer, (GLOBAL, ALL_NODES), Err(Rule::SourceLinkLocal)),
        (redirect(B, GLOBAL), None, (A, B), Ok(())),
        (redirect(GLOBAL, GLOBAL), None, (A, B), Ok(())),
        (redirect(ANY, GLOBAL), None, (A, B), Err(Rule::TargetLinkLocal)),
        (redirect(B, ALL_NODES), None, (A, B), Err(Rule::DestinationMulticast)),
        (redirect(B, GLOBAL), None, (GLOBAL, B), Err(Rule::SourceLinkLocal)),
    ];
    for (repr, option, ends, expected) in cases {
        let message = message(repr, option, ends);
        assert_eq!(validate(&message, ends.0, ends.1, 255), expected, "{repr:?}");
    }
}

#[test]
fn rules_of_every_message() {
    for repr in [
        NdpRepr::RouterSolicitation,
        NdpRepr::RouterAdvertisement(RouterAdvertisementRepr::default()),
        NdpRepr::NeighborSolicitation { target: A },
        NdpRepr::Redirect { target: B, destination: GLOBAL },
    ] {
        let option = Some(NdpOption::Mtu { mtu_bytes: 1500 });
        let good = message(repr, option, (A, B));
        let changed = |at: usize, value: u8| {
            let mut message = good.clone();
            message[at] = value;
            Icmpv6::new_checked(&mut message[..]).unwrap().fill_checksum(A, B);
            validate(&message, A, B, 255)
        };
        assert_eq!(validate(&good, A, B, 255), Ok(()));
        assert_eq!(validate(&good, A, B, 254), Err(Rule::HopLimit));
        assert_eq!(validate(&good, A, A, 255), Err(Rule::Checksum));
        assert_eq!(validate(&good[..7], A, B, 255), Err(Rule::Length));
        assert_eq!(changed(0, 132), Err(Rule::Type));
        assert_eq!(changed(0, 138), Err(Rule::Type));
        assert_eq!(changed(1, 1), Err(Rule::Code));
        assert_eq!(changed(repr.header_len_bytes() + 1, 0), Err(Rule::OptionLength));
        assert_eq!(changed(repr.header_len_bytes() + 1, 2), Err(Rule::OptionLength));
        if repr != NdpRepr::RouterSolicitation {
            let mut short = good[..repr.header_len_bytes() - 1].to_vec();
            Icmpv6::new_checked(&mut short[..]).unwrap().fill_checksum(A, B);
            assert_eq!(validate(&short, A, B, 255), Err(Rule::Length));
        }
    }
}

#[test]
fn what_no_option_can_be() {
    let mut buffer = [0; 4096];
    let mut refuses = |option: NdpOption<'_>| option.emit(&mut buffer).is_err();
    assert!(refuses(NdpOption::RecursiveDns { lifetime_s: 1, addresses: &[] }));
    assert!(refuses(NdpOption::DnsSearchList { lifetime_s: 1, names: &[] }));
    assert!(refuses(NdpOption::Nonce(&[0; 2039])));
    assert!(!refuses(NdpOption::Nonce(&[0; 2038])));
    let prefix = Ipv6Addr::UNSPECIFIED;
    let route = |prefix_len_bits| RouteInformation {
        prefix_len_bits,
        preference: Preference::Low,
        lifetime_s: 1,
        prefix,
    };
    assert!(refuses(NdpOption::RouteInformation(route(129))));
    assert!(NdpOption::Mtu { mtu_bytes: 1 }.emit(&mut [0; 7]).is_err());
    let lengths =
        [0, 1, 64, 65, 128].map(|bits| NdpOption::RouteInformation(route(bits)).len_bytes());
    assert_eq!(lengths, [8, 16, 16, 24, 24]);
    // Of a known type, but not of its length: given, and not understood.
    let other = NdpOption::Other { option_type: 5, data: &[0; 14] };
    assert_eq!(Options::new(&[&[5, 2][..], &[0; 14]].concat()).next(), Some(Ok(other)));
    // A route of 65 bits in 8 bytes.
    let route = [24, 2, 65, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let other = NdpOption::Other { option_type: 24, data: &route[2..] };
    assert_eq!(Options::new(&route).next(), Some(Ok(other)));
    let mut cut = Options::new(&[5]);
    assert!(matches!(cut.next(), Some(Err(Error::Short { .. }))));
    assert_eq!(cut.next(), None);
}

fn snapshot(view: &RouterAdvertisement<&mut [u8]>) -> ([u32; 9], Vec<u8>) {
    let fields = [
        view.current_hop_limit().into(),
        view.managed().into(),
        view.other_config().into(),
        view.home_agent().into(),
        view.preference().bits().into(),
        view.proxied().into(),
        view.router_lifetime_s().into(),
        view.reachable_time_ms(),
        view.retrans_timer_ms(),
    ];
    (fields, view.options().into())
}

fn ndp_reprs() -> impl Strategy<Value = NdpRepr> {
    let router = (any::<[u8; 2]>(), any::<[bool; 4]>(), any::<[u16; 1]>(), any::<[u32; 2]>());
    (0..5, any::<[u128; 2]>(), router).prop_map(|(kind, addresses, (bytes, flags, [s], ms))| {
        let [target, destination] = addresses.map(Ipv6Addr::from);
        let [router, solicited, override_cached, proxied] = flags;
        match kind {
            0 => NdpRepr::RouterSolicitation,
            1 => NdpRepr::RouterAdvertisement(RouterAdvertisementRepr {
                current_hop_limit: bytes[0],
                managed: router,
                other_config: solicited,
                home_agent: override_cached,
                preference: Preference::from_bits(bytes[1]),
                proxied,
                router_lifetime_s: s,
                reachable_time_ms: ms[0],
                retrans_timer_ms: ms[1],
            }),
            2 => NdpRepr::NeighborSolicitation { target },
            3 => NdpRepr::NeighborAdvertisement { router, solicited, override_cached, target },
            _ => NdpRepr::Redirect { target, destination },
        }
    })
}

proptest! {
    // Planted and caught: set_home_agent writes O; set_preference keeps the old bits.
    #[test]
    fn a_setter_of_a_router_advertisement_changes_its_field_only(
        mut bytes in vec(any::<u8>(), 16..40), i in 0_usize..9, value: u32,
    ) {
        bytes[0] = 134;
        let reserved = bytes[5] & 3;
        let mut view = RouterAdvertisement::new_checked(bytes.as_mut_slice()).unwrap();
        let mut expected = snapshot(&view);
        let [.., high, low] = value.to_be_bytes();
        let (bit, word) = (value & 1 != 0, u16::from_be_bytes([high, low]));
        expected.0[i] = match i {
            0 => low.into(),
            4 => value & 3,
            6 => word.into(),
            7 | 8 => value,
            _ => bit.into(),
        };
        match i {
            0 => view.set_current_hop_limit(low),
            1 => view.set_managed(bit),
            2 => view.set_other_config(bit),
            3 => view.set_home_agent(bit),
            4 => view.set_preference(Preference::from_bits(low)),
            5 => view.set_proxied(bit),
            6 => view.set_router_lifetime_s(word),
            7 => view.set_reachable_time_ms(value),
            _ => view.set_retrans_timer_ms(value),
        }
        prop_assert_eq!(snapshot(&view), expected);
        prop_assert_eq!(bytes[5] & 3, reserved);
        prop_assert_eq!(bytes[0], 134);
    }

    // Planted and caught: set_solicited sets and never clears; set_destination writes the target.
    #[test]
    fn a_setter_of_the_others_changes_its_field_only(
        bytes in vec(any::<u8>(), 40..60), i in 0_usize..3, bit: bool, address: u128,
    ) {
        let address = Ipv6Addr::from(address);
        let mut advertisement = bytes.clone();
        advertisement[0] = 136;
        let mut expected = advertisement.clone();
        let mut view = NeighborAdvertisement::new_checked(advertisement.as_mut_slice()).unwrap();
        match i {
            0 => view.set_router(bit),
            1 => view.set_solicited(bit),
            _ => view.set_override_cached(bit),
        }
        view.set_target(address);
        let flags = [view.router(), view.solicited(), view.override_cached()];
        prop_assert_eq!((flags[i], view.target()), (bit, address));
        expected[4] = expected[4] & !(0x80 >> i) | u8::from(bit) << (7 - i);
        expected[8..24].copy_from_slice(&address.octets());
        prop_assert_eq!(&advertisement, &expected);

        let mut redirect = bytes.clone();
        redirect[0] = 137;
        let mut expected = redirect.clone();
        let mut view = Redirect::new_checked(redirect.as_mut_slice()).unwrap();
        view.set_destination(address);
        prop_assert_eq!(view.destination(), address);
        view.options_mut().fill(7);
        expected[24..40].copy_from_slice(&address.octets());
        expected[40..].fill(7);
        prop_assert_eq!(redirect, expected);
    }

    // Planted and caught: emit leaves the reserved bytes; the S and O flags exchanged in emit.
    #[test]
    fn parse_undoes_emit(repr in ndp_reprs(), ends: [u128; 2], mtu_bytes: u32) {
        let ends = (ends[0].into(), ends[1].into());
        let message = message(repr, Some(NdpOption::Mtu { mtu_bytes }), ends);
        prop_assert_eq!(NdpRepr::parse(&message, ends.0, ends.1), Ok(repr));
        let mut copy = message.clone();
        copy[..repr.header_len_bytes()].fill(0x5a);
        repr.emit(&mut copy, ends.0, ends.1).unwrap();
        prop_assert_eq!(copy, message);
    }

    // Planted and caught: a prefix's valid lifetime written twice; a route's preference
    // shifted by 2; DNS addresses from byte 4 on.
    #[test]
    fn options_come_back(
        kind in 0_usize..10, data in vec(any::<u8>(), 0..40), bits in 0_u8..=128, flags: [bool; 3],
        seconds: [u32; 2], prefix: u128,
    ) {
        let units = data.len() / 8;
        let whole = &data[..(units * 8).saturating_sub(2)];
        let blocks = data[..units * 8].as_chunks::<16>().0;
        let eight = &data[..units * 8];
        let prefix = prefix.into();
        let option = match kind {
            0 => NdpOption::SourceLinkLayer(whole),
            1 => NdpOption::TargetLinkLayer(whole),
            2 => NdpOption::PrefixInformation(PrefixInformation {
                prefix_len_bits: bits,
                on_link: flags[0],
                autonomous: flags[1],
                router_address: flags[2],
                valid_lifetime_s: seconds[0],
                preferred_lifetime_s: seconds[1],
                prefix,
            }),
            3 => NdpOption::RedirectedHeader(eight),
            4 => NdpOption::Mtu { mtu_bytes: seconds[0] },
            5 | 6 => NdpOption::RouteInformation(RouteInformation {
                prefix_len_bits: bits,
                preference: Preference::from_bits(seconds[1].to_be_bytes()[0]),
                lifetime_s: seconds[0],
                // A short prefix with bits behind it, and one without.
                prefix: if kind == 5 { prefix } else { 0.into() },
            }),
            7 => NdpOption::RecursiveDns { lifetime_s: seconds[0], addresses: blocks },
            8 => NdpOption::DnsSearchList { lifetime_s: seconds[0], names: eight },
            _ => NdpOption::Nonce(whole),
        };
        prop_assume!(units > 1);
        let mut buffer = [0xa5; 80];
        let len_bytes = option.emit(&mut buffer).unwrap();
        prop_assert_eq!(len_bytes, option.len_bytes());
        prop_assert!(buffer[len_bytes..].iter().all(|byte| *byte == 0xa5));
        let mut options = Options::new(&buffer[..len_bytes]);
        prop_assert_eq!(options.next(), Some(Ok(option)));
        prop_assert_eq!(options.next(), None);
    }

    // Planted and caught: names that are written two bytes early; DNS addresses read two bytes
    // early.
    #[test]
    fn whatever_is_read_is_written_and_read_again(
        mut bytes in vec(any::<u8>(), 0..120), option_type in 0_u8..32, units in 0_u8..5,
    ) {
        if let Some(head) = bytes.first_chunk_mut() {
            *head = [option_type, units];
        }
        let mut end = 0;
        for option in Options::new(&bytes) {
            let Ok(option) = option else { break };
            let mut buffer = [0; 2040];
            let len_bytes = option.emit(&mut buffer).unwrap();
            prop_assert_eq!(Options::new(&buffer[..len_bytes]).next(), Some(Ok(option)));
            end += usize::from(bytes[end + 1]) * 8;
        }
        prop_assert!(end <= bytes.len());
    }
}
