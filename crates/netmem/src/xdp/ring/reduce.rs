//! One look at a whole run of descriptors. The kernel is trusted and checked once per run (X3), so this
//! is on the packet path: it has no branch per descriptor, and is vectors where the compiler does not
//! come to it.

#[cfg(target_arch = "x86_64")]
use std::ptr;

use crate::sys::xsk::XdpDesc;

/// The bitwise or of all addresses, and of all lengths with the options above them: what a run of
/// descriptors can reach at most, and whether any has an option.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn or_all(descs: &[XdpDesc]) -> (u64, u64) {
    // SAFETY: every x86-64 processor has SSE2.
    unsafe { or_all_sse2(descs) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
#[inline]
fn or_all_sse2(descs: &[XdpDesc]) -> (u64, u64) {
    use std::arch::x86_64::{
        __m128i, _mm_cvtsi128_si64, _mm_load_si128, _mm_or_si128, _mm_setzero_si128,
        _mm_unpackhi_epi64,
    };
    let or = |all: __m128i, descs: &[XdpDesc]| {
        descs.iter().fold(all, |all, desc| {
            let desc: *const __m128i = ptr::from_ref(desc).cast();
            // SAFETY: a descriptor has the size and the alignment of the vector.
            _mm_or_si128(all, unsafe { _mm_load_si128(desc) })
        })
    };
    // Sixteen at a time: 1.2 instructions per descriptor instead of 1.8.
    let (chunks, rest) = descs.as_chunks::<16>();
    let all = chunks.iter().fold(_mm_setzero_si128(), |all, chunk| or(all, chunk));
    let all = or(all, rest);
    let lens = _mm_unpackhi_epi64(all, all);
    (_mm_cvtsi128_si64(all).cast_unsigned(), _mm_cvtsi128_si64(lens).cast_unsigned())
}

/// The bitwise or of all addresses, and of all lengths with the options above them: what a run of
/// descriptors can reach at most, and whether any has an option.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(crate) fn or_all(descs: &[XdpDesc]) -> (u64, u64) {
    descs.iter().fold((0, 0), |(addr, len), desc| {
        (addr | desc.addr, len | u64::from(desc.len) | u64::from(desc.options) << 32)
    })
}
