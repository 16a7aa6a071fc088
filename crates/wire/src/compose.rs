//! Headers written in front of a payload, back to front, without moving it.
//!
//! A [`Composer`] has one buffer in which the payload lies already. Each call writes one header
//! directly in front of what is there:
//!
//! ```text
//!  buffer  |      headroom      | ethernet | ipv4 | udp | payload |      tailroom      |
//!                               ^ start()         <---- written from here    ^ end()
//! ```
//!
//! What a header says of what is behind it, nobody says twice: length, Ethernet type and IP
//! protocol come from the [`Kind`] of what was written last. Checksums are filled, and no payload
//! is summed twice: TCP, UDP and `ICMPv6` sum their message when their header is written, and the
//! network header, which brings the addresses of the pseudo header, finishes it (RFC 9293 section
//! 3.1, RFC 768, RFC 8200 section 8.1). Until then the field is 0. The sum goes on into a tunnel's
//! outer checksum; what is inside is not read again.
//!
//! Who owns what: the buffer is the caller's. A call that does not fit, or has a value out of
//! range, changes nothing: the error tells whose header it was, what it needs and what headroom
//! there is. Fields of a repr that the composer knows (payload lengths, the type of what follows)
//! are not looked at.
//!
//! On a packet with headroom: grow it by all its headroom, compose with the old bytes as payload,
//! and take [`Composer::start`] bytes off its front. Padding goes into the tailroom.
//!
//! [`preset`] has whole frames in one call each: ARP, echo, UDP, TCP handshake and reset, neighbor
//! discovery, ICMP errors.
//!
//! Not here: routing headers (their checksum has another destination than the IPv6 header),
//! authentication headers, MPLS, multicast listener discovery; a datagram larger than the MTU is
//! not fragmented. Needs no kernel version.
//!
//! ```
//! use core::net::Ipv4Addr;
//!
//! use netmem_wire::MacAddr;
//! use netmem_wire::compose::Composer;
//!
//! let mut buffer = [0; 64];
//! buffer[42..47].copy_from_slice(b"hello");
//! let mut frame = Composer::new(&mut buffer, 42..47)?;
//! frame
//!     .udp(4096, 53)?
//!     .ipv4(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2))?
//!     .ethernet(MacAddr([2, 0, 0, 0, 0, 2]), MacAddr([2, 0, 0, 0, 0, 1]))?
//!     .pad_to_bytes(60)?;
//! assert_eq!(frame.range(), 0..60);
//!
//! use netmem_wire::dissect::{LinkType, dissect};
//! let level = dissect(LinkType::Ethernet, frame.bytes());
//! assert_eq!(level.to_string(), "IP 10.0.0.1.4096 > 10.0.0.2.53: UDP, length 5");
//! # Ok::<(), netmem_wire::Error>(())
//! ```

use core::ops::Range;

use crate::checksum::Sum;
use crate::{Error, Layer};

mod link;
mod network;
pub mod preset;
mod transport;
mod tunnel;

pub use network::{ipv4_between, ipv6_between};
pub use transport::UdpChecksum;
pub use tunnel::source_port;

/// What lies at the start of what is composed so far, as the next header has to name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Bytes of an application.
    Data,
    /// What IP carries: a transport header, an extension header, a fragment's bytes; see
    /// [`protocol`](crate::ipv4::protocol).
    Protocol(u8),
    /// What Ethernet carries by type; see [`ether_type`](crate::ethernet::ether_type).
    EtherType(u16),
    /// An LLC header, which 802.3 carries by length.
    Llc,
    /// A whole Ethernet frame.
    Frame,
}

/// What the transport header that was written last still needs of the network header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    /// None was written.
    None,
    /// Nothing.
    Complete,
    /// A checksum that covers a pseudo header.
    Awaiting { header_at: usize, checksum_at: usize, protocol: u8 },
    /// A UDP header without checksum, which IPv4 allows only.
    WithoutChecksum,
}

/// Writes headers in front of a payload; see the module's text.
#[derive(Debug)]
pub struct Composer<'b> {
    buffer: &'b mut [u8],
    start: usize,
    end: usize,
    kind: Kind,
    transport: Transport,
    /// From where on all bytes are summed, and their sum.
    summed: Option<(usize, Sum)>,
}

impl<'b> Composer<'b> {
    /// Begins with an application's bytes at `payload`, which may be empty: then its place is where
    /// the last header will end.
    ///
    /// # Errors
    /// [`Error::Text`] if the range ends before its start or behind the buffer.
    #[inline]
    pub fn new(buffer: &'b mut [u8], payload: Range<usize>) -> Result<Self, Error> {
        Self::with_kind(buffer, payload, Kind::Data)
    }

    /// Begins with a payload that is not an application's: a frame for a tunnel, a packet, a
    /// fragment, or a message of a protocol that this module does not write.
    ///
    /// # Errors
    /// [`Error::Text`] if the range ends before its start or behind the buffer.
    #[inline]
    pub fn with_kind(
        buffer: &'b mut [u8],
        payload: Range<usize>,
        kind: Kind,
    ) -> Result<Self, Error> {
        let Range { start, end } = payload;
        if start > end || end > buffer.len() {
            let cause = "not inside the buffer";
            return Err(Error::Text { target: "payload range", cause });
        }
        Ok(Self { buffer, start, end, kind, transport: Transport::None, summed: None })
    }

    /// Tells where the packet begins in the buffer: how much headroom is left.
    #[inline]
    #[must_use]
    pub const fn start(&self) -> usize {
        self.start
    }

    /// Tells where the packet ends in the buffer.
    #[inline]
    #[must_use]
    pub const fn end(&self) -> usize {
        self.end
    }

    /// Tells where the packet is in the buffer.
    #[inline]
    #[must_use]
    pub const fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// Tells how long the packet is.
    #[inline]
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        self.end - self.start
    }

    /// Tells what the packet begins with.
    #[inline]
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Lends the packet as far as it is composed.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Gives the packet as far as it is composed, without headroom and tailroom.
    #[inline]
    #[must_use]
    pub fn into_bytes(self) -> &'b mut [u8] {
        &mut self.buffer[self.start..self.end]
    }

    /// Checks that a header of `needed_bytes` fits in front.
    #[inline]
    fn check_room(&self, layer: Layer, needed_bytes: usize) -> Result<(), Error> {
        Error::check_header(layer, needed_bytes, self.start)
    }

    /// Lends the room for a header of `len_bytes` and all that is behind it.
    #[inline]
    fn room(&mut self, layer: Layer, len_bytes: usize) -> Result<&mut [u8], Error> {
        self.check_room(layer, len_bytes)?;
        Ok(&mut self.buffer[self.start - len_bytes..self.end])
    }

    /// Copies a header in front.
    #[inline]
    fn push(&mut self, layer: Layer, header: &[u8], kind: Kind) -> Result<(), Error> {
        self.room(layer, header.len())?[..header.len()].copy_from_slice(header);
        self.advance(header.len(), kind);
        Ok(())
    }

    /// Takes in a header that was written into the room in front.
    #[inline]
    const fn advance(&mut self, len_bytes: usize, kind: Kind) {
        self.start -= len_bytes;
        self.kind = kind;
    }

    /// Sums the whole packet; what was summed before is not read again.
    fn sum(&mut self) -> Sum {
        let sum = match self.summed {
            Some((at, behind)) => {
                let front = &self.buffer[self.start..at];
                let sum = Sum::of(front);
                let is_even = front.len().is_multiple_of(2);
                if is_even { sum.combine(behind) } else { sum.combine_odd(behind) }
            }
            None => Sum::of(self.bytes()),
        };
        self.summed = Some((self.start, sum));
        sum
    }

    /// Writes a checksum that was 0 and that is inside of what is summed.
    fn fill(&mut self, at: usize, checksum: u16) {
        let word = checksum.to_be_bytes();
        self.buffer[at..at + 2].copy_from_slice(&word);
        let Some((from, sum)) = &mut self.summed else { return };
        let is_even = (at - *from).is_multiple_of(2);
        let word = Sum::of(&word);
        *sum = if is_even { sum.combine(word) } else { sum.combine_odd(word) };
    }
}

#[cfg(test)]
mod tests;
