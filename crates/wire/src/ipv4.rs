//! IPv4 (RFC 791): 20 bytes and up to 40 of options.
//!
//! ```text
//!   0  | version 4 | ihl 4 | dscp 6 | ecn 2 | total length 16                |
//!   4  | identification 16                  | 0 | DF | MF | offset / 8    13 |
//!   8  | ttl 8             | protocol 8     | header checksum 16             |
//!  12  | source 32                                                           |
//!  16  | destination 32                                                      |
//!  20  | options, 0 to 40 bytes        (header length = 4 * ihl ends here)   |
//!      | payload                       (total length ends here)              |
//!      | Ethernet padding                                                    |
//! ```
//!
//! The header checksum covers the header only. Ethernet pads short frames: what lies beyond the
//! total length is not payload.
//!
//! ```
//! use core::net::Ipv4Addr;
//!
//! use netmem_wire::ipv4::{Ipv4Option, protocol};
//! use netmem_wire::{Ipv4, Ipv4Repr};
//!
//! # fn main() -> Result<(), netmem_wire::Error> {
//! let repr = Ipv4Repr {
//!     dscp: 0,
//!     ecn: 0,
//!     identification: 1,
//!     dont_fragment: true,
//!     more_fragments: false,
//!     fragment_offset_bytes: 0,
//!     ttl: 1,
//!     protocol: protocol::UDP,
//!     source: Ipv4Addr::new(10, 0, 0, 1),
//!     destination: Ipv4Addr::new(10, 0, 0, 2),
//!     payload_len_bytes: 8,
//! };
//! let mut packet = [0; 32];
//! repr.emit_with_options(&[Ipv4Option::RouterAlert(0)], &mut packet)?;
//!
//! let view = Ipv4::new_checked(&packet)?;
//! assert!(view.verify_checksum() && view.header_len_bytes() == 24);
//! assert_eq!(view.options_iter().next(), Some(Ok(Ipv4Option::RouterAlert(0))));
//! # Ok(())
//! # }
//! ```

use core::net::Ipv4Addr;

use crate::{Error, Layer, be16, bytes, checksum, set_be16};

mod options;
mod repr;

#[cfg(test)]
mod tests;

pub use options::{Ipv4Option, Options, Route, TimeRecord, option_type, write_options};
pub use repr::Ipv4Repr;

/// Bytes of a header without options.
pub const HEADER_LEN_BYTES: usize = 20;

pub mod protocol;

const RESERVED_FLAG: u16 = 0x8000;
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

/// A view of an IPv4 packet, or of one fragment of one.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Ipv4<T> {
    /// Checks version, header length and total length against each other and the buffer. The
    /// checksum is not looked at: see [`verify_checksum`](Self::verify_checksum).
    ///
    /// [`set_version`](Self::set_version), [`set_header_len_bytes`](Self::set_header_len_bytes) and
    /// [`set_total_len_bytes`](Self::set_total_len_bytes) void the check.
    ///
    /// # Errors
    /// [`Error::Short`] if the header is not all there, [`Error::Field`] for a version other than
    /// 4, a header length below 20 bytes or above the total length, and [`Error::Truncated`] if all
    /// this is right but the buffer ends before the total length.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        const LAYER: Layer = Layer::Ipv4;
        let available_bytes = buffer.as_ref().len();
        Error::check_header(LAYER, HEADER_LEN_BYTES, available_bytes)?;
        let view = Self { buffer };
        let (header_len_bytes, total_len_bytes) =
            (view.header_len_bytes(), usize::from(view.total_len_bytes()));
        Error::check_field(LAYER, 0, "version", view.version() == 4)?;
        Error::check_field(LAYER, 0, "header length", header_len_bytes >= HEADER_LEN_BYTES)?;
        if available_bytes < header_len_bytes {
            return Err(Error::Short {
                layer: LAYER,
                offset_bytes: HEADER_LEN_BYTES,
                needed_bytes: header_len_bytes - HEADER_LEN_BYTES,
                available_bytes: available_bytes - HEADER_LEN_BYTES,
            });
        }
        Error::check_field(LAYER, 2, "total length", total_len_bytes >= header_len_bytes)?;
        Error::check_len(LAYER, 2, total_len_bytes, available_bytes)?;
        Ok(view)
    }

    /// Checks version and header length only, with the options in the buffer. For packets that a
    /// capture cut at its snap length; the payload is what the total length covers, cut to what
    /// the buffer has.
    ///
    /// # Errors
    /// [`Error::Short`] if the header is not all there, [`Error::Field`] for a version other than 4
    /// and a header length below 20 bytes.
    pub fn new_truncated(buffer: T) -> Result<Self, Error> {
        const LAYER: Layer = Layer::Ipv4;
        let available_bytes = buffer.as_ref().len();
        Error::check_header(LAYER, HEADER_LEN_BYTES, available_bytes)?;
        let view = Self { buffer };
        let header_len_bytes = view.header_len_bytes();
        Error::check_field(LAYER, 0, "version", view.version() == 4)?;
        Error::check_field(LAYER, 0, "header length", header_len_bytes >= HEADER_LEN_BYTES)?;
        if available_bytes < header_len_bytes {
            return Err(Error::Short {
                layer: LAYER,
                offset_bytes: HEADER_LEN_BYTES,
                needed_bytes: header_len_bytes - HEADER_LEN_BYTES,
                available_bytes: available_bytes - HEADER_LEN_BYTES,
            });
        }
        Ok(view)
    }

    /// Reads the version, 4 in every packet that passed the check.
    #[inline]
    pub fn version(&self) -> u8 {
        self.header()[0] >> 4
    }

    /// Reads the header's length with options, in bytes: 20 to 60 in steps of 4.
    #[inline]
    pub fn header_len_bytes(&self) -> usize {
        usize::from(self.header()[0] & 0x0f) * 4
    }

    /// Reads the differentiated services code point, 0 to 63.
    #[inline]
    pub fn dscp(&self) -> u8 {
        self.header()[1] >> 2
    }

    /// Reads the explicit congestion notification bits, 0 to 3.
    #[inline]
    pub fn ecn(&self) -> u8 {
        self.header()[1] & 3
    }

    /// Reads the length of header and payload together.
    #[inline]
    pub fn total_len_bytes(&self) -> u16 {
        be16(self.header(), 2)
    }

    /// Reads the number that a packet's fragments share.
    #[inline]
    pub fn identification(&self) -> u16 {
        be16(self.header(), 4)
    }

    /// Reads the reserved flag, which is to be clear.
    #[inline]
    pub fn reserved_flag(&self) -> bool {
        be16(self.header(), 6) & RESERVED_FLAG != 0
    }

    /// Tells whether routers may not fragment the packet.
    #[inline]
    pub fn dont_fragment(&self) -> bool {
        be16(self.header(), 6) & DONT_FRAGMENT != 0
    }

    /// Tells whether fragments follow this one.
    #[inline]
    pub fn more_fragments(&self) -> bool {
        be16(self.header(), 6) & MORE_FRAGMENTS != 0
    }

    /// Reads where in the packet's payload this fragment's begins: 0 to 65528 in steps of 8.
    #[inline]
    pub fn fragment_offset_bytes(&self) -> u16 {
        (be16(self.header(), 6) & OFFSET_MASK) << 3
    }

    /// Tells whether this is a fragment: not the whole packet.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        be16(self.header(), 6) & (MORE_FRAGMENTS | OFFSET_MASK) != 0
    }

    /// Reads how many more routers may forward the packet.
    #[inline]
    pub fn ttl(&self) -> u8 {
        self.header()[8]
    }

    /// Reads the protocol of the payload; see [`protocol`].
    #[inline]
    pub fn protocol(&self) -> u8 {
        self.header()[9]
    }

    /// Reads the header checksum as it stands.
    #[inline]
    pub fn checksum(&self) -> u16 {
        be16(self.header(), 10)
    }

    /// Reads the source address.
    #[inline]
    pub fn source(&self) -> Ipv4Addr {
        Ipv4Addr::from(bytes::<4>(self.header(), 12))
    }

    /// Reads the destination address.
    #[inline]
    pub fn destination(&self) -> Ipv4Addr {
        Ipv4Addr::from(bytes::<4>(self.header(), 16))
    }

    /// Lends the options, padding included: 0 to 40 bytes.
    #[inline(always)]
    pub fn options(&self) -> &[u8] {
        let data = self.buffer.as_ref();
        data.get(HEADER_LEN_BYTES..self.header_len_bytes().min(data.len())).unwrap_or_default()
    }

    /// Reads the options one by one.
    #[inline]
    pub fn options_iter(&self) -> Options<'_> {
        Options::new(self.options())
    }

    /// Lends the payload: what the total length covers, without Ethernet padding.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        let (start, end) = self.payload_range();
        self.buffer.as_ref().get(start..end).unwrap_or_default()
    }

    /// Tells whether the header's checksum is right.
    #[inline(always)]
    pub fn verify_checksum(&self) -> bool {
        self.header_sum().finish() == 0
    }

    /// Gives the buffer back.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    fn header(&self) -> &[u8; HEADER_LEN_BYTES] {
        self.buffer.as_ref().first_chunk().expect("new_checked saw the whole header")
    }

    /// Sums the header, whose length is known to the compiler where there are no options.
    #[inline(always)]
    fn header_sum(&self) -> checksum::Sum {
        // Looked at before the sum reads the same bytes: a caller who knows has no branch here.
        let has_options = self.header_len_bytes() > HEADER_LEN_BYTES;
        let fixed = checksum::Sum::of(self.header());
        if !has_options {
            return fixed;
        }
        fixed.combine(checksum::Sum::of(self.options()))
    }

    /// Where the payload is: within the buffer even if the check was voided.
    #[inline(always)]
    fn payload_range(&self) -> (usize, usize) {
        let end = usize::from(self.total_len_bytes()).min(self.buffer.as_ref().len());
        (self.header_len_bytes(), end)
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Ipv4<T> {
    /// Writes the version: the low 4 bits of `version`. Voids the check.
    #[inline]
    pub fn set_version(&mut self, version: u8) {
        let header = self.header_mut();
        header[0] = header[0] & 0x0f | version << 4;
    }

    /// Writes the header's length, rounded down to a multiple of 4 and cut at 60 bytes. Voids the
    /// check: afterwards options and payload are cut to what the buffer has.
    #[inline]
    pub fn set_header_len_bytes(&mut self, len_bytes: usize) {
        let words = u8::try_from(len_bytes / 4).unwrap_or(u8::MAX).min(15);
        let header = self.header_mut();
        header[0] = header[0] & 0xf0 | words;
    }

    /// Writes the differentiated services code point: the low 6 bits of `dscp`.
    #[inline]
    pub fn set_dscp(&mut self, dscp: u8) {
        let header = self.header_mut();
        header[1] = header[1] & 3 | dscp << 2;
    }

    /// Writes the explicit congestion notification bits: the low 2 bits of `ecn`.
    #[inline]
    pub fn set_ecn(&mut self, ecn: u8) {
        let header = self.header_mut();
        header[1] = header[1] & !3 | ecn & 3;
    }

    /// Writes the length of header and payload together. Voids the check: afterwards the payload
    /// is cut to what the buffer has.
    #[inline]
    pub fn set_total_len_bytes(&mut self, len_bytes: u16) {
        set_be16(self.header_mut(), 2, len_bytes);
    }

    /// Writes the number that a packet's fragments share.
    #[inline]
    pub fn set_identification(&mut self, identification: u16) {
        set_be16(self.header_mut(), 4, identification);
    }

    /// Writes the reserved flag.
    #[inline]
    pub fn set_reserved_flag(&mut self, reserved: bool) {
        self.set_fragment_bits(RESERVED_FLAG, if reserved { RESERVED_FLAG } else { 0 });
    }

    /// Writes whether routers may not fragment the packet.
    #[inline]
    pub fn set_dont_fragment(&mut self, dont_fragment: bool) {
        self.set_fragment_bits(DONT_FRAGMENT, if dont_fragment { DONT_FRAGMENT } else { 0 });
    }

    /// Writes whether fragments follow this one.
    #[inline]
    pub fn set_more_fragments(&mut self, more_fragments: bool) {
        self.set_fragment_bits(MORE_FRAGMENTS, if more_fragments { MORE_FRAGMENTS } else { 0 });
    }

    /// Writes where this fragment begins, rounded down to a multiple of 8.
    #[inline]
    pub fn set_fragment_offset_bytes(&mut self, offset_bytes: u16) {
        self.set_fragment_bits(OFFSET_MASK, offset_bytes >> 3);
    }

    /// Writes how many more routers may forward the packet.
    #[inline]
    pub fn set_ttl(&mut self, ttl: u8) {
        self.header_mut()[8] = ttl;
    }

    /// Writes the protocol of the payload.
    #[inline]
    pub fn set_protocol(&mut self, protocol: u8) {
        self.header_mut()[9] = protocol;
    }

    /// Writes a header checksum computed elsewhere, by [`checksum::update16`] for example.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        set_be16(self.header_mut(), 10, checksum);
    }

    /// Writes the source address; the checksum stays as it was.
    #[inline]
    pub fn set_source(&mut self, address: Ipv4Addr) {
        self.header_mut()[12..16].copy_from_slice(&address.octets());
    }

    /// Writes the destination address; the checksum stays as it was.
    #[inline]
    pub fn set_destination(&mut self, address: Ipv4Addr) {
        self.header_mut()[16..20].copy_from_slice(&address.octets());
    }

    /// Computes and writes the header checksum.
    #[inline]
    pub fn fill_checksum(&mut self) {
        self.set_checksum(0);
        let checksum = self.header_sum().finish();
        self.set_checksum(checksum);
    }

    /// Lends the options for writing.
    #[inline]
    pub fn options_mut(&mut self) -> &mut [u8] {
        let len_bytes = self.options().len();
        &mut self.buffer.as_mut()[HEADER_LEN_BYTES..HEADER_LEN_BYTES + len_bytes]
    }

    /// Lends the payload for writing.
    #[inline(always)]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let (start, end) = self.payload_range();
        self.buffer.as_mut().get_mut(start..end).unwrap_or_default()
    }

    fn set_fragment_bits(&mut self, mask: u16, bits: u16) {
        let header = self.header_mut();
        let word = be16(header, 6) & !mask | bits;
        set_be16(header, 6, word);
    }

    fn header_mut(&mut self) -> &mut [u8; HEADER_LEN_BYTES] {
        self.buffer.as_mut().first_chunk_mut().expect("new_checked saw the whole header")
    }
}
