//! `xtask test`: builds the tests once, runs them, runs the doc tests, and judges the skips.

use std::process::{Command, Stdio};

use crate::report::{Count, Ran, Report, Tally};
use crate::skips;
use crate::workspace::Workspace;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
usage: cargo xtask test

Builds all tests, then runs them with `cargo nextest` where it is installed,
else with `cargo test`, then the doc tests. Needs no root.

A test that cannot run here appends `test name: reason` to the file named by
NETMEM_SKIPS. Skips are shown; with CI=true each must be in .ci/impossible.
";

/// Runs all tests of the workspace.
///
/// # Errors
/// When arguments are given: there are none.
pub(crate) fn run(
    workspace: &Workspace,
    arguments: &[String],
    report: &mut Report,
) -> Result<(), String> {
    if let Some(argument) = arguments.first() {
        return Err(format!("unexpected argument `{argument}`"));
    }
    let with_nextest = has_nextest(workspace);
    let (runner, count): (&[&str], Count) = match with_nextest {
        true => (&["nextest", "run"], nextest_summary),
        // Targets are named because plain `cargo test` would run the doc tests too.
        false => (&["test", "--tests", "--no-fail-fast"], libtest_summary),
    };
    let all = ["--workspace", "--all-features", "--locked"];
    let arguments = [runner, &all].concat();
    let mut build = report.step("test build", workspace.cargo(&arguments).arg("--no-run"));
    if build.ok && !with_nextest {
        // nextest builds all targets; with named ones cargo leaves out the examples, which a test runs.
        let examples = [&["build", "--examples"][..], &all].concat();
        build = report.step("test examples", &mut workspace.cargo(&examples));
    }
    if build.ok {
        run_and_judge(workspace, report, "test", &mut workspace.cargo(&arguments), count);
    }
    let doc = [&["test", "--doc", "--no-fail-fast"][..], &all].concat();
    report.tests("test doc", &mut workspace.cargo(&doc), libtest_summary);
    Ok(())
}

/// Runs a command that reports tests, shows which of them skipped themselves, and fails if CI must
/// not accept that.
pub(crate) fn run_and_judge(
    workspace: &Workspace,
    report: &mut Report,
    name: &str,
    command: &mut Command,
    count: Count,
) -> Option<Ran> {
    let judged = skips::fresh_file(workspace, name).and_then(|path| {
        let ran = report.tests(name, command.env(skips::VARIABLE, &path), count);
        let skipped = skips::read(&path)?;
        report.last_skipped(skipped.len());
        let listed = skips::impossible(workspace)?;
        let mut unexcused = Vec::new();
        for (test, reason) in &skipped {
            println!("skipped: {test}: {reason}");
            if !listed.contains_key(test) {
                unexcused.push(format!("{test} did not run and is not in .ci/impossible"));
            }
        }
        Ok((ran, unexcused))
    });
    match judged {
        Ok((ran, unexcused)) => {
            if workspace.in_ci {
                report.check(&format!("{name} skips"), || unexcused);
            }
            Some(ran)
        }
        Err(message) => {
            report.check(&format!("{name} skips"), || vec![message]);
            None
        }
    }
}

/// Counts in the last line of one test binary under `cargo test`.
pub(crate) fn libtest_summary(line: &str) -> Option<Tally> {
    let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    Some(tally(counts.split(';'), &["failed"], &["ignored"]))
}

/// Counts in the summary line of nextest; a test's own output is indented and counts nothing.
fn nextest_summary(line: &str) -> Option<Tally> {
    let counts = line.trim_start().strip_prefix("Summary [")?.split_once(" run: ")?.1;
    Some(tally(counts.split(','), &["failed", "timed out", "exec failed"], &["skipped"]))
}

/// Adds up parts like `3 passed (1 slow)`.
fn tally<'p>(parts: impl Iterator<Item = &'p str>, failed: &[&str], skipped: &[&str]) -> Tally {
    let mut tally = Tally::default();
    for part in parts {
        let part = part.split('(').next().unwrap_or(part).trim();
        let Some((number, word)) = part.split_once(' ') else { continue };
        let Ok(number) = number.parse::<u64>() else { continue };
        match word {
            "passed" => tally.passed += number,
            _ if failed.contains(&word) => tally.failed += number,
            _ if skipped.contains(&word) => tally.skipped += number,
            _ => {}
        }
    }
    tally
}

fn has_nextest(workspace: &Workspace) -> bool {
    let mut probe = workspace.cargo(&["nextest", "--version"]);
    probe.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: u64, failed: u64, skipped: u64) -> Option<Tally> {
        Some(Tally { passed, failed, skipped })
    }

    #[test]
    fn reads_nextest_summaries() {
        let read = nextest_summary;
        assert_eq!(
            read("     Summary [   0.005s] 1 test run: 1 passed, 3 skipped\n"),
            counts(1, 0, 3)
        );
        let line = "     Summary [   1.285s] 7 tests run: 2 passed (1 slow, 1 leaky), 1 failed, 3 timed out, 1 exec failed, 1 skipped";
        assert_eq!(read(line), counts(2, 5, 1));
        let line = "     Summary [   9.100s] 4/9 tests run: 3 passed, 1 failed, 0 skipped";
        assert_eq!(read(line), counts(3, 1, 0));
        assert_eq!(read("    test result: FAILED. 0 passed; 1 failed; 0 ignored"), None);
    }

    #[test]
    fn reads_libtest_summaries() {
        let line = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 9 filtered out; finished in 0.00s\n";
        assert_eq!(libtest_summary(line), counts(3, 0, 1));
        assert_eq!(
            libtest_summary("test result: FAILED. 1 passed; 2 failed; 0 ignored"),
            counts(1, 2, 0)
        );
        assert_eq!(libtest_summary("test result_of_x ... ok"), None);
    }

    fn judged(in_ci: bool, listed: &str) -> String {
        let root = std::env::temp_dir().join(format!(
            "xtask-judge-{}-{in_ci}-{}",
            std::process::id(),
            listed.len()
        ));
        std::fs::create_dir_all(root.join(".ci")).unwrap();
        std::fs::write(root.join(".ci/impossible"), listed).unwrap();
        let workspace = Workspace { root: root.clone(), in_ci };
        let mut report = Report::default();
        let script = "echo \"m::a: no root\" >> \"$NETMEM_SKIPS\"; echo 'test result: ok. 2 passed; 0 failed; 0 ignored'";
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        let ran = run_and_judge(&workspace, &mut report, "test", &mut command, libtest_summary);
        assert!(ran.is_some_and(|ran| ran.ok));
        std::fs::remove_dir_all(root).unwrap();
        report.sum()
    }

    #[test]
    fn an_unlisted_skip_fails_in_ci_only() {
        assert_eq!(judged(false, ""), "1 passed, 0 failed, 1 skipped");
        assert_eq!(judged(true, ""), "1 passed, 1 failed, 1 skipped");
        assert_eq!(
            judged(true, "m::a: the kernel has no such thing\n"),
            "2 passed, 0 failed, 1 skipped"
        );
    }
}
