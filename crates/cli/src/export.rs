//! `netmem export`: the machine's network memory as metrics, for Prometheus and what reads its formats.
//!
//! Figures are those of `netmem_host::sample` and of every running netmem that can be looked into, read
//! when somebody asks and not otherwise. Nothing of the machine is changed. What needs a privilege that
//! is missing has no sample, and `netmem_source_up` says so: without root no slab caches, and only
//! processes of the same user.

use std::{
    io::Write,
    thread,
    time::{Duration, Instant},
};

use netmem_host::{
    sample::{NamespaceChoice, Sampler},
    source::{Root, Unavailable},
};

use crate::{
    Failure, Outcome,
    args::ExportArgs,
    metrics::{Choice, Families, SoftnetWraps, machine, programs, server::Bound},
    report,
    stop::Stop,
};

/// How often the end is looked for.
const TICK: Duration = Duration::from_millis(50);
/// Control groups that are shown each.
const MAX_CGROUPS: usize = 50;

/// Runs the command until a signal stops it.
///
/// # Errors
/// The address is in use, or the network namespace is not there.
pub fn run(
    args: &ExportArgs,
    out: &mut dyn Write,
    notes: &mut dyn Write,
) -> Result<Outcome, Failure> {
    let stop = Stop::by_signal()?;
    let bound = Bound::listen(args.listen)?;
    let mut machine = Machine::new(args);
    // What makes no sense is said now, and not by every answer.
    machine.look().map_err(|why| missing(&why))?;
    announce(&bound, notes).map_err(Failure::output)?;
    let started = Instant::now();
    let server = bound.serve(move || machine.families())?;
    while !stop.is_set() {
        thread::sleep(TICK);
    }
    let served = server.finish();
    let seconds = started.elapsed().as_secs_f64();
    writeln!(out, "[summary export after {seconds:.1} s]")
        .and_then(|()| {
            let what = format!("{} scrapes of {} samples", served.scrapes, served.samples);
            report::row(out, "served", what)
        })
        .and_then(|()| out.flush())
        .map_err(Failure::output)?;
    Ok(Outcome::Done)
}

/// Says where metrics are, and who can read them.
pub(crate) fn announce(bound: &Bound, notes: &mut dyn Write) -> std::io::Result<()> {
    report::row(notes, "metrics", bound.url())?;
    if bound.is_open_to_others() {
        let why = "not loopback: whoever reaches this address can read them, without a password";
        report::row(notes, "", why)?;
    }
    notes.flush()
}

fn missing(why: &Unavailable) -> Failure {
    Failure::missing(format!("look at {}: {}", why.source, why.reason))
}

/// The machine, and what is remembered of it between samples.
#[derive(Debug)]
struct Machine {
    root: Root,
    sampler: Sampler,
    choice: Choice,
    wraps: SoftnetWraps,
}

impl Machine {
    fn new(args: &ExportArgs) -> Self {
        let root = Root::live();
        let namespaces = match args.netns.as_deref() {
            None => NamespaceChoice::Own,
            Some("all") => NamespaceChoice::All,
            Some(name) => NamespaceChoice::Named(name.to_owned()),
        };
        let choice = Choice {
            names_namespaces: namespaces != NamespaceChoice::Own,
            per_cgroup: args.per_cgroup,
        };
        let top_count = if args.per_cgroup { MAX_CGROUPS } else { 0 };
        let sampler = Sampler::new(root.clone(), namespaces, top_count);
        Self { root, sampler, choice, wraps: SoftnetWraps::default() }
    }

    fn look(&mut self) -> Result<Families, Unavailable> {
        let sample = self.sampler.sample()?;
        let mut families = Families::of_sample(&sample, &self.choice);
        if let Ok(softnet) = &sample.machine.softnet {
            self.wraps.add(&mut families, softnet);
        }
        Ok(families)
    }

    fn families(&mut self) -> Families {
        let mut families = self.look().unwrap_or_else(|_| machine::without_sample());
        machine::add_hugepages(&mut families, &self.root);
        programs::add_all(&mut families);
        families
    }
}
