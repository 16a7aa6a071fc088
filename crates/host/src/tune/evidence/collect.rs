//! Takes the evidence of the live machine.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::cpu::{self, AllCpus};
use super::groups::Groups;
use super::watch::{Seen, Watch};
use super::xdp::{self, XdpSeen};
use super::{CpuLoad, DeviceLoss, Evidence, HugePagePool, MachineMemory, ProtocolLoad, Setting};
use crate::netlink::{Direction, Ethtool};
use crate::netns::{self, Namespace, Namespaces};
use crate::proc::{Hugepages, Meminfo, ProtocolMemory, Sockstat, TransportProtocol};
use crate::sample::{
    LinkGrowth, NamespaceChoice, NamespaceSample, Rates, Sample, Sampler, SourceReport, XdpGrowth,
    XdpSocketSample,
};
use crate::source::{self, Reading, Root, SourceState, Unavailable};
use crate::sysctl::{self, KEYS, Machine};
use crate::tune::place::is_initial;
use crate::tune::rules::KEYS_OF_RULES;
use crate::tune::{Basis, Reach};

/// Looks at sockets in an interval at least; what a socket holds between two is not seen.
const LOOKS: u32 = 10;
/// Longest time between two looks, unless they are costly: what is lost in one pause of a program is told
/// apart from what is lost in the next by a look in between.
const SPACING: Duration = Duration::from_millis(100);
/// A look takes this part of the time at most, as its divisor, as far as [`LOOKS`] allows: one that had to
/// wait for a CPU is no reason to be blind for seconds.
const SHARE_OF_TIME: u32 = 20;
/// How often it is asked for an early end.
const PATIENCE: Duration = Duration::from_millis(100);
/// Processes that are named as holders of memory, and those whose control groups are looked at.
const HOLDERS: usize = 5;
const IN_GROUPS: usize = 16;
/// Sources of a sample that rules depend on.
const NEEDED: [&str; 9] = [
    "protocol-memory",
    "softnet",
    "counters",
    "links",
    "queues",
    "queue-statistics",
    "tcp-sockets",
    "udp-sockets",
    "socket-owners",
];

/// Where to look, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a question")]
pub struct Lookout {
    /// A network namespace, by its name or a process in it; `None`: the calling thread's.
    pub netns: Option<String>,
    /// For how long.
    pub interval: Duration,
}

/// Looks at the machine for a time; `is_over` is asked several times a second between looks, the first time
/// when all was looked at once, and may end it early.
///
/// # Errors
/// The namespace is not there or may not be entered; sockets, memory or the kernel's version cannot be
/// read at all. What else cannot be read is named in the evidence.
pub fn collect(
    root: &Root,
    lookout: &Lookout,
    mut is_over: impl FnMut() -> bool,
) -> Reading<(Evidence, Basis)> {
    let place = match &lookout.netns {
        Some(name) => Some(Namespaces::scan(root)?.named(name)?.clone()),
        None => None,
    };
    let choice = lookout.netns.clone().map_or(NamespaceChoice::Own, NamespaceChoice::Named);
    let mut sampler = Sampler::new(root.clone(), choice, IN_GROUPS);
    let (mut watch, mut peaks) = (Watch::default(), Peaks::default());
    let cpus_before = cpu::read(root);
    let (stalled_before, stalled_from) = (cpu::stalled_us(root), Instant::now());
    let before = sampler.sample()?;
    let groups_before = Groups::look(root, &[&before], None);
    let end = Instant::now() + lookout.interval;
    let mut is_last = false;
    loop {
        let begin = Instant::now();
        inside(place.as_ref(), || watch.look(root))??;
        peaks.look(root);
        if is_last {
            break;
        }
        let wait = spacing(lookout.interval, begin.elapsed());
        let due = (Instant::now() + wait).min(end);
        // Asked at least once, and the last look is the one at the end.
        let mut is_stopped = is_over();
        while !is_stopped && Instant::now() < due {
            std::thread::sleep(due.saturating_duration_since(Instant::now()).min(PATIENCE));
            is_stopped = is_over();
        }
        is_last = is_stopped || Instant::now() >= end;
    }
    let after = sampler.sample()?;
    let groups_after = Groups::look(root, &[&after, &before], Some(&groups_before));
    let xdp = inside(place.as_ref(), || xdp_seen(root, &before, &after))?;
    let basis = basis(root, &after)?;
    let mut evidence = idle(root)?;
    evidence.settings = settings(root, place.as_ref())?;
    evidence.is_initial_netns = inside(place.as_ref(), || is_initial(root))?;
    evidence.add_samples(&before, &after);
    evidence.add_peaks(&peaks);
    evidence.add_groups(&groups_before, groups_after);
    inside(place.as_ref(), || add_rings(&mut evidence.devices))?;
    evidence.add_cpu_times(&cpus_before, &cpu::read(root));
    evidence.add_stalls(stalled_before, cpu::stalled_us(root), stalled_from.elapsed());
    evidence.huge_pages = huge_pages(root);
    let Seen { tcp, udp, listeners, optmem, mut not_known } = watch.finish(root);
    (evidence.tcp, evidence.udp) = (tcp, udp);
    (evidence.listeners, evidence.optmem) = (listeners, optmem);
    evidence.not_known.append(&mut not_known);
    (evidence.xdp, evidence.umems) = (xdp.lost, xdp.holders);
    evidence.not_known.extend(xdp.not_known);
    if place.is_none() {
        evidence.link_bits_per_s = link_bits_per_s(root, &after);
    }
    evidence.note_settings();
    Ok((evidence, basis))
}

/// The largest amounts of all looks; `None` is not told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Peaks {
    tcp_pages: Option<u64>,
    udp_pages: Option<u64>,
    tcp_orphans: Option<u64>,
}

impl Peaks {
    /// Looks once. These figures count the whole machine in whatever network namespace; that they cannot be
    /// read is told by the samples.
    fn look(&mut self, root: &Root) {
        if let Ok(now) = Sockstat::read(root) {
            self.add(&now);
        }
    }

    fn add(&mut self, now: &Sockstat) {
        self.tcp_pages = self.tcp_pages.max(Some(now.tcp_mem_pages));
        self.udp_pages = self.udp_pages.max(Some(now.udp_mem_pages));
        self.tcp_orphans = self.tcp_orphans.max(Some(now.tcp_orphan));
    }
}

/// The time from a look that took `cost` to the next one.
fn spacing(interval: Duration, cost: Duration) -> Duration {
    SPACING.max(cost.saturating_mul(SHARE_OF_TIME)).min(interval / LOOKS)
}

/// Runs `work` in the namespace that is looked at.
fn inside<T: Send>(place: Option<&Namespace>, work: impl FnOnce() -> T + Send) -> Reading<T> {
    match place {
        Some(namespace) => netns::enter(namespace, work),
        None => Ok(work()),
    }
}

/// What the machine is like, with nothing seen yet.
fn idle(root: &Root) -> Reading<Evidence> {
    let meminfo = Meminfo::read(root)?;
    let memory = MachineMemory {
        total_bytes: meminfo.total_bytes,
        available_bytes: meminfo.available_bytes.unwrap_or(meminfo.free_bytes),
        hugetlb_bytes: meminfo.hugetlb_bytes.unwrap_or(0),
    };
    let mut evidence = Evidence::idle(Machine::read(root)?, memory);
    evidence.two_ticks_us = evidence.machine.two_ticks_us.unwrap_or(evidence.two_ticks_us);
    Ok(evidence)
}

/// Reads the settings: those of the namespace inside, global ones where this thread is.
fn settings(root: &Root, place: Option<&Namespace>) -> Reading<BTreeMap<String, Setting>> {
    let here = texts(root);
    let mut there = inside(place, || texts(root))?;
    let read = KEYS.iter().filter_map(|key| {
        let reach = Reach::of(root, key);
        let inside = there.remove(key.name);
        let text = match reach {
            Reach::Global => here.get(key.name).cloned().or(inside),
            Reach::Namespace => inside,
        };
        Some((key.name.to_owned(), Setting { text: text?, reach }))
    });
    Ok(read.collect())
}

/// The files' contents without the newline, in the calling thread's network namespace.
fn texts(root: &Root) -> BTreeMap<&'static str, String> {
    let read = KEYS.iter().filter_map(|key| {
        let bytes = source::read(&sysctl::path(root, key.name).ok()?).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        Some((key.name, text.strip_suffix('\n').unwrap_or(&text).to_owned()))
    });
    read.collect()
}

/// What AF_XDP sockets lost and hold, in the calling thread's network namespace.
fn xdp_seen(root: &Root, before: &Sample, after: &Sample) -> XdpSeen {
    let Some(now) = after.namespaces.first() else { return XdpSeen::default() };
    let rates = Rates::between(before, after);
    let grown = rates.as_ref().and_then(|rates| rates.namespaces.first());
    xdp::look(root, now, grown.map_or(&[], |grown| &grown.xdp_sockets))
}

/// The machine's smallest huge pages: what any UMEM can be in.
fn huge_pages(root: &Root) -> Option<HugePagePool> {
    let all = Hugepages::read(root).ok()?;
    let of_machine = all.pools.iter().filter(|pool| pool.node.is_none());
    let pool = of_machine.min_by_key(|pool| pool.page_bytes)?;
    let takeable = all.takeable(pool.page_bytes, None);
    Some(HugePagePool { page_bytes: pool.page_bytes, total: pool.total, takeable })
}

fn basis(root: &Root, sample: &Sample) -> Reading<Basis> {
    let text = |file: &str| -> Reading<String> {
        let bytes = source::read(&root.proc(file))?;
        Ok(String::from_utf8_lossy(bytes.trim_ascii()).into_owned())
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Basis {
        kernel_release: text("sys/kernel/osrelease")?,
        boot_id: text("sys/kernel/random/boot_id")?,
        netns_inode: sample.namespaces.first().map_or(0, |namespace| namespace.inode),
        made_at_s: now.as_secs(),
    })
}

/// The speed of the fastest device of this namespace that is no virtual one.
///
/// `/sys/class/net` shows the namespace it was mounted in: an interface counts only if its number is that
/// of the interface of that name here.
fn link_bits_per_s(root: &Root, sample: &Sample) -> Option<u64> {
    let links = sample.namespaces.first()?.links.as_ref().ok()?;
    let number = |name: &str, file: &str| {
        let text = fs::read_to_string(root.sys("class/net").join(name).join(file)).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let speeds = links.iter().filter_map(|link| {
        let is_device = root.sys("class/net").join(&link.name).join("device").exists();
        let is_same = number(&link.name, "ifindex") == Some(link.counters.ifindex.into());
        // In megabits; -1 where the driver does not know.
        let megabits = number(&link.name, "speed").filter(|speed| *speed > 0)?;
        (is_device && is_same).then(|| megabits.saturating_mul(1_000_000))
    });
    speeds.max()
}

impl Evidence {
    fn add_samples(&mut self, before: &Sample, after: &Sample) {
        self.protocols = protocols(before, after);
        self.not_known.extend(missing(before, after));
        let Some(rates) = Rates::between(before, after) else { return };
        self.elapsed_ms = (rates.elapsed_ns / 1_000_000).max(1);
        let cpus = rates.cpus.iter().map(|row| CpuLoad {
            cpu: row.cpu,
            processed: row.grown.processed.into(),
            dropped: row.grown.dropped.into(),
            flow_limit: row.grown.flow_limit.unwrap_or(0).into(),
            time_squeeze: row.grown.time_squeeze.into(),
            received_rps: row.grown.received_rps.unwrap_or(0).into(),
            rounds: None,
            softirq_percent: None,
        });
        self.cpus = cpus.collect();
        let (Some(grown), Some(now)) = (rates.namespaces.first(), after.namespaces.first()) else {
            return;
        };
        let counters = grown.counters.iter();
        self.grown = counters.map(|(name, by)| (name.to_owned(), by)).collect();
        let losses = grown.links.iter().map(|link| device_loss(link, &rates, now));
        self.devices =
            losses.filter(|loss| loss.rx_missed + loss.rx_fifo + loss.rx_hw_drops > 0).collect();
        let gap = now.xdp_sockets.gap.iter().map(|why| format!("some AF_XDP sockets: {why}"));
        self.not_known.extend(gap);
        let earlier = before.namespaces.first().map_or(&[][..], |it| &it.xdp_sockets.all);
        self.not_known.extend(uncounted(earlier, &now.xdp_sockets.all, &grown.xdp_sockets));
        let processes = now.sockets.as_ref().map_or(&[][..], |sockets| &sockets.processes);
        let holders = processes.iter().filter(|holder| holder.sum.charged_bytes > 0);
        let named = holders.take(HOLDERS).map(|holder| {
            let (process, sum) = (&holder.process, &holder.sum);
            let bytes = sum.charged_bytes;
            format!("{} {}: {bytes} bytes in {} sockets", process.name, process.pid, sum.sockets)
        });
        self.holders = named.collect();
    }

    fn add_peaks(&mut self, peaks: &Peaks) {
        for load in &mut self.protocols {
            let peak = match load.protocol {
                TransportProtocol::Tcp => peaks.tcp_pages,
                TransportProtocol::Udp => peaks.udp_pages,
            };
            load.pages = load.pages.max(peak.unwrap_or(0));
        }
        self.tcp_orphans = peaks.tcp_orphans;
    }

    fn add_cpu_times(&mut self, before: &Reading<AllCpus>, after: &Reading<AllCpus>) {
        let (Ok(before), Ok(after)) = (before, after) else {
            let why = after.as_ref().err().or_else(|| before.as_ref().err());
            self.not_known.extend(why.map(Unavailable::to_string));
            return;
        };
        let gap = after.gap.as_ref().or(before.gap.as_ref());
        self.not_known.extend(gap.map(Unavailable::to_string));
        for load in &mut self.cpus {
            let both = (before.by_cpu.get(&load.cpu), after.by_cpu.get(&load.cpu));
            let (Some(earlier), Some(later)) = both else { continue };
            load.rounds = later.rounds(earlier);
            load.softirq_percent = later.softirq_percent(earlier);
        }
    }

    /// Adds how long tasks waited for a CPU. That it is not told matters where a round of polling is longer
    /// than by default.
    fn add_stalls(&mut self, before: Reading<u64>, after: Reading<u64>, elapsed: Duration) {
        match (before, after) {
            (Ok(before), Ok(after)) => {
                let stalled_us = u128::from(after.saturating_sub(before));
                let share = (stalled_us * 100).checked_div(elapsed.as_micros());
                self.cpu_stall_percent = share.and_then(|share| u64::try_from(share).ok());
            }
            (Err(why), _) | (_, Err(why)) => {
                let matters = !self.longer_rounds().is_empty();
                self.not_known.extend(matters.then(|| format!("how long tasks wait: {why}")));
            }
        }
    }

    /// Names the settings that rules are about and that could not be read.
    fn note_settings(&mut self) {
        for key in KEYS_OF_RULES {
            if !self.settings.contains_key(key) {
                let why = "global settings can be read in the initial network namespace only";
                self.not_known.push(format!("{key}: not here; {why}"));
            }
        }
    }
}

/// Why sources are missing that rules depend on, in the last sample or only in the first.
fn missing(before: &Sample, after: &Sample) -> Vec<String> {
    let is_missing =
        |source: &&SourceReport| NEEDED.contains(&source.name) && source.state != SourceState::Ok;
    let at_end: Vec<&SourceReport> = after.sources().filter(is_missing).collect();
    let is_new = |source: &&SourceReport| at_end.iter().all(|known| known.name != source.name);
    let at_begin: Vec<&SourceReport> = before.sources().filter(is_missing).filter(is_new).collect();
    let reason = |source: &SourceReport| source.reason.clone();
    let at_begin = at_begin.into_iter().filter_map(reason);
    let at_begin = at_begin.map(|why| format!("{why}, at the first look"));
    at_end.iter().filter_map(|source| reason(source)).chain(at_begin).collect()
}

/// Why counters of AF_XDP sockets are missing; a socket that is new has counted nothing yet to compare.
fn uncounted(
    before: &[XdpSocketSample],
    now: &[XdpSocketSample],
    grown: &[XdpGrowth],
) -> Vec<String> {
    let why = |socket: &XdpSocketSample| {
        let grown = grown.iter().find(|grown| grown.inode == socket.inode);
        let has_all =
            |it: &XdpGrowth| it.rx_ring_full.is_some() && it.rx_fill_ring_empty_descs.is_some();
        let earlier = before.iter().find(|earlier| earlier.inode == socket.inode);
        let mut both = [earlier, Some(socket)].into_iter().flatten();
        let unread = both.find(|socket| socket.statistics().is_none());
        let why = match (unread.map(|socket| &socket.look), grown) {
            (Some(Err(why)), _) => why.to_string(),
            (Some(Ok(look)), _) => look.statistics.as_ref().err()?.to_string(),
            (None, Some(grown)) if !has_all(grown) => "not of full and empty rings".to_owned(),
            (None, _) => return None,
        };
        Some(format!("counters of AF_XDP socket socket:[{}]: {why}", socket.inode))
    };
    now.iter().filter_map(why).collect()
}

fn protocols(before: &Sample, after: &Sample) -> Vec<ProtocolLoad> {
    let pages = |sample: &Sample, of: &ProtocolMemory| {
        let all = sample.machine.protocols.as_ref().map_or(&[][..], |all| &all[..]);
        all.iter().find(|one| one.protocol == of.protocol).map_or(0, |one| one.pages)
    };
    let all = after.machine.protocols.as_ref().map_or(&[][..], |all| &all[..]);
    let loads = all.iter().map(|memory| ProtocolLoad {
        protocol: memory.protocol,
        pages: memory.pages.max(pages(before, memory)),
        error_bar_pages: memory.reserve.pages(),
    });
    loads.collect()
}

fn device_loss(link: &LinkGrowth, rates: &Rates, now: &NamespaceSample) -> DeviceLoss {
    let queues = rates.namespaces.first().map_or(&[][..], |grown| &grown.queues);
    let own = queues.iter().filter(|queue| queue.ifindex == link.ifindex);
    let is_rx = |queue: &crate::netlink::Queue| {
        queue.ifindex == link.ifindex && queue.direction == Direction::Rx
    };
    let mapped = now.queues.as_ref().map_or(&[][..], |map| &map.queues);
    DeviceLoss {
        name: now.link_name(link.ifindex),
        rx_missed: link.rx_missed_errors.unwrap_or(0),
        rx_fifo: link.rx_fifo_errors.unwrap_or(0),
        rx_hw_drops: own.filter_map(|queue| queue.rx_hw_drops).sum(),
        rx_queues: mapped.iter().filter(|mapped| is_rx(&mapped.queue)).count(),
        rx_ring: None,
    }
}

/// Asks for the rings of devices that dropped packets, in the calling thread's network namespace. A driver
/// without rings says so, or 0.
fn add_rings(devices: &mut [DeviceLoss]) {
    let mut ethtool = None;
    for device in devices {
        let Ok(ethtool) = ethtool.get_or_insert_with(Ethtool::open) else { return };
        let rings = ethtool.rings(&device.name).ok().map(|rings| (rings.now.rx, rings.max.rx));
        device.rx_ring = rings.filter(|(now, most)| *now > 0 && most >= now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(folder: &str) -> Sample {
        let root = Root::at(format!("{}/tests/fixtures/{folder}", env!("CARGO_MANIFEST_DIR")));
        Sampler::new(root, NamespaceChoice::Own, 8).sample().unwrap()
    }

    fn take_away(sample: &mut Sample) {
        for source in &mut sample.machine.sources {
            if ["softnet", "memory-pressure"].contains(&source.name) {
                source.state = SourceState::Denied;
                source.reason = Some("softnet: denied".to_owned());
            }
        }
    }

    /// Has failed with: the missing source told always, or never.
    #[test]
    fn waiting_tasks_matter_where_rounds_are_long() {
        let root = Root::at(format!("{}/tests/fixtures/6.18", env!("CARGO_MANIFEST_DIR")));
        let ten = Duration::from_secs(10);
        let missing = || Err(Unavailable::absent("/proc/pressure/cpu", "x"));
        let of = |budget: &str, before, after| {
            let mut evidence = idle(&root).unwrap();
            let setting = Setting { text: budget.to_owned(), reach: Reach::Global };
            evidence.settings.insert("net.core.netdev_budget".to_owned(), setting);
            evidence.add_stalls(before, after, ten);
            (evidence.cpu_stall_percent, evidence.not_known.len())
        };
        assert_eq!(of("300", Ok(5), Ok(5_000_005)), (Some(50), 0));
        assert_eq!(of("301", Ok(5), Ok(5)), (Some(0), 0));
        assert_eq!(of("300", missing(), Ok(5)), (None, 0));
        assert_eq!(of("301", missing(), Ok(5)), (None, 1));
        assert_eq!(of("301", Ok(5), missing()), (None, 1));
    }

    /// Has failed with: the two samples alone; the last look for the largest.
    #[test]
    fn the_largest_of_all_looks_counts() {
        let root = Root::at(format!("{}/tests/fixtures/6.18", env!("CARGO_MANIFEST_DIR")));
        let sample = sample("6.18");
        let mut evidence = idle(&root).unwrap();
        evidence.add_samples(&sample, &sample);
        let before: Vec<u64> = evidence.protocols.iter().map(|load| load.pages).collect();
        let mut peaks = Peaks::default();
        evidence.add_peaks(&peaks);
        assert_eq!(evidence.tcp_orphans, None);
        peaks.look(&root);
        let now = Sockstat::read(&root).unwrap();
        let higher = Sockstat { tcp_mem_pages: before[0] + 9, tcp_orphan: 7, ..now.clone() };
        for seen in [&higher, &now] {
            peaks.add(seen);
        }
        evidence.add_peaks(&peaks);
        let after: Vec<u64> = evidence.protocols.iter().map(|load| load.pages).collect();
        assert_eq!(after, [before[0] + 9, before[1]]);
        assert_eq!(evidence.tcp_orphans, Some(7));
    }

    /// Has failed with: the looks' cost left out, or without a bound.
    #[test]
    fn looks_are_as_dense_as_they_are_cheap() {
        let ms = Duration::from_millis;
        assert_eq!(spacing(ms(500), ms(0)), ms(50));
        assert_eq!(spacing(ms(10_000), ms(5)), ms(100));
        assert_eq!(spacing(ms(10_000), ms(6)), ms(120));
        assert_eq!(spacing(ms(10_000), ms(500)), ms(1000), "ten looks, whatever they cost");
        assert_eq!(spacing(ms(500), ms(200)), ms(50));
    }

    /// Has failed with: the last sample's sources alone.
    #[test]
    fn a_source_that_was_missing_in_one_sample_is_told() {
        let (whole, mut less) = (sample("6.18"), sample("6.18"));
        take_away(&mut less);
        let known = missing(&whole, &whole);
        let with = |more: &str| {
            let mut all = known.clone();
            all.push(more.to_owned());
            all.sort();
            all
        };
        let sorted = |before, after| {
            let mut all = missing(before, after);
            all.sort();
            all
        };
        assert_eq!(sorted(&less, &whole), with("softnet: denied, at the first look"));
        assert_eq!(sorted(&whole, &less), with("softnet: denied"));
        assert_eq!(sorted(&less, &less), with("softnet: denied"));
    }
}
