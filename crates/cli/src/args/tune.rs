//! `netmem tune`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

/// `netmem tune`.
#[derive(Debug, Clone, ClapArgs)]
pub struct TuneArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: TuneCommand,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub enum TuneCommand {
    /// Carry out a plan: all of it or nothing, and so that it can be undone
    Apply(ApplyArgs),
    /// Let an application stay that waits to be confirmed
    Confirm(ConfirmArgs),
    /// Undo what was applied, where nobody else has changed it since
    Rollback(RollbackArgs),
    /// List what was applied and what became of it
    History(HistoryArgs),
    /// What undoes an application that nobody confirms
    #[command(name = "__guard", hide = true)]
    Guard(GuardArgs),
}

/// Where journals are.
#[derive(Debug, Clone, ClapArgs)]
pub struct StateArgs {
    /// Folder of the journals
    #[arg(long, value_name = "DIR", default_value = "/var/lib/netmem/tune")]
    pub state: PathBuf,
}

/// `netmem tune apply`.
#[derive(Debug, Clone, ClapArgs)]
pub struct ApplyArgs {
    /// The plan, a JSON file; - for standard input [default: makes one]
    #[arg(value_name = "PLAN")]
    pub plan: Option<PathBuf>,
    /// Check all and say what would be written; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Write values too that are refused as harmful or without effect
    #[arg(long)]
    pub i_know: bool,
    /// Network namespace of the plan's settings, by name or process id [default: this one]
    #[arg(long, value_name = "NAME|PID")]
    pub netns: Option<String>,
    /// Undo all after so many seconds, unless it is confirmed by Enter or by netmem tune confirm
    ///
    /// A process of its own, in a session of its own, waits for that: all is undone too when the
    /// terminal, the connection or this command is gone.
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub confirm_within: Option<u32>,
    /// Write the settings to a file of sysctl.d too, so that they outlast a boot
    ///
    /// With --confirm-within this command does so after the confirmation: it has to be there then.
    #[arg(long)]
    pub persist: bool,
    /// The file for --persist
    #[arg(long, value_name = "FILE", default_value = "/etc/sysctl.d/90-netmem.conf")]
    pub persist_to: PathBuf,
    /// Where journals are.
    #[command(flatten)]
    pub state: StateArgs,
}

/// `netmem tune confirm`.
#[derive(Debug, Clone, ClapArgs)]
pub struct ConfirmArgs {
    /// The application [default: the last that waits]
    #[arg(value_name = "ID")]
    pub id: Option<String>,
    /// Where journals are.
    #[command(flatten)]
    pub state: StateArgs,
}

/// `netmem tune rollback`.
#[derive(Debug, Clone, ClapArgs)]
pub struct RollbackArgs {
    /// The application [default: the last that is not undone]
    #[arg(value_name = "ID")]
    pub id: Option<String>,
    /// Undo also what somebody else has changed since
    #[arg(long)]
    pub force: bool,
    /// Where journals are.
    #[command(flatten)]
    pub state: StateArgs,
}

/// `netmem tune history`.
#[derive(Debug, Clone, ClapArgs)]
pub struct HistoryArgs {
    /// Print the journals as JSON
    #[arg(long)]
    pub json: bool,
    /// Where journals are.
    #[command(flatten)]
    pub state: StateArgs,
}

/// `netmem tune __guard`.
#[derive(Debug, Clone, ClapArgs)]
pub struct GuardArgs {
    /// The application
    #[arg(value_name = "ID")]
    pub id: String,
    /// Seconds to wait
    #[arg(long, value_name = "S")]
    pub within: u32,
    /// Where journals are.
    #[command(flatten)]
    pub state: StateArgs,
}
