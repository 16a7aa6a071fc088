//! Ethernet, tags, 802.2 and the network headers.

use super::{Dissection, Fragment, Inner, Link, MAX_TAGS, Network, Stop, short};
use crate::ethernet::ether_type;
use crate::ipv4::{self, protocol};
use crate::{Ipv6, Layer, ethernet, ipv6, vlan};

impl Dissection<'_> {
    #[inline]
    pub(super) fn read_ethernet(&mut self, at: usize) {
        const LEN: usize = ethernet::HEADER_LEN_BYTES;
        (self.link, self.link_at) = (Link::Ethernet, at);
        let Some(header) = self.need::<LEN>(Layer::Ethernet, at) else { return };
        let kind = u16::from_be_bytes([header[12], header[13]]);
        let Some((at, kind)) = self.read_tags(at + LEN, kind) else { return };
        // A length of 0 is none: nothing could follow it.
        if kind == 0 || kind > ethernet::MAX_LENGTH {
            self.read_network(at, kind);
        } else {
            self.read_llc(at, kind.into());
        }
    }

    /// Passes over the tags that `kind` announces; returns what follows them, and its type.
    #[inline(always)]
    pub(super) fn read_tags(&mut self, mut at: usize, mut kind: u16) -> Option<(usize, u16)> {
        while vlan::is_tag(kind) {
            self.payload_at = at;
            if self.tag_count == MAX_TAGS {
                self.refuse(Layer::Vlan, at, "number of tags");
                return None;
            }
            let tag = self.need::<{ vlan::HEADER_LEN_BYTES }>(Layer::Vlan, at)?;
            self.tag_count += 1;
            (at, kind) = (at + tag.len(), u16::from_be_bytes([tag[2], tag[3]]));
        }
        (self.network_at, self.payload_at) = (at, at);
        Some((at, kind))
    }

    /// 802.2 behind an 802.3 length: SNAP of Ethernet types, or IP's own access point.
    #[cold]
    pub(super) fn read_llc(&mut self, at: usize, len_bytes: usize) {
        const SNAP: u8 = 0xaa;
        const IP: u8 = 0x06;
        const UNNUMBERED: u8 = 3;
        self.is_cut = self.end - at < len_bytes;
        self.end = self.end.min(at + len_bytes);
        let Some(&[dsap, ssap, control]) = self.need::<3>(Layer::Llc, at) else { return };
        match (dsap, ssap, control) {
            (SNAP, SNAP, UNNUMBERED) => {
                let Some(snap) = self.need::<8>(Layer::Llc, at) else { return };
                // The same two as `Snap::ether_type`.
                if !matches!(snap[3..6], [0, 0, 0 | 0xf8]) {
                    self.stop = Stop::Llc(SNAP);
                    return;
                }
                self.payload_at = at + snap.len();
                self.read_network(at + snap.len(), u16::from_be_bytes([snap[6], snap[7]]));
            }
            (IP, IP, UNNUMBERED) => {
                self.payload_at = at + 3;
                self.read_network(at + 3, ether_type::IPV4);
            }
            _ => self.stop = Stop::Llc(dsap),
        }
    }

    #[inline(always)]
    pub(super) fn read_network(&mut self, at: usize, kind: u16) {
        self.ether_type = Some(kind);
        (self.network_at, self.payload_at) = (at, at);
        match kind {
            ether_type::IPV4 => self.read_ipv4(at),
            ether_type::IPV6 => self.read_ipv6(at),
            _ => self.read_other_network(at, kind),
        }
    }

    #[inline(never)]
    fn read_other_network(&mut self, at: usize, kind: u16) {
        match kind {
            ether_type::ARP | ether_type::REVERSE_ARP => self.read_arp(at),
            ether_type::TRANS_ETHER_BRIDGING => self.set_inner(Inner::Ethernet, at),
            _ => self.stop = Stop::EtherType(kind),
        }
    }

    fn read_arp(&mut self, at: usize) {
        let Some(header) = self.need::<8>(Layer::Arp, at) else { return };
        self.network = Network::Arp;
        let len_bytes = 8 + 2 * (usize::from(header[4]) + usize::from(header[5]));
        let there = self.end - at;
        if there < len_bytes {
            self.is_cut = true;
            self.stop = Stop::Error(short(Layer::Arp, at, len_bytes, there));
            return;
        }
        self.end = at + len_bytes;
        self.payload_at = self.end;
    }

    #[inline(always)]
    fn read_ipv4(&mut self, at: usize) {
        const LEN: usize = ipv4::HEADER_LEN_BYTES;
        let Some(header) = self.need::<LEN>(Layer::Ipv4, at) else { return };
        if header[0] >> 4 != 4 {
            return self.refuse(Layer::Ipv4, at, "version");
        }
        let header_len = usize::from(header[0] & 15) * 4;
        if header_len < LEN {
            return self.refuse(Layer::Ipv4, at, "header length");
        }
        self.network = Network::Ipv4;
        let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if total_len >= header_len {
            self.is_cut |= self.end - at < total_len;
            self.end = self.end.min(at + total_len);
        } else if total_len != 0 {
            return self.refuse(Layer::Ipv4, at + 2, "total length");
        }
        let word = u16::from_be_bytes([header[6], header[7]]);
        if word & 0x3fff != 0 {
            self.fragment = Some(Fragment {
                offset_bytes: (word & 0x1fff) * 8,
                more: word & 0x2000 != 0,
                identification: u16::from_be_bytes([header[4], header[5]]).into(),
            });
        }
        self.protocol = Some(header[9]);
        self.payload_at = at + LEN;
        let there = self.end - at;
        if there < header_len {
            self.stop = Stop::Error(short(Layer::Ipv4, at, header_len, there));
            return;
        }
        self.read_upper(at + header_len, header[9]);
    }

    #[inline(always)]
    fn read_ipv6(&mut self, at: usize) {
        const LEN: usize = ipv6::HEADER_LEN_BYTES;
        let Some(header) = self.need::<LEN>(Layer::Ipv6, at) else { return };
        if header[0] >> 4 != 6 {
            return self.refuse(Layer::Ipv6, at, "version");
        }
        self.network = Network::Ipv6;
        let payload_len = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let there = self.end - at - LEN;
        // A length of 0 is a jumbogram's (RFC 2675): behind a hop-by-hop header, as the kernel has it
        // (`ip6_rcv_core` in net/ipv6/ip6_input.c, kernel 6.18), or where there is more than a length
        // could say.
        let may_be_jumbo = header[6] == protocol::HOP_BY_HOP || there > usize::from(u16::MAX);
        if payload_len != 0 || !may_be_jumbo {
            self.is_cut |= there < payload_len;
            self.end = self.end.min(at + LEN + payload_len);
        }
        if payload_len == 0 && header[6] == protocol::HOP_BY_HOP {
            self.read_jumbo(at);
        }
        self.read_upper(at + LEN, header[6]);
    }

    #[cold]
    fn read_jumbo(&mut self, at: usize) {
        let packet = self.frame.get(at..self.end).unwrap_or_default();
        let jumbo_len = Ipv6::new_truncated(packet).ok().and_then(|view| view.jumbo_len_bytes());
        let Some(jumbo_len) = jumbo_len.and_then(|len| usize::try_from(len).ok()) else { return };
        let there = packet.len().saturating_sub(ipv6::HEADER_LEN_BYTES);
        self.is_cut |= there < jumbo_len;
        self.end -= there.saturating_sub(jumbo_len);
    }
}
