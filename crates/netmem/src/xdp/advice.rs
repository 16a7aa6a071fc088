//! Whether sizes fit each other, told before packets are lost for it.
//!
//! Nothing here asks the kernel or refuses anything: facts go in, sentences come out.

use std::{collections::BTreeSet, fmt};

use super::RingSizes;
use crate::link::{DriverRings, Told};

/// Something that works, and would work better otherwise. Its text is one line for a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice {
    /// The fill ring holds fewer slots than the two rings that packets lie in: the driver runs out of
    /// slots in a burst and drops.
    FillTooSmall {
        /// Entries of the fill ring.
        fill: u32,
        /// The least that is advised: a power of two.
        at_least: u32,
        /// Descriptors in the driver's rx ring; `None` if it does not tell.
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
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FillTooSmall { fill, at_least, driver_rx, rx } => {
                write!(f, "fill ring of {fill}: at least {at_least} is advised, for ")?;
                match driver_rx {
                    Some(driver_rx) => write!(f, "the driver's rx ring of {driver_rx} and ")?,
                    None => f.write_str("the driver's rx ring, which is unknown, and ")?,
                }
                write!(f, "the port's of {rx}")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Untold;

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
            let text = "fill ring of 1024: at least 2048 is advised, for the driver's rx ring, which is \
                        unknown, and the port's of 2048";
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
}
