//! A port in a tokio runtime (feature `tokio`).
//!
//! The runtime's reactor waits for the socket in epoll(7). It only hears of changes, and epoll does not
//! wake the kernel as poll(2) does: so before it waits, the port does what [`Device::wait`] does: wakes
//! the kernel for what is queued, gives it slots to receive into, and looks into the rx ring once more
//! (D4). A socket whose interface is removed says nothing to epoll (`xsk_poll`, net/xdp/xsk.c, kernel
//! 6.18), so a wait looks for that twice a second. A started port is `!Send` (K7): use a current-thread runtime, or a `LocalSet`, per worker.

use std::{
    collections::VecDeque,
    os::fd::{AsFd, AsRawFd, RawFd},
    time::Duration,
};

use tokio::{
    io::{Interest, unix::AsyncFd},
    time,
};

use super::Port;
use crate::{
    Error, Result,
    device::{Device, Keep, Tally, Verdict},
    mem::{Packet, PacketMut},
};

/// How long a wait goes without looking whether the interface is still there.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A port whose waits are futures.
#[derive(Debug)]
pub struct AsyncPort(AsyncFd<Inner>);

#[derive(Debug)]
struct Inner(Port);

impl AsRawFd for Inner {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl AsyncPort {
    /// Registers the port with the current runtime's reactor.
    ///
    /// # Errors
    /// When the reactor refuses it.
    ///
    /// # Panics
    /// Outside of a runtime, or in one without I/O; its waits, in one without time.
    pub fn new(port: Port) -> Result<Self> {
        let target = port.report().to_string();
        let interest = Interest::READABLE | Interest::WRITABLE;
        // SAFETY: the port's descriptor is its socket's, open and the same until the port is dropped
        // or closed (D5); `AsyncFd` owns the port, and nobody outside gets it as `&mut Port`, to close
        // it or to exchange it for another.
        let registered = unsafe { AsyncFd::register_with_interest(Inner(port), interest) };
        let registered = registered.map_err(|error| error.into_parts().1);
        registered.map(Self).map_err(|error| Error::os("register with tokio", target, error))
    }

    /// Waits for packets and lends up to `budget` of them to `verdict`, as [`Device::receive`] does:
    /// the tally has at least one. Cancel safe: a future that is dropped has received nothing.
    ///
    /// # Errors
    /// When the interface is gone or the socket failed for good.
    pub async fn receive<K, F>(
        &mut self,
        budget: u32,
        sink: &mut K,
        mut verdict: F,
    ) -> Result<Tally>
    where
        K: Keep + ?Sized,
        F: FnMut(&mut PacketMut<'_>) -> Verdict,
    {
        loop {
            let tally = self.port().receive(budget, sink, &mut verdict);
            if tally.received > 0 || budget == 0 {
                return Ok(tally);
            }
            if !self.port().rest()? {
                self.ready(Interest::READABLE).await?;
            }
        }
    }

    /// Queues all of `packets` for sending, waiting for room as often as it takes. When this future is
    /// dropped the packets that are not queued are still in `packets`.
    ///
    /// # Errors
    /// As [`receive`](Self::receive); and when a packet is of another pool: it is then the first of
    /// `packets` no more, but dropped.
    pub async fn transmit(&mut self, packets: &mut VecDeque<Packet>) -> Result<()> {
        while !packets.is_empty() {
            let queued = self.port().transmit(packets);
            if let Err(foreign) = &queued {
                let target = self.port().report().to_string();
                return Err(Error::refused("transmit on", target, foreign.to_string()));
            }
            self.port().flush()?;
            if !packets.is_empty() && self.port().tx_room() == 0 {
                self.ready(Interest::WRITABLE).await?;
            }
        }
        Ok(())
    }

    /// The port, to look at.
    #[must_use]
    pub fn get_ref(&self) -> &Port {
        &self.0.get_ref().0
    }

    /// Takes the port out of the runtime.
    #[must_use]
    pub fn into_port(self) -> Port {
        self.0.into_inner().0
    }

    fn port(&mut self) -> &mut Port {
        &mut self.0.get_mut().0
    }

    /// Waits for a change of the socket, or for as long as it may go unseen that there is none.
    async fn ready(&mut self, interest: Interest) -> Result<()> {
        match time::timeout(LOOK_EVERY, self.0.ready_mut(interest)).await {
            Ok(Ok(mut ready)) => {
                ready.clear_ready();
                Ok(())
            }
            Ok(Err(error)) => Err(Error::os("wait on", self.get_ref().report().to_string(), error)),
            Err(_) => Ok(()),
        }
    }
}
