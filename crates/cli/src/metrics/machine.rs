//! Metrics of what counts the whole machine; none of them has a network namespace.

use std::collections::BTreeMap;

use netmem_host::{
    proc::{Hugepages, MemoryPressure, ProtocolMemory, Softnet, SoftnetCpu},
    sample::{MachineSample, Sample},
    source::{Root, SourceState},
};

use super::{Families, Metric};

pub(super) const SOURCE_UP: Metric =
    Metric::gauge("netmem_source_up", "Whether a source of figures answers: 1 or 0.");
const SAMPLE_SECONDS: Metric =
    Metric::gauge("netmem_sample_duration_seconds", "How long taking this sample took.");
const PROTO_MEMORY: Metric = Metric::gauge(
    "netmem_proto_memory_bytes",
    "Memory charged to all sockets of a protocol, IPv4 and IPv6, of the machine.",
);
const PROTO_LIMIT: Metric = Metric::gauge(
    "netmem_proto_memory_limit_bytes",
    "Limits of a protocol's memory: sysctl net.ipv4.tcp_mem and udp_mem.",
);
const PROTO_UNCERTAINTY: Metric = Metric::gauge(
    "netmem_proto_memory_uncertainty_bytes",
    "How far a protocol's memory may be off, either way: what CPUs hold back from the sum.",
);
const PROTO_PRESSURE: Metric = Metric::gauge(
    "netmem_proto_memory_pressure",
    "Whether a protocol is under memory pressure: 1 or 0. UDP has no such state.",
);
const PRESSURE_SECONDS: Metric = Metric::counter(
    "netmem_memory_pressure_stall_seconds",
    "Time that tasks waited for memory (PSI): some of them, or all that could run (full).",
);
const SLAB_BYTES: Metric = Metric::gauge(
    "netmem_slab_bytes",
    "Memory of an object cache of packets or sockets; caches merged with it are in it too.",
);
const SLAB_OBJECTS: Metric = Metric::gauge(
    "netmem_slab_active_objects",
    "Objects in use of such a cache, or in slabs that a CPU works on.",
);
const FREE_BLOCKS: Metric = Metric::gauge(
    "netmem_buddyinfo_free_blocks",
    "Blocks of 2^order pages that a zone could give, larger ones split: what page fragments need.",
);
const HUGEPAGES: Metric = Metric::gauge(
    "netmem_hugepage_pool_pages",
    "Huge pages of the machine by size: total, free, surplus, and free but reserved.",
);
const CGROUPS: Metric = Metric::gauge(
    "netmem_cgroups_looked_at",
    "Control groups that were looked at for socket memory.",
);
type CpuFigure = (Metric, fn(&SoftnetCpu) -> Option<u32>);
const SOFTNET: [CpuFigure; 5] = [
    (
        Metric::counter(
            "netmem_softnet_processed",
            "Packets that a CPU's receive softirq took from the backlog and from devices.",
        ),
        |cpu| Some(cpu.processed),
    ),
    (
        Metric::counter(
            "netmem_softnet_dropped",
            "Packets dropped because a CPU's backlog was full: net.core.netdev_max_backlog.",
        ),
        |cpu| Some(cpu.dropped),
    ),
    (
        Metric::counter(
            "netmem_softnet_time_squeeze",
            "Polls that ended with work left: no packets or no time left in the budget.",
        ),
        |cpu| Some(cpu.time_squeeze),
    ),
    (
        Metric::counter(
            "netmem_softnet_received_rps",
            "Times that another CPU woke this one to take packets (RPS).",
        ),
        |cpu| cpu.received_rps,
    ),
    (Metric::counter("netmem_softnet_flow_limit", "Packets dropped by the flow limit."), |cpu| {
        cpu.flow_limit
    }),
];
const BACKLOG: Metric =
    Metric::gauge("netmem_softnet_backlog_packets", "Packets in a CPU's backlog.");

/// The kernel's counters of a CPU's softirq have 32 bits: how often each has wrapped. Samples with the
/// same labels are summed, so the rest is added beside what the sample says.
#[derive(Debug, Default)]
pub(crate) struct SoftnetWraps(BTreeMap<(u32, &'static str), (u32, u64)>);

/// Adds the machine's part of a sample, and what its sources said.
#[allow(clippy::cast_precision_loss, reason = "a duration has fewer digits")]
pub(super) fn add(to: &mut Families, sample: &Sample) {
    let machine = &sample.machine;
    to.add_real(SAMPLE_SECONDS, &[], sample.took_ns as f64 / 1e9);
    let mut up = BTreeMap::new();
    for source in sample.sources() {
        *up.entry(source.name).or_insert(true) &= source.state == SourceState::Ok;
    }
    for (source, is_up) in up {
        to.add(SOURCE_UP, &[("source", source)], is_up.into());
    }
    if let (Ok(protocols), Ok(page_bytes)) = (&machine.protocols, &machine.page_bytes) {
        protocols.iter().for_each(|protocol| self::protocol(to, protocol, *page_bytes));
    }
    pressure(to, machine);
    softnet(to, machine);
    memory(to, machine);
    if let Ok(cgroups) = &machine.cgroups {
        to.add(CGROUPS, &[], cgroups.looked_at as u64);
    }
}

/// Adds the pools of huge pages, which no sample has.
pub(crate) fn add_hugepages(to: &mut Families, root: &Root) {
    let hugepages = Hugepages::read(root);
    to.add(SOURCE_UP, &[("source", "hugepages")], hugepages.is_ok().into());
    let Ok(hugepages) = hugepages else { return };
    for pool in hugepages.pools.iter().filter(|pool| pool.node.is_none()) {
        let bytes = pool.page_bytes.to_string();
        let states = [
            ("total", Some(pool.total)),
            ("free", Some(pool.free)),
            ("surplus", Some(pool.surplus)),
            ("reserved", pool.reserved),
        ];
        for (state, pages) in states {
            to.maybe(HUGEPAGES, &[("page_bytes", &bytes), ("state", state)], pages);
        }
    }
}

/// What is told when no sample could be taken.
pub(crate) fn without_sample() -> Families {
    let mut families = Families::new();
    families.add(SOURCE_UP, &[("source", "sample")], 0);
    families
}

impl SoftnetWraps {
    /// Adds what the counters of a sample have lost by wrapping since the first one; right as long as
    /// none moves by 2^32 between two samples.
    pub(crate) fn add(&mut self, to: &mut Families, softnet: &Softnet) {
        for (line, row) in (0..).zip(&softnet.cpus) {
            let cpu: u32 = row.cpu.unwrap_or(line);
            for (metric, of) in SOFTNET {
                let Some(now) = of(row) else { continue };
                let (last, wraps) = self.0.entry((cpu, metric.name)).or_insert((now, 0));
                *wraps += u64::from(now < *last);
                *last = now;
                to.add(metric, &[("cpu", &cpu.to_string())], *wraps << 32);
            }
        }
    }
}

fn protocol(to: &mut Families, protocol: &ProtocolMemory, page_bytes: u64) {
    let name = ("proto", protocol.protocol.name());
    to.add(PROTO_MEMORY, &[name], protocol.bytes);
    to.add(PROTO_UNCERTAINTY, &[name], protocol.error_bar_bytes);
    if let Ok(limits) = &protocol.limits {
        let levels = [
            ("min", limits.min_pages),
            ("pressure", limits.pressure_pages),
            ("max", limits.max_pages),
        ];
        for (level, pages) in levels {
            to.add(PROTO_LIMIT, &[name, ("level", level)], pages.saturating_mul(page_bytes));
        }
    }
    match protocol.pressure {
        Ok(MemoryPressure::Yes) => to.add(PROTO_PRESSURE, &[name], 1),
        Ok(MemoryPressure::No) => to.add(PROTO_PRESSURE, &[name], 0),
        _ => {}
    }
}

#[allow(clippy::cast_precision_loss, reason = "microseconds of 285 years fit")]
fn pressure(to: &mut Families, machine: &MachineSample) {
    let Ok(pressure) = &machine.memory_pressure else { return };
    for (kind, stall) in [("some", pressure.some), ("full", pressure.full)] {
        if let Some(stall) = stall {
            to.add_real(PRESSURE_SECONDS, &[("kind", kind)], stall.total_us as f64 / 1e6);
        }
    }
}

fn softnet(to: &mut Families, machine: &MachineSample) {
    let Ok(softnet) = &machine.softnet else { return };
    for (line, row) in (0..).zip(&softnet.cpus) {
        let cpu: u32 = row.cpu.unwrap_or(line);
        let cpu = cpu.to_string();
        for (metric, of) in SOFTNET {
            to.maybe(metric, &[("cpu", &cpu)], of(row).map(u64::from));
        }
        to.maybe(BACKLOG, &[("cpu", &cpu)], row.backlog_len.map(u64::from));
    }
}

fn memory(to: &mut Families, machine: &MachineSample) {
    for cache in machine.slabs.as_deref().unwrap_or_default() {
        let labels = [("cache", cache.name)];
        to.add(SLAB_BYTES, &labels, cache.bytes);
        to.add(SLAB_OBJECTS, &labels, cache.cache.active_objects);
    }
    let (Ok(buddyinfo), Some(order)) = (&machine.buddyinfo, machine.page_frag_order()) else {
        return;
    };
    for zone in &buddyinfo.zones {
        let (node, order_text) = (zone.node.to_string(), order.to_string());
        let labels = [("node", node.as_str()), ("zone", &zone.zone), ("order", &order_text)];
        to.add(FREE_BLOCKS, &labels, zone.available(order));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kills: no wrap counted.
    #[test]
    fn counters_of_32_bits_go_on_past_their_wrap() {
        let mut wraps = SoftnetWraps::default();
        let mut text = String::new();
        for processed in ["ffffff00", "00000010", "00000020"] {
            let row =
                format!("{processed} 0 0 0 0 0 0 0 0 0 0 0 3\n00000007 0 0 0 0 0 0 0 0 0 0 0 4\n");
            let softnet = Softnet::parse(row.replace(" 0", " 00000000").as_bytes()).unwrap();
            let mut families = Families::default();
            wraps.add(&mut families, &softnet);
            text = super::super::openmetrics(families);
        }
        let of = |cpu: u32, lost: u64| {
            format!("netmem_softnet_processed_total{{cpu=\"{cpu}\"}} {lost}\n")
        };
        assert!(text.contains(&of(3, 1 << 32)), "{text}");
        assert!(text.contains(&of(4, 0)), "{text}");
    }
}
