//! What a packet of the soak holds, by its number, and what becomes of it.

/// A frame has this many bytes, and up to 31 more.
const SHORTEST_BYTES: usize = 64;
/// Bytes that the program writes in front of a frame that it sends.
const TAG_BYTES: usize = 4;

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Consumed,
    Dropped,
    Kept,
    Reflected,
}

impl Fate {
    #[inline]
    pub(super) fn of(number: u64) -> Self {
        match number % 64 {
            11 => Self::Consumed,
            30 => Self::Dropped,
            47 => Self::Kept,
            _ => Self::Reflected,
        }
    }

    /// The first number from `number` on with this fate.
    #[inline]
    pub(super) fn next(self, mut number: u64) -> u64 {
        while Self::of(number) != self {
            number += 1;
        }
        number
    }
}

/// The frame of a number, behind room for the tag.
pub(super) struct Frame {
    bytes: [u8; TAG_BYTES + SHORTEST_BYTES + 32],
    len: usize,
}

impl Frame {
    #[inline]
    pub(super) fn of(number: u64) -> Self {
        let mixed = (number ^ number >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mut bytes = [0; TAG_BYTES + SHORTEST_BYTES + 32];
        let (words, _) = bytes[TAG_BYTES..].as_chunks_mut::<8>();
        let mut word = mixed;
        for bytes in words.iter_mut() {
            *bytes = word.to_le_bytes();
            word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
        }
        words[2] = number.to_be_bytes();
        let len = SHORTEST_BYTES + usize::from((mixed >> 59).to_le_bytes()[0]);
        Self { bytes, len }
    }

    /// As it is delivered.
    #[inline]
    pub(super) fn delivered(&self) -> &[u8] {
        &self.bytes[TAG_BYTES..TAG_BYTES + self.len]
    }

    /// As the program sends it.
    #[inline]
    pub(super) fn changed(&mut self, number: u64) -> &[u8] {
        let (tag, frame) = self.bytes.split_at_mut(TAG_BYTES);
        tag.copy_from_slice(&tag_of(number));
        swap_addresses(frame);
        frame[self.len - 1] ^= 0xff;
        &self.bytes[..TAG_BYTES + self.len]
    }

    /// The number that a frame with a tag carries.
    pub(super) fn number_in(bytes: &[u8]) -> Option<u64> {
        bytes.get(TAG_BYTES + 16..)?.first_chunk().map(|number| u64::from_be_bytes(*number))
    }
}

#[inline]
pub(super) fn tag_of(number: u64) -> [u8; TAG_BYTES] {
    let [.., a, b, c, d] = number.to_be_bytes();
    [!d, c, b, !a]
}

#[inline]
pub(super) fn swap_addresses(frame: &mut [u8]) {
    let (destination, source) = frame[..12].split_at_mut(6);
    destination.swap_with_slice(source);
}
