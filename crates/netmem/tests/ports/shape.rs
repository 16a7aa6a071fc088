//! Shapes of frames that the kernel takes, and those that it must not get.
//!
//! Planted and caught: odd sizes let through; a byte of headroom more and less than the kernel takes.

use std::time::Instant;

use netmem::{
    device::Device,
    mem::{Audit, PageTier, Pool, PoolConfig, PoolHandle, Region},
    xdp::{Port, RingSizes, XdpMode, raw},
};
use netmem_host::lab::{missing_privilege, skip};

use crate::bed::{Bed, PATIENCE, WEST, assert_closed, frame, number_of, rules};

const FRAMES: u32 = 1024;

fn handle_of(frame_bytes: u32) -> PoolHandle {
    let region = Region::builder((FRAMES * frame_bytes) as usize).build().unwrap();
    let frames = Some(FRAMES);
    let config = PoolConfig { frame_bytes, frames, headroom_bytes: 0, ..PoolConfig::default() };
    Pool::new(region, config).unwrap().handle()
}

/// Whether the kernel registers frames of that shape.
fn is_taken(frame_bytes: u32, headroom_bytes: u32) -> bool {
    let region = Region::builder(1 << 20).tiers(&[PageTier::Base4K]).build().unwrap();
    let config = raw::RawUmemConfig {
        len_bytes: u64::from(frame_bytes) * 16,
        chunk_bytes: frame_bytes,
        headroom_bytes,
        unaligned: !frame_bytes.is_power_of_two(),
    };
    let umem = raw::RawUmem::new(region, config).unwrap();
    raw::RawSocket::open(&umem, &RingSizes { rx: 2, tx: 2, fill: 2, completion: 2 }).is_ok()
}

/// The largest headroom that we take is one that the kernel takes, and there is none between: on kernels
/// that take more, what is left would hold no packet.
#[test]
fn lab_headroom_is_bounded_as_the_kernel_does() {
    if let Some(missing) = missing_privilege() {
        return skip("lab_headroom_is_bounded_as_the_kernel_does", &missing);
    }
    let bed = Bed::new(1);
    let check = || {
        for (frame_bytes, most_bytes) in [(2048, 1344), (3000, 2296), (4096, 3392)] {
            assert!(is_taken(frame_bytes, most_bytes), "{frame_bytes}");
            // Kernels before 6.18.24 and 7.0 looked for one byte of room.
            let is_old = is_taken(frame_bytes, frame_bytes - 257);
            assert_eq!(is_taken(frame_bytes, most_bytes + 1), is_old, "{frame_bytes}");
            let handle = handle_of(frame_bytes);
            let open = |headroom_bytes| {
                let port = Port::builder(WEST, rules()).modes(&[XdpMode::Native]);
                port.headroom(headroom_bytes).open(&handle)
            };
            for too_much in [most_bytes + 1, frame_bytes - 257, frame_bytes, u32::MAX] {
                let error = open(too_much).unwrap_err().to_string();
                let words = format!(
                    "register umem of frames of {frame_bytes} bytes: a headroom of {too_much} bytes \
                     leaves no room for packets: {most_bytes} are the most"
                );
                assert_eq!(error, words);
            }
            // At the bound packets of the length that is left come whole.
            let mut port = open(most_bytes).unwrap();
            let mut sent = frame(0);
            sent.truncate(60);
            Bed::send(&bed.west, std::slice::from_ref(&sent));
            let mut left = 1;
            crate::bed::expect(
                &mut port,
                |bytes| {
                    left -= 1;
                    assert_eq!(bytes, sent);
                },
                1,
            );
            assert_eq!(left, 0);
            assert_closed(&Audit::of(handle.pool(), [port.close().walk, handle.walk()]));
        }
    };
    bed.mid.run(check).unwrap();
}

/// Frames of an odd size are refused; those of an even one that is no power of two go out from their
/// first byte on, and come back by the completion ring as what they are.
#[test]
fn lab_frames_have_an_even_size() {
    if let Some(missing) = missing_privilege() {
        return skip("lab_frames_have_an_even_size", &missing);
    }
    const COUNT: u32 = 3000;
    let bed = Bed::new(1);
    let native = || Port::builder(WEST, rules()).modes(&[XdpMode::Native]);
    let check = || {
        for odd in [2049, 3001, 4095] {
            let error = native().open(&handle_of(odd)).unwrap_err().to_string();
            let words =
                format!("register umem of frames of {odd} bytes: frames of an odd size start");
            assert!(error.starts_with(&words), "{error}");
            assert!(is_taken(odd, 0), "the kernel does not refuse it");
        }
        let handle = handle_of(2050);
        // Half of the slots are left to send from.
        let rings = RingSizes { fill: FRAMES / 2, ..RingSizes::default() };
        let mut port = native().rings(rings).open(&handle).unwrap();
        let mut sent = 0;
        let deadline = Instant::now() + PATIENCE;
        let in_time = || assert!(Instant::now() < deadline, "slots do not come back");
        while sent < COUNT {
            in_time();
            let mut packets = std::collections::VecDeque::new();
            while let Some(mut packet) = handle.alloc().filter(|_| sent < COUNT) {
                let bytes = frame(sent);
                packet.put(bytes.len().try_into().unwrap()).unwrap().copy_from_slice(&bytes);
                packets.push_back(packet);
                sent += 1;
            }
            while !packets.is_empty() {
                in_time();
                port.transmit(&mut packets).unwrap();
                port.flush().unwrap();
            }
        }
        while port.progress().completed < u64::from(COUNT) {
            in_time();
            port.flush().unwrap();
        }
        assert_closed(&Audit::of(handle.pool(), [port.close().walk, handle.walk()]));
    };
    let (got, ()) = Bed::collect(&bed.west, COUNT as usize, || bed.mid.run(check).unwrap());
    let numbers: Vec<_> = got.iter().map(|bytes| number_of(bytes)).collect();
    assert_eq!(numbers, (0..COUNT).collect::<Vec<_>>());
}
