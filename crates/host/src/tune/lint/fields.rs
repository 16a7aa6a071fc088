//! What a shell makes of its words: one text, or several words where a variable outside quotes has blanks.
//!
//! A piece that is not known stays in the word, so that what stands around it is.
//! Behaviour: POSIX.1-2017, XCU 2.6.5 (Field Splitting).

use super::arithmetic;
use super::command::{Part, UNKNOWN, Word};
use super::variables::Variables;

/// [`UNKNOWN`] as a text.
const NOT_KNOWN: &str = "\0";

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
                    None => text.push(UNKNOWN),
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
                        Some(value) => fields.split(&value),
                        None => fields.push(NOT_KNOWN),
                    }
                }
                Part::Arithmetic(inner) => {
                    fields.push(self.computed(inner).as_deref().unwrap_or(NOT_KNOWN));
                }
                Part::Array(_) => fields.push(NOT_KNOWN),
                Part::Elements { name, quoted } => match self.elements(name) {
                    Some(elements) => fields.elements(&elements, *quoted || self.is_zsh),
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

    /// Adds the elements of an array, each a word.
    fn elements(&mut self, elements: &[String], quoted: bool) {
        for (index, element) in elements.iter().enumerate() {
            if index > 0 {
                self.done.extend(self.current.take());
            }
            if quoted { self.push(element) } else { self.split(element) }
        }
    }

    fn all(mut self) -> Vec<String> {
        self.done.extend(self.current);
        self.done
    }
}
