use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::*;

/// Builds files by hand, in both byte orders.
#[derive(Clone, Copy)]
struct Writer(Order);

impl Writer {
    fn u16(self, value: u16) -> [u8; 2] {
        if self.0 == Order::Big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn u32s(self, values: &[u32]) -> Vec<u8> {
        let bytes = |value: &u32| match self.0 {
            Order::Big => value.to_be_bytes(),
            Order::Little => value.to_le_bytes(),
        };
        values.iter().flat_map(bytes).collect()
    }

    fn pcap(self, magic: u32, minor: u16, link: u32) -> Vec<u8> {
        let version = [self.u16(2), self.u16(minor)].concat();
        [self.u32s(&[magic]), version, self.u32s(&[0, 0, 65535, link])].concat()
    }

    fn record(self, words: [u32; 4], bytes: &[u8]) -> Vec<u8> {
        [self.u32s(&words), bytes.to_vec()].concat()
    }

    fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let mut body = body.to_vec();
        body.resize(body.len().next_multiple_of(4), 0);
        let len = u32::try_from(body.len() + 12).unwrap();
        [self.u32s(&[kind, len]), body, self.u32s(&[len])].concat()
    }

    fn section(self) -> Vec<u8> {
        let version = [self.u16(1), self.u16(0)].concat();
        let body = [self.u32s(&[0x1a2b_3c4d]), version, vec![0xff; 8]].concat();
        self.block(block(SECTION), &body)
    }

    fn interface(self, link: u16, snap_len: u32, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = [self.u16(link), self.u16(0)].concat();
        body.extend(self.u32s(&[snap_len]));
        for (code, value) in options {
            body.extend(self.u16(*code));
            body.extend(self.u16(u16::try_from(value.len()).unwrap()));
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        self.block(1, &body)
    }

    fn enhanced(self, interface: u32, ticks: u64, original: u32, bytes: &[u8]) -> Vec<u8> {
        let [high, low] = [ticks >> 32, ticks & 0xffff_ffff].map(|half| half.try_into().unwrap());
        let len = u32::try_from(bytes.len()).unwrap();
        let words = self.u32s(&[interface, high, low, len, original]);
        self.block(6, &[words, bytes.to_vec()].concat())
    }
}

const SECTION: [u8; 4] = pcapng::SECTION;
const BOTH: [Writer; 2] = [Writer(Order::Little), Writer(Order::Big)];

fn block(kind: [u8; 4]) -> u32 {
    u32::from_be_bytes(kind)
}

/// A record with its own bytes.
type Owned = (i64, u32, u32, u32, Vec<u8>);

fn owned(record: &Record<'_>) -> Owned {
    let Timestamp { seconds, nanoseconds } = record.timestamp;
    let (link, original) = (record.link_type, record.original_len_bytes);
    (seconds, nanoseconds, link, original, record.bytes.to_vec())
}

/// All records, and what ended them.
fn read_all<R: Read>(source: R) -> (Vec<Owned>, Option<CaptureError>) {
    let mut file = match CaptureFile::new(source) {
        Ok(file) => file,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut records = Vec::new();
    loop {
        match file.next_record() {
            Ok(Some(record)) => records.push(owned(&record)),
            Ok(None) => return (records, None),
            Err(error) => {
                assert!(matches!(file.next_record(), Ok(None)), "nothing after an error");
                return (records, Some(error));
            }
        }
    }
}

fn message(bytes: &[u8]) -> String {
    read_all(bytes).1.map_or_else(|| "no error".to_owned(), |error| error.to_string())
}

/// Gives one byte at a time, as a slow pipe may.
struct Trickle<'b>(&'b [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = bytes.len().min(1);
        self.0.read(&mut bytes[..count])
    }
}

// Planted and caught: nanoseconds taken for microseconds; a fraction above a second not carried; the
// lengths of 2.2 not swapped; the bits above the link type kept.
#[test]
fn pcap_in_every_form() {
    for writer in BOTH {
        let first = writer.record([7, 1_500_000, 3, 60], b"abc");
        let second = writer.record([0xffff_ffff, 5, 0, 0], b"");
        for (magic, nanos) in [(0xa1b2_c3d4, [500_000_000, 5000]), (0xa1b2_3c4d, [1_500_000, 5])] {
            let seconds = if nanos[1] == 5 { 7 } else { 8 };
            let file = [writer.pcap(magic, 4, 0xf400_0001), first.clone(), second.clone()].concat();
            let expected = vec![
                (seconds, nanos[0], 1, 60, b"abc".to_vec()),
                (0xffff_ffff, nanos[1], 1, 0, Vec::new()),
            ];
            let (records, error) = read_all(file.as_slice());
            assert_eq!((records, error.is_none()), (expected.clone(), true));
            assert_eq!(read_all(Trickle(&file)).0, expected);
        }
        for (minor, words) in [(2, [0, 0, 60, 3]), (3, [0, 0, 60, 3]), (3, [0, 0, 3, 60])] {
            let record = writer.record(words, b"abc");
            let file = [writer.pcap(0xa1b2_c3d4, minor, 101), record].concat();
            assert_eq!(read_all(file.as_slice()).0, [(0, 0, 101, 60, b"abc".to_vec())]);
        }
    }
}

// Planted and caught: interfaces kept over sections; if_tsresol of base 2 taken as base 10; the padding
// of an option not passed over.
#[test]
fn pcapng_in_every_form() {
    for writer in BOTH {
        let offset = {
            let bytes = 100_i64.to_be_bytes();
            if writer.0 == Order::Big { bytes.to_vec() } else { bytes.into_iter().rev().collect() }
        };
        let file = [
            writer.section(),
            writer.interface(1, 0, &[]),
            writer.interface(101, 4, &[(2, b"e"), (9, &[9]), (14, &offset), (0, &[])]),
            writer.enhanced(0, 3_000_001, 99, b"first"),
            writer.block(0x0bad_0bad, &[7; 70_000]),
            writer.enhanced(1, 3_000_000_001, 6, b"second"),
            writer.block(3, &[writer.u32s(&[5]), b"third".to_vec()].concat()),
            // The obsolete packet block: interface and drops in two bytes each.
            writer.block(
                2,
                &[[writer.u16(1), writer.u16(9)].concat(), writer.u32s(&[0, 1, 1, 1]), vec![4]]
                    .concat(),
            ),
            // A section in the other order.
            BOTH[usize::from(writer.0 == Order::Little)].section(),
            BOTH[usize::from(writer.0 == Order::Little)].interface(276, 2, &[(9, &[0x80 | 10])]),
            BOTH[usize::from(writer.0 == Order::Little)].enhanced(0, 1536, 1, b"5"),
            BOTH[usize::from(writer.0 == Order::Little)].block(3, b"\0\0\0\0"),
        ]
        .concat();
        let expected = [
            (3, 1000, 1, 99, b"first".to_vec()),
            (103, 1, 101, 6, b"second".to_vec()),
            (0, 0, 1, 5, b"third".to_vec()),
            (100, 1, 101, 1, vec![4]),
            (1, 500_000_000, 276, 1, b"5".to_vec()),
            (0, 0, 276, 0, Vec::new()),
        ];
        let (records, error) = read_all(file.as_slice());
        assert_eq!((records, error.is_none()), (expected.to_vec(), true), "{error:?}");
        assert_eq!(read_all(Trickle(&file)).0, expected);
    }
}

#[test]
fn clocks_at_their_edges() {
    let [writer, _] = BOTH;
    for (unit, ticks, expected) in [
        (0, u64::MAX, (i64::MAX, 0)),
        (6, u64::MAX, (18_446_744_073_709, 551_615_000)),
        (12, 1_999_999_999_999, (1, 999_999_999)),
        (19, u64::MAX, (1, 844_674_407)),
        (127, u64::MAX, (0, 0)),
        (0xff, u64::MAX, (0, 0)),
        (0x80, 5, (5, 0)),
        (0x80 | 64, u64::MAX, (0, 999_999_999)),
    ] {
        let interface = writer.interface(1, 0, &[(9, &[unit])]);
        let file = [writer.section(), interface, writer.enhanced(0, ticks, 0, b"")].concat();
        let (records, _) = read_all(file.as_slice());
        assert_eq!((records[0].0, records[0].1), expected, "{unit} {ticks}");
    }
}

#[test]
fn what_is_no_capture_is_refused_in_words() {
    let [writer, _] = BOTH;
    let header = writer.pcap(0xa1b2_c3d4, 4, 1);
    let cases: [(&[u8], &str); 8] = [
        (b"", "the file is empty"),
        (b"\xd4\xc3", "no capture file: it begins with d4 c3"),
        (b"\x1f\x8b\x08\0....", "no capture file: it begins with 1f 8b 08 00"),
        (b"\x34\xcd\xb2\xa1....", "the modified pcap format (magic 0xa1b2cd34) is not supported"),
        (&header[..23], "pcap header at byte 0: 24 bytes needed, the file ends after 23"),
        (&writer.pcap(0xa1b2_c3d4, 5, 1), "pcap header at byte 0: version 2.5, not 2.0 to 2.4"),
        (&SECTION, "section header block at byte 0: 28 bytes needed, the file ends after 4"),
        (&[SECTION; 7].concat(), "section header block at byte 0: no byte-order magic"),
    ];
    for (bytes, expected) in cases {
        assert_eq!(message(bytes), expected);
    }
    let hint = |bytes: &[u8]| read_all(bytes).1.and_then(|error| error.hint()).unwrap();
    assert!(hint(b"\x1f\x8b\x08\0").contains("zcat"));
    assert!(hint(b"snoop\0").contains("editcap"));
    let folder = CaptureFile::new(File::open("/").unwrap()).unwrap_err();
    assert_eq!(folder.to_string(), "at byte 0: is a directory");
}

// Planted and caught: a trailer that is not compared; a captured length that is not compared with the
// block's; an interface that is not there taken for the first.
#[test]
fn a_damaged_record_ends_the_file_at_its_offset() {
    let [writer, _] = BOTH;
    let whole = writer.record([1, 1, 1, 1], b"a");
    let pcap = [writer.pcap(0xa1b2_c3d4, 4, 1), whole].concat();
    let claims = |captured| [pcap.clone(), writer.record([0, 0, captured, 9], b"x")].concat();
    let ng = [writer.section(), writer.interface(1, 0, &[]), writer.enhanced(0, 0, 1, b"a")];
    let ng = ng.concat();
    let at = ng.len();
    assert_eq!(at, 84);
    let with = |more: &[u8]| [&ng, more].concat();
    let mut trailer = writer.enhanced(0, 0, 1, b"b");
    *trailer.last_mut().unwrap() = 1;
    let cases: [(Vec<u8>, &str); 10] = [
        (claims(u32::MAX), "pcap record at byte 41: claims 4294967295 bytes, more than 262144"),
        (claims(9), "pcap record at byte 41: 25 bytes needed, the file ends after 17"),
        (pcap[..30].to_vec(), "pcap record at byte 24: 16 bytes needed, the file ends after 6"),
        (
            with(&writer.enhanced(1, 0, 1, b"b")),
            "enhanced packet block at byte 84: interface 1 of 1",
        ),
        (with(&trailer), "enhanced packet block at byte 84: length 36 before it, 16777252 behind"),
        (
            with(&writer.block(6, &writer.u32s(&[0, 0, 0, 5, 5, 0]))),
            "enhanced packet block at byte 84: its content does not fit in its length 36",
        ),
        (
            with(&writer.block(6, &writer.u32s(&[0, 0, 0, u32::MAX, 5]))),
            "enhanced packet block at byte 84: claims 4294967295 bytes, more than 262144",
        ),
        (
            with(&writer.u32s(&[6, 13])),
            "enhanced packet block at byte 84: length 13, not a multiple of 4 from 12 on",
        ),
        (
            with(&writer.u32s(&[77, 0xffff_fffc, 0])),
            "pcapng block at byte 84: 4294967292 bytes needed, the file ends after 12",
        ),
        (with(b"abc"), "pcapng block at byte 84: 12 bytes needed, the file ends after 3"),
    ];
    for (bytes, expected) in cases {
        assert_eq!(message(&bytes), expected);
        // What came before is delivered, unless it is the first that is cut.
        assert_eq!(read_all(bytes.as_slice()).0.len(), usize::from(bytes.len() > 30), "{expected}");
    }
}

#[test]
fn interfaces_without_end_are_refused() {
    let [writer, _] = BOTH;
    let mut file = writer.section();
    file.extend(writer.interface(1, 0, &[]).repeat((1 << 16) + 1));
    let (records, error) = read_all(&file[..]);
    assert!(records.is_empty());
    let error = error.unwrap();
    assert!(error.to_string().contains("more than 65536 interfaces"), "{error}");
}

/// An endless file that claims much never makes the reader keep more than the limit.
#[test]
fn memory_is_bounded_by_the_limit_and_by_what_is_there() {
    let [writer, _] = BOTH;
    let claim = writer.record([0, 0, limit_bytes(249), 9], b"little");
    let usb = [writer.pcap(0xa1b2_c3d4, 4, 249), claim].concat();
    let mut file = CaptureFile::new(usb.as_slice()).unwrap();
    let error = file.next_record().unwrap_err();
    assert!(matches!(error.cause, Cause::Cut { available_bytes: 22, .. }), "{error}");
    assert!(file.bytes.capacity() < 1 << 16, "{}", file.bytes.capacity());
    // A gigabyte that is passed over.
    let start = [writer.section(), writer.u32s(&[77, (1 << 30) + 12])].concat();
    let end = [writer.u32s(&[(1 << 30) + 12]), writer.section()].concat();
    let source = start.as_slice().chain(io::repeat(0).take(1 << 30)).chain(end.as_slice());
    let mut file = CaptureFile::new(source).unwrap();
    assert!(file.next_record().unwrap().is_none());
    assert_eq!((file.offset_bytes(), file.bytes.capacity()), ((1 << 30) + 68, 0));
}

fn captures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/pcaps");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_text = |path: &PathBuf| {
        path.ends_with("LICENSE") || path.extension().is_some_and(|extension| extension == "md")
    };
    let mut paths: Vec<_> = entries.filter(|path| !is_text(path)).collect();
    paths.sort();
    paths
}

/// Cut anywhere, a file gives the records that are whole in it; with bytes changed, whatever is read
/// is no longer than the file.
#[test]
fn damaged_copies_of_real_captures() {
    let paths = captures();
    assert!(paths.len() >= 414, "{}", paths.len());
    let mut seed = 1_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    for path in paths {
        let bytes = fs::read(&path).unwrap();
        let (records, _) = read_all(bytes.as_slice());
        for _ in 0..4 {
            let end = random(bytes.len() + 1);
            let (fewer, _) = read_all(&bytes[..end]);
            assert_eq!(fewer, records[..fewer.len()], "{} cut at {end}", path.display());
        }
        for _ in 0..8 {
            let mut changed = bytes.clone();
            // Headers are at the beginning, mostly.
            let span = [bytes.len(), bytes.len().min(120)][random(2)];
            let at = random(span);
            changed[at] = [0, 1, 0x7f, 0x80, 0xff][random(5)];
            let (records, error) = read_all(changed.as_slice());
            let sum: usize = records.iter().map(|record| record.4.len()).sum();
            assert!(sum <= bytes.len(), "{} byte {at}", path.display());
            let offset = error.map_or(0, |error| error.offset_bytes);
            assert!(offset <= bytes.len() as u64, "{} byte {at}", path.display());
        }
    }
}

// Planted and caught: a record's header that is cut taken for the end, as the file grows meanwhile.
#[test]
fn a_file_that_grows_while_it_ends_is_cut() {
    struct Growing<'b>(std::slice::Iter<'b, &'b [u8]>);
    impl Read for Growing<'_> {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            let next = self.0.next().copied().unwrap_or_default();
            bytes[..next.len()].copy_from_slice(next);
            Ok(next.len())
        }
    }
    let pcap = [&b"\xd4\xc3\xb2\xa1\x02\0\x04\0"[..], &[0; 8], b"\0\0\x01\0\x01\0\0\0"].concat();
    let section = [&b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a\x01\0\0\0"[..], &[0xff; 8]];
    let pcapng = [&section.concat()[..], b"\x1c\0\0\0"].concat();
    for header in [pcap, pcapng] {
        let parts = [&header[..], &[0; 5], &[], &[0; 11]];
        let mut file = CaptureFile::new(Growing(parts.iter())).unwrap();
        let error = file.next_record().unwrap_err();
        assert!(matches!(error.cause, Cause::Cut { available_bytes: 5, .. }), "{error}");
    }
}
