//! Packets: owned ones, and the view of one where it lies in a ring.
//!
//! ```text
//!   |<------------------ frame_bytes ------------------>|
//!   | headroom |            len             | tailroom  |        headroom + len + tailroom = frame (K1)
//! ```
//!
//! Both kinds have the same operations: `push`/`pull` move the front, `put`/`trim` the back; one that
//! does not fit changes nothing (K2).
//!
//! A packet is a chain of frames, each with its own room (K1), of one frame nearly always: longer ones
//! come by multi-buffer (`XDP_USE_SG`, kernel 6.6) and by [`Packet::append`]. What is said of *the*
//! bytes and the headroom is of the first frame; `put`, `trim` and the tailroom are of the last.

mod chain;
pub(crate) mod request;

use std::{marker::PhantomData, ptr::NonNull, slice};

pub(crate) use self::chain::Rest;
use super::{
    DropReason, PoolHandle, Slot,
    pool::Ending,
    span::{NoRoom, Span},
};
use crate::sync::Arc;

/// A packet borrowed where it lies, for the length of one closure call.
#[derive(Debug)]
pub struct PacketMut<'a> {
    /// The first byte of the packet; its slot starts `span.headroom` bytes before.
    data: NonNull<u8>,
    span: Span,
    /// The frames behind the first, where there are any, and what it asks for, where it may.
    rest: Option<&'a mut Rest>,
    owner: PhantomData<&'a mut [u8]>,
}

impl<'a> PacketMut<'a> {
    /// Views `span` of the frame around `data`.
    ///
    /// # Safety
    /// - `data - span.headroom .. + span.frame_bytes` is inside one slot's span of a live region (R1);
    /// - the caller owns that slot (P2) and lends it for `'a`.
    #[inline]
    pub(crate) unsafe fn new(data: NonNull<u8>, span: Span, rest: Option<&'a mut Rest>) -> Self {
        Self { data, span, rest, owner: PhantomData }
    }

    #[inline]
    pub(crate) fn span(&self) -> Span {
        self.span
    }

    /// How far behind `base` the packet's first byte lies.
    #[inline]
    pub(crate) fn offset_from(&self, base: NonNull<u8>) -> u64 {
        (self.data.addr().get() - base.addr().get()) as u64
    }

    /// The bytes of the packet's first frame: all of it, unless [`frame_count`](Self::frame_count) says
    /// that there are more.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `new`'s contract and K1: `data .. data + len` is inside the slot that is lent, and
        // the bytes are initialised (the region is zeroed when mapped, R1).
        unsafe { slice::from_raw_parts(self.data.as_ptr(), self.span.len as usize) }
    }

    /// The bytes of the packet's first frame, to change in place.
    #[inline]
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; the borrow is exclusive because `self` is.
        unsafe { slice::from_raw_parts_mut(self.data.as_ptr(), self.span.len as usize) }
    }

    /// The length of [`bytes`](Self::bytes).
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.span.len as usize
    }

    /// Whether the first frame has no bytes.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.span.len == 0
    }

    /// Free bytes in front of the packet.
    #[inline]
    #[must_use]
    pub fn headroom(&self) -> usize {
        self.span.headroom as usize
    }

    /// Free bytes behind the packet, in its last frame.
    #[inline]
    #[must_use]
    pub fn tailroom(&self) -> usize {
        self.rest.as_ref().and_then(|rest| rest.last()).unwrap_or(self.span).tailroom() as usize
    }

    /// The `n` bytes in front of the packet: what an XDP program has put there with
    /// `bpf_xdp_adjust_meta` before the packet came, or whatever the slot held. `None` when the headroom
    /// is smaller.
    #[inline]
    #[must_use]
    #[doc(alias = "data_meta")]
    pub fn in_front(&self, n: u32) -> Option<&[u8]> {
        let front = self.span.push(n).ok()?;
        // SAFETY: `n` is at most the headroom, so the pointer stays inside of the slot (K1).
        let start = unsafe { self.data.sub((self.span.headroom - front.headroom) as usize) };
        // SAFETY: the `n` bytes end where the packet starts, in the slot that is lent (K1, `new`), and
        // are initialised (R1).
        Some(unsafe { slice::from_raw_parts(start.as_ptr(), n as usize) })
    }

    /// How many frames the packet spans, 1 or more.
    #[inline]
    #[must_use]
    pub fn frame_count(&self) -> usize {
        1 + self.rest.as_ref().map_or(0, |rest| rest.frames().len())
    }

    /// The length of all frames together, in bytes.
    #[inline]
    #[must_use]
    pub fn total_len(&self) -> usize {
        self.len() + self.rest.as_ref().map_or(0, |rest| rest.len_bytes())
    }

    /// The bytes of one frame, from 0; `None` past the last.
    #[must_use]
    pub fn frame(&self, index: usize) -> Option<&[u8]> {
        match index.checked_sub(1) {
            None => Some(self.bytes()),
            Some(behind) => self.rest.as_ref()?.bytes(behind),
        }
    }

    /// The bytes of one frame, from 0, to change in place; `None` past the last.
    #[must_use]
    pub fn frame_mut(&mut self, index: usize) -> Option<&mut [u8]> {
        match index.checked_sub(1) {
            None => Some(self.bytes_mut()),
            Some(behind) => self.rest.as_mut()?.bytes_mut(behind),
        }
    }

    /// The bytes of each frame, in order.
    pub fn frames(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.frame_count()).filter_map(|index| self.frame(index))
    }

    /// Grows the packet by `n` bytes at the front and returns them, with whatever they held.
    ///
    /// # Errors
    /// When the headroom is smaller than `n`; nothing changes.
    #[inline]
    #[doc(alias = "skb_push")]
    pub fn push(&mut self, n: u32) -> Result<&mut [u8], NoRoom> {
        self.set(self.span.push(n)?);
        Ok(&mut self.bytes_mut()[..n as usize])
    }

    /// Takes `n` bytes off the front.
    ///
    /// # Errors
    /// When the first frame is shorter than `n`; nothing changes.
    #[inline]
    #[doc(alias = "skb_pull")]
    pub fn pull(&mut self, n: u32) -> Result<(), NoRoom> {
        self.set(self.span.pull(n)?);
        Ok(())
    }

    /// Grows the packet by `n` bytes at the back and returns them, with whatever they held.
    ///
    /// # Errors
    /// When the tailroom is smaller than `n`; nothing changes.
    #[inline]
    #[doc(alias = "skb_put")]
    pub fn put(&mut self, n: u32) -> Result<&mut [u8], NoRoom> {
        if self.has_frames_behind()
            && let Some(ref mut rest) = self.rest
        {
            return rest.put(n);
        }
        let start = self.span.len as usize;
        self.set(self.span.put(n)?);
        Ok(&mut self.bytes_mut()[start..])
    }

    /// Takes `n` bytes off the back.
    ///
    /// # Errors
    /// When the last frame is shorter than `n`; nothing changes.
    #[inline]
    #[doc(alias = "skb_trim")]
    pub fn trim(&mut self, n: u32) -> Result<(), NoRoom> {
        if self.has_frames_behind()
            && let Some(ref mut rest) = self.rest
        {
            return rest.trim(n);
        }
        self.set(self.span.trim(n)?);
        Ok(())
    }

    /// Moves the start of an empty first frame `n` bytes towards the back of its slot.
    ///
    /// # Errors
    /// When the frame is not empty or the tailroom is smaller than `n`; nothing changes.
    #[doc(alias = "skb_reserve")]
    pub fn reserve(&mut self, n: u32) -> Result<(), NoRoom> {
        self.set(self.span.reserve(n)?);
        Ok(())
    }

    #[inline]
    fn has_frames_behind(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.has_frames())
    }

    #[inline]
    fn set(&mut self, span: Span) {
        let moved = span.headroom.cast_signed().wrapping_sub(self.span.headroom.cast_signed());
        // SAFETY: both headrooms are inside the same frame (K1), so the pointer stays inside it.
        self.data = unsafe { self.data.offset(moved as isize) };
        self.span = span;
    }
}

/// An owned packet: one slot of a pool or more, given back when the packet ends. Thread-confined (K7).
///
/// Every packet ends exactly once (K6): sent by a device, [`consume`](Self::consume)d, or
/// [`discard`](Self::discard)ed with a reason. One that just goes out of scope counts as discarded
/// with [`DropReason::NotSpecified`], by the slower way through the pool's shared stack.
///
/// ```compile_fail
/// fn needs_send<T: Send>() {}
/// needs_send::<netmem::mem::Packet>(); // K7
/// ```
#[derive(Debug)]
#[doc(alias = "sk_buff")]
pub struct Packet {
    handle: PoolHandle,
    /// `None` only inside the call that ends the packet.
    slot: Option<Slot>,
    span: Span,
    /// The frames behind the first, where there are any, and what it asks for, where it does.
    rest: Option<Box<Rest>>,
}

impl Packet {
    pub(crate) fn new(
        handle: PoolHandle,
        slot: Slot,
        (headroom, len): (u32, u32),
        rest: Option<Box<Rest>>,
    ) -> Self {
        let frame_bytes = handle.pool().config().frame_bytes;
        debug_assert!(headroom + len <= frame_bytes);
        let span = Span { len, ..Span::empty(headroom, frame_bytes) };
        Self { handle, slot: Some(slot), span, rest }
    }

    /// The bytes of the packet's first frame: all of it, unless [`frame_count`](Self::frame_count) says
    /// that there are more.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let len = self.span.len as usize;
        // SAFETY: the slot is this packet's (P2), `data..data + len` is inside it (K1), the region
        // lives as long as the handle does (R3), and `&self` keeps writers out.
        unsafe { slice::from_raw_parts(self.data().as_ptr(), len) }
    }

    /// The bytes of the packet's first frame, to change in place.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let len = self.span.len as usize;
        // SAFETY: as in `bytes`; the borrow is exclusive because `self` is.
        unsafe { slice::from_raw_parts_mut(self.data().as_ptr(), len) }
    }

    /// The length of [`bytes`](Self::bytes).
    #[must_use]
    pub fn len(&self) -> usize {
        self.span.len as usize
    }

    /// Whether the first frame has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.span.len == 0
    }

    /// Free bytes in front of the packet.
    #[must_use]
    pub fn headroom(&self) -> usize {
        self.span.headroom as usize
    }

    /// Free bytes behind the packet, in its last frame.
    #[must_use]
    pub fn tailroom(&self) -> usize {
        self.rest.as_ref().and_then(|rest| rest.last()).unwrap_or(self.span).tailroom() as usize
    }

    /// How many frames the packet spans, 1 or more.
    #[must_use]
    pub fn frame_count(&self) -> usize {
        1 + self.rest.as_ref().map_or(0, |rest| rest.frames().len())
    }

    /// The length of all frames together, in bytes.
    #[must_use]
    pub fn total_len(&self) -> usize {
        self.len() + self.rest.as_ref().map_or(0, |rest| rest.len_bytes())
    }

    /// The bytes of one frame, from 0; `None` past the last.
    #[must_use]
    pub fn frame(&self, index: usize) -> Option<&[u8]> {
        match index.checked_sub(1) {
            None => Some(self.bytes()),
            Some(behind) => self.rest.as_ref()?.bytes(behind),
        }
    }

    /// The bytes of one frame, from 0, to change in place; `None` past the last.
    #[must_use]
    pub fn frame_mut(&mut self, index: usize) -> Option<&mut [u8]> {
        match index.checked_sub(1) {
            None => Some(self.bytes_mut()),
            Some(behind) => self.rest.as_mut()?.bytes_mut(behind),
        }
    }

    /// The bytes of each frame, in order.
    pub fn frames(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.frame_count()).filter_map(|index| self.frame(index))
    }

    /// Grows the packet by `n` bytes at the front and returns them, with whatever they held.
    ///
    /// # Errors
    /// When the headroom is smaller than `n`; nothing changes.
    #[doc(alias = "skb_push")]
    pub fn push(&mut self, n: u32) -> Result<&mut [u8], NoRoom> {
        self.span = self.span.push(n)?;
        Ok(&mut self.bytes_mut()[..n as usize])
    }

    /// Takes `n` bytes off the front.
    ///
    /// # Errors
    /// When the packet is shorter than `n`; nothing changes.
    #[doc(alias = "skb_pull")]
    pub fn pull(&mut self, n: u32) -> Result<(), NoRoom> {
        self.span = self.span.pull(n)?;
        Ok(())
    }

    /// Grows the packet by `n` bytes at the back and returns them, with whatever they held.
    ///
    /// # Errors
    /// When the tailroom is smaller than `n`; nothing changes.
    #[doc(alias = "skb_put")]
    pub fn put(&mut self, n: u32) -> Result<&mut [u8], NoRoom> {
        if self.has_frames_behind()
            && let Some(ref mut rest) = self.rest
        {
            return rest.put(n);
        }
        let start = self.span.len as usize;
        self.span = self.span.put(n)?;
        Ok(&mut self.bytes_mut()[start..])
    }

    /// Takes `n` bytes off the back.
    ///
    /// # Errors
    /// When the packet is shorter than `n`; nothing changes.
    #[doc(alias = "skb_trim")]
    pub fn trim(&mut self, n: u32) -> Result<(), NoRoom> {
        if self.has_frames_behind()
            && let Some(ref mut rest) = self.rest
        {
            return rest.trim(n);
        }
        self.span = self.span.trim(n)?;
        Ok(())
    }

    /// Moves the start of an empty packet `n` bytes towards the back of its slot.
    ///
    /// # Errors
    /// When the packet is not empty or the tailroom is smaller than `n`; nothing changes.
    #[doc(alias = "skb_reserve")]
    pub fn reserve(&mut self, n: u32) -> Result<(), NoRoom> {
        self.span = self.span.reserve(n)?;
        Ok(())
    }

    /// Ends the packet: the program is done with it.
    #[doc(alias = "consume_skb")]
    pub fn consume(self) {
        self.end(Ending::Consumed);
    }

    /// Ends the packet as dropped for `reason`.
    #[doc(alias = "kfree_skb_reason")]
    pub fn discard(self, reason: DropReason) {
        self.end(Ending::Dropped(reason));
    }

    fn has_frames_behind(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.has_frames())
    }

    /// The number of the first frame's slot.
    pub(crate) fn slot(&self) -> u32 {
        self.slot.as_ref().expect(LIVE).index()
    }

    /// Lends the packet as one that lies in a ring.
    pub(crate) fn lend(&mut self) -> PacketMut<'_> {
        // SAFETY: the slot is this packet's (P2) and `self` is borrowed for the view's lifetime.
        unsafe { PacketMut::new(self.data(), self.span, self.rest.as_deref_mut()) }
    }

    pub(crate) fn set_span(&mut self, span: Span) {
        self.span = span;
    }

    /// Whether the packet lies in the same pool as `handle`'s.
    pub(crate) fn is_of(&self, handle: &PoolHandle) -> bool {
        Arc::ptr_eq(self.handle.pool(), handle.pool())
    }

    /// How many descriptors send the packet: one for each frame that has bytes.
    pub(crate) fn descriptors(&self) -> u32 {
        u32::from(self.span.len > 0) + self.rest.as_ref().map_or(0, |rest| rest.descriptors())
    }

    /// Gives the packet's slots up to a device: hands each frame to `give`, in order, as its UMEM offset
    /// in bytes and its length. Frames without bytes, which cannot be sent, go back to the pool.
    pub(crate) fn into_device(mut self, mut give: impl FnMut(u64, u32)) {
        let slot = self.slot.take().expect(LIVE);
        let size = self.handle.pool().frame_size();
        let mut hand_over = |slot: &Slot, span: Span| {
            if span.len > 0 {
                self.handle.release_to_device(slot);
                give(size.start_of(slot.index()) + u64::from(span.headroom), span.len);
            } else {
                self.handle.give_back(slot);
            }
        };
        hand_over(&slot, self.span);
        if let Some(rest) = self.rest.take() {
            rest.frames().iter().for_each(|frame| hand_over(&frame.slot, frame.span));
            self.handle.end_rest(rest);
        }
    }

    fn end(mut self, ending: Ending) {
        let slot = self.slot.take().expect(LIVE);
        self.handle.end(&slot, self.rest.take(), ending);
    }

    fn data(&self) -> NonNull<u8> {
        let slot = self.slot.as_ref().expect(LIVE);
        let start = slot.index() as usize * self.span.frame_bytes as usize;
        let base = self.handle.pool().region().base();
        // SAFETY: the slot is inside the region (R2) and the headroom inside the slot (K1).
        unsafe { base.add(start + self.span.headroom as usize) }
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            let ending = Ending::Implicit(DropReason::NotSpecified);
            self.handle.end(&slot, self.rest.take(), ending);
        }
    }
}

const LIVE: &str = "a packet has its slot until it ends";
