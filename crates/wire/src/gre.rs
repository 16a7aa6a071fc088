//! GRE (RFC 2784, RFC 2890): 4 to 16 bytes in front of an inner packet.
//!
//! ```text
//!  0                                      2
//!  | C R K S s recursion 3 | flags 5 | version 3 | protocol type |
//!  | checksum 16, reserved 16 (if C) | key 32 (if K) | sequence 32 (if S) | payload     version 0
//!  | payload length 16, call id 16   | sequence 32 (if S) | acknowledgment 32 (if A)    version 1
//! ```
//!
//! The checksum covers header and payload. Routing (R, RFC 1701) is refused: its length is not known
//! without walking it, and no kernel takes it (Linux 6.12, `net/ipv4/gre_demux.c`). Version 1 is the
//! one of PPTP (RFC 2637): K is set, C is not, the key's two halves are payload length and call id,
//! and A (0x0080) announces an acknowledgment.
//!
//! ```
//! use netmem_wire::{Gre, GreRepr};
//!
//! let mut buffer = *b"........inner";
//! let repr = GreRepr { has_checksum: false, key: Some(7), sequence: None, protocol_type: 0x0800 };
//! repr.emit(&mut buffer)?;
//! assert_eq!(&buffer, b"\x20\0\x08\0\0\0\0\x07inner");
//!
//! let view = Gre::new_checked(&buffer)?;
//! assert_eq!((view.key(), view.payload()), (Some(7), &b"inner"[..]));
//! # Ok::<(), netmem_wire::Error>(())
//! ```

use crate::{Error, Layer, be16, bytes, checksum, set_be16};

/// Bytes of a header without optional words.
pub const MIN_HEADER_LEN_BYTES: usize = 4;
/// The protocol type of an inner Ethernet frame.
pub const ETHERNET: u16 = 0x6558;
/// The protocol type of PPTP, version 1.
pub const PPP: u16 = 0x880b;

/// The flags that say which optional words there are.
pub mod flag {
    /// C: checksum present.
    pub const CHECKSUM: u16 = 0x8000;
    /// R: routing present (RFC 1701); refused.
    pub const ROUTING: u16 = 0x4000;
    /// K: key present.
    pub const KEY: u16 = 0x2000;
    /// S: sequence number present.
    pub const SEQUENCE: u16 = 0x1000;
    /// A: acknowledgment number present, in version 1.
    pub const ACKNOWLEDGMENT: u16 = 0x0080;
}

const LAYER: Layer = Layer::Gre;
const VERSION_MASK: u16 = 7;
const PPTP: u8 = 1;

/// A view of a GRE header and its payload.
#[derive(Clone, Copy, Debug)]
pub struct Gre<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Gre<T> {
    /// Checks version and flags, and that the words they announce are there. The checksum is not
    /// looked at.
    ///
    /// [`set_flags`](Self::set_flags) and [`set_version`](Self::set_version) void the check.
    ///
    /// # Errors
    /// [`Error::Short`], and [`Error::Field`] for a version above 1, for routing, and in version 1
    /// for a header without key or with a checksum.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        let available_bytes = buffer.as_ref().len();
        Error::check_header(LAYER, MIN_HEADER_LEN_BYTES, available_bytes)?;
        let view = Self { buffer };
        Error::check_field(LAYER, 0, "routing flag", !view.has(flag::ROUTING))?;
        Error::check_field(LAYER, 1, "version", view.version() <= PPTP)?;
        if view.version() == PPTP {
            Error::check_field(LAYER, 0, "key flag", view.has(flag::KEY))?;
            Error::check_field(LAYER, 0, "checksum flag", !view.has(flag::CHECKSUM))?;
        }
        Error::check_header(LAYER, view.header_len_bytes(), available_bytes)?;
        Ok(view)
    }

    /// Reads the version: 0, or 1 for PPTP.
    #[inline]
    pub fn version(&self) -> u8 {
        self.header()[1] & 7
    }

    /// Reads the first word without the version; see [`flag`].
    #[inline]
    pub fn flags(&self) -> u16 {
        be16(self.header(), 0) & !VERSION_MASK
    }

    /// Reads the protocol of the payload, an Ethernet type.
    #[inline]
    pub fn protocol_type(&self) -> u16 {
        be16(self.header(), 2)
    }

    /// Reads the length of the header, as flags and version make it: 4 to 16 bytes.
    #[inline]
    pub fn header_len_bytes(&self) -> usize {
        let is_pptp = self.version() == PPTP;
        let words = u8::from(self.has(flag::CHECKSUM))
            + u8::from(self.has(flag::KEY))
            + u8::from(self.has(flag::SEQUENCE))
            + u8::from(is_pptp && self.has(flag::ACKNOWLEDGMENT));
        MIN_HEADER_LEN_BYTES + 4 * usize::from(words)
    }

    /// Reads the checksum as it stands, where there is one.
    #[inline]
    pub fn checksum(&self) -> Option<u16> {
        self.word(flag::CHECKSUM).map(|[a, b, _, _]| u16::from_be_bytes([a, b]))
    }

    /// Reads the 16 bits behind the checksum, where there is one.
    #[inline]
    pub fn reserved(&self) -> Option<u16> {
        self.word(flag::CHECKSUM).map(|[_, _, a, b]| u16::from_be_bytes([a, b]))
    }

    /// Reads the key, where there is one.
    #[inline]
    pub fn key(&self) -> Option<u32> {
        self.word(flag::KEY).map(u32::from_be_bytes)
    }

    /// Reads the payload's length and the call id, in version 1.
    #[inline]
    pub fn pptp_call(&self) -> Option<(u16, u16)> {
        let [a, b, c, d] = self.word(flag::KEY).filter(|_| self.version() == PPTP)?;
        Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
    }

    /// Reads the sequence number, where there is one.
    #[inline]
    pub fn sequence(&self) -> Option<u32> {
        self.word(flag::SEQUENCE).map(u32::from_be_bytes)
    }

    /// Reads the acknowledgment number, in version 1 where there is one.
    #[inline]
    pub fn acknowledgment(&self) -> Option<u32> {
        self.word(flag::ACKNOWLEDGMENT).map(u32::from_be_bytes)
    }

    /// Lends the bytes after the header. In version 1 the payload's length is not looked at.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.buffer.as_ref().get(self.header_len_bytes()..).unwrap_or_default()
    }

    /// Tells whether the checksum over header and payload is right, or absent.
    #[inline]
    pub fn verify_checksum(&self) -> bool {
        !self.has(flag::CHECKSUM) || checksum::verify(self.buffer.as_ref())
    }

    /// Gives the buffer back.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    fn has(&self, flag: u16) -> bool {
        self.flags() & flag != 0
    }

    /// Where the optional word of `flag` is, if the header announces it and the buffer has it.
    fn word_at(&self, flag: u16) -> Option<usize> {
        const ORDER: [u16; 4] = [flag::CHECKSUM, flag::KEY, flag::SEQUENCE, flag::ACKNOWLEDGMENT];
        let is_there = self.has(flag) && (flag != flag::ACKNOWLEDGMENT || self.version() == PPTP);
        let before = ORDER.iter().take_while(|one| **one != flag).filter(|one| self.has(**one));
        let at = MIN_HEADER_LEN_BYTES + 4 * before.count();
        (is_there && at + 4 <= self.buffer.as_ref().len()).then_some(at)
    }

    fn word(&self, flag: u16) -> Option<[u8; 4]> {
        Some(bytes(self.buffer.as_ref(), self.word_at(flag)?))
    }

    fn header(&self) -> &[u8; MIN_HEADER_LEN_BYTES] {
        self.buffer.as_ref().first_chunk().expect("new_checked saw four bytes")
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Gre<T> {
    /// Writes the first word without the version; see [`flag`]. Voids the check: afterwards words
    /// that the buffer does not have are absent, and the payload is cut.
    #[inline]
    pub fn set_flags(&mut self, flags: u16) {
        let word = flags & !VERSION_MASK | u16::from(self.version());
        set_be16(self.header_mut(), 0, word);
    }

    /// Writes the version: the low 3 bits of `version`. Voids the check, as
    /// [`set_flags`](Self::set_flags) does.
    #[inline]
    pub fn set_version(&mut self, version: u8) {
        let header = self.header_mut();
        header[1] = header[1] & !7 | version & 7;
    }

    /// Writes the protocol of the payload.
    #[inline]
    pub fn set_protocol_type(&mut self, protocol_type: u16) {
        set_be16(self.header_mut(), 2, protocol_type);
    }

    /// Writes a checksum computed elsewhere, where there is one; tells whether there is.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) -> bool {
        let [a, b] = checksum.to_be_bytes();
        self.word(flag::CHECKSUM)
            .is_some_and(|[_, _, c, d]| self.set_word(flag::CHECKSUM, [a, b, c, d]))
    }

    /// Writes the 16 bits behind the checksum, where there is one; tells whether there is.
    #[inline]
    pub fn set_reserved(&mut self, reserved: u16) -> bool {
        let [c, d] = reserved.to_be_bytes();
        self.word(flag::CHECKSUM)
            .is_some_and(|[a, b, _, _]| self.set_word(flag::CHECKSUM, [a, b, c, d]))
    }

    /// Writes the key, where there is one; tells whether there is.
    #[inline]
    pub fn set_key(&mut self, key: u32) -> bool {
        self.set_word(flag::KEY, key.to_be_bytes())
    }

    /// Writes the payload's length and the call id, in version 1; tells whether it is.
    #[inline]
    pub fn set_pptp_call(&mut self, (payload_len_bytes, call_id): (u16, u16)) -> bool {
        let ([a, b], [c, d]) = (payload_len_bytes.to_be_bytes(), call_id.to_be_bytes());
        self.version() == PPTP && self.set_word(flag::KEY, [a, b, c, d])
    }

    /// Writes the sequence number, where there is one; tells whether there is.
    #[inline]
    pub fn set_sequence(&mut self, sequence: u32) -> bool {
        self.set_word(flag::SEQUENCE, sequence.to_be_bytes())
    }

    /// Writes the acknowledgment number, where there is one; tells whether there is.
    #[inline]
    pub fn set_acknowledgment(&mut self, acknowledgment: u32) -> bool {
        self.set_word(flag::ACKNOWLEDGMENT, acknowledgment.to_be_bytes())
    }

    /// Computes and writes the checksum over header and payload, where there is one.
    #[inline]
    pub fn fill_checksum(&mut self) {
        if self.set_checksum(0) {
            let checksum = checksum::internet(self.buffer.as_ref());
            self.set_checksum(checksum);
        }
    }

    /// Lends the bytes after the header for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let start = self.header_len_bytes();
        self.buffer.as_mut().get_mut(start..).unwrap_or_default()
    }

    fn set_word(&mut self, flag: u16, word: [u8; 4]) -> bool {
        let Some(at) = self.word_at(flag) else { return false };
        self.buffer.as_mut()[at..at + 4].copy_from_slice(&word);
        true
    }

    fn header_mut(&mut self) -> &mut [u8; MIN_HEADER_LEN_BYTES] {
        self.buffer.as_mut().first_chunk_mut().expect("new_checked saw four bytes")
    }
}

/// A GRE header of version 0 as plain values; the checksum is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GreRepr {
    /// Whether header and payload have a checksum.
    pub has_checksum: bool,
    /// Key.
    pub key: Option<u32>,
    /// Sequence number.
    pub sequence: Option<u32>,
    /// Protocol of the payload, an Ethernet type.
    pub protocol_type: u16,
}

impl GreRepr {
    /// Reads all fields of a header whose checksum is right or absent.
    ///
    /// # Errors
    /// [`Error::Field`] for a wrong checksum, and for what is not representable: version 1, and
    /// flags and reserved bits that RFC 2784 has no use for.
    pub fn parse<T: AsRef<[u8]>>(view: &Gre<T>) -> Result<Self, Error> {
        Error::check_field(LAYER, 1, "version", view.version() == 0)?;
        let known = flag::CHECKSUM | flag::KEY | flag::SEQUENCE;
        Error::check_field(LAYER, 0, "flags", view.flags() & !known == 0)?;
        Error::check_field(LAYER, 6, "reserved", view.reserved().unwrap_or(0) == 0)?;
        Error::check_field(LAYER, 4, "checksum", view.verify_checksum())?;
        Ok(Self {
            has_checksum: view.has(flag::CHECKSUM),
            key: view.key(),
            sequence: view.sequence(),
            protocol_type: view.protocol_type(),
        })
    }

    /// The length of the header: 4 to 16 bytes.
    #[must_use]
    pub const fn header_len_bytes(&self) -> usize {
        MIN_HEADER_LEN_BYTES
            + 4 * (self.has_checksum as usize
                + self.key.is_some() as usize
                + self.sequence.is_some() as usize)
    }

    /// Writes the header in front of the payload that is in `buffer` already and ends where that
    /// does, checksum over both included, and returns the view.
    ///
    /// # Errors
    /// [`Error::Short`].
    pub fn emit<'b>(&self, buffer: &'b mut [u8]) -> Result<Gre<&'b mut [u8]>, Error> {
        Error::check_header(LAYER, self.header_len_bytes(), buffer.len())?;
        let mut view = Gre { buffer };
        let flag_if = |is_set: bool, flag: u16| if is_set { flag } else { 0 };
        view.set_version(0);
        view.set_flags(
            flag_if(self.has_checksum, flag::CHECKSUM)
                | flag_if(self.key.is_some(), flag::KEY)
                | flag_if(self.sequence.is_some(), flag::SEQUENCE),
        );
        view.set_protocol_type(self.protocol_type);
        view.set_reserved(0);
        view.set_key(self.key.unwrap_or(0));
        view.set_sequence(self.sequence.unwrap_or(0));
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

    #[test]
    fn a_header_with_all_words_by_hand() {
        let mut buffer = *b"................ab";
        let repr = GreRepr {
            has_checksum: true,
            key: Some(0x0102_0304),
            sequence: Some(9),
            protocol_type: 0x0800,
        };
        repr.emit(&mut buffer).unwrap();
        // b000+0800+0102+0304+0000+0009+6162 = 11d71, folded 1d72, complement e28d
        assert_eq!(buffer, *b"\xb0\0\x08\0\xe2\x8d\0\0\x01\x02\x03\x04\0\0\0\x09ab");
        buffer[17] ^= 1;
        let view = Gre::new_checked(&buffer).unwrap();
        assert!(!view.verify_checksum());
        assert!(matches!(GreRepr::parse(&view), Err(Error::Field { field: "checksum", .. })));
        assert_eq!(view.payload(), [b'a', b'c']);
    }

    #[test]
    fn versions_and_flags_are_checked() {
        let field = |bytes: &[u8]| match Gre::new_checked(bytes) {
            Err(Error::Field { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(field(&[0x40, 0, 8, 0]), "routing flag");
        assert_eq!(field(&[0, 2, 8, 0]), "version");
        assert_eq!(field(&[0, 1, 8, 0]), "key flag");
        assert_eq!(field(&[0xa0, 1, 8, 0]), "checksum flag");
        assert!(matches!(Gre::new_checked([0; 3]), Err(Error::Short { needed_bytes: 4, .. })));
        let cut = Gre::new_checked([0xb0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert!(matches!(cut, Err(Error::Short { needed_bytes: 16, available_bytes: 15, .. })));
        // A is a flag of version 1 only.
        let view = Gre::new_checked([0, 0x80, 8, 0, 7]).unwrap();
        assert_eq!((view.acknowledgment(), view.payload()), (None, &[7][..]));
        assert!(GreRepr::parse(&view).is_err());
    }

    #[test]
    fn pptp_is_recognised() {
        let mut bytes = [0x30, 0x81, 0x88, 0x0b, 0, 2, 0, 5, 0, 0, 0, 6, 0, 0, 0, 7, 1, 2];
        let mut view = Gre::new_checked(bytes.as_mut_slice()).unwrap();
        assert_eq!((view.version(), view.protocol_type()), (1, PPP));
        assert_eq!(view.pptp_call(), Some((2, 5)));
        assert_eq!((view.sequence(), view.acknowledgment()), (Some(6), Some(7)));
        assert_eq!(view.payload(), [1, 2]);
        assert!(GreRepr::parse(&view).is_err());
        assert!(view.set_pptp_call((0x0102, 0x0304)) && view.set_acknowledgment(8));
        assert!(!view.set_checksum(1) && !view.set_reserved(1));
        assert_eq!((view.key(), view.acknowledgment()), (Some(0x0102_0304), Some(8)));
        assert_eq!((view.sequence(), view.payload_mut().len()), (Some(6), 2));
    }

    fn repr() -> impl Strategy<Value = GreRepr> {
        (any::<bool>(), any::<Option<u32>>(), any::<Option<u32>>(), any::<u16>()).prop_map(
            |(has_checksum, key, sequence, protocol_type)| GreRepr {
                has_checksum,
                key,
                sequence,
                protocol_type,
            },
        )
    }

    proptest! {
        // Planted and caught: emit leaves out the checksum. (Key and sequence exchanged show by hand
        // only, above: both ways are wrong alike.)
        #[test]
        fn emit_undoes_parse(repr in repr(), payload in vec(any::<u8>(), 0..40)) {
            let mut bytes = [&[0xa5; 16][16 - repr.header_len_bytes()..], &payload].concat();
            let view = repr.emit(&mut bytes).unwrap();
            prop_assert_eq!(view.payload(), &payload);
            prop_assert!(view.verify_checksum());
            prop_assert_eq!(GreRepr::parse(&view).unwrap(), repr);
            let parsed = Gre::new_checked(&bytes).unwrap();
            prop_assert_eq!(
                (parsed.key(), parsed.sequence(), parsed.protocol_type()),
                (repr.key, repr.sequence, repr.protocol_type)
            );
        }

        // Planted and caught: a word beyond the buffer that is read.
        #[test]
        fn no_flags_and_no_bytes_panic(
            mut bytes in vec(any::<u8>(), 4..24), flags: u16, version: u8, value: u32,
        ) {
            let all = |view: &mut Gre<&mut [u8]>| {
                let words: Vec<Option<u32>> = [view.key(), view.sequence(), view.acknowledgment()].into();
                _ = (view.checksum(), view.reserved(), view.pptp_call(), GreRepr::parse(view).is_ok());
                view.fill_checksum();
                (view.payload_mut().len() <= 20, words)
            };
            let plain = [0; 20];
            bytes.extend(&plain[..20_usize.saturating_sub(bytes.len())]);
            if let Ok(mut view) = Gre::new_checked(bytes.as_mut_slice()) {
                prop_assert!(all(&mut view).0);
            }
            let mut short = [0, 0, 8, 0, 1, 2, 3];
            let mut view = Gre::new_checked(short.as_mut_slice()).unwrap();
            view.set_flags(flags);
            view.set_version(version);
            prop_assert_eq!((view.flags(), view.version()), (flags & !7, version & 7));
            prop_assert!(!view.set_key(value) && !view.set_sequence(value));
            prop_assert_eq!(all(&mut view).1, [None; 3]);
        }
    }
}
