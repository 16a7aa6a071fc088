//! The raw ABI: one function per system call, `repr(C)` structures with sizes asserted when this is
//! compiled. Nothing here decides anything; errors are the kernel's `io::Error`.
//!
//! Unsafe blocks here hand the kernel pointers to live Rust values of the size the ABI names; what
//! the kernel keeps a pointer to (mappings, the UMEM) is owned by a value whose `Drop` comes after
//! the kernel has let go (invariants R1 and D5).

#[cfg(not(loom))]
pub(crate) mod memfd;
pub(crate) mod mmap;
pub(crate) mod socket;
pub(crate) mod xsk;

use std::io;

/// Turns the `-1` of a system call into the error that `errno` names.
pub(crate) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Widens or narrows between the kernel's `u64` and `usize`, which are the same width here.
pub(crate) const fn to_usize(value: u64) -> usize {
    const { assert!(size_of::<usize>() == size_of::<u64>()) };
    #[allow(clippy::cast_possible_truncation, reason = "the widths are equal, asserted above")]
    {
        value as usize
    }
}

/// The size of a kernel structure as the `socklen_t` that socket calls take.
pub(crate) const fn socklen<T>() -> libc::socklen_t {
    const { assert!(size_of::<T>() < 4096) };
    #[allow(clippy::cast_possible_truncation, reason = "below 4096, asserted above")]
    {
        size_of::<T>() as libc::socklen_t
    }
}
