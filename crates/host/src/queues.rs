//! From a queue to what polls it, interrupts for it, feeds it and is bound to it.
//!
//! ```text
//!   queue ---napi id--> NAPI --irq--> interrupt           AF_XDP: bound or not; with socket diagnosis
//!     |                   ^                               also which socket
//!     +-- AF_XDP          +--napi id-- page pool(s)       statistics: the driver's, for that queue
//! ```
//! The parts come from different requests, a moment apart. One that the kernel does not answer is an
//! [`Unavailable`] of its own: a queue without page pool and "page pools are not told" differ.
//!
//! Kernel: that of [`Netdev`]; page pools are joined by the NAPI that takes pages from them alone, which
//! their driver has to say.

use serde::Serialize;

use crate::netlink::{
    Direction, Napi, Netdev, PagePool, PagePoolStatistics, Queue, QueueStatistics, SockDiag,
    XdpSocket,
};
use crate::source::{Reading, Root, Unavailable, or_null, read_with};

/// The queues of the calling thread's network namespace, and what belongs to each.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct QueueMap {
    /// In the order of interface, direction and number.
    pub queues: Vec<MappedQueue>,
    /// Page pools that belong to no queue: given up by their driver, or taken from by several NAPIs.
    pub other_pools: Vec<PoolState>,
    /// What is not known, and why.
    pub gaps: Vec<Unavailable>,
}

/// A queue and what belongs to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MappedQueue {
    /// The queue.
    pub queue: Queue,
    /// What polls it, if the driver has said.
    pub napi: Option<Napi>,
    /// The page pools that its NAPI takes pages from; of receive queues only.
    pub pools: Vec<PoolState>,
    /// The AF_XDP sockets that are bound to it, where socket diagnosis tells; whether one is, says
    /// [`Queue::is_xdp_socket`].
    pub xdp_sockets: Vec<XdpSocket>,
    /// What its driver counts, if it counts.
    pub statistics: Option<QueueStatistics>,
}

/// A page pool, its statistics, and its age without a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PoolState {
    /// The pool.
    pub pool: PagePool,
    /// How its pages went round, where the kernel counts that.
    pub statistics: Option<PagePoolStatistics>,
    /// For how many seconds its driver has been done with it; none while it is in use.
    pub detached_for_s: Option<u64>,
}

/// What the kernel answered to each request.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(clippy::exhaustive_structs, reason = "recorded answers are joined as well")]
pub struct QueueSources {
    /// Queues.
    #[serde(serialize_with = "or_null")]
    pub queues: Reading<Vec<Queue>>,
    /// NAPIs.
    #[serde(serialize_with = "or_null")]
    pub napis: Reading<Vec<Napi>>,
    /// Page pools.
    #[serde(serialize_with = "or_null")]
    pub pools: Reading<Vec<PagePool>>,
    /// Their statistics.
    #[serde(serialize_with = "or_null")]
    pub pool_statistics: Reading<Vec<PagePoolStatistics>>,
    /// What drivers count.
    #[serde(serialize_with = "or_null")]
    pub queue_statistics: Reading<Vec<QueueStatistics>>,
    /// AF_XDP sockets.
    #[serde(serialize_with = "or_null")]
    pub xdp_sockets: Reading<Vec<XdpSocket>>,
    /// Seconds since boot, time asleep included.
    #[serde(serialize_with = "or_null")]
    pub uptime_s: Reading<u64>,
}

impl QueueSources {
    /// Asks for everything, in the calling thread's network namespace.
    ///
    /// # Errors
    /// There is no generic netlink family `netdev` (kernel before 6.3).
    pub fn read(root: &Root) -> Reading<Self> {
        let mut netdev = Netdev::open().map_err(|error| Unavailable::from(&error))?;
        let told = |error| Unavailable::from(&error);
        Ok(Self {
            queues: netdev.queues().map_err(told),
            napis: netdev.napis().map_err(told),
            pools: netdev.page_pools().map_err(told),
            pool_statistics: netdev.page_pool_statistics().map_err(|error| {
                let unavailable = Unavailable::from(&error);
                match error.errno() {
                    Some(nix::libc::EOPNOTSUPP) => Unavailable {
                        reason: "CONFIG_PAGE_POOL_STATS is off".to_owned(),
                        ..unavailable
                    },
                    _ => unavailable,
                }
            }),
            queue_statistics: netdev.queue_statistics().map_err(told),
            xdp_sockets: SockDiag::open().and_then(|mut diag| diag.xdp_sockets()).map_err(told),
            uptime_s: read_with(&root.proc("uptime"), parse_uptime),
        })
    }
}

impl QueueMap {
    /// Asks for everything and joins it, in the calling thread's network namespace.
    ///
    /// # Errors
    /// The kernel does not tell of queues (before 6.8).
    pub fn read(root: &Root) -> Reading<Self> {
        Self::join(QueueSources::read(root)?)
    }

    /// Joins answers.
    ///
    /// # Errors
    /// There is none about queues.
    pub fn join(sources: QueueSources) -> Reading<Self> {
        let mut gaps = Vec::new();
        let mut queues = sources.queues?;
        queues.sort_unstable();
        let napis = or_gap(sources.napis, &mut gaps);
        let pools = or_gap(sources.pools, &mut gaps);
        let statistics = or_gap(sources.pool_statistics, &mut gaps);
        let counted = or_gap(sources.queue_statistics, &mut gaps);
        let sockets = or_gap(sources.xdp_sockets, &mut gaps);
        let uptime_s = sources.uptime_s.map_err(|gap| gaps.push(gap)).ok();
        let state = |pool: PagePool| PoolState {
            pool,
            statistics: statistics.iter().find(|of| of.id == pool.id).copied(),
            detached_for_s: uptime_s.and_then(|now_s| pool.detached_for_s(now_s)),
        };
        let mut pools: Vec<_> = pools.into_iter().map(state).collect();
        let queues = queues.into_iter().map(|queue| {
            let napi = queue.napi_id.and_then(|id| napis.iter().find(|napi| napi.id == id));
            let is_bound = |s: &&XdpSocket| (s.ifindex, s.queue) == (queue.ifindex, queue.id);
            let is_counted = |of: &&QueueStatistics| {
                (of.ifindex, of.direction, of.queue) == (queue.ifindex, queue.direction, queue.id)
            };
            MappedQueue {
                queue,
                napi: napi.copied(),
                pools: pools.iter().filter(|state| feeds(&state.pool, &queue)).copied().collect(),
                xdp_sockets: sockets.iter().filter(is_bound).cloned().collect(),
                statistics: counted.iter().find(is_counted).copied(),
            }
        });
        let queues: Vec<_> = queues.collect();
        pools.retain(|state| !queues.iter().any(|mapped| feeds(&state.pool, &mapped.queue)));
        Ok(Self { queues, other_pools: pools, gaps })
    }
}

/// Whether a receive queue's NAPI takes pages from this pool.
fn feeds(pool: &PagePool, queue: &Queue) -> bool {
    let (Some(pool_napi), Some(queue_napi)) = (pool.napi_id, queue.napi_id) else { return false };
    queue.direction == Direction::Rx
        && pool.detach_time_s.is_none()
        && pool_napi == u64::from(queue_napi)
        && pool.ifindex == Some(queue.ifindex)
}

fn or_gap<T>(reading: Reading<Vec<T>>, gaps: &mut Vec<Unavailable>) -> Vec<T> {
    reading.unwrap_or_else(|gap| {
        gaps.push(gap);
        Vec::new()
    })
}

/// Reads the whole seconds of `/proc/uptime`.
fn parse_uptime(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    text.split(['.', ' ']).next()?.parse().ok()
}
