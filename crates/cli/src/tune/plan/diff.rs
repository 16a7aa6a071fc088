//! A plan as text: what was found, then the changes as a diff for each reach. Names of processes and lines
//! of files are in it, so control characters are replaced.

use std::io::{self, Write};

use netmem_host::{
    sysctl::{Key, Unit},
    tune::{Change, Confidence, Finding, Plan, Reach},
};

use super::Planned;
use crate::report::{bytes, harmless};

/// Writes it.
pub(super) fn print(out: &mut dyn Write, planned: &Planned) -> io::Result<()> {
    let Planned { plan, netns, looked_ms, .. } = planned;
    let goal = plan.goal.as_ref().map_or(String::new(), |goal| format!(", for {goal}"));
    let (seconds, tenths) = (looked_ms / 1000, looked_ms / 100 % 10);
    let kernel = &plan.basis.kernel_release;
    writeln!(
        out,
        "netmem tune plan: network namespace {netns}, {seconds}.{tenths} s looked at{goal}, kernel {kernel}"
    )?;
    for finding in &plan.findings {
        self::finding(out, finding)?;
    }
    for (reach, name) in
        [(Reach::Global, "global".to_owned()), (Reach::Namespace, format!("netns={netns}"))]
    {
        let changes = plan.changes.iter().filter(|change| change.reach == reach);
        for (at, change) in changes.enumerate() {
            if at == 0 {
                write!(out, "\n--- {name}, now\n+++ {name}, proposed\n")?;
            }
            self::change(out, planned, change)?;
        }
    }
    last(out, plan)
}

fn finding(out: &mut dyn Write, finding: &Finding) -> io::Result<()> {
    writeln!(out, "\n{}: {}", finding.rule, harmless(&finding.what))?;
    rows(out, "evidence", &finding.evidence)?;
    rows(out, "advice", &finding.advice)
}

fn change(out: &mut dyn Write, planned: &Planned, change: &Change) -> io::Result<()> {
    let confidence = match change.confidence {
        Confidence::Low => "low",
        Confidence::Medium => "medium",
        Confidence::High => "high",
    };
    let spell = |value: &str| harmless(&Spelling::of(&change.key, planned).value(value));
    writeln!(out, "@@ {} @@ {}, confidence {confidence}", change.key, change.rule)?;
    writeln!(out, "-{}", spell(&change.current))?;
    writeln!(out, "+{}", spell(&change.proposed))?;
    let default = change.default.as_deref().map_or_else(|| "not to be computed".to_owned(), spell);
    row(out, "default", &default)?;
    rows(out, "set by", &change.set_by)?;
    rows(out, "evidence", &change.evidence)?;
    row(out, "formula", &change.formula)?;
    let bound = if change.bound.is_empty() { "none reached" } else { &change.bound };
    row(out, "bound", bound)?;
    row(out, "source", &change.citation)
}

/// What there is to do, and what is not known.
fn last(out: &mut dyn Write, plan: &Plan) -> io::Result<()> {
    writeln!(out)?;
    for why in &plan.not_known {
        writeln!(out, "not known: {}", harmless(why))?;
    }
    match (plan.changes.len(), plan.findings.len()) {
        (0, 0) => writeln!(out, "no limit was seen to be met: nothing to change"),
        (0, 1) => writeln!(out, "1 finding, and no setting to change for it"),
        (0, count) => writeln!(out, "{count} findings, and no setting to change for them"),
        (1, _) => writeln!(out, "1 change proposed, none made"),
        (count, _) => writeln!(out, "{count} changes proposed, none made"),
    }
}

fn rows(out: &mut dyn Write, name: &str, lines: &[String]) -> io::Result<()> {
    for (at, line) in lines.iter().enumerate() {
        row(out, if at == 0 { name } else { "" }, line)?;
    }
    Ok(())
}

fn row(out: &mut dyn Write, name: &str, text: &str) -> io::Result<()> {
    writeln!(out, "  {name:<9} {}", harmless(text))
}

/// How the numbers of a setting are spelled.
struct Spelling {
    unit: Unit,
    page_bytes: u64,
    memory_bytes: u64,
}

impl Spelling {
    fn of(key: &str, planned: &Planned) -> Self {
        let (page_bytes, memory_bytes) = (planned.page_bytes, planned.memory_bytes);
        Self { unit: Key::named(key).map_or(Unit::Text, |key| key.unit), page_bytes, memory_bytes }
    }

    /// A value as it is written, and what it means.
    fn value(&self, value: &str) -> String {
        let words: Vec<&str> = value.split_ascii_whitespace().collect();
        let written = words.join(" ");
        let meant: Option<Vec<String>> =
            words.iter().map(|word| Some(self.number(word.parse().ok()?))).collect();
        match (self.unit, meant) {
            (Unit::Bytes | Unit::Pages, Some(meant)) => {
                format!("{written}  {} = {}", self.unit.name(), meant.join(", "))
            }
            (Unit::Text, _) | (_, None) => written,
            (unit, Some(_)) => format!("{written}  {}", unit.name()),
        }
    }

    fn number(&self, number: u64) -> String {
        if self.unit != Unit::Pages {
            return rounded(number);
        }
        let size = number.saturating_mul(self.page_bytes);
        let tenths = u128::from(size) * 1000 / u128::from(self.memory_bytes.max(1));
        let (percent, tenth) = (tenths / 10, tenths % 10);
        format!("{} ({percent}.{tenth} % of memory)", rounded(size))
    }
}

/// A number of bytes, exact where a unit divides it, else with a tenth of the largest one.
fn rounded(count: u64) -> String {
    let exact = bytes(count);
    let units = [(1_u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.iter().find(|(unit, _)| count >= *unit);
    match unit {
        Some((unit, name)) if !count.is_multiple_of(*unit) => {
            let tenths = u128::from(count) * 10 / u128::from(*unit);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        _ => exact,
    }
}

#[cfg(test)]
mod tests {
    use netmem_host::tune::{Basis, PLAN_SCHEMA};

    use super::*;

    fn planned() -> Planned {
        let basis = Basis {
            kernel_release: "6.18.0".to_owned(),
            boot_id: "x".to_owned(),
            netns_inode: 7,
            made_at_s: 1,
        };
        let change = Change {
            key: "net.ipv4.tcp_mem".to_owned(),
            reach: Reach::Global,
            current: "287901\t383868\t575802".to_owned(),
            default: Some("287901 383868 575802".to_owned()),
            proposed: "575802 767736 1151604".to_owned(),
            set_by: vec!["/etc/sysctl.d/9.conf:3 = 1 2 3".to_owned()],
            rule: "R-PROTO-MEM".to_owned(),
            evidence: vec!["one".to_owned(), "two".to_owned()],
            formula: "2 x".to_owned(),
            bound: String::new(),
            citation: "Documentation/networking/ip-sysctl.rst".to_owned(),
            confidence: Confidence::Low,
        };
        let inside = Change {
            key: "net.ipv4.tcp_rmem".to_owned(),
            reach: Reach::Namespace,
            current: "4096\t131072\t33554432".to_owned(),
            default: None,
            proposed: "4096 131072 75000000".to_owned(),
            set_by: Vec::new(),
            bound: "256 MiB = 268435456".to_owned(),
            ..change.clone()
        };
        let plan = Plan {
            schema: PLAN_SCHEMA.to_owned(),
            basis,
            goal: Some("throughput".to_owned()),
            findings: Vec::new(),
            changes: vec![change, inside],
            not_known: vec!["softnet: absent".to_owned()],
        };
        let netns = "blue".to_owned();
        Planned { plan, memory_bytes: 24 << 30, page_bytes: 4096, netns, looked_ms: 10_040 }
    }

    #[test]
    fn a_diff_for_each_reach_with_units_spelled() {
        let mut out = Vec::new();
        print(&mut out, &planned()).unwrap();
        let text = String::from_utf8(out).unwrap();
        let expected = "\
netmem tune plan: network namespace blue, 10.0 s looked at, for throughput, kernel 6.18.0

--- global, now
+++ global, proposed
@@ net.ipv4.tcp_mem @@ R-PROTO-MEM, confidence low
-287901 383868 575802  pages = 1.0 GiB (4.5 % of memory), 1.4 GiB (6.1 % of memory), 2.1 GiB (9.1 % of memory)
+575802 767736 1151604  pages = 2.1 GiB (9.1 % of memory), 2.9 GiB (12.2 % of memory), 4.3 GiB (18.3 % of memory)
  default   287901 383868 575802  pages = 1.0 GiB (4.5 % of memory), 1.4 GiB (6.1 % of memory), 2.1 GiB (9.1 % of memory)
  set by    /etc/sysctl.d/9.conf:3 = 1 2 3
  evidence  one
            two
  formula   2 x
  bound     none reached
  source    Documentation/networking/ip-sysctl.rst

--- netns=blue, now
+++ netns=blue, proposed
@@ net.ipv4.tcp_rmem @@ R-PROTO-MEM, confidence low
-4096 131072 33554432  bytes = 4 KiB, 128 KiB, 32 MiB
+4096 131072 75000000  bytes = 4 KiB, 128 KiB, 71.5 MiB
  default   not to be computed
  evidence  one
            two
  formula   2 x
  bound     256 MiB = 268435456
  source    Documentation/networking/ip-sysctl.rst

not known: softnet: absent
2 changes proposed, none made
";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_last_line_says_what_there_is() {
        let mut planned = planned();
        planned.plan.changes.clear();
        let last = |planned: &Planned| {
            let mut out = Vec::new();
            print(&mut out, planned).unwrap();
            String::from_utf8(out).unwrap().lines().last().unwrap().to_owned()
        };
        assert_eq!(last(&planned), "no limit was seen to be met: nothing to change");
        let (rule, what) = ("R-LISTEN".to_owned(), "x".to_owned());
        let finding = Finding { rule, what, evidence: Vec::new(), advice: Vec::new() };
        planned.plan.findings.push(finding.clone());
        assert_eq!(last(&planned), "1 finding, and no setting to change for it");
        planned.plan.findings.push(finding);
        assert_eq!(last(&planned), "2 findings, and no setting to change for them");
    }

    #[test]
    fn what_others_wrote_does_nothing_to_the_terminal() {
        let mut planned = planned();
        let text = || "a\u{1b}[2J\u{9b}1m\r\n\tb".to_owned();
        planned.plan.findings.push(Finding {
            rule: "R-TEST".to_owned(),
            what: text(),
            evidence: vec![text()],
            advice: vec![text()],
        });
        for change in &mut planned.plan.changes {
            (change.set_by, change.evidence) = (vec![text()], vec![text()]);
            (change.current, change.proposed) = (text(), text());
            (change.default, change.formula, change.bound) = (Some(text()), text(), text());
        }
        planned.plan.not_known.push(text());
        let mut out = Vec::new();
        print(&mut out, &planned).unwrap();
        let printed = String::from_utf8(out).unwrap();
        let bad: Vec<_> = printed.chars().filter(|c| c.is_control() && *c != '\n').collect();
        assert_eq!(bad, [], "{printed:?}");
        assert_eq!(printed.matches("a\u{fffd}[2J\u{fffd}1m\u{fffd}\u{fffd} b").count(), 12);
    }

    #[test]
    fn numbers_of_packets_and_times_have_their_unit() {
        let spell = |key: &str, value: &str| Spelling::of(key, &planned()).value(value);
        assert_eq!(spell("net.core.netdev_max_backlog", "2000"), "2000  packets");
        assert_eq!(spell("net.core.netdev_budget_usecs", "16000"), "16000  microseconds");
        assert_eq!(spell("net.core.optmem_max", "40960"), "40960  bytes = 40 KiB");
        assert_eq!(spell("net.core.optmem_max", "what"), "what");
        assert_eq!(rounded(999), "999 B");
    }
}
