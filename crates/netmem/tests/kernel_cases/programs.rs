//! The XDP programs of the cases, each with the sockets it redirects to and what it remembers.

use std::{os::fd::AsFd, sync::Arc};

use netmem::xdp::program::XdpProgram;
use netmem_bpf::{
    AttachMode, Frags, LoadSpec, Map, MapKind, MapSpec, Program, XdpAction, XdpLink,
    asm::{Alu, Assembler, Cond, Helper, Label, Reg, Size, xdp_md},
};

use crate::bed::{Nic, Stop};

/// Bytes of metadata that [`Kind::Metadata`] puts in front of a packet.
pub(crate) const META_BYTES: u32 = 32;
/// Entry of the memory that counts packets.
const COUNT: u32 = 0;
/// Entry of the memory that has the last refusal of a helper.
const REFUSAL: u32 = 1;

/// What a program does before it redirects to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing.
    Redirect,
    /// Drops every second packet.
    DropHalf,
    /// Writes the packet's number, as it counts, into metadata in front of it.
    Metadata,
    /// Chooses the socket by half of the last byte of the destination's hardware address.
    ByAddress,
    /// Changes the packet's length by so many bytes.
    AdjustTail(i32),
}

/// A program that the verifier has taken, with its maps.
#[derive(Debug)]
pub(crate) struct Loaded {
    program: Program,
    sockets: Map,
    memory: Memory,
}

impl Loaded {
    pub(crate) fn new(kind: Kind) -> Result<Self, Stop> {
        let map = |kind, value_bytes, name| {
            Map::create(&MapSpec { kind, key_bytes: 4, value_bytes, max_entries: 2, name })
        };
        let sockets = map(MapKind::XskMap, 4, "cases_xsk").map_err(Stop::failed)?;
        let memory = map(MapKind::Array, 8, "cases_memory").map_err(Stop::failed)?;
        let instructions = instructions(kind, &sockets, &memory);
        let program = Program::load(&LoadSpec {
            name: "kernel_cases",
            instructions: &instructions.finish().map_err(Stop::failed)?,
            frags: Frags::Yes,
        })
        .map_err(Stop::failed)?;
        Ok(Self { program, sockets, memory: Memory(memory) })
    }

    /// Puts the program on an interface.
    pub(crate) fn attach(self, nic: &Nic, mode: AttachMode) -> Result<(Attached, Memory), Stop> {
        let link = XdpLink::attach(&self.program, nic.index, mode).map_err(Stop::failed)?;
        Ok((Attached { _link: link, sockets: self.sockets }, self.memory))
    }

    /// Hands it to a port.
    pub(crate) fn for_port(self) -> (Arc<XdpProgram>, Memory) {
        (Arc::new(XdpProgram::from_parts(self.program, self.sockets)), self.memory)
    }
}

/// A program on an interface, until it is dropped.
#[derive(Debug)]
pub(crate) struct Attached {
    _link: XdpLink,
    sockets: Map,
}

impl Attached {
    /// Redirects what the program takes for socket `index` to `socket`.
    pub(crate) fn set_socket(&self, index: u32, socket: &impl AsFd) -> Result<(), Stop> {
        self.sockets.set_socket(index, socket.as_fd()).map_err(Stop::failed)
    }
}

/// What a program remembers.
#[derive(Debug)]
pub(crate) struct Memory(Map);

impl Memory {
    /// Counts from 0 again.
    pub(crate) fn reset(&self) -> Result<(), Stop> {
        self.0.update(&COUNT.to_ne_bytes(), &[0; 8]).map_err(Stop::failed)
    }

    /// What a helper answered when it refused a packet last; 0 when it never did.
    pub(crate) fn refusal(&self) -> Result<i64, Stop> {
        let mut value = [0; 8];
        self.0.lookup(&REFUSAL.to_ne_bytes(), &mut value).map_err(Stop::failed)?;
        Ok(i64::from_ne_bytes(value))
    }
}

/// R7 keeps the context, R8 the packet's number.
fn instructions(kind: Kind, sockets: &Map, memory: &Map) -> Assembler {
    let mut a = Assembler::new();
    let (drop, refused) = (a.label(), a.label());
    a.mov(Reg::R7, Reg::R1);
    a.mov(Reg::R6, 0);
    match kind {
        Kind::Redirect => {}
        Kind::DropHalf => {
            count(&mut a, memory, drop);
            a.alu(Alu::And, Reg::R8, 1).jump_if(Cond::Ne, Reg::R8, 0, drop);
        }
        Kind::Metadata => {
            let delta = -META_BYTES.cast_signed();
            count(&mut a, memory, drop);
            a.mov(Reg::R1, Reg::R7).mov(Reg::R2, delta).call(Helper::XdpAdjustMeta);
            a.mov(Reg::R6, Reg::R0).jump_if(Cond::Ne, Reg::R0, 0, refused);
            a.load(Size::W, Reg::R2, Reg::R7, xdp_md::DATA)
                .load(Size::W, Reg::R3, Reg::R7, xdp_md::DATA_META)
                .mov(Reg::R4, Reg::R3)
                .alu(Alu::Add, Reg::R4, -delta)
                .jump_if(Cond::Gt, Reg::R4, Reg::R2, drop)
                .store(Size::Dw, Reg::R3, 0, Reg::R8)
                .mov(Reg::R6, 0);
        }
        Kind::ByAddress => {
            a.load(Size::W, Reg::R2, Reg::R7, xdp_md::DATA)
                .load(Size::W, Reg::R3, Reg::R7, xdp_md::DATA_END)
                .mov(Reg::R4, Reg::R2)
                .alu(Alu::Add, Reg::R4, 14)
                .jump_if(Cond::Gt, Reg::R4, Reg::R3, drop)
                .load(Size::B, Reg::R6, Reg::R2, 5)
                .alu(Alu::Rsh, Reg::R6, 1);
        }
        Kind::AdjustTail(delta_bytes) => {
            a.mov(Reg::R1, Reg::R7).mov(Reg::R2, delta_bytes).call(Helper::XdpAdjustTail);
            a.mov(Reg::R6, Reg::R0).jump_if(Cond::Ne, Reg::R0, 0, refused);
        }
    }
    a.load_map(Reg::R1, sockets)
        .mov(Reg::R2, Reg::R6)
        .mov(Reg::R3, XdpAction::Drop)
        .call(Helper::RedirectMap)
        .exit();
    // The verifier takes no instruction that is never reached.
    if matches!(kind, Kind::Metadata | Kind::AdjustTail(_)) {
        a.bind(refused);
        entry(&mut a, memory, REFUSAL, drop);
        a.store(Size::Dw, Reg::R0, 0, Reg::R6);
    }
    if kind != Kind::Redirect {
        a.bind(drop).mov(Reg::R0, XdpAction::Drop).exit();
    }
    a
}

/// Takes the next number into R8. The packets of one queue come one after the other.
fn count(a: &mut Assembler, memory: &Map, drop: Label) {
    entry(a, memory, COUNT, drop);
    a.load(Size::Dw, Reg::R8, Reg::R0, 0).mov(Reg::R1, Reg::R8).alu(Alu::Add, Reg::R1, 1).store(
        Size::Dw,
        Reg::R0,
        0,
        Reg::R1,
    );
}

/// Points R0 at an entry of the memory.
fn entry(a: &mut Assembler, memory: &Map, index: u32, drop: Label) {
    a.store_imm(Size::W, Reg::R10, -4, index.cast_signed())
        .mov(Reg::R2, Reg::R10)
        .alu(Alu::Add, Reg::R2, -4)
        .load_map(Reg::R1, memory)
        .call(Helper::MapLookupElem)
        .jump_if(Cond::Eq, Reg::R0, 0, drop);
}
