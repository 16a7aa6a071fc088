//! What we say of real and hostile captures, beside what tshark says, field by field.
//!
//! For each packet the two give, for each field, the values of all headers from the outside in. They
//! have to be equal. Where our dissection ends in bytes that are no layer of ours, tshark may have
//! more: what it found there is counted by name. Everything else is a difference, unless one of the
//! rules in `differential/rules.rs` says why it may be. No rule knows a file's name.
//!
//! It has failed on: checksums without the final destination of a routing header; datagrams not verified
//! because their packet was cut; ARP addresses read where one of them is cut off, or only where all are
//! of Ethernet and IPv4.
//!
//! `NETMEM_PCAPS` names the folder of the captures: `cargo xtask differential` sets it, since tshark
//! takes minutes. Without it our side alone dissects `tests/pcaps`. `NETMEM_DIFFERENTIAL_SHOW=n` shows so many differences, 20 by default.
#![allow(clippy::unwrap_used, reason = "a test: an error where none may be is a failure")]
#![allow(clippy::print_stderr, reason = "what was compared is told to a person")]

#[path = "differential/fields.rs"]
mod fields;
#[path = "differential/rules.rs"]
mod rules;
#[path = "differential/tshark.rs"]
mod tshark;

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File, OpenOptions},
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

use fields::{NAMES, Values};
use netmem_cli::capture_file::CaptureFile;
use netmem_wire::dissect::{LinkType, dissect};

const TEST: &str = "our_fields_are_those_of_tshark";
/// Longer than this our side may not take for one file.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// What was compared, and what came of it.
#[derive(Debug, Default)]
struct Summary {
    files: u64,
    packets: u64,
    values: u64,
    other_link_types: u64,
    /// Files of link types that neither reads.
    refused: u64,
    /// What tshark found in bytes that are no layer of ours.
    behind: BTreeMap<String, u64>,
    /// Differences that a rule allows, by its name.
    allowed: BTreeMap<&'static str, u64>,
    /// The others: by field, then each in words.
    differences: BTreeMap<&'static str, u64>,
    failures: Vec<String>,
}

#[test]
fn our_fields_are_those_of_tshark() {
    let Some(folder) = env::var_os("NETMEM_PCAPS").map(PathBuf::from) else { return };
    if !tshark::is_here() {
        return skip("tshark is not installed");
    }
    let files = Mutex::new(captures(&folder));
    assert!(!files.lock().unwrap().is_empty(), "{}: no capture", folder.display());
    let summary = Mutex::new(Summary::default());
    // tshark takes a third of a second to start: two at once.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(path) = { files.lock().unwrap().pop() } {
                    let of_file = compare_file(&path);
                    summary.lock().unwrap().add(of_file);
                }
            });
        }
    });
    let summary = summary.into_inner().unwrap();
    summary.print();
    assert!(summary.failures.is_empty(), "{} differences or failures", summary.failures.len());
}

/// No panic, and no file takes long.
#[test]
fn our_side_reads_every_capture() {
    let paths = captures(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/pcaps"));
    assert!(paths.len() >= 414, "{}", paths.len());
    let mut packets = 0;
    for path in paths {
        let ours = ours(&path).unwrap_or_else(|what| panic!("{}: {what}", path.display()));
        packets += ours.iter().filter(|packet| packet.values.is_some()).count();
    }
    assert!(packets > 5000, "{packets}");
}

fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
    if let Some(path) = env::var_os("NETMEM_SKIPS") {
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        writeln!(file, "{TEST}: {reason}").unwrap();
    }
}

/// Everything in the folder that is no text.
fn captures(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_text = |path: &Path| {
        path.ends_with("LICENSE") || path.extension().is_some_and(|extension| extension == "md")
    };
    let mut paths: Vec<_> = paths.filter(|path| path.is_file() && !is_text(path)).collect();
    paths.sort();
    paths.reverse();
    paths
}

/// One packet as we see it.
struct Ours {
    /// None for a link type that is not read.
    values: Option<Values>,
    /// For what is told of a difference.
    bytes: Vec<u8>,
}

/// Our side, timed; a panic is a failure of the file.
fn ours(path: &Path) -> Result<Vec<Ours>, String> {
    let start = Instant::now();
    let read = || -> Vec<Ours> {
        let Ok(mut file) = CaptureFile::new(File::open(path).unwrap()) else { return Vec::new() };
        let mut packets = Vec::new();
        while let Ok(Some(record)) = file.next_record() {
            let link_type =
                u16::try_from(record.link_type).map_or(LinkType::Other(0), LinkType::from_linktype);
            let values = link_type.is_supported().then(|| {
                let level = dissect(link_type, record.bytes);
                // The line is made too: it must not panic either.
                assert!(!level.to_string().contains('\n'));
                Values::of(&level)
            });
            packets.push(Ours { values, bytes: record.bytes.to_vec() });
        }
        packets
    };
    let packets = catch_unwind(AssertUnwindSafe(read)).map_err(|_| "panicked".to_owned())?;
    match start.elapsed() {
        long if long > TIME_LIMIT => Err(format!("took {long:?}")),
        _ => Ok(packets),
    }
}

fn compare_file(path: &Path) -> Summary {
    let mut summary = Summary { files: 1, ..Summary::default() };
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let both = ours(path).and_then(|ours| Ok((ours, tshark::read(path)?)));
    let (ours, (theirs, ended)) = match both {
        Ok(both) => both,
        Err(what) => {
            summary.failures.push(format!("{name}: {what}"));
            return summary;
        }
    };
    let is_refused = theirs.is_empty() && ended.is_some();
    if is_refused && ours.iter().all(|packet| packet.values.is_none()) {
        summary.refused += 1;
    } else if ours.len() != theirs.len() {
        let (count, others) = (ours.len(), theirs.len());
        let failure = format!("{name}: {count} packets, tshark has {others}: {ended:?}");
        summary.failures.push(failure);
    }
    for (index, (our, their)) in ours.iter().zip(&theirs).enumerate() {
        summary.packets += 1;
        match &our.values {
            None => summary.other_link_types += 1,
            Some(values) => {
                let place = format!("{name} packet {}", index + 1);
                summary.compare(&place, values, their, &our.bytes);
            }
        }
    }
    summary
}

impl Summary {
    fn compare(&mut self, place: &str, our: &Values, their: &tshark::Packet, bytes: &[u8]) {
        let mut went_deeper = false;
        for (index, name) in NAMES.iter().enumerate() {
            let (ours, theirs) = (our.get(name), their.values[index].as_slice());
            self.values += ours.len() as u64;
            if ours == theirs {
                continue;
            }
            if our.is_open && theirs.starts_with(ours) {
                went_deeper = true;
            } else if let Some(rule) = rules::allowing(name, our, their, theirs) {
                *self.allowed.entry(rule).or_default() += 1;
            } else {
                *self.differences.entry(name).or_default() += 1;
                let hex: String = bytes.iter().take(200).map(|b| format!("{b:02x}")).collect();
                self.failures.push(format!(
                    "{place}: {name}: {ours:?}, tshark {theirs:?} ({}; {}) {hex}",
                    our.line, their.protocols
                ));
            }
        }
        if went_deeper {
            *self.behind.entry(their.behind()).or_default() += 1;
        }
    }

    fn add(&mut self, other: Self) {
        self.files += other.files;
        self.packets += other.packets;
        self.values += other.values;
        self.other_link_types += other.other_link_types;
        self.refused += other.refused;
        for (name, count) in other.behind {
            *self.behind.entry(name).or_default() += count;
        }
        for (name, count) in other.allowed {
            *self.allowed.entry(name).or_default() += count;
        }
        for (name, count) in other.differences {
            *self.differences.entry(name).or_default() += count;
        }
        self.failures.extend(other.failures);
    }

    fn print(&self) {
        let Self { files, packets, values, other_link_types, refused, .. } = self;
        eprintln!("{files} files ({refused} of link types that neither reads)");
        eprintln!("{packets} packets ({other_link_types} of other link types)");
        eprintln!("{values} values of {} fields", NAMES.len());
        for (name, count) in &self.behind {
            eprintln!("  {count:7} packets end where tshark goes on: {name}");
        }
        for (name, count) in &self.allowed {
            eprintln!("  {count:7} fields allowed to differ: {name}");
        }
        for (name, count) in &self.differences {
            eprintln!("  {count:7} DIFFERENCES in {name}");
        }
        let show = env::var("NETMEM_DIFFERENTIAL_SHOW").ok().and_then(|n| n.parse().ok());
        for failure in self.failures.iter().take(show.unwrap_or(20)) {
            eprintln!("{failure}");
        }
    }
}
