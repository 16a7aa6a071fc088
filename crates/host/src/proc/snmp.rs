//! The counters of `/proc/net/snmp`, `netstat` and `snmp6`, by the names that `nstat` gives them.
//!
//! ```text
//!  Udp: InDatagrams NoPorts RcvbufErrors      UdpInDatagrams, UdpNoPorts, UdpRcvbufErrors
//!  Udp: 214 0 43                              214, 0, 43
//!  Ip6InReceives          5                   Ip6InReceives (snmp6: one a line)
//! ```
//! All count the calling thread's network namespace; the pressure of TCP, which is global, is counted in
//! the namespace of the socket that met it. A few are no counters but settings or states
//! (`IpDefaultTTL`, `TcpCurrEstab`). `TcpMaxConn` prints -1, for no limit, and is left out.
//! Source: net/ipv4/proc.c, net/ipv6/proc.c, include/uapi/linux/snmp.h, kernel 6.18.

use std::collections::BTreeMap;

use serde::Serialize;

use super::text;
use crate::source::{Reading, Root, read_with};

/// Counters by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Counters {
    by_name: BTreeMap<String, u64>,
}

/// A counter that says something of network memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Its name: `TcpExtPruneCalled`.
    pub name: &'static str,
    /// What happened each time it moved, in one sentence.
    pub meaning: &'static str,
}

/// Makes an accessor for each counter, and the table of all.
macro_rules! evidence {
    ($($method:ident $name:literal $meaning:literal)*) => {
        /// The counters that say something of network memory.
        pub const EVIDENCE: &[Evidence] = &[$(Evidence { name: $name, meaning: $meaning }),*];

        impl Counters {
            $(
                #[doc = concat!("`", $name, "`: ", $meaning)]
                pub fn $method(&self) -> Option<u64> {
                    self.value($name)
                }
            )*
        }
    };
}

evidence! {
    prune_called "TcpExtPruneCalled"
        "A TCP receive buffer was full, and its queues were collapsed to make room."
    rcv_pruned "TcpExtRcvPruned"
        "A TCP segment was dropped because collapsing the receive buffer made no room."
    ofo_pruned "TcpExtOfoPruned"
        "The out-of-order queue of a TCP socket was thrown away to make room."
    tcp_rcv_collapsed "TcpExtTCPRcvCollapsed"
        "A segment was copied together with its neighbours to save memory."
    tcp_rcvq_drop "TcpExtTCPRcvQDrop"
        "A TCP segment was dropped: its socket's receive buffer, the memory of TCP or a control group was full."
    tcp_ofo_drop "TcpExtTCPOFODrop"
        "As TCPRcvQDrop, of a segment that came out of order."
    tcp_backlog_drop "TcpExtTCPBacklogDrop"
        "A TCP segment was dropped because the backlog of a socket in use was full."
    tcp_zero_window_drop "TcpExtTCPZeroWindowDrop"
        "A TCP segment was dropped because it came into a closed window."
    tcp_to_zero_window_adv "TcpExtTCPToZeroWindowAdv"
        "A TCP socket closed its window."
    tcp_from_zero_window_adv "TcpExtTCPFromZeroWindowAdv"
        "A TCP socket opened its window again."
    tcp_want_zero_window_adv "TcpExtTCPWantZeroWindowAdv"
        "A TCP socket would have closed its window, but may not take back what it gave."
    listen_overflows "TcpExtListenOverflows"
        "A connection was dropped because a listener's accept queue was full."
    listen_drops "TcpExtListenDrops"
        "A connection was dropped at a listener, for whatever reason."
    tcp_req_q_full_drop "TcpExtTCPReqQFullDrop"
        "A SYN was dropped because a listener's request queue was full."
    tcp_memory_pressures "TcpExtTCPMemoryPressures"
        "TCP entered memory pressure: above tcp_mem's second number, or a page for a send was not to be had."
    tcp_memory_pressures_chrono_ms "TcpExtTCPMemoryPressuresChrono"
        "Milliseconds that TCP spent under memory pressure, counted when it ended."
    tcp_abort_on_memory "TcpExtTCPAbortOnMemory"
        "A closed TCP connection was aborted: too many orphans, or TCP above tcp_mem's third number."
    tcp_wqueue_too_big "TcpExtTCPWqueueTooBig"
        "A TCP segment was not split because the write queue was over twice the send buffer."
    pf_memalloc_drop "TcpExtPFMemallocDrop"
        "A packet in memory from the emergency reserve met a socket that may not have it."
    busy_poll_rx_packets "TcpExtBusyPollRxPackets"
        "A packet was received by busy polling."
    udp_in_errors "UdpInErrors"
        "A UDP datagram could not be delivered: no memory, a full buffer, or a bad checksum."
    udp_rcvbuf_errors "UdpRcvbufErrors"
        "A UDP datagram was dropped because the socket's own receive buffer was full."
    udp_sndbuf_errors "UdpSndbufErrors"
        "A UDP datagram was not sent because the socket's send buffer was full."
    udp_mem_errors "UdpMemErrors"
        "A UDP datagram was dropped because the memory of UDP, or of its control group, was at its limit."
    udp6_rcvbuf_errors "Udp6RcvbufErrors"
        "As UdpRcvbufErrors, of IPv6."
    udp6_mem_errors "Udp6MemErrors"
        "As UdpMemErrors, of IPv6."
    ip_reasm_fails "IpReasmFails"
        "A datagram was not put together: fragments were missing, late or too many for their memory."
}

impl Counters {
    /// Parses `snmp` or `netstat`: pairs of lines, names above numbers.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut counters = Self::default();
        let mut lines = text(bytes)?.lines();
        while let Some(names) = lines.next() {
            let (group, names) = names.split_once(':')?;
            let values = lines.next()?.strip_prefix(group)?.strip_prefix(':')?;
            let (mut names, mut values) =
                (names.split_ascii_whitespace(), values.split_ascii_whitespace());
            loop {
                match (names.next(), values.next()) {
                    (Some(name), Some(value)) => counters.add(format!("{group}{name}"), value)?,
                    (None, None) => break,
                    _ => return None,
                }
            }
        }
        (!counters.by_name.is_empty()).then_some(counters)
    }

    /// Parses `snmp6`: a name and a number a line.
    pub fn parse_lines(bytes: &[u8]) -> Option<Self> {
        let mut counters = Self::default();
        for line in text(bytes)?.lines() {
            let (name, value) = line.split_once(char::is_whitespace)?;
            counters.add(name.to_owned(), value.trim())?;
        }
        (!counters.by_name.is_empty()).then_some(counters)
    }

    /// Reads `snmp`, `netstat`, and `snmp6` where the kernel has IPv6, for the calling thread's network
    /// namespace.
    ///
    /// # Errors
    /// One of the first two cannot be read, or a file is not understood.
    pub fn read(root: &Root) -> Reading<Self> {
        let mut all = read_with(&root.net("snmp"), Self::parse)?;
        all.by_name.extend(read_with(&root.net("netstat"), Self::parse)?.by_name);
        let six = root.net("snmp6");
        if six.exists() {
            all.by_name.extend(read_with(&six, Self::parse_lines)?.by_name);
        }
        Ok(all)
    }

    /// The counter of that name, as `nstat` has it.
    pub fn value(&self, name: &str) -> Option<u64> {
        self.by_name.get(name).copied()
    }

    /// All, in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.by_name.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// What has moved since `earlier`, by how much. States such as `TcpCurrEstab` that fell are left out.
    pub fn since(&self, earlier: &Self) -> Self {
        let moved = self.by_name.iter().filter_map(|(name, value)| {
            let by = value.checked_sub(earlier.value(name)?)?;
            (by > 0).then(|| (name.clone(), by))
        });
        Self { by_name: moved.collect() }
    }

    fn add(&mut self, name: String, value: &str) -> Option<()> {
        if let Some(negative) = value.strip_prefix('-') {
            return negative.bytes().all(|digit| digit.is_ascii_digit()).then_some(());
        }
        self.by_name.insert(name, value.parse().ok()?);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "Tcp: RtoMin MaxConn CurrEstab\nTcp: 200 -1 5\nUdp: InDatagrams RcvbufErrors\n\
        Udp: 214 43\nIpExt: InOctets\nIpExt: 18446744073709551615\n";

    #[test]
    fn names_are_those_of_nstat() {
        let counters = Counters::parse(PRINTED.as_bytes()).unwrap();
        let all: Vec<_> = counters.iter().collect();
        let expected = [
            ("IpExtInOctets", u64::MAX),
            ("TcpCurrEstab", 5),
            ("TcpRtoMin", 200),
            ("UdpInDatagrams", 214),
            ("UdpRcvbufErrors", 43),
        ];
        assert_eq!(all, expected, "and a limit of -1 is no number of anything");
        assert_eq!(counters.udp_rcvbuf_errors(), Some(43));
        assert_eq!(counters.udp_mem_errors(), None, "a kernel without it has no 0");
    }

    #[test]
    fn pairs_of_lines_must_fit() {
        for (from, to) in [
            ("Udp: 214 43", "Udp: 214"),
            ("Udp: 214 43", "Udp: 214 43 1"),
            ("Udp: 214 43", "Tcp: 214 43"),
            ("Udp: 214 43\n", ""),
            ("214", "x"),
            ("-1", "-x"),
        ] {
            assert_eq!(Counters::parse(PRINTED.replace(from, to).as_bytes()), None, "{to:?}");
        }
        assert_eq!(Counters::parse(b""), None);
    }

    #[test]
    fn what_moved_is_told() {
        let of = |text: &str| Counters::parse_lines(text.as_bytes()).unwrap();
        let (before, after) = (of("A 5\nB\t7\nC 9\n"), of("A 6\nB\t7\nC 8\nD 1\n"));
        assert_eq!(after.since(&before).iter().collect::<Vec<_>>(), [("A", 1)]);
        assert_eq!(Counters::parse_lines(b"A\n"), None);
    }
}
