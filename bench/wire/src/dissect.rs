//! From a frame to its flow key: VLAN, protocol, addresses, ports.
//!
//! Every contender fills a key of 40 bytes by its own means and checks as much as it does by itself:
//! `etherparse` slices all layers, `smoltcp` by `new_checked`, `pnet` by `new`, which checks the
//! least. `smoltcp` does not know VLAN tags: there the tag is skipped by hand. Of ours, `netmem`
//! asks for the flow key only, `netmem-dissect` for all layers and then the key. One call reads 64
//! frames of the kind.

use std::{hint::black_box, net::IpAddr, rc::Rc};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use netmem_wire::{FlowKey, dissect, dissect::LinkType};
use pnet_packet::{
    Packet, ethernet::EthernetPacket, ipv4::Ipv4Packet, ipv6::Ipv6Packet, tcp::TcpPacket,
    udp::UdpPacket, vlan::VlanPacket,
};
use smoltcp::wire as smol;

use crate::round::{Case, Contender};

const NO_VLAN: u16 = 0xffff;

/// A flow as the peers fill it: the fields and the size of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    source: [u8; 16],
    destination: [u8; 16],
    source_port: u16,
    destination_port: u16,
    vlan_id: u16,
    version: u8,
    protocol: u8,
}

pub(crate) fn cases() -> Vec<Case> {
    vec![case("dissect-ipv4-udp", ipv4_udp), case("dissect-vlan-ipv6-tcp", vlan_ipv6_tcp)]
}

/// Frames of one call: a batch, with addresses, ports and lengths of their own.
const FRAMES: usize = 64;

fn case(name: &str, make: fn(u8) -> Vec<u8>) -> Case {
    let frames: Rc<Vec<Vec<u8>>> = Rc::new((0..FRAMES as u8).map(make).collect());
    for frame in &*frames {
        let ours = dissect::flow_key(LinkType::Ethernet, frame).expect("a flow");
        let dissected = dissect::dissect(LinkType::Ethernet, frame).flow_key();
        assert_eq!(dissected, Some(ours), "the long way agrees");
        for peer in [by_etherparse, by_smoltcp, by_pnet] {
            assert_eq!(peer(frame), Some(plain(ours)), "the peers agree");
        }
    }
    Case {
        name: name.to_owned(),
        len_bytes: frames.iter().map(Vec::len).sum(),
        contenders: vec![
            one("netmem", &frames, |frame| dissect::flow_key(LinkType::Ethernet, frame)),
            one("netmem-dissect", &frames, |frame| {
                dissect::dissect(LinkType::Ethernet, frame).flow_key()
            }),
            one("etherparse", &frames, by_etherparse),
            one("smoltcp", &frames, by_smoltcp),
            one("pnet", &frames, by_pnet),
        ],
    }
}

/// Writes the keys of all frames to one place each.
fn one<K: Copy + 'static>(
    name: &'static str,
    frames: &Rc<Vec<Vec<u8>>>,
    key: impl Fn(&[u8]) -> Option<K> + 'static,
) -> Contender {
    let frames = frames.clone();
    let mut keys = [None; FRAMES];
    Contender::of_other_result(name, move || {
        for (frame, place) in black_box(&*frames).iter().zip(&mut keys) {
            *place = key(frame);
        }
        black_box(&keys);
        0
    })
}

/// Our key in the peers' shape, to compare.
fn plain(key: FlowKey) -> Key {
    let (source, destination, version) = match (key.source(), key.destination()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (wide(a.octets()), wide(b.octets()), 4),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.octets(), b.octets(), 6),
        _ => unreachable!("both are of one family"),
    };
    Key {
        source,
        destination,
        source_port: key.source_port(),
        destination_port: key.destination_port(),
        vlan_id: key.vlan_id().unwrap_or(NO_VLAN),
        version,
        protocol: key.protocol(),
    }
}

fn wide([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]
}

fn by_etherparse(frame: &[u8]) -> Option<Key> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let vlan_id = packet.vlan_ids().first().map_or(NO_VLAN, |id| id.value());
    let (source_port, destination_port) = match packet.transport? {
        TransportSlice::Udp(udp) => (udp.source_port(), udp.destination_port()),
        TransportSlice::Tcp(tcp) => (tcp.source_port(), tcp.destination_port()),
        _ => return None,
    };
    let (source, destination, version, protocol) = match packet.net? {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            let (source, destination) = (wide(header.source()), wide(header.destination()));
            (source, destination, 4, ip.payload_ip_number().0)
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            (header.source(), header.destination(), 6, ip.payload().ip_number.0)
        }
        NetSlice::Arp(_) => return None,
    };
    Some(Key { source, destination, source_port, destination_port, vlan_id, version, protocol })
}

fn by_smoltcp(frame: &[u8]) -> Option<Key> {
    let ethernet = smol::EthernetFrame::new_checked(frame).ok()?;
    let (mut kind, mut packet) = (u16::from(ethernet.ethertype()), ethernet.payload());
    let mut vlan_id = NO_VLAN;
    if kind == 0x8100 {
        let (tag, rest) = packet.split_first_chunk::<4>()?;
        vlan_id = u16::from_be_bytes([tag[0], tag[1]]) & 0x0fff;
        (kind, packet) = (u16::from_be_bytes([tag[2], tag[3]]), rest);
    }
    let (source, destination, version, protocol, payload) = match kind {
        0x0800 => {
            let ip = smol::Ipv4Packet::new_checked(packet).ok()?;
            let (source, destination) = (ip.src_addr().octets(), ip.dst_addr().octets());
            (wide(source), wide(destination), 4, ip.next_header(), ip.payload())
        }
        0x86dd => {
            let ip = smol::Ipv6Packet::new_checked(packet).ok()?;
            (ip.src_addr().octets(), ip.dst_addr().octets(), 6, ip.next_header(), ip.payload())
        }
        _ => return None,
    };
    let (source_port, destination_port) = match protocol {
        smol::IpProtocol::Udp => {
            let udp = smol::UdpPacket::new_checked(payload).ok()?;
            (udp.src_port(), udp.dst_port())
        }
        smol::IpProtocol::Tcp => {
            let tcp = smol::TcpPacket::new_checked(payload).ok()?;
            (tcp.src_port(), tcp.dst_port())
        }
        _ => return None,
    };
    let protocol = protocol.into();
    Some(Key { source, destination, source_port, destination_port, vlan_id, version, protocol })
}

fn by_pnet(frame: &[u8]) -> Option<Key> {
    let ethernet = EthernetPacket::new(frame)?;
    let kind = ethernet.get_ethertype().0;
    if kind != 0x8100 {
        return by_pnet_ip(kind, ethernet.payload(), NO_VLAN);
    }
    let tag = VlanPacket::new(ethernet.payload())?;
    by_pnet_ip(tag.get_ethertype().0, tag.payload(), tag.get_vlan_identifier())
}

#[inline]
fn by_pnet_ip(kind: u16, packet: &[u8], vlan_id: u16) -> Option<Key> {
    let (source, destination, version, protocol, ports) = match kind {
        0x0800 => {
            let ip = Ipv4Packet::new(packet)?;
            let protocol = ip.get_next_level_protocol().0;
            let ports = by_pnet_ports(protocol, ip.payload())?;
            let (source, destination) = (ip.get_source().octets(), ip.get_destination().octets());
            (wide(source), wide(destination), 4, protocol, ports)
        }
        0x86dd => {
            let ip = Ipv6Packet::new(packet)?;
            let protocol = ip.get_next_header().0;
            let ports = by_pnet_ports(protocol, ip.payload())?;
            (ip.get_source().octets(), ip.get_destination().octets(), 6, protocol, ports)
        }
        _ => return None,
    };
    let (source_port, destination_port) = ports;
    Some(Key { source, destination, source_port, destination_port, vlan_id, version, protocol })
}

#[inline]
fn by_pnet_ports(protocol: u8, payload: &[u8]) -> Option<(u16, u16)> {
    match protocol {
        17 => UdpPacket::new(payload).map(|udp| (udp.get_source(), udp.get_destination())),
        6 => TcpPacket::new(payload).map(|tcp| (tcp.get_source(), tcp.get_destination())),
        _ => None,
    }
}

/// Ethernet, IPv4 without options, UDP and 64 bytes or more.
fn ipv4_udp(number: u8) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([0x08, 0x00, 0x45, 0, 0, 92 + number, 0x12, 0x34, 0x40, 0, 64, 17, 0x14, 0x55]);
    frame.extend([10, 0, 0, number, 10, 0, 0, 2, 0x30, number, 0, 53, 0, 72 + number, 0, 0]);
    frame.resize(frame.len() + 64 + usize::from(number), 0x5a);
    frame
}

/// Ethernet, a tag, IPv6, TCP with 12 bytes of options and 64 bytes or more.
fn vlan_ipv6_tcp(number: u8) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([0x81, 0x00, 0x60, number, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 96 + number, 6, 64]);
    frame.extend([number; 16]);
    frame.extend([0x21; 16]);
    frame.extend([0x30, number, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x80, 0x18, 1, 0, 0, 0, 0, 0]);
    frame.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
    frame.resize(frame.len() + 64 + usize::from(number), 0x5a);
    frame
}
