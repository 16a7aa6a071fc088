//! What `cargo xtask gate` counts: the real port on the fake kernel's rings, through the public API.
//!
//! `gate CASE BATCH PACKETS` moves that many packets. Callgrind collects inside of the functions named
//! `gate_*` only, so the fake kernel's work does not count; two lengths give a slope, in which start
//! and end cancel. The closure's verdict comes out of a table that the compiler cannot see through.

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
    let run = match case.as_str() {
        "receive" => gate_receive,
        "reflect" => gate_reflect,
        other => panic!("no case {other}: receive, reflect"),
    };
    move_packets(run, batch, packets);
}

type Case = fn(&mut Port, u32, &[Verdict; 4]) -> u32;

fn move_packets(run: Case, batch: u32, packets: u64) {
    let region = Region::builder(4096 * 2048).build().expect("8 MiB");
    let handle = Pool::new(region, PoolConfig::default()).expect("a pool").handle();
    let (mut port, mut kernel) = FakeKernel::port(&handle, RingSizes::default(), u32::MAX - 5000);
    let mut frame = [0u8; 64];
    let table = black_box([
        Verdict::Consume,
        Verdict::Transmit,
        Verdict::Drop(DropReason::UnhandledProto),
        Verdict::Keep,
    ]);
    frame[12] = u8::from(run as usize == gate_reflect as Case as usize);
    let mut done = 0;
    while done < packets {
        for _ in 0..batch {
            assert!(kernel.deliver(&frame), "the port gives every slot back");
        }
        done += u64::from(run(&mut port, batch, &table));
        kernel.send(|_| {});
        kernel.complete(usize::MAX);
    }
}

/// Receive and recycle: the closure looks at a byte and its verdict is looked up.
#[inline(never)]
fn gate_receive(port: &mut Port, batch: u32, table: &[Verdict; 4]) -> u32 {
    port.receive(batch, &mut (), |packet| verdict(packet, table)).received
}

/// Reflect: swap the Ethernet addresses and send, completions reaped.
#[inline(never)]
fn gate_reflect(port: &mut Port, batch: u32, table: &[Verdict; 4]) -> u32 {
    port.receive(batch, &mut (), |packet| {
        if let Some(addresses) = packet.bytes_mut().first_chunk_mut::<12>() {
            addresses.rotate_left(6);
        }
        verdict(packet, table)
    })
    .received
}

#[inline]
fn verdict(packet: &PacketMut<'_>, table: &[Verdict; 4]) -> Verdict {
    match packet.bytes() {
        [_, _, _, _, _, _, _, _, _, _, _, _, byte, ..] => table[usize::from(byte & 3)],
        _ => Verdict::Drop(DropReason::PktTooSmall),
    }
}
