//! What moved between two samples.
//!
//! ```text
//!   counter of 32 bits (softnet, drops of a socket)    later - earlier modulo 2^32
//!   counter of 64 bits                                 later - earlier; one that went back: nothing
//!   what is in one sample only                         not listed
//! ```
//! A counter that went back began anew: its driver was reset, its queue or socket made again. What it
//! has grown by is then not known, and is null, not a huge number. Softnet's counters are right as long
//! as none moves by 2^32 between the samples, which at 10 Mpps takes 7 minutes.

use serde::Serialize;

use super::{NamespaceSample, Sample};
use crate::maps::Statistics;
use crate::netlink::{Direction, InetSocket, LinkCounters, QueueStatistics};
use crate::proc::{Counters, SoftnetDelta};
use crate::source::Reading;

/// What moved between two samples. Growths are counts, not yet divided by the time.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Rates {
    /// Time between the beginnings of the samples, in nanoseconds.
    pub elapsed_ns: u64,
    /// By CPU.
    pub cpus: Vec<CpuGrowth>,
    /// By network namespace that is in both.
    pub namespaces: Vec<NamespaceRates>,
}

/// What a CPU's receive softirq did meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CpuGrowth {
    /// Its number.
    pub cpu: usize,
    /// What it counted.
    #[serde(flatten)]
    pub grown: SoftnetDelta,
}

/// What moved in a network namespace.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NamespaceRates {
    /// Its number.
    pub inode: u64,
    /// The protocols' counters that have grown, by how much.
    pub counters: Counters,
    /// By link.
    pub links: Vec<LinkGrowth>,
    /// By queue that its driver counts.
    pub queues: Vec<QueueGrowth>,
    /// Times that interrupts of queues fired, by their numbers.
    pub interrupts: Vec<(u32, Option<u64>)>,
    /// By socket that is among the largest in both samples.
    pub sockets: Vec<SocketGrowth>,
    /// By AF_XDP socket.
    pub xdp_sockets: Vec<XdpGrowth>,
}

/// What a link counted meanwhile; null is a counter that began anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names are those of `LinkCounters`")]
#[non_exhaustive]
pub struct LinkGrowth {
    pub ifindex: u32,
    pub rx_packets: Option<u64>,
    pub tx_packets: Option<u64>,
    pub rx_bytes: Option<u64>,
    pub tx_bytes: Option<u64>,
    pub rx_errors: Option<u64>,
    pub tx_errors: Option<u64>,
    pub rx_dropped: Option<u64>,
    pub tx_dropped: Option<u64>,
    pub rx_fifo_errors: Option<u64>,
    pub rx_missed_errors: Option<u64>,
    pub rx_nohandler: Option<u64>,
}

/// What a driver counted for a queue meanwhile; null is not counted, or began anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names are those of `QueueStatistics`")]
#[non_exhaustive]
pub struct QueueGrowth {
    pub ifindex: u32,
    pub direction: Direction,
    pub queue: u32,
    pub rx_packets: Option<u64>,
    pub rx_bytes: Option<u64>,
    pub tx_packets: Option<u64>,
    pub tx_bytes: Option<u64>,
    pub rx_alloc_fail: Option<u64>,
    pub rx_hw_drops: Option<u64>,
    pub tx_hw_drops: Option<u64>,
}

/// What a socket dropped meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SocketGrowth {
    /// Which socket ([`InetSocket::cookie`]).
    pub cookie: u64,
    /// Packets.
    pub drops: u32,
}

/// What an AF_XDP socket counted meanwhile; null is a counter that began anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names are the kernel's: struct xdp_statistics")]
#[non_exhaustive]
pub struct XdpGrowth {
    pub inode: u32,
    pub rx_dropped: Option<u64>,
    pub rx_invalid_descs: Option<u64>,
    pub rx_ring_full: Option<u64>,
    pub rx_fill_ring_empty_descs: Option<u64>,
    pub tx_invalid_descs: Option<u64>,
    pub tx_ring_empty_descs: Option<u64>,
}

impl Rates {
    /// What moved from `earlier` to `later`; nothing if no time lies between them.
    pub fn between(earlier: &Sample, later: &Sample) -> Option<Self> {
        let elapsed_ns = later.taken_ns.checked_sub(earlier.taken_ns).filter(|ns| *ns > 0)?;
        let cpus = match (&earlier.machine.softnet, &later.machine.softnet) {
            (Ok(before), Ok(now)) => now.since(before),
            _ => Vec::new(),
        };
        let find = |now: &NamespaceSample| {
            earlier.namespaces.iter().find(|before| before.inode == now.inode)
        };
        let namespaces = later.namespaces.iter();
        let namespaces =
            namespaces.filter_map(|now| Some(NamespaceRates::between(find(now)?, now)));
        Some(Self {
            elapsed_ns,
            cpus: cpus.into_iter().map(|(cpu, grown)| CpuGrowth { cpu, grown }).collect(),
            namespaces: namespaces.collect(),
        })
    }

    /// How many a second a growth is.
    #[allow(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
    pub fn per_second(&self, grown: u64) -> f64 {
        grown as f64 * 1e9 / self.elapsed_ns as f64
    }

    /// What moved in the namespace of that number.
    pub fn of(&self, inode: u64) -> Option<&NamespaceRates> {
        self.namespaces.iter().find(|namespace| namespace.inode == inode)
    }
}

impl NamespaceRates {
    fn between(before: &NamespaceSample, now: &NamespaceSample) -> Self {
        let counters = match (&before.counters, &now.counters) {
            (Ok(before), Ok(now)) => now.since(before),
            _ => Counters::default(),
        };
        let (links, earlier_links) = (both(&now.links), both(&before.links));
        let link = |ifindex| earlier_links.iter().find(|link| link.counters.ifindex == ifindex);
        let grown_links = links.iter().filter_map(|now| {
            let before = link(now.counters.ifindex)?;
            Some(LinkGrowth::between(&before.counters, &now.counters))
        });
        let fired = both(&now.interrupts).iter().filter_map(|row| {
            let mut rows = both(&before.interrupts).iter();
            let earlier = rows.find(|earlier| earlier.label == row.label)?;
            Some((row.irq()?, row.total().checked_sub(earlier.total())))
        });
        Self {
            inode: now.inode,
            counters,
            links: grown_links.collect(),
            queues: queues(before, now),
            interrupts: fired.collect(),
            sockets: sockets(before, now),
            xdp_sockets: xdp_sockets(before, now),
        }
    }

    /// What moved on the link of that number.
    pub fn link(&self, ifindex: u32) -> Option<&LinkGrowth> {
        self.links.iter().find(|link| link.ifindex == ifindex)
    }

    /// By how much a counter of the protocols has grown, by `nstat`'s name.
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.value(name).unwrap_or(0)
    }
}

impl LinkGrowth {
    fn between(before: &LinkCounters, now: &LinkCounters) -> Self {
        let grown = |of: fn(&LinkCounters) -> u64| LinkCounters::grown(of(before), of(now));
        Self {
            ifindex: now.ifindex,
            rx_packets: grown(|link| link.rx_packets),
            tx_packets: grown(|link| link.tx_packets),
            rx_bytes: grown(|link| link.rx_bytes),
            tx_bytes: grown(|link| link.tx_bytes),
            rx_errors: grown(|link| link.rx_errors),
            tx_errors: grown(|link| link.tx_errors),
            rx_dropped: grown(|link| link.rx_dropped),
            tx_dropped: grown(|link| link.tx_dropped),
            rx_fifo_errors: grown(|link| link.rx_fifo_errors),
            rx_missed_errors: grown(|link| link.rx_missed_errors),
            rx_nohandler: grown(|link| link.rx_nohandler),
        }
    }
}

fn both<T>(reading: &Reading<Vec<T>>) -> &[T] {
    reading.as_deref().unwrap_or_default()
}

/// What the drivers counted for the queues that both samples have.
fn queues(before: &NamespaceSample, now: &NamespaceSample) -> Vec<QueueGrowth> {
    let (Ok(earlier), Ok(later)) = (&before.queues, &now.queues) else { return Vec::new() };
    let counted = later.queues.iter().filter_map(|mapped| {
        let now = mapped.statistics?;
        let same = earlier.queues.iter().find(|earlier| {
            let (a, b) = (&earlier.queue, &mapped.queue);
            (a.ifindex, a.direction, a.id) == (b.ifindex, b.direction, b.id)
        });
        let before = same?.statistics?;
        let grown = |of: fn(&QueueStatistics) -> Option<u64>| of(&now)?.checked_sub(of(&before)?);
        Some(QueueGrowth {
            ifindex: now.ifindex,
            direction: now.direction,
            queue: now.queue,
            rx_packets: grown(|queue| queue.rx_packets),
            rx_bytes: grown(|queue| queue.rx_bytes),
            tx_packets: grown(|queue| queue.tx_packets),
            tx_bytes: grown(|queue| queue.tx_bytes),
            rx_alloc_fail: grown(|queue| queue.rx_alloc_fail),
            rx_hw_drops: grown(|queue| queue.rx_hw_drops),
            tx_hw_drops: grown(|queue| queue.tx_hw_drops),
        })
    });
    counted.collect()
}

/// What the largest sockets dropped, modulo 2^32.
fn sockets(before: &NamespaceSample, now: &NamespaceSample) -> Vec<SocketGrowth> {
    let (Ok(earlier), Ok(later)) = (&before.sockets, &now.sockets) else { return Vec::new() };
    let drops = |socket: &InetSocket| socket.memory.map(|memory| memory.drops);
    let grown = later.top.iter().filter_map(|now| {
        let cookie = now.socket.cookie;
        let before = earlier.top.iter().find(|before| before.socket.cookie == cookie)?;
        let drops = drops(&now.socket)?.wrapping_sub(drops(&before.socket)?);
        Some(SocketGrowth { cookie, drops })
    });
    grown.collect()
}

/// What the AF_XDP sockets counted that both samples have.
fn xdp_sockets(before: &NamespaceSample, now: &NamespaceSample) -> Vec<XdpGrowth> {
    let grown = now.xdp_sockets.all.iter().filter_map(|socket| {
        let mut earlier = before.xdp_sockets.all.iter();
        let before = earlier.find(|before| before.inode == socket.inode)?.statistics()?;
        let now = socket.statistics()?;
        let grown = |of: fn(&Statistics) -> Option<u64>| of(&now)?.checked_sub(of(&before)?);
        Some(XdpGrowth {
            inode: socket.inode,
            rx_dropped: grown(|s| Some(s.rx_dropped)),
            rx_invalid_descs: grown(|s| Some(s.rx_invalid_descs)),
            rx_ring_full: grown(|s| s.rx_ring_full),
            rx_fill_ring_empty_descs: grown(|s| s.rx_fill_ring_empty_descs),
            tx_invalid_descs: grown(|s| Some(s.tx_invalid_descs)),
            tx_ring_empty_descs: grown(|s| s.tx_ring_empty_descs),
        })
    });
    grown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{LinkSample, NamespaceChoice, Sampler};
    use crate::source::{Root, SourceState};

    fn sample(taken_ns: u64, rx_dropped: u64, processed: u32) -> Sample {
        let root = Root::at(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/6.18"));
        let mut sample = Sampler::new(root, NamespaceChoice::Own, 8).sample().unwrap();
        sample.taken_ns = taken_ns;
        let counters = LinkCounters { ifindex: 2, rx_dropped, ..LinkCounters::default() };
        let links = vec![LinkSample { name: "nm-a".to_owned(), counters }];
        sample.namespaces[0].links = Ok(links);
        sample.machine.softnet.as_mut().unwrap().cpus[0].processed = processed;
        sample
    }

    /// Planted and caught, with the two below: a wrap of a driver's counter that is unknown; a rate without
    /// the time; namespaces compared by their place.
    #[test]
    fn growth_is_right_across_a_wrap_and_unknown_after_a_restart() {
        let between = |before: (u64, u32), now: (u64, u32)| {
            let (before, now) =
                (sample(1, before.0, before.1), sample(2_000_000_001, now.0, now.1));
            let rates = Rates::between(&before, &now).unwrap();
            let link = *rates.namespaces[0].link(2).unwrap();
            (link.rx_dropped, rates.cpus[0].grown.processed)
        };
        assert_eq!(between((5, 10), (12, 15)), (Some(7), 5));
        assert_eq!(between((5, u32::MAX), (5, 4)), (Some(0), 5));
        assert_eq!(between((1000, 0), (3, 0)), (None, 0));
        // A driver's own counter of 32 bits.
        assert_eq!(between((u64::from(u32::MAX), 0), (9, 0)), (Some(10), 0));
    }

    #[test]
    fn rates_are_by_the_time_between_the_samples() {
        let (before, now) = (sample(1, 0, 0), sample(2_000_000_001, 7, 0));
        let rates = Rates::between(&before, &now).unwrap();
        assert!((rates.per_second(7) - 3.5).abs() < 1e-9);
        assert_eq!(Rates::between(&now, &now), None);
        assert_eq!(Rates::between(&now, &before), None);
    }

    #[test]
    fn only_the_same_namespace_compares() {
        let (before, mut now) = (sample(1, 0, 0), sample(2, 7, 0));
        now.namespaces[0].inode = 99;
        assert_eq!(Rates::between(&before, &now).unwrap().namespaces, []);
    }

    #[test]
    fn what_could_not_be_read_is_named_among_the_sources() {
        let sample = sample(1, 0, 0);
        let named = |name: &str| sample.sources().find(|source| source.name == name).unwrap();
        assert_eq!(named("softnet").state, SourceState::Ok);
        assert_eq!(named("packet-sockets").state, SourceState::Absent);
        assert!(sample.namespaces[0].packet_sockets.is_err() && sample.misses_a_source());
    }
}
