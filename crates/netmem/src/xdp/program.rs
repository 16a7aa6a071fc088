//! The XDP program that decides which packets come to a port: generated from [`Rules`], attached by a
//! link that the kernel takes off when the process ends, however it ends.
//!
//! ```text
//!   frame -> fields (compile) -> first rule that matches -> class counter += 1 -> Take: socket map[rx queue]
//!                                                                             '-> Pass: the kernel's stack
//! ```
//!
//! Everything that no rule takes, and what is taken on a queue without a socket, passes to the kernel
//! untouched. A program that somebody else attached is never replaced. Kernel 5.15 and later.

mod compile;

use std::{os::fd::BorrowedFd, sync::Arc};

use netmem_bpf::{AttachMode, Frags, LoadSpec, Map, MapKind, MapSpec, Program, XdpAction, XdpLink};
use netmem_wire::filter::Rules;

use super::{BoundPort, set::Attempt};
use crate::{
    Error, Result,
    link::{self, AttachedProgram, Link},
};

/// A loaded program with its maps.
#[derive(Debug)]
pub struct XdpProgram {
    program: Program,
    sockets: Map,
    /// `None` for a program that was not made from rules.
    counters: Option<Arc<Map>>,
    classes: Vec<String>,
}

impl XdpProgram {
    /// Compiles `rules` and loads them as a program for queues `0..queues`.
    ///
    /// # Errors
    /// Without CAP_BPF and CAP_NET_ADMIN, or when the rules are too long for a program.
    pub fn load(name: &str, rules: &Rules, queues: u32) -> Result<Self> {
        Self::load_with(name, rules, queues, Frags::No)
    }

    /// As [`load`](Self::load), for packets of several fragments too, or not: drivers refuse a program
    /// without it where the MTU may need them, kernels before 5.18 one with it.
    pub(super) fn load_with(name: &str, rules: &Rules, queues: u32, frags: Frags) -> Result<Self> {
        let classes: Vec<String> = rules.classes().map(ToString::to_string).collect();
        let refused = |error| Error::bpf("load filter", name, error);
        let map = |kind, value_bytes, max_entries, name| {
            Map::create(&MapSpec { kind, key_bytes: 4, value_bytes, max_entries, name })
        };
        let sockets = map(MapKind::XskMap, 4, queues, "netmem_xsk").map_err(refused)?;
        let count = u32::try_from(classes.len()).unwrap_or(u32::MAX);
        let counters = map(MapKind::PerCpuArray, 8, count, "netmem_classes").map_err(refused)?;
        let instructions = compile::compile(rules, &sockets, &counters)
            .map_err(|error| Error::refused("compile filter", name, error.to_string()))?;
        let spec = LoadSpec { name, instructions: &instructions, frags };
        let program = Program::load(&spec).map_err(refused)?;
        Ok(Self { program, sockets, counters: Some(Arc::new(counters)), classes })
    }

    /// Takes a program that the caller has made, and the XSKMAP through which it redirects to
    /// sockets: for what rules cannot say. It must take queues as keys, and answer
    /// [`XdpAction::Pass`] for what it does not redirect, unless it means to take that away.
    #[must_use]
    pub fn from_parts(program: Program, sockets: Map) -> Self {
        let counters = None;
        Self { program, sockets, counters, classes: Vec::new() }
    }

    /// Names the socket that gets what is taken on `queue`. It must be bound to that queue.
    ///
    /// # Errors
    /// When the queue is past those loaded for, or the descriptor is no bound AF_XDP socket.
    pub fn set_socket(&self, queue: u32, fd: BorrowedFd<'_>) -> Result<()> {
        self.sockets
            .set_socket(queue, fd)
            .map_err(|error| Error::bpf("register socket for", format!("queue {queue}"), error))
    }

    /// Runs the program on one frame of at least 14 bytes, without a device.
    ///
    /// # Errors
    /// When the kernel refuses the frame or the run.
    pub fn test_run(&self, frame: &[u8]) -> Result<XdpAction> {
        let run = self.program.test_run(frame, &mut Vec::new());
        run.map(|run| run.action).map_err(|error| Error::bpf("run", "xdp program", error))
    }

    /// Packets counted per class so far.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn classes(&self) -> Result<Vec<(String, u64)>> {
        read_classes(self.counters.as_deref(), &self.classes)
    }

    /// Attaches the program for `ports`, which are of one interface.
    pub(super) fn attach(
        this: &Arc<Self>,
        link: &Link,
        mode: AttachMode,
        ports: &mut [BoundPort],
    ) -> std::result::Result<(), Attempt> {
        let attached = XdpLink::attach(&this.program, link.index, mode);
        let attached = attached.map_err(|error| this.attach_error(link, mode, error))?;
        let attached = Arc::new(Attached { link: attached, program: Arc::clone(this) });
        for port in ports {
            let queue = port.report().queue;
            port.attach(Attachment { attached: Arc::clone(&attached), queue });
        }
        Ok(())
    }

    fn attach_error(&self, on: &Link, mode: AttachMode, error: netmem_bpf::Error) -> Attempt {
        // Somebody may have attached a program since the interface was looked up.
        if let Ok(Link { xdp: Some(foreign), .. }) = Link::by_name(&on.name) {
            return Attempt::Fatal(already_attached(on, &foreign));
        }
        let mode_is_refused = !matches!(error.errno(), Some(libc::EPERM | libc::ENODEV));
        let words = link::attach_refusal(on.index, &self.program, mode);
        let error = Error::bpf("attach to", &on.name, error);
        if mode_is_refused {
            let words = words.map(|words| format!(": {words}")).unwrap_or_default();
            Attempt::Refused(format!("{error}{words}"))
        } else {
            Attempt::Fatal(error)
        }
    }
}

/// Says that somebody else's program is on the interface. The kernel takes one that a link holds off
/// for nobody but the link's owner (`dev_xdp_attach` in net/core/dev.c, kernel 6.18).
pub(super) fn already_attached(on: &Link, foreign: &AttachedProgram) -> Error {
    let why = format!("{foreign} is already attached and is not replaced");
    Error::refused("attach xdp program to", &on.name, why).with_hint(format!(
        "end the process that attached it; where none holds it, ip link set dev {} xdp off removes it",
        on.name
    ))
}

/// A program on an interface, which the ports of its queues share; it comes off with the last.
#[derive(Debug)]
struct Attached {
    link: XdpLink,
    program: Arc<XdpProgram>,
}

/// One port's part of a program on an interface; dropping it ends the traffic to the port.
#[derive(Debug)]
pub(crate) struct Attachment {
    attached: Arc<Attached>,
    queue: u32,
}

impl Attachment {
    /// Begins the traffic to the port, whose bound socket is `fd`; again does nothing.
    pub(crate) fn register(&self, fd: BorrowedFd<'_>) -> Result<()> {
        self.attached.program.set_socket(self.queue, fd)
    }

    pub(crate) fn classes(&self) -> Result<Vec<(String, u64)>> {
        self.attached.program.classes()
    }

    pub(crate) fn is_attached(&self) -> Result<bool> {
        let is_attached = self.attached.link.is_attached();
        is_attached.map_err(|error| Error::bpf("look at", "xdp link", error))
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // What is taken on this queue passes to the kernel from here on. An entry that is not there
        // any more is as good.
        let _ = self.attached.program.sockets.delete(&self.queue.to_ne_bytes());
    }
}

fn read_classes(counters: Option<&Map>, classes: &[String]) -> Result<Vec<(String, u64)>> {
    let Some(counters) = counters else { return Ok(Vec::new()) };
    let read = |(index, name): (u32, &String)| {
        let sum = counters.sum_u64(index);
        let sum = sum.map_err(|error| Error::bpf("read counter of class", name, error))?;
        Ok((name.clone(), sum))
    };
    (0..).zip(classes).map(read).collect()
}
