//! How full the rings of another process's packet sockets are.
//!
//! ```text
//!   the socket's file, from offset 0:   | rx ring: blocks of frames ... | tx ring: blocks of frames ... |
//!     TPACKET_V1 frame   status: unsigned long at 0     TPACKET_V3 rx block   status: u32 at 8
//!     TPACKET_V2 frame   status: u32 at 0               TPACKET_V3 tx frame   status: u32 at 20
//! ```
//! A frame or block of the rx ring is the program's while its status has `TP_STATUS_USER`; one of the tx ring
//! waits or is sent while it has `TP_STATUS_SEND_REQUEST` or `TP_STATUS_SENDING`. Geometry is socket
//! diagnosis's.
//!
//! The kernel maps both rings in one or none, and refuses the owner a new ring size meanwhile
//! (`packet_set_ring`, `EBUSY`): the mapping is gone after one look of some ten microseconds, and rings over
//! [`LEN_BYTES_MAX`] are not mapped. Counters are left alone: `PACKET_STATISTICS` sets them to 0.
//!
//! Kernel: net/packet/af_packet.c, include/uapi/linux/if_packet.h (6.18); pidfd_getfd 5.6.

use rustix::{net::AddressFamily, process::Pid};
use serde::Serialize;

use super::{held_sockets, sockets::duplicate};
use crate::{
    netlink::{PacketRing, PacketSocket},
    source::{Reading, Root, Unavailable, or_null},
    sys::ForeignRing,
};

/// Longer rings are not looked at: to map them takes milliseconds.
pub const LEN_BYTES_MAX: u64 = 64 << 20;

const TPACKET_V1: u32 = 0;
const TPACKET_V3: u32 = 2;
const STATUS_USER: u32 = 1;
const STATUS_SEND_REQUEST_OR_SENDING: u32 = 1 | 2;
const BLOCK_STATUS_OFFSET: u64 = 8;
const V3_FRAME_STATUS_OFFSET: u64 = 20;

/// A packet socket, with how full its rings are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PacketLook {
    /// The socket.
    #[serde(flatten)]
    pub socket: PacketSocket,
    /// How full its rings are.
    #[serde(serialize_with = "or_null")]
    pub levels: Reading<PacketLevels>,
}

/// How full the rings of a packet socket are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PacketLevels {
    /// What the program has to take, if there is a receive ring.
    pub rx: Option<PacketLevel>,
    /// What the kernel has to send, if there is a transmit ring.
    pub tx: Option<PacketLevel>,
}

/// How full a ring is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PacketLevel {
    /// What is counted: the receive ring of `TPACKET_V3` is handed over by blocks.
    pub unit: PacketUnit,
    /// How many are taken up.
    pub used: u32,
    /// How many there are.
    pub of: u32,
}

/// What a ring is handed over by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the words say it")]
pub enum PacketUnit {
    Frames,
    Blocks,
}

/// How full the rings of a packet socket are that a process has a descriptor of.
///
/// # Errors
/// The process has no descriptor of it by now, may not be looked into, or the rings are too long.
pub fn packet_levels(root: &Root, pid: u32, socket: &PacketSocket) -> Reading<PacketLevels> {
    let len_bytes = len_bytes(socket);
    if len_bytes == 0 {
        return Ok(PacketLevels::default());
    }
    let source = || format!("rings of packet socket:[{}]", socket.inode);
    if len_bytes > LEN_BYTES_MAX {
        return Err(Unavailable::absent(source(), "too long to be mapped for a look"));
    }
    let inode = u64::from(socket.inode);
    let held = held_sockets(&root.proc(pid.to_string()))?;
    let descriptors = held.get(&inode).map_or(&[][..], Vec::as_slice);
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let process =
        process.ok_or_else(|| Unavailable::stale(source(), "there is no such process"))?;
    let fd = duplicate(process, (AddressFamily::PACKET, inode), descriptors)?;
    let len_bytes = usize::try_from(len_bytes)
        .map_err(|_| Unavailable::absent(source(), "longer than this address space"))?;
    let rings = ForeignRing::map(rustix::fd::AsFd::as_fd(&fd), 0, len_bytes)
        .map_err(|error| Unavailable::by_io(source(), &error))?;
    Ok(levels(socket, |offset| rings.load_u32(usize::try_from(offset).ok()?)))
}

impl PacketUnit {
    /// Its name, as it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Frames => "frames",
            Self::Blocks => "blocks",
        }
    }
}

fn len_bytes(socket: &PacketSocket) -> u64 {
    socket.rx_ring.iter().chain(&socket.tx_ring).map(PacketRing::len_bytes).sum()
}

/// Counts by the words of the mapped rings.
fn levels(socket: &PacketSocket, word: impl Fn(u64) -> Option<u32>) -> PacketLevels {
    let is_v3 = socket.version == TPACKET_V3;
    let behind_rx = socket.rx_ring.as_ref().map_or(0, PacketRing::len_bytes);
    // Of an unsigned long the half that has the flags.
    let in_frame = match socket.version {
        TPACKET_V1 if cfg!(target_endian = "big") => 4,
        TPACKET_V3 => V3_FRAME_STATUS_OFFSET,
        _ => 0,
    };
    let level = |unit, of: u32, place: &dyn Fn(u32) -> Option<u64>, flags: u32| {
        let is_used = |at: &u32| place(*at).and_then(&word).is_some_and(|word| word & flags != 0);
        let used = (0..of).filter(is_used).count();
        PacketLevel { unit, used: u32::try_from(used).unwrap_or(u32::MAX), of }
    };
    PacketLevels {
        rx: socket.rx_ring.map(|ring| match is_v3 {
            true => {
                let place =
                    |at| Some(u64::from(at) * u64::from(ring.block_bytes) + BLOCK_STATUS_OFFSET);
                level(PacketUnit::Blocks, ring.blocks, &place, STATUS_USER)
            }
            false => {
                let place = |at| Some(frame_offset(&ring, at)? + in_frame);
                level(PacketUnit::Frames, ring.frames, &place, STATUS_USER)
            }
        }),
        tx: socket.tx_ring.map(|ring| {
            let place = |at| Some(behind_rx + frame_offset(&ring, at)? + in_frame);
            level(PacketUnit::Frames, ring.frames, &place, STATUS_SEND_REQUEST_OR_SENDING)
        }),
    }
}

/// Where a frame is in its ring: none lies across the end of a block.
fn frame_offset(ring: &PacketRing, at: u32) -> Option<u64> {
    let per_block = ring.block_bytes.checked_div(ring.frame_bytes).filter(|frames| *frames > 0)?;
    let block = u64::from(at / per_block) * u64::from(ring.block_bytes);
    Some(block + u64::from(at % per_block) * u64::from(ring.frame_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(version: u32, rx: Option<PacketRing>, tx: Option<PacketRing>) -> PacketSocket {
        PacketSocket { version, rx_ring: rx, tx_ring: tx, ..PacketSocket::default() }
    }

    fn ring(block_bytes: u32, blocks: u32, frame_bytes: u32) -> PacketRing {
        let frames = blocks * (block_bytes / frame_bytes);
        PacketRing { block_bytes, blocks, frame_bytes, frames, ..PacketRing::default() }
    }

    /// Which of the words that are set count.
    fn count(socket: &PacketSocket, set: &[(u64, u32)]) -> PacketLevels {
        let len = len_bytes(socket);
        let word = |at| set.iter().find(|(place, _)| *place == at).map_or(0, |(_, word)| *word);
        levels(socket, |offset| (offset + 4 <= len).then(|| word(offset)))
    }

    /// Planted and caught: a block's status at its begin; frames that lie across blocks; the tx ring looked
    /// for where the rx ring is; refused frames counted.
    #[test]
    fn frames_and_blocks_are_counted_where_they_are() {
        // Frames of 1500 bytes: two in each block of 4096, and 1096 bytes that are nobody's.
        let odd = ring(4096, 3, 1500);
        let used = [(0, 1), (1500, 0), (3000, 1), (4096, 5), (5596, 4), (9692, 1 | 1 << 31)];
        let rx = count(&socket(1, Some(odd), None), &used).rx;
        assert_eq!(rx, Some(PacketLevel { unit: PacketUnit::Frames, used: 3, of: 6 }));

        let blocks = ring(4096, 3, 2048);
        let used = [(8, 1), (0, 1), (4096 + 8, 0), (8192 + 8, 3)];
        let rx = count(&socket(2, Some(blocks), None), &used).rx;
        assert_eq!(rx, Some(PacketLevel { unit: PacketUnit::Blocks, used: 2, of: 3 }));

        // The tx ring is behind the rx ring; frames that were refused (4) or are free do not count.
        let both = socket(2, Some(blocks), Some(ring(4096, 1, 1024)));
        let used = [(20, 1), (12288 + 20, 1), (12288 + 1044, 2), (12288 + 2068, 4)];
        let told = count(&both, &used);
        let tx = PacketLevel { unit: PacketUnit::Frames, used: 2, of: 4 };
        assert_eq!((told.rx.unwrap().used, told.tx), (0, Some(tx)));
        assert_eq!(count(&socket(1, None, None), &[]), PacketLevels::default());
    }

    #[test]
    fn a_geometry_that_cannot_be_counts_nothing() {
        for (block_bytes, frame_bytes) in [(4096, 0), (0, 0), (16, 4096)] {
            let ring =
                PacketRing { block_bytes, blocks: 2, frame_bytes, frames: 9, ..ring(4, 1, 4) };
            let told = count(&socket(0, Some(ring), Some(ring)), &[(0, 1)]);
            assert_eq!((told.rx.unwrap().used, told.tx.unwrap().used), (0, 0));
        }
    }
}
