//! `xtask soak`: packets through a port's four rings until every index has wrapped at 2^32.
//!
//! Both soaks are benches of `netmem`, so that they are what a program gets: the release profile without
//! debug assertions. One runs on the fake kernel, which checks both sides of each ring; one on a veth,
//! whose packets a generator in the kernel makes.

use std::path;
use std::process::Command;

use crate::gate::measure::SELECTION;
use crate::report::Report;
use crate::workspace::Workspace;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
usage: cargo xtask soak [--veth] [--packets N] [--json FILE]

Sends N packets, 2^32 + 10^6 by default, through the fill, rx, tx and
completion ring of the real port on the fake kernel. Each packet carries its
number and is checked on both sides: in order, once, as sent, as changed. With
N below 2^32 the indices start N/2 below the wrap. Short runs over small rings
that start anywhere below the wrap come first. At the end the audit closes,
counters are what was counted, memory and descriptors are as at the start.

With `--veth`, the port receives N packets over a veth pair in namespaces of
its own, in native copy mode, from a generator inside the kernel; every 16th
goes back and is checked there. Needs root and two CPUs; skipped without. The
indices start at 0, so a N below 2^32 sees no wrap. What was generated is what
was received and what the device dropped, and memory, descriptors and free
slots stay flat.

Progress is told on stderr. `--json` writes what was seen to FILE. All of it
takes minutes; `ci` runs a part of each.
";

/// Every index wraps, and goes on.
const FULL: u64 = (1 << 32) + 1_000_000;
/// What `ci` runs: about 10 s.
const SHORT: u64 = 100_000_000;
/// What `ci` runs over a veth: seconds.
const SHORT_VETH: u64 = 5_000_000;
/// The exit code that says that a privilege is missing.
const EXIT_NO_PRIVILEGE: i32 = 3;

/// What the packets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    Fake,
    Veth,
}

impl Wire {
    fn bench(self) -> &'static str {
        match self {
            Self::Fake => "soak",
            Self::Veth => "soak_veth",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Fake => "soak",
            Self::Veth => "soak veth",
        }
    }
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    wire: Wire,
    packets: u64,
    json: Option<String>,
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
    let wanted = parse(arguments)?;
    soak(workspace, report, &wanted);
    Ok(())
}

/// Runs the parts that `ci` runs.
pub(crate) fn short(workspace: &Workspace, report: &mut Report) {
    for (wire, packets) in [(Wire::Fake, SHORT), (Wire::Veth, SHORT_VETH)] {
        soak(workspace, report, &Wanted { wire, packets, json: None });
    }
}

fn soak(workspace: &Workspace, report: &mut Report, Wanted { wire, packets, json }: &Wanted) {
    let name = wire.name();
    // The same words build it and run it, and most of it is the gate's.
    let words = [&["bench"], &SELECTION[..], &["--bench", wire.bench()]].concat();
    if !report.step(&format!("{name} build"), workspace.cargo(&words).arg("--no-run")).ok {
        return;
    }
    let mut command: Command = workspace.cargo(&words);
    command.args(["--", "--packets", &packets.to_string()]);
    if let Some(file) = json {
        command.args(["--json", file]);
    }
    let ran = report.step(name, &mut command);
    if *wire == Wire::Veth && ran.code == Some(EXIT_NO_PRIVILEGE) && !workspace.in_ci {
        report.excuse_last("not allowed to make namespaces here");
    }
}

fn parse(arguments: &[String]) -> Result<Wanted, String> {
    let mut wanted = Wanted { wire: Wire::Fake, packets: FULL, json: None };
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        match argument {
            "--veth" => wanted.wire = Wire::Veth,
            "--packets" => {
                let number = rest.next().and_then(|number| number.parse().ok());
                let number = number.filter(|n| *n >= 100);
                wanted.packets = number.ok_or("--packets takes a number of at least 100")?;
            }
            "--json" => wanted.json = Some(file(rest.next())?),
            _ => return Err(format!("unexpected argument `{argument}`")),
        }
    }
    Ok(wanted)
}

/// The absolute path of a file to write: cargo runs a bench in its package's folder.
///
/// # Errors
/// When no file is named.
pub(crate) fn file(argument: Option<&str>) -> Result<String, String> {
    let name = argument.filter(|name| !name.starts_with('-')).ok_or("--json takes a file")?;
    let path = path::absolute(name).map_err(|e| format!("--json {name}: {e}"))?;
    path.into_os_string().into_string().map_err(|_| format!("--json {name}: not a text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_those_of_the_help() {
        let words = |text: &str| text.split_whitespace().map(String::from).collect::<Vec<_>>();
        let fake = Wanted { wire: Wire::Fake, packets: 4_295_967_296, json: None };
        assert_eq!(parse(&[]), Ok(fake));
        let all = Wanted { wire: Wire::Veth, packets: 100, json: Some("/x/y.json".to_owned()) };
        assert_eq!(parse(&words("--json /x/y.json --veth --packets 100")), Ok(all));
        let relative = parse(&words("--json y.json")).unwrap().json.unwrap();
        assert!(relative.starts_with('/') && relative.ends_with("/y.json"), "{relative}");
        for bad in [
            "--packets",
            "--packets 99",
            "--packets x",
            "--packets -1",
            "100",
            "--json",
            "--json --veth",
        ] {
            assert!(parse(&words(bad)).is_err(), "{bad}");
        }
    }
}
