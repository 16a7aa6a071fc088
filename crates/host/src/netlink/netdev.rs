//! Queues of interfaces and what stands behind them, over the generic netlink family `netdev`.
//!
//! ```text
//!   queue --napi id--> NAPI --> interrupt, thread
//!     |                  ^
//!     +-- AF_XDP,        +--napi id-- page pool --> pages in flight, statistics
//!         dma-buf, io_uring
//! ```
//! A queue that an AF_XDP socket is bound to has a buffer pool, in copy mode too
//! (`xsk_reg_pool_at_qid` in net/xdp/xsk.c), and says so with an empty attribute since 6.15
//! (`netdev_nl_queue_fill_one` in net/core/netdev-genl.c). An interface that is down tells nothing.
//!
//! A page pool is listed only if its driver says to which interface it belongs (`page_pool_list` in
//! net/core/page_pool_user.c): the pools of veth, and those of test runs of programs, are not.
//!
//! Kernel: the family 6.3, queues, NAPIs and page pools 6.8, queue statistics 6.10, AF_XDP 6.15;
//! statistics of page pools need `CONFIG_PAGE_POOL_STATS`.

mod napi;
mod page_pool;
mod queue_statistics;

use std::fs;
use std::io::Read;

use serde::Serialize;

pub use self::napi::Napi;
pub use self::page_pool::{PagePool, PagePoolStatistics};
pub use self::queue_statistics::QueueStatistics;
use super::generic::Family;
use super::{attributes, u32_at};
use crate::error::{Cause, Error, Result};

// include/uapi/linux/netdev.h
const CMD_QUEUE_GET: u8 = 10;
const QUEUE_ID: u16 = 1;
const QUEUE_IFINDEX: u16 = 2;
const QUEUE_TYPE: u16 = 3;
const QUEUE_NAPI_ID: u16 = 4;
const QUEUE_DMABUF: u16 = 5;
const QUEUE_IO_URING: u16 = 6;
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

/// Which way packets go through a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Received.
    #[default]
    Rx,
    /// Transmitted.
    Tx,
}

/// A receive or transmit queue in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct Queue {
    /// Index of its interface.
    pub ifindex: u32,
    /// Which way packets go.
    pub direction: Direction,
    /// Number among the interface's queues of its direction, 0 and up.
    pub id: u32,
    /// Number of the NAPI that polls it, if the driver has said.
    pub napi_id: Option<u32>,
    /// Number of the dma-buf binding that its payload goes to, if to one.
    pub dmabuf_id: Option<u32>,
    /// Whether its payload goes to memory of io_uring.
    pub is_io_uring: bool,
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

impl Direction {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rx => "rx",
            Self::Tx => "tx",
        }
    }

    /// Reads `enum netdev_queue_type`.
    fn parse(value: &[u8]) -> Result<Self, Cause> {
        match u32_at(value, 0)? {
            0 => Ok(Self::Rx),
            1 => Ok(Self::Tx),
            other => Err(Cause::Malformed(format!("a queue of type {other}"))),
        }
    }
}

impl Queue {
    /// Parses the attributes of an answer.
    ///
    /// # Errors
    /// The bytes are cut, or there is no number or interface.
    pub fn parse(body: &[u8]) -> Result<Self, Cause> {
        let (mut ifindex, mut id, mut queue) = (None, None, Self::default());
        for attribute in attributes(body) {
            let (kind, value) = attribute?;
            match kind {
                QUEUE_ID => id = Some(u32_at(value, 0)?),
                QUEUE_IFINDEX => ifindex = Some(u32_at(value, 0)?),
                QUEUE_TYPE => queue.direction = Direction::parse(value)?,
                QUEUE_NAPI_ID => queue.napi_id = Some(u32_at(value, 0)?),
                QUEUE_DMABUF => queue.dmabuf_id = Some(u32_at(value, 0)?),
                QUEUE_IO_URING => queue.is_io_uring = true,
                QUEUE_XSK => queue.is_xdp_socket = true,
                _ => {}
            }
        }
        match (ifindex, id) {
            (Some(ifindex), Some(id)) => Ok(Self { ifindex, id, ..queue }),
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
        let bound =
            Queue { ifindex: 3, id: 1, napi_id: Some(8), is_xdp_socket: true, ..Queue::default() };
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
