//! BSD loopback: four bytes of address family in front of a packet.
//!
//! ```text
//!  0                     4
//!  | address family 32   | payload
//! ```
//!
//! `LINKTYPE_NULL` (0) has the family in the byte order of the machine that captured, and does not
//! say which: families are small, so that a number above 0xffff is one in the other order.
//! `LINKTYPE_LOOP` (108, from OpenBSD) is in network order.
//!
//! ```
//! use netmem_wire::ethernet::ether_type;
//! use netmem_wire::loopback::{ByteOrder, Loopback, LoopbackRepr};
//!
//! let mut bytes = [0; 24];
//! LoopbackRepr { family: 30, order: ByteOrder::Little }.emit(&mut bytes)?;
//! assert_eq!(bytes[..4], [30, 0, 0, 0]);
//! let view = Loopback::new_checked(&bytes)?;
//! assert_eq!((view.family(), view.ether_type()), (30, Some(ether_type::IPV6)));
//! # Ok::<(), netmem_wire::Error>(())
//! ```

use crate::ethernet::ether_type;
use crate::{Error, Layer};

/// Bytes of the header.
pub const HEADER_LEN_BYTES: usize = 4;

/// Address families, which each system numbers itself.
pub mod family {
    /// IPv4, everywhere.
    pub const INET: u32 = 2;
    /// IPv6 on Linux.
    pub const INET6_LINUX: u32 = 10;
    /// IPv6 on `NetBSD` and `OpenBSD`.
    pub const INET6_BSD: u32 = 24;
    /// IPv6 on `FreeBSD`.
    pub const INET6_FREEBSD: u32 = 28;
    /// IPv6 on macOS.
    pub const INET6_DARWIN: u32 = 30;
}

/// In which order the bytes of the family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// Low byte first.
    Little,
    /// High byte first: network order.
    Big,
}

/// A view of a loopback header.
#[derive(Clone, Copy, Debug)]
pub struct Loopback<T> {
    buffer: T,
    order: ByteOrder,
}

impl<T: AsRef<[u8]>> Loopback<T> {
    /// Checks that the four bytes of a `LINKTYPE_NULL` header are there and guesses their order:
    /// little-endian, unless that gives a number above 0xffff. No setter voids the check.
    ///
    /// # Errors
    /// [`Error::Short`].
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        let mut view = Self::new_checked_as(buffer, ByteOrder::Little)?;
        if view.family() > 0xffff {
            view.order = ByteOrder::Big;
        }
        Ok(view)
    }

    /// Checks that four bytes in this order are there; [`ByteOrder::Big`] for `LINKTYPE_LOOP`. No
    /// setter voids the check.
    ///
    /// # Errors
    /// [`Error::Short`].
    #[inline]
    pub fn new_checked_as(buffer: T, order: ByteOrder) -> Result<Self, Error> {
        Error::check_header(Layer::Loopback, HEADER_LEN_BYTES, buffer.as_ref().len())?;
        Ok(Self { buffer, order })
    }

    /// Tells the order in which family is read and written.
    #[inline]
    pub fn order(&self) -> ByteOrder {
        self.order
    }

    /// Reads the address family; see [`family`].
    #[inline]
    pub fn family(&self) -> u32 {
        let bytes = self.buffer.as_ref().first_chunk().expect("new_checked saw the header");
        match self.order {
            ByteOrder::Little => u32::from_le_bytes(*bytes),
            ByteOrder::Big => u32::from_be_bytes(*bytes),
        }
    }

    /// Tells the Ethernet type that the family stands for, if it is IPv4 or IPv6 on any system.
    #[inline]
    pub fn ether_type(&self) -> Option<u16> {
        match self.family() {
            family::INET => Some(ether_type::IPV4),
            family::INET6_LINUX
            | family::INET6_BSD
            | family::INET6_FREEBSD
            | family::INET6_DARWIN => Some(ether_type::IPV6),
            _ => None,
        }
    }

    /// Lends the bytes after the header.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.buffer.as_ref()[HEADER_LEN_BYTES..]
    }

    /// Gives the buffer back.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Loopback<T> {
    /// Writes the address family in the view's order.
    #[inline]
    pub fn set_family(&mut self, family: u32) {
        let bytes = match self.order {
            ByteOrder::Little => family.to_le_bytes(),
            ByteOrder::Big => family.to_be_bytes(),
        };
        self.buffer.as_mut()[..HEADER_LEN_BYTES].copy_from_slice(&bytes);
    }

    /// Lends the bytes after the header for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.buffer.as_mut()[HEADER_LEN_BYTES..]
    }
}

/// A loopback header as plain values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoopbackRepr {
    /// Address family; see [`family`]. A `LINKTYPE_NULL` header keeps 1 to 65535 only.
    pub family: u32,
    /// The order of its bytes.
    pub order: ByteOrder,
}

impl LoopbackRepr {
    /// Reads all fields; every header is representable.
    pub fn parse<T: AsRef<[u8]>>(view: &Loopback<T>) -> Self {
        Self { family: view.family(), order: view.order() }
    }

    /// Writes the header at the start of `buffer` and returns the view of it.
    ///
    /// # Errors
    /// [`Error::Short`].
    pub fn emit<'b>(&self, buffer: &'b mut [u8]) -> Result<Loopback<&'b mut [u8]>, Error> {
        let mut view = Loopback::new_checked_as(buffer, self.order)?;
        view.set_family(self.family);
        Ok(view)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_order_is_guessed() {
        let guess = |bytes: [u8; 4]| {
            let view = Loopback::new_checked(bytes).unwrap();
            (view.family(), view.order(), view.ether_type())
        };
        assert_eq!(guess([2, 0, 0, 0]), (2, ByteOrder::Little, Some(0x0800)));
        assert_eq!(guess([0, 0, 0, 2]), (2, ByteOrder::Big, Some(0x0800)));
        for family in [10, 24, 28, 30] {
            assert_eq!(guess([0, 0, 0, family]).2, Some(0x86dd));
        }
        assert_eq!(guess([0, 0, 0, 7]).2, None);
        assert!(Loopback::new_checked([0; 3]).is_err());
        let open_bsd = Loopback::new_checked_as([0, 0, 0, 24], ByteOrder::Big).unwrap();
        assert_eq!(open_bsd.ether_type(), Some(0x86dd));
    }

    proptest! {
        // Planted and caught: set_family always in network order.
        #[test]
        fn a_setter_changes_its_field_only(mut bytes in vec(any::<u8>(), 4..20), family: u32) {
            let payload = bytes[4..].to_vec();
            for (order, first) in [(ByteOrder::Little, 3), (ByteOrder::Big, 0)] {
                let mut view = Loopback::new_checked_as(bytes.as_mut_slice(), order).unwrap();
                view.set_family(family);
                prop_assert_eq!(view.family(), family);
                prop_assert_eq!(view.payload(), &payload);
                prop_assert_eq!(bytes[first], family.to_be_bytes()[0]);
            }
        }

        // Planted and caught: emit without a family; a guess that takes the large number.
        #[test]
        fn emit_undoes_parse(bytes in vec(any::<u8>(), 4..20), family in 1..=0xffff_u32) {
            let mut copy = bytes.clone();
            copy[..4].fill(0xa5);
            LoopbackRepr::parse(&Loopback::new_checked(&bytes).unwrap()).emit(&mut copy).unwrap();
            prop_assert_eq!(&copy, &bytes);
            for order in [ByteOrder::Little, ByteOrder::Big] {
                LoopbackRepr { family, order }.emit(&mut copy).unwrap();
                prop_assert_eq!(Loopback::new_checked(&copy).unwrap().family(), family);
            }
        }
    }
}
