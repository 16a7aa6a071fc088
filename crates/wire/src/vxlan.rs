//! VXLAN (RFC 7348 section 5): 8 bytes in front of an inner Ethernet frame, over UDP port 4789.
//!
//! ```text
//!  0                  1              4                    7              8
//!  | R R R R I R R R  | reserved 24  | network identifier | reserved 8   | inner frame
//! ```
//!
//! The I flag says that the network identifier (VNI) is valid; a frame without it is dropped
//! (Linux 6.12, `drivers/net/vxlan/vxlan_core.c`). The reserved bits are sent as zero and, by the RFC,
//! not looked at; the kernel drops a frame with reserved bits or flags of extensions that it was not
//! told of. Such flags (group policy, GPE) this module does not read.
//!
//! ```
//! use netmem_wire::{Vxlan, VxlanRepr};
//!
//! let mut buffer = *b"........inner";
//! VxlanRepr { network_id: 0x01_0203 }.emit(&mut buffer)?;
//! assert_eq!(&buffer, b"\x08\0\0\0\x01\x02\x03\0inner");
//!
//! let view = Vxlan::new_checked(&buffer)?;
//! assert_eq!((view.network_id(), view.payload()), (0x01_0203, &b"inner"[..]));
//! # Ok::<(), netmem_wire::Error>(())
//! ```

use crate::{Error, Layer};

/// Bytes of a header.
pub const HEADER_LEN_BYTES: usize = 8;
/// The UDP port that belongs to VXLAN.
pub const UDP_PORT: u16 = 4789;
/// The greatest network identifier.
pub const MAX_NETWORK_ID: u32 = 0x00ff_ffff;

const ID_FLAG: u8 = 0x08;

/// A view of a VXLAN header and the inner frame.
#[derive(Clone, Copy, Debug)]
pub struct Vxlan<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Vxlan<T> {
    /// Checks that the header is there and that its network identifier is valid.
    ///
    /// [`set_has_network_id`](Self::set_has_network_id) can void the check of that flag; no
    /// accessor depends on it.
    ///
    /// # Errors
    /// [`Error::Short`], and [`Error::Field`] without the I flag.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        Error::check_header(Layer::Vxlan, HEADER_LEN_BYTES, buffer.as_ref().len())?;
        let view = Self { buffer };
        Error::check_field(Layer::Vxlan, 0, "flags", view.has_network_id())?;
        Ok(view)
    }

    /// Reads all eight flags.
    #[inline]
    pub fn flags(&self) -> u8 {
        self.header()[0]
    }

    /// Tells whether the network identifier is valid (I).
    #[inline]
    pub fn has_network_id(&self) -> bool {
        self.flags() & ID_FLAG != 0
    }

    /// Reads the network identifier, 0 to [`MAX_NETWORK_ID`].
    #[inline]
    pub fn network_id(&self) -> u32 {
        let [.., a, b, c, _] = *self.header();
        u32::from_be_bytes([0, a, b, c])
    }

    /// Reads the 24 reserved bits behind the flags and the 8 behind the network identifier.
    #[inline]
    pub fn reserved(&self) -> ([u8; 3], u8) {
        let [_, a, b, c, .., d] = *self.header();
        ([a, b, c], d)
    }

    /// Lends the inner frame.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.buffer.as_ref()[HEADER_LEN_BYTES..]
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

impl<T: AsRef<[u8]> + AsMut<[u8]>> Vxlan<T> {
    /// Writes all eight flags.
    #[inline]
    pub fn set_flags(&mut self, flags: u8) {
        self.header_mut()[0] = flags;
    }

    /// Writes whether the network identifier is valid.
    #[inline]
    pub fn set_has_network_id(&mut self, has_network_id: bool) {
        let flags = self.flags() & !ID_FLAG;
        self.set_flags(if has_network_id { flags | ID_FLAG } else { flags });
    }

    /// Writes the network identifier: the low 24 bits of `network_id`.
    #[inline]
    pub fn set_network_id(&mut self, network_id: u32) {
        let [_, id @ ..] = network_id.to_be_bytes();
        self.header_mut()[4..7].copy_from_slice(&id);
    }

    /// Writes the reserved bits.
    #[inline]
    pub fn set_reserved(&mut self, (front, back): ([u8; 3], u8)) {
        let header = self.header_mut();
        header[1..4].copy_from_slice(&front);
        header[7] = back;
    }

    /// Lends the inner frame for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.buffer.as_mut()[HEADER_LEN_BYTES..]
    }

    fn header_mut(&mut self) -> &mut [u8; HEADER_LEN_BYTES] {
        self.buffer.as_mut().first_chunk_mut().expect("new_checked saw the whole header")
    }
}

/// A VXLAN header without extensions as plain values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VxlanRepr {
    /// Network identifier, 0 to [`MAX_NETWORK_ID`].
    pub network_id: u32,
}

impl VxlanRepr {
    /// Reads a header that has nothing but its network identifier.
    ///
    /// # Errors
    /// [`Error::Field`] for other flags or reserved bits.
    pub fn parse<T: AsRef<[u8]>>(view: &Vxlan<T>) -> Result<Self, Error> {
        Error::check_field(Layer::Vxlan, 0, "flags", view.flags() == ID_FLAG)?;
        Error::check_field(Layer::Vxlan, 1, "reserved", view.reserved() == ([0; 3], 0))?;
        Ok(Self { network_id: view.network_id() })
    }

    /// Writes the header at the start of `buffer` and returns the view of it.
    ///
    /// # Errors
    /// [`Error::Field`] for a network identifier out of range, and [`Error::Short`].
    pub fn emit<'b>(&self, buffer: &'b mut [u8]) -> Result<Vxlan<&'b mut [u8]>, Error> {
        let in_range = self.network_id <= MAX_NETWORK_ID;
        Error::check_field(Layer::Vxlan, 4, "network identifier", in_range)?;
        Error::check_header(Layer::Vxlan, HEADER_LEN_BYTES, buffer.len())?;
        let mut view = Vxlan { buffer };
        view.set_flags(ID_FLAG);
        view.set_reserved(([0; 3], 0));
        view.set_network_id(self.network_id);
        Ok(view)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn headers_are_checked() {
        let mut buffer = [8, 0, 0, 0, 0, 0, 1, 0];
        assert!(matches!(Vxlan::new_checked(&buffer[..7]), Err(Error::Short { .. })));
        assert_eq!(VxlanRepr::parse(&Vxlan::new_checked(&buffer).unwrap()).unwrap().network_id, 1);
        for at in [1, 2, 3, 7] {
            buffer[at] = 1;
            assert!(VxlanRepr::parse(&Vxlan::new_checked(&buffer).unwrap()).is_err());
            buffer[at] = 0;
        }
        buffer[0] = 0x88;
        assert!(VxlanRepr::parse(&Vxlan::new_checked(&buffer).unwrap()).is_err());
        buffer[0] = 0xf7;
        assert!(matches!(Vxlan::new_checked(&buffer), Err(Error::Field { field: "flags", .. })));
        let wide = VxlanRepr { network_id: MAX_NETWORK_ID + 1 };
        assert!(matches!(wide.emit(&mut buffer), Err(Error::Field { .. })));
    }

    type Fields = (u8, bool, u32, ([u8; 3], u8), Vec<u8>);

    fn snapshot(view: &Vxlan<&mut [u8]>) -> Fields {
        let payload = view.payload().into();
        (view.flags(), view.has_network_id(), view.network_id(), view.reserved(), payload)
    }

    proptest! {
        // Planted and caught: set_network_id writes one byte too far; a flag that is not cleared.
        #[test]
        fn a_setter_changes_its_field_only(
            mut bytes in vec(any::<u8>(), 8..20), i in 0..4, value: u32, flag: bool,
        ) {
            bytes[0] |= ID_FLAG;
            let mut view = Vxlan::new_checked(bytes.as_mut_slice()).unwrap();
            let mut expected = snapshot(&view);
            let [a, b, c, d] = value.to_be_bytes();
            match i {
                0 => {
                    view.set_flags(a);
                    (expected.0, expected.1) = (a, a & 8 != 0);
                }
                1 => {
                    view.set_has_network_id(flag);
                    expected.0 = expected.0 & 0xf7 | u8::from(flag) << 3;
                    expected.1 = flag;
                }
                2 => {
                    view.set_network_id(value);
                    expected.2 = value & 0x00ff_ffff;
                }
                _ => {
                    view.set_reserved(([a, b, c], d));
                    expected.3 = ([a, b, c], d);
                }
            }
            prop_assert_eq!(snapshot(&view), expected);
        }

        // Planted and caught: emit leaves the reserved bits as they are.
        #[test]
        fn emit_undoes_parse(network_id in 0..=MAX_NETWORK_ID, mut junk: [u8; 9]) {
            let repr = VxlanRepr { network_id };
            let view = repr.emit(&mut junk).unwrap();
            prop_assert_eq!(VxlanRepr::parse(&view).unwrap(), repr);
        }
    }
}
