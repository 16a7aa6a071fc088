//! The AF_XDP sockets of another process, looked at without its help.
//!
//! ```text
//!   /proc/PID/fd -> socket:[N]   pidfd_getfd(2) -> a descriptor of the same socket, for a moment
//!                                  XDP_MMAP_OFFSETS, XDP_OPTIONS, XDP_STATISTICS, SO_NETNS_COOKIE
//!                                  each ring mapped, indices read, unmapped
//! ```
//! A descriptor or a mapping of ours keeps the socket, and with it the queue (D5): both are gone before the
//! next socket is looked at, whatever fails. The process's own threads are not stopped, so indices are of
//! one moment each, and the four rings of four.
//!
//! Kernel: pidfd_getfd 5.6. Needs ptrace access to the process (`CAP_SYS_PTRACE`).

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::fstat,
    net::{AddressFamily, sockopt, xdp::XdpOptionsFlags},
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};
use serde::Serialize;

use super::{
    queues::{Bindings, Place},
    rings::{Entries, Indices, Ring},
    smaps::Mapping,
};
use crate::{
    netlink::XdpSocket,
    source::{Reading, Unavailable, or_null},
    sys::{ForeignRing, netns_cookie},
};

/// Looks at a pair of indices until neither moved in between.
const LOOKS: u32 = 16;
/// Entries of a fill ring that are read.
const ENTRIES_READ_MAX: u32 = 1 << 16;
/// The part of a fill ring's entry that is an offset into the UMEM; the rest is used in unaligned mode only.
const ADDRESS_MASK: u64 = (1 << 48) - 1;

/// An AF_XDP socket that a process holds or has mapped.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Socket {
    /// Its number, as in `socket:[123]`.
    pub inode: u64,
    /// The process's descriptors of it.
    pub descriptors: Vec<i32>,
    /// The network namespace that it was opened in, by a number that is never used twice; kernel 5.14.
    pub netns_cookie: Option<u64>,
    /// Whether the driver uses the UMEM without copying; `null` if the kernel did not tell.
    pub zero_copy: Option<bool>,
    /// Interface and queue.
    pub place: Place,
    /// Its rings, as far as they are there.
    pub rings: Vec<RingLook>,
    /// The kernel's counters.
    #[serde(serialize_with = "or_null")]
    pub statistics: Reading<Statistics>,
    /// Bytes of UMEM that the entries of its fill ring reach at least.
    pub umem_reach_bytes: Option<u64>,
    /// The length of its UMEM, where the kernel tells.
    pub umem_bytes: Option<u64>,
}

/// A ring at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RingLook {
    /// Which one.
    pub ring: Ring,
    /// Where the process has it mapped; `null` if it has not, and only holds the socket.
    #[serde(serialize_with = "hex_or_null")]
    pub mapping: Option<u64>,
    /// How many entries it has.
    pub entries: Option<Entries>,
    /// Its indices, if they could be read.
    pub indices: Option<Indices>,
    /// How many entries were made and not taken; at most the number of entries.
    pub level: Option<u32>,
    /// Whether indices and level were true together: else the ring moved at every look.
    pub of_one_moment: bool,
    /// Whether the kernel wants to be woken for it (`XDP_RING_NEED_WAKEUP`).
    pub needs_wakeup: Option<bool>,
}

/// The kernel's own counters of an AF_XDP socket: `struct xdp_statistics`; the last three since 5.9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names are the kernel's")]
pub struct Statistics {
    pub rx_dropped: u64,
    pub rx_invalid_descs: u64,
    pub tx_invalid_descs: u64,
    pub rx_ring_full: Option<u64>,
    pub rx_fill_ring_empty_descs: Option<u64>,
    pub tx_ring_empty_descs: Option<u64>,
}

/// What one look at a socket gave.
struct Look {
    zero_copy: Option<bool>,
    rings: Vec<RingLook>,
    statistics: Reading<Statistics>,
    umem_reach_bytes: Option<u64>,
    /// The network namespace that it was opened in.
    cookie: Option<u64>,
}

/// Looks at the sockets with these numbers and descriptors. What cannot be had goes to `not_known`.
pub(super) fn look(
    pid: u32,
    sockets: &BTreeMap<u64, Vec<i32>>,
    mappings: &[Mapping],
    bindings: &Reading<Bindings>,
    not_known: &mut Vec<Unavailable>,
) -> Vec<Socket> {
    if sockets.is_empty() {
        return Vec::new();
    }
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let opened = process.map(|pid| pidfd_open(pid, PidfdFlags::empty()));
    let source = format!("pidfd of process {pid}");
    let pidfd = match opened {
        Some(Ok(pidfd)) => Ok(pidfd),
        Some(Err(error)) => Err(Unavailable::by_errno(source, error.raw_os_error())),
        None => Err(Unavailable::stale(source, "there is no such process")),
    };
    let mut looks = Vec::new();
    for (&inode, descriptors) in sockets {
        let of_socket = Mapped { inode, mappings };
        let look = pidfd.as_ref().map_err(Clone::clone).and_then(|pidfd| {
            let fd = one_of(pidfd.as_fd(), pid, (AddressFamily::XDP, inode), descriptors)?;
            Ok(Look::at(fd.as_fd(), &of_socket))
        });
        looks.push((
            inode,
            descriptors.clone(),
            look.unwrap_or_else(|unavailable| {
                not_known.push(unavailable.clone());
                Look::from_outside(&of_socket, unavailable)
            }),
        ));
    }
    if let Err(unavailable) = bindings {
        not_known.push(unavailable.clone());
    }
    looks
        .into_iter()
        .map(|(inode, descriptors, look)| {
            let place = match bindings {
                Ok(bindings) => bindings.place(inode, look.cookie),
                Err(unavailable) => Place::NotKnown { why: unavailable.reason.clone() },
            };
            let known = bindings.as_ref().ok().and_then(|bindings| bindings.diagnosed(inode));
            let mut rings = look.rings;
            for ring in &mut rings {
                ring.learn(known);
            }
            Socket {
                inode,
                descriptors,
                netns_cookie: look.cookie,
                zero_copy: look.zero_copy,
                place,
                rings,
                statistics: look.statistics,
                umem_reach_bytes: look.umem_reach_bytes,
                umem_bytes: known.and_then(|known| known.umem).map(|umem| umem.len_bytes),
            }
        })
        .collect()
}

/// What the mappings of a recorded process tell of its sockets.
pub(super) fn recorded(sockets: &BTreeMap<u64, Vec<i32>>, mappings: &[Mapping]) -> Vec<Socket> {
    let unavailable = || Unavailable::absent("AF_XDP socket", "a recorded process has none to ask");
    let socket = |(&inode, descriptors): (&u64, &Vec<i32>)| Socket {
        inode,
        descriptors: descriptors.clone(),
        netns_cookie: None,
        zero_copy: None,
        place: Place::NotKnown { why: unavailable().reason },
        rings: Look::rings_from_outside(&Mapped { inode, mappings }),
        statistics: Err(unavailable()),
        umem_reach_bytes: None,
        umem_bytes: None,
    };
    sockets.iter().map(socket).collect()
}

/// A descriptor of ours for a process's socket of that family and number, if one of its descriptors still
/// is it.
pub(super) fn duplicate(
    pid: Pid,
    socket: (AddressFamily, u64),
    descriptors: &[i32],
) -> Reading<OwnedFd> {
    let number = pid.as_raw_pid().unsigned_abs();
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| {
        Unavailable::by_errno(format!("pidfd of process {number}"), error.raw_os_error())
    })?;
    one_of(pidfd.as_fd(), number, socket, descriptors)
}

/// One of the descriptors, as a descriptor of ours.
fn one_of(
    pidfd: BorrowedFd<'_>,
    pid: u32,
    (family, inode): (AddressFamily, u64),
    descriptors: &[i32],
) -> Reading<OwnedFd> {
    let source = || format!("pidfd_getfd of socket:[{inode}] of process {pid}");
    let mut last =
        Unavailable::absent(source(), "the process has it mapped, and no descriptor of it");
    for &number in descriptors {
        match pidfd_getfd(pidfd, number, PidfdGetfdFlags::empty()) {
            Ok(fd) => {
                // The process may have closed it and opened something else.
                let is_same = fstat(&fd).is_ok_and(|about| about.st_ino == inode);
                if is_same && sockopt::socket_domain(&fd) == Ok(family) {
                    return Ok(fd);
                }
                last = Unavailable::stale(source(), "the descriptor is something else by now");
            }
            Err(error) => last = Unavailable::by_errno(source(), error.raw_os_error()),
        }
    }
    Err(last)
}

/// Where the process has a socket's rings.
struct Mapped<'a> {
    inode: u64,
    mappings: &'a [Mapping],
}

impl Mapped<'_> {
    fn ring(&self, ring: Ring) -> Option<&Mapping> {
        let mut mappings = self.mappings.iter();
        mappings.find(|m| m.socket() == Some(self.inode) && m.offset == ring.offset())
    }
}

impl Look {
    fn at(fd: BorrowedFd<'_>, mapped: &Mapped<'_>) -> Self {
        let source = format!("XDP_STATISTICS of socket:[{}]", mapped.inode);
        let statistics = sockopt::xdp_statistics(fd)
            .map(|s| Statistics {
                rx_dropped: s.rx_dropped,
                rx_invalid_descs: s.rx_invalid_descs,
                tx_invalid_descs: s.tx_invalid_descs,
                rx_ring_full: s.rx_ring_full,
                rx_fill_ring_empty_descs: s.rx_fill_ring_empty_descs,
                tx_ring_empty_descs: s.tx_ring_empty_descs,
            })
            .map_err(|error| Unavailable::by_errno(source, error.raw_os_error()));
        let mut umem_reach_bytes = None;
        let rings = match sockopt::xdp_mmap_offsets(fd) {
            Ok(offsets) => {
                let of = |ring| match ring {
                    Ring::Rx => &offsets.rx,
                    Ring::Tx => &offsets.tx,
                    Ring::Fill => &offsets.fr,
                    Ring::Completion => &offsets.cr,
                };
                let look = |ring| RingLook::at(fd, ring, of(ring), mapped, &mut umem_reach_bytes);
                Ring::ALL.into_iter().filter_map(look).collect()
            }
            Err(_) => Self::rings_from_outside(mapped),
        };
        let options = sockopt::xdp_options(fd).ok();
        Self {
            zero_copy: options.map(|o| o.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY)),
            rings,
            statistics,
            umem_reach_bytes,
            cookie: netns_cookie(fd).ok(),
        }
    }

    /// What the mappings alone tell.
    fn from_outside(mapped: &Mapped<'_>, unavailable: Unavailable) -> Self {
        Self {
            zero_copy: None,
            rings: Self::rings_from_outside(mapped),
            statistics: Err(unavailable),
            umem_reach_bytes: None,
            cookie: None,
        }
    }

    fn rings_from_outside(mapped: &Mapped<'_>) -> Vec<RingLook> {
        let look = |ring: Ring| mapped.ring(ring).map(|mapping| RingLook::mapped(ring, mapping));
        Ring::ALL.into_iter().filter_map(look).collect()
    }
}

impl RingLook {
    /// What a mapping's length tells.
    pub(super) fn mapped(ring: Ring, mapping: &Mapping) -> Self {
        let page_bytes = rustix::param::page_size() as u64;
        let offset = super::rings::ENTRIES_OFFSET_BYTES;
        Self {
            ring,
            mapping: Some(mapping.start),
            entries: ring.entries(mapping.len_bytes(), offset, page_bytes),
            indices: None,
            level: None,
            of_one_moment: false,
            needs_wakeup: None,
        }
    }

    /// Maps a ring of the socket, reads it, and unmaps it; nothing if the socket has no such ring.
    fn at(
        fd: BorrowedFd<'_>,
        ring: Ring,
        offsets: &rustix::net::xdp::XdpRingOffset,
        mapped: &Mapped<'_>,
        umem_reach_bytes: &mut Option<u64>,
    ) -> Option<Self> {
        let page_bytes = rustix::param::page_size();
        let mapping = mapped.ring(ring);
        let entries =
            mapping.and_then(|m| ring.entries(m.len_bytes(), offsets.desc, page_bytes as u64));
        let len_bytes = mapping.map_or(page_bytes as u64, Mapping::len_bytes);
        let foreign = ForeignRing::map(fd, ring.offset(), usize::try_from(len_bytes).ok()?).ok();
        let Some(foreign) = foreign else {
            return mapping.map(|mapping| Self::mapped(ring, mapping));
        };
        let word = |offset: u64| foreign.load_u32(usize::try_from(offset).ok()?);
        let read = Indices::read(LOOKS, || word(offsets.consumer), || word(offsets.producer));
        let flags = offsets.flags.and_then(word);
        if let (Ring::Fill, Some(entries)) = (ring, entries) {
            *umem_reach_bytes = reach(&foreign, offsets.desc, entries);
        }
        let most = entries.map_or(u32::MAX, Entries::most);
        Some(Self {
            ring,
            mapping: mapping.map(|mapping| mapping.start),
            entries,
            indices: read.map(|(indices, _)| indices),
            level: read.map(|(indices, _)| indices.level().min(most)),
            of_one_moment: read.is_some_and(|(indices, exact)| exact && indices.level() <= most),
            needs_wakeup: flags.map(|flags| flags & 1 != 0),
        })
    }

    /// Takes the number of entries that the kernel tells, where the length does not.
    fn learn(&mut self, known: Option<&XdpSocket>) {
        let Some(known) = known else { return };
        let told = match self.ring {
            Ring::Rx => known.rx_ring,
            Ring::Tx => known.tx_ring,
            Ring::Fill => known.fill_ring,
            Ring::Completion => known.completion_ring,
        };
        if let Some(told) = told {
            self.entries = Some(Entries::Exactly(told));
        }
    }
}

/// So long is a UMEM at least, by the greatest offset that stands in its fill ring.
fn reach(ring: &ForeignRing, entries_offset_bytes: u64, entries: Entries) -> Option<u64> {
    let first = usize::try_from(entries_offset_bytes).ok()?;
    let count = entries.most().min(ENTRIES_READ_MAX) as usize;
    let addresses = (0..count).filter_map(|at| ring.load_u64(first + at * 8));
    addresses.map(|address| (address & ADDRESS_MASK) + 1).max().filter(|reach| *reach > 1)
}

#[allow(clippy::ref_option, reason = "serde hands over a reference to the field")]
fn hex_or_null<S: serde::Serializer>(
    address: &Option<u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match address {
        Some(address) => super::smaps::hex(address, serializer),
        None => serializer.serialize_none(),
    }
}
