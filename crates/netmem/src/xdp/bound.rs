//! Ports that are bound and take packets, and are not started yet.
//!
//! ```text
//!   BoundPort --start--> Port                          one thread does everything
//!       '------split---> PortControl + UnstartedPort   a control thread or process keeps the program,
//!                                '--start--> Port      a worker moves packets
//! ```
//!
//! The rings are mapped before the bind: kernels before 6.4 map none of a bound socket (`xsk_mmap` in
//! net/xdp/xsk.c). Binding needs privileges and the interface's namespace, moving packets needs neither: so a bound
//! port is `Send`, and its two halves can live in two threads, or in two processes
//! ([`handover`](super::handover)). The slots in its fill ring are the device's (P2) from the bind on.
//!
//! # Teardown of a split port (D5)
//!
//! [`PortControl::detach`] ends the traffic; the worker closes its [`Port`]: it takes back what it can
//! see and quarantines the rest, because the control's descriptor still holds the queue; then
//! [`PortControl::close`] closes the socket and sees the queue free. Memory whose queue was seen free
//! is not the kernel's any more, whatever its pool says.

use std::{
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use super::{
    Port, PortReport, RingSizes, Statistics,
    port::Rings,
    program::Attachment,
    socket::{Kernel, Socket},
    umem,
};
use crate::{
    Error, Result,
    mem::{Pool, PoolHandle},
};

/// A port that takes packets and has nobody yet who looks at them.
#[derive(Debug)]
pub struct BoundPort {
    // Dropped in this order (D5): program, then rings and socket.
    attachment: Option<Attachment>,
    port: UnstartedPort,
}

/// The half of a split port that keeps the program on the interface.
#[derive(Debug)]
pub struct PortControl {
    attachment: Option<Attachment>,
    kernel: Kernel,
    report: PortReport,
}

/// The half of a split port that moves packets, once it is started.
#[derive(Debug)]
pub struct UnstartedPort {
    /// `None` once they are somebody else's. The rings are unmapped before the socket is closed (D5).
    pub(super) held: Option<(Rings, Socket)>,
    /// Slots in the fill ring at the bind: with the device since (X1).
    pub(super) filled: u32,
    pub(super) report: PortReport,
    pub(super) pool: Arc<Pool>,
}

impl BoundPort {
    pub(super) fn new(port: UnstartedPort) -> Self {
        Self { attachment: None, port }
    }

    pub(super) fn attach(&mut self, attachment: Attachment) {
        self.attachment = Some(attachment);
    }

    pub(super) fn report_mut(&mut self) -> &mut PortReport {
        &mut self.port.report
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.port.fd()
    }

    /// What was got: mode, why nothing better, interface and queue.
    #[must_use]
    pub fn report(&self) -> &PortReport {
        self.port.report()
    }

    /// The pool that the port was bound over.
    #[must_use]
    pub fn pool(&self) -> &Arc<Pool> {
        &self.port.pool
    }

    /// Begins the traffic to a port of a set that was to be registered later
    /// ([`PortSet::register_later`](super::PortSet::register_later)). Others are registered already.
    ///
    /// # Errors
    /// When the kernel refuses the socket.
    pub fn register(&self) -> Result<()> {
        self.attachment.as_ref().map_or(Ok(()), |attachment| attachment.register(self.fd()))
    }

    /// Starts the port in the calling thread, which owns it from then on (K7).
    ///
    /// # Errors
    /// When `handle` is of another pool than the port was bound over (K8).
    pub fn start(self, handle: &PoolHandle) -> Result<Port> {
        let mut port = self.port.start(handle)?;
        if let Some(attachment) = self.attachment {
            port.attach(attachment);
        }
        Ok(port)
    }

    /// Divides the port between who keeps it up and who uses it.
    ///
    /// # Errors
    /// When the socket's descriptor cannot be duplicated.
    pub fn split(mut self) -> Result<(PortControl, UnstartedPort)> {
        let (_, socket) = self.port.held.as_mut().expect(HELD);
        let kernel = Kernel::Socket(socket.share()?);
        let report = self.port.report.clone();
        Ok((PortControl { attachment: self.attachment, kernel, report }, self.port))
    }

    /// Takes the port down again; its slots come back when the queue is seen free (D5).
    pub fn close(self) {
        drop(self.attachment);
        self.port.close();
    }
}

impl PortControl {
    /// What was got: mode, why nothing better, interface and queue.
    #[must_use]
    pub fn report(&self) -> &PortReport {
        &self.report
    }

    /// The kernel's own counters of the socket.
    ///
    /// # Errors
    /// When the socket option is refused.
    pub fn statistics(&self) -> Result<Statistics> {
        let result = self.kernel.statistics();
        result.map_err(|error| Error::os("read statistics of", self.report.to_string(), error))
    }

    /// Packets per class of the filter, over all queues of the interface.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn classes(&self) -> Result<Vec<(String, u64)>> {
        self.attachment.as_ref().map_or_else(|| Ok(Vec::new()), Attachment::classes)
    }

    /// Whether the XDP program still sits on the interface: another process can force it off.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn is_attached(&self) -> Result<bool> {
        self.attachment.as_ref().map_or(Ok(false), Attachment::is_attached)
    }

    /// Begins the traffic to a port of a set that was to be registered later
    /// ([`PortSet::register_later`](super::PortSet::register_later)): to be called when the other half
    /// is looked after. Others are registered already.
    ///
    /// # Errors
    /// When the kernel refuses the socket.
    pub fn register(&self) -> Result<()> {
        match (&self.attachment, self.kernel.fd()) {
            (Some(attachment), Some(fd)) => attachment.register(fd),
            (_, _) => Ok(()),
        }
    }

    /// Ends the traffic to this port: what comes for it passes to the kernel from here on. The program
    /// comes off with the last port of the interface.
    pub fn detach(&mut self) {
        drop(self.attachment.take());
    }

    /// Closes the socket, after the other half has gone. `true` when the queue was then seen free: the
    /// kernel does not use the memory any more.
    #[must_use]
    pub fn close(mut self) -> bool {
        self.detach();
        self.kernel.close_and_see_free(true)
    }
}

impl UnstartedPort {
    /// Maps the rings and fills the fill ring with up to `share` slots, before the bind.
    pub(super) fn fill(
        socket: Socket,
        rings: RingSizes,
        report: PortReport,
        handle: &PoolHandle,
        share: u32,
    ) -> Result<Self> {
        let mut rings = umem::map_rings(socket.fd.as_fd(), &rings)?;
        let fill = &mut rings.fill;
        let filled = handle.take_for_device(fill.size().min(share), |offset| fill.push(offset));
        fill.publish();
        let pool = Arc::clone(handle.pool());
        Ok(Self { held: Some((rings, socket)), filled, report, pool })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.held.as_ref().expect(HELD).1.fd.as_fd()
    }

    pub(super) fn set_bound(&mut self) {
        self.held.as_mut().expect(HELD).1.is_bound = true;
    }

    /// What was got: mode, why nothing better, interface and queue.
    #[must_use]
    pub fn report(&self) -> &PortReport {
        &self.report
    }

    /// Whether this kernel lets another process map the rings of a bound socket: since 6.4.
    #[must_use]
    pub fn can_be_handed_over(&self) -> bool {
        let Some((rings, socket)) = &self.held else { return false };
        umem::map_rings(socket.fd.as_fd(), &rings.sizes()).is_ok()
    }

    /// Starts the port in the calling thread, which owns it from then on (K7).
    ///
    /// # Errors
    /// When `handle` is of another pool than the port was bound over (K8).
    pub fn start(mut self, handle: &PoolHandle) -> Result<Port> {
        if !Arc::ptr_eq(&self.pool, handle.pool()) {
            let why = "the handle is of another pool than the port was bound over";
            return Err(Error::refused("start port on", self.report.to_string(), why));
        }
        Ok(self.resume(handle).expect(HELD))
    }

    /// Makes it a started port of the calling thread; `None` when it is somebody else's.
    fn resume(&mut self, handle: &PoolHandle) -> Option<Port> {
        let (rings, socket) = self.held.take()?;
        let kernel = Kernel::Socket(socket);
        Some(Port::resume(rings, kernel, handle.clone(), self.report.clone(), self.filled))
    }

    fn close(mut self) {
        let port = self.resume(&self.pool.handle());
        port.map(Port::close);
    }
}

impl Drop for UnstartedPort {
    /// Nothing is waited for: what the kernel may still use is quarantined.
    fn drop(&mut self) {
        drop(self.resume(&self.pool.handle()));
    }
}

const HELD: &str = "a port has its socket until it is started or ended";
