//! CRC32c (Castagnoli): the checksum of SCTP (RFC 9260 appendix A) and iSCSI (RFC 3720).
//!
//! The polynomial 0x1edc6f41 over bits in transmission order, which is low bit first: registers and
//! tables are reflected. Start and end are complemented. Eight bytes are taken at a time, each
//! through a table of its own that says what it becomes by the end of the eight (slicing by 8); the
//! tables are 8 KiB and made by the compiler.
//!
//! ```text
//!  register 4 ^ bytes 0..4 | bytes 4..8
//!      t7   t6   t5   t4      t3  t2  t1  t0      xor of all: the next register
//! ```
//!
//! ```
//! use netmem_wire::crc32c::{self, Crc32c};
//!
//! assert_eq!(crc32c::of(b"123456789"), 0xe306_9283);
//! let mut crc = Crc32c::new();
//! crc.update(b"12345");
//! crc.update(b"6789");
//! assert_eq!(crc.finish(), 0xe306_9283);
//! ```

/// 0x1edc6f41 with its bits in the other order.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// `TABLES[k][b]` is the register after byte `b` and `k` zero bytes, from a register of 0.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    // A counter beside the index: a `const fn` has neither iterators nor `try_from`.
    let mut register_of_byte = 0_u32;
    while byte < 256 {
        let mut register = register_of_byte;
        let mut bit = 0;
        while bit < 8 {
            let carry = register & 1;
            register >>= 1;
            if carry != 0 {
                register ^= POLYNOMIAL;
            }
            bit += 1;
        }
        tables[0][byte] = register;
        byte += 1;
        register_of_byte += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before: u32 = tables[k - 1][byte];
            tables[k][byte] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        k += 1;
    }
    tables
}

/// Computes the CRC32c of `bytes`.
#[inline]
#[must_use]
pub fn of(bytes: &[u8]) -> u32 {
    let mut crc = Crc32c::new();
    crc.update(bytes);
    crc.finish()
}

/// A CRC32c over bytes that come in pieces, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Crc32c {
    register: u32,
}

impl Crc32c {
    /// The state before the first byte.
    #[inline]
    #[must_use]
    pub const fn new() -> Self {
        Self { register: u32::MAX }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let mut register = self.register;
        let (blocks, rest) = bytes.as_chunks::<8>();
        for block in blocks {
            let [a, b, c, d] = register.to_le_bytes();
            let [e, f, g, h, i, j, k, l] = block.map(usize::from);
            register = TABLES[7][usize::from(a) ^ e]
                ^ TABLES[6][usize::from(b) ^ f]
                ^ TABLES[5][usize::from(c) ^ g]
                ^ TABLES[4][usize::from(d) ^ h]
                ^ TABLES[3][i]
                ^ TABLES[2][j]
                ^ TABLES[1][k]
                ^ TABLES[0][l];
        }
        for byte in rest {
            let [low, ..] = register.to_le_bytes();
            register = register >> 8 ^ TABLES[0][usize::from(low ^ byte)];
        }
        self.register = register;
    }

    /// Gives the CRC of all bytes so far, as a number.
    #[inline]
    #[must_use]
    pub const fn finish(self) -> u32 {
        !self.register
    }
}

impl Default for Crc32c {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The definition, one bit at a time, high bits first as the polynomial is written.
    fn reference(bytes: &[u8]) -> u32 {
        let mut register = u32::MAX;
        for byte in bytes {
            for bit in 0..8 {
                let feedback = register >> 31 ^ u32::from(byte >> bit & 1);
                register = register << 1 ^ if feedback == 1 { 0x1edc_6f41 } else { 0 };
            }
        }
        !register.reverse_bits()
    }

    #[test]
    fn rfc_3720_b_4() {
        let ascending: Vec<u8> = (0..32).collect();
        let descending: Vec<u8> = (0..32).rev().collect();
        assert_eq!(of(&[0; 32]), 0x8a91_36aa);
        assert_eq!(of(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(of(&ascending), 0x46dd_794e);
        assert_eq!(of(&descending), 0x113f_db5c);
        let mut read_command = [0; 48];
        for (at, byte) in [
            (0, 0x01),
            (1, 0xc0),
            (16, 0x14),
            (22, 0x04),
            (27, 0x14),
            (31, 0x18),
            (32, 0x28),
            (40, 0x02),
        ] {
            read_command[at] = byte;
        }
        assert_eq!(of(&read_command), 0xd996_3a56);
        assert_eq!(of(&[]), 0);
    }

    proptest! {
        // Planted and caught: two tables exchanged; the rest of a block left out; a register that
        // an update starts anew.
        #[test]
        fn equals_the_definition_in_any_pieces(
            bytes in vec(any::<u8>(), 0..100), cut in 0_usize..100,
        ) {
            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            let mut crc = Crc32c::new();
            crc.update(first);
            crc.update(second);
            prop_assert_eq!(crc.finish(), reference(&bytes));
            prop_assert_eq!(of(&bytes), reference(&bytes));
        }
    }
}
