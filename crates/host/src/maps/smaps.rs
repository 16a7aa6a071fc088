//! `/proc/PID/smaps` and `/proc/PID/maps`: the mappings of a process, one header line each, and in smaps
//! what memory is behind it (`show_map_vma` and `show_smap` in fs/proc/task_mmu.c, kernel 6.18).
//!
//! ```text
//!   7f75f8ff7000-7f75f9000000 rw-s 00000000 00:08 671873      socket:[671873]
//!   Size:                 36 kB
//!   ...
//!   VmFlags: rd wr sh mr mw me ms mm
//! ```
//! The numbers are in kB, which are 1024 bytes. Kernels print different sets of them: what is not printed is
//! `None`, never 0.

use serde::{Serialize, Serializer};

/// Longer names than any path are cut.
const NAME_BYTES_MAX: usize = 4096;

/// A mapping, as the kernel prints it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Mapping {
    /// First address.
    #[serde(serialize_with = "hex")]
    pub start: u64,
    /// Address behind the last one.
    #[serde(serialize_with = "hex")]
    pub end: u64,
    /// `r`, `w`, `x` or `-` each, then `s` for shared or `p` for private.
    pub permissions: Permissions,
    /// Offset of the first byte in the file, in bytes.
    #[serde(serialize_with = "hex")]
    pub offset: u64,
    /// Device of the file, major and minor number.
    pub device: (u32, u32),
    /// Number of the file on its device; 0 without a file.
    pub inode: u64,
    /// Path of the file, or the kernel's name in brackets, or nothing.
    pub name: String,
    /// What memory is behind it.
    #[serde(flatten)]
    pub usage: Usage,
}

/// What may be done with a mapping.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words say it")]
pub struct Permissions {
    pub read: bool,
    pub write: bool,
    pub execute: bool,
    pub shared: bool,
}

/// What memory is behind a mapping, as far as the kernel tells. All in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// `KernelPageSize`: the page size of the mapping; transparent huge pages do not count.
    pub page_bytes: Option<u64>,
    /// `Rss`: resident, without pages of hugetlb.
    pub rss_bytes: Option<u64>,
    /// `Pss`: each page divided by the number of mappings that have it.
    pub pss_bytes: Option<u64>,
    /// `AnonHugePages` + `ShmemPmdMapped` + `FilePmdMapped`: in transparent huge pages.
    pub transparent_huge_bytes: Option<u64>,
    /// `Private_Hugetlb` + `Shared_Hugetlb`: pages of hugetlb, which are in no Rss.
    pub hugetlb_bytes: Option<u64>,
    /// `Swap`.
    pub swap_bytes: Option<u64>,
    /// `Locked`: by mlock(2).
    pub locked_bytes: Option<u64>,
    /// `VmFlags`: two letters each.
    pub flags: Vec<String>,
}

impl Mapping {
    /// Its length.
    pub fn len_bytes(&self) -> u64 {
        self.end - self.start
    }

    /// Does it have that address?
    pub fn contains(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }

    /// Is it a mapping of hugetlb? By the kernel's flag, or by what stands for it where no flags are
    /// printed.
    pub fn is_hugetlb(&self) -> bool {
        let told = self.usage.flags.iter().any(|flag| flag == "ht");
        let has_pages = self.usage.hugetlb_bytes.is_some_and(|bytes| bytes > 0);
        told || has_pages || self.name.starts_with("/anon_hugepage")
    }

    /// The number of the socket whose memory is mapped.
    pub fn socket(&self) -> Option<u64> {
        let number = self.name.strip_prefix("socket:[")?.strip_suffix(']')?;
        number.parse().ok()
    }

    /// The file's device and number, if there is a file.
    pub fn file(&self) -> Option<((u32, u32), u64)> {
        (self.inode != 0).then_some((self.device, self.inode))
    }
}

impl std::fmt::Display for Permissions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let letter = |is: bool, letter| if is { letter } else { '-' };
        let shared = if self.shared { 's' } else { 'p' };
        let Self { read, write, execute, .. } = *self;
        write!(f, "{}{}{}{shared}", letter(read, 'r'), letter(write, 'w'), letter(execute, 'x'))
    }
}

impl Serialize for Permissions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An address as text, because numbers of JSON are exact up to 2^53 only.
pub(super) fn hex<S: Serializer>(address: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{address:#x}"))
}

/// Reads the text of `maps` or `smaps`, sorted by address; `None` if it is neither.
///
/// The kernel hands a long file out in parts, between which mappings may come and go: one that is told
/// twice is kept once.
pub fn parse(bytes: &[u8]) -> Option<Vec<Mapping>> {
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        match field(line) {
            Some((key, value)) => mappings.last_mut()?.usage.set(key, value),
            None => mappings.push(header(line)?),
        }
    }
    mappings.sort_by_key(|mapping| mapping.start);
    mappings.dedup_by_key(|mapping| mapping.start);
    Some(mappings)
}

/// `Key:   value`; a header line has no colon in its first word.
fn field(line: &[u8]) -> Option<(&str, &str)> {
    let line = std::str::from_utf8(line).ok()?;
    let (key, value) = line.split_once(':')?;
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    (!key.is_empty() && key.chars().all(is_word)).then_some((key, value.trim()))
}

impl Usage {
    fn set(&mut self, key: &str, value: &str) {
        let bytes = || kilobytes(value);
        let add = |sum: &mut Option<u64>| {
            *sum = bytes().map(|bytes| bytes.saturating_add(sum.unwrap_or(0))).or(*sum);
        };
        match key {
            "KernelPageSize" => self.page_bytes = bytes(),
            "Rss" => self.rss_bytes = bytes(),
            "Pss" => self.pss_bytes = bytes(),
            "AnonHugePages" | "ShmemPmdMapped" | "FilePmdMapped" => {
                add(&mut self.transparent_huge_bytes);
            }
            "Private_Hugetlb" | "Shared_Hugetlb" => add(&mut self.hugetlb_bytes),
            "Swap" => self.swap_bytes = bytes(),
            "Locked" => self.locked_bytes = bytes(),
            "VmFlags" => self.flags = value.split_whitespace().map(str::to_owned).collect(),
            _ => {}
        }
    }
}

/// Reads `12 kB` as bytes.
pub(super) fn kilobytes(value: &str) -> Option<u64> {
    value.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn header(line: &[u8]) -> Option<Mapping> {
    let mut words = line.splitn(6, |&byte| byte == b' ');
    let mut word = || std::str::from_utf8(words.next()?).ok();
    let (start, end) = word()?.split_once('-')?;
    let (start, end) = (hexadecimal(start)?, hexadecimal(end)?);
    let permissions = permissions(word()?.as_bytes())?;
    let offset = hexadecimal(word()?)?;
    let (major, minor) = word()?.split_once(':')?;
    let number = |text| u32::from_str_radix(text, 16).ok();
    let device = (number(major)?, number(minor)?);
    let inode = word()?.parse().ok()?;
    let name = words.next().unwrap_or_default();
    let name = &name[..name.len().min(NAME_BYTES_MAX)];
    let name = String::from_utf8_lossy(name).trim_start().to_owned();
    (start < end).then(|| Mapping {
        start,
        end,
        permissions,
        offset,
        device,
        inode,
        name,
        usage: Usage::default(),
    })
}

fn hexadecimal(text: &str) -> Option<u64> {
    // A sign is no digit.
    text.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u64::from_str_radix(text, 16).ok())?
}

fn permissions(letters: &[u8]) -> Option<Permissions> {
    let [read, write, execute, shared] = *letters else { return None };
    let is = |found, letter| match found {
        b'-' => Some(false),
        found => (found == letter).then_some(true),
    };
    Some(Permissions {
        read: is(read, b'r')?,
        write: is(write, b'w')?,
        execute: is(execute, b'x')?,
        shared: match shared {
            b's' => true,
            b'p' => false,
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_read() {
        let text = "7f75f8ff7000-7f75f9000000 rw-s 180000000 00:08 671873                     socket:[671873]\n\
            Size:                 36 kB\nKernelPageSize:        4 kB\nRss:                   0 kB\n\
            Private_Hugetlb:      8 kB\nShared_Hugetlb:      4 kB\nTHPeligible:           0\nVmFlags: rd wr sh\n";
        let all = parse(text.as_bytes()).unwrap();
        let ring = &all[0];
        assert_eq!((ring.len_bytes(), ring.offset), (36 << 10, 0x1_8000_0000));
        assert_eq!((ring.device, ring.inode, ring.socket()), ((0, 8), 671_873, Some(671_873)));
        assert_eq!(ring.permissions.to_string(), "rw-s");
        assert_eq!(
            (ring.usage.rss_bytes, ring.usage.pss_bytes),
            (Some(0), None),
            "not told is no 0"
        );
        assert_eq!(ring.usage.hugetlb_bytes, Some(12 << 10));
        assert_eq!(ring.usage.flags, ["rd", "wr", "sh"]);
        assert_eq!(all.len(), 1);
    }

    #[test]
    fn names_may_have_spaces_and_brackets() {
        let of = |name: &str| {
            parse(format!("1000-2000 r--p 0 0:0 0 {name}\n").as_bytes()).unwrap().remove(0)
        };
        assert_eq!(of("      /a b: (deleted)").name, "/a b: (deleted)");
        assert_eq!(of("").name, "");
        assert_eq!(of("socket:[1]x").socket(), None);
        assert!(of("/anon_hugepage (deleted)").is_hugetlb() && !of("/anon").is_hugetlb());
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in [
            "Rss: 4 kB\n",
            "1000 r--p 0 0:0 0\n",
            "2000-1000 r--p 0 0:0 0\n",
            "1000-1000 r--p 0 0:0 0\n",
            "+1000-2000 r--p 0 0:0 0\n",
            "1000-2000 rr-p 0 0:0 0\n",
            "1000-2000 r--- 0 0:0 0\n",
            "1000-2000 r--p 0 0 0\n",
            "1000-10000000000000000 r--p 0 0:0 0\n",
            "nonsense\n",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b""), Some(Vec::new()));
        let text =
            "1000-2000 r--p 0 0:0 0\nRss: 99999999999999999999 kB\nPss: 18446744073709551615 kB\n";
        let usage = parse(text.as_bytes()).unwrap().remove(0).usage;
        assert_eq!((usage.rss_bytes, usage.pss_bytes), (None, None));
    }

    #[test]
    fn this_process_is_read() {
        let all = parse(&std::fs::read("/proc/self/smaps").unwrap()).unwrap();
        assert!(all.iter().any(|mapping| mapping.name == "[stack]"));
        assert!(
            all.iter().filter(|m| m.name != "[vsyscall]").all(|m| m.usage.page_bytes.is_some())
        );
    }
}
