//! The worker's first steps, before it takes anything from its parent.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
        unix::net::UnixStream,
    },
};

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use crate::Failure;

/// A process that its parent has started as a worker.
#[derive(Debug)]
pub struct Entered {
    /// The parent's process id.
    parent: Pid,
    /// The socket to the parent; reads end when the parent is gone.
    pub control: UnixStream,
}

/// Makes this process a worker of `parent`: it is killed when the parent ends, and holds the
/// control socket and standard error, nothing else. Called before anything is opened and any thread
/// made.
///
/// The socket comes as standard input, which safe code can hand over and take; it moves to another
/// number, and standard input becomes `/dev/null`. Descriptors that the parent inherited itself,
/// from a shell or a service manager, are closed.
///
/// # Errors
/// When `parent` is not the parent, as after its death; standard input is no socket; or `/proc`
/// is not there.
pub fn enter(parent: u32) -> Result<Entered, Failure> {
    let failed = |error: io::Error| Failure::refused(format!("start as a worker: {error}"));
    let parent = i32::try_from(parent).ok().and_then(Pid::from_raw);
    let parent =
        parent.ok_or_else(|| Failure::usage("start as a worker: parent is no process id"))?;
    let control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().map_err(failed)?);
    if control.peer_addr().is_err() {
        return Err(Failure::usage("start as a worker: standard input is no socket")
            .with_hint("netmem starts its workers itself"));
    }
    let entered = Entered { parent, control };
    entered.die_with_parent()?;
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").map_err(failed)?;
    rustix::stdio::dup2_stdin(&null).map_err(|error| failed(error.into()))?;
    rustix::stdio::dup2_stdout(&null).map_err(|error| failed(error.into()))?;
    drop::<File>(null);
    close_others(entered.control.as_fd()).map_err(failed)?;
    // Executed by /proc/self/exe it would be called "exe".
    rustix::thread::set_name(c"netmem-worker").map_err(|error| failed(error.into()))?;
    Ok(entered)
}

impl Entered {
    /// Asks for SIGKILL when the parent's thread that made this process ends, and looks whether it
    /// has ended before. The kernel forgets the request when the user changes.
    pub(super) fn die_with_parent(&self) -> Result<(), Failure> {
        set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(|error| Failure::refused(format!("ask to die with the parent: {error}")))?;
        if getppid() == Some(self.parent) {
            return Ok(());
        }
        let parent = self.parent.as_raw_nonzero();
        Err(Failure::refused(format!("start as a worker: process {parent} is not the parent")))
    }
}

/// Closes every descriptor but the first three and `kept`.
fn close_others(kept: BorrowedFd<'_>) -> io::Result<()> {
    let is_other = |fd: &RawFd| *fd > 2 && *fd != kept.as_raw_fd();
    // Among them is the directory's own descriptor, which is closed by now: EBADF is no matter.
    for fd in descriptors()?.into_iter().filter(is_other) {
        let _ = nix::unistd::close(fd);
    }
    for fd in descriptors()?.into_iter().filter(is_other) {
        if fs::read_link(format!("/proc/self/fd/{fd}")).is_ok() {
            return Err(io::Error::other(format!("descriptor {fd} cannot be closed")));
        }
    }
    Ok(())
}

fn descriptors() -> io::Result<Vec<RawFd>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        found.extend(entry?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()));
    }
    Ok(found)
}
