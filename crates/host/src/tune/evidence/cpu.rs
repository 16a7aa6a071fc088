//! How busy each CPU is with softirqs, and how long tasks wait for one: `/proc/stat`, `/proc/softirqs`,
//! `/proc/pressure/cpu`.
//!
//! ```text
//!  cpu0 2007080 39024 251645 1319593 10415 0 49525 4430 0 0     user nice system idle iowait irq softirq
//!       NET_RX:  230647911  457046101                           rounds of polling, by CPU that is online
//! ```
//! Times are in hundredths of a second and 64 bits, counts of softirqs have 32 bits and wrap.
//! Source: fs/proc/stat.c, fs/proc/softirqs.c, kernel 6.18.

use std::collections::BTreeMap;

use crate::proc::Pressure;
use crate::source::{Reading, Root, Unavailable, read_with};

/// A CPU's times and rounds, since boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CpuTimes {
    /// In softirqs.
    softirq: u64,
    /// In all.
    all: u64,
    /// Rounds of polling, modulo 2^32.
    rounds: Option<u32>,
}

/// All CPUs' times and rounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AllCpus {
    pub(super) by_cpu: BTreeMap<usize, CpuTimes>,
    /// Why rounds are missing.
    pub(super) gap: Option<Unavailable>,
}

/// Reads them.
///
/// # Errors
/// `/proc/stat` cannot be read or is not understood.
pub(super) fn read(root: &Root) -> Reading<AllCpus> {
    let mut by_cpu = read_with(&root.proc("stat"), parse_stat)?;
    let read = read_with(&root.proc("softirqs"), parse_net_rx);
    let (rounds, gap) = match read {
        Ok(rounds) => (rounds, None),
        Err(why) => (Vec::new(), Some(why)),
    };
    for (cpu, rounds) in rounds {
        if let Some(times) = by_cpu.get_mut(&cpu) {
            times.rounds = Some(rounds);
        }
    }
    Ok(AllCpus { by_cpu, gap })
}

/// For how long some task that could run had no CPU, since boot, in microseconds.
///
/// # Errors
/// The kernel does not keep it (`CONFIG_PSI`, `psi=0`).
pub(super) fn stalled_us(root: &Root) -> Reading<u64> {
    let pressure = Pressure::read(root, "cpu")?;
    let some = pressure.some.map(|some| some.total_us);
    some.ok_or_else(|| Unavailable::absent("/proc/pressure/cpu", "no line `some`"))
}

impl CpuTimes {
    /// The time in softirqs since `earlier`, in percent; `None` if no time has passed.
    pub(super) fn softirq_percent(&self, earlier: &Self) -> Option<u64> {
        let all = self.all.checked_sub(earlier.all)?;
        self.softirq.checked_sub(earlier.softirq)?.checked_mul(100)?.checked_div(all)
    }

    /// Rounds of polling since `earlier`.
    pub(super) fn rounds(&self, earlier: &Self) -> Option<u64> {
        Some(self.rounds?.wrapping_sub(earlier.rounds?).into())
    }
}

fn parse_stat(bytes: &[u8]) -> Option<BTreeMap<usize, CpuTimes>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut cpus = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("cpu")) {
        let mut words = line.split_ascii_whitespace();
        // The first line sums all CPUs.
        if line.starts_with(' ') {
            continue;
        }
        let cpu = words.next()?.parse().ok()?;
        let times: Vec<u64> = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
        // Guests' times are in those of users already.
        let all = times.iter().take(8).fold(0, |sum: u64, time| sum.saturating_add(*time));
        cpus.insert(cpu, CpuTimes { softirq: *times.get(6)?, all, rounds: None });
    }
    (!cpus.is_empty()).then_some(cpus)
}

fn parse_net_rx(bytes: &[u8]) -> Option<Vec<(usize, u32)>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.lines();
    let cpus = lines.next()?.split_ascii_whitespace();
    let cpus: Vec<usize> =
        cpus.map(|name| name.strip_prefix("CPU")?.parse().ok()).collect::<Option<_>>()?;
    let row = lines.find_map(|line| line.trim_start().strip_prefix("NET_RX:"))?;
    let counts = row.split_ascii_whitespace().map(|word| word.parse().ok());
    let counts: Vec<u32> = counts.collect::<Option<_>>()?;
    (counts.len() == cpus.len()).then(|| cpus.into_iter().zip(counts).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_that_cannot_be_read_are_told() {
        let name = format!("netmem-softirqs-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(folder.join("proc")).unwrap();
        std::fs::write(folder.join("proc/stat"), "cpu0 10 0 20 60 0 0 10 0 7 7\n").unwrap();
        let read = read(&Root::at(&folder));
        std::fs::remove_dir_all(&folder).unwrap();
        let read = read.unwrap();
        assert_eq!((read.by_cpu.len(), read.by_cpu[&0].rounds), (1, None));
        assert!(read.gap.unwrap().to_string().contains("softirqs"));
    }

    #[test]
    fn times_and_rounds_are_read() {
        let stat = b"cpu  2 0 0 0 0 0 9 0 0 0\ncpu0 10 0 20 60 0 0 10 0 7 7\ncpu3 0 0 0 5 0 0 0 0\nintr 5\n";
        let cpus = parse_stat(stat).unwrap();
        assert_eq!(cpus[&0], CpuTimes { softirq: 10, all: 100, rounds: None });
        assert_eq!(cpus.len(), 2);
        let later = CpuTimes { softirq: 50, all: 150, rounds: Some(4) };
        assert_eq!(later.softirq_percent(&cpus[&0]), Some(80));
        assert_eq!(later.softirq_percent(&later), None, "no time has passed");
        assert_eq!(later.rounds(&CpuTimes { rounds: Some(u32::MAX), ..later }), Some(5));
        assert_eq!(parse_stat(b"cpu0 1 2 3\n"), None);
        assert_eq!(parse_stat(b"intr 5\n"), None);
        let softirqs = b"     CPU0  CPU3\n  HI: 1 2\n  NET_RX:  7  4294967295\n";
        assert_eq!(parse_net_rx(softirqs), Some(vec![(0, 7), (3, u32::MAX)]));
        assert_eq!(parse_net_rx(b"CPU0 CPU1\nNET_RX: 7\n"), None);
        assert_eq!(parse_net_rx(b""), None);
    }
}
