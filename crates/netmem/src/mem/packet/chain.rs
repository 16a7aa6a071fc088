//! The frames of a packet behind its first one, and what it asks of the device that sends it. They
//! stand apart, so that a packet of one frame that asks for nothing, as nearly all are, carries one word
//! for them.
//!
//! Who has a [`Rest`] owns the slots in it (P2): an owned packet, or a port for as long as it lends the
//! packet (M1). Each frame's span is inside of its slot (K1), and the pool's region outlives all (R3).

use std::{ptr::NonNull, slice};

use super::{
    LIVE, Packet,
    request::{Offer, Request},
};
use crate::mem::{
    Pool, Slot,
    span::{FrameSize, NoRoom, Span},
};

impl Packet {
    /// Puts the frames of `behind` behind this packet's. No bytes move: a chain is sent as descriptors
    /// with `XDP_PKT_CONTD`, which a port bound for multi-buffer takes, up to 18 frames of some bytes.
    /// `behind` has ended as a packet, and counts as consumed (K6).
    ///
    /// # Errors
    /// `behind`, unchanged, when it is of another pool (K8).
    pub fn append(&mut self, mut behind: Self) -> Result<(), Self> {
        if !behind.is_of(&self.handle) {
            return Err(behind);
        }
        let slot = behind.slot.take().expect(LIVE);
        let mut rest = self.rest.take().unwrap_or_else(|| self.handle.spare_rest());
        rest.push(slot, behind.span);
        let mut frames_behind = 0;
        if let Some(mut tail) = behind.rest.take() {
            frames_behind = tail.frames().len() as u64;
            rest.append(&mut tail);
            self.handle.recycle_rest(tail);
        }
        self.rest = Some(rest);
        behind.handle.appended(&self.handle, frames_behind);
        Ok(())
    }
}

/// One frame of a packet.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) slot: Slot,
    pub(crate) span: Span,
}

/// The frames behind the first, in order, and what the packet asks for. A packet has one if it has
/// more frames than one, or may ask for something.
#[derive(Debug)]
pub(crate) struct Rest {
    base: NonNull<u8>,
    size: FrameSize,
    frames: Vec<Frame>,
    pub(crate) request: Request,
    /// What the device that lends the packet does; an owned packet has none.
    pub(crate) offer: Option<Offer>,
}

impl Rest {
    pub(crate) fn of(pool: &Pool) -> Self {
        let (base, size) = (pool.region().base(), pool.frame_size());
        Self { base, size, frames: Vec::new(), request: Request::default(), offer: None }
    }

    pub(crate) fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// Adds a frame, whose slot comes with it.
    pub(crate) fn push(&mut self, slot: Slot, span: Span) {
        debug_assert!(span.headroom + span.len <= self.size.bytes());
        self.frames.push(Frame { slot, span });
    }

    /// Takes over all frames of another one, of the same pool.
    pub(crate) fn append(&mut self, other: &mut Self) {
        self.frames.append(&mut other.frames);
    }

    /// Takes out the frames that `keeps` does not want; it says who owns them then.
    pub(crate) fn retain(&mut self, keeps: impl FnMut(&Frame) -> bool) {
        self.frames.retain(keeps);
    }

    /// Forgets the frames, whose slots have another owner now, and what was asked for.
    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        self.request = Request::default();
        self.offer = None;
    }

    /// Whether there are frames behind the first.
    pub(crate) fn has_frames(&self) -> bool {
        !self.frames.is_empty()
    }

    /// How many descriptors send the frames: one for each that has bytes.
    pub(crate) fn descriptors(&self) -> u32 {
        self.frames.iter().map(|frame| u32::from(frame.span.len > 0)).sum()
    }

    pub(crate) fn len_bytes(&self) -> usize {
        self.frames.iter().map(|frame| frame.span.len as usize).sum()
    }

    pub(crate) fn last(&self) -> Option<Span> {
        self.frames.last().map(|frame| frame.span)
    }

    pub(crate) fn bytes(&self, index: usize) -> Option<&[u8]> {
        let frame = self.frames.get(index)?;
        // SAFETY: the frame's slot is the packet's (P2) and its span is inside of it (K1); the region
        // outlives the packet (R3), and `&self` keeps writers out.
        Some(unsafe { slice::from_raw_parts(self.data(frame).as_ptr(), frame.span.len as usize) })
    }

    pub(crate) fn bytes_mut(&mut self, index: usize) -> Option<&mut [u8]> {
        let frame = self.frames.get(index)?;
        let (data, len) = (self.data(frame), frame.span.len as usize);
        // SAFETY: as in `bytes`; the borrow is exclusive because `self` is.
        Some(unsafe { slice::from_raw_parts_mut(data.as_ptr(), len) })
    }

    pub(crate) fn put(&mut self, n: u32) -> Result<&mut [u8], NoRoom> {
        let frame = self.frames.last_mut().expect(SOME);
        let start = frame.span.len as usize;
        frame.span = frame.span.put(n)?;
        let last = self.frames.len() - 1;
        Ok(&mut self.bytes_mut(last).expect(SOME)[start..])
    }

    pub(crate) fn trim(&mut self, n: u32) -> Result<(), NoRoom> {
        let frame = self.frames.last_mut().expect(SOME);
        frame.span = frame.span.trim(n)?;
        Ok(())
    }

    fn data(&self, frame: &Frame) -> NonNull<u8> {
        let start = self.size.start_of(frame.slot.index());
        let offset = crate::sys::to_usize(start + u64::from(frame.span.headroom));
        // SAFETY: the slot is inside of the region (R2) and the headroom inside of the slot (K1).
        unsafe { self.base.add(offset) }
    }
}

const SOME: &str = "asked only where there are frames behind the first";
