//! ARP for IPv4 over Ethernet (RFC 826): 28 bytes, no checksum.
//!
//! ```text
//!   0  | hardware type 16 = 1     | protocol type 16 = 0x0800      |
//!   4  | lengths 8 = 6  | 8 = 4   | operation 16 = 1, 2, ...       |
//!   8  | sender MAC, 6 bytes                                       |
//!  14  | sender IP, 4 bytes                                        |
//!  18  | target MAC, 6 bytes                                       |
//!  24  | target IP, 4 bytes                                        |
//! ```
//!
//! ARP has no length field; what follows byte 28 is Ethernet padding. [`Arp`] refuses any other
//! kind of hardware or protocol; [`ArpHeader`] reads them all.
//!
//! ```
//! use netmem_wire::arp::operation;
//! use netmem_wire::{Arp, ArpRepr, MacAddr};
//!
//! let repr = ArpRepr {
//!     operation: operation::REQUEST,
//!     sender_mac: MacAddr([2, 0, 0, 0, 0, 1]),
//!     sender_ip: "10.0.0.1".parse().unwrap(),
//!     target_mac: MacAddr::default(),
//!     target_ip: "10.0.0.1".parse().unwrap(),
//! };
//! let mut packet = [0; 28];
//! repr.emit(&mut packet)?;
//! let view = Arp::new_checked(&packet)?;
//! assert_eq!(ArpRepr::parse(&view), repr);
//! assert!(repr.is_announcement());
//! # Ok::<(), netmem_wire::Error>(())
//! ```

use core::net::Ipv4Addr;

use crate::ethernet::{MacAddr, ether_type};
use crate::{Error, Layer, be16, bytes, set_be16};

mod header;

pub use header::{ArpHeader, ArpHeaderRepr, hardware_type};

/// Bytes of an ARP packet for IPv4 over Ethernet.
pub const PACKET_LEN_BYTES: usize = 28;

/// The first six bytes of ARP for IPv4 over Ethernet: types 1 and 0x0800, lengths 6 and 4.
pub(crate) const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// The operations that this crate knows.
pub mod operation {
    /// Who has the target's IP address?
    pub const REQUEST: u16 = 1;
    /// The sender has it.
    pub const REPLY: u16 = 2;
    /// Reverse ARP: who has the target's hardware address (RFC 903)?
    pub const REVERSE_REQUEST: u16 = 3;
    /// Reverse ARP: the target's protocol address is this.
    pub const REVERSE_REPLY: u16 = 4;
    /// Inverse ARP: what protocol address has the other end of this circuit (RFC 2390)?
    pub const INVERSE_REQUEST: u16 = 8;
    /// Inverse ARP: the sender's is this.
    pub const INVERSE_REPLY: u16 = 9;
    /// ATMARP: no such address (RFC 1577).
    pub const NAK: u16 = 10;
    /// For experiments (RFC 5494).
    pub const EXPERIMENT_1: u16 = 24;
    /// For experiments (RFC 5494).
    pub const EXPERIMENT_2: u16 = 25;
}

/// A view of an ARP packet.
#[derive(Clone, Copy, Debug)]
pub struct Arp<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Arp<T> {
    /// Checks that the 28 bytes are there and speak of IPv4 over Ethernet. No setter voids the
    /// check.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] for other hardware, protocols or address lengths.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        Error::check_header(Layer::Arp, PACKET_LEN_BYTES, buffer.as_ref().len())?;
        let view = Self { buffer };
        let packet = view.packet();
        Error::check_field(Layer::Arp, 0, "hardware type", be16(packet, 0) == 1)?;
        Error::check_field(Layer::Arp, 2, "protocol type", be16(packet, 2) == ether_type::IPV4)?;
        Error::check_field(Layer::Arp, 4, "hardware address length", packet[4] == 6)?;
        Error::check_field(Layer::Arp, 5, "protocol address length", packet[5] == 4)?;
        Ok(view)
    }

    /// Reads the operation; see [`operation`].
    #[inline]
    pub fn operation(&self) -> u16 {
        be16(self.packet(), 6)
    }

    /// Reads the sender's Ethernet address.
    #[inline]
    pub fn sender_mac(&self) -> MacAddr {
        MacAddr(bytes(self.packet(), 8))
    }

    /// Reads the sender's IPv4 address.
    #[inline]
    pub fn sender_ip(&self) -> Ipv4Addr {
        Ipv4Addr::from(bytes::<4>(self.packet(), 14))
    }

    /// Reads the target's Ethernet address; means nothing in a request.
    #[inline]
    pub fn target_mac(&self) -> MacAddr {
        MacAddr(bytes(self.packet(), 18))
    }

    /// Reads the target's IPv4 address.
    #[inline]
    pub fn target_ip(&self) -> Ipv4Addr {
        Ipv4Addr::from(bytes::<4>(self.packet(), 24))
    }

    /// Gives the buffer back.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    fn packet(&self) -> &[u8; PACKET_LEN_BYTES] {
        self.buffer.as_ref().first_chunk().expect("new_checked saw the whole packet")
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Arp<T> {
    /// Writes the operation.
    #[inline]
    pub fn set_operation(&mut self, operation: u16) {
        set_be16(self.packet_mut(), 6, operation);
    }

    /// Writes the sender's Ethernet address.
    #[inline]
    pub fn set_sender_mac(&mut self, address: MacAddr) {
        self.packet_mut()[8..14].copy_from_slice(&address.0);
    }

    /// Writes the sender's IPv4 address.
    #[inline]
    pub fn set_sender_ip(&mut self, address: Ipv4Addr) {
        self.packet_mut()[14..18].copy_from_slice(&address.octets());
    }

    /// Writes the target's Ethernet address.
    #[inline]
    pub fn set_target_mac(&mut self, address: MacAddr) {
        self.packet_mut()[18..24].copy_from_slice(&address.0);
    }

    /// Writes the target's IPv4 address.
    #[inline]
    pub fn set_target_ip(&mut self, address: Ipv4Addr) {
        self.packet_mut()[24..28].copy_from_slice(&address.octets());
    }

    fn packet_mut(&mut self) -> &mut [u8; PACKET_LEN_BYTES] {
        self.buffer.as_mut().first_chunk_mut().expect("new_checked saw the whole packet")
    }
}

/// An ARP packet for IPv4 over Ethernet as plain values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArpRepr {
    /// What is asked or said; see [`operation`].
    pub operation: u16,
    /// Sender's Ethernet address.
    pub sender_mac: MacAddr,
    /// Sender's IPv4 address; unspecified in a probe (RFC 5227).
    pub sender_ip: Ipv4Addr,
    /// Target's Ethernet address; zero in a request.
    pub target_mac: MacAddr,
    /// Target's IPv4 address.
    pub target_ip: Ipv4Addr,
}

impl ArpRepr {
    /// Tells whether the sender speaks of itself: sender and target IPv4 address are the same, in
    /// a request or a reply (RFC 5944 section 4.6).
    #[must_use]
    pub fn is_gratuitous(&self) -> bool {
        let known = matches!(self.operation, operation::REQUEST | operation::REPLY);
        known && self.sender_ip == self.target_ip && !self.sender_ip.is_unspecified()
    }

    /// Tells whether the sender asks if an address is in use before it takes it: a request with
    /// the sender's IPv4 address unspecified (RFC 5227 section 1.1).
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.operation == operation::REQUEST
            && self.sender_ip.is_unspecified()
            && !self.target_ip.is_unspecified()
    }

    /// Tells whether the sender says that it has taken an address: a gratuitous request (RFC 5227
    /// section 1.1).
    #[must_use]
    pub fn is_announcement(&self) -> bool {
        self.operation == operation::REQUEST && self.is_gratuitous()
    }

    /// Reads all fields; every packet that passed the check is representable.
    pub fn parse<T: AsRef<[u8]>>(view: &Arp<T>) -> Self {
        Self {
            operation: view.operation(),
            sender_mac: view.sender_mac(),
            sender_ip: view.sender_ip(),
            target_mac: view.target_mac(),
            target_ip: view.target_ip(),
        }
    }

    /// Writes the packet, types and lengths included, at the start of `buffer` and returns the
    /// view of it.
    ///
    /// # Errors
    /// [`Error::Short`].
    pub fn emit<'b>(&self, buffer: &'b mut [u8]) -> Result<Arp<&'b mut [u8]>, Error> {
        Error::check_header(Layer::Arp, PACKET_LEN_BYTES, buffer.len())?;
        buffer[..6].copy_from_slice(&ETHERNET_IPV4);
        let mut view = Arp { buffer };
        view.set_operation(self.operation);
        view.set_sender_mac(self.sender_mac);
        view.set_sender_ip(self.sender_ip);
        view.set_target_mac(self.target_mac);
        view.set_target_ip(self.target_ip);
        Ok(view)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REQUEST: [u8; 28] =
        [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2];

    #[test]
    fn a_request_by_hand() {
        let repr = ArpRepr::parse(&Arp::new_checked(REQUEST).unwrap());
        let expected = ArpRepr {
            operation: operation::REQUEST,
            sender_mac: MacAddr([2, 0, 0, 0, 0, 9]),
            sender_ip: Ipv4Addr::new(10, 0, 0, 1),
            target_mac: MacAddr::default(),
            target_ip: Ipv4Addr::new(10, 0, 0, 2),
        };
        assert_eq!(repr, expected);
        let mut buffer = [0xff; 28];
        repr.emit(&mut buffer).unwrap();
        assert_eq!(buffer, REQUEST);
        assert!(repr.emit(&mut buffer[..27]).is_err());
    }

    #[test]
    fn probe_announcement_and_gratuitous_reply() {
        let request = ArpRepr::parse(&Arp::new_checked(REQUEST).unwrap());
        let kinds = |repr: ArpRepr| (repr.is_gratuitous(), repr.is_probe(), repr.is_announcement());
        let own = ArpRepr { target_ip: request.sender_ip, ..request };
        let reply = operation::REPLY;
        assert_eq!(kinds(request), (false, false, false));
        assert_eq!(kinds(own), (true, false, true));
        assert_eq!(kinds(ArpRepr { operation: reply, ..own }), (true, false, false));
        assert_eq!(kinds(ArpRepr { operation: 3, ..own }), (false, false, false));
        let any = Ipv4Addr::UNSPECIFIED;
        let probe = ArpRepr { sender_ip: any, ..request };
        assert_eq!(kinds(probe), (false, true, false));
        assert_eq!(kinds(ArpRepr { operation: reply, ..probe }), (false, false, false));
        assert_eq!(kinds(ArpRepr { target_ip: any, ..probe }), (false, false, false));
    }

    #[test]
    fn other_kinds_are_refused_by_name() {
        assert!(matches!(Arp::new_checked(&REQUEST[..27]), Err(Error::Short { .. })));
        let fields = [
            (0, "hardware type"),
            (1, "hardware type"),
            (2, "protocol type"),
            (3, "protocol type"),
            (4, "hardware address length"),
            (5, "protocol address length"),
        ];
        for (at, name) in fields {
            let mut packet = REQUEST;
            packet[at] ^= 0x80;
            let error = Arp::new_checked(packet).unwrap_err();
            assert!(matches!(error, Error::Field { field, .. } if field == name), "{error}");
        }
    }

    proptest! {
        // Planted and caught: set_sender_ip writes the target's.
        #[test]
        fn a_setter_changes_its_field_only(
            tail: [u8; 22], operation: u16, macs: [[u8; 6]; 2], ips: [[u8; 4]; 2],
        ) {
            let mut packet = REQUEST;
            packet[6..].copy_from_slice(&tail);
            let mut view = Arp::new_checked(packet.as_mut_slice()).unwrap();
            let mut expected = ArpRepr::parse(&view);
            view.set_operation(operation);
            expected.operation = operation;
            prop_assert_eq!(ArpRepr::parse(&view), expected);
            view.set_sender_mac(MacAddr(macs[0]));
            expected.sender_mac = MacAddr(macs[0]);
            prop_assert_eq!(ArpRepr::parse(&view), expected);
            view.set_sender_ip(ips[0].into());
            expected.sender_ip = ips[0].into();
            prop_assert_eq!(ArpRepr::parse(&view), expected);
            view.set_target_mac(MacAddr(macs[1]));
            expected.target_mac = MacAddr(macs[1]);
            prop_assert_eq!(ArpRepr::parse(&view), expected);
            view.set_target_ip(ips[1].into());
            expected.target_ip = ips[1].into();
            prop_assert_eq!(ArpRepr::parse(&view), expected);
            prop_assert!(Arp::new_checked(packet).is_ok());
        }

        // Planted and caught: emit leaves out types and lengths; set_sender_ip writes the target's.
        #[test]
        fn emit_undoes_parse(tail: [u8; 22]) {
            let mut packet = REQUEST;
            packet[6..].copy_from_slice(&tail);
            let mut copy = [0xa5; 28];
            ArpRepr::parse(&Arp::new_checked(packet).unwrap()).emit(&mut copy).unwrap();
            prop_assert_eq!(copy, packet);
        }
    }
}
