//! The Internet checksum: RFC 1071 over bytes, RFC 1624 for changes in place.
//!
//! The checksum is the complement of the one's complement sum of big-endian 16-bit words. Such a
//! sum may be taken in any byte order and any word size whose carry is added back at the low end
//! (RFC 1071 section 2), so 64-bit words are added as the machine reads them and folded once:
//!
//! ```text
//!  bytes  | 8 | 8 | 8 | 8 | ... | 8 | 4 | 2 | 1 |      each 8: one add with carry
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
#[inline]
#[must_use]
pub fn verify(bytes: &[u8]) -> bool {
    Sum::of(bytes).finish() == 0
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
    let [a, b, c, d] = source.octets();
    let [e, f, g, h] = destination.octets();
    let [high, low] = len_bytes.to_be_bytes();
    Sum::of(&[a, b, c, d, e, f, g, h, 0, protocol, high, low])
}

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
    #[inline]
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let (blocks, mut rest) = bytes.as_chunks::<32>();
        let mut sum = 0;
        for block in blocks {
            let mut carry = false;
            for word in block.as_chunks::<8>().0 {
                (sum, carry) = u64::carrying_add(sum, u64::from_ne_bytes(*word), carry);
            }
            // A sum that carried is at most u64::MAX - 1, so this does not wrap.
            sum = sum.wrapping_add(u64::from(carry));
        }
        let mut sum = Self(sum);
        if rest.is_empty() {
            return sum;
        }
        if let Some((block, after)) = rest.split_first_chunk::<16>() {
            for word in block.as_chunks::<8>().0 {
                sum = sum.combine(Self(u64::from_ne_bytes(*word)));
            }
            rest = after;
        }
        if let Some((word, after)) = rest.split_first_chunk::<8>() {
            sum = sum.combine(Self(u64::from_ne_bytes(*word)));
            rest = after;
        }
        let mut tail = 0;
        if let Some((word, after)) = rest.split_first_chunk::<4>() {
            tail += u64::from(u32::from_ne_bytes(*word));
            rest = after;
        }
        if let Some((word, after)) = rest.split_first_chunk::<2>() {
            tail += u64::from(u16::from_ne_bytes(*word));
            rest = after;
        }
        if let Some(&byte) = rest.first() {
            tail += u64::from(u16::from_ne_bytes([byte, 0]));
        }
        sum.combine(Self(tail))
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
    fn all_ones_at_every_length() {
        let ones = [0xff; 2100];
        for len_bytes in 0..ones.len() {
            assert_eq!(internet(&ones[..len_bytes]), reference(&ones[..len_bytes]));
        }
    }

    proptest! {
        // Planted and caught: a carry lost between words or blocks; the odd byte padded in front; a
        // fold without end-around carry; a result in machine order.
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

        // Planted and caught: a carry lost between words or blocks; a result in machine order.
        #[test]
        fn a_stored_checksum_verifies_and_a_flipped_bit_does_not(
            mut bytes in data(), at in 0_usize..100, flip in 0_usize..1600,
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
