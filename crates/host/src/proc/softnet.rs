//! `/proc/net/softnet_stat`: what each CPU's receive softirq did, a line per online CPU.
//!
//! ```text
//!  column  0 processed  1 dropped  2 time_squeeze  9 received_rps  10 flow_limit
//!          11 backlog_len  12 cpu  13 input_qlen  14 process_qlen      all hexadecimal, 32 bits
//! ```
//! The counters are the machine's, not a namespace's, and wrap at 2^32: at 1 Mpps in 71 minutes.
//! `dropped` moves only for users of the backlog: RPS, loopback, a veth without NAPI, tunnels.
//! Columns: 10 since 2.6.35, 11 since 3.11, 13 since 5.10, 15 since 6.4; a line without its CPU's number
//! cannot be put to a CPU while one is offline. Source: `softnet_seq_show` in net/core/net-procfs.c,
//! kernel 6.18.

use serde::Serialize;

use super::text;
use crate::source::{Reading, Root, read_with};

/// `/proc/net/softnet_stat`; global.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Softnet {
    /// A row for each online CPU.
    pub cpus: Vec<SoftnetCpu>,
}

/// A CPU's row. Counts are packets since boot, modulo 2^32.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SoftnetCpu {
    /// The CPU's number; `None` where the kernel does not print it.
    pub cpu: Option<u32>,
    /// Packets taken from the backlog and from devices without GRO.
    pub processed: u32,
    /// Packets dropped because the backlog was full (`net.core.netdev_max_backlog`).
    pub dropped: u32,
    /// Times that polling ended with work left: no packets or no time left in the budget. A count of
    /// polls, not of packets.
    pub time_squeeze: u32,
    /// Times that another CPU woke this one to take packets (RPS).
    pub received_rps: Option<u32>,
    /// Packets dropped by the flow limit.
    pub flow_limit: Option<u32>,
    /// Packets in the backlog now.
    pub backlog_len: Option<u32>,
    /// Of these, in the queue that is being filled.
    pub input_qlen: Option<u32>,
    /// Of these, in the queue that is being worked on.
    pub process_qlen: Option<u32>,
}

/// What a CPU counted between two samples; right as long as no counter moved by 2^32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SoftnetDelta {
    /// Packets.
    pub processed: u32,
    /// Packets.
    pub dropped: u32,
    /// Polls.
    pub time_squeeze: u32,
    /// Wake-ups.
    pub received_rps: Option<u32>,
    /// Packets.
    pub flow_limit: Option<u32>,
}

impl Softnet {
    /// Parses the file.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let lines = text(bytes)?.lines().filter(|line| !line.trim().is_empty());
        let cpus: Vec<_> = lines.map(SoftnetCpu::parse).collect::<Option<_>>()?;
        (!cpus.is_empty()).then_some(Self { cpus })
    }

    /// Reads it.
    ///
    /// # Errors
    /// The file is not there, or is not understood.
    pub fn read(root: &Root) -> Reading<Self> {
        read_with(&root.net("softnet_stat"), Self::parse)
    }

    /// What each CPU that is in both samples counted since `earlier`; by line where the kernel prints no
    /// numbers, and nothing if CPUs then came or went.
    pub fn since(&self, earlier: &Self) -> Vec<(usize, SoftnetDelta)> {
        let find = |at: usize, row: &SoftnetCpu| match row.cpu {
            Some(cpu) => earlier.cpus.iter().find(|row| row.cpu == Some(cpu)),
            None if self.cpus.len() == earlier.cpus.len() => earlier.cpus.get(at),
            None => None,
        };
        let rows = self.cpus.iter().enumerate();
        rows.filter_map(|(at, row)| {
            let cpu = row.cpu.map_or(at, |cpu| cpu as usize);
            Some((cpu, row.since(find(at, row)?)))
        })
        .collect()
    }
}

impl SoftnetCpu {
    fn parse(line: &str) -> Option<Self> {
        let words = line.split_ascii_whitespace();
        let words: Vec<u32> =
            words.map(|word| u32::from_str_radix(word, 16).ok()).collect::<Option<_>>()?;
        let [processed, dropped, time_squeeze, _, _, _, _, _, _, ..] = words[..] else {
            return None;
        };
        let column = |at: usize| words.get(at).copied();
        // Columns 11 and 13 came with those behind them.
        let (backlog_len, input_qlen) = (column(11), column(13));
        let (cpu, process_qlen) = (column(12), column(14));
        Some(Self {
            cpu,
            processed,
            dropped,
            time_squeeze,
            received_rps: column(9),
            flow_limit: column(10),
            backlog_len: cpu.and(backlog_len),
            input_qlen: process_qlen.and(input_qlen),
            process_qlen,
        })
    }

    /// What was counted since `earlier`, across a wrap too.
    pub fn since(&self, earlier: &Self) -> SoftnetDelta {
        let both = |now: Option<u32>, then: Option<u32>| Some(now?.wrapping_sub(then?));
        SoftnetDelta {
            processed: self.processed.wrapping_sub(earlier.processed),
            dropped: self.dropped.wrapping_sub(earlier.dropped),
            time_squeeze: self.time_squeeze.wrapping_sub(earlier.time_squeeze),
            received_rps: both(self.received_rps, earlier.received_rps),
            flow_limit: both(self.flow_limit, earlier.flow_limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Softnet {
        Softnet::parse(text.as_bytes()).unwrap()
    }

    /// A line of so many columns, each its own number.
    fn line(columns: u32) -> String {
        (0..columns).map(|column| format!("{:08x} ", 0x10 + column)).collect::<String>() + "\n"
    }

    #[test]
    fn columns_are_hexadecimal_and_in_place() {
        let softnet = parse(&line(15));
        let expected = SoftnetCpu {
            cpu: Some(0x1c),
            processed: 0x10,
            dropped: 0x11,
            time_squeeze: 0x12,
            received_rps: Some(0x19),
            flow_limit: Some(0x1a),
            backlog_len: Some(0x1b),
            input_qlen: Some(0x1d),
            process_qlen: Some(0x1e),
        };
        assert_eq!(softnet.cpus, [expected]);
    }

    #[test]
    fn older_and_newer_kernels_are_understood() {
        let known = |columns| {
            let softnet = parse(&line(columns));
            let row = &softnet.cpus[0];
            let optional =
                [row.received_rps, row.flow_limit, row.backlog_len, row.cpu, row.process_qlen];
            optional.iter().filter(|column| column.is_some()).count()
        };
        assert_eq!([9, 10, 11, 13, 15, 17].map(known), [0, 1, 2, 4, 5, 5]);
        for bad in
            ["", "\n", &line(8), "0000000g 0 0 0 0 0 0 0 0 0\n", "1ffffffff 0 0 0 0 0 0 0 0\n"]
        {
            assert_eq!(Softnet::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn a_difference_is_right_across_the_wrap() {
        let row = |processed: u32, cpu: u32| {
            format!("{processed:08x} 0 0 0 0 0 0 0 0 {processed:08x} 0 0 {cpu:08x}\n")
        };
        // CPU 1 has gone offline meanwhile, CPU 3 has come.
        let before = parse(&(row(u32::MAX - 4, 0) + &row(9, 1) + &row(7, 2)));
        let after = parse(&(row(5, 0) + &row(7, 2) + &row(1, 3)));
        let counted = |processed| SoftnetDelta {
            processed,
            received_rps: Some(processed),
            flow_limit: Some(0),
            ..SoftnetDelta::default()
        };
        assert_eq!(after.since(&before), [(0, counted(10)), (2, counted(0))]);
        // Without numbers of CPUs only samples of as many lines compare.
        let bare = |lines: usize| parse(&line(11).repeat(lines));
        assert_eq!(bare(2).since(&bare(2)).len(), 2);
        assert_eq!(bare(2).since(&bare(3)), []);
    }
}
