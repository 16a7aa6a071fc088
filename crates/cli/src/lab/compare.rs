//! The responder beside the kernel's own ICMP stack: the same client on the same kind of pair, in turns.
//!
//! Each run has fresh namespaces. The client is an AF_XDP port pinned to CPU 0 that keeps fewer than
//! 250 requests of 56 payload bytes in flight and checks every reply; the responder is pinned to CPU 1.
//! The kernel's stack answers in softirq on the CPU of the client that sends. What is quoted is the
//! median of the ratios per round; absolute figures drift with the machine.

use std::{fs, io::Write, time::Duration};

use netmem_host::lab::{Lab, ServerAddress};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use serde::Serialize;

use super::{
    Worker,
    client::{Client, XdpClient},
    ledger::{Endpoints, Payload, Score},
};
use crate::{Failure, args::LabArgs, report, stop::Stop};

/// Payload bytes of every request: what ping sends.
const PAYLOAD_BYTES: usize = 56;

/// The result of a comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// `netmem.compare/1`.
    pub schema: &'static str,
    /// The kernel's release.
    pub kernel: String,
    /// The processor.
    pub processor: String,
    /// The XDP mode of the responder and of the client.
    pub mode: &'static str,
    /// Payload bytes of every request.
    pub payload_bytes: usize,
    /// Every round.
    pub rounds: Vec<Round>,
    /// Replies per second of netmem by those of the kernel: the median over the rounds.
    pub median_ratio: f64,
    /// The smallest and the largest ratio.
    pub ratio_range: [f64; 2],
    /// Median replies per second of netmem.
    pub median_netmem: f64,
    /// Median replies per second of the kernel.
    pub median_kernel: f64,
}

/// One round: both, one after the other.
#[derive(Debug, Clone, Serialize)]
pub struct Round {
    /// The responder.
    pub netmem: Side,
    /// The kernel's stack.
    pub kernel: Side,
}

/// One run.
#[derive(Debug, Clone, Serialize)]
pub struct Side {
    /// Verified replies per second.
    pub replies_per_second: f64,
    /// Replies that were not right, or missing.
    pub not_right: u64,
    /// CPUs busy, per CPU: 1 is all of it.
    pub busy: Vec<f64>,
    /// Of that, in softirq.
    pub softirq: Vec<f64>,
    /// Million replies per second and busy CPU, the client's included.
    pub mpps_per_busy_cpu: f64,
}

/// Runs `rounds` rounds of `window` each way, alternating who goes first.
///
/// # Errors
/// What could not be set up, or what went away.
pub fn run(
    rounds: usize,
    window: Duration,
    notes: &mut (dyn Write + Send),
) -> Result<Comparison, Failure> {
    let mut done = Vec::new();
    for round in 0..rounds {
        let (netmem, kernel) = if round % 2 == 0 {
            let netmem = run_one(window, Answers::Responder)?;
            (netmem, run_one(window, Answers::Kernel)?)
        } else {
            let kernel = run_one(window, Answers::Kernel)?;
            (run_one(window, Answers::Responder)?, kernel)
        };
        writeln!(
            notes,
            "round {}: netmem {:.0}/s, kernel {:.0}/s, ratio {:.2}",
            round + 1,
            netmem.replies_per_second,
            kernel.replies_per_second,
            netmem.replies_per_second / kernel.replies_per_second
        )
        .map_err(Failure::output)?;
        done.push(Round { netmem, kernel });
    }
    Ok(summary(done))
}

/// Prints the comparison for a person.
///
/// # Errors
/// When `out` cannot be written to.
pub fn print(out: &mut dyn Write, comparison: &Comparison) -> std::io::Result<()> {
    let c = comparison;
    report::row(out, "netmem", format!("{:.0} verified replies/s (median)", c.median_netmem))?;
    report::row(out, "kernel", format!("{:.0} verified replies/s (median)", c.median_kernel))?;
    let [low, high] = c.ratio_range;
    let rounds = c.rounds.len();
    let ratio = format!("{:.2} median of {rounds} rounds [{low:.2}-{high:.2}]", c.median_ratio);
    report::row(out, "ratio", ratio)?;
    for (name, side) in [
        ("netmem cpu", c.rounds.iter().map(|round| &round.netmem).collect::<Vec<_>>()),
        ("kernel cpu", c.rounds.iter().map(|round| &round.kernel).collect()),
    ] {
        let busy = median(side.iter().map(|side| side.busy.iter().sum()));
        let softirq = median(side.iter().map(|side| side.softirq.iter().sum()));
        let rate = median(side.iter().map(|side| side.mpps_per_busy_cpu));
        let text =
            format!("{busy:.2} busy, {softirq:.2} of it softirq; {rate:.3} Mpps per busy cpu");
        report::row(out, name, text)?;
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answers {
    Responder,
    Kernel,
}

fn run_one(window: Duration, answers: Answers) -> Result<Side, Failure> {
    let address = match answers {
        Answers::Responder => ServerAddress::UserSpace,
        Answers::Kernel => ServerAddress::Kernel,
    };
    let lab = Lab::builder().server_address(address).build()?;
    let (client, server) = (lab.client_link(), lab.server_link());
    let endpoints = Endpoints {
        client_mac: client.mac,
        server_mac: server.mac,
        client_ip: client.interface.address,
        server_ip: server.interface.address,
    };
    let stop = Stop::default();
    let worker = match answers {
        Answers::Responder => Some(Worker::start(&LabArgs::default(), &lab, &stop, || pin(1))?),
        Answers::Kernel => None,
    };
    let interface = client.name.clone();
    let measured = lab.client.run(|| -> Result<(Score, Duration, Cpus), Failure> {
        pin(0);
        let mut link = XdpClient::open(&interface, endpoints.server_ip)?;
        let mut client =
            Client::new(&mut link, endpoints, &stop).payload(Payload::Fixed(PAYLOAD_BYTES));
        client.flood(Duration::from_millis(100))?;
        let before = Cpus::now()?;
        let (score, took) = client.flood(window)?;
        Ok((score, took, Cpus::now()?.since(&before)))
    });
    if let Some(worker) = worker {
        worker.finish()?;
    }
    let (score, took, cpus) = measured??;
    #[allow(clippy::cast_precision_loss, reason = "a rate for a person")]
    let replies_per_second = score.right as f64 / took.as_secs_f64();
    let busy: f64 = cpus.busy.iter().sum();
    Ok(Side {
        replies_per_second,
        not_right: score.wrong + score.missing + score.duplicate,
        mpps_per_busy_cpu: replies_per_second / 1e6 / busy.max(0.01),
        busy: cpus.busy,
        softirq: cpus.softirq,
    })
}

/// Keeps the calling thread on one CPU where there are two; the figures say where it ran otherwise.
fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    if set.set(cpu).is_ok() {
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
}

/// Per CPU: ticks, or shares of the time between two readings.
#[derive(Debug, Clone)]
struct Cpus {
    busy: Vec<f64>,
    softirq: Vec<f64>,
    total: Vec<f64>,
}

impl Cpus {
    /// Reads `/proc/stat`: ticks of user, nice, system, idle, iowait, irq, softirq, steal per CPU.
    fn now() -> Result<Self, Failure> {
        let text = fs::read_to_string("/proc/stat")
            .map_err(|error| Failure::refused(format!("read /proc/stat: {error}")))?;
        let mut cpus = Self { busy: Vec::new(), softirq: Vec::new(), total: Vec::new() };
        for line in text.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "))
        {
            let ticks: Vec<f64> =
                line.split_ascii_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
            let at = |index: usize| ticks.get(index).copied().unwrap_or(0.0);
            let total: f64 = (0..8).map(at).sum();
            cpus.total.push(total);
            cpus.busy.push(total - at(3) - at(4));
            cpus.softirq.push(at(6));
        }
        Ok(cpus)
    }

    fn since(&self, before: &Self) -> Self {
        let share = |now: &[f64], then: &[f64]| -> Vec<f64> {
            let totals = self.total.iter().zip(&before.total);
            let parts = now.iter().zip(then).zip(totals);
            parts.map(|((now, then), (t, t0))| (now - then) / (t - t0).max(1.0)).collect()
        };
        Self {
            busy: share(&self.busy, &before.busy),
            softirq: share(&self.softirq, &before.softirq),
            total: self.total.clone(),
        }
    }
}

fn summary(rounds: Vec<Round>) -> Comparison {
    let ratio =
        |round: &Round| round.netmem.replies_per_second / round.kernel.replies_per_second.max(1.0);
    let ratios: Vec<f64> = rounds.iter().map(ratio).collect();
    let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let high = ratios.iter().copied().fold(0.0, f64::max);
    let line = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.rsplit(": ").next().unwrap_or_default().trim().to_owned()
    };
    Comparison {
        schema: "netmem.compare/1",
        kernel: line("/proc/sys/kernel/osrelease", ""),
        processor: line("/proc/cpuinfo", "model name"),
        mode: "native",
        payload_bytes: PAYLOAD_BYTES,
        median_ratio: median(ratios),
        ratio_range: [low, high],
        median_netmem: median(rounds.iter().map(|round| round.netmem.replies_per_second)),
        median_kernel: median(rounds.iter().map(|round| round.kernel.replies_per_second)),
        rounds,
    }
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
