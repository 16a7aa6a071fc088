//! The far end of the wire: an XDP program that looks at each packet that comes back, and drops it.

use netmem_bpf::{
    Error, Map, XdpAction, XdpLink,
    asm::{Alu, AsmError, Assembler, Cond, Helper, Insn, Reg::*, Size},
};

use super::{SENT_BACK_MASK, STAMP, checks, sent_back};

/// Entry of the counters: packets that are as they should be.
const RIGHT: u32 = 0;
/// Entry of the counters: all others.
const WRONG: u32 = 1;

/// The attached program; it goes when this is dropped.
#[derive(Debug)]
pub(super) struct FarEnd {
    counters: Map,
    _link: XdpLink,
}

impl FarEnd {
    /// Attaches to an interface of the calling thread's namespace.
    pub(super) fn attach(ifindex: u32) -> Result<Self, Error> {
        let counters = checks::counters(2)?;
        let instructions = compile(&counters).expect("labels are bound once");
        Ok(Self { _link: checks::attach(&instructions, ifindex)?, counters })
    }

    /// How many packets came back right, and wrong.
    pub(super) fn counts(&self) -> Result<(u64, u64), Error> {
        Ok((self.counters.sum_u64(RIGHT)?, self.counters.sum_u64(WRONG)?))
    }
}

/// A right packet has the header of one sent back, and the stamp of a number that is sent back.
fn compile(counters: &Map) -> Result<Vec<Insn>, AsmError> {
    let mut a = Assembler::new();
    let (count, out) = (a.label(), a.label());
    a.mov(R8, WRONG.cast_signed());
    checks::check_header(&mut a, &sent_back(), count);
    checks::check_stamp(&mut a, STAMP, count);
    a.jump_if(Cond::Set, R5, SENT_BACK_MASK, count).mov(R8, RIGHT.cast_signed());
    a.bind(count).store(Size::W, R10, -4, R8);
    a.load_map(R1, counters).mov(R2, R10).alu(Alu::Add, R2, -4).call(Helper::MapLookupElem);
    a.jump_if(Cond::Eq, R0, 0, out).mov(R1, 1).atomic_add(Size::Dw, R0, 0, R1);
    a.bind(out).mov(R0, XdpAction::Drop).exit();
    a.finish()
}
