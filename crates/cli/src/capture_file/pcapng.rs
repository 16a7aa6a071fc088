//! pcapng: sections of blocks; each interface has its own link type and clock.

use std::io::Read;

use super::{
    Head, Order, Timestamp,
    error::CaptureError,
    limit_bytes,
    source::{Part, Source},
};

/// The type of a section header block: the same in both byte orders.
pub(super) const SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// Type and length before a body, length behind it.
const FRAME_LEN_BYTES: u64 = 12;
/// Most interfaces of a section: what a hostile file makes this reader keep.
const MOST_INTERFACES: usize = 1 << 16;
/// Longest options of an interface that are looked at: what lies behind has no room for a clock.
const MOST_OPTION_BYTES: u64 = 1 << 20;

mod block_type {
    pub(super) const INTERFACE: u32 = 1;
    pub(super) const PACKET: u32 = 2;
    pub(super) const SIMPLE_PACKET: u32 = 3;
    pub(super) const ENHANCED_PACKET: u32 = 6;
    pub(super) const SECTION: u32 = 0x0a0d_0d0a;
}

/// The state of a section.
#[derive(Debug)]
pub(super) struct Pcapng {
    order: Order,
    interfaces: Vec<Interface>,
}

#[derive(Debug, Clone, Copy)]
struct Interface {
    link_type: u32,
    /// 0 where there is none.
    snap_len_bytes: u32,
    clock: Clock,
}

/// `if_tsresol` and `if_tsoffset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Clock {
    /// `None` for units so small that 2^64 of them are no nanosecond.
    ticks_per_second: Option<u128>,
    offset_seconds: i64,
}

/// A block whose type and length were read: `left_bytes` of its body are not yet.
#[derive(Debug)]
struct Block {
    part: Part,
    kind: u32,
    len_bytes: u32,
    left_bytes: u64,
}

impl Pcapng {
    /// Reads the first section header, behind its type.
    pub(super) fn start<R: Read>(source: &mut Source<R>) -> Result<Self, CaptureError> {
        let mut pcapng = Self { order: Order::Little, interfaces: Vec::new() };
        let part = Part { name: "section header block", offset_bytes: 0, needed_bytes: 28 };
        let mut length = [0; 4];
        source.read(&mut length, part)?;
        pcapng.section(source, part, length)?;
        Ok(pcapng)
    }

    pub(super) fn next_record<R: Read>(
        &mut self,
        source: &mut Source<R>,
        bytes: &mut Vec<u8>,
    ) -> Result<Option<Head>, CaptureError> {
        loop {
            let offset_bytes = source.offset_bytes();
            let mut part =
                Part { name: "pcapng block", offset_bytes, needed_bytes: FRAME_LEN_BYTES };
            let mut start = [0; 8];
            match source.read_up_to(&mut start)? {
                0 => return Ok(None),
                8 => {}
                _ => return Err(part.cut(source.offset_bytes())),
            }
            if start.starts_with(&SECTION) {
                part = Part { name: "section header block", needed_bytes: 28, ..part };
                self.section(source, part, [start[4], start[5], start[6], start[7]])?;
                continue;
            }
            let (kind, len_bytes) = (self.order.u32(&start, 0), self.order.u32(&start, 4));
            let mut block = Block::new(part, kind, len_bytes)?;
            let head = match kind {
                block_type::INTERFACE => self.interface(source, &mut block).map(|()| None),
                block_type::SIMPLE_PACKET => self.simple(source, &mut block, bytes).map(Some),
                block_type::PACKET | block_type::ENHANCED_PACKET => {
                    self.packet(source, &mut block, bytes).map(Some)
                }
                _ => Ok(None),
            }?;
            block.end(source, self.order)?;
            if head.is_some() {
                return Ok(head);
            }
        }
    }

    /// A section header block, behind its length, whose byte order is told by what follows it.
    fn section<R: Read>(
        &mut self,
        source: &mut Source<R>,
        part: Part,
        length: [u8; 4],
    ) -> Result<(), CaptureError> {
        let mut fixed = [0; 16];
        source.read(&mut fixed[..4], part)?;
        self.order = match fixed[..4] {
            [0x4d, 0x3c, 0x2b, 0x1a] => Order::Little,
            [0x1a, 0x2b, 0x3c, 0x4d] => Order::Big,
            _ => return Err(part.damaged("no byte-order magic")),
        };
        self.interfaces.clear();
        let mut block = Block::new(part, block_type::SECTION, self.order.u32(&length, 0))?;
        block.left_bytes = block.left_bytes.saturating_sub(4);
        // The section's length is not used: it may be unknown, and blocks say where they end.
        block.read(source, &mut fixed[4..])?;
        let major = self.order.u16(&fixed, 4);
        if major != 1 {
            return Err(part.damaged(format!("version {major}, not 1")));
        }
        block.end(source, self.order)
    }

    fn interface<R: Read>(
        &mut self,
        source: &mut Source<R>,
        block: &mut Block,
    ) -> Result<(), CaptureError> {
        if self.interfaces.len() == MOST_INTERFACES {
            return Err(block.part.damaged(format!("more than {MOST_INTERFACES} interfaces")));
        }
        let mut fixed = [0; 8];
        block.read(source, &mut fixed)?;
        let mut options = Vec::new();
        block.read_into(source, &mut options, block.left_bytes.min(MOST_OPTION_BYTES))?;
        self.interfaces.push(Interface {
            link_type: self.order.u16(&fixed, 0).into(),
            snap_len_bytes: self.order.u32(&fixed, 4),
            clock: Clock::from_options(&options, self.order),
        });
        Ok(())
    }

    /// An enhanced packet block, or the packet block that it replaced.
    fn packet<R: Read>(
        &mut self,
        source: &mut Source<R>,
        block: &mut Block,
        bytes: &mut Vec<u8>,
    ) -> Result<Head, CaptureError> {
        let mut fixed = [0; 20];
        block.read(source, &mut fixed)?;
        let word = |at| self.order.u32(&fixed, at);
        let index = match block.kind {
            block_type::PACKET => self.order.u16(&fixed, 0).into(),
            _ => word(0),
        };
        let interface = self.interface_of(block, index)?;
        let ticks = u64::from(word(4)) << 32 | u64::from(word(8));
        let (captured, original_len_bytes) = (word(12), word(16));
        block.packet(source, bytes, captured, interface.link_type)?;
        Ok(Head {
            timestamp: interface.clock.timestamp(ticks),
            link_type: interface.link_type,
            original_len_bytes,
            offset_bytes: block.part.offset_bytes,
        })
    }

    fn simple<R: Read>(
        &mut self,
        source: &mut Source<R>,
        block: &mut Block,
        bytes: &mut Vec<u8>,
    ) -> Result<Head, CaptureError> {
        let mut fixed = [0; 4];
        block.read(source, &mut fixed)?;
        let interface = self.interface_of(block, 0)?;
        let original_len_bytes = self.order.u32(&fixed, 0);
        // How much was captured is not said: all, or as much as the interface's limit.
        let captured = match interface.snap_len_bytes {
            0 => original_len_bytes,
            snap_len => original_len_bytes.min(snap_len),
        };
        block.packet(source, bytes, captured, interface.link_type)?;
        Ok(Head {
            timestamp: Timestamp::default(),
            link_type: interface.link_type,
            original_len_bytes,
            offset_bytes: block.part.offset_bytes,
        })
    }

    fn interface_of(&self, block: &Block, index: u32) -> Result<Interface, CaptureError> {
        let known = usize::try_from(index).ok().and_then(|index| self.interfaces.get(index));
        known.copied().ok_or_else(|| {
            let count = self.interfaces.len();
            block.part.damaged(format!("interface {index} of {count}"))
        })
    }
}

impl Block {
    fn new(part: Part, kind: u32, len_bytes: u32) -> Result<Self, CaptureError> {
        let name = match kind {
            block_type::INTERFACE => "interface description block",
            block_type::PACKET => "packet block",
            block_type::SIMPLE_PACKET => "simple packet block",
            block_type::ENHANCED_PACKET => "enhanced packet block",
            _ => part.name,
        };
        let part = Part { name, needed_bytes: len_bytes.into(), ..part };
        if u64::from(len_bytes) < FRAME_LEN_BYTES || !len_bytes.is_multiple_of(4) {
            let what = format!("length {len_bytes}, not a multiple of 4 from 12 on");
            return Err(part.damaged(what));
        }
        let left_bytes = u64::from(len_bytes) - FRAME_LEN_BYTES;
        Ok(Self { part, kind, len_bytes, left_bytes })
    }

    fn take(&mut self, count: u64) -> Result<(), CaptureError> {
        let left = self.left_bytes.checked_sub(count);
        self.left_bytes = left.ok_or_else(|| {
            let len = self.len_bytes;
            self.part.damaged(format!("its content does not fit in its length {len}"))
        })?;
        Ok(())
    }

    fn read<R: Read>(
        &mut self,
        source: &mut Source<R>,
        bytes: &mut [u8],
    ) -> Result<(), CaptureError> {
        self.take(bytes.len() as u64)?;
        source.read(bytes, self.part)
    }

    fn read_into<R: Read>(
        &mut self,
        source: &mut Source<R>,
        bytes: &mut Vec<u8>,
        count: u64,
    ) -> Result<(), CaptureError> {
        self.take(count)?;
        // A body is at most a u32 long.
        source.read_into(bytes, u32::try_from(count).unwrap_or(u32::MAX), self.part)
    }

    /// Reads the packet's bytes.
    fn packet<R: Read>(
        &mut self,
        source: &mut Source<R>,
        bytes: &mut Vec<u8>,
        captured: u32,
        link_type: u32,
    ) -> Result<(), CaptureError> {
        let limit = limit_bytes(link_type);
        if captured > limit {
            let what = format!("claims {captured} bytes, more than {limit}");
            return Err(self.part.damaged(what));
        }
        self.read_into(source, bytes, captured.into())
    }

    /// Passes over what is left of the body, and checks the length behind it.
    fn end<R: Read>(&mut self, source: &mut Source<R>, order: Order) -> Result<(), CaptureError> {
        source.skip(self.left_bytes, self.part)?;
        let mut trailer = [0; 4];
        source.read(&mut trailer, self.part)?;
        let (first, second) = (self.len_bytes, order.u32(&trailer, 0));
        match first == second {
            true => Ok(()),
            false => Err(self.part.damaged(format!("length {first} before it, {second} behind"))),
        }
    }
}

impl Clock {
    const MICROSECONDS: Self = Self { ticks_per_second: Some(1_000_000), offset_seconds: 0 };

    /// Options are code, length and a value that is filled up to four bytes. A list that breaks off
    /// says nothing about what came before.
    fn from_options(options: &[u8], order: Order) -> Self {
        const TSRESOL: u16 = 9;
        const TSOFFSET: u16 = 14;
        let mut clock = Self::MICROSECONDS;
        let mut rest = options;
        while rest.len() >= 4 {
            let (code, len) = (order.u16(rest, 0), usize::from(order.u16(rest, 2)));
            let Some(value) = rest.get(4..4 + len) else { break };
            match (code, value) {
                (0, _) => break,
                (TSRESOL, &[unit]) => clock.ticks_per_second = ticks_per_second(unit),
                (TSOFFSET, &[_, _, _, _, _, _, _, _]) => {
                    clock.offset_seconds = order.u64(value, 0).cast_signed();
                }
                _ => {}
            }
            rest = rest.get(4 + len.next_multiple_of(4)..).unwrap_or_default();
        }
        clock
    }

    fn timestamp(self, ticks: u64) -> Timestamp {
        let Some(per_second) = self.ticks_per_second else {
            return Timestamp { seconds: self.offset_seconds, nanoseconds: 0 };
        };
        let ticks = u128::from(ticks);
        let nanos = ticks % per_second * 1_000_000_000 / per_second;
        let seconds = i64::try_from(ticks / per_second).unwrap_or(i64::MAX);
        Timestamp {
            seconds: seconds.saturating_add(self.offset_seconds),
            nanoseconds: u32::try_from(nanos).unwrap_or(0),
        }
    }
}

/// The unit is a negative power of 2 or of 10.
fn ticks_per_second(unit: u8) -> Option<u128> {
    let exponent = u32::from(unit & 0x7f);
    let base: u128 = if unit & 0x80 != 0 { 2 } else { 10 };
    base.checked_pow(exponent)
}
