//! Rings of AF_XDP sockets from outside: how many entries by the length of a mapping, how full by the two
//! indices in it.
//!
//! ```text
//!   offset in the socket's file     entry      memory of a ring
//!     rx            0               16 bytes   | producer . consumer . flags . | entries ... |  to whole pages
//!     tx           0x80000000       16         0                              320 (XDP_MMAP_OFFSETS)
//!     fill        0x100000000        8
//!     completion  0x180000000        8
//! ```
//! The number of entries is a power of two, so the length in pages tells it, unless several fit into one
//! page. Indices run freely and wrap at 2^32: the level is their difference (D2). Who writes which is no
//! matter here; both are somebody else's, and a level above the number of entries is a torn look (D6).
//!
//! Kernel: include/uapi/linux/if_xdp.h, `xskq_create` in net/xdp/xsk_queue.c (6.18).

use serde::Serialize;

/// Where the entries begin, on x86-64 and aarch64 with lines of 64 bytes, kernel 5.4 and later. A live
/// socket is asked (`XDP_MMAP_OFFSETS`).
pub const ENTRIES_OFFSET_BYTES: u64 = 320;

/// A ring of an AF_XDP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ring {
    /// Received packets, to the program.
    Rx,
    /// Packets to be sent, to the kernel.
    Tx,
    /// Frames to receive into, to the kernel.
    Fill,
    /// Frames that were sent, to the program.
    Completion,
}

/// How many entries a ring has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Entries {
    /// So many.
    Exactly(u32),
    /// So many or fewer: all these fit into one page.
    AtMost(u32),
}

/// A ring's indices, read at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Indices {
    /// How many entries were ever made, modulo 2^32.
    pub producer: u32,
    /// How many of them were taken, modulo 2^32.
    pub consumer: u32,
}

impl Ring {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Rx, Self::Tx, Self::Fill, Self::Completion];

    /// The ring that is mapped at a file offset.
    pub fn at(offset: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|ring| ring.offset() == offset)
    }

    /// Where it is mapped in the socket's file.
    pub fn offset(self) -> u64 {
        match self {
            Self::Rx => 0,
            Self::Tx => 0x8000_0000,
            Self::Fill => 0x1_0000_0000,
            Self::Completion => 0x1_8000_0000,
        }
    }

    /// The size of an entry.
    pub fn entry_bytes(self) -> u64 {
        match self {
            Self::Rx | Self::Tx => 16,
            Self::Fill | Self::Completion => 8,
        }
    }

    /// Its name, as it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rx => "rx",
            Self::Tx => "tx",
            Self::Fill => "fill",
            Self::Completion => "completion",
        }
    }

    /// How many entries a ring has that takes `len_bytes` in whole pages, when its entries begin at
    /// `entries_offset_bytes`; nothing if no ring is that long.
    pub fn entries(
        self,
        len_bytes: u64,
        entries_offset_bytes: u64,
        page_bytes: u64,
    ) -> Option<Entries> {
        let len = |entries: u64| {
            let bytes =
                self.entry_bytes().checked_mul(entries)?.checked_add(entries_offset_bytes)?;
            bytes.checked_next_multiple_of(page_bytes)
        };
        let fits = |shift: &u32| len(1 << shift) == Some(len_bytes);
        let greatest = (0..u32::BITS).rev().find(fits)?;
        let is_alone = greatest == 0 || !fits(&(greatest - 1));
        Some(if is_alone {
            Entries::Exactly(1 << greatest)
        } else {
            Entries::AtMost(1 << greatest)
        })
    }
}

impl Entries {
    /// The greatest number that it may be.
    pub fn most(self) -> u32 {
        match self {
            Self::Exactly(entries) | Self::AtMost(entries) => entries,
        }
    }
}

impl Indices {
    /// How many entries were made and not taken: right across the wrap (D2).
    pub fn level(self) -> u32 {
        self.producer.wrapping_sub(self.consumer)
    }

    /// Reads both so that they were true together, if `tries` are enough: the consumer's index is read
    /// before and after the producer's. `None` if a word cannot be read; `false` if it moved each time,
    /// when the level may be too high by what was taken meanwhile.
    pub fn read(
        tries: u32,
        mut consumer: impl FnMut() -> Option<u32>,
        mut producer: impl FnMut() -> Option<u32>,
    ) -> Option<(Self, bool)> {
        let mut before = consumer()?;
        for _ in 0..tries {
            let (made, after) = (producer()?, consumer()?);
            if before == after {
                return Some((Self { producer: made, consumer: after }, true));
            }
            before = after;
        }
        Some((Self { producer: producer()?, consumer: before }, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted and caught: entries of 8 bytes for rx; the smallest that fits taken; lengths not rounded to
    /// pages; the header left out (512 entries then take one page).
    #[test]
    fn lengths_tell_the_number_of_entries() {
        let of = |ring: Ring, pages: u64| ring.entries(pages * 4096, ENTRIES_OFFSET_BYTES, 4096);
        // The first article's: 2048 entries, 36 and 20 KiB.
        assert_eq!(of(Ring::Rx, 9), Some(Entries::Exactly(2048)));
        assert_eq!(of(Ring::Tx, 9), Some(Entries::Exactly(2048)));
        assert_eq!(of(Ring::Fill, 5), Some(Entries::Exactly(2048)));
        assert_eq!(of(Ring::Completion, 5), Some(Entries::Exactly(2048)));
        assert_eq!(of(Ring::Rx, 1), Some(Entries::AtMost(128)));
        assert_eq!(of(Ring::Fill, 1), Some(Entries::AtMost(256)));
        assert_eq!(of(Ring::Rx, 2), Some(Entries::Exactly(256)));
        assert_eq!(of(Ring::Fill, 2), Some(Entries::Exactly(512)));
        assert_eq!(
            (of(Ring::Rx, 4), of(Ring::Rx, 0), of(Ring::Rx, u64::MAX >> 12)),
            (None, None, None)
        );
        let large = Ring::Rx.entries(65536, ENTRIES_OFFSET_BYTES, 65536);
        assert_eq!(large, Some(Entries::AtMost(2048)), "pages of 64 KiB");
        for ring in Ring::ALL {
            for shift in 9..=20 {
                let len = (ring.entry_bytes() << shift) + ENTRIES_OFFSET_BYTES;
                let entries = ring.entries(len.next_multiple_of(4096), ENTRIES_OFFSET_BYTES, 4096);
                assert_eq!(entries, Some(Entries::Exactly(1 << shift)), "{ring:?}");
            }
            assert_eq!(Ring::at(ring.offset()), Some(ring));
        }
        assert_eq!(Ring::at(4096), None);
    }

    /// Planted and caught: a difference that does not wrap; consumer less producer.
    #[test]
    fn levels_are_right_across_the_wrap() {
        let level = |producer, consumer| Indices { producer, consumer }.level();
        assert_eq!((level(7, 7), level(2048, 0), level(5, 3)), (0, 2048, 2));
        assert_eq!((level(3, u32::MAX - 4), level(0, u32::MAX)), (8, 1));
    }

    /// Planted and caught: the first look taken although the consumer moved.
    #[test]
    fn a_look_is_of_one_moment_or_says_so() {
        let mut consumed = [10, 12, 12].into_iter();
        let mut made = [20, 22].into_iter();
        let read = Indices::read(8, || consumed.next(), || made.next());
        assert_eq!(read, Some((Indices { producer: 22, consumer: 12 }, true)));
        let mut at = 0;
        let moving = Indices::read(
            3,
            || {
                at += 1;
                Some(at)
            },
            || Some(9),
        );
        assert_eq!(moving, Some((Indices { producer: 9, consumer: 4 }, false)));
        assert_eq!(Indices::read(3, || Some(1), || None), None);
    }
}
