//! Where the workspace is, and how its programs are started.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The checked-out workspace this run works on.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The folder of the workspace's Cargo.toml, absolute.
    pub(crate) root: PathBuf,
    /// Whether skipped tests count as failures (`CI=true` in the environment).
    pub(crate) in_ci: bool,
}

impl Workspace {
    /// Finds the workspace above this package (as cargo names it) or above the current folder.
    ///
    /// # Errors
    /// When no folder upwards holds a Cargo.toml with a `[workspace]` table.
    pub(crate) fn discover() -> Result<Self, String> {
        let start = match env::var_os("CARGO_MANIFEST_DIR") {
            Some(folder) => PathBuf::from(folder),
            None => env::current_dir().map_err(|e| format!("find the current folder: {e}"))?,
        };
        let is_root = |folder: &&Path| {
            let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
            manifest.lines().any(|line| line.trim() == "[workspace]")
        };
        let root = start.ancestors().find(is_root);
        let root = root.ok_or_else(|| format!("find the workspace above {}", start.display()))?;
        Ok(Self { root: root.to_path_buf(), in_ci: env::var("CI").is_ok_and(|ci| ci == "true") })
    }

    /// Prepares `cargo` (the one that started this program) at the root, without standard input.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = Command::new(cargo);
        command.args(arguments).current_dir(&self.root).stdin(Stdio::null());
        command
    }

    /// The folder of build products, absolute.
    pub(crate) fn target_dir(&self) -> PathBuf {
        let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| OsString::from("target"));
        self.root.join(target)
    }

    /// Paths, relative to the root, of the files git tracks or would track, sorted.
    ///
    /// # Errors
    /// When git cannot be started or refuses.
    pub(crate) fn files(&self) -> Result<Vec<String>, String> {
        // A clone made by another user (a container's usual case) is ours to read all the same.
        let output = Command::new("git")
            .args(["-c", "safe.directory=*", "ls-files", "-z"])
            .args(["--cached", "--others", "--exclude-standard"])
            .current_dir(&self.root)
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("run git ls-files: {e}"))?;
        if !output.status.success() {
            let cause = String::from_utf8_lossy(&output.stderr);
            return Err(format!("run git ls-files: {}", cause.trim()));
        }
        let names = String::from_utf8_lossy(&output.stdout);
        let mut files: Vec<String> = names.split_terminator('\0').map(String::from).collect();
        files.sort_unstable();
        files.dedup();
        // A file deleted but not yet committed is still listed; a link to a folder is no file.
        files.retain(|path| self.root.join(path).is_file());
        Ok(files)
    }
}
