//! `netmem-wire` beside its peers, in wall-clock time: `cargo run --release [-- --json] [NAME..]`.
//!
//! **How.** A case is one piece of work on the same bytes, done by contenders of which the first is
//! ours. A round runs each contender once, for about two milliseconds, one right after the other and
//! in an order that rotates; whatever else the machine does, it does to all of them. The ratio of a
//! peer is its time divided by ours in the same round. Before the first round all results are
//! compared: contenders that disagree are not measured.
//!
//! **What the numbers mean.**
//! * `ns`: the median over the rounds of the time of one call, bytes hot in the first-level cache
//!   unless the case says otherwise. It depends on the machine and on who else uses it.
//! * `GB/s`: bytes of the case per that time, 10^9 bytes to the GB.
//! * `ratio`: the median of the per-round ratios, and the least and the greatest one. Above 1 the peer
//!   is slower than we are. A least value above 1 says that the peer lost each single round. This is
//!   the number to compare between machines and over time.
//! * `memory ...` cases walk over a buffer several times as large as a core's second-level cache;
//!   where the last-level cache is larger than the buffer, as on some servers, they measure that
//!   cache. Their ratio is a share: `read` at 0.90 means that a plain read takes 90 % of our time, so
//!   that the sum reaches 90 % of the bandwidth at which memory can be read. `memcpy` reads and
//!   writes as many bytes, and is there for scale.
//!
//! The compiler's baseline counts: no case uses instructions beyond those of the target (`SSE2` on
//! `x86_64`). The instruction counts of `cargo xtask gate` are exact where these times are not.
//!
//! To add cases: a module with a `cases() -> Vec<Case>`, and its line in [`all`].

mod checksum;
mod dissect;
mod round;

use std::{env, process::ExitCode};

use round::{Case, Outcome};

/// Rounds of each case.
const ROUNDS: usize = 21;

/// Makes all cases, in the order of the table.
fn all() -> Vec<Case> {
    [checksum::cases(), dissect::cases()].into_iter().flatten().collect()
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let (flags, names): (Vec<&String>, Vec<&String>) =
        words.iter().partition(|word| word.starts_with('-'));
    if flags.iter().any(|flag| *flag != "--json") {
        eprintln!("usage: netmem-bench-wire [--json] [NAME..]");
        return ExitCode::from(2);
    }
    let wanted = |case: &Case| {
        names.is_empty() || names.iter().any(|name| case.name.contains(name.as_str()))
    };
    let outcomes: Vec<Outcome> =
        all().into_iter().filter(wanted).flat_map(|case| case.measure(ROUNDS)).collect();
    if flags.is_empty() {
        print!("{}", table(&outcomes));
    } else {
        print!("{}", json(&outcomes));
    }
    ExitCode::SUCCESS
}

fn table(outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "{:18} {:18} {:>12} {:>8}   ratio ({ROUNDS} rounds)\n",
        "case", "contender", "ns", "GB/s"
    );
    for outcome in outcomes {
        let Outcome { case, contender, nanoseconds, gigabytes_per_second, ratio } = outcome;
        text += &format!("{case:18} {contender:18} {nanoseconds:12.1} {gigabytes_per_second:8.2}");
        if let Some(ratio) = ratio {
            text += &format!("   {:.2} ({:.2} to {:.2})", ratio.median, ratio.min, ratio.max);
        }
        text += "\n";
    }
    text
}

fn json(outcomes: &[Outcome]) -> String {
    let rows: Vec<String> = outcomes
        .iter()
        .map(|outcome| {
            let Outcome { case, contender, nanoseconds, gigabytes_per_second, ratio } = outcome;
            let ratio = ratio.as_ref().map_or_else(String::new, |ratio| {
                format!(
                    ", \"ratio\": {{\"median\": {:.4}, \"min\": {:.4}, \"max\": {:.4}}}",
                    ratio.median, ratio.min, ratio.max
                )
            });
            format!(
                "    {{\"case\": \"{case}\", \"contender\": \"{contender}\", \
                 \"ns\": {nanoseconds:.3}, \"gb_per_s\": {gigabytes_per_second:.4}{ratio}}}"
            )
        })
        .collect();
    format!("{{\n  \"rounds\": {ROUNDS},\n  \"outcomes\": [\n{}\n  ]\n}}\n", rows.join(",\n"))
}
