//! Socket memory of cgroups: what a group's sockets hold, its limit, its events and its pressure.
//!
//! ```text
//!  v2 (one tree)                           v1 (a tree for the memory controller)
//!   memory.stat      sock 1048576           memory.kmem.tcp.usage_in_bytes      1048576
//!   memory.events    max 3 oom_kill 0       memory.kmem.tcp.limit_in_bytes      2097152
//!   memory.pressure  some avg10=...         memory.kmem.tcp.max_usage_in_bytes, failcnt
//! ```
//! A group is charged for sockets of TCP, UDP and their like, when the memory is queued; v1 counts them
//! only after its limit was set once, those of UDP too in spite of its files' names. The UMEM of an AF_XDP socket is charged to its process as
//! memory, not as `sock`. A parent holds its children's: **never sum groups**. Pressure inside a group
//! shrinks its sockets' buffers while `/proc/net/protocols` says `no`.
//!
//! The memory controller is on one of the two; the trees are found by `/proc/self/mountinfo`.
//! Source: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst, mm/memcontrol.c, kernel 6.18.

mod limit;

use std::path::{Path, PathBuf};

use serde::Serialize;

pub use self::limit::{CgroupLimit, CgroupLineage};
use super::{Pressure, names_in, read_number, text};
use crate::source::{Reading, Root, SourceState, Unavailable, read_with};

/// Version 1's word for no limit: the highest multiple of a page that fits.
const UNLIMITED_V1: u64 = i64::MAX as u64 - (1 << 16);

/// Version of a tree of cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupVersion {
    /// The memory controller has a tree of its own.
    V1,
    /// One tree for all controllers.
    V2,
}

/// Where the trees are that may hold the memory controller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CgroupMounts {
    /// The memory controller's tree of version 1.
    pub v1_memory: Option<CgroupMount>,
    /// The tree of version 2, with the memory controller or without.
    pub v2: Option<CgroupMount>,
}

/// A mounted tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CgroupMount {
    /// The group that is mounted: `/`, or a container's.
    pub group: String,
    /// Where.
    pub mount_point: PathBuf,
}

/// A cgroup's socket memory.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SocketCgroup {
    /// The group, as `/proc/PID/cgroup` names it.
    pub group: String,
    /// The tree that it is in.
    pub version: CgroupVersion,
    /// Memory of its sockets and of those below it, in bytes.
    pub sock_bytes: u64,
    /// Limit and peak; version 1 only.
    pub tcp: Option<TcpLimitV1>,
    /// What happened to it; version 2 only, and not of the tree's root.
    pub events: Option<CgroupEvents>,
    /// How long its tasks waited for memory; version 2 only.
    pub memory_pressure: Option<Pressure>,
}

/// Version 1's limit of TCP memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TcpLimitV1 {
    /// The limit, in bytes; `None`: none.
    pub limit_bytes: Option<u64>,
    /// The most there was, in bytes.
    pub peak_bytes: u64,
    /// Times that the limit refused; since 6.15 the kernel does not count them.
    pub failures: u64,
}

/// `memory.events`: counts since the group was made, of it and of those below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CgroupEvents {
    /// It was reclaimed from although it is protected.
    pub low: u64,
    /// It was throttled because it went above `memory.high`.
    pub high: u64,
    /// It was about to go above `memory.max`.
    pub max: u64,
    /// It reached its limit and an allocation was about to fail.
    pub oom: u64,
    /// Processes that were killed.
    pub oom_kill: u64,
    /// Times that it was killed whole; since 5.17.
    pub oom_group_kill: Option<u64>,
    /// Times that its sockets were throttled; later than 6.18.
    pub sock_throttled: Option<u64>,
}

/// The groups with socket memory.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SocketCgroups {
    /// Groups that hold some, most first.
    pub groups: Vec<SocketCgroup>,
    /// How many groups were looked at.
    pub looked_at: usize,
    /// Whether these are all there are: false when a bound ended the walk.
    pub is_whole: bool,
}

/// How far to walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most groups to look at.
    pub groups: usize,
    /// Most levels below the root.
    pub depth: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { groups: 4096, depth: 16 }
    }
}

impl CgroupMounts {
    /// Parses `/proc/PID/mountinfo` (proc_pid_mountinfo(5)); mounts of other kinds are skipped.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        // Mount points may be of any bytes.
        let text = String::from_utf8_lossy(bytes);
        let mut mounts = Self::default();
        for line in text.lines() {
            let (front, back) = line.split_once(" - ")?;
            let front: Vec<&str> = front.split(' ').collect();
            let [_, _, _, group, mount_point, ..] = front[..] else { return None };
            let mut back = back.split(' ');
            let (kind, options) = (back.next()?, back.nth(1).unwrap_or_default());
            let slot = match kind {
                "cgroup2" => &mut mounts.v2,
                "cgroup" if options.split(',').any(|option| option == "memory") => {
                    &mut mounts.v1_memory
                }
                _ => continue,
            };
            let mount_point = unescape(mount_point).into();
            slot.get_or_insert(CgroupMount { group: unescape(group), mount_point });
        }
        Some(mounts)
    }

    /// Reads those that the calling process sees.
    ///
    /// # Errors
    /// The file is not there, or is not understood.
    pub fn read(root: &Root) -> Reading<Self> {
        read_with(&root.proc("self/mountinfo"), Self::parse)
    }
}

impl CgroupMount {
    /// The folder of a group, by its path from the hierarchy's root.
    fn folder(&self, root: &Root, group: &str) -> Reading<PathBuf> {
        let outside = || Unavailable::absent(group, "the group is outside of what is mounted here");
        let below = match self.group.as_str() {
            "/" => group,
            mounted => match group.strip_prefix(mounted) {
                Some(below) if below.is_empty() || below.starts_with('/') => below,
                _ => return Err(outside()),
            },
        };
        if below.split('/').any(|part| part == "..") {
            return Err(outside());
        }
        let mount = match self.mount_point.strip_prefix("/sys") {
            Ok(below) => root.sys(below),
            Err(_) => self.mount_point.clone(),
        };
        Ok(mount.join(below.trim_start_matches('/')))
    }
}

impl SocketCgroup {
    /// Parses `/proc/PID/cgroup`: the process's group in the memory controller's tree of version 1, and
    /// in that of version 2.
    pub fn parse_membership(bytes: &[u8]) -> Option<(Option<String>, Option<String>)> {
        let text = String::from_utf8_lossy(bytes);
        let (mut v1, mut v2) = (None, None);
        for line in text.lines() {
            let mut parts = line.splitn(3, ':');
            let (id, controllers, group) = (parts.next()?, parts.next()?, parts.next()?);
            if controllers.split(',').any(|controller| controller == "memory") {
                v1 = Some(group.to_owned());
            } else if id == "0" && controllers.is_empty() {
                v2 = Some(group.to_owned());
            }
        }
        Some((v1, v2))
    }

    /// Parses the line `sock` of `memory.stat`, in bytes.
    pub fn parse_stat(bytes: &[u8]) -> Option<u64> {
        text(bytes)?.lines().find_map(|line| line.strip_prefix("sock "))?.trim().parse().ok()
    }

    /// Reads that of a process; `None`: of the calling one.
    ///
    /// # Errors
    /// The process has ended; no tree with a memory controller is mounted; or the group is outside of
    /// what is mounted here.
    pub fn of_process(root: &Root, pid: Option<u32>) -> Reading<Self> {
        let process = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
        let path = root.proc(process).join("cgroup");
        let (v1, v2) = read_with(&path, Self::parse_membership)?;
        let mounts = CgroupMounts::read(root)?;
        let mut why = Unavailable::absent("cgroup", "no memory controller is mounted");
        if let (Some(mount), Some(group)) = (&mounts.v2, v2) {
            match Self::read_v2(&mount.folder(root, &group)?, &group) {
                Err(unavailable) => why = unavailable,
                found => return found,
            }
        }
        match (&mounts.v1_memory, v1) {
            (Some(mount), Some(group)) => Self::read_v1(&mount.folder(root, &group)?, &group),
            _ => Err(why),
        }
    }

    fn read_v2(folder: &Path, group: &str) -> Reading<Self> {
        Ok(Self {
            group: group.to_owned(),
            version: CgroupVersion::V2,
            sock_bytes: read_with(&folder.join("memory.stat"), Self::parse_stat)?,
            tcp: None,
            events: optional(read_with(&folder.join("memory.events"), CgroupEvents::parse))?,
            memory_pressure: optional(read_with(&folder.join("memory.pressure"), Pressure::parse))?,
        })
    }

    fn read_v1(folder: &Path, group: &str) -> Reading<Self> {
        let number = |name: &str| read_number(&folder.join(format!("memory.kmem.tcp.{name}")));
        let limit = number("limit_in_bytes")?;
        Ok(Self {
            group: group.to_owned(),
            version: CgroupVersion::V1,
            sock_bytes: number("usage_in_bytes")?,
            tcp: Some(TcpLimitV1 {
                limit_bytes: (limit < UNLIMITED_V1).then_some(limit),
                peak_bytes: number("max_usage_in_bytes")?,
                failures: number("failcnt")?,
            }),
            events: None,
            memory_pressure: None,
        })
    }
}

impl CgroupEvents {
    /// Parses `memory.events`.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = text(bytes)?;
        let value = |key: &str| {
            let mut rows = text.lines().filter_map(|line| line.split_once(' '));
            rows.find(|(name, _)| *name == key)?.1.trim().parse().ok()
        };
        Some(Self {
            low: value("low")?,
            high: value("high")?,
            max: value("max")?,
            oom: value("oom")?,
            oom_kill: value("oom_kill")?,
            oom_group_kill: value("oom_group_kill"),
            sock_throttled: value("sock_throttled"),
        })
    }
}

impl SocketCgroups {
    /// Walks the memory controller's tree, breadth first, within bounds.
    ///
    /// # Errors
    /// No tree with a memory controller is mounted, or its root cannot be read.
    pub fn read(root: &Root, bounds: Bounds) -> Reading<Self> {
        let mounts = CgroupMounts::read(root)?;
        let none = || Unavailable::absent("cgroup", "no memory controller is mounted");
        let version_two = mounts.v2.as_ref().map(|mount| {
            let top = mount.folder(root, &mount.group)?;
            Self::walk(&top, &mount.group, bounds, SocketCgroup::read_v2)
        });
        match (version_two, &mounts.v1_memory) {
            (Some(Ok(walked)), _) => Ok(walked),
            (_, Some(mount)) => {
                let top = mount.folder(root, &mount.group)?;
                Self::walk(&top, &mount.group, bounds, SocketCgroup::read_v1)
            }
            (Some(refused), None) => refused,
            (None, None) => Err(none()),
        }
    }

    fn walk(
        top: &Path,
        group: &str,
        bounds: Bounds,
        read: fn(&Path, &str) -> Reading<SocketCgroup>,
    ) -> Reading<Self> {
        let mut found = Self { groups: Vec::new(), looked_at: 0, is_whole: true };
        let mut level = vec![(top.to_path_buf(), group.to_owned())];
        let mut seen_one = None;
        for depth in 0.. {
            let mut below = Vec::new();
            for (folder, group) in std::mem::take(&mut level) {
                if found.looked_at == bounds.groups {
                    found.is_whole = false;
                    break;
                }
                found.looked_at += 1;
                match read(&folder, &group) {
                    Ok(cgroup) => {
                        seen_one = Some(Ok(()));
                        found.groups.extend((cgroup.sock_bytes > 0).then_some(cgroup));
                    }
                    // A controller may be off further down; a group may have gone meanwhile.
                    Err(why) => seen_one = seen_one.or(Some(Err(why))),
                }
                let folders = names_in(&folder).unwrap_or_default().into_iter();
                let folders = folders.filter(|name| folder.join(name).is_dir());
                let name = |name: &str| format!("{}/{name}", group.trim_end_matches('/'));
                below.extend(folders.map(|child| (folder.join(&child), name(&child))));
            }
            if below.is_empty() {
                break;
            }
            if depth == bounds.depth {
                found.is_whole = false;
                break;
            }
            level = below;
        }
        found.groups.sort_by(|a, b| b.sock_bytes.cmp(&a.sock_bytes).then(a.group.cmp(&b.group)));
        seen_one.unwrap_or(Ok(())).map(|()| found)
    }
}

/// What need not be there.
fn optional<T>(reading: Reading<T>) -> Reading<Option<T>> {
    match reading {
        Err(unavailable) if unavailable.state == SourceState::Absent => Ok(None),
        reading => reading.map(Some),
    }
}

/// Undoes the octal escapes of blanks in `/proc/PID/mountinfo`.
fn unescape(word: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(word.to_owned(), |word, (from, to)| word.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "21 1 0:5 / /proc rw - proc proc rw\n\
        34 31 0:31 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
        41 31 0:38 /box /sys/fs/cgroup/uni\\040fied rw,relatime - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_trees_are_found_among_all_mounts() {
        let mounts = CgroupMounts::parse(MOUNTS.as_bytes()).unwrap();
        let mount = |group: &str, at: &str| {
            Some(CgroupMount { group: group.to_owned(), mount_point: at.into() })
        };
        assert_eq!(mounts.v1_memory, mount("/", "/sys/fs/cgroup/memory"));
        assert_eq!(mounts.v2, mount("/box", "/sys/fs/cgroup/uni fied"));
        assert_eq!(CgroupMounts::parse(b""), Some(CgroupMounts::default()));
        assert_eq!(CgroupMounts::parse(b"35 31 0:32 /\n"), None);
    }

    #[test]
    fn a_group_is_below_the_one_that_is_mounted() {
        let mounts = CgroupMounts::parse(MOUNTS.as_bytes()).unwrap();
        let root = Root::at("/recorded");
        let folder = |group: &str| mounts.v2.as_ref().unwrap().folder(&root, group);
        let expected = Path::new("/recorded/sys/fs/cgroup/uni fied/a/b");
        assert_eq!(folder("/box/a/b").unwrap(), expected);
        for outside in ["/boxes", "/", "/box/../..", "/other"] {
            assert_eq!(folder(outside).unwrap_err().state, SourceState::Absent, "{outside}");
        }
    }

    #[test]
    fn membership_of_both_versions() {
        let printed = b"4:cpu,memory:/a:b\n3:cpuset:/c\n1:name=systemd:/d\n0::/e\n";
        let membership = SocketCgroup::parse_membership(printed).unwrap();
        assert_eq!(membership, (Some("/a:b".to_owned()), Some("/e".to_owned())));
        assert_eq!(SocketCgroup::parse_membership(b"0:"), None);
    }

    #[test]
    fn events_of_older_and_newer_kernels() {
        let old = "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\n";
        let events = CgroupEvents::parse(old.as_bytes()).unwrap();
        assert_eq!((events.max, events.oom_kill, events.oom_group_kill), (3, 5, None));
        let new = old.to_owned() + "oom_group_kill 6\nsock_throttled 7\nother 8\n";
        let events = CgroupEvents::parse(new.as_bytes()).unwrap();
        assert_eq!((events.oom_group_kill, events.sock_throttled), (Some(6), Some(7)));
        assert_eq!(CgroupEvents::parse(b"low 1\nhigh 2\nmax 3\noom 4\n"), None);
        assert_eq!(SocketCgroup::parse_stat(b"anon 1\nsock 4096\nsocks 9\n"), Some(4096));
        assert_eq!(SocketCgroup::parse_stat(b"anon 1\nsocks 9\n"), None);
    }
}
