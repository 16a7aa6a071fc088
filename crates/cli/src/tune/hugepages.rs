//! `netmem tune hugepages -- COMMAND..`: how many huge pages the packets' memory of a netmem command takes,
//! how many there are, and the command that reserves the rest. Nothing is changed.
//!
//! The memory is that which the command itself would ask for, with the queues that its interfaces have now.
//! All of it is one mapping, so the pool of one size has to have all of its pages. Memory for large pages
//! that are reserved late may not be in one piece any more.

use std::io::{self, Write};

use clap::Parser;
use netmem::mem::{PageTier, region::HUGE_1G_FROM_BYTES};
use netmem_host::{
    proc::{Buddyinfo, Hugepages, page_size_bytes},
    source::Root,
};
use netmem_wire::filter::Rules;
use serde::Serialize;

use crate::{
    Failure, Outcome,
    args::{Args, Command, PlaneArgs, TuneHugepagesArgs},
    plane,
    report::{self, bytes},
};

/// What the command needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Need {
    /// `netmem.tune.hugepages/1`.
    schema: &'static str,
    /// The command.
    command: String,
    frames: u32,
    frame_bytes: u32,
    /// All frames.
    bytes: u64,
    /// For each size of huge pages that it tries, in its order.
    sizes: Vec<SizeNeed>,
}

/// What it needs in pages of a size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct SizeNeed {
    page_bytes: u64,
    needed: u64,
    /// Pages in the pool; null if there are none of that size here.
    total: Option<u64>,
    /// Those that a mapping could take.
    takeable: u64,
    /// What has to be reserved besides.
    missing: u64,
    /// The command that does it.
    reserve: Option<String>,
    /// Blocks of that size that free memory is in; null if not told.
    unfragmented: Option<u64>,
}

/// Runs the command.
///
/// # Errors
/// When it is no command that has packets' memory, its interface is not there, or the kernel does not tell
/// of huge pages.
pub(super) fn run(args: &TuneHugepagesArgs, out: &mut dyn Write) -> Result<Outcome, Failure> {
    let (interfaces, plane) = parse(&args.command)?;
    let ports: Vec<_> =
        interfaces.iter().map(|name| plane.ports(name, Rules::default(), "netmem")).collect();
    let frames = plane::frames(&ports, &plane)?;
    let need = Need::of(&Root::live(), &args.command.join(" "), frames, &plane)?;
    let printed = if args.json { report::json(out, &need) } else { print(out, &need) };
    printed.and_then(|()| out.flush()).map_err(Failure::output)?;
    let is_met = need.sizes.is_empty() || need.sizes.iter().any(|size| size.missing == 0);
    Ok(if is_met { Outcome::Done } else { Outcome::Finding })
}

/// The interfaces and the memory that a command line names.
fn parse(words: &[String]) -> Result<(Vec<String>, PlaneArgs), Failure> {
    let words = words.iter().map(String::as_str);
    let words = ["netmem"].into_iter().chain(words.skip_while(|word| *word == "netmem"));
    let parsed = Args::try_parse_from(words).map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        Failure::usage(first.trim_start_matches("error: "))
    })?;
    match parsed.command {
        Command::Respond(args) => Ok((vec![args.interface], args.plane)),
        Command::Forward(args) => Ok(([args.a].into_iter().chain(args.b).collect(), args.plane)),
        _ => Err(Failure::usage("that command has no memory for packets")
            .with_hint("respond and forward have")),
    }
}

impl Need {
    fn of(root: &Root, command: &str, frames: u32, plane: &PlaneArgs) -> Result<Self, Failure> {
        let bytes = u64::from(frames) * u64::from(plane.frame_bytes);
        let mut tiers: Vec<PageTier> = plane.pages.iter().map(|&pages| pages.into()).collect();
        if tiers.is_empty() {
            let from = usize::from(bytes < HUGE_1G_FROM_BYTES as u64);
            tiers = PageTier::ALL[from..].to_vec();
        }
        tiers.retain(|tier| matches!(tier, PageTier::Huge1G | PageTier::Huge2M));
        let sizes = match tiers.as_slice() {
            [] => Vec::new(),
            tiers => {
                let pools = Hugepages::read(root)
                    .map_err(|why| Failure::missing(format!("tune hugepages: {why}")))?;
                let sizes = tiers.iter().map(|tier| tier.page_bytes() as u64);
                sizes.map(|page_bytes| SizeNeed::of((root, &pools), bytes, page_bytes)).collect()
            }
        };
        Ok(Self {
            schema: "netmem.tune.hugepages/1",
            command: command.to_owned(),
            frames,
            frame_bytes: plane.frame_bytes,
            bytes,
            sizes,
        })
    }
}

impl SizeNeed {
    fn of((root, all): (&Root, &Hugepages), bytes: u64, page_bytes: u64) -> Self {
        let needed = bytes.div_ceil(page_bytes);
        let mut pools = all.pools.iter();
        let own = pools.find(|pool| pool.node.is_none() && pool.page_bytes == page_bytes);
        let takeable = all.takeable(page_bytes, None);
        let missing = needed.saturating_sub(takeable);
        let reserve = own.filter(|_| missing > 0).map(|pool| {
            let kib = page_bytes >> 10;
            let file = format!("/sys/kernel/mm/hugepages/hugepages-{kib}kB/nr_hugepages");
            format!("echo {} > {file}", pool.total.saturating_add(missing))
        });
        let total = own.map(|pool| pool.total);
        let unfragmented = unfragmented(root, page_bytes);
        Self { page_bytes, needed, total, takeable, missing, reserve, unfragmented }
    }
}

/// How many blocks of that size free memory has.
fn unfragmented(root: &Root, page_bytes: u64) -> Option<u64> {
    let base_bytes = page_size_bytes(root).ok()?;
    let order = (page_bytes / base_bytes.max(1)).max(1).ilog2() as usize;
    let zones = Buddyinfo::read(root).ok()?.zones;
    // What is larger than the allocator's largest block does not show.
    zones
        .iter()
        .all(|zone| order < zone.blocks_by_order.len())
        .then(|| zones.iter().map(|zone| zone.available(order)).fold(0, u64::saturating_add))
}

fn print(out: &mut dyn Write, need: &Need) -> io::Result<()> {
    let Need { command, frames, frame_bytes, bytes: all, sizes, .. } = need;
    writeln!(out, "{command}: {frames} frames of {frame_bytes} bytes = {}", bytes(*all))?;
    if sizes.is_empty() {
        writeln!(out, "it takes no huge pages")?;
    }
    for size in sizes {
        let SizeNeed { needed, takeable, missing, .. } = size;
        let name = bytes(size.page_bytes);
        let Some(total) = size.total else {
            writeln!(out, "pages of {name}: needs {needed}, this machine has none of that size")?;
            continue;
        };
        write!(out, "pages of {name}: needs {needed}, {takeable} of {total} can be taken")?;
        let Some(reserve) = &size.reserve else {
            writeln!(out, ": enough")?;
            continue;
        };
        writeln!(out, ": {missing} missing")?;
        writeln!(out, "  reserve   {reserve}")?;
        match size.unfragmented {
            Some(blocks) if blocks >= *missing => {
                writeln!(out, "  memory    {blocks} such blocks are free")?;
            }
            Some(blocks) => {
                writeln!(out, "  memory    only {blocks} such blocks are free: reserve at boot")?;
            }
            None => writeln!(out, "  memory    may not be there in one piece: reserve at boot")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    /// A machine with pools of both sizes, of which `free` pages of 2 MiB are free and two promised.
    fn machine(folder: &Path, free: u64) -> Root {
        for (size, total, free, reserved) in [("2048", 20, free, 2), ("1048576", 0, 0, 0)] {
            let pool = folder.join(format!("sys/kernel/mm/hugepages/hugepages-{size}kB"));
            fs::create_dir_all(&pool).unwrap();
            let files = [
                ("nr_hugepages", total),
                ("free_hugepages", free),
                ("surplus_hugepages", 0),
                ("resv_hugepages", reserved),
                ("nr_overcommit_hugepages", 0),
            ];
            for (file, number) in files {
                fs::write(pool.join(file), format!("{number}\n")).unwrap();
            }
        }
        Root::at(folder)
    }

    /// Has failed with: promised pages counted as free, and the pool's size set to what is missing.
    #[test]
    fn what_is_missing_is_added_to_the_pool() {
        let folder = std::env::temp_dir().join(format!("netmem-hugepages-{}", std::process::id()));
        let need = |free, line: &str| {
            let (_, plane) = parse(&words(line)).unwrap();
            Need::of(&machine(&folder, free), line, plane.frames.unwrap(), &plane).unwrap()
        };
        let enough = need(10, "forward a b --frames 8192");
        assert_eq!((enough.bytes, enough.sizes.len()), (16 << 20, 1));
        assert_eq!((enough.sizes[0].needed, enough.sizes[0].missing), (8, 0));
        assert_eq!(enough.sizes[0].reserve, None);
        let short = need(9, "netmem respond a --ip 192.0.2.1 --frames 8192");
        assert_eq!((short.sizes[0].takeable, short.sizes[0].missing), (7, 1));
        let command = "echo 21 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
        assert_eq!(short.sizes[0].reserve.as_deref(), Some(command));
        // From 512 MiB on pages of 1 GiB are tried first.
        let large = need(9, "forward a --frames 262144");
        let sizes: Vec<_> = large.sizes.iter().map(|size| (size.page_bytes, size.needed)).collect();
        assert_eq!(sizes, [(1 << 30, 1), (2 << 20, 256)]);
        assert_eq!(need(9, "forward a --frames 1 --pages thp,4k").sizes, []);
        let odd = need(9, "forward a --frames 1025 --frame-bytes 4096 --pages 2m");
        assert_eq!(odd.sizes[0].needed, 3);
        // What cannot be read is not none.
        let pool = folder.join("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
        let asked = |line: &str| {
            let (_, plane) = parse(&words(line)).unwrap();
            fs::write(&pool, "many\n").unwrap();
            Need::of(&Root::at(&folder), line, plane.frames.unwrap(), &plane)
        };
        let unread = asked("forward a --frames 1025 --pages 2m").unwrap_err();
        assert_eq!(unread.outcome(), Outcome::Missing);
        assert!(unread.to_string().contains("nr_hugepages"), "{unread}");
        assert_eq!(asked("forward a --frames 1 --pages 4k").unwrap().sizes, []);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn only_commands_with_packets_have_memory() {
        assert_eq!(parse(&words("forward a b")).unwrap().0, ["a", "b"]);
        for bad in ["top", "forward", "forward a --frames 0", "nothing"] {
            assert_eq!(parse(&words(bad)).unwrap_err().outcome(), Outcome::Usage, "{bad}");
        }
    }
}
