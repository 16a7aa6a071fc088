//! The packet path in a process of its own that can do nothing else: [`Worker`] starts it,
//! [`enter`] is its first step, [`confine`] the one before the first packet.
//!
//! ```text
//!  parent (root)                                  worker (same program, re-executed)
//!  opens, binds, attaches; keeps the link
//!  Worker::spawn  ---- exec, one socket ------->  enter: dies with its parent, closes the rest
//!  sends descriptors ---- control socket ------>  takes them, maps them
//!                                                 confine: other user, no capabilities, seccomp
//!  Worker::wait_exit, terminate                   packets
//! ```
//! Who parses what strangers send holds no privilege: should a packet ever take over the worker, it
//! finds bound sockets and memory that are its own anyway, and no way to make others. What the
//! kernel must undo when the program ends (the XDP link) stays with the parent.
//!
//! What [`confine`] leaves, and why no more is done:
//! - **The user** is another one, without supplementary groups; every capability set is empty, the
//!   bounding and the ambient set too. `no_new_privs` is set, so that no program could give any
//!   back.
//! - **The process is not dumpable**: no process of that user can trace it or read its memory, and
//!   its files in `/proc` are root's. `netmem list` finds its sockets all the same when run by
//!   root.
//! - **System calls** pass a filter (`sandbox/filter.rs` has the rule). With no way to open
//!   anything by name there is nothing that `chroot` or an empty mount namespace would hide, and
//!   both would cost a privilege that some containers refuse. Network namespaces matter at `socket`
//!   only, which is gone.
//! - **`RLIMIT_CORE`** is 0 (a core holds packets), **`RLIMIT_NOFILE`** is small. `RLIMIT_NPROC`
//!   counts all threads of the user in the whole machine, others' too: as a limit it would fail the
//!   wrong one, and the filter lets no process be made. `RLIMIT_FSIZE` would kill a worker whose
//!   standard error is a file.
//!
//! Nothing here knows what a worker does. The module keeps D5 in that a worker never outlives its
//! parent, and so holds no ring, socket or region behind its back.
//!
//! Needs kernel 5.3 (pidfds), seccomp filters, and `/proc` in the worker. To change the user it
//! needs `CAP_SETUID`, `CAP_SETGID` and `CAP_SETPCAP`; without them [`Confined`] says what was not
//! done.

mod child;
mod filter;
mod user;
mod worker;

use std::{
    backtrace::Backtrace,
    fmt, fs,
    io::{Read, Write},
    os::fd::AsFd,
};

use rustix::{
    io::Errno,
    process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit},
    thread::{
        CapabilitySet, CapabilitySets, capability_is_in_bounding_set, clear_ambient_capability_set,
        remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups,
        set_thread_res_gid, set_thread_res_uid,
    },
};

pub use self::{
    child::{Entered, enter},
    user::User,
    worker::{Exit, SUBCOMMAND, Worker},
};
use crate::{Failure, Outcome, args::WorkerArgs};

/// Descriptors that a confined worker may hold, `RLIMIT_NOFILE`.
pub const MAX_OPEN_FILES: u64 = 256;

/// What [`confine`] could not do for want of a privilege; the rest is done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confined {
    /// One sentence each: what stays as it was, and which capability is missing.
    pub lacks: Vec<String>,
}

impl fmt::Display for Confined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.lacks[..] {
            [] => f.write_str("confined"),
            lacks => write!(f, "confined, but {}", lacks.join("; ")),
        }
    }
}

/// Gives up everything but what the process holds already. There is no way back.
///
/// It becomes `user`, or stays who it is with `None`. Descriptors can be sent and received on the
/// control socket only, at the number that it has now.
///
/// Called once by the worker, in its only thread and after it has everything: files, mappings,
/// socket options. Threads that it makes later are confined as well.
///
/// # Errors
/// When there are other threads, the parent died meanwhile, or the kernel refused a step for
/// another reason than a missing privilege. The process may be confined in part then, and should
/// end.
pub fn confine(entered: &Entered, user: Option<User>) -> Result<Confined, Failure> {
    assert_single_thread()?;
    // Read the program's symbols while files can be opened, so that a panic's backtrace has names.
    // Does nothing unless RUST_BACKTRACE asks for backtraces, and then takes a part of a second, or
    // more in a debug build.
    let _ = Backtrace::capture().to_string();
    let mut confined = Confined::default();
    // The bounding set first: it takes CAP_SETPCAP, which goes with the user.
    confined.note(empty_bounding_set(), "the bounding set stays", "CAP_SETPCAP")?;
    step("clear the ambient capabilities", clear_ambient_capability_set())?;
    if let Some(user) = user {
        become_user(user, &mut confined)?;
    }
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    step("drop all capabilities", set_capabilities(None, sets))?;
    step("make the process undumpable", set_dumpable_behavior(DumpableBehavior::NotDumpable))?;
    // A change of credentials clears it (kernel/cred.c, commit_creds).
    entered.die_with_parent()?;
    for (resource, name, limit) in
        [(Resource::Core, "RLIMIT_CORE", 0), (Resource::Nofile, "RLIMIT_NOFILE", MAX_OPEN_FILES)]
    {
        // A lower one stays: raising takes a privilege.
        let limit = getrlimit(resource).maximum.map_or(limit, |maximum| maximum.min(limit));
        let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
        step(&format!("lower {name}"), setrlimit(resource, limit))?;
    }
    step("set no_new_privs", set_no_new_privs(true))?;
    filter::install(entered.control.as_fd())?;
    Ok(confined)
}

/// `netmem __worker`: confines itself, and lasts until its parent closes the control socket.
///
/// # Errors
/// As [`enter`] and [`confine`]; or the control socket fails.
pub fn run(args: &WorkerArgs, notes: &mut dyn Write) -> Result<Outcome, Failure> {
    let mut entered = enter(args.parent)?;
    let confined = confine(&entered, args.user)?;
    let failed = |error| Failure::refused(format!("speak with the parent: {error}"));
    if !confined.lacks.is_empty() {
        writeln!(notes, "{confined}").map_err(failed)?;
    }
    let mut ignored = [0; 64];
    while entered.control.read(&mut ignored).map_err(failed)? > 0 {}
    Ok(Outcome::Done)
}

impl Confined {
    /// A refusal for want of `capability` is noted, any other is a failure.
    fn note(
        &mut self,
        result: Result<(), Errno>,
        what_stays: &str,
        capability: &str,
    ) -> Result<(), Failure> {
        match result {
            Err(Errno::PERM) => {
                self.lacks.push(format!("{what_stays} (needs {capability})"));
                Ok(())
            }
            other => step(&format!("confine ({what_stays})"), other),
        }
    }
}

/// Credentials are per thread in the kernel; another thread would keep all.
fn assert_single_thread() -> Result<(), Failure> {
    let failed = |error| Failure::refused(format!("read /proc/self/task: {error}"));
    let threads = fs::read_dir("/proc/self/task").map_err(failed)?.count();
    if threads == 1 {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "confine a process with {threads} threads: only the caller would be"
    )))
}

/// Empties the capability bounding set; the kernel answers EINVAL behind the last one it knows.
fn empty_bounding_set() -> Result<(), Errno> {
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        match capability_is_in_bounding_set(capability) {
            Ok(true) => remove_capability_from_bounding_set(capability)?,
            Ok(false) => {}
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Groups, group, user: in this order, as the last takes the privilege for the others.
fn become_user(user: User, confined: &mut Confined) -> Result<(), Failure> {
    let refused = |error| Failure::refused(format!("read the process's groups: {error}"));
    if !nix::unistd::getgroups().map_err(refused)?.is_empty() {
        confined.note(set_thread_groups(&[]), "supplementary groups stay", "CAP_SETGID")?;
    }
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let target = rustix::process::Gid::from_raw(user.gid);
    let stays = format!("the group stays {gid}");
    confined.note(set_thread_res_gid(target, target, target), &stays, "CAP_SETGID")?;
    let target = rustix::process::Uid::from_raw(user.uid);
    let stays = format!("the user stays {uid}");
    confined.note(set_thread_res_uid(target, target, target), &stays, "CAP_SETUID")
}

fn step(operation: &str, result: Result<(), Errno>) -> Result<(), Failure> {
    result.map_err(|error| Failure::refused(format!("{operation}: {error}")))
}
