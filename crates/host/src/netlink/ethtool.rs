//! Device features (checksum, segmentation, VLAN and receive offloads), sizes of a device's rings and
//! numbers of channels over ethtool netlink.
//!
//! Features are named as `ethtool -k` of kernel `netdev_features_strings` names them, for example
//! `tx-checksum-ip-generic`; nothing depends on their bit numbers. The kernel drops a wish it
//! cannot meet without an error, therefore every change is read back.
//!
//! Kernel: `CONFIG_ETHTOOL_NETLINK`, 5.8.

use netlink_packet_core::{DefaultNla, parse_u32};

use super::generic::{Family, nest, text};
use super::{attributes, string};
use crate::error::{Cause, Error, Result};

// include/uapi/linux/ethtool_netlink.h
const MSG_FEATURES_GET: u8 = 11;
const MSG_FEATURES_SET: u8 = 12;
const MSG_RINGS_GET: u8 = 15;
const MSG_RINGS_SET: u8 = 16;
const MSG_CHANNELS_SET: u8 = 18;
const MSG_RSS_GET: u8 = 38;
const HEADER: u16 = 1;
const HEADER_DEV_NAME: u16 = 2;
const FEATURES_HW: u16 = 2;
const FEATURES_WANTED: u16 = 3;
const FEATURES_ACTIVE: u16 = 4;
const FEATURES_NOCHANGE: u16 = 5;
const RINGS_RX_MAX: u16 = 2;
const RINGS_TX_MAX: u16 = 5;
const RINGS_RX: u16 = 6;
const RINGS_TX: u16 = 9;
const BITSET_BITS: u16 = 3;
const BITSET_BITS_BIT: u16 = 1;
const BIT_NAME: u16 = 2;
const BIT_VALUE: u16 = 3;
const RSS_INDIRECTION: u16 = 4;
const CHANNELS_RX: u16 = 6;
const CHANNELS_TX: u16 = 7;

/// A connection to the ethtool family in one network namespace.
///
/// It belongs to the namespace of the thread that opened it, wherever it is used later.
#[derive(Debug)]
pub struct Ethtool {
    family: Family,
}

/// Whether a feature is, or shall be, on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// In use.
    On,
    /// Not in use.
    Off,
}

/// One feature of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureState {
    /// The kernel's name of the feature, for example `rx-gro`.
    pub name: String,
    /// Whether the device uses it now.
    pub active: Feature,
    /// Whether it was asked for; it can be wanted and not active, if it depends on another.
    pub wanted: Feature,
    /// Whether the device lets it be changed; the others are `[fixed]` in the words of ethtool.
    pub changeable: bool,
}

/// What became of the offloads of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct OffloadsOff {
    /// The offloads that were on and are off now.
    pub turned_off: Vec<String>,
    /// The offloads that are still on: the device does not let them be changed.
    pub still_on: Vec<String>,
}

/// Entries of a device's own rings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RingCounts {
    /// Of each receive ring.
    pub rx: u32,
    /// Of each transmit ring.
    pub tx: u32,
}

/// What a device says of its rings; 0 where it says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeviceRings {
    /// As they are.
    pub now: RingCounts,
    /// The largest that the device takes.
    pub max: RingCounts,
}

impl Ethtool {
    /// Opens a connection in the calling thread's network namespace.
    ///
    /// # Errors
    /// No socket could be opened, or the kernel has no ethtool netlink (`ENOENT`).
    pub fn open() -> Result<Self> {
        Ok(Self { family: Family::open("ethtool", 1)? })
    }

    /// Returns every feature the kernel knows, with its state on `interface`.
    ///
    /// # Errors
    /// There is no such interface (`ENODEV`), or the reply is not understood.
    pub fn features(&mut self, interface: &str) -> Result<Vec<FeatureState>> {
        let request = vec![nest(HEADER, &[text(HEADER_DEV_NAME, interface)])];
        self.family
            .query(MSG_FEATURES_GET, request, parse_features)
            .and_then(|replies| {
                let features = replies.into_iter().next();
                features.ok_or_else(|| Cause::Malformed("no reply".to_owned()))
            })
            .map_err(|cause| Error::new("read features of", interface, cause))
    }

    /// Sets features by name, and reads back that each is as asked.
    ///
    /// # Errors
    /// The kernel knows no such interface (`ENODEV`) or feature (`EOPNOTSUPP`), refuses (`EPERM`),
    /// or leaves a feature as it was because it is fixed or depends on another; the error names
    /// those.
    pub fn set_features(&mut self, interface: &str, wishes: &[(&str, Feature)]) -> Result<()> {
        self.request(interface, wishes)?;
        let states = self.features(interface)?;
        let unmet: Vec<_> = wishes
            .iter()
            .filter(|(name, wish)| !states.iter().any(|s| s.name == *name && s.active == *wish))
            .map(|(name, wish)| match wish {
                Feature::On => format!("{name} stays off"),
                Feature::Off => format!("{name} stays on"),
            })
            .collect();
        if unmet.is_empty() {
            return Ok(());
        }
        Err(Error::new("set features of", interface, Cause::Unmet(unmet.join(", "))))
    }

    /// Turns generic receive offload (`rx-gro`) on or off.
    ///
    /// On a veth, on also makes it receive by NAPI, without which packets that a peer's XDP program
    /// redirects to it are lost.
    ///
    /// # Errors
    /// As [`set_features`](Self::set_features).
    pub fn set_gro(&mut self, interface: &str, state: Feature) -> Result<()> {
        self.set_features(interface, &[("rx-gro", state)])
    }

    /// Turns off what makes the kernel hand a device packets that are not as on the wire: transmit
    /// checksums, TSO, GSO, UDP segmentation, and VLAN tags kept beside the packet.
    ///
    /// `rx-gro` is left as it is. The result was read back.
    ///
    /// # Errors
    /// There is no such interface (`ENODEV`) or the kernel refuses (`EPERM`). An offload that the
    /// device keeps on is not an error: see [`OffloadsOff::still_on`].
    pub fn offloads_off(&mut self, interface: &str) -> Result<OffloadsOff> {
        let before = self.features(interface)?;
        let active: Vec<_> = before
            .iter()
            .filter(|state| state.active == Feature::On && is_offload(&state.name))
            .map(|state| (state.name.as_str(), Feature::Off))
            .collect();
        if active.is_empty() {
            return Ok(OffloadsOff::default());
        }
        self.request(interface, &active)?;
        let after = self.features(interface)?;
        let is_on = |name: &str| after.iter().any(|s| s.name == name && s.active == Feature::On);
        let (still_on, turned_off) =
            active.into_iter().map(|(name, _)| name.to_owned()).partition(|name| is_on(name));
        Ok(OffloadsOff { turned_off, still_on })
    }

    /// Returns how many entries the device's own rings have, and could have.
    ///
    /// # Errors
    /// There is no such interface (`ENODEV`), the driver has no rings to tell of (`EOPNOTSUPP`), or
    /// the reply is not understood.
    pub fn rings(&mut self, interface: &str) -> Result<DeviceRings> {
        let request = vec![nest(HEADER, &[text(HEADER_DEV_NAME, interface)])];
        self.family
            .query(MSG_RINGS_GET, request, parse_rings)
            .and_then(|replies| {
                let rings = replies.into_iter().next();
                rings.ok_or_else(|| Cause::Malformed("no reply".to_owned()))
            })
            .map_err(|cause| Error::new("read rings of", interface, cause))
    }

    /// Returns the receive queue of each entry of the device's RSS table: the hash of a packet picks the
    /// entry. Empty for a device that spreads without a table.
    ///
    /// # Errors
    /// There is no such interface (`ENODEV`), the driver has no RSS to tell of or the kernel is older than
    /// 6.3 (`EOPNOTSUPP`), or the reply is not understood.
    pub fn rss_queues(&mut self, interface: &str) -> Result<Vec<u32>> {
        let request = vec![nest(HEADER, &[text(HEADER_DEV_NAME, interface)])];
        self.family
            .query(MSG_RSS_GET, request, parse_rss)
            .map(|replies| replies.into_iter().next().unwrap_or_default())
            .map_err(|cause| Error::new("read rss of", interface, cause))
    }

    /// Sets how many entries the device's own rings have. Drivers round up, and may take the link
    /// down for a while.
    ///
    /// # Errors
    /// As [`rings`](Self::rings); or the driver does not take the sizes (`EINVAL`), or not while it is
    /// in use (`EBUSY`).
    pub fn set_rings(&mut self, interface: &str, rings: RingCounts) -> Result<()> {
        let count = |kind, entries: u32| DefaultNla::new(kind, entries.to_ne_bytes().to_vec());
        let request = vec![
            nest(HEADER, &[text(HEADER_DEV_NAME, interface)]),
            count(RINGS_RX, rings.rx),
            count(RINGS_TX, rings.tx),
        ];
        self.family
            .query(MSG_RINGS_SET, request, |_| Ok(()))
            .map(drop)
            .map_err(|cause| Error::new("set rings of", interface, cause))
    }

    /// Sets how many receive and transmit queues are in use, of an interface whose channels do one or
    /// the other, such as a veth: 1 to as many as it was made with.
    ///
    /// # Errors
    /// There is no such interface (`ENODEV`), it has no channels (`EOPNOTSUPP`), or not so many of that
    /// kind (`EINVAL`).
    pub fn set_channels(&mut self, interface: &str, rx: u32, tx: u32) -> Result<()> {
        let count = |kind, value: u32| DefaultNla::new(kind, value.to_ne_bytes().to_vec());
        let header = nest(HEADER, &[text(HEADER_DEV_NAME, interface)]);
        let request = vec![header, count(CHANNELS_RX, rx), count(CHANNELS_TX, tx)];
        self.family
            .query(MSG_CHANNELS_SET, request, |_| Ok(()))
            .map(drop)
            .map_err(|cause| Error::new("set channels of", interface, cause))
    }

    fn request(&mut self, interface: &str, wishes: &[(&str, Feature)]) -> Result<()> {
        let bits: Vec<_> = wishes
            .iter()
            .map(|(name, wish)| {
                let mut bit = vec![text(BIT_NAME, name)];
                if *wish == Feature::On {
                    bit.push(DefaultNla::new(BIT_VALUE, Vec::new()));
                }
                nest(BITSET_BITS_BIT, &bit)
            })
            .collect();
        let request = vec![
            nest(HEADER, &[text(HEADER_DEV_NAME, interface)]),
            nest(FEATURES_WANTED, &[nest(BITSET_BITS, &bits)]),
        ];
        // The reply lists what changed; reading the state back says more.
        self.family
            .query(MSG_FEATURES_SET, request, |_| Ok(()))
            .map(drop)
            .map_err(|cause| Error::new("set features of", interface, cause))
    }
}

/// Whether a feature lets the kernel leave work on a packet to the device.
fn is_offload(name: &str) -> bool {
    name.starts_with("tx-checksum-")
        || (name.starts_with("tx-tcp") && name.ends_with("-segmentation"))
        || matches!(
            name,
            "tx-generic-segmentation"
                | "tx-udp-segmentation"
                | "tx-vlan-hw-insert"
                | "tx-vlan-stag-hw-insert"
                | "rx-vlan-hw-parse"
                | "rx-vlan-stag-hw-parse"
        )
}

fn parse_features(body: &[u8]) -> Result<Vec<FeatureState>, Cause> {
    let (mut hw, mut wanted, mut active, mut nochange) = (vec![], vec![], vec![], vec![]);
    for attribute in attributes(body) {
        let (kind, value) = attribute?;
        match kind {
            FEATURES_HW => hw = parse_bits(value)?,
            FEATURES_WANTED => wanted = parse_bits(value)?,
            FEATURES_ACTIVE => active = parse_bits(value)?,
            FEATURES_NOCHANGE => nochange = parse_bits(value)?,
            _ => {}
        }
    }
    let state = |bits: &[(String, Feature)], name: &str| {
        let found = bits.iter().find(|(bit, _)| bit == name);
        found.map_or(Feature::Off, |(_, state)| *state)
    };
    let states = hw.iter().map(|(name, changeable)| FeatureState {
        active: state(&active, name),
        wanted: state(&wanted, name),
        changeable: *changeable == Feature::On && state(&nochange, name) == Feature::Off,
        name: name.clone(),
    });
    Ok(states.collect())
}

fn parse_rings(body: &[u8]) -> Result<DeviceRings, Cause> {
    let mut rings = DeviceRings::default();
    for attribute in attributes(body) {
        let (kind, value) = attribute?;
        let field = match kind {
            RINGS_RX_MAX => &mut rings.max.rx,
            RINGS_TX_MAX => &mut rings.max.tx,
            RINGS_RX => &mut rings.now.rx,
            RINGS_TX => &mut rings.now.tx,
            _ => continue,
        };
        *field = parse_u32(value)?;
    }
    Ok(rings)
}

fn parse_rss(body: &[u8]) -> Result<Vec<u32>, Cause> {
    for attribute in attributes(body) {
        if let (RSS_INDIRECTION, table) = attribute? {
            let queues = table.chunks(size_of::<u32>()).map(parse_u32);
            return Ok(queues.collect::<Result<_, _>>()?);
        }
    }
    Ok(Vec::new())
}

/// Reads a bitset in its verbose form: with a mask, every bit in the mask is listed; without, the
/// bits that are set.
fn parse_bits(bitset: &[u8]) -> Result<Vec<(String, Feature)>, Cause> {
    const NOMASK: u16 = 1;
    let mut is_list = false;
    let mut bits = Vec::new();
    for attribute in attributes(bitset) {
        let (kind, value) = attribute?;
        is_list |= kind == NOMASK;
        for bit in attributes(if kind == BITSET_BITS { value } else { &[] }) {
            let (mut name, mut state) = (None, Feature::Off);
            for field in attributes(bit?.1) {
                match field? {
                    (BIT_NAME, text) => name = Some(string(text)),
                    (BIT_VALUE, _) => state = Feature::On,
                    _ => {}
                }
            }
            // A bit that this kernel has no name for cannot be asked for by name either.
            bits.extend(name.map(|name| (name, state)));
        }
    }
    if is_list {
        bits.iter_mut().for_each(|(_, state)| *state = Feature::On);
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable;

    use super::*;

    #[test]
    fn an_rss_table_is_read_whole_or_refused() {
        let table = DefaultNla::new(4, [3_u32, 0, 3].map(u32::to_ne_bytes).concat());
        let emitted = |attributes: &[DefaultNla]| {
            let mut body = vec![0; attributes.buffer_len()];
            attributes.emit(&mut body);
            body
        };
        let context = DefaultNla::new(2, vec![0; 4]);
        assert_eq!(parse_rss(&emitted(&[context.clone(), table])).unwrap(), [3, 0, 3]);
        assert!(parse_rss(&emitted(&[context])).unwrap().is_empty(), "no table");
        let cut = DefaultNla::new(4, vec![0; 6]);
        assert!(parse_rss(&emitted(&[cut])).is_err(), "a number and a half");
    }

    fn bitset(kind: u16, list: bool, names: &[(&str, Feature)]) -> DefaultNla {
        let bits: Vec<_> = names
            .iter()
            .map(|(name, state)| {
                let mut bit = vec![text(BIT_NAME, name)];
                if *state == Feature::On {
                    bit.push(DefaultNla::new(BIT_VALUE, vec![]));
                }
                nest(BITSET_BITS_BIT, &bit)
            })
            .collect();
        let nomask = list.then(|| DefaultNla::new(1, vec![]));
        let children: Vec<_> = nomask.into_iter().chain([nest(BITSET_BITS, &bits)]).collect();
        nest(kind, &children)
    }

    #[test]
    fn features_join_the_four_bitsets() {
        use Feature::{Off, On};
        let reply = [
            bitset(
                FEATURES_HW,
                false,
                &[("rx-gro", On), ("tx-tcp-segmentation", On), ("fixed", Off)],
            ),
            bitset(FEATURES_WANTED, true, &[("rx-gro", Off), ("tx-tcp-segmentation", Off)]),
            bitset(FEATURES_ACTIVE, true, &[("rx-gro", Off), ("fixed", Off)]),
            bitset(FEATURES_NOCHANGE, true, &[("fixed", Off)]),
        ];
        let mut body = vec![0; reply.as_slice().buffer_len()];
        reply.as_slice().emit(&mut body);
        let state = |name: &str, active, wanted, changeable| FeatureState {
            name: name.to_owned(),
            active,
            wanted,
            changeable,
        };
        let expected = [
            state("rx-gro", On, On, true),
            state("tx-tcp-segmentation", Off, On, true),
            state("fixed", On, Off, false),
        ];
        assert_eq!(parse_features(&body).unwrap(), expected);
    }

    #[test]
    fn rings_are_read_and_a_short_number_is_refused() {
        let count = |kind, entries: u32| DefaultNla::new(kind, entries.to_ne_bytes().to_vec());
        let emit = |reply: &[DefaultNla]| {
            let mut body = vec![0; reply.buffer_len()];
            reply.emit(&mut body);
            body
        };
        let body = emit(&[count(2, 4096), count(5, 2048), count(6, 256), count(9, 128)]);
        let expected = DeviceRings {
            now: RingCounts { rx: 256, tx: 128 },
            max: RingCounts { rx: 4096, tx: 2048 },
        };
        assert_eq!(parse_rings(&body).unwrap(), expected);
        assert!(parse_rings(&emit(&[DefaultNla::new(6, vec![1, 2])])).is_err());
    }

    #[test]
    fn offloads_are_told_by_name() {
        for name in ["tx-checksum-ip-generic", "tx-checksum-sctp", "tx-tcp-ecn-segmentation"] {
            assert!(is_offload(name), "{name}");
        }
        for name in ["rx-gro", "rx-checksum", "tx-gre-segmentation", "tx-scatter-gather"] {
            assert!(!is_offload(name), "{name}");
        }
    }
}
