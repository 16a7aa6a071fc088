//! The flow that a packet belongs to.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Dissection, LinkType, Network, dissect};
use crate::ethernet::{self, ether_type};
use crate::ipv4::protocol;
use crate::{be16, vlan};

/// No VLAN tag: ids have 12 bits.
const NO_VLAN: u16 = 0xffff;

/// What the packets of one direction of a flow have in common: VLAN, protocol, addresses and ports.
///
/// 40 bytes without padding, so that comparing and hashing take it as a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// IPv4 addresses have the last four bytes, behind zeros.
    source: [u8; 16],
    destination: [u8; 16],
    source_port: u16,
    destination_port: u16,
    vlan_id: u16,
    version: u8,
    protocol: u8,
}

impl FlowKey {
    /// Makes the key of a flow between two addresses of the same family.
    ///
    /// Ports are 0 where the protocol has none, or in later fragments. None if one address is of IPv4
    /// and the other of IPv6.
    #[must_use]
    pub const fn new(
        (source, source_port): (IpAddr, u16),
        (destination, destination_port): (IpAddr, u16),
        protocol: u8,
        vlan_id: Option<u16>,
    ) -> Option<Self> {
        let (source, destination, version) = match (source, destination) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (wide(a.octets()), wide(b.octets()), 4),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.octets(), b.octets(), 6),
            _ => return None,
        };
        let vlan_id = match vlan_id {
            Some(id) => id & 0x0fff,
            None => NO_VLAN,
        };
        Some(Self {
            source,
            destination,
            source_port,
            destination_port,
            vlan_id,
            version,
            protocol,
        })
    }

    /// Returns the source address.
    #[must_use]
    pub const fn source(&self) -> IpAddr {
        self.address(self.source)
    }

    /// Returns the destination address.
    #[must_use]
    pub const fn destination(&self) -> IpAddr {
        self.address(self.destination)
    }

    /// Returns the source port, 0 where there is none.
    #[must_use]
    pub const fn source_port(&self) -> u16 {
        self.source_port
    }

    /// Returns the destination port, 0 where there is none.
    #[must_use]
    pub const fn destination_port(&self) -> u16 {
        self.destination_port
    }

    /// Returns the IP protocol behind all extension headers.
    #[must_use]
    pub const fn protocol(&self) -> u8 {
        self.protocol
    }

    /// Returns the id of the outermost VLAN tag.
    #[must_use]
    pub const fn vlan_id(&self) -> Option<u16> {
        match self.vlan_id {
            NO_VLAN => None,
            id => Some(id),
        }
    }

    /// Returns the key of the other direction.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            ..self
        }
    }

    const fn address(&self, octets: [u8; 16]) -> IpAddr {
        match (self.version, octets) {
            (4, [.., a, b, c, d]) => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            _ => IpAddr::V6(Ipv6Addr::from_octets(octets)),
        }
    }
}

/// Finds the flow of a frame's outermost packet: what [`Dissection::flow_key`] gives of [`dissect`],
/// for callers that want nothing else. Usual frames have a short way.
#[must_use]
#[inline]
pub fn flow_key(link_type: LinkType, frame: &[u8]) -> Option<FlowKey> {
    if link_type == LinkType::Ethernet
        && let Some(key) = usual(frame)
    {
        return Some(key);
    }
    unusual(link_type, frame)
}

impl Dissection<'_> {
    /// Returns the flow that the level's packet belongs to; none without an IP header.
    #[must_use]
    pub fn flow_key(&self) -> Option<FlowKey> {
        let header = self.network_bytes();
        let (source, destination, version) = match self.network() {
            Network::Ipv4 => {
                let [.., a, b, c, d, e, f, g, h] = *header.first_chunk::<20>()?;
                (wide([a, b, c, d]), wide([e, f, g, h]), 4)
            }
            Network::Ipv6 => {
                let header: &[u8; 40] = header.first_chunk()?;
                (crate::bytes(header, 8), crate::bytes(header, 24), 6)
            }
            Network::Arp | Network::None => return None,
        };
        let (source_port, destination_port) = self.ports().unwrap_or_default();
        let vlan_id = self.vlans().next().map_or(NO_VLAN, |tag| tag.id());
        let protocol = self.protocol()?;
        Some(FlowKey {
            source,
            destination,
            source_port,
            destination_port,
            vlan_id,
            version,
            protocol,
        })
    }
}

#[inline(never)]
fn unusual(link_type: LinkType, frame: &[u8]) -> Option<FlowKey> {
    dissect(link_type, frame).flow_key()
}

/// IPv4 without options or IPv6 without extension headers, behind one tag or none, not a fragment, with
/// ports: the rest of the frame has no say in its key.
#[inline(always)]
fn usual(frame: &[u8]) -> Option<FlowKey> {
    let (header, rest) = frame.split_first_chunk::<{ ethernet::HEADER_LEN_BYTES }>()?;
    let kind = be16(header, 12);
    if !vlan::is_tag(kind) {
        return usual_ip(kind, rest, NO_VLAN);
    }
    let (tag, rest) = rest.split_first_chunk::<{ vlan::HEADER_LEN_BYTES }>()?;
    usual_ip(be16(tag, 2), rest, be16(tag, 0) & 0x0fff)
}

#[inline(always)]
fn usual_ip(kind: u16, packet: &[u8], vlan_id: u16) -> Option<FlowKey> {
    match kind {
        ether_type::IPV4 => usual_ipv4(packet, vlan_id),
        ether_type::IPV6 => usual_ipv6(packet, vlan_id),
        _ => None,
    }
}

#[inline(always)]
fn usual_ipv4(packet: &[u8], vlan_id: u16) -> Option<FlowKey> {
    let header: &[u8; 24] = packet.first_chunk()?;
    let is_whole = be16(header, 6) & 0x3fff == 0;
    if header[0] != 0x45 || !is_whole || be16(header, 2) < 24 || !has_ports(header[9]) {
        return None;
    }
    Some(FlowKey {
        source: wide(crate::bytes(header, 12)),
        destination: wide(crate::bytes(header, 16)),
        source_port: be16(header, 20),
        destination_port: be16(header, 22),
        vlan_id,
        version: 4,
        protocol: header[9],
    })
}

#[inline(always)]
fn usual_ipv6(packet: &[u8], vlan_id: u16) -> Option<FlowKey> {
    let header: &[u8; 44] = packet.first_chunk()?;
    if header[0] >> 4 != 6 || be16(header, 4) < 4 || !has_ports(header[6]) {
        return None;
    }
    Some(FlowKey {
        source: crate::bytes(header, 8),
        destination: crate::bytes(header, 24),
        source_port: be16(header, 40),
        destination_port: be16(header, 42),
        vlan_id,
        version: 6,
        protocol: header[6],
    })
}

#[inline(always)]
const fn has_ports(kind: u8) -> bool {
    matches!(kind, protocol::TCP | protocol::UDP | protocol::SCTP | protocol::UDP_LITE)
}

const fn wide([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]
}
