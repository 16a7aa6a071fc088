//! Short texts in words: of a fixed size, copied without allocation.

use std::{fmt, iter};

/// A text of at most `8 * WORDS` bytes. A longer one is cut.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Text<const WORDS: usize>([u64; WORDS]);

/// The name of an interface, a mode or a page tier.
pub type Name = Text<2>;
/// The name of a command or of a drop reason.
pub type LongName = Text<4>;

impl<const WORDS: usize> Text<WORDS> {
    /// The words, whose bytes in memory are those of the text with zeroes behind it.
    pub(super) fn words(&self) -> [u64; WORDS] {
        self.0
    }

    /// Takes over what stands in a page, which may be anything.
    pub(super) fn from_words(words: [u64; WORDS]) -> Self {
        Self(words)
    }
}

impl<const WORDS: usize> Default for Text<WORDS> {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl<const WORDS: usize> From<&str> for Text<WORDS> {
    fn from(text: &str) -> Self {
        let text = &text[..text.floor_char_boundary(8 * WORDS)];
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(text.as_bytes().chunks(8)) {
            let mut eight = [0; 8];
            eight[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_ne_bytes(eight);
        }
        Self(words)
    }
}

/// What a terminal would act on, and what is no UTF-8, shows as `?`: another process wrote it.
impl<const WORDS: usize> fmt::Display for Text<WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: Vec<u8> = self.0.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let len = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        for chunk in bytes[..len].utf8_chunks() {
            let bad = iter::repeat_n('?', usize::from(!chunk.invalid().is_empty()));
            for char in chunk.valid().chars().chain(bad) {
                let shown = char.is_alphanumeric() || char.is_ascii_graphic() || char == ' ';
                fmt::Write::write_char(f, if shown { char } else { '?' })?;
            }
        }
        Ok(())
    }
}

impl<const WORDS: usize> fmt::Debug for Text<WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_and_harmless() {
        assert_eq!(Name::from("nm-server").to_string(), "nm-server");
        assert_eq!(Name::from("0123456789abcdefg").to_string(), "0123456789abcdef");
        assert_eq!(Name::from("0123456789abcdeé").to_string(), "0123456789abcde");
        assert_eq!(Name::from("").to_string(), "");
        let hostile = u64::from_ne_bytes(*b"a\x1b[2J\n\xff\x80");
        assert_eq!(Text::<1>([hostile]).to_string(), "a?[2J???");
        assert_eq!(Text::<1>::from("\u{202e}abc").to_string(), "?abc");
    }
}
