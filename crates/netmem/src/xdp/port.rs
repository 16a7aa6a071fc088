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
//! - **M1, M2, M3** (see [`crate::device`]): [`Pass`] holds the cursors of a batch in locals and
//!   commits them when it is dropped, by return or by unwinding.
//! - **X1** slots on the rx side (fill ring, kernel, rx ring, lent) are never more than the fill ring
//!   has entries: a lent packet always finds room to go back. The consumer index of the fill ring
//!   need not say so yet (the kernel publishes an rx descriptor before the fill entry that it used,
//!   xsk_flush in net/xdp/xsk.c, kernel 6.18), but the kernel has read that entry before.
//! - **X2** slots on the tx side are never more than the completion ring has entries: the kernel
//!   never has to wait for us to reap.
//! - **X3** the kernel writes descriptors inside of the UMEM. Each is checked in debug builds; in
//!   release a run is checked by one reduction ([`Memory::holds_all`]), and only a run that fails it
//!   is looked at one by one. A bad one is counted, never lent, and its slot is quarantined.

mod levels;
mod pass;
mod teardown;
mod wake;

use std::{
    collections::VecDeque,
    hint,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use self::pass::{Memory, Pass};
pub use self::{levels::Levels, teardown::Closed};
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
        Counts, DropReason, Packet, PacketMut, PoolHandle, Slot, Walk, audit::Owner, span::Span,
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
    /// Slots lost to bad descriptors or to a kernel that kept them.
    quarantined: u64,
    unkicked: bool,
    fault: Option<Error>,
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
        let memory = Memory::of(pool);
        let fill_size = rings.fill.size();
        let refill_at = fill_size - REFILL_CHUNK.min(fill_size.div_ceil(4));
        let mut port = Self {
            attachment: None,
            rings,
            kernel,
            memory,
            handle,
            report,
            counts: Counts::default(),
            rx_side: filled,
            refill_at,
            tx_side: 0,
            quarantined: 0,
            unkicked: false,
            fault: None,
        };
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
            filled: self.counts.received + u64::from(self.rx_side),
            received: self.counts.received,
            transmitted: completed + u64::from(self.tx_side),
            completed,
        }
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

    /// Takes back the slots that were sent: into the fill ring as far as X1 allows, else to the pool.
    fn reap(&mut self) {
        let Rings { completion, fill, .. } = &mut self.rings;
        let count = completion.available(1).min(self.tx_side);
        if count == 0 {
            return;
        }
        let wanted = count.min(fill.size().saturating_sub(self.rx_side));
        let mut room = fill.free(wanted).min(wanted);
        let mut bad_slots = 0;
        for segment in completion.segments(count) {
            let addr = segment.iter().fold(0, |all, &addr| all | addr);
            if addr >= self.memory.fast_bytes
                && segment.iter().any(|&addr| addr >= self.memory.bytes)
            {
                let good = segment.iter().copied().filter(|&addr| addr < self.memory.bytes);
                bad_slots += segment.len() as u64 - good.clone().count() as u64;
                self.handle.return_from_device(good);
                continue;
            }
            let (refill, rest) = segment.split_at(segment.len().min(room as usize));
            fill.push_all(refill);
            #[allow(clippy::cast_possible_truncation, reason = "at most `room`")]
            let refilled = refill.len() as u32;
            room -= refilled;
            self.rx_side += refilled;
            if !rest.is_empty() {
                self.handle.return_from_device(rest.iter().copied());
            }
        }
        completion.pass(count);
        completion.release();
        fill.publish();
        self.tx_side -= count;
        self.counts.transmitted += u64::from(count);
        self.quarantine(bad_slots);
    }

    /// Tops up the fill ring from the pool (X1).
    fn refill(&mut self) {
        let wanted = self.rings.fill.size().saturating_sub(self.rx_side);
        let wanted = wanted.min(self.rings.fill.free(wanted));
        let fill = &mut self.rings.fill;
        let got = self.handle.take_for_device(wanted, |offset| fill.push(offset));
        if got > 0 {
            fill.publish();
            self.rx_side += got;
        }
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

    /// Makes an owned packet of a lent one. Out of line: the loop over a batch stays small.
    #[inline(never)]
    fn keep(&mut self, addr: u64, span: Span) -> Option<Packet> {
        #[allow(clippy::cast_possible_truncation, reason = "slot numbers are u32")]
        let slot = (addr >> self.memory.frame_bytes.trailing_zeros()) as u32;
        let packet = self.handle.adopt(Slot::claimed(slot), span.headroom, span.len);
        if packet.is_none() {
            self.counts.dropped[DropReason::BadDescriptor] += 1;
        }
        packet
    }

    /// Room in the tx ring behind `sent` entries that are written and not committed: where entry `e`
    /// is `tx + e`, and up to which `e`. Out of line and by value: the cursors of a batch stay in
    /// registers.
    #[inline(never)]
    fn tx_run(&mut self, sent: u32) -> (*mut XdpDesc, u32) {
        let room = self.room(u32::MAX).saturating_sub(sent);
        let ring = &self.rings.tx;
        (ring.entry(sent).wrapping_sub(sent as usize), sent + room.min(ring.until_wrap(sent)))
    }

    /// How many packets can be sent now: room in the tx ring, bounded by X2.
    #[inline]
    fn room(&mut self, wanted: u32) -> u32 {
        let unreaped = self.rings.completion.size().saturating_sub(self.tx_side);
        self.rings.tx.free(wanted).min(unreaped)
    }

    /// How many of the next `left` packets wrap in none of the rings.
    #[inline]
    fn run(&self, left: u32) -> u32 {
        let rings = &self.rings;
        left.min(rings.rx.until_wrap()).min(rings.fill.until_wrap(0))
    }

    /// Those of `descs`, which are next in the rx ring, that are inside of the UMEM, up to the first
    /// that is not (X3). When that is the first, it is passed and counted.
    #[cold]
    fn good_prefix<'d>(&mut self, descs: &'d [XdpDesc]) -> &'d [XdpDesc] {
        let memory = self.memory;
        let good = descs.iter().take_while(|desc| memory.holds(desc)).count();
        if good == 0 {
            self.rings.rx.pass(1);
            self.rx_side = self.rx_side.saturating_sub(1);
            self.quarantine(1);
            self.counts.received += 1;
            self.counts.dropped[DropReason::BadDescriptor] += 1;
        }
        &descs[..good]
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
        if self.tx_side > 0 {
            self.reap();
        }
        if self.rx_side <= self.refill_at {
            self.refill();
        }
        let mut left = self.rings.rx.available(budget).min(budget);
        let mut tally = Tally::default();
        if left == 0 {
            self.wake();
            return tally;
        }
        while left > 0 {
            // SAFETY: `run` descriptors are available and before the wrap; the slice is used before
            // they are released below.
            let mut descs = unsafe { self.rings.rx.run(self.run(left)) };
            if !self.memory.holds_all(descs) {
                hint::cold_path();
                descs = self.good_prefix(descs);
                if descs.is_empty() {
                    left -= 1;
                    continue;
                }
            }
            #[allow(clippy::cast_possible_truncation, reason = "a run has u32 packets")]
            let run = descs.len() as u32;
            left -= run;
            tally.received += run;
            Pass::over(self, descs).lend_all(sink, &mut verdict, &mut tally);
        }
        self.publish();
        if self.unkicked {
            self.kick();
        }
        tally
    }

    fn transmit(
        &mut self,
        packets: &mut VecDeque<Packet>,
    ) -> std::result::Result<usize, ForeignPacket> {
        self.reap();
        let mut accepted = 0;
        let mut foreign = None;
        let room = self.room(u32::try_from(packets.len()).unwrap_or(u32::MAX));
        while accepted < room {
            let Some(packet) = packets.pop_front() else { break };
            if !packet.is_of(&self.handle) {
                foreign = Some(packet);
                break;
            }
            if packet.len() < ETH_HLEN as usize {
                packet.discard(DropReason::PktTooSmall);
                continue;
            }
            let (addr, len) = packet.into_device();
            self.rings.tx.push(XdpDesc { addr, len, options: 0 });
            accepted += 1;
        }
        if accepted > 0 {
            self.tx_side += accepted;
            self.rings.tx.publish();
            self.unkicked = true;
            self.kick();
        }
        let accepted = accepted as usize;
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
            self.fail("receive on", error);
        }
        self.fault.take().map_or(Ok(()), Err)
    }

    fn counts(&self) -> Counts {
        self.counts
    }

    fn walk(&self) -> Walk {
        let mut walk = self.walk_at_end();
        let shift = self.memory.frame_bytes.trailing_zeros();
        #[allow(
            clippy::cast_possible_truncation,
            reason = "an address past u32 slots is a finding"
        )]
        let slot = |addr: u64| (addr >> shift).min(u64::from(u32::MAX)) as u32;
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
