//! The Internet checksum: hot in the cache at three lengths, and over more than the caches hold.

use std::{hint::black_box, rc::Rc};

use netmem_wire::checksum;

use crate::round::{Case, Contender};

/// A buffer well above the second-level cache.
const LARGE_BYTES: usize = 256 << 20;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> =
        [20, 40, 64, 84, 128, 256, 512, 1500, 64 << 10].map(|len_bytes| hot(len_bytes)).into();
    cases.push(memory());
    cases
}

/// Bytes with carries, the same in each run.
fn data(len_bytes: usize) -> Rc<[u8]> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..len_bytes).map(|_| next()).collect()
}

fn hot(len_bytes: usize) -> Case {
    let bytes = data(len_bytes);
    let on = |name, sum: fn(&[u8]) -> u16| {
        let bytes = bytes.clone();
        Contender::new(name, move || sum(black_box(&bytes)).into())
    };
    Case {
        name: format!("checksum-{len_bytes}"),
        len_bytes,
        contenders: vec![
            on("netmem", |bytes| checksum::internet(bytes)),
            on("u32-loop", u32_loop),
            on("internet-checksum", |bytes| u16::from_be_bytes(internet_checksum::checksum(bytes))),
            on("pnet", |bytes| pnet_packet::util::checksum(bytes, usize::MAX / 2)),
            on("etherparse", |bytes| {
                etherparse::checksum::Sum16BitWords::new()
                    .add_slice(bytes)
                    .ones_complement()
                    .to_be()
            }),
        ],
    }
}

/// What one writes first: 32 bits hold the sum of 64 KiB of big-endian words.
fn u32_loop(bytes: &[u8]) -> u16 {
    let (words, odd) = bytes.as_chunks::<2>();
    let mut sum: u32 = words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    if let Some(byte) = odd.first() {
        sum += u32::from(*byte) << 8;
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The sum over 256 MiB beside a plain read of them and a copy.
fn memory() -> Case {
    let bytes = data(LARGE_BYTES);
    let (read, copied) = (bytes.clone(), bytes.clone());
    let mut copy = vec![0xff_u8; LARGE_BYTES];
    Case {
        name: "memory-256MiB".to_owned(),
        len_bytes: LARGE_BYTES,
        contenders: vec![
            Contender::of_other_result("netmem", move || {
                checksum::internet(black_box(&bytes)).into()
            }),
            Contender::of_other_result("read", move || read_all(black_box(&read))),
            Contender::of_other_result("memcpy", move || {
                copy.copy_from_slice(black_box(&copied));
                black_box(&copy)[0].into()
            }),
        ],
    }
}

/// Reads each byte once and does the least with it: four sums of 64-bit words.
fn read_all(bytes: &[u8]) -> u64 {
    let mut sums = [0_u64; 4];
    for block in bytes.as_chunks::<32>().0 {
        for (sum, word) in sums.iter_mut().zip(block.as_chunks::<8>().0) {
            *sum = sum.wrapping_add(u64::from_ne_bytes(*word));
        }
    }
    sums.iter().fold(0, |all, sum| all.wrapping_add(*sum))
}
