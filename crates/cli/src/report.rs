//! Printing: tables for a person and JSON for a program, both from the same structure.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use netmem::{
    mem::{Audit, Counts, RegionReport},
    xdp::{Advice, PortReport, Statistics},
};
use serde::{Deserialize, Serialize};

/// The memory that was got, and why nothing better.
#[derive(Debug, Clone, Serialize)]
pub struct Memory {
    /// Page size of the tier that was got.
    pub page_bytes: usize,
    /// Length of the region.
    pub bytes: usize,
    /// Better tiers that were tried, in order.
    pub refused: Vec<RefusedMemory>,
}

/// A tier that was not got.
#[derive(Debug, Clone, Serialize)]
pub struct RefusedMemory {
    /// `1g`, `2m`, `thp` or `4k`.
    pub tier: &'static str,
    /// The kernel's error number; 0 where there was none.
    pub errno: i32,
    /// The reason.
    pub why: String,
}

impl From<&RegionReport> for Memory {
    fn from(report: &RegionReport) -> Self {
        let refused = report.refused.iter().map(|refused| RefusedMemory {
            tier: refused.tier.name(),
            errno: refused.errno,
            why: refused.why.clone(),
        });
        Self {
            page_bytes: report.tier.page_bytes(),
            bytes: report.bytes,
            refused: refused.collect(),
        }
    }
}

/// The XDP mode that was got, and why nothing better.
#[derive(Debug, Clone, Serialize)]
pub struct Xdp {
    /// `zero-copy`, `native` or `generic`.
    pub mode: &'static str,
    /// Better modes that were tried, in order.
    pub refused: Vec<RefusedXdp>,
}

/// A mode that was not got.
#[derive(Debug, Clone, Serialize)]
pub struct RefusedXdp {
    /// Which mode.
    pub mode: &'static str,
    /// The reason.
    pub why: String,
}

impl From<&PortReport> for Xdp {
    fn from(report: &PortReport) -> Self {
        let refused = report
            .refused
            .iter()
            .map(|refused| RefusedXdp { mode: refused.mode.name(), why: refused.why.clone() });
        Self { mode: report.mode.name(), refused: refused.collect() }
    }
}

/// What would work better otherwise, of the ports that it concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AdviceReport {
    /// The interface.
    pub interface: String,
    /// Its queues that it concerns; none where it is the interface's.
    pub queues: Vec<u32>,
    /// One line.
    pub text: String,
}

impl AdviceReport {
    /// What ports were told ([`PortReport::advice`]), each line once for an interface.
    #[must_use]
    pub fn of<'r>(reports: impl Iterator<Item = &'r PortReport>) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for report in reports {
            for advice in &report.advice {
                let (interface, text) = (&report.interface, advice.to_string());
                let is_it = |known: &&mut Self| known.interface == *interface && known.text == text;
                // It names the queues itself.
                let is_of_queue = !matches!(advice, Advice::QueuesWithoutSocket { .. });
                let queue = is_of_queue.then_some(report.queue);
                match all.iter_mut().find(is_it) {
                    Some(known) => known.queues.extend(queue),
                    None => {
                        let queues = queue.into_iter().collect();
                        all.push(Self { interface: interface.clone(), queues, text });
                    }
                }
            }
        }
        all
    }
}

/// Packets by what became of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PacketCounts {
    /// Delivered by a device.
    pub received: u64,
    /// Allocated by the program.
    pub created: u64,
    /// Sharing another's bytes.
    pub cloned: u64,
    /// Sent: the completion was reaped.
    pub transmitted: u64,
    /// Ended by the program.
    pub consumed: u64,
    /// Begun and not ended.
    pub held: u64,
    /// Dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
}

impl PacketCounts {
    /// Joins the counts with how many packets are held.
    #[must_use]
    pub fn new(counts: &Counts, held: u64) -> Self {
        Self {
            received: counts.received,
            created: counts.created,
            cloned: counts.cloned,
            transmitted: counts.transmitted,
            consumed: counts.consumed,
            held,
            dropped: counts
                .dropped
                .iter()
                .map(|(reason, n)| (reason.name().to_owned(), n))
                .collect(),
        }
    }
}

/// Where every frame is, and whether that adds up.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AuditReport {
    /// Whether every slot was found once and every packet is accounted for; nothing is said while
    /// packets move, because the walk is exact at rest only.
    pub ok: Option<bool>,
    /// How many slots there are.
    pub slots: u32,
    /// How many each owner has.
    pub owners: BTreeMap<String, u64>,
    /// What is wrong.
    pub findings: Vec<String>,
}

impl AuditReport {
    /// Keeps the figures and leaves the verdict out: what moved during the walk is not wrong.
    #[must_use]
    pub fn in_motion(self) -> Self {
        Self { ok: None, findings: Vec::new(), ..self }
    }

    /// Counts `slots` that were out of use, because the kernel had them, as free: it has let go.
    pub(crate) fn free_from_kernel(&mut self, slots: u64) {
        if let Some(quarantined) = self.owners.get_mut("quarantined") {
            let freed = slots.min(*quarantined);
            *quarantined -= freed;
            *self.owners.entry("free".to_owned()).or_default() += freed;
        }
    }
}

impl From<&Audit> for AuditReport {
    fn from(audit: &Audit) -> Self {
        Self {
            ok: Some(audit.is_ok()),
            slots: audit.slots,
            owners: audit.owners.iter().map(|(owner, n)| (owner.name().to_owned(), n)).collect(),
            findings: audit.findings.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The kernel's own six counters of an AF_XDP socket.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[allow(missing_docs, reason = "the names are the kernel's: struct xdp_statistics")]
pub struct KernelStatistics {
    pub rx_dropped: u64,
    pub rx_invalid_descs: u64,
    pub tx_invalid_descs: u64,
    pub rx_ring_full: u64,
    pub rx_fill_ring_empty_descs: u64,
    pub tx_ring_empty_descs: u64,
}

impl From<Statistics> for KernelStatistics {
    fn from(statistics: Statistics) -> Self {
        Self {
            rx_dropped: statistics.rx_dropped,
            rx_invalid_descs: statistics.rx_invalid_descs,
            tx_invalid_descs: statistics.tx_invalid_descs,
            rx_ring_full: statistics.rx_ring_full,
            rx_fill_ring_empty_descs: statistics.rx_fill_ring_empty_descs,
            tx_ring_empty_descs: statistics.tx_ring_empty_descs,
        }
    }
}

impl KernelStatistics {
    /// The counters of several sockets together.
    #[must_use]
    pub fn sum(all: &[Self]) -> Self {
        let sum = |of: fn(&Self) -> u64| all.iter().map(of).sum();
        Self {
            rx_dropped: sum(|one| one.rx_dropped),
            rx_invalid_descs: sum(|one| one.rx_invalid_descs),
            tx_invalid_descs: sum(|one| one.tx_invalid_descs),
            rx_ring_full: sum(|one| one.rx_ring_full),
            rx_fill_ring_empty_descs: sum(|one| one.rx_fill_ring_empty_descs),
            tx_ring_empty_descs: sum(|one| one.tx_ring_empty_descs),
        }
    }
}

/// Spells the queues of an interface: `queue 3`, `queues 0-3`, `queues 1, 4`.
#[must_use]
pub fn queues(queues: &[u32]) -> String {
    match queues {
        [queue] => format!("queue {queue}"),
        [first, .., last] if (*first..=*last).eq(queues.iter().copied()) => {
            format!("queues {first}-{last}")
        }
        _ => {
            let words: Vec<_> = queues.iter().map(ToString::to_string).collect();
            format!("queues {}", words.join(", "))
        }
    }
}

/// Spells where ports are: `eth1 queues 0-3 (native), eth2 queue 0 (generic)`.
#[must_use]
pub fn ports<'r>(reports: impl Iterator<Item = &'r PortReport>) -> String {
    let mut interfaces: Vec<(&PortReport, Vec<u32>)> = Vec::new();
    for report in reports {
        match interfaces.iter_mut().find(|(known, _)| known.ifindex == report.ifindex) {
            Some((_, queues)) => queues.push(report.queue),
            None => interfaces.push((report, vec![report.queue])),
        }
    }
    let spell = |(report, numbers): &(&PortReport, Vec<u32>)| {
        format!("{} {} ({})", report.interface, queues(numbers), report.mode.name())
    };
    interfaces.iter().map(spell).collect::<Vec<_>>().join(", ")
}

/// Writes where packets are looked at.
///
/// # Errors
/// When `out` cannot be written to.
pub fn workers(out: &mut dyn Write, pid: Option<u32>) -> io::Result<()> {
    match pid {
        Some(pid) => row(out, "workers", format!("in process {pid}, which can open nothing")),
        None => row(out, "workers", "in this process, with its privileges"),
    }
}

/// Writes the kernel's counters.
///
/// # Errors
/// When `out` cannot be written to.
pub fn kernel(out: &mut dyn Write, k: &KernelStatistics) -> io::Result<()> {
    let kernel = format!(
        "{} rx_dropped, {} rx_invalid_descs, {} tx_invalid_descs, {} rx_ring_full, \
         {} rx_fill_ring_empty_descs, {} tx_ring_empty_descs",
        k.rx_dropped,
        k.rx_invalid_descs,
        k.tx_invalid_descs,
        k.rx_ring_full,
        k.rx_fill_ring_empty_descs,
        k.tx_ring_empty_descs
    );
    row(out, "kernel", kernel)
}

/// Writes the packets by class of the filter.
///
/// # Errors
/// When `out` cannot be written to.
pub fn classes(out: &mut dyn Write, classes: &[(String, u64)]) -> io::Result<()> {
    let classes: Vec<_> =
        classes.iter().filter(|(_, n)| *n > 0).map(|(c, n)| format!("{c} {n}")).collect();
    row(out, "classes", if classes.is_empty() { "-".into() } else { classes.join(", ") })
}

/// Writes `value` as one line of JSON.
///
/// # Errors
/// When `out` cannot be written to.
pub fn json<T: Serialize>(out: &mut dyn Write, value: &T) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)
}

/// Writes one line of a two-column table.
///
/// # Errors
/// When `out` cannot be written to.
pub fn row(out: &mut dyn Write, name: &str, value: impl std::fmt::Display) -> io::Result<()> {
    writeln!(out, "{name:<14} {value}")
}

/// A text that comes from elsewhere, such as a process's name or a line of a file, for a terminal: blanks
/// for tabs, and U+FFFD for other control characters.
pub fn harmless(text: &str) -> String {
    let one = |letter: char| match letter {
        '\t' => ' ',
        letter if letter.is_control() => '\u{fffd}',
        letter => letter,
    };
    text.chars().map(one).collect()
}

/// Writes the memory and what was refused.
///
/// # Errors
/// When `out` cannot be written to.
pub fn memory(out: &mut dyn Write, memory: &Memory) -> io::Result<()> {
    let (pages, unit) = (bytes(memory.page_bytes as u64), bytes(memory.bytes as u64));
    row(out, "memory", format!("{unit} in pages of {pages}"))?;
    for refused in &memory.refused {
        row(out, "", format!("not {}: {}", refused.tier, refused.why))?;
    }
    Ok(())
}

/// Writes the XDP mode and what was refused.
///
/// # Errors
/// When `out` cannot be written to.
pub fn xdp(out: &mut dyn Write, xdp: &Xdp) -> io::Result<()> {
    row(out, "xdp mode", xdp.mode)?;
    for refused in &xdp.refused {
        row(out, "", format!("not {}: {}", refused.mode, refused.why))?;
    }
    Ok(())
}

/// Writes what would work better otherwise, a line each.
///
/// # Errors
/// When `out` cannot be written to.
pub fn advice(out: &mut dyn Write, all: &[AdviceReport]) -> io::Result<()> {
    for AdviceReport { interface, queues: of, text } in all {
        match &of[..] {
            [] => row(out, "advice", format!("{interface}: {text}"))?,
            of => row(out, "advice", format!("{interface} {}: {text}", queues(of)))?,
        }
    }
    Ok(())
}

/// Writes what became of the packets, with the drops by reason.
///
/// # Errors
/// When `out` cannot be written to.
pub fn packets(out: &mut dyn Write, counts: &PacketCounts) -> io::Result<()> {
    let ends = format!(
        "{} received, {} created, {} cloned = {} transmitted + {} consumed + {} dropped + {} held",
        counts.received,
        counts.created,
        counts.cloned,
        counts.transmitted,
        counts.consumed,
        counts.dropped.values().sum::<u64>(),
        counts.held
    );
    row(out, "packets", ends)?;
    for (reason, count) in &counts.dropped {
        row(out, "", format!("dropped {reason}: {count}"))?;
    }
    Ok(())
}

/// Writes where the frames are, and the audit's verdict.
///
/// # Errors
/// When `out` cannot be written to.
pub fn audit(out: &mut dyn Write, audit: &AuditReport) -> io::Result<()> {
    let owners: Vec<_> = audit
        .owners
        .iter()
        .filter(|&(_, &count)| count > 0)
        .map(|(owner, count)| format!("{owner} {count}"))
        .collect();
    row(out, "frames", format!("{}: {}", audit.slots, owners.join(", ")))?;
    match audit.ok {
        None => return Ok(()),
        Some(true) => row(out, "audit", "closed: every frame and every packet accounted for")?,
        Some(false) => row(out, "audit", "FAILED")?,
    }
    for finding in &audit.findings {
        row(out, "", finding)?;
    }
    Ok(())
}

/// Spells a number of bytes in the largest unit that divides it.
#[must_use]
pub fn bytes(count: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    units
        .iter()
        .find(|&&(unit, _)| count >= unit && count.is_multiple_of(unit))
        .map_or_else(|| format!("{count} B"), |(unit, name)| format!("{} {name}", count / unit))
}

/// Spells a time in nanoseconds as microseconds.
#[must_use]
pub fn micros(nanos: u64) -> String {
    format!("{}.{} us", nanos / 1000, nanos % 1000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_exact() {
        assert_eq!(bytes(8 << 20), "8 MiB");
        assert_eq!(bytes(1536), "1536 B");
        assert_eq!(bytes(4096), "4 KiB");
        assert_eq!(micros(12_345), "12.3 us");
    }
}
