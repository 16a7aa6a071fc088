//! The value of a word on this machine: which file or probe tells it, and what it says.

use std::{fmt, fs, io::Read, path::Path};

use flate2::read::GzDecoder;
use netmem_host::source::{self, Reading, Root, SourceState, Unavailable};
use serde::Serialize;

use crate::doctor::probe;

/// How long a kernel's list of options may be.
const LARGEST_TEXT_BYTES: u64 = 16 << 20;

/// A value, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Value {
    /// A path, a sysctl's name, or what was tried.
    pub source: String,
    /// The value, with the source's own words and units; nothing where it cannot be had.
    pub value: Option<String>,
    /// Why not.
    pub unavailable: Option<Unavailable>,
}

/// How a value is read. Files are below `/proc`, and those below `net/` the calling thread's network
/// namespace's.
#[derive(Debug, Clone, Copy)]
pub enum Now {
    /// A sysctl, by its name with dots.
    Sysctl(&'static str),
    /// The first line of a file that starts so.
    Line(&'static str, &'static str),
    /// Of a table with a header: file, row by its first word, and column by its name.
    Column(&'static str, &'static str, &'static str),
    /// A name that `/proc/net/netstat` has, in any of its groups.
    Netstat(&'static str),
    /// How many lines a file of `/proc/net` has behind its header, and of what.
    Lines(&'static str, &'static str),
    /// A file below `/sys`.
    Sys(&'static str),
    /// A file of debugfs.
    Debug(&'static str),
    /// How many entries a folder has: `proc` or `sys`, the folder, and of what.
    Count(&'static str, &'static str, &'static str),
    /// Where a link below `/proc` leads to.
    Link(&'static str),
    /// A slab cache.
    Slab(&'static str),
    /// An event of the kernel's tracing.
    Tracepoint(&'static str),
    /// An option that the kernel was built with.
    Config(&'static str),
    /// Something that is tried: see [`probe`].
    Probe(&'static str),
}

impl Now {
    /// Reads the value.
    pub fn read(&self, root: &Root) -> Value {
        let (source, reading) = match *self {
            Self::Sysctl(name) => (name.to_owned(), sysctl(root, name)),
            Self::Line(file, start) => named(proc(root, file), |path| line(path, start)),
            Self::Column(file, row, column) => {
                let (path, reading) = named(proc(root, file), |path| cell(path, row, column));
                (format!("{path} {row} {column}"), reading)
            }
            Self::Netstat(name) => {
                let (path, reading) = named(root.net("netstat"), |path| netstat(path, name));
                (format!("{path} {name}"), reading)
            }
            Self::Lines(file, of) => named(root.net(file), |path| {
                text(path).map(|text| format!("{} {of}", text.lines().skip(1).count()))
            }),
            Self::Sys(file) => named(root.sys(file), |path| text(path).map(|text| joined(&text))),
            Self::Debug(file) => named(root.sys("kernel/debug").join(file), |path| {
                text(path).map(|text| joined(&text))
            }),
            Self::Count(top, folder, of) => {
                let path = if top == "sys" { root.sys(folder) } else { root.proc(folder) };
                named(path, |path| entries(path).map(|count| format!("{count} {of}")))
            }
            Self::Link(file) => named(root.proc(file), |path| {
                let target = fs::read_link(path);
                let target = target.map_err(|e| Unavailable::by_io(path.display().to_string(), &e));
                target.map(|target| target.display().to_string())
            }),
            Self::Slab(name) => (format!("slab cache {name}"), slab(root, name)),
            Self::Tracepoint(event) => {
                let reading = tracepoint(root, event).map(|()| "there".to_owned());
                (format!("tracepoint {}", event.replace('/', ":")), reading)
            }
            Self::Config(name) => (name.to_owned(), config(root, name)),
            Self::Probe(what) => (what.to_owned(), probe::by_name(what)),
        };
        let (value, unavailable) = match reading {
            Ok(value) => (Some(value), None),
            Err(unavailable) => (None, Some(unavailable)),
        };
        Value { source, value, unavailable }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.value, &self.unavailable) {
            (Some(value), _) => write!(f, "{}: {value}", self.source),
            (None, Some(why)) => {
                write!(f, "{}: not known, {}: {}", self.source, why.state, why.reason)
            }
            (None, None) => write!(f, "{}: not known", self.source),
        }
    }
}

/// Reads a sysctl by its name with dots, as the kernel prints it, its numbers apart by one space.
///
/// # Errors
/// When there is none of the name here, as global ones are not in a network namespace, or it may not
/// be read.
pub fn sysctl(root: &Root, name: &str) -> Reading<String> {
    text(&root.proc("sys").join(name.replace('.', "/"))).map(|text| joined(&text))
}

/// Reads a file as text without what does not belong into one.
///
/// # Errors
/// As [`source::read`].
pub(crate) fn text(path: &Path) -> Reading<String> {
    source::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The value of an option that the kernel was built with: `y`, `m`, a text, or `not set`.
///
/// # Errors
/// When neither `/proc/config.gz` nor a file below `/boot` tells.
pub(crate) fn config(root: &Root, name: &str) -> Reading<String> {
    let text = match packed(&root.proc("config.gz")) {
        Ok(text) => text,
        Err(unavailable) if !root.is_live() => return Err(unavailable),
        Err(_) => {
            let release = text(&root.proc("sys/kernel/osrelease"))?;
            text(Path::new(&format!("/boot/config-{}", release.trim())))?
        }
    };
    let set = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    Ok(set.unwrap_or("not set").to_owned())
}

/// Reads a file of gzip as text, as far as such a text may go.
fn packed(path: &Path) -> Reading<String> {
    let bytes = source::read(path)?;
    let mut text = String::new();
    let mut reader = GzDecoder::new(&bytes[..]).take(LARGEST_TEXT_BYTES);
    let read = reader.read_to_string(&mut text);
    read.map_err(|error| Unavailable::malformed(path.display().to_string(), error.to_string()))?;
    Ok(text)
}

/// Finds an event of the kernel's tracing, `GROUP/NAME`, in the file system that shows them.
///
/// # Errors
/// When that is not mounted or closed to this process, or has no such event.
pub(crate) fn tracepoint(root: &Root, event: &str) -> Reading<()> {
    let events = root.sys("kernel/tracing/events");
    match entries(&events) {
        Err(unavailable) if unavailable.state == SourceState::Absent => {
            let reason = "tracefs is not mounted there";
            Err(Unavailable::absent(events.display().to_string(), reason))
        }
        Err(unavailable) => Err(unavailable),
        Ok(_) => entries(&events.join(event)).map(drop),
    }
}

fn proc(root: &Root, file: &str) -> std::path::PathBuf {
    match file.strip_prefix("net/") {
        Some(file) => root.net(file),
        None => root.proc(file),
    }
}

fn named(
    path: std::path::PathBuf,
    read: impl FnOnce(&Path) -> Reading<String>,
) -> (String, Reading<String>) {
    let reading = read(&path);
    (path.display().to_string(), reading)
}

fn line(path: &Path, start: &str) -> Reading<String> {
    let text = text(path)?;
    let line = text.lines().find(|line| line.starts_with(start));
    line.map(joined).ok_or_else(|| missing(path, start))
}

fn cell(path: &Path, row: &str, column: &str) -> Reading<String> {
    let text = text(path)?;
    let mut lines = text.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let index = lines.next().and_then(|header| header.iter().position(|name| *name == column));
    let row = lines.find(|words| words.first() == Some(&row));
    let cell =
        row.zip(index).and_then(|(row, index)| row.get(index).map(|cell| (*cell).to_owned()));
    cell.ok_or_else(|| missing(path, column))
}

/// `TcpExt: A B` and below it `TcpExt: 1 2`, group after group.
fn netstat(path: &Path, name: &str) -> Reading<String> {
    let text = text(path)?;
    let lines: Vec<&str> = text.lines().collect();
    let found = lines.chunks_exact(2).find_map(|pair| {
        let index = pair[0].split_ascii_whitespace().position(|word| word == name)?;
        pair[1].split_ascii_whitespace().nth(index)
    });
    found.map(str::to_owned).ok_or_else(|| missing(path, name))
}

/// A cache's line of `/proc/slabinfo`: name, active and all objects, bytes an object, ... .
fn slab(root: &Root, name: &str) -> Reading<String> {
    let path = root.proc("slabinfo");
    let text = text(&path)?;
    let line = text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some(name)).then(|| words.collect::<Vec<_>>())
    });
    match line.as_deref() {
        Some([active, all, bytes, ..]) => {
            Ok(format!("{active} of {all} objects in use, {bytes} bytes each"))
        }
        Some(_) => Err(Unavailable::malformed(path.display().to_string(), "a line is too short")),
        None => {
            let alias = root.sys("kernel/slab").join(name);
            let reason = match fs::read_link(&alias) {
                Ok(shared) => format!("merged with others as {}", shared.display()),
                Err(_) => "this kernel has no such cache".to_owned(),
            };
            Err(Unavailable::absent(path.display().to_string(), reason))
        }
    }
}

fn entries(path: &Path) -> Reading<usize> {
    let entries = fs::read_dir(path);
    entries.map(Iterator::count).map_err(|e| Unavailable::by_io(path.display().to_string(), &e))
}

fn missing(path: &Path, what: &str) -> Unavailable {
    Unavailable::absent(path.display().to_string(), format!("it does not have {what}"))
}

fn joined(text: &str) -> String {
    text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}
