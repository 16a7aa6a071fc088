//! `/proc/buddyinfo`: free blocks of the page allocator, by node, zone and order.
//!
//! ```text
//!  Node 0, zone   Normal  12215  10345   7342   4375 ...     blocks of 2^0, 2^1, 2^2, 2^3 ... pages
//! ```
//! Page fragments want blocks of order 3 and fall back to single pages; a huge page of 2 MiB is of order
//! 9. A machine with much free memory may have none of either. Blocks on the lists of CPUs do not show.
//! Global. Source: `frag_show` in mm/vmstat.c, kernel 6.18.

use serde::Serialize;

use super::text;
use crate::source::{Reading, Root, read_with};

/// `/proc/buddyinfo`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Buddyinfo {
    /// A row for each zone that has memory.
    pub zones: Vec<FreeBlocks>,
}

/// Free blocks of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FreeBlocks {
    /// NUMA node.
    pub node: u32,
    /// Zone: `DMA`, `DMA32`, `Normal`, `Movable`.
    pub zone: String,
    /// Number of free blocks of 2^i pages, at i.
    pub blocks_by_order: Vec<u64>,
}

impl Buddyinfo {
    /// Parses the file.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let zones: Vec<_> = text(bytes)?.lines().map(FreeBlocks::parse).collect::<Option<_>>()?;
        (!zones.is_empty()).then_some(Self { zones })
    }

    /// Reads it.
    ///
    /// # Errors
    /// The file is not there, or is not understood.
    pub fn read(root: &Root) -> Reading<Self> {
        read_with(&root.proc("buddyinfo"), Self::parse)
    }

    /// How many blocks of 2^`order` pages a node could give without reclaim or compaction.
    pub fn available(&self, node: u32, order: usize) -> u64 {
        let zones = self.zones.iter().filter(|zone| zone.node == node);
        zones.fold(0, |sum, zone| sum.saturating_add(zone.available(order)))
    }
}

impl FreeBlocks {
    fn parse(line: &str) -> Option<Self> {
        let (node, rest) = line.strip_prefix("Node ")?.split_once(", zone")?;
        let mut words = rest.split_ascii_whitespace();
        let zone = words.next()?.to_owned();
        let blocks_by_order: Vec<_> = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
        let node = node.trim().parse().ok()?;
        (!blocks_by_order.is_empty()).then_some(Self { node, zone, blocks_by_order })
    }

    /// How many blocks of 2^`order` pages the zone could give, larger ones split.
    pub fn available(&self, order: usize) -> u64 {
        let larger = self.blocks_by_order.iter().enumerate().skip(order);
        larger.fold(0, |sum, (of, blocks)| {
            let each = u32::try_from(of - order).ok().and_then(|shift| 1u64.checked_shl(shift));
            sum.saturating_add(blocks.saturating_mul(each.unwrap_or(u64::MAX)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_blocks_can_be_split() {
        let printed = b"Node 0, zone      DMA      9      8      7 \n\
            Node 0, zone   Normal  12215      0      0      1      2 \n\
            Node 1, zone   Normal  99999  99999      5      0      0 \n";
        let buddyinfo = Buddyinfo::parse(printed).unwrap();
        assert_eq!(buddyinfo.zones[1].blocks_by_order, [12215, 0, 0, 1, 2]);
        assert_eq!(buddyinfo.available(0, 3), 1 + 2 * 2);
        assert_eq!(buddyinfo.available(0, 2), 7 + 2 + 2 * 4);
        // Much memory, and no block of order 3.
        assert_eq!((buddyinfo.available(1, 3), buddyinfo.available(1, 2)), (0, 5));
        assert_eq!((buddyinfo.available(2, 0), buddyinfo.available(0, 99)), (0, 0));
    }

    #[test]
    fn damage_is_seen() {
        for bad in [
            "",
            "Node 0, zone\n",
            "Node 0, zone DMA\n",
            "Node x, zone DMA 1\n",
            "Node 0, zone D -1",
        ] {
            assert_eq!(Buddyinfo::parse(bad.as_bytes()), None, "{bad:?}");
        }
        let wide = format!("Node 0, zone DMA {}", "18446744073709551615 ".repeat(99));
        assert_eq!(Buddyinfo::parse(wide.as_bytes()).unwrap().available(0, 0), u64::MAX);
    }
}
