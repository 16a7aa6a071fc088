//! Networks of both families.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use crate::Error;

/// An IPv4 network: an address without host bits and a prefix length of 0 to 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv4Net {
    address: Ipv4Addr,
    prefix_len: u8,
}

impl Ipv4Net {
    /// Makes the network of `prefix_len` bits that `address` is in; host bits are cleared.
    ///
    /// # Errors
    /// [`Error::Text`] for a prefix length above 32.
    pub const fn new(address: Ipv4Addr, prefix_len: u8) -> Result<Self, Error> {
        if prefix_len > 32 {
            return Err(Error::Text { target: "ipv4 network", cause: "prefix length above 32" });
        }
        let address = Ipv4Addr::from_bits(address.to_bits() & mask(prefix_len));
        Ok(Self { address, prefix_len })
    }

    /// Makes the network that has this address only.
    #[must_use]
    pub const fn host(address: Ipv4Addr) -> Self {
        Self { address, prefix_len: 32 }
    }

    /// Returns the lowest address of the network.
    #[must_use]
    pub const fn address(self) -> Ipv4Addr {
        self.address
    }

    /// Returns the number of network bits, 0 to 32.
    #[must_use]
    pub const fn prefix_len(self) -> u8 {
        self.prefix_len
    }

    /// Returns the network bits as an address, such as 255.255.255.0.
    #[must_use]
    pub const fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(mask(self.prefix_len))
    }

    /// Tells whether `address` is in the network.
    #[inline]
    #[must_use]
    pub const fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix_len) == self.address.to_bits()
    }
}

impl From<Ipv4Addr> for Ipv4Net {
    fn from(address: Ipv4Addr) -> Self {
        Self::host(address)
    }
}

impl fmt::Display for Ipv4Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

impl FromStr for Ipv4Net {
    type Err = Error;

    /// Reads `address/prefix_len`, or an address alone as a network of one.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |cause| Error::Text { target: "ipv4 network", cause };
        let (address, prefix_len) = split_prefix_len(text, 32)
            .ok_or_else(|| bad("prefix length is not a number up to 32"))?;
        Self::new(address.parse().map_err(|_| bad("address is not dotted decimal"))?, prefix_len)
    }
}

/// An IPv6 network: an address without host bits and a prefix length of 0 to 128.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv6Net {
    address: Ipv6Addr,
    prefix_len: u8,
}

impl Ipv6Net {
    /// Makes the network of `prefix_len` bits that `address` is in; host bits are cleared.
    ///
    /// # Errors
    /// [`Error::Text`] for a prefix length above 128.
    pub const fn new(address: Ipv6Addr, prefix_len: u8) -> Result<Self, Error> {
        if prefix_len > 128 {
            return Err(Error::Text { target: "ipv6 network", cause: "prefix length above 128" });
        }
        let address = Ipv6Addr::from_bits(address.to_bits() & mask6(prefix_len));
        Ok(Self { address, prefix_len })
    }

    /// Makes the network that has this address only.
    #[must_use]
    pub const fn host(address: Ipv6Addr) -> Self {
        Self { address, prefix_len: 128 }
    }

    /// Returns the lowest address of the network.
    #[must_use]
    pub const fn address(self) -> Ipv6Addr {
        self.address
    }

    /// Returns the number of network bits, 0 to 128.
    #[must_use]
    pub const fn prefix_len(self) -> u8 {
        self.prefix_len
    }

    /// Returns the network bits as an address, such as ffff:ffff::.
    #[must_use]
    pub const fn mask(self) -> Ipv6Addr {
        Ipv6Addr::from_bits(mask6(self.prefix_len))
    }

    /// Tells whether `address` is in the network.
    #[inline]
    #[must_use]
    pub const fn contains(self, address: Ipv6Addr) -> bool {
        address.to_bits() & mask6(self.prefix_len) == self.address.to_bits()
    }
}

impl From<Ipv6Addr> for Ipv6Net {
    fn from(address: Ipv6Addr) -> Self {
        Self::host(address)
    }
}

impl fmt::Display for Ipv6Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

impl FromStr for Ipv6Net {
    type Err = Error;

    /// Reads `address/prefix_len`, or an address alone as a network of one.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |cause| Error::Text { target: "ipv6 network", cause };
        let (address, prefix_len) = split_prefix_len(text, 128)
            .ok_or_else(|| bad("prefix length is not a number up to 128"))?;
        let address = address.parse().map_err(|_| bad("address is not one of IPv6"))?;
        Self::new(address, prefix_len)
    }
}

/// Splits `address/prefix_len`; without a prefix length it is `whole`.
fn split_prefix_len(text: &str, whole: u8) -> Option<(&str, u8)> {
    let Some((address, digits)) = text.split_once('/') else { return Some((text, whole)) };
    // u8::from_str would take a sign.
    let plain = digits.bytes().all(|digit| digit.is_ascii_digit());
    Some((address, digits.parse().ok().filter(|_| plain)?))
}

/// The network bits of a prefix of 0 to 128 bits.
const fn mask6(prefix_len: u8) -> u128 {
    match u128::MAX.checked_shl(128 - prefix_len as u32) {
        Some(mask) => mask,
        None => 0,
    }
}

/// The network bits of a prefix of 0 to 32 bits.
const fn mask(prefix_len: u8) -> u32 {
    match u32::MAX.checked_shl(32 - prefix_len as u32) {
        Some(mask) => mask,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn networks_print_and_parse() {
        let net: Ipv4Net = "10.1.2.3/8".parse().unwrap();
        assert_eq!((net.address(), net.prefix_len()), (Ipv4Addr::new(10, 0, 0, 0), 8));
        assert_eq!((net.to_string().as_str(), net.mask().octets()), ("10.0.0.0/8", [255, 0, 0, 0]));
        assert_eq!("10.1.2.3".parse(), Ok(Ipv4Net::host(Ipv4Addr::new(10, 1, 2, 3))));
        assert_eq!("1.2.3.4/0".parse::<Ipv4Net>().unwrap().to_string(), "0.0.0.0/0");
        for bad in ["", "/", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0/8", "10.0.0.0/8/8"]
        {
            assert!(bad.parse::<Ipv4Net>().is_err(), "{bad}");
        }
        assert!(Ipv4Net::new(Ipv4Addr::LOCALHOST, 33).is_err());
    }

    #[test]
    fn networks_of_ipv6_print_and_parse() {
        let net: Ipv6Net = "2001:db8:1::9/32".parse().unwrap();
        assert_eq!((net.address(), net.prefix_len()), ("2001:db8::".parse().unwrap(), 32));
        assert_eq!(net.to_string(), "2001:db8::/32");
        assert_eq!(net.mask(), "ffff:ffff::".parse::<Ipv6Addr>().unwrap());
        assert_eq!("::1".parse(), Ok(Ipv6Net::from(Ipv6Addr::LOCALHOST)));
        assert_eq!("fe80::1/0".parse::<Ipv6Net>().unwrap().to_string(), "::/0");
        for bad in ["", "/", "::/", "::/129", "::/+8", ":/8", "::/8/8", "10.0.0.0/8"] {
            assert!(bad.parse::<Ipv6Net>().is_err(), "{bad}");
        }
        assert!(Ipv6Net::new(Ipv6Addr::LOCALHOST, 129).is_err());
    }

    proptest! {
        // Planted and caught: a mask of /0 by plain shift; host bits kept.
        #[test]
        fn contains_compares_the_first_bits(a: u32, flip in 0_u32..33, prefix_len in 0_u8..33) {
            // b differs from a first at bit `flip`, counted from the left; at 32 not at all.
            let b = a ^ 0x8000_0000_u32.checked_shr(flip).unwrap_or(0);
            let net = Ipv4Net::new(a.into(), prefix_len).unwrap();
            prop_assert_eq!(net.contains(b.into()), flip >= prefix_len.into());
            prop_assert!(net.contains(a.into()) && net.contains(net.address()));
            prop_assert_eq!(net.to_string().parse(), Ok(net));
        }

        // Planted and caught: a mask of /0 by plain shift; host bits kept; a mask of 64 bits.
        #[test]
        fn contains_compares_the_first_bits_of_ipv6(
            a: u128, flip in 0_u32..129, prefix_len in 0_u8..129,
        ) {
            let b = a ^ (1_u128 << 127).checked_shr(flip).unwrap_or(0);
            let net = Ipv6Net::new(a.into(), prefix_len).unwrap();
            prop_assert_eq!(net.contains(b.into()), flip >= prefix_len.into());
            prop_assert!(net.contains(a.into()) && net.contains(net.address()));
            prop_assert_eq!(net.to_string().parse(), Ok(net));
        }

        // Planted and caught: text sliced at byte 3.
        #[test]
        fn no_text_panics(text in ".{0,20}|[0-9./]{0,20}|[0-9a-f:/]{0,20}") {
            let _ = (text.parse::<Ipv4Net>(), text.parse::<Ipv6Net>());
        }
    }
}
