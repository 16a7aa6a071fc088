//! Tests of the extension headers.

use std::vec;
use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// The next header values that announce extension headers.
const KINDS: [u8; 8] = [0, 43, 44, 51, 60, 135, 139, 140];

/// Builds a chain of headers of these types and length bytes, filled with `fill`, in front of
/// `last`; returns the first type, the bytes, and where each header begins.
fn chain(headers: &[(u8, u8)], last: u8, fill: u8) -> (u8, Vec<u8>, Vec<usize>) {
    let (mut bytes, mut starts) = (Vec::new(), Vec::new());
    for (i, (kind, length)) in headers.iter().enumerate() {
        let next = headers.get(i + 1).map_or(last, |(kind, _)| *kind);
        let length = *length;
        let len_bytes = match *kind {
            44 => 8,
            51 => 8 + 4 * usize::from(length),
            _ => 8 + 8 * usize::from(length),
        };
        starts.push(bytes.len());
        bytes.extend([next, length]);
        bytes.resize(bytes.len() + len_bytes - 2, fill);
    }
    (headers.first().map_or(last, |(kind, _)| *kind), bytes, starts)
}

#[test]
fn the_walk_ends_where_headers_end() {
    for last in [6, 17, 50, 58, 59, 255] {
        let (first, bytes, _) = chain(&[(0, 1), (60, 0), (43, 2), (44, 0), (51, 4)], last, 0);
        let upper = upper_layer(first, &bytes).unwrap();
        assert_eq!((upper.protocol, upper.offset_bytes), (last, 16 + 8 + 24 + 8 + 24));
        assert!(upper.fragment.is_some() && !upper.is_fragment() && upper.has_header());
    }
    let none = upper_layer(17, &[]).unwrap();
    assert_eq!((none.protocol, none.offset_bytes, none.fragment), (17, 0, None));
    assert!(!none.is_fragment() && none.has_header());
}

#[test]
fn behind_a_later_fragment_is_no_header() {
    let (first, mut bytes, starts) = chain(&[(60, 0), (44, 0), (60, 0)], 17, 0);
    bytes[starts[1] + 2..][..6].copy_from_slice(&[0, 9, 0, 0, 1, 2]);
    let upper = upper_layer(first, &bytes).unwrap();
    assert_eq!((upper.protocol, upper.offset_bytes), (60, 16));
    assert!(upper.is_fragment() && !upper.has_header());
    assert_eq!(upper.fragment.unwrap().fragment_offset_bytes, 8);
    assert_eq!(upper.fragment.unwrap().identification, 0x0102);
    // The first fragment's chain goes on.
    bytes[starts[1] + 3] = 1;
    let upper = upper_layer(first, &bytes).unwrap();
    assert_eq!((upper.protocol, upper.offset_bytes), (17, 24));
    assert!(upper.is_fragment() && upper.has_header());
}

#[test]
fn sixteen_headers_are_walked_and_a_seventeenth_is_not() {
    let (first, bytes, _) = chain(&[(60, 0); MAX_EXTENSIONS], 17, 0);
    assert_eq!(upper_layer(first, &bytes).unwrap().offset_bytes, 128);
    let (first, bytes, _) = chain(&[(60, 0); MAX_EXTENSIONS + 1], 17, 0);
    let expected =
        Error::Field { layer: LAYER, offset_bytes: 128, field: "extension header count" };
    assert_eq!(upper_layer(first, &bytes).unwrap_err(), expected);
    assert_eq!(Extensions::new(first, &bytes).count(), 17);
}

#[test]
fn a_header_that_is_cut_names_what_is_missing() {
    let (first, bytes, _) = chain(&[(0, 0), (51, 3)], 6, 0);
    for cut in 8..bytes.len() {
        let available_bytes = cut - 8;
        let needed_bytes = if available_bytes < 8 { 8 } else { 20 };
        assert_eq!(
            upper_layer(first, &bytes[..cut]).unwrap_err(),
            Error::Short { layer: LAYER, offset_bytes: 8, needed_bytes, available_bytes }
        );
        let mut walk = Extensions::new(first, &bytes[..cut]);
        assert!(walk.next().unwrap().is_ok() && walk.next().unwrap().is_err());
        assert!(walk.next().is_none());
    }
}

#[test]
fn options_by_hand() {
    let header = [17, 2, 0, 1, 2, 0, 0, 5, 2, 0, 1, 0xc2, 4, 0, 1, 0, 0, 0x1e, 3, 1, 2, 3, 1, 0];
    let options: Vec<_> = Options::new(&header).map(Result::unwrap).collect();
    assert_eq!(
        options,
        [
            Ipv6Option::Pad1,
            Ipv6Option::PadN(&[0, 0]),
            Ipv6Option::RouterAlert { value: 1 },
            Ipv6Option::JumboPayload { len_bytes: 0x1_0000 },
            Ipv6Option::Other { option_type: 0x1e, data: &[1, 2, 3] },
            Ipv6Option::PadN(&[]),
        ]
    );
    let errors = |header: &[u8]| {
        let mut options = Options::new(header);
        let error = options.find_map(Result::err);
        assert!(options.next().is_none());
        error
    };
    let short = |offset_bytes, needed_bytes, available_bytes| {
        Some(Error::Short { layer: LAYER, offset_bytes, needed_bytes, available_bytes })
    };
    let field = |field| Some(Error::Field { layer: LAYER, offset_bytes: 3, field });
    assert_eq!(errors(&[17, 0, 0, 1, 4, 0, 0, 0]), short(3, 6, 5));
    assert_eq!(errors(&[17, 0, 0, 0, 0, 0, 0, 1]), short(7, 2, 1));
    assert_eq!(errors(&[17, 0, 0, 0xc2, 3, 0, 0, 0]), field("jumbo payload option"));
    assert_eq!(errors(&[17, 0, 0, 5, 3, 0, 0, 0]), field("router alert option"));
    assert_eq!((errors(&[]), errors(&[17]), errors(&[17, 0])), (None, None, None));
}

#[test]
fn the_final_destination_is_the_last_segment() {
    let (a, b) = ([0xaa; 16], [0xbb; 16]);
    let mut header = vec![17, 4, 0, 1, 0, 0, 0, 0];
    header.extend(a);
    header.extend(b);
    header.extend([0xcc; 9]);
    let read = |header: &[u8]| {
        let last = Routing::new_checked(header).unwrap().final_destination();
        assert_eq!(upper_layer(43, header).unwrap().final_destination, last);
        last
    };
    let with = |routing_type, segments_left| {
        let mut header = header.clone();
        header[2..4].copy_from_slice(&[routing_type, segments_left]);
        read(&header)
    };
    assert_eq!((with(0, 1), with(2, 1)), (Some(b.into()), Some(a.into())));
    assert_eq!((with(4, 1), with(4, 2), with(3, 1)), (Some(a.into()), Some(a.into()), None));
    assert_eq!((with(0, 0), with(2, 0), with(4, 0)), (None, None, None));
    for routing_type in [0, 2, 4] {
        assert_eq!(read(&[17, 1, routing_type, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]), None);
    }
    assert!(matches!(Routing::new_checked(&header[..39]), Err(Error::Short { .. })));
    assert!(matches!(Routing::new_checked(&header[..7]), Err(Error::Short { .. })));
}

#[test]
fn a_routing_header_written_in_place() {
    let mut buffer = [0xff; 40];
    buffer[1] = 4;
    let mut view = Routing::new_checked(buffer.as_mut_slice()).unwrap();
    view.set_next_header(6);
    view.set_routing_type(4);
    view.set_segments_left(2);
    view.data_mut().fill(5);
    assert_eq!((view.next_header(), view.routing_type(), view.segments_left()), (6, 4, 2));
    assert_eq!((view.data(), view.payload().len()), ([5; 36].as_slice(), 0));
    for (len_bytes, read) in [(0, 8), (17, 16), (24, 24), (2048, 2048), (usize::MAX, 2048)] {
        view.set_header_len_bytes(len_bytes);
        assert_eq!(view.header_len_bytes(), read);
        assert_eq!(view.data_mut().len(), read.min(40) - 4);
        assert_eq!(view.payload_mut().len(), 40_usize.saturating_sub(read));
        assert_eq!((view.next_header(), view.routing_type(), view.segments_left()), (6, 4, 2));
    }
}

fn snapshot(view: &Fragment<&mut [u8]>) -> [u32; 6] {
    [
        view.next_header().into(),
        view.reserved().into(),
        view.fragment_offset_bytes().into(),
        view.reserved_bits().into(),
        view.more_fragments().into(),
        view.identification(),
    ]
}

fn set(view: &mut Fragment<&mut [u8]>, i: usize, value: u32) -> u32 {
    let [byte, second, ..] = value.to_le_bytes();
    match i {
        0 => (view.set_next_header(byte), value % 256).1,
        1 => (view.set_reserved(byte), value % 256).1,
        2 => {
            view.set_fragment_offset_bytes(u16::from_le_bytes([byte, second]));
            value % 0x1_0000 / 8 * 8
        }
        3 => (view.set_reserved_bits(byte), value % 4).1,
        4 => (view.set_more_fragments(byte % 2 == 1), value % 2).1,
        _ => (view.set_identification(value), value).1,
    }
}

proptest! {
    // Planted and caught: the authentication header's length in units of 8; a fragment header's
    // reserved byte taken for a length; next header and length exchanged.
    #[test]
    fn the_walk_finds_each_header(
        headers in vec((prop::sample::select(&KINDS[..]), 0_u8..5), 0..MAX_EXTENSIONS),
        last in prop::sample::select(&[6_u8, 17, 50, 59, 132][..]), extra in vec(any::<u8>(), 0..20),
    ) {
        let (first, mut bytes, starts) = chain(&headers, last, 0);
        let end = bytes.len();
        bytes.extend(extra);
        let walked: Vec<_> = Extensions::new(first, &bytes).map(Result::unwrap).collect();
        prop_assert_eq!(walked.len(), headers.len());
        for (i, extension) in walked.iter().enumerate() {
            prop_assert_eq!(extension.kind.next_header(), headers[i].0);
            prop_assert_eq!(extension.offset_bytes, starts[i]);
            let stop = starts.get(i + 1).copied().unwrap_or(end);
            prop_assert_eq!(extension.bytes, &bytes[starts[i]..stop]);
            let next = headers.get(i + 1).map_or(last, |(kind, _)| *kind);
            prop_assert_eq!(extension.next_header, next);
        }
        let upper = upper_layer(first, &bytes).unwrap();
        prop_assert_eq!((upper.protocol, upper.offset_bytes), (last, end));
    }

    // Planted and caught: set_fragment_offset_bytes clears more_fragments; set_reserved_bits
    // does not shift.
    #[test]
    fn a_fragment_setter_changes_its_field_only(
        mut header: [u8; 12], changes in vec((0_usize..6, any::<u32>()), 1..20),
    ) {
        let after = header[8..].to_vec();
        let mut view = Fragment::new_checked(header.as_mut_slice()).unwrap();
        for (i, value) in changes {
            let mut expected = snapshot(&view);
            expected[i] = set(&mut view, i, value);
            prop_assert_eq!(snapshot(&view), expected);
        }
        prop_assert_eq!(view.payload(), &after);
        prop_assert_eq!(view.payload_mut(), &after);
    }

    // Planted and caught: emit leaves out more_fragments; reserved bits not refused.
    #[test]
    fn emit_undoes_parse_of_a_fragment_header(mut header: [u8; 8], reserved in 0_u8..4) {
        header[1] = reserved & 1;
        header[3] = header[3] & 0xf9 | (reserved & 2);
        let parsed = FragmentRepr::parse(&Fragment::new_checked(&header).unwrap());
        prop_assert_eq!(parsed.is_ok(), reserved == 0);
        if let Ok(repr) = parsed {
            let mut copy = [0xa5; 8];
            repr.emit(&mut copy).unwrap();
            prop_assert_eq!(copy, header);
            let odd = FragmentRepr { fragment_offset_bytes: repr.fragment_offset_bytes | 4, ..repr };
            prop_assert!(odd.emit(&mut copy).is_err() && repr.emit(&mut copy[..7]).is_err());
        }
    }
}
