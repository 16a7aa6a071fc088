//! Checks of the host's memory: facts in, lines out.

use netmem_host::{proc::FreeBlocks, source::Reading};

use super::{
    Line,
    facts::{Host, HugePages},
};
use crate::report::bytes;

/// What a port's memory takes by default: 4096 frames of 2048 bytes.
const PORT_BYTES: u64 = 8 << 20;
const HUGE_BYTES: u64 = 2 << 20;
/// Blocks of 32 KiB, which page fragments are cut from.
const FRAGMENT_ORDER: usize = 3;
/// From include/uapi/linux/capability.h.
const CAP_IPC_LOCK: u32 = 14;

pub(super) fn memlock(host: &Host) -> Vec<Line> {
    let is_exempt = host.capabilities.as_ref().is_ok_and(|bits| bits & (1 << CAP_IPC_LOCK) != 0);
    let limit = match &host.memlock_bytes {
        Ok(limit) => *limit,
        Err(why) => return vec![Line::unknown("memlock", "how much memory may be locked", why)],
    };
    let evidence = match limit {
        None => "RLIMIT_MEMLOCK unlimited".to_owned(),
        Some(limit) => format!("RLIMIT_MEMLOCK {}", bytes(limit)),
    };
    vec![match limit {
        _ if is_exempt => {
            let evidence = format!("CAP_IPC_LOCK; {evidence}");
            Line::ok("memlock", "packet memory is not limited", evidence)
        }
        Some(limit) if limit < PORT_BYTES => {
            let what =
                format!("less than the {} of a port's memory may be locked", bytes(PORT_BYTES));
            Line::finding("memlock", what, evidence)
                .fix("ulimit -l unlimited, LimitMEMLOCK= of the service, or CAP_IPC_LOCK")
        }
        _ => Line::ok("memlock", "a port's memory may be locked", evidence),
    }]
}

pub(super) fn huge_pages(host: &Host) -> Vec<Line> {
    let pools = match &host.huge_pages {
        Ok(pools) => pools,
        Err(why) => return vec![Line::unknown("huge pages", "how many there are", why)],
    };
    let one = |pool: &HugePages| {
        let (free, total) = (pool.free, pool.total);
        format!("node {}: {free} of {total} pages of {} free", pool.node, bytes(pool.page_bytes))
    };
    let evidence = pools.iter().map(one).collect::<Vec<_>>().join("; ");
    let free: u64 = pools.iter().map(|pool| pool.free.saturating_mul(pool.page_bytes)).sum();
    if free >= PORT_BYTES {
        return vec![Line::ok("huge pages", "enough for a port are free", evidence)];
    }
    let what =
        format!("fewer than the {} of a port are free: it gets small pages", bytes(PORT_BYTES));
    let evidence = if evidence.is_empty() { "no pool of any size".to_owned() } else { evidence };
    let wanted = PORT_BYTES / HUGE_BYTES;
    let fix = match unfragmented(host) {
        Ok(blocks) if blocks >= wanted => {
            format!("sysctl vm.nr_hugepages={wanted} or more; memory for {blocks} is unfragmented")
        }
        Ok(blocks) => format!(
            "memory for only {blocks} pages of 2 MiB is unfragmented: reserve at boot, by hugepages=N"
        ),
        Err(_) => format!("sysctl vm.nr_hugepages={wanted} or more, and read it back"),
    };
    vec![Line::finding("huge pages", what, evidence).fix(fix)]
}

/// For how many huge pages of 2 MiB free memory is in one piece.
fn unfragmented(host: &Host) -> Reading<u64> {
    let zones = host.zones.as_ref().map_err(Clone::clone)?;
    let order = (HUGE_BYTES / host.page_bytes).max(1).ilog2() as usize;
    Ok(zones.iter().map(|zone| zone.available(order)).fold(0, u64::saturating_add))
}

pub(super) fn fragmentation(host: &Host) -> Vec<Line> {
    let zones = match &host.zones {
        Ok(zones) => zones,
        Err(why) => {
            return vec![Line::unknown("fragmentation", "whether memory is in large blocks", why)];
        }
    };
    let large = |zone: &FreeBlocks| zone.available(FRAGMENT_ORDER);
    let one = |zone: &FreeBlocks| format!("node {} {}: {}", zone.node, zone.zone, large(zone));
    let evidence = zones.iter().map(one).collect::<Vec<_>>().join(", ");
    let evidence = format!("blocks of 32 KiB that free memory has room for: {evidence}");
    vec![if zones.iter().map(large).fold(0, u64::saturating_add) > 0 {
        Line::ok(
            "fragmentation",
            "the blocks that page fragments are cut from can be had",
            evidence,
        )
    } else {
        Line::finding("fragmentation", "page fragments fall back to single pages", evidence)
            .fix("sysctl vm.compact_memory=1, once; raise vm.min_free_kbytes if it comes back")
    }]
}

pub(super) fn transparent_huge_pages(host: &Host) -> Vec<Line> {
    vec![match &host.transparent_huge_pages {
        Err(why) => Line::unknown_aside("thp", "whether transparent huge pages are used", why),
        Ok(text) if text.contains("[never]") => {
            Line::note("thp", "transparent huge pages are off", text.trim())
                .fix("echo madvise > /sys/kernel/mm/transparent_hugepage/enabled")
        }
        Ok(text) => Line::ok("thp", "a mapping that asks may get huge pages", text.trim()),
    }]
}

pub(super) fn iommu(host: &Host) -> Vec<Line> {
    vec![match &host.iommu_groups {
        Ok(0) => Line::note("iommu", "none in use: devices reach all memory", "no iommu groups"),
        Ok(count) => {
            Line::note("iommu", "in use; see each interface", format!("{count} iommu groups"))
        }
        Err(why) => Line::unknown_aside("iommu", "whether one is in use", why),
    }]
}

pub(super) fn bounce(host: &Host) -> Vec<Line> {
    vec![match &host.bounce_slots {
        Ok(0) => Line::ok("swiotlb", "no bounce buffer is in use", "swiotlb/io_tlb_used 0"),
        Ok(slots) => {
            let what = "bounce buffers are in use: some device's packets are copied for it";
            Line::note("swiotlb", what, format!("swiotlb/io_tlb_used {slots}, of 2 KiB each"))
        }
        Err(why) => Line::unknown_aside("swiotlb", "whether bounce buffers are in use", why),
    }]
}
