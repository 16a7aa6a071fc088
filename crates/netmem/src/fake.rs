//! Plays the kernel's side of a real port's rings, in process: the peer of a port, not a device.
//!
//! A port made here is the real one: its rings are on the heap instead of the kernel's pages, and its
//! system calls answer from a script. Tests and the instruction gates run on it without privilege,
//! start the indices anywhere, stop sending, and hand out descriptors that no kernel would.

use std::{
    collections::{BTreeSet, VecDeque},
    io,
    ptr::{self, NonNull},
    slice,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    mem::{PoolHandle, Region, span::FrameSize},
    sys::{
        to_usize,
        xsk::{XDP_PKT_CONTD, XSK_UNALIGNED_BUF_OFFSET_SHIFT},
    },
    xdp::{
        Port, PortReport, RingSizes, XdpDesc, XdpMode,
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
    calls: Calls,
}

/// The script that a fake port's system calls answer from.
#[derive(Debug, Clone, Default)]
pub struct Calls(Arc<Mutex<Script>>);

#[derive(Debug, Default)]
struct Script {
    kicks: u64,
    rx_kicks: u64,
    waits: u64,
    /// The port is closed: its slots are not the kernel's any more.
    closed: bool,
    answers: VecDeque<i32>,
    wait_answers: VecDeque<i32>,
}

impl FakeKernel {
    /// Makes a port over `handle`'s pool whose four rings' indices all start at `start`.
    ///
    /// # Panics
    /// When a ring size is not a power of two.
    #[must_use]
    pub fn port(handle: &PoolHandle, sizes: RingSizes, start: u32) -> (Port, Self) {
        let (fill, kernel_fill, fill_flags) = pair(sizes.fill, start);
        let (kernel_rx, rx, _) = pair(sizes.rx, start);
        let (tx, kernel_tx, tx_flags) = pair(sizes.tx, start);
        let (kernel_completion, completion, _) = pair(sizes.completion, start);
        let calls = Calls::default();
        let report = PortReport::new("fake", 0, 0, XdpMode::Native);
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
            if let [desc] = packet {
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
        let room = u64::from(self.size.bytes() - self.size.headroom_of(desc.addr));
        let is_valid = desc.len > 0 && desc.options <= XDP_PKT_CONTD && end <= self.umem_bytes;
        assert!(is_valid && u64::from(desc.len) <= room, "{desc:?}");
        self.bytes(desc.addr, desc.len as usize)
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
        for (addr, _) in self.sending.drain(range) {
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

impl Calls {
    /// Lets the next sendto(2) calls answer with these error numbers (0: success), then succeed.
    pub fn answer_kicks(&self, errnos: &[i32]) {
        self.script().answers.extend(errnos);
    }

    /// Lets the next poll(2) calls answer with these error numbers (0: success), then succeed.
    pub fn answer_waits(&self, errnos: &[i32]) {
        self.script().wait_answers.extend(errnos);
    }

    /// How many sendto(2) calls there were.
    #[must_use]
    pub fn kicks(&self) -> u64 {
        self.script().kicks
    }

    /// How many recvfrom(2) calls there were.
    #[must_use]
    pub fn rx_kicks(&self) -> u64 {
        self.script().rx_kicks
    }

    /// How many poll(2) calls there were.
    #[must_use]
    pub fn waits(&self) -> u64 {
        self.script().waits
    }

    pub(crate) fn close(&self) {
        self.script().closed = true;
    }

    fn is_closed(&self) -> bool {
        self.script().closed
    }

    pub(crate) fn kick_tx(&self) -> io::Result<()> {
        let mut script = self.script();
        script.kicks += 1;
        answer(script.answers.pop_front())
    }

    pub(crate) fn kick_rx(&self) {
        self.script().rx_kicks += 1;
    }

    pub(crate) fn wait(&self) -> io::Result<()> {
        let mut script = self.script();
        script.waits += 1;
        answer(script.wait_answers.pop_front())
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(errno: Option<i32>) -> io::Result<()> {
    match errno {
        None | Some(0) => Ok(()),
        Some(errno) => Err(io::Error::from_raw_os_error(errno)),
    }
}
