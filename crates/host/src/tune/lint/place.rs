//! In which folder a shell is, so that a file without a slash in front is the one that it means.
//!
//! Where a script is started is not known, and names stay as they are there. Behind cd(1) to a path the folder
//! is known; behind one to what the text does not tell, or of which nobody knows whether it is done, it is not:
//! then a name that is one of a setting's may be that setting, and is told so. A subshell, a pipeline and `&`
//! change their own folder only. Files below /proc/sys have no links, so that `..` is the folder above.
//! Behaviour: POSIX.1-2017, XCU 4 (cd), 2.9.3 (lists) and 2.12 (environments); bash(1) for pushd and popd.

use std::rc::Rc;

use super::command::{Joint, UNKNOWN};
use super::dialect::Shell;
use super::events::Script;
use super::reads;
use crate::sysctl::KEYS;

/// Below it are the settings.
const SETTINGS: &str = "/proc/sys/";
/// No setting's path comes near it.
const LONGEST_PATH: usize = 256;
/// How many folders pushd is followed.
const MOST_FOLDERS: usize = 16;

/// Where a shell is: a path, one that begins with [`UNKNOWN`], or nothing where the script was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    folder: Rc<str>,
    /// Where it was before, for `cd -`.
    before: Rc<str>,
    /// What pushd has put down; [`None`]: nobody knows.
    stack: Option<Rc<Vec<Rc<str>>>>,
}

impl Default for Place {
    fn default() -> Self {
        Self { folder: Rc::default(), before: Rc::default(), stack: Some(Rc::default()) }
    }
}

impl Place {
    /// Where nobody knows.
    pub(super) fn lost() -> Self {
        Self { folder: unknown(), before: unknown(), stack: None }
    }

    /// One of two places.
    pub(super) fn or(&self, other: &Self) -> Self {
        let of =
            |one: &Rc<str>, other: &Rc<str>| if one == other { one.clone() } else { unknown() };
        Self {
            folder: of(&self.folder, &other.folder),
            before: of(&self.before, &other.before),
            stack: self.stack.clone().filter(|_| self.stack == other.stack),
        }
    }

    fn enter(&mut self, folder: Rc<str>) {
        self.before = std::mem::replace(&mut self.folder, folder);
    }

    /// The folder of this name from here.
    fn folder(&self, name: &str) -> Rc<str> {
        let whole = match name {
            "" => return self.folder.clone(),
            _ if name.starts_with([UNKNOWN, '~']) => return unknown(),
            _ if name.starts_with('/') => name.to_owned(),
            _ if self.folder.is_empty() => format!("{UNKNOWN}/{name}"),
            _ => format!("{}/{name}", self.folder),
        };
        // Behind a folder a mere name needs no look at all of it.
        let is_name = !name.contains(['/', '.']) && !self.folder.ends_with('/');
        let path = if is_name { Some(whole) } else { plain(&whole) };
        path.filter(|path| path.len() <= LONGEST_PATH).map_or_else(unknown, Rc::from)
    }

    /// A file of this name from here, as a path where that is known. One that may be a setting is below
    /// /proc/sys, in a folder that is not known.
    pub(super) fn file(&self, name: &str) -> String {
        let is_here = !name.starts_with(['/', '~', UNKNOWN]) && !name.is_empty();
        if name.starts_with(UNKNOWN) && format!("{}/", self.folder).starts_with(SETTINGS) {
            return format!("{SETTINGS}{name}");
        }
        if name.starts_with('/') {
            return if is_plain(name) { name.to_owned() } else { through(name) };
        }
        if !is_here || self.folder.is_empty() {
            return name.to_owned();
        }
        let whole = format!("{}/{name}", self.folder);
        if whole.starts_with('/') {
            return through(&whole);
        }
        let end = plain(&whole).unwrap_or_default();
        let end = end.rsplit(UNKNOWN).next().unwrap_or_default();
        if may_end_so(end) { format!("{SETTINGS}{UNKNOWN}{end}") } else { name.to_owned() }
    }

    /// Puts the folder down and goes to another, or changes both.
    fn push(&mut self, names: &[String]) {
        let mut stack = self.stack.as_ref().map(|stack| stack.to_vec());
        let next = match (names, &mut stack) {
            ([], Some(stack)) => stack.pop(),
            ([name], _) if !name.starts_with(['+', '-']) => Some(self.folder(name)),
            _ => return *self = Self::lost(),
        };
        // With nothing put down there is nothing to change with.
        let Some(next) = next else { return };
        let here = if self.folder.is_empty() { unknown() } else { self.folder.clone() };
        let with_here = |mut stack: Vec<_>| {
            stack.push(here);
            Rc::new(stack)
        };
        self.stack = stack.filter(|stack| stack.len() < MOST_FOLDERS).map(with_here);
        self.enter(next);
    }

    /// Goes back to what was put down.
    fn pop(&mut self, names: &[String]) {
        match self.stack.as_ref().map(|stack| stack.split_last()) {
            Some(Some((folder, rest))) if names.is_empty() => {
                let (folder, rest) = (folder.clone(), rest.to_vec());
                self.stack = Some(Rc::new(rest));
                self.enter(folder);
            }
            Some(None) => {}
            _ => *self = Self::lost(),
        }
    }
}

/// Commands that `&&` and `||` join, and where they may have gone.
#[derive(Debug)]
pub(super) struct List {
    start: Place,
    /// Whether all of it so far is taken to succeed.
    is_sure: bool,
    /// Whether something that may not be done went to another folder.
    is_unsure: bool,
}

/// One command of a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) joint: Joint,
    /// Whether it runs in a shell of its own, being in a pipeline.
    pub(super) is_apart: bool,
    /// Whether the list ends with it and runs in a shell of its own.
    pub(super) is_background: bool,
    /// Whether it is taken to succeed.
    pub(super) succeeds: bool,
}

impl List {
    pub(super) fn of(place: &Place) -> Self {
        Self { start: place.clone(), is_sure: true, is_unsure: false }
    }

    /// Begins a command: tells where the shell is if that is not done.
    pub(super) fn begin(&mut self, place: &mut Place, step: Step) -> Place {
        if step.joint == Joint::First {
            self.end(place);
            *self = Self::of(place);
        }
        let before = place.clone();
        if step.joint == Joint::Or {
            *place = place.or(&self.start);
        }
        before
    }

    /// Ends a command.
    pub(super) fn finish(&mut self, place: &mut Place, before: Place, step: Step) {
        if step.is_apart {
            *place = before;
        } else if step.joint == Joint::Or {
            // `cd folder || exit` is where it went to.
            let has_stayed = *place == before.or(&self.start);
            *place = if has_stayed { before } else { before.or(place) };
        } else if step.joint == Joint::And && *place != before {
            self.is_unsure |= !self.is_sure;
        }
        self.is_sure &= step.joint != Joint::Or && step.succeeds;
        if step.is_background {
            *place = self.start.clone();
            self.is_unsure = false;
        }
    }

    /// Ends the list.
    pub(super) fn end(&mut self, place: &mut Place) {
        if std::mem::take(&mut self.is_unsure) {
            *place = place.or(&self.start);
        }
    }
}

/// The folders in which the branches of a choice end.
#[derive(Debug)]
pub(super) struct Branches {
    entry: Place,
    ends: Option<Place>,
}

impl Branches {
    pub(super) fn of(place: &Place) -> Self {
        Self { entry: place.clone(), ends: None }
    }

    /// Another branch begins.
    pub(super) fn next(&mut self, place: &mut Place) {
        let end = std::mem::replace(place, self.entry.clone());
        self.ends = Some(self.ends.as_ref().map_or_else(|| end.clone(), |ends| ends.or(&end)));
    }

    /// The last one has ended.
    pub(super) fn end(&self, place: &mut Place) {
        if let Some(ends) = &self.ends {
            *place = place.or(ends);
        }
    }
}

impl Script {
    /// Whether a command of the shell's own may go to another folder.
    pub(super) fn is_move(&self, words: &[String]) -> bool {
        let is_one = |name: &String| {
            matches!(&name[..], "cd" | "chdir" | "pushd" | "popd" | "." | "source")
                || self.movers.contains(name)
        };
        words.first().is_some_and(is_one)
    }

    /// Goes to another folder, as a command of the shell's own does.
    pub(super) fn moves(&mut self, words: &[String]) {
        let [name, words @ ..] = words else { return };
        let has_stack = matches!(self.shell, Shell::Bash | Shell::Zsh);
        let is_option = |word: &&String| word.len() > 1 && word.starts_with('-');
        let options = words.iter().take_while(is_option).count();
        match (&name[..], &words[options..]) {
            ("cd" | "chdir", [back]) if back == "-" => {
                let before = self.place.before.clone();
                let is_told = !before.is_empty();
                self.place.enter(if is_told { before } else { unknown() });
            }
            ("cd" | "chdir", [folder]) => {
                let is_path = folder.starts_with(['/', '.']) || !self.variables.assigns("CDPATH");
                let folder = if is_path { self.place.folder(folder) } else { unknown() };
                self.place.enter(folder);
            }
            ("cd" | "chdir", _) => self.place.enter(unknown()),
            ("pushd", _) if has_stack => self.place.push(words),
            ("popd", _) if has_stack => self.place.pop(words),
            // What these do is not in the text.
            ("pushd" | "popd", _) => self.place = Place::lost(),
            ("." | "source", _) if !self.place.folder.is_empty() => self.place = Place::lost(),
            _ if self.movers.contains(name) => self.place = Place::lost(),
            _ => {}
        }
    }

    /// Where a piece of the script runs that is not told by what stands before it.
    pub(super) fn elsewhere(&self) -> Place {
        if self.may_move { Place::lost() } else { Place::default() }
    }

    /// Words of a command, files from here as paths: of those that write each, of others what is known to be
    /// a setting or a file to look at.
    pub(super) fn located(&self, name: &str, fields: Vec<String>) -> Vec<String> {
        let is_writer = matches!(name, "tee" | "sponge" | "truncate");
        if self.place.folder.is_empty() && !is_writer {
            return fields;
        }
        let located = |(index, field): (usize, String)| {
            if index == 0 || field.starts_with('-') {
                return field;
            }
            let file = self.place.file(&field);
            if is_writer || is_known(&file) { file } else { field }
        };
        fields.into_iter().enumerate().map(located).collect()
    }
}

fn unknown() -> Rc<str> {
    Rc::from("\0")
}

/// Whether a path has no parts that mean nothing, or the folder above.
fn is_plain(path: &str) -> bool {
    !path.contains("//") && !path.contains("/./") && !path.contains("/../")
}

/// A path without parts that mean nothing, and without `..`; [`None`]: the folder above is not known.
fn plain(path: &str) -> Option<String> {
    followed(path).map(|(path, _)| path)
}

/// The same, and whether each folder above was that of a folder below /proc/sys.
fn followed(path: &str) -> Option<(String, bool)> {
    let mut parts: Vec<&str> = Vec::new();
    let mut is_certain = true;
    let start = if path.starts_with(UNKNOWN) { path.split('/').next()? } else { "" };
    for part in path[start.len()..].split('/') {
        match part {
            "" | "." => {}
            ".." => {
                is_certain &= parts.starts_with(&["proc", "sys"]);
                let above = parts.pop().unwrap_or_default();
                if above.contains(UNKNOWN) {
                    return None;
                }
            }
            part => parts.push(part),
        }
    }
    Some((format!("{start}/{}", parts.join("/")), is_certain))
}

/// The path of a file, which the kernel follows through links: what is above another folder than those of
/// settings is not known.
fn through(path: &str) -> String {
    let Some((plain, is_certain)) = followed(path) else { return UNKNOWN.to_string() };
    match plain.strip_prefix(SETTINGS) {
        Some(key) if !is_certain => format!("{SETTINGS}{UNKNOWN}/{key}"),
        _ => plain,
    }
}

/// Whether a setting's path ends with these folders and this name.
fn may_end_so(end: &str) -> bool {
    let slashed = |letter: u8| if letter == b'.' { b'/' } else { letter };
    let end = end.strip_prefix('/').unwrap_or(end).as_bytes();
    let ends_so = |name: &[u8]| {
        let Some(at) = name.len().checked_sub(end.len()) else { return false };
        let is_whole = at == 0 || name[at - 1] == b'.';
        is_whole && name[at..].iter().rev().zip(end.iter().rev()).all(|(a, b)| slashed(*a) == *b)
    };
    !end.is_empty() && KEYS.iter().any(|key| ends_so(key.name.as_bytes()))
}

/// Whether a path is that of a setting, or of a file that tells of network memory.
fn is_known(path: &str) -> bool {
    match path.strip_prefix(SETTINGS) {
        Some(key) => KEYS
            .iter()
            .any(|known| known.name.len() == key.len() && super::judge::dotted(key) == known.name),
        None => reads::is_known(path),
    }
}
