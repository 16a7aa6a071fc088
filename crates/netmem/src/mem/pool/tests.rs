mod model;

use super::*;
use crate::mem::{Audit, PageTier};
use crate::mem::{DropReason, Packet};

fn pool(slots: u32, cache: u32, refill: u32) -> Arc<Pool> {
    let region = Region::builder(slots as usize * 2048).tiers(&[PageTier::Base4K]).build();
    let config = PoolConfig { frames: Some(slots), cache, refill, ..PoolConfig::default() };
    Pool::new(region.unwrap(), config).unwrap()
}

fn assert_closed(pool: &Pool, handles: &[&PoolHandle], held: u64) {
    let audit = Audit::of(pool, handles.iter().map(|handle| handle.walk()));
    assert!(audit.is_ok(), "{:?}", audit.findings);
    assert_eq!(audit.held, held);
}

#[test]
fn every_slot_is_handed_out_once_and_comes_back() {
    let pool = pool(100, 16, 8);
    let handle = pool.handle();
    let mut packets: Vec<Packet> = std::iter::from_fn(|| handle.alloc()).collect();
    assert_eq!(packets.len(), 100);
    for (n, packet) in (0u8..).zip(&mut packets) {
        packet.put(100).unwrap().fill(n);
    }
    for (n, packet) in (0u8..).zip(&packets) {
        assert_eq!(packet.bytes(), [n; 100], "another packet wrote here (P2)");
    }
    assert_closed(&pool, &[&handle], 100);
    assert_eq!(pool.close(), Drain::Draining { in_flight: 100 });
    packets.drain(..50).for_each(Packet::consume);
    packets.drain(..25).for_each(|packet| packet.discard(DropReason::IpCsum));
    packets.clear();
    assert_closed(&pool, &[&handle], 0);
    assert_eq!(pool.close(), Drain::Closed);
    let counts = handle.counts();
    assert_eq!((counts.created, counts.consumed), (100, 50));
    assert_eq!(counts.dropped[DropReason::IpCsum], 25);
    assert_eq!(counts.dropped[DropReason::NotSpecified], 25);
    let statistics = pool.statistics();
    assert_eq!(statistics.implicit_drop, 25);
    assert_eq!(statistics.alloc_fast + statistics.alloc_refill + statistics.alloc_slow, 100);
    assert_eq!(statistics.alloc_fail, 1);
}

#[test]
fn a_dropped_handle_gives_its_cache_to_others() {
    let pool = pool(16, 16, 16);
    let first = pool.handle();
    let packets: Vec<Packet> = std::iter::from_fn(|| first.alloc()).collect();
    assert_eq!(packets.len(), 16);
    packets.into_iter().for_each(Packet::consume);
    drop(first);
    let second = pool.handle();
    let packets: Vec<Packet> = std::iter::from_fn(|| second.alloc()).collect();
    assert_eq!(packets.len(), 16, "P8");
    drop(packets);
    assert_closed(&pool, &[&second], 0);
}

/// P1, P2, P4 with real threads. Killed when planted: a pop that keeps what it walked before a lost
/// swap; a spill that leaves one of its slots in the cache. The tag of the head is the model checker's.
#[test]
fn threads_share_the_slots_without_losing_or_doubling_one() {
    let pool = pool(256, 32, 16);
    let workers: Vec<_> = (0..4u8)
        .map(|id| {
            let pool = Arc::clone(&pool);
            std::thread::spawn(move || {
                let handle = pool.handle();
                let mut held: Vec<Packet> = Vec::new();
                for round in 0..20_000usize {
                    if let Some(mut packet) = handle.alloc() {
                        packet.put(8).unwrap().fill(id);
                        held.push(packet);
                    }
                    // The level swings past the cache's size, so that it spills and refills.
                    let level = if round % 200 < 100 { 60 } else { 0 };
                    while held.len() > level {
                        let packet = held.pop().unwrap();
                        assert_eq!(packet.bytes(), [id; 8], "P2");
                        if round % 2 == 0 { packet.consume() } else { drop(packet) }
                    }
                }
                drop(held);
                handle.walk().counts_only()
            })
        })
        .collect();
    let walks: Vec<_> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
    let audit = Audit::of(&pool, walks);
    assert!(audit.is_ok(), "{:?}", audit.findings);
    assert_eq!(audit.owners[Owner::Free], 256, "P4, P8");
    assert_eq!(pool.in_flight(), 0);
}

#[test]
fn in_flight_is_right_across_the_wrap() {
    let pool = pool(8, 4, 2);
    let handle = pool.handle();
    handle.0.statistics.hold.store(u32::MAX - 1, Ordering::Relaxed);
    handle.0.statistics.release.store(u32::MAX - 1, Ordering::Relaxed);
    let packets: Vec<Packet> = std::iter::from_fn(|| handle.alloc()).collect();
    assert_eq!(pool.in_flight(), 8, "P6");
    drop(packets);
    assert_eq!(pool.in_flight(), 0, "P6");
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "double return")]
fn a_double_return_is_caught_where_it_happens() {
    let pool = pool(8, 4, 2);
    let handle = pool.handle();
    let mut offset = 0;
    handle.take_for_device(1, |at| offset = at);
    handle.return_from_device([offset, offset].into_iter());
}

/// A planted leak: a slot taken and forgotten is named by the audit.
#[test]
fn a_leaked_slot_makes_the_audit_fail() {
    let pool = pool(8, 4, 2);
    let handle = pool.handle();
    let mut leaked = u64::MAX;
    handle.take_for_device(1, |offset| leaked = offset / 2048);
    let audit = Audit::of(&pool, [handle.walk()]);
    let candidates = vec![u32::try_from(leaked).unwrap()];
    assert_eq!(audit.findings, [crate::mem::audit::Finding::Lost { count: 1, candidates }]);
}

/// A planted duplicate: a slot in two places is named by the audit.
#[test]
fn a_doubled_slot_makes_the_audit_fail() {
    let pool = pool(8, 4, 2);
    let handle = pool.handle();
    handle.alloc().unwrap().consume();
    let slot = *handle.0.cache.borrow().last().unwrap();
    pool.shared.push(&[slot]);
    let audit = Audit::of(&pool, [handle.walk()]);
    let twice = crate::mem::audit::Finding::Twice { slot, first: Owner::Free, again: Owner::Free };
    assert_eq!(audit.findings, [twice]);
}

/// A leaked packet stays visible: its slot is the program's (`user`) for ever.
#[test]
#[allow(clippy::mem_forget, reason = "the leak is what is tested")]
fn a_forgotten_packet_shows_as_user() {
    let pool = pool(8, 4, 2);
    let handle = pool.handle();
    std::mem::forget(handle.alloc().unwrap());
    let audit = Audit::of(&pool, [handle.walk()]);
    assert!(audit.is_ok(), "{:?}", audit.findings);
    assert_eq!((audit.owners[Owner::User], audit.held), (1, 1));
}

#[test]
fn sizes_out_of_range_are_refused() {
    let region = || Region::builder(8192).tiers(&[PageTier::Base4K]).build().unwrap();
    let refused = |config: PoolConfig| Pool::new(region(), config).unwrap_err().to_string();
    let good = PoolConfig::default();
    for frame_bytes in [0, 255, 65537] {
        let why = refused(PoolConfig { frame_bytes, headroom_bytes: 0, ..good });
        assert!(why.contains("from 256 to 65536"), "{why}");
    }
    assert!(refused(PoolConfig { frames: Some(0), ..good }).contains("0 frames"));
    assert!(refused(PoolConfig { frames: Some(5), ..good }).contains("room for 1 to 4"));
    assert!(refused(PoolConfig { cache: 1, ..good }).contains("out of range"));
    assert!(refused(PoolConfig { refill: 129, ..good }).contains("out of range"));
    let shared = region();
    let _first = Pool::new(Arc::clone(&shared), good).unwrap();
    assert!(Pool::new(shared, good).unwrap_err().to_string().contains("another pool's"));
    assert!(refused(PoolConfig { headroom_bytes: 2049, ..good }).contains("out of range"));
}

/// Slots of any size follow each other without a gap, none is cut by the region's end, and each offset
/// inside of one leads back to it.
#[test]
fn slots_of_any_size_follow_each_other() {
    for frame_bytes in [256, 257, 2048, 3000, 4001, 4096, 65535, 65536] {
        let region = Region::builder(1 << 20).tiers(&[PageTier::Base4K]).build().unwrap();
        let base = region.base().addr().get();
        let room = u32::try_from(region.len_bytes()).unwrap() / frame_bytes;
        let config = PoolConfig { frame_bytes, headroom_bytes: 0, ..PoolConfig::default() };
        let pool = Pool::new(region, config).unwrap();
        let handle = pool.handle();
        assert_eq!(pool.slots(), room);
        let mut packets: Vec<Packet> = std::iter::from_fn(|| handle.alloc()).collect();
        let mut starts: Vec<u64> =
            packets.iter().map(|p| (p.bytes().as_ptr().addr() - base) as u64).collect();
        starts.sort_unstable();
        let size = pool.frame_size();
        assert!(starts.iter().copied().eq((0..room).map(|slot| size.start_of(slot))));
        for (slot, start) in (0..).zip(starts) {
            for headroom in [0, 1, frame_bytes / 2, frame_bytes - 1] {
                let offset = start + u64::from(headroom);
                assert_eq!((size.slot_of(offset), size.headroom_of(offset)), (slot, headroom));
            }
        }
        assert_eq!(size.slot_of(u64::MAX), u32::MAX, "no slot's number");
        for packet in &mut packets {
            assert_eq!(packet.tailroom(), frame_bytes as usize);
            packet.put(frame_bytes).unwrap().fill(7);
        }
        packets.into_iter().for_each(Packet::consume);
        assert_closed(&pool, &[&handle], 0);
    }
}
