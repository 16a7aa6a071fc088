//! Memory control groups of the processes that hold sockets, and of their parents: at the begin and at the end.
//!
//! ```text
//!   Sample: processes with sockets --/proc/PID/cgroup--> their groups --up--> parents, each once
//!   begin | end:  charged, limit, sock     the look that found more is kept
//!   end - begin:  times that the limit was met
//! ```
//! Whose sockets hold memory at the end may hold none at the begin, so all processes with sockets are looked
//! at, the largest first, up to the number that a sample names. A few files a group, twice: nothing else of
//! the tree is read.
//!
//! What cannot be read is told, and is no group with room.
//!
//! Kernel: 5.15 ([`CgroupLimit`]).

use std::collections::BTreeMap;

use super::{Evidence, GroupLoad};
use crate::proc::{CgroupLimit, CgroupLineage, CgroupMounts};
use crate::sample::Sample;
use crate::source::Root;

/// More groups are not looked at.
const GROUPS_MAX: usize = 64;

/// The groups of one look.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// By name: all are in one tree.
    by_name: BTreeMap<String, Group>,
    /// The groups of each process: one that has ended later is asked no more.
    lineages: BTreeMap<u32, CgroupLineage>,
    /// Whether all processes with sockets are known, and all their groups.
    is_whole: bool,
    /// Groups, or processes' groups, that could not be looked at, and the first reason.
    missing: u64,
    first: Option<String>,
}

/// A group, and processes in it or below it.
#[derive(Debug)]
struct Group {
    /// `None`: it can have no limit.
    limit: Option<CgroupLimit>,
    processes: Vec<String>,
}

impl Groups {
    /// Looks at the groups of the processes with sockets of these samples, the newest first; `earlier` is the
    /// look before, if there was one.
    pub(super) fn look(root: &Root, samples: &[&Sample], earlier: Option<&Self>) -> Self {
        let sockets = |sample: &&Sample| sample.namespaces.first()?.sockets.as_ref().ok().cloned();
        let all: Vec<_> = samples.iter().filter_map(sockets).collect();
        let mut processes: Vec<(u32, String)> = Vec::new();
        for process in all.iter().flat_map(|sockets| &sockets.processes) {
            let process = &process.process;
            if processes.iter().all(|(pid, _)| *pid != process.pid) {
                processes.push((process.pid, format!("{} {}", process.name, process.pid)));
            }
        }
        let mut groups = Self::of_processes(root, &processes, earlier);
        let has_all = all.first().is_some_and(|sockets| {
            sockets.process_count == sockets.processes.len()
                && sockets.gap.is_none()
                && sockets.without_process.charged_bytes == 0
        });
        groups.is_whole &= has_all;
        groups
    }

    /// Looks at the groups of these processes, each with its name.
    fn of_processes(root: &Root, processes: &[(u32, String)], earlier: Option<&Self>) -> Self {
        let mut groups = Self { is_whole: true, ..Self::default() };
        if processes.is_empty() {
            return groups;
        }
        let mounts = match CgroupMounts::read(root) {
            Ok(mounts) => mounts,
            Err(why) => {
                groups.miss(&why);
                return groups;
            }
        };
        for (pid, name) in processes {
            let before = || earlier?.lineages.get(pid).cloned();
            match CgroupLineage::of_process(root, &mounts, *pid).or_else(|why| before().ok_or(why))
            {
                Ok(lineage) => {
                    groups.add(&lineage, name);
                    groups.lineages.insert(*pid, lineage);
                }
                Err(why) => groups.miss(&format!("{name}: {why}")),
            }
        }
        groups
    }

    fn add(&mut self, lineage: &CgroupLineage, process: &str) {
        if let Some(why) = &lineage.gap {
            self.miss(why);
        }
        for (name, folder) in &lineage.groups {
            if !self.by_name.contains_key(name) {
                if self.by_name.len() == GROUPS_MAX {
                    self.miss(&format!("{name}: more than {GROUPS_MAX} of them"));
                    continue;
                }
                let limit = match CgroupLimit::read(lineage.version, name, folder) {
                    Ok(limit) => limit,
                    Err(why) => {
                        self.miss(&why);
                        None
                    }
                };
                self.by_name.insert(name.clone(), Group { limit, processes: Vec::new() });
            }
            if let Some(group) = self.by_name.get_mut(name) {
                group.processes.push(process.to_owned());
            }
        }
    }

    fn miss(&mut self, why: &impl ToString) {
        self.is_whole = false;
        self.missing += 1;
        self.first.get_or_insert_with(|| why.to_string());
    }
}

impl Evidence {
    /// Adds what the groups of the end hold, and what happened to them since the begin.
    pub(super) fn add_groups(&mut self, before: &Groups, after: Groups) {
        self.has_all_groups = after.is_whole;
        self.not_known.extend(after.first.map(|why| {
            format!("{} memory control groups of processes with sockets: {why}", after.missing)
        }));
        let mut unseen = Vec::new();
        for (name, group) in after.by_name {
            let Some(now) = group.limit else { continue };
            let earlier = before.by_name.get(&name).and_then(|group| group.limit.as_ref());
            let load = GroupLoad::between(earlier, &now, group.processes);
            if load.met.is_none() {
                unseen.push(name);
            }
            self.groups.push(load);
        }
        self.has_all_groups &= unseen.is_empty();
        self.not_known.extend(unseen.first().map(|name| {
            let count = unseen.len();
            format!(
                "how often {count} memory control groups met their limits: {name} came meanwhile"
            )
        }));
        self.groups.sort_by_key(|load| std::cmp::Reverse(load.fullness()));
    }
}

impl GroupLoad {
    /// How full it is, in millionths of its limit.
    fn fullness(&self) -> u128 {
        let of = |limit: u64| u128::from(self.charged_bytes) * 1_000_000 / u128::from(limit.max(1));
        self.limit_bytes.map_or(0, of)
    }

    fn between(before: Option<&CgroupLimit>, after: &CgroupLimit, processes: Vec<String>) -> Self {
        let fuller = before.filter(|before| before.charged_bytes > after.charged_bytes);
        let shown = fuller.unwrap_or(after);
        let grown = |of: fn(&CgroupLimit) -> Option<u64>| match of(after)? {
            // It counts from when the group was made.
            0 => Some(0),
            now => Some(now.saturating_sub(before.and_then(of)?)),
        };
        Self {
            group: after.group.clone(),
            version: after.version,
            folder: after.folder.display().to_string(),
            charged_bytes: shown.charged_bytes,
            limit_bytes: after.limit_bytes,
            sock_bytes: shown.sock_bytes,
            met: grown(|limit| Some(limit.met)),
            oom_kills: grown(|limit| limit.oom_kill),
            sock_throttled: grown(|limit| limit.sock_throttled),
            processes,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::proc::CgroupVersion;
    use crate::sysctl::Machine;
    use crate::tune::evidence::MachineMemory;

    /// A recorded machine; gone with this value.
    struct Made(PathBuf);

    impl Made {
        fn new(name: &str, mountinfo: &str, files: &[(&str, &str)]) -> Self {
            let name = format!("netmem-groups-{name}-{}", std::process::id());
            let made = Self(std::env::temp_dir().join(name));
            made.write("proc/self/mountinfo", mountinfo);
            files.iter().for_each(|(path, text)| made.write(path, text));
            made
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        /// Writes a group of version 2: its limit, what is charged, of it sockets, and how often it was met.
        fn group(&self, path: &str, max: &str, [current, sock, met]: [u64; 3]) {
            let folder = format!("sys/fs/cgroup{path}");
            let file = |name: &str, text: String| self.write(&format!("{folder}/{name}"), &text);
            file("memory.max", format!("{max}\n"));
            file("memory.current", format!("{current}\n"));
            file("memory.stat", format!("anon 7\nsock {sock}\n"));
            let events = format!("low 0\nhigh 0\nmax {met}\noom 0\noom_kill 0\nsock_throttled 5\n");
            file("memory.events.local", events);
            file("memory.events", "low 0\nhigh 0\nmax 99\noom 0\noom_kill 0\n".to_owned());
        }

        fn look(&self, pids: &[u32], earlier: Option<&Groups>) -> Groups {
            let processes: Vec<_> = pids.iter().map(|pid| (*pid, format!("p {pid}"))).collect();
            Groups::of_processes(&Root::at(&self.0), &processes, earlier)
        }
    }

    impl Drop for Made {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    const V2: &str = "30 24 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";

    fn evidence(before: &Groups, after: Groups) -> Evidence {
        let machine = Machine {
            free_buffer_pages: 1 << 20,
            page_bytes: 4096,
            kernel: (6, 18),
            tcp_hash_buckets: None,
            two_ticks_us: None,
        };
        let mut evidence = Evidence::idle(machine, MachineMemory::default());
        evidence.add_groups(before, after);
        evidence
    }

    /// Two processes in a group below one with a limit, and one in another.
    fn machine_of_v2(name: &str) -> Made {
        let made = Made::new(
            name,
            V2,
            &[
                ("sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n"),
                ("proc/7/cgroup", "0::/a/b\n"),
                ("proc/8/cgroup", "0::/a/b\n"),
                ("proc/9/cgroup", "0::/c\n"),
            ],
        );
        made.group("/a", "1000", [900, 800, 31]);
        made.group("/a/b", "max", [700, 600, 0]);
        made.group("/c", "4000", [40, 4, 2]);
        made
    }

    /// Has failed with: parents left out; a group counted once for each process; the last look alone; what is of a
    /// look's charges with the other's sockets; events of groups below in place of its own; those since it was
    /// made; the fullest last.
    #[test]
    fn groups_and_their_parents_are_looked_at_twice() {
        let made = machine_of_v2("v2");
        let before = made.look(&[7, 8, 9], None);
        made.group("/a", "1000", [500, 450, 43]);
        made.group("/c", "4000", [3600, 3200, 2]);
        let seen = evidence(&before, made.look(&[7, 8, 9], Some(&before)));
        assert_eq!((seen.has_all_groups, seen.not_known), (true, vec![]));
        let of = |load: &GroupLoad| {
            let figures = (load.charged_bytes, load.limit_bytes, load.sock_bytes, load.met);
            (load.group.clone(), figures, load.processes.join(" "))
        };
        let both = "p 7 p 8".to_owned();
        assert_eq!(
            seen.groups.iter().map(of).collect::<Vec<_>>(),
            [
                ("/a".to_owned(), (900, Some(1000), 800, Some(12)), both.clone()),
                ("/c".to_owned(), (3600, Some(4000), 3200, Some(0)), "p 9".to_owned()),
                ("/a/b".to_owned(), (700, None, 600, Some(0)), both),
            ]
        );
        assert!(seen.groups.iter().all(|load| load.version == CgroupVersion::V2));
        assert_eq!((seen.groups[0].oom_kills, seen.groups[0].sock_throttled), (Some(0), Some(0)));
        let folder = made.0.join("sys/fs/cgroup/a");
        assert_eq!(Path::new(&seen.groups[0].folder), folder);
    }

    /// Has failed with: a group that could not be read as one without a limit, and nothing said; a process that
    /// ended asked again; a group that came meanwhile as one that met nothing; a container's parents left out.
    #[test]
    fn what_cannot_be_read_is_told() {
        let made = machine_of_v2("gaps");
        let before = made.look(&[7], None);
        fs::remove_file(made.0.join("proc/7/cgroup")).unwrap();
        let ended = evidence(&before, made.look(&[7], Some(&before)));
        assert_eq!((ended.groups.len(), ended.has_all_groups), (2, true), "its groups are known");
        let unknown = evidence(&before, made.look(&[7], None));
        assert_eq!((unknown.groups.len(), unknown.has_all_groups), (0, false));
        let line = &unknown.not_known[0];
        assert!(
            line.starts_with("1 memory control groups of processes with sockets: p 7: "),
            "{line}"
        );

        let came = evidence(&before, made.look(&[9], Some(&before)));
        assert_eq!((came.groups[0].met, came.has_all_groups), (None, false));
        let line = "how often 1 memory control groups met their limits: /c came meanwhile";
        assert_eq!(came.not_known, [line]);
        made.group("/c", "4000", [40, 4, 0]);
        let came = evidence(&before, made.look(&[9], Some(&before)));
        assert_eq!(
            (came.groups[0].met, came.has_all_groups),
            (Some(0), true),
            "it met none at all"
        );

        fs::remove_file(made.0.join("sys/fs/cgroup/a/b/memory.current")).unwrap();
        let unread = evidence(&before, made.look(&[8], Some(&before)));
        assert_eq!((unread.groups.len(), unread.has_all_groups), (1, false));
        assert!(unread.not_known[0].contains("a/b/memory.current: absent"), "{unread:?}");
        // No controller in it: its memory is its parent's.
        fs::remove_file(made.0.join("sys/fs/cgroup/a/b/memory.max")).unwrap();
        let parent = evidence(&before, made.look(&[8], Some(&before)));
        assert_eq!((parent.groups.len(), parent.has_all_groups), (1, true), "{parent:?}");

        // The top of what is mounted is a group of a container.
        made.group("", "9000", [40, 4, 0]);
        let boxed = evidence(&before, made.look(&[8], Some(&before)));
        assert_eq!((boxed.groups.len(), boxed.has_all_groups), (2, false));
        assert!(boxed.not_known[0].contains("parents of / are outside"), "{boxed:?}");
        made.write("sys/fs/cgroup/cgroup.controllers", "cpu pids\n");
        let without = evidence(&before, made.look(&[8], None));
        assert!(without.not_known[0].contains("no memory controller"), "{without:?}");
        made.write("proc/self/mountinfo", "");
        let unmounted = evidence(&before, made.look(&[8], None));
        assert!(unmounted.not_known[0].contains("no memory controller"), "{unmounted:?}");
        assert_eq!(evidence(&Groups::default(), made.look(&[], None)).not_known, [""; 0]);
    }

    /// Has failed with: no bound.
    #[test]
    fn no_more_groups_than_some_are_looked_at() {
        let made = machine_of_v2("many");
        for pid in 100..170 {
            made.write(&format!("proc/{pid}/cgroup"), &format!("0::/n{pid}\n"));
            made.group(&format!("/n{pid}"), "max", [1, 1, 0]);
        }
        let pids: Vec<u32> = (100..170).collect();
        let before = made.look(&pids, None);
        assert_eq!(before.by_name.len(), GROUPS_MAX);
        let seen = evidence(&before, made.look(&pids, Some(&before)));
        // The top has no limit, and counts.
        assert_eq!((seen.groups.len(), seen.has_all_groups), (GROUPS_MAX - 1, false));
        assert!(seen.not_known[0].starts_with("7 memory control groups"), "{:?}", seen.not_known);
        assert!(seen.not_known[0].ends_with("more than 64 of them"), "{:?}", seen.not_known);
    }

    /// Has failed with: version 2's tree where version 1 has the controller; no limit taken for one.
    #[test]
    fn groups_of_version_1_are_those_of_its_tree() {
        let mounts = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      30 24 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let made = Made::new("v1", mounts, &[("proc/7/cgroup", "4:memory:/x/y\n0::/a\n")]);
        let group = |path: &str, [usage, limit, failures]: [u64; 3]| {
            let file = |name: &str, number: u64| {
                let path = format!("sys/fs/cgroup/memory{path}/memory.kmem.tcp.{name}");
                made.write(&path, &format!("{number}\n"));
            };
            file("usage_in_bytes", usage);
            file("limit_in_bytes", limit);
            file("max_usage_in_bytes", usage);
            file("failcnt", failures);
        };
        let none = i64::MAX.cast_unsigned() / 4096 * 4096;
        group("", [5, none, 0]);
        group("/x", [4, 1 << 20, 9]);
        group("/x/y", [3, none, 0]);
        made.write("sys/fs/cgroup/memory/release_agent", "");
        let before = made.look(&[7], None);
        group("/x", [1 << 20, 1 << 20, 11]);
        let seen = evidence(&before, made.look(&[7], Some(&before)));
        assert_eq!((seen.has_all_groups, &seen.not_known[..]), (true, &[][..]));
        let names: Vec<_> = seen.groups.iter().map(|load| load.group.as_str()).collect();
        assert_eq!(names, ["/x", "/", "/x/y"]);
        let full = &seen.groups[0];
        assert_eq!((full.version, full.limit_bytes), (CgroupVersion::V1, Some(1 << 20)));
        assert_eq!((full.charged_bytes, full.sock_bytes, full.met), (1 << 20, 1 << 20, Some(2)));
        assert!(seen.groups[1..].iter().all(|load| load.limit_bytes.is_none()));
        // Some other top is a container's.
        fs::remove_file(made.0.join("sys/fs/cgroup/memory/release_agent")).unwrap();
        let boxed = evidence(&before, made.look(&[7], Some(&before)));
        assert!(!boxed.has_all_groups && boxed.not_known[0].contains("parents of /"), "{boxed:?}");
    }
}
