//! Whole frames in one call each.
//!
//! Those without a payload write the frame at the start of a buffer and return its length. Those
//! with one write the headers in front of it, where it lies, and return where the frame is. No
//! frame is padded: [`Composer::pad_to_bytes`] does that where a device does not. After an error
//! the part of the buffer in front of the payload may have been written to.
//!
//! ```
//! use core::net::Ipv4Addr;
//!
//! use netmem_wire::MacAddr;
//! use netmem_wire::compose::preset;
//!
//! let mut buffer = [0; 64];
//! let mac = MacAddr([2, 0, 0, 0, 0, 1]);
//! let (ours, wanted) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
//! assert_eq!(preset::arp_request(&mut buffer, mac, ours, wanted)?, 42);
//! # Ok::<(), netmem_wire::Error>(())
//! ```

use core::net::{Ipv4Addr, Ipv6Addr};
use core::ops::Range;

use super::Composer;
use crate::{Error, Icmpv4Repr, Icmpv6Repr, Layer, MacAddr};

mod arp;
mod icmp_error;
mod neighbor;
mod tcp;

pub use arp::{arp_announcement, arp_probe, arp_reply, arp_reply_in_place, arp_request};
pub use icmp_error::{
    NotSent, Rule, check_icmpv4_error, check_icmpv6_error, icmpv4_error, icmpv6_error,
};
pub use neighbor::{Neighbor, multicast_mac, neighbor_advertisement, neighbor_solicitation};
pub use tcp::{tcp_reset, tcp_syn, tcp_syn_ack};

/// Who sends a frame, and to whom; `A` is [`Ipv4Addr`] or [`Ipv6Addr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Addresses<A> {
    /// The sender's Ethernet address.
    pub source_mac: MacAddr,
    /// Ethernet address of the receiver, or of the next hop to it.
    pub destination_mac: MacAddr,
    /// The sender's IP address.
    pub source: A,
    /// The receiver's IP address.
    pub destination: A,
}

impl<A> Addresses<A> {
    /// Exchanges source and destination: the way back.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self {
            source_mac: self.destination_mac,
            destination_mac: self.source_mac,
            source: self.destination,
            destination: self.source,
        }
    }
}

/// The addresses that frames go between: [`Ipv4Addr`] and [`Ipv6Addr`].
pub trait Address: Copy + sealed::Sealed {
    /// Bytes of the IP header that a preset writes.
    #[doc(hidden)]
    const HEADER_LEN_BYTES: usize;

    /// Writes the IP header.
    #[doc(hidden)]
    fn network(composer: &mut Composer<'_>, between: &Addresses<Self>) -> Result<(), Error>;

    /// Writes the header of an echo message.
    #[doc(hidden)]
    fn echo(composer: &mut Composer<'_>, echo: Echo) -> Result<(), Error>;
}

mod sealed {
    #[allow(unnameable_types, reason = "that nobody else can name it is what it is for")]
    pub trait Sealed {}
    impl Sealed for core::net::Ipv4Addr {}
    impl Sealed for core::net::Ipv6Addr {}
}

impl Address for Ipv4Addr {
    const HEADER_LEN_BYTES: usize = crate::ipv4::HEADER_LEN_BYTES;

    fn network(composer: &mut Composer<'_>, between: &Addresses<Self>) -> Result<(), Error> {
        composer.ipv4(between.source, between.destination)?;
        Ok(())
    }

    fn echo(composer: &mut Composer<'_>, echo: Echo) -> Result<(), Error> {
        composer.icmpv4(&match echo {
            Echo::Request { identifier, sequence } => {
                Icmpv4Repr::echo_request(identifier, sequence)
            }
            Echo::Reply { identifier, sequence } => Icmpv4Repr::echo_reply(identifier, sequence),
        })?;
        Ok(())
    }
}

impl Address for Ipv6Addr {
    const HEADER_LEN_BYTES: usize = crate::ipv6::HEADER_LEN_BYTES;

    fn network(composer: &mut Composer<'_>, between: &Addresses<Self>) -> Result<(), Error> {
        composer.ipv6(between.source, between.destination)?;
        Ok(())
    }

    fn echo(composer: &mut Composer<'_>, echo: Echo) -> Result<(), Error> {
        composer.icmpv6(&match echo {
            Echo::Request { identifier, sequence } => {
                Icmpv6Repr::EchoRequest { identifier, sequence }
            }
            Echo::Reply { identifier, sequence } => Icmpv6Repr::EchoReply { identifier, sequence },
        })?;
        Ok(())
    }
}

/// An echo message of either ICMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Echo {
    /// Asks for a reply.
    Request {
        /// Tells the requests of several senders apart.
        identifier: u16,
        /// Tells the requests of one sender apart.
        sequence: u16,
    },
    /// Answers a request: with its numbers and its payload.
    Reply {
        /// The request's.
        identifier: u16,
        /// The request's.
        sequence: u16,
    },
}

/// Writes an ICMP echo message in front of its payload.
///
/// # Errors
/// [`Error::Short`] if the headroom is too small; [`Error::Field`] if the payload is too long;
/// [`Error::Text`] if it is not inside the buffer.
pub fn echo<A: Address>(
    buffer: &mut [u8],
    payload: Range<usize>,
    between: &Addresses<A>,
    echo: Echo,
) -> Result<Range<usize>, Error> {
    let mut composer = Composer::new(buffer, payload)?;
    A::echo(&mut composer, echo)?;
    lower(&mut composer, between)
}

/// Writes the headers of a UDP datagram in front of its payload.
///
/// # Errors
/// Those of [`echo`].
pub fn udp<A: Address>(
    buffer: &mut [u8],
    payload: Range<usize>,
    between: &Addresses<A>,
    source_port: u16,
    destination_port: u16,
) -> Result<Range<usize>, Error> {
    let mut composer = Composer::new(buffer, payload)?;
    composer.udp(source_port, destination_port)?;
    lower(&mut composer, between)
}

/// Writes the IP and the Ethernet header.
fn lower<A: Address>(
    composer: &mut Composer<'_>,
    between: &Addresses<A>,
) -> Result<Range<usize>, Error> {
    A::network(composer, between)?;
    composer.ethernet(between.destination_mac, between.source_mac)?;
    Ok(composer.range())
}

/// Begins a frame of `len_bytes` without payload at the start of `buffer`.
fn at_front(buffer: &mut [u8], len_bytes: usize) -> Result<Composer<'_>, Error> {
    Error::check_header(Layer::Ethernet, len_bytes, buffer.len())?;
    Composer::new(buffer, len_bytes..len_bytes)
}
