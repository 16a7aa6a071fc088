//! `xtask soak`: packets through a port's four rings until every index has wrapped at 2^32.
//!
//! The soak is a bench of `netmem`, so that it is what a program gets: the release profile without
//! debug assertions.

use crate::report::Report;
use crate::workspace::Workspace;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
usage: cargo xtask soak [--packets N] [--json]

Sends N packets, 2^32 + 10^6 by default, through the fill, rx, tx and
completion ring of the real port on the fake kernel. Each packet carries its
number and is checked on both sides: in order, once, as sent, as changed. With
N below 2^32 the indices start N/2 below the wrap. Short runs over small rings
that start anywhere below the wrap come first. At the end the audit closes,
counters are what was counted, memory and descriptors are as at the start.

Progress is told each 5 s on stderr. `--json` prints one line of JSON on
stdout and nothing else. All of it takes minutes; `ci` runs a part.
";

/// Every index wraps, and goes on.
const FULL: u64 = (1 << 32) + 1_000_000;
/// What `ci` runs: about 10 s.
const SHORT: u64 = 100_000_000;
/// The bench; the same words build it and run it.
const BENCH: [&str; 8] =
    ["bench", "--locked", "-p", "netmem", "--bench", "soak", "--features", "test-util"];

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    packets: u64,
    json: bool,
}

/// Runs the soak as asked.
///
/// # Errors
/// When the arguments are not those of the help.
pub(crate) fn run(
    workspace: &Workspace,
    arguments: &[String],
    report: &mut Report,
) -> Result<(), String> {
    let Wanted { packets, json } = parse(arguments)?;
    if json {
        report.be_silent();
    }
    soak(workspace, report, packets, json);
    Ok(())
}

/// Runs the part that `ci` runs.
pub(crate) fn short(workspace: &Workspace, report: &mut Report) {
    soak(workspace, report, SHORT, false);
}

fn soak(workspace: &Workspace, report: &mut Report, packets: u64, json: bool) {
    if !report.step("soak build", workspace.cargo(&BENCH).arg("--no-run")).ok {
        return;
    }
    let mut command = workspace.cargo(&BENCH);
    command.args(["--", "--packets", &packets.to_string()]);
    if json {
        command.arg("--json");
    }
    report.step("soak", &mut command);
}

fn parse(arguments: &[String]) -> Result<Wanted, String> {
    let mut wanted = Wanted { packets: FULL, json: false };
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        match argument {
            "--packets" => {
                let number = rest.next().and_then(|number| number.parse().ok());
                let number = number.filter(|n| *n >= 100);
                wanted.packets = number.ok_or("--packets takes a number of at least 100")?;
            }
            "--json" => wanted.json = true,
            _ => return Err(format!("unexpected argument `{argument}`")),
        }
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_those_of_the_help() {
        let words = |text: &str| text.split_whitespace().map(String::from).collect::<Vec<_>>();
        assert_eq!(parse(&[]), Ok(Wanted { packets: 4_295_967_296, json: false }));
        let both = Wanted { packets: 100, json: true };
        assert_eq!(parse(&words("--json --packets 100")), Ok(both));
        for bad in ["--packets", "--packets 99", "--packets x", "--packets -1", "100", "--jsonl"] {
            assert!(parse(&words(bad)).is_err(), "{bad}");
        }
    }
}
