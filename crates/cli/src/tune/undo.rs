//! `netmem tune confirm`, `rollback` and `history`: what becomes of what was applied.

use std::{
    io::{self, Write},
    path::Path,
};

use netmem_host::{
    source::Root,
    tune::{self, Application, Drift, End, History, NotRolledBack, Persisted, Place, State, Store},
};
use serde::Serialize;

use crate::{
    Failure, Outcome,
    args::{ConfirmArgs, HistoryArgs, RollbackArgs},
    report,
};

/// Why what belongs to another network namespace is in no file.
pub(super) const FOR_INITIAL: &str = "sysctl.d is for the initial network namespace";

/// `netmem tune confirm`. What is to outlast the boot is written down here: who applied it may be gone. What
/// is confirmed and could not be written down is, if that is asked for.
///
/// # Errors
/// Nothing waits for that, or it cannot be persisted.
pub(super) fn confirm(
    args: &ConfirmArgs,
    out: &mut dyn Write,
    notes: &mut dyn Write,
) -> Result<Outcome, Failure> {
    let store = Store::at(&args.state.state);
    if args.id.is_none() {
        readable(&store, notes)?;
    }
    let is_asked = |application: &Application| application.begin.persist_to.is_some();
    let known = args.id.as_ref().filter(|_| args.persist).map(|id| store.application(id));
    let id = match known.transpose()? {
        Some(known) if !is_asked(&known) => {
            let what = format!("persist {}: it was applied without --persist", known.id);
            return Err(Failure::refused(what));
        }
        Some(known) if known.state == State::Applied => known.id,
        _ => {
            let id = tune::confirm(&store, &Root::live(), args.id.as_deref())?;
            // Nobody may be reading; it is confirmed all the same.
            let _ = writeln!(out, "confirmed {id}");
            id
        }
    };
    if is_asked(&store.application(&id)?) {
        persist(&store, &id, None, out)?;
    }
    out.flush().map_err(Failure::output)?;
    Ok(Outcome::Done)
}

/// `netmem tune rollback`.
///
/// # Errors
/// Not all could be undone, or nothing because of the lock or the journal.
pub(super) fn rollback(
    args: &RollbackArgs,
    out: &mut dyn Write,
    notes: &mut dyn Write,
) -> Result<Outcome, Failure> {
    let store = Store::at(&args.state.state);
    if args.id.is_none() {
        readable(&store, notes)?;
    }
    let drift = if args.force { Drift::Overwrite } else { Drift::Leave };
    let report = tune::rollback(&store, Root::live(), args.id.as_deref(), drift);
    let report = report.map_err(not_rolled_back)?;
    let Some(report) = report else {
        writeln!(out, "nothing to roll back")
            .and_then(|()| out.flush())
            .map_err(Failure::output)?;
        return Ok(Outcome::Done);
    };
    if report.end == End::Incomplete {
        return Err(incomplete(&format!("roll back {}", report.id), &report.left).with_hint(
            "--force restores what somebody else has changed, and takes for gone what is not found",
        ));
    }
    let print = |out: &mut dyn Write| {
        writeln!(out, "rolled back {}: all is as it was before", report.id)?;
        for note in &report.notes {
            writeln!(out, "  {note}")?;
        }
        out.flush()
    };
    print(out).map_err(Failure::output)?;
    Ok(Outcome::Done)
}

/// `netmem tune history`.
///
/// # Errors
/// The folder of journals cannot be read.
pub(super) fn history(
    args: &HistoryArgs,
    out: &mut dyn Write,
    notes: &mut dyn Write,
) -> Result<Outcome, Failure> {
    let History { applications, unreadable, .. } = readable(&Store::at(&args.state.state), notes)?;
    tell_unfinished(&applications, notes);
    let printed = if args.json {
        let unreadable = unreadable.iter().map(ToString::to_string).collect();
        report::json(out, &Printed { schema: "netmem.tune.history/1", applications, unreadable })
    } else {
        table(&applications, &unreadable, out)
    };
    printed.and_then(|()| out.flush()).map_err(Failure::output)?;
    Ok(Outcome::Done)
}

/// What was done, and is not as it was before.
pub(super) fn incomplete(what: &str, left: &[String]) -> Failure {
    Failure::incomplete(format!("{what}: not all is as it was before: {}", left.join("; ")))
}

/// Tells the journals that cannot be read.
pub(super) fn tell_unreadable(unreadable: &[netmem_host::Error], notes: &mut dyn Write) {
    for error in unreadable {
        // Nobody may be listening: that ends nothing.
        let _ = writeln!(notes, "left out: {error}");
    }
}

/// Tells the applications of this boot that were ended in the middle: nobody undoes them but who is told.
pub(super) fn tell_unfinished(applications: &[Application], notes: &mut dyn Write) {
    let Ok(here) = Place::here(Root::live()).identity() else { return };
    let is_unfinished = |one: &&Application| one.state == State::Unfinished;
    for one in applications.iter().filter(is_unfinished).filter(|it| it.is_of_boot(&here.boot_id)) {
        let (id, pid) = (&one.id, one.begin.pid);
        let _ = writeln!(
            notes,
            "{id} was ended in the middle, unless process {pid} still applies it: netmem tune \
             rollback {id} undoes it"
        );
    }
}

/// Why a rollback undid nothing.
pub(super) fn not_rolled_back(why: NotRolledBack) -> Failure {
    let message = why.to_string();
    match why {
        NotRolledBack::Later { later, .. } => Failure::refused(message).with_hint(format!(
            "netmem tune rollback {later} first; --force restores what was there before all the same"
        )),
        NotRolledBack::Denied { .. } => Failure::missing(message).with_hint(
            "nothing was changed; it takes root, or the capabilities that applying it took",
        ),
        NotRolledBack::Failed(error) => match Failure::from(error) {
            failure if failure.outcome() == Outcome::Missing => {
                failure.with_hint("nothing was changed; it takes root, or the user who applied it")
            }
            failure => failure,
        },
        _ => Failure::refused(message),
    }
}

/// Writes the settings of an application to the file of sysctl.d that it names, and says what that gives.
/// `netns` is the name of its namespace, where that is known.
///
/// # Errors
/// They cannot be written there; those of the running kernel stay.
pub(super) fn persist(
    store: &Store,
    id: &str,
    netns: Option<&str>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let persisted = tune::persist(store, &Root::live(), id, Path::new("/"));
    let persisted = persisted.map_err(|error| {
        // What is in force was not looked at where the journal could not be.
        let message =
            format!("{error}; the kernel's settings stay as they are, and are not persisted");
        let again = format!("netmem tune confirm --persist {id}");
        match Failure::from(error).outcome() {
            Outcome::Missing => Failure::missing(message)
                .with_hint(format!("it takes root, or the user who applied it: {again}")),
            _ => Failure::refused(message)
                .with_hint(format!("{again} once that is mended, or netmem tune rollback {id}")),
        }
    })?;
    print_persisted(&persisted, netns, out).map_err(Failure::output)
}

/// What `history --json` prints.
#[derive(Serialize)]
struct Printed {
    schema: &'static str,
    applications: Vec<Application>,
    /// Journals that cannot be read, and why.
    unreadable: Vec<String>,
}

fn print_persisted(
    persisted: &Persisted,
    netns: Option<&str>,
    out: &mut dyn Write,
) -> io::Result<()> {
    if let Some(path) = &persisted.path {
        writeln!(out, "persisted in {}", path.display())?;
        if !persisted.is_read_at_boot {
            let why =
                "it has to be in a folder of sysctl.d, named .conf, and the first of its name";
            writeln!(out, "  not read at boot: {why}")?;
        }
    }
    for later in &persisted.overridden_by {
        writeln!(out, "  overridden at boot by {later}")?;
    }
    if persisted.of_namespace.is_empty() {
        return Ok(());
    }
    writeln!(out, "not persisted: {FOR_INITIAL}; as a hook where this")?;
    writeln!(out, "one is made:")?;
    let exec = match netns.unwrap_or("NAME") {
        pid if pid.parse::<u32>().is_ok() => format!("nsenter -t {pid} -n"),
        name => format!("ip netns exec {name}"),
    };
    for (key, value) in &persisted.of_namespace {
        writeln!(out, "  {exec} sysctl -w '{key}={value}'")?;
    }
    Ok(())
}

/// Reads all journals, and tells those that cannot be read.
fn readable(store: &Store, notes: &mut dyn Write) -> Result<History, Failure> {
    let history = store.history()?;
    tell_unreadable(&history.unreadable, notes);
    Ok(history)
}

fn table(
    applications: &[Application],
    unreadable: &[netmem_host::Error],
    out: &mut dyn Write,
) -> io::Result<()> {
    if applications.is_empty() && unreadable.is_empty() {
        return writeln!(out, "nothing was applied");
    }
    let boot_id = Place::here(Root::live()).identity().map(|identity| identity.boot_id);
    writeln!(out, "{:<24} {:<12} {:>7} {:<8} SETTINGS", "ID", "STATE", "WRITTEN", "BOOT")?;
    for application in applications {
        let boot = match &boot_id {
            Ok(boot_id) if application.is_of_boot(boot_id) => "this",
            Ok(_) => "another",
            Err(_) => "?",
        };
        let written = application.reads.iter().flatten().count();
        let written = format!("{written}/{}", application.begin.changes);
        let mut keys: Vec<_> = application.entries.iter().map(|entry| entry.key.as_str()).collect();
        if let Some(persist) = &application.persist {
            keys.extend(persist.path.to_str());
        }
        let state = name(application.state);
        writeln!(
            out,
            "{:<24} {state:<12} {written:>7} {boot:<8} {}",
            application.id,
            keys.join(", ")
        )?;
    }
    for error in unreadable {
        let id = Path::new(error.target()).file_stem().unwrap_or_default().to_string_lossy();
        writeln!(out, "{id:<24} {:<12} {:>7} {:<8} ?", "unreadable", "?", "?")?;
    }
    Ok(())
}

fn name(state: State) -> &'static str {
    match state {
        State::Unfinished => "unfinished",
        State::Unconfirmed => "unconfirmed",
        State::Applied => "applied",
        State::RolledBack => "rolled-back",
        State::Incomplete => "incomplete",
        _ => "?",
    }
}
