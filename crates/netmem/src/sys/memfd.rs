//! Anonymous files of words that one process writes and others may only read, and the clock that they
//! are dated by.
//!
//! The maker maps its file writable and seals it then: `F_SEAL_FUTURE_WRITE` (kernel 5.1) leaves that
//! one mapping writable and refuses every later one, write(2) and hole punching
//! (`shmem_mmap`, `shmem_fallocate` in mm/shmem.c, kernel 6.18). Words are reached by atomic operations
//! only, on both sides.
//!
//! - **W1** (of this module) the mapping of a [`Words`] or [`SealedFile`] is readable over its whole
//!   length while the value lives, and its file cannot shrink: it is sealed against that.

use std::{
    ffi::CStr,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    slice,
};

use super::{
    check,
    mmap::{Mapping, Place},
};
#[cfg(test)]
use crate::sync::Ordering;
use crate::sync::{AtomicU64, Loads};

/// The seals of a page: nobody changes its size, its seals, or by a new mapping its contents.
pub(crate) const SEALS: libc::c_int =
    libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_FUTURE_WRITE | libc::F_SEAL_SEAL;

const WORD_BYTES: usize = size_of::<u64>();

/// The only writable mapping of a sealed file. Not inherited by forked children.
#[derive(Debug)]
pub(crate) struct Words {
    mapping: Mapping,
    fd: OwnedFd,
}

impl Words {
    /// Makes the file `name` of `len_bytes` zeroes (a multiple of the page size), lets `write` write
    /// its first words, and seals it.
    pub(crate) fn create(
        name: &CStr,
        len_bytes: usize,
        write: impl FnOnce(&[AtomicU64]),
    ) -> io::Result<Self> {
        let fd = sealable(name)?;
        let len = i64::try_from(len_bytes).map_err(io::Error::other)?;
        // SAFETY: plain system call on a descriptor owned here.
        check(unsafe { libc::ftruncate(fd.as_raw_fd(), len) })?;
        let mut mapping = Mapping::reserve(len_bytes)?;
        mapping.place(0, len_bytes, Place::Shared(fd.as_fd()))?;
        mapping.advise(0, len_bytes, libc::MADV_DONTFORK)?;
        let words = Self { mapping, fd };
        words.populate(0, 1)?;
        write(words.as_slice());
        // SAFETY: plain system call on a descriptor owned here.
        check(unsafe { libc::fcntl(words.fd.as_raw_fd(), libc::F_ADD_SEALS, SEALS) })?;
        Ok(words)
    }

    pub(crate) fn as_slice(&self) -> &[AtomicU64] {
        lend(&self.mapping)
    }

    /// Gets the memory of the pages with words `first..first + count` (at least one), so that a
    /// shortage is an error here and no signal when they are written.
    pub(crate) fn populate(&self, first: usize, count: usize) -> io::Result<()> {
        const PAGE_BYTES: usize = 4096;
        let start = first * WORD_BYTES / PAGE_BYTES * PAGE_BYTES;
        let end = ((first + count) * WORD_BYTES).next_multiple_of(PAGE_BYTES);
        match self.mapping.advise(start, end - start, libc::MADV_POPULATE_WRITE) {
            // Before kernel 5.14: the first write gets it.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
            result => result,
        }
    }
}

impl AsFd for Words {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Somebody's sealed file, mapped for reading.
#[derive(Debug)]
pub(crate) struct SealedFile(Mapping);

impl SealedFile {
    /// Maps the `len_bytes` of `fd`, which has `SEALS` (or at least that against shrinking) and is on
    /// tmpfs: else its maker could take pages away while they are read.
    pub(crate) fn map(fd: BorrowedFd<'_>, len_bytes: usize) -> io::Result<Self> {
        if seals(fd)? & libc::F_SEAL_SHRINK == 0 || !is_tmpfs(fd)? {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        Ok(Self(Mapping::readable(fd, len_bytes)?))
    }

    pub(crate) fn loads(&self) -> Loads<'_> {
        Loads::from(lend(&self.0))
    }
}

/// The seals of a memfd; EINVAL for another file.
pub(crate) fn seals(fd: BorrowedFd<'_>) -> io::Result<libc::c_int> {
    // SAFETY: plain system call on a borrowed descriptor.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) })
}

/// The time since boot, with the time that the machine slept, in nanoseconds (CLOCK_BOOTTIME).
pub(crate) fn boottime_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec, which lives across the call. It knows the clock since
    // 2.6.39, so that the call does not fail; if it did, the time would be 0.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// The calling thread's number, and the processor that it runs on.
pub(crate) fn thread_and_cpu() -> (u32, u32) {
    // SAFETY: takes nothing and cannot fail.
    let thread = unsafe { libc::gettid() };
    // SAFETY: takes nothing; -1 where the kernel does not say.
    let cpu = unsafe { libc::sched_getcpu() };
    (thread.cast_unsigned(), cpu.cast_unsigned())
}

/// Makes an empty file that can be sealed, and not executed where the kernel (6.3) can say so.
fn sealable(name: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    let make = |flags| {
        // SAFETY: `name` is a nul-terminated string that lives across the call.
        check(unsafe { libc::memfd_create(name.as_ptr(), flags) })
    };
    let fd = match make(flags | libc::MFD_NOEXEC_SEAL) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => make(flags)?,
        made => made?,
    };
    // SAFETY: the descriptor is new and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn is_tmpfs(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut about = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the kernel writes one statfs, which lives across the call.
    check(unsafe { libc::fstatfs(fd.as_raw_fd(), about.as_mut_ptr()) })?;
    // SAFETY: the call succeeded, so that it was written.
    let about = unsafe { about.assume_init() };
    Ok(about.f_type == libc::TMPFS_MAGIC)
}

fn lend(mapping: &Mapping) -> &[AtomicU64] {
    let count = mapping.len_bytes() / WORD_BYTES;
    // SAFETY: readable, page-aligned and so long (W1), not unmapped while `mapping` is borrowed, and
    // reached by atomic operations only. Where it is mapped for reading, `Loads` alone is handed out.
    unsafe { slice::from_raw_parts(mapping.start().as_ptr().cast(), count) }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    /// A second opening of the file, as another process would get it from `/proc`: neither a writable
    /// mapping nor one that could become so.
    ///
    /// Kills: F_SEAL_FUTURE_WRITE not put on.
    #[test]
    fn nobody_else_maps_it_writable() {
        let mut written = false;
        let words = Words::create(c"netmem-test", 8192, |words| {
            written = true;
            words[0].store(7, Ordering::Relaxed);
        });
        let words = words.unwrap();
        assert!(written && seals(words.as_fd()).unwrap() & SEALS == SEALS);
        let path = format!("/proc/self/fd/{}", words.as_fd().as_raw_fd());
        let again = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let error = Mapping::shared(again.as_fd(), 0, 8192).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        let mapping = Mapping::readable(again.as_fd(), 8192).unwrap();
        let start = mapping.start().as_ptr().cast();
        // SAFETY: the span is this mapping's, and nothing has been handed out of it.
        let result = unsafe { libc::mprotect(start, 8192, libc::PROT_READ | libc::PROT_WRITE) };
        assert_eq!(check(result).unwrap_err().raw_os_error(), Some(libc::EACCES));
        // The maker still writes, and is read.
        words.as_slice()[0].store(8, Ordering::Relaxed);
        let file = SealedFile::map(again.as_fd(), 8192).unwrap();
        assert_eq!(file.loads().load(0, Ordering::Acquire), 8);
        words.as_slice()[0].store(9, Ordering::Relaxed);
        assert_eq!(file.loads().load(0, Ordering::Acquire), 9);
    }

    /// What its maker could shorten is not mapped: a read behind its end is a signal.
    #[test]
    fn a_file_that_can_shrink_is_not_mapped() {
        let fd = sealable(c"netmem-test").unwrap();
        assert_eq!(seals(fd.as_fd()).unwrap() & SEALS, 0);
        let error = SealedFile::map(fd.as_fd(), 4096).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
