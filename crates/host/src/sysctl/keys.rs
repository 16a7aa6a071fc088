//! The settings that concern network memory: those of the kernel's documentation, and a few that only its
//! source has.
//!
//! Each with its unit, because that is where settings go wrong: `tcp_mem` and `udp_mem` are in pages,
//! `tcp_rmem` and `rmem_max` in bytes, the backlog in packets. `udp_rmem_min` is one number, `tcp_rmem`
//! three; the kernel takes the first of three for one and says nothing.
//! Scopes are those of kernel 6.18; [`scopes`](super::scopes) asks the one that runs.

use super::Arity::{Scalar, Text, Triple};
use super::Unit::{Bool, Bytes, Choice, Count, Microseconds, Packets, Pages, Seconds};
use super::defaults::{
    half_of_tcp_hash, mem_pcpu_rsv, netdev_budget_usecs, number, optmem_max, page, route_max_size,
    skb_defer_max, socket_default, socket_max, tcp_limit_output_bytes, tcp_max_syn_backlog,
    tcp_mem, tcp_rmem, tcp_wmem, udp_mem, unknown,
};
use super::{Key, Unit};
use crate::proc::Scope::{Global, Namespace};

const IP_SYSCTL: &str = "Documentation/networking/ip-sysctl.rst";
const NET_SYSCTL: &str = "Documentation/admin-guide/sysctl/net.rst";
const SCALING: &str = "Documentation/networking/scaling.rst";

/// Makes the table: name, form, unit, scope and citation; the default and its rule; the meaning.
macro_rules! keys {
    ($($name:literal $arity:ident $unit:path, $scope:ident $citation:tt
        default ($default:expr) $rule:literal
        $meaning:literal)*) => {
        /// All of them, those of one folder together.
        pub const KEYS: &[Key] = &[$(Key {
            name: $name,
            arity: $arity,
            unit: $unit,
            scope: $scope,
            meaning: $meaning,
            default_rule: $rule,
            citation: $citation,
            default: $default,
        }),*];
    };
}

keys! {
    "net.core.rmem_default" Scalar Bytes, Global NET_SYSCTL
        default (socket_default) "truesize of 256 packets of 256 bytes: 212992 with cache lines of 64 bytes"
        "Receive buffer that a socket begins with; TCP begins with tcp_rmem instead."
    "net.core.rmem_max" Scalar Bytes, Global NET_SYSCTL
        default (socket_max) "4194304 since 6.18, before that rmem_default"
        "Most that SO_RCVBUF can ask for, before the kernel doubles it; it does not bound TCP's \
            own growth."
    "net.core.wmem_default" Scalar Bytes, Global NET_SYSCTL
        default (socket_default) "truesize of 256 packets of 256 bytes: 212992 with cache lines of 64 bytes"
        "Send buffer that a socket begins with; TCP begins with tcp_wmem instead."
    "net.core.wmem_max" Scalar Bytes, Global NET_SYSCTL
        default (socket_max) "4194304 since 6.18, before that wmem_default"
        "Most that SO_SNDBUF can ask for, before the kernel doubles it."
    "net.core.optmem_max" Scalar Bytes, Namespace NET_SYSCTL
        default (optmem_max) "131072 since 6.8, before that 20480; global before 6.8"
        "Most ancillary memory of a socket: options, filters, and notifications of MSG_ZEROCOPY \
            that wait."
    "net.core.mem_pcpu_rsv" Scalar Pages, Global NET_SYSCTL
        default (mem_pcpu_rsv) "1 MiB; since 6.7, before that fixed"
        "Charged memory that each CPU holds back from a protocol's sum: how far off that sum may \
            be."
    "net.core.netdev_max_backlog" Scalar Packets, Global NET_SYSCTL
        default (|_| number(1000)) "1000"
        "Most packets in a CPU's backlog, which RPS, loopback and tunnels use; a packet above is \
            dropped."
    "net.core.netdev_budget" Scalar Packets, Global NET_SYSCTL
        default (|_| number(300)) "300"
        "Most packets that a CPU takes in one round of polling all its devices."
    "net.core.netdev_budget_usecs" Scalar Microseconds, Global NET_SYSCTL
        default (netdev_budget_usecs) "two ticks of the kernel's clock: 8000 at 250 Hz, 2000 at 1000 Hz"
        "Most time of one round of polling; it ends the round whatever is left of netdev_budget."
    "net.core.dev_weight" Scalar Packets, Global NET_SYSCTL
        default (|_| number(64)) "64"
        "Most packets that the backlog gives in one poll."
    "net.core.dev_weight_rx_bias" Scalar Count, Global NET_SYSCTL
        default (|_| number(1)) "1"
        "What dev_weight is multiplied by for received packets."
    "net.core.dev_weight_tx_bias" Scalar Count, Global NET_SYSCTL
        default (|_| number(1)) "1"
        "What dev_weight is multiplied by for packets to be sent."
    "net.core.busy_poll" Scalar Microseconds, Global NET_SYSCTL
        default (|_| number(0)) "0, off"
        "How long poll and select poll the device themselves, for sockets that ask for it; uses \
            power."
    "net.core.busy_read" Scalar Microseconds, Global NET_SYSCTL
        default (|_| number(0)) "0, off"
        "How long a socket's read polls the device itself, unless SO_BUSY_POLL says otherwise; \
            uses power."
    "net.core.skb_defer_max" Scalar Packets, Global NET_SYSCTL
        default (skb_defer_max) "128 since 6.19, before that 64"
        "Packets that a CPU holds for the one that allocated them to free."
    "net.core.max_skb_frags" Scalar Count, Global "net/core/sysctl_net_core.c"
        default (unknown) "17, or as the kernel was built"
        "Most page fragments of a packet that TCP builds."
    "net.core.gro_normal_batch" Scalar Packets, Global NET_SYSCTL
        default (|_| number(8)) "8"
        "Packets that GRO collects before it hands them to the stack."
    "net.core.high_order_alloc_disable" Scalar Bool, Global NET_SYSCTL
        default (|_| number(0)) "0"
        "Whether page fragments are cut from single pages, not from blocks of order 3."
    "net.core.somaxconn" Scalar Count, Namespace IP_SYSCTL
        default (|_| number(4096)) "4096"
        "Most connections that wait at a listener to be accepted."
    "net.core.flow_limit_table_len" Scalar Count, Global SCALING
        default (|_| number(4096)) "4096"
        "Buckets by which a full backlog tells large flows from small ones."
    "net.core.rps_sock_flow_entries" Scalar Count, Global SCALING
        default (|_| number(0)) "0, off"
        "Flows that RFS remembers the reading CPU of."
    "net.core.bpf_jit_limit" Scalar Bytes, Global NET_SYSCTL
        default (unknown) "half of the memory for modules"
        "Most memory of compiled BPF programs, XDP programs among them, for users without \
            privileges."
    "net.ipv4.tcp_mem" Triple Pages, Global IP_SYSCTL
        default (tcp_mem) "free buffer pages / 16 in the ratio 3:4:6"
        "Memory of all TCP sockets: under the first number pressure ends, above the second it \
            begins, above the third memory is refused."
    "net.ipv4.tcp_rmem" Triple Bytes, Namespace IP_SYSCTL
        default (tcp_rmem) "a page, 131072, a 128th of free buffer memory up to 32 MiB (6 MiB before 6.16)"
        "Receive buffer of a TCP socket: what it has even under pressure, what it begins with, \
            what it grows to by itself."
    "net.ipv4.tcp_wmem" Triple Bytes, Namespace IP_SYSCTL
        default (tcp_wmem) "a page, 16384, a 128th of free buffer memory up to 4 MiB"
        "Send buffer of a TCP socket: what it has even under pressure, what it begins with, what \
            it grows to by itself."
    "net.ipv4.udp_mem" Triple Pages, Global IP_SYSCTL
        default (udp_mem) "free buffer pages / 8 in the ratio 3:4:6"
        "Memory of all UDP sockets: above the first number none gets more than udp_rmem_min, above \
            the third not even that, and datagrams are dropped. UDP has no pressure state."
    "net.ipv4.udp_rmem_min" Scalar Bytes, Namespace IP_SYSCTL
        default (page) "a page"
        "Receive memory that a UDP socket has even when all together are above udp_mem[0]."
    "net.ipv4.udp_wmem_min" Scalar Bytes, Namespace IP_SYSCTL
        default (page) "a page"
        "Nothing: UDP accounts no send memory, and the setting has no effect."
    "net.ipv4.tcp_notsent_lowat" Scalar Bytes, Namespace IP_SYSCTL
        default (|_| number(4_294_967_295)) "4294967295, off"
        "Unsent bytes in a TCP write queue from which poll no longer says that it can be written \
            to."
    "net.ipv4.tcp_limit_output_bytes" Scalar Bytes, Namespace IP_SYSCTL
        default (tcp_limit_output_bytes) "4194304 since 6.16, before that 1048576"
        "Bytes of a TCP socket that may be in queueing disciplines and devices at a time."
    "net.ipv4.tcp_moderate_rcvbuf" Scalar Bool, Namespace IP_SYSCTL
        default (|_| number(1)) "1"
        "Whether TCP grows receive buffers by itself, up to tcp_rmem, where SO_RCVBUF was not set."
    "net.ipv4.tcp_window_scaling" Scalar Bool, Namespace IP_SYSCTL
        default (|_| number(1)) "1"
        "Whether TCP windows may be larger than 64 KiB."
    "net.ipv4.tcp_adv_win_scale" Scalar Count, Namespace IP_SYSCTL
        default (|_| number(1)) "1"
        "Nothing since 6.6; before that the share of a receive buffer that is overhead."
    "net.ipv4.tcp_app_win" Scalar Count, Namespace IP_SYSCTL
        default (|_| number(31)) "31"
        "Share of the window that is kept for the program's own buffer, as a power of two; 0 \
            keeps none."
    "net.ipv4.tcp_shrink_window" Scalar Bool, Namespace IP_SYSCTL
        default (|_| number(0)) "0"
        "Whether TCP may take back a window that it gave, to stay within its receive buffer."
    "net.ipv4.tcp_mtu_probing" Scalar Choice, Namespace IP_SYSCTL
        default (|_| number(0)) "0"
        "Whether TCP finds out the path's MTU by probing: 0 never, 1 after a black hole was seen, \
            2 always."
    "net.ipv4.tcp_max_orphans" Scalar Count, Global IP_SYSCTL
        default (half_of_tcp_hash) "half of the buckets of the TCP hash"
        "Most TCP sockets that no process holds; one above is reset. Each may hold 64 KiB."
    "net.ipv4.tcp_orphan_retries" Scalar Count, Namespace IP_SYSCTL
        default (|_| number(0)) "0"
        "Retransmissions before a TCP socket that no process holds is given up; 0 means 8."
    "net.ipv4.tcp_max_tw_buckets" Scalar Count, Namespace IP_SYSCTL
        default (half_of_tcp_hash) "half of the buckets of the TCP hash"
        "Most TCP sockets in TIME_WAIT; one above is destroyed at once."
    "net.ipv4.tcp_max_syn_backlog" Scalar Count, Namespace IP_SYSCTL
        default (tcp_max_syn_backlog) "a 128th of the buckets of the TCP hash, at least 128"
        "Most connection requests that a listener remembers, of some 300 bytes each."
    "net.ipv4.tcp_syncookies" Scalar Choice, Namespace IP_SYSCTL
        default (|_| number(1)) "1"
        "What happens when a listener's requests overflow: 0 dropped, 1 answered with cookies, 2 \
            always cookies."
    "net.ipv4.tcp_autocorking" Scalar Bool, Namespace IP_SYSCTL
        default (|_| number(1)) "1"
        "Whether small writes are collected while an earlier packet of the flow waits to be sent."
    "net.ipv4.tcp_min_tso_segs" Scalar Packets, Namespace IP_SYSCTL
        default (|_| number(2)) "2"
        "Least segments of a TSO packet."
    "net.ipv4.tcp_tso_win_divisor" Scalar Count, Namespace IP_SYSCTL
        default (|_| number(3)) "3"
        "Share of the congestion window that one TSO packet may take, as its divisor."
    "net.ipv4.tcp_backlog_ack_defer" Scalar Bool, Namespace IP_SYSCTL
        default (|_| number(1)) "1"
        "Whether working off a socket's backlog sends one acknowledgement for all of it."
    "net.ipv4.tcp_timestamps" Scalar Choice, Namespace IP_SYSCTL
        default (|_| number(1)) "1"
        "Whether TCP sends timestamps: 0 no, 1 with a random offset, 2 without."
    "net.ipv4.tcp_sack" Scalar Bool, Namespace IP_SYSCTL
        default (|_| number(1)) "1"
        "Whether TCP acknowledges selectively."
    "net.ipv4.tcp_low_latency" Scalar Bool, Global IP_SYSCTL
        default (|_| number(0)) "0"
        "Nothing: it is left over, and has no effect."
    "net.ipv4.tcp_fack" Scalar Bool, Namespace IP_SYSCTL
        default (|_| number(0)) "0"
        "Nothing: it is left over, and has no effect."
    "net.ipv4.tcp_congestion_control" Text Unit::Text, Namespace IP_SYSCTL
        default (unknown) "as the kernel was built"
        "Congestion control of new TCP connections: how much is in flight, and so in send buffers."
    "net.ipv4.tcp_ehash_entries" Scalar Count, Namespace IP_SYSCTL
        default (unknown) "by the size of memory"
        "Buckets of the TCP hash, to read only; negative: they are the initial namespace's."
    "net.ipv4.tcp_child_ehash_entries" Scalar Count, Namespace IP_SYSCTL
        default (|_| number(0)) "0"
        "Buckets of the TCP hash of namespaces made from this one; 0: they share."
    "net.ipv4.udp_hash_entries" Scalar Count, Namespace IP_SYSCTL
        default (unknown) "by the size of memory"
        "Buckets of the UDP hash, to read only; negative: they are the initial namespace's."
    "net.ipv4.udp_child_hash_entries" Scalar Count, Namespace IP_SYSCTL
        default (|_| number(0)) "0"
        "Buckets of the UDP hash of namespaces made from this one; 0: they share."
    "net.ipv4.ipfrag_high_thresh" Scalar Bytes, Namespace IP_SYSCTL
        default (|_| number(4 << 20)) "4194304"
        "Most memory of IPv4 fragments that wait for the rest."
    "net.ipv4.ipfrag_low_thresh" Scalar Bytes, Namespace IP_SYSCTL
        default (|_| number(3 << 20)) "3145728"
        "Nothing since 4.17; before that where throwing fragments away ended."
    "net.ipv4.ipfrag_time" Scalar Seconds, Namespace IP_SYSCTL
        default (|_| number(30)) "30"
        "How long an IPv4 fragment waits for the rest."
    "net.ipv4.ipfrag_max_dist" Scalar Packets, Namespace IP_SYSCTL
        default (|_| number(64)) "64"
        "Fragments of other datagrams of a source after which those of one are given up; 0: never."
    "net.ipv4.inet_peer_threshold" Scalar Count, Global IP_SYSCTL
        default (unknown) "by the size of memory, 65664 at most"
        "Addresses remembered before they are thrown away early."
    "net.ipv4.fib_sync_mem" Scalar Bytes, Global IP_SYSCTL
        default (|_| number(512 << 10)) "524288"
        "Freed memory of routes that may wait before the kernel waits for its readers."
    "net.ipv4.route.max_size" Scalar Count, Global IP_SYSCTL
        default (|_| number(i32::MAX.into())) "2147483647"
        "Nothing since 3.6: IPv4 has no route cache."
    "net.ipv4.neigh.default.gc_thresh1" Scalar Count, Global IP_SYSCTL
        default (|_| number(128)) "128"
        "Neighbour entries under which none is thrown away."
    "net.ipv4.neigh.default.gc_thresh2" Scalar Count, Global IP_SYSCTL
        default (|_| number(512)) "512"
        "Neighbour entries above which those older than five seconds are thrown away."
    "net.ipv4.neigh.default.gc_thresh3" Scalar Count, Global IP_SYSCTL
        default (|_| number(1024)) "1024"
        "Most neighbour entries that are not permanent."
    "net.ipv4.neigh.default.unres_qlen_bytes" Scalar Bytes, Global IP_SYSCTL
        default (socket_default) "as net.core.wmem_default"
        "Most memory of packets that wait for a neighbour's hardware address, for each neighbour."
    "net.ipv4.neigh.default.unres_qlen" Scalar Packets, Global IP_SYSCTL
        default (|_| number(101)) "101, from unres_qlen_bytes"
        "The same as a number of packets, from before 3.3."
    "net.ipv4.igmp_max_memberships" Scalar Count, Namespace IP_SYSCTL
        default (|_| number(20)) "20"
        "Most multicast groups that a socket can join."
    "net.ipv4.igmp_max_msf" Scalar Count, Namespace IP_SYSCTL
        default (|_| number(10)) "10"
        "Most sources of a group that a socket can name."
    "net.ipv6.ip6frag_high_thresh" Scalar Bytes, Namespace IP_SYSCTL
        default (|_| number(4 << 20)) "4194304"
        "Most memory of IPv6 fragments that wait for the rest."
    "net.ipv6.ip6frag_low_thresh" Scalar Bytes, Namespace IP_SYSCTL
        default (|_| number(3 << 20)) "3145728"
        "Nothing since 4.17; before that where throwing fragments away ended."
    "net.ipv6.ip6frag_time" Scalar Seconds, Namespace IP_SYSCTL
        default (|_| number(60)) "60"
        "How long an IPv6 fragment waits for the rest."
    "net.ipv6.route.max_size" Scalar Count, Namespace IP_SYSCTL
        default (route_max_size) "2147483647 since 6.3, before that 4096"
        "Nothing since 6.3; before that the most IPv6 routes in use."
    "net.ipv6.neigh.default.gc_thresh1" Scalar Count, Global IP_SYSCTL
        default (|_| number(128)) "128"
        "Neighbour entries under which none is thrown away."
    "net.ipv6.neigh.default.gc_thresh2" Scalar Count, Global IP_SYSCTL
        default (|_| number(512)) "512"
        "Neighbour entries above which those older than five seconds are thrown away."
    "net.ipv6.neigh.default.gc_thresh3" Scalar Count, Global IP_SYSCTL
        default (|_| number(1024)) "1024"
        "Most neighbour entries that are not permanent."
    "net.ipv6.neigh.default.unres_qlen_bytes" Scalar Bytes, Global IP_SYSCTL
        default (socket_default) "as net.core.wmem_default"
        "Most memory of packets that wait for a neighbour's hardware address, for each neighbour."
    "net.ipv6.neigh.default.unres_qlen" Scalar Packets, Global IP_SYSCTL
        default (|_| number(101)) "101, from unres_qlen_bytes"
        "The same as a number of packets, from before 3.3."
    "net.sctp.sctp_mem" Triple Pages, Global IP_SYSCTL
        default (unknown) "by the size of memory, in the ratio 3:4:6"
        "Memory of all SCTP sockets: under the first number pressure ends, above the second it \
            begins, above the third memory is refused."
    "net.sctp.sctp_rmem" Triple Bytes, Global IP_SYSCTL
        default (unknown) "by the size of memory"
        "Receive buffer of an SCTP socket: what it has even under pressure, and two more numbers."
    "net.sctp.sctp_wmem" Triple Bytes, Global IP_SYSCTL
        default (unknown) "by the size of memory"
        "Send buffer of an SCTP socket: what it has even under pressure, and two more numbers."
    "net.tipc.tipc_rmem" Triple Bytes, Global NET_SYSCTL
        default (unknown) "4252725 34021800 68043600"
        "Receive buffer of a TIPC socket: the second number is what it begins with."
    "net.unix.max_dgram_qlen" Scalar Packets, Namespace IP_SYSCTL
        default (|_| number(10)) "10"
        "Most datagrams that wait at a Unix socket."
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{Machine, Value, read, scopes};
    use super::*;
    use crate::source::Root;

    #[test]
    fn each_setting_is_there_once_and_says_what_it_is() {
        let names: BTreeSet<_> = KEYS.iter().map(|key| key.name).collect();
        assert_eq!(names.len(), KEYS.len());
        for key in KEYS {
            assert!(key.name.starts_with("net."), "{}", key.name);
            assert!(key.meaning.ends_with('.') && !key.default_rule.is_empty(), "{}", key.name);
            assert_eq!(key.arity == Text, key.unit == Unit::Text, "{}", key.name);
        }
    }

    #[test]
    fn what_tuning_scripts_set_is_known() {
        for name in [
            "core.rmem_default",
            "core.rmem_max",
            "core.wmem_default",
            "core.wmem_max",
            "ipv4.tcp_rmem",
            "ipv4.tcp_wmem",
            "ipv4.tcp_mem",
            "ipv4.udp_rmem_min",
            "ipv4.udp_wmem_min",
            "ipv4.udp_mem",
            "core.netdev_max_backlog",
            "core.netdev_budget",
            "ipv4.tcp_window_scaling",
            "ipv4.tcp_moderate_rcvbuf",
            "core.optmem_max",
            "core.netdev_budget_usecs",
            "core.busy_poll",
            "core.busy_read",
            "ipv4.tcp_notsent_lowat",
            "ipv4.tcp_mtu_probing",
        ] {
            assert!(Key::named(&format!("net.{name}")).is_some(), "{name}");
        }
        assert!(Key::named("net.core.xdp").is_none(), "there is no such setting");
    }

    #[test]
    fn a_default_has_the_form_of_the_setting() {
        let machine = Machine {
            free_buffer_pages: 1 << 20,
            page_bytes: 4096,
            kernel: (6, 18),
            tcp_hash_buckets: Some(1 << 16),
            two_ticks_us: Some(8000),
        };
        let computed = KEYS.iter().filter_map(|key| Some((key, key.default(&machine)?)));
        let computed: Vec<_> = computed.collect();
        assert!(computed.len() > 60, "{}", computed.len());
        for (key, value) in computed {
            assert_eq!(value.arity(), key.arity, "{}", key.name);
            let is_switch = matches!(value, Value::Scalar(0 | 1));
            assert!(key.unit != Bool || is_switch, "{}", key.name);
        }
    }

    #[test]
    fn this_kernel_has_values_of_these_forms() {
        let mut read_some = 0;
        for key in KEYS {
            let Ok(value) = read(&Root::live(), key.name) else { continue };
            assert_eq!(value.arity(), key.arity, "{}", key.name);
            read_some += 1;
        }
        assert!(read_some > 20, "{read_some}");
    }

    #[test]
    fn lab_this_kernel_has_these_scopes() {
        if let Some(reason) = crate::lab::missing_privilege() {
            return crate::lab::skip("lab_this_kernel_has_these_scopes", &reason);
        }
        let seen = scopes().as_ref().unwrap();
        let release = std::fs::read("/proc/sys/kernel/osrelease").unwrap();
        let is_known_kernel = Machine::parse_release(&release) == Some((6, 18));
        let known = |name| Key::named(name).unwrap().scope;
        let mut told = 0;
        for (name, scope) in seen.iter().filter_map(|(name, seen)| Some((*name, seen.scope()?))) {
            assert!(!is_known_kernel || scope == known(name), "{name}: {scope:?}");
            told += 1;
        }
        assert!(told > 20, "{told}");
    }
}
