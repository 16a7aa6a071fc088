//! The `netmem` command, as a library: arguments, commands and all printing. The binary is `main.rs`.
//!
//! Results go to standard output, notes and progress to standard error. A command returns an
//! [`Outcome`], which is its exit code, or a [`Failure`], which says what was tried and what may help.
#![forbid(unsafe_code)]

pub mod args;
pub mod capture_file;
pub mod detach;
pub mod doctor;
pub mod explain;
pub mod export;
pub mod failure;
pub mod forward;
pub mod lab;
pub mod list;
pub mod maps;
pub mod metrics;
mod plane;
pub mod read;
pub mod report;
pub mod respond;
pub mod responder;
pub mod sandbox;
mod stop;
pub mod top;
pub mod tune;

use std::io::Write;

use clap::Parser;

use args::{Args, Command};
pub use failure::{Failure, Outcome};

/// Runs the command that `arguments` name (the first is the program's name).
///
/// Help and usage errors are printed by the argument parser.
///
/// # Errors
/// What the command was refused.
pub fn run<I>(
    arguments: I,
    out: &mut dyn Write,
    notes: &mut (dyn Write + Send),
) -> Result<Outcome, Failure>
where
    I: IntoIterator<Item = std::ffi::OsString>,
{
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => {
            // Help and version are what was asked for; everything else is a usage error.
            let outcome = if error.use_stderr() { Outcome::Usage } else { Outcome::Done };
            error.print().map_err(Failure::output)?;
            return Ok(outcome);
        }
    };
    // Nobody may be listening to notes and progress: that ends nothing.
    let notes = &mut Unheeded(notes);
    match args.command {
        Command::Detach(args) => detach::run(&args, out),
        Command::Doctor(args) => doctor::run(&args, out),
        Command::Explain(args) => explain::run(&args, out),
        Command::Export(args) => export::run(&args, out, notes),
        Command::Forward(args) => forward::run(&args, out, notes),
        Command::Lab(args) => lab::run(&args, out, notes),
        Command::List(args) => list::run(&args, out),
        Command::Maps(args) => maps::run(&args, out),
        Command::Read(args) => read::run(&args, out, notes),
        Command::Respond(args) => respond::run(&args, out, notes),
        Command::Top(args) => top::run(&args, out),
        Command::Tune(args) => tune::run(&args, out, notes),
        Command::Worker(args) => match &args.job {
            Some(job) => plane::worker(&args, job),
            None => sandbox::run(&args, notes),
        },
    }
}

/// Writes where it can, and never fails.
struct Unheeded<'a>(&'a mut (dyn Write + Send));

impl Write for Unheeded<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // The error is what is not heeded.
        let _ = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}
