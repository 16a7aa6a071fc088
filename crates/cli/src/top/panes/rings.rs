//! Packet sockets, AF_XDP sockets, and netmem's own programs: whose rings are mapped into a process.

use netmem_host::{
    maps::{Entries, PacketLevel, PacketUnit, Place, Ring},
    netlink::PacketRing,
    sample::{PacketSocketSample, XdpRing, XdpSocketSample},
    source::Unavailable,
};

use super::{Scene, sockets::name};
use crate::{
    list::{self, NetmemPort},
    top::{
        observe::Programs,
        table::{Cell, Column, Table},
    },
};

/// Packet sockets with their rings: how full, of how many frames or blocks.
pub(super) fn packet(scene: &Scene<'_>) -> Table {
    let title = scene.title("Packet sockets");
    let sockets = match &scene.namespace.packet_sockets {
        Ok(sockets) => sockets,
        Err(why) => return Table::unknown(title, why),
    };
    let columns = [
        Column::text("socket"),
        Column::text("link"),
        Column::text("takes"),
        Column::text("rx ring"),
        Column::text("tx ring"),
        Column::number("rings"),
        Column::number("held"),
        Column::number("drops"),
        Column::text("process"),
    ];
    let mut table = Table::new(title, &columns, "no packet socket");
    table.rows.extend(sockets.iter().map(|of| packet_row(scene, of)));
    let why = sockets.iter().filter_map(|of| Some((of.socket.inode, of.levels.as_ref().err()?)));
    table.notes.extend(why.map(|(inode, why)| format!("level of {inode} not known: {why}")));
    table
}

fn packet_row(scene: &Scene<'_>, of: &PacketSocketSample) -> Vec<Cell> {
    let socket = &of.socket;
    let link = match socket.ifindex {
        0 => "all".to_owned(),
        ifindex => scene.namespace.link_name(ifindex),
    };
    let takes = match socket.ether_type {
        0 => "nothing".to_owned(),
        3 => "all".to_owned(),
        other => format!("{other:#06x}"),
    };
    let levels = of.levels.as_ref();
    let ring = |ring: Option<PacketRing>, level: Option<PacketLevel>| match (ring, level) {
        (Some(ring), Some(PacketLevel { unit: PacketUnit::Frames, used, .. })) => {
            Cell::text(format!("{used}/{} x {} B", ring.frames, ring.frame_bytes))
        }
        (Some(ring), Some(PacketLevel { unit: PacketUnit::Blocks, used, of })) => {
            Cell::text(format!("{used}/{of} x {} B", ring.block_bytes))
        }
        (Some(ring), None) => Cell::text(format!("?/{} x {} B", ring.frames, ring.frame_bytes)),
        (None, _) => Cell::none(),
    };
    let rings = socket.rx_ring.iter().chain(&socket.tx_ring).map(PacketRing::len_bytes).sum();
    let owners: Vec<_> = of.owners.iter().map(name).collect();
    let memory = socket.memory.as_ref();
    vec![
        Cell::text(socket.inode.to_string()),
        Cell::text(link),
        Cell::text(takes),
        ring(socket.rx_ring, levels.ok().and_then(|levels| levels.rx)),
        ring(socket.tx_ring, levels.ok().and_then(|levels| levels.tx)),
        Cell::bytes(rings),
        memory.map_or_else(Cell::unknown, |memory| Cell::bytes(memory.held_bytes())),
        memory.map_or_else(Cell::unknown, |memory| Cell::bad(memory.drops.into())),
        if owners.is_empty() { Cell::none() } else { Cell::text(owners.join(" ")) },
    ]
}

/// AF_XDP sockets: where they are bound and what they lost, and how full their rings are.
pub(super) fn xdp(scene: &Scene<'_>) -> [Table; 2] {
    let sockets = &scene.namespace.xdp_sockets;
    let columns = [
        Column::text("socket"),
        Column::text("process"),
        Column::text("queue"),
        Column::text("copied"),
        Column::number("umem"),
        Column::number("dropped"),
        Column::number("rx full"),
        Column::number("fill empty"),
        Column::number("invalid"),
    ];
    let mut table = Table::new(scene.title("AF_XDP sockets"), &columns, "no AF_XDP socket");
    table.rows.extend(sockets.all.iter().map(|socket| xdp_row(scene, socket)));
    if let Err(why) = &sockets.listed {
        if let Some(gap) = &sockets.gap {
            table.empty = "";
            table.notes.push(format!("there may be more: {gap}"));
        }
        table.notes.push(format!("what only socket diagnosis tells is not known: {why}"));
    }
    let columns = [
        Column::text("socket"),
        Column::text("fill"),
        Column::text("rx"),
        Column::text("tx"),
        Column::text("completion"),
    ];
    let title = scene.title("Their rings: entries in each, of how many");
    let mut rings = Table::new(title, &columns, "no socket");
    for socket in &sockets.all {
        let ring = |ring| socket.ring(ring).map_or_else(Cell::none, ring_cell);
        let cells = [Ring::Fill, Ring::Rx, Ring::Tx, Ring::Completion].map(ring);
        let number = Cell::text(socket.inode.to_string());
        rings.rows.push(std::iter::once(number).chain(cells).collect());
        if let Some(why) = why_no_levels(socket) {
            rings.notes.push(format!("not known of {}: {why}", socket.inode));
        }
    }
    [table, rings]
}

fn xdp_row(scene: &Scene<'_>, socket: &XdpSocketSample) -> Vec<Cell> {
    let owners: Vec<_> = socket.owners.iter().map(name).collect();
    let counter = |count: Option<u64>| count.map_or_else(Cell::unknown, Cell::bad);
    let statistics = socket.statistics();
    let copied = socket.is_zero_copy().map(|is_zero_copy| if is_zero_copy { "no" } else { "yes" });
    vec![
        Cell::text(socket.inode.to_string()),
        if owners.is_empty() { Cell::unknown() } else { Cell::text(owners.join(" ")) },
        queue(scene, socket),
        copied.map_or_else(Cell::unknown, Cell::text),
        socket.umem_bytes().map_or_else(Cell::unknown, Cell::bytes),
        counter(statistics.map(|of| of.rx_dropped)),
        counter(statistics.and_then(|of| of.rx_ring_full)),
        counter(statistics.and_then(|of| of.rx_fill_ring_empty_descs)),
        counter(statistics.map(|of| of.rx_invalid_descs.saturating_add(of.tx_invalid_descs))),
    ]
}

fn ring_cell(ring: XdpRing) -> Cell {
    let level = ring.level.map_or_else(|| "?".to_owned(), |level| level.to_string());
    let entries = match ring.entries {
        Some(Entries::Exactly(entries)) => entries.to_string(),
        Some(Entries::AtMost(entries)) => format!("{entries} at most"),
        None => "?".to_owned(),
    };
    Cell::text(format!("{level}/{entries}"))
}

fn why_no_levels(socket: &XdpSocketSample) -> Option<&Unavailable> {
    match &socket.look {
        Ok(look) => look.statistics.as_ref().err(),
        Err(why) => Some(why),
    }
}

/// Where a socket is bound, or may be.
fn queue(scene: &Scene<'_>, socket: &XdpSocketSample) -> Cell {
    if let Some((ifindex, queue)) = socket.bound() {
        return Cell::text(format!("{} {queue}", scene.namespace.link_name(ifindex)));
    }
    match (&socket.listed, socket.look.as_ref().map(|look| &look.place)) {
        (Some(_), _) | (None, Ok(Place::Unbound)) => Cell::text("not bound"),
        (None, Ok(Place::Candidates { queues })) => {
            let names = queues.iter().map(|queue| format!("{} {}", queue.interface, queue.queue));
            Cell::text(names.collect::<Vec<_>>().join(" or "))
        }
        _ => Cell::unknown(),
    }
}

/// netmem's own programs: what became of packets, and how full the rings of their ports are.
pub(super) fn programs(programs: &Programs) -> [Table; 2] {
    let columns = [
        Column::text("program"),
        Column::text("state"),
        Column::number("workers"),
        Column::number("received"),
        Column::number("sent"),
        Column::number("consumed"),
        Column::number("dropped"),
        Column::number("held"),
        Column::number("memory"),
    ];
    let title = "Programs of netmem, of all network namespaces";
    let mut table = Table::new(title, &columns, "no process of it runs");
    for process in &programs.processes {
        let dropped = process.packets.dropped.values().fold(0u64, |sum, n| sum.saturating_add(*n));
        let memory = process.memory.iter().fold(0u64, |sum, of| sum.saturating_add(of.bytes));
        table.rows.push(vec![
            Cell::text(format!("{}/{}", process.command, process.pid)),
            Cell::text(process.state).warn_if(process.state != "running"),
            Cell::count(process.workers as u64),
            Cell::count(process.packets.received),
            Cell::count(process.packets.transmitted),
            Cell::count(process.packets.consumed),
            Cell::count(dropped),
            Cell::count(process.packets.held),
            Cell::bytes(memory),
        ]);
    }
    if !programs.not_known.is_empty() {
        table.empty = "no process of it can be seen";
        table.notes.extend(programs.not_known.iter().map(|why| format!("not known: {why}")));
    }
    let columns = [
        Column::text("port"),
        Column::text("mode"),
        Column::text("fill"),
        Column::text("rx"),
        Column::text("tx"),
        Column::text("completion"),
        Column::number("dropped"),
        Column::number("rx full"),
        Column::number("fill empty"),
    ];
    let mut ports =
        Table::new("Their ports: entries in each ring, of how many", &columns, "no port");
    for process in &programs.processes {
        ports.rows.extend(process.ports.iter().map(|port| port_row(process.pid, port)));
    }
    [table, ports]
}

fn port_row(pid: u32, port: &NetmemPort) -> Vec<Cell> {
    let ring = |name| match port.rings.get(name) {
        Some(list::Ring { entries, level }) => Cell::text(format!("{level}/{entries}")),
        None => Cell::none(),
    };
    let kernel = port.kernel.as_ref();
    let counter = |count: Option<u64>| count.map_or_else(Cell::unknown, Cell::bad);
    vec![
        Cell::text(format!("{} {} of {pid}", port.interface, port.queue)),
        Cell::text(&port.mode),
        ring("fill"),
        ring("rx"),
        ring("tx"),
        ring("completion"),
        counter(kernel.map(|of| of.rx_dropped)),
        counter(kernel.map(|of| of.rx_ring_full)),
        counter(kernel.map(|of| of.rx_fill_ring_empty_descs)),
    ]
}
