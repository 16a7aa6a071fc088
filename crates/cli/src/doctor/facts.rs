//! What the checks of `netmem doctor` look at: a host and its interfaces, as far as they tell.
//!
//! All of it is read before any check looks, and nothing is changed. Each fact is a [`Reading`]: what
//! cannot be had says why, and no check takes that for a no.

use std::collections::BTreeMap;

use netmem::link::{Channels, DriverRings, Link, Told, Untold, XdpFeatures};
use netmem_host::{
    netlink::{Ethtool, FeatureState, Route, SockDiag},
    proc::{Buddyinfo, FreeBlocks, HugepagePool, Hugepages, Limits, Meminfo},
    routes,
    source::{self, Reading, Root, Unavailable},
};

use super::probe::{self, Sent, Uring};
use crate::{
    Failure,
    explain::value::{config, sysctl, text, tracepoint},
};

/// The sysctls that checks look at.
pub(super) const SYSCTLS: [&str; 14] = [
    "kernel.io_uring_disabled",
    "net.core.bpf_jit_enable",
    "net.core.busy_poll",
    "net.core.netdev_budget",
    "net.core.netdev_budget_usecs",
    "net.core.optmem_max",
    "net.core.rmem_max",
    "net.core.wmem_max",
    "net.ipv4.tcp_available_ulp",
    "net.ipv4.tcp_mem",
    "net.ipv4.tcp_moderate_rcvbuf",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_window_scaling",
    "net.ipv4.udp_mem",
];
/// The events of the kernel's tracing that drops and page pools are watched by.
pub(super) const TRACEPOINTS: [&str; 5] = [
    "skb/kfree_skb",
    "page_pool/page_pool_state_hold",
    "sock/sock_exceed_buf_limit",
    "xdp/xdp_exception",
    "napi/napi_poll",
];
/// The options that the kernel was built with that checks look at.
pub(super) const OPTIONS: [&str; 2] = ["CONFIG_PAGE_POOL_STATS", "CONFIG_TLS"];

/// A host, and what was tried on it.
#[derive(Debug, Clone)]
pub(super) struct Host {
    /// The kernel's release, such as `6.18.44`.
    pub(super) release: Reading<String>,
    pub(super) cpus: Reading<u32>,
    pub(super) memory_bytes: Reading<u64>,
    pub(super) page_bytes: u64,
    /// The effective capabilities of this process, a bit each.
    pub(super) capabilities: Reading<u64>,
    /// How much this process may lock; `None` for no limit.
    pub(super) memlock_bytes: Reading<Option<u64>>,
    /// Pools of huge pages, a node and size each.
    pub(super) huge_pages: Reading<Vec<HugePages>>,
    /// Free memory by size of blocks, a zone each.
    pub(super) zones: Reading<Vec<FreeBlocks>>,
    pub(super) transparent_huge_pages: Reading<String>,
    /// Groups of devices behind an IOMMU.
    pub(super) iommu_groups: Reading<usize>,
    /// Bounce buffers in use, in slots of 2 KiB.
    pub(super) bounce_slots: Reading<u64>,
    pub(super) sysctls: BTreeMap<&'static str, Reading<String>>,
    pub(super) tracepoints: BTreeMap<&'static str, Reading<()>>,
    pub(super) options: BTreeMap<&'static str, Reading<String>>,
    pub(super) xdp_socket: Reading<()>,
    /// AF_XDP sockets that the kernel's socket diagnosis shows.
    pub(super) xdp_sockets: Reading<usize>,
    pub(super) zerocopy: Reading<Sent>,
    pub(super) io_uring: Reading<Uring>,
    pub(super) interfaces: Vec<Interface>,
}

/// A pool of huge pages of one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HugePages {
    pub(super) node: u32,
    pub(super) page_bytes: u64,
    pub(super) total: u64,
    pub(super) free: u64,
}

/// An interface, as far as the kernel tells.
#[derive(Debug, Clone)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) is_up: bool,
    pub(super) has_carrier: Option<bool>,
    pub(super) mtu_bytes: u32,
    pub(super) driver: Reading<String>,
    /// Device behind it, its IOMMU domain and its node; nothing for a virtual interface.
    pub(super) device: Option<Device>,
    pub(super) channels: Reading<Channels>,
    pub(super) rx_queues: Reading<u32>,
    pub(super) rings: Reading<DriverRings>,
    pub(super) xdp: Reading<XdpFeatures>,
    pub(super) features: Reading<Vec<FeatureState>>,
    /// The receive queue of each entry of its RSS table.
    pub(super) rss: Reading<Vec<u32>>,
    /// Whether a veth's other end leaves checksums unfilled.
    pub(super) peer_tx_checksum: Option<Reading<bool>>,
    /// The XDP program on it, in words.
    pub(super) program: Option<String>,
    pub(super) has_default_route: bool,
}

/// A device on a bus.
#[derive(Debug, Clone)]
pub(super) struct Device {
    pub(super) bus: String,
    pub(super) name: String,
    /// `DMA`, `DMA-FQ` or `identity`; absent without an IOMMU.
    pub(super) domain: Reading<String>,
    /// -1 where the machine has one node or does not say.
    pub(super) numa_node: Reading<i32>,
}

impl Host {
    /// Reads the host and the interface of that name, or all interfaces but loopback.
    ///
    /// # Errors
    /// When there is no such interface, or the kernel does not list any.
    pub(super) fn read(root: &Root, interface: Option<&str>) -> Result<Self, Failure> {
        let sysctls = SYSCTLS.map(|name| (name, sysctl(root, name)));
        let tracepoints = TRACEPOINTS.map(|event| (event, tracepoint(root, event)));
        let options = OPTIONS.map(|name| (name, config(root, name)));
        let bounce = root.sys("kernel/debug/swiotlb/io_tlb_used");
        Ok(Self {
            release: sysctl(root, "kernel.osrelease"),
            cpus: text(&root.sys("devices/system/cpu/online")).and_then(|text| cpu_count(&text)),
            memory_bytes: Meminfo::read(root).map(|memory| memory.total_bytes),
            page_bytes: rustix::param::page_size() as u64,
            capabilities: source::read_with(&root.proc("thread-self/status"), capabilities),
            memlock_bytes: Limits::read(root, None).map(|limits| limits.locked_bytes.soft),
            huge_pages: huge_pages(root),
            zones: Buddyinfo::read(root).map(|buddyinfo| buddyinfo.zones),
            transparent_huge_pages: text(&root.sys("kernel/mm/transparent_hugepage/enabled")),
            iommu_groups: folder(&root.sys("kernel/iommu_groups")).map(|names| names.len()),
            bounce_slots: source::read_with(&bounce, number),
            sysctls: sysctls.into(),
            tracepoints: tracepoints.into(),
            options: options.into(),
            xdp_socket: probe::xdp_socket(),
            xdp_sockets: SockDiag::open()
                .and_then(|mut diagnosis| diagnosis.xdp_sockets())
                .map(|sockets| sockets.len())
                .map_err(|error| Unavailable::from(&error)),
            zerocopy: probe::zerocopy(),
            io_uring: probe::io_uring(),
            interfaces: interfaces(root, interface)?,
        })
    }
}

fn interfaces(root: &Root, named: Option<&str>) -> Result<Vec<Interface>, Failure> {
    let names = match named {
        Some(name) => vec![name.to_owned()],
        None => {
            let links = Route::open()?.links()?;
            let others = links.into_iter().filter(|link| !link.flags.loopback);
            others.map(|link| link.name).collect()
        }
    };
    let default = routes::default_route_interfaces().unwrap_or_default();
    let mut interfaces = Vec::new();
    for name in names {
        let link = match Link::by_name(&name) {
            // One that went since it was listed is none.
            Err(_) if named.is_none() => continue,
            link => link?,
        };
        interfaces.push(Interface::read(root, &link, default.contains(&name)));
    }
    Ok(interfaces)
}

impl Interface {
    fn read(root: &Root, link: &Link, has_default_route: bool) -> Self {
        let details = link.details();
        let ethtool = |ask: fn(&mut Ethtool, &str) -> netmem_host::Result<Vec<_>>| {
            Ethtool::open().and_then(|mut ethtool| ask(&mut ethtool, &link.name))
        };
        let rss = Ethtool::open().and_then(|mut ethtool| ethtool.rss_queues(&link.name));
        Self {
            name: link.name.clone(),
            is_up: link.is_up,
            has_carrier: link.has_carrier,
            mtu_bytes: link.mtu_bytes,
            driver: told("driver", details.driver),
            device: link.device().map(|(bus, name)| Device::read(root, bus, name)),
            channels: told("ethtool channels", details.channels),
            rx_queues: told("receive queues", details.rx_queues),
            rings: told("ethtool rings", details.rings),
            xdp: told("netdev xdp-features", details.xdp),
            features: ethtool(Ethtool::features).map_err(|error| Unavailable::from(&error)),
            rss: rss.map_err(|error| Unavailable::from(&error)),
            peer_tx_checksum: details.peer_tx_checksum.map(|told_of| told("peer", told_of)),
            program: link.xdp.map(|program| program.to_string()),
            has_default_route,
        }
    }
}

impl Device {
    fn read(root: &Root, bus: &str, name: &str) -> Self {
        let folder = root.sys("bus").join(bus).join("devices").join(name);
        Self {
            bus: bus.to_owned(),
            name: name.to_owned(),
            domain: text(&folder.join("iommu_group/type")).map(|text| text.trim().to_owned()),
            numa_node: source::read_with(&folder.join("numa_node"), number),
        }
    }
}

fn told<T>(source: &str, told: Told<T>) -> Reading<T> {
    told.map_err(|untold| match untold {
        Untold::Failed(why) if why.contains("EPERM") || why.contains("EACCES") => {
            Unavailable::denied(source, why)
        }
        other => {
            let why = other.to_string();
            Unavailable::absent(source, why.trim_start_matches("unknown: "))
        }
    })
}

/// `0-3,8` are five.
fn cpu_count(text: &str) -> Reading<u32> {
    let run = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        last.checked_sub(first)?.checked_add(1)
    };
    let count = text.trim().split(',').map(run).try_fold(0_u32, |sum, n| sum.checked_add(n?));
    count.ok_or_else(|| Unavailable::malformed("cpu/online", "not in the form that is known"))
}

fn capabilities(bytes: &[u8]) -> Option<u64> {
    u64::from_str_radix(&field(bytes, "CapEff:")?, 16).ok()
}

/// The first word behind the beginning of a line.
fn field(bytes: &[u8], start: &str) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(start))?;
    rest.split_ascii_whitespace().next().map(str::to_owned)
}

fn number<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.trim().parse().ok()
}

/// The pools of each node, or the machine's where the kernel has no nodes.
fn huge_pages(root: &Root) -> Reading<Vec<HugePages>> {
    let pools = Hugepages::read(root)?.pools;
    let has_nodes = pools.iter().any(|pool| pool.node.is_some());
    let told = pools.iter().filter(|pool| pool.node.is_some() == has_nodes);
    let mut pools: Vec<_> = told.map(HugePages::of).collect();
    pools.sort_by_key(|pool| (pool.node, pool.page_bytes));
    Ok(pools)
}

impl HugePages {
    fn of(pool: &HugepagePool) -> Self {
        let HugepagePool { page_bytes, total, free, .. } = *pool;
        Self { node: pool.node.unwrap_or(0), page_bytes, total, free }
    }
}

/// The names in a folder.
fn folder(path: &std::path::Path) -> Reading<Vec<String>> {
    let name = || path.display().to_string();
    let entries = std::fs::read_dir(path).map_err(|e| Unavailable::by_io(name(), &e))?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    Ok(names.collect())
}
