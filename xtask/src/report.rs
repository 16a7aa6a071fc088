//! Runs steps, shows what they do, and adds up what came of them.
//!
//! A step is one child process or one check of our own. Each becomes a row: result, tests counted,
//! seconds. A step that runs tests is read line by line, so that the last line of a run can say how
//! many tests passed; every other step counts as one test.

use std::io::{self, BufRead, BufReader, Read};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// How long a finished command's left-over children may keep its output open.
const LEFT_OVER_GRACE: Duration = Duration::from_secs(3);
/// The same while lines come.
const TALKING_GRACE: Duration = Duration::from_mins(1);

/// Tests by what came of them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

/// Reads one line of output; `None` when it counts nothing.
pub(crate) type Count = fn(&str) -> Option<Tally>;

/// What a command did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ran {
    /// Whether it started and left with code 0.
    pub(crate) ok: bool,
    /// Its exit code, unless a signal ended it or it never started.
    pub(crate) code: Option<i32>,
    /// The tests it reported.
    pub(crate) tally: Tally,
}

/// The steps of a run, in order.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: String,
    tally: Tally,
    /// Whether the tally was read from test output; else the step itself is the one test.
    counted: bool,
    took: Duration,
}

impl Report {
    /// Runs a command that counts as one test; its output goes straight through.
    pub(crate) fn step(&mut self, name: &str, command: &mut Command) -> Ran {
        self.run(name, command, None)
    }

    /// Runs a command that reports tests, adding up what `count` finds in its lines.
    pub(crate) fn tests(&mut self, name: &str, command: &mut Command, count: Count) -> Ran {
        // The lines are read: no colours in them, whatever the environment asks for.
        self.run(name, command.env("CARGO_TERM_COLOR", "never"), Some(count))
    }

    /// Adds a check of our own: prints its findings, passes without any.
    pub(crate) fn check(&mut self, name: &str, check: impl FnOnce() -> Vec<String>) {
        let start = Instant::now();
        let findings = check();
        for finding in &findings {
            println!("{name}: {finding}");
        }
        self.add(name, Tally::of_step(findings.is_empty()), false, start.elapsed());
    }

    /// Adds tests that ran elsewhere and were judged there.
    pub(crate) fn ran(&mut self, name: &str, tally: Tally, took: Duration) {
        self.add(name, tally, true, took);
    }

    /// Counts up to `tests` passed tests of the last step as skipped: they said so themselves.
    pub(crate) fn last_skipped(&mut self, tests: usize) {
        let Some(row) = self.rows.last_mut() else { return };
        let tests = u64::try_from(tests).unwrap_or(u64::MAX).min(row.tally.passed);
        row.tally.passed -= tests;
        row.tally.skipped += tests;
    }

    /// Counts the last step as skipped instead of failed.
    pub(crate) fn excuse_last(&mut self, reason: &str) {
        let Some(row) = self.rows.last_mut() else { return };
        println!("skipped: {}: {reason}", row.name);
        row.tally = Tally { skipped: 1, ..Tally::default() };
    }

    /// Prints the table and the sum, and turns them into the exit code.
    pub(crate) fn finish(&self) -> ExitCode {
        print!("{}", self.table());
        if self.total().failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// The sum over all steps, as the last line of a run says it.
    pub(crate) fn sum(&self) -> String {
        self.total().to_string()
    }

    fn run(&mut self, name: &str, command: &mut Command, count: Option<Count>) -> Ran {
        println!("\n$ {}", shown(command));
        let start = Instant::now();
        let done = match count {
            Some(count) => stream(command, count),
            None => command.status().map(|status| (status, Tally::default())),
        };
        let ran = match done {
            Ok((status, tally)) => Ran { ok: status.success(), code: status.code(), tally },
            Err(e) => {
                eprintln!("run {}: {e}", command.get_program().display());
                Ran { ok: false, code: None, tally: Tally::default() }
            }
        };
        let mut tally = if count.is_some() { ran.tally } else { Tally::of_step(ran.ok) };
        if !ran.ok && tally.failed == 0 {
            tally.failed = 1;
        }
        self.add(name, tally, count.is_some(), start.elapsed());
        ran
    }

    fn add(&mut self, name: &str, tally: Tally, counted: bool, took: Duration) {
        self.rows.push(Row { name: name.to_owned(), tally, counted, took });
    }

    fn total(&self) -> Tally {
        self.rows.iter().fold(Tally::default(), |sum, row| sum.plus(row.tally))
    }

    fn table(&self) -> String {
        let mut text = format!("\n{:22} {:8} {:>8}  tests\n", "step", "result", "seconds");
        for row in &self.rows {
            let tests = if row.counted { row.tally.to_string() } else { String::new() };
            let (result, seconds) = (row.tally.result(), row.took.as_secs_f64());
            text += format!("{:22} {result:8} {seconds:8.1}  {tests}", row.name).trim_end();
            text += "\n";
        }
        let (total, took) = (self.total(), self.rows.iter().map(|row| row.took).sum::<Duration>());
        let (result, seconds) = (total.result(), took.as_secs_f64());
        text + &format!("{:22} {result:8} {seconds:8.1}\n\n{}\n", "all", self.sum())
    }
}

impl Tally {
    /// Sums field by field.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }

    /// The tests that ran, whatever came of them.
    pub(crate) fn ran(self) -> u64 {
        self.passed + self.failed
    }

    fn of_step(ok: bool) -> Self {
        Self { passed: u64::from(ok), failed: u64::from(!ok), skipped: 0 }
    }

    fn result(self) -> &'static str {
        match self {
            Self { failed: 1.., .. } => "FAILED",
            Self { passed: 0, skipped: 1.., .. } => "skipped",
            _ => "ok",
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// The command as a shell would take it, with the variables set for it alone.
fn shown(command: &Command) -> String {
    let mut text = String::new();
    for (name, value) in command.get_envs() {
        let value = value.unwrap_or_default();
        text += &format!("{}={} ", name.display(), value.display());
    }
    // Cargo is started by its full path; its name says enough.
    let program = command.get_program();
    text += &std::path::Path::new(program).file_name().unwrap_or(program).to_string_lossy();
    for argument in command.get_args() {
        text += &format!(" {}", argument.display());
    }
    text
}

/// Runs a command, passing its lines on and counting in them.
fn stream(command: &mut Command, count: Count) -> io::Result<(std::process::ExitStatus, Tally)> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (sender, lines) = mpsc::channel();
    forward(child.stdout.take(), sender.clone());
    forward(child.stderr.take(), sender);
    let mut tally = Tally::default();
    let mut left_at = None;
    loop {
        let line = lines.recv_timeout(Duration::from_millis(100));
        match &line {
            Ok(line) => {
                let line = String::from_utf8_lossy(line);
                print!("{line}");
                tally = tally.plus(count(&line).unwrap_or_default());
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if left_at.is_none() && child.try_wait()?.is_some() {
            left_at = Some(Instant::now());
        }
        // What the command itself has said may still be on its way to a slow reader of ours.
        let grace = if line.is_ok() { TALKING_GRACE } else { LEFT_OVER_GRACE };
        if left_at.is_some_and(|at| at.elapsed() > grace) {
            eprintln!("a process left behind by `{}` holds its output open", shown(command));
            break;
        }
    }
    Ok((child.wait()?, tally))
}

/// Sends the lines of `source` from a thread of its own, line ends included.
fn forward(source: Option<impl Read + Send + 'static>, lines: Sender<Vec<u8>>) {
    let Some(source) = source else { return };
    thread::spawn(move || {
        let mut source = BufReader::new(source);
        let mut line = Vec::new();
        while source.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            if lines.send(std::mem::take(&mut line)).is_err() {
                break;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        command
    }

    fn count(line: &str) -> Option<Tally> {
        let passed = line.strip_prefix("passed ")?.trim().parse().ok()?;
        Some(Tally { passed, ..Tally::default() })
    }

    #[test]
    fn counts_lines_of_both_streams() {
        let mut report = Report::default();
        let ran = report.tests(
            "x",
            &mut shell("echo passed 2; echo passed 3 >&2; printf 'passed 4'"),
            count,
        );
        assert!(ran.ok);
        assert_eq!(ran.tally.passed, 9);
        report.last_skipped(4);
        assert!(
            report.table().ends_with("\n\n5 passed, 0 failed, 4 skipped\n"),
            "{}",
            report.table()
        );
    }

    #[test]
    fn a_failing_command_without_a_failing_test_counts_as_one_failure() {
        let mut report = Report::default();
        report.tests("tests", &mut shell("echo passed 2; exit 101"), count);
        assert_eq!(report.total(), Tally { passed: 2, failed: 1, skipped: 0 });
        let ran = report.step("step", &mut shell("exit 3"));
        assert_eq!((ran.ok, ran.code), (false, Some(3)));
        assert_eq!(report.total().failed, 2);
        report.excuse_last("not allowed to");
        assert_eq!(report.total(), Tally { passed: 2, failed: 1, skipped: 1 });
    }

    #[test]
    fn a_missing_program_fails_the_step() {
        let mut report = Report::default();
        assert!(!report.step("step", &mut Command::new("/nowhere/at/all")).ok);
        assert_eq!(report.total().failed, 1);
    }

    #[test]
    fn a_left_over_process_does_not_hold_the_run() {
        let path = std::env::temp_dir().join(format!("xtask-left-over-{}", std::process::id()));
        let script = format!("sleep 600 & echo $! >'{}'; echo passed 1", path.display());
        let start = Instant::now();
        let ran = Report::default().tests("x", &mut shell(&script), count);
        let took = start.elapsed();
        let left_over = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let killed = Command::new("kill").arg(left_over.trim()).status().unwrap();
        assert!(killed.success() && ran.ok);
        assert_eq!(ran.tally.passed, 1);
        assert!(took < Duration::from_mins(5), "{took:?}");
    }

    #[test]
    fn findings_fail_a_check() {
        let mut report = Report::default();
        report.check("clean", Vec::new);
        report.check("dirty", || vec!["a:1: b".to_owned()]);
        assert_eq!(report.total(), Tally { passed: 1, failed: 1, skipped: 0 });
        assert!(report.table().contains("dirty                  FAILED"));
    }

    #[test]
    fn shows_variables_and_arguments() {
        let mut command = Command::new("/somewhere/bin/cargo");
        command.args(["doc", "--workspace"]).env("RUSTDOCFLAGS", "-Dwarnings");
        assert_eq!(shown(&command), "RUSTDOCFLAGS=-Dwarnings cargo doc --workspace");
    }
}
