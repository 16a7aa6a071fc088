//! UDP over IPv4 (RFC 768): 8 bytes.
//!
//! ```text
//!  0             2                  4        6          8
//!  | source port | destination port | length | checksum | payload
//! ```
//!
//! The checksum covers a pseudo header (addresses, protocol, length), header and payload. 0x0000
//! means that the sender computed none; a computed 0x0000 is sent as 0xffff. On veth the kernel
//! leaves checksums unfilled until the sender's tx offloads are off.

use core::net::Ipv4Addr;

use crate::checksum::{self, Sum};
use crate::ipv4::protocol;
use crate::{Error, Layer, be16, set_be16};

/// Bytes of a header.
pub const HEADER_LEN_BYTES: usize = 8;

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

    /// Reads the length of header and payload together.
    #[inline]
    pub fn len_bytes(&self) -> u16 {
        be16(self.header(), 4)
    }

    /// Reads the checksum as it stands; 0 means that there is none.
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

    /// Gives the buffer back.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    fn sum(&self, source: Ipv4Addr, destination: Ipv4Addr) -> Sum {
        checksum::pseudo_header(source, destination, protocol::UDP, self.len_bytes())
            .combine(Sum::of(self.datagram()))
    }

    /// What the length covers, cut to the buffer if the check was voided.
    fn datagram(&self) -> &[u8] {
        let data = self.buffer.as_ref();
        &data[..data.len().min(self.len_bytes().into())]
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
    /// is cut to what the buffer has.
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
        let bad_len = Error::Field { layer: Layer::Udp, offset_bytes: 4, field: "length" };
        Ok(Self {
            source_port: view.source_port(),
            destination_port: view.destination_port(),
            payload_len_bytes: view.len_bytes().checked_sub(8).ok_or(bad_len)?,
        })
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
        Error::check_field(Layer::Udp, 4, "length", self.payload_len_bytes <= 65527)?;
        Error::check_header(Layer::Udp, HEADER_LEN_BYTES, buffer.len())?;
        let len_bytes = self.payload_len_bytes + 8;
        Error::check_len(Layer::Udp, 4, len_bytes.into(), buffer.len())?;
        let mut view = Udp { buffer };
        view.set_len_bytes(len_bytes);
        view.set_source_port(self.source_port);
        view.set_destination_port(self.destination_port);
        view.fill_checksum(source, destination);
        Ok(view)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    #[test]
    fn a_datagram_by_hand() {
        let repr = UdpRepr { source_port: 1000, destination_port: 53, payload_len_bytes: 3 };
        let mut buffer = *b"........abc###";
        repr.emit(&mut buffer, A, B).unwrap();
        // 0a00+0001+0a00+0002+0011+000b + 03e8+0035+000b+6162+6300 = dca9, complement 2356
        assert_eq!(buffer, *b"\x03\xe8\x00\x35\x00\x0b\x23\x56abc###");
        assert_eq!(Udp::new_checked(buffer).unwrap().payload(), b"abc");
    }

    #[test]
    fn lengths_are_checked() {
        let mut buffer = [0; 12];
        assert!(matches!(Udp::new_checked(&buffer[..7]), Err(Error::Short { .. })));
        buffer[5] = 7;
        assert!(matches!(Udp::new_checked(&buffer), Err(Error::Field { field: "length", .. })));
        buffer[5] = 13;
        assert!(matches!(
            Udp::new_checked(&buffer),
            Err(Error::Truncated { needed_bytes: 13, available_bytes: 12, .. })
        ));
        let repr = UdpRepr { source_port: 1, destination_port: 2, payload_len_bytes: 4 };
        assert!(repr.emit(&mut buffer, A, B).is_ok());
        assert!(matches!(repr.emit(&mut buffer[..11], A, B), Err(Error::Truncated { .. })));
        assert!(matches!(repr.emit(&mut buffer[..7], A, B), Err(Error::Short { .. })));
        let long = UdpRepr { payload_len_bytes: 65528, ..repr };
        assert!(matches!(long.emit(&mut buffer, A, B), Err(Error::Field { .. })));
    }

    #[test]
    fn no_checksum_is_right_and_a_computed_zero_is_sent_as_ones() {
        let mut buffer = [0, 0, 0, 0, 0, 10, 0, 0, 0, 0];
        let mut view = Udp::new_checked(buffer.as_mut_slice()).unwrap();
        assert!(view.verify_checksum(A, B));
        // Choose the payload so that the sum is all ones.
        let rest = view.sum(A, B).finish();
        view.payload_mut().copy_from_slice(&rest.to_be_bytes());
        assert_eq!(view.sum(A, B).finish(), 0);
        view.fill_checksum(A, B);
        assert_eq!(view.checksum(), 0xffff);
        assert!(view.verify_checksum(A, B));
        assert!(!view.verify_checksum(A, A));
    }

    #[test]
    fn a_voided_check_cuts_and_does_not_panic() {
        for len_bytes in [0, 7, 8, 13, 0xffff] {
            let mut buffer = [0, 0, 0, 0, 0, 12, 0, 0, 1, 2, 3, 4];
            let mut view = Udp::new_checked(buffer.as_mut_slice()).unwrap();
            view.set_len_bytes(len_bytes);
            view.fill_checksum(A, B);
            let _ = (view.verify_checksum(A, B), UdpRepr::parse(&view, A, B));
            assert!(view.payload_mut().len() <= 4 && view.payload().len() <= 4);
        }
    }

    fn snapshot(view: &Udp<&mut [u8]>) -> [u16; 4] {
        [view.source_port(), view.destination_port(), view.len_bytes(), view.checksum()]
    }

    fn datagram() -> impl Strategy<Value = Vec<u8>> {
        (vec(any::<u8>(), 8..80), 0_usize..9).prop_map(|(mut bytes, padding)| {
            let len_bytes = u16::try_from(bytes.len()).unwrap();
            bytes[4..6].copy_from_slice(&len_bytes.to_be_bytes());
            bytes.resize(bytes.len() + padding, 0xee);
            bytes
        })
    }

    proptest! {
        // Planted and caught: set_destination_port writes the source port.
        #[test]
        fn a_setter_changes_its_field_only(mut bytes in datagram(), i in 0_usize..4, value: u16) {
            let after = bytes[8..].to_vec();
            let mut view = Udp::new_checked(bytes.as_mut_slice()).unwrap();
            let mut expected = snapshot(&view);
            expected[i] = value;
            match i {
                0 => view.set_source_port(value),
                1 => view.set_destination_port(value),
                2 => view.set_len_bytes(value),
                _ => view.set_checksum(value),
            }
            prop_assert_eq!(snapshot(&view), expected);
            prop_assert_eq!(&bytes[8..], after);
        }

        // Planted and caught: emit leaves out the checksum; a carry lost in the sum.
        #[test]
        fn emit_undoes_parse(mut bytes in datagram(), a: [u8; 4], b: [u8; 4]) {
            let (a, b) = (a.into(), b.into());
            Udp::new_checked(bytes.as_mut_slice()).unwrap().fill_checksum(a, b);
            let repr = UdpRepr::parse(&Udp::new_checked(&bytes).unwrap(), a, b).unwrap();
            let mut copy = bytes.clone();
            copy[..8].fill(0xa5);
            repr.emit(&mut copy, a, b).unwrap();
            prop_assert_eq!(copy, bytes);
        }

        // Planted and caught: verify looks at half of the sum; a carry lost in the sum.
        #[test]
        fn a_flipped_bit_shows(mut bytes in datagram(), flip in 0_usize..640) {
            let mut view = Udp::new_checked(bytes.as_mut_slice()).unwrap();
            view.fill_checksum(A, B);
            let len_bits = 8 * usize::from(view.len_bytes());
            let flip = flip % len_bits;
            // Another length sums other bytes: bytes 4 and 5 are left alone.
            let at = if matches!(flip / 8, 4 | 5) { 0 } else { flip / 8 };
            bytes[at] ^= 1 << (flip % 8);
            let view = Udp::new_checked(&bytes).unwrap();
            // A checksum that became 0 is an absent one.
            prop_assert!(view.checksum() == 0 || !view.verify_checksum(A, B));
        }
    }
}
