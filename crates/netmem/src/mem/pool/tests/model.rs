//! A pool against a model of its caches, its shared stack and its statistics: several handles in one
//! thread, packets and a device that hold slots, counters that cross 2^32.

use std::collections::VecDeque;

use proptest::{collection::vec, prelude::*, sample::Index};

use super::super::{handle::Local, *};
use super::pool;
use crate::mem::{Audit, Counts, DropReason, Packet};

#[derive(Debug, Clone)]
enum Step {
    NewHandle(u32),
    DropHandle(Index),
    Flush(Index),
    Alloc(Index),
    /// Write so many bytes into a packet, or end it.
    Put(Index, u8),
    Consume(Index),
    Discard(Index),
    Drop(Index),
    TakeForDevice(Index, u32),
    /// Through a handle, so many from the front or the back of what the device has.
    ReturnFromDevice(Index, usize, bool),
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    prop_oneof![
        2 => (u32::MAX - 20..=u32::MAX).prop_map(Step::NewHandle),
        1 => index().prop_map(Step::DropHandle),
        2 => index().prop_map(Step::Flush),
        24 => index().prop_map(Step::Alloc),
        6 => (index(), any::<u8>()).prop_map(|(which, byte)| Step::Put(which, byte)),
        8 => index().prop_map(Step::Consume),
        4 => index().prop_map(Step::Discard),
        4 => index().prop_map(Step::Drop),
        4 => (index(), 0..20u32).prop_map(|(handle, max)| Step::TakeForDevice(handle, max)),
        4 => (index(), 0..20usize, any::<bool>())
            .prop_map(|(handle, max, front)| Step::ReturnFromDevice(handle, max, front)),
    ]
}

/// What a handle should have and should have counted.
#[derive(Default)]
struct Thread {
    /// `None` once it was dropped; packets keep what is behind it.
    handle: Option<PoolHandle>,
    local: std::rc::Weak<Local>,
    cache: Vec<u32>,
    packets: usize,
    counts: Counts,
}

struct Held {
    packet: Packet,
    thread: usize,
    slot: u32,
    bytes: Vec<u8>,
}

struct Model {
    pool: Arc<Pool>,
    threads: Vec<Thread>,
    held: Vec<Held>,
    /// Slots that a device has.
    device: VecDeque<u32>,
    /// The shared stack, its top last.
    shared: Vec<u32>,
    never_used: u32,
    statistics: PoolStatistics,
    handed_out: u64,
    came_back: u64,
    refused: u64,
    closed: bool,
}

impl Model {
    fn new(pool: Arc<Pool>) -> Self {
        Self {
            pool,
            threads: Vec::new(),
            held: Vec::new(),
            device: VecDeque::new(),
            shared: Vec::new(),
            never_used: 0,
            statistics: PoolStatistics::default(),
            handed_out: 0,
            came_back: 0,
            refused: 0,
            closed: false,
        }
    }

    fn live(&self, which: &Index) -> Option<usize> {
        let live: Vec<_> =
            (0..self.threads.len()).filter(|&n| self.threads[n].handle.is_some()).collect();
        (!live.is_empty()).then(|| *which.get(&live))
    }

    /// The slot that a handle hands out next: from its cache, else the shared stack, else new ones.
    fn take(&mut self, thread: usize) -> Option<u32> {
        if self.closed {
            self.statistics.alloc_fail += 1;
            self.refused += 1;
            return None;
        }
        let refill = self.pool.config().refill as usize;
        let cache = &mut self.threads[thread].cache;
        if !cache.is_empty() {
            self.statistics.alloc_fast += 1;
        } else if !self.shared.is_empty() {
            self.statistics.alloc_refill += 1;
            let rest = self.shared.len().saturating_sub(refill);
            cache.extend(self.shared.drain(rest..).rev());
        } else {
            self.statistics.alloc_empty += 1;
            let end = (self.never_used + self.pool.config().refill).min(self.pool.slots());
            cache.extend((self.never_used..end).rev());
            self.never_used = end;
            let counter = match cache.is_empty() {
                true => &mut self.statistics.alloc_fail,
                false => &mut self.statistics.alloc_slow,
            };
            *counter += 1;
        }
        let slot = cache.pop()?;
        self.handed_out += 1;
        Some(slot)
    }

    fn put(&mut self, thread: usize, slot: u32) {
        let PoolConfig { cache: room, refill, .. } = self.pool.config();
        let cache = &mut self.threads[thread].cache;
        if cache.len() == room as usize {
            self.statistics.recycle_cache_full += 1;
            self.statistics.recycle_ring += u64::from(refill);
            self.shared.extend(cache.drain(..refill as usize));
        }
        cache.push(slot);
        self.statistics.recycle_cached += 1;
        self.came_back += 1;
    }

    fn flush(&mut self, thread: usize) {
        let cache = &mut self.threads[thread].cache;
        self.statistics.recycle_ring += cache.len() as u64;
        self.shared.append(cache);
    }

    /// Ends a packet in the model, and returns it to be ended for real.
    fn end(&mut self, which: &Index, ending: Ending) -> Option<Packet> {
        if self.held.is_empty() {
            return None;
        }
        let Held { packet, thread, slot, .. } = self.held.swap_remove(which.index(self.held.len()));
        let counts = &mut self.threads[thread].counts;
        match ending {
            Ending::Consumed => counts.consumed += 1,
            Ending::Dropped(reason) | Ending::Implicit(reason) => counts.dropped[reason] += 1,
        }
        if matches!(ending, Ending::Implicit(_)) {
            self.statistics.implicit_drop += 1;
            self.statistics.recycle_ring += 1;
            self.came_back += 1;
            self.shared.push(slot);
        } else {
            self.put(thread, slot);
        }
        self.threads[thread].packets -= 1;
        self.leave(thread);
        Some(packet)
    }

    /// P8: when the handle and its last packet are gone, the cache goes where others find it.
    fn leave(&mut self, thread: usize) {
        let Thread { handle: None, packets: 0, .. } = self.threads[thread] else { return };
        self.flush(thread);
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::NewHandle(start) => {
                let handle = self.pool.handle();
                // P6: as after that many packets.
                handle.0.statistics.hold.store(*start, Ordering::Relaxed);
                handle.0.statistics.release.store(*start, Ordering::Relaxed);
                let local = std::rc::Rc::downgrade(&handle.0);
                self.threads.push(Thread { handle: Some(handle), local, ..Thread::default() });
            }
            Step::DropHandle(which) => {
                let Some(thread) = self.live(which) else { return };
                self.threads[thread].handle = None;
                self.leave(thread);
            }
            Step::Flush(which) => {
                let Some(thread) = self.live(which) else { return };
                self.threads[thread].handle.as_ref().unwrap().flush();
                self.flush(thread);
            }
            Step::Alloc(which) => self.alloc(which),
            Step::Put(which, byte) => {
                if !self.held.is_empty() {
                    let at = which.index(self.held.len());
                    let Held { packet, bytes, .. } = &mut self.held[at];
                    packet.put(3).unwrap_or(&mut []).fill(*byte);
                    bytes.resize(packet.len(), *byte);
                }
            }
            Step::Consume(which) => {
                if let Some(packet) = self.end(which, Ending::Consumed) {
                    packet.consume();
                }
            }
            Step::Discard(which) => {
                let reason = DropReason::IpCsum;
                let packet = self.end(which, Ending::Dropped(reason));
                if let Some(packet) = packet {
                    packet.discard(reason);
                }
            }
            Step::Drop(which) => {
                drop(self.end(which, Ending::Implicit(DropReason::NotSpecified)));
            }
            Step::TakeForDevice(which, max) => self.take_for_device(which, *max),
            Step::ReturnFromDevice(which, max, front) => {
                self.return_from_device(which, *max, *front);
            }
            Step::Close => {
                self.closed = true;
                let drain = self.pool.close();
                let out = u32::try_from(self.held.len() + self.device.len()).unwrap();
                let in_flight = Drain::Draining { in_flight: out };
                assert_eq!(drain, if out == 0 { Drain::Closed } else { in_flight }, "P7");
            }
        }
    }

    fn alloc(&mut self, which: &Index) {
        let Some(thread) = self.live(which) else { return };
        let handle = self.threads[thread].handle.clone().unwrap();
        let packet = handle.alloc();
        let slot = self.take(thread);
        assert_eq!(packet.is_some(), slot.is_some(), "a packet as long as there is a slot");
        if let (Some(packet), Some(slot)) = (packet, slot) {
            assert!(self.held.iter().all(|held| held.slot != slot), "P2");
            self.threads[thread].counts.created += 1;
            self.threads[thread].packets += 1;
            self.held.push(Held { packet, thread, slot, bytes: Vec::new() });
        }
    }

    fn take_for_device(&mut self, which: &Index, max: u32) {
        let Some(thread) = self.live(which) else { return };
        let handle = self.threads[thread].handle.clone().unwrap();
        let mut slots = Vec::new();
        let got =
            handle.take_for_device(max, |offset| slots.push(u32::try_from(offset / 2048).unwrap()));
        // The first that is not there ends it.
        let expected: Vec<u32> = (0..max).map_while(|_| self.take(thread)).collect();
        assert_eq!((got as usize, &slots), (expected.len(), &expected));
        self.device.extend(slots);
    }

    fn return_from_device(&mut self, which: &Index, max: usize, front: bool) {
        let Some(thread) = self.live(which) else { return };
        let count = max.min(self.device.len());
        let from = if front { 0 } else { self.device.len() - count };
        let slots: Vec<u32> = self.device.drain(from..from + count).collect();
        // Any address inside of the slot names it.
        let offsets = slots.iter().map(|&slot| u64::from(slot) * 2048 + u64::from(slot % 2048));
        let handle = self.threads[thread].handle.clone().unwrap();
        handle.return_from_device(offsets);
        slots.into_iter().for_each(|slot| self.put(thread, slot));
    }

    fn check(&self) {
        let mut walks = Vec::new();
        for thread in &self.threads {
            let Some(local) = thread.local.upgrade() else {
                // What an ended thread counted must not be lost with it.
                let mut walk = Walk::new();
                walk.count(&thread.counts);
                walks.push(walk);
                continue;
            };
            let handle = PoolHandle(local);
            assert_eq!(*handle.0.cache.borrow(), thread.cache);
            assert_eq!(handle.counts(), thread.counts, "K6");
            walks.push(handle.walk());
        }
        let mut shared = Vec::new();
        self.pool.shared.walk(|slot| shared.insert(0, slot));
        assert_eq!(shared, self.shared, "P4");
        let mut device = Walk::new();
        self.device.iter().for_each(|&slot| device.found(slot, Owner::Fill));
        walks.push(device);
        let audit = Audit::of(&self.pool, walks);
        assert!(audit.is_ok(), "{:?}", audit.findings);
        let owners = [Owner::Free, Owner::User, Owner::Fill].map(|owner| audit.owners[owner]);
        let (held, device) = (self.held.len() as u64, self.device.len() as u64);
        assert_eq!(owners, [u64::from(self.pool.slots()) - held - device, held, device], "P1");
        assert_eq!(u64::from(self.pool.in_flight()), held + device, "P6");
        for Held { packet, bytes, .. } in &self.held {
            assert_eq!(packet.bytes(), bytes, "P2");
        }
        self.check_statistics();
    }

    /// P5: the statistics are the model's, and add up.
    fn check_statistics(&self) {
        let statistics = self.pool.statistics();
        assert_eq!(statistics, self.statistics, "P5");
        let PoolStatistics { alloc_fast, alloc_slow, alloc_refill, .. } = statistics;
        assert_eq!(alloc_fast + alloc_slow + alloc_refill, self.handed_out, "P5");
        assert_eq!(statistics.alloc_empty, alloc_slow + statistics.alloc_fail - self.refused, "P5");
        assert_eq!(statistics.recycle_cached + statistics.implicit_drop, self.came_back, "P5");
        let spilled = statistics.recycle_cache_full * u64::from(self.pool.config().refill);
        assert!(spilled + statistics.implicit_drop <= statistics.recycle_ring, "P5");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    // Planted and caught: a spill of the hot end; a flush that keeps the cache; a slot put back without
    // its release; in-flight counts that saturate; a handle dropped with its cache; drops without a word
    // missing in `ring`; a refill of one too many, or of one new slot too few; discards by the slow way.
    // Found by it: a closed pool went on handing out what was cached.
    #[test]
    fn a_pool_equals_its_model(
        slots in 1..40u32, (cache, refill) in (2..9u32).prop_flat_map(|cache| (Just(cache), 1..=cache)),
        steps in vec(step(), 1..150), after in vec(step(), 0..40),
    ) {
        let mut model = Model::new(pool(slots, cache, refill));
        model.run(&Step::NewHandle(u32::MAX));
        let closing = [Step::Close];
        for step in steps.iter().chain(&closing).chain(&after) {
            model.run(step);
            model.check();
        }
        let Model { pool, threads, held, device, .. } = model;
        drop(held);
        if device.is_empty() {
            prop_assert_eq!(pool.close(), Drain::Closed, "P7");
        }
        let region = Arc::downgrade(pool.region());
        drop(threads);
        drop(pool);
        prop_assert!(region.upgrade().is_none(), "P7: the memory goes with the last handle");
    }
}
