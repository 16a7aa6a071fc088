//! From an interface's name to a started [`Port`], by the best mode of the caller's list.
//!
//! Each mode is tried in order with a fresh socket where the last one was bound; what was refused,
//! and why, stands in the [`PortReport`]. Mode and wake-up belong to the UMEM, so a pool that is
//! opened on two classes of device is registered once for each.

use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use netmem_wire::filter::Rules;

use super::{
    port::{Port, Rings},
    program::{XdpProgram, already_attached},
    socket::{Kernel, Socket, current_namespace},
    umem,
};
use crate::{Error, Result, error::errno_text, link::Link, mem::PoolHandle, sys::xsk};

/// How long a bind is tried again while the queue is busy.
const BIND_WITHIN: Duration = Duration::from_millis(500);
/// Ring sizes past this are refused here; the kernel would fail to allocate them.
const MAX_RING_ENTRIES: u32 = 1 << 20;

/// How packets get between the driver and the pool, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum XdpMode {
    /// The driver writes into the pool's slots: no copy.
    ZeroCopy,
    /// The XDP program runs in the driver; the kernel copies each packet once.
    Native,
    /// The XDP program runs on socket buffers, after the driver; the kernel copies each packet.
    Generic,
}

impl XdpMode {
    /// Every mode, best first: what `auto` tries.
    pub const ALL: [Self; 3] = [Self::ZeroCopy, Self::Native, Self::Generic];

    /// The mode's name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ZeroCopy => "zero-copy",
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }

    const fn attach_mode(self) -> netmem_bpf::AttachMode {
        match self {
            Self::ZeroCopy | Self::Native => netmem_bpf::AttachMode::Native,
            Self::Generic => netmem_bpf::AttachMode::Generic,
        }
    }

    const fn bind_flags(self) -> u16 {
        match self {
            Self::ZeroCopy => xsk::XDP_ZEROCOPY | xsk::XDP_USE_NEED_WAKEUP,
            Self::Native | Self::Generic => xsk::XDP_COPY | xsk::XDP_USE_NEED_WAKEUP,
        }
    }
}

/// How many entries each ring has: powers of two, 1 to 1,048,576.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingSizes {
    /// Packets received and not yet looked at.
    pub rx: u32,
    /// Packets queued for sending.
    pub tx: u32,
    /// Slots that the kernel may receive into; at least the rx ring's size and the driver's own ring.
    pub fill: u32,
    /// Slots sent and not yet taken back; bounds what is on its way out.
    pub completion: u32,
}

impl Default for RingSizes {
    fn default() -> Self {
        Self { rx: 2048, tx: 2048, fill: 2048, completion: 2048 }
    }
}

impl RingSizes {
    fn check(&self) -> Result<()> {
        let rings = [
            ("rx ring", self.rx),
            ("tx ring", self.tx),
            ("fill ring", self.fill),
            ("completion ring", self.completion),
        ];
        for (name, entries) in rings {
            if !entries.is_power_of_two() || entries > MAX_RING_ENTRIES {
                let why = format!("not a power of two from 1 to {MAX_RING_ENTRIES}");
                return Err(Error::refused("set size of", format!("{name} to {entries}"), why));
            }
        }
        Ok(())
    }
}

/// A mode that was tried and not got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedMode {
    /// Which mode.
    pub mode: XdpMode,
    /// The reason, in the kernel's words where it gave any.
    pub why: String,
}

/// What a port got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortReport {
    /// The interface's name.
    pub interface: String,
    /// The interface's index.
    pub ifindex: u32,
    /// The queue, from 0.
    pub queue: u32,
    /// The mode that was got.
    pub mode: XdpMode,
    /// The better modes that were tried, in order, and why each was refused.
    pub refused: Vec<RefusedMode>,
    /// Whether the kernel says when it wants to be woken.
    pub need_wakeup: bool,
    /// How many packets one system call sends in copy mode; `None` where the kernel (before 6.18)
    /// keeps its own 32.
    pub tx_budget: Option<u32>,
}

impl fmt::Display for PortReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} queue {} ({})", self.interface, self.queue, self.mode.name())
    }
}

/// Describes a port. `Send`, so that it can be made in one thread and opened in the worker's (K7).
#[derive(Debug, Clone)]
pub struct PortBuilder {
    interface: String,
    queue: u32,
    modes: Vec<XdpMode>,
    rings: RingSizes,
    what: Takes,
    name: String,
}

/// What a port receives.
#[derive(Debug, Clone)]
enum Takes {
    /// What these rules take, by a program made from them.
    Rules(Rules),
    /// What this program redirects to its map of sockets.
    Program(Arc<XdpProgram>),
}

const _: fn() = || {
    fn needs_send<T: Send>() {}
    needs_send::<PortBuilder>();
};

impl Port {
    /// Starts the description of a port on queue 0 of `interface` that receives what `rules` take.
    #[must_use]
    pub fn builder(interface: &str, rules: Rules) -> PortBuilder {
        PortBuilder {
            interface: interface.to_owned(),
            queue: 0,
            modes: XdpMode::ALL.to_vec(),
            rings: RingSizes::default(),
            what: Takes::Rules(rules),
            name: "netmem".to_owned(),
        }
    }

    /// Starts the description of a port on queue 0 of `interface` that receives what `program`, made
    /// by the caller, redirects to its socket.
    #[must_use]
    pub fn with_program(interface: &str, program: Arc<XdpProgram>) -> PortBuilder {
        let what = Takes::Program(program);
        PortBuilder { what, ..Self::builder(interface, Rules::new([])) }
    }
}

impl PortBuilder {
    /// Chooses the queue, from 0.
    #[must_use]
    pub fn queue(mut self, queue: u32) -> Self {
        self.queue = queue;
        self
    }

    /// Names the modes to try, in order. Default: [`XdpMode::ALL`].
    #[must_use]
    pub fn modes(mut self, modes: &[XdpMode]) -> Self {
        self.modes = modes.to_vec();
        self
    }

    /// Sets the ring sizes.
    #[must_use]
    pub fn rings(mut self, rings: RingSizes) -> Self {
        self.rings = rings;
        self
    }

    /// Names the XDP program, as `bpftool prog` shows it: up to 15 letters, digits, `_` and `.`.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Opens the port over `handle`'s pool, in the calling thread and its network namespace.
    ///
    /// # Errors
    /// When no mode of the list could be had, with the reason of each; when another XDP program sits
    /// on the interface, which is never replaced; when the interface, the queue or a privilege is
    /// missing.
    pub fn open(self, handle: &PoolHandle) -> Result<Port> {
        self.rings.check()?;
        let frame_bytes = handle.pool().config().frame_bytes;
        if !matches!(frame_bytes, 2048 | 4096) {
            let target = format!("of frames of {frame_bytes} bytes");
            return Err(Error::refused("register umem", target, "AF_XDP takes 2048 or 4096"));
        }
        let link = Link::by_name(&self.interface)?;
        if self.queue >= link.queues {
            // Before anything is sized by the number; the kernel says EINVAL, and not why.
            let target = format!("{} queue {}", self.interface, self.queue);
            let why = format!("the interface's last queue is {}", link.queues - 1);
            return Err(Error::refused("open port on", target, why));
        }
        if let Some(foreign) = &link.xdp {
            return Err(already_attached(&link, foreign));
        }
        let program = match &self.what {
            Takes::Rules(rules) => Arc::new(XdpProgram::load(&self.name, rules, self.queue + 1)?),
            Takes::Program(program) => Arc::clone(program),
        };
        let mut refused = Vec::new();
        for &mode in &self.modes {
            let attempt = self.try_mode(mode, &link, handle, &program);
            match attempt {
                Ok(mut port) => {
                    port.report_mut().refused = refused;
                    return Ok(port);
                }
                Err(Attempt::Fatal(error)) => return Err(error),
                Err(Attempt::Refused(why)) => refused.push(RefusedMode { mode, why }),
            }
        }
        let reasons: Vec<_> =
            refused.iter().map(|r| format!("{}: {}", r.mode.name(), r.why)).collect();
        let target = format!("{} queue {}", self.interface, self.queue);
        let why = if reasons.is_empty() { "no mode was named".into() } else { reasons.join("; ") };
        Err(Error::refused("open port on", target, why))
    }

    fn try_mode(
        &self,
        mode: XdpMode,
        link: &Link,
        handle: &PoolHandle,
        program: &XdpProgram,
    ) -> std::result::Result<Port, Attempt> {
        let fd = umem::open(handle.pool())?;
        let rings: Rings = umem::map_rings(fd.as_fd(), &self.rings)?;
        let budget = self.rings.tx.max(32);
        let tx_budget = xsk::set_tx_budget(fd.as_fd(), budget).ok().map(|()| budget);
        let report = PortReport {
            interface: self.interface.clone(),
            ifindex: link.index,
            queue: self.queue,
            mode,
            refused: Vec::new(),
            need_wakeup: true,
            tx_budget: if mode == XdpMode::ZeroCopy { None } else { tx_budget },
        };
        let socket = Socket {
            fd,
            ifindex: link.index,
            queue: self.queue,
            namespace: current_namespace(),
            is_bound: false,
        };
        // The fill ring has its slots before the bind: zero-copy drivers take them in it.
        let mut port = Port::start(rings, Kernel::Socket(socket), handle.clone(), report);
        self.bind(fd_of(&port), mode, link)?;
        port.kernel_mut().set_bound();
        let attached = program
            .set_socket(self.queue, fd_of(&port))
            .map_err(Attempt::from)
            .and_then(|()| program.attach(link, mode.attach_mode()));
        match attached {
            Ok(attachment) => {
                port.attach(attachment);
                Ok(port)
            }
            Err(attempt) => {
                // Waits until the queue is free, for the next mode to bind to.
                let _ = port.close();
                Err(attempt)
            }
        }
    }

    fn bind(
        &self,
        fd: BorrowedFd<'_>,
        mode: XdpMode,
        link: &Link,
    ) -> std::result::Result<(), Attempt> {
        let deadline = Instant::now() + BIND_WITHIN;
        loop {
            let Err(error) = xsk::bind(fd, link.index, self.queue, mode.bind_flags()) else {
                return Ok(());
            };
            if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(3));
                continue;
            }
            return Err(self.bind_refusal(mode, error));
        }
    }

    fn bind_refusal(&self, mode: XdpMode, error: io::Error) -> Attempt {
        let errno = error.raw_os_error();
        if mode == XdpMode::ZeroCopy && errno != Some(libc::ENODEV) {
            // The kernel gives a number only, and a driver may answer any: the reading is ours. What
            // has nothing to do with zero copy, such as a privilege, refuses the next mode as well.
            let reading = match errno {
                Some(libc::EOPNOTSUPP) => "the driver offers copy mode only",
                Some(libc::EBUSY) => "another AF_XDP socket has this queue",
                _ => "the driver refuses this set-up for zero copy",
            };
            return Attempt::Refused(format!(
                "bind: {} (our reading: {reading})",
                errno_text(&error)
            ));
        }
        let target = format!("{} queue {} ({})", self.interface, self.queue, mode.name());
        let hint = match errno {
            Some(libc::EBUSY) => Some("another AF_XDP socket has this queue"),
            Some(libc::EINVAL) => {
                Some("the queue number must be below the number of queues in use: ethtool -l")
            }
            Some(libc::ENETDOWN) => Some("the interface is down: ip link set up"),
            Some(libc::EPERM) => Some("binding AF_XDP sockets needs CAP_NET_RAW"),
            _ => None,
        };
        let error = Error::os("bind", target, error);
        Attempt::Fatal(match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        })
    }
}

fn fd_of(port: &Port) -> BorrowedFd<'_> {
    port.kernel().fd().expect("started with a socket")
}

/// Why one mode could not be had: the next may work, or none will.
pub(super) enum Attempt {
    Refused(String),
    Fatal(Error),
}

impl From<Error> for Attempt {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}
