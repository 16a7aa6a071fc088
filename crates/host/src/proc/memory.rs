//! Memory of TCP and of UDP against its limits, with how far off the figure may be.
//!
//! ```text
//!   0 ........ min ........ pressure ........ max      net.ipv4.tcp_mem, udp_mem; pages; global
//!    TCP:         <- leaves    enters ->    refuses
//!    UDP:         each socket gets no more than udp_rmem_min ->    not even that
//!   pages (/proc/net/sockstat) +- net.core.mem_pcpu_rsv x CPUs           before 6.0 in units of 4 KiB
//! ```
//! Between the first and the third number the kernel gives memory to protocols that have a state of pressure,
//! and UDP has none: its first number is what limits it, and its second does nothing
//! (`__sk_mem_raise_allocated` in net/core/sock.c, kernel 6.18).
//!
//! Since 6.0 each CPU holds back what it has charged or freed until it exceeds `mem_pcpu_rsv` pages
//! (`proto_memory_pcpu_drain` in include/net/proto_memory.h, kernel 6.18), so the sum may be off by that
//! much per CPU either way, and shows 0 while something is queued. Nothing below the error bar is a
//! finding. Exact figures are those of each socket.
//!
//! The limits exist in the initial network namespace only: elsewhere they are unavailable, and the
//! memory still counts the whole machine.

use serde::Serialize;

use super::{MemoryPressure, Protocols, Sockstat, online_cpus, page_size_bytes};
use crate::source::{Reading, Root, Unavailable, or_null};
use crate::sysctl::{self, Value};

/// Pages that a CPU holds back at most, where the kernel does not say: the default since 6.0
/// (`SK_MEMORY_PCPU_RESERVE`, 1 MiB in pages of 4 KiB).
const ASSUMED_RESERVE_BYTES: u64 = 1 << 20;

/// A protocol that has limits for all its sockets together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportProtocol {
    /// TCP of IPv4 and IPv6, and MPTCP.
    Tcp,
    /// UDP of IPv4 and IPv6.
    Udp,
}

/// What a protocol has charged; global.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProtocolMemory {
    /// Whose it is.
    pub protocol: TransportProtocol,
    /// Memory in pages.
    pub pages: u64,
    /// Memory in bytes.
    pub bytes: u64,
    /// Its limits.
    #[serde(serialize_with = "or_null")]
    pub limits: Reading<MemoryLimits>,
    /// Whether the protocol is under pressure, as the kernel says.
    #[serde(serialize_with = "or_null")]
    pub pressure: Reading<MemoryPressure>,
    /// How far `bytes` may be off, either way.
    pub error_bar_bytes: u64,
    /// What the error bar comes from.
    pub reserve: Reserve,
}

/// The limits of a protocol's memory: `net.ipv4.tcp_mem` or `udp_mem`, in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryLimits {
    /// Up to this, nothing is refused, and TCP's pressure ends; above it a UDP socket gets no more than
    /// its minimum, `net.ipv4.udp_rmem_min`.
    pub min_pages: u64,
    /// Above this, TCP enters pressure; UDP has no such state.
    pub pressure_pages: u64,
    /// Above this, allocations are refused, also for a socket's minimum.
    pub max_pages: u64,
}

/// What CPUs hold back from the sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Reserve {
    /// Most pages that a CPU holds back.
    pub pages_per_cpu: u64,
    /// Number of CPUs that are online.
    pub cpus: u64,
    /// Where the two are from.
    pub provenance: Provenance,
}

/// Whether a figure was read or assumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Provenance {
    /// The kernel said it.
    Read,
    /// The kernel does not say; it is the default of kernels that have it.
    Assumed,
}

/// Where a figure lies between the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// At or under the first number.
    UpToMin,
    /// At or under the second; of TCP.
    UpToPressure,
    /// Above the first and at or under the third, and sockets get no more than their minimum; of UDP.
    Limited,
    /// At or under the third; of TCP.
    UpToMax,
    /// Above all.
    AboveMax,
}

impl ProtocolMemory {
    /// Reads both protocols in a form that is easy to print: `sockstat`, `protocols`, the two limits and
    /// the reserve.
    ///
    /// # Errors
    /// The amounts or the page size cannot be read; limits, pressure and reserve have reasons of their
    /// own.
    pub fn read(root: &Root) -> Reading<[Self; 2]> {
        let (sockstat, protocols) = (Sockstat::read(root)?, Protocols::read(root));
        let (page_bytes, reserve) = (page_size_bytes(root)?, Reserve::read(root)?);
        Ok([TransportProtocol::Tcp, TransportProtocol::Udp].map(|protocol| {
            let pages = match protocol {
                TransportProtocol::Tcp => sockstat.tcp_mem_pages,
                TransportProtocol::Udp => sockstat.udp_mem_pages,
            };
            Self {
                protocol,
                pages,
                bytes: pages.saturating_mul(page_bytes),
                limits: MemoryLimits::read(root, protocol),
                pressure: protocol.pressure(&protocols),
                error_bar_bytes: reserve.pages().saturating_mul(page_bytes),
                reserve,
            }
        }))
    }

    /// The level that the figure stands at, and the highest that it may stand at by the error bar.
    pub fn levels(&self) -> Option<(Level, Level)> {
        let limits = self.limits.as_ref().ok()?;
        let highest = self.pages.saturating_add(self.reserve.pages());
        let level = |pages| limits.level(self.protocol, pages);
        Some((level(self.pages), level(highest)))
    }
}

impl TransportProtocol {
    /// Its name: `tcp`, `udp`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// The key of its limits.
    pub fn limits_key(self) -> &'static str {
        match self {
            Self::Tcp => "net.ipv4.tcp_mem",
            Self::Udp => "net.ipv4.udp_mem",
        }
    }

    fn pressure(self, protocols: &Reading<Protocols>) -> Reading<MemoryPressure> {
        let protocols = protocols.as_ref().map_err(Unavailable::clone)?;
        let row = protocols.named(&self.name().to_uppercase());
        row.map(|row| row.pressure)
            .ok_or_else(|| Unavailable::absent("/proc/net/protocols", "no row of this protocol"))
    }
}

impl MemoryLimits {
    /// Reads a protocol's limits.
    ///
    /// # Errors
    /// They are not in this network namespace, or are not three numbers.
    pub fn read(root: &Root, protocol: TransportProtocol) -> Reading<Self> {
        let key = protocol.limits_key();
        let Value::Triple(numbers) = sysctl::read(root, key)? else {
            return Err(Unavailable::malformed(key, "not three numbers"));
        };
        let [min, pressure, max] = numbers.map(|number| u64::try_from(number).ok());
        match (min, pressure, max) {
            (Some(min_pages), Some(pressure_pages), Some(max_pages)) => {
                Ok(Self { min_pages, pressure_pages, max_pages })
            }
            _ => Err(Unavailable::malformed(key, "a number is negative")),
        }
    }

    /// Where so many pages of a protocol stand. Limits of TCP that do not ascend are told by the highest one
    /// that is exceeded; those of UDP as the kernel takes them, which asks for the first before all.
    pub fn level(&self, protocol: TransportProtocol, pages: u64) -> Level {
        match protocol {
            TransportProtocol::Udp if pages <= self.min_pages => Level::UpToMin,
            _ if pages > self.max_pages => Level::AboveMax,
            TransportProtocol::Udp => Level::Limited,
            TransportProtocol::Tcp if pages > self.pressure_pages => Level::UpToMax,
            TransportProtocol::Tcp if pages > self.min_pages => Level::UpToPressure,
            TransportProtocol::Tcp => Level::UpToMin,
        }
    }
}

impl Reserve {
    /// Reads it; outside of the initial network namespace, and before 6.7, `mem_pcpu_rsv` is not there
    /// and its default is assumed. That is too much before 6.0, where nothing is held back, but not where a
    /// distribution has brought such a kernel up to date.
    ///
    /// # Errors
    /// The number of CPUs or the page size cannot be read.
    pub fn read(root: &Root) -> Reading<Self> {
        let cpus = online_cpus(root)?;
        let read = match sysctl::read(root, "net.core.mem_pcpu_rsv") {
            Ok(Value::Scalar(pages)) => u64::try_from(pages).ok(),
            _ => None,
        };
        Ok(match read {
            Some(pages_per_cpu) => Self { pages_per_cpu, cpus, provenance: Provenance::Read },
            None => {
                let pages_per_cpu = ASSUMED_RESERVE_BYTES / page_size_bytes(root)?.max(1);
                Self { pages_per_cpu, cpus, provenance: Provenance::Assumed }
            }
        })
    }

    /// What all CPUs together hold back at most, in pages.
    pub fn pages(&self) -> u64 {
        self.pages_per_cpu.saturating_mul(self.cpus)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Has failed with: UDP's second number taken for one that counts; its third asked for first.
    #[test]
    fn levels_lie_between_the_limits() {
        let limits = MemoryLimits { min_pages: 30, pressure_pages: 40, max_pages: 60 };
        let at = [0, 30, 31, 40, 41, 60, 61];
        let levels = at.map(|pages| limits.level(TransportProtocol::Tcp, pages));
        use Level::{AboveMax, Limited, UpToMax, UpToMin, UpToPressure};
        assert_eq!(
            levels,
            [UpToMin, UpToMin, UpToPressure, UpToPressure, UpToMax, UpToMax, AboveMax]
        );
        // As a script leaves them that writes one number only.
        let broken = MemoryLimits { min_pages: 90, ..limits };
        let tcp = |pages| broken.level(TransportProtocol::Tcp, pages);
        assert_eq!([39, 41, 61].map(tcp), [UpToMin, UpToMax, AboveMax]);
        // Up to the first nothing is refused, whatever the others are.
        let levels = at.map(|pages| limits.level(TransportProtocol::Udp, pages));
        assert_eq!(levels, [UpToMin, UpToMin, Limited, Limited, Limited, Limited, AboveMax]);
        let udp = |pages| broken.level(TransportProtocol::Udp, pages);
        assert_eq!([41, 61, 90, 91].map(udp), [UpToMin, UpToMin, UpToMin, AboveMax]);
    }

    /// What there is in `/proc` and `/sys`, as [`ProtocolMemory::read`] and the readers below it understand it:
    /// pages of TCP and of UDP, those of `protocols`, and bytes and the error bar of TCP.
    fn told(page_bytes: u64, further: &[(&str, &str)]) -> ([u64; 2], [Option<u64>; 2], [u64; 2]) {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("netmem-protocol-memory-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let root = Root::at(&folder);
        let write = |path: PathBuf, bytes: &[u8]| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        write(root.proc("self/auxv"), &[6, page_bytes, 0, 0].map(u64::to_le_bytes).concat());
        write(root.sys("devices/system/cpu/online"), b"0-3\n");
        let sockstat = "sockets: used 9\nTCP: inuse 5 orphan 0 tw 0 alloc 6 mem 6400001\n\
            UDP: inuse 1 mem 800\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n";
        write(root.net("sockstat"), sockstat.as_bytes());
        let protocols = "protocol size sockets memory press maxhdr slab module\n\
            PACKET 1600 2 -1 NI 0 no kernel\nTCP 2304 5 6400001 no 192 yes kernel\n";
        write(root.net("protocols"), protocols.as_bytes());
        for (path, text) in further {
            write(root.proc(path), text.as_bytes());
        }
        let sockstat = Sockstat::read(&root).unwrap();
        let [tcp, udp] = ProtocolMemory::read(&root).unwrap();
        assert_eq!([tcp.pages, udp.pages], [sockstat.tcp_mem_pages, sockstat.udp_mem_pages]);
        let rows = Protocols::read(&root).unwrap();
        fs::remove_dir_all(folder).unwrap();
        let rows = ["TCP", "PACKET"].map(|name| rows.named(name).unwrap().memory_pages);
        ([tcp.pages, udp.pages], rows, [tcp.bytes, tcp.error_bar_bytes])
    }

    /// Has failed with: units of 4 KiB taken for pages; rounded down; of newer kernels made pages too; of `protocols`
    /// left as they are; `mem_pcpu_rsv` not looked for.
    #[test]
    fn before_6_0_the_units_are_of_4_kib() {
        let release = |text| ("sys/kernel/osrelease", text);
        let (large, mib) = (64 << 10, 1 << 20);
        let in_pages =
            |page: u64| ([6_400_001, 800], [Some(6_400_001), None], [6_400_001 * page, 4 * mib]);
        let in_quanta = ([400_001, 50], [Some(400_001), None], [400_001 * large, 4 * mib]);
        for old in ["5.19.17\n", "5.15.0-91-generic-64k\n", "4.19.0\n"] {
            assert_eq!(told(large, &[release(old)]), in_quanta, "{old}");
            assert_eq!(told(4096, &[release(old)]), in_pages(4096), "{old}");
        }
        let (pages, ..) = told(16 << 10, &[release("5.15.0\n")]);
        assert_eq!(pages, [1_600_001, 200]);
        for new in ["6.0.0\n", "6.18.44\n", "7.3.4\n"] {
            assert_eq!(told(large, &[release(new)]), in_pages(large), "{new}");
        }
        assert_eq!(told(large, &[]), in_pages(large), "not told");
        let updated =
            [release("5.14.0-503.el9.aarch64+64k\n"), ("sys/net/core/mem_pcpu_rsv", "16\n")];
        assert_eq!(told(large, &updated), in_pages(large));
    }

    #[test]
    fn the_error_bar_may_reach_a_higher_level() {
        let reserve = Reserve { pages_per_cpu: 256, cpus: 2, provenance: Provenance::Read };
        let memory = ProtocolMemory {
            protocol: TransportProtocol::Tcp,
            pages: 100,
            bytes: 409_600,
            limits: Ok(MemoryLimits { min_pages: 200, pressure_pages: 500, max_pages: 700 }),
            pressure: Ok(MemoryPressure::No),
            error_bar_bytes: 2 << 20,
            reserve,
        };
        assert_eq!(memory.levels(), Some((Level::UpToMin, Level::UpToMax)));
        let udp = ProtocolMemory { protocol: TransportProtocol::Udp, ..memory.clone() };
        assert_eq!(udp.levels(), Some((Level::UpToMin, Level::Limited)));
        let limits = Err(Unavailable::absent("x", "y"));
        assert_eq!(ProtocolMemory { limits, ..memory }.levels(), None);
    }
}
