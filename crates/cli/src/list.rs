//! `netmem list`: the XDP programs and AF_XDP sockets of the interfaces of this network namespace, and
//! the running netmem processes, of all network namespaces.
//!
//! What cannot be known, for want of a kernel option or of a privilege, is a line `not known` and a
//! `null`, never a "none". The command ends with code 3 then, unless only the details of sockets are
//! missing that kernels without `CONFIG_XDP_SOCKETS_DIAG` never tell, or processes that may not be
//! looked into might show themselves.

pub(crate) mod processes;

use std::io::{self, Write};

use netmem::stats;
use netmem_host::{
    netlink::XdpMode,
    process::{Process, ProcessState},
    xdp::{Gap, HeldSocket, Hold, Survey, Topic, XdpInterface, XdpProgram, survey},
};
use serde::Serialize;

pub use self::processes::{Frames, NetmemMemory, NetmemPort, NetmemProcess, Packets, Ring};
use crate::{
    Failure, Outcome,
    args::ListArgs,
    report::{self, KernelStatistics, bytes, row},
};

/// What the command shows, for a person and for a program.
#[derive(Debug, Clone, Serialize)]
pub struct List {
    /// `netmem.list/1`.
    pub schema: &'static str,
    /// The interface that was asked for, or all that have a program, queue or socket.
    pub interfaces: Vec<Interface>,
    /// AF_XDP sockets that are bound to no interface or not known to be.
    pub other_sockets: Vec<Socket>,
    /// The netmem processes that show themselves; of those with a port on the interface, if one was
    /// asked for.
    pub processes: Vec<NetmemProcess>,
    /// What is not known.
    pub not_known: Vec<NotKnown>,
}

/// An interface.
#[derive(Debug, Clone, Serialize)]
pub struct Interface {
    /// Its name.
    pub interface: String,
    /// Its index.
    pub index: u32,
    /// Attached programs, the first to see packets first.
    pub programs: Vec<Program>,
    /// Queues that AF_XDP sockets are bound to; nothing if not known.
    pub queues: Option<Vec<u32>>,
    /// The AF_XDP sockets that are known to be bound to it.
    pub sockets: Vec<Socket>,
}

/// An attached XDP program.
#[derive(Debug, Clone, Serialize)]
pub struct Program {
    /// Its number.
    pub id: u32,
    /// `native`, `generic` or `offload`.
    pub mode: &'static str,
    /// Its name, if known.
    pub name: Option<String>,
    /// Digest of its instructions, if known.
    pub tag: Option<String>,
    /// When it was loaded, in nanoseconds since boot, if known.
    pub loaded_at_ns: Option<u64>,
    /// User id of the process that loaded it, if known.
    pub created_by_uid: Option<u32>,
    /// `link` or `netlink`, if known.
    pub attached_by: Option<&'static str>,
    /// The link, or the links of which it may be one.
    pub links: Vec<u32>,
    /// Who holds the link; nothing if not known, and an empty list if nobody does.
    pub owners: Option<Vec<Owner>>,
}

/// A process.
#[derive(Debug, Clone, Serialize)]
pub struct Owner {
    /// Its number.
    pub pid: u32,
    /// Its short name.
    pub name: String,
    /// `running`, `stopped` or `defunct`.
    pub state: &'static str,
}

/// An AF_XDP socket.
#[derive(Debug, Clone, Serialize)]
pub struct Socket {
    /// Its number.
    pub inode: u32,
    /// Its queue, if bound and known.
    pub queue: Option<u32>,
    /// User id of its owner, if known.
    pub uid: Option<u32>,
    /// Entries of the four rings, each if there and known.
    pub rings: Rings,
    /// Its packet memory, if there and known.
    pub umem: Option<Memory>,
    /// The kernel's counters, if known.
    pub kernel: Option<KernelStatistics>,
    /// Who holds it; nothing if not known.
    pub owners: Option<Vec<Owner>>,
}

/// Entries of rings.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[allow(missing_docs, reason = "the names of the four rings")]
pub struct Rings {
    pub rx: Option<u32>,
    pub tx: Option<u32>,
    pub fill: Option<u32>,
    pub completion: Option<u32>,
}

/// The packet memory of a socket.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Memory {
    /// Number among all UMEMs.
    pub id: u32,
    /// Length.
    pub bytes: u64,
    /// Size of a frame.
    pub frame_bytes: u32,
    /// Whether the driver uses it without copying.
    pub zero_copy: bool,
    /// Whether several sockets use it.
    pub shared: bool,
}

/// Something that is not known.
#[derive(Debug, Clone, Serialize)]
pub struct NotKnown {
    /// `programs`, `links`, `sockets`, `queues`, `processes` (the holders of those) or `netmem`
    /// (processes that show themselves).
    pub topic: &'static str,
    /// Why.
    pub why: String,
}

/// Runs the command.
///
/// # Errors
/// When there is no such interface, or nothing can be read at all.
pub fn run(args: &ListArgs, out: &mut dyn Write) -> Result<Outcome, Failure> {
    let survey = survey(args.interface.as_deref())?;
    let mut list = List::new(&survey, args.interface.is_some());
    let ifindex = args.interface.as_ref().and_then(|_| survey.interfaces.first());
    let (shown, unknown) =
        processes::processes(&stats::all()?, ifindex.map(|interface| interface.index));
    list.processes = shown;
    list.not_known.extend(unknown.into_iter().map(|why| NotKnown { topic: "netmem", why }));
    let printed = if args.json { report::json(out, &list) } else { print(out, &list) };
    printed.and_then(|()| out.flush()).map_err(Failure::output)?;
    let misses = survey.gaps.iter().any(|gap| gap.topic != Topic::Sockets);
    Ok(if misses { Outcome::Missing } else { Outcome::Done })
}

impl List {
    fn new(survey: &Survey, is_named: bool) -> Self {
        let blind = survey.gap(Topic::Processes);
        let shown = survey.interfaces.iter().filter(|interface| is_named || interface.is_in_use());
        Self {
            schema: "netmem.list/1",
            interfaces: shown.map(|interface| Interface::new(interface, blind)).collect(),
            other_sockets: survey.unplaced.iter().map(|s| Socket::new(s, blind)).collect(),
            processes: Vec::new(),
            not_known: survey.gaps.iter().map(NotKnown::new).collect(),
        }
    }
}

impl Interface {
    fn new(interface: &XdpInterface, blind: Option<&Gap>) -> Self {
        Self {
            interface: interface.name.clone(),
            index: interface.index,
            programs: interface.programs.iter().map(|p| Program::new(p, blind)).collect(),
            queues: interface.queues.clone(),
            sockets: interface.sockets.iter().map(|s| Socket::new(s, blind)).collect(),
        }
    }
}

impl Program {
    fn new(program: &XdpProgram, blind: Option<&Gap>) -> Self {
        let (attached_by, links, owners) = match &program.hold {
            Hold::Link { id, holders } => (Some("link"), vec![*id], owners(holders, blind)),
            Hold::AmbiguousLink { ids } => (Some("link"), ids.clone(), None),
            Hold::Netlink => (Some("netlink"), Vec::new(), Some(Vec::new())),
            Hold::Unknown => (None, Vec::new(), None),
        };
        let info = program.info.as_ref();
        Self {
            id: program.id,
            mode: mode(program.mode),
            name: info.map(|info| info.name.clone()),
            tag: info.map(|info| info.tag.iter().map(|byte| format!("{byte:02x}")).collect()),
            loaded_at_ns: info.map(|info| info.loaded_at_ns),
            created_by_uid: info.map(|info| info.created_by_uid),
            attached_by,
            links,
            owners,
        }
    }
}

impl Socket {
    fn new(socket: &HeldSocket, blind: Option<&Gap>) -> Self {
        let info = socket.info.as_ref();
        let rings = info.map(|info| Rings {
            rx: info.rx_ring,
            tx: info.tx_ring,
            fill: info.fill_ring,
            completion: info.completion_ring,
        });
        let umem = info.and_then(|info| info.umem).map(|umem| Memory {
            id: umem.id,
            bytes: umem.len_bytes,
            frame_bytes: umem.chunk_bytes,
            zero_copy: umem.is_zero_copy,
            shared: umem.users > 1,
        });
        let kernel = info.and_then(|info| info.statistics).map(|s| KernelStatistics {
            rx_dropped: s.rx_dropped,
            rx_invalid_descs: s.rx_invalid_descs,
            tx_invalid_descs: s.tx_invalid_descs,
            rx_ring_full: s.rx_ring_full,
            rx_fill_ring_empty_descs: s.rx_fill_ring_empty_descs,
            tx_ring_empty_descs: s.tx_ring_empty_descs,
        });
        Self {
            inode: socket.inode,
            queue: info.filter(|info| info.ifindex != 0).map(|info| info.queue),
            uid: info.and_then(|info| info.uid),
            rings: rings.unwrap_or_default(),
            umem,
            kernel,
            owners: owners(&socket.holders, blind),
        }
    }
}

impl NotKnown {
    fn new(gap: &Gap) -> Self {
        let topic = match gap.topic {
            Topic::Programs => "programs",
            Topic::Links => "links",
            Topic::Sockets => "sockets",
            Topic::Queues => "queues",
            Topic::Processes => "processes",
            _ => "other",
        };
        Self { topic, why: gap.why.clone() }
    }
}

/// The owners; nothing where nobody was seen and not everybody could be.
fn owners(holders: &[Process], blind: Option<&Gap>) -> Option<Vec<Owner>> {
    let owner = |process: &Process| Owner {
        pid: process.pid,
        name: process.name.clone(),
        state: match process.state {
            ProcessState::Running => "running",
            ProcessState::Stopped => "stopped",
            ProcessState::Defunct => "defunct",
        },
    };
    (blind.is_none() || !holders.is_empty()).then(|| holders.iter().map(owner).collect())
}

pub(crate) fn mode(mode: XdpMode) -> &'static str {
    match mode {
        XdpMode::Native => "native",
        XdpMode::Generic => "generic",
        XdpMode::Hardware => "offload",
    }
}

fn print(out: &mut dyn Write, list: &List) -> io::Result<()> {
    for interface in &list.interfaces {
        row(out, "interface", format!("{}, index {}", interface.interface, interface.index))?;
        if interface.programs.is_empty() {
            row(out, "program", "none")?;
        }
        for program in &interface.programs {
            print_program(out, program)?;
        }
        let queues = match &interface.queues {
            None => "not known".to_owned(),
            Some(queues) if queues.is_empty() => "on no queue".to_owned(),
            Some(queues) => {
                let all: Vec<_> = queues.iter().map(ToString::to_string).collect();
                format!("on queue {}", all.join(", "))
            }
        };
        row(out, "af_xdp", queues)?;
        for socket in &interface.sockets {
            print_socket(out, socket, "")?;
        }
    }
    let is_diagnosed = !list.not_known.iter().any(|gap| gap.topic == "sockets");
    let place = if is_diagnosed { "bound to no interface, " } else { "interface not known, " };
    for socket in &list.other_sockets {
        print_socket(out, socket, place)?;
    }
    if list.interfaces.is_empty() {
        let knows_queues = !list.not_known.iter().any(|gap| gap.topic == "queues");
        let queue = if knows_queues { " or a queue of AF_XDP" } else { "" };
        let none = format!("none of this network namespace has an XDP program{queue}");
        row(out, "interface", none)?;
    }
    for process in &list.processes {
        processes::print(out, process)?;
    }
    if list.processes.is_empty() {
        let knows = !list.not_known.iter().any(|gap| gap.topic == "netmem");
        let none = if knows { "no process of it runs" } else { "no process of it can be seen" };
        row(out, "netmem", none)?;
    }
    for gap in &list.not_known {
        row(out, "not known", format!("{}: {}", gap.topic, gap.why))?;
    }
    Ok(())
}

fn print_program(out: &mut dyn Write, program: &Program) -> io::Result<()> {
    let mut line = format!("{} id {}", program.mode, program.id);
    if let Some(name) = &program.name {
        line += &format!(" \"{name}\"");
    }
    if let Some(tag) = &program.tag {
        line += &format!(", tag {tag}");
    }
    if let (Some(at), Some(uid)) = (program.loaded_at_ns, program.created_by_uid) {
        let seconds = at / 1_000_000_000;
        line += &format!(", loaded {seconds} s after boot by uid {uid}");
    }
    row(out, "program", line)?;
    let links: Vec<_> = program.links.iter().map(ToString::to_string).collect();
    let held = match (program.attached_by, &links[..]) {
        (Some("link"), [link]) => {
            format!("attached by link {link}, held by {}", names(program.owners.as_deref()))
        }
        (Some("link"), _) => format!("attached by one of the links {}", links.join(", ")),
        (Some(_), _) => "attached by netlink: held by no process".to_owned(),
        (None, _) => "attached by what is not known".to_owned(),
    };
    row(out, "", held)
}

fn print_socket(out: &mut dyn Write, socket: &Socket, place: &str) -> io::Result<()> {
    let queue = socket.queue.map_or(String::new(), |queue| format!("queue {queue}, "));
    let held = names(socket.owners.as_deref());
    row(out, "socket", format!("{place}{queue}inode {}, held by {held}", socket.inode))?;
    let Rings { rx, tx, fill, completion } = socket.rings;
    let rings = [("rx", rx), ("tx", tx), ("fill", fill), ("completion", completion)];
    let rings: Vec<_> =
        rings.iter().filter_map(|(name, n)| n.map(|n| format!("{name} {n}"))).collect();
    if !rings.is_empty() {
        row(out, "", format!("rings: {}", rings.join(", ")))?;
    }
    if let Some(umem) = socket.umem {
        let copy = if umem.zero_copy { "zero-copy" } else { "copied" };
        let shared = if umem.shared { ", shared" } else { "" };
        let sizes = format!("{} in frames of {} B", bytes(umem.bytes), umem.frame_bytes);
        row(out, "", format!("umem {}: {sizes}, {copy}{shared}", umem.id))?;
    }
    if let Some(k) = socket.kernel {
        let lost = format!(
            "{} rx_dropped, {} rx_ring_full, {} rx_fill_ring_empty_descs",
            k.rx_dropped, k.rx_ring_full, k.rx_fill_ring_empty_descs
        );
        row(out, "", lost)?;
    }
    Ok(())
}

/// Spells who holds something.
fn names(owners: Option<&[Owner]>) -> String {
    let name = |owner: &Owner| match owner.state {
        "running" => format!("{} (pid {})", owner.name, owner.pid),
        state => format!("{} (pid {}, {state})", owner.name, owner.pid),
    };
    match owners {
        None => "a process that is not known".to_owned(),
        Some([]) => "no process".to_owned(),
        Some(all) => all.iter().map(name).collect::<Vec<_>>().join(", "),
    }
}
