//! The parent's side: starting a worker, seeing how it ends, ending it.

use std::{
    ffi::OsStr,
    fmt, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            net::UnixStream,
            process::{CommandExt, ExitStatusExt},
        },
    },
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::Signal,
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::Failure;

/// The hidden subcommand that a worker is started with.
pub const SUBCOMMAND: &str = "__worker";

/// A running worker process; killed and reaped when dropped.
///
/// The kernel kills the worker when the *thread* that started it ends: start it from one that
/// stays, such as the main thread. For that, and for [`terminate`](Self::terminate), the parent
/// needs `CAP_KILL` once the worker is another user.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    /// Becomes readable when the process has ended.
    pidfd: OwnedFd,
    /// The parent's end of the control socket. Shut down by [`terminate`](Self::terminate).
    pub control: UnixStream,
}

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with that exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// By the filter: it tried a system call that no worker makes (SIGSYS).
    Forbidden,
}

impl Worker {
    /// Starts this same program again as a worker.
    ///
    /// It is called with [`SUBCOMMAND`], `--parent` with our process id, and `arguments`; it has
    /// the socket as standard input and our standard error; no environment but `RUST_BACKTRACE`;
    /// its own process group, so that Ctrl-C reaches the parent alone.
    ///
    /// # Errors
    /// When the kernel refuses the process, the socket or the pidfd.
    pub fn spawn<I, S>(arguments: I) -> Result<Self, Failure>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        // The running program itself, even where its file was replaced or is out of reach.
        Self::spawn_program("/proc/self/exe", arguments)
    }

    /// As [`spawn`](Self::spawn), with another program.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn spawn_program<I, S>(program: impl AsRef<OsStr>, arguments: I) -> Result<Self, Failure>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let failed = |error: io::Error| Failure::refused(format!("start a worker: {error}"));
        let (control, theirs) = UnixStream::pair().map_err(failed)?;
        let mut command = Command::new(program);
        command.arg0("netmem").arg(SUBCOMMAND).arg("--parent").arg(std::process::id().to_string());
        command.args(arguments).env_clear().current_dir("/").process_group(0);
        if let Some(value) = std::env::var_os("RUST_BACKTRACE") {
            command.env("RUST_BACKTRACE", value);
        }
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
        let mut child = command.spawn().map_err(failed)?;
        // The command holds the worker's end: with it open here, nobody would see the worker go.
        drop(command);
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        match pid.map_or(Err(rustix::io::Errno::SRCH), |pid| pidfd_open(pid, PidfdFlags::empty())) {
            Ok(pidfd) => Ok(Self { child, pidfd, control }),
            Err(error) => {
                // Not waited for it would be a zombie; the first error is the one to tell.
                let _ = child.kill().and_then(|()| child.wait());
                Err(Failure::refused(format!("open a pidfd of the worker: {error}")))
            }
        }
    }

    /// The worker's process id, valid until its end was seen.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When somebody else reaped the process.
    pub fn poll_exit(&mut self) -> Result<Option<Exit>, Failure> {
        let failed = |error| Failure::refused(format!("wait for the worker: {error}"));
        Ok(self.child.try_wait().map_err(failed)?.map(Exit::from))
    }

    /// Waits for its end, at most `timeout`; how it ended, if it has. A signal does not end the
    /// wait.
    ///
    /// # Errors
    /// As [`poll_exit`](Self::poll_exit).
    pub fn wait_exit(&mut self, timeout: Duration) -> Result<Option<Exit>, Failure> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(exit) = self.poll_exit()? {
                return Ok(Some(exit));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            // Rounded up, or the last millisecond would be a busy loop.
            let left = left + Duration::from_millis(1);
            let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)], left) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => {
                    return Err(Failure::refused(format!("wait for the worker: {error}")));
                }
            }
        }
    }

    /// Ends the worker and reaps it: the control socket ends, which a worker takes as the request
    /// to stop; SIGKILL after `grace`.
    ///
    /// # Errors
    /// When the kernel does not let us signal it, or somebody else reaped the process.
    pub fn terminate(mut self, grace: Duration) -> Result<Exit, Failure> {
        // It may have gone or closed its end already; how it ended says so.
        let _ = self.control.shutdown(std::net::Shutdown::Both);
        if let Some(exit) = self.wait_exit(grace)? {
            return Ok(exit);
        }
        let failed = |error| Failure::refused(format!("end the worker: {error}"));
        self.child.kill().map_err(failed)?;
        self.child.wait().map(Exit::from).map_err(failed)
    }
}

impl AsFd for Worker {
    /// The pidfd, for event loops: readable when the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Without effect on a process whose end was seen. Where it may not be killed, waiting could
        // last for ever.
        if self.child.kill().is_ok() {
            let _ = self.child.wait();
        }
    }
}

impl Exit {
    /// Whether it ended as a worker does that has nothing more to do.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, Some(libc::SIGSYS)) => Self::Forbidden,
            (None, signal) => Self::Signal(signal.unwrap_or_default()),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "the worker ended with code {code}"),
            Self::Signal(signal) => {
                write!(f, "the worker was killed by signal {signal}")?;
                match Signal::try_from(*signal) {
                    Ok(name) => write!(f, " ({name})"),
                    Err(_) => Ok(()),
                }
            }
            Self::Forbidden => f.write_str(
                "the worker was stopped by seccomp: it tried a forbidden system call (SIGSYS)",
            ),
        }
    }
}
