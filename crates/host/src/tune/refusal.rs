//! Values that are not written, whoever proposes them: the kernel takes nearly any number for its settings
//! of network memory, and says nothing of what they mean.
//!
//! [`refusal`] is pure: from a change and what is known of the machine to a reason. Forms, units and defaults are those of
//! [`crate::sysctl::KEYS`]. Facts: Documentation/networking/ip-sysctl.rst and
//! Documentation/admin-guide/sysctl/net.rst, kernel 6.18.

use serde::Serialize;

use super::Change;
use super::set_by::tuners;
use crate::source::Root;
use crate::sysctl::{Arity, Key, Machine, Unit, Value};

/// Largest window of TCP, and so the most that a buffer of it is good for, in bytes (RFC 7323).
const LARGEST_BUFFER_BYTES: i64 = 1 << 30;
/// Buffers are counted by an `int`, and what a program asks for is doubled.
const LARGEST_BYTES: i64 = i32::MAX as i64 / 2;
/// What polling for longer than this costs is not worth it.
const LONGEST_BUSY_POLL_US: i64 = 100;
/// Settings that do nothing, and since which kernel.
const WITHOUT_EFFECT: [(&str, (u32, u32)); 4] = [
    ("net.ipv4.udp_wmem_min", (0, 0)),
    ("net.ipv4.tcp_low_latency", (4, 14)),
    ("net.ipv4.tcp_fack", (4, 15)),
    ("net.ipv4.tcp_adv_win_scale", (6, 6)),
];
/// Parts of TCP that large buffers, or a busy listener, do not work without.
const NOT_TO_BE_TURNED_OFF: [&str; 5] = [
    "net.ipv4.tcp_timestamps",
    "net.ipv4.tcp_sack",
    "net.ipv4.tcp_window_scaling",
    "net.ipv4.tcp_moderate_rcvbuf",
    "net.ipv4.tcp_syncookies",
];
/// Settings that are there to be lowered.
const MADE_TO_BE_LOWERED: [&str; 1] = ["net.ipv4.tcp_notsent_lowat"];

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
/// measured by its memory, its defaults and its version.
pub fn refusal(change: &Change, machine: Option<&Machine>) -> Option<Refusal> {
    why(change, machine).map(|why| Refusal { key: change.key.clone(), why })
}

/// Says which running program sets such settings too.
pub(super) fn rival(root: &Root) -> Option<Refusal> {
    let key = tuners(root).next()?;
    let why = "it changes such settings too, and may set them back".to_owned();
    Some(Refusal { key, why })
}

fn why(change: &Change, machine: Option<&Machine>) -> Option<String> {
    let Some(key) = Key::named(&change.key) else {
        return Some("it is no setting of network memory whose form and default are known".into());
    };
    let value = Value::parse(change.proposed.as_bytes())?;
    of_form(key, &value)
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

fn of_form(key: &Key, value: &Value) -> Option<String> {
    let words = value.to_string().split_ascii_whitespace().count();
    let wants = match key.arity {
        Arity::Scalar => "one number",
        Arity::Triple => "three numbers",
        Arity::Text => return None,
    };
    if value.arity() != key.arity {
        return Some(format!("it takes {wants}, and {words} words are no such value"));
    }
    if let Value::Triple([min, middle, max]) = value
        && !(min <= middle && middle <= max)
    {
        return Some(format!("{value} does not ascend, which the kernel does not check"));
    }
    let is_negative = numbers(value).iter().any(|number| *number < 0);
    is_negative.then(|| format!("{value} is negative"))
}

fn of_effect(key: &Key, value: &Value, machine: Option<&Machine>) -> Option<String> {
    let without = WITHOUT_EFFECT.iter().find(|(name, since)| {
        *name == key.name && machine.is_none_or(|machine| machine.since(since.0, since.1))
    });
    if without.is_some() {
        return Some(format!("it has no effect: {}", key.meaning.trim_end_matches('.')));
    }
    let is_off = *value == Value::Scalar(0) && NOT_TO_BE_TURNED_OFF.contains(&key.name);
    is_off.then(|| "0 turns off what TCP needs for large windows and full listeners".to_owned())
}

/// A number that is kept is not too large because of this change: only those that change are judged.
fn of_size(key: &Key, value: &Value, change: &Change, machine: Option<&Machine>) -> Option<String> {
    let now = Value::parse(change.current.as_bytes());
    let changes =
        |(at, new): &(usize, &i64)| number(now.as_ref(), *at).is_none_or(|now| **new != now);
    let largest = *numbers(value).iter().enumerate().filter(changes).map(|(_, new)| new).max()?;
    match key.unit {
        Unit::Pages => {
            let machine = machine?;
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
        Unit::Bytes if largest == 4_294_967_295 => None,
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
    if !is_a_size || MADE_TO_BE_LOWERED.contains(&key.name) {
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
            ("net.core.rmem_max", "212992", "lower than 4194304, the kernel's default"),
            ("net.ipv4.tcp_rmem", "8192 87380 16777216", "lower than 4096 131072 33554432"),
            ("net.core.netdev_budget_usecs", "2000", "the current value"),
            ("net.ipv4.udp_wmem_min", "8192", "no effect"),
            ("net.ipv4.tcp_adv_win_scale", "2", "no effect"),
            ("net.ipv4.tcp_sack", "0", "turns off"),
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
