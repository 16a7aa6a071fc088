//! sysctl(8): which of its words are settings, and which of them it writes.
//!
//! Without `-w` a word with `=` is written and one without it is read; with it, what has no `=` is refused.
//! With `-p` each word is the name of a file. Behaviour: procps 4.0.

use super::command::UNKNOWN;
use super::events::{Event, Kind, Script};
use super::output::{self, Output};
use super::program::slashed;
use super::trouble::Trouble;

/// What the options of a command say.
#[derive(Debug, Default)]
struct Options {
    /// Whether it reads files of settings.
    is_load: bool,
    /// Whether each word must be written.
    is_write: bool,
    /// Whether standard input is one of those files.
    is_input: bool,
}

impl Options {
    fn of(words: &[String]) -> Self {
        let mut all = Self::default();
        for word in words {
            all.add(word);
        }
        all
    }

    fn add(&mut self, word: &str) {
        let is_stdin = |file: &str| matches!(file, "-" | "/dev/stdin");
        self.is_input |= is_stdin(word);
        if let Some(long) = word.strip_prefix("--") {
            let (name, file) = long.split_once('=').unwrap_or((long, ""));
            self.is_load |= matches!(name, "load" | "system");
            self.is_write |= name == "write";
            self.is_input |= is_stdin(file);
        } else if let Some(letters) = word.strip_prefix('-').filter(|word| !word.contains('=')) {
            // `-r` takes the rest for a pattern, and `-p` for a file.
            let end = letters.find(['r', 'p', 'f']).unwrap_or(letters.len());
            self.is_write |= letters[..end].contains('w');
            let load = letters[end..].strip_prefix(['p', 'f']);
            self.is_load |= load.is_some();
            self.is_input |= load.is_some_and(is_stdin);
        }
    }
}

impl Script {
    /// What sysctl(8) does.
    pub(super) fn sysctl(&mut self, line: usize, fields: &[String], input: &[Output]) {
        let arguments = fields.get(1..).unwrap_or_default();
        let options = Options::of(arguments);
        if options.is_load {
            if options.is_input {
                output::joined(input).iter().for_each(|output| self.settings(output, None));
            }
            return self.loads(line, arguments);
        }
        let before = self.events.len();
        let is_of_skbuff = fields.iter().any(|word| word.contains("skbuff"));
        for word in arguments {
            let has_said = self.events.len() > before;
            let is_option = word.len() > 1 && word.starts_with('-');
            if is_option && !word.contains('=') {
                continue;
            }
            let is_name = word.contains(['.', '/', UNKNOWN]);
            match word.split_once('=') {
                Some(("", value)) if has_said => self.spaced(value),
                Some((key, value)) => self.write(line, key, value, None),
                None if is_name && options.is_write && word.contains(UNKNOWN) => {
                    self.write(line, word, &UNKNOWN.to_string(), None);
                }
                None if is_name && options.is_write => {
                    self.write(line, word, "", Some(Trouble::NotAssigned));
                }
                None if is_name => {
                    let path = format!("/proc/sys/{}", slashed(word));
                    self.push(line, Kind::Read { path, is_of_skbuff });
                }
                None if has_said => self.stray(word),
                None => {}
            }
        }
    }

    /// `=` as an argument of its own: the setting before it was meant to be written.
    fn spaced(&mut self, spaced: &str) {
        let Some(Event { kind, .. }) = self.events.last_mut() else { return };
        let trouble = Some(Trouble::SpacesAroundEquals);
        let (value, strays) = (spaced.to_owned(), Vec::new());
        match kind {
            Kind::Read { path, .. } => {
                let key = path.trim_start_matches("/proc/sys/").to_owned();
                *kind = Kind::Write { key, value, trouble, strays, opened: None, guard: None };
            }
            Kind::Write { key, trouble: Some(Trouble::NotAssigned), .. } => {
                let key = std::mem::take(key);
                *kind = Kind::Write { key, value, trouble, strays, opened: None, guard: None };
            }
            _ => {}
        }
    }

    /// An argument of sysctl that sets nothing: a number behind a blank.
    fn stray(&mut self, word: &str) {
        let Some(Event { kind, .. }) = self.events.last_mut() else { return };
        match kind {
            Kind::Write { trouble: None, strays, .. } => strays.push(word.to_owned()),
            Kind::Write { value, .. } => {
                value.push_str(if value.is_empty() { "" } else { " " });
                value.push_str(word);
            }
            Kind::Read { path, .. } if word.starts_with(|letter: char| letter.is_ascii_digit()) => {
                let key = path.trim_start_matches("/proc/sys/").to_owned();
                let (value, trouble) = (word.to_owned(), Some(Trouble::OnlyRead));
                *kind = Kind::Write {
                    key,
                    value,
                    trouble,
                    strays: Vec::new(),
                    opened: None,
                    guard: None,
                };
            }
            _ => {}
        }
    }
}
