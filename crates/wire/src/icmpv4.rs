//! `ICMPv4` (RFC 792): 8 bytes, of which the last four depend on the type.
//!
//! ```text
//!  0      1      2          4            6          8
//!  | type | code | checksum | identifier | sequence | payload       (echo request and reply)
//! ```
//!
//! ICMP has no length of its own: the message, which the checksum covers as a whole, is the
//! payload of IPv4. Give the view exactly that ([`Ipv4::payload`](crate::Ipv4::payload)), never
//! the rest of a padded frame.

use crate::{Error, Layer, be16, bytes, checksum, set_be16};

/// Bytes of a message's header.
pub const HEADER_LEN_BYTES: usize = 8;

/// The message types that this crate knows.
pub mod icmp_type {
    /// Answer to an echo request.
    pub const ECHO_REPLY: u8 = 0;
    /// Asks for an echo reply with the same identifier, sequence and payload.
    pub const ECHO_REQUEST: u8 = 8;
}

/// A view of an ICMP message.
#[derive(Clone, Copy, Debug)]
pub struct Icmpv4<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Icmpv4<T> {
    /// Checks that the 8-byte header is there. No setter voids the check.
    ///
    /// # Errors
    /// [`Error::Short`].
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        Error::check_header(Layer::Icmpv4, HEADER_LEN_BYTES, buffer.as_ref().len())?;
        Ok(Self { buffer })
    }

    /// Reads the type; see [`icmp_type`].
    #[inline]
    pub fn icmp_type(&self) -> u8 {
        self.header()[0]
    }

    /// Reads the code, whose meaning depends on the type.
    #[inline]
    pub fn icmp_code(&self) -> u8 {
        self.header()[1]
    }

    /// Reads the checksum as it stands.
    #[inline]
    pub fn checksum(&self) -> u16 {
        be16(self.header(), 2)
    }

    /// Reads the identifier of an echo message.
    #[inline]
    pub fn identifier(&self) -> u16 {
        be16(self.header(), 4)
    }

    /// Reads the sequence number of an echo message.
    #[inline]
    pub fn sequence(&self) -> u16 {
        be16(self.header(), 6)
    }

    /// Lends the bytes after the header.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.buffer.as_ref()[HEADER_LEN_BYTES..]
    }

    /// Tells whether the message's checksum is right.
    #[inline(always)]
    pub fn verify_checksum(&self) -> bool {
        checksum::verify(self.buffer.as_ref())
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

impl<T: AsRef<[u8]> + AsMut<[u8]>> Icmpv4<T> {
    /// Writes the type; the checksum stays as it was.
    #[inline]
    pub fn set_icmp_type(&mut self, icmp_type: u8) {
        self.header_mut()[0] = icmp_type;
    }

    /// Writes the code; the checksum stays as it was.
    #[inline]
    pub fn set_icmp_code(&mut self, icmp_code: u8) {
        self.header_mut()[1] = icmp_code;
    }

    /// Writes a checksum computed elsewhere.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        set_be16(self.header_mut(), 2, checksum);
    }

    /// Writes the identifier of an echo message.
    #[inline]
    pub fn set_identifier(&mut self, identifier: u16) {
        set_be16(self.header_mut(), 4, identifier);
    }

    /// Writes the sequence number of an echo message.
    #[inline]
    pub fn set_sequence(&mut self, sequence: u16) {
        set_be16(self.header_mut(), 6, sequence);
    }

    /// Lends the bytes after the header for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.buffer.as_mut()[HEADER_LEN_BYTES..]
    }

    /// Computes and writes the checksum over the whole message.
    #[inline]
    pub fn fill_checksum(&mut self) {
        self.set_checksum(0);
        let checksum = checksum::internet(self.buffer.as_ref());
        self.set_checksum(checksum);
    }

    /// Makes the message an echo reply and updates its checksum for that, without reading the
    /// payload: a request that was damaged becomes a reply that is.
    #[inline(always)]
    pub fn turn_into_echo_reply(&mut self) {
        let old_word = be16(self.header(), 0);
        self.set_icmp_type(icmp_type::ECHO_REPLY);
        let new_word = be16(self.header(), 0);
        self.set_checksum(checksum::update16(self.checksum(), old_word, new_word));
        // The corner of update16: over all zeros only 0xffff verifies. Read one message in 65536.
        if self.checksum() == 0 && self.buffer.as_ref().iter().all(|byte| *byte == 0) {
            self.set_checksum(0xffff);
        }
    }

    fn header_mut(&mut self) -> &mut [u8; HEADER_LEN_BYTES] {
        self.buffer.as_mut().first_chunk_mut().expect("new_checked saw the whole header")
    }
}

/// An ICMP header as plain values; the checksum is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Icmpv4Repr {
    /// Type; see [`icmp_type`].
    pub icmp_type: u8,
    /// Code, whose meaning depends on the type.
    pub icmp_code: u8,
    /// The header's last four bytes, whose meaning depends on the type.
    pub rest: [u8; 4],
}

impl Icmpv4Repr {
    /// An echo request.
    #[must_use]
    pub const fn echo_request(identifier: u16, sequence: u16) -> Self {
        let ([a, b], [c, d]) = (identifier.to_be_bytes(), sequence.to_be_bytes());
        Self { icmp_type: icmp_type::ECHO_REQUEST, icmp_code: 0, rest: [a, b, c, d] }
    }

    /// An echo reply.
    #[must_use]
    pub const fn echo_reply(identifier: u16, sequence: u16) -> Self {
        Self { icmp_type: icmp_type::ECHO_REPLY, ..Self::echo_request(identifier, sequence) }
    }

    /// Reads all fields of a message whose checksum is right.
    ///
    /// # Errors
    /// [`Error::Field`] for a wrong checksum.
    pub fn parse<T: AsRef<[u8]>>(view: &Icmpv4<T>) -> Result<Self, Error> {
        Error::check_field(Layer::Icmpv4, 2, "checksum", view.verify_checksum())?;
        Ok(Self {
            icmp_type: view.icmp_type(),
            icmp_code: view.icmp_code(),
            rest: bytes(view.header(), 4),
        })
    }

    /// Writes the header in front of the payload that is in `message` already, checksum over both
    /// included, and returns the view. `message` is header and payload and nothing more.
    ///
    /// # Errors
    /// [`Error::Short`].
    pub fn emit<'b>(&self, message: &'b mut [u8]) -> Result<Icmpv4<&'b mut [u8]>, Error> {
        let mut view = Icmpv4::new_checked(message)?;
        view.set_icmp_type(self.icmp_type);
        view.set_icmp_code(self.icmp_code);
        view.header_mut()[4..].copy_from_slice(&self.rest);
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
    fn an_echo_request_by_hand() {
        let mut message = *b"\xff\xff\xff\xff\xff\xff\xff\xffabcdefgh";
        let view = Icmpv4Repr::echo_request(1, 2).emit(&mut message).unwrap();
        assert_eq!((view.identifier(), view.sequence(), view.payload()), (1, 2, &b"abcdefgh"[..]));
        assert_eq!(message[..8], [8, 0, 0x66, 0x67, 0, 1, 0, 2]);
        assert!(Icmpv4::new_checked(&message[..7]).is_err());
        assert!(Icmpv4Repr::echo_reply(1, 2).emit(&mut message[..7]).is_err());
        message[9] ^= 1;
        assert!(Icmpv4Repr::parse(&Icmpv4::new_checked(message).unwrap()).is_err());
    }

    #[test]
    fn the_reply_of_all_zeros_verifies() {
        let mut message = [0; 64];
        let mut view = Icmpv4Repr::echo_request(0, 0).emit(&mut message).unwrap();
        view.turn_into_echo_reply();
        assert_eq!(view.checksum(), 0xffff);
        assert!(view.verify_checksum());
    }

    fn snapshot(view: &Icmpv4<&mut [u8]>) -> ([u16; 5], Vec<u8>) {
        let fields = [
            view.icmp_type().into(),
            view.icmp_code().into(),
            view.checksum(),
            view.identifier(),
            view.sequence(),
        ];
        (fields, view.payload().into())
    }

    proptest! {
        // Planted and caught: set_sequence writes the identifier.
        #[test]
        fn a_setter_changes_its_field_only(
            mut message in vec(any::<u8>(), 8..40), i in 0_usize..5, value: u16,
        ) {
            let mut view = Icmpv4::new_checked(message.as_mut_slice()).unwrap();
            let mut expected = snapshot(&view);
            let byte = value.to_be_bytes()[1];
            expected.0[i] = if i < 2 { byte.into() } else { value };
            match i {
                0 => view.set_icmp_type(byte),
                1 => view.set_icmp_code(byte),
                2 => view.set_checksum(value),
                3 => view.set_identifier(value),
                _ => view.set_sequence(value),
            }
            prop_assert_eq!(snapshot(&view), expected);
        }

        // Planted and caught: emit leaves out the last four bytes; a fold without end-around carry.
        #[test]
        fn emit_undoes_parse(mut message in vec(any::<u8>(), 8..80)) {
            Icmpv4::new_checked(message.as_mut_slice()).unwrap().fill_checksum();
            let repr = Icmpv4Repr::parse(&Icmpv4::new_checked(&message).unwrap()).unwrap();
            let mut copy = message.clone();
            copy[..8].fill(0xa5);
            repr.emit(&mut copy).unwrap();
            prop_assert_eq!(copy, message);
        }

        // Planted and caught: old and new word exchanged; a reply that is summed anew and so hides
        // the request's damage.
        #[test]
        fn a_reply_is_as_right_as_its_request(
            identifier: u16, sequence: u16, payload in vec(any::<u8>(), 0..64),
            damage in prop_oneof![Just(0), any::<u16>()],
        ) {
            let mut message = [0; 8].to_vec();
            message.extend(&payload);
            let request = Icmpv4Repr::echo_request(identifier, sequence);
            let mut view = request.emit(&mut message).unwrap();
            view.set_checksum(view.checksum() ^ damage);
            let right = view.verify_checksum();
            view.turn_into_echo_reply();
            prop_assert_eq!(view.icmp_type(), icmp_type::ECHO_REPLY);
            prop_assert_eq!(view.verify_checksum(), right);
            if damage == 0 {
                let mut expected = message.clone();
                Icmpv4Repr::echo_reply(identifier, sequence).emit(&mut expected).unwrap();
                prop_assert_eq!(message, expected);
            }
        }
    }
}
