//! Who runs where: what sends and what is measured have a CPU each.

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

/// The CPU of what sends.
pub(crate) const OUTSIDE_CPU: usize = 0;
/// The CPU of what is measured.
pub(crate) const TESTED_CPU: usize = 1;

/// Keeps the calling thread, and what it starts from now on, on one CPU. Says so where it cannot.
pub(crate) fn pin(cpu: usize) -> Result<(), String> {
    let mut only = CpuSet::new();
    let pinned = only.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &only));
    pinned.map_err(|errno| format!("pin to cpu {cpu}: {errno}"))
}
