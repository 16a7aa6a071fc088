//! `netmem respond`: ARP, neighbor solicitations and ping for named addresses, answered from an AF_XDP
//! port until stopped.
//!
//! One worker, the calling thread: it owns the port, the pool handle and all counters. The kernel
//! takes the XDP program and the memberships off when the process ends, however it ends.
//!
//! # What the interface hears
//!
//! A solicitation goes to an Ethernet group made of the last bytes of the address that it asks for. A
//! NIC filters groups in hardware, so the groups of all addresses are joined, and with an IPv6 network
//! to proxy, whose groups are too many, all of the link (IFF_ALLMULTI). That is the Ethernet side
//! only: a switch that goes by MLD reports learns of the groups from the kernel, if the kernel has the
//! addresses too.

use std::{
    fmt::Display,
    io::Write,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use netmem::{
    device::Device,
    link::Link,
    mem::{Audit, PageTier, Pool, PoolConfig, PoolHandle, Region},
    packet::{Multicast, Promiscuous},
    stats::WorkerRecord,
    xdp::Port,
};
use netmem_wire::{
    MacAddr,
    filter::{self, ResponderConfig},
    icmpv6::ndp::solicited_node,
};
use serde::Serialize;

use crate::{
    Failure, Outcome,
    args::RespondArgs,
    publish::Published,
    report::{self, AuditReport, KernelStatistics, Memory, PacketCounts, Xdp},
    responder::{Responder, group_mac, is_one_host},
    stop::Stop,
};

/// Packets per batch: the kernel's own NAPI budget.
const BATCH: u32 = 64;
/// Empty looks at the rx ring before the worker sleeps.
const SPINS: u32 = 64;
/// How long the worker sleeps at most before it looks at the clock and the stop flag.
const NAP: Duration = Duration::from_millis(50);
/// How often the worker looks whether its program is still attached.
const CHECK_EVERY: Duration = Duration::from_millis(500);

/// A port with its pool, ready to answer.
#[derive(Debug)]
pub struct Service {
    /// The port.
    pub port: Port,
    /// The thread's way into the pool.
    pub handle: PoolHandle,
    /// What answers.
    pub responder: Responder,
    /// The memory that was got.
    pub memory: Memory,
    /// The XDP mode that was got.
    pub xdp: Xdp,
    /// What the worker did.
    work: WorkerRecord,
    _promiscuous: Option<Promiscuous>,
    _multicast: Option<Multicast>,
}

/// What the status block and the summary show.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// `netmem.respond/1`.
    pub schema: &'static str,
    /// `status` or `summary`.
    pub kind: &'static str,
    /// The interface.
    pub interface: String,
    /// The queue.
    pub queue: u32,
    /// Seconds since the start.
    pub seconds: f64,
    /// Frames given to the kernel to receive into.
    pub filled: u64,
    /// Packets received.
    pub received: u64,
    /// Packets given to the kernel to send.
    pub transmitted: u64,
    /// Packets that the kernel said it has sent.
    pub completed: u64,
    /// The kernel's counters.
    pub kernel: KernelStatistics,
    /// Packets by the class that the XDP program counted them in.
    pub classes: Vec<(String, u64)>,
    /// Packets by what became of them.
    pub counts: PacketCounts,
    /// Frames by owner. Exact in the summary, within a batch before.
    pub audit: AuditReport,
    /// The memory that was got.
    pub memory: Memory,
    /// The XDP mode that was got.
    pub xdp: Xdp,
}

/// Runs the command until a signal stops it or the interface goes.
///
/// # Errors
/// What could not be set up, or what ended it.
pub fn run(
    args: &RespondArgs,
    out: &mut dyn Write,
    notes: &mut dyn Write,
) -> Result<Outcome, Failure> {
    let stop = Stop::by_signal()?;
    let mut service = Service::open(args)?;
    let started = Instant::now();
    announce(args, &service, notes).map_err(Failure::output)?;
    let interval = Duration::from_secs(u64::from(args.interval));
    let mut due = started + interval;
    let mut published = Published::start("respond", &service.port, &service.handle, notes);
    let ended = service.run(&stop, &mut |service, now| {
        if let Some(published) = &mut published {
            published.tick(now, &service.port, &service.handle, service.work);
        }
        if interval.is_zero() || now < due {
            return Ok(());
        }
        due += interval;
        let status = service.status(args, started);
        if args.json { report::json(out, &status) } else { print_status(notes, &status) }
            .and_then(|()| out.flush())
            .map_err(Failure::output)
    });
    let (status, closed) = service.finish(args, started);
    let printed = if args.json { report::json(out, &status) } else { print_status(out, &status) };
    // What ended it, and an audit that is open, tell more than a reader that is gone.
    ended?;
    if !closed {
        return Ok(Outcome::Finding);
    }
    printed.map_err(Failure::output)?;
    Ok(Outcome::Done)
}

impl Service {
    /// Sets everything up in the calling thread and its network namespace.
    ///
    /// # Errors
    /// What was refused, by the kernel or because it makes no sense.
    pub fn open(args: &RespondArgs) -> Result<Self, Failure> {
        for ip in &args.ip {
            let is_one = match ip {
                IpAddr::V4(ip) => !(ip.is_multicast() || ip.is_broadcast() || ip.is_loopback()),
                IpAddr::V6(ip) => is_one_host(*ip),
            };
            if !is_one || ip.is_unspecified() {
                return Err(Failure::usage(format!("--ip {ip}: not an address of one host")));
            }
        }
        let answers = args.responder();
        let link = Link::by_name(&args.interface)?;
        let (mac, promiscuous) = address(args, &link)?;
        let multicast = groups(&answers, &link)?;
        let bytes = args.frames as usize * args.frame_bytes as usize;
        let mut region = Region::builder(bytes);
        if !args.pages.is_empty() {
            let tiers: Vec<PageTier> = args.pages.iter().map(|&pages| pages.into()).collect();
            region = region.tiers(&tiers);
        }
        let region = region.build()?;
        let memory = Memory::from(region.report());
        let config = PoolConfig {
            frame_bytes: args.frame_bytes,
            frames: Some(args.frames),
            ..PoolConfig::default()
        };
        let handle = Pool::new(region, config)?.handle();
        let port = Port::builder(&args.interface, filter::responder(&answers))
            .queue(args.queue)
            .modes(args.mode.list())
            .rings(args.rings())
            .name("netmem_respond")
            .open(&handle)?;
        let xdp = Xdp::from(port.report());
        let responder = Responder::new(mac, &answers);
        let (_promiscuous, _multicast) = (promiscuous, multicast);
        let work = WorkerRecord::default();
        Ok(Self { port, handle, responder, memory, xdp, work, _promiscuous, _multicast })
    }

    /// Answers one batch; returns how many packets there were.
    #[inline]
    pub fn step(&mut self) -> u32 {
        let responder = &self.responder;
        self.port.receive(BATCH, &mut (), |packet| responder.verdict(packet)).received
    }

    /// What the status block shows now.
    #[must_use]
    pub fn status(&self, args: &RespondArgs, started: Instant) -> Status {
        let audit = Audit::of(self.handle.pool(), [self.handle.walk(), self.port.walk()]);
        let status = self.describe(args, started, &audit, "status");
        Status { audit: status.audit.in_motion(), ..status }
    }

    fn describe(
        &self,
        args: &RespondArgs,
        started: Instant,
        audit: &Audit,
        kind: &'static str,
    ) -> Status {
        let progress = self.port.progress();
        Status {
            schema: "netmem.respond/1",
            kind,
            interface: args.interface.clone(),
            queue: args.queue,
            seconds: started.elapsed().as_secs_f64(),
            filled: progress.filled,
            received: progress.received,
            transmitted: progress.transmitted,
            completed: progress.completed,
            // Both are gone with the interface; the rest of the block still tells.
            kernel: self.port.statistics().unwrap_or_default().into(),
            classes: self.port.classes().unwrap_or_default(),
            counts: PacketCounts::new(&audit.counts, audit.held),
            audit: audit.into(),
            memory: self.memory.clone(),
            xdp: self.xdp.clone(),
        }
    }

    /// Closes the port and audits what is left.
    #[must_use]
    pub fn finish_audit(self) -> Audit {
        let pool = Arc::clone(self.handle.pool());
        let closed = self.port.close();
        Audit::of(&pool, [self.handle.walk(), closed.walk])
    }

    /// Closes the port; returns the summary, and whether the audit closed with nothing held.
    #[must_use]
    pub fn finish(self, args: &RespondArgs, started: Instant) -> (Status, bool) {
        let before = self.status(args, started);
        let audit = self.finish_audit();
        let summary = Status {
            kind: "summary",
            completed: audit.counts.transmitted,
            received: audit.counts.received,
            counts: PacketCounts::new(&audit.counts, audit.held),
            audit: (&audit).into(),
            ..before
        };
        (summary, audit.is_ok() && audit.held == 0)
    }
}

/// The address to answer with, and the membership that makes the interface hear it.
fn address(args: &RespondArgs, link: &Link) -> Result<(MacAddr, Option<Promiscuous>), Failure> {
    let own = link.mac.map(MacAddr);
    match (args.mac, own) {
        (Some(mac), _) if mac.is_multicast() || mac == MacAddr([0; 6]) => {
            Err(Failure::usage(format!("--mac {mac}: not the address of one station")))
        }
        (Some(mac), own) if own != Some(mac) => Ok((mac, Some(Promiscuous::join(link)?))),
        (_, Some(own)) => Ok((own, None)),
        (_, None) => {
            let why = format!("answer on {}: the interface has no Ethernet address", link.name);
            Err(Failure::refused(why))
        }
    }
}

/// The membership of the groups that solicitations are sent to.
fn groups(config: &ResponderConfig, link: &Link) -> Result<Option<Multicast>, Failure> {
    if !config.proxied6.is_empty() {
        return Ok(Some(Multicast::join_all(link)?));
    }
    let of = |address: &_| group_mac(solicited_node(*address)).0;
    let groups: Vec<_> = config.addresses6.iter().map(of).collect();
    Ok(if groups.is_empty() { None } else { Some(Multicast::join(link, &groups)?) })
}

impl Service {
    /// Answers until stopped; `tick` is called after every batch with the time.
    ///
    /// # Errors
    /// When the interface went, the program was taken off, or `tick` fails.
    pub(crate) fn run(
        &mut self,
        stop: &Stop,
        tick: &mut dyn FnMut(&Self, Instant) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut next_check = Instant::now() + CHECK_EVERY;
        let mut idle = 0;
        while !stop.is_set() {
            if self.step() > 0 {
                idle = 0;
                self.work.batches += 1;
            } else {
                idle += 1;
                self.work.empty_polls += 1;
                if idle > SPINS {
                    self.work.waits += 1;
                    self.port.wait(NAP)?;
                }
            }
            let now = Instant::now();
            if now >= next_check {
                self.check()?;
                next_check = now + CHECK_EVERY;
            }
            tick(self, now)?;
        }
        Ok(())
    }

    /// Whether the port can still get packets.
    ///
    /// # Errors
    /// When the interface went, or somebody took the program off.
    fn check(&mut self) -> Result<(), Failure> {
        self.port.flush()?;
        if self.port.is_attached()? {
            return Ok(());
        }
        let report = self.port.report();
        let interface = &report.interface;
        let why = match Link::by_name(interface) {
            Ok(link) if link.index == report.ifindex => {
                return Err(Failure::refused(format!(
                    "receive on {report}: the xdp program was detached from outside"
                ))
                .with_hint("another process forced it off; start again to attach anew"));
            }
            _ => format!("receive on {report}: the interface was removed"),
        };
        Err(Failure::refused(why))
    }
}

fn announce(args: &RespondArgs, service: &Service, notes: &mut dyn Write) -> std::io::Result<()> {
    let mut what = Vec::new();
    if !args.ip.is_empty() {
        let has_ipv6 = args.ip.iter().any(IpAddr::is_ipv6);
        let solicitations = if has_ipv6 { ", neighbor solicitations" } else { "" };
        what.push(format!("ARP{solicitations} and ping for {}", list(&args.ip)));
    }
    if !args.proxy_arp.is_empty() {
        what.push(format!("proxy ARP for {}", list(&args.proxy_arp)));
    }
    let (what, port) = (what.join(", "), service.port.report());
    writeln!(notes, "answering {what} on {port}; everything else passes to the kernel")?;
    if let Some(filter) = &args.filter {
        report::row(notes, "filter", format!("only {filter}"))?;
    }
    report::memory(notes, &service.memory)?;
    report::xdp(notes, &service.xdp)?;
    notes.flush()
}

fn list<T: Display>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn print_status(out: &mut dyn Write, status: &Status) -> std::io::Result<()> {
    writeln!(
        out,
        "[{} {} queue {} after {:.1} s]",
        status.kind, status.interface, status.queue, status.seconds
    )?;
    let ours = format!(
        "{} filled, {} received, {} transmitted, {} completed",
        status.filled, status.received, status.transmitted, status.completed
    );
    report::row(out, "rings", ours)?;
    let k = &status.kernel;
    let kernel = format!(
        "{} rx_dropped, {} rx_invalid_descs, {} tx_invalid_descs, {} rx_ring_full, \
         {} rx_fill_ring_empty_descs, {} tx_ring_empty_descs",
        k.rx_dropped,
        k.rx_invalid_descs,
        k.tx_invalid_descs,
        k.rx_ring_full,
        k.rx_fill_ring_empty_descs,
        k.tx_ring_empty_descs
    );
    report::row(out, "kernel", kernel)?;
    let classes: Vec<_> =
        status.classes.iter().filter(|(_, n)| *n > 0).map(|(c, n)| format!("{c} {n}")).collect();
    report::row(out, "classes", if classes.is_empty() { "-".into() } else { classes.join(", ") })?;
    report::packets(out, &status.counts)?;
    report::audit(out, &status.audit)?;
    out.flush()
}
