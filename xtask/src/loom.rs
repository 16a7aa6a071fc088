//! `xtask loom`: the model checks of rings and pool, in a build of their own.

use crate::report::Report;
use crate::test::libtest_summary;
use crate::workspace::Workspace;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
usage: cargo xtask loom [NAME..]

Runs the tests of netmem whose names start with `loom_` under the model
checker, over the orders of their threads' steps. `a_slot` picks those
that start with `loom_a_slot`. Built with `--cfg loom` in target/loom.

LOOM_MAX_PREEMPTIONS=N bounds how often a thread is interrupted, also where
a test has no bound; LOOM_LOG=1 LOOM_LOCATION=1 show the steps of a failure.
";

const TEST: [&str; 6] = ["test", "--release", "--locked", "-p", "netmem", "--lib"];
const PREFIX: &str = "loom_";

/// Runs the models.
///
/// # Errors
/// When an option is given: there are none.
pub(crate) fn run(
    workspace: &Workspace,
    arguments: &[String],
    report: &mut Report,
) -> Result<(), String> {
    if let Some(option) = arguments.iter().find(|argument| argument.starts_with('-')) {
        return Err(format!("unexpected argument `{option}`"));
    }
    let command = || {
        let mut command = workspace.cargo(&TEST);
        command.arg("--target-dir").arg(workspace.target_dir().join("loom"));
        command.env("RUSTFLAGS", "--cfg loom");
        // Linking the checker into the whole program as one unit takes longer than it saves.
        command.env("CARGO_PROFILE_RELEASE_LTO", "off");
        command
    };
    if !report.step("loom build", command().arg("--no-run")).ok {
        return Ok(());
    }
    let named = |name: &String| format!("{PREFIX}{}", name.strip_prefix(PREFIX).unwrap_or(name));
    let mut filters: Vec<_> = arguments.iter().map(named).collect();
    if filters.is_empty() {
        filters.push(PREFIX.to_owned());
    }
    let ran = report.tests("loom", command().arg("--").args(filters), libtest_summary);
    if ran.ok && ran.tally.ran() == 0 {
        report.check("loom", || vec!["no model ran".to_owned()]);
    }
    Ok(())
}
