//! A single-producer, single-consumer ring over shared memory: one implementation for the kernel's
//! four rings, for the fake peer that plays the kernel in tests, and for the model checker.
//!
//! ```text
//!             consumer                     producer            both free-running u32, masked only
//!                |                            |                to index; used = producer - consumer,
//!   ... done ... | ready | ready | ... | ready| free ...       right across the wrap at 2^32 (D2)
//! ```
//!
//! Each side keeps its own index privately (`cursor`) and a copy of the other side's; it loads the
//! shared index of the other side only when the copy says that there is not enough. A range of a ring
//! is at most two slices, before and after the wrap of the array: those are handed out, so that the
//! loop over them needs no mask. Entries become visible by one Release store of the own index, which
//! pairs with the other side's Acquire load (D3).
//!
//! # Invariants kept here
//! - **D2** indices are compared by wrapping subtraction only, and `used <= size` is enforced on what
//!   the other side wrote.
//! - **D3** entries between `consumer` and `producer` belong to the consumer, all others to the
//!   producer; each side touches only its own.
//! - **N1** (of this module) the pointers of a [`RingMemory`] stay valid while it lives, because it
//!   owns what they point into; `size` is a power of two and the entries array has that length.

use std::{hint, marker::PhantomData, ptr::NonNull, slice};

use crate::{
    sync::{Accesses, Arc, AtomicU32, Ordering, fence},
    sys::{
        mmap::Mapping,
        to_usize,
        xsk::{RING_NEED_WAKEUP, RingOffset, XdpDesc},
    },
};

/// A type that may lie in a ring: plain integers, every bit pattern valid.
pub(crate) trait Entry: Copy + Default + Send + 'static {}
impl Entry for u64 {}
impl Entry for XdpDesc {}

/// The memory of one ring, seen by one side.
#[derive(Debug)]
pub(crate) struct RingMemory<T> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entries: NonNull<T>,
    size: u32,
    accesses: Accesses,
    _owner: Owner<T>,
}

#[derive(Debug, Clone)]
enum Owner<T> {
    Mapped {
        _mapping: Arc<Mapping>,
    },
    #[cfg(any(test, feature = "test-util"))]
    Heap {
        _heap: Arc<Heap<T>>,
    },
    /// Nothing: the ring was unmapped.
    Nobody(PhantomData<T>),
}

// SAFETY: the memory is owned (N1) and reached by the protocol of D3 only, whose index operations are
// atomic; entries are plain integers (`Entry`).
unsafe impl<T: Entry> Send for RingMemory<T> {}

#[cfg(not(loom))]
impl<T: Entry> RingMemory<T> {
    /// Lays a ring of `size` entries over a mapping of the kernel's, as `offset` describes.
    ///
    /// # Panics
    /// When the description is not inside of the mapping, or `size` is not a power of two.
    pub(crate) fn mapped(mapping: Mapping, offset: &RingOffset, size: u32) -> Self {
        assert!(size.is_power_of_two());
        let entries_bytes = size as usize * size_of::<T>();
        let mapping = Arc::new(mapping);
        let entries = |start: NonNull<u8>| -> NonNull<T> {
            assert!(start.cast::<T>().is_aligned(), "ring layout");
            start.cast()
        };
        let at = |offset_bytes: u64, len_bytes: usize| -> NonNull<u8> {
            let start = to_usize(offset_bytes);
            let end = start.checked_add(len_bytes).expect("offsets of the kernel are small");
            assert!(end <= mapping.len_bytes() && start.is_multiple_of(4), "ring layout");
            // SAFETY: `start <= end <= len_bytes`: inside of the mapping.
            unsafe { mapping.start().add(start) }
        };
        Self {
            producer: at(offset.producer, 4).cast(),
            consumer: at(offset.consumer, 4).cast(),
            flags: at(offset.flags, 4).cast(),
            entries: entries(at(offset.desc, entries_bytes)),
            size,
            accesses: Accesses::default(),
            _owner: Owner::Mapped { _mapping: mapping },
        }
    }

    /// A ring without memory: never any room, never anything to read.
    pub(crate) fn unmapped() -> Self {
        static NOTHING: AtomicU32 = AtomicU32::new(0);
        let nothing = NonNull::from(&NOTHING);
        Self {
            producer: nothing,
            consumer: nothing,
            flags: nothing,
            entries: NonNull::dangling(),
            size: 0,
            accesses: Accesses::default(),
            _owner: Owner::Nobody(PhantomData),
        }
    }
}

impl<T: Entry> RingMemory<T> {
    #[inline]
    fn producer(&self) -> &AtomicU32 {
        // SAFETY: valid and aligned while `self` lives (N1); both sides use atomic operations only.
        unsafe { self.producer.as_ref() }
    }

    #[inline]
    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: valid and aligned while `self` lives (N1); both sides use atomic operations only.
        unsafe { self.consumer.as_ref() }
    }

    #[inline]
    fn flags(&self) -> &AtomicU32 {
        // SAFETY: valid and aligned while `self` lives (N1); both sides use atomic operations only.
        unsafe { self.flags.as_ref() }
    }

    #[inline]
    fn mask(&self) -> u32 {
        self.size.wrapping_sub(1)
    }

    /// Splits `count <= size` entries from index `start` into what lies before and after the wrap of
    /// the array: (first entry, length) of each.
    #[inline]
    fn ranges(&self, start: u32, count: u32) -> [(usize, usize); 2] {
        debug_assert!(count <= self.size);
        let first = start & self.mask();
        let head = count.min(self.size - first);
        [(first as usize, head as usize), (0, (count - head) as usize)]
    }

    #[inline]
    fn slice(&self, (first, len): (usize, usize)) -> &[T] {
        self.accesses.read(first, len);
        // SAFETY: `first + len <= size` by `ranges`, so the pointer is inside of the array (N1).
        let start = unsafe { self.entries.add(first) };
        // SAFETY: `first + len <= size` entries of a plain type (N1, `Entry`); the caller names only
        // entries that belong to its side (D3), so nobody writes them while they are borrowed.
        unsafe { slice::from_raw_parts(start.as_ptr(), len) }
    }

    /// Reads entry `index`, which belongs to the caller's side (D3).
    #[inline]
    fn read(&self, index: u32) -> T {
        let at = (index & self.mask()) as usize;
        self.accesses.read(at, 1);
        // SAFETY: masked, so inside of the array (N1).
        let entry = unsafe { self.entries.add(at) };
        // SAFETY: valid for reads (N1), every bit pattern is a value (`Entry`), and the other side
        // does not write it (D3).
        unsafe { entry.read() }
    }

    /// Writes entry `index`, which belongs to the producer.
    #[inline]
    fn write(&mut self, index: u32, value: T) {
        let at = (index & self.mask()) as usize;
        self.accesses.write(at, 1);
        // SAFETY: masked, so inside of the array (N1).
        let entry = unsafe { self.entries.add(at) };
        // SAFETY: valid for writes (N1), and the consumer does not touch it (D3).
        unsafe { entry.write(value) };
    }
}

/// The side that fills a ring.
#[derive(Debug)]
pub(crate) struct Producer<T> {
    ring: RingMemory<T>,
    /// The next index to write; what is published may lag behind.
    cursor: u32,
    /// The consumer's index as last seen.
    consumed: u32,
}

impl<T: Entry> Producer<T> {
    pub(crate) fn new(ring: RingMemory<T>) -> Self {
        let cursor = ring.producer().load(Ordering::Relaxed);
        // Acquire: entries that the consumer gave back before may be overwritten (D3).
        let consumed = ring.consumer().load(Ordering::Acquire);
        Self { ring, cursor, consumed }
    }

    pub(crate) fn size(&self) -> u32 {
        self.ring.size
    }

    /// How many entries can be written, looking at the shared index only when fewer than `wanted`
    /// are known to be free.
    #[inline]
    pub(crate) fn free(&mut self, wanted: u32) -> u32 {
        let free = self.known_free();
        if free >= wanted {
            return free;
        }
        // Acquire: pairs with the consumer's Release; it has read the entries that it gives back.
        self.consumed = self.ring.consumer().load(Ordering::Acquire);
        self.known_free()
    }

    #[inline]
    fn known_free(&self) -> u32 {
        // A consumer index that is out of range leaves no room: it cannot hand out extra entries.
        self.ring.size.saturating_sub(self.cursor.wrapping_sub(self.consumed))
    }

    /// Writes one entry. The caller has seen with [`free`](Self::free) that there is room.
    #[inline]
    pub(crate) fn push(&mut self, value: T) {
        debug_assert!(self.known_free() > 0, "push into a full ring");
        self.ring.write(self.cursor, value);
        self.cursor = self.cursor.wrapping_add(1);
    }

    /// Writes one entry that the consumer has read, whether or not its index says so yet.
    #[inline]
    pub(crate) fn put_back(&mut self, value: T) {
        self.ring.write(self.cursor, value);
        self.cursor = self.cursor.wrapping_add(1);
    }

    /// The entry `ahead` of the cursor. What is written from the cursor on, entry by entry across the
    /// wrap of the array and within the free entries, is taken over by [`commit`](Self::commit).
    #[inline]
    pub(crate) fn entry(&self, ahead: u32) -> *mut T {
        let first = self.cursor.wrapping_add(ahead) & self.ring.mask();
        // SAFETY: masked, so inside of the array (N1).
        unsafe { self.ring.entries.add(first as usize) }.as_ptr()
    }

    /// How many entries there are from `ahead` of the cursor to the wrap of the array.
    #[inline]
    pub(crate) fn until_wrap(&self, ahead: u32) -> u32 {
        self.ring.size - (self.cursor.wrapping_add(ahead) & self.ring.mask())
    }

    /// Writes all of `values`. The caller has seen with [`free`](Self::free) that there is room.
    ///
    /// # Panics
    /// When there are more values than entries.
    #[inline]
    pub(crate) fn push_all(&mut self, values: &[T]) {
        let count = u32::try_from(values.len()).unwrap_or(u32::MAX);
        assert!(count <= self.ring.size, "more values than entries");
        debug_assert!(self.known_free() >= count, "push into a full ring");
        let mut from = values.as_ptr();
        for (first, len) in self.ring.ranges(self.cursor, count) {
            self.ring.accesses.write(first, len);
            // SAFETY: `first + len <= size` by `ranges` (N1).
            let entry = unsafe { self.ring.entries.add(first) };
            // SAFETY: `len` entries inside of the array, free and so the producer's (N1, D3); the
            // values are a slice outside of the ring, of which `len` are left.
            unsafe { entry.as_ptr().copy_from_nonoverlapping(from, len) };
            // SAFETY: at most one past the end of `values`: the lengths sum up to its own.
            from = unsafe { from.add(len) };
        }
        self.cursor = self.cursor.wrapping_add(count);
    }

    /// Takes over `count` entries that were written from [`entry`](Self::entry) 0 on.
    #[inline]
    pub(crate) fn commit(&mut self, count: u32) {
        self.cursor = self.cursor.wrapping_add(count);
    }

    /// Makes everything pushed visible to the consumer.
    #[inline]
    pub(crate) fn publish(&mut self) {
        // Release: pairs with the consumer's Acquire of `producer`; entries come before (D3).
        self.ring.producer().store(self.cursor, Ordering::Release);
    }

    /// Whether the kernel asks to be woken for what was published (D4). Once per batch, not per entry.
    ///
    /// The kernel sets the flag and then looks at the ring for the last time before it rests; here
    /// the ring is published and then the flag read. Each side stores one word and loads the other,
    /// and without a full fence between the two both may load what was there before: the entry waits
    /// and nobody is woken. Release and Acquire do not order a store before a later load, on x86-64
    /// neither.
    ///
    /// The fence here is our half. The kernel's half is the driver's, and `xsk_set_tx_need_wakeup`
    /// (net/xdp/xsk.c, kernel 6.18) has none: a plain store, then the driver's look at the ring. What
    /// slips through, while the flag is in that processor's store buffer, is found by the port's next
    /// batch or flush, which look again while something is queued, and by poll(2), which goes by the
    /// kernel's own copy of the flag (`xsk_poll`). In
    /// copy mode nothing is at stake: the tx flag is set when the ring is made, and stays set.
    #[inline]
    pub(crate) fn needs_wakeup(&self) -> bool {
        fence(Ordering::SeqCst);
        self.ring.flags().load(Ordering::Relaxed) & RING_NEED_WAKEUP != 0
    }

    /// Entries pushed and not yet taken by the consumer; a full ring at most.
    pub(crate) fn queued(&self) -> u32 {
        let consumed = self.ring.consumer().load(Ordering::Acquire);
        self.cursor.wrapping_sub(consumed).min(self.ring.size)
    }

    /// The consumer's free-running index.
    pub(crate) fn consumer_index(&self) -> u32 {
        self.ring.consumer().load(Ordering::Acquire)
    }

    /// Visits the entries that the consumer has not taken; exact while it takes none.
    pub(crate) fn walk(&self, mut visit: impl FnMut(T)) {
        let queued = self.queued();
        for back in (1..=queued).rev() {
            visit(self.ring.read(self.cursor.wrapping_sub(back)));
        }
    }
}

/// The side that empties a ring.
#[derive(Debug)]
pub(crate) struct Consumer<T> {
    ring: RingMemory<T>,
    /// The next index to read; what is released may lag behind.
    cursor: u32,
    /// The producer's index as last seen.
    produced: u32,
}

impl<T: Entry> Consumer<T> {
    pub(crate) fn new(ring: RingMemory<T>) -> Self {
        let cursor = ring.consumer().load(Ordering::Relaxed);
        Self { ring, cursor, produced: cursor }
    }

    pub(crate) fn size(&self) -> u32 {
        self.ring.size
    }

    /// How many entries can be read, looking at the shared index only when fewer than `wanted` are
    /// known.
    #[inline]
    pub(crate) fn available(&mut self, wanted: u32) -> u32 {
        let known = self.produced.wrapping_sub(self.cursor);
        if known >= wanted {
            return known;
        }
        // Acquire: pairs with the producer's Release of its index; its entries are visible (D3).
        self.produced = self.ring.producer().load(Ordering::Acquire);
        let known = self.produced.wrapping_sub(self.cursor);
        if known > self.ring.size {
            hint::cold_path();
            // Only a broken peer does this: there is nothing that can be trusted (D6).
            self.produced = self.cursor;
            return 0;
        }
        known
    }

    /// The next `count` entries, as the slices before and after the wrap of the array.
    ///
    /// # Panics
    /// When `count` is more than [`available`](Self::available) has returned.
    #[inline]
    pub(crate) fn segments(&self, count: u32) -> [&[T]; 2] {
        assert!(count <= self.produced.wrapping_sub(self.cursor), "more than is available");
        self.ring.ranges(self.cursor, count).map(|range| self.ring.slice(range))
    }

    /// As [`segments`](Self::segments), not tied to the borrow of this side.
    ///
    /// # Safety
    /// The slices are not used after [`release`](Self::release) or after this side is gone.
    ///
    /// # Panics
    /// As `segments`.
    #[inline]
    pub(crate) unsafe fn unbound_segments<'any>(&self, count: u32) -> [&'any [T]; 2] {
        self.segments(count).map(|segment| {
            // SAFETY: a valid slice of the consumer's entries, which nobody writes while it is used: by
            // this function's contract (N1, D3).
            unsafe { slice::from_raw_parts(segment.as_ptr(), segment.len()) }
        })
    }

    /// The next `count` entries, which are before the wrap, not tied to the borrow of this side.
    ///
    /// # Safety
    /// - `count` is at most what is available and [`until_wrap`](Self::until_wrap);
    /// - the slice is not used after [`release`](Self::release) or after this side is gone.
    #[inline]
    pub(crate) unsafe fn run<'any>(&self, count: u32) -> &'any [T] {
        debug_assert!(
            count <= self.until_wrap() && count <= self.produced.wrapping_sub(self.cursor)
        );
        let first = (self.cursor & self.ring.mask()) as usize;
        self.ring.accesses.read(first, count as usize);
        // SAFETY: masked, so inside of the array (N1).
        let start = unsafe { self.ring.entries.add(first) };
        // SAFETY: inside of the array, the consumer's, and not written while it is used: by this
        // function's contract (N1, D3).
        unsafe { slice::from_raw_parts(start.as_ptr(), count as usize) }
    }

    /// How many entries there are from the cursor to the wrap of the array.
    #[inline]
    pub(crate) fn until_wrap(&self) -> u32 {
        self.ring.size - (self.cursor & self.ring.mask())
    }

    /// Reads the entry `ahead` of the cursor, which is available.
    #[inline]
    pub(crate) fn peek(&self, ahead: usize) -> T {
        #[allow(clippy::cast_possible_truncation, reason = "a ring has u32 entries")]
        let ahead = ahead as u32;
        debug_assert!(ahead < self.produced.wrapping_sub(self.cursor));
        self.ring.read(self.cursor.wrapping_add(ahead))
    }

    /// Passes `count` entries: they are not read again, but still not the producer's.
    #[inline]
    pub(crate) fn pass(&mut self, count: u32) {
        debug_assert!(count <= self.produced.wrapping_sub(self.cursor), "passing the producer");
        self.cursor = self.cursor.wrapping_add(count);
    }

    /// Gives every passed entry back to the producer.
    #[inline]
    pub(crate) fn release(&mut self) {
        // Release: pairs with the producer's Acquire of `consumer`; the reads come before (D3).
        self.ring.consumer().store(self.cursor, Ordering::Release);
    }

    /// Entries published and not yet passed; a full ring at most.
    pub(crate) fn queued(&self) -> u32 {
        self.producer_index().wrapping_sub(self.cursor).min(self.ring.size)
    }

    /// The producer's free-running index.
    pub(crate) fn producer_index(&self) -> u32 {
        self.ring.producer().load(Ordering::Acquire)
    }

    /// Visits the entries that were not passed yet; exact while the producer adds none.
    pub(crate) fn walk(&self, mut visit: impl FnMut(T)) {
        for ahead in 0..self.queued() {
            visit(self.ring.read(self.cursor.wrapping_add(ahead)));
        }
    }
}

pub(crate) use reduce::or_all;

#[cfg(any(test, feature = "test-util"))]
pub(crate) use heap::{Heap, pair};

#[cfg(any(test, feature = "test-util"))]
mod heap;

mod reduce;

#[cfg(test)]
mod tests;

#[cfg(test)]
#[cfg(loom)]
mod models;
