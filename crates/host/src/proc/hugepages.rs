//! Huge pages by size and NUMA node, from `/sys/kernel/mm/hugepages` and
//! `/sys/devices/system/node/nodeN/hugepages`.
//!
//! The machine's pool of a size is the sum of its nodes'; what is reserved for mappings, and what may be
//! added on demand, is known for the machine only. Global.
//! Source: Documentation/admin-guide/mm/hugetlbpage.rst, mm/hugetlb_sysfs.c, kernel 6.18.

use std::path::Path;

use serde::Serialize;

use super::{names_in, read_number};
use crate::source::{Reading, Root};

/// The pools of huge pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hugepages {
    /// By size and node; those of the machine have no node.
    pub pools: Vec<HugepagePool>,
}

/// A pool of huge pages of one size. Numbers are of pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HugepagePool {
    /// NUMA node; `None`: the machine.
    pub node: Option<u32>,
    /// Size of a page, in bytes.
    pub page_bytes: u64,
    /// Pages in the pool.
    pub total: u64,
    /// Those that no mapping has taken.
    pub free: u64,
    /// Those above the pool's size, freed when nobody uses them.
    pub surplus: u64,
    /// Free ones that are promised to a mapping; the machine's only.
    pub reserved: Option<u64>,
    /// Most surplus pages there may be; the machine's only.
    pub overcommit: Option<u64>,
}

impl Hugepages {
    /// Parses the name of a size's folder, `hugepages-2048kB`, into bytes.
    pub fn parse_size(name: &[u8]) -> Option<u64> {
        let kilobytes: u64 =
            super::text(name)?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        kilobytes.checked_mul(1024)
    }

    /// Reads all pools.
    ///
    /// # Errors
    /// The kernel has no huge pages, or a file is not understood.
    pub fn read(root: &Root) -> Reading<Self> {
        let mut pools = pools(&root.sys("kernel/mm/hugepages"), None)?;
        // A kernel without NUMA has no nodes.
        for name in names_in(&root.sys("devices/system/node")).unwrap_or_default() {
            if let Some(node) = name.strip_prefix("node").and_then(|number| number.parse().ok()) {
                let folder = root.sys("devices/system/node").join(&name).join("hugepages");
                if folder.exists() {
                    pools.extend(self::pools(&folder, Some(node))?);
                }
            }
        }
        Ok(Self { pools })
    }

    /// Pages of that size that a new mapping could take: of a node, or of the machine, where promised
    /// ones do not count.
    pub fn takeable(&self, page_bytes: u64, node: Option<u32>) -> u64 {
        let mut pools = self.pools.iter();
        let pool = pools.find(|pool| pool.page_bytes == page_bytes && pool.node == node);
        pool.map_or(0, |pool| pool.free.saturating_sub(pool.reserved.unwrap_or(0)))
    }
}

fn pools(folder: &Path, node: Option<u32>) -> Reading<Vec<HugepagePool>> {
    let mut pools = Vec::new();
    for name in names_in(folder)? {
        let Some(page_bytes) = Hugepages::parse_size(name.as_bytes()) else { continue };
        let number = |file: &str| read_number(&folder.join(&name).join(file));
        pools.push(HugepagePool {
            node,
            page_bytes,
            total: number("nr_hugepages")?,
            free: number("free_hugepages")?,
            surplus: number("surplus_hugepages")?,
            reserved: number("resv_hugepages").ok(),
            overcommit: number("nr_overcommit_hugepages").ok(),
        });
    }
    pools.sort_by_key(|pool| pool.page_bytes);
    Ok(pools)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_the_folders_names() {
        assert_eq!(Hugepages::parse_size(b"hugepages-2048kB"), Some(2 << 20));
        assert_eq!(Hugepages::parse_size(b"hugepages-1048576kB"), Some(1 << 30));
        for bad in ["hugepages-kB", "hugepages-2MB", "2048kB", "hugepages-18446744073709551615kB"] {
            assert_eq!(Hugepages::parse_size(bad.as_bytes()), None);
        }
    }

    #[test]
    fn promised_pages_cannot_be_taken() {
        let machine = HugepagePool {
            node: None,
            page_bytes: 2 << 20,
            total: 64,
            free: 40,
            surplus: 0,
            reserved: Some(30),
            overcommit: Some(0),
        };
        let node =
            HugepagePool { node: Some(0), reserved: None, overcommit: None, ..machine.clone() };
        let hugepages = Hugepages { pools: vec![machine, node] };
        assert_eq!(hugepages.takeable(2 << 20, None), 10);
        assert_eq!(hugepages.takeable(2 << 20, Some(0)), 40);
        assert_eq!(
            (hugepages.takeable(1 << 30, None), hugepages.takeable(2 << 20, Some(1))),
            (0, 0)
        );
    }
}
