//! What each mapping of a process is.
//!
//! ```text
//!   the kernel's name     [heap] [stack] [vdso] socket:[N] anon_hugepage memfd:
//!   the program's file    permissions; zeroes behind its last segment are bss
//!   threads               the mapping that a waiting thread's stack pointer points into
//!   sockets               AF_XDP: the file offset names the ring; AF_PACKET: one ring, at offset 0
//! ```
//! A class that the sources prove is [`Certainty::Certain`]; a guess is likely, with its reason. Of AF_XDP
//! sockets only offsets above 4 GiB tell the rings apart from those of packet sockets, which are always at
//! 0 (`packet_mmap` in net/packet/af_packet.c refuses others); at 0 the socket's own word is needed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, Serializer};

use super::{
    elf::Executable,
    rings::Ring,
    smaps::{Mapping, Permissions},
};

/// What a mapping is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the words say it")]
pub enum Kind {
    Code,
    ReadOnlyData,
    Data,
    Bss,
    Heap,
    Stack,
    ThreadStack,
    LibraryCode,
    LibraryReadOnly,
    LibraryData,
    LibraryBss,
    /// The memory that AF_XDP packets are in.
    Umem,
    /// A ring of an AF_XDP socket.
    Ring(Ring),
    /// The receive and transmit rings of a packet socket.
    PacketRing,
    /// Memory of a socket of another kind, or of one that is not known.
    Socket,
    /// Pages of hugetlb for another use.
    HugePages,
    /// A memfd, System V or POSIX shared memory, or shared memory without a name.
    SharedMemory,
    File,
    Device,
    /// An object of the kernel without a path: io_uring, perf, a BPF map.
    KernelObject,
    /// What the kernel puts into each process: vdso, vvar, vsyscall.
    Kernel,
    /// Address space without access: a guard, or kept for later.
    Reserved,
    Anonymous,
}

/// How well something is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// The sources prove it.
    Certain,
    /// The sources suggest it.
    Likely,
}

/// What a mapping is, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Class {
    /// What it is.
    pub kind: Kind,
    /// How well that is known.
    pub certainty: Certainty,
    /// Why it is taken for that, where its name does not say so.
    pub why: Option<String>,
}

/// What the classes are judged by, beside the mappings.
#[derive(Debug, Clone, Copy, Default)]
pub struct Evidence<'a> {
    /// The program's file: its name in the mappings.
    pub program: Option<&'a str>,
    /// What it says of its memory, and how far it was moved.
    pub executable: Option<(&'a Executable, u64)>,
    /// Thread numbers and where their stack pointers point.
    pub stack_pointers: &'a [(u32, u64)],
    /// Names of the protocols of sockets, as the kernel spells them (`XDP`, `PACKET`), by inode.
    pub protocols: Option<&'a BTreeMap<u64, String>>,
}

/// Judges each mapping; `mappings` is sorted by address.
pub fn classify(mappings: &[Mapping], evidence: &Evidence<'_>) -> Vec<Class> {
    let files_with_code: BTreeSet<_> =
        mappings.iter().filter(|m| m.permissions.execute).filter_map(Mapping::file).collect();
    let xdp_sockets: BTreeSet<u64> = mappings
        .iter()
        .filter(|mapping| mapping.offset != 0 && Ring::at(mapping.offset).is_some())
        .filter_map(Mapping::socket)
        .collect();
    let judge = Judge { evidence, files_with_code, xdp_sockets };
    let mut classes: Vec<Class> = Vec::with_capacity(mappings.len());
    for (at, mapping) in mappings.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| (&mappings[at], &classes[at]));
        let before = before.filter(|(before, _)| before.end == mapping.start);
        let class = judge.class(mapping, before);
        classes.push(class);
    }
    classes
}

struct Judge<'a> {
    evidence: &'a Evidence<'a>,
    files_with_code: BTreeSet<((u32, u32), u64)>,
    /// Inodes of sockets with a mapping at an offset that only AF_XDP has.
    xdp_sockets: BTreeSet<u64>,
}

impl Judge<'_> {
    fn class(&self, mapping: &Mapping, before: Option<(&Mapping, &Class)>) -> Class {
        if let Some(inode) = mapping.socket() {
            return self.socket(inode, mapping.offset);
        }
        if mapping.is_hugetlb() {
            return Class::certain(Kind::HugePages);
        }
        if mapping.inode != 0 {
            return self.file(mapping);
        }
        match mapping.name.as_str() {
            "" => self.nameless(mapping, before),
            name => named(name).unwrap_or_else(|| self.nameless(mapping, before)),
        }
    }

    fn socket(&self, inode: u64, offset: u64) -> Class {
        let protocol = self.evidence.protocols.and_then(|all| all.get(&inode)).map(String::as_str);
        match (protocol, Ring::at(offset)) {
            (Some("XDP"), Some(ring)) => Class::certain(Kind::Ring(ring)),
            (None, Some(ring)) if self.xdp_sockets.contains(&inode) => {
                Class::certain(Kind::Ring(ring)).because("offsets that only AF_XDP sockets have")
            }
            (Some("PACKET"), _) => Class::certain(Kind::PacketRing),
            (Some(protocol), _) => {
                Class::certain(Kind::Socket).because(format!("a socket of protocol {protocol}"))
            }
            (None, _) => {
                Class::certain(Kind::Socket).because("the socket's protocol could not be asked for")
            }
        }
    }

    fn file(&self, mapping: &Mapping) -> Class {
        let Permissions { write, execute, .. } = mapping.permissions;
        let name = mapping.name.as_str();
        let of = |code, read_only, data| match (execute, write) {
            (true, _) => code,
            (false, true) => data,
            (false, false) => read_only,
        };
        if self.evidence.program == Some(name) {
            return Class::certain(of(Kind::Code, Kind::ReadOnlyData, Kind::Data));
        }
        let base = name.rsplit('/').next().unwrap_or_default();
        let is_shared_memory = ["/memfd:", "/dev/shm/", "/SYSV", "/dev/zero", "[anon_shmem"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
        if is_shared_memory {
            Class::certain(Kind::SharedMemory)
        } else if name.starts_with("anon_inode:") {
            Class::certain(Kind::KernelObject)
        } else if name.starts_with("/dev/") {
            Class::certain(Kind::Device)
        } else if mapping.file().is_some_and(|file| self.files_with_code.contains(&file))
            || base.contains(".so.")
            || base.ends_with(".so")
        {
            let kind = of(Kind::LibraryCode, Kind::LibraryReadOnly, Kind::LibraryData);
            Class::certain(kind)
        } else {
            Class::certain(Kind::File)
        }
    }

    /// Private memory without a file.
    fn nameless(&self, mapping: &Mapping, before: Option<(&Mapping, &Class)>) -> Class {
        let Permissions { read, write, execute, shared } = mapping.permissions;
        if let Some((program, bias)) = self.evidence.executable
            && program.is_bss(mapping.start, mapping.end, bias)
        {
            return Class::certain(Kind::Bss).because("zeroes behind the program's last segment");
        }
        let mut pointers = self.evidence.stack_pointers.iter();
        if let Some((thread, _)) = pointers.find(|(_, pointer)| mapping.contains(*pointer)) {
            let why = format!("the stack pointer of thread {thread} points into it");
            return Class::certain(Kind::ThreadStack).because(why);
        }
        if !(read || write || execute) {
            return Class::certain(Kind::Reserved);
        }
        if shared {
            return Class::certain(Kind::SharedMemory);
        }
        match before.map(|(_, class)| class.kind) {
            Some(Kind::Data) if self.evidence.executable.is_none() && write => {
                Class::likely(Kind::Bss, "follows the program's data")
            }
            Some(Kind::LibraryData) if write => {
                Class::likely(Kind::LibraryBss, "follows a library's data")
            }
            _ => Class::certain(Kind::Anonymous),
        }
    }
}

/// What the kernel's names in brackets say.
fn named(name: &str) -> Option<Class> {
    let kind = match name {
        "[heap]" => Kind::Heap,
        "[stack]" => Kind::Stack,
        "[vsyscall]" | "[vdso]" | "[uprobes]" | "[vectors]" | "[sigpage]" => Kind::Kernel,
        name if name.starts_with("[vvar") => Kind::Kernel,
        // Kernels up to 4.4 named them.
        name if name.starts_with("[stack:") => Kind::ThreadStack,
        // What the program called it (PR_SET_VMA_ANON_NAME, kernel 5.17, CONFIG_ANON_VMA_NAME).
        name if name.starts_with("[anon:") && name.contains("stack") => {
            return Some(Class::likely(Kind::ThreadStack, "the program named it so"));
        }
        _ => return None,
    };
    Some(Class::certain(kind))
}

impl Class {
    /// A class that is proven.
    pub fn certain(kind: Kind) -> Self {
        Self { kind, certainty: Certainty::Certain, why: None }
    }

    /// A class that is a guess, with its reason.
    pub fn likely(kind: Kind, why: impl Into<String>) -> Self {
        Self { kind, certainty: Certainty::Likely, why: Some(why.into()) }
    }

    /// Adds how it is known.
    #[must_use]
    pub fn because(self, why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..self }
    }
}

impl Kind {
    /// Its name, as it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::ReadOnlyData => "read-only data",
            Self::Data => "data",
            Self::Bss => "bss",
            Self::Heap => "heap",
            Self::Stack => "stack",
            Self::ThreadStack => "thread stack",
            Self::LibraryCode => "library code",
            Self::LibraryReadOnly => "library read-only",
            Self::LibraryData => "library data",
            Self::LibraryBss => "library bss",
            Self::Umem => "umem",
            Self::Ring(Ring::Rx) => "rx ring",
            Self::Ring(Ring::Tx) => "tx ring",
            Self::Ring(Ring::Fill) => "fill ring",
            Self::Ring(Ring::Completion) => "completion ring",
            Self::PacketRing => "packet ring",
            Self::Socket => "socket",
            Self::HugePages => "huge pages",
            Self::SharedMemory => "shared memory",
            Self::File => "file",
            Self::Device => "device",
            Self::KernelObject => "kernel object",
            Self::Kernel => "kernel",
            Self::Reserved => "reserved",
            Self::Anonymous => "anonymous",
        }
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
