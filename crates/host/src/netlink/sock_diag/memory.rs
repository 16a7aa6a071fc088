//! What a socket holds and may hold (`SK_MEMINFO_*`).
//!
//! The kernel gives nine numbers of 4 bytes (`sk_get_meminfo` in net/core/sock.c, 5.15 to 6.18) under a
//! different attribute in each family. A newer one may append more, an older one gave eight, so they are
//! read by length. All are bytes of truesize but the last: what the packets' buffers take, with their
//! overhead, not the payload in them.

use serde::Serialize;

use super::{cut, u32_at};
use crate::error::Cause;

/// The memory of one socket, in bytes of truesize.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SocketMemory {
    /// Received, and not read yet (`sk_rmem_alloc`; `r` in `ss -m`).
    pub rmem_alloc_bytes: u32,
    /// Limit of what is received and not read yet (`sk_rcvbuf`; `rb`).
    pub rcvbuf_bytes: u32,
    /// On its way out through queueing discipline and driver (`sk_wmem_alloc`; `t`).
    pub wmem_alloc_bytes: u32,
    /// Limit of what is to be sent (`sk_sndbuf`; `tb`).
    pub sndbuf_bytes: u32,
    /// Charged in advance and not in use (`sk_forward_alloc`; `f`): what reclaim could give back. The
    /// kernel's number has a sign, and for a moment may be below zero; that is 0 here.
    pub fwd_alloc_bytes: u32,
    /// In the send queue of a stream: not sent, or not acknowledged (`sk_wmem_queued`; `w`).
    pub wmem_queued_bytes: u32,
    /// Options, filters, and notifications of `MSG_ZEROCOPY` (`sk_omem_alloc`; `o`).
    pub optmem_bytes: u32,
    /// Received while a process had the socket locked (`sk_backlog.len`; `bl`).
    pub backlog_bytes: u32,
    /// Packets dropped at the socket since it was made (`sk_drops`; `d`); wraps at 2^32.
    pub drops: u32,
}

impl SocketMemory {
    /// Parses the attribute; numbers beyond the ninth are passed over, a ninth that is missing is 0.
    ///
    /// # Errors
    /// There are less than eight numbers.
    pub fn parse(value: &[u8]) -> Result<Self, Cause> {
        if value.len() < 32 {
            return Err(cut("socket's memory", value));
        }
        let forward = u32_at(value, 16)?.cast_signed();
        Ok(Self {
            rmem_alloc_bytes: u32_at(value, 0)?,
            rcvbuf_bytes: u32_at(value, 4)?,
            wmem_alloc_bytes: u32_at(value, 8)?,
            sndbuf_bytes: u32_at(value, 12)?,
            fwd_alloc_bytes: forward.max(0).cast_unsigned(),
            wmem_queued_bytes: u32_at(value, 20)?,
            optmem_bytes: u32_at(value, 24)?,
            backlog_bytes: u32_at(value, 28)?,
            drops: u32_at(value, 32).unwrap_or(0),
        })
    }

    /// Returns what the socket holds of the machine's memory: received, backlog, what is to be sent,
    /// charged in advance, options.
    ///
    /// A TCP packet on its way out is a clone that shares its data with the one in the send queue, and
    /// a datagram is in no send queue: of the two numbers the larger one counts.
    pub fn held_bytes(&self) -> u64 {
        let sending = self.wmem_queued_bytes.max(self.wmem_alloc_bytes);
        let parts = [self.rmem_alloc_bytes, self.backlog_bytes, sending, self.fwd_alloc_bytes];
        parts.into_iter().chain([self.optmem_bytes]).map(u64::from).sum()
    }

    /// Returns what of it counts against `tcp_mem` or `udp_mem` and the control group: received,
    /// send queue, charged in advance. Over all sockets of a protocol this is `mem` of
    /// `/proc/net/sockstat`, without its error.
    pub fn charged_bytes(&self) -> u64 {
        let parts = [self.rmem_alloc_bytes, self.wmem_queued_bytes, self.fwd_alloc_bytes];
        parts.into_iter().map(u64::from).sum()
    }

    /// Tells whether the next packet would find no room (`sk_rcvqueues_full` in include/net/sock.h).
    /// A large one may find none before that: [`drops`](Self::drops) is exact.
    pub fn is_rcvbuf_full(&self) -> bool {
        let queued = u64::from(self.rmem_alloc_bytes) + u64::from(self.backlog_bytes);
        self.rcvbuf_bytes > 0 && queued >= self.rcvbuf_bytes.into()
    }

    /// Tells whether a sender would have to wait.
    pub fn is_sndbuf_full(&self) -> bool {
        let queued = self.wmem_queued_bytes.max(self.wmem_alloc_bytes);
        self.sndbuf_bytes > 0 && queued >= self.sndbuf_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(numbers: &[u32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
    }

    #[test]
    fn numbers_are_read_by_length() {
        let nine = [100, 1000, 20, 900, 4096, 300, 7, 50, 43];
        let memory = SocketMemory::parse(&bytes(&nine)).unwrap();
        assert_eq!((memory.rmem_alloc_bytes, memory.rcvbuf_bytes, memory.drops), (100, 1000, 43));
        assert_eq!(SocketMemory::parse(&bytes(&[&nine[..], &[9, 9]].concat())), Ok(memory));
        let old = SocketMemory { drops: 0, ..memory };
        assert_eq!(SocketMemory::parse(&bytes(&nine[..8])), Ok(old));
        assert!(SocketMemory::parse(&bytes(&nine[..7])).is_err());
    }

    #[test]
    fn what_is_held_is_counted_once() {
        let stream = SocketMemory::parse(&bytes(&[100, 1000, 20, 900, 4096, 300, 7, 50, 0]));
        let stream = stream.unwrap();
        assert_eq!(
            (stream.held_bytes(), stream.charged_bytes()),
            (100 + 50 + 300 + 4096 + 7, 4496)
        );
        let datagram = SocketMemory { wmem_queued_bytes: 0, ..stream };
        assert_eq!(datagram.held_bytes(), 100 + 50 + 20 + 4096 + 7);
        let below_zero = SocketMemory::parse(&bytes(&[0, 1, 0, 1, u32::MAX, 0, 0, 0, 0])).unwrap();
        assert_eq!(below_zero.held_bytes(), 0);
    }

    #[test]
    fn a_limit_is_hit_at_the_limit() {
        let memory = SocketMemory { rcvbuf_bytes: 150, sndbuf_bytes: 9, ..SocketMemory::default() };
        assert!(!memory.is_rcvbuf_full() && !memory.is_sndbuf_full());
        let memory = SocketMemory { rmem_alloc_bytes: 100, backlog_bytes: 50, ..memory };
        assert!(memory.is_rcvbuf_full());
        assert!(SocketMemory { wmem_alloc_bytes: 9, ..memory }.is_sndbuf_full());
        assert!(!SocketMemory::default().is_rcvbuf_full(), "none given");
    }
}
