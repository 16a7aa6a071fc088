//! The short way of [`dissect`](super::dissect) for usual frames: TCP or UDP in a whole IPv4 packet that
//! is no fragment, or in IPv6 without extension headers, over Ethernet with one tag or none.
//!
//! Everything is looked at in registers, and the level is written once, at the end. What it gives is
//! what the readers of the other modules give; where it is not sure it gives nothing.

use super::{Dissection, Inner, Link, Network, Stop, Transport, is_tunnel_port};
use crate::ethernet::{self, ether_type};
use crate::ipv4::protocol;
use crate::{be16, ipv4, ipv6, tcp, udp, vlan};

/// Where the headers are.
struct Found {
    kind: u16,
    network: Network,
    network_at: usize,
    protocol: u8,
    transport_at: usize,
    end: usize,
}

#[inline(always)]
pub(super) fn dissect(frame: &[u8]) -> Option<Dissection<'_>> {
    const UNTAGGED: usize = ethernet::HEADER_LEN_BYTES;
    const TAGGED: usize = UNTAGGED + vlan::HEADER_LEN_BYTES;
    let start: &[u8; TAGGED] = frame.first_chunk()?;
    let outer = be16(start, 12);
    let (kind, network_at, tag_count) = match vlan::is_tag(outer) {
        false => (outer, UNTAGGED, 0),
        true => (be16(start, 16), TAGGED, 1),
    };
    let packet = frame.get(network_at..)?;
    let found = match kind {
        ether_type::IPV4 => ipv4(packet, network_at)?,
        ether_type::IPV6 => ipv6(packet, network_at)?,
        _ => return None,
    };
    transport(frame, tag_count, &found)
}

#[inline(always)]
fn ipv4(packet: &[u8], network_at: usize) -> Option<Found> {
    let header: &[u8; ipv4::HEADER_LEN_BYTES] = packet.first_chunk()?;
    let header_len = usize::from(header[0] & 15) * 4;
    let total_len = usize::from(be16(header, 2));
    let is_right = header[0] >> 4 == 4
        && header_len >= ipv4::HEADER_LEN_BYTES
        && total_len <= packet.len()
        && be16(header, 6) & 0x3fff == 0;
    is_right.then_some(Found {
        kind: ether_type::IPV4,
        network: Network::Ipv4,
        network_at,
        protocol: header[9],
        transport_at: network_at + header_len,
        end: network_at + total_len,
    })
}

#[inline(always)]
fn ipv6(packet: &[u8], network_at: usize) -> Option<Found> {
    let header: &[u8; ipv6::HEADER_LEN_BYTES] = packet.first_chunk()?;
    let end = ipv6::HEADER_LEN_BYTES + usize::from(be16(header, 4));
    let is_right = header[0] >> 4 == 6 && end <= packet.len();
    is_right.then_some(Found {
        kind: ether_type::IPV6,
        network: Network::Ipv6,
        network_at,
        protocol: header[6],
        transport_at: network_at + ipv6::HEADER_LEN_BYTES,
        end: network_at + end,
    })
}

#[inline(always)]
fn transport<'a>(frame: &'a [u8], tag_count: u8, found: &Found) -> Option<Dissection<'a>> {
    // None where a total length ends the packet in its header.
    let bytes = frame.get(found.transport_at..found.end)?;
    let (transport, ports, header_len, end) = match found.protocol {
        protocol::TCP => {
            let header: &[u8; tcp::HEADER_LEN_BYTES] = bytes.first_chunk()?;
            let header_len = usize::from(header[12] >> 4) * 4;
            if !(header.len()..=bytes.len()).contains(&header_len) {
                return None;
            }
            (Transport::Tcp, (be16(header, 0), be16(header, 2)), header_len, found.end)
        }
        protocol::UDP => {
            let header: &[u8; udp::HEADER_LEN_BYTES] = bytes.first_chunk()?;
            let len_bytes = usize::from(be16(header, 4));
            let ports = (be16(header, 0), be16(header, 2));
            if !(header.len()..=bytes.len()).contains(&len_bytes) || is_tunnel_port(ports.1) {
                return None;
            }
            (Transport::Udp, ports, header.len(), found.transport_at + len_bytes)
        }
        _ => return None,
    };
    Some(Dissection {
        frame,
        link_at: 0,
        network_at: found.network_at,
        transport_at: found.transport_at,
        payload_at: found.transport_at + header_len,
        end,
        ports: Some(ports),
        fragment: None,
        ether_type: Some(found.kind),
        protocol: Some(found.protocol),
        link: Link::Ethernet,
        network: found.network,
        transport,
        inner: Inner::None,
        tag_count,
        depth: 0,
        is_cut: false,
        is_quoted: false,
        stop: Stop::Data,
    })
}
