//! `netmem forward A B`: every packet of each interface goes out by the other, where it lies; `forward
//! A` sends it back where it came from.
//!
//! Packets are moved by the workers of a `Plane`, one for each queue, which send what one interface
//! received by the other without touching its bytes, but for the Ethernet addresses where asked. It
//! takes all packets: an interface that the default route goes by is refused unless `--force` says so.
//! With `--filter` all others pass to the kernel.
//!
//! # The books of a direction
//!
//! ```text
//!   received on A = sent on B + dropped, by reason + held
//! ```
//! Sent is what the kernel has completed. A packet that was queued on B and taken back when everything
//! ended is dropped as `QUEUE_PURGE` in the direction that it had. While packets move, the figures of a
//! direction are those that the workers published last, half a second ago at most.

use std::{
    collections::BTreeMap,
    io::Write,
    thread,
    time::{Duration, Instant},
};

use netmem::{link::Link, packet::Promiscuous, stats::PortRecord, xdp::PortReport};
use netmem_host::routes::default_route_interfaces;
use netmem_wire::filter::{Action, Expr, Rule, Rules};
use serde::Serialize;

use crate::{
    Failure, Outcome,
    args::{ForwardArgs, MacChoice},
    plane::{self, Books, Ended, ForwardJob, Job, MacRule, Plan, Plane, TICK},
    report::{
        self, AdviceReport, AuditReport, KernelStatistics, Memory, PacketCounts, RefusedXdp, Xdp,
    },
    stop::Stop,
};

/// What the status block and the summary show.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// `netmem.forward/1`.
    pub schema: &'static str,
    /// `status` or `summary`.
    pub kind: &'static str,
    /// Seconds since the start.
    pub seconds: f64,
    /// Each way.
    pub directions: Vec<Direction>,
    /// Each queue of each interface.
    pub ports: Vec<Queue>,
    /// Packets by what became of them, all directions together.
    pub counts: PacketCounts,
    /// Packets by the class that the XDP programs counted them in.
    pub classes: Vec<(String, u64)>,
    /// Frames by owner. Exact in the summary.
    pub audit: AuditReport,
    /// The memory that was got.
    pub memory: Memory,
    /// What would work better otherwise.
    pub advice: Vec<AdviceReport>,
}

/// What went one way.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Direction {
    /// Where packets came from.
    pub from: String,
    /// Where they went.
    pub to: String,
    /// Packets received.
    pub received: u64,
    /// Packets that the kernel said it has sent.
    pub sent: u64,
    /// Packets that were dropped, by reason; known in the summary only.
    pub dropped: BTreeMap<String, u64>,
    /// Packets received and neither sent nor dropped; known in the summary only.
    pub held: Option<u64>,
    /// Packets received per second, since the last status or the start.
    pub received_per_second: f64,
    /// What the kernel counted at the receiving side.
    pub kernel: KernelStatistics,
}

/// A queue of an interface.
#[derive(Debug, Clone, Serialize)]
pub struct Queue {
    /// The interface.
    pub interface: String,
    /// The queue, from 0.
    pub queue: u32,
    /// `zero-copy`, `native` or `generic`.
    pub mode: &'static str,
    /// Better modes that were tried, in order.
    pub refused: Vec<RefusedXdp>,
    /// Packets received.
    pub received: u64,
    /// Packets that the kernel said it has sent.
    pub sent: u64,
}

/// Runs the command until a signal stops it or an interface goes.
///
/// # Errors
/// What could not be set up, or what ended it.
pub fn run(
    args: &ForwardArgs,
    out: &mut dyn Write,
    notes: &mut dyn Write,
) -> Result<Outcome, Failure> {
    let stop = Stop::by_signal()?;
    let names: Vec<&str> = std::iter::once(&args.a).chain(&args.b).map(String::as_str).collect();
    check(args, &names)?;
    let mut hears = Vec::new();
    for name in &names {
        hears.push(Promiscuous::join(&Link::by_name(name)?)?);
    }
    let plan = Plan {
        command: "forward",
        ports: names
            .iter()
            .map(|name| args.plane.ports(name, rules(args), "netmem_forward"))
            .collect(),
        args: args.plane.clone(),
    };
    let job = Job::Forward(ForwardJob {
        mac: mac_rule(args),
        interfaces: names.iter().map(ToString::to_string).collect(),
    });
    let mut plane = Plane::start(plan, &job, notes)?;
    let mut view = View::new(args, &plane);
    view.announce(&plane, notes).map_err(Failure::output)?;
    let failure = follow(&mut plane, &mut view, &stop, out, notes).err();
    let ended = plane.stop(failure);
    let status = view.summary(&ended);
    let printed = view.print(&status, out);
    // What ended it, and books that are open, tell more than a reader that is gone.
    if let Some(failure) = ended.failure {
        return Err(failure);
    }
    if status.outcome() == Outcome::Done {
        printed.map_err(Failure::output)?;
    }
    Ok(status.outcome())
}

/// Looks after the workers, and prints the status when it is time to, until something ends it.
fn follow(
    plane: &mut Plane,
    view: &mut View<'_>,
    stop: &Stop,
    out: &mut dyn Write,
    notes: &mut dyn Write,
) -> Result<(), Failure> {
    let interval = Duration::from_secs(u64::from(view.args.plane.interval));
    let mut due = view.started + interval;
    while !stop.is_set() && plane.look(notes)? {
        if !interval.is_zero() && Instant::now() >= due {
            due += interval;
            let status = view.now(plane)?;
            let to: &mut dyn Write = if view.args.plane.json { &mut *out } else { &mut *notes };
            view.print(&status, to).map_err(Failure::output)?;
        }
        thread::sleep(TICK);
    }
    Ok(())
}

/// Refuses what makes no sense, or would take what nobody meant to give.
fn check(args: &ForwardArgs, names: &[&str]) -> Result<(), Failure> {
    if args.b.as_deref() == Some(args.a.as_str()) {
        let why = format!("forward between {0} and {0}: name it once to send back", args.a);
        return Err(Failure::usage(why));
    }
    for mac in [args.source_mac, args.destination_mac].into_iter().flatten() {
        if args.source_mac == Some(mac) && mac.is_multicast() {
            return Err(Failure::usage(format!(
                "--source-mac {mac}: not the address of one station"
            )));
        }
    }
    if args.force {
        return Ok(());
    }
    let defaults = default_route_interfaces()?;
    match names.iter().find(|name| defaults.iter().any(|default| default == **name)) {
        Some(name) => Err(Failure::usage(format!(
            "forward on {name}: the default route goes by it, and forwarding would take its packets"
        ))
        .with_hint("--force takes them all the same")),
        None => Ok(()),
    }
}

/// What a veth does to checksums, where its other end is in another namespace and cannot be asked: a
/// port is told only what is known.
fn checksums(interface: &str) -> Option<AdviceReport> {
    let link = Link::by_name(interface).ok()?;
    let Some(Err(_)) = link.details().peer_tx_checksum else { return None };
    let text = "the other end of this veth may leave checksums to be filled in later, by nobody: \
                packets from there would leave with wrong ones (ethtool -K PEER tx off)";
    Some(AdviceReport { interface: link.name, queues: Vec::new(), text: text.to_owned() })
}

fn rules(args: &ForwardArgs) -> Rules {
    let when = args.filter.clone().unwrap_or_else(|| Expr::All(Vec::new()));
    Rules::new([Rule::new("forward", when, Action::Take)])
}

fn mac_rule(args: &ForwardArgs) -> MacRule {
    let (source, destination) = (args.source_mac, args.destination_mac);
    match args.mac {
        _ if source.is_some() || destination.is_some() => MacRule::Set {
            source: source.map(|mac| mac.0),
            destination: destination.map(|mac| mac.0),
        },
        Some(MacChoice::Keep) => MacRule::Keep,
        Some(MacChoice::Swap) => MacRule::Swap,
        None if args.b.is_some() => MacRule::Keep,
        None => MacRule::Swap,
    }
}

/// What is shown, and what was shown last.
struct View<'a> {
    args: &'a ForwardArgs,
    started: Instant,
    reports: Vec<PortReport>,
    memory: Memory,
    advice: Vec<AdviceReport>,
    last: (Instant, BTreeMap<String, u64>),
}

impl<'a> View<'a> {
    fn new(args: &'a ForwardArgs, plane: &Plane) -> Self {
        let started = Instant::now();
        let reports = plane.reports().cloned().collect();
        let mut advice = AdviceReport::of(plane.reports());
        advice.extend(std::iter::once(&args.a).chain(&args.b).filter_map(|name| checksums(name)));
        let last = (started, BTreeMap::new());
        Self { args, started, reports, memory: plane.memory().clone(), advice, last }
    }

    fn announce(&self, plane: &Plane, notes: &mut dyn Write) -> std::io::Result<()> {
        let what = match &self.args.b {
            Some(b) => format!("forwarding between {} and {b}", self.args.a),
            None => format!("sending back what comes to {}", self.args.a),
        };
        let on = report::ports(self.reports.iter());
        writeln!(notes, "{what}: {on}")?;
        match &self.args.filter {
            Some(filter) => report::row(notes, "filter", format!("only {filter}"))?,
            None => report::row(notes, "filter", "everything, nothing passes to the kernel")?,
        }
        report::workers(notes, plane.worker_pid())?;
        report::memory(notes, &self.memory)?;
        let mut seen = Vec::new();
        for report in &self.reports {
            if !seen.contains(&report.ifindex) {
                seen.push(report.ifindex);
                report::row(notes, "interface", &report.interface)?;
                report::xdp(notes, &Xdp::from(report))?;
            }
        }
        report::advice(notes, &self.advice)?;
        notes.flush()
    }

    /// What the workers published last.
    fn now(&mut self, plane: &Plane) -> Result<Status, Failure> {
        let page = plane.page()?;
        let books = Books::of(&page);
        let mut status = self.of(&plane::ports_of(&page), &plane.kernel());
        status.counts = books.counts;
        status.audit = books.audit;
        status.classes = plane.classes();
        let now = Instant::now();
        let seconds = (now - self.last.0).as_secs_f64().max(0.001);
        for direction in &mut status.directions {
            let before = self.last.1.insert(direction.from.clone(), direction.received);
            let received = direction.received.saturating_sub(before.unwrap_or(0));
            direction.received_per_second = per_second(received, seconds);
        }
        self.last.0 = now;
        Ok(status)
    }

    /// The end: exact, unless the workers died before they could tell.
    fn summary(&self, ended: &Ended) -> Status {
        let mut status = self.of(&ended.ports, &ended.kernel);
        status.kind = "summary";
        status.classes.clone_from(&ended.classes);
        if let Some(end) = &ended.end {
            status.counts = end.counts.clone();
            status.audit = end.audit.clone();
            for direction in &mut status.directions {
                direction.close(&end.ports);
            }
            for queue in &mut status.ports {
                let is_it = |port: &&plane::PortEnd| {
                    port.interface == queue.interface && port.queue == queue.queue
                };
                if let Some(port) = end.ports.iter().find(is_it) {
                    (queue.received, queue.sent) = (port.received, port.transmitted);
                }
            }
        }
        for direction in &mut status.directions {
            direction.received_per_second = per_second(direction.received, status.seconds);
        }
        status
    }

    fn of(&self, ports: &[PortRecord], kernel: &[KernelStatistics]) -> Status {
        let record = |report: &PortReport| {
            ports.iter().find(|p| p.ifindex == report.ifindex && p.queue == report.queue)
        };
        let queues = self.reports.iter().map(|report| Queue {
            interface: report.interface.clone(),
            queue: report.queue,
            mode: report.mode.name(),
            refused: Xdp::from(report).refused,
            received: record(report).map_or(0, |port| port.progress.received),
            sent: record(report).map_or(0, |port| port.progress.completed),
        });
        let queues: Vec<Queue> = queues.collect();
        let b = self.args.b.as_ref().unwrap_or(&self.args.a);
        let mut ways = vec![(&self.args.a, b)];
        if self.args.b.is_some() {
            ways.push((b, &self.args.a));
        }
        let direction = |(from, to): (&String, &String)| {
            let at = |name: &str, of: fn(&Queue) -> u64| {
                queues.iter().filter(|queue| queue.interface == *name).map(of).sum()
            };
            let kernel = self.reports.iter().zip(kernel);
            let kernel: Vec<_> =
                kernel.filter(|(report, _)| report.interface == *from).map(|(_, k)| *k).collect();
            Direction {
                from: from.clone(),
                to: to.clone(),
                received: at(from, |queue| queue.received),
                sent: at(to, |queue| queue.sent),
                kernel: KernelStatistics::sum(&kernel),
                ..Direction::default()
            }
        };
        Status {
            schema: "netmem.forward/1",
            kind: "status",
            seconds: self.started.elapsed().as_secs_f64(),
            directions: ways.into_iter().map(direction).collect(),
            ports: queues,
            counts: PacketCounts::default(),
            classes: Vec::new(),
            audit: AuditReport::default(),
            memory: self.memory.clone(),
            advice: self.advice.clone(),
        }
    }

    fn print(&self, status: &Status, out: &mut dyn Write) -> std::io::Result<()> {
        if self.args.plane.json {
            report::json(out, status)?;
            return out.flush();
        }
        writeln!(out, "[{} after {:.1} s]", status.kind, status.seconds)?;
        for way in &status.directions {
            let name = format!("{} -> {}", way.from, way.to);
            let rate = way.received_per_second;
            let mut text = format!("{} received ({rate:.0}/s) = {} sent", way.received, way.sent);
            if let Some(held) = way.held {
                let dropped: u64 = way.dropped.values().sum();
                text += &format!(" + {dropped} dropped + {held} held");
            }
            report::row(out, &name, text)?;
            for (reason, count) in &way.dropped {
                report::row(out, "", format!("dropped {reason}: {count}"))?;
            }
            report::kernel(out, &way.kernel)?;
        }
        if status.ports.len() > status.directions.len() {
            for queue in &status.ports {
                let name = format!("{} queue {}", queue.interface, queue.queue);
                let text = format!("{} received, {} sent", queue.received, queue.sent);
                report::row(out, &name, text)?;
            }
        }
        report::classes(out, &status.classes)?;
        report::packets(out, &status.counts)?;
        report::audit(out, &status.audit)?;
        out.flush()
    }
}

impl Status {
    /// Whether the books are closed.
    fn outcome(&self) -> Outcome {
        match self.audit.ok == Some(true) && self.counts.held == 0 {
            true => Outcome::Done,
            false => Outcome::Finding,
        }
    }
}

impl Direction {
    /// Takes over the exact books of the ports at both ends.
    fn close(&mut self, ports: &[plane::PortEnd]) {
        (self.received, self.sent) = (0, 0);
        let mut unsent = 0;
        for port in ports {
            if port.interface == self.from {
                self.received += port.received;
                for (reason, n) in &port.dropped {
                    *self.dropped.entry(reason.clone()).or_default() += n;
                }
            }
            if port.interface == self.to {
                self.sent += port.transmitted;
                unsent += port.unsent;
            }
        }
        if unsent > 0 {
            let purge = netmem::mem::DropReason::QueuePurge.name().to_owned();
            *self.dropped.entry(purge).or_default() += unsent;
        }
        self.dropped.retain(|_, n| *n > 0);
        let ended = self.sent + self.dropped.values().sum::<u64>();
        self.held = Some(self.received.saturating_sub(ended));
    }
}

#[allow(clippy::cast_precision_loss, reason = "a rate for people")]
fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds.max(0.001)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted and caught: the audit not looked at, and what is held neither.
    #[test]
    fn open_books_are_a_finding() {
        let memory = Memory { page_bytes: 4096, bytes: 4096, refused: Vec::new() };
        let with = |ok, held| Status {
            schema: "netmem.forward/1",
            kind: "summary",
            seconds: 1.0,
            directions: Vec::new(),
            ports: Vec::new(),
            counts: PacketCounts { held, ..PacketCounts::default() },
            classes: Vec::new(),
            audit: AuditReport { ok, ..AuditReport::default() },
            memory: memory.clone(),
            advice: Vec::new(),
        };
        assert_eq!(with(Some(true), 0).outcome(), Outcome::Done);
        for (ok, held) in [(Some(false), 0), (None, 0), (Some(true), 1)] {
            assert_eq!(with(ok, held).outcome(), Outcome::Finding, "{ok:?} {held}");
        }
    }
}
