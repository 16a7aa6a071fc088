use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const A: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const B: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

#[test]
fn an_echo_request_by_hand() {
    let mut message = *b"\xff\xff\xff\xff\xff\xff\xff\xffabcdefgh";
    let repr = Icmpv6Repr::EchoRequest { identifier: 1, sequence: 2 };
    let view = repr.emit(&mut message, A, B).unwrap();
    assert_eq!((view.identifier(), view.sequence(), view.payload()), (1, 2, &b"abcdefgh"[..]));
    assert!(!view.is_error());
    assert_eq!(view.quoted_packet(), None);
    // By hand: 2 * fe80 + 3 + 0x10 + 0x3a + 8000 + 1 + 2 + 6162 + 6364 + 6566 + 6768 = 0x40ee4.
    assert_eq!(message[..8], [128, 0, 0xf1, 0x17, 0, 1, 0, 2]);
    assert!(Icmpv6::new_checked(&message[..7]).is_err());
    assert!(repr.emit(&mut message[..7], A, B).is_err());
    let view = Icmpv6::new_checked(message).unwrap();
    assert!(view.verify_checksum(B, A) && !view.verify_checksum(A, A));
    assert_eq!(Icmpv6Repr::parse(&view, A, B), Ok(repr));
    message[9] ^= 1;
    assert!(Icmpv6Repr::parse(&Icmpv6::new_checked(message).unwrap(), A, B).is_err());
}

#[test]
fn errors_quote_the_packet() {
    let mut message = [7; 8 + 24];
    let mut view = Icmpv6Repr::DestinationUnreachable { code: 4 }.emit(&mut message, A, B).unwrap();
    assert!(view.is_error());
    assert_eq!(view.quoted_packet().unwrap().len(), 24);
    // RFC 4884: 2 * 8 bytes, then extensions; a length that lies is cut.
    view.header_mut()[4] = 2;
    assert_eq!(view.quoted_packet().unwrap().len(), 16);
    view.header_mut()[4] = 4;
    assert_eq!(view.quoted_packet().unwrap().len(), 24);
    // Of the other errors these bytes are a number.
    let view = Icmpv6Repr::PacketTooBig { mtu_bytes: 0x0200_0500 }.emit(&mut message, A, B);
    assert_eq!(view.unwrap().quoted_packet().unwrap().len(), 24);
}

#[test]
fn what_is_not_represented_is_refused_and_what_is_unused_ignored() {
    let parse = |header: [u8; 8]| {
        let mut view = Icmpv6::new_checked(header).unwrap();
        view.fill_checksum(A, B);
        Icmpv6Repr::parse(&view, A, B)
    };
    // Without its length what quotes a packet would quote the extensions too.
    for (header, name) in [
        ([135, 0, 0, 0, 0, 0, 0, 0], "type"),
        ([128, 1, 0, 0, 0, 0, 0, 0], "code"),
        ([1, 4, 0, 0, 2, 0, 0, 0], "length"),
        ([3, 0, 0, 0, 16, 0, 0, 0], "length"),
    ] {
        let error = parse(header).unwrap_err();
        assert!(matches!(error, Error::Field { field, .. } if field == name), "{error}");
    }
    let too_big = Icmpv6Repr::PacketTooBig { mtu_bytes: 1280 };
    assert_eq!(parse([2, 9, 0, 0, 0, 0, 5, 0]), Ok(too_big));
    assert_eq!(parse([3, 1, 0, 0, 0, 9, 9, 9]), Ok(Icmpv6Repr::TimeExceeded { code: 1 }));
}

fn snapshot(view: &Icmpv6<&mut [u8]>) -> ([u32; 5], Vec<u8>) {
    let fields = [
        view.icmp_type().into(),
        view.icmp_code().into(),
        view.checksum().into(),
        view.identifier().into(),
        view.sequence().into(),
    ];
    assert_eq!(view.mtu_bytes(), fields[3] << 16 | fields[4]);
    assert_eq!(view.pointer_bytes(), view.mtu_bytes());
    (fields, view.payload().into())
}

fn reprs() -> impl Strategy<Value = Icmpv6Repr> {
    (0..6, any::<u8>(), any::<u32>()).prop_map(|(kind, code, number)| {
        let (identifier, sequence) = ((number >> 16) as u16, (number & 0xffff) as u16);
        match kind {
            0 => Icmpv6Repr::EchoRequest { identifier, sequence },
            1 => Icmpv6Repr::EchoReply { identifier, sequence },
            2 => Icmpv6Repr::DestinationUnreachable { code },
            3 => Icmpv6Repr::PacketTooBig { mtu_bytes: number },
            4 => Icmpv6Repr::TimeExceeded { code },
            _ => Icmpv6Repr::ParameterProblem { code, pointer_bytes: number },
        }
    })
}

proptest! {
    // Planted and caught: set_sequence writes the identifier.
    #[test]
    fn a_setter_changes_its_field_only(
        mut message in vec(any::<u8>(), 8..40), i in 0_usize..7, value: u32,
    ) {
        let mut view = Icmpv6::new_checked(message.as_mut_slice()).unwrap();
        let mut expected = snapshot(&view);
        let [_, _, _, byte] = value.to_be_bytes();
        let word = (value & 0xffff) as u16;
        match i {
            0 => view.set_icmp_type(byte),
            1 => view.set_icmp_code(byte),
            2 => view.set_checksum(word),
            3 => view.set_identifier(word),
            4 => view.set_sequence(word),
            5 => view.set_mtu_bytes(value),
            _ => view.set_pointer_bytes(value),
        }
        match i {
            0 | 1 => expected.0[i] = byte.into(),
            2..5 => expected.0[i] = word.into(),
            _ => (expected.0[3], expected.0[4]) = (value >> 16, value & 0xffff),
        }
        prop_assert_eq!(snapshot(&view), expected);
    }

    // Planted and caught: a pointer that is not written, or is read two bytes early.
    #[test]
    fn parse_undoes_emit(
        repr in reprs(), source: u128, destination: u128, payload in vec(any::<u8>(), 0..80),
    ) {
        let (source, destination) = (source.into(), destination.into());
        let mut message = [0xa5; 8].to_vec();
        message.extend(&payload);
        repr.emit(&mut message, source, destination).unwrap();
        let view = Icmpv6::new_checked(&message).unwrap();
        prop_assert_eq!(Icmpv6Repr::parse(&view, source, destination), Ok(repr));
        prop_assert_eq!(view.payload(), payload);
        let mut copy = message.clone();
        copy[..8].fill(0x5a);
        repr.emit(&mut copy, source, destination).unwrap();
        prop_assert_eq!(copy, message);
    }

    // Planted and caught: the next header left out of the pseudo header.
    #[test]
    fn the_pseudo_header_is_forty_bytes(
        source: u128, destination: u128, mut message in vec(any::<u8>(), 8..80),
    ) {
        let mut all = source.to_be_bytes().to_vec();
        all.extend(destination.to_be_bytes());
        all.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        all.extend([0, 0, 0, 58]);
        let mut view = Icmpv6::new_checked(message.as_mut_slice()).unwrap();
        view.fill_checksum(source.into(), destination.into());
        prop_assert!(view.verify_checksum(source.into(), destination.into()));
        all.extend(&message);
        prop_assert!(checksum::verify(&all));
    }

    // Planted and caught: old and new word exchanged; a reply that is summed anew and so hides the
    // request's damage.
    #[test]
    fn a_reply_is_as_right_as_its_request(
        identifier: u16, sequence: u16, payload in vec(any::<u8>(), 0..64),
        damage in prop_oneof![Just(0), any::<u16>()],
    ) {
        let mut message = [0; 8].to_vec();
        message.extend(&payload);
        let request = Icmpv6Repr::EchoRequest { identifier, sequence };
        let mut view = request.emit(&mut message, A, B).unwrap();
        view.set_checksum(view.checksum() ^ damage);
        let right = view.verify_checksum(A, B);
        view.turn_into_echo_reply();
        prop_assert_eq!(view.icmp_type(), icmp_type::ECHO_REPLY);
        prop_assert_eq!(view.verify_checksum(B, A), right);
        if damage == 0 {
            let mut expected = message.clone();
            Icmpv6Repr::EchoReply { identifier, sequence }.emit(&mut expected, B, A).unwrap();
            prop_assert_eq!(message, expected);
        }
    }
}
