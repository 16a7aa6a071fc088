//! Arithmetic expansion, `$(( ))`: signed numbers of 64 bits that wrap, as shells compute.
//!
//! The operators are those of POSIX.1-2017, XCU 2.6.4 (ISO C without assignment), with 0x for hexadecimal
//! and a 0 in front for octal. What a shell refuses, what C leaves undefined and what assigns has no value.

/// How deep brackets and signs are followed.
const DEEPEST: usize = 64;

/// Binary operators and how tight they bind; longer ones before those that they begin with.
const OPERATORS: [(&str, u8); 18] = [
    ("<<", 7),
    (">>", 7),
    ("<=", 6),
    (">=", 6),
    ("==", 5),
    ("!=", 5),
    ("&&", 1),
    ("||", 0),
    ("<", 6),
    (">", 6),
    ("&", 4),
    ("^", 3),
    ("|", 2),
    ("+", 8),
    ("-", 8),
    ("*", 9),
    ("/", 9),
    ("%", 9),
];

/// The value of an expression; `variable` tells the text that a name stands for.
pub(super) fn value(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Option<i64> {
    if changes(text) {
        return None;
    }
    let mut parser = Parser { rest: text, variable };
    let value = parser.expression(0)?;
    parser.blanks();
    parser.rest.is_empty().then_some(value)
}

/// The expression of `(( ))`, given with its inner brackets; [`None`] where these two do not belong together,
/// as in `((a); (b))`, which are subshells.
pub(super) fn inside(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('(')?.strip_suffix(')')?;
    let (mut depth, mut quote) = (0_usize, None);
    let mut letters = inside.chars();
    while let Some(letter) = letters.next() {
        match quote {
            Some(mark) if letter == mark => quote = None,
            Some('"') | None if letter == '\\' => {
                letters.next();
            }
            Some(_) => {}
            None if matches!(letter, '"' | '\'') => quote = Some(letter),
            None if letter == '(' => depth += 1,
            None if letter == ')' => depth = depth.checked_sub(1)?,
            None => {}
        }
    }
    Some(inside)
}

/// The names that an expression may give another value.
pub(super) fn changed(text: &str) -> impl Iterator<Item = &str> {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let text = if changes(text) { text } else { "" };
    let words = text.split(move |letter| !is_letter(letter));
    words.filter(|word| super::command::is_name(word))
}

/// Whether an expression assigns or counts.
fn changes(text: &str) -> bool {
    let bytes = text.as_bytes();
    let at = |index: Option<usize>| index.and_then(|index| bytes.get(index)).copied();
    let assigns = |(index, _): (usize, &str)| {
        let (before, two_before) = (at(index.checked_sub(1)), at(index.checked_sub(2)));
        let is_shift = matches!(before, Some(b'<' | b'>')) && before == two_before;
        let is_compared = matches!(before, Some(b'=' | b'!' | b'<' | b'>')) && !is_shift;
        !is_compared && at(Some(index + 1)) != Some(b'=')
    };
    text.contains("++") || text.contains("--") || text.match_indices('=').any(assigns)
}

struct Parser<'a> {
    rest: &'a str,
    variable: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> Parser<'a> {
    fn blanks(&mut self) {
        // Quotes mean nothing here.
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n', '"']);
    }

    /// Passes a text if it is what comes next.
    fn takes(&mut self, text: &str) -> bool {
        self.blanks();
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Passes what fits.
    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|letter| !fits(letter)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn expression(&mut self, depth: usize) -> Option<i64> {
        if depth > DEEPEST {
            return None;
        }
        let condition = self.binary(0, depth)?;
        if !self.takes("?") {
            return Some(condition);
        }
        let first = self.expression(depth + 1)?;
        let second = self.takes(":").then(|| self.expression(depth + 1))??;
        Some(if condition != 0 { first } else { second })
    }

    /// Operators that bind at least so tight; it goes no deeper into itself than there are levels.
    fn binary(&mut self, least: u8, depth: usize) -> Option<i64> {
        let mut left = self.unary(depth)?;
        loop {
            self.blanks();
            let next = OPERATORS.iter().find(|(operator, _)| self.rest.starts_with(operator));
            let Some((operator, level)) = next.filter(|(_, level)| *level >= least) else {
                return Some(left);
            };
            self.rest = &self.rest[operator.len()..];
            let right = self.binary(level + 1, depth)?;
            left = applied(operator, left, right)?;
        }
    }

    fn unary(&mut self, depth: usize) -> Option<i64> {
        if depth > DEEPEST {
            return None;
        }
        if self.takes("-") {
            Some(self.unary(depth + 1)?.wrapping_neg())
        } else if self.takes("+") {
            self.unary(depth + 1)
        } else if self.takes("~") {
            Some(!self.unary(depth + 1)?)
        } else if self.takes("!") {
            Some((self.unary(depth + 1)? == 0).into())
        } else if self.takes("(") {
            let value = self.expression(depth + 1)?;
            self.takes(")").then_some(value)
        } else {
            self.operand()
        }
    }

    fn operand(&mut self) -> Option<i64> {
        let word = self.take_while(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        if !super::command::is_name(word) {
            return constant(word);
        }
        let value = (self.variable)(word)?;
        let value = value.trim();
        match (value, value.strip_prefix('-')) {
            ("", _) => Some(0),
            (_, Some(digits)) => Some(constant(digits)?.wrapping_neg()),
            _ => constant(value),
        }
    }
}

fn applied(operator: &str, left: i64, right: i64) -> Option<i64> {
    let bits = || u32::try_from(right).ok().filter(|bits| *bits < i64::BITS);
    Some(match operator {
        "+" => left.wrapping_add(right),
        "-" => left.wrapping_sub(right),
        "*" => left.wrapping_mul(right),
        "/" if right != 0 => left.wrapping_div(right),
        "%" if right != 0 => left.wrapping_rem(right),
        "<<" => left.wrapping_shl(bits()?),
        ">>" => left.wrapping_shr(bits()?),
        "&" => left & right,
        "^" => left ^ right,
        "|" => left | right,
        "<" => (left < right).into(),
        "<=" => (left <= right).into(),
        ">" => (left > right).into(),
        ">=" => (left >= right).into(),
        "==" => (left == right).into(),
        "!=" => (left != right).into(),
        "&&" => (left != 0 && right != 0).into(),
        "||" => (left != 0 || right != 0).into(),
        _ => return None,
    })
}

/// A number as C writes it.
fn constant(word: &str) -> Option<i64> {
    let hexadecimal = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
    let (digits, radix) = match (hexadecimal, word.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (word, 10),
    };
    digits.chars().all(|digit| digit.is_digit(radix)).then_some(())?;
    i64::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<i64> {
        let variable = |name: &str| match name {
            "MEM" => Some("24".to_owned()),
            "LESS" => Some(" -0x10 ".to_owned()),
            "EMPTY" => Some(String::new()),
            "SUM" => Some("1+2".to_owned()),
            _ => None,
        };
        value(text, &variable)
    }

    /// Numbers of the right column are what dash and bash print.
    #[test]
    fn it_computes_as_shells_do() {
        for (text, expected) in [
            ("16*1024*1024", 16_777_216),
            (" MEM / 2 ", 12),
            ("1 + 2 * 3 - 4 % 3", 6),
            ("(1 + 2) * -3", -9),
            ("7 - 2 - 1", 4),
            ("1 << 4 >> 2 | 1 ^ 3 & 6", 7),
            ("~0 & 0xff", 255),
            ("!5 + !0", 1),
            ("010 + 0X1f", 39),
            ("-7 / 2", -3),
            ("-7 % 3", -1),
            ("-8 >> 1", -4),
            ("LESS * 2", -32),
            ("EMPTY + 1", 1),
            ("9223372036854775807 + 1", i64::MIN),
            ("3 > 2 == 1 && 0 || 1", 1),
            ("MEM >= 24 ? 5 : 6", 5),
            ("0 ? 1 : 0 ? 2 : 3", 3),
            ("- - 4", 4),
            ("\"MEM\" != 24", 0),
        ] {
            assert_eq!(of(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_has_no_value_has_none() {
        for text in [
            "",
            "1 / 0",
            "1 % (MEM - 24)",
            "OTHER + 1",
            "SUM",
            "08",
            "0x",
            "1 << 64",
            "1 << -1",
            "1 +",
            "(1",
            "1)",
            "1 2",
            "MEM = 3",
            "MEM += 3",
            "MEM <<= 1",
            "MEM++",
            "2 ** 3",
            "1, 2",
            "16#ff",
            "9223372036854775808",
            "1.5",
            "é",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
        for deep in ["(", "-", "~", "! ", "1?", "1+("] {
            assert_eq!(of(&format!("{}1", deep.repeat(100_000))), None, "{deep}");
        }
    }

    #[test]
    fn names_that_change_are_told() {
        for text in ["A = B", "A += B", "A >>= B", "A++ + B", "(A == 1) + (B = 2)"] {
            assert_eq!(changed(text).collect::<Vec<_>>(), ["A", "B"], "{text}");
        }
        for text in ["A == B", "A <= B", "A >= 1", "A != B", "A << B", "1"] {
            assert_eq!(changed(text).count(), 0, "{text}");
        }
    }
}
