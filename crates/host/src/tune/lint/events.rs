//! What a script or a file of settings writes and reads, once the shell is done with its words.
//!
//! Which file a text goes to is followed through `>`, tee(1) and `sysctl -p -`, and what the text is
//! through echo, printf, cat with a here-document, and variables that have one literal value in the whole
//! script.
//! Behaviour of sysctl(8): procps 4.0.

use super::print::{echoed, printed};
use super::reads;
use super::shell::{self, Item, Part, Simple, UNKNOWN, is_setting};
use super::variables::{Variables, assignment, literal, without_keywords};

/// What keeps a write from being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// `sysctl -w key = value`: three arguments where one is wanted.
    SpacesAroundEquals,
    /// `sudo echo 1 > file`: the shell opens the file, and not sudo.
    RedirectedBySudo,
}

/// One thing that is done.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Write {
        /// As it is written, with dots or slashes.
        key: String,
        value: String,
        trouble: Option<Trouble>,
        /// Numbers that the shell has made arguments of their own.
        strays: Vec<String>,
    },
    Read {
        path: String,
        /// The words of the command, and of the one that filters what it prints.
        words: Vec<String>,
    },
    Other {
        text: String,
    },
}

/// What a line does.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) line: usize,
    pub(super) kind: Kind,
}

/// What a command prints, on which line it begins, and whether its lines are lines of the script.
#[derive(Debug, Clone)]
struct Output {
    line: usize,
    text: String,
    has_lines: bool,
}

/// What goes through a pipe: the text where it is known, and the read that it is from.
#[derive(Debug, Default)]
struct Pipe {
    output: Option<Output>,
    read: Option<usize>,
}

/// All that a text does, by line.
pub(super) fn of(text: &str) -> Vec<Event> {
    let text = text.replace(UNKNOWN, "\u{fffd}");
    let items = shell::items(&text, 1, 0);
    let mut script = Script { variables: Variables::of(&items), events: Vec::new() };
    script.all(&items, 0);
    script.events.sort_by_key(|event| event.line);
    script.events
}

struct Script {
    variables: Variables,
    events: Vec<Event>,
}

impl Script {
    fn all(&mut self, items: &[Item], depth: usize) {
        let mut pipe = Pipe::default();
        for item in items {
            pipe = match item {
                Item::Setting { line, text } => {
                    let (line, text) = (*line, text.clone());
                    self.settings(&Output { line, text, has_lines: true });
                    Pipe::default()
                }
                Item::Command(command) => {
                    let next = self.command(command, pipe, depth);
                    if command.piped { next } else { Pipe::default() }
                }
            };
        }
    }

    fn push(&mut self, line: usize, kind: Kind) {
        self.events.push(Event { line, kind });
    }

    fn write(&mut self, line: usize, key: &str, value: &str, trouble: Option<Trouble>) {
        let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
        self.push(line, Kind::Write { key, value, trouble, strays: Vec::new() });
    }

    /// Lines of settings, as they stand in a file or go into one.
    fn settings(&mut self, output: &Output) {
        for (index, line) in output.text.lines().enumerate() {
            let number = output.line + if output.has_lines { index } else { 0 };
            let has_unknown_name = line.split('=').next().is_some_and(|key| key.contains(UNKNOWN));
            if let Some((key, value)) = line.split_once('=').filter(|_| {
                is_setting(line) || (has_unknown_name && !line.trim_start().starts_with('#'))
            }) {
                let key = key.trim();
                self.write(number, key.strip_prefix('-').unwrap_or(key), value, None);
            }
        }
    }

    fn command(&mut self, command: &Simple, pipe: Pipe, depth: usize) -> Pipe {
        let words = without_keywords(&command.words);
        if let Some("for" | "case" | "select" | "function") = words.first().and_then(literal) {
            return Pipe::default();
        }
        self.variables.begin_command();
        let fields: Vec<_> = words.iter().flat_map(|word| self.variables.fields(word)).collect();
        let (is_sudo, fields) = program(&fields);
        let name = fields.first().map_or("", |name| name.rsplit('/').next().unwrap_or(name));
        let body = command.body.as_ref().map(|body| Output {
            line: body.line,
            text: self.variables.whole(&body.text),
            has_lines: true,
        });
        let input = body.or(pipe.output);
        let line = command.line;
        let before = self.events.len();
        let mut output = None;
        match name {
            "echo" | "printf" => {
                let text = if name == "echo" { echoed(fields) } else { printed(fields) };
                output = Some(Output { line, text, has_lines: false });
            }
            "cat" if fields.len() == 1 => output = input,
            "tee" => {
                for path in fields.iter().skip(1).filter(|path| !path.starts_with('-')) {
                    self.target(line, path, input.as_ref(), None);
                }
                output = input;
            }
            "sysctl" => self.sysctl(line, fields, input.as_ref()),
            "sh" | "bash" | "dash" | "ash" | "ksh" | "zsh" | "su" | "eval" | "watch" => {
                self.inner(line, name, fields, depth);
            }
            _ if sets_something_else(name, fields) => {
                self.push(line, Kind::Other { text: fields.join(" ") });
            }
            _ => self.filtered(fields, pipe.read),
        }
        self.reads(command, name, fields);
        let is_shells = is_sudo && output.is_some() && name != "tee";
        let trouble = is_shells.then_some(Trouble::RedirectedBySudo);
        for redirect in command.redirects.iter().filter(|redirect| redirect.writes) {
            let path = self.variables.whole(&redirect.target);
            self.target(line, &path, output.as_ref(), trouble);
        }
        let is_read = |event: &Event| matches!(event.kind, Kind::Read { .. });
        let read = self.events[before..].iter().position(is_read).map(|index| before + index);
        Pipe { output, read }
    }

    /// A text goes to a file.
    fn target(
        &mut self,
        line: usize,
        path: &str,
        output: Option<&Output>,
        trouble: Option<Trouble>,
    ) {
        let unknown = UNKNOWN.to_string();
        if let Some(key) = path.strip_prefix("/proc/sys/") {
            let value = output.map_or(&unknown, |output| &output.text);
            self.write(line, key, value, trouble);
        } else if path.contains("sysctl") && path.ends_with(".conf") {
            if let Some(output) = output {
                self.settings(output);
            }
        } else if path.starts_with("/sys/") || path.starts_with("/proc/") {
            self.push(line, Kind::Other { text: format!("write to {path}") });
        }
    }

    fn sysctl(&mut self, line: usize, fields: &[String], input: Option<&Output>) {
        let arguments = fields.get(1..).unwrap_or_default();
        let is_load = |word: &String| word.starts_with("-p") || word.starts_with("--load");
        if arguments.iter().any(|word| is_load(word) || word == "-f" || word == "--system") {
            let is_input = |word: &String| matches!(&word[..], "-" | "-p-" | "/dev/stdin");
            if let Some(input) = input.filter(|_| arguments.iter().any(is_input)) {
                self.settings(input);
            }
            return;
        }
        let before = self.events.len();
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
                None if is_name => {
                    let path = format!("/proc/sys/{}", slashed(word));
                    self.push(line, Kind::Read { path, words: fields.to_vec() });
                }
                None if has_said => self.stray(word),
                None => {}
            }
        }
    }

    /// `=` as an argument of its own: the setting before it was meant to be written.
    fn spaced(&mut self, value: &str) {
        if let Some(Event { kind, .. }) = self.events.last_mut()
            && let Kind::Read { path, .. } = kind
        {
            let key = path.trim_start_matches("/proc/sys/").to_owned();
            let trouble = Some(Trouble::SpacesAroundEquals);
            *kind = Kind::Write { key, value: value.to_owned(), trouble, strays: Vec::new() };
        }
    }

    /// An argument of sysctl that sets nothing: a number behind a blank.
    fn stray(&mut self, word: &str) {
        if let Some(Event { kind: Kind::Write { value, trouble, strays, .. }, .. }) =
            self.events.last_mut()
        {
            if trouble.is_none() {
                strays.push(word.to_owned());
            } else {
                *value = format!("{value} {word}").trim().to_owned();
            }
        }
    }

    /// A script in a command's argument.
    fn inner(&mut self, line: usize, name: &str, fields: &[String], depth: usize) {
        let text = match name {
            "eval" => fields[1..].join(" "),
            "watch" => {
                let words = fields[1..].iter().skip_while(|word| {
                    word.starts_with('-')
                        || word.starts_with(|letter: char| letter.is_ascii_digit())
                });
                words.cloned().collect::<Vec<_>>().join(" ")
            }
            _ => {
                let is_option = |word: &String| word.starts_with('-') && word.ends_with('c');
                let at = fields.iter().position(is_option);
                at.and_then(|at| fields.get(at + 1)).cloned().unwrap_or_default()
            }
        };
        if depth < shell::DEEPEST && !text.is_empty() {
            let items = shell::items(&text, line, depth + 1);
            self.all(&items, depth + 1);
        }
    }

    /// Files below /proc and /sys that a command looks at.
    fn reads(&mut self, command: &Simple, name: &str, fields: &[String]) {
        let quiet = [
            "[", "[[", "test", "echo", "printf", "tee", "sysctl", "mount", "umount", "watch",
            "eval", "dirname", "basename",
        ];
        let is_quiet = quiet.contains(&name) || name.is_empty();
        let named = fields.iter().skip(1).filter(|_| !is_quiet).cloned();
        let inputs: Vec<_> = command.redirects.iter().filter(|redirect| !redirect.writes).collect();
        let inputs: Vec<_> =
            inputs.iter().map(|redirect| self.variables.whole(&redirect.target)).collect();
        for path in named.chain(inputs) {
            let is_statistic = path.starts_with(UNKNOWN) && reads::statistic(&path).is_some();
            if path.starts_with("/proc/") || path.starts_with("/sys/") || is_statistic {
                self.push(command.line, Kind::Read { path, words: fields.to_vec() });
            }
        }
    }

    /// A command that filters what the one before it read.
    fn filtered(&mut self, fields: &[String], read: Option<usize>) {
        if let Some(Event { kind: Kind::Read { words, .. }, .. }) =
            read.and_then(|read| self.events.get_mut(read))
        {
            words.extend_from_slice(fields);
        }
    }
}

/// A command behind what only says as whom, where and how it runs; and whether that is by sudo.
fn program(fields: &[String]) -> (bool, &[String]) {
    let mut is_sudo = false;
    let mut rest = fields;
    while let Some((first, behind)) = rest.split_first() {
        let name = first.rsplit('/').next().unwrap_or(first);
        let is_option = |word: &&String| {
            word.starts_with('-') || word.trim_end_matches('s').bytes().all(|b| b.is_ascii_digit())
        };
        rest = match name {
            "sudo" | "doas" => {
                is_sudo = true;
                let with_user = ["-u", "-g", "--user", "--group"];
                match behind {
                    [option, _, command @ ..] if with_user.contains(&&option[..]) => command,
                    _ => &behind[behind.iter().take_while(is_option).count()..],
                }
            }
            "env" | "nice" | "nohup" | "command" | "exec" | "busybox" | "stdbuf" | "timeout" => {
                &behind[behind.iter().take_while(is_option).count()..]
            }
            "ip" if matches!(behind, [a, b, ..] if a == "netns" && b == "exec") => {
                behind.get(3..).unwrap_or_default()
            }
            _ if assignment(&vec![Part::Text(first.clone())]).is_some() => behind,
            _ => break,
        };
    }
    (is_sudo, rest)
}

/// Whether a command sets something that is no file of /proc/sys.
fn sets_something_else(name: &str, fields: &[String]) -> bool {
    let has = |words: &[&str]| fields.iter().any(|field| words.contains(&&field[..]));
    match name {
        "ethtool" => has(&[
            "-G",
            "-K",
            "-C",
            "-L",
            "-X",
            "-A",
            "-N",
            "-U",
            "-s",
            "--set-ring",
            "--offload",
            "--features",
            "--coalesce",
            "--set-channels",
            "--rxfh",
            "--pause",
            "--config-ntuple",
            "--change",
            "--set-priv-flags",
        ]),
        "ip" => {
            has(&["set"]) && has(&["txqueuelen", "txqlen", "mtu", "gso_max_size", "gro_max_size"])
        }
        "ifconfig" => has(&["txqueuelen", "mtu"]),
        "tc" => has(&["add", "replace", "change", "del", "delete"]),
        "tuned-adm" => has(&["profile"]),
        _ => false,
    }
}

/// A name with dots as a path; one with slashes stays.
fn slashed(name: &str) -> String {
    let is_dotted = name.find(['.', '/']).is_some_and(|at| name.as_bytes()[at] == b'.');
    if is_dotted { name.replace('.', "/") } else { name.to_owned() }
}
