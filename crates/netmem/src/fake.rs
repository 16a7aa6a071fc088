//! Plays the kernel's side of a real port's rings, in process: the peer of a port, not a device.
//!
//! A port made here is the real one: its rings are on the heap instead of the kernel's pages, and its
//! system calls answer from a script. Tests and the instruction gates run on it without privilege,
//! start the indices anywhere, stop sending, and hand out descriptors that no kernel would.

mod calls;

use std::{
    collections::{BTreeSet, VecDeque},
    ptr::{self, NonNull},
    slice,
    sync::Arc,
};

pub use self::calls::Calls;

use crate::{
    mem::{PoolHandle, Region, span::FrameSize},
    sys::{
        to_usize,
        xsk::{
            TX_METADATA_BYTES, XDP_PKT_CONTD, XDP_TX_METADATA, XDP_TXMD_FLAGS_CHECKSUM,
            XDP_TXMD_FLAGS_TIMESTAMP, XSK_UNALIGNED_BUF_OFFSET_SHIFT,
        },
    },
    xdp::{
        Port, PortReport, RingSizes, TxMetadataReport, XdpDesc, XdpMode,
        ring::{Consumer, Heap, Producer, pair},
    },
};

/// The kernel leaves this in front of a packet.
const HEADROOM: u32 = 256;

/// The kernel's side of a port's rings.
#[derive(Debug)]
pub struct FakeKernel {
    fill: Consumer<u64>,
    rx: Producer<XdpDesc>,
    tx: Consumer<XdpDesc>,
    completion: Producer<u64>,
    fill_flags: Arc<Heap<u64>>,
    tx_flags: Arc<Heap<XdpDesc>>,
    region: Arc<Region>,
    size: FrameSize,
    umem_bytes: u64,
    /// Slots taken by hand from the fill ring, not delivered.
    taken: BTreeSet<u64>,
    /// Taken from the tx ring, not completed, and whether the packet ends there.
    sending: VecDeque<(u64, bool)>,
    metadata: Metadata,
    calls: Calls,
}

/// What the kernel's side does of what packets ask for.
#[derive(Debug, Default)]
struct Metadata {
    /// `tx_metadata_len` of the UMEM: 0 for a port that takes none.
    len_bytes: u32,
    /// Packets being sent that a timestamp was asked for, by the address of their first byte.
    stamped: BTreeSet<u64>,
    /// The time that the next one gets; `None`: a driver that gives none.
    clock: Option<u64>,
    /// What stood in front of the packets that were sent.
    seen: Vec<[u8; TX_METADATA_BYTES as usize]>,
}

impl FakeKernel {
    /// Makes a port over `handle`'s pool whose four rings' indices all start at `start`.
    ///
    /// # Panics
    /// When a ring size is not a power of two.
    #[must_use]
    pub fn port(handle: &PoolHandle, sizes: RingSizes, start: u32) -> (Port, Self) {
        Self::port_with(handle, sizes, start, None)
    }

    /// As [`port`](Self::port), of a port that was opened for requests with this result. The kernel's
    /// side sums the first frame of a packet where it is asked to, as AF_XDP does in copy mode.
    ///
    /// # Panics
    /// As `port`.
    #[must_use]
    pub fn port_with(
        handle: &PoolHandle,
        sizes: RingSizes,
        start: u32,
        tx_metadata: Option<TxMetadataReport>,
    ) -> (Port, Self) {
        let len_bytes = tx_metadata.as_ref().map_or(0, |report| report.headroom_bytes);
        let (fill, kernel_fill, fill_flags) = pair(sizes.fill, start);
        let (kernel_rx, rx, _) = pair(sizes.rx, start);
        let (tx, kernel_tx, tx_flags) = pair(sizes.tx, start);
        let (kernel_completion, completion, _) = pair(sizes.completion, start);
        let calls = Calls::default();
        let report = PortReport { tx_metadata, ..PortReport::new("fake", 0, 0, XdpMode::Native) };
        let port = Port::on_fake((fill, rx, tx, completion), calls.clone(), handle.clone(), report);
        let kernel = Self {
            fill: kernel_fill,
            rx: kernel_rx,
            tx: kernel_tx,
            completion: kernel_completion,
            fill_flags,
            tx_flags,
            region: Arc::clone(handle.pool().region()),
            size: handle.pool().frame_size(),
            umem_bytes: u64::from(handle.pool().slots())
                * u64::from(handle.pool().config().frame_bytes),
            taken: BTreeSet::new(),
            sending: VecDeque::new(),
            metadata: Metadata { len_bytes, ..Metadata::default() },
            calls,
        };
        kernel.tx_flags.ask_for_wakeup(true);
        (port, kernel)
    }

    /// The script of the port's system calls.
    #[must_use]
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Receives `frame` into the next slot of the fill ring; `false` when the fill or the rx ring
    /// leaves no room, and the packet is lost as it would be.
    ///
    /// # Panics
    /// When the frame does not fit into a slot behind the headroom.
    pub fn deliver(&mut self, frame: &[u8]) -> bool {
        self.deliver_chain(&[frame])
    }

    /// Receives a packet of these frames, one slot for each, all in the rx ring at once; `false` when
    /// the fill or the rx ring leaves no room for all of them, and the packet is lost.
    ///
    /// # Panics
    /// When a frame does not fit into a slot behind the headroom.
    pub fn deliver_chain(&mut self, frames: &[&[u8]]) -> bool {
        let count = u32::try_from(frames.len()).expect("shorter than a ring");
        let is_closed = self.calls.is_closed();
        if is_closed || self.rx.free(count) < count || self.fill.available(count) < count {
            return false;
        }
        for (behind, frame) in (0..count).rev().zip(frames) {
            let headroom = u64::from(HEADROOM);
            assert!(headroom + frame.len() as u64 <= u64::from(self.size.bytes()), "too long");
            let start = self.take().expect("available");
            self.write(start + headroom, frame);
            let len = u32::try_from(frame.len()).expect("shorter than a slot");
            let options = if behind > 0 { XDP_PKT_CONTD } else { 0 };
            self.rx.push(XdpDesc { addr: self.address(start, HEADROOM), len, options });
        }
        self.rx.publish();
        true
    }

    /// As [`deliver`](Self::deliver), of a packet that an XDP program has put `metadata` in front of.
    ///
    /// # Panics
    /// When the frame does not fit behind the headroom, or the metadata into it.
    pub fn deliver_with_metadata(&mut self, metadata: &[u8], frame: &[u8]) -> bool {
        assert!(metadata.len() <= HEADROOM as usize, "metadata too long");
        let start = self.next_fill();
        if let Some(start) = start.filter(|_| self.deliver(frame)) {
            self.write(start + u64::from(HEADROOM) - metadata.len() as u64, metadata);
            return true;
        }
        false
    }

    /// How the kernel names the byte at `headroom` in the slot that starts at `start`.
    #[must_use]
    pub fn address(&self, start: u64, headroom: u32) -> u64 {
        if self.size.is_aligned() {
            start + u64::from(headroom)
        } else {
            start | u64::from(headroom) << XSK_UNALIGNED_BUF_OFFSET_SHIFT
        }
    }

    /// Takes the next slot of the fill ring, as a driver does long before it receives into it.
    pub fn take_fill(&mut self) -> Option<u64> {
        let slot = self.take()?;
        self.taken.insert(slot);
        Some(slot)
    }

    /// The slot that the next packet is received into.
    fn next_fill(&mut self) -> Option<u64> {
        if self.calls.is_closed() || self.fill.available(1) == 0 {
            return None;
        }
        let [head, _] = self.fill.segments(1);
        let headroom = self.size.headroom_of(head[0]);
        assert!(
            self.size.is_aligned() || headroom == 0,
            "the kernel would not mask {:#x}",
            head[0]
        );
        Some(head[0] - u64::from(headroom))
    }

    fn take(&mut self) -> Option<u64> {
        let start = self.next_fill()?;
        self.fill.pass(1);
        self.fill.release();
        Some(start)
    }

    /// Puts a descriptor into the rx ring: one anywhere inside of a slot that
    /// [`take_fill`](Self::take_fill) has given, its address as [`address`](Self::address) has it, or one
    /// that no kernel would write, outside of the UMEM or longer than a frame. `false` for any other: it
    /// could name a slot that is not the kernel's.
    pub fn deliver_raw(&mut self, desc: XdpDesc) -> bool {
        let frame_bytes = u64::from(self.size.bytes());
        let (start, headroom) = if self.size.is_aligned() {
            let headroom = u64::from(self.size.headroom_of(desc.addr));
            (desc.addr - headroom, headroom)
        } else {
            let headroom = desc.addr >> XSK_UNALIGNED_BUF_OFFSET_SHIFT;
            (desc.addr & ((1 << XSK_UNALIGNED_BUF_OFFSET_SHIFT) - 1), headroom)
        };
        let is_bad = start >= self.umem_bytes || u64::from(desc.len) > frame_bytes;
        let fits = headroom + u64::from(desc.len) <= frame_bytes;
        let is_ours = fits && self.taken.remove(&start);
        if is_bad || is_ours {
            self.publish(desc);
        }
        is_bad || is_ours
    }

    /// Puts any descriptor into the rx ring.
    pub(crate) fn publish(&mut self, desc: XdpDesc) {
        if self.rx.free(1) > 0 {
            self.rx.push(desc);
            self.rx.publish();
        }
    }

    /// Takes every packet of the tx ring, shows its bytes to `visit`, and leaves it incomplete. Returns
    /// how many there were.
    ///
    /// # Panics
    /// When a descriptor is one that the kernel would refuse.
    pub fn send(&mut self, mut visit: impl FnMut(&[u8])) -> usize {
        self.send_chains(|frames| match frames {
            [frame] => visit(frame),
            _ => visit(&frames.concat()),
        })
    }

    /// As [`send`](Self::send), showing the frames of each packet apart.
    ///
    /// # Panics
    /// As `send`.
    pub fn send_chains(&mut self, mut visit: impl FnMut(&[&[u8]])) -> usize {
        if self.calls.is_closed() {
            return 0;
        }
        let count = self.tx.available(u32::MAX);
        let descs = self.tx.segments(count).concat();
        let is_last = |desc: &XdpDesc| desc.options & XDP_PKT_CONTD == 0;
        let mut sent = 0;
        for packet in descs.split_inclusive(is_last) {
            assert!(packet.last().is_some_and(is_last), "a chain without its end: {packet:?}");
            assert!(packet.len() <= 18, "a chain of {} frames", packet.len());
            let has_metadata = |desc: &XdpDesc| desc.options & XDP_TX_METADATA != 0;
            assert!(!packet[1..].iter().any(has_metadata), "behind the first: {packet:?}");
            if has_metadata(&packet[0]) {
                let first = self.carry_out(&packet[0]);
                let rest = packet[1..].iter().map(|desc| self.frame(desc));
                visit(&[&first[..]].into_iter().chain(rest).collect::<Vec<_>>());
            } else if let [desc] = packet {
                visit(&[self.frame(desc)]);
            } else {
                visit(&packet.iter().map(|desc| self.frame(desc)).collect::<Vec<_>>());
            }
            self.sending.extend(packet.iter().map(|desc| (desc.addr, is_last(desc))));
            sent += 1;
        }
        self.tx.pass(count);
        self.tx.release();
        sent
    }

    /// The bytes of a descriptor of the tx ring, checked as the kernel does (`xp_aligned_validate_desc`,
    /// `xp_unaligned_validate_desc` in net/xdp/xsk_queue.h, kernel 6.18).
    fn frame(&self, desc: &XdpDesc) -> &[u8] {
        let end = desc.addr + u64::from(desc.len);
        let headroom = self.size.headroom_of(desc.addr);
        let room = u64::from(self.size.bytes() - headroom);
        let options = XDP_PKT_CONTD | XDP_TX_METADATA;
        let is_valid = desc.len > 0 && desc.options <= options && end <= self.umem_bytes;
        assert!(is_valid && u64::from(desc.len) <= room, "{desc:?}");
        assert!(headroom >= self.metadata.len_bytes, "no room for metadata: {desc:?}");
        self.bytes(desc.addr, desc.len as usize)
    }

    /// Does what a packet's metadata asks for, as the kernel does in copy mode (`xsk_skb_metadata` in
    /// net/xdp/xsk.c, kernel 6.18): the first frame's bytes as they go on the wire.
    fn carry_out(&mut self, desc: &XdpDesc) -> Vec<u8> {
        let mut bytes = self.frame(desc).to_vec();
        let len = self.metadata.len_bytes;
        assert_eq!(len, TX_METADATA_BYTES, "metadata on a port that takes none: {desc:?}");
        let front = self.bytes(desc.addr - u64::from(len), len as usize);
        let front: [u8; TX_METADATA_BYTES as usize] = front.try_into().expect("asserted above");
        let word = |at: usize| u16::from_ne_bytes([front[at], front[at + 1]]).into();
        let flags = u64::from_ne_bytes(*front.first_chunk().expect("24 bytes"));
        let known = XDP_TXMD_FLAGS_CHECKSUM | XDP_TXMD_FLAGS_TIMESTAMP;
        assert!(flags != 0 && flags & !known == 0, "flags {flags:#x}");
        if flags & XDP_TXMD_FLAGS_CHECKSUM != 0 {
            let (start, offset): (usize, usize) = (word(8), word(10));
            assert!(start + offset + 2 <= bytes.len(), "the kernel answers EINVAL: {front:?}");
            let sum: u32 = bytes[start..]
                .chunks(2)
                .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
                .sum();
            let folded = (sum >> 16) + (sum & 0xffff);
            let folded = (folded >> 16) + (folded & 0xffff);
            let filled = if folded == 0xffff { 0xffff } else { folded ^ 0xffff };
            bytes[start + offset] = filled.to_be_bytes()[2];
            bytes[start + offset + 1] = filled.to_be_bytes()[3];
        }
        if flags & XDP_TXMD_FLAGS_TIMESTAMP != 0 {
            self.metadata.stamped.insert(desc.addr);
        }
        self.metadata.seen.push(front);
        bytes
    }

    /// What stood in front of the packets that asked for something, as they were sent; only what was not
    /// taken before.
    pub fn take_metadata(&mut self) -> Vec<[u8; 24]> {
        std::mem::take(&mut self.metadata.seen)
    }

    /// Gives the next packet that asks for it this time when it is completed, and each further one a
    /// nanosecond more. Before, and with `None`, none is given.
    pub fn set_clock(&mut self, nanoseconds: Option<u64>) {
        self.metadata.clock = nanoseconds;
    }

    /// Completes up to `max` of the packets taken by [`send`](Self::send); returns how many.
    pub fn complete(&mut self, max: usize) -> usize {
        let mut completed = 0;
        while completed < max {
            let Some(last) = self.sending.iter().position(|&(_, is_last)| is_last) else { break };
            if !self.complete_range(0..last + 1) {
                break;
            }
            completed += 1;
        }
        self.completion.publish();
        completed
    }

    /// Completes the packet that was taken last, as the kernel does when its socket buffer is freed
    /// first; `false` when there is none, or no room.
    pub fn complete_newest(&mut self) -> bool {
        let others = self.sending.iter().rev().skip(1).position(|&(_, is_last)| is_last);
        let first = others.map_or(0, |behind| self.sending.len() - 1 - behind);
        let is_done = first < self.sending.len() && self.complete_range(first..self.sending.len());
        self.completion.publish();
        is_done
    }

    fn complete_range(&mut self, range: std::ops::Range<usize>) -> bool {
        let count = u32::try_from(range.len()).expect("no more than a ring");
        if self.completion.free(count) < count {
            return false;
        }
        for (addr, _) in self.sending.drain(range).collect::<Vec<_>>() {
            if self.metadata.stamped.remove(&addr)
                && let Some(clock) = &mut self.metadata.clock
            {
                let now = *clock;
                *clock += 1;
                self.write(addr - 16, &now.to_ne_bytes());
            }
            self.completion.push(addr);
        }
        true
    }

    /// Says whether the tx and fill rings want to be woken for.
    pub fn ask_for_wakeup(&self, wanted: bool) {
        self.tx_flags.ask_for_wakeup(wanted);
        self.fill_flags.ask_for_wakeup(wanted);
    }

    /// The port's own index of each ring, as it has published it: fill, rx, tx, completion.
    #[must_use]
    pub fn indices(&self) -> [u32; 4] {
        let (fill, rx) = (self.fill.producer_index(), self.rx.consumer_index());
        [fill, rx, self.tx.producer_index(), self.completion.consumer_index()]
    }

    /// Slots that wait in the fill ring.
    #[must_use]
    pub fn fill_level(&self) -> u32 {
        self.fill.queued()
    }

    fn write(&mut self, addr: u64, bytes: &[u8]) {
        let data = self.at(addr, bytes.len());
        // SAFETY: the slot came out of the fill ring, so it is the kernel's, which is played here
        // (P2); `at` checked the bounds, and a borrowed slice is in nobody's slot.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), data.as_ptr(), bytes.len()) };
    }

    fn bytes(&self, addr: u64, len: usize) -> &[u8] {
        let data = self.at(addr, len);
        // SAFETY: the slot came out of the tx ring, so it is the kernel's, which is played here (P2);
        // `at` checked the bounds, and the slice is used before the packet is completed.
        unsafe { slice::from_raw_parts(data.as_ptr(), len) }
    }

    fn at(&self, addr: u64, len: usize) -> NonNull<u8> {
        let start = to_usize(addr);
        assert!(start + len <= self.region.len_bytes(), "outside of the region");
        // SAFETY: inside of the region, as asserted (R1).
        unsafe { self.region.base().add(start) }
    }
}
