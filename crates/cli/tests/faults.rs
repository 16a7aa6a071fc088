//! What goes wrong around a responder: each fault is a test with a name, a scenario of `cargo xtask lab`.
//!
//! Each ends in recovery or in one clear message. The audit is closed, nothing is left behind, and
//! the interface passes traffic to its kernel afterwards.
#![allow(clippy::unwrap_used, reason = "tests: what cannot go on, panics")]

#[path = "faults/arguments.rs"]
mod arguments;
#[path = "faults/interface.rs"]
mod interface;
#[path = "faults/memory.rs"]
mod memory;
#[path = "faults/process.rs"]
mod process;
#[path = "lab/support.rs"]
mod support;
