//! Reads and changes a machine's network memory; throw-away namespaces for demonstrations and
//! tests.
//!
//! * [`lab`]: two network namespaces joined by a veth pair, gone when their owner dies.
//! * [`maps`]: a process's address space: what each mapping is, and its AF_XDP rings.
//! * [`netlink`]: links, addresses, neighbours and offloads, straight from the kernel.
//! * [`source`]: where figures come from, and why one cannot be had.
//! * [`netns`]: every network namespace that lives, by whatever keeps it.
//! * [`proc`]: what `/proc`, `/sys` and cgroups tell about network memory.
//! * [`process`]: which process holds a BPF link or an AF_XDP socket; names, control groups.
//! * [`queues`]: from a queue to its NAPI, interrupt, page pool and AF_XDP socket.
//! * [`sample`]: one look at all of it, and what moved between two looks.
//! * [`sockets`]: what sockets hold, by process and control group.
//! * [`sysctl`]: the kernel's settings of network memory: values, units, scopes, defaults.
//! * [`tune`]: changing those settings with evidence, a journal and an undo.
//! * [`xdp`]: the XDP programs and AF_XDP sockets of a namespace's interfaces, and taking them off.
//!
//! Nothing here runs another program. Unsafe code is in one file, `sys.rs`.
#![deny(unsafe_code)]

mod error;
pub mod lab;
pub mod maps;
pub mod netlink;
pub mod netns;
pub mod proc;
pub mod process;
pub mod queues;
pub mod routes;
pub mod sample;
pub mod sockets;
pub mod source;
#[allow(unsafe_code, reason = "the one home of foreign rings' mappings")]
mod sys;
pub mod sysctl;
pub mod tune;
pub mod xdp;

pub use error::{Cause, Error, Result};
