//! What the network namespace tells of sockets: which queue an AF_XDP socket is bound to, and the geometry
//! of packet rings.
//!
//! The kernel tells the queue by socket diagnosis only (`CONFIG_XDP_SOCKETS_DIAG`). Without that, one queue in use
//! and one AF_XDP socket in the network namespace belong together; otherwise the queues in use are
//! candidates, and nothing is claimed. The number of sockets is the kernel's own
//! (`/proc/net/protocols`), so sockets that nobody can see count as well.
//!
//! Kernel: queues in use 6.15; `CAP_SYS_ADMIN` to look into another namespace.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::{fd::AsFd, unix::net::UnixDatagram},
};

use serde::Serialize;

use super::sockets::Socket;
use crate::{
    lab::NetNs,
    netlink::{Netdev, PacketSocket, Route, SockDiag, XdpSocket},
    source::{self, Reading, Root, Unavailable},
    sys::netns_cookie,
};

/// Where a socket is bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Place {
    /// To this queue.
    Bound {
        /// The queue.
        queue: QueueName,
        /// How that is known.
        proof: &'static str,
    },
    /// To one of these queues, which AF_XDP sockets of its network namespace use, or to none.
    Candidates {
        /// The queues.
        queues: Vec<QueueName>,
    },
    /// To none.
    Unbound,
    /// Not known.
    NotKnown {
        /// Why.
        why: String,
    },
}

/// A queue of an interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct QueueName {
    /// The interface's name in the socket's network namespace.
    pub interface: String,
    /// Its index there.
    pub ifindex: u32,
    /// The queue.
    pub queue: u32,
}

/// What is known of the AF_XDP sockets of a network namespace.
#[derive(Debug)]
pub struct Bindings {
    cookie: Option<u64>,
    /// How many there are, bound or not, whoever holds them.
    sockets: Option<u32>,
    diagnosed: Option<Vec<XdpSocket>>,
    queues: Reading<Vec<QueueName>>,
    names: BTreeMap<u32, String>,
}

impl Bindings {
    pub(super) fn of(pid: u32) -> Reading<Self> {
        inside(pid, Self::here)
    }

    /// Those of the calling thread's namespace.
    pub fn here() -> Self {
        let cookie =
            UnixDatagram::unbound().ok().and_then(|socket| netns_cookie(socket.as_fd()).ok());
        let links = Route::open().and_then(|mut route| route.links()).unwrap_or_default();
        let names = links.into_iter().map(|link| (link.index, link.name)).collect();
        let diagnosed = SockDiag::open().and_then(|mut diag| diag.xdp_sockets()).ok();
        let sockets = source::read(&Root::live().net("protocols")).ok();
        let sockets = sockets.and_then(|text| sockets_of_xdp(&text));
        let queues = queues(&names);
        Self { cookie, sockets, diagnosed, queues, names }
    }

    /// Whether a socket was opened in this namespace; `None` if that is not told (kernels before 5.14).
    pub fn has_opened(&self, socket: &Socket) -> Option<bool> {
        Some(self.cookie? == socket.netns_cookie?)
    }

    pub(super) fn diagnosed(&self, inode: u64) -> Option<&XdpSocket> {
        self.diagnosed.iter().flatten().find(|socket| u64::from(socket.inode) == inode)
    }

    pub(super) fn place(&self, inode: u64, cookie: Option<u64>) -> Place {
        if cookie.is_some() && self.cookie.is_some() && cookie != self.cookie {
            let why = "the socket is of another network namespace than its process".to_owned();
            return Place::NotKnown { why };
        }
        if let Some(socket) = self.diagnosed(inode) {
            if socket.ifindex == 0 {
                return Place::Unbound;
            }
            let queue = queue_name(&self.names, socket.ifindex, socket.queue);
            return Place::Bound { queue, proof: "socket diagnosis" };
        }
        match &self.queues {
            Err(unavailable) => Place::NotKnown { why: unavailable.reason.clone() },
            Ok(queues) => deduce(queues, self.sockets.filter(|_| cookie.is_some())),
        }
    }
}

/// Does `work` in the network namespace of a process's first thread.
fn inside<T: Send>(pid: u32, work: impl FnOnce() -> T + Send) -> Reading<T> {
    let its = NetNs::of_process(pid).map_err(|error| Unavailable::from(&error))?;
    let ours = NetNs::current().map_err(|error| Unavailable::from(&error))?;
    // To enter the one where we are takes a privilege too.
    if its.inode() == ours.inode() {
        return Ok(work());
    }
    its.run(work).map_err(|error| Unavailable::from(&error))
}

/// The packet sockets with these numbers in the network namespace of a process.
pub(super) fn packet_sockets(pid: u32, inodes: &BTreeSet<u64>) -> Reading<Vec<PacketSocket>> {
    let all = inside(pid, || SockDiag::open().and_then(|mut diag| diag.packet_sockets()))?;
    let mut all = all.map_err(|error| Unavailable::from(&error))?;
    all.retain(|socket| inodes.contains(&u64::from(socket.inode)));
    Ok(all)
}

/// What follows from the queues in use and the number of sockets in a namespace.
fn deduce(queues: &[QueueName], sockets: Option<u32>) -> Place {
    match (queues, sockets) {
        // Interfaces that are down tell nothing.
        ([], _) => {
            Place::NotKnown { why: "no interface that is up tells of a queue in use".to_owned() }
        }
        ([queue], Some(1)) => {
            let proof = "its namespace has one AF_XDP socket and one queue in use";
            Place::Bound { queue: queue.clone(), proof }
        }
        (queues, _) => Place::Candidates { queues: queues.to_vec() },
    }
}

/// The queues that AF_XDP sockets use.
fn queues(names: &BTreeMap<u32, String>) -> Reading<Vec<QueueName>> {
    let all = Netdev::open().and_then(|mut netdev| netdev.queues());
    let all = all.map_err(|error| Unavailable::from(&error))?;
    let used = all.iter().filter(|queue| queue.is_xdp_socket);
    let mut used: Vec<_> = used.map(|queue| queue_name(names, queue.ifindex, queue.id)).collect();
    if used.is_empty() && Netdev::tells_xdp_sockets() != Some(true) {
        let why = "kernels before 6.15 do not tell which queues AF_XDP sockets use";
        return Err(Unavailable::absent("netdev queue-get", why));
    }
    used.sort_unstable();
    // One for each direction.
    used.dedup();
    Ok(used)
}

fn queue_name(names: &BTreeMap<u32, String>, ifindex: u32, queue: u32) -> QueueName {
    let interface = names.get(&ifindex).cloned().unwrap_or_else(|| format!("if{ifindex}"));
    QueueName { interface, ifindex, queue }
}

/// Reads the number of AF_XDP sockets from `/proc/net/protocols` (`proto_seq_printf` in net/core/sock.c).
fn sockets_of_xdp(text: &[u8]) -> Option<u32> {
    let text = String::from_utf8_lossy(text);
    let row = text.lines().find(|line| line.split_whitespace().next() == Some("XDP"))?;
    row.split_whitespace().nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_named_only_where_no_other_can_be_meant() {
        let queue = |queue| QueueName { interface: "eth1".to_owned(), ifindex: 2, queue };
        assert!(
            matches!(deduce(&[queue(3)], Some(1)), Place::Bound { queue, .. } if queue.queue == 3)
        );
        for (queues, sockets) in
            [(vec![queue(3)], Some(2)), (vec![queue(3)], None), (vec![queue(0), queue(3)], Some(1))]
        {
            assert_eq!(deduce(&queues, sockets), Place::Candidates { queues });
        }
        assert!(matches!(deduce(&[], Some(1)), Place::NotKnown { .. }));
    }

    #[test]
    fn sockets_are_counted() {
        let text =
            b"protocol  size sockets  memory press\nXDPX 1 9\nXDP       1088      3      -1   NI\n";
        assert_eq!(sockets_of_xdp(text), Some(3));
        assert_eq!(sockets_of_xdp(b"UDP 1 1\n"), None);
    }
}
