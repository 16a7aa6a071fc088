//! Numbers of frames, ring entries and queues at their edges and past them: each works, or is refused
//! in words. None panics, hangs, or makes the kernel reserve what nobody has.

use std::time::{Duration, Instant};

use netmem_cli::lab::ledger::Score;

use crate::support::{Bed, Respond, scenario};

/// Starts with `extra`; every reply of every burst of `size` requests is right, and at the end every
/// frame is in the pool.
fn assert_works(bed: &Bed, extra: &[&str], bursts: u32, size: usize) {
    let mut respond = Respond::start(bed, &[&["--json"], extra].concat());
    let score = bed.assert_bursts_answered(bursts, size);
    assert!(score.sent > 0, "{extra:?}: {score:?}");
    let summary = respond.interrupt().assert_ended_well();
    assert!(summary["completed"].as_u64().unwrap() >= score.sent, "{extra:?}: {summary}");
}

/// Starts with `extra`, too little for `bursts`, each of so many requests: those that are not answered
/// are counted, by the kernel or by the responder, each once.
fn assert_accounted(bed: &Bed, extra: &[&str], bursts: &[(u32, usize)]) {
    let mut respond = Respond::start(bed, &[&["--json"], extra].concat());
    let mut score = Score::default();
    for &(count, size) in bursts {
        let more = bed.bursts(count, size, Duration::from_millis(50));
        assert!(more.right > 0 && more.wrong + more.duplicate == 0, "{extra:?}: {more:?}");
        score.add(&more);
    }
    let ended = respond.interrupt();
    let summary = ended.closed_summary();
    assert_eq!(ended.code, Some(0), "{extra:?}: {ended:?}");
    let kernel =
        ["rx_dropped", "rx_ring_full"].map(|name| summary["kernel"][name].as_u64().unwrap());
    let dropped = summary["counts"]["dropped"].as_object().unwrap();
    assert!(dropped.keys().all(|reason| reason == "FULL_RING"), "{extra:?}: {summary}");
    let ours: u64 = dropped.values().map(|count| count.as_u64().unwrap()).sum();
    let lost = kernel.iter().sum::<u64>() + ours;
    assert_eq!(score.missing, lost, "{extra:?}: {score:?} {summary}");
}

/// Any number of frames, powers of two or not, as many packets at once as there are frames for.
#[test]
fn frame_counts() {
    scenario("arguments::frame_counts", |bed| {
        for frames in ["1000", "4095", "4097", "5000"] {
            assert_works(bed, &["--frames", frames], 50, 64);
        }
        for frames in ["1000", "5000"] {
            assert_works(bed, &["--frames", frames, "--frame-bytes", "4096"], 50, 64);
        }
        // A frame whose reply is on its way out is not there for the next request.
        for (frames, size) in [("1", 1), ("2", 1), ("3", 2), ("16", 8), ("63", 32), ("64", 64)] {
            assert_accounted(bed, &["--frames", frames], &[(30, size), (3, 64), (10, 1)]);
        }
    });
}

/// More traffic than 16 frames can take: what is lost is lost before it is received, and the
/// responder goes on.
#[test]
fn tiny_pool_flooded() {
    scenario("arguments::tiny_pool_flooded", |bed| {
        for frames in ["1", "16", "1000"] {
            let mut respond = Respond::start(bed, &["--json", "--frames", frames]);
            let traffic = bed.traffic();
            std::thread::sleep(Duration::from_millis(300));
            traffic.until_right(101);
            let score = traffic.settle();
            assert!(score.right > 100, "{frames}: {score:?}");
            let after = bed.bursts(10, 1, Duration::from_millis(50));
            assert!(after.right > 0, "{frames}: {after:?}");
            let summary = respond.interrupt().assert_ended_well();
            assert_eq!(summary["counts"]["dropped"].as_object().unwrap().len(), 0, "{summary}");
            let answered = summary["completed"].as_u64().unwrap();
            assert_eq!(answered, score.right + after.right, "{frames}: {summary}");
        }
    });
}

/// Rings of 1, 2 and 4 entries, all of them or one of them, and the largest.
#[test]
fn ring_sizes() {
    const RINGS: [&str; 4] = ["--rx-ring", "--tx-ring", "--fill-ring", "--completion-ring"];
    scenario("arguments::ring_sizes", |bed| {
        for entries in ["1", "2", "4"] {
            let all: Vec<&str> = RINGS.iter().flat_map(|&ring| [ring, entries]).collect();
            assert_accounted(bed, &all, &[(30, 1), (5, 64), (10, 1)]);
            for ring in RINGS {
                assert_accounted(bed, &[ring, entries], &[(5, 1), (2, 64), (5, 1)]);
            }
        }
        let most: Vec<&str> = RINGS.iter().flat_map(|&ring| [ring, "1048576"]).collect();
        assert_works(bed, &most, 10, 64);
    });
}

/// What no machine or no interface has is refused at once: by the argument parser with code 2, by
/// what it is compared with, code 4.
#[test]
fn refused() {
    scenario("arguments::refused", |bed| {
        let usage: [(&str, &str, &str); 21] = [
            ("--frames", "0", "--frames"),
            ("--frames", "-1", "-1"),
            ("--frames", "16777217", "--frames"),
            ("--frames", "4294967296", "--frames"),
            ("--frames", "many", "--frames"),
            ("--frame-bytes", "0", "2048 or 4096"),
            ("--frame-bytes", "1000", "2048 or 4096"),
            ("--frame-bytes", "8192", "2048 or 4096"),
            ("--rx-ring", "0", "power of two"),
            ("--rx-ring", "1000", "power of two"),
            ("--rx-ring", "2097152", "power of two"),
            ("--tx-ring", "0", "power of two"),
            ("--tx-ring", "3", "power of two"),
            ("--tx-ring", "2147483648", "power of two"),
            ("--fill-ring", "0", "power of two"),
            ("--fill-ring", "4294967295", "power of two"),
            ("--fill-ring", "4294967296", "--fill-ring"),
            ("--completion-ring", "0", "power of two"),
            ("--completion-ring", "2049", "power of two"),
            ("--queue", "4294967296", "--queue"),
            ("--queue", "-1", "-1"),
        ];
        let queues = ["1", "7", "4000000000", "4294967295"]
            .map(|queue| ("--queue", queue, "the interface's last queue is 0"));
        let all = usage.map(|case| (2, case)).into_iter().chain(queues.map(|case| (4, case)));
        for (code, (flag, value, text)) in all {
            let words = ["respond", bed.interface(), "--ip", "192.0.2.2", flag, value];
            let started = Instant::now();
            let ran = bed.netmem_in_server(&words);
            assert_eq!(ran.code, Some(code), "{flag} {value}: {ran:?}");
            assert!(ran.stderr.contains(text), "{flag} {value}: {ran:?}");
            assert!(started.elapsed() < Duration::from_secs(20), "{flag} {value}");
            assert!(ran.stdout.is_empty(), "{flag} {value}: {ran:?}");
            if code == 4 {
                ran.assert_refused(4, &[&format!("open port on nm-server queue {value}: ")]);
            }
            assert_eq!(bed.program_id(), None);
        }
    });
}
