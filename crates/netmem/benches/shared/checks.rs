//! Pieces of XDP programs that look at numbered frames.

use netmem_bpf::{
    AttachMode, Error, Frags, LoadSpec, Map, MapKind, MapSpec, Program, Stamp, XdpLink,
    asm::{Alu, Assembler, Cond, Insn, Label, Reg::*, Size, xdp_md},
};

/// Bytes of the frames that are looked at.
pub(crate) const FRAME_BYTES: u8 = 64;
/// Ethernet addresses, type, and two bytes of nothing.
pub(crate) const HEADER_BYTES: usize = 16;
/// For experiments (IEEE 802).
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];

/// A frame.
pub(crate) type Frame = [u8; FRAME_BYTES as usize];

/// A frame to `destination`, without its number.
pub(crate) fn frame(destination: [u8; 6], source: [u8; 6]) -> Frame {
    let mut frame = [0; FRAME_BYTES as usize];
    frame[..6].copy_from_slice(&destination);
    frame[6..12].copy_from_slice(&source);
    frame[12..14].copy_from_slice(&ETHERTYPE);
    frame
}

/// `count` counters of 64 bits per CPU.
pub(crate) fn counters(count: u32) -> Result<Map, Error> {
    Map::create(&MapSpec {
        kind: MapKind::PerCpuArray,
        key_bytes: 4,
        value_bytes: 8,
        max_entries: count,
        name: "netmem_far",
    })
}

/// Loads a program and attaches it to an interface of the calling thread's namespace.
pub(crate) fn attach(instructions: &[Insn], ifindex: u32) -> Result<XdpLink, Error> {
    let spec = LoadSpec { name: "netmem_far", instructions, frags: Frags::No };
    XdpLink::attach(&Program::load(&spec)?, ifindex, AttachMode::Native)
}

/// Leaves the frame's start in R6, and goes to `wrong` if it has another length or header than
/// `expected`. Uses R2 to R4 and R7.
pub(crate) fn check_header(a: &mut Assembler, expected: &Frame, wrong: Label) {
    a.load(Size::W, R6, R1, xdp_md::DATA).load(Size::W, R7, R1, xdp_md::DATA_END);
    a.mov(R2, R6).alu(Alu::Add, R2, i32::from(FRAME_BYTES));
    a.jump_if(Cond::Ne, R2, R7, wrong).jump_if(Cond::Gt, R2, R7, wrong);
    for (at, word) in (0..).step_by(8).zip(expected[..HEADER_BYTES].as_chunks::<8>().0) {
        a.load(Size::Dw, R3, R6, at).load_imm64(R4, u64::from_le_bytes(*word));
        a.jump_if(Cond::Ne, R3, R4, wrong);
    }
}

/// Leaves the number in R5, and goes to `wrong` if the words do not follow from it. Uses R3 and R4.
///
/// A word is `number * factor + rest`: the stamps of 0 and 1 tell both.
pub(crate) fn check_stamp(a: &mut Assembler, stamp: Stamp, wrong: Label) {
    let words = |number| {
        let mut frame = [0; FRAME_BYTES as usize];
        stamp.write(&mut frame, number);
        let words = frame[usize::from(stamp.offset)..].as_chunks::<8>().0;
        words[..stamp.words.into()].iter().map(|word| u64::from_le_bytes(*word)).collect::<Vec<_>>()
    };
    let offset = i16::from(stamp.offset);
    a.load(Size::Dw, R5, R6, offset);
    let of_zero_and_one = words(0).into_iter().zip(words(1));
    for (at, (zero, one)) in (offset..).step_by(8).zip(of_zero_and_one).skip(1) {
        a.load_imm64(R3, one.wrapping_sub(zero)).alu(Alu::Mul, R3, R5);
        a.load_imm64(R4, zero).alu(Alu::Add, R3, R4).load(Size::Dw, R4, R6, at);
        a.jump_if(Cond::Ne, R3, R4, wrong);
    }
}
