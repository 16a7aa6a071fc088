//! What a packet asks of the device that sends it: a checksum to be filled in, a timestamp.
//!
//! A request is of the whole packet and stands beside the list of its further frames ([`Rest`]), not in
//! its bytes. The device carries it out, or the kernel behind it, or netmem: the program asks in the
//! same words. Places are kept as counted from the start of the first frame's slot, as the kernel keeps
//! `skb->csum_start` from the start of its buffer, so that they stay where they are when the packet's
//! front moves.
//!
//! A packet in place can ask for what the device that lends it has said it does ([`Offer`]). Of an owned
//! packet nobody knows yet which device sends it: it can ask always, and a device that does not know
//! how has netmem do it.
//!
//! Kept here: a checksum's place is inside of the first frame (K1), and a request that is refused
//! changes nothing (K2). No kernel is needed.

use std::{fmt, iter};

use netmem_wire::checksum::Sum;

use super::{Packet, PacketMut, Rest};
use crate::mem::{
    DropReason,
    span::{NoRoom, Span},
};

/// Why a packet may not ask for what it asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestRefused {
    /// The device that lends the packet was not asked for it, or does not do it.
    NotEnabled,
    /// The headroom is too small for what is put in front of the packet.
    NoRoom(NoRoom),
    /// The checksum's two bytes are not inside of the packet's first frame.
    OutsideOfFrame {
        /// Where they would start, in bytes from the packet's first; the largest number where it is
        /// past all.
        field: u32,
        /// The first frame's length in bytes.
        len: u32,
    },
}

impl fmt::Display for RequestRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotEnabled => f.write_str("the device was not asked to do this, or cannot"),
            Self::NoRoom(room) => write!(f, "headroom: {room}"),
            Self::OutsideOfFrame { field, len } => {
                write!(f, "a checksum at byte {field} is outside of a frame of {len} bytes")
            }
        }
    }
}

impl std::error::Error for RequestRefused {}

impl PacketMut<'_> {
    /// Asks for an Internet checksum to be filled in when the packet is sent: over all bytes from
    /// `start` to the packet's end, stored `offset` bytes behind `start`, big-endian. Both are in bytes,
    /// `start` from the packet's first byte as it is now, as the kernel's `csum_start` and
    /// `csum_offset`; later `push` and `pull` do not move the place. The field must hold the pseudo
    /// header's sum, folded and not complemented, as for any checksum offload: it is part of what is
    /// summed. A result of 0 is stored as 0xffff.
    ///
    /// A second request replaces the first. It counts if the packet is sent; a kept packet keeps it. A
    /// packet whose place was cut off meanwhile is dropped as [`DropReason::PktTooSmall`].
    ///
    /// # Errors
    /// When the port was opened without
    /// [`tx_metadata`](crate::xdp::PortBuilder::tx_metadata), when the headroom is smaller than what
    /// the kernel wants in front of the packet, or the field is not inside of the first frame; nothing
    /// changes.
    #[doc(alias = "XDP_TXMD_FLAGS_CHECKSUM")]
    pub fn request_checksum(&mut self, start: u32, offset: u32) -> Result<(), RequestRefused> {
        let span = self.span;
        let (request, _) = self.offered()?;
        request.checksum = Some(ChecksumRequest::of(span, start, offset)?);
        Ok(())
    }

    /// Asks for a timestamp of the packet's sending, which comes under the name of `cookie`
    /// ([`Port::timestamps`](crate::xdp::Port::timestamps)). A second request replaces the first.
    ///
    /// # Errors
    /// When the port was opened without timestamps, when nobody gives them there, or the headroom is
    /// smaller than what the kernel wants in front of the packet; nothing changes.
    #[doc(alias = "XDP_TXMD_FLAGS_TIMESTAMP")]
    pub fn request_timestamp(&mut self, cookie: u64) -> Result<(), RequestRefused> {
        let (request, offer) = self.offered()?;
        if !offer.timestamps {
            return Err(RequestRefused::NotEnabled);
        }
        request.timestamp = Some(cookie);
        Ok(())
    }

    fn offered(&mut self) -> Result<(&mut Request, Offer), RequestRefused> {
        let headroom = self.span.headroom;
        let rest = self.rest.as_deref_mut().ok_or(RequestRefused::NotEnabled)?;
        let offer = rest.offer.ok_or(RequestRefused::NotEnabled)?;
        if headroom < offer.headroom_bytes {
            let (wanted_bytes, available_bytes) = (offer.headroom_bytes, headroom);
            return Err(RequestRefused::NoRoom(NoRoom { wanted_bytes, available_bytes }));
        }
        Ok((&mut rest.request, offer))
    }

    /// Fills in a checksum whose place is inside of the first frame ([`refusal`]).
    pub(crate) fn fill_checksum(&mut self, checksum: ChecksumRequest) {
        let start = (checksum.start - self.span.headroom) as usize;
        let behind = (1..self.frame_count()).filter_map(|index| self.frame(index));
        let sum = Sum::of_segments(iter::once(&self.bytes()[start..]).chain(behind));
        // As `skb_checksum_help` in net/core/dev.c, kernel 6.18: 0 means no checksum to UDP.
        let filled = match sum.finish() {
            0 => u16::MAX,
            filled => filled,
        };
        let field = start + checksum.offset as usize;
        self.bytes_mut()[field..field + 2].copy_from_slice(&filled.to_be_bytes());
    }
}

impl Packet {
    /// As [`PacketMut::request_checksum`]. Any device does it, in software if it has no other way.
    ///
    /// # Errors
    /// When the field is not inside of the first frame; nothing changes.
    pub fn request_checksum(&mut self, start: u32, offset: u32) -> Result<(), RequestRefused> {
        let checksum = ChecksumRequest::of(self.span, start, offset)?;
        self.request_mut().checksum = Some(checksum);
        Ok(())
    }

    /// As [`PacketMut::request_timestamp`]; which device sends the packet is not known yet. A port that
    /// was opened with timestamps lists one for each such packet, without a time where nobody gives
    /// it; every other device does nothing.
    pub fn request_timestamp(&mut self, cookie: u64) {
        self.request_mut().timestamp = Some(cookie);
    }

    fn request_mut(&mut self) -> &mut Request {
        let handle = &self.handle;
        &mut self.rest.get_or_insert_with(|| handle.spare_rest()).request
    }

    /// What the packet asks for.
    #[inline]
    pub(crate) fn request(&self) -> Request {
        self.rest.as_ref().map_or_else(Request::default, |rest| rest.request)
    }

    /// Why the packet cannot be sent as it is, where each frame needs so much headroom.
    pub(crate) fn refusal(&self, headroom_bytes: u32) -> Option<DropReason> {
        refusal(self.span, self.rest.as_deref(), headroom_bytes)
    }

    /// Fills in the checksum that was asked for, in software; nothing is asked for any more.
    ///
    /// # Errors
    /// The reason to drop the packet for, when the place was cut off.
    pub(crate) fn settle_request(&mut self) -> Result<(), DropReason> {
        let request = self.request();
        if request.is_empty() {
            return Ok(());
        }
        self.refusal(0).map_or(Ok(()), Err)?;
        if let Some(checksum) = request.checksum {
            self.lend().fill_checksum(checksum);
        }
        *self.request_mut() = Request::default();
        Ok(())
    }
}

/// What a packet asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) checksum: Option<ChecksumRequest>,
    /// The name that the timestamp is to come by.
    pub(crate) timestamp: Option<u64>,
}

/// Where a checksum starts and where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChecksumRequest {
    /// The first byte that is summed, from the start of the first frame's slot.
    pub(crate) start: u32,
    /// Where the checksum goes, from `start`.
    pub(crate) offset: u32,
}

/// What the device that lends a packet does for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer {
    /// Room that the kernel wants in front of the packet.
    pub(crate) headroom_bytes: u32,
    /// Whether there are timestamps.
    pub(crate) timestamps: bool,
}

impl Request {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.checksum.is_none() && self.timestamp.is_none()
    }
}

impl ChecksumRequest {
    fn of(span: Span, start: u32, offset: u32) -> Result<Self, RequestRefused> {
        let field = start.saturating_add(offset);
        if field.saturating_add(2) > span.len || field == u32::MAX {
            return Err(RequestRefused::OutsideOfFrame { field, len: span.len });
        }
        Ok(Self { start: span.headroom + start, offset })
    }

    fn is_inside(self, span: Span) -> bool {
        self.start >= span.headroom && self.start + self.offset + 2 <= span.headroom + span.len
    }
}

/// Why a packet whose first frame is `first` cannot be sent as it is, where each frame that is sent
/// needs so much headroom.
pub(crate) fn refusal(first: Span, rest: Option<&Rest>, headroom_bytes: u32) -> Option<DropReason> {
    let frames = rest.map_or(&[][..], Rest::frames);
    let behind = frames.iter().map(|frame| frame.span).filter(|span| span.len > 0);
    if iter::once(first).chain(behind).any(|span| span.headroom < headroom_bytes) {
        return Some(DropReason::NoHeadroom);
    }
    let checksum = rest.and_then(|rest| rest.request.checksum)?;
    (!checksum.is_inside(first)).then_some(DropReason::PktTooSmall)
}

#[cfg(test)]
mod tests;
