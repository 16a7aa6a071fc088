//! One look at all of the machine's network memory, and what moved between two looks.
//!
//! ```text
//!   Sampler --sample()--> Sample --+-- machine       what counts the whole machine, once
//!    keeps between samples:        +-- namespaces    what counts a network namespace, for each
//!    who holds which socket,             |
//!    names, control groups         Rates::between(earlier, later)
//! ```
//! Each figure is a [`Reading`]: what could not be read is null in the output, with the reason in the
//! list of [`sources`](MachineSample::sources) beside it. The parts are read one after another, some
//! milliseconds apart, so figures of different sources need not add up.
//!
//! A foreign namespace is looked at by a thread that enters it, and ends: no thread, descriptor or
//! socket of it is kept between samples, because that would keep the namespace.
//!
//! Single sockets are kept only as far as the largest ones are asked for: sums cost no memory.

mod machine;
mod namespace;
mod rates;
mod sockets;
mod xdp;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::machine::MachineSample;
pub use self::namespace::{LinkSample, NamespaceSample, PacketSocketSample};
pub use self::rates::{
    CpuGrowth, LinkGrowth, NamespaceRates, QueueGrowth, Rates, SocketGrowth, XdpGrowth,
};
pub use self::sockets::{
    CgroupSockets, ProcessName, ProcessSockets, ProtocolSockets, SocketsSample, TopSocket,
};
pub use self::xdp::{XdpRing, XdpSocketSample, XdpSockets};
use self::{machine::MachineState, namespace::NamespaceState};
use crate::netns::{self, Namespace, Namespaces};
use crate::source::{Reading, Root, SourceState, Unavailable};

/// After so many samples what was remembered of processes is looked up anew.
const SAMPLES_UNTIL_FORGOTTEN: u32 = 60;

/// What a machine's network memory is at a moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Sample {
    /// When it was begun, in nanoseconds since boot, time asleep included (`CLOCK_BOOTTIME`).
    pub taken_ns: u64,
    /// How long it took, in nanoseconds.
    pub took_ns: u64,
    /// What counts the whole machine.
    pub machine: MachineSample,
    /// The network namespaces that were asked for.
    pub namespaces: Vec<NamespaceSample>,
}

/// What a source said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceReport {
    /// Its name, which stays the same: `softnet`, `page-pool-statistics`.
    pub name: &'static str,
    /// Whether it answered.
    pub state: SourceState,
    /// Where it is, and why it did not answer; nothing if it did.
    pub reason: Option<String>,
}

/// Which network namespaces to look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum NamespaceChoice {
    /// The calling thread's.
    #[default]
    Own,
    /// That of a name or of a process's number.
    Named(String),
    /// Every one that can be found, and the calling thread's first.
    All,
}

/// Takes samples, and keeps what makes the next one cheaper.
#[derive(Debug)]
pub struct Sampler {
    root: Root,
    choice: NamespaceChoice,
    top_count: usize,
    machine: MachineState,
    namespaces: BTreeMap<u64, NamespaceState>,
    /// What [`NamespaceChoice::Named`] was found to be.
    named: Option<Namespace>,
    samples: u32,
}

impl SourceReport {
    /// The report on a reading.
    pub fn of<T>(name: &'static str, reading: &Reading<T>) -> Self {
        let reason = reading.as_ref().err().map(|why| format!("{}: {}", why.source, why.reason));
        Self { name, state: SourceState::of(reading), reason }
    }

    /// The report on a source that answered in part.
    pub(crate) fn of_gap(name: &'static str, gap: Option<&Unavailable>) -> Self {
        Self::of(name, &gap.map_or(Ok(()), |gap| Err(gap.clone())))
    }
}

impl Sample {
    /// Tells whether a source did not answer.
    pub fn misses_a_source(&self) -> bool {
        self.sources().any(|source| source.state != SourceState::Ok)
    }

    /// Returns what each source said, those of the machine first.
    pub fn sources(&self) -> impl Iterator<Item = &SourceReport> {
        let namespaces = self.namespaces.iter().flat_map(|namespace| &namespace.sources);
        self.machine.sources.iter().chain(namespaces)
    }
}

impl Sampler {
    /// Begins; of each kind of things that are listed by size at most `top_count` are kept.
    pub fn new(root: Root, choice: NamespaceChoice, top_count: usize) -> Self {
        Self {
            root,
            choice,
            top_count,
            machine: MachineState::default(),
            namespaces: BTreeMap::new(),
            named: None,
            samples: 0,
        }
    }

    /// Takes a sample.
    ///
    /// # Errors
    /// The network namespace that was asked for is not there, or may not be entered; or processes
    /// cannot be listed, which finding namespaces needs. What else cannot be read is told in the
    /// sample.
    pub fn sample(&mut self) -> Reading<Sample> {
        if self.samples == SAMPLES_UNTIL_FORGOTTEN {
            self.samples = 0;
            self.machine.forget();
            self.namespaces.values_mut().for_each(NamespaceState::forget);
        }
        self.samples += 1;
        let taken_ns = now_ns(&self.root);
        let machine = self.machine.sample(&self.root, taken_ns);
        let namespaces = match &self.choice {
            NamespaceChoice::Own => vec![self.own()],
            NamespaceChoice::Named(name) => {
                let name = name.clone();
                vec![self.one(&name)?]
            }
            NamespaceChoice::All => self.all()?,
        };
        let took_ns = now_ns(&self.root).saturating_sub(taken_ns);
        Ok(Sample { taken_ns, took_ns, machine, namespaces })
    }

    fn own(&mut self) -> NamespaceSample {
        let namespace = Namespace { inode: own_inode(&self.root), ..Namespace::default() };
        self.state(namespace.inode).sample(&namespace)
    }

    fn one(&mut self, name: &str) -> Reading<NamespaceSample> {
        for attempt in 0..2 {
            let namespace = match (&self.named, attempt) {
                (Some(known), 0) => known.clone(),
                _ => Namespaces::scan(&self.root)?.named(name)?.clone(),
            };
            self.named = Some(namespace.clone());
            match self.look_into(&namespace) {
                // Its way led through a process that has ended.
                Err(why) if attempt == 0 && why.state == SourceState::Stale => {}
                looked => return looked,
            }
        }
        Err(Unavailable::stale(format!("network namespace {name}"), "it has gone"))
    }

    fn all(&mut self) -> Reading<Vec<NamespaceSample>> {
        let found = Namespaces::scan(&self.root)?;
        let own = own_inode(&self.root);
        self.namespaces.retain(|inode, _| found.of(*inode).is_some());
        let mut samples = Vec::new();
        for namespace in &found.all {
            match self.look_into(namespace) {
                Ok(sample) if namespace.inode == own => samples.insert(0, sample),
                Ok(sample) => samples.push(sample),
                // It went meanwhile.
                Err(why) if why.state == SourceState::Stale => {}
                Err(why) => samples.push(NamespaceSample::unavailable(namespace, &why)),
            }
        }
        if let (Some(gap), Some(first)) = (&found.gap, samples.first_mut()) {
            first.sources.push(SourceReport::of_gap("namespaces", Some(gap)));
        }
        Ok(samples)
    }

    fn look_into(&mut self, namespace: &Namespace) -> Reading<NamespaceSample> {
        let own = own_inode(&self.root);
        let state = self.state(namespace.inode);
        match namespace.inode == own {
            true => Ok(state.sample(namespace)),
            false => netns::enter(namespace, || state.sample(namespace)),
        }
    }

    fn state(&mut self, inode: u64) -> &mut NamespaceState {
        let (root, top_count) = (&self.root, self.top_count);
        let new = || NamespaceState::new(root.clone(), top_count);
        self.namespaces.entry(inode).or_insert_with(new)
    }
}

/// The number of the calling thread's network namespace; 0 if that is not told.
fn own_inode(root: &Root) -> u64 {
    let target = std::fs::read_link(root.proc("thread-self/ns/net")).unwrap_or_default();
    netns::namespace_inode(&target.to_string_lossy()).unwrap_or(0)
}

/// Nanoseconds since boot; of a recorded machine what its `uptime` says.
fn now_ns(root: &Root) -> u64 {
    if !root.is_live() {
        let uptime = crate::source::read(&root.proc("uptime")).unwrap_or_default();
        let seconds = std::str::from_utf8(&uptime).ok().and_then(|text| text.split('.').next());
        return seconds.and_then(|s| s.parse::<u64>().ok()).unwrap_or(0) * 1_000_000_000;
    }
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + nanos
}
