//! `netmem tune`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};

use super::units::{bits_per_second, microseconds, seconds};

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
    /// Explain a setting: unit, scope, value and default here, and what people get wrong about it
    Explain(TuneExplainArgs),
    /// Say what a tuning script or a file of settings would really do, write by write
    Lint(TuneLintArgs),
    /// Look at the machine for a time and say what to change, and why; changes nothing
    Plan(TunePlanArgs),
    /// Say how many huge pages a netmem command needs, and how to reserve them; changes nothing
    Hugepages(TuneHugepagesArgs),
}

/// `netmem tune plan`.
#[derive(Debug, Clone, ClapArgs)]
pub struct TunePlanArgs {
    /// Seconds to look at the machine
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = seconds(1..=3600))]
    pub interval: u32,
    /// What it is for; without evidence, or a path that is named, nothing is proposed for any
    #[arg(long, value_enum)]
    pub goal: Option<TuneGoal>,
    /// Bandwidth of the path in bits per second, with --rtt: 10G, 2.5G, 250Mbit
    #[arg(long, value_name = "RATE", value_parser = bits_per_second)]
    pub bandwidth: Option<u64>,
    /// Round-trip time of the path, with --bandwidth: 80ms, 0.3ms, 500us
    #[arg(long, value_name = "TIME", value_parser = microseconds)]
    pub rtt: Option<u64>,
    /// Network namespace to look at: its name or a process in it [default: this one]
    #[arg(long, value_name = "NAME|PID")]
    pub netns: Option<String>,
    /// End with code 3 if something could not be looked at; what could is shown
    #[arg(long)]
    pub strict: bool,
    /// Print the plan as JSON
    #[arg(long)]
    pub json: bool,
    /// Write the plan into this file too, as JSON
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Where journals are: one that was ended in the middle is told.
    #[command(flatten)]
    pub state: StateArgs,
}

impl Default for TunePlanArgs {
    fn default() -> Self {
        Self {
            interval: 10,
            goal: None,
            bandwidth: None,
            rtt: None,
            netns: None,
            strict: false,
            json: false,
            output: None,
            state: StateArgs { state: PathBuf::from(STATE) },
        }
    }
}

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TuneGoal {
    /// Much data over few connections
    Throughput,
    /// Short waits, rather than large buffers
    Latency,
    /// Many connections, rather than large buffers
    ManyConnections,
    /// Zero-copy sends and AF_XDP
    ZeroCopy,
}

/// `netmem tune hugepages`.
#[derive(Debug, Clone, ClapArgs)]
pub struct TuneHugepagesArgs {
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
    /// The command and its arguments, as netmem takes them: forward eth1 eth2
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
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

/// The folder of journals, unless another is named.
const STATE: &str = "/var/lib/netmem/tune";

/// Where journals are.
#[derive(Debug, Clone, ClapArgs)]
pub struct StateArgs {
    /// Folder of the journals
    #[arg(long, value_name = "DIR", default_value = STATE)]
    pub state: PathBuf,
}

/// `netmem tune apply`.
#[derive(Debug, Clone, ClapArgs)]
pub struct ApplyArgs {
    /// The plan, a JSON file; - for standard input [default: looks for 10 s and makes one]
    #[arg(value_name = "PLAN")]
    pub plan: Option<PathBuf>,
    /// Check the plan, the file for --persist and other applications, and say what would be written
    ///
    /// No setting and no file is changed. That the journals' folder can be written to is not checked.
    #[arg(long)]
    pub dry_run: bool,
    /// Write values too that are refused as harmful or without effect
    #[arg(long)]
    pub i_know: bool,
    /// Network namespace of the plan's settings, by name or process id [default: this one]
    #[arg(long, value_name = "NAME|PID")]
    pub netns: Option<String>,
    /// Undo all after that time, unless it is confirmed by the word keep or netmem tune confirm: 60s, 5m
    ///
    /// A process of its own, in a session of its own, waits for that: all is undone too when the
    /// terminal, the connection or this command is gone, and tried until it can be done. Enter alone
    /// confirms nothing: so people try whether a connection lives.
    #[arg(long, value_name = "TIME", value_parser = seconds(1..=86_400))]
    pub confirm_within: Option<u32>,
    /// Write the settings to a file of sysctl.d too, so that they outlast a boot
    ///
    /// With --confirm-within whoever confirms it does so: this command, or netmem tune confirm.
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
    /// Write the settings of --persist to their file, also of one that is confirmed and could not
    #[arg(long, requires = "id")]
    pub persist: bool,
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
    /// Undo also what somebody else, or a later application, has changed since
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
