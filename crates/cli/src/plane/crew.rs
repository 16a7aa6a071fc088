//! Worker threads: one for each queue, which owns that queue's port of every interface.
//!
//! Where interfaces have different numbers of queues there are as many workers as the one with the
//! fewest has; the queues of the others are dealt out among them, because a netdev queue's four rings
//! have one owner. Nothing is shared between workers but the pool's stack of free slots.

use std::{
    fs,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use netmem::{
    device::{Device, Verdict},
    mem::{Audit, Counts, PacketMut, Pool, PoolHandle, Walk},
    stats::{Area, PacketRecord, Page, PoolRecord, PortRecord, Snapshot, WorkerRecord},
    xdp::{Levels, Port, UnstartedPort},
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use super::{
    End, INTERVAL, PortEnd,
    job::{self, Job, MacRule},
};
use crate::{
    Failure,
    report::{AuditReport, PacketCounts},
    stop::Stop,
};

/// Packets per batch: the kernel's own NAPI budget.
const BATCH: u32 = 64;
/// Empty rounds before a worker sleeps.
const SPINS: u32 = 64;
/// How long a worker sleeps at most before it looks at the clock and the stop flag.
const NAP: Duration = Duration::from_millis(50);
/// How long a worker that was told to stop goes on with what is on its way.
const DRAIN: Duration = Duration::from_millis(100);

/// The workers of one process.
#[derive(Debug)]
pub(crate) struct Crew {
    threads: Vec<JoinHandle<Finished>>,
    pool: Arc<Pool>,
    stop: Stop,
    page: Page,
}

/// What each worker is to have: made before a process confines itself, because an area of the page is
/// memory that only an unconfined process can get.
#[derive(Debug)]
pub(super) struct Lanes {
    page: Page,
    lanes: Vec<(Vec<UnstartedPort>, Area)>,
    /// Of the calling thread, and so of the interfaces.
    netns_inode: Option<u64>,
}

/// The inode of the calling thread's network namespace, where `/proc` tells it.
pub(crate) fn netns_inode() -> Option<u64> {
    fs::metadata("/proc/thread-self/ns/net").ok().map(|namespace| namespace.ino())
}

/// How the rings of each worker were when it published last; empty until it has. Taken twice a second
/// by each, and by none on the packet path.
type AllLevels = Mutex<Vec<Vec<Levels>>>;

impl Lanes {
    pub(super) fn new(page: Page, ports: Vec<UnstartedPort>) -> Result<Self, Failure> {
        let mut dealt = Vec::new();
        for lane in lanes(ports) {
            dealt.push((lane, page.area()?));
        }
        Ok(Self { page, lanes: dealt, netns_inode: netns_inode() })
    }

    /// Starts the workers.
    pub(super) fn start(self, pool: Arc<Pool>, job: &Job) -> Result<Crew, Failure> {
        let mut crew = Crew { threads: Vec::new(), pool, stop: Stop::default(), page: self.page };
        let count = self.lanes.len();
        let cpus = if count > 1 { allowed_cpus() } else { Vec::new() };
        let levels = Arc::new(AllLevels::new(vec![Vec::new(); count]));
        let netns_inode = self.netns_inode;
        for (n, (lane, mut area)) in self.lanes.into_iter().enumerate() {
            let (pool, job, stop) = (Arc::clone(&crew.pool), job.clone(), crew.stop.clone());
            let levels = Arc::clone(&levels);
            // More workers than processors: the scheduler knows better.
            let cpu = cpus.get(n).copied();
            let work = move || {
                pin(cpu);
                let handle = pool.handle();
                let place = Place { number: n, area: &mut area, levels: &levels, netns_inode };
                let finished = Worker::run(lane, &handle, &job, &stop, place);
                // One that cannot go on takes the others along.
                stop.set();
                finished
            };
            let thread = thread::Builder::new().name(format!("worker {n}")).spawn(work);
            let thread = thread.map_err(|e| Failure::refused(format!("start a worker: {e}")))?;
            crew.threads.push(thread);
        }
        Ok(crew)
    }
}

/// What a worker leaves.
#[derive(Debug)]
struct Finished {
    ports: Vec<(u32, PortEnd)>,
    walks: Vec<Walk>,
    with_kernel: u64,
    failure: Option<String>,
}

impl Crew {
    /// Starts the workers, in the calling thread's network namespace.
    pub(crate) fn start(
        command: &str,
        ports: Vec<UnstartedPort>,
        pool: Arc<Pool>,
        job: &Job,
    ) -> Result<Self, Failure> {
        Lanes::new(Page::create(command, INTERVAL)?, ports)?.start(pool, job)
    }

    /// A descriptor of the page that the workers publish on.
    pub(crate) fn page(&self) -> Result<OwnedFd, Failure> {
        let fd = self.page.as_fd().try_clone_to_owned();
        fd.map_err(|error| Failure::refused(format!("copy the descriptor of the page: {error}")))
    }

    /// Whether all workers are at work; why one has ended is told by [`finish`](Self::finish).
    pub(crate) fn is_working(&self) -> bool {
        !self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Lets the workers drain, and returns the books of all.
    pub(crate) fn finish(self) -> End {
        self.stop.set();
        let mut end = End::default();
        let mut walks = Vec::new();
        let mut ports = Vec::new();
        for thread in self.threads {
            match thread.join() {
                Ok(finished) => {
                    ports.extend(finished.ports);
                    walks.extend(finished.walks);
                    end.with_kernel += finished.with_kernel;
                    end.failure = end.failure.or(finished.failure);
                }
                Err(_) => end.failure = Some("a worker thread panicked".into()),
            }
        }
        ports.sort_by_key(|(ifindex, port)| (*ifindex, port.queue));
        end.ports = ports.into_iter().map(|(_, port)| port).collect();
        let audit = Audit::of(&self.pool, walks);
        end.counts = PacketCounts::new(&audit.counts, audit.held);
        end.audit = AuditReport::from(&audit);
        end
    }
}

/// Deals the ports out: to worker i the i-th of each interface, and so on around.
fn lanes(ports: Vec<UnstartedPort>) -> Vec<Vec<UnstartedPort>> {
    let mut interfaces: Vec<(u32, Vec<UnstartedPort>)> = Vec::new();
    for port in ports {
        let ifindex = port.report().ifindex;
        match interfaces.iter_mut().find(|(known, _)| *known == ifindex) {
            Some((_, ports)) => ports.push(port),
            None => interfaces.push((ifindex, vec![port])),
        }
    }
    let count = interfaces.iter().map(|(_, ports)| ports.len()).min().unwrap_or(0);
    let mut lanes: Vec<Vec<UnstartedPort>> = (0..count).map(|_| Vec::new()).collect();
    for (_, ports) in interfaces {
        for (n, port) in ports.into_iter().enumerate() {
            lanes[n % count].push(port);
        }
    }
    lanes
}

fn allowed_cpus() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else { return Vec::new() };
    (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).collect()
}

/// Keeps the calling thread on a processor, where that is possible: it is only faster.
fn pin(cpu: Option<usize>) {
    let mut set = CpuSet::new();
    if let Some(cpu) = cpu
        && set.set(cpu).is_ok()
    {
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
}

/// What a worker has of what all of them are seen by.
struct Place<'w> {
    /// From 0: the first one tells of the memory that they share.
    number: usize,
    area: &'w mut Area,
    levels: &'w AllLevels,
    netns_inode: Option<u64>,
}

/// One worker, in its thread.
struct Worker<'w> {
    ports: Vec<Port>,
    /// Where the packets of each port go: a port of this worker.
    routes: Vec<usize>,
    /// Packets that each port was given to send.
    queued: Vec<u64>,
    handle: &'w PoolHandle,
    place: Place<'w>,
    snapshot: Snapshot,
    work: WorkerRecord,
    due: Instant,
}

impl<'w> Worker<'w> {
    fn run(
        lane: Vec<UnstartedPort>,
        handle: &'w PoolHandle,
        job: &Job,
        stop: &Stop,
        place: Place<'w>,
    ) -> Finished {
        let mut ports = Vec::new();
        for port in lane {
            match port.start(handle) {
                Ok(port) => ports.push(port),
                Err(error) => return Finished::failed(error.to_string()),
            }
        }
        let (region, is_first) = (handle.pool().region(), place.number == 0);
        // A confined process cannot ask where it is.
        let netns_inode = place.netns_inode;
        let record = |port| PortRecord { netns_inode, ..PortRecord::new(port) };
        let snapshot = Snapshot {
            packets: Some(PacketRecord::new()),
            regions: if is_first { vec![region.as_ref().into()] } else { Vec::new() },
            pools: if is_first { vec![PoolRecord::default()] } else { Vec::new() },
            ports: ports.iter().map(record).collect(),
            ..Snapshot::of_this_thread()
        };
        let routes = routes(&ports, job);
        let queued = vec![0; ports.len()];
        let (work, due) = (WorkerRecord::default(), Instant::now() + INTERVAL);
        let mut worker = Worker { ports, routes, queued, handle, place, snapshot, work, due };
        worker.publish();
        let ended = worker.job(job, stop);
        worker.publish();
        worker.finish(ended.err())
    }

    fn job(&mut self, job: &Job, stop: &Stop) -> Result<(), String> {
        let done = match job {
            Job::Respond(job) => {
                let responder = job.responder().map_err(|failure| failure.to_string())?;
                self.until(stop, |packet| responder.verdict(packet))
            }
            Job::Forward(job) => match job.mac {
                MacRule::Keep => self.until(stop, |_| Verdict::Transmit),
                MacRule::Swap => self.until(stop, job::swap),
                MacRule::Set { source, destination } => {
                    self.until(stop, |packet| job::set(packet, source, destination))
                }
            },
        };
        done.map_err(|error| match error.hint() {
            Some(hint) => format!("{error} ({hint})"),
            None => error.to_string(),
        })
    }

    fn until<F>(&mut self, stop: &Stop, mut verdict: F) -> netmem::Result<()>
    where
        F: FnMut(&mut PacketMut<'_>) -> Verdict,
    {
        let mut idle = 0;
        while !stop.is_set() {
            if self.round(&mut verdict) > 0 {
                self.work.batches += 1;
                idle = 0;
            } else {
                self.work.empty_polls += 1;
                idle += 1;
                if idle > SPINS {
                    self.work.waits += 1;
                    self.wait(NAP)?;
                }
            }
            if Instant::now() >= self.due {
                self.due = Instant::now() + INTERVAL;
                self.publish();
            }
        }
        // The programs are off: what is still there is the last.
        let deadline = Instant::now() + DRAIN;
        while (self.round(&mut verdict) > 0 || self.is_sending()) && Instant::now() < deadline {
            for port in &mut self.ports {
                port.flush()?;
            }
        }
        Ok(())
    }

    /// One batch of each port; returns how many packets there were.
    #[inline]
    fn round<F>(&mut self, verdict: &mut F) -> u32
    where
        F: FnMut(&mut PacketMut<'_>) -> Verdict,
    {
        let mut received = 0;
        for from in 0..self.ports.len() {
            let to = self.routes[from];
            let tally = match self.ports.get_disjoint_mut([from, to]) {
                Ok([from, to]) => from.receive_to(to, BATCH, &mut (), &mut *verdict),
                Err(_) => Ok(self.ports[from].receive(BATCH, &mut (), &mut *verdict)),
            };
            let tally = tally.expect("the ports of a set share one pool");
            self.queued[to] += u64::from(tally.transmitted);
            received += tally.received;
        }
        received
    }

    fn is_sending(&self) -> bool {
        self.ports.iter().any(|port| {
            let progress = port.progress();
            progress.completed < progress.transmitted
        })
    }

    fn wait(&mut self, timeout: Duration) -> netmem::Result<()> {
        if let [port] = &mut self.ports[..] {
            return port.wait(timeout);
        }
        for port in &mut self.ports {
            if port.rest()? {
                return Ok(());
            }
        }
        let of = |port| PollFd::new(port, PollFlags::POLLIN);
        let mut fds: Vec<_> = self.ports.iter().map(AsFd::as_fd).map(of).collect();
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO);
        // What went wrong is found by the next batch, or the next wait.
        let _ = poll(&mut fds, timeout);
        Ok(())
    }

    #[cold]
    fn publish(&mut self) {
        let mut work = self.work;
        work.look();
        self.snapshot.worker = Some(work);
        let mut counts = Counts::default();
        let Snapshot { pools, ports, .. } = &mut self.snapshot;
        let mut all = self.place.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let own = &mut all[self.place.number];
        own.clear();
        own.extend(ports.iter_mut().zip(&self.ports).map(|(record, port)| {
            counts.add(&port.counts());
            record.update(port)
        }));
        // Before each has looked, nobody knows where all frames are.
        if !all.iter().any(Vec::is_empty) {
            for pool in pools {
                *pool = PoolRecord::of_levels(self.handle.pool(), all.iter().flatten());
            }
        }
        drop(all);
        counts.add(&self.handle.counts());
        if let Some(packets) = &mut self.snapshot.packets {
            packets.set(&counts);
        }
        self.place.area.publish(&self.snapshot);
    }

    /// Closes the ports and tells the books.
    fn finish(self, failure: Option<String>) -> Finished {
        let mut finished = Finished { failure, ..Finished::default() };
        let mut unsent = Vec::new();
        for (port, queued) in self.ports.into_iter().zip(&self.queued) {
            let report = port.report();
            let (ifindex, interface) = (report.ifindex, report.interface.clone());
            let queue = report.queue;
            let closed = port.close();
            let counts = closed.walk.counts();
            let left = queued.saturating_sub(counts.transmitted);
            unsent.push(left);
            let dropped = counts.dropped.iter().map(|(reason, n)| (reason.name().to_owned(), n));
            let mut dropped: std::collections::BTreeMap<String, u64> = dropped.collect();
            // Packets that were taken back from sending were received elsewhere.
            if left > 0
                && let Some(purged) = dropped.get_mut(netmem::mem::DropReason::QueuePurge.name())
            {
                *purged = purged.saturating_sub(left);
            }
            let end = PortEnd {
                interface,
                queue,
                received: counts.received,
                dropped,
                transmitted: counts.transmitted,
                unsent: left,
            };
            finished.ports.push((ifindex, end));
            finished.with_kernel += closed.with_kernel;
            finished.walks.push(closed.walk);
        }
        // The handle's cache goes back to the pool when the thread ends: only its counts stay.
        finished.walks.push(self.handle.walk().counts_only());
        finished
    }
}

impl Finished {
    fn default() -> Self {
        Self { ports: Vec::new(), walks: Vec::new(), with_kernel: 0, failure: None }
    }

    fn failed(why: String) -> Self {
        Self { failure: Some(why), ..Self::default() }
    }
}

/// Which of a worker's ports each of them sends by.
fn routes(ports: &[Port], job: &Job) -> Vec<usize> {
    let Job::Forward(job) = job else { return (0..ports.len()).collect() };
    let [a, b] = &job.interfaces[..] else { return (0..ports.len()).collect() };
    let of = |name: &str| -> Vec<usize> {
        (0..ports.len()).filter(|&n| ports[n].report().interface == *name).collect()
    };
    let (of_a, of_b) = (of(a), of(b));
    let mut routes: Vec<usize> = (0..ports.len()).collect();
    for (from, to) in [(&of_a, &of_b), (&of_b, &of_a)] {
        for (n, &port) in from.iter().enumerate() {
            if let Some(&to) = to.get(n % to.len().max(1)) {
                routes[port] = to;
            }
        }
    }
    routes
}
