//! GENEVE (RFC 8926 section 3): 8 bytes and up to 252 of options, over UDP port 6081.
//!
//! ```text
//!  0                         1            2               4                    7
//!  | version 2 | length 6    | O C rsvd 6 | protocol type | network identifier | reserved 8
//!  8
//!  | option class 16         | C type 7   | rsvd 3, length 5 | data, 0 to 124 bytes |  ... options
//!  | inner packet
//! ```
//!
//! Both lengths count words of 4 bytes: the one of the header all options, the one of an option its
//! data. C in the header says that an option is critical: who does not know that option drops the
//! packet. O marks a control packet (OAM). Protocol types are Ethernet types; 0x6558 is an inner
//! Ethernet frame.
//!
//! ```
//! use netmem_wire::{Geneve, GeneveRepr, geneve};
//!
//! let mut buffer = *b"........\x01\x02\x80\x01datainner";
//! let repr = GeneveRepr {
//!     is_control: false,
//!     has_critical: true,
//!     protocol_type: geneve::ETHERNET,
//!     network_id: 7,
//!     options_len_bytes: 8,
//! };
//! repr.emit(&mut buffer)?;
//!
//! let view = Geneve::new_checked(&buffer)?;
//! assert_eq!(view.payload(), b"inner");
//! let option = view.options().next().expect("there is one")?;
//! assert_eq!((option.class, option.is_critical(), option.data), (0x0102, true, &b"data"[..]));
//! # Ok::<(), netmem_wire::Error>(())
//! ```

use crate::{Error, Layer, be16, set_be16};

/// Bytes of a header without options.
pub const HEADER_LEN_BYTES: usize = 8;
/// Most bytes of all options.
pub const MAX_OPTIONS_LEN_BYTES: usize = 252;
/// The UDP port that belongs to GENEVE.
pub const UDP_PORT: u16 = 6081;
/// The protocol type of an inner Ethernet frame.
pub const ETHERNET: u16 = 0x6558;
/// The greatest network identifier.
pub const MAX_NETWORK_ID: u32 = 0x00ff_ffff;

const LAYER: Layer = Layer::Geneve;
const CONTROL: u8 = 0x80;
const CRITICAL: u8 = 0x40;

/// A view of a GENEVE header, its options and the inner packet.
#[derive(Clone, Copy, Debug)]
pub struct Geneve<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Geneve<T> {
    /// Checks the version and that header and options are there. The options themselves are
    /// checked as [`options`](Self::options) comes to them.
    ///
    /// [`set_version`](Self::set_version) and
    /// [`set_options_len_bytes`](Self::set_options_len_bytes) void the check.
    ///
    /// # Errors
    /// [`Error::Short`], [`Error::Field`] for a version other than 0, and [`Error::Truncated`] if
    /// the buffer ends before the options do.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        let available_bytes = buffer.as_ref().len();
        Error::check_header(LAYER, HEADER_LEN_BYTES, available_bytes)?;
        let view = Self { buffer };
        Error::check_field(LAYER, 0, "version", view.version() == 0)?;
        let needed_bytes = HEADER_LEN_BYTES + view.options_len_bytes();
        Error::check_len(LAYER, 0, needed_bytes, available_bytes)?;
        Ok(view)
    }

    /// Reads the version, 0 in every header that passed the check.
    #[inline]
    pub fn version(&self) -> u8 {
        self.header()[0] >> 6
    }

    /// Reads the length of all options: 0 to 252 in steps of 4.
    #[inline]
    pub fn options_len_bytes(&self) -> usize {
        usize::from(self.header()[0] & 0x3f) * 4
    }

    /// Tells whether this is a control packet (O).
    #[inline]
    pub fn is_control(&self) -> bool {
        self.header()[1] & CONTROL != 0
    }

    /// Tells whether the header announces critical options (C).
    #[inline]
    pub fn has_critical(&self) -> bool {
        self.header()[1] & CRITICAL != 0
    }

    /// Reads the Ethernet type of the inner packet.
    #[inline]
    pub fn protocol_type(&self) -> u16 {
        be16(self.header(), 2)
    }

    /// Reads the network identifier, 0 to [`MAX_NETWORK_ID`].
    #[inline]
    pub fn network_id(&self) -> u32 {
        let [.., a, b, c, _] = *self.header();
        u32::from_be_bytes([0, a, b, c])
    }

    /// Reads the 6 reserved bits behind the flags and the 8 behind the network identifier.
    #[inline]
    pub fn reserved(&self) -> (u8, u8) {
        (self.header()[1] & 0x3f, self.header()[7])
    }

    /// Walks over the options.
    #[inline]
    pub fn options(&self) -> Options<'_> {
        let data = self.buffer.as_ref();
        Options { bytes: &data[HEADER_LEN_BYTES..self.payload_at()], at_bytes: HEADER_LEN_BYTES }
    }

    /// Lends the inner packet.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.buffer.as_ref()[self.payload_at()..]
    }

    /// Gives the buffer back.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    /// Where the options end: within the buffer even if the check was voided.
    fn payload_at(&self) -> usize {
        (HEADER_LEN_BYTES + self.options_len_bytes()).min(self.buffer.as_ref().len())
    }

    fn header(&self) -> &[u8; HEADER_LEN_BYTES] {
        self.buffer.as_ref().first_chunk().expect("new_checked saw the whole header")
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Geneve<T> {
    /// Writes the version: the low 2 bits of `version`. Voids the check.
    #[inline]
    pub fn set_version(&mut self, version: u8) {
        let header = self.header_mut();
        header[0] = header[0] & 0x3f | version << 6;
    }

    /// Writes the length of all options, rounded down to a multiple of 4 and cut at 252 bytes.
    /// Voids the check: afterwards options and payload are cut to what the buffer has.
    #[inline]
    pub fn set_options_len_bytes(&mut self, len_bytes: usize) {
        let words = u8::try_from(len_bytes / 4).unwrap_or(u8::MAX).min(0x3f);
        let header = self.header_mut();
        header[0] = header[0] & 0xc0 | words;
    }

    /// Writes whether this is a control packet.
    #[inline]
    pub fn set_is_control(&mut self, is_control: bool) {
        let header = self.header_mut();
        header[1] = header[1] & !CONTROL | if is_control { CONTROL } else { 0 };
    }

    /// Writes whether there are critical options.
    #[inline]
    pub fn set_has_critical(&mut self, has_critical: bool) {
        let header = self.header_mut();
        header[1] = header[1] & !CRITICAL | if has_critical { CRITICAL } else { 0 };
    }

    /// Writes the Ethernet type of the inner packet.
    #[inline]
    pub fn set_protocol_type(&mut self, protocol_type: u16) {
        set_be16(self.header_mut(), 2, protocol_type);
    }

    /// Writes the network identifier: the low 24 bits of `network_id`.
    #[inline]
    pub fn set_network_id(&mut self, network_id: u32) {
        let [_, id @ ..] = network_id.to_be_bytes();
        self.header_mut()[4..7].copy_from_slice(&id);
    }

    /// Writes the reserved bits: the low 6 of `front`, and `back`.
    #[inline]
    pub fn set_reserved(&mut self, (front, back): (u8, u8)) {
        let header = self.header_mut();
        header[1] = header[1] & 0xc0 | front & 0x3f;
        header[7] = back;
    }

    /// Lends the options for writing.
    #[inline]
    pub fn options_mut(&mut self) -> &mut [u8] {
        let end = self.payload_at();
        &mut self.buffer.as_mut()[HEADER_LEN_BYTES..end]
    }

    /// Lends the inner packet for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let start = self.payload_at();
        &mut self.buffer.as_mut()[start..]
    }

    fn header_mut(&mut self) -> &mut [u8; HEADER_LEN_BYTES] {
        self.buffer.as_mut().first_chunk_mut().expect("new_checked saw the whole header")
    }
}

/// One option as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GeneveOption<'b> {
    /// Who defines the type.
    pub class: u16,
    /// Type, the critical bit (0x80) included.
    pub option_type: u8,
    /// The 3 reserved bits.
    pub reserved: u8,
    /// Data, 0 to 124 bytes in steps of 4.
    pub data: &'b [u8],
}

impl GeneveOption<'_> {
    /// Tells whether who does not know the option must drop the packet.
    #[inline]
    #[must_use]
    pub const fn is_critical(&self) -> bool {
        self.option_type & 0x80 != 0
    }

    /// Writes the option at the start of `buffer` and returns its length in bytes.
    ///
    /// # Errors
    /// [`Error::Field`] for data of another length or reserved bits out of range, [`Error::Short`].
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let words = u8::try_from(self.data.len() / 4).unwrap_or(u8::MAX);
        let has_len = self.data.len().is_multiple_of(4) && words <= 31;
        Error::check_field(LAYER, 3, "option length", has_len)?;
        Error::check_field(LAYER, 3, "option reserved", self.reserved <= 7)?;
        let (available_bytes, needed_bytes) = (buffer.len(), 4 + self.data.len());
        let short = Error::Short { layer: LAYER, offset_bytes: 0, needed_bytes, available_bytes };
        let (head, data) = buffer
            .get_mut(..needed_bytes)
            .and_then(|all| all.split_first_chunk_mut::<4>())
            .ok_or(short)?;
        set_be16(head, 0, self.class);
        head[2] = self.option_type;
        head[3] = self.reserved << 5 | words;
        data.copy_from_slice(self.data);
        Ok(needed_bytes)
    }
}

/// Walks over options; ends after the first one that is not all there.
#[derive(Clone, Debug)]
pub struct Options<'b> {
    bytes: &'b [u8],
    at_bytes: usize,
}

impl<'b> Iterator for Options<'b> {
    type Item = Result<GeneveOption<'b>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let (all, at_bytes) = (self.bytes, self.at_bytes);
        self.bytes = &[];
        let Some((head, rest)) = all.split_first_chunk::<4>() else {
            let available_bytes = all.len();
            return Some(Err(Error::Short {
                layer: LAYER,
                offset_bytes: at_bytes,
                needed_bytes: 4,
                available_bytes,
            }));
        };
        let len_bytes = usize::from(head[3] & 0x1f) * 4;
        let Some((data, after)) = rest.split_at_checked(len_bytes) else {
            return Some(Err(Error::Truncated {
                layer: LAYER,
                offset_bytes: at_bytes + 3,
                needed_bytes: 4 + len_bytes,
                available_bytes: all.len(),
            }));
        };
        (self.bytes, self.at_bytes) = (after, at_bytes + 4 + len_bytes);
        Some(Ok(GeneveOption {
            class: be16(head, 0),
            option_type: head[2],
            reserved: head[3] >> 5,
            data,
        }))
    }
}

/// A GENEVE header as plain values; the options are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GeneveRepr {
    /// Whether this is a control packet.
    pub is_control: bool,
    /// Whether there are critical options.
    pub has_critical: bool,
    /// Ethernet type of the inner packet.
    pub protocol_type: u16,
    /// Network identifier, 0 to [`MAX_NETWORK_ID`].
    pub network_id: u32,
    /// Length of all options: 0 to 252, a multiple of 4.
    pub options_len_bytes: usize,
}

impl GeneveRepr {
    /// Reads all fields of a header.
    ///
    /// # Errors
    /// [`Error::Field`] for reserved bits, and for a version other than 0.
    pub fn parse<T: AsRef<[u8]>>(view: &Geneve<T>) -> Result<Self, Error> {
        Error::check_field(LAYER, 0, "version", view.version() == 0)?;
        Error::check_field(LAYER, 1, "reserved", view.reserved() == (0, 0))?;
        Ok(Self {
            is_control: view.is_control(),
            has_critical: view.has_critical(),
            protocol_type: view.protocol_type(),
            network_id: view.network_id(),
            options_len_bytes: view.options_len_bytes(),
        })
    }

    /// Writes the header in front of the options that are or will be in `buffer`, and returns the
    /// view of all.
    ///
    /// # Errors
    /// [`Error::Field`] for values out of range, [`Error::Short`] or [`Error::Truncated`] if the
    /// buffer has no room for header or options.
    pub fn emit<'b>(&self, buffer: &'b mut [u8]) -> Result<Geneve<&'b mut [u8]>, Error> {
        let len_bytes = self.options_len_bytes;
        let has_len = len_bytes <= MAX_OPTIONS_LEN_BYTES && len_bytes.is_multiple_of(4);
        Error::check_field(LAYER, 0, "options length", has_len)?;
        let in_range = self.network_id <= MAX_NETWORK_ID;
        Error::check_field(LAYER, 4, "network identifier", in_range)?;
        Error::check_header(LAYER, HEADER_LEN_BYTES, buffer.len())?;
        Error::check_len(LAYER, 0, HEADER_LEN_BYTES + len_bytes, buffer.len())?;
        let mut view = Geneve { buffer };
        view.set_version(0);
        view.set_options_len_bytes(len_bytes);
        view.set_reserved((0, 0));
        view.set_is_control(self.is_control);
        view.set_has_critical(self.has_critical);
        view.set_protocol_type(self.protocol_type);
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
    fn headers_and_options_are_checked() {
        let mut buffer = [2, 0xc0, 0x65, 0x58, 0, 0, 9, 0, 1, 2, 3, 0xe1, 4, 5, 6, 7, 8];
        let view = Geneve::new_checked(&buffer).unwrap();
        assert!(view.is_control() && view.has_critical());
        assert_eq!(
            (view.protocol_type(), view.network_id(), view.payload()),
            (ETHERNET, 9, &[8][..])
        );
        let option =
            GeneveOption { class: 0x0102, option_type: 3, reserved: 7, data: &[4, 5, 6, 7] };
        assert_eq!(view.options().take(9).collect::<Vec<_>>(), [Ok(option)]);
        assert!(matches!(Geneve::new_checked(&buffer[..7]), Err(Error::Short { .. })));
        assert!(matches!(
            Geneve::new_checked(&buffer[..15]),
            Err(Error::Truncated { needed_bytes: 16, available_bytes: 15, .. })
        ));
        buffer[11] = 2;
        let cut = Error::Truncated {
            layer: LAYER,
            offset_bytes: 11,
            needed_bytes: 12,
            available_bytes: 8,
        };
        assert_eq!(
            Geneve::new_checked(&buffer).unwrap().options().take(9).collect::<Vec<_>>(),
            [Err(cut)]
        );
        buffer[0] = 0x42;
        assert!(matches!(Geneve::new_checked(&buffer), Err(Error::Field { field: "version", .. })));
        let repr = GeneveRepr {
            is_control: false,
            has_critical: false,
            protocol_type: 0,
            network_id: 0,
            options_len_bytes: 0,
        };
        for bad in [
            GeneveRepr { options_len_bytes: 256, ..repr },
            GeneveRepr { options_len_bytes: 2, ..repr },
            GeneveRepr { network_id: 1 << 24, ..repr },
        ] {
            assert!(matches!(bad.emit(&mut [0; 300]), Err(Error::Field { .. })));
        }
    }

    #[test]
    fn a_voided_check_cuts_and_does_not_panic() {
        for len_bytes in [0, 1, 4, 7, 8, 252, 9999] {
            let mut buffer = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 9];
            let mut view = Geneve::new_checked(buffer.as_mut_slice()).unwrap();
            view.set_options_len_bytes(len_bytes);
            view.set_version(3);
            assert!(GeneveRepr::parse(&view).is_err());
            assert!(view.options().count() <= 2);
            assert_eq!(view.options_mut().len() + view.payload_mut().len(), 6);
            assert!(view.payload().len() <= 6);
        }
    }

    proptest! {
        // Planted and caught: options of any class read as class 0; a data length in bytes.
        #[test]
        fn options_are_read_as_they_were_written(
            options in vec((any::<u16>(), any::<u8>(), 0_u8..8, vec(any::<[u8; 4]>(), 0..4)), 0..8),
        ) {
            let mut buffer = [0xa5; 300];
            let mut at = HEADER_LEN_BYTES;
            for (class, option_type, reserved, words) in &options {
                let data = words.concat();
                let option = GeneveOption {
                    class: *class, option_type: *option_type, reserved: *reserved, data: &data,
                };
                at += option.emit(&mut buffer[at..]).unwrap();
            }
            let repr = GeneveRepr {
                is_control: true, has_critical: false, protocol_type: 7, network_id: 0xabcdef,
                options_len_bytes: at - HEADER_LEN_BYTES,
            };
            let view = repr.emit(&mut buffer).unwrap();
            prop_assert_eq!(GeneveRepr::parse(&view).unwrap(), repr);
            let mut seen = view.options();
            for (class, option_type, reserved, words) in &options {
                let option = seen.next().unwrap().unwrap();
                prop_assert_eq!((option.class, option.option_type), (*class, *option_type));
                prop_assert_eq!((option.reserved, option.data), (*reserved, &words.concat()[..]));
            }
            prop_assert!(seen.next().is_none());
        }

        // Planted and caught: an iterator that goes on after an error.
        #[test]
        fn any_options_end(mut bytes in vec(any::<u8>(), 8..270)) {
            bytes[0] &= 0x3f;
            if let Ok(view) = Geneve::new_checked(&bytes) {
                let seen: Vec<_> = view.options().take(100).collect();
                prop_assert!(seen.len() <= view.options_len_bytes() / 4);
                let errors = seen.iter().position(Result::is_err);
                prop_assert!(errors.is_none_or(|at| at == seen.len() - 1));
            }
        }

        // Planted and caught: set_reserved clears the flags; set_network_id writes a byte too far.
        #[test]
        fn a_setter_changes_its_field_only(
            mut bytes: [u8; 8], i in 0..7, value: u32, flag: bool,
        ) {
            bytes[0] = 0;
            let mut view = Geneve::new_checked(bytes.as_mut_slice()).unwrap();
            let snapshot = |view: &Geneve<&mut [u8]>| (
                view.version(), view.options_len_bytes(), view.is_control(), view.has_critical(),
                view.protocol_type(), view.network_id(), view.reserved(),
            );
            let mut expected = snapshot(&view);
            let [a, b, c, d] = value.to_be_bytes();
            match i {
                0 => { view.set_version(a); expected.0 = a & 3; }
                1 => { view.set_options_len_bytes(b.into()); expected.1 = usize::from(b / 4 * 4).min(252); }
                2 => { view.set_is_control(flag); expected.2 = flag; }
                3 => { view.set_has_critical(flag); expected.3 = flag; }
                4 => {
                    view.set_protocol_type(u16::from_be_bytes([a, b]));
                    expected.4 = u16::from_be_bytes([a, b]);
                }
                5 => { view.set_network_id(value); expected.5 = value & 0x00ff_ffff; }
                _ => { view.set_reserved((c, d)); expected.6 = (c & 0x3f, d); }
            }
            prop_assert_eq!(snapshot(&view), expected);
        }
    }
}
