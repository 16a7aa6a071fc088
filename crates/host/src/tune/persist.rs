//! Settings that shall outlast the boot: a file of sysctl.d, with the reasons beside the values.
//!
//! ```text
//!   # net.core.rmem_max: R-SOCK-MAX, journal 000001-20261122T101843Z, 2026-11-22
//!   #   UdpRcvbufErrors +4312 in 10 s (/proc/net/snmp)
//!   net.core.rmem_max = 8388608
//! ```
//! Boot reads the files of several folders in an order of its own (`set_by`), and later assignments win: those
//! that override ours are told.
//!
//! That happens in the initial network namespace: what belongs to another one cannot stand there.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;

use super::journal::{Application, Entry, NO_LINK, PersistEntry, Record, State, Store, day, now_s};
use super::place::{Identity, Place, is_same, unmet};
use super::set_by::{self, assignment};
use super::{Change, Reach};
use crate::error::{Error, Result};
use crate::source::{Root, SourceState, Unavailable};

const HEADER: &str =
    "# Settings of network memory, written by netmem tune apply; rollback takes them back.\n";

/// What was persisted, and what not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Persisted {
    /// The file; none if no setting could stand there.
    pub path: Option<PathBuf>,
    /// Lines that boot reads later, and that give a setting another value or none:
    /// `/etc/sysctl.d/99-x.conf:3: net.core.rmem_max = 1`.
    pub overridden_by: Vec<String>,
    /// Whether boot reads the file's folder.
    pub is_read_at_boot: bool,
    /// Settings of another namespace than the initial one, each with its value.
    pub of_namespace: Vec<(String, String)>,
}

/// Writes the settings of an application to the file of sysctl.d that was named when it began; one that is
/// there keeps its other settings. What was done already, by whoever confirmed it, is not done again. `boot`
/// is the folder that boot's files are below: `/` on the live machine.
///
/// # Errors
/// The application is not there, is undone or waits to be confirmed; nobody asked for it; it is of another
/// boot, or a setting does not read what it wrote any more; the file is not one of ours, was changed by
/// somebody else since it was written, or is a link; or it cannot be written. The settings of the running
/// kernel stay, and it can be tried again.
pub fn persist(store: &Store, root: &Root, id: &str, boot: &Path) -> Result<Persisted> {
    let lock = store.lock(Duration::from_secs(5))?;
    let mut journal = store.reopen(&lock, id)?;
    let application = journal.application.clone();
    if application.state != State::Applied {
        return Err(unmet("persist", id.as_ref(), "it is not applied, or not confirmed"));
    }
    let Some(path) = application.begin.persist_to.clone() else {
        return Err(unmet("persist", id.as_ref(), "it was applied without that"));
    };
    let is_initial = application.begin.identity.is_initial;
    let (stays, of_namespace): (Vec<_>, Vec<_>) =
        application.entries.iter().partition(|entry| entry.reach == Reach::Global || is_initial);
    let own = |entry: &Entry| (entry.key.clone(), entry.new.clone());
    let mut persisted = Persisted {
        path: None,
        overridden_by: Vec::new(),
        is_read_at_boot: set_by::is_read(boot, &path),
        of_namespace: of_namespace.into_iter().map(own).collect(),
    };
    if stays.is_empty() {
        return Ok(persisted);
    }
    let old = read(&path)?;
    match &application.persist {
        Some(done) if old.as_ref() == Some(&done.new) => {
            if !application.is_persisted {
                journal.append(Record::Persisted)?;
            }
        }
        // What was there before this one is in its journal once: a second time it would be what is there now.
        Some(done) if old != done.old && is_written(&application, old.as_deref()) => {
            let what = "it was written there, and somebody else has changed it since";
            return Err(unmet("persist to", &path, what));
        }
        _ => {
            in_force(root, &application, &stays)?;
            let origin = format!("{}{}", mark(id), day(now_s()));
            let new = content(old.as_deref(), &origin, &stays).ok_or_else(|| not_ours(&path))?;
            let entry = PersistEntry { path: path.clone(), old, new };
            journal.append(Record::Persist(entry.clone()))?;
            replace(&path, &entry.new, entry.old.as_deref())?;
            journal.append(Record::Persisted)?;
        }
    }
    let later = stays.iter().flat_map(|entry| set_by::behind(boot, &path, &entry.key));
    persisted.overridden_by = later.collect();
    persisted.path = Some(path);
    Ok(persisted)
}

/// Says whether settings would be written to that file, before anything else is written: none where all are of
/// a namespace that has no place at boot. A file of the size that it would get is written beside it, and removed.
pub(super) fn check(path: &Path, changes: &[Change], identity: &Identity) -> Result<bool> {
    let stays = |change: &&Change| change.reach == Reach::Global || identity.is_initial;
    let entries: Vec<_> = changes.iter().filter(stays).map(entry).collect();
    if entries.is_empty() {
        return Ok(false);
    }
    let old = read(path)?;
    if !path.parent().is_some_and(Path::is_dir) {
        return Err(unmet("persist to", path, "its folder is not there"));
    }
    let origin = format!("{}{}", mark("000000-00000000T000000Z"), day(now_s()));
    let new = content(old.as_deref(), &origin, &entries.iter().collect::<Vec<_>>());
    let new = new.ok_or_else(|| not_ours(path))?;
    beside(path, &new, |new| fs::remove_file(new)).map(|()| true)
}

/// Says if an application's settings are not in force any more: what nobody has tried is not for each boot.
fn in_force(root: &Root, application: &Application, entries: &[&Entry]) -> Result<()> {
    let missing = |why: Unavailable| match why.state {
        SourceState::Denied => Error::new("read", why.source, Errno::EACCES),
        _ => unmet("read", why.source.as_ref(), why.reason),
    };
    let here = Place::here(root.clone());
    let boot_id = here.identity().map_err(missing)?.boot_id;
    if !application.is_of_boot(&boot_id) {
        let what = "it is of another boot, and its values went with that";
        return Err(unmet("persist", application.id.as_ref(), what));
    }
    let is_own = |entry: &&Entry| entry.reach == Reach::Namespace;
    // What is global can be read here too, where that namespace may not be looked at.
    let place = match Place::initial(root.clone()) {
        Err(why) if entries.iter().any(is_own) => return Err(missing(why)),
        initial => initial.unwrap_or(here),
    };
    for entry in entries {
        let now = place.read(Reach::Namespace, &place.path(&entry.key)?)?;
        if !is_same(&now, &entry.new) {
            let what = format!(
                "{} reads {:?}, and {:?} was written",
                entry.key,
                now.trim_end(),
                entry.new
            );
            return Err(unmet("persist", application.id.as_ref(), what));
        }
    }
    Ok(())
}

/// The file that an application wrote and has not put back. One that was begun and whose end its journal does
/// not have may never have been written: the file tells, or it stands for written where it cannot be read.
pub(super) fn written(application: &Application) -> Option<&PersistEntry> {
    let entry = application.persist.as_ref().filter(|_| !application.is_file_restored)?;
    let now = || read(&entry.path).map_or(true, |now| is_written(application, now.as_deref()));
    (application.is_persisted || now()).then_some(entry)
}

/// Was the file written, which reads `now`?
fn is_written(application: &Application, now: Option<&str>) -> bool {
    let entry = application.persist.as_ref();
    let is_in = |now: &str| {
        entry.is_some_and(|entry| entry.new == now) || now.contains(&mark(&application.id))
    };
    application.is_persisted || now.is_some_and(is_in)
}

/// What an application's lines have in their comments.
fn mark(id: &str) -> String {
    format!("journal {id}, ")
}

/// Why the file may not be put back, if that is to be done and a privilege is missing.
pub(super) fn why_not_restored(entry: &PersistEntry) -> Option<Unavailable> {
    if read(&entry.path).is_ok_and(|now| now == entry.old) {
        return None;
    }
    let tried = beside(&entry.path, &entry.new, |new| fs::remove_file(new));
    tried.err().map(|error| Unavailable::from(&error))
}

/// Puts the file back as it was, where it is as it was written.
pub(super) fn restore(entry: &PersistEntry, is_forced: bool) -> Result<(), String> {
    let told = |error: Error| error.to_string();
    let now = read(&entry.path).map_err(told)?;
    if now == entry.old {
        return Ok(());
    }
    if now.as_ref() == Some(&entry.new) {
        return put_back(&entry.path, entry.old.as_deref(), &entry.new).map_err(told);
    }
    if !is_forced {
        return Err(format!("{}: somebody else has changed it", entry.path.display()));
    }
    // What others have written there since is not this one's to take back.
    let Some(now) = now else { return Ok(()) };
    let kept = without_own(&now, entry);
    let is_empty = !kept.lines().any(|line| assignment(line).is_some());
    let kept = Some(kept.as_str()).filter(|_| entry.old.is_some() || !is_empty);
    put_back(&entry.path, kept, &now).map_err(told)
}

/// Writes the content of a file that reads `now`, or removes it.
fn put_back(path: &Path, content: Option<&str>, now: &str) -> Result<()> {
    let Some(content) = content else {
        return fs::remove_file(path)
            .and_then(|()| sync_folder(path))
            .map_err(|error| Error::new("remove", path.display().to_string(), error));
    };
    replace(path, content, Some(now))
}

/// The file's content without the lines that one application wrote.
fn without_own(now: &str, entry: &PersistEntry) -> String {
    let old: Vec<_> = entry.old.iter().flat_map(|old| old.lines()).filter_map(assignment).collect();
    let own: Vec<_> =
        entry.new.lines().filter_map(assignment).filter(|line| !old.contains(line)).collect();
    let is_own = |line: &str| assignment(line).is_some_and(|line| own.contains(&line));
    let blocks = now.split("\n\n").filter_map(|block| without(block, &is_own));
    blocks.collect::<Vec<_>>().join("\n\n") + "\n"
}

/// Does the file that was written set it at boot?
pub(super) fn sets(entry: &PersistEntry, key: &str) -> bool {
    entry.new.lines().filter_map(assignment).any(|(name, _)| name == key)
}

/// Is the file as it was written, or as it was before?
pub(super) fn is_untouched(entry: &PersistEntry) -> bool {
    read(&entry.path).is_ok_and(|now| now == entry.old || now.as_ref() == Some(&entry.new))
}

/// A change as it would stand in a journal, but for what its file reads.
fn entry(change: &Change) -> Entry {
    Entry {
        number: 0,
        key: change.key.clone(),
        path: PathBuf::new(),
        reach: change.reach,
        old: String::new(),
        new: change.proposed.clone(),
        rule: change.rule.clone(),
        evidence: change.evidence.clone(),
    }
}

fn not_ours(path: &Path) -> Error {
    unmet("persist to", path, "it is there, and netmem has not written it")
}

/// Reads a file, if it is there. A link is somebody's arrangement, which the file that takes its place would
/// end, and what it leads to may be others' to write: one that is there is not followed.
fn read(path: &Path) -> Result<Option<String>> {
    if let Ok(to) = fs::read_link(path) {
        let what =
            format!("it is a symbolic link, which is left alone; name {} itself", to.display());
        return Err(unmet("persist to", path, what));
    }
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::new("read", path.display().to_string(), error)),
    }
}

/// The file's new content; `None` if the old is not ours.
fn content(old: Option<&str>, origin: &str, entries: &[&Entry]) -> Option<String> {
    let mut text = HEADER.to_owned();
    if let Some(old) = old {
        let kept = old.strip_prefix(HEADER)?;
        let is_set_anew = |line: &str| {
            let key = assignment(line).map(|(key, _)| key);
            key.is_some_and(|key| entries.iter().any(|entry| entry.key == key))
        };
        for block in kept.split("\n\n").filter_map(|block| without(block, &is_set_anew)) {
            text.push_str(&format!("\n{block}\n"));
        }
    }
    for entry in entries {
        // A plan's words are text of somebody's: they stay in their comment.
        let one_line = |text: &str| text.replace(char::is_control, " ");
        text.push_str(&format!("\n# {}: {}, {origin}\n", entry.key, one_line(&entry.rule)));
        for evidence in entry.evidence.iter().filter(|evidence| !evidence.is_empty()) {
            text.push_str(&format!("#   {}\n", one_line(evidence)));
        }
        text.push_str(&format!("{} = {}\n", entry.key, entry.new));
    }
    Some(text)
}

/// What is kept of a block of lines: all but the settings that are dropped, and its reasons with the last
/// of its settings.
fn without(block: &str, is_dropped: &dyn Fn(&str) -> bool) -> Option<String> {
    let is_setting = |line: &&str| assignment(line).is_some();
    let kept: Vec<_> = block.lines().filter(|line| !is_dropped(line)).collect();
    let is_emptied = kept.len() < block.lines().count() && !kept.iter().any(is_setting);
    let kept = kept.join("\n");
    let kept = kept.trim_matches('\n');
    (!is_emptied && !kept.is_empty()).then(|| kept.to_owned())
}

/// Replaces a file in one step, which read `old` when it was looked at: whoever reads it sees the old content or
/// the new, after a power cut too. What somebody saves meanwhile is kept, but for the moment of the rename.
fn replace(path: &Path, content: &str, old: Option<&str>) -> Result<()> {
    beside(path, content, |new| {
        match fs::read_to_string(path) {
            Ok(now) if Some(&*now) == old => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && old.is_none() => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => return Err(io::Error::other("somebody else has changed it in between")),
        }
        fs::rename(new, path)?;
        sync_folder(path)
    })
}

/// Writes a file beside another, with its owner and mode if it is there, and does with it what is to be done.
fn beside(path: &Path, content: &str, done: impl Fn(&Path) -> io::Result<()>) -> Result<()> {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".");
    remove_left(path, &prefix);
    prefix.push(std::process::id().to_string());
    let new = path.with_file_name(prefix);
    let attempt = || {
        let old = fs::symlink_metadata(path).map(Some).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(None),
            _ => Err(error),
        })?;
        let mode = if old.is_some() { 0o600 } else { 0o644 };
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(mode).custom_flags(NO_LINK);
        let mut file = match options.open(&new) {
            // That of a process of this number, which was killed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&new)?;
                options.open(&new)
            }
            opened => opened,
        }?;
        if let Some(old) = old {
            // Made since it was looked for: its own mode would let everybody write.
            if old.is_symlink() {
                return Err(io::Error::from_raw_os_error(Errno::ELOOP as i32));
            }
            fchown(&file, Some(old.uid()), Some(old.gid()))?;
            file.set_permissions(old.permissions())?;
        }
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        done(&new)
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

/// Removes what processes left beside a file that were killed: files by that prefix and the number of a process
/// that is not there. What cannot be removed is in nobody's way.
fn remove_left(path: &Path, prefix: &OsStr) {
    let entries = path.parent().and_then(|folder| fs::read_dir(folder).ok());
    for entry in entries.into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.as_bytes().strip_prefix(prefix.as_bytes());
        let pid = pid.and_then(|pid| std::str::from_utf8(pid).ok()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or_else(|| Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::set_by::tests::Folder;
    use super::*;

    /// Has failed with: a link made meanwhile followed, so that the file had its mode; what is left of a killed
    /// process left there; that of one that lives removed.
    #[test]
    fn a_file_beside_another_goes_with_its_process_and_follows_no_link() {
        let folder = Folder::new("beside");
        folder.write("real.conf", "its content\n");
        let (path, real) = (folder.0.join("90-netmem.conf"), folder.0.join("real.conf"));
        let ended = std::process::Command::new("true").spawn().and_then(|mut child| {
            let pid = child.id();
            child.wait().map(|_| pid)
        });
        let (ended, init) = (ended.unwrap_or(u32::MAX), 1);
        for name in [format!("{ended}"), format!("{init}"), "x".to_owned(), format!("{ended}x")] {
            folder.write(&format!(".90-netmem.conf.{name}"), "");
        }
        folder.write(&format!(".91-netmem.conf.{ended}"), "");
        replace(&path, "new\n", None).unwrap();
        let mut names: Vec<_> = fs::read_dir(&folder.0).unwrap().flatten().collect();
        names.sort_by_key(fs::DirEntry::file_name);
        let names: Vec<_> =
            names.iter().map(|it| it.file_name().to_string_lossy().into_owned()).collect();
        let left = [
            ".90-netmem.conf.1".to_owned(),
            format!(".90-netmem.conf.{ended}x"),
            ".90-netmem.conf.x".to_owned(),
            format!(".91-netmem.conf.{ended}"),
            "90-netmem.conf".to_owned(),
            "real.conf".to_owned(),
        ];
        assert_eq!(names, left);
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&real, &path).unwrap();
        let refused = replace(&path, "new\n", Some("new\n")).unwrap_err().to_string();
        assert!(refused.ends_with("(ELOOP)"), "{refused}");
        assert!(path.is_symlink() && fs::read_dir(&folder.0).unwrap().count() == left.len());
        assert_eq!(fs::read_to_string(&real).unwrap(), "its content\n");
    }

    /// Has failed with: no second look; a file that has gone taken for one that reads as before.
    #[test]
    fn what_is_saved_meanwhile_is_kept() {
        let folder = Folder::new("meanwhile");
        let path = folder.0.join("90-netmem.conf");
        for (now, old) in
            [(Some("theirs\n"), Some("old\n")), (Some("theirs\n"), None), (None, Some("old\n"))]
        {
            let _ = fs::remove_file(&path);
            if let Some(now) = now {
                fs::write(&path, now).unwrap();
            }
            let refused = replace(&path, "new\n", old).unwrap_err().to_string();
            assert!(refused.ends_with("somebody else has changed it in between"), "{refused}");
            assert_eq!(fs::read_to_string(&path).ok().as_deref(), now);
        }
    }

    /// Has failed with: a block dropped for one of its settings.
    #[test]
    fn a_block_keeps_what_is_not_set_anew() {
        let change = |key: &str| Entry {
            number: 0,
            key: key.to_owned(),
            path: PathBuf::new(),
            reach: Reach::Global,
            old: "1\n".to_owned(),
            new: "9".to_owned(),
            rule: "R-TEST".to_owned(),
            evidence: Vec::new(),
        };
        let (max, budget) = (change("net.core.rmem_max"), change("net.core.netdev_budget"));
        let by_hand = "# both\nnet.core.rmem_max = 2\n# this too\n-net/core/wmem_max=3";
        let old = format!("{HEADER}\n# a note\n\n{by_hand}\n\n# one\nnet.core.netdev_budget = 4\n");
        let new = |entries: &[&Entry]| content(Some(&old), "x", entries).unwrap();
        let set = |name: &str| format!("\n# {name}: R-TEST, x\n{name} = 9\n");
        let kept = "\n# a note\n\n# both\n# this too\n-net/core/wmem_max=3\n";
        let one = "\n# one\nnet.core.netdev_budget = 4\n";
        assert_eq!(new(&[&max]), format!("{HEADER}{kept}{one}{}", set(&max.key)));
        let both = format!("{HEADER}{kept}{}{}", set(&max.key), set(&budget.key));
        assert_eq!(new(&[&max, &budget]), both);
        assert_eq!(content(Some("x = 1\n"), "x", &[&max]), None);
    }
}
