//! `top` on paper: every pane below the other, 100 columns wide.

use std::io::{self, Write};

use super::{
    observe::Observed,
    panes::Pane,
    table::{Line, LineKind},
};

const WIDTH: usize = 100;

/// Writes all panes.
pub(super) fn print(out: &mut dyn Write, observed: &Observed) -> io::Result<()> {
    writeln!(out, "{}", summary(observed))?;
    for pane in Pane::ALL {
        for table in pane.tables(observed) {
            writeln!(out)?;
            for Line { kind, text } in table.lines(WIDTH, None) {
                let mark = if kind == LineKind::Warning { "!" } else { " " };
                let rest = text.strip_prefix(' ').filter(|_| kind == LineKind::Warning);
                match rest {
                    Some(rest) => writeln!(out, "{mark}{rest}")?,
                    None => writeln!(out, "{text}")?,
                }
            }
        }
    }
    if observed.rates.is_none() {
        writeln!(out, "\nTotals only: rates need two samples, as --interval takes them.")?;
    }
    Ok(())
}

/// Where and when, and what is missing.
pub(super) fn summary(observed: &Observed) -> String {
    let sample = &observed.sample;
    let namespaces = match &sample.namespaces[..] {
        [one] => format!("network namespace {}", one.label()),
        all => format!("{} network namespaces", all.len()),
    };
    let took = format!("{}.{} ms", sample.took_ns / 1_000_000, sample.took_ns / 100_000 % 10);
    let is_blind = !observed.programs.not_known.is_empty();
    let all = sample.sources().count() + 1;
    let missing = sample.sources().filter(|source| source.reason.is_some()).count();
    let missing = missing + usize::from(is_blind);
    let missing = match missing {
        0 => format!("all {all} sources"),
        missing => format!("{missing} of {all} sources missing"),
    };
    format!("netmem top: {namespaces}, {missing}, taken in {took}")
}
