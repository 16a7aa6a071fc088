//! Commands in units of systemd: `ExecStart=` and its like, which no shell reads.
//!
//! Words and quotes are as in a shell, but `>` and `|` are arguments, a `;` that is a word of its own begins the
//! next command, `$$` is a `$`, and `%` stands for what systemd knows (systemd.service(5), Command Lines). Of a
//! text that is a unit no other line is a command: only those of settings count, which tuned(8) has in its files.

use super::command::{Item, Part, Simple, UNKNOWN, Word};
use super::shell::Lexer;

/// Settings of a unit that have a command.
const COMMANDS: [&str; 7] = [
    "ExecStart",
    "ExecStartPre",
    "ExecStartPost",
    "ExecCondition",
    "ExecReload",
    "ExecStop",
    "ExecStopPost",
];

/// Whether a text is a unit, or another file in sections: its first line that says something is `[Name]`.
pub(super) fn is_unit(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    let name = first.and_then(|line| line.strip_prefix('[')?.strip_suffix(']'));
    name.is_some_and(|name| {
        let is_part = |letter: char| letter.is_alphanumeric() || "-_. ".contains(letter);
        name.starts_with(char::is_alphabetic) && name.chars().all(is_part)
    })
}

impl Lexer<'_> {
    /// Takes a line with the command of a unit, if that is what begins here; in a unit any other line too.
    pub(super) fn unit(&mut self) -> bool {
        if !self.current.words.is_empty() {
            return false;
        }
        match begin_of_command(&self.rest_of_line()) {
            Some(letters) => {
                self.skip(letters);
                while self.unit_command() {}
            }
            None if self.is_unit => self.skip_joined(),
            None => return false,
        }
        true
    }

    /// Passes a line, and those that a `\\` at its end joins to it.
    fn skip_joined(&mut self) {
        while self.peek(0).is_some() {
            let is_joined = self.rest_of_line().trim_end_matches('\r').ends_with('\\');
            self.skip_line();
            self.next();
            if !is_joined {
                return;
            }
        }
    }

    /// Takes one command of a line; whether another one follows.
    fn unit_command(&mut self) -> bool {
        self.blanks();
        while self.peek(0).is_some_and(|letter| "@-:+!|".contains(letter)) {
            self.skip(1);
        }
        let mut command = Simple { line: self.line, ..Simple::default() };
        let mut has_next = false;
        loop {
            let before = self.at;
            self.blanks();
            let start = self.at;
            let word = self.word();
            match self.peek(0) {
                _ if self.at > start => command.words.push(specified(word)),
                None | Some('\n') => break,
                Some('\r') => self.skip(1),
                Some(';') => {
                    self.skip(1);
                    let is_end = self.peek(0).is_none_or(char::is_whitespace);
                    if start > before && is_end {
                        has_next = true;
                        break;
                    }
                    command.words.push(vec![Part::Text(';'.into())]);
                }
                Some(letter) => {
                    self.skip(1);
                    command.words.push(vec![Part::Text(letter.into())]);
                }
            }
        }
        self.items.push(Item::Command(command));
        has_next
    }
}

/// How many letters of a line stand before the command that it has.
fn begin_of_command(line: &str) -> Option<usize> {
    let name = line.trim_start();
    let command = COMMANDS.iter().find_map(|known| {
        let rest = name.strip_prefix(known)?;
        rest.trim_start_matches([' ', '\t']).strip_prefix('=')
    })?;
    Some(line.chars().count() - command.chars().count())
}

/// A word as systemd makes it: what it puts for a `%` is not known.
fn specified(word: Word) -> Word {
    let of = |text: &str| {
        let mut known = String::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            known.push(match (letter, letter == '%') {
                (_, true) if letters.next() != Some('%') => UNKNOWN,
                (letter, _) => letter,
            });
            if letter == '$' && letters.as_str().starts_with('$') {
                letters.next();
            }
        }
        known
    };
    let part = |part: Part| match part {
        Part::Text(text) => Part::Text(of(&text)),
        part => part,
    };
    word.into_iter().map(part).filter(|part| *part != Part::Text(String::new())).collect()
}
