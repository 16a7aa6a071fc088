//! A pool of equal slots over a region, with a cache per thread.
//!
//! ```text
//!   thread A: PoolHandle [cache, LIFO] --spill half--> shared stack <--refill-- [cache] PoolHandle: thread B
//!                ^ consume, completions                  ^ implicit drops          never-used slots: a counter
//! ```
//!
//! The fast path takes from and returns to the handle's own cache: no atomic read-modify-write. The
//! cache spills its cold half to the shared stack when full and refills [`PoolConfig::refill`] when
//! empty, first from the stack, then from slots that were never used. Dropping a packet without
//! a word goes through the shared stack and is counted apart (`implicit_drop`).
//!
//! The owner byte of a slot changes only when the slot becomes or stops being an owned packet; in
//! debug builds it is also checked when a device takes or returns a slot, so that a double return
//! stops the program where it happens. In release it is counted as `corrupt` and the slot is
//! quarantined: never handed out again.
//!
//! Invariants kept here: P1, P2, P4, P7, P8 (ARCHITECTURE.md); P3 is `shared`'s.

mod handle;
mod seed;
mod statistics;

use std::sync::PoisonError;

use self::statistics::HandleStatistics;
pub(crate) use self::{handle::Ending, seed::Seed};
pub use self::{
    handle::PoolHandle,
    statistics::{Counts, PoolStatistics},
};
use super::{
    Region,
    audit::{Owner, Walk},
    shared::SharedStack,
    span::FrameSize,
};
use crate::{
    Error, Result,
    sync::{Arc, AtomicBool, AtomicU8, AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering},
};

/// The kernel keeps this much in front of every packet for XDP programs to grow into.
pub(crate) const XDP_PACKET_HEADROOM: u32 = 256;

/// The shape of a [`Pool`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolConfig {
    /// The size of a slot in bytes, 256 to 65,536. AF_XDP takes even ones of 2,048 to 4,096; a size that
    /// is no power of two is its unaligned mode, in which each packet costs more.
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
/// Told apart from `IN_POOL` in debug builds only: a device takes and returns slots without touching
/// their state.
const IN_DEVICE: u8 = if cfg!(debug_assertions) { 1 } else { IN_POOL };
const USER: u8 = 2;
const QUARANTINED: u8 = 3;

/// A fixed set of slots, shared by the threads that have a [`PoolHandle`] of it.
#[derive(Debug)]
#[doc(alias = "page_pool")]
pub struct Pool {
    region: Arc<Region>,
    config: PoolConfig,
    frame_size: FrameSize,
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
    /// When a size is out of its range, the region is too small for the slots, or another pool has it:
    /// a slot has one owner, so a region has one pool, also after that pool is gone.
    pub fn new(region: Arc<Region>, config: PoolConfig) -> Result<Arc<Self>> {
        let refuse = |why: String| Error::refused("make pool", "packet memory", why);
        let PoolConfig { frame_bytes, frames, cache, refill, headroom_bytes } = config;
        if !(256..=65536).contains(&frame_bytes) {
            return Err(refuse(format!("frames of {frame_bytes} bytes: not from 256 to 65536")));
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
        if !region.divide() {
            return Err(refuse("the region is another pool's".into()));
        }
        Ok(Arc::new(Self {
            region,
            config,
            frame_size: FrameSize::of(frame_bytes),
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
    #[cfg(not(loom))] // whose `Arc` cannot be a receiver
    pub fn handle(self: &Arc<Self>) -> PoolHandle {
        PoolHandle::of(self)
    }

    #[inline]
    pub(crate) fn frame_size(&self) -> FrameSize {
        self.frame_size
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

    fn handle_list(&self) -> MutexGuard<'_, Vec<Arc<HandleStatistics>>> {
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

#[cfg(test)]
#[cfg(not(loom))]
mod tests;

#[cfg(test)]
#[cfg(loom)]
mod models;
