//! What commands read: a here-document, a pipe, or what the group or the script has that they stand in.
//!
//! Of what a group or a script reads the first command that may read takes all; what those behind it get is not
//! known. A shell reads its script there if it is given none: of options those words count that POSIX.1-2017 (XCU
//! 4, sh), bash(1) and su(1) name.

use super::blocks::Block;
use super::command::{Direction, Redirect, Simple, UNKNOWN};
use super::events::Script;
use super::indirect::remote;
use super::output::{Output, Pipe, joined};
use super::program::{is_silent, named};

/// Where a shell has its script from.
#[derive(Debug, PartialEq, Eq)]
enum Origin {
    Argument(String),
    Input,
    /// A file, which is not in the text.
    File,
}

impl Script {
    /// What a command reads, if that is known.
    pub(super) fn input(
        &mut self,
        command: &Simple,
        pipe: &mut Pipe,
        name: &str,
    ) -> Option<Vec<Output>> {
        match self.own_input(command, pipe) {
            Some(own) => own,
            None if leaves_input(name) => None,
            None => self.stdin.take(),
        }
    }

    /// Begins a group: what it reads instead of what stands around it is put in the place of that, which is
    /// given back.
    pub(super) fn group_input(
        &mut self,
        block: &Block,
        mut pipe: Pipe,
    ) -> Option<Option<Vec<Output>>> {
        self.variables.begin_command();
        let own = match self.own_input(&block.tail, &mut pipe) {
            // Nobody knows who calls it.
            _ if block.function.is_some() => None,
            own => own?,
        };
        Some(std::mem::replace(&mut self.stdin, own))
    }

    /// What a command reads that has an input of its own.
    fn own_input(&self, command: &Simple, pipe: &mut Pipe) -> Option<Option<Vec<Output>>> {
        if let Some(body) = &command.body {
            let text = self.variables.whole(&body.text);
            return Some(Some(vec![Output::lines(body.line, text)]));
        }
        // A file that it reads instead is not in the text.
        let is_input = |to: &Redirect| to.direction == Direction::Input;
        if command.redirects.iter().any(is_input) {
            return Some(None);
        }
        pipe.is_there.then(|| pipe.outputs.take())
    }

    /// What a shell does with its script, and what that prints.
    pub(super) fn shell(
        &mut self,
        line: usize,
        fields: &[String],
        input: Option<Vec<Output>>,
        depth: usize,
    ) -> Option<Vec<Output>> {
        match origin(fields) {
            Origin::Argument(text) => {
                let script = [Output::text(line, text)];
                self.followed(&script, named(fields), input, depth)
            }
            Origin::Input => self.followed(&joined(&input?), named(fields), None, depth),
            Origin::File => None,
        }
    }

    /// A script in the argument of eval(1) and its like, and what it prints.
    pub(super) fn argument(
        &mut self,
        line: usize,
        fields: &[String],
        input: Option<Vec<Output>>,
        depth: usize,
    ) -> Option<Vec<Output>> {
        let words = &fields[1..];
        let is_number = |word: &str| word.starts_with(|letter: char| letter.is_ascii_digit());
        let text = match named(fields) {
            "eval" => words.join(" "),
            "trap" => words.iter().find(|word| !word.starts_with('-')).cloned().unwrap_or_default(),
            _ => {
                let rest = words.iter().skip_while(|word| word.starts_with('-') || is_number(word));
                rest.cloned().collect::<Vec<_>>().join(" ")
            }
        };
        self.followed(&[Output::text(line, text)], named(fields), input, depth)
    }

    /// Does what a script does that reads this, if it is followed so far.
    fn followed(
        &mut self,
        script: &[Output],
        name: &str,
        input: Option<Vec<Output>>,
        depth: usize,
    ) -> Option<Vec<Output>> {
        let letters = script.iter().map(|piece| piece.text.len()).sum();
        if letters == 0 || !self.may_follow(depth, letters) {
            return None;
        }
        let around = std::mem::replace(&mut self.stdin, input);
        let outputs = self.script(script, name, depth);
        self.stdin = around;
        Some(outputs)
    }
}

/// Whether a word of cat(1) stands for what it reads.
pub(super) fn is_input(word: &str) -> bool {
    matches!(word, "-" | "/dev/stdin" | "-u")
}

/// Whether a command reads nothing, or only as what it runs does.
fn leaves_input(name: &str) -> bool {
    let names = [
        "echo",
        "printf",
        "eval",
        "chmod",
        "chown",
        "rm",
        "touch",
        "ln",
        "ls",
        "date",
        "id",
        "uname",
        "hostname",
        "nproc",
        "systemctl",
    ];
    (is_silent(name) && name != "read") || names.contains(&name)
}

/// Where a shell has its script from, by its words.
fn origin(fields: &[String]) -> Origin {
    match named(fields) {
        "ssh" => Some(remote(fields))
            .filter(|text| !text.is_empty())
            .map_or(Origin::Input, Origin::Argument),
        "su" => {
            let is_command = |word: &String| {
                word == "--command"
                    || (!word.starts_with("--") && word.starts_with('-') && word.ends_with('c'))
            };
            let at = fields.iter().position(is_command);
            let text = at.and_then(|at| fields.get(at + 1)).cloned();
            let joined = || {
                fields.iter().find_map(|word| word.strip_prefix("--command=").map(str::to_owned))
            };
            text.or_else(joined).map_or(Origin::Input, Origin::Argument)
        }
        _ => origin_of_shell(fields.get(1..).unwrap_or_default()),
    }
}

fn origin_of_shell(words: &[String]) -> Origin {
    let (mut at, mut has_command, mut has_input, mut is_known) = (0, false, false, true);
    while let Some(word) = words.get(at) {
        if word.contains(UNKNOWN) {
            // An option, or a file.
            is_known = false;
        } else if word == "-" || word == "--" {
            at += 1;
            break;
        } else if word.starts_with("--") {
            at += usize::from(matches!(&word[..], "--rcfile" | "--init-file"));
        } else if let Some(letters) = word.strip_prefix(['-', '+']) {
            let is_on = word.starts_with('-');
            has_command |= is_on && letters.contains('c');
            has_input |= is_on && letters.contains('s');
            at += usize::from(letters.contains(['o', 'O']));
        } else {
            break;
        }
        at += 1;
    }
    match words.get(at) {
        Some(text) if has_command => Origin::Argument(text.clone()),
        None if is_known => Origin::Input,
        Some(file) if has_input || file == "/dev/stdin" => Origin::Input,
        _ => Origin::File,
    }
}
