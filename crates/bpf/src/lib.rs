//! eBPF without a compiler: a typed assembler, maps, program load, links and test runs.
//!
//! An XDP program decides in the driver what becomes of each received frame. netmem writes such
//! programs instruction by instruction, so that a filter can change at run time and nothing but
//! the kernel is needed to build one:
//!
//! ```text
//!  Assembler ──finish()──> [Insn] ──Program::load──> verifier ──> program fd
//!      ^ load_map                                                   │ XdpLink::attach
//!  Map (fd) <── counters, sockets ──── kernel keeps its own ref     v
//!                                                             interface, until the link closes
//! ```
//!
//! Ownership: [`Map`], [`Program`] and [`XdpLink`] each own one close-on-exec file descriptor. A
//! loaded program holds its maps and a link holds its program inside the kernel, so user space may
//! drop them in any order once the program is loaded. Links are never pinned: when the last
//! descriptor of a link closes, killed processes included, the kernel detaches the program.
//!
//! Kernel: 5.15 or later with `CONFIG_BPF_SYSCALL`; multi-buffer programs ([`Frags::Yes`]) and live
//! frames ([`Program::run_live`], [`Generator`]) need 5.18. Loading and attaching need CAP_BPF and
//! CAP_NET_ADMIN, walking ids needs CAP_SYS_ADMIN.
//!
//! ```no_run
//! use netmem_bpf::{AttachMode, Frags, LoadSpec, Program, XdpAction, XdpLink};
//! use netmem_bpf::asm::{Assembler, Reg};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut assembler = Assembler::new();
//! assembler.mov(Reg::R0, XdpAction::Pass).exit();
//! let instructions = assembler.finish()?;
//! let program = Program::load(&LoadSpec {
//!     name: "netmem_pass",
//!     instructions: &instructions,
//!     frags: Frags::No,
//! })?;
//! let mut out = Vec::new();
//! assert_eq!(program.test_run(&[0; 64], &mut out)?.action, XdpAction::Pass);
//! let link = XdpLink::attach(&program, 1, AttachMode::Generic)?;
//! link.detach()?;
//! # Ok(())
//! # }
//! ```
#![deny(unsafe_code)]

#[cfg(not(all(target_os = "linux", target_endian = "little", target_pointer_width = "64")))]
compile_error!("netmem-bpf knows the kernel's structs on 64-bit little-endian Linux");

pub mod asm;
mod cpu;
mod error;
mod generator;
mod link;
mod map;
mod program;
#[allow(unsafe_code, reason = "the one home of the bpf(2) system call")]
mod sys;

pub use cpu::possible_cpus;
pub use error::Error;
pub use generator::{Generator, Stamp};
pub use link::{AttachMode, LinkInfo, LinkType, XdpLink, detach_by_id, link_ids};
pub use map::{Map, MapInfo, MapKind, MapSpec};
pub use program::{
    Frags, LiveRun, LoadSpec, Program, ProgramInfo, TestRun, XdpAction, program_ids,
};
