//! Tests of `ICMPv4`.

use core::net::Ipv4Addr;
use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[test]
fn an_echo_request_by_hand() {
    let mut message = *b"\xff\xff\xff\xff\xff\xff\xff\xffabcdefgh";
    let view = Icmpv4Repr::echo_request(1, 2).emit(&mut message).unwrap();
    assert_eq!((view.identifier(), view.sequence(), view.payload()), (1, 2, &b"abcdefgh"[..]));
    assert_eq!(message[..8], [8, 0, 0x66, 0x67, 0, 1, 0, 2]);
    assert!(Icmpv4::new_checked(&message[..7]).is_err());
    assert!(Icmpv4Repr::echo_reply(1, 2).emit(&mut message[..7]).is_err());
    message[9] ^= 1;
    assert!(Icmpv4Repr::parse(&Icmpv4::new_checked(message).unwrap()).is_err());
}

#[test]
fn the_reply_of_all_zeros_verifies() {
    let mut message = [0; 64];
    let mut view = Icmpv4Repr::echo_request(0, 0).emit(&mut message).unwrap();
    view.turn_into_echo_reply();
    assert_eq!(view.checksum(), 0xffff);
    assert!(view.verify_checksum());
}

fn snapshot(view: &Icmpv4<&mut [u8]>) -> ([u16; 5], Vec<u8>) {
    let fields = [
        view.icmp_type().into(),
        view.icmp_code().into(),
        view.checksum(),
        view.identifier(),
        view.sequence(),
    ];
    (fields, view.payload().into())
}

proptest! {
    // Planted and caught: set_sequence writes the identifier.
    #[test]
    fn a_setter_changes_its_field_only(
        mut message in vec(any::<u8>(), 8..40), i in 0_usize..5, value: u16,
    ) {
        let mut view = Icmpv4::new_checked(message.as_mut_slice()).unwrap();
        let mut expected = snapshot(&view);
        let byte = value.to_be_bytes()[1];
        expected.0[i] = if i < 2 { byte.into() } else { value };
        match i {
            0 => view.set_icmp_type(byte),
            1 => view.set_icmp_code(byte),
            2 => view.set_checksum(value),
            3 => view.set_identifier(value),
            _ => view.set_sequence(value),
        }
        prop_assert_eq!(snapshot(&view), expected);
    }

    // Planted and caught: emit leaves out the last four bytes; a fold without end-around carry.
    #[test]
    fn emit_undoes_parse(mut message in vec(any::<u8>(), 8..80)) {
        Icmpv4::new_checked(message.as_mut_slice()).unwrap().fill_checksum();
        let repr = Icmpv4Repr::parse(&Icmpv4::new_checked(&message).unwrap()).unwrap();
        let mut copy = message.clone();
        copy[..8].fill(0xa5);
        repr.emit(&mut copy).unwrap();
        prop_assert_eq!(copy, message);
    }

    // Planted and caught: old and new word exchanged; a reply that is summed anew and so hides
    // the request's damage.
    #[test]
    fn a_reply_is_as_right_as_its_request(
        identifier: u16, sequence: u16, payload in vec(any::<u8>(), 0..64),
        damage in prop_oneof![Just(0), any::<u16>()],
    ) {
        let mut message = [0; 8].to_vec();
        message.extend(&payload);
        let request = Icmpv4Repr::echo_request(identifier, sequence);
        let mut view = request.emit(&mut message).unwrap();
        view.set_checksum(view.checksum() ^ damage);
        let right = view.verify_checksum();
        view.turn_into_echo_reply();
        prop_assert_eq!(view.icmp_type(), icmp_type::ECHO_REPLY);
        prop_assert_eq!(view.verify_checksum(), right);
        if damage == 0 {
            let mut expected = message.clone();
            Icmpv4Repr::echo_reply(identifier, sequence).emit(&mut expected).unwrap();
            prop_assert_eq!(message, expected);
        }
    }
}

#[test]
fn the_variable_part_depends_on_the_type() {
    let mut message = [0; 28];
    let mut view = Icmpv4::new_checked(message.as_mut_slice()).unwrap();
    view.set_gateway(Ipv4Addr::new(10, 0, 0, 1));
    assert_eq!((view.gateway(), view.pointer()), (Ipv4Addr::new(10, 0, 0, 1), 10));
    view.set_pointer(20);
    view.set_quoted_len_words(3);
    view.set_next_hop_mtu(1400);
    assert_eq!((view.pointer(), view.quoted_len_words(), view.next_hop_mtu()), (20, 3, 1400));
    let times = Times { originate: 1, receive: 2, transmit: 0x8000_0003 };
    assert!(view.set_times(times).is_ok());
    assert_eq!(view.times(), Some(times));
    assert!(view.set_address_mask(Ipv4Addr::new(255, 0, 0, 0)).is_ok());
    assert_eq!(view.address_mask(), Some(Ipv4Addr::new(255, 0, 0, 0)));
    assert_eq!(view.times().unwrap().receive, 2);
    assert_eq!(message[8..20], [255, 0, 0, 0, 0, 0, 0, 2, 0x80, 0, 0, 3]);
    let mut view = Icmpv4::new_checked(&mut message[..19]).unwrap();
    assert!(view.times().is_none() && view.set_times(times).is_err());
    let mut view = Icmpv4::new_checked(&mut message[..11]).unwrap();
    let mask = view.set_address_mask(Ipv4Addr::UNSPECIFIED);
    assert!(matches!(mask, Err(Error::Short { needed_bytes: 12, available_bytes: 11, .. })));
    assert!(view.address_mask().is_none());
}

#[test]
fn a_router_advertisement_is_written_and_cleared() {
    let mut message = [0xff; 16];
    message[..2].copy_from_slice(&[9, 0]);
    let mut view = Icmpv4::new_checked(&mut message[..]).unwrap();
    view.set_router_advertisement(1, 2, 1800);
    let read = view.router_advertisement().unwrap();
    assert_eq!((read.lifetime_s, read.routers().count()), (1800, 1));
    view.set_router_advertisement(0, 0, 0);
    assert_eq!(message, [9, 0, 0xff, 0xff, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
}

#[test]
fn a_router_advertisement_by_hand() {
    let mut message =
        [9, 0, 0, 0, 2, 2, 7, 8, 10, 0, 0, 1, 0x80, 0, 0, 0, 10, 0, 0, 2, 0, 0, 0, 1, 0xee];
    let read = |message: &[u8]| {
        Icmpv4::new_checked(message).unwrap().router_advertisement().map(|advertisement| {
            (advertisement.lifetime_s, advertisement.routers().collect::<Vec<_>>())
        })
    };
    let (a, b) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
    assert_eq!(read(&message), Some((0x708, [(a, i32::MIN), (b, 1)].to_vec())));
    assert_eq!(read(&message[..23]), None);
    message[5] = 1;
    assert_eq!(read(&message), None);
    message[5] = 2;
    message[0] = 8;
    assert_eq!(read(&message), None);
}

#[test]
fn the_quoted_packet_ends_where_its_length_says() {
    let mut message = [7; 200];
    for icmp_type in 0..=255 {
        message[..8].copy_from_slice(&[icmp_type, 0, 0, 0, 0, 0, 0, 0]);
        let view = Icmpv4::new_checked(&message).unwrap();
        let is_error = matches!(icmp_type, 3 | 4 | 5 | 11 | 12);
        assert_eq!(view.quoted().map(<[u8]>::len), is_error.then_some(192));
        assert_eq!(view.extension_structure(), None);
        message[5] = 32;
        let view = Icmpv4::new_checked(&message).unwrap();
        let has_len = matches!(icmp_type, 3 | 11 | 12);
        let quoted = if has_len { 128 } else { 192 };
        assert_eq!(view.quoted().map(<[u8]>::len), is_error.then_some(quoted));
        assert_eq!(view.extension_structure().map(<[u8]>::len), has_len.then_some(64));
    }
    message[..8].copy_from_slice(&[3, 0, 0, 0, 0, 255, 0, 0]);
    let view = Icmpv4::new_checked(&message).unwrap();
    assert_eq!((view.quoted().unwrap().len(), view.extension_structure()), (192, Some(&[][..])));
}

#[test]
fn an_error_message_that_is_not_representable_is_refused() {
    let refused = |start: [u8; 8]| {
        let mut message = [1; 36];
        message[..8].copy_from_slice(&start);
        let mut view = Icmpv4::new_checked(message.as_mut_slice()).unwrap();
        view.fill_checksum();
        let field = match Icmpv4ErrorRepr::parse(&view) {
            Ok(_) => "none",
            Err(Error::Field { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        view.set_checksum(view.checksum() ^ 1);
        assert!(Icmpv4ErrorRepr::parse(&view).is_err());
        field
    };
    assert_eq!(refused([3, 4, 0, 0, 0, 0, 5, 0]), "none");
    assert_eq!(refused([3, 4, 0, 0, 0, 32, 5, 0]), "unused");
    assert_eq!(refused([3, 4, 0, 0, 1, 0, 5, 0]), "unused");
    assert_eq!(refused([11, 0, 0, 0, 0, 0, 1, 0]), "unused");
    assert_eq!(refused([12, 0, 0, 0, 9, 0, 0, 1]), "unused");
    assert_eq!(refused([12, 0, 0, 0, 9, 0, 0, 0]), "none");
    assert_eq!(refused([5, 0, 0, 0, 10, 1, 2, 3]), "none");
    assert_eq!(refused([8, 0, 0, 0, 0, 0, 0, 0]), "type");
    assert_eq!(refused([4, 0, 0, 0, 0, 0, 0, 0]), "type");
}

proptest! {
    // Planted and caught: the gateway written as the pointer only; the next hop's MTU left out;
    // the code left out.
    #[test]
    fn emit_undoes_parse_of_an_error_message(
        kind in 0_usize..4, code: u8, number: u32, quoted in vec(any::<u8>(), 0..60),
        room in 0_usize..5,
    ) {
        let [pointer, _, high, low] = number.to_be_bytes();
        let error = match kind {
            0 => ErrorMessage::DestinationUnreachable {
                code,
                next_hop_mtu: u16::from_be_bytes([high, low]),
            },
            1 => ErrorMessage::Redirect { code, gateway: Ipv4Addr::from_bits(number) },
            2 => ErrorMessage::TimeExceeded { code },
            _ => ErrorMessage::ParameterProblem { code, pointer },
        };
        let repr = Icmpv4ErrorRepr { error, quoted: &quoted };
        let mut message = [0xa5].repeat(repr.len_bytes() + room);
        let emitted = repr.emit(&mut message).unwrap();
        prop_assert_eq!(emitted.quoted(), Some(&quoted[..]));
        let len_bytes = repr.len_bytes();
        prop_assert!(message[len_bytes..].iter().all(|byte| *byte == 0xa5));
        let view = Icmpv4::new_checked(&message[..len_bytes]).unwrap();
        prop_assert_eq!(Icmpv4ErrorRepr::parse(&view), Ok(repr));
        let mut copy = [0x5a].repeat(len_bytes);
        Icmpv4ErrorRepr::parse(&view).unwrap().emit(&mut copy).unwrap();
        prop_assert_eq!(&copy[..], &message[..len_bytes]);
        prop_assert!(repr.emit(&mut copy[..len_bytes - 1]).is_err());
    }
}
