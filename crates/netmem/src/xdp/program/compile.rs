//! Filter rules as XDP bytecode.

use netmem_bpf::{
    Map,
    asm::{AsmError, Insn},
};
use netmem_wire::filter::Rules;

pub(super) fn compile(
    _rules: &Rules,
    _sockets: &Map,
    _counters: &Map,
) -> Result<Vec<Insn>, AsmError> {
    netmem_bpf::asm::Assembler::new().finish()
}
