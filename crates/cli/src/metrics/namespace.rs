//! Metrics of what counts a network namespace. Where others than the own one are looked at, each sample
//! has the label `netns`: the namespace's name, or its number as in `net:[4026531840]`.
//!
//! A few figures of `/proc/net/sockstat` count the whole machine wherever they are read: these are told
//! once, without a namespace.

use netmem_host::{
    maps::{Entries, Ring},
    netlink::{Direction, LinkCounters, QueueStatistics},
    proc::{Counters, EVIDENCE, Sockstat},
    sample::{NamespaceSample, Sample, SocketsSample, XdpRing, XdpSocketSample},
    sockets::MemorySum,
};

use super::{Choice, Families, Metric};

const SOCKETS_USED: Metric = Metric::gauge("netmem_sockets_used", "Sockets of all families.");
const SOCKSTAT: Metric = Metric::gauge(
    "netmem_sockstat_sockets",
    "Sockets by protocol, as /proc/net/sockstat and sockstat6 count them.",
);
const TCP_ORPHANS: Metric = Metric::gauge(
    "netmem_tcp_orphan_sockets",
    "TCP sockets of the machine that no process holds any more.",
);
const TCP_ALLOC: Metric =
    Metric::gauge("netmem_tcp_alloc_sockets", "TCP sockets of the machine that are allocated.");
const FRAG_QUEUES: Metric =
    Metric::gauge("netmem_fragment_queues", "Datagrams that wait for more of their fragments.");
const FRAG_BYTES: Metric =
    Metric::gauge("netmem_fragment_memory_bytes", "Memory of waiting fragments.");
const NETSTAT: Metric = Metric::counter(
    "netmem_netstat",
    "Counters of the protocols by the name that nstat gives them.",
);
const TCP_PRESSURE: Metric = Metric::counter(
    "netmem_tcp_memory_pressure_seconds",
    "Time that TCP spent under memory pressure, counted when it ended.",
);
const CGROUP_HELD: Metric = Metric::gauge(
    "netmem_cgroup_socket_held_bytes",
    "Memory that the sockets of a control group hold; other: of all that are not shown.",
);
const CGROUP_SOCKETS: Metric =
    Metric::gauge("netmem_cgroup_sockets", "Sockets over IP of a control group.");
const POOL_BYTES: Metric = Metric::gauge(
    "netmem_page_pool_inflight_bytes",
    "Memory that a page pool has and has not given back, with what it keeps for later packets.",
);
const POOL_DETACHED: Metric = Metric::gauge(
    "netmem_page_pool_detached_seconds",
    "How long a page pool has waited for its pages since its device gave it up.",
);
const PACKET_SOCKETS: Metric = Metric::gauge("netmem_packet_sockets", "Packet sockets.");
const PACKET_DROPS: Metric = Metric::gauge(
    "netmem_packet_socket_drops",
    "Packets dropped by the packet sockets that there are.",
);
const XSK_QUEUES: Metric =
    Metric::gauge("netmem_xsk_bound_queues", "Queues that an AF_XDP socket is bound to.");
const XSK_ENTRIES: Metric = Metric::gauge(
    "netmem_xsk_socket_ring_entries",
    "Room in a ring of an AF_XDP socket, of any program.",
);
const XSK_USED: Metric = Metric::gauge(
    "netmem_xsk_socket_ring_entries_used",
    "Entries of a ring of an AF_XDP socket, of any program, that were made and not taken.",
);
const XSK_DROPS: Metric = Metric::counter(
    "netmem_xsk_socket_dropped",
    "Packets that an AF_XDP socket dropped, of any program, by what for.",
);
/// Counters that give those of `EVIDENCE` a scale.
const SCALE: [&str; 10] = [
    "TcpInSegs",
    "TcpOutSegs",
    "TcpRetransSegs",
    "TcpActiveOpens",
    "TcpPassiveOpens",
    "UdpInDatagrams",
    "UdpOutDatagrams",
    "UdpNoPorts",
    "Udp6InDatagrams",
    "Udp6OutDatagrams",
];
/// The one of `EVIDENCE` that is a time.
const CHRONO: &str = "TcpExtTCPMemoryPressuresChrono";

type LinkFigure = (Metric, fn(&LinkCounters) -> u64);
const LINKS: [LinkFigure; 13] = [
    (Metric::counter("netmem_device_rx_packets", "Packets received."), |c| c.rx_packets),
    (Metric::counter("netmem_device_tx_packets", "Packets sent."), |c| c.tx_packets),
    (Metric::counter("netmem_device_rx_bytes", "Bytes received."), |c| c.rx_bytes),
    (Metric::counter("netmem_device_tx_bytes", "Bytes sent."), |c| c.tx_bytes),
    (Metric::counter("netmem_device_rx_errors", "Damaged packets received."), |c| c.rx_errors),
    (Metric::counter("netmem_device_tx_errors", "Packets that could not be sent."), |c| {
        c.tx_errors
    }),
    (
        Metric::counter("netmem_device_rx_dropped", "Packets received and dropped by the kernel."),
        |c| c.rx_dropped,
    ),
    (Metric::counter("netmem_device_tx_dropped", "Packets dropped on their way out."), |c| {
        c.tx_dropped
    }),
    (Metric::counter("netmem_device_rx_missed", "Packets that the device had no room for."), |c| {
        c.rx_missed_errors
    }),
    (Metric::counter("netmem_device_rx_fifo", "Packets lost to overruns on receiving."), |c| {
        c.rx_fifo_errors
    }),
    (Metric::counter("netmem_device_tx_fifo", "Packets lost to overruns on sending."), |c| {
        c.tx_fifo_errors
    }),
    (
        Metric::counter("netmem_device_rx_over", "Packets lost to overruns of the receive ring."),
        |c| c.rx_over_errors,
    ),
    (
        Metric::counter("netmem_device_rx_nohandler", "Packets that nobody in the kernel wanted."),
        |c| c.rx_nohandler,
    ),
];

type SocketFigure = (Metric, fn(&MemorySum) -> u64);
const SOCKETS: [SocketFigure; 8] = [
    (Metric::gauge("netmem_sockets", "Sockets over IP, by socket diagnosis."), |s| s.sockets),
    (Metric::gauge("netmem_socket_held_bytes", "Memory that sockets over IP hold."), |s| {
        s.held_bytes
    }),
    (Metric::gauge("netmem_socket_rmem_alloc_bytes", "Of this, packets to be read."), |s| {
        s.rmem_alloc_bytes
    }),
    (Metric::gauge("netmem_socket_wmem_queued_bytes", "Of this, packets to be sent."), |s| {
        s.wmem_queued_bytes
    }),
    (
        Metric::gauge("netmem_socket_fwd_alloc_bytes", "Memory charged ahead that can go back."),
        |s| s.fwd_alloc_bytes,
    ),
    (Metric::gauge("netmem_socket_drops", "Packets dropped by the sockets that there are."), |s| {
        s.drops
    }),
    (Metric::gauge("netmem_sockets_rcvbuf_full", "Sockets whose receive buffer is full."), |s| {
        s.rcvbuf_full
    }),
    (Metric::gauge("netmem_sockets_sndbuf_full", "Sockets whose send buffer is full."), |s| {
        s.sndbuf_full
    }),
];

type QueueFigure = (Metric, fn(&QueueStatistics) -> Option<u64>);
const QUEUES: [QueueFigure; 3] = [
    (Metric::counter("netmem_queue_rx_alloc_fail", "Packets lost for want of memory."), |q| {
        q.rx_alloc_fail
    }),
    (Metric::counter("netmem_queue_rx_hw_drops", "Packets that the device dropped."), |q| {
        q.rx_hw_drops
    }),
    (Metric::counter("netmem_queue_tx_hw_drops", "Packets that the device dropped unsent."), |q| {
        q.tx_hw_drops
    }),
];

/// Adds all namespaces of a sample.
pub(super) fn add(to: &mut Families, sample: &Sample, choice: &Choice) {
    if let Some(Ok(sockstat)) = sample.namespaces.first().map(|first| &first.sockstat) {
        to.add(TCP_ORPHANS, &[], sockstat.tcp_orphan);
        to.add(TCP_ALLOC, &[], sockstat.tcp_alloc);
    }
    for namespace in &sample.namespaces {
        let label = if choice.names_namespaces { namespace.label() } else { String::new() };
        let netns = ("netns", label.as_str());
        if let Ok(sockstat) = &namespace.sockstat {
            self::sockstat(to, netns, sockstat, namespace);
        }
        if let Ok(counters) = &namespace.counters {
            self::counters(to, netns, counters);
        }
        if let Ok(sockets) = &namespace.sockets {
            self::sockets(to, netns, sockets);
            if choice.per_cgroup {
                cgroups(to, netns, sockets);
            }
        }
        for link in namespace.links.as_deref().unwrap_or_default() {
            for (metric, of) in LINKS {
                to.add(metric, &[("device", &link.name), netns], of(&link.counters));
            }
        }
        queues(to, netns, namespace);
        special(to, netns, namespace);
    }
}

fn sockstat(
    to: &mut Families,
    netns: (&'static str, &str),
    sockstat: &Sockstat,
    namespace: &NamespaceSample,
) {
    let six = namespace.sockstat6.as_ref().ok();
    to.add(SOCKETS_USED, &[netns], sockstat.sockets_used);
    let counts = [
        ("tcp", "inuse", Some(sockstat.tcp_inuse)),
        ("tcp", "tw", Some(sockstat.tcp_tw)),
        ("udp", "inuse", Some(sockstat.udp_inuse)),
        ("udplite", "inuse", sockstat.udplite_inuse),
        ("raw", "inuse", Some(sockstat.raw_inuse)),
        ("tcp6", "inuse", six.map(|six| six.tcp6_inuse)),
        ("udp6", "inuse", six.map(|six| six.udp6_inuse)),
        ("udplite6", "inuse", six.and_then(|six| six.udplite6_inuse)),
        ("raw6", "inuse", six.map(|six| six.raw6_inuse)),
    ];
    for (proto, state, count) in counts {
        to.maybe(SOCKSTAT, &[("proto", proto), ("state", state), netns], count);
    }
    let fragments = [
        ("ipv4", Some((sockstat.frag_inuse, sockstat.frag_memory_bytes))),
        ("ipv6", six.map(|six| (six.frag6_inuse, six.frag6_memory_bytes))),
    ];
    for (family, figures) in fragments {
        let labels = [("family", family), netns];
        to.maybe(FRAG_QUEUES, &labels, figures.map(|(queues, _)| queues));
        to.maybe(FRAG_BYTES, &labels, figures.map(|(_, bytes)| bytes));
    }
}

#[allow(clippy::cast_precision_loss, reason = "a duration has fewer digits")]
fn counters(to: &mut Families, netns: (&'static str, &str), counters: &Counters) {
    let evidence = EVIDENCE.iter().map(|evidence| evidence.name).filter(|name| *name != CHRONO);
    for name in evidence.chain(SCALE) {
        to.maybe(NETSTAT, &[("name", name), netns], counters.value(name));
    }
    if let Some(ms) = counters.value(CHRONO) {
        to.add_real(TCP_PRESSURE, &[netns], ms as f64 / 1e3);
    }
}

fn sockets(to: &mut Families, netns: (&'static str, &str), sockets: &SocketsSample) {
    for protocol in &sockets.protocols {
        let Ok(sum) = &protocol.sum else { continue };
        let name = protocol.protocol.name().to_lowercase();
        for (metric, of) in SOCKETS {
            to.add(metric, &[("proto", &name), netns], of(sum));
        }
    }
}

fn cgroups(to: &mut Families, netns: (&'static str, &str), sockets: &SocketsSample) {
    let mut other = (sockets.total.held_bytes, sockets.total.sockets);
    for group in &sockets.cgroups {
        let gone = format!("cgroup {}", group.id);
        let labels = [("cgroup", group.path.as_deref().unwrap_or(&gone)), netns];
        to.add(CGROUP_HELD, &labels, group.sum.held_bytes);
        to.add(CGROUP_SOCKETS, &labels, group.sum.sockets);
        other.0 = other.0.saturating_sub(group.sum.held_bytes);
        other.1 = other.1.saturating_sub(group.sum.sockets);
    }
    to.add(CGROUP_HELD, &[("cgroup", "other"), netns], other.0);
    to.add(CGROUP_SOCKETS, &[("cgroup", "other"), netns], other.1);
}

#[allow(clippy::cast_precision_loss, reason = "a duration has fewer digits")]
fn queues(to: &mut Families, netns: (&'static str, &str), namespace: &NamespaceSample) {
    let Ok(map) = &namespace.queues else { return };
    let of_queues = map.queues.iter().flat_map(|mapped| &mapped.pools);
    for state in of_queues.chain(&map.other_pools) {
        let device = state.pool.ifindex.map_or_else(String::new, |i| namespace.link_name(i));
        let id = state.pool.id.to_string();
        let labels = [("id", id.as_str()), ("device", &device), netns];
        to.maybe(POOL_BYTES, &labels, state.pool.inflight_bytes);
        if let Some(seconds) = state.detached_for_s {
            to.add_real(POOL_DETACHED, &labels, seconds as f64);
        }
    }
    for statistics in map.queues.iter().filter_map(|mapped| mapped.statistics.as_ref()) {
        let device = namespace.link_name(statistics.ifindex);
        let queue = statistics.queue.to_string();
        for (metric, of) in QUEUES {
            to.maybe(metric, &[("device", &device), ("queue", &queue), netns], of(statistics));
        }
    }
    let is_bound =
        |q: &netmem_host::netlink::Queue| q.is_xdp_socket && q.direction == Direction::Rx;
    let bound = map.queues.iter().filter(|mapped| is_bound(&mapped.queue)).count();
    to.add(XSK_QUEUES, &[netns], bound as u64);
}

/// Sockets that are not over IP.
fn special(to: &mut Families, netns: (&'static str, &str), namespace: &NamespaceSample) {
    if let Ok(sockets) = &namespace.packet_sockets {
        to.add(PACKET_SOCKETS, &[netns], sockets.len() as u64);
        let drops = sockets.iter().filter_map(|held| held.socket.memory.as_ref());
        to.add(PACKET_DROPS, &[netns], drops.map(|memory| u64::from(memory.drops)).sum());
    }
    for socket in &namespace.xdp_sockets.all {
        xdp_socket(to, netns, (namespace, socket));
    }
}

fn xdp_socket(
    to: &mut Families,
    netns: (&'static str, &str),
    (namespace, socket): (&NamespaceSample, &XdpSocketSample),
) {
    let ino = socket.inode.to_string();
    // Empty where it is not bound, or not known.
    let (device, queue) = socket.bound().map_or_else(Default::default, |(ifindex, queue)| {
        (namespace.link_name(ifindex), queue.to_string())
    });
    let is = [("ino", ino.as_str()), ("device", &device), ("queue", &queue), netns];
    let of = |name, value| [is[0], is[1], is[2], is[3], (name, value)];
    for ring in Ring::ALL {
        let Some(XdpRing { entries, level }) = socket.ring(ring) else { continue };
        let labels = of("ring", ring.name());
        let entries = entries.and_then(|entries| match entries {
            Entries::Exactly(entries) => Some(u64::from(entries)),
            Entries::AtMost(_) => None,
        });
        to.maybe(XSK_ENTRIES, &labels, entries);
        to.maybe(XSK_USED, &labels, level.map(u64::from));
    }
    let Some(statistics) = socket.statistics() else { return };
    let drops = [
        ("other", Some(statistics.rx_dropped)),
        ("rx_ring_full", statistics.rx_ring_full),
        ("fill_ring_empty", statistics.rx_fill_ring_empty_descs),
    ];
    for (reason, packets) in drops {
        to.maybe(XSK_DROPS, &of("reason", reason), packets);
    }
}
