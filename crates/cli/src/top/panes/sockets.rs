//! Sockets over IP: sums by protocol, the largest, and who holds them.

use netmem_host::{
    netlink::SocketState,
    sample::{ProcessName, SocketsSample, TopSocket},
    sockets::MemorySum,
};

use super::Scene;
use crate::top::table::{Cell, Column, Table};

/// Sums by protocol, and the sockets that hold most.
pub(super) fn sockets(scene: &Scene<'_>) -> Vec<Table> {
    let title = scene.title("Sockets by protocol");
    let sample = match &scene.namespace.sockets {
        Ok(sample) => sample,
        Err(why) => return vec![Table::unknown(title, why)],
    };
    let mut table = Table::new(title, &sum_columns("protocol"), "");
    for protocol in &sample.protocols {
        let name = protocol.protocol.name();
        match &protocol.sum {
            Ok(sum) => table.rows.push(sum_row(Cell::text(name), sum)),
            Err(why) => {
                let mut row = vec![Cell::text(name)];
                row.resize_with(table.columns.len(), Cell::unknown);
                table.rows.push(row);
                table.notes.push(format!("{name} not known: {why}"));
            }
        }
    }
    vec![table, largest(scene, sample)]
}

/// Processes and control groups by what their sockets hold.
pub(super) fn holders(scene: &Scene<'_>) -> Vec<Table> {
    let title = scene.title("Processes by what their sockets hold");
    let sample = match &scene.namespace.sockets {
        Ok(sample) => sample,
        Err(why) => return vec![Table::unknown(title, why)],
    };
    let mut processes = Table::new(title, &sum_columns("process"), "no process has a socket");
    let rows = sample.processes.iter().map(|of| sum_row(Cell::text(name(&of.process)), &of.sum));
    processes.rows.extend(rows);
    if sample.without_process.sockets > 0 {
        let none = Cell::text("(held by no process that can be seen)");
        processes.rows.push(sum_row(none, &sample.without_process));
    }
    more(&mut processes, sample.process_count, sample.processes.len(), "processes");
    if let Some(gap) = &sample.gap {
        processes.notes.push(format!("not all is known: {gap}"));
    }
    let title = scene.title("Control groups (version 2) by what their sockets hold");
    let mut cgroups = Table::new(title, &sum_columns("control group"), "no control group is told");
    for of in &sample.cgroups {
        let path = of.path.clone().unwrap_or_else(|| format!("(gone: {})", of.id));
        cgroups.rows.push(sum_row(Cell::text(path), &of.sum));
    }
    more(&mut cgroups, sample.cgroup_count, sample.cgroups.len(), "control groups");
    vec![processes, cgroups]
}

fn more(table: &mut Table, count: usize, shown: usize, what: &str) {
    if count > shown {
        table.notes.push(format!("the {shown} largest of {count} {what}"));
    }
}

fn sum_columns(of: &'static str) -> [Column; 8] {
    [
        Column::text(of),
        Column::number("sockets"),
        Column::number("held"),
        Column::number("received"),
        Column::number("sending"),
        Column::number("drops"),
        Column::number("rcv full"),
        Column::number("snd full"),
    ]
}

fn sum_row(name: Cell, sum: &MemorySum) -> Vec<Cell> {
    vec![
        name,
        Cell::count(sum.sockets),
        Cell::bytes(sum.held_bytes),
        Cell::bytes(sum.rmem_alloc_bytes),
        Cell::bytes(sum.wmem_alloc_bytes.max(sum.wmem_queued_bytes)),
        Cell::count(sum.drops),
        Cell::bad(sum.rcvbuf_full),
        Cell::bad(sum.sndbuf_full),
    ]
}

fn largest(scene: &Scene<'_>, sample: &SocketsSample) -> Table {
    let mut columns = vec![
        Column::text("proto"),
        Column::text("state"),
        Column::address("local"),
        Column::address("peer"),
        Column::number("held"),
        Column::number("rcvbuf"),
        Column::number("sndbuf"),
        Column::text("fixed"),
        Column::number("drops"),
    ];
    columns.extend(scene.rates.map(|_| Column::number("drops/s")));
    columns.push(Column::text("process"));
    let title = scene.title("Sockets that hold most, in truesize");
    let mut table = Table::new(title, &columns, "no socket holds memory");
    table.rows.extend(sample.top.iter().map(|top| top_row(scene, top)));
    if !table.rows.is_empty() {
        table.notes.push(
            "fixed: buffers whose size the program has set, and that do not follow the connection"
                .to_owned(),
        );
    }
    table
}

fn top_row(scene: &Scene<'_>, top: &TopSocket) -> Vec<Cell> {
    let TopSocket { socket, held_bytes, owners, locks } = top;
    let memory = socket.memory.unwrap_or_default();
    let fixed = match locks {
        Err(_) => Cell::unknown(),
        Ok(locks) => Cell::text(match (locks.is_rcvbuf_locked, locks.is_sndbuf_locked) {
            (false, false) => "no",
            (true, false) => "rcv",
            (false, true) => "snd",
            (true, true) => "rcv snd",
        }),
    };
    let peer = match socket.destination.port() {
        0 => Cell::none(),
        _ => Cell::text(socket.destination.to_string()),
    };
    let mut row = vec![
        Cell::text(socket.protocol.name()),
        Cell::text(state(socket.state)),
        Cell::text(socket.source.to_string()),
        peer,
        Cell::bytes(*held_bytes),
        Cell::bytes(memory.rcvbuf_bytes.into()).warn_if(memory.is_rcvbuf_full()),
        Cell::bytes(memory.sndbuf_bytes.into()).warn_if(memory.is_sndbuf_full()),
        fixed,
        Cell::count(memory.drops.into()),
    ];
    let grown = scene.moved.and_then(|moved| {
        let of = moved.sockets.iter().find(|of| of.cookie == socket.cookie)?;
        Some(u64::from(of.drops))
    });
    let rate = scene.rate(grown).warn_if(grown.is_some_and(|drops| drops > 0));
    row.extend(scene.with_rates([rate]));
    let names: Vec<_> = owners.iter().map(name).collect();
    row.push(if names.is_empty() { Cell::none() } else { Cell::text(names.join(" ")) });
    row
}

/// `sshd/812`; the name is empty if the process has ended.
pub(super) fn name(process: &ProcessName) -> String {
    format!("{}/{}", process.name, process.pid)
}

/// The state, as ss names it.
fn state(state: SocketState) -> &'static str {
    match state {
        SocketState::Established => "ESTAB",
        SocketState::SynSent => "SYN-SENT",
        SocketState::SynRecv | SocketState::NewSynRecv => "SYN-RECV",
        SocketState::FinWait1 => "FIN-WAIT-1",
        SocketState::FinWait2 => "FIN-WAIT-2",
        SocketState::TimeWait => "TIME-WAIT",
        SocketState::Close => "UNCONN",
        SocketState::CloseWait => "CLOSE-WAIT",
        SocketState::LastAck => "LAST-ACK",
        SocketState::Listen => "LISTEN",
        SocketState::Closing => "CLOSING",
        SocketState::BoundInactive => "BOUND",
        _ => "?",
    }
}
