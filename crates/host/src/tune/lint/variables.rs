//! The variables of a script, and what its words become by them.
//!
//! A variable is known that has one literal value in the whole script, wherever it is assigned there. One with
//! two values has none here, because which one counts is decided when it runs; nor has one that is read, counted
//! or added to, or set for one command only. In the rounds of a loop over words its variable has one of them, and
//! so has what is made from it. A script inside the script has its own, and of those around it what is exported,
//! where nothing like sudo(8) may keep that back.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use super::arithmetic;
use super::command::{Instead, Item, Part, Simple, UNKNOWN, Word, assignment, is_name, literal};
use super::dialect::Shell;
use super::fields::Separators;

/// A value longer than this is not known: no setting comes near it.
const LONGEST_VALUE: usize = 4096;
/// What the variables of one command, and of all, may become in bytes; what is beyond is not known.
const LONGEST_EXPANSION: usize = 64 << 10;
const ALL_EXPANSIONS: usize = 16 << 20;

/// Each variable that is assigned, with its value where that is known.
#[derive(Debug, Default)]
pub(super) struct Variables {
    known: BTreeMap<String, Option<String>>,
    /// Whether the shell leaves values whole.
    pub(super) is_zsh: bool,
    /// Those that are paths of which a piece is not known.
    paths: BTreeMap<String, Option<String>>,
    /// How often each is assigned.
    times: BTreeMap<String, usize>,
    /// What loops give to variables while they run, the innermost last.
    scopes: Vec<BTreeMap<String, Option<String>>>,
    /// The elements of arrays, where they are known.
    arrays: BTreeMap<String, Option<Vec<String>>>,
    /// Those whose values are arithmetic.
    integers: BTreeSet<String>,
    /// What IFS is made beside what a shell begins with, and variables that only keep what it was.
    pub(super) separators: Separators,
    /// Those that unset(1) has taken away so far.
    unset: BTreeSet<String>,
    /// Those that programs get, and whether all may be.
    exported: BTreeSet<String>,
    may_export_all: bool,
    /// What is set for this script alone, as by `A=1 sh -c`.
    given: BTreeMap<String, Option<String>>,
    /// Those of the script around this one, and whether it is unknown which of them come here.
    around: Option<Box<Self>>,
    is_filtered: bool,
    /// What the variables of this command, and of all so far, have become in bytes.
    expanded: Cell<usize>,
    all_expanded: Cell<usize>,
}

impl Variables {
    /// Those that commands assign, in their order.
    pub(super) fn of(items: &[Item], shell: Shell) -> Self {
        let mut known = Self { is_zsh: shell == Shell::Zsh, ..Self::default() };
        known.commands(items);
        known
    }

    /// Adds what commands assign, in their order.
    pub(super) fn commands(&mut self, items: &[Item]) {
        for item in items {
            if let Item::Command(command) = item {
                self.command(command);
            }
        }
    }

    /// Of what commands assign that run at some time no value is known.
    pub(super) fn at_some_time(&mut self, items: &[Item]) {
        for name in Self::of(items, Shell::Bash).times.into_keys() {
            self.assign(&name, None);
        }
    }

    /// Begins a script inside this one, run by a program with this environment.
    pub(super) fn begin_script(&mut self, items: &[Item], shell: Shell, environment: Environment) {
        let around = Box::new(std::mem::take(self));
        self.is_zsh = shell == Shell::Zsh;
        self.all_expanded.set(around.all_expanded.get());
        self.around = Some(around);
        (self.given, self.is_filtered) = (environment.given, environment.is_filtered);
        self.commands(items);
    }

    /// Ends it.
    pub(super) fn end_script(&mut self) {
        if let Some(around) = self.around.take() {
            around.all_expanded.set(self.all_expanded.get());
            *self = *around;
        }
    }

    /// Adds what a command assigns.
    pub(super) fn command(&mut self, command: &Simple) {
        self.begin_command();
        let words = without_keywords(&command.words);
        self.add(words);
        for word in words {
            self.counted(word);
        }
    }

    /// Begins a loop's round, in which a variable has a value of its own.
    pub(super) fn begin_round(&mut self, name: &str, value: Option<String>) {
        self.scopes.push(BTreeMap::from([(name.to_owned(), value)]));
    }

    /// Ends the round.
    pub(super) fn end_round(&mut self) {
        self.scopes.pop();
    }

    /// Whether a command assigns this variable.
    pub(super) fn assigns(&self, name: &str) -> bool {
        self.times.contains_key(name)
    }

    /// Takes an assignment in a loop: if it is the only one of its variable, it counts from here on.
    pub(super) fn assign_in_round(&mut self, word: &Word) {
        let Some((name, value, is_added)) = assignment(word) else { return };
        self.unset.remove(&name);
        if is_added || self.scopes.is_empty() || self.times.get(&name) != Some(&1) {
            return;
        }
        let is_plain = !self.integers.contains(&name);
        let value = Some(self.whole(&value)).filter(|value| is_plain && is_known(value));
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name, value);
        }
    }

    /// Takes variables away, as unset(1) does; they may have a value from elsewhere.
    pub(super) fn unset(&mut self, names: &[String]) {
        if !names.iter().any(|name| name == "-f") {
            self.unset.extend(names.iter().filter(|name| is_name(name)).cloned());
        }
    }

    /// What changes in the arithmetic of a word is not known; `${x:=5}` assigns.
    fn counted(&mut self, word: &Word) {
        for part in word {
            match part {
                Part::Arithmetic(inner) => {
                    for name in arithmetic::changed(&plain(inner)) {
                        self.assign(name, None);
                    }
                    self.counted(inner);
                }
                Part::Variable { name, default: Some(default), .. } if default.is_assigned => {
                    self.assign(name, Some(default.text.clone()));
                }
                _ => {}
            }
        }
    }

    /// Begins to count what the variables of a command become.
    pub(super) fn begin_command(&self) {
        self.expanded.set(0);
    }

    /// Adds what a command assigns.
    fn add(&mut self, words: &[Word]) {
        let in_front = words.iter().map_while(assignment);
        let words = match words.iter().position(|word| assignment(word).is_none()) {
            // For this command alone, unless it is a function or the shell's own.
            Some(at) => {
                // read(1) divides its input by an IFS of its own, and is done with it.
                let is_read = literal(&words[at]) == Some("read");
                let in_front = in_front.filter(|(name, ..)| !is_read || name != "IFS");
                for (name, value, is_added) in in_front {
                    let value = Some(self.whole(&value)).filter(|_| !is_added);
                    if self.known.get(&name).is_none_or(|known| *known != value) {
                        self.assign(&name, None);
                    }
                }
                &words[at..]
            }
            None => words,
        };
        let first = words.first().and_then(literal).unwrap_or_default();
        match first {
            "for" | "select" => {
                let name = words.get(1).and_then(literal).unwrap_or_default();
                let value = match words.get(3..) {
                    Some([only]) => {
                        Some(self.whole(only)).filter(|text| !text.contains([' ', '{']))
                    }
                    _ => None,
                };
                self.assign(name, value);
            }
            "read" | "getopts" | "mapfile" | "readarray" => {
                words[1..].iter().filter_map(literal).for_each(|name| self.forget(name));
            }
            "printf" if words.get(1).and_then(literal) == Some("-v") => {
                words.get(2).and_then(literal).into_iter().for_each(|name| self.forget(name));
            }
            "let" => {
                for word in &words[1..] {
                    for name in arithmetic::changed(&plain(word)) {
                        self.assign(name, None);
                    }
                }
            }
            "set" => {
                let is_all = |word: &str| match word.strip_prefix('-') {
                    Some(options) => !options.starts_with('-') && options.contains('a'),
                    None => word == "allexport",
                };
                self.may_export_all |= words[1..].iter().filter_map(literal).any(is_all);
            }
            "export" | "local" | "readonly" | "declare" | "typeset" => {
                self.declare(&words[1..], first)
            }
            _ if words.first().and_then(assignment).is_some() => self.assign_all(words),
            _ => {
                // `A[1]=`: an element of an array.
                if let Some(Part::Text(text)) = words.first().and_then(|word| word.first())
                    && let Some((name, _)) = text.split_once('[')
                    && is_name(name)
                {
                    self.forget(name);
                }
            }
        }
    }

    /// No value of a variable is known from here on.
    fn forget(&mut self, name: &str) {
        self.assign(name, None);
        if self.arrays.contains_key(name) {
            self.assign_array(name, None);
        }
    }

    /// Adds the assignments among words.
    fn assign_all(&mut self, words: &[Word]) {
        for (name, rest, is_added) in words.iter().filter_map(assignment) {
            if self.separators.keeps(&name, &rest) {
                continue;
            }
            let value = (!is_added).then(|| self.whole(&rest));
            if let [_, Part::Array(elements)] = &rest[..] {
                let fields = elements.iter().flat_map(|element| self.fields(element)).collect();
                self.assign_array(&name, Some(fields).filter(|_| !is_added));
            } else if self.arrays.contains_key(&name) {
                self.assign_array(&name, None);
            }
            let is_number = self.integers.contains(&name);
            let value = if is_number { value.and_then(|text| self.number(&text)) } else { value };
            self.assign(&name, value);
        }
    }

    /// Adds an array; a second one that differs makes the elements unknown.
    fn assign_array(&mut self, name: &str, elements: Option<Vec<String>>) {
        let elements = elements.filter(|all| all.iter().all(|element| is_known(element)));
        let known = self.arrays.entry(name.to_owned()).or_insert_with(|| elements.clone());
        if *known != elements {
            *known = None;
        }
    }

    /// The elements of an array; [`None`]: nobody knows.
    pub(super) fn elements(&self, name: &str) -> Option<Vec<String>> {
        let elements = self.arrays.get(name)?.as_ref()?;
        let letters = elements.iter().map(|element| element.len() + 1).sum();
        self.may_become(letters).then(|| elements.clone())
    }

    /// Adds what a declaration says of variables.
    fn declare(&mut self, words: &[Word], command: &str) {
        let has = |letter: char| {
            let is_with = |word: &str| word.starts_with(['-', '+']) && word.contains(letter);
            words.iter().filter_map(literal).any(is_with)
        };
        if has('i') {
            let names = words.iter().filter_map(|word| match assignment(word) {
                Some((name, ..)) => Some(name),
                None => literal(word).map(str::to_owned),
            });
            self.integers.extend(names);
        }
        self.assign_all(words);
        if command != "export" && !has('x') {
            return;
        }
        let is_undone =
            has('n') || words.iter().filter_map(literal).any(|word| word.starts_with('+'));
        for word in words {
            let assigned = assignment(word).map(|(name, ..)| name);
            let Some(name) = assigned.or_else(|| literal(word).map(str::to_owned)) else {
                continue;
            };
            if is_undone {
                self.assign(&name, None);
            }
            self.exported.insert(name);
        }
    }

    /// Adds an assignment; a second one that differs makes the value unknown.
    fn assign(&mut self, name: &str, value: Option<String>) {
        let is_path = |value: &&String| {
            value.starts_with('/') && value.len() <= LONGEST_VALUE && !is_known(value)
        };
        let path = value.as_ref().filter(is_path).cloned();
        let before = self.paths.entry(name.to_owned()).or_insert_with(|| path.clone());
        if *before != path {
            *before = None;
        }
        let value = value.filter(|value| is_known(value));
        if name == "IFS" {
            self.separators.add(value.as_deref());
        }
        *self.times.entry(name.to_owned()).or_default() += 1;
        match self.known.get_mut(name) {
            Some(before) if *before != value => *before = None,
            Some(_) => {}
            None => {
                self.known.insert(name.to_owned(), value);
            }
        }
    }

    /// The value of a variable that is set, if it is known.
    fn found(&self, name: &str) -> Option<Option<&String>> {
        let bound = self.scopes.iter().rev().find_map(|scope| scope.get(name));
        if bound.is_none() && self.unset.contains(name) {
            return Some(None);
        }
        let own = bound.or_else(|| self.known.get(name)).or_else(|| self.given.get(name));
        let inherited = || {
            let around = self.around.as_deref()?;
            let value = around.exports(name)?;
            Some(value.filter(|_| !self.is_filtered))
        };
        own.map(Option::as_ref).or_else(inherited)
    }

    /// The value that a program gets of a variable, if it gets one, and if that is known.
    fn exports(&self, name: &str) -> Option<Option<&String>> {
        if self.exported.contains(name) {
            return Some(self.found(name).flatten());
        }
        let is_own = self.known.contains_key(name);
        let inherited =
            || self.around.as_deref().is_some_and(|around| around.exports(name).is_some());
        if self.given.contains_key(name) || inherited() {
            return self.found(name);
        }
        (is_own && self.may_export_all).then_some(None)
    }

    pub(super) fn value(&self, name: &str, default: Option<&Instead>) -> Option<String> {
        let of_empty = default.filter(|default| default.is_for_empty);
        let value = match self.found(name) {
            Some(Some(value)) if value.is_empty() => {
                of_empty.map_or(value, |default| &default.text)
            }
            Some(value) => value?,
            None => &default?.text,
        };
        self.may_become(value.len()).then(|| value.clone())
    }

    /// What the text tells of a variable that is not known: of a path a part of it.
    pub(super) fn in_part(&self, name: &str) -> String {
        let is_bound =
            self.unset.contains(name) || self.scopes.iter().any(|scope| scope.contains_key(name));
        let path = self.paths.get(name).and_then(Option::as_ref).filter(|_| !is_bound);
        let path = path.filter(|path| self.may_become(path.len()));
        path.cloned().unwrap_or_else(|| UNKNOWN.into())
    }

    /// Whether variables may become so many letters more, which are counted then.
    fn may_become(&self, letters: usize) -> bool {
        let (of_this, of_all) = (self.expanded.get() + letters, self.all_expanded.get() + letters);
        let may = of_this <= LONGEST_EXPANSION && of_all <= ALL_EXPANSIONS;
        if may {
            self.expanded.set(of_this);
            self.all_expanded.set(of_all);
        }
        may
    }
}

/// What a program is given beside the variables that are exported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Environment {
    /// Variables that are set for it alone.
    pub(super) given: BTreeMap<String, Option<String>>,
    /// Whether something stands before it that keeps variables back.
    pub(super) is_filtered: bool,
}

impl Environment {
    /// Takes an assignment in front of a program, if that is one.
    pub(super) fn takes(&mut self, word: &str) -> bool {
        let Some((name, value, is_added)) = assignment(&vec![Part::Text(word.to_owned())]) else {
            return false;
        };
        let value = literal(&value).filter(|value| is_known(value) && !is_added);
        self.given.insert(name, value.map(str::to_owned));
        true
    }

    /// What follows keeps variables back, or may.
    pub(super) fn filter(&mut self) {
        self.is_filtered = true;
        self.given.values_mut().for_each(|value| *value = None);
    }
}

fn is_known(value: &str) -> bool {
    !value.contains(UNKNOWN) && value.len() <= LONGEST_VALUE
}

/// The text of an expression, its variables as names.
fn plain(word: &Word) -> String {
    let text = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::Variable { name, .. } => name.clone(),
        Part::Arithmetic(_) | Part::Array(_) | Part::Elements { .. } => " ".to_owned(),
    };
    word.iter().map(text).collect()
}

/// What stands in `${ }`: a name, or a name with a literal default.
pub(super) fn braced(inner: &str, quoted: bool) -> Option<Part> {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let end = inner.find(|letter| !is_letter(letter)).unwrap_or(inner.len());
    let (name, rest) = inner.split_at(end);
    let default = match rest {
        "" => None,
        _ => {
            let behind = |sign: &'static str| Some((sign, rest.strip_prefix(sign)?));
            let (sign, text) = [":-", ":=", "-", "="].into_iter().find_map(behind)?;
            let is_literal = !text.contains(['$', '`', '\\']);
            let text = is_literal.then(|| text.trim_matches(['"', '\'']).to_owned())?;
            let (is_for_empty, is_assigned) = (sign.starts_with(':'), sign.ends_with('='));
            Some(Instead { text, is_for_empty, is_assigned })
        }
    };
    is_name(name).then(|| Part::Variable { name: name.to_owned(), default, quoted })
}

/// All elements of an array, if that is what stands in `${ }`.
pub(super) fn elements(inner: &str, quoted: bool) -> Option<Part> {
    let name =
        inner.strip_suffix("[@]").or_else(|| inner.strip_suffix("[*]").filter(|_| !quoted))?;
    is_name(name).then(|| Part::Elements { name: name.to_owned(), quoted })
}

/// A command behind what only says when it runs, or which function has it.
pub(super) fn without_keywords(words: &[Word]) -> &[Word] {
    let keywords = [
        "if", "then", "else", "elif", "fi", "do", "done", "while", "until", "{", "}", "!", "time",
        "esac",
    ];
    let mut taken = 0;
    while let Some(word) = words.get(taken).and_then(literal) {
        taken += match word {
            "function" => 2,
            word if keywords.contains(&word) => 1,
            _ => break,
        };
    }
    &words[taken.min(words.len())..]
}
