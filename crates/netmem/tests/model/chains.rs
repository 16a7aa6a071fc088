//! Chains of frames, over pools of aligned and unaligned slots, through two ports that send for
//! themselves and for each other: every frame equals its `Vec<u8>` (K1), every packet ends once (K6).

use std::{
    collections::VecDeque,
    panic::{self, AssertUnwindSafe, catch_unwind},
};

use netmem::{
    device::{Device, Tally, Verdict},
    fake::FakeKernel,
    mem::{
        Audit, Counts, DropReason, Packet, PacketMut, PageTier, Pool, PoolConfig, PoolHandle,
        Region, audit::Owner,
    },
    xdp::{Port, RingSizes, XdpDesc},
};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::books::{PLANNED, silence_planned_panics};

/// The kernel leaves this in front of a packet.
const HEADROOM: u32 = 256;
/// `XDP_PKT_CONTD`.
const CONTD: u32 = 1;
/// No longer chain is sent.
const MAX_FRAMES: usize = 18;

type Frames = Vec<Vec<u8>>;

#[derive(Debug, Clone, Copy)]
enum Op {
    Push(u8),
    Pull(u8),
    Put(u8),
    Trim(u16),
    /// Adds one to a byte of some frame.
    Write(Index, Index),
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Consume,
    Drop,
    Transmit,
    Keep,
    Panic,
}

impl Answer {
    fn verdict(self) -> Verdict {
        match self {
            Self::Drop => Verdict::Drop(DropReason::IpCsum),
            Self::Transmit => Verdict::Transmit,
            Self::Keep => Verdict::Keep,
            Self::Consume | Self::Panic => Verdict::Consume,
        }
    }
}

type Act = (Vec<Op>, Answer);

#[derive(Debug, Clone)]
enum Step {
    /// The peer of a port receives a packet of these lengths.
    Deliver(usize, Vec<u32>),
    /// The peer of a port publishes so many frames of a packet, and not its end; then the end.
    Part(usize, usize),
    End(usize),
    /// A port receives, and sends by itself or by the other.
    Receive(usize, bool, u32, Vec<Act>),
    Alloc(Vec<u8>),
    Append(Index, Index),
    Operate(Index, Op),
    Finish(Index, bool),
    Transmit(usize, usize),
    Send(usize),
    Complete(usize, usize),
    CompleteNewest(usize),
    Flush(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        any::<u8>().prop_map(Op::Push),
        any::<u8>().prop_map(Op::Pull),
        any::<u8>().prop_map(Op::Put),
        (0..300u16).prop_map(Op::Trim),
        (any::<Index>(), any::<Index>()).prop_map(|(frame, byte)| Op::Write(frame, byte)),
    ]
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let answer = prop_oneof![
        2 => Just(Answer::Consume),
        2 => Just(Answer::Drop),
        6 => Just(Answer::Transmit),
        3 => Just(Answer::Keep),
        1 => Just(Answer::Panic),
    ];
    vec((vec(op(), 0..3), answer), 1..6)
}

fn step() -> impl Strategy<Value = Step> {
    let port = || 0..2usize;
    let frames = || prop_oneof![3 => 1..2usize, 4 => 2..5usize, 1 => 5..22usize];
    let lengths = frames().prop_flat_map(|count| vec(0..=256u32, count..=count));
    let receive = (port(), any::<bool>(), 0..8u32, acts());
    prop_oneof![
        9 => (port(), lengths).prop_map(|(port, lengths)| Step::Deliver(port, lengths)),
        1 => (port(), 1..4usize).prop_map(|(port, count)| Step::Part(port, count)),
        2 => port().prop_map(Step::End),
        9 => receive.prop_map(|(port, over, budget, acts)| Step::Receive(port, over, budget, acts)),
        2 => vec(any::<u8>(), 0..40).prop_map(Step::Alloc),
        2 => (any::<Index>(), any::<Index>()).prop_map(|(to, from)| Step::Append(to, from)),
        2 => (any::<Index>(), op()).prop_map(|(which, op)| Step::Operate(which, op)),
        1 => (any::<Index>(), any::<bool>()).prop_map(|(which, drop)| Step::Finish(which, drop)),
        2 => (port(), 0..6usize).prop_map(|(port, count)| Step::Transmit(port, count)),
        4 => port().prop_map(Step::Send),
        3 => (port(), 0..6usize).prop_map(|(port, max)| Step::Complete(port, max)),
        1 => port().prop_map(Step::CompleteNewest),
        1 => port().prop_map(Step::Flush),
    ]
}

/// What owned packets and lent ones have in common.
trait Chain {
    fn copy(&self) -> Frames;
    fn rooms(&self) -> (usize, usize, usize);
    fn change(&mut self, op: Op) -> bool;
}

macro_rules! chain {
    ($($packet:ty),+) => {$(
        impl Chain for $packet {
            fn copy(&self) -> Frames {
                let frames: Frames = self.frames().map(<[u8]>::to_vec).collect();
                assert_eq!(frames.len(), self.frame_count());
                assert_eq!(frames[0], self.bytes());
                assert_eq!(self.frame(frames.len()), None);
                frames
            }

            fn rooms(&self) -> (usize, usize, usize) {
                (self.headroom(), self.tailroom(), self.total_len())
            }

            fn change(&mut self, op: Op) -> bool {
                match op {
                    Op::Push(n) => self.push(n.into()).map(|new| new.fill(n)).is_ok(),
                    Op::Pull(n) => self.pull(n.into()).is_ok(),
                    Op::Put(n) => self.put(n.into()).map(|new| new.fill(n)).is_ok(),
                    Op::Trim(n) => self.trim(n.into()).is_ok(),
                    Op::Write(frame, byte) => {
                        let frame = frame.index(self.frame_count());
                        let bytes = self.frame_mut(frame).unwrap();
                        if bytes.is_empty() {
                            return false;
                        }
                        let at = byte.index(bytes.len());
                        bytes[at] = bytes[at].wrapping_add(1);
                        true
                    }
                }
            }
        }
    )+};
}

chain!(Packet, PacketMut<'_>);

/// Does `op` to a packet and to its model; both agree (K1, K2).
fn apply(op: Op, packet: &mut impl Chain, model: &mut Frames) {
    let (headroom, tailroom, _) = packet.rooms();
    let last = model.len() - 1;
    let fits = match op {
        Op::Push(n) => usize::from(n) <= headroom,
        Op::Pull(n) => usize::from(n) <= model[0].len(),
        Op::Put(n) => usize::from(n) <= tailroom,
        Op::Trim(n) => usize::from(n) <= model[last].len(),
        Op::Write(frame, _) => !model[frame.index(model.len())].is_empty(),
    };
    assert_eq!(packet.change(op), fits, "{op:?}");
    if fits {
        match op {
            Op::Push(n) => _ = model[0].splice(..0, vec![n; n.into()]),
            Op::Pull(n) => _ = model[0].drain(..usize::from(n)),
            Op::Put(n) => model[last].extend(vec![n; n.into()]),
            Op::Trim(n) => {
                let len = model[last].len() - usize::from(n);
                model[last].truncate(len);
            }
            Op::Write(frame, byte) => {
                let frame = frame.index(model.len());
                let at = byte.index(model[frame].len());
                model[frame][at] = model[frame][at].wrapping_add(1);
            }
        }
    }
    check(packet, model);
}

fn check(packet: &impl Chain, model: &Frames) {
    assert_eq!(packet.copy(), *model, "K1");
    assert_eq!(packet.rooms().2, model.iter().map(Vec::len).sum::<usize>());
}

/// The packet is the one that was to come; returns its bytes.
fn arrive(arrival: Result<Frames, usize>, packet: &PacketMut<'_>) -> Frames {
    let model = arrival.unwrap_or_else(|count| {
        let frames = packet.copy();
        assert!(frames.len() == count && frames.iter().all(|frame| frame.len() == 60));
        frames
    });
    assert_eq!(packet.headroom(), HEADROOM as usize);
    check(packet, &model);
    model
}

fn descriptors(model: &Frames) -> usize {
    model.iter().filter(|frame| !frame.is_empty()).count()
}

/// One port, its peer, and what both have.
struct Side {
    port: Port,
    kernel: FakeKernel,
    sizes: RingSizes,
    /// In the rx ring. `None`: its bytes are whatever the slots hold.
    arriving: VecDeque<Result<Frames, usize>>,
    /// Frames of a packet whose end has not come.
    part: usize,
    queued: VecDeque<Frames>,
    sending: VecDeque<Frames>,
    /// Completed and not reaped: packets, and their slots.
    completed: (usize, usize),
}

impl Side {
    fn of(handle: &PoolHandle, sizes: RingSizes, start: u32) -> Self {
        let (port, kernel) = FakeKernel::port(handle, sizes, start);
        Self {
            port,
            kernel,
            sizes,
            arriving: VecDeque::new(),
            part: 0,
            queued: VecDeque::new(),
            sending: VecDeque::new(),
            completed: (0, 0),
        }
    }

    /// The port reaps. Returns the room in slots (X2).
    fn room(&mut self, transmitted: &mut u64) -> usize {
        *transmitted += self.completed.0 as u64;
        self.completed = (0, 0);
        let slots = |packets: &VecDeque<Frames>| packets.iter().map(descriptors).sum::<usize>();
        let (queued, sending) = (slots(&self.queued), slots(&self.sending));
        let tx = self.sizes.tx as usize - queued;
        tx.min((self.sizes.completion as usize).saturating_sub(queued + sending))
    }

    fn held(&self) -> usize {
        self.queued.len() + self.sending.len() + self.completed.0
    }
}

struct Bed {
    handle: PoolHandle,
    sides: [Side; 2],
    owned: Vec<(Packet, Frames)>,
    counts: Counts,
    serial: u8,
}

impl Bed {
    fn new(frame_bytes: u32, slots: u32, sizes: [RingSizes; 2], start: u32) -> Self {
        let region = Region::builder((slots * frame_bytes) as usize).tiers(&[PageTier::Base4K]);
        let config = PoolConfig {
            frame_bytes,
            frames: Some(slots),
            cache: 6,
            refill: 4,
            headroom_bytes: 100,
        };
        let handle = Pool::new(region.build().unwrap(), config).unwrap().handle();
        let sides = sizes.map(|sizes| Side::of(&handle, sizes, start));
        Self { handle, sides, owned: Vec::new(), counts: Counts::default(), serial: 0 }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Deliver(port, lengths) => self.deliver(*port, lengths),
            Step::Part(port, count) => self.deliver_part(*port, *count, CONTD),
            Step::End(port) => self.deliver_part(*port, 1, 0),
            Step::Receive(port, over, budget, acts) => self.receive(*port, *over, *budget, acts),
            Step::Alloc(bytes) => {
                let Some(mut packet) = self.handle.alloc() else { return };
                let len = u32::try_from(bytes.len()).unwrap();
                packet.put(len).unwrap().copy_from_slice(bytes);
                self.counts.created += 1;
                self.owned.push((packet, vec![bytes.clone()]));
            }
            Step::Append(to, from) if self.owned.len() > 1 => {
                let (from, frames) = self.owned.swap_remove(from.index(self.owned.len()));
                let to = to.index(self.owned.len());
                self.owned[to].0.append(from).unwrap();
                self.owned[to].1.extend(frames);
                self.counts.consumed += 1;
            }
            Step::Operate(which, op) if !self.owned.is_empty() => {
                let (packet, model) = which.get_mut(&mut self.owned);
                apply(*op, packet, model);
            }
            Step::Finish(which, silently) if !self.owned.is_empty() => {
                let (packet, _) = self.owned.swap_remove(which.index(self.owned.len()));
                if *silently {
                    self.counts.dropped[DropReason::NotSpecified] += 1;
                } else {
                    self.counts.consumed += 1;
                    packet.consume();
                }
            }
            Step::Append(..) | Step::Operate(..) | Step::Finish(..) => {}
            Step::Transmit(port, count) => self.transmit(*port, *count),
            Step::Send(port) => self.send(*port),
            Step::Complete(port, max) => {
                let side = &mut self.sides[*port];
                for _ in 0..side.kernel.complete(*max) {
                    let packet = side.sending.pop_front().unwrap();
                    side.completed.0 += 1;
                    side.completed.1 += descriptors(&packet);
                }
            }
            Step::CompleteNewest(port) => {
                let side = &mut self.sides[*port];
                if side.kernel.complete_newest() {
                    let packet = side.sending.pop_back().unwrap();
                    side.completed.0 += 1;
                    side.completed.1 += descriptors(&packet);
                }
            }
            Step::Flush(port) => {
                self.sides[*port].port.flush().unwrap();
                self.sides[*port].room(&mut self.counts.transmitted);
            }
        }
    }

    fn deliver(&mut self, port: usize, lengths: &[u32]) {
        let side = &mut self.sides[port];
        if side.part > 0 {
            return; // the chain that has begun ends first
        }
        self.serial = self.serial.wrapping_add(1);
        let frames: Frames = (0..)
            .zip(lengths)
            .map(|(n, &len)| (0..len).map(|at| at.to_le_bytes()[0] ^ self.serial ^ n).collect())
            .collect();
        if side.kernel.deliver_chain(&frames.iter().map(Vec::as_slice).collect::<Vec<_>>()) {
            side.arriving.push_back(Ok(frames));
        }
    }

    /// Publishes frames of 60 bytes, of a packet that goes on (`CONTD`) or ends with the last.
    fn deliver_part(&mut self, port: usize, count: usize, options: u32) {
        let side = &mut self.sides[port];
        for _ in 0..count {
            // A chain that fills the ring is another test's.
            if side.part + 2 > side.sizes.rx as usize || side.waiting() >= side.sizes.rx as usize {
                return;
            }
            let Some(start) = side.kernel.take_fill() else { return };
            let addr = side.kernel.address(start, HEADROOM);
            assert!(side.kernel.deliver_raw(XdpDesc { addr, len: 60, options }));
            side.part += 1;
        }
        if options == 0 {
            side.arriving.push_back(Err(side.part));
            side.part = 0;
        }
    }

    fn receive(&mut self, port: usize, over: bool, budget: u32, acts: &[Act]) {
        silence_planned_panics();
        let out = if over { 1 - port } else { port };
        self.sides[port].room(&mut self.counts.transmitted);
        let mut room = self.sides[out].room(&mut self.counts.transmitted);
        let waiting = u32::try_from(self.sides[port].arriving.len()).unwrap();
        let Self { sides: [one, other], owned, counts, .. } = self;
        let (side, out) = if port == 0 { (one, other) } else { (other, one) };
        let (mut expected, mut sent, mut keeping) = (Tally::default(), Vec::new(), Vec::new());
        let arriving = &mut side.arriving;
        let mut acts = acts.iter().cycle();
        let closure = |packet: &mut PacketMut<'_>| {
            let mut model = arrive(arriving.pop_front().expect("more than was to come"), packet);
            expected.received += 1;
            let (ops, answer) = acts.next().expect("a cycle has no end");
            ops.iter().for_each(|&op| apply(op, packet, &mut model));
            match answer {
                Answer::Consume => counts.consumed += 1,
                Answer::Drop => counts.dropped[DropReason::IpCsum] += 1,
                Answer::Panic => {
                    counts.dropped[DropReason::Unwound] += 1;
                    panic!("{PLANNED}");
                }
                Answer::Transmit => {
                    let needed = 1 + descriptors(&model[1..].to_vec());
                    if needed > room.min(MAX_FRAMES) {
                        counts.dropped[DropReason::FullRing] += 1;
                    } else if model[0].len() < 14 {
                        counts.dropped[DropReason::PktTooSmall] += 1;
                    } else {
                        room -= needed;
                        expected.transmitted += 1;
                        sent.push(model);
                    }
                }
                Answer::Keep => keeping.push(model),
            }
            answer.verdict()
        };
        let mut kept = Vec::new();
        let done = catch_unwind(AssertUnwindSafe(|| {
            if over {
                side.port.receive_to(&mut out.port, budget, &mut kept, closure).unwrap()
            } else {
                side.port.receive(budget, &mut kept, closure)
            }
        }));
        expected.kept = u32::try_from(keeping.len()).unwrap();
        match done {
            Ok(tally) => {
                assert_eq!(tally, expected);
                assert_eq!(tally.received, budget.min(waiting), "what is there comes");
            }
            Err(payload)
                if payload.downcast_ref::<String>().is_some_and(|text| text == PLANNED) => {}
            Err(payload) => panic::resume_unwind(payload),
        }
        counts.received += u64::from(expected.received);
        (if over { out } else { side }).queued.extend(sent);
        assert_eq!(kept.len(), keeping.len());
        owned.extend(kept.into_iter().zip(keeping));
    }

    fn transmit(&mut self, port: usize, count: usize) {
        let Self { sides, owned, counts, .. } = self;
        let side = &mut sides[port];
        let mut room = side.room(&mut counts.transmitted);
        let longest = MAX_FRAMES.min(side.sizes.tx as usize).min(side.sizes.completion as usize);
        let first = owned.len().saturating_sub(count);
        let (mut packets, mut models): (VecDeque<_>, VecDeque<_>) = owned.drain(first..).unzip();
        let accepted = side.port.transmit(&mut packets).unwrap();
        let mut sent = 0;
        while room > 0 {
            let Some(model) = models.pop_front() else { break };
            let needed = descriptors(&model);
            if model[0].len() < 14 {
                counts.dropped[DropReason::PktTooSmall] += 1;
            } else if needed > longest {
                counts.dropped[DropReason::FullRing] += 1;
            } else if needed > room {
                models.push_front(model);
                break;
            } else {
                room -= needed;
                sent += 1;
                side.queued.push_back(model);
            }
        }
        assert_eq!((accepted, packets.len()), (sent, models.len()));
        owned.extend(packets.into_iter().zip(models));
    }

    /// Every packet goes out once, in order, with the frames of its model that have bytes.
    fn send(&mut self, port: usize) {
        let Side { kernel, queued, sending, .. } = &mut self.sides[port];
        kernel.send_chains(|frames| {
            let model = queued.pop_front().expect("more is sent than was queued");
            let with_bytes: Vec<_> = model.iter().filter(|frame| !frame.is_empty()).collect();
            assert_eq!(frames, with_bytes, "sent as the closure left it");
            sending.push_back(model);
        });
        assert!(queued.is_empty(), "{} packets are queued and not sent", queued.len());
    }

    fn check(&self) {
        self.owned.iter().for_each(|(packet, model)| check(packet, model));
        let walks = self.sides.iter().map(|side| side.port.walk()).chain([self.handle.walk()]);
        let audit = Audit::of(self.handle.pool(), walks);
        assert!(audit.is_ok(), "{:?} {:?}", audit.findings, audit.owners);
        let held = self.owned.len() + self.sides.iter().map(Side::held).sum::<usize>();
        assert_eq!(audit.held, held as u64, "{:?}", audit.owners);
        assert_eq!(audit.counts, self.counts);
        let waiting: usize = self.sides.iter().map(Side::waiting).sum();
        assert_eq!(audit.owners[Owner::Rx], waiting as u64);
    }
}

impl Side {
    /// Slots in the rx ring.
    fn waiting(&self) -> usize {
        let slots = |packet: &Result<Frames, usize>| packet.as_ref().map_or_else(|&n| n, Vec::len);
        self.part + self.arriving.iter().map(slots).sum::<usize>()
    }
}

fn sizes() -> impl Strategy<Value = RingSizes> {
    let size = || (2..7u32).prop_map(|shift| 1 << shift);
    (size(), size(), size(), size()).prop_map(|(rx, tx, fill, completion)| RingSizes {
        rx,
        tx,
        fill,
        completion,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    // Planted and caught: slots of a chain counted as packets, when sent, kept, or purged; a chain sent
    // without XDP_PKT_CONTD, or without room for all of it; one slot counted for a chain on the rx side
    // (X1); slots behind the first, or of empty frames, not put back; a completed unaligned slot refilled
    // by its data's address; the unaligned offset ignored; part of a chain lent; trim of another frame
    // than the last; slots given to a device that stay cached; what another port sends committed on the
    // one that received it; a kept chain without its frames.
    // Found by it: a batch that ended early behind a chain; owned packets refused behind a chain while
    // the tx ring had room.
    #[test]
    fn chains_equal_their_model_across_every_wrap(
        frame_bytes in prop_oneof![Just(512u32), Just(600), 513..1000u32], slots in 40..200u32,
        sizes in [sizes(), sizes()], before_wrap in 0..200u32, steps in vec(step(), 1..80),
    ) {
        let mut bed = Bed::new(frame_bytes, slots, sizes, 0u32.wrapping_sub(before_wrap));
        bed.check();
        for step in &steps {
            bed.run(step);
            bed.check();
        }
        // The ports go with packets in every ring, and parts of them; the kernel has sent what it took.
        for port in [0, 1] {
            bed.run(&Step::Complete(port, usize::MAX));
            bed.sides[port].room(&mut bed.counts.transmitted);
            bed.sides[port].port.flush().unwrap();
        }
        let Bed { handle, sides, owned, mut counts, .. } = bed;
        let mut walks = Vec::new();
        for mut side in sides {
            side.kernel.complete(usize::MAX);
            counts.transmitted += side.sending.len() as u64;
            let purged = side.arriving.len() + usize::from(side.part > 0);
            counts.received += purged as u64;
            counts.dropped[DropReason::QueuePurge] += (purged + side.queued.len()) as u64;
            // The device goes: what is queued is not waited for.
            side.kernel.calls().answer_kicks(&[libc::ENXIO]);
            let closed = side.port.close();
            prop_assert_eq!(closed.quarantined, 0);
            walks.push(closed.walk);
        }
        counts.consumed += owned.len() as u64;
        owned.into_iter().for_each(|(packet, _)| packet.consume());
        let audit = Audit::of(handle.pool(), walks.into_iter().chain([handle.walk()]));
        prop_assert!(audit.is_ok(), "{:?} {:?}", audit.findings, audit.owners);
        prop_assert_eq!(audit.counts, counts);
        prop_assert_eq!(audit.owners[Owner::Free], u64::from(slots));
        prop_assert_eq!(handle.pool().in_flight(), 0);
    }
}
