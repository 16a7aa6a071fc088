//! The data plane of a command: ports, the workers that move their packets, and who keeps them up.
//!
//! ```text
//!   command (control)                       worker process, or threads of the command itself
//!   PortControl per queue                   Crew: one thread per queue of each interface
//!   LinkWatch per interface                   owns its ports, its pool handle, its counters
//!   reads the page   <--- netmem-stats ---    publishes twice a second, and at its end
//!   `End` as JSON    <--- control socket ---  the exact books, when it was told to stop
//! ```
//!
//! Set-up needs privileges, packets need none: so the ports are bound here, split, and their halves go
//! to a process that can do nothing else ([`crate::sandbox`]), with the region as a shared memfd; with
//! `--no-sandbox`, or on a kernel before 6.4, to threads of this process. What the command knows of its
//! workers is what any other process can read of them, until they end.
//!
//! # The end (D5)
//!
//! The programs come off first, then the workers drain, close their halves and tell the books; then
//! the sockets are closed here and the queues seen free: the slots that the kernel had are counted as
//! free from then on. A worker that died tells no books: that is said, and everything is taken down
//! all the same.

mod crew;
mod job;
mod process;
mod setup;

use std::{
    collections::BTreeMap,
    io::Write,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use netmem::{
    link::{Link, LinkEvent, LinkWatch},
    stats::{self, PageReport, PortRecord},
    xdp::{PortControl, PortReport},
};
use serde::{Deserialize, Serialize};

pub(crate) use self::{
    crew::{Crew, netns_inode},
    job::{ForwardJob, Job, MacRule, RespondJob},
    process::worker,
    setup::{Plan, frames},
};
use crate::{
    Failure, export,
    metrics::{
        programs,
        server::{Bound, Server},
    },
    report::{self, AuditReport, KernelStatistics, Memory, PacketCounts},
    sandbox,
};

/// How often workers publish, and the control looks at interfaces.
pub(crate) const INTERVAL: Duration = Duration::from_millis(500);
/// How often a command looks after its workers and the clock.
pub(crate) const TICK: Duration = Duration::from_millis(20);
/// How long a worker process may take to end once it was told to.
const GRACE: Duration = Duration::from_secs(5);

/// A running data plane.
#[derive(Debug)]
pub(crate) struct Plane {
    workers: Workers,
    controls: Vec<PortControl>,
    watches: Vec<LinkWatch>,
    page: OwnedFd,
    memory: Memory,
    /// Serves what the page says, where that was asked for, from a thread of this process.
    _metrics: Option<Server>,
    next_look: Instant,
}

/// Where the workers run.
#[derive(Debug)]
enum Workers {
    /// In a process that can do nothing else.
    Process(sandbox::Worker),
    /// In this one.
    Threads(Crew),
}

/// What workers tell at their end: the books of all of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct End {
    /// Each port, in the order of the interfaces and queues.
    pub(crate) ports: Vec<PortEnd>,
    /// All packets.
    pub(crate) counts: PacketCounts,
    /// All slots.
    pub(crate) audit: AuditReport,
    /// Slots that are quarantined only because the kernel had them when the workers ended.
    pub(crate) with_kernel: u64,
    /// Why a worker ended by itself.
    pub(crate) failure: Option<String>,
}

/// What went through one port, told at its end.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct PortEnd {
    pub(crate) interface: String,
    pub(crate) queue: u32,
    /// Packets received here, and what they were dropped for.
    pub(crate) received: u64,
    pub(crate) dropped: BTreeMap<String, u64>,
    /// Packets that the kernel said it has sent here.
    pub(crate) transmitted: u64,
    /// Packets that were queued for sending here and had to be taken back at the end.
    pub(crate) unsent: u64,
}

/// How the data plane ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// What the workers told; `None` when they died before they could.
    pub(crate) end: Option<End>,
    /// The last figures of each port.
    pub(crate) ports: Vec<PortRecord>,
    /// The kernel's counters of each port, read before it was closed.
    pub(crate) kernel: Vec<KernelStatistics>,
    /// Packets by class of each port's filter.
    pub(crate) classes: Vec<(String, u64)>,
    /// What ended it, if it was not asked to end.
    pub(crate) failure: Option<Failure>,
}

impl Plane {
    /// Sets everything up and starts the workers. Call it from a thread that stays: the worker process
    /// goes with it.
    pub(crate) fn start(plan: Plan, job: &Job, notes: &mut dyn Write) -> Result<Self, Failure> {
        // An address that cannot be had is told before anything is set up.
        let bound = plan.args.metrics.map(Bound::listen).transpose()?;
        let opened = plan.open(notes)?;
        let mut watches = Vec::new();
        for control in &opened.controls {
            let name = &control.report().interface;
            let is_known = |watch: &LinkWatch| watch.link().name == *name;
            if !watches.iter().any(is_known) {
                watches.push(LinkWatch::new(&Link::by_name(name)?)?);
            }
        }
        let setup::Opened { controls, ports, handle, memory, user, command } = opened;
        let (workers, page) = match user {
            Some(user) => {
                let (worker, page) = process::start(command, ports, &handle, (user, job), notes)?;
                (Workers::Process(worker), page)
            }
            None => {
                let pool = std::sync::Arc::clone(handle.pool());
                drop(handle);
                let crew = Crew::start(command, ports, pool, job)?;
                let page = crew.page()?;
                (Workers::Threads(crew), page)
            }
        };
        let metrics = bound.map(|bound| serve(bound, &page, notes)).transpose()?;
        let next_look = Instant::now() + INTERVAL;
        let plane = Self { workers, controls, watches, page, memory, _metrics: metrics, next_look };
        // Somebody looks at packets now: before, they would have waited in the rx rings.
        match plane.controls.iter().try_for_each(PortControl::register) {
            Ok(()) => Ok(plane),
            Err(refused) => Err(plane.stop(None).failure.unwrap_or_else(|| refused.into())),
        }
    }

    /// The memory that was got.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// What each port got.
    pub(crate) fn reports(&self) -> impl Iterator<Item = &PortReport> {
        self.controls.iter().map(PortControl::report)
    }

    /// The worker process, where there is one.
    pub(crate) fn worker_pid(&self) -> Option<u32> {
        match &self.workers {
            Workers::Process(worker) => Some(worker.pid()),
            Workers::Threads(_) => None,
        }
    }

    /// What the workers published last.
    pub(crate) fn page(&self) -> Result<PageReport, Failure> {
        Ok(stats::read_fd(&self.page)?)
    }

    /// The kernel's counters of each port. They are gone with the interface: then they are 0.
    pub(crate) fn kernel(&self) -> Vec<KernelStatistics> {
        let read = |control: &PortControl| control.statistics().unwrap_or_default().into();
        self.controls.iter().map(read).collect()
    }

    /// Packets by class of the filter, over all interfaces.
    pub(crate) fn classes(&self) -> Vec<(String, u64)> {
        let mut seen = Vec::new();
        let mut sums: Vec<(String, u64)> = Vec::new();
        for control in &self.controls {
            let name = &control.report().interface;
            if seen.contains(&name) {
                continue;
            }
            seen.push(name);
            for (class, count) in control.classes().unwrap_or_default() {
                match sums.iter_mut().find(|(known, _)| *known == class) {
                    Some((_, sum)) => *sum += count,
                    None => sums.push((class, count)),
                }
            }
        }
        sums
    }

    /// Looks after everything; to be called several times a second. Events that end nothing become
    /// notes.
    ///
    /// Returns whether the workers are at work: why one has ended is told by [`stop`](Self::stop).
    ///
    /// # Errors
    /// When the interface went, or somebody took a program off.
    pub(crate) fn look(&mut self, notes: &mut dyn Write) -> Result<bool, Failure> {
        let is_working = match &mut self.workers {
            Workers::Threads(crew) => crew.is_working(),
            Workers::Process(worker) => worker.poll_exit()?.is_none(),
        };
        let now = Instant::now();
        if !is_working || now < self.next_look {
            return Ok(is_working);
        }
        self.next_look = now + INTERVAL;
        for watch in &mut self.watches {
            for event in watch.look()? {
                let (name, ifindex) = (watch.link().name.clone(), watch.link().index);
                let ours = self.controls.iter().map(PortControl::report);
                let on = report::ports(ours.filter(|report| report.ifindex == ifindex));
                if let Some(failure) = ending(&on, &event) {
                    return Err(failure);
                }
                // Nobody may be listening: that ends nothing.
                let _ = report::row(notes, &name, &event).and_then(|()| notes.flush());
            }
        }
        Ok(true)
    }

    /// Takes everything down; `failure` is what asked for it, if anything went wrong.
    pub(crate) fn stop(mut self, failure: Option<Failure>) -> Ended {
        let classes = self.classes();
        self.controls.iter_mut().for_each(PortControl::detach);
        let read = |control: &PortControl| control.statistics().unwrap_or_default().into();
        let told = match self.workers {
            Workers::Threads(crew) => Ok(crew.finish()),
            Workers::Process(worker) => process::stop(worker, GRACE),
        };
        let kernel = self.controls.iter().map(read).collect();
        let ports = stats::read_fd(&self.page).map(|page| ports_of(&page)).unwrap_or_default();
        let mut is_free = true;
        for control in self.controls {
            is_free &= control.close();
        }
        let (mut end, mut failure) = match told {
            Ok(end) => (Some(end), failure),
            // What went wrong first tells more.
            Err(died) => (None, failure.or(Some(died))),
        };
        if let Some(end) = &mut end {
            if let (None, Some(words)) = (&failure, end.failure.take()) {
                failure = Some(Failure::refused(words));
            }
            if is_free {
                end.audit.free_from_kernel(end.with_kernel);
            }
        }
        Ended { end, ports, kernel, classes, failure }
    }
}

/// Packets and slots by what the workers published last: what moved meanwhile may show twice or not.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) counts: PacketCounts,
    pub(crate) audit: AuditReport,
}

impl Books {
    pub(crate) fn of(page: &PageReport) -> Self {
        let mut books = Self::default();
        let Self { counts, audit } = &mut books;
        for snapshot in page.areas.iter().map(|area| &area.snapshot) {
            if let Some(packets) = &snapshot.packets {
                counts.received += packets.received;
                counts.created += packets.created;
                counts.cloned += packets.cloned;
                counts.transmitted += packets.transmitted;
                counts.consumed += packets.consumed;
                counts.held += packets.held;
                for (reason, n) in &packets.dropped {
                    *counts.dropped.entry(reason.to_string()).or_default() += n;
                }
            }
            for pool in &snapshot.pools {
                audit.slots = u32::try_from(pool.slots).unwrap_or(u32::MAX);
                let owners = pool.owners.iter().map(|(owner, n)| (owner.name().to_owned(), n));
                audit.owners = owners.collect();
            }
        }
        books
    }
}

/// The ports of all workers, in the order of the interfaces and queues.
pub(crate) fn ports_of(page: &PageReport) -> Vec<PortRecord> {
    let mut ports: Vec<PortRecord> =
        page.areas.iter().flat_map(|area| area.snapshot.ports.iter().copied()).collect();
    ports.sort_by_key(|port| (port.ifindex, port.queue));
    ports
}

/// Serves what the workers publish in their page.
fn serve(bound: Bound, page: &OwnedFd, notes: &mut dyn Write) -> Result<Server, Failure> {
    let page = page
        .try_clone()
        .map_err(|error| Failure::refused(format!("duplicate the page of statistics: {error}")))?;
    // Nobody may be listening: that ends nothing.
    let _ = export::announce(&bound, notes);
    bound.serve(move || programs::of_page(&page))
}

/// Why an event ends the ports (`on`) of an interface, if it does.
fn ending(on: &str, event: &LinkEvent) -> Option<Failure> {
    match event {
        LinkEvent::Removed | LinkEvent::MovedNamespace => {
            Some(Failure::refused(format!("receive on {on}: the interface was removed")))
        }
        LinkEvent::ProgramDetached { .. } | LinkEvent::ProgramReplaced { .. } => {
            let why = format!("receive on {on}: the xdp program was detached from outside");
            let hint = "another process forced it off; start again to attach anew";
            Some(Failure::refused(why).with_hint(hint))
        }
        _ => None,
    }
}
