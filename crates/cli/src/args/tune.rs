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
    /// Explain a setting: unit, scope, value and default here, and what people get wrong about it
    Explain(TuneExplainArgs),
    /// Say what a tuning script or a file of settings would really do, write by write
    Lint(TuneLintArgs),
}

/// `netmem tune explain`.
#[derive(Debug, Clone, ClapArgs)]
pub struct TuneExplainArgs {
    /// The setting, such as net.ipv4.tcp_mem; its folder may be left out
    #[arg(value_name = "KEY")]
    pub key: String,
    /// Print the explanation as JSON
    #[arg(long)]
    pub json: bool,
}

/// `netmem tune lint`.
#[derive(Debug, Clone, ClapArgs)]
pub struct TuneLintArgs {
    /// A shell script, or a file as sysctl.conf has it; - for standard input
    ///
    /// Nothing of it is run. Each write to a setting of network memory gets one verdict, and each look at
    /// a file of /proc or /sys: fine, no-effect, wrong-unit, wrong-arity, silently-truncated,
    /// lowers-the-default, dangerous, or unknown, which is not judged. Exit code 1 if something is wrong.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print the verdicts as JSON
    #[arg(long)]
    pub json: bool,
}
