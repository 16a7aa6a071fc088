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
//!   release a batch is checked by one reduction ([`Memory::holds_all`]), and only a batch that fails it is
//!   looked at one by one. A bad one is counted, never lent, and its slot is quarantined.

use std::{
    collections::VecDeque,
    hint, io,
    mem::ManuallyDrop,
    ptr::{self, NonNull},
    time::Duration,
};

use super::{
    PortReport, Statistics, XdpDesc,
    program::Attachment,
    ring::{Consumer, Producer, RingMemory, or_all},
    socket::{Kernel, Wake},
};
use crate::{
    Error, Result,
    device::{Device, ForeignPacket, Keep, Tally, Verdict},
    mem::{
        Counts, DropReason, Packet, PacketMut, PoolHandle, Slot, Walk, audit::Owner, span::Span,
    },
};

/// Fill entries are put back in groups of at least this many.
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

impl Rings {
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

/// Where the slots are, as the hot loop needs it.
#[derive(Debug, Clone, Copy)]
struct Memory {
    base: NonNull<u8>,
    frame_bytes: u32,
    bytes: u64,
    /// As `bytes` where that is a power of two, else 0: what the check of a whole run goes by.
    fast_bytes: u64,
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

/// What [`Port::close`] left behind.
#[derive(Debug)]
pub struct Closed {
    /// What the port had done, for an audit after its end.
    pub walk: Walk,
    /// Slots that could not be proven free and stay out of use until the region goes.
    pub quarantined: u64,
}

impl Port {
    pub(crate) fn start(
        rings: Rings,
        kernel: Kernel,
        handle: PoolHandle,
        report: PortReport,
    ) -> Self {
        let pool = handle.pool();
        let frame_bytes = pool.config().frame_bytes;
        let bytes = u64::from(pool.slots()) * u64::from(frame_bytes);
        let fast_bytes = if bytes.is_power_of_two() { bytes } else { 0 };
        let memory = Memory { base: pool.region().base(), frame_bytes, bytes, fast_bytes };
        let mut port = Self {
            attachment: None,
            rings,
            kernel,
            memory,
            handle,
            report,
            counts: Counts::default(),
            rx_side: 0,
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

    pub(crate) fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    pub(crate) fn kernel_mut(&mut self) -> &mut Kernel {
        &mut self.kernel
    }

    pub(crate) fn report_mut(&mut self) -> &mut PortReport {
        &mut self.report
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

    /// Stops traffic, takes back what the kernel still has, and closes the socket.
    ///
    /// Packets waiting in the rx ring, and those whose sending the kernel does not complete within
    /// 200 ms, are dropped as [`DropReason::QueuePurge`]. Slots come back when the queue is seen free
    /// (D5); those that are not are quarantined.
    #[must_use]
    pub fn close(mut self) -> Closed {
        self.retire(Duration::from_millis(200));
        let walk = self.walk_at_end();
        Closed { walk, quarantined: self.quarantined }
    }

    /// Detaches the program, empties the rings and gives the slots back. Runs once.
    fn retire(&mut self, patience: Duration) {
        drop(self.attachment.take());
        self.purge_rx();
        let deadline = std::time::Instant::now() + patience;
        loop {
            self.reap();
            let done = self.tx_side == 0 || self.fault.is_some();
            if done || std::time::Instant::now() >= deadline {
                break;
            }
            self.unkicked = true;
            self.kick();
            std::thread::sleep(Duration::from_micros(200));
        }
        // The program is off, but what was on its way through it may have come meanwhile.
        self.purge_rx();
        let mut waiting = Vec::new();
        self.rings.fill.walk(|offset| waiting.push(offset));
        let inside = u64::from(self.rx_side) - (waiting.len() as u64).min(u64::from(self.rx_side));
        let unsent = u64::from(self.tx_side);
        self.counts.dropped[DropReason::QueuePurge] += unsent;
        self.rings = Rings::unmapped();
        let lost = if self.kernel.close_and_see_free(!patience.is_zero()) {
            self.handle.return_from_device(waiting.into_iter());
            inside + unsent
        } else {
            waiting.len() as u64 + inside + unsent
        };
        self.quarantine(lost);
        (self.rx_side, self.tx_side) = (0, 0);
    }

    /// Drops what waits in the rx ring, without refilling.
    fn purge_rx(&mut self) {
        let count = self.rings.rx.available(u32::MAX);
        let mut good = Vec::new();
        for desc in self.rings.rx.segments(count).concat() {
            if self.memory.holds(&desc) {
                good.push(desc.addr);
            }
        }
        self.quarantine(u64::from(count) - good.len() as u64);
        self.handle.return_from_device(good.into_iter());
        self.rings.rx.pass(count);
        self.rings.rx.release();
        self.rx_side = self.rx_side.saturating_sub(count);
        self.counts.received += u64::from(count);
        self.counts.dropped[DropReason::QueuePurge] += u64::from(count);
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

    /// Wakes the kernel for the tx ring where it has to be (D4), reaping between its turns.
    fn kick(&mut self) {
        if !self.unkicked {
            return;
        }
        if !self.rings.tx.needs_wakeup() && self.report.need_wakeup {
            self.unkicked = false;
            return;
        }
        // In copy mode one call sends a budget of descriptors and answers EAGAIN when more are left.
        for _ in 0..64 {
            match self.kernel.kick_tx() {
                Wake::Done => {
                    self.unkicked = false;
                    return;
                }
                Wake::Again => self.reap(),
                Wake::Later => return,
                Wake::Failed(error) => {
                    self.fail("send on", error);
                    return;
                }
            }
        }
    }

    fn fail(&mut self, operation: &'static str, cause: io::Error) {
        let gone =
            matches!(cause.raw_os_error(), Some(libc::ENXIO | libc::ENODEV | libc::ENETDOWN));
        let mut error = Error::os(operation, self.report.to_string(), cause);
        if gone {
            error = error.with_hint("the interface was removed, or its queue was taken away");
        }
        self.fault.get_or_insert(error);
        self.unkicked = false;
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
    fn keep(&self, addr: u64, span: Span) -> Packet {
        #[allow(clippy::cast_possible_truncation, reason = "slot numbers are u32")]
        let slot = (addr >> self.memory.frame_bytes.trailing_zeros()) as u32;
        self.handle.adopt(Slot::claimed(slot), span.headroom, span.len)
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
        if self.rx_side + REFILL_CHUNK <= self.rings.fill.size() {
            self.refill();
        }
        let mut left = self.rings.rx.available(budget).min(budget);
        let mut tally = Tally::default();
        if left == 0 {
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
        if tally.transmitted > 0 {
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
        self.kick();
        self.reap();
        self.fault.take().map_or(Ok(()), Err)
    }

    fn wait(&mut self, timeout: Duration) -> Result<()> {
        self.flush()?;
        if self.rings.rx.available(1) > 0 {
            return Ok(());
        }
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

impl Drop for Port {
    /// Without [`Port::close`] nothing is waited for: what the kernel may still use is quarantined.
    fn drop(&mut self) {
        if self.rx_side > 0 || self.tx_side > 0 {
            self.retire(Duration::ZERO);
        }
    }
}

/// The cursors of a run of packets that wraps neither in the rx nor in the fill ring, so that they are
/// plain pointers. [`lend_all`](Self::lend_all) commits them; if the closure unwinds, the drop does
/// (M2).
struct Pass<'p> {
    port: &'p mut Port,
    descs: &'p [XdpDesc],
    /// Minus the number of packets without a verdict: the loop counts up to 0, and both arrays are
    /// reached from their ends with this one index.
    left: isize,
    /// Packet `left` goes back to `fill + left`: moved back by one for each packet that does not.
    fill: *mut u64,
    /// Packet number `sent` goes to `tx + sent` while `sent < tx_end`: looked up when the first one is
    /// sent, and again at the wrap ([`Port::tx_run`]).
    tx: *mut XdpDesc,
    tx_end: u32,
    sent: u32,
    kept: u32,
    dropped: u32,
}

impl<'p> Pass<'p> {
    #[inline]
    fn over(port: &'p mut Port, descs: &'p [XdpDesc]) -> Self {
        let fill = port.rings.fill.entry(0).wrapping_add(descs.len());
        let (left, tx) = (-descs.len().cast_signed(), ptr::null_mut());
        Self { port, descs, left, fill, tx, tx_end: 0, sent: 0, kept: 0, dropped: 0 }
    }

    /// Lends every packet of the run and commits what became of them.
    #[inline]
    fn lend_all<K, F>(mut self, sink: &mut K, verdict: &mut F, tally: &mut Tally)
    where
        K: Keep + ?Sized,
        F: FnMut(&mut PacketMut<'_>) -> Verdict,
    {
        let memory = self.port.memory;
        let end = self.descs.as_ptr_range().end;
        while self.left != 0 {
            // SAFETY: `-len <= left < 0`, so this is inside of `descs`.
            let desc = unsafe { end.offset(self.left) };
            // SAFETY: inside of `descs`, as above.
            let desc = unsafe { desc.read() };
            self.lend(desc, &memory, sink, verdict);
            self.left += 1;
        }
        tally.transmitted += self.sent;
        tally.kept += self.kept;
        self.commit();
        // Committed: the drop is for unwinding only.
        let _ = ManuallyDrop::new(self);
    }

    /// Packets of the run that have their verdict.
    #[inline]
    fn settled(&self) -> usize {
        self.descs.len().wrapping_add_signed(self.left)
    }

    /// Lends one packet and carries out the verdict on it.
    #[inline]
    fn lend<K, F>(&mut self, desc: XdpDesc, memory: &Memory, sink: &mut K, verdict: &mut F)
    where
        K: Keep + ?Sized,
        F: FnMut(&mut PacketMut<'_>) -> Verdict,
    {
        debug_assert!(memory.holds(&desc), "{desc:?}");
        let mask = u64::from(memory.frame_bytes - 1);
        #[allow(clippy::cast_possible_truncation, reason = "masked below frame_bytes")]
        let headroom = (desc.addr & mask) as u32;
        let span = Span { headroom, len: desc.len, frame_bytes: memory.frame_bytes };
        let mut view = memory.view(desc.addr, span);
        let answer = verdict(&mut view);
        let (addr, span) = (view.offset_from(memory.base), view.span());
        match answer {
            Verdict::Consume => self.put_back(desc.addr),
            Verdict::Drop(reason) => self.drop_as(reason, desc.addr),
            Verdict::Transmit => self.transmit(addr, span.len),
            Verdict::Keep => {
                hint::cold_path();
                self.not_back();
                sink.keep(self.port.keep(desc.addr, span));
                self.kept += 1;
            }
        }
    }

    #[inline]
    fn transmit(&mut self, addr: u64, len: u32) {
        if self.sent == self.tx_end {
            (self.tx, self.tx_end) = self.port.tx_run(self.sent);
        }
        if self.sent == self.tx_end {
            self.drop_as(DropReason::FullRing, addr);
        } else if len < ETH_HLEN {
            self.drop_as(DropReason::PktTooSmall, addr);
        } else {
            let entry = self.tx.wrapping_add(self.sent as usize);
            // SAFETY: `sent < tx_end`: inside of the array, before its wrap, and free (N1, D3, `tx_run`).
            unsafe { entry.write(XdpDesc { addr, len, options: 0 }) };
            self.sent += 1;
            self.not_back();
        }
    }

    #[inline]
    fn drop_as(&mut self, reason: DropReason, addr: u64) {
        self.dropped += 1;
        self.port.counts.dropped[reason] += 1;
        self.put_back(addr);
    }

    /// Gives a slot back to the fill ring; the kernel masks the address to the slot's start.
    #[inline]
    fn put_back(&mut self, addr: u64) {
        let entry = self.fill.wrapping_offset(self.left);
        // SAFETY: `fill + left` is the cursor's entry plus one per packet that went back: fewer
        // than the run, so before the wrap (N1), and free by X1 (D3).
        unsafe { entry.write(addr) };
    }

    /// The packet whose verdict is carried out does not go back to the fill ring.
    #[inline]
    fn not_back(&mut self) {
        self.fill = self.fill.wrapping_sub(1);
    }

    /// Moves the private cursors past the settled packets and counts them.
    #[inline]
    fn commit(&mut self) {
        #[allow(clippy::cast_possible_truncation, reason = "a run has u32 packets")]
        let passed = self.settled() as u32;
        let port = &mut *self.port;
        let away = self.sent + self.kept;
        port.rings.rx.pass(passed);
        port.rings.fill.commit(passed - away);
        port.counts.received += u64::from(passed);
        port.counts.consumed += u64::from(passed - away - self.dropped);
        if away > 0 {
            port.rings.tx.commit(self.sent);
            port.rx_side -= away;
            port.tx_side += self.sent;
            port.unkicked |= self.sent > 0;
        }
    }
}

impl Drop for Pass<'_> {
    /// The closure or the sink unwound. A packet whose verdict was not carried out is dropped (M2).
    #[inline]
    fn drop(&mut self) {
        let start = self.port.rings.fill.entry(0).wrapping_add(self.descs.len());
        let away = start.addr().wrapping_sub(self.fill.addr()) / size_of::<u64>();
        if away > (self.sent + self.kept) as usize {
            self.kept += 1; // it was the sink: the packet is not ours any more
        } else {
            let current = self.port.rings.rx.peek(self.settled());
            self.drop_as(DropReason::Unwound, current.addr);
        }
        self.left += 1;
        self.commit();
        self.port.publish();
        self.port.kick();
    }
}

impl Memory {
    /// Whether every descriptor is inside of the UMEM (X3). One branch-free pass over the run decides
    /// for a UMEM whose size is a power of two: then no address is past its end, and no packet reaches
    /// past the guard behind it. Anything else is looked at one by one.
    #[inline]
    fn holds_all(&self, descs: &[XdpDesc]) -> bool {
        let (addr, len) = or_all(descs);
        (addr < self.fast_bytes && len < self.frame_bytes)
            || descs.iter().all(|desc| self.holds(desc))
    }

    /// Whether a descriptor is inside of one slot of the UMEM.
    #[inline]
    fn holds(&self, desc: &XdpDesc) -> bool {
        let headroom = desc.addr & u64::from(self.frame_bytes - 1);
        desc.addr < self.bytes && headroom + u64::from(desc.len) <= u64::from(self.frame_bytes)
    }

    /// Views the packet at `addr`, whose slot the caller has from the rx ring.
    #[inline]
    fn view(&self, addr: u64, span: Span) -> PacketMut<'static> {
        // SAFETY: `addr` is inside of the UMEM (X3), which is this region's slots (R2).
        let data = unsafe { self.base.add(crate::sys::to_usize(addr)) };
        // SAFETY: the descriptor was inside of its slot (X3), and the slot is the port's from the rx
        // ring until the verdict (P2, M1); the closure gets the view for its call only.
        unsafe { PacketMut::new(data, span) }
    }
}

#[cfg(test)]
mod tests;
