//! `netmem tune`.

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
pub enum TuneCommand {}
