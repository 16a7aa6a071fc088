//! The memory of protocols against their limits, sockets in use, and control groups.

use netmem_host::{
    proc::{MemoryPressure, ProtocolMemory, SocketCgroup},
    sample::MachineSample,
};

use super::{Scene, maybe, or_none};
use crate::top::{
    observe::Observed,
    table::{Cell, Column, Table, size},
};

/// TCP and UDP of the whole machine.
pub(super) fn memory(observed: &Observed) -> Table {
    let title = "Memory of protocols, of the whole machine";
    let protocols = match &observed.sample.machine.protocols {
        Ok(protocols) => protocols,
        Err(why) => return Table::unknown(title, why),
    };
    let columns = [
        Column::text("protocol"),
        Column::number("memory"),
        Column::number("+-"),
        Column::number("min"),
        Column::number("pressure"),
        Column::number("max"),
        Column::text("level"),
        Column::text("under pressure"),
    ];
    let mut table = Table::new(title, &columns, "");
    let page_bytes = observed.sample.machine.page_bytes.as_ref().copied().unwrap_or(0);
    table.rows.extend(protocols.iter().map(|protocol| protocol_row(protocol, page_bytes)));
    for protocol in protocols {
        if let Err(why) = &protocol.limits {
            let name = protocol.protocol.name().to_uppercase();
            table.notes.push(format!("limits of {name} not known: {why}"));
        }
    }
    table.notes.push(
        "memory is off by up to +- that CPUs hold back; pressure inside a control group is apart"
            .to_owned(),
    );
    table.notes.push(
        "min is what limits UDP: above it a socket gets no more than net.ipv4.udp_rmem_min"
            .to_owned(),
    );
    table
}

fn protocol_row(protocol: &ProtocolMemory, page_bytes: u64) -> Vec<Cell> {
    let limits = protocol.limits.as_ref().ok();
    let limit = |pages: Option<u64>| match pages {
        Some(pages) => Cell::bytes(pages.saturating_mul(page_bytes)),
        None => Cell::unknown(),
    };
    let pressure = match &protocol.pressure {
        Ok(MemoryPressure::Yes) => Cell::text("yes").warn_if(true),
        Ok(MemoryPressure::No) => Cell::text("no"),
        Ok(MemoryPressure::NotImplemented) => Cell::text("has no such state"),
        Err(_) => Cell::unknown(),
    };
    vec![
        Cell::text(protocol.protocol.name().to_uppercase()),
        Cell::bytes(protocol.bytes),
        Cell::bytes(protocol.error_bar_bytes),
        limit(limits.map(|limits| limits.min_pages)),
        limit(limits.map(|limits| limits.pressure_pages)),
        limit(limits.map(|limits| limits.max_pages)),
        level(protocol),
        pressure,
    ]
}

/// Where the memory stands; by its error bar it may stand at a higher level.
fn level(protocol: &ProtocolMemory) -> Cell {
    use netmem_host::proc::Level;
    let word = |level| match level {
        Level::UpToMin => "below min",
        Level::UpToPressure => "above min",
        Level::Limited => "limited: above min",
        Level::UpToMax => "above pressure",
        Level::AboveMax => "above max",
    };
    match protocol.levels() {
        None => Cell::unknown(),
        Some((now, highest)) if now == highest => {
            Cell::text(word(now)).warn_if(now > Level::UpToPressure)
        }
        Some((now, highest)) => Cell::text(format!("{} or {}", word(now), word(highest))),
    }
}

/// Sockets in use of a namespace, and memory of fragments.
pub(super) fn sockets(scene: &Scene<'_>) -> Table {
    let title = scene.title("Sockets in use");
    let stat = match &scene.namespace.sockstat {
        Ok(stat) => stat,
        Err(why) => return Table::unknown(title, why),
    };
    let six = scene.namespace.sockstat6.as_ref().ok();
    let columns = [
        Column::text("protocol"),
        Column::number("IPv4"),
        Column::number("IPv6"),
        Column::text("further"),
    ];
    let mut table = Table::new(title, &columns, "");
    let mut row = |name, four: Cell, sixth: Option<u64>, further: String| {
        table.rows.push(vec![Cell::text(name), four, or_none(sixth), Cell::text(further)]);
    };
    let tcp = format!(
        "{} in TIME-WAIT; of the whole machine {} orphans, {} allocated",
        stat.tcp_tw, stat.tcp_orphan, stat.tcp_alloc
    );
    row("TCP", Cell::count(stat.tcp_inuse), six.map(|six| six.tcp6_inuse), tcp);
    row("UDP", Cell::count(stat.udp_inuse), six.map(|six| six.udp6_inuse), String::new());
    let lite6 = six.and_then(|six| six.udplite6_inuse);
    row("UDPLITE", or_none(stat.udplite_inuse), lite6, String::new());
    row("RAW", Cell::count(stat.raw_inuse), six.map(|six| six.raw6_inuse), String::new());
    let memory6 =
        six.map_or(String::new(), |six| format!(", IPv6 {}", size(six.frag6_memory_bytes)));
    let fragments = format!("datagrams in pieces: IPv4 {}{memory6}", size(stat.frag_memory_bytes));
    row("FRAG", Cell::count(stat.frag_inuse), six.map(|six| six.frag6_inuse), fragments);
    table.notes.push(pressure_note(scene));
    table
}

/// How often and how long TCP was under pressure, as counted in this namespace.
fn pressure_note(scene: &Scene<'_>) -> String {
    let Ok(counters) = &scene.namespace.counters else {
        return "how often TCP was under pressure is not known".to_owned();
    };
    let text = |cell: Cell| cell.text;
    format!(
        "TCP entered memory pressure {} times, for {} ms (counted where the socket was that met it); \
         {} packets of the emergency reserve dropped (PFMemallocDrop)",
        text(maybe(counters.tcp_memory_pressures())),
        text(maybe(counters.tcp_memory_pressures_chrono_ms())),
        text(maybe(counters.pf_memalloc_drop())),
    )
}

/// Control groups with socket memory.
pub(super) fn cgroups(machine: &MachineSample) -> Table {
    let title = "Socket memory of control groups";
    let cgroups = match &machine.cgroups {
        Ok(cgroups) => cgroups,
        Err(why) => return Table::unknown(title, why),
    };
    let columns = [
        Column::text("control group"),
        Column::number("sock"),
        Column::number("peak"),
        Column::number("limit"),
        Column::number("refused"),
        Column::number("above high"),
        Column::number("at max"),
        Column::number("stalled"),
    ];
    let mut table = Table::new(title, &columns, "no control group holds socket memory");
    table.rows.extend(cgroups.groups.iter().map(cgroup_row));
    if !cgroups.is_whole {
        table
            .notes
            .push(format!("{} groups were looked at, and there are more", cgroups.looked_at));
    }
    table
}

fn cgroup_row(group: &SocketCgroup) -> Vec<Cell> {
    let tcp = group.tcp.as_ref();
    let bad = |count: Option<u64>| count.map_or_else(Cell::none, Cell::bad);
    let limit = match tcp.map(|tcp| tcp.limit_bytes) {
        Some(Some(bytes)) => Cell::bytes(bytes),
        Some(None) => Cell::text("no limit"),
        None => Cell::none(),
    };
    let stalled = group.memory_pressure.and_then(|pressure| pressure.some);
    vec![
        Cell::text(&group.group),
        Cell::bytes(group.sock_bytes),
        tcp.map_or_else(Cell::none, |tcp| Cell::bytes(tcp.peak_bytes)),
        limit,
        bad(tcp.map(|tcp| tcp.failures)),
        bad(group.events.map(|events| events.high)),
        bad(group.events.map(|events| events.max)),
        stalled
            .map_or_else(Cell::none, |stall| Cell::text(format!("{:.1} %", stall.avg10_percent))),
    ]
}
