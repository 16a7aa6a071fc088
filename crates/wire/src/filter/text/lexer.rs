//! From text to tokens.

use alloc::format;
use alloc::vec::Vec;

use super::error::{ParseError, quoted};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword, number, address or name.
    Word,
    And,
    Or,
    Not,
    Open,
    Close,
    OpenIndex,
    CloseIndex,
    BitAnd,
    BitOr,
    Slash,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    /// Behind the last token.
    End,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'t> {
    pub(super) kind: Kind,
    pub(super) text: &'t str,
    pub(super) offset_bytes: usize,
}

impl<'t> Token<'t> {
    /// The text as a keyword: empty if it is none because a backslash stands before it.
    pub(super) fn keyword(self) -> &'t str {
        if self.kind == Kind::Word && !self.text.starts_with('\\') { self.text } else { "" }
    }

    /// The text as a name: without the backslash that keeps it from being a keyword.
    pub(super) fn name(self) -> &'t str {
        self.text.strip_prefix('\\').unwrap_or(self.text)
    }

    pub(super) fn error(self, message: impl Into<alloc::string::String>) -> ParseError {
        ParseError::new(self.offset_bytes, self.text.len(), message)
    }

    /// An error that says what should stand here.
    pub(super) fn expected(self, what: &str) -> ParseError {
        match self.kind {
            Kind::End => self.error(format!("expected {what}, but the filter ends")),
            _ => self.error(format!("expected {what}, not {}", quoted(self.text))),
        }
    }

    /// An error about everything from this token to the end of `last`.
    pub(super) fn error_to(
        self,
        last: Self,
        message: impl Into<alloc::string::String>,
    ) -> ParseError {
        let end = last.offset_bytes + last.text.len();
        ParseError::new(self.offset_bytes, end - self.offset_bytes, message)
    }
}

/// What a word is made of. Letters of all scripts belong to it so that an error names the whole
/// word.
fn in_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | ':' | '-' | '_' | '\\')
}

/// Splits a text; the last token is the only one of kind `End`.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, ParseError> {
    let mut tokens = Vec::new();
    let mut offset_bytes = 0;
    loop {
        let rest = &text[offset_bytes..];
        let trimmed = rest.trim_start();
        offset_bytes += rest.len() - trimmed.len();
        let Some(first) = trimmed.chars().next() else {
            tokens.push(Token { kind: Kind::End, text: "", offset_bytes });
            return Ok(tokens);
        };
        let (kind, len_bytes) = match trimmed.find(|c| !in_word(c)).unwrap_or(trimmed.len()) {
            0 => symbol(trimmed).ok_or_else(|| unexpected(first, offset_bytes))?,
            len_bytes => (word(&trimmed[..len_bytes]), len_bytes),
        };
        tokens.push(Token { kind, text: &trimmed[..len_bytes], offset_bytes });
        offset_bytes += len_bytes;
    }
}

fn word(text: &str) -> Kind {
    match text {
        "and" => Kind::And,
        "or" => Kind::Or,
        "not" => Kind::Not,
        _ => Kind::Word,
    }
}

/// The symbol that a text begins with; the long ones come first.
fn symbol(text: &str) -> Option<(Kind, usize)> {
    const SYMBOLS: [(&str, Kind); 17] = [
        ("&&", Kind::And),
        ("||", Kind::Or),
        ("==", Kind::Equal),
        ("!=", Kind::NotEqual),
        ("<=", Kind::LessEqual),
        (">=", Kind::GreaterEqual),
        ("!", Kind::Not),
        ("(", Kind::Open),
        (")", Kind::Close),
        ("[", Kind::OpenIndex),
        ("]", Kind::CloseIndex),
        ("&", Kind::BitAnd),
        ("|", Kind::BitOr),
        ("/", Kind::Slash),
        ("=", Kind::Equal),
        ("<", Kind::Less),
        (">", Kind::Greater),
    ];
    let (symbol, kind) = SYMBOLS.iter().find(|(symbol, _)| text.starts_with(symbol))?;
    Some((*kind, symbol.len()))
}

fn unexpected(c: char, offset_bytes: usize) -> ParseError {
    let hint = match c {
        '+' | '*' | '^' => ": there is no arithmetic but `&` and `|` on constants",
        '%' => ": an address has no zone here, and there is no remainder",
        '"' | '\'' | '`' => ": the filter has no quotes",
        _ => "",
    };
    let mut buffer = [0; 4];
    let shown = quoted(c.encode_utf8(&mut buffer));
    ParseError::new(offset_bytes, c.len_utf8(), format!("unexpected character {shown}{hint}"))
}
