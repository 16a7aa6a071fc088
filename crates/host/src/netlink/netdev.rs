//! Queues of interfaces, over the generic netlink family `netdev`.
//!
//! A queue that an AF_XDP socket is bound to has a buffer pool, in copy mode too
//! (`xsk_reg_pool_at_qid` in net/xdp/xsk.c), and says so with an empty attribute since 6.15
//! (`netdev_nl_queue_fill_one` in net/core/netdev-genl.c). An interface that is down tells nothing.
//!
//! Kernel: the family 6.3, its queues 6.8, AF_XDP 6.15.

use std::fs;
use std::io::Read;

use netlink_packet_core::parse_u32;

use super::attributes;
use super::generic::Family;
use crate::error::{Cause, Error, Result};

// include/uapi/linux/netdev.h
const CMD_QUEUE_GET: u8 = 10;
const QUEUE_ID: u16 = 1;
const QUEUE_IFINDEX: u16 = 2;
const QUEUE_XSK: u16 = 7;
/// The kernel's own names of its types and constants.
const BTF: &str = "/sys/kernel/btf/vmlinux";
const BTF_NAME: &[u8] = b"NETDEV_A_QUEUE_XSK\0";
/// What a kernel's type information is at most; one of 6.18 has 6 MB.
const BTF_LEN_MAX_BYTES: u64 = 64 << 20;

/// A connection to the family `netdev` in one network namespace.
#[derive(Debug)]
pub struct Netdev {
    family: Family,
}

/// A receive or transmit queue in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Queue {
    /// Index of its interface.
    pub ifindex: u32,
    /// Number among the interface's queues of its direction, 0 and up.
    pub id: u32,
    /// Whether an AF_XDP socket is bound to it.
    pub is_xdp_socket: bool,
}

impl Netdev {
    /// Opens a connection in the calling thread's network namespace.
    ///
    /// # Errors
    /// No socket could be opened, or the kernel has no such family (`ENOENT`).
    pub fn open() -> Result<Self> {
        Ok(Self { family: Family::open("netdev", 1)? })
    }

    /// Returns the queues of both directions of all interfaces that are up.
    ///
    /// # Errors
    /// The kernel does not know the request (`EOPNOTSUPP`), or the reply is not understood.
    pub fn queues(&mut self) -> Result<Vec<Queue>> {
        self.family
            .dump(CMD_QUEUE_GET, Queue::parse)
            .map_err(|cause| Error::new("list", "queues", cause))
    }

    /// Tells whether this kernel would say that an AF_XDP socket is bound to a queue; `None` if that
    /// cannot be found out.
    pub fn tells_xdp_sockets() -> Option<bool> {
        let mut names = Vec::new();
        fs::File::open(BTF).ok()?.take(BTF_LEN_MAX_BYTES).read_to_end(&mut names).ok()?;
        Some(names.windows(BTF_NAME.len()).any(|name| name == BTF_NAME))
    }
}

impl Queue {
    fn parse(body: &[u8]) -> Result<Self, Cause> {
        let (mut ifindex, mut id, mut is_xdp_socket) = (None, None, false);
        for attribute in attributes(body) {
            match attribute? {
                (QUEUE_ID, value) => id = Some(parse_u32(value)?),
                (QUEUE_IFINDEX, value) => ifindex = Some(parse_u32(value)?),
                (QUEUE_XSK, _) => is_xdp_socket = true,
                _ => {}
            }
        }
        match (ifindex, id) {
            (Some(ifindex), Some(id)) => Ok(Self { ifindex, id, is_xdp_socket }),
            _ => Err(Cause::Malformed("a queue without number or interface".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Interface 3, queue 1, receive, NAPI 8, an AF_XDP socket.
    const QUEUE: &[u8] = &[
        8, 0, 2, 0, 3, 0, 0, 0, 8, 0, 1, 0, 1, 0, 0, 0, 8, 0, 3, 0, 0, 0, 0, 0, 8, 0, 4, 0, 8, 0,
        0, 0, 4, 0, 7, 0x80,
    ];

    #[cfg(target_endian = "little")]
    #[test]
    fn a_queue_is_read() {
        let bound = Queue { ifindex: 3, id: 1, is_xdp_socket: true };
        assert_eq!(Queue::parse(QUEUE), Ok(bound));
        let free = Queue { is_xdp_socket: false, ..bound };
        assert_eq!(Queue::parse(&QUEUE[..QUEUE.len() - 4]), Ok(free));
        assert!(Queue::parse(&QUEUE[..8]).is_err(), "no number");
        assert!(Queue::parse(&[]).is_err());
    }

    #[test]
    fn damaged_queues_are_errors_not_panics() {
        for position in 0..QUEUE.len() {
            let _ = Queue::parse(&QUEUE[..position]);
            for value in 0..=255 {
                let mut damaged = QUEUE.to_vec();
                damaged[position] = value;
                let _ = Queue::parse(&damaged);
            }
        }
    }
}
