//! Runs of a program: on a frame of the caller's, and on frames that become real (Linux 5.18).
//!
//! S1 and S2 are those of the parent module. A run ends within the call: the kernel keeps no address.

use std::{ffi::c_int, io, mem::offset_of, os::fd::BorrowedFd};

use super::{address, address_mut, bpf, bytes, length, raw};

const PROG_TEST_RUN: c_int = 10;
const BPF_F_TEST_XDP_LIVE_FRAMES: u32 = 1 << 1;
/// Room for what a program may add to a frame: its headroom and the rest of a (64 KiB) page.
const FRAME_GROWTH_BYTES: usize = 256 + (64 << 10);

#[repr(C)]
#[derive(Default)]
struct TestRunAttr {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    _pad: u32,
}
const _: () = assert!(size_of::<TestRunAttr>() == 80 && offset_of!(TestRunAttr, data_out) == 24);
const _: () = assert!(offset_of!(TestRunAttr, ctx_in) == 48);
const _: () = assert!(offset_of!(TestRunAttr, batch_size) == 72);

/// `struct xdp_md`, as a test run takes it: offsets from the start of the frame.
#[repr(C)]
#[derive(Default)]
struct XdpMd {
    data: u32,
    data_end: u32,
    data_meta: u32,
    ingress_ifindex: u32,
    rx_queue_index: u32,
    egress_ifindex: u32,
}
const _: () = assert!(size_of::<XdpMd>() == 24 && offset_of!(XdpMd, ingress_ifindex) == 12);

/// Runs the program once on `frame`, puts the resulting frame into `out` and returns the
/// program's return value and its run time in nanoseconds.
pub(crate) fn prog_test_run(
    program: BorrowedFd<'_>,
    frame: &[u8],
    out: &mut Vec<u8>,
) -> io::Result<(u32, u32)> {
    out.clear();
    out.reserve(frame.len() + FRAME_GROWTH_BYTES);
    let room = out.spare_capacity_mut();
    let mut attr = TestRunAttr {
        prog_fd: raw(program),
        data_size_in: length(frame)?,
        data_size_out: length(room)?,
        data_in: address(frame),
        data_out: address_mut(room),
        repeat: 1,
        ..Default::default()
    };
    // SAFETY: the layout is PROG_TEST_RUN's (S1); the kernel reads `frame` and writes at most
    // `data_size_out` bytes to `room` (S2).
    unsafe { bpf(PROG_TEST_RUN, &mut attr) }?;
    // SAFETY: the call succeeded, so the frame fitted (else ENOSPC) and the kernel wrote the
    // `data_size_out` bytes it reports, from the start of the empty vector's allocation.
    unsafe { out.set_len(bytes(attr.data_size_out)) };
    Ok((attr.retval, attr.duration))
}

/// Runs the program `repeat` times on frames that become real, in batches of `batch_size`, as if they
/// had come in on queue 0 of `ifindex` (0: loopback); returns the mean time per frame in nanoseconds.
pub(crate) fn prog_run_live(
    program: BorrowedFd<'_>,
    frame: &[u8],
    repeat: u32,
    batch_size: u32,
    ifindex: u32,
) -> io::Result<u32> {
    let context =
        [XdpMd { data_end: length(frame)?, ingress_ifindex: ifindex, ..Default::default() }];
    let mut attr = TestRunAttr {
        prog_fd: raw(program),
        data_size_in: length(frame)?,
        data_in: address(frame),
        repeat,
        ctx_size_in: u32::try_from(size_of_val(&context)).expect("24 bytes"),
        ctx_in: address(&context),
        flags: BPF_F_TEST_XDP_LIVE_FRAMES,
        batch_size,
        ..Default::default()
    };
    // SAFETY: the layout is PROG_TEST_RUN's (S1); the kernel reads `frame` and `context`, with their
    // lengths beside them (S2), and with no address for output writes into `attr` only.
    unsafe { bpf(PROG_TEST_RUN, &mut attr) }?;
    Ok(attr.duration)
}
