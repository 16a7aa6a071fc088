//! Zero-copy packets on Linux over one accounted pool of huge-page memory.
//!
//! ```text
//!  Region (huge pages) -> Pool (slots) -> fill ring ~kernel writes~> rx ring -> batch -> verdict per packet
//!         ^                                                                              |  consume | drop(reason) | transmit | keep
//!         '------- Pool <- completion ring <~kernel reads~ tx ring <---------------------'
//! ```
//!
//! [`mem`] owns the bytes and knows nothing of devices; [`device`] is where every way to move
//! packets and every program meet; [`xdp`] moves them through AF_XDP sockets; [`loopback`] moves
//! them inside one thread, for tests and for machines without privilege.
//!
//! [`stats`] shows other processes what a program's workers have and did.
//!
//! The shortest whole program is `examples/reflector.rs`: 40 lines that send UDP datagrams back over
//! AF_XDP.
//!
//! A packet is handled in one of two tiers over the same ring: **in place**, where a closure looks
//! at each packet where it lies and answers with a [`device::Verdict`], and as an **owned**
//! [`mem::Packet`], which can be queued and sent later and gives its slot back when it ends.
//!
//! ```
//! use netmem::device::{Device, Verdict};
//! use netmem::loopback::Loopback;
//! use netmem::mem::{Pool, PoolConfig, Region};
//!
//! # fn main() -> Result<(), netmem::Error> {
//! let region = Region::builder(64 * 2048).build()?;
//! let handle = Pool::new(region, PoolConfig::default())?.handle();
//! let (mut near, mut far) = Loopback::pair(&handle, 64);
//!
//! let mut packet = handle.alloc().expect("a new pool has free slots");
//! packet.put(60).expect("a slot has room for 60 bytes").fill(7);
//! near.transmit(&mut [packet].into()).expect("the pair shares one pool");
//!
//! let tally = far.receive(64, &mut (), |packet| {
//!     packet.bytes_mut().reverse();
//!     Verdict::Transmit
//! });
//! assert_eq!((tally.received, tally.transmitted), (1, 1));
//! # Ok(())
//! # }
//! ```

// Under the model checker only what it checks is built: see `sync`.
#![cfg_attr(
    loom,
    allow(dead_code, unreachable_pub, unused_imports, reason = "a part of the crate")
)]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("netmem is for 64-bit Linux");

#[cfg(not(loom))]
pub mod device;
mod error;
#[cfg(all(any(test, feature = "test-util"), not(loom)))]
pub mod fake;
#[cfg(not(loom))]
pub mod link;
#[cfg(not(loom))]
pub mod loopback;
pub mod mem;
#[cfg(not(loom))]
pub mod packet;
#[cfg(not(loom))]
pub mod stats;
#[cfg(loom)]
mod stats {
    pub(crate) mod seqlock;
}
mod sync;
mod sys;
#[cfg(not(loom))]
pub mod xdp;
#[cfg(loom)]
mod xdp {
    pub(crate) mod ring;
}

/// The examples of the README are run as tests of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}

pub use error::{Error, Result};
