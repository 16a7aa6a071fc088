//! 802.2 LLC and SNAP (IEEE 802.2, RFC 1042): what an 802.3 frame, whose type is a length, begins
//! with.
//!
//! ```text
//!  0      1      2           3 or 4
//!  | dsap | ssap | control   | payload               control: 1 byte if its low bits are 11
//!  0xaa   0xaa   3 | oui 24 | protocol id 16 | payload                 SNAP, 8 bytes in all
//! ```
//!
//! Ethernet says with its length (see [`ethernet::Kind`](crate::ethernet::Kind)) where the payload
//! ends: give the view that many bytes, not the padding. With OUI 0 the protocol id is an Ethernet
//! type.
//!
//! ```
//! use netmem_wire::llc::{LlcRepr, Snap};
//! use netmem_wire::{Llc, ethernet::ether_type};
//!
//! let repr = LlcRepr::Snap(Snap { oui: [0; 3], protocol_id: ether_type::ARP });
//! let mut bytes = [0; 36];
//! repr.emit(&mut bytes)?;
//! assert_eq!(bytes[..8], [0xaa, 0xaa, 3, 0, 0, 0, 8, 6]);
//! let view = Llc::new_checked(&bytes)?;
//! assert_eq!(view.snap().and_then(|snap| snap.ether_type()), Some(ether_type::ARP));
//! assert_eq!(view.payload().len(), 28);
//! # Ok::<(), netmem_wire::Error>(())
//! ```

use crate::{Error, Layer};

/// Bytes of the shortest header.
pub const HEADER_LEN_BYTES: usize = 3;

/// Bytes of a header with SNAP.
pub const SNAP_LEN_BYTES: usize = 8;

/// Service access points in common use.
pub mod sap {
    /// None.
    pub const NULL: u8 = 0x00;
    /// IPv4, long out of use (RFC 948).
    pub const IP: u8 = 0x06;
    /// Spanning tree.
    pub const SPANNING_TREE: u8 = 0x42;
    /// SNAP.
    pub const SNAP: u8 = 0xaa;
    /// IPX.
    pub const IPX: u8 = 0xe0;
    /// `NetBIOS`.
    pub const NETBIOS: u8 = 0xf0;
    /// IS-IS and other OSI network layers.
    pub const OSI: u8 = 0xfe;
    /// All; also the first byte of IPX without LLC.
    pub const GLOBAL: u8 = 0xff;
}

/// Control byte of unnumbered information.
pub const UNNUMBERED_INFORMATION: u8 = 0x03;

/// The control field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Control {
    /// The unnumbered format: one byte whose low bits are 11.
    Unnumbered(u8),
    /// The information or the supervisory format: two bytes, the first of which is the high one
    /// and has other low bits.
    Numbered(u16),
}

/// What SNAP says of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Snap {
    /// Who has given the protocol id its meaning; zeros for Ethernet types.
    pub oui: [u8; 3],
    /// What the payload is.
    pub protocol_id: u16,
}

impl Snap {
    /// Tells the payload's Ethernet type, if SNAP speaks of one: OUI 0 (RFC 1042) or 0x0000f8
    /// (802.1H).
    #[must_use]
    pub const fn ether_type(self) -> Option<u16> {
        match self.oui {
            [0, 0, 0 | 0xf8] => Some(self.protocol_id),
            _ => None,
        }
    }
}

/// A view of an LLC header.
#[derive(Clone, Copy, Debug)]
pub struct Llc<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Llc<T> {
    /// Checks that the header, as long as control and SNAP make it, is there.
    ///
    /// [`set_dsap`](Self::set_dsap), [`set_ssap`](Self::set_ssap) and
    /// [`set_control`](Self::set_control) may change how long the header is and so void the check:
    /// afterwards the payload is cut to what the buffer has.
    ///
    /// # Errors
    /// [`Error::Short`].
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        let available_bytes = buffer.as_ref().len();
        Error::check_header(Layer::Llc, HEADER_LEN_BYTES, available_bytes)?;
        let view = Self { buffer };
        Error::check_header(Layer::Llc, view.header_len_bytes(), available_bytes)?;
        Ok(view)
    }

    /// Reads the destination service access point; see [`sap`]. Its low bit says that it is a
    /// group.
    #[inline]
    pub fn dsap(&self) -> u8 {
        self.header()[0]
    }

    /// Reads the source service access point; its low bit says that this is a response.
    #[inline]
    pub fn ssap(&self) -> u8 {
        self.header()[1]
    }

    /// Reads the control field.
    #[inline]
    pub fn control(&self) -> Control {
        let [_, _, first] = *self.header();
        match self.buffer.as_ref().get(3) {
            Some(&second) if !is_unnumbered(first) => {
                Control::Numbered(u16::from_be_bytes([first, second]))
            }
            _ => Control::Unnumbered(first),
        }
    }

    /// Tells whether the control field is an unnumbered one, of one byte.
    #[inline]
    pub fn is_unnumbered(&self) -> bool {
        is_unnumbered(self.header()[2])
    }

    /// Tells whether SNAP follows.
    #[inline]
    pub fn is_snap(&self) -> bool {
        *self.header() == [sap::SNAP, sap::SNAP, UNNUMBERED_INFORMATION]
    }

    /// Computes the length of the header, in bytes: 3, 4, or 8 with SNAP.
    #[inline]
    pub fn header_len_bytes(&self) -> usize {
        match (self.is_snap(), self.is_unnumbered()) {
            (true, _) => SNAP_LEN_BYTES,
            (false, true) => 3,
            (false, false) => 4,
        }
    }

    /// Reads what SNAP says; nothing without SNAP.
    #[inline]
    pub fn snap(&self) -> Option<Snap> {
        let header: &[u8; SNAP_LEN_BYTES] = self.buffer.as_ref().first_chunk()?;
        let [_, _, _, a, b, c, high, low] = *header;
        let snap = Snap { oui: [a, b, c], protocol_id: u16::from_be_bytes([high, low]) };
        self.is_snap().then_some(snap)
    }

    /// Lends the bytes after the header.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.buffer.as_ref().get(self.header_len_bytes()..).unwrap_or_default()
    }

    /// Gives the buffer back.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    fn header(&self) -> &[u8; HEADER_LEN_BYTES] {
        self.buffer.as_ref().first_chunk().expect("new_checked saw the shortest header")
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Llc<T> {
    /// Writes the destination service access point. Voids the check.
    #[inline]
    pub fn set_dsap(&mut self, dsap: u8) {
        self.header_mut()[0] = dsap;
    }

    /// Writes the source service access point. Voids the check.
    #[inline]
    pub fn set_ssap(&mut self, ssap: u8) {
        self.header_mut()[1] = ssap;
    }

    /// Writes the control field. Voids the check.
    ///
    /// # Errors
    /// [`Error::Field`] if the low bits of the first byte are not those of the format;
    /// [`Error::Short`] if two bytes do not fit.
    pub fn set_control(&mut self, control: Control) -> Result<(), Error> {
        match control {
            Control::Unnumbered(byte) => {
                Error::check_field(Layer::Llc, 2, "control", is_unnumbered(byte))?;
                self.header_mut()[2] = byte;
            }
            Control::Numbered(word) => {
                let word = word.to_be_bytes();
                Error::check_field(Layer::Llc, 2, "control", !is_unnumbered(word[0]))?;
                let bytes = self.buffer.as_mut();
                Error::check_header(Layer::Llc, 4, bytes.len())?;
                bytes[2..4].copy_from_slice(&word);
            }
        }
        Ok(())
    }

    /// Writes what SNAP says of the payload.
    ///
    /// # Errors
    /// [`Error::Field`] without SNAP, [`Error::Short`] if it does not fit.
    pub fn set_snap(&mut self, snap: Snap) -> Result<(), Error> {
        Error::check_field(Layer::Llc, 0, "dsap", self.is_snap())?;
        let bytes = self.buffer.as_mut();
        Error::check_header(Layer::Llc, SNAP_LEN_BYTES, bytes.len())?;
        bytes[3..6].copy_from_slice(&snap.oui);
        bytes[6..8].copy_from_slice(&snap.protocol_id.to_be_bytes());
        Ok(())
    }

    /// Lends the bytes after the header for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let start = self.header_len_bytes();
        self.buffer.as_mut().get_mut(start..).unwrap_or_default()
    }

    fn header_mut(&mut self) -> &mut [u8; HEADER_LEN_BYTES] {
        self.buffer.as_mut().first_chunk_mut().expect("new_checked saw the shortest header")
    }
}

/// Tells whether the low two bits are 11: the unnumbered format.
const fn is_unnumbered(control: u8) -> bool {
    control & 3 == 3
}

/// An LLC header as plain values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LlcRepr {
    /// LLC alone.
    Llc {
        /// Destination service access point; see [`sap`].
        dsap: u8,
        /// Source service access point.
        ssap: u8,
        /// Control.
        control: Control,
    },
    /// LLC and SNAP.
    Snap(Snap),
}

impl LlcRepr {
    /// Bytes of the header.
    #[must_use]
    pub const fn header_len_bytes(&self) -> usize {
        match self {
            Self::Llc { control: Control::Unnumbered(_), .. } => 3,
            Self::Llc { control: Control::Numbered(_), .. } => 4,
            Self::Snap(_) => SNAP_LEN_BYTES,
        }
    }

    /// Reads all fields; every header that passed the check is representable.
    pub fn parse<T: AsRef<[u8]>>(view: &Llc<T>) -> Self {
        match view.snap() {
            Some(snap) => Self::Snap(snap),
            None => Self::Llc { dsap: view.dsap(), ssap: view.ssap(), control: view.control() },
        }
    }

    /// Writes the header at the start of `buffer` and returns the view of it.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] for LLC alone that announces SNAP, and for a control
    /// field with the low bits of another format.
    pub fn emit<'b>(&self, buffer: &'b mut [u8]) -> Result<Llc<&'b mut [u8]>, Error> {
        Error::check_header(Layer::Llc, self.header_len_bytes(), buffer.len())?;
        let mut view = Llc { buffer };
        let (dsap, ssap, control) = match *self {
            Self::Llc { dsap, ssap, control } => (dsap, ssap, control),
            Self::Snap(_) => (sap::SNAP, sap::SNAP, Control::Unnumbered(UNNUMBERED_INFORMATION)),
        };
        view.set_control(control)?;
        view.set_dsap(dsap);
        view.set_ssap(ssap);
        match *self {
            Self::Llc { .. } => Error::check_field(Layer::Llc, 0, "dsap", !view.is_snap())?,
            Self::Snap(snap) => view.set_snap(snap)?,
        }
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
    fn headers_by_hand() {
        // A spanning tree frame.
        let view = Llc::new_checked([0x42, 0x42, 3, 0, 0]).unwrap();
        assert_eq!(
            (view.dsap(), view.control(), view.payload().len()),
            (sap::SPANNING_TREE, Control::Unnumbered(3), 2)
        );
        assert_eq!(view.snap(), None);
        // A supervisory frame: two bytes of control.
        let view = Llc::new_checked([0xf0, 0xf1, 1, 7, 9]).unwrap();
        assert_eq!(
            (view.ssap(), view.control(), view.payload()),
            (0xf1, Control::Numbered(0x0107), &[9][..])
        );
        for short in [&[0xf0, 0xf0][..], &[0xf0, 0xf0, 1], &[0xaa, 0xaa, 3, 0, 0, 0, 8]] {
            assert!(matches!(Llc::new_checked(short), Err(Error::Short { .. })));
        }
        let other = Snap { oui: [0, 0, 0x0c], protocol_id: 0x2000 };
        assert_eq!(other.ether_type(), None);
        assert_eq!(Snap { oui: [0, 0, 0xf8], ..other }.ether_type(), Some(0x2000));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let mut buffer = [0; 8];
        let llc = |dsap, control| LlcRepr::Llc { dsap, ssap: 0xaa, control };
        assert!(llc(0xaa, Control::Unnumbered(3)).emit(&mut buffer).is_err());
        assert!(llc(0xab, Control::Unnumbered(3)).emit(&mut buffer).is_ok());
        assert!(llc(0, Control::Numbered(0x0300)).emit(&mut buffer).is_err());
        assert!(llc(0, Control::Numbered(0x0103)).emit(&mut buffer[..3]).is_err());
        let mut view = Llc::new_checked(&mut buffer[..4]).unwrap();
        assert!(view.set_snap(Snap { oui: [0; 3], protocol_id: 0 }).is_err());
        view.set_dsap(0xaa);
        view.set_ssap(0xaa);
        view.set_control(Control::Unnumbered(3)).unwrap();
        assert!(view.set_control(Control::Unnumbered(1)).is_err());
        // The check is void: nothing of SNAP is there.
        assert!(view.set_snap(Snap { oui: [0; 3], protocol_id: 0 }).is_err());
        assert_eq!((view.snap(), view.payload().len()), (None, 0));
        assert!(view.payload_mut().is_empty());
    }

    fn headers() -> impl Strategy<Value = Vec<u8>> {
        (vec(prop_oneof![any::<u8>(), 0_u8..4], 8..20), any::<bool>()).prop_map(
            |(mut bytes, snap)| {
                if snap {
                    bytes[..3].copy_from_slice(&[0xaa, 0xaa, 3]);
                }
                bytes
            },
        )
    }

    proptest! {
        // Planted and caught: set_ssap writes dsap; SNAP written from byte 4 on.
        #[test]
        fn a_setter_changes_its_field_only(
            mut bytes in headers(), i in 0_usize..4, value: u8, control: u16, tail: [u8; 5],
        ) {
            let mut expected = bytes.clone();
            let mut view = Llc::new_checked(bytes.as_mut_slice()).unwrap();
            let [oui @ .., high, low] = tail;
            let snap = Snap { oui, protocol_id: u16::from_be_bytes([high, low]) };
            match i {
                0 => {
                    view.set_dsap(value);
                    expected[0] = value;
                    prop_assert_eq!(view.dsap(), value);
                }
                1 => {
                    view.set_ssap(value);
                    expected[1] = value;
                    prop_assert_eq!(view.ssap(), value);
                }
                2 => {
                    let [first, _] = control.to_be_bytes();
                    let unnumbered = first & 3 == 3;
                    let control = if unnumbered {
                        Control::Unnumbered(first)
                    } else {
                        Control::Numbered(control)
                    };
                    view.set_control(control).unwrap();
                    prop_assert_eq!(view.control(), control);
                    expected[2] = first;
                    if let Control::Numbered(word) = control {
                        expected[3] = word.to_be_bytes()[1];
                    }
                }
                _ => if view.set_snap(snap).is_ok() {
                    prop_assert_eq!(view.snap(), Some(snap));
                    expected[3..8].copy_from_slice(&tail);
                },
            }
            prop_assert_eq!(bytes, expected);
        }

        // Planted and caught: emit leaves out ssap; a control field of 0x0003 in two
        // bytes written as one.
        #[test]
        fn emit_undoes_parse(bytes in headers()) {
            let view = Llc::new_checked(&bytes).unwrap();
            let repr = LlcRepr::parse(&view);
            prop_assert_eq!(repr.header_len_bytes(), view.header_len_bytes());
            let mut copy = bytes.clone();
            copy[..view.header_len_bytes()].fill(0xa5);
            repr.emit(&mut copy).unwrap();
            prop_assert_eq!(copy, bytes);
        }
    }
}
