//! What a pool and a device must have done so far, and the closure and the sink that keep count.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    mem,
    panic::{self, AssertUnwindSafe, catch_unwind},
    sync::Once,
};

use netmem::{
    device::{Device, Keep, Verdict},
    mem::{
        Audit, Counts, DropReason, Packet, PacketMut, PageTier, Pool, PoolConfig, PoolHandle,
        Region,
    },
};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::frames::{FRAME_BYTES, Frames, Op, Place, op};

/// How a packet ends, or is made to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    Consume,
    Discard(DropReason),
    Drop,
}

pub(crate) fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Consume), reason().prop_map(End::Discard), Just(End::Drop)]
}

fn reason() -> impl Strategy<Value = DropReason> {
    any::<Index>().prop_map(|index| *index.get(DropReason::ALL))
}

/// What the closure does with one packet.
#[derive(Debug, Clone)]
pub(crate) struct Act {
    ops: Vec<Op>,
    answer: Answer,
}

impl Act {
    /// The packet is consumed as it is.
    pub(crate) fn consume() -> [Self; 1] {
        [Self { ops: Vec::new(), answer: Answer::Verdict(Verdict::Consume) }]
    }
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Verdict(Verdict),
    /// The closure panics.
    Panic,
    /// The packet is kept, and the sink panics with it.
    PanicInSink,
}

/// What the closure does with the packets of a batch: one after the other, then from the start.
pub(crate) fn acts() -> impl Strategy<Value = Vec<Act>> {
    let answer = prop_oneof![
        6 => Just(Answer::Verdict(Verdict::Consume)),
        3 => reason().prop_map(|reason| Answer::Verdict(Verdict::Drop(reason))),
        9 => Just(Answer::Verdict(Verdict::Transmit)),
        6 => Just(Answer::Verdict(Verdict::Keep)),
        1 => Just(Answer::Panic),
        1 => Just(Answer::PanicInSink),
    ];
    let ops = prop_oneof![2 => Just(Vec::new()), 3 => vec(op(), 1..6)];
    vec((ops, answer).prop_map(|(ops, answer)| Act { ops, answer }), 1..8)
}

/// A packet that a device has to deliver next.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// These bytes, behind the peer's headroom, in a slot that only the peer knows.
    Bytes(Vec<u8>),
    /// The packet that is here.
    At(Place),
}

/// How a device differs from others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// How many packets can be sent now.
    pub(crate) room: usize,
    /// The shortest packet that is sent, in bytes.
    pub(crate) shortest: u32,
}

/// The model.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) frames: Frames,
    /// Owned packets, and what they should be.
    pub(crate) owned: Vec<(Packet, Place)>,
    /// Slots that somebody but the pool and the peer's receive side has.
    pub(crate) taken: Vec<bool>,
    /// `created`, `received`, `consumed` and `dropped`, as the audit must have them.
    pub(crate) counts: Counts,
    kept: Option<(Place, bool)>,
}

impl Books {
    pub(crate) fn of(handle: &PoolHandle) -> Self {
        let frames = Frames::of(handle);
        let counts = Counts { created: 1, consumed: 1, ..Counts::default() };
        let taken = vec![false; handle.pool().slots() as usize];
        Self { frames, owned: Vec::new(), taken, counts, kept: None }
    }

    fn take(&mut self, slot: usize) {
        assert!(!self.taken[slot], "slot {slot} has a second owner (P2)");
        self.taken[slot] = true;
    }

    /// Allocates; there is a packet exactly if the audit has just found a free slot (P4).
    pub(crate) fn alloc(&mut self, handle: &PoolHandle, free: u64) {
        let packet = handle.alloc();
        assert_eq!(packet.is_some(), free > 0, "P4");
        let Some(packet) = packet else { return };
        let place = self.frames.place(&packet);
        assert_eq!((place.headroom, place.len), (handle.pool().config().headroom_bytes, 0));
        self.take(place.slot);
        self.counts.created += 1;
        self.owned.push((packet, place));
    }

    pub(crate) fn operate(&mut self, which: Index, op: &Op) {
        if self.owned.is_empty() {
            return;
        }
        let which = which.index(self.owned.len());
        let (packet, place) = &mut self.owned[which];
        self.frames.apply(op, packet, place);
    }

    pub(crate) fn end(&mut self, which: Index, end: End) {
        if self.owned.is_empty() {
            return;
        }
        let one = self.owned.swap_remove(which.index(self.owned.len()));
        self.end_one(one, end);
    }

    pub(crate) fn end_all(&mut self) {
        for one in mem::take(&mut self.owned) {
            self.end_one(one, End::Consume);
        }
    }

    fn end_one(&mut self, (packet, place): (Packet, Place), end: End) {
        self.taken[place.slot] = false;
        match end {
            End::Consume => {
                self.counts.consumed += 1;
                packet.consume();
            }
            End::Discard(reason) => {
                self.counts.dropped[reason] += 1;
                packet.discard(reason);
            }
            End::Drop => {
                self.counts.dropped[DropReason::NotSpecified] += 1;
                drop(packet);
            }
        }
    }

    /// The device drops a packet that is too short to be sent.
    pub(crate) fn too_short(&mut self, place: Place) {
        self.taken[place.slot] = false;
        self.counts.dropped[DropReason::PktTooSmall] += 1;
    }

    /// The last `count` owned packets, in a queue to be sent from; their places, in order.
    pub(crate) fn queue(&mut self, count: usize) -> (VecDeque<Packet>, VecDeque<Place>) {
        let first = self.owned.len().saturating_sub(count);
        self.owned.drain(first..).unzip()
    }

    /// What every step ends with: bytes, slots and counts are as the books say. `away` packets are
    /// on their way out of a device. Returns the audit.
    pub(crate) fn check(&self, audit: Audit, away: usize) -> Audit {
        for (packet, place) in &self.owned {
            self.frames.check(packet, place);
        }
        assert!(audit.is_ok(), "{:?} {:?}", audit.findings, audit.owners);
        assert_eq!(audit.held, (self.owned.len() + away) as u64, "{:?}", audit.owners);
        let transmitted = audit.counts.transmitted;
        assert_eq!(audit.counts, Counts { transmitted, ..self.counts });
        audit
    }

    /// The packet that the closure is shown is the one that was to come; returns its place.
    fn arrive(&mut self, arrival: Arrival, packet: &PacketMut<'_>) -> Place {
        let place = self.frames.place(packet);
        match arrival {
            Arrival::Bytes(bytes) => {
                assert!(!self.taken[place.slot], "slot {} has a second owner (P2)", place.slot);
                assert_eq!((place.headroom, packet.len()), (256, bytes.len()));
                self.frames.bytes_mut(&place).copy_from_slice(&bytes);
            }
            Arrival::At(from) => assert_eq!(place, from),
        }
        self.taken[place.slot] = true;
        self.frames.check(packet, &place);
        place
    }

    /// Acts on a packet, and writes down what must become of it.
    fn act(&mut self, act: &Act, packet: &mut PacketMut<'_>, seen: &mut Batch<'_>) -> Verdict {
        let arrival = seen.arriving.pop_front().expect("more packets than were to come");
        let mut place = self.arrive(arrival, packet);
        self.counts.received += 1;
        seen.received += 1;
        for op in &act.ops {
            self.frames.apply(op, packet, &mut place);
        }
        let mut back = |reason: Option<DropReason>| {
            self.taken[place.slot] = false;
            match reason {
                Some(reason) => self.counts.dropped[reason] += 1,
                None => self.counts.consumed += 1,
            }
        };
        match act.answer {
            Answer::Verdict(Verdict::Consume) => back(None),
            Answer::Verdict(Verdict::Drop(reason)) => back(Some(reason)),
            Answer::Verdict(Verdict::Transmit) if seen.sent.len() == seen.limits.room => {
                back(Some(DropReason::FullRing));
            }
            Answer::Verdict(Verdict::Transmit) if place.len < seen.limits.shortest => {
                back(Some(DropReason::PktTooSmall));
            }
            Answer::Verdict(Verdict::Transmit) => seen.sent.push_back(place),
            Answer::Verdict(Verdict::Keep) | Answer::PanicInSink => {
                self.kept = Some((place, matches!(act.answer, Answer::PanicInSink)));
            }
            Answer::Panic => {
                back(Some(DropReason::Unwound));
                panic!("{PLANNED}");
            }
        }
        match act.answer {
            Answer::Verdict(verdict) => verdict,
            _ => Verdict::Keep,
        }
    }
}

/// One call of `receive`, as the books see it.
struct Batch<'a> {
    limits: Limits,
    arriving: &'a mut VecDeque<Arrival>,
    received: u32,
    sent: VecDeque<Place>,
}

/// Takes what the closure keeps.
struct Sink<'a> {
    books: &'a RefCell<&'a mut Books>,
    kept: Cell<u32>,
}

impl Keep for Sink<'_> {
    fn keep(&mut self, packet: Packet) {
        let mut books = self.books.borrow_mut();
        let (place, panics) = books.kept.take().expect("only what was kept comes here");
        books.frames.check(&packet, &place);
        if panics {
            books.taken[place.slot] = false;
            books.counts.dropped[DropReason::NotSpecified] += 1;
            panic!("{PLANNED}");
        }
        self.kept.set(self.kept.get() + 1);
        books.owned.push((packet, place));
    }
}

pub(crate) const PLANNED: &str = "a planned panic";

/// Keeps planned panics off the terminal.
pub(crate) fn silence_planned_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if info.payload_as_str() != Some(PLANNED) {
                before(info);
            }
        }));
    });
}

/// Receives up to `budget` packets, each as `acts` say; returns where the packets are that were sent.
pub(crate) fn receive(
    device: &mut impl Device,
    books: &mut Books,
    arriving: &mut VecDeque<Arrival>,
    limits: Limits,
    (budget, acts): (u32, &[Act]),
) -> VecDeque<Place> {
    silence_planned_panics();
    let waiting = u32::try_from(arriving.len()).unwrap();
    let mut batch = Batch { limits, arriving, received: 0, sent: VecDeque::new() };
    let books = RefCell::new(books);
    let mut sink = Sink { books: &books, kept: Cell::new(0) };
    let mut acts = acts.iter().cycle();
    let done = catch_unwind(AssertUnwindSafe(|| {
        device.receive(budget, &mut sink, |packet| {
            let act = acts.next().expect("a cycle has no end");
            books.borrow_mut().act(act, packet, &mut batch)
        })
    }));
    match done {
        Ok(tally) => {
            assert_eq!(tally.received, budget.min(waiting), "what is there comes");
            let counted = (batch.received, batch.sent.len(), sink.kept.get());
            assert_eq!((tally.received, tally.transmitted as usize, tally.kept), counted);
        }
        Err(payload) if payload.downcast_ref::<String>().is_some_and(|text| text == PLANNED) => {}
        Err(payload) => panic::resume_unwind(payload),
    }
    batch.sent
}

/// A pool of `slots` slots with small caches, so that they spill and refill.
pub(crate) fn pool(slots: u32, headroom_bytes: u32) -> PoolHandle {
    let region = Region::builder((slots * FRAME_BYTES) as usize).tiers(&[PageTier::Base4K]);
    let config = PoolConfig {
        frame_bytes: FRAME_BYTES,
        frames: Some(slots),
        cache: 6,
        refill: 4,
        headroom_bytes,
    };
    Pool::new(region.build().unwrap(), config).unwrap().handle()
}
