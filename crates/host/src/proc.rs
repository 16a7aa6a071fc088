//! What `/proc`, `/sys` and cgroups tell about network memory: one kernel file, one struct.
//!
//! ```text
//!   T::parse(&[u8]) -> Option<T>      pure: no input makes it panic; columns it does not know are skipped
//!   T::read(&Root)  -> Reading<T>     reads the file once and parses it
//! ```
//! Two traps run through all of it. **Scope**: some figures count the calling thread's network
//! namespace, others the whole machine, often in one line ([`Sockstat::figures`] says which is which).
//! **Unit**: socket memory is in pages, whose size is the machine's ([`page_size_bytes`]), buffers and
//! fragments are in bytes. Fields therefore name their units, and what is in pages is given in bytes too. Before
//! 6.0 the kernel prints socket memory in units of 4 KiB, of which the readers make pages.
//!
//! Nothing here is kept between two samples: rates are differences of two structs, and counters of 32
//! bits wrap ([`Softnet::since`]).
//!
//! Formats: 4.19 and later. What a kernel does not print is `None`, never 0.

mod buddyinfo;
mod cgroup;
mod hugepages;
mod interrupts;
mod limits;
mod meminfo;
mod memory;
mod pressure;
mod protocols;
mod slabinfo;
mod snmp;
mod sockets;
mod sockstat;
mod softnet;
mod zoneinfo;

use serde::Serialize;

pub use self::buddyinfo::{Buddyinfo, FreeBlocks};
pub use self::cgroup::{
    Bounds, CgroupEvents, CgroupLimit, CgroupLineage, CgroupMount, CgroupMounts, CgroupVersion,
    SocketCgroup, SocketCgroups, TcpLimitV1,
};
pub use self::hugepages::{HugepagePool, Hugepages};
pub use self::interrupts::{Interrupt, Interrupts, device_interrupts};
pub use self::limits::{Limits, ResourceLimit};
pub use self::meminfo::{Meminfo, Vmstat};
pub use self::memory::{
    Level, MemoryLimits, ProtocolMemory, Provenance, Reserve, TransportProtocol,
};
pub use self::pressure::{Pressure, Stall};
pub use self::protocols::{MemoryPressure, Protocol, Protocols};
pub use self::slabinfo::{
    NETWORK_CACHES, NetworkCache, SlabAliases, SlabCache, Slabinfo, network_caches,
};
pub use self::snmp::{Counters, EVIDENCE, Evidence};
pub use self::sockets::{PacketSocket, PacketSockets, UdpSocket, UdpSockets};
pub use self::sockstat::{Figure, Sockstat, Sockstat6};
pub use self::softnet::{Softnet, SoftnetCpu, SoftnetDelta};
pub use self::zoneinfo::{Zone, Zoneinfo};
use crate::source::{Reading, Root, Unavailable, read_with};
use crate::sysctl::{self, Machine};

/// What the memory of protocols is counted in before 6.0, in bytes, whatever a page is (`SK_MEM_QUANTUM` in
/// include/net/sock.h, kernel 5.15).
const QUANTUM_BYTES: u64 = 4096;

/// Whom a figure counts, or a setting rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The whole machine, whatever the namespace it is read in.
    Global,
    /// The calling thread's network namespace.
    Namespace,
}

impl Scope {
    /// Its name, as it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Namespace => "namespace",
        }
    }
}

/// The size of a page of the machine, in bytes: 4096 on x86-64, up to 65536 elsewhere.
///
/// # Errors
/// A recorded machine has no `proc/self/auxv`.
pub fn page_size_bytes(root: &Root) -> Reading<u64> {
    match root.is_live() {
        true => Ok(rustix::param::page_size() as u64),
        false => read_with(&root.proc("self/auxv"), auxv_page_size),
    }
}

/// Number of CPUs that are online (`/sys/devices/system/cpu/online`).
///
/// # Errors
/// There is no such file, or it is not a list of CPUs.
pub fn online_cpus(root: &Root) -> Reading<u64> {
    read_with(&root.sys("devices/system/cpu/online"), cpu_list_len)
}

/// The pages that so much of a protocol's memory is, which the kernel prints in units of its own: since 6.0 they
/// are pages, before it they are quanta, whereas the limits are in pages always (`sk_prot_mem_limits` in
/// include/net/sock.h, kernel 5.15). Rounded up, which leaves it on the same side of each limit.
///
/// A kernel that does not tell its release is taken for a newer one, of which more is told rather than less; so is
/// one with `mem_pcpu_rsv`, which its distribution has brought up to date.
fn memory_pages(root: &Root) -> impl Fn(u64) -> u64 {
    let page_bytes = page_size_bytes(root).unwrap_or(QUANTUM_BYTES);
    let is_older = || {
        let release = read_with(&root.proc("sys/kernel/osrelease"), Machine::parse_release);
        release.is_ok_and(|kernel| kernel < (6, 0))
            && sysctl::read(root, "net.core.mem_pcpu_rsv").is_err()
    };
    // Where a page is a quantum, the kernel is not asked.
    let is_in_quanta = page_bytes > QUANTUM_BYTES && is_older();
    let per_page = if is_in_quanta { page_bytes / QUANTUM_BYTES } else { 1 };
    move |units| units.div_ceil(per_page)
}

/// Reads `AT_PAGESZ` from an auxiliary vector of a 64-bit little-endian machine (getauxval(3)).
fn auxv_page_size(bytes: &[u8]) -> Option<u64> {
    const AT_PAGESZ: u64 = 6;
    let word = |at: &[u8]| at.first_chunk().copied().map(u64::from_le_bytes);
    let mut entries = bytes.chunks_exact(16);
    let size = entries.find(|entry| word(entry) == Some(AT_PAGESZ)).and_then(|e| word(&e[8..]))?;
    size.is_power_of_two().then_some(size)
}

/// Counts the CPUs of a list such as `0-3,8`.
fn cpu_list_len(bytes: &[u8]) -> Option<u64> {
    let len = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        Some(u64::from(last.checked_sub(first)?) + 1)
    };
    text(bytes)?.trim().split(',').map(len).sum()
}

/// A file's text; the kernel writes ASCII here.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// Reads a file that holds one number.
fn read_number(path: &std::path::Path) -> Reading<u64> {
    read_with(path, |bytes| text(bytes)?.trim().parse().ok())
}

/// Lists a folder's entries by name.
fn names_in(path: &std::path::Path) -> Reading<Vec<String>> {
    let failed = |error| Unavailable::by_io(path.display().to_string(), &error);
    let entries = std::fs::read_dir(path).map_err(failed)?;
    let mut names: Vec<_> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_counted() {
        assert_eq!(cpu_list_len(b"0-1\n"), Some(2));
        assert_eq!(cpu_list_len(b"0,2-5,9\n"), Some(6));
        for bad in ["", "\n", "1-0", "x", "0-", "0-99999999999", "0,,1"] {
            assert_eq!(cpu_list_len(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn the_page_size_is_in_the_auxiliary_vector() {
        let vector = |entries: &[(u64, u64)]| -> Vec<u8> {
            entries.iter().flat_map(|(a, b)| [a.to_le_bytes(), b.to_le_bytes()]).flatten().collect()
        };
        assert_eq!(auxv_page_size(&vector(&[(16, 1), (6, 65536), (0, 0)])), Some(65536));
        assert_eq!(auxv_page_size(&vector(&[(16, 6), (0, 0)])), None);
        assert_eq!(auxv_page_size(&vector(&[(6, 4097)])), None);
        assert_eq!(auxv_page_size(&vector(&[(6, 4096)])[..15]), None);
    }
}
