//! UDP (RFC 768) over IPv4 and IPv6: 8 bytes.
//!
//! ```text
//!  0             2                  4        6          8
//!  | source port | destination port | length | checksum | payload
//! ```
//!
//! The checksum covers a pseudo header (addresses, protocol, length), header and payload. Over IPv4
//! 0x0000 means that the sender computed none; over IPv6 it is an error (RFC 8200 section 8.1) but
//! for tunnels that were told otherwise (RFC 6935 section 5). A computed 0x0000 is sent as 0xffff.
//! On veth the kernel leaves checksums unfilled until the sender's tx offloads are off.
//!
//! A length of 0 over IPv6 means a jumbogram (RFC 2675 section 4): the datagram is all that IPv6
//! has for it. Only [`Udp::new_checked_v6`] and [`Udp::new_truncated`] take it.
//!
//! ```
//! use core::net::Ipv6Addr;
//!
//! use netmem_wire::udp::ZeroChecksum;
//! use netmem_wire::{Udp, UdpRepr};
//!
//! # fn main() -> Result<(), netmem_wire::Error> {
//! let (a, b) = (Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
//! let mut datagram = *b"........ping";
//! let repr = UdpRepr { source_port: 4000, destination_port: 7, payload_len_bytes: 4 };
//! repr.emit_v6(&mut datagram, a, b)?;
//!
//! let view = Udp::new_checked_v6(&datagram)?;
//! assert!(view.verify_checksum_v6(a, b, ZeroChecksum::Refused));
//! assert_eq!((view.destination_port(), view.payload()), (7, &b"ping"[..]));
//! # Ok(())
//! # }
//! ```

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::checksum::{self, Sum};
use crate::ipv4::protocol;
use crate::{Error, Layer, be16, set_be16};

#[cfg(test)]
mod tests;

/// Bytes of a header.
pub const HEADER_LEN_BYTES: usize = 8;

/// What a checksum of 0 over IPv6 is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ZeroChecksum {
    /// An error, as RFC 8200 section 8.1 has it.
    Refused,
    /// No checksum: the port's owner was told to take such datagrams (RFC 6935 section 5).
    Allowed,
}

/// A view of a UDP datagram.
#[derive(Clone, Copy, Debug)]
pub struct Udp<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Udp<T> {
    /// Checks the length field against header and buffer. The checksum is not looked at.
    ///
    /// [`set_len_bytes`](Self::set_len_bytes) voids the check.
    ///
    /// # Errors
    /// [`Error::Short`] if the header is not all there, [`Error::Field`] for a length below 8, and
    /// [`Error::Truncated`] if the buffer ends before the length.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        let available_bytes = buffer.as_ref().len();
        Error::check_header(Layer::Udp, HEADER_LEN_BYTES, available_bytes)?;
        let view = Self { buffer };
        let needed_bytes = usize::from(view.len_bytes());
        Error::check_field(Layer::Udp, 4, "length", needed_bytes >= HEADER_LEN_BYTES)?;
        Error::check_len(Layer::Udp, 4, needed_bytes, available_bytes)?;
        Ok(view)
    }

    /// As [`new_checked`](Self::new_checked), but a length of 0 is a jumbogram's: the datagram is
    /// the whole buffer, which must be what IPv6 has for it. Like the kernel (net/ipv6/udp.c, 6.1)
    /// it takes jumbograms of less than 64 KiB too.
    ///
    /// # Errors
    /// Those of [`new_checked`](Self::new_checked), for lengths other than 0.
    #[inline]
    pub fn new_checked_v6(buffer: T) -> Result<Self, Error> {
        let view = Self::new_truncated(buffer)?;
        if view.len_bytes() == 0 { Ok(view) } else { Self::new_checked(view.buffer) }
    }

    /// Checks that the header is there, and nothing else. For datagrams that a capture cut at its
    /// snap length; the payload is cut to what the buffer has, and is all of it for a length of 0.
    ///
    /// # Errors
    /// [`Error::Short`].
    #[inline]
    pub fn new_truncated(buffer: T) -> Result<Self, Error> {
        Error::check_header(Layer::Udp, HEADER_LEN_BYTES, buffer.as_ref().len())?;
        Ok(Self { buffer })
    }

    /// Reads the source port.
    #[inline]
    pub fn source_port(&self) -> u16 {
        be16(self.header(), 0)
    }

    /// Reads the destination port.
    #[inline]
    pub fn destination_port(&self) -> u16 {
        be16(self.header(), 2)
    }

    /// Reads the length of header and payload together; 0 in a jumbogram.
    #[inline]
    pub fn len_bytes(&self) -> u16 {
        be16(self.header(), 4)
    }

    /// Reads the checksum as it stands; 0 means that there is none, see [`ZeroChecksum`].
    #[inline]
    pub fn checksum(&self) -> u16 {
        be16(self.header(), 6)
    }

    /// Lends the payload: what the length covers.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.datagram().get(HEADER_LEN_BYTES..).unwrap_or_default()
    }

    /// Tells whether the checksum is right between these addresses, or absent.
    #[inline]
    pub fn verify_checksum(&self, source: Ipv4Addr, destination: Ipv4Addr) -> bool {
        self.checksum() == 0 || self.sum(source, destination).finish() == 0
    }

    /// Tells whether the checksum is right between these addresses, or absent where that is
    /// allowed. Behind a routing header the destination is the final one.
    #[inline]
    pub fn verify_checksum_v6(
        &self,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        zero: ZeroChecksum,
    ) -> bool {
        if self.checksum() == 0 {
            return zero == ZeroChecksum::Allowed;
        }
        self.sum_v6(source, destination).finish() == 0
    }

    /// Gives the buffer back.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    fn sum(&self, source: Ipv4Addr, destination: Ipv4Addr) -> Sum {
        checksum::pseudo_header(source, destination, protocol::UDP, self.len_bytes())
            .combine(Sum::of(self.datagram()))
    }

    fn sum_v6(&self, source: Ipv6Addr, destination: Ipv6Addr) -> Sum {
        let datagram = self.datagram();
        let len_bytes = match self.len_bytes() {
            // A jumbogram's true length is in the pseudo header: RFC 2675 section 4.
            0 => u32::try_from(datagram.len()).unwrap_or(u32::MAX),
            len_bytes => len_bytes.into(),
        };
        checksum::pseudo_header_v6(source, destination, protocol::UDP, len_bytes)
            .combine(Sum::of(datagram))
    }

    /// What the length covers (0: everything), cut to the buffer if that was not checked.
    fn datagram(&self) -> &[u8] {
        let data = self.buffer.as_ref();
        match usize::from(self.len_bytes()) {
            0 => data,
            len_bytes => &data[..data.len().min(len_bytes)],
        }
    }

    fn header(&self) -> &[u8; HEADER_LEN_BYTES] {
        self.buffer.as_ref().first_chunk().expect("new_checked saw the whole header")
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Udp<T> {
    /// Writes the source port; the checksum stays as it was.
    #[inline]
    pub fn set_source_port(&mut self, port: u16) {
        set_be16(self.header_mut(), 0, port);
    }

    /// Writes the destination port; the checksum stays as it was.
    #[inline]
    pub fn set_destination_port(&mut self, port: u16) {
        set_be16(self.header_mut(), 2, port);
    }

    /// Writes the length of header and payload together. Voids the check: afterwards the payload
    /// is cut to what the buffer has, and is all of it for a length of 0.
    #[inline]
    pub fn set_len_bytes(&mut self, len_bytes: u16) {
        set_be16(self.header_mut(), 4, len_bytes);
    }

    /// Writes a checksum computed elsewhere, or 0 for none.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        set_be16(self.header_mut(), 6, checksum);
    }

    /// Computes and writes the checksum between these addresses; never 0.
    #[inline]
    pub fn fill_checksum(&mut self, source: Ipv4Addr, destination: Ipv4Addr) {
        self.set_checksum(0);
        let checksum = self.sum(source, destination).finish();
        self.set_checksum(if checksum == 0 { 0xffff } else { checksum });
    }

    /// Computes and writes the checksum between these addresses; never 0. Behind a routing header
    /// the destination is the final one.
    #[inline]
    pub fn fill_checksum_v6(&mut self, source: Ipv6Addr, destination: Ipv6Addr) {
        self.set_checksum(0);
        let checksum = self.sum_v6(source, destination).finish();
        self.set_checksum(if checksum == 0 { 0xffff } else { checksum });
    }

    /// Lends the payload for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let end = self.datagram().len();
        self.buffer.as_mut().get_mut(HEADER_LEN_BYTES..end).unwrap_or_default()
    }

    fn header_mut(&mut self) -> &mut [u8; HEADER_LEN_BYTES] {
        self.buffer.as_mut().first_chunk_mut().expect("new_checked saw the whole header")
    }
}

/// A UDP header as plain values; the checksum is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UdpRepr {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Length of the payload, 0 to 65527.
    pub payload_len_bytes: u16,
}

impl UdpRepr {
    /// Reads all fields of a datagram between these addresses whose checksum is right or absent.
    ///
    /// That a checksum was absent is not represented.
    ///
    /// # Errors
    /// [`Error::Field`] for a wrong checksum.
    pub fn parse<T: AsRef<[u8]>>(
        view: &Udp<T>,
        source: Ipv4Addr,
        destination: Ipv4Addr,
    ) -> Result<Self, Error> {
        let right = view.verify_checksum(source, destination);
        Error::check_field(Layer::Udp, 6, "checksum", right)?;
        Self::fields(view)
    }

    /// As [`parse`](Self::parse), over IPv6; behind a routing header the destination is the final
    /// one.
    ///
    /// # Errors
    /// [`Error::Field`] for a wrong checksum or none, and for what is not representable: a
    /// jumbogram.
    pub fn parse_v6<T: AsRef<[u8]>>(
        view: &Udp<T>,
        source: Ipv6Addr,
        destination: Ipv6Addr,
    ) -> Result<Self, Error> {
        let right = view.verify_checksum_v6(source, destination, ZeroChecksum::Refused);
        Error::check_field(Layer::Udp, 6, "checksum", right)?;
        Self::fields(view)
    }

    /// Writes the header in front of the payload that is in `buffer` already, checksum over both
    /// included, and returns the view. Bytes beyond the payload stay as they are.
    ///
    /// # Errors
    /// [`Error::Field`] for a length out of range; [`Error::Truncated`] or [`Error::Short`] if the
    /// buffer does not have the payload or the header.
    pub fn emit<'b>(
        &self,
        buffer: &'b mut [u8],
        source: Ipv4Addr,
        destination: Ipv4Addr,
    ) -> Result<Udp<&'b mut [u8]>, Error> {
        let mut view = self.write(buffer)?;
        view.fill_checksum(source, destination);
        Ok(view)
    }

    /// As [`emit`](Self::emit), over IPv6; behind a routing header the destination is the final
    /// one.
    ///
    /// # Errors
    /// Those of [`emit`](Self::emit).
    pub fn emit_v6<'b>(
        &self,
        buffer: &'b mut [u8],
        source: Ipv6Addr,
        destination: Ipv6Addr,
    ) -> Result<Udp<&'b mut [u8]>, Error> {
        let mut view = self.write(buffer)?;
        view.fill_checksum_v6(source, destination);
        Ok(view)
    }

    #[inline]
    fn fields<T: AsRef<[u8]>>(view: &Udp<T>) -> Result<Self, Error> {
        let bad_len = Error::Field { layer: Layer::Udp, offset_bytes: 4, field: "length" };
        Ok(Self {
            source_port: view.source_port(),
            destination_port: view.destination_port(),
            payload_len_bytes: view.len_bytes().checked_sub(8).ok_or(bad_len)?,
        })
    }

    /// Writes everything but the checksum.
    #[inline]
    fn write<'b>(&self, buffer: &'b mut [u8]) -> Result<Udp<&'b mut [u8]>, Error> {
        Error::check_field(Layer::Udp, 4, "length", self.payload_len_bytes <= 65527)?;
        Error::check_header(Layer::Udp, HEADER_LEN_BYTES, buffer.len())?;
        let len_bytes = self.payload_len_bytes + 8;
        Error::check_len(Layer::Udp, 4, len_bytes.into(), buffer.len())?;
        let mut view = Udp { buffer };
        view.set_len_bytes(len_bytes);
        view.set_source_port(self.source_port);
        view.set_destination_port(self.destination_port);
        Ok(view)
    }
}
