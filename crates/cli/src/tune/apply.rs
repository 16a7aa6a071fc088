//! `netmem tune apply`: a plan carried out, with a journal, and if asked for until somebody confirms it.
//!
//! All of the plan is written or nothing; the engine is `netmem_host::tune`. A signal while it is being
//! written, or while it waits to be confirmed, undoes it.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read, Write},
    os::fd::AsFd,
    path::{self, Path},
    process::Child,
    thread,
    time::{Duration, Instant},
};

use netmem_host::{
    source::{Root, SourceState, Unavailable},
    tune::{
        self, Applying, Caution, Change, End, NotApplied, Place, Plan, Rehearsal, Report, State,
        Store, Terms,
    },
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::termios::{FlushArg, tcflush},
    unistd::{getpgrp, tcgetpgrp},
};

use super::{guard, undo};
use crate::{
    Failure, Outcome,
    args::{ApplyArgs, TunePlanArgs},
    stop::Stop,
};

/// No plan comes near it.
const LARGEST_PLAN_BYTES: u64 = 16 << 20;
/// The word that confirms.
const KEEP: &str = "keep";
/// How long a signal, or a confirmation, may wait to be seen.
const PATIENCE: Duration = Duration::from_millis(100);
/// What the guard gets beyond its time, before this command does its work.
const GRACE: Duration = Duration::from_secs(2);

/// Runs the command.
///
/// # Errors
/// The plan is refused and nothing was written, or it was undone, or not all could be undone.
pub(super) fn run(
    args: &ApplyArgs,
    out: &mut dyn Write,
    notes: &mut dyn Write,
) -> Result<Outcome, Failure> {
    let place = place(args)?;
    let (plan, stop) = match &args.plan {
        None => {
            let stop = Stop::by_signal_alone()?;
            (made_here(args, &stop)?, stop)
        }
        // A signal ends the process while it reads, which may be from a terminal or a pipe.
        Some(path) => (read(path)?, Stop::by_signal_alone()?),
    };
    let terms = terms(args);
    let store = Store::at(&args.state.state);
    if plan.changes.is_empty() {
        tune::check(&plan, &place, terms.caution).map_err(not_applied)?;
        let told = writeln!(out, "nothing to change").and_then(|()| out.flush());
        return told.map_err(Failure::output).map(|()| Outcome::Done);
    }
    if args.dry_run {
        let rehearsal = tune::rehearse(&store, &place, &plan, &terms).map_err(not_applied)?;
        undo::tell_unreadable(&rehearsal.unreadable, notes);
        would_write(&plan, &terms, &rehearsal, out).map_err(Failure::output)?;
        return Ok(Outcome::Done);
    }
    let applying = Applying::begin(&store, place, &plan, &terms).map_err(not_applied)?;
    undo::tell_unreadable(applying.unreadable(), notes);
    let id = applying.id().to_owned();
    let start =
        |within_s| Ok::<_, Failure>((within_s, guard::start(&args.state.state, &id, within_s)?));
    let guard = match args.confirm_within.map(start).transpose() {
        Ok(guard) => guard,
        Err(failure) => return Err(undone(&applying.abandon(&failure.to_string()))),
    };
    let begun = Instant::now();
    let report = applying.write(&|| stop.is_set());
    if report.end != End::Applied {
        return Err(undone(&report));
    }
    // Nobody may be reading; what was applied waits for its confirmation all the same.
    let _ = written(&plan, &id, out);
    if let Some((within_s, guard)) = guard {
        forget_typed();
        let _ = writeln!(
            notes,
            "undone in {within_s} s unless confirmed: type {KEEP} and Enter, or netmem tune confirm {id}"
        );
        let deadline = begun + Duration::from_secs(within_s.into());
        wait(&store, &id, deadline, (&stop, guard), notes)?;
        let _ = writeln!(out, "confirmed {id}");
    }
    if args.persist {
        undo::persist(&store, &id, args.netns.as_deref(), out)?;
    }
    out.flush().map_err(Failure::output)?;
    Ok(Outcome::Done)
}

fn place(args: &ApplyArgs) -> Result<Place, Failure> {
    match &args.netns {
        None => Ok(Place::here(Root::live())),
        Some(name) => Place::named(Root::live(), name).map_err(|why| no_namespace(&why)),
    }
}

fn terms(args: &ApplyArgs) -> Terms {
    let file = || path::absolute(&args.persist_to).unwrap_or_else(|_| args.persist_to.clone());
    Terms {
        caution: if args.i_know { Caution::IKnow } else { Caution::Refuse },
        confirm_within_s: args.confirm_within,
        persist_to: args.persist.then(file),
    }
}

/// The plan for the machine as it is, where none was given. A look that was cut short is none to write by.
fn made_here(args: &ApplyArgs, stop: &Stop) -> Result<Plan, Failure> {
    let args = TunePlanArgs { netns: args.netns.clone(), ..TunePlanArgs::default() };
    let planned = super::plan::make(&args, stop)?;
    if stop.is_set() {
        return Err(Failure::refused("apply: stopped by a signal; nothing was written"));
    }
    Ok(planned.plan)
}

fn read(path: &Path) -> Result<Plan, Failure> {
    let name = || path.display().to_string();
    let read = |from: &mut dyn Read| {
        let mut bytes = Vec::new();
        from.take(LARGEST_PLAN_BYTES).read_to_end(&mut bytes).map(|_| bytes)
    };
    let bytes = match path.as_os_str() == "-" {
        true => read(&mut io::stdin().lock()),
        false => File::open(path).and_then(|mut file| read(&mut file)),
    };
    let bytes = bytes.map_err(|error| {
        let why = Unavailable::by_io(name(), &error);
        let message = format!("read plan {}: {}", why.source, why.reason);
        match why.state {
            SourceState::Denied => Failure::missing(message),
            _ => Failure::usage(message),
        }
    })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::usage(format!("read plan {}: {error}", name())))
}

fn no_namespace(why: &Unavailable) -> Failure {
    match why.state {
        SourceState::Denied => Failure::missing(why.to_string())
            .with_hint("other network namespaces need CAP_SYS_ADMIN and CAP_SYS_PTRACE"),
        _ => Failure::refused(why.to_string())
            .with_hint("names are those of ip netns, numbers those of processes"),
    }
}

fn not_applied(why: NotApplied) -> Failure {
    let message = why.to_string();
    match why {
        NotApplied::Malformed(_) => Failure::usage(message),
        NotApplied::Stale(_) => Failure::refused(message)
            .with_hint("nothing was written; make the plan anew, where it is to be applied"),
        NotApplied::Refused(_) => Failure::refused(message)
            .with_hint("nothing was written; --i-know writes such values all the same"),
        NotApplied::Unwritable(all) if all.iter().any(|one| one.state == SourceState::Denied) => {
            Failure::missing(message)
                .with_hint("settings take root, or CAP_NET_ADMIN for those of a namespace")
        }
        NotApplied::Pending { id, state } => Failure::refused(message).with_hint(match state {
            State::Unconfirmed => format!("netmem tune confirm {id}, or netmem tune rollback {id}"),
            _ => format!("netmem tune rollback {id}"),
        }),
        NotApplied::Failed(error) => error.into(),
        _ => Failure::refused(message).with_hint("nothing was written"),
    }
}

/// An application that came to nothing.
fn undone(report: &Report) -> Failure {
    let why = report.why.as_deref().unwrap_or("it was undone");
    if report.end == End::RolledBack {
        return Failure::refused(format!("apply {}: {why}; all is as it was before", report.id));
    }
    undo::incomplete(&format!("apply {}: {why}", report.id), &report.left)
}

fn would_write(
    plan: &Plan,
    terms: &Terms,
    rehearsal: &Rehearsal,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "would write, in this order:")?;
    changes(&plan.changes, out)?;
    match &rehearsal.persist_to {
        Some(path) => writeln!(out, "would persist them in {}", path.display())?,
        None if terms.persist_to.is_some() => {
            writeln!(out, "would persist nothing: {}", undo::FOR_INITIAL)?;
        }
        None => {}
    }
    writeln!(out, "nothing was changed")?;
    out.flush()
}

fn written(plan: &Plan, id: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "applied {id}:")?;
    changes(&plan.changes, out)?;
    writeln!(out, "undo: netmem tune rollback {id}")?;
    out.flush()
}

fn changes(changes: &[Change], out: &mut dyn Write) -> io::Result<()> {
    for change in changes {
        let current = change.current.replace('\t', " ");
        writeln!(out, "  {}: {current} -> {} ({})", change.key, change.proposed, change.rule)?;
    }
    Ok(())
}

/// Forgets what was typed before the question: it is no answer to it.
fn forget_typed() {
    if is_ours() {
        let _ = tcflush(io::stdin(), FlushArg::TCIFLUSH);
    }
}

/// Is the terminal this process's? In the background it is not, and reading or asking it would stop the process
/// (SIGTTIN, SIGTTOU).
fn is_ours() -> bool {
    tcgetpgrp(io::stdin()) == Ok(getpgrp())
}

/// Waits until somebody confirms it; else it is undone. What is undone in part is told when the guard has given
/// up, which tries more than once.
fn wait(
    store: &Store,
    id: &str,
    deadline: Instant,
    (stop, mut guard): (&Stop, Child),
    notes: &mut dyn Write,
) -> Result<(), Failure> {
    let mut terminal = io::stdin().is_terminal();
    loop {
        let guards = matches!(guard.try_wait(), Ok(None));
        let application = store.application(id)?;
        match application.state {
            State::Unconfirmed => {}
            State::Applied => return Ok(()),
            State::Incomplete if guards && !stop.is_set() => {
                thread::sleep(PATIENCE);
                continue;
            }
            State::Incomplete => {
                return Err(undo::incomplete(&format!("apply {id}"), &application.undone));
            }
            _ => {
                let message = format!("apply {id}: nobody confirmed it; all is as it was before");
                return Err(Failure::refused(message));
            }
        }
        if stop.is_set() || Instant::now() > deadline + GRACE {
            // The guard may have been first: then the journal says how it ended.
            if let Some(report) = guard::undo(store, id, &|| false)? {
                return Err(undone(&report));
            }
            continue;
        }
        match terminal.then(line).transpose() {
            Ok(None) => thread::sleep(PATIENCE),
            Ok(Some(Answer::None)) => {}
            Ok(Some(Answer::Keep)) => {
                // Too late if the guard was first: the journal says so.
                if let Err(error) = tune::confirm(store, &Root::live(), Some(id)) {
                    let _ = writeln!(notes, "not confirmed: {error}");
                }
            }
            // Who tries whether the connection lives presses Enter.
            Ok(Some(Answer::Other)) => {
                let _ = writeln!(notes, "not confirmed: {KEEP} and Enter would do it");
            }
            Ok(Some(Answer::End)) | Err(_) => terminal = false,
        }
    }
}

/// What came from the terminal.
enum Answer {
    None,
    Keep,
    Other,
    End,
}

fn line() -> io::Result<Answer> {
    if !is_ours() {
        // It may be brought back to the foreground.
        thread::sleep(PATIENCE);
        return Ok(Answer::None);
    }
    let stdin = io::stdin();
    let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::ZERO);
    let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, patience) {
        Ok(0) | Err(nix::errno::Errno::EINTR) => return Ok(Answer::None),
        result => result?,
    };
    let mut text = String::new();
    Ok(match io::stdin().read_line(&mut text)? {
        0 => Answer::End,
        _ if text.trim() == KEEP => Answer::Keep,
        _ => Answer::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_their_exit_codes() {
        let denied =
            Unavailable::denied("/proc/sys/net/core/rmem_max", "permission denied (EACCES)");
        let read_only =
            Unavailable::absent("/proc/sys/net/core/rmem_max", "it is to read only here");
        let stale = NotApplied::Stale(vec!["the boot was \"a\", and is \"b\"".to_owned()]);
        for (why, outcome) in [
            (NotApplied::Malformed("x".to_owned()), Outcome::Usage),
            (stale, Outcome::Refused),
            (NotApplied::Unwritable(vec![read_only.clone(), denied]), Outcome::Missing),
            (NotApplied::Unwritable(vec![read_only]), Outcome::Refused),
            (NotApplied::Refused(Vec::new()), Outcome::Refused),
        ] {
            assert_eq!(not_applied(why.clone()).outcome(), outcome, "{why:?}");
        }
    }
}
