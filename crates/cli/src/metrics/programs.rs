//! Metrics of running netmem processes, from the pages that their workers publish (`netmem::stats`).
//!
//! A process is told apart by what it does and its interfaces, not by its number: two that do the same
//! on interfaces of the same name are summed. Pages are bytes of other processes: what they say is
//! bounded here, and escaped where it is written.

use std::{collections::BTreeSet, os::fd::AsFd};

use netmem::{
    stats::{self, AreaReport, Census, PageReport, PortRecord, Standing},
    xdp::Statistics,
};

use super::{Families, Metric, machine::SOURCE_UP};

/// Processes that are looked at, reasons of each, and its interfaces in a label.
const MAX_PROGRAMS: usize = 64;
const MAX_REASONS: usize = 64;
const MAX_INTERFACES: usize = 4;

const PROGRAMS: Metric = Metric::gauge("netmem_programs", "Running netmem processes.");
const PROGRAMS_UP: Metric = Metric::gauge(
    "netmem_program_up",
    "Whether a netmem process publishes: 1, or 0 if it is stale or its owner has ended.",
);
const RECEIVED: Metric =
    Metric::counter("netmem_packets_received", "Packets that netmem took from rx rings.");
const TRANSMITTED: Metric = Metric::counter(
    "netmem_packets_transmitted",
    "Packets of netmem that the kernel said it has sent.",
);
const CONSUMED: Metric = Metric::counter("netmem_packets_consumed", "Packets that netmem used up.");
const DROPPED: Metric =
    Metric::counter("netmem_packets_dropped", "Packets that netmem dropped, by reason.");
const HELD: Metric =
    Metric::gauge("netmem_packets_held", "Packets that netmem has begun and not ended.");
const SLOTS: Metric = Metric::gauge("netmem_pool_slots", "Slots of netmem's pools, by owner.");
const REGION: Metric = Metric::gauge("netmem_region_bytes", "Packet memory of netmem.");
const BATCHES: Metric =
    Metric::counter("netmem_worker_batches", "Batches with at least one packet.");
const EMPTY_POLLS: Metric =
    Metric::counter("netmem_worker_empty_polls", "Looks at the rx rings that found nothing.");
const WAITS: Metric =
    Metric::counter("netmem_worker_waits", "Times that workers slept for want of packets.");
const ENTRIES: Metric =
    Metric::gauge("netmem_xsk_ring_entries", "Room in a ring of an AF_XDP socket of netmem.");
const USED: Metric = Metric::gauge("netmem_xsk_ring_entries_used", "Entries in such a ring.");

type KernelFigure = (Metric, fn(&Statistics) -> u64);
const KERNEL: [KernelFigure; 6] = [
    (
        Metric::counter(
            "netmem_xsk_rx_dropped",
            "Packets that the kernel dropped at a socket, for other reasons than the next ones.",
        ),
        |s| s.rx_dropped,
    ),
    (Metric::counter("netmem_xsk_rx_ring_full", "Packets dropped as the rx ring was full."), |s| {
        s.rx_ring_full
    }),
    (
        Metric::counter(
            "netmem_xsk_rx_fill_ring_empty",
            "Packets dropped because the fill ring was empty.",
        ),
        |s| s.rx_fill_ring_empty_descs,
    ),
    (Metric::counter("netmem_xsk_rx_invalid_descs", "Addresses that the kernel refused."), |s| {
        s.rx_invalid_descs
    }),
    (Metric::counter("netmem_xsk_tx_invalid_descs", "Descriptors that the kernel refused."), |s| {
        s.tx_invalid_descs
    }),
    (
        Metric::counter(
            "netmem_xsk_tx_ring_empty",
            "Times that the kernel looked for a packet to send and found none.",
        ),
        |s| s.tx_ring_empty_descs,
    ),
];

/// Adds every running netmem process that can be looked into.
pub(crate) fn add_all(to: &mut Families) {
    let census = stats::all();
    match census {
        Ok(census) => add_found(to, &census),
        Err(_) => to.add(SOURCE_UP, &[("source", "netmem-stats")], 0),
    }
}

/// Adds those that were found.
pub(crate) fn add_found(to: &mut Families, census: &Census) {
    to.add(SOURCE_UP, &[("source", "netmem-stats")], census.unreadable.is_empty().into());
    to.add(PROGRAMS, &[], census.found.len() as u64);
    for found in census.found.iter().take(MAX_PROGRAMS) {
        add(to, &found.page, found.standing == Standing::Running);
    }
}

/// The metrics of the process whose page that is; without figures if it cannot be read.
pub(crate) fn of_page(page: impl AsFd) -> Families {
    let mut families = Families::new();
    if let Ok(page) = stats::read_fd(page) {
        let is_running = !page.areas.iter().all(|area| area.is_stale);
        add(&mut families, &page, is_running);
    }
    families
}

fn add(to: &mut Families, page: &PageReport, is_running: bool) {
    let command = page.command.to_string();
    let ports = page.areas.iter().flat_map(|area| &area.snapshot.ports);
    let interfaces: BTreeSet<String> = ports.map(|port| port.interface.to_string()).collect();
    let interfaces: Vec<String> = interfaces.into_iter().take(MAX_INTERFACES).collect();
    let interface = interfaces.join(",");
    let labels = [("command", command.as_str()), ("interface", interface.as_str())];
    to.add(PROGRAMS_UP, &labels, is_running.into());
    for area in &page.areas {
        self::area(to, labels, area);
        for port in &area.snapshot.ports {
            self::port(to, &command, port);
        }
    }
}

fn area(to: &mut Families, labels: [(&'static str, &str); 2], area: &AreaReport) {
    let [command, interface] = labels;
    let snapshot = &area.snapshot;
    if let Some(packets) = &snapshot.packets {
        to.add(RECEIVED, &labels, packets.received);
        to.add(TRANSMITTED, &labels, packets.transmitted);
        to.add(CONSUMED, &labels, packets.consumed);
        to.add(HELD, &labels, packets.held);
        for (reason, count) in packets.dropped.iter().take(MAX_REASONS) {
            to.add(DROPPED, &[command, interface, ("reason", &reason.to_string())], *count);
        }
    }
    if let Some(worker) = &snapshot.worker {
        to.add(BATCHES, &labels, worker.batches);
        to.add(EMPTY_POLLS, &labels, worker.empty_polls);
        to.add(WAITS, &labels, worker.waits);
    }
    for region in &snapshot.regions {
        let page_bytes = region.page_bytes.to_string();
        to.add(REGION, &[command, interface, ("page_bytes", &page_bytes)], region.bytes);
    }
    for pool in &snapshot.pools {
        for (owner, slots) in pool.owners.iter() {
            to.add(SLOTS, &[command, interface, ("owner", owner.name())], slots);
        }
    }
}

fn port(to: &mut Families, command: &str, port: &PortRecord) {
    let (interface, queue) = (port.interface.to_string(), port.queue.to_string());
    let labels = [("command", command), ("interface", interface.as_str()), ("queue", &queue)];
    let rings =
        [("fill", port.fill), ("rx", port.rx), ("tx", port.tx), ("completion", port.completion)];
    for (name, ring) in rings {
        let [command, interface, queue] = labels;
        let labels = [command, interface, queue, ("ring", name)];
        to.add(ENTRIES, &labels, ring.entries.into());
        to.add(USED, &labels, ring.level);
    }
    if let Some(statistics) = &port.statistics {
        for (metric, of) in KERNEL {
            to.add(metric, &labels, of(statistics));
        }
    }
}
