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
        DropReason, Drops, Packet, Rest,
        audit::{Owner, Walk},
    },
    sync::{Arc, Ordering},
};

/// How many frame lists of ended chains a thread keeps for the next ones.
const SPARE_RESTS: usize = 64;

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
    /// Slots of owned packets behind their first frames.
    continued: Cell<u64>,
    /// Frame lists of chains that have ended, for the next ones.
    #[allow(clippy::vec_box, reason = "packets hold them boxed")]
    spare_rests: RefCell<Vec<Box<Rest>>>,
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
            continued: Cell::default(),
            spare_rests: RefCell::default(),
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
        Some(Packet::new(self.clone(), Slot(slot), (self.0.pool.config.headroom_bytes, 0), None))
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
        walk.continued(self.0.continued.get());
        for &slot in self.0.cache.borrow().iter() {
            walk.found(slot, Owner::Free);
        }
        walk
    }

    /// Moves every cached slot to the shared stack, where other threads find it (P4).
    pub fn flush(&self) {
        self.0.flush();
    }

    /// Takes up to `max` slots for a device, handing each to `give` as its UMEM offset in bytes. `give`
    /// does not come back to this handle.
    pub(crate) fn take_for_device(&self, max: u32, mut give: impl FnMut(u64)) -> u32 {
        let size = self.0.pool.frame_size;
        let mut hand_over = |slot: u32| {
            if cfg!(debug_assertions) {
                self.0.pool.transfer(slot, &[IN_POOL], IN_DEVICE);
            }
            give(size.start_of(slot));
        };
        let mut given = 0;
        while given < max {
            // The first by the way that refills an empty cache, then what is cached.
            let Some(slot) = self.take() else { break };
            hand_over(slot);
            let mut cache = self.0.cache.borrow_mut();
            let rest = (max - given - 1).min(u32::try_from(cache.len()).unwrap_or(u32::MAX));
            let kept = cache.len() - rest as usize;
            cache[kept..].iter().rev().for_each(|&slot| hand_over(slot));
            cache.truncate(kept);
            bump(&self.0.statistics.fast, rest.into());
            bump_wrapping(&self.0.statistics.hold, rest);
            given += 1 + rest;
        }
        given
    }

    /// Takes slots back from a device, named by any UMEM offset inside them.
    pub(crate) fn return_from_device(&self, offsets: impl Iterator<Item = u64>) {
        let size = self.0.pool.frame_size;
        let mut count = 0;
        let mut cache = self.0.cache.borrow_mut();
        for offset in offsets {
            let slot = size.slot_of(offset);
            if cfg!(debug_assertions) {
                self.0.pool.transfer(slot, &[IN_DEVICE], IN_POOL);
            }
            if cache.len() == self.0.pool.config.cache as usize {
                self.0.spill(&mut cache);
            }
            cache.push(slot);
            count += 1;
        }
        bump_wrapping(&self.0.statistics.release, count);
        bump(&self.0.statistics.cached, count.into());
    }

    /// Turns a slot that a device has delivered into an owned packet; `None` when it is one already:
    /// then the ring named a slot that the device did not have, and it is quarantined.
    pub(crate) fn adopt(
        &self,
        slot: Slot,
        (headroom, len): (u32, u32),
        rest: Option<Box<Rest>>,
    ) -> Option<Packet> {
        let is_ours = |slot: u32| self.0.pool.transfer(slot, &[IN_POOL, IN_DEVICE], USER);
        let first_is_ours = is_ours(slot.0);
        let mut lost = u64::from(!first_is_ours);
        let mut rest = rest;
        if let Some(rest) = &mut rest {
            rest.retain(|frame| {
                let is_ours = is_ours(frame.slot.0);
                lost += u64::from(!is_ours);
                is_ours
            });
        }
        if lost > 0 {
            bump(&self.0.statistics.corrupt, lost);
            if first_is_ours {
                self.give_back(&slot);
            }
            if let Some(rest) = rest {
                rest.frames().iter().for_each(|frame| self.give_back(&frame.slot));
                self.recycle_rest(rest);
            }
            return None;
        }
        let behind = rest.as_ref().map_or(0, |rest| rest.frames().len() as u64);
        self.0.continued.set(self.0.continued.get() + behind);
        Some(Packet::new(self.clone(), slot, (headroom, len), rest))
    }

    /// An empty frame list.
    pub(crate) fn spare_rest(&self) -> Box<Rest> {
        let spare = self.0.spare_rests.borrow_mut().pop();
        spare.unwrap_or_else(|| Box::new(Rest::of(&self.0.pool)))
    }

    /// Takes back a frame list whose slots have another owner now.
    pub(crate) fn recycle_rest(&self, mut rest: Box<Rest>) {
        rest.clear();
        let mut spare_rests = self.0.spare_rests.borrow_mut();
        if spare_rests.len() < SPARE_RESTS {
            spare_rests.push(rest);
        }
    }

    /// What an owned packet needs of the list that it was lent with: `None`, and the list goes back,
    /// where it has no further frames and asks for nothing.
    pub(crate) fn keep_rest(&self, mut rest: Box<Rest>) -> Option<Box<Rest>> {
        rest.offer = None;
        if rest.has_frames() || !rest.request.is_empty() {
            return Some(rest);
        }
        self.recycle_rest(rest);
        None
    }

    /// The frames behind the first of an owned packet are nobody's in this program any more.
    pub(crate) fn end_rest(&self, rest: Box<Rest>) {
        self.0.continued.set(self.0.continued.get() - rest.frames().len() as u64);
        self.recycle_rest(rest);
    }

    /// A packet of this handle became frames of one of `other`'s.
    pub(crate) fn appended(&self, other: &Self, frames_behind: u64) {
        let ends = self.0.counts.get();
        self.0.counts.set(Ends { consumed: ends.consumed + 1, ..ends });
        self.0.continued.set(self.0.continued.get() - frames_behind);
        other.0.continued.set(other.0.continued.get() + frames_behind + 1);
    }

    /// Gives back the slot of an owned packet, or of one of its frames, without counting a packet.
    pub(crate) fn give_back(&self, slot: &Slot) {
        if !self.0.pool.transfer(slot.0, &[USER], IN_POOL) {
            bump(&self.0.statistics.corrupt, 1);
            return;
        }
        bump(&self.0.statistics.cached, 1);
        self.0.put(slot.0);
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
    pub(crate) fn end(&self, slot: &Slot, rest: Option<Box<Rest>>, ending: Ending) {
        let ends = self.0.counts.get();
        match ending {
            Ending::Consumed => {
                self.0.counts.set(Ends { consumed: ends.consumed + 1, ..ends });
            }
            Ending::Dropped(reason) | Ending::Implicit(reason) => {
                self.0.drops.borrow_mut()[reason] += 1;
            }
        }
        if matches!(ending, Ending::Implicit(_)) {
            bump(&self.0.statistics.implicit_drop, 1);
            self.give_back_shared(slot);
        } else {
            self.give_back(slot);
        }
        let Some(rest) = rest else { return };
        for frame in rest.frames() {
            match ending {
                Ending::Implicit(_) => self.give_back_shared(&frame.slot),
                _ => self.give_back(&frame.slot),
            }
        }
        self.end_rest(rest);
    }

    /// As [`give_back`](Self::give_back), past the cache.
    fn give_back_shared(&self, slot: &Slot) {
        if !self.0.pool.transfer(slot.0, &[USER], IN_POOL) {
            bump(&self.0.statistics.corrupt, 1);
            return;
        }
        bump(&self.0.statistics.ring, 1);
        bump_wrapping(&self.0.statistics.release, 1);
        self.0.pool.shared.push(&[slot.0]);
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
