//! GRE, VXLAN and GENEVE.

use super::{Composer, Kind, Transport, UdpChecksum};
use crate::geneve::{self, GeneveRepr};
use crate::gre::{self, GreRepr};
use crate::ipv4::protocol;
use crate::{Error, Gre, Layer, VxlanRepr, udp, vxlan};

/// Gives the UDP source port by which a tunnel spreads its flows: 49152 to 65535, from a hash over
/// the inner packet's flow (RFC 7348 section 5, RFC 8926 section 3.3).
#[must_use]
pub const fn source_port(flow_hash: u32) -> u16 {
    let [a, b, c, d] = flow_hash.to_be_bytes();
    0xc000 | u16::from_be_bytes([a ^ c, b ^ d])
}

impl Composer<'_> {
    /// Writes a GRE header in front of a frame or a packet, with its checksum if `repr` has one.
    /// The protocol type in `repr` is not looked at.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] if what is behind has no Ethernet type and is no frame.
    pub fn gre(&mut self, repr: &GreRepr) -> Result<&mut Self, Error> {
        let protocol_type = self.inner_type(Layer::Gre, 2)?;
        let mut header = [0; 16];
        let header = &mut header[..repr.header_len_bytes()];
        GreRepr { protocol_type, ..*repr }.emit(header)?;
        Gre::new_checked(&mut *header)?.set_checksum(0);
        self.push(Layer::Gre, header, Kind::Protocol(protocol::GRE))?;
        if repr.has_checksum {
            let checksum = self.sum().finish();
            self.fill(self.start + gre::MIN_HEADER_LEN_BYTES, checksum);
        }
        self.transport = Transport::Complete;
        Ok(self)
    }

    /// Writes a VXLAN header in front of a frame, and the UDP header in front of that, whose source
    /// port is [`source_port`] of `flow_hash`. RFC 7348 section 5 wants no checksum in IPv4.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] for a network identifier out of range, and if what is
    /// behind is no frame or too long for UDP.
    pub fn vxlan(
        &mut self,
        repr: &VxlanRepr,
        flow_hash: u32,
        checksum: UdpChecksum,
    ) -> Result<&mut Self, Error> {
        let is_frame = self.kind == Kind::Frame;
        Error::check_field(Layer::Vxlan, 0, "payload", is_frame)?;
        let mut header = [0; vxlan::HEADER_LEN_BYTES];
        repr.emit(&mut header)?;
        self.udp_tunnel(Layer::Vxlan, &header)?.udp_with(
            source_port(flow_hash),
            vxlan::UDP_PORT,
            checksum,
        )
    }

    /// Writes a GENEVE header with `options` in front of a frame or a packet, and the UDP header in
    /// front of that, whose source port is [`source_port`] of `flow_hash`. The protocol type and
    /// the length of the options in `repr` are not looked at.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] for values out of range, options whose length is no
    /// multiple of 4 or above 252 bytes, and if what is behind has no Ethernet type and is no frame
    /// or is too long for UDP.
    pub fn geneve(
        &mut self,
        repr: &GeneveRepr,
        options: &[u8],
        flow_hash: u32,
        checksum: UdpChecksum,
    ) -> Result<&mut Self, Error> {
        const LAYER: Layer = Layer::Geneve;
        let protocol_type = self.inner_type(LAYER, 2)?;
        let mut header = [0; geneve::HEADER_LEN_BYTES + geneve::MAX_OPTIONS_LEN_BYTES];
        let options_len_bytes = options.len();
        GeneveRepr { protocol_type, options_len_bytes, ..*repr }.emit(&mut header)?;
        let len_bytes = geneve::HEADER_LEN_BYTES + options_len_bytes;
        header[geneve::HEADER_LEN_BYTES..len_bytes].copy_from_slice(options);
        self.udp_tunnel(LAYER, &header[..len_bytes])?.udp_with(
            source_port(flow_hash),
            geneve::UDP_PORT,
            checksum,
        )
    }

    /// Writes a tunnel's header, if the UDP header will fit too.
    fn udp_tunnel(&mut self, layer: Layer, header: &[u8]) -> Result<&mut Self, Error> {
        let headers_len_bytes = header.len() + udp::HEADER_LEN_BYTES;
        let len_bytes = self.len_bytes() + headers_len_bytes;
        let fits = len_bytes <= usize::from(u16::MAX);
        Error::check_field(Layer::Udp, 4, "length", fits)?;
        self.check_room(layer, headers_len_bytes)?;
        self.push(layer, header, Kind::Data)?;
        Ok(self)
    }

    /// Tells what the protocol type of a tunnel's header says.
    fn inner_type(&self, layer: Layer, offset_bytes: usize) -> Result<u16, Error> {
        match self.kind {
            Kind::Frame => Ok(gre::ETHERNET),
            Kind::EtherType(ether_type) => Ok(ether_type),
            _ => Err(Error::Field { layer, offset_bytes, field: "protocol type" }),
        }
    }
}
