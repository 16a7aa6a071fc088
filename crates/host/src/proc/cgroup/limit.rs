//! Control groups against their limits: the group of a process, and each parent, for a limit may be the
//! parent's.
//!
//! ```text
//!           v2                                    v1
//!  charged  memory.current                        memory.kmem.tcp.usage_in_bytes
//!  limit    memory.max                            memory.kmem.tcp.limit_in_bytes
//!  met      max of memory.events.local            memory.kmem.tcp.failcnt
//!  sock     sock of memory.stat                   all that is charged
//! ```
//! What the kernel does at the limit when a socket wants more (`mem_cgroup_sk_charge` and `try_charge_memcg` of
//! mm/memcontrol.c, `memcg1_charge_skmem` of mm/memcontrol-v1.c, `gfp_memcg_charge` of include/net/sock.h):
//!
//! ```text
//!  v2  what comes in      since 6.1: charged all the same, and `max` counts; before: refused, not counted
//!      what a call sends  `max` counts, memory is taken back, processes are killed; then it is refused
//!      taking back is hard: for a second TCP keeps windows and buffers small; later than 6.18: sock_throttled
//!  v1  refused, UDP too; failcnt counts before 6.15 alone (`track_failcnt` of mm/page_counter.c)
//! ```
//! `memory.events` counts what happened below a group as well; `memory.events.local` names the group whose
//! limit it was. A socket is charged to the group in which its process opened it, which the process may have
//! left.
//!
//! Kernel: 5.15 for all of it. Source: Documentation/admin-guide/cgroup-v2.rst, kernel 6.18.

use std::path::{Path, PathBuf};

use super::{CgroupEvents, CgroupMount, CgroupMounts, CgroupVersion, SocketCgroup, optional};
use crate::proc::{read_number, text};
use crate::source::{Reading, Root, Unavailable, read_with};

/// More levels are not looked at.
const LEVELS_MAX: usize = 16;

/// A group of version 1 with this file has no parent; a container may see its own as `/`.
const ONLY_AT_TOP_V1: &str = "release_agent";

/// A control group's memory against its limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupLimit {
    /// The group, as `/proc/PID/cgroup` names it.
    pub group: String,
    /// The tree that it is in.
    pub version: CgroupVersion,
    /// Where its files are.
    pub folder: PathBuf,
    /// What counts against the limit, in bytes: all memory in version 2, that of sockets in version 1.
    pub charged_bytes: u64,
    /// The limit, in bytes; `None`: none.
    pub limit_bytes: Option<u64>,
    /// Memory of its sockets and of those below it, in bytes.
    pub sock_bytes: u64,
    /// Times that this limit was met, as far as the kernel counts them.
    pub met: u64,
    /// Processes in this group that were killed; version 2 only.
    pub oom_kill: Option<u64>,
    /// Times that this group's sockets were throttled; later than 6.18.
    pub sock_throttled: Option<u64>,
}

/// The groups that a process is in, the innermost first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupLineage {
    /// The tree of the memory controller.
    pub version: CgroupVersion,
    /// Each with its folder, up to the one that is mounted.
    pub groups: Vec<(String, PathBuf)>,
    /// Why parents are missing, if some are.
    pub gap: Option<Unavailable>,
}

impl CgroupLineage {
    /// Reads that of a process.
    ///
    /// # Errors
    /// The process has ended; no tree with a memory controller is mounted; or the group is outside of
    /// what is mounted here.
    pub fn of_process(root: &Root, mounts: &CgroupMounts, pid: u32) -> Reading<Self> {
        let path = root.proc(pid.to_string()).join("cgroup");
        let (v1, v2) = read_with(&path, SocketCgroup::parse_membership)?;
        // The controller is on version 1 if that lists it.
        let (version, mount, group) = match (v1, v2) {
            (Some(group), _) => (CgroupVersion::V1, &mounts.v1_memory, group),
            (None, Some(group)) => (CgroupVersion::V2, &mounts.v2, group),
            (None, None) => return Err(no_controller()),
        };
        let mount = mount.as_ref().ok_or_else(no_controller)?;
        let lineage = Self::up(root, version, mount, &group)?;
        if version == CgroupVersion::V2 {
            let here = mount.folder(root, &mount.group)?.join("cgroup.controllers");
            let has_memory =
                |bytes: &[u8]| Some(text(bytes)?.split_whitespace().any(|it| it == "memory"));
            if !read_with(&here, has_memory)? {
                return Err(no_controller());
            }
        }
        Ok(lineage)
    }

    /// Goes up from a group to the one that is mounted.
    fn up(root: &Root, version: CgroupVersion, mount: &CgroupMount, group: &str) -> Reading<Self> {
        let mut groups = Vec::new();
        let mut group = group;
        loop {
            let folder = mount.folder(root, group)?;
            let is_top = group == mount.group;
            groups.push((group.to_owned(), folder));
            if is_top || groups.len() == LEVELS_MAX {
                let gap = gap(version, is_top, mount, &groups[groups.len() - 1].1);
                return Ok(Self { version, groups, gap });
            }
            group = match group.rsplit_once('/') {
                Some((parent, _)) if !parent.is_empty() => parent,
                _ => "/",
            };
        }
    }
}

/// Why groups above the last one are not looked at; `None` if there are none.
fn gap(
    version: CgroupVersion,
    is_top: bool,
    mount: &CgroupMount,
    folder: &Path,
) -> Option<Unavailable> {
    let group = &mount.group;
    let why = format!("parents of {group} are outside of what is mounted here");
    let has_parents = match version {
        CgroupVersion::V2 => folder.join("memory.max").exists(),
        CgroupVersion::V1 => !folder.join(ONLY_AT_TOP_V1).exists(),
    };
    match is_top {
        false => Some(Unavailable::absent("cgroup", format!("more than {LEVELS_MAX} levels"))),
        true => (group != "/" || has_parents).then(|| Unavailable::absent("cgroup", why)),
    }
}

impl CgroupLimit {
    /// Reads that of a group; `None`: it can have no limit, as the top of the tree, or one without the
    /// memory controller, whose memory is its parent's.
    ///
    /// # Errors
    /// A file cannot be read or is not understood.
    pub fn read(version: CgroupVersion, group: &str, folder: &Path) -> Reading<Option<Self>> {
        match version {
            CgroupVersion::V1 => Self::read_v1(group, folder).map(Some),
            CgroupVersion::V2 => Self::read_v2(group, folder),
        }
    }

    fn read_v1(group: &str, folder: &Path) -> Reading<Self> {
        let socket = SocketCgroup::read_v1(folder, group)?;
        Ok(Self {
            group: socket.group,
            version: CgroupVersion::V1,
            folder: folder.to_owned(),
            charged_bytes: socket.sock_bytes,
            limit_bytes: socket.tcp.and_then(|tcp| tcp.limit_bytes),
            sock_bytes: socket.sock_bytes,
            met: socket.tcp.map_or(0, |tcp| tcp.failures),
            oom_kill: None,
            sock_throttled: None,
        })
    }

    fn read_v2(group: &str, folder: &Path) -> Reading<Option<Self>> {
        let limit = optional(read_with(&folder.join("memory.max"), parse_max))?;
        let Some(limit_bytes) = limit else { return Ok(None) };
        let events = read_with(&folder.join("memory.events.local"), CgroupEvents::parse)?;
        Ok(Some(Self {
            group: group.to_owned(),
            version: CgroupVersion::V2,
            folder: folder.to_owned(),
            charged_bytes: read_number(&folder.join("memory.current"))?,
            limit_bytes,
            sock_bytes: read_with(&folder.join("memory.stat"), SocketCgroup::parse_stat)?,
            met: events.max,
            oom_kill: Some(events.oom_kill),
            sock_throttled: events.sock_throttled,
        }))
    }
}

fn no_controller() -> Unavailable {
    Unavailable::absent("cgroup", "no memory controller is mounted")
}

/// Parses `memory.max`: a number of bytes, or `max` for none.
fn parse_max(bytes: &[u8]) -> Option<Option<u64>> {
    match text(bytes)?.trim() {
        "max" => Some(None),
        number => number.parse().ok().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_none() {
        assert_eq!(parse_max(b"max\n"), Some(None));
        assert_eq!(parse_max(b"67108864\n"), Some(Some(64 << 20)));
        for bad in ["", "\n", "-1", "maximum", "64M", "18446744073709551616"] {
            assert_eq!(parse_max(bad.as_bytes()), None, "{bad:?}");
        }
    }

    /// Has failed with: the group that is mounted left out; its parents looked for outside of it.
    #[test]
    fn parents_are_looked_at_up_to_what_is_mounted() {
        let root = Root::at("/recorded");
        let names = |mounted: &str, group: &str| {
            let mount = CgroupMount { group: mounted.into(), mount_point: "/sys/fs/cgroup".into() };
            let lineage = CgroupLineage::up(&root, CgroupVersion::V2, &mount, group)?;
            let names: Vec<String> = lineage.groups.into_iter().map(|(name, _)| name).collect();
            Ok::<_, Unavailable>((names.join(" "), lineage.gap.map(|gap| gap.reason)))
        };
        assert_eq!(names("/", "/a/b").unwrap(), ("/a/b /a /".to_owned(), None));
        assert_eq!(names("/", "/").unwrap(), ("/".to_owned(), None));
        let outside = "parents of /box are outside of what is mounted here".to_owned();
        assert_eq!(names("/box", "/box/a").unwrap(), ("/box/a /box".to_owned(), Some(outside)));
        assert!(names("/box", "/other").is_err());
        let (deep, gap) = names("/", &"/x".repeat(40)).unwrap();
        assert_eq!((deep.split(' ').count(), gap.as_deref()), (16, Some("more than 16 levels")));
    }
}
