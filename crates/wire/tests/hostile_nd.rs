//! Hostile bytes into the views below and beside IP: no panic, and every iterator ends.
#![allow(clippy::unwrap_used, reason = "a test: an error where none may be is a failure")]

use std::net::Ipv6Addr;

use netmem_wire::arp::{ArpHeader, ArpHeaderRepr};
use netmem_wire::icmpv6::mld::{Mld, MldQueryV2, MldReportV2, MldRepr};
use netmem_wire::icmpv6::ndp::options::Options;
use netmem_wire::icmpv6::ndp::{
    NdpRepr, NeighborAdvertisement, NeighborSolicitation, Redirect, RouterAdvertisement,
    RouterSolicitation, validate,
};
use netmem_wire::igmp::{IgmpQueryV3, IgmpReportV3};
use netmem_wire::llc::{Control, LlcRepr};
use netmem_wire::*;
use proptest::collection::vec;
use proptest::prelude::*;

const A: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const B: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 1);

fn icmpv6(buffer: &mut [u8]) {
    if let Ok(mut view) = Icmpv6::new_checked(&mut *buffer) {
        let _ = (view.identifier(), view.sequence(), view.mtu_bytes(), view.pointer_bytes());
        assert!(view.quoted_packet().is_none_or(|packet| packet.len() <= view.payload().len()));
        view.fill_checksum(A, B);
        assert!(view.verify_checksum(A, B));
        let repr = Icmpv6Repr::parse(&view, A, B);
        if let Ok(repr) = repr {
            repr.emit(view.into_inner(), A, B).unwrap();
        }
        let mut view = Icmpv6::new_checked(&mut *buffer).unwrap();
        view.turn_into_echo_reply();
        assert!(view.verify_checksum(B, A));
    }
}

fn neighbors(buffer: &mut [u8]) {
    let options = |bytes: &[u8]| {
        let mut left = bytes.len() / 8 + 1;
        for option in Options::new(bytes) {
            left = left.checked_sub(1).expect("an option has at least 8 bytes");
            if let Ok(option) = option {
                assert!(option.len_bytes() <= bytes.len());
            }
        }
    };
    if let Ok(view) = RouterSolicitation::new_checked(&*buffer) {
        options(view.options());
    }
    if let Ok(view) = RouterAdvertisement::new_checked(&*buffer) {
        let _ = (view.router_lifetime_s(), view.reachable_time_ms(), view.retrans_timer_ms());
        options(view.options());
    }
    if let Ok(view) = NeighborSolicitation::new_checked(&*buffer) {
        let _ = view.target();
        options(view.options());
    }
    if let Ok(view) = NeighborAdvertisement::new_checked(&*buffer) {
        let _ = (view.target(), view.router(), view.solicited(), view.override_cached());
        options(view.options());
    }
    if let Ok(mut view) = Redirect::new_checked(&mut *buffer) {
        let _ = (view.target(), view.destination(), view.options_mut().len());
    }
    if let Ok(mut view) = Icmpv6::new_checked(&mut *buffer) {
        view.fill_checksum(A, B);
        let repr = NdpRepr::parse(buffer, A, B);
        if validate(buffer, A, B, 255).is_ok() {
            let before = buffer.to_vec();
            repr.unwrap().emit(buffer, A, B).unwrap();
            assert_eq!(validate(buffer, A, B, 255), Ok(()));
            buffer.copy_from_slice(&before);
        }
    }
}

fn listeners(buffer: &mut [u8]) {
    if let Ok(mut view) = Mld::new_checked(&mut *buffer) {
        let _ = (view.max_response_ms(), view.group());
        let repr = MldRepr::parse(&view);
        view.set_group(repr.group);
        repr.emit(view.into_inner()).unwrap();
    }
    if let Ok(mut view) = MldQueryV2::new_checked(&mut *buffer) {
        assert_eq!(view.sources().len(), usize::from(view.source_count()));
        view.set_source_count(u16::MAX);
        let _ = (view.query_interval_s(), view.sources_mut().len());
    }
    if let Ok(view) = MldReportV2::new_checked(&*buffer) {
        assert!(view.records().count() <= buffer.len() / 20 + 1);
    }
    if let Ok(mut view) = Igmp::new_checked(&mut *buffer) {
        let _ = (view.max_response_ms(), IgmpRepr::parse(&view).is_ok());
        view.fill_checksum();
        assert!(view.verify_checksum());
    }
    if let Ok(mut view) = IgmpQueryV3::new_checked(&mut *buffer) {
        assert_eq!(view.sources().len(), usize::from(view.source_count()));
        view.set_source_count(u16::MAX);
        let _ = (view.query_interval_s(), view.sources_mut().len());
    }
    if let Ok(view) = IgmpReportV3::new_checked(&*buffer) {
        assert!(view.records().count() <= buffer.len() / 8 + 1);
    }
}

fn links(buffer: &mut [u8]) {
    if let Ok(mut view) = ArpHeader::new_checked(&mut *buffer) {
        let mut copy = [0; 1028];
        ArpHeaderRepr::parse(&view).emit(&mut copy).unwrap();
        view.set_hlen(255);
        let _ = (view.sender_hardware(), view.target_protocol());
        let _ = view.set_sender_protocol(&[0; 4]);
    }
    if let Ok(mut view) = Llc::new_checked(&mut *buffer) {
        let repr = LlcRepr::parse(&view);
        view.set_dsap(0xaa);
        view.set_ssap(0xaa);
        let _ = (
            view.set_control(Control::Unnumbered(3)),
            view.snap(),
            view.payload_mut().len(),
            view.control(),
        );
        repr.emit(view.into_inner()).unwrap();
    }
    if let Ok(mut view) = Sll::new_checked(&mut *buffer) {
        let _ = (view.address().len(), view.payload_mut().len());
        SllRepr::parse(&view).emit(view.into_inner()).unwrap();
    }
    if let Ok(mut view) = Sll2::new_checked(&mut *buffer) {
        let _ = (view.address().len(), view.payload_mut().len(), SllRepr::parse_v2(&view));
    }
    if let Ok(mut view) = Loopback::new_checked(&mut *buffer) {
        let _ = (view.ether_type(), view.payload_mut().len());
        LoopbackRepr::parse(&view).emit(view.into_inner()).unwrap();
    }
    if let Ok(view) = Ethernet::new_checked(&*buffer) {
        let _ = (view.kind(), names::ether_type(view.ether_type()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    // Planted and caught: an option of length 0 that does not end the list; addresses of ARP not
    // checked against the buffer.
    #[test]
    fn bytes_never_panic(
        mut bytes in vec(any::<u8>(), 0..120), small in vec((0_usize..60, 0_u8..5), 0..8),
        first in prop_oneof![any::<u8>(), 128_u8..144, Just(0x11), Just(0x22), Just(0xaa)],
    ) {
        // Lengths and counts are likely when small.
        for (at, value) in small {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        for keep in [true, false] {
            if let (false, Some(byte)) = (keep, bytes.first_mut()) {
                *byte = first;
            }
            for layer in [icmpv6, neighbors, listeners, links] {
                layer(&mut bytes.clone());
            }
        }
    }
}
