//! A pool that another process goes on with.
//!
//! The process that made the pool gives the slots in devices' fill rings to the devices, and everything
//! else up: its pool hands nothing out any more, and the one grown from the seed, over the same memory
//! in the other process, owns what it owned (P2). Slots that are with devices are known by number in
//! neither: they are those that are neither free nor never used.

use super::{HandleStatistics, IN_DEVICE, Pool, PoolConfig};
use crate::{
    Error, Result,
    mem::{PoolHandle, Region},
    sync::{Arc, Ordering},
};

/// What another process must know of a pool to go on with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seed {
    pub(crate) config: PoolConfig,
    pub(crate) slots: u32,
    /// Slots from here on were never used.
    pub(crate) never_used: u32,
    /// Slots before that are free all the same.
    pub(crate) free: Vec<u32>,
}

impl Seed {
    /// Slots that are with devices.
    pub(crate) fn in_devices(&self) -> Option<u32> {
        self.never_used.checked_sub(u32::try_from(self.free.len()).ok()?)
    }
}

impl Pool {
    /// Closes the pool and says what another one needs to go on with its slots. `handle` is the only
    /// handle that has any; `in_devices` slots are in fill rings.
    ///
    /// # Errors
    /// When other slots are still out: with packets, or with devices that stay here.
    pub(crate) fn give_up(&self, handle: &PoolHandle, in_devices: u32) -> Result<Seed> {
        handle.flush();
        self.close();
        let mut free = Vec::new();
        while self.shared.pop(usize::MAX, &mut free) > 0 {}
        let never_used = self.never_used.load(Ordering::Relaxed).min(self.slots);
        let config = PoolConfig { frames: Some(self.slots), ..self.config };
        let seed = Seed { config, slots: self.slots, never_used, free };
        if seed.in_devices() == Some(in_devices) {
            return Ok(seed);
        }
        let out = seed.in_devices().unwrap_or_default().saturating_sub(in_devices);
        let why = format!("{out} frames are still with packets, other threads or other ports");
        Err(Error::refused("hand over", "packet memory", why))
    }

    /// Goes on with a pool of another process, over the same memory.
    ///
    /// # Errors
    /// When the seed is not that of a pool over such a region.
    pub(crate) fn grow(region: Arc<Region>, seed: &Seed) -> Result<Arc<Self>> {
        let refuse = |why: &str| Err(Error::refused("take over", "packet memory", why));
        let pool = Self::new(region, seed.config)?;
        let in_devices = seed.in_devices().filter(|_| seed.never_used <= pool.slots);
        let Some(in_devices) = in_devices.filter(|_| pool.slots == seed.slots) else {
            return refuse("the numbers of frames disagree");
        };
        let mut is_free = vec![false; seed.never_used as usize];
        for &slot in &seed.free {
            match is_free.get_mut(slot as usize) {
                Some(free) if !*free => *free = true,
                _ => return refuse("a frame is named twice, or is none of the pool's"),
            }
        }
        for (slot, _) in is_free.iter().enumerate().filter(|(_, is_free)| !**is_free) {
            pool.owners[slot].store(IN_DEVICE, Ordering::Relaxed);
        }
        pool.never_used.store(seed.never_used, Ordering::Relaxed);
        pool.shared.push(&seed.free);
        let statistics = HandleStatistics::default();
        statistics.hold.store(in_devices, Ordering::Relaxed);
        pool.handle_list().push(Arc::new(statistics));
        Ok(pool)
    }
}
