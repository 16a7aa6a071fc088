//! `netmem doctor [IFACE]`: what this host and its interfaces can do for network memory, what stands in
//! the way, and what helps.
//!
//! ```text
//!   facts (read once)  ->  checks: fn(&Host) -> lines, no I/O  ->  a table or JSON
//! ```
//! A line has a verdict: `ok`; `finding`, for what stands in the way and can be changed; `note`, for what
//! is so, as that a driver has no zero copy; `unknown`, where the source does not tell, which is never
//! taken for ok. Each has its evidence, and a finding what helps.
//!
//! Nothing is changed. What can only be found out by trying is tried with sockets of this process: an
//! AF_XDP socket that is not bound, a connection over loopback, a ring of io_uring. `--probe` binds AF_XDP
//! sockets to the named interface for a moment, behind a program that passes every packet to the kernel.
//!
//! Exit codes: 0 no finding; 1 findings; 3 a source that matters is closed to this process, whatever else
//! was found; 4 there is no such interface.

mod bind;
mod facts;
mod host;
mod interface;
mod memory;
pub mod probe;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    io::{self, Write},
};

use netmem_host::source::{Root, SourceState, Unavailable};
use serde::Serialize;

use self::facts::Host;
use crate::{
    Failure, Outcome,
    args::DoctorArgs,
    explain::{TEXT_COLUMNS, wrapped},
    report::{self, row},
};

/// The whole report.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// `netmem.doctor/1`.
    pub schema: &'static str,
    /// What was checked, the host first.
    pub lines: Vec<Line>,
}

/// What a check says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The interface, or nothing for the host.
    pub interface: Option<String>,
    /// The check's name.
    pub check: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What is so, in a sentence without its end.
    pub what: String,
    /// What shows it: a value with its source.
    pub evidence: String,
    /// What helps.
    pub fix: Option<String>,
    /// Whether the source is closed to this process, and the answer would matter.
    pub denied: bool,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing stands in the way.
    Ok,
    /// Something does, and can be changed.
    Finding,
    /// Something is so, and is good to know.
    Note,
    /// It cannot be told.
    Unknown,
}

/// A check of the host.
type HostCheck = fn(&Host) -> Vec<Line>;

/// Runs the command.
///
/// # Errors
/// When there is no such interface, or the kernel lists none.
pub fn run(args: &DoctorArgs, out: &mut dyn Write) -> Result<Outcome, Failure> {
    let host = Host::read(&Root::live(), args.interface.as_deref())?;
    let mut report = Report::of(&host);
    if let Some(interface) = args.interface.as_deref().filter(|_| args.probe) {
        report.lines.push(bind::probe(interface));
    }
    let printed = if args.json { report::json(out, &report) } else { print(out, &report) };
    printed.and_then(|()| out.flush()).map_err(Failure::output)?;
    Ok(report.outcome())
}

impl Report {
    /// Runs all checks.
    fn of(host: &Host) -> Self {
        let mut lines: Vec<_> = host::CHECKS.iter().flat_map(|check| check(host)).collect();
        for interface in &host.interfaces {
            for check in interface::CHECKS {
                let named = |line| Line { interface: Some(interface.name.clone()), ..line };
                lines.extend(check(host, interface).into_iter().map(named));
            }
        }
        Self { schema: "netmem.doctor/1", lines }
    }

    /// How the command ends.
    fn outcome(&self) -> Outcome {
        if self.lines.iter().any(|line| line.denied) {
            Outcome::Missing
        } else if self.lines.iter().any(|line| line.verdict == Verdict::Finding) {
            Outcome::Finding
        } else {
            Outcome::Done
        }
    }
}

impl Line {
    fn new(
        check: &'static str,
        verdict: Verdict,
        what: impl Into<String>,
        evidence: impl Into<String>,
    ) -> Self {
        Self {
            interface: None,
            check,
            verdict,
            what: what.into(),
            evidence: evidence.into(),
            fix: None,
            denied: false,
        }
    }

    fn ok(check: &'static str, what: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, what, evidence)
    }

    fn note(check: &'static str, what: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self::new(check, Verdict::Note, what, evidence)
    }

    fn finding(check: &'static str, what: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self::new(check, Verdict::Finding, what, evidence)
    }

    fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }

    /// What a source does not tell; it matters if the source is closed to this process.
    fn unknown(check: &'static str, what: impl Into<String>, why: &Unavailable) -> Self {
        let denied = why.state == SourceState::Denied;
        let line = Self { denied, ..Self::new(check, Verdict::Unknown, what, why.to_string()) };
        if denied {
            line.fix("run as root, or with the capability that the source wants")
        } else {
            line
        }
    }

    /// As [`unknown`](Self::unknown), of what is only good to know: a closed source changes no exit code.
    fn unknown_aside(check: &'static str, what: impl Into<String>, why: &Unavailable) -> Self {
        Self { denied: false, ..Self::unknown(check, what, why) }
    }
}

impl Verdict {
    /// Its name, as it is printed.
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Finding => "finding",
            Self::Note => "note",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

fn print(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let mut place: Option<&Option<String>> = None;
    for line in &report.lines {
        if place != Some(&line.interface) {
            match &line.interface {
                None => writeln!(out, "host")?,
                Some(interface) => writeln!(out, "interface {interface}")?,
            }
            place = Some(&line.interface);
        }
        print_line(out, line)?;
    }
    let count = |verdict| report.lines.iter().filter(|line| line.verdict == verdict).count();
    let counts = [Verdict::Ok, Verdict::Note, Verdict::Finding, Verdict::Unknown]
        .map(|verdict| format!("{} {verdict}", count(verdict)));
    writeln!(out)?;
    row(out, "result", counts.join(", "))
}

/// Check, verdict and what is so with its evidence, in three columns; below it what helps.
fn print_line(out: &mut dyn Write, line: &Line) -> io::Result<()> {
    let columns = TEXT_COLUMNS - 9;
    let mut texts = wrapped(&format!("{} ({})", line.what, line.evidence), columns);
    texts.extend(line.fix.iter().flat_map(|fix| wrapped(&format!("fix: {fix}"), columns)));
    let (mut check, mut verdict) = (line.check, line.verdict.name());
    for text in texts {
        row(out, check, format!("{verdict:<8} {text}"))?;
        (check, verdict) = ("", "");
    }
    Ok(())
}
