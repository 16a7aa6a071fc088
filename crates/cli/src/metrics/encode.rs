//! The two text formats. OpenMetrics is written by the `prometheus-client` crate, whose escaping and
//! numbers are used; the older text is the same lines, renamed.
//!
//! What differs in version 0.0.4 of Prometheus' text: a family of counters is named with its `_total`,
//! one of infos is a gauge named with its `_info`, and neither `# UNIT` nor `# EOF` is known.

use std::fmt::{self, Write as _};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::{Registry, Unit},
};

use super::{Families, Family, Kind, Metric, Value};

/// Writes OpenMetrics text, version 1.0.0.
pub fn openmetrics(families: Families) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Encoded(families.finished().collect())));
    let mut out = String::new();
    // A string takes everything, and no value is outside of what the format can tell.
    text::encode(&mut out, &registry).expect("a string takes every line");
    out
}

/// Turns OpenMetrics text into Prometheus' text, version 0.0.4.
pub fn classic(openmetrics: &str) -> String {
    let mut out = String::with_capacity(openmetrics.len());
    let mut help = "";
    for line in openmetrics.lines() {
        // The help comes first, and the kind decides how both are named.
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest;
            continue;
        }
        if line.starts_with("# UNIT ") || line == "# EOF" {
            continue;
        }
        let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.rsplit_once(' '))
        else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        let (suffix, kind) = match kind {
            "counter" => ("_total", "counter"),
            "info" => ("_info", "gauge"),
            kind => ("", kind),
        };
        let words = help.split_once(' ').map_or("", |(_, words)| words);
        // A string takes everything.
        let _ = writeln!(out, "# HELP {name}{suffix} {words}\n# TYPE {name}{suffix} {kind}");
    }
    out
}

#[derive(Debug)]
struct Encoded(Vec<Family>);

impl Collector for Encoded {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family { metric, samples } in &self.0 {
            let (name, unit) = metric.name_and_unit();
            let kind = match metric.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Info => MetricType::Info,
            };
            let mut family = encoder.encode_descriptor(name, metric.help, unit.as_ref(), kind)?;
            for (labels, value) in samples {
                match (metric.kind, labels.is_empty()) {
                    (Kind::Info, _) => family.encode_info(labels)?,
                    (kind, true) => sample(&mut family, kind, *value)?,
                    (kind, false) => sample(&mut family.encode_family(labels)?, kind, *value)?,
                }
            }
        }
        Ok(())
    }
}

fn sample(encoder: &mut MetricEncoder<'_>, kind: Kind, value: Value) -> fmt::Result {
    match (kind, value) {
        (Kind::Counter, Value::Whole(value)) => {
            encoder.encode_counter::<NoLabelSet, _, u64>(&value, None)
        }
        (Kind::Counter, Value::Real(value)) => {
            encoder.encode_counter::<NoLabelSet, _, u64>(&value, None)
        }
        (_, value) => match value {
            Value::Whole(value) if i64::try_from(value).is_ok() => encoder.encode_gauge(&value),
            value => encoder.encode_gauge(&value.real()),
        },
    }
}

impl Metric {
    /// The name without the unit that it ends in, as OpenMetrics tells units apart.
    fn name_and_unit(&self) -> (&'static str, Option<Unit>) {
        match self.name.rsplit_once('_') {
            Some((name, "bytes")) => (name, Some(Unit::Bytes)),
            Some((name, "seconds")) => (name, Some(Unit::Seconds)),
            _ => (self.name, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn families() -> Families {
        let mut families = Families::default();
        let held = Metric::gauge("netmem_held_bytes", "Bytes held.");
        families.add(held, &[("cgroup", "a\"b\\c\nd")], u64::MAX);
        families.add_real(Metric::counter("netmem_stall_seconds", "Time lost."), &[], 1.5);
        families.add(Metric::info("netmem_build", "Us."), &[("version", "9")], 1);
        families
    }

    /// Kills: no unit; a whole number past i64 refused.
    #[test]
    fn openmetrics_has_units_and_an_end() {
        let expected = "\
# HELP netmem_build Us.
# TYPE netmem_build info
netmem_build_info{version=\"9\"} 1
# HELP netmem_held_bytes Bytes held.
# TYPE netmem_held_bytes gauge
# UNIT netmem_held_bytes bytes
netmem_held_bytes{cgroup=\"a\\\"b\\\\c\\nd\"} 18446744073709553000.0
# HELP netmem_samples_left_out Samples that are not shown because their family has too many.
# TYPE netmem_samples_left_out gauge
netmem_samples_left_out 0
# HELP netmem_stall_seconds Time lost.
# TYPE netmem_stall_seconds counter
# UNIT netmem_stall_seconds seconds
netmem_stall_seconds_total 1.5
# EOF
";
        assert_eq!(openmetrics(families()), expected);
    }

    /// Kills: `# TYPE` of a counter without `_total`; an `info` left as it is; `# EOF` left in.
    #[test]
    fn the_older_text_names_families_as_samples() {
        let expected = "\
# HELP netmem_build_info Us.
# TYPE netmem_build_info gauge
netmem_build_info{version=\"9\"} 1
# HELP netmem_held_bytes Bytes held.
# TYPE netmem_held_bytes gauge
netmem_held_bytes{cgroup=\"a\\\"b\\\\c\\nd\"} 18446744073709553000.0
# HELP netmem_samples_left_out Samples that are not shown because their family has too many.
# TYPE netmem_samples_left_out gauge
netmem_samples_left_out 0
# HELP netmem_stall_seconds_total Time lost.
# TYPE netmem_stall_seconds_total counter
netmem_stall_seconds_total 1.5
";
        assert_eq!(classic(&openmetrics(families())), expected);
    }
}
