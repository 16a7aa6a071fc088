//! `netmem tune lint FILE`: what a tuning script or a file of settings would really do, write by write.
//!
//! Prints what [`netmem_host::tune::lint`] says, as a table or as JSON from the same struct. Nothing of the
//! file is run, and no setting is read or written: the verdicts are for the defaults of this kernel and for
//! this machine's memory.
//!
//! Exit codes: 0 nothing wrong; 1 something is; 2 the file cannot be read; 3 the machine does not tell what
//! the verdicts are made from.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use netmem_host::{
    source::Root,
    sysctl::Machine,
    tune::{
        facts::size,
        lint::{Report, Subject, Verdict},
    },
};

use crate::{
    Failure, Outcome,
    args::TuneLintArgs,
    explain::{TEXT_COLUMNS, wrapped},
    report::{self, harmless, row},
};

/// A longer file is no script and no file of settings.
const LONGEST_BYTES: u64 = 4 << 20;

/// Runs the command.
///
/// # Errors
/// When the file or the machine cannot be read, or the output takes no more.
pub fn run(args: &TuneLintArgs, out: &mut dyn Write) -> Result<Outcome, Failure> {
    let source = args.file.display().to_string();
    let text = read(&args.file).map_err(|error| {
        let what = format!("lint {source}: {}", cause(&error));
        match error.kind() {
            io::ErrorKind::PermissionDenied => Failure::missing(what),
            _ => Failure::usage(what),
        }
    })?;
    let machine = Machine::read(&Root::live())
        .map_err(|why| Failure::missing(format!("lint {source}: {why}")))?;
    let report = Report::of(&source, &text, &machine);
    let printed = if args.json { report::json(out, &report) } else { print(out, &report) };
    printed.and_then(|()| out.flush()).map_err(Failure::output)?;
    Ok(if report.findings == 0 { Outcome::Done } else { Outcome::Finding })
}

/// Reads a text; what is no UTF-8 is replaced.
fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    let input: &mut dyn Read =
        if path == Path::new("-") { &mut io::stdin().lock() } else { &mut File::open(path)? };
    input.take(LONGEST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST_BYTES {
        return Err(io::Error::other("larger than 4 MiB: neither script nor settings"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn cause(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

fn print(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let machine = &report.machine;
    let memory = i128::from(machine.free_buffer_pages) * i128::from(machine.page_bytes);
    let ((major, minor), memory) = (machine.kernel, size(memory));
    row(out, "text", harmless(&report.source))?;
    row(out, "judged for", format!("kernel {major}.{minor}, {memory} of memory for buffers"))?;
    for verdict in &report.verdicts {
        print_verdict(out, verdict)?;
    }
    let of = |subject| report.verdicts.iter().filter(move |verdict| verdict.subject == subject);
    let counts = format!(
        "{} in {} writes and {} reads; {} other commands not judged",
        report.findings,
        of(Subject::Write).count(),
        of(Subject::Read).count(),
        of(Subject::Other).count()
    );
    row(out, "findings", counts)
}

fn print_verdict(out: &mut dyn Write, verdict: &Verdict) -> io::Result<()> {
    let what = match (verdict.subject, &verdict.value) {
        (Subject::Write, Some(value)) => format!("{} = {value}", verdict.target),
        (Subject::Write, None) => format!("{} = *", verdict.target),
        _ => verdict.target.clone(),
    };
    writeln!(out)?;
    row(out, &format!("line {}", verdict.line), harmless(&what))?;
    let mut label = verdict.verdict.name();
    let citation = verdict.citation.map(|citation| format!("see {citation}"));
    for reason in verdict.reasons.iter().chain(&citation) {
        for line in wrapped(&harmless(reason), TEXT_COLUMNS - 5) {
            writeln!(out, "{label:<19} {line}")?;
            label = "";
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
