//! R-PROTO-MEM: how much memory all sockets of a protocol may have together.
//!
//! ```text
//!   TCP: want[1] = 2 x what is used      what is used now is half of where pressure begins
//!   UDP: want[0] = 2 x what is used      above the first, datagrams are dropped
//!   [0] : [1] : [2] = 3 : 4 : 6          the kernel's own ratio; none is lower than it is now
//!   [2] <= a quarter of the memory that is not in huge pages, and of what buffers can be in
//!   what is added <= half of what is available
//! ```
//! The limits hold back one that would take all. So the figure has to be above three quarters of the
//! limit by more than it may be off, or the kernel says that it refused. The largest holders are named
//! first: most often one of them is the cause.
//!
//! UDP has no state of pressure, and the kernel gives memory between the first and the third number only
//! to protocols that have one: above the first a UDP socket gets no more than its `udp_rmem_min`, above the
//! third not even that.
//!
//! Source: `tcp_init_mem` in net/ipv4/tcp.c, `__sk_mem_raise_allocated` in net/core/sock.c, kernel 6.18.

use super::{Ask, Judgement, Proposal, bounded, grew, triple};
use crate::proc::TransportProtocol;
use crate::tune::Confidence;
use crate::tune::evidence::{Evidence, ProtocolLoad};

const RULE: &str = "R-PROTO-MEM";
/// Counters that say that memory was refused or short; those of datagrams are of either family.
const TCP_COUNTERS: [&str; 2] = ["TcpExtTCPMemoryPressures", "TcpExtTCPAbortOnMemory"];
const UDP_COUNTERS: [&str; 2] = ["UdpMemErrors", "Udp6MemErrors"];

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
    Limit { key: "net.ipv4.tcp_mem", counters: TCP_COUNTERS, at: 1, name: "pressure from" };
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
    let Some(now) = evidence.triple(limit.key) else { return };
    let limit_pages = now[limit.at];
    let sure_pages = load.pages.saturating_sub(load.error_bar_pages);
    let is_high = sure_pages.saturating_mul(4) > limit_pages.saturating_mul(3);
    let grown = limit.counters.map(|name| (name, evidence.grown(name)));
    let refused = grown.iter().filter(|(_, by)| *by > 0);
    let mut lines: Vec<String> = refused.map(|(name, by)| grew(evidence, name, *by)).collect();
    let was_refused = !lines.is_empty();
    if !is_high && !was_refused {
        return;
    }
    let name = load.protocol.name();
    lines.push(format!(
        "{name} memory {} pages, off by {} at most, {} {limit_pages}",
        load.pages, load.error_bar_pages, limit.name
    ));
    let what = format!("the memory of all {name} sockets is short");
    let mut advice: Vec<String> =
        evidence.holders.iter().map(|holder| format!("look at {holder}")).collect();
    advice.push("a program that does not read what came, or sends to a peer that does not".into());
    judgement.advise(RULE, what, lines.clone(), advice);

    let is_at_least = was_refused || load.protocol == TransportProtocol::Udp;
    let used = if is_at_least { load.pages.max(limit_pages) } else { load.pages };
    let wish = used.saturating_mul(2);
    let (pages, bound) = bounded(wish, &limit.bounds(evidence, now));
    let value = limit.raised(pages, now);
    let text = value.map(|pages| pages.to_string()).join(" ");
    judgement.proposals.push(Proposal {
        rule: RULE,
        key: limit.key,
        value: triple(value),
        evidence: lines,
        formula: format!("[{}] = 2 x {used} pages, in the ratio 3:4:6 = {text}", limit.at),
        bound,
        confidence: if was_refused { Confidence::Medium } else { Confidence::Low },
    });
}

impl Limit {
    /// The three numbers by the one that counts, none lower than now; those of now where they would not
    /// ascend.
    fn raised(&self, pages: u64, now: [u64; 3]) -> [u64; 3] {
        let low = if self.at == 0 { pages } else { pages / 4 * 3 };
        let ratio = [low, low / 3 * 4, low.saturating_mul(2)];
        let mut value = [0, 1, 2].map(|at: usize| ratio[at].max(now[at]));
        value[self.at] = pages;
        let ascends = value[0] <= value[1] && value[1] <= value[2];
        // UDP is held back by the first alone; TCP is refused by the third.
        let is_raised = pages > now[self.at] && (self.at == 0 || value[2] > now[2]);
        if is_raised && ascends { value } else { now }
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
        let of_added = match self.at {
            0 => (now[0].saturating_add(addable), "first number half of"),
            _ => (of_third(now[2].saturating_add(addable)), "third number half of"),
        };
        vec![
            (
                of_third(usable / 4),
                "third number a quarter of the memory outside huge pages".into(),
            ),
            (of_third(for_buffers / 4), "third number a quarter of the memory for buffers".into()),
            (of_added.0, format!("{} the available memory above now", of_added.1)),
        ]
    }
}
