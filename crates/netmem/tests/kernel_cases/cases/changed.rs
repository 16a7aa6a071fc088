//! XDP programs that drop, lengthen, shorten, and put metadata in front.

use nix::libc;

use crate::{
    bed::{Bed, Stop},
    cases::flow::JUMBO_BYTES,
    end::{PortShape, Received},
    programs::Memory,
    stream::{MIN_BYTES, Packet, packets},
    traffic::{Ends, Kind},
};

/// ENOTSUPP, the kernel's own; no C library names it.
const ENOTSUPP: i64 = 524;

/// The program drops every second packet: exactly the others arrive.
pub(crate) fn xdp_drop_half(bed: &Bed) -> Result<(), Stop> {
    let shape = PortShape::default();
    let mut ends = Ends::ports(bed, shape, shape, Kind::DropHalf)?;
    let half = |packet: Packet| if packet.number % 2 == 1 { packet.lost() } else { packet };
    ends.pass(&packets(513, MIN_BYTES).into_iter().map(half).collect::<Vec<_>>())?;
    ends.close()
}

/// The program counts packets into metadata, which lies in front of each.
pub(crate) fn xdp_metadata_copy(bed: &Bed) -> Result<(), Stop> {
    metadata(bed, PortShape::default(), MIN_BYTES)
}

/// The same in front of the first frame of several.
pub(crate) fn xdp_metadata_copy_multi_buff(bed: &Bed) -> Result<(), Stop> {
    let _mtu = bed.mtu(9000)?;
    metadata(bed, PortShape { segments: true, ..PortShape::default() }, JUMBO_BYTES)
}

pub(crate) fn xdp_adjust_tail_shrink(bed: &Bed) -> Result<(), Stop> {
    adjust_tail(bed, PortShape::default(), 128, -4)
}

/// By a whole frame; in copy mode inside of the last fragment. A fragment that is shortened to nothing
/// goes back to the wrong allocator there and is lost for good (`BUG: Bad page state`, `page_pool leak`
/// out of `bpf_xdp_adjust_tail`, seen on a veth with kernels 6.12 and 7.3).
pub(crate) fn xdp_adjust_tail_shrink_multi_buff(bed: &Bed) -> Result<(), Stop> {
    adjust_tail_of_several(bed, 6144, if bed.way.copies() { -2048 } else { -4096 })
}

/// Into what the alignment of a socket buffer leaves behind 116 bytes on a veth: behind 128, as the
/// kernel's suite has it, there is nothing (`skb_pp_cow_data` in net/core/skbuff.c, kernel 6.18).
pub(crate) fn xdp_adjust_tail_grow(bed: &Bed) -> Result<(), Stop> {
    adjust_tail(bed, PortShape::default(), 116, 4)
}

/// Inside of the last frame.
pub(crate) fn xdp_adjust_tail_grow_multi_buff(bed: &Bed) -> Result<(), Stop> {
    adjust_tail_of_several(bed, 6144, 4096 / 2 - 1)
}

fn metadata(bed: &Bed, shape: PortShape, len_bytes: usize) -> Result<(), Stop> {
    let mut ends = Ends::ports(bed, shape, shape, Kind::Metadata)?;
    let look = |packet: &Packet, received: &Received| {
        let count = received.in_front.first_chunk().copied().map(u64::from_ne_bytes);
        match count {
            Some(count) if count == u64::from(packet.number) => Ok(()),
            count => Err(Stop::Failed(format!("packet {} has metadata {count:?}", packet.number))),
        }
    };
    let result = ends.pass_and(&packets(256, len_bytes), look);
    unless_refused(&ends.memory, result)?;
    ends.close()
}

fn adjust_tail(
    bed: &Bed,
    shape: PortShape,
    len_bytes: usize,
    delta_bytes: i32,
) -> Result<(), Stop> {
    let mut ends = Ends::ports(bed, shape, shape, Kind::AdjustTail(delta_bytes))?;
    let result = ends.pass(&resized(len_bytes, delta_bytes));
    unless_refused(&ends.memory, result)?;
    ends.close()
}

fn adjust_tail_of_several(bed: &Bed, len_bytes: usize, delta_bytes: i32) -> Result<(), Stop> {
    let _mtu = bed.mtu(9000)?;
    let shape = PortShape { segments: true, ..PortShape::default() };
    adjust_tail(bed, shape, len_bytes, delta_bytes)
}

fn resized(len_bytes: usize, delta_bytes: i32) -> Vec<Packet> {
    let arrives = len_bytes.saturating_add_signed(delta_bytes as isize);
    packets(64, len_bytes).into_iter().map(|packet| packet.arriving(arrives)).collect()
}

/// When the helper said that the driver cannot, that is why nothing arrived.
fn unless_refused(memory: &Memory, result: Result<(), Stop>) -> Result<(), Stop> {
    match memory.refusal()? {
        0 => result,
        refusal if refusal == -i64::from(libc::EOPNOTSUPP) || refusal == -ENOTSUPP => {
            Err(Stop::Impossible(format!("the driver's answer to the helper is {refusal}")))
        }
        refusal => Err(Stop::Failed(format!("the helper's answer is {refusal}: {result:?}"))),
    }
}
