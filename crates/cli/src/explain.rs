//! `netmem explain WORD`: a word of the kernel's network memory, in three sentences, and its value here.
//!
//! The words are tables, a file a topic, and each entry says what the thing is on kernels 6.1 to 7.3,
//! where it stands in the kernel's source, which item of the libraries or which command of netmem has to
//! do with it, and how its value is read now. A value that cannot be had says why; it is never a zero.
//! Who comes from the two articles that netmem grew from finds every technical word of them, in their
//! language and spelling, also names that the kernel does not have any more or never had.
//!
//! A word is looked up without regard to case, spaces, `_` and `-`, and `net/core/rmem_max` is
//! `net.core.rmem_max`. Several entries may know one word: all are shown.
//!
//! Exit codes: 0 found, whatever could be read; 2 no such word, and the nearest ones are named.

mod accounting;
mod address_space;
mod af_xdp;
mod code;
mod pages;
mod sk_buff;
mod statistics;
mod sysctls;
#[cfg(test)]
mod tests;
pub mod value;
mod zero_copy;

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use netmem_host::{
    source::Root,
    sysctl::{KEYS, Key},
};
use serde::Serialize;

use self::value::{Now, Value};
use crate::{
    Failure, Outcome,
    args::ExplainArgs,
    report::{self, row},
};

/// How many words are named when one is not found.
const NEAREST: usize = 5;
/// How long a printed line of a sentence is at most, in columns.
pub(crate) const TEXT_COLUMNS: usize = 85;

/// What is known of a word.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// `netmem.explain/1`.
    pub schema: &'static str,
    /// The word that was asked for.
    pub asked: String,
    /// The entries that know it, the one of that name first.
    pub entries: Vec<Answer>,
}

/// One entry.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// The entry's own word.
    pub word: &'static str,
    /// The group of words that it belongs to.
    pub topic: &'static str,
    /// Other words and spellings for it.
    pub aliases: Vec<&'static str>,
    /// What it is.
    pub what: &'static str,
    /// Files and folders of the kernel's source.
    pub kernel: Vec<&'static str>,
    /// Items of the libraries.
    pub api: Vec<&'static str>,
    /// Commands.
    pub commands: Vec<&'static str>,
    /// What else there is to say of it in netmem, or that it is planned.
    pub note: Option<&'static str>,
    /// Of a sysctl: form, unit, scope, and how the kernel comes by its default.
    pub sysctl: Option<&'static Key>,
    /// Its values on this machine.
    pub now: Vec<Value>,
}

/// All words, by topic.
#[derive(Debug, Clone, Serialize)]
pub struct Words {
    /// `netmem.explain.words/1`.
    pub schema: &'static str,
    /// The topics.
    pub topics: Vec<Topic>,
}

/// A group of words.
#[derive(Debug, Clone, Serialize)]
pub struct Topic {
    /// Its name.
    pub topic: &'static str,
    /// The entries' own words.
    pub words: Vec<&'static str>,
}

/// An entry of a table.
#[derive(Debug, Clone, Copy)]
struct Entry {
    word: &'static str,
    /// Other words for it, joined by commas.
    aliases: &'static str,
    /// Three sentences.
    what: &'static str,
    /// Files and folders of the kernel's source, joined by commas.
    kernel: &'static str,
    api: &'static [&'static str],
    /// Joined by commas.
    commands: &'static str,
    note: &'static str,
    now: &'static [Now],
}

/// Names items of the libraries: a name that is none does not compile.
macro_rules! api {
    ($($first:ident $(:: $rest:ident)*),* $(,)?) => {
        &[$({
            #[allow(unused_imports, reason = "that it resolves is what counts")]
            use $first $(:: $rest)* as _;
            concat!(stringify!($first) $(, "::", stringify!($rest))*)
        }),*]
    };
}
use api;

/// Runs the command.
///
/// # Errors
/// When nobody knows the word.
pub fn run(args: &ExplainArgs, out: &mut dyn Write) -> Result<Outcome, Failure> {
    let asked = args.word.join(" ");
    let printed = if asked.trim().is_empty() {
        let words = Words::all();
        if args.json { report::json(out, &words) } else { print_words(out, &words) }
    } else {
        let explanation = Explanation::of(&asked, &Root::live()).ok_or_else(|| unknown(&asked))?;
        if args.json { report::json(out, &explanation) } else { print(out, &explanation) }
    };
    printed.and_then(|()| out.flush()).map_err(Failure::output)?;
    Ok(Outcome::Done)
}

impl Explanation {
    /// Looks a word up, and reads its values; `None` if no entry knows it.
    pub fn of(asked: &str, root: &Root) -> Option<Self> {
        let found = find(asked);
        let mut entries: Vec<_> =
            found.iter().map(|(topic, entry)| Answer::new(topic, entry, root)).collect();
        let has_own = |key: &Key| entries.iter().any(|answer| answer.word == key.name);
        let others: Vec<_> = sysctls::others(&plain(asked)).filter(|key| !has_own(key)).collect();
        entries.extend(others.into_iter().map(|key| Answer::of_key(key, root)));
        (!entries.is_empty()).then(|| Self {
            schema: "netmem.explain/1",
            asked: asked.to_owned(),
            entries,
        })
    }
}

impl Answer {
    fn new(topic: &'static str, entry: &Entry, root: &Root) -> Self {
        Self {
            word: entry.word,
            topic,
            aliases: listed(entry.aliases).collect(),
            what: entry.what,
            kernel: listed(entry.kernel).collect(),
            api: entry.api.to_vec(),
            commands: listed(entry.commands).collect(),
            note: Some(entry.note).filter(|note| !note.is_empty()),
            sysctl: Key::named(entry.word),
            now: entry.now.iter().map(|now| now.read(root)).collect(),
        }
    }
}

impl Answer {
    /// A sysctl that no entry is about.
    fn of_key(key: &'static Key, root: &Root) -> Self {
        Self {
            word: key.name,
            topic: "sysctls",
            aliases: Vec::new(),
            what: key.meaning,
            kernel: vec![key.citation],
            api: Vec::new(),
            commands: Vec::new(),
            note: None,
            sysctl: Some(key),
            now: vec![Now::Sysctl(key.name).read(root)],
        }
    }
}

impl Words {
    fn all() -> Self {
        let mut topics: Vec<Topic> = Vec::new();
        for (topic, entry) in entries() {
            match topics.last_mut().filter(|last| last.topic == topic) {
                Some(last) => last.words.push(entry.word),
                None => topics.push(Topic { topic, words: vec![entry.word] }),
            }
        }
        if let Some(last) = topics.last_mut() {
            let others = KEYS.iter().map(|key| key.name);
            let others: Vec<_> = others.filter(|name| !last.words.contains(name)).collect();
            last.words.extend(others);
        }
        Self { schema: "netmem.explain.words/1", topics }
    }
}

/// All entries with their topics, topic after topic.
fn entries() -> impl Iterator<Item = (&'static str, Entry)> {
    let tables = [
        ("address space", address_space::ENTRIES),
        ("AF_XDP", af_xdp::ENTRIES),
        ("packets", sk_buff::ENTRIES),
        ("pages and DMA", pages::ENTRIES),
        ("zero copy", zero_copy::ENTRIES),
        ("accounting and pressure", accounting::ENTRIES),
        ("monitoring", statistics::ENTRIES),
        ("kernel code", code::ENTRIES),
    ];
    let words = tables
        .into_iter()
        .flat_map(|(topic, entries)| entries.iter().map(move |entry| (topic, *entry)));
    words.chain(sysctls::all().map(|entry| ("sysctls", entry)))
}

/// The entries that know a word, those of that name first.
fn find(asked: &str) -> Vec<(&'static str, Entry)> {
    let asked = plain(asked);
    let knows = |entry: &Entry| names(entry).any(|name| plain(name) == asked);
    let mut found: Vec<_> = entries().filter(|(_, entry)| knows(entry)).collect();
    found.sort_by_key(|(_, entry)| plain(entry.word) != asked);
    found
}

/// The entry's own word and its aliases.
fn names(entry: &Entry) -> impl Iterator<Item = &'static str> {
    std::iter::once(entry.word).chain(listed(entry.aliases))
}

fn listed(joined: &'static str) -> impl Iterator<Item = &'static str> {
    joined.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// A word without what people write differently.
fn plain(word: &str) -> String {
    let word = word.trim();
    let word = word.strip_prefix("struct ").unwrap_or(word);
    let word = word.strip_suffix("()").unwrap_or(word);
    let word = word.strip_prefix("/proc/sys/").unwrap_or(word);
    let kept = word.chars().filter(|letter| !letter.is_whitespace() && !"_-".contains(*letter));
    kept.map(|letter| if letter == '/' { '.' } else { letter }).collect::<String>().to_lowercase()
}

/// Says that nobody knows a word, and which come nearest.
fn unknown(asked: &str) -> Failure {
    let nearest = nearest(asked).join(", ");
    Failure::usage(format!("explain {asked}: no such word"))
        .with_hint(format!("near: {nearest}; `netmem explain` lists all"))
}

/// The words nearest to one that is not known, the nearest first, one an entry.
fn nearest(asked: &str) -> Vec<&'static str> {
    let asked = plain(asked);
    let distance = |name: &str| {
        let name = plain(name);
        let is_part =
            (asked.len() > 2 && name.contains(&asked)) || (name.len() > 5 && asked.contains(&name));
        let likeness = strsim::jaro_winkler(&asked, &name);
        if is_part { 1.0 + likeness } else { likeness }
    };
    let best = |entry: &Entry| {
        let likeness = names(entry).map(|name| (distance(name), name));
        likeness.max_by(|a, b| a.0.total_cmp(&b.0))
    };
    let mut all: Vec<_> = entries().filter_map(|(_, entry)| best(&entry)).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut seen = BTreeSet::new();
    all.into_iter()
        .map(|(_, name)| name)
        .filter(|name| seen.insert(plain(name)))
        .take(NEAREST)
        .collect()
}

fn print(out: &mut dyn Write, explanation: &Explanation) -> io::Result<()> {
    for (index, answer) in explanation.entries.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        print_answer(out, answer)?;
    }
    Ok(())
}

fn print_answer(out: &mut dyn Write, answer: &Answer) -> io::Result<()> {
    row(out, "word", format!("{} ({})", answer.word, answer.topic))?;
    print_text(out, "what", answer.what)?;
    print_text(out, "kernel", &answer.kernel.join(", "))?;
    let code = |commands: &[&str]| {
        commands.iter().map(|command| format!("`{command}`")).collect::<Vec<_>>().join(", ")
    };
    if !answer.api.is_empty() {
        print_text(out, "library", &answer.api.join(", "))?;
    }
    if !answer.commands.is_empty() {
        print_text(out, "commands", &code(&answer.commands))?;
    }
    if let Some(note) = answer.note {
        print_text(out, "netmem", note)?;
    }
    if let Some(key) = answer.sysctl {
        let form = format!("{:?} of {:?}, {:?}", key.arity, key.unit, key.scope).to_lowercase();
        print_text(out, "unit", &form)?;
        print_text(out, "default", key.default_rule)?;
    }
    let mut label = "now";
    for value in &answer.now {
        print_text(out, label, &value.to_string())?;
        label = "";
    }
    Ok(())
}

fn print_words(out: &mut dyn Write, words: &Words) -> io::Result<()> {
    for topic in &words.topics {
        writeln!(out, "{}", topic.topic)?;
        print_text(out, "", &topic.words.join(", "))?;
    }
    Ok(())
}

/// Prints a text behind a label, in as many lines as it takes.
pub(crate) fn print_text(out: &mut dyn Write, label: &str, text: &str) -> io::Result<()> {
    let labels = std::iter::once(label).chain(std::iter::repeat(""));
    labels.zip(wrapped(text, TEXT_COLUMNS)).try_for_each(|(label, line)| row(out, label, line))
}

/// Breaks a text into lines of so many columns, longer only where a word is.
pub(crate) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
