//! ARP for any hardware and any protocol (RFC 826): two lengths say where the addresses are.
//!
//! ```text
//!   0  | hardware type 16         | protocol type 16               |
//!   4  | hlen 8      | plen 8     | operation 16                   |
//!   8  | sender hardware, hlen | sender protocol, plen | target hardware | target protocol |
//! ```

use super::{Arp, PACKET_LEN_BYTES};
use crate::{Error, Layer, be16, set_be16};

/// Bytes in front of the addresses.
const HEADER_LEN_BYTES: usize = 8;

/// Hardware types in common use.
pub mod hardware_type {
    /// Ethernet.
    pub const ETHERNET: u16 = 1;
    /// IEEE 802 networks.
    pub const IEEE_802: u16 = 6;
    /// Frame relay.
    pub const FRAME_RELAY: u16 = 15;
    /// ATM.
    pub const ATM: u16 = 16;
    /// HDLC.
    pub const HDLC: u16 = 17;
    /// Fibre channel.
    pub const FIBRE_CHANNEL: u16 = 18;
    /// IEEE 1394.
    pub const IEEE_1394: u16 = 24;
    /// IP over `InfiniBand`: addresses have 20 bytes.
    pub const INFINIBAND: u16 = 32;
    /// For experiments (RFC 5494).
    pub const EXPERIMENT_1: u16 = 36;
    /// For experiments (RFC 5494).
    pub const EXPERIMENT_2: u16 = 256;
}

/// A view of an ARP packet with addresses of any length, named after the kernel's
/// `struct arphdr` (`include/uapi/linux/if_arp.h`).
///
/// ```
/// use netmem_wire::arp::ArpHeader;
///
/// // Infiniband has hardware addresses of 20 bytes; these have 2.
/// let packet = [0, 32, 8, 0, 2, 4, 0, 1, 0xa, 0xb, 10, 0, 0, 1, 0, 0, 10, 0, 0, 2];
/// let view = ArpHeader::new_checked(&packet)?;
/// assert_eq!((view.hlen(), view.plen()), (2, 4));
/// assert_eq!(view.sender_hardware(), [0xa, 0xb]);
/// assert_eq!(view.target_protocol(), [10, 0, 0, 2]);
/// # Ok::<(), netmem_wire::Error>(())
/// ```
#[doc(alias = "arphdr")]
#[derive(Clone, Copy, Debug)]
pub struct ArpHeader<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> ArpHeader<T> {
    /// Checks that the fixed part and the four addresses are there.
    ///
    /// [`set_hlen`](Self::set_hlen) and [`set_plen`](Self::set_plen) void the check: afterwards an
    /// address that the buffer does not hold is given as empty and refused by its setter.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Truncated`] if the addresses are longer than the buffer.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        let available_bytes = buffer.as_ref().len();
        Error::check_header(Layer::Arp, HEADER_LEN_BYTES, available_bytes)?;
        let view = Self { buffer };
        Error::check_len(Layer::Arp, 4, view.len_bytes(), available_bytes)?;
        Ok(view)
    }

    /// Reads the hardware type; see [`hardware_type`].
    #[inline]
    pub fn hardware_type(&self) -> u16 {
        be16(self.header(), 0)
    }

    /// Reads the protocol type: an Ethernet type.
    #[inline]
    pub fn protocol_type(&self) -> u16 {
        be16(self.header(), 2)
    }

    /// Reads the length of hardware addresses, in bytes.
    #[inline]
    pub fn hlen(&self) -> u8 {
        self.header()[4]
    }

    /// Reads the length of protocol addresses, in bytes.
    #[inline]
    pub fn plen(&self) -> u8 {
        self.header()[5]
    }

    /// Reads the operation; see [`operation`](super::operation).
    #[inline]
    pub fn operation(&self) -> u16 {
        be16(self.header(), 6)
    }

    /// Computes the length of the packet, in bytes: 8 to 1028.
    #[inline]
    pub fn len_bytes(&self) -> usize {
        HEADER_LEN_BYTES + 2 * (usize::from(self.hlen()) + usize::from(self.plen()))
    }

    /// Lends the sender's hardware address: `hlen` bytes.
    #[inline]
    pub fn sender_hardware(&self) -> &[u8] {
        self.address(0)
    }

    /// Lends the sender's protocol address: `plen` bytes.
    #[inline]
    pub fn sender_protocol(&self) -> &[u8] {
        self.address(1)
    }

    /// Lends the target's hardware address: `hlen` bytes. Means nothing in a request.
    #[inline]
    pub fn target_hardware(&self) -> &[u8] {
        self.address(2)
    }

    /// Lends the target's protocol address: `plen` bytes.
    #[inline]
    pub fn target_protocol(&self) -> &[u8] {
        self.address(3)
    }

    /// Gives the view for IPv4 over Ethernet of the same buffer.
    ///
    /// # Errors
    /// [`Error::Field`] for any other kind.
    pub fn into_ethernet_ipv4(self) -> Result<Arp<T>, Error> {
        Arp::new_checked(self.buffer)
    }

    /// Gives the buffer back.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    fn header(&self) -> &[u8; HEADER_LEN_BYTES] {
        self.buffer.as_ref().first_chunk().expect("new_checked saw the fixed part")
    }

    /// Where the address is, counted in the order of the packet.
    fn range(&self, index: usize) -> core::ops::Range<usize> {
        let (hlen, plen) = (usize::from(self.hlen()), usize::from(self.plen()));
        let before = [0, hlen, hlen + plen, 2 * hlen + plen][index];
        let start = HEADER_LEN_BYTES + before;
        start..start + if index.is_multiple_of(2) { hlen } else { plen }
    }

    fn address(&self, index: usize) -> &[u8] {
        self.buffer.as_ref().get(self.range(index)).unwrap_or_default()
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> ArpHeader<T> {
    /// Writes the hardware type.
    #[inline]
    pub fn set_hardware_type(&mut self, hardware_type: u16) {
        set_be16(self.header_mut(), 0, hardware_type);
    }

    /// Writes the protocol type.
    #[inline]
    pub fn set_protocol_type(&mut self, protocol_type: u16) {
        set_be16(self.header_mut(), 2, protocol_type);
    }

    /// Writes the length of hardware addresses, in bytes; the addresses' bytes stay where they
    /// are. Voids the check.
    #[inline]
    pub fn set_hlen(&mut self, hlen: u8) {
        self.header_mut()[4] = hlen;
    }

    /// Writes the length of protocol addresses, in bytes; the addresses' bytes stay where they
    /// are. Voids the check.
    #[inline]
    pub fn set_plen(&mut self, plen: u8) {
        self.header_mut()[5] = plen;
    }

    /// Writes the operation.
    #[inline]
    pub fn set_operation(&mut self, operation: u16) {
        set_be16(self.header_mut(), 6, operation);
    }

    /// Writes the sender's hardware address.
    ///
    /// # Errors
    /// [`Error::Field`] unless it has `hlen` bytes.
    pub fn set_sender_hardware(&mut self, address: &[u8]) -> Result<(), Error> {
        self.set_address(0, address)
    }

    /// Writes the sender's protocol address.
    ///
    /// # Errors
    /// [`Error::Field`] unless it has `plen` bytes.
    pub fn set_sender_protocol(&mut self, address: &[u8]) -> Result<(), Error> {
        self.set_address(1, address)
    }

    /// Writes the target's hardware address.
    ///
    /// # Errors
    /// [`Error::Field`] unless it has `hlen` bytes.
    pub fn set_target_hardware(&mut self, address: &[u8]) -> Result<(), Error> {
        self.set_address(2, address)
    }

    /// Writes the target's protocol address.
    ///
    /// # Errors
    /// [`Error::Field`] unless it has `plen` bytes.
    pub fn set_target_protocol(&mut self, address: &[u8]) -> Result<(), Error> {
        self.set_address(3, address)
    }

    fn header_mut(&mut self) -> &mut [u8; HEADER_LEN_BYTES] {
        self.buffer.as_mut().first_chunk_mut().expect("new_checked saw the fixed part")
    }

    fn set_address(&mut self, index: usize, address: &[u8]) -> Result<(), Error> {
        let range = self.range(index);
        let offset_bytes = range.start;
        let field = if index.is_multiple_of(2) {
            "hardware address length"
        } else {
            "protocol address length"
        };
        let refused = Error::Field { layer: Layer::Arp, offset_bytes, field };
        match self.buffer.as_mut().get_mut(range) {
            Some(place) if place.len() == address.len() => place.copy_from_slice(address),
            _ => return Err(refused),
        }
        Ok(())
    }
}

impl<T: AsRef<[u8]>> From<Arp<T>> for ArpHeader<T> {
    /// What is ARP for IPv4 over Ethernet is ARP.
    fn from(view: Arp<T>) -> Self {
        debug_assert!(view.buffer.as_ref().len() >= PACKET_LEN_BYTES, "Arp::new_checked saw it");
        Self { buffer: view.buffer }
    }
}

/// An ARP packet of any kind as plain values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArpHeaderRepr<'a> {
    /// Hardware type; see [`hardware_type`].
    pub hardware_type: u16,
    /// Protocol type: an Ethernet type.
    pub protocol_type: u16,
    /// What is asked or said; see [`operation`](super::operation).
    pub operation: u16,
    /// Sender's hardware address, up to 255 bytes.
    pub sender_hardware: &'a [u8],
    /// Sender's protocol address, up to 255 bytes.
    pub sender_protocol: &'a [u8],
    /// Target's hardware address, as long as the sender's.
    pub target_hardware: &'a [u8],
    /// Target's protocol address, as long as the sender's.
    pub target_protocol: &'a [u8],
}

impl<'a> ArpHeaderRepr<'a> {
    /// Reads all fields; every packet that passed the check is representable.
    pub fn parse<T: AsRef<[u8]>>(view: &'a ArpHeader<T>) -> Self {
        Self {
            hardware_type: view.hardware_type(),
            protocol_type: view.protocol_type(),
            operation: view.operation(),
            sender_hardware: view.sender_hardware(),
            sender_protocol: view.sender_protocol(),
            target_hardware: view.target_hardware(),
            target_protocol: view.target_protocol(),
        }
    }

    /// Writes the packet at the start of `buffer` and returns the view of it.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] for addresses above 255 bytes, or of one kind but not of
    /// one length.
    pub fn emit<'b>(&self, buffer: &'b mut [u8]) -> Result<ArpHeader<&'b mut [u8]>, Error> {
        let length = |offset_bytes, field, address: &[u8]| {
            let refused = Error::Field { layer: Layer::Arp, offset_bytes, field };
            u8::try_from(address.len()).map_err(|_| refused)
        };
        let hlen = length(4, "hardware address length", self.sender_hardware)?;
        let plen = length(5, "protocol address length", self.sender_protocol)?;
        Error::check_header(Layer::Arp, HEADER_LEN_BYTES, buffer.len())?;
        let mut view = ArpHeader { buffer };
        view.set_hlen(hlen);
        view.set_plen(plen);
        Error::check_header(Layer::Arp, view.len_bytes(), view.buffer.len())?;
        view.set_hardware_type(self.hardware_type);
        view.set_protocol_type(self.protocol_type);
        view.set_operation(self.operation);
        view.set_sender_hardware(self.sender_hardware)?;
        view.set_sender_protocol(self.sender_protocol)?;
        view.set_target_hardware(self.target_hardware)?;
        view.set_target_protocol(self.target_protocol)?;
        Ok(view)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn packets() -> impl Strategy<Value = Vec<u8>> {
        (vec(any::<u8>(), 8..90), 0_u8..21, 0_u8..17).prop_map(|(mut packet, hlen, plen)| {
            (packet[4], packet[5]) = (hlen, plen);
            packet.resize(packet.len().max(8 + 2 * usize::from(hlen + plen)), 0xc3);
            packet
        })
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut packet = [0, 1, 8, 0, 6, 4, 0, 1].to_vec();
        packet.extend([7; 20]);
        assert!(ArpHeader::new_checked(&packet[..7]).is_err());
        let cut = ArpHeader::new_checked(&packet[..27]);
        assert!(matches!(cut, Err(Error::Truncated { needed_bytes: 28, .. })));
        let mut view = ArpHeader::new_checked(packet.as_mut_slice()).unwrap();
        assert!(view.set_sender_hardware(&[0; 5]).is_err());
        assert!(view.set_target_protocol(&[0; 5]).is_err());
        assert!(view.into_ethernet_ipv4().is_ok());
        let mut view = ArpHeader::new_checked(packet.as_mut_slice()).unwrap();
        view.set_hlen(255);
        assert_eq!(view.sender_hardware(), []);
        assert_eq!(view.target_protocol(), []);
        assert!(view.set_sender_hardware(&[0; 255]).is_err());
        assert!(view.into_ethernet_ipv4().is_err());
        let repr = ArpHeaderRepr {
            hardware_type: 1,
            protocol_type: 2,
            operation: 3,
            sender_hardware: &[1; 6],
            sender_protocol: &[2; 4],
            target_hardware: &[3; 5],
            target_protocol: &[4; 4],
        };
        assert!(repr.emit(&mut [0; 28]).is_err());
        let repr = ArpHeaderRepr { target_hardware: &[3; 6], ..repr };
        assert!(repr.emit(&mut [0; 27]).is_err());
        assert!(repr.emit(&mut [0; 28]).is_ok());
        assert!(ArpHeaderRepr { sender_protocol: &[0; 256], ..repr }.emit(&mut [0; 999]).is_err());
    }

    proptest! {
        // Planted and caught: the target's hardware address begins behind that of the sender; an
        // operation written over the lengths.
        #[test]
        fn a_setter_changes_its_field_only(
            mut packet in packets(), i in 0_usize..9, value: u16, fill: u8,
        ) {
            let mut expected = packet.clone();
            let (hlen, plen) = (usize::from(packet[4]), usize::from(packet[5]));
            let [_, low] = value.to_be_bytes();
            let mut view = ArpHeader::new_checked(packet.as_mut_slice()).unwrap();
            let (hardware, protocol) = (std::vec![fill; hlen], std::vec![fill; plen]);
            let (start, end) = match i {
                0 => (0, 2),
                1 => (2, 4),
                2 => (6, 8),
                3 => (4, 5),
                4 => (5, 6),
                5 => (8, 8 + hlen),
                6 => (8 + hlen, 8 + hlen + plen),
                7 => (8 + hlen + plen, 8 + 2 * hlen + plen),
                _ => (8 + 2 * hlen + plen, 8 + 2 * (hlen + plen)),
            };
            match i {
                0 => view.set_hardware_type(value),
                1 => view.set_protocol_type(value),
                2 => view.set_operation(value),
                3 => view.set_hlen(low),
                4 => view.set_plen(low),
                5 => view.set_sender_hardware(&hardware).unwrap(),
                6 => view.set_sender_protocol(&protocol).unwrap(),
                7 => view.set_target_hardware(&hardware).unwrap(),
                _ => view.set_target_protocol(&protocol).unwrap(),
            }
            match i {
                0 => prop_assert_eq!(view.hardware_type(), value),
                1 => prop_assert_eq!(view.protocol_type(), value),
                2 => prop_assert_eq!(view.operation(), value),
                3 => prop_assert_eq!(view.hlen(), low),
                4 => prop_assert_eq!(view.plen(), low),
                5 => prop_assert_eq!(view.sender_hardware(), hardware),
                6 => prop_assert_eq!(view.sender_protocol(), protocol),
                7 => prop_assert_eq!(view.target_hardware(), hardware),
                _ => prop_assert_eq!(view.target_protocol(), protocol),
            }
            match i {
                0..3 => expected[start..end].copy_from_slice(&value.to_be_bytes()),
                3 | 4 => expected[start] = low,
                _ => expected[start..end].fill(fill),
            }
            prop_assert_eq!(packet, expected);
        }

        // Planted and caught: emit leaves out the operation; target addresses exchanged with those
        // of the sender.
        #[test]
        fn emit_undoes_parse(packet in packets()) {
            let view = ArpHeader::new_checked(&packet).unwrap();
            let mut copy = packet.clone();
            copy[..view.len_bytes()].fill(0xa5);
            let repr = ArpHeaderRepr::parse(&view);
            let again = repr.emit(&mut copy).unwrap();
            prop_assert_eq!(ArpHeaderRepr::parse(&again), repr);
            prop_assert_eq!(copy, packet);
        }
    }
}
