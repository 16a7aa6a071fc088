//! Redirections of a script: to and from files and descriptors, here-documents and here-strings.

use super::command::{Body, Direction, Item, Part, Redirect, UNKNOWN, literal};
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
            let direction = match (ahead.chars().next(), descriptor) {
                (Some('<'), _) => Direction::Input,
                (_, None | Some('1')) => Direction::Output,
                _ => Direction::Aside,
            };
            self.skip(1);
            if matches!(self.peek(0), Some('>' | '|')) {
                self.skip(1);
            }
            let is_descriptor = self.peek(0) == Some('&');
            self.skip(is_descriptor.into());
            self.blanks();
            let target = self.word();
            if is_descriptor {
                let is_same = literal(&target) == Some("1");
                self.current.is_diverted |= direction == Direction::Output && !is_same;
            } else if !target.is_empty() {
                self.current.redirects.push(Redirect { direction, target });
            }
        }
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
            Part::Arithmetic(_) => String::new(),
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
                let mut body = Self::new(&text, line, self.depth, self.in_vain);
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
