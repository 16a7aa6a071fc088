//! The commands that show what is there and change nothing.

use std::path::PathBuf;

use clap::Args as ClapArgs;

/// `netmem list`.
#[derive(Debug, Clone, ClapArgs)]
pub struct ListArgs {
    /// The interface [default: all in this network namespace that have a program or socket]
    #[arg(value_name = "IFACE")]
    pub interface: Option<String>,
    /// Print the list as JSON
    #[arg(long)]
    pub json: bool,
}

/// `netmem maps`.
#[derive(Debug, Clone, ClapArgs)]
pub struct MapsArgs {
    /// The process
    #[arg(value_name = "PID", value_parser = clap::value_parser!(u32).range(1..=0x7fff_ffff))]
    pub pid: u32,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
    /// Draw a picture into this file too, as SVG
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}
