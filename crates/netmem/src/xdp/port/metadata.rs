//! What packets ask for when they are sent, carried out: by a `struct xsk_tx_metadata` in front of the
//! packet where the kernel takes part, else by netmem ([`crate::xdp::metadata`] says who when; kernel
//! 6.8).
//!
//! The metadata lies in the headroom, which is the packet's owner's until the descriptor is published,
//! then the kernel's (P2), and this port's again when the address comes back by the completion ring. The
//! kernel writes a timestamp before it writes the address (`xsk_destruct_skb` in net/xdp/xsk.c,
//! `xsk_tx_metadata_complete` in include/net/xdp_sock.h, kernel 6.18), so it is read when the address is
//! reaped, before the slot goes anywhere else. Which slots wait for one is kept outside of packet bytes.
//!
//! A port that was opened for requests lends each packet as a run of its own ([`super::chain`]): what it
//! asks for stands in the list that chains have. The plain packet's way is not longer for it.
//!
//! What the kernel would refuse is never put into the tx ring, where it would not complete, or block
//! what is behind it (X2): frames without room for metadata and checksums outside of the first frame
//! are dropped with a reason before, owned packets by `Port::refusal`, lent ones by `Lone::refusal`.

use std::{collections::VecDeque, ptr::NonNull};

use super::{ETH_HLEN, Port, pass::Memory};
use crate::{
    mem::{
        DropReason, Packet, PacketMut, Rest,
        request::{ChecksumRequest, Offer, Request},
        span::Span,
    },
    sys::xsk::{
        TX_METADATA_BYTES, TxMetadataBytes, XDP_TX_METADATA, XDP_TXMD_FLAGS_CHECKSUM,
        XDP_TXMD_FLAGS_TIMESTAMP, XdpDesc,
    },
    xdp::{DoneBy, PortReport, TxMetadataReport},
};

/// When a packet was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxTimestamp {
    /// The name that the packet's request gave.
    pub cookie: u64,
    /// The time in nanoseconds, by the clock that the port's report names: the device's own, or
    /// CLOCK_TAI in copy mode. `None` where nobody gives the time, or the driver left it out.
    pub nanoseconds: Option<u64>,
}

/// What was done of what packets asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TxMetadataCounts {
    /// Checksums that were left to the kernel or the device.
    pub checksums_offloaded: u64,
    /// Checksums that netmem has computed.
    pub checksums_computed: u64,
    /// Timestamps that were dropped because too many waited to be read.
    pub timestamps_lost: u64,
}

/// What a port that was opened for requests knows.
#[derive(Debug)]
pub(super) struct Metadata {
    /// Headroom that every frame needs: 0 where the kernel takes no part.
    pub(super) headroom_bytes: u32,
    checksum: DoneBy,
    timestamp: DoneBy,
    /// By slot: who waits for a timestamp. Empty without timestamps.
    waiting: Box<[Option<Waiting>]>,
    /// How many wait.
    waiting_count: u32,
    /// Timestamps to be read, oldest first, and how many there may be: no more are allocated.
    stamps: VecDeque<TxTimestamp>,
    most_stamps: usize,
    counts: TxMetadataCounts,
}

/// A packet that is being sent.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    cookie: u64,
    /// The UMEM offset of the packet's first byte.
    addr: u64,
    /// What stood where the time goes; `None` where nobody writes there.
    before: Option<[u8; 8]>,
}

impl Metadata {
    /// For a port with so many slots; `None` for one that was not opened for requests.
    pub(super) fn of(report: &PortReport, slots: u32) -> Option<Box<Self>> {
        let report: &TxMetadataReport = report.tx_metadata.as_ref()?;
        let waiting = if report.timestamps > 0 { slots as usize } else { 0 };
        let most_stamps = report.timestamps as usize;
        Some(Box::new(Self {
            headroom_bytes: report.headroom_bytes,
            checksum: report.checksum.by,
            timestamp: report.timestamp.by,
            waiting: vec![None; waiting].into_boxed_slice(),
            waiting_count: 0,
            stamps: VecDeque::with_capacity(most_stamps),
            most_stamps,
            counts: TxMetadataCounts::default(),
        }))
    }

    pub(super) fn offer(&self) -> Offer {
        let timestamps = !self.waiting.is_empty() && self.timestamp != DoneBy::Nobody;
        Offer { headroom_bytes: self.headroom_bytes, timestamps }
    }

    /// Whether a checksum is left to the kernel or the device.
    fn leaves_checksum(&self, packet: &PacketMut<'_>) -> bool {
        match self.checksum {
            DoneBy::Device => true,
            // It sums before it has the other frames.
            DoneBy::Kernel => packet.frame_count() == 1,
            DoneBy::Netmem | DoneBy::Nobody => false,
        }
    }

    fn wait_for(&mut self, slot: u32, waiting: Waiting) {
        let Some(entry) = self.waiting.get_mut(slot as usize) else { return };
        self.waiting_count += u32::from(entry.is_none());
        *entry = Some(waiting);
    }

    fn list(&mut self, stamp: TxTimestamp) {
        if self.stamps.len() < self.most_stamps {
            self.stamps.push_back(stamp);
        } else {
            self.counts.timestamps_lost += 1;
        }
    }
}

impl Port {
    /// Takes the timestamps that have come, in the order of completion. They come with what is sent: by
    /// [`receive`](crate::device::Device::receive), [`transmit`](crate::device::Device::transmit) and
    /// [`flush`](crate::device::Device::flush). As many as the port was opened with wait to be
    /// read; later ones are lost and counted. What was still unsent when the port was closed has none.
    pub fn timestamps(&mut self) -> impl Iterator<Item = TxTimestamp> {
        self.metadata.iter_mut().flat_map(|metadata| metadata.stamps.drain(..))
    }

    /// What was done of what packets asked for.
    #[must_use]
    pub fn tx_metadata_counts(&self) -> TxMetadataCounts {
        self.metadata.as_ref().map_or_else(TxMetadataCounts::default, |metadata| metadata.counts)
    }

    /// From here on lent packets may ask for this: no run is plain, if they may.
    pub(super) fn lend_with(&mut self, offer: Option<Offer>) {
        if self.offer != offer {
            self.offer = offer;
            self.memory = Memory::of(self.handle.pool(), offer.is_some());
        }
    }

    /// Why an owned packet can never be sent by this port.
    pub(super) fn refusal(&self, packet: &Packet) -> Option<DropReason> {
        if packet.len() < ETH_HLEN as usize {
            return Some(DropReason::PktTooSmall);
        }
        if packet.descriptors() > self.longest_sent() {
            return Some(DropReason::FullRing);
        }
        let headroom_bytes = self.metadata.as_ref().map_or(0, |metadata| metadata.headroom_bytes);
        packet.refusal(headroom_bytes)
    }

    /// Carries out what an owned packet asks for; returns the options of its first descriptor.
    pub(super) fn ask(&mut self, packet: &mut Packet) -> u32 {
        let request = packet.request();
        if request.is_empty() {
            return 0;
        }
        let slot = packet.slot();
        let view = packet.lend();
        let addr = view.offset_from(self.memory.base);
        self.carry_out(view, request, (slot, addr))
    }

    /// As [`ask`](Self::ask) of a packet that was lent, whose first frame is `first`.
    #[cold]
    pub(super) fn ask_lent(&mut self, first: XdpDesc, rest: &mut Rest) -> XdpDesc {
        let request = rest.request;
        let size = self.memory.size;
        let headroom = size.headroom_of(first.addr);
        let span = Span { headroom, len: first.len, frame_bytes: size.bytes() };
        let view = self.memory.view(first.addr, span, Some(NonNull::from(rest)));
        let options = self.carry_out(view, request, (size.slot_of(first.addr), first.addr));
        XdpDesc { options, ..first }
    }

    fn carry_out(
        &mut self,
        mut packet: PacketMut<'_>,
        request: Request,
        (slot, addr): (u32, u64),
    ) -> u32 {
        let Some(metadata) = &mut self.metadata else {
            if let Some(checksum) = request.checksum {
                packet.fill_checksum(checksum);
            }
            return 0;
        };
        let (mut flags, mut place) = (0, (0, 0));
        match request.checksum {
            Some(checksum) if metadata.leaves_checksum(&packet) => {
                flags |= XDP_TXMD_FLAGS_CHECKSUM;
                place = place_of(checksum, packet.span());
                metadata.counts.checksums_offloaded += 1;
            }
            Some(checksum) => {
                packet.fill_checksum(checksum);
                metadata.counts.checksums_computed += 1;
            }
            None => {}
        }
        let is_stamped = request.timestamp.is_some() && metadata.offer().timestamps;
        if is_stamped {
            flags |= XDP_TXMD_FLAGS_TIMESTAMP;
        }
        let bytes = TxMetadataBytes::new(flags, place.0, place.1);
        if let Some(cookie) = request.timestamp {
            let before = is_stamped.then_some(bytes.request_or_stamp);
            metadata.wait_for(slot, Waiting { cookie, addr, before });
        }
        if flags == 0 {
            return 0;
        }
        // The room was looked at before: `refusal`.
        packet.push(TX_METADATA_BYTES).map_or(0, |front| {
            front.copy_from_slice(&bytes.to_bytes());
            XDP_TX_METADATA
        })
    }

    /// Whether packets wait for their timestamps.
    #[inline]
    pub(super) fn waits_for_stamps(&self) -> bool {
        self.metadata.as_ref().is_some_and(|metadata| metadata.waiting_count > 0)
    }

    /// Reads the timestamps of packets that `addrs`, from the completion ring, say were sent.
    #[cold]
    pub(super) fn read_stamps(&mut self, addrs: &[u64]) {
        let memory = self.memory;
        let Some(metadata) = &mut self.metadata else { return };
        for &addr in addrs {
            let slot = memory.slot_of(addr);
            let Some(entry) = metadata.waiting.get_mut(slot as usize) else { continue };
            let Some(Waiting { cookie, addr, before }) = entry.take() else { continue };
            metadata.waiting_count -= 1;
            let headroom = memory.size.headroom_of(addr);
            let span = Span::empty(headroom, memory.size.bytes());
            let view = memory.view(addr, span, None);
            let front = view.in_front(TX_METADATA_BYTES).and_then(TxMetadataBytes::read);
            // A driver that gives no time leaves what stood there.
            let now = front.map(|front| front.request_or_stamp);
            let is_written = before.is_some() && now != before;
            let nanoseconds = now.filter(|_| is_written).map(u64::from_ne_bytes);
            metadata.list(TxTimestamp { cookie, nanoseconds });
        }
    }
}

/// Where a checksum starts and goes, from the packet's first byte: both inside of the first frame.
fn place_of(checksum: ChecksumRequest, span: Span) -> (u16, u16) {
    let number = |bytes: u32| u16::try_from(bytes).unwrap_or(u16::MAX);
    (number(checksum.start - span.headroom), number(checksum.offset))
}

#[cfg(test)]
mod tests;
