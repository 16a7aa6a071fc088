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
    RingSizes,
    port::Rings,
    ring::{Consumer, Entry, Producer, RingMemory},
};
use crate::{
    Error, Result,
    mem::{PageTier, Pool, Region},
    sys::{
        mmap::Mapping,
        socket as sys_socket, to_usize,
        xsk::{self, RingKind, RingOffset, UmemReg},
    },
};

/// How long the pages of a closed socket may count against RLIMIT_MEMLOCK: the kernel unpins them
/// later (`xdp_umem_release_deferred` in net/xdp/xdp_umem.c, kernel 6.18).
const UNPINNED_WITHIN: Duration = Duration::from_secs(1);

/// Opens a socket and registers the pool's slots with it.
pub(crate) fn open(pool: &Pool) -> Result<OwnedFd> {
    let frame_bytes = pool.config().frame_bytes;
    let len_bytes = u64::from(pool.slots()) * u64::from(frame_bytes);
    let target = format!("of {} frames of {frame_bytes} bytes", pool.slots());
    let fd = xsk::open().map_err(|error| {
        let error_is_family = error.raw_os_error() == Some(libc::EAFNOSUPPORT);
        let error = Error::os("open", "AF_XDP socket", error);
        error.with_hint(if error_is_family {
            "this kernel was built without CONFIG_XDP_SOCKETS"
        } else {
            "opening AF_XDP sockets needs CAP_NET_RAW"
        })
    })?;
    // Never fatal: with CAP_IPC_LOCK the limit does not count, and if it counts, the registration
    // below says so.
    let _ = sys_socket::lift_memlock();
    let limit = sys_socket::memlock_bytes().unwrap_or(None);
    let deadline = Instant::now() + UNPINNED_WITHIN;
    loop {
        let Err(error) = register(fd.as_fd(), pool.region(), len_bytes, frame_bytes) else {
            return Ok(fd);
        };
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

fn register(
    fd: BorrowedFd<'_>,
    region: &Region,
    len_bytes: u64,
    frame_bytes: u32,
) -> io::Result<()> {
    let addr = region.base().as_ptr() as u64;
    let reg = UmemReg { addr, len: len_bytes, chunk_size: frame_bytes, ..UmemReg::default() };
    // SAFETY: the span is the region's (R1, R2); the port holds the region until the socket is closed
    // and the queue seen free, else the slots stay out of use (R3, D5); slots that the kernel owns
    // are not borrowed (P2).
    unsafe { xsk::register_umem(fd, &reg) }
}

/// Sets the four ring sizes and maps the rings.
pub(crate) fn map_rings(fd: BorrowedFd<'_>, sizes: &RingSizes) -> Result<Rings> {
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
    let offsets = xsk::mmap_offsets(fd)
        .map_err(|error| Error::os("read ring layout of", "AF_XDP socket", error))?;
    Ok(Rings {
        fill: Producer::new(map(fd, xsk::PGOFF_FILL_RING, &offsets.fill, sizes.fill)?),
        rx: Consumer::new(map(fd, xsk::PGOFF_RX_RING, &offsets.rx, sizes.rx)?),
        tx: Producer::new(map(fd, xsk::PGOFF_TX_RING, &offsets.tx, sizes.tx)?),
        completion: Consumer::new(map(
            fd,
            xsk::PGOFF_COMPLETION_RING,
            &offsets.completion,
            sizes.completion,
        )?),
    })
}

fn map<T: Entry>(
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
    register(fd.as_fd(), &region, 4096, 4096)?;
    for kind in [RingKind::Fill, RingKind::Completion, RingKind::Rx] {
        xsk::set_ring_size(fd.as_fd(), kind, 2)?;
    }
    xsk::bind(fd.as_fd(), ifindex, queue, xsk::XDP_COPY)
}
