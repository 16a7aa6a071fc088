//! What came of all machines: a table for people, JSON for programs, one tally per machine.

use super::console::{Case, Outcome, Transcript};
use crate::report::Tally;

/// One machine that ran.
#[derive(Debug)]
pub(super) struct Results {
    /// The series that was asked for: "6.1".
    pub(super) series: String,
    pub(super) device: &'static str,
    /// The emulator's version.
    pub(super) qemu: String,
    pub(super) transcript: Transcript,
    /// What is wrong beside failed cases.
    pub(super) findings: Vec<String>,
}

impl Results {
    pub(super) fn release(&self) -> &str {
        self.transcript.release.as_deref().unwrap_or(&self.series)
    }

    /// Cases by result, and each finding as a failure.
    pub(super) fn tally(&self) -> Tally {
        let count = |wanted: &[Outcome]| {
            let cases = self.transcript.cases.iter();
            cases.filter(|case| wanted.contains(&case.outcome)).count() as u64
        };
        Tally {
            passed: count(&[Outcome::Pass]),
            failed: count(&[Outcome::Fail]) + self.findings.len() as u64,
            skipped: count(&[Outcome::Impossible, Outcome::Skip]),
        }
    }

    fn booted_seconds(&self) -> f64 {
        self.transcript.booted_after.unwrap_or_default().as_secs_f64()
    }
}

/// One line per machine, then one per case.
pub(super) fn table(all: &[Results]) -> String {
    let mut text = String::new();
    for results in all {
        let (boot, all) = (results.booted_seconds(), results.transcript.took.as_secs_f64());
        let (release, device, qemu) = (results.release(), results.device, &results.qemu);
        text += &format!("\n{release} {device}, QEMU {qemu}: booted {boot:.1} s, all {all:.1} s\n");
        for case in &results.transcript.cases {
            let Case { name, mode, driver, busy_poll, outcome, why, took } = case;
            let poll = if *busy_poll { "busy poll" } else { "" };
            let (seconds, result) = (took.as_secs_f64(), outcome.name());
            let line = format!(
                "  {name:34} {driver:10} {mode:9} {poll:9} {result:10} {seconds:6.1}  {why}"
            );
            text += line.trim_end();
            text += "\n";
        }
        for finding in &results.findings {
            text += &format!("  {finding}\n");
        }
    }
    text
}

/// One JSON object, with a line for each machine and each case. Machines of the record `before` that
/// did not run again stay in it.
pub(super) fn json(all: &[Results], before: &str) -> String {
    let mut machines: Vec<String> = all.iter().map(machine_json).collect();
    let heads: Vec<String> = all.iter().map(head).collect();
    // Each begins on a line of its own, and ends with the record or in front of the next.
    for machine in before.split("\n {").skip(1) {
        let machine = machine.trim_end().trim_end_matches("\n]}").trim_end_matches(',');
        let machine = format!("\n {{{machine}");
        if !heads.iter().any(|head| machine.starts_with(head)) {
            machines.push(machine);
        }
    }
    format!("{{\"machines\":[{}\n]}}\n", machines.join(","))
}

/// How the line of a machine begins: with what was asked for.
fn head(results: &Results) -> String {
    let (series, device) = (string(&results.series), string(results.device));
    format!("\n {{\"series\":{series},\"device\":{device},")
}

fn machine_json(results: &Results) -> String {
    let cases = results.transcript.cases.iter().map(|case| {
        format!(
            "\n  {{\"case\":{},\"mode\":{},\"driver\":{},\"busy_poll\":{},\"result\":{},\"why\":{},\"seconds\":{:.3}}}",
            string(&case.name),
            string(&case.mode),
            string(&case.driver),
            case.busy_poll,
            string(case.outcome.name()),
            string(&case.why),
            case.took.as_secs_f64()
        )
    });
    let cases: Vec<String> = cases.collect();
    let findings: Vec<String> = results.findings.iter().map(|finding| string(finding)).collect();
    format!(
        "{}\"kernel\":{},\"qemu\":{},\"boot_seconds\":{:.3},\"seconds\":{:.3},\"findings\":[{}],\"cases\":[{}]}}",
        head(results),
        string(results.release()),
        string(&results.qemu),
        results.booted_seconds(),
        results.transcript.took.as_secs_f64(),
        findings.join(","),
        cases.join(",")
    )
}

/// A JSON string (RFC 8259, section 7).
fn string(text: &str) -> String {
    let mut json = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            control if control < ' ' => json += &format!("\\u{:04x}", u32::from(control)),
            _ => json.push(character),
        }
    }
    json + "\""
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::console::Source;
    use super::*;

    fn results() -> Results {
        let mut transcript = Transcript::default();
        let fail =
            r#"netmem-vm case=b mode=zero-copy device=igb busy_poll=1 result=fail why="\"x\" \\""#;
        let pass = "netmem-vm case=a mode=native device=igb busy_poll=0 result=pass why=\"\"";
        let absent =
            "netmem-vm case=c mode=native device=igb busy_poll=0 result=impossible why=\"\"";
        let lines = ["netmem-vm kernel=7.3.4", "netmem-vm start=t", pass, fail, absent];
        for (second, line) in (1..).zip(lines) {
            transcript.line(
                Source::Programs,
                line.as_bytes(),
                Duration::from_secs(second * second),
            );
        }
        let findings = transcript.findings(1);
        let (series, qemu) = ("7.3".to_owned(), "10.0".to_owned());
        Results { series, device: "igb", qemu, transcript, findings }
    }

    #[test]
    fn a_finding_counts_as_a_failure() {
        assert_eq!(results().tally(), Tally { passed: 1, failed: 2, skipped: 1 });
    }

    #[test]
    fn json_quotes_what_a_guest_said() {
        let json = json(&[results(), results()], "");
        let start = r#" {"series":"7.3","device":"igb","kernel":"7.3.4","qemu":"10.0","#;
        assert!(json.starts_with(&format!("{{\"machines\":[\n{start}")), "{json}");
        let fail = r#"{"case":"b","mode":"zero-copy","driver":"igb","busy_poll":true,"result":"fail","why":"\"x\" \\","seconds":7.000}"#;
        assert_eq!(json.matches(fail).count(), 2, "{json}");
        assert!(json.contains("\"findings\":[\"the machine ended before t did say `done`\"]"));
        assert_eq!(string("\u{1b}[\n"), "\"\\u001b[\\u000a\"");
    }

    #[test]
    fn machines_that_did_not_run_again_stay() {
        let both = json(&[results(), Results { device: "veth", ..results() }], "");
        let again = json(&[Results { qemu: "11.0".to_owned(), ..results() }], &both);
        assert_eq!(again.matches("{\"series\":").count(), 2, "{again}");
        assert_eq!(
            again.matches("\"device\":\"igb\",\"kernel\":\"7.3.4\",\"qemu\":\"11.0\"").count(),
            1
        );
        assert_eq!(json(&[], &again), again);
        assert_eq!(again.matches(['{', '[']).count(), again.matches(['}', ']']).count());
    }

    #[test]
    fn the_table_has_a_line_per_case() {
        let table = table(&[results()]);
        assert_eq!(table.lines().count(), 6, "{table}");
        assert!(table.contains("7.3.4 igb, QEMU 10.0: booted 1.0 s"), "{table}");
    }
}
