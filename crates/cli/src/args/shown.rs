//! The commands that show what is there and change nothing.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args as ClapArgs;

use super::units::seconds;

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

/// `netmem explain`.
#[derive(Debug, Clone, ClapArgs)]
pub struct ExplainArgs {
    /// The word, such as page_pool or net.ipv4.tcp_mem, also of several words [default: lists all]
    #[arg(value_name = "WORD")]
    pub word: Vec<String>,
    /// Print the explanation as JSON
    #[arg(long)]
    pub json: bool,
}

/// `netmem doctor`.
#[derive(Debug, Clone, ClapArgs)]
pub struct DoctorArgs {
    /// The interface [default: all of this network namespace but loopback]
    #[arg(value_name = "IFACE")]
    pub interface: Option<String>,
    /// Also bind AF_XDP sockets to the interface for a moment, to see which mode it gives
    ///
    /// A bind in zero-copy mode resets queues, and some drivers take the link down for seconds. Nothing
    /// is redirected meanwhile: all packets pass to the kernel.
    #[arg(long, requires = "interface")]
    pub probe: bool,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// `netmem top`.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct TopArgs {
    /// Seconds between samples [default: 1 on a terminal, else one sample only]
    #[arg(long, value_name = "S", value_parser = seconds(1..=86_400))]
    pub interval: Option<u32>,
    /// Network namespace to look at: its name, a process in it, or all [default: this one]
    ///
    /// All are those that a process is in, a mount keeps or a descriptor holds. Figures that count the
    /// whole machine are shown once.
    #[arg(long, value_name = "NAME|PID|all")]
    pub netns: Option<String>,
    /// End with code 3 if a figure could not be read; what could is shown
    #[arg(long)]
    pub strict: bool,
    /// Print as JSON, with --interval one object a line
    #[arg(long)]
    pub json: bool,
    /// Print as OpenMetrics, with the names of `netmem export`
    #[arg(long, conflicts_with = "json")]
    pub openmetrics: bool,
}

/// `netmem export`.
#[derive(Debug, Clone, ClapArgs)]
pub struct ExportArgs {
    /// Where to listen; metrics are at /metrics, as OpenMetrics or Prometheus text
    ///
    /// There is no password: an address that is not loopback shows them to whoever reaches it.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9774")]
    pub listen: SocketAddr,
    /// Network namespace to look at, by name or process id; all for every one [default: the own one]
    ///
    /// With this each sample of a namespace has the label netns.
    #[arg(long, value_name = "NAME|PID|all")]
    pub netns: Option<String>,
    /// Also the 50 control groups whose sockets hold most, and the sum of the others
    #[arg(long)]
    pub per_cgroup: bool,
}
