//! `xtask vm`: test programs inside emulated machines, on kernels and drivers that this one lacks.
//!
//! A machine is a kernel of the Debian archive, an initrd made here, and two joined interfaces, all
//! in QEMU without hardware support: slow, and of use for behaviour only. Nothing is installed; what
//! is fetched stays below `target/vm`. The guest reaches no network.
//!
//! ```text
//!   debs --packages--> kernel, qemu, busybox      cargo build, ldd--> test programs
//!                            '--------> initrd <---------'
//!                                         |
//!                  qemu: kernel + initrd + device --two serial lines--> console --> results
//! ```

mod console;
mod debs;
mod device;
mod initrd;
mod kernel;
mod modules;
mod qemu;
mod record;
mod results;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use self::console::Outcome;
use self::debs::{Debs, Lack};
use self::device::{COMMON_MODULES, DEVICES, Device, MACHINES};
use self::kernel::Kernel;
use self::qemu::{Machine, Qemu};
use self::results::Results;
use crate::report::{Report, Tally};
use crate::skips;
use crate::workspace::Workspace;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
usage: cargo xtask vm [--kernel SERIES].. [--device NAME].. [--test NAME]..
                      [--seconds N] [--json FILE] [--keep] [-- ARGUMENT..]
       cargo xtask vm --record DIR [--kernel SERIES].. [--device NAME]..
       cargo xtask vm --list
       cargo xtask vm --table FILE

Boots kernels of the Debian archive in QEMU (emulation, no KVM) and runs test
programs of crates/netmem/tests and crates/host/tests inside, `vm_smoke`
unless named. Neither option means all machines of
`--list`, or for other programs those that refuse nothing; one of them chooses
among these; both together make any pair. ARGUMENTs go to the programs.

Kernels, busybox and, where none is installed, QEMU are fetched once into
target/vm by the machine's own apt and never installed. What cannot be had is
skipped with its reason; with CI=true `vm SERIES DEVICE` must then be in
.ci/impossible, except what could not be downloaded. A machine is killed after
N seconds, 1800 by default. A panic, an oops or a missing result fails it; its
last 40 lines are shown.

--record runs no program, but crates/host/tests/fixtures/record, and unpacks
what it wrote into DIR/SERIES, which must not be there yet.

--json writes all results to FILE, where those of machines that did not run
this time stay. --table makes docs/kernel-cases.md of such a file. --keep
leaves initrd, console and command line of each machine in target/vm/runs;
those of a failed one always stay.
";

/// What runs unless named.
const TESTS: &[&str] = &["vm_smoke"];
const LIMIT: Duration = Duration::from_mins(30);

/// What `cargo xtask ci` runs, in one machine. The kernel's cases want interfaces that nobody has used.
const SHORT: [&str; 10] = [
    "--kernel",
    "7.3",
    "--device",
    "virtio",
    "--test",
    "kernel_cases",
    "--test",
    "kernel_sources",
    "--test",
    "tune_machine",
];

/// Where the test programs are that can run in a guest.
const FOLDERS: [&str; 2] = ["crates/netmem/tests", "crates/host/tests"];
const BUILD: [&str; 5] = ["test", "--workspace", "--all-features", "--locked", "--no-run"];

/// What the command line asks for.
#[derive(Debug, Default, PartialEq)]
struct Wanted {
    kernels: Vec<String>,
    devices: Vec<String>,
    tests: Vec<String>,
    limit: Duration,
    json: Option<PathBuf>,
    record: Option<PathBuf>,
    table: Option<String>,
    list: bool,
    keep: bool,
    arguments: Vec<String>,
}

/// A kernel series with a device.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pair {
    series: String,
    device: &'static Device,
}

impl Pair {
    /// The name in the report and in `.ci/impossible`.
    fn name(&self) -> String {
        format!("vm {} {}", self.series, self.device.name)
    }
}

/// The test programs.
#[derive(Debug)]
struct Built {
    /// By name, in the order in which they run.
    programs: Vec<(String, Vec<u8>)>,
    /// What they are linked with, by path.
    libraries: Vec<(String, Vec<u8>)>,
}

/// Runs the machines asked for.
///
/// # Errors
/// When the arguments are not those of the help.
pub(crate) fn run(
    workspace: &Workspace,
    arguments: &[String],
    report: &mut Report,
) -> Result<(), String> {
    let wanted = parse(arguments)?;
    let pairs = pairs(&wanted)?;
    if wanted.list {
        for pair in pairs {
            println!("{:5} {:13} {}", pair.series, pair.device.name, pair.device.summary);
        }
        return Ok(());
    }
    if let Some(path) = &wanted.table {
        report.check("vm table", || tabulate(workspace, path).err().into_iter().collect());
        return Ok(());
    }
    run_pairs(workspace, &wanted, &pairs, report);
    Ok(())
}

/// Boots one machine for `cargo xtask ci`: the cases of the kernel's suite in zero copy that fit, what
/// this kernel tells of its network memory, and what tuning of the whole machine does.
pub(crate) fn short(workspace: &Workspace, report: &mut Report) {
    let wanted = parse(&SHORT.map(String::from)).expect("a constant");
    let pairs = pairs(&wanted).expect("a constant");
    run_pairs(workspace, &wanted, &pairs, report);
}

/// Makes the page of a record.
fn tabulate(workspace: &Workspace, path: &str) -> Result<(), String> {
    let (record, page) = (workspace.root.join(path), workspace.root.join(table::PAGE));
    let record = fs::read_to_string(record).map_err(|e| format!("read {path}: {e}"))?;
    let text = table::page(path, &record)?;
    let folder = page.parent().map_or(Ok(()), fs::create_dir_all);
    folder.and_then(|()| fs::write(&page, text)).map_err(|e| format!("write {}: {e}", table::PAGE))
}

fn run_pairs(workspace: &Workspace, wanted: &Wanted, pairs: &[Pair], report: &mut Report) {
    let folder = workspace.target_dir().join("vm");
    let debs = match std::env::consts::ARCH {
        "x86_64" => Debs::open(folder.clone()),
        other => Err(format!("the emulated machines are x86-64, this one is {other}").into()),
    };
    let debs = match debs {
        Ok(debs) => debs,
        Err(why) => {
            pairs.iter().for_each(|pair| skip(workspace, report, &pair.name(), &why));
            return;
        }
    };
    let Some(built) = build(workspace, wanted, report) else { return };
    let mut all = Vec::new();
    for pair in pairs {
        match boot(&debs, &folder, pair, (wanted, &built)) {
            Ok(results) => {
                report.ran(&pair.name(), results.tally(), results.transcript.took);
                excuse(workspace, report, &pair.name(), &results);
                all.push(results);
            }
            Err(why) => skip(workspace, report, &pair.name(), &why),
        }
    }
    print!("{}", results::table(&all));
    if let Some(path) = &wanted.json {
        let before = fs::read_to_string(path).unwrap_or_default();
        let written = fs::write(path, results::json(&all, &before));
        let finding = written.err().map(|e| format!("write {}: {e}", path.display()));
        report.check("vm json", || finding.into_iter().collect());
    }
}

/// Builds the test programs as `xtask test` builds them; `None` when that failed.
fn build(workspace: &Workspace, wanted: &Wanted, report: &mut Report) -> Option<Built> {
    let unknown = wanted.tests.iter().find(|test| !is_program(&workspace.root, test));
    if let Some(test) = unknown {
        report.check("vm build", || vec![format!("no crate's tests have a program {test}")]);
        return None;
    }
    let named = wanted.tests.iter().flat_map(|test| ["--test", test]);
    let words: Vec<&str> = BUILD.into_iter().chain(named).collect();
    if !report.step("vm build", &mut workspace.cargo(&words)).ok {
        return None;
    }
    let mut messages = workspace.cargo(&words);
    let messages = messages.arg("--message-format=json").stderr(Stdio::null()).output();
    let messages = messages.map(|output| output.stdout).unwrap_or_default();
    match Built::find(&String::from_utf8_lossy(&messages), &wanted.tests) {
        Ok(built) => Some(built),
        Err(why) => {
            report.check("vm build", || vec![why]);
            None
        }
    }
}

impl Built {
    /// Reads the programs that cargo's messages name, and what they are linked with.
    fn find(messages: &str, tests: &[String]) -> Result<Self, String> {
        let read = |path: &str| fs::read(path).map_err(|e| format!("read {path}: {e}"));
        let mut built = Self { programs: Vec::new(), libraries: Vec::new() };
        for test in tests {
            let path = executable(messages, test)
                .ok_or_else(|| format!("cargo does not say where {test} is"))?;
            for library in libraries(path)? {
                if !built.libraries.iter().any(|(known, _)| *known == library) {
                    built.libraries.push((library.clone(), read(&library)?));
                }
            }
            built.programs.push((test.clone(), read(path)?));
        }
        Ok(built)
    }
}

/// The shared libraries of a program, and its loader.
fn libraries(program: &str) -> Result<Vec<String>, String> {
    let output = Command::new("ldd").arg(program).output().map_err(|e| format!("run ldd: {e}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || said.contains("not found") {
        return Err(format!("ldd {program}: {}{said}", String::from_utf8_lossy(&output.stderr)));
    }
    // A path each, with or without a name in front; the kernel's own page has none.
    let paths = said.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(paths.map(String::from).collect())
}

/// Tells whether a crate has a test program of that name.
fn is_program(root: &Path, test: &str) -> bool {
    let files = [format!("{test}.rs"), format!("{test}/main.rs")];
    FOLDERS.iter().any(|folder| files.iter().any(|file| root.join(folder).join(file).is_file()))
}

/// Finds a test program among cargo's messages, each a line of JSON.
fn executable<'m>(messages: &'m str, test: &str) -> Option<&'m str> {
    let name = format!("\"kind\":[\"test\"],\"crate_types\":[\"bin\"],\"name\":\"{test}\"");
    let line = messages.lines().rfind(|line| line.contains(&name))?;
    line.split_once("\"executable\":\"")?.1.split('"').next()
}

/// Fetches what a machine needs, and runs it.
///
/// # Errors
/// When something cannot be had, with the reason.
fn boot(
    debs: &Debs,
    folder: &Path,
    pair: &Pair,
    (wanted, built): (&Wanted, &Built),
) -> Result<Results, Lack> {
    let device = pair.device;
    let kernel = Kernel::newest(&debs.names("linux-")?, &pair.series, device.flavour)
        .ok_or_else(|| format!("the archive has no kernel {} {}", pair.series, device.flavour))?;
    let tree = debs.unpack(&kernel.release, &kernel.packages)?;
    let busybox = debs.offers("busybox-static")?;
    let own = debs.own_suites();
    let busybox = busybox.iter().find(|offer| own.contains(&offer.suite));
    let busybox = busybox.ok_or("the archive has no busybox-static")?;
    let package = format!("busybox-static={}", busybox.version);
    let busybox = debs.unpack(&package.replace('=', "_"), &[package])?;
    let busybox = ["bin/busybox", "usr/bin/busybox"].map(|path| busybox.join(path));
    let busybox = busybox.iter().find(|path| path.is_file()).ok_or("busybox-static is empty")?;
    let qemu = Qemu::find(debs, device.qemu)?;
    let (Some(image), Some(modules)) = (kernel.image(&tree), kernel.modules(&tree)) else {
        let release = kernel.release;
        return Err(format!("the packages of {release} hold no image or no modules").into());
    };
    let modules = modules::load(&modules, &[device.modules, COMMON_MODULES].concat(), busybox)?;
    let run = folder.join("runs").join(format!("{}-{}", pair.series, device.name));
    debs::empty_folder(&run)?;
    let initrd = run.join("initrd");
    let contents = initrd::Contents {
        busybox: &fs::read(busybox).map_err(|e| format!("read busybox: {e}"))?,
        modules: &modules,
        programs: &built.programs,
        libraries: &built.libraries,
        arguments: &[&["--nocapture".into(), "--test-threads=1".into()], &wanted.arguments[..]]
            .concat(),
        driver: device.driver,
        environment: &environment(device),
        record: if wanted.record.is_some() { record::SCRIPT } else { "" },
    };
    let write = |path: &Path, bytes: &[u8]| {
        fs::write(path, bytes).map_err(|e| format!("write {}: {e}", path.display()))
    };
    write(&initrd, &initrd::build(&contents))?;
    let (kernel, devices) = (&image, device.arguments);
    let machine = Machine { kernel, initrd: &initrd, devices, limit: wanted.limit };
    let command = format!("{:?}\n", qemu.command(&machine));
    write(&run.join("command"), command.as_bytes())?;
    println!("vm: booting {} with {}", pair.series, device.name);
    let transcript = qemu.run(&machine, &run.join("console"))?;
    let mut findings = transcript.findings(built.programs.len());
    if let Some(folder) = &wanted.record {
        findings.extend(record::unpack(&run.join("console"), &folder.join(&pair.series)).err());
    }
    let (series, qemu) = (pair.series.clone(), qemu.version);
    let results = Results { series, device: device.name, qemu, transcript, findings };
    finish(&results, wanted, &run)?;
    Ok(results)
}

fn environment(device: &Device) -> Vec<(&'static str, String)> {
    let mut environment = vec![
        ("NETMEM_CASES_MODES", device.modes.to_owned()),
        ("NETMEM_CASES_REPORT", "1".to_owned()),
    ];
    environment.extend(device.refused.map(|errno| ("NETMEM_VM_REFUSED", errno.to_owned())));
    environment
}

/// Shows the end of a failed machine, and removes what nobody asked to keep.
fn finish(results: &Results, wanted: &Wanted, run: &Path) -> Result<(), String> {
    if results.tally().failed > 0 {
        println!("the last lines of {} with {}:", results.release(), results.device);
        results.transcript.tail.iter().for_each(|line| println!("  | {line}"));
        println!("all of it: {}", run.display());
    } else if !wanted.keep {
        fs::remove_dir_all(run).map_err(|e| format!("remove {}: {e}", run.display()))?;
    }
    Ok(())
}

/// Adds a machine that could not run; in CI it must be listed, unless the network is why: that is
/// not the project's.
fn skip(workspace: &Workspace, report: &mut Report, name: &str, lack: &Lack) {
    report.ran(name, Tally { skipped: 1, ..Tally::default() }, Duration::ZERO);
    match lack {
        Lack::Download(why) => {
            println!("\n*** skipped: {name}: NOT DOWNLOADED, so nothing was tested: {why}\n");
        }
        Lack::Other(why) => {
            println!("skipped: {name}: {why}");
            judge(workspace, report, &[name.to_owned()]);
        }
    }
}

/// Shows the cases that did not run; those that a program skipped must be listed in CI. What a kernel
/// cannot do, as the program found out, needs no entry.
fn excuse(workspace: &Workspace, report: &mut Report, name: &str, results: &Results) {
    let mut skipped = Vec::new();
    for case in &results.transcript.cases {
        if matches!(case.outcome, Outcome::Skip | Outcome::Impossible) {
            println!("skipped: {name} {} {}: {}", case.name, case.mode, case.why);
        }
        if case.outcome == Outcome::Skip {
            skipped.push(format!("{name} {} {}", case.name, case.mode));
        }
    }
    judge(workspace, report, &skipped);
}

fn judge(workspace: &Workspace, report: &mut Report, skipped: &[String]) {
    if !workspace.in_ci || skipped.is_empty() {
        return;
    }
    let findings = match skips::impossible(workspace) {
        Ok(listed) => {
            let unlisted = skipped.iter().filter(|name| !listed.contains_key(*name));
            unlisted
                .map(|name| format!("{name} did not run and is not in .ci/impossible"))
                .collect()
        }
        Err(message) => vec![message],
    };
    report.check("vm skips", || findings);
}

fn parse(arguments: &[String]) -> Result<Wanted, String> {
    let mut wanted = Wanted { limit: LIMIT, ..Wanted::default() };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().cloned().ok_or_else(|| format!("{argument} takes a value"));
        match argument.as_str() {
            "--kernel" => wanted.kernels.push(value()?),
            "--device" => wanted.devices.push(value()?),
            "--test" => wanted.tests.push(value()?),
            "--json" => wanted.json = Some(value()?.into()),
            "--record" => wanted.record = Some(value()?.into()),
            "--table" => wanted.table = Some(value()?),
            "--seconds" => {
                let seconds = value()?.parse().ok().filter(|seconds| *seconds > 0);
                wanted.limit = Duration::from_secs(seconds.ok_or("--seconds takes a number")?);
            }
            "--list" => wanted.list = true,
            "--keep" => wanted.keep = true,
            "--" => wanted.arguments = rest.by_ref().cloned().collect(),
            _ => return Err(format!("unexpected argument `{argument}`")),
        }
    }
    if wanted.record.is_some() && !wanted.tests.is_empty() {
        return Err("--record runs no test".to_owned());
    }
    if wanted.record.is_none() && wanted.tests.is_empty() {
        wanted.tests = TESTS.iter().map(ToString::to_string).collect();
    }
    Ok(wanted)
}

/// The machines that are meant.
fn pairs(wanted: &Wanted) -> Result<Vec<Pair>, String> {
    let device = |name: &str| DEVICES.iter().find(|device| device.name == name);
    if let Some(unknown) = wanted.devices.iter().find(|name| device(name).is_none()) {
        let known: Vec<_> = DEVICES.iter().map(|device| device.name).collect();
        return Err(format!("unknown device `{unknown}`; known: {}", known.join(", ")));
    }
    let is_series = |text: &String| {
        text.split('.').count() == 2 && text.split('.').all(|n| n.parse::<u32>().is_ok())
    };
    if let Some(bad) = wanted.kernels.iter().find(|series| !is_series(series)) {
        return Err(format!("a kernel is named by its series, as 6.12, and not `{bad}`"));
    }
    let pair =
        |series: &str, name: &str| Some(Pair { series: series.to_owned(), device: device(name)? });
    if !wanted.kernels.is_empty() && !wanted.devices.is_empty() {
        let all = wanted.kernels.iter().flat_map(|series| {
            wanted.devices.iter().filter_map(|name| pair(series, name)).collect::<Vec<_>>()
        });
        return Ok(all.collect());
    }
    let meant = |chosen: &[String], value: &str| {
        chosen.is_empty() || chosen.iter().any(|chosen| chosen == value)
    };
    let machines = MACHINES
        .iter()
        .filter(|(series, name)| meant(&wanted.kernels, series) && meant(&wanted.devices, name));
    let mut pairs: Vec<Pair> = machines.filter_map(|(series, name)| pair(series, name)).collect();
    if wanted.devices.is_empty() && wanted.tests != TESTS {
        // Where everything must be refused there is nothing else to be tested.
        pairs.retain(|pair| pair.device.refused.is_none());
    }
    if pairs.is_empty() {
        return Err("no machine of `--list` has this kernel: name the device too".to_owned());
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(arguments: &str) -> Result<Vec<String>, String> {
        let arguments: Vec<_> = arguments.split_whitespace().map(String::from).collect();
        Ok(pairs(&parse(&arguments)?)?.iter().map(Pair::name).collect())
    }

    #[test]
    fn options_choose_machines() {
        assert_eq!(names("").unwrap().len(), MACHINES.len());
        assert_eq!(names("--kernel 6.1").unwrap(), ["vm 6.1 veth"]);
        let veth = ["vm 7.3 veth", "vm 6.12 veth", "vm 6.1 veth"];
        assert_eq!(names("--device veth").unwrap(), veth);
        let both = names("--kernel 6.12 --device virtio --kernel 7.2 --device veth").unwrap();
        assert_eq!(both, ["vm 6.12 virtio", "vm 6.12 veth", "vm 7.2 virtio", "vm 7.2 veth"]);
    }

    #[test]
    fn what_is_not_in_the_help_is_refused() {
        let bad = [
            "--kernel",
            "--kernel 6",
            "--kernel 6.x --device veth",
            "--kernel 5.15",
            "--device e1000",
            "--seconds 0",
            "--seconds x",
            "--cases",
            "veth",
            "--record",
            "--record here --test vm_smoke",
        ];
        for bad in bad {
            assert!(names(bad).is_err(), "{bad}");
        }
        let arguments = ["--test", "a", "--keep", "--", "--exact", "--list"].map(String::from);
        let wanted = parse(&arguments).unwrap();
        assert_eq!(wanted.arguments, ["--exact", "--list"]);
        assert_eq!(
            (wanted.tests.as_slice(), wanted.keep, wanted.list),
            (&["a".to_owned()][..], true, false)
        );
    }

    #[test]
    fn a_program_is_a_file_or_a_folder() {
        let root = Workspace::discover().unwrap().root;
        for name in ["vm_smoke", "kernel_cases", "kernel_sources", "tune_machine"] {
            assert!(is_program(&root, name), "{name}");
        }
        assert!(!is_program(&root, "no_such_program"));
    }

    #[test]
    fn a_program_brings_its_loader() {
        let own = std::env::current_exe().unwrap();
        let found = libraries(own.to_str().unwrap()).unwrap();
        assert!(found.iter().any(|path| path.contains("/ld-linux")), "{found:?}");
        assert!(found.iter().any(|path| path.contains("/libc.so")), "{found:?}");
        assert!(libraries("/no/such/program").is_err());
    }

    #[test]
    fn finds_the_program_that_cargo_built() {
        let messages = "{\"target\":{\"kind\":[\"lib\"],\"crate_types\":[\"lib\"],\"name\":\"vm_smoke\"},\"executable\":null}\n\
            {\"target\":{\"kind\":[\"test\"],\"crate_types\":[\"bin\"],\"name\":\"vm_smoke\",\"x\":1},\"executable\":\"/a/b-1\",\"fresh\":true}\n";
        assert_eq!(executable(messages, "vm_smoke"), Some("/a/b-1"));
        assert_eq!(executable(messages, "vm"), None);
    }

    #[test]
    fn every_machine_has_a_device_and_every_device_is_complete() {
        for (series, device) in MACHINES {
            assert_eq!(names(&format!("--kernel {series} --device {device}")).unwrap().len(), 1);
        }
        for device in DEVICES {
            assert!(device.driver.is_none_or(|driver| device.modules.contains(&driver)));
            assert!(device.arguments.starts_with('-'), "{}", device.name);
        }
    }
}
