//! One instruction: its eight bytes and its text in the style of the kernel's verifier.
//!
//! Opcodes are those of `include/uapi/linux/bpf_common.h` and `bpf.h`, the text is that of
//! `kernel/bpf/disasm.c`, so that a verifier log and a listing can be read side by side.

use std::fmt::{self, Write};

use super::Reg;

// Instruction classes, the low three bits.
pub(super) const LD: u8 = 0x00;
pub(super) const LDX: u8 = 0x01;
pub(super) const ST: u8 = 0x02;
pub(super) const STX: u8 = 0x03;
pub(super) const ALU: u8 = 0x04;
pub(super) const JMP: u8 = 0x05;
pub(super) const JMP32: u8 = 0x06;
pub(super) const ALU64: u8 = 0x07;
// Modes of loads and stores.
pub(super) const MEM: u8 = 0x60;
pub(super) const ATOMIC: u8 = 0xc0;
/// `BPF_LD | BPF_IMM | BPF_DW`: the constant continues in the next instruction.
pub(super) const LD_IMM64: u8 = LD | 0x18;
/// The second operand is a register (`BPF_X`).
pub(super) const FROM_REG: u8 = 0x08;
// Operations outside `Alu` and `Cond`.
pub(super) const NEG: u8 = 0x80;
pub(super) const MOV: u8 = 0xb0;
pub(super) const BYTE_SWAP: u8 = 0xd0;
pub(super) const TO_BE: u8 = 0x08;
pub(super) const JA: u8 = 0x00;
pub(super) const CALL: u8 = 0x80;
pub(super) const EXIT: u8 = 0x90;
/// Source register 1 of `LD_IMM64`: the constant is a map's descriptor.
pub(super) const PSEUDO_MAP_FD: Reg = Reg::R1;

/// One eBPF instruction (`struct bpf_insn`); [`Assembler`](super::Assembler) makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Insn {
    code: u8,
    /// Destination register in the low, source register in the high four bits.
    regs: u8,
    /// Jump distance in instructions or memory offset in bytes.
    pub(super) off: i16,
    imm: i32,
}

const _: () = assert!(size_of::<Insn>() == 8 && std::mem::offset_of!(Insn, imm) == 4);

impl Insn {
    pub(super) fn new(code: u8, dst: Reg, src: Reg, off: i16, imm: i32) -> Self {
        Self { code, regs: dst as u8 | (src as u8) << 4, off, imm }
    }

    /// Returns the instruction as the kernel reads it.
    pub fn to_bytes(self) -> [u8; 8] {
        let ([o0, o1], [i0, i1, i2, i3]) = (self.off.to_le_bytes(), self.imm.to_le_bytes());
        [self.code, self.regs, o0, o1, i0, i1, i2, i3]
    }

    fn dst(self) -> u8 {
        self.regs & 0x0f
    }

    fn src(self) -> u8 {
        self.regs >> 4
    }

    fn is_wide(self) -> bool {
        self.code == LD_IMM64
    }

    /// Writes a two-slot load whose constant has the high half `high`.
    fn fmt_wide(self, f: &mut impl Write, high: i32) -> fmt::Result {
        let value = u64::from(high.cast_unsigned()) << 32 | u64::from(self.imm.cast_unsigned());
        write!(f, "({:02x}) r{} = ", self.code, self.dst())?;
        match self.src() == PSEUDO_MAP_FD as u8 {
            true => write!(f, "map[fd:{}]", self.imm),
            false => write!(f, "0x{value:x}"),
        }
    }

    fn fmt_alu(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dst, src, imm) = (self.dst(), self.src(), self.imm);
        let r = if self.code & 0x07 == ALU64 { 'r' } else { 'w' };
        match self.code & 0xf0 {
            NEG => return write!(f, "{r}{dst} = -{r}{dst}"),
            BYTE_SWAP => {
                let order = if self.code & TO_BE != 0 { "be" } else { "le" };
                return write!(f, "r{dst} = {order}{imm} r{dst}");
            }
            _ => {}
        }
        let op = match self.code & 0xf0 {
            0x00 => "+=",
            0x10 => "-=",
            0x20 => "*=",
            0x30 => "/=",
            0x40 => "|=",
            0x50 => "&=",
            0x60 => "<<=",
            0x70 => ">>=",
            0x90 => "%=",
            0xa0 => "^=",
            MOV => "=",
            0xc0 => "s>>=",
            _ => return write!(f, "unknown"),
        };
        match self.code & FROM_REG {
            0 => write!(f, "{r}{dst} {op} {imm}"),
            _ => write!(f, "{r}{dst} {op} {r}{src}"),
        }
    }

    fn fmt_jump(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dst, src, off) = (self.dst(), self.src(), self.off);
        let r = if self.code & 0x07 == JMP { 'r' } else { 'w' };
        let cond = match self.code & 0xf0 {
            JA => return write!(f, "goto pc{off:+}"),
            EXIT => return write!(f, "exit"),
            CALL => {
                let known = Helper::ALL.iter().find(|&&helper| helper as i32 == self.imm);
                let name = known.map_or("unknown", |helper| helper.name());
                return write!(f, "call bpf_{name}#{}", self.imm);
            }
            0x10 => "==",
            0x20 => ">",
            0x30 => ">=",
            0x40 => "&",
            0x50 => "!=",
            0x60 => "s>",
            0x70 => "s>=",
            0xa0 => "<",
            0xb0 => "<=",
            0xc0 => "s<",
            0xd0 => "s<=",
            _ => return write!(f, "unknown"),
        };
        match self.code & FROM_REG {
            0 => write!(f, "if {r}{dst} {cond} 0x{:x} goto pc{off:+}", self.imm),
            _ => write!(f, "if {r}{dst} {cond} {r}{src} goto pc{off:+}"),
        }
    }

    fn fmt_memory(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dst, src, off, imm) = (self.dst(), self.src(), self.off, self.imm);
        let unit = match self.code & 0x18 {
            0x10 => "u8",
            0x08 => "u16",
            0x00 => "u32",
            _ => "u64",
        };
        match (self.code & 0x07, self.code & 0xe0) {
            (LDX, MEM) => write!(f, "r{dst} = *({unit} *)(r{src} {off:+})"),
            (STX, MEM) => write!(f, "*({unit} *)(r{dst} {off:+}) = r{src}"),
            (STX, ATOMIC) if imm == 0 => write!(f, "lock *({unit} *)(r{dst} {off:+}) += r{src}"),
            (ST, MEM) => write!(f, "*({unit} *)(r{dst} {off:+}) = {imm}"),
            _ => write!(f, "unknown"),
        }
    }
}

/// Writes the instruction in the style of the kernel's verifier, `(b7) r0 = 2`.
///
/// Of a 64-bit constant only the low half is here: [`disassemble`] shows it whole.
impl fmt::Display for Insn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_wide() {
            return self.fmt_wide(f, 0);
        }
        write!(f, "({:02x}) ", self.code)?;
        match self.code & 0x07 {
            ALU | ALU64 => self.fmt_alu(f),
            JMP | JMP32 => self.fmt_jump(f),
            LD => write!(f, "0x{:x}", self.imm),
            _ => self.fmt_memory(f),
        }
    }
}

/// Lists a program, one numbered instruction a line, as the kernel's verifier does.
pub fn disassemble(instructions: &[Insn]) -> String {
    let mut text = String::new();
    let mut rest = instructions.iter().enumerate();
    while let Some((index, insn)) = rest.next() {
        let written = match insn.is_wide().then(|| rest.next()).flatten() {
            Some((_, second)) => {
                let head = write!(text, "{index}: ");
                head.and_then(|()| insn.fmt_wide(&mut text, second.imm))
                    .and_then(|()| writeln!(text))
            }
            None => writeln!(text, "{index}: {insn}"),
        };
        written.expect("writing to a String does not fail");
    }
    text
}

/// A kernel function that an XDP program may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Helper {
    /// `(map, key *) -> value *` or 0.
    MapLookupElem = 1,
    /// `(map, key *, value *, flags)`
    MapUpdateElem = 2,
    /// `(map, key *)`
    MapDeleteElem = 3,
    /// `() -> ns` of the monotonic clock.
    KtimeGetNs = 5,
    /// `() -> u32`
    GetPrandomU32 = 7,
    /// `() -> cpu`
    GetSmpProcessorId = 8,
    /// `(ifindex, flags) -> action`
    Redirect = 23,
    /// `(from *, from_size, to *, to_size, seed) -> checksum`
    CsumDiff = 28,
    /// `(ctx, delta_bytes)`: a negative delta grows the packet at its head.
    XdpAdjustHead = 44,
    /// `(map, index, flags) -> action`; the low two bits of flags are the action where the map has
    /// no entry.
    RedirectMap = 51,
    /// `(ctx, delta_bytes)`: a negative delta grows the metadata.
    XdpAdjustMeta = 54,
    /// `(ctx, delta_bytes)`: a negative delta shortens the packet.
    XdpAdjustTail = 65,
    /// `(ctx, params *, size, flags)`
    FibLookup = 69,
    /// `() -> ns` of the boot-time clock, which counts suspension too.
    KtimeGetBootNs = 125,
    /// `() -> ns` of the monotonic clock at the last tick; since Linux 5.11.
    KtimeGetCoarseNs = 160,
    /// `(ctx, ifindex, mtu *, len_diff, flags)`; since Linux 5.12.
    CheckMtu = 163,
    /// `(ctx) -> bytes` of all fragments; since Linux 5.18.
    XdpGetBuffLen = 188,
    /// `(ctx, offset, buf *, len)` across fragments; since Linux 5.18.
    XdpLoadBytes = 189,
    /// `(ctx, offset, buf *, len)` across fragments; since Linux 5.18.
    XdpStoreBytes = 190,
}

impl Helper {
    /// Every helper, in the order of the kernel's numbers.
    pub const ALL: &[Self] = &[
        Self::MapLookupElem,
        Self::MapUpdateElem,
        Self::MapDeleteElem,
        Self::KtimeGetNs,
        Self::GetPrandomU32,
        Self::GetSmpProcessorId,
        Self::Redirect,
        Self::CsumDiff,
        Self::XdpAdjustHead,
        Self::RedirectMap,
        Self::XdpAdjustMeta,
        Self::XdpAdjustTail,
        Self::FibLookup,
        Self::KtimeGetBootNs,
        Self::KtimeGetCoarseNs,
        Self::CheckMtu,
        Self::XdpGetBuffLen,
        Self::XdpLoadBytes,
        Self::XdpStoreBytes,
    ];

    /// Returns the kernel's name of the helper, without its prefix `bpf_`.
    pub fn name(self) -> &'static str {
        match self {
            Self::MapLookupElem => "map_lookup_elem",
            Self::MapUpdateElem => "map_update_elem",
            Self::MapDeleteElem => "map_delete_elem",
            Self::KtimeGetNs => "ktime_get_ns",
            Self::GetPrandomU32 => "get_prandom_u32",
            Self::GetSmpProcessorId => "get_smp_processor_id",
            Self::Redirect => "redirect",
            Self::CsumDiff => "csum_diff",
            Self::XdpAdjustHead => "xdp_adjust_head",
            Self::RedirectMap => "redirect_map",
            Self::XdpAdjustMeta => "xdp_adjust_meta",
            Self::XdpAdjustTail => "xdp_adjust_tail",
            Self::FibLookup => "fib_lookup",
            Self::KtimeGetBootNs => "ktime_get_boot_ns",
            Self::KtimeGetCoarseNs => "ktime_get_coarse_ns",
            Self::CheckMtu => "check_mtu",
            Self::XdpGetBuffLen => "xdp_get_buff_len",
            Self::XdpLoadBytes => "xdp_load_bytes",
            Self::XdpStoreBytes => "xdp_store_bytes",
        }
    }
}
