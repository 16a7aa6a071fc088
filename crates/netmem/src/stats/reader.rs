//! The other side: pages of other processes, and where to find them. Nothing is trusted (D6): sizes and
//! lengths are bounded, loops end, texts are shown harmlessly, and a file without its seals, whose maker
//! could take pages away while they are read, is not mapped at all.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::{
    BYTE_ORDER, FIXED_WORDS, HEADER_WORDS, MAGIC, NAME, VERSION, WORD_BYTES,
    record::{Snapshot, decode},
    seqlock,
    text::LongName,
};
use crate::{
    Error, Result,
    error::errno_text,
    sync::{Loads, Ordering, fence},
    sys::{
        memfd::{SEALS, SealedFile, boottime_ns, seals},
        to_usize,
    },
};

/// Longer files are no pages, and this many areas are the most that is looked at.
const MAX_BYTES: u64 = 8 << 20;
const MAX_AREAS: u64 = 1024;
/// Pages of one process that are looked at.
const MAX_PAGES: usize = 16;
/// How often all areas of a page may be looked at again because their writers were at work: the first
/// looks follow each other, before the others it waits.
const LOOKS: u32 = 200;
const LOOKS_AT_ONCE: u32 = 100;
const PAUSE: Duration = Duration::from_micros(200);
/// A worker that has not published for this many intervals is stale.
const STALE_INTERVALS: u64 = 10;

/// What a page says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageReport {
    /// The process that made it, as it is numbered in its own process id namespace.
    pub pid: u32,
    /// What it does.
    pub command: LongName,
    /// When the page was made, in nanoseconds since boot (CLOCK_BOOTTIME).
    pub started_ns: u64,
    /// How often its workers mean to publish; 0 for whenever they like.
    pub interval_ns: u64,
    /// When it was read, on the same clock.
    pub read_ns: u64,
    /// What its workers say.
    pub areas: Vec<AreaReport>,
}

/// What a worker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AreaReport {
    /// What became of the worker, or of the look at it.
    pub state: AreaState,
    /// Whether it has not published for ten intervals, and has not ended.
    pub is_stale: bool,
    /// When it published last, in nanoseconds since boot (CLOCK_BOOTTIME).
    pub published_ns: u64,
    /// How often it has published.
    pub publishes: u64,
    /// Records for which there was no room.
    pub left_out: u64,
    /// Kinds of records that this version does not know.
    pub unknown_kinds: Vec<u32>,
    /// Whether something in it cannot be: then the snapshot has what could be read.
    pub is_damaged: bool,
    /// What it published.
    pub snapshot: Snapshot,
}

/// What became of a worker, or of the look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum AreaState {
    /// It publishes.
    Live = 1,
    /// It has ended; its last figures are left.
    Ended = 2,
    /// It was in the middle of writing whenever it was looked at: nothing is known of it.
    Busy = 3,
}

/// Whether anybody stands behind a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its process runs and publishes.
    Running,
    /// Its process is there, and no worker has published for ten intervals: stopped, or hung.
    Stale,
    /// Its process has ended; another one, which got a descriptor of it, keeps the page.
    Orphaned,
}

/// A page, and who holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The process that was looked into, as it is numbered here.
    pub pid: u32,
    /// Whether anybody stands behind it.
    pub standing: Standing,
    /// What it says.
    pub page: PageReport,
}

/// The pages of all processes that can be looked into.
#[derive(Debug, Default)]
pub struct Census {
    /// Each page once, by its own process if that is there.
    pub found: Vec<Found>,
    /// Processes with a page that cannot be read, and why.
    pub unreadable: Vec<(u32, Error)>,
    /// Why there may be more: processes that may not be looked into. `None` means that those found are
    /// all of this process id namespace.
    pub not_known: Option<String>,
}

/// Reads the page behind a descriptor.
///
/// # Errors
/// When it is no page, one of a version that this one cannot read, or its seals are missing.
pub fn read_fd(fd: impl AsFd) -> Result<PageReport> {
    read(fd.as_fd(), &format!("memfd {NAME}"))
}

/// Reads the pages of one process, by its number here: none, one, or more where several parts of a
/// program each make one.
///
/// # Errors
/// When there is no such process, it may not be looked into, or its page cannot be read.
pub fn of_process(pid: u32) -> Result<Vec<Found>> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let mut all = Vec::new();
    look_into(pid, &folder, &mut |held| {
        all.push(held);
    })
    .map_err(|error| {
        let gone = error.kind() == io::ErrorKind::NotFound;
        let hint = if gone { "the process has ended" } else { "CAP_SYS_PTRACE may change that" };
        Error::os("look into", format!("process {pid}"), error).with_hint(hint)
    })?;
    all.into_iter().map(|held| held.page.map(|page| found(pid, held.is_owner, page))).collect()
}

/// Reads the pages of all processes.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn all() -> Result<Census> {
    census(Path::new("/proc"))
}

fn census(proc: &Path) -> Result<Census> {
    let mut pages: BTreeMap<(u64, u64), (u32, Held)> = BTreeMap::new();
    let mut closed = Vec::new();
    let mut sees_first = false;
    let entries =
        fs::read_dir(proc).map_err(|error| Error::os("read", proc.display().to_string(), error))?;
    for entry in entries.flatten() {
        let Some(pid) = number(&entry.file_name()) else { continue };
        sees_first |= pid == 1;
        let folder = entry.path();
        let looked = look_into(pid, &folder, &mut |held| {
            let known = pages.get(&held.file);
            if known.is_none_or(|(_, known)| held.is_owner && !known.is_owner) {
                pages.insert(held.file, (pid, held));
            }
        });
        let is_closed = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        // The descriptors of a process that has just ended are refused as well.
        if looked.is_err_and(is_closed) && has_descriptors(&folder) {
            closed.push(pid);
        }
    }
    let mut census = Census::default();
    for (pid, held) in pages.into_values() {
        match held.page {
            Ok(page) => census.found.push(found(pid, held.is_owner, page)),
            Err(error) => census.unreadable.push((pid, error)),
        }
    }
    census.found.sort_by_key(|found| found.pid);
    let why = "permission denied, which CAP_SYS_PTRACE may change";
    census.not_known = match (&closed[..], sees_first) {
        ([], true) => None,
        ([], false) => Some("not all processes show in /proc".to_owned()),
        ([pid], _) => Some(format!("process {pid} could not be looked into: {why}")),
        (all, _) => Some(format!("{} processes could not be looked into: {why}", all.len())),
    };
    Ok(census)
}

/// A page that a process holds.
#[derive(Debug)]
struct Held {
    /// Device and inode: which page it is.
    file: (u64, u64),
    /// Whether the process is the one that made it.
    is_owner: bool,
    page: Result<PageReport>,
}

pub(super) fn found(pid: u32, is_owner: bool, page: PageReport) -> Found {
    let mut live = page.areas.iter().filter(|area| area.state != AreaState::Ended).peekable();
    let standing = if !is_owner {
        Standing::Orphaned
    } else if live.peek().is_some() && live.all(|area| area.is_stale) {
        Standing::Stale
    } else {
        Standing::Running
    };
    Found { pid, standing, page }
}

/// Gives each page among the descriptors in `/proc/PID` to `give`.
fn look_into(pid: u32, folder: &Path, give: &mut dyn FnMut(Held)) -> io::Result<()> {
    let mut pages = 0;
    for entry in fs::read_dir(folder.join("fd"))? {
        // A descriptor that was closed meanwhile is nobody's.
        let Ok(entry) = entry else { continue };
        match fs::read_link(entry.path()) {
            Ok(target) if is_page(&target) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
            _ => continue,
        }
        pages += 1;
        if pages > MAX_PAGES {
            break;
        }
        let file = match open(&entry.path()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
            Err(_) => continue,
        };
        let Ok(about) = file.metadata() else { continue };
        let page = read_once_sealed(&file, &format!("{NAME} of process {pid}"));
        // Without its number in its own namespace it passes for the owner: that is said of few.
        let own_pid = own_number(folder).unwrap_or(pid);
        let is_owner = page.as_ref().is_ok_and(|page| page.pid == own_pid);
        give(Held { file: (about.dev(), about.ino()), is_owner, page });
    }
    Ok(())
}

/// Opens what a link in `/proc/PID/fd` leads to, without waiting for anybody: it may have become
/// something else since it was read.
fn open(link: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(link)
}

fn is_page(target: &Path) -> bool {
    let name = target.to_str().and_then(|target| target.strip_prefix("/memfd:"));
    name.and_then(|name| name.strip_suffix(" (deleted)")) == Some(NAME)
}

fn number(name: &std::ffi::OsStr) -> Option<u32> {
    name.to_str()?.parse().ok()
}

/// The number of a process in its own process id namespace, the last of `NSpid:` (kernel 4.1).
fn own_number(folder: &Path) -> Option<u32> {
    let status = fs::read(folder.join("status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_whitespace().next_back()?.parse().ok()
}

/// Whether a process is there and has not ended: a zombie has no descriptors to hide.
fn has_descriptors(folder: &Path) -> bool {
    let Ok(stat) = fs::read(folder.join("stat")) else { return false };
    let stat = String::from_utf8_lossy(&stat);
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    !matches!(state, Some('Z' | 'X') | None)
}

/// Reads a page that may be in the making: its seals are the last thing that it gets.
fn read_once_sealed(file: &File, target: &str) -> Result<PageReport> {
    if seals(file.as_fd()).is_ok_and(|seals| seals & SEALS != SEALS) {
        thread::sleep(5 * PAUSE);
    }
    read(file.as_fd(), target)
}

fn read(fd: BorrowedFd<'_>, target: &str) -> Result<PageReport> {
    let refuse = |why: String| Err(Error::refused("read", target, why));
    let fail = |error| Error::os("read", target, error);
    let seals = match seals(fd) {
        Ok(seals) => seals,
        Err(error) => return refuse(format!("no sealed memfd: {}", errno_text(&error))),
    };
    // Pairs with the maker's fence between the header and the seals.
    fence(Ordering::Acquire);
    let missing = missing(seals);
    if !missing.is_empty() {
        return refuse(format!("its seals are missing: {}", missing.join(", ")));
    }
    // With the seals on, it stays as long as it is. The duplicate is for std to ask.
    let file = File::from(fd.try_clone_to_owned().map_err(fail)?);
    let len_bytes = file.metadata().map_err(fail)?.len();
    if len_bytes < (HEADER_WORDS * WORD_BYTES) as u64 || len_bytes > MAX_BYTES {
        return refuse(format!("{len_bytes} bytes are no page"));
    }
    let file = SealedFile::map(fd, to_usize(len_bytes)).map_err(fail)?;
    match report(&file.loads(), boottime_ns()) {
        Ok(page) => Ok(page),
        Err(why) => refuse(why),
    }
}

/// The names of the seals of a page that are not on.
fn missing(seals: libc::c_int) -> Vec<&'static str> {
    // F_SEAL_WRITE forbids more than F_SEAL_FUTURE_WRITE.
    let write = libc::F_SEAL_WRITE | libc::F_SEAL_FUTURE_WRITE;
    let wanted = [
        (libc::F_SEAL_SHRINK, "F_SEAL_SHRINK"),
        (libc::F_SEAL_GROW, "F_SEAL_GROW"),
        (write, "F_SEAL_FUTURE_WRITE"),
        (libc::F_SEAL_SEAL, "F_SEAL_SEAL"),
    ];
    wanted.iter().filter(|(seal, _)| seals & seal == 0).map(|&(_, name)| name).collect()
}

/// Reads all words of a page, or says why it is none.
pub(super) fn report(words: &Loads<'_>, read_ns: u64) -> std::result::Result<PageReport, String> {
    let Some(header) = words.part(0, HEADER_WORDS) else { return Err("too short".to_owned()) };
    let header: [u64; HEADER_WORDS] = std::array::from_fn(|at| header.load(at, Ordering::Relaxed));
    let [magic, order, version, start_bytes, area_bytes, areas, pid, started_ns, interval_ns, ..] =
        header;
    if magic != MAGIC {
        return Err("it does not start like a page".to_owned());
    }
    if order != BYTE_ORDER {
        return Err("it is in another byte order".to_owned());
    }
    if version != VERSION {
        return Err(format!("it has version {version}, and this netmem reads {VERSION}"));
    }
    let [.., c0, c1, c2, c3] = header;
    let (Ok(pid), true) = (u32::try_from(pid), is_layout(start_bytes, area_bytes)) else {
        return Err("its header is damaged".to_owned());
    };
    let mut page = PageReport {
        pid,
        command: LongName::from_words([c0, c1, c2, c3]),
        started_ns,
        interval_ns,
        read_ns,
        areas: Vec::new(),
    };
    let (start, area) = (to_usize(start_bytes) / WORD_BYTES, to_usize(area_bytes) / WORD_BYTES);
    let (mut looks, mut copy) = (LOOKS, Vec::new());
    for index in 0..to_usize(areas.min(MAX_AREAS)) {
        let first = area.checked_mul(index).and_then(|offset| offset.checked_add(start));
        let words = first.and_then(|first| words.part(first, area));
        let Some(words) = words else { return Err("its areas do not fit into it".to_owned()) };
        // Areas are given out in order: this one was not, and no later one.
        if words.load(0, Ordering::Relaxed) == 0 {
            break;
        }
        let is_whole = copy_whole(&words, &mut copy, &mut looks);
        page.areas.push(if is_whole { area_report(&copy, &page) } else { busy() });
    }
    Ok(page)
}

fn is_layout(start_bytes: u64, area_bytes: u64) -> bool {
    let is_whole = |bytes: u64| bytes.is_multiple_of(WORD_BYTES as u64) && bytes <= MAX_BYTES;
    is_whole(start_bytes)
        && is_whole(area_bytes)
        && start_bytes >= (HEADER_WORDS * WORD_BYTES) as u64
        && area_bytes >= ((2 + FIXED_WORDS) * WORD_BYTES) as u64
}

/// Looks until a state is whole, as long as the page's looks last.
fn copy_whole(words: &Loads<'_>, copy: &mut Vec<u64>, looks: &mut u32) -> bool {
    while !seqlock::try_read(words, copy) {
        if *looks == 0 {
            return false;
        }
        *looks -= 1;
        if *looks < LOOKS - LOOKS_AT_ONCE {
            thread::sleep(PAUSE);
        }
    }
    true
}

fn area_report(copy: &[u64], page: &PageReport) -> AreaReport {
    // As many words as the first one says, unless it cannot be.
    let is_cut = copy.first().is_none_or(|&used| used != copy.len() as u64 - 1);
    let Some(([_, state, published_ns, publishes, left_out], records)) = copy.split_first_chunk()
    else {
        return AreaReport { is_damaged: true, ..busy() };
    };
    let state = match *state {
        1 => Some(AreaState::Live),
        2 => Some(AreaState::Ended),
        _ => None,
    };
    let decoded = decode(records);
    let silent_ns = page.read_ns.saturating_sub(*published_ns);
    let is_silent =
        page.interval_ns > 0 && silent_ns > page.interval_ns.saturating_mul(STALE_INTERVALS);
    AreaReport {
        state: state.unwrap_or(AreaState::Live),
        is_stale: is_silent && state != Some(AreaState::Ended),
        published_ns: *published_ns,
        publishes: *publishes,
        left_out: *left_out,
        unknown_kinds: decoded.unknown_kinds,
        is_damaged: decoded.is_damaged || is_cut || state.is_none(),
        snapshot: decoded.snapshot,
    }
}

/// Nothing is known: the writer was at work whenever it was looked at.
fn busy() -> AreaReport {
    AreaReport {
        state: AreaState::Busy,
        is_stale: false,
        published_ns: 0,
        publishes: 0,
        left_out: 0,
        unknown_kinds: Vec::new(),
        is_damaged: false,
        snapshot: Snapshot::default(),
    }
}
