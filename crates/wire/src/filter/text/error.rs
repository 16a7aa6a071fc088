//! What is wrong with a text, where, and how to show it.

use alloc::string::String;
use core::fmt;

/// How much of the text stands before and behind a mark, in characters.
const CONTEXT_CHARS: usize = 60;

/// Says what is wrong with a filter text, and where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ParseError {
    offset_bytes: usize,
    len_bytes: usize,
    message: String,
}

impl ParseError {
    pub(super) fn new(offset_bytes: usize, len_bytes: usize, message: impl Into<String>) -> Self {
        Self { offset_bytes, len_bytes, message: message.into() }
    }

    /// Returns where the faulty part of the text begins; at most the length of the text, and always
    /// between two characters.
    #[must_use]
    pub const fn offset_bytes(&self) -> usize {
        self.offset_bytes
    }

    /// Returns the length of the faulty part; 0 where something is missing at the end.
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Returns what is wrong: lower case, one line, without full stop.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Shows `text`, the one that was parsed, and below it a line that marks the faulty part.
    ///
    /// There is no line end behind the mark. Of a long text only the surroundings are shown.
    /// Control characters are shown as spaces.
    ///
    /// ```
    /// use netmem_wire::filter::Expr;
    ///
    /// let text = "tcp prot 80";
    /// let error = text.parse::<Expr>().unwrap_err();
    /// assert_eq!(error.caret(text).to_string(), "tcp prot 80\n    ^~~~");
    /// ```
    pub fn caret<'a>(&'a self, text: &'a str) -> impl fmt::Display + 'a {
        Caret { error: self, text }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "filter at byte {}: {}", self.offset_bytes, self.message)
    }
}

impl core::error::Error for ParseError {}

struct Caret<'a> {
    error: &'a ParseError,
    text: &'a str,
}

impl fmt::Display for Caret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The text may be another one than was parsed: round down to what it has.
        let start = self.text.floor_char_boundary(self.error.offset_bytes);
        let end = self.error.offset_bytes.saturating_add(self.error.len_bytes);
        let end = self.text.floor_char_boundary(end).max(start);
        let (before, after) = (&self.text[..start], &self.text[end..]);
        let before_cut = before.char_indices().rev().nth(CONTEXT_CHARS - 1).map_or(0, |(at, _)| at);
        let marked = head(&self.text[start..end]);
        let after = if marked.len() == end - start { head(after) } else { "" };
        let prefix = if before_cut == 0 { "" } else { "..." };
        let suffix = if start + marked.len() + after.len() == self.text.len() { "" } else { "..." };

        let before = &before[before_cut..];
        write!(f, "{prefix}{}{}{}{suffix}", Plain(before), Plain(marked), Plain(after))?;
        let indent = prefix.len() + columns(before);
        let tail = columns(marked).saturating_sub(1);
        write!(f, "\n{:indent$}^{:~<tail$}", "", "")
    }
}

/// The first characters of a text.
fn head(text: &str) -> &str {
    &text[..text.char_indices().nth(CONTEXT_CHARS).map_or(text.len(), |(at, _)| at)]
}

/// A text with spaces for control characters, which would move the cursor.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        self.0.chars().try_for_each(|c| f.write_char(if c.is_control() { ' ' } else { c }))
    }
}

/// How many columns of a terminal a text takes.
fn columns(text: &str) -> usize {
    text.chars().map(char_columns).sum()
}

/// How many columns a character takes: the blocks of combining marks and of wide characters in
/// Unicode 15 (UAX 11), not every single assignment in them.
const fn char_columns(c: char) -> usize {
    match c as u32 {
        0x0300..=0x036f
        | 0x1ab0..=0x1aff
        | 0x1dc0..=0x1dff
        | 0x200b..=0x200f
        | 0x202a..=0x202e
        | 0x2060..=0x2064
        | 0x20d0..=0x20ff
        | 0xfe00..=0xfe0f
        | 0xfe20..=0xfe2f
        | 0xfeff
        | 0xe0100..=0xe01ef => 0,
        0x1100..=0x115f
        | 0x2e80..=0x303e
        | 0x3041..=0xa4cf
        | 0xa960..=0xa97f
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1f6ff
        | 0x1f900..=0x1f9ff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// A word for a message: in backquotes, on one line, and not too long.
pub(super) fn quoted(word: &str) -> String {
    let shown = word.char_indices().nth(40).map_or(word, |(at, _)| &word[..at]);
    let more = if shown.len() < word.len() { "..." } else { "" };
    let mut quoted = String::from("`");
    for c in shown.chars() {
        if c.is_control() {
            quoted.extend(c.escape_default());
        } else {
            quoted.push(c);
        }
    }
    quoted.push_str(more);
    quoted.push('`');
    quoted
}
