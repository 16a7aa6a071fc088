//! What undoes an application that nobody confirms, even when nobody is left to ask.
//!
//! ```text
//!   netmem tune apply --confirm-within 60
//!     begins the journal
//!     starts the guard ------------------>  netmem tune __guard: a session of its own, no terminal
//!     waits for its word  <--- ready ------
//!     writes the settings                   reads the journal from time to time
//!     waits for a word                      confirmed, rolled back: ends
//!        (killed, hung up, cut off)         time is up, or SIGTERM: undoes it by the journal
//! ```
//! It is started before the first setting is written, so there is no moment without it. Both may come to
//! undo: the lock lets one in, and the journal tells the other. A host that ends the processes of a session
//! with it (`KillUserProcesses` of logind) ends the guard by SIGTERM, which undoes it at once.

use std::{
    fs::OpenOptions,
    io::{BufRead as _, BufReader, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use netmem_host::{
    source::Root,
    tune::{End, History, Report, Store, rollback_unconfirmed},
};

use super::undo;
use crate::{Failure, Outcome, args::GuardArgs, stop::Stop};

const READY: &str = "ready";
/// How often the journal is read.
const PAUSE: Duration = Duration::from_millis(200);
/// How often undoing is tried where the lock or the journal cannot be had, by a command that somebody waits for,
/// or once the machine goes down; each waits a minute for the lock. Else it is tried until it can be done.
const ATTEMPTS: u32 = 10;
/// How often undoing is tried that leaves something, in all: what a person has changed stays as it is.
const INCOMPLETE_ATTEMPTS: u32 = 3;
/// How long after one attempt the next begins: at first, and at most, when there have been so many.
const ATTEMPT_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// Starts the guard, and waits until it is on its own; it outlasts the value.
pub(super) fn start(state: &Path, id: &str, within_s: u32) -> Result<Child, Failure> {
    let failed = |error: std::io::Error| {
        Failure::refused(format!("start what undoes {id} unless it is confirmed: {error}"))
    };
    let state = std::path::absolute(state).map_err(failed)?;
    // The running program itself, even where its file was replaced.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("netmem").args(["tune", "__guard", id, "--within"]).arg(within_s.to_string());
    command.arg("--state").arg(state).env_clear().current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(failed)?;
    let mut word = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut word).map_err(failed)?;
    }
    if word.trim_end() == READY {
        return Ok(child);
    }
    // It has ended, or is of no use.
    let _ = child.kill().and_then(|()| child.wait());
    Err(failed(std::io::Error::other("it ended before it was ready")))
}

/// `netmem tune __guard`.
///
/// # Errors
/// It cannot leave its session, or could not undo what nobody confirmed.
pub(super) fn run(args: &GuardArgs, out: &mut dyn Write) -> Result<Outcome, Failure> {
    let failed = |what: &str, error: std::io::Error| {
        Failure::refused(format!("guard {}: {what}: {error}", args.id))
    };
    rustix::process::setsid().map_err(|error| failed("leave the session", error.into()))?;
    let stop = Stop::by_signal_alone()?;
    let deadline = Instant::now() + Duration::from_secs(args.within.into());
    writeln!(out, "{READY}").and_then(|()| out.flush()).map_err(Failure::output)?;
    // Whoever reads what the command prints need not wait for the guard to end.
    let null = OpenOptions::new().write(true).open("/dev/null");
    let null = null.map_err(|error| failed("open /dev/null", error))?;
    rustix::stdio::dup2_stdout(&null).map_err(|error| failed("leave the output", error.into()))?;
    let store = Store::at(&args.state.state);
    while Instant::now() < deadline && !stop.is_set() {
        // A journal that cannot be read now may be later, and does not say that it is confirmed.
        if store.application(&args.id).is_ok_and(|application| !application.is_pending()) {
            return Ok(Outcome::Done);
        }
        thread::sleep(PAUSE.min(deadline.saturating_duration_since(Instant::now())));
    }
    let goes_on = || !stop.is_set() && is_there(&store, &args.id);
    match undo(&store, &args.id, &goes_on)? {
        Some(report) if report.end == End::Incomplete => {
            Err(undo::incomplete(&format!("guard {}", args.id), &report.left))
        }
        _ => Ok(Outcome::Done),
    }
}

/// Undoes what nobody confirmed, whatever trouble passes meanwhile; none if there is nothing to do.
///
/// # Errors
/// The trouble does not pass, for as long as `goes_on`, and for some attempts at least.
pub(super) fn undo(
    store: &Store,
    id: &str,
    goes_on: &dyn Fn() -> bool,
) -> Result<Option<Report>, Failure> {
    let [mut pause, longest] = ATTEMPT_PAUSES;
    for attempt in 1_u32.. {
        match rollback_unconfirmed(store, Root::live(), id) {
            Ok(Some(report)) if report.end == End::Incomplete && attempt < INCOMPLETE_ATTEMPTS => {}
            Err(_) if attempt < ATTEMPTS || goes_on() => {}
            Ok(report) => return Ok(report),
            Err(why) => return Err(undo::not_rolled_back(why)),
        }
        thread::sleep(pause);
        if attempt >= ATTEMPTS {
            pause = longest.min(pause * 2);
        }
    }
    Ok(None)
}

/// Is the journal there, or may it be? Where it was removed there is nothing to undo by.
fn is_there(store: &Store, id: &str) -> bool {
    let is_known = |history: History| {
        let is_own =
            |error: &netmem_host::Error| Path::new(error.target()).file_stem() == Some(id.as_ref());
        let mut ids = history.applications.iter().map(|application| &application.id);
        ids.any(|one| one == id) || history.unreadable.iter().any(is_own)
    };
    store.history().map_or(true, is_known)
}
