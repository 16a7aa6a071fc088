//! IPv6 (RFC 8200): 40 bytes, then extension headers.
//!
//! ```text
//!   0  | version 4 | dscp 6 | ecn 2 | flow label 20                          |  section 3
//!   4  | payload length 16                  | next header 8 | hop limit 8    |
//!   8  | source 128                                                          |
//!  24  | destination 128                                                     |
//!  40  | extension headers (section 4), then the upper layer's header        |
//!      | payload                            (payload length ends here)       |
//!      | Ethernet padding                                                    |
//! ```
//!
//! There is no header checksum. The payload length counts what is behind the 40 bytes, extension
//! headers included. A payload length of 0 in front of a hop-by-hop header means a jumbogram
//! (RFC 2675): the length, 65536 or more, is in that header's jumbo payload option.
//!
//! Walking the extension headers: see [`extension`]. Sums for the upper layer's checksum:
//! [`checksum::pseudo_header_v6`](crate::checksum::pseudo_header_v6).
//!
//! ```
//! use core::net::Ipv6Addr;
//!
//! use netmem_wire::ipv4::protocol;
//! use netmem_wire::{Ipv6, Ipv6Repr};
//!
//! # fn main() -> Result<(), netmem_wire::Error> {
//! let repr = Ipv6Repr {
//!     dscp: 0,
//!     ecn: 0,
//!     flow_label: 0x12345,
//!     next_header: protocol::UDP,
//!     hop_limit: 64,
//!     source: Ipv6Addr::LOCALHOST,
//!     destination: Ipv6Addr::LOCALHOST,
//!     payload_len_bytes: 8,
//! };
//! let mut packet = [0; 48];
//! repr.emit(&mut packet)?;
//!
//! let view = Ipv6::new_checked(&packet)?;
//! let upper = view.upper_layer()?;
//! assert_eq!((upper.protocol, &view.payload()[upper.offset_bytes..]), (protocol::UDP, &[0; 8][..]));
//! assert_eq!(Ipv6Repr::parse(&view)?, repr);
//! # Ok(())
//! # }
//! ```

use core::net::Ipv6Addr;

use crate::{Error, Layer, be16, bytes, set_be16};

pub mod extension;

#[cfg(test)]
mod tests;

use extension::{Extensions, Ipv6Option, Options, UpperLayer};

/// Bytes of a header without extension headers.
pub const HEADER_LEN_BYTES: usize = 40;

/// The next header values of extension headers and of what only IPv6 has; the upper layers' are
/// in [`ipv4::protocol`](crate::ipv4::protocol).
pub mod next_header {
    /// Hop-by-hop options (RFC 8200 section 4.3).
    pub const HOP_BY_HOP: u8 = 0;
    /// Routing header (RFC 8200 section 4.4).
    pub const ROUTING: u8 = 43;
    /// Fragment header (RFC 8200 section 4.5).
    pub const FRAGMENT: u8 = 44;
    /// Encapsulating security payload (RFC 4303): what follows is encrypted.
    pub const ESP: u8 = 50;
    /// Authentication header (RFC 4302).
    pub const AUTHENTICATION: u8 = 51;
    /// `ICMPv6` (RFC 4443).
    pub const ICMPV6: u8 = 58;
    /// Nothing follows (RFC 8200 section 4.7).
    pub const NO_NEXT_HEADER: u8 = 59;
    /// Destination options (RFC 8200 section 4.6).
    pub const DESTINATION: u8 = 60;
    /// Mobility header (RFC 6275 section 6.1).
    pub const MOBILITY: u8 = 135;
    /// Host identity protocol (RFC 7401 section 5.1).
    pub const HIP: u8 = 139;
    /// Shim6 (RFC 5533 section 5.1).
    pub const SHIM6: u8 = 140;
}

/// A view of an IPv6 packet, or of one fragment of one.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Ipv6<T> {
    /// Checks the version, and the payload length (or the jumbo payload length) against the
    /// buffer. Extension headers are not looked at, but for the hop-by-hop header of a jumbogram.
    ///
    /// [`set_version`](Self::set_version), [`set_payload_len_bytes`](Self::set_payload_len_bytes)
    /// and, in front of a payload length of 0, [`set_next_header`](Self::set_next_header) void the
    /// check.
    ///
    /// # Errors
    /// [`Error::Short`] if the header is not all there; [`Error::Field`] for a version other than
    /// 6, for a payload length of 0 in front of a hop-by-hop header without jumbo payload option,
    /// and for a jumbo payload length below 65536; [`Error::Truncated`] if all this is right but
    /// the buffer ends before the payload.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        let view = Self::new_truncated(buffer)?;
        let available_bytes = view.buffer.as_ref().len();
        if view.may_be_jumbo() {
            view.check_jumbo()?;
        } else {
            let needed_bytes = HEADER_LEN_BYTES + usize::from(view.payload_len_bytes());
            Error::check_len(Layer::Ipv6, 4, needed_bytes, available_bytes)?;
        }
        Ok(view)
    }

    /// Checks the header only: version and 40 bytes. For packets that a capture cut at its snap
    /// length; the payload is cut to what the buffer has.
    ///
    /// # Errors
    /// [`Error::Short`] if the header is not all there, [`Error::Field`] for a version other than
    /// 6.
    #[inline]
    pub fn new_truncated(buffer: T) -> Result<Self, Error> {
        Error::check_header(Layer::Ipv6, HEADER_LEN_BYTES, buffer.as_ref().len())?;
        let view = Self { buffer };
        Error::check_field(Layer::Ipv6, 0, "version", view.version() == 6)?;
        Ok(view)
    }

    /// Reads the version, 6 in every packet that passed the check.
    #[inline]
    pub fn version(&self) -> u8 {
        self.header()[0] >> 4
    }

    /// Reads the differentiated services code point, 0 to 63.
    #[inline]
    pub fn dscp(&self) -> u8 {
        let header = self.header();
        (header[0] & 0x0f) << 2 | header[1] >> 6
    }

    /// Reads the explicit congestion notification bits, 0 to 3.
    #[inline]
    pub fn ecn(&self) -> u8 {
        self.header()[1] >> 4 & 3
    }

    /// Reads the flow label, 0 to 0xfffff.
    #[inline]
    pub fn flow_label(&self) -> u32 {
        u32::from_be_bytes(bytes(self.header(), 0)) & 0x000f_ffff
    }

    /// Reads the payload length as it stands: 0 in a jumbogram.
    #[inline]
    pub fn payload_len_bytes(&self) -> u16 {
        be16(self.header(), 4)
    }

    /// Reads the type of the header behind this one; see [`next_header`].
    #[inline]
    pub fn next_header(&self) -> u8 {
        self.header()[6]
    }

    /// Reads how many more routers may forward the packet.
    #[inline]
    pub fn hop_limit(&self) -> u8 {
        self.header()[7]
    }

    /// Reads the source address.
    #[inline]
    pub fn source(&self) -> Ipv6Addr {
        Ipv6Addr::from(bytes::<16>(self.header(), 8))
    }

    /// Reads the destination address: with a routing header, that of the next segment.
    #[inline]
    pub fn destination(&self) -> Ipv6Addr {
        Ipv6Addr::from(bytes::<16>(self.header(), 24))
    }

    /// Reads the length of a jumbogram's payload (RFC 2675 section 2): the payload length is 0, a
    /// hop-by-hop header comes first, and it has a jumbo payload option, whose number this is.
    #[inline]
    pub fn jumbo_len_bytes(&self) -> Option<u32> {
        if self.may_be_jumbo() { self.jumbo_option() } else { None }
    }

    /// Lends the payload: extension headers and what is behind them, without Ethernet padding, cut
    /// to what the buffer has.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.buffer.as_ref().get(HEADER_LEN_BYTES..self.payload_end()).unwrap_or_default()
    }

    /// Walks the extension headers. Offsets count from the start of the payload.
    #[inline]
    pub fn extensions(&self) -> Extensions<'_> {
        Extensions::new(self.next_header(), self.payload())
    }

    /// Walks to the end of the extension headers and tells what is there. Offsets count from the
    /// start of the payload.
    ///
    /// # Errors
    /// Those of [`extension::upper_layer`].
    #[inline]
    pub fn upper_layer(&self) -> Result<UpperLayer, Error> {
        extension::upper_layer(self.next_header(), self.payload())
    }

    /// Gives the buffer back.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    /// Tells whether the length, if there is one, is in the hop-by-hop header.
    #[inline]
    fn may_be_jumbo(&self) -> bool {
        self.payload_len_bytes() == 0 && self.next_header() == next_header::HOP_BY_HOP
    }

    /// Reads the jumbo payload option of the hop-by-hop header that comes first.
    #[cold]
    fn jumbo_option(&self) -> Option<u32> {
        let rest = &self.buffer.as_ref()[HEADER_LEN_BYTES..];
        let extension = Extensions::new(next_header::HOP_BY_HOP, rest).next()?.ok()?;
        Options::new(extension.bytes).find_map(|option| match option {
            Ok(Ipv6Option::JumboPayload { len_bytes }) => Some(len_bytes),
            _ => None,
        })
    }

    #[cold]
    fn check_jumbo(&self) -> Result<(), Error> {
        let available_bytes = self.buffer.as_ref().len();
        // A hop-by-hop header that is cut says more than "no jumbo payload option".
        Extensions::new(next_header::HOP_BY_HOP, &self.buffer.as_ref()[HEADER_LEN_BYTES..])
            .next()
            .transpose()?;
        let jumbo = self.jumbo_option();
        Error::check_field(Layer::Ipv6, 4, "payload length", jumbo.is_some())?;
        let jumbo = jumbo.unwrap_or_default();
        Error::check_field(Layer::Ipv6, 4, "jumbo payload length", jumbo > u16::MAX.into())?;
        Error::check_len(Layer::Ipv6, 4, after_header(jumbo), available_bytes)
    }

    /// Where the payload ends: within the buffer even if the check was voided.
    #[inline]
    fn payload_end(&self) -> usize {
        let end = match self.jumbo_len_bytes() {
            Some(len_bytes) => after_header(len_bytes),
            None => HEADER_LEN_BYTES + usize::from(self.payload_len_bytes()),
        };
        end.min(self.buffer.as_ref().len())
    }

    fn header(&self) -> &[u8; HEADER_LEN_BYTES] {
        self.buffer.as_ref().first_chunk().expect("new_checked saw the whole header")
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Ipv6<T> {
    /// Writes the version: the low 4 bits of `version`. Voids the check.
    #[inline]
    pub fn set_version(&mut self, version: u8) {
        let header = self.header_mut();
        header[0] = header[0] & 0x0f | version << 4;
    }

    /// Writes the differentiated services code point: the low 6 bits of `dscp`.
    #[inline]
    pub fn set_dscp(&mut self, dscp: u8) {
        let header = self.header_mut();
        header[0] = header[0] & 0xf0 | dscp >> 2 & 0x0f;
        header[1] = header[1] & 0x3f | dscp << 6;
    }

    /// Writes the explicit congestion notification bits: the low 2 bits of `ecn`.
    #[inline]
    pub fn set_ecn(&mut self, ecn: u8) {
        let header = self.header_mut();
        header[1] = header[1] & 0xcf | (ecn & 3) << 4;
    }

    /// Writes the flow label: the low 20 bits of `flow_label`.
    #[inline]
    pub fn set_flow_label(&mut self, flow_label: u32) {
        let header = self.header_mut();
        let word = u32::from_be_bytes(bytes(header, 0)) & 0xfff0_0000 | flow_label & 0x000f_ffff;
        header[..4].copy_from_slice(&word.to_be_bytes());
    }

    /// Writes the payload length. Voids the check: afterwards the payload is cut to what the
    /// buffer has.
    #[inline]
    pub fn set_payload_len_bytes(&mut self, len_bytes: u16) {
        set_be16(self.header_mut(), 4, len_bytes);
    }

    /// Writes the type of the header behind this one. With a payload length of 0 it voids the
    /// check.
    #[inline]
    pub fn set_next_header(&mut self, next_header: u8) {
        self.header_mut()[6] = next_header;
    }

    /// Writes how many more routers may forward the packet.
    #[inline]
    pub fn set_hop_limit(&mut self, hop_limit: u8) {
        self.header_mut()[7] = hop_limit;
    }

    /// Writes the source address; the upper layer's checksum stays as it was.
    #[inline]
    pub fn set_source(&mut self, address: Ipv6Addr) {
        self.header_mut()[8..24].copy_from_slice(&address.octets());
    }

    /// Writes the destination address; the upper layer's checksum stays as it was.
    #[inline]
    pub fn set_destination(&mut self, address: Ipv6Addr) {
        self.header_mut()[24..].copy_from_slice(&address.octets());
    }

    /// Lends the payload for writing. Whoever writes into the hop-by-hop header of a jumbogram
    /// voids the check.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let end = self.payload_end();
        self.buffer.as_mut().get_mut(HEADER_LEN_BYTES..end).unwrap_or_default()
    }

    fn header_mut(&mut self) -> &mut [u8; HEADER_LEN_BYTES] {
        self.buffer.as_mut().first_chunk_mut().expect("new_checked saw the whole header")
    }
}

/// An IPv6 header as plain values; extension headers are payload here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ipv6Repr {
    /// Differentiated services code point, 0 to 63.
    pub dscp: u8,
    /// Explicit congestion notification, 0 to 3.
    pub ecn: u8,
    /// Flow label, 0 to 0xfffff.
    pub flow_label: u32,
    /// Type of the header behind this one; see [`next_header`].
    pub next_header: u8,
    /// How many more routers may forward the packet.
    pub hop_limit: u8,
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
    /// Length of the payload with its extension headers, 0 to 65535; not 0 in front of a
    /// hop-by-hop header.
    pub payload_len_bytes: u16,
}

impl Ipv6Repr {
    /// Reads all fields.
    ///
    /// # Errors
    /// [`Error::Field`] for what is not representable: a jumbogram.
    pub fn parse<T: AsRef<[u8]>>(view: &Ipv6<T>) -> Result<Self, Error> {
        Error::check_field(Layer::Ipv6, 4, "payload length", !view.may_be_jumbo())?;
        Ok(Self {
            dscp: view.dscp(),
            ecn: view.ecn(),
            flow_label: view.flow_label(),
            next_header: view.next_header(),
            hop_limit: view.hop_limit(),
            source: view.source(),
            destination: view.destination(),
            payload_len_bytes: view.payload_len_bytes(),
        })
    }

    /// Writes the header in front of the payload that is or will be in `buffer`, and returns the
    /// view of both. Bytes beyond the payload stay as they are.
    ///
    /// # Errors
    /// [`Error::Field`] for values out of range; [`Error::Truncated`] or [`Error::Short`] if the
    /// buffer has no room for the payload or the header.
    pub fn emit<'b>(&self, buffer: &'b mut [u8]) -> Result<Ipv6<&'b mut [u8]>, Error> {
        const LAYER: Layer = Layer::Ipv6;
        Error::check_field(LAYER, 0, "dscp", self.dscp <= 63)?;
        Error::check_field(LAYER, 1, "ecn", self.ecn <= 3)?;
        Error::check_field(LAYER, 1, "flow label", self.flow_label <= 0x000f_ffff)?;
        let is_jumbo = self.payload_len_bytes == 0 && self.next_header == next_header::HOP_BY_HOP;
        Error::check_field(LAYER, 4, "payload length", !is_jumbo)?;
        Error::check_header(LAYER, HEADER_LEN_BYTES, buffer.len())?;
        let needed_bytes = HEADER_LEN_BYTES + usize::from(self.payload_len_bytes);
        Error::check_len(LAYER, 4, needed_bytes, buffer.len())?;
        let mut view = Ipv6 { buffer };
        view.set_version(6);
        view.set_dscp(self.dscp);
        view.set_ecn(self.ecn);
        view.set_flow_label(self.flow_label);
        view.set_payload_len_bytes(self.payload_len_bytes);
        view.set_next_header(self.next_header);
        view.set_hop_limit(self.hop_limit);
        view.set_source(self.source);
        view.set_destination(self.destination);
        Ok(view)
    }
}

/// Adds the header to a jumbogram's length; cut where `usize` has 32 bits.
fn after_header(jumbo_len_bytes: u32) -> usize {
    usize::try_from(jumbo_len_bytes).unwrap_or(usize::MAX).saturating_add(HEADER_LEN_BYTES)
}
