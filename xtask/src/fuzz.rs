//! `xtask fuzz`: random bytes into what parses bytes, starting from the corpus in `fuzz/corpus`.
//!
//! With `cargo fuzz` and a nightly compiler the targets run under libFuzzer; without them, or where
//! those targets cannot be built, the same bodies run on any compiler under the driver of
//! `crates/cli/tests/corpus.rs`. Either way a finding is printed as hex with the command that replays
//! it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::report::Report;
use crate::test::libtest_summary;
use crate::workspace::Workspace;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
usage: cargo xtask fuzz [--seconds N] [--plain]
       cargo xtask fuzz --inputs N [TARGET]
       cargo xtask fuzz --replay TARGET HEX

Fuzzes the targets of fuzz/ for N seconds in all, 60 by default: with `cargo
fuzz` where that and a nightly compiler work; else, or with --plain, by random
changes of the corpus. `--inputs` makes N such changes, of each target or of
one. `--replay` runs one input, as a finding prints it.
";

/// The folder of the targets' corpus, by target.
const CORPUS: &str = "fuzz/corpus";
/// The driver for any compiler: a test, built like all tests so that it is built once.
const PLAIN: [&str; 6] = ["test", "--workspace", "--all-features", "--locked", "--test", "corpus"];
const DRIVER: [&str; 4] = ["--", "--nocapture", "--exact", "changes_of_the_corpus_find_nothing"];

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted<'a> {
    Fuzz { seconds: u32, plain: bool },
    Inputs { count: &'a str, target: Option<&'a str> },
    Replay { target: &'a str, hex: &'a str },
}

/// Fuzzes all targets, or replays one input.
///
/// # Errors
/// When the arguments are not those of the help, or the corpus cannot be read.
pub(crate) fn run(
    workspace: &Workspace,
    arguments: &[String],
    report: &mut Report,
) -> Result<(), String> {
    let targets = targets(&workspace.root)?;
    match parse(arguments)? {
        Wanted::Replay { target, .. } | Wanted::Inputs { target: Some(target), .. }
            if !targets.iter().any(|known| known == target) =>
        {
            Err(format!("no target `{target}`: there are {}", targets.join(", ")))
        }
        Wanted::Replay { target, hex } => {
            plain(workspace, report, &[("NETMEM_FUZZ_INPUT", &format!("{target}:{hex}"))]);
            Ok(())
        }
        Wanted::Inputs { count, target } => {
            let target = target.map(|target| ("NETMEM_FUZZ_TARGET", target));
            let variables: Vec<_> =
                [("NETMEM_FUZZ_INPUTS", count)].into_iter().chain(target).collect();
            plain(workspace, report, &variables);
            Ok(())
        }
        Wanted::Fuzz { seconds, plain: false } if can_libfuzzer(workspace) => {
            let count = u32::try_from(targets.len()).unwrap_or(u32::MAX);
            for target in &targets {
                libfuzzer(workspace, report, target, seconds.div_ceil(count));
            }
            Ok(())
        }
        Wanted::Fuzz { seconds, .. } => {
            plain(workspace, report, &[("NETMEM_FUZZ_SECONDS", &seconds.to_string())]);
            Ok(())
        }
    }
}

fn parse(arguments: &[String]) -> Result<Wanted<'_>, String> {
    let (mut seconds, mut plain) = (60, false);
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        match argument {
            "--seconds" => {
                let number = rest.next().and_then(|number| number.parse().ok());
                seconds = number.filter(|n| *n > 0).ok_or("--seconds takes a number above 0")?;
            }
            "--plain" => plain = true,
            "--inputs" => {
                let count = rest.next().filter(|count| count.parse::<u32>().is_ok_and(|n| n > 0));
                let count = count.ok_or("--inputs takes a number above 0")?;
                let target = rest.next();
                return match rest.next() {
                    None => Ok(Wanted::Inputs { count, target }),
                    Some(argument) => Err(format!("unexpected argument `{argument}`")),
                };
            }
            "--replay" => {
                let (Some(target), Some(hex), None) = (rest.next(), rest.next(), rest.next())
                else {
                    return Err("--replay takes a target and the input as hex".to_owned());
                };
                let digits = hex.bytes().all(|digit| digit.is_ascii_hexdigit());
                return match digits && hex.len().is_multiple_of(2) {
                    true => Ok(Wanted::Replay { target, hex }),
                    false => Err("the input is not pairs of hex digits".to_owned()),
                };
            }
            _ => return Err(format!("unexpected argument `{argument}`")),
        }
    }
    Ok(Wanted::Fuzz { seconds, plain })
}

/// The targets, by their folders in the corpus, sorted.
fn targets(root: &Path) -> Result<Vec<String>, String> {
    let names = |folder: &PathBuf| -> std::io::Result<Vec<String>> {
        let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
        Ok(entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
    };
    let mut names = names(&root.join(CORPUS)).map_err(|e| format!("read {CORPUS}: {e}"))?;
    names.sort_unstable();
    match names.is_empty() {
        true => Err(format!("read {CORPUS}: no target")),
        false => Ok(names),
    }
}

/// Runs the driver for any compiler, told by `variables` what to do.
fn plain(workspace: &Workspace, report: &mut Report, variables: &[(&str, &str)]) {
    let mut command = workspace.cargo(&PLAIN);
    command.args(DRIVER).envs(variables.iter().copied());
    let ran = report.tests("fuzz", &mut command, libtest_summary);
    if ran.ok && ran.tally.ran() == 0 {
        report.check("fuzz", || vec!["the driver did not run".to_owned()]);
    }
}

/// `cargo +nightly fuzz`, by the `cargo` that chooses a compiler, in the root.
fn nightly_fuzz(workspace: &Workspace, arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(["+nightly", "fuzz"]).args(arguments).current_dir(&workspace.root);
    command.stdin(Stdio::null()).env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
    command
}

/// Whether the targets can be built for libFuzzer. That needs a program, a nightly compiler and a C++
/// compiler; one attempt says more than asking for each.
fn can_libfuzzer(workspace: &Workspace) -> bool {
    let mut probe = nightly_fuzz(workspace, &["--version"]);
    probe.stdout(Stdio::null()).stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        println!("cargo fuzz with a nightly compiler is not here: the plain driver does it");
        return false;
    }
    let built = nightly_fuzz(workspace, &["build"]).status().is_ok_and(|status| status.success());
    if !built {
        println!("the targets do not build for libFuzzer: the plain driver does it");
    }
    built
}

/// Runs one target under libFuzzer; what it finds is shown as the plain driver would show it.
fn libfuzzer(workspace: &Workspace, report: &mut Report, target: &str, seconds: u32) {
    // New inputs go to a folder of their own: the corpus in git is chosen by hand.
    let found = workspace.target_dir().join("fuzz-corpus").join(target);
    if let Err(e) = fs::create_dir_all(&found) {
        return report.check("fuzz", || vec![format!("write {}: {e}", found.display())]);
    }
    let before = artifacts(workspace, target);
    let mut command = nightly_fuzz(workspace, &["run", target]);
    command.arg(&found).arg(format!("{CORPUS}/{target}"));
    command.args(["--", &format!("-max_total_time={seconds}"), "-max_len=2048"]);
    report.step(&format!("fuzz {target}"), &mut command);
    for path in artifacts(workspace, target).iter().filter(|path| !before.contains(path)) {
        let bytes = fs::read(path).unwrap_or_default();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        println!("{target}: failed on {} bytes: {hex}", bytes.len());
        println!("again: cargo xtask fuzz --replay {target} {hex}");
    }
}

/// The inputs that libFuzzer has kept because a target failed on them.
fn artifacts(workspace: &Workspace, target: &str) -> Vec<PathBuf> {
    let folder = workspace.root.join("fuzz/artifacts").join(target);
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_those_of_the_help() {
        let words = |text: &str| text.split_whitespace().map(String::from).collect::<Vec<_>>();
        assert_eq!(parse(&[]), Ok(Wanted::Fuzz { seconds: 60, plain: false }));
        let both = words("--plain --seconds 5");
        assert_eq!(parse(&both), Ok(Wanted::Fuzz { seconds: 5, plain: true }));
        let one = words("--replay responder 00fF");
        assert_eq!(parse(&one), Ok(Wanted::Replay { target: "responder", hex: "00fF" }));
        let inputs = words("--inputs 7 layers");
        assert_eq!(parse(&inputs), Ok(Wanted::Inputs { count: "7", target: Some("layers") }));
        for bad in [
            "--inputs",
            "--inputs 0",
            "--inputs 1 layers responder",
            "--seconds",
            "--seconds 0",
            "--seconds x",
            "--replay responder",
            "--replay responder 0",
            "--replay responder 0g",
            "--replay responder 00 00",
            "responder",
        ] {
            assert!(parse(&words(bad)).is_err(), "{bad}");
        }
    }
}
