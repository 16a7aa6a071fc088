//! Values that are not written, whoever proposes them: the kernel takes nearly any number for its settings
//! of network memory, and says nothing of what they mean.
//!
//! [`refusal`] is pure: from a change and what is known of the machine to a reason. Forms, units and defaults
//! are those of [`crate::sysctl::KEYS`], effects and bounds those of [`super::facts`]. [`circumstances`] looks
//! at the machine: what is in use, who else tunes, whether it is ours at all.
//! Source: Documentation/networking/ip-sysctl.rst, Documentation/admin-guide/sysctl/net.rst, kernel 6.18.

use std::fs;

use serde::Serialize;

use super::facts::{Bounds, Fact, descends};
use super::place::Place;
use super::set_by::{Tuner, tuners};
use super::{Change, Reach};
use crate::proc::{ProtocolMemory, TransportProtocol};
use crate::source::Root;
use crate::sysctl::{Arity, Key, Machine, Unit, Value};

/// Largest window of TCP, and so the most that a buffer of it is good for, in bytes (RFC 7323).
const LARGEST_BUFFER_BYTES: i64 = 1 << 30;
/// Buffers are counted by an `int`, and what a program asks for is doubled.
const LARGEST_BYTES: i64 = i32::MAX as i64 / 2;
/// What polling for longer than this costs is not worth it.
const LONGEST_BUSY_POLL_US: i64 = 100;
/// Of the first PID namespace, since kernel 3.8: `PROC_PID_INIT_INO` of include/linux/proc_ns.h.
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";
/// Settings that are there to be lowered.
const MADE_TO_BE_LOWERED: [&str; 1] = ["net.ipv4.tcp_notsent_lowat"];

/// Settings that are others, divided and rounded down (`proc_unres_qlen` in net/core/neighbour.c, since 3.3):
/// to write the number that was read does not bring back what there was.
const ROUNDED: [(&str, &str); 2] = [
    ("net.ipv4.neigh.default.unres_qlen", "net.ipv4.neigh.default.unres_qlen_bytes"),
    ("net.ipv6.neigh.default.unres_qlen", "net.ipv6.neigh.default.unres_qlen_bytes"),
];

/// Why a value is not written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Refusal {
    /// The setting, or the program that stands in the way of all.
    pub key: String,
    /// The reason, in a sentence without its end.
    pub why: String,
}

/// Says why a proposed value is not to be written, if so; `None` for the machine leaves out what is
/// measured by its defaults and its version, and refuses what is measured by its memory.
pub fn refusal(change: &Change, machine: Option<&Machine>) -> Option<Refusal> {
    why(change, machine).map(|why| Refusal { key: change.key.clone(), why })
}

/// Says why this machine is not to be changed now, whatever the values.
pub(super) fn circumstances(changes: &[Change], place: &Place) -> Vec<Refusal> {
    let root = place.root();
    let is_rival =
        |tuner: &Tuner| changes.iter().any(|change| tuner.reaches(place.netns_inode(change.reach)));
    let rival = tuners(root).find(is_rival).map(|tuner| {
        let why = "it changes such settings too, and may set them back".to_owned();
        Refusal { key: tuner.to_string(), why }
    });
    let in_use = changes.iter().filter_map(|change| below_use(change, root));
    container(changes, place).into_iter().chain(rival).chain(in_use).collect()
}

/// Says that a setting of the whole machine, or of its own network namespace, would be changed from a container:
/// what undoes it, and its journal, may end with that.
fn container(changes: &[Change], place: &Place) -> Option<Refusal> {
    let own = fs::read_link(place.root().proc("self/ns/pid")).ok()?;
    if own.as_os_str() == FIRST_PID_NAMESPACE {
        return None;
    }
    let global = changes.iter().find(|change| change.reach == Reach::Global);
    let of_host = || changes.first().filter(|_| place.is_initial(Reach::Namespace));
    let (change, whose) = match global {
        Some(change) => (change, "the whole machine's"),
        None => (of_host()?, "the host's network namespace's"),
    };
    let why =
        format!("it is {whose}, and this process is in a container: a PID namespace of its own");
    Some(Refusal { key: change.key.clone(), why })
}

/// Says that a protocol's limit is lowered below what its sockets hold.
fn below_use(change: &Change, root: &Root) -> Option<Refusal> {
    let is_of = |one: &ProtocolMemory| one.protocol.limits_key() == change.key;
    let used = ProtocolMemory::read(root).ok()?.into_iter().find(is_of)?;
    // UDP has no pressure: it is held to the first.
    let (at, what) = match used.protocol {
        TransportProtocol::Tcp => (1, "pressure would begin"),
        TransportProtocol::Udp => (0, "its sockets would be held"),
    };
    let [now, limit] = [&change.current, &change.proposed]
        .map(|text| number(Value::parse(text.as_bytes()).as_ref(), at));
    let limit = u64::try_from(limit.filter(|limit| now.is_none_or(|now| *limit < now))?).ok()?;
    let sure = used.pages.saturating_sub(used.reserve.pages());
    let why = || format!("{what} at {limit} pages, and at least {sure} are in use now");
    (sure > limit).then(|| Refusal { key: change.key.clone(), why: why() })
}

fn why(change: &Change, machine: Option<&Machine>) -> Option<String> {
    let Some(key) = Key::named(&change.key) else {
        return Some("it is no setting of network memory whose form and default are known".into());
    };
    let value = Value::parse(change.proposed.as_bytes())?;
    of_rounding(key)
        .or_else(|| of_form(key, &value, change))
        .or_else(|| of_bounds(key, &value, machine))
        .or_else(|| of_effect(key, &value, machine))
        .or_else(|| of_size(key, &value, change, machine))
        .or_else(|| of_lowering(key, &value, change, machine))
}

/// The numbers of a value, in the form that the setting has.
fn numbers(value: &Value) -> &[i64] {
    match value {
        Value::Scalar(number) => std::slice::from_ref(number),
        Value::Triple(numbers) => numbers,
        Value::Text(_) => &[],
    }
}

fn of_rounding(key: &Key) -> Option<String> {
    let (_, whole) = ROUNDED.iter().find(|(rounded, _)| *rounded == key.name)?;
    Some(format!(
        "it is {whole} as whole packets, and its number put back would not restore the bytes: set {whole}"
    ))
}

fn of_form(key: &Key, value: &Value, change: &Change) -> Option<String> {
    let words = value.to_string().split_ascii_whitespace().count();
    let wants = match key.arity {
        Arity::Scalar => "one number",
        Arity::Triple => "three numbers",
        Arity::Text => return None,
    };
    if let Some(word) = change.proposed.split_ascii_whitespace().find(|word| is_ambiguous(word)) {
        return Some(format!(
            "{word} is to the kernel hexadecimal, octal or no number: numbers are written in plain decimal"
        ));
    }
    if value.arity() != key.arity {
        return Some(format!("it takes {wants}, and {words} words are no such value"));
    }
    let now = Value::parse(change.current.as_bytes());
    if descends(numbers(value), now.as_ref().map_or(&[], numbers)) {
        return Some(format!("{value} does not ascend, which the kernel does not check"));
    }
    let is_negative = numbers(value).iter().any(|number| *number < 0);
    is_negative.then(|| format!("{value} is negative"))
}

fn of_bounds(key: &Key, value: &Value, machine: Option<&Machine>) -> Option<String> {
    let here = |machine| Bounds::here(key.name, machine);
    let bounds = machine.map_or_else(|| Bounds::known(key.name), here)?;
    let outside = numbers(value).iter().find(|number| !bounds.contains((**number).into()))?;
    Some(format!("{outside} is not taken by the kernel, whose bounds are {bounds}"))
}

fn of_effect(key: &Key, value: &Value, machine: Option<&Machine>) -> Option<String> {
    let fact = Fact::named(key.name)?;
    let is_here = |since: (u32, u32)| machine.is_none_or(|machine| machine.since(since.0, since.1));
    if fact.no_effect_since.is_some_and(is_here) {
        return Some(format!("it has no effect: {}", key.meaning.trim_end_matches('.')));
    }
    let lost = fact.lost_when_off.filter(|_| *value == Value::Scalar(0))?;
    Some(format!("0 turns it off: {lost}"))
}

/// A number that is kept is not too large because of this change: only those that change are judged.
fn of_size(key: &Key, value: &Value, change: &Change, machine: Option<&Machine>) -> Option<String> {
    let now = Value::parse(change.current.as_bytes());
    let changes =
        |(at, new): &(usize, &i64)| number(now.as_ref(), *at).is_none_or(|now| **new != now);
    let largest = *numbers(value).iter().enumerate().filter(changes).map(|(_, new)| new).max()?;
    match key.unit {
        Unit::Pages => {
            let Some(machine) = machine else {
                return Some("it is in pages, and how many the machine has cannot be read".into());
            };
            let all = i64::try_from(machine.free_buffer_pages).ok()?;
            if largest > all {
                return Some(format!(
                    "it is in pages of {} bytes: {largest} of them are more than all memory ({all} \
                     pages); this looks like bytes",
                    machine.page_bytes
                ));
            }
            (key.arity == Arity::Triple && largest > all / 4)
                .then(|| format!("{largest} pages are more than a quarter of memory ({all} pages)"))
        }
        Unit::Bytes if MADE_TO_BE_LOWERED.contains(&key.name) => None,
        Unit::Bytes if key.arity == Arity::Triple && largest > LARGEST_BUFFER_BYTES => {
            Some(format!("{largest} bytes are more than TCP's largest window, 1 GiB"))
        }
        Unit::Bytes if largest > LARGEST_BYTES => {
            Some(format!("{largest} bytes are more than an int holds when doubled"))
        }
        Unit::Microseconds if key.name.contains("busy_") && largest > LONGEST_BUSY_POLL_US => {
            Some(format!("{largest} us of polling are more than {LONGEST_BUSY_POLL_US} us"))
        }
        _ => None,
    }
}

fn of_lowering(
    key: &Key,
    value: &Value,
    change: &Change,
    machine: Option<&Machine>,
) -> Option<String> {
    let is_a_size =
        matches!(key.unit, Unit::Pages | Unit::Bytes | Unit::Packets | Unit::Microseconds);
    let is_a_limit = Fact::named(key.name).is_some_and(|fact| fact.less_is_less);
    if !(is_a_size || is_a_limit) || MADE_TO_BE_LOWERED.contains(&key.name) {
        return None;
    }
    let told = change.default.as_deref().and_then(|text| Value::parse(text.as_bytes()));
    let default = machine.and_then(|machine| key.default(machine)).or(told);
    let now = Value::parse(change.current.as_bytes());
    let (bound, name) = match default {
        Some(default) => (default, "the kernel's default"),
        None => (now.clone()?, "the current value, and the default is not known"),
    };
    // A machine that is below the default already may be raised in steps.
    let is_lower =
        numbers(value).iter().zip(numbers(&bound)).enumerate().any(|(at, (new, bound))| {
            new < bound && number(now.as_ref(), at).is_none_or(|now| *new < now)
        });
    is_lower.then(|| format!("{value} is lower than {bound}, {name}"))
}

/// Whether the kernel reads a number otherwise than it is read here: one with a 0 in front in base 8 or 16, and
/// one with a plus not at all (`proc_get_long` in kernel/sysctl.c).
fn is_ambiguous(word: &str) -> bool {
    let digits = word.trim_start_matches('-');
    let has_base = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit() || "xX".contains(c));
    digits.starts_with('+') || digits.strip_prefix('0').is_some_and(has_base)
}

/// The number at that place of a value, if it has so many.
fn number(value: Option<&Value>, at: usize) -> Option<i64> {
    value.and_then(|value| numbers(value).get(at)).copied()
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

    fn of(key: &str, current: &str, proposed: &str) -> Option<String> {
        let change = Change::of(key, current, proposed);
        refusal(&change, Some(&MACHINE)).map(|refusal| refusal.why)
    }

    /// Has failed with: the words counted as one; the default not looked at.
    #[test]
    fn what_is_wrong_with_a_value_is_said() {
        for (key, proposed, part) in [
            ("net.ipv4.udp_rmem_min", "8192 87380 16777216", "takes one number, and 3 words"),
            ("net.ipv4.tcp_rmem", "8192", "takes three numbers, and 1 words"),
            ("net.ipv4.tcp_rmem", "8192 100 33554432", "does not ascend"),
            ("net.ipv4.udp_rmem_min", "-1", "negative"),
            ("net.ipv4.udp_rmem_min", "many", "takes one number"),
            ("net.ipv4.tcp_mem", "8388608 12582912 16777216", "looks like bytes"),
            ("net.ipv4.tcp_mem", "300000 400000 2000000", "quarter"),
            ("net.ipv4.tcp_rmem", "4096 131072 1073741825", "1 GiB"),
            ("net.core.rmem_max", "1073741824", "an int"),
            ("net.core.rmem_max", "4294967295", "bounds are 2304 to 2147483647"),
            ("net.core.somaxconn", "128", "lower than 4096, the kernel's default"),
            ("net.ipv4.ipfrag_low_thresh", "9000", "no effect"),
            ("net.core.flow_limit_table_len", "9000", "powers of two"),
            ("net.core.rmem_max", "212992", "lower than 4194304, the kernel's default"),
            ("net.ipv4.tcp_rmem", "8192 87380 16777216", "lower than 4096 131072 33554432"),
            ("net.core.netdev_budget_usecs", "2000", "bounds are 8000 to 2147483647"),
            ("net.core.bpf_jit_limit", "2000", "the current value"),
            ("net.ipv4.udp_wmem_min", "8192", "no effect"),
            ("net.ipv4.tcp_adv_win_scale", "2", "no effect"),
            ("net.ipv4.tcp_sack", "0", "0 turns it off: several losses"),
            ("net.core.busy_poll", "200", "us of polling"),
            ("kernel.core_pattern", "|/bin/x", "no setting of network memory"),
        ] {
            let current = match key {
                "net.core.rmem_max" => "4194304",
                _ => "8000",
            };
            let why = of(key, current, proposed);
            assert!(why.as_ref().is_some_and(|why| why.contains(part)), "{key}: {why:?}");
        }
    }

    /// Has failed with: octal taken for decimal; hexadecimal told as a number of words; a plus not seen; only the
    /// first word looked at; 0 refused; names judged like numbers.
    #[test]
    fn numbers_that_the_kernel_reads_otherwise_are_refused() {
        for (key, proposed) in [
            // 2097152 to the kernel, and 10000000 to who reads it here.
            ("net.core.rmem_max", "010000000"),
            ("net.core.rmem_max", "0x1000000"),
            ("net.core.rmem_max", "0X1000000"),
            ("net.core.rmem_max", "+16777216"),
            ("net.core.rmem_max", "-010"),
            ("net.core.rmem_max", "00"),
            ("net.ipv4.tcp_rmem", "4096 131072 067108864"),
            ("net.ipv4.tcp_rmem", "4096 +131072 67108864"),
        ] {
            let word = proposed.split(' ').find(|word| word.starts_with(['0', '+', '-'])).unwrap();
            let why = of(key, "8000", proposed);
            let told = format!("{word} is to the kernel");
            assert!(why.as_ref().is_some_and(|why| why.starts_with(&told)), "{proposed}: {why:?}");
        }
        assert_eq!(of("net.core.busy_poll", "50", "0"), None);
        assert_eq!(of("net.ipv4.tcp_congestion_control", "reno", "0x5"), None);
    }

    /// Has failed with: one of the two families forgotten; the number of bytes refused as well.
    #[test]
    fn packets_that_wait_for_a_neighbour_are_not_written_and_their_bytes_are() {
        for family in ["ipv4", "ipv6"] {
            let packets = format!("net.{family}.neigh.default.unres_qlen");
            let bytes = format!("{packets}_bytes");
            for proposed in ["202", "101", "6", "2147483647"] {
                let why = of(&packets, "101", proposed);
                assert!(why.as_ref().is_some_and(|why| why.contains(&bytes)), "{packets}: {why:?}");
            }
            assert_eq!(of(&bytes, "212992", "425984"), None);
        }
    }

    /// Has failed with: bounds that are the same on every machine; those without a machine not looked at.
    #[test]
    fn bounds_are_those_of_the_machine() {
        let of = |key: &str, current: &str, proposed: &str, machine: Option<&Machine>| {
            refusal(&Change::of(key, current, proposed), machine).map(|refusal| refusal.why)
        };
        let is_bound = |why: Option<String>, part: &str| why.is_some_and(|why| why.contains(part));
        let large = Machine { page_bytes: 65_536, ..MACHINE };
        let reserve = "net.core.mem_pcpu_rsv";
        assert_eq!(of(reserve, "16", "32", Some(&large)), None);
        assert!(is_bound(of(reserve, "16", "15", Some(&large)), "bounds are 16 to"));
        assert!(is_bound(of(reserve, "256", "255", Some(&MACHINE)), "bounds are 256 to"));
        // Before 6.14 less than the default was taken, and a default below it may be raised in steps.
        let old = Machine { kernel: (6, 12), ..MACHINE };
        let round = "net.core.netdev_budget_usecs";
        assert_eq!(of(round, "2000", "4000", Some(&old)), None);
        assert!(is_bound(of(round, "8000", "4000", Some(&old)), "lower than 8000"));
        assert!(is_bound(of(round, "8000", "4000", Some(&MACHINE)), "bounds are 8000 to"));
        assert!(is_bound(of("net.core.rmem_max", "1", "2000", None), "bounds are 2304 to"));
    }

    #[test]
    fn what_is_measured_by_memory_is_refused_where_that_is_not_known() {
        let change = Change::of("net.ipv4.tcp_mem", "1 2 3", "4 5 6");
        let why = refusal(&change, None).unwrap().why;
        assert!(why.contains("cannot be read"), "{why}");
    }

    /// Has failed with: a limit that is raised compared with what is in use; no look at the PID namespace.
    #[test]
    fn what_is_in_use_and_whose_machine_it_is_are_looked_at() {
        let name = format!("netmem-circumstances-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let root = Root::at(&folder);
        let place = Place::here(root.clone());
        let write = |path: std::path::PathBuf, bytes: &[u8]| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        write(root.sys("devices/system/cpu/online"), b"0-1\n");
        let page_size = [6_u64, 4096, 0, 0].map(u64::to_le_bytes).concat();
        write(root.proc("self/auxv"), &page_size);
        let sockets = "sockets: used 9\nTCP: inuse 5 orphan 0 tw 0 alloc 6 mem 90000\n\
            UDP: inuse 1 mem 50000\nUDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n";
        ProtocolMemory::read(&root).unwrap_err();
        write(root.net("sockstat"), sockets.as_bytes());
        ProtocolMemory::read(&root).unwrap();
        fs::create_dir_all(root.proc("self/ns")).unwrap();
        let namespace = |name: &str| {
            let _ = fs::remove_file(root.proc("self/ns/pid"));
            std::os::unix::fs::symlink(name, root.proc("self/ns/pid")).unwrap();
        };
        let of = |key: &str, proposed: &str| {
            let change = Change::of(key, "300000 400000 600000", proposed);
            let refused = circumstances(&[change], &place);
            refused.into_iter().map(|refusal| refusal.why).collect::<Vec<_>>().join("; ")
        };
        namespace(FIRST_PID_NAMESPACE);
        assert_eq!(of("net.ipv4.tcp_mem", "40000 100000 200000"), "");
        assert!(
            of("net.ipv4.tcp_mem", "40000 80000 200000").contains("pressure would begin at 80000")
        );
        assert!(of("net.ipv4.udp_mem", "40000 80000 200000").contains("held at 40000 pages"));
        let raised = Change::of("net.ipv4.tcp_mem", "40000 70000 99000", "50000 80000 99000");
        assert_eq!(circumstances(&[raised], &place), [], "more than now, though not enough");
        namespace("pid:[4026532501]");
        assert!(of("net.ipv4.tcp_mem", "40000 100000 200000").contains("in a container"));
        let own = Change { reach: Reach::Namespace, ..Change::of("net.ipv4.tcp_rmem", "1", "2") };
        assert_eq!(circumstances(&[own], &place), []);
        fs::remove_dir_all(folder).unwrap();
    }

    /// Has failed with: all pairs judged; only neighbours judged.
    #[test]
    fn an_order_that_is_kept_is_not_the_changes_doing() {
        let machine = Machine { free_buffer_pages: 383_868, page_bytes: 65_536, ..MACHINE };
        let wmem = |current: &str, proposed| {
            let change = Change::of("net.ipv4.tcp_wmem", current, proposed);
            refusal(&change, Some(&machine)).map(|refusal| refusal.why)
        };
        let key = Key::named("net.ipv4.tcp_wmem").unwrap();
        let default = key.default(&machine).unwrap().to_string();
        assert_eq!(default, "65536 16384 4194304");
        assert_eq!(wmem(&default, "65536 16384 8388608"), None);
        assert_eq!(wmem("65536 16384 20000", "65536 16384 65536"), None);
        for (current, proposed) in [
            (&*default, "65536 32768 4194304"),
            (&*default, "131072 16384 4194304"),
            (&*default, "65536 65536 20000"),
            // The largest is above its neighbour, and still below what each socket has.
            ("65536 16384 20000", "65536 16384 30000"),
            ("4096 16384 4194304", "65536 16384 4194304"),
            ("many", "65536 16384 4194304"),
        ] {
            let why = wmem(current, proposed);
            assert!(why.as_ref().is_some_and(|why| why.contains("ascend")), "{proposed}: {why:?}");
        }
    }

    /// Has failed with: the current value not looked at.
    #[test]
    fn a_value_below_the_default_may_be_raised_in_steps() {
        let rmem = |current, proposed| of("net.ipv4.tcp_rmem", current, proposed);
        assert_eq!(rmem("4096 65536 131072", "4096 65536 1000000"), None);
        assert_eq!(rmem("4096\t65536\t131072", "4096 87380 1000000"), None);
        for lowered in ["4095 65536 1000000", "4096 65535 1000000", "4096 65536 131071"] {
            let why = rmem("4096 65536 131072", lowered).unwrap();
            assert!(why.contains("lower than 4096 131072 33554432"), "{why}");
        }
        assert_eq!(of("net.core.rmem_max", "212992", "425984"), None);
        assert_eq!(of("net.core.rmem_max", "8388608", "4194304"), None, "the default");
        // A number that is kept is not the change's doing.
        assert_eq!(of("net.ipv4.udp_mem", "1000 2000 9000000", "2000 4000 9000000"), None);
        assert!(of("net.ipv4.udp_mem", "1000 2000 8999999", "2000 4000 9000000").is_some());
    }

    #[test]
    fn sound_values_pass() {
        for (key, proposed) in [
            ("net.ipv4.tcp_rmem", "4096 131072 67108864"),
            ("net.ipv4.tcp_mem", "400000 500000 800000"),
            ("net.ipv4.tcp_notsent_lowat", "131072"),
            ("net.core.busy_poll", "50"),
            ("net.core.netdev_budget_usecs", "16000"),
            ("net.ipv4.tcp_congestion_control", "reno"),
            ("net.ipv4.tcp_sack", "1"),
        ] {
            assert_eq!(of(key, "8000", proposed), None, "{key}");
        }
    }
}
