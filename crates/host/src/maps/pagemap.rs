//! `/proc/PID/pagemap`: which physical pages are behind a mapping, and which mappings have the same.
//!
//! A word of 64 bits for each page of the address space (Documentation/admin-guide/mm/pagemap.rst): bits
//! 0-54 the page frame, 61 of a file or of shared memory, 63 present. The frame reads as 0 without
//! `CAP_SYS_ADMIN`. Where frames cannot be had, shared mappings of the same part of the same file are the
//! proof: they cannot but have the same pages.
//!
//! Private pages that were written to are nobody else's, so only pages with bit 61 are compared; that
//! leaves out the page of zeroes as well, which all have.
//!
//! The work is bounded: of a long mapping one page in 2^n is looked at, at places that are multiples of
//! 2^n in its file, so that two mappings of one file are looked at in the same places.

use std::{collections::BTreeMap, fs::File, io, os::unix::fs::FileExt as _, path::Path};

use serde::Serialize;

use super::smaps::{Mapping, hex};
use crate::source::Unavailable;

const PRESENT: u64 = 1 << 63;
const FILE_OR_SHARED: u64 = 1 << 61;
const FRAME: u64 = (1 << 55) - 1;

/// Pages that are looked at in all, and in one mapping at least.
const PAGES_LOOKED_AT: u64 = 1 << 18;
const PAGES_OF_A_MAPPING: std::ops::RangeInclusive<u64> = 64..=1 << 14;
/// Pages whose words are read at once.
const WORDS_AT_ONCE: u64 = 1 << 12;
/// Mappings of one file that are compared with each other.
const MAPPINGS_OF_A_FILE_MAX: usize = 256;

/// A word of pagemap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page(u64);

/// Mappings that have the same physical pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SharedPages {
    /// First addresses of the mappings.
    #[serde(serialize_with = "hexes")]
    pub mappings: Vec<u64>,
    /// How much of them is the same; an estimate where not every page was looked at.
    pub bytes: u64,
    /// How that is known.
    pub proof: SharingProof,
    /// Pages whose frames were found to be the same.
    pub pages_compared: u64,
}

/// How it is known that pages are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum SharingProof {
    /// Their page frames are the same.
    #[serde(rename = "pagemap")]
    PageFrames,
    /// They are shared mappings of the same part of the same file.
    #[serde(rename = "device, inode and offset")]
    FileOffsets,
}

impl Page {
    /// A word as it was read, in the machine's byte order.
    pub fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The number of the page frame, if the page is there and the number may be known.
    pub fn frame(self) -> Option<u64> {
        let frame = self.0 & FRAME;
        (self.0 & PRESENT != 0 && frame != 0).then_some(frame)
    }

    /// Is it there, with its frame hidden?
    pub fn is_hidden(self) -> bool {
        self.0 & PRESENT != 0 && self.0 & FRAME == 0
    }

    /// Can another mapping have it: is it of a file or of shared memory?
    pub fn is_sharable(self) -> bool {
        self.0 & FILE_OR_SHARED != 0
    }
}

impl SharingProof {
    /// Its name, as it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::PageFrames => "pagemap",
            Self::FileOffsets => "device, inode and offset",
        }
    }
}

/// Which pages of a mapping to look at: the first, and the distance, in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// The first, counted from the mapping's own first.
    pub first: u64,
    /// From each to the next: a power of two.
    pub step: u64,
    /// How many.
    pub count: u64,
}

impl Sample {
    /// At most `most` pages of a mapping.
    pub fn of(mapping: &Mapping, page_bytes: u64, most: u64) -> Self {
        let pages = mapping.len_bytes() / page_bytes;
        let step =
            pages.div_ceil(most.max(1)).max(1).checked_next_power_of_two().unwrap_or(1 << 63);
        let place = if mapping.inode == 0 { mapping.start } else { mapping.offset } / page_bytes;
        let first = place.next_multiple_of(step) - place;
        let count = pages.saturating_sub(first).div_ceil(step);
        Self { first, step, count }
    }
}

/// The frames behind each mapping, as far as they were looked at, and who has the same.
#[derive(Debug, Default)]
pub struct Frames {
    /// Mappings by frame, and how many pages a look stands for.
    owners: BTreeMap<u64, (Vec<usize>, u64)>,
}

impl Frames {
    /// Notes that mapping number `mapping` has this page, which stands for `step` pages.
    pub fn add(&mut self, mapping: usize, page: Page, step: u64) {
        let Some(frame) = page.frame().filter(|_| page.is_sharable()) else { return };
        let (mappings, steps) = self.owners.entry(frame).or_default();
        if mappings.last() != Some(&mapping) {
            mappings.push(mapping);
        }
        *steps = step.max(*steps);
    }

    /// Which of the mappings have the same pages, by frames, and where those say nothing by their files.
    pub fn shared(&self, mappings: &[Mapping], page_bytes: u64) -> Vec<SharedPages> {
        let mut groups: BTreeMap<Vec<usize>, SharedPages> = BTreeMap::new();
        let by_offsets = by_offsets(mappings);
        for (members, &bytes) in &by_offsets {
            let mappings = starts(members, mappings);
            let proof = SharingProof::FileOffsets;
            let shared = SharedPages { mappings, bytes, proof, pages_compared: 0 };
            groups.insert(members.clone(), shared);
        }
        for (members, step) in self.owners.values().filter(|(members, _)| members.len() > 1) {
            let mut members = members.clone();
            members.sort_unstable();
            members.dedup();
            // Offsets tell the length exactly; without them each page found counts for its step.
            let bytes = if by_offsets.contains_key(&members) { 0 } else { step * page_bytes };
            let found = groups.entry(members).or_insert_with_key(|members| SharedPages {
                mappings: starts(members, mappings),
                bytes: 0,
                proof: SharingProof::PageFrames,
                pages_compared: 0,
            });
            found.bytes = found.bytes.saturating_add(bytes);
            found.proof = SharingProof::PageFrames;
            found.pages_compared += 1;
        }
        groups.into_values().filter(|shared| shared.mappings.len() > 1).collect()
    }
}

fn starts(members: &[usize], mappings: &[Mapping]) -> Vec<u64> {
    members.iter().map(|&at| mappings[at].start).collect()
}

/// Sets of shared mappings with the same part of a file, and how long that is.
fn by_offsets(mappings: &[Mapping]) -> BTreeMap<Vec<usize>, u64> {
    let mut files: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (at, mapping) in mappings.iter().enumerate().filter(|(_, m)| m.permissions.shared) {
        if let Some(file) = mapping.file() {
            files.entry(file).or_default().push(at);
        }
    }
    let mut groups = BTreeMap::new();
    for members in files.into_values().filter(|members| members.len() > 1) {
        let members = &members[..members.len().min(MAPPINGS_OF_A_FILE_MAX)];
        let end = |at: usize| mappings[at].offset.saturating_add(mappings[at].len_bytes());
        let mut borders: Vec<u64> =
            members.iter().flat_map(|&at| [mappings[at].offset, end(at)]).collect();
        borders.sort_unstable();
        borders.dedup();
        for (&from, &to) in borders.iter().zip(&borders[1..]) {
            let has = |&&at: &&usize| mappings[at].offset <= from && to <= end(at);
            let with: Vec<usize> = members.iter().filter(has).copied().collect();
            if with.len() > 1 {
                *groups.entry(with).or_insert(0) += to - from;
            }
        }
    }
    groups
}

fn hexes<S: serde::Serializer>(addresses: &[u64], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Address(#[serde(serialize_with = "hex")] u64);
    serializer.collect_seq(addresses.iter().map(|&address| Address(address)))
}

/// The frames behind the mappings, as far as the bounds allow, and what could not be had.
pub(super) fn read(
    folder: &Path,
    mappings: &[Mapping],
    page_bytes: u64,
) -> (Frames, Vec<Unavailable>) {
    let path = folder.join("pagemap");
    let source = path.display().to_string();
    let mut frames = Frames::default();
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) => return (frames, vec![Unavailable::by_io(source, &error)]),
    };
    let has_pages = |mapping: &Mapping| {
        let usage = &mapping.usage;
        let bytes = usage.rss_bytes.unwrap_or(1).saturating_add(usage.hugetlb_bytes.unwrap_or(0));
        mapping.permissions.read && bytes > 0
    };
    let looked_at = mappings.iter().filter(|mapping| has_pages(mapping)).count() as u64;
    let (least, most) = (*PAGES_OF_A_MAPPING.start(), *PAGES_OF_A_MAPPING.end());
    let most = (PAGES_LOOKED_AT / looked_at.max(1)).clamp(least, most);
    let mut hidden = false;
    for (at, mapping) in mappings.iter().enumerate().filter(|(_, mapping)| has_pages(mapping)) {
        let sample = Sample::of(mapping, page_bytes, most);
        // The vsyscall page is no part of the table, and a mapping may go meanwhile: it has no frames then.
        let _ = pages(&file, mapping.start / page_bytes, sample, |page| {
            hidden |= page.is_hidden();
            frames.add(at, page, sample.step);
        });
    }
    let why = "page frames read as zero, which CAP_SYS_ADMIN may change";
    let denied = hidden.then(|| Unavailable::denied(source, why));
    (frames, denied.into_iter().collect())
}

/// Gives the words of the sampled pages, from page number `start` of the address space on.
fn pages(pagemap: &File, start: u64, sample: Sample, mut give: impl FnMut(Page)) -> io::Result<()> {
    const WORD_BYTES: u64 = size_of::<u64>() as u64;
    let at_once = if sample.step == 1 { WORDS_AT_ONCE } else { 1 };
    let mut bytes = vec![0; usize::try_from(at_once * WORD_BYTES).unwrap_or(8)];
    let mut done = 0;
    while done < sample.count {
        let count = at_once.min(sample.count - done);
        let place = (start + sample.first + done * sample.step) * WORD_BYTES;
        let part = &mut bytes[..usize::try_from(count * WORD_BYTES).unwrap_or(8)];
        let got = pagemap.read_at(part, place)?;
        for word in part[..got].as_chunks().0 {
            give(Page::from_word(u64::from_ne_bytes(*word)));
        }
        if got < part.len() {
            break;
        }
        done += count;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::smaps::Permissions, *};

    const TIB: u64 = 1 << 40;

    fn mapping(start: u64, pages: u64, inode: u64, offset: u64) -> Mapping {
        let permissions = Permissions { read: true, shared: true, ..Permissions::default() };
        let end = start + pages * 4096;
        Mapping { start, end, inode, offset, permissions, ..Mapping::default() }
    }

    fn there(frame: u64) -> Page {
        Page::from_word(PRESENT | FILE_OR_SHARED | frame)
    }

    #[test]
    fn words_are_read() {
        assert_eq!((there(7).frame(), there(0).frame()), (Some(7), None));
        assert!(there(0).is_hidden() && !there(7).is_hidden());
        assert_eq!(Page::from_word(FILE_OR_SHARED | 7).frame(), None, "in swap");
        assert!(!Page::from_word(PRESENT | 7).is_sharable());
    }

    #[test]
    fn samples_of_one_file_meet() {
        let (short, long) = (mapping(0x1000, 64, 5, 0x3000), mapping(TIB, TIB / 4096, 5, 0));
        assert_eq!(Sample::of(&short, 4096, 64), Sample { first: 0, step: 1, count: 64 });
        let sparse = Sample::of(&long, 4096, 16384);
        assert_eq!(sparse, Sample { first: 0, step: 1 << 14, count: 16384 }, "bounded");
        let shifted = Sample::of(&mapping(TIB, 100, 5, 0x3000), 4096, 50);
        assert_eq!(shifted, Sample { first: 1, step: 2, count: 50 }, "even pages of the file");
        let tiny = Sample::of(&mapping(TIB, 3, 5, 0x1000), 4096, 1);
        assert_eq!((tiny.first, tiny.step, tiny.count), (3, 4, 0));
    }

    /// Planted and caught: private pages compared; lengths not those of the common part.
    #[test]
    fn the_same_frames_are_shared() {
        let mappings =
            [mapping(0x10000, 4, 5, 0), mapping(0x20000, 2, 5, 0x2000), mapping(0x30000, 1, 6, 0)];
        let mut frames = Frames::default();
        for page in 0..4 {
            frames.add(0, there(100 + page), 1);
        }
        let by_file = frames.shared(&mappings, 4096);
        assert_eq!(by_file.len(), 1);
        assert_eq!((by_file[0].bytes, by_file[0].proof), (8192, SharingProof::FileOffsets));
        assert_eq!(by_file[0].mappings, [0x10000, 0x20000]);
        frames.add(1, there(102), 1);
        frames.add(1, there(103), 1);
        let proven = frames.shared(&mappings, 4096);
        assert_eq!((proven[0].bytes, proven[0].proof), (8192, SharingProof::PageFrames));
        assert_eq!((proven.len(), proven[0].pages_compared), (1, 2));
        frames.add(2, Page::from_word(PRESENT | 103), 1);
        assert_eq!(frames.shared(&mappings, 4096), proven, "a private page is nobody else's");
        // The same frame in a mapping of another file: only frames tell.
        frames.add(2, there(100), 1);
        let two = frames.shared(&mappings, 4096);
        assert_eq!(two.len(), 2);
        assert!(two.iter().any(|s| s.mappings == [0x10000, 0x30000] && s.bytes == 4096));
    }
}
