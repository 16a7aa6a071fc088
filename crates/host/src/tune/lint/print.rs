//! What echo and printf(1) print.

use super::command::UNKNOWN;
use super::output::Output;

/// A text longer than this goes nowhere.
const LONGEST_TEXT: usize = 1 << 16;

/// What echo prints.
pub(super) fn echoed(line: usize, fields: &[String]) -> Output {
    let is_flag = |word: &&String| matches!(&word[..], "-n" | "-e" | "-E" | "-ne" | "-en");
    let flags = fields.iter().skip(1).take_while(is_flag);
    let is_escaped = flags.clone().any(|flag| flag.contains('e'));
    let text = fields[(1 + flags.clone().count()).min(fields.len())..].join(" ");
    let text = if is_escaped { unescaped(&text) } else { text };
    let ends_line = !flags.into_iter().any(|flag| flag.contains('n')) || text.ends_with('\n');
    Output { ends_line, ..Output::text(line, text) }
}

/// What printf(1) prints: the format once, and again while arguments are left.
pub(super) fn printed(line: usize, fields: &[String]) -> Output {
    let mut arguments = fields.iter().skip(1).skip_while(|word| *word == "--").peekable();
    let format = unescaped(arguments.next().map_or("", |format| format));
    let mut out = String::new();
    loop {
        let mut has_taken = false;
        let mut letters = format.chars();
        while let Some(letter) = letters.next() {
            match (letter == '%').then(|| letters.next()) {
                None => out.push(letter),
                Some(Some('%')) => out.push('%'),
                Some(Some('s' | 'd' | 'i' | 'u')) => {
                    has_taken = true;
                    out.push_str(arguments.next().map_or("", |argument| argument));
                }
                Some(_) => out.push(UNKNOWN),
            }
        }
        if !has_taken || arguments.peek().is_none() || out.len() > LONGEST_TEXT {
            let ends_line = out.ends_with('\n');
            return Output { ends_line, ..Output::text(line, out) };
        }
    }
}

/// Replaces the escapes that `echo -e`, printf(1) and `$'..'` know and that settings have.
pub(super) fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter == '\\').then(|| letters.next()) {
            None => out.push(letter),
            Some(Some('n')) => out.push('\n'),
            Some(Some('t')) => out.push('\t'),
            Some(Some('r')) => out.push('\r'),
            Some(Some(other @ ('\\' | '"' | '\''))) => out.push(other),
            Some(Some(_)) => out.push(UNKNOWN),
            Some(None) => out.push('\\'),
        }
    }
    out
}
