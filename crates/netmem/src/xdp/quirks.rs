//! What is known to bite AF_XDP users, driver by driver, each with where it was found out.
//!
//! A driver is named as [`LinkDetails::driver`](crate::link::LinkDetails::driver) names it. A row says
//! what happens, what helps, and where to read about it; reports that nobody has confirmed say so.
//! Where a driver asks something of a program that others do not, the row names it as a [`Needs`], so
//! that code can ask for it instead of for a driver.
//!
//! A driver without a row is one of which nothing is known here, not one without faults.

use super::XdpMode;

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
    /// What it asks of a program.
    pub needs: Option<Needs>,
}

/// What a driver asks of a program that uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Needs {
    /// Some XDP program attached before the first packet is sent, in a port that never receives, too.
    ProgramBeforeTx,
    /// Frames in the fill ring before the socket is bound, in a port that never receives, too.
    FramesBeforeBind,
    /// A wake-up once the fill ring has frames again after it was empty.
    WakeAfterEmptyFill,
    /// Copy or zero-copy mode named in the bind.
    ModeNamedInBind,
}

/// What is known of a driver.
pub fn of(driver: &str) -> impl Iterator<Item = &'static Quirk> {
    QUIRKS.iter().filter(move |quirk| quirk.drivers.iter().any(|name| matches(name, driver)))
}

/// What a driver asks of a program in a mode, each once.
#[must_use]
pub fn needs(driver: &str, mode: XdpMode) -> Vec<Needs> {
    let mut needs = Vec::new();
    for need in of(driver).filter(|quirk| quirk.modes.contains(&mode)).filter_map(|q| q.needs) {
        if !needs.contains(&need) {
            needs.push(need);
        }
    }
    needs
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
        needs: None,
    },
    Quirk {
        drivers: &["veth"],
        modes: NATIVE,
        what: "what an XDP program redirects to a veth is lost unless its peer receives by NAPI",
        hint: "attach an XDP program to the peer in native mode, or turn GRO on there: ethtool -K \
               PEER gro on",
        source: "https://github.com/xdp-project/xdp-tutorial/issues/167",
        needs: None,
    },
    Quirk {
        drivers: &["ice", "i40e", "ixgbe"],
        modes: ZERO_COPY,
        what: "the transmit queues of zero-copy mode exist only while some XDP program is attached: \
               before that nothing can be sent",
        hint: "attach the program before the first packet is sent, for a program that only sends too",
        source: "https://github.com/xdp-project/xdp-project/issues/100",
        needs: Some(Needs::ProgramBeforeTx),
    },
    Quirk {
        drivers: &["virtio_net"],
        modes: ZERO_COPY,
        what: "without an XDP program attached the bind works, and the first send fails with EINVAL",
        hint: "attach the program before the first packet is sent, for a program that only sends too",
        source: "https://github.com/appneta/tcpreplay/pull/1002",
        needs: Some(Needs::ProgramBeforeTx),
    },
    Quirk {
        drivers: &["ice", "i40e"],
        modes: ZERO_COPY,
        what: "a fill ring that is short of frames at the bind makes the driver leak buffers, until \
               the device receives nothing any more",
        hint: "fill the fill ring before the bind, with the driver's rx ring at least, for a program \
               that only sends too",
        source: "https://github.com/anza-xyz/agave/pull/6836",
        needs: Some(Needs::FramesBeforeBind),
    },
    Quirk {
        drivers: &["i40e"],
        modes: ALL,
        what: "the firmware's LLDP agent may split the queues into two traffic classes: RSS then feeds \
               the lower half of the queues only, and ethtool -l and -x do not show it",
        hint: "ethtool --set-priv-flags IFACE disable-fw-lldp on (it is stored in the device), or bind \
               the lower half of the queues",
        source: "https://github.com/LibtraceTeam/libtrace/issues/222",
        needs: None,
    },
    Quirk {
        drivers: &["i40e"],
        modes: GENERIC,
        what: "a bind that names neither copy nor zero-copy works, and the first send fails",
        hint: "name the mode in the bind: netmem does, other programs may not",
        source: "https://github.com/firedancer-io/firedancer/pull/4266",
        needs: Some(Needs::ModeNamedInBind),
    },
    Quirk {
        drivers: &["ixgbe"],
        modes: IN_DRIVER,
        what: "the link goes down and comes back after an AF_XDP program has set it up",
        hint: "wait for the carrier before counting on packets, and expect it on remote logins too",
        source: "https://github.com/iij/ipgen/pull/46",
        needs: None,
    },
    Quirk {
        drivers: &["igc"],
        modes: IN_DRIVER,
        what: "attaching and taking off a program closes and opens the interface: the carrier goes for \
               seconds",
        hint: "wait for the carrier before counting on packets, and expect it on remote logins too",
        source: "https://github.com/torvalds/linux/blob/master/drivers/net/ethernet/intel/igc/igc_xdp.c",
        needs: None,
    },
    Quirk {
        drivers: &["igc"],
        modes: IN_DRIVER,
        what: "an MTU above 1500 refuses every program",
        hint: "ip link set IFACE mtu 1500, or generic mode",
        source: "https://github.com/torvalds/linux/blob/master/drivers/net/ethernet/intel/igc/igc_xdp.c",
        needs: None,
    },
    Quirk {
        drivers: &["igc"],
        modes: ZERO_COPY,
        what: "reported on kernel 6.14, not confirmed: packets of a bound queue that the program passes \
               do not reach the kernel's stack",
        hint: "check that ARP and remote logins still work, or take native mode",
        source: "https://github.com/xdp-project/xdp-tutorial/issues/469",
        needs: None,
    },
    Quirk {
        drivers: &["ixgbevf"],
        modes: IN_DRIVER,
        what: "a large MTU refuses every program with EINVAL",
        hint: "lower the MTU, or take generic mode",
        source: "https://github.com/xdp-project/xdp-tools/issues/327",
        needs: None,
    },
    Quirk {
        drivers: &["mlx5_core"],
        modes: IN_DRIVER,
        what: "attaching and taking off a program may reset the device, and traffic stops meanwhile",
        hint: "attach once and leave it attached; expect it on remote logins too",
        source: "https://github.com/cilium/cilium/pull/18636",
        needs: None,
    },
    Quirk {
        drivers: &["ena"],
        modes: IN_DRIVER,
        what: "a program is refused while more than half of the most channels are in use: each needs \
               a transmit queue of its own",
        hint: "ethtool -L IFACE combined N, with N at most half of the maximum that ethtool -l shows",
        source: "https://github.com/amzn/amzn-drivers/issues/240",
        needs: None,
    },
    Quirk {
        drivers: &["ena"],
        modes: IN_DRIVER,
        what: "its usual MTU of 9001 refuses every program that takes one buffer a packet",
        hint: "lower the MTU to 3818 or less",
        source: "https://github.com/cilium/cilium/pull/12156",
        needs: None,
    },
    Quirk {
        drivers: &["bnxt_en"],
        modes: ALL,
        what: "its rings hold 511 or 2047 descriptors: taken as sizes of AF_XDP rings, which are powers \
               of two, they are refused with EINVAL",
        hint: "round up to the next power of two",
        source: "https://github.com/anza-xyz/agave/pull/14401",
        needs: None,
    },
    Quirk {
        drivers: &["bond", "bonding"],
        modes: ALL,
        what: "it says that its rings hold 0 descriptors",
        hint: "take the members' rings, or better bind the members themselves",
        source: "https://github.com/anza-xyz/agave/pull/14595",
        needs: None,
    },
    Quirk {
        drivers: &["virtio_net"],
        modes: IN_DRIVER,
        what: "a program is refused with EOPNOTSUPP while the host may hand over packets that it has \
               merged or not checksummed, and the guest cannot turn that off",
        hint: "turn off guest_tso4, guest_tso6, guest_ecn, guest_ufo and guest_csum at the host, or \
               take generic mode",
        source: "https://github.com/firecracker-microvm/firecracker/issues/2433",
        needs: None,
    },
    Quirk {
        drivers: &["virtio_net"],
        modes: ZERO_COPY,
        what: "the bind fails with EINVAL if the device does not use the platform's DMA",
        hint: "offer VIRTIO_F_ACCESS_PLATFORM at the host (QEMU: iommu_platform=on)",
        source: "https://github.com/torvalds/linux/blob/master/drivers/net/virtio_net.c",
        needs: None,
    },
    Quirk {
        drivers: &["stmmac*", "dwmac*", "st_gmac"],
        modes: ZERO_COPY,
        what: "a queue whose fill ring ran empty receives nothing any more, even when frames are there \
               again, until the socket is polled",
        hint: "keep the fill ring filled, and wake the driver after it was empty: netmem does",
        source: "https://github.com/analogdevicesinc/linux/issues/3517",
        needs: Some(Needs::WakeAfterEmptyFill),
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
    fn needs_are_those_of_the_mode() {
        use Needs::{FramesBeforeBind, ModeNamedInBind, ProgramBeforeTx, WakeAfterEmptyFill};
        let zero_copy = |driver| needs(driver, XdpMode::ZeroCopy);
        assert_eq!(zero_copy("i40e"), [ProgramBeforeTx, FramesBeforeBind]);
        assert_eq!(zero_copy("ixgbe"), [ProgramBeforeTx]);
        assert_eq!(zero_copy("dwmac-sun8i"), [WakeAfterEmptyFill]);
        assert_eq!(needs("i40e", XdpMode::Generic), [ModeNamedInBind]);
        assert_eq!(needs("i40e", XdpMode::Native), []);
        assert_eq!(zero_copy("bnxt_en"), []);
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
