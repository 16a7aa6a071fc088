//! What is used of the machine while packets pass, and whether it grows.

use std::fs;

/// What memory may have grown by over a whole run: what the allocator got in between, for good.
const SLACK_BYTES: f64 = 64.0 * 1024.0;
/// What the level of free slots may have moved by over a whole run: a batch.
const SLACK_SLOTS: f64 = 64.0;

/// What is used at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    /// Packets received by then.
    pub(super) received: u64,
    /// Resident memory of this process.
    pub(super) resident_bytes: u64,
    /// Its open file descriptors.
    pub(super) descriptors: usize,
    /// Slots in the pool and in the thread's cache.
    pub(super) free_slots: u64,
}

impl Sample {
    /// Takes a sample.
    pub(super) fn now(received: u64, free_slots: u64) -> Self {
        // Counted page by page there; VmRSS of `status` may lag.
        let text = fs::read_to_string("/proc/self/smaps_rollup").expect("procfs is mounted");
        let kib =
            text.lines().find_map(|line| line.strip_prefix("Rss:")?.split_whitespace().next());
        let kib: u64 = kib.and_then(|kib| kib.parse().ok()).expect("a number of KiB");
        let descriptors = fs::read_dir("/proc/self/fd").expect("procfs is mounted").count();
        Self { received, resident_bytes: kib << 10, descriptors, free_slots }
    }
}

/// How much memory and free slots have changed over the run, by the lines of least squares.
///
/// # Panics
/// When one is not flat, or the number of descriptors has changed. The first quarter does not count:
/// caches fill.
pub(super) fn assert_flat(samples: &[Sample]) -> [f64; 2] {
    let steady = &samples[samples.len() / 4..];
    let (first, last) = (steady.first().expect("samples"), steady.last().expect("samples"));
    for sample in steady {
        assert_eq!(sample.descriptors, first.descriptors, "descriptors: {sample:?}, {first:?}");
    }
    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^53")]
    let change = |value: fn(&Sample) -> u64| {
        let points = steady.iter().map(|sample| (sample.received as f64, value(sample) as f64));
        slope(&points.collect::<Vec<_>>()) * (last.received - first.received) as f64
    };
    let resident_bytes = change(|sample| sample.resident_bytes);
    let free_slots = change(|sample| sample.free_slots);
    assert!(resident_bytes <= SLACK_BYTES, "memory grows: {resident_bytes} bytes, {samples:?}");
    assert!(free_slots.abs() <= SLACK_SLOTS, "slots go: {free_slots}, {samples:?}");
    [resident_bytes, free_slots]
}

/// The slope of the line of least squares; 0 of a single point.
#[allow(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |sum: f64| sum / count;
    let (x0, y0) = (
        mean(points.iter().map(|point| point.0).sum()),
        mean(points.iter().map(|point| point.1).sum()),
    );
    let covariance: f64 = points.iter().map(|(x, y)| (x - x0) * (y - y0)).sum();
    let variance: f64 = points.iter().map(|(x, _)| (x - x0) * (x - x0)).sum();
    if variance > 0.0 { covariance / variance } else { 0.0 }
}
