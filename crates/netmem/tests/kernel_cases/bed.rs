//! Where a case runs: two interfaces joined by a wire, in a namespace of their own or as given.
//!
//! Both ends of the veth are in one namespace, whose only inhabitant is the case's thread: sockets,
//! program and links of both ends are that thread's, and all is gone when it ends. The settings of
//! busy polling are in sysfs, which shows the namespace that it was mounted in: the thread has a mount
//! namespace of its own, with a sysfs of its own.

use std::{
    fmt, fs,
    path::PathBuf,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use netmem::{link::Link, packet::Promiscuous, xdp::XdpMode};
use netmem_bpf::AttachMode;
use netmem_host::{
    lab::NetNs,
    netlink::{AdminState, Ethtool, LinkSpec, OperState, RingCounts, Route},
};
use nix::{
    libc,
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

/// The variable that names two interfaces of this namespace, joined by a wire: `ifA,ifB`.
pub(crate) const PAIR: &str = "NETMEM_CASES_PAIR";

/// How long anything may take that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The settings of the kernel's own suite for busy polling, by file name.
const BUSY_POLL: [(&str, &str); 2] =
    [("napi_defer_hard_irqs", "2"), ("gro_flush_timeout", "200000")];

/// Why a case did not get to its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Something is not as it must be.
    Failed(String),
    /// The device or the kernel cannot do this, in its own words.
    Impossible(String),
}

impl Stop {
    pub(crate) fn failed(why: impl fmt::Display) -> Self {
        Self::Failed(why.to_string())
    }
}

/// How a case is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) mode: XdpMode,
    pub(crate) busy_poll: bool,
}

impl Way {
    pub(crate) fn attach_mode(self) -> AttachMode {
        match self.mode {
            XdpMode::ZeroCopy | XdpMode::Native => AttachMode::Native,
            XdpMode::Generic => AttachMode::Generic,
        }
    }

    /// Whether the kernel copies packets: then its answers are the same on every device.
    pub(crate) fn copies(self) -> bool {
        self.mode != XdpMode::ZeroCopy
    }
}

/// One end of the wire.
#[derive(Debug, Clone)]
pub(crate) struct Nic {
    pub(crate) name: String,
    pub(crate) index: u32,
}

/// Two ends of a wire, for one case.
#[derive(Debug)]
pub(crate) struct Bed {
    pub(crate) way: Way,
    pub(crate) tx: Nic,
    pub(crate) rx: Nic,
    /// Whether the interfaces are others' and stay: strangers may send on them.
    pub(crate) is_given: bool,
    restore: Vec<(PathBuf, String)>,
    _promiscuous: Vec<Promiscuous>,
}

/// Runs `case` on a bed, and leaves nothing behind.
pub(crate) fn run(
    way: Way,
    case: impl FnOnce(&Bed) -> Result<(), Stop> + Send,
) -> Result<(), Stop> {
    if let Some((a, b)) = pair() {
        return case(&Bed::given(way, &a, &b)?);
    }
    let namespace = NetNs::create().map_err(Stop::failed)?;
    namespace.run(|| case(&Bed::veth(way)?)).map_err(Stop::failed)?
}

/// The interfaces that the environment names.
pub(crate) fn pair() -> Option<(String, String)> {
    let pair = std::env::var(PAIR).ok()?;
    let (a, b) = pair.split_once(',')?;
    Some((a.trim().to_owned(), b.trim().to_owned()))
}

/// How many fragments a socket buffer has at most: `net.core.max_skb_frags`, which the default
/// namespace alone shows, so it is read from the process's first thread. 17 where nobody says.
pub(crate) fn max_skb_frags() -> usize {
    static LIMIT: OnceLock<usize> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let text = fs::read_to_string("/proc/sys/net/core/max_skb_frags");
        text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(17)
    })
}

/// The name of the driver that the cases run on.
pub(crate) fn driver() -> String {
    let Some((name, _)) = pair() else { return "veth".to_owned() };
    let device = fs::read_link(format!("/sys/class/net/{name}/device/driver"));
    let driver = device.ok().and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
    // A virtual one has no driver there, but a kind.
    let kind = || Route::open().and_then(|mut route| route.link(&name)).ok()?.kind;
    driver.or_else(kind).unwrap_or_else(|| "unknown".to_owned())
}

impl Bed {
    fn veth(way: Way) -> Result<Self, Stop> {
        no_ipv6("all")?;
        no_ipv6("default")?;
        let mut route = Route::open().map_err(Stop::failed)?;
        let spec =
            |name: &str| LinkSpec { rx_queues: Some(4), tx_queues: Some(4), ..LinkSpec::new(name) };
        let here = NetNs::current().map_err(Stop::failed)?;
        route.create_veth(&spec("tx"), &spec("rx"), &here).map_err(Stop::failed)?;
        own_sysfs().map_err(|errno| Stop::Failed(format!("mount sysfs: {errno}")))?;
        let mut bed = Self::on(way, "tx", "rx", false)?;
        bed.prepare(&mut route)?;
        Ok(bed)
    }

    fn given(way: Way, a: &str, b: &str) -> Result<Self, Stop> {
        no_ipv6(a)?;
        no_ipv6(b)?;
        let mut route = Route::open().map_err(Stop::failed)?;
        let mut bed = Self::on(way, a, b, true)?;
        bed.prepare(&mut route)?;
        Ok(bed)
    }

    fn on(way: Way, tx: &str, rx: &str, is_given: bool) -> Result<Self, Stop> {
        let nic = |name: &str| {
            let link = Link::by_name(name).map_err(Stop::failed)?;
            Ok::<_, Stop>((Promiscuous::join(&link).map_err(Stop::failed)?, link.index))
        };
        let ((tx_promiscuous, tx_index), (rx_promiscuous, rx_index)) = (nic(tx)?, nic(rx)?);
        Ok(Self {
            way,
            tx: Nic { name: tx.to_owned(), index: tx_index },
            rx: Nic { name: rx.to_owned(), index: rx_index },
            is_given,
            restore: Vec::new(),
            _promiscuous: vec![tx_promiscuous, rx_promiscuous],
        })
    }

    fn prepare(&mut self, route: &mut Route) -> Result<(), Stop> {
        for name in [self.tx.name.clone(), self.rx.name.clone()] {
            let settings = if self.way.busy_poll { &BUSY_POLL[..] } else { &[] };
            for (setting, value) in settings {
                self.set(PathBuf::from(format!("/sys/class/net/{name}/{setting}")), value)?;
            }
            route.set_state(&name, AdminState::Up).map_err(Stop::failed)?;
        }
        self.wait_until_up()
    }

    /// Writes a setting, which gets its old value back.
    fn set(&mut self, path: PathBuf, value: &str) -> Result<(), Stop> {
        let failed = |error| Stop::Failed(format!("write {}: {error}", path.display()));
        let old = fs::read_to_string(&path).map_err(failed)?;
        fs::write(&path, value).map_err(failed)?;
        self.restore.push((path, old.trim().to_owned()));
        Ok(())
    }

    /// Lets both interfaces take packets of `mtu_bytes`, until the returned value goes.
    pub(crate) fn mtu(&self, mtu_bytes: u32) -> Result<Mtu, Stop> {
        let mut route = Route::open().map_err(Stop::failed)?;
        let mut old = Vec::new();
        for nic in [&self.tx, &self.rx] {
            old.push((nic.name.clone(), route.link(&nic.name).map_err(Stop::failed)?.mtu));
            route.set_mtu(&nic.name, mtu_bytes).map_err(|error| match error.errno() {
                Some(libc::EINVAL) => Stop::Impossible(error.to_string()),
                _ => Stop::failed(error),
            })?;
        }
        self.wait_until_up()?;
        Ok(Mtu { route, old })
    }

    /// Gives both devices rings as `choose` says, knowing the largest they take, until the returned
    /// value goes.
    pub(crate) fn rings(
        &self,
        choose: impl Fn(RingCounts) -> RingCounts,
    ) -> Result<DeviceRings, Stop> {
        let mut ethtool = Ethtool::open().map_err(Stop::failed)?;
        let refused = |error: netmem_host::Error| match error.errno() {
            Some(libc::EOPNOTSUPP | libc::EINVAL) => Stop::Impossible(error.to_string()),
            _ => Stop::failed(error),
        };
        let mut old = Vec::new();
        let mut now = RingCounts::default();
        for nic in [&self.tx, &self.rx] {
            let rings = ethtool.rings(&nic.name).map_err(refused)?;
            now = choose(rings.max);
            old.push((nic.name.clone(), rings.now));
            ethtool.set_rings(&nic.name, now).map_err(refused)?;
        }
        self.wait_until_up()?;
        Ok(DeviceRings { now, ethtool, old })
    }

    /// A program that comes or goes, or an MTU that changes, may take a link down for a while.
    pub(crate) fn wait_until_up(&self) -> Result<(), Stop> {
        let mut route = Route::open().map_err(Stop::failed)?;
        let deadline = Instant::now() + PATIENCE;
        for nic in [&self.tx, &self.rx] {
            loop {
                let link = route.link(&nic.name).map_err(Stop::failed)?;
                if matches!(link.oper_state, OperState::Up | OperState::Unknown)
                    && link.qdisc != "noop"
                {
                    break;
                }
                if Instant::now() > deadline {
                    return Err(Stop::Failed(format!("{} is still down", nic.name)));
                }
                thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for (path, value) in self.restore.drain(..) {
            // The interface may have gone, and its settings with it.
            let _ = fs::write(path, value);
        }
    }
}

/// Another MTU; the old one comes back when this is dropped.
#[derive(Debug)]
pub(crate) struct Mtu {
    route: Route,
    old: Vec<(String, u32)>,
}

impl Drop for Mtu {
    fn drop(&mut self) {
        for (name, mtu_bytes) in self.old.drain(..) {
            // The interface may have gone.
            let _ = self.route.set_mtu(&name, mtu_bytes);
        }
    }
}

/// Other rings of the devices; the old ones come back when this is dropped.
#[derive(Debug)]
pub(crate) struct DeviceRings {
    pub(crate) now: RingCounts,
    ethtool: Ethtool,
    old: Vec<(String, RingCounts)>,
}

impl Drop for DeviceRings {
    fn drop(&mut self) {
        for (name, rings) in self.old.drain(..) {
            // The interface may have gone.
            let _ = self.ethtool.set_rings(&name, rings);
        }
    }
}

/// Nobody shall send what no case asked for.
fn no_ipv6(scope: &str) -> Result<(), Stop> {
    let path = format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6");
    match fs::write(&path, "1") {
        // A kernel without IPv6.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(|error| Stop::Failed(format!("write {path}: {error}"))),
    }
}

/// Gives the calling thread a sysfs that shows its network namespace.
fn own_sysfs() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), nothing)
}
