//! Mappings: reserving address space, placing memory in it, advice and NUMA binding.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr::{self, NonNull},
};

use super::check;

/// A span of address space that is unmapped when this is dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len_bytes: usize,
    /// A span (offset, length) that is not this value's any more: a refused mmap(2) with MAP_FIXED has
    /// already removed what was there, and anybody may have mapped something into the hole since.
    hole: (usize, usize),
}

// SAFETY: the span is plain memory, owned by this value alone (R1); who may touch which bytes of it
// when is decided by the owner (P2 for slots, the ring protocol D3 for rings).
unsafe impl Send for Mapping {}
// SAFETY: as above; this type itself never reads or writes the span.
unsafe impl Sync for Mapping {}

/// What is placed into a reservation.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'fd> {
    /// Private anonymous base pages.
    Anonymous,
    /// Private anonymous pages of hugetlb, of `1 << shift` bytes each.
    Huge { shift: u32 },
    /// A shared file mapping from offset 0.
    Shared(BorrowedFd<'fd>),
}

impl Mapping {
    /// Reserves `len_bytes` of address space that faults when touched.
    pub(crate) fn reserve(len_bytes: usize) -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: no address is named, so no existing mapping can be affected.
        let start =
            unsafe { libc::mmap(ptr::null_mut(), len_bytes, libc::PROT_NONE, flags, -1, 0) };
        Self::from_mmap(start, len_bytes)
    }

    /// Maps `len_bytes` of `fd` at file offset `offset`, shared, readable, writable and populated.
    pub(crate) fn shared(fd: BorrowedFd<'_>, offset: i64, len_bytes: usize) -> io::Result<Self> {
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: no address is named, so no existing mapping can be affected.
        let start = unsafe {
            libc::mmap(ptr::null_mut(), len_bytes, protection, flags, fd.as_raw_fd(), offset)
        };
        Self::from_mmap(start, len_bytes)
    }

    /// Maps the first `len_bytes` of `fd`, shared, for reading.
    pub(crate) fn readable(fd: BorrowedFd<'_>, len_bytes: usize) -> io::Result<Self> {
        let (flags, protection) = (libc::MAP_SHARED, libc::PROT_READ);
        // SAFETY: no address is named, so no existing mapping can be affected.
        let start =
            unsafe { libc::mmap(ptr::null_mut(), len_bytes, protection, flags, fd.as_raw_fd(), 0) };
        Self::from_mmap(start, len_bytes)
    }

    fn from_mmap(start: *mut libc::c_void, len_bytes: usize) -> io::Result<Self> {
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).expect("mmap without MAP_FIXED never returns 0");
        Ok(Self { start, len_bytes, hole: (0, 0) })
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Puts readable and writable memory over `offset..offset + len_bytes` of this reservation.
    ///
    /// # Panics
    /// When the span is not inside the reservation.
    pub(crate) fn place(
        &mut self,
        offset: usize,
        len_bytes: usize,
        what: Place<'_>,
    ) -> io::Result<()> {
        let start = self.span(offset, len_bytes);
        let (kind, fd) = match what {
            Place::Anonymous => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1),
            Place::Huge { shift } => {
                let huge = libc::MAP_HUGETLB | (shift.cast_signed() << libc::MAP_HUGE_SHIFT);
                (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | huge, -1)
            }
            Place::Shared(fd) => (libc::MAP_SHARED, fd.as_raw_fd()),
        };
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: MAP_FIXED replaces only pages of the reservation that this value owns (R1), as
        // `span` checked, and nothing has been handed out of it yet.
        let got =
            unsafe { libc::mmap(start, len_bytes, protection, kind | libc::MAP_FIXED, fd, 0) };
        if got == libc::MAP_FAILED {
            let error = io::Error::last_os_error();
            self.hole = (offset, len_bytes);
            return Err(error);
        }
        Ok(())
    }

    /// Calls madvise(2) on a part of the mapping.
    pub(crate) fn advise(&self, offset: usize, len_bytes: usize, advice: i32) -> io::Result<()> {
        let start = self.span(offset, len_bytes);
        // SAFETY: the span is inside this mapping; the advice values used by this crate (DONTFORK,
        // HUGEPAGE, COLLAPSE, POPULATE_WRITE) never discard contents.
        check(unsafe { libc::madvise(start, len_bytes, advice) }).map(drop)
    }

    /// Binds the pages of a part of the mapping to NUMA node `node` (0..64) before they are touched.
    pub(crate) fn bind_node(&self, offset: usize, len_bytes: usize, node: u32) -> io::Result<()> {
        const MPOL_BIND: libc::c_long = 2;
        let start = self.span(offset, len_bytes);
        let mask =
            1u64.checked_shl(node).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        let mask_bits: libc::c_long = 65;
        // SAFETY: mbind(2) reads `mask_bits - 1` bits from `mask`, which lives across the call, and
        // sets the policy of a span inside this mapping.
        let result = unsafe {
            libc::syscall(
                libc::SYS_mbind,
                start,
                len_bytes,
                MPOL_BIND,
                ptr::from_ref(&mask),
                mask_bits,
                0 as libc::c_long,
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn span(&self, offset: usize, len_bytes: usize) -> *mut libc::c_void {
        let end = offset.checked_add(len_bytes).expect("a span's end fits in usize");
        assert!(end <= self.len_bytes, "span {offset}..{end} is outside of {self:?}");
        // SAFETY: `offset <= len_bytes`, so the pointer stays inside the mapping or one past it.
        unsafe { self.start.as_ptr().add(offset) }.cast()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let (hole, hole_len) = self.hole;
        for (offset, len_bytes) in [(0, hole), (hole + hole_len, self.len_bytes - hole - hole_len)]
        {
            if len_bytes == 0 {
                continue;
            }
            let start = self.span(offset, len_bytes);
            // SAFETY: the span was mapped by this value and is not in its hole, is unmapped once, and
            // its owner has dropped everything that pointed into it (R3, D5).
            let result = unsafe { libc::munmap(start, len_bytes) };
            debug_assert_eq!(result, 0, "munmap: {}", io::Error::last_os_error());
        }
    }
}

/// Makes an anonymous file of `len_bytes`; `huge_shift` asks for hugetlb pages of that size.
pub(crate) fn memfd(name: &CStr, len_bytes: usize, huge_shift: Option<u32>) -> io::Result<OwnedFd> {
    let huge = huge_shift.map_or(0, |shift| libc::MFD_HUGETLB | (shift << libc::MAP_HUGE_SHIFT));
    // SAFETY: `name` is a nul-terminated string that lives across the call.
    let fd = check(unsafe {
        libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING | huge)
    })?;
    // SAFETY: the descriptor is new and nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let len = i64::try_from(len_bytes).map_err(io::Error::other)?;
    // SAFETY: plain system call on a descriptor owned here.
    check(unsafe { libc::ftruncate(fd.as_raw_fd(), len) })?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "outside of")]
    fn a_span_outside_of_the_mapping_is_refused() {
        let mut mapping = Mapping::reserve(8192).unwrap();
        let _ = mapping.place(4096, 8192, Place::Anonymous);
    }
}
