//! Sockets of a namespace, over socket diagnosis netlink: TCP, UDP and RAW in `inet`, packet sockets in
//! `packet`, Unix sockets in `unix`, and AF_XDP here.
//!
//! ```text
//!  struct xdp_diag_req, 20 bytes            struct xdp_diag_msg, 16 bytes
//!   0 family  1 protocol  2 pad              0 family  1 type  2 pad
//!   4 inode   8 show     12 cookie (8)       4 inode   8 cookie (8)    then attributes
//! ```
//! The kernel tells what `show` asks for: where the socket is bound, its rings, its UMEM, its
//! counters (include/uapi/linux/xdp_diag.h, net/xdp/xsk_diag.c). Numbers are in the host's order.
//!
//! Kernel: 5.1 with `CONFIG_XDP_SOCKETS_DIAG`, statistics 5.9. Without that option the answer is
//! `ENOENT`, which says nothing about sockets.

mod inet;
mod memory;
mod packet;
mod tcp_info;
mod unix;

use netlink_packet_core::{Emitable, parse_u32};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use nix::libc;
use serde::Serialize;

pub use self::inet::{InetDump, InetProtocol, InetSocket, SocketOptions, SocketState};
pub use self::memory::SocketMemory;
pub use self::packet::{PacketRing, PacketSocket};
pub use self::tcp_info::TcpInfo;
pub use self::unix::UnixSocket;
use super::{Connection, Request, attributes, cut, u32_at, u64_at};
use crate::error::{Cause, Error, Result};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const REQUEST_LEN_BYTES: usize = 20;
const MESSAGE_LEN_BYTES: usize = 16;
const FAMILY_XDP: u8 = 44;
const _: () = assert!(libc::AF_XDP == FAMILY_XDP as i32);
/// `XDP_SHOW_INFO | XDP_SHOW_RING_CFG | XDP_SHOW_UMEM | XDP_SHOW_STATS`.
const SHOW: u32 = 1 | 1 << 1 | 1 << 2 | 1 << 4;
const DIAG_INFO: u16 = 1;
const DIAG_UID: u16 = 2;
const DIAG_RX_RING: u16 = 3;
const DIAG_TX_RING: u16 = 4;
const DIAG_UMEM: u16 = 5;
const DIAG_FILL_RING: u16 = 6;
const DIAG_COMPLETION_RING: u16 = 7;
const DIAG_STATS: u16 = 9;
const UMEM_ZEROCOPY: u32 = 1;

/// A connection to socket diagnosis in one network namespace.
#[derive(Debug)]
pub struct SockDiag {
    connection: Connection,
}

/// An AF_XDP socket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct XdpSocket {
    /// Number of the socket, as in the names of its descriptors: `socket:[123]`.
    pub inode: u32,
    /// Index of the interface that it is bound to; 0 if to none.
    pub ifindex: u32,
    /// Queue that it is bound to.
    pub queue: u32,
    /// User id of its owner, if told.
    pub uid: Option<u32>,
    /// Entries of its rx ring, if it has one.
    pub rx_ring: Option<u32>,
    /// Entries of its tx ring, if it has one.
    pub tx_ring: Option<u32>,
    /// Entries of the fill ring, if it has one of its own or of the socket it shares with.
    pub fill_ring: Option<u32>,
    /// Entries of the completion ring, if it has one of its own or of the socket it shares with.
    pub completion_ring: Option<u32>,
    /// Its UMEM, if it has one.
    pub umem: Option<Umem>,
    /// Its counters, if told.
    pub statistics: Option<SocketStatistics>,
}

/// The packet memory of AF_XDP sockets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Umem {
    /// Number among all.
    pub id: u32,
    /// Length in bytes.
    pub len_bytes: u64,
    /// Size of a frame in bytes.
    pub chunk_bytes: u32,
    /// Bytes in front of each packet.
    pub headroom_bytes: u32,
    /// Whether the driver uses it without copying.
    pub is_zero_copy: bool,
    /// How many use it; more than one is a shared one.
    pub users: u32,
}

/// The kernel's counters of a socket (`struct xdp_diag_stats`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names are the kernel's: struct xdp_statistics")]
#[non_exhaustive]
pub struct SocketStatistics {
    pub rx_dropped: u64,
    pub rx_invalid_descs: u64,
    pub rx_ring_full: u64,
    pub rx_fill_ring_empty_descs: u64,
    pub tx_invalid_descs: u64,
    pub tx_ring_empty_descs: u64,
}

impl SockDiag {
    /// Opens a connection in the calling thread's network namespace.
    ///
    /// # Errors
    /// No socket could be opened; without `CONFIG_SOCK_DIAG` that is `EPROTONOSUPPORT`.
    pub fn open() -> Result<Self> {
        let connection = Connection::open(NETLINK_SOCK_DIAG)
            .map_err(|error| Error::new("open", "socket diagnosis netlink socket", error))?;
        Ok(Self { connection })
    }

    /// Returns every AF_XDP socket of the namespace, bound or not.
    ///
    /// # Errors
    /// The kernel cannot tell (`ENOENT`, without `CONFIG_XDP_SOCKETS_DIAG`), or the reply is not
    /// understood.
    pub fn xdp_sockets(&mut self) -> Result<Vec<XdpSocket>> {
        let request = Request::dump(SOCK_DIAG_BY_FAMILY, &AllXdpSockets);
        self.connection
            .query(&request, |_, body| XdpSocket::parse(body))
            .map_err(|cause| Error::new("list", "AF_XDP sockets", cause))
    }
}

/// `struct xdp_diag_req`; a dump takes the number and the cookie for nothing.
struct AllXdpSockets;

impl Emitable for AllXdpSockets {
    fn buffer_len(&self) -> usize {
        REQUEST_LEN_BYTES
    }

    fn emit(&self, buffer: &mut [u8]) {
        buffer[..REQUEST_LEN_BYTES].fill(0);
        buffer[0] = FAMILY_XDP;
        buffer[8..12].copy_from_slice(&SHOW.to_ne_bytes());
    }
}

impl XdpSocket {
    /// Parses an answer: `struct xdp_diag_msg` and the attributes behind it.
    ///
    /// # Errors
    /// The bytes are cut, or tell of a socket of another family.
    pub fn parse(body: &[u8]) -> Result<Self, Cause> {
        let header = body.first_chunk::<MESSAGE_LEN_BYTES>();
        let header = header.ok_or_else(|| cut("socket", body))?;
        if header[0] != FAMILY_XDP {
            return Err(Cause::Malformed(format!("a socket of family {}", header[0])));
        }
        let mut socket = Self { inode: u32_at(header, 4)?, ..Self::default() };
        for attribute in attributes(&body[MESSAGE_LEN_BYTES..]) {
            let (kind, value) = attribute?;
            match kind {
                DIAG_INFO => {
                    (socket.ifindex, socket.queue) = (u32_at(value, 0)?, u32_at(value, 4)?)
                }
                DIAG_UID => socket.uid = Some(parse_u32(value)?),
                DIAG_RX_RING => socket.rx_ring = Some(u32_at(value, 0)?),
                DIAG_TX_RING => socket.tx_ring = Some(u32_at(value, 0)?),
                DIAG_FILL_RING => socket.fill_ring = Some(u32_at(value, 0)?),
                DIAG_COMPLETION_RING => socket.completion_ring = Some(u32_at(value, 0)?),
                DIAG_UMEM => socket.umem = Some(Umem::parse(value)?),
                DIAG_STATS => socket.statistics = Some(SocketStatistics::parse(value)?),
                _ => {}
            }
        }
        Ok(socket)
    }
}

impl Umem {
    /// Reads `struct xdp_diag_umem`: a `u64` and eight `u32`.
    fn parse(value: &[u8]) -> Result<Self, Cause> {
        Ok(Self {
            len_bytes: u64_at(value, 0)?,
            id: u32_at(value, 8)?,
            chunk_bytes: u32_at(value, 16)?,
            headroom_bytes: u32_at(value, 20)?,
            is_zero_copy: u32_at(value, 32)? & UMEM_ZEROCOPY != 0,
            users: u32_at(value, 36)?,
        })
    }
}

impl SocketStatistics {
    /// Reads `struct xdp_diag_stats`: six `u64`.
    fn parse(value: &[u8]) -> Result<Self, Cause> {
        Ok(Self {
            rx_dropped: u64_at(value, 0)?,
            rx_invalid_descs: u64_at(value, 8)?,
            rx_ring_full: u64_at(value, 16)?,
            rx_fill_ring_empty_descs: u64_at(value, 24)?,
            tx_invalid_descs: u64_at(value, 32)?,
            tx_ring_empty_descs: u64_at(value, 40)?,
        })
    }
}

#[cfg(test)]
mod tests;
