//! The loop over a run of received packets: lends each, carries out its verdict, and commits the
//! cursors when the run ends or the closure unwinds (M1, M2, M3).

use std::{
    hint,
    mem::ManuallyDrop,
    ptr::{self, NonNull},
};

use super::{ETH_HLEN, Port};
use crate::{
    device::{Keep, Tally, Verdict},
    mem::{DropReason, PacketMut, Pool, span::Span},
    sys::xsk::XdpDesc,
    xdp::ring::or_all,
};

/// Where the slots are, as the hot loop needs it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    pub(super) base: NonNull<u8>,
    pub(super) frame_bytes: u32,
    pub(super) bytes: u64,
    /// As `bytes` where that is a power of two, else 0: what the check of a whole run goes by.
    pub(super) fast_bytes: u64,
}

/// The cursors of a run of packets that wraps neither in the rx nor in the fill ring, so that they are
/// plain pointers. [`lend_all`](Self::lend_all) commits them; if the closure unwinds, the drop does
/// (M2).
pub(super) struct Pass<'p> {
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
    pub(super) fn over(port: &'p mut Port, descs: &'p [XdpDesc]) -> Self {
        let fill = port.rings.fill.entry(0).wrapping_add(descs.len());
        let (left, tx) = (-descs.len().cast_signed(), ptr::null_mut());
        Self { port, descs, left, fill, tx, tx_end: 0, sent: 0, kept: 0, dropped: 0 }
    }

    /// Lends every packet of the run and commits what became of them.
    #[inline]
    pub(super) fn lend_all<K, F>(mut self, sink: &mut K, verdict: &mut F, tally: &mut Tally)
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
        if self.sent == self.tx_end {
            (self.tx, self.tx_end) = self.port.tx_run(self.sent);
        }
        if self.sent == self.tx_end {
            self.drop_as(DropReason::FullRing, slot_addr);
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
    pub(super) fn of(pool: &Pool) -> Self {
        let frame_bytes = pool.config().frame_bytes;
        let bytes = u64::from(pool.slots()) * u64::from(frame_bytes);
        let fast_bytes = if bytes.is_power_of_two() { bytes } else { 0 };
        Self { base: pool.region().base(), frame_bytes, bytes, fast_bytes }
    }

    /// Whether every descriptor is inside of the UMEM (X3). One branch-free pass over the run decides
    /// for a UMEM whose size is a power of two: then no address is past its end, and no packet is longer
    /// than a frame, so that none reaches past the guard behind the region. Anything else is looked at one by one.
    #[inline]
    pub(super) fn holds_all(&self, descs: &[XdpDesc]) -> bool {
        let (addr, len) = or_all(descs);
        (addr < self.fast_bytes && len < self.frame_bytes)
            || descs.iter().all(|desc| self.holds(desc))
    }

    /// The first address of the slot that `addr` is in.
    pub(super) fn slot_start(&self, addr: u64) -> u64 {
        addr & !u64::from(self.frame_bytes - 1)
    }

    /// Whether a descriptor is inside of one slot of the UMEM.
    #[inline]
    pub(super) fn holds(&self, desc: &XdpDesc) -> bool {
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
