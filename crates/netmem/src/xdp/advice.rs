//! Whether sizes fit each other and what is known of the driver, told before packets are lost for it.
//!
//! Nothing here asks the kernel: facts go in, sentences come out. What stands in a port's report is
//! what concerns that port: its mode, its driver, its sizes. What netmem does by itself is not told, nor
//! what may be so and is not known to be.

use std::{collections::BTreeSet, fmt};

use super::{
    RingSizes, XdpMode,
    quirks::{self, Handling, Longer, Quirk},
};
use crate::link::{DriverRings, LinkDetails, Told, Untold};

/// The largest frame that AF_XDP takes.
const LARGEST_FRAME_BYTES: u32 = 4096;

/// Something that works, and would work better otherwise. Its text is one line for a user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice {
    /// The fill ring holds fewer slots than the two rings that packets lie in: the driver runs out of
    /// slots in a burst and drops.
    FillTooSmall {
        /// Entries of the fill ring.
        fill: u32,
        /// The least that is advised: a power of two.
        at_least: u32,
        /// Descriptors in the driver's rx ring; `None` if it does not tell, and in copy mode, where
        /// the driver takes nothing from the fill ring.
        driver_rx: Option<u32>,
        /// Entries of the port's rx ring.
        rx: u32,
    },
    /// The completion ring is smaller than the tx ring: the kernel takes a packet to send only while
    /// its completion has room, so the rest of the tx ring only waits.
    CompletionBelowTx {
        /// Entries of the completion ring.
        completion: u32,
        /// Entries of the tx ring.
        tx: u32,
    },
    /// The rx ring is smaller than the driver's: one full round of the driver does not fit into it.
    RxBelowDriver {
        /// Entries of the port's rx ring.
        rx: u32,
        /// Descriptors in the driver's rx ring.
        driver_rx: u32,
    },
    /// The interface's MTU allows packets that are longer than a port takes.
    PacketsTooLong {
        /// The interface.
        interface: String,
        /// The longest packet that the port takes, in bytes with the Ethernet header.
        holds_bytes: u32,
        /// The longest packet that the MTU allows, in bytes with the Ethernet header and two VLAN tags.
        longest_bytes: u32,
        /// Why packets may not span several frames, where that was tried.
        refused: Option<String>,
    },
    /// What comes to these receive queues passes to the kernel.
    QueuesWithoutSocket {
        /// The queues, in order.
        queues: Vec<u32>,
    },
    /// Something is known of the driver that concerns the port's mode.
    Quirk {
        /// The driver.
        driver: String,
        /// What is known.
        quirk: &'static Quirk,
    },
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FillTooSmall { fill, at_least, driver_rx, rx } => {
                write!(f, "fill ring of {fill}: at least {at_least} is advised, for ")?;
                match driver_rx {
                    Some(driver_rx) => {
                        write!(f, "the driver's rx ring of {driver_rx} and the port's of {rx}")
                    }
                    None => write!(f, "the port's rx ring of {rx}"),
                }
            }
            Self::CompletionBelowTx { completion, tx } => write!(
                f,
                "completion ring of {completion}: of the tx ring of {tx} no more than that is sent at \
                 a time"
            ),
            Self::RxBelowDriver { rx, driver_rx } => write!(
                f,
                "rx ring of {rx}: the driver's of {driver_rx} may bring more at once, which is dropped"
            ),
            Self::PacketsTooLong { interface, holds_bytes, longest_bytes, refused } => {
                write!(
                    f,
                    "the kernel drops packets longer than {holds_bytes} bytes, and the MTU of \
                     {interface} allows {longest_bytes}"
                )?;
                refused.as_ref().map_or(Ok(()), |why| write!(f, " ({why})"))
            }
            Self::QueuesWithoutSocket { queues } => {
                let noun = if queues.len() == 1 { "queue" } else { "queues" };
                let queues = Numbers(queues);
                write!(f, "packets of {noun} {queues} pass to the kernel: no socket is bound there")
            }
            Self::Quirk { driver, quirk } => {
                write!(f, "{driver}: {}; {} ({})", quirk.what, quirk.hint, quirk.source)
            }
        }
    }
}

/// Numbers in order, as a user reads them: `1, 3 and 5 to 9`.
struct Numbers<'a>(&'a [u32]);

impl fmt::Display for Numbers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Runs of three and more are drawn together.
        let mut parts: Vec<(u32, u32)> = Vec::new();
        for &number in self.0 {
            match parts.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
                _ => parts.push((number, number)),
            }
        }
        let texts = parts.iter().flat_map(|&(first, last)| match last - first {
            0 => vec![first.to_string()],
            1 => vec![first.to_string(), last.to_string()],
            _ => vec![format!("{first} to {last}")],
        });
        let texts: Vec<_> = texts.collect();
        match &texts[..] {
            [before @ .., last] if !before.is_empty() => {
                write!(f, "{} and {last}", before.join(", "))
            }
            _ => f.write_str(&texts.concat()),
        }
    }
}

/// Compares a port's ring sizes with each other and with the driver's rings.
///
/// The kernel's advice is a fill ring of at least the driver's rx ring and the socket's rx ring. What a
/// driver does not tell is left out of the sum.
#[must_use]
pub fn check_rings(sizes: &RingSizes, driver: &Told<DriverRings>) -> Vec<Advice> {
    let driver_rx = driver.as_ref().ok().map(|rings| rings.rx).filter(|rx| *rx > 0);
    let mut advice = Vec::new();
    let wanted = sizes.rx.saturating_add(driver_rx.unwrap_or(0));
    if sizes.fill < wanted {
        let at_least = wanted.checked_next_power_of_two().unwrap_or(1 << 31);
        let (fill, rx) = (sizes.fill, sizes.rx);
        advice.push(Advice::FillTooSmall { fill, at_least, driver_rx, rx });
    }
    if sizes.completion < sizes.tx {
        let (completion, tx) = (sizes.completion, sizes.tx);
        advice.push(Advice::CompletionBelowTx { completion, tx });
    }
    if let Some(driver_rx) = driver_rx.filter(|driver_rx| sizes.rx < *driver_rx) {
        advice.push(Advice::RxBelowDriver { rx: sizes.rx, driver_rx });
    }
    advice
}

/// The receive queues in use that have no socket, in order: what comes there passes to the kernel.
///
/// `rx_queues` is [`LinkDetails::rx_queues`](crate::link::LinkDetails::rx_queues), `bound` the queues
/// that have a socket, in any order.
#[must_use]
pub fn queues_without_socket(rx_queues: u32, bound: &[u32]) -> Vec<u32> {
    let bound: BTreeSet<_> = bound.iter().copied().collect();
    (0..rx_queues).filter(|queue| !bound.contains(queue)).collect()
}

/// What a port got, as far as advice depends on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Got<'a> {
    pub(super) details: &'a LinkDetails,
    pub(super) mode: XdpMode,
    pub(super) rings: &'a RingSizes,
    pub(super) frame: Frame,
    /// Slots in the fill ring at the bind.
    pub(super) filled: u32,
}

/// A frame, and what may come into it, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) frame_bytes: u32,
    pub(super) headroom_bytes: u32,
    /// The longest packet that the MTU allows, with its Ethernet header and VLAN tags.
    pub(super) longest_bytes: u32,
}

/// What a user should know about a port: its ring sizes, and what is known of its driver in its mode.
pub(super) fn of_port(got: &Got<'_>) -> Vec<Advice> {
    // In copy mode the kernel takes a slot for each packet when it copies it: the driver's ring is
    // another matter.
    let not_taken = Err(Untold::Absent);
    let driver_rings = if got.mode == XdpMode::ZeroCopy { &got.details.rings } else { &not_taken };
    let mut advice = check_rings(got.rings, driver_rings);
    if let Ok(driver) = &got.details.driver {
        let concerning = quirks::of_mode(driver, got.mode).filter(|quirk| concerns(quirk, got));
        advice.extend(concerning.map(|quirk| Advice::Quirk { driver: driver.clone(), quirk }));
    }
    advice
}

fn concerns(quirk: &Quirk, got: &Got<'_>) -> bool {
    match quirk.handling {
        Handling::Reported => true,
        Handling::ReportedIfPeerLeavesChecksums => got.details.peer_tx_checksum == Some(Ok(true)),
        Handling::ReportedIfFewFrames => {
            got.details.rings.as_ref().is_ok_and(|rings| got.filled < rings.rx)
        }
        Handling::FillsWholeKib(Longer::DroppedBySome) => {
            got.details.driver.as_ref().is_ok_and(|driver| got.frame.is_short_for(driver))
        }
        Handling::FillsWholeKib(Longer::Cut)
        | Handling::Done
        | Handling::ExplainsRefusal
        | Handling::NotOfPorts => false,
    }
}

/// Why zero copy would cut packets, if it would.
///
/// What the MTU allows counts. A device may let in more than that, as igb does below an MTU of 1500
/// (`igb_set_rx_mode` in igb_main.c), if its neighbours send more.
pub(super) fn cut_in_zero_copy(details: &LinkDetails, frame: Frame) -> Option<String> {
    let driver = details.driver.as_ref().ok()?;
    let cuts = |quirk: &Quirk| quirk.handling == Handling::FillsWholeKib(Longer::Cut);
    if !quirks::of_mode(driver, XdpMode::ZeroCopy).any(cuts) || !frame.is_short_for(driver) {
        return None;
    }
    let largest = Frame { frame_bytes: LARGEST_FRAME_BYTES, ..frame };
    let hint = match largest.is_short_for(driver) {
        true => "use a smaller MTU".to_owned(),
        false => format!("use frames of {LARGEST_FRAME_BYTES}"),
    };
    let (usable, frame_bytes) = (frame.usable_bytes(driver), frame.frame_bytes);
    Some(format!(
        "{driver} in zero copy receives {usable} bytes into a frame of {frame_bytes}: longer packets \
         would be cut; {hint}"
    ))
}

/// What is known of the driver that may be why a mode was refused, each with what helps.
pub(super) fn of_refusal(details: &LinkDetails, mode: XdpMode) -> Vec<String> {
    let Ok(driver) = &details.driver else { return Vec::new() };
    let known = quirks::of_mode(driver, mode);
    let known = known.filter(|quirk| quirk.handling == Handling::ExplainsRefusal);
    known.map(|q| format!("known of {driver}: {}: {}", q.what, q.hint)).collect()
}

impl Frame {
    fn usable_bytes(&self, driver: &str) -> u32 {
        quirks::usable_frame_bytes(driver, self.frame_bytes, self.headroom_bytes)
    }

    fn is_short_for(&self, driver: &str) -> bool {
        self.usable_bytes(driver) < self.longest_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn driver(rx: u32) -> Told<DriverRings> {
        Ok(DriverRings { rx, tx: rx, ..DriverRings::default() })
    }

    #[test]
    fn a_fill_ring_holds_both_rx_rings() {
        let sizes = |rx, fill| RingSizes { rx, fill, ..RingSizes::default() };
        // 511 + 2048 = 2559.
        let [Advice::FillTooSmall { fill: 2048, at_least: 4096, driver_rx: Some(511), rx: 2048 }] =
            check_rings(&sizes(2048, 2048), &driver(511))[..]
        else {
            panic!("{:?}", check_rings(&sizes(2048, 2048), &driver(511)));
        };
        assert_eq!(check_rings(&sizes(2048, 4096), &driver(2048)), [], "just enough");
        for says_nothing in [Err(Untold::NotSupported), driver(0)] {
            assert_eq!(check_rings(&RingSizes::default(), &says_nothing), []);
            let short = check_rings(&sizes(2048, 1024), &says_nothing);
            let text =
                "fill ring of 1024: at least 2048 is advised, for the port's rx ring of 2048";
            assert_eq!(short.iter().map(ToString::to_string).collect::<Vec<_>>(), [text]);
        }
        let all = check_rings(&sizes(1 << 20, 1), &driver(u32::MAX));
        assert!(matches!(all[0], Advice::FillTooSmall { at_least: 0x8000_0000, .. }), "{all:?}");
    }

    #[test]
    fn rings_that_hold_each_other_back_are_told() {
        let sizes = RingSizes { rx: 512, tx: 2048, fill: 8192, completion: 1024 };
        let advice = check_rings(&sizes, &driver(4096));
        let completion = Advice::CompletionBelowTx { completion: 1024, tx: 2048 };
        let rx = Advice::RxBelowDriver { rx: 512, driver_rx: 4096 };
        assert_eq!(advice, [completion, rx]);
        assert_eq!(
            check_rings(&RingSizes { rx: 4096, completion: 2048, ..sizes }, &driver(4096)),
            []
        );
    }

    #[test]
    fn queues_without_a_socket_are_listed() {
        assert_eq!(queues_without_socket(4, &[2, 0, 2]), [1, 3]);
        assert_eq!(queues_without_socket(2, &[0, 1, 7]), [] as [u32; 0]);
        assert_eq!(queues_without_socket(0, &[]), [] as [u32; 0]);
    }

    #[test]
    fn queues_without_a_socket_are_read_as_runs() {
        let text = |queues: &[u32]| Numbers(queues).to_string();
        assert_eq!(text(&[1]), "1");
        assert_eq!(text(&[1, 3]), "1 and 3");
        assert_eq!(text(&[1, 2]), "1 and 2");
        assert_eq!(text(&[0, 2, 3, 4, 5, 9, u32::MAX]), format!("0, 2 to 5, 9 and {}", u32::MAX));
        assert_eq!(text(&[1, 2, 3]), "1 to 3");
        let one = Advice::QueuesWithoutSocket { queues: vec![1] };
        let words = "packets of queue 1 pass to the kernel: no socket is bound there";
        assert_eq!(one.to_string(), words);
    }

    /// An interface of this driver, with rx rings of 512, of which nothing else is known.
    fn details(name: &str) -> LinkDetails {
        LinkDetails {
            driver: Ok(name.to_owned()),
            channels: Err(Untold::NotSupported),
            rx_queues: Err(Untold::NotSupported),
            rings: driver(512),
            xdp: Err(Untold::NotSupported),
            tx_checksum: Err(Untold::NotSupported),
            peer_tx_checksum: None,
        }
    }

    fn frame(frame_bytes: u32, longest_bytes: u32) -> Frame {
        Frame { frame_bytes, headroom_bytes: 0, longest_bytes }
    }

    const SIZES: RingSizes = RingSizes { rx: 2048, tx: 2048, fill: 4096, completion: 2048 };

    /// What a port is told of its driver: the beginning of each line after the driver's name.
    fn told(details: &LinkDetails, mode: XdpMode, filled: u32) -> Vec<String> {
        let frame = frame(2048, 1522);
        let advice = of_port(&Got { details, mode, rings: &SIZES, frame, filled });
        let name = format!("{}: ", details.driver.as_ref().unwrap());
        let words = |advice: &Advice| {
            let text = advice.to_string();
            let text = text.strip_prefix(&name).expect("the driver first");
            assert!(text.contains("; ") && text.contains("(https://"), "{text}");
            text.split(' ').take(3).collect::<Vec<_>>().join(" ")
        };
        advice.iter().map(words).collect()
    }

    /// Planted and caught: what netmem does told; what would have refused the mode told; the peer's
    /// checksums told where they are unknown; few frames told in every case, and never.
    #[test]
    fn a_port_is_told_what_concerns_it() {
        use XdpMode::{Generic, Native, ZeroCopy};
        let none: [&str; 0] = [];
        let mut veth = details("veth");
        for unknown in [None, Some(Err(Untold::OtherNamespace)), Some(Ok(false))] {
            veth.peer_tx_checksum = unknown;
            assert_eq!(told(&veth, Native, 2048), none);
        }
        veth.peer_tx_checksum = Some(Ok(true));
        assert_eq!(told(&veth, Native, 2048), ["packets of the"]);

        let mut i40e = details("i40e");
        assert_eq!(told(&i40e, ZeroCopy, 512), ["the firmware's LLDP"]);
        assert_eq!(told(&i40e, ZeroCopy, 511), ["a fill ring", "the firmware's LLDP"]);
        assert_eq!(told(&i40e, Native, 511), ["the firmware's LLDP"]);
        i40e.rings = Err(Untold::Absent);
        assert_eq!(told(&i40e, ZeroCopy, 0), ["the firmware's LLDP"]);

        // What would refuse the mode did not.
        assert_eq!(told(&details("ena"), Native, 2048), none);
        assert_eq!(told(&details("virtio_net"), ZeroCopy, 2048), none);
        assert_eq!(told(&details("ixgbe"), ZeroCopy, 2048), ["an 82599 fills", "the link goes"]);
        let unknown = LinkDetails { driver: Err(Untold::Absent), ..details("") };
        let (mode, rings, frame) = (Generic, &SIZES, frame(2048, 1522));
        assert_eq!(of_port(&Got { details: &unknown, mode, rings, frame, filled: 0 }), []);
    }

    /// Planted and caught: the driver's ring counted in every mode.
    #[test]
    fn the_drivers_ring_counts_in_zero_copy_only() {
        let virtio = details("virtio_net");
        let rings = &RingSizes { fill: 2048, ..SIZES };
        let of = |mode, rings| {
            let frame = frame(2048, 1522);
            of_port(&Got { details: &virtio, mode, rings, frame, filled: 2048 })
        };
        for mode in [XdpMode::Native, XdpMode::Generic] {
            assert_eq!(of(mode, rings), []);
            let short = of(mode, &RingSizes { fill: 1024, ..SIZES });
            assert!(matches!(short[..], [Advice::FillTooSmall { driver_rx: None, .. }]));
        }
        let short = of(XdpMode::ZeroCopy, rings);
        assert!(matches!(short[..], [Advice::FillTooSmall { driver_rx: Some(512), .. }]));
    }

    /// Planted and caught: any driver refused; a frame that just fits refused; the hint at 4096 given
    /// where that is too short as well.
    #[test]
    fn zero_copy_that_would_cut_packets_is_refused() {
        let text = |name: &str, frame: Frame| cut_in_zero_copy(&details(name), frame);
        let igb = text("igb", frame(2048, 1522)).unwrap();
        let words = "igb in zero copy receives 1024 bytes into a frame of 2048: longer packets would be \
                     cut; use frames of 4096";
        assert_eq!(igb, words);
        assert!(text("igc", frame(2048, 1522)).is_some());
        for fits in [frame(2048, 1024), frame(4096, 1522), frame(4096, 3072)] {
            assert_eq!(text("igb", fits), None, "{fits:?}");
        }
        assert!(text("igb", frame(2048, 1025)).is_some());
        let long = text("igb", frame(4096, 3073)).unwrap();
        let words =
            "3072 bytes into a frame of 4096: longer packets would be cut; use a smaller MTU";
        assert!(long.ends_with(words), "{long}");
        for other in ["ixgbe", "i40e", "ice", "veth", "virtio_net"] {
            assert_eq!(text(other, frame(2048, 1522)), None, "{other}");
        }
        let unknown = LinkDetails { driver: Err(Untold::Absent), ..details("") };
        assert_eq!(cut_in_zero_copy(&unknown, frame(2048, 1522)), None);
    }

    #[test]
    fn a_refusal_comes_with_what_is_known() {
        let ena = of_refusal(&details("ena"), XdpMode::Native);
        assert_eq!(ena.len(), 2);
        assert!(ena[0].starts_with("known of ena: a program is refused while more than half"));
        assert!(ena[0].contains(": ethtool -L IFACE combined N"));
        assert_eq!(of_refusal(&details("ena"), XdpMode::Generic), [""; 0]);
        assert_eq!(of_refusal(&details("veth"), XdpMode::Native), [""; 0]);
    }
}
