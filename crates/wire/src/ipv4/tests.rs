//! Tests of the IPv4 header.

use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A header whose checksum is known: 0xb861.
const KNOWN: [u8; 20] = [
    0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01,
    0xc0, 0xa8, 0x00, 0xc7,
];

fn known() -> [u8; 0x73] {
    let mut packet = [7; 0x73];
    packet[..20].copy_from_slice(&KNOWN);
    packet
}

#[test]
fn a_header_by_hand() {
    let mut packet = known();
    let mut view = Ipv4::new_checked(packet.as_mut_slice()).unwrap();
    assert!(view.verify_checksum());
    view.fill_checksum();
    assert_eq!((view.checksum(), view.version(), view.header_len_bytes()), (0xb861, 4, 20));
    assert_eq!((view.ttl(), view.protocol()), (64, protocol::UDP));
    assert!(view.dont_fragment() && !view.more_fragments());
    assert_eq!(view.source(), Ipv4Addr::new(192, 168, 0, 1));
    assert_eq!(view.destination(), Ipv4Addr::new(192, 168, 0, 199));
    assert!(view.options().is_empty());
    assert_eq!(view.payload(), [7; 0x73 - 20]);
}

#[test]
fn padding_is_not_payload_and_options_are_not_either() {
    let mut packet = [0xee; 60];
    packet[..20].copy_from_slice(&KNOWN);
    packet[0] = 0x46;
    packet[3] = 30;
    let mut view = Ipv4::new_checked(packet.as_mut_slice()).unwrap();
    view.options_mut().copy_from_slice(&[1, 1, 1, 0]);
    view.payload_mut().fill(5);
    assert_eq!((view.options(), view.payload()), ([1, 1, 1, 0].as_slice(), [5; 6].as_slice()));
    view.fill_checksum();
    assert!(view.verify_checksum());
    view.options_mut()[0] = 0;
    assert!(!view.verify_checksum());
    assert_eq!(packet[30..], [0xee; 30]);
}

#[test]
fn each_check_has_its_own_error() {
    let layer = Layer::Ipv4;
    let check = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut packet = known().to_vec();
        change(&mut packet);
        Ipv4::new_checked(packet).unwrap_err()
    };
    let field = |offset_bytes, field| Error::Field { layer, offset_bytes, field };
    let short = |offset_bytes, needed_bytes, available_bytes| Error::Short {
        layer,
        offset_bytes,
        needed_bytes,
        available_bytes,
    };
    assert_eq!(check(&|p| p.truncate(19)), short(0, 20, 19));
    assert_eq!(check(&|p| p[0] = 0x65), field(0, "version"));
    assert_eq!(check(&|p| p[0] = 0x44), field(0, "header length"));
    assert_eq!(check(&|p| (p[0] = 0x46, p.truncate(23)).1), short(20, 4, 3));
    assert_eq!(check(&|p| p[3] = 19), field(2, "total length"));
    assert_eq!(check(&|p| (p[0] = 0x4f, p[3] = 59).1), field(2, "total length"));
    assert_eq!(
        check(&|p| p.truncate(0x72)),
        Error::Truncated { layer, offset_bytes: 2, needed_bytes: 0x73, available_bytes: 0x72 }
    );
}

#[test]
fn a_truncated_packet_keeps_what_is_there() {
    let packet = known();
    assert!(Ipv4::new_checked(&packet[..60]).is_err());
    let view = Ipv4::new_truncated(&packet[..60]).unwrap();
    assert_eq!((view.total_len_bytes(), view.payload()), (0x73, &[7; 40][..]));
    assert!(view.verify_checksum());
    for cut in 0..20 {
        assert!(matches!(Ipv4::new_truncated(&packet[..cut]), Err(Error::Short { .. })));
    }
    let field = |byte: u8| {
        let mut packet = known();
        packet[0] = byte;
        Ipv4::new_truncated(packet).unwrap_err()
    };
    assert!(matches!(field(0x65), Error::Field { field: "version", .. }));
    assert!(matches!(field(0x44), Error::Field { field: "header length", .. }));
    let mut packet = known();
    packet[0] = 0x46;
    assert!(matches!(
        Ipv4::new_truncated(&packet[..23]),
        Err(Error::Short { offset_bytes: 20, needed_bytes: 4, available_bytes: 3, .. })
    ));
    // A total length of 0 is what a capture sees in front of segmentation offload.
    packet[2..4].fill(0);
    let view = Ipv4::new_truncated(&packet).unwrap();
    assert_eq!((view.options().len(), view.payload().len()), (4, 0));
}

#[test]
fn a_voided_check_cuts_and_does_not_panic() {
    for (header_len_bytes, total_len_bytes) in [(0, 0), (60, 0), (60, 0xffff), (20, 0xffff)] {
        let mut packet = known();
        let mut view = Ipv4::new_checked(&mut packet[..]).unwrap();
        view.set_header_len_bytes(header_len_bytes);
        view.set_total_len_bytes(total_len_bytes);
        view.payload_mut().fill(1);
        view.options_mut().fill(1);
        view.fill_checksum();
        assert!(view.verify_checksum());
        assert!(view.payload().len() + view.options().len() <= 0x73);
    }
    let mut small = KNOWN;
    small[3] = 20;
    let mut view = Ipv4::new_checked(&mut small[..]).unwrap();
    view.set_header_len_bytes(60);
    view.fill_checksum();
    assert!(view.options().is_empty() && view.payload_mut().is_empty());
}

#[test]
fn what_is_not_representable_is_refused() {
    let refused = |change: &dyn Fn(&mut Ipv4<&mut [u8]>)| {
        let mut packet = known();
        let mut view = Ipv4::new_checked(packet.as_mut_slice()).unwrap();
        change(&mut view);
        match Ipv4Repr::parse(&view) {
            Err(Error::Field { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(&|v| v.set_ttl(1)), "checksum");
    assert_eq!(refused(&|v| (v.set_header_len_bytes(24), v.fill_checksum()).1), "options");
    assert_eq!(refused(&|v| (v.set_reserved_flag(true), v.fill_checksum()).1), "reserved flag");
    let good = Ipv4Repr::parse(&Ipv4::new_checked(known()).unwrap()).unwrap();
    let mut room = [0; 0x73];
    assert!(good.emit(&mut room).is_ok());
    assert!(matches!(good.emit(&mut room[..0x72]), Err(Error::Truncated { .. })));
    assert!(matches!(good.emit(&mut room[..19]), Err(Error::Short { .. })));
    for bad in [
        Ipv4Repr { dscp: 64, ..good },
        Ipv4Repr { ecn: 4, ..good },
        Ipv4Repr { fragment_offset_bytes: 4, ..good },
        Ipv4Repr { payload_len_bytes: 65516, ..good },
    ] {
        assert!(matches!(bad.emit(&mut room), Err(Error::Field { .. })));
    }
}

/// Every field as a number, in the order of [`set`].
fn snapshot(view: &Ipv4<&mut [u8]>) -> [u64; 15] {
    [
        view.version().into(),
        view.header_len_bytes() as u64,
        view.dscp().into(),
        view.ecn().into(),
        view.total_len_bytes().into(),
        view.identification().into(),
        view.dont_fragment().into(),
        view.more_fragments().into(),
        view.fragment_offset_bytes().into(),
        view.ttl().into(),
        view.protocol().into(),
        view.checksum().into(),
        view.source().to_bits().into(),
        view.destination().to_bits().into(),
        view.reserved_flag().into(),
    ]
}

/// Sets field `i` from the low bits of `value` and returns what must be read back.
fn set(view: &mut Ipv4<&mut [u8]>, i: usize, value: u32) -> u64 {
    let [byte, ..] = value.to_le_bytes();
    let word = u16::try_from(value & 0xffff).unwrap();
    let (byte_read, word_read) = (u64::from(byte), u64::from(word));
    match i {
        0 => (view.set_version(byte), byte_read % 16).1,
        1 => (view.set_header_len_bytes(byte.into()), (byte_read / 4 * 4).min(60)).1,
        2 => (view.set_dscp(byte), byte_read % 64).1,
        3 => (view.set_ecn(byte), byte_read % 4).1,
        4 => (view.set_total_len_bytes(word), word_read).1,
        5 => (view.set_identification(word), word_read).1,
        6 => (view.set_dont_fragment(byte % 2 == 1), byte_read % 2).1,
        7 => (view.set_more_fragments(byte % 2 == 1), byte_read % 2).1,
        8 => (view.set_fragment_offset_bytes(word), word_read / 8 * 8).1,
        9 => (view.set_ttl(byte), byte_read).1,
        10 => (view.set_protocol(byte), byte_read).1,
        11 => (view.set_checksum(word), word_read).1,
        12 => (view.set_source(value.into()), value.into()).1,
        13 => (view.set_destination(value.into()), value.into()).1,
        _ => (view.set_reserved_flag(byte % 2 == 1), byte_read % 2).1,
    }
}

proptest! {
    // Planted and caught: flags that can only be set; set_dscp clears ecn; the offset clears
    // the flags; the last fragment taken for a whole packet; set_reserved_flag writes another one.
    #[test]
    fn a_setter_changes_its_field_only(
        header: [u8; 20], ones: bool, changes in vec((0_usize..15, any::<u32>()), 1..20),
    ) {
        let mut packet = [0xff; 60];
        if !ones {
            packet[..20].copy_from_slice(&header);
        }
        packet[..4].copy_from_slice(&[0x45, header[1], 0, 60]);
        let mut view = Ipv4::new_checked(packet.as_mut_slice()).unwrap();
        for (i, value) in changes {
            let mut expected = snapshot(&view);
            expected[i] = set(&mut view, i, value);
            prop_assert_eq!(snapshot(&view), expected);
            let is_part = view.more_fragments() || view.fragment_offset_bytes() != 0;
            prop_assert_eq!(view.is_fragment(), is_part);
        }
        prop_assert_eq!(&packet[20..], &[0xff; 40]);
    }

    // Planted and caught: emit leaves out more_fragments; the offset clears the flags; a fold
    // without end-around carry.
    #[test]
    fn emit_undoes_parse(
        header: [u8; 20], payload in vec(any::<u8>(), 0..40), padding in 0_usize..9,
    ) {
        let mut packet = header.to_vec();
        packet.extend(&payload);
        let total_len_bytes = u8::try_from(packet.len()).unwrap();
        packet.resize(packet.len() + padding, 0xee);
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&[0, total_len_bytes]);
        packet[6] &= 0x7f;
        Ipv4::new_checked(packet.as_mut_slice()).unwrap().fill_checksum();
        let repr = Ipv4Repr::parse(&Ipv4::new_checked(&packet).unwrap()).unwrap();
        let mut copy = packet.clone();
        copy[..20].fill(0xa5);
        let view = repr.emit(&mut copy).unwrap();
        prop_assert!(Ipv4::new_checked(view.into_inner()).is_ok());
        prop_assert_eq!(copy, packet);
    }
}

#[test]
fn options_by_hand() {
    let bytes = [
        1, 7, 7, 8, 10, 0, 0, 1, 131, 3, 4, 137, 7, 4, 10, 0, 0, 2, 68, 8, 9, 0x21, 0, 0, 0, 5,
        148, 4, 0, 0, 130, 3, 9, 0, 7, 7,
    ];
    let options = [
        Ipv4Option::Nop,
        Ipv4Option::RecordRoute(Route { pointer: 8, addresses: &[[10, 0, 0, 1]] }),
        Ipv4Option::LooseSourceRoute(Route { pointer: 4, addresses: &[] }),
        Ipv4Option::StrictSourceRoute(Route { pointer: 4, addresses: &[[10, 0, 0, 2]] }),
        Ipv4Option::Timestamp(TimeRecord {
            pointer: 9,
            overflow: 2,
            flag: 1,
            words: &[[0, 0, 0, 5]],
        }),
        Ipv4Option::RouterAlert(0),
        Ipv4Option::Other { option_type: 130, data: &[9] },
        Ipv4Option::End,
    ];
    let read: Vec<_> = Options::new(&bytes).map(Result::unwrap).collect();
    assert_eq!(read, options);
    let Ipv4Option::StrictSourceRoute(route) = read[3] else { panic!("{read:?}") };
    assert_eq!(route.iter().collect::<Vec<_>>(), [Ipv4Addr::new(10, 0, 0, 2)]);
    let mut copy = [0xee; 40];
    assert_eq!(write_options(&options, &mut copy), Ok(36));
    assert_eq!((&copy[..34], &copy[34..36]), (&bytes[..34], &[0, 0][..]));
    assert_eq!(copy[36..], [0xee; 4]);
}

#[test]
fn bad_options_end_the_list() {
    for (bytes, offset_bytes) in [
        (&[1, 7, 1, 0][..], 22),
        (&[7, 2, 0, 0], 21),
        (&[131, 4, 4, 0], 21),
        (&[68, 3, 5, 0], 21),
        (&[68, 5, 5, 0, 0], 21),
        (&[148, 3, 0, 0], 21),
        (&[130, 0, 0, 0], 21),
    ] {
        let mut options = Options::new(bytes);
        let error = options.find_map(Result::err);
        let expected = Error::Field { layer: Layer::Ipv4, offset_bytes, field: "option length" };
        assert_eq!((error, options.next()), (Some(expected), None), "{bytes:?}");
    }
    for (bytes, offset_bytes, needed_bytes, available_bytes) in
        [(&[1, 7][..], 21, 2, 1), (&[148, 4, 0], 20, 4, 3), (&[130, 255, 0], 20, 255, 3)]
    {
        let expected =
            Error::Short { layer: Layer::Ipv4, offset_bytes, needed_bytes, available_bytes };
        assert_eq!(Options::new(bytes).last(), Some(Err(expected)), "{bytes:?}");
    }
}

#[test]
fn options_that_cannot_be_written_are_refused() {
    let good = Ipv4Repr::parse(&Ipv4::new_checked(known()).unwrap()).unwrap();
    let words = [[0; 4]; 10];
    let record = TimeRecord { pointer: 5, overflow: 0, flag: 0, words: &words[..1] };
    let mut room = [0xee; 0x80];
    for option in [
        Ipv4Option::RecordRoute(Route { pointer: 4, addresses: &words }),
        Ipv4Option::Timestamp(TimeRecord { overflow: 16, ..record }),
        Ipv4Option::Timestamp(TimeRecord { flag: 16, ..record }),
        Ipv4Option::Other { option_type: 0, data: &[] },
        Ipv4Option::Other { option_type: 1, data: &[] },
        Ipv4Option::Other { option_type: 148, data: &[0, 0] },
        Ipv4Option::Other { option_type: 7, data: &[] },
    ] {
        let refused = good.emit_with_options(&[option], &mut room);
        assert!(matches!(refused, Err(Error::Field { .. })), "{option:?}");
    }
    let alert = [Ipv4Option::RouterAlert(0)];
    let long = Ipv4Repr { payload_len_bytes: 65512, ..good };
    let refused = long.emit_with_options(&alert, &mut room);
    assert!(matches!(refused, Err(Error::Field { field: "total length", .. })));
    let cut = good.emit_with_options(&alert, &mut room[..0x76]);
    assert!(matches!(cut, Err(Error::Truncated { needed_bytes: 0x77, .. })));
    let cut = good.emit_with_options(&alert, &mut room[..23]);
    assert!(matches!(cut, Err(Error::Short { needed_bytes: 24, .. })));
    assert!(matches!(write_options(&alert, &mut room[..3]), Err(Error::Short { .. })));
    assert_eq!(room, [0xee; 0x80]);
}

proptest! {
    // Planted and caught: the total length without the options; a timestamp's flag left out; a
    // source route written with the other one's type.
    #[test]
    fn emit_with_options_undoes_parse(
        kinds in vec(prop::sample::select(&[1_u8, 7, 68, 130, 131, 137, 148][..]), 0..8),
        words in vec(any::<[u8; 4]>(), 0..3), pointer: u8, value: u16,
        payload in vec(any::<u8>(), 0..40),
    ) {
        let route = Route { pointer, addresses: &words };
        let options: Vec<_> = kinds
            .iter()
            .map(|kind| match kind {
                1 => Ipv4Option::Nop,
                7 => Ipv4Option::RecordRoute(route),
                68 => Ipv4Option::Timestamp(TimeRecord {
                    pointer,
                    overflow: pointer / 16,
                    flag: pointer % 16,
                    words: &words,
                }),
                131 => Ipv4Option::LooseSourceRoute(route),
                137 => Ipv4Option::StrictSourceRoute(route),
                148 => Ipv4Option::RouterAlert(value),
                _ => Ipv4Option::Other { option_type: 130, data: &payload },
            })
            .collect();
        let needed: usize = options.iter().map(Ipv4Option::len_bytes).sum();
        let good = Ipv4Repr::parse(&Ipv4::new_checked(known()).unwrap()).unwrap();
        let payload_len_bytes = u16::try_from(payload.len()).unwrap();
        let repr = Ipv4Repr { payload_len_bytes, ..good };
        let start = 20 + needed.next_multiple_of(4);
        let mut packet = [0xa5].repeat(start);
        packet.extend(&payload);
        packet.extend([0xee; 3]);
        let emitted = repr.emit_with_options(&options, &mut packet);
        prop_assert_eq!(emitted.is_ok(), needed <= 40);
        if needed <= 40 {
            let view = Ipv4::new_checked(&packet).unwrap();
            prop_assert_eq!(view.payload(), &payload);
            let (parsed, read) = Ipv4Repr::parse_with_options(&view).unwrap();
            prop_assert_eq!(parsed, repr);
            let mut expected = options;
            expected.extend((!needed.is_multiple_of(4)).then_some(Ipv4Option::End));
            prop_assert_eq!(read.collect::<Result<Vec<_>, _>>(), Ok(expected));
            prop_assert!(packet[20 + needed..start].iter().all(|byte| *byte == 0));
            prop_assert_eq!(&packet[start + payload.len()..], &[0xee; 3]);
        }
    }
}
