//! A thread's cache of free slots, and how its packets begin and end.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use super::{
    IN_DEVICE, IN_POOL, Pool, Slot, USER,
    statistics::{Counts, HandleStatistics, bump, bump_wrapping},
};
use crate::{
    mem::{
        DropReason, Drops, Packet,
        audit::{Owner, Walk},
    },
    sync::{Arc, Ordering},
};

/// A thread's way into a [`Pool`]. `!Send`: make one in the thread that uses it.
///
/// ```compile_fail
/// fn needs_send<T: Send>() {}
/// needs_send::<netmem::mem::PoolHandle>(); // K7
/// ```
#[derive(Debug, Clone)]
#[doc(alias = "napi_alloc_cache")]
pub struct PoolHandle(pub(super) Rc<Local>);

#[derive(Debug)]
pub(super) struct Local {
    pub(super) cache: RefCell<Vec<u32>>,
    pub(super) statistics: Arc<HandleStatistics>,
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
    pub(super) fn of(pool: &Arc<Pool>) -> Self {
        let statistics = Arc::new(HandleStatistics::default());
        pool.handle_list().push(Arc::clone(&statistics));
        Self(Rc::new(Local {
            cache: RefCell::new(Vec::with_capacity(pool.config.cache as usize)),
            statistics,
            counts: Cell::default(),
            drops: RefCell::default(),
            pool: Arc::clone(pool),
        }))
    }

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
        let size = self.0.pool.frame_size;
        for n in 0..max {
            let Some(slot) = self.take() else { return n };
            if cfg!(debug_assertions) {
                self.0.pool.transfer(slot, &[IN_POOL], IN_DEVICE);
            }
            give(size.start_of(slot));
        }
        max
    }

    /// Takes slots back from a device, named by any UMEM offset inside them.
    pub(crate) fn return_from_device(&self, offsets: impl Iterator<Item = u64>) {
        let size = self.0.pool.frame_size;
        let mut count = 0;
        for offset in offsets {
            let slot = size.slot_of(offset);
            if cfg!(debug_assertions) {
                self.0.pool.transfer(slot, &[IN_DEVICE], IN_POOL);
            }
            self.0.put(slot);
            count += 1;
        }
        bump(&self.0.statistics.cached, count);
    }

    /// Turns a slot that a device has delivered into an owned packet; `None` when it is one already:
    /// then the ring named a slot that the device did not have, and it is quarantined.
    pub(crate) fn adopt(&self, slot: Slot, headroom: u32, len: u32) -> Option<Packet> {
        if !self.0.pool.transfer(slot.0, &[IN_POOL, IN_DEVICE], USER) {
            bump(&self.0.statistics.corrupt, 1);
            return None;
        }
        Some(Packet::new(self.clone(), slot, headroom, len))
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
        // Relaxed: who closes a pool waits for slots to come back, not for the last one to go out.
        if self.0.pool.closed.load(Ordering::Relaxed) {
            bump(&self.0.statistics.fail, 1);
            return None;
        }
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
