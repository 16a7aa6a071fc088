//! Which numbers the kernel takes for a setting; others are refused with `EINVAL`.
//!
//! Source: net/core/sysctl_net_core.c, net/ipv4/sysctl_net_ipv4.c and others, kernel 6.18. The bounds of
//! settings of a network namespace are tested against the kernel that runs, those of global ones on 7.3.

use std::fmt;

use crate::sysctl::Machine;

/// Most memory of compiled BPF programs (`bpf_jit_limit_max`), at most: the addresses for modules. On x86-64
/// they are what the kernel's image leaves of 2032 MiB: 1520 MiB, or 1008 where the image may be anywhere
/// (`MODULES_VADDR` in arch/x86/include/asm/pgtable_64_types.h); elsewhere they are not known.
const BPF_JIT_LIMIT_MAX: i128 =
    if cfg!(target_arch = "x86_64") { 1520 << 20 } else { i64::MAX as i128 };

/// Truesize of an Ethernet frame of 1514 bytes with cache lines of 64 bytes: the frame, `struct sk_buff` and
/// `struct skb_shared_info`, each in whole lines (`SKB_TRUESIZE` in include/linux/skbuff.h, kernel 6.1 to 7.3).
const ETHERNET_TRUESIZE_BYTES: i128 = 1514 + 256 + 320;

/// Numbers that the kernel takes for a setting; others are refused with `EINVAL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "two ends")]
pub struct Bounds {
    /// The smallest.
    pub min: i128,
    /// The largest.
    pub max: i128,
    /// Whether of those between only powers of two are taken.
    pub only_powers_of_two: bool,
}

impl Bounds {
    /// The numbers that each element of a setting may have: those that are known, else those of an `int`.
    pub fn of(key: &str) -> Self {
        Self::known(key).unwrap_or_else(|| Self::between(i32::MIN.into(), i32::MAX.into()))
    }

    /// The numbers that each element of a setting may have on this machine, where they are known.
    ///
    /// Of `netdev_budget_usecs` the least is two ticks of the clock since 6.14 (`netdev_budget_usecs_min` in
    /// net/core/sysctl_net_core.c), and 0 before that; it is taken for 0 where the clock is not known. Of
    /// `mem_pcpu_rsv` it is a mebibyte in pages (`SK_MEMORY_PCPU_RESERVE` in include/net/proto_memory.h).
    pub fn here(key: &str, machine: &Machine) -> Option<Self> {
        let min = match key {
            "net.core.netdev_budget_usecs" => {
                machine.two_ticks_us.filter(|_| machine.since(6, 14)).unwrap_or(0)
            }
            "net.core.mem_pcpu_rsv" => (1 << 20) / machine.page_bytes.max(1),
            _ => return Self::known(key),
        };
        Some(Self::between(min.into(), i32::MAX.into()))
    }

    /// Does the kernel take that number?
    pub fn contains(&self, number: i128) -> bool {
        let is_power_of_two = || u128::try_from(number).is_ok_and(u128::is_power_of_two);
        (self.min..=self.max).contains(&number) && (!self.only_powers_of_two || is_power_of_two())
    }

    const fn between(min: i128, max: i128) -> Self {
        Self { min, max, only_powers_of_two: false }
    }

    /// The numbers that each element of a setting may have, where they are known.
    ///
    /// Bounds that depend on other settings are not among them: `ipfrag_high_thresh` may not be below
    /// `ipfrag_low_thresh`. Nor are those that depend on the machine; see [`Bounds::here`].
    pub fn known(key: &str) -> Option<Self> {
        let of = |min, max| Some(Self::between(min, max));
        let (int, byte) = (i128::from(i32::MAX), i128::from(u8::MAX));
        let name = key.strip_prefix("net.").unwrap_or(key);
        match name {
            "ipv4.tcp_mem"
            | "ipv4.udp_mem"
            | "ipv4.ipfrag_high_thresh"
            | "ipv4.ipfrag_low_thresh"
            | "ipv6.ip6frag_high_thresh"
            | "ipv6.ip6frag_low_thresh" => of(0, u64::MAX.into()),
            "core.bpf_jit_limit" => of(1, BPF_JIT_LIMIT_MAX),
            "core.dev_weight"
            | "core.dev_weight_rx_bias"
            | "core.dev_weight_tx_bias"
            | "core.gro_normal_batch" => of(1, int),
            "core.busy_poll" | "core.busy_read" | "core.skb_defer_max" => of(0, int),
            "core.high_order_alloc_disable" => of(0, 1),
            "core.max_skb_frags" => of(1, 17),
            "core.rps_sock_flow_entries" => of(0, 1 << 29),
            "core.flow_limit_table_len" => {
                Some(Self { only_powers_of_two: true, ..Self::between(1, 1 << 30) })
            }
            "ipv4.fib_sync_mem" => of(64 << 10, 64 << 20),
            "ipv4.tcp_notsent_lowat" => of(0, u32::MAX.into()),
            "ipv4.tcp_rmem" | "ipv4.tcp_wmem" | "ipv4.udp_rmem_min" | "ipv4.udp_wmem_min" => {
                of(1, int)
            }
            // SOCK_MIN_RCVBUF and SOCK_MIN_SNDBUF.
            "core.rmem_default" | "core.rmem_max" => of(2304, int),
            "core.wmem_default" | "core.wmem_max" => of(4608, int),
            "core.optmem_max" | "core.somaxconn" | "ipv4.ipfrag_max_dist" => of(0, int),
            "ipv4.tcp_limit_output_bytes"
            | "ipv4.tcp_max_tw_buckets"
            | "ipv4.tcp_max_syn_backlog"
            | "unix.max_dgram_qlen" => of(i32::MIN.into(), int),
            "ipv4.tcp_shrink_window" | "ipv4.tcp_autocorking" | "ipv4.tcp_backlog_ack_defer" => {
                of(0, 1)
            }
            "ipv4.tcp_app_win" => of(0, 31),
            "ipv4.tcp_adv_win_scale" => of(-31, 31),
            "ipv4.tcp_min_tso_segs" => of(1, byte),
            "ipv4.tcp_moderate_rcvbuf"
            | "ipv4.tcp_window_scaling"
            | "ipv4.tcp_mtu_probing"
            | "ipv4.tcp_orphan_retries"
            | "ipv4.tcp_syncookies"
            | "ipv4.tcp_tso_win_divisor"
            | "ipv4.tcp_timestamps"
            | "ipv4.tcp_sack"
            | "ipv4.tcp_fack" => of(0, byte),
            _ => Self::of_table(name),
        }
    }

    /// The same of tables of neighbours, and of connections in namespaces made from this one.
    fn of_table(name: &str) -> Option<Self> {
        let of = |min, max| Some(Self::between(min, max));
        let int = i128::from(i32::MAX);
        // As many as fit into an int of bytes; where lines or structs are larger they are fewer.
        let packets = int / ETHERNET_TRUESIZE_BYTES;
        match name {
            "ipv4.neigh.default.gc_thresh1"
            | "ipv4.neigh.default.gc_thresh2"
            | "ipv4.neigh.default.gc_thresh3"
            | "ipv4.neigh.default.unres_qlen_bytes"
            | "ipv6.neigh.default.gc_thresh1"
            | "ipv6.neigh.default.gc_thresh2"
            | "ipv6.neigh.default.gc_thresh3"
            | "ipv6.neigh.default.unres_qlen_bytes" => of(0, int),
            "ipv4.neigh.default.unres_qlen" | "ipv6.neigh.default.unres_qlen" => of(0, packets),
            "ipv4.tcp_child_ehash_entries" => of(0, 1 << 24),
            "ipv4.udp_child_hash_entries" => of(0, 1 << 16),
            _ => None,
        }
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.min, self.max)?;
        f.write_str(if self.only_powers_of_two { ", powers of two" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Root;
    use crate::sysctl::{Key, Value};

    /// Has failed with: 256 pages of any size.
    #[test]
    fn the_least_reserve_of_a_cpu_is_a_mebibyte_in_pages_and_the_default() {
        let key = Key::named("net.core.mem_pcpu_rsv").unwrap();
        for (page_bytes, least) in [(4096, 256), (16_384, 64), (65_536, 16)] {
            let machine = Machine {
                free_buffer_pages: 383_868,
                page_bytes,
                kernel: (6, 18),
                tcp_hash_buckets: None,
                two_ticks_us: None,
            };
            let bounds = Bounds::here(key.name, &machine).unwrap();
            assert_eq!((bounds.min, bounds.max), (least, i32::MAX.into()), "{page_bytes}");
            let default = Value::Scalar(bounds.min.try_into().unwrap());
            assert_eq!(key.default(&machine), Some(default), "{page_bytes}");
        }
        assert_eq!(Bounds::known(key.name), None);
    }

    /// Has failed with: 2112 bytes.
    #[test]
    fn packets_that_wait_for_a_neighbour_are_counted_by_their_truesize() {
        let name = "net.ipv4.neigh.default.unres_qlen";
        let bounds = Bounds::of(name);
        assert_eq!((bounds.min, bounds.max), (0, 1_027_504));
        // The kernel reads its bytes as packets.
        for kernel in ["6.1", "6.12", "6.18", "7.3"] {
            let folder = format!("{}/tests/fixtures/{kernel}", env!("CARGO_MANIFEST_DIR"));
            let [packets, bytes] = [name, "net.ipv4.neigh.default.unres_qlen_bytes"].map(|key| {
                match crate::sysctl::read(&Root::at(&folder), key).unwrap() {
                    Value::Scalar(number) => i128::from(number),
                    other => panic!("{kernel}: {other}"),
                }
            });
            assert_eq!(packets, bytes / (i128::from(i32::MAX) / bounds.max), "{kernel}");
        }
    }
}
