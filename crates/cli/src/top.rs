//! `netmem top` (`netmem monitor`): the machine's network memory.
//!
//! ```text
//!   Sampler (netmem-host) --+                     +-- text    every pane, once or each interval
//!   netmem::stats ----------+--> Observed --------+-- JSON    one object, or one a line; or OpenMetrics
//!                                                 +-- screen  a pane at a time, with keys
//! ```
//! What a terminal is not there for goes to standard output as text. The text and the screen show the
//! same tables; JSON is the sample as it is. What the kernel does not tell is `?` and `null`
//! with a reason among the sources, and never looks like 0 or none. Nothing on the machine is changed.

mod app;
mod observe;
mod panes;
mod table;
mod terminal;
mod text;

use std::{
    io::{self, BufWriter, IsTerminal as _, Write},
    thread,
    time::{Duration, Instant},
};

use netmem_host::source::Root;

use self::observe::Observer;
pub use self::observe::{Observed, Programs};
use crate::{Failure, Outcome, args::TopArgs, metrics::openmetrics, report, stop::Stop};

/// How long a signal may wait to be seen.
const PATIENCE: Duration = Duration::from_millis(100);

/// Runs the command: on a terminal its screen, else as [`print()`].
///
/// # Errors
/// When the network namespace that was asked for is not there or may not be entered, or the terminal
/// cannot be used.
pub fn run(args: &TopArgs, out: &mut dyn Write) -> Result<Outcome, Failure> {
    let is_printed = args.json || args.openmetrics;
    let is_screen = !is_printed && io::stdout().is_terminal() && io::stdin().is_terminal();
    if is_screen { terminal::run(args) } else { print(args, Root::live(), out) }
}

/// Prints a sample, or one each interval until a signal comes, of the live machine or a recorded one.
///
/// # Errors
/// When the network namespace that was asked for is not there or may not be entered, or `out` cannot be
/// written to.
pub fn print(args: &TopArgs, root: Root, out: &mut dyn Write) -> Result<Outcome, Failure> {
    let stop = Stop::by_signal()?;
    // What is written comes in many small pieces.
    let mut out = BufWriter::with_capacity(1 << 16, out);
    let mut observer = Observer::new(root, args.netns.as_deref());
    let mut outcome = Outcome::Done;
    let mut next = Instant::now();
    loop {
        let observed = observer.observe()?;
        if args.strict && observed.misses_a_source() {
            outcome = Outcome::Missing;
        }
        let printed = if args.json {
            report::json(&mut out, &observed)
        } else if args.openmetrics {
            out.write_all(openmetrics(observer.families(&observed)).as_bytes())
        } else {
            text::print(&mut out, &observed)
        };
        printed.and_then(|()| out.flush()).map_err(Failure::output)?;
        let Some(interval_s) = args.interval else { return Ok(outcome) };
        next += Duration::from_secs(interval_s.into());
        while Instant::now() < next && !stop.is_set() {
            thread::sleep(PATIENCE.min(next.saturating_duration_since(Instant::now())));
        }
        if stop.is_set() {
            return Ok(outcome);
        }
        if !args.json && !args.openmetrics {
            writeln!(out).map_err(Failure::output)?;
        }
    }
}
