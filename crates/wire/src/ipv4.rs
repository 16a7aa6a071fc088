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

use core::net::Ipv4Addr;

use crate::{Error, Layer, be16, bytes, checksum, set_be16};

/// Bytes of a header without options.
pub const HEADER_LEN_BYTES: usize = 20;

/// The protocol numbers that this crate knows.
pub mod protocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// IGMP.
    pub const IGMP: u8 = 2;
    /// IPv4 in IP.
    pub const IPIP: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 in IP.
    pub const IPV6: u8 = 41;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// GRE.
    pub const GRE: u8 = 47;
    /// Authentication header.
    pub const AH: u8 = 51;
    /// `ICMPv6`.
    pub const ICMPV6: u8 = 58;
    /// Nothing follows an IPv6 header.
    pub const NO_NEXT_HEADER: u8 = 59;
    /// IPv6 destination options.
    pub const DESTINATION_OPTIONS: u8 = 60;
    /// SCTP.
    pub const SCTP: u8 = 132;
    /// IPv6 mobility header.
    pub const MOBILITY: u8 = 135;
    /// UDP-Lite.
    pub const UDP_LITE: u8 = 136;
    /// Host identity protocol.
    pub const HIP: u8 = 139;
    /// Shim6.
    pub const SHIM6: u8 = 140;
    /// Ethernet in IPv6 (RFC 8986).
    pub const ETHERNET: u8 = 143;
}

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
    /// Protocol of the payload; see [`protocol`].
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
        Error::check_field(LAYER, 6, "reserved flag", view.header()[6] & 0x80 == 0)?;
        let payload_len_bytes = view.total_len_bytes().checked_sub(20).ok_or(Error::Field {
            layer: LAYER,
            offset_bytes: 2,
            field: "total length",
        })?;
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
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// A header whose checksum is known: 0xb861.
    const KNOWN: [u8; 20] = [
        0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00,
        0x01, 0xc0, 0xa8, 0x00, 0xc7,
    ];

    fn known() -> [u8; 0x73] {
        let mut packet = [7; 0x73];
        packet[..20].copy_from_slice(&KNOWN);
        packet
    }

    #[test]
    fn a_header_by_hand() {
        let mut packet = known();
        let mut view = Ipv4::new_checked(packet.as_mut_slice()).unwrap();
        assert!(view.verify_checksum());
        view.fill_checksum();
        assert_eq!((view.checksum(), view.version(), view.header_len_bytes()), (0xb861, 4, 20));
        assert_eq!((view.ttl(), view.protocol()), (64, protocol::UDP));
        assert!(view.dont_fragment() && !view.more_fragments());
        assert_eq!(view.source(), Ipv4Addr::new(192, 168, 0, 1));
        assert_eq!(view.destination(), Ipv4Addr::new(192, 168, 0, 199));
        assert!(view.options().is_empty());
        assert_eq!(view.payload(), [7; 0x73 - 20]);
    }

    #[test]
    fn padding_is_not_payload_and_options_are_not_either() {
        let mut packet = [0xee; 60];
        packet[..20].copy_from_slice(&KNOWN);
        packet[0] = 0x46;
        packet[3] = 30;
        let mut view = Ipv4::new_checked(packet.as_mut_slice()).unwrap();
        view.options_mut().copy_from_slice(&[1, 1, 1, 0]);
        view.payload_mut().fill(5);
        assert_eq!((view.options(), view.payload()), ([1, 1, 1, 0].as_slice(), [5; 6].as_slice()));
        view.fill_checksum();
        assert!(view.verify_checksum());
        view.options_mut()[0] = 0;
        assert!(!view.verify_checksum());
        assert_eq!(packet[30..], [0xee; 30]);
    }

    #[test]
    fn each_check_has_its_own_error() {
        let layer = Layer::Ipv4;
        let check = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut packet = known().to_vec();
            change(&mut packet);
            Ipv4::new_checked(packet).unwrap_err()
        };
        let field = |offset_bytes, field| Error::Field { layer, offset_bytes, field };
        let short = |offset_bytes, needed_bytes, available_bytes| Error::Short {
            layer,
            offset_bytes,
            needed_bytes,
            available_bytes,
        };
        assert_eq!(check(&|p| p.truncate(19)), short(0, 20, 19));
        assert_eq!(check(&|p| p[0] = 0x65), field(0, "version"));
        assert_eq!(check(&|p| p[0] = 0x44), field(0, "header length"));
        assert_eq!(check(&|p| (p[0] = 0x46, p.truncate(23)).1), short(20, 4, 3));
        assert_eq!(check(&|p| p[3] = 19), field(2, "total length"));
        assert_eq!(check(&|p| (p[0] = 0x4f, p[3] = 59).1), field(2, "total length"));
        assert_eq!(
            check(&|p| p.truncate(0x72)),
            Error::Truncated { layer, offset_bytes: 2, needed_bytes: 0x73, available_bytes: 0x72 }
        );
    }

    #[test]
    fn a_voided_check_cuts_and_does_not_panic() {
        for (header_len_bytes, total_len_bytes) in [(0, 0), (60, 0), (60, 0xffff), (20, 0xffff)] {
            let mut packet = known();
            let mut view = Ipv4::new_checked(&mut packet[..]).unwrap();
            view.set_header_len_bytes(header_len_bytes);
            view.set_total_len_bytes(total_len_bytes);
            view.payload_mut().fill(1);
            view.options_mut().fill(1);
            view.fill_checksum();
            assert!(view.verify_checksum());
            assert!(view.payload().len() + view.options().len() <= 0x73);
        }
        let mut small = KNOWN;
        small[3] = 20;
        let mut view = Ipv4::new_checked(&mut small[..]).unwrap();
        view.set_header_len_bytes(60);
        view.fill_checksum();
        assert!(view.options().is_empty() && view.payload_mut().is_empty());
    }

    #[test]
    fn what_is_not_representable_is_refused() {
        let refused = |change: &dyn Fn(&mut Ipv4<&mut [u8]>)| {
            let mut packet = known();
            let mut view = Ipv4::new_checked(packet.as_mut_slice()).unwrap();
            change(&mut view);
            match Ipv4Repr::parse(&view) {
                Err(Error::Field { field, .. }) => field,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(refused(&|v| v.set_ttl(1)), "checksum");
        assert_eq!(refused(&|v| (v.set_header_len_bytes(24), v.fill_checksum()).1), "options");
        assert_eq!(refused(&|v| (v.header_mut()[6] |= 0x80, v.fill_checksum()).1), "reserved flag");
        let good = Ipv4Repr::parse(&Ipv4::new_checked(known()).unwrap()).unwrap();
        let mut room = [0; 0x73];
        assert!(good.emit(&mut room).is_ok());
        assert!(matches!(good.emit(&mut room[..0x72]), Err(Error::Truncated { .. })));
        assert!(matches!(good.emit(&mut room[..19]), Err(Error::Short { .. })));
        for bad in [
            Ipv4Repr { dscp: 64, ..good },
            Ipv4Repr { ecn: 4, ..good },
            Ipv4Repr { fragment_offset_bytes: 4, ..good },
            Ipv4Repr { payload_len_bytes: 65516, ..good },
        ] {
            assert!(matches!(bad.emit(&mut room), Err(Error::Field { .. })));
        }
    }

    /// Every field as a number, in the order of [`set`].
    fn snapshot(view: &Ipv4<&mut [u8]>) -> [u64; 14] {
        [
            view.version().into(),
            view.header_len_bytes() as u64,
            view.dscp().into(),
            view.ecn().into(),
            view.total_len_bytes().into(),
            view.identification().into(),
            view.dont_fragment().into(),
            view.more_fragments().into(),
            view.fragment_offset_bytes().into(),
            view.ttl().into(),
            view.protocol().into(),
            view.checksum().into(),
            view.source().to_bits().into(),
            view.destination().to_bits().into(),
        ]
    }

    /// Sets field `i` from the low bits of `value` and returns what must be read back.
    fn set(view: &mut Ipv4<&mut [u8]>, i: usize, value: u32) -> u64 {
        let [byte, ..] = value.to_le_bytes();
        let word = u16::try_from(value & 0xffff).unwrap();
        let (byte_read, word_read) = (u64::from(byte), u64::from(word));
        match i {
            0 => (view.set_version(byte), byte_read % 16).1,
            1 => (view.set_header_len_bytes(byte.into()), (byte_read / 4 * 4).min(60)).1,
            2 => (view.set_dscp(byte), byte_read % 64).1,
            3 => (view.set_ecn(byte), byte_read % 4).1,
            4 => (view.set_total_len_bytes(word), word_read).1,
            5 => (view.set_identification(word), word_read).1,
            6 => (view.set_dont_fragment(byte % 2 == 1), byte_read % 2).1,
            7 => (view.set_more_fragments(byte % 2 == 1), byte_read % 2).1,
            8 => (view.set_fragment_offset_bytes(word), word_read / 8 * 8).1,
            9 => (view.set_ttl(byte), byte_read).1,
            10 => (view.set_protocol(byte), byte_read).1,
            11 => (view.set_checksum(word), word_read).1,
            12 => (view.set_source(value.into()), value.into()).1,
            _ => (view.set_destination(value.into()), value.into()).1,
        }
    }

    proptest! {
        // Planted and caught: flags that can only be set; set_dscp clears ecn; the offset clears
        // the flags; the last fragment taken for a whole packet.
        #[test]
        fn a_setter_changes_its_field_only(
            header: [u8; 20], ones: bool, changes in vec((0_usize..14, any::<u32>()), 1..20),
        ) {
            let mut packet = [0xff; 60];
            if !ones {
                packet[..20].copy_from_slice(&header);
            }
            packet[..4].copy_from_slice(&[0x45, header[1], 0, 60]);
            let mut view = Ipv4::new_checked(packet.as_mut_slice()).unwrap();
            let reserved = view.header()[6] & 0x80;
            for (i, value) in changes {
                let mut expected = snapshot(&view);
                expected[i] = set(&mut view, i, value);
                prop_assert_eq!(snapshot(&view), expected);
                prop_assert_eq!(view.header()[6] & 0x80, reserved);
                let is_part = view.more_fragments() || view.fragment_offset_bytes() != 0;
                prop_assert_eq!(view.is_fragment(), is_part);
            }
            prop_assert_eq!(&packet[20..], &[0xff; 40]);
        }

        // Planted and caught: emit leaves out more_fragments; the offset clears the flags; a fold
        // without end-around carry.
        #[test]
        fn emit_undoes_parse(
            header: [u8; 20], payload in vec(any::<u8>(), 0..40), padding in 0_usize..9,
        ) {
            let mut packet = header.to_vec();
            packet.extend(&payload);
            let total_len_bytes = u8::try_from(packet.len()).unwrap();
            packet.resize(packet.len() + padding, 0xee);
            packet[0] = 0x45;
            packet[2..4].copy_from_slice(&[0, total_len_bytes]);
            packet[6] &= 0x7f;
            Ipv4::new_checked(packet.as_mut_slice()).unwrap().fill_checksum();
            let repr = Ipv4Repr::parse(&Ipv4::new_checked(&packet).unwrap()).unwrap();
            let mut copy = packet.clone();
            copy[..20].fill(0xa5);
            let view = repr.emit(&mut copy).unwrap();
            prop_assert!(Ipv4::new_checked(view.into_inner()).is_ok());
            prop_assert_eq!(copy, packet);
        }
    }
}
