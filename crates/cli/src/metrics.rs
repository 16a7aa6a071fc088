//! Figures as metrics: OpenMetrics and Prometheus' older text, and the HTTP server that gives them.
//!
//! ```text
//!   Sample of the machine (netmem-host) --machine, namespace--\
//!   pages of running netmem (netmem::stats) ----programs-------> Families --encode--> OpenMetrics 1.0.0
//!                                                                                 \-> text 0.0.4
//!   client --GET /metrics--> server: one thread; one sample at a time, kept for 250 ms
//! ```
//! `netmem export` serves all of it, `--metrics ADDR` of a data-plane command what its own workers
//! publish. Neither touches a packet: figures are read from what workers publish anyway.
//!
//! # Names
//!
//! All begin with `netmem_`. Units are bytes and seconds, and stand at the end of the name, before a
//! counter's `_total`; what has no unit is a number of what its name says. Labels are things of which a
//! machine has few. No process id, address or port is a label, and a family has [`MAX_SAMPLES`] samples
//! at most: what is left out is counted in `netmem_samples_left_out`. What cannot be read has no sample,
//! never a 0, and `netmem_source_up` of its source is 0.

mod encode;
pub(crate) mod machine;
mod namespace;
mod negotiate;
pub(crate) mod programs;
pub(crate) mod server;

use std::collections::BTreeMap;

pub use self::encode::{classic, openmetrics};
pub(crate) use self::machine::SoftnetWraps;

/// The path that metrics are at.
pub const PATH: &str = "/metrics";
/// Most samples of a family.
pub const MAX_SAMPLES: usize = 2048;

const LEFT_OUT: Metric = Metric::gauge(
    "netmem_samples_left_out",
    "Samples that are not shown because their family has too many.",
);

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    name: &'static str,
    help: &'static str,
    kind: Kind,
}

/// How a metric moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It only grows, and its samples' names end in `_total`.
    Counter,
    /// It may be anything.
    Gauge,
    /// It is always 1: its labels tell.
    Info,
}

/// A sample's value.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Value {
    Whole(u64),
    Real(f64),
}

/// The labels of a sample, with their values.
type Labels = Vec<(&'static str, String)>;

/// All metrics of a moment. Of two samples with the same labels the sum is kept, as a client refuses
/// an answer with a sample that stands there twice.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Families {
    by_name: BTreeMap<&'static str, Family>,
    left_out: u64,
}

/// A metric and its samples.
#[derive(Debug, Clone, PartialEq)]
struct Family {
    metric: Metric,
    samples: BTreeMap<Labels, Value>,
}

impl Metric {
    /// A counter; its name comes without `_total`.
    const fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Counter }
    }

    const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Gauge }
    }

    /// A metric that only has labels; its name comes without `_info`.
    const fn info(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Info }
    }
}

impl Families {
    /// The metrics that every answer has.
    pub fn new() -> Self {
        const BUILD: Metric = Metric::info("netmem_build", "The netmem that tells all this.");
        let mut families = Self::default();
        families.add(BUILD, &[("version", env!("CARGO_PKG_VERSION"))], 1);
        families
    }

    /// The metrics of a sample of the machine; single control groups only where they are asked for.
    pub fn of_sample(sample: &netmem_host::sample::Sample, choice: &Choice) -> Self {
        let mut families = Self::new();
        machine::add(&mut families, sample);
        namespace::add(&mut families, sample, choice);
        families
    }

    /// The number of samples that are not shown.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    fn add(&mut self, metric: Metric, labels: &[(&'static str, &str)], value: u64) {
        self.put(metric, labels, Value::Whole(value));
    }

    fn add_real(&mut self, metric: Metric, labels: &[(&'static str, &str)], value: f64) {
        self.put(metric, labels, Value::Real(value));
    }

    /// Adds a value if there is one.
    fn maybe(&mut self, metric: Metric, labels: &[(&'static str, &str)], value: Option<u64>) {
        if let Some(value) = value {
            self.add(metric, labels, value);
        }
    }

    fn put(&mut self, metric: Metric, labels: &[(&'static str, &str)], value: Value) {
        let family = self
            .by_name
            .entry(metric.name)
            .or_insert_with(|| Family { metric, samples: BTreeMap::new() });
        // A label without a value is one that is not there.
        let given = labels.iter().filter(|(_, value)| !value.is_empty());
        let labels: Labels = given.map(|(name, value)| (*name, (*value).to_owned())).collect();
        let is_full = family.samples.len() >= MAX_SAMPLES;
        match family.samples.get_mut(&labels) {
            Some(known) => *known = known.plus(value),
            None if is_full => self.left_out += 1,
            None => {
                family.samples.insert(labels, value);
            }
        }
    }

    /// All families, with the count of what was left out.
    fn finished(mut self) -> impl Iterator<Item = Family> {
        let left_out = self.left_out;
        self.add(LEFT_OUT, &[], left_out);
        self.by_name.into_values()
    }
}

impl Value {
    fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => Self::Whole(a.saturating_add(b)),
            (a, b) => Self::Real(a.real() + b.real()),
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "the formats have no more digits than that")]
    fn real(self) -> f64 {
        match self {
            Self::Whole(value) => value as f64,
            Self::Real(value) => value,
        }
    }
}

/// What of a sample is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "made by commands and tests")]
pub struct Choice {
    /// Whether samples of a network namespace have its name: where others than the own one are looked at.
    pub names_namespaces: bool,
    /// Whether the control groups that hold most are shown each.
    pub per_cgroup: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKETS: Metric = Metric::counter("netmem_x", "Packets.");

    /// Kills: insert in place of a sum.
    #[test]
    fn what_has_the_same_labels_is_summed() {
        let mut families = Families::default();
        for (device, packets) in [("a", 3), ("b", 1), ("a", 4)] {
            families.add(PACKETS, &[("device", device), ("netns", "")], packets);
        }
        let text = openmetrics(families);
        assert!(text.contains("netmem_x_total{device=\"a\"} 7\n"), "{text}");
        assert!(text.contains("netmem_x_total{device=\"b\"} 1\n"), "{text}");
    }

    /// Kills: no bound; no count of what is left out.
    #[test]
    fn a_family_is_bounded_and_says_so() {
        let mut families = Families::default();
        for device in 0..MAX_SAMPLES + 5 {
            families.add(PACKETS, &[("device", &device.to_string())], 1);
        }
        assert_eq!(families.left_out(), 5);
        let text = openmetrics(families);
        assert_eq!(text.matches("netmem_x_total{").count(), MAX_SAMPLES);
        assert!(text.contains("netmem_samples_left_out 5\n"));
    }
}
