//! Verdicts: each write against the setting's form, unit, bounds, default, and this machine's memory.
//!
//! A write has one verdict, that of the first thing that is found; what else is wrong with it follows as
//! further reasons. The order is that in which the kernel meets them: what it refuses, what has no effect,
//! what it takes of the text, and then what that means.

use std::collections::{BTreeMap, BTreeSet};

use super::command::{UNKNOWN, is_blank, is_false_blank};
use super::events::{Event, Kind, Opened};
use super::fragments::Fragments;
use super::output::LAST_WRITE;
use super::profile::Guard;
use super::taken::{Taken, false_blank, number, refused, text};
use super::{Judgement, Subject, Verdict, reads};
use crate::sysctl::{Arity, Key, Machine, Unit, Value};
use crate::tune::facts::{Bounds, Fact, NO_SETTINGS, READ_ONLY, descends, size, spelled};

/// Largest window that TCP can announce, in bytes (RFC 7323).
const LARGEST_WINDOW_BYTES: i128 = 1 << 30;
/// More than this for every socket even under pressure is too much, in bytes.
const LARGEST_MIN_BYTES: i128 = 1 << 20;
/// Longest advised busy poll, in microseconds.
const LONGEST_BUSY_POLL_US: i128 = 100;
/// The least time of a round that a kernel boots with, in microseconds: two ticks of 1000 Hz.
const LEAST_BUDGET_US: i128 = 2000;
/// A protocol's limits should stay below this part of the memory.
const LARGEST_SHARE: i128 = 4;
/// Tells what the text does not.
const NOT_TOLD: &str = "*";

/// Where it is documented what several writes to one open file do.
const WRITES_CITATION: &str = "Documentation/admin-guide/sysctl/kernel.rst (sysctl_writes_strict), \
                               kernel/sysctl.c (proc_first_pos_non_zero_ignore)";
/// The kernel since which the position in a file counts.
const WRITES_ARE_STRICT_SINCE: (u32, u32) = (4, 5);

/// Judges all events of a text, given in the order in which they are done; the verdicts are by line.
///
/// `is_ordered`: whether they are done in that order for sure.
pub(super) fn all(events: &[Event], is_ordered: bool, machine: &Machine) -> Vec<Verdict> {
    let written = events.iter().filter_map(|event| match &event.kind {
        Kind::Write { key, trouble: None, .. } => Some(dotted(key)),
        _ => None,
    });
    let mut statistics = events.iter().filter_map(|event| match &event.kind {
        Kind::Read { path, .. } => reads::statistic(path),
        _ => None,
    });
    let has_others = statistics.any(|name| reads::OTHERS.contains(&name));
    let written = written.collect();
    let fragments = Fragments::of(events, is_ordered);
    let taken = BTreeMap::new();
    let mut judge = Judge { machine, written, has_others, taken, fragments, at: 0 };
    let mut verdicts = Vec::new();
    for (at, event) in events.iter().enumerate() {
        judge.at = at;
        verdicts.push(judge.verdict(event));
    }
    verdicts.sort_by_key(|verdict| verdict.line);
    verdicts
}

/// What the verdicts are made from.
struct Judge<'a> {
    machine: &'a Machine,
    /// All settings that the text writes, without those that something keeps it from.
    written: BTreeSet<String>,
    /// Whether it looks at the statistics beside rx_dropped.
    has_others: bool,
    /// The line of the write that counts, of files that are open for several.
    taken: BTreeMap<usize, usize>,
    fragments: Fragments,
    /// Which event is judged.
    at: usize,
}

/// What is found about a write, the first of it the verdict.
type Found = Vec<(Judgement, String)>;

impl Judge<'_> {
    fn verdict(&mut self, event: &Event) -> Verdict {
        let line = event.line;
        match &event.kind {
            Kind::Write { key, value, trouble, strays, opened, guard } => {
                let name = dotted(key);
                let known = Key::named(&name);
                let dropped = opened.zip(known).and_then(|(opened, key)| self.dropped(opened, key));
                let is_dropped = dropped.is_some();
                let found = match (trouble, dropped) {
                    (Some(trouble), _) => {
                        vec![(trouble.judgement(), trouble.text().to_owned())]
                    }
                    (None, Some(dropped)) => vec![dropped],
                    (None, None) => self.write(&name, known, value, strays),
                };
                let found = match (guard, known) {
                    (Some(guard), Some(key)) => self.guarded(*guard, key, value, found),
                    _ => found,
                };
                if let (Some(opened), Some(key), false) = (opened, known, is_dropped) {
                    self.takes(*opened, key, value, line);
                }
                let citation =
                    known.map(|key| if is_dropped { WRITES_CITATION } else { key.citation });
                let value = (!value.contains(UNKNOWN)).then(|| value.clone());
                let target = shown(&name);
                made(Verdict { value, citation, ..blank(line, Subject::Write, target) }, found)
            }
            Kind::Read { path, is_of_skbuff } => {
                let (verdict, reason, citation) = match path.strip_prefix("/proc/sys/") {
                    Some(key) => of_setting(&dotted(key)),
                    None => reads::judge(path, *is_of_skbuff, self.has_others),
                };
                let blank = blank(line, Subject::Read, shown(path));
                made(Verdict { citation, ..blank }, vec![(verdict, reason)])
            }
            Kind::Other { text, why } => {
                let blank = blank(line, Subject::Other, shown(text));
                made(blank, vec![(Judgement::Unknown, (*why).to_owned())])
            }
        }
    }

    /// What is said of a write behind another one to the same open file.
    ///
    /// The position in the file moves by what was written, and number readers take nothing behind the
    /// beginning: proc_dointvec and its like, and proc_doulongvec. proc_douintvec leaves the position.
    fn dropped(&self, opened: Opened, key: &Key) -> Option<(Judgement, String)> {
        let (major, minor) = WRITES_ARE_STRICT_SINCE;
        if LAST_WRITE.contains(&key.name) || !self.machine.since(major, minor) {
            return None;
        }
        if let Some(line) = self.taken.get(&opened.number) {
            let what = format!(
                "dropped, and the write succeeds: the file is opened once, and the kernel takes what is \
                 written first, on line {line}"
            );
            return Some((Judgement::NoEffect, what));
        }
        opened.is_behind_unknown.then(|| {
            let what = "the file is opened once, and the kernel takes what is written first, which the \
                        text does not tell";
            (Judgement::Unknown, what.to_owned())
        })
    }

    /// Notes a write that counts: a refused one leaves the position where it is.
    fn takes(&mut self, opened: Opened, key: &Key, value: &str, line: usize) {
        let capacity = if key.arity == Arity::Triple { 3 } else { 1 };
        let bounds = self.bounds(key);
        let is_refused = || Taken::of(value, capacity, bounds).refused.is_some();
        let is_number = key.arity != Arity::Text;
        if opened.is_certain && !value.contains(UNKNOWN) && !(is_number && is_refused()) {
            self.taken.insert(opened.number, line);
        }
    }

    fn write(&self, name: &str, key: Option<&Key>, value: &str, strays: &[String]) -> Found {
        let one = |judgement, text: &str| vec![(judgement, text.to_owned())];
        if let Some(blank) = name.chars().find(|letter| is_false_blank(*letter)) {
            let what = format!("{} in the name: there is no such setting", false_blank(blank));
            return one(Judgement::NoEffect, &what);
        }
        if name.contains(UNKNOWN) {
            return one(Judgement::Unknown, "the text does not tell which setting: not judged");
        }
        if let Some((_, why)) = NO_SETTINGS.iter().find(|(gone, _)| *gone == name) {
            return one(Judgement::NoEffect, why);
        }
        let Some(key) = key else {
            return one(
                Judgement::Unknown,
                "not a setting of network memory that is known here: not judged",
            );
        };
        if READ_ONLY.contains(&name) {
            return one(Judgement::NoEffect, "it is to read only: the write is refused");
        }
        let default = |name: &str| self.default_of(Key::named(name)?)?.first().copied();
        if let Some(refused) = self.fragments.refused(self.at, name, value, default) {
            return vec![refused];
        }
        let mut found = Found::new();
        if let Some(why) = no_effect(key, self.machine) {
            let needed = self.fragments.needed(name, value, default(name));
            found.push(needed.unwrap_or((Judgement::NoEffect, why)));
        }
        if value.contains(UNKNOWN) {
            let what = "the text does not tell the value: it depends on what runs before";
            found.push((Judgement::Unknown, what.to_owned()));
        } else if key.arity == Arity::Text {
            found.push(text(key, value));
        } else {
            self.numbers(key, value, strays, &mut found);
        }
        found
    }

    /// A write that is made only where it changes the setting to one side.
    fn guarded(&self, guard: Guard, key: &Key, value: &str, mut found: Found) -> Found {
        let default = self.default_of(key).and_then(|default| default.first().copied());
        let is_idle = |number: i128, default| match guard {
            Guard::AtLeast => number <= default,
            Guard::AtMost => number >= default,
        };
        let number = number(value).filter(|number| self.bounds(key).contains(*number));
        if let (Some(number), Some(default)) = (number, default)
            && is_idle(number, default)
            && !found.iter().any(|(judgement, _)| *judgement == Judgement::Dangerous)
        {
            let what = format!(
                "{}: {default}, with which this kernel boots, stays. {}",
                guard.text(),
                key.meaning
            );
            return vec![(Judgement::Fine, what)];
        }
        found.push((Judgement::Fine, guard.text().to_owned()));
        found
    }

    /// What the kernel takes of a text as numbers, and what they mean.
    fn numbers(&self, key: &Key, value: &str, strays: &[String], found: &mut Found) {
        let capacity = if key.arity == Arity::Triple { 3 } else { 1 };
        let bounds = self.bounds(key);
        let taken = Taken::of(value, capacity, bounds);
        let numbers = &taken.numbers[..];
        if let Some(word) = &taken.refused {
            found.push(refused(key, bounds, word, numbers.len()));
        }
        if numbers.is_empty() {
            return;
        }
        let known = spelled(numbers, key.unit, self.machine);
        if !taken.rest.is_empty() && !taken.rest.starts_with(['#', ';']) {
            let form = if capacity == 1 { "one number" } else { "three numbers" };
            let what = format!(
                "it is {form}: the kernel sets {known}, drops `{}`, and the write succeeds",
                taken.rest
            );
            found.push((Judgement::SilentlyTruncated, what));
        }
        if !strays.is_empty() {
            let what = format!(
                "without quotes sysctl gets `{}` as settings of their own, which it refuses; it sets {known}",
                strays.join("` `")
            );
            found.push((Judgement::WrongArity, what));
        } else if numbers.len() < capacity && taken.refused.is_none() {
            let what = format!(
                "it is three numbers: the kernel sets the first {}to {known} and leaves the others",
                if numbers.len() == 1 { "" } else { "two " }
            );
            found.push((Judgement::WrongArity, what));
        }
        let whole = self.with_default(key, numbers);
        self.pages(key, numbers, found);
        self.dangers(key, numbers, &whole, found);
        self.default(key, numbers, found);
        if found.is_empty() {
            found.push((Judgement::Fine, format!("sets {known}. {}", key.meaning)));
        }
    }

    fn bounds(&self, key: &Key) -> Bounds {
        Bounds::here(key.name, self.machine).unwrap_or_else(|| Bounds::of(key.name))
    }

    /// The numbers that are set, and behind them those of the default that stay.
    fn with_default(&self, key: &Key, numbers: &[i128]) -> Vec<i128> {
        let default = self.default_of(key).unwrap_or_default();
        numbers.iter().copied().chain(default.into_iter().skip(numbers.len())).collect()
    }

    fn default_of(&self, key: &Key) -> Option<Vec<i128>> {
        default_on(key, self.machine)
    }

    /// The same if a hundredth of the memory were not there, where the default is computed from that: what the
    /// kernel counted when it booted is not what is counted now.
    fn least_default_of(&self, key: &Key) -> Option<Vec<i128>> {
        let pages = self.machine.free_buffer_pages;
        let less = Machine { free_buffer_pages: pages - pages / 100, ..*self.machine };
        default_on(key, &less)
    }

    /// Settings in pages that were meant in something else.
    fn pages(&self, key: &Key, numbers: &[i128], found: &mut Found) {
        if key.unit != Unit::Pages || key.arity != Arity::Triple {
            return;
        }
        let most = numbers.iter().copied().max().unwrap_or_default();
        let memory = i128::from(self.machine.free_buffer_pages);
        let page = i128::from(self.machine.page_bytes);
        let is_buffer = matches!(numbers, [min, _, max] if *min <= 65_536 && *max / 100 > *min);
        if most > memory {
            let what = format!(
                "it is in pages: {} is {}, and the machine has {} for buffers; as bytes it would be {} pages",
                most,
                size(most.saturating_mul(page)),
                size(memory.saturating_mul(page)),
                most / page.max(1)
            );
            found.push((Judgement::WrongUnit, what));
        } else if is_buffer {
            let what = format!(
                "it is in pages, and of all sockets together: {} looks like one socket's buffer in bytes",
                spelled(numbers, key.unit, self.machine)
            );
            found.push((Judgement::WrongUnit, what));
        } else if most > memory / LARGEST_SHARE {
            let what = format!(
                "{} is more than a quarter of the machine's {}: programs run out of memory before sockets do",
                size(most.saturating_mul(page)),
                size(memory.saturating_mul(page))
            );
            found.push((Judgement::Dangerous, what));
        }
    }

    /// What works and should not be done.
    fn dangers(&self, key: &Key, numbers: &[i128], whole: &[i128], found: &mut Found) {
        let mut say = |what: String| found.push((Judgement::Dangerous, what));
        let default = self.default_of(key).unwrap_or_default();
        if key.arity == Arity::Triple && descends(whole, &default) {
            let shown: Vec<_> = whole.iter().map(ToString::to_string).collect();
            say(format!(
                "the three do not ascend: {}; the kernel does not check it",
                shown.join(" ")
            ));
        }
        if let (Some(0), Some(lost)) =
            (numbers.first(), Fact::named(key.name).and_then(|fact| fact.lost_when_off))
        {
            say(format!("off, {lost}"));
        }
        match (key.name, numbers) {
            ("net.ipv4.tcp_rmem" | "net.ipv4.tcp_wmem", [min, ..]) => {
                if let [_, _, max] = numbers
                    && *max > LARGEST_WINDOW_BYTES
                {
                    say(format!("{} for one socket: TCP's largest window is 1 GiB", size(*max)));
                }
                if *min > LARGEST_MIN_BYTES {
                    say(format!(
                        "{} are left to every socket even under memory pressure, which so cannot end",
                        size(*min)
                    ));
                }
            }
            ("net.core.rmem_max" | "net.core.wmem_max", [max]) if *max > LARGEST_WINDOW_BYTES => {
                say(format!("any program may then have {} in one socket", size(*max)));
            }
            ("net.core.rmem_default" | "net.core.wmem_default", [bytes])
                if *bytes > LARGEST_WINDOW_BYTES =>
            {
                say(format!(
                    "every socket but those of TCP may then have {} unasked",
                    size(*bytes)
                ));
            }
            ("net.ipv4.tcp_notsent_lowat", [0]) => {
                say("no TCP socket that has no number of its own (TCP_NOTSENT_LOWAT) can be written to: \
                     there are never less than 0 bytes unsent, and every send waits for that without end"
                    .to_owned());
            }
            ("net.core.busy_poll" | "net.core.busy_read", [us]) if *us > LONGEST_BUSY_POLL_US => {
                say(format!("{us} microseconds of a CPU for every call that waits; 50 is advised"));
            }
            _ => {}
        }
    }

    /// Less than the default, or just that, or something that does nothing alone.
    fn default(&self, key: &Key, numbers: &[i128], found: &mut Found) {
        let default = self.default_of(key);
        if let Some(default) = &default {
            let least = self.least_default_of(key).unwrap_or_else(|| default.clone());
            lowered(key, numbers, (default, &least), found);
        }
        // A round ends at either of two bounds, and the one that is left as it was may be what ends it.
        let other = match (key.name, numbers) {
            ("net.core.netdev_budget", _) => "net.core.netdev_budget_usecs",
            ("net.core.netdev_budget_usecs", [us])
                if default.is_some() || *us > LEAST_BUDGET_US =>
            {
                "net.core.netdev_budget"
            }
            _ => return,
        };
        if found.is_empty() && !self.written.contains(other) {
            let other = other.trim_start_matches("net.core.");
            let what = format!(
                "alone it may change nothing: {other}, which the text leaves, still ends the round of \
                 polling; raise both or neither"
            );
            found.push((Judgement::NoEffect, what));
        }
    }
}

/// Less than the default, or just that, or some of it where it is computed from the memory.
fn lowered(key: &Key, numbers: &[i128], (default, least): (&[i128], &[i128]), found: &mut Found) {
    let is_limit = Fact::named(key.name).is_some_and(|fact| fact.less_is_less);
    let is_misread = found.iter().any(|(judgement, _)| *judgement == Judgement::WrongUnit);
    let all = || numbers.iter().zip(default.iter().zip(least));
    let lowered = all().filter(|(number, (_, least))| number < least);
    let pair = |(number, (default, least)): (&i128, (&i128, &i128))| {
        format!("{}{default} to {number}", if default == least { "" } else { "some " })
    };
    let pairs: Vec<_> = lowered.map(pair).collect();
    if is_limit && !pairs.is_empty() && !is_misread {
        let what = format!(
            "it lowers what this kernel boots with on this machine: {}; by its rule: {}",
            pairs.join(", "),
            key.default_rule
        );
        found.push((Judgement::LowersTheDefault, what));
    }
    let is_near = |(number, (default, least)): (&i128, (&i128, &i128))| {
        (number - default).abs() <= default - least
    };
    if !found.is_empty() {
        return;
    }
    if default == numbers {
        let what = "it is what the kernel boots with: nothing changes where nothing else set it";
        found.push((Judgement::NoEffect, what.to_owned()));
    } else if numbers.len() == default.len() && all().all(is_near) {
        let default: Vec<_> = default.iter().map(ToString::to_string).collect();
        let what = format!(
            "some of what the kernel boots with, by the memory that is counted now {}: next to nothing \
             changes where nothing else set it",
            default.join(" ")
        );
        found.push((Judgement::Fine, what));
    }
}

fn default_on(key: &Key, machine: &Machine) -> Option<Vec<i128>> {
    match key.default(machine)? {
        Value::Scalar(number) => Some(vec![number.into()]),
        Value::Triple(numbers) => Some(numbers.map(i128::from).to_vec()),
        Value::Text(_) => None,
    }
}

fn no_effect(key: &Key, machine: &Machine) -> Option<String> {
    let fact = Fact::named(key.name)?;
    let (major, minor) = fact.no_effect_since?;
    let why = fact.mistakes.first().copied().unwrap_or(key.meaning);
    machine.since(major, minor).then(|| format!("without effect: {why}"))
}

/// What is said of a look at a setting.
fn of_setting(name: &str) -> reads::Said {
    if let Some((_, why)) = NO_SETTINGS.iter().find(|(gone, _)| *gone == name) {
        return (Judgement::NoEffect, (*why).to_owned(), None);
    }
    match Key::named(name) {
        Some(key) => {
            let what = format!("in {}. {}", key.unit.name(), key.meaning);
            (Judgement::Fine, what, Some(key.citation))
        }
        None => (Judgement::Unknown, "not a setting that is known here: not judged".into(), None),
    }
}

/// A setting's name with dots, from one with dots or slashes.
pub(super) fn dotted(key: &str) -> String {
    let key = key.trim_matches(is_blank);
    let key = key.strip_prefix("/proc/sys/").unwrap_or(key);
    let has_slashes = key.find(['.', '/']).is_some_and(|at| key.as_bytes()[at] == b'/');
    if has_slashes { key.replace('/', ".") } else { key.to_owned() }
}

fn shown(text: &str) -> String {
    text.replace(UNKNOWN, NOT_TOLD)
}

fn blank(line: usize, subject: Subject, target: String) -> Verdict {
    Verdict {
        line,
        subject,
        target,
        value: None,
        verdict: Judgement::Unknown,
        reasons: Vec::new(),
        citation: None,
    }
}

/// A verdict with what was found: the first of it decides.
fn made(blank: Verdict, found: Found) -> Verdict {
    let verdict = found.first().map_or(Judgement::Unknown, |(judgement, _)| *judgement);
    let reasons = found.into_iter().map(|(_, reason)| shown(&reason)).collect();
    Verdict { verdict, reasons, ..blank }
}
