//! The routing header (RFC 8200 section 4.4): segments that the packet still visits.
//!
//! ```text
//!   0  | next header 8 | length 8      | type 8         | segments left 8    |
//!   4  | type 0 (RFC 2460 section 4.4): reserved 32, then addresses in the order of the visits   |
//!      | type 2 (RFC 6275 section 6.4): reserved 32, then the home address                      |
//!      | type 4 (RFC 8754 section 2): last entry 8, flags 8, tag 16, then addresses, last first  |
//! ```
//!
//! While segments are left, the IPv6 header's destination is only the next one. The upper layer's
//! checksum is over the final one (RFC 8200 section 8.1).

use core::net::Ipv6Addr;

use super::{ExtensionKind, FRAGMENT_LEN_BYTES, LAYER};
use crate::{Error, bytes};

/// The routing types that this crate knows.
pub mod routing_type {
    /// Source route, deprecated by RFC 5095.
    pub const SOURCE_ROUTE: u8 = 0;
    /// Mobile IPv6's home address.
    pub const MOBILE: u8 = 2;
    /// Segment routing header.
    pub const SEGMENT: u8 = 4;
}

/// Bytes of one address in a routing header, and where the first one is.
const ADDRESS_LEN_BYTES: usize = 16;
const FIRST_ADDRESS: usize = 8;

/// A view of a routing header.
#[derive(Clone, Copy, Debug)]
pub struct Routing<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Routing<T> {
    /// Checks the length byte against the buffer.
    ///
    /// [`set_header_len_bytes`](Self::set_header_len_bytes) voids the check.
    ///
    /// # Errors
    /// [`Error::Short`].
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        let available_bytes = buffer.as_ref().len();
        Error::check_header(LAYER, FRAGMENT_LEN_BYTES, available_bytes)?;
        let view = Self { buffer };
        Error::check_header(LAYER, view.header_len_bytes(), available_bytes)?;
        Ok(view)
    }

    /// Reads the type of the header behind this one.
    #[inline]
    pub fn next_header(&self) -> u8 {
        self.fixed()[0]
    }

    /// Reads the header's length: 8 to 2048 in steps of 8.
    #[inline]
    pub fn header_len_bytes(&self) -> usize {
        ExtensionKind::Routing.len_bytes(self.fixed()[1])
    }

    /// Reads the routing type; see [`routing_type`].
    #[inline]
    pub fn routing_type(&self) -> u8 {
        self.fixed()[2]
    }

    /// Reads how many segments the packet still visits.
    #[inline]
    pub fn segments_left(&self) -> u8 {
        self.fixed()[3]
    }

    /// Lends the data of the type: what is behind the first four bytes.
    #[inline]
    pub fn data(&self) -> &[u8] {
        &self.whole()[4..]
    }

    /// Tells the last segment's address while segments are left. `None` if none are, so that the
    /// IPv6 header's destination is the final one; for types that this crate does not know; and
    /// for a header too short for its address.
    #[inline]
    pub fn final_destination(&self) -> Option<Ipv6Addr> {
        if self.segments_left() == 0 {
            return None;
        }
        let addresses = self.whole()[FIRST_ADDRESS..].as_chunks::<ADDRESS_LEN_BYTES>().0;
        let last = match self.routing_type() {
            routing_type::SOURCE_ROUTE => addresses.last(),
            routing_type::MOBILE | routing_type::SEGMENT => addresses.first(),
            _ => None,
        };
        last.copied().map(Ipv6Addr::from)
    }

    /// Lends the bytes behind the header.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.buffer.as_ref().get(self.header_len_bytes()..).unwrap_or_default()
    }

    /// Gives the buffer back.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    /// The header as its length says, cut to the buffer if the check was voided.
    fn whole(&self) -> &[u8] {
        let data = self.buffer.as_ref();
        &data[..self.header_len_bytes().min(data.len())]
    }

    fn fixed(&self) -> [u8; 4] {
        bytes(self.buffer.as_ref(), 0)
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Routing<T> {
    /// Writes the type of the header behind this one.
    #[inline]
    pub fn set_next_header(&mut self, next_header: u8) {
        self.buffer.as_mut()[0] = next_header;
    }

    /// Writes the header's length, rounded down to a multiple of 8, cut to 8 to 2048. Voids the
    /// check: afterwards data and payload are cut to what the buffer has.
    #[inline]
    pub fn set_header_len_bytes(&mut self, len_bytes: usize) {
        let length = u8::try_from((len_bytes / 8).saturating_sub(1)).unwrap_or(u8::MAX);
        self.buffer.as_mut()[1] = length;
    }

    /// Writes the routing type.
    #[inline]
    pub fn set_routing_type(&mut self, routing_type: u8) {
        self.buffer.as_mut()[2] = routing_type;
    }

    /// Writes how many segments the packet still visits.
    #[inline]
    pub fn set_segments_left(&mut self, segments_left: u8) {
        self.buffer.as_mut()[3] = segments_left;
    }

    /// Lends the data of the type for writing.
    #[inline]
    pub fn data_mut(&mut self) -> &mut [u8] {
        let end = self.whole().len();
        &mut self.buffer.as_mut()[4..end]
    }

    /// Lends the bytes behind the header for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let start = self.header_len_bytes();
        self.buffer.as_mut().get_mut(start..).unwrap_or_default()
    }
}
