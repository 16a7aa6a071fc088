//! `xtask differential`: what netmem and tshark say of the same captures, field by field.
//!
//! The comparison is a test of the command, `crates/cli/tests/differential.rs`; this hands it a folder.

use std::path::Path;

use crate::report::Report;
use crate::test::{libtest_summary, run_and_judge};
use crate::workspace::Workspace;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
usage: cargo xtask differential [DIR]

Dissects every packet of every capture in DIR, tests/pcaps by default, with
netmem and with tshark, and compares the fields of each header. What tshark
found behind our last layer is counted by name; any other difference fails,
unless a rule of crates/cli/tests/differential/rules.rs says why it may be.
Without tshark it is skipped. NETMEM_DIFFERENTIAL_SHOW=N shows N differences.
";

/// The comparison, as `xtask test` builds it. It runs by itself: the files are many.
const TEST: [&str; 5] =
    ["test", "--workspace", "--all-features", "--locked", "--test=differential"];
const DRIVER: [&str; 4] = ["--", "--nocapture", "--exact", "our_fields_are_those_of_tshark"];

/// Compares the captures of a folder.
///
/// # Errors
/// When there is more than one argument, or it is no folder.
pub(crate) fn run(
    workspace: &Workspace,
    arguments: &[String],
    report: &mut Report,
) -> Result<(), String> {
    let mut command = workspace.cargo(&TEST);
    command.args(DRIVER);
    let folder = match arguments {
        [] => workspace.root.join("tests/pcaps"),
        // The test runs in its package's folder.
        [folder] => Path::new(folder).canonicalize().map_err(|e| format!("{folder}: {e}"))?,
        [_, more, ..] => return Err(format!("unexpected argument `{more}`")),
    };
    if !folder.is_dir() {
        return Err(format!("{} is not a folder", folder.display()));
    }
    command.env("NETMEM_PCAPS", folder);
    let ran = run_and_judge(workspace, report, "differential", &mut command, libtest_summary);
    if ran.is_some_and(|ran| ran.ok && ran.tally.ran() == 0) {
        report.check("differential", || vec!["the comparison did not run".to_owned()]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_argument_that_exists() {
        let workspace = Workspace { root: std::env::temp_dir(), in_ci: false };
        let refused = |arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
            run(&workspace, &arguments, &mut Report::default()).unwrap_err()
        };
        assert!(refused(&["/", "/"]).contains("unexpected argument"));
        assert!(refused(&["/no/such/folder"]).starts_with("/no/such/folder: "));
        assert!(refused(&["/proc/self/cmdline"]).ends_with("is not a folder"));
    }
}
