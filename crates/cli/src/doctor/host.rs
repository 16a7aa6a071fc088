//! Checks of the host: facts in, lines out.

use netmem_host::source::SourceState;

use super::{HostCheck, Line, facts::Host, memory, probe::Sent};
use crate::report::bytes;

/// All checks, in the order that they are shown in.
pub(super) static CHECKS: &[HostCheck] = &[
    kernel,
    privileges,
    memory::memlock,
    memory::huge_pages,
    memory::fragmentation,
    memory::transparent_huge_pages,
    af_xdp,
    jit,
    diagnosis,
    zerocopy,
    io_uring,
    ktls,
    page_pools,
    tracepoints,
    memory::iommu,
    memory::bounce,
    protocol_memory,
    socket_buffers,
    tcp_receive,
    polling,
];

/// The oldest kernel that the library is for.
const OLDEST: (u32, u32) = (5, 15);
/// What an unread notification of MSG_ZEROCOPY counts against optmem_max, measured on kernel 6.18.
const NOTIFICATION_BYTES: u64 = 832;
/// Bits of capabilities, from include/uapi/linux/capability.h.
const NEEDED: [(u32, &str); 3] = [(12, "CAP_NET_ADMIN"), (13, "CAP_NET_RAW"), (39, "CAP_BPF")];
/// Stands for CAP_BPF, too.
const CAP_SYS_ADMIN: u32 = 21;
/// Since this kernel TCP's receive buffers grow to 32 MiB, before to 6 MiB.
const LARGER_TCP_RMEM: (u32, u32) = (6, 16);

fn kernel(host: &Host) -> Vec<Line> {
    let release = match &host.release {
        Ok(release) => release,
        Err(why) => return vec![Line::unknown("kernel", "which kernel runs", why)],
    };
    vec![match version(release) {
        Some(version) if version >= OLDEST => {
            Line::ok("kernel", "new enough for AF_XDP with every fallback", release)
        }
        Some(_) => Line::finding("kernel", "older than netmem is for", release)
            .fix("a kernel of 5.15 or later"),
        None => Line::note("kernel", "a release that is not understood", release),
    }]
}

fn privileges(host: &Host) -> Vec<Line> {
    let bits = match &host.capabilities {
        Ok(bits) => *bits,
        Err(why) => return vec![Line::unknown("privileges", "what this process may do", why)],
    };
    let has = |bit: u32| bits & (1 << bit) != 0;
    let stands_in = |name: &str| name == "CAP_BPF" && has(CAP_SYS_ADMIN);
    let is_missing = |&&(bit, name): &&(u32, &str)| !(has(bit) || stands_in(name));
    let missing: Vec<_> = NEEDED.iter().filter(is_missing).map(|(_, name)| *name).collect();
    let evidence = format!("CapEff {bits:016x}");
    vec![if missing.is_empty() {
        Line::ok("privileges", "this process may set up AF_XDP ports", evidence)
    } else {
        let what =
            format!("this process cannot set up AF_XDP ports without {}", missing.join(", "));
        Line::finding("privileges", what, evidence)
            .fix("run as root; the workers of respond and forward give everything up again")
    }]
}

fn af_xdp(host: &Host) -> Vec<Line> {
    vec![match &host.xdp_socket {
        Ok(()) => Line::ok("af_xdp", "an AF_XDP socket can be opened", "socket(AF_XDP); not bound"),
        Err(why) if why.state == SourceState::Denied => {
            Line::unknown("af_xdp", "whether this kernel has AF_XDP", why)
        }
        Err(why) => Line::finding("af_xdp", "this kernel has no AF_XDP", why.to_string())
            .fix("a kernel with CONFIG_XDP_SOCKETS"),
    }]
}

fn jit(host: &Host) -> Vec<Line> {
    vec![match sysctl(host, "net.core.bpf_jit_enable") {
        Err(why) => Line::unknown_aside("bpf jit", "whether XDP programs are compiled", why),
        Ok("0") => {
            Line::finding("bpf jit", "XDP programs are interpreted", "net.core.bpf_jit_enable 0")
                .fix("sysctl net.core.bpf_jit_enable=1")
        }
        Ok(value) => {
            let evidence = format!("net.core.bpf_jit_enable {value}");
            Line::ok("bpf jit", "XDP programs run as machine code", evidence)
        }
    }]
}

fn diagnosis(host: &Host) -> Vec<Line> {
    vec![match &host.xdp_sockets {
        Ok(count) => Line::ok(
            "xdp diag",
            "the kernel shows AF_XDP sockets of other processes",
            format!("{count} sockets here"),
        ),
        Err(why) if why.state == SourceState::Denied => {
            Line::unknown("xdp diag", "which AF_XDP sockets there are", why)
        }
        Err(why) => {
            let what =
                "the kernel does not show rings and counters of other processes' AF_XDP sockets";
            Line::note("xdp diag", what, why.to_string())
                .fix("a kernel with CONFIG_XDP_SOCKETS_DIAG, or the module xsk_diag")
        }
    }]
}

fn zerocopy(host: &Host) -> Vec<Line> {
    let mut lines = vec![match &host.zerocopy {
        Ok(Sent::Copied) => Line::ok(
            "msg_zerocopy",
            "sends and notifications work; loopback copied, as it always does: that proves the path, not \
             that a device sends without a copy",
            "TCP over 127.0.0.1: SO_EE_CODE_ZEROCOPY_COPIED",
        ),
        Ok(Sent::Referred) => Line::note(
            "msg_zerocopy",
            "sends and notifications work, and loopback says that it did not copy, which no known kernel \
             does",
            "TCP over 127.0.0.1: code 0",
        ),
        Err(why) => Line::unknown("msg_zerocopy", "whether zero-copy sends work", why),
    }];
    if let Ok(value) = sysctl(host, "net.core.optmem_max")
        && let Ok(limit) = value.parse::<u64>()
    {
        let count = limit / NOTIFICATION_BYTES;
        let what = format!("about {count} sends may wait for their notification in a socket");
        let evidence = format!("net.core.optmem_max {limit}");
        lines.push(if count >= 64 {
            Line::ok("optmem_max", what, evidence)
        } else {
            Line::finding("optmem_max", what, evidence).fix("sysctl net.core.optmem_max=131072")
        });
    }
    lines
}

fn io_uring(host: &Host) -> Vec<Line> {
    vec![match &host.io_uring {
        Ok(uring) if uring.has_send_zc => {
            Line::ok("io_uring", "works, with zero-copy sends", "IORING_OP_SEND_ZC is there")
        }
        Ok(_) => Line::note("io_uring", "works, without zero-copy sends", "no IORING_OP_SEND_ZC")
            .fix("a kernel of 6.0 or later"),
        Err(why) => match sysctl(host, "kernel.io_uring_disabled") {
            Ok(value @ ("1" | "2")) => {
                let evidence = format!("kernel.io_uring_disabled {value}");
                Line::note("io_uring", "turned off by policy; netmem does not need it", evidence)
                    .fix("sysctl kernel.io_uring_disabled=0, if a program wants it")
            }
            _ if why.state == SourceState::Denied => {
                Line::unknown_aside("io_uring", "whether it works", why)
            }
            _ => Line::note(
                "io_uring",
                "this kernel has none; netmem does not need it",
                why.to_string(),
            ),
        },
    }]
}

fn ktls(host: &Host) -> Vec<Line> {
    let option = host.options.get("CONFIG_TLS");
    vec![match sysctl(host, "net.ipv4.tcp_available_ulp") {
        Ok(list) if list.split_whitespace().any(|word| word == "tls") => {
            let evidence = format!("net.ipv4.tcp_available_ulp: {list}");
            Line::ok("ktls", "TLS records can be made in the kernel, in software", evidence)
        }
        Ok(_) => match option {
            Some(Ok(value)) if value == "m" => {
                Line::note("ktls", "the module tls is not loaded", "CONFIG_TLS=m")
                    .fix("modprobe tls")
            }
            Some(Ok(value)) => {
                let evidence = format!("no tls in net.ipv4.tcp_available_ulp; CONFIG_TLS {value}");
                Line::note("ktls", "this kernel has no kTLS", evidence)
                    .fix("a kernel with CONFIG_TLS")
            }
            Some(Err(why)) => Line::unknown_aside("ktls", "not loaded; whether it could be", why),
            None => Line::note("ktls", "not loaded", "no tls in net.ipv4.tcp_available_ulp"),
        },
        Err(why) => Line::unknown_aside("ktls", "whether this kernel has it", why),
    }]
}

fn page_pools(host: &Host) -> Vec<Line> {
    vec![match host.options.get("CONFIG_PAGE_POOL_STATS") {
        Some(Ok(value)) if value == "y" => Line::ok(
            "page pools",
            "the kernel counts what page pools do",
            "CONFIG_PAGE_POOL_STATS=y",
        ),
        Some(Ok(value)) => {
            let evidence = format!("CONFIG_PAGE_POOL_STATS {value}");
            Line::note("page pools", "the kernel does not count what page pools do", evidence)
                .fix("a kernel with CONFIG_PAGE_POOL_STATS; tracepoints page_pool:* meanwhile")
        }
        Some(Err(why)) => Line::unknown_aside("page pools", "whether they are counted", why),
        None => return Vec::new(),
    }]
}

fn tracepoints(host: &Host) -> Vec<Line> {
    let missing = |state| {
        let all = host.tracepoints.iter();
        let of_state = all.filter(move |(_, reading)| SourceState::of(reading) == state);
        of_state.map(|(name, _)| name.replace('/', ":")).collect::<Vec<_>>()
    };
    if let Some(Err(why)) =
        host.tracepoints.values().find(|r| SourceState::of(r) == SourceState::Denied)
    {
        return vec![Line::unknown("tracepoints", "which events can be traced", why)];
    }
    let absent = missing(SourceState::Absent);
    vec![match host.tracepoints.values().find_map(|reading| reading.as_ref().err()) {
        None => Line::ok(
            "tracepoints",
            "drops, page pools and buffer limits can be traced",
            missing(SourceState::Ok).join(", "),
        ),
        Some(why) if absent.len() == host.tracepoints.len() => {
            Line::note("tracepoints", "no event can be traced", why.to_string()).fix(
                "mount -t tracefs tracefs /sys/kernel/tracing, or a kernel with CONFIG_TRACEPOINTS",
            )
        }
        Some(_) => Line::note(
            "tracepoints",
            "not all events are there",
            format!("no {}", absent.join(", ")),
        ),
    }]
}

/// Limits of protocols: a triple of pages that someone took for bytes is larger than the memory.
fn protocol_memory(host: &Host) -> Vec<Line> {
    let mut lines = Vec::new();
    for name in ["net.ipv4.tcp_mem", "net.ipv4.udp_mem"] {
        let value = match sysctl(host, name) {
            Ok(value) => value,
            // These are not there in a network namespace of its own.
            Err(why) if why.state == SourceState::Absent => {
                lines.push(Line::note(
                    "limits",
                    "they are the whole machine's, and do not show here",
                    name,
                ));
                continue;
            }
            Err(why) => {
                lines.push(Line::unknown("limits", name, why));
                continue;
            }
        };
        let evidence = format!("{name} {value}, in pages");
        let numbers: Option<Vec<u64>> = value.split_whitespace().map(|n| n.parse().ok()).collect();
        let Some([low, pressure, high]) = numbers.as_deref() else {
            lines.push(Line::note("limits", "not in the form that is known", evidence));
            continue;
        };
        let memory_pages = host.memory_bytes.as_ref().map(|bytes| bytes / host.page_bytes);
        lines.push(if !(low <= pressure && pressure <= high) {
            Line::finding("limits", "the three limits do not ascend", evidence)
                .fix(format!("set {name} to three ascending numbers of pages"))
        } else if memory_pages.is_ok_and(|pages| *high > pages / 2) {
            let what = "the limit is more than half of the memory: sockets may take it all";
            Line::finding("limits", what, evidence)
                .fix(format!("{name} counts pages, not bytes: set back the numbers from boot"))
        } else {
            Line::ok("limits", "the three limits ascend and leave memory to others", evidence)
        });
    }
    lines
}

fn socket_buffers(host: &Host) -> Vec<Line> {
    let mut lines = Vec::new();
    for name in ["net.core.rmem_max", "net.core.wmem_max"] {
        let Ok(value) = sysctl(host, name) else { continue };
        let Ok(limit) = value.parse::<u64>() else { continue };
        let evidence = format!("{name} {limit}");
        lines.push(if limit < 212_992 {
            Line::finding(
                "buffers",
                "programs may ask for less than the kernel's first default",
                evidence,
            )
            .fix(format!("sysctl {name}=212992 or more"))
        } else {
            Line::ok("buffers", format!("a program may ask for {}", bytes(limit)), evidence)
        });
    }
    lines
}

fn tcp_receive(host: &Host) -> Vec<Line> {
    let mut lines = Vec::new();
    for (name, what) in [
        ("net.ipv4.tcp_window_scaling", "TCP windows are held to 64 KiB"),
        ("net.ipv4.tcp_moderate_rcvbuf", "TCP receive buffers do not grow by themselves"),
    ] {
        if sysctl(host, name) == Ok("0") {
            let line = Line::finding("tcp", what, format!("{name} 0"));
            lines.push(line.fix(format!("sysctl {name}=1")));
        }
    }
    let largest = sysctl(host, "net.ipv4.tcp_rmem").ok().and_then(|value| {
        value.split_whitespace().nth(2).and_then(|largest| largest.parse::<u64>().ok())
    });
    let version = host.release.as_ref().ok().and_then(|release| version(release));
    let (Some(largest), Some(version), Ok(memory)) = (largest, version, &host.memory_bytes) else {
        return lines;
    };
    let cap: u64 = if version >= LARGER_TCP_RMEM { 32 << 20 } else { 6 << 20 };
    // The kernel takes 1/128 of the memory that was free at boot; what it used itself is left out here.
    let default = cap.min(memory / 160);
    let evidence = format!("net.ipv4.tcp_rmem, largest {}", bytes(largest));
    lines.push(if largest < default {
        let what =
            format!("TCP receive buffers grow less far than this kernel's own {}", bytes(default));
        Line::finding("tcp", what, evidence)
            .fix(format!("set the third number of net.ipv4.tcp_rmem to {default} or more"))
    } else {
        Line::ok("tcp", "receive buffers grow as far as this kernel lets them by default", evidence)
    });
    lines
}

fn polling(host: &Host) -> Vec<Line> {
    let mut lines = Vec::new();
    if let (Ok(budget), Ok(usecs)) =
        (sysctl(host, "net.core.netdev_budget"), sysctl(host, "net.core.netdev_budget_usecs"))
        && let (Ok(packets), Ok(time)) = (budget.parse::<u64>(), usecs.parse::<u64>())
    {
        let evidence = format!("net.core.netdev_budget {packets}, netdev_budget_usecs {time}");
        lines.push(if packets == 0 || time == 0 {
            Line::finding("softirq", "a softirq may receive nothing at a time", evidence)
                .fix("sysctl net.core.netdev_budget=300 net.core.netdev_budget_usecs=8000")
        } else {
            Line::ok("softirq", "packets and time of one softirq are bounded", evidence)
        });
    }
    if let Ok(value) = sysctl(host, "net.core.busy_poll") {
        let evidence = format!("net.core.busy_poll {value} us");
        let what =
            "AF_XDP ports ask for busy polling and need_wakeup per socket, whatever is set here";
        lines.push(Line::note("busy poll", what, evidence));
    }
    lines
}

fn sysctl<'h>(host: &'h Host, name: &str) -> Result<&'h str, &'h netmem_host::source::Unavailable> {
    host.sysctls[name].as_ref().map(String::as_str)
}

/// `6.18.44-x` is (6, 18).
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
