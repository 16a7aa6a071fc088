//! The table: one line a mapping, then sockets, memory, and what is not known. At most 100 columns, unless
//! a reason is longer.

use std::io::{self, Write};

use netmem_host::maps::{
    Area, Certainty, Entries, Kind, PacketLook, Place, QueueName, RingLook, Socket, Totals,
};

use super::Maps;
use crate::report::{bytes, row};

/// Room for the last column.
const WHAT_COLUMNS: usize = 33;

/// Writes all of it.
pub(super) fn print(out: &mut dyn Write, maps: &Maps) -> io::Result<()> {
    let space = &maps.space;
    let program = space.program.as_deref().unwrap_or("program not known");
    let netmem = maps.netmem.as_ref().map_or(String::new(), |word| format!(", netmem {word}"));
    let name = plain(&space.command);
    row(out, "process", format!("{name} (pid {}), {}{netmem}", space.pid, plain(program)))?;
    let levels = match &space.paging_levels {
        Ok(levels) => format!("{levels}-level page tables"),
        Err(_) => "levels of page tables not known".to_owned(),
    };
    let pages = bytes(space.page_bytes);
    let count = space.mappings.len();
    row(out, "address space", format!("{levels}, base pages of {pages}, {count} mappings"))?;
    writeln!(out)?;
    writeln!(
        out,
        "{:>12} {:<4} {:>8} {:>8} {:>4} {:<4} {:<18} WHAT",
        "ADDRESS", "PERM", "SIZE", "RSS", "PAGE", "NODE", "KIND"
    )?;
    for area in &space.mappings {
        print_area(out, area, &space.sockets)?;
    }
    writeln!(out)?;
    for socket in &space.sockets {
        print_socket(out, socket)?;
    }
    for socket in &space.packet_sockets {
        print_packet_socket(out, socket)?;
    }
    print_reasons(out, &space.mappings)?;
    for shared in &space.shared {
        let all: Vec<_> = shared.mappings.iter().map(|start| format!("{start:x}")).collect();
        let proof = match shared.pages_compared {
            0 => shared.proof.name().to_owned(),
            1 => format!("{}, 1 page compared", shared.proof.name()),
            pages => format!("{}, {pages} pages compared", shared.proof.name()),
        };
        let same = format!("{} the same memory: {proof}", bytes(shared.bytes));
        row(out, "shared", format!("{}: {same}", all.join(" = ")))?;
    }
    print_totals(out, &space.totals)?;
    for unavailable in &space.not_known {
        row(out, "not known", unavailable)?;
    }
    Ok(())
}

fn print_area(out: &mut dyn Write, area: &Area, sockets: &[Socket]) -> io::Result<()> {
    let usage = &area.mapping.usage;
    let likely = if area.class.certainty == Certainty::Likely { "?" } else { "" };
    let nodes: Vec<_> = area.nodes.keys().map(ToString::to_string).collect();
    let dash = || "-".to_owned();
    let line = format!(
        "{:>12} {:<4} {:>8} {:>8} {:>4} {:<4} {:<18} {}",
        format!("{:x}", area.mapping.start),
        area.mapping.permissions.to_string(),
        short(area.mapping.len_bytes()),
        resident(area).map_or_else(dash, short),
        usage.page_bytes.map_or_else(dash, short),
        if nodes.is_empty() { dash() } else { nodes.join(",") },
        format!("{}{likely}", area.class.kind.name()),
        what(area, sockets),
    );
    writeln!(out, "{}", line.trim_end())
}

/// What is resident, pages of hugetlb too.
fn resident(area: &Area) -> Option<u64> {
    let usage = &area.mapping.usage;
    Some(usage.rss_bytes?.saturating_add(usage.hugetlb_bytes.unwrap_or(0)))
}

/// What a mapping has: a ring's level, sections, or the name.
fn what(area: &Area, sockets: &[Socket]) -> String {
    if let Kind::Ring(_) = area.class.kind {
        let rings = sockets.iter().flat_map(|socket| socket.rings.iter());
        let ring = rings.into_iter().find(|ring| ring.mapping == Some(area.mapping.start));
        let inode = area.mapping.inode;
        return ring.map_or(String::new(), |ring| format!("[{inode}] {}", level(ring)));
    }
    let base = area.mapping.name.rsplit('/').next().unwrap_or_default();
    let text = match (&area.sections[..], base) {
        ([], base) => base.to_owned(),
        (sections, "") => sections.join(" "),
        (sections, base) => format!("{base} {}", sections.join(" ")),
    };
    cut(&plain(&text))
}

/// `12 of 2048 entries`.
fn level(ring: &RingLook) -> String {
    let entries = match ring.entries {
        Some(Entries::Exactly(entries)) => entries.to_string(),
        Some(Entries::AtMost(entries)) => format!("at most {entries}"),
        None => "?".to_owned(),
    };
    let about = if ring.of_one_moment { "" } else { "about " };
    match ring.level {
        Some(level) => format!("{about}{level} of {entries} entries"),
        None => format!("{entries} entries"),
    }
}

fn print_socket(out: &mut dyn Write, socket: &Socket) -> io::Result<()> {
    let descriptors: Vec<_> = socket.descriptors.iter().map(ToString::to_string).collect();
    let fds = if descriptors.is_empty() {
        "no descriptor".to_owned()
    } else {
        format!("fd {}", descriptors.join(", "))
    };
    let mode = match socket.zero_copy {
        Some(true) => ", zero-copy",
        Some(false) => ", copied",
        None => "",
    };
    row(out, "af_xdp", format!("socket {} ({fds}){mode}", socket.inode))?;
    row(out, "", place(&socket.place))?;
    for ring in &socket.rings {
        let unmapped = if ring.mapping.is_none() { ", not mapped here" } else { "" };
        let indices = ring.indices.map_or(String::new(), |indices| {
            format!(", producer {}, consumer {}", indices.producer, indices.consumer)
        });
        let wakeup = if ring.needs_wakeup == Some(true) { ", wants a wake-up" } else { "" };
        let name = ring.ring.name();
        row(out, "", format!("{name}: {}{indices}{wakeup}{unmapped}", level(ring)))?;
    }
    if let Ok(s) = &socket.statistics {
        let or =
            |count: Option<u64>| count.map_or_else(|| "?".to_owned(), |count| count.to_string());
        let (invalid, full) = (s.rx_invalid_descs, or(s.rx_ring_full));
        let received =
            format!("{} rx_dropped, {invalid} rx_invalid_descs, {full} rx_ring_full", s.rx_dropped);
        row(out, "", format!("kernel: {received},"))?;
        let empty = or(s.rx_fill_ring_empty_descs);
        let (sent, none) = (s.tx_invalid_descs, or(s.tx_ring_empty_descs));
        let rest = format!(
            "{empty} rx_fill_ring_empty_descs, {sent} tx_invalid_descs, {none} tx_ring_empty_descs"
        );
        row(out, "", format!("        {rest}"))?;
    }
    Ok(())
}

fn print_packet_socket(out: &mut dyn Write, look: &PacketLook) -> io::Result<()> {
    let socket = &look.socket;
    let version = socket.version.saturating_add(1);
    row(out, "af_packet", format!("socket {}, TPACKET_V{version}", socket.inode))?;
    let levels = look.levels.clone().unwrap_or_default();
    for (name, ring, level) in
        [("rx", socket.rx_ring, levels.rx), ("tx", socket.tx_ring, levels.tx)]
    {
        let Some(ring) = ring else { continue };
        let (blocks, frames) = (ring.blocks, ring.frames);
        let (block, frame) = (bytes(ring.block_bytes.into()), bytes(ring.frame_bytes.into()));
        let sizes = format!("{blocks} blocks of {block}, {frames} frames of {frame}");
        let level = level.map_or_else(
            || "how full is not known".to_owned(),
            |level| format!("{} of {} {} used", level.used, level.of, level.unit.name()),
        );
        row(out, "", format!("{name}: {level}; {sizes}"))?;
    }
    if let Err(why) = &look.levels {
        row(out, "", format!("not known: {why}"))?;
    }
    Ok(())
}

fn place(place: &Place) -> String {
    let name = |queue: &QueueName| format!("{} queue {}", plain(&queue.interface), queue.queue);
    match place {
        Place::Bound { queue, proof } => format!("on {}: {proof}", name(queue)),
        Place::Candidates { queues } => {
            let all: Vec<_> = queues.iter().map(name).collect();
            format!("on one of {}, or on none", all.join(", "))
        }
        Place::Unbound => "on no queue".to_owned(),
        Place::NotKnown { why } => format!("queue not known: {why}"),
    }
}

/// Why a mapping is taken for a UMEM, and each guess once.
fn print_reasons(out: &mut dyn Write, areas: &[Area]) -> io::Result<()> {
    for area in areas.iter().filter(|area| area.class.kind == Kind::Umem) {
        let how = match area.class.certainty {
            Certainty::Certain => "surely",
            Certainty::Likely => "likely",
        };
        let why = area.class.why.as_deref().unwrap_or_default();
        let (start, len) = (area.mapping.start, bytes(area.mapping.len_bytes()));
        row(out, "umem", format!("{start:x}, {len}, {how}: {why}"))?;
    }
    let guesses = areas.iter().filter(|area| area.class.certainty == Certainty::Likely);
    let guesses = guesses.filter(|area| area.class.kind != Kind::Umem);
    let mut told: Vec<(&str, &str)> = guesses
        .filter_map(|area| Some((area.class.kind.name(), area.class.why.as_deref()?)))
        .collect();
    told.sort_unstable();
    told.dedup();
    for (kind, why) in told {
        row(out, "likely", format!("{kind}?: {why}"))?;
    }
    Ok(())
}

fn print_totals(out: &mut dyn Write, totals: &Totals) -> io::Result<()> {
    let or = |count: Option<u64>| count.map_or_else(|| "not known".to_owned(), bytes);
    let Totals { mapped_bytes, ring_bytes, ring_bytes_outside_rss, umem_bytes, .. } = *totals;
    row(out, "memory", format!("{} mapped, Rss {}", bytes(mapped_bytes), or(totals.rss_bytes)))?;
    let hugetlb = or(totals.hugetlb_bytes);
    let outside = bytes(ring_bytes_outside_rss);
    row(
        out,
        "",
        format!(
            "outside of Rss: hugetlb {hugetlb}, AF_XDP rings {outside} of {}",
            bytes(ring_bytes)
        ),
    )?;
    let (locked, pinned) = (or(totals.locked_bytes), or(totals.pinned_bytes));
    let umem = bytes(umem_bytes);
    row(
        out,
        "",
        format!("pinned: umem {umem}, which is in no counter; VmLck {locked}, VmPin {pinned}"),
    )
}

/// A size in at most eight columns.
fn short(count: u64) -> String {
    let units = [(1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    let exact = units.iter().find(|(unit, _)| count >= *unit && count.is_multiple_of(*unit));
    match exact {
        Some((unit, name)) if count / unit < 10_000_000 => format!("{}{name}", count / unit),
        _ if count < 10_000_000 => count.to_string(),
        // Rounded down; the JSON has it exactly.
        _ => format!("{}M", count >> 20),
    }
}

/// Keeps the start of a text that is too long.
pub(super) fn cut(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= WHAT_COLUMNS {
        return text.to_owned();
    }
    let mut start: String = letters[..WHAT_COLUMNS - 3].iter().collect();
    start.push_str("...");
    start
}

/// Without what would move a terminal's cursor: names are chosen by others.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_fit() {
        assert_eq!(
            (short(4096), short(1 << 30), short(1_048_576 << 10)),
            ("4K".into(), "1G".into(), "1G".into())
        );
        assert_eq!((short(0), short(36 << 10)), ("0".to_owned(), "36K".to_owned()));
        for count in [u64::MAX, (1 << 47) - 4096, 1 << 63, 12_345_678_901] {
            assert!(short(count).len() <= 15, "{}", short(count));
        }
        assert_eq!(short((1 << 36) + 4096), "65536M");
    }

    #[test]
    fn names_are_harmless_and_short() {
        assert_eq!(plain("a\x1b[2Jb\n"), "a?[2Jb?");
        assert_eq!(cut(&"x".repeat(40)).len(), WHAT_COLUMNS);
        assert_eq!(cut("libc.so.6"), "libc.so.6");
    }
}
