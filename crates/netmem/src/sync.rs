//! What threads and the kernel share: the atomics, locks and counted references of the standard
//! library, or under `cfg(loom)` those of the model checker [loom], which runs a closure again and again
//! over the orders of its threads' steps and the values that a load may return under the memory model.
//! It leaves out orders that it takes for equal to others, and a few that are not: a model counts for
//! the planted faults that it has failed on, and names them.
//!
//! `cargo xtask loom` builds the crate with `--cfg loom` and runs the tests whose names start with
//! `loom_`. They check the code of `xdp::ring`, `mem::shared`, `mem::pool` and `stats::seqlock` itself, not a copy. Not
//! part of that build are the modules that `lib.rs` leaves out (devices and everything above them),
//! rings over kernel memory ([`RingMemory::mapped`] and `unmapped`: an atomic of the checker has another
//! layout), and the tests of `mem::pool` that are not models. The counters in `mem::pool::statistics`
//! stay those of the standard library: one thread writes each, nothing is decided by them, and a step
//! for every count would hide the steps that matter.
//!
//! Memory that is reached through pointers (ring entries, packet bytes) is invisible to the checker;
//! [`Accesses`] shows it.
//!
//! [loom]: https://docs.rs/loom
//! [`RingMemory::mapped`]: crate::xdp::ring::RingMemory::mapped

#[cfg(not(loom))]
pub(crate) use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering, fence},
};

#[cfg(loom)]
pub(crate) use loom::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering, fence},
};

/// Words that may be loaded and not stored: they can lie in memory that is mapped for reading only.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loads<'words>(&'words [AtomicU64]);

impl<'words> From<&'words [AtomicU64]> for Loads<'words> {
    fn from(words: &'words [AtomicU64]) -> Self {
        Self(words)
    }
}

impl Loads<'_> {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn load(&self, index: usize, order: Ordering) -> u64 {
        self.0[index].load(order)
    }

    /// The part `first..first + count`, if there is one.
    pub(crate) fn part(&self, first: usize, count: usize) -> Option<Self> {
        Some(Self(self.0.get(first..first.checked_add(count)?)?))
    }
}

/// Reads and writes of an array behind pointers, as the model checker sees them: a read that races a
/// write of the same element fails the model. Without the checker it is nothing, and costs nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accesses {
    #[cfg(loom)]
    elements: std::sync::Arc<[loom::cell::UnsafeCell<()>]>,
}

#[cfg(not(loom))]
impl Accesses {
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn to(_len: u32) -> Self {
        Self {}
    }

    #[inline]
    pub(crate) fn read(&self, _first: usize, _len: usize) {}

    #[inline]
    pub(crate) fn write(&self, _first: usize, _len: usize) {}
}

#[cfg(all(test, loom))]
pub(crate) use checked::explore;

#[cfg(loom)]
mod checked {
    use super::Accesses;

    // SAFETY: the elements have no bytes; the checker's own state is only reached while a thread of
    // the model runs, and those run one at a time.
    unsafe impl Send for Accesses {}
    // SAFETY: as above; that accesses race is what is to be found out, and fails the model.
    unsafe impl Sync for Accesses {}

    impl Accesses {
        pub(crate) fn to(len: u32) -> Self {
            Self { elements: (0..len).map(|_| loom::cell::UnsafeCell::new(())).collect() }
        }

        pub(crate) fn read(&self, first: usize, len: usize) {
            self.elements[first..first + len].iter().for_each(|element| element.with(|_| ()));
        }

        pub(crate) fn write(&self, first: usize, len: usize) {
            self.elements[first..first + len].iter().for_each(|element| element.with_mut(|_| ()));
        }
    }

    /// Runs `model` in the orders that take the processor away from a thread at most
    /// `max_preemptions` times (LOOM_MAX_PREEMPTIONS overrides it); `None` for every order.
    #[cfg(test)]
    pub(crate) fn explore(
        max_preemptions: impl Into<Option<usize>>,
        model: impl Fn() + Send + Sync + 'static,
    ) {
        let mut builder = loom::model::Builder::new();
        let bound = max_preemptions.into();
        builder.preemption_bound = builder.preemption_bound.or(bound);
        builder.check(model);
    }
}
