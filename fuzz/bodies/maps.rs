//! What `/proc` tells of an address space, in any bytes: a first byte chooses the parser. Nothing panics,
//! and what is read keeps its promises: spans are not empty, sorted and apart in their starts, classes are
//! as many as mappings, and a number of entries is one that such a length can have.

use netmem_host::maps::{Evidence, Mapping, Ring, classify, elf, numa, pagemap, smaps};

/// The offset of the entries, and a page.
const ENTRIES_OFFSET_BYTES: u64 = 320;
const PAGE_BYTES: u64 = 4096;

/// Takes the first byte as the parser, the rest as the text or file.
pub fn run(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    match choice % 3 {
        0 => mappings(bytes),
        1 => {
            let _ = numa::parse(bytes);
        }
        _ => program(bytes),
    }
}

fn mappings(bytes: &[u8]) {
    let Some(all) = smaps::parse(bytes) else { return };
    assert!(all.windows(2).all(|pair| pair[0].start < pair[1].start));
    assert!(all.iter().all(|mapping| mapping.start < mapping.end));
    let classes = classify(&all, &Evidence::default());
    assert_eq!(classes.len(), all.len());
    for mapping in &all {
        let sample = pagemap::Sample::of(mapping, PAGE_BYTES, 64);
        assert!(sample.count <= 64 && sample.step.is_power_of_two());
        assert!(sample.count == 0 || sample.first < mapping.len_bytes() / PAGE_BYTES);
        entries(mapping);
    }
    let _ = pagemap::Frames::default().shared(&all, PAGE_BYTES);
}

fn entries(mapping: &Mapping) {
    let Some(ring) = Ring::at(mapping.offset) else { return };
    let len = mapping.len_bytes();
    if let Some(entries) = ring.entries(len, ENTRIES_OFFSET_BYTES, PAGE_BYTES) {
        let bytes = ENTRIES_OFFSET_BYTES + u64::from(entries.most()) * ring.entry_bytes();
        assert!(entries.most().is_power_of_two());
        assert_eq!(bytes.next_multiple_of(PAGE_BYTES), len);
    }
}

fn program(bytes: &[u8]) {
    let Some(program) = elf::parse(bytes) else { return };
    assert!(program.sections.iter().all(|section| section.start < section.end));
    let mapping = Mapping { start: PAGE_BYTES, end: 2 * PAGE_BYTES, ..Mapping::default() };
    let bias = program.bias([&mapping], PAGE_BYTES).unwrap_or(0);
    let _ = program.sections_in(mapping.start, mapping.end, bias);
    let _ = program.is_bss(mapping.start, mapping.end, bias);
}
