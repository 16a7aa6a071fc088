//! Where a packet's bytes lie in its frame: `headroom | len | tailroom`, which always add up to the
//! frame (K1). An operation that does not fit changes nothing (K2).

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

#[inline]
fn fits(wanted_bytes: u32, available_bytes: u32) -> Result<(), NoRoom> {
    if wanted_bytes <= available_bytes {
        Ok(())
    } else {
        Err(NoRoom { wanted_bytes, available_bytes })
    }
}
