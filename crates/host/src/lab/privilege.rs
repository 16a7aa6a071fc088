//! Whether a lab can be made here, and how a test says that it could not.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};

use super::NetNs;

/// Capabilities that a lab needs, with their bits (include/uapi/linux/capability.h).
const NEEDED: [(&str, u32); 2] = [("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21)];
const THREAD_STATUS: &str = "/proc/thread-self/status";

/// Returns what is missing to make a lab, in one sentence; `None` if nothing is.
///
/// With both capabilities at hand it also makes a namespace, as a container may forbid that all the
/// same.
pub fn missing_privilege() -> Option<String> {
    let status = fs::read_to_string(THREAD_STATUS).unwrap_or_default();
    if let Some(effective) = effective_capabilities(&status) {
        let missing: Vec<_> = NEEDED
            .into_iter()
            .filter(|(_, bit)| effective & (1 << bit) == 0)
            .map(|(name, _)| name)
            .collect();
        if !missing.is_empty() {
            let missing = missing.join(" and ");
            return Some(format!(
                "a lab needs {missing}, which this process lacks (user namespaces are not used)"
            ));
        }
    }
    let refusal = NetNs::create().err()?;
    Some(format!("a lab needs network namespaces, but: {refusal}"))
}

/// Records that a test could not run and why: `SKIPPED test: reason` on stderr, and `test: reason`
/// at the end of the file that the environment variable `NETMEM_SKIPS` names.
///
/// A skip that cannot be recorded there is said on stderr as well.
pub fn skip(test: &str, reason: &str) {
    // Written past the test harness's capture, so that a passing run shows it; a closed stderr is
    // no reason to fail.
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "SKIPPED {test}: {reason}");
    let Some(path) = std::env::var_os("NETMEM_SKIPS").filter(|path| !path.is_empty()) else {
        return;
    };
    // One write to a file opened for appending: lines of parallel tests do not mix.
    let appended = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .and_then(|mut file| file.write_all(format!("{test}: {reason}\n").as_bytes()));
    if let Err(error) = appended {
        let _ = writeln!(stderr, "append to {}: {error}", path.display());
    }
}

fn effective_capabilities(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read() {
        let status = "Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t0000000000201000\n";
        assert_eq!(effective_capabilities(status), Some(1 << 12 | 1 << 21));
        assert_eq!(effective_capabilities("CapEff:\tx\n"), None);
        assert_eq!(effective_capabilities(""), None);
    }
}
