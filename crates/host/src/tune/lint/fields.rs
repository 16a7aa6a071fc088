//! What a shell makes of its words: one text, or several words where a variable outside quotes has blanks.
//!
//! A piece that is not known stays in the word, so that what stands around it is. A value that some IFS of the
//! text divides otherwise than the one that a shell begins with is not known: when it counts is not followed.
//! Behaviour: POSIX.1-2017, XCU 2.6.5 (Field Splitting).

use std::collections::BTreeSet;

use super::arithmetic;
use super::command::{Part, UNKNOWN, Word};
use super::program::runs;
use super::variables::Variables;

/// [`UNKNOWN`] as a text.
const NOT_KNOWN: &str = "\0";
/// What divides values where a text says nothing of it.
const BLANKS: &str = " \t\n";
/// How many values of IFS are kept.
const MOST_SEPARATORS: usize = 8;

/// What a text makes of IFS.
#[derive(Debug, Default)]
pub(super) struct Separators {
    /// [`None`] in it: something that is not known.
    all: BTreeSet<Option<String>>,
    /// Variables that are given what it was.
    kept: BTreeSet<String>,
}

impl Separators {
    /// Adds a value of IFS.
    pub(super) fn add(&mut self, value: Option<&str>) {
        let value = value.filter(|_| self.all.len() < MOST_SEPARATORS);
        self.all.insert(value.map(str::to_owned));
    }

    /// Whether an assignment gives IFS back what it was; which variables keep that is noted.
    pub(super) fn keeps(&mut self, name: &str, value: &Word) -> bool {
        let is_some = |part: &&Part| !matches!(part, Part::Text(text) if text.is_empty());
        let mut parts = value.iter().filter(is_some);
        let (Some(Part::Variable { name: from, default: None, .. }), None) =
            (parts.next(), parts.next())
        else {
            self.kept.remove(name);
            return false;
        };
        if from == "IFS" {
            self.kept.insert(name.to_owned());
        }
        name == "IFS" && self.kept.contains(from)
    }

    /// Whether some IFS of the text divides this value otherwise than blanks do. One that begins with a program
    /// is taken for a command, which is meant to be divided.
    fn differ_in(&self, value: &str) -> bool {
        let differs = |ifs: &Option<String>| match ifs {
            Some(ifs) => {
                value.chars().any(|letter| BLANKS.contains(letter) != ifs.contains(letter))
            }
            None => value.chars().any(|letter| !letter.is_ascii_alphanumeric() && letter != '_'),
        };
        self.all.iter().any(differs) && !value.split_whitespace().next().is_some_and(runs)
    }
}

impl Variables {
    /// What arithmetic gives.
    fn computed(&self, word: &Word) -> Option<String> {
        let text = Some(self.whole(word)).filter(|text| !text.contains(UNKNOWN))?;
        self.number(&text)
    }

    /// The value of an expression.
    pub(super) fn number(&self, text: &str) -> Option<String> {
        arithmetic::value(text, &|name| self.value(name, None)).map(|value| value.to_string())
    }

    /// A word or a text that the shell does not divide.
    pub(super) fn whole(&self, word: &Word) -> String {
        let mut text = String::new();
        for part in word {
            match part {
                Part::Text(piece) => text.push_str(piece),
                Part::Variable { name, default, .. } => match self.value(name, default.as_ref()) {
                    Some(value) => text.push_str(&value),
                    None => text.push_str(&self.in_part(name)),
                },
                Part::Arithmetic(inner) => match self.computed(inner) {
                    Some(value) => text.push_str(&value),
                    None => text.push(UNKNOWN),
                },
                Part::Array(_) => text.push(UNKNOWN),
                Part::Elements { name, .. } => match self.elements(name) {
                    Some(elements) => text.push_str(&elements.join(" ")),
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
                        Some(value) if *quoted || (self.is_zsh && !value.is_empty()) => {
                            fields.push(&value);
                        }
                        Some(value) => fields.split(&value, &self.separators),
                        None => fields.push(&self.in_part(name)),
                    }
                }
                Part::Arithmetic(inner) => {
                    fields.push(self.computed(inner).as_deref().unwrap_or(NOT_KNOWN));
                }
                Part::Array(_) => fields.push(NOT_KNOWN),
                Part::Elements { name, quoted } => match self.elements(name) {
                    Some(elements) => {
                        fields.elements(&elements, *quoted || self.is_zsh, &self.separators);
                    }
                    None => fields.push(NOT_KNOWN),
                },
            }
        }
        fields.all()
    }
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
    fn split(&mut self, value: &str, separators: &Separators) {
        if separators.differ_in(value) {
            return self.push(NOT_KNOWN);
        }
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

    /// Adds the elements of an array, each a word.
    fn elements(&mut self, elements: &[String], quoted: bool, separators: &Separators) {
        for (index, element) in elements.iter().enumerate() {
            if index > 0 {
                self.done.extend(self.current.take());
            }
            if quoted {
                self.push(element);
            } else {
                self.split(element, separators);
            }
        }
    }

    fn all(mut self) -> Vec<String> {
        self.done.extend(self.current);
        self.done
    }
}
