//! `/proc/meminfo` and the few counters of `/proc/vmstat` that tell why memory for packets is short.
//!
//! Both are of the whole machine. `meminfo` is in kB, meaning KiB, but for the counts of huge pages;
//! here all is in bytes. Socket memory has no line of its own there: it is part of `Slab`, and of what no
//! line names. Source: fs/proc/meminfo.c and mm/vmstat.c, kernel 6.18.

use serde::Serialize;

use super::text;
use crate::source::{Reading, Root, read_with};

/// `/proc/meminfo`, in bytes; huge pages of the default size as a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Meminfo {
    /// Usable memory.
    pub total_bytes: u64,
    /// Free memory.
    pub free_bytes: u64,
    /// What programs could get without swapping.
    pub available_bytes: Option<u64>,
    /// Memory that cannot be reclaimed, locked memory among it.
    pub unevictable_bytes: Option<u64>,
    /// Memory locked by mlock(2). Memory pinned by an AF_XDP socket does not count here.
    pub mlocked_bytes: Option<u64>,
    /// Object caches.
    pub slab_bytes: Option<u64>,
    /// Object caches that cannot be reclaimed: packet heads and sockets are there.
    pub slab_unreclaimable_bytes: Option<u64>,
    /// Stacks of threads in the kernel.
    pub kernel_stack_bytes: Option<u64>,
    /// Memory of CPUs.
    pub percpu_bytes: Option<u64>,
    /// Transparent huge pages of processes.
    pub anon_huge_pages_bytes: Option<u64>,
    /// Huge pages in the pool of the default size.
    pub huge_pages_total: Option<u64>,
    /// Those that no mapping has taken.
    pub huge_pages_free: Option<u64>,
    /// Free ones that are promised to a mapping.
    pub huge_pages_reserved: Option<u64>,
    /// Those above the pool's size.
    pub huge_pages_surplus: Option<u64>,
    /// The default size.
    pub huge_page_bytes: Option<u64>,
    /// Memory in huge pages of all sizes.
    pub hugetlb_bytes: Option<u64>,
}

/// A few counters of `/proc/vmstat`, since boot. `None`: the kernel does not count it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vmstat {
    /// Times that an allocation had to reclaim memory itself, in all zones.
    pub allocstall: u64,
    /// Times that an allocation had to compact memory itself, for a block of many pages.
    pub compact_stall: Option<u64>,
    /// Of these, without success.
    pub compact_fail: Option<u64>,
    /// Page faults that got a small page where a transparent huge one was wanted.
    pub thp_fault_fallback: Option<u64>,
    /// Huge pages that could not be added to a pool.
    pub htlb_buddy_alloc_fail: Option<u64>,
    /// Processes killed for want of memory.
    pub oom_kill: Option<u64>,
    /// Pages pinned for devices and for AF_XDP's UMEMs so far.
    pub foll_pin_acquired: Option<u64>,
    /// Of these, released.
    pub foll_pin_released: Option<u64>,
}

impl Meminfo {
    /// Parses the file.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = text(bytes)?;
        let value = |key: &str| {
            let mut lines = text.lines();
            let words = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
            let mut words = words.split_ascii_whitespace();
            let number: u64 = words.next()?.parse().ok()?;
            match words.next() {
                Some("kB") => number.checked_mul(1024),
                Some(_) => None,
                None => Some(number),
            }
        };
        Some(Self {
            total_bytes: value("MemTotal")?,
            free_bytes: value("MemFree")?,
            available_bytes: value("MemAvailable"),
            unevictable_bytes: value("Unevictable"),
            mlocked_bytes: value("Mlocked"),
            slab_bytes: value("Slab"),
            slab_unreclaimable_bytes: value("SUnreclaim"),
            kernel_stack_bytes: value("KernelStack"),
            percpu_bytes: value("Percpu"),
            anon_huge_pages_bytes: value("AnonHugePages"),
            huge_pages_total: value("HugePages_Total"),
            huge_pages_free: value("HugePages_Free"),
            huge_pages_reserved: value("HugePages_Rsvd"),
            huge_pages_surplus: value("HugePages_Surp"),
            huge_page_bytes: value("Hugepagesize"),
            hugetlb_bytes: value("Hugetlb"),
        })
    }

    /// Reads it.
    ///
    /// # Errors
    /// The file is not there, or is not understood.
    pub fn read(root: &Root) -> Reading<Self> {
        read_with(&root.proc("meminfo"), Self::parse)
    }
}

impl Vmstat {
    /// Parses the file.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = text(bytes)?;
        let rows = || text.lines().filter_map(|line| line.split_once(' '));
        let value = |key: &str| rows().find(|(name, _)| *name == key)?.1.trim().parse().ok();
        let stalls = rows().filter(|(name, _)| name.starts_with("allocstall"));
        let allocstall = stalls.map(|(_, value)| value.trim().parse::<u64>().ok());
        let allocstall: Vec<u64> = allocstall.collect::<Option<_>>()?;
        (!allocstall.is_empty()).then(|| Self {
            allocstall: allocstall.iter().fold(0, |sum, zone| sum.saturating_add(*zone)),
            compact_stall: value("compact_stall"),
            compact_fail: value("compact_fail"),
            thp_fault_fallback: value("thp_fault_fallback"),
            htlb_buddy_alloc_fail: value("htlb_buddy_alloc_fail"),
            oom_kill: value("oom_kill"),
            foll_pin_acquired: value("nr_foll_pin_acquired"),
            foll_pin_released: value("nr_foll_pin_released"),
        })
    }

    /// Reads it.
    ///
    /// # Errors
    /// The kernel has no `CONFIG_VM_EVENT_COUNTERS`, or the file is not understood.
    pub fn read(root: &Root) -> Reading<Self> {
        read_with(&root.proc("vmstat"), Self::parse)
    }

    /// Pages that are pinned now.
    pub fn pinned_pages(&self) -> Option<u64> {
        self.foll_pin_acquired?.checked_sub(self.foll_pin_released?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kilobytes_become_bytes_and_counts_stay() {
        let printed = "MemTotal:  100 kB\nMemFree:  7 kB\nSlab:  3 kB\nHugePages_Total:  64\n\
            Hugepagesize:  2048 kB\nHugetlb:  131072 kB\nPercpu:  5 MB\n";
        let meminfo = Meminfo::parse(printed.as_bytes()).unwrap();
        assert_eq!((meminfo.total_bytes, meminfo.free_bytes), (102_400, 7168));
        assert_eq!((meminfo.huge_pages_total, meminfo.huge_page_bytes), (Some(64), Some(2 << 20)));
        assert_eq!(meminfo.hugetlb_bytes, Some(64 * (2 << 20)));
        assert_eq!((meminfo.available_bytes, meminfo.percpu_bytes), (None, None));
        let huge = printed.replace("100 kB", "18446744073709551615 kB");
        assert_eq!(Meminfo::parse(huge.as_bytes()), None);
    }

    #[test]
    fn stalls_of_all_zones_are_summed() {
        let printed = "nr_foll_pin_acquired 70\nnr_foll_pin_released 20\nallocstall_dma 1\n\
            allocstall_normal 20\nallocstall_movable 300\ncompact_stall 4\noom_kill 5\n";
        let vmstat = Vmstat::parse(printed.as_bytes()).unwrap();
        assert_eq!((vmstat.allocstall, vmstat.compact_stall), (321, Some(4)));
        assert_eq!((vmstat.pinned_pages(), vmstat.compact_fail), (Some(50), None));
        assert_eq!(Vmstat::parse(b"compact_stall 4\n"), None);
    }
}
