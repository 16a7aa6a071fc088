//! What sockets hold: in all, by process, by control group, and which hold most.
//!
//! ```text
//!   socket diagnosis --each socket--> Ledger --+--> total, those without a process
//!   /proc/PID/fd ----> Owners --inode -> pids--+--> by process
//!                      (kept between samples)  +--> by control group, top N
//! ```
//! What counts is [`SocketMemory::held_bytes`]. A socket that several processes share counts in full for
//! each of them, so the processes' sums may be more than the total; the total is exact.
//!
//! A dump of a protocol without rows is a fact only if the kernel can tell: [`for_each`] asks
//! `/proc/net/sockstat` as well.

mod locks;
mod owners;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::locks::{BufferLocks, buffer_locks};
pub use self::owners::{Owner, Owners};
use crate::netlink::{InetDump, InetProtocol, InetSocket, SockDiag, SocketMemory};
use crate::proc::{Sockstat, Sockstat6};
use crate::source::{Reading, Root, Unavailable};

/// Sums over sockets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MemorySum {
    /// How many sockets.
    pub sockets: u64,
    /// What they hold of the machine's memory ([`SocketMemory::held_bytes`]).
    pub held_bytes: u64,
    /// What counts against the protocol's limit ([`SocketMemory::charged_bytes`]).
    pub charged_bytes: u64,
    /// Received, and not read yet.
    pub rmem_alloc_bytes: u64,
    /// On its way out.
    pub wmem_alloc_bytes: u64,
    /// In send queues.
    pub wmem_queued_bytes: u64,
    /// Charged in advance and not in use.
    pub fwd_alloc_bytes: u64,
    /// Packets that they have dropped.
    pub drops: u64,
    /// How many have dropped packets.
    pub sockets_with_drops: u64,
    /// How many have no room to receive.
    pub rcvbuf_full: u64,
    /// How many have no room to send.
    pub sndbuf_full: u64,
}

/// Sums of one look at the sockets.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Totals {
    /// All sockets.
    pub total: MemorySum,
    /// By process id.
    pub by_process: BTreeMap<u32, MemorySum>,
    /// By number of the control group of version 2.
    pub by_cgroup: BTreeMap<u64, MemorySum>,
    /// Sockets that no process has a descriptor of: orphans, TIME-WAIT, not accepted yet, and those
    /// of processes that could not be looked into.
    pub without_process: MemorySum,
    /// Sockets whose control group is not told.
    pub without_cgroup: MemorySum,
    /// Those that hold most, the largest first.
    pub top: Vec<InetSocket>,
    /// Why some processes could not be looked into, if so.
    pub gap: Option<Unavailable>,
}

/// Adds sockets up; remembers between samples who holds which.
#[derive(Debug, Default)]
pub struct Ledger {
    owners: Owners,
    top_count: usize,
    now: Totals,
    /// Sockets whose process is not known yet.
    unknown: Vec<(u32, SocketMemory)>,
}

/// Shows every socket that is asked for to `visit`, and returns how many there were; `diag` has to be of
/// the calling thread's network namespace.
///
/// # Errors
/// The kernel cannot tell: it says so, or it lists none of any state while `/proc/net/sockstat` counts
/// some.
pub fn for_each(
    root: &Root,
    diag: &mut SockDiag,
    dump: InetDump,
    mut visit: impl FnMut(&InetSocket),
) -> Reading<u64> {
    // Again if there were none: one may have come in between.
    for _ in 0..2 {
        let count = diag.for_each_inet(dump, &mut visit).map_err(|e| Unavailable::from(&e))?;
        if count > 0 || !dump.is_of_all_states() || in_use(root, dump.protocol())? == 0 {
            return Ok(count);
        }
    }
    let (protocol, count) = (dump.protocol(), in_use(root, dump.protocol())?);
    Err(Unavailable::absent(
        format!("socket diagnosis of {}", protocol.name()),
        format!("it lists none, but /proc/net/sockstat counts {count}: the kernel cannot tell"),
    ))
}

impl MemorySum {
    /// Adds a socket; one without memory of its own only counts.
    pub fn add(&mut self, memory: Option<&SocketMemory>) {
        self.sockets += 1;
        let Some(memory) = memory else { return };
        self.held_bytes += memory.held_bytes();
        self.charged_bytes += memory.charged_bytes();
        self.rmem_alloc_bytes += u64::from(memory.rmem_alloc_bytes);
        self.wmem_alloc_bytes += u64::from(memory.wmem_alloc_bytes);
        self.wmem_queued_bytes += u64::from(memory.wmem_queued_bytes);
        self.fwd_alloc_bytes += u64::from(memory.fwd_alloc_bytes);
        self.drops += u64::from(memory.drops);
        self.sockets_with_drops += u64::from(memory.drops > 0);
        self.rcvbuf_full += u64::from(memory.is_rcvbuf_full());
        self.sndbuf_full += u64::from(memory.is_sndbuf_full());
    }
}

impl Ledger {
    /// Begins; `top_count` is how many of those that hold most are kept, at most some hundred.
    pub fn new(top_count: usize) -> Self {
        Self { top_count, ..Self::default() }
    }

    /// Adds a socket over IP.
    pub fn add(&mut self, socket: &InetSocket) {
        self.add_memory(socket.inode, socket.cgroup_id, socket.memory.as_ref());
        let held = |socket: &InetSocket| socket.memory.map_or(0, |memory| memory.held_bytes());
        let own = held(socket);
        let is_full = self.now.top.len() >= self.top_count;
        if own == 0 || is_full && self.now.top.last().is_none_or(|last| held(last) >= own) {
            return;
        }
        let place = self.now.top.partition_point(|other| held(other) >= own);
        self.now.top.insert(place, *socket);
        self.now.top.truncate(self.top_count);
    }

    /// Adds a socket of any family; `inode` is 0 if no process can have it.
    pub fn add_memory(
        &mut self,
        inode: u32,
        cgroup_id: Option<u64>,
        memory: Option<&SocketMemory>,
    ) {
        self.now.total.add(memory);
        let group = match cgroup_id {
            Some(id) => self.now.by_cgroup.entry(id).or_default(),
            None => &mut self.now.without_cgroup,
        };
        group.add(memory);
        if !self.of_processes(inode, memory) {
            // One without memory weighs nothing, and counts.
            self.unknown.push((inode, memory.copied().unwrap_or_default()));
        }
    }

    /// Ends the sample and returns its sums. Looks at the descriptors of all processes if there were
    /// sockets that no sample before had.
    pub fn finish(&mut self, root: &Root) -> Totals {
        if !self.unknown.is_empty() {
            self.owners.scan(root, self.unknown.iter().map(|(inode, _)| *inode));
            for (inode, memory) in std::mem::take(&mut self.unknown) {
                self.of_processes(inode, Some(&memory));
            }
        }
        self.now.gap = self.owners.gap().cloned();
        std::mem::take(&mut self.now)
    }

    /// Who holds which socket, as of the last time that this was looked at.
    pub fn owners(&self) -> &Owners {
        &self.owners
    }

    /// Forgets who holds which socket: a descriptor may be handed to another process, and numbers are
    /// given out anew after 2^32 sockets. Once in a minute is often enough.
    pub fn forget_owners(&mut self) {
        self.owners = Owners::default();
    }

    /// Adds to the processes that hold a socket, or says that it is not known whether any do.
    fn of_processes(&mut self, inode: u32, memory: Option<&SocketMemory>) -> bool {
        if inode != 0 && !self.owners.knows(inode) {
            return false;
        }
        let mut last = None;
        for owner in self.owners.of(inode) {
            if last != Some(owner.pid) {
                self.now.by_process.entry(owner.pid).or_default().add(memory);
            }
            last = Some(owner.pid);
        }
        if last.is_none() {
            self.now.without_process.add(memory);
        }
        true
    }
}

/// Reads how many sockets of a protocol there are, over IPv4 and IPv6.
fn in_use(root: &Root, protocol: InetProtocol) -> Reading<u64> {
    let over4 = Sockstat::read(root)?;
    // A kernel without IPv6 has no such file.
    let over6 = Sockstat6::read(root).ok();
    let count6 = |of: fn(&Sockstat6) -> u64| over6.as_ref().map_or(0, of);
    Ok(match protocol {
        InetProtocol::Tcp => over4.tcp_inuse + count6(|of| of.tcp6_inuse),
        InetProtocol::Udp => over4.udp_inuse + count6(|of| of.udp6_inuse),
        InetProtocol::UdpLite => {
            over4.udplite_inuse.unwrap_or(0) + count6(|of| of.udplite6_inuse.unwrap_or(0))
        }
        InetProtocol::Raw => over4.raw_inuse + count6(|of| of.raw6_inuse),
    })
}

#[cfg(test)]
mod tests;
