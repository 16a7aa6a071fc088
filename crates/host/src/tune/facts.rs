//! What is known of settings beside unit and default: what people get wrong about them, which numbers the
//! kernel takes, which settings do nothing any more, and names that are no settings.
//!
//! Read by [`lint`](super::lint) and by whoever explains a setting, so that both say the same.
//! Source: Documentation/networking/ip-sysctl.rst, Documentation/admin-guide/sysctl/net.rst,
//! kernel/sysctl.c, net/ipv4/sysctl_net_ipv4.c, net/core/sysctl_net_core.c, kernel 6.18.

mod bounds;

pub use self::bounds::Bounds;
use crate::sysctl::{Machine, Unit};

/// What is known of one setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a table's row")]
pub struct Fact {
    /// Its name: `net.core.rmem_max`.
    pub key: &'static str,
    /// What people get wrong about it, a sentence each.
    pub mistakes: &'static [&'static str],
    /// The kernel's version since which it does nothing.
    pub no_effect_since: Option<(u32, u32)>,
    /// What is lost by setting it to 0, for those that are to stay on.
    pub lost_when_off: Option<&'static str>,
    /// Whether less than the default takes something away, and is never what a tuner wants.
    pub less_is_less: bool,
}

impl Fact {
    /// What is known of a setting, by its name with dots.
    pub fn named(key: &str) -> Option<&'static Self> {
        FACTS.iter().find(|fact| fact.key == key)
    }
}

/// Names that are no settings, and why.
pub const NO_SETTINGS: &[(&str, &str)] = &[
    (
        "net.core.xdp",
        "there is no such setting: XDP is attached to an interface, and has no sysctl",
    ),
    (
        "net.ipv4.tcp_tw_recycle",
        "gone since kernel 4.12: it lost connections of clients behind one address",
    ),
    ("net.ipv4.tcp_abc", "gone since kernel 3.9"),
    ("net.ipv4.ip_conntrack_max", "gone since kernel 4.9: it is net.netfilter.nf_conntrack_max"),
    (
        "net.ipv4.netfilter.ip_conntrack_max",
        "gone since kernel 4.9: it is net.netfilter.nf_conntrack_max",
    ),
];

/// Settings of the table that are to read only, whoever asks.
pub(crate) const READ_ONLY: [&str; 2] = ["net.ipv4.tcp_ehash_entries", "net.ipv4.udp_hash_entries"];

const PLAIN: Fact = Fact {
    key: "",
    mistakes: &[],
    no_effect_since: None,
    lost_when_off: None,
    less_is_less: false,
};

const LIMIT: Fact = Fact { less_is_less: true, ..PLAIN };

const SHARED_TABLE: &[&str] = &["It is of all network namespaces together: containers share it."];
const FULL_TABLE: &[&str] = &[
    SHARED_TABLE[0],
    "When it is met packets are dropped, and the kernel says `neighbour table overflow`.",
];

/// Of settings that are not in it nothing more is known than [`crate::sysctl::KEYS`] says.
pub const FACTS: &[Fact] = &[
    Fact {
        key: "net.core.rmem_default",
        mistakes: &["It does nothing for TCP, which begins with tcp_rmem[1]."],
        ..LIMIT
    },
    Fact {
        key: "net.core.rmem_max",
        mistakes: &[
            "It does not bound TCP's own growth: tcp_rmem[2] does. It is for programs that set SO_RCVBUF.",
            "A TCP socket whose program sets SO_RCVBUF stops growing by itself, so a larger limit can \
             make it slower.",
            "Advice for kernels before 6.18, where the default was 212992, often lowers it now.",
        ],
        ..LIMIT
    },
    Fact {
        key: "net.core.wmem_default",
        mistakes: &["It does nothing for TCP, which begins with tcp_wmem[1]."],
        ..LIMIT
    },
    Fact {
        key: "net.core.wmem_max",
        mistakes: &[
            "It does not bound TCP's own growth: tcp_wmem[2] does. It is for programs that set SO_SNDBUF.",
            "Advice for kernels before 6.18, where the default was 212992, often lowers it now.",
        ],
        ..LIMIT
    },
    Fact {
        key: "net.core.optmem_max",
        mistakes: &[
            "Advice for kernels before 6.8, where the default was 20480, often lowers it now.",
            "It is no receive or send buffer: options and notifications of MSG_ZEROCOPY count against it.",
        ],
        ..LIMIT
    },
    Fact {
        key: "net.core.netdev_max_backlog",
        mistakes: &[
            "It counts packets, for each CPU, and only those of RPS, loopback, tunnels and devices \
             without NAPI: most cards' packets never wait there.",
        ],
        ..LIMIT
    },
    Fact {
        key: "net.core.netdev_budget",
        mistakes: &[
            "netdev_budget_usecs ends a round too: raised alone it changes nothing where packets take so \
             long that the time is over before. Raise both or neither.",
        ],
        ..LIMIT
    },
    Fact {
        key: "net.core.netdev_budget_usecs",
        mistakes: &[
            "It and netdev_budget end a round, whichever comes first: usually the packets do, so that it \
             may change nothing alone. Raise both or neither.",
            "Since 6.14 less than two ticks of the kernel's clock is refused.",
        ],
        ..LIMIT
    },
    Fact {
        key: "net.core.busy_poll",
        mistakes: &[
            "It is for poll and select of sockets that have SO_BUSY_POLL, and costs a CPU's time and \
             power; 50 is the advised value.",
        ],
        ..PLAIN
    },
    Fact {
        key: "net.core.busy_read",
        mistakes: &[
            "It costs a CPU's time and power for every blocking read; 50 is the advised value.",
        ],
        ..PLAIN
    },
    Fact {
        key: "net.core.mem_pcpu_rsv",
        mistakes: &["It is in pages, and bounds how far off mem in sockstat is, for each CPU."],
        ..PLAIN
    },
    Fact {
        key: "net.core.somaxconn",
        mistakes: &[
            "Advice for kernels before 5.4, where the default was 128, often lowers it now.",
            "A program asks for its own number by listen(2): this only caps it.",
        ],
        ..LIMIT
    },
    Fact {
        key: "net.ipv4.tcp_mem",
        mistakes: &[
            "It is in pages, not in bytes: numbers meant as bytes are 4096 times too large, and memory \
             pressure never begins.",
            "It is of all TCP sockets together; what one socket gets is tcp_rmem and tcp_wmem.",
            "The default is computed from the machine's memory, and seldom needs a change.",
        ],
        ..LIMIT
    },
    Fact {
        key: "net.ipv4.tcp_rmem",
        mistakes: &[
            "A third number of 16777216, as often advised, lowers the 33554432 that kernels boot with since \
             6.16.",
            "A second number of 87380 is from kernels before 4.20, and lowers the 131072 of later ones.",
            "A very large third number can cost latency: the kernel spends time on packing the queue.",
            "The kernel does not check the order of the three, and fewer than three leave the others.",
        ],
        ..LIMIT
    },
    Fact {
        key: "net.ipv4.tcp_wmem",
        mistakes: &[
            "The kernel does not check the order of the three, and fewer than three leave the others.",
        ],
        ..LIMIT
    },
    Fact {
        key: "net.ipv4.udp_mem",
        mistakes: &[
            "It is in pages, not in bytes.",
            "It is three numbers: one number sets the first and leaves the others.",
            "The first number is the limit: above it a socket gets no more than udp_rmem_min, above the \
             third not even that. The second does nothing, as UDP has no pressure state.",
        ],
        ..LIMIT
    },
    Fact {
        key: "net.ipv4.udp_rmem_min",
        mistakes: &["It is one number: of three the kernel takes the first and says nothing."],
        ..LIMIT
    },
    Fact {
        key: "net.ipv4.udp_wmem_min",
        mistakes: &[
            "UDP accounts no send memory, so it has no effect, although it can be written.",
        ],
        no_effect_since: Some((2, 6)),
        ..PLAIN
    },
    Fact {
        key: "net.ipv4.tcp_limit_output_bytes",
        mistakes: &[
            "Advice for kernels before 6.16, where the default was 1048576, lowers it now.",
        ],
        ..LIMIT
    },
    Fact {
        key: "net.ipv4.tcp_notsent_lowat",
        mistakes: &[
            "It does not shrink the send buffer: it says when poll calls the socket writable.",
        ],
        ..PLAIN
    },
    Fact {
        key: "net.ipv4.tcp_moderate_rcvbuf",
        mistakes: &["It is on by default."],
        lost_when_off: Some("receive buffers do not grow: every connection stays at tcp_rmem[1]"),
        ..PLAIN
    },
    Fact {
        key: "net.ipv4.tcp_window_scaling",
        mistakes: &["It is on by default."],
        lost_when_off: Some("no connection can have more than 64 KiB in flight"),
        ..PLAIN
    },
    Fact {
        key: "net.ipv4.tcp_timestamps",
        mistakes: &["Turning it off saves 12 bytes a segment and loses round trip times and PAWS."],
        lost_when_off: Some(
            "round trip times are measured worse, and old segments are told from new ones by nothing \
             on fast connections (PAWS)",
        ),
        ..PLAIN
    },
    Fact {
        key: "net.ipv4.tcp_sack",
        mistakes: &["Turning it off makes every loss of several segments slow to repair."],
        lost_when_off: Some("several losses in a window are repaired one a round trip"),
        ..PLAIN
    },
    Fact {
        key: "net.ipv4.tcp_syncookies",
        mistakes: &["It costs nothing until a listener's queue overflows."],
        lost_when_off: Some("a flood of connection requests keeps everybody else out"),
        ..PLAIN
    },
    Fact {
        key: "net.ipv4.tcp_mtu_probing",
        mistakes: &["1 acts only after a black hole was seen; 2 probes always."],
        ..PLAIN
    },
    Fact {
        key: "net.ipv4.tcp_adv_win_scale",
        mistakes: &["Since 6.6 the kernel measures a buffer's overhead itself."],
        no_effect_since: Some((6, 6)),
        ..PLAIN
    },
    Fact {
        key: "net.ipv4.tcp_low_latency",
        mistakes: &["The prequeue that it turned off is gone."],
        no_effect_since: Some((4, 14)),
        ..PLAIN
    },
    Fact {
        key: "net.ipv4.tcp_fack",
        mistakes: &["Forward acknowledgement was replaced by RACK."],
        no_effect_since: Some((4, 15)),
        ..PLAIN
    },
    Fact {
        key: "net.ipv4.ipfrag_low_thresh",
        mistakes: &["Only ipfrag_high_thresh counts."],
        no_effect_since: Some((4, 17)),
        ..PLAIN
    },
    Fact {
        key: "net.ipv4.route.max_size",
        mistakes: &["IPv4 has no route cache any more."],
        no_effect_since: Some((3, 6)),
        ..PLAIN
    },
    Fact {
        key: "net.ipv4.tcp_max_orphans",
        mistakes: &[
            "Fewer reset connections that their program has closed, with the last of their data under \
             way.",
        ],
        ..LIMIT
    },
    Fact {
        key: "net.ipv4.tcp_max_tw_buckets",
        mistakes: &[
            "Fewer do not save connections: those above are destroyed, and TIME_WAIT is lost.",
        ],
        ..LIMIT
    },
    Fact {
        key: "net.ipv4.tcp_max_syn_backlog",
        mistakes: &[
            "It is looked at only where tcp_syncookies is 0: else the number of listen(2), at most \
             somaxconn, bounds the requests.",
        ],
        ..LIMIT
    },
    Fact {
        key: "net.ipv4.ipfrag_high_thresh",
        mistakes: &["It is of each network namespace, and not less than ipfrag_low_thresh."],
        ..LIMIT
    },
    Fact {
        key: "net.ipv6.ip6frag_high_thresh",
        mistakes: &["It is of each network namespace, and not less than ip6frag_low_thresh."],
        ..LIMIT
    },
    Fact { key: "net.ipv4.neigh.default.gc_thresh1", mistakes: SHARED_TABLE, ..LIMIT },
    Fact { key: "net.ipv4.neigh.default.gc_thresh2", mistakes: SHARED_TABLE, ..LIMIT },
    Fact { key: "net.ipv4.neigh.default.gc_thresh3", mistakes: FULL_TABLE, ..LIMIT },
    Fact { key: "net.ipv6.neigh.default.gc_thresh1", mistakes: SHARED_TABLE, ..LIMIT },
    Fact { key: "net.ipv6.neigh.default.gc_thresh2", mistakes: SHARED_TABLE, ..LIMIT },
    Fact { key: "net.ipv6.neigh.default.gc_thresh3", mistakes: FULL_TABLE, ..LIMIT },
    Fact {
        key: "net.unix.max_dgram_qlen",
        mistakes: &["A socket takes it when it is made: those that are open keep theirs."],
        ..LIMIT
    },
    Fact {
        key: "net.ipv6.ip6frag_low_thresh",
        mistakes: &["Only ip6frag_high_thresh counts."],
        no_effect_since: Some((4, 17)),
        ..PLAIN
    },
    Fact {
        key: "net.ipv6.route.max_size",
        mistakes: &["Advice to raise it is for kernels before 6.3."],
        no_effect_since: Some((6, 3)),
        ..PLAIN
    },
    Fact {
        key: "net.core.rps_sock_flow_entries",
        mistakes: &[
            "It is rounded up to a power of two.",
            "Alone it does nothing: rps_flow_cnt of each receive queue has to be set too.",
        ],
        ..PLAIN
    },
    Fact {
        key: "net.core.flow_limit_table_len",
        mistakes: &[
            "Only powers of two are taken.",
            "Alone it does nothing: it is for CPUs of flow_limit_cpu_bitmap, and for tables made \
             afterwards.",
        ],
        ..PLAIN
    },
    Fact {
        key: "net.core.dev_weight",
        mistakes: &["It is the backlog's weight: a device's own NAPI has its driver's."],
        ..PLAIN
    },
    Fact { key: "net.ipv4.tcp_orphan_retries", mistakes: &["0 is not none: it means 8."], ..PLAIN },
    Fact {
        key: "net.tipc.tipc_rmem",
        mistakes: &["The documentation says that the first number is not used."],
        ..LIMIT
    },
    Fact {
        key: "net.sctp.sctp_mem",
        mistakes: &["It is in pages, not in bytes.", "It is of all SCTP sockets together."],
        ..LIMIT
    },
    Fact {
        key: "net.sctp.sctp_rmem",
        mistakes: &["The documentation says that only the first number is used."],
        ..LIMIT
    },
    Fact {
        key: "net.sctp.sctp_wmem",
        mistakes: &["The documentation says that only the first number is used."],
        ..LIMIT
    },
];

/// Spells numbers of a setting with their unit, and what that is in memory: `8388608 pages (32 GiB)`.
pub fn spelled(numbers: &[i128], unit: Unit, machine: &Machine) -> String {
    let plain: Vec<_> = numbers.iter().map(ToString::to_string).collect();
    let plain = plain.join(" ");
    let in_bytes = |scale: u64| {
        let sizes = numbers.iter().map(|number| size(number.saturating_mul(scale.into())));
        sizes.collect::<Vec<_>>().join(", ")
    };
    match unit {
        Unit::Bytes => format!("{plain} bytes ({})", in_bytes(1)),
        Unit::Pages => format!("{plain} pages ({})", in_bytes(machine.page_bytes)),
        Unit::Bool | Unit::Choice | Unit::Count | Unit::Text => plain,
        other => format!("{plain} {}", other.name()),
    }
}

/// Whether one of the three numbers is larger than one behind it, of the pairs that are not as in `kept`.
///
/// What a kernel boots with may descend itself: since 6.0 `tcp_wmem` begins with a page, so that with pages of
/// 64 KiB it is 65536 16384 4194304 (`tcp_init` in net/ipv4/tcp.c).
pub(super) fn descends<N: PartialOrd>(numbers: &[N], kept: &[N]) -> bool {
    [[0, 1], [1, 2], [0, 2]].into_iter().any(|[one, behind]| {
        let [new, old] = [numbers, kept].map(|all| all.get(one).zip(all.get(behind)));
        new != old && new.is_some_and(|(one, behind)| one > behind)
    })
}

/// Spells a number of bytes with one decimal, in the unit that makes it shortest.
pub fn size(bytes: i128) -> String {
    let units = [(50, "PiB"), (40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.iter().find(|(shift, _)| bytes >= 1 << shift);
    let Some(&(shift, name)) = unit else { return format!("{bytes} B") };
    let tenths = (bytes * 10 + (1 << (shift - 1))) >> shift;
    match tenths % 10 {
        0 => format!("{} {name}", tenths / 10),
        tenth => format!("{}.{tenth} {name}", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysctl::{Arity, Key};

    #[test]
    fn facts_are_of_settings_that_are_known_and_each_is_there_once() {
        for fact in FACTS {
            assert!(Key::named(fact.key).is_some(), "{}", fact.key);
            assert_eq!(FACTS.iter().filter(|other| other.key == fact.key).count(), 1);
            assert!(fact.mistakes.iter().all(|mistake| mistake.ends_with('.')), "{}", fact.key);
            let is_number = Key::named(fact.key).is_some_and(|key| key.arity != Arity::Text);
            assert!(is_number, "{}", fact.key);
        }
        assert!(NO_SETTINGS.iter().all(|(name, _)| Key::named(name).is_none()));
        assert!(READ_ONLY.iter().all(|name| Key::named(name).is_some()));
    }

    /// Has failed with: 0 taken.
    #[test]
    fn memory_of_compiled_programs_is_more_than_none_and_less_than_for_modules() {
        let bounds = Bounds::of("net.core.bpf_jit_limit");
        assert!(bounds.contains(1) && !bounds.contains(0));
        let file = "/proc/sys/net/core/bpf_jit_limit";
        let Ok(text) = std::fs::read_to_string(file) else { return };
        // It boots with half of them.
        let now: i128 = text.trim().parse().unwrap();
        assert!(bounds.contains(now), "{now}");
    }

    #[test]
    fn sizes_are_spelled() {
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(-1), "-1 B");
        assert_eq!(size(16 << 20), "16 MiB");
        assert_eq!(size(87_380), "85.3 KiB");
        let machine = Machine {
            free_buffer_pages: 1 << 20,
            page_bytes: 4096,
            kernel: (6, 18),
            tcp_hash_buckets: None,
            two_ticks_us: None,
        };
        assert_eq!(spelled(&[8_388_608], Unit::Pages, &machine), "8388608 pages (32 GiB)");
        assert_eq!(spelled(&[1, 2048], Unit::Bytes, &machine), "1 2048 bytes (1 B, 2 KiB)");
        assert_eq!(spelled(&[1], Unit::Bool, &machine), "1");
    }
}
