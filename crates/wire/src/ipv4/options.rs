//! IPv4 options (RFC 791 section 3.1): reading and writing.
//!
//! ```text
//!  | 0 | end of list      | 1 | NOP      others | type 8 | length 8 | data |
//!
//!  | 7, 131, 137 | 3 + 4 n | pointer 8 | addresses 4 n |      record route, source routes
//!  | 68 | 4 + ... | pointer 8 | overflow 4 | flag 4 | ... |   timestamps
//!  | 148 | 4 | value 16 |                                    router alert (RFC 2113)
//! ```
//!
//! The length counts type and length too. A pointer counts from 1, at the type: the smallest of a
//! route is 4.

use core::net::Ipv4Addr;

use super::{HEADER_LEN_BYTES, Ipv4, Ipv4Repr};
use crate::{Error, Layer};

const LAYER: Layer = Layer::Ipv4;

/// The most bytes that options take.
const MAX_LEN_BYTES: usize = 40;

/// The option types that this crate knows.
pub mod option_type {
    /// End of the list.
    pub const END: u8 = 0;
    /// One byte of padding.
    pub const NOP: u8 = 1;
    /// Record route.
    pub const RECORD_ROUTE: u8 = 7;
    /// Timestamps.
    pub const TIMESTAMP: u8 = 68;
    /// Loose source and record route.
    pub const LOOSE_SOURCE_ROUTE: u8 = 131;
    /// Strict source and record route.
    pub const STRICT_SOURCE_ROUTE: u8 = 137;
    /// Router alert (RFC 2113).
    pub const ROUTER_ALERT: u8 = 148;
}

/// The data of a record route or source route option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route<'a> {
    /// Where the next address is, counted from 1 at the option's type: 4 for the first one, and
    /// behind the last one if the route is full or done.
    pub pointer: u8,
    /// The addresses as bytes, those not yet visited or recorded included.
    pub addresses: &'a [[u8; 4]],
}

impl<'a> Route<'a> {
    /// Reads the addresses.
    pub fn iter(&self) -> impl Iterator<Item = Ipv4Addr> + 'a {
        self.addresses.iter().copied().map(Ipv4Addr::from)
    }

    fn from_data(data: &'a [u8]) -> Option<Self> {
        let (&pointer, rest) = data.split_first()?;
        let (addresses, rest) = rest.as_chunks::<4>();
        rest.is_empty().then_some(Self { pointer, addresses })
    }
}

/// The data of a timestamp option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRecord<'a> {
    /// Where the next timestamp is, counted from 1 at the option's type: 5 for the first one.
    pub pointer: u8,
    /// How many hosts had no room for theirs, 0 to 15.
    pub overflow: u8,
    /// 0: timestamps only; 1: each behind its host's address; 3: addresses given by the sender.
    pub flag: u8,
    /// Timestamps in milliseconds since midnight UTC, or pairs of address and timestamp.
    pub words: &'a [[u8; 4]],
}

impl<'a> TimeRecord<'a> {
    fn from_data(data: &'a [u8]) -> Option<Self> {
        let (&[pointer, bits], rest) = data.split_first_chunk()?;
        let (words, rest) = rest.as_chunks::<4>();
        let record = Self { pointer, overflow: bits >> 4, flag: bits & 0x0f, words };
        rest.is_empty().then_some(record)
    }
}

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv4Option<'a> {
    /// End of the list; what is behind is padding.
    End,
    /// One byte of padding.
    Nop,
    /// Addresses of the routers on the way, recorded.
    RecordRoute(Route<'a>),
    /// Addresses to visit, with others in between.
    LooseSourceRoute(Route<'a>),
    /// Addresses to visit, with no others in between.
    StrictSourceRoute(Route<'a>),
    /// When the packet passed where.
    Timestamp(TimeRecord<'a>),
    /// Routers look at the packet; 0 is the only value in use.
    RouterAlert(u16),
    /// Any other.
    Other {
        /// Type, with its copied flag and class.
        option_type: u8,
        /// Data without type and length, 0 to 253 bytes.
        data: &'a [u8],
    },
}

impl<'a> Ipv4Option<'a> {
    /// Tells how many bytes the option takes.
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        match self {
            Self::End | Self::Nop => 1,
            Self::RouterAlert(_) => 4,
            Self::RecordRoute(route)
            | Self::LooseSourceRoute(route)
            | Self::StrictSourceRoute(route) => 3_usize.saturating_add(4 * route.addresses.len()),
            Self::Timestamp(record) => 4_usize.saturating_add(4 * record.words.len()),
            Self::Other { data, .. } => 2_usize.saturating_add(data.len()),
        }
    }

    /// Gives the option's type.
    #[must_use]
    pub const fn option_type(&self) -> u8 {
        match *self {
            Self::End => option_type::END,
            Self::Nop => option_type::NOP,
            Self::RecordRoute(_) => option_type::RECORD_ROUTE,
            Self::LooseSourceRoute(_) => option_type::LOOSE_SOURCE_ROUTE,
            Self::StrictSourceRoute(_) => option_type::STRICT_SOURCE_ROUTE,
            Self::Timestamp(_) => option_type::TIMESTAMP,
            Self::RouterAlert(_) => option_type::ROUTER_ALERT,
            Self::Other { option_type, .. } => option_type,
        }
    }

    /// Gives a meaning to the data of one option; `None` if the length does not fit the type.
    fn from_data(option_type: u8, data: &'a [u8]) -> Option<Self> {
        Some(match option_type {
            option_type::RECORD_ROUTE => Self::RecordRoute(Route::from_data(data)?),
            option_type::LOOSE_SOURCE_ROUTE => Self::LooseSourceRoute(Route::from_data(data)?),
            option_type::STRICT_SOURCE_ROUTE => Self::StrictSourceRoute(Route::from_data(data)?),
            option_type::TIMESTAMP => Self::Timestamp(TimeRecord::from_data(data)?),
            option_type::ROUTER_ALERT => {
                Self::RouterAlert(u16::from_be_bytes(data.try_into().ok()?))
            }
            _ => Self::Other { option_type, data },
        })
    }

    /// Tells whether the bytes written for it are read as it again.
    fn is_sane(&self) -> bool {
        match *self {
            Self::Timestamp(record) => record.overflow <= 15 && record.flag <= 15,
            Self::Other { option_type, data } => {
                option_type > 1 && Self::from_data(option_type, data) == Some(*self)
            }
            _ => true,
        }
    }

    /// Writes the option into `room`, which has its length.
    fn write(&self, room: &mut [u8]) {
        let [option_type, rest @ ..] = room else { return };
        *option_type = self.option_type();
        let [length, data @ ..] = rest else { return };
        // At most 40: write_options looked.
        *length = u8::try_from(self.len_bytes()).unwrap_or(u8::MAX);
        match self {
            Self::End | Self::Nop => {}
            Self::RouterAlert(value) => data.copy_from_slice(&value.to_be_bytes()),
            Self::RecordRoute(route)
            | Self::LooseSourceRoute(route)
            | Self::StrictSourceRoute(route) => {
                data[0] = route.pointer;
                data[1..].copy_from_slice(route.addresses.as_flattened());
            }
            Self::Timestamp(record) => {
                data[..2].copy_from_slice(&[record.pointer, record.overflow << 4 | record.flag]);
                data[2..].copy_from_slice(record.words.as_flattened());
            }
            Self::Other { data: bytes, .. } => data.copy_from_slice(bytes),
        }
    }
}

/// Options one by one; the iterator ends behind [`Ipv4Option::End`] and behind the first error.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    options: &'a [u8],
    offset_bytes: usize,
}

impl<'a> Options<'a> {
    /// Starts at the first byte of `options`: [`Ipv4::options`]. Offsets of errors count from the
    /// start of the IPv4 header.
    #[inline]
    #[must_use]
    pub const fn new(options: &'a [u8]) -> Self {
        Self { options, offset_bytes: 0 }
    }

    /// Reads the option that begins with `option_type`.
    fn read(&self, option_type: u8, rest: &'a [u8]) -> Result<Ipv4Option<'a>, Error> {
        let offset_bytes = HEADER_LEN_BYTES + self.offset_bytes;
        // A length that is not there is shown as the smallest one.
        let needed_bytes = rest.get(1).copied().map_or(2, usize::from);
        let field = "option length";
        Error::check_field(LAYER, offset_bytes + 1, field, needed_bytes >= 2)?;
        let available_bytes = rest.len();
        let data = rest.get(2..needed_bytes);
        let short = Error::Short { layer: LAYER, offset_bytes, needed_bytes, available_bytes };
        let bad = Error::Field { layer: LAYER, offset_bytes: offset_bytes + 1, field };
        Ipv4Option::from_data(option_type, data.ok_or(short)?).ok_or(bad)
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<Ipv4Option<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.options.get(self.offset_bytes..)?;
        let option = match *rest.first()? {
            option_type::END => Ok(Ipv4Option::End),
            option_type::NOP => Ok(Ipv4Option::Nop),
            option_type => self.read(option_type, rest),
        };
        self.offset_bytes = match option {
            Ok(Ipv4Option::End) | Err(_) => self.options.len(),
            Ok(option) => self.offset_bytes + option.len_bytes(),
        };
        Some(option)
    }
}

impl core::iter::FusedIterator for Options<'_> {}

/// Writes `options` one behind the other, then zeros (which are ends of the list) up to a multiple
/// of 4, and returns how many bytes that is: 0 to 40. What is listed behind an end is written too,
/// and no reader sees it.
///
/// # Errors
/// [`Error::Field`] if they take more than 40 bytes, for an [`Ipv4Option::Other`] whose type has no
/// length or a name of its own, and for a timestamp's overflow or flag above 15; [`Error::Short`]
/// if the buffer has no room. Then nothing is written.
pub fn write_options(options: &[Ipv4Option<'_>], buffer: &mut [u8]) -> Result<usize, Error> {
    let offset_bytes = HEADER_LEN_BYTES;
    let mut len_bytes = 0_usize;
    for option in options {
        len_bytes = len_bytes.saturating_add(option.len_bytes());
        Error::check_field(LAYER, offset_bytes, "option", option.is_sane())?;
    }
    Error::check_field(LAYER, offset_bytes, "options length", len_bytes <= MAX_LEN_BYTES)?;
    let needed_bytes = len_bytes.next_multiple_of(4);
    let available_bytes = buffer.len();
    let short = Error::Short { layer: LAYER, offset_bytes, needed_bytes, available_bytes };
    let mut room = buffer.get_mut(..needed_bytes).ok_or(short)?;
    for option in options {
        let (part, rest) = room.split_at_mut(option.len_bytes());
        option.write(part);
        room = rest;
    }
    room.fill(0);
    Ok(needed_bytes)
}

impl Ipv4Repr {
    /// As [`emit`](Self::emit), with `options` behind the header and the payload behind them.
    ///
    /// # Errors
    /// Those of [`emit`](Self::emit) and [`write_options`]; with options the payload is at most
    /// 65515 bytes less their length.
    pub fn emit_with_options<'b>(
        &self,
        options: &[Ipv4Option<'_>],
        buffer: &'b mut [u8],
    ) -> Result<Ipv4<&'b mut [u8]>, Error> {
        let mut room = [0; MAX_LEN_BYTES];
        let len_bytes = write_options(options, &mut room)?;
        let header_len_bytes = HEADER_LEN_BYTES + len_bytes;
        let total_len_bytes = header_len_bytes + usize::from(self.payload_len_bytes);
        let bad_len = Error::Field { layer: LAYER, offset_bytes: 2, field: "total length" };
        let total = u16::try_from(total_len_bytes).map_err(|_| bad_len)?;
        Error::check_header(LAYER, header_len_bytes, buffer.len())?;
        Error::check_len(LAYER, 2, total_len_bytes, buffer.len())?;
        let mut view = self.emit(buffer)?;
        view.set_header_len_bytes(header_len_bytes);
        view.set_total_len_bytes(total);
        view.options_mut().copy_from_slice(&room[..len_bytes]);
        view.fill_checksum();
        Ok(view)
    }
}
