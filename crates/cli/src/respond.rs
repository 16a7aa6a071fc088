//! `netmem respond`: ARP, neighbor solicitations and ping for named addresses, answered from an AF_XDP
//! port until stopped.
//!
//! Packets are answered by the workers of a `Plane`, one for each queue; this module decides what is
//! answered and tells what came of it. The kernel takes the XDP program and the memberships off when the
//! process ends, however it ends.
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
    thread,
    time::{Duration, Instant},
};

use netmem::{
    link::Link,
    packet::{Multicast, Promiscuous},
    stats::PortRecord,
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
    plane::{self, Books, Ended, Job, Plan, Plane, RespondJob, TICK},
    report::{self, AdviceReport, AuditReport, KernelStatistics, Memory, PacketCounts, Xdp},
    responder::{group_mac, is_one_host},
    stop::Stop,
};

/// What the status block and the summary show.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// `netmem.respond/1`.
    pub schema: &'static str,
    /// `status` or `summary`.
    pub kind: &'static str,
    /// The interface.
    pub interface: String,
    /// The queues.
    pub queues: Vec<u32>,
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
    pub xdp: Option<Xdp>,
    /// What would work better otherwise.
    pub advice: Vec<AdviceReport>,
}

/// What was got, as it is shown.
#[derive(Debug)]
struct Got {
    memory: Memory,
    xdp: Option<Xdp>,
    advice: Vec<AdviceReport>,
}

impl Got {
    fn of(plane: &Plane) -> Self {
        Self {
            memory: plane.memory().clone(),
            xdp: plane.reports().next().map(Xdp::from),
            advice: AdviceReport::of(plane.reports()),
        }
    }
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
    let (mut plane, _memberships) = start(args, notes)?;
    let started = Instant::now();
    announce(args, &plane, notes).map_err(Failure::output)?;
    let interval = Duration::from_secs(u64::from(args.plane.interval));
    let mut due = started + interval;
    let mut failure = None;
    while !stop.is_set() {
        match plane.look(notes) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
        if !interval.is_zero() && Instant::now() >= due {
            due += interval;
            let printed = Status::now(args, &plane, started).and_then(|status| {
                if args.plane.json {
                    report::json(out, &status)
                } else {
                    print_status(notes, &status)
                }
                .and_then(|()| out.flush())
                .map_err(Failure::output)
            });
            if let Err(error) = printed {
                failure = Some(error);
                break;
            }
        }
        thread::sleep(TICK);
    }
    let got = Got::of(&plane);
    let ended = plane.stop(failure);
    let status = Status::summary(args, got, &ended, started);
    let printed =
        if args.plane.json { report::json(out, &status) } else { print_status(out, &status) };
    // What ended it, and an audit that is open, tell more than a reader that is gone.
    if let Some(failure) = ended.failure {
        return Err(failure);
    }
    if status.audit.ok != Some(true) || status.counts.held > 0 {
        return Ok(Outcome::Finding);
    }
    printed.map_err(Failure::output)?;
    Ok(Outcome::Done)
}

/// The memberships that let the interface hear what is answered; left when they are dropped.
#[derive(Debug)]
pub(crate) struct Memberships {
    _promiscuous: Option<Promiscuous>,
    _multicast: Option<Multicast>,
}

/// Sets everything up in the calling thread's network namespace and begins to answer.
///
/// # Errors
/// What was refused, by the kernel or because it makes no sense.
pub(crate) fn start(
    args: &RespondArgs,
    notes: &mut dyn Write,
) -> Result<(Plane, Memberships), Failure> {
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
    let rules = filter::responder(&answers);
    let plan = Plan {
        command: "respond",
        ports: vec![args.plane.ports(&args.interface, rules, "netmem_respond")],
        args: args.plane.clone(),
    };
    let job = Job::Respond(RespondJob::new(mac, &answers));
    let plane = Plane::start(plan, &job, notes)?;
    Ok((plane, Memberships { _promiscuous: promiscuous, _multicast: multicast }))
}

impl Status {
    /// What the workers published last.
    fn now(args: &RespondArgs, plane: &Plane, started: Instant) -> Result<Self, Failure> {
        let page = plane.page()?;
        let books = Books::of(&page);
        Ok(Self {
            kind: "status",
            kernel: KernelStatistics::sum(&plane.kernel()),
            classes: plane.classes(),
            counts: books.counts,
            audit: books.audit,
            ..Self::of(args, &plane::ports_of(&page), started, Got::of(plane))
        })
    }

    /// The end: exact, unless the workers died before they could tell.
    fn summary(args: &RespondArgs, got: Got, ended: &Ended, started: Instant) -> Self {
        let status = Self {
            kernel: KernelStatistics::sum(&ended.kernel),
            classes: ended.classes.clone(),
            ..Self::of(args, &ended.ports, started, got)
        };
        let Some(end) = &ended.end else { return status };
        Self {
            received: end.counts.received,
            completed: end.counts.transmitted,
            counts: end.counts.clone(),
            audit: end.audit.clone(),
            ..status
        }
    }

    fn of(args: &RespondArgs, ports: &[PortRecord], started: Instant, got: Got) -> Self {
        let Got { memory, xdp, advice } = got;
        let sum = |of: fn(&PortRecord) -> u64| ports.iter().map(of).sum();
        Self {
            schema: "netmem.respond/1",
            kind: "summary",
            interface: args.interface.clone(),
            queues: ports.iter().map(|port| port.queue).collect(),
            seconds: started.elapsed().as_secs_f64(),
            filled: sum(|port| port.progress.filled),
            received: sum(|port| port.progress.received),
            transmitted: sum(|port| port.progress.transmitted),
            completed: sum(|port| port.progress.completed),
            kernel: KernelStatistics::default(),
            classes: Vec::new(),
            counts: PacketCounts::default(),
            audit: AuditReport::default(),
            memory,
            xdp,
            advice,
        }
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

fn announce(args: &RespondArgs, plane: &Plane, notes: &mut dyn Write) -> std::io::Result<()> {
    let mut what = Vec::new();
    if !args.ip.is_empty() {
        let has_ipv6 = args.ip.iter().any(IpAddr::is_ipv6);
        let solicitations = if has_ipv6 { ", neighbor solicitations" } else { "" };
        what.push(format!("ARP{solicitations} and ping for {}", list(&args.ip)));
    }
    if !args.proxy_arp.is_empty() {
        what.push(format!("proxy ARP for {}", list(&args.proxy_arp)));
    }
    let what = what.join(", ");
    let on = report::ports(plane.reports());
    writeln!(notes, "answering {what} on {on}; everything else passes to the kernel")?;
    report::workers(notes, plane.worker_pid())?;
    if let Some(filter) = &args.filter {
        report::row(notes, "filter", format!("only {filter}"))?;
    }
    report::memory(notes, plane.memory())?;
    if let Some(report) = plane.reports().next() {
        report::xdp(notes, &Xdp::from(report))?;
    }
    report::advice(notes, &AdviceReport::of(plane.reports()))?;
    notes.flush()
}

fn list<T: Display>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn print_status(out: &mut dyn Write, status: &Status) -> std::io::Result<()> {
    writeln!(
        out,
        "[{} {} {} after {:.1} s]",
        status.kind,
        status.interface,
        report::queues(&status.queues),
        status.seconds
    )?;
    let ours = format!(
        "{} filled, {} received, {} transmitted, {} completed",
        status.filled, status.received, status.transmitted, status.completed
    );
    report::row(out, "rings", ours)?;
    report::kernel(out, &status.kernel)?;
    report::classes(out, &status.classes)?;
    report::packets(out, &status.counts)?;
    report::audit(out, &status.audit)?;
    out.flush()
}
