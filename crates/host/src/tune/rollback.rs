//! Undoing an application, from its journal.
//!
//! A setting goes back to its old bytes only where its file reads what was written: another value is
//! somebody else's, is told as drift and is left alone unless that is forced. Where it is not known what its
//! file read after the write, a part of what was written is ours too. One that has its old bytes already is
//! done, so a rollback that was cut off can be begun again, and what was put back once is not touched again
//! (J4 in [`journal`](super::journal)). What a later application wrote over it is that one's to undo first.
//!
//! Settings that went with their boot or their network namespace are nobody's to restore; what a persisted
//! file has set again at a later boot is told.
//!
//! Kernel: any.

mod restore;

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use self::restore::{not_set_again, read_at_boot, restore, restore_file};
use super::Reach;
use super::journal::{Application, Entry, Journal, Record, State, Store};
use super::lock::MOMENT;
use super::persist::{self, written};
use super::place::{Found, Place, unmet};
use super::set_by::real;
use crate::error::{Error, Result};
use crate::source::{Root, SourceState, Unavailable};

/// How long a command waits for another that holds the lock, where it must not fail for that.
const PATIENCE: Duration = Duration::from_secs(60);

/// What becomes of settings that somebody else has changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "yes or no")]
pub enum Drift {
    /// They stay, and are told.
    Leave,
    /// They are restored as well.
    Overwrite,
}

/// How an application or a rollback ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(clippy::exhaustive_enums, reason = "there is nothing between")]
pub enum End {
    /// All changes are written.
    Applied,
    /// All is as it was before.
    RolledBack,
    /// Not all is as it was before.
    Incomplete,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The application's name.
    pub id: String,
    /// How it ended.
    pub end: End,
    /// Why it was undone; null if it was not.
    pub why: Option<String>,
    /// What could not be undone, and why.
    pub left: Vec<String>,
    /// What needed no undoing, and why.
    pub notes: Vec<String>,
}

/// Why nothing was undone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotRolledBack {
    /// A later application that is not undone wrote the same setting or file.
    Later {
        /// The application that was to be undone.
        id: String,
        /// The later one.
        later: String,
        /// The setting or file.
        what: String,
    },
    /// It takes a privilege that is missing.
    Denied {
        /// The application that was to be undone.
        id: String,
        /// What may not be written or entered, and why.
        why: Vec<Unavailable>,
    },
    /// There is none of that name, it is undone already, or the lock or a journal cannot be had.
    Failed(Error),
}

/// Which files hold what the application wrote, whatever they read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust<'a> {
    /// None.
    Nothing,
    /// The entry of that number, as its file read after the write.
    Entry(usize, &'a str),
    /// All of them.
    All,
}

/// Who wants an application undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// Somebody, who can do it with more privileges if these do not suffice.
    Person,
    /// Nobody: it was not confirmed, and what can be undone has to be.
    Time,
}

/// What can be reached of the settings that an application wrote.
#[derive(Debug)]
pub(super) enum Reachable<'a> {
    /// All of them.
    All(&'a Place),
    /// The global ones: the namespace has gone, or it is not known whether it has, for that reason.
    Global(&'a Place, Option<String>),
    /// None: they went with their boot. What boot sets again is in the initial namespace; what is global can be
    /// read here too, where that one may not be looked at.
    Rebooted { initial: Result<Place, Unavailable>, here: Place },
}

/// Undoes an application: the one of that name, or the last that is not undone and can be read. `None` if
/// there is none.
///
/// # Errors
/// Why nothing was undone.
pub fn rollback(
    store: &Store,
    root: Root,
    id: Option<&str>,
    drift: Drift,
) -> Result<Option<Report>, NotRolledBack> {
    let boot_id = boot_id(&root)?;
    let can_be_undone = |application: &Application| {
        application.state != State::RolledBack
            && (application.is_of_boot(&boot_id) || application.persist.is_some())
    };
    let id = match id {
        Some(id) => id.to_owned(),
        None => match store.history()?.applications.into_iter().rev().find(can_be_undone) {
            Some(application) => application.id,
            None => return Ok(None),
        },
    };
    let lock = store.lock(MOMENT)?;
    let mut journal = store.reopen(&lock, &id)?;
    if journal.application.state == State::RolledBack {
        return Err(unmet("roll back", id.as_ref(), "it is rolled back already").into());
    }
    let trust = match drift {
        Drift::Overwrite => Trust::All,
        Drift::Leave => {
            not_written_over(store, &journal.application, &boot_id)?;
            Trust::Nothing
        }
    };
    Ok(Some(roll_back(&mut journal, root, trust, By::Person)?))
}

/// Undoes an application that has not been confirmed, however far it came, and goes on where undoing left
/// something; `None` if there is nothing to do. It waits for whoever is changing settings.
///
/// # Errors
/// Why nothing was undone.
pub fn rollback_unconfirmed(
    store: &Store,
    root: Root,
    id: &str,
) -> Result<Option<Report>, NotRolledBack> {
    let lock = store.lock(PATIENCE)?;
    let mut journal = store.reopen(&lock, id)?;
    if matches!(journal.application.state, State::Applied | State::RolledBack) {
        return Ok(None);
    }
    not_written_over(store, &journal.application, &boot_id(&root)?)?;
    Ok(Some(roll_back(&mut journal, root, Trust::Nothing, By::Time)?))
}

/// Lets an application stay that waits for that: the one of that name, or the last that waits and can be
/// read.
///
/// # Errors
/// There is none, it waits for nothing, or the lock or the journal cannot be had.
pub fn confirm(store: &Store, root: &Root, id: Option<&str>) -> Result<String> {
    let boot_id = boot_id(root)?;
    let lock = store.lock(PATIENCE)?;
    let waits = |application: &Application| {
        application.state == State::Unconfirmed && application.is_of_boot(&boot_id)
    };
    let id = match id {
        Some(id) => id.to_owned(),
        None => store
            .history()?
            .applications
            .into_iter()
            .rev()
            .find(waits)
            .map(|application| application.id)
            .ok_or_else(|| unmet("confirm", "the last".as_ref(), "no application waits for it"))?,
    };
    let mut journal = store.reopen(&lock, &id)?;
    if !waits(&journal.application) {
        let what = match journal.application.state {
            State::RolledBack | State::Incomplete => "it is rolled back already",
            _ => "it does not wait for that",
        };
        return Err(unmet("confirm", id.as_ref(), what));
    }
    journal.append(Record::Confirmed)?;
    Ok(id)
}

impl Report {
    pub(super) fn applied(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            end: End::Applied,
            why: None,
            left: Vec::new(),
            notes: Vec::new(),
        }
    }
}

impl fmt::Display for NotRolledBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Later { id, later, what } => {
                write!(f, "roll back {id}: {later} wrote {what} after it, and is not rolled back")
            }
            Self::Denied { id, why } => {
                let why = why.iter().map(|one| format!("{}: {}", one.source, one.reason));
                write!(f, "roll back {id}: {}", why.collect::<Vec<_>>().join("; "))
            }
            Self::Failed(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for NotRolledBack {}

impl From<Error> for NotRolledBack {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Undoes what a journal has, in reverse, and writes its last line.
pub(super) fn undo(
    journal: &mut Journal,
    reachable: &Reachable<'_>,
    trust: Trust<'_>,
    why: &str,
) -> Report {
    let mut report = Report {
        end: End::RolledBack,
        why: Some(why.to_owned()),
        ..Report::applied(&journal.application.id)
    };
    let application = journal.application.clone();
    let file = read_at_boot(&application);
    report.left.extend(restore_file(journal, trust).err());
    for (entry, reads) in application.entries.iter().zip(&application.reads).rev() {
        let number = entry.number;
        if application.restored.contains(&number) {
            continue;
        }
        let reads = match trust {
            Trust::Entry(of, reads) if of == number => Some(reads),
            _ => reads.as_deref(),
        };
        let result = match reachable {
            Reachable::Rebooted { initial, here } => {
                match file.map_or(Ok(()), |file| not_set_again(file, (initial, here), entry)) {
                    // Whose it is by now cannot be told: somebody else may want the same.
                    Err(note) if trust == Trust::All => {
                        report.notes.push(note);
                        Ok(())
                    }
                    result => result,
                }
            }
            Reachable::Global(_, gap) if entry.reach == Reach::Namespace => match gap {
                Some(gap) => Err(format!("{}: {gap}", entry.key)),
                None => Ok(()),
            },
            Reachable::All(place) | Reachable::Global(place, _) => {
                restore(place, entry, reads, trust == Trust::All).and_then(|note| {
                    report.notes.extend(note);
                    let noted = journal.append(Record::Restored { number });
                    noted.map_err(|error| error.to_string())
                })
            }
        };
        report.left.extend(result.err());
    }
    let record = match report.left.is_empty() {
        true => Record::RolledBack { why: why.to_owned() },
        false => Record::Incomplete { why: why.to_owned(), left: report.left.clone() },
    };
    report.left.extend(journal.append(record).err().map(|error| error.to_string()));
    // A journal without room says so for each line.
    report.left.dedup();
    if !report.left.is_empty() {
        report.end = End::Incomplete;
    }
    report
}

fn roll_back(
    journal: &mut Journal,
    root: Root,
    trust: Trust<'_>,
    by: By,
) -> Result<Report, NotRolledBack> {
    let id = journal.application.id.clone();
    let denied = |why: Vec<Unavailable>| NotRolledBack::Denied { id: id.clone(), why };
    let undo = |journal: &mut Journal, reachable: &Reachable<'_>| {
        let (why, missing) = match by {
            By::Person => ("somebody asked for it", not_allowed(&journal.application, reachable)),
            By::Time => ("nobody confirmed it in time", Vec::new()),
        };
        if !missing.is_empty() {
            return Err(denied(missing));
        }
        Ok(undo(journal, reachable, trust, why))
    };
    if !journal.application.is_of_boot(&boot_id(&root)?) {
        let (initial, here) = (Place::initial(root.clone()), Place::here(root));
        let mut report = undo(journal, &Reachable::Rebooted { initial, here })?;
        report.notes.push("it is of another boot, and its values went with that".to_owned());
        return Ok(report);
    }
    let is_own = |entry: &Entry| entry.reach == Reach::Namespace;
    let has_own = journal.application.entries.iter().any(is_own);
    let gap = match Place::of(root.clone(), &journal.application.begin.identity) {
        Ok(Found::There(place)) => return undo(journal, &Reachable::All(&place)),
        Ok(Found::Gone) => None,
        Ok(Found::Unknown(_)) if trust == Trust::All => None,
        Ok(Found::Unknown(gap)) => {
            Some(format!("is not found, which may live all the same: {}", gap.reason))
        }
        // It is there, and not gone, whoever insists.
        Err(why) if why.state == SourceState::Denied && by == By::Person && has_own => {
            return Err(denied(vec![why]));
        }
        Err(why) => Some(format!("cannot be entered: {}", why.reason)),
    };
    let is_gone = gap.is_none();
    let gap = gap.map(|gap| format!("its network namespace {gap}"));
    let mut report = undo(journal, &Reachable::Global(&Place::here(root), gap))?;
    if is_gone && has_own {
        report.notes.push("its network namespace has gone, and its values with it".to_owned());
    }
    Ok(report)
}

/// What an undoing would write or look at, and this process may not: the file, and settings by their files.
fn not_allowed(application: &Application, reachable: &Reachable<'_>) -> Vec<Unavailable> {
    let file = written(application).and_then(persist::why_not_restored);
    let at_boot = read_at_boot(application);
    let of_setting = |entry: &Entry| {
        let place = match reachable {
            Reachable::All(place) => place,
            Reachable::Global(place, _) if entry.reach == Reach::Global => place,
            Reachable::Rebooted { initial: Err(why), .. } if entry.reach == Reach::Namespace => {
                let is_asked = at_boot.is_some_and(|file| persist::sets(file, &entry.key));
                return is_asked.then(|| why.clone());
            }
            Reachable::Global(..) | Reachable::Rebooted { .. } => return None,
        };
        let now = place.path(&entry.key).and_then(|path| place.read(entry.reach, &path));
        if now.is_ok_and(|now| now == entry.old) {
            return None;
        }
        place.why_not(entry.reach, &entry.key).unwrap_or_else(|error| Some((&error).into()))
    };
    let all = file.into_iter().chain(application.left().filter_map(of_setting));
    all.filter(|why| why.state == SourceState::Denied).collect()
}

/// Refuses to undo what a later application, itself not undone, has written over: the last such is named.
fn not_written_over(
    store: &Store,
    application: &Application,
    boot_id: &str,
) -> Result<(), NotRolledBack> {
    let later = |one: &Application| one.id > application.id && one.state != State::RolledBack;
    for one in store.history()?.applications.into_iter().rev().filter(later) {
        if let Some(what) = shared(application, &one, boot_id) {
            return Err(NotRolledBack::Later { id: application.id.clone(), later: one.id, what });
        }
    }
    Ok(())
}

/// The setting that two applications wrote, and neither has put back; or the file that the later one changed.
fn shared(earlier: &Application, later: &Application, boot_id: &str) -> Option<String> {
    let (here, there) = (&earlier.begin.identity, &later.begin.identity);
    let is_same_place = |reach| reach == Reach::Global || here.is_namespace_of(there);
    // Values of an earlier boot went with that.
    let is_live = earlier.is_of_boot(boot_id) && later.is_of_boot(boot_id);
    let mut left = earlier.left().filter(|_| is_live);
    let setting = left.find(|entry| {
        is_same_place(entry.reach) && later.left().any(|other| other.key == entry.key)
    });
    let file = || {
        let (ours, theirs) = (written(earlier)?, written(later)?);
        let is_changed = real(&ours.path) == real(&theirs.path) && !persist::is_untouched(ours);
        is_changed.then(|| ours.path.display().to_string())
    };
    setting.map(|entry| entry.key.clone()).or_else(file)
}

fn boot_id(root: &Root) -> Result<String> {
    let identity = Place::here(root.clone()).identity();
    identity
        .map(|identity| identity.boot_id)
        .map_err(|why| unmet("read", why.source.as_ref(), why.reason.clone()))
}
