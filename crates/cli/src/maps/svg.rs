//! The picture: the address space from high to low, and the rings with their levels.
//!
//! ```text
//!   | strip at true   |  one block a mapping, taller by 3 points for |  one bar a ring: level of
//!   | scale, 2^47     |  each doubling; gaps are a dashed line       |  entries, by length
//! ```
//! At true scale nothing but the gaps would be seen: so there is one strip at true scale, and blocks beside
//! it whose height grows with the logarithm of their length.

use std::fmt::Write as _;

use netmem_host::maps::{Area, Certainty, Entries, Kind, RingLook, Socket};

use super::{
    Maps,
    table::{self, plain},
};
use crate::report::bytes;

const WIDTH: u32 = 1180;
const TOP: u32 = 64;
const STRIP_X: u32 = 24;
const BLOCK_X: u32 = 190;
const BLOCK_WIDTH: u32 = 150;
const RING_X: u32 = 790;
const BAR_WIDTH: u32 = 300;
/// Where user space ends with four levels of page tables, and with five.
const USER_END_4: u64 = 1 << 47;
const USER_END_5: u64 = 1 << 56;

/// Draws all mappings and rings.
pub(super) fn picture(maps: &Maps) -> String {
    let space = &maps.space;
    let (blocks, below) = blocks(&space.mappings);
    let (rings, below_rings) = rings(&space.sockets);
    let legend = below.max(below_rings) + 16;
    let height = legend + 40;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    let levels = space.paging_levels.as_ref().map_or_else(|_| "?".to_owned(), u8::to_string);
    let title = format!(
        "{} (pid {}): {} mappings, {levels}-level page tables",
        space.command,
        space.pid,
        space.mappings.len()
    );
    text(&mut out, STRIP_X, 26, "font-size=\"17\"", &title);
    text(&mut out, STRIP_X, 50, "", "user space, true scale");
    text(
        &mut out,
        BLOCK_X,
        50,
        "",
        "mappings, from high to low; height by the logarithm of the length",
    );
    let end = if levels == "5" { USER_END_5 } else { USER_END_4 };
    strip(&mut out, &space.mappings, end, below - TOP);
    out.push_str(&blocks);
    if !space.sockets.is_empty() {
        text(&mut out, RING_X, 50, "", "AF_XDP rings: entries in use");
        out.push_str(&rings);
    }
    colours(&mut out, legend);
    out.push_str("</svg>\n");
    out
}

/// All of user space in one strip, a mark for each mapping.
fn strip(out: &mut String, areas: &[Area], end: u64, height: u32) {
    let _ = writeln!(
        out,
        "<rect x=\"{STRIP_X}\" y=\"{TOP}\" width=\"40\" height=\"{height}\" fill=\"#f4f4f4\" stroke=\"#999999\"/>"
    );
    let scale = |address: u64| {
        let from_top = u128::from(end - address.min(end)) * u128::from(height) / u128::from(end);
        TOP + u32::try_from(from_top).unwrap_or(height)
    };
    for area in areas.iter().filter(|area| area.mapping.start < end) {
        let (top, bottom) = (scale(area.mapping.end), scale(area.mapping.start));
        let height = (bottom - top).max(1);
        let fill = colour(area.class.kind);
        let _ = writeln!(
            out,
            "<rect class=\"mark\" x=\"{STRIP_X}\" y=\"{top}\" width=\"40\" height=\"{height}\" fill=\"{fill}\"/>"
        );
    }
    text(out, STRIP_X + 44, TOP + 10, "fill=\"#666666\"", &format!("{end:#x}"));
    text(out, STRIP_X + 44, TOP + height, "fill=\"#666666\"", "0");
}

/// The blocks, and where they end.
fn blocks(areas: &[Area]) -> (String, u32) {
    let (mut out, mut y) = (String::new(), TOP);
    let mut above: Option<u64> = None;
    for area in areas.iter().rev() {
        if let Some(start) = above.filter(|start| *start > area.mapping.end) {
            let gap = start - area.mapping.end;
            let _ = writeln!(
                out,
                "<line x1=\"{BLOCK_X}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" stroke=\"#999999\" stroke-dasharray=\"3,3\"/>",
                y + 7,
                BLOCK_X + BLOCK_WIDTH,
                y + 7
            );
            text(
                &mut out,
                BLOCK_X + BLOCK_WIDTH + 10,
                y + 11,
                "fill=\"#999999\"",
                &format!("gap of {}", about(gap)),
            );
            y += 14;
        }
        above = Some(area.mapping.start);
        let doublings = (area.mapping.len_bytes() / 4096).max(1).ilog2();
        let height = 14 + 3 * doublings;
        block(&mut out, area, y, height);
        y += height;
    }
    (out, y)
}

fn block(out: &mut String, area: &Area, y: u32, height: u32) {
    let mapping = &area.mapping;
    let kind = area.class.kind.name();
    let likely = if area.class.certainty == Certainty::Likely { " (likely)" } else { "" };
    let dash = if likely.is_empty() { "" } else { " stroke-dasharray=\"4,2\"" };
    let (start, fill) = (mapping.start, colour(area.class.kind));
    let why = area.class.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
    let len = bytes(mapping.len_bytes());
    let hover =
        format!("{start:#x} {} {len} {kind}{likely}{why} {}", mapping.permissions, mapping.name);
    let _ = writeln!(
        out,
        "<rect class=\"mapping\" data-start=\"{start:#x}\" data-kind=\"{kind}\" x=\"{BLOCK_X}\" y=\"{y}\" \
         width=\"{BLOCK_WIDTH}\" height=\"{height}\" fill=\"{fill}\" stroke=\"#444444\" stroke-width=\"0.5\"{dash}>\
         <title>{}</title></rect>",
        escaped(&hover)
    );
    let base = mapping.name.rsplit('/').next().unwrap_or_default();
    let base = table::cut(base);
    let label = format!("{start:x} {} {len} {kind}{likely} {base}", mapping.permissions);
    text(out, BLOCK_X + BLOCK_WIDTH + 10, y + height / 2 + 4, "", label.trim_end());
}

/// The bars, and where they end.
fn rings(sockets: &[Socket]) -> (String, u32) {
    let (mut out, mut y) = (String::new(), TOP);
    for socket in sockets {
        text(&mut out, RING_X, y + 12, "font-weight=\"bold\"", &format!("socket {}", socket.inode));
        y += 22;
        for ring in &socket.rings {
            bar(&mut out, socket.inode, ring, y);
            y += 44;
        }
        y += 12;
    }
    (out, y)
}

fn bar(out: &mut String, inode: u64, ring: &RingLook, y: u32) {
    let name = ring.ring.name();
    let entries = ring.entries.map_or_else(
        || "?".to_owned(),
        |entries| match entries {
            Entries::Exactly(entries) => entries.to_string(),
            Entries::AtMost(entries) => format!("at most {entries}"),
        },
    );
    let level =
        ring.level.map_or_else(|| "level not known".to_owned(), |level| format!("{level} in use"));
    text(out, RING_X, y + 10, "", &format!("{name}: {level}, {entries} entries"));
    let most = ring.entries.map_or(1, Entries::most).max(1);
    let used = u64::from(ring.level.unwrap_or(0)) * u64::from(BAR_WIDTH) / u64::from(most);
    let used = used.min(BAR_WIDTH.into());
    let at = ring.level.map_or(String::new(), |level| format!(" data-level=\"{level}\""));
    let _ = writeln!(
        out,
        "<g class=\"ring\" data-ring=\"{name}\" data-socket=\"{inode}\" data-entries=\"{entries}\"{at}>\
         <rect x=\"{RING_X}\" y=\"{}\" width=\"{BAR_WIDTH}\" height=\"16\" fill=\"#f4f4f4\" stroke=\"#444444\"/>\
         <rect class=\"level\" x=\"{RING_X}\" y=\"{}\" width=\"{used}\" height=\"16\" fill=\"{}\"/></g>",
        y + 15,
        y + 15,
        colour(Kind::Ring(ring.ring))
    );
}

/// What the colours mean.
fn colours(out: &mut String, y: u32) {
    let groups = [
        ("code", Kind::Code),
        ("read-only", Kind::ReadOnlyData),
        ("data, bss", Kind::Data),
        ("heap, anonymous", Kind::Heap),
        ("stacks", Kind::Stack),
        ("umem", Kind::Umem),
        ("rings", Kind::Ring(netmem_host::maps::Ring::Rx)),
        ("packet ring, socket", Kind::PacketRing),
        ("huge pages, shared", Kind::HugePages),
        ("files, devices", Kind::File),
        ("kernel", Kind::Kernel),
        ("reserved", Kind::Reserved),
    ];
    let mut x = STRIP_X;
    for (name, kind) in groups {
        let fill = colour(kind);
        let _ = writeln!(
            out,
            "<rect class=\"legend\" x=\"{x}\" y=\"{y}\" width=\"12\" height=\"12\" fill=\"{fill}\" stroke=\"#444444\"/>"
        );
        text(out, x + 16, y + 10, "", name);
        x += 34 + 6 * u32::try_from(name.len()).unwrap_or(10);
    }
}

fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::Code | Kind::LibraryCode => "#e4835c",
        Kind::ReadOnlyData | Kind::LibraryReadOnly => "#f0c3a8",
        Kind::Data | Kind::Bss | Kind::LibraryData | Kind::LibraryBss => "#e8b84a",
        Kind::Heap | Kind::Anonymous => "#c3d59a",
        Kind::Stack | Kind::ThreadStack => "#7fae5e",
        Kind::Umem => "#2f6db5",
        Kind::Ring(_) => "#52a8c9",
        Kind::PacketRing | Kind::Socket => "#9b7fc2",
        Kind::HugePages | Kind::SharedMemory => "#a9c4e4",
        Kind::File | Kind::Device | Kind::KernelObject => "#d0d0d0",
        Kind::Kernel => "#8a8a8a",
        Kind::Reserved => "#ffffff",
    }
}

fn text(out: &mut String, x: u32, y: u32, style: &str, content: &str) {
    let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\" {style}>{}</text>", escaped(content));
}

/// A length, rounded: of gaps nobody wants the pages.
fn about(count: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.iter().find(|(shift, _)| count >> shift > 0) {
        Some((shift, name)) => format!("{} {name}", count >> shift),
        None => format!("{count} B"),
    }
}

fn escaped(content: &str) -> String {
    let mut out = String::with_capacity(content.len());
    for letter in plain(content).chars() {
        match letter {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            // No character of XML.
            '\u{fffe}' | '\u{ffff}' => out.push('?'),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use netmem_host::{maps::look, source::Root};

    use super::*;

    /// Every mapping and every ring of the first article's process, by an XML parser.
    ///
    /// Planted and caught: names not escaped; private mappings left out.
    #[test]
    fn the_picture_has_everything() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/tests/fixtures/maps/5.15");
        let mut space = look(&Root::at(folder), 996_529).unwrap();
        space.mappings[0].mapping.name = "/a<b>&\"c\"\u{1}\u{ffff}".to_owned();
        let maps = Maps { schema: "netmem.maps/1", space, netmem: None };
        let picture = picture(&maps);
        let document = roxmltree::Document::parse(&picture).unwrap();
        let of_class = |class: &str| {
            let of_class = |node: &roxmltree::Node<'_, '_>| node.attribute("class") == Some(class);
            document.descendants().filter(of_class).collect::<Vec<_>>()
        };
        let drawn: Vec<_> = of_class("mapping")
            .iter()
            .rev()
            .map(|node| node.attribute("data-start").unwrap().to_owned())
            .collect();
        let mapped: Vec<_> =
            maps.space.mappings.iter().map(|area| format!("{:#x}", area.mapping.start)).collect();
        assert_eq!(drawn, mapped);
        let rings = of_class("ring");
        let of = |name: &str| {
            rings.iter().find(|node| node.attribute("data-ring") == Some(name)).unwrap()
        };
        for name in ["rx", "tx", "fill", "completion"] {
            assert_eq!(of(name).attribute("data-entries"), Some("2048"), "{name}");
        }
        assert_eq!(rings.len(), 4);
        assert!(picture.contains("/a&lt;b&gt;&amp;&quot;c&quot;??"));
        let height: u32 = document.root_element().attribute("height").unwrap().parse().unwrap();
        let number = |node: &roxmltree::Node<'_, '_>, name| {
            node.attribute(name).unwrap().parse::<u32>().unwrap()
        };
        assert!(
            of_class("mapping")
                .iter()
                .all(|node| number(node, "y") + number(node, "height") < height)
        );
    }
}
