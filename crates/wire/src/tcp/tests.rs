//! Tests of TCP.

use std::vec;
use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const A6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const B6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

/// The options of a SYN that the kernel sends.
const SYN_OPTIONS: [u8; 20] = [2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 1, 2, 3, 0, 0, 0, 0, 1, 3, 3, 7];

fn syn() -> TcpRepr {
    TcpRepr {
        sequence: 0x0102_0304,
        flags: Flags::SYN | Flags::ECE | Flags::CWR,
        window: 64240,
        mss: Some(1460),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some(Timestamps { value: 0x1_0203, echo_reply: 0 }),
        ..TcpRepr::new(4000, 80)
    }
}

#[test]
fn a_syn_by_hand() {
    let mut segment = [0xee; 40];
    syn().emit(&mut segment, A, B).unwrap();
    assert_eq!(segment[..16], [0x0f, 0xa0, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0, 0xa0, 0xc2, 0xfa, 0xf0]);
    assert_eq!(segment[18..20], [0, 0]);
    assert_eq!(segment[20..], SYN_OPTIONS);
    // 0a00+0001+0a00+0002+0006+0028 + 0fa0+0050+0102+0304+a0c2+faf0
    // + 0204+05b4+0402+080a+0001+0203+0103+0307 = 1ddab, end-around ddac, complement 2253
    assert_eq!(segment[16..18], [0x22, 0x53]);
    let view = Tcp::new_checked(&segment).unwrap();
    assert!(view.verify_checksum(A, B) && !view.verify_checksum(A, A));
    assert!(view.payload().is_empty());
}

#[test]
fn each_check_has_its_own_error() {
    let layer = Layer::Tcp;
    let mut segment = [0; 40];
    syn().emit(&mut segment, A, B).unwrap();
    let short = |offset_bytes, needed_bytes, available_bytes| Error::Short {
        layer,
        offset_bytes,
        needed_bytes,
        available_bytes,
    };
    assert_eq!(Tcp::new_checked(&segment[..19]).unwrap_err(), short(0, 20, 19));
    assert_eq!(Tcp::new_checked(&segment[..39]).unwrap_err(), short(20, 20, 19));
    segment[12] = 0x40;
    let bad = Error::Field { layer, offset_bytes: 12, field: "data offset" };
    assert_eq!(Tcp::new_checked(&segment).unwrap_err(), bad);
}

#[test]
fn options_by_hand() {
    let blocks = [SackBlock { left: 1, right: 2 }, SackBlock { left: 3, right: 4 }];
    let options = [
        TcpOption::Nop,
        TcpOption::Sack(SackBlocks::new(&blocks).unwrap()),
        TcpOption::FastOpen(&[9, 8, 7, 6]),
        TcpOption::Mptcp(&[0, 1]),
        TcpOption::Other { kind: 253, data: &[5] },
        TcpOption::Mss(536),
        TcpOption::End,
    ];
    let mut bytes = [0xee; 40];
    assert_eq!(write_options(&options, &mut bytes), Ok(40));
    assert_eq!(bytes[..3], [1, 5, 18]);
    assert_eq!(bytes[19..40], [34, 6, 9, 8, 7, 6, 30, 4, 0, 1, 253, 3, 5, 2, 4, 2, 24, 0, 0, 0, 0]);
    let read: Vec<_> = Options::new(&bytes).map(Result::unwrap).collect();
    assert_eq!(read, options);
    assert_eq!(write_options(&[TcpOption::SackPermitted], &mut bytes[..4]), Ok(4));
    assert_eq!(bytes[..4], [4, 2, 0, 0]);
    assert_eq!(SackBlocks::new(&[]), None);
    assert_eq!(SackBlocks::new(&[blocks[0]; 5]), None);
    assert_eq!(SackBlocks::new(&[blocks[0]; 4]).unwrap().as_slice(), [blocks[0]; 4]);
}

#[test]
fn bad_options_end_the_list() {
    for (bytes, offset_bytes) in [
        (&[1, 2, 3, 0][..], 22),
        (&[2, 0, 0, 0], 21),
        (&[4, 1], 21),
        (&[5, 2], 21),
        (&[5, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0], 21),
        (&[8, 3, 1, 0], 21),
        (&[3, 4, 1, 0], 21),
        (&[4, 3, 1, 0], 21),
    ] {
        let mut options = Options::new(bytes);
        let error = options.find_map(Result::err);
        let expected = Error::Field { layer: Layer::Tcp, offset_bytes, field: "option length" };
        assert_eq!((error, options.next()), (Some(expected), None), "{bytes:?}");
    }
    for (bytes, offset_bytes, needed_bytes, available_bytes) in
        [(&[1, 254][..], 21, 2, 1), (&[2, 4, 5], 20, 4, 3), (&[77, 255, 0], 20, 255, 3)]
    {
        let expected =
            Error::Short { layer: Layer::Tcp, offset_bytes, needed_bytes, available_bytes };
        assert_eq!(Options::new(bytes).last(), Some(Err(expected)), "{bytes:?}");
    }
    assert_eq!(Options::new(&[0, 77, 1]).count(), 1);
}

#[test]
fn what_cannot_be_written_is_refused_and_nothing_is_written() {
    let long = [0; 39];
    let mut bytes = [0xee; 48];
    for options in [
        vec![TcpOption::Other { kind: 253, data: &long }],
        vec![TcpOption::Other { kind: 0, data: &[] }],
        vec![TcpOption::Other { kind: 1, data: &[] }],
        vec![TcpOption::Other { kind: 2, data: &[1, 2] }],
        vec![TcpOption::Other { kind: 2, data: &[1] }],
        vec![TcpOption::Nop; 41],
    ] {
        let refused = write_options(&options, &mut bytes);
        assert!(matches!(refused, Err(Error::Field { .. })), "{options:?}");
    }
    let short = write_options(&[TcpOption::WindowScale(1)], &mut bytes[..3]);
    assert!(matches!(short, Err(Error::Short { needed_bytes: 4, available_bytes: 3, .. })));
    assert_eq!(bytes, [0xee; 48]);
}

#[test]
fn what_is_not_representable_is_refused() {
    let refused = |options: &[TcpOption<'_>], change: &dyn Fn(&mut Tcp<&mut [u8]>)| {
        let mut segment = [0; 60];
        let mut view = TcpRepr::new(1, 2).emit(&mut segment, A, B).unwrap();
        view.set_header_len_bytes(60);
        write_options(options, view.options_mut()).unwrap();
        change(&mut view);
        view.fill_checksum(A, B);
        match TcpRepr::parse(&view, A, B) {
            Err(Error::Field { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    };
    let nothing = |_: &mut Tcp<&mut [u8]>| {};
    let sack = SackBlocks::new(&[SackBlock::default()]).unwrap();
    for options in [
        &[TcpOption::Sack(sack)][..],
        &[TcpOption::Mptcp(&[])],
        &[TcpOption::FastOpen(&[])],
        &[TcpOption::Other { kind: 99, data: &[] }],
        &[TcpOption::Mss(1), TcpOption::Mss(1)],
        &[TcpOption::WindowScale(1), TcpOption::WindowScale(1)],
        &[TcpOption::SackPermitted, TcpOption::SackPermitted],
        &[TcpOption::WindowScale(15)],
    ] {
        assert_eq!(refused(options, &nothing), "options", "{options:?}");
    }
    assert_eq!(refused(&[], &|v| v.set_reserved(1)), "reserved bits");
    assert_eq!(refused(&[], &|v| v.options_mut()[0] = 2), "option length");
    let mut segment = [0; 40];
    let view = syn().emit(&mut segment, A, B).unwrap();
    assert!(TcpRepr::parse(&view, A, A).is_err() && TcpRepr::parse_v6(&view, A6, B6).is_err());
    let bad = TcpRepr { window_scale: Some(15), ..syn() };
    assert!(matches!(bad.emit(&mut segment, A, B), Err(Error::Field { .. })));
    assert!(matches!(syn().emit(&mut segment[..39], A, B), Err(Error::Short { .. })));
}

#[test]
fn a_voided_check_cuts_and_does_not_panic() {
    for header_len_bytes in [0, 16, 20, 24, 60, usize::MAX] {
        let mut segment = [7; 30];
        let mut view = TcpRepr::new(1, 2).emit(&mut segment, A, B).unwrap();
        view.set_header_len_bytes(header_len_bytes);
        view.fill_checksum(A, B);
        assert!(view.verify_checksum(A, B));
        let _ = (view.options_iter().count(), TcpRepr::parse(&view, A, B));
        assert_eq!(view.options().len(), view.options_mut().len());
        assert_eq!(view.payload().len(), view.payload_mut().len());
    }
}

#[test]
fn the_length_of_a_large_segment_counts_above_16_bits() {
    let mut segment = vec![0x11; 0x2_0014];
    TcpRepr::new(1, 2).emit(&mut segment, A, B).unwrap();
    let pseudo = [10, 0, 0, 1, 10, 0, 0, 2, 0, 6, 0, 2, 0, 0x14];
    let whole: Vec<u8> = pseudo.into_iter().chain(segment.iter().copied()).collect();
    assert!(checksum::verify(&whole));
}

#[test]
fn flags_are_a_set() {
    let all = [
        Flags::FIN,
        Flags::SYN,
        Flags::RST,
        Flags::PSH,
        Flags::ACK,
        Flags::URG,
        Flags::ECE,
        Flags::CWR,
        Flags::AE,
    ];
    for (i, flag) in all.into_iter().enumerate() {
        assert_eq!(flag.bits(), 1 << i);
    }
    assert_eq!(all.into_iter().fold(Flags::NONE, Flags::union), Flags::ALL);
    assert_eq!(Flags::from_bits(0xffff), Flags::ALL);
    let syn_ack = Flags::SYN | Flags::ACK;
    assert!(syn_ack.contains(Flags::SYN) && !Flags::SYN.contains(syn_ack));
    assert_eq!(syn_ack.with(Flags::ACK, false), Flags::SYN);
}

/// Every field as a number, in the order of [`set`].
fn snapshot(view: &Tcp<&mut [u8]>) -> [u32; 18] {
    [
        view.source_port().into(),
        view.destination_port().into(),
        view.sequence(),
        view.acknowledgment(),
        u32::try_from(view.header_len_bytes()).unwrap(),
        view.reserved().into(),
        view.window().into(),
        view.checksum().into(),
        view.urgent_pointer().into(),
        view.fin().into(),
        view.syn().into(),
        view.rst().into(),
        view.psh().into(),
        view.ack().into(),
        view.urg().into(),
        view.ece().into(),
        view.cwr().into(),
        view.ae().into(),
    ]
}

/// Sets field `i` from the low bits of `value` and returns what must be read back.
fn set(view: &mut Tcp<&mut [u8]>, i: usize, value: u32) -> u32 {
    let [byte, second, ..] = value.to_le_bytes();
    let word = u16::from_le_bytes([byte, second]);
    let is_set = value % 2 == 1;
    match i {
        0 => view.set_source_port(word),
        1 => view.set_destination_port(word),
        2 => view.set_sequence(value),
        3 => view.set_acknowledgment(value),
        4 => view.set_header_len_bytes(byte.into()),
        5 => view.set_reserved(byte),
        6 => view.set_window(word),
        7 => view.set_checksum(word),
        8 => view.set_urgent_pointer(word),
        9 => view.set_fin(is_set),
        10 => view.set_syn(is_set),
        11 => view.set_rst(is_set),
        12 => view.set_psh(is_set),
        13 => view.set_ack(is_set),
        14 => view.set_urg(is_set),
        15 => view.set_ece(is_set),
        16 => view.set_cwr(is_set),
        _ => view.set_ae(is_set),
    }
    match i {
        0 | 1 | 6..=8 => word.into(),
        2 | 3 => value,
        4 => u32::from(byte / 4 * 4).min(60),
        5 => value % 8,
        _ => value % 2,
    }
}

/// A header with some of the options.
fn repr() -> impl Strategy<Value = TcpRepr> {
    let numbers = any::<(u16, u16, u32, u32, u16, u16, u16)>();
    let options = (any::<Option<u16>>(), prop::option::of(0_u8..15), any::<bool>());
    (numbers, options, any::<Option<(u32, u32)>>()).prop_map(|(numbers, options, timestamps)| {
        let (mss, window_scale, sack_permitted) = options;
        TcpRepr {
            source_port: numbers.0,
            destination_port: numbers.1,
            sequence: numbers.2,
            acknowledgment: numbers.3,
            flags: Flags::from_bits(numbers.4),
            window: numbers.5,
            urgent_pointer: numbers.6,
            mss,
            window_scale,
            sack_permitted,
            timestamps: timestamps.map(|(value, echo_reply)| Timestamps { value, echo_reply }),
        }
    })
}

/// One option as plain values.
fn option(kind: u8, numbers: (u32, u32), data: &[u8]) -> TcpOption<'_> {
    let block = SackBlock { left: numbers.0, right: numbers.1 };
    match kind {
        1 => TcpOption::Nop,
        2 => TcpOption::Mss(u16::try_from(numbers.0 % 0x1_0000).unwrap()),
        3 => TcpOption::WindowScale(u8::try_from(numbers.0 % 256).unwrap()),
        4 => TcpOption::SackPermitted,
        5 => TcpOption::Sack(SackBlocks::new(&[block; 4][..1 + data.len() % 4]).unwrap()),
        8 => TcpOption::Timestamps(Timestamps { value: numbers.0, echo_reply: numbers.1 }),
        30 => TcpOption::Mptcp(data),
        34 => TcpOption::FastOpen(data),
        kind => TcpOption::Other { kind, data },
    }
}

proptest! {
    // Planted and caught: a flag that can only be set; set_header_len_bytes clears AE;
    // set_reserved clears AE.
    #[test]
    fn a_setter_changes_its_field_only(
        mut header: [u8; 20], changes in vec((0_usize..18, any::<u32>()), 1..20),
    ) {
        header[12] = header[12] & 0x0f | 0x50;
        let mut segment = [0xff; 60];
        segment[..20].copy_from_slice(&header);
        let mut view = Tcp::new_checked(segment.as_mut_slice()).unwrap();
        for (i, value) in changes {
            let mut expected = snapshot(&view);
            expected[i] = set(&mut view, i, value);
            prop_assert_eq!(snapshot(&view), expected);
        }
        prop_assert_eq!(&segment[20..], &[0xff; 40]);
    }

    // Planted and caught: emit leaves out the urgent pointer; parse leaves out SACK permitted; the
    // checksum over IPv6 with the source address twice.
    #[test]
    fn parse_undoes_emit_and_emit_undoes_parse(
        repr in repr(), payload in vec(any::<u8>(), 0..40), a: [u8; 16], b: [u8; 16],
    ) {
        let start = repr.header_len_bytes();
        let mut segment = vec![0xa5; start];
        segment.extend(&payload);
        let view = repr.emit(&mut segment, A, B).unwrap();
        prop_assert_eq!(view.payload(), &payload);
        prop_assert_eq!(TcpRepr::parse(&view, A, B), Ok(repr));
        let (a, b) = (a.into(), b.into());
        let view = repr.emit_v6(&mut segment, a, b).unwrap();
        prop_assert_eq!(TcpRepr::parse_v6(&view, a, b), Ok(repr));
        let sum = checksum::pseudo_header_v6(a, b, 6, u32::try_from(segment.len()).unwrap());
        prop_assert_eq!(sum.combine(Sum::of(&segment)).finish(), 0);
        let mut copy = segment.clone();
        copy[..start].fill(0x5a);
        let parsed = TcpRepr::parse_v6(&Tcp::new_checked(&segment).unwrap(), a, b).unwrap();
        parsed.emit_v6(&mut copy, a, b).unwrap();
        prop_assert_eq!(copy, segment);
    }

    // Planted and caught: a SACK block's right end read as its left; the padding not written; an
    // option's length without its first two bytes.
    #[test]
    fn written_options_are_read_back(
        kinds in vec(prop::sample::select(&[1_u8, 2, 3, 4, 5, 8, 30, 34, 77, 253][..]), 0..8),
        numbers: (u32, u32), data in vec(any::<u8>(), 0..9),
    ) {
        let options: Vec<_> = kinds.iter().map(|kind| option(*kind, numbers, &data)).collect();
        let needed: usize = options.iter().map(TcpOption::len_bytes).sum();
        let mut room = [0xee; 44];
        match write_options(&options, &mut room) {
            Ok(len_bytes) => {
                prop_assert_eq!(len_bytes, needed.div_ceil(4) * 4);
                let read: Result<Vec<_>, _> = Options::new(&room[..len_bytes]).collect();
                let mut expected = options;
                expected.extend((needed < len_bytes).then_some(TcpOption::End));
                prop_assert_eq!(read, Ok(expected));
                prop_assert!(room[needed..len_bytes].iter().all(|byte| *byte == 0));
                prop_assert!(room[len_bytes..].iter().all(|byte| *byte == 0xee));
            }
            Err(_) => prop_assert!(needed > 40),
        }
    }
}
