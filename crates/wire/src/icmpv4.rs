//! `ICMPv4` (RFC 792): 8 bytes, of which the last four depend on the type.
//!
//! ```text
//!  0      1      2          4            6          8
//!  | type | code | checksum | identifier | sequence | payload       (echo request and reply)
//!                           | identifier | sequence | times 3 * 32  (timestamp)
//!                           | identifier | sequence | mask 32       (address mask, RFC 950)
//!                           | 0 | len    | mtu      | quoted packet (unreachable, RFC 1191)
//!                           | 0 | len    | 0        | quoted packet (time exceeded)
//!                           | pointer | len | 0     | quoted packet (parameter problem)
//!                           | gateway               | quoted packet (redirect)
//!                           | count | size | life   | addresses     (router advertisement, RFC 1256)
//! ```
//!
//! A len above 0 (RFC 4884 section 3) is the length of the quoted packet in words of 32 bits; what
//! is behind it is an extension structure.
//!
//! ICMP has no length of its own: the message, which the checksum covers as a whole, is the
//! payload of IPv4. Give the view exactly that ([`Ipv4::payload`](crate::Ipv4::payload)), never
//! the rest of a padded frame.
//!
//! ```
//! use netmem_wire::icmpv4::{ErrorMessage, Icmpv4ErrorRepr, code};
//! use netmem_wire::{Icmpv4, Icmpv4Repr};
//!
//! # fn main() -> Result<(), netmem_wire::Error> {
//! let mut message = *b"........payload";
//! Icmpv4Repr::echo_request(1, 2).emit(&mut message)?;
//! assert_eq!(Icmpv4::new_checked(&message)?.sequence(), 2);
//!
//! let packet = [0x45; 28];
//! let error = ErrorMessage::DestinationUnreachable { code: code::PORT, next_hop_mtu: 0 };
//! let repr = Icmpv4ErrorRepr { error, quoted: &packet };
//! let mut message = [0; 36];
//! repr.emit(&mut message)?;
//! let view = Icmpv4::new_checked(&message)?;
//! assert_eq!((view.quoted(), Icmpv4ErrorRepr::parse(&view)?), (Some(&packet[..]), repr));
//! # Ok(())
//! # }
//! ```

use crate::{Error, Layer, be16, bytes, checksum, set_be16};

mod error_repr;
mod variable;

#[cfg(test)]
mod tests;

pub use error_repr::{ErrorMessage, Icmpv4ErrorRepr, MAX_QUOTED_LEN_BYTES};
pub use variable::{RouterAdvertisement, Times};

/// Bytes of a message's header.
pub const HEADER_LEN_BYTES: usize = 8;

/// The message types that this crate knows.
pub mod icmp_type {
    /// Answer to an echo request.
    pub const ECHO_REPLY: u8 = 0;
    /// A packet did not reach its destination.
    pub const DESTINATION_UNREACHABLE: u8 = 3;
    /// Asks for less; deprecated by RFC 6633.
    pub const SOURCE_QUENCH: u8 = 4;
    /// Names a better gateway.
    pub const REDIRECT: u8 = 5;
    /// Asks for an echo reply with the same identifier, sequence and payload.
    pub const ECHO_REQUEST: u8 = 8;
    /// Says which routers there are (RFC 1256).
    pub const ROUTER_ADVERTISEMENT: u8 = 9;
    /// Asks for router advertisements (RFC 1256).
    pub const ROUTER_SOLICITATION: u8 = 10;
    /// A packet's time to live, or its reassembly, ran out.
    pub const TIME_EXCEEDED: u8 = 11;
    /// A packet's header was not understood.
    pub const PARAMETER_PROBLEM: u8 = 12;
    /// Asks for a timestamp reply.
    pub const TIMESTAMP_REQUEST: u8 = 13;
    /// Answer to a timestamp request.
    pub const TIMESTAMP_REPLY: u8 = 14;
    /// Asks for an information reply; deprecated by RFC 6918.
    pub const INFORMATION_REQUEST: u8 = 15;
    /// Answer to an information request; deprecated by RFC 6918.
    pub const INFORMATION_REPLY: u8 = 16;
    /// Asks for an address mask reply (RFC 950).
    pub const ADDRESS_MASK_REQUEST: u8 = 17;
    /// Answer to an address mask request (RFC 950).
    pub const ADDRESS_MASK_REPLY: u8 = 18;
    /// Extended echo request (RFC 8335).
    pub const EXTENDED_ECHO_REQUEST: u8 = 42;
    /// Extended echo reply (RFC 8335).
    pub const EXTENDED_ECHO_REPLY: u8 = 43;
}

/// Codes of destination unreachable, time exceeded, redirect and parameter problem.
pub mod code {
    /// Destination unreachable: the network.
    pub const NETWORK: u8 = 0;
    /// Destination unreachable: the host.
    pub const HOST: u8 = 1;
    /// Destination unreachable: the protocol.
    pub const PROTOCOL: u8 = 2;
    /// Destination unreachable: the port.
    pub const PORT: u8 = 3;
    /// Destination unreachable: it does not fit and may not be fragmented (RFC 1191).
    pub const FRAGMENTATION_NEEDED: u8 = 4;
    /// Destination unreachable: the source route failed.
    pub const SOURCE_ROUTE_FAILED: u8 = 5;
    /// Destination unreachable: forbidden by a filter (RFC 1812 section 5.2.7.1).
    pub const ADMINISTRATIVELY_PROHIBITED: u8 = 13;
    /// Time exceeded: the time to live.
    pub const TTL: u8 = 0;
    /// Time exceeded: the reassembly.
    pub const REASSEMBLY: u8 = 1;
    /// Redirect: for the network.
    pub const REDIRECT_NETWORK: u8 = 0;
    /// Redirect: for the host.
    pub const REDIRECT_HOST: u8 = 1;
    /// Parameter problem: the pointer says where.
    pub const POINTER: u8 = 0;
    /// Parameter problem: an option is missing (RFC 1122 section 3.2.2.5).
    pub const OPTION_MISSING: u8 = 1;
    /// Parameter problem: a bad length.
    pub const BAD_LENGTH: u8 = 2;
}

/// A view of an ICMP message.
#[derive(Clone, Copy, Debug)]
pub struct Icmpv4<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Icmpv4<T> {
    /// Checks that the 8-byte header is there. No setter voids the check.
    ///
    /// # Errors
    /// [`Error::Short`].
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        Error::check_header(Layer::Icmpv4, HEADER_LEN_BYTES, buffer.as_ref().len())?;
        Ok(Self { buffer })
    }

    /// Reads the type; see [`icmp_type`].
    #[inline]
    pub fn icmp_type(&self) -> u8 {
        self.header()[0]
    }

    /// Reads the code, whose meaning depends on the type.
    #[inline]
    pub fn icmp_code(&self) -> u8 {
        self.header()[1]
    }

    /// Reads the checksum as it stands.
    #[inline]
    pub fn checksum(&self) -> u16 {
        be16(self.header(), 2)
    }

    /// Reads the identifier of an echo message.
    #[inline]
    pub fn identifier(&self) -> u16 {
        be16(self.header(), 4)
    }

    /// Reads the sequence number of an echo message.
    #[inline]
    pub fn sequence(&self) -> u16 {
        be16(self.header(), 6)
    }

    /// Lends the bytes after the header.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.buffer.as_ref()[HEADER_LEN_BYTES..]
    }

    /// Tells whether the message's checksum is right.
    #[inline(always)]
    pub fn verify_checksum(&self) -> bool {
        checksum::verify(self.buffer.as_ref())
    }

    /// Gives the buffer back.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    fn header(&self) -> &[u8; HEADER_LEN_BYTES] {
        self.buffer.as_ref().first_chunk().expect("new_checked saw the whole header")
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Icmpv4<T> {
    /// Writes the type; the checksum stays as it was.
    #[inline]
    pub fn set_icmp_type(&mut self, icmp_type: u8) {
        self.header_mut()[0] = icmp_type;
    }

    /// Writes the code; the checksum stays as it was.
    #[inline]
    pub fn set_icmp_code(&mut self, icmp_code: u8) {
        self.header_mut()[1] = icmp_code;
    }

    /// Writes a checksum computed elsewhere.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        set_be16(self.header_mut(), 2, checksum);
    }

    /// Writes the identifier of an echo message.
    #[inline]
    pub fn set_identifier(&mut self, identifier: u16) {
        set_be16(self.header_mut(), 4, identifier);
    }

    /// Writes the sequence number of an echo message.
    #[inline]
    pub fn set_sequence(&mut self, sequence: u16) {
        set_be16(self.header_mut(), 6, sequence);
    }

    /// Lends the bytes after the header for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.buffer.as_mut()[HEADER_LEN_BYTES..]
    }

    /// Computes and writes the checksum over the whole message.
    #[inline]
    pub fn fill_checksum(&mut self) {
        self.set_checksum(0);
        let checksum = checksum::internet(self.buffer.as_ref());
        self.set_checksum(checksum);
    }

    /// Makes the message an echo reply and updates its checksum for that, without reading the
    /// payload: a request that was damaged becomes a reply that is.
    #[inline(always)]
    pub fn turn_into_echo_reply(&mut self) {
        let old_word = be16(self.header(), 0);
        self.set_icmp_type(icmp_type::ECHO_REPLY);
        let new_word = be16(self.header(), 0);
        self.set_checksum(checksum::update16(self.checksum(), old_word, new_word));
        // The corner of update16: over all zeros only 0xffff verifies. Read one message in 65536.
        if self.checksum() == 0 && self.buffer.as_ref().iter().all(|byte| *byte == 0) {
            self.set_checksum(0xffff);
        }
    }

    fn header_mut(&mut self) -> &mut [u8; HEADER_LEN_BYTES] {
        self.buffer.as_mut().first_chunk_mut().expect("new_checked saw the whole header")
    }
}

/// An ICMP header as plain values; the checksum is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Icmpv4Repr {
    /// Type; see [`icmp_type`].
    pub icmp_type: u8,
    /// Code, whose meaning depends on the type.
    pub icmp_code: u8,
    /// The header's last four bytes, whose meaning depends on the type.
    pub rest: [u8; 4],
}

impl Icmpv4Repr {
    /// An echo request.
    #[must_use]
    pub const fn echo_request(identifier: u16, sequence: u16) -> Self {
        let ([a, b], [c, d]) = (identifier.to_be_bytes(), sequence.to_be_bytes());
        Self { icmp_type: icmp_type::ECHO_REQUEST, icmp_code: 0, rest: [a, b, c, d] }
    }

    /// An echo reply.
    #[must_use]
    pub const fn echo_reply(identifier: u16, sequence: u16) -> Self {
        Self { icmp_type: icmp_type::ECHO_REPLY, ..Self::echo_request(identifier, sequence) }
    }

    /// Reads all fields of a message whose checksum is right.
    ///
    /// # Errors
    /// [`Error::Field`] for a wrong checksum.
    pub fn parse<T: AsRef<[u8]>>(view: &Icmpv4<T>) -> Result<Self, Error> {
        Error::check_field(Layer::Icmpv4, 2, "checksum", view.verify_checksum())?;
        Ok(Self {
            icmp_type: view.icmp_type(),
            icmp_code: view.icmp_code(),
            rest: bytes(view.header(), 4),
        })
    }

    /// Writes the header in front of the payload that is in `message` already, checksum over both
    /// included, and returns the view. `message` is header and payload and nothing more.
    ///
    /// # Errors
    /// [`Error::Short`].
    pub fn emit<'b>(&self, message: &'b mut [u8]) -> Result<Icmpv4<&'b mut [u8]>, Error> {
        let mut view = Icmpv4::new_checked(message)?;
        view.set_icmp_type(self.icmp_type);
        view.set_icmp_code(self.icmp_code);
        view.header_mut()[4..].copy_from_slice(&self.rest);
        view.fill_checksum();
        Ok(view)
    }
}
