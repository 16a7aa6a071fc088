//! What the kernel counts for each link (`struct rtnl_link_stats64`, by `RTM_GETSTATS`).
//!
//! ```text
//!  struct if_stats_msg, 12 bytes: 0 family  1 pad (3)  4 ifindex  8 filter      then attributes
//! ```
//! The connection's namespace decides which links: `/sys/class/net` shows those of the namespace that
//! it was mounted in, and is not asked. The counters have 8 bytes, but some drivers keep theirs in 4:
//! [`LinkCounters::grown`] knows the wrap of those.
//!
//! Kernel: 4.7 (net/core/rtnetlink.c); `rx_nohandler` 4.6, `rx_otherhost_dropped` 5.19.

use netlink_packet_core::Emitable;
use nix::libc;
use serde::Serialize;

use super::{Request, Route, attributes, cut, u32_at, u64_at};
use crate::error::{Cause, Error, Result};

const HEADER_LEN_BYTES: usize = 12;
/// `IFLA_STATS_LINK_64`, and the filter's bit for it.
const STATS_LINK_64: u16 = 1;
const FILTER_LINK_64: u32 = 1;

/// Counters of a link since it was made, or since its driver began anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LinkCounters {
    /// Index of its interface.
    pub ifindex: u32,
    /// Packets received and handed to the stack.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes received, link headers included.
    pub rx_bytes: u64,
    /// Bytes sent, link headers included.
    pub tx_bytes: u64,
    /// Damaged packets received: the sum of length, overrun, checksum and frame errors.
    pub rx_errors: u64,
    /// Packets that could not be sent: the sum of those below.
    pub tx_errors: u64,
    /// Packets received and not handed on, for want of memory or a taker, in driver and kernel.
    pub rx_dropped: u64,
    /// Packets to be sent and dropped on the way, for want of room.
    pub tx_dropped: u64,
    /// Multicast packets received.
    pub multicast: u64,
    /// Packets that were longer than the receiver's buffer.
    pub rx_over_errors: u64,
    /// Packets that found the device's receive queue full.
    pub rx_fifo_errors: u64,
    /// Packets that the device counts as missed, because the host gave no buffers.
    pub rx_missed_errors: u64,
    /// Packets that the device could not read in time for sending.
    pub tx_fifo_errors: u64,
    /// Packets lost for want of a carrier.
    pub tx_carrier_errors: u64,
    /// Packets dropped by the kernel because the link is no active part of a bond or team.
    pub rx_nohandler: u64,
    /// Packets to another host's address, dropped; none before kernel 5.19.
    pub rx_otherhost_dropped: Option<u64>,
}

impl Route {
    /// Returns the counters of every link of the connection's namespace.
    ///
    /// # Errors
    /// The reply is not understood.
    pub fn link_counters(&mut self) -> Result<Vec<LinkCounters>> {
        let request = Request::dump(libc::RTM_GETSTATS, &AllLinks);
        self.connection
            .query(&request, |_, body| LinkCounters::parse(body))
            .map_err(|cause| Error::new("list", "counters of links", cause))
    }
}

impl LinkCounters {
    /// Parses an answer: `struct if_stats_msg` and the attributes behind it.
    ///
    /// # Errors
    /// The bytes are cut, or there are no counters.
    pub fn parse(body: &[u8]) -> Result<Self, Cause> {
        let header = body.first_chunk::<HEADER_LEN_BYTES>().ok_or_else(|| cut("link", body))?;
        let ifindex = u32_at(header, 4)?;
        for attribute in attributes(&body[HEADER_LEN_BYTES..]) {
            if let (STATS_LINK_64, value) = attribute? {
                return Self::read(ifindex, value);
            }
        }
        Err(Cause::Malformed(format!("link {ifindex} has no counters")))
    }

    /// Returns by how much a counter has grown between two looks, or `None` if it began anew.
    ///
    /// One that fell from the upper half of 2^32 to the lower has wrapped there, as those do that the
    /// driver keeps in 4 bytes: right as long as it grows by less than 2^31 between two looks.
    pub fn grown(before: u64, now: u64) -> Option<u64> {
        const WRAP: u64 = 1 << 32;
        match now.checked_sub(before) {
            Some(grown) => Some(grown),
            None if (WRAP / 2..WRAP).contains(&before) && now < WRAP / 2 => {
                Some(now + WRAP - before)
            }
            None => None,
        }
    }

    /// Reads `struct rtnl_link_stats64`: `u64`s in this order, of which a newer kernel may have more.
    fn read(ifindex: u32, value: &[u8]) -> Result<Self, Cause> {
        let at = |index: usize| u64_at(value, 8 * index);
        Ok(Self {
            ifindex,
            rx_packets: at(0)?,
            tx_packets: at(1)?,
            rx_bytes: at(2)?,
            tx_bytes: at(3)?,
            rx_errors: at(4)?,
            tx_errors: at(5)?,
            rx_dropped: at(6)?,
            tx_dropped: at(7)?,
            multicast: at(8)?,
            rx_over_errors: at(11)?,
            rx_fifo_errors: at(14)?,
            rx_missed_errors: at(15)?,
            tx_carrier_errors: at(17)?,
            tx_fifo_errors: at(18)?,
            rx_nohandler: at(23)?,
            rx_otherhost_dropped: at(24).ok(),
        })
    }
}

/// `struct if_stats_msg` for all links.
struct AllLinks;

impl Emitable for AllLinks {
    fn buffer_len(&self) -> usize {
        HEADER_LEN_BYTES
    }

    fn emit(&self, buffer: &mut [u8]) {
        buffer[..HEADER_LEN_BYTES].fill(0);
        buffer[8..12].copy_from_slice(&FILTER_LINK_64.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Link 7; each counter is its number and 100.
    fn message(counters: u64) -> Vec<u8> {
        let values: Vec<_> = (0..counters).flat_map(|index| (100 + index).to_ne_bytes()).collect();
        let len = u16::try_from(4 + values.len()).unwrap();
        let header = [[0; 4], 7u32.to_ne_bytes(), FILTER_LINK_64.to_ne_bytes()].concat();
        [&header[..], &len.to_ne_bytes(), &STATS_LINK_64.to_ne_bytes(), &values].concat()
    }

    #[test]
    fn counters_are_read_by_length() {
        let now = LinkCounters::parse(&message(25)).unwrap();
        assert_eq!((now.ifindex, now.rx_dropped, now.tx_dropped), (7, 106, 107));
        assert_eq!((now.rx_fifo_errors, now.rx_missed_errors, now.rx_nohandler), (114, 115, 123));
        assert_eq!(now.rx_otherhost_dropped, Some(124));
        let old = LinkCounters { rx_otherhost_dropped: None, ..now };
        assert_eq!(LinkCounters::parse(&message(24)), Ok(old));
        assert_eq!(LinkCounters::parse(&message(99)), Ok(now));
        assert!(LinkCounters::parse(&message(23)).is_err());
        assert!(LinkCounters::parse(&message(25)[..HEADER_LEN_BYTES]).is_err());
    }

    #[test]
    fn the_wrap_of_four_bytes_is_known() {
        assert_eq!(LinkCounters::grown(5, 7), Some(2));
        assert_eq!(LinkCounters::grown(u64::from(u32::MAX) - 1, 3), Some(5));
        assert_eq!(LinkCounters::grown(1000, 3), None, "began anew");
        assert_eq!(LinkCounters::grown(1 << 40, 3), None, "of eight bytes");
        assert_eq!(LinkCounters::grown(0xffff_ffff, 0xffff_0000), None);
    }
}
