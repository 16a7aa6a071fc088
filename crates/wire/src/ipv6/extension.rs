//! IPv6 extension headers (RFC 8200 section 4): the walk, options, fragment and routing header.
//!
//! ```text
//!  hop-by-hop, routing, destination, mobility, HIP, shim6: (length + 1) * 8 bytes
//!   0  | next header 8 | length 8      | ...                                 |
//!
//!  fragment: 8 bytes (section 4.5)
//!   0  | next header 8 | reserved 8    | offset / 8   13 | reserved 2 | M 1  |
//!   4  | identification 32                                                   |
//!
//!  authentication: (length + 2) * 4 bytes (RFC 4302 section 2)
//!   0  | next header 8 | length 8      | reserved 16                         |
//!
//!  routing (section 4.4; type 0: RFC 2460; type 2: RFC 6275 section 6.4; type 4: RFC 8754)
//!   0  | next header 8 | length 8      | type 8         | segments left 8    |
//!   4  | data of the type                                                    |
//! ```
//!
//! Each header names the type of the next one. The walk is what a receiver does to find the upper
//! layer; like the kernel's `ipv6_skip_exthdr` (net/ipv6/exthdrs_core.c, 6.1) it does not judge in
//! which order headers come. It ends in front of the first type that is no extension header, in
//! front of ESP, and behind the header of a fragment that is not the first, because what follows
//! there is no header.
//!
//! ```
//! use netmem_wire::ipv6::extension::{ExtensionKind, FragmentRepr, upper_layer};
//! use netmem_wire::ipv6::next_header::FRAGMENT;
//!
//! # fn main() -> Result<(), netmem_wire::Error> {
//! let repr = FragmentRepr {
//!     next_header: 17,
//!     fragment_offset_bytes: 0,
//!     more_fragments: true,
//!     identification: 7,
//! };
//! let mut payload = [0; 16];
//! repr.emit(&mut payload)?;
//!
//! let upper = upper_layer(FRAGMENT, &payload)?;
//! assert_eq!((upper.protocol, upper.offset_bytes, upper.fragment), (17, 8, Some(repr)));
//! # Ok(())
//! # }
//! ```

use core::net::Ipv6Addr;

use super::next_header;
use crate::{Error, Layer, be16, bytes, set_be16};

mod option;
mod routing;

#[cfg(test)]
mod tests;

pub use option::{Ipv6Option, Options, option_type};
pub use routing::{Routing, routing_type};

/// How many extension headers the walk goes through before it gives up.
pub const MAX_EXTENSIONS: usize = 16;

/// Bytes of a fragment header, and of the smallest extension header.
pub const FRAGMENT_LEN_BYTES: usize = 8;

const LAYER: Layer = Layer::Ipv6Extension;

/// Which extension header it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExtensionKind {
    /// Options for every router on the way.
    HopByHop,
    /// The segments that the packet visits.
    Routing,
    /// Fragment header.
    Fragment,
    /// Authentication header.
    Authentication,
    /// Options for the destination.
    Destination,
    /// Mobility header.
    Mobility,
    /// Host identity protocol.
    Hip,
    /// Shim6.
    Shim6,
}

impl ExtensionKind {
    /// Tells which extension header a next header value announces: `None` for an upper layer, for
    /// ESP and for no next header.
    #[inline]
    #[must_use]
    pub const fn from_next_header(value: u8) -> Option<Self> {
        Some(match value {
            next_header::HOP_BY_HOP => Self::HopByHop,
            next_header::ROUTING => Self::Routing,
            next_header::FRAGMENT => Self::Fragment,
            next_header::AUTHENTICATION => Self::Authentication,
            next_header::DESTINATION => Self::Destination,
            next_header::MOBILITY => Self::Mobility,
            next_header::HIP => Self::Hip,
            next_header::SHIM6 => Self::Shim6,
            _ => return None,
        })
    }

    /// Gives the next header value that announces this extension header.
    #[inline]
    #[must_use]
    pub const fn next_header(self) -> u8 {
        match self {
            Self::HopByHop => next_header::HOP_BY_HOP,
            Self::Routing => next_header::ROUTING,
            Self::Fragment => next_header::FRAGMENT,
            Self::Authentication => next_header::AUTHENTICATION,
            Self::Destination => next_header::DESTINATION,
            Self::Mobility => next_header::MOBILITY,
            Self::Hip => next_header::HIP,
            Self::Shim6 => next_header::SHIM6,
        }
    }

    /// The header's length by its length byte: 8 to 2048.
    #[inline]
    const fn len_bytes(self, length: u8) -> usize {
        match self {
            Self::Fragment => FRAGMENT_LEN_BYTES,
            Self::Authentication => (length as usize + 2) * 4,
            _ => (length as usize + 1) * 8,
        }
    }
}

/// One extension header of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Which one it is.
    pub kind: ExtensionKind,
    /// Type of the header behind it.
    pub next_header: u8,
    /// Where it begins, in the bytes of the walk.
    pub offset_bytes: usize,
    /// The whole header, 8 bytes at least.
    pub bytes: &'a [u8],
}

/// A walk over extension headers; it ends behind the first error.
#[derive(Clone, Debug)]
pub struct Extensions<'a> {
    next_header: u8,
    offset_bytes: usize,
    count: usize,
    has_ended: bool,
    payload: &'a [u8],
}

impl<'a> Extensions<'a> {
    /// Starts at the first byte of `payload`, a header of type `next_header`.
    #[inline]
    #[must_use]
    pub const fn new(next_header: u8, payload: &'a [u8]) -> Self {
        Self { next_header, offset_bytes: 0, count: 0, has_ended: false, payload }
    }

    /// Reads one header of the kind `kind`.
    fn read(&self, kind: ExtensionKind) -> Result<Extension<'a>, Error> {
        let offset_bytes = self.offset_bytes;
        let within = self.count < MAX_EXTENSIONS;
        Error::check_field(LAYER, offset_bytes, "extension header count", within)?;
        let rest = self.payload.get(offset_bytes..).unwrap_or_default();
        let short = |needed_bytes| Error::Short {
            layer: LAYER,
            offset_bytes,
            needed_bytes,
            available_bytes: rest.len(),
        };
        let [next_header, length, ..] =
            *rest.first_chunk::<FRAGMENT_LEN_BYTES>().ok_or_else(|| short(FRAGMENT_LEN_BYTES))?;
        let len_bytes = kind.len_bytes(length);
        let bytes = rest.get(..len_bytes).ok_or_else(|| short(len_bytes))?;
        Ok(Extension { kind, next_header, offset_bytes, bytes })
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = Result<Extension<'a>, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended {
            return None;
        }
        let kind = ExtensionKind::from_next_header(self.next_header)?;
        let extension = self.read(kind);
        match extension {
            Ok(extension) => {
                self.next_header = extension.next_header;
                self.offset_bytes += extension.bytes.len();
                self.count += 1;
                let later = kind == ExtensionKind::Fragment
                    && Fragment { buffer: extension.bytes }.fragment_offset_bytes() != 0;
                self.has_ended = later;
            }
            Err(_) => self.has_ended = true,
        }
        Some(extension)
    }
}

impl core::iter::FusedIterator for Extensions<'_> {}

/// What is behind the extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UpperLayer {
    /// Type of what is there: of an upper layer, [`next_header::ESP`] or
    /// [`next_header::NO_NEXT_HEADER`]. In a later fragment, what its fragment header names.
    pub protocol: u8,
    /// Where it begins, in the bytes of the walk.
    pub offset_bytes: usize,
    /// The last fragment header's fields, where there is one; reserved bits are left out.
    pub fragment: Option<FragmentRepr>,
    /// The destination to sum in the pseudo header, where a routing header says another than the
    /// IPv6 header: see [`Routing::final_destination`].
    pub final_destination: Option<Ipv6Addr>,
}

impl UpperLayer {
    /// Tells whether there is less than the whole packet. A fragment header alone does not say so:
    /// with offset 0 and nothing to follow it is an atomic fragment (RFC 6946), which is whole.
    #[inline]
    #[must_use]
    pub fn is_fragment(&self) -> bool {
        self.fragment.is_some_and(|f| f.more_fragments || f.fragment_offset_bytes != 0)
    }

    /// Tells whether the upper layer's header begins at the offset: false in later fragments,
    /// whose bytes there continue it.
    #[inline]
    #[must_use]
    pub fn has_header(&self) -> bool {
        self.fragment.is_none_or(|fragment| fragment.fragment_offset_bytes == 0)
    }
}

/// Walks to the end of the extension headers in `payload`, the first of which has the type
/// `next_header`, and tells what is there.
///
/// # Errors
/// [`Error::Short`] for an extension header that is not all there, [`Error::Field`] for more than
/// [`MAX_EXTENSIONS`] of them. Offsets count from the start of `payload`.
pub fn upper_layer(next_header: u8, payload: &[u8]) -> Result<UpperLayer, Error> {
    let mut upper = UpperLayer {
        protocol: next_header,
        offset_bytes: 0,
        fragment: None,
        final_destination: None,
    };
    for extension in Extensions::new(next_header, payload) {
        let extension = extension?;
        upper.protocol = extension.next_header;
        upper.offset_bytes = extension.offset_bytes + extension.bytes.len();
        match extension.kind {
            ExtensionKind::Fragment => {
                upper.fragment = Some(FragmentRepr::read(&Fragment { buffer: extension.bytes }));
            }
            ExtensionKind::Routing => {
                let last = Routing::new_checked(extension.bytes)?.final_destination();
                upper.final_destination = last.or(upper.final_destination);
            }
            _ => {}
        }
    }
    Ok(upper)
}

/// A view of a fragment header.
#[derive(Clone, Copy, Debug)]
pub struct Fragment<T> {
    buffer: T,
}

const MORE_FRAGMENTS: u16 = 1;
const RESERVED: u16 = 6;
const OFFSET_MASK: u16 = 0xfff8;

impl<T: AsRef<[u8]>> Fragment<T> {
    /// Checks that the 8 bytes are there. No setter voids the check.
    ///
    /// # Errors
    /// [`Error::Short`].
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        Error::check_header(LAYER, FRAGMENT_LEN_BYTES, buffer.as_ref().len())?;
        Ok(Self { buffer })
    }

    /// Reads the type of the header behind this one in the whole packet.
    #[inline]
    pub fn next_header(&self) -> u8 {
        self.header()[0]
    }

    /// Reads the reserved byte.
    #[inline]
    pub fn reserved(&self) -> u8 {
        self.header()[1]
    }

    /// Reads where in the packet this fragment's bytes begin: 0 to 65528 in steps of 8.
    #[inline]
    pub fn fragment_offset_bytes(&self) -> u16 {
        be16(self.header(), 2) & OFFSET_MASK
    }

    /// Reads the two reserved bits behind the offset, 0 to 3.
    #[inline]
    pub fn reserved_bits(&self) -> u8 {
        (self.header()[3] >> 1) & 3
    }

    /// Tells whether fragments follow this one.
    #[inline]
    pub fn more_fragments(&self) -> bool {
        be16(self.header(), 2) & MORE_FRAGMENTS != 0
    }

    /// Reads the number that a packet's fragments share.
    #[inline]
    pub fn identification(&self) -> u32 {
        u32::from_be_bytes(bytes(self.header(), 4))
    }

    /// Lends the bytes behind the header.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.buffer.as_ref()[FRAGMENT_LEN_BYTES..]
    }

    /// Gives the buffer back.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    fn header(&self) -> &[u8; FRAGMENT_LEN_BYTES] {
        self.buffer.as_ref().first_chunk().expect("new_checked saw the whole header")
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Fragment<T> {
    /// Writes the type of the header behind this one in the whole packet.
    #[inline]
    pub fn set_next_header(&mut self, next_header: u8) {
        self.header_mut()[0] = next_header;
    }

    /// Writes the reserved byte.
    #[inline]
    pub fn set_reserved(&mut self, reserved: u8) {
        self.header_mut()[1] = reserved;
    }

    /// Writes where this fragment's bytes begin, rounded down to a multiple of 8.
    #[inline]
    pub fn set_fragment_offset_bytes(&mut self, offset_bytes: u16) {
        self.set_bits(OFFSET_MASK, offset_bytes & OFFSET_MASK);
    }

    /// Writes the two reserved bits behind the offset: the low 2 bits of `reserved`.
    #[inline]
    pub fn set_reserved_bits(&mut self, reserved: u8) {
        self.set_bits(RESERVED, u16::from(reserved & 3) << 1);
    }

    /// Writes whether fragments follow this one.
    #[inline]
    pub fn set_more_fragments(&mut self, more_fragments: bool) {
        self.set_bits(MORE_FRAGMENTS, more_fragments.into());
    }

    /// Writes the number that a packet's fragments share.
    #[inline]
    pub fn set_identification(&mut self, identification: u32) {
        self.header_mut()[4..].copy_from_slice(&identification.to_be_bytes());
    }

    /// Lends the bytes behind the header for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.buffer.as_mut()[FRAGMENT_LEN_BYTES..]
    }

    fn set_bits(&mut self, mask: u16, bits: u16) {
        let header = self.header_mut();
        let word = be16(header, 2) & !mask | bits;
        set_be16(header, 2, word);
    }

    fn header_mut(&mut self) -> &mut [u8; FRAGMENT_LEN_BYTES] {
        self.buffer.as_mut().first_chunk_mut().expect("new_checked saw the whole header")
    }
}

/// A fragment header as plain values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FragmentRepr {
    /// Type of the header behind this one in the whole packet.
    pub next_header: u8,
    /// Where this fragment's bytes begin: 0 to 65528, a multiple of 8.
    pub fragment_offset_bytes: u16,
    /// Whether fragments follow this one.
    pub more_fragments: bool,
    /// Number that a packet's fragments share.
    pub identification: u32,
}

impl FragmentRepr {
    /// Reads all fields.
    ///
    /// # Errors
    /// [`Error::Field`] for what is not representable: reserved bits.
    pub fn parse<T: AsRef<[u8]>>(view: &Fragment<T>) -> Result<Self, Error> {
        Error::check_field(LAYER, 1, "reserved byte", view.reserved() == 0)?;
        Error::check_field(LAYER, 3, "reserved bits", view.reserved_bits() == 0)?;
        Ok(Self::read(view))
    }

    /// Writes the header in front of the payload that is or will be in `buffer`.
    ///
    /// # Errors
    /// [`Error::Field`] for an offset that is no multiple of 8, [`Error::Short`].
    pub fn emit<'b>(&self, buffer: &'b mut [u8]) -> Result<Fragment<&'b mut [u8]>, Error> {
        let is_multiple = self.fragment_offset_bytes.is_multiple_of(8);
        Error::check_field(LAYER, 2, "fragment offset", is_multiple)?;
        let mut view = Fragment::new_checked(buffer)?;
        view.header_mut().fill(0);
        view.set_next_header(self.next_header);
        view.set_fragment_offset_bytes(self.fragment_offset_bytes);
        view.set_more_fragments(self.more_fragments);
        view.set_identification(self.identification);
        Ok(view)
    }

    /// Reads all fields and leaves reserved bits out.
    fn read<T: AsRef<[u8]>>(view: &Fragment<T>) -> Self {
        Self {
            next_header: view.next_header(),
            fragment_offset_bytes: view.fragment_offset_bytes(),
            more_fragments: view.more_fragments(),
            identification: view.identification(),
        }
    }
}
