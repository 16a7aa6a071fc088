//! Which processes hold a BPF link or an AF_XDP socket, from their descriptors in `/proc`.
//!
//! ```text
//!  /proc/PID/fd/7     -> anon_inode:bpf_link       /proc/PID/fdinfo/7: link_id: 12
//!  /proc/PID/fd/9     -> socket:[4711]             extended attribute system.sockprotoname: XDP
//! ```
//! What `/proc` cannot show: descriptors of processes outside of our process id namespace or of
//! another user, and descriptors on their way through a Unix socket. [`Holders::gap`] says when the
//! first two may be, so that nobody takes "not seen" for "not there".
//!
//! Kernel: `link_id` in fdinfo 5.8.

mod cgroup;
mod identity;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use self::cgroup::Cgroups;
pub use self::identity::Identity;

/// `PROC_PID_INIT_INO` of include/linux/proc_ns.h: the namespace of all processes.
const ALL_PROCESSES: &str = "pid:[4026531836]";

/// A process that holds something.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// The kernel's short name of it, at most 15 bytes.
    pub name: String,
    /// Whether it can do anything.
    pub state: ProcessState,
}

/// Whether a process can do anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessState {
    /// At least one of its threads runs, sleeps or is being debugged.
    Running,
    /// Stopped by a signal (SIGSTOP, Ctrl-Z).
    Stopped,
    /// Ended, and not waited for (zombie).
    Defunct,
}

/// How closely to look at processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// At the descriptors of each process.
    Processes,
    /// At those of each thread too: threads may have descriptors of their own, and those of a process
    /// whose first thread has ended show nowhere else.
    Threads,
}

/// The processes that hold BPF links and AF_XDP sockets.
#[derive(Debug, Clone, Default)]
pub struct Holders {
    links: BTreeMap<u32, BTreeSet<u32>>,
    sockets: BTreeMap<u32, BTreeSet<u32>>,
    processes: BTreeMap<u32, Process>,
    own_namespace: BTreeSet<u32>,
    gap: Option<String>,
}

impl Holders {
    /// Looks at the descriptors of all processes.
    #[must_use]
    pub fn scan(depth: Depth) -> Self {
        let mut holders = Self::scan_in(Path::new("/proc"), depth);
        let namespace = fs::read_link("/proc/self/ns/pid").ok();
        if holders.gap.is_none() && namespace.as_deref() != Some(Path::new(ALL_PROCESSES)) {
            let why = "processes outside of this process id namespace cannot be seen";
            holders.gap = Some(why.to_owned());
        }
        holders
    }

    /// Returns who holds a descriptor of the link `id`.
    pub fn of_link(&self, id: u32) -> Vec<Process> {
        self.named(self.links.get(&id))
    }

    /// Returns who holds a descriptor of the AF_XDP socket `inode`.
    pub fn of_socket(&self, inode: u32) -> Vec<Process> {
        self.named(self.sockets.get(&inode))
    }

    /// Returns the AF_XDP sockets of processes in the calling thread's network namespace.
    ///
    /// A process may have brought a socket from another namespace, or hold one here from outside:
    /// socket diagnosis is exact, this is not.
    pub fn sockets(&self) -> impl Iterator<Item = u32> {
        let here = |pids: &BTreeSet<u32>| !pids.is_disjoint(&self.own_namespace);
        self.sockets.iter().filter(move |(_, pids)| here(pids)).map(|(inode, _)| *inode)
    }

    /// Returns the AF_XDP sockets of all processes, whatever network namespace they are of.
    pub fn all_sockets(&self) -> impl Iterator<Item = u32> {
        self.sockets.keys().copied()
    }

    /// Says why some processes could not be looked into; `None` if all were.
    pub fn gap(&self) -> Option<&str> {
        self.gap.as_deref()
    }

    fn named(&self, pids: Option<&BTreeSet<u32>>) -> Vec<Process> {
        pids.into_iter().flatten().filter_map(|pid| self.processes.get(pid).cloned()).collect()
    }

    fn scan_in(proc: &Path, depth: Depth) -> Self {
        let mut holders = Self::default();
        let (mut closed, mut sees_first) = (Vec::new(), false);
        let own_net = fs::read_link(proc.join("thread-self/ns/net")).ok();
        for (pid, process) in numbered(proc) {
            sees_first |= pid == 1;
            let mut folders = vec![process.clone()];
            if depth == Depth::Threads {
                folders.extend(numbered(&process.join("task")).into_iter().map(|(_, path)| path));
            }
            let looked: Vec<_> =
                folders.iter().map(|folder| holders.look_into(pid, folder)).collect();
            let is_closed = |result: &io::Result<()>| {
                result.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied)
            };
            // The descriptors of a process that has just ended are refused as well.
            if looked.iter().any(is_closed) && process.exists() {
                closed.push(pid);
            }
            if let Some(held) = holders.describe(pid, &process) {
                holders.processes.insert(pid, held);
                let net = fs::read_link(process.join("ns/net")).ok();
                if net.is_some() && net == own_net {
                    holders.own_namespace.insert(pid);
                }
            }
        }
        let why = "permission denied, which CAP_SYS_PTRACE may change";
        holders.gap = match (&closed[..], sees_first) {
            ([], true) => None,
            ([], false) => Some("not all processes show in /proc".to_owned()),
            ([pid], _) => Some(format!("process {pid} could not be looked into: {why}")),
            (all, _) => Some(format!("{} processes could not be looked into: {why}", all.len())),
        };
        holders
    }

    /// Notes what the descriptors in `folder`, of a process or thread, are.
    fn look_into(&mut self, pid: u32, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder.join("fd"))? {
            // A descriptor that was closed meanwhile is nobody's.
            let Ok(entry) = entry else { continue };
            let target = match fs::read_link(entry.path()) {
                Ok(target) => target.to_string_lossy().into_owned(),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
                Err(_) => continue,
            };
            if target.starts_with("anon_inode:bpf") {
                let info = folder.join("fdinfo").join(entry.file_name());
                let id = fs::read_to_string(info).ok().and_then(|text| field(&text, "link_id"));
                if let Some(id) = id {
                    self.links.entry(id).or_default().insert(pid);
                }
            } else if let Some(inode) = socket_inode(&target)
                && socket_protocol(&entry.path()).as_deref() == Some("XDP")
            {
                self.sockets.entry(inode).or_default().insert(pid);
            }
        }
        Ok(())
    }

    /// Describes a process, if it holds anything that is looked for.
    fn describe(&self, pid: u32, folder: &Path) -> Option<Process> {
        let holds = |pids: &BTreeSet<u32>| pids.contains(&pid);
        if !self.links.values().chain(self.sockets.values()).any(holds) {
            return None;
        }
        let stat = fs::read_to_string(folder.join("stat")).ok();
        let name = stat.as_deref().and_then(parse_stat).map_or(String::new(), |(name, _)| name);
        let tasks = numbered(&folder.join("task")).into_iter();
        let stats = tasks.filter_map(|(_, task)| fs::read_to_string(task.join("stat")).ok());
        let states = stats.filter_map(|stat| parse_stat(&stat).map(|(_, state)| state));
        Some(Process { pid, name, state: ProcessState::of(states) })
    }
}

impl ProcessState {
    /// Joins the states of threads, as `/proc/PID/task/TID/stat` has them.
    fn of(threads: impl Iterator<Item = char>) -> Self {
        let mut all = Self::Defunct;
        for state in threads {
            match state {
                'T' => all = Self::Stopped,
                'Z' | 'X' => {}
                _ => return Self::Running,
            }
        }
        all
    }
}

/// The entries of a folder whose names are numbers.
pub(crate) fn numbered(folder: &Path) -> Vec<(u32, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .collect()
}

/// Reads name and state of `PID (name) S ...`; the name may have any bytes, brackets too.
fn parse_stat(stat: &str) -> Option<(String, char)> {
    let (front, back) = stat.rsplit_once(')')?;
    let (_, name) = front.split_once('(')?;
    Some((name.to_owned(), back.trim_start().chars().next()?))
}

/// Reads the number behind `key:` in a text of such lines.
fn field(text: &str, key: &str) -> Option<u32> {
    let value = |line: &str| line.strip_prefix(key)?.strip_prefix(':')?.trim().parse().ok();
    text.lines().find_map(value)
}

pub(crate) fn socket_inode(target: &str) -> Option<u32> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Asks a socket, by a link in `/proc` to it, for the name of its protocol: `XDP`, `PACKET`, `TCP`
/// (`sockfs_xattr_get` in net/socket.c).
pub(crate) fn socket_protocol(link: &Path) -> Option<String> {
    let mut name = [0; 32];
    let len = rustix::fs::getxattr(link, "system.sockprotoname", &mut name).ok()?;
    let name = name[..len].strip_suffix(b"\0").unwrap_or(&name[..len]);
    std::str::from_utf8(name).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_states_are_read() {
        assert_eq!(parse_stat("7 (netmem) S 1 7"), Some(("netmem".to_owned(), 'S')));
        assert_eq!(parse_stat("7 (a) Z (b) T 1 7"), Some(("a) Z (b".to_owned(), 'T')));
        for damaged in ["", "7", "7 (", "7 )", ")7(", "7 (a)", "7 (a) "] {
            assert_eq!(parse_stat(damaged), None, "{damaged:?}");
        }
        let of = |states: &str| ProcessState::of(states.chars());
        assert_eq!([of("T"), of("TT"), of("ZT")], [ProcessState::Stopped; 3]);
        assert_eq!([of(""), of("Z"), of("XZ")], [ProcessState::Defunct; 3]);
        // A thread that runs, waits or is being debugged can still act.
        assert_eq!(["R", "TS", "ZD", "t", "I"].map(of), [ProcessState::Running; 5]);
    }

    #[test]
    fn descriptors_are_read() {
        let info =
            "pos:\t0\nlink_type:\txdp\nlink_id:\t12\nprog_tag:\tab\nprog_id:\t9\nifindex:\t3\n";
        assert_eq!((field(info, "link_id"), field(info, "prog_id")), (Some(12), Some(9)));
        assert_eq!((field(info, "link"), field(info, "map_id")), (None, None));
        assert_eq!(field("link_id:\t-1\nlink_id: 99999999999", "link_id"), None);
        assert_eq!(socket_inode("socket:[4711]"), Some(4711));
        for other in ["socket:[", "socket:[x]", "pipe:[1]", "socket:[99999999999]", ""] {
            assert_eq!(socket_inode(other), None);
        }
    }

    #[test]
    fn what_cannot_be_seen_is_no_none() {
        let empty = std::env::temp_dir().join(format!("nm-proc-{}", std::process::id()));
        fs::create_dir_all(empty.join("7")).unwrap();
        let holders = Holders::scan_in(&empty, Depth::Threads);
        fs::remove_dir_all(&empty).unwrap();
        assert_eq!(holders.gap(), Some("not all processes show in /proc"));
        assert!(holders.of_link(1).is_empty() && holders.of_socket(1).is_empty());
    }

    #[test]
    fn other_sockets_are_not_taken_for_af_xdp() {
        let _udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let holders = Holders::scan(Depth::Processes);
        let own = std::process::id();
        assert!(!holders.sockets.values().any(|pids| pids.contains(&own)));
    }
}
