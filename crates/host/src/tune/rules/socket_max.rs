//! R-SOCK-MAX: how large a buffer a program may ask for.
//!
//! `SO_RCVBUF` is cut to `rmem_max` and then doubled, so a fixed buffer of `2 x rmem_max` is one that
//! wanted more; one that is larger was set by `SO_RCVBUFFORCE`, which `rmem_max` does not bound. A datagram
//! that finds it full is dropped, and counted by `UdpRcvbufErrors`; a socket's own count has those that
//! were dropped for another reason too. What helps is room for what comes while the reader pauses; against
//! a reader that is always behind no buffer helps, and none is proposed.
//!
//! ```text
//!   packets/s x pause = what the buffer held + what was dropped in the worst pause
//!   want = (buffer + dropped in the worst pause x truesize) / 2      rmem_max, before the kernel doubles it
//! ```
//! Pauses that follow each other need no more room than the worst one: the reader empties the buffer in
//! between.
//!
//! The kernel charges truesize, not payload: 2304 bytes for a datagram of up to 1500, measured on kernel
//! 6.18. Source: `sk_setsockopt` in net/core/sock.c, `__udp_enqueue_schedule_skb` in net/ipv4/udp.c.

use super::{Ask, Judgement, Proposal, bounded, grew, scalar, seconds};
use crate::tune::Confidence;
use crate::tune::evidence::{Evidence, TcpFlow, UdpReader};

const RULE: &str = "R-SOCK-MAX";
/// What the kernel charges for a datagram that fits an Ethernet frame.
const TRUESIZE_BYTES: u64 = 2304;
const LARGEST_BYTES: u64 = 64 << 20;
/// A proposal is a multiple of that.
const STEP_BYTES: u64 = 4096;
/// A socket's share of the protocol's memory, as its divisor.
const SHARE: u64 = 16;
const LIMITED_PERCENT: u64 = 10;
/// Fewer looks do not say that a program is always behind.
const LOOKS_MIN: u32 = 3;
/// Counters of datagrams that found a receive buffer full, of either family.
const FULL_COUNTERS: [&str; 2] = ["UdpRcvbufErrors", "Udp6RcvbufErrors"];

pub(super) fn socket_max(evidence: &Evidence, _: &Ask) -> Judgement {
    let mut judgement = Judgement::default();
    readers(evidence, &mut judgement);
    senders(evidence, &mut judgement);
    judgement
}

/// UDP sockets that dropped datagrams.
fn readers(evidence: &Evidence, judgement: &mut Judgement) {
    let Some(rmem_max) = evidence.number("net.core.rmem_max") else { return };
    let mut at_limit: Vec<&UdpReader> = Vec::new();
    for reader in &evidence.udp {
        match Drops::of(evidence, reader, rmem_max) {
            Drops::AtLimit => at_limit.push(reader),
            drops => find(evidence, reader, (drops, rmem_max), judgement),
        }
    }
    let Some(worst) = at_limit.iter().max_by_key(|reader| wanted(reader)) else { return };
    let evidence_lines: Vec<String> =
        at_limit.iter().map(|reader| drops(evidence, reader)).collect();
    let wish = round_up(wanted(worst).div_ceil(2));
    let (value, bound) = bounded(wish, &bounds(evidence, rmem_max));
    if value.saturating_mul(2) <= worst.rcvbuf_bytes {
        let what = format!("net.core.rmem_max is not raised: its bound allows no more, {bound}");
        return judgement.find(RULE, what, evidence_lines);
    }
    judgement.proposals.push(Proposal {
        rule: RULE,
        key: "net.core.rmem_max",
        value: scalar(value),
        evidence: evidence_lines,
        formula: format!(
            "packets/s x pause x truesize / 2: ({} + {} dropped in the worst pause x \
             {TRUESIZE_BYTES}) / 2 = {wish}, in steps of {STEP_BYTES}",
            worst.rcvbuf_bytes, worst.worst_pause_drops
        ),
        bound,
        confidence: match worst.is_rcvbuf_locked {
            Some(true) => Confidence::High,
            _ => Confidence::Medium,
        },
    });
}

/// Why a socket dropped datagrams.
enum Drops {
    /// Its program does not keep up.
    Behind,
    /// Not for want of room in its buffer.
    OtherReason,
    /// It is larger than a program may ask for.
    AboveLimit,
    /// It is as large as a program may ask for.
    AtLimit,
    /// It could be larger.
    BelowLimit,
}

impl Drops {
    fn of(evidence: &Evidence, reader: &UdpReader, rmem_max: u64) -> Self {
        let limit = rmem_max.saturating_mul(2);
        let is_fixed = reader.is_rcvbuf_locked != Some(false);
        if reader.looks >= LOOKS_MIN && reader.looks_unread == reader.looks {
            Self::Behind
        } else if FULL_COUNTERS.iter().all(|name| evidence.grown(name) == 0) {
            Self::OtherReason
        } else if reader.rcvbuf_bytes > limit {
            Self::AboveLimit
        } else if reader.rcvbuf_bytes == limit && is_fixed {
            Self::AtLimit
        } else {
            Self::BelowLimit
        }
    }
}

/// Says what was seen of a socket that another `rmem_max` does not help.
fn find(
    evidence: &Evidence,
    reader: &UdpReader,
    (why, rmem_max): (Drops, u64),
    judgement: &mut Judgement,
) {
    let label = &reader.label;
    let mut lines = vec![drops(evidence, reader)];
    let (what, advice) = match why {
        Drops::Behind => (
            "datagrams dropped, and its program is always behind",
            "read faster, in more threads or sockets: no buffer is large enough".to_owned(),
        ),
        Drops::OtherReason => {
            let others = evidence.grown.iter().filter(|(name, _)| name.starts_with("Udp"));
            lines.extend(others.map(|(name, by)| grew(evidence, name, *by)));
            (
                "datagrams dropped, and no counter says that a receive buffer was full",
                "nstat -az 'Udp*': memory of the protocol, checksums, or a filter of the socket"
                    .to_owned(),
            )
        }
        Drops::AboveLimit => (
            "datagrams dropped, its receive buffer is above what rmem_max allows and was full",
            "in its program: read sooner, or a larger SO_RCVBUFFORCE, which rmem_max does not bound"
                .to_owned(),
        ),
        Drops::AtLimit | Drops::BelowLimit => {
            let want = round_up(wanted(reader) / 2).min(rmem_max);
            let is_larger = want.saturating_mul(2) > reader.rcvbuf_bytes;
            let advice = match is_larger {
                true => format!("in its program: setsockopt SO_RCVBUF {want}, rmem_max allows it"),
                false => "in its program: read sooner; rmem_max allows no larger SO_RCVBUF".into(),
            };
            ("datagrams dropped, its receive buffer was full", advice)
        }
    };
    judgement.advise(RULE, format!("{label}: {what}"), lines, vec![advice]);
}

/// TCP connections whose program fixed a buffer as large as it could get.
fn senders(evidence: &Evidence, judgement: &mut Judgement) {
    let (rmem_max, wmem_max) =
        (evidence.number("net.core.rmem_max"), evidence.number("net.core.wmem_max"));
    let is_fixed_rcvbuf = |flow: &&TcpFlow| {
        flow.locks.is_some_and(|locks| locks.is_rcvbuf_locked)
            && flow.received_bytes > flow.acked_bytes
            && rmem_max.is_some_and(|most| flow.rcvbuf_bytes == most.saturating_mul(2))
            && flow.looks_unread * 2 <= flow.looks
    };
    for flow in evidence.tcp.iter().filter(is_fixed_rcvbuf) {
        let what = format!("{}: its program fixed a receive buffer that cannot grow", flow.label);
        let line = format!("rcvbuf {} = 2 x rmem_max, SO_RCVBUF was set", flow.rcvbuf_bytes);
        let advice = "in its program: leave SO_RCVBUF out, and it grows up to tcp_rmem[2]";
        judgement.advise(RULE, what, vec![line], vec![advice.to_owned()]);
    }
    let Some(wmem_max) = wmem_max else { return };
    let is_held_back = |flow: &&TcpFlow| {
        flow.locks.is_some_and(|locks| locks.is_sndbuf_locked)
            && flow.sndbuf_bytes == wmem_max.saturating_mul(2)
            && flow.percent_of_busy(flow.sndbuf_limited_us) >= LIMITED_PERCENT
    };
    let lines = evidence.tcp.iter().filter(is_held_back).map(|flow| {
        let percent = flow.percent_of_busy(flow.sndbuf_limited_us);
        format!(
            "{}: sndbuf {} = 2 x wmem_max, held back by it {percent} % of {}",
            flow.label,
            flow.sndbuf_bytes,
            seconds(evidence)
        )
    });
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        return;
    }
    let wish = wmem_max.saturating_mul(2);
    let (value, bound) = bounded(wish, &[(LARGEST_BYTES, "64 MiB".to_owned())]);
    if value <= wmem_max {
        let what = format!("net.core.wmem_max is not raised: its bound allows no more, {bound}");
        let advice = "in its program: leave SO_SNDBUF out, and it grows up to tcp_wmem[2]";
        return judgement.advise(RULE, what, lines, vec![advice.to_owned()]);
    }
    judgement.proposals.push(Proposal {
        rule: RULE,
        key: "net.core.wmem_max",
        value: scalar(value),
        evidence: lines,
        formula: format!("2 x {wmem_max} = {wish}"),
        bound,
        confidence: Confidence::Low,
    });
}

fn drops(evidence: &Evidence, reader: &UdpReader) -> String {
    let drops = grew(evidence, "drops", reader.drops);
    let (label, worst, rcvbuf) = (&reader.label, reader.worst_pause_drops, reader.rcvbuf_bytes);
    format!("{label}: {drops}, {worst} in the worst pause, rcvbuf {rcvbuf}")
}

/// The buffer that would have held what came in the worst pause, in truesize.
fn wanted(reader: &UdpReader) -> u64 {
    reader.rcvbuf_bytes.saturating_add(reader.worst_pause_drops.saturating_mul(TRUESIZE_BYTES))
}

fn round_up(bytes: u64) -> u64 {
    bytes.checked_next_multiple_of(STEP_BYTES).unwrap_or(u64::MAX)
}

fn bounds(evidence: &Evidence, rmem_max: u64) -> Vec<(u64, String)> {
    let mut bounds = vec![
        (LARGEST_BYTES, "64 MiB".to_owned()),
        (rmem_max.saturating_mul(4), "4 x of now".to_owned()),
    ];
    // The first is the only one that limits UDP.
    if let Some([limit, ..]) = evidence.triple_or_default("net.ipv4.udp_mem") {
        // The kernel doubles what is asked for.
        let share = evidence.pages_to_bytes(limit) / SHARE / 2;
        bounds.push((share, format!("udp_mem[0] / {SHARE} / 2, in bytes")));
    }
    bounds
}
