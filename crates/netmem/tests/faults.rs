//! What goes wrong under a running port: each fault is a named test of the library, on veth pairs in
//! namespaces of their own.
//!
//! Every packet's bytes are checked wherever it comes, and comes once; the audit is closed at the end,
//! and the queues can be had again.
//!
//! Planted and caught: a refill that gives up once the kernel has no slot left; fragments asked for where
//! they shall never be, a raised MTU and a raised number of queues not told; base pages said to be huge
//! ones, huge pages without reservation and with a failed population ignored (SIGBUS); `ENETDOWN` taken
//! for the end, and what was queued then not sent later; a socket, a copy of it, a descriptor, a mapping,
//! the rings' mappings left by a close; the pending error of a removed interface not asked for, and its
//! queue not taken for free; a program that is off said to be on; a bind tried once; a packet counted that
//! never came; another namespace's interface taken for ours; a control that does not look at its queue; a
//! program's link that a child process inherits.
#![allow(clippy::unwrap_used, reason = "a test: an error where none may be is a failure")]

#[allow(dead_code, reason = "the tests of ports use more of it")]
#[path = "ports/bed.rs"]
mod bed;
#[path = "faults/channels.rs"]
mod channels;
#[path = "faults/interface.rs"]
mod interface;
#[path = "faults/memory.rs"]
mod memory;
#[path = "faults/owners.rs"]
mod owners;
#[path = "faults/processes.rs"]
mod processes;
#[path = "faults/traffic.rs"]
mod traffic;
