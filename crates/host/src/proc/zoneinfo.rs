//! `/proc/zoneinfo`: pages that each zone of memory has, and the reserve that is kept free of them.
//!
//! From these the kernel computes the limits of socket memory at boot: the pages of all zones up to
//! `Normal` above their high watermark (`nr_free_buffer_pages` in mm/page_alloc.c, kernel 6.18). Memory
//! that came or went since makes today's figure differ from that of the boot. Global.

use serde::Serialize;

use super::text;
use crate::source::{Reading, Root, read_with};

/// `/proc/zoneinfo`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Zoneinfo {
    /// A row for each zone.
    pub zones: Vec<Zone>,
}

/// A zone of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Zone {
    /// NUMA node.
    pub node: u32,
    /// `DMA`, `DMA32`, `Normal`, `HighMem`, `Movable`, `Device`.
    pub name: String,
    /// Pages that the page allocator manages.
    pub managed_pages: u64,
    /// High watermark, in pages: reclaim stops there.
    pub high_pages: u64,
}

impl Zoneinfo {
    /// Parses the file. What is known of a zone stands on lines of their own: `managed N`, `high N`.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut zones: Vec<Zone> = Vec::new();
        for line in text(bytes)?.lines() {
            if let Some(head) = line.strip_prefix("Node ") {
                let (node, name) = head.split_once(", zone")?;
                let (node, name) = (node.trim().parse().ok()?, name.trim().to_owned());
                zones.push(Zone { node, name, managed_pages: 0, high_pages: 0 });
                continue;
            }
            let mut words = line.split_ascii_whitespace();
            if let (Some(key), Some(zone)) = (words.next(), zones.last_mut()) {
                match key {
                    "managed" => zone.managed_pages = words.next()?.parse().ok()?,
                    "high" => zone.high_pages = words.next()?.parse().ok()?,
                    _ => {}
                }
            }
        }
        (!zones.is_empty()).then_some(Self { zones })
    }

    /// Reads it.
    ///
    /// # Errors
    /// The caller may not, the file is not there, or is not understood.
    pub fn read(root: &Root) -> Reading<Self> {
        read_with(&root.proc("zoneinfo"), Self::parse)
    }

    /// The pages that socket memory is a share of.
    pub fn free_buffer_pages(&self) -> u64 {
        let usable = |zone: &&Zone| matches!(zone.name.as_str(), "DMA" | "DMA32" | "Normal");
        let above = |zone: &Zone| zone.managed_pages.saturating_sub(zone.high_pages);
        self.zones.iter().filter(usable).fold(0, |sum, zone| sum.saturating_add(above(zone)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_up_to_normal_count_above_their_high_watermark() {
        let printed = b"Node 0, zone      DMA\n  per-node stats\n      nr_inactive_anon 5\n  pages free     3840\n\
                    boost    0\n        min      7\n        high     17\n        managed  3840\n\
            \x20 pagesets\n    cpu: 0\n              count:    0\n              high:     48559\n              high_min: 7\n\
            Node 0, zone   Normal\n        high     100\n        managed  90\n\
            Node 1, zone   Normal\n        high     10\n        managed  1000\n\
            Node 1, zone  Movable\n        high     1\n        managed  5000\n";
        let zoneinfo = Zoneinfo::parse(printed).unwrap();
        assert_eq!(zoneinfo.zones.len(), 4);
        assert_eq!((zoneinfo.zones[0].high_pages, zoneinfo.zones[0].managed_pages), (17, 3840));
        assert_eq!(zoneinfo.free_buffer_pages(), 3823 + 990);
        for bad in ["", "high 1\n", "Node x, zone DMA\n", "Node 0, zone DMA\nmanaged x\n"] {
            assert_eq!(Zoneinfo::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
