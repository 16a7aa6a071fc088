//! An IPv4 header as plain values.

use core::net::Ipv4Addr;

use super::{HEADER_LEN_BYTES, Ipv4, Options};
use crate::{Error, Layer};

/// An IPv4 header without options as plain values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ipv4Repr {
    /// Differentiated services code point, 0 to 63.
    pub dscp: u8,
    /// Explicit congestion notification, 0 to 3.
    pub ecn: u8,
    /// Number that a packet's fragments share.
    pub identification: u16,
    /// Whether routers may not fragment the packet.
    pub dont_fragment: bool,
    /// Whether fragments follow this one.
    pub more_fragments: bool,
    /// Where this fragment begins: 0 to 65528, a multiple of 8.
    pub fragment_offset_bytes: u16,
    /// How many more routers may forward the packet.
    pub ttl: u8,
    /// Protocol of the payload; see [`protocol`](super::protocol).
    pub protocol: u8,
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// Length of the payload, 0 to 65515.
    pub payload_len_bytes: u16,
}

impl Ipv4Repr {
    /// Reads all fields of a header whose checksum is right.
    ///
    /// # Errors
    /// [`Error::Field`] for a wrong checksum, and for what is not representable: options, the
    /// reserved flag.
    pub fn parse<T: AsRef<[u8]>>(view: &Ipv4<T>) -> Result<Self, Error> {
        const LAYER: Layer = Layer::Ipv4;
        Error::check_field(LAYER, 10, "checksum", view.verify_checksum())?;
        Error::check_field(LAYER, 20, "options", view.header_len_bytes() == HEADER_LEN_BYTES)?;
        Self::fields(view)
    }

    /// Reads all fields of a header whose checksum is right, and lends its options.
    ///
    /// # Errors
    /// [`Error::Field`] for a wrong checksum and for the reserved flag. The options' own errors
    /// come from their iterator.
    pub fn parse_with_options<T: AsRef<[u8]>>(
        view: &Ipv4<T>,
    ) -> Result<(Self, Options<'_>), Error> {
        Error::check_field(Layer::Ipv4, 10, "checksum", view.verify_checksum())?;
        Ok((Self::fields(view)?, view.options_iter()))
    }

    /// Writes the header, checksum included, in front of the payload that is or will be in
    /// `buffer`, and returns the view of both. Bytes beyond the payload stay as they are.
    ///
    /// # Errors
    /// [`Error::Field`] for values out of range; [`Error::Truncated`] or [`Error::Short`] if the
    /// buffer has no room for the payload or the header.
    pub fn emit<'b>(&self, buffer: &'b mut [u8]) -> Result<Ipv4<&'b mut [u8]>, Error> {
        const LAYER: Layer = Layer::Ipv4;
        Error::check_field(LAYER, 1, "dscp", self.dscp <= 63)?;
        Error::check_field(LAYER, 1, "ecn", self.ecn <= 3)?;
        Error::check_field(
            LAYER,
            6,
            "fragment offset",
            self.fragment_offset_bytes.is_multiple_of(8),
        )?;
        Error::check_field(LAYER, 2, "total length", self.payload_len_bytes <= 65515)?;
        Error::check_header(LAYER, HEADER_LEN_BYTES, buffer.len())?;
        let total_len_bytes = self.payload_len_bytes + 20;
        Error::check_len(LAYER, 2, total_len_bytes.into(), buffer.len())?;
        buffer[..HEADER_LEN_BYTES].fill(0);
        let mut view = Ipv4 { buffer };
        view.set_version(4);
        view.set_header_len_bytes(HEADER_LEN_BYTES);
        view.set_dscp(self.dscp);
        view.set_ecn(self.ecn);
        view.set_total_len_bytes(total_len_bytes);
        view.set_identification(self.identification);
        view.set_dont_fragment(self.dont_fragment);
        view.set_more_fragments(self.more_fragments);
        view.set_fragment_offset_bytes(self.fragment_offset_bytes);
        view.set_ttl(self.ttl);
        view.set_protocol(self.protocol);
        view.set_source(self.source);
        view.set_destination(self.destination);
        view.fill_checksum();
        Ok(view)
    }

    #[inline]
    fn fields<T: AsRef<[u8]>>(view: &Ipv4<T>) -> Result<Self, Error> {
        const LAYER: Layer = Layer::Ipv4;
        Error::check_field(LAYER, 6, "reserved flag", !view.reserved_flag())?;
        let bad_len = Error::Field { layer: LAYER, offset_bytes: 2, field: "total length" };
        let payload_len_bytes = u16::try_from(view.header_len_bytes())
            .ok()
            .and_then(|header_len_bytes| view.total_len_bytes().checked_sub(header_len_bytes))
            .ok_or(bad_len)?;
        Ok(Self {
            dscp: view.dscp(),
            ecn: view.ecn(),
            identification: view.identification(),
            dont_fragment: view.dont_fragment(),
            more_fragments: view.more_fragments(),
            fragment_offset_bytes: view.fragment_offset_bytes(),
            ttl: view.ttl(),
            protocol: view.protocol(),
            source: view.source(),
            destination: view.destination(),
            payload_len_bytes,
        })
    }
}
