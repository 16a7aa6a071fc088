use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[test]
fn times_by_hand() {
    let mut message = [0; 28];
    message[0] = 130;
    let ms = |code: u16, len_bytes: usize, mut message: [u8; 28]| {
        message[4..6].copy_from_slice(&code.to_be_bytes());
        Mld::new_checked(&message[..len_bytes]).unwrap().max_response_ms()
    };
    assert_eq!(
        [10_000, 0x7fff, 0x8000, 0xffff].map(|code| ms(code, 28, message)),
        [10_000, 32_767, 32_768, 8_387_584]
    );
    assert_eq!(ms(0xffff, 24, message), 0xffff);
    let mut view = MldQueryV2::new_checked(message).unwrap();
    let seconds = [0, 127, 128, 255].map(|code| {
        view.set_query_interval_code(code);
        view.query_interval_s()
    });
    assert_eq!(seconds, [0, 127, 128, 31_744]);
    message[27] = 1;
    assert!(matches!(MldQueryV2::new_checked(message), Err(Error::Truncated { .. })));
    message[0] = 133;
    assert!(Mld::new_checked(message).is_err() && MldQueryV2::new_checked(message).is_err());
    assert!(MldReportV2::new_checked(message).is_err());
}

proptest! {
    // Planted and caught: set_robustness clears S; set_group from byte 4 on.
    #[test]
    fn a_setter_changes_its_field_only(
        mut bytes in vec(any::<u8>(), 28..70), i in 0_usize..5, value: u16, group: u128,
    ) {
        bytes[0] = 130;
        bytes[26..28].fill(0);
        let mut expected = bytes.clone();
        let [_, low] = value.to_be_bytes();
        if i < 2 {
            let mut view = Mld::new_checked(bytes.as_mut_slice()).unwrap();
            if i == 0 {
                view.set_max_response_code(value);
                prop_assert_eq!(view.max_response_code(), value);
                expected[4..6].copy_from_slice(&value.to_be_bytes());
            } else {
                view.set_group(group.into());
                prop_assert_eq!(view.group(), Ipv6Addr::from(group));
                expected[8..24].copy_from_slice(&group.to_be_bytes());
            }
        } else {
            let mut view = MldQueryV2::new_checked(bytes.as_mut_slice()).unwrap();
            match i {
                2 => view.set_suppress(low & 1 != 0),
                3 => view.set_robustness(low),
                _ => view.set_query_interval_code(low),
            }
            match i {
                2 => prop_assert_eq!(view.suppress(), low & 1 != 0),
                3 => prop_assert_eq!(view.robustness(), low & 7),
                _ => prop_assert_eq!(view.query_interval_code(), low),
            }
            match i {
                2 => expected[24] = expected[24] & 0xf7 | (low & 1) << 3,
                3 => expected[24] = expected[24] & 0xf8 | low & 7,
                _ => expected[25] = low,
            }
            view.set_source_count(value);
            let fitting = (expected.len() - 28) / 16;
            prop_assert_eq!(view.sources_mut().len(), fitting.min(value.into()));
            expected[26..28].copy_from_slice(&value.to_be_bytes());
        }
        prop_assert_eq!(bytes, expected);
    }

    // Planted and caught: emit leaves out the code.
    #[test]
    fn parse_undoes_emit(icmp_type in 130_u8..=132, max_response_code: u16, group: u128) {
        let repr = MldRepr { icmp_type, max_response_code, group: group.into() };
        let mut message = [0xa5; 24];
        prop_assert_eq!(MldRepr::parse(&repr.emit(&mut message).unwrap()), repr);
        prop_assert_eq!(&message[1..4], &[0; 3]);
    }

    // Planted and caught: auxiliary data written in place of the sources.
    #[test]
    fn records_come_back(
        kinds: [u8; 2], group: u128, sources in vec(any::<[u8; 16]>(), 0..4),
        aux in vec(any::<[u8; 4]>(), 0..4),
    ) {
        let record = |i: usize| Record {
            record_type: kinds[i],
            group: group.into(),
            sources: &sources[..sources.len() / (i + 1)],
            aux: &aux,
        };
        let mut message = [0xa5; 300];
        let mut end = 8;
        for i in 0..2 {
            end += record(i).emit(&mut message[end..]).unwrap();
        }
        let view = MldReportV2::emit(&mut message[..end], 3).unwrap();
        let mut records = view.records();
        prop_assert_eq!(records.next(), Some(Ok(record(0))));
        prop_assert_eq!(records.next(), Some(Ok(record(1))));
        // A third is announced and not there.
        let cut = matches!(records.next(), Some(Err(Error::Truncated { .. })));
        prop_assert!(cut);
        prop_assert_eq!(records.next(), None);
    }
}
