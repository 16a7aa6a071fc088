//! `netmem tune`: the machine's settings of network memory, changed with evidence, a diff and an undo.

use std::io::Write;

use crate::{Failure, Outcome, args::TuneArgs};

/// Runs the command.
///
/// # Errors
/// What the command was refused.
pub fn run(
    args: &TuneArgs,
    _out: &mut dyn Write,
    _notes: &mut dyn Write,
) -> Result<Outcome, Failure> {
    match args.command {}
}
