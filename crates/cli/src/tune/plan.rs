//! `netmem tune plan`: what to change, and why, as a diff. Nothing is changed.
//!
//! ```text
//!   netmem_host::tune:  collect (two samples, sockets in between) -> plan (rules) -> Plan
//!   here:               what was found, then a diff for each reach: global, this namespace
//! ```
//! Values are shown with their unit spelled: pages are also bytes and a share of the memory.

mod diff;

use std::{fs, io::Write, path::Path, time::Duration};

use netmem_host::{
    source::{Root, SourceState, Unavailable},
    tune::{
        self, Ask, Goal, Plan, SetBy, Store,
        evidence::{Lookout, collect},
    },
};

use super::undo;
use crate::{
    Failure, Outcome,
    args::{TuneGoal, TunePlanArgs},
    report,
    stop::Stop,
};

/// A plan, and what its values are measured by.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// The machine's memory, in bytes.
    pub memory_bytes: u64,
    /// Size of a page, in bytes.
    pub page_bytes: u64,
    /// How the namespace is called.
    pub netns: String,
    /// For how long was looked, in milliseconds.
    pub looked_ms: u64,
}

/// Runs the command.
///
/// # Errors
/// When the namespace that was asked for is not there or may not be entered, sockets cannot be listed,
/// or the file cannot be written.
pub fn run(
    args: &TunePlanArgs,
    out: &mut dyn Write,
    notes: &mut dyn Write,
) -> Result<Outcome, Failure> {
    // A folder that this user may not read hides nothing that he could settle.
    if let Ok(history) = Store::at(&args.state.state).history() {
        undo::tell_unfinished(&history.applications, notes);
    }
    if !args.json {
        // Nobody may be listening: that ends nothing.
        let _ = report::row(notes, "looking", format!("for {} s", args.interval))
            .and_then(|()| notes.flush());
    }
    // Said to programs too: what is to be seen may happen from now on.
    let looked = || {
        let _ = report::row(notes, "first look", "done").and_then(|()| notes.flush());
    };
    let planned = look(args, &Stop::by_signal()?, looked)?;
    if let Some(path) = &args.output {
        write(path, &planned.plan)?;
    }
    let printed = match args.json {
        true => report::json(out, &planned.plan),
        false => diff::print(out, &planned),
    };
    printed.and_then(|()| out.flush()).map_err(Failure::output)?;
    Ok(match &planned.plan {
        plan if args.strict && !plan.not_known.is_empty() => Outcome::Missing,
        plan if plan.changes.is_empty() => Outcome::Done,
        _ => Outcome::Finding,
    })
}

/// Looks at the machine and makes a plan; a request to stop ends the look early.
///
/// # Errors
/// As [`run`], but for the file.
pub(crate) fn make(args: &TunePlanArgs, stop: &Stop) -> Result<Planned, Failure> {
    look(args, stop, || ())
}

/// Looks and plans; `looked` is called once, when all was looked at for the first time.
fn look(args: &TunePlanArgs, stop: &Stop, looked: impl FnOnce()) -> Result<Planned, Failure> {
    let root = Root::live();
    let lookout =
        Lookout { netns: args.netns.clone(), interval: Duration::from_secs(args.interval.into()) };
    let mut looked = Some(looked);
    let is_over = || {
        // It is asked between looks, and so not before the first one.
        if let Some(looked) = looked.take() {
            looked();
        }
        stop.is_set()
    };
    let (evidence, basis) = collect(&root, &lookout, is_over).map_err(|why| refused(&why))?;
    let ask = Ask {
        goal: args.goal.map(Goal::from),
        bandwidth_bits_per_s: args.bandwidth,
        rtt_us: args.rtt,
    };
    let netns = args.netns.clone().unwrap_or_else(|| format!("net:[{}]", basis.netns_inode));
    Ok(Planned {
        plan: tune::plan(&evidence, &ask, basis, &SetBy::read(Path::new("/"), &root)),
        memory_bytes: evidence.memory.total_bytes,
        page_bytes: evidence.machine.page_bytes,
        netns,
        looked_ms: evidence.elapsed_ms,
    })
}

fn refused(why: &Unavailable) -> Failure {
    match why.state {
        SourceState::Denied => Failure::missing(why.to_string())
            .with_hint("other network namespaces need CAP_SYS_ADMIN and CAP_SYS_PTRACE"),
        _ => Failure::refused(why.to_string())
            .with_hint("names are those of ip netns, numbers those of processes"),
    }
}

fn write(path: &Path, plan: &Plan) -> Result<(), Failure> {
    let refused = |why: String| Failure::refused(format!("write {}: {why}", path.display()));
    let mut text =
        serde_json::to_string_pretty(plan).map_err(|error| refused(error.to_string()))?;
    text.push('\n');
    fs::write(path, text)
        .map_err(|error| refused(Unavailable::by_io(path.display().to_string(), &error).reason))
}

impl From<TuneGoal> for Goal {
    fn from(goal: TuneGoal) -> Self {
        match goal {
            TuneGoal::Throughput => Self::Throughput,
            TuneGoal::Latency => Self::Latency,
            TuneGoal::ManyConnections => Self::ManyConnections,
            TuneGoal::ZeroCopy => Self::ZeroCopy,
        }
    }
}
