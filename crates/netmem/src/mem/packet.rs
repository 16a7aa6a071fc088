//! Packets: owned ones, and the view of one where it lies in a ring.
//!
//! ```text
//!   |<------------------ frame_bytes ------------------>|
//!   | headroom |            len             | tailroom  |        headroom + len + tailroom = frame (K1)
//! ```
//!
//! Both kinds have the same operations: `push`/`pull` move the front, `put`/`trim` the back; one that
//! does not fit changes nothing (K2). A packet is a chain of frames; chains of more than one frame
//! come with multi-buffer, and until then [`PacketMut::frame_count`] is 1.

use std::{marker::PhantomData, ptr::NonNull, slice};

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
    owner: PhantomData<&'a mut [u8]>,
}

impl<'a> PacketMut<'a> {
    /// Views `span` of the frame around `data`.
    ///
    /// # Safety
    /// - `data - span.headroom .. + span.frame_bytes` is inside one slot's span of a live region (R1);
    /// - the caller owns that slot (P2) and lends it for `'a`.
    #[inline]
    pub(crate) unsafe fn new(data: NonNull<u8>, span: Span) -> Self {
        Self { data, span, owner: PhantomData }
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

    /// The packet's bytes.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `new`'s contract and K1: `data .. data + len` is inside the slot that is lent, and
        // the bytes are initialised (the region is zeroed when mapped, R1).
        unsafe { slice::from_raw_parts(self.data.as_ptr(), self.span.len as usize) }
    }

    /// The packet's bytes, to change in place.
    #[inline]
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; the borrow is exclusive because `self` is.
        unsafe { slice::from_raw_parts_mut(self.data.as_ptr(), self.span.len as usize) }
    }

    /// The packet's length in bytes.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.span.len as usize
    }

    /// Whether the packet has no bytes.
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

    /// Free bytes behind the packet.
    #[inline]
    #[must_use]
    pub fn tailroom(&self) -> usize {
        self.span.tailroom() as usize
    }

    /// How many frames the packet spans.
    #[must_use]
    pub fn frame_count(&self) -> usize {
        1
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
    /// When the packet is shorter than `n`; nothing changes.
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
        let start = self.span.len as usize;
        self.set(self.span.put(n)?);
        Ok(&mut self.bytes_mut()[start..])
    }

    /// Takes `n` bytes off the back.
    ///
    /// # Errors
    /// When the packet is shorter than `n`; nothing changes.
    #[inline]
    #[doc(alias = "skb_trim")]
    pub fn trim(&mut self, n: u32) -> Result<(), NoRoom> {
        self.set(self.span.trim(n)?);
        Ok(())
    }

    /// Moves the start of an empty packet `n` bytes towards the back of its slot.
    ///
    /// # Errors
    /// When the packet is not empty or the tailroom is smaller than `n`; nothing changes.
    #[doc(alias = "skb_reserve")]
    pub fn reserve(&mut self, n: u32) -> Result<(), NoRoom> {
        self.set(self.span.reserve(n)?);
        Ok(())
    }

    #[inline]
    fn set(&mut self, span: Span) {
        let moved = span.headroom.cast_signed().wrapping_sub(self.span.headroom.cast_signed());
        // SAFETY: both headrooms are inside the same frame (K1), so the pointer stays inside it.
        self.data = unsafe { self.data.offset(moved as isize) };
        self.span = span;
    }
}

/// An owned packet: a slot of a pool, given back when the packet ends. Thread-confined (K7).
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
}

impl Packet {
    pub(crate) fn new(handle: PoolHandle, slot: Slot, headroom: u32, len: u32) -> Self {
        let frame_bytes = handle.pool().config().frame_bytes;
        debug_assert!(headroom + len <= frame_bytes);
        Self { handle, slot: Some(slot), span: Span { len, ..Span::empty(headroom, frame_bytes) } }
    }

    /// The packet's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let len = self.span.len as usize;
        // SAFETY: the slot is this packet's (P2), `data..data + len` is inside it (K1), the region
        // lives as long as the handle does (R3), and `&self` keeps writers out.
        unsafe { slice::from_raw_parts(self.data().as_ptr(), len) }
    }

    /// The packet's bytes, to change in place.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let len = self.span.len as usize;
        // SAFETY: as in `bytes`; the borrow is exclusive because `self` is.
        unsafe { slice::from_raw_parts_mut(self.data().as_ptr(), len) }
    }

    /// The packet's length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.span.len as usize
    }

    /// Whether the packet has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.span.len == 0
    }

    /// Free bytes in front of the packet.
    #[must_use]
    pub fn headroom(&self) -> usize {
        self.span.headroom as usize
    }

    /// Free bytes behind the packet.
    #[must_use]
    pub fn tailroom(&self) -> usize {
        self.span.tailroom() as usize
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

    /// Lends the packet as one that lies in a ring.
    pub(crate) fn lend(&mut self) -> PacketMut<'_> {
        // SAFETY: the slot is this packet's (P2) and `self` is borrowed for the view's lifetime.
        unsafe { PacketMut::new(self.data(), self.span) }
    }

    pub(crate) fn set_span(&mut self, span: Span) {
        self.span = span;
    }

    /// Whether the packet lies in the same pool as `handle`'s.
    pub(crate) fn is_of(&self, handle: &PoolHandle) -> bool {
        Arc::ptr_eq(self.handle.pool(), handle.pool())
    }

    /// Gives the packet's slot up to a device: its UMEM offset in bytes, and its length.
    pub(crate) fn into_device(mut self) -> (u64, u32) {
        let slot = self.slot.take().expect(LIVE);
        self.handle.release_to_device(&slot);
        let start = u64::from(slot.index()) * u64::from(self.span.frame_bytes);
        (start + u64::from(self.span.headroom), self.span.len)
    }

    fn end(mut self, ending: Ending) {
        let slot = self.slot.take().expect(LIVE);
        self.handle.end(&slot, ending);
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
            self.handle.end(&slot, Ending::Implicit(DropReason::NotSpecified));
        }
    }
}

const LIVE: &str = "a packet has its slot until it ends";
