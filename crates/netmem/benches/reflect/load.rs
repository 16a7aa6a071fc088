//! What the CPUs did during a window, and how fast they are around it.
//!
//! Times are in ticks of 10 ms (`USER_HZ`), as procfs has them. A softirq that runs in a system call of
//! the program is in the program's system time as well as in its CPU's softirq time; one that runs in
//! ksoftirqd is in that thread's.

use std::{
    fs,
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Result,
    machine::{self, OUTSIDE_CPU, TESTED_CPU},
};

const TICKS_PER_SECOND: f64 = 100.0;
/// How long one CPU is probed at a time, and how often.
const PROBE: Duration = Duration::from_millis(4);
const PROBES: usize = 5;
/// Steps between two looks at the clock.
const STRIDE: u32 = 4096;

/// Dependent steps of an `or` and a multiplication per second of each CPU, of about 4 cycles: how fast it
/// is now. The median of some tries.
pub(super) fn probe_all() -> Result<[f64; 2]> {
    let probe = |cpu| {
        let probe = || -> Result<f64> {
            machine::pin(cpu)?;
            let mut rates: Vec<f64> = (0..PROBES).map(|_| probe()).collect();
            rates.sort_by(f64::total_cmp);
            Ok(rates[PROBES / 2])
        };
        thread::scope(|scope| scope.spawn(probe).join()).map_err(|_| "the probe panicked")?
    };
    Ok([probe(OUTSIDE_CPU)?, probe(TESTED_CPU)?])
}

fn probe() -> f64 {
    let (began, mut count) = (Instant::now(), 0u32);
    let mut value = black_box(3u64);
    loop {
        for _ in 0..STRIDE {
            // Each factor depends on the last product: no two can be joined, or run side by side.
            value = value.wrapping_mul(value | 1);
        }
        count += STRIDE;
        let took = began.elapsed();
        if took >= PROBE {
            black_box(value);
            return f64::from(count) / took.as_secs_f64();
        }
    }
}

/// Ticks since the machine and the processes started.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Load {
    /// Of both CPUs: everything but idle. Steal counts: the time was not ours.
    busy: f64,
    /// Of the CPU under test: everything but idle, and softirqs.
    tested_busy: f64,
    tested_softirq: f64,
    /// Of the program under test.
    user: f64,
    system: f64,
    /// Of this process and of the kernel's softirq threads.
    own: f64,
}

impl Load {
    /// Reads the ticks until now, with those of the program under test.
    pub(super) fn now(program: u32) -> Result<Self> {
        let mut load = Self::default();
        let text = fs::read_to_string("/proc/stat")?;
        for line in text.lines().filter(|line| line.starts_with("cpu")) {
            let mut words = line.split_ascii_whitespace();
            let name = words.next().unwrap_or_default();
            let ticks: Vec<f64> = words.filter_map(|ticks| ticks.parse().ok()).collect();
            // user, nice, system, idle, iowait, irq, softirq, steal
            let [user, nice, system, _, _, irq, softirq, steal, ..] = ticks[..] else {
                return Err(format!("/proc/stat has no such line as `{line}`").into());
            };
            let busy = user + nice + system + irq + softirq + steal;
            if name == "cpu" {
                load.busy = busy;
            } else if name == format!("cpu{TESTED_CPU}") {
                (load.tested_busy, load.tested_softirq) = (busy, softirq);
            }
        }
        (load.user, load.system) = ticks_of(&program.to_string())?;
        let (user, system) = ticks_of("self")?;
        load.own = user + system;
        for id in softirq_threads()? {
            let (user, system) = ticks_of(&id)?;
            load.own += user + system;
        }
        Ok(load)
    }

    /// What was between two readings, as shares.
    pub(super) fn since(&self, before: &Self, took: Duration) -> Shares {
        let [user, system] = [self.user - before.user, self.system - before.system];
        let busy = self.busy - before.busy;
        let foreign = busy - user - system - (self.own - before.own);
        let tested_busy = self.tested_busy - before.tested_busy;
        Shares {
            user: user / (user + system).max(1.0),
            softirq: (self.tested_softirq - before.tested_softirq) / tested_busy.max(1.0),
            foreign: foreign.max(0.0) / TICKS_PER_SECOND / took.as_secs_f64(),
        }
    }
}

/// What CPU time went into, from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares {
    /// Of the program's time: in user space.
    user: f64,
    /// Of the tested CPU's time: in softirqs.
    softirq: f64,
    /// Of one CPU's time: what had nothing to do with the measurement.
    foreign: f64,
}

impl Shares {
    /// Prints them as the program's output has them.
    pub(super) fn print(self) {
        println!("user_share {:.4}", self.user);
        println!("softirq_share {:.4}", self.softirq);
        println!("foreign {:.4}", self.foreign);
    }
}

/// The process ids of the threads that run softirqs which nothing else does.
fn softirq_threads() -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let id = entry?.file_name().to_string_lossy().into_owned();
        // A process may end while it is looked at.
        let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
        if name.starts_with("ksoftirqd/") {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// User and system ticks of a process, its threads included.
fn ticks_of(process: &str) -> Result<(f64, f64)> {
    let path = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&path).map_err(|error| format!("read {path}: {error}"))?;
    // The name in parentheses may hold anything; the state behind it is field 3, times are 14 and 15.
    let fields = text.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let mut times = fields.split_ascii_whitespace().skip(11).map_while(|ticks| ticks.parse().ok());
    match (times.next(), times.next()) {
        (Some(user), Some(system)) => Ok((user, system)),
        _ => Err(format!("{path} has no times").into()),
    }
}
