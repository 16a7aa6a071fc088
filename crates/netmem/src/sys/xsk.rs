//! `linux/if_xdp.h`: structures, options and calls of AF_XDP sockets (kernel 5.15 and later).

use std::{
    io,
    mem::offset_of,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
};

use super::{check, socklen};

pub(crate) const XDP_COPY: u16 = 1 << 1;
pub(crate) const XDP_ZEROCOPY: u16 = 1 << 2;
pub(crate) const XDP_USE_NEED_WAKEUP: u16 = 1 << 3;
pub(crate) const XDP_USE_SG: u16 = 1 << 4;
const XDP_SHARED_UMEM: u16 = 1 << 0;

pub(crate) const XDP_UMEM_UNALIGNED_CHUNK_FLAG: u32 = 1 << 0;
/// The kernel computes checksums that a device cannot, in copy mode (kernel 6.8).
pub(crate) const XDP_UMEM_TX_SW_CSUM: u32 = 1 << 1;
/// `tx_metadata_len` counts (kernel 6.11; before, it counted without).
pub(crate) const XDP_UMEM_TX_METADATA_LEN: u32 = 1 << 2;

/// In `XdpDesc::options`: the packet goes on in the next descriptor.
pub(crate) const XDP_PKT_CONTD: u32 = 1 << 0;
/// In the `XdpDesc::options` of a packet's first descriptor: a `struct xsk_tx_metadata` stands in front
/// of the bytes (kernel 6.8).
pub(crate) const XDP_TX_METADATA: u32 = 1 << 1;
/// `xsk_tx_metadata::flags`: `completion.tx_timestamp` is to be filled in.
pub(crate) const XDP_TXMD_FLAGS_TIMESTAMP: u64 = 1 << 0;
/// `xsk_tx_metadata::flags`: `request.csum_start` and `csum_offset` count.
pub(crate) const XDP_TXMD_FLAGS_CHECKSUM: u64 = 1 << 1;
/// In the unaligned mode an address that the kernel writes has the chunk's own below this bit, and from
/// it on how far into the chunk the bytes start.
pub(crate) const XSK_UNALIGNED_BUF_OFFSET_SHIFT: u32 = 48;

const AF_XDP: u16 = 44;
const _: () = assert!(AF_XDP as i32 == libc::AF_XDP);

pub(crate) const RING_NEED_WAKEUP: u32 = 1;

pub(crate) const PGOFF_RX_RING: i64 = 0;
pub(crate) const PGOFF_TX_RING: i64 = 0x8000_0000;
pub(crate) const PGOFF_FILL_RING: i64 = 0x1_0000_0000;
pub(crate) const PGOFF_COMPLETION_RING: i64 = 0x1_8000_0000;

const XDP_MMAP_OFFSETS: i32 = 1;
const XDP_UMEM_REG: i32 = 4;
const XDP_STATISTICS: i32 = 7;
const XDP_MAX_TX_SKB_BUDGET: i32 = 9;

/// Which ring a size is set for; the value is the socket option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum RingKind {
    Rx = 2,
    Tx = 3,
    Fill = 5,
    Completion = 6,
}

/// A descriptor of the rx and tx rings: `struct xdp_desc`. The kernel's rings start it at a multiple
/// of 64 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C, align(16))]
pub struct XdpDesc {
    /// Where the packet's first byte lies, as an offset into the UMEM.
    pub addr: u64,
    /// How many bytes the packet has in this frame.
    pub len: u32,
    /// `XDP_PKT_CONTD`: the packet goes on in the next descriptor. `XDP_TX_METADATA`: a request stands in
    /// front of the bytes.
    pub options: u32,
}
const _: () = assert!(size_of::<XdpDesc>() == 16);

/// `struct xsk_tx_metadata`: 24 bytes with the launch time (kernel 6.15), 16 before, and then the
/// kernel leaves the last 8 alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct TxMetadataBytes {
    pub(crate) flags: u64,
    /// `request.csum_start` and `csum_offset` on the way in, `completion.tx_timestamp` on the way out.
    pub(crate) request_or_stamp: [u8; 8],
    pub(crate) launch_time: u64,
}
pub(crate) const TX_METADATA_BYTES: u32 = 24;
const _: () = assert!(size_of::<TxMetadataBytes>() == TX_METADATA_BYTES as usize);
const _: () = assert!(offset_of!(TxMetadataBytes, request_or_stamp) == 8);
const _: () = assert!(offset_of!(TxMetadataBytes, launch_time) == 16);

impl TxMetadataBytes {
    /// A request; the checksum's places are in bytes, from the packet's first and from there on.
    pub(crate) fn new(flags: u64, csum_start: u16, csum_offset: u16) -> Self {
        let [a, b] = csum_start.to_ne_bytes();
        let [c, d] = csum_offset.to_ne_bytes();
        Self { flags, request_or_stamp: [a, b, c, d, 0, 0, 0, 0], launch_time: 0 }
    }

    pub(crate) fn to_bytes(self) -> [u8; TX_METADATA_BYTES as usize] {
        let mut bytes = [0; TX_METADATA_BYTES as usize];
        bytes[..8].copy_from_slice(&self.flags.to_ne_bytes());
        bytes[8..16].copy_from_slice(&self.request_or_stamp);
        bytes[16..].copy_from_slice(&self.launch_time.to_ne_bytes());
        bytes
    }

    /// What stands at the start of `bytes`; `None` when they are too few.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (flags, rest) = bytes.split_first_chunk()?;
        let (&request_or_stamp, rest) = rest.split_first_chunk()?;
        let launch_time = u64::from_ne_bytes(*rest.first_chunk()?);
        Some(Self { flags: u64::from_ne_bytes(*flags), request_or_stamp, launch_time })
    }
}

#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct UmemReg {
    pub(crate) addr: u64,
    pub(crate) len: u64,
    pub(crate) chunk_size: u32,
    pub(crate) headroom: u32,
    pub(crate) flags: u32,
    pub(crate) tx_metadata_len: u32,
}
const _: () = assert!(size_of::<UmemReg>() == 32);

#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub(crate) struct RingOffset {
    pub(crate) producer: u64,
    pub(crate) consumer: u64,
    pub(crate) desc: u64,
    pub(crate) flags: u64,
}

#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub(crate) struct MmapOffsets {
    pub(crate) rx: RingOffset,
    pub(crate) tx: RingOffset,
    pub(crate) fill: RingOffset,
    pub(crate) completion: RingOffset,
}
const _: () = assert!(size_of::<MmapOffsets>() == 128);

/// The kernel's own six counters of an AF_XDP socket: `struct xdp_statistics`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Statistics {
    /// Packets dropped for other reasons than the two below, such as being longer than a frame.
    pub rx_dropped: u64,
    /// Fill ring entries that were not an address inside the UMEM.
    pub rx_invalid_descs: u64,
    /// Tx ring descriptors that the kernel refused.
    pub tx_invalid_descs: u64,
    /// Packets dropped because the rx ring was full.
    pub rx_ring_full: u64,
    /// Packets dropped because the fill ring was empty.
    pub rx_fill_ring_empty_descs: u64,
    /// Times the kernel looked for a packet to send and found none.
    pub tx_ring_empty_descs: u64,
}
const _: () = assert!(size_of::<Statistics>() == 48);

#[repr(C)]
struct SockaddrXdp {
    family: u16,
    flags: u16,
    ifindex: u32,
    queue_id: u32,
    shared_umem_fd: u32,
}
const _: () = assert!(size_of::<SockaddrXdp>() == 16);

/// Opens an AF_XDP socket, closed on exec.
pub(crate) fn open() -> io::Result<OwnedFd> {
    // SAFETY: no pointers are involved.
    let fd = check(unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor is new and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Registers the memory that `reg` describes; the kernel pins its pages.
///
/// # Safety
/// `reg.addr..reg.addr + reg.len` is a mapping that stays until the socket and every ring mapping
/// are gone, and whose bytes nobody borrows while the kernel owns their slot.
pub(crate) unsafe fn register_umem(fd: BorrowedFd<'_>, reg: &UmemReg) -> io::Result<()> {
    set_option(fd, XDP_UMEM_REG, reg)
}

pub(crate) fn set_ring_size(fd: BorrowedFd<'_>, ring: RingKind, entries: u32) -> io::Result<()> {
    set_option(fd, ring as i32, &entries)
}

/// Lets one sendto(2) take up to `budget` descriptors in copy mode (kernel 6.18; ENOPROTOOPT before).
pub(crate) fn set_tx_budget(fd: BorrowedFd<'_>, budget: u32) -> io::Result<()> {
    set_option(fd, XDP_MAX_TX_SKB_BUDGET, &budget)
}

fn set_option<T>(fd: BorrowedFd<'_>, option: i32, value: &T) -> io::Result<()> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of `value`, which lives across the call.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_XDP,
            option,
            ptr::from_ref(value).cast(),
            socklen::<T>(),
        )
    })
    .map(drop)
}

pub(crate) fn mmap_offsets(fd: BorrowedFd<'_>) -> io::Result<MmapOffsets> {
    let (offsets, len) = get_option::<MmapOffsets>(fd, XDP_MMAP_OFFSETS)?;
    if len == socklen::<MmapOffsets>() {
        Ok(offsets)
    } else {
        // Kernels before 5.4 have no flags word; their rings cannot say that they need a wake-up.
        Err(io::Error::from_raw_os_error(libc::ENOSYS))
    }
}

pub(crate) fn statistics(fd: BorrowedFd<'_>) -> io::Result<Statistics> {
    get_option(fd, XDP_STATISTICS).map(|(statistics, _)| statistics)
}

fn get_option<T: Default>(fd: BorrowedFd<'_>, option: i32) -> io::Result<(T, libc::socklen_t)> {
    let mut value = T::default();
    let mut len = socklen::<T>();
    // SAFETY: the kernel writes at most `len` bytes to `value`; both live across the call, and every
    // bit pattern is a valid value of the structures used here (they hold integers only).
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_XDP,
            option,
            ptr::from_mut(&mut value).cast(),
            &raw mut len,
        )
    })?;
    Ok((value, len))
}

/// Which UMEM a socket is bound with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BindTo<'fd> {
    /// Its own, in the mode that the flags name.
    Own { flags: u16 },
    /// That of another socket, which is bound already: the mode is inherited.
    Umem(BorrowedFd<'fd>),
}

pub(crate) fn bind(
    fd: BorrowedFd<'_>,
    ifindex: u32,
    queue_id: u32,
    to: &BindTo<'_>,
) -> io::Result<()> {
    let (flags, shared_umem_fd) = match to {
        BindTo::Own { flags } => (*flags, 0),
        BindTo::Umem(donor) => (XDP_SHARED_UMEM, donor.as_raw_fd().cast_unsigned()),
    };
    let address = SockaddrXdp { family: AF_XDP, flags, ifindex, queue_id, shared_umem_fd };
    // SAFETY: the kernel reads `size_of::<SockaddrXdp>()` bytes of `address`.
    check(unsafe {
        libc::bind(fd.as_raw_fd(), ptr::from_ref(&address).cast(), socklen::<SockaddrXdp>())
    })
    .map(drop)
}

/// Tells the kernel to look at the tx ring.
pub(crate) fn kick_tx(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no buffer and no address: null with length 0 for both.
    let sent =
        unsafe { libc::sendto(fd.as_raw_fd(), ptr::null(), 0, libc::MSG_DONTWAIT, ptr::null(), 0) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Tells the kernel to look at the fill ring.
pub(crate) fn kick_rx(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no buffer and no address: null with length 0 for both.
    let got = unsafe {
        libc::recvfrom(
            fd.as_raw_fd(),
            ptr::null_mut(),
            0,
            libc::MSG_DONTWAIT,
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    if got < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
