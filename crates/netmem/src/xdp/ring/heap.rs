//! A ring on the heap, both of whose sides are in this process: for tests and measurements.

use super::{
    Accesses, Arc, AtomicU32, Consumer, Entry, NonNull, Ordering, Owner, Producer,
    RING_NEED_WAKEUP, RingMemory,
};
use std::cell::UnsafeCell;

/// A ring's memory on the heap, shared by both of its sides.
#[derive(Debug)]
pub(crate) struct Heap<T> {
    producer: AtomicU32,
    consumer: AtomicU32,
    flags: AtomicU32,
    entries: Box<[UnsafeCell<T>]>,
}

impl<T> Heap<T> {
    /// Says whether the consumer wants to be woken.
    pub(crate) fn ask_for_wakeup(&self, wanted: bool) {
        let flags = if wanted { RING_NEED_WAKEUP } else { 0 };
        self.flags.store(flags, Ordering::Relaxed);
    }

    /// Sets the producer's index to anything, as a broken peer would.
    #[cfg(test)]
    pub(crate) fn corrupt_producer(&self, index: u32) {
        self.producer.store(index, Ordering::Release);
    }
}

/// Makes both sides of a ring of `size` entries whose indices start at `start`.
pub(crate) fn pair<T: Entry>(size: u32, start: u32) -> (Producer<T>, Consumer<T>, Arc<Heap<T>>) {
    assert!(size.is_power_of_two());
    let heap = Arc::new(Heap {
        producer: AtomicU32::new(start),
        consumer: AtomicU32::new(start),
        flags: AtomicU32::new(0),
        entries: (0..size).map(|_| UnsafeCell::default()).collect(),
    });
    let accesses = Accesses::to(size);
    let side = || RingMemory {
        producer: NonNull::from(&heap.producer),
        consumer: NonNull::from(&heap.consumer),
        flags: NonNull::from(&heap.flags),
        // UnsafeCell<T> has the layout of T.
        entries: NonNull::from(&*heap.entries).cast(),
        size,
        accesses: accesses.clone(),
        _owner: Owner::Heap { _heap: Arc::clone(&heap) },
    };
    (Producer::new(side()), Consumer::new(side()), heap)
}
