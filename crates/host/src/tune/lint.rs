//! What a tuning script or a file of settings would really do, write by write.
//!
//! ```text
//!   text --shell--> commands, lines of settings --blocks--> groups, loops
//!        --events, loops--> writes, reads --judge, reads--> verdicts
//! ```
//! A text is a shell script, a file as sysctl.conf(5) has it, or both in one: a line `net.x.y = 1` is no
//! command, so nobody has to say which. What a shell would do to a value before the kernel sees it is done
//! here as far as the text tells: quotes, here-documents, pipes into tee(1), variables that have one literal
//! value, arithmetic with them, loops over words, lists in braces, names in the folder that cd(1) went to. Of what
//! shells differ in, that which `dialect` names is done as the one of the first line does it; a text without
//! such a line is taken for bash's. Nothing is run, and in which order functions are called is not followed: a
//! variable with one value is taken to have it, wherever it is assigned. A value that the text does not tell
//! gives [`Judgement::Unknown`].
//!
//! The kernel's part: a file of `/proc/sys` that holds one number takes the first of three and says nothing;
//! one that holds three takes one, and keeps the other two; neither checks an order or a unit. A number
//! that it refuses ends the write with `EINVAL`, and those before it are set (`proc_dointvec_minmax`,
//! `proc_douintvec_minmax`, `proc_doulongvec_minmax` in kernel/sysctl.c, 6.18). Of several writes to a file
//! that is opened once, as by `{ echo 1; echo 2; } > file`, most take the first and drop the others, which
//! succeed; those of unsigned numbers take each. A setting of the whole machine is to read only, or absent,
//! in every network namespace but the initial one (net/core/sysctl_net_core.c,
//! net/ipv4/sysctl_net_ipv4.c).
//!
//! Pure: text and a [`Machine`] in, verdicts out.

mod arithmetic;
mod blocks;
mod braces;
mod command;
mod dialect;
mod events;
mod expansion;
mod fields;
mod files;
mod fragments;
mod indirect;
mod input;
mod judge;
mod loops;
mod made;
mod output;
mod place;
mod print;
mod profile;
mod program;
mod reads;
mod redirects;
mod shell;
mod sysctl;
mod taken;
#[cfg(test)]
mod tests;
mod trouble;
mod unit;
mod variables;

use serde::Serialize;

use crate::sysctl::Machine;

/// What a report is called in JSON.
pub const LINT_SCHEMA: &str = "netmem.tune.lint/1";

/// What is to be said of a write, or of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(clippy::exhaustive_enums, reason = "the list is the promise")]
pub enum Judgement {
    /// It does what it says.
    Fine,
    /// It changes or shows nothing: refused, without effect, or so by default.
    NoEffect,
    /// Its numbers are of something else than they were meant.
    WrongUnit,
    /// It gives fewer numbers than the setting has.
    WrongArity,
    /// Only a part of it is taken, or shown, and nobody says so.
    SilentlyTruncated,
    /// It takes away from what this kernel boots with.
    LowersTheDefault,
    /// It works, and should not be done.
    Dangerous,
    /// Not judged: the setting or the value is not known here, or it is no setting.
    Unknown,
}

impl Judgement {
    /// Its name, as it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::NoEffect => "no-effect",
            Self::WrongUnit => "wrong-unit",
            Self::WrongArity => "wrong-arity",
            Self::SilentlyTruncated => "silently-truncated",
            Self::LowersTheDefault => "lowers-the-default",
            Self::Dangerous => "dangerous",
            Self::Unknown => "unknown",
        }
    }

    /// Whether something is wrong.
    pub fn is_finding(self) -> bool {
        !matches!(self, Self::Fine | Self::Unknown)
    }
}

/// What a verdict is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(clippy::exhaustive_enums, reason = "three kinds of lines")]
pub enum Subject {
    /// A write to a setting below `/proc/sys`.
    Write,
    /// A look at a file below `/proc` or `/sys`.
    Read,
    /// A command that sets something which is no setting of `/proc/sys`, or that names one and is not
    /// understood.
    Other,
}

/// What is said of one write or read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(clippy::exhaustive_structs, reason = "a report's content")]
pub struct Verdict {
    /// Counted from 1.
    pub line: usize,
    /// What it is about.
    pub subject: Subject,
    /// The setting with dots, the file, or the command. `*` stands for what the text does not tell.
    pub target: String,
    /// What is written, after the shell is done with it; null if the text does not tell, and of reads.
    pub value: Option<String>,
    /// The verdict.
    pub verdict: Judgement,
    /// What the kernel does with it and why that is so, the verdict's reason first.
    pub reasons: Vec<String>,
    /// Where the kernel documents it.
    pub citation: Option<&'static str>,
}

/// All that is said of a text.
#[derive(Debug, Clone, Serialize)]
#[allow(clippy::exhaustive_structs, reason = "a report's content")]
pub struct Report {
    /// [`LINT_SCHEMA`].
    pub schema: &'static str,
    /// Where the text is from, as the caller names it.
    pub source: String,
    /// What it was judged for.
    pub machine: Machine,
    /// How many verdicts say that something is wrong.
    pub findings: usize,
    /// One a write and one a read, by line.
    pub verdicts: Vec<Verdict>,
}

impl Report {
    /// Judges a text.
    pub fn of(source: impl Into<String>, text: &str, machine: &Machine) -> Self {
        let verdicts = lint(text, machine);
        let findings = verdicts.iter().filter(|verdict| verdict.verdict.is_finding()).count();
        Self { schema: LINT_SCHEMA, source: source.into(), machine: *machine, findings, verdicts }
    }
}

/// Judges every write and every monitoring read of a script or a file of settings, by line.
///
/// Any text has verdicts, or none: there is no text that is refused.
pub fn lint(text: &str, machine: &Machine) -> Vec<Verdict> {
    let events = events::of(text);
    let is_ordered = !text.contains("()") && !text.contains("function");
    judge::all(&events, is_ordered, machine)
}
