//! The XDP programs and AF_XDP sockets on the interfaces of a network namespace.
//!
//! No single source knows all of it:
//!
//! ```text
//!  route netlink      interface: mode and id of the programs
//!  bpf(2)             program: name, tag, time;  link: program and interface index
//!  socket diagnosis   socket: interface, queue, rings, umem, counters   (CONFIG_XDP_SOCKETS_DIAG)
//!  netdev netlink     queue: an AF_XDP socket is bound to it            (6.15)
//!  /proc              link and socket: which processes hold them
//! ```
//! Each may be missing or forbidden. [`Survey::gaps`] then says what is not known, and why: an empty
//! list beside a gap is not a "none".
//!
//! BPF links of all namespaces are in one list, with an interface index that counts in the namespace
//! of each. A link is taken for that of an interface when index and program are both right; before
//! [`detach`] the kernel is asked whether there is a link at all.

use std::collections::BTreeSet;

use netmem_bpf::{LinkInfo as BpfLink, ProgramInfo, link_ids};

use crate::error::{Cause, Error, Result};
use crate::netlink::{
    LinkInfo, Netdev, Route, SockDiag, XdpAttached, XdpAttachment, XdpMode, XdpSocket,
};
use crate::process::{Depth, Holders, Process, ProcessState};

/// What is known of the interfaces, programs and sockets of a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Survey {
    /// The interfaces that were asked for.
    pub interfaces: Vec<XdpInterface>,
    /// AF_XDP sockets that are bound to no interface or of which the kernel does not tell to which.
    pub unplaced: Vec<HeldSocket>,
    /// What is not known.
    pub gaps: Vec<Gap>,
}

/// An interface and what is on it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct XdpInterface {
    /// Its name.
    pub name: String,
    /// Its index in the namespace.
    pub index: u32,
    /// The attached programs, the first to see packets first.
    pub programs: Vec<XdpProgram>,
    /// The queues that AF_XDP sockets are bound to; `None` if the kernel does not tell.
    pub queues: Option<Vec<u32>>,
    /// The sockets that are known to be bound to it.
    pub sockets: Vec<HeldSocket>,
}

/// An attached XDP program.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct XdpProgram {
    /// Where it runs.
    pub mode: XdpMode,
    /// Its number among the BPF programs of the machine.
    pub id: u32,
    /// More of it, if that may be asked.
    pub info: Option<ProgramInfo>,
    /// What keeps it on the interface.
    pub hold: Hold,
}

/// What keeps a program on an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// A BPF link, and the processes with a descriptor of it.
    Link {
        /// Number among the links of the machine.
        id: u32,
        /// Who holds it; nobody if it is pinned, or if they cannot be seen.
        holders: Vec<Process>,
    },
    /// One of several BPF links, in namespaces that cannot be told apart.
    AmbiguousLink {
        /// Their numbers.
        ids: Vec<u32>,
    },
    /// No link: the program stays until somebody takes it off by route netlink.
    Netlink,
    /// The links could not be listed.
    Unknown,
}

/// Whether anybody still answers for an attached program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// No process holds its link: that is pinned, and whoever pinned it has gone.
    Orphaned,
    /// All processes that hold its link are stopped or defunct.
    Hung,
    /// A process that runs holds its link.
    Alive,
    /// There is no link to hold.
    NoLink,
    /// It cannot be told.
    Unknown,
}

/// An AF_XDP socket and the processes with a descriptor of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldSocket {
    /// Its number.
    pub inode: u32,
    /// What socket diagnosis says of it, where the kernel has that.
    pub info: Option<XdpSocket>,
    /// Who holds it.
    pub holders: Vec<Process>,
}

/// Something that is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// What is not known.
    pub topic: Topic,
    /// Why, in one line.
    pub why: String,
}

/// What a [`Gap`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Topic {
    /// Name, tag and time of programs.
    Programs,
    /// What keeps programs attached.
    Links,
    /// Interface, queue, rings and umem of AF_XDP sockets.
    Sockets,
    /// The queues that AF_XDP sockets are bound to.
    Queues,
    /// Who holds links and sockets.
    Processes,
}

/// Reads everything about one interface, or about all of the calling thread's network namespace.
///
/// Nothing is changed.
///
/// # Errors
/// There is no such interface (`ENODEV`), or interfaces cannot be listed. Other sources that are
/// missing are [`Survey::gaps`].
pub fn survey(interface: Option<&str>) -> Result<Survey> {
    let mut route = Route::open()?;
    let links = match interface {
        Some(name) => vec![route.link(name)?],
        None => route.links()?,
    };
    let mut sources = Sources::read(&links);
    let interfaces: Vec<_> = links.iter().map(|link| sources.interface(link)).collect();
    let unplaced = match interface {
        Some(_) => Vec::new(),
        None => sources.unplaced(),
    };
    let lacks_owner = interfaces.iter().any(XdpInterface::lacks_owner)
        || unplaced.iter().any(|socket| socket.holders.is_empty());
    let is_guessed = interface.is_none() && sources.sockets.is_none();
    // Without owners to miss, only sockets may be missing that nobody else tells of.
    let topic = if lacks_owner { Topic::Processes } else { Topic::Sockets };
    if let Some(why) = sources.holders.gap().filter(|_| lacks_owner || is_guessed) {
        let why = why.to_owned();
        sources.gaps.push(Gap { topic, why });
    }
    Ok(Survey { interfaces, unplaced, gaps: sources.gaps })
}

/// Reads what can be detached from one interface: as [`survey`], and the kernel has been asked what
/// keeps each program attached.
///
/// # Errors
/// There is no such interface (`ENODEV`), or the caller lacks `CAP_NET_ADMIN` (`EPERM`).
pub fn survey_to_detach(name: &str) -> Result<Survey> {
    let mut survey = survey(Some(name))?;
    let mut route = Route::open()?;
    for program in survey.interfaces.iter_mut().flat_map(|interface| &mut interface.programs) {
        let hold = match (route.xdp_attachment(name, program.mode)?, &program.hold) {
            (Some(XdpAttachment::Netlink), _) => Hold::Netlink,
            // A link that came since the list was read.
            (Some(XdpAttachment::Link), Hold::Netlink) => Hold::Unknown,
            _ => continue,
        };
        program.hold = hold;
    }
    Ok(survey)
}

/// Takes a program off its interface, and looks whether it is off. Others of the interface stay.
///
/// # Errors
/// The caller lacks `CAP_SYS_ADMIN` for links or `CAP_NET_ADMIN` otherwise (`EPERM`), the link went
/// meanwhile (`ENOENT`), it cannot be told which of several links it is, or the program is still
/// there.
pub fn detach(interface: &XdpInterface, program: &XdpProgram) -> Result<()> {
    let mut route = Route::open()?;
    let attached = XdpAttached { mode: program.mode, program_id: program.id };
    match &program.hold {
        Hold::Link { id, .. } => netmem_bpf::detach_by_id(*id).map_err(|error| {
            Error::new("detach", format!("link {id} of {}", interface.name), cause(&error))
        })?,
        Hold::Netlink => route.detach_xdp(&interface.name, attached)?,
        Hold::AmbiguousLink { .. } | Hold::Unknown => {
            let why = Cause::Unmet("its link is not known".to_owned());
            return Err(Error::new("detach", format!("program {}", program.id), why));
        }
    }
    if route.link(&interface.name)?.xdp_programs.contains(&attached) {
        let why = Cause::Unmet(format!("still on {}", interface.name));
        return Err(Error::new("detach", format!("program {}", program.id), why));
    }
    Ok(())
}

impl XdpInterface {
    /// Tells whether there is a program, or a queue or socket of AF_XDP.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        let has_queue = self.queues.as_ref().is_some_and(|queues| !queues.is_empty());
        has_queue || !self.programs.is_empty() || !self.sockets.is_empty()
    }

    /// Tells whether something is on it whose holder was not found.
    fn lacks_owner(&self) -> bool {
        let lacks = |program: &XdpProgram| matches!(&program.hold, Hold::Link { holders, .. } if holders.is_empty());
        self.programs.iter().any(lacks) || self.sockets.iter().any(|s| s.holders.is_empty())
    }
}

impl Survey {
    /// Returns the first gap of that topic.
    #[must_use]
    pub fn gap(&self, topic: Topic) -> Option<&Gap> {
        self.gaps.iter().find(|gap| gap.topic == topic)
    }
}

impl Hold {
    /// Judges whether anybody still answers for the program. `blind` says why not all processes were
    /// seen, if so: then nobody seen is not nobody.
    #[must_use]
    pub fn claim(&self, blind: Option<&Gap>) -> Claim {
        match self {
            Self::Netlink => Claim::NoLink,
            Self::AmbiguousLink { .. } | Self::Unknown => Claim::Unknown,
            Self::Link { holders, .. } if holders.is_empty() => match blind {
                Some(_) => Claim::Unknown,
                None => Claim::Orphaned,
            },
            Self::Link { holders, .. } => {
                let runs = |process: &Process| process.state == ProcessState::Running;
                if holders.iter().any(runs) { Claim::Alive } else { Claim::Hung }
            }
        }
    }
}

/// All but route netlink, read once.
struct Sources {
    /// The XDP links of all namespaces.
    links: Option<Vec<BpfLink>>,
    sockets: Option<Vec<XdpSocket>>,
    /// Interface index and queue.
    queues: Option<BTreeSet<(u32, u32)>>,
    holders: Holders,
    gaps: Vec<Gap>,
}

impl Sources {
    fn read(interfaces: &[LinkInfo]) -> Self {
        let mut gaps = Vec::new();
        let has_programs = interfaces.iter().any(|link| !link.xdp_programs.is_empty());
        let links = match xdp_links() {
            Ok(links) => Some(links),
            Err(error) => {
                if has_programs {
                    gaps.push(Gap { topic: Topic::Links, why: with_hint(&error) });
                }
                None
            }
        };
        let sockets = match SockDiag::open().and_then(|mut diag| diag.xdp_sockets()) {
            Ok(sockets) => Some(sockets),
            Err(error) => {
                let option = "a kernel with CONFIG_XDP_SOCKETS_DIAG would tell";
                gaps.push(Gap { topic: Topic::Sockets, why: format!("{error}; {option}") });
                None
            }
        };
        // Socket diagnosis says the same and more.
        let queues = match if sockets.is_some() { Ok(BTreeSet::new()) } else { queues() } {
            Ok(queues) => Some(queues),
            Err(why) => {
                gaps.push(Gap { topic: Topic::Queues, why });
                None
            }
        };
        let mut holders = Holders::scan(Depth::Processes);
        let is_seen = |link: &BpfLink| !holders.of_link(link.id).is_empty();
        if links.iter().flatten().any(|link| link.is_attached() && !is_seen(link)) {
            holders = Holders::scan(Depth::Threads);
        }
        Self { links, sockets, queues, holders, gaps }
    }

    fn interface(&mut self, link: &LinkInfo) -> XdpInterface {
        let programs = link.xdp_programs.iter().map(|&attached| self.program(link, attached));
        let programs = programs.collect();
        let bound = self.sockets.iter().flatten().filter(|socket| socket.ifindex == link.index);
        let bound: Vec<_> = bound.cloned().collect();
        let queues = match (&self.sockets, &self.queues) {
            (Some(_), _) => Some(bound.iter().map(|socket| socket.queue).collect()),
            // An interface that is down tells nothing.
            (None, Some(queues)) if link.flags.up => {
                let of_link = queues.range((link.index, 0)..=(link.index, u32::MAX));
                Some(of_link.map(|&(_, queue)| queue).collect::<BTreeSet<_>>())
            }
            _ => None,
        };
        XdpInterface {
            name: link.name.clone(),
            index: link.index,
            programs,
            queues: queues.map(|queues| queues.into_iter().collect()),
            sockets: bound
                .into_iter()
                .map(|socket| self.held(socket.inode, Some(socket)))
                .collect(),
        }
    }

    fn program(&mut self, link: &LinkInfo, attached: XdpAttached) -> XdpProgram {
        let id = attached.program_id;
        let info = match ProgramInfo::by_id(id) {
            Ok(info) => Some(info),
            Err(error) => {
                self.gaps.push(Gap { topic: Topic::Programs, why: with_hint(&error) });
                None
            }
        };
        let hold = match &self.links {
            None => Hold::Unknown,
            Some(links) => hold(links, link.index, id, &self.holders),
        };
        XdpProgram { mode: attached.mode, id, info, hold }
    }

    fn unplaced(&self) -> Vec<HeldSocket> {
        match &self.sockets {
            None => self.holders.sockets().map(|inode| self.held(inode, None)).collect(),
            Some(sockets) => {
                let unbound = sockets.iter().filter(|socket| socket.ifindex == 0).cloned();
                unbound.map(|socket| self.held(socket.inode, Some(socket))).collect()
            }
        }
    }

    fn held(&self, inode: u32, info: Option<XdpSocket>) -> HeldSocket {
        HeldSocket { inode, info, holders: self.holders.of_socket(inode) }
    }
}

/// Finds the link that leads to an interface and has its program.
fn hold(links: &[BpfLink], ifindex: u32, program_id: u32, holders: &Holders) -> Hold {
    let fits = |link: &&BpfLink| {
        link.is_attached() && (link.ifindex, link.program_id) == (ifindex, program_id)
    };
    let ids: Vec<_> = links.iter().filter(fits).map(|link| link.id).collect();
    match ids[..] {
        [] => Hold::Netlink,
        [id] => Hold::Link { id, holders: holders.of_link(id) },
        _ => Hold::AmbiguousLink { ids },
    }
}

/// Reads the attached links of type XDP.
fn xdp_links() -> std::result::Result<Vec<BpfLink>, netmem_bpf::Error> {
    let mut links = Vec::new();
    for id in link_ids()? {
        match BpfLink::by_id(id) {
            Ok(link) => links.extend(Some(link).filter(BpfLink::is_attached)),
            Err(error) if error.errno() == Some(nix::libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(links)
}

/// Reads the queues that AF_XDP sockets are bound to, or says why that is not known.
fn queues() -> std::result::Result<BTreeSet<(u32, u32)>, String> {
    let all = Netdev::open().and_then(|mut netdev| netdev.queues()).map_err(|e| e.to_string())?;
    let bound = all.iter().filter(|queue| queue.is_xdp_socket);
    let bound: BTreeSet<_> = bound.map(|queue| (queue.ifindex, queue.id)).collect();
    // None bound, or a kernel that does not say so.
    if bound.is_empty() && Netdev::tells_xdp_sockets() != Some(true) {
        return Err("kernels before 6.15 do not tell which queues AF_XDP sockets use".to_owned());
    }
    Ok(bound)
}

fn cause(error: &netmem_bpf::Error) -> Cause {
    match error.errno() {
        Some(errno) => Cause::Kernel { errno, explanation: None },
        None => Cause::Malformed(error.to_string()),
    }
}

fn with_hint(error: &netmem_bpf::Error) -> String {
    match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(states: &[ProcessState]) -> Hold {
        let process = |&state| Process { pid: 7, name: "owner".to_owned(), state };
        Hold::Link { id: 3, holders: states.iter().map(process).collect() }
    }

    #[test]
    fn a_program_is_claimed_while_one_of_its_holders_can_act() {
        use ProcessState::{Defunct, Running, Stopped};
        let blind = Gap { topic: Topic::Processes, why: "hidden".to_owned() };
        assert_eq!(link(&[Running]).claim(None), Claim::Alive);
        assert_eq!(link(&[Stopped, Running]).claim(None), Claim::Alive);
        assert_eq!(link(&[Stopped, Defunct]).claim(None), Claim::Hung);
        assert_eq!(link(&[Defunct]).claim(Some(&blind)), Claim::Hung);
        assert_eq!(link(&[]).claim(None), Claim::Orphaned);
        assert_eq!(link(&[]).claim(Some(&blind)), Claim::Unknown, "nobody seen is not nobody");
        assert_eq!(Hold::Netlink.claim(None), Claim::NoLink);
        assert_eq!(Hold::Unknown.claim(None), Claim::Unknown);
        assert_eq!(Hold::AmbiguousLink { ids: vec![1, 2] }.claim(None), Claim::Unknown);
    }
}
