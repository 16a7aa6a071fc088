//! What a time of looking at the machine says, as far as a rule needs it.
//!
//! ```text
//!   Sample at the begin, Sample at the end       counters, softnet, protocols, links: what they grew by
//!   a dump of TCP and UDP, a dump, ... a dump    each socket: what it grew by, what it held at most;
//!                                                the protocols' memory: the most
//!   control groups at the begin, at the end      of processes with sockets: what they hold, limits that were met
//!                      |
//!                      '--[`collect`]--> Evidence --rules, pure--> Plan
//! ```
//! [`Evidence`] is plain data, so that a rule can be given any machine; what could not be looked at is
//! named in it, and is never a zero that looks like health. Nothing on the machine is changed.
//!
//! A socket's locks cost a look into its process, so only those are asked for that a rule may speak of.
//!
//! Kernel: 5.15; what is missing on one is in [`Evidence::not_known`].

mod collect;
mod cpu;
mod groups;
mod watch;
mod xdp;

use std::collections::BTreeMap;

pub use self::collect::{Lookout, collect};
use super::Reach;
use crate::proc::{CgroupVersion, TransportProtocol};
use crate::sockets::BufferLocks;
use crate::sysctl::{KEYS, Key, Machine, Value};

/// What was seen.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "made by tests of rules")]
pub struct Evidence {
    /// For how long was looked, in milliseconds; at least 1.
    pub elapsed_ms: u64,
    /// What the kernel's defaults are computed from.
    pub machine: Machine,
    /// How much memory there is.
    pub memory: MachineMemory,
    /// Two ticks of the kernel's clock, in microseconds: the default of `net.core.netdev_budget_usecs`.
    pub two_ticks_us: u64,
    /// Whether the namespace that was looked at is the one that the machine boots with: files that are
    /// read at boot set its settings.
    pub is_initial_netns: bool,
    /// The settings that are there, by name.
    pub settings: BTreeMap<String, Setting>,
    /// By how much the protocols' counters grew, by `nstat`'s names; those that did not grow are left out.
    pub grown: BTreeMap<String, u64>,
    /// Memory of TCP and UDP, as far as told.
    pub protocols: Vec<ProtocolLoad>,
    /// The most TCP connections that were seen without a process that holds them; of the whole machine.
    pub tcp_orphans: Option<u64>,
    /// What each CPU's receive softirq did.
    pub cpus: Vec<CpuLoad>,
    /// TCP connections that moved data, the busiest first.
    pub tcp: Vec<TcpFlow>,
    /// UDP sockets that dropped datagrams, the worst first.
    pub udp: Vec<UdpReader>,
    /// TCP listeners that did not take connections, the worst first.
    pub listeners: Vec<Listener>,
    /// Sockets with ancillary memory, the largest first.
    pub optmem: Vec<OptmemUser>,
    /// Interfaces whose hardware dropped packets.
    pub devices: Vec<DeviceLoss>,
    /// AF_XDP sockets that lost packets.
    pub xdp: Vec<XdpLoss>,
    /// Processes with AF_XDP sockets, and the memory of their packets.
    pub umems: Vec<UmemHolder>,
    /// The pool of huge pages that a UMEM would take.
    pub huge_pages: Option<HugePagePool>,
    /// The share of the time in which a task could run and found no CPU, in percent (`some` of
    /// `/proc/pressure/cpu`).
    pub cpu_stall_percent: Option<u64>,
    /// Processes whose sockets hold most, the largest first: `nginx 812: 1048576 bytes in 3 sockets`.
    pub holders: Vec<String>,
    /// Memory control groups of processes with sockets, and their parents, the fullest first.
    pub groups: Vec<GroupLoad>,
    /// Whether these are the groups of all processes with sockets, with all their parents.
    pub has_all_groups: bool,
    /// Speed of the fastest device that is no virtual one, in bits per second.
    pub link_bits_per_s: Option<u64>,
    /// What could not be looked at, and why.
    pub not_known: Vec<String>,
}

/// A machine's memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "made by tests of rules")]
pub struct MachineMemory {
    /// Usable memory (`MemTotal`).
    pub total_bytes: u64,
    /// What programs could get without swapping (`MemAvailable`).
    pub available_bytes: u64,
    /// Memory in huge pages of all sizes: no buffer of the kernel's can be there.
    pub hugetlb_bytes: u64,
}

/// A setting as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "made by tests of rules")]
pub struct Setting {
    /// Its file's content without the newline.
    pub text: String,
    /// Whom it concerns on this kernel.
    pub reach: Reach,
}

/// Memory of a protocol's sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "made by tests of rules")]
pub struct ProtocolLoad {
    /// Whose.
    pub protocol: TransportProtocol,
    /// The largest of all looks, in pages.
    pub pages: u64,
    /// How far that may be off, in pages.
    pub error_bar_pages: u64,
}

/// What a CPU's receive softirq did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "made by tests of rules")]
pub struct CpuLoad {
    /// The CPU.
    pub cpu: usize,
    /// Packets.
    pub processed: u64,
    /// Packets that found its backlog full, or their flow above its limit.
    pub dropped: u64,
    /// Of these, by the flow limit.
    pub flow_limit: u64,
    /// Rounds that ended with work left.
    pub time_squeeze: u64,
    /// Times that another CPU gave it packets (RPS).
    pub received_rps: u64,
    /// Rounds of polling (`NET_RX` of `/proc/softirqs`).
    pub rounds: Option<u64>,
    /// Time in softirqs, in percent (`/proc/stat`).
    pub softirq_percent: Option<u64>,
}

/// A TCP connection, from this end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "made by tests of rules")]
pub struct TcpFlow {
    /// What it is called: `tcp 192.0.2.2:80 - 192.0.2.1:41000 (nginx 812)`.
    pub label: String,
    /// Which buffers its program fixed; `None` if that could not be asked.
    pub locks: Option<BufferLocks>,
    /// Limit of the receive buffer, at the end.
    pub rcvbuf_bytes: u64,
    /// Limit of the send buffer, at the end.
    pub sndbuf_bytes: u64,
    /// How often was looked, and how often more than half of the receive buffer was unread.
    pub looks: u32,
    /// See `looks`.
    pub looks_unread: u32,
    /// Bytes that came in order.
    pub received_bytes: u64,
    /// Bytes that the peer acknowledged.
    pub acked_bytes: u64,
    /// Time with data to send, in microseconds.
    pub busy_us: u64,
    /// Of it, held back by the peer's window.
    pub rwnd_limited_us: u64,
    /// Of it, held back by the send buffer.
    pub sndbuf_limited_us: u64,
    /// Least round-trip time, as either side of the connection knows it here.
    pub rtt_us: Option<u64>,
}

/// A UDP socket that dropped datagrams.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "made by tests of rules")]
pub struct UdpReader {
    /// What it is called.
    pub label: String,
    /// Whether its program fixed the receive buffer; `None` if that could not be asked.
    pub is_rcvbuf_locked: Option<bool>,
    /// Limit of the receive buffer, at the end.
    pub rcvbuf_bytes: u64,
    /// Datagrams dropped meanwhile.
    pub drops: u64,
    /// Of these, the most in one pause of its program.
    pub worst_pause_drops: u64,
    /// How often was looked, and how often more than half of the receive buffer was unread.
    pub looks: u32,
    /// See `looks`.
    pub looks_unread: u32,
}

/// A TCP listener that did not take connections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "made by tests of rules")]
pub struct Listener {
    /// What it is called.
    pub label: String,
    /// Connections that it dropped meanwhile, and SYNs.
    pub drops: u64,
    /// Most connections that waited to be accepted when it was looked at.
    pub accept_queue_peak: u64,
    /// How many may wait; the kernel takes one more.
    pub backlog: u64,
}

/// A socket with ancillary memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "made by tests of rules")]
pub struct OptmemUser {
    /// What it is called.
    pub label: String,
    /// What it had at most, in bytes.
    pub peak_bytes: u64,
}

/// What a device dropped before the kernel saw it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "made by tests of rules")]
pub struct DeviceLoss {
    /// The interface.
    pub name: String,
    /// For want of a buffer in a ring (`rx_missed_errors`).
    pub rx_missed: u64,
    /// For a full FIFO (`rx_fifo_errors`).
    pub rx_fifo: u64,
    /// By its queues, as the driver counts (`rx-hw-drops`).
    pub rx_hw_drops: u64,
    /// Receive queues.
    pub rx_queues: usize,
    /// Entries of its rx ring, and how many it takes at most; `None` is not told.
    pub rx_ring: Option<(u32, u32)>,
}

/// What an AF_XDP socket lost, and the rings that it depends on; `None` is not told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "made by tests of rules")]
pub struct XdpLoss {
    /// Number of the socket, as in `socket:[123]`.
    pub inode: u32,
    /// Packets that found no room in the rx ring.
    pub rx_ring_full: u64,
    /// Times that the fill ring had nothing to receive into.
    pub fill_ring_empty: u64,
    /// Entries of its rx ring: so many or more.
    pub rx_ring_at_least: Option<u32>,
    /// Entries of its fill ring: so many or fewer.
    pub fill_ring_at_most: Option<u32>,
    /// The interface that it is bound to.
    pub device: Option<String>,
    /// Entries of that device's own rx ring, if its driver receives into frames of the UMEM without
    /// copying: else the ring holds none of them.
    pub device_ring: Option<u32>,
    /// Frames of its UMEM.
    pub frames: Option<u64>,
}

/// A process with AF_XDP sockets, and the memory of their packets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "made by tests of rules")]
pub struct UmemHolder {
    /// Its name and number: `respond 812`.
    pub label: String,
    /// Length of all its UMEMs, in bytes.
    pub umem_bytes: u64,
    /// Of these, in pages that are not huge ones.
    pub small_page_bytes: u64,
    /// Whether no source tells which memory that is, and the likely one is taken.
    pub is_guess: bool,
    /// UMEMs of its user's processes without `CAP_IPC_LOCK`, in bytes.
    pub user_umem_bytes: u64,
    /// How much it may lock (`RLIMIT_MEMLOCK`), in bytes; `None` if as much as it likes.
    pub locked_limit_bytes: Option<u64>,
}

/// A memory control group that counts memory of sockets, at the look that found it fuller.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "made by tests of rules")]
pub struct GroupLoad {
    /// The group, as `/proc/PID/cgroup` names it.
    pub group: String,
    /// The tree that it is in.
    pub version: CgroupVersion,
    /// Where its files are.
    pub folder: String,
    /// What counts against the limit, in bytes: all memory in version 2, that of sockets in version 1.
    pub charged_bytes: u64,
    /// The limit, in bytes; `None`: none.
    pub limit_bytes: Option<u64>,
    /// Memory of sockets in it and below it, in bytes.
    pub sock_bytes: u64,
    /// How often its limit was met meanwhile, as far as the kernel counts that; `None` if it was not looked at
    /// before, as all below.
    pub met: Option<u64>,
    /// Processes in it that were killed meanwhile; version 2 only.
    pub oom_kills: Option<u64>,
    /// Times that its sockets were throttled meanwhile; later than 6.18.
    pub sock_throttled: Option<u64>,
    /// Processes with sockets in it and below it: `nginx 812`; those that hold most first.
    pub processes: Vec<String>,
}

/// A pool of huge pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "made by tests of rules")]
pub struct HugePagePool {
    /// Size of a page, in bytes.
    pub page_bytes: u64,
    /// Pages in the pool.
    pub total: u64,
    /// Of these, what a mapping could take.
    pub takeable: u64,
}

impl Evidence {
    /// A machine on which nothing happened, with every setting at its default.
    pub fn idle(machine: Machine, memory: MachineMemory) -> Self {
        let settings = KEYS.iter().filter_map(|key| {
            let reach = Reach::from(key.scope);
            let text = key.default(&machine)?.to_string();
            Some((key.name.to_owned(), Setting { text, reach }))
        });
        Self {
            elapsed_ms: 1,
            machine,
            memory,
            two_ticks_us: 8000,
            is_initial_netns: true,
            settings: settings.collect(),
            grown: BTreeMap::new(),
            protocols: Vec::new(),
            tcp_orphans: None,
            cpus: Vec::new(),
            tcp: Vec::new(),
            udp: Vec::new(),
            listeners: Vec::new(),
            optmem: Vec::new(),
            devices: Vec::new(),
            xdp: Vec::new(),
            umems: Vec::new(),
            huge_pages: None,
            cpu_stall_percent: None,
            holders: Vec::new(),
            groups: Vec::new(),
            has_all_groups: false,
            link_bits_per_s: None,
            not_known: Vec::new(),
        }
    }

    /// By how much a counter grew.
    pub fn grown(&self, name: &str) -> u64 {
        self.grown.get(name).copied().unwrap_or(0)
    }

    /// The number that a setting is.
    pub fn number(&self, key: &str) -> Option<u64> {
        match self.value(key)? {
            Value::Scalar(number) => u64::try_from(number).ok(),
            _ => None,
        }
    }

    /// The three numbers that a setting is.
    pub fn triple(&self, key: &str) -> Option<[u64; 3]> {
        unsigned(self.value(key)?)
    }

    /// The three numbers that a setting is or, where it is not there to be read, boots with.
    pub fn triple_or_default(&self, key: &str) -> Option<[u64; 3]> {
        let default = || unsigned(Key::named(key)?.default(&self.machine)?);
        self.triple(key).or_else(default)
    }

    /// A number of pages, in bytes.
    pub fn pages_to_bytes(&self, pages: u64) -> u64 {
        pages.saturating_mul(self.machine.page_bytes)
    }

    fn value(&self, key: &str) -> Option<Value> {
        Value::parse(self.settings.get(key)?.text.as_bytes())
    }
}

impl TcpFlow {
    /// The share of the time with data to send that was lost to `limited_us`, in percent.
    pub(super) fn percent_of_busy(&self, limited_us: u64) -> u64 {
        limited_us.saturating_mul(100).checked_div(self.busy_us).unwrap_or(0)
    }
}

fn unsigned(value: Value) -> Option<[u64; 3]> {
    let Value::Triple(numbers) = value else { return None };
    let [first, second, third] = numbers.map(|number| u64::try_from(number).ok());
    Some([first?, second?, third?])
}
