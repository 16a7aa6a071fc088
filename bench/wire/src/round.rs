//! A case, its contenders, and the rounds that measure them in turns.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// How long one contender runs in one round, at least.
const RUN: Duration = Duration::from_millis(2);

/// One piece of work, and who does it.
pub(crate) struct Case {
    /// Unique, without spaces.
    pub(crate) name: String,
    /// How many bytes one call works on.
    pub(crate) len_bytes: usize,
    /// Ours first.
    pub(crate) contenders: Vec<Contender>,
}

/// One that does the work of a case.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    /// What one call returns: the same for all contenders, or `None` where there is nothing to
    /// compare.
    result: Option<u64>,
    /// Calls the work so many times.
    repeat: Box<dyn FnMut(u64)>,
}

impl Contender {
    /// Makes a contender of `work`. The loop around it is compiled with it, so that nothing but the
    /// work is called in the measured time.
    pub(crate) fn new<F: FnMut() -> u64 + 'static>(name: &'static str, mut work: F) -> Self {
        let result = Some(work());
        let repeat = Box::new(move |times| {
            for _ in 0..times {
                black_box(work());
            }
        });
        Self { name, result, repeat }
    }

    /// The same for work that has a result of its own kind, which is not compared.
    pub(crate) fn of_other_result<F: FnMut() -> u64 + 'static>(
        name: &'static str,
        work: F,
    ) -> Self {
        Self { result: None, ..Self::new(name, work) }
    }

    fn run(&mut self, times: u64) -> Duration {
        let start = Instant::now();
        (self.repeat)(times);
        start.elapsed()
    }

    /// How many calls take as long as a run should.
    fn calibrate(&mut self) -> u64 {
        let mut times = 1;
        while self.run(times) < RUN {
            times *= 2;
        }
        times
    }
}

/// What one contender did.
pub(crate) struct Outcome {
    pub(crate) case: String,
    pub(crate) contender: &'static str,
    /// Median time of one call.
    pub(crate) nanoseconds: f64,
    /// Bytes of the case per that time.
    pub(crate) gigabytes_per_second: f64,
    /// Time divided by ours in the same round; `None` for ours.
    pub(crate) ratio: Option<Spread>,
}

/// Median and extremes over the rounds.
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Case {
    /// Measures all contenders in `rounds` rounds.
    ///
    /// # Panics
    /// If two contenders disagree about the result.
    pub(crate) fn measure(mut self, rounds: usize) -> Vec<Outcome> {
        let results: Vec<_> = self.contenders.iter().filter_map(|one| one.result).collect();
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{}: {results:x?}", self.name);
        let times: Vec<u64> = self.contenders.iter_mut().map(Contender::calibrate).collect();
        let count = self.contenders.len();
        let mut nanoseconds = vec![Vec::new(); count];
        for round in 0..rounds {
            for turn in 0..count {
                let i = (round + turn) % count;
                let elapsed = self.contenders[i].run(times[i]);
                nanoseconds[i].push(elapsed.as_nanos() as f64 / times[i] as f64);
            }
        }
        let outcome = |i: usize| {
            let ratios = nanoseconds[i].iter().zip(&nanoseconds[0]).map(|(a, b)| a / b).collect();
            let median = Spread::of(nanoseconds[i].clone()).median;
            Outcome {
                case: self.name.clone(),
                contender: self.contenders[i].name,
                nanoseconds: median,
                gigabytes_per_second: self.len_bytes as f64 / median,
                ratio: (i > 0).then(|| Spread::of(ratios)),
            }
        };
        (0..count).map(outcome).collect()
    }
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self { median: values[values.len() / 2], min: values[0], max: values[values.len() - 1] }
    }
}
