//! Carrying out a plan: all of it, or nothing.
//!
//! ```text
//!   lock -> check (this kernel, this boot, this namespace, these values; sound; can be written)
//!        -> journal -> [ read, journal, read again, one write(2), read back, journal ] per change -> done
//!                         |  the first failure, or a request to stop
//!                         '-> undone in reverse
//! ```
//! Nothing is written before everything was checked, and no value before its old bytes are on disk (J1 in
//! [`journal`](super::journal)). A value that somebody else sets while the journal is written stays, and all
//! others are undone; between the second look and the write(2) nothing can be seen. A value that is half there
//! (three numbers for a setting of one) is undone like the others. An [`Applying`] that is dropped in the
//! middle, as by a panic, undoes what it did.
//!
//! Needs `CAP_NET_ADMIN` in the namespace for its settings and root for global ones. Kernel: any.

use std::fmt;
use std::path::{Path, PathBuf};

use super::journal::{Begin, Entry, JOURNAL_SCHEMA, Journal, Record, State, Store};
use super::lock::{Lock, MOMENT};
use super::persist;
use super::place::{Identity, Place, is_same, kept, unmet};
use super::refusal::{Refusal, circumstances, refusal};
use super::rollback::{Reachable, Report, Trust, undo};
use super::{Change, PLAN_SCHEMA, Plan, Reach};
use crate::error::{Error, Result};
use crate::source::{Root, Unavailable};
use crate::sysctl::{Key, Machine};

/// What becomes of values that are refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "yes or no")]
pub enum Caution {
    /// They are not written, and nothing of their plan is.
    #[default]
    Refuse,
    /// They are written: somebody knows better.
    IKnow,
}

/// What a plan is carried out under.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "what a caller says")]
pub struct Terms {
    /// What becomes of values that are refused.
    pub caution: Caution,
    /// Seconds in which somebody is to confirm it; none if it need not be confirmed.
    pub confirm_within_s: Option<u32>,
    /// The file of sysctl.d that [`persist`](super::persist()) is to write, once it stays; none if none.
    pub persist_to: Option<PathBuf>,
}

/// Why nothing was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotApplied {
    /// It is no plan that could be carried out anywhere.
    Malformed(String),
    /// The plan is for another state of the machine: what differs.
    Stale(Vec<String>),
    /// Values that are not to be written.
    Refused(Vec<Refusal>),
    /// Settings that cannot be written here.
    Unwritable(Vec<Unavailable>),
    /// Another application of this boot has to be confirmed or undone before.
    Pending {
        /// Its name.
        id: String,
        /// How far it came.
        state: State,
    },
    /// The state folder, the lock or a file failed.
    Failed(Error),
}

/// What carrying out a plan would do beside writing its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rehearsal {
    /// The file of sysctl.d that would be written; none if nobody asks for one, or no setting could stand there.
    pub persist_to: Option<PathBuf>,
    /// Journals of other applications that cannot be read, and why.
    pub unreadable: Vec<Error>,
}

/// A plan that was checked and begun, with nothing written yet.
#[derive(Debug)]
pub struct Applying {
    place: Place,
    changes: Vec<Change>,
    journal: Journal,
    /// The change of which the kernel made another value, and that.
    not_kept: Option<(usize, String)>,
    /// Whether the journal has its last line, or will have.
    is_settled: bool,
    unreadable: Vec<Error>,
    _lock: Lock,
}

/// Checks a plan, and changes nothing.
///
/// # Errors
/// Why it would not be carried out.
pub fn check(plan: &Plan, place: &Place, caution: Caution) -> Result<(), NotApplied> {
    well_formed(plan, place.root()).map_err(NotApplied::Malformed)?;
    let stale = differences(plan, place)?;
    let mut unwritable = Vec::new();
    for change in &plan.changes {
        unwritable.extend(place.why_not(change.reach, &change.key)?);
    }
    // A value that cannot be read cannot be compared: the reason is what helps.
    if !unwritable.is_empty() {
        return Err(NotApplied::Unwritable(unwritable));
    }
    if !stale.is_empty() {
        return Err(NotApplied::Stale(stale));
    }
    let machine = Machine::read(place.root()).ok();
    let mut refused: Vec<_> =
        plan.changes.iter().filter_map(|change| refusal(change, machine.as_ref())).collect();
    refused.extend(circumstances(&plan.changes, place));
    if caution == Caution::Refuse && !refused.is_empty() {
        return Err(NotApplied::Refused(refused));
    }
    Ok(())
}

/// Checks what [`Applying::begin`] does, without its lock, and leaves nothing: a file that is tried in a folder
/// of sysctl.d is removed.
///
/// # Errors
/// Why nothing would be written.
pub fn rehearse(
    store: &Store,
    place: &Place,
    plan: &Plan,
    terms: &Terms,
) -> Result<Rehearsal, NotApplied> {
    let (identity, persist_to) = check_terms(plan, place, terms)?;
    Ok(Rehearsal { persist_to, unreadable: settled(store, &identity)? })
}

impl Applying {
    /// Takes the lock, checks the plan and begins its journal.
    ///
    /// # Errors
    /// Why nothing will be written.
    pub fn begin(
        store: &Store,
        place: Place,
        plan: &Plan,
        terms: &Terms,
    ) -> Result<Self, NotApplied> {
        // Whether it can be written at all is told before a folder is made for it.
        let (identity, _) = check_terms(plan, &place, terms)?;
        let lock = store.lock(MOMENT)?;
        let unreadable = settled(store, &identity)?;
        check(plan, &place, terms.caution)?;
        let begin = Begin {
            schema: JOURNAL_SCHEMA.to_owned(),
            pid: std::process::id(),
            identity,
            changes: plan.changes.len(),
            confirm_within_s: terms.confirm_within_s,
            persist_to: terms.persist_to.clone(),
        };
        let journal = store.begin(&lock, begin)?;
        Ok(Self {
            place,
            changes: plan.changes.clone(),
            journal,
            not_kept: None,
            is_settled: false,
            unreadable,
            _lock: lock,
        })
    }

    /// The application's name.
    pub fn id(&self) -> &str {
        &self.journal.application.id
    }

    /// Journals of other applications that cannot be read, and why: one of them may wait to be settled.
    pub fn unreadable(&self) -> &[Error] {
        &self.unreadable
    }

    /// Writes all changes; undoes all of them at the first that fails, or when `stop` says so.
    pub fn write(mut self, stop: &dyn Fn() -> bool) -> Report {
        for number in 0..self.changes.len() {
            if stop() {
                return self.undo("it was stopped by a signal");
            }
            if let Err(error) = self.write_one(number) {
                return self.undo(&error.to_string());
            }
        }
        if stop() {
            return self.undo("it was stopped by a signal");
        }
        if let Err(error) = self.journal.append(Record::Done) {
            return self.undo(&error.to_string());
        }
        self.is_settled = true;
        Report::applied(self.id())
    }

    /// Ends it before anything was written.
    pub fn abandon(mut self, why: &str) -> Report {
        self.undo(why)
    }

    fn write_one(&mut self, number: usize) -> Result<()> {
        let path = self.note(number)?;
        self.put(number, &path)
    }

    /// Writes what is noted, unless somebody was faster.
    fn put(&mut self, number: usize, path: &Path) -> Result<()> {
        let (change, noted) = (&self.changes[number], &self.journal.application.entries[number]);
        if self.place.read(change.reach, path)? != noted.old {
            return Err(meanwhile(path));
        }
        let reads = self.place.write(change.reach, path, &change.proposed)?;
        if let Err(error) = kept(path, &reads, &change.proposed) {
            self.not_kept = Some((number, reads));
            return Err(error);
        }
        self.journal.append(Record::Written { number, reads })
    }

    /// Notes what a change is about to write over, on disk, which may take its time.
    fn note(&mut self, number: usize) -> Result<PathBuf> {
        let change = &self.changes[number];
        let path = self.place.path(&change.key)?;
        let old = self.place.read(change.reach, &path)?;
        if !is_same(&old, &change.current) {
            return Err(meanwhile(&path));
        }
        let entry = Entry {
            number,
            key: change.key.clone(),
            path: path.clone(),
            reach: change.reach,
            old,
            new: change.proposed.clone(),
            rule: change.rule.clone(),
            evidence: change.evidence.clone(),
        };
        self.journal.append(Record::Write(entry))?;
        Ok(path)
    }

    /// What the kernel made of a value is ours as it was read back, and only so: a part, or another number. What is
    /// only noted, or was refused, is ours where it reads as written, or as a part of that.
    fn undo(&mut self, why: &str) -> Report {
        self.is_settled = true;
        let not_kept = self.not_kept.take();
        let trust = not_kept
            .as_ref()
            .map_or(Trust::Nothing, |(number, reads)| Trust::Entry(*number, reads));
        undo(&mut self.journal, &Reachable::All(&self.place), trust, why)
    }
}

impl Drop for Applying {
    fn drop(&mut self) {
        if !self.is_settled {
            // The journal has what could not be undone.
            self.undo("it was ended in the middle");
        }
    }
}

impl fmt::Display for NotApplied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = match self {
            Self::Malformed(why) => return write!(f, "read the plan: {why}"),
            Self::Failed(error) => return write!(f, "{error}"),
            Self::Pending { id, state } => vec![match state {
                State::Unconfirmed => format!("{id} waits to be confirmed"),
                _ => format!("{id} was ended in the middle, and is not undone"),
            }],
            Self::Stale(differences) => differences.clone(),
            Self::Refused(refused) => {
                refused.iter().map(|one| format!("{}: {}", one.key, one.why)).collect()
            }
            Self::Unwritable(why) => {
                why.iter().map(|one| format!("{}: {}", one.source, one.reason)).collect()
            }
        };
        f.write_str(match self {
            Self::Stale(_) => {
                "apply the plan: the machine is not as it was when the plan was made: "
            }
            _ => "apply the plan: ",
        })?;
        f.write_str(&lines.join("; "))
    }
}

impl std::error::Error for NotApplied {}

impl From<Error> for NotApplied {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Unavailable> for NotApplied {
    fn from(why: Unavailable) -> Self {
        Self::Unwritable(vec![why])
    }
}

/// Checks the plan, and the file of sysctl.d, which is returned if it would be written.
fn check_terms(
    plan: &Plan,
    place: &Place,
    terms: &Terms,
) -> Result<(Identity, Option<PathBuf>), NotApplied> {
    check(plan, place, terms.caution)?;
    let identity = place.identity()?;
    let mut persist_to = terms.persist_to.clone();
    if let Some(path) = &terms.persist_to
        && !persist::check(path, &plan.changes, &identity)?
    {
        persist_to = None;
    }
    Ok((identity, persist_to))
}

/// Refuses while another application of this boot is not settled, and returns the journals that cannot be read.
fn settled(store: &Store, identity: &Identity) -> Result<Vec<Error>, NotApplied> {
    // One that cannot be read may be pending too. It is told, and is no reason to refuse: nothing here can
    // settle it, so that its file would have to be removed before anything could be changed, and with it
    // the only note of what was there. What is written now is undone to what is found now.
    let history = store.history()?;
    // Undone after this one, it would find our values, or leave its own under them.
    let mut before = history.applications.into_iter().rev();
    match before.find(|one| one.is_pending() && one.is_of_boot(&identity.boot_id)) {
        Some(one) => Err(NotApplied::Pending { id: one.id, state: one.state }),
        None => Ok(history.unreadable),
    }
}

fn meanwhile(path: &Path) -> Error {
    unmet("write", path, "it was changed by somebody else meanwhile")
}

fn well_formed(plan: &Plan, root: &Root) -> Result<(), String> {
    if plan.schema != PLAN_SCHEMA {
        return Err(format!("its schema is {:?}, and not {PLAN_SCHEMA}", plan.schema));
    }
    for (number, change) in plan.changes.iter().enumerate() {
        // Whatever the caution: a plan must not lead to a file that has nothing to do with network memory.
        let Some(key) = Key::named(&change.key) else {
            return Err(format!("{:?} is no setting of network memory that is known", change.key));
        };
        // Of one that is said to be global the namespace would not be compared.
        let concerns = |reach| match reach {
            Reach::Global => "the machine",
            Reach::Namespace => "a network namespace",
        };
        let (said, is) = (concerns(change.reach), concerns(Reach::of(root, key)));
        if said != is {
            return Err(format!("{} concerns {is} here, and not {said}", change.key));
        }
        if change.rule.contains(char::is_control) {
            return Err(format!("the rule of {} is more than a line", change.key));
        }
        if change.proposed.trim().is_empty() || change.proposed.contains(char::is_control) {
            let is_tab = change.proposed.contains('\t');
            let what = if is_tab { "a tab" } else { "nothing, or more than a line" };
            return Err(format!("{} is to become {what}", change.key));
        }
        if plan.changes[..number].iter().any(|before| before.key == change.key) {
            return Err(format!("{} is there twice", change.key));
        }
    }
    Ok(())
}

/// What of the plan's basis does not hold here.
fn differences(plan: &Plan, place: &Place) -> Result<Vec<String>, NotApplied> {
    let here = place.identity()?;
    let basis = &plan.basis;
    let mut differ = Vec::new();
    let mut compare = |what: &str, planned: &str, now: &str| {
        if planned != now {
            differ.push(format!("{what} was {planned:?}, and is {now:?}"));
        }
    };
    compare("the kernel", &basis.kernel_release, &here.kernel_release);
    compare("the boot", &basis.boot_id, &here.boot_id);
    if plan.changes.iter().any(|change| change.reach == Reach::Namespace) {
        let (planned, now) = (basis.netns_inode.to_string(), here.netns_inode.to_string());
        compare("the network namespace", &planned, &now);
    }
    for change in &plan.changes {
        let path = place.path(&change.key).map_err(|e| NotApplied::Malformed(e.to_string()))?;
        // One that cannot be read is told as one that cannot be written.
        let Ok(now) = place.read(change.reach, &path) else { continue };
        if !is_same(&now, &change.current) {
            compare(&change.key, &change.current, now.trim_end());
        }
    }
    Ok(differ)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::super::Basis;
    use super::super::rollback::End;
    use super::super::set_by::tests::Folder;
    use super::*;

    /// Somebody sets a value while the journal is written. Has failed with: no second look; what is only noted
    /// taken for what was written; what was read back not looked at.
    #[test]
    fn what_somebody_sets_while_it_is_noted_stays() {
        let folder = Folder::new("noted");
        let proc = [
            ("sys/kernel/osrelease", "6.18.44\n"),
            ("sys/kernel/random/boot_id", "first\n"),
            ("sys/net/core/rmem_max", "4194304\n"),
            ("sys/net/core/wmem_max", "4194304\n"),
            ("thread-self/x", ""),
            ("thread-self/ns/x", ""),
        ];
        proc.iter().for_each(|(file, text)| folder.write(&format!("proc/{file}"), text));
        symlink("net:[77]", folder.0.join("proc/thread-self/ns/net")).unwrap();
        let root = Root::at(&folder.0);
        let file = |key: &str| root.proc("sys/net/core").join(key);
        let plan = Plan {
            schema: PLAN_SCHEMA.to_owned(),
            basis: Basis {
                kernel_release: "6.18.44".to_owned(),
                boot_id: "first".to_owned(),
                netns_inode: 77,
                made_at_s: 0,
            },
            goal: None,
            findings: Vec::new(),
            changes: ["net.core.rmem_max", "net.core.wmem_max"]
                .map(|key| Change::of(key, "4194304", "8388608"))
                .to_vec(),
            not_known: Vec::new(),
        };
        let store = Store::at(folder.0.join("state"));
        let terms = Terms { caution: Caution::IKnow, ..Terms::default() };
        let place = Place::here(root.clone());
        let mut applying = Applying::begin(&store, place, &plan, &terms).unwrap();
        applying.write_one(0).unwrap();
        let path = applying.note(1).unwrap();
        fs::write(file("wmem_max"), "9999999\n").unwrap();
        let meanwhile = applying.put(1, &path).unwrap_err().to_string();
        assert!(
            meanwhile.ends_with("wmem_max: it was changed by somebody else meanwhile"),
            "{meanwhile}"
        );
        let report = applying.abandon(&meanwhile);
        assert_eq!((report.end, report.left.len()), (End::Incomplete, 1), "{report:?}");
        assert!(report.left[0].contains("reads \"9999999\""), "{report:?}");
        let now = ["rmem_max", "wmem_max"].map(|key| fs::read_to_string(file(key)).unwrap());
        assert_eq!(now, ["4194304\n", "9999999\n"]);

        // What the kernel makes of a value is ours as it was read back, and not as somebody sets it after that.
        for (reads, left) in [("8388096\n", 0), ("7\n", 1)] {
            fs::write(file("wmem_max"), "4194304\n").unwrap();
            let place = Place::here(root.clone());
            let mut applying = Applying::begin(&store, place, &plan, &terms).unwrap();
            applying.write_one(0).unwrap();
            applying.note(1).unwrap();
            fs::write(file("wmem_max"), "8388096\n").unwrap();
            applying.not_kept = Some((1, reads.to_owned()));
            let report = applying.abandon("it reads as another value");
            assert_eq!(report.left.len(), left, "{report:?}");
            let now = fs::read_to_string(file("wmem_max")).unwrap();
            assert_eq!(now, ["4194304\n", "8388096\n"][left]);
        }
    }
}
