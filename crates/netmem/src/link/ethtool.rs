//! Channels, driver rings and transmit checksums of an interface, over ethtool netlink (kernel 5.8).
//!
//! Requests name the interface by index, so that a rename in between does not matter. A driver that
//! does not implement a request and a kernel that does not know it both answer `EOPNOTSUPP`.

use std::io;

use netlink_packet_core::{DefaultNla, parse_u32};

use super::{
    details::{Told, Untold},
    netlink::{Family, Refusal, attributes, nest, string},
};

// include/uapi/linux/ethtool_netlink.h and its generated part
const MSG_FEATURES_GET: u8 = 11;
const MSG_RINGS_GET: u8 = 15;
const MSG_CHANNELS_GET: u8 = 17;
/// In every request the first attribute, and it holds the interface's index.
const HEADER: u16 = 1;
const HEADER_DEV_INDEX: u16 = 1;
const FEATURES_ACTIVE: u16 = 4;
const BITSET_BITS: u16 = 3;
const BITSET_BITS_BIT: u16 = 1;
const BIT_NAME: u16 = 2;
const RINGS_RX_MAX: u16 = 2;
const RINGS_TX_MAX: u16 = 5;
const RINGS_RX: u16 = 6;
const RINGS_TX: u16 = 9;
const CHANNELS_RX_MAX: u16 = 2;
const CHANNELS_TX_MAX: u16 = 3;
const CHANNELS_COMBINED_MAX: u16 = 5;
const CHANNELS_RX: u16 = 6;
const CHANNELS_TX: u16 = 7;
const CHANNELS_COMBINED: u16 = 9;

/// How many queues an interface has in use and could have, as `ethtool -l` shows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Channels {
    /// Channels that only receive.
    pub rx: u32,
    /// Channels that only transmit.
    pub tx: u32,
    /// Channels that do both.
    pub combined: u32,
    /// The most channels that only receive.
    pub rx_max: u32,
    /// The most channels that only transmit.
    pub tx_max: u32,
    /// The most channels that do both.
    pub combined_max: u32,
}

impl Channels {
    /// Receive queues in use.
    #[must_use]
    pub const fn rx_queues(&self) -> u32 {
        self.combined.saturating_add(self.rx)
    }

    /// Transmit queues in use.
    #[must_use]
    pub const fn tx_queues(&self) -> u32 {
        self.combined.saturating_add(self.tx)
    }
}

/// The descriptor rings between a driver and its device, in descriptors per queue, as `ethtool -g`
/// shows them. They need not be powers of two, and are not the rings of an AF_XDP socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DriverRings {
    /// What a receive queue holds.
    pub rx: u32,
    /// What a transmit queue holds.
    pub tx: u32,
    /// The most that a receive queue can hold.
    pub rx_max: u32,
    /// The most that a transmit queue can hold.
    pub tx_max: u32,
}

/// A connection to the ethtool family in one network namespace.
#[derive(Debug)]
pub(super) struct Ethtool {
    family: Family,
}

impl Ethtool {
    pub(super) fn open() -> Told<Self> {
        Ok(Self { family: Family::open("ethtool").map_err(Untold::from_family)? })
    }

    pub(super) fn channels(&mut self, ifindex: u32) -> Told<Channels> {
        self.ask(MSG_CHANNELS_GET, ifindex, parse_channels)
    }

    /// The driver's rings; what answers with no ring at all, as bonds do, has not said anything.
    pub(super) fn rings(&mut self, ifindex: u32) -> Told<DriverRings> {
        let rings = self.ask(MSG_RINGS_GET, ifindex, parse_rings)?;
        if (rings.rx, rings.tx) == (0, 0) { Err(Untold::Absent) } else { Ok(rings) }
    }

    /// Whether the kernel leaves checksums of packets that it sends to the device.
    pub(super) fn tx_checksum(&mut self, ifindex: u32) -> Told<bool> {
        let active = self.ask(MSG_FEATURES_GET, ifindex, parse_active)?;
        let is_checksum = |name: &String| {
            matches!(
                name.as_str(),
                "tx-checksum-ip-generic" | "tx-checksum-ipv4" | "tx-checksum-ipv6"
            )
        };
        Ok(active.iter().any(is_checksum))
    }

    fn ask<T>(
        &mut self,
        command: u8,
        ifindex: u32,
        parse: impl Fn(&[u8]) -> io::Result<T>,
    ) -> Told<T> {
        let mut answer = None;
        let asked = self.family.ask(command, vec![header(ifindex)], |body| {
            answer = Some(parse(body)?);
            Ok(())
        });
        asked.map_err(|refusal: Refusal| Untold::from_request(&refusal))?;
        answer.ok_or(Untold::Absent)
    }

    /// Sets how many receive and transmit queues are in use.
    #[cfg(test)]
    pub(super) fn set_channels(&mut self, ifindex: u32, rx: u32, tx: u32) -> Told<()> {
        const MSG_CHANNELS_SET: u8 = 18;
        let count = |kind, value: u32| DefaultNla::new(kind, value.to_ne_bytes().to_vec());
        let request = vec![header(ifindex), count(CHANNELS_RX, rx), count(CHANNELS_TX, tx)];
        self.family
            .ask(MSG_CHANNELS_SET, request, |_| Ok(()))
            .map_err(|refusal| Untold::from_request(&refusal))
    }
}

fn header(ifindex: u32) -> DefaultNla {
    nest(HEADER, &[DefaultNla::new(HEADER_DEV_INDEX, ifindex.to_ne_bytes().to_vec())])
}

fn parse_channels(body: &[u8]) -> io::Result<Channels> {
    let mut channels = Channels::default();
    for attribute in attributes(body) {
        let (kind, value) = attribute?;
        let field = match kind {
            CHANNELS_RX_MAX => &mut channels.rx_max,
            CHANNELS_TX_MAX => &mut channels.tx_max,
            CHANNELS_COMBINED_MAX => &mut channels.combined_max,
            CHANNELS_RX => &mut channels.rx,
            CHANNELS_TX => &mut channels.tx,
            CHANNELS_COMBINED => &mut channels.combined,
            _ => continue,
        };
        *field = parse_u32(value).map_err(io::Error::other)?;
    }
    Ok(channels)
}

fn parse_rings(body: &[u8]) -> io::Result<DriverRings> {
    let mut rings = DriverRings::default();
    for attribute in attributes(body) {
        let (kind, value) = attribute?;
        let field = match kind {
            RINGS_RX_MAX => &mut rings.rx_max,
            RINGS_TX_MAX => &mut rings.tx_max,
            RINGS_RX => &mut rings.rx,
            RINGS_TX => &mut rings.tx,
            _ => continue,
        };
        *field = parse_u32(value).map_err(io::Error::other)?;
    }
    Ok(rings)
}

/// Reads the names of the features in use: a bitset without a mask lists the bits that are set.
fn parse_active(body: &[u8]) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for attribute in attributes(body) {
        let (FEATURES_ACTIVE, bitset) = attribute? else { continue };
        for attribute in attributes(bitset) {
            let (BITSET_BITS, bits) = attribute? else { continue };
            for bit in attributes(bits) {
                let (BITSET_BITS_BIT, fields) = bit? else { continue };
                for field in attributes(fields) {
                    if let (BIT_NAME, name) = field? {
                        names.push(string(name));
                    }
                }
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable;

    use super::*;

    fn emitted(nlas: &[DefaultNla]) -> Vec<u8> {
        let mut body = vec![0; nlas.buffer_len()];
        nlas.emit(&mut body);
        body
    }

    fn numbers(values: &[(u16, u32)]) -> Vec<u8> {
        let nla = |(kind, value): &(u16, u32)| DefaultNla::new(*kind, value.to_ne_bytes().to_vec());
        emitted(&values.iter().map(nla).collect::<Vec<_>>())
    }

    #[test]
    fn channels_and_rings_are_read() {
        // As an i40e answers: `other` (4 and 8) is passed over.
        let body = numbers(&[(2, 1), (3, 2), (4, 3), (5, 64), (6, 5), (7, 6), (8, 7), (9, 16)]);
        let channels = parse_channels(&body).unwrap();
        let expected =
            Channels { rx: 5, tx: 6, combined: 16, rx_max: 1, tx_max: 2, combined_max: 64 };
        assert_eq!(channels, expected);
        assert_eq!((channels.rx_queues(), channels.tx_queues()), (21, 22));
        // As a bnxt_en answers, with mini and jumbo rings (3, 4, 7, 8).
        let body =
            numbers(&[(2, 2047), (3, 9), (4, 9), (5, 2046), (6, 511), (7, 9), (8, 9), (9, 510)]);
        let rings = parse_rings(&body).unwrap();
        assert_eq!(rings, DriverRings { rx: 511, tx: 510, rx_max: 2047, tx_max: 2046 });
    }

    #[test]
    fn only_what_is_active_counts() {
        let bit = |name: &str| {
            nest(BITSET_BITS_BIT, &[DefaultNla::new(BIT_NAME, [name.as_bytes(), &[0]].concat())])
        };
        let set = |kind, name| nest(kind, &[nest(BITSET_BITS, &[bit(name)])]);
        let body = emitted(&[set(2, "tx-checksum-ipv4"), set(3, "rx-gro"), set(4, "tx-lockless")]);
        assert_eq!(parse_active(&body).unwrap(), ["tx-lockless"]);
    }

    #[test]
    fn damaged_answers_are_errors_not_panics() {
        let name = DefaultNla::new(BIT_NAME, b"rx-gro\0".to_vec());
        let bits = nest(BITSET_BITS, &[nest(BITSET_BITS_BIT, &[name])]);
        let good = [numbers(&[(6, 1), (9, 2)]), emitted(&[nest(4, &[bits])])].concat();
        for position in 0..good.len() {
            let _ = parse_active(&good[..position]);
            for value in 0..=255 {
                let mut damaged = good.clone();
                damaged[position] = value;
                let _ = (parse_channels(&damaged), parse_rings(&damaged), parse_active(&damaged));
            }
        }
        assert!(parse_rings(&numbers(&[(6, 1)])[..7]).is_err(), "three bytes of a number");
    }
}
