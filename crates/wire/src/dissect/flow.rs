//! The flow that a packet belongs to.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::num::NonZeroU64;

use super::{Dissection, LinkType, Network, dissect};
use crate::ethernet::{self, ether_type};
use crate::ipv4::protocol;
use crate::{be16, vlan};

/// No VLAN tag: ids have 12 bits.
const NO_VLAN: u16 = 0xffff;
/// A tag's id, in the byte order of the wire.
const VLAN_ID: u16 = 0x0fff_u16.to_be();

/// What the packets of one direction of a flow have in common: VLAN, protocol, addresses and ports.
///
/// 40 bytes without padding, in words that are made in registers, so that making, comparing and hashing
/// take few instructions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// The first 8 bytes of the two addresses as they lie in a header: of IPv4, all.
    addresses: u64,
    /// From the lowest bit: the ports as they lie in a header, 32; VLAN id as it lies in a tag, 16; IP
    /// version, 8; protocol, 8.
    rest: NonZeroU64,
    /// The other 24 bytes of IPv6 addresses; of IPv4, zeros.
    more_addresses: [u64; 3],
}

impl FlowKey {
    /// Makes the key of a flow between two addresses of the same family.
    ///
    /// Ports are 0 where the protocol has none, or in later fragments. None if one address is of IPv4
    /// and the other of IPv6.
    #[must_use]
    pub fn new(
        (source, source_port): (IpAddr, u16),
        (destination, destination_port): (IpAddr, u16),
        protocol: u8,
        vlan_id: Option<u16>,
    ) -> Option<Self> {
        let mut addresses = [0; 32];
        let version = match (source, destination) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                addresses[..4].copy_from_slice(&a.octets());
                addresses[4..8].copy_from_slice(&b.octets());
                4
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                addresses[..16].copy_from_slice(&a.octets());
                addresses[16..].copy_from_slice(&b.octets());
                6
            }
            _ => return None,
        };
        let ([a, b], [c, d]) = (source_port.to_be_bytes(), destination_port.to_be_bytes());
        let vlan_id = vlan_id.map_or(NO_VLAN, |id| id.to_be() & VLAN_ID);
        Some(Self::from_parts(&addresses, [a, b, c, d], vlan_id, (version, protocol)))
    }

    /// Returns the source address.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        self.address(0)
    }

    /// Returns the destination address.
    #[must_use]
    pub fn destination(&self) -> IpAddr {
        self.address(1)
    }

    /// Returns the source port, 0 where there is none.
    #[must_use]
    pub const fn source_port(&self) -> u16 {
        be16(&self.ports(), 0)
    }

    /// Returns the destination port, 0 where there is none.
    #[must_use]
    pub const fn destination_port(&self) -> u16 {
        be16(&self.ports(), 2)
    }

    /// Returns the IP protocol behind all extension headers.
    #[must_use]
    pub const fn protocol(&self) -> u8 {
        self.rest.get().to_be_bytes()[0]
    }

    /// Returns the id of the outermost VLAN tag.
    #[must_use]
    pub const fn vlan_id(&self) -> Option<u16> {
        match self.raw_vlan_id() {
            NO_VLAN => None,
            id => Some(u16::from_be(id)),
        }
    }

    /// Returns the key of the other direction.
    #[must_use]
    pub fn reversed(self) -> Self {
        let mut addresses = self.addresses();
        let len_bytes = if self.version() == 4 { 4 } else { 16 };
        addresses[..2 * len_bytes].rotate_left(len_bytes);
        let [a, b, c, d] = self.ports();
        let kind = (self.version(), self.protocol());
        Self::from_parts(&addresses, [c, d, a, b], self.raw_vlan_id(), kind)
    }

    #[inline(always)]
    fn from_parts(
        addresses: &[u8; 32],
        ports: [u8; 4],
        vlan_id: u16,
        (version, protocol): (u8, u8),
    ) -> Self {
        let word = |at| u64::from_ne_bytes(crate::bytes(addresses, at));
        Self {
            addresses: word(0),
            rest: rest(ports, vlan_id, (version, protocol)),
            more_addresses: [word(8), word(16), word(24)],
        }
    }

    const fn raw_vlan_id(&self) -> u16 {
        let [_, _, a, b, ..] = self.rest.get().to_be_bytes();
        u16::from_be_bytes([a, b])
    }

    const fn version(&self) -> u8 {
        self.rest.get().to_be_bytes()[1]
    }

    const fn ports(&self) -> [u8; 4] {
        let [_, _, _, _, a, b, c, d] = self.rest.get().to_be_bytes();
        u32::from_be_bytes([a, b, c, d]).to_ne_bytes()
    }

    fn addresses(&self) -> [u8; 32] {
        let [b, c, d] = self.more_addresses;
        let mut addresses = [0; 32];
        for (place, word) in addresses.as_chunks_mut().0.iter_mut().zip([self.addresses, b, c, d]) {
            *place = word.to_ne_bytes();
        }
        addresses
    }

    fn address(&self, index: usize) -> IpAddr {
        let addresses = self.addresses();
        if self.version() == 4 {
            Ipv4Addr::from(crate::bytes::<4>(&addresses, 4 * index)).into()
        } else {
            Ipv6Addr::from(crate::bytes::<16>(&addresses, 16 * index)).into()
        }
    }
}

impl fmt::Debug for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlowKey")
            .field("source", &self.source())
            .field("source_port", &self.source_port())
            .field("destination", &self.destination())
            .field("destination_port", &self.destination_port())
            .field("protocol", &self.protocol())
            .field("vlan_id", &self.vlan_id())
            .finish()
    }
}

/// The word of a key that is no address.
#[inline(always)]
fn rest(ports: [u8; 4], vlan_id: u16, (version, protocol): (u8, u8)) -> NonZeroU64 {
    let ports = u64::from(u32::from_ne_bytes(ports));
    let kind = u64::from(protocol) << 56 | u64::from(version) << 48 | u64::from(vlan_id) << 32;
    NonZeroU64::new(kind | ports).expect("the version is not zero")
}

/// Finds the flow of a frame's outermost packet: what [`Dissection::flow_key`] gives of [`dissect`],
/// for callers that want nothing else. Usual frames have a short way.
// Always in line: the key is made in registers and written once, to where the caller wants it.
#[must_use]
#[inline(always)]
pub fn flow_key(link_type: LinkType, frame: &[u8]) -> Option<FlowKey> {
    if link_type == LinkType::Ethernet
        && let Some(key) = usual(frame)
    {
        return Some(key);
    }
    // Into a place of its own, so that the usual key can stay in registers until it is written.
    let mut found = None;
    unusual(link_type, frame, &mut found);
    found
}

impl Dissection<'_> {
    /// Returns the flow that the level's packet belongs to; none without an IP header.
    #[must_use]
    #[inline]
    pub fn flow_key(&self) -> Option<FlowKey> {
        let ports = self.ports().map_or([0; 4], |(source, destination)| {
            let ([a, b], [c, d]) = (source.to_be_bytes(), destination.to_be_bytes());
            [a, b, c, d]
        });
        let vlan_id = match self.tag_count {
            0 => NO_VLAN,
            _ => raw16(self.header::<2>(self.tags_at())?, 0) & VLAN_ID,
        };
        let protocol = self.protocol()?;
        match self.network() {
            Network::Ipv4 => Some(FlowKey {
                addresses: u64::from_ne_bytes(*self.header(self.network_at + 12)?),
                rest: rest(ports, vlan_id, (4, protocol)),
                more_addresses: [0; 3],
            }),
            Network::Ipv6 => {
                let addresses = self.header(self.network_at + 8)?;
                Some(FlowKey::from_parts(addresses, ports, vlan_id, (6, protocol)))
            }
            Network::Arp | Network::None => None,
        }
    }

    #[inline(always)]
    fn header<const N: usize>(&self, at: usize) -> Option<&[u8; N]> {
        self.frame().get(at..)?.first_chunk()
    }
}

#[inline(never)]
fn unusual(link_type: LinkType, frame: &[u8], found: &mut Option<FlowKey>) {
    *found = dissect(link_type, frame).flow_key();
}

/// TCP or UDP in IPv4 without options or IPv6 without extension headers, behind one tag or none, not a
/// fragment: the rest of the frame has no say in its key.
///
/// Numbers are compared as they lie in memory, several fields at a time.
#[inline(always)]
fn usual(frame: &[u8]) -> Option<FlowKey> {
    const ETHERNET: usize = ethernet::HEADER_LEN_BYTES;
    const TAGGED: usize = ETHERNET + vlan::HEADER_LEN_BYTES;
    // The shortest that it may be, so that IPv4 has one check of the length.
    let start: &[u8; ETHERNET + IPV4_LEN] = frame.first_chunk()?;
    match raw16(start, 12) {
        IPV4 => usual_ipv4(start.last_chunk()?, NO_VLAN),
        IPV6 => usual_ipv6(frame.get(ETHERNET..)?.first_chunk()?, NO_VLAN),
        VLAN | VLAN_SERVICE => {
            let vlan_id = raw16(start, 14) & VLAN_ID;
            match raw16(start, 16) {
                IPV4 => usual_ipv4(frame.get(TAGGED..)?.first_chunk()?, vlan_id),
                IPV6 => usual_ipv6(frame.get(TAGGED..)?.first_chunk()?, vlan_id),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Bytes of a header without options, and the ports.
const IPV4_LEN: usize = 24;
const IPV6_LEN: usize = 44;

const IPV4: u16 = ether_type::IPV4.to_be();
const IPV6: u16 = ether_type::IPV6.to_be();
const VLAN: u16 = ether_type::VLAN.to_be();
const VLAN_SERVICE: u16 = ether_type::VLAN_SERVICE.to_be();

#[inline(always)]
fn usual_ipv4(header: &[u8; IPV4_LEN], vlan_id: u16) -> Option<FlowKey> {
    /// More fragments, and the fragment's offset.
    const FRAGMENT: u16 = 0x3fff_u16.to_be();
    let is_whole = raw16(header, 6) & FRAGMENT == 0;
    if header[0] != 0x45 || !is_whole || usize::from(be16(header, 2)) < IPV4_LEN {
        return None;
    }
    usual_transport(header[9]).then(|| FlowKey {
        addresses: u64::from_ne_bytes(crate::bytes(header, 12)),
        rest: rest(crate::bytes(header, 20), vlan_id, (4, header[9])),
        more_addresses: [0; 3],
    })
}

#[inline(always)]
fn usual_ipv6(header: &[u8; IPV6_LEN], vlan_id: u16) -> Option<FlowKey> {
    if header[0] >> 4 != 6 || be16(header, 4) < 4 {
        return None;
    }
    usual_transport(header[6]).then(|| {
        let addresses = crate::bytes(header, 8);
        FlowKey::from_parts(&addresses, crate::bytes(header, 40), vlan_id, (6, header[6]))
    })
}

#[inline(always)]
const fn usual_transport(kind: u8) -> bool {
    matches!(kind, protocol::TCP | protocol::UDP)
}

#[inline(always)]
fn raw16<const N: usize>(header: &[u8; N], at_bytes: usize) -> u16 {
    u16::from_ne_bytes([header[at_bytes], header[at_bytes + 1]])
}
