//! The running netmem processes, by the pages that they publish ([`netmem::stats`]).

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use netmem::stats::{
    AreaReport, AreaState, Census, Found, PageReport, PortRecord, RingRecord, Standing,
};
use serde::Serialize;

use crate::{
    plane,
    report::{KernelStatistics, bytes, row},
};

/// A running netmem process: what its workers told last, summed over them.
#[derive(Debug, Clone, Serialize)]
pub struct NetmemProcess {
    /// Its number.
    pub pid: u32,
    /// What it does: `respond`.
    pub command: String,
    /// `running`; `stale` if no worker has told anything for ten intervals; `orphaned` if the process
    /// has ended and this one holds what it left.
    pub state: &'static str,
    /// When it started, in nanoseconds since boot.
    pub started_at_ns: u64,
    /// How long it has run, in nanoseconds.
    pub age_ns: u64,
    /// Its workers that have not ended.
    pub workers: usize,
    /// Whether all that its workers told could be read; the sums lack what could not.
    pub complete: bool,
    /// Its ports.
    pub ports: Vec<NetmemPort>,
    /// Packets by what became of them.
    pub packets: Packets,
    /// Its packet memory.
    pub memory: Vec<NetmemMemory>,
    /// Frames by owner.
    pub frames: Frames,
}

/// A port.
#[derive(Debug, Clone, Serialize)]
pub struct NetmemPort {
    /// The interface's name, in its own network namespace.
    pub interface: String,
    /// The interface's index there.
    pub index: u32,
    /// Whether that is this network namespace; nothing if not known.
    pub in_this_namespace: Option<bool>,
    /// The queue.
    pub queue: u32,
    /// `zero-copy`, `native` or `generic`.
    pub mode: String,
    /// Whether the kernel says when it wants to be woken.
    pub need_wakeup: bool,
    /// Whether the socket is polled busily.
    pub busy_poll: bool,
    /// Frames given to the kernel to receive into.
    pub filled: u64,
    /// Packets received.
    pub received: u64,
    /// Packets given to the kernel to send.
    pub transmitted: u64,
    /// Packets that the kernel said it has sent.
    pub completed: u64,
    /// The four rings.
    pub rings: BTreeMap<&'static str, Ring>,
    /// The kernel's counters, if known.
    pub kernel: Option<KernelStatistics>,
}

/// A ring.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Ring {
    /// How many entries it has room for.
    pub entries: u32,
    /// How many it has.
    pub level: u64,
}

/// Packets by what became of them.
#[derive(Debug, Clone, Default, Serialize)]
#[allow(missing_docs, reason = "the names are those of `report::PacketCounts`")]
pub struct Packets {
    pub received: u64,
    pub created: u64,
    pub cloned: u64,
    pub transmitted: u64,
    pub consumed: u64,
    pub held: u64,
    pub dropped: BTreeMap<String, u64>,
}

/// A region.
#[derive(Debug, Clone, Serialize)]
pub struct NetmemMemory {
    /// Its length.
    pub bytes: u64,
    /// The size of its pages.
    pub page_bytes: u64,
    /// `1g`, `2m`, `thp` or `4k`.
    pub tier: String,
    /// The node that it was bound to, if any.
    pub numa_node: Option<u32>,
}

/// Frames of all pools.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Frames {
    /// How many there are.
    pub slots: u64,
    /// How many each owner has, from ring indices.
    pub owners: BTreeMap<&'static str, u64>,
}

/// The processes to show, and what is not known of others. With `ifindex`, those that have a port on
/// that interface of the calling thread's network namespace.
pub(crate) fn processes(
    census: &Census,
    ifindex: Option<u32>,
) -> (Vec<NetmemProcess>, Vec<String>) {
    let here = plane::netns_inode();
    let all = census.found.iter().map(|found| NetmemProcess::new(found, here));
    let is_on = |port: &NetmemPort| {
        port.in_this_namespace != Some(false) && ifindex.is_none_or(|index| port.index == index)
    };
    let shown = all.filter(|process| ifindex.is_none() || process.ports.iter().any(is_on));
    let unreadable = census.unreadable.iter().map(|(_, error)| error.to_string());
    (shown.collect(), unreadable.chain(census.not_known.clone()).collect())
}

impl NetmemProcess {
    fn new(found: &Found, here: Option<u64>) -> Self {
        let page = &found.page;
        let mut process = Self {
            pid: found.pid,
            command: page.command.to_string(),
            state: match found.standing {
                Standing::Running => "running",
                Standing::Stale => "stale",
                Standing::Orphaned => "orphaned",
            },
            started_at_ns: page.started_ns,
            age_ns: page.read_ns.saturating_sub(page.started_ns),
            workers: page.areas.iter().filter(|area| area.state != AreaState::Ended).count(),
            complete: is_complete(page),
            ports: Vec::new(),
            packets: Packets::default(),
            memory: Vec::new(),
            frames: Frames::default(),
        };
        for area in &page.areas {
            process.add(area, here);
        }
        process
    }

    fn add(&mut self, area: &AreaReport, here: Option<u64>) {
        let snapshot = &area.snapshot;
        // Another process wrote the figures: their sum may be anything.
        let add = |sum: &mut u64, n: u64| *sum = sum.saturating_add(n);
        if let Some(packets) = &snapshot.packets {
            let sum = &mut self.packets;
            add(&mut sum.received, packets.received);
            add(&mut sum.created, packets.created);
            add(&mut sum.cloned, packets.cloned);
            add(&mut sum.transmitted, packets.transmitted);
            add(&mut sum.consumed, packets.consumed);
            add(&mut sum.held, packets.held);
            for (reason, n) in &packets.dropped {
                add(sum.dropped.entry(reason.to_string()).or_default(), *n);
            }
        }
        if area.state == AreaState::Ended {
            // Its packets are told of still; ports and memory went with it.
            return;
        }
        self.ports.extend(snapshot.ports.iter().map(|port| NetmemPort::new(port, here)));
        self.memory.extend(snapshot.regions.iter().map(|region| NetmemMemory {
            bytes: region.bytes,
            page_bytes: region.page_bytes,
            tier: region.tier.to_string(),
            numa_node: region.numa_node,
        }));
        for pool in &snapshot.pools {
            add(&mut self.frames.slots, pool.slots);
            for (owner, n) in pool.owners.iter() {
                add(self.frames.owners.entry(owner.name()).or_default(), n);
            }
        }
    }
}

fn is_complete(page: &PageReport) -> bool {
    page.areas.iter().all(|area| {
        area.state != AreaState::Busy
            && !area.is_damaged
            && area.left_out == 0
            && area.unknown_kinds.is_empty()
    })
}

impl NetmemPort {
    fn new(port: &PortRecord, here: Option<u64>) -> Self {
        let progress = port.progress;
        let ring = |RingRecord { entries, level }| Ring { entries, level };
        Self {
            interface: port.interface.to_string(),
            index: port.ifindex,
            in_this_namespace: port.netns_inode.zip(here).map(|(its, ours)| its == ours),
            queue: port.queue,
            mode: port.mode.to_string(),
            need_wakeup: port.need_wakeup,
            busy_poll: port.busy_poll,
            filled: progress.filled,
            received: progress.received,
            transmitted: progress.transmitted,
            completed: progress.completed,
            rings: BTreeMap::from([
                ("fill", ring(port.fill)),
                ("rx", ring(port.rx)),
                ("tx", ring(port.tx)),
                ("completion", ring(port.completion)),
            ]),
            kernel: port.statistics.map(KernelStatistics::from),
        }
    }
}

/// Writes a process as rows of the table.
pub(super) fn print(out: &mut dyn Write, process: &NetmemProcess) -> io::Result<()> {
    let NetmemProcess { pid, command, state, age_ns, packets, .. } = process;
    let state = match *state {
        "stale" => "stale: it has told nothing for a while",
        "orphaned" => "orphaned: left by a process that has ended",
        state => state,
    };
    let seconds = age_ns / 1_000_000_000;
    row(out, "netmem", format!("{command} (pid {pid}), started {seconds} s ago, {state}"))?;
    for port in &process.ports {
        let place = match port.in_this_namespace {
            Some(true) => "",
            Some(false) => " of another network namespace",
            None => " of a network namespace that is not known",
        };
        let NetmemPort { interface, queue, mode, received, transmitted, .. } = port;
        let line = format!("{interface}{place}, queue {queue}, {mode}");
        row(out, "", format!("{line}: {received} received, {transmitted} transmitted"))?;
    }
    let dropped = packets.dropped.values().fold(0u64, |sum, n| sum.saturating_add(*n));
    let ends = format!(
        "{} received, {} transmitted, {dropped} dropped, {} held",
        packets.received, packets.transmitted, packets.held
    );
    row(out, "", format!("packets: {ends}"))?;
    for memory in &process.memory {
        let sizes = format!("{} in pages of {}", bytes(memory.bytes), bytes(memory.page_bytes));
        row(out, "", format!("memory: {sizes}"))?;
    }
    if process.frames.slots > 0 {
        let owners = process.frames.owners.iter().filter(|&(_, &n)| n > 0);
        let owners: Vec<_> = owners.map(|(owner, n)| format!("{owner} {n}")).collect();
        row(out, "", format!("frames: {}: {}", process.frames.slots, owners.join(", ")))?;
    }
    if !process.complete {
        row(out, "", "not all that its workers told could be read")?;
    }
    Ok(())
}
