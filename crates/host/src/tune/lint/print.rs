//! What echo and printf(1) print.

use super::command::UNKNOWN;
use super::dialect::Shell;
use super::output::Output;

/// A text longer than this goes nowhere.
const LONGEST_TEXT: usize = 1 << 16;

/// What the echo of a shell prints: of bash's options dash's has `-n` only, and all escapes are known to it.
pub(super) fn echoed(line: usize, fields: &[String], shell: Shell) -> Output {
    let words = fields.get(1..).unwrap_or_default();
    let is_flag = |word: &&String| match shell {
        Shell::Dash => *word == "-n",
        _ => word.strip_prefix('-').is_some_and(|letters| {
            !letters.is_empty() && letters.chars().all(|letter| "neE".contains(letter))
        }),
    };
    let most = if shell == Shell::Dash { 1 } else { words.len() };
    let flags = words.iter().take(most).take_while(is_flag);
    let has = |letter: char| flags.clone().any(|flag| flag.contains(letter));
    let count = flags.clone().count();
    let text = words[count..].join(" ");
    let is_escaped = match shell {
        Shell::Dash => true,
        Shell::Zsh => !has('E'),
        _ => has('e'),
    };
    // Whether it is dash's nobody knows.
    let differs = count > 1 || has('e') || has('E') || text.contains('\\');
    let text = match shell {
        Shell::Sh if differs => UNKNOWN.to_string(),
        _ if is_escaped => unescaped(&text),
        _ => text,
    };
    let ends_line = !has('n') || text.ends_with('\n');
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
