//! The way of received packets: softirq of each CPU, links, and queues with what belongs to them.

use netmem_host::{
    netlink::Direction,
    queues::{MappedQueue, QueueMap},
    sample::{LinkSample, NamespaceRates},
};

use super::{Scene, maybe, or_none};
use crate::top::{
    observe::Observed,
    table::{Cell, Column, Table},
};

/// What each CPU's receive softirq did; of the whole machine.
pub(super) fn softnet(observed: &Observed) -> Table {
    let title = "Receive softirq by CPU (softnet), of the whole machine";
    let softnet = match &observed.sample.machine.softnet {
        Ok(softnet) => softnet,
        Err(why) => return Table::unknown(title, why),
    };
    let rates = observed.rates.as_ref();
    let mut columns = vec![Column::text("cpu"), Column::number("processed")];
    columns.extend(rates.map(|_| Column::number("rate")));
    columns.extend(["dropped", "squeezed", "rps", "flow limit", "backlog"].map(Column::number));
    columns.extend(rates.map(|_| Column::number("drops/s")));
    let mut table = Table::new(title, &columns, "");
    for (at, row) in softnet.cpus.iter().enumerate() {
        let number = row.cpu.map_or(at, |cpu| cpu as usize);
        let grown = rates.and_then(|rates| rates.cpus.iter().find(|of| of.cpu == number));
        let rate = |count: Option<u32>| match (rates, count) {
            (Some(rates), Some(count)) => Cell::rate(rates.per_second(count.into())),
            _ => Cell::unknown(),
        };
        let mut cells = vec![Cell::text(number.to_string()), Cell::count(row.processed.into())];
        cells.extend(rates.map(|_| rate(grown.map(|of| of.grown.processed))));
        cells.extend([Cell::bad(row.dropped.into()), Cell::count(row.time_squeeze.into())]);
        cells.extend(
            [row.received_rps, row.flow_limit, row.backlog_len].map(|n| maybe(n.map(Into::into))),
        );
        cells.extend(rates.map(|_| rate(grown.map(|of| of.grown.dropped))));
        table.rows.push(cells);
    }
    table
        .notes
        .push("totals wrap at 2^32; squeezed: times that polling ended with work left".to_owned());
    table
}

/// Counters of the links.
pub(super) fn links(scene: &Scene<'_>) -> Table {
    let title = scene.title("Links");
    let links = match &scene.namespace.links {
        Ok(links) => links,
        Err(why) => return Table::unknown(title, why),
    };
    let mut columns = vec![Column::text("link")];
    columns.extend(["rx packets", "tx packets"].map(Column::number));
    if scene.rates.is_some() {
        columns.extend(["rx/s", "tx/s", "rx drop/s"].map(Column::number));
    }
    let losses = ["rx drop", "tx drop", "rx fifo", "missed", "no handler", "rx err", "tx err"];
    columns.extend(losses.map(Column::number));
    let mut table = Table::new(title, &columns, "no link");
    table.rows.extend(links.iter().map(|link| link_row(scene, link)));
    table
}

fn link_row(scene: &Scene<'_>, link: &LinkSample) -> Vec<Cell> {
    let counters = &link.counters;
    let mut row = vec![Cell::text(&link.name)];
    row.extend([Cell::count(counters.rx_packets), Cell::count(counters.tx_packets)]);
    let grown = scene.moved.and_then(|moved| moved.link(counters.ifindex));
    let rate = |count: Option<u64>| scene.rate(count);
    row.extend(scene.with_rates([
        rate(grown.and_then(|of| of.rx_packets)),
        rate(grown.and_then(|of| of.tx_packets)),
        rate(grown.and_then(|of| of.rx_dropped)),
    ]));
    row.extend(
        [
            counters.rx_dropped,
            counters.tx_dropped,
            counters.rx_fifo_errors,
            counters.rx_missed_errors,
            counters.rx_nohandler,
            counters.rx_errors,
            counters.tx_errors,
        ]
        .map(Cell::bad),
    );
    row
}

/// From queue to NAPI, interrupt, page pool and AF_XDP.
pub(super) fn queues(scene: &Scene<'_>) -> Table {
    let title = scene.title("Queues: what polls, interrupts and feeds them");
    let map = match &scene.namespace.queues {
        Ok(map) => map,
        Err(why) => return Table::unknown(title, why),
    };
    let mut columns = vec![
        Column::text("queue"),
        Column::number("napi"),
        Column::number("irq"),
        Column::number("fired"),
        Column::text("page pool"),
        Column::text("af_xdp"),
        Column::number("packets"),
    ];
    columns.extend(scene.rates.map(|_| Column::number("rate")));
    columns.extend([Column::number("hw drops"), Column::number("alloc fail")]);
    let mut table = Table::new(title, &columns, "no link that is up has queues");
    table.rows.extend(map.queues.iter().map(|mapped| queue_row(scene, map, mapped)));
    table
}

fn queue_row(scene: &Scene<'_>, map: &QueueMap, mapped: &MappedQueue) -> Vec<Cell> {
    let queue = &mapped.queue;
    let link = scene.namespace.link_name(queue.ifindex);
    let irq = mapped.napi.and_then(|napi| napi.irq);
    let rows = scene.namespace.interrupts.as_deref().unwrap_or_default();
    let fired = rows.iter().find(|row| irq.is_some() && row.irq() == irq);
    let pools: Vec<_> = mapped.pools.iter().map(|state| state.pool.id.to_string()).collect();
    let knows_pools = super::memory::pools_gap(map).is_none();
    let pools = match (&pools[..], knows_pools) {
        ([], true) => Cell::none(),
        ([], false) => Cell::unknown(),
        _ => Cell::text(pools.join(" ")),
    };
    let statistics = mapped.statistics.as_ref();
    let is_rx = queue.direction == Direction::Rx;
    let packets = statistics.and_then(|of| if is_rx { of.rx_packets } else { of.tx_packets });
    let drops = statistics.and_then(|of| if is_rx { of.rx_hw_drops } else { of.tx_hw_drops });
    let grown = scene.moved.and_then(|moved| packets_grown(moved, mapped));
    let bad = |count: Option<u64>| count.map_or_else(Cell::none, Cell::bad);
    let mut row = vec![
        Cell::text(format!("{link} {}-{}", queue.direction.name(), queue.id)),
        or_none(queue.napi_id.map(Into::into)),
        or_none(irq.map(Into::into)),
        or_none(fired.map(netmem_host::proc::Interrupt::total)),
        pools,
        Cell::text(if queue.is_xdp_socket { "bound" } else { "-" }),
        or_none(packets),
    ];
    let rate = if statistics.is_some() { scene.rate(grown) } else { Cell::none() };
    row.extend(scene.with_rates([rate]));
    row.extend([bad(drops), bad(statistics.and_then(|of| of.rx_alloc_fail))]);
    row
}

fn packets_grown(moved: &NamespaceRates, mapped: &MappedQueue) -> Option<u64> {
    let queue = &mapped.queue;
    let mut all = moved.queues.iter();
    let of = all.find(|of| {
        (of.ifindex, of.direction, of.queue) == (queue.ifindex, queue.direction, queue.id)
    })?;
    if queue.direction == Direction::Rx { of.rx_packets } else { of.tx_packets }
}
