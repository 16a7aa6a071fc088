//! Who does what, from facts alone.

use super::*;
use crate::link::{Told, Untold, XdpFeatures};

fn details(driver: &str, xsk: Told<Option<XskFeatures>>) -> LinkDetails {
    let absent = || Untold::Absent;
    LinkDetails {
        driver: Ok(driver.to_owned()),
        channels: Err(absent()),
        rx_queues: Err(absent()),
        rings: Err(absent()),
        xdp: xsk.map(|xsk| XdpFeatures { xsk, ..XdpFeatures::default() }),
        tx_checksum: Err(absent()),
        peer_tx_checksum: None,
    }
}

fn who(report: &TxMetadataReport) -> (DoneBy, DoneBy, u32) {
    (report.checksum.by, report.timestamp.by, report.headroom_bytes)
}

const ASKED: TxMetadata = TxMetadata::checksums().timestamps(9);

#[test]
fn in_zero_copy_it_is_the_device_or_netmem() {
    use DoneBy::{Device, Netmem, Nobody};
    let features = |tx_checksum, tx_timestamp| {
        Ok(Some(XskFeatures { tx_checksum, tx_timestamp, tx_launch_time: true }))
    };
    for (told, expected) in [
        (features(true, true), (Device, Device, 24)),
        (features(true, false), (Device, Nobody, 24)),
        (features(false, true), (Netmem, Device, 24)),
        (features(false, false), (Netmem, Nobody, 0)),
        (Ok(None), (Netmem, Nobody, 0)),
        (Err(Untold::NotSupported), (Netmem, Nobody, 0)),
    ] {
        let report = TxMetadataReport::of(ASKED, XdpMode::ZeroCopy, &details("ice", told.clone()));
        assert_eq!(who(&report), expected, "{told:?}");
        assert_eq!(report.timestamps, 9);
    }
    let report = TxMetadataReport::of(ASKED, XdpMode::ZeroCopy, &details("ice", Ok(None)));
    let why =
        "netmem (whether the driver does tx-checksum is not known: the kernel is too old to tell)";
    assert_eq!(report.checksum.to_string(), why);
}

#[test]
fn in_copy_mode_it_is_the_kernel_where_it_can() {
    use DoneBy::{Kernel, Netmem, Nobody};
    for mode in [XdpMode::Native, XdpMode::Generic] {
        // What a driver announces is of its zero-copy mode.
        let all = XskFeatures { tx_checksum: true, tx_timestamp: true, tx_launch_time: true };
        let report = TxMetadataReport::of(ASKED, mode, &details("igc", Ok(Some(all))));
        assert_eq!(who(&report), (Kernel, Kernel, 24));
        assert!(report.timestamp.why.contains("CLOCK_TAI"), "{report:?}");
        let virtio = details("virtio_net", Ok(None));
        assert_eq!(who(&TxMetadataReport::of(ASKED, mode, &virtio)), (Netmem, Kernel, 24));
        let plain = TxMetadataReport::of(TxMetadata::checksums(), mode, &virtio);
        assert_eq!(who(&plain), (Netmem, Nobody, 0));
    }
}

/// A kernel without metadata: checksums are done all the same, and the report says why by whom.
#[test]
fn what_the_kernel_refuses_netmem_does() {
    use DoneBy::{Netmem, Nobody};
    let report = TxMetadataReport::of(ASKED, XdpMode::Native, &details("veth", Ok(None)));
    let refused = report.refused(&io::Error::from_raw_os_error(libc::EINVAL));
    assert_eq!(who(&refused), (Netmem, Nobody, 0));
    for offload in [&refused.checksum, &refused.timestamp] {
        assert!(offload.why.contains("EINVAL"), "{offload}");
    }
    let many = TxMetadata::checksums().timestamps(u32::MAX);
    let report = TxMetadataReport::of(many, XdpMode::Native, &details("veth", Ok(None)));
    assert_eq!(report.timestamps, MAX_TIMESTAMPS);
}
