//! Where every way to move packets and every program meet.
//!
//! A [`Device`] delivers packets to a closure that looks at each where it lies and answers with a
//! [`Verdict`], and sends owned [`Packet`]s. Nothing is allocated, refcounted or moved for a packet
//! that is answered in place.
//!
//! # Who owns a packet during a batch
//!
//! ```text
//!   rx ring --pass--> lent to the closure --verdict--> fill ring   Consume, Drop(reason)
//!                                              |-----> tx ring     Transmit
//!                                              '-----> sink        Keep: an owned Packet
//! ```
//!
//! - **M1** the private rx cursor passes a packet before its bytes are lent, and a batch is a call,
//!   not a value: there is nothing to leak that could lend the bytes twice. What a program can leak
//!   is an owned packet (`mem::forget`), and then its slot shows as `user` in the audit for ever.
//! - **M2** when the closure unwinds, the verdicts it gave stand, the packet it held is dropped as
//!   [`DropReason::Unwound`], and the packets behind it stay in the rx ring.
//! - **M3** a packet with the verdict `Transmit` that finds no room in the tx ring is dropped as
//!   [`DropReason::FullRing`]. A program that would rather leave it in the rx ring asks
//!   [`Device::tx_room`] first and passes no larger budget.
//! - **K7** a started device is `!Send`: it belongs to its worker thread.
//! - **K8** a packet whose memory a device does not cover is given back.
//!
//! `Transmit` answers through the device that the packet came from. Between two AF_XDP ports over the
//! same pool, [`Port::receive_to`](crate::xdp::Port::receive_to) sends in place through the other one;
//! between other devices over the same pool, `Keep` the packet and hand it to the other's
//! [`Device::transmit`].
//!
//! A packet is a chain of frames, of one nearly always. Every verdict is on the whole chain, which is
//! counted once: it is sent whole or not at all.

use std::{collections::VecDeque, fmt, time::Duration};

use crate::{
    Result,
    mem::{Counts, DropReason, Packet, PacketMut, Walk},
};

/// What becomes of a packet that the closure has looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The program is done with it.
    Consume,
    /// It is dropped, for this reason.
    Drop(DropReason),
    /// It goes out where it came in, as it is now: changed bytes, moved front and back. Frames of a chain
    /// that have no bytes are left out.
    Transmit,
    /// It becomes an owned packet and goes to the sink that the call names.
    Keep,
}

/// What one call of [`Device::receive`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets that were lent to the closure.
    pub received: u32,
    /// Of these: queued for sending.
    pub transmitted: u32,
    /// Of these: handed to the sink.
    pub kept: u32,
}

/// Where kept packets go.
pub trait Keep {
    /// Takes an owned packet.
    fn keep(&mut self, packet: Packet);
}

/// Keeps nothing: a packet kept here is dropped as [`DropReason::NotSpecified`].
impl Keep for () {
    fn keep(&mut self, packet: Packet) {
        drop(packet);
    }
}

impl Keep for Vec<Packet> {
    fn keep(&mut self, packet: Packet) {
        self.push(packet);
    }
}

impl Keep for VecDeque<Packet> {
    fn keep(&mut self, packet: Packet) {
        self.push_back(packet);
    }
}

/// A packet that a device cannot send, because it lies in memory that the device does not cover (K8).
#[derive(Debug)]
pub struct ForeignPacket {
    /// The packet, unchanged.
    pub packet: Packet,
    /// How many packets in front of it were queued.
    pub accepted: usize,
}

impl fmt::Display for ForeignPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "transmit packet of {} bytes: it lies in another pool", self.packet.len())
    }
}

impl std::error::Error for ForeignPacket {}

/// A port that cannot send what another one receives, because it is of another pool (K8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignPort;

impl fmt::Display for ForeignPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("send received packets to another port: it is of another pool")
    }
}

impl std::error::Error for ForeignPort {}

/// A way to move packets, owned by one thread.
pub trait Device {
    /// Lends up to `budget` received packets to `verdict`, one after the other, and carries out what
    /// it answers. Does not wait: a tally of 0 means that nothing was there.
    fn receive<K, F>(&mut self, budget: u32, sink: &mut K, verdict: F) -> Tally
    where
        K: Keep + ?Sized,
        F: FnMut(&mut PacketMut<'_>) -> Verdict;

    /// Queues packets from the front of `packets` until there are no more or no more room; the rest
    /// stays. Returns how many were queued.
    ///
    /// # Errors
    /// A packet of another pool is given back (K8); those in front of it were queued.
    fn transmit(
        &mut self,
        packets: &mut VecDeque<Packet>,
    ) -> std::result::Result<usize, ForeignPacket>;

    /// How many packets could be queued for sending now.
    fn tx_room(&mut self) -> u32;

    /// Wakes the kernel for what is queued and takes back what was sent.
    ///
    /// # Errors
    /// When the device is gone or failed for good since the last call.
    fn flush(&mut self) -> Result<()>;

    /// Waits until a packet can be received, something failed, a signal came, or `timeout` is over.
    ///
    /// # Errors
    /// As [`flush`](Self::flush), which this does first.
    fn wait(&mut self, timeout: Duration) -> Result<()>;

    /// The packets that this device received, sent and dropped; the thread's pool handle has those of
    /// owned packets.
    fn counts(&self) -> Counts;

    /// Lists the slots that the device has, for the audit.
    fn walk(&self) -> Walk;
}
