//! What the sockets over IP of a namespace hold: sums, and the largest.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::netlink::{InetDump, InetProtocol, InetSocket, SockDiag};
use crate::proc::{Sockstat, Sockstat6};
use crate::process::{Cgroups, Identity};
use crate::sockets::{BufferLocks, Ledger, MemorySum, Totals, buffer_locks, for_each};
use crate::source::{Reading, Root, Unavailable, or_null};

/// The sockets over IP of a namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SocketsSample {
    /// Sums by protocol.
    pub protocols: Vec<ProtocolSockets>,
    /// Sums over the protocols that could be told.
    pub total: MemorySum,
    /// Sockets that hold most, the largest first.
    pub top: Vec<TopSocket>,
    /// Processes whose sockets hold most, the largest first. A socket that several share counts in
    /// full for each.
    pub processes: Vec<ProcessSockets>,
    /// How many processes have sockets.
    pub process_count: usize,
    /// Sockets that no process has a descriptor of, as far as can be seen.
    pub without_process: MemorySum,
    /// Control groups of version 2 whose sockets hold most, the largest first.
    pub cgroups: Vec<CgroupSockets>,
    /// How many control groups have sockets.
    pub cgroup_count: usize,
    /// Sockets whose control group is not told.
    pub without_cgroup: MemorySum,
    /// Why some processes could not be looked into, if so.
    pub gap: Option<Unavailable>,
}

/// The sockets of a protocol, over IPv4 and IPv6.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(clippy::exhaustive_structs, reason = "made by tests of views")]
pub struct ProtocolSockets {
    /// The protocol.
    pub protocol: InetProtocol,
    /// Their sums.
    #[serde(serialize_with = "or_null")]
    pub sum: Reading<MemorySum>,
}

/// One of the sockets that hold most.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(clippy::exhaustive_structs, reason = "made by tests of views")]
pub struct TopSocket {
    /// The socket.
    pub socket: InetSocket,
    /// What it holds of the machine's memory, in bytes of truesize.
    pub held_bytes: u64,
    /// Who has a descriptor of it.
    pub owners: Vec<ProcessName>,
    /// Which of its buffers do not follow the connection; null if nobody could be asked.
    #[serde(serialize_with = "or_null")]
    pub locks: Reading<BufferLocks>,
}

/// A process, by number and short name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(clippy::exhaustive_structs, reason = "made by tests of views")]
pub struct ProcessName {
    /// Its number.
    pub pid: u32,
    /// The kernel's short name of it; empty if it has ended.
    pub name: String,
}

/// The sockets of a process.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(clippy::exhaustive_structs, reason = "made by tests of views")]
pub struct ProcessSockets {
    /// The process.
    #[serde(flatten)]
    pub process: ProcessName,
    /// What they hold.
    pub sum: MemorySum,
}

/// The sockets of a control group.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(clippy::exhaustive_structs, reason = "made by tests of views")]
pub struct CgroupSockets {
    /// Its number.
    pub id: u64,
    /// Its path from the hierarchy's root; null if it has gone.
    pub path: Option<String>,
    /// What they hold.
    pub sum: MemorySum,
}

/// What is remembered between samples.
#[derive(Debug)]
pub(super) struct SocketState {
    ledger: Ledger,
    top_count: usize,
    names: Names,
    cgroups: Option<Cgroups>,
}

/// Names of processes, each looked up once.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<u32, String>);

impl SocketState {
    pub(super) fn new(top_count: usize) -> Self {
        Self { ledger: Ledger::new(top_count), top_count, names: Names::default(), cgroups: None }
    }

    pub(super) fn forget(&mut self) {
        *self = Self::new(self.top_count);
    }

    pub(super) fn sample(&mut self, root: &Root, diag: &mut SockDiag) -> SocketsSample {
        let protocols = InetProtocol::ALL.map(|protocol| {
            let mut sum = MemorySum::default();
            let told = for_each(root, diag, dump(root, protocol), |socket| {
                sum.add(socket.memory.as_ref());
                self.ledger.add(socket);
            });
            ProtocolSockets { protocol, sum: told.map(|_| sum) }
        });
        let totals = self.ledger.finish(root);
        let mut sample = SocketsSample {
            protocols: protocols.into(),
            total: totals.total,
            process_count: totals.by_process.len(),
            without_process: totals.without_process,
            cgroup_count: totals.by_cgroup.len(),
            without_cgroup: totals.without_cgroup,
            gap: totals.gap.clone(),
            ..SocketsSample::default()
        };
        sample.cgroups = self.cgroups(root, &totals);
        let processes = largest(&totals.by_process, self.top_count).into_iter();
        let named = |(pid, sum)| ProcessSockets { process: self.names.of(root, pid), sum };
        sample.processes = processes.map(named).collect();
        sample.top = totals.top.iter().map(|socket| self.top(root, socket)).collect();
        sample
    }

    pub(super) fn names(&mut self) -> &mut Names {
        &mut self.names
    }

    fn top(&mut self, root: &Root, socket: &InetSocket) -> TopSocket {
        let held = self.ledger.owners().of(socket.inode);
        let locks = match held.first() {
            Some(owner) => buffer_locks(owner.pid, owner.fd, socket.inode),
            None => Err(Unavailable::absent("SO_BUF_LOCK", "no process holds the socket")),
        };
        let mut pids: Vec<u32> = held.iter().map(|owner| owner.pid).collect();
        pids.dedup();
        TopSocket {
            socket: *socket,
            held_bytes: socket.memory.map_or(0, |memory| memory.held_bytes()),
            owners: pids.into_iter().map(|pid| self.names.of(root, pid)).collect(),
            locks,
        }
    }

    fn cgroups(&mut self, root: &Root, totals: &Totals) -> Vec<CgroupSockets> {
        let shown = largest(&totals.by_cgroup, self.top_count);
        // Looked at once, and again for those that have come since.
        let is_known = |known: &Cgroups| shown.iter().all(|(id, _)| known.path(*id).is_some());
        if !shown.is_empty() && !self.cgroups.as_ref().is_some_and(is_known) {
            self.cgroups = Cgroups::scan(root).ok();
        }
        let path = |id| self.cgroups.as_ref()?.path(id).map(str::to_owned);
        shown.into_iter().map(|(id, sum)| CgroupSockets { id, path: path(id), sum }).collect()
    }
}

impl Names {
    /// The name of a process.
    pub(super) fn of(&mut self, root: &Root, pid: u32) -> ProcessName {
        let read = || Identity::read(root, pid).map(|identity| identity.name).unwrap_or_default();
        ProcessName { pid, name: self.0.entry(pid).or_insert_with(read).clone() }
    }
}

/// A dump of all sockets of a protocol. The kernel goes through a table of buckets for each family, which
/// for TCP may be a million: not for IPv6 where none is in use, closing, or asked for by a listener.
fn dump(root: &Root, protocol: InetProtocol) -> InetDump {
    let dump = InetDump::new(protocol);
    let (Ok(four), Ok(six)) = (Sockstat::read(root), Sockstat6::read(root)) else { return dump };
    let is_none = match protocol {
        InetProtocol::Tcp => six.tcp6_inuse == 0 && four.tcp_tw == 0,
        InetProtocol::Udp => six.udp6_inuse == 0,
        InetProtocol::UdpLite => six.udplite6_inuse == Some(0),
        InetProtocol::Raw => six.raw6_inuse == 0,
    };
    if is_none { dump.without_ipv6() } else { dump }
}

/// The entries that hold most, the largest first.
fn largest<K: Copy + Ord>(sums: &BTreeMap<K, MemorySum>, count: usize) -> Vec<(K, MemorySum)> {
    let mut all: Vec<_> = sums.iter().map(|(key, sum)| (*key, *sum)).collect();
    all.sort_by_key(|(key, sum)| (std::cmp::Reverse((sum.held_bytes, sum.sockets)), *key));
    all.truncate(count);
    all
}
