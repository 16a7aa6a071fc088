//! Tests of the IPv6 header.

use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::ipv4::protocol;

/// A header by hand: dscp 46, ecn 1, flow label 0xabcde, 8 bytes of UDP, 2001:db8::1 to ff02::2.
const KNOWN: [u8; 40] = [
    0x6b, 0x9a, 0xbc, 0xde, 0x00, 0x08, 17, 64, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 1, 0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
];

fn known() -> [u8; 52] {
    let mut packet = [7; 52];
    packet[..40].copy_from_slice(&KNOWN);
    packet
}

/// A jumbogram's header with its option, in front of as many zeros.
fn jumbo(len_bytes: u32, rest_bytes: usize) -> Vec<u8> {
    let mut packet = KNOWN.to_vec();
    packet[4..7].fill(0);
    packet.extend([17, 0, 0xc2, 4]);
    packet.extend(len_bytes.to_be_bytes());
    packet.resize(48 + rest_bytes, 0);
    packet
}

#[test]
fn a_header_by_hand() {
    let mut packet = known();
    let mut view = Ipv6::new_checked(packet.as_mut_slice()).unwrap();
    assert_eq!((view.version(), view.dscp(), view.ecn(), view.flow_label()), (6, 46, 1, 0xabcde));
    assert_eq!((view.payload_len_bytes(), view.hop_limit()), (8, 64));
    assert_eq!(view.next_header(), protocol::UDP);
    assert_eq!(view.source(), "2001:db8::1".parse::<Ipv6Addr>().unwrap());
    assert_eq!(view.destination(), "ff02::2".parse::<Ipv6Addr>().unwrap());
    assert_eq!((view.payload(), view.jumbo_len_bytes()), ([7; 8].as_slice(), None));
    view.payload_mut().fill(9);
    assert_eq!(packet[40..], [9, 9, 9, 9, 9, 9, 9, 9, 7, 7, 7, 7]);
}

#[test]
fn each_check_has_its_own_error() {
    let layer = Layer::Ipv6;
    let field = |offset_bytes, field| Error::Field { layer, offset_bytes, field };
    let short = Error::Short { layer, offset_bytes: 0, needed_bytes: 40, available_bytes: 39 };
    let cut = Error::Truncated { layer, offset_bytes: 4, needed_bytes: 48, available_bytes: 47 };
    assert_eq!(Ipv6::new_checked(&known()[..39]).unwrap_err(), short);
    assert_eq!(Ipv6::new_truncated(&known()[..39]).unwrap_err(), short);
    assert_eq!(Ipv6::new_checked(&known()[..47]).unwrap_err(), cut);
    assert_eq!(Ipv6::new_truncated(&known()[..47]).unwrap().payload(), [7; 7]);
    let mut packet = known();
    packet[0] = 0x4b;
    assert_eq!(Ipv6::new_checked(&packet).unwrap_err(), field(0, "version"));
    assert_eq!(Ipv6::new_truncated(&packet).unwrap_err(), field(0, "version"));
    // A payload length of 0 is a length, but not in front of a hop-by-hop header.
    packet = known();
    packet[5] = 0;
    assert_eq!(Ipv6::new_checked(&packet).unwrap().payload(), []);
    packet[6] = 0;
    packet[40..48].copy_from_slice(&[17, 0, 1, 4, 0, 0, 0, 0]);
    assert_eq!(Ipv6::new_checked(&packet).unwrap_err(), field(4, "payload length"));
    assert!(matches!(
        Ipv6::new_checked(&packet[..47]),
        Err(Error::Short { layer: Layer::Ipv6Extension, needed_bytes: 8, .. })
    ));
}

#[test]
fn a_jumbogram_has_its_length_in_an_option() {
    let packet = jumbo(0x1_0000, 0x1_0000);
    let view = Ipv6::new_checked(&packet).unwrap();
    assert_eq!((view.jumbo_len_bytes(), view.payload().len()), (Some(0x1_0000), 0x1_0000));
    assert_eq!(view.upper_layer().unwrap().offset_bytes, 8);
    assert!(Ipv6Repr::parse(&view).is_err());
    assert!(matches!(
        Ipv6::new_checked(&packet[..0x1_0027]),
        Err(Error::Truncated { needed_bytes: 0x1_0028, available_bytes: 0x1_0027, .. })
    ));
    let small = jumbo(0xffff, 0x1_0000);
    let expected =
        Error::Field { layer: Layer::Ipv6, offset_bytes: 4, field: "jumbo payload length" };
    assert_eq!(Ipv6::new_checked(&small).unwrap_err(), expected);
    let huge = jumbo(u32::MAX, 9);
    assert!(matches!(Ipv6::new_checked(&huge), Err(Error::Truncated { .. })));
    let view = Ipv6::new_truncated(&huge).unwrap();
    assert_eq!((view.jumbo_len_bytes(), view.payload().len()), (Some(u32::MAX), 17));
}

#[test]
fn a_voided_check_cuts_and_does_not_panic() {
    for len_bytes in [0, 1, 12, 13, 0xffff] {
        for next_header in [0, 17, 43, 44, 60] {
            let mut packet = known();
            let mut view = Ipv6::new_checked(packet.as_mut_slice()).unwrap();
            view.set_payload_len_bytes(len_bytes);
            view.set_next_header(next_header);
            let _ = (view.upper_layer(), view.extensions().count(), Ipv6Repr::parse(&view));
            assert!(view.payload().len() <= 12);
            assert_eq!(view.payload().len(), view.payload_mut().len());
        }
    }
}

#[test]
fn what_is_not_representable_is_refused() {
    let good = Ipv6Repr::parse(&Ipv6::new_checked(known()).unwrap()).unwrap();
    let mut room = [0; 48];
    assert!(good.emit(&mut room).is_ok());
    assert!(matches!(good.emit(&mut room[..47]), Err(Error::Truncated { .. })));
    assert!(matches!(good.emit(&mut room[..39]), Err(Error::Short { .. })));
    for bad in [
        Ipv6Repr { dscp: 64, ..good },
        Ipv6Repr { ecn: 4, ..good },
        Ipv6Repr { flow_label: 0x10_0000, ..good },
        Ipv6Repr { payload_len_bytes: 0, next_header: 0, ..good },
    ] {
        assert!(matches!(bad.emit(&mut room), Err(Error::Field { .. })));
    }
}

/// Every field as a number, in the order of [`set`].
fn snapshot(view: &Ipv6<&mut [u8]>) -> [u128; 9] {
    [
        view.version().into(),
        view.dscp().into(),
        view.ecn().into(),
        view.flow_label().into(),
        view.payload_len_bytes().into(),
        view.next_header().into(),
        view.hop_limit().into(),
        view.source().to_bits(),
        view.destination().to_bits(),
    ]
}

/// Sets field `i` from the low bits of `value` and returns what must be read back.
fn set(view: &mut Ipv6<&mut [u8]>, i: usize, value: u128) -> u128 {
    let [byte, second, third, fourth, ..] = value.to_le_bytes();
    let word = u16::from_le_bytes([byte, second]);
    match i {
        0 => (view.set_version(byte), value % 16).1,
        1 => (view.set_dscp(byte), value % 64).1,
        2 => (view.set_ecn(byte), value % 4).1,
        3 => {
            view.set_flow_label(u32::from_le_bytes([byte, second, third, fourth]));
            value % 0x10_0000
        }
        4 => (view.set_payload_len_bytes(word), value % 0x1_0000).1,
        5 => (view.set_next_header(byte), value % 256).1,
        6 => (view.set_hop_limit(byte), value % 256).1,
        7 => (view.set_source(Ipv6Addr::from_bits(value)), value).1,
        _ => (view.set_destination(Ipv6Addr::from_bits(value)), value).1,
    }
}

proptest! {
    // Planted and caught: set_dscp clears ecn; set_flow_label can only set bits; set_version clears
    // bits of dscp.
    #[test]
    fn a_setter_changes_its_field_only(
        header: [u8; 40], ones: bool, changes in vec((0_usize..9, any::<u128>()), 1..20),
    ) {
        let mut packet = [0xff; 60];
        if !ones {
            packet[..40].copy_from_slice(&header);
        }
        packet[0] = packet[0] & 0x0f | 0x60;
        let mut view = Ipv6::new_truncated(packet.as_mut_slice()).unwrap();
        for (i, value) in changes {
            let mut expected = snapshot(&view);
            expected[i] = set(&mut view, i, value);
            prop_assert_eq!(snapshot(&view), expected);
        }
        prop_assert_eq!(&packet[40..], &[0xff; 20]);
    }

    // Planted and caught: emit leaves out ecn; emit writes the destination as source.
    #[test]
    fn emit_undoes_parse(
        mut header: [u8; 40], payload in vec(any::<u8>(), 1..40), padding in 0_usize..9,
    ) {
        header[0] = header[0] & 0x0f | 0x60;
        header[4..6].copy_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
        let mut packet = header.to_vec();
        packet.extend(&payload);
        packet.resize(packet.len() + padding, 0xee);
        let repr = Ipv6Repr::parse(&Ipv6::new_checked(&packet).unwrap()).unwrap();
        let mut copy = packet.clone();
        copy[..40].fill(0xa5);
        let view = repr.emit(&mut copy).unwrap();
        prop_assert_eq!(view.payload(), payload);
        prop_assert!(Ipv6::new_checked(view.into_inner()).is_ok());
        prop_assert_eq!(copy, packet);
    }
}
