//! Whether a program has fixed the buffers of a socket, which ends their autotuning.
//!
//! `SO_RCVBUF` sets `SOCK_RCVBUF_LOCK`, and the kernel never grows or shrinks that buffer again. No
//! listing tells: the descriptor is borrowed from its process (`pidfd_getfd`) for one `getsockopt`. As
//! long as that lasts, about a microsecond, the socket lives even if its process closes it, so this is
//! for few sockets, those that hold most.
//!
//! Kernel: `pidfd_getfd` 5.6, `SO_BUF_LOCK` 5.15 (net/core/sock.c). Needs the right to trace the
//! process, like `CAP_SYS_PTRACE`.

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::getsockopt;
use rustix::fs::fstat;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use serde::Serialize;

use self::option::BufLock;
use crate::source::{Reading, Unavailable};

/// `SOCK_SNDBUF_LOCK` and `SOCK_RCVBUF_LOCK` of include/uapi/linux/socket.h.
const SNDBUF_LOCK: u32 = 1;
const RCVBUF_LOCK: u32 = 2;

/// Which buffers of a socket its program has fixed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct BufferLocks {
    /// The receive buffer does not follow the connection (`SO_RCVBUF` was set).
    pub is_rcvbuf_locked: bool,
    /// The send buffer does not follow the connection (`SO_SNDBUF` was set).
    pub is_sndbuf_locked: bool,
}

/// Asks for the locks of a socket, `inode` in `socket:[N]`, by a descriptor that another process has of it.
///
/// # Errors
/// The process or the descriptor has gone, or is of something else by now (stale); it may not be borrowed
/// (denied), or is no socket (malformed).
pub fn buffer_locks(pid: u32, fd: i32, inode: u32) -> Reading<BufferLocks> {
    let source = || format!("SO_BUF_LOCK of descriptor {fd} of process {pid}");
    let gone = |what: &str| Unavailable::stale(source(), format!("the {what} has gone"));
    let refused = |errno: rustix::io::Errno| match errno {
        rustix::io::Errno::SRCH => gone("process"),
        rustix::io::Errno::BADF => gone("descriptor"),
        errno => Unavailable::by_errno(source(), errno.raw_os_error()),
    };
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| gone("process"))?;
    let process = pidfd_open(number, PidfdFlags::empty()).map_err(refused)?;
    let socket = pidfd_getfd(&process, fd, PidfdGetfdFlags::empty()).map_err(refused)?;
    // The process may have closed it and opened something else.
    if !fstat(&socket).is_ok_and(|about| about.st_ino == u64::from(inode)) {
        return Err(Unavailable::stale(source(), "it is something else by now"));
    }
    let locks = getsockopt(&socket, BufLock).map_err(|errno| match errno {
        Errno::ENOTSOCK => Unavailable::malformed(source(), "it is no socket"),
        errno => Unavailable::by_errno(source(), errno as i32),
    })?;
    Ok(BufferLocks {
        is_rcvbuf_locked: locks & RCVBUF_LOCK != 0,
        is_sndbuf_locked: locks & SNDBUF_LOCK != 0,
    })
}

/// What the macro makes.
mod option {
    use nix::{getsockopt_impl, libc, sockopt_impl};

    sockopt_impl!(
        /// Which buffers are fixed.
        BufLock,
        GetOnly,
        libc::SOL_SOCKET,
        super::SO_BUF_LOCK,
        u32
    );
}

const SO_BUF_LOCK: libc::c_int = libc::SO_BUF_LOCK;
