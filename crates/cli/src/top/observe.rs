//! What `top` shows: a sample of the machine, netmem's own programs, and what moved since the last one.
//!
//! Programs show themselves by a page each ([`netmem::stats`]). Finding them means looking at every
//! descriptor of the machine, so that is done for every tenth sample; between, those that are known are
//! read.

use netmem::stats::{self, Census, Found};
use netmem_host::{
    sample::{NamespaceChoice, Rates, Sample, Sampler},
    source::{Root, SourceState},
};
use serde::Serialize;

use crate::{
    Failure,
    list::{NetmemProcess, processes},
    metrics::{Choice, Families, SoftnetWraps, machine, programs},
};

/// Samples for which the list of programs is taken to be complete.
const SAMPLES_PER_CENSUS: u32 = 10;
/// Of each kind of things that are listed by size, so many.
const TOP_COUNT: usize = 32;

/// What is shown.
#[derive(Debug, Clone, Serialize)]
pub struct Observed {
    /// `netmem.top/1`.
    pub schema: &'static str,
    /// The machine's network memory.
    #[serde(flatten)]
    pub sample: Sample,
    /// netmem's running programs.
    pub programs: Programs,
    /// What moved since the sample before; null in the first.
    pub rates: Option<Rates>,
}

/// netmem's running programs, of all network namespaces.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Programs {
    /// Those that show themselves.
    pub processes: Vec<NetmemProcess>,
    /// Why there may be others, or some cannot be read.
    pub not_known: Vec<String>,
}

/// Takes one sample after the other.
#[derive(Debug)]
pub(super) struct Observer {
    root: Root,
    sampler: Sampler,
    names_namespaces: bool,
    wraps: SoftnetWraps,
    census: Census,
    samples: u32,
    last: Option<Sample>,
}

impl Observed {
    /// Whether something could not be read.
    #[must_use]
    pub fn misses_a_source(&self) -> bool {
        self.sample.misses_a_source() || !self.programs.not_known.is_empty()
    }
}

impl Observer {
    pub(super) fn new(root: Root, netns: Option<&str>) -> Self {
        let choice = match netns {
            None => NamespaceChoice::Own,
            Some("all") => NamespaceChoice::All,
            Some(name) => NamespaceChoice::Named(name.to_owned()),
        };
        Self {
            names_namespaces: choice != NamespaceChoice::Own,
            wraps: SoftnetWraps::default(),
            sampler: Sampler::new(root.clone(), choice, TOP_COUNT),
            root,
            census: Census::default(),
            samples: 0,
            last: None,
        }
    }

    /// Takes a sample.
    pub(super) fn observe(&mut self) -> Result<Observed, Failure> {
        let sample = self.sampler.sample().map_err(|why| match why.state {
            SourceState::Denied => Failure::missing(why.to_string())
                .with_hint("other network namespaces need CAP_SYS_ADMIN and CAP_SYS_PTRACE"),
            _ => Failure::refused(why.to_string())
                .with_hint("names are those of ip netns, numbers those of processes, or all"),
        })?;
        let programs = if self.root.is_live() { self.programs()? } else { Programs::default() };
        let rates = self.last.as_ref().and_then(|last| Rates::between(last, &sample));
        self.last = Some(sample.clone());
        Ok(Observed { schema: "netmem.top/1", sample, programs, rates })
    }

    /// What was observed last as metrics, as `netmem export` names them.
    pub(super) fn families(&mut self, observed: &Observed) -> Families {
        let names_namespaces = self.names_namespaces;
        let choice = Choice { names_namespaces, ..Choice::default() };
        let mut families = Families::of_sample(&observed.sample, &choice);
        if let Ok(softnet) = &observed.sample.machine.softnet {
            self.wraps.add(&mut families, softnet);
        }
        machine::add_hugepages(&mut families, &self.root);
        if self.root.is_live() {
            programs::add_found(&mut families, &self.census);
        }
        families
    }

    fn programs(&mut self) -> Result<Programs, Failure> {
        if self.samples.is_multiple_of(SAMPLES_PER_CENSUS) {
            self.census = stats::all()?;
        } else {
            let mut pids: Vec<u32> = self.census.found.iter().map(|found| found.pid).collect();
            pids.dedup();
            // One that has ended meanwhile is gone.
            let again = |pid: u32| stats::of_process(pid).unwrap_or_default();
            let known: Vec<Found> = pids.into_iter().flat_map(again).collect();
            self.census.found = known;
        }
        self.samples = self.samples.wrapping_add(1);
        let (processes, not_known) = processes::processes(&self.census, None);
        Ok(Programs { processes, not_known })
    }
}
