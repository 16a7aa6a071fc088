//! `netmem lab`: the responder and a client on one machine, every reply checked.
//!
//! ```text
//!   namespace "client"                              namespace "server"
//!   kernel stack: ARP, ping  --+                    AF_XDP port, responder (own thread)
//!   frame socket: bursts, flood +== nm-client ===== nm-server
//! ```
//!
//! Both namespaces have no name and are held by descriptors and threads of this process only, so the
//! kernel takes them and the pair away when the process ends, however it ends. Without the privilege
//! to make them, the same client and responder run on the in-memory device, and that is said.

pub mod client;
pub mod compare;
pub mod ledger;

use std::{
    io::{self, IsTerminal, Write},
    net::Ipv4Addr,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use netmem::{
    device::Device,
    link::Link,
    loopback::Loopback,
    mem::{Audit, PageTier, Pool, PoolConfig, Region},
    packet::FrameSocket,
};
use netmem_host::lab::{Lab, missing_privilege};
use netmem_wire::{MacAddr, filter::ResponderConfig};
use serde::Serialize;

use self::{
    client::{Client, InMemory, kernel_pings},
    ledger::{Endpoints, MAX_FRAME, Score},
};
use crate::{
    Failure, Outcome,
    args::{LabArgs, PlaneArgs, RespondArgs},
    report::{self, AuditReport, Memory, PacketCounts, Xdp},
    respond,
    responder::Responder,
    stop::Stop,
};

/// Payload lengths that the kernel's own stack pings with.
const PING_LENS: [usize; 8] = [56, 0, 1, 2, 63, 512, 1471, 1472];

/// The result, as it is printed.
#[derive(Debug, Clone, Serialize)]
pub struct LabReport {
    /// `netmem.lab/1`.
    pub schema: &'static str,
    /// Whether every reply was right, the audit closed, and nothing was left out.
    pub ok: bool,
    /// Whether a signal ended it before all phases were through.
    pub interrupted: bool,
    /// `af_xdp` or `loopback`.
    pub backend: &'static str,
    /// The memory that was got.
    pub memory: Memory,
    /// The XDP mode that was got; absent on the in-memory device.
    pub xdp: Option<Xdp>,
    /// All requests.
    pub requests: Score,
    /// Right replies per second of the flood.
    pub replies_per_second: f64,
    /// Times from before a send to after its receive, at 1,000 requests per second.
    pub latency_ns: Latency,
    /// Packets by what became of them.
    pub counts: PacketCounts,
    /// Frames by owner, and whether that adds up.
    pub audit: AuditReport,
    /// The requests by phase.
    pub phases: Vec<Phase>,
}

/// Percentiles in nanoseconds, by nearest rank; 0 when nothing was measured.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[allow(missing_docs, reason = "the names are the percentiles")]
pub struct Latency {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

impl Latency {
    fn of(sorted: &[u64]) -> Self {
        let at = |per_mille: usize| -> u64 {
            let rank = (sorted.len() * per_mille).div_ceil(1000).max(1);
            sorted.get(rank - 1).copied().unwrap_or(0)
        };
        Self { p50: at(500), p90: at(900), p99: at(990), p999: at(999), max: at(1000) }
    }
}

/// One phase's requests.
#[derive(Debug, Clone, Serialize)]
pub struct Phase {
    /// `ping`, `bursts`, `latency` or `flood`.
    pub name: &'static str,
    /// How they came out.
    #[serde(flatten)]
    pub score: Score,
}

/// What the client measured.
#[derive(Debug, Clone, Default)]
struct Measured {
    phases: Vec<Phase>,
    replies_per_second: f64,
    latency: Latency,
}

/// What the server leaves behind.
struct Served {
    memory: Memory,
    xdp: Option<Xdp>,
    counts: PacketCounts,
    audit: AuditReport,
}

/// Runs the command.
///
/// # Errors
/// What could not be set up, or what went away.
pub fn run(
    args: &LabArgs,
    out: &mut dyn Write,
    notes: &mut (dyn Write + Send),
) -> Result<Outcome, Failure> {
    let stop = Stop::by_signal()?;
    let report = match missing_privilege() {
        None => on_veth(args, &stop, notes)?,
        Some(missing) => {
            writeln!(notes, "{missing}: running on the in-memory device instead of AF_XDP")
                .map_err(Failure::output)?;
            in_memory(args, &stop, notes)?
        }
    };
    if args.json { report::json(out, &report) } else { print(out, &report) }
        .and_then(|()| out.flush())
        .map_err(Failure::output)?;
    Ok(if report.ok { Outcome::Done } else { Outcome::Finding })
}

fn on_veth(
    args: &LabArgs,
    stop: &Stop,
    notes: &mut (dyn Write + Send),
) -> Result<LabReport, Failure> {
    let lab = Lab::builder().build()?;
    let (client, server) = (lab.client_link(), lab.server_link());
    let endpoints = Endpoints {
        client_mac: client.mac,
        server_mac: server.mac,
        client_ip: client.interface.address,
        server_ip: server.interface.address,
    };
    let worker = Worker::start(args, &lab, stop, || {})?;
    let interface = client.name.clone();
    let mut progress = Progress::new(notes);
    let measured = lab.client.run(|| -> Result<Measured, Failure> {
        progress.show("ping through the kernel's stack")?;
        let pings = kernel_pings(endpoints, &PING_LENS, stop)?;
        let link = Link::by_name(&interface)?;
        let mut socket = FrameSocket::open(&link, 64, MAX_FRAME + 64)?;
        let mut client = Client::new(&mut socket, endpoints, stop);
        let mut measured = phases(args, &mut client, &mut progress)?;
        measured.phases.insert(0, Phase { name: "ping", score: pings });
        Ok(measured)
    });
    // The server's failure is the cause of the client's, where both failed.
    let served = worker.finish();
    progress.end()?;
    let served = served?;
    Ok(judge("af_xdp", measured??, served, stop))
}

/// The responder's thread inside the server's namespace.
struct Worker {
    thread: JoinHandle<Result<Served, Failure>>,
    stop: Stop,
}

impl Worker {
    /// Starts it, `prepare` first, and waits until it answers. When it fails later, it stops the client
    /// too.
    fn start(
        args: &LabArgs,
        lab: &Lab,
        client_stop: &Stop,
        prepare: impl FnOnce() + Send + 'static,
    ) -> Result<Self, Failure> {
        let plane = PlaneArgs {
            mode: args.mode,
            pages: args.pages.clone(),
            // The scenario is the engine's; `respond` by itself has its workers in a process.
            no_sandbox: true,
            ..PlaneArgs::default()
        };
        let server = lab.server_link();
        let respond =
            RespondArgs { plane, ..RespondArgs::new(&server.name, server.interface.address) };
        let stop = Stop::default();
        let (own_stop, client_stop) = (stop.clone(), client_stop.clone());
        let (ready, is_ready) = mpsc::channel();
        let thread = lab.server.spawn("netmem-server", move || {
            prepare();
            let served = serve(&respond, &own_stop, &ready);
            if served.is_err() {
                client_stop.set();
            }
            served
        })?;
        let worker = Self { thread, stop };
        match is_ready.recv() {
            Ok(()) => Ok(worker),
            // It has dropped its end of the channel: it tells why at its end.
            Err(_) => match worker.finish() {
                Err(failure) => Err(failure),
                Ok(_) => Err(Failure::refused("start the responder: it ended at once")),
            },
        }
    }

    fn finish(self) -> Result<Served, Failure> {
        self.stop.set();
        self.thread.join().map_err(|_| Failure::refused("the responder's thread panicked"))?
    }
}

fn serve(args: &RespondArgs, stop: &Stop, ready: &mpsc::Sender<()>) -> Result<Served, Failure> {
    let notes = &mut io::sink();
    let mut plane = respond::start(args, notes)?.0;
    // The receiver may be gone only if the whole lab is.
    let _ = ready.send(());
    let mut looked = Ok(true);
    while !stop.is_set() && matches!(looked, Ok(true)) {
        looked = plane.look(notes);
        thread::sleep(Duration::from_millis(20));
    }
    let memory = plane.memory().clone();
    let xdp = plane.reports().next().map(Xdp::from);
    let ended = plane.stop(looked.err());
    match (ended.failure, ended.end) {
        (None, Some(end)) => Ok(Served { memory, xdp, counts: end.counts, audit: end.audit }),
        (failure, _) => {
            Err(failure.unwrap_or_else(|| Failure::refused("the responder told no books")))
        }
    }
}

fn in_memory(
    args: &LabArgs,
    stop: &Stop,
    notes: &mut (dyn Write + Send),
) -> Result<LabReport, Failure> {
    let mut region = Region::builder(4096 * 2048);
    if !args.pages.is_empty() {
        let tiers: Vec<PageTier> = args.pages.iter().map(|&pages| pages.into()).collect();
        region = region.tiers(&tiers);
    }
    let region = region.build()?;
    let memory = Memory::from(region.report());
    let handle = Pool::new(region, PoolConfig::default())?.handle();
    let (near, far) = Loopback::pair(&handle, 256);
    let endpoints = Endpoints {
        client_mac: [2, 0x6e, 0x6d, 0, 0, 1],
        server_mac: [2, 0x6e, 0x6d, 0, 0, 2],
        client_ip: Ipv4Addr::new(192, 0, 2, 1),
        server_ip: Ipv4Addr::new(192, 0, 2, 2),
    };
    let responder = Responder::new(
        MacAddr(endpoints.server_mac),
        &ResponderConfig::ipv4(&[endpoints.server_ip]),
    );
    let mut link = InMemory { near, far, handle, responder };
    let mut progress = Progress::new(notes);
    let mut client = Client::new(&mut link, endpoints, stop);
    let measured = phases(args, &mut client, &mut progress)?;
    progress.end()?;
    let walks = [link.handle.walk(), link.near.walk(), link.far.walk()];
    let audit = Audit::of(link.handle.pool(), walks);
    let counts = PacketCounts::new(&audit.counts, audit.held);
    let served = Served { memory, xdp: None, counts, audit: (&audit).into() };
    Ok(judge("loopback", measured, served, stop))
}

/// Bursts, then latency, then the flood.
fn phases(
    args: &LabArgs,
    client: &mut Client<'_>,
    progress: &mut Progress<'_>,
) -> Result<Measured, Failure> {
    let mut measured = Measured::default();
    if args.bursts > 0 {
        progress.show(&format!("{} bursts of {} pings", args.bursts, client::BURST))?;
        let score = client.bursts(args.bursts)?;
        measured.phases.push(Phase { name: "bursts", score });
    }
    if args.latency > 0 {
        progress.show(&format!("latency for {} s", args.latency))?;
        let (score, times) = client.latency(args.latency)?;
        measured.latency = Latency::of(&times);
        measured.phases.push(Phase { name: "latency", score });
    }
    if args.flood > 0 {
        progress.show(&format!("flood for {} s", args.flood))?;
        let (score, took) = client.flood(Duration::from_secs(u64::from(args.flood)))?;
        #[allow(clippy::cast_precision_loss, reason = "a rate for a person")]
        {
            measured.replies_per_second = score.right as f64 / took.as_secs_f64();
        }
        measured.phases.push(Phase { name: "flood", score });
    }
    Ok(measured)
}

fn judge(backend: &'static str, measured: Measured, served: Served, stop: &Stop) -> LabReport {
    let mut requests = Score::default();
    for phase in &measured.phases {
        requests.add(&phase.score);
    }
    let drained = served.audit.ok == Some(true) && served.counts.held == 0;
    LabReport {
        schema: "netmem.lab/1",
        ok: requests.is_perfect() && requests.sent > 0 && drained && !stop.is_set(),
        interrupted: stop.is_set(),
        backend,
        memory: served.memory,
        xdp: served.xdp,
        requests,
        replies_per_second: measured.replies_per_second.round(),
        latency_ns: measured.latency,
        counts: served.counts,
        audit: served.audit,
        phases: measured.phases,
    }
}

/// One line that says what is going on: rewritten on a terminal, one after the other elsewhere.
struct Progress<'a> {
    notes: &'a mut (dyn Write + Send),
    rewrite: bool,
}

impl<'a> Progress<'a> {
    fn new(notes: &'a mut (dyn Write + Send)) -> Self {
        Self { notes, rewrite: io::stderr().is_terminal() }
    }

    fn show(&mut self, what: &str) -> Result<(), Failure> {
        if self.rewrite {
            write!(self.notes, "\r\x1b[Klab: {what} ...")
        } else {
            writeln!(self.notes, "lab: {what}")
        }
        .and_then(|()| self.notes.flush())
        .map_err(Failure::output)
    }

    fn end(&mut self) -> Result<(), Failure> {
        if self.rewrite {
            write!(self.notes, "\r\x1b[K")
                .and_then(|()| self.notes.flush())
                .map_err(Failure::output)?;
        }
        Ok(())
    }
}

fn print(out: &mut dyn Write, report: &LabReport) -> io::Result<()> {
    report::row(out, "backend", report.backend)?;
    report::memory(out, &report.memory)?;
    if let Some(xdp) = &report.xdp {
        report::xdp(out, xdp)?;
    }
    report::packets(out, &report.counts)?;
    report::audit(out, &report.audit)?;
    let score = |score: &Score| {
        format!(
            "{} sent: {} right, {} wrong, {} missing, {} duplicate",
            score.sent, score.right, score.wrong, score.missing, score.duplicate
        )
    };
    report::row(out, "requests", score(&report.requests))?;
    for phase in &report.phases {
        report::row(out, "", format!("{:<8} {}", phase.name, score(&phase.score)))?;
    }
    if report.replies_per_second > 0.0 {
        report::row(out, "flood", format!("{:.0} verified replies/s", report.replies_per_second))?;
    }
    let l = &report.latency_ns;
    let times = [("p50", l.p50), ("p90", l.p90), ("p99", l.p99), ("p99.9", l.p999), ("max", l.max)];
    let times = times.map(|(name, nanos)| format!("{name} {}", report::micros(nanos)));
    if l.max > 0 {
        report::row(out, "latency", times.join(", "))?;
    }
    let verdict = match (report.ok, report.interrupted) {
        (true, _) => "ok: every reply right, audit closed",
        (false, true) => "interrupted before all phases were through",
        (false, false) => "FAILED",
    };
    report::row(out, "result", verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let times: Vec<u64> = (1..=2000).collect();
        let latency = Latency::of(&times);
        assert_eq!((latency.p50, latency.p90, latency.p99), (1000, 1800, 1980));
        assert_eq!((latency.p999, latency.max), (1998, 2000));
        assert_eq!(Latency::of(&[]).max, 0);
        assert_eq!(Latency::of(&[7]).p50, 7);
    }

    #[test]
    fn the_in_memory_lab_gets_every_reply_and_closes_its_audit() {
        let args = LabArgs {
            bursts: 50,
            latency: 0,
            flood: 0,
            mode: crate::args::Mode::Auto,
            pages: vec![crate::args::Pages::Base4K],
            json: true,
        };
        let report = in_memory(&args, &Stop::default(), &mut Vec::new()).unwrap();
        assert!(report.ok, "{report:?}");
        assert_eq!(report.requests.right, 50 * 64);
        assert_eq!(report.audit.ok, Some(true));
    }
}
