//! How full a port's rings are, from their indices alone: a few loads, and no slot is looked at.

use super::Port;
use crate::xdp::RingSizes;

/// Slots by where they are on their way through a port. A sight of rings that move: each figure was
/// true at some time during the look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Levels {
    /// In the fill ring.
    pub fill: u64,
    /// Taken by the kernel from the fill ring and not delivered.
    pub kernel_rx: u64,
    /// In the rx ring.
    pub rx: u64,
    /// In the tx ring.
    pub tx: u64,
    /// Taken by the kernel from the tx ring and not completed.
    pub kernel_tx: u64,
    /// In the completion ring.
    pub completion: u64,
    /// Lost to bad descriptors, or to a kernel that kept them.
    pub quarantined: u64,
    /// Entries of the four rings.
    pub sizes: RingSizes,
}

impl Port {
    /// How full the rings are.
    #[must_use]
    pub fn levels(&self) -> Levels {
        let rings = &self.rings;
        let inside = |taken: u32, given: u32| -> u64 {
            u64::try_from(taken.wrapping_sub(given).cast_signed()).unwrap_or(0)
        };
        Levels {
            fill: rings.fill.queued().into(),
            kernel_rx: inside(rings.fill.consumer_index(), rings.rx.producer_index()),
            rx: rings.rx.queued().into(),
            tx: rings.tx.queued().into(),
            kernel_tx: inside(rings.tx.consumer_index(), rings.completion.producer_index()),
            completion: rings.completion.queued().into(),
            quarantined: self.quarantined,
            sizes: RingSizes {
                rx: rings.rx.size(),
                tx: rings.tx.size(),
                fill: rings.fill.size(),
                completion: rings.completion.size(),
            },
        }
    }
}
