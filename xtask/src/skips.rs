//! Tests that could not run, and which of them may not run.
//!
//! A test that lacks a privilege, a program or a kernel feature appends `test name: reason` to the
//! file named by `NETMEM_SKIPS` and returns. On a developer's machine that is shown and forgiven;
//! in CI each such test must be listed, with its reason, in `.ci/impossible`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::workspace::Workspace;

/// The variable that names the file to append to.
pub(crate) const VARIABLE: &str = "NETMEM_SKIPS";

/// The list of tests that CI's kernel cannot run.
const IMPOSSIBLE: &str = ".ci/impossible";

/// Makes an empty file for the skips of one run and returns its path.
///
/// # Errors
/// When the folder of build products cannot be written.
pub(crate) fn fresh_file(workspace: &Workspace, run: &str) -> Result<PathBuf, String> {
    let path = workspace.target_dir().join(format!("skips-{run}.txt"));
    let made = fs::create_dir_all(workspace.target_dir()).and_then(|()| fs::write(&path, ""));
    made.map_err(|e| format!("write {}: {e}", path.display()))?;
    Ok(path)
}

/// Reads the skips of a run: reasons by test name.
///
/// # Errors
/// When the file is gone.
pub(crate) fn read(path: &PathBuf) -> Result<BTreeMap<String, String>, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("read {}: {e}", path.display()))?;
    Ok(parse(&text))
}

/// Reads the tests that need not run in CI: why, by test name.
///
/// # Errors
/// When the list exists but cannot be read, or an entry gives no reason.
pub(crate) fn impossible(workspace: &Workspace) -> Result<BTreeMap<String, String>, String> {
    let path = workspace.root.join(IMPOSSIBLE);
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let text = fs::read_to_string(&path).map_err(|e| format!("read {IMPOSSIBLE}: {e}"))?;
    let listed = parse(&text);
    match listed.iter().find(|(_, why)| why.is_empty()) {
        Some((name, _)) => Err(format!("read {IMPOSSIBLE}: no reason given for {name}")),
        None => Ok(listed),
    }
}

/// Lines of `test name: reason`; `#` starts a comment line. The name may hold `::`.
fn parse(text: &str) -> BTreeMap<String, String> {
    let lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once(": ").unwrap_or_else(|| (line.trim_end_matches(':'), "")))
        .map(|(name, reason)| (name.trim().to_owned(), reason.trim().to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_with_colons_and_keeps_each_test_once() {
        let text = "# kernel 6.1\n\nxdp::tests::bind: no CAP_NET_ADMIN: EPERM\nxdp::tests::bind: x\nktls:\n";
        let skips = parse(text);
        assert_eq!(skips.len(), 2);
        assert_eq!(skips["xdp::tests::bind"], "x");
        assert_eq!(skips["ktls"], "");
    }

    #[test]
    fn an_entry_of_the_list_needs_a_reason() {
        let root = std::env::temp_dir().join(format!("xtask-skips-{}", std::process::id()));
        fs::create_dir_all(root.join(".ci")).unwrap();
        let workspace = Workspace { root: root.clone(), in_ci: true };
        assert_eq!(impossible(&workspace), Ok(BTreeMap::new()));
        fs::write(root.join(IMPOSSIBLE), "a: no kTLS\n").unwrap();
        assert_eq!(impossible(&workspace).unwrap()["a"], "no kTLS");
        fs::write(root.join(IMPOSSIBLE), "a: no kTLS\nb\n").unwrap();
        assert!(impossible(&workspace).unwrap_err().ends_with("no reason given for b"));
        fs::remove_dir_all(root).unwrap();
    }
}
