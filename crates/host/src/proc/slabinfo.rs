//! `/proc/slabinfo`: the kernel's object caches, and which of them hold packets and sockets.
//!
//! ```text
//!  /proc/slabinfo (0400)                 /sys/kernel/slab
//!    skbuff_head_cache 304 304 256 ..      skbuff_head_cache/      a cache of its own
//!    pid               512 512 512 ..      skbuff_fclone_cache  -> :0000512
//!                                          pid                  -> :0000512      merged: one cache
//! ```
//! With `CONFIG_SLAB_MERGE_DEFAULT` caches of like objects become one, listed by one of its names. Under
//! `/sys/kernel/slab` every name is still there, as a link to a folder that merged caches share: so a name
//! that the list lacks is found, and said to be shared. What a shared cache holds cannot be split.
//!
//! `active_objs` counts objects in per-CPU slabs as in use (`get_slabinfo` in mm/slub.c, kernel 6.18).
//! Packet data is not here: it is in `kmalloc-*`, page fragments and page pools. All figures are global.

use std::collections::BTreeMap;
use std::fs;

use serde::Serialize;

use super::{names_in, text};
use crate::source::{Reading, Root, read_with};

/// The caches that hold packet heads and sockets, by the names that the kernel creates them with.
pub const NETWORK_CACHES: [&str; 13] = [
    "skbuff_head_cache",
    "skbuff_fclone_cache",
    "skbuff_small_head",
    "skbuff_ext_cache",
    "xsk_generic_xmit_cache",
    "TCP",
    "TCPv6",
    "UDP",
    "UDPv6",
    "request_sock_TCP",
    "request_sock_TCPv6",
    "tw_sock_TCP",
    "tw_sock_TCPv6",
];

/// `/proc/slabinfo`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Slabinfo {
    /// A row for each cache.
    pub caches: Vec<SlabCache>,
}

/// An object cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlabCache {
    /// The name that it is listed by.
    pub name: String,
    /// Objects in use, or in slabs that a CPU works on.
    pub active_objects: u64,
    /// Objects there is room for.
    pub objects: u64,
    /// Size of an object with its padding, in bytes.
    pub object_bytes: u64,
    /// Objects in a slab.
    pub objects_per_slab: u64,
    /// Pages of a slab.
    pub pages_per_slab: u64,
    /// Slabs.
    pub slabs: u64,
}

/// The names under `/sys/kernel/slab`, with the folder that each stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SlabAliases {
    folders: BTreeMap<String, String>,
}

/// A cache of packets or sockets, wherever it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkCache {
    /// The name that the kernel created it with.
    pub name: &'static str,
    /// The other caches that are merged with it: `cache` holds their objects as well.
    pub shared_with: Vec<String>,
    /// The row that it is counted in.
    pub cache: SlabCache,
    /// Memory of that row, in bytes.
    pub bytes: u64,
}

impl Slabinfo {
    /// Parses the file, version 2.x.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut lines = text(bytes)?.lines();
        lines.next()?.strip_prefix("slabinfo - version: 2.")?;
        let rows = lines.filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        Some(Self { caches: rows.map(SlabCache::parse).collect::<Option<_>>()? })
    }

    /// Reads it.
    ///
    /// # Errors
    /// The caller may not (it is for root), or the file is not understood.
    pub fn read(root: &Root) -> Reading<Self> {
        read_with(&root.proc("slabinfo"), Self::parse)
    }

    /// The cache that is listed by that name.
    pub fn named(&self, name: &str) -> Option<&SlabCache> {
        self.caches.iter().find(|cache| cache.name == name)
    }
}

impl SlabCache {
    fn parse(line: &str) -> Option<Self> {
        let (head, rest) = line.split_once(" : tunables ")?;
        let (_, data) = rest.split_once(" : slabdata ")?;
        let mut words: Vec<&str> = head.split_ascii_whitespace().collect();
        let numbers = words.split_off(words.len().checked_sub(5)?);
        let [active, objects, size, per_slab, pages] = numbers[..] else { return None };
        Some(Self {
            name: (!words.is_empty()).then(|| words.join(" "))?,
            active_objects: active.parse().ok()?,
            objects: objects.parse().ok()?,
            object_bytes: size.parse().ok()?,
            objects_per_slab: per_slab.parse().ok()?,
            pages_per_slab: pages.parse().ok()?,
            slabs: data.split_ascii_whitespace().nth(1)?.parse().ok()?,
        })
    }

    /// Its memory, in bytes: slabs with all their objects, used or not.
    pub fn bytes(&self, page_bytes: u64) -> u64 {
        self.slabs.saturating_mul(self.pages_per_slab).saturating_mul(page_bytes)
    }
}

impl SlabAliases {
    /// Reads the links; they change when a module comes or goes, so one reading serves many samples.
    ///
    /// # Errors
    /// The kernel has no `/sys/kernel/slab`.
    pub fn read(root: &Root) -> Reading<Self> {
        let folder = root.sys("kernel/slab");
        let aliases = names_in(&folder)?.into_iter().filter_map(|name| {
            let target = fs::read_link(folder.join(&name)).ok()?;
            Some((name, target.file_name()?.to_string_lossy().into_owned()))
        });
        Ok(Self { folders: aliases.collect() })
    }

    /// The names merged with `name`, itself not among them.
    pub fn shared_with(&self, name: &str) -> Vec<String> {
        let Some(folder) = self.folders.get(name) else { return Vec::new() };
        let same = self.folders.iter().filter(|(other, at)| *at == folder && *other != name);
        same.map(|(other, _)| other.clone()).collect()
    }
}

/// Finds each of [`NETWORK_CACHES`] that this kernel has. One is left out if it is listed under no
/// name at all: a merged cache may be listed by the name of one that is gone.
pub fn network_caches(
    slabinfo: &Slabinfo,
    aliases: &SlabAliases,
    page_bytes: u64,
) -> Vec<NetworkCache> {
    let find = |name: &'static str| {
        let shared_with = aliases.shared_with(name);
        let mut names = std::iter::once(name).chain(shared_with.iter().map(String::as_str));
        let cache = names.find_map(|name| slabinfo.named(name))?.clone();
        Some(NetworkCache { name, bytes: cache.bytes(page_bytes), cache, shared_with })
    };
    NETWORK_CACHES.into_iter().filter_map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "slabinfo - version: 2.1\n# name            <active_objs> <num_objs>\n\
        skbuff_head_cache    300    304    256   16    1 : tunables    0    0    0 : slabdata     18     19      0\n\
        size-32(DMA) old       1      2      3    4    5 : tunables    0    0    0 : slabdata      6      7      0\n\
        pid                  512    512    512   16    2 : tunables    0    0    0 : slabdata     32     32      0\n";

    #[test]
    fn a_row_has_its_size_in_bytes() {
        let slabinfo = Slabinfo::parse(PRINTED.as_bytes()).unwrap();
        let heads = slabinfo.named("skbuff_head_cache").unwrap();
        assert_eq!((heads.active_objects, heads.objects, heads.object_bytes), (300, 304, 256));
        assert_eq!((heads.slabs, heads.bytes(4096), heads.bytes(65536)), (19, 77_824, 1_245_184));
        let old = slabinfo.named("size-32(DMA) old").unwrap();
        assert_eq!((old.objects_per_slab, old.pages_per_slab, old.slabs), (4, 5, 7));
    }

    #[test]
    fn a_merged_cache_is_found_and_said_to_be_shared() {
        let slabinfo = Slabinfo::parse(PRINTED.as_bytes()).unwrap();
        let folders = [
            ("pid", ":0000512"),
            ("skbuff_fclone_cache", ":0000512"),
            ("sgpool-16", ":0000512"),
            ("skbuff_ext_cache", ":0000192"),
        ];
        let folders = folders.map(|(name, folder)| (name.to_owned(), folder.to_owned()));
        let aliases = SlabAliases { folders: folders.into() };
        let caches = network_caches(&slabinfo, &aliases, 4096);
        let names: Vec<_> = caches.iter().map(|cache| cache.name).collect();
        assert_eq!(names, ["skbuff_head_cache", "skbuff_fclone_cache"]);
        assert!(caches[0].shared_with.is_empty());
        assert_eq!(caches[1].shared_with, ["pid", "sgpool-16"]);
        assert_eq!((caches[1].cache.name.as_str(), caches[1].bytes), ("pid", 262_144));
    }

    #[test]
    fn a_form_that_is_not_known_is_refused() {
        for (from, to) in
            [("2.1", "3.0"), ("304", "x"), ("18     19      0", "18"), (": tunables", "")]
        {
            assert_eq!(Slabinfo::parse(PRINTED.replace(from, to).as_bytes()), None, "{to:?}");
        }
        assert_eq!(Slabinfo::parse(b""), None);
        assert_eq!(
            Slabinfo::parse(b"slabinfo - version: 2.1\n1 : tunables 0 : slabdata 1 2\n"),
            None
        );
    }
}
