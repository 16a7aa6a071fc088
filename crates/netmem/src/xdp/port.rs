//! One queue of one interface: four rings, the socket behind them, and the batch that lends packets.
//!
//! ```text
//!            fill ------------------------>  kernel  ------------------------> rx
//!             ^  ^                          (counted)                          |
//!   refill    |  '--- Consume, Drop ------------------------------------ verdict per packet
//!             |                                                                |  Transmit
//!           pool cache <--- completion <---  kernel  <------------------------ tx
//! ```
//!
//! # Invariants kept here
//! - **M1, M2, M3** (see [`crate::device`]): [`Pass`](pass::Pass) holds the cursors of a batch in locals and
//!   commits them when it is dropped, by return or by unwinding.
//! - **X1** slots on the rx side (fill ring, kernel, rx ring, lent) are never more than the fill ring
//!   has entries: a lent packet always finds room to go back. The consumer index of the fill ring
//!   need not say so yet (the kernel publishes an rx descriptor before the fill entry that it used,
//!   xsk_flush in net/xdp/xsk.c, kernel 6.18), but the kernel has read that entry before.
//! - **X2** slots on the tx side are never more than the completion ring has entries: the kernel
//!   never has to wait for us to reap.
//! - **X3** the kernel writes descriptors inside of the UMEM. Each is checked in debug builds; in
//!   release a run is checked by one reduction ([`Memory::are_plain`]), and only a run that fails it
//!   is looked at one by one. A bad one is counted, never lent, and its slot is quarantined.
//!
//! Chains, unaligned slots and packets that may ask for something go another way through the same loop:
//! [`chain`].

mod chain;
mod levels;
mod metadata;
mod pass;
mod receive;
mod refill;
mod teardown;
mod wake;

use std::{
    collections::VecDeque,
    mem,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use self::{
    chain::{Continued, Lone},
    metadata::Metadata,
    pass::Memory,
    wake::Operation,
};
pub use self::{
    levels::Levels,
    metadata::{TxMetadataCounts, TxTimestamp},
    teardown::Closed,
};
use super::{
    PortReport, Statistics, XdpDesc,
    program::Attachment,
    ring::{Consumer, Producer},
    socket::Kernel,
};
use crate::{
    Error, Result,
    device::{Device, ForeignPacket, Keep, Tally, Verdict},
    mem::{
        Counts, DropReason, Packet, PacketMut, PoolHandle, Slot, Walk, audit::Owner,
        request::Offer, span::Span,
    },
};

/// Fill entries are put back in groups of this many, or of a quarter of a small fill ring.
const REFILL_CHUNK: u32 = 16;
/// The shortest frame that is sent: an Ethernet header.
const ETH_HLEN: u32 = 14;

/// A started AF_XDP port. `!Send` (K7): its builder moves to the worker's thread, not the port.
///
/// ```compile_fail
/// fn needs_send<T: Send>() {}
/// needs_send::<netmem::xdp::Port>(); // K7
/// ```
#[derive(Debug)]
pub struct Port {
    // Dropped in this order (D5): link, rings, socket.
    attachment: Option<Attachment>,
    rings: Rings,
    kernel: Kernel,
    memory: Memory,
    handle: PoolHandle,
    report: PortReport,
    counts: Counts,
    /// Slots on the rx side (X1): in the fill ring, the kernel or the rx ring.
    rx_side: u32,
    /// With this many slots or fewer on the rx side, the fill ring is topped up from the pool.
    refill_at: u32,
    /// Slots on the tx side (X2): in the tx ring, the kernel or the completion ring.
    tx_side: u32,
    /// Of these: slots whose packet goes on in another one.
    continued: Continued,
    /// What is behind the packet that is lent, if no plain run has it.
    lone: Lone,
    /// What packets may ask for; `None` where the port was not opened for it.
    metadata: Option<Box<Metadata>>,
    /// What lent packets may ask for now.
    offer: Option<Offer>,
    /// Slots received besides one for each packet.
    rx_continued: u64,
    /// Slots lost to bad descriptors or to a kernel that kept them.
    quarantined: u64,
    unkicked: bool,
    fault: Option<Error>,
}

/// Where a packet can be put to be sent.
struct TxRun {
    /// Entry `e` of the tx ring is `tx + e`.
    tx: *mut XdpDesc,
    /// Up to which `e`.
    end: u32,
    /// Why there is none, if so.
    why: DropReason,
}

#[derive(Debug)]
pub(crate) struct Rings {
    pub(crate) fill: Producer<u64>,
    pub(crate) rx: Consumer<XdpDesc>,
    pub(crate) tx: Producer<XdpDesc>,
    pub(crate) completion: Consumer<u64>,
}

/// How far a port's four rings have got since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Slots given to the kernel to receive into.
    pub filled: u64,
    /// Packets taken from the rx ring.
    pub received: u64,
    /// Packets put into the tx ring.
    pub transmitted: u64,
    /// Packets that came back by the completion ring.
    pub completed: u64,
}

impl Port {
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn start(
        rings: Rings,
        kernel: Kernel,
        handle: PoolHandle,
        report: PortReport,
    ) -> Self {
        Self::resume(rings, kernel, handle, report, 0)
    }

    /// A port whose fill ring was given `filled` slots before (X1).
    pub(crate) fn resume(
        rings: Rings,
        kernel: Kernel,
        handle: PoolHandle,
        report: PortReport,
        filled: u32,
    ) -> Self {
        let pool = handle.pool();
        let memory = Memory::of(pool, false);
        let handle_slots = pool.slots();
        let fill_size = rings.fill.size();
        let refill_at = fill_size - REFILL_CHUNK.min(fill_size.div_ceil(4));
        let metadata = Metadata::of(&report, handle_slots);
        let mut port = Self {
            attachment: None,
            rings,
            kernel,
            memory,
            handle,
            report,
            metadata,
            offer: None,
            counts: Counts::default(),
            rx_side: filled,
            refill_at,
            tx_side: 0,
            continued: Continued::none_of(handle_slots),
            lone: Lone::default(),
            rx_continued: 0,
            quarantined: 0,
            unkicked: false,
            fault: None,
        };
        port.lend_with(port.metadata.as_ref().map(|metadata| metadata.offer()));
        port.refill();
        port
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn on_fake(
        (fill, rx, tx, completion): (
            Producer<u64>,
            Consumer<XdpDesc>,
            Producer<XdpDesc>,
            Consumer<u64>,
        ),
        calls: crate::fake::Calls,
        handle: PoolHandle,
        report: PortReport,
    ) -> Self {
        let rings = Rings { fill, rx, tx, completion };
        Self::start(rings, Kernel::Fake(calls), handle, report)
    }

    pub(crate) fn attach(&mut self, attachment: Attachment) {
        self.attachment = Some(attachment);
    }

    /// What was got: mode, why nothing better, interface and queue.
    #[must_use]
    pub fn report(&self) -> &PortReport {
        &self.report
    }

    /// The kernel's own counters of this socket.
    ///
    /// # Errors
    /// When the socket option is refused.
    pub fn statistics(&self) -> Result<Statistics> {
        let result = self.kernel.statistics();
        result.map_err(|error| Error::os("read statistics of", self.report.to_string(), error))
    }

    /// Packets per class of the port's filter, counted by the XDP program before they got here.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn classes(&self) -> Result<Vec<(String, u64)>> {
        self.attachment.as_ref().map_or_else(|| Ok(Vec::new()), Attachment::classes)
    }

    /// Whether the XDP program still sits on the interface: another process can force it off.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn is_attached(&self) -> Result<bool> {
        self.attachment.as_ref().map_or(Ok(true), Attachment::is_attached)
    }

    /// How far the rings have got since the start.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let completed = self.counts.transmitted;
        Progress {
            filled: self.counts.received + self.rx_continued + u64::from(self.rx_side),
            received: self.counts.received,
            transmitted: completed + u64::from(self.sending()),
            completed,
        }
    }

    /// Packets on the tx side.
    fn sending(&self) -> u32 {
        self.tx_side - self.continued.count()
    }

    /// Counts slots that nobody can vouch for any more: out of use until the region goes.
    fn quarantine(&mut self, count: u64) {
        self.quarantined += count;
        self.handle.quarantine(count);
    }

    fn walk_at_end(&self) -> Walk {
        let mut walk = Walk::new();
        walk.count(&self.counts);
        walk
    }

    /// Shows the kernel what a batch has done.
    #[inline]
    fn publish(&mut self) {
        self.rings.rx.release();
        self.rings.fill.publish();
        if self.unkicked {
            self.rings.tx.publish();
        }
    }

    /// Shows the kernel what was queued for sending.
    fn publish_sent(&mut self) {
        if self.unkicked {
            self.rings.tx.publish();
        }
    }

    /// Makes an owned packet of a lent one. Out of line: the loop over a batch stays small.
    #[inline(never)]
    fn keep(&mut self, addr: u64, span: Span) -> Option<Packet> {
        let slot = Slot::claimed(self.memory.size.slot_of(self.lone.origin + addr));
        let rest = self.lone.take_rest().and_then(|rest| self.handle.keep_rest(rest));
        let packet = self.handle.adopt(slot, (span.headroom, span.len), rest);
        if packet.is_none() {
            self.counts.dropped[DropReason::BadDescriptor] += 1;
        }
        packet
    }

    /// Room in the tx ring behind `sent` entries that are written and not committed, for a packet with
    /// `lone` behind it whose `len` first bytes are at `addr`. Out of line and by value: the cursors of a
    /// batch stay in registers.
    #[inline(never)]
    fn tx_run(&mut self, sent: u32, lone: Lone, addr: u64, len: u32) -> TxRun {
        let mut room = self.room(u32::MAX).saturating_sub(sent);
        let metadata = self.metadata.as_ref();
        let refusal = metadata.and_then(|it| lone.refusal(addr, len, it.headroom_bytes));
        if refusal.is_some() || lone.needed() > room.min(self.report.tx_max_frames) {
            room = 0;
        }
        let ring = &self.rings.tx;
        let tx = ring.entry(sent).wrapping_sub(sent as usize);
        let end = sent + room.min(ring.until_wrap(sent));
        TxRun { tx, end, why: refusal.unwrap_or(DropReason::FullRing) }
    }

    /// How many packets can be sent now: room in the tx ring, bounded by X2.
    #[inline]
    fn room(&mut self, wanted: u32) -> u32 {
        let unreaped = self.rings.completion.size().saturating_sub(self.tx_side);
        self.rings.tx.free(wanted).min(unreaped)
    }

    /// How many descriptors of the rx ring can be looked at for `budget` packets.
    #[inline]
    fn left_of(&mut self, budget: u32) -> u32 {
        self.rings.rx.available(budget).min(budget)
    }

    /// How many of the next `left` packets wrap in none of the rings.
    #[inline]
    fn run(&self, left: u32) -> u32 {
        let rings = &self.rings;
        left.min(rings.rx.until_wrap()).min(rings.fill.until_wrap(0))
    }
}

/// For poll(2) and epoll(7): readable when packets wait in the rx ring, writable when the tx ring has
/// room. Before waiting call [`Device::flush`] with nothing left in the rx ring, so that the kernel is
/// awake and has slots to receive into.
///
/// # Panics
/// The port of a fake kernel, which exists in tests only, has none.
impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.kernel.fd().expect("a port of the fake kernel has no descriptor")
    }
}

impl Device for Port {
    #[inline]
    fn receive<K, F>(&mut self, budget: u32, sink: &mut K, mut verdict: F) -> Tally
    where
        K: Keep + ?Sized,
        F: FnMut(&mut PacketMut<'_>) -> Verdict,
    {
        self.receive_by(None, budget, sink, &mut verdict)
    }

    fn transmit(
        &mut self,
        packets: &mut VecDeque<Packet>,
    ) -> std::result::Result<usize, ForeignPacket> {
        self.reap();
        let mut accepted = 0;
        let mut foreign = None;
        let mut room = 0;
        while !packets.is_empty() {
            if room == 0 {
                // At least a descriptor per packet: again if the packets so far were chains.
                room = self.room(u32::try_from(packets.len()).unwrap_or(u32::MAX));
            }
            if room == 0 {
                break;
            }
            let Some(mut packet) = packets.pop_front() else { break };
            if !packet.is_of(&self.handle) {
                foreign = Some(packet);
                break;
            }
            if let Some(reason) = self.refusal(&packet) {
                packet.discard(reason);
                continue;
            }
            let needed = packet.descriptors();
            if needed > room {
                room = self.room(needed);
                if needed > room {
                    packets.push_front(packet);
                    break;
                }
            }
            room -= needed;
            let mut behind = needed;
            let mut options = self.ask(&mut packet);
            packet.into_device(|addr, len| {
                behind -= 1;
                let desc = XdpDesc { addr, len, options: mem::take(&mut options) };
                if behind > 0 { self.push_continued(desc) } else { self.push_last(desc) }
            });
            accepted += 1;
        }
        if accepted > 0 {
            self.rings.tx.publish();
            self.kick();
        }
        foreign.map_or(Ok(accepted), |packet| Err(ForeignPacket { packet, accepted }))
    }

    fn tx_room(&mut self) -> u32 {
        self.reap();
        self.room(u32::MAX)
    }

    fn flush(&mut self) -> Result<()> {
        self.wake();
        self.reap();
        self.fault.take().map_or(Ok(()), Err)
    }

    fn wait(&mut self, timeout: Duration) -> Result<()> {
        self.flush()?;
        if self.rings.rx.available(1) > 0 {
            return Ok(());
        }
        // What comes during the wait needs slots to be received into.
        self.refill();
        if self.rings.fill.needs_wakeup() {
            self.kernel.kick_rx();
        }
        if let Err(error) = self.kernel.wait(timeout) {
            self.fail(Operation::Receive, error);
        }
        self.fault.take().map_or(Ok(()), Err)
    }

    fn counts(&self) -> Counts {
        self.counts
    }

    fn walk(&self) -> Walk {
        let mut walk = self.walk_at_end();
        walk.continued(u64::from(self.continued.count()));
        let memory = self.memory;
        let slot = |addr: u64| memory.slot_of(addr);
        let rings = &self.rings;
        rings.fill.walk(|addr| walk.found(slot(addr), Owner::Fill));
        rings.rx.walk(|desc| walk.found(slot(desc.addr), Owner::Rx));
        rings.tx.walk(|desc| walk.found(slot(desc.addr), Owner::Tx));
        rings.completion.walk(|addr| walk.found(slot(addr), Owner::Completion));
        // Both indices of a pair started equal, and every entry taken ends as one delivered.
        let inside = |taken: u32, given: u32| -> u64 {
            u64::try_from(taken.wrapping_sub(given).cast_signed()).unwrap_or(0)
        };
        let rx = inside(rings.fill.consumer_index(), rings.rx.producer_index());
        let tx = inside(rings.tx.consumer_index(), rings.completion.producer_index());
        walk.unseen(Owner::KernelRx, rx);
        walk.unseen(Owner::KernelTx, tx);
        walk
    }
}

#[cfg(test)]
mod tests;
