//! What the kernel takes of a text that is written to a setting, and what it refuses.
//!
//! A number is read up to a blank, and what stands behind the last one that the setting has is dropped; a text is
//! taken whole. Source: proc_get_long, proc_dointvec and proc_dostring in kernel/sysctl.c, 6.18.

use super::Judgement;
use super::command::{is_blank, is_false_blank};
use crate::sysctl::Key;
use crate::tune::facts::Bounds;

/// Longest name of a congestion control, in bytes: TCP_CA_NAME_MAX in include/net/tcp.h without the end.
const LONGEST_NAME: usize = 15;
/// What becomes of another text.
const NO_NAME: &str = "refused with ENOENT: nothing changes";

/// What the kernel takes of a text: as proc_dointvec and its like do, kernel/sysctl.c.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// The numbers that are set.
    pub(super) numbers: Vec<i128>,
    /// The word at which the write ends with `EINVAL`.
    pub(super) refused: Option<String>,
    /// What stands behind the last number that the setting has.
    pub(super) rest: String,
}

impl Taken {
    pub(super) fn of(value: &str, capacity: usize, bounds: Bounds) -> Self {
        let mut taken = Self::default();
        let mut words = value.split_ascii_whitespace();
        for word in words.by_ref().take(capacity) {
            let is_allowed = |number: &i128| bounds.contains(*number);
            match number(word).filter(is_allowed) {
                Some(number) => taken.numbers.push(number),
                None => {
                    taken.refused = Some(word.to_owned());
                    break;
                }
            }
        }
        if value.trim_matches(is_blank).is_empty() {
            taken.refused = Some(String::new());
        }
        taken.rest = words.collect::<Vec<_>>().join(" ");
        taken
    }
}

/// A number as the kernel reads it: 0x is hexadecimal, a 0 in front octal.
pub(super) fn number(word: &str) -> Option<i128> {
    let (sign, digits) = match word.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, word),
    };
    let radix = |digits: &str, radix| {
        let is_plain = digits.chars().all(|digit| digit.is_digit(radix));
        is_plain.then(|| u64::from_str_radix(digits, radix).ok())?
    };
    let hexadecimal = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let number = match (hexadecimal, digits.strip_prefix('0')) {
        (Some(digits), _) => radix(digits, 16)?,
        (None, Some(octal)) if !octal.is_empty() => radix(octal, 8)?,
        _ => radix(digits, 10)?,
    };
    Some(sign * i128::from(number))
}

/// What is said of a number that the kernel does not take.
pub(super) fn refused(key: &Key, bounds: Bounds, word: &str, set: usize) -> (Judgement, String) {
    let end = match set {
        0 => "refused with EINVAL: nothing changes".to_owned(),
        1 => "refused with EINVAL, and the number before it is set".to_owned(),
        set => format!("refused with EINVAL, and the {set} numbers before it are set"),
    };
    let digits = word.trim_end_matches(|letter| "kKmMgGtTiIbB".contains(letter));
    let has_suffix = digits.len() < word.len() && digits.parse::<u64>().is_ok();
    if has_suffix {
        let unit = key.unit.name();
        return (
            Judgement::WrongUnit,
            format!(
                "`{word}`: the kernel knows no K, M or G, it is a plain number of {unit}; {end}"
            ),
        );
    }
    let why = match number(word) {
        _ if word.is_empty() => "no number".to_owned(),
        None if word.contains(is_false_blank) => {
            let blank = word.chars().find(|letter| is_false_blank(*letter));
            format!("{} in the number", false_blank(blank.unwrap_or_default()))
        }
        Some(one) if (bounds.min..=bounds.max).contains(&one) => {
            format!("`{word}` is no power of two, and only these are taken")
        }
        Some(_) => format!("`{word}` is not within {} to {}", bounds.min, bounds.max),
        None if word.starts_with(['"', '\'']) => {
            format!("`{word}`: quotes in a file of settings belong to the value")
        }
        None => format!("`{word}` is no number"),
    };
    let judgement = if set == 0 { Judgement::NoEffect } else { Judgement::WrongArity };
    (judgement, format!("{why}; {end}"))
}

/// A setting that is text: the name of an algorithm, of which the kernel takes 15 letters at most.
pub(super) fn text(key: &Key, value: &str) -> (Judgement, String) {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
    let is_name = value.len() <= LONGEST_NAME && value.chars().all(is_letter);
    if let Some(blank) = value.chars().find(|letter| is_false_blank(*letter)) {
        return (Judgement::NoEffect, format!("{} in the name; {NO_NAME}", false_blank(blank)));
    }
    let what = match value.split_ascii_whitespace().count() {
        0 => "no text: nothing changes".to_owned(),
        1 if is_name => return (Judgement::Fine, format!("sets `{value}`. {}", key.meaning)),
        1 if value.starts_with(['"', '\'']) => {
            format!(
                "`{value}`: quotes that sysctl or the kernel gets belong to the name; {NO_NAME}"
            )
        }
        1 => format!(
            "`{value}` is no name: it has letters, digits, `_` and `-`, {LONGEST_NAME} at most; {NO_NAME}"
        ),
        _ => format!("`{value}` is no name: the kernel takes the whole text, and refuses it"),
    };
    (Judgement::NoEffect, what)
}

/// Names a letter that looks like a blank.
pub(super) fn false_blank(letter: char) -> String {
    format!(
        "the character U+{:04X}, which looks like a blank or like nothing, is a letter to sysctl and the kernel",
        u32::from(letter)
    )
}
