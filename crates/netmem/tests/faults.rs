//! What goes wrong under a running port: each fault is a named test of the library, on veth pairs in
//! namespaces of their own.
//!
//! Every packet's bytes are checked wherever it comes, and comes once; the audit is closed at the end,
//! and the queues can be had again.
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
