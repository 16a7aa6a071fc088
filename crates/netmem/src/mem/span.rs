//! Where a packet's bytes lie in its frame: `headroom | len | tailroom`, which always add up to the
//! frame (K1). An operation that does not fit changes nothing (K2). And which slot an offset is in.

use std::fmt;

/// An operation that needed more room, or more bytes, than there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom {
    /// What was asked for, in bytes.
    pub wanted_bytes: u32,
    /// What there was, in bytes.
    pub available_bytes: u32,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes wanted, {} available", self.wanted_bytes, self.available_bytes)
    }
}

impl std::error::Error for NoRoom {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) headroom: u32,
    pub(crate) len: u32,
    pub(crate) frame_bytes: u32,
}

impl Span {
    pub(crate) fn empty(headroom: u32, frame_bytes: u32) -> Self {
        debug_assert!(headroom <= frame_bytes);
        Self { headroom, len: 0, frame_bytes }
    }

    #[inline]
    pub(crate) fn tailroom(self) -> u32 {
        self.frame_bytes.saturating_sub(self.headroom + self.len)
    }

    #[inline]
    pub(crate) fn push(self, n: u32) -> Result<Self, NoRoom> {
        fits(n, self.headroom)?;
        Ok(Self { headroom: self.headroom - n, len: self.len + n, ..self })
    }

    #[inline]
    pub(crate) fn pull(self, n: u32) -> Result<Self, NoRoom> {
        fits(n, self.len)?;
        Ok(Self { headroom: self.headroom + n, len: self.len - n, ..self })
    }

    #[inline]
    pub(crate) fn put(self, n: u32) -> Result<Self, NoRoom> {
        fits(n, self.tailroom())?;
        Ok(Self { len: self.len + n, ..self })
    }

    #[inline]
    pub(crate) fn trim(self, n: u32) -> Result<Self, NoRoom> {
        fits(n, self.len)?;
        Ok(Self { len: self.len - n, ..self })
    }

    #[inline]
    pub(crate) fn reserve(self, n: u32) -> Result<Self, NoRoom> {
        fits(n, if self.len == 0 { self.tailroom() } else { 0 })?;
        Ok(Self { headroom: self.headroom + n, ..self })
    }
}

/// The size of a pool's slots, and so which slot a UMEM offset is in: by a shift where the size is a
/// power of two, as AF_XDP's aligned mode has it, else by a division.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameSize {
    bytes: u32,
    /// The size is `1 << shift`; 0 where it is no power of two.
    shift: u32,
}

impl FrameSize {
    /// `bytes` is 2 or more.
    pub(crate) fn of(bytes: u32) -> Self {
        Self { bytes, shift: if bytes.is_power_of_two() { bytes.trailing_zeros() } else { 0 } }
    }

    #[inline]
    pub(crate) fn bytes(self) -> u32 {
        self.bytes
    }

    /// Whether the size is a power of two: AF_XDP's aligned mode.
    #[inline]
    pub(crate) fn is_aligned(self) -> bool {
        self.shift != 0
    }

    /// The number of the slot that the byte at `offset` is in; [`u32::MAX`], which is no slot, where
    /// that is past all numbers.
    #[inline]
    pub(crate) fn slot_of(self, offset: u64) -> u32 {
        let slot =
            if self.is_aligned() { offset >> self.shift } else { offset / u64::from(self.bytes) };
        u32::try_from(slot).unwrap_or(u32::MAX)
    }

    /// The UMEM offset of a slot's first byte.
    #[inline]
    pub(crate) fn start_of(self, slot: u32) -> u64 {
        u64::from(slot) * u64::from(self.bytes)
    }

    /// How far into its slot the byte at `offset` is.
    #[inline]
    pub(crate) fn headroom_of(self, offset: u64) -> u32 {
        let size = u64::from(self.bytes);
        let headroom = if self.is_aligned() { offset & (size - 1) } else { offset % size };
        #[allow(clippy::cast_possible_truncation, reason = "below the size of a frame")]
        let headroom = headroom as u32;
        headroom
    }
}

#[inline]
fn fits(wanted_bytes: u32, available_bytes: u32) -> Result<(), NoRoom> {
    if wanted_bytes <= available_bytes {
        Ok(())
    } else {
        Err(NoRoom { wanted_bytes, available_bytes })
    }
}
