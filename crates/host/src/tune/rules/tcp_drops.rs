//! R-TCP-DROPS: segments that TCP dropped at a socket, and windows that it closed. Told only: these counters
//! do not say whose limit it was, and most often a program does not read.
//!
//! ```text
//!   receive buffer full -> PruneCalled, TCPRcvCollapsed           room was made by copying
//!                       -> RcvPruned, OfoPruned                   no room: thrown away
//!   no room, or no memory of TCP or of the control group -> TCPRcvQDrop, TCPOFODrop
//!   program inside a call -> backlog, at most 2 x rcvbuf + sndbuf / 2 + 64 KiB -> TCPBacklogDrop
//!   nothing read -> window 0: TCPToZeroWindowAdv -> what the peer sends all the same: TCPZeroWindowDrop
//! ```
//! Source: `tcp_prune_queue`, `tcp_data_queue` in net/ipv4/tcp_input.c, `tcp_add_backlog` in
//! net/ipv4/tcp_ipv4.c, `tcp_select_window` in net/ipv4/tcp_output.c, kernel 6.18.

use super::{Ask, Judgement, grew, memcg};
use crate::tune::evidence::{Evidence, TcpFlow};

const RULE: &str = "R-TCP-DROPS";
const LOST: [&str; 4] =
    ["TcpExtRcvPruned", "TcpExtOfoPruned", "TcpExtTCPRcvQDrop", "TcpExtTCPOFODrop"];
const COLLAPSED: [&str; 2] = ["TcpExtPruneCalled", "TcpExtTCPRcvCollapsed"];
const BACKLOG: [&str; 1] = ["TcpExtTCPBacklogDrop"];
const CLOSED: [&str; 2] = ["TcpExtTCPToZeroWindowAdv", "TcpExtTCPZeroWindowDrop"];
/// Connections that are named.
const NAMED: usize = 5;

pub(super) fn tcp_drops(evidence: &Evidence, _: &Ask) -> Judgement {
    let mut judgement = Judgement::default();
    no_room(evidence, &mut judgement);
    backlog(evidence, &mut judgement);
    closed_windows(evidence, &mut judgement);
    judgement
}

/// Receive buffers that were full.
fn no_room(evidence: &Evidence, judgement: &mut Judgement) {
    let lost = grown(evidence, &LOST);
    let what = match lost.is_empty() {
        true => "TCP receive buffers were full, and were collapsed to make room",
        false => "TCP segments were dropped that found no room in a receive buffer, or no memory",
    };
    let lines = [lost, grown(evidence, &COLLAPSED)].concat();
    if lines.is_empty() {
        return;
    }
    let mut advice = readers_behind(evidence);
    let is_fixed = |flow: &&TcpFlow| {
        let is_receiver = flow.received_bytes > flow.acked_bytes || flow.looks_unread > 0;
        is_receiver && flow.locks.is_some_and(|locks| locks.is_rcvbuf_locked)
    };
    let fixed = evidence.tcp.iter().filter(is_fixed).take(NAMED).map(|flow| {
        let (label, rcvbuf) = (&flow.label, flow.rcvbuf_bytes);
        format!("{label}: in its program: SO_RCVBUF fixed {rcvbuf} bytes; left out, it grows")
    });
    advice.extend(fixed);
    let most = evidence.triple("net.ipv4.tcp_rmem").map(|now| format!(" {}", now[2]));
    advice.push(format!(
        "ss -tmi, while it happens: sockets whose r is near their rb; tcp_rmem[2]{} bounds rb where it grows",
        most.unwrap_or_default()
    ));
    advice.push(memcg::cause(evidence, memcg::Lost::Segments));
    judgement.advise(RULE, what, lines, advice);
}

/// Segments that came while a program's call held their socket.
fn backlog(evidence: &Evidence, judgement: &mut Judgement) {
    let lines = grown(evidence, &BACKLOG);
    if lines.is_empty() {
        return;
    }
    let what = "TCP segments were dropped that came while a call of their program held the socket";
    let advice = "in its program: less data in one send or receive; a socket takes 2 x rcvbuf + sndbuf / 2 \
        + 64 KiB meanwhile (ss -tmi: rb, tb)";
    judgement.advise(RULE, what, lines, vec![advice.to_owned()]);
}

/// Windows that were closed because nothing was read.
fn closed_windows(evidence: &Evidence, judgement: &mut Judgement) {
    let mut lines = grown(evidence, &CLOSED);
    if lines.is_empty() {
        return;
    }
    lines.extend(grown(evidence, &["TcpExtTCPFromZeroWindowAdv"]));
    let mut advice = readers_behind(evidence);
    if advice.is_empty() {
        advice.push(
            "ss -tnm, while it happens: programs that let Recv-Q lie; larger buffers only delay it"
                .into(),
        );
    }
    if evidence.grown(CLOSED[1]) > 0 {
        advice.push(
            "some of TCPZeroWindowDrop are peers' probes, which is as it should be".to_owned(),
        );
    }
    judgement.advise(RULE, "TCP receive windows were closed: data was not read", lines, advice);
}

fn grown(evidence: &Evidence, names: &[&str]) -> Vec<String> {
    let all = names.iter().map(|name| (name, evidence.grown(name)));
    all.filter(|(_, by)| *by > 0).map(|(name, by)| grew(evidence, name, by)).collect()
}

/// Names connections whose program lets lie what came.
fn readers_behind(evidence: &Evidence) -> Vec<String> {
    let behind = evidence.tcp.iter().filter(|flow| flow.looks_unread * 2 > flow.looks);
    let named = behind.take(NAMED).map(|flow| {
        let TcpFlow { label, looks, looks_unread, .. } = flow;
        format!(
            "{label}: in its program: read sooner; its receive buffer was more than half full in \
             {looks_unread} of {looks} looks"
        )
    });
    named.collect()
}
