//! The rules: from what was seen to what to change. Each is a pure function of evidence and question.
//!
//! ```text
//!   Evidence, Ask --rule--> findings           what was seen, and advice where no write helps
//!                           proposals          a value with its formula, its bound and its evidence
//! ```
//! A rule without evidence says nothing. It never lowers a value: what was sized by somebody may be needed
//! by what does not run just now. A bound always wins over a wish.
//!
//! | rule | evidence | setting |
//! |---|---|---|
//! | R-PROTO-MEM | memory at three quarters of the limit; at half of it, with memory refused | `tcp_mem`, `udp_mem` |
//! | R-SOCK-MAX | a buffer as large as a program can ask for, and full | `rmem_max`, `wmem_max` |
//! | R-BACKLOG | packets dropped at a CPU's full backlog | `netdev_max_backlog` |
//! | R-BUDGET | rounds of polling that end with work left; tasks that wait for a CPU | `netdev_budget`, `netdev_budget_usecs` |
//! | R-TCP-RMEM-MAX | a connection whose receive buffer is at its limit | `tcp_rmem` |
//! | R-TCP-WMEM-MAX | a connection held back by its send buffer | `tcp_wmem` |
//! | R-ZC | no room for notifications of `MSG_ZEROCOPY`; rings and memory of AF_XDP | `optmem_max`; advice |
//! | R-LISTEN | connections that a listener did not take | none: advice only |
//! | R-TCP-DROPS | segments dropped at a socket, buffers collapsed, windows closed | none: advice only |
//! | R-MEMCG | a memory control group at its limit, with memory of sockets in it | none: advice only |
//! | R-QUEUES | packets dropped by a device | none: advice only |

mod listen;
mod memcg;
mod proto_mem;
mod queues;
mod socket_max;
mod softirq;
mod tcp_buffers;
mod tcp_drops;
#[cfg(test)]
mod tests;
mod zero_copy;

use super::evidence::Evidence;
use super::{Confidence, Finding};
use crate::sysctl::Value;

/// What a plan is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a question")]
pub enum Goal {
    /// Much data over few connections: as without a goal.
    Throughput,
    /// Short waits: no larger buffers where receivers collapse theirs, nor by `--bandwidth` alone.
    Latency,
    /// Many connections: a socket's largest share of the protocol's memory is a quarter of the usual one.
    ManyConnections,
    /// Zero-copy sends and AF_XDP.
    ZeroCopy,
}

/// What somebody asks for, and knows of the path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a question")]
pub struct Ask {
    /// What it is for.
    pub goal: Option<Goal>,
    /// Bandwidth of the path, in bits per second.
    pub bandwidth_bits_per_s: Option<u64>,
    /// Round-trip time of the path, in microseconds.
    pub rtt_us: Option<u64>,
}

/// A value that a rule proposes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proposal {
    pub(super) rule: &'static str,
    pub(super) key: &'static str,
    pub(super) value: Value,
    pub(super) evidence: Vec<String>,
    pub(super) formula: String,
    pub(super) bound: String,
    pub(super) confidence: Confidence,
}

/// What a rule says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) findings: Vec<Finding>,
    pub(super) proposals: Vec<Proposal>,
}

/// All of them, in the order in which their settings are written: limits of all before those of one.
pub(super) const RULES: [fn(&Evidence, &Ask) -> Judgement; 11] = [
    proto_mem::proto_mem,
    socket_max::socket_max,
    softirq::backlog,
    softirq::budget,
    tcp_buffers::rmem,
    tcp_buffers::wmem,
    zero_copy::zero_copy,
    listen::listen,
    tcp_drops::tcp_drops,
    memcg::memcg,
    queues::queues,
];

/// The settings that rules read.
pub(super) const KEYS_OF_RULES: [&str; 10] = [
    "net.ipv4.tcp_mem",
    "net.ipv4.udp_mem",
    "net.core.rmem_max",
    "net.core.wmem_max",
    "net.core.netdev_max_backlog",
    "net.core.netdev_budget",
    "net.core.netdev_budget_usecs",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.core.optmem_max",
];

impl Goal {
    /// Every one.
    pub const ALL: [Self; 4] =
        [Self::Throughput, Self::Latency, Self::ManyConnections, Self::ZeroCopy];

    /// Its name, as it is given and printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Latency => "latency",
            Self::ManyConnections => "many-connections",
            Self::ZeroCopy => "zero-copy",
        }
    }
}

impl Judgement {
    fn find(&mut self, rule: &'static str, what: impl Into<String>, evidence: Vec<String>) {
        self.advise(rule, what, evidence, Vec::new());
    }

    fn advise(
        &mut self,
        rule: &'static str,
        what: impl Into<String>,
        evidence: Vec<String>,
        advice: Vec<String>,
    ) {
        self.findings.push(Finding { rule: rule.to_owned(), what: what.into(), evidence, advice });
    }
}

/// A wish and what it may not exceed: the value, and the bound if it was one.
fn bounded(wish: u64, bounds: &[(u64, String)]) -> (u64, String) {
    match bounds.iter().min_by_key(|(bound, _)| *bound) {
        Some((bound, what)) if *bound < wish => (*bound, format!("{what} = {bound}")),
        _ => (wish, String::new()),
    }
}

/// A number as the kernel takes it.
fn scalar(number: u64) -> Value {
    Value::Scalar(i64::try_from(number).unwrap_or(i64::MAX))
}

/// Three numbers as the kernel takes them.
fn triple(numbers: [u64; 3]) -> Value {
    Value::Triple(numbers.map(|number| i64::try_from(number).unwrap_or(i64::MAX)))
}

/// A growth as evidence: `UdpMemErrors +7 in 10.0 s`.
fn grew(evidence: &Evidence, name: &str, by: u64) -> String {
    format!("{name} +{by} in {}", seconds(evidence))
}

/// The time of looking, as it is printed.
fn seconds(evidence: &Evidence) -> String {
    format!("{}.{} s", evidence.elapsed_ms / 1000, evidence.elapsed_ms / 100 % 10)
}
