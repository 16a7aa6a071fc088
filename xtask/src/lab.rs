//! `xtask lab`: the end-to-end scenarios, each a test function of the command's `lab` and `faults`
//! tests.
//!
//! A scenario makes its own namespaces and runs the command as it is released, one at a time. The scenarios
//! themselves are what `xtask test` has built.

use std::process::Stdio;

use crate::report::Report;
use crate::test::{libtest_summary, run_and_judge};
use crate::workspace::Workspace;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
usage: cargo xtask lab [NAME..]
       cargo xtask lab --list

Runs the scenarios of crates/cli/tests/lab.rs and faults.rs in their own
namespaces with the release build of the command, one at a time. No NAME means
all; the name of a module means all in it. `--list` prints the names.
";

const SOURCES: [&str; 2] = ["crates/cli/tests/lab.rs", "crates/cli/tests/faults.rs"];
const COMMAND: [&str; 3] = ["build", "--release", "--locked"];
const BUILD: [&str; 8] =
    ["test", "--workspace", "--all-features", "--locked", "--test", "lab", "--test", "faults"];
/// Names the command that the scenarios run.
const VARIABLE: &str = "NETMEM_COMMAND";

/// Runs the named scenarios, or all.
///
/// # Errors
/// When a name or an option is unknown.
pub(crate) fn run(
    workspace: &Workspace,
    arguments: &[String],
    report: &mut Report,
) -> Result<(), String> {
    let list_only = arguments == ["--list"];
    match arguments.iter().find(|argument| argument.starts_with('-')) {
        Some(option) if !list_only => return Err(format!("unexpected argument `{option}`")),
        _ => {}
    }
    if let Some(missing) = SOURCES.iter().find(|source| !workspace.root.join(source).exists()) {
        report.check("lab", || vec![format!("{missing} does not exist: no scenario to run")]);
        return Ok(());
    }
    let builds =
        [("lab command", &COMMAND[..]), ("lab build", &[&BUILD[..], &["--no-run"]].concat())];
    for (name, words) in builds {
        if !report.step(name, &mut workspace.cargo(words)).ok {
            return Ok(());
        }
    }
    let known = match scenarios(workspace) {
        Ok(known) => known,
        Err(message) => {
            report.check("lab list", || vec![message]);
            return Ok(());
        }
    };
    if list_only {
        known.iter().for_each(|name| println!("{name}"));
        return Ok(());
    }
    let chosen = choose(&known, arguments)?;
    if chosen.is_empty() {
        report.check("lab", || vec![format!("{} have no scenario to run", SOURCES.join(" and "))]);
        return Ok(());
    }
    let mut command = workspace.cargo(&BUILD);
    command.env(VARIABLE, workspace.target_dir().join("release/netmem"));
    // All failures of both programs are shown, not those of the first alone.
    command.arg("--no-fail-fast");
    command.args(["--", "--nocapture", "--test-threads=1", "--exact"]).args(&chosen);
    let ran = run_and_judge(workspace, report, "lab", &mut command, libtest_summary);
    if ran.is_some_and(|ran| ran.ok && ran.tally.ran() == 0) {
        report.check("lab", || vec!["no scenario ran".to_owned()]);
    }
    Ok(())
}

/// Asks the built test program for its test functions.
fn scenarios(workspace: &Workspace) -> Result<Vec<String>, String> {
    let mut command = workspace.cargo(&BUILD);
    command.args(["--", "--list", "--format=terse"]).stderr(Stdio::null());
    let output = command.output().map_err(|e| format!("list the scenarios: {e}"))?;
    if !output.status.success() {
        return Err(format!("list the scenarios: {}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(String::from).collect())
}

/// The full names of the scenarios meant by `wanted`: a test function, or all of a module.
fn choose<'k>(known: &'k [String], wanted: &[String]) -> Result<Vec<&'k String>, String> {
    let meant = |name: &String, want: &String| {
        name.strip_prefix(want.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    if let Some(unknown) = wanted.iter().find(|want| !known.iter().any(|name| meant(name, want))) {
        return Err(format!("unknown scenario `{unknown}`; known: {}", known.join(", ")));
    }
    let chosen = |name: &&String| wanted.is_empty() || wanted.iter().any(|want| meant(name, want));
    Ok(known.iter().filter(chosen).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn chooses_whole_names_and_modules() {
        let known = names(&["bursts", "bursts_jumbo", "sigkill", "relay::plain", "relay::tls"]);
        assert_eq!(choose(&known, &[]).unwrap().len(), 5);
        assert_eq!(choose(&known, &names(&["bursts"])).unwrap(), ["bursts"]);
        let chosen = choose(&known, &names(&["relay", "sigkill"])).unwrap();
        assert_eq!(chosen, ["sigkill", "relay::plain", "relay::tls"]);
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let known = names(&["bursts", "sigkill"]);
        let message = choose(&known, &names(&["sigkill", "burst"])).unwrap_err();
        assert_eq!(message, "unknown scenario `burst`; known: bursts, sigkill");
    }
}
