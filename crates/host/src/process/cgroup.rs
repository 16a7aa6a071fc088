//! Control groups of version 2: from their numbers, as sockets have them, to their paths.
//!
//! The number of a control group is the inode number of its folder (`kernfs_gen` of fs/kernfs/dir.c
//! counts on 32-bit machines only). A group that is gone has no folder, and its sockets keep its number.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::source::{Reading, Root, Unavailable, read};

/// Deeper folders are not looked into: the kernel's own limit is that of paths.
const DEPTH_MAX: u32 = 64;

/// The control groups that are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cgroups {
    paths: BTreeMap<u64, String>,
}

impl Cgroups {
    /// Looks at all control groups.
    ///
    /// # Errors
    /// No hierarchy of version 2 is mounted, or its root cannot be read.
    pub fn scan(root: &Root) -> Reading<Self> {
        let mountinfo = read(&root.proc("self/mountinfo"))?;
        let mount = parse_mount(&mountinfo).ok_or_else(|| {
            Unavailable::absent("cgroup2", "no hierarchy of version 2 is mounted")
        })?;
        let folder = match mount.strip_prefix("/sys") {
            Ok(below) => root.sys(below),
            Err(_) => mount,
        };
        let mut cgroups = Self::default();
        let number = |path: &Path| fs::metadata(path).map(|metadata| metadata.ino());
        let failed = |error| Unavailable::by_io(folder.display().to_string(), &error);
        cgroups.paths.insert(number(&folder).map_err(failed)?, "/".to_owned());
        cgroups.descend(&folder, "", 0);
        Ok(cgroups)
    }

    /// Returns the path of a control group from the hierarchy's root, which is `/`.
    pub fn path(&self, id: u64) -> Option<&str> {
        self.paths.get(&id).map(String::as_str)
    }

    /// Returns the number of the control group at a path from the hierarchy's root.
    pub fn id(&self, path: &str) -> Option<u64> {
        self.paths.iter().find(|(_, known)| *known == path).map(|(id, _)| *id)
    }

    fn descend(&mut self, folder: &Path, path: &str, depth: u32) {
        // A group may go meanwhile.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if depth < DEPTH_MAX
                && let Ok(metadata) = entry.metadata()
                && metadata.is_dir()
            {
                let path = format!("{path}/{}", entry.file_name().to_string_lossy());
                self.descend(&entry.path(), &path, depth + 1);
                self.paths.insert(metadata.ino(), path);
            }
        }
    }
}

/// Finds where the first hierarchy of version 2 is mounted: the fifth field of a line of
/// `/proc/PID/mountinfo`, with the type behind ` - `.
fn parse_mount(mountinfo: &[u8]) -> Option<PathBuf> {
    String::from_utf8_lossy(mountinfo).lines().find_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        let is_unified = back.split(' ').next() == Some("cgroup2");
        front.split(' ').nth(4).filter(|_| is_unified).map(PathBuf::from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_is_found() {
        let text = b"22 1 0:20 / /sys rw - sysfs sysfs rw\n\
            30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - tmpfs tmpfs ro\n\
            31 30 0:27 / /sys/fs/cgroup/unified rw shared:5 - cgroup2 cgroup2 rw\nbroken -  \n";
        assert_eq!(parse_mount(text), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(parse_mount(b"1 2 3 / /cgroup2 rw - tmpfs cgroup2 rw"), None);
        assert_eq!(parse_mount(b"- \xff - cgroup2"), None);
    }

    #[test]
    fn numbers_and_paths_belong_together() {
        let Ok(cgroups) = Cgroups::scan(&Root::live()) else {
            return crate::lab::skip("numbers_and_paths_belong_together", "no control groups");
        };
        let root = cgroups.id("/").unwrap();
        assert_eq!(cgroups.path(root), Some("/"));
        assert!(cgroups.paths.iter().all(|(id, path)| cgroups.id(path) == Some(*id)));
        assert_eq!(cgroups.path(u64::MAX), None);
    }
}
