//! Typed assembler of eBPF instructions.
//!
//! An XDP program starts with the context `struct xdp_md *` in R1 (fields: [`xdp_md`]) and ends
//! with its verdict in R0. R1 to R5 carry helper arguments and are lost across [`Assembler::call`];
//! R6 to R9 survive it; R10 points past 512 bytes of stack and is read-only. The assembler checks
//! what only it can know (labels, jump distances, operand sizes); the kernel's verifier checks the
//! rest when the program is loaded.
//!
//! Loads of packet bytes give the host's byte order of what lies there: compare with constants
//! swapped once at build time (`u16::from_be`) or swap with [`Assembler::be16`].
//!
//! All instructions exist since Linux 5.1.
//!
//! ```
//! use netmem_bpf::asm::{Assembler, Cond, Reg, Size, disassemble, xdp_md};
//! use netmem_bpf::XdpAction;
//!
//! let mut a = Assembler::new();
//! let out = a.label();
//! a.mov(Reg::R0, XdpAction::Pass)
//!     .load(Size::W, Reg::R2, Reg::R1, xdp_md::RX_QUEUE_INDEX)
//!     .jump_if(Cond::Ne, Reg::R2, 3, out)
//!     .mov(Reg::R0, XdpAction::Drop)
//!     .bind(out)
//!     .exit();
//! assert_eq!(
//!     disassemble(&a.finish()?),
//!     "0: (b7) r0 = 2\n1: (61) r2 = *(u32 *)(r1 +16)\n2: (55) if r2 != 0x3 goto pc+1\n\
//!      3: (b7) r0 = 1\n4: (95) exit\n"
//! );
//! # Ok::<(), netmem_bpf::asm::AsmError>(())
//! ```

use std::fmt;
use std::os::fd::{AsFd, AsRawFd};

use crate::{map::Map, program::XdpAction};

mod insn;

use insn::{
    ALU, ALU64, ATOMIC, BYTE_SWAP, CALL, EXIT, FROM_REG, JA, JMP, JMP32, LD_IMM64, LDX, MEM, MOV,
    NEG, PSEUDO_MAP_FD, ST, STX, TO_BE,
};
pub use insn::{Helper, Insn, disassemble};

/// Byte offsets of the 32-bit fields of `struct xdp_md`, which R1 points to at the start.
pub mod xdp_md {
    /// Pointer to the first byte of the packet, once loaded.
    pub const DATA: i16 = 0;
    /// Pointer past the last byte of the packet's linear part, once loaded.
    pub const DATA_END: i16 = 4;
    /// Pointer to the metadata in front of the packet, once loaded.
    pub const DATA_META: i16 = 8;
    /// Index of the interface that received the packet.
    pub const INGRESS_IFINDEX: i16 = 12;
    /// Index of the queue that received the packet.
    pub const RX_QUEUE_INDEX: i16 = 16;
}

/// A register: R0 result, R1-R5 arguments, R6-R9 kept across calls, R10 end of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the numbers say all there is to say")]
pub enum Reg {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// Width of a memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Size {
    /// 1 byte.
    B = 0x10,
    /// 2 bytes.
    H = 0x08,
    /// 4 bytes.
    W = 0x00,
    /// 8 bytes.
    Dw = 0x18,
}

/// A two-operand arithmetic operation, `dst op= src`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Alu {
    /// `+`
    Add = 0x00,
    /// `-`
    Sub = 0x10,
    /// `*`
    Mul = 0x20,
    /// Unsigned `/`; a zero divisor in a register gives 0.
    Div = 0x30,
    /// `|`
    Or = 0x40,
    /// `&`
    And = 0x50,
    /// `<<`
    Lsh = 0x60,
    /// Unsigned `>>`
    Rsh = 0x70,
    /// Unsigned `%`; a zero divisor in a register leaves `dst` as it is.
    Mod = 0x90,
    /// `^`
    Xor = 0xa0,
    /// Signed `>>`
    Arsh = 0xc0,
}

/// A condition of a jump, `dst cond src`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cond {
    /// `==`
    Eq = 0x10,
    /// Unsigned `>`
    Gt = 0x20,
    /// Unsigned `>=`
    Ge = 0x30,
    /// `dst & src != 0`
    Set = 0x40,
    /// `!=`
    Ne = 0x50,
    /// Signed `>`
    SignedGt = 0x60,
    /// Signed `>=`
    SignedGe = 0x70,
    /// Unsigned `<`
    Lt = 0xa0,
    /// Unsigned `<=`
    Le = 0xb0,
    /// Signed `<`
    SignedLt = 0xc0,
    /// Signed `<=`
    SignedLe = 0xd0,
}

/// The second operand of an operation: a register or a constant.
///
/// 64-bit operations sign-extend the constant; for an unsigned 32-bit one use the 32-bit operation
/// and `u32::cast_signed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// The value of a register.
    Reg(Reg),
    /// A constant.
    Imm(i32),
}

impl From<Reg> for Operand {
    fn from(reg: Reg) -> Self {
        Self::Reg(reg)
    }
}

impl From<i32> for Operand {
    fn from(imm: i32) -> Self {
        Self::Imm(imm)
    }
}

impl From<XdpAction> for Operand {
    fn from(action: XdpAction) -> Self {
        Self::Imm(action.code().cast_signed())
    }
}

/// A place in the program, to be bound once and jumped to any number of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

/// Collects instructions; [`finish`](Self::finish) resolves the jumps.
#[derive(Debug, Default)]
pub struct Assembler {
    insns: Vec<Insn>,
    /// Index of the instruction each label is bound to.
    labels: Vec<Option<usize>>,
    /// Jumps by instruction index, to be given their distance at the end.
    jumps: Vec<(usize, Label)>,
    /// The first mistake made; told by `finish` so that calls can be chained.
    error: Option<AsmError>,
}

impl Assembler {
    /// Starts an empty program.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a label of this assembler, not yet bound.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Binds `label` to the next instruction.
    pub fn bind(&mut self, label: Label) -> &mut Self {
        let next = self.insns.len();
        let refused = match self.labels.get_mut(label.0) {
            Some(place @ None) => {
                *place = Some(next);
                return self;
            }
            Some(Some(_)) => AsmError::LabelBoundTwice { label },
            None => AsmError::UnboundLabel { label },
        };
        self.refuse(refused)
    }

    /// `dst = src`, 64 bits.
    pub fn mov(&mut self, dst: Reg, src: impl Into<Operand>) -> &mut Self {
        self.operate(ALU64 | MOV, dst, src.into())
    }

    /// `dst = src`, low 32 bits; the high ones become zero.
    pub fn mov32(&mut self, dst: Reg, src: impl Into<Operand>) -> &mut Self {
        self.operate(ALU | MOV, dst, src.into())
    }

    /// `dst op= src`, 64 bits.
    pub fn alu(&mut self, op: Alu, dst: Reg, src: impl Into<Operand>) -> &mut Self {
        self.operate(ALU64 | op as u8, dst, src.into())
    }

    /// `dst op= src`, low 32 bits; the high ones become zero.
    pub fn alu32(&mut self, op: Alu, dst: Reg, src: impl Into<Operand>) -> &mut Self {
        self.operate(ALU | op as u8, dst, src.into())
    }

    /// `dst = -dst`, 64 bits.
    pub fn neg(&mut self, dst: Reg) -> &mut Self {
        self.push(Insn::new(ALU64 | NEG, dst, Reg::R0, 0, 0))
    }

    /// `dst = -dst`, low 32 bits; the high ones become zero.
    pub fn neg32(&mut self, dst: Reg) -> &mut Self {
        self.push(Insn::new(ALU | NEG, dst, Reg::R0, 0, 0))
    }

    /// Converts the low 16 bits between host and big-endian order; the higher ones become zero.
    pub fn be16(&mut self, dst: Reg) -> &mut Self {
        self.push(Insn::new(ALU | BYTE_SWAP | TO_BE, dst, Reg::R0, 0, 16))
    }

    /// Converts the low 32 bits between host and big-endian order; the higher ones become zero.
    pub fn be32(&mut self, dst: Reg) -> &mut Self {
        self.push(Insn::new(ALU | BYTE_SWAP | TO_BE, dst, Reg::R0, 0, 32))
    }

    /// Converts 64 bits between host and big-endian order.
    pub fn be64(&mut self, dst: Reg) -> &mut Self {
        self.push(Insn::new(ALU | BYTE_SWAP | TO_BE, dst, Reg::R0, 0, 64))
    }

    /// `dst = *(size *)(src + off)`, zero-extended; `off` in bytes.
    pub fn load(&mut self, size: Size, dst: Reg, src: Reg, off: i16) -> &mut Self {
        self.push(Insn::new(LDX | MEM | size as u8, dst, src, off, 0))
    }

    /// `*(size *)(dst + off) = src`; `off` in bytes.
    pub fn store(&mut self, size: Size, dst: Reg, off: i16, src: Reg) -> &mut Self {
        self.push(Insn::new(STX | MEM | size as u8, dst, src, off, 0))
    }

    /// `*(size *)(dst + off) = imm`; `off` in bytes.
    pub fn store_imm(&mut self, size: Size, dst: Reg, off: i16, imm: i32) -> &mut Self {
        self.push(Insn::new(ST | MEM | size as u8, dst, Reg::R0, off, imm))
    }

    /// `*(size *)(dst + off) += src` as one atomic operation; `size` is `W` or `Dw`.
    pub fn atomic_add(&mut self, size: Size, dst: Reg, off: i16, src: Reg) -> &mut Self {
        if matches!(size, Size::B | Size::H) {
            return self.refuse(AsmError::AtomicSize { size });
        }
        self.push(Insn::new(STX | ATOMIC | size as u8, dst, src, off, Alu::Add as i32))
    }

    /// Jumps to `label`.
    pub fn jump(&mut self, label: Label) -> &mut Self {
        self.jumps.push((self.insns.len(), label));
        self.push(Insn::new(JMP | JA, Reg::R0, Reg::R0, 0, 0))
    }

    /// Jumps to `label` if `dst cond src`, 64 bits.
    pub fn jump_if(
        &mut self,
        cond: Cond,
        dst: Reg,
        src: impl Into<Operand>,
        label: Label,
    ) -> &mut Self {
        self.jumps.push((self.insns.len(), label));
        self.operate(JMP | cond as u8, dst, src.into())
    }

    /// Jumps to `label` if `dst cond src`, low 32 bits of both.
    pub fn jump_if32(
        &mut self,
        cond: Cond,
        dst: Reg,
        src: impl Into<Operand>,
        label: Label,
    ) -> &mut Self {
        self.jumps.push((self.insns.len(), label));
        self.operate(JMP32 | cond as u8, dst, src.into())
    }

    /// `dst = imm`, all 64 bits of it; takes the room of two instructions.
    pub fn load_imm64(&mut self, dst: Reg, imm: u64) -> &mut Self {
        self.load_wide(dst, Reg::R0, imm)
    }

    /// `dst = map`, as helpers take it; takes the room of two instructions.
    ///
    /// The instruction holds the map's descriptor: `map` must stay open until the program is
    /// loaded; from then on the program holds the map.
    pub fn load_map(&mut self, dst: Reg, map: &Map) -> &mut Self {
        let fd = map.as_fd().as_raw_fd().cast_unsigned();
        self.load_wide(dst, PSEUDO_MAP_FD, u64::from(fd))
    }

    /// Calls a helper: arguments in R1 to R5, which are lost, and result in R0.
    pub fn call(&mut self, helper: Helper) -> &mut Self {
        self.push(Insn::new(JMP | CALL, Reg::R0, Reg::R0, 0, helper as i32))
    }

    /// Ends the program with R0 as its result.
    pub fn exit(&mut self) -> &mut Self {
        self.push(Insn::new(JMP | EXIT, Reg::R0, Reg::R0, 0, 0))
    }

    /// Resolves the jumps and returns the program.
    ///
    /// # Errors
    /// The first mistake made: see [`AsmError`].
    pub fn finish(mut self) -> Result<Vec<Insn>, AsmError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.insns.is_empty() {
            return Err(AsmError::Empty);
        }
        let end = self.insns.len();
        for (at, label) in self.jumps {
            let bound = self.labels.get(label.0).copied().flatten();
            let target = bound.ok_or(AsmError::UnboundLabel { label })?;
            if target == end {
                return Err(AsmError::LabelPastEnd { label });
            }
            // Distances count from the instruction after the jump; both indices fit an isize.
            let distance = target.cast_signed() - at.cast_signed() - 1;
            self.insns[at].off =
                i16::try_from(distance).map_err(|_| AsmError::JumpTooFar { at, distance })?;
        }
        Ok(self.insns)
    }

    fn operate(&mut self, code: u8, dst: Reg, src: Operand) -> &mut Self {
        self.push(match src {
            Operand::Reg(src) => Insn::new(code | FROM_REG, dst, src, 0, 0),
            Operand::Imm(imm) => Insn::new(code, dst, Reg::R0, 0, imm),
        })
    }

    fn load_wide(&mut self, dst: Reg, src: Reg, imm: u64) -> &mut Self {
        let [b0, b1, b2, b3, b4, b5, b6, b7] = imm.to_le_bytes();
        let (low, high) = (i32::from_le_bytes([b0, b1, b2, b3]), [b4, b5, b6, b7]);
        self.push(Insn::new(LD_IMM64, dst, src, 0, low));
        self.push(Insn::new(0, Reg::R0, Reg::R0, 0, i32::from_le_bytes(high)))
    }

    fn push(&mut self, insn: Insn) -> &mut Self {
        self.insns.push(insn);
        self
    }

    fn refuse(&mut self, error: AsmError) -> &mut Self {
        self.error.get_or_insert(error);
        self
    }
}

/// Says what is wrong with an assembled program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AsmError {
    /// The program has no instruction.
    Empty,
    /// A jump names a label that is not bound, or belongs to another assembler.
    UnboundLabel {
        /// The label.
        label: Label,
    },
    /// A label was bound a second time.
    LabelBoundTwice {
        /// The label.
        label: Label,
    },
    /// A label that is jumped to is bound after the last instruction.
    LabelPastEnd {
        /// The label.
        label: Label,
    },
    /// A jump is further than 16 signed bits of instructions reach.
    JumpTooFar {
        /// Index of the jump in the program.
        at: usize,
        /// Wanted distance in instructions.
        distance: isize,
    },
    /// An atomic addition of 1 or 2 bytes, which does not exist.
    AtomicSize {
        /// The size asked for.
        size: Size,
    },
}

impl fmt::Display for AsmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "assemble: program is empty"),
            Self::UnboundLabel { label } => write!(f, "assemble label {}: not bound", label.0),
            Self::LabelBoundTwice { label } => {
                write!(f, "assemble label {}: bound twice", label.0)
            }
            Self::LabelPastEnd { label } => {
                write!(f, "assemble label {}: bound past the last instruction", label.0)
            }
            Self::JumpTooFar { at, distance } => write!(
                f,
                "assemble jump at instruction {at}: {distance} instructions is further than 16 bits reach"
            ),
            Self::AtomicSize { size } => {
                write!(f, "assemble atomic add of size {size:?}: only w and dw exist")
            }
        }
    }
}

impl std::error::Error for AsmError {}

#[cfg(test)]
mod tests {
    use super::*;
    use Reg::*;

    /// Checks bytes and text of each instruction; the expected bytes are an independent assembler's
    /// or, where it lacks the form, follow the opcode tables of the kernel's documentation.
    #[track_caller]
    fn check(build: impl FnOnce(&mut Assembler), expected: &[(&str, &str)]) {
        let mut assembler = Assembler::new();
        build(&mut assembler);
        let insns = assembler.finish().unwrap();
        assert_eq!(insns.len(), expected.len());
        for (index, (insn, (bytes, text))) in insns.into_iter().zip(expected).enumerate() {
            let got: Vec<String> = insn.to_bytes().iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(got.join(" "), *bytes, "instruction {index}, {text}");
            assert_eq!(insn.to_string(), format!("({}) {text}", &bytes[..2]));
        }
    }

    #[test]
    fn arithmetic() {
        let build = |a: &mut Assembler| {
            a.mov(R6, R1).mov32(R6, R1).mov(R0, 2).mov32(R0, -1);
            a.alu(Alu::Add, R1, R2).alu(Alu::Sub, R1, 14).alu(Alu::Mul, R1, R2);
            a.alu(Alu::Div, R1, 3).alu(Alu::Or, R1, 255).alu(Alu::And, R1, -16);
            a.alu(Alu::Lsh, R1, 32).alu(Alu::Rsh, R1, 32).alu(Alu::Mod, R1, 7);
            a.alu(Alu::Xor, R1, R3).alu(Alu::Arsh, R1, 8);
            a.alu32(Alu::Add, R9, R10).alu32(Alu::Xor, R1, 1).alu32(Alu::Arsh, R1, 3);
            a.neg(R3).neg32(R3).be16(R4).be32(R4).be64(R4);
            a.mov(R0, XdpAction::Redirect);
        };
        check(
            build,
            &[
                ("bf 16 00 00 00 00 00 00", "r6 = r1"),
                ("bc 16 00 00 00 00 00 00", "w6 = w1"),
                ("b7 00 00 00 02 00 00 00", "r0 = 2"),
                ("b4 00 00 00 ff ff ff ff", "w0 = -1"),
                ("0f 21 00 00 00 00 00 00", "r1 += r2"),
                ("17 01 00 00 0e 00 00 00", "r1 -= 14"),
                ("2f 21 00 00 00 00 00 00", "r1 *= r2"),
                ("37 01 00 00 03 00 00 00", "r1 /= 3"),
                ("47 01 00 00 ff 00 00 00", "r1 |= 255"),
                ("57 01 00 00 f0 ff ff ff", "r1 &= -16"),
                ("67 01 00 00 20 00 00 00", "r1 <<= 32"),
                ("77 01 00 00 20 00 00 00", "r1 >>= 32"),
                ("97 01 00 00 07 00 00 00", "r1 %= 7"),
                ("af 31 00 00 00 00 00 00", "r1 ^= r3"),
                ("c7 01 00 00 08 00 00 00", "r1 s>>= 8"),
                ("0c a9 00 00 00 00 00 00", "w9 += w10"),
                ("a4 01 00 00 01 00 00 00", "w1 ^= 1"),
                ("c4 01 00 00 03 00 00 00", "w1 s>>= 3"),
                ("87 03 00 00 00 00 00 00", "r3 = -r3"),
                ("84 03 00 00 00 00 00 00", "w3 = -w3"),
                ("dc 04 00 00 10 00 00 00", "r4 = be16 r4"),
                ("dc 04 00 00 20 00 00 00", "r4 = be32 r4"),
                ("dc 04 00 00 40 00 00 00", "r4 = be64 r4"),
                ("b7 00 00 00 04 00 00 00", "r0 = 4"),
            ],
        );
    }

    #[test]
    fn memory() {
        let build = |a: &mut Assembler| {
            a.load(Size::B, R2, R1, 0).load(Size::H, R2, R1, 12);
            a.load(Size::W, R2, R1, xdp_md::DATA_END).load(Size::Dw, R2, R10, -8);
            a.store(Size::B, R10, -1, R3).store(Size::H, R10, -2, R3);
            a.store(Size::W, R10, -4, R3).store(Size::Dw, R10, -8, R3);
            a.store_imm(Size::B, R10, -1, 1).store_imm(Size::H, R10, -2, 2);
            a.store_imm(Size::W, R10, -4, 0).store_imm(Size::Dw, R10, -16, -1);
            a.atomic_add(Size::Dw, R0, 0, R1).atomic_add(Size::W, R0, 8, R1);
        };
        check(
            build,
            &[
                ("71 12 00 00 00 00 00 00", "r2 = *(u8 *)(r1 +0)"),
                ("69 12 0c 00 00 00 00 00", "r2 = *(u16 *)(r1 +12)"),
                ("61 12 04 00 00 00 00 00", "r2 = *(u32 *)(r1 +4)"),
                ("79 a2 f8 ff 00 00 00 00", "r2 = *(u64 *)(r10 -8)"),
                ("73 3a ff ff 00 00 00 00", "*(u8 *)(r10 -1) = r3"),
                ("6b 3a fe ff 00 00 00 00", "*(u16 *)(r10 -2) = r3"),
                ("63 3a fc ff 00 00 00 00", "*(u32 *)(r10 -4) = r3"),
                ("7b 3a f8 ff 00 00 00 00", "*(u64 *)(r10 -8) = r3"),
                ("72 0a ff ff 01 00 00 00", "*(u8 *)(r10 -1) = 1"),
                ("6a 0a fe ff 02 00 00 00", "*(u16 *)(r10 -2) = 2"),
                ("62 0a fc ff 00 00 00 00", "*(u32 *)(r10 -4) = 0"),
                ("7a 0a f0 ff ff ff ff ff", "*(u64 *)(r10 -16) = -1"),
                ("db 10 00 00 00 00 00 00", "lock *(u64 *)(r0 +0) += r1"),
                ("c3 10 08 00 00 00 00 00", "lock *(u32 *)(r0 +8) += r1"),
            ],
        );
    }

    #[test]
    fn jumps_and_calls() {
        let build = |a: &mut Assembler| {
            let (start, end) = (a.label(), a.label());
            a.bind(start).call(Helper::RedirectMap).jump(end).jump(start);
            a.jump_if(Cond::Eq, R1, 5, end).jump_if(Cond::Gt, R1, R2, end);
            a.jump_if(Cond::Ge, R1, 5, end).jump_if(Cond::Set, R1, 4, end);
            a.jump_if(Cond::Ne, R1, R2, end).jump_if(Cond::SignedGt, R1, -1, end);
            a.jump_if(Cond::SignedGe, R1, R2, end).jump_if(Cond::Lt, R1, 5, end);
            a.jump_if(Cond::Le, R1, R2, end).jump_if(Cond::SignedLt, R1, 5, start);
            a.jump_if(Cond::SignedLe, R1, R2, start).jump_if32(Cond::Eq, R1, -1, start);
            a.jump_if32(Cond::Gt, R1, R2, end).jump_if32(Cond::Set, R1, R2, end);
            a.jump_if32(Cond::SignedLe, R1, 5, end).bind(end).exit();
        };
        check(
            build,
            &[
                ("85 00 00 00 33 00 00 00", "call bpf_redirect_map#51"),
                ("05 00 10 00 00 00 00 00", "goto pc+16"),
                ("05 00 fd ff 00 00 00 00", "goto pc-3"),
                ("15 01 0e 00 05 00 00 00", "if r1 == 0x5 goto pc+14"),
                ("2d 21 0d 00 00 00 00 00", "if r1 > r2 goto pc+13"),
                ("35 01 0c 00 05 00 00 00", "if r1 >= 0x5 goto pc+12"),
                ("45 01 0b 00 04 00 00 00", "if r1 & 0x4 goto pc+11"),
                ("5d 21 0a 00 00 00 00 00", "if r1 != r2 goto pc+10"),
                ("65 01 09 00 ff ff ff ff", "if r1 s> 0xffffffff goto pc+9"),
                ("7d 21 08 00 00 00 00 00", "if r1 s>= r2 goto pc+8"),
                ("a5 01 07 00 05 00 00 00", "if r1 < 0x5 goto pc+7"),
                ("bd 21 06 00 00 00 00 00", "if r1 <= r2 goto pc+6"),
                ("c5 01 f3 ff 05 00 00 00", "if r1 s< 0x5 goto pc-13"),
                ("dd 21 f2 ff 00 00 00 00", "if r1 s<= r2 goto pc-14"),
                ("16 01 f1 ff ff ff ff ff", "if w1 == 0xffffffff goto pc-15"),
                ("2e 21 02 00 00 00 00 00", "if w1 > w2 goto pc+2"),
                ("4e 21 01 00 00 00 00 00", "if w1 & w2 goto pc+1"),
                ("d6 01 00 00 05 00 00 00", "if w1 s<= 0x5 goto pc+0"),
                ("95 00 00 00 00 00 00 00", "exit"),
            ],
        );
    }

    #[test]
    fn wide_constants_take_two_instructions() {
        let mut a = Assembler::new();
        a.load_imm64(R1, 0x1122_3344_5566_7788);
        a.load_wide(R2, PSEUDO_MAP_FD, 5).exit();
        let insns = a.finish().unwrap();
        assert_eq!(insns[0].to_bytes(), [0x18, 1, 0, 0, 0x88, 0x77, 0x66, 0x55]);
        assert_eq!(insns[1].to_bytes(), [0, 0, 0, 0, 0x44, 0x33, 0x22, 0x11]);
        assert_eq!(insns[2].to_bytes(), [0x18, 0x12, 0, 0, 5, 0, 0, 0]);
        assert_eq!(
            disassemble(&insns),
            "0: (18) r1 = 0x1122334455667788\n2: (18) r2 = map[fd:5]\n4: (95) exit\n"
        );
        // A listing cut inside a wide constant is still a listing.
        assert_eq!(disassemble(&insns[..1]), "0: (18) r1 = 0x55667788\n");
    }

    #[test]
    fn jumps_count_both_halves_of_a_wide_constant() {
        let mut a = Assembler::new();
        let end = a.label();
        a.jump(end).load_imm64(R1, 1).bind(end).exit();
        assert_eq!(a.finish().unwrap()[0].to_string(), "(05) goto pc+2");
    }

    #[test]
    fn mistakes_are_told_at_the_end() {
        let fails = |build: &dyn Fn(&mut Assembler, Label)| {
            let mut a = Assembler::new();
            let label = a.label();
            build(&mut a, label);
            let error = a.finish().unwrap_err();
            assert!(error.to_string().starts_with("assemble"), "{error}");
            error
        };
        let label = Label(0);
        assert_eq!(fails(&|_, _| ()), AsmError::Empty);
        assert_eq!(
            fails(&|a, l| {
                a.jump(l).exit();
            }),
            AsmError::UnboundLabel { label }
        );
        let foreign = Label(7);
        let unknown = AsmError::UnboundLabel { label: foreign };
        assert_eq!(
            fails(&|a, _| {
                a.jump(foreign).exit();
            }),
            unknown
        );
        assert_eq!(
            fails(&|a, _| {
                a.bind(foreign).exit();
            }),
            unknown
        );
        let twice = |a: &mut Assembler, l| {
            a.bind(l).exit().bind(l).exit();
        };
        assert_eq!(fails(&twice), AsmError::LabelBoundTwice { label });
        let past_end = |a: &mut Assembler, l| {
            a.jump(l).exit().bind(l);
        };
        assert_eq!(fails(&past_end), AsmError::LabelPastEnd { label });
        let byte = |a: &mut Assembler, _| {
            a.atomic_add(Size::B, R1, 0, R2).exit();
        };
        assert_eq!(fails(&byte), AsmError::AtomicSize { size: Size::B });
    }

    #[test]
    fn jumps_reach_16_bits_both_ways() {
        let forward = |between: usize| {
            let mut a = Assembler::new();
            let end = a.label();
            a.jump(end);
            (0..between).for_each(|_| {
                a.mov(R0, 0);
            });
            a.bind(end).exit();
            a.finish()
        };
        assert_eq!(forward(32767).unwrap()[0].to_string(), "(05) goto pc+32767");
        assert_eq!(forward(32768), Err(AsmError::JumpTooFar { at: 0, distance: 32768 }));
        let backward = |between: usize| {
            let mut a = Assembler::new();
            let start = a.label();
            a.bind(start);
            (0..between).for_each(|_| {
                a.mov(R0, 0);
            });
            a.jump(start);
            a.finish()
        };
        assert_eq!(backward(32767).unwrap()[32767].to_string(), "(05) goto pc-32768");
        let too_far = AsmError::JumpTooFar { at: 32768, distance: -32769 };
        assert_eq!(backward(32768), Err(too_far));
    }

    #[test]
    fn helpers_have_the_kernels_numbers_in_order() {
        assert!(Helper::ALL.is_sorted_by_key(|&helper| helper as i32));
        assert_eq!(Helper::GetSmpProcessorId as i32, 8);
        assert_eq!(Helper::XdpAdjustTail.name(), "xdp_adjust_tail");
    }
}
