//! The frames of a packet behind its first one. They are listed apart, so that a packet of one frame,
//! as nearly all are, carries one word for them.
//!
//! Who has a [`Rest`] owns the slots in it (P2): an owned packet, or a port for as long as it lends the
//! packet (M1). Each frame's span is inside of its slot (K1), and the pool's region outlives all (R3).

use std::{ptr::NonNull, slice};

use crate::mem::{
    Pool, Slot,
    span::{FrameSize, NoRoom, Span},
};

/// One frame of a packet.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) slot: Slot,
    pub(crate) span: Span,
}

/// The frames behind the first, in order; one or more while a packet has them.
#[derive(Debug)]
pub(crate) struct Rest {
    base: NonNull<u8>,
    size: FrameSize,
    frames: Vec<Frame>,
}

impl Rest {
    pub(crate) fn of(pool: &Pool) -> Self {
        Self { base: pool.region().base(), size: pool.frame_size(), frames: Vec::new() }
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

    /// Forgets the frames, whose slots have another owner now.
    pub(crate) fn clear(&mut self) {
        self.frames.clear();
    }

    /// How many descriptors send the frames: one for each that has bytes.
    pub(crate) fn descriptors(&self) -> u32 {
        self.frames.iter().map(|frame| u32::from(frame.span.len > 0)).sum()
    }

    pub(crate) fn len_bytes(&self) -> usize {
        self.frames.iter().map(|frame| frame.span.len as usize).sum()
    }

    pub(crate) fn last(&self) -> Span {
        self.frames.last().expect(SOME).span
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

const SOME: &str = "a packet without frames behind the first has no list of them";
