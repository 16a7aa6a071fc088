//! Page pools (`NETDEV_CMD_PAGE_POOL_GET`) and how pages go round in them
//! (`NETDEV_CMD_PAGE_POOL_STATS_GET`).
//!
//! A pool that its driver has given up lives on until its last page is back. One that stays long leaks,
//! or somebody holds packets for long.
//!
//! Kernel: net/core/page_pool_user.c, Documentation/netlink/specs/netdev.yaml.

use serde::Serialize;

use super::super::{attributes, u32_at, uint};
use super::Netdev;
use crate::error::{Cause, Error, Result};

// include/uapi/linux/netdev.h
const CMD_PAGE_POOL_GET: u8 = 5;
const CMD_PAGE_POOL_STATS_GET: u8 = 9;
const POOL_ID: u16 = 1;
const POOL_IFINDEX: u16 = 2;
const POOL_NAPI_ID: u16 = 3;
const POOL_INFLIGHT: u16 = 4;
const POOL_INFLIGHT_MEM: u16 = 5;
const POOL_DETACH_TIME: u16 = 6;
const POOL_DMABUF: u16 = 7;
const POOL_IO_URING: u16 = 8;
const STATS_INFO: u16 = 1;
const STATS_ALLOC_FAST: u16 = 8;
const STATS_ALLOC_SLOW: u16 = 9;
const STATS_ALLOC_SLOW_HIGH_ORDER: u16 = 10;
const STATS_ALLOC_EMPTY: u16 = 11;
const STATS_ALLOC_REFILL: u16 = 12;
const STATS_ALLOC_WAIVE: u16 = 13;
const STATS_RECYCLE_CACHED: u16 = 14;
const STATS_RECYCLE_CACHE_FULL: u16 = 15;
const STATS_RECYCLE_RING: u16 = 16;
const STATS_RECYCLE_RING_FULL: u16 = 17;
const STATS_RECYCLE_RELEASED_REFCNT: u16 = 18;

/// A page pool of a driver.
#[doc(alias = "page_pool")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PagePool {
    /// Number among all of the machine.
    pub id: u64,
    /// Index of its interface; none once that has gone.
    pub ifindex: Option<u32>,
    /// Number of the NAPI that takes pages from it, if one does alone.
    pub napi_id: Option<u64>,
    /// Pages that it has taken from the machine and not given back: in the device's ring, in packets,
    /// and those that wait in its own cache and ring to be used again. In pages of the pool's order.
    pub inflight: Option<u64>,
    /// The same in bytes.
    pub inflight_bytes: Option<u64>,
    /// When the driver gave the pool up, in seconds since boot, time asleep included
    /// (`CLOCK_BOOTTIME`); none while it is in use.
    pub detach_time_s: Option<u64>,
    /// Number of the dma-buf binding whose memory it gives out, if that.
    pub dmabuf_id: Option<u32>,
    /// Whether it gives out memory of io_uring.
    pub is_io_uring: bool,
}

/// How pages went round in a page pool since it was made, under the kernel's names
/// (`struct page_pool_stats`). Numbers of pages, unless it says times.
#[doc(alias = "page_pool_stats")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PagePoolStatistics {
    /// Number of the pool.
    pub id: u64,
    /// Index of its interface, if told.
    pub ifindex: Option<u32>,
    /// Taken from the cache.
    pub alloc_fast: u64,
    /// Taken from the machine, order 0.
    pub alloc_slow: u64,
    /// Taken from the machine, higher orders.
    pub alloc_slow_high_order: u64,
    /// Times that the ring was empty, so that the machine had to give.
    pub alloc_empty: u64,
    /// Times that the cache was filled from the ring.
    pub alloc_refill: u64,
    /// Taken from the ring and not used, because they are of another NUMA node.
    pub alloc_waive: u64,
    /// Put back into the cache.
    pub recycle_cached: u64,
    /// Times that the cache was full.
    pub recycle_cache_full: u64,
    /// Put back into the ring.
    pub recycle_ring: u64,
    /// Given back to the machine, because the ring was full.
    pub recycle_ring_full: u64,
    /// Given back to the machine, because somebody else still refers to them.
    pub recycle_released_refcnt: u64,
}

impl Netdev {
    /// Returns the page pools that belong to interfaces of the namespace. Those whose driver does not
    /// name its interface are not listed: none is not nobody.
    ///
    /// # Errors
    /// The kernel does not know the request (`EOPNOTSUPP`, without `CONFIG_PAGE_POOL`), or the reply is
    /// not understood.
    pub fn page_pools(&mut self) -> Result<Vec<PagePool>> {
        self.family
            .dump(CMD_PAGE_POOL_GET, PagePool::parse)
            .map_err(|cause| Error::new("list", "page pools", cause))
    }

    /// Returns the statistics of these page pools.
    ///
    /// # Errors
    /// The kernel does not know the request (`EOPNOTSUPP`, without `CONFIG_PAGE_POOL_STATS`), or the
    /// reply is not understood.
    pub fn page_pool_statistics(&mut self) -> Result<Vec<PagePoolStatistics>> {
        self.family
            .dump(CMD_PAGE_POOL_STATS_GET, PagePoolStatistics::parse)
            .map_err(|cause| Error::new("list", "statistics of page pools", cause))
    }
}

impl PagePool {
    /// Parses the attributes of an answer.
    ///
    /// # Errors
    /// The bytes are cut, or there is no number.
    pub fn parse(body: &[u8]) -> Result<Self, Cause> {
        let (mut id, mut pool) = (None, Self::default());
        for attribute in attributes(body) {
            let (kind, value) = attribute?;
            match kind {
                POOL_ID => id = Some(uint(value)?),
                POOL_IFINDEX => pool.ifindex = Some(u32_at(value, 0)?),
                POOL_NAPI_ID => pool.napi_id = Some(uint(value)?),
                POOL_INFLIGHT => pool.inflight = Some(uint(value)?),
                POOL_INFLIGHT_MEM => pool.inflight_bytes = Some(uint(value)?),
                POOL_DETACH_TIME => pool.detach_time_s = Some(uint(value)?),
                POOL_DMABUF => pool.dmabuf_id = Some(u32_at(value, 0)?),
                POOL_IO_URING => pool.is_io_uring = true,
                _ => {}
            }
        }
        let id = id.ok_or_else(|| Cause::Malformed("a page pool without number".to_owned()))?;
        Ok(Self { id, ..pool })
    }

    /// Returns for how many seconds the driver has been done with a pool that still lives; `None` while
    /// it is in use. `now_s` is the time since boot as in `/proc/uptime`.
    pub fn detached_for_s(&self, now_s: u64) -> Option<u64> {
        self.detach_time_s.map(|then_s| now_s.saturating_sub(then_s))
    }
}

impl PagePoolStatistics {
    /// Parses the attributes of an answer.
    ///
    /// # Errors
    /// The bytes are cut, or there is no number of a pool.
    pub fn parse(body: &[u8]) -> Result<Self, Cause> {
        let (mut info, mut statistics) = (None, Self::default());
        for attribute in attributes(body) {
            let (kind, value) = attribute?;
            let field = match kind {
                STATS_INFO => {
                    info = Some(PagePool::parse(value)?);
                    continue;
                }
                STATS_ALLOC_FAST => &mut statistics.alloc_fast,
                STATS_ALLOC_SLOW => &mut statistics.alloc_slow,
                STATS_ALLOC_SLOW_HIGH_ORDER => &mut statistics.alloc_slow_high_order,
                STATS_ALLOC_EMPTY => &mut statistics.alloc_empty,
                STATS_ALLOC_REFILL => &mut statistics.alloc_refill,
                STATS_ALLOC_WAIVE => &mut statistics.alloc_waive,
                STATS_RECYCLE_CACHED => &mut statistics.recycle_cached,
                STATS_RECYCLE_CACHE_FULL => &mut statistics.recycle_cache_full,
                STATS_RECYCLE_RING => &mut statistics.recycle_ring,
                STATS_RECYCLE_RING_FULL => &mut statistics.recycle_ring_full,
                STATS_RECYCLE_RELEASED_REFCNT => &mut statistics.recycle_released_refcnt,
                _ => continue,
            };
            *field = uint(value)?;
        }
        let info = info.ok_or_else(|| Cause::Malformed("statistics without a pool".to_owned()))?;
        Ok(Self { id: info.id, ifindex: info.ifindex, ..statistics })
    }
}
