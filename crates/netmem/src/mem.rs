//! Packet memory: a [`Region`] of huge pages, a [`Pool`] of its slots, owned [`Packet`]s and the
//! [`audit`] that finds every slot exactly once. Knows nothing of devices.
//!
//! # Who owns a slot
//!
//! A slot (the kernel's *chunk*: `frame_bytes` at a multiple of `frame_bytes`) has exactly one owner
//! at any time (P2): the pool (free), one of a device's four rings or the kernel behind them, a
//! packet that the program owns (user), or nobody any more (quarantined). Inside this crate a slot
//! that changes hands is a move-only `Slot`; a program sees it as a [`Packet`] it owns or as a
//! [`PacketMut`] it borrows for the length of one closure call.
//!
//! # Invariants of this module
//!
//! Numbers without a letter table here are those of ARCHITECTURE.md.
//! - **R1** a region's bytes stay mapped, readable and writable, from its construction to its drop,
//!   followed by an inaccessible guard of [`region::GUARD_BYTES`].
//! - **R2** the spans of two slots never overlap: slot `i` is `i * frame_bytes .. (i + 1) *
//!   frame_bytes`, and `slots * frame_bytes` is at most the region's length.
//! - **R3** the region outlives every pool, packet, UMEM and mapping that points into it: each holds
//!   an `Arc` of it.

pub mod audit;
mod packet;
mod pool;
mod reason;
pub mod region;
mod shared;
pub(crate) mod span;

pub use audit::{Audit, Walk};
pub use packet::{Packet, PacketMut, request::RequestRefused};
pub(crate) use packet::{Rest, request};
pub use pool::{Counts, Drain, Pool, PoolConfig, PoolHandle, PoolStatistics};
pub(crate) use pool::{Seed, Slot, XDP_PACKET_HEADROOM};
pub use reason::{DropReason, Drops};
pub use region::{PageTier, Region, RegionReport};
pub use span::NoRoom;
