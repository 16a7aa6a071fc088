//! Descriptors that the kernel must refuse, among good ones: the good ones arrive, the bad ones send
//! nothing and do not complete.

use std::time::Instant;

use netmem::xdp::{XdpDesc, raw::XDP_PKT_CONTD};

use crate::{
    bed::{Bed, PATIENCE, Stop},
    end::End,
    raw_end::{Layout, RawEnd, Shape},
    stream::{MIN_BYTES, Packet},
    traffic::{Ends, Kind, complete_all, expect},
};

/// No device sends that much.
const TOO_LONG: u32 = 9001;
/// Bits that no kernel gives a meaning.
const INVALID_OPTIONS: u32 = 0xffff;
const LARGE_BYTES: u32 = 3 * 1024;
const MAX_BYTES: u32 = 4096;
const MIN: u32 = 64;

pub(crate) fn aligned_inv_desc(bed: &Bed) -> Result<(), Stop> {
    single(bed, 4096, Layout::Aligned)
}

/// Crossing a chunk of 2,048 bytes is invalid, too.
pub(crate) fn aligned_inv_desc_2k_frame_size(bed: &Bed) -> Result<(), Stop> {
    single(bed, 2048, Layout::Aligned)
}

/// Crossing a page is allowed.
pub(crate) fn unaligned_inv_desc(bed: &Bed) -> Result<(), Stop> {
    single(bed, 4096, Layout::Unaligned)
}

/// The UMEM does not end with a page: what lies across its end crosses none.
pub(crate) fn unaligned_inv_desc_4001_frame_size(bed: &Bed) -> Result<(), Stop> {
    single(bed, 4001, Layout::Unaligned)
}

pub(crate) fn aligned_inv_desc_multi_buff(bed: &Bed) -> Result<(), Stop> {
    chains(bed, Layout::Aligned)
}

pub(crate) fn unaligned_inv_desc_multi_buff(bed: &Bed) -> Result<(), Stop> {
    chains(bed, Layout::Unaligned)
}

/// A descriptor as it is put into the tx ring, and whether the kernel takes it.
#[derive(Debug, Clone, Copy)]
struct Shot {
    addr: u64,
    len: u32,
    options: u32,
    valid: bool,
}

fn good(addr: u64) -> Shot {
    Shot { addr, len: MIN, options: 0, valid: true }
}

fn bad(addr: u64, len: u32) -> Shot {
    Shot { addr, len, options: 0, valid: false }
}

fn single(bed: &Bed, frame_bytes: u32, layout: Layout) -> Result<(), Stop> {
    let shape = Shape { frame_bytes, layout, ..Shape::default() };
    let tx = Shape { filled: 0, ..shape };
    let mut ends = Ends::raw(bed, tx, shape, Kind::Redirect)?;
    ends.meet(MIN_BYTES)?;
    let (end, half) = (ends.tx.umem_bytes(), u64::from(MIN / 2));
    let frame = |number: u64| number * u64::from(frame_bytes);
    // The first frame of a page from which a packet can lie across its end.
    let crossing_page = Shot { valid: layout == Layout::Unaligned, ..good(8 * 4096 - half) };
    let crossing_2k = Shot { valid: frame_bytes != 2048, ..good(frame(40) + 0x800 - half) };
    let shots = [
        good(0),
        good(frame(1)),
        // Across the start of the UMEM.
        bad(0u64.wrapping_sub(2), MIN),
        bad(frame(2), TOO_LONG),
        // Up to its end.
        good(end - u64::from(MIN)),
        bad(end, MIN),
        // Across its end.
        bad(end - half, MIN),
        crossing_page,
        crossing_2k,
        good(frame(3)),
    ];
    let invalid = shots.iter().filter(|shot| !shot.valid).count() as u64;
    // Three times over: what the kernel refused must not stay in its way.
    for round in 0..3 {
        shoot(&mut ends, &shots.map(|shot| vec![shot]))?;
        let statistics = ends.tx.socket().statistics().map_err(Stop::failed)?;
        if bed.way.copies() && statistics.tx_invalid_descs != (round + 1) * invalid {
            return Err(Stop::Failed(format!("{invalid} are invalid, but {statistics:?}")));
        }
    }
    ends.audit()
}

fn chains(bed: &Bed, layout: Layout) -> Result<(), Stop> {
    let _mtu = bed.mtu(9000)?;
    let shape = Shape { layout, segments: true, ..Shape::default() };
    let tx = Shape { filled: 0, ..shape };
    let mut ends = Ends::raw(bed, tx, shape, Kind::Redirect)?;
    ends.meet(MIN_BYTES)?;
    let end = ends.tx.umem_bytes();
    let frame = |number: u64| number * 4096;
    let more = |addr, len| Shot { options: XDP_PKT_CONTD, ..bad(addr, len) };
    let valid = |shot: Shot| Shot { valid: true, ..shot };
    // The end of what lies across two chunks is its own only in unaligned mode.
    let across = |shot: Shot| Shot { valid: layout == Layout::Unaligned, ..shot };
    // Older kernels begin a new packet behind what they refuse, 6.18.44 behind the refused packet's
    // end: an end that is refused in any reading.
    let refused_end = bad(end, MIN);
    let packets = [
        vec![good(0)],
        // No bytes in the last frame.
        vec![more(frame(1), LARGE_BYTES), more(frame(2), LARGE_BYTES), bad(frame(3), 0)],
        // An invalid address.
        vec![more(frame(1), LARGE_BYTES), more(end, LARGE_BYTES), refused_end],
        // An invalid length.
        vec![more(frame(1), LARGE_BYTES), more(frame(2), TOO_LONG), refused_end],
        // Invalid options.
        vec![
            more(frame(1), LARGE_BYTES),
            Shot { options: INVALID_OPTIONS, ..bad(frame(2), LARGE_BYTES) },
            refused_end,
        ],
        vec![good(frame(10))],
        // Sent as two frames, received as three.
        vec![valid(more(frame(4), MAX_BYTES)), valid(bad(frame(5), MAX_BYTES))],
        // A short end across two chunks.
        vec![across(more(frame(6), LARGE_BYTES)), across(bad(frame(8) - u64::from(MIN / 2), MIN))],
        vec![good(frame(9))],
    ];
    for _ in 0..3 {
        shoot(&mut ends, &packets)?;
    }
    ends.audit()
}

/// Sends packets as the shots say, and expects the valid ones.
fn shoot(ends: &mut Ends<RawEnd>, packets: &[Vec<Shot>]) -> Result<(), Stop> {
    let mut expected = Vec::new();
    for (number, shots) in packets.iter().enumerate() {
        let is_valid = shots.iter().all(|shot| shot.valid);
        let len = shots.iter().map(|shot| shot.len as usize).sum();
        let packet = Packet::new(number, if is_valid { len } else { 0 });
        let bytes = packet.bytes();
        let mut rest = bytes.as_slice();
        for &Shot { addr, len, options, .. } in shots {
            let desc = XdpDesc { addr, len, options };
            if is_valid {
                let (part, behind) = rest.split_at(len as usize);
                ends.tx.send_as_is(desc, Some(part))?;
                rest = behind;
            } else {
                ends.tx.send_as_is(desc, None)?;
            }
        }
        if is_valid {
            expected.push(packet);
        }
    }
    // The kernel stops behind each one that it refuses.
    let wanted = ends.tx.socket().tx_consumed();
    let left = ends.tx.socket().tx_queued();
    let deadline = Instant::now() + PATIENCE;
    while ends.tx.socket().tx_queued() > 0 && Instant::now() < deadline {
        ends.tx.pump()?;
    }
    let consumed = ends.tx.socket().tx_consumed().wrapping_sub(wanted);
    if ends.tx.socket().tx_queued() > 0 {
        return Err(Stop::Failed(format!("{consumed} of {left} descriptors were consumed")));
    }
    complete_all(&mut ends.tx)?;
    expect(&mut ends.rx, &expected)?;
    match ends.rx.receive(1)?.first() {
        None => Ok(()),
        Some(received) => Err(Stop::Failed(format!("{received:?} was invalid"))),
    }
}
