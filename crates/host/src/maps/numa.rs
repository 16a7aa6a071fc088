//! `/proc/PID/numa_maps`: on which nodes a mapping's pages are (`show_numa_map` in fs/proc/task_mmu.c,
//! kernel 6.18, `CONFIG_NUMA`).
//!
//! ```text
//!   7f7580000000 bind:0 file=/memfd:netmem-region\040(deleted) huge dirty=4 N0=4 kernelpagesize_kB=2048
//! ```
//! A line counts pages of its own size, which is at its end.

use std::collections::BTreeMap;

/// Pages of a mapping by node: bytes, with the node's number.
pub type Nodes = BTreeMap<u32, u64>;

/// Reads the whole text: bytes by node, by the first address of each mapping; `None` if it is none.
pub fn parse(bytes: &[u8]) -> Option<BTreeMap<u64, Nodes>> {
    let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| mapping(&String::from_utf8_lossy(line))).collect()
}

fn mapping(line: &str) -> Option<(u64, Nodes)> {
    let mut words = line.split(' ');
    let start = u64::from_str_radix(words.next()?, 16).ok()?;
    let _policy = words.next()?;
    let (mut pages, mut page_bytes) = (BTreeMap::new(), None);
    for word in words {
        let Some((key, value)) = word.split_once('=') else { continue };
        if key == "kernelpagesize_kB" {
            page_bytes = value.parse::<u64>().ok()?.checked_mul(1024);
        } else if let Some(node) = key.strip_prefix('N').and_then(|node| node.parse::<u32>().ok()) {
            pages.insert(node, value.parse::<u64>().ok()?);
        }
    }
    // Without pages no size is told.
    let bytes = |(node, pages): (u32, u64)| Some((node, pages.checked_mul(page_bytes?)?));
    Some((start, pages.into_iter().map(bytes).collect::<Option<Nodes>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_bytes_by_node() {
        let text = b"7f0000000000 default file=/N1=9\\040x huge dirty=4 N0=3 N12=1 kernelpagesize_kB=2048\n\
            7f1000000000 default\n";
        let all = parse(text).unwrap();
        assert_eq!(all[&0x7f00_0000_0000], Nodes::from([(0, 6 << 20), (12, 2 << 20)]));
        assert_eq!(all[&0x7f10_0000_0000], Nodes::new());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for text in [
            "x default\n",
            "7f00\n",
            "7f00 default N0=1\n",
            "7f00 default N0=-1 kernelpagesize_kB=4\n",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b"7f00 default N0=99999999999999999 kernelpagesize_kB=4096\n"), None);
    }
}
