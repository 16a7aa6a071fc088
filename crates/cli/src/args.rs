//! The command line, in one table of types: help, completion and tests read it.

mod shown;
mod tune;
mod units;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use netmem::{
    mem::PageTier,
    xdp::{BusyPoll, Port, PortBuilder, Queues, RingSizes, XdpMode},
};
use netmem_wire::{
    MacAddr,
    filter::{Expr, Ipv4Net, Ipv6Net, ParseError, ResponderConfig, Rules},
};

pub use self::shown::{DoctorArgs, ExplainArgs, ExportArgs, ListArgs, MapsArgs, TopArgs};
pub use self::tune::{
    ApplyArgs, ConfirmArgs, GuardArgs, HistoryArgs, RollbackArgs, StateArgs, TuneArgs, TuneCommand,
    TuneExplainArgs, TuneGoal, TuneHugepagesArgs, TuneLintArgs, TunePlanArgs,
};
use self::units::seconds;
use crate::sandbox::{SUBCOMMAND, User};

/// Zero-copy packets and the machine's network memory.
#[derive(Debug, Parser)]
#[command(name = "netmem", version, propagate_version = true)]
#[command(after_help = "Exit codes: 0 done, 1 check failed or finding, 2 usage, \
    3 missing privilege or source, 4 the kernel refused or the interface went, \
    5 rollback incomplete or drift")]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take XDP programs off an interface whose owner is gone or hung
    Detach(DetachArgs),
    /// Say what this host and its interfaces can do, what stands in the way, and what helps
    Doctor(DoctorArgs),
    /// Explain a word of the kernel's network memory, with its value here
    Explain(ExplainArgs),
    /// Serve the machine's network memory as metrics, for Prometheus
    Export(ExportArgs),
    /// Show everything working in throw-away network namespaces, every reply checked
    Lab(LabArgs),
    /// List the XDP programs and AF_XDP sockets of interfaces, and who holds them
    List(ListArgs),
    /// Show what is in a process's memory: every mapping by what it is, AF_XDP rings with their levels
    #[command(alias = "pmap")]
    Maps(MapsArgs),
    /// Print the packets of a capture file, one a line
    Read(ReadArgs),
    /// Send packets on between two interfaces, or back where they came from
    #[command(alias = "l2fwd")]
    Forward(ForwardArgs),
    /// Answer ARP, neighbor solicitations and ping for addresses on an interface, past the kernel's stack
    Respond(RespondArgs),
    /// Show the network memory of the machine: protocols, sockets, queues, caches, rings
    #[command(alias = "monitor")]
    Top(TopArgs),
    /// Change the machine's settings of network memory, with evidence, a diff and an undo
    Tune(TuneArgs),
    /// The packet path of another command, started by it
    #[command(name = SUBCOMMAND, hide = true)]
    Worker(WorkerArgs),
}

/// `netmem __worker`.
#[derive(Debug, Clone, ClapArgs)]
pub struct WorkerArgs {
    /// Process id of the command that starts it
    #[arg(long, value_name = "PID")]
    pub parent: u32,
    /// User to become [default: stays]
    #[arg(long, value_name = "UID:GID")]
    pub user: Option<User>,
    /// The command, as it is shown
    #[arg(long, value_name = "WORD", default_value = "worker")]
    pub command: String,
    /// What to do
    #[arg(long, value_name = "JSON")]
    pub job: Option<String>,
}

/// `netmem detach`.
#[derive(Debug, Clone, ClapArgs)]
pub struct DetachArgs {
    /// The interface
    #[arg(value_name = "IFACE")]
    pub interface: String,
    /// Also programs whose owner runs or is not known, and programs that no link holds
    ///
    /// Without it only programs are taken off whose link no process holds, or only processes that are
    /// stopped or defunct. A program attached by netlink has no owner: anybody can attach it again.
    #[arg(long)]
    pub force: bool,
}

/// `netmem lab`.
#[derive(Debug, Clone, ClapArgs)]
pub struct LabArgs {
    /// Bursts of 64 distinct pings
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub bursts: u32,
    /// Seconds of 1,000 requests per second, for the latency figures
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = seconds(0..=600))]
    pub latency: u32,
    /// Seconds of as many requests as are answered
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = seconds(0..=600))]
    pub flood: u32,
    /// XDP mode of the responder
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    pub mode: Mode,
    /// Page sizes to try, in order [default: 2m,thp,4k; 1g first from 512 MiB on]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_enum)]
    pub pages: Vec<Pages>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

impl Default for LabArgs {
    fn default() -> Self {
        Self { bursts: 20, latency: 2, flood: 3, mode: Mode::Auto, pages: Vec::new(), json: false }
    }
}

/// `netmem read`.
#[derive(Debug, Clone, ClapArgs)]
pub struct ReadArgs {
    /// A pcap or pcapng file; - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Which packets to print, in one or more words [default: all]
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
    /// Print one JSON object a packet, with the fields of all layers
    #[arg(long)]
    pub json: bool,
}

/// `netmem respond`.
#[derive(Debug, Clone, ClapArgs)]
pub struct RespondArgs {
    /// The interface
    #[arg(value_name = "IFACE")]
    pub interface: String,
    /// IPv4 and IPv6 addresses to answer for: ARP, neighbor solicitations and ping
    #[arg(
        long,
        value_name = "A[,B...]",
        value_delimiter = ',',
        required_unless_present = "proxy_arp"
    )]
    pub ip: Vec<IpAddr>,
    /// Networks to answer ARP requests for (IPv6: neighbor solicitations), whoever has the address
    ///
    /// Every address inside is told to be at ours (RFC 1027, RFC 4861 section 7.2.8): what hosts then
    /// send there passes to the kernel, which may forward it. Not answered are hosts that ask whether
    /// an address is free (ARP probes, duplicate address detection), announcements of addresses
    /// inside, and pings. Hosts inside that are on this same link answer as well, and the asking host
    /// believes one of the two: name networks that are elsewhere, or leave addresses out with
    /// `--filter 'not arp dst host A'`.
    #[arg(long, value_name = "NET[,NET...]", value_delimiter = ',')]
    pub proxy_arp: Vec<Network>,
    /// Look at frames that match this filter only; all others pass to the kernel
    ///
    /// Narrows what is answered, in tcpdump's language: with `--filter 'not host 10.0.0.9'` that host
    /// is answered by the kernel or nobody. A filter is about ARP and neighbor solicitations too:
    /// with `--filter icmp` pings are answered, but nobody learns from here where to send them.
    #[arg(long, value_name = "EXPR", value_parser = filter)]
    pub filter: Option<Expr>,
    /// Ethernet address to answer with [default: the interface's own]
    #[arg(long, value_name = "M")]
    pub mac: Option<MacAddr>,
    /// Ports, memory and workers.
    #[command(flatten)]
    pub plane: PlaneArgs,
}

/// What the commands that move packets have in common.
#[derive(Debug, Clone, ClapArgs)]
pub struct PlaneArgs {
    /// Queues of the interface, each with a worker of its own
    #[arg(long, value_name = "N[,N...]|all", default_value = "all", value_parser = queues)]
    pub queue: Queues,
    /// XDP mode
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    pub mode: Mode,
    /// Page sizes to try, in order [default: 2m,thp,4k; 1g first from 512 MiB on]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_enum)]
    pub pages: Vec<Pages>,
    /// Number of frames [default: 4096 for each queue]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub frames: Option<u32>,
    /// Size of a frame in bytes
    #[arg(long, value_name = "2048|4096", default_value = "2048", value_parser = frame_bytes)]
    pub frame_bytes: u32,
    /// Entries of the rx ring, a power of two
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = ring_entries)]
    pub rx_ring: u32,
    /// Entries of the tx ring, a power of two
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = ring_entries)]
    pub tx_ring: u32,
    /// Entries of the fill ring, a power of two
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = ring_entries)]
    pub fill_ring: u32,
    /// Entries of the completion ring, a power of two
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = ring_entries)]
    pub completion_ring: u32,
    /// Poll the driver from the workers' own calls instead of waiting for interrupts
    ///
    /// Whether interrupts stay off meanwhile is the interface's setting: napi_defer_hard_irqs and
    /// gro_flush_timeout below /sys/class/net.
    #[arg(long)]
    pub busy_poll: bool,
    /// User that the workers become [default: nobody, when started as root]
    #[arg(long, value_name = "NAME|UID[:GID]", conflicts_with = "no_sandbox")]
    pub user: Option<User>,
    /// Let the workers be threads of this process, with all of its privileges
    ///
    /// By default they are a process of another user that can open nothing, with the packets' memory
    /// and the bound sockets only.
    #[arg(long)]
    pub no_sandbox: bool,
    /// Serve what the workers publish as metrics there: OpenMetrics or Prometheus text, at /metrics
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics: Option<SocketAddr>,
    /// Seconds between status blocks; 0 for none
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = seconds(0..=86_400))]
    pub interval: u32,
    /// Print the status and the summary as JSON, one object a line
    #[arg(long)]
    pub json: bool,
}

impl Default for PlaneArgs {
    fn default() -> Self {
        Self {
            queue: Queues::All,
            mode: Mode::Auto,
            pages: Vec::new(),
            frames: None,
            frame_bytes: 2048,
            rx_ring: 2048,
            tx_ring: 2048,
            fill_ring: 2048,
            completion_ring: 2048,
            busy_poll: false,
            user: None,
            no_sandbox: false,
            metrics: None,
            interval: 10,
            json: false,
        }
    }
}

impl PlaneArgs {
    /// The four ring sizes.
    #[must_use]
    pub fn rings(&self) -> RingSizes {
        RingSizes {
            rx: self.rx_ring,
            tx: self.tx_ring,
            fill: self.fill_ring,
            completion: self.completion_ring,
        }
    }

    /// The description of the ports on `interface`.
    #[must_use]
    pub fn ports(&self, interface: &str, rules: Rules, name: &str) -> PortBuilder {
        let builder = Port::builder(interface, rules)
            .queues(self.queue.clone())
            .modes(self.mode.list())
            .rings(self.rings())
            .name(name);
        if self.busy_poll { builder.busy_poll(BusyPoll::default()) } else { builder }
    }
}

/// `netmem forward`.
#[derive(Debug, Clone, ClapArgs)]
pub struct ForwardArgs {
    /// The interface; with one alone its packets go back where they came from
    #[arg(value_name = "A")]
    pub a: String,
    /// The other interface: packets of each go out by the other
    #[arg(value_name = "B")]
    pub b: Option<String>,
    /// Forward frames that match this filter only, in tcpdump's language; others pass to the kernel
    #[arg(long, value_name = "EXPR", value_parser = filter)]
    pub filter: Option<Expr>,
    /// What becomes of the Ethernet addresses [default: keep between two interfaces, swap on one]
    #[arg(long, value_enum, conflicts_with_all = ["source_mac", "destination_mac"])]
    pub mac: Option<MacChoice>,
    /// Set the source address of each frame
    #[arg(long, value_name = "M")]
    pub source_mac: Option<MacAddr>,
    /// Set the destination address of each frame
    #[arg(long, value_name = "M")]
    pub destination_mac: Option<MacAddr>,
    /// Take an interface although the default route goes by it
    #[arg(long)]
    pub force: bool,
    /// Ports, memory and workers.
    #[command(flatten)]
    pub plane: PlaneArgs,
}

/// What becomes of Ethernet addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MacChoice {
    /// They stay
    Keep,
    /// Source and destination are exchanged
    Swap,
}

impl RespondArgs {
    /// Everything at its default.
    #[must_use]
    pub fn new(interface: &str, ip: impl Into<IpAddr>) -> Self {
        Self {
            interface: interface.to_owned(),
            ip: vec![ip.into()],
            proxy_arp: Vec::new(),
            filter: None,
            mac: None,
            plane: PlaneArgs::default(),
        }
    }

    /// What is answered, as filter and responder take it.
    #[must_use]
    pub fn responder(&self) -> ResponderConfig {
        let mut config =
            ResponderConfig { only: self.filter.clone(), ..ResponderConfig::default() };
        for ip in &self.ip {
            match *ip {
                IpAddr::V4(ip) => config.addresses.push(ip),
                IpAddr::V6(ip) => config.addresses6.push(ip),
            }
        }
        for network in &self.proxy_arp {
            match *network {
                Network::V4(network) => config.proxied.push(network),
                Network::V6(network) => config.proxied6.push(network),
            }
        }
        config
    }
}

/// A network of either family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// IPv4.
    V4(Ipv4Net),
    /// IPv6.
    V6(Ipv6Net),
}

impl FromStr for Network {
    type Err = String;

    /// Reads `address/prefix length`, or an address alone as a network of one. The address has no
    /// bits behind the prefix: with them, one of the two numbers is a slip.
    fn from_str(text: &str) -> Result<Self, String> {
        let (network, lowest) = if text.contains(':') {
            let network: Ipv6Net = text.parse().map_err(|error| format!("{error}"))?;
            (Self::V6(network), IpAddr::from(network.address()))
        } else {
            let network: Ipv4Net = text.parse().map_err(|error| format!("{error}"))?;
            (Self::V4(network), IpAddr::from(network.address()))
        };
        let address = text.split_once('/').map_or(text, |(address, _)| address);
        if address.parse() == Ok(lowest) {
            Ok(network)
        } else {
            Err(format!("the network of that address is {network}"))
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(network) => network.fmt(f),
            Self::V6(network) => network.fmt(f),
        }
    }
}

/// Which XDP modes to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Zero copy, else native, else generic
    Auto,
    /// The driver's own XDP, by copy
    Native,
    /// XDP on socket buffers, by copy
    Generic,
}

impl Mode {
    /// The modes to try, in order.
    #[must_use]
    pub fn list(self) -> &'static [XdpMode] {
        match self {
            Self::Auto => &XdpMode::ALL,
            Self::Native => &[XdpMode::Native],
            Self::Generic => &[XdpMode::Generic],
        }
    }
}

/// A page size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Pages {
    /// 1 GiB pages of hugetlb
    #[value(name = "1g")]
    Huge1G,
    /// 2 MiB pages of hugetlb
    #[value(name = "2m")]
    Huge2M,
    /// Transparent huge pages
    #[value(name = "thp")]
    Thp,
    /// Base pages
    #[value(name = "4k")]
    Base4K,
}

impl From<Pages> for PageTier {
    fn from(pages: Pages) -> Self {
        match pages {
            Pages::Huge1G => Self::Huge1G,
            Pages::Huge2M => Self::Huge2M,
            Pages::Thp => Self::Thp,
            Pages::Base4K => Self::Base4K,
        }
    }
}

fn frame_bytes(text: &str) -> Result<u32, String> {
    match text {
        "2048" => Ok(2048),
        "4096" => Ok(4096),
        _ => Err("AF_XDP takes frames of 2048 or 4096 bytes".into()),
    }
}

fn queues(text: &str) -> Result<Queues, String> {
    if text == "all" {
        return Ok(Queues::All);
    }
    let number = |word: &str| word.parse::<u32>().map_err(|error| format!("{word}: {error}"));
    text.split(',').map(number).collect::<Result<_, _>>().map(Queues::These)
}

fn filter(text: &str) -> Result<Expr, String> {
    text.parse().map_err(|error: ParseError| format!("{error}\n\n{}", error.caret(text)))
}

fn ring_entries(text: &str) -> Result<u32, String> {
    let entries: u32 = text.parse().map_err(|error| format!("{error}"))?;
    if entries.is_power_of_two() && entries <= 1 << 20 {
        Ok(entries)
    } else {
        Err("a ring has a power of two of entries, 1 to 1048576".into())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_table_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_defaults_are_those_of_the_table() {
        let words = ["netmem", "respond", "eth9", "--ip", "192.0.2.2"];
        let Command::Respond(parsed) = Args::try_parse_from(words).unwrap().command else {
            panic!("another command");
        };
        let built = RespondArgs::new("eth9", Ipv4Addr::new(192, 0, 2, 2));
        assert_eq!(format!("{parsed:?}"), format!("{built:?}"));
    }

    #[test]
    fn what_is_answered_is_named_by_family() {
        let words = "netmem respond eth9 --ip 192.0.2.2,fe80::2 --ip 192.0.2.3 --proxy-arp 10.1.0.0/16 \
            --proxy-arp 2001:db8::/32,10.9.9.9 --filter";
        let words = words.split_whitespace().chain(["not vlan and icmp6"]);
        let Command::Respond(parsed) = Args::try_parse_from(words).unwrap().command else {
            panic!("another command");
        };
        let config = ResponderConfig {
            addresses: vec![Ipv4Addr::new(192, 0, 2, 2), Ipv4Addr::new(192, 0, 2, 3)],
            addresses6: vec!["fe80::2".parse().unwrap()],
            proxied: vec!["10.1.0.0/16".parse().unwrap(), "10.9.9.9/32".parse().unwrap()],
            proxied6: vec!["2001:db8::/32".parse().unwrap()],
            only: Some("icmp6 and not vlan".parse::<Expr>().unwrap()),
        };
        let Some(Expr::All(mut only)) = config.only.clone() else { panic!("{config:?}") };
        only.reverse();
        let config = ResponderConfig { only: Some(Expr::All(only)), ..config };
        assert_eq!(parsed.responder(), config);
        let without_ip = ["netmem", "respond", "eth9", "--proxy-arp", "10.1.0.0/16"];
        assert!(Args::try_parse_from(without_ip).is_ok());
        assert!(Args::try_parse_from(&without_ip[..3]).is_err());
    }

    #[test]
    fn a_bad_filter_is_shown_with_its_place() {
        let words = ["netmem", "respond", "eth9", "--ip", "::2", "--filter", "tcp prot 80"];
        let error = Args::try_parse_from(words).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        assert!(text.contains("filter at byte 4: "), "{text}");
        assert!(text.contains("\n\ntcp prot 80\n    ^~~~\n"), "{text}");
    }

    #[test]
    fn bad_values_are_refused_with_a_reason() {
        let refused = |extra: &[&str]| {
            let words = ["netmem", "respond", "eth9", "--ip", "192.0.2.2"].iter().chain(extra);
            Args::try_parse_from(words).unwrap_err().to_string()
        };
        for (flag, value, why) in [
            ("--frame-bytes", "8192", "2048 or 4096"),
            ("--rx-ring", "1000", "power of two"),
            ("--fill-ring", "0", "power of two"),
            ("--tx-ring", "4294967296", "number too large"),
            ("--completion-ring", "2097152", "power of two"),
            ("--frames", "0", "not in"),
            ("--mac", "zz", "--mac"),
            ("--pages", "3g", "1g"),
            ("--ip", "192.0.2.256", "--ip"),
            ("--ip", "fe80::2%eth0", "--ip"),
            ("--proxy-arp", "10.1.2.3/16", "is 10.1.0.0/16"),
            ("--proxy-arp", "2001:db8::1/64", "is 2001:db8::/64"),
            ("--proxy-arp", "10.1.0.0/33", "above 32"),
            ("--proxy-arp", "10.1/16", "dotted"),
        ] {
            let text = refused(&[flag, value]);
            assert!(text.contains(why), "{flag} {value}: {text}");
        }
    }
}
