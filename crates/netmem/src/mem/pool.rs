//! A pool of equal slots over a region, with a cache per thread.
//!
//! ```text
//!   thread A: PoolHandle [cache, LIFO] --spill half--> shared stack <--refill-- [cache] PoolHandle: thread B
//!                ^ consume, completions                  ^ implicit drops          never-used slots: a counter
//! ```
//!
//! The fast path takes from and returns to the handle's own cache: no atomic read-modify-write. The
//! cache spills its cold half to the shared stack when full and refills [`PoolConfig::refill`] when
//! empty, first from the stack, then from slots that were never used. Dropping a [`Packet`] without
//! a word goes through the shared stack and is counted apart (`implicit_drop`).
//!
//! The owner byte of a slot changes only when the slot becomes or stops being an owned packet; in
//! debug builds it is also checked when a device takes or returns a slot, so that a double return
//! stops the program where it happens. In release it is counted as `corrupt` and the slot is
//! quarantined: never handed out again.
//!
//! Invariants kept here: P1, P2, P4, P7, P8 (ARCHITECTURE.md); P3 is `shared`'s.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
};

use super::{
    DropReason, Drops, Packet, Region,
    audit::{Owner, Walk},
    shared::SharedStack,
};
use crate::{Error, Result};

/// The kernel keeps this much in front of every packet for XDP programs to grow into.
pub(crate) const XDP_PACKET_HEADROOM: u32 = 256;

/// The shape of a [`Pool`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolConfig {
    /// The size of a slot in bytes: a power of two, 256 to 65,536 (AF_XDP takes 2,048 or 4,096).
    pub frame_bytes: u32,
    /// How many slots to use; `None` for as many as the region holds.
    pub frames: Option<u32>,
    /// How many free slots a thread's cache holds, 2 or more.
    pub cache: u32,
    /// How many slots move at once between a cache and the shared stack, 1 to `cache`.
    pub refill: u32,
    /// How far into its slot a new packet starts, in bytes.
    pub headroom_bytes: u32,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            frame_bytes: 2048,
            frames: None,
            cache: 128,
            refill: 64,
            headroom_bytes: XDP_PACKET_HEADROOM,
        }
    }
}

/// A slot that is changing hands: moved, never copied, made only where an owner gives it up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Slot(u32);

impl Slot {
    /// Makes the token for a slot whose previous owner has just given it up.
    pub(crate) fn claimed(index: u32) -> Self {
        Self(index)
    }

    pub(crate) fn index(&self) -> u32 {
        self.0
    }
}

const IN_POOL: u8 = 0;
const IN_DEVICE: u8 = 1;
const USER: u8 = 2;
const QUARANTINED: u8 = 3;

/// A fixed set of slots, shared by the threads that have a [`PoolHandle`] of it.
#[derive(Debug)]
#[doc(alias = "page_pool")]
pub struct Pool {
    region: Arc<Region>,
    config: PoolConfig,
    slots: u32,
    owners: Box<[AtomicU8]>,
    shared: SharedStack,
    never_used: AtomicU32,
    /// Slots that a device lost sight of: out of use, their numbers unknown (D5).
    lost_sight: AtomicU64,
    handles: Mutex<Vec<Arc<HandleStatistics>>>,
    closed: AtomicBool,
}

/// What [`Pool::close`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// Every slot was back; the memory goes with the last handle.
    Closed,
    /// This many slots are still with devices or packets; the memory stays until they are gone.
    Draining {
        /// Slots handed out and not returned.
        in_flight: u32,
    },
}

impl Pool {
    /// Divides `region` into slots.
    ///
    /// # Errors
    /// When a size is out of its range, or the region is too small for the slots.
    pub fn new(region: Arc<Region>, config: PoolConfig) -> Result<Arc<Self>> {
        let refuse = |why: String| Error::refused("make pool", "packet memory", why);
        let PoolConfig { frame_bytes, frames, cache, refill, headroom_bytes } = config;
        if !frame_bytes.is_power_of_two() || !(256..=65536).contains(&frame_bytes) {
            return Err(refuse(format!(
                "frames of {frame_bytes} bytes: not a power of two from 256 to 65536"
            )));
        }
        let room = u32::try_from(region.len_bytes() / frame_bytes as usize).unwrap_or(u32::MAX - 1);
        let slots = frames.unwrap_or(room);
        if slots == 0 || slots > room || slots == u32::MAX {
            return Err(refuse(format!("{slots} frames: the region has room for 1 to {room}")));
        }
        if cache < 2 || refill == 0 || refill > cache || headroom_bytes > frame_bytes {
            return Err(refuse(format!(
                "cache {cache}, refill {refill}, headroom {headroom_bytes}: out of range"
            )));
        }
        Ok(Arc::new(Self {
            region,
            config,
            slots,
            owners: (0..slots).map(|_| AtomicU8::new(IN_POOL)).collect(),
            shared: SharedStack::new(slots),
            never_used: AtomicU32::new(0),
            lost_sight: AtomicU64::new(0),
            handles: Mutex::default(),
            closed: AtomicBool::new(false),
        }))
    }

    /// Makes the calling thread's way into the pool. Handles are cheap to clone within the thread.
    #[must_use]
    pub fn handle(self: &Arc<Self>) -> PoolHandle {
        let statistics = Arc::new(HandleStatistics::default());
        self.handle_list().push(Arc::clone(&statistics));
        PoolHandle(Rc::new(Local {
            cache: RefCell::new(Vec::with_capacity(self.config.cache as usize)),
            statistics,
            counts: Cell::default(),
            drops: RefCell::default(),
            pool: Arc::clone(self),
        }))
    }

    /// The memory behind the pool.
    #[must_use]
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// How many slots the pool has.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// The pool's shape.
    #[must_use]
    pub fn config(&self) -> PoolConfig {
        self.config
    }

    /// Refuses further allocation and says whether anything is still out (P7).
    pub fn close(&self) -> Drain {
        self.closed.store(true, Ordering::Relaxed);
        match self.in_flight() {
            0 => Drain::Closed,
            in_flight => Drain::Draining { in_flight },
        }
    }

    /// Slots handed out and not returned, over all handles: `hold - release`, right across the wrap
    /// of both (P6). Exact at rest.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        let handles = self.handle_list();
        handles.iter().fold(0u32, |sum, handle| {
            let hold = handle.hold.load(Ordering::Relaxed);
            sum.wrapping_add(hold).wrapping_sub(handle.release.load(Ordering::Relaxed))
        })
    }

    /// The statistics of all handles, summed.
    #[must_use]
    pub fn statistics(&self) -> PoolStatistics {
        let mut sum = PoolStatistics::default();
        for handle in self.handle_list().iter() {
            handle.add_to(&mut sum);
        }
        sum
    }

    /// Lists the slots that the pool itself can see: shared, never used, owned by packets,
    /// quarantined. Exact at rest; each thread adds its [`PoolHandle::walk`].
    #[must_use]
    pub fn walk(&self) -> Walk {
        let mut walk = Walk::new();
        self.shared.walk(|slot| walk.found(slot, Owner::Free));
        for slot in self.never_used.load(Ordering::Relaxed).min(self.slots)..self.slots {
            walk.found(slot, Owner::Free);
        }
        for (slot, owner) in (0..).zip(&self.owners) {
            match owner.load(Ordering::Relaxed) {
                USER => walk.found(slot, Owner::User),
                QUARANTINED => walk.found(slot, Owner::Quarantined),
                _ => {}
            }
        }
        walk.unseen(Owner::Quarantined, self.lost_sight.load(Ordering::Relaxed));
        walk
    }

    fn handle_list(&self) -> std::sync::MutexGuard<'_, Vec<Arc<HandleStatistics>>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves a slot's owner byte; `false` means that it was not where its owner said (P2).
    #[inline]
    fn transfer(&self, slot: u32, from: &[u8], to: u8) -> bool {
        let owner = &self.owners[slot as usize];
        // Relaxed: the slot's owner is the only writer, and hand-overs between threads are ordered
        // by the shared stack (P3).
        let now = owner.load(Ordering::Relaxed);
        if from.contains(&now) {
            owner.store(to, Ordering::Relaxed);
            return true;
        }
        debug_assert!(
            false,
            "slot {slot} is in state {now}, expected one of {from:?}: double return?"
        );
        owner.store(QUARANTINED, Ordering::Relaxed);
        false
    }

    /// Takes up to `max` never-used slots onto `out`, so that the lowest ends on top.
    fn take_never_used(&self, max: u32, out: &mut Vec<u32>) -> usize {
        let mut start = self.never_used.load(Ordering::Relaxed);
        loop {
            let end = start.saturating_add(max).min(self.slots);
            if start >= end {
                return 0;
            }
            // Relaxed: nothing was ever written to these slots but the kernel's zeroes.
            match self.never_used.compare_exchange_weak(
                start,
                end,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    out.extend((start..end).rev());
                    return (end - start) as usize;
                }
                Err(now) => start = now,
            }
        }
    }
}

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
struct HandleStatistics {
    /// Allocations served from the cache as it was.
    fast: AtomicU64,
    /// Allocations that needed never-used slots.
    slow: AtomicU64,
    /// Times the cache and the shared stack were both empty.
    empty: AtomicU64,
    /// Allocations that needed a refill from the shared stack.
    refill: AtomicU64,
    /// Allocations that found nothing anywhere.
    fail: AtomicU64,
    /// Slots returned to the cache.
    cached: AtomicU64,
    /// Times the cache was full and spilled.
    cache_full: AtomicU64,
    /// Slots that went to the shared stack.
    ring: AtomicU64,
    /// Packets dropped without a word (a part of `ring`).
    implicit_drop: AtomicU64,
    /// Slots that came back in a state that their giver cannot have had them in.
    corrupt: AtomicU64,
    hold: AtomicU32,
    release: AtomicU32,
}

impl HandleStatistics {
    fn add_to(&self, sum: &mut PoolStatistics) {
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
fn bump(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

#[inline]
fn bump_wrapping(counter: &AtomicU32, n: u32) {
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

/// A thread's way into a [`Pool`]. `!Send`: make one in the thread that uses it.
///
/// ```compile_fail
/// fn needs_send<T: Send>() {}
/// needs_send::<netmem::mem::PoolHandle>(); // K7
/// ```
#[derive(Debug, Clone)]
#[doc(alias = "napi_alloc_cache")]
pub struct PoolHandle(Rc<Local>);

#[derive(Debug)]
struct Local {
    cache: RefCell<Vec<u32>>,
    statistics: Arc<HandleStatistics>,
    counts: Cell<Ends>,
    drops: RefCell<Drops>,
    pool: Arc<Pool>,
}

/// What this thread's owned packets came from and ended as, besides drops.
#[derive(Debug, Clone, Copy, Default)]
struct Ends {
    created: u64,
    consumed: u64,
}

impl PoolHandle {
    /// The pool that this is a handle of.
    #[must_use]
    pub fn pool(&self) -> &Arc<Pool> {
        &self.0.pool
    }

    /// Takes a free slot as an empty packet; `None` when there is none, which is counted.
    #[must_use]
    pub fn alloc(&self) -> Option<Packet> {
        let slot = self.take()?;
        let ends = self.0.counts.get();
        self.0.counts.set(Ends { created: ends.created + 1, ..ends });
        if !self.0.pool.transfer(slot, &[IN_POOL], USER) {
            bump(&self.0.statistics.corrupt, 1);
            return None;
        }
        Some(Packet::new(self.clone(), Slot(slot), self.0.pool.config.headroom_bytes, 0))
    }

    /// What this thread's owned packets began and ended as. Devices add their own counts.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let ends = self.0.counts.get();
        Counts {
            created: ends.created,
            consumed: ends.consumed,
            dropped: *self.0.drops.borrow(),
            ..Counts::default()
        }
    }

    /// Lists the slots in this thread's cache, with [`counts`](Self::counts).
    #[must_use]
    pub fn walk(&self) -> Walk {
        let mut walk = Walk::new();
        walk.count(&self.counts());
        for &slot in self.0.cache.borrow().iter() {
            walk.found(slot, Owner::Free);
        }
        walk
    }

    /// Moves every cached slot to the shared stack, where other threads find it (P4).
    pub fn flush(&self) {
        self.0.flush();
    }

    /// Takes up to `max` slots for a device, handing each to `give` as its UMEM offset in bytes.
    pub(crate) fn take_for_device(&self, max: u32, mut give: impl FnMut(u64)) -> u32 {
        let shift = self.0.pool.config.frame_bytes.trailing_zeros();
        for n in 0..max {
            let Some(slot) = self.take() else { return n };
            if cfg!(debug_assertions) {
                self.0.pool.transfer(slot, &[IN_POOL], IN_DEVICE);
            }
            give(u64::from(slot) << shift);
        }
        max
    }

    /// Takes slots back from a device, named by any UMEM offset inside them.
    pub(crate) fn return_from_device(&self, offsets: impl Iterator<Item = u64>) {
        let shift = self.0.pool.config.frame_bytes.trailing_zeros();
        let mut count = 0;
        for offset in offsets {
            #[allow(clippy::cast_possible_truncation, reason = "slot numbers are u32")]
            let slot = (offset >> shift) as u32;
            if cfg!(debug_assertions) {
                self.0.pool.transfer(slot, &[IN_DEVICE], IN_POOL);
            }
            self.0.put(slot);
            count += 1;
        }
        bump(&self.0.statistics.cached, count);
    }

    /// Turns a slot that a device has delivered into an owned packet.
    pub(crate) fn adopt(&self, slot: Slot, headroom: u32, len: u32) -> Packet {
        if !self.0.pool.transfer(slot.0, &[IN_POOL, IN_DEVICE], USER) {
            bump(&self.0.statistics.corrupt, 1);
        }
        Packet::new(self.clone(), slot, headroom, len)
    }

    /// Turns an owned packet's slot into one that a device holds.
    pub(crate) fn release_to_device(&self, slot: &Slot) {
        if !self.0.pool.transfer(slot.0, &[USER], IN_DEVICE) {
            bump(&self.0.statistics.corrupt, 1);
        }
    }

    /// Counts `count` slots as out of use until the region goes, without naming them (D5).
    pub(crate) fn quarantine(&self, count: u64) {
        self.0.pool.lost_sight.fetch_add(count, Ordering::Relaxed);
    }

    /// Ends an owned packet whose program said why.
    pub(crate) fn end(&self, slot: &Slot, ending: Ending) {
        let ends = self.0.counts.get();
        match ending {
            Ending::Consumed => {
                self.0.counts.set(Ends { consumed: ends.consumed + 1, ..ends });
            }
            Ending::Dropped(reason) | Ending::Implicit(reason) => {
                self.0.drops.borrow_mut()[reason] += 1;
            }
        }
        if !self.0.pool.transfer(slot.0, &[USER], IN_POOL) {
            bump(&self.0.statistics.corrupt, 1);
            return;
        }
        if matches!(ending, Ending::Implicit(_)) {
            bump(&self.0.statistics.implicit_drop, 1);
            bump(&self.0.statistics.ring, 1);
            bump_wrapping(&self.0.statistics.release, 1);
            self.0.pool.shared.push(&[slot.0]);
        } else {
            bump(&self.0.statistics.cached, 1);
            self.0.put(slot.0);
        }
    }

    #[inline]
    fn take(&self) -> Option<u32> {
        let mut cache = self.0.cache.borrow_mut();
        if let Some(slot) = cache.pop() {
            bump(&self.0.statistics.fast, 1);
            bump_wrapping(&self.0.statistics.hold, 1);
            return Some(slot);
        }
        self.0.refill(&mut cache)
    }
}

/// How an owned packet ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Consumed,
    Dropped(DropReason),
    Implicit(DropReason),
}

impl Local {
    #[cold]
    fn refill(&self, cache: &mut Vec<u32>) -> Option<u32> {
        let statistics = &self.statistics;
        let refill = self.pool.config.refill;
        if self.pool.closed.load(Ordering::Relaxed) {
            bump(&statistics.fail, 1);
            return None;
        }
        if self.pool.shared.pop(refill as usize, cache) > 0 {
            bump(&statistics.refill, 1);
        } else {
            bump(&statistics.empty, 1);
            let new = self.pool.take_never_used(refill, cache);
            bump(if new > 0 { &statistics.slow } else { &statistics.fail }, 1);
        }
        let slot = cache.pop()?;
        bump_wrapping(&statistics.hold, 1);
        Some(slot)
    }

    #[inline]
    fn put(&self, slot: u32) {
        let mut cache = self.cache.borrow_mut();
        if cache.len() == self.pool.config.cache as usize {
            self.spill(&mut cache);
        }
        cache.push(slot);
        bump_wrapping(&self.statistics.release, 1);
    }

    /// Moves the cold end of a full cache to the shared stack.
    #[cold]
    fn spill(&self, cache: &mut Vec<u32>) {
        let cold = self.pool.config.refill as usize;
        self.pool.shared.push(&cache[..cold]);
        cache.drain(..cold);
        bump(&self.statistics.cache_full, 1);
        bump(&self.statistics.ring, cold as u64);
    }

    fn flush(&self) {
        let mut cache = self.cache.borrow_mut();
        self.pool.shared.push(&cache);
        bump(&self.statistics.ring, cache.len() as u64);
        cache.clear();
    }
}

impl Drop for Local {
    /// P8: the cache of a thread that ends goes where others find it.
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests;
