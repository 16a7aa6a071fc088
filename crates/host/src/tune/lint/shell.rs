//! A shell script as a list of simple commands, and the lines of settings between them.
//!
//! What is understood: quotes, comments, joined lines, operators, redirections, here-documents and
//! here-strings, variables, and commands inside `$( )` and backticks, which become commands of their own.
//! Arithmetic is kept as it stands.
//! What is not understood is skipped and never refused.
//! Behaviour: POSIX.1-2017 chapter 2 (Shell Command Language), and bash(1).

use std::cell::Cell;

use super::arithmetic;
use super::braces::{Sign, expanded};
use super::command::{DEEPEST, Item, Joint, Part, Simple, Word, assignment, is_setting, literal};
use super::dialect::Shell;
use super::redirects::{Pending, SINKS, Sink};
use super::unit::is_unit;
use super::variables::without_keywords;

/// What reading a text has cost so far, with all that stands inside it.
#[derive(Debug, Default)]
pub(super) struct Spent {
    /// Letters that were looked at for brackets that do not close.
    pub(super) in_vain: Cell<usize>,
    /// Letters that words with braces have become.
    pub(super) lists: Cell<usize>,
}

impl Spent {
    pub(super) fn in_vain(&self, letters: usize) {
        self.in_vain.set(self.in_vain.get() + letters);
    }
}

/// Reads a script that begins on `line`, `depth` commands deep.
pub(super) fn items(
    text: &str,
    line: usize,
    depth: usize,
    shell: Shell,
    spent: &Spent,
) -> Vec<Item> {
    if depth > DEEPEST {
        return Vec::new();
    }
    let mut lexer = Lexer::new(text, line, depth, shell, spent);
    lexer.is_unit = depth == 0 && is_unit(text);
    lexer.run()
}

pub(super) struct Lexer<'a> {
    pub(super) text: Vec<char>,
    pub(super) at: usize,
    pub(super) line: usize,
    pub(super) depth: usize,
    pub(super) shell: Shell,
    pub(super) spent: &'a Spent,
    /// Whether the text is a unit, of which only some lines are commands.
    pub(super) is_unit: bool,
    pub(super) items: Vec<Item>,
    /// Commands inside words; they follow the others.
    pub(super) inner: Vec<Item>,
    pub(super) current: Simple,
    /// The number in front of a redirection.
    pub(super) descriptor: Option<usize>,
    /// How many of the command's words stand in front of its name.
    front: usize,
    /// Braces and commas outside quotes, of the word that is read.
    signs: Vec<Sign>,
    /// Where the command's descriptors go so far.
    pub(super) sinks: [Sink; SINKS.len()],
    /// Whether the next redirection is of errors too.
    pub(super) is_both: bool,
    /// In the order of their commands.
    pub(super) pending: Vec<Pending>,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(
        text: &str,
        line: usize,
        depth: usize,
        shell: Shell,
        spent: &'a Spent,
    ) -> Self {
        Self {
            text: text.chars().collect(),
            at: 0,
            line,
            depth,
            shell,
            spent,
            is_unit: false,
            items: Vec::new(),
            inner: Vec::new(),
            current: Simple::default(),
            descriptor: None,
            front: 0,
            signs: Vec::new(),
            sinks: SINKS,
            is_both: false,
            pending: Vec::new(),
        }
    }

    fn run(mut self) -> Vec<Item> {
        let mut is_line_start = true;
        while let Some(letter) = self.peek(0) {
            if std::mem::take(&mut is_line_start) && (self.setting() || self.unit()) {
                is_line_start = true;
                continue;
            }
            match letter {
                '\n' => {
                    self.end(false);
                    self.next();
                    self.bodies();
                    is_line_start = true;
                }
                ' ' | '\t' | '\r' => self.skip(1),
                '#' => self.skip_line(),
                '\\' if self.peek(1) == Some('\n') => self.skip(2),
                ';' => {
                    self.end(false);
                    self.skip(1);
                }
                '(' => self.open(),
                ')' => {
                    self.end(false);
                    self.begin();
                    self.current.is_end = true;
                    self.skip(1);
                }
                '&' if self.peek(1) == Some('>') => self.both(),
                '&' | '|' => self.joint(letter),
                '<' | '>' => self.redirect(),
                _ => self.command_word(),
            }
        }
        self.end(false);
        self.bodies();
        self.items.append(&mut self.inner);
        self.items
    }

    /// An operator of `&` or `|`.
    fn joint(&mut self, letter: char) {
        let is_double = self.peek(1) == Some(letter);
        self.current.is_background = letter == '&' && !is_double;
        self.end(letter == '|' && !is_double);
        let is_long = is_double || (letter == '|' && self.peek(1) == Some('&'));
        self.current.joint = match letter {
            _ if !is_double => Joint::First,
            '&' => Joint::And,
            _ => Joint::Or,
        };
        self.skip(1 + usize::from(is_long));
    }

    /// `(`: a subshell, a function's brackets, an array, or `(( ))`.
    fn open(&mut self) {
        let words = without_keywords(&self.current.words);
        let is_start = words.is_empty() || words.first().and_then(literal) == Some("for");
        if is_start && self.peek(1) == Some('(') {
            let (at, line) = (self.at, self.line);
            let inner = self.enclosed('(', ')');
            if arithmetic::inside(&inner).is_some() {
                let words = ["let", &inner].map(|text| vec![Part::Text(text.to_owned())]);
                let counted = Simple { line, words: words.into(), ..Simple::default() };
                return self.items.push(Item::Command(counted));
            }
            // It is looked at again, for brackets inside it.
            self.spent.in_vain(self.at - at);
            (self.at, self.line) = (at, line);
        }
        let is_array = self.at > 0 && self.text[self.at - 1] == '=';
        if is_array && self.current.words.last().is_some_and(|word| assignment(word).is_some()) {
            return self.array();
        }
        self.end(false);
        let joint = std::mem::take(&mut self.current).joint;
        self.items.push(Item::Open { joint });
        self.skip(1);
    }

    /// The elements of an array, which are words on as many lines as they want.
    fn array(&mut self) {
        self.skip(1);
        let mut elements = Vec::new();
        while let Some(letter) = self.peek(0) {
            let start = self.at;
            match letter {
                ')' => {
                    self.skip(1);
                    break;
                }
                '#' => self.skip_line(),
                _ if letter.is_whitespace() => self.skip(1),
                _ => {
                    let (word, signs) = self.signed_word();
                    elements.append(&mut expanded(word, &signs, self.shell, self.spent));
                    self.skip((self.at == start).into());
                }
            }
        }
        if let Some(word) = self.current.words.last_mut() {
            word.push(Part::Array(elements));
        }
    }

    pub(super) fn peek(&self, ahead: usize) -> Option<char> {
        self.text.get(self.at + ahead).copied()
    }

    /// Passes a letter.
    pub(super) fn next(&mut self) -> Option<char> {
        let letter = self.peek(0)?;
        self.at += 1;
        self.line += usize::from(letter == '\n');
        Some(letter)
    }

    pub(super) fn skip(&mut self, letters: usize) {
        for _ in 0..letters {
            self.next();
        }
    }

    pub(super) fn skip_line(&mut self) {
        while self.peek(0).is_some_and(|letter| letter != '\n') {
            self.next();
        }
    }

    /// The rest of the line.
    pub(super) fn rest_of_line(&self) -> String {
        self.text[self.at..].iter().take_while(|letter| **letter != '\n').collect()
    }

    /// Takes a line of settings or a comment of such a file, if that is what begins here.
    fn setting(&mut self) -> bool {
        let line = self.rest_of_line();
        let is_setting = is_setting(&line);
        if !self.current.words.is_empty() || !(is_setting || line.trim_start().starts_with(';')) {
            return false;
        }
        if is_setting {
            self.items.push(Item::Setting { line: self.line, text: line });
        }
        self.skip_line();
        self.next();
        true
    }

    /// Ends the command, if there is one.
    pub(super) fn end(&mut self, piped: bool) {
        let mut command = std::mem::take(&mut self.current);
        self.settle(&mut command);
        self.front = 0;
        let is_empty = command.words.is_empty() && command.redirects.is_empty();
        let has_body = command.body.is_some()
            || self.pending.last().is_some_and(|pending| pending.item == self.items.len());
        if !is_empty || has_body || command.is_end {
            self.items.push(Item::Command(Simple { piped, ..command }));
        } else {
            self.current.joint = command.joint;
        }
    }

    pub(super) fn begin(&mut self) {
        if self.current.line == 0 {
            self.current.line = self.line;
        }
    }

    fn command_word(&mut self) {
        let start = self.at;
        let (word, signs) = self.signed_word();
        if self.at == start {
            // Nothing is a word here, and nothing must stop.
            self.skip(1);
            return;
        }
        let is_number = self.text[start..self.at].iter().all(char::is_ascii_digit);
        if is_number && matches!(self.peek(0), Some('<' | '>')) {
            let digits: String = self.text[start..self.at].iter().collect();
            self.descriptor = Some(digits.parse().unwrap_or(usize::MAX));
            return;
        }
        if self.current.is_end {
            // It ends the brackets, and this begins what follows.
            self.end(false);
        }
        self.begin();
        // An assignment in front of a command is not expanded.
        let is_front = self.front == self.current.words.len();
        let is_assigned = is_front && assignment(&word).is_some();
        let is_keyword = is_front && without_keywords(std::slice::from_ref(&word)).is_empty();
        self.front += usize::from(is_assigned || is_keyword);
        if is_assigned {
            self.current.words.push(word);
        } else {
            self.current.words.append(&mut expanded(word, &signs, self.shell, self.spent));
        }
    }

    /// Reads a word, and where its braces and commas stand.
    pub(super) fn signed_word(&mut self) -> (Word, Vec<Sign>) {
        self.signs.clear();
        let word = self.word();
        (word, std::mem::take(&mut self.signs))
    }

    pub(super) fn blanks(&mut self) {
        while matches!(self.peek(0), Some(' ' | '\t')) {
            self.next();
        }
    }

    /// Reads a word, as far as it goes without blanks and operators.
    pub(super) fn word(&mut self) -> Word {
        let mut word = Word::new();
        while let Some(letter) = self.peek(0) {
            match letter {
                ' ' | '\t' | '\r' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>' => break,
                '\'' => {
                    self.next();
                    let text = self.up_to('\'');
                    word.push(Part::Text(text));
                }
                '"' => {
                    self.next();
                    word.push(Part::Text(String::new()));
                    word.append(&mut self.until(Some('"')));
                }
                '\\' => {
                    self.next();
                    match self.next() {
                        Some('\n') | None => {}
                        Some(letter) => text_of(&mut word).push(letter),
                    }
                }
                '`' | '$' => self.expansion(&mut word, false),
                letter => {
                    self.next();
                    let text = text_of(&mut word);
                    text.push(letter);
                    if matches!(letter, '{' | ',' | '}') {
                        let at = text.len() - 1;
                        self.signs.push(Sign { part: word.len() - 1, at, letter });
                    }
                }
            }
        }
        word
    }

    /// Reads quoted text up to its end, or a here-document, which has none.
    pub(super) fn until(&mut self, end: Option<char>) -> Word {
        let mut word = Word::new();
        while let Some(letter) = self.peek(0) {
            match letter {
                letter if Some(letter) == end => {
                    self.next();
                    break;
                }
                '\\' if matches!(self.peek(1), Some('$' | '`' | '"' | '\\' | '\n')) => {
                    self.next();
                    match self.next() {
                        Some('\n') | None => {}
                        Some(letter) => text_of(&mut word).push(letter),
                    }
                }
                '`' | '$' => self.expansion(&mut word, true),
                letter => {
                    self.next();
                    text_of(&mut word).push(letter);
                }
            }
        }
        word
    }

    /// Text up to a letter, which is taken too.
    pub(super) fn up_to(&mut self, end: char) -> String {
        let mut text = String::new();
        while let Some(letter) = self.next().filter(|letter| *letter != end) {
            text.push(letter);
        }
        text
    }
}

/// The text that a word ends with, to add to it.
pub(super) fn text_of(word: &mut Word) -> &mut String {
    if !matches!(word.last(), Some(Part::Text(_))) {
        word.push(Part::Text(String::new()));
    }
    match word.last_mut() {
        Some(Part::Text(text)) => text,
        _ => unreachable!("a text was put there"),
    }
}
