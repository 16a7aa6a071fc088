//! A packet in one line, in tcpdump's spirit.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use super::{Dissection, Fragment, Link, Network, Stop, Transport};
use crate::ethernet::{MacAddr, ether_type};
use crate::{be16, bytes, names};

/// The TCP flags' letters, from the lowest bit up; the last is AE of RFC 9768.
const TCP_FLAGS: [char; 9] = ['F', 'S', 'R', 'P', '.', 'U', 'E', 'W', 'e'];

impl fmt::Display for Dissection<'_> {
    /// Writes this level and all inside it: `vlan 5, IP 10.0.0.1.53 > 10.0.0.2.4096: UDP, length 2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut outer_is_quoted = self.is_quoted();
        for level in self.levels() {
            if level.depth() > self.depth() {
                let begins_quote = level.is_quoted() && !outer_is_quoted;
                f.write_str(if begins_quote { ", quoting " } else { ": " })?;
            }
            level.fmt_level(f)?;
            outer_is_quoted = level.is_quoted();
        }
        Ok(())
    }
}

impl Dissection<'_> {
    fn fmt_level(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for tag in self.vlans() {
            write!(f, "vlan {}, ", tag.id())?;
            if tag.priority() != 0 {
                write!(f, "p {}, ", tag.priority())?;
            }
        }
        match self.network() {
            Network::Ipv4 => self.fmt_ip(f, "IP")?,
            Network::Ipv6 => self.fmt_ip(f, "IP6")?,
            Network::Arp => self.fmt_arp(f)?,
            Network::None => self.fmt_link(f)?,
        }
        if self.is_cut() && self.error().is_none() && !self.is_quoted() {
            f.write_str(" [cut]")?;
        }
        match self.stop() {
            Stop::Error(error) => write!(f, " {error}"),
            Stop::Depth => f.write_str(": [nested too deep]"),
            _ => Ok(()),
        }
    }

    /// What there is without a network header.
    fn fmt_link(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len_bytes = self.payload().len();
        match (self.stop(), self.link()) {
            (Stop::EtherType(kind), _) => {
                match names::ether_type(kind) {
                    Some(name) => write!(f, "{name}"),
                    None => write!(f, "ethertype {kind:#06x}"),
                }?;
                write!(f, ", length {len_bytes}")
            }
            (Stop::Llc(dsap), _) => write!(f, "802.3, LLC dsap {dsap:#04x}, length {len_bytes}"),
            (Stop::LinkType(kind), Link::None) => write!(f, "link type {kind}, length {len_bytes}"),
            (Stop::LinkType(kind), _) => write!(f, "link payload {kind}, length {len_bytes}"),
            (_, Link::None) => f.write_str("[packet]"),
            (_, Link::Ethernet) => f.write_str("[ethernet]"),
            (_, Link::Sll | Link::Sll2) => f.write_str("[sll]"),
            (_, Link::Loopback) => f.write_str("[loopback]"),
        }
    }

    fn fmt_arp(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packet = self.network_bytes();
        let name = if self.ether_type() == Some(ether_type::REVERSE_ARP) { "RARP" } else { "ARP" };
        let Some(ip_over_ethernet) = packet.first_chunk::<28>() else {
            return write!(f, "{name}, length {}", packet.len());
        };
        let operation = be16(ip_over_ethernet, 6);
        if ip_over_ethernet[..6] != [0, 1, 8, 0, 6, 4] {
            return write!(f, "{name}, operation {operation}, length {}", packet.len());
        }
        let sender = Ipv4Addr::from(bytes::<4>(packet, 14));
        let target = Ipv4Addr::from(bytes::<4>(packet, 24));
        let (sender_mac, target_mac) = (MacAddr(bytes(packet, 8)), MacAddr(bytes(packet, 18)));
        match operation {
            1 => write!(f, "{name}, Request who-has {target} tell {sender}")?,
            2 => write!(f, "{name}, Reply {sender} is-at {sender_mac}")?,
            3 => write!(f, "{name}, Reverse Request who-is {target_mac} tell {sender_mac}")?,
            4 => write!(f, "{name}, Reverse Reply {target_mac} at {target}")?,
            _ => write!(f, "{name}, operation {operation}")?,
        }
        write!(f, ", length {}", packet.len())
    }

    fn fmt_ip(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        let (source_port, destination_port) = self.ports().unzip();
        write!(f, "{name} ")?;
        self.fmt_end(f, (12, 8), source_port)?;
        f.write_str(" > ")?;
        self.fmt_end(f, (16, 24), destination_port)?;
        f.write_str(": ")?;
        if let Some(Fragment { offset_bytes, more, identification }) = self.fragment() {
            let more = if more { "+" } else { "" };
            write!(f, "frag (id {identification}, {offset_bytes}{more}) ")?;
        }
        let len_bytes = self.payload().len();
        match self.transport() {
            Transport::Tcp => self.fmt_tcp(f),
            Transport::Udp => write!(f, "UDP, length {len_bytes}"),
            Transport::UdpLite => write!(f, "UDP-Lite, length {len_bytes}"),
            Transport::Sctp => write!(f, "SCTP, length {len_bytes}"),
            Transport::Igmp => write!(f, "IGMP, length {}", self.transport_bytes().len()),
            Transport::Gre => write!(f, "GRE, length {}", self.transport_bytes().len()),
            Transport::Icmpv4 => self.fmt_icmp(f, "ICMP", names::icmpv4_type),
            Transport::Icmpv6 => self.fmt_icmp(f, "ICMP6", names::icmpv6_type),
            Transport::None => self.fmt_protocol(f, len_bytes),
        }
    }

    /// An address at its offset in an IPv4 and in an IPv6 header, and its port.
    fn fmt_end(
        &self,
        f: &mut fmt::Formatter<'_>,
        (at_v4, at_v6): (usize, usize),
        port: Option<u16>,
    ) -> fmt::Result {
        let header = self.network_bytes();
        match self.network() {
            Network::Ipv4 => write!(f, "{}", Ipv4Addr::from(bytes::<4>(header, at_v4)))?,
            _ => write!(f, "{}", Ipv6Addr::from(bytes::<16>(header, at_v6)))?,
        }
        port.map_or(Ok(()), |port| write!(f, ".{port}"))
    }

    fn fmt_protocol(&self, f: &mut fmt::Formatter<'_>, len_bytes: usize) -> fmt::Result {
        match self.protocol() {
            None => Ok(()),
            Some(kind) => {
                match names::protocol(kind) {
                    Some(name) => write!(f, "{name}"),
                    None => write!(f, "proto {kind}"),
                }?;
                write!(f, ", length {len_bytes}")
            }
        }
    }

    fn fmt_tcp(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(header) = self.transport_bytes().first_chunk::<20>() else {
            return f.write_str("TCP");
        };
        f.write_str("Flags [")?;
        let flags = be16(header, 12) & 0x01ff;
        if flags == 0 {
            f.write_str("none")?;
        }
        for (bit, letter) in TCP_FLAGS.iter().enumerate().filter(|(bit, _)| flags >> bit & 1 != 0) {
            // The acknowledgement's dot stands last.
            if bit != 4 {
                write!(f, "{letter}")?;
            }
        }
        if flags & 0x10 != 0 {
            f.write_str(".")?;
        }
        let sequence = u32::from_be_bytes(bytes(header, 4));
        write!(f, "], seq {sequence}")?;
        if flags & 0x10 != 0 {
            write!(f, ", ack {}", u32::from_be_bytes(bytes(header, 8)))?;
        }
        write!(f, ", win {}", be16(header, 14))?;
        if flags & 0x20 != 0 {
            write!(f, ", urg {}", be16(header, 18))?;
        }
        write!(f, ", length {}", self.payload().len())
    }

    fn fmt_icmp(
        &self,
        f: &mut fmt::Formatter<'_>,
        name: &str,
        type_name: fn(u8) -> Option<&'static str>,
    ) -> fmt::Result {
        let message = self.transport_bytes();
        let Some(&[kind, code, ..]) = message.first_chunk::<4>() else { return f.write_str(name) };
        match type_name(kind) {
            Some(kind) => write!(f, "{name} {kind}")?,
            None => write!(f, "{name} type {kind}")?,
        }
        if code != 0 {
            write!(f, " code {code}")?;
        }
        match (self.transport(), kind, message.get(8..24)) {
            (Transport::Icmpv4, 0 | 8, _) | (Transport::Icmpv6, 128 | 129, _) => {
                if let Some(header) = message.first_chunk::<8>() {
                    write!(f, ", id {}, seq {}", be16(header, 4), be16(header, 6))?;
                }
            }
            (Transport::Icmpv6, 135, Some(target)) => {
                write!(f, ", who has {}", Ipv6Addr::from(bytes::<16>(target, 0)))?;
            }
            (Transport::Icmpv6, 136, Some(target)) => {
                write!(f, ", tgt is {}", Ipv6Addr::from(bytes::<16>(target, 0)))?;
            }
            _ => {}
        }
        write!(f, ", length {}", message.len())
    }
}
