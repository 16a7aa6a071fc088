//! Windows, rounds, and what may be said of them.
//!
//! A machine drifts by 10 to 30 % within minutes, so figures of different rounds are not compared: what
//! is quoted is the median over the rounds of the ratio within a round, with its range. A window in
//! which something else ran is no window.

/// Steps of the probe take about this many cycles (an `or` and a multiplication).
const CYCLES_PER_PROBE_STEP: f64 = 4.0;
/// So many of fifteen rounds on one side are a claim where the range is not.
const ONE_SIDE: f64 = 12.0 / 15.0;
/// With fewer rounds than this, nothing is claimed.
const ROUNDS_MIN: usize = 7;

/// What one window of one program has shown.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Window {
    /// Frames that were reflected, each checked at the far end.
    pub(super) frames: f64,
    pub(super) seconds: f64,
    /// Frames that went round at the end, of those that were put in.
    pub(super) alive: f64,
    /// Frames that came back and were not as they should be.
    pub(super) wrong: f64,
    /// Of the program's time: in user space, from 0 to 1.
    pub(super) user_share: f64,
    /// Of the tested CPU's time: in softirqs, from 0 to 1.
    pub(super) softirq_share: f64,
    /// What else ran, in CPUs.
    pub(super) foreign: f64,
    /// Probe steps per second of the tested CPU, before and after.
    pub(super) probe: [f64; 2],
}

/// Frames that are put in.
const FRAMES: f64 = 128.0;

impl Window {
    /// Reads the lines of `name value` that the bench prints.
    ///
    /// # Errors
    /// Names what is missing.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let values = |name: &str| -> Vec<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_default().split(' ').filter_map(|word| word.parse().ok()).collect()
        };
        let value = |name: &str| {
            let values = values(name);
            values.first().copied().ok_or_else(|| format!("the bench did not say {name}"))
        };
        let [before, after] = values("probe_1")[..] else {
            return Err("the bench did not say probe_1".to_owned());
        };
        Ok(Self {
            frames: value("frames")?,
            seconds: value("seconds")?,
            alive: value("alive")?,
            wrong: value("wrong")?,
            user_share: value("user_share")?,
            softirq_share: value("softirq_share")?,
            foreign: value("foreign")?,
            probe: [before, after],
        })
    }

    /// Million frames per second.
    pub(super) fn mpps(&self) -> f64 {
        self.frames / self.seconds / 1e6
    }

    /// Cycles per frame of the tested CPU, by how fast it was around the window.
    pub(super) fn cycles_per_frame(&self) -> f64 {
        let [before, after] = self.probe;
        let cycles_per_second = f64::midpoint(before, after) * CYCLES_PER_PROBE_STEP;
        cycles_per_second * self.seconds / self.frames
    }

    /// Why the window does not count, if it does not.
    pub(super) fn rejection(&self, foreign_limit: f64) -> Option<String> {
        if self.foreign > foreign_limit {
            return Some(format!("other work took {:.1} % of a cpu", self.foreign * 100.0));
        }
        if self.alive < FRAMES {
            return Some(format!("{} of {FRAMES} frames went round", self.alive));
        }
        None
    }
}

/// Who goes when in a round: each comes first in turn.
pub(super) fn order(round: usize, candidates: usize) -> impl Iterator<Item = usize> {
    (0..candidates).map(move |turn| (round + turn) % candidates)
}

/// A median with its range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Spread {
    /// `None` of no values.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => f64::midpoint(values[middle - 1], values[middle]),
            _ => values[middle],
        };
        Some(Self { median, min, max })
    }
}

/// What ratios allow to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// The first is faster.
    Faster,
    /// The first is slower.
    Slower,
    /// No difference is shown.
    None,
    /// There are too few rounds to say anything.
    TooFew,
}

impl Claim {
    /// Judges ratios of the first by the second: with enough rounds, all on one side of 1, or four in
    /// five.
    pub(super) fn of(ratios: &[f64]) -> Self {
        if ratios.len() < ROUNDS_MIN {
            return Self::TooFew;
        }
        #[allow(clippy::cast_precision_loss, reason = "a few rounds")]
        let share = |count: usize| count as f64 / ratios.len() as f64;
        let above = share(ratios.iter().filter(|ratio| **ratio > 1.0).count());
        let below = share(ratios.iter().filter(|ratio| **ratio < 1.0).count());
        // Four in five of fewer than fifteen is no more than chance.
        let enough = if ratios.len() >= 15 { ONE_SIDE } else { 1.0 };
        match () {
            () if above >= enough => Self::Faster,
            () if below >= enough => Self::Slower,
            () => Self::None,
        }
    }

    /// In words.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::None => "no difference shown",
            Self::TooFew => "too few rounds for a claim",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "frames 1300000\nseconds 1.0\nalive 128\nwrong 0\nuser_share 0.0250\n\
                        softirq_share 0.5000\nforeign 0.0100\nprobe_0 1 2\nprobe_1 600000000 700000000\n";

    #[test]
    fn a_window_is_read_and_calibrated() {
        let window = Window::parse(SAID).unwrap();
        assert!((window.mpps() - 1.3).abs() < 1e-9);
        // 650 million steps of 4 cycles for 1.3 million frames.
        assert!((window.cycles_per_frame() - 2000.0).abs() < 1e-6);
        assert_eq!(window.rejection(0.04), None);
        for name in ["frames", "seconds", "alive", "foreign", "probe_1"] {
            let text = SAID.replace(&format!("{name} "), "other ");
            let error = Window::parse(&text).unwrap_err();
            assert_eq!(error, format!("the bench did not say {name}"));
        }
    }

    #[test]
    fn windows_with_other_work_or_lost_frames_do_not_count() {
        let window = Window::parse(SAID).unwrap();
        assert_eq!(Window { foreign: 0.04, ..window }.rejection(0.04), None);
        let busy = Window { foreign: 0.041, ..window }.rejection(0.04).unwrap();
        assert_eq!(busy, "other work took 4.1 % of a cpu");
        let lossy = Window { alive: 127.0, ..window }.rejection(0.04).unwrap();
        assert_eq!(lossy, "127 of 128 frames went round");
    }

    #[test]
    fn each_comes_first_in_turn() {
        let orders: Vec<Vec<usize>> = (0..4).map(|round| order(round, 3).collect()).collect();
        assert_eq!(orders, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]);
        assert_eq!(order(5, 1).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn medians_have_a_range() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn a_claim_wants_rounds_and_one_side() {
        assert_eq!(Claim::of(&[1.2; 6]), Claim::TooFew);
        assert_eq!(Claim::of(&[1.01; 7]), Claim::Faster);
        assert_eq!(Claim::of(&[0.99; 9]), Claim::Slower);
        let mixed = |above: usize, below: usize| {
            let ratios = [vec![1.1; above], vec![0.9; below]].concat();
            Claim::of(&ratios)
        };
        assert_eq!(mixed(8, 1), Claim::None);
        assert_eq!(mixed(12, 3), Claim::Faster);
        assert_eq!(mixed(3, 12), Claim::Slower);
        assert_eq!(mixed(11, 4), Claim::None);
        assert_eq!(Claim::of(&[1.0; 15]), Claim::None);
    }
}
