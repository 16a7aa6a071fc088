//! What counts a network namespace: its sockets, its links and their queues, its counters.

use std::collections::BTreeMap;

use serde::Serialize;

use super::SourceReport;
use super::sockets::{ProcessName, SocketState, SocketsSample};
use super::xdp::{XdpSockets, XdpState};
use crate::maps::{PacketLevels, packet_levels};
use crate::netlink::{LinkCounters, PacketSocket, Route, SockDiag};
use crate::netns::Namespace;
use crate::proc::{Counters, Interrupt, Interrupts, Sockstat, Sockstat6};
use crate::queues::{QueueMap, QueueSources};
use crate::sockets::Owners;
use crate::source::{Reading, Root, Unavailable, or_null};

/// A namespace's part of a sample.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NamespaceSample {
    /// Its number, as in `net:[4026531840]`; 0 if that is not told.
    pub inode: u64,
    /// Its names, as `ip netns` knows them. Only looked for where other namespaces are asked for.
    pub names: Vec<String>,
    /// How many processes are in it; likewise.
    pub process_count: usize,
    /// How many descriptors hold it; likewise.
    pub descriptor_count: usize,
    /// Sockets in use. Some of these figures count the whole machine: [`Sockstat`] says which.
    #[serde(serialize_with = "or_null")]
    pub sockstat: Reading<Sockstat>,
    /// Sockets of IPv6 in use.
    #[serde(serialize_with = "or_null")]
    pub sockstat6: Reading<Sockstat6>,
    /// Counters of the protocols.
    #[serde(serialize_with = "or_null")]
    pub counters: Reading<Counters>,
    /// What sockets over IP hold.
    #[serde(serialize_with = "or_null")]
    pub sockets: Reading<SocketsSample>,
    /// Counters of the links.
    #[serde(serialize_with = "or_null")]
    pub links: Reading<Vec<LinkSample>>,
    /// Queues with what polls and feeds them, and page pools.
    #[serde(serialize_with = "or_null")]
    pub queues: Reading<QueueMap>,
    /// The interrupts of the queues' NAPIs.
    #[serde(serialize_with = "or_null")]
    pub interrupts: Reading<Vec<Interrupt>>,
    /// Packet sockets.
    #[serde(serialize_with = "or_null")]
    pub packet_sockets: Reading<Vec<PacketSocketSample>>,
    /// AF_XDP sockets.
    pub xdp_sockets: XdpSockets,
    /// What each source said.
    pub sources: Vec<SourceReport>,
}

/// A link and its counters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(clippy::exhaustive_structs, reason = "made by tests of views")]
pub struct LinkSample {
    /// Its name.
    pub name: String,
    /// Its counters.
    pub counters: LinkCounters,
}

/// A packet socket and who holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(clippy::exhaustive_structs, reason = "made by tests of views")]
pub struct PacketSocketSample {
    /// The socket.
    pub socket: PacketSocket,
    /// Who has a descriptor of it.
    pub owners: Vec<ProcessName>,
    /// How full its rings are, looked at through its first owner.
    #[serde(serialize_with = "or_null")]
    pub levels: Reading<PacketLevels>,
}

/// What is kept between samples of a namespace.
#[derive(Debug)]
pub(super) struct NamespaceState {
    root: Root,
    sockets: SocketState,
    owners: Owners,
    xdp: XdpState,
}

impl NamespaceSample {
    /// A namespace that could not be entered.
    pub(super) fn unavailable(namespace: &Namespace, why: &Unavailable) -> Self {
        Self {
            inode: namespace.inode,
            names: namespace.names.clone(),
            process_count: namespace.pids.len(),
            descriptor_count: namespace.descriptors.len(),
            sockstat: Err(why.clone()),
            sockstat6: Err(why.clone()),
            counters: Err(why.clone()),
            sockets: Err(why.clone()),
            links: Err(why.clone()),
            queues: Err(why.clone()),
            interrupts: Err(why.clone()),
            packet_sockets: Err(why.clone()),
            xdp_sockets: XdpSockets::unavailable(why),
            sources: vec![SourceReport::of_gap("namespace", Some(why))],
        }
    }

    /// How it is called: its name, else its number.
    pub fn label(&self) -> String {
        match self.names.first() {
            Some(name) => name.clone(),
            None => format!("net:[{}]", self.inode),
        }
    }

    /// The name of a link, or its number if it has gone meanwhile.
    pub fn link_name(&self, ifindex: u32) -> String {
        let links = self.links.as_deref().unwrap_or_default();
        let link = links.iter().find(|link| link.counters.ifindex == ifindex);
        link.map_or_else(|| format!("if{ifindex}"), |link| link.name.clone())
    }

    fn sources(&self) -> Vec<SourceReport> {
        let mut sources = vec![
            SourceReport::of("sockstat", &self.sockstat),
            SourceReport::of("counters", &self.counters),
            SourceReport::of("links", &self.links),
            SourceReport::of("interrupts", &self.interrupts),
            SourceReport::of("packet-sockets", &self.packet_sockets),
            SourceReport::of("xdp-sockets", &self.xdp_sockets.listed),
            SourceReport::of("sockets", &self.sockets),
        ];
        if let Ok(sockets) = &self.sockets {
            let named = |protocol: &super::ProtocolSockets| match protocol.protocol {
                crate::netlink::InetProtocol::Tcp => "tcp-sockets",
                crate::netlink::InetProtocol::Udp => "udp-sockets",
                crate::netlink::InetProtocol::UdpLite => "udplite-sockets",
                crate::netlink::InetProtocol::Raw => "raw-sockets",
            };
            sources.extend(sockets.protocols.iter().map(|p| SourceReport::of(named(p), &p.sum)));
            sources.push(SourceReport::of_gap("socket-owners", sockets.gap.as_ref()));
        }
        sources
    }
}

impl NamespaceState {
    pub(super) fn new(root: Root, top_count: usize) -> Self {
        Self {
            root,
            sockets: SocketState::new(top_count),
            owners: Owners::default(),
            xdp: XdpState::default(),
        }
    }

    pub(super) fn forget(&mut self) {
        self.sockets.forget();
        self.owners = Owners::default();
        self.xdp.forget();
    }

    /// Looks at the calling thread's namespace.
    pub(super) fn sample(&mut self, namespace: &Namespace) -> NamespaceSample {
        let root = self.root.clone();
        let mut diag = live(&root, "socket diagnosis").and_then(|()| told(SockDiag::open()));
        let sockets = match &mut diag {
            Ok(diag) => Ok(self.sockets.sample(&root, diag)),
            Err(why) => Err(why.clone()),
        };
        let queues = live(&root, "generic netlink netdev").and_then(|()| QueueSources::read(&root));
        let listed = match &queues {
            Ok(queues) => queues.xdp_sockets.clone(),
            Err(_) => with(&mut diag, SockDiag::xdp_sockets),
        };
        let mut of_queues = queue_sources(&queues);
        let queues = queues.and_then(QueueMap::join);
        let mut sample = NamespaceSample {
            inode: namespace.inode,
            names: namespace.names.clone(),
            process_count: namespace.pids.len(),
            descriptor_count: namespace.descriptors.len(),
            sockstat: Sockstat::read(&root),
            sockstat6: Sockstat6::read(&root),
            counters: Counters::read(&root),
            sockets,
            links: live(&root, "route netlink").and_then(|()| links()),
            interrupts: interrupts(&root, &queues),
            packet_sockets: self.packet_sockets(&root, &mut diag),
            xdp_sockets: self.xdp.sample(&root, listed, &queues),
            queues,
            sources: Vec::new(),
        };
        sample.sources = sample.sources();
        sample.sources.append(&mut of_queues);
        sample
    }

    fn packet_sockets(
        &mut self,
        root: &Root,
        diag: &mut Reading<SockDiag>,
    ) -> Reading<Vec<PacketSocketSample>> {
        let sockets = with(diag, SockDiag::packet_sockets)?;
        if sockets.iter().any(|socket| !self.owners.knows(socket.inode)) {
            self.owners.scan(root, sockets.iter().map(|socket| socket.inode));
        }
        let names = self.sockets.names();
        let owners = &self.owners;
        let held = sockets.into_iter().map(|socket| {
            let mut pids: Vec<u32> = owners.of(socket.inode).iter().map(|o| o.pid).collect();
            pids.dedup();
            let levels = match pids.first() {
                _ if socket.rx_ring.is_none() && socket.tx_ring.is_none() => {
                    Ok(PacketLevels::default())
                }
                Some(pid) => packet_levels(root, *pid, &socket),
                None => {
                    let source = format!("packet socket:[{}]", socket.inode);
                    Err(Unavailable::absent(source, "no process is seen to hold it"))
                }
            };
            let owners = pids.into_iter().map(|pid| names.of(root, pid)).collect();
            PacketSocketSample { socket, owners, levels }
        });
        Ok(held.collect())
    }
}

/// Refuses what a recorded machine does not have.
fn live(root: &Root, source: &str) -> Reading<()> {
    match root.is_live() {
        true => Ok(()),
        false => Err(Unavailable::absent(source, "a recorded machine has no netlink")),
    }
}

fn told<T>(result: crate::Result<T>) -> Reading<T> {
    result.map_err(|error| Unavailable::from(&error))
}

fn with<T>(
    diag: &mut Reading<SockDiag>,
    ask: impl FnOnce(&mut SockDiag) -> crate::Result<T>,
) -> Reading<T> {
    match diag {
        Ok(diag) => told(ask(diag)),
        Err(why) => Err(why.clone()),
    }
}

/// Reads the counters of the links, with their names.
fn links() -> Reading<Vec<LinkSample>> {
    let mut route = told(Route::open())?;
    let names: BTreeMap<u32, String> =
        told(route.links())?.into_iter().map(|link| (link.index, link.name)).collect();
    let counters = told(route.link_counters())?.into_iter();
    // A link that came in between shows the next time.
    let named = counters.filter_map(|counters| {
        Some(LinkSample { name: names.get(&counters.ifindex)?.clone(), counters })
    });
    Ok(named.collect())
}

/// Reads the interrupts that the queues' NAPIs have.
fn interrupts(root: &Root, queues: &Reading<QueueMap>) -> Reading<Vec<Interrupt>> {
    let numbers: Vec<u32> = queues.as_ref().map_or(Vec::new(), |map| {
        map.queues.iter().filter_map(|mapped| mapped.napi?.irq).collect()
    });
    if numbers.is_empty() && queues.is_ok() {
        return Ok(Vec::new());
    }
    let mut all = Interrupts::read(root)?.rows;
    all.retain(|row| row.irq().is_some_and(|irq| numbers.contains(&irq)));
    Ok(all)
}

fn queue_sources(queues: &Reading<QueueSources>) -> Vec<SourceReport> {
    match queues {
        Err(why) => vec![SourceReport::of_gap("queues", Some(why))],
        Ok(queues) => vec![
            SourceReport::of("queues", &queues.queues),
            SourceReport::of("napis", &queues.napis),
            SourceReport::of("page-pools", &queues.pools),
            SourceReport::of("page-pool-statistics", &queues.pool_statistics),
            SourceReport::of("queue-statistics", &queues.queue_statistics),
        ],
    }
}
