//! The system-call side of a port: a real AF_XDP socket, or the fake that plays the kernel in tests.

use std::{
    cell::Cell,
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use super::{PortReport, Statistics};
use crate::{
    Error, Result,
    sys::{socket, xsk},
};

/// How long the close of a socket may take to free its queue: it is asynchronous in the kernel, a few
/// milliseconds, and more than half a second on processors that are busy with other work.
const QUEUE_FREE_WITHIN: Duration = Duration::from_secs(2);

/// What woke up, or refuses to.
#[derive(Debug)]
pub(crate) enum Wake {
    /// The kernel has looked at the ring.
    Done,
    /// The kernel sent a part and wants to be called again.
    Again,
    /// Not now: no memory, link down. Nothing is lost; the next call tries again.
    Later,
    /// The socket is not usable any more.
    Failed(io::Error),
}

/// Who is on the other side of the rings.
#[derive(Debug)]
pub(crate) enum Kernel {
    Socket(Socket),
    #[cfg(any(test, feature = "test-util"))]
    Fake(crate::fake::Calls),
    Closed,
}

/// A bound AF_XDP socket.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) fd: OwnedFd,
    pub(crate) ifindex: u32,
    pub(crate) queue: u32,
    /// The network namespace that the interface is in.
    pub(crate) namespace: Option<PathBuf>,
    /// Whether the kernel could ever have used the rings.
    pub(crate) is_bound: bool,
    /// Whether another descriptor of the same socket stays open when this is closed.
    has_twin: bool,
    pacer: Option<Pacer>,
}

/// When to poll the driver again.
#[derive(Debug)]
struct Pacer {
    every: Duration,
    next: Cell<Option<Instant>>,
}

impl Socket {
    /// A socket that is not bound yet, for the queue that `report` names in this namespace.
    pub(crate) fn new(fd: OwnedFd, report: &PortReport) -> Self {
        let PortReport { ifindex, queue, .. } = *report;
        let pacer = report.busy_poll.map(|poll| Pacer { every: poll.every, next: Cell::new(None) });
        let namespace = current_namespace();
        Self { fd, ifindex, queue, namespace, is_bound: false, has_twin: false, pacer }
    }

    /// A bound socket that the process which made it has a descriptor of, too.
    pub(crate) fn of_other_process(fd: OwnedFd, report: &PortReport) -> Self {
        let (is_bound, has_twin) = (true, true);
        Self { namespace: None, is_bound, has_twin, ..Self::new(fd, report) }
    }

    /// A second descriptor of the socket, for who closes it last and sees the queue free.
    pub(crate) fn share(&mut self) -> Result<Self> {
        let fd = self.fd.try_clone();
        let fd = fd.map_err(|error| Error::os("copy", "AF_XDP socket", error))?;
        self.has_twin = true;
        let Self { ifindex, queue, is_bound, .. } = *self;
        let namespace = self.namespace.clone();
        Ok(Self { fd, ifindex, queue, namespace, is_bound, has_twin: false, pacer: None })
    }
}

impl Kernel {
    /// Whether the driver is to be polled now, because it does not interrupt. Reads the clock.
    pub(crate) fn is_poll_due(&self) -> bool {
        let Self::Socket(Socket { pacer: Some(pacer), .. }) = self else { return false };
        let now = Instant::now();
        let is_due = pacer.next.get().is_none_or(|next| now >= next);
        if is_due {
            pacer.next.set(Some(now + pacer.every));
        }
        is_due
    }

    pub(crate) fn kick_tx(&self) -> Wake {
        let result = match self {
            Self::Socket(socket) => xsk::kick_tx(socket.fd.as_fd()),
            #[cfg(any(test, feature = "test-util"))]
            Self::Fake(calls) => calls.kick_tx(),
            Self::Closed => Ok(()),
        };
        let Err(error) = result else { return Wake::Done };
        // xsk_generic_xmit, net/xdp/xsk.c, kernel 6.18.
        match error.raw_os_error() {
            // EBUSY: one packet was dropped behind us and completed, and the rest was left.
            Some(libc::EAGAIN | libc::EINTR | libc::EBUSY) => Wake::Again,
            Some(libc::ENOBUFS | libc::ENOMEM | libc::ENETDOWN) => Wake::Later,
            _ => Wake::Failed(error),
        }
    }

    /// Wakes the kernel for the fill ring. Its errors say that it is busy, or show up in `wait` too.
    pub(crate) fn kick_rx(&self) {
        match self {
            Self::Socket(socket) => {
                let _ = xsk::kick_rx(socket.fd.as_fd());
            }
            #[cfg(any(test, feature = "test-util"))]
            Self::Fake(calls) => calls.kick_rx(),
            Self::Closed => {}
        }
    }

    /// Wakes the driver by poll(2), for what sendto(2) has left in the tx ring. Its errors show up in
    /// `wait` too.
    pub(crate) fn wake_by_poll(&self) {
        match self {
            Self::Socket(socket) => {
                let _ = socket::wait_readable(socket.fd.as_fd(), Duration::ZERO);
            }
            #[cfg(any(test, feature = "test-util"))]
            Self::Fake(calls) => drop(calls.wait()),
            Self::Closed => {}
        }
    }

    /// Waits for packets. A pending error of the socket is an error here.
    pub(crate) fn wait(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Self::Socket(socket) => {
                let events = socket::wait_readable(socket.fd.as_fd(), timeout)?;
                // xsk_poll says nothing of an unbound socket: its error is pending (xsk_notifier,
                // net/xdp/xsk.c, kernel 6.18).
                if events == 0 { socket::pending_error(socket.fd.as_fd()) } else { Ok(()) }
            }
            #[cfg(any(test, feature = "test-util"))]
            Self::Fake(calls) => calls.wait(),
            Self::Closed => Ok(()),
        }
    }

    pub(crate) fn statistics(&self) -> io::Result<Statistics> {
        match self {
            Self::Socket(socket) => xsk::statistics(socket.fd.as_fd()),
            #[cfg(any(test, feature = "test-util"))]
            Self::Fake(_) => Ok(Statistics::default()),
            Self::Closed => Err(io::Error::from_raw_os_error(libc::EBADF)),
        }
    }

    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Socket(socket) => Some(socket.fd.as_fd()),
            _ => None,
        }
    }

    /// Closes the socket, whose rings the caller has unmapped. `look` asks to wait until the queue is
    /// seen free: only then will the kernel not write to the slots that it had (D5).
    pub(crate) fn close_and_see_free(&mut self, look: bool) -> bool {
        match std::mem::replace(self, Self::Closed) {
            Self::Socket(Socket { fd, ifindex, queue, namespace, is_bound, has_twin, .. }) => {
                drop(fd);
                let look = look && !has_twin;
                // Another namespace's interface of that index would tell nothing of ours.
                let is_here = namespace.is_some() && namespace == current_namespace();
                !is_bound || look && is_here && queue_is_free(ifindex, queue)
            }
            #[cfg(any(test, feature = "test-util"))]
            Self::Fake(calls) => {
                calls.close();
                look
            }
            Self::Closed => true,
        }
    }
}

/// The calling thread's network namespace, as the kernel names it.
pub(crate) fn current_namespace() -> Option<PathBuf> {
    fs::read_link("/proc/thread-self/ns/net").ok()
}

/// Whether the queue has no AF_XDP socket any more, seen by binding one to it for a moment.
fn queue_is_free(ifindex: u32, queue: u32) -> bool {
    let deadline = Instant::now() + QUEUE_FREE_WITHIN;
    loop {
        match super::umem::probe_bind(ifindex, queue) {
            Ok(()) => return true,
            // The interface is gone, and with it everything that was bound to its queues
            // (xsk_notifier, net/xdp/xsk.c, kernel 6.18).
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return true,
            // ENOBUFS: the pages of the closed socket still count against RLIMIT_MEMLOCK.
            Err(error) if !matches!(error.raw_os_error(), Some(libc::EBUSY | libc::ENOBUFS)) => {
                return false;
            }
            Err(_) if Instant::now() >= deadline => return false,
            Err(_) => thread::sleep(Duration::from_millis(2)),
        }
    }
}
