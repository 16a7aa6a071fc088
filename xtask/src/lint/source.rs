//! Just enough of Rust's grammar to tell code from comments, literals and tests.
//!
//! Blanked text keeps its length and its line breaks, so that an offset means the same place in
//! every derived text. Nothing here fails: source that does not parse is the compiler's to refuse.

use std::ops::Range;

/// Blanks comments, strings and character literals.
pub(super) fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        if let Some(length) = comment_len(rest).or_else(|| literal_len(rest)) {
            blank(&mut code[at..at + length]);
            at += length;
        } else {
            // A whole word at once: the `r` of `for` starts no raw string.
            at += rest.iter().take_while(|byte| is_word_byte(**byte)).count().max(1);
        }
    }
    String::from_utf8(code).expect("comments and literals begin and end between characters")
}

/// Blanks the items under `#[cfg(test)]` in text from [`code_only`].
pub(super) fn without_tests(code: &str) -> String {
    let mut bytes = code.as_bytes().to_vec();
    for range in test_ranges(code) {
        blank(&mut bytes[range]);
    }
    String::from_utf8(bytes).expect("items begin and end between characters")
}

/// Where the items under `#[cfg(test)]` or `#[cfg(all(test, ..))]` lie, attribute included.
pub(super) fn test_ranges(code: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut from = 0;
    while let Some(found) = code[from..].find("#[cfg(") {
        let start = from + found;
        from = closing(code, start + 1);
        let attribute: String = code[start..from].split_whitespace().collect();
        if attribute.starts_with("#[cfg(test)") || attribute.starts_with("#[cfg(all(test,") {
            from = item_end(code, from);
            ranges.push(start..from);
        }
    }
    ranges
}

/// Paths of the files that `path` declares as test modules: `#[cfg(test)] mod name;`.
pub(super) fn test_modules(path: &str, code: &str) -> Vec<String> {
    let stem = path.strip_suffix(".rs").unwrap_or(path);
    let (folder, name) = stem.rsplit_once('/').unwrap_or(("", stem));
    let base = if matches!(name, "lib" | "main") { folder } else { stem };
    let mut paths = Vec::new();
    for range in test_ranges(code) {
        let words = tokens(&code[range]);
        if let [.., (_, "mod"), (_, module), (_, ";")] = words[..] {
            paths.push(format!("{base}/{module}.rs"));
        }
    }
    paths
}

/// Words, `::` and single other characters, each with its offset.
pub(super) fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = code[at..].chars().next() {
        let word = code[at..].bytes().take_while(|byte| is_word_byte(*byte)).count();
        let length = match first {
            _ if word > 0 => word,
            ':' if code[at..].starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        if !first.is_whitespace() {
            tokens.push((at, &code[at..at + length]));
        }
        at += length;
    }
    tokens
}

/// Offsets at which `word` stands alone in `text`.
pub(super) fn word_offsets<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> + 't {
    let alone = move |&(offset, _): &(usize, &str)| {
        let bytes = text.as_bytes();
        let before = offset.checked_sub(1).is_some_and(|at| is_word_byte(bytes[at]));
        let after = bytes.get(offset + word.len()).is_some_and(|byte| is_word_byte(*byte));
        !before && !after
    };
    text.match_indices(word).filter(alone).map(|(offset, _)| offset)
}

/// The line, counted from 1, of a byte offset.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// The offset behind the bracket that closes the one at `open`.
pub(super) fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return offset + 1;
        }
    }
    code.len()
}

/// The end of the item behind `from`: its `;`, or its body and a `;` behind that.
fn item_end(code: &str, from: usize) -> usize {
    let mut at = from;
    while let Some(byte) = code.as_bytes().get(at) {
        match byte {
            b';' => return at + 1,
            b'{' => {
                let end = closing(code, at);
                let rest = &code[end..];
                let semicolon = rest.trim_start().starts_with(';');
                return if semicolon {
                    end + rest.len() - rest.trim_start().len() + 1
                } else {
                    end
                };
            }
            b'(' | b'[' => at = closing(code, at),
            // The attribute was on a field, a variant or an arm: the enclosing body ends.
            b')' | b']' | b'}' => return at,
            _ => at += 1,
        }
    }
    code.len()
}

fn blank(bytes: &mut [u8]) {
    bytes.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// The length of the comment that `rest` starts with.
fn comment_len(rest: &[u8]) -> Option<usize> {
    if rest.starts_with(b"//") {
        return Some(rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with(b"/*") {
        return None;
    }
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    Some(at)
}

/// The length of the string or character literal, prefix included, that `rest` starts with.
fn literal_len(rest: &[u8]) -> Option<usize> {
    let prefix = rest.iter().take_while(|byte| b"bcr".contains(byte)).count();
    let (prefix, tail) = rest.split_at(prefix);
    let length = match prefix {
        b"r" | b"br" | b"cr" => raw_string_len(tail),
        b"" | b"b" | b"c" => string_len(tail).or_else(|| char_len(tail)),
        _ => None,
    };
    length.map(|length| prefix.len() + length)
}

fn string_len(tail: &[u8]) -> Option<usize> {
    if tail.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    while at < tail.len() && tail[at] != b'"' {
        at += if tail[at] == b'\\' { 2 } else { 1 };
    }
    Some((at + 1).min(tail.len()))
}

fn raw_string_len(tail: &[u8]) -> Option<usize> {
    let hashes = tail.iter().take_while(|byte| **byte == b'#').count();
    if tail.get(hashes) != Some(&b'"') {
        return None;
    }
    let end = [&b"\""[..], &tail[..hashes]].concat();
    let body = &tail[hashes + 1..];
    let length = body.windows(end.len()).position(|window| window == end);
    Some(length.map_or(tail.len(), |length| hashes + 1 + length + end.len()))
}

/// A character literal; a lifetime or a label is none.
fn char_len(tail: &[u8]) -> Option<usize> {
    let (quote, body) = tail.split_first()?;
    if *quote != b'\'' {
        return None;
    }
    if body.first() == Some(&b'\\') {
        return Some(2 + body.iter().skip(2).position(|byte| *byte == b'\'')? + 2);
    }
    let next = body.iter().skip(1).position(|byte| !(0x80..0xc0).contains(byte))? + 1;
    (body.first() != Some(&b'\'') && body.get(next) == Some(&b'\'')).then_some(next + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blanked text with runs of spaces shortened.
    fn words(text: &str) -> String {
        let code = code_only(text);
        assert_eq!(code.len(), text.len());
        assert_eq!(code.lines().count(), text.lines().count());
        code.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn blanks_comments() {
        assert_eq!(words("a // unsafe\nb /* x /* unsafe */ y\n */ c"), "a b c");
        assert_eq!(words("/// unsafe\n//! unsafe\nfn f() {}"), "fn f() {}");
        assert_eq!(words("a /* open"), "a");
    }

    #[test]
    fn blanks_strings_of_every_kind() {
        assert_eq!(words(r#"a("x \" unsafe \\", b"y", c"z") + b"#), "a( , , ) + b");
        assert_eq!(words("r\"a\\\" + br#\"b \" unsafe\"# + cr##\"\"#\"## + end"), "+ + + end");
        assert_eq!(words("for\"x\" bar(\"// no comment\") r#type"), "for bar( ) r#type");
        assert_eq!(words("a \"two\nlines\" b"), "a b");
        assert_eq!(words("a \"open"), "a");
    }

    #[test]
    fn tells_characters_from_lifetimes() {
        assert_eq!(words("'\"' a '\\'' b '\\\\' c '\\u{1F}' d b'\"' e"), "a b c d e");
        assert_eq!(words("'é' a '{' b"), "a b");
        assert_eq!(
            words("fn f<'a, 'b>(x: &'a str) { 'l: loop {} }"),
            "fn f<'a, 'b>(x: &'a str) { 'l: loop {} }"
        );
    }

    #[test]
    fn blanks_test_items() {
        let rest = |text: &str| {
            without_tests(&code_only(text)).split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(rest("a();\n#[cfg(test)]\nmod tests { fn f() { g('}') } }\nb();"), "a(); b();");
        assert_eq!(rest("#[cfg(test)]\nuse x::{a, b};\nfn f() {}"), "fn f() {}");
        assert_eq!(rest("#[cfg(test)] #[path = \"x\"] mod t; fn f() {}"), "fn f() {}");
        assert_eq!(rest("#[cfg(test)] fn f(a: [u8; 4]) -> u8 { 1 } fn g() {}"), "fn g() {}");
        assert_eq!(rest("#[cfg(all(test, not(loom)))]\nmod t {}\nfn g() {}"), "fn g() {}");
        assert_eq!(rest("struct S { a: u8, #[cfg(test)] b: u8 }"), "struct S { a: u8, }");
        assert_eq!(rest("#[cfg(not(test))] fn g() {}"), "#[cfg(not(test))] fn g() {}");
        assert_eq!(rest("#[cfg(any(test, unix))] fn g() {}"), "#[cfg(any(test, unix))] fn g() {}");
    }

    #[test]
    fn finds_the_files_of_test_modules() {
        let code = "mod a; #[cfg(test)] mod b { mod c; } #[cfg(test)] mod d; #[cfg(test)] pub(crate) mod e;";
        assert_eq!(
            test_modules("crates/x/src/lib.rs", code),
            ["crates/x/src/d.rs", "crates/x/src/e.rs"]
        );
        assert_eq!(
            test_modules("crates/x/src/m.rs", code),
            ["crates/x/src/m/d.rs", "crates/x/src/m/e.rs"]
        );
    }

    #[test]
    fn splits_into_tokens() {
        let tokens: Vec<_> = tokens("use crate::{a as b,c};").into_iter().map(|(_, t)| t).collect();
        assert_eq!(tokens, ["use", "crate", "::", "{", "a", "as", "b", ",", "c", "}", ";"]);
    }

    #[test]
    fn finds_whole_words_and_their_lines() {
        let text = "unsafe_code\nunsafe {}\nnot_unsafe unsafe";
        let offsets: Vec<_> = word_offsets(text, "unsafe").collect();
        assert_eq!(offsets, [12, 33]);
        assert_eq!([line_of(text, 12), line_of(text, 33)], [2, 3]);
    }
}
