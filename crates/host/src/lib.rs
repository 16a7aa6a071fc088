//! Reads and changes a machine's network memory; throw-away namespaces for demonstrations and
//! tests.
//!
//! * [`lab`]: two network namespaces joined by a veth pair, gone when their owner dies.
//! * [`netlink`]: links, addresses, neighbours and offloads, straight from the kernel.
//!
//! Nothing here runs another program, and nothing here is unsafe.
#![forbid(unsafe_code)]

mod error;
pub mod lab;
pub mod netlink;

pub use error::{Cause, Error, Result};
