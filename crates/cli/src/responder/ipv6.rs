//! IPv6: neighbor solicitations and echo requests, each turned into its answer in place.
//!
//! ```text
//!   solicitation    from             to              advertisement to  flags  frame to
//!   multicast       one host         target's group  that host         S O    its option's address
//!   unicast         one host         target          that host         S O    the same, or its frame's
//!   detection (DAD) ::               target's group  ff02::1           O      33:33:00:00:00:01
//!   proxied         one host         target's group  that host         S      as above
//! ```
//!
//! Solicitations are checked by RFC 4861 sections 4.3 and 7.1.1, fragments of them refused (RFC 6980).
//! The advertisement (section 7.2.4) always has the option with our Ethernet address, so that it has
//! 72 bytes from the IPv6 header on; it is written anew, with traffic class and flow label 0. For a
//! proxied network the override flag is clear (section 7.2.8), so that a host which has the address
//! wins; the random delay of that section is left out.
//!
//! Echo replies (RFC 4443 section 4.2) keep traffic class, flow label and message. Requests to a group
//! are not answered.
//!
//! | extension header | here |
//! |---|---|
//! | hop-by-hop options (first), destination options | left out of the reply, where every option may be skipped by who does not know it: padding, router alert, types below 64 |
//! | the same with any other option | dropped as `IPV6_BAD_EXTHDR`; no ICMP error is sent |
//! | routing, no segments left | left out of the reply (RFC 8200 section 4.4) |
//! | routing, segments left | dropped as `IPV6_BAD_EXTHDR`, like a source route |
//! | fragment of a whole packet (RFC 6946) | left out of the reply |
//! | fragment | dropped as `NETMEM_FRAGMENT` |
//! | authentication, ESP, mobility and others | dropped as `UNHANDLED_PROTO` |
//! | more than six, as the filter counts | dropped as `IPV6_BAD_EXTHDR` |

use std::net::Ipv6Addr;

use netmem::mem::DropReason;
use netmem_wire::{
    Icmpv6, Ipv6, Ipv6Repr, MacAddr,
    icmpv6::{
        NEXT_HEADER, icmp_type,
        ndp::{
            self, NdpRepr, NeighborSolicitation, Rule,
            options::{NdpOption, Options as NdpOptions},
            solicited_node,
        },
    },
    ipv6::{
        self,
        extension::{Extension, ExtensionKind, Fragment, Ipv6Option, Options},
    },
};

use super::{Responder, TTL, reason};

/// All nodes of the link (RFC 4291 section 2.7.1): whom detection is answered to.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// The filter's parse goes no further either.
const MAX_EXTENSIONS: usize = 6;
/// An advertisement's message: fixed part and one option.
const ADVERTISEMENT_BYTES: u16 = 24 + 8;
/// An advertisement with its IPv6 header.
const ADVERTISEMENT_PACKET_BYTES: usize = ipv6::HEADER_LEN_BYTES + ADVERTISEMENT_BYTES as usize;

/// The reply's length in bytes from the IPv6 header on, and whom its frame goes to where that is not
/// the sender of the request's.
type Answered = (usize, Option<MacAddr>);

/// What is behind the extension headers.
struct Upper {
    protocol: u8,
    /// Where it begins in the payload.
    at_bytes: usize,
    has_fragment_header: bool,
}

impl Responder {
    /// Answers the packet in `bytes`, whose frame went to `to`. If the reply is longer than `bytes`,
    /// they are untouched.
    pub(super) fn ipv6(&self, to: MacAddr, bytes: &mut [u8]) -> Result<Answered, DropReason> {
        let ip = Ipv6::new_checked(&*bytes).map_err(reason)?;
        let destination = ip.destination();
        let is_to_group = destination.is_multicast();
        if to != self.mac && !(is_to_group && to == group_mac(destination)) {
            let is_mixed = to.is_multicast() && !is_to_group;
            return Err(if is_mixed {
                DropReason::UnicastInL2Multicast
            } else {
                DropReason::Otherhost
            });
        }
        let upper = upper_layer(&ip)?;
        if upper.protocol != NEXT_HEADER {
            return Err(DropReason::UnhandledProto);
        }
        let message = ip.payload().get(upper.at_bytes..).unwrap_or_default();
        match Icmpv6::new_checked(message).map_err(reason)?.icmp_type() {
            icmp_type::ECHO_REQUEST => Ok((self.echo6(upper.at_bytes, bytes)?, None)),
            icmp_type::NEIGHBOR_SOLICITATION if upper.has_fragment_header => {
                Err(DropReason::Ipv6NdiscFrag)
            }
            icmp_type::NEIGHBOR_SOLICITATION => self.solicitation(upper.at_bytes, bytes),
            _ => Err(DropReason::UnhandledProto),
        }
    }

    /// Answers the echo request that begins at byte `at` of the payload; returns the reply's length.
    fn echo6(&self, at: usize, bytes: &mut [u8]) -> Result<usize, DropReason> {
        let mut ip = Ipv6::new_checked(bytes).map_err(reason)?;
        let (source, destination) = (ip.source(), ip.destination());
        if !self.addresses6.contains(&destination) {
            return Err(DropReason::Otherhost);
        }
        if !is_one_host(source) || self.addresses6.contains(&source) {
            return Err(DropReason::IpInvalidSource);
        }
        let payload = ip.payload_mut();
        let mut icmp = Icmpv6::new_checked(&mut payload[at..]).map_err(reason)?;
        if icmp.icmp_code() != 0 {
            return Err(DropReason::UnhandledProto);
        }
        if !icmp.verify_checksum(source, destination) {
            return Err(DropReason::IcmpCsum);
        }
        icmp.turn_into_echo_reply();
        let len = payload.len() - at;
        if at > 0 {
            payload.copy_within(at.., 0);
        }
        ip.set_next_header(NEXT_HEADER);
        ip.set_payload_len_bytes(u16::try_from(len).map_err(|_| DropReason::PktTooSmall)?);
        ip.set_hop_limit(TTL);
        // The sum does not see that the addresses are swapped.
        ip.set_source(destination);
        ip.set_destination(source);
        Ok(ipv6::HEADER_LEN_BYTES + len)
    }

    /// Answers the solicitation that begins at byte `at` of the payload.
    fn solicitation(&self, at: usize, bytes: &mut [u8]) -> Result<Answered, DropReason> {
        let ip = Ipv6::new_checked(&*bytes).map_err(reason)?;
        let (source, destination) = (ip.source(), ip.destination());
        let message = &ip.payload()[at..];
        ndp::validate(message, source, destination, ip.hop_limit()).map_err(broken_rule)?;
        let view = NeighborSolicitation::new_checked(message).map_err(reason)?;
        let target = view.target();
        let is_own = self.addresses6.contains(&target);
        if destination != target && destination != solicited_node(target)
            || !is_own && !self.is_proxied6(target)
        {
            return Err(DropReason::Otherhost);
        }
        let is_detection = source.is_unspecified();
        let is_answered = match is_own {
            true => is_detection || is_one_host(source),
            false => is_one_host(source) && source != target,
        };
        // One of our addresses as the source is a conflict: nothing to answer.
        if !is_answered || self.addresses6.contains(&source) {
            return Err(DropReason::IpInvalidSource);
        }
        let (to, to_mac) = if is_detection {
            (ALL_NODES, Some(group_mac(ALL_NODES)))
        } else {
            (source, sender_mac(view.options())?)
        };
        if bytes.len() >= ADVERTISEMENT_PACKET_BYTES {
            let answer = NdpRepr::NeighborAdvertisement {
                router: false,
                solicited: !is_detection,
                override_cached: is_own,
                target,
            };
            self.advertise(answer, (target, to), bytes).map_err(reason)?;
        }
        Ok((ADVERTISEMENT_PACKET_BYTES, to_mac))
    }

    /// Writes an advertisement and its IPv6 header to the start of `bytes`, where they have room.
    fn advertise(
        &self,
        advertisement: NdpRepr,
        (source, destination): (Ipv6Addr, Ipv6Addr),
        bytes: &mut [u8],
    ) -> Result<(), netmem_wire::Error> {
        let repr = Ipv6Repr {
            dscp: 0,
            ecn: 0,
            flow_label: 0,
            next_header: NEXT_HEADER,
            hop_limit: ndp::HOP_LIMIT,
            source,
            destination,
            payload_len_bytes: ADVERTISEMENT_BYTES,
        };
        let mut ip = repr.emit(bytes)?;
        let message = ip.payload_mut();
        NdpOption::TargetLinkLayer(&self.mac.0).emit(&mut message[24..])?;
        advertisement.emit(message, source, destination)
    }

    /// Whether solicitations for `address` are answered on behalf of whoever has it.
    fn is_proxied6(&self, address: Ipv6Addr) -> bool {
        is_one_host(address) && self.proxied6.iter().any(|net| net.contains(address))
    }
}

/// Walks to the end of the extension headers; where the request cannot be answered because of one of
/// them, the reason.
fn upper_layer(ip: &Ipv6<&[u8]>) -> Result<Upper, DropReason> {
    let mut upper = Upper { protocol: ip.next_header(), at_bytes: 0, has_fragment_header: false };
    for (number, extension) in ip.extensions().enumerate() {
        let extension = extension.map_err(|_| DropReason::Ipv6BadExthdr)?;
        if number >= MAX_EXTENSIONS {
            return Err(DropReason::Ipv6BadExthdr);
        }
        match extension.kind {
            // Elsewhere it is an unknown header (RFC 8200 section 4.1).
            ExtensionKind::HopByHop if number == 0 => check_options(&extension)?,
            ExtensionKind::Destination => check_options(&extension)?,
            ExtensionKind::Fragment => {
                let fragment = Fragment::new_checked(extension.bytes).map_err(reason)?;
                if fragment.more_fragments() || fragment.fragment_offset_bytes() != 0 {
                    return Err(DropReason::Fragment);
                }
                upper.has_fragment_header = true;
            }
            // Byte 3: segments left.
            ExtensionKind::Routing if extension.bytes[3] == 0 => {}
            ExtensionKind::HopByHop | ExtensionKind::Routing => {
                return Err(DropReason::Ipv6BadExthdr);
            }
            _ => return Err(DropReason::UnhandledProto),
        }
        upper.protocol = extension.next_header;
        upper.at_bytes = extension.offset_bytes + extension.bytes.len();
    }
    Ok(upper)
}

/// Refuses options that ask more of their receiver than to skip them.
fn check_options(extension: &Extension<'_>) -> Result<(), DropReason> {
    for option in Options::new(extension.bytes) {
        match option {
            Ok(Ipv6Option::Pad1 | Ipv6Option::PadN(_) | Ipv6Option::RouterAlert { .. }) => {}
            // The upper two bits: skip over it (RFC 8200 section 4.2).
            Ok(Ipv6Option::Other { option_type, .. }) if option_type >> 6 == 0 => {}
            _ => return Err(DropReason::Ipv6BadExthdr),
        }
    }
    Ok(())
}

/// The address that a solicitation's sender names in the option for it; `None` without one.
fn sender_mac(options: &[u8]) -> Result<Option<MacAddr>, DropReason> {
    // Validated before: there is no error among them.
    for option in NdpOptions::new(options).flatten() {
        if let NdpOption::SourceLinkLayer(address) = option {
            let mac = <[u8; 6]>::try_from(address).map(MacAddr).ok();
            let mac = mac.filter(|mac| !mac.is_multicast());
            return mac.map(Some).ok_or(DropReason::Ipv6NdiscBadOptions);
        }
    }
    Ok(None)
}

/// The Ethernet group of an IPv6 group (RFC 2464 section 7).
pub(crate) fn group_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

/// Whether `address` is that of one host which can be told apart on the wire: no group (RFC 4291
/// section 2.7), not nobody's and no loopback (2.5.2, 2.5.3), and no IPv4 address in disguise, which
/// Linux drops too (`ip6_rcv_core` in net/ipv6/ip6_input.c, 6.18).
pub(crate) fn is_one_host(address: Ipv6Addr) -> bool {
    !(address.is_multicast()
        || address.is_unspecified()
        || address.is_loopback()
        || address.to_ipv4_mapped().is_some())
}

/// The drop reason that says which rule of RFC 4861 section 7.1.1 a solicitation breaks.
#[cold]
fn broken_rule(rule: Rule) -> DropReason {
    match rule {
        Rule::HopLimit => DropReason::Ipv6NdiscHopLimit,
        Rule::Checksum => DropReason::IcmpCsum,
        Rule::Code => DropReason::Ipv6NdiscBadCode,
        Rule::Length => DropReason::HdrTrunc,
        Rule::OptionLength | Rule::SourceLinkLayer => DropReason::Ipv6NdiscBadOptions,
        Rule::TargetMulticast | Rule::DestinationSolicitedNode => DropReason::Otherhost,
        _ => DropReason::UnhandledProto,
    }
}

#[cfg(test)]
mod tests;
