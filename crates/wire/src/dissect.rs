//! One pass over a frame: which layers it has and where they begin.
//!
//! [`dissect`] reads each header once, from the outside in, and never fails as a whole: what it gives
//! are the layers that are there, and [`Dissection::stop`] says why it went no further.
//!
//! ```text
//!          link_offset   tags    network_offset      transport_offset   payload            end
//!          v             v       v                   v                  v                  v
//!  frame   | ethernet 14 | 4 | 4 | ipv4 20..60       | udp 8            | data             | padding
//!          | sll 16, 20  |       | ipv6 40 + ext.    | tcp 20..60       |                  |
//!          | loopback 4  |       | arp 8 + addresses | icmp, sctp, gre  | <- inner level   |
//! ```
//!
//! A [`Dissection`] is one **level**: a link header where there is one, at most one network header, at
//! most one transport header. What travels in a tunnel (IP in IP, GRE, VXLAN, GENEVE) and the packet
//! that an ICMP error quotes are levels of their own, which [`Dissection::inner`] gives, [`MAX_DEPTH`]
//! deep. All offsets count from the first byte of the frame, on every level.
//!
//! **How strict it is.** A header counts as soon as its fixed part is there, since captures are cut and
//! quotes carry eight bytes of TCP: ports count when their four bytes are there. Lengths only cut: where
//! a packet announces more than there is, [`Dissection::is_cut`] says so and the layers go on in what is
//! there. An IPv4 total length of 0 is what a sender leaves that segments in hardware (BIG TCP,
//! net/ipv4/ip_output.c, kernel 6.3): then the frame is the packet. Checksums are for the views.
//!
//! **Limits.** [`MAX_TAGS`] tags, [`MAX_EXTENSIONS`] extension headers, [`MAX_DEPTH`] levels: past them
//! it stops and says so. Time is linear in the bytes of the headers.
//!
//! Needs no kernel version.
//!
//! ```
//! use netmem_wire::dissect::{LinkType, Network, Stop, Transport, dissect};
//!
//! let mut frame = [0; 60];
//! frame[12..14].copy_from_slice(&[0x08, 0x00]);
//! frame[14..24].copy_from_slice(&[0x45, 0, 0, 30, 0, 1, 0, 0, 64, 17]);
//! frame[34..40].copy_from_slice(&[0, 53, 0x10, 0, 0, 10]);
//! let level = dissect(LinkType::Ethernet, &frame);
//! assert_eq!((level.network(), level.transport()), (Network::Ipv4, Transport::Udp));
//! assert_eq!((level.ports(), level.payload().len()), (Some((53, 4096)), 2));
//! assert_eq!(level.stop(), Stop::Data);
//! assert_eq!(level.to_string(), "IP 0.0.0.0.53 > 0.0.0.0.4096: UDP, length 2");
//!
//! let cut = dissect(LinkType::Ethernet, &frame[..30]);
//! assert_eq!(
//!     cut.to_string(),
//!     "[ethernet] ipv4 header at byte 14: 20 bytes needed, 16 available"
//! );
//! ```

use crate::ethernet::ether_type;
use crate::{Error, Ethernet, Layer, Vlan, ethernet, vlan};

mod display;
mod flow;
mod link;
mod lower;
mod upper;
mod usual;

pub use flow::{FlowKey, flow_key};
pub use link::LinkType;

/// How many levels a frame may have inside the outermost one.
pub const MAX_DEPTH: u8 = 8;
/// How many VLAN tags a level may have: as many as the kernel skips (`VLAN_MAX_DEPTH` in
/// include/linux/if_vlan.h, kernel 6.18).
pub const MAX_TAGS: u8 = 8;
/// How many extension headers an IP packet may have.
pub const MAX_EXTENSIONS: u8 = 16;

/// What a level begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Link {
    /// Nothing: the network header comes first.
    None,
    /// Ethernet II or 802.3.
    Ethernet,
    /// Linux cooked capture, version 1.
    Sll,
    /// Linux cooked capture, version 2.
    Sll2,
    /// Four bytes of address family.
    Loopback,
}

/// The network header of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// None that is known.
    None,
    /// ARP or RARP.
    Arp,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// The header behind the network header and its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// None that is known; see [`Dissection::protocol`].
    None,
    /// `ICMPv4`.
    Icmpv4,
    /// `ICMPv6`.
    Icmpv6,
    /// IGMP.
    Igmp,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// UDP-Lite (RFC 3828).
    UdpLite,
    /// SCTP.
    Sctp,
    /// GRE.
    Gre,
}

/// Why a level ends where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stop {
    /// All layers are known; the payload is an application's, or empty.
    Data,
    /// The payload is a packet: [`Dissection::inner`] gives it.
    Inner,
    /// The payload is a packet, nested deeper than [`MAX_DEPTH`].
    Depth,
    /// The payload is of a later fragment: its headers are in the first one.
    Fragment,
    /// The payload is of a type that this crate knows by name at most.
    EtherType(u16),
    /// The payload is 802.2 for this destination service access point, or SNAP (0xaa) of an
    /// organisation.
    Llc(u8),
    /// The payload is of an IP protocol that this crate knows by name at most.
    Protocol(u8),
    /// The link type, or a link header's own type field, is not one that this crate knows.
    LinkType(u32),
    /// A header is cut off or malformed.
    Error(Error),
}

/// Where a fragment stands in its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fragment {
    /// Where its bytes begin, a multiple of 8.
    pub offset_bytes: u16,
    /// Whether more follow.
    pub more: bool,
    /// The number that the packet's fragments share; 16 bits in IPv4.
    pub identification: u32,
}

/// What the payload of a level is, if it is a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inner {
    None,
    Ethernet,
    /// A network header of this Ethernet type.
    Network(u16),
}

/// One level of a frame's layers.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub struct Dissection<'a> {
    frame: &'a [u8],
    link_at: usize,
    network_at: usize,
    transport_at: usize,
    payload_at: usize,
    end: usize,
    ports: Option<(u16, u16)>,
    fragment: Option<Fragment>,
    ether_type: Option<u16>,
    protocol: Option<u8>,
    link: Link,
    network: Network,
    transport: Transport,
    inner: Inner,
    tag_count: u8,
    depth: u8,
    is_cut: bool,
    is_quoted: bool,
    stop: Stop,
}

/// Finds the layers of `frame`, which begins with what `link_type` says; the outermost level.
// Always in line: what the caller does not ask of a usual level is then never made. Twice as fast.
#[must_use]
#[inline(always)]
pub fn dissect(link_type: LinkType, frame: &[u8]) -> Dissection<'_> {
    if link_type == LinkType::Ethernet
        && let Some(level) = usual::dissect(frame)
    {
        return level;
    }
    // Into a place of its own, so that a usual level can stay in registers.
    let mut level = Dissection::empty(frame, (0, frame.len()), 0);
    dissect_any(link_type, &mut level);
    level
}

/// The long way: right for every frame. `level` is empty.
#[inline(never)]
fn dissect_any(link_type: LinkType, level: &mut Dissection<'_>) {
    match link_type {
        LinkType::Ethernet => level.read_ethernet(0),
        other => level.read_link(other),
    }
}

impl<'a> Dissection<'a> {
    /// Returns the whole frame, on every level.
    #[must_use]
    pub const fn frame(&self) -> &'a [u8] {
        self.frame
    }

    /// Returns how many levels this one is inside of; 0 is the outermost.
    #[must_use]
    pub const fn depth(&self) -> u8 {
        self.depth
    }

    /// Tells whether this level is the packet that an ICMP error quotes, or inside of it: such a packet
    /// is seldom whole.
    #[must_use]
    pub const fn is_quoted(&self) -> bool {
        self.is_quoted
    }

    /// Returns what the level begins with.
    #[must_use]
    pub const fn link(&self) -> Link {
        self.link
    }

    /// Returns where the level begins.
    #[must_use]
    pub const fn link_offset_bytes(&self) -> usize {
        self.link_at
    }

    /// Returns the view of the Ethernet header.
    #[must_use]
    pub fn ethernet(&self) -> Option<Ethernet<&'a [u8]>> {
        let bytes = self.frame.get(self.link_at..self.end)?;
        (self.link == Link::Ethernet).then(|| Ethernet::new_checked(bytes).ok())?
    }

    /// Iterates over the views of the VLAN tags, outermost first.
    pub fn vlans(&self) -> impl ExactSizeIterator<Item = Vlan<&'a [u8]>> + use<'a> {
        let (frame, end) = (self.frame, self.end);
        let first = self.tags_at();
        (0..usize::from(self.tag_count)).map(move |index| {
            let bytes = frame.get(first + vlan::HEADER_LEN_BYTES * index..end);
            Vlan::new_checked(bytes.unwrap_or_default()).expect("a counted tag is whole")
        })
    }

    /// Returns the Ethernet type of the network header, behind tags and SNAP; also that of Linux cooked
    /// captures and GRE. None where the frame's own field is an 802.3 length and no SNAP follows.
    #[must_use]
    pub const fn ether_type(&self) -> Option<u16> {
        self.ether_type
    }

    /// Returns which network header there is.
    #[must_use]
    pub const fn network(&self) -> Network {
        self.network
    }

    /// Returns where the network header begins, or would.
    #[must_use]
    pub const fn network_offset_bytes(&self) -> usize {
        self.network_at
    }

    /// Lends the bytes from the network header to the end of its packet; padding is left out.
    #[must_use]
    pub fn network_bytes(&self) -> &'a [u8] {
        self.frame.get(self.network_at..self.end).unwrap_or_default()
    }

    /// Returns the IP protocol behind all extension headers.
    #[must_use]
    pub const fn protocol(&self) -> Option<u8> {
        self.protocol
    }

    /// Returns where the packet stands among the fragments of its whole, if it is one.
    #[must_use]
    pub const fn fragment(&self) -> Option<Fragment> {
        self.fragment
    }

    /// Returns which transport header there is.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// Returns where the transport header begins, or would.
    #[must_use]
    pub const fn transport_offset_bytes(&self) -> usize {
        self.transport_at
    }

    /// Lends the bytes from the transport header to the end of the network packet.
    #[must_use]
    pub fn transport_bytes(&self) -> &'a [u8] {
        self.frame.get(self.transport_at..self.end).unwrap_or_default()
    }

    /// Returns source and destination port of TCP, UDP, UDP-Lite or SCTP.
    #[must_use]
    pub const fn ports(&self) -> Option<(u16, u16)> {
        self.ports
    }

    /// Lends the bytes behind the last header that is known, to the end of the network packet.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.frame.get(self.payload_at..self.end).unwrap_or_default()
    }

    /// Returns where the payload begins.
    #[must_use]
    pub const fn payload_offset_bytes(&self) -> usize {
        self.payload_at
    }

    /// Returns where the network packet ends; what is behind it is padding.
    #[must_use]
    pub const fn end_offset_bytes(&self) -> usize {
        self.end
    }

    /// Tells whether a header announces more bytes than there are.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Returns why the level ends where it does.
    #[must_use]
    pub const fn stop(&self) -> Stop {
        self.stop
    }

    /// Returns what is malformed or cut off, with offsets from the first byte of the frame.
    #[must_use]
    pub const fn error(&self) -> Option<Error> {
        match self.stop {
            Stop::Error(error) => Some(error),
            _ => None,
        }
    }

    /// Dissects the packet that is this one's payload.
    #[must_use]
    pub fn inner(&self) -> Option<Self> {
        if self.stop != Stop::Inner {
            return None;
        }
        let mut level = Self::empty(self.frame, (self.payload_at, self.end), self.depth + 1);
        level.is_quoted =
            self.is_quoted || matches!(self.transport, Transport::Icmpv4 | Transport::Icmpv6);
        match self.inner {
            Inner::Ethernet => level.read_ethernet(self.payload_at),
            Inner::Network(ether_type) => level.read_network(self.payload_at, ether_type),
            Inner::None => return None,
        }
        Some(level)
    }

    /// Iterates over this level and all inside it.
    pub fn levels(&self) -> impl Iterator<Item = Self> + use<'a> {
        core::iter::successors(Some(*self), Self::inner)
    }

    /// Where VLAN tags begin, if there are any.
    const fn tags_at(&self) -> usize {
        match self.link {
            Link::Sll => self.link_at + 16,
            Link::Sll2 => self.link_at + 20,
            Link::Ethernet | Link::Loopback | Link::None => {
                self.link_at + ethernet::HEADER_LEN_BYTES
            }
        }
    }

    const fn empty(frame: &'a [u8], (at, end): (usize, usize), depth: u8) -> Self {
        Self {
            frame,
            link_at: at,
            network_at: at,
            transport_at: at,
            payload_at: at,
            end,
            ports: None,
            fragment: None,
            ether_type: None,
            protocol: None,
            link: Link::None,
            network: Network::None,
            transport: Transport::None,
            inner: Inner::None,
            tag_count: 0,
            depth,
            is_cut: false,
            is_quoted: false,
            stop: Stop::Data,
        }
    }

    /// Lends the `N` bytes at `at`, or stops because `layer` needs them.
    #[inline(always)]
    fn need<const N: usize>(&mut self, layer: Layer, at: usize) -> Option<&'a [u8; N]> {
        let there = self.frame.get(at..self.end).unwrap_or_default();
        let header = there.first_chunk();
        if header.is_none() {
            self.stop = Stop::Error(short(layer, at, N, there.len()));
        }
        header
    }

    #[cold]
    fn refuse(&mut self, layer: Layer, offset_bytes: usize, field: &'static str) {
        self.stop = Stop::Error(Error::Field { layer, offset_bytes, field });
    }

    /// The payload is a packet of this Ethernet type, if it is one that makes a level.
    fn set_inner_type(&mut self, kind: u16, at: usize) {
        self.payload_at = at;
        match kind {
            ether_type::TRANS_ETHER_BRIDGING => self.set_inner(Inner::Ethernet, at),
            ether_type::IPV4 | ether_type::IPV6 | ether_type::ARP => {
                self.set_inner(Inner::Network(kind), at);
            }
            _ => self.stop = Stop::EtherType(kind),
        }
    }

    fn set_inner(&mut self, inner: Inner, at: usize) {
        (self.inner, self.payload_at) = (inner, at);
        self.stop = if self.depth < MAX_DEPTH { Stop::Inner } else { Stop::Depth };
    }
}

/// VXLAN's port (RFC 7348), the kernel's older one for it, and GENEVE's (RFC 8926).
const fn is_tunnel_port(port: u16) -> bool {
    matches!(port, 4789 | 8472 | 6081)
}

#[cold]
const fn short(
    layer: Layer,
    offset_bytes: usize,
    needed_bytes: usize,
    available_bytes: usize,
) -> Error {
    Error::Short { layer, offset_bytes, needed_bytes, available_bytes }
}

#[cfg(test)]
mod tests;
