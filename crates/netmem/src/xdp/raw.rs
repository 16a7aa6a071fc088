//! AF_XDP sockets without a port around them, for tests (feature `test-util`).
//!
//! A [`Port`](super::Port) never misbehaves: it refills, releases, reaps, and sends what lies inside
//! of its UMEM. Tests of the kernel's answers need programs that do not. A [`RawSocket`] is one
//! socket with its rings and nothing else: it puts into them what it is told, by the crate's own
//! rings and system calls, and keeps no books. Whoever uses it decides which frame is whose.
//!
//! ```text
//!   RawUmem (a region, bytes copied in and out)
//!     |-- RawSocket::open      registers it: fill, completion, rx, tx
//!     '-- RawSocket::sharing   a second socket of it (XDP_SHARED_UMEM): rx, tx, own fill and
//!                              completion for another queue, its donor's on the same one
//! ```
//!
//! # Why this is sound, whatever is put into the rings
//! - **W1** a [`RawUmem`] has its region alone (a pool would refuse it, and it refuses a pool's), and
//!   never lends its bytes: they are copied, so no reference is there while the kernel writes. It is
//!   `!Sync`, so one thread copies at a time.
//! - **R3, D5** every socket holds the UMEM, and its rings go before its descriptor. The kernel pins
//!   the pages of a registered UMEM for itself, so what it may still write to after the close of a
//!   socket is no other memory of this process.
//!
//! Kernel 5.15 and later; `XDP_USE_SG` 6.6.

use std::{
    marker::PhantomData,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    ptr::NonNull,
    rc::Rc,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    RingSizes, Statistics, XdpDesc,
    port::Rings,
    ring::{Consumer, Entry, Producer, RingMemory},
    umem,
};
use crate::{
    Error, Result,
    mem::Region,
    sys::{
        socket as sys_socket, to_usize,
        xsk::{self, BindTo, RingKind, UmemReg},
    },
};

/// Bind flag: the kernel copies packets.
pub const XDP_COPY: u16 = xsk::XDP_COPY;
/// Bind flag: the driver uses the UMEM itself.
pub const XDP_ZEROCOPY: u16 = xsk::XDP_ZEROCOPY;
/// Bind flag: the kernel says when it wants to be woken.
pub const XDP_USE_NEED_WAKEUP: u16 = xsk::XDP_USE_NEED_WAKEUP;
/// Bind flag: packets of several frames (kernel 6.6).
pub const XDP_USE_SG: u16 = xsk::XDP_USE_SG;
/// In [`XdpDesc::options`]: the packet continues in the next descriptor (kernel 6.6).
pub const XDP_PKT_CONTD: u32 = xsk::XDP_PKT_CONTD;

/// How long a bind is tried again while the queue is busy: the close of a socket is asynchronous.
const BIND_WITHIN: Duration = Duration::from_secs(2);

/// What the kernel says of busy polling by calls on a socket, a port's or a raw one's: whether it is
/// preferred (`SO_PREFER_BUSY_POLL`), and for how many microseconds (`SO_BUSY_POLL`). The budget cannot
/// be asked for.
///
/// # Errors
/// When the kernel knows no such option (before 5.11).
pub fn busy_poll(socket: impl AsFd) -> Result<(bool, i32)> {
    sys_socket::busy_poll(socket.as_fd())
        .map_err(|error| Error::os("read busy polling of", "AF_XDP socket", error))
}

/// The shape of a [`RawUmem`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawUmemConfig {
    /// How many bytes of the region are registered; the kernel wants whole chunks unless unaligned.
    pub len_bytes: u64,
    /// The size of a chunk in bytes: 2,048 or 4,096, or any number between them when unaligned.
    pub chunk_bytes: u32,
    /// What the kernel leaves free in front of its own 256 bytes of headroom, in bytes.
    pub headroom_bytes: u32,
    /// Whether packets may lie at any offset (`XDP_UMEM_UNALIGNED_CHUNK_FLAG`).
    pub unaligned: bool,
}

/// Memory for packets that this thread and the kernel copy into and out of. `!Send` and `!Sync`.
///
/// ```compile_fail
/// fn needs_send<T: Send>() {}
/// needs_send::<netmem::xdp::raw::RawUmem>(); // W1
/// ```
#[derive(Debug)]
pub struct RawUmem {
    region: Arc<Region>,
    config: RawUmemConfig,
    _one_thread: PhantomData<Rc<()>>,
}

impl RawUmem {
    /// Takes a region for itself. Nothing is registered yet.
    ///
    /// # Errors
    /// When the region is shorter than `len_bytes`, or a pool or another UMEM has it.
    pub fn new(region: Arc<Region>, config: RawUmemConfig) -> Result<Rc<Self>> {
        let refuse = |why: &str| Error::refused("make raw umem", "packet memory", why);
        if config.len_bytes > region.len_bytes() as u64 {
            return Err(refuse("the region is shorter"));
        }
        if !region.divide() {
            return Err(refuse("the region is a pool's or another umem's"));
        }
        Ok(Rc::new(Self { region, config, _one_thread: PhantomData }))
    }

    /// The shape it was made with.
    #[must_use]
    pub fn config(&self) -> RawUmemConfig {
        self.config
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Panics
    /// When they do not fit into the region.
    pub fn write(&self, offset: u64, bytes: &[u8]) {
        let to = self.span(offset, bytes.len());
        // SAFETY: `bytes.len()` bytes inside of the region (`span`, R1); nothing refers to them, and
        // nobody else of this process copies meanwhile (W1).
        unsafe { to.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    /// Copies `len_bytes` bytes from `offset`.
    ///
    /// # Panics
    /// When they are not inside of the region.
    #[must_use]
    pub fn read(&self, offset: u64, len_bytes: usize) -> Vec<u8> {
        let from = self.span(offset, len_bytes);
        let mut bytes = vec![0; len_bytes];
        // SAFETY: `len_bytes` bytes inside of the region (`span`, R1), written when it was populated;
        // nobody else of this process copies meanwhile (W1).
        unsafe { from.as_ptr().copy_to_nonoverlapping(bytes.as_mut_ptr(), len_bytes) };
        bytes
    }

    fn span(&self, offset: u64, len_bytes: usize) -> NonNull<u8> {
        let start = to_usize(offset);
        let end = start.checked_add(len_bytes).expect("lengths are small");
        assert!(end <= self.region.len_bytes(), "{start}..{end} is outside of the region");
        // SAFETY: `start <= end <= len_bytes` of the region: inside of its mapping (R1).
        unsafe { self.region.base().add(start) }
    }

    fn register(&self, fd: BorrowedFd<'_>) -> std::io::Result<()> {
        let reg = UmemReg {
            addr: self.region.base().as_ptr() as u64,
            len: self.config.len_bytes,
            chunk_size: self.config.chunk_bytes,
            headroom: self.config.headroom_bytes,
            flags: if self.config.unaligned { xsk::XDP_UMEM_UNALIGNED_CHUNK_FLAG } else { 0 },
            ..UmemReg::default()
        };
        // SAFETY: the span is inside of the region (`new`, R1), which every socket of this UMEM holds
        // until it is closed (R3); its bytes are never borrowed (W1).
        unsafe { xsk::register_umem(fd, &reg) }
    }
}

/// What [`RawSocket::poll`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollFor {
    /// A packet in the rx ring (POLLIN).
    Readable,
    /// A tx ring that is at most half full (POLLOUT).
    Writable,
}

/// Where the entries of a socket's rings are: for the audit of whoever keeps the books.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawWalk {
    /// Addresses in the fill ring that the kernel has not taken.
    pub fill: Vec<u64>,
    /// Descriptors in the rx ring that were not received.
    pub rx: Vec<XdpDesc>,
    /// Descriptors in the tx ring that the kernel has not taken.
    pub tx: Vec<XdpDesc>,
    /// Addresses in the completion ring that were not reaped.
    pub completion: Vec<u64>,
}

/// One AF_XDP socket and its rings. A ring of 0 entries is not made, and is always empty and full.
#[derive(Debug)]
pub struct RawSocket {
    // Dropped in this order (D5): rings, socket, memory.
    rings: Rings,
    fd: OwnedFd,
    umem: Rc<RawUmem>,
}

impl RawSocket {
    /// Opens a socket, registers `umem` with it, and maps its rings.
    ///
    /// # Errors
    /// When the kernel refuses: a shape that it does not take, ring sizes that are no powers of two.
    pub fn open(umem: &Rc<RawUmem>, sizes: &RingSizes) -> Result<Self> {
        let fd = open()?;
        // Never fatal: with CAP_IPC_LOCK the limit does not count.
        let _ = sys_socket::lift_memlock();
        umem.register(fd.as_fd())
            .map_err(|error| Error::os("register umem", format!("{:?}", umem.config), error))?;
        Self::with_rings(fd, umem, sizes)
    }

    /// Opens a socket that will share the UMEM of another one ([`bind_sharing`](Self::bind_sharing)).
    /// On its donor's queue it has no fill and no completion ring of its own: sizes 0.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn sharing(umem: &Rc<RawUmem>, sizes: &RingSizes) -> Result<Self> {
        Self::with_rings(open()?, umem, sizes)
    }

    fn with_rings(fd: OwnedFd, umem: &Rc<RawUmem>, sizes: &RingSizes) -> Result<Self> {
        let at = fd.as_fd();
        let rings = Rings {
            fill: Producer::new(ring(at, RingKind::Fill, sizes.fill)?),
            rx: Consumer::new(ring(at, RingKind::Rx, sizes.rx)?),
            tx: Producer::new(ring(at, RingKind::Tx, sizes.tx)?),
            completion: Consumer::new(ring(at, RingKind::Completion, sizes.completion)?),
        };
        Ok(Self { rings, fd, umem: Rc::clone(umem) })
    }

    /// Binds to a queue with these flags (`XDP_COPY`, ...), again for a while on EBUSY.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn bind(&self, ifindex: u32, queue: u32, flags: u16) -> Result<()> {
        let bind = || xsk::bind(self.fd.as_fd(), ifindex, queue, &BindTo::Own { flags });
        Self::retried(format!("interface {ifindex} queue {queue} with flags {flags:#x}"), bind)
    }

    /// Binds to a queue over `donor`'s UMEM (`XDP_SHARED_UMEM`); mode and wake-up are its donor's.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn bind_sharing(&self, donor: &Self, ifindex: u32, queue: u32) -> Result<()> {
        let to = BindTo::Umem(donor.fd.as_fd());
        let bind = || xsk::bind(self.fd.as_fd(), ifindex, queue, &to);
        Self::retried(format!("interface {ifindex} queue {queue} to a shared umem"), bind)
    }

    fn retried(target: String, bind: impl Fn() -> std::io::Result<()>) -> Result<()> {
        let deadline = Instant::now() + BIND_WITHIN;
        loop {
            match bind() {
                Err(error)
                    if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline =>
                {
                    thread::sleep(Duration::from_millis(5));
                }
                result => return result.map_err(|error| Error::os("bind", target, error)),
            }
        }
    }

    /// The memory.
    #[must_use]
    pub fn umem(&self) -> &Rc<RawUmem> {
        &self.umem
    }

    /// Lets system calls on this socket poll the driver: `SO_PREFER_BUSY_POLL` on, `SO_BUSY_POLL` of
    /// 20 microseconds, `SO_BUSY_POLL_BUDGET` of `budget` packets (kernel 5.11).
    ///
    /// # Errors
    /// When the kernel knows no such option.
    pub fn prefer_busy_poll(&self, budget: u16) -> Result<()> {
        sys_socket::set_busy_poll(self.fd.as_fd(), 20, budget)
            .map_err(|error| Error::os("set busy polling of", "AF_XDP socket", error))
    }

    /// Puts addresses into the fill ring, as many as it has room for; returns how many.
    pub fn fill(&mut self, addresses: &[u64]) -> usize {
        put(&mut self.rings.fill, addresses)
    }

    /// Puts descriptors into the tx ring as they are, as many as it has room for; returns how many.
    /// Nobody is woken.
    pub fn send(&mut self, descs: &[XdpDesc]) -> usize {
        put(&mut self.rings.tx, descs)
    }

    /// Takes up to `budget` descriptors from the rx ring. The kernel gets the entries back with
    /// [`release_rx`](Self::release_rx) only.
    pub fn receive(&mut self, budget: u32) -> Vec<XdpDesc> {
        take(&mut self.rings.rx, budget)
    }

    /// Gives the entries of all received descriptors back to the kernel.
    pub fn release_rx(&mut self) {
        self.rings.rx.release();
    }

    /// Reaps up to `budget` addresses from the completion ring.
    pub fn complete(&mut self, budget: u32) -> Vec<u64> {
        let addresses = take(&mut self.rings.completion, budget);
        self.rings.completion.release();
        addresses
    }

    /// How many descriptors the tx ring holds that the kernel has not released.
    #[must_use]
    pub fn tx_queued(&self) -> u32 {
        self.rings.tx.queued()
    }

    /// The kernel's free-running index of the tx ring: descriptors that it has released.
    #[must_use]
    pub fn tx_consumed(&self) -> u32 {
        self.rings.tx.consumer_index()
    }

    /// Whether the kernel asks to be woken for the tx ring.
    #[must_use]
    pub fn tx_needs_wakeup(&self) -> bool {
        self.rings.tx.needs_wakeup()
    }

    /// Tells the kernel to look at the tx ring: one sendto(2).
    ///
    /// # Errors
    /// What the kernel answers; EAGAIN says that there is more than it takes at once.
    pub fn kick_tx(&self) -> Result<()> {
        xsk::kick_tx(self.fd.as_fd()).map_err(|error| Error::os("send on", "raw socket", error))
    }

    /// Tells the kernel to look at the fill ring: one recvfrom(2).
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn kick_rx(&self) -> Result<()> {
        xsk::kick_rx(self.fd.as_fd()).map_err(|error| Error::os("receive on", "raw socket", error))
    }

    /// Waits by poll(2); `false` when the time is over and nothing has come.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn poll(&self, what: PollFor, timeout: Duration) -> Result<bool> {
        let events = match what {
            PollFor::Readable => libc::POLLIN,
            PollFor::Writable => libc::POLLOUT,
        };
        sys_socket::wait_for(self.fd.as_fd(), events, timeout)
            .map(|got| got & events != 0)
            .map_err(|error| Error::os("poll", "raw socket", error))
    }

    /// The kernel's counters of this socket.
    ///
    /// # Errors
    /// When the option is refused.
    pub fn statistics(&self) -> Result<Statistics> {
        xsk::statistics(self.fd.as_fd())
            .map_err(|error| Error::os("read statistics of", "raw socket", error))
    }

    /// What is in the rings now; exact while the kernel is at rest.
    #[must_use]
    pub fn walk(&self) -> RawWalk {
        let mut walk = RawWalk::default();
        self.rings.fill.walk(|addr| walk.fill.push(addr));
        self.rings.rx.walk(|desc| walk.rx.push(desc));
        self.rings.tx.walk(|desc| walk.tx.push(desc));
        self.rings.completion.walk(|addr| walk.completion.push(addr));
        walk
    }
}

impl AsFd for RawSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn open() -> Result<OwnedFd> {
    xsk::open().map_err(|error| Error::os("open", "AF_XDP socket", error))
}

/// Sets the size of one ring and maps it; of 0 entries, none.
fn ring<T: Entry>(fd: BorrowedFd<'_>, kind: RingKind, entries: u32) -> Result<RingMemory<T>> {
    if entries == 0 {
        return Ok(RingMemory::unmapped());
    }
    let target = || format!("{kind:?} ring to {entries}");
    xsk::set_ring_size(fd, kind, entries)
        .map_err(|error| Error::os("set size of", target(), error))?;
    if !entries.is_power_of_two() {
        return Err(Error::refused("map", target(), "not a power of two"));
    }
    let offsets = xsk::mmap_offsets(fd)
        .map_err(|error| Error::os("read ring layout of", "AF_XDP socket", error))?;
    let (file_offset, layout) = match kind {
        RingKind::Fill => (xsk::PGOFF_FILL_RING, offsets.fill),
        RingKind::Completion => (xsk::PGOFF_COMPLETION_RING, offsets.completion),
        RingKind::Rx => (xsk::PGOFF_RX_RING, offsets.rx),
        RingKind::Tx => (xsk::PGOFF_TX_RING, offsets.tx),
    };
    umem::map(fd, file_offset, &layout, entries)
}

fn put<T: Entry>(ring: &mut Producer<T>, values: &[T]) -> usize {
    let wanted = u32::try_from(values.len()).unwrap_or(u32::MAX).min(ring.size());
    let count = ring.free(wanted).min(wanted) as usize;
    if count > 0 {
        ring.push_all(&values[..count]);
        ring.publish();
    }
    count
}

fn take<T: Entry>(ring: &mut Consumer<T>, budget: u32) -> Vec<T> {
    let count = ring.available(budget).min(budget);
    if count == 0 {
        return Vec::new();
    }
    let entries = ring.segments(count).concat();
    ring.pass(count);
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::{PageTier, Pool, PoolConfig};

    fn config(len_bytes: u64) -> RawUmemConfig {
        RawUmemConfig { len_bytes, chunk_bytes: 2048, headroom_bytes: 0, unaligned: false }
    }

    fn region() -> Arc<Region> {
        Region::builder(8192).tiers(&[PageTier::Base4K]).build().unwrap()
    }

    #[test]
    fn bytes_come_back_and_the_bounds_hold() {
        let umem = RawUmem::new(region(), config(8192)).unwrap();
        umem.write(8192 - 3, b"end");
        assert_eq!(umem.read(8192 - 4, 4), b"\0end");
        for offset in [8192 - 2, u64::MAX] {
            let over = std::panic::AssertUnwindSafe(|| umem.read(offset, 3));
            assert!(std::panic::catch_unwind(over).is_err(), "{offset}");
        }
    }

    #[test]
    fn a_region_has_one_owner() {
        let shared = region();
        assert!(RawUmem::new(Arc::clone(&shared), config(8193)).is_err());
        let _umem = RawUmem::new(Arc::clone(&shared), config(8192)).unwrap();
        assert!(RawUmem::new(Arc::clone(&shared), config(8192)).is_err());
        assert!(Pool::new(shared, PoolConfig::default()).is_err());
    }
}
