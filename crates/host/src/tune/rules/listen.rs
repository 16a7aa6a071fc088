//! R-LISTEN: connections that a listener did not take. Told only: how many may wait is what each program
//! asked for.
//!
//! ```text
//!   SYN -> half open, at most the backlog -> established, at most the backlog + 1 -> accept(2)
//!          TCPReqQFullDrop                   ListenOverflows
//!   ListenDrops, and drops of the listener: both of these, and what was dropped for another reason
//!   backlog = min(what listen(2) was given, net.core.somaxconn)
//! ```
//! A larger `somaxconn` helps a listener alone whose backlog it is, and not before the program calls
//! listen(2) again. With SYN cookies, which are on by default, a full queue of half-open connections drops
//! nothing.
//!
//! Source: `tcp_conn_request` in net/ipv4/tcp_input.c, `tcp_v4_syn_recv_sock` in net/ipv4/tcp_ipv4.c,
//! `__sys_listen_socket` in net/socket.c, kernel 6.18.

use super::{Ask, Judgement, grew};
use crate::tune::evidence::{Evidence, Listener};

const RULE: &str = "R-LISTEN";
const OVERFLOWS: &str = "TcpExtListenOverflows";
const DROPS: &str = "TcpExtListenDrops";
const HALF_OPEN: &str = "TcpExtTCPReqQFullDrop";
const SOMAXCONN: &str = "net.core.somaxconn";
/// Listeners that are named.
const NAMED: usize = 5;

pub(super) fn listen(evidence: &Evidence, _: &Ask) -> Judgement {
    let mut judgement = Judgement::default();
    let counters = [OVERFLOWS, DROPS, HALF_OPEN].map(|name| (name, evidence.grown(name)));
    let [(_, overflows), (_, drops), (_, half_open)] = counters;
    if drops.max(overflows).max(half_open) == 0 {
        return judgement;
    }
    let grown = counters.iter().filter(|(_, by)| *by > 0);
    let mut lines: Vec<String> = grown.map(|(name, by)| grew(evidence, name, *by)).collect();
    let named = || evidence.listeners.iter().take(NAMED);
    lines.extend(named().map(|listener| line(evidence, listener)));
    let somaxconn = evidence.number(SOMAXCONN);
    let mut advice = Vec::new();
    if overflows > 0 {
        let full = named().filter(|listener| listener.accept_queue_peak > listener.backlog);
        advice.extend(full.map(|listener| larger_backlog(listener, somaxconn)));
        if advice.is_empty() {
            let most = somaxconn.map_or_else(|| SOMAXCONN.to_owned(), |most| most.to_string());
            advice.push(format!(
                "ss -ltn, while it happens: where Recv-Q is above Send-Q, accept(2) sooner, or a larger \
                 backlog at listen(2); a larger {SOMAXCONN} only where Send-Q is {most}"
            ));
        }
    }
    if half_open > 0 {
        advice.push(match evidence.number("net.ipv4.tcp_syncookies") {
            Some(0) => {
                "net.ipv4.tcp_syncookies is 0: with 1 a full queue of half-open connections \
                drops none"
                    .to_owned()
            }
            _ => "half-open connections are bounded by the backlog too: a larger one at listen(2)"
                .to_owned(),
        });
    }
    if drops > overflows.saturating_add(half_open) {
        advice.push(
            "drops of neither kind: no memory, no route back, or half-open connections above three \
             quarters of net.ipv4.tcp_max_syn_backlog with net.ipv4.tcp_syncookies 0"
                .to_owned(),
        );
    }
    judgement.advise(RULE, "listeners did not take connections", lines, advice);
    judgement
}

fn line(evidence: &Evidence, listener: &Listener) -> String {
    let Listener { label, drops, accept_queue_peak, backlog } = listener;
    let drops = grew(evidence, "drops", *drops);
    format!(
        "{label}: {drops}, {accept_queue_peak} waited to be accepted at most, backlog {backlog}"
    )
}

/// What a listener needs whose queue was full.
fn larger_backlog(listener: &Listener, somaxconn: Option<u64>) -> String {
    let Listener { label, backlog, .. } = listener;
    match somaxconn {
        Some(most) if *backlog >= most => format!(
            "{label}: accept(2) sooner; its backlog is {SOMAXCONN} {most}: if its program asks listen(2) \
             for more, raise that, and start the program again"
        ),
        Some(most) => format!(
            "{label}: in its program: accept(2) sooner, or a backlog above {backlog} at listen(2), of which \
             {SOMAXCONN} allows {most}"
        ),
        None => format!(
            "{label}: in its program: accept(2) sooner, or a backlog above {backlog} at listen(2)"
        ),
    }
}
