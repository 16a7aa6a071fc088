//! `ICMPv6` (RFC 4443): 8 bytes, of which the last four depend on the type.
//!
//! ```text
//!  0      1      2          4            6          8
//!  | type | code | checksum | identifier | sequence | payload   (echo request, reply: 128, 129)
//!                           | unused                | packet    (errors 1, 3)
//!                           | mtu                   | packet    (error 2: packet too big)
//!                           | pointer               | packet    (error 4: parameter problem)
//! ```
//!
//! Types below 128 are errors; they quote as much of the packet that caused them as fits into the
//! smallest MTU of IPv6. The checksum covers the message and a pseudo header of both addresses
//! (section 2.3), so its functions ask for them. Where a routing header is on its way the
//! destination is the last one (RFC 8200 section 8.1).
//!
//! RFC 4443 defines four bytes of header; every message that is registered has at least eight, and
//! Linux 6.12 drops a shorter one too (`icmpv6_rcv` in `net/ipv6/icmp.c`).
//!
//! Give the view the payload of IPv6 behind its extension headers, never the rest of a padded
//! frame.
//! Neighbor discovery is in [`ndp`], multicast listener discovery in [`mld`]; both look at the same
//! bytes as this view.
//!
//! ```
//! use core::net::Ipv6Addr;
//!
//! use netmem_wire::{Icmpv6, Icmpv6Repr};
//!
//! let (a, b) = (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), Ipv6Addr::LOCALHOST);
//! let mut message = *b"........payload";
//! let request = Icmpv6Repr::EchoRequest { identifier: 1, sequence: 2 };
//! request.emit(&mut message, a, b)?;
//!
//! let mut view = Icmpv6::new_checked(&mut message[..])?;
//! assert_eq!(Icmpv6Repr::parse(&view, a, b)?, request);
//! assert_eq!((view.sequence(), view.payload()), (2, &b"payload"[..]));
//! // The way back has the addresses exchanged, which the sum does not see.
//! view.turn_into_echo_reply();
//! assert!(view.verify_checksum(b, a));
//! # Ok::<(), netmem_wire::Error>(())
//! ```

use core::net::Ipv6Addr;

use crate::checksum::{self, Sum};
use crate::{Error, Layer, be16, bytes, set_be16};

pub mod mld;
pub mod ndp;

/// Bytes of a message's header.
pub const HEADER_LEN_BYTES: usize = 8;

/// The next header value of `ICMPv6` in IPv6 headers and in the pseudo header.
pub const NEXT_HEADER: u8 = 58;

/// The registered message types in common use.
pub mod icmp_type {
    /// Error: a packet could not be delivered.
    pub const DESTINATION_UNREACHABLE: u8 = 1;
    /// Error: a packet is larger than the next link's MTU.
    pub const PACKET_TOO_BIG: u8 = 2;
    /// Error: the hop limit or the time for reassembly ran out.
    pub const TIME_EXCEEDED: u8 = 3;
    /// Error: a header could not be understood.
    pub const PARAMETER_PROBLEM: u8 = 4;
    /// Asks for an echo reply with the same identifier, sequence and payload.
    pub const ECHO_REQUEST: u8 = 128;
    /// Answer to an echo request.
    pub const ECHO_REPLY: u8 = 129;
    /// Multicast listener query, MLD version 1 and 2 (RFC 2710, RFC 3810).
    pub const MULTICAST_LISTENER_QUERY: u8 = 130;
    /// Multicast listener report, MLD version 1.
    pub const MULTICAST_LISTENER_REPORT: u8 = 131;
    /// Multicast listener done, MLD version 1.
    pub const MULTICAST_LISTENER_DONE: u8 = 132;
    /// Router solicitation (RFC 4861).
    pub const ROUTER_SOLICITATION: u8 = 133;
    /// Router advertisement (RFC 4861).
    pub const ROUTER_ADVERTISEMENT: u8 = 134;
    /// Neighbor solicitation (RFC 4861).
    pub const NEIGHBOR_SOLICITATION: u8 = 135;
    /// Neighbor advertisement (RFC 4861).
    pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;
    /// Redirect (RFC 4861).
    pub const REDIRECT: u8 = 137;
    /// Router renumbering (RFC 2894).
    pub const ROUTER_RENUMBERING: u8 = 138;
    /// Node information query (RFC 4620).
    pub const NODE_INFORMATION_QUERY: u8 = 139;
    /// Node information response (RFC 4620).
    pub const NODE_INFORMATION_RESPONSE: u8 = 140;
    /// Inverse neighbor discovery solicitation (RFC 3122).
    pub const INVERSE_NEIGHBOR_SOLICITATION: u8 = 141;
    /// Inverse neighbor discovery advertisement (RFC 3122).
    pub const INVERSE_NEIGHBOR_ADVERTISEMENT: u8 = 142;
    /// Multicast listener report, MLD version 2 (RFC 3810).
    pub const MULTICAST_LISTENER_REPORT_V2: u8 = 143;
    /// Home agent address discovery request (RFC 6275).
    pub const HOME_AGENT_REQUEST: u8 = 144;
    /// Home agent address discovery reply (RFC 6275).
    pub const HOME_AGENT_REPLY: u8 = 145;
    /// Mobile prefix solicitation (RFC 6275).
    pub const MOBILE_PREFIX_SOLICITATION: u8 = 146;
    /// Mobile prefix advertisement (RFC 6275).
    pub const MOBILE_PREFIX_ADVERTISEMENT: u8 = 147;
    /// Certification path solicitation (RFC 3971).
    pub const CERTIFICATION_PATH_SOLICITATION: u8 = 148;
    /// Certification path advertisement (RFC 3971).
    pub const CERTIFICATION_PATH_ADVERTISEMENT: u8 = 149;
    /// Multicast router advertisement (RFC 4286).
    pub const MULTICAST_ROUTER_ADVERTISEMENT: u8 = 151;
    /// Multicast router solicitation (RFC 4286).
    pub const MULTICAST_ROUTER_SOLICITATION: u8 = 152;
    /// Multicast router termination (RFC 4286).
    pub const MULTICAST_ROUTER_TERMINATION: u8 = 153;
    /// RPL control message (RFC 6550).
    pub const RPL_CONTROL: u8 = 155;
    /// Duplicate address request (RFC 6775).
    pub const DUPLICATE_ADDRESS_REQUEST: u8 = 157;
    /// Duplicate address confirmation (RFC 6775).
    pub const DUPLICATE_ADDRESS_CONFIRMATION: u8 = 158;
    /// Extended echo request (RFC 8335).
    pub const EXTENDED_ECHO_REQUEST: u8 = 160;
    /// Extended echo reply (RFC 8335).
    pub const EXTENDED_ECHO_REPLY: u8 = 161;
}

/// The codes of destination unreachable (section 3.1).
pub mod unreachable_code {
    /// No route to the destination.
    pub const NO_ROUTE: u8 = 0;
    /// Communication with the destination is administratively prohibited.
    pub const ADMINISTRATIVELY_PROHIBITED: u8 = 1;
    /// The destination is beyond the scope of the source address.
    pub const BEYOND_SCOPE: u8 = 2;
    /// The address cannot be reached.
    pub const ADDRESS: u8 = 3;
    /// Nobody listens at the port.
    pub const PORT: u8 = 4;
    /// The source address failed the ingress or egress policy.
    pub const POLICY: u8 = 5;
    /// The route to the destination rejects.
    pub const REJECT_ROUTE: u8 = 6;
}

/// The codes of time exceeded (section 3.3).
pub mod time_exceeded_code {
    /// The hop limit became zero on the way.
    pub const HOP_LIMIT: u8 = 0;
    /// Not all fragments came in time.
    pub const REASSEMBLY: u8 = 1;
}

/// The codes of parameter problem (section 3.4).
pub mod parameter_problem_code {
    /// A header field has a value that is in error.
    pub const HEADER_FIELD: u8 = 0;
    /// The next header is not known.
    pub const NEXT_HEADER: u8 = 1;
    /// An IPv6 option is not known.
    pub const OPTION: u8 = 2;
    /// The first fragment does not hold all headers (RFC 7112).
    pub const HEADER_CHAIN: u8 = 3;
}

/// A view of an `ICMPv6` message.
#[derive(Clone, Copy, Debug)]
pub struct Icmpv6<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Icmpv6<T> {
    /// Checks that the 8-byte header is there. No setter voids the check.
    ///
    /// # Errors
    /// [`Error::Short`].
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        Error::check_header(Layer::Icmpv6, HEADER_LEN_BYTES, buffer.as_ref().len())?;
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

    /// Reads the MTU of the next link, in bytes, of packet too big.
    #[inline]
    pub fn mtu_bytes(&self) -> u32 {
        u32::from_be_bytes(bytes(self.header(), 4))
    }

    /// Reads where in the quoted packet the problem is, in bytes, of parameter problem; may be
    /// beyond what is quoted.
    #[inline]
    pub fn pointer_bytes(&self) -> u32 {
        u32::from_be_bytes(bytes(self.header(), 4))
    }

    /// Tells whether the message is an error: a type below 128.
    #[inline]
    pub fn is_error(&self) -> bool {
        self.icmp_type() < 128
    }

    /// Lends the bytes after the header.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.buffer.as_ref()[HEADER_LEN_BYTES..]
    }

    /// Lends the start of the packet that caused an error; nothing of any other message.
    ///
    /// Destination unreachable and time exceeded may have extensions behind it: their fifth byte
    /// is then the length of the packet in units of 8 bytes (RFC 4884 section 4.2).
    pub fn quoted_packet(&self) -> Option<&[u8]> {
        if !self.is_error() {
            return None;
        }
        let payload = self.payload();
        let len_bytes = self.quoted_len_bytes();
        if len_bytes == 0 { Some(payload) } else { payload.get(..len_bytes).or(Some(payload)) }
    }

    /// Tells whether the message's checksum is right between these addresses.
    #[inline]
    pub fn verify_checksum(&self, source: Ipv6Addr, destination: Ipv6Addr) -> bool {
        message_sum(self.buffer.as_ref(), source, destination).finish() == 0
    }

    /// Gives the buffer back.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    /// The length of the quoted packet where extensions follow it, else 0.
    fn quoted_len_bytes(&self) -> usize {
        match self.icmp_type() {
            icmp_type::DESTINATION_UNREACHABLE | icmp_type::TIME_EXCEEDED => {
                usize::from(self.header()[4]) * 8
            }
            _ => 0,
        }
    }

    fn header(&self) -> &[u8; HEADER_LEN_BYTES] {
        self.buffer.as_ref().first_chunk().expect("new_checked saw the whole header")
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Icmpv6<T> {
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

    /// Writes the MTU of the next link, in bytes, of packet too big.
    #[inline]
    pub fn set_mtu_bytes(&mut self, mtu_bytes: u32) {
        self.header_mut()[4..].copy_from_slice(&mtu_bytes.to_be_bytes());
    }

    /// Writes where in the quoted packet the problem is, in bytes, of parameter problem.
    #[inline]
    pub fn set_pointer_bytes(&mut self, pointer_bytes: u32) {
        self.header_mut()[4..].copy_from_slice(&pointer_bytes.to_be_bytes());
    }

    /// Lends the bytes after the header for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.buffer.as_mut()[HEADER_LEN_BYTES..]
    }

    /// Computes and writes the checksum over the pseudo header and the whole message.
    #[inline]
    pub fn fill_checksum(&mut self, source: Ipv6Addr, destination: Ipv6Addr) {
        self.set_checksum(0);
        let checksum = message_sum(self.buffer.as_ref(), source, destination).finish();
        self.set_checksum(checksum);
    }

    /// Makes the message an echo reply and updates its checksum for that (RFC 1624), without
    /// reading the payload: a request that was damaged becomes a reply that is.
    ///
    /// The checksum stays right when the reply goes from the request's destination to its source.
    /// If the request went to a group, the reply's source is another address (section 4.2): then
    /// use [`fill_checksum`](Self::fill_checksum).
    #[inline]
    pub fn turn_into_echo_reply(&mut self) {
        let old_word = be16(self.header(), 0);
        self.set_icmp_type(icmp_type::ECHO_REPLY);
        let new_word = be16(self.header(), 0);
        // The corner of update16 is no case here: type 129 and next header 58 are not zero.
        self.set_checksum(checksum::update16(self.checksum(), old_word, new_word));
    }

    fn header_mut(&mut self) -> &mut [u8; HEADER_LEN_BYTES] {
        self.buffer.as_mut().first_chunk_mut().expect("new_checked saw the whole header")
    }
}

/// An `ICMPv6` echo message or error as plain values; the checksum is computed.
///
/// What a receiver has to ignore (the code of packet too big, unused bytes) is not here: `parse`
/// ignores it and `emit` writes zero. An error with extensions (RFC 4884) is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Icmpv6Repr {
    /// Asks for an echo reply.
    EchoRequest {
        /// Tells the requests of several senders apart.
        identifier: u16,
        /// Tells the requests of one sender apart.
        sequence: u16,
    },
    /// Answer to an echo request.
    EchoReply {
        /// The request's.
        identifier: u16,
        /// The request's.
        sequence: u16,
    },
    /// A packet could not be delivered.
    DestinationUnreachable {
        /// Why; see [`unreachable_code`].
        code: u8,
    },
    /// A packet is larger than the next link's MTU.
    PacketTooBig {
        /// That MTU, in bytes.
        mtu_bytes: u32,
    },
    /// The hop limit or the time for reassembly ran out.
    TimeExceeded {
        /// Which; see [`time_exceeded_code`].
        code: u8,
    },
    /// A header could not be understood.
    ParameterProblem {
        /// What about it; see [`parameter_problem_code`].
        code: u8,
        /// Where in the quoted packet, in bytes.
        pointer_bytes: u32,
    },
}

impl Icmpv6Repr {
    /// Reads a message whose checksum is right between these addresses.
    ///
    /// # Errors
    /// [`Error::Field`] for a wrong checksum, a type that is not represented, an echo message
    /// whose code is not zero, and a length of the quoted packet (RFC 4884).
    pub fn parse<T: AsRef<[u8]>>(
        view: &Icmpv6<T>,
        source: Ipv6Addr,
        destination: Ipv6Addr,
    ) -> Result<Self, Error> {
        let right = view.verify_checksum(source, destination);
        Error::check_field(Layer::Icmpv6, 2, "checksum", right)?;
        let code = view.icmp_code();
        let (identifier, sequence) = (view.identifier(), view.sequence());
        let repr = match view.icmp_type() {
            icmp_type::ECHO_REQUEST => Self::EchoRequest { identifier, sequence },
            icmp_type::ECHO_REPLY => Self::EchoReply { identifier, sequence },
            icmp_type::DESTINATION_UNREACHABLE => Self::DestinationUnreachable { code },
            icmp_type::PACKET_TOO_BIG => Self::PacketTooBig { mtu_bytes: view.mtu_bytes() },
            icmp_type::TIME_EXCEEDED => Self::TimeExceeded { code },
            icmp_type::PARAMETER_PROBLEM => {
                Self::ParameterProblem { code, pointer_bytes: view.pointer_bytes() }
            }
            _ => return Err(Error::Field { layer: Layer::Icmpv6, offset_bytes: 0, field: "type" }),
        };
        Error::check_field(Layer::Icmpv6, 1, "code", code == 0 || view.is_error())?;
        Error::check_field(Layer::Icmpv6, 4, "length", view.quoted_len_bytes() == 0)?;
        Ok(repr)
    }

    /// Writes the header in front of the payload (or of the quoted packet) that is in `message`
    /// already, checksum over both included, and returns the view. `message` is header and payload
    /// and nothing more. The length of an error is the caller's to limit: with all headers in
    /// front, 1280 bytes (section 2.4 (c)).
    ///
    /// # Errors
    /// [`Error::Short`].
    pub fn emit<'b>(
        &self,
        message: &'b mut [u8],
        source: Ipv6Addr,
        destination: Ipv6Addr,
    ) -> Result<Icmpv6<&'b mut [u8]>, Error> {
        let mut view = Icmpv6::new_checked(message)?;
        let echo =
            |identifier: u16, sequence: u16| u32::from(identifier) << 16 | u32::from(sequence);
        let (icmp_type, code, rest) = match *self {
            Self::EchoRequest { identifier, sequence } => {
                (icmp_type::ECHO_REQUEST, 0, echo(identifier, sequence))
            }
            Self::EchoReply { identifier, sequence } => {
                (icmp_type::ECHO_REPLY, 0, echo(identifier, sequence))
            }
            Self::DestinationUnreachable { code } => (icmp_type::DESTINATION_UNREACHABLE, code, 0),
            Self::PacketTooBig { mtu_bytes } => (icmp_type::PACKET_TOO_BIG, 0, mtu_bytes),
            Self::TimeExceeded { code } => (icmp_type::TIME_EXCEEDED, code, 0),
            Self::ParameterProblem { code, pointer_bytes } => {
                (icmp_type::PARAMETER_PROBLEM, code, pointer_bytes)
            }
        };
        view.set_icmp_type(icmp_type);
        view.set_icmp_code(code);
        view.header_mut()[4..].copy_from_slice(&rest.to_be_bytes());
        view.fill_checksum(source, destination);
        Ok(view)
    }
}

/// Sums pseudo header and message.
#[inline]
fn message_sum(message: &[u8], source: Ipv6Addr, destination: Ipv6Addr) -> Sum {
    let len_bytes = u32::try_from(message.len()).unwrap_or(u32::MAX);
    checksum::pseudo_header_v6(source, destination, NEXT_HEADER, len_bytes)
        .combine(Sum::of(message))
}

#[cfg(test)]
mod tests;
