//! The AF_XDP sockets of a namespace: what socket diagnosis lists, and what a look through a process that
//! holds one gives.
//!
//! ```text
//!   socket diagnosis (CONFIG_XDP_SOCKETS_DIAG)   queue, entries of rings, UMEM, counters
//!   /proc/PID/fd, pidfd_getfd, the rings mapped   levels of rings, entries, mode, counters; with a guess of the queue
//! ```
//! Levels are told by the second alone, so both are asked where both answer. `/proc/net/protocols` counts
//! them: where there is none, nobody is asked. Who holds sockets is looked for when that number changes or
//! a queue is bound or given up, and now and then: it means asking each descriptor of the machine.
//! Each look itself is over before the next one (D5, H1), and keeps nobody's queue.
//!
//! A process may hold a socket of another namespace than its own, as confined workers do: a socket
//! belongs where it was opened, by its cookie (kernel 5.14).

use std::collections::BTreeMap;

use serde::Serialize;

use super::sockets::ProcessName;
use crate::maps::{self, Entries, Place, Ring, Statistics};
use crate::netlink::XdpSocket;
use crate::proc::Protocols;
use crate::process::{Depth, Holders};
use crate::queues::QueueMap;
use crate::source::{Reading, Root, Unavailable, or_null};

/// Who holds AF_XDP sockets is looked for in every so manyeth sample, if any are known.
const SAMPLES_PER_SCAN: u32 = 30;

/// AF_XDP sockets, by what tells of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(clippy::exhaustive_structs, reason = "made by tests of views")]
pub struct XdpSockets {
    /// Those that socket diagnosis lists: where they are bound, their rings, UMEM and counters.
    #[serde(serialize_with = "or_null")]
    pub listed: Reading<Vec<XdpSocket>>,
    /// Those and the ones that processes hold, where socket diagnosis does not tell.
    pub all: Vec<XdpSocketSample>,
    /// Why there may be more of them.
    pub gap: Option<String>,
}

/// An AF_XDP socket, and who holds it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(clippy::exhaustive_structs, reason = "made by tests of views")]
pub struct XdpSocketSample {
    /// Its number, as in `socket:[123]`.
    pub inode: u32,
    /// Who has a descriptor of it, as far as can be seen.
    pub owners: Vec<ProcessName>,
    /// What socket diagnosis says.
    pub listed: Option<XdpSocket>,
    /// What a look through an owner gave, one that has its rings mapped if there is such a one.
    #[serde(serialize_with = "or_null")]
    pub look: Reading<maps::Socket>,
}

/// A ring of a socket, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "made by tests of views")]
pub struct XdpRing {
    /// How many entries it has.
    pub entries: Option<Entries>,
    /// How many were made and not taken.
    pub level: Option<u32>,
}

/// What is kept between samples.
#[derive(Debug, Default)]
pub(super) struct XdpState {
    held: Option<Held>,
    /// What there was when `held` was looked for.
    known: Known,
    samples: u32,
}

/// What tells that sockets have come or gone.
#[derive(Debug, Default, PartialEq)]
struct Known {
    /// Interfaces and queues that are bound.
    bound: Vec<(u32, u32)>,
    listed_inodes: Vec<u32>,
    count: Option<u64>,
}

/// Who holds which sockets, of all namespaces.
#[derive(Debug, Clone, Default)]
struct Held {
    owners: BTreeMap<u32, Vec<ProcessName>>,
    /// Those of a process of this namespace.
    here: Vec<u32>,
    gap: Option<String>,
}

impl XdpSocketSample {
    /// A ring of it; nothing if it has no such ring.
    pub fn ring(&self, ring: Ring) -> Option<XdpRing> {
        let looked = self.look.as_ref().ok();
        let look = looked.and_then(|socket| socket.rings.iter().find(|look| look.ring == ring));
        let told = self.listed.as_ref().and_then(|listed| match ring {
            Ring::Rx => listed.rx_ring,
            Ring::Tx => listed.tx_ring,
            Ring::Fill => listed.fill_ring,
            Ring::Completion => listed.completion_ring,
        });
        let entries = told.map(Entries::Exactly).or_else(|| look?.entries);
        (told.is_some() || look.is_some())
            .then(|| XdpRing { entries, level: look.and_then(|look| look.level) })
    }

    /// Whether the driver uses its UMEM without copying.
    pub fn is_zero_copy(&self) -> Option<bool> {
        let told = self.listed.as_ref().and_then(|listed| listed.umem.as_ref());
        let seen = self.look.as_ref().ok().and_then(|look| look.zero_copy);
        told.map(|umem| umem.is_zero_copy).or(seen)
    }

    /// The length of its UMEM.
    pub fn umem_bytes(&self) -> Option<u64> {
        Some(self.listed.as_ref()?.umem.as_ref()?.len_bytes)
    }

    /// The kernel's counters of it.
    pub fn statistics(&self) -> Option<Statistics> {
        if let Ok(maps::Socket { statistics: Ok(statistics), .. }) = &self.look {
            return Some(*statistics);
        }
        let told = self.listed.as_ref()?.statistics?;
        Some(Statistics {
            rx_dropped: told.rx_dropped,
            rx_invalid_descs: told.rx_invalid_descs,
            tx_invalid_descs: told.tx_invalid_descs,
            rx_ring_full: Some(told.rx_ring_full),
            rx_fill_ring_empty_descs: Some(told.rx_fill_ring_empty_descs),
            tx_ring_empty_descs: Some(told.tx_ring_empty_descs),
        })
    }

    /// Interface and queue as numbers, where they are known for sure.
    pub fn bound(&self) -> Option<(u32, u32)> {
        match (&self.listed, self.look.as_ref().map(|look| &look.place)) {
            (Some(listed), _) => (listed.ifindex != 0).then_some((listed.ifindex, listed.queue)),
            (None, Ok(Place::Bound { queue, .. })) => Some((queue.ifindex, queue.queue)),
            _ => None,
        }
    }
}

impl XdpSockets {
    /// None, because `why`.
    pub(super) fn unavailable(why: &Unavailable) -> Self {
        Self { listed: Err(why.clone()), all: Vec::new(), gap: Some(why.reason.clone()) }
    }
}

impl XdpState {
    pub(super) fn forget(&mut self) {
        self.held = None;
    }

    /// Looks at the sockets of the calling thread's namespace.
    pub(super) fn sample(
        &mut self,
        root: &Root,
        listed: Reading<Vec<XdpSocket>>,
        queues: &Reading<QueueMap>,
    ) -> XdpSockets {
        if !root.is_live() {
            let gap = Some("a recorded machine has none to ask".to_owned());
            return XdpSockets { listed, all: Vec::new(), gap };
        }
        let bound: Vec<_> = queues.as_ref().map_or(Vec::new(), |map| {
            let bound = map.queues.iter().filter(|mapped| mapped.queue.is_xdp_socket);
            bound.map(|mapped| (mapped.queue.ifindex, mapped.queue.id)).collect()
        });
        let count = in_use(root);
        let is_none = match &listed {
            Ok(listed) => listed.is_empty(),
            Err(_) => count == Some(0),
        };
        if is_none {
            return XdpSockets { listed, all: Vec::new(), gap: None };
        }
        let listed_inodes = listed.iter().flatten().map(|socket| socket.inode).collect();
        let held = self.held(Known { bound, listed_inodes, count });
        let all = sockets(root, &listed, &held);
        let missing = count.and_then(|count| count.checked_sub(all.len() as u64));
        let gap = match (&listed, missing.filter(|missing| *missing > 0)) {
            (Ok(_), _) => None,
            (Err(_), None) => held.gap,
            (Err(_), Some(missing)) => {
                let why = held.gap.unwrap_or_else(|| "no process is seen to hold them".to_owned());
                Some(format!("{missing} more are counted: {why}"))
            }
        };
        XdpSockets { listed, all, gap }
    }

    fn held(&mut self, known: Known) -> Held {
        let is_due = self.samples.is_multiple_of(SAMPLES_PER_SCAN) || known != self.known;
        self.samples = self.samples.wrapping_add(1);
        let held = self.held.take().filter(|_| !is_due).unwrap_or_else(Held::scan);
        self.known = known;
        self.held = Some(held.clone());
        held
    }
}

impl Held {
    fn scan() -> Self {
        let holders = Holders::scan(Depth::Processes);
        let owners = |inode| {
            let of = holders.of_socket(inode).into_iter();
            of.map(|process| ProcessName { pid: process.pid, name: process.name }).collect()
        };
        Self {
            owners: holders.all_sockets().map(|inode| (inode, owners(inode))).collect(),
            here: holders.sockets().collect(),
            gap: holders.gap().map(str::to_owned),
        }
    }
}

/// What is known of each socket that is listed, or held and opened here.
fn sockets(root: &Root, listed: &Reading<Vec<XdpSocket>>, held: &Held) -> Vec<XdpSocketSample> {
    let inodes: Vec<u32> = match listed {
        Ok(listed) => listed.iter().map(|socket| socket.inode).collect(),
        Err(_) => held.owners.keys().copied().collect(),
    };
    let here = Ok(maps::Bindings::here());
    let mut looks = BTreeMap::new();
    let sample = |inode| {
        let owners = held.owners.get(&inode).cloned().unwrap_or_default();
        // Who has its rings mapped tells how long they are.
        let mut best = Err(Unavailable::absent(source(inode), "no process is seen to hold it"));
        for owner in &owners {
            let look = || maps::sockets_of(root, owner.pid, &inodes, &here);
            let look = numbered(looks.entry(owner.pid).or_insert_with(look), inode);
            let is_whole = look.as_ref().is_ok_and(has_entries);
            if is_whole || best.is_err() {
                best = look;
            }
            if is_whole {
                break;
            }
        }
        let listed = listed.iter().flatten().find(|socket| socket.inode == inode).cloned();
        XdpSocketSample { inode, owners, listed, look: best }
    };
    let mut all: Vec<_> = inodes.iter().copied().map(sample).collect();
    all.retain(|socket| {
        let look = socket.look.as_ref().ok();
        let opened_here = look.and_then(|look| here.as_ref().ok()?.has_opened(look));
        socket.listed.is_some() || opened_here.unwrap_or_else(|| held.here.contains(&socket.inode))
    });
    all
}

/// How many there are in the calling thread's namespace, bound or not, whoever holds them.
fn in_use(root: &Root) -> Option<u64> {
    let protocols = Protocols::read(root).ok()?;
    let of_xdp = protocols.rows.iter().find(|row| row.name == "XDP");
    Some(of_xdp.map_or(0, |row| row.sockets))
}

fn has_entries(socket: &maps::Socket) -> bool {
    socket.rings.iter().any(|ring| ring.entries.is_some())
}

fn numbered(looks: &Reading<Vec<maps::Socket>>, inode: u32) -> Reading<maps::Socket> {
    let all = looks.as_ref().map_err(Clone::clone)?;
    let gone = || Unavailable::stale(source(inode), "its process has closed it");
    all.iter().find(|socket| socket.inode == u64::from(inode)).cloned().ok_or_else(gone)
}

fn source(inode: u32) -> String {
    format!("AF_XDP socket:[{inode}]")
}
