//! Ethernet, VLAN tags, LLC, ARP and padding.

use super::{Composer, Kind, Transport};
use crate::arp::PACKET_LEN_BYTES;
use crate::ethernet::ether_type;
use crate::llc::{LlcRepr, Snap};
use crate::{ArpRepr, Error, EthernetRepr, Layer, MacAddr, VlanRepr, ethernet, vlan};

/// The longest 802.3 payload; larger numbers are types (IEEE 802.3 section 3.2.6).
const MAX_LLC_LEN_BYTES: u16 = 1500;
/// The smallest number that is an Ethernet type.
const MIN_ETHER_TYPE: u16 = 0x0600;

impl Composer<'_> {
    /// Writes an Ethernet header; in front of LLC it has the length (802.3).
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] if what is behind is not carried by Ethernet, or is LLC
    /// of more than 1500 bytes.
    pub fn ethernet(&mut self, destination: MacAddr, source: MacAddr) -> Result<&mut Self, Error> {
        let ether_type = self.ether_type(Layer::Ethernet, 12)?;
        let repr = EthernetRepr { destination, source, ether_type };
        let len_bytes = ethernet::HEADER_LEN_BYTES;
        repr.emit(self.room(Layer::Ethernet, len_bytes)?)?;
        self.advance(len_bytes, Kind::Frame);
        Ok(self)
    }

    /// Writes an 802.1Q tag with priority 0.
    ///
    /// # Errors
    /// Those of [`vlan_with`](Self::vlan_with).
    pub fn vlan(&mut self, id: u16) -> Result<&mut Self, Error> {
        let repr = VlanRepr { priority: 0, drop_eligible: false, id, ether_type: 0 };
        self.vlan_with(ether_type::VLAN, &repr)
    }

    /// Writes a tag that the header in front will announce as `tag_protocol_id`: 0x8100 or 0x88a8.
    /// The type in `repr` is not looked at. Tags may be stacked.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] for another protocol identifier, values out of range, and
    /// what [`ethernet`](Self::ethernet) refuses.
    pub fn vlan_with(&mut self, tag_protocol_id: u16, repr: &VlanRepr) -> Result<&mut Self, Error> {
        Error::check_field(Layer::Vlan, 0, "protocol identifier", vlan::is_tag(tag_protocol_id))?;
        let ether_type = self.ether_type(Layer::Vlan, 2)?;
        let repr = VlanRepr { ether_type, ..*repr };
        repr.emit(self.room(Layer::Vlan, vlan::HEADER_LEN_BYTES)?)?;
        self.advance(vlan::HEADER_LEN_BYTES, Kind::EtherType(tag_protocol_id));
        Ok(self)
    }

    /// Writes an LLC header in front of anything but a transport header.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] as [`LlcRepr::emit`], and for what is behind.
    pub fn llc(&mut self, repr: &LlcRepr) -> Result<&mut Self, Error> {
        let is_sane = self.transport == Transport::None;
        Error::check_field(Layer::Llc, 0, "payload", is_sane)?;
        // Emitted aside first: its errors come after its first byte.
        let mut header = [0; crate::llc::SNAP_LEN_BYTES];
        repr.emit(&mut header)?;
        self.push(Layer::Llc, &header[..repr.header_len_bytes()], Kind::Llc)?;
        Ok(self)
    }

    /// Writes LLC and SNAP with the Ethernet type of what is behind (RFC 1042).
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] if what is behind has no Ethernet type.
    pub fn snap(&mut self) -> Result<&mut Self, Error> {
        let Kind::EtherType(protocol_id) = self.kind else {
            return Err(Error::Field { layer: Layer::Llc, offset_bytes: 6, field: "type" });
        };
        self.llc(&LlcRepr::Snap(Snap { oui: [0; 3], protocol_id }))
    }

    /// Writes an ARP packet; nothing may be behind it.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] if there is a payload.
    pub fn arp(&mut self, repr: &ArpRepr) -> Result<&mut Self, Error> {
        Error::check_field(Layer::Arp, PACKET_LEN_BYTES, "payload", self.len_bytes() == 0)?;
        repr.emit(self.room(Layer::Arp, PACKET_LEN_BYTES)?)?;
        self.advance(PACKET_LEN_BYTES, Kind::EtherType(ether_type::ARP));
        Ok(self)
    }

    /// Makes the frame at least `len_bytes` long by zeros behind it: 60, for the shortest frame of
    /// Ethernet without its check sequence.
    ///
    /// # Errors
    /// [`Error::Short`] if the tailroom is too small; [`Error::Field`] as long as there is no
    /// Ethernet header, because a length would count the padding.
    pub fn pad_to_bytes(&mut self, len_bytes: usize) -> Result<&mut Self, Error> {
        const LAYER: Layer = Layer::Ethernet;
        let offset_bytes = self.len_bytes();
        Error::check_field(LAYER, offset_bytes, "padding", self.kind == Kind::Frame)?;
        let needed_bytes = len_bytes.saturating_sub(offset_bytes);
        let available_bytes = self.buffer.len() - self.end;
        let short = Error::Short { layer: LAYER, offset_bytes, needed_bytes, available_bytes };
        let tailroom = &mut self.buffer[self.end..];
        tailroom.get_mut(..needed_bytes).ok_or(short)?.fill(0);
        // Zeros do not change the sum.
        self.end += needed_bytes;
        Ok(self)
    }

    /// Tells what a type field in front says: an Ethernet type, or a length.
    fn ether_type(&self, layer: Layer, offset_bytes: usize) -> Result<u16, Error> {
        let len_bytes = u16::try_from(self.len_bytes()).ok();
        match (self.kind, len_bytes) {
            (Kind::EtherType(ether_type @ MIN_ETHER_TYPE..), _) => Ok(ether_type),
            (Kind::Llc, Some(len_bytes @ ..=MAX_LLC_LEN_BYTES)) => Ok(len_bytes),
            (Kind::Llc, _) => Err(Error::Field { layer, offset_bytes, field: "length" }),
            _ => Err(Error::Field { layer, offset_bytes, field: "type" }),
        }
    }
}
