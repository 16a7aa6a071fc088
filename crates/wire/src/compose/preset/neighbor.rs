//! Neighbor discovery (RFC 4861 sections 7.2.2 and 7.2.4).

use core::net::Ipv6Addr;

use super::{Addresses, at_front};
use crate::icmpv6::ndp::options::NdpOption;
use crate::icmpv6::ndp::{NdpRepr, solicited_node};
use crate::{Error, Layer, MacAddr, ethernet, ipv6};

/// All nodes of the link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const LOWER_LEN_BYTES: usize = ethernet::HEADER_LEN_BYTES + ipv6::HEADER_LEN_BYTES;
const MESSAGE_LEN_BYTES: usize = 24;
const OPTION_LEN_BYTES: usize = 8;

/// What is told of a neighbor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Neighbor {
    /// Its Ethernet address.
    pub mac: MacAddr,
    /// Whether it is a router.
    pub is_router: bool,
    /// Whether another Ethernet address in a cache is to be replaced: not for anycast addresses,
    /// nor by a proxy (RFC 4861 section 7.2.4).
    pub override_cached: bool,
}

/// Gives the Ethernet address of an IPv6 group: 33:33 and its last four bytes (RFC 2464 section 7).
#[must_use]
pub const fn multicast_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

/// Asks the solicited-node group of `target` for its Ethernet address; returns the frame's length.
/// With an unspecified `source` it asks whether the address is in use (RFC 4862 section 5.4.2), and
/// has no option.
///
/// # Errors
/// [`Error::Short`]; [`Error::Field`] for a target that is multicast.
pub fn neighbor_solicitation(
    buffer: &mut [u8],
    source_mac: MacAddr,
    source: Ipv6Addr,
    target: Ipv6Addr,
) -> Result<usize, Error> {
    Error::check_field(Layer::Icmpv6, 8, "target", !target.is_multicast())?;
    let option = [NdpOption::SourceLinkLayer(&source_mac.0)];
    let options = if source.is_unspecified() { &[][..] } else { &option };
    let destination = solicited_node(target);
    let destination_mac = multicast_mac(destination);
    let between = Addresses { source_mac, destination_mac, source, destination };
    message(buffer, &NdpRepr::NeighborSolicitation { target }, options, &between)
}

/// Answers a solicitation for `target`, which came by `solicitation`; returns the frame's length.
/// Who asked with an unspecified source is answered through the group of all nodes.
///
/// # Errors
/// [`Error::Short`]; [`Error::Field`] for a target that is multicast.
pub fn neighbor_advertisement(
    buffer: &mut [u8],
    solicitation: &Addresses<Ipv6Addr>,
    target: Ipv6Addr,
    neighbor: &Neighbor,
) -> Result<usize, Error> {
    Error::check_field(Layer::Icmpv6, 8, "target", !target.is_multicast())?;
    let solicited = !solicitation.source.is_unspecified();
    let (destination_mac, destination) = if solicited {
        (solicitation.source_mac, solicitation.source)
    } else {
        (multicast_mac(ALL_NODES), ALL_NODES)
    };
    let repr = NdpRepr::NeighborAdvertisement {
        router: neighbor.is_router,
        solicited,
        override_cached: neighbor.override_cached,
        target,
    };
    let options = [NdpOption::TargetLinkLayer(&neighbor.mac.0)];
    let between =
        Addresses { source_mac: neighbor.mac, destination_mac, source: target, destination };
    message(buffer, &repr, &options, &between)
}

fn message(
    buffer: &mut [u8],
    repr: &NdpRepr,
    options: &[NdpOption<'_>],
    between: &Addresses<Ipv6Addr>,
) -> Result<usize, Error> {
    debug_assert_eq!(repr.header_len_bytes(), MESSAGE_LEN_BYTES);
    let len_bytes = LOWER_LEN_BYTES + MESSAGE_LEN_BYTES + options.len() * OPTION_LEN_BYTES;
    let mut composer = at_front(buffer, len_bytes)?;
    composer.ndp(repr, options)?;
    super::lower(&mut composer, between)?;
    Ok(len_bytes)
}
