//! The far end of the loop: an XDP program that checks each frame that was reflected, counts it by its
//! number, exchanges the addresses back, and sends it on its next round.

use netmem_bpf::{
    Error, Map, XdpAction, XdpLink,
    asm::{Alu, AsmError, Assembler, Cond, Helper, Insn, Reg::*, Size},
};

use super::{FRAMES, STAMP, checks, made, reflected};

/// Entry of the counters, and number, of frames that ask whether anybody reflects: they are counted
/// and dropped.
pub(super) const PROBE: u32 = FRAMES;
/// Entry of the counters: frames that are not as they should be; they are dropped.
const WRONG: u32 = FRAMES + 1;

/// The attached program; it goes when this is dropped.
#[derive(Debug)]
pub(super) struct Bouncer {
    counters: Map,
    _link: XdpLink,
}

impl Bouncer {
    /// Attaches to an interface of the calling thread's namespace.
    pub(super) fn attach(ifindex: u32) -> Result<Self, Error> {
        let counters = checks::counters(FRAMES + 2)?;
        let instructions = compile(&counters).expect("labels are bound once");
        Ok(Self { _link: checks::attach(&instructions, ifindex)?, counters })
    }

    /// How many rounds each frame has made, by its number.
    pub(super) fn rounds(&self) -> Result<Vec<u64>, Error> {
        (0..FRAMES).map(|number| self.counters.sum_u64(number)).collect()
    }

    /// How many frames came that only asked.
    pub(super) fn probes(&self) -> Result<u64, Error> {
        self.counters.sum_u64(PROBE)
    }

    /// How many frames were not as they should be.
    pub(super) fn wrong(&self) -> Result<u64, Error> {
        self.counters.sum_u64(WRONG)
    }
}

fn compile(counters: &Map) -> Result<Vec<Insn>, AsmError> {
    let mut a = Assembler::new();
    let (count, out) = (a.label(), a.label());
    a.mov(R8, WRONG.cast_signed()).mov(R9, XdpAction::Drop);
    checks::check_header(&mut a, &reflected(), count);
    checks::check_stamp(&mut a, STAMP, count);
    a.jump_if(Cond::Gt, R5, PROBE.cast_signed(), count).mov(R8, R5);
    a.jump_if(Cond::Eq, R5, PROBE.cast_signed(), count).mov(R9, XdpAction::Tx);
    for (at, word) in (0..).step_by(8).zip(made()[..checks::HEADER_BYTES].as_chunks::<8>().0) {
        a.load_imm64(R3, u64::from_le_bytes(*word)).store(Size::Dw, R6, at, R3);
    }
    a.bind(count).store(Size::W, R10, -4, R8);
    a.load_map(R1, counters).mov(R2, R10).alu(Alu::Add, R2, -4).call(Helper::MapLookupElem);
    a.jump_if(Cond::Eq, R0, 0, out).load(Size::Dw, R1, R0, 0).alu(Alu::Add, R1, 1);
    a.store(Size::Dw, R0, 0, R1);
    a.bind(out).mov(R0, R9).exit();
    a.finish()
}
