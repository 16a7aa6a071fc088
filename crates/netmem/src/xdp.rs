//! AF_XDP: packets straight between a driver's queue and a pool's slots (kernel 5.15 and later).
//!
//! - `ring` is the index arithmetic over shared memory, `umem` registers a pool with a socket,
//!   `socket` makes the system calls;
//! - [`program`] turns a typed filter into the XDP program that decides which packets come here;
//! - [`quirks`] is what is known of drivers, [`check_rings`] whether ring sizes fit;
//! - [`Port`] is one queue of one interface as a [`Device`](crate::device::Device), built by a
//!   [`PortBuilder`].
//!
//! # Order of set-up and teardown (D5)
//!
//! Set-up: pool, UMEM, ring sizes, ring mappings, pre-fill, bind (again for a while on EBUSY: the
//! close of a socket is asynchronous), map entry, and the link last; or the map entry last of all, when
//! a worker is ready ([`PortSet::register_later`]). Teardown is the reverse: link, ring mappings, socket. A mapped ring keeps the socket and its queue busy, so rings are unmapped
//! before the socket is closed, and both are hidden from forked children.

mod advice;
mod bound;
mod builder;
pub mod handover;
mod metadata;
mod port;
pub mod program;
pub mod quirks;
#[cfg(any(test, feature = "test-util"))]
pub mod raw;
mod report;
pub(crate) mod ring;
mod set;
mod socket;
#[cfg(feature = "tokio")]
pub mod tokio;
mod umem;

pub use crate::sys::xsk::{Statistics, XdpDesc};
pub use advice::{Advice, check_rings, queues_without_socket};
pub use bound::{BoundPort, PortControl, UnstartedPort};
pub use builder::{PortBuilder, Queues};
pub use metadata::{DoneBy, Offload, TxMetadata, TxMetadataReport};
pub use port::{Closed, Levels, Port, Progress, TxMetadataCounts, TxTimestamp};
pub use report::{BusyPoll, MultiBuffer, PortReport, RefusedMode, RingSizes, XdpMode};
pub use set::PortSet;
