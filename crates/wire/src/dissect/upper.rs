//! What follows an IP header: extension headers, transport headers, and what they lead to.

use super::{
    Dissection, Fragment, Inner, MAX_EXTENSIONS, Network, Stop, Transport, is_tunnel_port, short,
};
use crate::ethernet::ether_type;
use crate::ipv4::protocol;
use crate::{Layer, be16};

impl Dissection<'_> {
    /// What follows IP: the protocol's header, or extension headers in front of it.
    #[inline(always)]
    pub(super) fn read_upper(&mut self, at: usize, kind: u8) {
        self.set_upper(at, kind);
        match self.fragment {
            Some(Fragment { offset_bytes: 1.., .. }) => self.stop = Stop::Fragment,
            _ if kind == protocol::TCP => self.read_tcp(at),
            _ if kind == protocol::UDP => self.read_udp(at),
            _ => self.read_other_upper(at, kind),
        }
    }

    #[inline(always)]
    fn set_upper(&mut self, at: usize, kind: u8) {
        self.protocol = Some(kind);
        (self.transport_at, self.payload_at) = (at, at);
    }

    #[inline(never)]
    fn read_other_upper(&mut self, mut at: usize, mut kind: u8) {
        // AH counts in IPv4 too, the others in IPv6 only.
        let is_extension = |kind, network| match kind {
            protocol::AH => true,
            protocol::HOP_BY_HOP
            | protocol::IPV6_ROUTE
            | protocol::IPV6_FRAGMENT
            | protocol::IPV6_OPTIONS
            | protocol::MOBILITY
            | protocol::HIP
            | protocol::SHIM6 => network == Network::Ipv6,
            _ => false,
        };
        let mut count = 0;
        while is_extension(kind, self.network) {
            if count == MAX_EXTENSIONS {
                return self.refuse(Layer::Ipv6Extension, at, "number of extension headers");
            }
            count += 1;
            let Some((len_bytes, next)) = self.read_extension(at, kind) else { return };
            (at, kind) = (at + len_bytes, next);
            self.set_upper(at, kind);
            if let Some(Fragment { offset_bytes: 1.., .. }) = self.fragment {
                self.stop = Stop::Fragment;
                return;
            }
        }
        self.read_transport(at, kind);
    }

    /// Returns an extension header's length and what follows it.
    fn read_extension(&mut self, at: usize, kind: u8) -> Option<(usize, u8)> {
        const LAYER: Layer = Layer::Ipv6Extension;
        let &[next, units, ..] = self.need::<8>(LAYER, at)?;
        let len_bytes = match kind {
            protocol::IPV6_FRAGMENT => 8,
            protocol::AH => (usize::from(units) + 2) * 4,
            _ => (usize::from(units) + 1) * 8,
        };
        let there = self.end - at;
        if there < len_bytes {
            self.stop = Stop::Error(short(LAYER, at, len_bytes, there));
            return None;
        }
        if kind == protocol::IPV6_FRAGMENT {
            let [_, _, a, b, c, d, e, f] = *self.need::<8>(LAYER, at)?;
            let word = u16::from_be_bytes([a, b]);
            // A fragment that is all of its packet is atomic (RFC 6946): it is whole.
            if word & 0xfff9 != 0 {
                self.fragment = Some(Fragment {
                    offset_bytes: word & 0xfff8,
                    more: word & 1 != 0,
                    identification: u32::from_be_bytes([c, d, e, f]),
                });
            }
        }
        Some((len_bytes, next))
    }

    fn read_transport(&mut self, at: usize, kind: u8) {
        match kind {
            protocol::TCP => self.read_tcp(at),
            protocol::UDP => self.read_udp(at),
            protocol::ICMP => self.read_icmp(at, Transport::Icmpv4),
            protocol::ICMPV6 => self.read_icmp(at, Transport::Icmpv6),
            protocol::IGMP => {
                let Some(_) = self.need::<8>(Layer::Igmp, at) else { return };
                (self.transport, self.payload_at) = (Transport::Igmp, at + 8);
            }
            protocol::SCTP => {
                self.read_ports(at, Transport::Sctp);
                let Some(_) = self.need::<12>(Layer::Sctp, at) else { return };
                self.payload_at = at + 12;
            }
            protocol::UDP_LITE => {
                self.read_ports(at, Transport::UdpLite);
                let Some(_) = self.need::<8>(Layer::Udp, at) else { return };
                self.payload_at = at + 8;
            }
            protocol::GRE => self.read_gre(at),
            protocol::IPV4 => self.set_inner(Inner::Network(ether_type::IPV4), at),
            protocol::IPV6 => self.set_inner(Inner::Network(ether_type::IPV6), at),
            protocol::ETHERNET => self.set_inner(Inner::Ethernet, at),
            protocol::IPV6_NO_NEXT => {}
            _ => self.stop = Stop::Protocol(kind),
        }
    }

    #[inline(always)]
    fn read_ports(&mut self, at: usize, transport: Transport) {
        let there = self.frame.get(at..self.end).unwrap_or_default();
        if let Some(&[a, b, c, d]) = there.first_chunk() {
            self.transport = transport;
            self.ports = Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])));
        }
    }

    #[inline(always)]
    fn read_tcp(&mut self, at: usize) {
        self.read_ports(at, Transport::Tcp);
        let Some(header) = self.need::<20>(Layer::Tcp, at) else { return };
        let header_len = usize::from(header[12] >> 4) * 4;
        let there = self.end - at;
        if header_len < header.len() {
            return self.refuse(Layer::Tcp, at + 12, "data offset");
        }
        if there < header_len {
            self.stop = Stop::Error(short(Layer::Tcp, at, header_len, there));
            return;
        }
        self.payload_at = at + header_len;
    }

    #[inline(always)]
    fn read_udp(&mut self, at: usize) {
        self.read_ports(at, Transport::Udp);
        let Some(header) = self.need::<8>(Layer::Udp, at) else { return };
        let len_bytes = usize::from(u16::from_be_bytes([header[4], header[5]]));
        // 0 is a jumbogram's (RFC 2675), or left by a sender that segments in hardware.
        if len_bytes >= header.len() {
            // The length in a first fragment is the whole datagram's.
            self.is_cut |= self.fragment.is_none() && self.end - at < len_bytes;
            self.end = self.end.min(at + len_bytes);
        } else if len_bytes != 0 {
            return self.refuse(Layer::Udp, at + 4, "length");
        }
        self.payload_at = at + header.len();
        if is_tunnel_port(be16(header, 2)) {
            self.read_udp_tunnel(at + header.len());
        }
    }

    /// VXLAN on its port 4789 (RFC 7348) and the kernel's older 8472, GENEVE on 6081 (RFC 8926). What
    /// does not look like one is an application's.
    #[cold]
    fn read_udp_tunnel(&mut self, at: usize) {
        const VXLAN_ID_VALID: u8 = 0x08;
        let there = self.frame.get(at..self.end).unwrap_or_default();
        let Some(&[flags, _, a, b, ..]) = there.first_chunk::<8>() else { return };
        if self.ports.is_some_and(|ports| ports.1 != 6081) {
            if flags & VXLAN_ID_VALID != 0 {
                self.set_inner(Inner::Ethernet, at + 8);
            }
            return;
        }
        let header_len = 8 + usize::from(flags & 0x3f) * 4;
        if flags >> 6 != 0 || there.len() < header_len {
            return;
        }
        self.set_inner_type(u16::from_be_bytes([a, b]), at + header_len);
    }

    fn read_gre(&mut self, at: usize) {
        const CHECKSUM: u16 = 0x8000;
        const ROUTING: u16 = 0x4000;
        const KEY: u16 = 0x2000;
        const SEQUENCE: u16 = 0x1000;
        const VERSION: u16 = 7;
        let Some(&[a, b, c, d]) = self.need::<4>(Layer::Gre, at) else { return };
        self.transport = Transport::Gre;
        let flags = u16::from_be_bytes([a, b]);
        // Routing is gone since RFC 2784; version 1 carries PPP (RFC 2637).
        if flags & (ROUTING | VERSION) != 0 {
            self.stop = Stop::Protocol(protocol::GRE);
            return;
        }
        let optional = [CHECKSUM, KEY, SEQUENCE].iter().filter(|bit| flags & **bit != 0).count();
        let header_len = 4 + 4 * optional;
        let there = self.end - at;
        if there < header_len {
            self.stop = Stop::Error(short(Layer::Gre, at, header_len, there));
            return;
        }
        self.set_inner_type(u16::from_be_bytes([c, d]), at + header_len);
    }

    fn read_icmp(&mut self, at: usize, transport: Transport) {
        let layer = if transport == Transport::Icmpv4 { Layer::Icmpv4 } else { Layer::Icmpv6 };
        let there = self.frame.get(at..self.end).unwrap_or_default();
        if there.len() >= 4 {
            self.transport = transport;
        }
        // Four bytes are the header; every type that this crate reads has four more.
        let Some(header) = self.need::<8>(layer, at) else { return };
        self.payload_at = at + header.len();
        let quoted = match (transport, header[0]) {
            (Transport::Icmpv4, 3 | 4 | 5 | 11 | 12) => ether_type::IPV4,
            (Transport::Icmpv6, 1..=4) => ether_type::IPV6,
            _ => return,
        };
        if self.payload_at < self.end {
            self.set_inner(Inner::Network(quoted), self.payload_at);
        }
    }
}
