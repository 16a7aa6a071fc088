//! pcap: one header, then records of one link type.

use std::io::Read;

use super::{
    Head, Order, Timestamp,
    error::{CaptureError, Cause},
    limit_bytes,
    source::{Part, Source},
};

const HEADER_LEN_BYTES: u64 = 24;
const RECORD_LEN_BYTES: u64 = 16;
/// The link type is in these bits; above them is the length of a frame check sequence.
const LINK_TYPE: u32 = 0x03ff_ffff;

/// What the file's header says.
#[derive(Debug)]
pub(super) struct Pcap {
    order: Order,
    nanos_per_tick: u32,
    link_type: u32,
    lengths: Lengths,
}

/// In which order a record has its two lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lengths {
    CapturedOriginal,
    /// Files of versions below 2.3, and those of one vendor's 543.0.
    OriginalCaptured,
    /// Version 2.3 was written both ways: captured is the smaller.
    SmallerLarger,
}

impl Pcap {
    /// Reads the rest of the header, behind its magic number.
    pub(super) fn start<R: Read>(
        source: &mut Source<R>,
        magic: [u8; 4],
    ) -> Result<Self, CaptureError> {
        let (order, nanos_per_tick) = match magic {
            [0xd4, 0xc3, 0xb2, 0xa1] => (Order::Little, 1000),
            [0xa1, 0xb2, 0xc3, 0xd4] => (Order::Big, 1000),
            [0x4d, 0x3c, 0xb2, 0xa1] => (Order::Little, 1),
            [0xa1, 0xb2, 0x3c, 0x4d] => (Order::Big, 1),
            _ => return Err(refused(magic)),
        };
        let part = Part { name: "pcap header", offset_bytes: 0, needed_bytes: HEADER_LEN_BYTES };
        let mut rest = [0; 20];
        source.read(&mut rest, part)?;
        let lengths = match (order.u16(&rest, 0), order.u16(&rest, 2)) {
            (2, 0..3) | (543, 0) => Lengths::OriginalCaptured,
            (2, 3) => Lengths::SmallerLarger,
            (2, 4) => Lengths::CapturedOriginal,
            (major, minor) => {
                return Err(part.damaged(format!("version {major}.{minor}, not 2.0 to 2.4")));
            }
        };
        Ok(Self { order, nanos_per_tick, link_type: order.u32(&rest, 16) & LINK_TYPE, lengths })
    }

    pub(super) fn next_record<R: Read>(
        &mut self,
        source: &mut Source<R>,
        bytes: &mut Vec<u8>,
    ) -> Result<Option<Head>, CaptureError> {
        let offset_bytes = source.offset_bytes();
        let mut part = Part { name: "pcap record", offset_bytes, needed_bytes: RECORD_LEN_BYTES };
        let mut header = [0; 16];
        match source.read_up_to(&mut header)? {
            0 => return Ok(None),
            16 => {}
            _ => return Err(part.cut(source.offset_bytes())),
        }
        let word = |at| self.order.u32(&header, at);
        let (first, second) = (word(8), word(12));
        let (captured, original_len_bytes) = match self.lengths {
            Lengths::CapturedOriginal => (first, second),
            Lengths::OriginalCaptured => (second, first),
            Lengths::SmallerLarger => (first.min(second), first.max(second)),
        };
        let limit = limit_bytes(self.link_type);
        if captured > limit {
            return Err(part.damaged(format!("claims {captured} bytes, more than {limit}")));
        }
        part.needed_bytes = RECORD_LEN_BYTES + u64::from(captured);
        source.read_into(bytes, captured, part)?;
        let nanos = u64::from(word(4)) * u64::from(self.nanos_per_tick);
        let timestamp = Timestamp {
            // A fraction above one second is carried rather than refused.
            seconds: i64::from(word(0)) + i64::try_from(nanos / 1_000_000_000).unwrap_or(0),
            nanoseconds: u32::try_from(nanos % 1_000_000_000).unwrap_or(0),
        };
        Ok(Some(Head { timestamp, link_type: self.link_type, original_len_bytes, offset_bytes }))
    }
}

/// Says what begins with a magic number that is not read.
fn refused(magic: [u8; 4]) -> CaptureError {
    let cause = match magic {
        [0x34, 0xcd, 0xb2, 0xa1] | [0xa1, 0xb2, 0xcd, 0x34] => {
            Cause::Unsupported("the modified pcap format (magic 0xa1b2cd34)")
        }
        _ => Cause::NoCapture(magic.to_vec()),
    };
    CaptureError { offset_bytes: 0, cause }
}
