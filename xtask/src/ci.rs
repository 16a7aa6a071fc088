//! `xtask ci`: every step that must pass before a change goes in.

use crate::report::Report;
use crate::workspace::Workspace;
use crate::{differential, fuzz, gate, lab, lint, soak, test, vm};

/// What `--help` prints.
pub(crate) const HELP: &str = "\
usage: cargo xtask ci

Runs lint, test, fuzz, differential, lab, gate, two short soaks, then in an
emulated machine the kernel's cases (zero copy), its sources of figures and
the tuning of a whole machine, then the built command (`netmem lab --json`).
A failing step does not stop the others; the exit code is 1 if any failed.
With CI=true a test that could not run is a failure unless .ci/impossible
says why it cannot.
";

/// The exit code of `netmem` that says a privilege or a source is missing.
const EXIT_NO_PRIVILEGE: i32 = 3;

/// Runs all steps.
///
/// # Errors
/// When arguments are given: there are none.
pub(crate) fn run(
    workspace: &Workspace,
    arguments: &[String],
    report: &mut Report,
) -> Result<(), String> {
    lint::run(workspace, arguments, report)?;
    test::run(workspace, arguments, report)?;
    fuzz::run(workspace, arguments, report)?;
    differential::run(workspace, arguments, report)?;
    lab::run(workspace, arguments, report)?;
    gate::run(workspace, arguments, report)?;
    soak::short(workspace, report);
    vm::short(workspace, report);
    let smoke = ["run", "--release", "--locked", "--", "lab", "--json"];
    let ran = report.step("smoke", &mut workspace.cargo(&smoke));
    if ran.code == Some(EXIT_NO_PRIVILEGE) && !workspace.in_ci {
        report.excuse_last("not allowed to make namespaces here");
    }
    Ok(())
}
