//! The address space of a process: what each mapping is, which of them are the same memory, and the rings
//! of its AF_XDP sockets with what is in them.
//!
//! ```text
//!   /proc/PID/smaps ------> mappings -- classify --> code, bss, heap, stacks, libraries, rings, ...
//!   /proc/PID/exe --------> sections            \
//!   /proc/PID/task/TID/syscall -> stack pointers --> evidence
//!   /proc/PID/map_files, fd -> protocols        /
//!   /proc/PID/pagemap ----> page frames ---------> the same memory twice
//!   pidfd_getfd ----------> AF_XDP sockets ------> entries, levels, counters, queue
//! ```
//! Nothing of this needs the process's help, stops it, or changes it; a descriptor or ring mapping of ours
//! is gone before the next look (D5, H1). What each source lacks stands in [`AddressSpace::not_known`].
//!
//! Which memory the packets of an AF_XDP socket are in, its UMEM, the kernel tells nobody: the socket knows
//! pages, not addresses. It is guessed, and named likely, unless somebody who knows says so
//! ([`AddressSpace::confirm_umem`]).
//!
//! Kernel 5.15 and later; needs ptrace access to the process, and `CAP_SYS_ADMIN` for page frames.

mod classify;
pub mod elf;
pub mod numa;
mod packet;
pub mod pagemap;
mod queues;
pub mod rings;
pub mod smaps;
mod sockets;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::Path,
};

use serde::Serialize;

use self::elf::Executable;
pub use self::{
    classify::{Certainty, Class, Evidence, Kind, classify},
    packet::{LEN_BYTES_MAX, PacketLevel, PacketLevels, PacketLook, PacketUnit, packet_levels},
    pagemap::{SharedPages, SharingProof},
    queues::{Bindings, Place, QueueName},
    rings::{Entries, Indices, Ring},
    smaps::{Mapping, Permissions, Usage},
    sockets::{RingLook, Socket, Statistics},
};
use crate::{
    process::{numbered, socket_protocol},
    source::{Reading, Root, SourceState, Unavailable, or_null, read, read_with},
};

/// A process is looked at so often at most, if it maps sockets meanwhile.
const LOOKS: u32 = 4;

/// A process's address space.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AddressSpace {
    /// The process.
    pub pid: u32,
    /// The kernel's short name of it.
    pub command: String,
    /// The path of its program.
    #[serde(serialize_with = "or_null")]
    pub program: Reading<String>,
    /// Levels of its page tables.
    #[serde(serialize_with = "or_null")]
    pub paging_levels: Reading<u8>,
    /// The size of a base page.
    pub page_bytes: u64,
    /// Its mappings, by address.
    pub mappings: Vec<Area>,
    /// Its AF_XDP sockets.
    pub sockets: Vec<Socket>,
    /// Its packet sockets with a ring that is mapped, as far as the kernel tells of them.
    pub packet_sockets: Vec<PacketLook>,
    /// Mappings that have the same physical pages.
    pub shared: Vec<SharedPages>,
    /// Sums.
    pub totals: Totals,
    /// What is not known.
    pub not_known: Vec<Unavailable>,
}

/// A mapping, and what it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Area {
    /// The mapping.
    #[serde(flatten)]
    pub mapping: Mapping,
    /// What it is.
    #[serde(flatten)]
    pub class: Class,
    /// The program's sections in it.
    pub sections: Vec<String>,
    /// Bytes on each node; empty where that is not known or nothing is there.
    pub nodes: numa::Nodes,
}

/// Sums over the address space, in bytes; `null` where the kernel does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Address space that is mapped.
    pub mapped_bytes: u64,
    /// Sum of Rss.
    pub rss_bytes: Option<u64>,
    /// Pages of hugetlb: in memory for good, and in no Rss.
    pub hugetlb_bytes: Option<u64>,
    /// Rings of AF_XDP sockets: memory of the kernel. In Rss since 6.4, before in none.
    pub ring_bytes: u64,
    /// Of those, what no Rss counts.
    pub ring_bytes_outside_rss: u64,
    /// Mappings taken for UMEMs: pinned by the socket, which counts in neither VmPin nor VmLck.
    pub umem_bytes: u64,
    /// `VmLck` of `/proc/PID/status`.
    pub locked_bytes: Option<u64>,
    /// `VmPin` there.
    pub pinned_bytes: Option<u64>,
}

/// Looks at a process. Mappings, descriptors and sockets are read one after the other: a process that
/// maps a socket meanwhile is looked at again.
///
/// # Errors
/// When there is no such process or it has ended (stale), or it may not be looked into (denied).
pub fn look(root: &Root, pid: u32) -> Reading<AddressSpace> {
    let maps = root.proc(pid.to_string()).join("maps");
    let mut space = look_once(root, pid)?;
    for _ in 1..LOOKS {
        let later = read_with(&maps, smaps::parse).unwrap_or_default();
        if !space.lacks_socket_of(&later) {
            break;
        }
        space = look_once(root, pid)?;
    }
    Ok(space)
}

fn look_once(root: &Root, pid: u32) -> Reading<AddressSpace> {
    let folder = root.proc(pid.to_string());
    let page_bytes = rustix::param::page_size() as u64;
    let mappings = read_mappings(&folder)?;
    let mut not_known = Vec::new();
    let mut note = |unavailable: &Unavailable| not_known.push(unavailable.clone());

    let program = program(&folder).inspect_err(&mut note);
    let executable = executable(&folder, program.as_deref().ok(), &mappings, page_bytes);
    let nodes = read_with(&folder.join("numa_maps"), numa::parse).inspect_err(&mut note);
    let status = read(&folder.join("status"));
    let status =
        status.map(|text| String::from_utf8_lossy(&text).into_owned()).inspect_err(&mut note);
    let status = status.unwrap_or_default();
    let paging_levels = paging_levels(root);
    let (frames, unknown) = pagemap::read(&folder, &mappings, page_bytes);
    unknown.iter().for_each(&mut note);
    let held = held_sockets(&folder).inspect_err(&mut note).unwrap_or_default();
    let protocols = protocols(&folder, &mappings, &held);
    let pointers = stack_pointers(&folder, pid);
    let evidence = Evidence {
        program: program.as_deref().ok(),
        executable: executable.as_ref().map(|(executable, bias)| (executable, *bias)),
        stack_pointers: &pointers,
        protocols: Some(&protocols),
    };
    let classes = classify(&mappings, &evidence);
    let wanted = xdp_sockets(&mappings, &classes, &held, &protocols);
    let sockets = if root.is_live() && !wanted.is_empty() {
        let bindings = Bindings::of(pid);
        sockets::look(pid, &wanted, &mappings, &bindings, &mut not_known)
    } else {
        sockets::recorded(&wanted, &mappings)
    };
    let packet_sockets = packet_sockets(root, pid, &mappings, &classes)
        .inspect_err(|unavailable| not_known.push(unavailable.clone()));
    let shared = frames.shared(&mappings, page_bytes);
    let nodes = nodes.unwrap_or_default();
    let areas = mappings.into_iter().zip(classes).map(|(mapping, class)| Area {
        sections: sections(&mapping, &class, executable.as_ref()),
        nodes: nodes.get(&mapping.start).cloned().unwrap_or_default(),
        mapping,
        class,
    });
    let mut space = AddressSpace {
        pid,
        command: field(&status, "Name").unwrap_or_default().to_owned(),
        program,
        paging_levels,
        page_bytes,
        mappings: areas.collect(),
        sockets,
        packet_sockets: packet_sockets.unwrap_or_default(),
        shared,
        totals: Totals::default(),
        not_known,
    };
    space.guess_umem();
    space.sum(&status);
    Ok(space)
}

/// The AF_XDP sockets with these numbers that a process has descriptors of, as [`look`] finds them, without
/// the rest of its address space; queues are those of `bindings`.
///
/// # Errors
/// When there is no such process or it has ended, or it may not be looked into.
pub fn sockets_of(
    root: &Root,
    pid: u32,
    inodes: &[u32],
    bindings: &Reading<Bindings>,
) -> Reading<Vec<Socket>> {
    let folder = root.proc(pid.to_string());
    let mut held = held_sockets(&folder)?;
    held.retain(|inode, _| inodes.iter().any(|wanted| u64::from(*wanted) == *inode));
    let mappings = read_with(&folder.join("maps"), smaps::parse)?;
    // Why a socket cannot be looked at stands in place of its counters.
    Ok(sockets::look(pid, &held, &mappings, bindings, &mut Vec::new()))
}

impl AddressSpace {
    /// The mapping that starts there.
    pub fn mapping(&self, start: u64) -> Option<&Area> {
        self.mappings.iter().find(|area| area.mapping.start == start)
    }

    /// Takes a mapping for a UMEM because somebody says so who knows; the guesses are dropped.
    pub fn confirm_umem(&mut self, start: u64, why: &str) {
        let is_guess =
            |class: &Class| class.kind == Kind::Umem && class.certainty == Certainty::Likely;
        for area in &mut self.mappings {
            if area.mapping.start == start {
                area.class = Class::certain(Kind::Umem).because(why);
            } else if is_guess(&area.class) {
                area.class = without_guess(&area.mapping);
            }
        }
        self.totals.umem_bytes = self.sum_of(Kind::Umem);
    }

    /// Whether a source that is missing may be had with more privilege.
    pub fn lacks_privilege(&self) -> bool {
        self.not_known.iter().any(|unavailable| unavailable.state == SourceState::Denied)
    }

    /// Whether a socket was mapped since, by these later mappings.
    fn lacks_socket_of(&self, later: &[Mapping]) -> bool {
        let of_socket = |m: &Mapping| m.socket().map(|inode| (inode, m.offset));
        let known: BTreeSet<_> =
            self.mappings.iter().filter_map(|area| of_socket(&area.mapping)).collect();
        later.iter().filter_map(of_socket).any(|socket| !known.contains(&socket))
    }

    /// Takes the largest mapping that could be the UMEM for it, if there are AF_XDP sockets with a fill
    /// ring: hugetlb before others, and as many of its length as there are fill rings.
    fn guess_umem(&mut self) {
        let is_fill = |look: &&RingLook| look.ring == Ring::Fill && look.mapping.is_some();
        let fills = self.sockets.iter().flat_map(|s| &s.rings).filter(is_fill).count();
        let reach = self.sockets.iter().filter_map(|socket| socket.umem_reach_bytes).max();
        let told = self.sockets.iter().filter_map(|socket| socket.umem_bytes).max();
        let least = told.or(reach).unwrap_or(self.page_bytes);
        let can_be = |area: &&mut Area| {
            let memory = [Kind::HugePages, Kind::Anonymous, Kind::SharedMemory];
            let Permissions { read, write, .. } = area.mapping.permissions;
            memory.contains(&area.class.kind) && read && write && area.mapping.len_bytes() >= least
        };
        let mut candidates: Vec<&mut Area> = self.mappings.iter_mut().filter(can_be).collect();
        let rank = |area: &Area| (area.mapping.is_hugetlb(), area.mapping.len_bytes());
        candidates.sort_by_key(|area| std::cmp::Reverse(rank(area)));
        let Some(best) = candidates.first().map(|area| rank(area)) else { return };
        let pages = if best.0 { "of hugetlb" } else { "that can be written" };
        let why = match reach {
            Some(reach) => {
                format!("the largest {pages}; the fill ring's addresses reach to {reach}")
            }
            None => format!("the largest {pages}, of a process with AF_XDP rings"),
        };
        for area in candidates.into_iter().take(fills).filter(|area| rank(area) == best) {
            area.class = Class::likely(Kind::Umem, why.clone());
        }
    }

    fn sum(&mut self, status: &str) {
        let usage = |of: fn(&Usage) -> Option<u64>| {
            let all = self.mappings.iter().filter_map(|area| of(&area.mapping.usage));
            all.reduce(u64::saturating_add)
        };
        let rings = || self.mappings.iter().filter(|area| matches!(area.class.kind, Kind::Ring(_)));
        let told = |key| field(status, key).and_then(smaps::kilobytes);
        let outside = |area: &Area| {
            let rss = area.mapping.usage.rss_bytes.unwrap_or(0);
            area.mapping.len_bytes().saturating_sub(rss)
        };
        self.totals = Totals {
            mapped_bytes: self.mappings.iter().map(|area| area.mapping.len_bytes()).sum(),
            rss_bytes: usage(|usage| usage.rss_bytes),
            hugetlb_bytes: usage(|usage| usage.hugetlb_bytes),
            ring_bytes: rings().map(|area| area.mapping.len_bytes()).sum(),
            ring_bytes_outside_rss: rings().map(outside).sum(),
            umem_bytes: self.sum_of(Kind::Umem),
            locked_bytes: told("VmLck"),
            pinned_bytes: told("VmPin"),
        };
    }

    fn sum_of(&self, kind: Kind) -> u64 {
        let of_kind = self.mappings.iter().filter(|area| area.class.kind == kind);
        of_kind.map(|area| area.mapping.len_bytes()).sum()
    }
}

/// What a mapping is that was taken for a UMEM and is none.
fn without_guess(mapping: &Mapping) -> Class {
    classify(std::slice::from_ref(mapping), &Evidence::default())
        .pop()
        .unwrap_or_else(|| Class::certain(Kind::Anonymous))
}

fn read_mappings(folder: &Path) -> Reading<Vec<Mapping>> {
    let path = folder.join("smaps");
    let gone = |unavailable: Unavailable| match unavailable.state {
        SourceState::Absent => Unavailable { state: SourceState::Stale, ..unavailable },
        _ => unavailable,
    };
    let mappings = read_with(&path, smaps::parse).map_err(gone)?;
    if mappings.is_empty() {
        // A kernel thread, or a process that has ended and was not waited for.
        let why = "there is no address space: a kernel thread, or a process that has ended";
        return Err(Unavailable::stale(path.display().to_string(), why));
    }
    Ok(mappings)
}

/// The path of the program, as the mappings have it.
fn program(folder: &Path) -> Reading<String> {
    let path = folder.join("exe");
    let target = fs::read_link(&path)
        .map_err(|error| Unavailable::by_io(path.display().to_string(), &error))?;
    Ok(target.to_string_lossy().into_owned())
}

/// What the program's file says, and by how much it was moved.
fn executable(
    folder: &Path,
    program: Option<&str>,
    mappings: &[Mapping],
    page_bytes: u64,
) -> Option<(Executable, u64)> {
    let program = program?;
    let file = File::open(folder.join("exe")).ok()?;
    let cache = object::ReadCache::new(file);
    let executable = elf::parse(&cache)?;
    let bias = executable.bias(mappings.iter().filter(|m| m.name == program), page_bytes)?;
    Some((executable, bias))
}

fn sections(
    mapping: &Mapping,
    class: &Class,
    executable: Option<&(Executable, u64)>,
) -> Vec<String> {
    let own = [Kind::Code, Kind::ReadOnlyData, Kind::Data, Kind::Bss];
    match executable {
        Some((executable, bias)) if own.contains(&class.kind) => {
            executable.sections_in(mapping.start, mapping.end, *bias)
        }
        _ => Vec::new(),
    }
}

/// Levels of page tables: the flag is there if and only if the fifth is in use
/// (`early_identify_cpu` in arch/x86/kernel/cpu/common.c, kernel 6.18).
fn paging_levels(root: &Root) -> Reading<u8> {
    let path = root.proc("cpuinfo");
    let flags = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        let flags = text.lines().find(|line| line.starts_with("flags"))?;
        let is_five = flags.split_whitespace().any(|flag| flag == "la57");
        Some(if is_five { 5 } else { 4 })
    };
    if cfg!(target_arch = "x86_64") {
        read_with(&path, flags)
    } else {
        let why = "only x86-64 tells it there";
        Err(Unavailable::absent(path.display().to_string(), why))
    }
}

/// The descriptors of sockets, by inode.
fn held_sockets(folder: &Path) -> Reading<BTreeMap<u64, Vec<i32>>> {
    let path = folder.join("fd");
    let entries = fs::read_dir(&path)
        .map_err(|error| Unavailable::by_io(path.display().to_string(), &error))?;
    let mut held: BTreeMap<u64, Vec<i32>> = BTreeMap::new();
    for entry in entries.flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let target = fs::read_link(entry.path()).unwrap_or_default();
        let target = target.to_string_lossy();
        let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        if let (Some(number), Some(inode)) = (number, inode.and_then(|inode| inode.parse().ok())) {
            held.entry(inode).or_default().push(number);
        }
    }
    held.values_mut().for_each(|descriptors| descriptors.sort_unstable());
    Ok(held)
}

/// The protocols of mapped and held sockets, by inode. A mapped one that has no descriptor is asked by
/// the link of its mapping.
fn protocols(
    folder: &Path,
    mappings: &[Mapping],
    held: &BTreeMap<u64, Vec<i32>>,
) -> BTreeMap<u64, String> {
    let mut protocols = BTreeMap::new();
    for (&inode, descriptors) in held {
        let link = folder.join("fd").join(descriptors[0].to_string());
        protocols.extend(socket_protocol(&link).map(|protocol| (inode, protocol)));
    }
    for mapping in mappings {
        let Some(inode) = mapping.socket().filter(|inode| !protocols.contains_key(inode)) else {
            continue;
        };
        let link = folder.join("map_files").join(format!("{:x}-{:x}", mapping.start, mapping.end));
        protocols.extend(socket_protocol(&link).map(|protocol| (inode, protocol)));
    }
    protocols
}

/// AF_XDP sockets that are held or mapped, with the descriptors.
fn xdp_sockets(
    mappings: &[Mapping],
    classes: &[Class],
    held: &BTreeMap<u64, Vec<i32>>,
    protocols: &BTreeMap<u64, String>,
) -> BTreeMap<u64, Vec<i32>> {
    let mapped = mappings.iter().zip(classes);
    let mapped = mapped.filter(|(_, class)| matches!(class.kind, Kind::Ring(_)));
    let mapped = mapped.filter_map(|(mapping, _)| mapping.socket());
    let is_xdp = |inode: &&u64| protocols.get(inode).is_some_and(|protocol| protocol == "XDP");
    let all = mapped.chain(held.keys().filter(is_xdp).copied());
    all.map(|inode| (inode, held.get(&inode).cloned().unwrap_or_default())).collect()
}

/// The sockets whose packet rings are mapped.
fn packet_sockets(
    root: &Root,
    pid: u32,
    mappings: &[Mapping],
    classes: &[Class],
) -> Reading<Vec<PacketLook>> {
    let rings = mappings.iter().zip(classes).filter(|(_, class)| class.kind == Kind::PacketRing);
    let inodes: BTreeSet<u64> = rings.filter_map(|(mapping, _)| mapping.socket()).collect();
    if inodes.is_empty() || !root.is_live() {
        return Ok(Vec::new());
    }
    let look = |socket| PacketLook { levels: packet_levels(root, pid, &socket), socket };
    Ok(queues::packet_sockets(pid, &inodes)?.into_iter().map(look).collect())
}

/// Threads that wait, and where their stack pointers point (`proc_pid_syscall` in fs/proc/base.c); the
/// first thread's stack has a name.
fn stack_pointers(folder: &Path, pid: u32) -> Vec<(u32, u64)> {
    let threads = numbered(&folder.join("task")).into_iter().filter(|(thread, _)| *thread != pid);
    let pointer = |path: &Path| stack_pointer(&fs::read_to_string(path.join("syscall")).ok()?);
    threads.filter_map(|(thread, path)| Some((thread, pointer(&path)?))).collect()
}

/// `number, six arguments, stack pointer, program counter`, or `-1 stack pointer, program counter`.
fn stack_pointer(text: &str) -> Option<u64> {
    let words: Vec<_> = text.split_whitespace().collect();
    let [_, .., pointer, _] = words[..] else { return None };
    u64::from_str_radix(pointer.strip_prefix("0x")?, 16).ok()
}

/// Reads the rest of the line `key:` of a text of such lines.
fn field<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let value = |line: &'t str| line.strip_prefix(key)?.strip_prefix(':');
    text.lines().find_map(value).map(str::trim)
}

#[cfg(test)]
mod tests;
