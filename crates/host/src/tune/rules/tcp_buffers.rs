//! R-TCP-RMEM-MAX, R-TCP-WMEM-MAX: how far the buffers of a TCP connection may grow by themselves.
//!
//! ```text
//!   BDP = bandwidth x round-trip time / 8        what is under way when the path is full
//!   want = 2 x BDP                               a receive buffer holds truesize, about half is window;
//!                                                a send buffer grows to twice the congestion window
//!   new = max(now, min(want, 256 MiB, tcp_mem[1] / 16))
//! ```
//! The window that a receiver offers is bounded by its own `tcp_rmem`, so a sender that waits for it is
//! told whose setting it is, and nothing is changed at its end. A program that fixes its buffers
//! (`SO_RCVBUF`, `SO_SNDBUF`) has none that grow, and one that lets data lie needs no larger ones.
//!
//! Source: `tcp_rcvbuf_grow` in net/ipv4/tcp_input.c, `tcp_sndbuf_expand` there, kernel 6.18; BBR asks
//! for three windows (`bbr_sndbuf_expand` in net/ipv4/tcp_bbr.c).

use super::{Ask, Goal, Judgement, Proposal, bounded, seconds, triple};
use crate::tune::Confidence;
use crate::tune::evidence::{Evidence, TcpFlow};

/// No socket's buffer is proposed to be larger.
const LARGEST_BYTES: u64 = 256 << 20;
/// A socket's share of the protocol's memory, as its divisor.
const SHARE: u64 = 16;
const SHARE_OF_MANY: u64 = 64;
/// Share of the time with data to send from which a limit counts as one, in percent.
const LIMITED_PERCENT: u64 = 10;
/// Connections that are named.
const NAMED: usize = 5;

/// One of the two settings.
struct Side {
    rule: &'static str,
    key: &'static str,
    windows: u64,
}

/// What is wanted, and where it comes from.
struct Wish {
    bytes: u64,
    formula: String,
    confidence: Confidence,
}

pub(super) fn rmem(evidence: &Evidence, ask: &Ask) -> Judgement {
    let side = Side { rule: "R-TCP-RMEM-MAX", key: "net.ipv4.tcp_rmem", windows: 2 };
    let mut judgement = Judgement::default();
    let Some(now) = evidence.triple(side.key) else { return judgement };
    let limited: Vec<&TcpFlow> = evidence
        .tcp
        .iter()
        .filter(|flow| {
            flow.received_bytes > flow.acked_bytes
                && flow.rcvbuf_bytes >= now[2]
                && !flow.locks.is_some_and(|locks| locks.is_rcvbuf_locked)
                // Data that lies there is the program's doing.
                && flow.looks_unread * 2 <= flow.looks
        })
        .collect();
    let named = limited.iter().map(|flow| {
        let (label, rcvbuf, received) = (&flow.label, flow.rcvbuf_bytes, flow.received_bytes);
        format!("{label}: rcvbuf {rcvbuf} = tcp_rmem[2], received {received} bytes")
    });
    let mut lines: Vec<String> = named.take(NAMED).collect();
    let collapsed = collapsed(evidence);
    if let (Some(collapsed), false) = (&collapsed, limited.is_empty()) {
        lines.push(collapsed.clone());
    }
    if ask.goal == Some(Goal::Latency) && collapsed.is_some() && !limited.is_empty() {
        let what =
            "receive buffers are at their limit, and were collapsed: larger ones cost latency";
        judgement.find(side.rule, what, lines);
    } else {
        let wish = Wish::of(&side, now[2], &limited, (evidence, ask));
        judgement.proposals.extend(wish.map(|wish| {
            let is_unsure = collapsed.is_some() || is_of_unasked(&limited);
            side.propose(now, wish.less_sure_if(is_unsure), lines, (evidence, ask))
        }));
    }
    held_back_by_peers(evidence, &mut judgement);
    judgement
}

pub(super) fn wmem(evidence: &Evidence, ask: &Ask) -> Judgement {
    let congestion = evidence.settings.get("net.ipv4.tcp_congestion_control");
    let windows = if congestion.is_some_and(|setting| setting.text == "bbr") { 3 } else { 2 };
    let side = Side { rule: "R-TCP-WMEM-MAX", key: "net.ipv4.tcp_wmem", windows };
    let mut judgement = Judgement::default();
    let Some(now) = evidence.triple(side.key) else { return judgement };
    let limited: Vec<&TcpFlow> = evidence
        .tcp
        .iter()
        .filter(|flow| {
            flow.percent_of_busy(flow.sndbuf_limited_us) >= LIMITED_PERCENT
                && flow.sndbuf_bytes >= now[2]
                && !flow.locks.is_some_and(|locks| locks.is_sndbuf_locked)
        })
        .collect();
    let named = limited.iter().map(|flow| {
        let (label, sndbuf) = (&flow.label, flow.sndbuf_bytes);
        let percent = flow.percent_of_busy(flow.sndbuf_limited_us);
        format!("{label}: sndbuf {sndbuf} = tcp_wmem[2], held back by it {percent} % of the time")
    });
    let lines: Vec<String> = named.take(NAMED).collect();
    let wish = Wish::of(&side, now[2], &limited, (evidence, ask));
    let wish = wish.map(|wish| wish.less_sure_if(is_of_unasked(&limited)));
    judgement.proposals.extend(wish.map(|wish| side.propose(now, wish, lines, (evidence, ask))));
    judgement
}

/// Whether of none of them is known that its buffer grows by itself.
fn is_of_unasked(limited: &[&TcpFlow]) -> bool {
    !limited.is_empty() && limited.iter().all(|flow| flow.locks.is_none())
}

/// What shows that receive buffers were full and had to be collapsed.
fn collapsed(evidence: &Evidence) -> Option<String> {
    let names = ["TcpExtPruneCalled", "TcpExtTCPRcvCollapsed"];
    let grown = names.map(|name| (name, evidence.grown(name)));
    let (name, by) = grown.into_iter().find(|(_, by)| *by > 0)?;
    Some(super::grew(evidence, name, by))
}

/// Names senders that wait for their peers' windows: the setting is at the other end.
fn held_back_by_peers(evidence: &Evidence, judgement: &mut Judgement) {
    let waiting = evidence.tcp.iter().filter(|flow| {
        flow.acked_bytes > flow.received_bytes
            && flow.percent_of_busy(flow.rwnd_limited_us) >= LIMITED_PERCENT
    });
    let lines = waiting.map(|flow| {
        let percent = flow.percent_of_busy(flow.rwnd_limited_us);
        format!("{}: held back by the peer's window {percent} % of the time", flow.label)
    });
    let lines: Vec<String> = lines.take(NAMED).collect();
    if !lines.is_empty() {
        let advice = "at the peer: netmem tune plan, or what its program reads too slowly";
        let what = "connections send no faster than their peers' receive windows allow";
        judgement.advise("R-TCP-RMEM-MAX", what, lines, vec![advice.to_owned()]);
    }
}

impl Side {
    fn propose(
        &self,
        now: [u64; 3],
        wish: Wish,
        mut lines: Vec<String>,
        (evidence, ask): (&Evidence, &Ask),
    ) -> Proposal {
        if lines.is_empty() {
            lines.push("the path as it was given: --bandwidth, --rtt".to_owned());
        }
        let (value, bound) = bounded(wish.bytes, &bounds(evidence, ask));
        // The last has to be the largest, which the kernel does not check. With pages of 64 KiB it boots with
        // a first number above the second, and both stay as they are.
        let third = if value < now[0].max(now[1]) { now[2] } else { value.max(now[2]) };
        Proposal {
            rule: self.rule,
            key: self.key,
            value: triple([now[0], now[1], third]),
            evidence: lines,
            formula: wish.formula,
            bound,
            confidence: wish.confidence,
        }
    }
}

impl Wish {
    /// By what was given of the path, by what was measured, or else twice of what there is.
    fn of(
        side: &Side,
        now: u64,
        limited: &[&TcpFlow],
        (evidence, ask): (&Evidence, &Ask),
    ) -> Option<Self> {
        let given = (ask.bandwidth_bits_per_s, ask.rtt_us);
        let is_given = given.0.is_some() && given.1.is_some();
        let is_limited = !limited.is_empty();
        if !is_limited && (!is_given || ask.goal == Some(Goal::Latency)) {
            return None;
        }
        let bandwidth = given.0.or(evidence.link_bits_per_s);
        let rtt = given.1.or_else(|| high_rtt(limited));
        let (Some(bandwidth), Some(rtt)) = (bandwidth, rtt) else {
            let formula = format!(
                "2 x {now} = {} in {}: the path's bandwidth or round-trip time is not known",
                now.saturating_mul(2),
                seconds(evidence)
            );
            let bytes = now.saturating_mul(2);
            return Some(Self { bytes, formula, confidence: Confidence::Low });
        };
        let bytes = window_bytes(bandwidth, rtt).saturating_mul(side.windows);
        let windows = side.windows;
        let formula = format!("{windows} x {bandwidth} bit/s x {rtt} us / 8 = {bytes} bytes");
        let confidence = match (is_limited, is_given) {
            (true, true) => Confidence::High,
            _ => Confidence::Medium,
        };
        Some(Self { bytes, formula, confidence })
    }

    fn less_sure_if(self, is_unsure: bool) -> Self {
        let confidence = match self.confidence {
            Confidence::High if is_unsure => Confidence::Medium,
            Confidence::Medium if is_unsure => Confidence::Low,
            confidence => confidence,
        };
        Self { confidence, ..self }
    }
}

/// The bandwidth-delay product, in bytes.
fn window_bytes(bandwidth_bits_per_s: u64, rtt_us: u64) -> u64 {
    let bytes = u128::from(bandwidth_bits_per_s) * u128::from(rtt_us) / 8_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The round-trip time that 95 of 100 connections do not exceed.
fn high_rtt(flows: &[&TcpFlow]) -> Option<u64> {
    let mut rtts: Vec<u64> = flows.iter().filter_map(|flow| flow.rtt_us).collect();
    rtts.sort_unstable();
    let at = (rtts.len() * 95).div_ceil(100).checked_sub(1)?;
    rtts.get(at).copied()
}

fn bounds(evidence: &Evidence, ask: &Ask) -> Vec<(u64, String)> {
    let mut bounds = vec![(LARGEST_BYTES, "256 MiB".to_owned())];
    let divisor = match ask.goal {
        Some(Goal::ManyConnections) => SHARE_OF_MANY,
        _ => SHARE,
    };
    if let Some([_, pressure, _]) = evidence.triple_or_default("net.ipv4.tcp_mem") {
        let share = evidence.pages_to_bytes(pressure) / divisor;
        bounds.push((share, format!("tcp_mem[1] / {divisor}, in bytes")));
    }
    bounds
}
