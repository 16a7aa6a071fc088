//! The program under test: a child process in the namespace where it was started.

use std::{
    fs::{self, File},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{Result, machine};

/// How long a program may take to end when it is asked to.
const END_WITHIN: Duration = Duration::from_secs(3);
/// Where a program of DPDK may keep its files.
const RUNTIME_DIRECTORY: &str = env!("CARGO_TARGET_TMPDIR");
/// What the program says of its troubles.
const TROUBLES: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/reflect.stderr");

/// Who chooses the CPU of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cpu {
    /// It runs on the one for what is tested.
    Tested,
    /// It does so itself, by its arguments.
    Own,
}

/// A running program; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Program {
    name: String,
    child: Child,
}

impl Program {
    /// Starts a program in the calling thread's namespace, and for [`Cpu::Tested`] pins that thread. Its
    /// standard input stays open: testpmd would end with it.
    pub(super) fn start(
        program: &str,
        arguments: &[&str],
        interface: &str,
        cpu: Cpu,
    ) -> Result<Self> {
        if cpu == Cpu::Tested {
            machine::pin(machine::TESTED_CPU)?;
        }
        let child = Command::new(program)
            .args(arguments.iter().map(|argument| argument.replace("IFACE", interface)))
            .env("RUNTIME_DIRECTORY", RUNTIME_DIRECTORY)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(TROUBLES)?)
            .spawn()
            .map_err(|error| format!("start {program}: {error}"))?;
        Ok(Self { name: program.to_owned(), child })
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Says what is wrong if it has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        self.child.try_wait()?.map_or(Ok(()), |status| Err(self.has_ended(status)))
    }

    /// Whether it has ended by itself, and well.
    pub(super) fn is_done(&mut self) -> Result<bool> {
        match self.child.try_wait()? {
            Some(status) if !status.success() => Err(self.has_ended(status)),
            status => Ok(status.is_some()),
        }
    }

    fn has_ended(&self, status: ExitStatus) -> Box<dyn std::error::Error + Send + Sync> {
        let text = fs::read_to_string(TROUBLES).unwrap_or_default();
        format!("{} has ended: {status}: {}", self.name, text.trim()).into()
    }
}

impl Drop for Program {
    /// Asks it to end, and ends it when it does not. It may have ended already: then nothing is left
    /// to do.
    fn drop(&mut self) {
        let patience = Instant::now() + END_WITHIN;
        if let Ok(id) = self.child.id().try_into() {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > patience {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}
