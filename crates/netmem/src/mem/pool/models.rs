//! Pool, handles and packets under the model checker (see `crate::sync`). Each model names the faults
//! that were planted and failed it.

use loom::thread;

use super::*;
use crate::{
    mem::{Audit, Packet, PageTier},
    sync::{Accesses, explore},
};

const FRAME_BYTES: u32 = 2048;
const SLOTS: u32 = 2;

/// A pool whose caches refill one slot at a time, and the slots' bytes as the checker sees them.
fn pool() -> (Arc<Pool>, Accesses) {
    let region = Region::builder((SLOTS * FRAME_BYTES) as usize).tiers(&[PageTier::Base4K]).build();
    let sizes = PoolConfig { frame_bytes: FRAME_BYTES, frames: Some(SLOTS), ..Default::default() };
    let pool = Pool::new(region.unwrap(), PoolConfig { cache: 2, refill: 1, ..sizes });
    (pool.unwrap(), Accesses::to(SLOTS))
}

/// Allocates a packet and writes to it; a slot that another still has, or whose last owner's writes
/// are not seen, fails the model (P2, P3).
fn alloc(handle: &PoolHandle, bytes: &Accesses) -> Option<Packet> {
    let mut packet = handle.alloc()?;
    let start = packet.put(8).unwrap().as_ptr().addr();
    let slot = (start - handle.pool().region().base().addr().get()) / FRAME_BYTES as usize;
    bytes.read(slot, 1);
    bytes.write(slot, 1);
    Some(packet)
}

/// P1 to P4, P8: two threads allocate both slots and end their packets in both ways; one of them
/// allocates again what the other may have given back. When both are gone, every slot is free.
///
/// Kills: Release -> Relaxed in the stack's `push`; Acquire -> Relaxed in both loads of its head in
/// `pop`; a `take_never_used` that stores without comparing; a handle whose drop does not flush; a
/// `flush` that leaves the slots in the cache as well.
#[test]
fn loom_slots_have_one_owner_and_all_come_back() {
    explore(None, || {
        let (pool, bytes) = pool();
        let other = {
            let (pool, bytes) = (Arc::clone(&pool), bytes.clone());
            thread::spawn(move || {
                let handle = PoolHandle::of(&pool);
                alloc(&handle, &bytes).into_iter().for_each(Packet::consume);
                handle.flush();
                alloc(&handle, &bytes).into_iter().for_each(Packet::consume);
                handle.walk().counts_only()
            })
        };
        let handle = PoolHandle::of(&pool);
        let first = alloc(&handle, &bytes);
        let second = alloc(&handle, &bytes);
        drop((first, second));
        let walks = [handle.walk().counts_only(), other.join().unwrap()];
        drop(handle);
        let audit = Audit::of(&pool, walks);
        assert!(audit.is_ok(), "{:?}", audit.findings);
        assert_eq!(audit.owners[Owner::Free], u64::from(SLOTS), "P1, P4, P8");
        assert_eq!(pool.statistics().corrupt, 0, "P2, P3");
        assert_eq!(pool.close(), Drain::Closed);
    });
}

/// P7: on two threads a packet outlives its handle and the thread's hold of the pool; whichever ends
/// last takes the pool with it, once. The checker fails a model that leaves an `Arc` behind.
///
/// Kills: a handle that gives up its hold of the pool twice; one that keeps a hold for ever.
#[test]
fn loom_the_memory_goes_once_with_the_last_packet() {
    explore(None, || {
        let (pool, bytes) = pool();
        let region = Arc::clone(pool.region());
        let live = |pool: Arc<Pool>, bytes: Accesses, region: Arc<Region>| {
            let handle = PoolHandle::of(&pool);
            let packet = alloc(&handle, &bytes).expect("a slot for each thread");
            drop((handle, pool));
            assert!(Arc::strong_count(&region) > 2, "P7: gone before its last packet");
            packet
        };
        let other = {
            let (pool, bytes, region) = (Arc::clone(&pool), bytes.clone(), Arc::clone(&region));
            thread::spawn(move || live(pool, bytes, region).consume())
        };
        drop(live(pool, bytes, Arc::clone(&region)));
        other.join().unwrap();
        assert_eq!(Arc::strong_count(&region), 1, "P7: not gone with its last packet");
    });
}
