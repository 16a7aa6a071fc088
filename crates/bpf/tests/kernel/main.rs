//! The crate against the running kernel: maps, the verifier, test runs and links.
//!
//! Links are attached to interfaces of a network namespace that each test makes for itself. Without the
//! privilege to load programs a test says that it is skipped and why; with `NETMEM_SKIPS` set it
//! also appends that to the file named there.
#![expect(clippy::unwrap_used, reason = "tests may, their helpers too")]

mod links;
mod live;
mod maps;
mod programs;

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    net::UdpSocket,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use netmem_bpf::asm::{Alu, Assembler, Cond, Helper, Insn, Reg::*, Size, disassemble, xdp_md};
use netmem_bpf::{
    AttachMode, Error, Frags, Generator, LinkInfo, LinkType, LiveRun, LoadSpec, Map, MapKind,
    MapSpec, Program, ProgramInfo, Stamp, XdpAction, XdpLink, detach_by_id, link_ids,
    possible_cpus, program_ids,
};
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, unshare};
use nix::unistd::Pid;

const LOOPBACK: u32 = 1;

#[expect(clippy::print_stderr, reason = "a skipped test must say so")]
fn skip(test: &str, reason: &str) {
    eprintln!("SKIPPED: {reason}");
    if let Some(path) = std::env::var_os("NETMEM_SKIPS") {
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        writeln!(file, "{test}: {reason}").unwrap();
    }
}

/// Tells whether programs can be loaded here; else skips `test`.
fn privileged(test: &str) -> bool {
    match pass() {
        Ok(_) => true,
        Err(e) if matches!(e.errno(), Some(libc::EPERM | libc::ENOSYS)) => {
            skip(test, &e.to_string());
            false
        }
        Err(e) => panic!("{e}"),
    }
}

/// Runs `body` in a new network namespace, on a thread of its own.
fn in_namespace<T: Send + 'static>(
    test: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    if !privileged(test) {
        return None;
    }
    let inside = thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET).map(|()| body()));
    match inside.join().unwrap() {
        Ok(result) => Some(result),
        Err(errno) => {
            skip(test, &format!("no new network namespace: {errno}"));
            None
        }
    }
}

/// Runs `ip` in the calling thread's namespace; `false`, and `test` skipped, if it is not there.
fn ip(test: &str, arguments: &str) -> bool {
    match Command::new("ip").args(arguments.split(' ')).status() {
        Ok(status) => {
            assert!(status.success(), "ip {arguments}: {status}");
            true
        }
        Err(e) => {
            skip(test, &format!("run ip: {e}"));
            false
        }
    }
}

fn assemble(build: impl FnOnce(&mut Assembler)) -> Vec<Insn> {
    let mut assembler = Assembler::new();
    build(&mut assembler);
    assembler.finish().unwrap()
}

fn load(name: &str, instructions: &[Insn]) -> Result<Program, Error> {
    Program::load(&LoadSpec { name, instructions, frags: Frags::No })
}

fn pass() -> Result<Program, Error> {
    load(
        "netmem_pass",
        &assemble(|a| {
            a.mov(R0, XdpAction::Pass).exit();
        }),
    )
}

fn map(kind: MapKind, value_bytes: u32, max_entries: u32) -> Map {
    let spec = MapSpec { kind, key_bytes: 4, value_bytes, max_entries, name: "netmem_test" };
    Map::create(&spec).unwrap()
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        thread::sleep(Duration::from_millis(5));
    }
}

fn close_on_exec(fd: BorrowedFd<'_>) -> bool {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    i32::from_str_radix(flags.trim(), 8).unwrap() & libc::O_CLOEXEC != 0
}

/// Passes frames that start with 1, drops others, and counts both: entry 0 dropped, 1 passed.
fn first_byte_counter(counters: &Map) -> Vec<Insn> {
    assemble(|a| {
        let (drop_it, count, out) = (a.label(), a.label(), a.label());
        a.mov(R6, XdpAction::Aborted)
            .load(Size::W, R2, R1, xdp_md::DATA)
            .load(Size::W, R3, R1, xdp_md::DATA_END)
            .mov(R4, R2)
            .alu(Alu::Add, R4, 1)
            .jump_if(Cond::Gt, R4, R3, out)
            .load(Size::B, R5, R2, 0)
            .jump_if(Cond::Ne, R5, 1, drop_it)
            .store_imm(Size::W, R10, -4, 1)
            .mov(R6, XdpAction::Pass)
            .jump(count)
            .bind(drop_it)
            .store_imm(Size::W, R10, -4, 0)
            .mov(R6, XdpAction::Drop)
            .bind(count)
            .load_map(R1, counters)
            .mov(R2, R10)
            .alu(Alu::Add, R2, -4)
            .call(Helper::MapLookupElem)
            .jump_if(Cond::Eq, R0, 0, out)
            .mov(R1, 1)
            .atomic_add(Size::Dw, R0, 0, R1)
            .bind(out)
            .mov(R0, R6)
            .exit();
    })
}
