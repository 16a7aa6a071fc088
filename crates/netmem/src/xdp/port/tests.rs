//! The real port on the fake kernel's rings: content is checked, and the audit closes every test.

mod chains;

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::{
    fake::FakeKernel,
    mem::{Audit, PageTier, Pool, PoolConfig, Region, audit::Finding},
    xdp::{BusyPoll, RingSizes},
};

const SIZES: RingSizes = RingSizes { rx: 16, tx: 16, fill: 16, completion: 16 };

struct Bed {
    handle: PoolHandle,
    port: Port,
    kernel: FakeKernel,
}

impl Bed {
    fn with(frames: u32, sizes: RingSizes, start: u32) -> Self {
        let handle = handle(frames);
        let (port, kernel) = FakeKernel::port(&handle, sizes, start);
        Self { handle, port, kernel }
    }

    fn new() -> Self {
        Self::with(64, SIZES, u32::MAX - 7)
    }

    fn deliver(&mut self, numbers: std::ops::Range<u8>) {
        for n in numbers {
            assert!(self.kernel.deliver(&[n; 60]), "room for packet {n}");
        }
    }

    fn audit(&self) -> Audit {
        Audit::of(self.handle.pool(), [self.handle.walk(), self.port.walk()])
    }

    fn assert_closed(&self, held: u64) -> Audit {
        let audit = self.audit();
        assert!(audit.is_ok(), "{:?}\n{:?}", audit.findings, audit.owners);
        assert_eq!(audit.held, held);
        audit
    }
}

fn handle(frames: u32) -> PoolHandle {
    let region = Region::builder(frames as usize * 2048).tiers(&[PageTier::Base4K]).build();
    let config = PoolConfig { frames: Some(frames), cache: 8, refill: 4, ..PoolConfig::default() };
    Pool::new(region.unwrap(), config).unwrap().handle()
}

/// 2,000 packets through 16-entry rings whose indices cross 2^32: each arrives once, in order, intact,
/// and goes out again changed as the closure changed it.
#[test]
fn packets_are_reflected_intact_across_every_wrap() {
    let mut bed = Bed::with(64, SIZES, u32::MAX - 500);
    let (mut sent, mut seen, mut back) = (0u32, 0u32, 0u32);
    while back < 2000 {
        while sent < 2000
            && bed.kernel.deliver(&[sent.to_be_bytes(), [7; 4], [9; 4], [1; 4]].concat())
        {
            sent += 1;
        }
        bed.port.receive(5, &mut (), |packet| {
            assert_eq!(packet.bytes()[..4], seen.to_be_bytes());
            seen += 1;
            packet.bytes_mut()[4] = 8;
            packet.trim(1).unwrap();
            packet.push(2).unwrap().copy_from_slice(b"hi");
            Verdict::Transmit
        });
        bed.kernel.send(|bytes| {
            assert_eq!(bytes[..2], *b"hi");
            assert_eq!(bytes[2..6], back.to_be_bytes());
            assert_eq!((bytes[6], bytes.len()), (8, 17));
            back += 1;
        });
        bed.kernel.complete(usize::MAX);
    }
    bed.port.flush().unwrap();
    let audit = bed.assert_closed(0);
    assert_eq!((audit.counts.received, audit.counts.transmitted), (2000, 2000));
}

#[test]
fn verdicts_are_counted_apart_and_kept_packets_are_owned() {
    let mut bed = Bed::new();
    bed.deliver(0..8);
    let mut kept = Vec::new();
    let tally = bed.port.receive(64, &mut kept, |packet| match packet.bytes()[0] % 4 {
        0 => Verdict::Consume,
        1 => Verdict::Drop(DropReason::IcmpCsum),
        2 => Verdict::Keep,
        _ => Verdict::Transmit,
    });
    assert_eq!(tally, Tally { received: 8, transmitted: 2, kept: 2 });
    assert_eq!([kept[0].bytes(), kept[1].bytes()], [[2; 60], [6; 60]]);
    let audit = bed.assert_closed(4);
    assert_eq!(audit.counts.consumed, 2);
    assert_eq!(audit.counts.dropped[DropReason::IcmpCsum], 2);
    // Kept packets can be sent by the owned tier, and their slots come back by completion.
    let mut queue: VecDeque<Packet> = kept.into();
    assert_eq!(bed.port.transmit(&mut queue).unwrap(), 2);
    let mut bytes = Vec::new();
    bed.kernel.send(|packet| bytes.push(packet[0]));
    assert_eq!(bytes, [3, 7, 2, 6]);
    bed.kernel.complete(usize::MAX);
    bed.port.flush().unwrap();
    assert_eq!(bed.assert_closed(0).counts.transmitted, 4);
}

/// M2: verdicts before the panic stand, the packet is dropped with a reason, the rest stays.
#[test]
fn an_unwinding_closure_loses_nothing_but_its_packet() {
    let mut bed = Bed::new();
    bed.deliver(0..6);
    let mut seen = 0;
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        bed.port.receive(64, &mut (), |packet| {
            seen += 1;
            assert!(seen < 4, "planned");
            if packet.bytes()[0] == 1 { Verdict::Transmit } else { Verdict::Consume }
        });
    }));
    assert!(unwound.is_err());
    let audit = bed.assert_closed(1);
    assert_eq!(audit.counts.received, 4);
    assert_eq!(audit.counts.consumed, 2);
    assert_eq!(audit.counts.dropped[DropReason::Unwound], 1);
    assert_eq!(bed.kernel.send(|bytes| assert_eq!(bytes, [1; 60])), 1, "its verdict stands");
    let mut rest = Vec::new();
    bed.port.receive(64, &mut (), |packet| {
        rest.push(packet.bytes()[0]);
        Verdict::Consume
    });
    assert_eq!(rest, [4, 5], "the rest stayed in the rx ring");
    bed.kernel.complete(usize::MAX);
    bed.port.flush().unwrap();
    bed.assert_closed(0);
}

/// M2 for the sink: its packet is no longer the batch's, and is not counted twice.
#[test]
fn an_unwinding_sink_has_its_packet() {
    struct Sink;
    impl Keep for Sink {
        fn keep(&mut self, packet: Packet) {
            packet.consume();
            panic!("planned");
        }
    }
    let mut bed = Bed::new();
    bed.deliver(0..4);
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        bed.port.receive(64, &mut Sink, |packet| match packet.bytes()[0] {
            0 => Verdict::Consume,
            1 => Verdict::Transmit,
            _ => Verdict::Keep,
        });
    }));
    assert!(unwound.is_err());
    let counts = bed.assert_closed(1).counts;
    assert_eq!((counts.received, counts.consumed, counts.dropped.total()), (3, 2, 0));
}

/// The port goes while its batch unwinds: nobody is left to vouch for what the kernel may still use,
/// so it is quarantined; every slot is accounted for.
#[test]
fn a_port_dropped_by_unwinding_leaves_every_slot_accounted_for() {
    let Bed { handle, mut port, mut kernel } = Bed::new();
    for n in 0..6u8 {
        kernel.deliver(&[n; 60]);
    }
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        port.receive(64, &mut (), |packet| {
            assert_ne!(packet.bytes()[0], 3, "planned");
            Verdict::Consume
        });
    }));
    assert!(unwound.is_err());
    let audit = Audit::of(handle.pool(), [handle.walk()]);
    assert!(audit.is_ok(), "{:?}", audit.findings);
    // 16 were in the fill ring; the two behind the panic came back out of the rx ring.
    assert_eq!((audit.owners[Owner::Quarantined], audit.owners[Owner::Free]), (14, 50));
}

/// M1: an owned packet that is leaked shows as `user`; its slot is never handed out again.
#[test]
#[allow(clippy::mem_forget, reason = "the leak is what is tested")]
fn a_packet_leaked_out_of_a_batch_never_gets_a_second_owner() {
    let mut bed = Bed::with(17, SIZES, 0);
    bed.deliver(0..3);
    let mut kept = Vec::new();
    bed.port.receive(64, &mut kept, |_| Verdict::Keep);
    let addresses: Vec<_> = kept.iter().map(|packet| packet.bytes().as_ptr()).collect();
    mem::forget(kept);
    for round in 0..100u8 {
        bed.deliver(round..round + 1);
        bed.port.receive(64, &mut (), |packet| {
            assert!(!addresses.contains(&packet.bytes().as_ptr()), "a second owner");
            Verdict::Consume
        });
    }
    assert_eq!(bed.assert_closed(3).owners[Owner::User], 3);
}

/// M3: what finds no room in the tx ring is dropped with a reason, and its slot is received into
/// again; asking for the room first avoids it.
#[test]
fn a_full_tx_ring_drops_with_a_reason() {
    let mut bed = Bed::with(64, RingSizes { tx: 4, completion: 4, ..SIZES }, 0);
    bed.deliver(0..10);
    let tally = bed.port.receive(64, &mut (), |_| Verdict::Transmit);
    assert_eq!((tally.received, tally.transmitted), (10, 4));
    let audit = bed.assert_closed(4);
    assert_eq!(audit.counts.dropped[DropReason::FullRing], 6);

    bed.deliver(0..5);
    assert_eq!(bed.port.tx_room(), 0);
    bed.kernel.send(|_| {});
    assert_eq!(bed.port.tx_room(), 0, "X2: sent but not completed");
    bed.kernel.complete(3);
    let room = bed.port.tx_room();
    assert_eq!(room, 3);
    assert_eq!(bed.port.receive(room, &mut (), |_| Verdict::Transmit).transmitted, 3);
    assert_eq!(bed.assert_closed(4).counts.dropped[DropReason::FullRing], 6, "no more");
}

/// Slots go round from the program to the device and back many times: each time they can be had again.
/// Failed in release builds only, where a device returns slots without touching their state.
#[test]
fn sent_slots_can_be_allocated_again() {
    let mut bed = Bed::with(32, SIZES, 0);
    for round in 0..100u8 {
        let mut packet = bed.handle.alloc().expect("free slots");
        packet.put(60).unwrap().fill(round);
        assert_eq!(bed.port.transmit(&mut [packet].into()).unwrap(), 1);
        bed.kernel.send(|bytes| assert_eq!(bytes, [round; 60]));
        bed.kernel.complete(usize::MAX);
        bed.port.flush().unwrap();
    }
    assert_eq!(bed.handle.pool().statistics().corrupt, 0);
    bed.assert_closed(0);
}

/// A packet whose front was moved to the end of its slot is refused by transmit: its own slot goes
/// back, not the neighbour's.
#[test]
fn a_refused_transmit_gives_back_its_own_slot() {
    for len in [1792usize, 60] {
        let mut bed = Bed::with(64, SIZES, 0);
        for n in 0..16u8 {
            assert!(bed.kernel.deliver(&vec![n; len]));
        }
        bed.port.receive(64, &mut (), |packet| {
            packet.pull(u32::try_from(packet.len()).unwrap()).unwrap();
            packet.reserve(u32::try_from(packet.tailroom()).unwrap()).unwrap();
            Verdict::Transmit
        });
        assert_eq!(bed.assert_closed(0).counts.dropped[DropReason::PktTooSmall], 16);
    }
}

/// The kernel publishes what it received before it publishes what it took from the fill ring: a port
/// closed in between gives that slot back once.
#[test]
fn a_slot_delivered_and_still_in_the_fill_ring_comes_back_once() {
    let mut bed = Bed::with(64, SIZES, 0);
    let mut first = None;
    bed.port.rings.fill.walk(|addr| first = first.or(Some(addr)));
    let addr = first.unwrap() + 256;
    bed.kernel.publish(XdpDesc { addr, len: 60, options: 0 });
    let closed = bed.port.close();
    let audit = Audit::of(bed.handle.pool(), [bed.handle.walk(), closed.walk]);
    assert!(audit.is_ok(), "{:?}", audit.findings);
    assert_eq!(audit.owners[Owner::Free], 64);
}

/// Slots that wait in the tx ring come back by close, and small fill rings are topped up.
#[test]
fn unsent_slots_come_back_and_small_fill_rings_are_refilled() {
    for fill in [1, 2, 8] {
        let mut bed = Bed::with(64, RingSizes { fill, ..SIZES }, 0);
        let mut kept = Vec::new();
        for n in 0..20u8 {
            assert!(bed.kernel.deliver(&[n; 60]), "fill ring of {fill}, packet {n}");
            bed.port.receive(64, &mut kept, |_| Verdict::Keep);
            kept.clear();
            bed.port.receive(64, &mut kept, |_| Verdict::Keep);
        }
        assert!(bed.kernel.deliver(&[9; 60]));
        bed.port.receive(64, &mut (), |_| Verdict::Transmit);
        let closed = bed.port.close();
        assert_eq!(closed.quarantined, 0, "never taken by the kernel");
        let audit = Audit::of(bed.handle.pool(), [bed.handle.walk(), closed.walk]);
        assert!(audit.is_ok(), "{:?}", audit.findings);
        assert_eq!(audit.owners[Owner::Free], 64);
    }
}

/// K8: a packet of another pool comes back; those before it are queued.
#[test]
fn a_packet_of_another_region_is_given_back() {
    let mut bed = Bed::new();
    let other = handle(4);
    let own = |n: u8| {
        let mut packet = bed.handle.alloc().unwrap();
        packet.put(20).unwrap().fill(n);
        packet
    };
    let mut foreign = other.alloc().unwrap();
    foreign.put(20).unwrap().fill(99);
    let mut queue: VecDeque<Packet> = [own(1), foreign, own(2)].into();
    let refused = bed.port.transmit(&mut queue).unwrap_err();
    assert_eq!((refused.accepted, refused.packet.bytes()[0]), (1, 99));
    assert_eq!(refused.to_string(), "transmit packet of 20 bytes: it lies in another pool");
    assert_eq!(bed.port.transmit(&mut queue).unwrap(), 1);
    let mut seen = Vec::new();
    bed.kernel.send(|bytes| seen.push(bytes[0]));
    assert_eq!(seen, [1, 2]);
    bed.assert_closed(2);
}

#[test]
fn packets_too_short_for_ethernet_are_not_sent() {
    let mut bed = Bed::new();
    bed.deliver(0..1);
    bed.port.receive(64, &mut (), |packet| {
        packet.trim(47).unwrap();
        Verdict::Transmit
    });
    let mut short = bed.handle.alloc().unwrap();
    short.put(13).unwrap();
    assert_eq!(bed.port.transmit(&mut [short].into()).unwrap(), 0);
    assert_eq!(bed.assert_closed(0).counts.dropped[DropReason::PktTooSmall], 2);
}

/// X3: descriptors that no kernel would write are counted and never lent; the good ones around them
/// are.
#[test]
fn bad_descriptors_are_counted_and_never_lent() {
    for frames in [64, 50] {
        let mut bed = Bed::with(frames, SIZES, 0);
        bed.deliver(0..2);
        let end = u64::from(frames) * 2048;
        let bad =
            [(end, 60), (u64::MAX, 60), (256, 2047), (end - 2048 + 256, 60_000), (8, u32::MAX)];
        for (addr, len) in bad {
            bed.kernel.take_fill().unwrap();
            bed.kernel.publish(XdpDesc { addr, len, options: 0 });
        }
        bed.deliver(2..4);
        let mut seen = Vec::new();
        while bed.port.rings.rx.queued() > 0 {
            bed.port.receive(64, &mut (), |packet| {
                seen.push((packet.bytes()[0], packet.len()));
                Verdict::Consume
            });
        }
        assert_eq!(seen, [(0, 60), (1, 60), (2, 60), (3, 60)]);
        let audit = bed.assert_closed(0);
        assert_eq!(audit.counts.dropped[DropReason::BadDescriptor], 5);
        assert_eq!(audit.owners[Owner::Quarantined], 5);
    }
}

/// An empty pool starves the fill ring; what comes back later fills it again.
#[test]
fn a_starved_fill_ring_recovers() {
    let mut bed = Bed::with(16, SIZES, 0);
    bed.deliver(0..16);
    let mut kept = Vec::new();
    assert_eq!(bed.port.receive(64, &mut kept, |_| Verdict::Keep).kept, 16);
    assert!(!bed.kernel.deliver(&[0; 60]), "no slot to receive into");
    assert_eq!(bed.port.receive(64, &mut kept, |_| Verdict::Keep).received, 0);
    bed.assert_closed(16);
    kept.clear();
    bed.port.receive(64, &mut (), |_| Verdict::Consume);
    bed.deliver(0..16);
    assert_eq!(bed.port.receive(64, &mut (), |_| Verdict::Consume).received, 16);
    bed.assert_closed(0);
}

/// However small the fill ring is, it is topped up before it is empty; and when all slots were held,
/// those that come back go into it. Kills: `rx_side + 16 <= size`, which a small ring never meets.
#[test]
fn a_small_fill_ring_is_topped_up_too() {
    for fill in [1u8, 2, 4, 8, 16, 32] {
        let size = u32::from(fill);
        let mut bed = Bed::with(2 * size, RingSizes { fill: size, ..SIZES }, u32::MAX - 2);
        let mut kept = Vec::new();
        for number in 0..2 * fill {
            // One after the other: the rx side shrinks by one each time.
            bed.deliver(number..number + 1);
            assert_eq!(bed.port.receive(64, &mut kept, |_| Verdict::Keep).kept, 1, "of {fill}");
            bed.port.receive(64, &mut kept, |_| Verdict::Keep);
            let level = bed.kernel.fill_level();
            let left = 2 * size - u32::from(number) - 1;
            assert!(level >= (size - size.div_ceil(4)).min(left), "{level} of {size}");
        }
        assert!(!bed.kernel.deliver(&[0; 60]), "all slots are held");
        kept.pop();
        bed.port.receive(64, &mut kept, |_| Verdict::Consume);
        bed.deliver(9..10);
        assert_eq!(bed.port.receive(64, &mut (), |_| Verdict::Consume).received, 1);
        bed.assert_closed(u64::from(2 * fill) - 1);
    }
}

/// A program that waits after each batch has a full fill ring while it sleeps.
#[test]
fn the_fill_ring_is_full_during_a_wait() {
    let mut bed = Bed::new();
    bed.deliver(0..7);
    let mut kept = Vec::new();
    bed.port.receive(64, &mut kept, |packet| match packet.bytes()[0] {
        0..4 => Verdict::Keep,
        _ => Verdict::Transmit,
    });
    assert_eq!(bed.kernel.fill_level(), 9);
    bed.port.wait(Duration::ZERO).unwrap();
    assert_eq!(bed.kernel.fill_level(), 16);
    bed.assert_closed(7);
}

/// The pool has nothing left: allocation fails and is counted, the port goes on with the slots it
/// has, and what comes back can be allocated again.
#[test]
fn an_exhausted_pool_recovers() {
    let mut bed = Bed::new();
    let mut held: Vec<Packet> = std::iter::from_fn(|| bed.handle.alloc()).collect();
    assert_eq!(held.len(), 64 - 16, "all but those in the fill ring");
    let failed = bed.handle.pool().statistics().alloc_fail;
    assert!(failed > 0 && bed.handle.alloc().is_none());
    assert_eq!(bed.handle.pool().statistics().alloc_fail, failed + 1);
    for round in 0..20u8 {
        bed.deliver(round..round + 10);
        bed.port.receive(64, &mut (), |_| Verdict::Transmit);
        let mut next = round;
        bed.kernel.send(|bytes| {
            assert_eq!(bytes, [next; 60]);
            next += 1;
        });
        assert_eq!((next, bed.kernel.complete(usize::MAX)), (round + 10, 10));
        bed.port.flush().unwrap();
    }
    bed.assert_closed(48);
    held.drain(..).for_each(|packet| packet.discard(DropReason::QueuePurge));
    assert!(bed.handle.alloc().is_some());
    assert_eq!(bed.assert_closed(0).counts.dropped[DropReason::FullRing], 0);
}

/// The kernel stops taking from the tx ring: what was queued stays as it is, what finds no room is
/// dropped with a reason or stays with the program; then the kernel goes on.
#[test]
fn a_kernel_that_stops_sending_gets_everything_when_it_goes_on() {
    let mut bed = Bed::with(64, RingSizes { tx: 8, completion: 8, ..SIZES }, u32::MAX - 3);
    let calls = bed.kernel.calls().clone();
    calls.answer_kicks(&[libc::EAGAIN; 1000]);
    bed.deliver(0..5);
    bed.port.receive(64, &mut (), |packet| {
        packet.bytes_mut()[1] = 0xaa;
        Verdict::Transmit
    });
    let own = |n: u8| {
        let mut packet = bed.handle.alloc().unwrap();
        packet.put(60).unwrap().fill(n);
        packet
    };
    let mut queue: VecDeque<Packet> = (50..60).map(own).collect();
    assert_eq!(bed.port.transmit(&mut queue).unwrap(), 3);
    assert_eq!((queue.len(), bed.port.tx_room()), (7, 0));
    // The rx side goes on for packets that need no answer; the others have a reason.
    bed.deliver(5..10);
    let tally = bed.port.receive(64, &mut (), |packet| match packet.bytes()[0] {
        5 => Verdict::Transmit,
        _ => Verdict::Consume,
    });
    assert_eq!((tally.received, tally.transmitted), (5, 0));
    bed.port.flush().expect("EAGAIN is not the end");
    let audit = bed.assert_closed(8 + 7);
    assert_eq!(audit.counts.dropped[DropReason::FullRing], 1);
    assert!(calls.kicks() < 1000, "gives up for now");

    let mut sent = Vec::new();
    for _ in 0..2 {
        bed.kernel.send(|bytes| sent.push((bytes[0], bytes[1])));
        bed.kernel.complete(usize::MAX);
        bed.port.transmit(&mut queue).unwrap();
    }
    bed.kernel.send(|bytes| sent.push((bytes[0], bytes[1])));
    bed.kernel.complete(usize::MAX);
    let answered = (0..5).map(|n| (n, 0xaa));
    assert_eq!(sent, answered.chain((50..60).map(|n| (n, n))).collect::<Vec<_>>());
    bed.port.flush().unwrap();
    assert_eq!(bed.assert_closed(0).counts.transmitted, 15);
}

/// Every answer of sendto(2) that is not the end, alone and in a row: the packets are sent in the end,
/// each once, unchanged, without another packet to bring the wake-up.
#[test]
fn soft_answers_of_the_kernel_lose_nothing() {
    let soft =
        [libc::EAGAIN, libc::EBUSY, libc::ENOBUFS, libc::ENETDOWN, libc::ENOMEM, libc::EINTR];
    let mixed: Vec<i32> = soft.iter().rev().chain(&soft).copied().collect();
    let scripts = soft.iter().map(|&errno| vec![errno; 5]).chain([mixed]);
    for script in scripts {
        let mut bed = Bed::new();
        let calls = bed.kernel.calls().clone();
        calls.answer_kicks(&script);
        bed.deliver(0..4);
        bed.port.receive(64, &mut (), |packet| {
            packet.bytes_mut()[59] = 0x55;
            Verdict::Transmit
        });
        let mut own = bed.handle.alloc().unwrap();
        own.put(60).unwrap().fill(4);
        bed.port.transmit(&mut [own].into()).unwrap();
        let mut flushes = 0;
        while calls.kicks() <= script.len() as u64 {
            bed.port.flush().expect("not the end");
            flushes += 1;
            assert!(flushes < 20, "woken until it answers with success: {script:?}");
        }
        let woken = calls.kicks();
        bed.port.flush().unwrap();
        assert_eq!(calls.kicks(), woken, "and then no more: {script:?}");
        let mut sent = Vec::new();
        bed.kernel.send(|bytes| sent.push((bytes[0], bytes[58], bytes[59])));
        assert_eq!(sent, [(0, 0, 0x55), (1, 1, 0x55), (2, 2, 0x55), (3, 3, 0x55), (4, 4, 4)]);
        bed.assert_closed(5);
        bed.kernel.complete(usize::MAX);
        bed.port.flush().unwrap();
        let audit = bed.assert_closed(0);
        assert_eq!((audit.counts.transmitted, audit.counts.dropped.total()), (5, 0));
    }
}

/// D4 and the answers of sendto(2): soft ones are tried again, hard ones are told once.
#[test]
fn the_kernel_is_woken_again_until_it_has_looked() {
    let mut bed = Bed::new();
    let calls = bed.kernel.calls().clone();
    calls.answer_kicks(&[libc::EAGAIN, libc::EAGAIN, 0]);
    bed.deliver(0..1);
    bed.port.receive(64, &mut (), |_| Verdict::Transmit);
    assert_eq!(calls.kicks(), 3, "EAGAIN: more is left");
    bed.port.flush().unwrap();
    assert_eq!(calls.kicks(), 3, "nothing new to wake for");
    calls.answer_kicks(&[libc::EBUSY, libc::EBUSY, 0]);
    bed.deliver(0..1);
    bed.port.receive(64, &mut (), |_| Verdict::Transmit);
    assert_eq!(calls.kicks(), 6, "EBUSY: one was dropped behind us, more is left");
    for soft in [libc::ENOMEM, libc::ENOBUFS, libc::ENETDOWN] {
        let before = calls.kicks();
        calls.answer_kicks(&[soft]);
        bed.deliver(0..1);
        bed.port.receive(64, &mut (), |_| Verdict::Transmit);
        assert_eq!(calls.kicks(), before + 1);
        bed.port.flush().unwrap();
        assert_eq!(calls.kicks(), before + 2, "tried again after {soft}");
    }
    bed.kernel.ask_for_wakeup(false);
    let before = calls.kicks();
    bed.deliver(0..1);
    bed.port.receive(64, &mut (), |_| Verdict::Transmit);
    assert_eq!(calls.kicks(), before, "the kernel is awake");
    bed.kernel.ask_for_wakeup(true);
    calls.answer_kicks(&[libc::ENXIO]);
    bed.deliver(0..1);
    bed.port.receive(64, &mut (), |_| Verdict::Transmit);
    let error = bed.port.flush().unwrap_err();
    assert_eq!(error.errno(), Some(libc::ENXIO));
    assert!(error.hint().is_some_and(|hint| hint.contains("removed")));
    calls.answer_waits(&[libc::ENETDOWN]);
    assert!(bed.port.wait(Duration::ZERO).is_err());
    bed.assert_closed(7);
}

/// D4: a driver that was awake when a packet was queued may rest without taking it. A program that
/// sends nothing more still wakes it, by `flush` and by a batch, empty or not; but only while something
/// is queued.
///
/// Planted and caught: `unkicked` cleared because the kernel is awake; a batch that wakes only for what
/// it sends itself; no wake-up from an empty batch.
#[test]
fn a_kernel_that_rests_with_something_queued_is_woken_later() {
    let calls: [fn(&mut Bed); 3] = [
        |bed| bed.port.flush().unwrap(),
        |bed| assert_eq!(bed.port.receive(64, &mut (), |_| Verdict::Consume).received, 0),
        |bed| {
            bed.deliver(1..2);
            assert_eq!(bed.port.receive(64, &mut (), |_| Verdict::Consume).received, 1);
        },
    ];
    for call in calls {
        let mut bed = Bed::new();
        let kicks = |bed: &Bed| bed.kernel.calls().kicks();
        bed.kernel.ask_for_wakeup(false);
        bed.deliver(0..1);
        bed.port.receive(64, &mut (), |_| Verdict::Transmit);
        call(&mut bed);
        assert_eq!(kicks(&bed), 0, "the kernel is awake");
        bed.kernel.ask_for_wakeup(true);
        call(&mut bed);
        assert_eq!(kicks(&bed), 1, "it rests, and has not taken the packet");
        call(&mut bed);
        assert_eq!(kicks(&bed), 1, "it was woken");
        assert_eq!(bed.kernel.send(|bytes| assert_eq!(bytes, [0; 60])), 1);
        bed.kernel.complete(usize::MAX);
        // Taken by itself before it rests: there is nothing to wake for.
        bed.kernel.ask_for_wakeup(false);
        bed.deliver(0..1);
        bed.port.receive(64, &mut (), |_| Verdict::Transmit);
        assert_eq!(bed.kernel.send(|bytes| assert_eq!(bytes, [0; 60])), 1);
        call(&mut bed);
        bed.kernel.ask_for_wakeup(true);
        call(&mut bed);
        assert_eq!(kicks(&bed), 1, "nothing is queued");
        bed.kernel.complete(usize::MAX);
        bed.port.flush().unwrap();
        bed.assert_closed(0);
    }
}

/// D4 of the fill ring: a driver that ran out of slots delivers nothing until it is woken. A program
/// that only receives finds nothing then, and wakes it.
///
/// Planted and caught: an empty batch that does not look at the fill ring's flag.
#[test]
fn an_empty_batch_wakes_for_the_fill_ring() {
    let mut bed = Bed::new();
    let batch = |bed: &mut Bed| bed.port.receive(64, &mut (), |_| Verdict::Consume).received;
    assert_eq!((batch(&mut bed), bed.kernel.calls().rx_kicks()), (0, 0));
    bed.kernel.ask_for_wakeup(true);
    bed.deliver(0..2);
    assert_eq!((batch(&mut bed), bed.kernel.calls().rx_kicks()), (2, 0), "it delivers");
    assert_eq!((batch(&mut bed), bed.kernel.calls().rx_kicks()), (0, 1));
    bed.assert_closed(0);
}

/// D4 with busy polling: sendto(2) may leave everything in the tx ring, and poll(2) wakes the driver
/// then; where all was taken, nobody calls it.
///
/// Planted and caught: no call of poll(2), one although the tx ring is empty.
#[test]
fn what_busy_polling_does_not_send_is_woken_for_by_poll() {
    for (busy_poll, expected) in [(None, 0), (Some(BusyPoll::default()), 1)] {
        let mut bed = Bed::new();
        bed.port.report.busy_poll = busy_poll;
        bed.kernel.ask_for_wakeup(true);
        bed.deliver(0..2);
        assert_eq!(bed.port.receive(64, &mut (), |_| Verdict::Transmit).transmitted, 2);
        bed.port.flush().unwrap();
        assert_eq!((bed.kernel.calls().kicks(), bed.kernel.calls().waits()), (1, expected));
        assert_eq!(bed.kernel.send(|_| {}), 2);
        bed.port.unkicked = true;
        bed.port.flush().unwrap();
        assert_eq!((bed.kernel.calls().kicks(), bed.kernel.calls().waits()), (2, expected));
    }
}

/// D5: after a close every slot is back, and packets that could not be sent have a reason.
#[test]
fn close_gives_the_slots_back_and_names_what_was_purged() {
    let mut bed = Bed::new();
    bed.deliver(0..6);
    bed.port.receive(4, &mut (), |packet| match packet.bytes()[0] {
        0 | 1 => Verdict::Transmit,
        _ => Verdict::Consume,
    });
    bed.kernel.send(|_| {});
    bed.kernel.complete(1);
    let closed = bed.port.close();
    assert_eq!(closed.quarantined, 1, "one was never completed");
    let audit = Audit::of(bed.handle.pool(), [bed.handle.walk(), closed.walk]);
    assert!(audit.is_ok(), "{:?}", audit.findings);
    assert_eq!(audit.counts.transmitted, 1);
    assert_eq!(audit.counts.dropped[DropReason::QueuePurge], 3, "2 in the rx ring, 1 unsent");
    assert_eq!(audit.owners[Owner::Free], 63);
}

/// A planted lost frame: a packet that was received and counted nowhere breaks the identity.
#[test]
fn a_lost_frame_makes_the_audit_fail() {
    let mut bed = Bed::new();
    bed.deliver(0..3);
    bed.port.receive(64, &mut (), |_| Verdict::Consume);
    bed.assert_closed(0);
    bed.port.counts.consumed -= 1;
    assert_eq!(bed.audit().findings, [Finding::Identity { outstanding: 1, held: 0 }]);
}

/// A planted duplicate in a ring, as the fill arithmetic of a broken program would make it: the same
/// slot given to the kernel twice, another one never again.
#[test]
fn a_slot_filled_twice_makes_the_audit_fail() {
    let mut bed = Bed::with(64, SIZES, 0);
    bed.deliver(0..2);
    let mut first = None;
    bed.port.receive(1, &mut (), |_| Verdict::Consume);
    bed.port.rings.fill.walk(|addr| first = first.or(Some(addr)));
    // Consume the second packet by hand, giving back the wrong address.
    bed.port.rings.rx.available(1);
    bed.port.rings.rx.pass(1);
    bed.port.rings.rx.release();
    bed.port.counts.received += 1;
    bed.port.counts.consumed += 1;
    bed.port.rings.fill.free(1);
    bed.port.rings.fill.push(first.unwrap());
    bed.port.rings.fill.publish();
    let findings = bed.audit().findings;
    assert!(matches!(findings[0], Finding::Twice { first: Owner::Fill, again: Owner::Fill, .. }));
    assert!(matches!(findings[1], Finding::Lost { count: 1, .. }), "{findings:?}");
}

/// A planted leak in a ring: a packet passed and never given back.
#[test]
fn a_slot_passed_and_never_given_back_makes_the_audit_fail() {
    let mut bed = Bed::new();
    bed.deliver(0..2);
    bed.port.rings.rx.available(2);
    bed.port.rings.rx.pass(1);
    let findings = bed.audit().findings;
    assert!(matches!(findings[..], [Finding::Lost { count: 1, .. }]), "{findings:?}");
}
