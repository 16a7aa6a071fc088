//! What a shell puts into a word: what stands behind `$`, and commands in backticks.
//!
//! Commands in words are read as such, and what they print is not known. A bracket that does not close, or far
//! away, is a letter; how much is looked at in vain for all of them is bounded.
//! Behaviour: POSIX.1-2017, XCU 2.6 (Word Expansions), and bash(1).

use super::arithmetic;
use super::command::{DEEPEST, Item, Part, UNKNOWN, Word};
use super::print::unescaped;
use super::shell::{Lexer, items, text_of};
use super::variables::{braced, elements};

/// How many letters a command inside a word may have.
const LONGEST_INNER: usize = 1 << 12;
/// How many letters of a list behind a variable are looked at.
const LONGEST_LIST: usize = 256;
/// How many letters of a text may be looked at for brackets that do not close; behind that none does.
const ALL_IN_VAIN: usize = 4 << 20;

impl Lexer<'_> {
    /// What brackets enclose, from the opening one on; nothing where the closing one is missing or too
    /// far away, and then only the opening one is passed.
    pub(super) fn enclosed(&mut self, open: char, close: char) -> String {
        let (start, line) = (self.at, self.line);
        let mut depth = 0_usize;
        let mut quote = None;
        let longest = LONGEST_INNER.min(ALL_IN_VAIN.saturating_sub(self.spent.in_vain.get()));
        while let Some(letter) = self.next().filter(|_| self.at - start < longest) {
            match quote {
                Some(mark) if letter == mark => quote = None,
                Some('"') if letter == '\\' => self.skip(1),
                Some(_) => {}
                None if letter == '\\' => self.skip(1),
                None if open == '(' && matches!(letter, '"' | '\'') => quote = Some(letter),
                None if letter == open => depth += 1,
                None if letter == close => depth -= 1,
                None => {}
            }
            if depth == 0 {
                return self.text[start + 1..self.at - 1].iter().collect();
            }
        }
        self.spent.in_vain(self.at - start);
        (self.at, self.line) = (start + 1, line);
        String::new()
    }

    /// Reads commands that stand inside a word.
    pub(super) fn follow(&mut self, text: &str) {
        let first = self.line.saturating_sub(text.matches('\n').count());
        self.inner.push(Item::Inside);
        self.inner.append(&mut items(text, first, self.depth + 1, self.shell, self.spent));
    }

    /// Reads what stands in `$(( ))` or `$[ ]`.
    fn arithmetic(&mut self, text: &str) -> Option<Part> {
        let first = self.line.saturating_sub(text.matches('\n').count());
        let depth = Some(self.depth + 1).filter(|depth| *depth <= DEEPEST)?;
        let mut inside = Self::new(text, first, depth, self.shell, self.spent);
        let word = inside.until(None);
        self.inner.append(&mut inside.inner);
        Some(Part::Arithmetic(word))
    }

    /// Whether braces begin here with something that a name may go on with.
    fn is_list_of_names(&self) -> bool {
        let letters = (0..LONGEST_LIST).map_while(|ahead| self.peek(ahead));
        let letters: Vec<_> = letters.take_while(|letter| *letter != '}').collect();
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let goes_on = |pair: &[char]| matches!(pair[0], '{' | ',') && is_part(pair[1]);
        letters.first() == Some(&'{')
            && (letters.len() == LONGEST_LIST || letters.windows(2).any(goes_on))
    }

    /// Reads what begins with `$` or a backtick.
    pub(super) fn expansion(&mut self, word: &mut Word, quoted: bool) {
        if self.next() == Some('`') {
            let inner = self.up_to('`');
            self.follow(&inner);
            return text_of(word).push(UNKNOWN);
        }
        match self.peek(0) {
            Some('(') => {
                let inner = self.enclosed('(', ')');
                let expression = arithmetic::inside(&inner);
                if let Some(part) = expression.and_then(|inner| self.arithmetic(inner)) {
                    return word.push(part);
                }
                self.follow(&inner);
                text_of(word).push(UNKNOWN);
            }
            Some('[') if self.shell.has_brackets() != Some(false) => {
                let inner = self.enclosed('[', ']');
                match self.arithmetic(&inner).filter(|_| self.shell.has_brackets().is_some()) {
                    Some(part) => word.push(part),
                    None => text_of(word).push(UNKNOWN),
                }
            }
            Some('{') => {
                let inner = self.enclosed('{', '}');
                match braced(&inner, quoted).or_else(|| elements(&inner, quoted)) {
                    Some(part) => word.push(part),
                    None => text_of(word).push(UNKNOWN),
                }
            }
            Some('\'') if !quoted => {
                self.next();
                let text = self.up_to('\'');
                text_of(word).push_str(&unescaped(&text));
            }
            Some(letter) if letter.is_ascii_alphabetic() || letter == '_' => {
                let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
                let mut name = String::new();
                while let Some(letter) = self.peek(0).filter(|letter| is_name(*letter)) {
                    name.push(letter);
                    self.next();
                }
                // Of `$A{b,c}` the variables are `$Ab` and `$Ac`, where lists come first.
                let is_list =
                    !quoted && self.shell.expands_lists_first() && self.is_list_of_names();
                if is_list {
                    return text_of(word).push(UNKNOWN);
                }
                word.push(Part::Variable { name, default: None, quoted });
            }
            Some(letter) if letter.is_ascii_digit() || "@*#?$!-".contains(letter) => {
                self.next();
                text_of(word).push(UNKNOWN);
            }
            _ => text_of(word).push('$'),
        }
    }
}
