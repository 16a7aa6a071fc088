//! The ring under the model checker (see `crate::sync`). Each model names the faults that were planted
//! in the ring and failed it.

use std::sync::atomic::{AtomicU32 as Counter, Ordering::Relaxed};

use loom::thread;

use super::*;
use crate::sync::explore;

/// Entry `number` carries this, so that one that comes twice, late or from nowhere shows.
fn token(number: u32) -> u64 {
    100 + u64::from(number)
}

/// Pushes and publishes the tokens of `numbers` one by one, waiting for room.
fn produce(producer: &mut Producer<u64>, numbers: std::ops::Range<u32>) {
    for number in numbers {
        while producer.free(1) == 0 {
            thread::yield_now();
        }
        producer.push(token(number));
        producer.publish();
    }
}

/// Takes what is there, up to `max` entries, as the port does: look, read, pass, give back.
fn consume(consumer: &mut Consumer<u64>, max: u32) -> Vec<u64> {
    let count = consumer.available(1).min(max);
    let values = consumer.segments(count).concat();
    consumer.pass(count);
    consumer.release();
    values
}

/// Takes `count` entries and checks that each comes once, in order.
fn consume_all(consumer: &mut Consumer<u64>, count: u32) {
    let mut seen = 0;
    while seen < count {
        let values = consume(consumer, count - seen);
        if values.is_empty() {
            thread::yield_now();
        }
        for value in values {
            assert_eq!(value, token(seen), "D1");
            seen += 1;
        }
    }
    assert_eq!(consumer.available(1), 0, "D1: nothing more was pushed");
}

/// D1, D2, D3: three entries through a ring of four, the indices passing 2^32. No entry is reused, so
/// this is the way to the consumer alone.
///
/// Kills: Release -> Relaxed in `publish`; Acquire -> Relaxed in `available`; a `push` that publishes
/// before it writes; an `available` that compares the indices without wrapping.
#[test]
fn loom_every_entry_arrives_once_after_its_contents() {
    explore(None, || {
        let (mut producer, mut consumer, _heap) = pair::<u64>(4, u32::MAX - 1);
        let sender = thread::spawn(move || produce(&mut producer, 0..3));
        consume_all(&mut consumer, 3);
        sender.join().unwrap();
    });
}

/// D1, D2, D3 in both directions: three entries through a ring of two, so that the producer writes over
/// entries that the consumer gave back, on both sides of 2^32.
///
/// Kills: Acquire -> Relaxed in `free`; Release -> Relaxed in `release`; an `available` that gives the
/// entries back when it finds them, before they are read; a `free` that takes one entry too many, or
/// compares the indices without wrapping; and all of the model above. Up to four preemptions: with any
/// number the two waiting loops take hours.
#[test]
fn loom_an_entry_is_written_again_only_after_it_was_read() {
    explore(4, || {
        let (mut producer, mut consumer, _heap) = pair::<u64>(2, u32::MAX - 1);
        let sender = thread::spawn(move || produce(&mut producer, 0..3));
        consume_all(&mut consumer, 3);
        sender.join().unwrap();
    });
}

/// D1, D2, D3 for whole batches: written in place from `entry` and committed, or pushed as a slice,
/// and read as a run; the second batch crosses the wrap of the array and is written over the first.
///
/// Kills: Release -> Relaxed in `publish` and in `release`; Acquire -> Relaxed in `free` and in
/// `available`; an `available` that gives the entries back at once; entries written in place, or a
/// slice pushed, after they are published. Up to five preemptions: seconds instead of a minute.
#[test]
fn loom_batches_arrive_once_after_their_contents() {
    explore(5, || {
        let (mut producer, mut consumer, _heap) = pair::<u64>(4, u32::MAX);
        let sender = thread::spawn(move || {
            assert!(producer.free(2) >= 2);
            for ahead in 0..2 {
                // A write through a pointer, which the checker does not see by itself.
                let index = producer.cursor.wrapping_add(ahead) & producer.ring.mask();
                producer.ring.accesses.write(index as usize, 1);
                // SAFETY: free, as asserted, and so the producer's (D3).
                unsafe { producer.entry(ahead).write(token(ahead)) };
            }
            producer.commit(2);
            producer.publish();
            while producer.free(3) < 3 {
                thread::yield_now();
            }
            producer.push_all(&[token(2), token(3), token(4)]);
            producer.publish();
        });
        let mut seen = 0;
        while seen < 5 {
            let run = consumer.available(2).min(consumer.until_wrap());
            // SAFETY: available and before the wrap; read before it is released.
            for &value in unsafe { consumer.run(run) } {
                assert_eq!(value, token(seen), "D1");
                seen += 1;
            }
            consumer.pass(run);
            consumer.release();
            if run == 0 {
                thread::yield_now();
            }
        }
        sender.join().unwrap();
    });
}

/// What the two sides of a wake-up did.
struct WakeUp {
    /// The producer saw the flag after it published, and kicked.
    kicked: bool,
    /// The consumer saw the entry when it looked again, and did not rest.
    found: bool,
    /// The producer would kick when it asks again, with the consumer at rest.
    kicks_later: bool,
}

/// One entry against a consumer that goes to rest: it sets the flag, then looks at the ring for the
/// last time. `barrier` stands between the two.
fn wake_up(barrier: impl FnOnce() + Send + 'static) -> WakeUp {
    let (mut producer, mut consumer, heap) = pair::<u64>(2, u32::MAX);
    let kernel = thread::spawn(move || {
        heap.ask_for_wakeup(true);
        barrier();
        !consume(&mut consumer, 1).is_empty()
    });
    producer.push(token(0));
    producer.publish();
    let kicked = producer.needs_wakeup();
    let found = kernel.join().unwrap();
    WakeUp { kicked, found, kicks_later: producer.needs_wakeup() }
}

/// D4 as the design wants it: with a full fence on either side no entry is left behind with its
/// consumer at rest.
///
/// Kills: no fence in `needs_wakeup`; the flag read before `publish`; a fence weaker than SeqCst.
#[test]
fn loom_a_published_entry_is_seen_or_its_consumer_woken() {
    explore(None, || {
        let WakeUp { kicked, found, .. } = wake_up(|| fence(Ordering::SeqCst));
        assert!(kicked || found, "D4: the entry waits, the consumer rests, nobody kicks");
    });
}

/// D4 as drivers do it, with no fence between the flag and the last look at the ring: then ours is not
/// enough, and an entry can be missed. Whoever asks again once the consumer rests (the next batch, or
/// poll(2) in the kernel) finds the flag, so that it is late and not lost.
#[test]
fn loom_what_a_consumer_without_a_fence_misses_is_found_by_asking_again() {
    static MISSED: Counter = Counter::new(0);
    explore(None, || {
        let WakeUp { kicked, found, kicks_later } = wake_up(|| ());
        MISSED.fetch_add(u32::from(!kicked && !found), Relaxed);
        assert!(found || kicks_later, "D4: never woken");
    });
    assert!(MISSED.load(Relaxed) > 0, "the fence of the consumer's side is not needed");
}
