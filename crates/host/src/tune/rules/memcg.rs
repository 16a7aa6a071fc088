//! R-MEMCG: a memory control group, and not a setting, is what sockets have too little memory of. Told only: who
//! made the group sets its limit.
//!
//! ```text
//!   charged >= 15/16 of its limit, or the limit was met meanwhile     it is full ...
//!   sock >= an eighth of what is charged                              ... and sockets are a real part of it
//!   sock_throttled grew                                               it held sockets back, whatever it has
//!   charged <  half of its limit, never met                           it is far from it
//! ```
//! A group takes its page cache back when it is full, over and over, and its sockets need not notice: so a
//! full group alone is no finding. What the kernel does when sockets of a full group want more, and which
//! counters move, differs by version:
//!
//! ```text
//!   v1, and v2 before 6.1    refused: TCPRcvQDrop, UdpMemErrors (6.18: a socket's drops alone)
//!   v2 since 6.1             what comes in is taken above the limit, and `max` grows: no UdpMemErrors; what is
//!                            sent waits, processes are killed, and TCP makes its windows small
//! ```
//! Rules about counters that a full group moves too tell it with these figures, and rule it out where all
//! groups are far from their limits ([`cause`]). That holds only where the kernel counts what it refuses:
//! version 2 since 6.1, version 1 before 6.15. Elsewhere a group may have been full between two looks.
//!
//! Source: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst, `try_charge_memcg` in mm/memcontrol.c,
//! `memcg1_charge_skmem` in mm/memcontrol-v1.c, `__sk_mem_raise_allocated` in net/core/sock.c, kernel 6.18.

use super::{Ask, Judgement, grew};
use crate::proc::CgroupVersion;
use crate::tune::evidence::{Evidence, GroupLoad};

const RULE: &str = "R-MEMCG";
/// Groups that a sentence names, and processes that are named of one.
const NAMED: usize = 3;
/// A limit is proposed to be so many times as large, as far as there is memory.
const STEP: u64 = 2;

/// What kind of counter asks whether a group moved it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// Datagrams of UDP.
    Datagrams,
    /// Segments of TCP.
    Segments,
}

pub(super) fn memcg(evidence: &Evidence, _: &Ask) -> Judgement {
    let mut judgement = Judgement::default();
    for group in &evidence.groups {
        let is_throttled = group.sock_throttled.is_some_and(|times| times > 0);
        let name = &group.group;
        let what = match (group.is_full() && group.is_of_sockets(), is_throttled) {
            (true, _) => format!(
                "the memory control group {name} is at its limit, and sockets hold {} of it",
                bytes(group.sock_bytes)
            ),
            (false, true) => format!("the memory control group {name} held its TCP sockets back"),
            (false, false) => continue,
        };
        judgement.advise(RULE, what, lines(evidence, group), advice(evidence, group));
    }
    judgement
}

/// Tells whether a full memory control group may have moved a counter, with the figures of those that may, and
/// where to look if nothing is known of them.
pub(super) fn cause(evidence: &Evidence, lost: Lost) -> String {
    let groups = &evidence.groups;
    let limited = || groups.iter().filter(|group| group.limit_bytes.is_some());
    let takes_all = |group: &GroupLoad| group.version == CgroupVersion::V2 && is_6_1(evidence);
    let full: Vec<String> =
        limited().filter(|group| group.is_full()).take(NAMED).map(GroupLoad::told).collect();
    if groups.is_empty() {
        let holder = evidence.holders.first().and_then(|holder| pid(holder));
        let of = holder.map_or_else(|| "PID".to_owned(), str::to_owned);
        return format!(
            "a full memory control group counts too: of the one in /proc/{of}/cgroup, memory.current \
             against memory.max, and memory.events"
        );
    }
    if lost == Lost::Datagrams && groups.iter().all(takes_all) {
        return "no memory control group is the cause: since kernel 6.1 one of version 2 takes \
            datagrams above its memory.max too"
            .to_owned();
    }
    if !full.is_empty() {
        return format!("a full memory control group counts too: {}", full.join("; "));
    }
    let nearer = limited().find(|group| !group.is_far());
    if let Some(group) = nearer {
        return format!("a full memory control group counts too; the fullest: {}", group.told());
    }
    let whose = match evidence.has_all_groups {
        true => "of all processes with sockets",
        false => "that could be looked at",
    };
    let is_counted = limited().all(|group| match group.version {
        CgroupVersion::V2 => is_6_1(evidence),
        CgroupVersion::V1 => evidence.machine.kernel < (6, 15),
    });
    let (all, none) = match limited().count() {
        0 => (format!("those {whose} have no limit"), ""),
        1 => {
            (format!("the one with a limit {whose} was below half of it"), ", and did not meet it")
        }
        count => (
            format!("the {count} with a limit {whose} were below half of it"),
            ", and none met its limit",
        ),
    };
    match (evidence.has_all_groups, is_counted) {
        (true, true) => format!("no memory control group is the cause: {all}{none}"),
        (true, false) => format!("hardly a full memory control group: {all} at both looks"),
        (false, _) => format!("a full memory control group counts too; {all}"),
    }
}

/// Whether what comes in is charged above a limit of version 2, and counted.
fn is_6_1(evidence: &Evidence) -> bool {
    evidence.machine.kernel >= (6, 1)
}

/// The process's number of a holder: `nginx 812: 1048576 bytes in 3 sockets`.
fn pid(holder: &str) -> Option<&str> {
    Some(holder.rsplit_once(": ")?.0.rsplit_once(' ')?.1)
}

impl GroupLoad {
    fn is_full(&self) -> bool {
        let is_near = |limit: u64| u128::from(self.charged_bytes) * 16 >= u128::from(limit) * 15;
        self.limit_bytes.is_some_and(is_near) || self.met.is_some_and(|times| times > 0)
    }

    /// Whether sockets are a real part of what is charged.
    fn is_of_sockets(&self) -> bool {
        self.sock_bytes > 0 && self.sock_bytes.saturating_mul(8) >= self.charged_bytes
    }

    /// Whether it was below half of its limit, and is not known to have met it.
    fn is_far(&self) -> bool {
        let is_below = |limit: u64| self.charged_bytes.saturating_mul(2) < limit;
        self.limit_bytes.is_none_or(is_below) && self.met == Some(0)
    }

    /// What is charged, the limit, and the count of times that it was met: the names of the files.
    fn files(&self) -> [&'static str; 3] {
        match self.version {
            CgroupVersion::V2 => ["memory.current", "memory.max", "`max` of memory.events.local"],
            CgroupVersion::V1 => [
                "memory.kmem.tcp.usage_in_bytes",
                "memory.kmem.tcp.limit_in_bytes",
                "memory.kmem.tcp.failcnt",
            ],
        }
    }

    /// It and its figures: `of the control group /a/b of nginx 812: memory.current 64 MiB of 64 MiB, ...`.
    fn told(&self) -> String {
        let [charged, _, met] = self.files();
        let limit = self.limit_bytes.map_or_else(|| "no limit".to_owned(), bytes);
        let mut told = format!(
            "of the control group {} of {}: {charged} {} of {limit}",
            self.group,
            self.named(),
            bytes(self.charged_bytes)
        );
        match self.met {
            Some(times) if times > 0 => told += &format!(", {met} grew by {times}"),
            _ => {}
        }
        told
    }

    /// The processes that hold most in it.
    fn named(&self) -> String {
        let all = &self.processes;
        let more = all.len().saturating_sub(NAMED);
        let named = all[..all.len() - more].join(", ");
        if more > 0 { format!("{named} and {more} more") } else { named }
    }
}

/// The figures of a group.
fn lines(evidence: &Evidence, group: &GroupLoad) -> Vec<String> {
    let [charged, limit, met] = group.files();
    let of = match group.limit_bytes {
        Some(most) => format!("{limit} {} ({most})", bytes(most)),
        None => "no limit".to_owned(),
    };
    let size = |size_bytes| format!("{} ({size_bytes})", bytes(size_bytes));
    let sockets = match group.version {
        CgroupVersion::V2 => format!(", of it sockets {}", size(group.sock_bytes)),
        // They are all that is counted.
        CgroupVersion::V1 => String::new(),
    };
    let mut lines = vec![format!("{charged} {} of {of}{sockets}", size(group.charged_bytes))];
    let counted =
        [(met, group.met), ("oom_kill", group.oom_kills), ("sock_throttled", group.sock_throttled)];
    let grown = counted.iter().filter_map(|(name, by)| Some((name, (*by).filter(|by| *by > 0)?)));
    lines.extend(grown.map(|(name, by)| grew(evidence, name, by)));
    lines.push(format!("its processes: {}", group.named()));
    lines
}

/// What there is to do about a group: its programs, then its limit.
fn advice(evidence: &Evidence, group: &GroupLoad) -> Vec<String> {
    let effect = match group.version {
        CgroupVersion::V2 if is_6_1(evidence) => {
            "what comes in is charged above the limit; sends wait, TCP makes its windows small, and \
             processes in it may be killed"
        }
        _ => "its sockets get no more: datagrams and segments are dropped",
    };
    let page = match group.version {
        CgroupVersion::V2 => "cgroup-v2.rst",
        CgroupVersion::V1 => "cgroup-v1/memory.rst",
    };
    let mut advice = vec![format!("{effect} (Documentation/admin-guide/{page})")];
    let in_it = |holder: &&String| {
        group.processes.iter().any(|process| holder.starts_with(&format!("{process}: ")))
    };
    let holders = evidence.holders.iter().filter(in_it);
    advice.extend(holders.map(|holder| {
        format!("look at {holder}: a program that does not read, or sends to one that does not")
    }));
    if group.version == CgroupVersion::V2 {
        let file = quoted(&format!("{}/memory.stat", group.folder));
        advice.push(format!("what else is in it: cat {file}"));
    }
    advice.extend(group.limit_bytes.map(|limit| larger(evidence, group, limit)));
    advice
}

/// How to give a group a larger limit.
fn larger(evidence: &Evidence, group: &GroupLoad, limit: u64) -> String {
    let page_bytes = evidence.machine.page_bytes.max(1);
    let addable = evidence.memory.available_bytes / 2;
    let wanted = limit.saturating_mul(STEP - 1);
    let value = limit.saturating_add(wanted.min(addable)) / page_bytes * page_bytes;
    if value <= limit {
        let available = bytes(evidence.memory.available_bytes);
        return format!("no larger limit: of the machine's memory {available} are available");
    }
    let unit = group.group.rsplit('/').next().unwrap_or_default();
    let is_unit = [".service", ".scope", ".slice"].iter().any(|kind| unit.ends_with(kind));
    let command = match (is_unit, group.version) {
        (true, CgroupVersion::V2) => {
            format!("systemctl set-property {} MemoryMax={value}", quoted(unit))
        }
        _ => {
            let file = format!("{}/{}", group.folder, group.files()[1]);
            format!("echo {value} > {}", quoted(&file))
        }
    };
    format!("a larger limit, where its maker allows it: {command}")
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@".contains(c);
    match word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// A size with its unit, rounded down to a tenth.
fn bytes(bytes: u64) -> String {
    let (shift, unit) = match bytes {
        0..0x10_0000 => (10, "KiB"),
        0x10_0000..0x4000_0000 => (20, "MiB"),
        _ => (30, "GiB"),
    };
    let tenths = (u128::from(bytes) * 10) >> shift;
    match tenths % 10 {
        0 => format!("{} {unit}", tenths / 10),
        tenth => format!("{}.{tenth} {unit}", tenths / 10),
    }
}
