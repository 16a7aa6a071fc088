//! Options of neighbor discovery (RFC 4861 section 4.6).
//!
//! ```text
//!  | type 8 | length 8, in units of 8 bytes | data up to 8 * length |
//! ```
//!
//! Length 0 would never end: such an option, and one that ends behind the message, ends the list
//! with an error, as a receiver has to drop the whole message. An option of a known type whose
//! length its RFC does not allow is given as [`NdpOption::Other`]: receivers skip what they do not
//! understand.
//!
//! ```
//! use netmem_wire::icmpv6::ndp::options::{NdpOption, Options};
//!
//! let mut bytes = [0; 16];
//! let written = NdpOption::Mtu { mtu_bytes: 1500 }.emit(&mut bytes)?;
//! NdpOption::Nonce(&[1, 2, 3, 4, 5, 6]).emit(&mut bytes[written..])?;
//! assert_eq!(bytes, [5, 1, 0, 0, 0, 0, 5, 220, 14, 1, 1, 2, 3, 4, 5, 6]);
//!
//! let mut options = Options::new(&bytes);
//! assert_eq!(options.next(), Some(Ok(NdpOption::Mtu { mtu_bytes: 1500 })));
//! assert_eq!(options.next(), Some(Ok(NdpOption::Nonce(&[1, 2, 3, 4, 5, 6]))));
//! assert_eq!(options.next(), None);
//! # Ok::<(), netmem_wire::Error>(())
//! ```

use core::net::Ipv6Addr;

use super::{Preference, set_bit};
use crate::{Error, Layer, bytes};

/// The option types that this crate knows.
pub mod option_type {
    /// Link-layer address of the sender (RFC 4861 section 4.6.1).
    pub const SOURCE_LINK_LAYER: u8 = 1;
    /// Link-layer address of the target.
    pub const TARGET_LINK_LAYER: u8 = 2;
    /// A prefix that is on the link, or that addresses are made of (section 4.6.2).
    pub const PREFIX_INFORMATION: u8 = 3;
    /// The packet that was redirected (section 4.6.3).
    pub const REDIRECTED_HEADER: u8 = 4;
    /// The link's MTU (section 4.6.4).
    pub const MTU: u8 = 5;
    /// A number that pairs solicitation and advertisement (RFC 3971 section 5.3.2).
    pub const NONCE: u8 = 14;
    /// A route through the router (RFC 4191).
    pub const ROUTE_INFORMATION: u8 = 24;
    /// Recursive DNS servers (RFC 8106 section 5.1).
    pub const RECURSIVE_DNS: u8 = 25;
    /// DNS search list (RFC 8106 section 5.2).
    pub const DNS_SEARCH_LIST: u8 = 31;
}

/// A prefix of the link (RFC 4861 section 4.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PrefixInformation {
    /// Bits of the prefix that count, 0 to 128.
    pub prefix_len_bits: u8,
    /// Addresses of the prefix are neighbors (L).
    pub on_link: bool,
    /// Hosts may make addresses of the prefix (A).
    pub autonomous: bool,
    /// The prefix is a whole address of the router (R, RFC 6275).
    pub router_address: bool,
    /// Seconds for which the prefix is on the link; `u32::MAX` is for ever.
    pub valid_lifetime_s: u32,
    /// Seconds for which addresses of the prefix are preferred; `u32::MAX` is for ever.
    pub preferred_lifetime_s: u32,
    /// The prefix.
    pub prefix: Ipv6Addr,
}

/// A route through the router (RFC 4191 section 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteInformation {
    /// Bits of the prefix that count, 0 to 128.
    pub prefix_len_bits: u8,
    /// How much hosts should like the route.
    pub preference: Preference,
    /// Seconds for which the route holds; `u32::MAX` is for ever.
    pub lifetime_s: u32,
    /// The prefix.
    pub prefix: Ipv6Addr,
}

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NdpOption<'a> {
    /// Link-layer address of the sender, with padding; 6 bytes on Ethernet.
    SourceLinkLayer(&'a [u8]),
    /// Link-layer address of the target, with padding; 6 bytes on Ethernet.
    TargetLinkLayer(&'a [u8]),
    /// A prefix of the link.
    PrefixInformation(PrefixInformation),
    /// The start of the packet that was redirected, with padding.
    RedirectedHeader(&'a [u8]),
    /// The link's MTU.
    Mtu {
        /// In bytes.
        mtu_bytes: u32,
    },
    /// A route through the router.
    RouteInformation(RouteInformation),
    /// Recursive DNS servers.
    RecursiveDns {
        /// Seconds for which they may be used; `u32::MAX` is for ever.
        lifetime_s: u32,
        /// Their IPv6 addresses, at least one.
        addresses: &'a [[u8; 16]],
    },
    /// DNS search list.
    DnsSearchList {
        /// Seconds for which it may be used; `u32::MAX` is for ever.
        lifetime_s: u32,
        /// Domain names as DNS encodes them, with padding; not looked at.
        names: &'a [u8],
    },
    /// A number that pairs solicitation and advertisement; at least 6 bytes.
    Nonce(&'a [u8]),
    /// Any other option.
    Other {
        /// Type.
        option_type: u8,
        /// The bytes behind the length.
        data: &'a [u8],
    },
}

impl<'a> NdpOption<'a> {
    /// Tells the option's type; see [`option_type`].
    #[must_use]
    pub const fn option_type(&self) -> u8 {
        match self {
            Self::SourceLinkLayer(_) => option_type::SOURCE_LINK_LAYER,
            Self::TargetLinkLayer(_) => option_type::TARGET_LINK_LAYER,
            Self::PrefixInformation(_) => option_type::PREFIX_INFORMATION,
            Self::RedirectedHeader(_) => option_type::REDIRECTED_HEADER,
            Self::Mtu { .. } => option_type::MTU,
            Self::RouteInformation(_) => option_type::ROUTE_INFORMATION,
            Self::RecursiveDns { .. } => option_type::RECURSIVE_DNS,
            Self::DnsSearchList { .. } => option_type::DNS_SEARCH_LIST,
            Self::Nonce(_) => option_type::NONCE,
            Self::Other { option_type, .. } => *option_type,
        }
    }

    /// Computes how many bytes [`emit`](Self::emit) writes: a multiple of 8. A route is as long as
    /// its prefix needs.
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        let data_len_bytes = match self {
            Self::SourceLinkLayer(data)
            | Self::TargetLinkLayer(data)
            | Self::Nonce(data)
            | Self::Other { data, .. } => data.len(),
            Self::PrefixInformation(_) => 30,
            Self::RedirectedHeader(data) => 6 + data.len(),
            Self::Mtu { .. } => 6,
            Self::RouteInformation(route) => 6 + route.prefix_len_bytes(),
            Self::RecursiveDns { addresses, .. } => 6 + addresses.as_flattened().len(),
            Self::DnsSearchList { names, .. } => 6 + names.len(),
        };
        (2 + data_len_bytes).next_multiple_of(8)
    }

    /// Writes the option, padded with zeros, at the start of `buffer` and returns how many bytes
    /// it took. Data whose length is not 8 * n - 2 come back from [`Options`] with that padding.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] for more than 2040 bytes, for a prefix length above 128
    /// bits, and for an empty list.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        const LAYER: Layer = Layer::Icmpv6;
        let len_bytes = self.len_bytes();
        let units = u8::try_from(len_bytes / 8).unwrap_or(0);
        Error::check_field(LAYER, 1, "option length", units > 0)?;
        Error::check_header(LAYER, len_bytes, buffer.len())?;
        let prefix_len_bits = match self {
            Self::PrefixInformation(prefix) => prefix.prefix_len_bits,
            Self::RouteInformation(route) => route.prefix_len_bits,
            _ => 0,
        };
        Error::check_field(LAYER, 2, "prefix length", prefix_len_bits <= 128)?;
        let allowed = match self {
            Self::RecursiveDns { addresses, .. } => !addresses.is_empty(),
            Self::DnsSearchList { names, .. } => !names.is_empty(),
            _ => true,
        };
        Error::check_field(LAYER, 1, "option length", allowed)?;
        let option = &mut buffer[..len_bytes];
        option.fill(0);
        (option[0], option[1]) = (self.option_type(), units);
        self.write(&mut option[2..]);
        Ok(len_bytes)
    }

    fn write(&self, data: &mut [u8]) {
        match self {
            Self::SourceLinkLayer(from)
            | Self::TargetLinkLayer(from)
            | Self::Nonce(from)
            | Self::Other { data: from, .. } => data[..from.len()].copy_from_slice(from),
            Self::PrefixInformation(prefix) => prefix.write(data),
            Self::RedirectedHeader(packet) => data[6..6 + packet.len()].copy_from_slice(packet),
            Self::Mtu { mtu_bytes } => data[2..6].copy_from_slice(&mtu_bytes.to_be_bytes()),
            Self::RouteInformation(route) => route.write(data),
            Self::RecursiveDns { lifetime_s, addresses } => {
                data[2..6].copy_from_slice(&lifetime_s.to_be_bytes());
                data[6..].copy_from_slice(addresses.as_flattened());
            }
            Self::DnsSearchList { lifetime_s, names } => {
                data[2..6].copy_from_slice(&lifetime_s.to_be_bytes());
                data[6..6 + names.len()].copy_from_slice(names);
            }
        }
    }

    /// Reads an option of type and data; `data` has 8 * n - 2 bytes, n from 1 to 255.
    fn parse(option_type: u8, data: &'a [u8]) -> Self {
        let word = |at| u32::from_be_bytes(bytes(data, at));
        match (option_type, data.len()) {
            (option_type::SOURCE_LINK_LAYER, _) => Self::SourceLinkLayer(data),
            (option_type::TARGET_LINK_LAYER, _) => Self::TargetLinkLayer(data),
            (option_type::PREFIX_INFORMATION, 30) if data[0] <= 128 => {
                Self::PrefixInformation(PrefixInformation::parse(data))
            }
            (option_type::REDIRECTED_HEADER, _) => Self::RedirectedHeader(&data[6..]),
            (option_type::MTU, 6) => Self::Mtu { mtu_bytes: word(2) },
            (option_type::ROUTE_INFORMATION, 6 | 14 | 22) => match RouteInformation::parse(data) {
                Some(route) => Self::RouteInformation(route),
                None => Self::Other { option_type, data },
            },
            (option_type::RECURSIVE_DNS, 22..) if data.len() % 16 == 6 => {
                let addresses = data[6..].as_chunks::<16>().0;
                Self::RecursiveDns { lifetime_s: word(2), addresses }
            }
            (option_type::DNS_SEARCH_LIST, 14..) => {
                Self::DnsSearchList { lifetime_s: word(2), names: &data[6..] }
            }
            (option_type::NONCE, _) => Self::Nonce(data),
            _ => Self::Other { option_type, data },
        }
    }
}

impl PrefixInformation {
    fn parse(data: &[u8]) -> Self {
        Self {
            prefix_len_bits: data[0],
            on_link: data[1] & 0x80 != 0,
            autonomous: data[1] & 0x40 != 0,
            router_address: data[1] & 0x20 != 0,
            valid_lifetime_s: u32::from_be_bytes(bytes(data, 2)),
            preferred_lifetime_s: u32::from_be_bytes(bytes(data, 6)),
            prefix: Ipv6Addr::from(bytes::<16>(data, 14)),
        }
    }

    fn write(&self, data: &mut [u8]) {
        data[0] = self.prefix_len_bits;
        set_bit(&mut data[1], 0x80, self.on_link);
        set_bit(&mut data[1], 0x40, self.autonomous);
        set_bit(&mut data[1], 0x20, self.router_address);
        data[2..6].copy_from_slice(&self.valid_lifetime_s.to_be_bytes());
        data[6..10].copy_from_slice(&self.preferred_lifetime_s.to_be_bytes());
        data[14..30].copy_from_slice(&self.prefix.octets());
    }
}

impl RouteInformation {
    /// How many bytes of the prefix are written, 0, 8 or 16: all that count, and all that are not
    /// zero.
    const fn prefix_len_bytes(&self) -> usize {
        let bits = self.prefix.to_bits();
        match self.prefix_len_bits {
            0 if bits == 0 => 0,
            0..=64 if bits << 64 == 0 => 8,
            _ => 16,
        }
    }

    /// Refuses a prefix that is longer than what is there.
    fn parse(data: &[u8]) -> Option<Self> {
        let carried = &data[6..];
        if usize::from(data[0]) > carried.len() * 8 {
            return None;
        }
        let mut prefix = [0; 16];
        prefix[..carried.len()].copy_from_slice(carried);
        Some(Self {
            prefix_len_bits: data[0],
            preference: Preference::from_bits(data[1] >> 3),
            lifetime_s: u32::from_be_bytes(bytes(data, 2)),
            prefix: prefix.into(),
        })
    }

    fn write(&self, data: &mut [u8]) {
        data[0] = self.prefix_len_bits;
        data[1] = self.preference.bits() << 3;
        data[2..6].copy_from_slice(&self.lifetime_s.to_be_bytes());
        let carried = &mut data[6..];
        carried.copy_from_slice(&self.prefix.octets()[..carried.len()]);
    }
}

/// Goes through the options of a message.
///
/// After an error there is nothing more. Offsets in errors count from the first option.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    bytes: &'a [u8],
    at_bytes: usize,
}

impl<'a> Options<'a> {
    /// Starts at the first of `bytes`, which are options to the end.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at_bytes: 0 }
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<NdpOption<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        const LAYER: Layer = Layer::Icmpv6;
        let offset_bytes = self.at_bytes;
        let rest = &self.bytes[offset_bytes..];
        if rest.is_empty() {
            return None;
        }
        self.at_bytes = self.bytes.len();
        let Some((&[option_type, units], _)) = rest.split_first_chunk() else {
            let available_bytes = rest.len();
            let needed_bytes = 2;
            let layer = LAYER;
            return Some(Err(Error::Short { layer, offset_bytes, needed_bytes, available_bytes }));
        };
        let len_bytes = usize::from(units) * 8;
        let checked = Error::check_field(LAYER, offset_bytes + 1, "option length", units > 0)
            .and_then(|()| Error::check_len(LAYER, offset_bytes + 1, len_bytes, rest.len()));
        if let Err(error) = checked {
            return Some(Err(error));
        }
        self.at_bytes = offset_bytes + len_bytes;
        Some(Ok(NdpOption::parse(option_type, &rest[2..len_bytes])))
    }
}

impl core::iter::FusedIterator for Options<'_> {}
