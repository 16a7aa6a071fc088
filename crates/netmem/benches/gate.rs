//! What `cargo xtask gate` counts: the real port on the fake kernel's rings, through the public API.
//!
//! `gate CASE BATCH PACKETS` moves that many packets. Callgrind collects inside of the functions named
//! `gate_*` only, so the fake kernel's work does not count; two lengths give a slope, in which start
//! and end cancel. The closure's verdict comes out of a table that the compiler cannot see through.
//! What was sent is compared with what should have been, so that no nonsense is measured.

use std::{env, hint::black_box};

use netmem::{
    device::{Device, Verdict},
    fake::FakeKernel,
    mem::{DropReason, PacketMut, Pool, PoolConfig, Region},
    xdp::{Port, RingSizes},
};

fn main() {
    let words: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let [case, batch, packets] = &words[..] else {
        // `cargo test` and `cargo bench` run this without arguments: nothing to do.
        return;
    };
    let batch: u32 = batch.parse().expect("BATCH is a number");
    let packets: u64 = packets.parse().expect("PACKETS is a number");
    let (run, sends): (Case, Sends) = match case.as_str() {
        "receive" => (gate_receive, Sends::None),
        "receive-byte" => (gate_receive_byte, Sends::None),
        "receive-table" => (gate_receive_table, Sends::None),
        "reflect" => (gate_reflect, Sends::All),
        "forward" => return forward_packets(batch, packets),
        other => panic!("no case {other}"),
    };
    move_packets(run, sends, batch, packets);
}

type Case = fn(&mut Port, u32, &[Verdict; 4]) -> u32;

/// What a case sends of what it receives.
enum Sends {
    None,
    All,
}

fn move_packets(run: Case, sends: Sends, batch: u32, packets: u64) {
    let region = Region::builder(4096 * 2048).build().expect("8 MiB");
    let handle = Pool::new(region, PoolConfig::default()).expect("a pool").handle();
    let (mut port, mut kernel) = FakeKernel::port(&handle, RingSizes::default(), u32::MAX - 5000);
    let mut frame = [0u8; 64];
    frame[..12].copy_from_slice(&[2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
    let mut reflected = frame;
    reflected[..12].copy_from_slice(&[8, 9, 10, 11, 12, 13, 2, 3, 4, 5, 6, 7]);
    let table = black_box([
        Verdict::Consume,
        Verdict::Transmit,
        Verdict::Drop(DropReason::UnhandledProto),
        Verdict::Keep,
    ]);
    (frame[12], reflected[12]) = (4, 4);
    let sends_per_batch = match sends {
        Sends::None => 0,
        Sends::All => batch as usize,
    };
    let mut done = 0;
    while done < packets {
        for _ in 0..batch {
            assert!(kernel.deliver(&frame), "the port gives every slot back");
        }
        assert_eq!(run(&mut port, batch, &table), batch, "every packet has its verdict");
        let sent = kernel.send(|bytes| assert!(bytes == reflected, "not reflected: {bytes:02x?}"));
        assert_eq!(
            (sent, kernel.complete(usize::MAX)),
            (sends_per_batch, sent),
            "as the verdicts say"
        );
        done += u64::from(batch);
    }
}

/// From one port out of another over the same pool, completions reaped.
fn forward_packets(batch: u32, packets: u64) {
    let region = Region::builder(8192 * 2048).build().expect("16 MiB");
    let handle = Pool::new(region, PoolConfig::default()).expect("a pool").handle();
    let start = u32::MAX - 5000;
    let (mut port, mut kernel) = FakeKernel::port(&handle, RingSizes::default(), start);
    let (mut out, mut out_kernel) = FakeKernel::port(&handle, RingSizes::default(), start);
    let mut frame = [0u8; 64];
    frame[..12].copy_from_slice(&[2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
    let mut reflected = frame;
    reflected[..12].copy_from_slice(&[8, 9, 10, 11, 12, 13, 2, 3, 4, 5, 6, 7]);
    let table = black_box([Verdict::Transmit; 4]);
    let mut done = 0;
    while done < packets {
        for _ in 0..batch {
            assert!(kernel.deliver(&frame), "the fill ring is topped up");
        }
        let received = gate_forward(&mut port, &mut out, batch, &table);
        assert_eq!(received, batch, "every packet has its verdict");
        let sent = out_kernel.send(|bytes| assert!(bytes == reflected, "changed: {bytes:02x?}"));
        assert_eq!((sent, out_kernel.complete(usize::MAX)), (batch as usize, sent));
        done += u64::from(batch);
    }
}

/// Receive and recycle: the verdict depends on how many bytes the packet has.
#[inline(never)]
fn gate_receive(port: &mut Port, batch: u32, table: &[Verdict; 4]) -> u32 {
    let longest = 1500 + usize::from(table[1] == Verdict::Transmit);
    let decide = |packet: &mut PacketMut<'_>| {
        if packet.bytes().len() > longest { Verdict::Transmit } else { Verdict::Consume }
    };
    port.receive(batch, &mut (), decide).received
}

/// Receive and recycle: the verdict depends on a byte of the packet.
#[inline(never)]
fn gate_receive_byte(port: &mut Port, batch: u32, table: &[Verdict; 4]) -> u32 {
    let reflected = u8::from(table[1] == Verdict::Transmit);
    let decide = |packet: &mut PacketMut<'_>| {
        let is_reflected = packet.bytes().first() == Some(&reflected);
        if is_reflected { Verdict::Transmit } else { Verdict::Consume }
    };
    port.receive(batch, &mut (), decide).received
}

/// As above, but the verdict is looked up in a table: every verdict is possible.
#[inline(never)]
fn gate_receive_table(port: &mut Port, batch: u32, table: &[Verdict; 4]) -> u32 {
    port.receive(batch, &mut (), |packet| verdict(packet, table)).received
}

/// Reflect: swap the Ethernet addresses and send, completions reaped.
#[inline(never)]
fn gate_reflect(port: &mut Port, batch: u32, table: &[Verdict; 4]) -> u32 {
    let consumed = u8::from(table[1] != Verdict::Transmit);
    port.receive(batch, &mut (), |packet| swap(packet, consumed)).received
}

/// Forward: as reflect, out of another port.
#[inline(never)]
fn gate_forward(port: &mut Port, out: &mut Port, batch: u32, table: &[Verdict; 4]) -> u32 {
    let consumed = u8::from(table[1] != Verdict::Transmit);
    let decide = |packet: &mut PacketMut<'_>| swap(packet, consumed + 1);
    port.receive_to(out, batch, &mut (), decide).map_or(0, |tally| tally.received)
}

/// Swaps the Ethernet addresses; the verdict depends on a byte behind them.
#[inline(always)]
fn swap(packet: &mut PacketMut<'_>, consumed: u8) -> Verdict {
    let Some(addresses) = packet.bytes_mut().first_chunk_mut::<14>() else {
        return Verdict::Drop(DropReason::PktTooSmall);
    };
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, ..] = *addresses;
    addresses[..12].copy_from_slice(&[s0, s1, s2, s3, s4, s5, d0, d1, d2, d3, d4, d5]);
    if addresses[12] == consumed { Verdict::Consume } else { Verdict::Transmit }
}

#[inline]
fn verdict(packet: &PacketMut<'_>, table: &[Verdict; 4]) -> Verdict {
    match packet.bytes() {
        [_, _, _, _, _, _, _, _, _, _, _, _, byte, ..] => table[usize::from(byte & 3)],
        _ => Verdict::Drop(DropReason::PktTooSmall),
    }
}
