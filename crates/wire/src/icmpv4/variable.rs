//! The part of an `ICMPv4` message that depends on its type.

use core::net::Ipv4Addr;

use super::{HEADER_LEN_BYTES, Icmpv4, icmp_type};
use crate::{Error, Layer, be16, bytes, set_be16};

/// The times of a timestamp message (RFC 792), in milliseconds since midnight UTC; with the upper
/// bit set in another unit or from another clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Times {
    /// When the request was sent.
    pub originate: u32,
    /// When it was received.
    pub receive: u32,
    /// When the reply was sent.
    pub transmit: u32,
}

/// A router advertisement (RFC 1256 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterAdvertisement<'a> {
    /// How long the addresses hold, in seconds.
    pub lifetime_s: u16,
    entry_len_bytes: usize,
    entries: &'a [u8],
}

impl<'a> RouterAdvertisement<'a> {
    /// Reads each router's address and how much it is preferred: more is better.
    pub fn routers(&self) -> impl Iterator<Item = (Ipv4Addr, i32)> + 'a {
        self.entries.chunks_exact(self.entry_len_bytes).map(|entry| {
            (Ipv4Addr::from(bytes::<4>(entry, 0)), i32::from_be_bytes(bytes(entry, 4)))
        })
    }
}

impl<T: AsRef<[u8]>> Icmpv4<T> {
    /// Reads the gateway of a redirect.
    #[inline]
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(bytes::<4>(self.header(), 4))
    }

    /// Reads the pointer of a parameter problem: the byte of the quoted packet that is wrong.
    #[inline]
    pub fn pointer(&self) -> u8 {
        self.header()[4]
    }

    /// Reads the length of the quoted packet in words of 32 bits (RFC 4884); 0 if there is none.
    #[inline]
    pub fn quoted_len_words(&self) -> u8 {
        self.header()[5]
    }

    /// Reads the next hop's MTU of a destination unreachable message with code 4 (RFC 1191); 0
    /// from routers that do not say it.
    #[inline]
    pub fn next_hop_mtu(&self) -> u16 {
        be16(self.header(), 6)
    }

    /// Reads the times of a timestamp message, whose identifier and sequence are those of echo
    /// messages; `None` if they are not all there.
    #[inline]
    pub fn times(&self) -> Option<Times> {
        let times = self.payload().first_chunk::<12>()?;
        let time = |at_bytes| u32::from_be_bytes(bytes(times, at_bytes));
        Some(Times { originate: time(0), receive: time(4), transmit: time(8) })
    }

    /// Reads the mask of an address mask message, whose identifier and sequence are those of echo
    /// messages; `None` if it is not there.
    #[inline]
    pub fn address_mask(&self) -> Option<Ipv4Addr> {
        self.payload().first_chunk::<4>().copied().map(Ipv4Addr::from)
    }

    /// Reads a router advertisement; `None` for other types, for entries below 8 bytes, and if
    /// they are not all there.
    pub fn router_advertisement(&self) -> Option<RouterAdvertisement<'_>> {
        if self.icmp_type() != icmp_type::ROUTER_ADVERTISEMENT {
            return None;
        }
        let [count, words] = [4, 5].map(|at| usize::from(self.header()[at]));
        let entry_len_bytes = words * 4;
        let entries = self.payload().get(..count * entry_len_bytes)?;
        (words >= 2).then_some(RouterAdvertisement {
            lifetime_s: be16(self.header(), 6),
            entry_len_bytes,
            entries,
        })
    }

    /// Lends the packet that an error message quotes: its IP header and what there is of its
    /// payload, cut to the message. `None` for other messages.
    pub fn quoted(&self) -> Option<&[u8]> {
        let is_error = self.may_have_len()
            || matches!(self.icmp_type(), icmp_type::SOURCE_QUENCH | icmp_type::REDIRECT);
        is_error.then(|| self.split_quoted().0)
    }

    /// Lends the extension structure (RFC 4884 section 7) behind the quoted packet of an error
    /// message that gives its length; `None` for other messages.
    pub fn extension_structure(&self) -> Option<&[u8]> {
        let has_len = self.may_have_len() && self.quoted_len_words() != 0;
        has_len.then(|| self.split_quoted().1)
    }

    /// Tells whether the type has a length of the quoted packet: RFC 4884 section 4.
    fn may_have_len(&self) -> bool {
        matches!(
            self.icmp_type(),
            icmp_type::DESTINATION_UNREACHABLE
                | icmp_type::TIME_EXCEEDED
                | icmp_type::PARAMETER_PROBLEM
        )
    }

    fn split_quoted(&self) -> (&[u8], &[u8]) {
        let payload = self.payload();
        let len_bytes = match self.quoted_len_words() {
            words @ 1.. if self.may_have_len() => usize::from(words) * 4,
            _ => payload.len(),
        };
        payload.split_at(len_bytes.min(payload.len()))
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Icmpv4<T> {
    /// Writes the gateway of a redirect; the checksum stays as it was.
    #[inline]
    pub fn set_gateway(&mut self, gateway: Ipv4Addr) {
        self.header_mut()[4..].copy_from_slice(&gateway.octets());
    }

    /// Writes the pointer of a parameter problem; the checksum stays as it was.
    #[inline]
    pub fn set_pointer(&mut self, pointer: u8) {
        self.header_mut()[4] = pointer;
    }

    /// Writes the length of the quoted packet in words of 32 bits, or 0 for none; the checksum
    /// stays as it was.
    #[inline]
    pub fn set_quoted_len_words(&mut self, words: u8) {
        self.header_mut()[5] = words;
    }

    /// Writes the next hop's MTU; the checksum stays as it was.
    #[inline]
    pub fn set_next_hop_mtu(&mut self, mtu: u16) {
        set_be16(self.header_mut(), 6, mtu);
    }

    /// Writes the times of a timestamp message; the checksum stays as it was.
    ///
    /// # Errors
    /// [`Error::Short`] if the message has no room for them.
    pub fn set_times(&mut self, times: Times) -> Result<(), Error> {
        let room = self.room(12)?;
        room[..4].copy_from_slice(&times.originate.to_be_bytes());
        room[4..8].copy_from_slice(&times.receive.to_be_bytes());
        room[8..].copy_from_slice(&times.transmit.to_be_bytes());
        Ok(())
    }

    /// Writes the fixed fields of a router advertisement (RFC 1256 section 3.1): how many routers it
    /// lists, the length of each entry in units of 4 bytes, and for how many seconds they count. The
    /// entries are the payload.
    #[inline]
    pub fn set_router_advertisement(&mut self, count: u8, entry_len_words: u8, lifetime_s: u16) {
        let header = self.header_mut();
        (header[4], header[5]) = (count, entry_len_words);
        set_be16(header, 6, lifetime_s);
    }

    /// Writes the mask of an address mask message; the checksum stays as it was.
    ///
    /// # Errors
    /// [`Error::Short`] if the message has no room for it.
    pub fn set_address_mask(&mut self, mask: Ipv4Addr) -> Result<(), Error> {
        self.room(4)?.copy_from_slice(&mask.octets());
        Ok(())
    }

    /// The first bytes behind the header.
    fn room(&mut self, len_bytes: usize) -> Result<&mut [u8], Error> {
        let message = self.buffer.as_mut();
        Error::check_header(Layer::Icmpv4, HEADER_LEN_BYTES + len_bytes, message.len())?;
        Ok(&mut message[HEADER_LEN_BYTES..HEADER_LEN_BYTES + len_bytes])
    }
}
