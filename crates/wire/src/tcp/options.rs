//! TCP options (RFC 9293 section 3.2): reading and writing.
//!
//! ```text
//!  | 0 | end of list      | 1 | NOP      others | kind 8 | length 8 | data |
//!
//!  | 2 | 4  | mss 16 |                       maximum segment size (RFC 9293)
//!  | 3 | 3  | shift 8 |                      window scale (RFC 7323 section 2.2)
//!  | 4 | 2  |                                SACK permitted (RFC 2018 section 2)
//!  | 5 | 2 + 8 n | left 32 | right 32 | ...  SACK, n is 1 to 4 (RFC 2018 section 3)
//!  | 8 | 10 | value 32 | echo reply 32 |     timestamps (RFC 7323 section 3.2)
//!  | 30 | ... |                              multipath TCP (RFC 8684 section 3)
//!  | 34 | 2 + n | cookie |                   fast open (RFC 7413 section 4.1.1)
//! ```
//!
//! The length counts kind and length too.

use crate::{Error, Layer};

const LAYER: Layer = Layer::Tcp;

/// The option kinds that this crate knows.
pub mod option_kind {
    /// End of the list.
    pub const END: u8 = 0;
    /// One byte of padding.
    pub const NOP: u8 = 1;
    /// Maximum segment size.
    pub const MSS: u8 = 2;
    /// Window scale.
    pub const WINDOW_SCALE: u8 = 3;
    /// SACK permitted.
    pub const SACK_PERMITTED: u8 = 4;
    /// Selective acknowledgment.
    pub const SACK: u8 = 5;
    /// Timestamps.
    pub const TIMESTAMPS: u8 = 8;
    /// Multipath TCP.
    pub const MPTCP: u8 = 30;
    /// Fast open cookie.
    pub const FAST_OPEN: u8 = 34;
}

/// The numbers of a timestamps option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timestamps {
    /// The sender's clock.
    pub value: u32,
    /// The clock value of the other side that this answers.
    pub echo_reply: u32,
}

/// One range of bytes that arrived out of order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SackBlock {
    /// Sequence number of the first byte.
    pub left: u32,
    /// Sequence number behind the last byte.
    pub right: u32,
}

/// The one to four blocks of a SACK option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SackBlocks {
    // Blocks beyond the count are zero, so that equal lists are equal.
    blocks: [SackBlock; 4],
    count: usize,
}

impl SackBlocks {
    /// Takes one to four blocks; `None` for any other number.
    #[must_use]
    pub fn new(blocks: &[SackBlock]) -> Option<Self> {
        let mut copy = [SackBlock::default(); 4];
        if blocks.is_empty() {
            return None;
        }
        copy.get_mut(..blocks.len())?.copy_from_slice(blocks);
        Some(Self { blocks: copy, count: blocks.len() })
    }

    /// Lends the blocks.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[SackBlock] {
        &self.blocks[..self.count]
    }

    fn from_data(data: &[u8]) -> Option<Self> {
        let (chunks, rest) = data.as_chunks::<8>();
        if !rest.is_empty() || chunks.is_empty() || chunks.len() > 4 {
            return None;
        }
        let mut blocks = [SackBlock::default(); 4];
        for (block, [a, b, c, d, e, f, g, h]) in blocks.iter_mut().zip(chunks) {
            block.left = u32::from_be_bytes([*a, *b, *c, *d]);
            block.right = u32::from_be_bytes([*e, *f, *g, *h]);
        }
        Some(Self { blocks, count: chunks.len() })
    }
}

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpOption<'a> {
    /// End of the list; what is behind is padding.
    End,
    /// One byte of padding.
    Nop,
    /// Maximum segment size in bytes.
    Mss(u16),
    /// By how many bits windows are shifted; above 14 the receiver takes 14.
    WindowScale(u8),
    /// The sender understands SACK.
    SackPermitted,
    /// What arrived out of order.
    Sack(SackBlocks),
    /// Timestamps.
    Timestamps(Timestamps),
    /// Multipath TCP; subtype and data are not looked into.
    Mptcp(&'a [u8]),
    /// Fast open cookie; empty where one is asked for.
    FastOpen(&'a [u8]),
    /// Any other.
    Other {
        /// Kind.
        kind: u8,
        /// Data without kind and length, 0 to 253 bytes.
        data: &'a [u8],
    },
}

impl<'a> TcpOption<'a> {
    /// Tells how many bytes the option takes.
    #[inline]
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        match self {
            Self::End | Self::Nop => 1,
            Self::SackPermitted => 2,
            Self::WindowScale(_) => 3,
            Self::Mss(_) => 4,
            Self::Timestamps(_) => 10,
            Self::Sack(blocks) => 2 + 8 * blocks.count,
            Self::Mptcp(data) | Self::FastOpen(data) | Self::Other { data, .. } => 2 + data.len(),
        }
    }

    /// Gives the option's kind.
    #[inline]
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match *self {
            Self::End => option_kind::END,
            Self::Nop => option_kind::NOP,
            Self::Mss(_) => option_kind::MSS,
            Self::WindowScale(_) => option_kind::WINDOW_SCALE,
            Self::SackPermitted => option_kind::SACK_PERMITTED,
            Self::Sack(_) => option_kind::SACK,
            Self::Timestamps(_) => option_kind::TIMESTAMPS,
            Self::Mptcp(_) => option_kind::MPTCP,
            Self::FastOpen(_) => option_kind::FAST_OPEN,
            Self::Other { kind, .. } => kind,
        }
    }

    /// Gives a meaning to the data of one option; `None` if the length does not fit the kind.
    fn from_data(kind: u8, data: &'a [u8]) -> Option<Self> {
        Some(match (kind, data) {
            (option_kind::MSS, &[a, b]) => Self::Mss(u16::from_be_bytes([a, b])),
            (option_kind::WINDOW_SCALE, &[shift]) => Self::WindowScale(shift),
            (option_kind::SACK_PERMITTED, &[]) => Self::SackPermitted,
            (option_kind::SACK, data) => Self::Sack(SackBlocks::from_data(data)?),
            (option_kind::TIMESTAMPS, &[a, b, c, d, e, f, g, h]) => Self::Timestamps(Timestamps {
                value: u32::from_be_bytes([a, b, c, d]),
                echo_reply: u32::from_be_bytes([e, f, g, h]),
            }),
            (option_kind::MPTCP, data) => Self::Mptcp(data),
            (option_kind::FAST_OPEN, data) => Self::FastOpen(data),
            (
                option_kind::MSS
                | option_kind::WINDOW_SCALE
                | option_kind::SACK_PERMITTED
                | option_kind::TIMESTAMPS,
                _,
            ) => return None,
            (kind, data) => Self::Other { kind, data },
        })
    }

    /// Writes the option into `room`, which has its length.
    fn write(&self, room: &mut [u8]) {
        let [kind, rest @ ..] = room else { return };
        *kind = self.kind();
        let [length, data @ ..] = rest else { return };
        // At most 253 bytes of data: write_options looked.
        *length = u8::try_from(self.len_bytes()).unwrap_or(u8::MAX);
        match self {
            Self::End | Self::Nop | Self::SackPermitted => {}
            Self::WindowScale(shift) => data.fill(*shift),
            Self::Mss(mss) => data.copy_from_slice(&mss.to_be_bytes()),
            Self::Timestamps(Timestamps { value, echo_reply }) => {
                data[..4].copy_from_slice(&value.to_be_bytes());
                data[4..].copy_from_slice(&echo_reply.to_be_bytes());
            }
            Self::Sack(blocks) => {
                for (room, block) in data.as_chunks_mut::<8>().0.iter_mut().zip(blocks.as_slice()) {
                    room[..4].copy_from_slice(&block.left.to_be_bytes());
                    room[4..].copy_from_slice(&block.right.to_be_bytes());
                }
            }
            Self::Mptcp(bytes) | Self::FastOpen(bytes) | Self::Other { data: bytes, .. } => {
                data.copy_from_slice(bytes);
            }
        }
    }
}

/// Options one by one; the iterator ends behind [`TcpOption::End`] and behind the first error.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    options: &'a [u8],
    offset_bytes: usize,
}

impl<'a> Options<'a> {
    /// Starts at the first byte of `options`: [`Tcp::options`](super::Tcp::options). Offsets of
    /// errors count from the start of the TCP header.
    #[inline]
    #[must_use]
    pub const fn new(options: &'a [u8]) -> Self {
        Self { options, offset_bytes: 0 }
    }

    /// Reads the option that begins with `kind`.
    fn read(&self, kind: u8, rest: &'a [u8]) -> Result<TcpOption<'a>, Error> {
        let offset_bytes = super::HEADER_LEN_BYTES + self.offset_bytes;
        // A length that is not there is shown as the smallest one.
        let needed_bytes = rest.get(1).copied().map_or(2, usize::from);
        let field = "option length";
        Error::check_field(LAYER, offset_bytes + 1, field, needed_bytes >= 2)?;
        let available_bytes = rest.len();
        let data = rest.get(2..needed_bytes);
        let short = Error::Short { layer: LAYER, offset_bytes, needed_bytes, available_bytes };
        let bad = Error::Field { layer: LAYER, offset_bytes: offset_bytes + 1, field };
        TcpOption::from_data(kind, data.ok_or(short)?).ok_or(bad)
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<TcpOption<'a>, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.options.get(self.offset_bytes..)?;
        let option = match *rest.first()? {
            option_kind::END => Ok(TcpOption::End),
            option_kind::NOP => Ok(TcpOption::Nop),
            kind => self.read(kind, rest),
        };
        self.offset_bytes = match option {
            Ok(TcpOption::End) | Err(_) => self.options.len(),
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
/// [`Error::Field`] if they take more than 40 bytes, or for an [`TcpOption::Other`] whose kind has
/// no length or a name of its own; [`Error::Short`] if the buffer has no room. Then nothing is
/// written.
pub fn write_options(options: &[TcpOption<'_>], buffer: &mut [u8]) -> Result<usize, Error> {
    let offset_bytes = super::HEADER_LEN_BYTES;
    let mut len_bytes = 0_usize;
    for option in options {
        len_bytes = len_bytes.saturating_add(option.len_bytes());
        if let TcpOption::Other { kind, data } = *option {
            let same = TcpOption::from_data(kind, data) == Some(*option);
            Error::check_field(LAYER, offset_bytes, "option kind", kind > 1 && same)?;
        }
    }
    let fits = len_bytes <= super::MAX_OPTIONS_LEN_BYTES;
    Error::check_field(LAYER, offset_bytes, "options length", fits)?;
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
