//! Unix sockets of a namespace: their queues and memory.
//!
//! ```text
//!  struct unix_diag_req, 24 bytes           struct unix_diag_msg, 16 bytes
//!   0 family  1 protocol  2 pad  4 states    0 family  1 type  2 state
//!   8 inode  12 show     16 cookie (8)       4 inode   8 cookie (8)    then attributes
//! ```
//! Kernel: net/unix/diag.c, include/uapi/linux/unix_diag.h, `CONFIG_UNIX_DIAG`; user ids 4.20.

use netlink_packet_core::{Emitable, parse_u32};
use nix::libc;
use serde::Serialize;

use super::{
    Request, SOCK_DIAG_BY_FAMILY, SockDiag, SocketMemory, SocketState, attributes, cut, u32_at,
};
use crate::error::{Cause, Error, Result};

const REQUEST_LEN_BYTES: usize = 24;
const MESSAGE_LEN_BYTES: usize = 16;
const FAMILY_UNIX: u8 = 1;
const _: () = assert!(libc::AF_UNIX == FAMILY_UNIX as i32);
/// `UDIAG_SHOW_NAME | UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN | UDIAG_SHOW_MEMINFO | UDIAG_SHOW_UID`.
const SHOW: u32 = 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 6;
const DIAG_NAME: u16 = 0;
const DIAG_PEER: u16 = 2;
const DIAG_RQLEN: u16 = 4;
const DIAG_MEMINFO: u16 = 5;
const DIAG_UID: u16 = 7;

/// A Unix socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UnixSocket {
    /// Number of the socket, as in the names of its descriptors: `socket:[123]`.
    pub inode: u32,
    /// Its type: `SOCK_STREAM` (1), `SOCK_DGRAM` (2), or `SOCK_SEQPACKET` (5).
    pub socket_type: u8,
    /// Its state: listening, connected (established), or neither (close).
    pub state: SocketState,
    /// Its name, if it has one; one without a file begins with `@`.
    pub name: Option<String>,
    /// Number of the socket that it is connected to, if to one.
    pub peer_inode: Option<u32>,
    /// Bytes received and not read. A listener: connections that wait to be accepted.
    pub rqueue: u32,
    /// Bytes sent and not read by the peer. A listener: how many connections may wait.
    pub wqueue: u32,
    /// User id of its owner, if told.
    pub uid: Option<u32>,
    /// Its memory. What was sent counts at the sender until the peer has read it.
    pub memory: Option<SocketMemory>,
}

impl SockDiag {
    /// Returns every Unix socket of the namespace.
    ///
    /// # Errors
    /// The kernel cannot tell (`ENOENT`, without `CONFIG_UNIX_DIAG`), or the reply is not understood.
    pub fn unix_sockets(&mut self) -> Result<Vec<UnixSocket>> {
        let request = Request::dump(SOCK_DIAG_BY_FAMILY, &AllUnixSockets);
        self.connection
            .query(&request, |_, body| UnixSocket::parse(body))
            .map_err(|cause| Error::new("list", "Unix sockets", cause))
    }
}

impl UnixSocket {
    /// Parses an answer: `struct unix_diag_msg` and the attributes behind it.
    ///
    /// # Errors
    /// The bytes are cut, or tell of a socket of another family.
    pub fn parse(body: &[u8]) -> Result<Self, Cause> {
        let header = body.first_chunk::<MESSAGE_LEN_BYTES>().ok_or_else(|| cut("socket", body))?;
        if header[0] != FAMILY_UNIX {
            return Err(Cause::Malformed(format!("a socket of family {}", header[0])));
        }
        let mut socket = Self {
            inode: u32_at(header, 4)?,
            socket_type: header[1],
            state: SocketState::new(header[2]),
            name: None,
            peer_inode: None,
            rqueue: 0,
            wqueue: 0,
            uid: None,
            memory: None,
        };
        for attribute in attributes(&body[MESSAGE_LEN_BYTES..]) {
            let (kind, value) = attribute?;
            match kind {
                DIAG_NAME => socket.name = Some(name(value)),
                DIAG_PEER => socket.peer_inode = Some(parse_u32(value)?),
                DIAG_RQLEN => {
                    (socket.rqueue, socket.wqueue) = (u32_at(value, 0)?, u32_at(value, 4)?)
                }
                DIAG_MEMINFO => socket.memory = Some(SocketMemory::parse(value)?),
                DIAG_UID => socket.uid = Some(parse_u32(value)?),
                _ => {}
            }
        }
        Ok(socket)
    }
}

/// Reads a name: a path, or an abstract one, which begins with NUL and may have more of them.
fn name(value: &[u8]) -> String {
    match value {
        [0, rest @ ..] => format!("@{}", String::from_utf8_lossy(rest).replace('\0', "@")),
        path => super::super::string(path),
    }
}

/// `struct unix_diag_req`; a dump takes the number and the cookie for nothing.
struct AllUnixSockets;

impl Emitable for AllUnixSockets {
    fn buffer_len(&self) -> usize {
        REQUEST_LEN_BYTES
    }

    fn emit(&self, buffer: &mut [u8]) {
        buffer[..REQUEST_LEN_BYTES].fill(0);
        buffer[0] = FAMILY_UNIX;
        buffer[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
        buffer[12..16].copy_from_slice(&SHOW.to_ne_bytes());
    }
}
