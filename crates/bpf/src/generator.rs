//! A generator inside the kernel: frames for another interface, each with its number, without a copy
//! or a socket.
//!
//! ```text
//!   send ──> kernel: page ──program: number, words──> redirect ──> ndo_xdp_xmit of the interface
//!              ^                                                               |
//!              '──────────────── pages are used again, as they are ────────────'
//! ```
//! The program runs in batches on the calling thread's CPU with softirqs off; a veth's other end then
//! receives a whole batch on that CPU. The next number stands in a per-CPU array, so a thread that is
//! pinned sends a gapless sequence; one that moves starts the sequence of another CPU.
//!
//! The [`Generator`] owns its program and its map; nothing is attached, and all ends when it is
//! dropped. A device takes redirected frames only if it can (a veth: only while its other end has
//! NAPI, by an XDP program or GRO): what it does not take is lost, and counted by the device.
//!
//! Kernel: 5.18.

use crate::{
    Error, Frags, LiveRun, LoadSpec, Map, MapKind, MapSpec, Program, XdpAction,
    asm::{Alu, AsmError, Assembler, Cond, Helper, Insn, Reg::*, Size, xdp_md},
};

const NAME: &str = "netmem_generate";
/// An odd number with bits all over it.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
/// The difference of one derived word from the next.
const STEP: u64 = 0x0123_4567_89ab_cdef;

/// Where frames carry their number, and how many words follow from it.
///
/// The first word is the number, from 0; the second is a product of it, and each further one differs
/// from the one before by a constant. All are 64 bits, little-endian.
///
/// ```
/// use netmem_bpf::Stamp;
///
/// let stamp = Stamp { offset: 16, words: 3 };
/// let mut frame = [0; 64];
/// stamp.write(&mut frame, 7);
/// assert_eq!(stamp.read(&frame), Some(7));
/// frame[39] ^= 1;
/// assert_eq!(stamp.read(&frame), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Bytes in front of the first word.
    pub offset: u8,
    /// How many words: 1 to 32.
    pub words: u8,
}

impl Stamp {
    /// Most words of a stamp.
    const WORDS_MAX: u8 = 32;

    /// Returns the number of `frame` if all words are there and follow from it.
    #[inline]
    #[must_use]
    pub fn read(self, frame: &[u8]) -> Option<u64> {
        let (words, _) = frame.get(usize::from(self.offset)..)?.as_chunks::<8>();
        let (first, derived) = words.get(..usize::from(self.words))?.split_first()?;
        let number = u64::from_le_bytes(*first);
        let mut expected = number.wrapping_mul(FACTOR);
        let mut difference = 0;
        for &word in derived {
            difference |= u64::from_le_bytes(word) ^ expected;
            expected = expected.wrapping_add(STEP);
        }
        (difference == 0).then_some(number)
    }

    /// Writes the words of `number` into `frame`, as far as it reaches.
    pub fn write(self, frame: &mut [u8], number: u64) {
        let (words, _) =
            frame.get_mut(usize::from(self.offset)..).unwrap_or_default().as_chunks_mut::<8>();
        let mut next = number;
        for (index, word) in words.iter_mut().take(self.words.into()).enumerate() {
            *word = next.to_le_bytes();
            next = if index == 0 { number.wrapping_mul(FACTOR) } else { next.wrapping_add(STEP) };
        }
    }

    /// Bytes that a frame has at least.
    fn end(self) -> u16 {
        u16::from(self.offset) + 8 * u16::from(self.words)
    }
}

/// A program that redirects frames to one interface, and the map with its next number.
#[derive(Debug)]
pub struct Generator {
    program: Program,
    next: Map,
    stamp: Option<Stamp>,
}

impl Generator {
    /// Loads a generator of frames that leave by `egress_ifindex`, an interface of the namespace from
    /// where [`send`](Self::send) is called, with a stamp or as they are.
    ///
    /// # Errors
    /// If the stamp has no or too many words, or the kernel refuses map or program.
    pub fn load(egress_ifindex: u32, stamp: Option<Stamp>) -> Result<Self, Error> {
        let refused = |cause: String| Error::invalid("load generator", NAME, cause);
        if let Some(Stamp { words, .. }) = stamp
            && !(1..=Stamp::WORDS_MAX).contains(&words)
        {
            let most = Stamp::WORDS_MAX;
            return Err(refused(format!("stamp has {words} words, not 1 to {most}")));
        }
        let next = Map::create(&MapSpec {
            kind: MapKind::PerCpuArray,
            key_bytes: 4,
            value_bytes: 8,
            max_entries: 1,
            name: "netmem_next",
        })?;
        let instructions =
            compile(egress_ifindex, stamp, &next).map_err(|e| refused(e.to_string()))?;
        let spec = LoadSpec { name: NAME, instructions: &instructions, frags: Frags::No };
        Ok(Self { program: Program::load(&spec)?, next, stamp })
    }

    /// Sends `count` frames that start as `frame`, in batches of `batch` (1 to 256); returns the mean
    /// time per frame in nanoseconds, the receiving end's included where it runs on this CPU.
    ///
    /// # Errors
    /// If `frame` ends before its stamp, and as [`Program::run_live`].
    pub fn send(&self, frame: &[u8], count: u32, batch: u32) -> Result<u32, Error> {
        let needed = self.stamp.map_or(0, Stamp::end);
        if frame.len() < needed.into() {
            let cause = format!("frame has {} bytes, its stamp ends at {needed}", frame.len());
            return Err(Error::invalid("send frames of", NAME, cause));
        }
        self.program.run_live(&LiveRun { frame, repeat: count, batch, ingress_ifindex: 0 })
    }

    /// Returns how many frames the program has handed on, by all CPUs: each took a number.
    ///
    /// # Errors
    /// If the kernel does not let the map be read.
    pub fn sent(&self) -> Result<u64, Error> {
        self.next.sum_u64(0)
    }
}

/// Takes a number, writes the words, redirects. A frame that is too short, which `send` does not let
/// in, is dropped and takes none.
fn compile(ifindex: u32, stamp: Option<Stamp>, next: &Map) -> Result<Vec<Insn>, AsmError> {
    let mut a = Assembler::new();
    let drop_it = a.label();
    a.load(Size::W, R6, R1, xdp_md::DATA).load(Size::W, R7, R1, xdp_md::DATA_END);
    if let Some(stamp) = stamp {
        a.mov(R2, R6).alu(Alu::Add, R2, i32::from(stamp.end()));
        a.jump_if(Cond::Gt, R2, R7, drop_it);
    }
    a.store_imm(Size::W, R10, -4, 0).load_map(R1, next).mov(R2, R10).alu(Alu::Add, R2, -4);
    a.call(Helper::MapLookupElem).jump_if(Cond::Eq, R0, 0, drop_it);
    a.load(Size::Dw, R3, R0, 0).mov(R4, R3).alu(Alu::Add, R4, 1).store(Size::Dw, R0, 0, R4);
    if let Some(Stamp { offset, words }) = stamp {
        let offset = i16::from(offset);
        a.store(Size::Dw, R6, offset, R3);
        a.load_imm64(R4, FACTOR).alu(Alu::Mul, R3, R4).load_imm64(R4, STEP);
        for word in 1..i16::from(words) {
            a.store(Size::Dw, R6, offset + 8 * word, R3).alu(Alu::Add, R3, R4);
        }
    }
    a.mov32(R1, ifindex.cast_signed()).mov(R2, 0).call(Helper::Redirect).exit();
    a.bind(drop_it).mov(R0, XdpAction::Drop).exit();
    a.finish()
}
