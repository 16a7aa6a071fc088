//! What is known to bite AF_XDP users, driver by driver, each with where it was found out.
//!
//! A driver is named as [`LinkDetails::driver`](crate::link::LinkDetails::driver) names it. A row says
//! what happens, what helps, and where to read about it; reports that nobody has confirmed say so.
//! What netmem makes of it stands beside it as a [`Handling`]: some of it a port's report tells, some
//! of it netmem does, and a mode in which packets would be cut is not taken.
//!
//! A driver without a row is one of which nothing is known here, not one without faults.

use super::XdpMode;
use crate::mem::XDP_PACKET_HEADROOM;

/// Bytes in a unit of `SRRCTL.BSIZEPKT`.
const KIB: u32 = 1024;

/// One thing that is known of a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quirk {
    /// The drivers, by name; one that ends in `*` stands for all that begin so.
    pub drivers: &'static [&'static str],
    /// The modes that it concerns.
    pub modes: &'static [XdpMode],
    /// What happens.
    pub what: &'static str,
    /// What helps.
    pub hint: &'static str,
    /// Where it was found out.
    pub source: &'static str,
    /// What netmem makes of it.
    pub handling: Handling,
}

/// What netmem makes of a quirk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Handling {
    /// A port's report tells it.
    Reported,
    /// A port's report tells it where the interface's other end is known to leave checksums to the
    /// device.
    ReportedIfPeerLeavesChecksums,
    /// Every port has frames in its fill ring before the bind; its report tells the quirk where they
    /// are fewer than the driver's rx ring holds.
    ReportedIfFewFrames,
    /// Every port does what helps. Other programs may not.
    Done,
    /// It is why a mode is refused, and told with the refusal; who got the mode does not have it.
    ExplainsRefusal,
    /// The device fills whole units of 1024 bytes behind the headroom of a frame, rounded down; see
    /// [`usable_frame_bytes`].
    FillsWholeKib(Longer),
    /// It concerns XDP programs that are no port's.
    NotOfPorts,
}

/// What becomes of a packet that is longer than what the device fills of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Longer {
    /// It comes cut, and nothing says so: the mode is not taken where the MTU allows such packets.
    Cut,
    /// Some devices of the driver drop it: the port's report tells the quirk where the MTU allows such
    /// packets.
    DroppedBySome,
}

/// What is known of a driver.
pub fn of(driver: &str) -> impl Iterator<Item = &'static Quirk> {
    QUIRKS.iter().filter(move |quirk| quirk.drivers.iter().any(|name| matches(name, driver)))
}

/// What is known of a driver in a mode.
pub(super) fn of_mode(driver: &str, mode: XdpMode) -> impl Iterator<Item = &'static Quirk> {
    of(driver).filter(move |quirk| quirk.modes.contains(&mode))
}

/// How many bytes of a received packet the driver has written into one frame in zero-copy mode, at
/// least: what is behind the headroom, in the units that the device is told buffer sizes in.
///
/// `igb` and `igc` tell it whole KiB, rounded down (`igb_setup_srrctl` in igb_main.c since kernel 6.14,
/// `IGC_SRRCTL_BSIZEPKT` in igc_base.h), and `ixgbe` does for an 82599 (`ixgbe_configure_srrctl` in
/// ixgbe_main.c), all under drivers/net/ethernet/intel. `i40e` and `ice` round 128 bytes up
/// (`i40e_configure_rx_ring`, and `ice_setup_rx_ctx` since 6.5). Of them, and of every other driver, it
/// is all that is behind the headroom.
#[must_use]
pub fn usable_frame_bytes(driver: &str, frame_bytes: u32, headroom_bytes: u32) -> u32 {
    let room_bytes = frame_bytes.saturating_sub(XDP_PACKET_HEADROOM.saturating_add(headroom_bytes));
    match of_mode(driver, XdpMode::ZeroCopy).any(Quirk::fills_whole_kib) {
        true => room_bytes / KIB * KIB,
        false => room_bytes,
    }
}

impl Quirk {
    pub(super) fn fills_whole_kib(&self) -> bool {
        matches!(self.handling, Handling::FillsWholeKib(_))
    }
}

fn matches(name: &str, driver: &str) -> bool {
    match name.strip_suffix('*') {
        Some(beginning) => driver.starts_with(beginning),
        None => driver == name,
    }
}

const ALL: &[XdpMode] = &XdpMode::ALL;
const IN_DRIVER: &[XdpMode] = &[XdpMode::ZeroCopy, XdpMode::Native];
const COPY: &[XdpMode] = &[XdpMode::Native, XdpMode::Generic];
const ZERO_COPY: &[XdpMode] = &[XdpMode::ZeroCopy];
const NATIVE: &[XdpMode] = &[XdpMode::Native];
const GENERIC: &[XdpMode] = &[XdpMode::Generic];

/// The table. A row is here because its source says so, not because it is likely.
static QUIRKS: &[Quirk] = &[
    Quirk {
        drivers: &["veth"],
        modes: COPY,
        what: "packets of the peer's kernel come with TCP and UDP checksums that are not filled in",
        hint: "turn transmit checksums off at the peer: ethtool -K PEER tx off",
        source: "https://github.com/xdp-project/xdp-tutorial/issues/160",
        handling: Handling::ReportedIfPeerLeavesChecksums,
    },
    Quirk {
        drivers: &["veth"],
        modes: NATIVE,
        what: "what an XDP program redirects to a veth is lost unless its peer receives by NAPI",
        hint: "attach an XDP program to the peer in native mode, or turn GRO on there: ethtool -K \
               PEER gro on",
        source: "https://github.com/xdp-project/xdp-tutorial/issues/167",
        handling: Handling::NotOfPorts,
    },
    Quirk {
        drivers: &["ice", "i40e", "ixgbe"],
        modes: ZERO_COPY,
        what: "the transmit queues of zero-copy mode exist only while some XDP program is attached: \
               before that nothing can be sent",
        hint: "attach the program before the first packet is sent, for a program that only sends too: \
               netmem does",
        source: "https://github.com/xdp-project/xdp-project/issues/100",
        handling: Handling::Done,
    },
    Quirk {
        drivers: &["virtio_net"],
        modes: ZERO_COPY,
        what: "without an XDP program attached the bind works, and the first send fails with EINVAL",
        hint: "attach the program before the first packet is sent, for a program that only sends too: \
               netmem does",
        source: "https://github.com/appneta/tcpreplay/pull/1002",
        handling: Handling::Done,
    },
    Quirk {
        drivers: &["ice", "i40e"],
        modes: ZERO_COPY,
        what: "a fill ring that is short of frames at the bind makes the driver leak buffers, until \
               the device receives nothing any more",
        hint: "fill the fill ring before the bind, with the driver's rx ring at least, for a program \
               that only sends too",
        source: "https://github.com/anza-xyz/agave/pull/6836",
        handling: Handling::ReportedIfFewFrames,
    },
    Quirk {
        drivers: &["i40e"],
        modes: ALL,
        what: "the firmware's LLDP agent may split the queues into two traffic classes: RSS then feeds \
               the lower half of the queues only, and ethtool -l and -x do not show it",
        hint: "ethtool --set-priv-flags IFACE disable-fw-lldp on (it is stored in the device), or bind \
               the lower half of the queues",
        source: "https://github.com/LibtraceTeam/libtrace/issues/222",
        handling: Handling::Reported,
    },
    Quirk {
        drivers: &["i40e"],
        modes: GENERIC,
        what: "a bind that names neither copy nor zero-copy works, and the first send fails",
        hint: "name the mode in the bind: netmem does, other programs may not",
        source: "https://github.com/firedancer-io/firedancer/pull/4266",
        handling: Handling::Done,
    },
    Quirk {
        drivers: &["igb", "igc"],
        modes: ZERO_COPY,
        what: "the device fills whole KiB of a frame behind its headroom, rounded down, 1024 bytes of \
               2048, and longer packets come cut, without an error",
        hint: "use frames of 4096 bytes",
        source: "https://github.com/torvalds/linux/blob/master/drivers/net/ethernet/intel/igb/igb_main.c",
        handling: Handling::FillsWholeKib(Longer::Cut),
    },
    Quirk {
        drivers: &["igb"],
        modes: ZERO_COPY,
        what: "a fill ring with fewer frames than the driver asks for makes it take frames for received \
               that are not, also such as are somebody else's by then (igb_alloc_rx_buffers_zc, seen with \
               kernel 7.3)",
        hint: "never keep so many packets that the pool cannot keep the fill ring full",
        source: "https://github.com/torvalds/linux/blob/master/drivers/net/ethernet/intel/igb/igb_xsk.c",
        handling: Handling::Reported,
    },
    Quirk {
        drivers: &["ixgbe"],
        modes: ZERO_COPY,
        what: "an 82599 fills whole KiB of a frame behind its headroom, rounded down, 1024 bytes of \
               2048, and longer packets are dropped; later devices are told the length to the byte",
        hint: "use frames of 4096 bytes",
        source: "https://github.com/torvalds/linux/blob/master/drivers/net/ethernet/intel/ixgbe/ixgbe_main.c",
        handling: Handling::FillsWholeKib(Longer::DroppedBySome),
    },
    Quirk {
        drivers: &["ixgbe"],
        modes: IN_DRIVER,
        what: "the link goes down and comes back after an AF_XDP program has set it up",
        hint: "wait for the carrier before counting on packets, and expect it on remote logins too",
        source: "https://github.com/iij/ipgen/pull/46",
        handling: Handling::Reported,
    },
    Quirk {
        drivers: &["igc"],
        modes: IN_DRIVER,
        what: "attaching and taking off a program closes and opens the interface: the carrier goes for \
               seconds",
        hint: "wait for the carrier before counting on packets, and expect it on remote logins too",
        source: "https://github.com/torvalds/linux/blob/master/drivers/net/ethernet/intel/igc/igc_xdp.c",
        handling: Handling::Reported,
    },
    Quirk {
        drivers: &["igc"],
        modes: IN_DRIVER,
        what: "an MTU above 1500 refuses every program",
        hint: "ip link set IFACE mtu 1500, or generic mode",
        source: "https://github.com/torvalds/linux/blob/master/drivers/net/ethernet/intel/igc/igc_xdp.c",
        handling: Handling::ExplainsRefusal,
    },
    Quirk {
        drivers: &["igc"],
        modes: ZERO_COPY,
        what: "reported on kernel 6.14, not confirmed: packets of a bound queue that the program passes \
               do not reach the kernel's stack",
        hint: "check that ARP and remote logins still work, or take native mode",
        source: "https://github.com/xdp-project/xdp-tutorial/issues/469",
        handling: Handling::Reported,
    },
    Quirk {
        drivers: &["ixgbevf"],
        modes: IN_DRIVER,
        what: "a large MTU refuses every program with EINVAL",
        hint: "lower the MTU, or take generic mode",
        source: "https://github.com/xdp-project/xdp-tools/issues/327",
        handling: Handling::ExplainsRefusal,
    },
    Quirk {
        drivers: &["mlx5_core"],
        modes: IN_DRIVER,
        what: "attaching and taking off a program may reset the device, and traffic stops meanwhile",
        hint: "attach once and leave it attached; expect it on remote logins too",
        source: "https://github.com/cilium/cilium/pull/18636",
        handling: Handling::Reported,
    },
    Quirk {
        drivers: &["ena"],
        modes: IN_DRIVER,
        what: "a program is refused while more than half of the most channels are in use: each needs \
               a transmit queue of its own",
        hint: "ethtool -L IFACE combined N, with N at most half of the maximum that ethtool -l shows",
        source: "https://github.com/amzn/amzn-drivers/issues/240",
        handling: Handling::ExplainsRefusal,
    },
    Quirk {
        drivers: &["ena"],
        modes: IN_DRIVER,
        what: "its usual MTU of 9001 refuses every program that takes one buffer a packet",
        hint: "lower the MTU to 3818 or less",
        source: "https://github.com/cilium/cilium/pull/12156",
        handling: Handling::ExplainsRefusal,
    },
    Quirk {
        drivers: &["bnxt_en"],
        modes: ALL,
        what: "its rings hold 511 or 2047 descriptors: taken as sizes of AF_XDP rings, which are powers \
               of two, they are refused with EINVAL",
        hint: "round up to the next power of two: netmem's advice is rounded",
        source: "https://github.com/anza-xyz/agave/pull/14401",
        handling: Handling::Done,
    },
    Quirk {
        drivers: &["bond", "bonding"],
        modes: ALL,
        what: "it says that its rings hold 0 descriptors",
        hint: "take the members' rings, or better bind the members themselves: netmem takes 0 for not \
               told",
        source: "https://github.com/anza-xyz/agave/pull/14595",
        handling: Handling::Done,
    },
    Quirk {
        drivers: &["virtio_net"],
        modes: IN_DRIVER,
        what: "a program is refused with EOPNOTSUPP while the host may hand over packets that it has \
               merged or not checksummed, and the guest cannot turn that off",
        hint: "turn off guest_tso4, guest_tso6, guest_ecn, guest_ufo and guest_csum at the host, or \
               take generic mode",
        source: "https://github.com/firecracker-microvm/firecracker/issues/2433",
        handling: Handling::ExplainsRefusal,
    },
    Quirk {
        drivers: &["virtio_net"],
        modes: ZERO_COPY,
        what: "the bind fails with EINVAL if the device does not use the platform's DMA",
        hint: "offer VIRTIO_F_ACCESS_PLATFORM at the host (QEMU: iommu_platform=on)",
        source: "https://github.com/torvalds/linux/blob/master/drivers/net/virtio_net.c",
        handling: Handling::ExplainsRefusal,
    },
    Quirk {
        drivers: &["stmmac*", "dwmac*", "st_gmac"],
        modes: ZERO_COPY,
        what: "a queue whose fill ring ran empty receives nothing any more, even when frames are there \
               again, until the socket is polled",
        hint: "keep the fill ring filled, and wake the driver after it was empty: netmem does",
        source: "https://github.com/analogdevicesinc/linux/issues/3517",
        handling: Handling::Done,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_is_found_by_its_whole_name_or_by_how_it_begins() {
        let whats = |driver| of(driver).map(|quirk| quirk.what).collect::<Vec<_>>();
        assert_eq!(whats("veth").len(), 2);
        assert!(whats("veth").iter().all(|what| what.contains("peer")));
        for unknown in ["", "vet", "veth0", "ic", "tun", "*"] {
            assert_eq!(of(unknown).count(), 0, "{unknown}");
        }
        for stmmac in ["stmmaceth", "dwmac-intel", "st_gmac"] {
            assert_eq!(of(stmmac).count(), 1, "{stmmac}");
        }
        assert_eq!(of("st_gmac2").count(), 0);
    }

    #[test]
    fn what_is_known_is_of_the_mode() {
        use Handling::{Done, ExplainsRefusal, Reported, ReportedIfFewFrames};
        let handling = |driver, mode| of_mode(driver, mode).map(|q| q.handling).collect::<Vec<_>>();
        assert_eq!(handling("i40e", XdpMode::ZeroCopy), [Done, ReportedIfFewFrames, Reported]);
        assert_eq!(handling("i40e", XdpMode::Native), [Reported]);
        assert_eq!(handling("i40e", XdpMode::Generic), [Reported, Done]);
        assert_eq!(handling("ena", XdpMode::Native), [ExplainsRefusal; 2]);
        assert_eq!(handling("ena", XdpMode::Generic), []);
    }

    /// Planted and caught: rounded up; the headroom left out; the rule taken for every driver.
    #[test]
    fn a_frame_is_filled_in_whole_kib_where_the_driver_says_so() {
        for driver in ["igb", "igc", "ixgbe"] {
            let usable = |frame, headroom| usable_frame_bytes(driver, frame, headroom);
            assert_eq!((usable(2048, 0), usable(4096, 0), usable(3000, 0)), (1024, 3072, 2048));
            // 768 bytes are no whole unit; 3840 less 768 are three.
            assert_eq!((usable(2048, 1024), usable(4096, 768), usable(4096, 769)), (0, 3072, 2048));
            assert_eq!((usable(256, 0), usable(0, 0), usable(2048, u32::MAX)), (0, 0, 0));
        }
        for driver in ["veth", "virtio_net", "i40e", "ice", "ixgbevf", "igbvf", ""] {
            assert_eq!(usable_frame_bytes(driver, 2048, 0), 1792, "{driver}");
            assert_eq!(usable_frame_bytes(driver, 4096, 100), 3740, "{driver}");
        }
    }

    #[test]
    fn every_row_is_whole() {
        for quirk in QUIRKS {
            assert!(!quirk.drivers.is_empty() && !quirk.modes.is_empty(), "{quirk:?}");
            assert!(quirk.source.starts_with("https://"), "{quirk:?}");
            for text in [quirk.what, quirk.hint] {
                assert!(!text.is_empty() && !text.ends_with('.'), "{text}");
                assert!(!text.contains("  "), "{text}");
            }
        }
    }
}
