//! Limits of fragments, of which each bounds the other: high_thresh may not be below low_thresh.
//!
//! low_thresh does nothing itself since 4.17, and who lowers high_thresh below it has to lower it first. What it is
//! when the text begins is not told: it is taken for the default then. A text tells the order of its writes, but
//! not that of functions; where it has some, nothing is said of what may come before.
//! Source: `ip4_frags_ns_ctl_table` in net/ipv4/ip_fragment.c, `ip6_frags_ns_ctl_table` in
//! net/ipv6/reassembly.c, kernel 6.18.

use super::Judgement;
use super::command::UNKNOWN;
use super::events::{Event, Kind};
use super::judge::dotted;
use super::taken::number;

/// The lower limit and the upper one, of each family.
const PAIRS: [(&str, &str); 2] = [
    ("net.ipv4.ipfrag_low_thresh", "net.ipv4.ipfrag_high_thresh"),
    ("net.ipv6.ip6frag_low_thresh", "net.ipv6.ip6frag_high_thresh"),
];

/// A write to a limit, or to what may be one.
struct Written {
    /// Which event it is.
    at: usize,
    line: usize,
    key: String,
    /// [`None`]: the text does not tell it.
    number: Option<i128>,
}

/// All writes of a text that something of this depends on.
pub(super) struct Fragments {
    writes: Vec<Written>,
    /// Whether the text tells their order.
    is_ordered: bool,
}

impl Fragments {
    /// Those of events in their order.
    pub(super) fn of(events: &[Event], is_ordered: bool) -> Self {
        let written = |(at, event): (usize, &Event)| match &event.kind {
            Kind::Write { key, value, trouble: None, .. } => {
                let key = dotted(key);
                let is_one = PAIRS.iter().any(|(low, high)| key == *low || key == *high);
                let first = value.split_ascii_whitespace().next().unwrap_or_default();
                let number = number(first);
                // What is refused changes nothing.
                let counts = number.is_some() || value.contains(UNKNOWN) || key.contains(UNKNOWN);
                let is_told = counts && (is_one || key.contains(UNKNOWN));
                is_told.then_some(Written { at, line: event.line, key, number })
            }
            _ => None,
        };
        Self { writes: events.iter().enumerate().filter_map(written).collect(), is_ordered }
    }

    /// What is said of the write `at` of an upper limit that is below the lower one.
    pub(super) fn refused(
        &self,
        at: usize,
        key: &str,
        value: &str,
        default: impl Fn(&str) -> Option<i128>,
    ) -> Option<(Judgement, String)> {
        let (low, _) = PAIRS.iter().find(|(_, high)| *high == key)?;
        let value = number(value.split_ascii_whitespace().next()?)?;
        let lows = || self.writes.iter().filter(|it| it.key == *low || it.key.contains(UNKNOWN));
        let (mut least, mut place) = (default(low)?, "as the kernel boots with it".to_owned());
        for it in lows().filter(|it| it.at < at) {
            if it.number? < least {
                (least, place) = (it.number?, format!("as line {} sets it", it.line));
            }
        }
        if value >= least {
            return None;
        }
        let later = lows().find(|it| it.at > at && it.number.is_none_or(|low| low <= value));
        let later = match later {
            Some(_) if !self.is_ordered => {
                let what = format!(
                    "refused with EINVAL where {low} is still more, and the text does not tell what is done first"
                );
                return Some((Judgement::Unknown, what));
            }
            Some(it) => format!("lower that first, and not behind it on line {}", it.line),
            None => "lower that first".to_owned(),
        };
        let what = format!(
            "`{value}` is less than {low}, {least} {place}: refused with EINVAL, nothing changes; {later}"
        );
        Some((Judgement::NoEffect, what))
    }

    /// What is said of a write of a lower limit without which an upper one is refused.
    pub(super) fn needed(
        &self,
        key: &str,
        value: &str,
        default: Option<i128>,
    ) -> Option<(Judgement, String)> {
        let (_, high) = PAIRS.iter().find(|(low, _)| *low == key)?;
        let value = number(value.split_ascii_whitespace().next()?)?;
        let default = default?;
        let is_needed = |it: &&Written| {
            it.key == *high && it.number.is_none_or(|high| (value..default).contains(&high))
        };
        let it = self.writes.iter().find(is_needed).filter(|_| value < default)?;
        let may = if it.number.is_some() { "is" } else { "may be" };
        let what = format!(
            "without effect itself, but {high} on line {} {may} refused where it is less than this",
            it.line
        );
        let verdict = if it.number.is_some() { Judgement::Fine } else { Judgement::Unknown };
        Some((verdict, what))
    }
}
