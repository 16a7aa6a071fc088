//! Pressure stall information: how long tasks waited for a resource, of the machine
//! (`/proc/pressure/cpu`, `io`, `memory`, `irq`) or of a cgroup (`memory.pressure`).
//!
//! ```text
//!  some avg10=3.70 avg60=2.58 avg300=2.56 total=6810503831     percent of time; microseconds since boot
//!  full avg10=0.00 avg60=0.00 avg300=0.00 total=0
//! ```
//! `some`: at least one task waited; `full`: all that could run did. `full` of CPUs is there since 5.13 and
//! 0 for the machine; `irq`, since 6.1, has `full` alone. Needs `CONFIG_PSI`, and no `psi=0` at boot.
//! Source: Documentation/accounting/psi.rst, `psi_show` in kernel/sched/psi.c, kernel 6.18.

use serde::Serialize;

use super::text;
use crate::source::{Reading, Root, read_with};

/// The pressure on one resource.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pressure {
    /// At least one task waited.
    pub some: Option<Stall>,
    /// All tasks that could run waited.
    pub full: Option<Stall>,
}

/// How long was waited.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Stall {
    /// Of the last 10 seconds, in percent.
    pub avg10_percent: f64,
    /// Of the last 60 seconds, in percent.
    pub avg60_percent: f64,
    /// Of the last 300 seconds, in percent.
    pub avg300_percent: f64,
    /// Since boot, or since the cgroup was made, in microseconds.
    pub total_us: u64,
}

impl Pressure {
    /// Parses such a file.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut pressure = Self { some: None, full: None };
        for line in text(bytes)?.lines() {
            match line.split_once(' ')? {
                ("some", rest) => pressure.some = Some(Stall::parse(rest)?),
                ("full", rest) => pressure.full = Some(Stall::parse(rest)?),
                _ => {}
            }
        }
        (pressure.some.is_some() || pressure.full.is_some()).then_some(pressure)
    }

    /// Reads the machine's pressure on `resource`: `cpu`, `io`, `memory` or `irq`.
    ///
    /// # Errors
    /// The kernel does not keep it, or the file is not understood.
    pub fn read(root: &Root, resource: &str) -> Reading<Self> {
        read_with(&root.proc("pressure").join(resource), Self::parse)
    }
}

impl Stall {
    fn parse(rest: &str) -> Option<Self> {
        let value = |key: &str| {
            let word = rest.split_ascii_whitespace().find_map(|word| word.strip_prefix(key))?;
            word.strip_prefix('=')
        };
        let percent =
            |key| value(key)?.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
        Some(Self {
            avg10_percent: percent("avg10")?,
            avg60_percent: percent("avg60")?,
            avg300_percent: percent("avg300")?,
            total_us: value("total")?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: &str = "some avg10=3.70 avg60=2.58 avg300=2.56 total=6810503831\n";

    #[test]
    fn both_lines_or_one() {
        let some = Stall {
            avg10_percent: 3.7,
            avg60_percent: 2.58,
            avg300_percent: 2.56,
            total_us: 6_810_503_831,
        };
        let parse = |text: &str| Pressure::parse(text.as_bytes());
        assert_eq!(parse(SOME), Some(Pressure { some: Some(some), full: None }));
        let full = SOME.replace("some", "full");
        assert_eq!(parse(&full), Some(Pressure { some: None, full: Some(some) }));
        assert_eq!(parse(&(SOME.to_owned() + &full)).unwrap().full, Some(some));
    }

    #[test]
    fn damage_is_seen() {
        for (from, to) in
            [("3.70", "nan"), ("3.70", "-1"), ("3.70", "1e3"), ("total=", ""), ("6810503831", "-1")]
        {
            assert_eq!(Pressure::parse(SOME.replace(from, to).as_bytes()), None, "{to}");
        }
        assert_eq!(Pressure::parse(b""), None);
    }
}
