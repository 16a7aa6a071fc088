//! The Internet checksum: RFC 1071 over bytes, RFC 1624 for changes in place.
//!
//! The checksum is the complement of the one's complement sum of big-endian 16-bit words. Such a
//! sum may be taken in any byte order and any word size whose carry is added back at the low end
//! (RFC 1071 section 2), so 64-bit words are added as the machine reads them and folded once:
//!
//! ```text
//!  short  | 8 | 8 | 8 | 8 | ... | 8 | 1 to 8 |        each 8: one add with carry
//!  long   | 64: eight lanes | 64 | ... | short  |     each lane: sum, and sum of upper halves
//!  sum    64 bits, end-around carry -> 32 -> 16 -> byte order -> complement
//! ```
//!
//! **The two zeros.** One's complement has +0 (0x0000) and -0 (0xffff). A sum of words that are
//! not all zero is never +0, so a computed checksum is 0xffff only over all-zero data and 0x0000
//! is the other value of zero. [`verify`] sums data and checksum together and wants -0:
//! * a checksum of 0xffff where 0x0000 was computed verifies too (and UDP must send it so, because
//!   0x0000 means "no checksum" there);
//! * a checksum of 0x0000 over all-zero data does not verify. That is the only case in which
//!   [`update16`] differs from a new sum: see there.

use core::net::{Ipv4Addr, Ipv6Addr};

/// Computes the checksum of `bytes`, of any length and alignment; an odd last byte is padded with
/// zero. The checksum field itself must be zero or left out.
#[inline]
#[must_use]
pub fn internet(bytes: &[u8]) -> u16 {
    Sum::of(bytes).finish()
}

/// Tells whether `bytes`, which include their checksum field at an even offset, add up.
///
/// All-zero bytes do not.
#[inline(always)]
#[must_use]
pub fn verify(bytes: &[u8]) -> bool {
    Sum::of(bytes).is_right()
}

/// Updates `checksum` for one 16-bit word (at an even offset) that changes from `old_word` to
/// `new_word`: RFC 1624, equation 3.
///
/// The result is what a new sum gives, unless the changed data are all zero: then it is 0x0000 and
/// a new sum is 0xffff, which is the one that verifies. An IPv4 header never is all zero; an ICMP
/// echo reply with identifier 0, sequence 0 and zeros as payload is
/// ([`Icmpv4::turn_into_echo_reply`](crate::Icmpv4::turn_into_echo_reply) takes care of it).
/// A damaged checksum stays as damaged as it was.
#[inline]
#[must_use]
pub const fn update16(checksum: u16, old_word: u16, new_word: u16) -> u16 {
    // Three 16-bit terms: folding twice takes all carries.
    let sum = !checksum as u32 + !old_word as u32 + new_word as u32;
    let sum = (sum & 0xffff) + (sum >> 16);
    let [.., high, low] = ((sum & 0xffff) + (sum >> 16)).to_be_bytes();
    !u16::from_be_bytes([high, low])
}

/// Updates `checksum` for 32 bits (at an even offset) that change, such as an IPv4 address.
///
/// Same rule and same corner as [`update16`].
#[inline]
#[must_use]
pub const fn update32(checksum: u16, old: u32, new: u32) -> u16 {
    let [a, b, c, d] = old.to_be_bytes();
    let [e, f, g, h] = new.to_be_bytes();
    let checksum = update16(checksum, u16::from_be_bytes([a, b]), u16::from_be_bytes([e, f]));
    update16(checksum, u16::from_be_bytes([c, d]), u16::from_be_bytes([g, h]))
}

/// Sums the IPv4 pseudo header of UDP and TCP: `len_bytes` is the length of their header and
/// payload together.
#[inline]
#[must_use]
pub fn pseudo_header(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, len_bytes: u16) -> Sum {
    // Added as numbers, in the machine's order: four terms below 2^32 do not wrap.
    let addresses = [source, destination].map(|one| u64::from(u32::from_ne_bytes(one.octets())));
    let rest = [u16::from_ne_bytes([0, protocol]), len_bytes.to_be()].map(u64::from);
    Sum(addresses[0] + addresses[1] + rest[0] + rest[1])
}

/// From how many bytes on the sum with lanes is faster than the one with carries.
const LONG_BYTES: usize = 256;
/// 64-bit words that are added side by side.
const LANES: usize = 8;
const LANES_BYTES: usize = 8 * LANES;

/// Sums the IPv6 pseudo header (RFC 8200 section 8.1): `len_bytes` is the length of the upper
/// layer's header and payload together, and `next_header` its protocol number, whatever extension
/// headers stand in between.
///
/// ```
/// use core::net::Ipv6Addr;
///
/// use netmem_wire::checksum::pseudo_header_v6;
///
/// let a = Ipv6Addr::new(0x2001, 0x0db8, 0, 0, 0, 0, 0, 1);
/// let b = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
/// // 2001+0db8+0001+fe80+0002+0011+0001+0008 = 12c56, end-around 2c57
/// assert_eq!(pseudo_header_v6(a, b, 17, 0x1_0008).finish(), !0x2c57);
/// ```
#[inline]
#[must_use]
pub fn pseudo_header_v6(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    next_header: u8,
    len_bytes: u32,
) -> Sum {
    let mut header = [0; 40];
    header[..16].copy_from_slice(&source.octets());
    header[16..32].copy_from_slice(&destination.octets());
    header[32..36].copy_from_slice(&len_bytes.to_be_bytes());
    header[39] = next_header;
    Sum::of(&header)
}

/// A partial sum; sums of pieces are combined in any order and finished once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// The sum of no bytes.
    pub const EMPTY: Self = Self(0);

    /// Sums `bytes`, of any length and alignment; an odd last byte is padded with zero.
    #[inline(always)]
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.len() < LONG_BYTES { Self::of_short(bytes) } else { Self::of_long(bytes) }
    }

    /// Sums the bytes of `segments`, which make up one run of bytes: a packet in several pieces.
    ///
    /// Each piece may be of any length, also odd or zero.
    ///
    /// ```
    /// use netmem_wire::checksum::Sum;
    ///
    /// let whole = Sum::of(b"one packet in three pieces");
    /// let pieces = Sum::of_segments([&b"one pac"[..], b"ket in three", b" pieces"]);
    /// assert_eq!(pieces.finish(), whole.finish());
    /// ```
    #[inline]
    #[must_use]
    pub fn of_segments<I>(segments: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let (mut sum, mut is_odd) = (Self::EMPTY, false);
        for segment in segments {
            let bytes = segment.as_ref();
            let piece = Self::of(bytes);
            sum = if is_odd { sum.combine_odd(piece) } else { sum.combine(piece) };
            is_odd ^= !bytes.len().is_multiple_of(2);
        }
        sum
    }

    /// One chain of adds with carry: the fewest instructions for a header or a small packet.
    #[inline(always)]
    fn of_short(bytes: &[u8]) -> Self {
        let Some(last) = bytes.last_chunk::<8>() else { return Self::of_tiny(bytes) };
        // The last 1 to 8 bytes are read together with those before them, which are shifted out.
        // What stays is padded with zero behind, as the last byte of an odd length has to be.
        let surplus_bits = bytes.len().wrapping_neg() % 8 * 8;
        let last = u64::from_ne_bytes(*last);
        let mut sum = Self(if cfg!(target_endian = "big") {
            last << surplus_bits
        } else {
            last >> surplus_bits
        });
        let (blocks, mut rest) = bytes[..bytes.len() - 1].as_chunks::<32>();
        for block in blocks {
            sum = sum.add_words(block);
        }
        if let Some((block, after)) = rest.split_first_chunk::<16>() {
            sum = sum.add_words(block);
            rest = after;
        }
        if let Some(word) = rest.first_chunk::<8>() {
            sum = sum.add_words(word);
        }
        sum
    }

    /// Adds whole 64-bit words in one chain.
    #[inline(always)]
    fn add_words<const N: usize>(self, block: &[u8; N]) -> Self {
        let (mut sum, mut carry) = (self.0, false);
        for word in block.as_chunks::<8>().0 {
            (sum, carry) = u64::carrying_add(sum, u64::from_ne_bytes(*word), carry);
        }
        // A sum that carried is at most u64::MAX - 1, so this does not wrap.
        Self(sum.wrapping_add(u64::from(carry)))
    }

    /// Sums less than 8 bytes.
    #[inline(always)]
    fn of_tiny(bytes: &[u8]) -> Self {
        let (mut sum, mut rest) = (0, bytes);
        if let Some((word, after)) = rest.split_first_chunk::<4>() {
            sum += u64::from(u32::from_ne_bytes(*word));
            rest = after;
        }
        if let Some((word, after)) = rest.split_first_chunk::<2>() {
            sum += u64::from(u16::from_ne_bytes(*word));
            rest = after;
        }
        if let Some(&byte) = rest.first() {
            sum += u64::from(u16::from_ne_bytes([byte, 0]));
        }
        Self(sum)
    }

    /// Independent lanes without carries, which the compiler keeps in vector registers.
    ///
    /// A lane has two sums: of the words modulo 2^64, and of their upper halves. The lower halves'
    /// is the difference, and a half weighs the same in either place: 2^32 is 1 modulo 2^16 - 1.
    #[inline(never)]
    fn of_long(bytes: &[u8]) -> Self {
        let mut sum = Self::EMPTY;
        // Halves of 2^27 words add up to less than 2^60: no sum of a lane, nor of all, wraps.
        for piece in bytes.chunks(1 << 30) {
            let (blocks, rest) = piece.as_chunks::<{ 2 * LANES_BYTES }>();
            let (mut totals, mut highs) = ([0_u64; LANES], [0_u64; LANES]);
            for block in blocks {
                for half in block.as_chunks::<LANES_BYTES>().0 {
                    let words = half.as_chunks::<8>().0;
                    for ((total, high), word) in totals.iter_mut().zip(&mut highs).zip(words) {
                        let word = u64::from_ne_bytes(*word);
                        *total = total.wrapping_add(word);
                        *high = high.wrapping_add(word >> 32);
                    }
                }
            }
            let total = totals.iter().fold(0, |sum: u64, total| sum.wrapping_add(*total));
            let high: u64 = highs.iter().sum();
            let low = total.wrapping_sub(high << 32);
            sum = sum.combine(Self(low + high)).combine(Self::of_short(rest));
        }
        sum
    }

    /// Adds the sum of bytes that follow an even number of bytes.
    #[inline]
    #[must_use]
    pub const fn combine(self, other: Self) -> Self {
        let (sum, carry) = self.0.overflowing_add(other.0);
        // A sum that carried is at most u64::MAX - 1, so this does not wrap.
        Self(sum.wrapping_add(carry as u64))
    }

    /// Adds the sum of bytes that follow an odd number of bytes.
    #[inline]
    #[must_use]
    pub const fn combine_odd(self, other: Self) -> Self {
        // Each byte moves into the other half of its word: RFC 1071 section 2 (B).
        self.combine(Self(other.0.rotate_left(8)))
    }

    /// Tells whether the sum, which includes a checksum, is -0: `finish` would give 0.
    #[inline(always)]
    #[must_use]
    pub const fn is_right(self) -> bool {
        // -0 is a multiple of 0xffff that is not 0. Multiplied with the inverse of 0xffff modulo
        // 2^64, multiples become their quotients, and all else becomes more than the largest one.
        let quotient = self.0.wrapping_mul(u64::MAX / 0xffff).wrapping_neg();
        quotient.wrapping_sub(1) < u64::MAX / 0xffff
    }

    /// Folds the sum and complements it: the checksum as a number, to be stored big-endian.
    #[inline]
    #[must_use]
    pub const fn finish(self) -> u16 {
        // x + (x with its halves exchanged) has the folded sum, end-around carry included, in its
        // upper half.
        let sum = (self.0.wrapping_add(self.0.rotate_left(32)) >> 32) as u32;
        let sum = (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16;
        !u16::from_be(sum)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The definition, one byte at a time, in wide arithmetic and without end-around carries.
    fn reference(bytes: &[u8]) -> u16 {
        let mut sum = 0_u64;
        for (i, byte) in bytes.iter().enumerate() {
            sum += u64::from(*byte) * if i % 2 == 0 { 256 } else { 1 };
        }
        while sum > 0xffff {
            sum = sum % 0x1_0000 + sum / 0x1_0000;
        }
        0xffff - u16::try_from(sum).unwrap()
    }

    /// Bytes that make carries likely: random, zero, and runs of 0xff.
    fn data() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => vec(any::<u8>(), 0..200),
            2 => vec(prop_oneof![3 => Just(0xff_u8), 1 => any::<u8>()], 0..200),
            1 => vec(prop_oneof![9 => Just(0_u8), 1 => any::<u8>()], 0..200),
            // Long enough for the lanes.
            2 => vec(any::<u8>(), 200..2000),
            1 => vec(prop_oneof![3 => Just(0xff_u8), 1 => any::<u8>()], 200..2000),
        ]
    }

    #[test]
    fn rfc_1071_example() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(internet(&bytes), !0xddf2);
    }

    #[test]
    fn rfc_1624_example() {
        // Section 4: equation 2 of RFC 1141 gives 0xffff here.
        assert_eq!(update16(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn the_two_zeros() {
        assert_eq!(internet(&[]), 0xffff);
        assert_eq!(internet(&[0; 40]), 0xffff);
        assert!(!verify(&[0; 40]));
        // Data that sum to -0: 0x0000 is computed, 0xffff verifies as well.
        assert_eq!(internet(&[0xff, 0xff, 0, 0]), 0x0000);
        assert!(verify(&[0xff, 0xff, 0, 0]));
        assert!(verify(&[0xff, 0xff, 0xff, 0xff]));
        // The corner of update16: data become all zero.
        assert_eq!(update16(internet(&[8, 0]), 0x0800, 0), 0x0000);
        assert_eq!(internet(&[0, 0]), 0xffff);
        // From all zero to something, and no change at all, are exact.
        assert_eq!(update16(0xffff, 0, 0x0800), internet(&[8, 0]));
        assert_eq!(update16(0x0000, 0xffff, 0xffff), 0x0000);
        // A sender's 0xffff for 0x0000 is normalised.
        assert_eq!(update16(0xffff, 0x1234, 0x1234), 0x0000);
    }

    #[test]
    fn a_sum_is_right_where_its_checksum_is_zero() {
        let mut sums = std::vec![0, 1, u64::MAX, u64::MAX - 1, 1 << 63, 0xffff_ffff];
        for k in (0..64).map(|bits| (u64::MAX / 0xffff) >> bits) {
            let multiple = k * 0xffff;
            sums.extend([k, multiple, multiple.wrapping_add(1), multiple.wrapping_sub(1)]);
        }
        for sum in sums {
            assert_eq!(Sum(sum).is_right(), Sum(sum).finish() == 0, "{sum:#x}");
        }
    }

    #[test]
    fn one_byte_counts_at_every_place_of_every_length() {
        let mut bytes = [0; 600];
        for len_bytes in [1, 7, 8, 9, 20, 40, 63, 84, 255, 256, 257, 319, 320, 321, 600] {
            for at in 0..len_bytes {
                bytes[at] = 0x81;
                let expected = if at % 2 == 0 { !0x8100 } else { !0x0081 };
                assert_eq!(internet(&bytes[..len_bytes]), expected, "{at} of {len_bytes}");
                bytes[at] = 0;
            }
        }
    }

    #[test]
    fn all_ones_at_every_length() {
        let ones = [0xff; 2100];
        for len_bytes in 0..ones.len() {
            assert_eq!(internet(&ones[..len_bytes]), reference(&ones[..len_bytes]));
        }
    }

    proptest! {
        // Planted and caught: a carry lost between words or blocks; the odd byte padded in front; a
        // fold without end-around carry; a result in machine order; a lane's upper halves left out;
        // the last word shifted by a byte too few; the rest of 8 bytes left out.
        #[test]
        fn equals_the_definition_at_any_alignment_and_length(bytes in data(), skip in 0_usize..16) {
            let bytes = &bytes[skip.min(bytes.len())..];
            prop_assert_eq!(internet(bytes), reference(bytes));
        }

        // Planted and caught: combine_odd that does not rotate, or shifts; all of the above.
        #[test]
        fn pieces_combine_to_the_whole(bytes in data(), a in 0_usize..200, b in 0_usize..200) {
            let a = a.min(bytes.len());
            let b = b.clamp(a, bytes.len().max(a));
            let mut sum = Sum::of(&bytes[..a]);
            for (start, end) in [(a, b), (b, bytes.len())] {
                let piece = Sum::of(&bytes[start..end]);
                sum = if start % 2 == 0 { sum.combine(piece) } else { sum.combine_odd(piece) };
            }
            prop_assert_eq!(sum.finish(), reference(&bytes));
        }

        // Planted and caught: the parity of the last piece alone taken for that of all; combine for
        // combine_odd.
        #[test]
        fn segments_sum_to_the_whole(
            bytes in data(), cuts in vec(0_usize..400, 0..8), empty_at in 0_usize..8,
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| *cut.min(&bytes.len())).collect();
            cuts.extend([0, bytes.len(), cuts.get(empty_at).copied().unwrap_or(0)]);
            cuts.sort_unstable();
            let sum = Sum::of_segments(cuts.windows(2).map(|ends| &bytes[ends[0]..ends[1]]));
            prop_assert_eq!(sum.finish(), reference(&bytes));
        }

        // Planted and caught: a carry lost between words or blocks; a result in machine order.
        #[test]
        fn a_stored_checksum_verifies_and_a_flipped_bit_does_not(
            mut bytes in data(), at in 0_usize..1000, flip in 0_usize..16000,
        ) {
            prop_assume!(bytes.len() >= 2);
            let at = 2 * at.min(bytes.len() / 2 - 1);
            bytes[at..at + 2].fill(0);
            let checksum = internet(&bytes);
            bytes[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
            prop_assert!(verify(&bytes));
            let flip = flip % (8 * bytes.len());
            bytes[flip / 8] ^= 1 << (flip % 8);
            prop_assert!(!verify(&bytes));
        }

        // Planted and caught: two's complement of the old word; a dropped carry.
        #[test]
        fn an_update_equals_a_new_sum(
            mut bytes in data(), at in 0_usize..100, new in prop_oneof![any::<u32>(), Just(0)],
        ) {
            prop_assume!(bytes.len() >= 4);
            let at = 2 * at.min(bytes.len() / 2 - 2);
            let before = internet(&bytes);
            let old = u32::from_be_bytes(crate::bytes(&bytes, at));
            bytes[at..at + 4].copy_from_slice(&new.to_be_bytes());
            let by_halves = update16(before, (old >> 16) as u16, (new >> 16) as u16);
            let by_halves = update16(by_halves, (old & 0xffff) as u16, (new & 0xffff) as u16);
            let zero = bytes.iter().all(|byte| *byte == 0);
            let expected = if zero { 0 } else { reference(&bytes) };
            prop_assert_eq!(update32(before, old, new), expected);
            prop_assert_eq!(by_halves, expected);
        }

        // Planted and caught: zero and protocol exchanged.
        #[test]
        fn the_pseudo_header_is_twelve_bytes(
            source: [u8; 4], destination: [u8; 4], protocol: u8, len_bytes: u16, bytes in data(),
        ) {
            let mut all = Vec::from(source);
            all.extend(destination);
            all.extend([0, protocol]);
            all.extend(len_bytes.to_be_bytes());
            all.extend(&bytes);
            let sum = pseudo_header(source.into(), destination.into(), protocol, len_bytes);
            prop_assert_eq!(sum.combine(Sum::of(&bytes)).finish(), reference(&all));
        }
    }
}
