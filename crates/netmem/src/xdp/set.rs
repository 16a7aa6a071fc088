//! From descriptions to bound ports: several interfaces and queues over one pool.
//!
//! Each mode of an interface's list is tried in order, for all of its queues together, with fresh
//! sockets where the last ones were bound; what was refused, and why, stands in the [`PortReport`].
//!
//! # One registration per class of device
//!
//! Copy or zero copy, need_wakeup and multi-buffer belong to the UMEM: a socket that binds to another
//! one's UMEM (`XDP_SHARED_UMEM`) inherits all three and may name none (`xsk_bind` in net/xdp/xsk.c,
//! kernel 6.18). So the first port of a class registers the pool's memory, later ones of the same class
//! share that UMEM, each with fill and completion rings of its own, and a device of another class has
//! the same memory registered once more. A slot has one owner all the same (P2): which ring it is in.

mod refusal;

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

pub(super) use self::refusal::Attempt;
use self::refusal::bind_refusal;
use super::{
    Advice, BoundPort, MultiBuffer, PortBuilder, PortReport, RefusedMode, TxMetadataReport,
    UnstartedPort, XdpMode,
    advice::{self, Frame, Got},
    builder::Takes,
    program::{XdpProgram, already_attached},
    socket::Socket,
    umem::{self, Shape},
};
use crate::{
    Error, Result,
    link::{Link, LinkDetails},
    mem::{Pool, PoolHandle},
    sys::xsk::{self, BindTo},
};

/// How long binds to an interface are tried again while a queue is busy, in all modes together: the process that
/// had it may have been killed, and ends when it gets to run.
const BIND_WITHIN: Duration = Duration::from_secs(2);
/// An Ethernet header and two VLAN tags: what a frame may have in front of the MTU's bytes.
const L2_BYTES: u32 = 14 + 4 + 4;

/// Ports over one pool, on any number of interfaces.
///
/// ```no_run
/// # use netmem::{mem::{Pool, PoolConfig, Region}, xdp::{Port, PortSet, Queues}};
/// # use netmem_wire::filter::Rules;
/// # fn main() -> Result<(), netmem::Error> {
/// let region = Region::builder(8192 * 2048).build()?;
/// let pool = Pool::new(region, PoolConfig::default())?;
/// let handle = pool.handle();
/// let ports = PortSet::new(&handle)
///     .port(Port::builder("eth1", Rules::new([])).queues(Queues::All))
///     .port(Port::builder("eth2", Rules::new([])).queues(Queues::All))
///     .bind()?;
/// // One worker for each queue: the bound ports are `Send`, the started ones are not (K7).
/// for port in ports {
///     let pool = std::sync::Arc::clone(&pool);
///     std::thread::spawn(move || port.start(&pool.handle()).map(|port| port.close()));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PortSet<'h> {
    handle: &'h PoolHandle,
    builders: Vec<PortBuilder>,
    registration: Registration,
}

/// When the sockets are put into the map that the program redirects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Registration {
    /// Before the program is attached.
    ByBind,
    /// By whoever has the ports.
    Later,
}

impl<'h> PortSet<'h> {
    /// Starts a set of ports over `handle`'s pool.
    #[must_use]
    pub fn new(handle: &'h PoolHandle) -> Self {
        Self { handle, builders: Vec::new(), registration: Registration::ByBind }
    }

    /// Leaves the sockets unregistered: the programs are attached, and what they take passes to the
    /// kernel until [`PortControl::register`](super::PortControl::register) or
    /// [`BoundPort::register`] says that somebody looks at the packets. Else they wait from the bind on
    /// in the rx rings, which may be full before the worker is ready.
    #[must_use]
    pub fn register_later(mut self) -> Self {
        self.registration = Registration::Later;
        self
    }

    /// Adds the ports that `builder` describes.
    #[must_use]
    pub fn port(mut self, builder: PortBuilder) -> Self {
        self.builders.push(builder);
        self
    }

    /// Binds all of them, in the calling thread's network namespace: in the order of the descriptions,
    /// and of the queues in each.
    ///
    /// # Errors
    /// As [`PortBuilder::bind`]; nothing stays bound or attached then.
    pub fn bind(self) -> Result<Vec<BoundPort>> {
        let plans = self.builders.iter().map(|builder| Plan::of(builder, self.handle.pool()));
        let plans = plans.collect::<Result<Vec<_>>>()?;
        let count: usize = plans.iter().map(|plan| plan.queues.len()).sum();
        let share = self.handle.pool().slots() / u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        let Self { handle, registration, .. } = self;
        let mut binder =
            Binder { handle, share, registration, umems: Vec::new(), busy_until: None };
        let mut ports = Vec::new();
        for plan in &plans {
            match binder.interface(plan) {
                Ok(more) => ports.extend(more),
                Err(error) => {
                    // The donors first: they keep their queues busy.
                    drop(binder);
                    ports.into_iter().for_each(BoundPort::close);
                    return Err(error);
                }
            }
        }
        tell_queues_without_socket(&plans, &mut ports);
        Ok(ports)
    }
}

/// Tells the first port of each interface which of its receive queues have no port of the set.
fn tell_queues_without_socket(plans: &[Plan<'_>], ports: &mut [BoundPort]) {
    // An interface takes one program, so it is in one plan.
    for plan in plans {
        let Ok(rx_queues) = plan.details.rx_queues else { continue };
        let queues = advice::queues_without_socket(rx_queues, &plan.queues);
        let first = ports.iter_mut().find(|port| port.report().ifindex == plan.link.index);
        if let Some(first) = first.filter(|_| !queues.is_empty()) {
            first.report_mut().advice.push(Advice::QueuesWithoutSocket { queues });
        }
    }
}

/// A description, and what it meets on this machine.
#[derive(Debug)]
struct Plan<'b> {
    builder: &'b PortBuilder,
    link: Link,
    details: LinkDetails,
    queues: Vec<u32>,
    shape: Shape,
    crosses_pages: Option<String>,
}

impl<'b> Plan<'b> {
    fn of(builder: &'b PortBuilder, pool: &Pool) -> Result<Self> {
        builder.rings.check()?;
        let shape = Shape::of(pool, builder.umem)?;
        let link = Link::by_name(&builder.interface)?;
        let details = link.details();
        let queues = builder.queues.on(&link, &details)?;
        if let Some(foreign) = &link.xdp {
            return Err(already_attached(&link, foreign));
        }
        let crosses_pages = shape.crosses_pages(pool);
        Ok(Self { builder, link, details, queues, shape, crosses_pages })
    }

    /// The longest frame that the MTU allows, in bytes.
    fn longest_bytes(&self) -> u32 {
        self.link.mtu_bytes.saturating_add(L2_BYTES)
    }

    fn frame(&self) -> Frame {
        let headroom_bytes = self.builder.umem.headroom_bytes;
        let (frame_bytes, longest_bytes) = (self.shape.frame_bytes(), self.longest_bytes());
        Frame { frame_bytes, headroom_bytes, longest_bytes }
    }

    /// Why a mode is not even tried.
    fn refusal(&self, mode: XdpMode) -> Option<String> {
        match mode {
            XdpMode::ZeroCopy => advice::cut_in_zero_copy(&self.details, self.frame())
                .or_else(|| self.crosses_pages.clone()),
            XdpMode::Native | XdpMode::Generic => None,
        }
    }

    /// Who does what packets ask for, in a mode, if the kernel takes metadata.
    fn tx_metadata(&self, mode: XdpMode) -> Option<TxMetadataReport> {
        let asked = self.builder.tx_metadata?;
        Some(TxMetadataReport::of(asked, mode, &self.details))
    }

    /// What is registered in a mode.
    fn shape(&self, mode: XdpMode) -> Shape {
        let tx_metadata = self.tx_metadata(mode);
        self.shape.with_tx_metadata(tx_metadata.is_some_and(|report| report.headroom_bytes > 0))
    }

    /// How many frames a packet may have to be sent in zero-copy mode.
    fn zc_max_segs(&self) -> u32 {
        let features = self.details.xdp.as_ref().ok();
        features.and_then(|features| features.zc_max_segs).unwrap_or(1).max(1)
    }

    /// With and without packets of several frames, in the order to try.
    fn choices(&self) -> &'static [bool] {
        match self.builder.multi_buffer {
            MultiBuffer::Always => &[true],
            MultiBuffer::Auto if self.longest_bytes() > self.shape.packet_bytes() => &[true, false],
            MultiBuffer::Auto | MultiBuffer::Never => &[false],
        }
    }
}

/// What a UMEM decides for every socket on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Class {
    is_zero_copy: bool,
    multi_buffer: bool,
    shape: Shape,
}

/// A socket whose UMEM others may bind to, as long as they are bound in the same call.
#[derive(Debug)]
struct Umem {
    class: Class,
    donor: OwnedFd,
    /// What the kernel said to tx metadata.
    tx_metadata: Arc<io::Result<()>>,
}

/// One try: the queues of an interface, in this mode.
#[derive(Debug, Clone, Copy)]
struct Try<'a> {
    plan: &'a Plan<'a>,
    mode: XdpMode,
    class: Class,
}

struct Binder<'h> {
    handle: &'h PoolHandle,
    /// How many slots each port gets at the start: no port takes what another needs.
    share: u32,
    registration: Registration,
    umems: Vec<Umem>,
    /// Until when a busy queue of this interface is waited for; set by the first.
    busy_until: Option<Instant>,
}

impl Binder<'_> {
    fn interface(&mut self, plan: &Plan<'_>) -> Result<Vec<BoundPort>> {
        self.busy_until = None;
        let mut programs = Programs { plan, loaded: [None, None] };
        let mut refused = Vec::new();
        for &mode in &plan.builder.modes {
            if let Some(why) = plan.refusal(mode) {
                refused.push(RefusedMode { mode, why });
                continue;
            }
            let mut why = Vec::new();
            for &multi_buffer in plan.choices() {
                let is_zero_copy = mode == XdpMode::ZeroCopy;
                let class = Class { is_zero_copy, multi_buffer, shape: plan.shape(mode) };
                let this = Try { plan, mode, class };
                let got = programs.get(multi_buffer);
                match got.and_then(|program| self.mode(this, program)) {
                    Ok(mut ports) => {
                        let too_long = too_long(plan, multi_buffer, &why);
                        for port in &mut ports {
                            port.report_mut().refused.clone_from(&refused);
                            port.report_mut().advice.splice(0..0, too_long.clone());
                        }
                        return Ok(ports);
                    }
                    Err(Attempt::Fatal(error)) => return Err(error),
                    Err(Attempt::Refused(words)) if multi_buffer => {
                        why.push(format!("multi-buffer: {words}"));
                    }
                    Err(Attempt::Refused(words)) => why.push(words),
                }
            }
            why.extend(advice::of_refusal(&plan.details, mode));
            refused.push(RefusedMode { mode, why: why.join("; ") });
        }
        Err(nothing_left(plan, &refused))
    }

    /// Binds all queues in one mode and attaches the program last; all or none.
    fn mode(
        &mut self,
        this: Try<'_>,
        program: &Arc<XdpProgram>,
    ) -> std::result::Result<Vec<BoundPort>, Attempt> {
        let known = self.umems.len();
        let mut ports = Vec::new();
        let attempt = self.queues(this, &mut ports).and_then(|()| {
            if self.registration == Registration::ByBind {
                for port in &ports {
                    program.set_socket(port.report().queue, port.fd())?;
                }
            }
            XdpProgram::attach(program, &this.plan.link, this.mode.attach_mode(), &mut ports)
        });
        match attempt {
            Ok(()) => Ok(ports),
            Err(attempt) => {
                // Waits until the queues are free, for the next mode to bind to; a donor would keep
                // its own busy.
                self.umems.truncate(known);
                ports.into_iter().for_each(BoundPort::close);
                Err(attempt)
            }
        }
    }

    fn queues(
        &mut self,
        this: Try<'_>,
        ports: &mut Vec<BoundPort>,
    ) -> std::result::Result<(), Attempt> {
        for &queue in &this.plan.queues {
            ports.push(self.queue(this, queue)?);
        }
        Ok(())
    }

    fn queue(&mut self, this: Try<'_>, queue: u32) -> std::result::Result<BoundPort, Attempt> {
        let Try { plan: Plan { builder, link, .. }, mode, class } = this;
        let donor = self.umems.iter().position(|umem| umem.class == class);
        let (fd, takes_metadata) = match donor {
            Some(donor) => (umem::open_socket()?, Arc::clone(&self.umems[donor].tx_metadata)),
            None => {
                let registered = umem::open(self.handle.pool(), &class.shape)?;
                (registered.fd, Arc::new(registered.tx_metadata))
            }
        };
        let tx_metadata = this.plan.tx_metadata(mode).map(|wanted| match &*takes_metadata {
            Ok(()) => wanted,
            Err(error) => wanted.refused(error),
        });
        umem::set_ring_sizes(fd.as_fd(), &builder.rings)?;
        let budget = builder.rings.tx.max(32);
        let tx_budget = xsk::set_tx_budget(fd.as_fd(), budget).ok().map(|()| budget);
        let mut report = PortReport {
            tx_budget: tx_budget.filter(|_| !class.is_zero_copy),
            multi_buffer: class.multi_buffer,
            shares_umem: donor.is_some(),
            tx_metadata,
            busy_poll: builder.busy_poll,
            ..PortReport::new(&builder.interface, link.index, queue, mode)
        };
        if class.is_zero_copy {
            report.tx_max_frames = this.plan.zc_max_segs();
        }
        umem::set_busy_poll(fd.as_fd(), &report)?;
        let socket = Socket::new(fd, &report);
        // The fill ring has its slots before the bind: zero-copy drivers take them in it.
        let mut port = UnstartedPort::fill(socket, builder.rings, report, self.handle, self.share)?;
        let flags = if class.multi_buffer { xsk::XDP_USE_SG } else { 0 };
        let to = match donor {
            Some(donor) => BindTo::Umem(self.umems[donor].donor.as_fd()),
            None => BindTo::Own { flags: mode.bind_flags() | flags },
        };
        bind(&port, &to, &mut self.busy_until)?;
        port.set_bound();
        port.report.advice = advice::of_port(&Got {
            details: &this.plan.details,
            mode,
            rings: &builder.rings,
            frame: this.plan.frame(),
            filled: port.filled,
        });
        if donor.is_none() {
            let donor = port.fd().try_clone_to_owned();
            let donor = donor.map_err(|error| Error::os("copy", "AF_XDP socket", error))?;
            self.umems.push(Umem { class, donor, tx_metadata: takes_metadata });
        }
        Ok(BoundPort::new(port))
    }
}

/// The interface's program, without and with support for packets of several fragments.
struct Programs<'a> {
    plan: &'a Plan<'a>,
    loaded: [Option<Arc<XdpProgram>>; 2],
}

impl Programs<'_> {
    fn get(&mut self, multi_buffer: bool) -> std::result::Result<&Arc<XdpProgram>, Attempt> {
        let Plan { builder, queues, .. } = self.plan;
        let frags = if multi_buffer { netmem_bpf::Frags::Yes } else { netmem_bpf::Frags::No };
        let slot = &mut self.loaded[usize::from(multi_buffer)];
        if slot.is_none() {
            *slot = Some(match &builder.takes {
                Takes::Program(program) => Arc::clone(program),
                Takes::Rules(rules) => {
                    let count = queues.iter().max().map_or(1, |queue| queue + 1);
                    let loaded = XdpProgram::load_with(&builder.name, rules, count, frags);
                    Arc::new(loaded.map_err(|error| match multi_buffer {
                        // Without it may do, on a kernel before 5.18.
                        true => Attempt::Refused(error.to_string()),
                        false => Attempt::Fatal(error),
                    })?)
                }
            });
        }
        Ok(slot.as_ref().expect("set above"))
    }
}

fn bind(
    port: &UnstartedPort,
    to: &BindTo<'_>,
    busy_until: &mut Option<Instant>,
) -> std::result::Result<(), Attempt> {
    let report = port.report();
    loop {
        let Err(error) = xsk::bind(port.fd(), report.ifindex, report.queue, to) else {
            return Ok(());
        };
        let is_busy = error.raw_os_error() == Some(libc::EBUSY);
        if is_busy
            && Instant::now() < *busy_until.get_or_insert_with(|| Instant::now() + BIND_WITHIN)
        {
            thread::sleep(Duration::from_millis(3));
            continue;
        }
        return Err(bind_refusal(report, error));
    }
}

/// Whether the kernel drops packets that the MTU allows, on ports that were got.
fn too_long(plan: &Plan<'_>, multi_buffer: bool, why: &[String]) -> Option<Advice> {
    let (longest_bytes, holds_bytes) = (plan.longest_bytes(), plan.shape.packet_bytes());
    let refused = (!why.is_empty()).then(|| why.join("; "));
    (longest_bytes > holds_bytes && !multi_buffer).then(|| Advice::PacketsTooLong {
        interface: plan.link.name.clone(),
        holds_bytes,
        longest_bytes,
        refused,
    })
}

fn nothing_left(plan: &Plan<'_>, refused: &[RefusedMode]) -> Error {
    let target = match plan.queues[..] {
        [queue] => format!("{} queue {queue}", plan.link.name),
        _ => format!("{} ({} queues)", plan.link.name, plan.queues.len()),
    };
    let reasons: Vec<_> = refused.iter().map(|r| format!("{}: {}", r.mode.name(), r.why)).collect();
    let why = if reasons.is_empty() { "no mode was named".into() } else { reasons.join("; ") };
    Error::refused("open port on", target, why)
}

#[cfg(test)]
mod tests;
