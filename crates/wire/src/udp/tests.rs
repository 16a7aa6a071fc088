//! Tests of UDP.

use std::vec;
use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const A6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const B6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

#[test]
fn a_datagram_by_hand() {
    let repr = UdpRepr { source_port: 1000, destination_port: 53, payload_len_bytes: 3 };
    let mut buffer = *b"........abc###";
    repr.emit(&mut buffer, A, B).unwrap();
    // 0a00+0001+0a00+0002+0011+000b + 03e8+0035+000b+6162+6300 = dca9, complement 2356
    assert_eq!(buffer, *b"\x03\xe8\x00\x35\x00\x0b\x23\x56abc###");
    assert_eq!(Udp::new_checked(buffer).unwrap().payload(), b"abc");
}

#[test]
fn lengths_are_checked() {
    let mut buffer = [0; 12];
    assert!(matches!(Udp::new_checked(&buffer[..7]), Err(Error::Short { .. })));
    buffer[5] = 7;
    assert!(matches!(Udp::new_checked(&buffer), Err(Error::Field { field: "length", .. })));
    buffer[5] = 13;
    assert!(matches!(
        Udp::new_checked(&buffer),
        Err(Error::Truncated { needed_bytes: 13, available_bytes: 12, .. })
    ));
    let repr = UdpRepr { source_port: 1, destination_port: 2, payload_len_bytes: 4 };
    assert!(repr.emit(&mut buffer, A, B).is_ok());
    assert!(matches!(repr.emit(&mut buffer[..11], A, B), Err(Error::Truncated { .. })));
    assert!(matches!(repr.emit(&mut buffer[..7], A, B), Err(Error::Short { .. })));
    let long = UdpRepr { payload_len_bytes: 65528, ..repr };
    assert!(matches!(long.emit(&mut buffer, A, B), Err(Error::Field { .. })));
}

#[test]
fn no_checksum_is_right_and_a_computed_zero_is_sent_as_ones() {
    let mut buffer = [0, 0, 0, 0, 0, 10, 0, 0, 0, 0];
    let mut view = Udp::new_checked(buffer.as_mut_slice()).unwrap();
    assert!(view.verify_checksum(A, B));
    // Choose the payload so that the sum is all ones.
    let rest = view.sum(A, B).finish();
    view.payload_mut().copy_from_slice(&rest.to_be_bytes());
    assert_eq!(view.sum(A, B).finish(), 0);
    view.fill_checksum(A, B);
    assert_eq!(view.checksum(), 0xffff);
    assert!(view.verify_checksum(A, B));
    assert!(!view.verify_checksum(A, A));
}

#[test]
fn over_ipv6_no_checksum_is_an_error_unless_told_otherwise() {
    let mut buffer = [0, 0, 0, 0, 0, 10, 0, 0, 0, 0];
    let mut view = Udp::new_checked_v6(buffer.as_mut_slice()).unwrap();
    assert!(!view.verify_checksum_v6(A6, B6, ZeroChecksum::Refused));
    assert!(view.verify_checksum_v6(A6, B6, ZeroChecksum::Allowed));
    assert!(UdpRepr::parse_v6(&view, A6, B6).is_err());
    // Choose the payload so that the sum is all ones.
    let rest = view.sum_v6(A6, B6).finish();
    view.payload_mut().copy_from_slice(&rest.to_be_bytes());
    assert_eq!(view.sum_v6(A6, B6).finish(), 0);
    view.fill_checksum_v6(A6, B6);
    assert_eq!(view.checksum(), 0xffff);
    assert!(view.verify_checksum_v6(A6, B6, ZeroChecksum::Refused));
    // Told to take none is not told to take a wrong one.
    assert!(!view.verify_checksum_v6(A6, A6, ZeroChecksum::Allowed));
}

#[test]
fn a_length_of_zero_is_a_jumbogram_over_ipv6_only() {
    let mut buffer = vec![1; 0x1_0010];
    buffer[4..6].fill(0);
    assert!(matches!(Udp::new_checked(&buffer), Err(Error::Field { field: "length", .. })));
    let mut view = Udp::new_checked_v6(buffer.as_mut_slice()).unwrap();
    assert_eq!((view.payload().len(), view.payload_mut().len()), (0x1_0008, 0x1_0008));
    view.fill_checksum_v6(A6, B6);
    assert!(view.verify_checksum_v6(A6, B6, ZeroChecksum::Refused));
    assert!(matches!(UdpRepr::parse_v6(&view, A6, B6), Err(Error::Field { field: "length", .. })));
    let sum = checksum::pseudo_header_v6(A6, B6, 17, 0x1_0010).combine(Sum::of(&buffer));
    assert_eq!(sum.finish(), 0);
    buffer[5] = 7;
    assert!(matches!(Udp::new_checked_v6(&buffer), Err(Error::Field { field: "length", .. })));
    assert!(matches!(Udp::new_checked_v6(&buffer[..7]), Err(Error::Short { .. })));
}

#[test]
fn a_truncated_datagram_keeps_what_is_there() {
    let mut buffer = [0, 0, 0, 0, 0, 20, 0, 1, 5, 5];
    assert!(Udp::new_checked(&buffer).is_err() && Udp::new_checked_v6(&buffer).is_err());
    let mut view = Udp::new_truncated(buffer.as_mut_slice()).unwrap();
    assert_eq!((view.len_bytes(), view.payload()), (20, &[5, 5][..]));
    view.payload_mut().fill(6);
    assert!(!view.verify_checksum(A, B));
    buffer[5] = 7;
    assert_eq!(Udp::new_truncated(&buffer).unwrap().payload(), []);
    assert!(matches!(Udp::new_truncated(&buffer[..7]), Err(Error::Short { .. })));
}

#[test]
fn a_voided_check_cuts_and_does_not_panic() {
    for len_bytes in [0, 7, 8, 13, 0xffff] {
        let mut buffer = [0, 0, 0, 0, 0, 12, 0, 0, 1, 2, 3, 4];
        let mut view = Udp::new_checked(buffer.as_mut_slice()).unwrap();
        view.set_len_bytes(len_bytes);
        view.fill_checksum(A, B);
        let _ = (view.verify_checksum(A, B), UdpRepr::parse(&view, A, B));
        assert!(view.payload_mut().len() <= 4 && view.payload().len() <= 4);
    }
}

fn snapshot(view: &Udp<&mut [u8]>) -> [u16; 4] {
    [view.source_port(), view.destination_port(), view.len_bytes(), view.checksum()]
}

fn datagram() -> impl Strategy<Value = Vec<u8>> {
    (vec(any::<u8>(), 8..80), 0_usize..9).prop_map(|(mut bytes, padding)| {
        let len_bytes = u16::try_from(bytes.len()).unwrap();
        bytes[4..6].copy_from_slice(&len_bytes.to_be_bytes());
        bytes.resize(bytes.len() + padding, 0xee);
        bytes
    })
}

proptest! {
    // Planted and caught: set_destination_port writes the source port.
    #[test]
    fn a_setter_changes_its_field_only(mut bytes in datagram(), i in 0_usize..4, value: u16) {
        let after = bytes[8..].to_vec();
        let mut view = Udp::new_checked(bytes.as_mut_slice()).unwrap();
        let mut expected = snapshot(&view);
        expected[i] = value;
        match i {
            0 => view.set_source_port(value),
            1 => view.set_destination_port(value),
            2 => view.set_len_bytes(value),
            _ => view.set_checksum(value),
        }
        prop_assert_eq!(snapshot(&view), expected);
        prop_assert_eq!(&bytes[8..], after);
    }

    // Planted and caught: emit leaves out the checksum; a carry lost in the sum.
    #[test]
    fn emit_undoes_parse(mut bytes in datagram(), a: [u8; 4], b: [u8; 4]) {
        let (a, b) = (a.into(), b.into());
        Udp::new_checked(bytes.as_mut_slice()).unwrap().fill_checksum(a, b);
        let repr = UdpRepr::parse(&Udp::new_checked(&bytes).unwrap(), a, b).unwrap();
        let mut copy = bytes.clone();
        copy[..8].fill(0xa5);
        repr.emit(&mut copy, a, b).unwrap();
        prop_assert_eq!(copy, bytes);
    }

    // Planted and caught: the source address summed twice; emit_v6 leaves out the checksum.
    #[test]
    fn emit_undoes_parse_over_ipv6(mut bytes in datagram(), a: [u8; 16], b: [u8; 16]) {
        let len_bytes = u32::from(Udp::new_checked(&bytes).unwrap().len_bytes());
        let (a, b) = (a.into(), b.into());
        Udp::new_checked(bytes.as_mut_slice()).unwrap().fill_checksum_v6(a, b);
        let covered = Sum::of(&bytes[..usize::try_from(len_bytes).unwrap()]);
        let sum = checksum::pseudo_header_v6(a, b, 17, len_bytes).combine(covered);
        prop_assert_eq!(sum.finish(), 0);
        let repr = UdpRepr::parse_v6(&Udp::new_checked_v6(&bytes).unwrap(), a, b).unwrap();
        let mut copy = bytes.clone();
        copy[..8].fill(0xa5);
        repr.emit_v6(&mut copy, a, b).unwrap();
        prop_assert_eq!(copy, bytes);
    }

    // Planted and caught: verify looks at half of the sum; a carry lost in the sum.
    #[test]
    fn a_flipped_bit_shows(mut bytes in datagram(), flip in 0_usize..640) {
        let mut view = Udp::new_checked(bytes.as_mut_slice()).unwrap();
        view.fill_checksum(A, B);
        let len_bits = 8 * usize::from(view.len_bytes());
        let flip = flip % len_bits;
        // Another length sums other bytes: bytes 4 and 5 are left alone.
        let at = if matches!(flip / 8, 4 | 5) { 0 } else { flip / 8 };
        bytes[at] ^= 1 << (flip % 8);
        let view = Udp::new_checked(&bytes).unwrap();
        // A checksum that became 0 is an absent one.
        prop_assert!(view.checksum() == 0 || !view.verify_checksum(A, B));
    }
}
