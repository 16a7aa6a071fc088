//! What `cargo xtask gate` counts of the wire engine: from a frame to its layers, to its flow key, and
//! checksums of a small and a full payload.
//!
//! `gate CASE BATCH PACKETS` reads that many frames, in batches of frames that differ in addresses,
//! ports and length. Callgrind collects inside of the `gate_*` functions only; what they give is
//! compared with what the frames were made of.
#![allow(clippy::expect_used, reason = "a bench: what cannot be is a failure")]

use std::env;
use std::hint::black_box;
use std::net::IpAddr;

use netmem_wire::dissect::{dissect, flow_key};
use netmem_wire::{FlowKey, LinkType, checksum};

fn main() {
    let words: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let [case, batch, packets] = &words[..] else {
        // `cargo test` and `cargo bench` run this without arguments: nothing to do.
        return;
    };
    let batch: usize = batch.parse().expect("BATCH is a number");
    let packets: usize = packets.parse().expect("PACKETS is a number");
    match case.as_str() {
        "dissect-ipv4-udp" => keys(ipv4_udp, gate_dissect, batch, packets),
        "dissect-vlan-ipv6-tcp" => keys(vlan_ipv6_tcp, gate_dissect, batch, packets),
        "flow-ipv4-udp" => keys(ipv4_udp, gate_flow, batch, packets),
        "flow-vlan-ipv6-tcp" => keys(vlan_ipv6_tcp, gate_flow, batch, packets),
        "checksum64" => sums(64, batch, packets),
        "checksum1500" => sums(1500, batch, packets),
        other => panic!("no case {other}"),
    }
}

type Keys = fn(&[Vec<u8>], &mut [Option<FlowKey>]);

/// A frame with the key that is to be found in it.
type Made = (Vec<u8>, FlowKey);

fn keys(make: fn(u8) -> Made, gate: Keys, batch: usize, packets: usize) {
    let (frames, expected): (Vec<_>, Vec<_>) =
        (0..batch).map(|number| make(number.to_le_bytes()[0])).unzip();
    let mut found = vec![None; batch];
    for _ in 0..packets / batch {
        found.fill(None);
        gate(black_box(&frames), &mut found);
        assert!(found.iter().flatten().eq(&expected), "every frame has its key");
    }
}

/// All layers, then the key.
#[inline(never)]
fn gate_dissect(frames: &[Vec<u8>], keys: &mut [Option<FlowKey>]) {
    for (frame, key) in frames.iter().zip(keys) {
        *key = dissect(LinkType::Ethernet, frame).flow_key();
    }
}

/// The key only.
#[inline(never)]
fn gate_flow(frames: &[Vec<u8>], keys: &mut [Option<FlowKey>]) {
    for (frame, key) in frames.iter().zip(keys) {
        *key = flow_key(LinkType::Ethernet, frame);
    }
}

fn sums(len_bytes: usize, batch: usize, packets: usize) {
    let payloads: Vec<Vec<u8>> =
        (0..batch).map(|number| vec![number.to_le_bytes()[0]; len_bytes]).collect();
    let words = u64::try_from(len_bytes / 2).expect("a small number");
    let expected: Vec<u16> = (0..batch)
        .map(|number| {
            let mut sum = u64::from(number.to_le_bytes()[0]) * 0x0101 * words;
            while sum > 0xffff {
                sum = (sum & 0xffff) + (sum >> 16);
            }
            !u16::try_from(sum).expect("folded")
        })
        .collect();
    let mut found = vec![0; batch];
    for _ in 0..packets / batch {
        found.fill(0);
        gate_checksum(black_box(&payloads), &mut found);
        assert_eq!(found, expected);
    }
}

#[inline(never)]
fn gate_checksum(payloads: &[Vec<u8>], sums: &mut [u16]) {
    for (payload, sum) in payloads.iter().zip(sums) {
        *sum = checksum::internet(payload);
    }
}

/// Ethernet, IPv4 without options, UDP.
fn ipv4_udp(number: u8) -> Made {
    let mut frame = vec![2; 12];
    frame.extend([0x08, 0x00, 0x45, 0, 0, 28 + number % 64, 0x12, 0x34, 0x40, 0, 64, 17, 0, 0]);
    frame.extend([10, 0, 0, number, 10, 0, 0, 2, 0x30, number, 0, 53]);
    frame.extend([0, 8 + number % 64, 0, 0]);
    frame.resize(frame.len() + usize::from(number % 64), 0x5a);
    let (source, destination) = ([10, 0, 0, number], [10, 0, 0, 2]);
    let ports = (0x3000 | u16::from(number), 53);
    (frame, key((IpAddr::from(source), ports.0), (IpAddr::from(destination), ports.1), 17, None))
}

/// Ethernet, a tag, IPv6, TCP with 12 bytes of options.
fn vlan_ipv6_tcp(number: u8) -> Made {
    let mut frame = vec![2; 12];
    frame.extend([0x81, 0x00, 0x60, number, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 32 + number % 64, 6, 64]);
    frame.extend([number; 16]);
    frame.extend([0x21; 16]);
    frame.extend([0x30, number, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x80, 0x18, 1, 0, 0, 0, 0, 0]);
    frame.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
    frame.resize(frame.len() + usize::from(number % 64), 0x5a);
    let ports = (0x3000 | u16::from(number), 80);
    let (source, destination) = (IpAddr::from([number; 16]), IpAddr::from([0x21; 16]));
    (frame, key((source, ports.0), (destination, ports.1), 6, Some(number.into())))
}

fn key(
    source: (IpAddr, u16),
    destination: (IpAddr, u16),
    protocol: u8,
    vlan_id: Option<u16>,
) -> FlowKey {
    FlowKey::new(source, destination, protocol, vlan_id).expect("one family")
}
