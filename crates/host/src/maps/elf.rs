//! What a program's file says of its own memory: the loadable segments and the sections in them.
//!
//! The addresses in the file are those before the program was moved; [`Executable::bias`] finds by how much,
//! from where the first segment was mapped. Reading is by the crate `object`, a piece of the file at a time.

use object::{
    Object as _, ObjectSection as _, ObjectSegment as _, ReadRef, SectionFlags, SectionKind, elf,
};

use super::smaps::Mapping;

/// Files with more are not looked at further: the figures are somebody else's.
const SEGMENTS_MAX: usize = 1024;
const SECTIONS_MAX: usize = 4096;

/// Segments and sections of a program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Executable {
    /// Loadable segments, by address.
    pub segments: Vec<Segment>,
    /// Sections that take memory, by address.
    pub sections: Vec<Section>,
}

/// A loadable segment, at the addresses of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// First address.
    pub start: u64,
    /// Address behind the last byte that the file has.
    pub file_end: u64,
    /// Address behind the last byte in memory; what the file lacks is zeroes.
    pub end: u64,
    /// Offset of the first byte in the file.
    pub offset: u64,
}

/// A section, at the addresses of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its name: `.text`.
    pub name: String,
    /// First address.
    pub start: u64,
    /// Address behind the last one.
    pub end: u64,
}

/// Reads a program's headers; `None` if it is no ELF file.
pub fn parse<'data>(data: impl ReadRef<'data>) -> Option<Executable> {
    let file = object::File::parse(data).ok()?;
    let mut all = Executable::default();
    for segment in file.segments().take(SEGMENTS_MAX) {
        let (offset, file_bytes) = segment.file_range();
        let start = segment.address();
        let (Some(file_end), Some(end)) =
            (start.checked_add(file_bytes), start.checked_add(segment.size()))
        else {
            continue;
        };
        all.segments.push(Segment { start, file_end, end, offset });
    }
    for section in file.sections().take(SECTIONS_MAX) {
        let SectionFlags::Elf { sh_flags, .. } = section.flags() else { return None };
        // What each thread has a copy of takes no memory in its own place.
        let is_per_thread = section.kind() == SectionKind::UninitializedTls;
        let is_loaded = sh_flags.contains(elf::SHF_ALLOC);
        let (start, size) = (section.address(), section.size());
        if let (true, false, Ok(name), Some(end)) =
            (is_loaded && size > 0, is_per_thread, section.name(), start.checked_add(size))
        {
            all.sections.push(Section { name: name.to_owned(), start, end });
        }
    }
    all.segments.sort_by_key(|segment| segment.start);
    all.sections.sort_by_key(|section| section.start);
    Some(all)
}

impl Executable {
    /// How far the program was moved: what is to be added to the file's addresses. `mappings` are those of
    /// its file; nothing if none of them starts as a segment does.
    pub fn bias<'m>(
        &self,
        mappings: impl IntoIterator<Item = &'m Mapping>,
        page_bytes: u64,
    ) -> Option<u64> {
        let down = |address: u64| address - address % page_bytes;
        mappings.into_iter().find_map(|mapping| {
            let starts_here = |segment: &&Segment| {
                down(segment.offset) == mapping.offset && segment.file_end > segment.start
            };
            let segment = self.segments.iter().find(starts_here)?;
            Some(mapping.start.wrapping_sub(down(segment.start)))
        })
    }

    /// The names of the sections in a span of the moved program.
    pub fn sections_in(&self, start: u64, end: u64, bias: u64) -> Vec<String> {
        let is_inside = |section: &&Section| {
            section.start.wrapping_add(bias) < end && section.end.wrapping_add(bias) > start
        };
        self.sections.iter().filter(is_inside).map(|section| section.name.clone()).collect()
    }

    /// Is a span, which no file is behind, the zeroes of a segment's end?
    pub fn is_bss(&self, start: u64, end: u64, bias: u64) -> bool {
        let has = |segment: &Segment| {
            segment.end > segment.file_end
                && segment.start.wrapping_add(bias) < end
                && segment.end.wrapping_add(bias) > start
        };
        self.segments.iter().any(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two segments: code at file offset 0, data at 0x1f10 with 0x200 bytes of the file and 0x5000 in all.
    fn program() -> Executable {
        let section = |name: &str, start, end| Section { name: name.to_owned(), start, end };
        Executable {
            segments: vec![
                Segment { start: 0, file_end: 0x1800, end: 0x1800, offset: 0 },
                Segment { start: 0x2f10, file_end: 0x3110, end: 0x7f10, offset: 0x1f10 },
            ],
            sections: vec![
                section(".text", 0x1000, 0x1800),
                section(".data", 0x2f10, 0x3110),
                section(".bss", 0x3110, 0x7f10),
            ],
        }
    }

    fn mapping(start: u64, end: u64, offset: u64) -> Mapping {
        Mapping { start, end, offset, ..Mapping::default() }
    }

    #[test]
    fn the_bias_is_that_of_a_segment() {
        let base = 0x5555_0000_0000;
        let code = mapping(base, base + 0x2000, 0);
        let data = mapping(base + 0x2000, base + 0x4000, 0x1000);
        assert_eq!(program().bias([&code, &data], 4096), Some(base));
        assert_eq!(program().bias([&data], 4096), Some(base));
        assert_eq!(program().bias([&mapping(base, base + 4096, 0x9000)], 4096), None);
        assert_eq!(program().sections_in(data.start, data.end, base), [".data", ".bss"]);
        assert_eq!(program().sections_in(code.start, code.end, base), [".text"]);
        assert!(program().is_bss(base + 0x4000, base + 0x8000, base));
        assert!(!program().is_bss(base + 0x8000, base + 0x9000, base));
        assert!(!program().is_bss(base, base + 0x1000, base));
    }

    #[test]
    fn this_program_has_its_usual_sections() {
        let bytes = std::fs::read("/proc/self/exe").unwrap();
        let program = parse(&bytes[..]).unwrap();
        for name in [".text", ".rodata", ".data", ".bss"] {
            assert!(program.sections.iter().any(|section| section.name == name), "{name}");
        }
        assert!(program.sections.iter().all(|section| section.name != ".tbss"));
        assert!(program.segments.len() >= 2 && program.segments.iter().any(|s| s.end > s.file_end));
        assert_eq!(parse(&b"#!/bin/sh\n"[..]), None);
    }
}
