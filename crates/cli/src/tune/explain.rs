//! `netmem tune explain KEY`: a setting of network memory, with this machine's numbers.
//!
//! What is said of unit, form, scope and default is [`netmem_host::sysctl`]'s, what people get wrong is
//! [`netmem_host::tune::facts`]', and what it is `netmem explain`'s where that has an entry. Whom it rules is
//! asked of this kernel, where this process may make a network namespace. Nothing is written.
//!
//! Exit codes: 0 found, whatever could be read; 2 no such setting, and the nearest ones are named; 3 the
//! machine does not tell what defaults are computed from.

use std::io::{self, Write};

use netmem_host::{
    proc::{Meminfo, Scope},
    source::{Root, Unavailable},
    sysctl::{self, KEYS, Key, Machine, Unit, Value},
    tune::facts::{Bounds, Fact, NO_SETTINGS, spelled},
};
use serde::Serialize;

use crate::{
    Failure, Outcome,
    args::TuneExplainArgs,
    explain::{Explanation, print_text},
    report::{self, row},
};

/// How many settings are named when one is not found.
const NEAREST: usize = 5;

/// What is said of a setting.
#[derive(Debug, Clone, Serialize)]
pub struct Explained {
    /// `netmem.tune.explain/1`.
    pub schema: &'static str,
    /// Form, unit, meaning, how the default is computed, and where the kernel documents it.
    pub setting: &'static Key,
    /// What it is, and what it limits.
    pub what: &'static str,
    /// Whom it rules on this kernel.
    pub scope: Scope,
    /// Why that is not asked of this kernel but what kernel 6.18 does; null if it was asked.
    pub scope_not_asked: Option<String>,
    /// Its value.
    pub now: Option<Amount>,
    /// Why that is not known.
    pub now_unavailable: Option<Unavailable>,
    /// What this kernel boots with on this machine; null where that cannot be computed.
    pub default: Option<Amount>,
    /// The smallest and the largest number that the kernel takes; null where that is not known.
    pub bounds: Option<[i128; 2]>,
    /// Whether writing it changes anything.
    pub has_effect: bool,
    /// What people get wrong about it.
    pub mistakes: &'static [&'static str],
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// As the kernel has it.
    pub value: Value,
    /// Each number in bytes, where it is of memory.
    pub bytes: Option<Vec<i128>>,
    /// With its unit, and what that is in memory.
    pub spelled: String,
}

/// Runs the command.
///
/// # Errors
/// When there is no such setting, or the machine cannot be read.
pub fn run(args: &TuneExplainArgs, out: &mut dyn Write) -> Result<Outcome, Failure> {
    let key = find(&args.key)?;
    let explained = Explained::of(key, &Root::live())
        .map_err(|why| Failure::missing(format!("explain {}: {why}", key.name)))?;
    let printed = if args.json { report::json(out, &explained) } else { print(out, &explained) };
    printed.and_then(|()| out.flush()).map_err(Failure::output)?;
    Ok(Outcome::Done)
}

impl Explained {
    fn of(key: &'static Key, root: &Root) -> Result<Self, Unavailable> {
        let machine = Machine::read(root)?;
        let memory_bytes = Meminfo::read(root).ok().map(|memory| memory.total_bytes);
        let amount = |value: Value| Amount::of(key, value, &machine, memory_bytes);
        let (scope, scope_not_asked) = match sysctl::scopes() {
            Ok(seen) => match seen.get(key.name).and_then(|seen| seen.scope()) {
                Some(scope) => (scope, None),
                None => (key.scope, Some("it does not show in this network namespace".to_owned())),
            },
            Err(why) => (key.scope, Some(why.to_string())),
        };
        let (now, now_unavailable) = match sysctl::read(root, key.name) {
            Ok(value) => (Some(amount(value)), None),
            Err(why) => (None, Some(why)),
        };
        let fact = Fact::named(key.name);
        let entries = Explanation::of(key.name, root).map(|explanation| explanation.entries);
        let entry = entries.iter().flatten().find(|answer| answer.word == key.name);
        let since = fact.and_then(|fact| fact.no_effect_since);
        Ok(Self {
            schema: "netmem.tune.explain/1",
            setting: key,
            what: entry.map_or(key.meaning, |answer| answer.what),
            scope,
            scope_not_asked,
            now,
            now_unavailable,
            default: key.default(&machine).map(amount),
            bounds: Bounds::here(key.name, &machine).map(|bounds| [bounds.min, bounds.max]),
            has_effect: !since.is_some_and(|(major, minor)| machine.since(major, minor)),
            mistakes: fact.map_or(&[], |fact| fact.mistakes),
        })
    }
}

impl Amount {
    fn of(key: &Key, value: Value, machine: &Machine, memory_bytes: Option<u64>) -> Self {
        let numbers: Vec<i128> = match &value {
            Value::Scalar(number) => vec![(*number).into()],
            Value::Triple(numbers) => numbers.iter().map(|number| (*number).into()).collect(),
            Value::Text(_) => Vec::new(),
        };
        let scale = match key.unit {
            Unit::Bytes => Some(1),
            Unit::Pages => Some(i128::from(machine.page_bytes)),
            _ => None,
        };
        let bytes: Option<Vec<_>> = scale
            .filter(|_| !numbers.is_empty())
            .map(|scale| numbers.iter().map(|number| number.saturating_mul(scale)).collect());
        let mut text = match numbers.is_empty() {
            true => value.to_string(),
            false => spelled(&numbers, key.unit, machine),
        };
        if let (Unit::Pages, Some(bytes), Some(memory)) = (key.unit, &bytes, memory_bytes) {
            let share = |bytes: &i128| {
                let tenths = bytes.saturating_mul(1000) / i128::from(memory.max(1));
                format!("{}.{} %", tenths / 10, tenths % 10)
            };
            let shares: Vec<_> = bytes.iter().map(share).collect();
            text = format!("{text}, {} of the machine's memory", shares.join(", "));
        }
        Self { value, bytes, spelled: text }
    }
}

/// The setting of a name, which may be without its folder, or with slashes.
fn find(asked: &str) -> Result<&'static Key, Failure> {
    let name = asked.trim().trim_start_matches("/proc/sys/").replace('/', ".");
    let is_it = |key: &&Key| {
        key.name == name || key.name.strip_suffix(&name).is_some_and(|left| left.ends_with('.'))
    };
    if let Some(key) = KEYS.iter().find(is_it).filter(|_| !name.is_empty()) {
        return Ok(key);
    }
    if let Some((_, why)) = NO_SETTINGS.iter().find(|(gone, _)| *gone == name) {
        return Err(Failure::usage(format!("explain {asked}: {why}")));
    }
    let asked_last = name.rsplit('.').next().unwrap_or_default();
    let likeness = |key: &Key| strsim::jaro_winkler(asked_last, last(key));
    let mut near: Vec<_> = KEYS.iter().map(|key| (likeness(key), key.name)).collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    let near: Vec<_> = near.into_iter().take(NEAREST).map(|(_, name)| name).collect();
    Err(Failure::usage(format!("explain {asked}: not a setting of network memory"))
        .with_hint(format!("near: {}; `netmem explain WORD` has other words", near.join(", "))))
}

/// The name without its folders.
fn last(key: &Key) -> &str {
    key.name.rsplit('.').next().unwrap_or_default()
}

fn print(out: &mut dyn Write, explained: &Explained) -> io::Result<()> {
    let key = explained.setting;
    row(out, "setting", key.name)?;
    for alike in KEYS.iter().filter(|other| other.name != key.name && last(other) == last(key)) {
        row(out, "", format!("another one is {}", alike.name))?;
    }
    print_text(out, "what", explained.what)?;
    let form = match key.unit {
        Unit::Text => "text".to_owned(),
        unit => format!("{:?} of {}", key.arity, unit.name()).to_lowercase(),
    };
    row(out, "form", form)?;
    if let Some([min, max]) = explained.bounds {
        row(out, "", format!("each {min} to {max}; others are refused with EINVAL"))?;
    }
    row(out, "scope", explained.scope.name())?;
    if let Some(why) = &explained.scope_not_asked {
        print_text(out, "", &format!("as kernel 6.18 has it; this one was not asked: {why}"))?;
    }
    match (&explained.now, &explained.now_unavailable) {
        (Some(now), _) => print_text(out, "now", &now.spelled)?,
        (None, Some(why)) => {
            print_text(out, "now", &format!("not known, {}: {}", why.state, why.reason))?;
        }
        (None, None) => {}
    }
    match &explained.default {
        Some(default) => print_text(out, "default", &default.spelled)?,
        None => print_text(out, "default", "cannot be computed here")?,
    }
    print_text(out, "", key.default_rule)?;
    if !explained.has_effect {
        row(out, "effect", "none on this kernel")?;
    }
    let mut label = "mistakes";
    for mistake in explained.mistakes {
        print_text(out, label, mistake)?;
        label = "";
    }
    row(out, "documented", key.citation)
}

#[cfg(test)]
mod tests;
