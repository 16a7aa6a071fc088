use std::time::{Duration, Instant};

use super::*;

fn drain(consumer: &mut Consumer<u64>, max: u32) -> Vec<u64> {
    let count = consumer.available(max).min(max);
    let [head, tail] = consumer.segments(count);
    let out = [head, tail].concat();
    consumer.pass(count);
    consumer.release();
    out
}

/// Content and order across the wrap of the array and of the indices at 2^32 (D2).
#[test]
fn every_entry_arrives_once_in_order_across_both_wraps() {
    for start in [0, 5, u32::MAX - 20, u32::MAX] {
        let (mut producer, mut consumer, _heap) = pair::<u64>(8, start);
        let (mut next, mut seen) = (0u64, 0u64);
        for round in 0..100u32 {
            let room = producer.free(round % 9).min(round % 9);
            for _ in 0..room {
                producer.push(next);
                next += 1;
            }
            producer.publish();
            for value in drain(&mut consumer, (round * 7) % 9) {
                assert_eq!(value, seen);
                seen += 1;
            }
            assert!(next - seen <= 8);
        }
        assert!(seen > 100, "the indices moved past the wrap: {seen}");
    }
}

#[test]
fn a_full_ring_has_no_room_and_an_empty_one_nothing_to_read() {
    let (mut producer, mut consumer, _heap) = pair::<u64>(4, u32::MAX - 1);
    assert_eq!(consumer.available(1), 0);
    assert_eq!(producer.free(4), 4);
    (0..4).for_each(|value| producer.push(value));
    assert_eq!(consumer.available(1), 0, "not published yet");
    producer.publish();
    assert_eq!(producer.free(1), 0);
    assert_eq!(producer.queued(), 4);
    assert_eq!(consumer.available(1), 4);
    consumer.pass(1);
    assert_eq!(producer.free(1), 0, "passed but not released");
    consumer.release();
    assert_eq!(producer.free(1), 1);
    assert_eq!(consumer.queued(), 3);
}

#[test]
fn walks_show_what_is_in_the_ring() {
    let (mut producer, mut consumer, _heap) = pair::<u64>(4, u32::MAX);
    (10..13).for_each(|value| producer.push(value));
    producer.publish();
    consumer.available(1);
    consumer.pass(1);
    consumer.release();
    let (mut from_producer, mut from_consumer) = (Vec::new(), Vec::new());
    producer.walk(|value| from_producer.push(value));
    consumer.walk(|value| from_consumer.push(value));
    assert_eq!((from_producer, from_consumer), (vec![11, 12], vec![11, 12]));
}

/// D6: an index from the other side that is out of range gives neither entries nor room.
#[test]
fn a_producer_index_out_of_range_gives_nothing() {
    let (_producer, mut consumer, heap) = pair::<u64>(4, 0);
    heap.corrupt_producer(5);
    assert_eq!(consumer.available(1), 0);
    assert_eq!(consumer.available(1), 0);
    heap.corrupt_producer(2);
    assert_eq!(consumer.available(1), 2);
}

#[test]
fn wakeup_is_asked_for_by_the_flag() {
    let (producer, _consumer, heap) = pair::<u64>(4, 0);
    assert!(!producer.needs_wakeup());
    heap.ask_for_wakeup(true);
    assert!(producer.needs_wakeup());
}

/// Entries arrive once and intact between two threads. Killed when planted: a producer that does not
/// look at the consumer's index; a consumer that releases before it reads. The order of one store is
/// the model checker's.
#[test]
fn two_threads_pass_every_entry() {
    const COUNT: u64 = 200_000;
    let (mut producer, mut consumer, _heap) = pair::<u64>(64, u32::MAX - 1000);
    let sender = std::thread::spawn(move || {
        let mut next = 0;
        while next < COUNT {
            let free = producer.free(1);
            for _ in 0..free {
                producer.push(next.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                next += 1;
            }
            producer.publish();
            if free == 0 {
                // The other side may wait for this CPU.
                std::thread::yield_now();
            }
        }
    });
    let mut seen = 0u64;
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut last = None;
    while seen < COUNT {
        assert!(Instant::now() < deadline, "stuck after {seen}");
        if last.replace(seen) == Some(seen) {
            std::thread::yield_now();
        }
        for value in drain(&mut consumer, 64) {
            assert_eq!(value, seen.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            seen += 1;
        }
    }
    sender.join().unwrap();
}
