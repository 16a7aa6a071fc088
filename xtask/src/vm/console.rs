//! Reads what a guest says: the protocol of the test programs, and trouble of the kernel.
//!
//! The guest has two serial lines. The kernel's console comes on the first; `/init` and the programs
//! write to the second, so that no message of the kernel stands in the middle of a result. Lines of
//! the protocol, which may stand behind other text (libtest prints `test name ... ` in front):
//!
//! ```text
//! netmem-vm kernel=RELEASE
//! netmem-vm start=PROGRAM
//! netmem-vm case=NAME mode=MODE device=DRIVER busy_poll=0|1 result=pass|fail|impossible|skip why="..."
//! netmem-vm done cases=N
//! netmem-vm exit=CODE
//! ```
//!
//! A guest may say anything: what cannot be read becomes a finding, never a passed case.

use std::collections::VecDeque;
use std::time::Duration;

/// How many lines are shown of a machine that failed.
const TAIL_LINES: usize = 40;
const TAIL_COLUMNS: usize = 300;
/// No program has so many cases.
const MAX_CASES: usize = 10_000;
/// Findings beyond these say nothing new.
const MAX_FINDINGS: usize = 20;
const MARK: &str = "netmem-vm ";
/// What the kernel prints when something is wrong with it, whatever the log level.
const TROUBLE: &[&str] = &[
    "Kernel panic",
    "Oops:",
    "BUG:",
    "[ cut here ]",
    "general protection fault",
    "possible circular locking",
    "possible recursive locking",
    "inconsistent lock state",
    "suspicious RCU usage",
    "blocked for more than",
    "Out of memory:",
];

/// Which of the two serial lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Kernel,
    Programs,
}

/// What came of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Pass,
    Fail,
    /// This kernel or device cannot do it, as the program found out.
    Impossible,
    /// It did not run for another reason.
    Skip,
}

impl Outcome {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Impossible => "impossible",
            Self::Skip => "skip",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Pass, Self::Fail, Self::Impossible, Self::Skip]
            .into_iter()
            .find(|outcome| outcome.name() == name)
    }
}

/// One line `case=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) mode: String,
    pub(super) driver: String,
    pub(super) busy_poll: bool,
    pub(super) outcome: Outcome,
    pub(super) why: String,
    /// Since the line of the protocol before it.
    pub(super) took: Duration,
}

/// Everything that one machine said.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    /// The guest's `uname -r`, once it was said.
    pub(super) release: Option<String>,
    /// From the start of the machine to the line that said so.
    pub(super) booted_after: Option<Duration>,
    pub(super) cases: Vec<Case>,
    /// The last lines, of both sources.
    pub(super) tail: VecDeque<String>,
    /// From the start of the machine to its end.
    pub(super) took: Duration,
    findings: Vec<String>,
    program: Option<Program>,
    programs_ended: usize,
    last_mark: Duration,
}

/// The program that runs now.
#[derive(Debug)]
struct Program {
    name: String,
    first_case: usize,
    said_done: bool,
}

impl Transcript {
    /// Takes one line, with or without its end, that came `at` after the start of the machine.
    pub(super) fn line(&mut self, source: Source, line: &[u8], at: Duration) {
        let text = printable(line);
        if source == Source::Kernel && TROUBLE.iter().any(|trouble| text.contains(trouble)) {
            self.find(format!("the kernel says: {text}"));
        }
        if let Some(start) = text.find(MARK) {
            let statement = &text[start + MARK.len()..];
            if let Err(why) = self.statement(statement, at) {
                self.find(format!("{why}: `{statement}`"));
            }
            self.last_mark = at;
        }
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(text.chars().take(TAIL_COLUMNS).collect());
    }

    /// What is wrong, once the machine has ended after `programs` should have run.
    pub(super) fn findings(&self, programs: usize) -> Vec<String> {
        let mut findings = self.findings.clone();
        if self.release.is_none() {
            findings.push("the machine did not start".to_owned());
        } else if let Some(Program { name, said_done, .. }) = &self.program {
            let what = if *said_done { "end" } else { "say `done`" };
            findings.push(format!("the machine ended before {name} did {what}"));
        } else if self.programs_ended < programs {
            let ended = self.programs_ended;
            findings.push(format!("the machine ended after {ended} of {programs} programs"));
        }
        findings
    }

    /// Adds what is wrong with the machine.
    pub(super) fn find(&mut self, finding: String) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        }
    }

    fn statement(&mut self, statement: &str, at: Duration) -> Result<(), &'static str> {
        let (key, value) = statement.split_once('=').ok_or("not a line of the protocol")?;
        match key {
            "kernel" if self.release.is_none() => {
                self.release = Some(value.trim().to_owned());
                self.booted_after = Some(at);
            }
            "start" if self.program.is_none() => {
                let (name, first_case) = (value.trim().to_owned(), self.cases.len());
                self.program = Some(Program { name, first_case, said_done: false });
            }
            "case" => self.case(value, at)?,
            "done cases" => {
                let count = value.trim().parse::<usize>().map_err(|_| "not a number of cases")?;
                let program = self.program.as_mut().ok_or("no program runs")?;
                if program.said_done {
                    return Err("said twice");
                }
                program.said_done = true;
                if count != self.cases.len() - program.first_case {
                    return Err("not as many cases were reported");
                }
            }
            "exit" => self.exit(value.trim())?,
            "problem" => return Err("the guest's set-up failed"),
            _ => return Err("not a line of the protocol, or not here"),
        }
        Ok(())
    }

    fn case(&mut self, value: &str, at: Duration) -> Result<(), &'static str> {
        let program = self.program.as_ref().ok_or("no program runs")?;
        if program.said_done {
            return Err("a case after `done`");
        }
        if self.cases.len() == MAX_CASES {
            return Err("too many cases");
        }
        let case = parse_case(value, at.saturating_sub(self.last_mark))
            .ok_or("cannot be read as a case")?;
        let same = |other: &Case| {
            (&other.name, &other.mode, other.busy_poll) == (&case.name, &case.mode, case.busy_poll)
        };
        if self.cases[program.first_case..].iter().any(same) {
            return Err("the same case twice");
        }
        self.cases.push(case);
        Ok(())
    }

    fn exit(&mut self, code: &str) -> Result<(), &'static str> {
        let program = self.program.take().ok_or("no program runs")?;
        self.programs_ended += 1;
        if !program.said_done {
            self.find(format!("{} ended with code {code} and without `done`", program.name));
        }
        let cases = &self.cases[program.first_case..];
        let is_explained = cases.iter().any(|case| case.outcome == Outcome::Fail);
        if code != "0" && program.said_done && !is_explained {
            self.find(format!("{} ended with code {code}, and no case failed", program.name));
        }
        Ok(())
    }
}

/// `NAME mode=.. device=.. busy_poll=.. result=.. why=".."`, in this order.
fn parse_case(text: &str, took: Duration) -> Option<Case> {
    let (words, why) = text.split_once(" why=\"")?;
    let why = unescaped(why.trim_end().strip_suffix('"')?)?;
    let words: Vec<&str> = words.split(' ').collect();
    let [name, mode, driver, busy_poll, result] = words[..] else { return None };
    let filled = |value: &str| Some(value.to_owned()).filter(|value| !value.is_empty());
    Some(Case {
        name: filled(name)?,
        mode: filled(mode.strip_prefix("mode=")?)?,
        driver: filled(driver.strip_prefix("device=")?)?,
        busy_poll: match busy_poll.strip_prefix("busy_poll=")? {
            "0" => false,
            "1" => true,
            _ => return None,
        },
        outcome: Outcome::parse(result.strip_prefix("result=")?)?,
        why,
        took,
    })
}

/// Undoes `\"`, `\\`, `\n` and `\t`; what else stands behind a backslash stays as it is.
fn unescaped(text: &str) -> Option<String> {
    let mut plain = String::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        match character {
            // The text ended in front of its last quote.
            '"' => return None,
            '\\' => match rest.next()? {
                'n' | 't' => plain.push(' '),
                quoted @ ('"' | '\'' | '\\') => plain.push(quoted),
                other => plain.extend(['\\', other]),
            },
            _ => plain.push(character),
        }
    }
    Some(plain)
}

/// The line as text without control characters: a terminal shows it.
fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    text.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "netmem-vm case=smoke mode=native device=veth busy_poll=0 result=pass why=\"\"";

    fn said(lines: &[&str]) -> Transcript {
        let mut transcript = Transcript::default();
        for (second, line) in (1..).zip(lines) {
            transcript.line(Source::Programs, line.as_bytes(), Duration::from_secs(second));
        }
        transcript
    }

    fn run(lines: &[&str]) -> Vec<String> {
        let frame = [&["netmem-vm kernel=6.1", "netmem-vm start=t"], lines].concat();
        said(&frame).findings(1)
    }

    #[test]
    fn reads_a_good_run() {
        let fail = r#"test a::b ... netmem-vm case=a::b mode=zero-copy device=igb busy_poll=1 result=fail why="left: \"x\\\" \n""#;
        let transcript = said(&[
            "netmem-vm kernel=7.3.4+deb13-amd64\r\n",
            "netmem-vm start=t",
            GOOD,
            fail,
            "netmem-vm done cases=2",
            "netmem-vm exit=101",
        ]);
        assert_eq!(transcript.findings(1), Vec::<String>::new());
        assert_eq!(transcript.release.as_deref(), Some("7.3.4+deb13-amd64"));
        assert_eq!(transcript.booted_after, Some(Duration::from_secs(1)));
        let second = Case {
            name: "a::b".into(),
            mode: "zero-copy".into(),
            driver: "igb".into(),
            busy_poll: true,
            outcome: Outcome::Fail,
            why: "left: \"x\\\"  ".into(),
            took: Duration::from_secs(1),
        };
        assert_eq!(transcript.cases[1], second);
        assert_eq!(transcript.cases[0].outcome, Outcome::Pass);
    }

    #[test]
    fn a_run_that_does_not_end_is_a_finding() {
        assert_eq!(said(&[]).findings(1), ["the machine did not start"]);
        assert_eq!(run(&[GOOD]), ["the machine ended before t did say `done`"]);
        let done = "netmem-vm done cases=1";
        assert_eq!(run(&[GOOD, done]), ["the machine ended before t did end"]);
        assert_eq!(run(&[GOOD, "netmem-vm exit=0"]), ["t ended with code 0 and without `done`"]);
        let ended = [GOOD, done, "netmem-vm exit=0"];
        assert!(run(&ended).is_empty());
        let transcript = said(&[&["netmem-vm kernel=x", "netmem-vm start=t"], &ended[..]].concat());
        assert_eq!(transcript.findings(2), ["the machine ended after 1 of 2 programs"]);
        assert_eq!(
            run(&[GOOD, done, "netmem-vm exit=101"]),
            ["t ended with code 101, and no case failed"]
        );
    }

    #[test]
    fn what_a_hostile_guest_says_passes_nothing() {
        let done = ["netmem-vm done cases=1", "netmem-vm exit=0"];
        let bad = [
            "case=x mode=native device=veth busy_poll=0 result=passed why=\"\"",
            "case=x mode=native device=veth busy_poll=2 result=pass why=\"\"",
            "case=x mode=native device=veth result=pass why=\"\"",
            "case= mode=native device=veth busy_poll=0 result=pass why=\"\"",
            "case=x mode=native device=veth busy_poll=0 result=pass",
            "case=x mode=native device=veth busy_poll=0 result=pass why=\"",
            "case=x mode=native device=veth busy_poll=0 result=pass why=\"a\" why=\"b\"",
            "case=x mode=native device=veth busy_poll=0 result=pass why=\"\\\"",
            "case=x result=pass mode=native device=veth busy_poll=0 why=\"\"",
            "case",
            "x",
            "kernel=again",
            "start=again",
            "problem=no interface",
        ];
        for bad in bad {
            let line = format!("{MARK}{bad} ");
            let findings = run(&[&[line.as_str(), GOOD], &done[..]].concat());
            assert_eq!(findings.len(), 1, "{bad}: {findings:?}");
        }
        // Two lines and one case: both the second line and the sum are wrong.
        let twice = run(&[GOOD, GOOD, "netmem-vm done cases=2", done[1]]);
        assert_eq!(twice.len(), 2, "{twice:?}");
        for cases in ["0", "2", "-1", "x", "99999999999999999999999"] {
            let findings = run(&[GOOD, &format!("netmem-vm done cases={cases}"), done[1]]);
            assert!(!findings.is_empty(), "{cases}");
        }
        assert_eq!(run(&[GOOD, done[0], done[0], done[1]]).len(), 1);
        let late = GOOD.replace("smoke", "late");
        assert_eq!(run(&[GOOD, done[0], &late, done[1]]).len(), 1);
        assert_eq!(said(&[GOOD]).cases.len(), 0, "no program has started");
    }

    #[test]
    fn floods_and_garbage_are_bounded() {
        let mut transcript = said(&["netmem-vm kernel=x", "netmem-vm start=t"]);
        for number in 0..20_000 {
            let line = GOOD.replace("smoke", &format!("c{number}"));
            transcript.line(Source::Programs, line.as_bytes(), Duration::ZERO);
            transcript.line(Source::Kernel, b"\xff\x00\x1b[2J netmem-vm \xc3", Duration::ZERO);
        }
        assert_eq!(transcript.cases.len(), MAX_CASES);
        assert_eq!(transcript.tail.len(), TAIL_LINES);
        assert_eq!(transcript.findings(1).len(), MAX_FINDINGS + 1);
        assert!(!transcript.tail[1].contains(char::is_control));
    }

    #[test]
    fn trouble_counts_on_the_kernels_line_only() {
        let lines = [
            "[    1.0] BUG: kernel NULL pointer dereference, address: 0",
            "[    1.0] Oops: Oops: 0002 [#1] SMP NOPTI",
            "[    1.0] ------------[ cut here ]------------",
            "[    1.0] Kernel panic - not syncing: Attempted to kill init!",
            "[    1.0] WARNING: possible circular locking dependency detected",
        ];
        for line in lines {
            let mut transcript = Transcript::default();
            transcript.line(Source::Programs, line.as_bytes(), Duration::ZERO);
            assert_eq!(transcript.findings.len(), 0, "{line}");
            transcript.line(Source::Kernel, line.as_bytes(), Duration::ZERO);
            assert_eq!(transcript.findings.len(), 1, "{line}");
        }
        let mut transcript = Transcript::default();
        let harmless = b"[    0.1] Spectre V2 : WARNING: Unprivileged eBPF is enabled";
        transcript.line(Source::Kernel, harmless, Duration::ZERO);
        assert_eq!(transcript.findings.len(), 0);
    }
}
