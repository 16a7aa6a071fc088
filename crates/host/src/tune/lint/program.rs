//! Which program a command runs, as whom and where, and whether that sets something beside `/proc/sys`.
//!
//! Programs that run another one are stripped: of each is known which options take a word of their own and
//! how many words stand before the command. Options: getopt(3) strings of util-linux 2.41, coreutils 9,
//! sudo 1.9; ip(8) takes its words abridged.

use super::command::UNKNOWN;
use super::output::{Output, joined};
use super::variables::Environment;

/// What xargs(1) reads and is longer than this is not followed, in bytes.
const LONGEST_INPUT: usize = 1024;

/// What is said of a command that sets something beside `/proc/sys`.
pub(super) const NO_SETTING: &str = "not a setting of /proc/sys: not judged";
/// What is said of a command that names a setting, and of which no more is known.
pub(super) const NOT_UNDERSTOOD: &str =
    "it names a setting, and what the command does with it is not known here: not judged";

/// In which network namespace a command runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Netns {
    #[default]
    Initial,
    Other,
    /// One that the text names, and that may be the initial one.
    Unknown,
}

/// A command behind what only says as whom, where and how it runs.
#[derive(Debug, Default)]
pub(super) struct Program<'a> {
    /// Its words, the name first.
    pub(super) words: &'a [String],
    pub(super) is_sudo: bool,
    /// The network namespace that it is put into; [`None`]: it stays where it is.
    pub(super) netns: Option<Netns>,
    pub(super) environment: Environment,
    /// Whether a shell is run where no command is named.
    is_shell: bool,
    /// Whether it runs in another folder than the shell.
    pub(super) is_elsewhere: bool,
    /// Whether the shell runs it itself, if it is one of its own commands.
    pub(super) is_own: bool,
    /// Whether xargs(1) runs it, and what of its words that replaces: [`None`] in it for words behind them.
    xargs: Option<Option<&'a str>>,
}

/// A program that runs another: its name, options that take a word of their own, words before the command.
type Wrapper = (&'static str, &'static [&'static str], usize);

const WRAPPERS: &[Wrapper] = &[
    (
        "sudo",
        &[
            "-u", "-g", "-h", "-p", "-C", "-D", "-R", "-T", "-U", "-r", "-t", "--user", "--group",
            "--host", "--prompt", "--chdir",
        ],
        0,
    ),
    ("doas", &["-u", "-C"], 0),
    ("pkexec", &["--user"], 0),
    ("env", &["-u", "-C", "--unset", "--chdir"], 0),
    ("nice", &["-n", "--adjustment"], 0),
    ("ionice", &["-c", "-n", "--class", "--classdata"], 0),
    ("nohup", &[], 0),
    ("command", &[], 0),
    ("builtin", &[], 0),
    ("exec", &["-a"], 0),
    ("busybox", &[], 0),
    ("stdbuf", &["-i", "-o", "-e", "--input", "--output", "--error"], 0),
    ("timeout", &["-k", "-s", "--kill-after", "--signal"], 1),
    ("setsid", &[], 0),
    ("chrt", &["-T", "-P", "-D"], 1),
    ("taskset", &[], 1),
    ("chroot", &[], 1),
    ("flock", &["-w", "-E", "--timeout", "--conflict-exit-code"], 1),
    ("nsenter", &["-t", "-S", "-G", "-N", "-W", "--target", "--setuid", "--setgid"], 0),
    ("unshare", &["-R", "-w", "-S", "-G", "-l", "--root", "--wd", "--setuid", "--setgid"], 0),
    (
        "xargs",
        &[
            "-I",
            "-n",
            "-L",
            "-P",
            "-d",
            "-s",
            "-a",
            "-E",
            "--max-args",
            "--max-lines",
            "--max-procs",
            "--delimiter",
            "--max-chars",
            "--arg-file",
        ],
        0,
    ),
];

/// Strips a command of what only says as whom, where and how it runs.
pub(super) fn program(fields: &[String]) -> Program<'_> {
    let mut program = Program { words: fields, is_own: true, ..Program::default() };
    while let Some((first, behind)) = program.words.split_first() {
        let name = first.rsplit('/').next().unwrap_or(first);
        if let Some((_, with_word, before)) = WRAPPERS.iter().find(|(known, ..)| *known == name) {
            let (options, rest) = options(behind, with_word);
            program.is_own &= matches!(name, "command" | "builtin");
            program.is_elsewhere |= leaves(name, options);
            match name {
                "sudo" | "doas" => {
                    let is_of_shell =
                        |word: &String| matches!(&word[..], "-s" | "-i" | "--shell" | "--login");
                    program.is_sudo = true;
                    program.environment.filter();
                    program.is_shell = options.iter().any(is_of_shell);
                }
                "pkexec" => program.environment.filter(),
                "env" if !options.is_empty() => program.environment.filter(),
                "nsenter" => program.netns = entered(options).or(program.netns),
                "unshare" if unshares(options) => program.netns = Some(Netns::Other),
                "xargs" => program.xargs = Some(replaced(options)),
                _ => {}
            }
            program.words = rest.get(*before..).unwrap_or_default();
        } else if name == "ip"
            && let Some(command) = in_named(behind)
        {
            program.netns = Some(Netns::Other);
            program.is_own = false;
            program.words = command;
        } else if program.environment.takes(first) {
            program.words = behind;
        } else {
            break;
        }
    }
    program
}

impl Program<'_> {
    /// Its words with those that xargs(1) makes of its input; [`None`]: nobody knows what that is.
    pub(super) fn arguments(&self, input: Option<&[Output]>) -> Vec<String> {
        // xargs(1) without a command runs echo, `sudo -s` a shell.
        let instead = [if self.xargs.is_some() { "echo" } else { "bash" }.to_owned()];
        let is_bare = (self.xargs.is_some() || self.is_shell) && self.words.is_empty();
        let words = if is_bare { &instead[..] } else { self.words };
        let words = words.iter();
        match self.xargs {
            None => words.cloned().collect(),
            Some(Some(mark)) => {
                words.map(|word| word.replace(mark, &UNKNOWN.to_string())).collect()
            }
            Some(None) => {
                let is_plain = |text: &str| !text.contains(['"', '\'', '\\', UNKNOWN]);
                let is_known = |output: &Output| output.is_told && is_plain(&output.text);
                let length = |outputs: &[Output]| -> usize {
                    outputs.iter().map(|output| output.text.len()).sum()
                };
                let is_short = |outputs: &&[Output]| {
                    outputs.len() <= LONGEST_INPUT && length(outputs) <= LONGEST_INPUT
                };
                let known = input.filter(is_short).map(joined);
                let known = known.filter(|outputs| outputs.iter().all(is_known));
                let added: Vec<_> = match &known {
                    Some(outputs) => {
                        let words = outputs.iter().flat_map(|one| one.text.split_whitespace());
                        words.map(str::to_owned).collect()
                    }
                    None => vec![UNKNOWN.to_string()],
                };
                words.cloned().chain(added).collect()
            }
        }
    }
}

/// The name of the program that words run.
pub(super) fn named(words: &[String]) -> &str {
    words.first().map_or("", |name| name.rsplit('/').next().unwrap_or(name))
}

/// Whether a word is a program by which settings are written, or one that runs another.
pub(super) fn runs(word: &str) -> bool {
    let name = word.rsplit('/').next().unwrap_or(word);
    matches!(name, "sysctl" | "tee" | "echo" | "printf" | "sh" | "bash" | "ip")
        || WRAPPERS.iter().any(|(known, ..)| *known == name)
}

/// Options, and what stands behind them.
fn options<'a>(words: &'a [String], with_word: &[&str]) -> (&'a [String], &'a [String]) {
    let mut taken = 0;
    while let Some(word) = words.get(taken).filter(|word| word.starts_with('-')) {
        taken += 1 + usize::from(takes_word(word, with_word));
        if word == "--" {
            break;
        }
    }
    words.split_at(taken.min(words.len()))
}

/// Whether the word behind options takes them on: of letters that stand together the last one may.
fn takes_word(word: &str, with_word: &[&str]) -> bool {
    let letters = word.strip_prefix('-').filter(|letters| !letters.starts_with('-'));
    // ip(8) has words behind one `-`.
    let is_letters = !with_word.contains(&"-netns");
    let is_with = |letter: char| {
        with_word
            .iter()
            .any(|known| known.strip_prefix('-') == Some(letter.encode_utf8(&mut [0; 4])))
    };
    let at = letters.filter(|_| is_letters).and_then(|letters| letters.find(is_with));
    with_word.contains(&word) || at.is_some_and(|at| at + 2 == word.len())
}

/// The command of `ip netns exec NAME COMMAND`, or of `ip -all netns exec COMMAND`.
fn in_named(words: &[String]) -> Option<&[String]> {
    let (options, rest) = options(words, &["-n", "-netns", "-f", "-family", "-rcvbuf"]);
    let is_all = options.iter().any(|option| option.len() > 1 && "-all".starts_with(&option[..]));
    match rest {
        [object, action, rest @ ..]
            if object.len() > 2 && "netns".starts_with(&object[..]) && action.starts_with('e') =>
        {
            rest.get(usize::from(!is_all)..)
        }
        _ => None,
    }
}

/// Whether a program runs another one in another folder.
fn leaves(name: &str, options: &[String]) -> bool {
    let has = |starts: &[&str]| {
        options.iter().any(|option| starts.iter().any(|start| option.starts_with(start)))
    };
    match name {
        "sudo" => has(&["-i", "-D", "-R", "--login", "--chdir", "--chroot"]),
        "env" => has(&["-C", "--chdir"]),
        "nsenter" => has(&["-w", "-W", "-r", "-a", "--wd", "--root", "--all"]),
        "unshare" => has(&["-w", "-R", "--wd", "--root"]),
        "chroot" => true,
        _ => false,
    }
}

/// The network namespace that nsenter(1) enters, that of process 1 being the initial one; [`None`]: it enters
/// none.
fn entered(options: &[String]) -> Option<Netns> {
    let mut words = options.iter();
    let (mut target, mut file, mut enters) = (None, None, false);
    while let Some(word) = words.next() {
        let word = &word[..];
        match word {
            "-n" | "--net" | "-a" | "--all" => enters = true,
            "-t" | "--target" => target = words.next().map(|pid| &pid[..]),
            "-S" | "-G" | "-N" | "-W" | "--setuid" | "--setgid" => {
                words.next();
            }
            _ => {
                let of = |long: &str, short: &str| {
                    word.strip_prefix(long).or_else(|| word.strip_prefix(short))
                };
                target = of("--target=", "-t").or(target);
                file = of("--net=", "-n").or(file);
            }
        }
    }
    match file {
        Some(file) => Some(of_file(file)),
        None => enters.then(|| if target == Some("1") { Netns::Initial } else { Netns::Other }),
    }
}

/// The network namespace of a file. The /proc of the machine may be mounted anywhere, and below `root` of a
/// process is that of its namespaces.
fn of_file(path: &str) -> Netns {
    let is_name = |name: &str| !name.is_empty() && !name.contains([UNKNOWN, '/']);
    let of_process = path.strip_prefix("/proc/").and_then(|path| path.strip_suffix("/ns/net"));
    let named = ["/run/netns/", "/var/run/netns/"].iter().find_map(|at| path.strip_prefix(at));
    let is_below_root = path.split('/').any(|folder| folder == "root");
    if path.ends_with("/1/ns/net") && !is_below_root {
        Netns::Initial
    } else if of_process.is_some_and(|pid| pid.parse::<u32>().is_ok()) || named.is_some_and(is_name)
    {
        Netns::Other
    } else {
        Netns::Unknown
    }
}

/// Whether unshare(1) makes a network namespace; its short options stand together.
fn unshares(options: &[String]) -> bool {
    options.iter().any(|option| match option.strip_prefix("--") {
        Some(long) => long == "net" || long.starts_with("net="),
        None => option.starts_with('-') && option.contains('n'),
    })
}

/// What xargs(1) replaces by what it reads.
fn replaced(options: &[String]) -> Option<&str> {
    let at = options.iter().position(|option| {
        option.starts_with("-I") || option.starts_with("-i") || option.starts_with("--replace")
    })?;
    let option = &options[at][..];
    match option {
        "-I" => options.get(at + 1).map(|mark| &mark[..]).filter(|mark| !mark.is_empty()),
        "-i" | "--replace" => Some("{}"),
        _ => option
            .strip_prefix("--replace=")
            .or_else(|| option.get(2..))
            .filter(|mark| !mark.is_empty()),
    }
}

/// Whether a command sets something that is no file of /proc/sys.
pub(super) fn sets_something_else(name: &str, fields: &[String]) -> bool {
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
pub(super) fn slashed(name: &str) -> String {
    let is_dotted = name.find(['.', '/']).is_some_and(|at| name.as_bytes()[at] == b'.');
    if is_dotted { name.replace('.', "/") } else { name.to_owned() }
}

/// Whether a command prints nothing.
pub(super) fn is_silent(name: &str) -> bool {
    let names = [
        "", ":", "true", "false", "[", "[[", "test", "cd", "set", "export", "local", "readonly",
        "declare", "typeset", "unset", "let", "read", "sleep", "shift", "return", "exit", "break",
        "continue", "trap", "wait", "mkdir", "modprobe",
    ];
    names.contains(&name)
}

/// Whether the words of a command are a message, a pattern or names, so that a setting in them is only named.
pub(super) fn only_names(name: &str) -> bool {
    let names = [
        "grep", "egrep", "fgrep", "rg", "logger", "which", "type", "man", "ls", "stat", "find",
        "diff", "alias", "mount", "umount", "dirname", "basename", "git", "cat", "head", "tail",
        "wc",
    ];
    is_silent(name) || names.contains(&name)
}
