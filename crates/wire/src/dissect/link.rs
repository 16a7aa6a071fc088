//! What a frame begins with, and the link headers that only captures have.

use super::{Dissection, Link, Stop};
use crate::Layer;
use crate::ethernet::ether_type;

/// What the bytes of a frame begin with.
///
/// The numbers of captures are those of the LINKTYPE registry (tcpdump.org/linktypes.html).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkType {
    /// Ethernet (1).
    Ethernet,
    /// An IP packet of either version (101).
    RawIp,
    /// An IPv4 packet (228).
    Ipv4,
    /// An IPv6 packet (229).
    Ipv6,
    /// Linux cooked capture, version 1 (113).
    Sll,
    /// Linux cooked capture, version 2 (276).
    Sll2,
    /// BSD loopback: the address family in the byte order of the machine that captured (0).
    Null,
    /// `OpenBSD` loopback: the address family in network byte order (108).
    Loop,
    /// Any other, by its number.
    Other(u16),
}

impl LinkType {
    /// Returns the link type of a number in a capture.
    #[must_use]
    pub const fn from_linktype(number: u16) -> Self {
        match number {
            0 => Self::Null,
            1 => Self::Ethernet,
            // 12 and 14 are what some systems call raw IP in their own files.
            12 | 14 | 101 => Self::RawIp,
            108 => Self::Loop,
            113 => Self::Sll,
            228 => Self::Ipv4,
            229 => Self::Ipv6,
            276 => Self::Sll2,
            other => Self::Other(other),
        }
    }

    /// Tells whether [`dissect`](super::dissect) can read it.
    #[must_use]
    pub const fn is_supported(self) -> bool {
        !matches!(self, Self::Other(_))
    }
}

impl Dissection<'_> {
    /// Reads what stands in front of the network header where that is not Ethernet.
    #[inline(never)]
    pub(super) fn read_link(&mut self, link_type: LinkType) {
        match link_type {
            LinkType::Ethernet => self.read_ethernet(0),
            LinkType::Ipv4 => self.read_network(0, ether_type::IPV4),
            LinkType::Ipv6 => self.read_network(0, ether_type::IPV6),
            LinkType::RawIp => match self.need::<1>(Layer::Ipv4, 0) {
                Some([first]) if first >> 4 == 6 => self.read_network(0, ether_type::IPV6),
                Some(_) => self.read_network(0, ether_type::IPV4),
                None => {}
            },
            LinkType::Sll => self.read_sll(),
            LinkType::Sll2 => self.read_sll2(),
            LinkType::Null => self.read_loopback(|family| match u32::from_le_bytes(family) {
                // No family needs more than two bytes: a bigger number has the other byte order.
                small @ 0..=0xffff => small,
                big => big.swap_bytes(),
            }),
            LinkType::Loop => self.read_loopback(u32::from_be_bytes),
            LinkType::Other(number) => self.stop = Stop::LinkType(number.into()),
        }
    }

    fn read_sll(&mut self) {
        let Some(header) = self.need::<16>(Layer::Sll, 0) else { return };
        self.link = Link::Sll;
        let hardware = u16::from_be_bytes([header[2], header[3]]);
        let kind = u16::from_be_bytes([header[14], header[15]]);
        self.read_cooked(hardware, kind, 16);
    }

    fn read_sll2(&mut self) {
        let Some(header) = self.need::<20>(Layer::Sll2, 0) else { return };
        self.link = Link::Sll2;
        let hardware = u16::from_be_bytes([header[8], header[9]]);
        let kind = u16::from_be_bytes([header[0], header[1]]);
        self.read_cooked(hardware, kind, 20);
    }

    /// The type field is an Ethernet type for most hardware, and something else for some.
    fn read_cooked(&mut self, hardware: u16, kind: u16, at: usize) {
        /// `ETH_P_802_2` (include/uapi/linux/if_ether.h): 802.2 follows.
        const LLC: u16 = 4;
        /// The `ARPHRD_*` of include/uapi/linux/if_arp.h whose field is no Ethernet type: frame
        /// relay, 802.11 in three shapes, netlink.
        const OTHER: [u16; 5] = [770, 801, 802, 803, 824];
        (self.network_at, self.payload_at) = (at, at);
        if OTHER.contains(&hardware) {
            self.stop = Stop::LinkType(hardware.into());
        } else if kind == LLC {
            self.read_llc(at, self.end - at);
        } else if let Some((at, kind)) = self.read_tags(at, kind) {
            self.read_network(at, kind);
        }
    }

    fn read_loopback(&mut self, family: fn([u8; 4]) -> u32) {
        let Some(header) = self.need::<4>(Layer::Loopback, 0) else { return };
        self.link = Link::Loopback;
        (self.network_at, self.payload_at) = (4, 4);
        // IPv6 has another number on each system.
        match family(*header) {
            2 => self.read_network(4, ether_type::IPV4),
            10 | 24 | 28 | 30 => self.read_network(4, ether_type::IPV6),
            other => self.stop = Stop::LinkType(other),
        }
    }
}
