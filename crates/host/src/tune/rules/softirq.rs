//! R-BACKLOG, R-BUDGET: what a CPU's receive softirq may queue, and do in one round.
//!
//! ```text
//!   backlog = max(2 x now, packets a second of the busiest CPU x 2 ms), at most 65536
//!   budget = 2 x now, at most 4 x the default; its time likewise, at most 4 x two ticks
//! ```
//! The backlog is a queue for packets of RPS, loopback and tunnels; a device's driver with NAPI does not
//! use it. A round of polling ends by packets or by time, whichever is first, so both are raised or neither.
//! A CPU without time left gets none by a longer round. And while one goes on, no task runs there: where
//! tasks wait for a CPU half of the time, rounds that are longer than by default are told, with the way
//! back, and are not made longer still.
//!
//! Source: `enqueue_to_backlog`, `net_rx_action` in net/core/dev.c, kernel 6.18.

use super::{Ask, Goal, Judgement, Proposal, bounded, grew, scalar, seconds};
use crate::tune::Confidence;
use crate::tune::evidence::{CpuLoad, Evidence};

const BACKLOG_MAX: u64 = 65_536;
const BACKLOG_KEY: &str = "net.core.netdev_max_backlog";
const BUDGET_DEFAULT: u64 = 300;
/// Below that a share says nothing.
const SQUEEZES_MIN: u64 = 10;
/// From this time in softirqs on a CPU has no headroom, in percent.
const BUSY_PERCENT: u64 = 80;
/// From this share of the time on in which a task waits for a CPU, tasks starve, in percent.
const STALLED_PERCENT: u64 = 50;
/// Less time in softirqs keeps nobody waiting, in percent.
const SOFTIRQ_MIN_PERCENT: u64 = 10;
const BUDGET_KEYS: [&str; 2] = ["net.core.netdev_budget", "net.core.netdev_budget_usecs"];

pub(super) fn backlog(evidence: &Evidence, _: &Ask) -> Judgement {
    let rule = "R-BACKLOG";
    let mut judgement = Judgement::default();
    let limited: u64 = evidence.cpus.iter().map(|cpu| cpu.flow_limit).sum();
    if limited > 0 {
        let what = "packets of large flows were dropped by the flow limit, as it is meant to";
        let advice = "spread the flow's CPU: RPS, RFS, or more receive queues";
        let line = grew(evidence, "flow_limit", limited);
        judgement.advise(rule, what, vec![line], vec![advice.to_owned()]);
    }
    let over = |cpu: &&CpuLoad| cpu.dropped > cpu.flow_limit;
    let full: Vec<&CpuLoad> = evidence.cpus.iter().filter(over).collect();
    let (Some(now), Some(busiest)) =
        (evidence.number(BACKLOG_KEY), full.iter().map(|cpu| cpu.processed).max())
    else {
        return judgement;
    };
    let mut lines: Vec<String> = full
        .iter()
        .map(|cpu| {
            let name = format!("cpu {}: dropped", cpu.cpu);
            grew(evidence, &name, cpu.dropped - cpu.flow_limit)
        })
        .collect();
    let is_rps = full.iter().any(|cpu| cpu.received_rps > 0);
    if !is_rps {
        lines.push("no RPS: the packets are of loopback, a veth or a tunnel".to_owned());
    }
    let per_second = busiest.saturating_mul(1000) / evidence.elapsed_ms.max(1);
    let in_2_ms = per_second / 500;
    let wish = now.saturating_mul(2).max(in_2_ms);
    let (value, bound) = bounded(wish, &[(BACKLOG_MAX, "at most".to_owned())]);
    judgement.proposals.push(Proposal {
        rule,
        key: BACKLOG_KEY,
        value: scalar(value.max(now)),
        evidence: lines,
        formula: format!("max(2 x {now}, {per_second} packets/s x 2 ms = {in_2_ms}) = {wish}"),
        bound,
        confidence: if is_rps { Confidence::High } else { Confidence::Medium },
    });
    judgement
}

pub(super) fn budget(evidence: &Evidence, ask: &Ask) -> Judgement {
    let rule = "R-BUDGET";
    let mut judgement = starved(evidence);
    if !judgement.findings.is_empty() {
        return judgement;
    }
    let is_squeezed = |cpu: &&CpuLoad| {
        let rounds = cpu.rounds.unwrap_or(u64::MAX);
        cpu.time_squeeze >= SQUEEZES_MIN && cpu.time_squeeze.saturating_mul(100) > rounds
    };
    let squeezed: Vec<&CpuLoad> = evidence.cpus.iter().filter(is_squeezed).collect();
    if squeezed.is_empty() {
        return judgement;
    }
    let mut lines: Vec<String> = squeezed.iter().map(|cpu| squeeze(evidence, cpu)).collect();
    let share = evidence.cpu_stall_percent.filter(|share| *share >= STALLED_PERCENT);
    lines.extend(share.map(|share| stalled(evidence, share)));
    let is_busy = |cpu: &&CpuLoad| cpu.softirq_percent.is_none_or(|share| share >= BUSY_PERCENT);
    if squeezed.iter().any(is_busy) {
        let what = "rounds of polling end with work left, and the CPU has no time left either";
        let advice = "more receive queues on more CPUs, or RPS: a longer round does not help";
        judgement.advise(rule, what, lines, vec![advice.to_owned()]);
        return judgement;
    }
    if ask.goal == Some(Goal::Latency) {
        let what = "rounds of polling end with work left: longer ones keep programs waiting";
        judgement.find(rule, what, lines);
        return judgement;
    }
    let [Some(packets), Some(time_us)] = BUDGET_KEYS.map(|key| evidence.number(key)) else {
        return judgement;
    };
    let bounds = [
        (BUDGET_DEFAULT * 4, "4 x the default".to_owned()),
        (evidence.two_ticks_us.saturating_mul(4), "4 x two ticks of the clock".to_owned()),
    ];
    let raised = [packets, time_us].map(|now| now.saturating_mul(2));
    let [budget, usecs] = [0, 1].map(|at: usize| bounded(raised[at], &bounds[at..=at]));
    // Both or neither: the bound of one holds back the other too.
    let binding = match (budget.0 > packets, usecs.0 > time_us) {
        (true, true) => None,
        (false, _) => Some(format!("{}: {}", BUDGET_KEYS[0], budget.1)),
        (true, false) => Some(format!("{}: {}", BUDGET_KEYS[1], usecs.1)),
    };
    let all = [(BUDGET_KEYS[0], packets, budget), (BUDGET_KEYS[1], time_us, usecs)];
    for (key, now, (value, bound)) in all {
        judgement.proposals.push(Proposal {
            rule,
            key,
            value: scalar(if binding.is_none() { value } else { now }),
            evidence: lines.clone(),
            formula: format!("2 x {now} = {}, both together", now.saturating_mul(2)),
            bound: binding.clone().unwrap_or(bound),
            // Longer rounds keep those waiting who wait already.
            confidence: if share.is_some() { Confidence::Low } else { Confidence::Medium },
        });
    }
    judgement
}

/// Tells tasks that wait for a CPU while rounds of polling are longer than by default.
fn starved(evidence: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let longer = evidence.longer_rounds();
    let share = evidence.cpu_stall_percent.filter(|share| *share >= STALLED_PERCENT);
    let softirq = |cpu: &CpuLoad| cpu.softirq_percent;
    let busiest = evidence.cpus.iter().max_by_key(|cpu| softirq(cpu));
    let busiest = busiest.filter(|cpu| softirq(cpu) >= Some(SOFTIRQ_MIN_PERCENT));
    let (Some(share), Some(busiest), false) = (share, busiest, longer.is_empty()) else {
        return judgement;
    };
    let mut lines = vec![stalled(evidence, share)];
    lines.push(format!("cpu {}: {} % softirq", busiest.cpu, softirq(busiest).unwrap_or(0)));
    lines
        .extend(longer.iter().map(|(key, now, default)| format!("{key} {now}, default {default}")));
    let back = longer.iter().map(|(key, _, default)| format!("sysctl -w {key}={default}"));
    let what = "tasks wait for a CPU, and rounds of polling are longer than by default";
    judgement.advise("R-BUDGET", what, lines, back.collect());
    judgement
}

fn stalled(evidence: &Evidence, share: u64) -> String {
    format!("/proc/pressure/cpu some: {share} % of {}", seconds(evidence))
}

impl Evidence {
    /// What makes a round of polling longer than by default: the setting, its value and its default.
    pub(in crate::tune) fn longer_rounds(&self) -> Vec<(&'static str, u64, u64)> {
        let defaults = [BUDGET_DEFAULT, self.two_ticks_us];
        let all = BUDGET_KEYS.into_iter().zip(defaults);
        let longer = all.filter_map(|(key, default)| Some((key, self.number(key)?, default)));
        longer.filter(|(_, now, default)| now > default).collect()
    }
}

fn squeeze(evidence: &Evidence, cpu: &CpuLoad) -> String {
    let (number, squeezed) = (cpu.cpu, cpu.time_squeeze);
    let rounds = cpu.rounds.map_or_else(|| "?".to_owned(), |rounds| rounds.to_string());
    let busy = cpu.softirq_percent.map_or_else(|| "?".to_owned(), |share| share.to_string());
    let time = seconds(evidence);
    format!("cpu {number}: time_squeeze +{squeezed} of {rounds} rounds in {time}, {busy} % softirq")
}
