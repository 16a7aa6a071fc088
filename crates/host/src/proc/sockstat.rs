//! `/proc/net/sockstat` and `sockstat6`: sockets in use, and the memory that TCP and UDP have charged.
//!
//! ```text
//!  sockets: used 16
//!  TCP: inuse 1 orphan 0 tw 0 alloc 1 mem 61        mem in pages, fragments' memory in bytes
//!  UDP: inuse 0 mem 0                               orphan, alloc and mem count the whole machine
//! ```
//! `alloc` is every TCP socket that has been allocated and not freed, `inuse` those that are hashed.
//! `mem` is clamped at 0 and, since 6.0, off by what CPUs hold back ([`Reserve`](super::Reserve)). Before 6.0 it
//! is in units of 4 KiB, of which [`Sockstat::read`] makes pages.
//! Source: `sockstat_seq_show` in net/ipv4/proc.c, `sockstat6_seq_show` in net/ipv6/proc.c, kernel
//! 6.18. `UDPLITE` may be missing.

use serde::Serialize;

use super::{Scope, memory_pages, text};
use crate::source::{Reading, Root, read_with};

/// `/proc/net/sockstat`. Counts are sockets of the calling thread's namespace unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sockstat {
    /// Sockets of all families.
    pub sockets_used: u64,
    /// TCP sockets that are bound, listening or connected.
    pub tcp_inuse: u64,
    /// TCP sockets that no process holds any more; global.
    pub tcp_orphan: u64,
    /// TCP sockets in TIME_WAIT.
    pub tcp_tw: u64,
    /// TCP sockets that are allocated; global.
    pub tcp_alloc: u64,
    /// Memory charged to TCP, of IPv4 and IPv6, in pages; global.
    pub tcp_mem_pages: u64,
    /// UDP sockets.
    pub udp_inuse: u64,
    /// Memory charged to UDP, of IPv4 and IPv6, in pages; global.
    pub udp_mem_pages: u64,
    /// UDP-Lite sockets, where the kernel has that protocol.
    pub udplite_inuse: Option<u64>,
    /// Raw sockets.
    pub raw_inuse: u64,
    /// Datagrams that wait for more of their fragments.
    pub frag_inuse: u64,
    /// Memory of waiting fragments, in bytes.
    pub frag_memory_bytes: u64,
}

/// `/proc/net/sockstat6`: counts of the namespace. Memory of TCP and UDP is in [`Sockstat`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sockstat6 {
    /// TCP sockets.
    pub tcp6_inuse: u64,
    /// UDP sockets.
    pub udp6_inuse: u64,
    /// UDP-Lite sockets, where the kernel has that protocol.
    pub udplite6_inuse: Option<u64>,
    /// Raw sockets.
    pub raw6_inuse: u64,
    /// Datagrams that wait for more of their fragments.
    pub frag6_inuse: u64,
    /// Memory of waiting fragments, in bytes.
    pub frag6_memory_bytes: u64,
}

/// A figure with what a person must know to read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Figure {
    /// The kernel's words: `TCP mem`.
    pub name: &'static str,
    /// Its value.
    pub value: u64,
    /// `sockets`, `pages`, `datagrams` or `bytes`.
    pub unit: &'static str,
    /// Whom it counts.
    pub scope: Scope,
}

impl Sockstat {
    /// Parses the file of a kernel since 6.0; memory is as it is printed.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = text(bytes)?;
        Some(Self {
            sockets_used: field(text, "sockets:", "used")?,
            tcp_inuse: field(text, "TCP:", "inuse")?,
            tcp_orphan: field(text, "TCP:", "orphan")?,
            tcp_tw: field(text, "TCP:", "tw")?,
            tcp_alloc: field(text, "TCP:", "alloc")?,
            tcp_mem_pages: field(text, "TCP:", "mem")?,
            udp_inuse: field(text, "UDP:", "inuse")?,
            udp_mem_pages: field(text, "UDP:", "mem")?,
            udplite_inuse: field(text, "UDPLITE:", "inuse"),
            raw_inuse: field(text, "RAW:", "inuse")?,
            frag_inuse: field(text, "FRAG:", "inuse")?,
            frag_memory_bytes: field(text, "FRAG:", "memory")?,
        })
    }

    /// Reads it for the calling thread's network namespace.
    ///
    /// # Errors
    /// The kernel has no IPv4, or the file is not understood.
    pub fn read(root: &Root) -> Reading<Self> {
        let printed = read_with(&root.net("sockstat"), Self::parse)?;
        let pages = memory_pages(root);
        Ok(Self {
            tcp_mem_pages: pages(printed.tcp_mem_pages),
            udp_mem_pages: pages(printed.udp_mem_pages),
            ..printed
        })
    }

    /// Each figure with its unit and its scope.
    pub fn figures(&self) -> Vec<Figure> {
        let figure = |name, value, unit, scope| Figure { name, value, unit, scope };
        let (here, all) = (Scope::Namespace, Scope::Global);
        let mut figures = vec![
            figure("sockets used", self.sockets_used, "sockets", here),
            figure("TCP inuse", self.tcp_inuse, "sockets", here),
            figure("TCP orphan", self.tcp_orphan, "sockets", all),
            figure("TCP tw", self.tcp_tw, "sockets", here),
            figure("TCP alloc", self.tcp_alloc, "sockets", all),
            figure("TCP mem", self.tcp_mem_pages, "pages", all),
            figure("UDP inuse", self.udp_inuse, "sockets", here),
            figure("UDP mem", self.udp_mem_pages, "pages", all),
            figure("RAW inuse", self.raw_inuse, "sockets", here),
            figure("FRAG inuse", self.frag_inuse, "datagrams", here),
            figure("FRAG memory", self.frag_memory_bytes, "bytes", here),
        ];
        figures.extend(self.udplite_inuse.map(|n| figure("UDPLITE inuse", n, "sockets", here)));
        figures
    }
}

impl Sockstat6 {
    /// Parses the file.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = text(bytes)?;
        Some(Self {
            tcp6_inuse: field(text, "TCP6:", "inuse")?,
            udp6_inuse: field(text, "UDP6:", "inuse")?,
            udplite6_inuse: field(text, "UDPLITE6:", "inuse"),
            raw6_inuse: field(text, "RAW6:", "inuse")?,
            frag6_inuse: field(text, "FRAG6:", "inuse")?,
            frag6_memory_bytes: field(text, "FRAG6:", "memory")?,
        })
    }

    /// Reads it for the calling thread's network namespace.
    ///
    /// # Errors
    /// The kernel has no IPv6, or the file is not understood.
    pub fn read(root: &Root) -> Reading<Self> {
        read_with(&root.net("sockstat6"), Self::parse)
    }
}

/// The number behind `key` on the line that begins with `head`.
fn field(text: &str, head: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(head))?;
    let mut words = line.split_ascii_whitespace();
    while let Some(word) = words.next() {
        let value = words.next()?;
        if word == key {
            return value.parse().ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "sockets: used 16\nTCP: inuse 3 orphan 4 tw 5 alloc 6 mem 61\nUDP: inuse 7 \
        mem 8\nUDPLITE: inuse 9\nRAW: inuse 10\nFRAG: inuse 11 memory 12\n";

    #[test]
    fn each_figure_has_its_place_and_its_scope() {
        let sockstat = Sockstat::parse(PRINTED.as_bytes()).unwrap();
        let values: Vec<u64> = sockstat.figures().iter().map(|figure| figure.value).collect();
        assert_eq!(values, [16, 3, 4, 5, 6, 61, 7, 8, 10, 11, 12, 9]);
        let figures = sockstat.figures();
        let global = figures.iter().filter(|figure| figure.scope == Scope::Global);
        let global: Vec<_> = global.map(|figure| figure.name).collect();
        assert_eq!(global, ["TCP orphan", "TCP alloc", "TCP mem", "UDP mem"]);
        let pages = figures.iter().filter(|figure| figure.unit == "pages").count();
        assert_eq!(pages, 2, "fragments are in bytes");
    }

    #[test]
    fn other_kernels_are_understood() {
        let without = PRINTED.replace("UDPLITE: inuse 9\n", "");
        assert_eq!(Sockstat::parse(without.as_bytes()).unwrap().udplite_inuse, None);
        let newer =
            PRINTED.replace("mem 61", "mem 61 pressure 1").replace("RAW:", "NEW: x 1\nRAW:");
        assert_eq!(Sockstat::parse(newer.as_bytes()), Sockstat::parse(PRINTED.as_bytes()));
    }

    #[test]
    fn what_is_missing_is_no_zero() {
        for cut in ["TCP:", "mem 61", "FRAG:", "used 16", "memory 12"] {
            let damaged = PRINTED.replace(cut, "");
            assert_eq!(Sockstat::parse(damaged.as_bytes()), None, "{cut}");
        }
        let negative = PRINTED.replace("mem 61", "mem -61");
        assert_eq!(Sockstat::parse(negative.as_bytes()), None);
    }

    #[test]
    fn ipv6_has_no_memory_of_its_own() {
        let printed = "TCP6: inuse 1\nUDP6: inuse 2\nUDPLITE6: inuse 3\nRAW6: inuse 4\nFRAG6: inuse 5 \
            memory 6\n";
        let sockstat = Sockstat6::parse(printed.as_bytes()).unwrap();
        assert_eq!((sockstat.tcp6_inuse, sockstat.frag6_memory_bytes), (1, 6));
        assert_eq!(Sockstat6::parse(PRINTED.as_bytes()), None);
    }
}
