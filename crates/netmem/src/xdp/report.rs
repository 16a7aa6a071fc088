//! What a port can be asked for, and what it got.

use std::{fmt, time::Duration};

use super::{Advice, TxMetadataReport};
use crate::{Error, Result, sys::xsk};

/// Ring sizes past this are refused here; the kernel would fail to allocate them.
const MAX_RING_ENTRIES: u32 = 1 << 20;

/// The frames of the longest packet that is sent in copy mode.
const COPIED_FRAMES: u32 = 18;

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

    pub(super) const fn attach_mode(self) -> netmem_bpf::AttachMode {
        match self {
            Self::ZeroCopy | Self::Native => netmem_bpf::AttachMode::Native,
            Self::Generic => netmem_bpf::AttachMode::Generic,
        }
    }

    pub(super) const fn bind_flags(self) -> u16 {
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
    pub(super) fn check(&self) -> Result<()> {
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

/// Polling the driver from the worker's own system calls instead of by interrupts
/// (`SO_PREFER_BUSY_POLL`, kernel 5.11).
///
/// The interface's `napi_defer_hard_irqs` and `gro_flush_timeout` decide whether interrupts stay off
/// meanwhile; netmem does not change them, because the kernel would not put them back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusyPoll {
    /// How long one call may poll the driver, in microseconds (`SO_BUSY_POLL`).
    pub timeout_us: u32,
    /// How many packets one call takes at most, 1 to 65,535 (`SO_BUSY_POLL_BUDGET`).
    pub budget: u16,
    /// At least this long from one call that finds nothing to the next: without a pause receiving
    /// starves sending.
    pub every: Duration,
}

impl Default for BusyPoll {
    fn default() -> Self {
        Self { timeout_us: 20, budget: 64, every: Duration::from_micros(5) }
    }
}

/// Whether packets may span several frames (`XDP_USE_SG`, kernel 6.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MultiBuffer {
    /// Where the interface's MTU allows packets longer than a frame holds; without it if the kernel
    /// refuses, and then longer packets are dropped by the kernel.
    #[default]
    Auto,
    /// Always, or not at all.
    Always,
    /// Never: packets longer than a frame are dropped by the kernel.
    Never,
}

/// A mode that was tried and not got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedMode {
    /// Which mode.
    pub mode: XdpMode,
    /// The reason, in the kernel's words where it gave any, and what is known of the driver that may
    /// be behind it.
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
    /// Whether packets may span several frames.
    pub multi_buffer: bool,
    /// How many frames a packet may have to be sent; longer ones are dropped as
    /// [`DropReason::FullRing`](crate::mem::DropReason::FullRing). In copy mode 18: a socket buffer's
    /// head and its fragments, `MAX_SKB_FRAGS` of 17. In zero-copy mode what the driver takes
    /// (`xdp_zc_max_segs`, kernel 6.6), 1 where the kernel does not tell.
    pub tx_max_frames: u32,
    /// How the driver is polled, where it is.
    pub busy_poll: Option<BusyPoll>,
    /// Whether the port uses a UMEM that another port of the same [`PortSet`](super::PortSet) has
    /// registered.
    pub shares_umem: bool,
    /// Who does what packets ask for when they are sent; `None` where the port was not opened for it.
    pub tx_metadata: Option<TxMetadataReport>,
    /// What a user should know about this port, one line each. What concerns an interface more than a
    /// queue, [`Advice::QueuesWithoutSocket`], stands with its first port only.
    pub advice: Vec<Advice>,
}

impl PortReport {
    pub(crate) fn new(interface: &str, ifindex: u32, queue: u32, mode: XdpMode) -> Self {
        Self {
            interface: interface.to_owned(),
            ifindex,
            queue,
            mode,
            refused: Vec::new(),
            need_wakeup: true,
            tx_budget: None,
            multi_buffer: false,
            tx_max_frames: COPIED_FRAMES,
            busy_poll: None,
            shares_umem: false,
            tx_metadata: None,
            advice: Vec::new(),
        }
    }
}

impl fmt::Display for PortReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} queue {} ({})", self.interface, self.queue, self.mode.name())
    }
}
