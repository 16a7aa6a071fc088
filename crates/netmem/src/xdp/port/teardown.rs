//! The end of a port (D5): the program is taken off, what waits is dropped with a reason, the rings are
//! unmapped, the socket is closed, and slots come back when the queue is seen free.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use super::{Port, Rings, chain::Continued};
use crate::{
    mem::{DropReason, Walk},
    sys::xsk::{XDP_PKT_CONTD, XdpDesc},
    xdp::{
        RingSizes,
        ring::{Consumer, Producer, RingMemory},
    },
};

/// What [`Port::close`] left behind.
#[derive(Debug)]
pub struct Closed {
    /// What the port had done, for an audit after its end.
    pub walk: Walk,
    /// Slots that could not be proven free and stay out of use until the region goes.
    pub quarantined: u64,
    /// Of these, how many the kernel had or may have had at the end: they are free in truth when
    /// somebody else sees the queue free ([`PortControl::close`](crate::xdp::PortControl::close)).
    pub with_kernel: u64,
}

impl Port {
    /// Stops traffic, takes back what the kernel still has, and closes the socket.
    ///
    /// Packets waiting in the rx ring, and those whose sending the kernel does not complete within
    /// 200 ms, are dropped as [`DropReason::QueuePurge`]. Slots come back when the queue is seen free
    /// (D5); those that are not are quarantined.
    #[must_use]
    pub fn close(mut self) -> Closed {
        let with_kernel = self.retire(Duration::from_millis(200));
        let walk = self.walk_at_end();
        Closed { walk, quarantined: self.quarantined, with_kernel }
    }

    /// Detaches the program, empties the rings and gives the slots back. Runs once. Returns how many the
    /// kernel may still use.
    fn retire(&mut self, patience: Duration) -> u64 {
        drop(self.attachment.take());
        let mut purged = self.purge_rx();
        let deadline = Instant::now() + patience;
        loop {
            self.reap();
            let done = self.tx_side == 0 || self.fault.is_some();
            if done || Instant::now() >= deadline {
                break;
            }
            self.unkicked = true;
            self.kick();
            thread::sleep(Duration::from_micros(200));
        }
        // The program is off, but what was on its way through it may have come meanwhile.
        purged.extend(self.purge_rx());
        // Slots that the kernel has not taken are known by number. One that was purged may still stand
        // in the fill ring: the kernel publishes what it received before it publishes what it took.
        let mut waiting = BTreeSet::new();
        self.rings.fill.walk(|addr| _ = waiting.insert(self.memory.slot_of(addr)));
        purged.iter().for_each(|slot| _ = waiting.remove(slot));
        let inside = u64::from(self.rx_side).saturating_sub(waiting.len() as u64);
        let mut unsent = Vec::new();
        self.rings.tx.walk(|desc| unsent.push(self.memory.slot_of(desc.addr)));
        let sending = u64::from(self.tx_side).saturating_sub(unsent.len() as u64);
        self.counts.dropped[DropReason::QueuePurge] += u64::from(self.sending());
        self.continued = Continued::none_of(0);
        self.rings = Rings::unmapped();
        let known = waiting.into_iter().chain(unsent);
        let with_kernel = if self.kernel.close_and_see_free(!patience.is_zero()) {
            self.handle.return_from_device(known.map(|slot| self.memory.size.start_of(slot)));
            self.quarantine(inside + sending);
            0
        } else {
            let lost = known.count() as u64 + inside + sending;
            self.quarantine(lost);
            lost
        };
        (self.rx_side, self.tx_side) = (0, 0);
        with_kernel
    }

    /// Drops what waits in the rx ring, without refilling; returns the slots. A chain without its end
    /// is a packet too.
    fn purge_rx(&mut self) -> Vec<u32> {
        let count = self.rings.rx.available(u32::MAX);
        let descs = self.rings.rx.segments(count).concat();
        let locate = |desc: &XdpDesc| Some(self.memory.locate(desc)?.0);
        let good: Vec<u32> = descs.iter().filter_map(locate).collect();
        let goes_on = |desc: &&XdpDesc| desc.options & XDP_PKT_CONTD != 0;
        let is_cut = u64::from(descs.last().as_ref().is_some_and(goes_on));
        let continued = descs.iter().filter(goes_on).count() as u64 - is_cut;
        let packets = u64::from(count) - continued;
        self.quarantine(u64::from(count) - good.len() as u64);
        self.handle.return_from_device(good.iter().map(|&slot| self.memory.size.start_of(slot)));
        self.rings.rx.pass(count);
        self.rings.rx.release();
        self.rx_side = self.rx_side.saturating_sub(count);
        self.counts.received += packets;
        self.rx_continued += continued;
        self.counts.dropped[DropReason::QueuePurge] += packets;
        good
    }
}

impl Drop for Port {
    /// Without [`Port::close`] nothing is waited for: what the kernel may still use is quarantined.
    fn drop(&mut self) {
        if self.rx_side > 0 || self.tx_side > 0 {
            self.retire(Duration::ZERO);
        }
    }
}

impl Rings {
    /// How many entries each ring has.
    pub(crate) fn sizes(&self) -> RingSizes {
        let Self { fill, rx, tx, completion } = self;
        let (fill, completion) = (fill.size(), completion.size());
        RingSizes { rx: rx.size(), tx: tx.size(), fill, completion }
    }

    /// Rings without memory, for a port that is closed.
    fn unmapped() -> Self {
        Self {
            fill: Producer::new(RingMemory::unmapped()),
            rx: Consumer::new(RingMemory::unmapped()),
            tx: Producer::new(RingMemory::unmapped()),
            completion: Consumer::new(RingMemory::unmapped()),
        }
    }
}
