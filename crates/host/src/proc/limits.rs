//! `/proc/PID/limits`: the resource limits of a process that bound network memory.
//!
//! ```text
//!  Limit                     Soft Limit           Hard Limit           Units
//!  Max locked memory         8388608              8388608              bytes
//! ```
//! Locked memory bounds the UMEM of AF_XDP sockets of a user without `CAP_IPC_LOCK`, and the stack the
//! buffers on it. Source: `proc_pid_limits` in fs/proc/base.c, getrlimit(2), kernel 6.18.

use serde::Serialize;

use super::text;
use crate::source::{Reading, Root, read_with};

/// A process's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// `RLIMIT_MEMLOCK`, in bytes.
    pub locked_bytes: ResourceLimit,
    /// `RLIMIT_STACK`, in bytes.
    pub stack_bytes: ResourceLimit,
    /// `RLIMIT_AS`, in bytes.
    pub address_space_bytes: ResourceLimit,
    /// `RLIMIT_NOFILE`: one more than the highest descriptor.
    pub open_files: ResourceLimit,
}

/// A limit; `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ResourceLimit {
    /// What holds now.
    pub soft: Option<u64>,
    /// What the process may raise it to.
    pub hard: Option<u64>,
}

impl Limits {
    /// Parses the file.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = text(bytes)?;
        let limit = |name: &str| {
            let mut words =
                text.lines().find_map(|line| line.strip_prefix(name))?.split_ascii_whitespace();
            let mut bound = || match words.next()? {
                "unlimited" => Some(None),
                number => Some(Some(number.parse().ok()?)),
            };
            Some(ResourceLimit { soft: bound()?, hard: bound()? })
        };
        Some(Self {
            locked_bytes: limit("Max locked memory ")?,
            stack_bytes: limit("Max stack size ")?,
            address_space_bytes: limit("Max address space ")?,
            open_files: limit("Max open files ")?,
        })
    }

    /// Reads those of a process; `None`: of the calling thread.
    ///
    /// # Errors
    /// The process has ended, is another user's, or the file is not understood.
    pub fn read(root: &Root, pid: Option<u32>) -> Reading<Self> {
        let process = pid.map_or_else(|| "thread-self".to_owned(), |pid| pid.to_string());
        read_with(&root.proc(process).join("limits"), Self::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unlimited_is_no_number() {
        let printed = "Limit      Soft Limit  Hard Limit  Units     \n\
            Max stack size            8388608              unlimited            bytes     \n\
            Max open files            20000                30000                files     \n\
            Max locked memory         65536                131072               bytes     \n\
            Max address space         unlimited            unlimited            bytes     \n";
        let limits = Limits::parse(printed.as_bytes()).unwrap();
        assert_eq!(limits.stack_bytes, ResourceLimit { soft: Some(8 << 20), hard: None });
        assert_eq!(limits.locked_bytes, ResourceLimit { soft: Some(65536), hard: Some(131_072) });
        assert_eq!(limits.address_space_bytes, ResourceLimit { soft: None, hard: None });
        for (from, to) in [("65536", "-1"), ("Max open files", "Max"), ("131072", "infinite")] {
            assert_eq!(Limits::parse(printed.replace(from, to).as_bytes()), None, "{to}");
        }
    }

    #[test]
    fn ones_own_can_be_read() {
        let own = Limits::read(&Root::live(), None).unwrap();
        assert_eq!(Limits::read(&Root::live(), Some(std::process::id())).unwrap(), own);
        assert!(own.open_files.soft.is_some_and(|files| files > 3));
    }
}
