//! Packet sockets of a namespace: where they are bound, their rings, their memory.
//!
//! ```text
//!  struct packet_diag_req, 20 bytes         struct packet_diag_msg, 16 bytes
//!   0 family  1 protocol  2 pad              0 family  1 type  2 EtherType
//!   4 inode   8 show     12 cookie (8)       4 inode   8 cookie (8)    then attributes
//! ```
//! The drops are those of the socket's memory: `PACKET_STATISTICS` is cleared by whoever reads it, and
//! is never asked for here.
//!
//! Kernel: net/packet/diag.c, include/uapi/linux/packet_diag.h, `CONFIG_PACKET_DIAG`.

use netlink_packet_core::{Emitable, parse_u32};
use nix::libc;
use serde::Serialize;

use super::{Request, SOCK_DIAG_BY_FAMILY, SockDiag, SocketMemory, attributes, cut, u32_at};
use crate::error::{Cause, Error, Result};

const REQUEST_LEN_BYTES: usize = 20;
const MESSAGE_LEN_BYTES: usize = 16;
const FAMILY_PACKET: u8 = 17;
const _: () = assert!(libc::AF_PACKET == FAMILY_PACKET as i32);
/// `PACKET_SHOW_INFO | PACKET_SHOW_RING_CFG | PACKET_SHOW_FANOUT | PACKET_SHOW_MEMINFO`.
const SHOW: u32 = 1 | 1 << 2 | 1 << 3 | 1 << 4;
const DIAG_INFO: u16 = 0;
const DIAG_RX_RING: u16 = 2;
const DIAG_TX_RING: u16 = 3;
const DIAG_FANOUT: u16 = 4;
const DIAG_UID: u16 = 5;
const DIAG_MEMINFO: u16 = 6;

/// A packet socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PacketSocket {
    /// Number of the socket, as in the names of its descriptors: `socket:[123]`.
    pub inode: u32,
    /// Its type: `SOCK_DGRAM` (2), `SOCK_RAW` (3), or `SOCK_PACKET` (10).
    pub socket_type: u8,
    /// EtherType that it takes; 3 (`ETH_P_ALL`) is all, 0 nothing.
    pub ether_type: u16,
    /// Index of the interface that it is bound to; 0 is all.
    pub ifindex: u32,
    /// Version of its rings' frames: 0 is `TPACKET_V1`.
    pub version: u32,
    /// Bytes that are kept in front of each packet (`PACKET_RESERVE`).
    pub reserve_bytes: u32,
    /// User id of its owner, if told.
    pub uid: Option<u32>,
    /// Its receive ring, if it has one.
    pub rx_ring: Option<PacketRing>,
    /// Its transmit ring, if it has one.
    pub tx_ring: Option<PacketRing>,
    /// Number of its fanout group, and the mode in the upper half, if it is in one.
    pub fanout: Option<u32>,
    /// Its memory without its rings; the drops are there.
    pub memory: Option<SocketMemory>,
}

/// Geometry of a ring that is mapped into the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PacketRing {
    /// Bytes of a block.
    pub block_bytes: u32,
    /// Number of blocks.
    pub blocks: u32,
    /// Bytes of a frame.
    pub frame_bytes: u32,
    /// Number of frames.
    pub frames: u32,
    /// Time after which a block is handed over unfilled, in milliseconds; `TPACKET_V3` only.
    pub retire_ms: u32,
}

impl SockDiag {
    /// Returns every packet socket of the namespace.
    ///
    /// # Errors
    /// The kernel cannot tell (`ENOENT`, without `CONFIG_PACKET_DIAG`), or the reply is not
    /// understood.
    pub fn packet_sockets(&mut self) -> Result<Vec<PacketSocket>> {
        let request = Request::dump(SOCK_DIAG_BY_FAMILY, &AllPacketSockets);
        self.connection
            .query(&request, |_, body| PacketSocket::parse(body))
            .map_err(|cause| Error::new("list", "packet sockets", cause))
    }
}

impl PacketSocket {
    /// Parses an answer: `struct packet_diag_msg` and the attributes behind it.
    ///
    /// # Errors
    /// The bytes are cut, or tell of a socket of another family.
    pub fn parse(body: &[u8]) -> Result<Self, Cause> {
        let header = body.first_chunk::<MESSAGE_LEN_BYTES>().ok_or_else(|| cut("socket", body))?;
        if header[0] != FAMILY_PACKET {
            return Err(Cause::Malformed(format!("a socket of family {}", header[0])));
        }
        let mut socket = Self {
            inode: u32_at(header, 4)?,
            socket_type: header[1],
            ether_type: u16::from_ne_bytes([header[2], header[3]]),
            ..Self::default()
        };
        for attribute in attributes(&body[MESSAGE_LEN_BYTES..]) {
            let (kind, value) = attribute?;
            match kind {
                DIAG_INFO => {
                    socket.ifindex = u32_at(value, 0)?;
                    socket.version = u32_at(value, 4)?;
                    socket.reserve_bytes = u32_at(value, 8)?;
                }
                DIAG_RX_RING => socket.rx_ring = PacketRing::parse(value)?,
                DIAG_TX_RING => socket.tx_ring = PacketRing::parse(value)?,
                DIAG_FANOUT => socket.fanout = Some(parse_u32(value)?),
                DIAG_UID => socket.uid = Some(parse_u32(value)?),
                DIAG_MEMINFO => socket.memory = Some(SocketMemory::parse(value)?),
                _ => {}
            }
        }
        Ok(socket)
    }
}

impl PacketRing {
    /// Returns the bytes that the ring takes, all of them allocated.
    pub fn len_bytes(&self) -> u64 {
        u64::from(self.block_bytes) * u64::from(self.blocks)
    }

    /// Reads `struct packet_diag_ring`; one without blocks is none.
    fn parse(value: &[u8]) -> Result<Option<Self>, Cause> {
        let ring = Self {
            block_bytes: u32_at(value, 0)?,
            blocks: u32_at(value, 4)?,
            frame_bytes: u32_at(value, 8)?,
            frames: u32_at(value, 12)?,
            retire_ms: u32_at(value, 16)?,
        };
        Ok(Some(ring).filter(|ring| ring.blocks > 0))
    }
}

/// `struct packet_diag_req`; a dump takes the number and the cookie for nothing.
struct AllPacketSockets;

impl Emitable for AllPacketSockets {
    fn buffer_len(&self) -> usize {
        REQUEST_LEN_BYTES
    }

    fn emit(&self, buffer: &mut [u8]) {
        buffer[..REQUEST_LEN_BYTES].fill(0);
        buffer[0] = FAMILY_PACKET;
        buffer[8..12].copy_from_slice(&SHOW.to_ne_bytes());
    }
}
