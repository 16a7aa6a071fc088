//! What a script or a file of settings writes and reads, once the shell is done with its words.
//!
//! Which file a text goes to is followed through `>`, tee(1) and `sysctl -p -`, and what the text is
//! through echo, printf, cat with a here-document, and variables whose value is known.

use std::collections::BTreeSet;

use super::blocks::{self, Node};
use super::command::{Direction, Item, Joint, Redirect, Simple, UNKNOWN, lacks_signs, literal};
use super::dialect::Shell;
use super::indirect::{copied, loads_others};
use super::input::is_input;
use super::loops::add_movers;
use super::made::Made;
use super::output::{Output, Pipe};
use super::place::{Branches, List, Place, Step};
use super::print::{echoed, printed};
use super::profile::{self, Guard};
use super::program::{NO_SETTING, Netns, is_silent, named, program, sets_something_else};
use super::reads;
use super::shell::{self, Spent};
use super::trouble::Trouble;
use super::variables::{Environment, Variables};

/// A file that is open while several writes are made to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Opened {
    /// Which of all that the text opens.
    pub(super) number: usize,
    /// Whether this write is made whatever else happens.
    pub(super) is_certain: bool,
    /// Whether something may be written before it that the text does not tell.
    pub(super) is_behind_unknown: bool,
}

/// One thing that is done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Write {
        /// As it is written, with dots or slashes.
        key: String,
        value: String,
        trouble: Option<Trouble>,
        /// Numbers that the shell has made arguments of their own.
        strays: Vec<String>,
        /// What else is written while the file is open.
        opened: Option<Opened>,
        /// On which side of the value the setting must be for it to be written.
        guard: Option<Guard>,
    },
    Read {
        path: String,
        /// Whether the command, or the one that filters what it prints, is about caches of packets.
        is_of_skbuff: bool,
    },
    Other {
        text: String,
        /// Why it is not judged.
        why: &'static str,
    },
}

/// What a line does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Event {
    pub(super) line: usize,
    pub(super) kind: Kind,
}

/// All that a text does, in the order in which it is done.
pub(super) fn of(text: &str) -> Vec<Event> {
    let (text, has_mark) = match text.strip_prefix('\u{feff}') {
        Some(text) => (text, true),
        None => (text, false),
    };
    let text = text.replace(UNKNOWN, "\u{fffd}");
    if profile::is_profile(&text) {
        return profile::events(&text);
    }
    let (shell, spent) = (Shell::of(&text), Spent::default());
    let items = shell::items(&text, 1, 0, shell, &spent);
    let variables = Variables::of(&items, shell);
    let mut script = Script {
        variables,
        events: Vec::new(),
        repeated: 0,
        opened: 0,
        shell,
        echo: shell,
        is_own: false,
        spent,
        environment: Environment::default(),
        stdin: None,
        netns: Netns::Initial,
        has_mark,
        returns: returns(&text),
        is_command: true,
        place: Place::default(),
        made: Made::default(),
        movers: BTreeSet::new(),
        loads_others: loads_others(&text),
        may_move: ["cd", "chdir", "pushd"].iter().any(|name| text.contains(name)),
    };
    if lacks_signs(&text) && !has_mark {
        script.is_command = false;
        script.settings(&Output::lines(1, text.clone()), None);
    } else {
        script.all(items, 0);
        script.made();
    }
    // A text in a variable may have more lines than there are behind the command that runs it.
    let last = text.lines().count().max(1);
    for event in &mut script.events {
        event.line = event.line.min(last);
    }
    script.events
}

/// The numbers of lines that end in CR LF.
fn returns(text: &str) -> BTreeSet<usize> {
    let lines = text.split('\n').enumerate();
    lines.filter(|(_, line)| line.ends_with('\r')).map(|(index, _)| index + 1).collect()
}

/// Whether a command is taken to succeed.
fn succeeds(name: &str) -> bool {
    ["cd", "pushd", "popd", "echo", "printf", "true", ":", "set", "export"].contains(&name)
}

pub(super) struct Script {
    pub(super) variables: Variables,
    pub(super) events: Vec<Event>,
    /// What the rounds of loops, scripts in arguments and on standard input, and texts for several files have
    /// cost so far.
    pub(super) repeated: usize,
    /// How many files were opened for several writes.
    pub(super) opened: usize,
    /// Which shell runs what is done now.
    pub(super) shell: Shell,
    /// As which shell's the echo prints that is done now.
    pub(super) echo: Shell,
    /// Whether the shell does itself what is done now, if that is one of its own commands.
    is_own: bool,
    pub(super) spent: Spent,
    /// What the program that runs now is given beside exported variables.
    pub(super) environment: Environment,
    /// What commands read that have no input of their own; [`None`]: nobody knows.
    pub(super) stdin: Option<Vec<Output>>,
    /// In which network namespace that runs which is done now.
    pub(super) netns: Netns,
    /// Whether a mark of the order of bytes stands in front of the first line.
    has_mark: bool,
    /// Lines that end in CR LF, and whether it is a command that is done.
    pub(super) returns: BTreeSet<usize>,
    pub(super) is_command: bool,
    /// In which folder the shell is.
    pub(super) place: Place,
    /// Whether files of settings may be read that no loader looks for.
    pub(super) loads_others: bool,
    /// Files that it makes for settings.
    pub(super) made: Made,
    /// Functions that go to another folder.
    pub(super) movers: BTreeSet<String>,
    /// Whether anything in the text may do so.
    pub(super) may_move: bool,
}

impl Script {
    /// Does what a script has in it.
    pub(super) fn all(&mut self, items: Vec<Item>, depth: usize) -> Vec<Output> {
        let nodes = blocks::tree(items);
        if self.may_move {
            add_movers(&nodes, &mut self.movers);
        }
        self.run(&nodes, depth)
    }

    /// Does what nodes do; what they print, or [`None`] in it for what is not known.
    pub(super) fn run(&mut self, nodes: &[Node], depth: usize) -> Vec<Output> {
        let mut pipe = Pipe::default();
        let mut all = Vec::new();
        let (mut list, mut branches) = (List::of(&self.place), Branches::of(&self.place));
        let mut was_piped = false;
        for node in nodes {
            let (joint, command) = match node {
                Node::Command(command) => (command.joint, command),
                Node::Block(block) => (block.head.joint, &block.tail),
                Node::Setting { .. } | Node::Branch | Node::Lost => {
                    list.end(&mut self.place);
                    self.between(node, &mut branches);
                    list = List::of(&self.place);
                    (pipe, was_piped) = (Pipe::default(), false);
                    continue;
                }
            };
            let step = Step {
                joint,
                is_apart: was_piped || command.piped,
                is_background: command.is_background,
                succeeds: command.words.first().and_then(literal).is_some_and(succeeds),
            };
            let before = list.begin(&mut self.place, step);
            let next = match node {
                Node::Block(block) => self.block(block, pipe, depth),
                _ => self.command(command, pipe, depth),
            };
            list.finish(&mut self.place, before, step);
            was_piped = command.piped;
            pipe = Pipe::default();
            if command.piped && command.is_diverted {
                pipe = Pipe { is_there: true, outputs: Some(Vec::new()), read: None };
            } else if command.piped {
                pipe = Pipe { is_there: true, ..next };
            } else if !command.is_diverted {
                let line = command.line;
                let outputs = next.outputs.unwrap_or_else(|| vec![Output::unknown(line)]);
                all.extend(outputs.into_iter().map(|output| Output {
                    is_certain: output.is_certain && command.joint == Joint::First,
                    ..output
                }));
            }
        }
        list.end(&mut self.place);
        branches.end(&mut self.place);
        all
    }

    /// What stands between commands: a line of settings, or where the next ones run.
    fn between(&mut self, node: &Node, branches: &mut Branches) {
        match node {
            Node::Setting { line, text } => {
                self.is_command = false;
                let is_marked = self.has_mark && *line == 1;
                let trouble = is_marked.then_some(Trouble::ByteOrderMark);
                self.settings(&Output::lines(*line, text.clone()), trouble);
                self.is_command = true;
            }
            Node::Branch => branches.next(&mut self.place),
            _ => self.place = self.elsewhere(),
        }
    }

    pub(super) fn push(&mut self, line: usize, kind: Kind) {
        self.events.push(Event { line, kind });
    }

    fn command(&mut self, command: &Simple, mut pipe: Pipe, depth: usize) -> Pipe {
        self.variables.begin_command();
        let fields: Vec<_> =
            command.words.iter().flat_map(|word| self.variables.fields(word)).collect();
        let program = program(&fields);
        // Its redirections are those of all that follows.
        let is_exec = program.words.is_empty() && named(&fields) == "exec";
        if program.words.is_empty() {
            command.words.iter().for_each(|word| self.variables.assign_in_round(word));
        }
        let input = self.input(command, &mut pipe, named(program.words));
        let fields = program.arguments(input.as_deref());
        let is_move = program.is_own && self.is_move(program.words);
        let own = is_move.then(|| program.words.to_vec());
        let place = self.place.clone();
        if program.is_elsewhere {
            self.place = Place::lost();
        }
        let name = named(&fields).to_owned();
        let (name, fields) = (&name[..], self.located(&name, fields));
        let around = self.netns;
        let netns = program.netns.unwrap_or(around);
        self.netns = if name == "ssh" { Netns::Initial } else { netns };
        let before = self.events.len();
        self.environment = program.environment.clone();
        // A program's echo is as bash's.
        self.is_own = program.is_own && matches!(fields.first(), Some(own) if own == name);
        self.echo = if self.is_own { self.shell } else { Shell::Bash };
        let outputs = self.run_program(command, &fields, Pipe { outputs: input, ..pipe }, depth);
        let outputs = outputs.filter(|_| !is_exec);
        match copied(name, &fields) {
            Some((read, path)) => {
                self.target(command.line, path, None, None);
                self.reads(command, name, read);
            }
            None => self.reads(command, name, &fields),
        }
        // The shell opens files where it is itself.
        self.netns = around;
        if program.is_elsewhere {
            self.place = place;
        }
        let is_shells = program.is_sudo && outputs.is_some() && name != "tee";
        self.redirected(command, name, outputs.as_deref(), is_shells);
        let is_read = |event: &Event| matches!(event.kind, Kind::Read { .. });
        let read = self.events[before..].iter().position(is_read).map(|index| before + index);
        let is_kept = command.redirects.iter().any(|to| to.direction == Direction::Output);
        own.iter().for_each(|words| self.moves(words));
        let outputs = if is_kept { Some(Vec::new()) } else { outputs };
        Pipe { outputs, read, is_there: false }
    }

    /// Does what a program does but for its looks at files, and tells what it prints, if that is known.
    fn run_program(
        &mut self,
        command: &Simple,
        fields: &[String],
        pipe: Pipe,
        depth: usize,
    ) -> Option<Vec<Output>> {
        let (line, name, input) = (command.line, named(fields), pipe.outputs);
        match name {
            "echo" | "printf" => {
                self.unredirected(line, fields);
                let output = match name {
                    "echo" => echoed(line, fields, self.echo),
                    _ => printed(line, fields),
                };
                let is_by_lines = self.is_own && self.shell == Shell::Bash;
                return Some(vec![Output { is_by_lines, ..output }]);
            }
            "cat" if fields[1..].iter().all(|word| is_input(word)) => return input,
            "install" | "cp" if fields[1..].iter().any(|word| word == "/dev/stdin") => {
                if let Some(path) = fields.last().filter(|path| !path.starts_with("/proc/sys/")) {
                    self.piped(line, path, input.as_deref());
                }
            }
            "tee" => {
                for path in fields.iter().skip(1).filter(|path| !path.starts_with('-')) {
                    self.piped(line, path, input.as_deref());
                }
                return input;
            }
            "dd" => self.dd(line, fields, input.as_deref()),
            "sysctl" => self.sysctl(line, fields, input.as_deref().unwrap_or_default()),
            "export" | "local" | "readonly" | "declare" | "typeset" => {
                command.words.iter().for_each(|word| self.variables.assign_in_round(word));
            }
            "sh" | "bash" | "dash" | "ash" | "ksh" | "zsh" | "su" | "ssh" => {
                return self.shell(line, fields, input, depth);
            }
            "unset" => self.variables.unset(&fields[1..]),
            "eval" | "watch" => return self.argument(line, fields, input, depth),
            "trap" => {
                self.argument(line, fields, None, depth);
            }
            _ if sets_something_else(name, fields) => {
                self.push(line, Kind::Other { text: fields.join(" "), why: NO_SETTING });
            }
            _ => {
                self.filtered(fields, pipe.read);
                self.placed(name, fields);
                self.mentioned(command, name, fields);
            }
        }
        is_silent(name).then(Vec::new)
    }

    /// Files below /proc and /sys that a command looks at.
    pub(super) fn reads(&mut self, command: &Simple, name: &str, fields: &[String]) {
        let quiet = [
            "[", "[[", "test", "echo", "printf", "tee", "sysctl", "mount", "umount", "watch",
            "eval", "ssh", "trap", "dirname", "basename", "cd", "chdir", "pushd",
        ];
        let is_quiet = quiet.contains(&name) || name.is_empty();
        let named = fields.iter().skip(1).filter(|_| !is_quiet).cloned();
        let is_input = |redirect: &&Redirect| redirect.direction == Direction::Input;
        let inputs = command.redirects.iter().filter(is_input);
        let inputs: Vec<_> =
            inputs.map(|to| self.place.file(&self.variables.whole(&to.target))).collect();
        let is_of_skbuff = fields.iter().any(|word| word.contains("skbuff"));
        for path in named.chain(inputs) {
            let is_statistic = path.starts_with(UNKNOWN) && reads::statistic(&path).is_some();
            if path.starts_with("/proc/") || path.starts_with("/sys/") || is_statistic {
                self.push(command.line, Kind::Read { path, is_of_skbuff });
            }
        }
    }

    /// A command that filters what the one before it read.
    fn filtered(&mut self, fields: &[String], read: Option<usize>) {
        if let Some(Event { kind: Kind::Read { is_of_skbuff, .. }, .. }) =
            read.and_then(|read| self.events.get_mut(read))
        {
            *is_of_skbuff |= fields.iter().any(|word| word.contains("skbuff"));
        }
    }
}
