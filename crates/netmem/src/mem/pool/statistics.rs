//! What a pool and its threads count.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::mem::Drops;

/// A pool's counters, with the kernel's names (`include/net/page_pool/types.h`, kernel 6.18) where
/// they mean the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented at the counters they sum, below")]
pub struct PoolStatistics {
    pub alloc_fast: u64,
    pub alloc_slow: u64,
    pub alloc_empty: u64,
    pub alloc_refill: u64,
    pub alloc_fail: u64,
    pub recycle_cached: u64,
    pub recycle_cache_full: u64,
    pub recycle_ring: u64,
    pub implicit_drop: u64,
    pub corrupt: u64,
}

/// One thread's counters: written by it alone with plain stores, read by anybody.
#[derive(Debug, Default)]
pub(super) struct HandleStatistics {
    /// Allocations served from the cache as it was.
    pub(super) fast: AtomicU64,
    /// Allocations that needed never-used slots.
    pub(super) slow: AtomicU64,
    /// Times the cache and the shared stack were both empty.
    pub(super) empty: AtomicU64,
    /// Allocations that needed a refill from the shared stack.
    pub(super) refill: AtomicU64,
    /// Allocations that found nothing anywhere.
    pub(super) fail: AtomicU64,
    /// Slots returned to the cache.
    pub(super) cached: AtomicU64,
    /// Times the cache was full and spilled.
    pub(super) cache_full: AtomicU64,
    /// Slots that went to the shared stack.
    pub(super) ring: AtomicU64,
    /// Packets dropped without a word (a part of `ring`).
    pub(super) implicit_drop: AtomicU64,
    /// Slots that came back in a state that their giver cannot have had them in.
    pub(super) corrupt: AtomicU64,
    pub(super) hold: AtomicU32,
    pub(super) release: AtomicU32,
}

impl HandleStatistics {
    pub(super) fn add_to(&self, sum: &mut PoolStatistics) {
        let pairs = [
            (&mut sum.alloc_fast, &self.fast),
            (&mut sum.alloc_slow, &self.slow),
            (&mut sum.alloc_empty, &self.empty),
            (&mut sum.alloc_refill, &self.refill),
            (&mut sum.alloc_fail, &self.fail),
            (&mut sum.recycle_cached, &self.cached),
            (&mut sum.recycle_cache_full, &self.cache_full),
            (&mut sum.recycle_ring, &self.ring),
            (&mut sum.implicit_drop, &self.implicit_drop),
            (&mut sum.corrupt, &self.corrupt),
        ];
        for (total, counter) in pairs {
            *total += counter.load(Ordering::Relaxed);
        }
    }
}

/// Adds to a counter that the calling thread alone writes: no locked instruction.
#[inline]
pub(super) fn bump(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

#[inline]
pub(super) fn bump_wrapping(counter: &AtomicU32, n: u32) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

/// How packets of one thread began and ended: `received + created + cloned = transmitted + consumed
/// + dropped + held` (K6).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that a device delivered.
    pub received: u64,
    /// Packets that the program allocated.
    pub created: u64,
    /// Packets that share another's bytes.
    pub cloned: u64,
    /// Packets that a device sent: its completion was reaped.
    pub transmitted: u64,
    /// Packets that ended because the program was done with them.
    pub consumed: u64,
    /// Packets that were dropped, by reason.
    pub dropped: Drops,
}

impl Counts {
    /// Adds every counter of `other`.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.created += other.created;
        self.cloned += other.cloned;
        self.transmitted += other.transmitted;
        self.consumed += other.consumed;
        self.dropped.add(&other.dropped);
    }

    /// How many packets must still be held for the identity to hold; negative when more ended than
    /// began.
    #[must_use]
    pub fn outstanding(&self) -> i128 {
        let began = i128::from(self.received) + i128::from(self.created) + i128::from(self.cloned);
        let ended = i128::from(self.transmitted)
            + i128::from(self.consumed)
            + i128::from(self.dropped.total());
        began - ended
    }
}
