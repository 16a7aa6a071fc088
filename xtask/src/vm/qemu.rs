//! The emulator: the installed one where it is new enough, else one from the archive, unpacked.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use super::console::{Source, Transcript};
use super::debs::{Debs, Lack, output};

const PROGRAM: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";
/// Every device can be had from this version on.
const FOR_ALL_DEVICES: (u32, u32) = (8, 0);
/// Longer lines are cut.
const MAX_LINE_BYTES: u64 = 64 << 10;
/// More than any good guest says.
const MAX_OUTPUT_BYTES: usize = 64 << 20;

/// An emulator that can be started.
#[derive(Debug)]
pub(super) struct Qemu {
    /// As `--version` says it: `10.0.2`.
    pub(super) version: String,
    /// The tree of unpacked packages; `None` for the installed one.
    tree: Option<PathBuf>,
}

/// What a machine is started with.
#[derive(Debug)]
pub(super) struct Machine<'m> {
    pub(super) kernel: &'m Path,
    pub(super) initrd: &'m Path,
    /// QEMU's arguments for the devices, one a word.
    pub(super) devices: &'m str,
    /// It is killed after this.
    pub(super) limit: Duration,
}

impl Qemu {
    /// Finds an emulator of at least version `needed` (major, minor).
    ///
    /// # Errors
    /// When there is none, with the reason.
    pub(super) fn find(debs: &Debs, needed: (u32, u32)) -> Result<Self, Lack> {
        let installed = Self { version: String::new(), tree: None };
        if let Some(installed) =
            installed.answering().filter(|qemu| version(&qemu.version) >= needed)
        {
            return Ok(installed);
        }
        let offers = debs.offers(PACKAGE)?;
        let own = debs.own_suites();
        let fits = |suite: &String| {
            offers
                .iter()
                .find(|offer| offer.suite == *suite && version(&offer.version) >= FOR_ALL_DEVICES)
        };
        let offer = own.iter().find_map(fits).ok_or_else(|| {
            format!("no {PACKAGE} of version 8 or later is installed or in {}", own.join(", "))
        })?;
        let label = format!("{PACKAGE}_{}", offer.version);
        let tree = debs.unpack(&label, &debs.closure(PACKAGE, offer)?)?;
        let qemu = Self { version: String::new(), tree: Some(tree) };
        let libraries = output(&mut qemu.started("ldd"))?;
        let missing: Vec<_> = libraries.lines().filter(|line| line.contains("not found")).collect();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(format!("libraries of {label} are missing: {missing}").into());
        }
        qemu.answering().ok_or_else(|| format!("{label} does not start").into())
    }

    /// Runs a machine until it powers off, or for as long as it may, and writes down what it says.
    ///
    /// # Errors
    /// When the emulator cannot be started, or the file not be written.
    pub(super) fn run(&self, machine: &Machine, log: &Path) -> Result<Transcript, String> {
        let written = |e| format!("write {}: {e}", log.display());
        let mut log_file = BufWriter::new(File::create(log).map_err(written)?);
        let mut command = self.command(machine);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = child.spawn().map_err(|e| format!("run {PROGRAM}: {e}"))?;
        let mut guest = Running(child);
        // Bounded, so that a guest that floods us waits.
        let (sender, lines) = mpsc::sync_channel(1024);
        forward(guest.0.stdout.take(), Source::Kernel, sender.clone());
        forward(guest.0.stderr.take(), Source::Programs, sender);
        let start = Instant::now();
        let mut transcript = Transcript::default();
        let mut bytes = 0;
        loop {
            let Some(left) = machine.limit.checked_sub(start.elapsed()) else {
                transcript.find(format!("still running after {} s", machine.limit.as_secs()));
                break;
            };
            match lines.recv_timeout(left) {
                Ok((source, line)) => {
                    bytes += line.len();
                    log_file.write_all(&line).map_err(written)?;
                    transcript.line(source, &line, start.elapsed());
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if bytes > MAX_OUTPUT_BYTES {
                transcript.find(format!("said more than {MAX_OUTPUT_BYTES} bytes"));
                break;
            }
        }
        log_file.flush().map_err(written)?;
        transcript.took = start.elapsed();
        Ok(transcript)
    }

    /// The whole command line.
    pub(super) fn command(&self, machine: &Machine) -> Command {
        let mut command = self.started(PROGRAM);
        command.args("-accel tcg,thread=multi -cpu max -m 1024 -smp 1 -no-reboot".split(' '));
        command.args("-display none -vga none -monitor none -nodefaults".split(' '));
        // The kernel's console comes out of stdout, the programs' lines and QEMU's own of stderr.
        command.args(["-serial", "stdio", "-serial", "file:/dev/stderr"]);
        command.arg("-kernel").arg(machine.kernel).arg("-initrd").arg(machine.initrd);
        // An emulated CPU beside other work is not stuck because it is slow.
        command.args(["-append", "console=ttyS0 panic=-1 loglevel=5 nowatchdog no_timer_check"]);
        command.args(machine.devices.split_whitespace());
        command
    }

    /// The emulator with its version, if it starts.
    fn answering(mut self) -> Option<Self> {
        let said = output(self.started(PROGRAM).arg("--version")).ok()?;
        let version = said.split_once("version ")?.1;
        self.version = version.split([' ', '\n', '(']).next()?.to_owned();
        Some(self)
    }

    /// Prepares the emulator, or `ldd` on it, in the environment that it needs.
    fn started(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let Some(tree) = &self.tree else { return command };
        let binary = tree.join("usr/bin").join(PROGRAM);
        let libraries = tree.join("usr/lib/x86_64-linux-gnu");
        match program == PROGRAM {
            true => {
                command = Command::new(binary);
                for folder in ["usr/share/qemu", "usr/share/seabios"] {
                    command.arg("-L").arg(tree.join(folder));
                }
            }
            false => _ = command.arg(binary),
        }
        command.env("LD_LIBRARY_PATH", &libraries).env("QEMU_MODULE_DIR", libraries.join("qemu"));
        command
    }
}

/// A started emulator, which ends with this value.
#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended: then there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Major and minor of `1:10.0.2+ds-2`, `7.2`, ...
fn version(text: &str) -> (u32, u32) {
    let text = text.split_once(':').map_or(text, |(_, text)| text);
    let mut numbers =
        text.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Sends the lines of a stream from a thread of its own.
fn forward(
    stream: Option<impl Read + Send + 'static>,
    source: Source,
    lines: SyncSender<(Source, Vec<u8>)>,
) {
    let Some(stream) = stream else { return };
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        loop {
            let mut line = Vec::new();
            let read = stream.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
            if !read.is_ok_and(|read| read > 0) || lines.send((source, line)).is_err() {
                break;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(version("1:10.0.2+ds-2+deb13u1~bpo12+1"), (10, 0));
        assert_eq!(version("7.2.17"), (7, 2));
        assert_eq!(version(""), (0, 0));
        assert!(version("1:10.0") > version("1:7.2"));
    }

    #[test]
    fn lines_without_end_are_cut() {
        let (sender, lines) = mpsc::sync_channel(4);
        let endless = vec![b'x'; 150 << 10];
        forward(Some(std::io::Cursor::new(endless)), Source::Kernel, sender);
        let lengths: Vec<_> = lines.iter().map(|(_, line)| line.len()).collect();
        assert_eq!(lengths, [64 << 10, 64 << 10, 22 << 10]);
    }
}
