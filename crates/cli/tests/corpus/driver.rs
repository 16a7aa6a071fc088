//! Random changes of the corpus, for as long as is asked: fuzzing for every compiler.
//!
//! Knows nothing of coverage: it reaches deep because the seeds do, and because the bodies put lengths
//! and checksums right.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::bodies::Body;

/// Bytes that are often on an edge.
const EDGES: [u8; 14] = [0, 1, 2, 3, 4, 5, 7, 8, 20, 60, 68, 0x45, 0x80, 0xff];
const LONGEST_BYTES: usize = 2048;
/// An input that takes longer hangs: the usual takes microseconds.
const HANGS: Duration = Duration::from_secs(1);

/// Splitmix64: small, and good enough to choose bytes by.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Seeded by the time.
    pub(crate) fn by_time() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::from(now.subsec_nanos()) << 32 | now.as_secs() & 0xffff_ffff)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`, or 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end as u64).max(1)).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// A corpus with a source of changes.
pub(crate) struct Driver<'c> {
    pub(crate) seeds: &'c [Vec<u8>],
    pub(crate) random: Random,
}

impl Driver<'_> {
    /// Runs `body` on changed seeds until `time` is over, but `least` times; returns how often, and how
    /// long the slowest took.
    ///
    /// # Errors
    /// The input that the body panicked on or hung on.
    pub(crate) fn run(
        &mut self,
        body: Body,
        least: u64,
        time: Duration,
    ) -> Result<(u64, Duration), Vec<u8>> {
        let start = Instant::now();
        let (mut count, mut slowest) = (0, Duration::ZERO);
        while count < least || start.elapsed() < time {
            for _ in 0..256 {
                let input = self.input();
                // A busy machine may stop us for as long: what is slow each time hangs.
                let mut took = HANGS;
                for _ in 0..3 {
                    let begun = Instant::now();
                    if catch_unwind(AssertUnwindSafe(|| body(&input))).is_err() {
                        return Err(input);
                    }
                    took = begun.elapsed();
                    if took < HANGS {
                        break;
                    }
                }
                if took >= HANGS {
                    return Err(input);
                }
                slowest = slowest.max(took);
                count += 1;
            }
        }
        Ok((count, slowest))
    }

    fn input(&mut self) -> Vec<u8> {
        let which = self.random.below(self.seeds.len());
        let mut input = self.seeds[which].clone();
        for _ in 0..self.random.below(7) {
            self.change(&mut input);
        }
        input.truncate(LONGEST_BYTES);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let random = &mut self.random;
        let at = random.below(input.len());
        let run = 1 + random.below(8);
        match random.below(10) {
            0 if !input.is_empty() => input[at] ^= 1 << random.below(8),
            1 | 2 if !input.is_empty() => input[at] = EDGES[random.below(EDGES.len())],
            3 if !input.is_empty() => input[at] = random.byte(),
            4 if !input.is_empty() => input[at] = input[at].wrapping_add_signed([-1, 1][run % 2]),
            5 => input.truncate(at),
            6 => input.extend((0..run).map(|_| random.byte())),
            7 => drop(input.drain(at..(at + run).min(input.len()))),
            8 => drop(input.splice(at..at, (0..run).map(|_| random.byte()))),
            _ => {
                // The rest of another seed, or one of its bytes' runs in place.
                let other = &self.seeds[random.below(self.seeds.len())];
                let from = random.below(other.len());
                let end = if random.below(2) == 0 { other.len() } else { from + run };
                let piece = &other[from..end.min(other.len())];
                let until = (at + piece.len()).min(input.len());
                input.splice(at..until, piece.iter().copied());
            }
        }
    }
}
