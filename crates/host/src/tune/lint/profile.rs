//! Profiles of tuned(8): settings in the section `[sysctl]`, or in any with `type=sysctl`.
//!
//! ```text
//!   [variables]                      NAME=VALUE, for ${NAME} in the values behind it
//!   [sysctl]                         KEY=VALUE # comment
//!      KEY="4096 131072 16777216"    without the quotes
//!      KEY=>2048                     written only where the setting is less; `<`: where it is more
//! ```
//! Two signs in front of a number are compared with one number only: where the setting has three, or no number
//! follows, the sign is written too. What a variable is that other files or functions of tuned make is not known;
//! neither is a value that goes on in lines that stand further in. Unlike sysctl(8), tuned takes all blanks off.
//! Source: loader.py and variables.py in tuned/profiles, base.py and plugin_sysctl.py in tuned/plugins, tuned 2.28,
//! and configparser of Python.

use std::collections::BTreeMap;

use super::command::UNKNOWN;
use super::events::{Event, Kind};
use super::judge::dotted;
use super::unit::is_unit;
use crate::sysctl::{Arity, Key};

/// Where a value is written only if it changes the setting to one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Guard {
    /// `>`: the setting is less.
    AtLeast,
    /// `<`: the setting is more.
    AtMost,
}

impl Guard {
    /// When it is written.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::AtLeast => "for its `>` tuned writes it only where the setting is less",
            Self::AtMost => "for its `<` tuned writes it only where the setting is more",
        }
    }
}

/// An assignment of a profile.
struct Assigned<'a> {
    line: usize,
    section: &'a str,
    key: &'a str,
    /// What stands behind `=`, without a comment; [`None`]: it goes on in further lines.
    value: Option<&'a str>,
}

/// Whether a text is a profile that has settings.
pub(super) fn is_profile(text: &str) -> bool {
    is_unit(text) && assigned(text).iter().any(|it| it.section == "sysctl" || is_type(it))
}

/// All writes of a profile, by line.
pub(super) fn events(text: &str) -> Vec<Event> {
    let all = assigned(text);
    let variables = variables(&all);
    let is_sysctl = |section: &str| {
        let own = all.iter().rfind(|it| it.section == section && it.key == "type");
        own.map_or(section == "sysctl", is_type)
    };
    let settings = all.iter().filter(|it| it.key.contains(['.', '/']) && is_sysctl(it.section));
    let write = |it: &Assigned<'_>| {
        let value =
            it.value.map_or_else(|| UNKNOWN.to_string(), |value| expanded(value, &variables));
        let (guard, value) = guarded(it.key, &value);
        let (key, value, strays) = (it.key.to_owned(), value.to_owned(), Vec::new());
        let kind = Kind::Write { key, value, trouble: None, strays, opened: None, guard };
        Event { line: it.line, kind }
    };
    settings.map(write).collect()
}

fn is_type(it: &Assigned<'_>) -> bool {
    it.key == "type" && it.value == Some("sysctl")
}

/// The assignments of a text.
fn assigned(text: &str) -> Vec<Assigned<'_>> {
    let (mut section, mut indent) = ("", None);
    let mut all: Vec<Assigned<'_>> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with(['#', ';']) {
            continue;
        }
        let depth = line.len() - line.trim_start().len();
        if indent.is_some_and(|indent| depth > indent) {
            if let Some(last) = all.last_mut() {
                last.value = None;
            }
            continue;
        }
        if let Some((name, _)) = bare.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            (section, indent) = (name, None);
        } else if let Some((key, value)) = without_comment(bare).split_once('=') {
            indent = Some(depth);
            let (key, value) = (key.trim(), Some(unquoted(value.trim())));
            all.push(Assigned { line: index + 1, section, key, value });
        }
    }
    all
}

/// A line without the comment behind a blank.
fn without_comment(line: &str) -> &str {
    let is_comment = |(at, _): &(usize, &str)| line[..*at].ends_with(char::is_whitespace);
    let at = line.match_indices('#').find(is_comment).map_or(line.len(), |(at, _)| at);
    &line[..at]
}

/// A value without the double quotes around it.
fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

/// The variables that have one plain value.
fn variables<'a>(all: &[Assigned<'a>]) -> BTreeMap<&'a str, Option<&'a str>> {
    let mut variables = BTreeMap::new();
    for it in all.iter().filter(|it| it.section == "variables") {
        let value = it.value.filter(|value| !value.contains(['$', '\\']));
        let is_other =
            |known: &mut Option<&str>| *known = known.filter(|known| Some(*known) == value);
        variables.entry(it.key).and_modify(is_other).or_insert(value);
    }
    // A file with further ones may have the same.
    if variables.contains_key("include") { BTreeMap::new() } else { variables }
}

/// A value with what stands for its variables.
fn expanded(value: &str, variables: &BTreeMap<&str, Option<&str>>) -> String {
    if value.contains('\\') {
        return UNKNOWN.to_string();
    }
    let mut pieces = value.split("${");
    let mut whole = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once('}').unwrap_or((piece, ""));
        match variables.get(name) {
            Some(Some(known)) => whole.push_str(known),
            _ => whole.push(UNKNOWN),
        }
        whole.push_str(rest);
    }
    whole
}

/// The sign of a value that is written only where it changes the setting to one side, and the value without it.
fn guarded<'a>(key: &str, value: &'a str) -> (Option<Guard>, &'a str) {
    let is_scalar = Key::named(&dotted(key)).is_some_and(|key| key.arity == Arity::Scalar);
    let (guard, number) = match value.split_at_checked(1) {
        Some((">", number)) => (Guard::AtLeast, number.trim()),
        Some(("<", number)) => (Guard::AtMost, number.trim()),
        _ => return (None, value),
    };
    let is_number = number.parse::<i128>().is_ok() || number.contains(UNKNOWN);
    if is_scalar && is_number { (Some(guard), number) } else { (None, value) }
}
