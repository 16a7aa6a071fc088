//! ARP (RFC 826) and IPv4 address conflict detection (RFC 5227).

use core::net::Ipv4Addr;

use super::at_front;
use crate::arp::{PACKET_LEN_BYTES, operation};
use crate::dissect::{LinkType, Network, dissect};
use crate::{Arp, ArpRepr, Error, Ethernet, Layer, MacAddr, ethernet};

/// Asks everybody who has `target_ip`; returns the frame's length.
///
/// # Errors
/// [`Error::Short`].
pub fn arp_request(
    buffer: &mut [u8],
    sender_mac: MacAddr,
    sender_ip: Ipv4Addr,
    target_ip: Ipv4Addr,
) -> Result<usize, Error> {
    let target_mac = MacAddr::default();
    let operation = operation::REQUEST;
    let repr = ArpRepr { operation, sender_mac, sender_ip, target_mac, target_ip };
    frame(buffer, MacAddr::BROADCAST, &repr)
}

/// Asks everybody whether `address` is in use, before it is taken (RFC 5227 section 2.1.1); returns
/// the frame's length.
///
/// # Errors
/// [`Error::Short`].
pub fn arp_probe(
    buffer: &mut [u8],
    sender_mac: MacAddr,
    address: Ipv4Addr,
) -> Result<usize, Error> {
    arp_request(buffer, sender_mac, Ipv4Addr::UNSPECIFIED, address)
}

/// Tells everybody that `address` was taken (RFC 5227 section 2.3); returns the frame's length.
///
/// # Errors
/// [`Error::Short`].
pub fn arp_announcement(
    buffer: &mut [u8],
    sender_mac: MacAddr,
    address: Ipv4Addr,
) -> Result<usize, Error> {
    arp_request(buffer, sender_mac, address, address)
}

/// Answers `request` that its target address is at `mac`; returns the frame's length.
///
/// # Errors
/// [`Error::Field`] if it is no request, [`Error::Short`].
pub fn arp_reply(buffer: &mut [u8], request: &ArpRepr, mac: MacAddr) -> Result<usize, Error> {
    let repr = reply(request, mac)?;
    frame(buffer, repr.target_mac, &repr)
}

/// Turns a frame with an ARP request into the answer that its target address is at `mac`, and
/// returns the frame's length, which stays, as its tags and its padding do.
///
/// # Errors
/// [`Error::Field`] if it is no request for an IPv4 address over Ethernet; nothing changes.
pub fn arp_reply_in_place(frame: &mut [u8], mac: MacAddr) -> Result<usize, Error> {
    let level = dissect(LinkType::Ethernet, frame);
    let is_arp = level.network() == Network::Arp;
    Error::check_field(Layer::Ethernet, 12, "type", is_arp)?;
    let at = level.network_offset_bytes();
    let (link, packet) = frame.split_at_mut(at);
    let request = ArpRepr::parse(&Arp::new_checked(&*packet)?);
    let repr = reply(&request, mac)?;
    repr.emit(packet)?;
    let mut ethernet = Ethernet::new_checked(link)?;
    ethernet.set_destination(repr.target_mac);
    ethernet.set_source(mac);
    Ok(frame.len())
}

fn reply(request: &ArpRepr, mac: MacAddr) -> Result<ArpRepr, Error> {
    let is_request = request.operation == operation::REQUEST;
    Error::check_field(Layer::Arp, 6, "operation", is_request)?;
    Ok(ArpRepr {
        operation: operation::REPLY,
        sender_mac: mac,
        sender_ip: request.target_ip,
        target_mac: request.sender_mac,
        target_ip: request.sender_ip,
    })
}

fn frame(buffer: &mut [u8], destination: MacAddr, repr: &ArpRepr) -> Result<usize, Error> {
    let mut composer = at_front(buffer, ethernet::HEADER_LEN_BYTES + PACKET_LEN_BYTES)?;
    composer.arp(repr)?.ethernet(destination, repr.sender_mac)?;
    Ok(composer.end())
}
