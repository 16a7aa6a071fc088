//! Where the kernel takes packets from: object caches, free blocks, page pools.

use netmem_host::{
    queues::{PoolState, QueueMap},
    sample::MachineSample,
    source::Unavailable,
};

use super::{Scene, or_none};
use crate::top::table::{Cell, Column, Table};

/// Object caches of packets and sockets.
pub(super) fn slabs(machine: &MachineSample) -> Table {
    let title = "Object caches (slabs), of the whole machine";
    let slabs = match &machine.slabs {
        Ok(slabs) => slabs,
        Err(why) => return Table::unknown(title, why),
    };
    let columns = [
        Column::text("cache"),
        Column::number("in use"),
        Column::number("objects"),
        Column::number("each"),
        Column::number("memory"),
        Column::text("shared with others"),
    ];
    let mut table = Table::new(title, &columns, "the kernel lists none of them");
    table.rows.extend(slabs.iter().map(|of| {
        let shared = match of.shared_with.len() {
            0 => Cell::none(),
            1..=3 => Cell::text(of.shared_with.join(" ")),
            more => Cell::text(format!("{} and {} more", of.shared_with[..2].join(" "), more - 2)),
        };
        vec![
            Cell::text(of.name),
            Cell::count(of.cache.active_objects),
            Cell::count(of.cache.objects),
            Cell::bytes(of.cache.object_bytes),
            Cell::bytes(of.bytes),
            shared,
        ]
    }));
    table.notes.push(
        "a merged cache counts the objects of all that share it; packet data is not in these"
            .to_owned(),
    );
    table
}

/// Whether blocks of the order that page fragments want can still be had.
pub(super) fn fragmentation(machine: &MachineSample) -> Table {
    let title = "Free blocks (buddyinfo), of the whole machine";
    let (zones, order) = match (&machine.buddyinfo, machine.page_frag_order()) {
        (Ok(buddyinfo), Some(order)) => (&buddyinfo.zones, order),
        (Err(why), _) => return Table::unknown(title, why),
        (_, None) => return Table::unknown(title, &"the size of a page is not known"),
    };
    let columns = [
        Column::text("zone"),
        Column::number("of page frags"),
        Column::number("of 2 MiB"),
        Column::text("free blocks, from one page up"),
    ];
    let mut table = Table::new(title, &columns, "no zone has memory");
    let huge = match &machine.page_bytes {
        Ok(page_bytes) => ((2u64 << 20) / page_bytes).max(1).ilog2() as usize,
        Err(_) => 0,
    };
    for zone in zones {
        let blocks: Vec<_> = zone.blocks_by_order.iter().map(u64::to_string).collect();
        let is_large = zone.zone == "Normal" || zone.zone == "DMA32";
        table.rows.push(vec![
            Cell::text(format!("{} {}", zone.node, zone.zone)),
            Cell::count(zone.available(order)).warn_if(is_large && zone.available(order) == 0),
            Cell::count(zone.available(huge)),
            Cell::text(blocks.join(" ")),
        ]);
    }
    let can = zones.iter().any(|zone| zone.available(order) > 0);
    let verdict = if can { "can be had" } else { "cannot be had: single pages are used" };
    table.notes.push(format!("blocks of order {order}, which page fragments want, {verdict}"));
    table
}

/// Page pools of drivers; those that their driver has given up are leak suspects.
pub(super) fn page_pools(scene: &Scene<'_>) -> Table {
    let title = scene.title("Page pools of drivers");
    let map = match &scene.namespace.queues {
        Ok(map) => map,
        Err(why) => return Table::unknown(title, why),
    };
    if let Some(gap) = pools_gap(map) {
        return Table::unknown(title, gap);
    }
    let columns = [
        Column::text("pool"),
        Column::text("link"),
        Column::number("in flight"),
        Column::number("memory"),
        Column::number("fast"),
        Column::number("slow"),
        Column::number("recycled"),
        Column::text("state"),
    ];
    let empty = "the kernel lists none: only those whose driver names its interface are listed";
    let mut table = Table::new(title, &columns, empty);
    let mut pools: Vec<PoolState> = map.queues.iter().flat_map(|of| of.pools.clone()).collect();
    pools.extend(&map.other_pools);
    pools.sort_by_key(|state| state.pool.id);
    pools.dedup_by_key(|state| state.pool.id);
    table.rows.extend(pools.iter().map(|state| pool_row(scene, state)));
    let gaps = map.gaps.iter().filter(|gap| gap.source.contains("page pools"));
    table.notes.extend(gaps.map(|gap| format!("not known: {gap}")));
    table
}

/// Why page pools are not known; their statistics are another matter.
pub(super) fn pools_gap(map: &QueueMap) -> Option<&Unavailable> {
    map.gaps.iter().find(|gap| gap.source == "list page pools")
}

fn pool_row(scene: &Scene<'_>, state: &PoolState) -> Vec<Cell> {
    let pool = &state.pool;
    let link = pool.ifindex.map(|ifindex| scene.namespace.link_name(ifindex));
    let statistics = state.statistics.as_ref();
    let word = match state.detached_for_s {
        Some(seconds) if pool.inflight.unwrap_or(0) > 0 => {
            Cell::text(format!("detached for {seconds} s, pages out: leak?")).warn_if(true)
        }
        Some(seconds) => Cell::text(format!("detached for {seconds} s")),
        None if pool.detach_time_s.is_some() => Cell::text("detached"),
        None => Cell::text("in use"),
    };
    vec![
        Cell::text(pool.id.to_string()),
        link.map_or_else(Cell::none, Cell::text),
        or_none(pool.inflight),
        pool.inflight_bytes.map_or_else(Cell::none, Cell::bytes),
        or_none(statistics.map(|of| of.alloc_fast)),
        or_none(statistics.map(|of| of.alloc_slow)),
        or_none(statistics.map(|of| of.recycle_cached.saturating_add(of.recycle_ring))),
        word,
    ]
}
