//! Which processes have a descriptor of which socket, from `/proc/PID/fd`.
//!
//! Looking costs one system call for each descriptor of the machine, so the answer is kept, and what has
//! been looked for without success too. What [`process`](crate::process) says of `/proc` holds here.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use crate::process::{numbered, socket_inode};
use crate::source::{Root, Unavailable};

/// A descriptor of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// Number of the socket, as in `socket:[123]`.
    pub inode: u32,
    /// The process.
    pub pid: u32,
    /// Number of the descriptor there.
    pub fd: i32,
}

/// Who holds which socket, as of the last look.
#[derive(Debug, Clone, Default)]
pub struct Owners {
    /// In order.
    all: Vec<Owner>,
    /// Looked for, and nobody's.
    nobodys: BTreeSet<u32>,
    gap: Option<Unavailable>,
}

impl Owners {
    /// Looks at the descriptors of all processes; `wanted` are sockets that will be asked for.
    pub fn scan(&mut self, root: &Root, wanted: impl Iterator<Item = u32>) {
        self.all.clear();
        let (mut closed, mut sees_first) = (0_u32, false);
        for (pid, process) in numbered(&root.proc("")) {
            sees_first |= pid == 1;
            let entries = match fs::read_dir(process.join("fd")) {
                Ok(entries) => entries,
                Err(error) => {
                    let is_closed = error.kind() == io::ErrorKind::PermissionDenied;
                    closed += u32::from(is_closed && process.exists());
                    continue;
                }
            };
            // A descriptor that was closed meanwhile is nobody's.
            self.all.extend(entries.flatten().filter_map(|entry| {
                let inode = socket_inode(fs::read_link(entry.path()).ok()?.to_str()?)?;
                let fd = entry.file_name().to_str()?.parse().ok()?;
                Some(Owner { inode, pid, fd })
            }));
        }
        self.all.sort_unstable();
        self.nobodys = wanted.filter(|inode| self.of(*inode).is_empty()).collect();
        let source = || root.proc("").display().to_string();
        self.gap = match (closed, sees_first) {
            (0, true) => None,
            (0, false) => Some(Unavailable::denied(source(), "not all processes show")),
            _ => {
                let why = format!("{closed} processes could not be looked into");
                Some(Unavailable::denied(source(), why))
            }
        };
    }

    /// Returns who holds a socket, in the order of processes.
    pub fn of(&self, inode: u32) -> &[Owner] {
        let from = self.all.partition_point(|owner| owner.inode < inode);
        let count = self.all[from..].partition_point(|owner| owner.inode == inode);
        &self.all[from..from + count]
    }

    /// Tells whether a socket has been looked for.
    pub fn knows(&self, inode: u32) -> bool {
        !self.of(inode).is_empty() || self.nobodys.contains(&inode)
    }

    /// Says why some processes could not be looked into; `None` if all were.
    pub fn gap(&self) -> Option<&Unavailable> {
        self.gap.as_ref()
    }
}
