//! Counting: finds the built benches, runs them under callgrind, and reads what it collected.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::figures::Figures;
use super::{BATCHES, CASES, Case};
use crate::workspace::Workspace;

/// The packages that have benches, and what these need of them.
pub(crate) const SELECTION: [&str; 9] = [
    "--locked",
    "-p",
    "netmem-wire",
    "-p",
    "netmem",
    "-p",
    "netmem-cli",
    "--features",
    "netmem/test-util,netmem-cli/test-util",
];

/// Builds the benches as they are counted.
pub(super) fn build(workspace: &Workspace) -> Command {
    workspace.cargo(&[&["bench", "--no-run"], &SELECTION[..], &["--bench", "gate"]].concat())
}

/// Asks for valgrind's version.
///
/// # Errors
/// Says why nothing can be counted here.
pub(crate) fn valgrind() -> Result<String, String> {
    let version = said(Command::new("valgrind").arg("--version"))?;
    Ok(version.trim().trim_start_matches("valgrind-").to_owned())
}

/// Tells what the figures depend on: compiler, target, profile, valgrind, and the C library, whose
/// memcpy is in them.
///
/// # Errors
/// When the compiler does not say what it is.
pub(super) fn facts(workspace: &Workspace, valgrind: &str) -> Result<Figures, String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let compiler = said(Command::new(rustc).arg("-vV").current_dir(&workspace.root))?;
    let libc = said(Command::new("getconf").arg("GNU_LIBC_VERSION"));
    let field = |name: &str| {
        let value = compiler.lines().find_map(|line| line.strip_prefix(name));
        value.ok_or_else(|| format!("rustc -vV says nothing of {name}"))
    };
    let mut facts = Figures::default();
    facts.add_fact("rustc", field("rustc ")?);
    facts.add_fact("target", field("host: ")?);
    facts.add_fact("profile", "bench");
    facts.add_fact("valgrind", valgrind);
    facts.add_fact("libc", libc.as_deref().unwrap_or("unknown"));
    Ok(facts)
}

/// Counts every case with every batch.
///
/// # Errors
/// When a bench is missing or fails, or callgrind collects nothing.
pub(super) fn all(workspace: &Workspace, figures: &mut Figures) -> Result<(), String> {
    let benches = said(build(workspace).arg("--message-format=json"))?;
    let folder = workspace.target_dir().join("gate");
    fs::create_dir_all(&folder).map_err(|e| format!("make {}: {e}", folder.display()))?;
    for case in CASES {
        let bench = executable(&benches, case.package)
            .ok_or_else(|| format!("cargo names no `gate` bench of crates/{}", case.package))?;
        for batch in BATCHES {
            let [short, long] = lengths(batch);
            let few = collect(&bench, &folder, case, batch, short)?;
            let many = collect(&bench, &folder, case, batch, long)?;
            let slope = slope((short, few), (long, many));
            figures.add(case.name, batch, slope.ok_or_else(|| {
                format!("{} batch {batch}: {few} instructions for {short} packets, {many} for {long}", case.name)
            })?);
        }
    }
    Ok(())
}

/// The two numbers of packets: multiples of every ring's size, so that wraps cancel as well. A small
/// batch costs more per packet, and wants fewer.
fn lengths(batch: u32) -> [u64; 2] {
    if batch < 64 { [8_192, 16_384] } else { [32_768, 65_536] }
}

/// Runs one case and returns the instructions collected.
fn collect(
    bench: &Path,
    folder: &Path,
    case: &Case,
    batch: u32,
    packets: u64,
) -> Result<u64, String> {
    let profile = folder.join(format!("{}.{batch}.{packets}.callgrind", case.name));
    let what = format!("count {} batch {batch}", case.name);
    let mut command = Command::new("valgrind");
    command
        .args(["-q", "--tool=callgrind", "--collect-atstart=no"])
        // Its end anchors the name: closures within and cases with longer names do not toggle.
        .arg(format!("--toggle-collect=*::{}", case.function))
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(bench)
        .args([case.name, &batch.to_string(), &packets.to_string()])
        // Neither the size nor the settings of the caller's environment count.
        .env_clear()
        .envs(["PATH", "HOME"].into_iter().filter_map(|name| Some((name, env::var_os(name)?))));
    said(&mut command).map_err(|e| format!("{what}: {e}"))?;
    let text = fs::read_to_string(&profile);
    let text = text.map_err(|e| format!("{what}: read {}: {e}", profile.display()))?;
    let total = total(&text).ok_or_else(|| format!("{what}: no total in {}", profile.display()))?;
    if total == 0 {
        return Err(format!("{what}: nothing collected: no function {}", case.function));
    }
    Ok(total)
}

/// What callgrind collected: its one event is instructions.
pub(crate) fn total(profile: &str) -> Option<u64> {
    let only = |name: &str| {
        let mut lines = profile.lines().filter_map(|line| line.strip_prefix(name));
        lines.next().filter(|_| lines.next().is_none())
    };
    only("events:").filter(|events| events.trim() == "Ir")?;
    only("totals:")?.trim().parse().ok()
}

/// Instructions for one more packet, from two runs of (packets, instructions).
pub(crate) fn slope(few: (u64, u64), many: (u64, u64)) -> Option<f64> {
    let packets = u32::try_from(many.0.checked_sub(few.0)?).ok().filter(|&packets| packets > 0)?;
    let instructions = u32::try_from(many.1.checked_sub(few.1)?).ok().filter(|&count| count > 0)?;
    Some(f64::from(instructions) / f64::from(packets))
}

/// The `gate` bench of `crates/PACKAGE`, from cargo's messages: one JSON object a line.
fn executable(messages: &str, package: &str) -> Option<PathBuf> {
    let manifest = format!("/crates/{package}/Cargo.toml\"");
    let line = messages.lines().find(|line| {
        line.contains("\"reason\":\"compiler-artifact\"")
            && line.contains("\"kind\":[\"bench\"]")
            && line.contains("\"name\":\"gate\"")
            && line.contains(&manifest)
    })?;
    let path = line.split_once("\"executable\":\"")?.1;
    // JSON escapes the quotation mark and the backslash; nothing else is in a usual path.
    let mut text = String::new();
    let mut chars = path.chars();
    loop {
        match chars.next()? {
            '"' => return Some(PathBuf::from(text)),
            '\\' => text.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
            c => text.push(c),
        }
    }
}

/// Runs a program to its end and returns what it printed.
fn said(command: &mut Command) -> Result<String, String> {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().display();
    let program = program.to_string();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|e| format!("run {program}: {e}"))?;
    if !output.status.success() {
        let cause = String::from_utf8_lossy(&output.stderr);
        return Err(format!("run {program}: {}: {}", output.status, cause.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_callgrinds_total() {
        let profile = "# callgrind format\npart: 1\n\nevents: Ir\nsummary: 750107\n\nfn=(1) gate::gate_receive\n9 11\n\ntotals: 750107\n";
        assert_eq!(total(profile), Some(750_107));
        assert_eq!(total("events: Ir\nsummary: 1\n"), None);
        assert_eq!(total("events: Ir Dr\ntotals: 1 2\n"), None);
        assert_eq!(total("events: Ir\ntotals: 1\ntotals: 2\n"), None);
    }

    #[test]
    fn the_slope_leaves_out_start_and_end() {
        assert_eq!(slope((100, 1200), (200, 2300)), Some(11.0));
        assert_eq!(slope((100, 1200), (200, 1200)), None);
        assert_eq!(slope((100, 1200), (100, 2300)), None);
        assert_eq!(slope((200, 2300), (100, 1200)), None);
        for batch in BATCHES {
            let [short, long] = lengths(batch);
            assert_eq!((short % 4096, (long - short) % 4096), (0, 0), "{batch}");
        }
    }

    #[test]
    fn finds_the_bench_of_the_package() {
        let line = |package: &str, kind: &str, path: &str| {
            format!(
                "{{\"reason\":\"compiler-artifact\",\"manifest_path\":\"/w/crates/{package}/Cargo.toml\",\"target\":{{\"kind\":[\"{kind}\"],\"name\":\"gate\"}},\"executable\":\"{path}\",\"fresh\":true}}\n"
            )
        };
        let messages = line("netmem", "bench", "/w/t/gate-1")
            + &line("cli", "bin", "/w/t/netmem")
            + &line("cli", "bench", "/w/a \\\"b\\\\/gate-2")
            + "{\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(executable(&messages, "netmem"), Some(PathBuf::from("/w/t/gate-1")));
        assert_eq!(executable(&messages, "cli"), Some(PathBuf::from("/w/a \"b\\/gate-2")));
        assert_eq!(executable(&messages, "wire"), None);
        let unknown = line("cli", "bench", "/w/\\u00e9");
        assert_eq!(executable(&unknown, "cli"), None);
    }

    #[test]
    fn a_program_that_fails_says_why() {
        let fails = said(Command::new("sh").args(["-c", "echo no such thing >&2; exit 3"]));
        assert_eq!(fails.unwrap_err(), "run sh: exit status: 3: no such thing");
        let missing = said(&mut Command::new("/nowhere/valgrind")).unwrap_err();
        assert!(missing.starts_with("run valgrind: "), "{missing}");
    }
}
