//! Redirections of a script: to and from files and descriptors, here-documents and here-strings.
//!
//! They are done from left to right, each changing where one descriptor goes: of `> a > b` both files are
//! opened, and b gets what is printed; of `> a >&2` neither does. So what each is of is told at the command's
//! end (POSIX.1-2017, XCU 2.7).

use super::braces::expanded;
use super::command::{Body, Direction, Item, Part, Redirect, Simple, UNKNOWN, Word, literal};
use super::dialect::Shell;
use super::shell::Lexer;

/// A here-document that begins behind the end of this line.
#[derive(Debug)]
pub(super) struct Pending {
    /// Which command reads it.
    pub(super) item: usize,
    delimiter: String,
    is_indented: bool,
    is_quoted: bool,
}

/// Where a descriptor of a command goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sink {
    /// Where the command prints to, if nothing else is said.
    Printed,
    Elsewhere,
    /// The file of this redirection.
    File(usize),
}

/// Where descriptors go at the begin of a command, by their number; more are not followed.
pub(super) const SINKS: [Sink; 10] = {
    let mut sinks = [Sink::Elsewhere; 10];
    sinks[1] = Sink::Printed;
    sinks
};

impl Lexer<'_> {
    pub(super) fn redirect(&mut self) {
        self.begin();
        let descriptor = self.descriptor.take();
        let ahead: String = (0..3).filter_map(|ahead| self.peek(ahead)).collect();
        if ahead.starts_with("<(") || ahead.starts_with(">(") {
            self.skip(1);
            let inner = self.enclosed('(', ')');
            self.follow(&inner);
            self.current.words.push(vec![Part::Text(UNKNOWN.into())]);
        } else if ahead == "<<<" {
            self.skip(3);
            self.blanks();
            let (line, text) = (self.line, self.word());
            self.current.body = Some(Body { line, text });
        } else if ahead.starts_with("<<") {
            self.skip(2);
            self.here_document();
        } else {
            self.stream(descriptor);
        }
    }

    /// A redirection to or from a file or a descriptor.
    fn stream(&mut self, descriptor: Option<usize>) {
        let is_update = self.peek(1) == Some('>');
        let is_input = self.peek(0) == Some('<') && !(is_update && descriptor.is_some());
        self.skip(1);
        if matches!(self.peek(0), Some('>' | '|')) {
            self.skip(1);
        }
        let is_descriptor = self.peek(0) == Some('&');
        self.skip(is_descriptor.into());
        self.blanks();
        let (target, signs) = self.signed_word();
        let is_both = std::mem::take(&mut self.is_both);
        if is_input {
            if !is_descriptor && !target.is_empty() {
                self.current.redirects.push(Redirect { direction: Direction::Input, target });
            }
            return;
        }
        let at = descriptor.unwrap_or(1);
        let copied = is_descriptor.then(|| self.copied(&target, descriptor)).flatten();
        if let Some(sink) = copied {
            self.sink(at, sink);
            return;
        }
        let targets = expanded(target, &signs, self.shell, self.spent);
        let is_ambiguous = targets.len() > 1 && self.shell != Shell::Zsh;
        for target in targets.into_iter().filter(|target| !target.is_empty()) {
            let direction = match at {
                _ if is_ambiguous => Direction::Ambiguous,
                at if at < SINKS.len() => Direction::Output,
                _ => Direction::Other,
            };
            let sink = Sink::File(self.current.redirects.len());
            self.current.redirects.push(Redirect { direction, target });
            self.sink(at, sink);
            if is_both || is_descriptor {
                self.sink(2, sink);
            }
        }
    }

    /// Where a descriptor goes that is made from another one; [`None`]: it is a file's name.
    fn copied(&self, target: &Word, descriptor: Option<usize>) -> Option<Sink> {
        let Some(text) = literal(target) else { return Some(Sink::Elsewhere) };
        match text.strip_suffix('-').unwrap_or(text).parse::<usize>() {
            Ok(from) => Some(self.sinks.get(from).copied().unwrap_or(Sink::Elsewhere)),
            Err(_) if text == "-" || descriptor.is_some_and(|at| at != 1) => Some(Sink::Elsewhere),
            Err(_) => None,
        }
    }

    fn sink(&mut self, descriptor: usize, sink: Sink) {
        if let Some(at) = self.sinks.get_mut(descriptor) {
            *at = sink;
        }
    }

    /// `&>`: what is printed and errors, or the end of a command and a redirection of nothing.
    pub(super) fn both(&mut self) {
        let joins = self.shell.joins_errors();
        self.is_both = joins == Some(true);
        if joins != Some(true) {
            self.end(false);
        }
        if joins.is_none() {
            self.begin();
            self.current.words.push(vec![Part::Text(UNKNOWN.into())]);
        }
        self.skip(1);
    }

    /// Tells what each redirection of a command is of, once all of them are known: the last one of a
    /// descriptor counts.
    pub(super) fn settle(&mut self, command: &mut Simple) {
        let sinks = std::mem::replace(&mut self.sinks, SINKS);
        let is_taken = |redirect: &&mut Redirect| redirect.direction == Direction::Output;
        let redirects = command.redirects.iter_mut().enumerate();
        for (index, redirect) in redirects.filter(|(_, redirect)| is_taken(redirect)) {
            redirect.direction = match sinks.iter().position(|sink| *sink == Sink::File(index)) {
                Some(1) => Direction::Output,
                Some(2) => Direction::Errors,
                Some(_) => Direction::Other,
                None if self.shell == Shell::Zsh => Direction::Output,
                None => Direction::Replaced,
            };
        }
        command.is_diverted = sinks[1] == Sink::Elsewhere;
    }

    fn here_document(&mut self) {
        let is_indented = self.peek(0) == Some('-');
        self.skip(is_indented.into());
        self.blanks();
        let start = self.at;
        let word = self.word();
        let is_quoted = self.text[start..self.at].iter().any(|letter| "'\"\\".contains(*letter));
        let text = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Variable { name, .. } => format!("${name}"),
            Part::Arithmetic(_) | Part::Array(_) | Part::Elements { .. } => String::new(),
        };
        let delimiter: String = word.iter().map(text).collect();
        let item = self.items.len();
        if !delimiter.is_empty() {
            self.pending.push(Pending { item, delimiter, is_indented, is_quoted });
        }
    }

    /// Reads the here-documents of the line that has ended.
    pub(super) fn bodies(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            let line = self.line;
            let mut text = String::new();
            while self.peek(0).is_some() {
                let read = self.rest_of_line();
                self.skip_line();
                self.next();
                let kept = if pending.is_indented { read.trim_start_matches('\t') } else { &read };
                if kept.trim_end_matches('\r') == pending.delimiter {
                    break;
                }
                text.push_str(kept);
                text.push('\n');
            }
            let text = if pending.is_quoted {
                vec![Part::Text(text)]
            } else {
                let mut body = Self::new(&text, line, self.depth, self.shell, self.spent);
                let word = body.until(None);
                self.inner.append(&mut body.inner);
                word
            };
            if let Some(Item::Command(command)) = self.items.get_mut(pending.item) {
                command.body = Some(Body { line, text });
            }
        }
    }
}
