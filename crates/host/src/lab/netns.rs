//! A network namespace without a name.
//!
//! The kernel keeps a network namespace as long as a file descriptor refers to it, a thread is in
//! it, or a socket was opened in it. This one is held by its owner's file descriptor alone: when
//! the owner dies, by SIGKILL too, the kernel frees the namespace and the virtual links in it.
//!
//! A namespace belongs to a thread, not to a process. New threads and child processes begin in the
//! namespace of the thread that starts them. Three traps:
//! * `/proc/self/net` shows the namespace of the process's first thread, `/proc/thread-self/net`
//!   that of the calling one; `/proc/sys/net` always is the calling thread's.
//! * `/sys/class/net` shows the namespace it was mounted in; ask [`netlink`](crate::netlink).
//! * A socket stays in the namespace it was opened in.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::panic::resume_unwind;
use std::path::Path;
use std::thread::{self, JoinHandle};

use nix::sched::{CloneFlags, setns, unshare};

use crate::error::{Cause, Error, Result};

const THREAD_NS: &str = "/proc/thread-self/ns/net";

/// A network namespace, kept alive by this value.
///
/// # Child processes
/// A process started from [`run`](Self::run), [`spawn`](Self::spawn) or after
/// [`enter`](Self::enter) lives in the namespace, and keeps it alive when this value is gone: wait
/// for it, or let it end with its parent.
#[derive(Debug)]
pub struct NetNs {
    fd: OwnedFd,
    inode: u64,
}

impl NetNs {
    /// Makes a new namespace, in which there is a loopback link that is down, and what the kernel
    /// puts into each (`tunl0`, `sit0`, ... where their modules are loaded).
    ///
    /// The calling thread stays where it is.
    ///
    /// # Errors
    /// The caller lacks `CAP_SYS_ADMIN` (`EPERM`), or there are too many namespaces (`ENOSPC`),
    /// threads (`EAGAIN`) or open files (`EMFILE`).
    pub fn create() -> Result<Self> {
        on_thread("create", || {
            let _way_back = WayBack::new();
            unshare(CloneFlags::CLONE_NEWNET)
                .map_err(|errno| Error::new("create", "network namespace", errno))?;
            Self::current()
        })?
    }

    /// Returns the calling thread's namespace.
    ///
    /// # Errors
    /// There is no `/proc`, or too many files are open (`EMFILE`).
    pub fn current() -> Result<Self> {
        Self::open(Path::new(THREAD_NS))
    }

    /// Opens a namespace that lives, by a path that leads to it: `/proc/PID/ns/net`,
    /// `/proc/PID/fd/N`, or a mount such as `/run/netns/NAME`.
    ///
    /// What else the path leads to is not noticed before a thread is to enter it.
    ///
    /// # Errors
    /// The path leads nowhere (`ENOENT`) or may not be followed (`EACCES`), or too many files are open
    /// (`EMFILE`).
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |error| Error::new("open", path.display().to_string(), error);
        let file = File::open(path).map_err(failed)?;
        let inode = file.metadata().map_err(failed)?.ino();
        Ok(Self { fd: file.into(), inode })
    }

    /// Returns the namespace of a process's first thread.
    ///
    /// # Errors
    /// There is no such process (`ENOENT`), or it may not be looked into (`EACCES`).
    pub fn of_process(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/ns/net");
        let failed = |error| Error::new("open", path.clone(), error);
        let file = File::open(&path).map_err(failed)?;
        let inode = file.metadata().map_err(failed)?.ino();
        Ok(Self { fd: file.into(), inode })
    }

    /// Returns the number that tells living namespaces apart, as in `net:[4026531840]`.
    ///
    /// The kernel gives the number of a namespace that is gone to a later one.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Runs `work` in the namespace, on a fresh thread, and returns its result.
    ///
    /// A panic of `work` is passed on to the caller.
    ///
    /// # Errors
    /// No thread could be started (`EAGAIN`), or the caller lacks `CAP_SYS_ADMIN` (`EPERM`).
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        on_thread("run", || {
            let _way_back = WayBack::new();
            self.enter()?;
            Ok(work())
        })?
    }

    /// Starts a thread called `name` that lives in the namespace and keeps it alive.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>> {
        // A thread begins in the namespace of the one that starts it.
        self.run(|| thread::Builder::new().name(name.to_owned()).spawn(work))?
            .map_err(|error| Error::new("start thread", name, error))
    }

    /// Moves the calling thread into the namespace, for good.
    ///
    /// It is for a thread that has nothing else to do: the way back needs the old namespace
    /// ([`current`](Self::current)) and nothing undoes it by itself.
    ///
    /// # Errors
    /// The caller lacks `CAP_SYS_ADMIN` (`EPERM`).
    pub fn enter(&self) -> Result<()> {
        setns(&self.fd, CloneFlags::CLONE_NEWNET)
            .map_err(|errno| Error::new("enter network namespace", self.inode.to_string(), errno))
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The namespace that a thread came from and goes back to when this is dropped, by a panic too.
///
/// Who joins a thread goes on before the kernel has taken it out of its namespace (`mm_release` and
/// `exit_task_namespaces` in `do_exit`, kernel 6.18): it would still show there, and keep it.
struct WayBack(Option<NetNs>);

impl WayBack {
    fn new() -> Self {
        Self(NetNs::current().ok())
    }
}

impl Drop for WayBack {
    fn drop(&mut self) {
        // Where it is refused the thread leaves with its end, a little later.
        let _ = self.0.as_ref().map(NetNs::enter);
    }
}

/// Runs `work` on a thread of its own, which may change its namespace.
fn on_thread<T: Send>(operation: &'static str, work: impl FnOnce() -> T + Send) -> Result<T> {
    thread::scope(|scope| {
        let worker =
            thread::Builder::new().name("netns".to_owned()).spawn_scoped(scope, work).map_err(
                |error| Error::new(operation, "thread for a network namespace", Cause::from(error)),
            )?;
        Ok(worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}
