//! The values that the kernel boots with, as functions of the machine.
//!
//! ```text
//!   limit = free buffer pages / 16        tcp_mem = limit/4*3, limit, limit/4*6     3 : 4 : 6
//!   limit = free buffer pages / 8         udp_mem likewise
//!   share = free buffer bytes / 128       tcp_rmem max = min(32 MiB, share), at least 128 KiB
//! ```
//! "Free buffer pages" are those of the zones above their high watermarks when the kernel booted; read
//! later, they are today's, and differ where memory came or went ([`Zoneinfo`]).
//! Source: `tcp_init_mem`, `tcp_init` in net/ipv4/tcp.c, `udp_init` in net/ipv4/udp.c, include/net/sock.h,
//! kernel 6.18; 5.15 and later, with changes at the versions named.

use rustix::time::{ClockId, clock_getres};
use serde::Serialize;

use super::Value;
use crate::proc::{Zoneinfo, page_size_bytes};
use crate::source::{Reading, Root, read_with};

/// Truesize of a packet of 256 bytes, 256 times: what `SK_RMEM_DEFAULT` is with cache lines of 64 bytes.
const SOCKET_BUFFER_BYTES: i64 = 212_992;

/// What defaults are computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Pages that buffers may be of.
    pub free_buffer_pages: u64,
    /// Size of a page, in bytes.
    pub page_bytes: u64,
    /// Version of the kernel: 6, 18.
    pub kernel: (u32, u32),
    /// Buckets of the hash of TCP connections; `None` before 6.1, which does not tell.
    pub tcp_hash_buckets: Option<u64>,
    /// Two ticks of the kernel's clock, in microseconds; `None` where it is not this machine's.
    pub two_ticks_us: Option<u64>,
}

impl Machine {
    /// Reads it.
    ///
    /// # Errors
    /// `zoneinfo`, the version or the page size cannot be read.
    pub fn read(root: &Root) -> Reading<Self> {
        let release = root.proc("sys/kernel/osrelease");
        let buckets = match super::read(root, "net.ipv4.tcp_ehash_entries") {
            // Negative: those of the initial network namespace, which this one shares.
            Ok(Value::Scalar(buckets)) => Some(buckets.unsigned_abs()),
            _ => None,
        };
        Ok(Self {
            free_buffer_pages: Zoneinfo::read(root)?.free_buffer_pages(),
            page_bytes: page_size_bytes(root)?,
            kernel: read_with(&release, Self::parse_release)?,
            tcp_hash_buckets: buckets,
            two_ticks_us: root.is_live().then(two_ticks_us),
        })
    }

    /// Parses a kernel's release: `6.18.44-amd64` is 6, 18.
    pub fn parse_release(bytes: &[u8]) -> Option<(u32, u32)> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut parts = text.trim().split('.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
        Some((major, minor))
    }

    /// Whether the kernel is of that version or later.
    pub fn since(&self, major: u32, minor: u32) -> bool {
        self.kernel >= (major, minor)
    }

    /// The most that a socket's buffer may grow to by itself: a share of the memory, within bounds.
    fn share_bytes(&self, least: u64, most: u64) -> Option<i64> {
        let share = self.free_buffer_pages.saturating_mul(self.page_bytes) / 128;
        share.min(most).max(least).try_into().ok()
    }
}

/// A default that is always the same.
pub(super) fn number(number: i64) -> Option<Value> {
    Some(Value::Scalar(number))
}

/// Not to be computed here.
pub(super) fn unknown(_: &Machine) -> Option<Value> {
    None
}

pub(super) fn tcp_mem(machine: &Machine) -> Option<Value> {
    limits(machine.free_buffer_pages / 16)
}

pub(super) fn udp_mem(machine: &Machine) -> Option<Value> {
    limits(machine.free_buffer_pages / 8)
}

pub(super) fn tcp_rmem(machine: &Machine) -> Option<Value> {
    let most = if machine.since(6, 16) { 32 << 20 } else { 6 << 20 };
    let max = machine.share_bytes(131_072, most)?;
    Some(Value::Triple([machine.page_bytes.try_into().ok()?, 131_072, max]))
}

pub(super) fn tcp_wmem(machine: &Machine) -> Option<Value> {
    let max = machine.share_bytes(64 << 10, 4 << 20)?;
    Some(Value::Triple([machine.page_bytes.try_into().ok()?, 16_384, max]))
}

pub(super) fn socket_default(_: &Machine) -> Option<Value> {
    number(SOCKET_BUFFER_BYTES)
}

pub(super) fn socket_max(machine: &Machine) -> Option<Value> {
    number(if machine.since(6, 18) { 4 << 20 } else { SOCKET_BUFFER_BYTES })
}

pub(super) fn optmem_max(machine: &Machine) -> Option<Value> {
    number(if machine.since(6, 8) { 128 << 10 } else { 20_480 })
}

pub(super) fn mem_pcpu_rsv(machine: &Machine) -> Option<Value> {
    number((1 << 20) / i64::try_from(machine.page_bytes).ok().filter(|page| *page > 0)?)
}

pub(super) fn tcp_limit_output_bytes(machine: &Machine) -> Option<Value> {
    number(if machine.since(6, 16) { 4 << 20 } else { 1 << 20 })
}

pub(super) fn skb_defer_max(machine: &Machine) -> Option<Value> {
    number(if machine.since(6, 19) { 128 } else { 64 })
}

pub(super) fn route_max_size(machine: &Machine) -> Option<Value> {
    number(if machine.since(6, 3) { i32::MAX.into() } else { 4096 })
}

pub(super) fn netdev_budget_usecs(machine: &Machine) -> Option<Value> {
    number(machine.two_ticks_us?.try_into().ok()?)
}

pub(super) fn page(machine: &Machine) -> Option<Value> {
    number(machine.page_bytes.try_into().ok()?)
}

pub(super) fn half_of_tcp_hash(machine: &Machine) -> Option<Value> {
    number((machine.tcp_hash_buckets? / 2).try_into().ok()?)
}

pub(super) fn tcp_max_syn_backlog(machine: &Machine) -> Option<Value> {
    number((machine.tcp_hash_buckets? / 128).max(128).try_into().ok()?)
}

fn limits(limit: u64) -> Option<Value> {
    let limit = i64::try_from(limit.max(128)).ok()?;
    let min = limit / 4 * 3;
    Some(Value::Triple([min, limit, min.checked_mul(2)?]))
}

/// The coarse clock moves once a tick.
fn two_ticks_us() -> u64 {
    let tick = clock_getres(ClockId::MonotonicCoarse);
    u64::try_from(tick.tv_nsec).unwrap_or(0) / 1000 * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: Machine = Machine {
        free_buffer_pages: 6_141_888,
        page_bytes: 4096,
        kernel: (6, 18),
        tcp_hash_buckets: Some(262_144),
        two_ticks_us: Some(8000),
    };

    fn text(value: Option<Value>) -> String {
        value.unwrap().to_string()
    }

    #[test]
    fn a_machine_of_24_gib_boots_with_what_it_was_seen_to() {
        assert_eq!(text(tcp_mem(&MACHINE)), "287901 383868 575802");
        assert_eq!(text(udp_mem(&MACHINE)), "575802 767736 1151604");
        assert_eq!(text(tcp_rmem(&MACHINE)), "4096 131072 33554432");
        assert_eq!(text(tcp_wmem(&MACHINE)), "4096 16384 4194304");
        assert_eq!(text(half_of_tcp_hash(&MACHINE)), "131072");
        assert_eq!(text(tcp_max_syn_backlog(&MACHINE)), "2048");
        assert_eq!(text(mem_pcpu_rsv(&MACHINE)), "256");
    }

    #[test]
    fn a_small_machine_has_floors() {
        let small = Machine { free_buffer_pages: 1000, tcp_hash_buckets: Some(512), ..MACHINE };
        assert_eq!(text(tcp_mem(&small)), "96 128 192");
        assert_eq!(text(tcp_rmem(&small)), "4096 131072 131072");
        assert_eq!(text(tcp_wmem(&small)), "4096 16384 65536");
        assert_eq!(text(tcp_max_syn_backlog(&small)), "128");
        let larger = Machine { free_buffer_pages: 65_536, ..MACHINE };
        assert_eq!(text(tcp_rmem(&larger)), "4096 131072 2097152", "256 MiB / 128");
        let pages = Machine { page_bytes: 65536, ..MACHINE };
        assert_eq!((text(mem_pcpu_rsv(&pages)), text(page(&pages))), ("16".into(), "65536".into()));
    }

    #[test]
    fn older_kernels_had_less() {
        let of = |kernel| {
            let machine = Machine { kernel, tcp_hash_buckets: None, ..MACHINE };
            let defaults = [tcp_rmem, socket_max, optmem_max, tcp_limit_output_bytes];
            defaults.map(|default| text(default(&machine)))
        };
        assert_eq!(of((6, 1)), ["4096 131072 6291456", "212992", "20480", "1048576"]);
        assert_eq!(of((6, 16)), ["4096 131072 33554432", "212992", "131072", "4194304"]);
        assert_eq!(of((7, 0)), ["4096 131072 33554432", "4194304", "131072", "4194304"]);
        let deferred = [(6, 18), (6, 19)].map(|kernel| Machine { kernel, ..MACHINE });
        assert_eq!(deferred.map(|machine| text(skb_defer_max(&machine))), ["64", "128"]);
        assert_eq!(half_of_tcp_hash(&Machine { tcp_hash_buckets: None, ..MACHINE }), None);
    }

    #[test]
    fn releases_are_read() {
        let parse = |text: &str| Machine::parse_release(text.as_bytes());
        assert_eq!(parse("6.18.44-amd64\n"), Some((6, 18)));
        assert_eq!(
            (parse("5.15.0"), parse("7.3-rc2"), parse("7.3")),
            (Some((5, 15)), Some((7, 3)), Some((7, 3)))
        );
        assert_eq!((parse("six"), parse("6"), parse("6.x"), parse("")), (None, None, None, None));
    }
}
