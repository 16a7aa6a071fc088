//! Every network namespace that lives, and what keeps it.
//!
//! ```text
//!  /proc/PID/task/TID/ns/net -> net:[4026531840]                     a thread is in it
//!  /proc/PID/task/TID/mountinfo: ... net:[77] /run/netns/blue - nsfs  it has a name, or a mount
//!  /proc/PID/fd/7            -> net:[4026532281]                     a descriptor holds it
//! ```
//! The kernel has no list of them. One that is kept by a socket, a tunnel or a BPF link alone cannot be
//! seen in `/proc`, and is missing here; [`Namespaces::gap`] says when others may be.
//!
//! Mounts are those of every mount namespace that a thread is in. A way into a namespace may lead
//! somewhere else a moment later, when a process has ended: [`enter`] looks at the number again.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::lab::NetNs;
use crate::process::numbered;
use crate::source::{Reading, Root, Unavailable, read};

/// Where `ip netns` puts names; `/var/run` leads to `/run`.
const NAMES: [&str; 2] = ["/run/netns", "/var/run/netns"];

/// The network namespaces that were found, by their numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Namespaces {
    /// Each once, in the order of their numbers.
    pub all: Vec<Namespace>,
    /// Why some may be missing, if any.
    pub gap: Option<Unavailable>,
}

/// A network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Namespace {
    /// Its number, as in `net:[4026531840]`; a later one may get it when this one is gone.
    pub inode: u64,
    /// A path that leads to it.
    pub way: PathBuf,
    /// Its names, as `ip netns` knows them, in any mount namespace.
    pub names: Vec<String>,
    /// Of them, those in the caller's own mount namespace.
    #[serde(skip)]
    pub own_names: Vec<String>,
    /// Other mounts of it.
    pub mounts: Vec<PathBuf>,
    /// The processes with a thread in it.
    pub pids: Vec<u32>,
    /// Of them, those whose first thread is in it.
    #[serde(skip)]
    pub whole_pids: Vec<u32>,
    /// Descriptors that hold it.
    pub descriptors: Vec<Descriptor>,
}

/// A descriptor of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Descriptor {
    /// The process.
    pub pid: u32,
    /// Its number there.
    pub fd: i32,
}

impl Namespaces {
    /// Looks for them.
    ///
    /// # Errors
    /// The folder of processes cannot be read.
    pub fn scan(root: &Root) -> Reading<Self> {
        let proc = root.proc("");
        fs::metadata(&proc)
            .map_err(|error| Unavailable::by_io(proc.display().to_string(), &error))?;
        let mut scan = Scan::default();
        let own_mounts = fs::read_link(root.proc("thread-self/ns/mnt")).ok();
        for (pid, process) in numbered(&proc) {
            for (number, thread) in numbered(&process.join("task")) {
                scan.thread((pid, number), &process, &thread);
                scan.mounts(&thread, own_mounts.as_deref());
            }
            scan.descriptors(pid, &process);
            scan.sees_first |= pid == 1;
        }
        Ok(scan.finish(&proc))
    }

    /// Returns the namespace with that name for `ip netns`, or else the one of the process of that number.
    ///
    /// The caller's own names come first, then those of other mount namespaces, as of containers; likewise
    /// the namespace of a process's first thread, then one of its other threads.
    ///
    /// # Errors
    /// There is none (absent), or none that can be seen (denied); or others have several of that name or
    /// number, and it is not told which is meant (absent).
    pub fn named(&self, name: &str) -> Reading<&Namespace> {
        let pid: Option<u32> = name.parse().ok();
        let has = |names: &[String]| names.iter().any(|known| known == name);
        let is_in = |pids: &[u32]| pid.is_some_and(|pid| pids.contains(&pid));
        let ranks: [&dyn Fn(&Namespace) -> bool; 4] = [
            &|one| has(&one.own_names),
            &|one| has(&one.names),
            &|one| is_in(&one.whole_pids),
            &|one| is_in(&one.pids),
        ];
        let source = format!("network namespace {name}");
        for rank in ranks {
            let mut found = self.all.iter().filter(|one| rank(one));
            match (found.next(), found.next()) {
                (Some(one), None) => return Ok(one),
                (None, _) => {}
                (Some(one), Some(other)) => {
                    let why =
                        format!("net:[{}] and net:[{}] are both that", one.inode, other.inode);
                    return Err(Unavailable::absent(source, why));
                }
            }
        }
        let why = "there is none of that name, and no process of that number";
        Err(match &self.gap {
            Some(gap) => Unavailable::denied(source, format!("{why}; {}", gap.reason)),
            None => Unavailable::absent(source, why),
        })
    }

    /// Returns the namespace with that number.
    pub fn of(&self, inode: u64) -> Option<&Namespace> {
        self.all.iter().find(|namespace| namespace.inode == inode)
    }
}

impl Namespace {
    /// Opens it: while that value lives, it lives.
    ///
    /// # Errors
    /// It has gone, or its way leads elsewhere by now (stale); or it may not be looked at.
    pub fn open(&self) -> Reading<NetNs> {
        let name = || format!("network namespace {}", self.inode);
        let gone = || Unavailable::stale(name(), format!("{} leads elsewhere", self.way.display()));
        let opened = NetNs::open(&self.way).map_err(|error| match error.errno() {
            Some(nix::libc::ENOENT | nix::libc::ESRCH) => gone(),
            _ => Unavailable { source: name(), ..Unavailable::from(&error) },
        })?;
        if opened.inode() == self.inode { Ok(opened) } else { Err(gone()) }
    }
}

/// Runs `work` in a namespace, on a fresh thread that ends with it, and returns its result.
///
/// A panic of `work` is passed on to the caller.
///
/// # Errors
/// The namespace has gone, or its way leads elsewhere by now (stale); the caller lacks
/// `CAP_SYS_ADMIN` (denied). The error names the namespace.
pub fn enter<T: Send>(namespace: &Namespace, work: impl FnOnce() -> T + Send) -> Reading<T> {
    let name = || format!("network namespace {}", namespace.inode);
    let opened = namespace.open()?;
    opened.run(work).map_err(|error| Unavailable { source: name(), ..Unavailable::from(&error) })
}

/// What has been found so far.
#[derive(Debug, Default)]
struct Scan {
    found: BTreeMap<u64, Found>,
    /// Mount namespaces that have been looked at.
    mounts: BTreeSet<PathBuf>,
    closed: BTreeSet<PathBuf>,
    sees_first: bool,
}

#[derive(Debug, Default)]
struct Found {
    /// The best way first: a thread's, a mount's, a descriptor's.
    ways: [Option<PathBuf>; 3],
    names: BTreeSet<String>,
    own_names: BTreeSet<String>,
    mounts: BTreeSet<PathBuf>,
    pids: BTreeSet<u32>,
    whole_pids: BTreeSet<u32>,
    descriptors: BTreeSet<Descriptor>,
}

impl Scan {
    fn thread(&mut self, (pid, number): (u32, u32), process: &Path, thread: &Path) {
        let way = thread.join("ns/net");
        match fs::read_link(&way) {
            Ok(target) => {
                if let Some(inode) = namespace_inode(&target.to_string_lossy()) {
                    let found = self.found.entry(inode).or_default();
                    found.pids.insert(pid);
                    if number == pid {
                        found.whole_pids.insert(pid);
                    }
                    found.ways[0].get_or_insert(way);
                }
            }
            Err(error) => self.note(process, &error),
        }
    }

    fn descriptors(&mut self, pid: u32, process: &Path) {
        let entries = match fs::read_dir(process.join("fd")) {
            Ok(entries) => entries,
            Err(error) => return self.note(process, &error),
        };
        for entry in entries.flatten() {
            let Ok(target) = fs::read_link(entry.path()) else { continue };
            let fd = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let (Some(inode), Some(fd)) = (namespace_inode(&target.to_string_lossy()), fd) {
                let found = self.found.entry(inode).or_default();
                found.descriptors.insert(Descriptor { pid, fd });
                found.ways[2].get_or_insert_with(|| entry.path());
            }
        }
    }

    fn mounts(&mut self, thread: &Path, own: Option<&Path>) {
        let Ok(mounts) = fs::read_link(thread.join("ns/mnt")) else { return };
        let is_own = own == Some(mounts.as_path());
        if !self.mounts.insert(mounts) {
            return;
        }
        let text = read(&thread.join("mountinfo")).unwrap_or_default();
        for (inode, path) in parse_mounts(&text) {
            let way = match path.strip_prefix("/") {
                Ok(below) if !is_own => thread.join("root").join(below),
                _ => path.clone(),
            };
            let found = self.found.entry(inode).or_default();
            found.ways[1].get_or_insert(way);
            let is_name = path.parent().is_some_and(|folder| NAMES.iter().any(|n| folder == *n));
            match path.file_name().filter(|_| is_name) {
                Some(name) => {
                    let name = name.to_string_lossy().into_owned();
                    if is_own {
                        found.own_names.insert(name.clone());
                    }
                    found.names.insert(name);
                }
                None => {
                    found.mounts.insert(path);
                }
            }
        }
    }

    /// Notes a process that does not let itself be looked into; one that has ended is nobody.
    fn note(&mut self, process: &Path, error: &io::Error) {
        if error.kind() == io::ErrorKind::PermissionDenied && process.exists() {
            self.closed.insert(process.to_owned());
        }
    }

    fn finish(self, proc: &Path) -> Namespaces {
        let source = proc.display().to_string();
        let gap = match (self.closed.len(), self.sees_first) {
            (0, true) => None,
            (0, false) => Some(Unavailable::denied(source, "not all processes show")),
            (closed, _) => {
                let why = format!("{closed} processes could not be looked into");
                Some(Unavailable::denied(source, why))
            }
        };
        let all = self.found.into_iter().filter_map(|(inode, found)| {
            Some(Namespace {
                inode,
                way: found.ways.into_iter().flatten().next()?,
                names: found.names.into_iter().collect(),
                own_names: found.own_names.into_iter().collect(),
                mounts: found.mounts.into_iter().collect(),
                pids: found.pids.into_iter().collect(),
                whole_pids: found.whole_pids.into_iter().collect(),
                descriptors: found.descriptors.into_iter().collect(),
            })
        });
        Namespaces { all: all.collect(), gap }
    }
}

pub(crate) fn namespace_inode(target: &str) -> Option<u64> {
    target.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

/// Reads the mounts of network namespaces: of a line of `/proc/PID/mountinfo` the fourth field is what
/// is mounted, the fifth where, and the type stands behind ` - `.
fn parse_mounts(mountinfo: &[u8]) -> Vec<(u64, PathBuf)> {
    let mount = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ').skip(3);
        let inode = namespace_inode(std::str::from_utf8(fields.next()?).ok()?)?;
        let path = PathBuf::from(OsString::from_vec(unescape(fields.next()?)));
        fields.skip_while(|field| *field != b"-").nth(1).filter(|kind| *kind == b"nsfs")?;
        Some((inode, path))
    };
    mountinfo.split(|byte| *byte == b'\n').filter_map(mount).collect()
}

/// Blanks, line ends and backslashes stand as `\` and three octal digits.
fn unescape(mut field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    while let [first, rest @ ..] = field {
        let octal = rest.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let octal = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal.filter(|_| *first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                field = &rest[3..];
            }
            None => {
                bytes.push(*first);
                field = rest;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceState;

    #[test]
    fn mounts_are_read() {
        let text = b"9 8 0:4 net:[4026532281] /run/netns/blue rw shared:1 - nsfs nsfs rw\n\
            9 8 0:4 mnt:[4026532282] /run/mnt rw - nsfs nsfs rw\n\
            9 8 0:4 net:[77] /a\\040b\\134c\\9 rw - nsfs nsfs rw\n\
            9 8 0:4 net:[78] /x rw - tmpfs nsfs rw\nnet:[1]\n9 8 7 net:[x] / - nsfs\n";
        let expected = [(4026532281, "/run/netns/blue".into()), (77, "/a b\\c\\9".into())];
        assert_eq!(parse_mounts(text), expected);
    }

    #[test]
    fn a_way_that_leads_elsewhere_is_stale() {
        let own = Namespace { inode: 1, way: "/proc/self/ns/net".into(), ..Namespace::default() };
        let gone = Namespace { way: "/proc/4294967295/ns/net".into(), ..own.clone() };
        for namespace in [own, gone] {
            let unavailable = enter(&namespace, || ()).unwrap_err();
            assert_eq!(unavailable.state, SourceState::Stale);
            assert_eq!(unavailable.source, "network namespace 1");
        }
    }

    /// Has failed with: the lowest number taken of all that have the name.
    #[test]
    fn own_names_and_whole_processes_come_first() {
        let one = |inode, own: &[&str], whole: &[u32]| Namespace {
            inode,
            names: vec!["blue".to_owned()],
            own_names: own.iter().map(ToString::to_string).collect(),
            pids: vec![7],
            whole_pids: whole.to_vec(),
            ..Namespace::default()
        };
        let of = |all: [Namespace; 2], name: &str| {
            let all = Namespaces { all: all.to_vec(), gap: None };
            all.named(name).map(|one| one.inode).map_err(|why| why.reason)
        };
        assert_eq!(of([one(1, &[], &[]), one(2, &["blue"], &[7])], "blue"), Ok(2));
        assert_eq!(of([one(1, &[], &[]), one(2, &["blue"], &[7])], "7"), Ok(2));
        for name in ["blue", "7"] {
            let why = of([one(1, &[], &[]), one(2, &[], &[])], name).unwrap_err();
            assert_eq!(why, "net:[1] and net:[2] are both that");
        }
        assert!(of([one(1, &[], &[]), one(2, &[], &[])], "red").is_err());
    }
}
