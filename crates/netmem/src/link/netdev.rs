//! What an interface's driver can do with XDP, and its queues in use, over the generic netlink family
//! `netdev`.
//!
//! Kernel: the family and its features 6.3, queues 6.8; receive metadata and AF_XDP features came
//! after the first. An interface that is down tells no queues.

use std::io;

use netlink_packet_core::{DefaultNla, parse_u32, parse_u64};

use super::{
    details::{Told, Untold},
    netlink::{Family, attributes},
};

// include/uapi/linux/netdev.h
const CMD_DEV_GET: u8 = 1;
const CMD_QUEUE_GET: u8 = 10;
const DEV_IFINDEX: u16 = 1;
const DEV_XDP_FEATURES: u16 = 3;
const DEV_XDP_ZC_MAX_SEGS: u16 = 4;
const DEV_XDP_RX_METADATA_FEATURES: u16 = 5;
const DEV_XSK_FEATURES: u16 = 6;
const QUEUE_IFINDEX: u16 = 2;
const QUEUE_TYPE: u16 = 3;
const QUEUE_TYPE_RX: u32 = 0;

/// What a driver can do with XDP (`enum netdev_xdp_act`). A feature that is `false` is one that the
/// driver does not announce.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct XdpFeatures {
    /// Runs XDP programs in the driver.
    pub basic: bool,
    /// Carries out `XDP_REDIRECT`, without which no packet reaches an AF_XDP socket.
    pub redirect: bool,
    /// Sends what another interface's program redirects to it.
    pub ndo_xmit: bool,
    /// Offers zero-copy AF_XDP.
    pub xsk_zerocopy: bool,
    /// Runs programs on the device.
    pub hw_offload: bool,
    /// Receives packets of several buffers with a program attached.
    pub rx_sg: bool,
    /// Sends packets of several buffers that another interface's program redirects to it.
    pub ndo_xmit_sg: bool,
    /// The most frames of one packet in zero-copy mode; `None` without zero-copy mode.
    pub zc_max_segs: Option<u32>,
    /// What a program can ask of a received packet; `None` where an older kernel does not tell.
    pub rx_metadata: Option<RxMetadata>,
    /// What can be asked for a packet to send; `None` where an older kernel does not tell.
    pub xsk: Option<XskFeatures>,
}

/// What a program can ask of a received packet (`enum netdev_xdp_rx_metadata`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RxMetadata {
    /// When the device received it.
    pub timestamp: bool,
    /// The device's hash of it.
    pub hash: bool,
    /// The VLAN tag that the device took off.
    pub vlan_tag: bool,
}

/// What an AF_XDP socket can ask for a packet to send (`enum netdev_xsk_flags`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct XskFeatures {
    /// When the device sent it.
    pub tx_timestamp: bool,
    /// The transport checksum.
    pub tx_checksum: bool,
    /// To be sent at a given time (kernel 6.15).
    pub tx_launch_time: bool,
}

/// A connection to the family `netdev` in one network namespace.
#[derive(Debug)]
pub(super) struct Netdev {
    family: Family,
}

impl Netdev {
    pub(super) fn open() -> Told<Self> {
        Ok(Self { family: Family::open("netdev").map_err(Untold::from_family)? })
    }

    pub(super) fn xdp_features(&mut self, ifindex: u32) -> Told<XdpFeatures> {
        let request = vec![DefaultNla::new(DEV_IFINDEX, ifindex.to_ne_bytes().to_vec())];
        let mut features = None;
        let asked = self.family.ask(CMD_DEV_GET, request, |body| {
            features = parse_features(body)?;
            Ok(())
        });
        asked.map_err(|refusal| Untold::from_request(&refusal))?;
        features.ok_or(Untold::Absent)
    }

    /// Receive queues in use.
    pub(super) fn rx_queues(&mut self, ifindex: u32) -> Told<u32> {
        let request = vec![DefaultNla::new(QUEUE_IFINDEX, ifindex.to_ne_bytes().to_vec())];
        let mut count = 0;
        let asked = self.family.dump(CMD_QUEUE_GET, request, |body| {
            count += u32::from(parse_queue(body)? == (Some(ifindex), Some(QUEUE_TYPE_RX)));
            Ok(())
        });
        asked.map_err(|refusal| Untold::from_request(&refusal))?;
        if count == 0 { Err(Untold::Absent) } else { Ok(count) }
    }
}

fn parse_features(body: &[u8]) -> io::Result<Option<XdpFeatures>> {
    let (mut act, mut segs, mut rx, mut xsk) = (None, None, None, None);
    for attribute in attributes(body) {
        let (kind, value) = attribute?;
        let bits = || parse_u64(value).map(Some).map_err(io::Error::other);
        match kind {
            DEV_XDP_FEATURES => act = bits()?,
            DEV_XDP_RX_METADATA_FEATURES => rx = bits()?,
            DEV_XSK_FEATURES => xsk = bits()?,
            DEV_XDP_ZC_MAX_SEGS => segs = Some(parse_u32(value).map_err(io::Error::other)?),
            _ => {}
        }
    }
    let has = |bits: u64, index: u32| bits & (1 << index) != 0;
    Ok(act.map(|act| XdpFeatures {
        basic: has(act, 0),
        redirect: has(act, 1),
        ndo_xmit: has(act, 2),
        xsk_zerocopy: has(act, 3),
        hw_offload: has(act, 4),
        rx_sg: has(act, 5),
        ndo_xmit_sg: has(act, 6),
        zc_max_segs: segs,
        rx_metadata: rx.map(|bits| RxMetadata {
            timestamp: has(bits, 0),
            hash: has(bits, 1),
            vlan_tag: has(bits, 2),
        }),
        xsk: xsk.map(|bits| XskFeatures {
            tx_timestamp: has(bits, 0),
            tx_checksum: has(bits, 1),
            tx_launch_time: has(bits, 2),
        }),
    }))
}

/// Interface and direction of a queue.
fn parse_queue(body: &[u8]) -> io::Result<(Option<u32>, Option<u32>)> {
    let mut queue = (None, None);
    for attribute in attributes(body) {
        let (kind, value) = attribute?;
        let number = || parse_u32(value).map(Some).map_err(io::Error::other);
        match kind {
            QUEUE_IFINDEX => queue.0 = number()?,
            QUEUE_TYPE => queue.1 = number()?,
            _ => {}
        }
    }
    Ok(queue)
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable;

    use super::*;

    fn answer(zerocopy: bool) -> Vec<u8> {
        let long = |kind, bits: u64| DefaultNla::new(kind, bits.to_ne_bytes().to_vec());
        let mut nlas = vec![
            DefaultNla::new(1, 5_u32.to_ne_bytes().to_vec()),
            long(3, if zerocopy { 0b10_1011 } else { 0b101_0110 }),
            long(5, 0b101),
            long(6, 0b110),
        ];
        if zerocopy {
            nlas.push(DefaultNla::new(4, 8_u32.to_ne_bytes().to_vec()));
        }
        let mut body = vec![0; nlas.as_slice().buffer_len()];
        nlas.as_slice().emit(&mut body);
        body
    }

    #[test]
    fn features_are_read_bit_by_bit() {
        let rx_metadata = Some(RxMetadata { timestamp: true, hash: false, vlan_tag: true });
        let xsk =
            Some(XskFeatures { tx_timestamp: false, tx_checksum: true, tx_launch_time: true });
        let common = XdpFeatures { rx_metadata, xsk, redirect: true, ..XdpFeatures::default() };
        let with = XdpFeatures {
            basic: true,
            xsk_zerocopy: true,
            rx_sg: true,
            zc_max_segs: Some(8),
            ..common
        };
        assert_eq!(parse_features(&answer(true)).unwrap(), Some(with));
        let without = XdpFeatures { ndo_xmit: true, hw_offload: true, ndo_xmit_sg: true, ..common };
        assert_eq!(parse_features(&answer(false)).unwrap(), Some(without));
        // A kernel of 6.3 has no more than the first two.
        let old = parse_features(&answer(false)[..8 + 12]).unwrap().unwrap();
        assert_eq!((old.rx_metadata, old.xsk, old.redirect), (None, None, true));
        assert_eq!(parse_features(&answer(false)[..8]).unwrap(), None, "said nothing, not no");
    }

    #[test]
    fn damaged_answers_are_errors_not_panics() {
        let good = answer(true);
        for position in 0..good.len() {
            let _ = parse_features(&good[..position]);
            for value in 0..=255 {
                let mut damaged = good.clone();
                damaged[position] = value;
                let _ = (parse_features(&damaged), parse_queue(&damaged));
            }
        }
        assert!(parse_features(&good[..19]).is_err(), "seven bytes of a number");
    }
}
