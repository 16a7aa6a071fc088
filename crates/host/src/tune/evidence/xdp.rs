//! AF_XDP sockets: what they lost, beside the rings that it depends on, and the memory that their packets
//! are in, beside what their processes may lock.
//!
//! ```text
//!   sample: counters, rings, owners          socket diagnosis: UMEM      else a guess by the address space
//!   /proc/PID/status  Uid, CapEff            /proc/PID/limits  Max locked memory
//!   ethtool: the device's rx ring            of zero-copy sockets, in the namespace that is looked at
//! ```
//! The kernel counts a UMEM against its user's locked memory when it is registered, unless the process has
//! `CAP_IPC_LOCK` then, and compares the sum of all of the user's with that process's limit
//! (`xdp_umem_account_pages` in net/xdp/xdp_umem.c, kernel 6.18). No file tells that sum. Here it is that of
//! the sockets in the namespace that is looked at.

use std::collections::BTreeMap;

use super::{UmemHolder, XdpLoss};
use crate::maps::{self, Certainty, Entries, Kind, Ring};
use crate::netlink::Ethtool;
use crate::proc::Limits;
use crate::process::Identity;
use crate::sample::{NamespaceSample, XdpGrowth, XdpSocketSample};
use crate::source::{Reading, Root, Unavailable, read_with};

/// More processes than that are not looked into: each look reads all of an address space.
const PROCESSES_MAX: usize = 8;
const CAP_IPC_LOCK: u32 = 14;

/// What is told of all sockets.
#[derive(Debug, Default)]
pub(super) struct XdpSeen {
    pub(super) lost: Vec<XdpLoss>,
    pub(super) holders: Vec<UmemHolder>,
    pub(super) not_known: Vec<String>,
}

/// What one process says of itself, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    label: String,
    uid: u32,
    is_exempt: bool,
    locked_limit_bytes: Option<u64>,
    umem: Umem,
}

/// The UMEMs of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Umem {
    bytes: u64,
    /// Of them, in small pages.
    small_page_bytes: u64,
    is_guess: bool,
    /// Their lengths by the kernel's number of each, where socket diagnosis tells.
    listed: BTreeMap<u32, u64>,
}

/// Looks, in the calling thread's network namespace.
pub(super) fn look(root: &Root, now: &NamespaceSample, grown: &[XdpGrowth]) -> XdpSeen {
    let sockets = &now.xdp_sockets.all;
    let mut ethtool = None;
    // A driver without rings says so, or nothing.
    let rings = |device: &str| {
        let ethtool = ethtool.get_or_insert_with(Ethtool::open).as_mut().ok()?;
        ethtool.rings(device).ok().map(|rings| rings.now.rx)
    };
    let mut seen = XdpSeen { lost: losses(now, grown, rings), ..XdpSeen::default() };
    let pids: BTreeMap<u32, Vec<&XdpSocketSample>> = by_process(sockets);
    let mut processes = Vec::new();
    for (at, (pid, sockets)) in pids.iter().enumerate() {
        let process = match at < PROCESSES_MAX {
            true => Process::read(root, *pid, sockets),
            false => Err(Unavailable::absent("UMEM", "too many processes have AF_XDP sockets")),
        };
        match process {
            Ok(process) => processes.push(process),
            Err(why) => seen.not_known.push(format!("UMEM of process {pid}: {why}")),
        }
    }
    seen.holders = holders(&processes);
    seen
}

fn by_process(sockets: &[XdpSocketSample]) -> BTreeMap<u32, Vec<&XdpSocketSample>> {
    let mut pids: BTreeMap<u32, Vec<&XdpSocketSample>> = BTreeMap::new();
    for socket in sockets {
        for owner in &socket.owners {
            pids.entry(owner.pid).or_default().push(socket);
        }
    }
    pids
}

/// Sockets that lost packets, with their rings and the device's, of which `rings` tells the entries.
fn losses(
    now: &NamespaceSample,
    grown: &[XdpGrowth],
    mut rings: impl FnMut(&str) -> Option<u32>,
) -> Vec<XdpLoss> {
    let lost = grown.iter().filter_map(|grown| {
        let (rx_ring_full, fill_ring_empty) =
            (grown.rx_ring_full.unwrap_or(0), grown.rx_fill_ring_empty_descs.unwrap_or(0));
        if rx_ring_full == 0 && fill_ring_empty == 0 {
            return None;
        }
        let socket = now.xdp_sockets.all.iter().find(|socket| socket.inode == grown.inode)?;
        let entries = |ring| socket.ring(ring)?.entries;
        let umem = socket.listed.as_ref().and_then(|listed| listed.umem.as_ref());
        let frames = umem.and_then(|umem| umem.len_bytes.checked_div(umem.chunk_bytes.into()));
        let device = socket.bound().map(|(ifindex, _)| now.link_name(ifindex));
        // A driver that copies has none of the frames in its ring.
        let receiving = device.as_deref().filter(|_| socket.is_zero_copy() == Some(true));
        let device_ring = receiving.and_then(&mut rings);
        Some(XdpLoss {
            inode: grown.inode,
            rx_ring_full,
            fill_ring_empty,
            rx_ring_at_least: entries(Ring::Rx).map(|entries| match entries {
                Entries::Exactly(count) => count,
                Entries::AtMost(_) => 1,
            }),
            fill_ring_at_most: entries(Ring::Fill).map(|entries| match entries {
                Entries::Exactly(count) | Entries::AtMost(count) => count,
            }),
            device,
            device_ring: device_ring.filter(|entries| *entries > 0),
            frames,
        })
    });
    lost.collect()
}

/// Joins processes with what those of the same user hold.
fn holders(processes: &[Process]) -> Vec<UmemHolder> {
    let charged = |uid: u32| {
        let of_user = processes.iter().filter(|process| process.uid == uid && !process.is_exempt);
        let (listed, others): (Vec<_>, Vec<_>) =
            of_user.map(|process| &process.umem).partition(|umem| !umem.listed.is_empty());
        // Several processes may hold one.
        let by_id: BTreeMap<u32, u64> =
            listed.iter().flat_map(|umem| &umem.listed).map(|(id, bytes)| (*id, *bytes)).collect();
        let others = others.iter().map(|umem| umem.bytes);
        by_id.into_values().chain(others).fold(0, u64::saturating_add)
    };
    let holding = processes.iter().filter(|process| process.umem.bytes > 0);
    let holders = holding.map(|process| UmemHolder {
        label: process.label.clone(),
        umem_bytes: process.umem.bytes,
        small_page_bytes: process.umem.small_page_bytes,
        is_guess: process.umem.is_guess,
        user_umem_bytes: charged(process.uid),
        locked_limit_bytes: process.locked_limit_bytes.filter(|_| !process.is_exempt),
    });
    holders.collect()
}

impl Process {
    fn read(root: &Root, pid: u32, sockets: &[&XdpSocketSample]) -> Reading<Self> {
        let name = Identity::read(root, pid)?.name;
        let status = root.proc(pid.to_string()).join("status");
        let (uid, capabilities) = read_with(&status, parse_status)?;
        Ok(Self {
            label: format!("{name} {pid}"),
            uid,
            is_exempt: capabilities & (1 << CAP_IPC_LOCK) != 0,
            locked_limit_bytes: Limits::read(root, Some(pid))?.locked_bytes.soft,
            umem: Umem::read(root, pid, sockets)?,
        })
    }
}

impl Umem {
    /// By what socket diagnosis tells of each, else by the mappings that are taken for UMEMs.
    fn read(root: &Root, pid: u32, sockets: &[&XdpSocketSample]) -> Reading<Self> {
        let space = maps::look(root, pid)?;
        let mut umem = Self::default();
        for area in space.mappings.iter().filter(|area| area.class.kind == Kind::Umem) {
            let (bytes, usage) = (area.mapping.len_bytes(), &area.mapping.usage);
            let huge = match area.mapping.is_hugetlb() {
                true => bytes,
                false => usage.transparent_huge_bytes.unwrap_or(0),
            };
            umem.bytes = umem.bytes.saturating_add(bytes);
            umem.small_page_bytes += bytes.saturating_sub(huge);
            umem.is_guess |= area.class.certainty == Certainty::Likely;
        }
        // Who holds a socket and has no ring of it mapped keeps it for somebody else. Sockets may share one.
        let listed = sockets.iter().map(|socket| socket.listed.as_ref());
        let listed: Option<Vec<_>> = listed.collect();
        if let Some(listed) = listed.filter(|_| umem.bytes > 0) {
            let told = listed.iter().filter_map(|socket| socket.umem.as_ref());
            let told: BTreeMap<u32, u64> = told.map(|umem| (umem.id, umem.len_bytes)).collect();
            let bytes = told.values().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes));
            umem.is_guess &= umem.bytes != bytes;
            umem.bytes = bytes;
            umem.small_page_bytes = umem.small_page_bytes.min(umem.bytes);
            umem.listed = told;
        }
        Ok(umem)
    }
}

/// The real user and the effective capabilities.
fn parse_status(bytes: &[u8]) -> Option<(u32, u64)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()
    };
    Some((field("Uid:")?.parse().ok()?, u64::from_str_radix(field("CapEff:")?, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{Umem as ListedUmem, XdpSocket};
    use crate::sample::{NamespaceChoice, Sampler};

    /// Has failed with: each process's own memory for its user's; those with the capability counted.
    #[test]
    fn the_memory_of_a_user_counts_together() {
        let process = |label: &str, uid, is_exempt, bytes| Process {
            label: label.to_owned(),
            uid,
            is_exempt,
            locked_limit_bytes: Some(8 << 20),
            umem: Umem { bytes, small_page_bytes: bytes / 2, is_guess: true, ..Umem::default() },
        };
        let all = [
            process("a", 1000, false, 3),
            process("b", 1000, true, 5),
            process("c", 1000, false, 7),
            process("d", 1001, false, 9),
            process("e", 1001, false, 0),
        ];
        let holders = holders(&all);
        let told: Vec<_> = holders
            .iter()
            .map(|it| (it.label.as_str(), it.umem_bytes, it.user_umem_bytes, it.locked_limit_bytes))
            .collect();
        let limit = Some(8 << 20);
        assert_eq!(
            told,
            [("a", 3, 10, limit), ("b", 5, 10, None), ("c", 7, 10, limit), ("d", 9, 9, limit)]
        );
        assert_eq!((holders[0].small_page_bytes, holders[0].is_guess), (1, true));
    }

    /// Has failed with: a UMEM with an id counted twice.
    #[test]
    fn a_umem_of_several_processes_counts_once_for_their_user() {
        let process = |listed: &[(u32, u64)], bytes| Process {
            label: "x".to_owned(),
            uid: 1000,
            is_exempt: false,
            locked_limit_bytes: None,
            umem: Umem { bytes, listed: listed.iter().copied().collect(), ..Umem::default() },
        };
        let all = [process(&[(4, 10)], 10), process(&[(4, 10), (5, 1)], 11), process(&[], 100)];
        let holders = holders(&all);
        let told: Vec<_> = holders.iter().map(|it| (it.umem_bytes, it.user_umem_bytes)).collect();
        assert_eq!(told, [(10, 111), (11, 111), (100, 111)]);
    }

    /// What is told of a socket that lost packets on an interface, and whose rings were asked for.
    fn lost(is_zero_copy: Option<bool>, ifindex: u32, ring: Option<u32>) -> (XdpLoss, Vec<String>) {
        let fixtures = format!("{}/tests/fixtures/6.18", env!("CARGO_MANIFEST_DIR"));
        let sample = Sampler::new(Root::at(fixtures), NamespaceChoice::Own, 0).sample().unwrap();
        let mut now = sample.namespaces.into_iter().next().unwrap();
        let umem = is_zero_copy.map(|is_zero_copy| ListedUmem {
            len_bytes: 8 << 20,
            chunk_bytes: 2048,
            is_zero_copy,
            ..ListedUmem::default()
        });
        let listed = XdpSocket { ifindex, umem, rx_ring: Some(512), ..XdpSocket::default() };
        now.xdp_sockets.all = vec![XdpSocketSample {
            inode: 5,
            owners: Vec::new(),
            listed: Some(listed),
            look: Err(Unavailable::absent("socket:[5]", "x")),
        }];
        let grown = XdpGrowth {
            inode: 5,
            rx_dropped: None,
            rx_invalid_descs: None,
            rx_ring_full: None,
            rx_fill_ring_empty_descs: Some(3),
            tx_invalid_descs: None,
            tx_ring_empty_descs: None,
        };
        let mut asked = Vec::new();
        let mut all = losses(&now, &[grown], |device| {
            asked.push(device.to_owned());
            ring
        });
        assert_eq!(all.len(), 1);
        (all.remove(0), asked)
    }

    /// Has failed with: every driver asked for its ring; one of which nothing is known; one that copies in place
    /// of one that does not; a ring of 0 entries told.
    #[test]
    fn only_a_driver_that_does_not_copy_holds_frames_in_its_ring() {
        let (zero_copy, asked) = lost(Some(true), 1, Some(256));
        let device = zero_copy.device.unwrap();
        assert_eq!((zero_copy.device_ring, asked), (Some(256), vec![device.clone()]));
        assert_eq!((zero_copy.rx_ring_at_least, zero_copy.frames), (Some(512), Some(4096)));
        assert_eq!(lost(Some(true), 1, Some(0)).0.device_ring, None, "a device without one");
        assert_eq!(lost(Some(true), 1, None).0.device_ring, None);
        for is_zero_copy in [Some(false), None] {
            let (copied, asked) = lost(is_zero_copy, 1, Some(256));
            assert_eq!((copied.device_ring, asked), (None, vec![]), "{is_zero_copy:?}");
            assert_eq!(copied.device, Some(device.clone()));
        }
        let (unbound, asked) = lost(Some(true), 0, Some(256));
        assert_eq!((unbound.device, unbound.device_ring, asked), (None, None, vec![]));
    }

    #[test]
    fn user_and_capabilities_are_read() {
        let status = b"Name:\tx\nUid:\t1000\t0\t0\t0\nCapEff:\t0000000000004000\n";
        assert_eq!(parse_status(status), Some((1000, 1 << CAP_IPC_LOCK)));
        for text in ["", "Uid:\t1\n", "Uid:\tx\nCapEff:\t0\n", "Uid:\t1\nCapEff:\tz\n"] {
            assert_eq!(parse_status(text.as_bytes()), None, "{text}");
        }
    }
}
