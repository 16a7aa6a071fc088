//! `netmem tune`: the machine's settings of network memory, changed with evidence, a diff and an undo.

mod apply;
pub mod explain;
mod guard;
mod hugepages;
pub mod lint;
pub mod plan;
mod undo;

use std::io::Write;

use crate::{
    Failure, Outcome,
    args::{TuneArgs, TuneCommand},
};

/// Runs the command.
///
/// # Errors
/// What the command was refused.
pub fn run(
    args: &TuneArgs,
    out: &mut dyn Write,
    notes: &mut dyn Write,
) -> Result<Outcome, Failure> {
    match &args.command {
        TuneCommand::Explain(args) => explain::run(args, out),
        TuneCommand::Lint(args) => lint::run(args, out),
        TuneCommand::Plan(args) => plan::run(args, out, notes),
        TuneCommand::Hugepages(args) => hugepages::run(args, out),
        TuneCommand::Apply(args) => apply::run(args, out, notes),
        TuneCommand::Confirm(args) => undo::confirm(args, out, notes),
        TuneCommand::Rollback(args) => undo::rollback(args, out, notes),
        TuneCommand::History(args) => undo::history(args, out, notes),
        TuneCommand::Guard(args) => guard::run(args, out),
    }
}
