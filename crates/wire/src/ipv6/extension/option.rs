//! Options of hop-by-hop and destination headers (RFC 8200 section 4.2).
//!
//! ```text
//!   0  | next header 8 | length 8      | option, option, ...                 |
//!
//!  Pad1 | 0 |      others | type 8 | data length 8 | data |
//! ```
//!
//! The upper two bits of a type say what a node does that does not know it: skip it (0), drop the
//! packet (1), or drop it and answer (2, 3).

use super::LAYER;
use crate::Error;

/// The option types that this crate knows.
pub mod option_type {
    /// One byte of padding.
    pub const PAD_1: u8 = 0;
    /// Two bytes of padding or more.
    pub const PAD_N: u8 = 1;
    /// Router alert (RFC 2711).
    pub const ROUTER_ALERT: u8 = 5;
    /// Jumbo payload (RFC 2675).
    pub const JUMBO_PAYLOAD: u8 = 0xc2;
}

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv6Option<'a> {
    /// One byte of padding.
    Pad1,
    /// Padding of two bytes and these, which should be zero.
    PadN(&'a [u8]),
    /// Jumbo payload (RFC 2675 section 2).
    JumboPayload {
        /// Length of the packet without its IPv6 header.
        len_bytes: u32,
    },
    /// Router alert (RFC 2711 section 2.1).
    RouterAlert {
        /// Which protocol's packet it is: 0 MLD, 1 RSVP, 2 active networks.
        value: u16,
    },
    /// Any other.
    Other {
        /// Type, its upper three bits included.
        option_type: u8,
        /// Data, 0 to 255 bytes.
        data: &'a [u8],
    },
}

impl<'a> Ipv6Option<'a> {
    /// Gives a meaning to the data of one option that begins at `offset_bytes`.
    fn from_data(option_type: u8, data: &'a [u8], offset_bytes: usize) -> Result<Self, Error> {
        let bad = |field| Error::Field { layer: LAYER, offset_bytes, field };
        Ok(match option_type {
            option_type::PAD_N => Self::PadN(data),
            option_type::JUMBO_PAYLOAD => {
                let data = data.try_into().map_err(|_| bad("jumbo payload option"))?;
                Self::JumboPayload { len_bytes: u32::from_be_bytes(data) }
            }
            option_type::ROUTER_ALERT => {
                let data = data.try_into().map_err(|_| bad("router alert option"))?;
                Self::RouterAlert { value: u16::from_be_bytes(data) }
            }
            _ => Self::Other { option_type, data },
        })
    }
}

/// The options of one hop-by-hop or destination header; the iterator ends behind the first error.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    header: &'a [u8],
    offset_bytes: usize,
}

impl<'a> Options<'a> {
    /// Starts behind the first two bytes of `header`, which is the whole header:
    /// [`Extension::bytes`](super::Extension::bytes). Offsets of errors count from its start.
    #[inline]
    #[must_use]
    pub const fn new(header: &'a [u8]) -> Self {
        Self { header, offset_bytes: 2 }
    }

    /// Reads the option at the offset, and how long it is.
    fn read(&self) -> Option<(Result<Ipv6Option<'a>, Error>, usize)> {
        let offset_bytes = self.offset_bytes;
        let rest = self.header.get(offset_bytes..)?;
        let [option_type, after @ ..] = rest else { return None };
        if *option_type == option_type::PAD_1 {
            return Some((Ok(Ipv6Option::Pad1), 1));
        }
        let len_bytes = 2 + after.first().copied().map_or(0, usize::from);
        let option = match after.get(1..len_bytes - 1) {
            Some(data) => Ipv6Option::from_data(*option_type, data, offset_bytes),
            None => Err(Error::Short {
                layer: LAYER,
                offset_bytes,
                needed_bytes: len_bytes,
                available_bytes: rest.len(),
            }),
        };
        Some((option, len_bytes))
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<Ipv6Option<'a>, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (option, len_bytes) = self.read()?;
        self.offset_bytes = if option.is_ok() { self.offset_bytes + len_bytes } else { usize::MAX };
        Some(option)
    }
}

impl core::iter::FusedIterator for Options<'_> {}
