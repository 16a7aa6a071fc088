//! Which messages a receiver must drop.

use core::fmt;
use core::net::Ipv6Addr;

use super::options::{Options, option_type};
use super::{HOP_LIMIT, NdpRepr};
use crate::icmpv6::{Icmpv6, icmp_type};

/// The rule that a message breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The message is one of the five.
    Type,
    /// The hop limit is 255.
    HopLimit,
    /// The checksum is right.
    Checksum,
    /// The code is 0.
    Code,
    /// All fixed fields are there.
    Length,
    /// No option has length 0 or ends behind the message.
    OptionLength,
    /// Router advertisement and redirect come from a link-local address.
    SourceLinkLocal,
    /// The target is not multicast.
    TargetMulticast,
    /// What an unspecified address asks goes to a solicited-node group.
    DestinationSolicitedNode,
    /// What an unspecified address sends has no source link-layer address option.
    SourceLinkLayer,
    /// An advertisement to a group answers no solicitation.
    SolicitedMulticast,
    /// The redirected destination is not multicast.
    DestinationMulticast,
    /// The target of a redirect is link-local (a router), or the destination itself.
    TargetLinkLocal,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Type => "no neighbor discovery message",
            Self::HopLimit => "hop limit is not 255",
            Self::Checksum => "wrong checksum",
            Self::Code => "code is not 0",
            Self::Length => "message too short",
            Self::OptionLength => "bad option length",
            Self::SourceLinkLocal => "source is not link-local",
            Self::TargetMulticast => "target is multicast",
            Self::DestinationSolicitedNode => {
                "source is unspecified and destination no solicited-node group"
            }
            Self::SourceLinkLayer => "source is unspecified and source link-layer address is given",
            Self::SolicitedMulticast => "solicited advertisement to a group",
            Self::DestinationMulticast => "redirected destination is multicast",
            Self::TargetLinkLocal => "target is neither link-local nor the destination",
        })
    }
}

impl core::error::Error for Rule {}

/// Computes the group that the owner of `address` listens to for solicitations: ff02::1:ff00:0
/// with the address's low 24 bits (RFC 4291 section 2.7.1).
#[must_use]
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | a as u16, (b as u16) << 8 | c as u16)
}

/// Checks a received message, from its type to its last option, by RFC 4861 sections 6.1.1, 6.1.2,
/// 7.1.1, 7.1.2 and 8.1. The addresses and the hop limit are those of its IPv6 header.
///
/// That a redirect comes from the router in use (section 8.1) only its receiver knows.
///
/// # Errors
/// The first [`Rule`] that is broken.
pub fn validate(
    message: &[u8],
    source: Ipv6Addr,
    destination: Ipv6Addr,
    hop_limit: u8,
) -> Result<(), Rule> {
    keep(Rule::HopLimit, hop_limit == HOP_LIMIT)?;
    let icmp = Icmpv6::new_checked(message).map_err(|_| Rule::Length)?;
    let icmp_type = icmp.icmp_type();
    let known = (icmp_type::ROUTER_SOLICITATION..=icmp_type::REDIRECT).contains(&icmp_type);
    keep(Rule::Type, known)?;
    keep(Rule::Checksum, icmp.verify_checksum(source, destination))?;
    keep(Rule::Code, icmp.icmp_code() == 0)?;
    let repr = NdpRepr::parse(message, source, destination).map_err(|_| Rule::Length)?;
    let mut has_source_link_layer = false;
    for option in Options::new(&message[repr.header_len_bytes()..]) {
        let option = option.map_err(|_| Rule::OptionLength)?;
        has_source_link_layer |= option.option_type() == option_type::SOURCE_LINK_LAYER;
    }
    match repr {
        NdpRepr::RouterSolicitation => {
            keep(Rule::SourceLinkLayer, !(source.is_unspecified() && has_source_link_layer))
        }
        NdpRepr::RouterAdvertisement(_) => {
            keep(Rule::SourceLinkLocal, source.is_unicast_link_local())
        }
        NdpRepr::NeighborSolicitation { target } => {
            keep(Rule::TargetMulticast, !target.is_multicast())?;
            if !source.is_unspecified() {
                return Ok(());
            }
            let group = solicited_node(destination) == destination;
            keep(Rule::DestinationSolicitedNode, group)?;
            keep(Rule::SourceLinkLayer, !has_source_link_layer)
        }
        NdpRepr::NeighborAdvertisement { solicited, target, .. } => {
            keep(Rule::TargetMulticast, !target.is_multicast())?;
            keep(Rule::SolicitedMulticast, !(solicited && destination.is_multicast()))
        }
        NdpRepr::Redirect { target, destination } => {
            keep(Rule::SourceLinkLocal, source.is_unicast_link_local())?;
            keep(Rule::DestinationMulticast, !destination.is_multicast())?;
            let neighbor = target.is_unicast_link_local() || target == destination;
            keep(Rule::TargetLinkLocal, neighbor)
        }
    }
}

fn keep(rule: Rule, kept: bool) -> Result<(), Rule> {
    if kept { Ok(()) } else { Err(rule) }
}
