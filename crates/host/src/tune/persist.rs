//! Settings that shall outlast the boot: a file of sysctl.d, with the reasons beside the values.
//!
//! ```text
//!   # net.core.rmem_max: R-SOCK-MAX, journal 000001-20261122T101843Z, 2026-11-22
//!   #   UdpRcvbufErrors +4312 in 10 s (/proc/net/snmp)
//!   net.core.rmem_max = 8388608
//! ```
//! Boot reads the files of several folders in an order of its own (`set_by`), and later assignments win: those
//! behind ours are told.
//!
//! That happens in the initial network namespace: what belongs to another one cannot stand there.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::journal::{PersistEntry, Record, State, Store, day, now_s};
use super::place::{Place, unmet};
use super::set_by::{self, assignment};
use super::{Change, Plan, Reach};
use crate::error::{Error, Result};
use crate::source::Unavailable;

const HEADER: &str =
    "# Settings of network memory, written by netmem tune apply; rollback takes them back.\n";

/// What was persisted, and what not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Persisted {
    /// The file; none if no setting could stand there.
    pub path: Option<PathBuf>,
    /// Assignments that boot reads later, so that they win: `/etc/sysctl.d/99-x.conf:3:
    /// net.core.rmem_max = 1`.
    pub overridden_by: Vec<String>,
    /// Whether boot reads the file's folder.
    pub is_read_at_boot: bool,
    /// Settings of another namespace than the initial one, each with its value.
    pub of_namespace: Vec<(String, String)>,
}

/// Writes the settings of an applied plan to a file of sysctl.d; one that is there keeps its other
/// settings. `boot` is the folder that boot's files are below: `/` on the live machine.
///
/// # Errors
/// The application is not there, is undone or waits to be confirmed; the file is not one of ours; or it
/// cannot be written. The settings of the running kernel stay.
pub fn persist(
    store: &Store,
    place: &Place,
    (id, plan): (&str, &Plan),
    path: &Path,
    boot: &Path,
) -> Result<Persisted> {
    let is_initial = place.is_initial();
    let (stays, of_namespace): (Vec<_>, Vec<_>) =
        plan.changes.iter().partition(|change| change.reach == Reach::Global || is_initial);
    let mut persisted = Persisted {
        path: None,
        overridden_by: Vec::new(),
        is_read_at_boot: set_by::is_read(boot, path),
        of_namespace: of_namespace
            .into_iter()
            .map(|change| (change.key.clone(), change.proposed.clone()))
            .collect(),
    };
    if stays.is_empty() {
        return Ok(persisted);
    }
    let lock = store.lock(Duration::from_secs(5))?;
    let mut journal = store.reopen(&lock, id)?;
    if journal.application.state != State::Applied {
        return Err(unmet("persist", id.as_ref(), "it is not applied, or not confirmed"));
    }
    let old = read(path)?;
    let new = content(old.as_deref(), &format!("journal {id}, {}", day(now_s())), &stays)
        .ok_or_else(|| unmet("persist to", path, "it is there, and netmem has not written it"))?;
    let entry = PersistEntry { path: path.to_owned(), old, new };
    journal.append(Record::Persist(entry.clone()))?;
    replace(path, &entry.new)?;
    journal.append(Record::Persisted)?;
    persisted.path = Some(path.to_owned());
    let later = stays.iter().flat_map(|change| set_by::behind(boot, path, &change.key));
    persisted.overridden_by = later.collect();
    Ok(persisted)
}

/// Puts the file back as it was, where it is as it was written.
pub(super) fn restore(entry: &PersistEntry, is_forced: bool) -> Result<(), String> {
    let told = |error: Error| error.to_string();
    let now = read(&entry.path).map_err(told)?;
    if now == entry.old {
        return Ok(());
    }
    if now.as_ref() != Some(&entry.new) && !is_forced {
        return Err(format!("{}: somebody else has changed it", entry.path.display()));
    }
    match &entry.old {
        Some(old) => replace(&entry.path, old).map_err(told),
        None => {
            let removed = fs::remove_file(&entry.path).and_then(|()| sync_folder(&entry.path));
            removed.map_err(|error| {
                told(Error::new("remove", entry.path.display().to_string(), error))
            })
        }
    }
}

/// Does the file that was written set it at boot?
pub(super) fn sets(entry: &PersistEntry, key: &str) -> bool {
    entry.new.lines().filter_map(assignment).any(|(name, _)| name == key)
}

fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::new("read", path.display().to_string(), error)),
    }
}

/// The file's new content; `None` if the old is not ours.
fn content(old: Option<&str>, origin: &str, changes: &[&Change]) -> Option<String> {
    let mut text = HEADER.to_owned();
    if let Some(old) = old {
        let kept = old.strip_prefix(HEADER)?;
        for block in kept.split("\n\n").filter_map(|block| without(block, changes)) {
            text.push_str(&format!("\n{block}\n"));
        }
    }
    for change in changes {
        // A plan's words are text of somebody's: they stay in their comment.
        let one_line = |text: &str| text.replace(char::is_control, " ");
        text.push_str(&format!("\n# {}: {}, {origin}\n", change.key, one_line(&change.rule)));
        for evidence in change.evidence.iter().filter(|evidence| !evidence.is_empty()) {
            text.push_str(&format!("#   {}\n", one_line(evidence)));
        }
        text.push_str(&format!("{} = {}\n", change.key, change.proposed));
    }
    Some(text)
}

/// What is kept of a block of lines: all but the settings that are set anew, and its reasons with the last
/// of its settings.
fn without(block: &str, changes: &[&Change]) -> Option<String> {
    let is_set_anew = |line: &&str| {
        let key = assignment(line).map(|(key, _)| key);
        key.is_some_and(|key| changes.iter().any(|change| change.key == key))
    };
    let is_setting = |line: &&str| assignment(line).is_some();
    let kept: Vec<_> = block.lines().filter(|line| !is_set_anew(line)).collect();
    let is_emptied = kept.len() < block.lines().count() && !kept.iter().any(is_setting);
    let kept = kept.join("\n");
    let kept = kept.trim_matches('\n');
    (!is_emptied && !kept.is_empty()).then(|| kept.to_owned())
}

/// Replaces a file in one step: whoever reads it sees the old content or the new, after a power cut too.
fn replace(path: &Path, content: &str) -> Result<()> {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    let new = path.with_file_name(name);
    let attempt = || {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o644).open(&new)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        sync_folder(path)
    };
    attempt().map_err(|error| {
        // What is left of an attempt is of no use; the first error is the one to tell.
        let _ = fs::remove_file(&new);
        let why = Unavailable::by_io(path.display().to_string(), &error);
        match error.raw_os_error() {
            Some(_) => Error::new("write", path.display().to_string(), error),
            None => unmet("write", path, why.reason),
        }
    })
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or_else(|| Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has failed with: a block dropped for one of its settings.
    #[test]
    fn a_block_keeps_what_is_not_set_anew() {
        let change = |key: &str| Change::of(key, "1", "9");
        let (max, budget) = (change("net.core.rmem_max"), change("net.core.netdev_budget"));
        let by_hand = "# both\nnet.core.rmem_max = 2\n# this too\n-net/core/wmem_max=3";
        let old = format!("{HEADER}\n# a note\n\n{by_hand}\n\n# one\nnet.core.netdev_budget = 4\n");
        let new = |changes: &[&Change]| content(Some(&old), "x", changes).unwrap();
        let set = |name: &str| format!("\n# {name}: R-TEST, x\n{name} = 9\n");
        let kept = "\n# a note\n\n# both\n# this too\n-net/core/wmem_max=3\n";
        let one = "\n# one\nnet.core.netdev_budget = 4\n";
        assert_eq!(new(&[&max]), format!("{HEADER}{kept}{one}{}", set(&max.key)));
        let both = format!("{HEADER}{kept}{}{}", set(&max.key), set(&budget.key));
        assert_eq!(new(&[&max, &budget]), both);
        assert_eq!(content(Some("x = 1\n"), "x", &[&max]), None);
    }
}
