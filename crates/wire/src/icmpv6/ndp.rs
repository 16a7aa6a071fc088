//! Neighbor discovery (RFC 4861): who has an address, who is a router, which way is shorter.
//!
//! ```text
//!  bytes  0     1     2         4                             8            24            40
//!  133    | type| code| checksum| reserved 32                 | options
//!  134    |                     | hop limit 8| MOH Prf P| router lifetime 16
//!                               8  | reachable time 32 | retrans timer 32 | 16: options
//!  135    |                     | reserved 32                 | target     | options
//!  136    |                     | RSO, reserved 29            | target     | options
//!  137    |                     | reserved 32                 | target     | destination | options
//! ```
//!
//! Sections 4.1 to 4.5, with the preference of RFC 4191 and the flags of RFC 6275 and RFC 4389. The
//! views here begin with the type; code and checksum belong to [`Icmpv6`](crate::Icmpv6) over the
//! same bytes. Reserved bits are ignored by `parse` and written as zero by `emit`, as the RFC wants
//! it; a view's setters leave them alone.
//!
//! These messages decide where packets go, so a receiver looks at [`validate`] first: what came
//! from beyond the link has a hop limit below 255.
//!
//! ```
//! use core::net::Ipv6Addr;
//!
//! use netmem_wire::icmpv6::ndp::options::{NdpOption, Options};
//! use netmem_wire::icmpv6::ndp::{NdpRepr, NeighborSolicitation, validate};
//!
//! let source: Ipv6Addr = "fe80::1".parse().unwrap();
//! let target: Ipv6Addr = "fe80::2".parse().unwrap();
//! let group: Ipv6Addr = "ff02::1:ff00:2".parse().unwrap();
//!
//! // Back to front: the option, then the message in front of it.
//! let mut message = [0; 32];
//! NdpOption::SourceLinkLayer(&[2, 0, 0, 0, 0, 1]).emit(&mut message[24..])?;
//! NdpRepr::NeighborSolicitation { target }.emit(&mut message, source, group)?;
//!
//! assert_eq!(validate(&message, source, group, 255), Ok(()));
//! let view = NeighborSolicitation::new_checked(&message)?;
//! assert_eq!(view.target(), target);
//! let mut options = Options::new(view.options());
//! assert_eq!(options.next(), Some(Ok(NdpOption::SourceLinkLayer(&[2, 0, 0, 0, 0, 1]))));
//! # Ok::<(), netmem_wire::Error>(())
//! ```

use core::net::Ipv6Addr;

use super::icmp_type;
use crate::{Error, Layer, be16, bytes, set_be16};

pub mod options;

mod repr;
mod rules;

pub use repr::{NdpRepr, RouterAdvertisementRepr};
pub use rules::{Rule, solicited_node, validate};

/// The hop limit that a receiver insists on: no router has forwarded the packet.
pub const HOP_LIMIT: u8 = 255;

/// How much a host should like a router or a route (RFC 4191 section 2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Preference {
    /// Same as without a preference.
    #[default]
    Medium,
    /// Before others.
    High,
    /// Must not be sent; a router with it counts as medium, a route with it is ignored.
    Reserved,
    /// After others.
    Low,
}

impl Preference {
    /// Reads the low two bits.
    const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Medium,
            1 => Self::High,
            2 => Self::Reserved,
            _ => Self::Low,
        }
    }

    /// The two bits.
    const fn bits(self) -> u8 {
        match self {
            Self::Medium => 0,
            Self::High => 1,
            Self::Reserved => 2,
            Self::Low => 3,
        }
    }
}

/// Writes what the views have in common: the check, the options, the way in and out.
macro_rules! message {
    ($name:ident, $icmp_type:ident, $len_bytes:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug)]
        pub struct $name<T> {
            buffer: T,
        }

        impl<T: AsRef<[u8]>> $name<T> {
            /// Bytes in front of the options.
            pub const HEADER_LEN_BYTES: usize = $len_bytes;

            /// Checks the type and that everything in front of the options is there. Options are
            /// checked by [`Options`](options::Options), all else by [`validate`]. No setter voids
            /// the check.
            ///
            /// # Errors
            /// [`Error::Short`]; [`Error::Field`] for another type.
            #[inline]
            pub fn new_checked(buffer: T) -> Result<Self, Error> {
                let message = buffer.as_ref();
                Error::check_header(Layer::Icmpv6, $len_bytes, message.len())?;
                let same = message[0] == icmp_type::$icmp_type;
                Error::check_field(Layer::Icmpv6, 0, "type", same)?;
                Ok(Self { buffer })
            }

            /// Lends the options; see [`Options`](options::Options).
            #[inline]
            pub fn options(&self) -> &[u8] {
                &self.buffer.as_ref()[$len_bytes..]
            }

            /// Gives the buffer back.
            #[inline]
            pub fn into_inner(self) -> T {
                self.buffer
            }

            #[allow(dead_code, reason = "router solicitation has no field of its own")]
            fn header(&self) -> &[u8; $len_bytes] {
                self.buffer.as_ref().first_chunk().expect("new_checked saw the whole header")
            }
        }

        impl<T: AsRef<[u8]> + AsMut<[u8]>> $name<T> {
            /// Lends the options for writing.
            #[inline]
            pub fn options_mut(&mut self) -> &mut [u8] {
                &mut self.buffer.as_mut()[$len_bytes..]
            }

            #[allow(dead_code, reason = "router solicitation has no field of its own")]
            fn header_mut(&mut self) -> &mut [u8; $len_bytes] {
                self.buffer.as_mut().first_chunk_mut().expect("new_checked saw the whole header")
            }
        }
    };
}

/// Writes getter and setter of the target address, which three messages have in the same place.
macro_rules! target {
    ($name:ident) => {
        impl<T: AsRef<[u8]>> $name<T> {
            /// Reads the target address.
            #[inline]
            pub fn target(&self) -> Ipv6Addr {
                Ipv6Addr::from(bytes::<16>(self.header(), 8))
            }
        }

        impl<T: AsRef<[u8]> + AsMut<[u8]>> $name<T> {
            /// Writes the target address.
            #[inline]
            pub fn set_target(&mut self, address: Ipv6Addr) {
                self.header_mut()[8..24].copy_from_slice(&address.octets());
            }
        }
    };
}

message!(RouterSolicitation, ROUTER_SOLICITATION, 8, "A view of a router solicitation.");
message!(RouterAdvertisement, ROUTER_ADVERTISEMENT, 16, "A view of a router advertisement.");
message!(NeighborSolicitation, NEIGHBOR_SOLICITATION, 24, "A view of a neighbor solicitation.");
message!(NeighborAdvertisement, NEIGHBOR_ADVERTISEMENT, 24, "A view of a neighbor advertisement.");
message!(Redirect, REDIRECT, 40, "A view of a redirect.");
target!(NeighborSolicitation);
target!(NeighborAdvertisement);
target!(Redirect);

impl<T: AsRef<[u8]>> RouterAdvertisement<T> {
    /// Reads the hop limit that hosts should send with; 0 if the router does not say.
    #[inline]
    pub fn current_hop_limit(&self) -> u8 {
        self.header()[4]
    }

    /// Tells whether addresses come by DHCPv6 (M).
    #[inline]
    pub fn managed(&self) -> bool {
        self.header()[5] & 0x80 != 0
    }

    /// Tells whether other configuration comes by DHCPv6 (O).
    #[inline]
    pub fn other_config(&self) -> bool {
        self.header()[5] & 0x40 != 0
    }

    /// Tells whether the router is a home agent too (H, RFC 6275).
    #[inline]
    pub fn home_agent(&self) -> bool {
        self.header()[5] & 0x20 != 0
    }

    /// Reads how much hosts should like the router (RFC 4191).
    #[inline]
    pub fn preference(&self) -> Preference {
        Preference::from_bits(self.header()[5] >> 3)
    }

    /// Tells whether a proxy forwarded the message (P, RFC 4389).
    #[inline]
    pub fn proxied(&self) -> bool {
        self.header()[5] & 0x04 != 0
    }

    /// Reads how many seconds the router is a default router; 0 if it is none.
    #[inline]
    pub fn router_lifetime_s(&self) -> u16 {
        be16(self.header(), 6)
    }

    /// Reads how long a neighbor counts as reachable; 0 if the router does not say.
    #[inline]
    pub fn reachable_time_ms(&self) -> u32 {
        u32::from_be_bytes(bytes(self.header(), 8))
    }

    /// Reads the time between solicitations; 0 if the router does not say.
    #[inline]
    pub fn retrans_timer_ms(&self) -> u32 {
        u32::from_be_bytes(bytes(self.header(), 12))
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> RouterAdvertisement<T> {
    /// Writes the hop limit that hosts should send with.
    #[inline]
    pub fn set_current_hop_limit(&mut self, hop_limit: u8) {
        self.header_mut()[4] = hop_limit;
    }

    /// Writes whether addresses come by DHCPv6.
    #[inline]
    pub fn set_managed(&mut self, managed: bool) {
        set_bit(&mut self.header_mut()[5], 0x80, managed);
    }

    /// Writes whether other configuration comes by DHCPv6.
    #[inline]
    pub fn set_other_config(&mut self, other_config: bool) {
        set_bit(&mut self.header_mut()[5], 0x40, other_config);
    }

    /// Writes whether the router is a home agent too.
    #[inline]
    pub fn set_home_agent(&mut self, home_agent: bool) {
        set_bit(&mut self.header_mut()[5], 0x20, home_agent);
    }

    /// Writes how much hosts should like the router.
    #[inline]
    pub fn set_preference(&mut self, preference: Preference) {
        let header = self.header_mut();
        header[5] = header[5] & !0x18 | preference.bits() << 3;
    }

    /// Writes whether a proxy forwarded the message.
    #[inline]
    pub fn set_proxied(&mut self, proxied: bool) {
        set_bit(&mut self.header_mut()[5], 0x04, proxied);
    }

    /// Writes how many seconds the router is a default router.
    #[inline]
    pub fn set_router_lifetime_s(&mut self, lifetime_s: u16) {
        set_be16(self.header_mut(), 6, lifetime_s);
    }

    /// Writes how long a neighbor counts as reachable.
    #[inline]
    pub fn set_reachable_time_ms(&mut self, time_ms: u32) {
        self.header_mut()[8..12].copy_from_slice(&time_ms.to_be_bytes());
    }

    /// Writes the time between solicitations.
    #[inline]
    pub fn set_retrans_timer_ms(&mut self, time_ms: u32) {
        self.header_mut()[12..16].copy_from_slice(&time_ms.to_be_bytes());
    }
}

impl<T: AsRef<[u8]>> NeighborAdvertisement<T> {
    /// Tells whether the sender is a router (R).
    #[inline]
    pub fn router(&self) -> bool {
        self.header()[4] & 0x80 != 0
    }

    /// Tells whether a solicitation is answered (S).
    #[inline]
    pub fn solicited(&self) -> bool {
        self.header()[4] & 0x40 != 0
    }

    /// Tells whether a cached link-layer address is to be replaced (O).
    #[inline]
    pub fn override_cached(&self) -> bool {
        self.header()[4] & 0x20 != 0
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> NeighborAdvertisement<T> {
    /// Writes whether the sender is a router.
    #[inline]
    pub fn set_router(&mut self, router: bool) {
        set_bit(&mut self.header_mut()[4], 0x80, router);
    }

    /// Writes whether a solicitation is answered.
    #[inline]
    pub fn set_solicited(&mut self, solicited: bool) {
        set_bit(&mut self.header_mut()[4], 0x40, solicited);
    }

    /// Writes whether a cached link-layer address is to be replaced.
    #[inline]
    pub fn set_override_cached(&mut self, override_cached: bool) {
        set_bit(&mut self.header_mut()[4], 0x20, override_cached);
    }
}

impl<T: AsRef<[u8]>> Redirect<T> {
    /// Reads the destination that is redirected to the target.
    #[inline]
    pub fn destination(&self) -> Ipv6Addr {
        Ipv6Addr::from(bytes::<16>(self.header(), 24))
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Redirect<T> {
    /// Writes the destination that is redirected to the target.
    #[inline]
    pub fn set_destination(&mut self, address: Ipv6Addr) {
        self.header_mut()[24..40].copy_from_slice(&address.octets());
    }
}

/// Sets or clears one bit.
fn set_bit(byte: &mut u8, bit: u8, value: bool) {
    *byte = *byte & !bit | if value { bit } else { 0 };
}

#[cfg(test)]
mod tests;
