//! Where a text goes that a command prints: into a setting, into a file of settings, or past both.
//!
//! A file is opened once by a redirection; what goes into it are as many writes as pieces are printed.

use super::command::{Direction, Simple, UNKNOWN, is_blank, is_setting, unassigned};
use super::events::{Event, Kind, Opened, Script};
use super::indirect::{has_commands, is_not_loaded, is_of_settings, of_network, of_settings};
use super::judge::dotted;
use super::output::{self, Output};
use super::program::{NO_SETTING, Netns};
use super::trouble::Trouble;
use crate::proc::Scope;
use crate::sysctl::Key;

/// What is said of a file of settings that gets what the text does not tell.
const NOT_TOLD: &str = "what goes into this file of settings is not in the text: not judged";

/// Settings whose text the kernel compares as it stands but for a newline at its end.
const COMPARED: [&str; 2] = ["net.ipv4.tcp_congestion_control", "net.core.default_qdisc"];

impl Script {
    /// What a command or a group prints goes where its redirections say; `name` is the program's.
    pub(super) fn redirected(
        &mut self,
        command: &Simple,
        name: &str,
        outputs: Option<&[Output]>,
        is_shells: bool,
    ) {
        let mut written = 0;
        for redirect in &command.redirects {
            if redirect.direction == Direction::Input {
                continue;
            }
            let path = self.place.file(&self.variables.whole(&redirect.target));
            if redirect.direction != Direction::Output {
                self.opened_only(command.line, &path, redirect.direction, name);
                continue;
            }
            written += 1;
            self.made.open();
            match outputs {
                Some([]) if matches!(name, "" | ":" | "true" | "false") => {
                    self.opened_only(command.line, &path, Direction::Replaced, name);
                }
                Some(outputs) if written > 1 && !self.may_go(command.line, &path, outputs) => {}
                Some(outputs) if self.by_lines(&path, outputs) => {}
                Some([_, _, ..]) => self.several(&path, outputs.unwrap_or_default()),
                _ => {
                    let output = outputs.and_then(<[_]>::first);
                    let trouble = is_shells.then_some(Trouble::RedirectedBySudo);
                    let line = output.filter(|_| command.words.is_empty());
                    let line = line.map_or(command.line, |output| output.line);
                    self.target(line, &path, output, trouble);
                }
            }
        }
    }

    /// `>` as an argument of echo and its like: a file was meant to be written.
    pub(super) fn unredirected(&mut self, line: usize, fields: &[String]) {
        for words in fields.windows(2) {
            if let [">" | ">>", path] = [&words[0][..], &words[1][..]]
                && let Some(key) = path.strip_prefix("/proc/sys/")
            {
                self.write(line, key, &UNKNOWN.to_string(), Some(Trouble::NoShell));
            }
        }
    }

    /// A setting is opened, and nothing that is printed goes there, or only what is not known.
    fn opened_only(&mut self, line: usize, path: &str, direction: Direction, name: &str) {
        let Some(key) = path.strip_prefix("/proc/sys/") else { return };
        let unknown = UNKNOWN.to_string();
        // These print in one place only.
        let is_told = matches!(name, "echo" | "printf") || direction == Direction::Replaced;
        if direction == Direction::Ambiguous {
            self.write(line, key, &unknown, Some(Trouble::Ambiguous));
        } else if is_told {
            self.write(line, key, &unknown, Some(Trouble::GetsNothing));
        } else if direction == Direction::Other || name == "}" {
            self.write(line, key, &unknown, None);
        }
    }

    /// Does what is written line by line to a setting, if that is so.
    fn by_lines(&mut self, path: &str, outputs: &[Output]) -> bool {
        let is_setting = path.starts_with("/proc/sys/");
        let lines = Some(outputs).filter(|_| is_setting).and_then(output::by_lines);
        lines.iter().for_each(|lines| self.several(path, lines));
        lines.is_some()
    }

    /// Several texts go to a file that is opened once, each by a write of its own.
    fn several(&mut self, path: &str, outputs: &[Output]) {
        let Some(key) = path.strip_prefix("/proc/sys/") else {
            for output in output::joined(outputs) {
                self.target(output.line, path, Some(&output), None);
            }
            return;
        };
        self.opened += 1;
        let number = self.opened;
        let has_told = outputs.iter().any(|output| output.is_told);
        let mut is_behind_unknown = false;
        for output in outputs {
            if !output.is_told && has_told {
                is_behind_unknown = true;
                continue;
            }
            let is_certain = output.is_certain;
            self.write(output.line, key, &output.text, None);
            if let Some(Event { kind: Kind::Write { opened, .. }, .. }) = self.events.last_mut() {
                *opened = Some(Opened { number, is_certain, is_behind_unknown });
            }
            if !output.is_told {
                return;
            }
            is_behind_unknown |= output.text.contains(UNKNOWN);
        }
    }

    /// What tee(1) reads goes to a file, in as many writes as it makes reads.
    pub(super) fn piped(&mut self, line: usize, path: &str, outputs: Option<&[Output]>) {
        self.made.open();
        match outputs {
            Some([_, _, ..]) if path.starts_with("/proc/sys/") => {
                self.target(line, path, None, None);
            }
            Some(outputs) if !self.may_go(line, path, outputs) => {}
            Some([_, _, ..]) => self.several(path, outputs.unwrap_or_default()),
            _ => self.target(line, path, outputs.and_then(<[_]>::first), None),
        }
    }

    /// A text goes to a file.
    pub(super) fn target(
        &mut self,
        line: usize,
        path: &str,
        output: Option<&Output>,
        trouble: Option<Trouble>,
    ) {
        let unknown = UNKNOWN.to_string();
        if let Some(key) = path.strip_prefix("/proc/sys/") {
            let value = output.map_or(&unknown, |output| &output.text);
            let name = value.lines().next().unwrap_or_default();
            let is_name = COMPARED.contains(&&dotted(key)[..]) && !name.contains(UNKNOWN);
            let bare = name.trim_matches(is_blank);
            let has_blanks = is_name && name != bare && !bare.is_empty();
            self.write(line, key, value, trouble.or_else(|| has_blanks.then_some(Trouble::Blanks)));
        } else if is_not_loaded(path) && !self.loads_others {
            if let Some(output) = output.filter(|output| output.is_told) {
                self.settings(output, trouble.or(Some(Trouble::NotLoaded)));
            }
        } else if is_of_settings(path)
            && !output.is_some_and(|output| output.is_told && output.text != unknown)
        {
            self.push(line, Kind::Other { text: format!("write to {path}"), why: NOT_TOLD });
        } else if let Some(output) = output.and_then(|output| of_settings(path, output)) {
            // Who reads the file is not in this one's namespace.
            let netns = std::mem::take(&mut self.netns);
            self.settings(&output, trouble);
            self.netns = netns;
        } else if path.starts_with("/sys/") || path.starts_with("/proc/") {
            self.push(line, Kind::Other { text: format!("write to {path}"), why: NO_SETTING });
        } else if let Some((_, key)) = path.split_once("proc/sys/") {
            let value = output.map_or(&unknown, |output| &output.text);
            self.write(line, key, value, Some(Trouble::MountedElsewhere));
        } else if let Some(output) = output.filter(|_| path.contains(UNKNOWN)) {
            self.settings(&of_network(output), Some(Trouble::FileNotTold));
        } else if let Some(output) = output.filter(|_| has_commands(path)) {
            self.run_later(output);
        } else if let Some(output) = output {
            self.made.write(path, output);
        }
    }

    pub(super) fn write(&mut self, line: usize, key: &str, value: &str, trouble: Option<Trouble>) {
        let bare = |text: &str| text.trim_matches(is_blank).to_owned();
        let (key, value) = (bare(key), bare(value));
        let is_of_machine =
            || Key::named(&dotted(&key)).is_some_and(|key| key.scope == Scope::Global);
        let kept = match self.netns {
            Netns::Initial => None,
            Netns::Other => Some(Trouble::InNamespace),
            Netns::Unknown => Some(Trouble::MaybeInNamespace),
        };
        let trouble = trouble.or_else(|| kept.filter(|_| is_of_machine()));
        let has_return = self.is_command && self.returns.contains(&line);
        let trouble = trouble.or_else(|| has_return.then_some(Trouble::CarriageReturn));
        let strays = Vec::new();
        self.push(line, Kind::Write { key, value, trouble, strays, opened: None, guard: None });
    }

    /// Lines of settings, as they stand in a file or go into one.
    pub(super) fn settings(&mut self, output: &Output, trouble: Option<Trouble>) {
        for (index, line) in output.text.lines().enumerate() {
            let number = output.line + if output.has_lines { index } else { 0 };
            let has_unknown_name = line.split('=').next().is_some_and(|key| key.contains(UNKNOWN));
            if let Some((key, value)) = line.split_once('=').filter(|_| {
                is_setting(line) || (has_unknown_name && !line.trim_start().starts_with('#'))
            }) {
                let key = key.trim_matches(is_blank);
                self.write(number, key.strip_prefix('-').unwrap_or(key), value, trouble);
            } else if let Some((key, value)) = unassigned(line) {
                self.write(number, key, value, trouble.or(Some(Trouble::NoSign)));
            } else if line.trim() == "\0" {
                self.push(number, Kind::Other { text: "a line of settings".into(), why: NOT_TOLD });
            }
        }
    }
}
