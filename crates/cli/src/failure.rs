//! How a command ends: its exit code, and what it says when it was refused.

use std::{
    fmt,
    io::{self, Write},
    process::ExitCode,
};

/// How a command ended; the number is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// Done.
    Done = 0,
    /// A check failed, or there is a finding.
    Finding = 1,
    /// The arguments do not make sense.
    Usage = 2,
    /// A privilege or a source is missing.
    Missing = 3,
    /// The kernel refused, or the interface went away.
    Refused = 4,
    /// Not all that was changed is as it was before.
    Incomplete = 5,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(outcome as u8)
    }
}

/// Why a command could not do its work.
#[derive(Debug)]
pub struct Failure {
    outcome: Outcome,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// Says that the arguments do not make sense together.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Usage, message: message.into(), hint: None }
    }

    /// Says that a privilege is missing.
    pub fn missing(message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Missing, message: message.into(), hint: None }
    }

    /// Says that a check failed, or that something was found that has to be decided about.
    pub fn finding(message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Finding, message: message.into(), hint: None }
    }

    /// Says that the kernel refused, or that something went away.
    pub fn refused(message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Refused, message: message.into(), hint: None }
    }

    /// Says that not all that was changed could be undone, or that somebody else has changed it.
    pub fn incomplete(message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Incomplete, message: message.into(), hint: None }
    }

    /// Adds the one line that may help.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A failure to print; a reader that has gone away is not one.
    #[must_use]
    pub fn output(error: io::Error) -> Self {
        let outcome = if error.kind() == io::ErrorKind::BrokenPipe {
            Outcome::Done
        } else {
            Outcome::Refused
        };
        let text = error.to_string();
        let cause = text.split(" (os error").next().unwrap_or_default().to_lowercase();
        Self { outcome, message: format!("print results: {cause}"), hint: None }
    }

    /// The exit code.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Prints the message and the hint.
    ///
    /// # Errors
    /// When `notes` cannot be written to.
    pub fn print(&self, notes: &mut dyn Write) -> io::Result<()> {
        if self.outcome == Outcome::Done {
            return Ok(());
        }
        writeln!(notes, "netmem: {self}")?;
        match &self.hint {
            Some(hint) => writeln!(notes, "hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

// errno values of Linux that mean a missing privilege.
const EPERM: i32 = 1;
const EACCES: i32 = 13;
// No such interface.
const ENODEV: i32 = 19;

impl From<netmem::Error> for Failure {
    fn from(error: netmem::Error) -> Self {
        let outcome = match error.errno() {
            Some(EPERM | EACCES) => Outcome::Missing,
            _ => Outcome::Refused,
        };
        Self { outcome, message: error.to_string(), hint: error.hint().map(str::to_owned) }
    }
}

impl From<netmem_host::Error> for Failure {
    fn from(error: netmem_host::Error) -> Self {
        let outcome = match error.errno() {
            Some(EPERM | EACCES) => Outcome::Missing,
            _ => Outcome::Refused,
        };
        let hint = (error.errno() == Some(ENODEV))
            .then(|| "names are those of this network namespace: ip link shows them".to_owned());
        Self { outcome, message: error.to_string(), hint }
    }
}
