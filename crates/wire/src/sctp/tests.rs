use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[test]
fn the_checksum_stands_low_byte_first() {
    let mut buffer = [0; 32];
    let repr = SctpRepr { source_port: 0, destination_port: 0, verification_tag: 0 };
    repr.emit(&mut buffer).unwrap();
    // RFC 3720 B.4: 32 zero bytes give "aa 36 91 8a" on the wire.
    assert_eq!(buffer[8..12], [0xaa, 0x36, 0x91, 0x8a]);
    assert!(Sctp::new_checked(&buffer).unwrap().verify_checksum());
    assert!(matches!(Sctp::new_checked(&buffer[..11]), Err(Error::Short { .. })));
}

#[test]
fn chunks_are_checked() {
    let chunks = |bytes: &[u8]| {
        let packet = [&[0; 12], bytes].concat();
        let view = Sctp::new_checked(packet).unwrap();
        view.chunks().take(9).map(|chunk| chunk.map(|chunk| chunk.value.len())).collect::<Vec<_>>()
    };
    assert_eq!(chunks(&[0, 0, 0, 5, 7, 0, 0, 0, 1, 0, 0, 4]), [Ok(1), Ok(0)]);
    assert_eq!(chunks(&[0, 0, 0, 5, 7]), [Ok(1)], "padding may be missing at the end");
    let bad = Error::Field { layer: LAYER, offset_bytes: 18, field: "chunk length" };
    assert_eq!(chunks(&[0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 4]), [Ok(0), Err(bad)]);
    let [truncated, short] = [
        Error::Truncated { layer: LAYER, offset_bytes: 14, needed_bytes: 6, available_bytes: 5 },
        Error::Short { layer: LAYER, offset_bytes: 16, needed_bytes: 4, available_bytes: 3 },
    ];
    assert_eq!(chunks(&[0, 0, 0, 6, 7]), [Err(truncated)]);
    assert_eq!(chunks(&[0, 0, 0, 4, 0, 0, 0]), [Ok(0), Err(short)]);
}

#[test]
fn what_is_not_representable_is_refused() {
    let init = InitRepr {
        is_ack: false,
        initiate_tag: 1,
        window_bytes: 2,
        outbound_streams: 3,
        inbound_streams: 4,
        initial_tsn: 5,
        parameters_len_bytes: 0,
    };
    let mut buffer = [0; 20];
    assert_eq!(init.emit(&mut buffer), Ok(20));
    assert_eq!(buffer, [1, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0, 2, 0, 3, 0, 4, 0, 0, 0, 5]);
    for bad in [
        InitRepr { initiate_tag: 0, ..init },
        InitRepr { outbound_streams: 0, ..init },
        InitRepr { inbound_streams: 0, ..init },
        InitRepr { parameters_len_bytes: 65516, ..init },
    ] {
        assert!(matches!(bad.emit(&mut [0; 65540]), Err(Error::Field { .. })), "{bad:?}");
    }
    assert!(matches!(init.emit(&mut [0; 19]), Err(Error::Short { .. })));
    let chunk = Chunk { chunk_type: 1, flags: 0, value: &buffer[4..] };
    assert!(InitRepr::parse(&chunk).is_ok());
    assert!(InitRepr::parse(&Chunk { flags: 1, ..chunk }).is_err());
    assert!(InitRepr::parse(&Chunk { chunk_type: 3, ..chunk }).is_err());
    assert!(InitRepr::parse(&Chunk { value: &buffer[5..], ..chunk }).is_err());
    let data = Chunk { chunk_type: 0, flags: 0, value: &[0; 13] };
    assert!(DataRepr::parse(&data).is_ok());
    assert!(DataRepr::parse(&Chunk { flags: 16, ..data }).is_err());
    assert!(DataRepr::parse(&Chunk { value: &[0; 12], ..data }).is_err());
    assert!(DataRepr::parse(&chunk).is_err());
}

proptest! {
    // Planted and caught: the checksum's own bytes summed as they stand; a view that sets the
    // destination port as the source port.
    #[test]
    fn a_packet_is_read_as_it_was_written_and_a_flipped_bit_shows(
        source_port: u16, destination_port: u16, verification_tag: u32,
        payload in vec(any::<u8>(), 0..60), flip in 0_usize..1000,
    ) {
        let mut bytes = [&[0xa5; 12][..], &payload].concat();
        let repr = SctpRepr { source_port, destination_port, verification_tag };
        repr.emit(&mut bytes).unwrap();
        prop_assert_eq!(&bytes[12..], &payload);
        prop_assert_eq!(SctpRepr::parse(&Sctp::new_checked(&bytes).unwrap()).unwrap(), repr);
        let flip = flip % (8 * bytes.len());
        bytes[flip / 8] ^= 1 << (flip % 8);
        prop_assert!(!Sctp::new_checked(&bytes).unwrap().verify_checksum());
    }

    // Planted and caught: padding that is not skipped, or not cleared; stream and sequence exchanged.
    #[test]
    fn chunks_are_read_as_they_were_written(
        tsn: u32, stream: u16, sequence: u16, protocol_id: u32, flags in 0_u8..16,
        payload in vec(any::<u8>(), 1..20), parameters in vec(any::<u8>(), 0..20),
        (initiate_tag, streams, is_ack) in (1_u32.., (1_u16.., 1_u16..), any::<bool>()),
        others in vec((any::<u8>(), any::<u8>(), vec(any::<u8>(), 0..9)), 0..4),
    ) {
        let mut buffer = [0xa5; 400];
        let data = DataRepr {
            flags, tsn, stream, sequence, protocol_id,
            payload_len_bytes: u16::try_from(payload.len()).unwrap(),
        };
        let init = InitRepr {
            is_ack, initiate_tag, window_bytes: tsn, outbound_streams: streams.0,
            inbound_streams: streams.1, initial_tsn: protocol_id,
            parameters_len_bytes: u16::try_from(parameters.len()).unwrap(),
        };
        let mut at = 12;
        buffer[at + 16..][..payload.len()].copy_from_slice(&payload);
        at += data.emit(&mut buffer[at..]).unwrap();
        prop_assert!(buffer[28 + payload.len()..at].iter().all(|byte| *byte == 0));
        buffer[at + 20..][..parameters.len()].copy_from_slice(&parameters);
        at += init.emit(&mut buffer[at..]).unwrap();
        for (chunk_type, flags, value) in &others {
            let chunk = Chunk { chunk_type: *chunk_type, flags: *flags, value };
            at += chunk.emit(&mut buffer[at..]).unwrap();
        }
        let view = Sctp::new_checked(&buffer[..at]).unwrap();
        let chunks: Vec<Chunk<'_>> = view.chunks().map(Result::unwrap).collect();
        prop_assert_eq!(DataRepr::parse(&chunks[0]).unwrap(), (data, &payload[..]));
        prop_assert_eq!(InitRepr::parse(&chunks[1]).unwrap(), (init, &parameters[..]));
        prop_assert_eq!(chunks.len(), 2 + others.len());
        for (chunk, (chunk_type, flags, value)) in chunks[2..].iter().zip(&others) {
            let expected = Chunk { chunk_type: *chunk_type, flags: *flags, value };
            prop_assert_eq!(*chunk, expected);
        }
    }

    // Planted and caught: an iterator that goes on after an error.
    #[test]
    fn any_chunks_end(bytes in vec(any::<u8>(), 12..80)) {
        let view = Sctp::new_checked(&bytes).unwrap();
        let seen: Vec<_> = view.chunks().take(100).collect();
        prop_assert!(seen.len() <= 1 + (bytes.len() - 12) / 4);
        for chunk in seen.iter().flatten() {
            let _ = (InitRepr::parse(chunk).is_ok(), DataRepr::parse(chunk).is_ok());
        }
        let errors = seen.iter().position(Result::is_err);
        prop_assert!(errors.is_none_or(|at| at == seen.len() - 1));
    }
}
