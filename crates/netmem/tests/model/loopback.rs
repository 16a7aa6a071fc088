//! Owned packets, and packets in place, over a pair of loopback ends.

use std::collections::VecDeque;

use netmem::{
    device::Device,
    loopback::Loopback,
    mem::{Audit, DropReason, PoolHandle, audit::Owner},
};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::{
    books::{Act, Arrival, Books, End, Limits, acts, end, pool, receive},
    frames::{Op, op},
};

#[derive(Debug, Clone)]
enum Step {
    Alloc,
    Operate(Index, Op),
    End(Index, End),
    Flush,
    /// One end sends up to so many owned packets.
    Send(usize, usize),
    /// One end receives up to so many.
    Receive(usize, u32, Vec<Act>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Alloc),
        8 => (any::<Index>(), op()).prop_map(|(which, op)| Step::Operate(which, op)),
        2 => (any::<Index>(), end()).prop_map(|(which, end)| Step::End(which, end)),
        1 => Just(Step::Flush),
        2 => (0..2usize, 0..6usize).prop_map(|(end, count)| Step::Send(end, count)),
        4 => (0..2usize, 0..6u32, acts()).prop_map(|(end, budget, acts)| Step::Receive(end, budget, acts)),
    ]
}

struct Bed {
    handle: PoolHandle,
    ends: [Loopback; 2],
    /// What waits for each end.
    arriving: [VecDeque<Arrival>; 2],
    books: Books,
    capacity: usize,
}

impl Bed {
    fn new(slots: u32, headroom_bytes: u32, capacity: usize) -> Self {
        let handle = pool(slots, headroom_bytes);
        let books = Books::of(&handle);
        let (one, other) = Loopback::pair(&handle, capacity);
        Self {
            handle,
            ends: [one, other],
            arriving: [(); 2].map(|()| VecDeque::new()),
            books,
            capacity,
        }
    }

    fn room(&self, end: usize) -> usize {
        self.capacity - self.arriving[1 - end].len()
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Alloc => {
                let free = self.audit().owners[Owner::Free];
                self.books.alloc(&self.handle, free);
            }
            Step::Operate(which, op) => self.books.operate(*which, op),
            Step::End(which, end) => self.books.end(*which, *end),
            Step::Flush => self.handle.flush(),
            Step::Send(end, count) => {
                let room = self.room(*end);
                assert_eq!(self.ends[*end].tx_room() as usize, room);
                let (mut packets, mut places) = self.books.queue(*count);
                let sent = self.ends[*end].transmit(&mut packets).unwrap();
                assert_eq!(sent, room.min(places.len()));
                self.arriving[1 - end].extend(places.drain(..sent).map(Arrival::At));
                self.books.owned.extend(packets.into_iter().zip(places));
            }
            Step::Receive(end, budget, acts) => {
                let limits = Limits { room: self.room(*end), shortest: 0 };
                let (device, arriving) = (&mut self.ends[*end], &mut self.arriving[*end]);
                let sent = receive(device, &mut self.books, arriving, limits, (*budget, acts));
                self.arriving[1 - end].extend(sent.into_iter().map(Arrival::At));
            }
        }
    }

    fn audit(&self) -> Audit {
        let ends = self.ends.iter().map(Device::walk);
        Audit::of(self.handle.pool(), ends.chain([self.handle.walk()]))
    }

    fn check(&self) {
        let away: usize = self.arriving.iter().map(VecDeque::len).sum();
        let mut audit = self.audit();
        // What waits for an end counts as received by it.
        audit.counts.received -= away as u64;
        self.books.check(audit, away);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    // Planted and caught: push that does not lengthen; put one byte past the tailroom; reserve with
    // bytes; what fits exactly refused; a refused pull that empties; a moved front that leaves the
    // pointer of a lent packet; put that returns the front; a span lost after the closure; no bound on
    // the queue; an unwound packet counted as consumed.
    #[test]
    fn packets_equal_their_model(
        slots in 1..24u32, headroom_bytes in prop_oneof![Just(0), Just(512), 0..=512u32],
        capacity in 0..8usize, steps in vec(step(), 1..60),
    ) {
        let mut bed = Bed::new(slots, headroom_bytes, capacity);
        for step in &steps {
            bed.run(step);
            bed.check();
        }
        // The ends go: what waited for them has a reason, and every slot is back.
        let Bed { handle, ends, arriving, mut books, .. } = bed;
        let waiting = arriving.iter().map(VecDeque::len).sum::<usize>() as u64;
        let walks = ends.each_ref().map(|end| end.walk().counts_only());
        drop(ends);
        books.counts.received += waiting;
        books.counts.dropped[DropReason::QueuePurge] += waiting;
        books.end_all();
        let audit = books.check(Audit::of(handle.pool(), walks.into_iter().chain([handle.walk()])), 0);
        prop_assert_eq!(audit.owners[Owner::Free], u64::from(slots));
        prop_assert_eq!(handle.pool().in_flight(), 0);
    }
}
