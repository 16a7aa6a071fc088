//! `xtask bench`: programs of ours beside their peers, by the same measure and in turns.
//!
//! `reflect` is a closed loop over a veth: what it measures is a bench of `netmem`, which starts one
//! program in fresh namespaces and measures one window. Here is who goes when, which windows count, and
//! what may be said of them.

mod figures;
mod instructions;
mod record;

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use crate::report::Report;
use crate::soak;
use crate::workspace::Workspace;
use figures::{Window, order};

/// What `--help` prints.
pub(crate) const HELP: &str = "\
usage: cargo xtask bench reflect [--rounds N] [--seconds S] [--foreign PERCENT]
           [--candidate 'PROGRAM ARGUMENT..'] [--instructions] [--json FILE]

Frames go round a veth pair in namespaces of their own: the far end checks
each, counts it and sends it back by XDP_TX, and the program under test swaps
its addresses. 128 frames, nothing lost, all of it on cpu 1. Candidates are
the example `macswap`, or the program of `--candidate` (IFACE stands for the
interface), and DPDK's testpmd on AF_XDP with the mode macswap; without
dpdk-testpmd the comparison is skipped.

Each of N rounds (9) has one window of S seconds (1) of each, in rotating
order, in fresh namespaces. A window in which other work took more than
PERCENT (4) of a cpu is measured again, up to 4 times. What counts is the
median of the ratios per round. `--instructions` counts our user-space
instructions per frame with callgrind instead: at most 61. Needs root and two
CPUs. `--json` writes all windows to FILE.
";

/// How often a window is measured again before its round is given up.
const ATTEMPTS: usize = 5;
/// The exit code that says that a privilege is missing.
const EXIT_NO_PRIVILEGE: i32 = 3;
const BENCH: [&str; 6] = ["bench", "--locked", "-p", "netmem", "--bench", "reflect"];
const EXAMPLE: [&str; 7] =
    ["build", "--release", "--locked", "-p", "netmem", "--example", "macswap"];
const NAME: &str = "bench reflect";

/// A program that reflects.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    name: String,
    program: String,
    arguments: Vec<String>,
    /// `pinned` to the tested CPU, or `free` to pin itself.
    cpu: &'static str,
}

impl Candidate {
    /// testpmd with one forwarding core, as DPDK's guide to its AF_XDP driver has it, without busy
    /// polling and without huge pages.
    fn testpmd() -> Self {
        let arguments = "--lcores=0@0,1@1 --no-pci --no-huge -m 512 --no-telemetry --file-prefix=netmem_bench \
             --vdev=net_af_xdp0,iface=IFACE,start_queue=0,queue_count=1,busy_budget=0 -- \
             --forward-mode=macswap --auto-start --burst=64 --rxd=2048 --txd=2048 --total-num-mbufs=16384 \
             --nb-cores=1 --no-lsc-interrupt --no-rmv-interrupt";
        Self {
            name: "testpmd".to_owned(),
            program: "dpdk-testpmd".to_owned(),
            arguments: arguments.split_whitespace().map(String::from).collect(),
            cpu: "free",
        }
    }
}

/// What the command line asks for.
#[derive(Debug, PartialEq)]
struct Wanted {
    rounds: usize,
    seconds: f64,
    /// In CPUs.
    foreign_limit: f64,
    /// Program and arguments, instead of the example.
    candidate: Option<Vec<String>>,
    instructions: bool,
    json: Option<String>,
}

/// The windows of one round, in the order of the candidates.
type Round = Vec<Window>;

/// Runs a comparison as asked.
///
/// # Errors
/// When the arguments are not those of the help.
pub(crate) fn run(
    workspace: &Workspace,
    arguments: &[String],
    report: &mut Report,
) -> Result<(), String> {
    let wanted = parse(arguments)?;
    let mut example = workspace.cargo(&EXAMPLE);
    let mut bench = workspace.cargo(&BENCH);
    if !report.step("bench example", &mut example).ok
        || !report.step("bench build", bench.arg("--no-run")).ok
    {
        return Ok(());
    }
    let ours = ours(workspace, &wanted);
    println!();
    if wanted.instructions {
        instructions::check(workspace, report, &ours);
        return Ok(());
    }
    let candidates = [ours, Candidate::testpmd()];
    if let Err(reason) = is_there(&candidates[1].program) {
        report.check(NAME, Vec::new);
        report.excuse_last(&reason);
        return Ok(());
    }
    let mut skipped = None;
    report.check(NAME, || match compare(workspace, &candidates, &wanted) {
        Ok(rounds) => judge(&candidates, &rounds, &wanted),
        Err(Failure::NoPrivilege(reason)) if !workspace.in_ci => {
            skipped = Some(reason);
            Vec::new()
        }
        Err(Failure::NoPrivilege(reason) | Failure::Broken(reason)) => vec![reason],
    });
    if let Some(reason) = skipped {
        report.excuse_last(&reason);
    }
    Ok(())
}

/// Our candidate: the built example, or what the command line names.
fn ours(workspace: &Workspace, wanted: &Wanted) -> Candidate {
    let example = || {
        let path = workspace.target_dir().join("release/examples/macswap");
        vec![path.display().to_string(), "IFACE".to_owned()]
    };
    let mut words = wanted.candidate.clone().unwrap_or_else(example).into_iter();
    Candidate {
        name: "netmem".to_owned(),
        program: words.next().unwrap_or_default(),
        arguments: words.collect(),
        cpu: "pinned",
    }
}

/// Looks for a program in the search path.
fn is_there(program: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|folder| folder.join(program)).find(|p| p.exists());
    found.ok_or_else(|| format!("{program} is not installed"))
}

/// Why there is nothing to judge.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    NoPrivilege(String),
    Broken(String),
}

/// Measures all rounds; a round without a window of each is left out.
fn compare(
    workspace: &Workspace,
    candidates: &[Candidate],
    wanted: &Wanted,
) -> Result<Vec<Round>, Failure> {
    let mut rounds = Vec::new();
    for number in 0..wanted.rounds {
        let mut windows = vec![None; candidates.len()];
        for index in order(number, candidates.len()) {
            windows[index] = window(workspace, &candidates[index], wanted)?;
        }
        match windows.into_iter().collect::<Option<Round>>() {
            Some(round) => {
                let each = candidates.iter().zip(&round);
                let each = each.map(|(c, window)| format!("{} {:.3} Mpps", c.name, window.mpps()));
                println!("round {}: {}", number + 1, each.collect::<Vec<_>>().join(", "));
                rounds.push(round);
            }
            None => println!("round {}: given up after {ATTEMPTS} attempts", number + 1),
        }
    }
    Ok(rounds)
}

/// Measures one window, again while it does not count; `None` when it never did.
fn window(
    workspace: &Workspace,
    candidate: &Candidate,
    wanted: &Wanted,
) -> Result<Option<Window>, Failure> {
    for _ in 0..ATTEMPTS {
        let millis = format!("{:.0}", wanted.seconds * 1000.0);
        let mut arguments = vec!["window", &millis, candidate.cpu, &candidate.program];
        arguments.extend(candidate.arguments.iter().map(String::as_str));
        let window = Window::parse(&bench(workspace, &arguments)?).map_err(Failure::Broken)?;
        if window.wrong > 0.0 {
            let text =
                format!("{}: {} frames were not swapped right", candidate.name, window.wrong);
            return Err(Failure::Broken(text));
        }
        match window.rejection(wanted.foreign_limit) {
            None => return Ok(Some(window)),
            Some(reason) => println!("{}: rejected: {reason}", candidate.name),
        }
    }
    Ok(None)
}

/// Runs the bench and returns what it says.
fn bench(workspace: &Workspace, arguments: &[&str]) -> Result<String, Failure> {
    let mut command = workspace.cargo(&BENCH);
    command.args(["-q", "--"]).args(arguments).stderr(Stdio::inherit());
    let output = command.output().map_err(|e| Failure::Broken(format!("run the bench: {e}")))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.code() {
        Some(0) => Ok(text),
        Some(EXIT_NO_PRIVILEGE) => {
            let reason = text.lines().find_map(|line| line.strip_prefix("skipped "));
            Err(Failure::NoPrivilege(reason.unwrap_or("a privilege is missing").to_owned()))
        }
        _ => Err(Failure::Broken(format!("the bench has failed: {}", output.status))),
    }
}

/// Prints the table, writes the record, and says what went wrong.
fn judge(candidates: &[Candidate], rounds: &[Round], wanted: &Wanted) -> Vec<String> {
    if rounds.is_empty() {
        return vec!["no round counts: other work ran beside it".to_owned()];
    }
    print!("{}", record::table(candidates, rounds));
    let Some(file) = &wanted.json else { return Vec::new() };
    match fs::write(file, record::json(candidates, rounds, wanted)) {
        Ok(()) => Vec::new(),
        Err(e) => vec![format!("write {file}: {e}")],
    }
}

fn parse(arguments: &[String]) -> Result<Wanted, String> {
    let mut rest = arguments.iter().map(String::as_str);
    match rest.next() {
        Some("reflect") => {}
        Some(other) => return Err(format!("no comparison `{other}`: there is reflect")),
        None => return Err("which comparison? there is reflect".to_owned()),
    }
    let mut wanted = Wanted {
        rounds: 9,
        seconds: 1.0,
        foreign_limit: 0.04,
        candidate: None,
        instructions: false,
        json: None,
    };
    while let Some(argument) = rest.next() {
        let mut number = |least: f64, most: f64| {
            let number = rest.next().and_then(|number| number.parse::<f64>().ok());
            let number = number.filter(|n| (least..=most).contains(n));
            number.ok_or_else(|| format!("{argument} takes a number from {least} to {most}"))
        };
        match argument {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 1000")]
            "--rounds" => wanted.rounds = number(1.0, 1000.0)? as usize,
            "--seconds" => wanted.seconds = number(0.1, 600.0)?,
            "--foreign" => wanted.foreign_limit = number(0.0, 1000.0)? / 100.0,
            "--candidate" => {
                let words = rest.next().unwrap_or_default().split_whitespace();
                let words: Vec<String> = words.map(String::from).collect();
                if words.is_empty() {
                    return Err("--candidate takes a program and its arguments".to_owned());
                }
                wanted.candidate = Some(words);
            }
            "--instructions" => wanted.instructions = true,
            "--json" => wanted.json = Some(soak::file(rest.next())?),
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
        let plain = parse(&words("reflect")).unwrap();
        assert_eq!((plain.rounds, plain.json.as_deref()), (9, None));
        let mut all =
            words("reflect --rounds 15 --seconds 0.8 --foreign 10 --instructions --json /x.json");
        all.extend(["--candidate".to_owned(), "/bin/forward IFACE --swap".to_owned()]);
        let expected = Wanted {
            rounds: 15,
            seconds: 0.8,
            foreign_limit: 0.1,
            candidate: Some(words("/bin/forward IFACE --swap")),
            instructions: true,
            json: Some("/x.json".to_owned()),
        };
        assert_eq!(parse(&all), Ok(expected));
        let bad =
            ["", "receive", "reflect --rounds 0", "reflect --seconds x", "reflect --candidate"];
        for bad in bad.iter().chain(&["reflect --json", "reflect 9"]) {
            assert!(parse(&words(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_candidate_of_the_command_line_replaces_the_example() {
        let workspace = Workspace { root: PathBuf::from("/w"), in_ci: false };
        let mut wanted = parse(&["reflect".to_owned()]).unwrap();
        let example = ours(&workspace, &wanted);
        assert!(example.program.ends_with("/release/examples/macswap"), "{}", example.program);
        assert_eq!(example.arguments, ["IFACE"]);
        wanted.candidate = Some(vec!["/x".to_owned(), "a".to_owned()]);
        let other = ours(&workspace, &wanted);
        assert_eq!((other.program.as_str(), &other.arguments[..]), ("/x", &["a".to_owned()][..]));
    }

    #[test]
    fn a_missing_program_is_told() {
        assert!(is_there("sh").is_ok());
        assert_eq!(is_there("no-such-pmd").unwrap_err(), "no-such-pmd is not installed");
    }
}
