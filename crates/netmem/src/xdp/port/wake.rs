//! Waking the kernel (D4). A need_wakeup flag says that a driver rests, and may be set at any time: also
//! after it was found clear, with entries in the ring that the driver has not taken. So the port looks
//! again, in every batch and flush, while something is queued in the tx ring.
//!
//! The fill ring's flag is set by a driver that has no slots to receive into. It delivers what it has
//! and then nothing, so the batch that finds nothing looks at that flag, and the others need not.
//!
//! With busy polling in zero-copy mode sendto(2) polls the queue's NAPI instead of waking the driver
//! (`xsk_no_wakeup` in net/xdp/xsk.c, kernel 6.18). A driver whose NAPI for receiving does not send, as
//! virtio_net's, would never send then; poll(2) wakes it all the same (`xsk_poll`).

use std::{io, time::Duration};

use super::Port;
use crate::{Error, Result, device::Device, xdp::socket::Wake};

impl Port {
    /// Wakes the kernel for the tx ring where it has to be (D4), reaping between its turns.
    pub(super) fn kick(&mut self) {
        if !self.unkicked {
            return;
        }
        if !self.rings.tx.needs_wakeup() && self.report.need_wakeup {
            // A driver that has not taken everything may rest and say so a moment later: asked again.
            self.unkicked = self.rings.tx.queued() > 0;
            return;
        }
        // In copy mode one call sends a budget of descriptors and answers EAGAIN when more are left.
        for _ in 0..64 {
            match self.kernel.kick_tx() {
                Wake::Done => {
                    self.unkicked = false;
                    if self.report.busy_poll.is_some() && self.rings.tx.queued() > 0 {
                        self.kernel.wake_by_poll();
                    }
                    return;
                }
                Wake::Again => self.reap(),
                Wake::Later => return,
                Wake::Failed(error) => {
                    self.fail(Operation::Send, error);
                    return;
                }
            }
        }
    }

    /// Wakes the kernel where it rests with something to do (D4). A batch that finds nothing looks too:
    /// a driver without slots to receive into delivers nothing until it is woken for the fill ring.
    #[inline(never)]
    pub(super) fn wake(&mut self) {
        self.kick();
        if self.rings.fill.needs_wakeup() || self.kernel.is_poll_due() {
            self.kernel.kick_rx();
        }
    }

    /// Does what has to be done before the thread waits for this port in some other way than
    /// [`Device::wait`], such as with poll(2) for several ports; `true` when there are packets, and
    /// nothing to wait for.
    ///
    /// # Errors
    /// When the interface is gone or the socket failed for good.
    pub fn rest(&mut self) -> Result<bool> {
        self.wait(Duration::ZERO)?;
        Ok(self.rings.rx.available(1) > 0)
    }

    pub(super) fn fail(&mut self, operation: Operation, cause: io::Error) {
        let hint = cause.raw_os_error().and_then(|errno| operation.hint(errno));
        let mut error = Error::os(operation.name(), self.report.to_string(), cause);
        if let Some(hint) = hint {
            error = error.with_hint(hint);
        }
        self.fault.get_or_insert(error);
        self.unkicked = false;
    }
}

/// What the port asked of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// To send what is queued.
    Send,
    /// To wait for packets; the answer may be the socket's pending error.
    Receive,
}

impl Operation {
    const fn name(self) -> &'static str {
        match self {
            Self::Send => "send on",
            Self::Receive => "receive on",
        }
    }

    /// What an error means, in net/xdp/xsk.c, kernel 6.18.
    const fn hint(self, errno: i32) -> Option<&'static str> {
        match (self, errno) {
            // A call on a socket that has lost its queue, and the pending error of one whose interface
            // was removed (`xsk_notifier`).
            (_, libc::ENXIO | libc::ENODEV) | (Self::Receive, libc::ENETDOWN) => {
                Some("the interface was removed, or its queue was taken away")
            }
            // It is there, and down (`xsk_check_common`).
            (Self::Send, libc::ENETDOWN) => Some("the interface is down: ip link set up"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted and caught: an interface that is down said to be removed.
    #[test]
    fn a_link_that_is_down_is_not_said_to_be_removed() {
        let is_removed =
            |operation: Operation, errno| operation.hint(errno).unwrap().contains("was removed");
        assert!(is_removed(Operation::Receive, libc::ENETDOWN), "the pending error");
        assert!(!is_removed(Operation::Send, libc::ENETDOWN), "the answer of a call");
        for operation in [Operation::Send, Operation::Receive] {
            assert!(is_removed(operation, libc::ENXIO) && is_removed(operation, libc::ENODEV));
            assert_eq!(operation.hint(libc::ENOBUFS), None);
        }
    }
}
