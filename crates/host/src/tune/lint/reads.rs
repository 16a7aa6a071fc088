//! Monitoring: files below /proc and /sys that a script looks at, and whether they show what they seem to.
//!
//! Source: the files themselves on kernel 6.18, mm/slab_common.c (merged caches),
//! Documentation/networking/statistics.rst.

use super::Judgement::{self, Fine, NoEffect, SilentlyTruncated, Unknown};

/// What is said of a look at a file: the verdict, its reason, and where it is documented.
pub(super) type Said = (Judgement, String, Option<&'static str>);

const STATISTICS: &str = "Documentation/networking/statistics.rst";

/// Statistics without which rx_dropped is not all that was lost.
pub(super) const OTHERS: [&str; 2] = ["rx_missed_errors", "rx_nohandler"];

/// A file, or the beginning of a path that ends in `/`; what is to be known of it; where it stands.
type Row = (&'static str, Judgement, &'static str, Option<&'static str>);

const FILES: &[Row] = &[
    (
        "/proc/net/sockstat",
        Fine,
        "mem of TCP and UDP is in pages, FRAG memory in bytes; alloc, orphan and mem count the whole \
         machine, the rest this network namespace; mem is off by up to net.core.mem_pcpu_rsv pages a CPU",
        Some("net/ipv4/proc.c"),
    ),
    (
        "/proc/net/sockstat6",
        Fine,
        "it has no mem: TCP and UDP count IPv4 and IPv6 together, in /proc/net/sockstat",
        Some("net/ipv6/proc.c"),
    ),
    (
        "/proc/net/softnet_stat",
        Fine,
        "a line for each CPU that is online, in hexadecimal, of the whole machine; the numbers wrap at 2^32",
        Some("net/core/net-procfs.c"),
    ),
    (
        "/proc/net/protocols",
        Fine,
        "memory is in pages, and the rows of TCP, TCPv6 and MPTCP repeat one counter: no sum is right",
        Some("net/core/sock.c"),
    ),
    ("/proc/net/netstat", Fine, "counters of this network namespace", Some("net/ipv4/proc.c")),
    ("/proc/net/snmp", Fine, "counters of this network namespace", Some("net/ipv4/proc.c")),
    ("/proc/net/snmp6", Fine, "counters of this network namespace", Some("net/ipv6/proc.c")),
    ("/proc/net/dev", Fine, "counters of this network namespace's interfaces", Some(STATISTICS)),
    ("/proc/net/tcp", Fine, "this network namespace's sockets", Some("net/ipv4/tcp_ipv4.c")),
    ("/proc/net/tcp6", Fine, "this network namespace's sockets", Some("net/ipv6/tcp_ipv6.c")),
    ("/proc/net/udp", Fine, "this network namespace's sockets", Some("net/ipv4/udp.c")),
    ("/proc/net/udp6", Fine, "this network namespace's sockets", Some("net/ipv6/udp.c")),
    ("/proc/net/packet", Fine, "this network namespace's sockets", Some("net/packet/af_packet.c")),
    (
        "/proc/net/ip_conntrack",
        NoEffect,
        "it is gone since kernel 4.9: /proc/net/nf_conntrack, where that is built, or conntrack(8)",
        None,
    ),
    (
        "/sys/kernel/debug/page_pool/",
        NoEffect,
        "there is no such folder, and never was: page pools are told by netlink (family netdev, \
         page-pool-get and page-pool-stats-get), and by the tracepoints page_pool:*",
        Some("Documentation/networking/page_pool.rst"),
    ),
    ("/proc/slabinfo", Fine, "readable for root only", Some("mm/slab_common.c")),
    ("/proc/meminfo", Fine, "the whole machine", Some("Documentation/filesystems/proc.rst")),
];

/// Judges a look at a file. `is_of_skbuff`: the command or its filter is about caches of packets;
/// `has_others`: the script looks at [`OTHERS`] too.
pub(super) fn judge(path: &str, is_of_skbuff: bool, has_others: bool) -> Said {
    if let Some(statistic) = statistic(path) {
        return of_statistic(statistic, has_others);
    }
    if path == "/proc/slabinfo" && is_of_skbuff {
        let what = "caches that the kernel merges with others of their size are not listed by name: \
                    skbuff_fclone_cache and skbuff_ext_cache often are not there; /sys/kernel/slab/NAME is \
                    a link to what each is merged with, and data of packets is elsewhere (kmalloc-*, \
                    page fragments, page pools)";
        return (SilentlyTruncated, what.to_owned(), Some("mm/slab_common.c"));
    }
    // A look by the process's own folder is the same look.
    let plain = ["/proc/self/net/", "/proc/thread-self/net/"]
        .iter()
        .find_map(|start| path.strip_prefix(start))
        .map(|file| format!("/proc/net/{file}"));
    let path = plain.as_deref().unwrap_or(path);
    let is_it = |(file, ..): &&Row| match file.strip_suffix('/') {
        Some(folder) => path == folder || path.starts_with(file),
        None => path == *file,
    };
    match FILES.iter().find(is_it) {
        Some((_, judgement, what, citation)) => (*judgement, (*what).to_owned(), *citation),
        None => {
            (Unknown, "not a file of network memory that is known here: not judged".into(), None)
        }
    }
}

/// Whether there is something to be said of a file.
pub(super) fn is_known(path: &str) -> bool {
    path.starts_with('/')
        && (statistic(path).is_some() || FILES.iter().any(|(file, ..)| *file == path))
}

/// The name of the interface statistic that a path is of.
pub(super) fn statistic(path: &str) -> Option<&str> {
    let is_of_interface = path.starts_with("/sys/class/net/") || !path.starts_with('/');
    let name = path.rsplit(['/', super::command::UNKNOWN]).next()?;
    let is_name = name.starts_with("rx_") || name.starts_with("tx_");
    (is_of_interface && is_name).then_some(name)
}

fn of_statistic(name: &str, has_others: bool) -> Said {
    if name == "rx_dropped" && !has_others {
        let what = "not all lost packets: what the card has no buffer for is in rx_missed_errors, what no \
                    protocol takes in rx_nohandler, and more is in `ethtool -S` and the queues' statistics \
                    by netlink (rx-hw-drops, rx-alloc-fail)";
        return (SilentlyTruncated, what.to_owned(), Some(STATISTICS));
    }
    (Fine, "a counter of the interface".to_owned(), Some(STATISTICS))
}
