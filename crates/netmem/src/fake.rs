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
    mem::{PoolHandle, Region},
    sys::to_usize,
    xdp::{
        Port, PortReport, RingSizes, XdpDesc, XdpMode,
        ring::{Consumer, Heap, Producer, pair},
    },
};

/// The kernel leaves this in front of a packet.
const HEADROOM: u64 = 256;

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
    frame_mask: u64,
    umem_bytes: u64,
    /// Slots taken by hand from the fill ring, not delivered.
    taken: BTreeSet<u64>,
    /// Taken from the tx ring, not completed.
    sending: VecDeque<u64>,
    calls: Calls,
}

/// The script that a fake port's system calls answer from.
#[derive(Debug, Clone, Default)]
pub struct Calls(Arc<Mutex<Script>>);

#[derive(Debug, Default)]
struct Script {
    kicks: u64,
    rx_kicks: u64,
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
            frame_mask: u64::from(handle.pool().config().frame_bytes - 1),
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
        assert!(HEADROOM + frame.len() as u64 <= self.frame_mask + 1, "frame too long");
        if self.rx.free(1) == 0 {
            return false;
        }
        let Some(slot) = self.take() else { return false };
        let addr = slot + HEADROOM;
        self.write(addr, frame);
        let len = u32::try_from(frame.len()).expect("shorter than a slot");
        self.publish(XdpDesc { addr, len, options: 0 });
        true
    }

    /// Takes the next slot of the fill ring, as a driver does long before it receives into it.
    pub fn take_fill(&mut self) -> Option<u64> {
        let slot = self.take()?;
        self.taken.insert(slot);
        Some(slot)
    }

    fn take(&mut self) -> Option<u64> {
        if self.calls.is_closed() || self.fill.available(1) == 0 {
            return None;
        }
        let [head, _] = self.fill.segments(1);
        let slot = head[0] & !self.frame_mask;
        self.fill.pass(1);
        self.fill.release();
        Some(slot)
    }

    /// Puts a descriptor into the rx ring: one anywhere inside of a slot that
    /// [`take_fill`](Self::take_fill) has given, or one that no kernel would write, outside of the UMEM
    /// or longer than a frame. `false` for any other: it could name a slot that is not the kernel's.
    pub fn deliver_raw(&mut self, desc: XdpDesc) -> bool {
        let is_bad = desc.addr >= self.umem_bytes || u64::from(desc.len) > self.frame_mask + 1;
        let fits = (desc.addr & self.frame_mask) + u64::from(desc.len) <= self.frame_mask + 1;
        let is_ours = fits && self.taken.remove(&(desc.addr & !self.frame_mask));
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

    /// Takes every packet of the tx ring, shows its bytes to `visit`, and leaves it incomplete.
    pub fn send(&mut self, mut visit: impl FnMut(&[u8])) -> usize {
        if self.calls.is_closed() {
            return 0;
        }
        let count = self.tx.available(u32::MAX);
        let descs = self.tx.segments(count).concat();
        for desc in &descs {
            visit(self.bytes(desc.addr, desc.len as usize));
            self.sending.push_back(desc.addr);
        }
        self.tx.pass(count);
        self.tx.release();
        descs.len()
    }

    /// Completes up to `max` of the packets taken by [`send`](Self::send); returns how many.
    pub fn complete(&mut self, max: usize) -> usize {
        let room = self.completion.free(u32::MAX) as usize;
        let count = max.min(room).min(self.sending.len());
        for addr in self.sending.drain(..count) {
            self.completion.push(addr);
        }
        self.completion.publish();
        count
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
        answer(self.script().wait_answers.pop_front())
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
