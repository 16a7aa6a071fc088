//! Packet sockets, AF_XDP sockets, and netmem's own programs: whose rings are mapped into a process.

use netmem_host::{
    netlink::{PacketRing, XdpSocket},
    sample::PacketSocketSample,
};

use super::{Scene, sockets::name};
use crate::{
    list::{NetmemPort, Ring},
    top::{
        observe::Programs,
        table::{Cell, Column, Table},
    },
};

/// Packet sockets with the geometry of their rings.
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
    let ring = |ring: Option<PacketRing>| match ring {
        Some(ring) => Cell::text(format!("{} x {} B", ring.frames, ring.frame_bytes)),
        None => Cell::none(),
    };
    let rings = socket.rx_ring.iter().chain(&socket.tx_ring).map(PacketRing::len_bytes).sum();
    let owners: Vec<_> = of.owners.iter().map(name).collect();
    let memory = socket.memory.as_ref();
    vec![
        Cell::text(socket.inode.to_string()),
        Cell::text(link),
        Cell::text(takes),
        ring(socket.rx_ring),
        ring(socket.tx_ring),
        Cell::bytes(rings),
        memory.map_or_else(Cell::unknown, |memory| Cell::bytes(memory.held_bytes())),
        memory.map_or_else(Cell::unknown, |memory| Cell::bad(memory.drops.into())),
        if owners.is_empty() { Cell::none() } else { Cell::text(owners.join(" ")) },
    ]
}

/// AF_XDP sockets: what the kernel lists, or who is known to hold some.
pub(super) fn xdp(scene: &Scene<'_>) -> Table {
    let title = scene.title("AF_XDP sockets");
    let sockets = &scene.namespace.xdp_sockets;
    let why = match &sockets.listed {
        Ok(listed) => {
            let columns = [
                Column::text("socket"),
                Column::text("queue"),
                Column::text("rings: rx tx fill completion"),
                Column::number("umem"),
                Column::text("copied"),
                Column::number("dropped"),
                Column::number("rx full"),
                Column::number("fill empty"),
                Column::number("invalid"),
            ];
            let mut table = Table::new(title, &columns, "no AF_XDP socket");
            table.rows.extend(listed.iter().map(|socket| xdp_row(scene, socket)));
            return table;
        }
        Err(why) => why,
    };
    let columns = [Column::text("socket"), Column::text("process")];
    let mut table = Table::new(title, &columns, "none is bound to a queue of this namespace");
    table.rows.extend(sockets.held.iter().map(|held| {
        let owners: Vec<_> = held.owners.iter().map(name).collect();
        vec![Cell::text(held.inode.to_string()), Cell::text(owners.join(" "))]
    }));
    if let Some(gap) = &sockets.held_gap {
        table.empty = "";
        table.notes.push(format!("there may be more: {gap}"));
    }
    table.notes.push(format!("rings, memory and counters not known: {why}"));
    table
}

fn xdp_row(scene: &Scene<'_>, socket: &XdpSocket) -> Vec<Cell> {
    let queue = match socket.ifindex {
        0 => "not bound".to_owned(),
        ifindex => format!("{} {}", scene.namespace.link_name(ifindex), socket.queue),
    };
    let entries = [socket.rx_ring, socket.tx_ring, socket.fill_ring, socket.completion_ring];
    let entries = entries.map(|n| n.map_or_else(|| "-".to_owned(), |n| n.to_string())).join(" ");
    let counter = |count: Option<u64>| count.map_or_else(Cell::unknown, Cell::bad);
    let statistics = socket.statistics.as_ref();
    let umem = socket.umem.as_ref();
    vec![
        Cell::text(socket.inode.to_string()),
        Cell::text(queue),
        Cell::text(entries),
        umem.map_or_else(Cell::none, |umem| Cell::bytes(umem.len_bytes)),
        umem.map_or_else(Cell::none, |umem| {
            Cell::text(if umem.is_zero_copy { "no" } else { "yes" })
        }),
        counter(statistics.map(|of| of.rx_dropped)),
        counter(statistics.map(|of| of.rx_ring_full)),
        counter(statistics.map(|of| of.rx_fill_ring_empty_descs)),
        counter(statistics.map(|of| of.rx_invalid_descs.saturating_add(of.tx_invalid_descs))),
    ]
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
        Some(Ring { entries, level }) => Cell::text(format!("{level}/{entries}")),
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
