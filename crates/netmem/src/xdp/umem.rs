//! A pool's slots as the UMEM of a socket: registration, ring sizes, ring mappings.
//!
//! Registering pins the pages; they count against RLIMIT_MEMLOCK unless the process has
//! CAP_IPC_LOCK. The rings are mapped shared and hidden from forked children (D5).

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use super::{
    PortReport, RingSizes,
    builder::UmemOptions,
    port::Rings,
    ring::{Consumer, Entry, Producer, RingMemory},
};
use crate::{
    Error, Result,
    mem::{PageTier, Pool, Region, XDP_PACKET_HEADROOM},
    sys::{
        mmap::Mapping,
        socket as sys_socket, to_usize,
        xsk::{self, BindTo, MmapOffsets, RingKind, RingOffset, UmemReg},
    },
};

/// What the kernel wants to keep behind a packet of several frames: `struct skb_shared_info` in whole
/// cache lines of 64 bytes, with the 17 fragments that a kernel has by default.
const SHARED_INFO_BYTES: u32 = 320;
/// What a headroom has to leave for a packet, at least.
const LEAST_PACKET_BYTES: u32 = 128;
/// How long the pages of a closed socket may count against RLIMIT_MEMLOCK: the kernel unpins them
/// later (`xdp_umem_release_deferred` in net/xdp/xdp_umem.c, kernel 6.18).
const UNPINNED_WITHIN: Duration = Duration::from_secs(3);

/// What the kernel is told of a pool's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    frame_bytes: u32,
    headroom_bytes: u32,
    /// Whether a `struct xsk_tx_metadata` may stand in front of a packet that is sent.
    has_tx_metadata: bool,
}

/// A socket with memory of its own.
pub(crate) struct Registered {
    pub(crate) fd: OwnedFd,
    /// Whether the kernel takes the metadata that the [`Shape`] asks for, or what it said.
    pub(crate) tx_metadata: io::Result<()>,
}

impl Shape {
    pub(crate) fn of(pool: &Pool, options: UmemOptions) -> Result<Self> {
        let frame_bytes = pool.config().frame_bytes;
        let refuse = |why: String| {
            let target = format!("of frames of {frame_bytes} bytes");
            Err(Error::refused("register umem", target, why))
        };
        // `xdp_umem_reg` in net/xdp/xdp_umem.c, kernel 6.18; unaligned chunks have no other limits. The
        // headroom's is that of later 6.18 and 7.0: before, all but one byte could be headroom.
        if !(2048..=4096).contains(&frame_bytes) {
            return refuse(
                "AF_XDP takes frames of 2048 to 4096 bytes, longer packets span several".into(),
            );
        }
        if !frame_bytes.is_multiple_of(2) {
            return refuse(
                "frames of an odd size start at odd addresses, which lose bit 0 when the kernel gives \
                 them back from sending by copy (kernel 6.18)"
                    .into(),
            );
        }
        let headroom_bytes = options.headroom_bytes;
        let most_bytes = frame_bytes - XDP_PACKET_HEADROOM - SHARED_INFO_BYTES - LEAST_PACKET_BYTES;
        if headroom_bytes > most_bytes {
            return refuse(format!(
                "a headroom of {headroom_bytes} bytes leaves no room for packets: {most_bytes} are the \
                 most"
            ));
        }
        Ok(Self { frame_bytes, headroom_bytes, has_tx_metadata: false })
    }

    /// The same with or without metadata in front of packets that are sent.
    pub(crate) fn with_tx_metadata(self, has_tx_metadata: bool) -> Self {
        Self { has_tx_metadata, ..self }
    }

    pub(crate) fn frame_bytes(&self) -> u32 {
        self.frame_bytes
    }

    /// Why zero copy would lose slots of `pool`, if it would.
    ///
    /// A slot across two pages that are no neighbours in memory is passed over by the kernel, which
    /// counts it and never gives it back (`xp_check_unaligned` and `xp_desc_crosses_non_contig_pg`,
    /// net/xdp/xsk_buff_pool.c, kernel 6.18). In copy mode it asks nothing of the pages.
    pub(crate) fn crosses_pages(&self, pool: &Pool) -> Option<String> {
        let (frame_bytes, page_bytes) =
            (self.frame_bytes as usize, pool.region().report().tier.page_bytes());
        let is_inside = page_bytes.is_multiple_of(frame_bytes)
            || pool.slots() as usize * frame_bytes <= page_bytes;
        (!is_inside).then(|| {
            format!(
                "frames of {frame_bytes} bytes lie across pages, and zero copy takes those only \
                 that lie in one; use frames of 2048 or 4096, or one huge page that holds all"
            )
        })
    }

    /// How many bytes of a received packet one frame holds.
    pub(crate) fn packet_bytes(&self) -> u32 {
        self.frame_bytes - XDP_PACKET_HEADROOM - self.headroom_bytes
    }

    /// The flags to try, in order, for the metadata that is asked for. The last are without it.
    fn metadata_flags(&self) -> &'static [u32] {
        const SINCE_6_8: u32 = xsk::XDP_UMEM_TX_SW_CSUM;
        const SINCE_6_11: u32 = xsk::XDP_UMEM_TX_METADATA_LEN | xsk::XDP_UMEM_TX_SW_CSUM;
        // Kernels before 6.8 refuse the one flag; the length alone they would overlook.
        if self.has_tx_metadata { &[SINCE_6_11, SINCE_6_8, 0] } else { &[0] }
    }

    /// Registers the pool's slots with a socket.
    fn register(
        &self,
        fd: BorrowedFd<'_>,
        region: &Region,
        slots: u32,
        metadata_flags: u32,
    ) -> io::Result<()> {
        let mut flags = metadata_flags;
        if !self.frame_bytes.is_power_of_two() {
            flags |= xsk::XDP_UMEM_UNALIGNED_CHUNK_FLAG;
        }
        let reg = UmemReg {
            addr: region.base().as_ptr() as u64,
            len: u64::from(slots) * u64::from(self.frame_bytes),
            chunk_size: self.frame_bytes,
            headroom: self.headroom_bytes,
            flags,
            tx_metadata_len: if metadata_flags == 0 { 0 } else { xsk::TX_METADATA_BYTES },
        };
        // SAFETY: the span is the region's (R1, R2); the port holds the region until the socket is
        // closed and the queue seen free, else the slots stay out of use (R3, D5); slots that the
        // kernel owns are not borrowed (P2).
        unsafe { xsk::register_umem(fd, &reg) }
    }
}

/// Opens a socket, without memory of its own.
pub(crate) fn open_socket() -> Result<OwnedFd> {
    xsk::open().map_err(|error| {
        let error_is_family = error.raw_os_error() == Some(libc::EAFNOSUPPORT);
        let error = Error::os("open", "AF_XDP socket", error);
        error.with_hint(if error_is_family {
            "this kernel was built without CONFIG_XDP_SOCKETS"
        } else {
            "opening AF_XDP sockets needs CAP_NET_RAW"
        })
    })
}

/// Opens a socket and registers the pool's slots with it, without metadata where the kernel refuses it.
pub(crate) fn open(pool: &Pool, shape: &Shape) -> Result<Registered> {
    let len_bytes = u64::from(pool.slots()) * u64::from(shape.frame_bytes);
    let target = format!("of {} frames of {} bytes", pool.slots(), shape.frame_bytes);
    let fd = open_socket()?;
    // Never fatal: with CAP_IPC_LOCK the limit does not count, and if it counts, the registration
    // below says so.
    let _ = sys_socket::lift_memlock();
    let limit = sys_socket::memlock_bytes().unwrap_or(None);
    let deadline = Instant::now() + UNPINNED_WITHIN;
    let mut tx_metadata = Ok(());
    let mut flags = shape.metadata_flags();
    loop {
        let registered = shape.register(fd.as_fd(), pool.region(), pool.slots(), flags[0]);
        let Err(error) = registered else { return Ok(Registered { fd, tx_metadata }) };
        if error.raw_os_error() == Some(libc::EINVAL) && flags.len() > 1 {
            flags = &flags[1..];
            tx_metadata = if flags.len() > 1 { Ok(()) } else { Err(error) };
            continue;
        }
        let is_short = error.raw_os_error() == Some(libc::ENOBUFS);
        let would_fit = limit.is_none_or(|limit| len_bytes <= limit);
        if is_short && would_fit && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
            continue;
        }
        let error = Error::os("register umem", target, error);
        return Err(match limit {
            Some(limit) if is_short => error.with_hint(format!(
                "RLIMIT_MEMLOCK is {limit} bytes for all AF_XDP memory of this user, {len_bytes} \
                 are needed: raise it (ulimit -l) or grant CAP_IPC_LOCK"
            )),
            _ => error,
        });
    }
}

/// Asks the kernel to let this socket's calls poll the driver, where the report says so.
pub(crate) fn set_busy_poll(fd: BorrowedFd<'_>, report: &PortReport) -> Result<()> {
    let Some(busy_poll) = report.busy_poll else { return Ok(()) };
    sys_socket::set_busy_poll(fd, busy_poll.timeout_us, busy_poll.budget).map_err(|error| {
        let is_permission = error.raw_os_error() == Some(libc::EPERM);
        let error = Error::os("set busy polling of", report.to_string(), error);
        if is_permission { error.with_hint("busy polling needs CAP_NET_ADMIN") } else { error }
    })
}

/// Sets the four ring sizes.
pub(crate) fn set_ring_sizes(fd: BorrowedFd<'_>, sizes: &RingSizes) -> Result<()> {
    let kinds = [
        (RingKind::Fill, sizes.fill, "fill ring"),
        (RingKind::Completion, sizes.completion, "completion ring"),
        (RingKind::Rx, sizes.rx, "rx ring"),
        (RingKind::Tx, sizes.tx, "tx ring"),
    ];
    for (kind, entries, name) in kinds {
        xsk::set_ring_size(fd, kind, entries)
            .map_err(|error| Error::os("set size of", format!("{name} to {entries}"), error))?;
    }
    Ok(())
}

/// Maps the four rings, where they stand.
pub(crate) fn map_rings(fd: BorrowedFd<'_>, sizes: &RingSizes) -> Result<Rings> {
    let offsets = ring_layout(fd)?;
    let completion = map(fd, xsk::PGOFF_COMPLETION_RING, &offsets.completion, sizes.completion)?;
    Ok(Rings {
        fill: Producer::new(map(fd, xsk::PGOFF_FILL_RING, &offsets.fill, sizes.fill)?),
        rx: Consumer::new(map(fd, xsk::PGOFF_RX_RING, &offsets.rx, sizes.rx)?),
        tx: Producer::new(map(fd, xsk::PGOFF_TX_RING, &offsets.tx, sizes.tx)?),
        completion: Consumer::new(completion),
    })
}

fn ring_layout(fd: BorrowedFd<'_>) -> Result<MmapOffsets> {
    xsk::mmap_offsets(fd).map_err(|error| Error::os("read ring layout of", "AF_XDP socket", error))
}

pub(super) fn map<T: Entry>(
    fd: BorrowedFd<'_>,
    file_offset: i64,
    offset: &RingOffset,
    entries: u32,
) -> Result<RingMemory<T>> {
    let len_bytes = to_usize(offset.desc) + entries as usize * size_of::<T>();
    let map = || -> io::Result<Mapping> {
        let mapping = Mapping::shared(fd, file_offset, len_bytes)?;
        mapping.advise(0, mapping.len_bytes(), libc::MADV_DONTFORK)?;
        Ok(mapping)
    };
    let target = format!("ring of {entries} entries");
    let mapping = map().map_err(|error| Error::os("map", target, error))?;
    Ok(RingMemory::mapped(mapping, offset, entries))
}

/// Binds a throw-away socket to a queue, to see whether it is free.
pub(crate) fn probe_bind(ifindex: u32, queue: u32) -> io::Result<()> {
    let region =
        Region::builder(4096).tiers(&[PageTier::Base4K]).build().map_err(io::Error::other)?;
    let fd = xsk::open()?;
    let shape = Shape { frame_bytes: 4096, headroom_bytes: 0, has_tx_metadata: false };
    shape.register(fd.as_fd(), &region, 1, 0)?;
    for kind in [RingKind::Fill, RingKind::Completion, RingKind::Rx] {
        xsk::set_ring_size(fd.as_fd(), kind, 2)?;
    }
    xsk::bind(fd.as_fd(), ifindex, queue, &BindTo::Own { flags: xsk::XDP_COPY })
}
