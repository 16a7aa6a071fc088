//! The answers of `netmem respond`: a frame in, the same frame as its reply or a reason for none.
//!
//! Works in place on the bytes that the device lends and knows nothing of devices: tests and fuzzing
//! run it on plain byte slices. What it answers (and nothing else):
//! - ARP requests for an address it has (RFC 826), probes of RFC 5227 included;
//! - unfragmented ICMPv4 echo requests to an address it has (RFC 792, RFC 1122 section 3.2.2.6), with
//!   IP options handled as `options` says. Both checksums are verified and then updated (RFC 1624);
//! - neighbor solicitations for an address it has (RFC 4861), those of duplicate address detection
//!   (RFC 4862) included, and unfragmented ICMPv6 echo requests to one (RFC 4443): see `ipv6`;
//! - ARP requests and neighbor solicitations for an address in a network that it proxies (RFC 1027,
//!   RFC 4861 section 7.2.8), with its own Ethernet address.
//!
//! For a proxied network it tells who asks to send here, no more. Probes (RFC 5227) and duplicate
//! address detection ask whether an address is free: to answer them would take it away from every
//! host that wants it, so they are not answered, and neither are announcements. Who sends from an
//! address of the network is answered too: whether it is on the same link only the user knows.
//!
//! One 802.1Q tag with VLAN id 0 (a priority tag) is kept as it came.

mod ipv6;
mod options;
mod usual;

use std::{
    hint,
    net::{Ipv4Addr, Ipv6Addr},
};

use netmem::{
    device::Verdict,
    mem::{DropReason, PacketMut},
};
use netmem_wire::{
    Arp, Error as WireError, Ethernet, Icmpv4, Ipv4, MacAddr, Vlan, arp, checksum,
    ethernet::{self, ether_type},
    filter::{Ipv4Net, Ipv6Net, ResponderConfig},
    icmpv4::icmp_type,
    ipv4::protocol,
    vlan,
};

pub(crate) use ipv6::{group_mac, is_one_host};

/// The time to live of every reply, and the hop limit of every echo reply.
const TTL: u8 = 64;
/// The shortest Ethernet frame without its check sequence (IEEE 802.3); padding behind this is cut.
const MIN_FRAME_BYTES: usize = 60;
/// An advertisement is longer than its solicitation by one option at most.
const MOST_GROWTH_BYTES: u32 = 8;
/// The first byte of an IPv4 header without options.
const IPV4_PLAIN: u8 = 0x45;

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The first `len_bytes` of the frame are now the reply.
    Reply {
        /// The reply's length in bytes, at most the frame's.
        len_bytes: usize,
    },
    /// Nothing is answered, for this reason; the bytes may have been changed.
    Drop(DropReason),
    /// The reply is longer than the frame, which is as it came: to be asked again with so many bytes,
    /// whatever the added ones are. A neighbor solicitation without option is 8 bytes shorter than its
    /// advertisement.
    NeedsRoom {
        /// The reply's length in bytes.
        len_bytes: usize,
    },
}

/// Answers for sets of addresses and networks with one Ethernet address.
#[derive(Debug, Clone)]
pub struct Responder {
    mac: MacAddr,
    /// The end of an Ethernet header from us: `mac` and the type of IPv4.
    own_link: [u8; 8],
    addresses: Vec<Ipv4Addr>,
    addresses6: Vec<Ipv6Addr>,
    proxied: Vec<Ipv4Net>,
    proxied6: Vec<Ipv6Net>,
}

impl Responder {
    /// Makes a responder at `mac`. What `config` has it look at only is the filter's business.
    #[must_use]
    pub fn new(mac: MacAddr, config: &ResponderConfig) -> Self {
        let ([a, b, c, d, e, f], [g, h]) = (mac.0, ether_type::IPV4.to_be_bytes());
        let ResponderConfig { addresses, addresses6, proxied, proxied6, only: _ } = config.clone();
        Self { mac, own_link: [a, b, c, d, e, f, g, h], addresses, addresses6, proxied, proxied6 }
    }

    /// Answers a packet that a device lends.
    #[inline]
    pub fn verdict(&self, packet: &mut PacketMut<'_>) -> Verdict {
        match self.answer_usual(packet.bytes_mut()) {
            Some(len_bytes) => trimmed(packet, len_bytes),
            None => self.rare_verdict(packet),
        }
    }

    /// Answers by the full path, with room for a reply that is longer.
    ///
    /// Inlined though it is rare: a packet whose address is handed on lies in memory for every frame.
    #[inline(always)]
    fn rare_verdict(&self, packet: &mut PacketMut<'_>) -> Verdict {
        hint::cold_path();
        let len_bytes = packet.len();
        // Without tailroom there is none; who needs it is told so.
        let _ = packet.put(MOST_GROWTH_BYTES);
        match self.answer_with_room(packet.bytes_mut(), len_bytes) {
            Ok(len_bytes) => trimmed(packet, len_bytes),
            Err(reason) => Verdict::Drop(reason),
        }
    }

    /// Answers the frame of `len_bytes` at the start of `buffer`; returns the reply's length.
    #[inline(never)]
    fn answer_with_room(&self, buffer: &mut [u8], len_bytes: usize) -> Result<usize, DropReason> {
        let (frame, room) = buffer.split_at_mut(len_bytes);
        let needed_bytes = self.try_answer(frame)?;
        if needed_bytes <= len_bytes {
            return Ok(needed_bytes);
        }
        // What was there before belonged to another packet.
        room.fill(0);
        let grown = buffer.get_mut(..needed_bytes).ok_or(DropReason::Nomem)?;
        self.try_answer(grown)
    }

    /// Turns a frame into its reply in place, where it gets one.
    #[inline]
    pub fn answer(&self, frame: &mut [u8]) -> Answer {
        match self.answer_usual(frame) {
            Some(len_bytes) => Answer::Reply { len_bytes },
            None => self.answer_any(frame),
        }
    }

    /// The full path: right for every frame, and knows why one is not answered.
    #[inline(never)]
    fn answer_any(&self, frame: &mut [u8]) -> Answer {
        match self.try_answer(frame) {
            Ok(len_bytes) if len_bytes > frame.len() => Answer::NeedsRoom { len_bytes },
            Ok(len_bytes) => Answer::Reply { len_bytes },
            Err(reason) => Answer::Drop(reason),
        }
    }

    /// Returns the reply's length. If that is more than the frame's, the frame is untouched.
    fn try_answer(&self, frame: &mut [u8]) -> Result<usize, DropReason> {
        let frame_len = frame.len();
        let mut ethernet = Ethernet::new_checked(&mut *frame).map_err(reason)?;
        let (destination, source) = (ethernet.destination(), ethernet.source());
        if source.is_multicast() {
            return Err(DropReason::IpInvalidSource);
        }
        let (tag_bytes, kind) = match ethernet.ether_type() {
            kind if !vlan::is_tag(kind) => (0, kind),
            _ => {
                let tag = Vlan::new_checked(ethernet.payload()).map_err(reason)?;
                if tag.id() != 0 {
                    return Err(DropReason::UnhandledProto);
                }
                (vlan::HEADER_LEN_BYTES, tag.ether_type())
            }
        };
        let inner = &mut ethernet.payload_mut()[tag_bytes..];
        let (inner_len, to) = match kind {
            ether_type::IPV4 if destination == self.mac => (self.echo(inner)?, None),
            ether_type::IPV4 if destination.is_multicast() => {
                return Err(DropReason::UnicastInL2Multicast);
            }
            ether_type::ARP if destination == self.mac || destination.is_broadcast() => {
                let (len, to) = self.arp(inner)?;
                (len, Some(to))
            }
            ether_type::IPV6 => self.ipv6(destination, inner)?,
            ether_type::IPV4 | ether_type::ARP => return Err(DropReason::Otherhost),
            _ => return Err(DropReason::UnhandledProto),
        };
        let len = ethernet::HEADER_LEN_BYTES + tag_bytes + inner_len;
        if len > frame_len {
            return Ok(len);
        }
        // Read again: what is not kept over the answer costs no register.
        let to = to.unwrap_or_else(|| ethernet.source());
        ethernet.set_destination(to);
        ethernet.set_source(self.mac);
        // Padding up to the minimum stays as it came; what is behind it is cut.
        Ok(len.max(MIN_FRAME_BYTES).min(frame_len))
    }

    /// Returns the reply's length, and whom RFC 826 sends it to: the sender that the request names,
    /// which need not be the station that its frame came from.
    fn arp(&self, bytes: &mut [u8]) -> Result<(usize, MacAddr), DropReason> {
        let mut view = Arp::new_checked(bytes).map_err(reason)?;
        let (sender_mac, sender_ip) = (view.sender_mac(), view.sender_ip());
        let wanted = view.target_ip();
        if view.operation() != arp::operation::REQUEST {
            return Err(DropReason::UnhandledProto);
        }
        let is_own = self.addresses.contains(&wanted);
        if !is_own && !self.is_proxied(wanted) {
            return Err(DropReason::Otherhost);
        }
        // One of our addresses as the sender is a conflict or an announcement: nothing to answer.
        // An unspecified one is a probe, which is, where it is for an address that we have.
        let is_answered = is_own || !sender_ip.is_unspecified() && sender_ip != wanted;
        if sender_mac.is_multicast() || !is_answered || self.addresses.contains(&sender_ip) {
            return Err(DropReason::IpInvalidSource);
        }
        view.set_operation(arp::operation::REPLY);
        view.set_target_mac(sender_mac);
        view.set_target_ip(sender_ip);
        view.set_sender_mac(self.mac);
        view.set_sender_ip(wanted);
        Ok((arp::PACKET_LEN_BYTES, sender_mac))
    }

    /// Whether ARP requests for `address` are answered on behalf of whoever has it.
    fn is_proxied(&self, address: Ipv4Addr) -> bool {
        may_be_answered(address) && self.proxied.iter().any(|net| net.contains(address))
    }

    fn echo(&self, bytes: &mut [u8]) -> Result<usize, DropReason> {
        let mut ip = Ipv4::new_checked(bytes).map_err(reason)?;
        let (source, destination) = (ip.source(), ip.destination());
        // Read before the sum does, which is cheaper; judged after it, as the kernel does.
        let (is_fragment, has_options) = (ip.is_fragment(), !ip.options().is_empty());
        let (protocol, total_len) = (ip.protocol(), usize::from(ip.total_len_bytes()));
        if !ip.verify_checksum() {
            return Err(DropReason::IpCsum);
        }
        if !self.addresses.contains(&destination) {
            return Err(DropReason::Otherhost);
        }
        if !may_be_answered(source) || self.addresses.contains(&source) {
            return Err(DropReason::IpInvalidSource);
        }
        if is_fragment {
            return Err(DropReason::Fragment);
        }
        if protocol != protocol::ICMP {
            return Err(DropReason::UnhandledProto);
        }
        {
            let mut icmp = Icmpv4::new_checked(ip.payload_mut()).map_err(reason)?;
            if icmp.icmp_type() != icmp_type::ECHO_REQUEST || icmp.icmp_code() != 0 {
                return Err(DropReason::UnhandledProto);
            }
            if !icmp.verify_checksum() {
                return Err(DropReason::IcmpCsum);
            }
            icmp.turn_into_echo_reply();
        }
        let old = u16::from_be_bytes([ip.ttl(), protocol::ICMP]);
        let new = u16::from_be_bytes([TTL, protocol::ICMP]);
        ip.set_checksum(checksum::update16(ip.checksum(), old, new));
        ip.set_ttl(TTL);
        // The sum does not see that the addresses are swapped.
        ip.set_source(destination);
        ip.set_destination(source);
        if has_options {
            let own = (destination, &self.addresses[..]);
            options::answer(ip.options_mut(), own).map_err(|_| DropReason::IpInhdr)?;
            ip.fill_checksum();
        }
        Ok(total_len)
    }
}

/// Sends the first `len_bytes` of a packet, at most all of it.
#[inline(always)]
fn trimmed(packet: &mut PacketMut<'_>, len_bytes: usize) -> Verdict {
    let surplus = packet.len().saturating_sub(len_bytes);
    if surplus > 0 {
        let trimmed = packet.trim(u32::try_from(surplus).unwrap_or(0));
        debug_assert!(trimmed.is_ok(), "the surplus is a part of the packet");
    }
    Verdict::Transmit
}

/// Whether `address` can be one host's on the wire, so that a reply may go to it: not to many, nobody,
/// or a loopback (RFC 1122, 3.2.1.3).
#[inline]
fn may_be_answered(address: Ipv4Addr) -> bool {
    let first = address.octets()[0];
    first != 0 && first != 127 && first < 224
}

/// The drop reason that says what a view found wrong.
#[cold]
fn reason(error: WireError) -> DropReason {
    match error {
        WireError::Short { .. } => DropReason::HdrTrunc,
        WireError::Truncated { .. } => DropReason::PktTooSmall,
        WireError::Field { .. } => DropReason::IpInhdr,
        WireError::Text { .. } => DropReason::NotSpecified,
    }
}

#[cfg(test)]
mod tests;
