//! The variables of a script, and what its words become by them.
//!
//! A variable is known that has one literal value in the whole script. One with two values has none here,
//! because which one counts is decided when it runs; nor has one that is read, counted or added to.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::shell::{Item, Part, UNKNOWN, Word};

/// A value longer than this is not known: no setting comes near it.
const LONGEST_VALUE: usize = 4096;
/// What the variables of one command, and of all, may become in bytes; what is beyond is not known.
const LONGEST_EXPANSION: usize = 64 << 10;
const ALL_EXPANSIONS: usize = 16 << 20;

/// Each variable that is assigned, with its value where that is known.
#[derive(Debug, Default)]
pub(super) struct Variables {
    known: BTreeMap<String, Option<String>>,
    /// What the variables of this command, and of all so far, have become in bytes.
    expanded: Cell<usize>,
    all_expanded: Cell<usize>,
}

impl Variables {
    /// Those that commands assign, in their order.
    pub(super) fn of(items: &[Item]) -> Self {
        let mut known = Self::default();
        for item in items {
            if let Item::Command(command) = item {
                known.begin_command();
                known.add(without_keywords(&command.words));
            }
        }
        known
    }

    /// Begins to count what the variables of a command become.
    pub(super) fn begin_command(&self) {
        self.expanded.set(0);
    }

    /// Adds what a command assigns.
    fn add(&mut self, words: &[Word]) {
        let first = words.first().and_then(literal).unwrap_or_default();
        match first {
            "for" | "select" => {
                let name = words.get(1).and_then(literal).unwrap_or_default();
                let value = match words.get(3..) {
                    Some([only]) => Some(self.whole(only)).filter(|text| !text.contains(' ')),
                    _ => None,
                };
                self.assign(name, value);
            }
            "read" | "getopts" | "mapfile" | "readarray" => {
                for name in words[1..].iter().filter_map(literal) {
                    self.assign(name, None);
                }
            }
            _ => {
                let declares = ["export", "local", "readonly", "declare", "typeset"];
                let is_declared = declares.contains(&first);
                let assigned = words.iter().skip(is_declared.into()).map(assignment);
                for (name, rest, is_added) in
                    assigned.take_while(|found| is_declared || found.is_some()).flatten()
                {
                    let value = (!is_added).then(|| self.whole(&rest));
                    self.assign(&name, value);
                }
            }
        }
    }

    /// Adds an assignment; a second one that differs makes the value unknown.
    fn assign(&mut self, name: &str, value: Option<String>) {
        let value = value.filter(|value| !value.contains(UNKNOWN) && value.len() <= LONGEST_VALUE);
        match self.known.get_mut(name) {
            Some(before) if *before != value => *before = None,
            Some(_) => {}
            None => {
                self.known.insert(name.to_owned(), value);
            }
        }
    }

    fn value(&self, name: &str, default: Option<&String>) -> Option<String> {
        let value = match self.known.get(name) {
            Some(value) => value.as_ref(),
            None => default,
        }?;
        let (of_this, of_all) =
            (self.expanded.get() + value.len(), self.all_expanded.get() + value.len());
        if of_this > LONGEST_EXPANSION || of_all > ALL_EXPANSIONS {
            return None;
        }
        self.expanded.set(of_this);
        self.all_expanded.set(of_all);
        Some(value.clone())
    }

    /// A word or a text that the shell does not divide.
    pub(super) fn whole(&self, word: &Word) -> String {
        let mut text = String::new();
        for part in word {
            match part {
                Part::Text(piece) => text.push_str(piece),
                Part::Variable { name, default, .. } => match self.value(name, default.as_ref()) {
                    Some(value) => text.push_str(&value),
                    None => text.push(UNKNOWN),
                },
            }
        }
        text
    }

    /// The words that the shell makes of one.
    pub(super) fn fields(&self, word: &Word) -> Vec<String> {
        let mut fields = Fields::default();
        for part in word {
            match part {
                Part::Text(text) => fields.push(text),
                Part::Variable { name, default, quoted } => {
                    match self.value(name, default.as_ref()) {
                        Some(value) if *quoted => fields.push(&value),
                        Some(value) => fields.split(&value),
                        None => fields.push(UNKNOWN.encode_utf8(&mut [0; 4])),
                    }
                }
            }
        }
        fields.all()
    }
}

/// What stands in `${ }`: a name, or a name with a literal default.
pub(super) fn braced(inner: &str, quoted: bool) -> Option<Part> {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let end = inner.find(|letter| !is_name(letter)).unwrap_or(inner.len());
    let (name, rest) = inner.split_at(end);
    let starts_right = name.starts_with(|letter: char| !letter.is_ascii_digit());
    let default = match rest {
        "" => None,
        _ => {
            let default = [":-", ":=", "-", "="].iter().find_map(|sign| rest.strip_prefix(sign))?;
            let is_literal = !default.contains(['$', '`', '\\']);
            is_literal.then(|| Some(default.trim_matches(['"', '\''])))?
        }
    };
    let default = default.map(str::to_owned);
    starts_right.then(|| Part::Variable { name: name.to_owned(), default, quoted })
}

/// A word that assigns: its name, what it assigns, and whether that is added to what is there.
pub(super) fn assignment(word: &Word) -> Option<(String, Word, bool)> {
    let (Part::Text(text), rest) = word.split_first()? else { return None };
    let (name, value) = text.split_once('=')?;
    let (name, is_added) = match name.strip_suffix('+') {
        Some(name) => (name, true),
        None => (name, false),
    };
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    if name.is_empty()
        || !name.chars().all(is_name)
        || name.starts_with(|c: char| c.is_ascii_digit())
    {
        return None;
    }
    let mut value: Word = vec![Part::Text(value.to_owned())];
    value.extend_from_slice(rest);
    Some((name.to_owned(), value, is_added))
}

/// The text of a word that has no variable.
pub(super) fn literal(word: &Word) -> Option<&str> {
    match word.as_slice() {
        [Part::Text(text)] => Some(text),
        _ => None,
    }
}

/// A command behind what only says when it runs.
pub(super) fn without_keywords(words: &[Word]) -> &[Word] {
    let keywords = [
        "if", "then", "else", "elif", "fi", "do", "done", "while", "until", "{", "}", "!", "time",
        "esac",
    ];
    let is_keyword = |word: &&Word| literal(word).is_some_and(|text| keywords.contains(&text));
    &words[words.iter().take_while(is_keyword).count()..]
}

/// The words that become of one.
#[derive(Default)]
struct Fields {
    done: Vec<String>,
    current: Option<String>,
}

impl Fields {
    fn push(&mut self, text: &str) {
        self.current.get_or_insert_default().push_str(text);
    }

    /// Adds a value that stands outside quotes: its blanks divide.
    fn split(&mut self, value: &str) {
        if value.starts_with(char::is_whitespace) {
            self.done.extend(self.current.take());
        }
        for (index, piece) in value.split_whitespace().enumerate() {
            if index > 0 {
                self.done.extend(self.current.take());
            }
            self.push(piece);
        }
        if value.ends_with(char::is_whitespace) {
            self.done.extend(self.current.take());
        }
    }

    fn all(mut self) -> Vec<String> {
        self.done.extend(self.current);
        self.done
    }
}
