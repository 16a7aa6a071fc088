//! R-PROTO-MEM: how much memory all sockets of a protocol may have together.
//!
//! ```text
//!   TCP: want[1] = 2 x what is used      what is used now is half of where pressure begins
//!   UDP: want[0] = 2 x what is used      above the first, datagrams are dropped
//!   [0] : [1] : [2] = 3 : 4 : 6          the kernel's own ratio; none is lower than it is now
//!   [2] <= a quarter of the memory that is not in huge pages, and of what buffers can be in
//!   what is added <= half of what is available, to [0] of UDP, and to [2] and to [1] of TCP
//! ```
//! The limits hold back one that would take all. So the largest figure that was seen has to be above three
//! quarters of the limit by more than it may be off, or may be half of it while the kernel says that memory
//! was refused. The largest holders are named first: most often one of them is the cause.
//!
//! What the kernel says does not mean that limit alone, and where the figure was farther away only the other
//! causes are told:
//!
//! ```text
//!   TCPAbortOnMemory      orphans above tcp_max_orphans: each counts up to four times when its peer is silent
//!   TCPMemoryPressures    a page for a send that could not be allocated
//!   UdpMemErrors          a memory control group that is full, of version 1 or before 6.1
//! ```
//! UDP has no state of pressure, and the kernel gives memory between the first and the third number only
//! to protocols that have one: above the first a UDP socket gets no more than its `udp_rmem_min`, above the
//! third not even that.
//!
//! Source: `tcp_init_mem`, `tcp_check_oom` in net/ipv4/tcp.c, `tcp_out_of_resources` in net/ipv4/tcp_timer.c,
//! `__sk_mem_raise_allocated`, `sk_page_frag_refill` in net/core/sock.c, kernel 6.18.

use super::{Ask, Judgement, Proposal, bounded, grew, memcg, triple};
use crate::proc::TransportProtocol;
use crate::tune::Confidence;
use crate::tune::evidence::{Evidence, ProtocolLoad};

const RULE: &str = "R-PROTO-MEM";
/// Counters that say that memory was refused or short; those of datagrams are of either family.
const PRESSURES: &str = "TcpExtTCPMemoryPressures";
const ABORTS: &str = "TcpExtTCPAbortOnMemory";
const UDP_COUNTERS: [&str; 2] = ["UdpMemErrors", "Udp6MemErrors"];
const MAX_ORPHANS: &str = "net.ipv4.tcp_max_orphans";

/// A protocol's limit.
struct Limit {
    key: &'static str,
    counters: [&'static str; 2],
    /// Which of the three numbers holds it back.
    at: usize,
    /// What is there called.
    name: &'static str,
}

const TCP: Limit =
    Limit { key: "net.ipv4.tcp_mem", counters: [PRESSURES, ABORTS], at: 1, name: "pressure from" };
const UDP: Limit =
    Limit { key: "net.ipv4.udp_mem", counters: UDP_COUNTERS, at: 0, name: "limited to" };

pub(super) fn proto_mem(evidence: &Evidence, _: &Ask) -> Judgement {
    let mut judgement = Judgement::default();
    for load in &evidence.protocols {
        one(evidence, load, &mut judgement);
    }
    judgement
}

fn one(evidence: &Evidence, load: &ProtocolLoad, judgement: &mut Judgement) {
    let limit = match load.protocol {
        TransportProtocol::Tcp => TCP,
        TransportProtocol::Udp => UDP,
    };
    let grown: Vec<&str> =
        limit.counters.into_iter().filter(|name| evidence.grown(name) > 0).collect();
    let now = evidence.triple(limit.key);
    let seen = now.map(|now| Nearness::of(load, now[limit.at]));
    let was_refused = grown.iter().any(|name| *name != ABORTS || !are_orphans_enough(evidence));
    let is_short = match seen {
        Some(Nearness::High) => true,
        Some(Nearness::Near) => was_refused,
        _ => false,
    };
    let mut lines: Vec<String> =
        grown.iter().map(|name| grew(evidence, name, evidence.grown(name))).collect();
    let name = load.protocol.name();
    let at = now.map_or_else(
        || format!("{} is not to be read here", limit.key),
        |now| format!("{} {}", limit.name, now[limit.at]),
    );
    let (pages, error_bar) = (load.pages, load.error_bar_pages);
    lines.push(format!("{name} memory {pages} pages at most, off by {error_bar} at most, {at}"));
    let (Some(now), true) = (now, is_short) else {
        if !grown.is_empty() {
            let advice = other_causes(evidence, &grown, limit.key, seen);
            judgement.advise(RULE, not_by_limit(name, limit.key, seen), lines, advice);
        }
        return;
    };
    let what = format!("the memory of all {name} sockets is short");
    let mut advice: Vec<String> =
        evidence.holders.iter().map(|holder| format!("look at {holder}")).collect();
    advice.push("a program that does not read what came, or sends to a peer that does not".into());
    judgement.advise(RULE, what, lines.clone(), advice);
    judgement.proposals.push(limit.propose(evidence, load, (now, was_refused), lines));
}

/// How near to its limit a protocol's memory was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nearness {
    /// Above three quarters, for sure.
    High,
    /// It may have been half of it.
    Near,
    /// Less than half, for sure.
    Far,
}

impl Nearness {
    fn of(load: &ProtocolLoad, limit_pages: u64) -> Self {
        let sure_pages = load.pages.saturating_sub(load.error_bar_pages);
        let likely_pages = load.pages.saturating_add(load.error_bar_pages);
        if sure_pages.saturating_mul(4) > limit_pages.saturating_mul(3) {
            Self::High
        } else if likely_pages.saturating_mul(2) >= limit_pages {
            Self::Near
        } else {
            Self::Far
        }
    }
}

/// Tells whether there were enough orphans for one to be aborted: one whose peer is silent counts four times.
fn are_orphans_enough(evidence: &Evidence) -> bool {
    let both = (evidence.tcp_orphans, evidence.number(MAX_ORPHANS));
    matches!(both, (Some(seen), Some(most)) if seen.saturating_mul(4) > most)
}

/// That memory was refused and no change follows from it: how near its limit was seen tells why.
fn not_by_limit(name: &str, key: &str, seen: Option<Nearness>) -> String {
    let refused = format!("memory of {name} was refused or short");
    match seen {
        None => format!("{refused}, and its limit, {key}, cannot be read here"),
        Some(Nearness::Far) => format!("{refused}, and no look saw it near {key}"),
        Some(_) => format!("{refused}, and orphans are enough for that"),
    }
}

/// What else it may have been.
fn other_causes(
    evidence: &Evidence,
    grown: &[&str],
    key: &str,
    seen: Option<Nearness>,
) -> Vec<String> {
    let mut advice = Vec::new();
    if seen.is_none() {
        advice.push(format!(
            "look from the initial network namespace, which tells {key}: netmem tune plan --netns PID"
        ));
    }
    advice.extend(grown.iter().map(|name| other_cause(evidence, name)));
    if seen == Some(Nearness::Far) {
        advice.push(format!(
            "or it was near {key} for less than the time between two looks: a longer --interval sees more"
        ));
    }
    advice
}

/// What else moves a counter, and where to look.
fn other_cause(evidence: &Evidence, counter: &str) -> String {
    match counter {
        ABORTS => {
            let seen = evidence.tcp_orphans.map_or_else(
                || "orphan of /proc/net/sockstat".to_owned(),
                |seen| format!("{seen} orphans seen at most"),
            );
            let most = evidence.number(MAX_ORPHANS).map_or_else(String::new, |n| format!(" {n}"));
            format!(
                "orphans, connections that their program closed, count too: {seen}, {MAX_ORPHANS}{most}; \
                 one whose peer is silent counts up to four times"
            )
        }
        PRESSURES => "fragmented or short memory counts too, where a page for a send could not be \
            allocated: /proc/buddyinfo, /proc/pressure/memory"
            .to_owned(),
        _ => memcg::cause(evidence, memcg::Lost::Datagrams),
    }
}

impl Limit {
    fn propose(
        &self,
        evidence: &Evidence,
        load: &ProtocolLoad,
        (now, was_refused): ([u64; 3], bool),
        lines: Vec<String>,
    ) -> Proposal {
        // UDP has no room above: what is refused there would have been more.
        let is_at_least = was_refused || load.protocol == TransportProtocol::Udp;
        let used = if is_at_least { load.pages.max(now[self.at]) } else { load.pages };
        let (pages, bound) = bounded(used.saturating_mul(2), &self.bounds(evidence, now));
        let value = self.raised(pages, now);
        let text = value.map(|pages| pages.to_string()).join(" ");
        Proposal {
            rule: RULE,
            key: self.key,
            value: triple(value),
            evidence: lines,
            formula: format!("[{}] = 2 x {used} pages, in the ratio 3:4:6 = {text}", self.at),
            bound,
            confidence: if was_refused { Confidence::Medium } else { Confidence::Low },
        }
    }

    /// The three numbers by the one that counts, none lower than now; those of now where they would not
    /// ascend.
    fn raised(&self, pages: u64, now: [u64; 3]) -> [u64; 3] {
        let low = if self.at == 0 { pages } else { pages / 4 * 3 };
        let ratio = [low, low / 3 * 4, low.saturating_mul(2)];
        let mut value = [0, 1, 2].map(|at: usize| ratio[at].max(now[at]));
        value[self.at] = pages;
        let ascends = value[0] <= value[1] && value[1] <= value[2];
        if pages > now[self.at] && ascends { value } else { now }
    }

    /// What the number that counts may be at most.
    fn bounds(&self, evidence: &Evidence, now: [u64; 3]) -> Vec<(u64, String)> {
        let page_bytes = evidence.machine.page_bytes.max(1);
        let memory = &evidence.memory;
        let usable = memory.total_bytes.saturating_sub(memory.hugetlb_bytes) / page_bytes;
        let for_buffers = evidence.machine.free_buffer_pages;
        let addable = memory.available_bytes / page_bytes / 2;
        // The third is one and a half of the second, and twice the first.
        let of_third = |third: u64| if self.at == 0 { third / 6 * 3 } else { third / 6 * 4 };
        let added = |at: usize| now[at].saturating_add(addable);
        let mut bounds = vec![
            (
                of_third(usable / 4),
                "third number a quarter of the memory outside huge pages".to_owned(),
            ),
            (of_third(for_buffers / 4), "third number a quarter of the memory for buffers".into()),
        ];
        let above_now = |number| format!("{number} number half of the available memory above now");
        if self.at == 0 {
            bounds.push((added(0), above_now("first")));
        } else {
            bounds.push((of_third(added(2)), above_now("third")));
            // A third number above the ratio stays: what is added is added to the second.
            bounds.push((added(1), above_now("second")));
        }
        bounds
    }
}
