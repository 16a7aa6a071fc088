//! Commands in units of systemd: `ExecStart=` and its like, which no shell reads.
//!
//! Words and quotes are as in a shell, but `>`, `|` and `;` are arguments, and `%` stands for what systemd
//! knows (systemd.service(5), Command Lines).

use super::command::{Item, Part, Simple, UNKNOWN, Word};
use super::shell::Lexer;

/// Settings of a unit that have a command.
const COMMANDS: [&str; 7] = [
    "ExecStart=",
    "ExecStartPre=",
    "ExecStartPost=",
    "ExecCondition=",
    "ExecReload=",
    "ExecStop=",
    "ExecStopPost=",
];

impl Lexer<'_> {
    /// Takes a line with the command of a unit, if that is what begins here.
    pub(super) fn unit(&mut self) -> bool {
        let line = self.rest_of_line();
        let found = COMMANDS.iter().find_map(|name| line.strip_prefix(name).map(|_| name.len()));
        let Some(length) = found.filter(|_| self.current.words.is_empty()) else { return false };
        self.skip(length);
        while self.peek(0).is_some_and(|letter| "@-:+!|".contains(letter)) {
            self.skip(1);
        }
        let mut command = Simple { line: self.line, ..Simple::default() };
        loop {
            self.blanks();
            let start = self.at;
            let word = self.word();
            match self.peek(0) {
                _ if self.at > start => command.words.push(specified(word)),
                None | Some('\n') => break,
                Some('\r') => self.skip(1),
                Some(letter) => {
                    self.skip(1);
                    command.words.push(vec![Part::Text(letter.into())]);
                }
            }
        }
        self.items.push(Item::Command(command));
        true
    }
}

/// A word in which what systemd puts for a `%` is not known.
fn specified(word: Word) -> Word {
    let of = |text: &str| {
        let mut known = String::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            known.push(match (letter, letter == '%') {
                (_, true) if letters.next() != Some('%') => UNKNOWN,
                (letter, _) => letter,
            });
        }
        known
    };
    let part = |part: Part| match part {
        Part::Text(text) => Part::Text(of(&text)),
        part => part,
    };
    word.into_iter().map(part).filter(|part| *part != Part::Text(String::new())).collect()
}
