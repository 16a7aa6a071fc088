//! What was done to the machine's settings, written down before it is done.
//!
//! ```text
//!   STATE/lock            flock(2) of who changes settings; its process id is in it
//!   STATE/000001-20261122T101843Z.jsonl
//!     begin      where: kernel, boot, namespace                 fsync, and the folder's
//!     write 0    file, old bytes, new bytes, rule               fsync, then write(2) of the setting
//!     written 0  what was read back
//!     ...
//!     done
//!     restored 0 its old bytes are back                          fsync, after write(2) of the setting
//!     ...
//!     rolled-back | incomplete
//! ```
//! * **J1** the old bytes are on disk before the new ones are written: whatever ends the process, by SIGKILL
//!   or a power cut, the journal has what was there.
//! * **J2** a line counts when its newline is there; a last one without is cut off before the next.
//! * **J3** only who holds the [`lock`](super::lock) adds lines.
//! * **J4** what has its old bytes back, settings and file, is on disk as such, and is not touched by an attempt that comes after.
//!
//! Kernel: any.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::Reach;
use super::lock::Lock;
use super::place::{Identity, unmet};
use crate::error::{Cause, Error, Result};

/// What a journal is called in its first line.
pub const JOURNAL_SCHEMA: &str = "netmem.tune.journal/1";

/// A link is not followed.
pub(super) const NO_LINK: i32 = OFlags::NOFOLLOW.bits().cast_signed();

/// The folder of journals.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

/// What a folder of journals tells.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct History {
    /// What was applied, the first application first.
    pub applications: Vec<Application>,
    /// Journals that cannot be read or understood, and why.
    pub unreadable: Vec<Error>,
}

/// The first line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::exhaustive_structs, reason = "a file's content")]
pub struct Begin {
    /// [`JOURNAL_SCHEMA`].
    pub schema: String,
    /// The process that applies.
    pub pid: u32,
    /// Where it applies.
    #[serde(flatten)]
    pub identity: Identity,
    /// Changes of the plan.
    pub changes: usize,
    /// Seconds in which it has to be confirmed; null if it need not be.
    pub confirm_within_s: Option<u32>,
    /// The file of sysctl.d that it is to be written to as well, once it stays; null if to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persist_to: Option<PathBuf>,
}

/// A write that is about to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::exhaustive_structs, reason = "a file's content")]
pub struct Entry {
    /// Its place in the plan, from 0.
    pub number: usize,
    /// The setting's name.
    pub key: String,
    /// Its file.
    pub path: PathBuf,
    /// Whom it concerns.
    pub reach: Reach,
    /// The file's bytes before.
    pub old: String,
    /// The bytes to be written.
    pub new: String,
    /// The rule that asked for it.
    pub rule: String,
    /// The figures that it had, each with its source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
}

/// A file of sysctl.d that is about to be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::exhaustive_structs, reason = "a file's content")]
pub struct PersistEntry {
    /// The file.
    pub path: PathBuf,
    /// Its content before; null if it was not there.
    pub old: Option<String>,
    /// Its content then.
    pub new: String,
}

/// A line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
#[allow(clippy::exhaustive_enums, reason = "a file's content")]
pub enum Record {
    /// Where it applies.
    Begin(Begin),
    /// A write follows.
    Write(Entry),
    /// It is done, and was read back.
    Written {
        /// Of which entry.
        number: usize,
        /// What the file reads.
        reads: String,
    },
    /// All writes are done.
    Done,
    /// Somebody said that they shall stay.
    Confirmed,
    /// A file of sysctl.d follows.
    Persist(PersistEntry),
    /// It is there.
    Persisted,
    /// A setting has its old bytes.
    Restored {
        /// Of which entry.
        number: usize,
    },
    /// The file of sysctl.d is as it was before, or has nothing of this any more.
    FileRestored,
    /// All is as it was before.
    RolledBack {
        /// Why it was undone.
        why: String,
    },
    /// Not all is as it was before.
    Incomplete {
        /// Why it was undone.
        why: String,
        /// What was left, and why.
        left: Vec<String>,
    },
}

/// How far an application came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum State {
    /// It is being applied, or was ended in the middle.
    Unfinished,
    /// It is applied, and waits to be confirmed.
    Unconfirmed,
    /// It is applied.
    Applied,
    /// It is undone.
    RolledBack,
    /// It is undone in part.
    Incomplete,
}

/// A journal as it was read: one plan that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Application {
    /// Its name; names sort in the order of time.
    pub id: String,
    /// Seconds since 1970 when it began.
    pub at_s: u64,
    /// Where, and what for.
    pub begin: Begin,
    /// How far it came.
    pub state: State,
    /// The writes that were begun, in their order.
    pub entries: Vec<Entry>,
    /// What each file read after its write, by the entry's number; null where that is not known.
    pub reads: Vec<Option<String>>,
    /// The entries that have been put back, by their numbers.
    pub restored: BTreeSet<usize>,
    /// The file of sysctl.d, if one was begun.
    pub persist: Option<PersistEntry>,
    /// Whether it is known that it was written; if not, its content tells.
    pub is_persisted: bool,
    /// Whether that file has been put back.
    pub is_file_restored: bool,
    /// Why it was undone, and what was left.
    pub undone: Vec<String>,
}

/// A journal that lines are added to.
#[derive(Debug)]
pub(super) struct Journal {
    /// `None` on a file system that is read-only by now.
    file: Option<File>,
    path: PathBuf,
    /// Length of its whole lines.
    whole_bytes: u64,
    pub(super) application: Application,
}

#[derive(Serialize, Deserialize)]
struct Line {
    at_s: u64,
    #[serde(flatten)]
    record: Record,
}

impl Store {
    /// The journals of a folder, which is made when the first is written.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        // Without a slash at the end, which would make of a link the folder behind it.
        Self { folder: folder.into().components().collect() }
    }

    /// Takes the lock, and waits for it at most so long.
    ///
    /// # Errors
    /// Another process holds it, whose id is named; the folder cannot be made; or it is a link, somebody
    /// else's, or others may write to it.
    pub fn lock(&self, patience: Duration) -> Result<Lock> {
        Lock::take(&self.folder, patience)
    }

    /// Reads all journals; one that cannot be read hides no other.
    ///
    /// # Errors
    /// The folder cannot be read. One that is not there has no journals.
    pub fn history(&self) -> Result<History> {
        let mut history = History { applications: Vec::new(), unreadable: Vec::new() };
        for id in self.ids()? {
            match self.read(&id) {
                Ok(application) => history.applications.extend(application),
                Err(error) => history.unreadable.push(error),
            }
        }
        Ok(history)
    }

    /// Reads one.
    ///
    /// # Errors
    /// There is none of that name, or it is not understood.
    pub fn application(&self, id: &str) -> Result<Application> {
        let unknown = || unmet("read journal", Path::new(id), "there is no application of that id");
        // The name comes from a person: it must not lead to another folder.
        if !self.ids()?.iter().any(|known| known == id) {
            return Err(unknown());
        }
        self.read(id)?.ok_or_else(unknown)
    }

    /// Begins a journal: its first line, and its name in the folder, are on disk.
    pub(super) fn begin(&self, _lock: &Lock, begin: Begin) -> Result<Journal> {
        let numbers = self.ids()?.into_iter().filter_map(|id| id.get(..6)?.parse::<u32>().ok());
        let last = numbers.max().unwrap_or(0);
        let at_s = now_s();
        let id = format!("{:06}-{}", last + 1, date(at_s));
        let path = self.path(&id);
        let failed = |error| Error::new("begin journal", path.display().to_string(), error);
        let mut options = OpenOptions::new();
        options.append(true).create_new(true).mode(0o644).custom_flags(NO_LINK);
        let file = options.open(&path).map_err(failed)?;
        let application = Application::new(id, at_s, begin.clone());
        let mut journal =
            Journal { file: Some(file), path: path.clone(), whole_bytes: 0, application };
        journal.append(Record::Begin(begin))?;
        // The name of a new file is on disk when its folder is.
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(journal)
    }

    /// Goes on with a journal.
    pub(super) fn reopen(&self, _lock: &Lock, id: &str) -> Result<Journal> {
        let application = self.application(id)?;
        let path = self.path(id);
        let failed = |error| Error::new("open journal", path.display().to_string(), error);
        let mut options = OpenOptions::new();
        options.read(true).append(true).custom_flags(NO_LINK);
        let mut file = match options.open(&path) {
            // Its settings can be restored all the same; each line that it would get says why it does not.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                return Ok(Journal { file: None, path: path.clone(), whole_bytes: 0, application });
            }
            opened => opened.map_err(failed)?,
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let whole = whole(&bytes).len();
        if whole < bytes.len() {
            file.set_len(whole as u64).map_err(failed)?;
        }
        let file = Some(file);
        Ok(Journal { file, path: path.clone(), whole_bytes: whole as u64, application })
    }

    fn read(&self, id: &str) -> Result<Option<Application>> {
        let path = self.path(id);
        let failed = |error| Error::new("read journal", path.display().to_string(), error);
        let bytes = fs::read(&path).map_err(|error| failed(Cause::from(error)))?;
        Application::parse(id, &bytes).map_err(|why| failed(Cause::Malformed(why)))
    }

    fn ids(&self) -> Result<Vec<String>> {
        let failed =
            |error: io::Error| Error::new("read", self.folder.display().to_string(), error);
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut ids = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".jsonl"));
            ids.extend(id.map(str::to_owned));
        }
        ids.sort();
        Ok(ids)
    }

    fn path(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.jsonl"))
    }
}

impl Application {
    fn new(id: String, at_s: u64, begin: Begin) -> Self {
        Self {
            id,
            at_s,
            begin,
            state: State::Unfinished,
            entries: Vec::new(),
            reads: Vec::new(),
            restored: BTreeSet::new(),
            persist: None,
            is_persisted: false,
            is_file_restored: false,
            undone: Vec::new(),
        }
    }

    /// Parses a journal; none if not even its first line is whole.
    fn parse(id: &str, bytes: &[u8]) -> Result<Option<Self>, String> {
        let mut lines = whole(bytes).split(|byte| *byte == b'\n').enumerate();
        let parse = |(number, line): (usize, &[u8])| {
            let line: Result<Line, _> = serde_json::from_slice(line);
            line.map_err(|error| format!("line {}: {error}", number + 1))
        };
        let Some(first) = lines.next().filter(|(_, line)| !line.is_empty()) else {
            return Ok(None);
        };
        let mut application = match parse(first)? {
            Line { at_s, record: Record::Begin(begin) } if begin.schema == JOURNAL_SCHEMA => {
                Self::new(id.to_owned(), at_s, begin)
            }
            _ => return Err(format!("line 1: not the beginning of {JOURNAL_SCHEMA}")),
        };
        for (number, line) in lines.filter(|(_, line)| !line.is_empty()) {
            let record = parse((number, line))?.record;
            application.take(record).map_err(|why| format!("line {}: {why}", number + 1))?;
        }
        Ok(Some(application))
    }

    /// Was it made while this machine was up?
    pub fn is_of_boot(&self, boot_id: &str) -> bool {
        self.begin.identity.boot_id == boot_id
    }

    /// Has it still to be confirmed or undone? Such a one is being applied, was cut off, or waits.
    pub fn is_pending(&self) -> bool {
        matches!(self.state, State::Unfinished | State::Unconfirmed)
    }

    /// The writes that were begun, and are not put back.
    pub(super) fn left(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| !self.restored.contains(&entry.number))
    }

    /// Takes note of a line.
    fn take(&mut self, record: Record) -> Result<(), &'static str> {
        let wants_confirmation = self.begin.confirm_within_s.is_some();
        match record {
            Record::Begin(_) => return Err("it begins twice"),
            Record::Write(entry) if entry.number == self.entries.len() => {
                self.entries.push(entry);
                self.reads.push(None);
            }
            Record::Write(_) => return Err("writes are not in their order"),
            Record::Written { number, reads } => {
                *self.reads.get_mut(number).ok_or("no such write was begun")? = Some(reads);
            }
            Record::Done if wants_confirmation => self.state = State::Unconfirmed,
            Record::Done | Record::Confirmed => self.state = State::Applied,
            Record::Restored { number } if number < self.entries.len() => {
                self.restored.insert(number);
            }
            Record::Restored { .. } => return Err("no such write was begun"),
            Record::Persist(entry) => {
                self.persist = Some(entry);
                self.is_persisted = false;
            }
            Record::Persisted => self.is_persisted = true,
            Record::FileRestored => self.is_file_restored = true,
            Record::RolledBack { why } => {
                self.state = State::RolledBack;
                self.undone = vec![why];
            }
            Record::Incomplete { why, left } => {
                self.state = State::Incomplete;
                self.undone = vec![why];
                self.undone.extend(left);
            }
        }
        Ok(())
    }
}

impl Journal {
    /// Adds a line; it is on disk when this returns (J1). After an error it is not there at all, unless it cannot
    /// be cut off either.
    pub(super) fn append(&mut self, record: Record) -> Result<()> {
        let failed = |error| Error::new("write journal", self.path.display().to_string(), error);
        let Some(file) = &mut self.file else { return Err(failed(Cause::from(Errno::EROFS))) };
        let line = Line { at_s: now_s(), record };
        let mut text = serde_json::to_string(&line)
            .map_err(|error| failed(Cause::from(io::Error::from(error))))?;
        text.push('\n');
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        if let Err(error) = written {
            // A part of it must not be joined to the next line. The first error is the one to tell.
            let _ = file.set_len(self.whole_bytes);
            return Err(failed(Cause::from(error)));
        }
        self.whole_bytes += text.len() as u64;
        match line.record {
            // It made the value that is there.
            Record::Begin(_) => Ok(()),
            record => self
                .application
                .take(record)
                .map_err(|why| failed(Cause::Malformed(why.to_owned()))),
        }
    }
}

/// The lines that have their end (J2).
fn whole(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    &bytes[..end]
}

/// Seconds since 1970.
pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A second of universal time, as in names: `20261122T101843Z`.
fn date(at_s: u64) -> String {
    let at =
        i64::try_from(at_s).ok().and_then(|at_s| OffsetDateTime::from_unix_timestamp(at_s).ok());
    let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    format!("{year:04}{:02}{day:02}T{hour:02}{minute:02}{second:02}Z", u8::from(month))
}

/// A day of universal time, as in comments: `2026-11-22`.
pub(super) fn day(at_s: u64) -> String {
    let date = date(at_s);
    format!("{}-{}-{}", &date[..4], &date[4..6], &date[6..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = "{\"at_s\":7,\"record\":\"begin\",\"schema\":\"netmem.tune.journal/1\",\"pid\":1,\
        \"kernel_release\":\"6.18\",\"boot_id\":\"b\",\"netns_inode\":1,\"netns_cookie\":null,\
        \"changes\":1,\"confirm_within_s\":null}\n";
    const WRITE: &str = "{\"at_s\":7,\"record\":\"write\",\"number\":0,\"key\":\"k\",\"path\":\"/p\",\
        \"reach\":\"global\",\"old\":\"1\\n\",\"new\":\"2\",\"rule\":\"r\"}\n";

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(1_795_342_723), "20261122T101843Z");
        assert_eq!((date(0), day(951_782_400)), ("19700101T000000Z".into(), "2000-02-29".into()));
        assert_eq!(date(u64::MAX), "19700101T000000Z");
    }

    /// Has failed with: the cut line parsed as well.
    #[test]
    fn a_line_without_its_end_does_not_count() {
        let parse = |text: &str| Application::parse("x", text.as_bytes());
        for cut in 0..BEGIN.len() {
            assert_eq!(parse(&BEGIN[..cut]), Ok(None), "{cut}");
        }
        let text = format!("{BEGIN}{WRITE}");
        for cut in BEGIN.len()..text.len() {
            assert_eq!(parse(&text[..cut]).unwrap().unwrap().entries, [], "{cut}");
        }
        let all = parse(&text).unwrap().unwrap();
        assert_eq!(
            (all.entries.len(), &all.reads[..], all.state),
            (1, &[None][..], State::Unfinished)
        );
        assert_eq!(all.entries[0].old, "1\n");
    }

    /// On a file system that is full after two pages, in a mount namespace of the thread's own. Has failed
    /// with: the part of the line left in the file.
    #[test]
    fn lab_a_line_that_has_no_room_leaves_nothing() {
        if let Some(reason) = crate::lab::missing_privilege() {
            return crate::lab::skip("lab_a_line_that_has_no_room_leaves_nothing", &reason);
        }
        let folder = std::env::temp_dir().join(format!("netmem-journal-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let ended = std::thread::scope(|scope| scope.spawn(|| fill(&folder)).join());
        fs::remove_dir(&folder).unwrap();
        ended.unwrap();
    }

    fn fill(folder: &Path) {
        use nix::mount::{MsFlags, mount};
        use nix::sched::{CloneFlags, unshare};
        const NONE: Option<&str> = None;
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).unwrap();
        let size = Some("size=8k,mode=0700");
        mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), size).unwrap();
        let store = Store::at(folder);
        let line: Line = serde_json::from_str(BEGIN).unwrap();
        let Record::Begin(begin) = line.record else { panic!("{BEGIN}") };
        // The lock's file takes a page, and the journal gets the other.
        let lock = store.lock(Duration::ZERO).unwrap();
        let mut journal = store.begin(&lock, begin).unwrap();
        let long = Record::RolledBack { why: "x".repeat(10_000) };
        let full = journal.append(long).unwrap_err();
        assert!(full.to_string().contains("ENOSPC"), "{full}");
        journal.append(Record::Confirmed).unwrap();
        let read = store.application(&journal.application.id).unwrap();
        assert_eq!((read.state, read.undone), (State::Applied, vec![]));
        drop((journal, lock));
        // No process id has room now: what waits to be undone must be all the same.
        fs::write(folder.join("lock"), "").unwrap();
        fs::write(folder.join("filler"), "x").unwrap();
        store.lock(Duration::ZERO).unwrap();
    }

    #[test]
    fn what_is_no_journal_is_an_error_and_no_panic() {
        let parse = |text: &str| Application::parse("x", text.as_bytes()).map(drop).unwrap_err();
        assert!(parse("{}\n").starts_with("line 1: "));
        assert!(parse(WRITE).contains("not the beginning"));
        assert!(parse(&format!("{BEGIN}{BEGIN}")).contains("line 2: it begins twice"));
        assert!(parse(&format!("{BEGIN}{WRITE}{WRITE}")).contains("line 3: writes are not"));
        let written = "{\"at_s\":7,\"record\":\"written\",\"number\":9,\"reads\":\"2\"}\n";
        assert!(parse(&format!("{BEGIN}{WRITE}{written}")).contains("line 3: no such write"));
        assert!(parse(&BEGIN.replace("journal/1", "journal/2")).contains("not the beginning"));
    }
}
