//! Ways to a setting beside redirections, tee(1) and sysctl(8): dd(1), copies, scripts inside the script; and
//! commands that are not understood and name a setting, which are told.
//!
//! A command names a setting if in its words, or in the here-document that it reads, `sysctl` as a word
//! stands before a name below `net`, or a path below /proc/sys/net stands inside a word; of a here-document a
//! line of settings is enough, if what is printed goes nowhere. A path that is a word of its own is a read, as of any program that looks at files.

use super::command::{Body, DEEPEST, Item, Simple, UNKNOWN, is_setting};
use super::dialect::Shell;
use super::events::{Kind, Script};
use super::loops::ALL_ROUNDS;
use super::output::{self, Output};
use super::place::Place;
use super::program::{NOT_UNDERSTOOD, only_names};
use super::shell;

/// Folders of settings of the network.
const FOLDERS: [&str; 9] =
    ["core", "ipv4", "ipv6", "netfilter", "unix", "mptcp", "sctp", "tipc", "bridge"];
/// What is said of settings that go to more files than are followed.
const NOT_FOLLOWED: &str = "so much goes to so many files that it is not followed: not judged";
/// What is said of commands that go into a file which the machine runs.
const RUN_LATER: &str = "it goes into a file of commands that are run another time: not judged";
/// How many letters of a command are shown.
const LONGEST_SHOWN: usize = 200;

impl Script {
    /// dd(1): what it reads goes to the file of `of=`, as from tee(1).
    pub(super) fn dd(&mut self, line: usize, fields: &[String], input: Option<&[Output]>) {
        let value = |name: &str| fields.iter().rev().find_map(|field| field.strip_prefix(name));
        let Some(path) = value("of=").map(|path| self.place.file(path)) else { return };
        let cuts = ["if=", "bs=", "ibs=", "obs=", "count=", "skip=", "seek="];
        let is_whole = cuts.iter().all(|name| value(name).is_none());
        self.piped(line, &path, input.filter(|_| is_whole));
    }

    /// Does what a script inside the text does, given in its pieces, with the shell of this name.
    pub(super) fn script(&mut self, pieces: &[Output], name: &str, depth: usize) -> Vec<Output> {
        let shell = match name {
            "eval" | "trap" => self.shell,
            "watch" => Shell::Sh,
            // The login shell of somebody, somewhere.
            _ => Shell::named(name).unwrap_or(Shell::Bash),
        };
        let around = std::mem::replace(&mut self.shell, shell);
        let place = self.place.clone();
        match name {
            "trap" | "su" => self.place = self.elsewhere(),
            "ssh" => self.place = Place::default(),
            _ => {}
        }
        let (mut items, mut inner) = (Vec::new(), Vec::new());
        for piece in pieces {
            items.extend(shell::items(&piece.text, piece.line, depth + 1, shell, &self.spent));
            let at = items.iter().position(|item| matches!(item, Item::Inside));
            inner.extend(items.split_off(at.unwrap_or(items.len())));
        }
        items.append(&mut inner);
        let is_own = matches!(name, "eval" | "trap");
        match name {
            "eval" => self.variables.commands(&items),
            "trap" => self.variables.at_some_time(&items),
            _ => {
                let mut environment = std::mem::take(&mut self.environment);
                if matches!(name, "ssh" | "su") {
                    environment.filter();
                }
                self.variables.begin_script(&items, shell, environment);
            }
        }
        let outputs = self.all(items, depth + 1);
        self.shell = around;
        if !is_own {
            self.variables.end_script();
        }
        if name != "eval" {
            self.place = place;
        }
        outputs
    }

    /// Whether a script inside the text is followed, so deep and so long; its length is counted then.
    pub(super) fn may_follow(&mut self, depth: usize, letters: usize) -> bool {
        let may = depth < DEEPEST && letters <= ALL_ROUNDS - self.repeated;
        self.repeated += if may { letters } else { 0 };
        may
    }

    /// Whether what goes to several files is followed into this one; its length is counted then. Beyond the
    /// bound it is told that something is written there.
    pub(super) fn may_go(&mut self, line: usize, path: &str, outputs: &[Output]) -> bool {
        let is_kernels = path.starts_with("/proc/") || path.starts_with("/sys/");
        let is_elsewhere = path.contains(UNKNOWN) || path.contains("proc/sys/");
        if !is_kernels && !may_have_settings(path) && !is_elsewhere {
            return self.made.may_look(outputs);
        }
        if self.repeated < ALL_ROUNDS {
            let cost = output::cost(outputs);
            if cost <= ALL_ROUNDS - self.repeated {
                self.repeated += cost;
                return true;
            }
            // Else each further file would cost another look at all of it.
            self.repeated = ALL_ROUNDS;
        }
        if is_kernels {
            self.target(line, path, None, None);
        } else {
            let text = format!("write to {path}");
            self.push(line, Kind::Other { text, why: NOT_FOLLOWED });
        }
        false
    }

    /// Tells of a command that is not understood and names a setting.
    pub(super) fn mentioned(&mut self, command: &Simple, name: &str, fields: &[String]) {
        let runs = ["-exec", "-execdir", "-ok", "-okdir"];
        let is_run = || name == "find" && fields.iter().any(|word| runs.contains(&&word[..]));
        if only_names(name) && !is_run() {
            return;
        }
        let text = fields.join(" ");
        if mentions(&text) || (edits(name, fields) && assigns(&text)) {
            return self.not_understood(command.line, &text);
        }
        let Some(Body { line, text }) = &command.body else { return };
        // Where it prints to is judged there.
        let is_last = command.redirects.is_empty() && !command.piped;
        for (index, of_body) in self.variables.whole(text).lines().enumerate() {
            if mentions(of_body) || (is_last && is_of_network(of_body)) {
                self.not_understood(line + index, of_body);
            }
        }
    }

    /// Tells of commands that go into a file and name a setting.
    pub(super) fn run_later(&mut self, output: &Output) {
        for (index, text) in output.text.lines().enumerate() {
            let names = mentions(text) || text.contains("/proc/sys/net/");
            if names && !text.trim_start().starts_with('#') {
                let line = output.line + if output.has_lines { index } else { 0 };
                self.told(line, text, RUN_LATER);
            }
        }
    }

    fn not_understood(&mut self, line: usize, text: &str) {
        self.told(line, text, NOT_UNDERSTOOD);
    }

    fn told(&mut self, line: usize, text: &str, why: &'static str) {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let text = text.chars().take(LONGEST_SHOWN).collect();
        self.push(line, Kind::Other { text, why });
    }
}

/// The words of a copy that it reads, and the file that it writes, if that is a setting.
pub(super) fn copied<'a>(name: &str, fields: &'a [String]) -> Option<(&'a [String], &'a str)> {
    let is_in_place = || fields.iter().any(|field| field.starts_with("-i"));
    match name {
        "cp" | "mv" | "install" | "sponge" | "truncate" => {}
        "sed" if is_in_place() => {}
        _ => return None,
    }
    let (last, read) = fields.split_last()?;
    last.starts_with("/proc/sys/").then_some((read, last))
}

/// The script that ssh(1) runs on another machine, as that machine's shell gets it.
pub(super) fn remote(fields: &[String]) -> String {
    let is_with_word = |option: &str| {
        let mut letters = option.chars().skip(1);
        letters.all(|letter| letter.is_ascii_alphabetic())
            && option.ends_with(|last| "BbcDEeFIiJLlmOoPpQRSWw".contains(last))
    };
    let mut at = 1;
    while let Some(option) = fields.get(at).filter(|field| field.starts_with('-')) {
        at += 1 + usize::from(is_with_word(option));
    }
    fields.get(at + 1..).unwrap_or_default().join(" ")
}

/// What of a text are settings that go into a file: of a folder that is not known those of the network.
pub(super) fn of_settings(path: &str, output: &Output) -> Option<Output> {
    if !may_have_settings(path) {
        return None;
    }
    if path.contains("sysctl") {
        return Some(output.clone());
    }
    Some(of_network(output))
}

/// What of a text are settings of the network, each on its line.
pub(super) fn of_network(output: &Output) -> Output {
    let lines = output.text.lines().map(|line| if is_of_network(line) { line } else { "" });
    Output { text: lines.collect::<Vec<_>>().join("\n"), ..output.clone() }
}

/// Whether a line sets something of the network.
fn is_of_network(line: &str) -> bool {
    let key = line.trim_start().trim_start_matches('-');
    is_setting(line) && (key.starts_with("net.") || key.starts_with("net/"))
}

/// Whether a file is one of settings, by its name.
pub(super) fn is_of_settings(path: &str) -> bool {
    path.contains("sysctl") && may_have_settings(path)
}

/// Whether a file may be one of settings, by its name.
fn may_have_settings(path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let is_file =
        name.ends_with(".conf") || (folder.ends_with("sysctl.d") && name.ends_with(UNKNOWN));
    is_file && (path.contains("sysctl") || folder.contains(UNKNOWN))
}

/// Whether a file is in a folder of settings and has a name that no loader reads: sysctl(8) and
/// systemd-sysctl(8) read those that end in `.conf`.
pub(super) fn is_not_loaded(path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or_default();
    let is_name = !name.is_empty() && !name.ends_with(".conf") && !path.contains([UNKNOWN, '*']);
    folder.ends_with("/sysctl.d") && is_name
}

/// Whether a text may have other files of settings read than those of that name: by a loader that is given
/// one, or under another name.
pub(super) fn loads_others(text: &str) -> bool {
    let is_end = |letter: char| letter.is_whitespace() || ";|&()\"'`".contains(letter);
    let movers = ["mv", "cp", "ln", "rename", "install", "rsync", "xargs", "find", "for", "while"];
    let is_mover = |word: &str| movers.contains(&word.rsplit('/').next().unwrap_or(word));
    let is_file = |word: &str| {
        let is_option =
            word.starts_with('-') && word != "-" && !word.contains('/') && !word.contains('$');
        let is_number = word.chars().all(|letter| letter.is_ascii_digit());
        let is_else = word.contains(['=', '>']) || word.starts_with("net.") || is_number;
        let is_known = word.ends_with(".conf") || ["true", "/dev/null"].contains(&word);
        word.starts_with("--load=") || !(is_option || is_else || is_known)
    };
    let may_load = |line: &str| {
        let words = line.split(is_end).filter(|word| !word.is_empty());
        let mut words = words.take_while(|word| !word.starts_with('#'));
        words.any(|word| word.ends_with("sysctl")) && words.any(is_file)
    };
    text.split(is_end).any(is_mover) || text.lines().any(may_load)
}

/// Whether a file has commands that the machine runs: when it boots, at times, or as a unit says.
pub(super) fn has_commands(path: &str) -> bool {
    let ends = ["/rc.local", "/boot.local", ".service"];
    ends.iter().any(|end| path.ends_with(end)) || path.starts_with("/etc/cron")
}

/// Whether a command changes the lines of files.
fn edits(name: &str, fields: &[String]) -> bool {
    let is_in_place = |word: &String| {
        let letters = word.strip_prefix('-').filter(|letters| !letters.starts_with('-'));
        // `-e` takes the rest for a script.
        let letters = letters.map(|letters| letters.split(['e', 'f']).next().unwrap_or_default());
        letters.is_some_and(|letters| letters.contains('i')) || word.starts_with("--in-place")
    };
    matches!(name, "sed" | "gsed" | "perl") && fields.iter().skip(1).any(is_in_place)
}

/// Whether a script of an editor may assign a setting of the network: it names one and has a `=` behind that.
fn assigns(text: &str) -> bool {
    let Some((named, _)) = text.rsplit_once('=') else { return false };
    named.match_indices("net").any(|(at, found)| {
        // In a pattern a dot may have a `\` in front.
        let rest = named[at + found.len()..].trim_start_matches('\\');
        let folder = rest.strip_prefix(['.', '/']).unwrap_or_default();
        FOLDERS.iter().any(|name| {
            folder.strip_prefix(name).is_some_and(|key| key.starts_with(['.', '/', '\\']))
        })
    })
}

/// Whether a text names a setting of the network, so that who runs it may write that.
fn mentions(text: &str) -> bool {
    let is_inside = |(at, _): (usize, &str)| {
        let before = text[..at].chars().next_back();
        before.is_some_and(|letter| !letter.is_whitespace())
    };
    if text.match_indices("/proc/sys/net/").any(is_inside) {
        return true;
    }
    let is_part = |letter: char| letter.is_alphanumeric() || "-_.".contains(letter);
    let program = text.match_indices("sysctl").find(|(at, found)| {
        let before = &text[..*at];
        let is_begin = before.ends_with(" --") || !before.ends_with(is_part);
        is_begin && !text[at + found.len()..].starts_with(is_part)
    });
    program.is_some_and(|(at, _)| {
        let rest = &text[at..];
        rest.match_indices("net").any(|(at, found)| {
            let folder = rest[at + found.len()..].strip_prefix(['.', '/']).unwrap_or_default();
            let is_folder = |name: &&str| {
                folder.strip_prefix(*name).is_some_and(|key| key.starts_with(['.', '/']))
            };
            !rest[..at].ends_with(is_part)
                && (folder.starts_with(UNKNOWN) || FOLDERS.iter().any(is_folder))
        })
    })
}
