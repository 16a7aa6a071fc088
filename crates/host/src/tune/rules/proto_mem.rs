//! R-PROTO-MEM: how much memory all sockets of a protocol may have together.
//!
//! ```text
//!   want[1] = 2 x what is used           what is used now is half of where pressure begins
//!   [0] : [1] : [2] = 3 : 4 : 6          the kernel's own ratio
//!   [2] <= a quarter of the memory that is not in huge pages; what is added <= half of what is available
//! ```
//! The limits hold back one that would take all. So the figure has to be above three quarters of the
//! second by more than it may be off, or the kernel says that it refused. The largest holders are named
//! first: most often one of them is the cause.
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

pub(super) fn proto_mem(evidence: &Evidence, _: &Ask) -> Judgement {
    let mut judgement = Judgement::default();
    for load in &evidence.protocols {
        one(evidence, load, &mut judgement);
    }
    judgement
}

fn one(evidence: &Evidence, load: &ProtocolLoad, judgement: &mut Judgement) {
    let (key, counters) = match load.protocol {
        TransportProtocol::Tcp => ("net.ipv4.tcp_mem", TCP_COUNTERS),
        TransportProtocol::Udp => ("net.ipv4.udp_mem", UDP_COUNTERS),
    };
    let Some(now) = evidence.triple(key) else { return };
    let sure_pages = load.pages.saturating_sub(load.error_bar_pages);
    let is_high = sure_pages.saturating_mul(4) > now[1].saturating_mul(3);
    let grown = counters.map(|name| (name, evidence.grown(name)));
    let refused = grown.iter().filter(|(_, by)| *by > 0);
    let mut lines: Vec<String> = refused.map(|(name, by)| grew(evidence, name, *by)).collect();
    let was_refused = !lines.is_empty();
    if !is_high && !was_refused {
        return;
    }
    let name = load.protocol.name();
    lines.push(format!(
        "{name} memory {} pages, off by {} at most, pressure from {}",
        load.pages, load.error_bar_pages, now[1]
    ));
    let what = format!("the memory of all {name} sockets is short");
    let mut advice: Vec<String> =
        evidence.holders.iter().map(|holder| format!("look at {holder}")).collect();
    advice.push("a program that does not read what came, or sends to a peer that does not".into());
    judgement.advise(RULE, what, lines.clone(), advice);

    let used = if was_refused { load.pages.max(now[1]) } else { load.pages };
    let wish = used.saturating_mul(2);
    let (pressure, bound) = bounded(wish, &bounds(evidence, now));
    let [low, pressure, high] = in_ratio(pressure);
    let value = if high > now[2] && pressure > now[1] { [low, pressure, high] } else { now };
    let text = value.map(|pages| pages.to_string()).join(" ");
    judgement.proposals.push(Proposal {
        rule: RULE,
        key,
        value: triple(value),
        evidence: lines,
        formula: format!("2 x {used} pages in the ratio 3:4:6 = {text}"),
        bound,
        confidence: if was_refused { Confidence::Medium } else { Confidence::Low },
    });
}

/// The kernel's ratio.
fn in_ratio(pressure_pages: u64) -> [u64; 3] {
    let low = pressure_pages / 4 * 3;
    [low, pressure_pages, low.saturating_mul(2)]
}

/// What the second number may be at most: the third is one and a half of it.
fn bounds(evidence: &Evidence, now: [u64; 3]) -> Vec<(u64, String)> {
    let page_bytes = evidence.machine.page_bytes.max(1);
    let memory = &evidence.memory;
    let usable = memory.total_bytes.saturating_sub(memory.hugetlb_bytes) / page_bytes;
    let addable = memory.available_bytes / page_bytes / 2;
    let second = |third: u64| third / 6 * 4;
    vec![
        (second(usable / 4), "third number a quarter of the memory outside huge pages".to_owned()),
        (
            second(now[2].saturating_add(addable)),
            "third number half of the available memory above now".to_owned(),
        ),
    ]
}
