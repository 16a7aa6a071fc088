//! Error messages, which quote the packet that caused them.

use core::net::Ipv4Addr;

use super::{HEADER_LEN_BYTES, Icmpv4, Icmpv4Repr, icmp_type};
use crate::{Error, Layer};

/// How much of a packet an error message quotes at most, so that it is no longer than 576 bytes
/// with an IPv4 header without options (RFC 1812 section 4.3.2.3).
pub const MAX_QUOTED_LEN_BYTES: usize = 576 - 20 - HEADER_LEN_BYTES;

/// Which error it is; see [`code`](super::code) for the codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorMessage {
    /// The packet did not reach its destination.
    DestinationUnreachable {
        /// What could not be reached.
        code: u8,
        /// With code 4 the next hop's MTU (RFC 1191), otherwise 0.
        next_hop_mtu: u16,
    },
    /// There is a better gateway.
    Redirect {
        /// What it is better for.
        code: u8,
        /// The better gateway.
        gateway: Ipv4Addr,
    },
    /// The packet's time to live, or its reassembly, ran out.
    TimeExceeded {
        /// Which of the two.
        code: u8,
    },
    /// The packet's header was not understood.
    ParameterProblem {
        /// What is wrong.
        code: u8,
        /// With code 0 the byte of the quoted packet that is wrong.
        pointer: u8,
    },
}

/// An error message as plain values: no extension structure (RFC 4884); the checksum is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Icmpv4ErrorRepr<'a> {
    /// Which error it is.
    pub error: ErrorMessage,
    /// The packet that caused it, from its IPv4 header on; at least 8 bytes of its payload where it
    /// has them, at most [`MAX_QUOTED_LEN_BYTES`] altogether. [`emit`](Self::emit) does not look.
    pub quoted: &'a [u8],
}

impl<'a> Icmpv4ErrorRepr<'a> {
    /// Tells how long the message is.
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        HEADER_LEN_BYTES + self.quoted.len()
    }

    /// Reads an error message whose checksum is right.
    ///
    /// # Errors
    /// [`Error::Field`] for a wrong checksum, and for what is not representable: other types,
    /// unused bytes that are not zero, a length of the quoted packet (RFC 4884).
    pub fn parse<T: AsRef<[u8]>>(view: &'a Icmpv4<T>) -> Result<Self, Error> {
        let Icmpv4Repr { icmp_type, icmp_code: code, rest } = Icmpv4Repr::parse(view)?;
        let [a, b, c, d] = rest;
        let (error, unused) = match icmp_type {
            icmp_type::DESTINATION_UNREACHABLE => {
                let next_hop_mtu = u16::from_be_bytes([c, d]);
                (ErrorMessage::DestinationUnreachable { code, next_hop_mtu }, [a, b, 0])
            }
            icmp_type::REDIRECT => {
                (ErrorMessage::Redirect { code, gateway: Ipv4Addr::from(rest) }, [0; 3])
            }
            icmp_type::TIME_EXCEEDED => (ErrorMessage::TimeExceeded { code }, [a | b, c, d]),
            icmp_type::PARAMETER_PROBLEM => {
                (ErrorMessage::ParameterProblem { code, pointer: a }, [b, c, d])
            }
            _ => {
                return Err(Error::Field { layer: Layer::Icmpv4, offset_bytes: 0, field: "type" });
            }
        };
        Error::check_field(Layer::Icmpv4, 4, "unused", unused == [0; 3])?;
        Ok(Self { error, quoted: view.payload() })
    }

    /// Writes the message, checksum included, at the start of `buffer` and returns its view. Bytes
    /// beyond the message stay as they are.
    ///
    /// # Errors
    /// [`Error::Short`] if the buffer has no room.
    pub fn emit<'b>(&self, buffer: &'b mut [u8]) -> Result<Icmpv4<&'b mut [u8]>, Error> {
        Error::check_header(Layer::Icmpv4, self.len_bytes(), buffer.len())?;
        let message = &mut buffer[..self.len_bytes()];
        message[HEADER_LEN_BYTES..].copy_from_slice(self.quoted);
        let (icmp_type, icmp_code, rest) = match self.error {
            ErrorMessage::DestinationUnreachable { code, next_hop_mtu } => {
                let [high, low] = next_hop_mtu.to_be_bytes();
                (icmp_type::DESTINATION_UNREACHABLE, code, [0, 0, high, low])
            }
            ErrorMessage::Redirect { code, gateway } => {
                (icmp_type::REDIRECT, code, gateway.octets())
            }
            ErrorMessage::TimeExceeded { code } => (icmp_type::TIME_EXCEEDED, code, [0; 4]),
            ErrorMessage::ParameterProblem { code, pointer } => {
                (icmp_type::PARAMETER_PROBLEM, code, [pointer, 0, 0, 0])
            }
        };
        Icmpv4Repr { icmp_type, icmp_code, rest }.emit(message)
    }
}
