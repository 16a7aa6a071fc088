//! What a worker tells, and how that lies in words.
//!
//! ```text
//!   content of an area   words behind | state | published ns | publishes | left out | record | record ...
//!   record               kind << 32 | words with this one | fields in the order of the structure
//! ```
//!
//! A reader skips kinds that it does not know, and fields behind those that it knows: new figures go to
//! the end of a record, new things get a new kind. A text is 2 or 4 words; what is not known is
//! `u64::MAX`. Kinds in use: 1 region, 2 pool, 3 port, 4 packets, 5 worker; 6 is kept for budgets.

mod code;

use std::fs;
use std::os::unix::fs::MetadataExt as _;

pub(super) use self::code::{decode, encode};
use super::text::{LongName, Name};
use crate::{
    mem::{
        Audit, Counts, DropReason, Pool, Region,
        audit::{Owner, Owners},
    },
    sys::memfd::thread_and_cpu,
    xdp::{Levels, Port, Progress, Statistics},
};

/// What a worker publishes: kept by the worker, changed in place and published again, so that nothing
/// is allocated after the first time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The worker itself.
    pub worker: Option<WorkerRecord>,
    /// What became of its packets.
    pub packets: Option<PacketRecord>,
    /// Regions that it speaks for: each is told by one worker of the process.
    pub regions: Vec<RegionRecord>,
    /// Pools that it speaks for.
    pub pools: Vec<PoolRecord>,
    /// Its ports.
    pub ports: Vec<PortRecord>,
}

/// A worker thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkerRecord {
    /// The kernel's number of the thread.
    pub thread_id: u32,
    /// The processor that it ran on when it looked.
    pub cpu: u32,
    /// Batches with at least one packet.
    pub batches: u64,
    /// Looks at the rx rings that found nothing.
    pub empty_polls: u64,
    /// Times it slept for want of packets.
    pub waits: u64,
}

/// What became of the packets of a worker: `received + created + cloned = transmitted + consumed +
/// dropped + held`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of `mem::Counts`")]
pub struct PacketRecord {
    pub received: u64,
    pub created: u64,
    pub cloned: u64,
    pub transmitted: u64,
    pub consumed: u64,
    /// Begun and not ended.
    pub held: u64,
    /// Reasons that were counted at all. By name: a reader may know others.
    pub dropped: Vec<(LongName, u64)>,
}

/// A region.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RegionRecord {
    /// Its length.
    pub bytes: u64,
    /// The size of its pages.
    pub page_bytes: u64,
    /// The node that it was bound to, if any.
    pub numa_node: Option<u32>,
    /// The name of the page tier: `2m`.
    pub tier: Name,
}

/// A pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolRecord {
    /// How many slots it has.
    pub slots: u64,
    /// The size of a slot.
    pub frame_bytes: u64,
    /// Slots by owner: an audit's, or what the ring indices say.
    pub owners: Owners,
}

/// A port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PortRecord {
    /// The interface's name.
    pub interface: Name,
    /// The interface's index.
    pub ifindex: u32,
    /// The network namespace that the interface is in, if known: the inode of `/proc/PID/ns/net`.
    pub netns_inode: Option<u64>,
    /// The queue.
    pub queue: u32,
    /// The name of the XDP mode.
    pub mode: Name,
    /// Whether the kernel says when it wants to be woken.
    pub need_wakeup: bool,
    /// Whether the socket is polled busily.
    pub busy_poll: bool,
    /// The fill ring.
    pub fill: RingRecord,
    /// The rx ring.
    pub rx: RingRecord,
    /// The tx ring.
    pub tx: RingRecord,
    /// The completion ring.
    pub completion: RingRecord,
    /// Slots inside the kernel to be received into.
    pub kernel_rx: u64,
    /// Slots inside the kernel to be sent.
    pub kernel_tx: u64,
    /// Slots that were lost to bad descriptors.
    pub quarantined: u64,
    /// How far the rings have got.
    pub progress: Progress,
    /// The kernel's counters, if it told them.
    pub statistics: Option<Statistics>,
}

/// A ring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RingRecord {
    /// How many entries it has room for.
    pub entries: u32,
    /// How many it has now.
    pub level: u64,
}

impl Snapshot {
    /// An empty one with the calling thread as its worker.
    #[must_use]
    pub fn of_this_thread() -> Self {
        let mut worker = WorkerRecord::default();
        worker.look();
        Self { worker: Some(worker), ..Self::default() }
    }
}

impl WorkerRecord {
    /// Notes the calling thread and its processor.
    pub fn look(&mut self) {
        (self.thread_id, self.cpu) = thread_and_cpu();
    }
}

impl PacketRecord {
    /// Room for every reason, so that [`set`](Self::set) does not allocate.
    #[must_use]
    pub fn new() -> Self {
        Self { dropped: Vec::with_capacity(DropReason::ALL.len()), ..Self::default() }
    }

    /// Takes over the counts of ports and pool handle, summed. What they leave open is held: exact in
    /// the thread that counts, unless packets go to other threads.
    pub fn set(&mut self, counts: &Counts) {
        self.received = counts.received;
        self.created = counts.created;
        self.cloned = counts.cloned;
        self.transmitted = counts.transmitted;
        self.consumed = counts.consumed;
        self.held = u64::try_from(counts.outstanding()).unwrap_or(0);
        self.dropped.clear();
        self.dropped.extend(counts.dropped.iter().map(|(reason, n)| (reason.name().into(), n)));
    }

    /// Packets dropped, over all reasons.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().fold(0, |sum, &(_, n)| sum.saturating_add(n))
    }
}

impl From<&Region> for RegionRecord {
    fn from(region: &Region) -> Self {
        let report = region.report();
        Self {
            bytes: report.bytes as u64,
            page_bytes: report.tier.page_bytes() as u64,
            numa_node: report.numa_node,
            tier: report.tier.name().into(),
        }
    }
}

impl PoolRecord {
    /// The pool's slots by what the indices of all its ports' rings say: no slot is looked at. Exact at
    /// rest; while packets move, a slot may show where it was a moment ago.
    #[must_use]
    pub fn of_levels<'levels>(
        pool: &Pool,
        ports: impl IntoIterator<Item = &'levels Levels>,
    ) -> Self {
        let mut owners = Owners::default();
        let mut away = 0;
        for port in ports {
            let of_port = [
                (Owner::Fill, port.fill),
                (Owner::KernelRx, port.kernel_rx),
                (Owner::Rx, port.rx),
                (Owner::Tx, port.tx),
                (Owner::KernelTx, port.kernel_tx),
                (Owner::Completion, port.completion),
                (Owner::Quarantined, port.quarantined),
            ];
            for (owner, count) in of_port {
                owners[owner] += count;
                away += count;
            }
        }
        let in_flight = u64::from(pool.in_flight());
        owners[Owner::User] = in_flight.saturating_sub(away);
        owners[Owner::Free] = u64::from(pool.slots()).saturating_sub(in_flight.max(away));
        Self { owners, ..Self::shape(pool) }
    }

    /// The pool's slots as an audit found them.
    #[must_use]
    pub fn of_audit(pool: &Pool, audit: &Audit) -> Self {
        Self { owners: audit.owners, ..Self::shape(pool) }
    }

    fn shape(pool: &Pool) -> Self {
        let (slots, frame_bytes) = (pool.slots().into(), pool.config().frame_bytes.into());
        Self { slots, frame_bytes, owners: Owners::default() }
    }
}

impl PortRecord {
    /// What does not change of a port, and how it is now. In the thread that opened it: the network
    /// namespace is the calling thread's.
    #[must_use]
    pub fn new(port: &Port) -> Self {
        let report = port.report();
        let namespace = fs::metadata("/proc/thread-self/ns/net").ok();
        let mut record = Self {
            interface: report.interface.as_str().into(),
            ifindex: report.ifindex,
            netns_inode: namespace.map(|namespace| namespace.ino()),
            queue: report.queue,
            mode: report.mode.name().into(),
            need_wakeup: report.need_wakeup,
            busy_poll: report.busy_poll.is_some(),
            ..Self::default()
        };
        record.update(port);
        record
    }

    /// Takes over how the port is now, with one system call for the kernel's counters; returns the
    /// levels for [`PoolRecord::of_levels`].
    pub fn update(&mut self, port: &Port) -> Levels {
        let levels = port.levels();
        let ring = |entries, level| RingRecord { entries, level };
        self.fill = ring(levels.sizes.fill, levels.fill);
        self.rx = ring(levels.sizes.rx, levels.rx);
        self.tx = ring(levels.sizes.tx, levels.tx);
        self.completion = ring(levels.sizes.completion, levels.completion);
        (self.kernel_rx, self.kernel_tx) = (levels.kernel_rx, levels.kernel_tx);
        self.quarantined = levels.quarantined;
        self.progress = port.progress();
        // Gone with the interface: not known, rather than 0.
        self.statistics = port.statistics().ok();
        levels
    }
}
