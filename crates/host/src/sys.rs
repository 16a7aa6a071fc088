//! The crate's only `unsafe` code: rings of other processes' AF_XDP sockets, mapped for reading, and one
//! socket option that no crate names.
//!
//! A ring's memory belongs to the socket (`xskq_create` in net/xdp/xsk_queue.c): it never shrinks, and a
//! mapping keeps the socket, and with it the queue, until it is unmapped. So a [`ForeignRing`] lives no
//! longer than one look. What is read is whatever the two sides write meanwhile: it is copied once, word by
//! word, and trusted for nothing (D6).
//!
//! * **H1** the span of a [`ForeignRing`] is mapped for reading, in whole, while the value lives.
//!
//! Kernel 5.4 (offsets with a flags word); `SO_NETNS_COOKIE` 5.14.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, AtomicU64, Ordering, fence},
};

use nix::libc;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A part of a file, mapped shared and for reading; unmapped when dropped.
#[derive(Debug)]
pub(crate) struct ForeignRing {
    start: NonNull<u8>,
    len_bytes: usize,
}

impl ForeignRing {
    /// Maps `len_bytes` of `fd` from the file offset `offset_bytes`, both whole pages.
    pub(crate) fn map(fd: BorrowedFd<'_>, offset_bytes: u64, len_bytes: usize) -> io::Result<Self> {
        // SAFETY: no address is named, so no existing mapping can be affected; the new one is this
        // value's alone (H1).
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                len_bytes,
                ProtFlags::READ,
                MapFlags::SHARED,
                fd.as_fd(),
                offset_bytes,
            )
        }?;
        let start = NonNull::new(start.cast()).expect("mmap without MAP_FIXED never returns 0");
        Ok(Self { start, len_bytes })
    }

    /// The word of 32 bits at a multiple of 4; nothing if it is not inside.
    pub(crate) fn load_u32(&self, offset_bytes: usize) -> Option<u32> {
        let place = self.place(offset_bytes, size_of::<u32>())?;
        // SAFETY: `place` is aligned and inside the span, which stays mapped across the load (H1); others
        // write it by whole words of this size, and nobody borrows it.
        let word = unsafe { AtomicU32::from_ptr(place.cast().as_ptr()) };
        // Relaxed, for only that may be used on memory that is mapped for reading; the fence makes later
        // loads of this thread later than this one. Pairs with the releases of the ring's two sides.
        let value = word.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        Some(value)
    }

    /// The word of 64 bits at a multiple of 8; nothing if it is not inside.
    pub(crate) fn load_u64(&self, offset_bytes: usize) -> Option<u64> {
        let place = self.place(offset_bytes, size_of::<u64>())?;
        // SAFETY: as in `load_u32`: aligned, inside, mapped (H1).
        let word = unsafe { AtomicU64::from_ptr(place.cast().as_ptr()) };
        // Relaxed: an entry of the ring by itself, whose owner may change it; its order matters to nobody.
        Some(word.load(Ordering::Relaxed))
    }

    fn place(&self, offset_bytes: usize, size_bytes: usize) -> Option<NonNull<u8>> {
        let end = offset_bytes.checked_add(size_bytes)?;
        if end > self.len_bytes || !offset_bytes.is_multiple_of(size_bytes) {
            return None;
        }
        // SAFETY: the offset is inside the span (H1).
        Some(unsafe { self.start.add(offset_bytes) })
    }
}

impl Drop for ForeignRing {
    fn drop(&mut self) {
        // SAFETY: the span was mapped by this value, is unmapped once, and nothing points into it (H1).
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len_bytes) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}

/// The number of the network namespace that a socket was opened in, never used twice (kernel 5.14).
pub(crate) fn netns_cookie(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie = 0u64;
    let mut len = libc::socklen_t::try_from(size_of::<u64>()).expect("8");
    // SAFETY: the kernel writes at most `len` bytes to `cookie`; both live across the call, and any bytes
    // are a value of an integer.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            ptr::from_mut(&mut cookie).cast(),
            &raw mut len,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(cookie) }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    use rustix::io::pwrite;

    use super::*;

    #[test]
    fn words_inside_are_read_and_others_are_not() {
        let file = memfd_create("netmem-test", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, 8192).unwrap();
        pwrite(&file, &7u64.to_ne_bytes(), 4096 + 8).unwrap();
        let ring = ForeignRing::map(file.as_fd(), 4096, 4096).unwrap();
        assert_eq!((ring.load_u64(8), ring.load_u64(16)), (Some(7), Some(0)));
        assert_eq!(ring.load_u32(4092), Some(0));
        for outside in [4096, 4094, 3, usize::MAX - 3] {
            assert_eq!(ring.load_u32(outside), None, "{outside}");
        }
        assert_eq!(ring.load_u64(4092), None);
        pwrite(&file, &9u64.to_ne_bytes(), 4096 + 8).unwrap();
        assert_eq!(ring.load_u64(8), Some(9), "what is written meanwhile is seen");
    }

    #[test]
    fn a_namespace_has_one_cookie() {
        let socket = || std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let cookie = netns_cookie(socket().as_fd()).unwrap();
        assert_eq!(netns_cookie(socket().as_fd()).unwrap(), cookie);
        let file = std::fs::File::open("/proc/self/status").unwrap();
        assert!(netns_cookie(file.as_fd()).is_err());
    }
}
