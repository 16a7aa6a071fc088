//! The loop over a run of received packets: lends each, carries out its verdict, and commits the
//! cursors when the run ends or the closure unwinds (M1, M2, M3).

use std::{
    hint,
    mem::{self, ManuallyDrop},
    ptr::{self, NonNull},
};

use super::{ETH_HLEN, Port, TxRun, chain::Lone};
use crate::{
    device::{Keep, Tally, Verdict},
    mem::{
        DropReason, PacketMut, Pool, Rest,
        request::refusal,
        span::{FrameSize, Span},
    },
    sys::xsk::{XSK_UNALIGNED_BUF_OFFSET_SHIFT, XdpDesc},
    xdp::ring::or_all,
};

/// Where the slots are, as the hot loop needs it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    pub(super) base: NonNull<u8>,
    pub(super) frame_bytes: u32,
    /// Leaves of an address how far into its slot it is, where slots start at multiples of a power of
    /// two; of such a number itself, it leaves all.
    mask: u32,
    pub(super) size: FrameSize,
    pub(super) bytes: u64,
    /// Whether descriptors can be plain: slots are aligned, and no packet asks for anything.
    has_plain: bool,
    /// As `bytes` where that and the slots' size are powers of two, else 0: what the check of a whole run goes by.
    pub(super) fast_bytes: u64,
}

/// The cursors of a run of packets that wraps neither in the rx nor in the fill ring, so that they are
/// plain pointers. [`lend_all`](Self::lend_all) commits them; if the closure unwinds, the drop does
/// (M2).
///
/// A packet that no plain run has, because it is a chain or its slots are not aligned, is a run of its
/// own: one made-up descriptor whose address counts from the packet's slot. So is every packet of a port
/// that was opened for requests. The loop over it is the same,
/// so that the closure is in one place and can be part of it. What is behind the packet is the port's
/// ([`Lone`]): room in the tx ring is for all its frames, and the commit puts right what the loop has
/// written (`Port::commit_lone`).
pub(super) struct Pass<'p> {
    port: &'p mut Port,
    /// Where packets are sent, if not by the port that they came from.
    out: Option<&'p mut Port>,
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
    pub(super) fn over(
        port: &'p mut Port,
        out: Option<&'p mut Port>,
        descs: &'p [XdpDesc],
    ) -> Self {
        let fill = port.rings.fill.entry(0).wrapping_add(descs.len());
        let (left, tx) = (-descs.len().cast_signed(), ptr::null_mut());
        Self { port, out, descs, left, fill, tx, tx_end: 0, sent: 0, kept: 0, dropped: 0 }
    }

    /// Lends every packet of the run and commits what became of them.
    #[inline]
    pub(super) fn lend_all<K, F>(mut self, sink: &mut K, verdict: &mut F, tally: &mut Tally)
    where
        K: Keep + ?Sized,
        F: FnMut(&mut PacketMut<'_>) -> Verdict,
    {
        let mut memory = self.port.memory;
        // SAFETY: the start of a slot, or of the first one: inside of the UMEM (X3).
        memory.base = unsafe { memory.base.add(crate::sys::to_usize(self.port.lone.origin)) };
        let mut next = self.descs.as_ptr();
        while self.left != 0 {
            // SAFETY: `next` has gone as far from the start of `descs` as `left` has from minus its length,
            // and that is not 0 yet: inside of it.
            let desc = unsafe { next.read() };
            // SAFETY: as above; one past the end of `descs` at most.
            next = unsafe { next.add(1) };
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
        debug_assert!(self.port.lone.descriptors > 0 || memory.is_plain(&desc), "{desc:?}");
        #[allow(clippy::cast_possible_truncation, reason = "masked below frame_bytes")]
        let headroom = desc.addr as u32 & memory.mask;
        let span = Span { headroom, len: desc.len, frame_bytes: memory.frame_bytes };
        let mut view = memory.view(desc.addr, span, self.port.lone.rest);
        let answer = verdict(&mut view);
        let (addr, span) = (view.offset_from(memory.base), view.span());
        match answer {
            Verdict::Consume => self.put_back(desc.addr),
            Verdict::Drop(reason) => self.drop_as(reason, desc.addr),
            Verdict::Transmit => self.transmit(desc.addr, addr, span.len),
            Verdict::Keep => {
                hint::cold_path();
                self.not_back();
                if let Some(packet) = self.port.keep(desc.addr, span) {
                    sink.keep(packet);
                }
                self.kept += 1;
            }
        }
    }

    /// Sends the `len` bytes at `addr`. What is not sent goes back by `slot_addr`: an empty packet's
    /// own address may be the end of its slot, which is the next one's start.
    #[inline]
    fn transmit(&mut self, slot_addr: u64, addr: u64, len: u32) {
        let mut why = DropReason::FullRing;
        if self.sent == self.tx_end {
            let lone = self.port.lone;
            let out = self.out.as_deref_mut().unwrap_or(self.port);
            TxRun { tx: self.tx, end: self.tx_end, why } = out.tx_run(self.sent, lone, addr, len);
        }
        if self.sent == self.tx_end {
            self.drop_as(why, slot_addr);
        } else if len < ETH_HLEN {
            self.drop_as(DropReason::PktTooSmall, slot_addr);
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
        if self.port.lone.descriptors > 0 {
            hint::cold_path();
            let Self { sent, kept, dropped, tx, .. } = *self;
            let ended = Ended { sent, kept, dropped, tx };
            return self.port.commit_lone(self.out.as_deref_mut(), ended);
        }
        let port = &mut *self.port;
        let away = self.sent + self.kept;
        port.rings.rx.pass(passed);
        port.rings.fill.commit(passed - away);
        port.counts.received += u64::from(passed);
        port.counts.consumed += u64::from(passed - away - self.dropped);
        if away > 0 {
            port.rx_side -= away;
            let out = self.out.as_deref_mut().unwrap_or(port);
            out.rings.tx.commit(self.sent);
            out.tx_side += self.sent;
            out.unkicked |= self.sent > 0;
        }
    }
}

/// What became of a run that is one packet of its own kind: which of these is 1 says it.
#[derive(Clone, Copy)]
struct Ended {
    sent: u32,
    kept: u32,
    dropped: u32,
    /// Where the loop has put the first frame, if it was sent.
    tx: *const XdpDesc,
}

impl Port {
    /// The commit of a run that is one packet of its own kind. What the loop wrote into the rings beyond
    /// their cursors is read back, or written over. Out of line and by value: the cursors of a plain run
    /// stay in registers.
    #[inline(never)]
    fn commit_lone(&mut self, out: Option<&mut Self>, ended: Ended) {
        let mut lone = mem::take(&mut self.lone);
        let mut rest = lone.take_rest();
        let Lone { origin, descriptors, .. } = lone;
        self.count_lone(descriptors);
        self.rx_side -= descriptors;
        if ended.sent > 0 {
            // SAFETY: `transmit` has written the entry, and nobody else has it before it is published
            // (N1, D3).
            let first = unsafe { ended.tx.read() };
            let mut first = XdpDesc { addr: origin + first.addr, ..first };
            let out = out.unwrap_or(&mut *self);
            if let Some(rest) = rest.as_deref_mut().filter(|rest| !rest.request.is_empty()) {
                first = out.ask_lent(first, rest);
            }
            out.send_lone(first, rest.as_deref());
            let behind = rest.iter().flat_map(|rest| rest.frames());
            let empty = behind.filter(|frame| frame.span.len == 0);
            self.put_back_slots(empty.map(|frame| frame.slot.index()));
        } else if ended.kept == 0 {
            self.counts.consumed += u64::from(1 - ended.dropped);
            let first = self.memory.size.slot_of(origin);
            let behind = rest.iter().flat_map(|rest| rest.frames());
            let behind = behind.map(|frame| frame.slot.index());
            self.put_back_slots([first].into_iter().chain(behind));
        }
        if let Some(rest) = rest {
            self.handle.recycle_rest(rest);
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
        if let Some(out) = &mut self.out {
            out.publish_sent();
            out.kick();
        }
    }
}

impl Lone {
    /// Makes the frame list something that the loop can lend; [`take_rest`](Self::take_rest) undoes it.
    pub(super) fn with_rest(self, rest: Box<Rest>) -> Self {
        Self { rest: Some(NonNull::from(Box::leak(rest))), ..self }
    }

    /// The frame list, which nobody lends any more.
    pub(super) fn take_rest(&mut self) -> Option<Box<Rest>> {
        let rest = self.rest.take()?;
        // SAFETY: it comes from `with_rest`, and is taken out only once.
        Some(unsafe { Box::from_raw(rest.as_ptr()) })
    }

    /// How many descriptors the packet needs to be sent, as it is now.
    pub(super) fn needed(self) -> u32 {
        let Some(rest) = self.rest else { return 1 };
        // SAFETY: the list lives until it is taken out, and the closure has returned its borrow.
        1 + unsafe { rest.as_ref() }.descriptors()
    }

    /// Why a packet whose first frame is `len` bytes at `headroom` of its slot cannot be sent by a port
    /// that wants so much headroom.
    #[cold]
    pub(super) fn refusal(
        self,
        headroom: u64,
        len: u32,
        headroom_bytes: u32,
    ) -> Option<DropReason> {
        // SAFETY: as in `needed`.
        let rest = self.rest.map(|rest| unsafe { rest.as_ref() });
        let headroom = u32::try_from(headroom).unwrap_or(0);
        let first = Span { headroom, len, frame_bytes: headroom + len };
        refusal(first, rest, headroom_bytes)
    }
}

impl Memory {
    /// With `may_ask` packets may ask for something, and no run of them is plain.
    pub(super) fn of(pool: &Pool, may_ask: bool) -> Self {
        let size = pool.frame_size();
        let bytes = u64::from(pool.slots()) * u64::from(size.bytes());
        let has_plain = size.is_aligned() && !may_ask;
        let is_fast = bytes.is_power_of_two() && has_plain;
        Self {
            base: pool.region().base(),
            frame_bytes: size.bytes(),
            mask: size.bytes().next_power_of_two() - 1,
            size,
            bytes,
            has_plain,
            fast_bytes: if is_fast { bytes } else { 0 },
        }
    }

    /// Whether every descriptor is plain: the only one of its packet, aligned, and inside of the UMEM
    /// (X3). One branch-free pass over the run decides for a UMEM whose size is a power of two: then no
    /// address is past its end, and no packet is longer than a frame, so that none reaches past the guard
    /// behind the region. Anything else is looked at one by one.
    #[inline]
    pub(super) fn are_plain(&self, descs: &[XdpDesc]) -> bool {
        let (addr, len_and_options) = or_all(descs);
        (addr < self.fast_bytes && len_and_options < u64::from(self.frame_bytes))
            || descs.iter().all(|desc| self.is_plain(desc))
    }

    /// Whether a descriptor is the only one of its packet, aligned, and inside of one slot of the UMEM.
    #[inline]
    pub(super) fn is_plain(&self, desc: &XdpDesc) -> bool {
        let headroom = desc.addr & u64::from(self.mask);
        let end = headroom + u64::from(desc.len);
        self.has_plain
            && desc.options == 0
            && desc.addr < self.bytes
            && end <= u64::from(self.frame_bytes)
    }

    /// Whether all of `addrs`, which come from the completion ring, are inside of the UMEM, and the kernel
    /// masks them to their slots' starts when it finds them in the fill ring.
    pub(super) fn are_masked(&self, addrs: &[u64]) -> bool {
        self.size.is_aligned() && addrs.iter().all(|&addr| addr < self.bytes)
    }

    /// Where a received frame starts and where in its slot its bytes do, whatever its kind; `None` when
    /// they are not inside of one slot of the UMEM (X3).
    pub(super) fn locate(&self, desc: &XdpDesc) -> Option<(u32, Span)> {
        let (slot, headroom) = if self.size.is_aligned() {
            (self.size.slot_of(desc.addr), u64::from(self.size.headroom_of(desc.addr)))
        } else {
            let start = self.slot_addr(desc.addr);
            // A chunk of the fill ring comes back by its own address, which is a slot's start.
            let inside = u64::from(self.size.headroom_of(start));
            (self.size.slot_of(start), inside + (desc.addr >> XSK_UNALIGNED_BUF_OFFSET_SHIFT))
        };
        let is_inside = self.size.start_of(slot) < self.bytes
            && headroom + u64::from(desc.len) <= u64::from(self.frame_bytes);
        #[allow(clippy::cast_possible_truncation, reason = "at most the size of a frame")]
        let headroom = headroom as u32;
        is_inside.then_some((slot, Span { headroom, len: desc.len, frame_bytes: self.frame_bytes }))
    }

    /// An address inside of the slot that a ring's entry names: what the kernel adds in the unaligned
    /// mode is taken off.
    fn slot_addr(&self, addr: u64) -> u64 {
        if self.size.is_aligned() {
            addr
        } else {
            addr & ((1 << XSK_UNALIGNED_BUF_OFFSET_SHIFT) - 1)
        }
    }

    /// The slot that a ring's entry names.
    pub(super) fn slot_of(&self, addr: u64) -> u32 {
        self.size.slot_of(self.slot_addr(addr))
    }

    /// Views the packet at `addr`, whose slots the caller has: from the rx ring, or from the completion
    /// ring.
    #[inline]
    pub(super) fn view(
        &self,
        addr: u64,
        span: Span,
        rest: Option<NonNull<Rest>>,
    ) -> PacketMut<'static> {
        // SAFETY: `addr` is inside of the UMEM (X3), which is this region's slots (R2).
        let data = unsafe { self.base.add(crate::sys::to_usize(addr)) };
        // SAFETY: the list lives until it is taken out after the verdict, and nobody else borrows it
        // during the call.
        let rest = rest.map(|mut rest| unsafe { rest.as_mut() });
        // SAFETY: the descriptor was inside of its slot (X3), and the slot is the port's from the rx
        // ring until the verdict (P2, M1), or until the tx ring is published, or from the completion ring
        // on; the closure gets the view for its call only.
        unsafe { PacketMut::new(data, span, rest) }
    }
}
