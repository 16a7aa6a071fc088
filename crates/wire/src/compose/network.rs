//! IPv4, IPv6 and its extension headers.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::{Composer, Kind, Transport};
use crate::checksum::{Sum, pseudo_header, pseudo_header_v6};
use crate::ethernet::ether_type;
use crate::icmpv6::{icmp_type, ndp};
use crate::ipv4::{self, Ipv4Option, Ipv4Repr, protocol};
use crate::ipv6::extension::{FRAGMENT_LEN_BYTES, FragmentRepr};
use crate::ipv6::{self, Ipv6Repr};
use crate::{Error, Layer};

/// Hops of a packet that nothing else is said of (RFC 1700, page 64; the kernel's default).
const HOPS: u8 = 64;
const EXTENSION: Layer = Layer::Ipv6Extension;
/// Length of the longest extension header: 256 units of 8 bytes.
const MAX_EXTENSION_LEN_BYTES: usize = 2048;

/// An IPv4 header with the usual values: 64 hops, not to be fragmented (so that the identification
/// may be 0, RFC 6864 section 4.1), everything else zero.
#[must_use]
pub const fn ipv4_between(source: Ipv4Addr, destination: Ipv4Addr) -> Ipv4Repr {
    Ipv4Repr {
        dscp: 0,
        ecn: 0,
        identification: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset_bytes: 0,
        ttl: HOPS,
        protocol: 0,
        source,
        destination,
        payload_len_bytes: 0,
    }
}

/// An IPv6 header with the usual values: 64 hops, everything else zero.
#[must_use]
pub const fn ipv6_between(source: Ipv6Addr, destination: Ipv6Addr) -> Ipv6Repr {
    Ipv6Repr {
        dscp: 0,
        ecn: 0,
        flow_label: 0,
        next_header: 0,
        hop_limit: HOPS,
        source,
        destination,
        payload_len_bytes: 0,
    }
}

impl Composer<'_> {
    /// Writes an IPv4 header with the values of [`ipv4_between`] and finishes the checksum of the
    /// transport header.
    ///
    /// # Errors
    /// Those of [`ipv4_with`](Self::ipv4_with).
    pub fn ipv4(&mut self, source: Ipv4Addr, destination: Ipv4Addr) -> Result<&mut Self, Error> {
        self.ipv4_with(&ipv4_between(source, destination), &[])
    }

    /// Writes an IPv4 header with options and finishes the checksum of the transport header. The
    /// protocol and the payload length in `repr` are not looked at.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] for values and options out of range, more than 65535
    /// bytes, a payload that IPv4 does not carry, and a fragment with a transport header of this
    /// composer, whose checksum and length would be the fragment's: begin such a one with
    /// [`with_kind`](Self::with_kind).
    pub fn ipv4_with(
        &mut self,
        repr: &Ipv4Repr,
        options: &[Ipv4Option<'_>],
    ) -> Result<&mut Self, Error> {
        const LAYER: Layer = Layer::Ipv4;
        let protocol = self.protocol(LAYER, 9)?;
        let is_v6_only =
            matches!(
                protocol,
                protocol::HOP_BY_HOP | protocol::IPV6_FRAGMENT | protocol::IPV6_OPTIONS
            ) || matches!(self.transport, Transport::Awaiting { protocol: protocol::ICMPV6, .. });
        Error::check_field(LAYER, 9, "protocol", !is_v6_only)?;
        let is_fragment = repr.more_fragments || repr.fragment_offset_bytes != 0;
        let may_be_fragment = self.transport == Transport::None;
        Error::check_field(LAYER, 6, "fragment", may_be_fragment || !is_fragment)?;
        let payload_len_bytes = self.len_u16(LAYER, 2, "total length")?;
        let repr = Ipv4Repr { protocol, payload_len_bytes, ..*repr };
        let options_len_bytes =
            options.iter().fold(0_usize, |sum, option| sum.saturating_add(option.len_bytes()));
        // Too many bytes are for emit to refuse.
        let len_bytes = ipv4::HEADER_LEN_BYTES + options_len_bytes.min(40).next_multiple_of(4);
        let room = self.room(LAYER, len_bytes)?;
        repr.emit_with_options(options, room)?;
        self.finish_transport(|protocol, len_bytes| {
            // The payload length was checked: what is shorter has no more than 16 bits either.
            let len_bytes = u16::try_from(len_bytes).unwrap_or(u16::MAX);
            pseudo_header(repr.source, repr.destination, protocol, len_bytes)
        });
        // A header with its right checksum adds up to -0.
        self.summed = match self.summed {
            Some((at, sum)) if at == self.start => {
                Some((at - len_bytes, Sum::of(&[0xff; 2]).combine(sum)))
            }
            other => other,
        };
        self.advance(len_bytes, Kind::EtherType(ether_type::IPV4));
        Ok(self)
    }

    /// Writes an IPv6 header with the values of [`ipv6_between`] and finishes the checksum of the
    /// transport header. Neighbor discovery gets its hop limit of 255.
    ///
    /// # Errors
    /// Those of [`ipv6_with`](Self::ipv6_with).
    pub fn ipv6(&mut self, source: Ipv6Addr, destination: Ipv6Addr) -> Result<&mut Self, Error> {
        let usual = ipv6_between(source, destination);
        let hop_limit = if self.is_ndp() { ndp::HOP_LIMIT } else { usual.hop_limit };
        self.ipv6_with(&Ipv6Repr { hop_limit, ..usual })
    }

    /// Writes an IPv6 header and finishes the checksum of the transport header. The next header and
    /// the payload length in `repr` are not looked at.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] for values out of range, more than 65535 bytes behind the
    /// header, a payload that IPv6 does not carry, and UDP without checksum.
    pub fn ipv6_with(&mut self, repr: &Ipv6Repr) -> Result<&mut Self, Error> {
        const LAYER: Layer = Layer::Ipv6;
        let next_header = self.protocol(LAYER, 6)?;
        let has_checksum = self.transport != Transport::WithoutChecksum;
        Error::check_field(Layer::Udp, 6, "checksum", has_checksum)?;
        let payload_len_bytes = self.len_u16(LAYER, 4, "payload length")?;
        let repr = Ipv6Repr { next_header, payload_len_bytes, ..*repr };
        repr.emit(self.room(LAYER, ipv6::HEADER_LEN_BYTES)?)?;
        self.finish_transport(|protocol, len_bytes| {
            let len_bytes = u32::try_from(len_bytes).unwrap_or(u32::MAX);
            pseudo_header_v6(repr.source, repr.destination, protocol, len_bytes)
        });
        self.advance(ipv6::HEADER_LEN_BYTES, Kind::EtherType(ether_type::IPV6));
        Ok(self)
    }

    /// Writes a hop-by-hop options header: `options` with type and length bytes each, padded here
    /// to a multiple of 8 (RFC 8200 section 4.2). It stands directly behind the IPv6 header.
    ///
    /// # Errors
    /// Those of [`destination_options`](Self::destination_options).
    pub fn hop_by_hop_options(&mut self, options: &[u8]) -> Result<&mut Self, Error> {
        self.options(protocol::HOP_BY_HOP, options)
    }

    /// Writes a destination options header: `options` with type and length bytes each, padded here
    /// to a multiple of 8 (RFC 8200 section 4.2).
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] for options longer than 2046 bytes, and for what is
    /// behind: a hop-by-hop options header, or what IPv6 does not carry.
    pub fn destination_options(&mut self, options: &[u8]) -> Result<&mut Self, Error> {
        self.options(protocol::IPV6_OPTIONS, options)
    }

    /// Writes a fragment header. The next header in `repr` is not looked at.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] for an offset that is no multiple of 8, for a transport
    /// header of this composer in a fragment (see [`ipv4_with`](Self::ipv4_with)) unless the
    /// fragment is all of its packet, and for what is behind as above.
    pub fn ipv6_fragment(&mut self, repr: &FragmentRepr) -> Result<&mut Self, Error> {
        let next_header = self.next_header()?;
        let is_fragment = repr.more_fragments || repr.fragment_offset_bytes != 0;
        let may_be_fragment = self.transport == Transport::None;
        Error::check_field(EXTENSION, 2, "fragment", may_be_fragment || !is_fragment)?;
        let repr = FragmentRepr { next_header, ..*repr };
        repr.emit(self.room(EXTENSION, FRAGMENT_LEN_BYTES)?)?;
        self.advance(FRAGMENT_LEN_BYTES, Kind::Protocol(protocol::IPV6_FRAGMENT));
        Ok(self)
    }

    fn options(&mut self, kind: u8, options: &[u8]) -> Result<&mut Self, Error> {
        let next_header = self.next_header()?;
        let unpadded = options.len().saturating_add(2);
        let fits = unpadded <= MAX_EXTENSION_LEN_BYTES;
        Error::check_field(EXTENSION, 1, "options length", fits)?;
        let len_bytes = unpadded.next_multiple_of(8);
        let units = u8::try_from(len_bytes / 8 - 1).expect("at most 256 units");
        let header = &mut self.room(EXTENSION, len_bytes)?[..len_bytes];
        (header[0], header[1]) = (next_header, units);
        header[2..unpadded].copy_from_slice(options);
        // Pad1 is one zero; PadN is 1, the length of its data, and that many zeros.
        let padding = &mut header[unpadded..];
        padding.fill(0);
        if let [first, second, rest @ ..] = padding {
            *first = 1;
            *second = u8::try_from(rest.len()).expect("at most 5 bytes");
        }
        self.advance(len_bytes, Kind::Protocol(kind));
        Ok(self)
    }

    /// Tells what the next header field of an extension header says.
    fn next_header(&self) -> Result<u8, Error> {
        let next_header = self.protocol(EXTENSION, 0)?;
        let is_allowed = next_header != protocol::HOP_BY_HOP;
        Error::check_field(EXTENSION, 0, "next header", is_allowed)?;
        Ok(next_header)
    }

    /// Tells what the protocol field of an IP header says.
    fn protocol(&self, layer: Layer, offset_bytes: usize) -> Result<u8, Error> {
        match self.kind {
            Kind::Protocol(protocol) => Ok(protocol),
            Kind::EtherType(ether_type::IPV4) => Ok(protocol::IPV4),
            Kind::EtherType(ether_type::IPV6) => Ok(protocol::IPV6),
            Kind::Frame => Ok(protocol::ETHERNET),
            _ => Err(Error::Field { layer, offset_bytes, field: "protocol" }),
        }
    }

    /// Tells whether the transport header is a neighbor discovery message.
    fn is_ndp(&self) -> bool {
        match self.transport {
            Transport::Awaiting { header_at, protocol: protocol::ICMPV6, .. } => {
                let types = icmp_type::ROUTER_SOLICITATION..=icmp_type::REDIRECT;
                types.contains(&self.buffer[header_at])
            }
            _ => false,
        }
    }

    /// Tells the packet's length if a length field of 16 bits can.
    pub(super) fn len_u16(
        &self,
        layer: Layer,
        offset_bytes: usize,
        field: &'static str,
    ) -> Result<u16, Error> {
        u16::try_from(self.len_bytes()).map_err(|_| Error::Field { layer, offset_bytes, field })
    }

    /// Finishes a checksum that waits for its pseudo header.
    fn finish_transport(&mut self, pseudo_header: impl FnOnce(u8, usize) -> Sum) {
        let transport = core::mem::replace(&mut self.transport, Transport::None);
        let Transport::Awaiting { header_at, checksum_at, protocol } = transport else { return };
        // Summed when it was written; extension headers in front do not belong to it.
        let (_, message) = self.summed.expect("a waiting checksum has its sum");
        let checksum = match message.combine(pseudo_header(protocol, self.end - header_at)).finish()
        {
            // 0 says that there is none (RFC 768).
            0 if protocol == protocol::UDP => 0xffff,
            checksum => checksum,
        };
        self.fill(checksum_at, checksum);
    }
}
