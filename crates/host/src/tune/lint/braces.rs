//! Lists and sequences in braces, which a shell makes words of before anything else: `{a,b}`, `{1..3}`.
//!
//! Only letters outside quotes count, so the lexer notes where they stand. What has neither a comma nor a
//! sequence stays as it is, and so does what is not closed. Behaviour: bash(1), Brace Expansion. A word that
//! would become too many has one text that is not known where its braces are.

use super::command::{Part, UNKNOWN, Word};
use super::dialect::Shell;
use super::shell::Spent;

/// Words that one word may become.
const MOST_WORDS: usize = 64;
/// How deep braces are followed into one another.
const DEEPEST: usize = 16;
/// Letters that all words of a text may become, and what each word costs beside its letters.
const ALL_LETTERS: usize = 1 << 20;
const WORD_COST: usize = 16;

/// A brace or a comma outside quotes: in which part of the word, before which byte of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sign {
    pub(super) part: usize,
    pub(super) at: usize,
    pub(super) letter: char,
}

/// The words that a shell makes of one.
pub(super) fn expanded(word: Word, signs: &[Sign], shell: Shell, spent: &Spent) -> Vec<Word> {
    let has_lists = shell.has_lists();
    let is_plain = signs.iter().all(|sign| sign.letter != '{');
    if is_plain || has_lists == Some(false) {
        return vec![word];
    }
    let tokens = tokens(&word, signs);
    let Some(groups) = groups(&tokens) else { return vec![vec![Part::Text(UNKNOWN.into())]] };
    if groups.iter().all(Option::is_none) {
        return vec![word];
    }
    let list = List { tokens: &tokens, groups: &groups, spent };
    let known = if has_lists.is_none() { None } else { list.words(0, tokens.len()) };
    let words = known.unwrap_or_else(|| vec![list.outside()]);
    words.into_iter().map(joined).collect()
}

/// A word whose texts beside each other are one.
fn joined(word: Word) -> Word {
    let mut joined = Word::new();
    for part in word {
        match (joined.last_mut(), part) {
            (Some(Part::Text(before)), Part::Text(text)) => before.push_str(&text),
            (_, part) => joined.push(part),
        }
    }
    // `{,a}` has an empty word, and that is none.
    joined.retain(|part| *part != Part::Text(String::new()));
    joined
}

/// What a word is made of.
#[derive(Debug)]
enum Token {
    Sign(char),
    Part(Part),
}

/// What a `{` begins.
#[derive(Debug)]
struct Group {
    /// Where its commas and its `}` stand.
    ends: Vec<usize>,
    sequence: Option<Sequence>,
}

/// A word in pieces, divided at its signs.
fn tokens(word: &Word, signs: &[Sign]) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut signs = signs.iter().peekable();
    for (index, part) in word.iter().enumerate() {
        let Part::Text(text) = part else {
            tokens.push(Token::Part(part.clone()));
            continue;
        };
        let mut begin = 0;
        while let Some(sign) = signs.next_if(|sign| sign.part == index) {
            tokens.push(Token::Part(Part::Text(text[begin..sign.at].to_owned())));
            tokens.push(Token::Sign(sign.letter));
            begin = sign.at + 1;
        }
        tokens.push(Token::Part(Part::Text(text[begin..].to_owned())));
    }
    tokens
}

/// Which of the tokens begin a list or a sequence; [`None`]: they are too deep.
fn groups(tokens: &[Token]) -> Option<Vec<Option<Group>>> {
    let mut groups: Vec<Option<Group>> = tokens.iter().map(|_| None).collect();
    let mut open: Vec<(usize, Vec<usize>)> = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        match token {
            Token::Sign('{') => open.push((index, Vec::new())),
            Token::Sign(',') => {
                if let Some((_, commas)) = open.last_mut() {
                    commas.push(index);
                }
            }
            Token::Sign(_) => {
                let Some((begin, mut ends)) = open.pop() else { continue };
                let sequence = match &tokens[begin + 1..index] {
                    [Token::Part(Part::Text(text))] => Sequence::of(text),
                    _ => None,
                };
                if !ends.is_empty() || sequence.is_some() {
                    ends.push(index);
                    groups[begin] = Some(Group { ends, sequence });
                }
            }
            Token::Part(_) => {}
        }
    }
    is_shallow(&groups).then_some(groups)
}

fn is_shallow(groups: &[Option<Group>]) -> bool {
    let mut closing: Vec<usize> = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        while closing.last().is_some_and(|end| *end < index) {
            closing.pop();
        }
        closing.extend(group.as_ref().and_then(|group| group.ends.last()));
        if closing.len() > DEEPEST {
            return false;
        }
    }
    true
}

/// What `from..to` or `from..to..step` says.
#[derive(Debug, Clone, Copy)]
struct Sequence {
    first: i64,
    last: i64,
    /// Its sign does not count, and 0 is 1.
    step: i64,
    /// With zeros in front, in letters.
    width: usize,
    is_of_letters: bool,
}

impl Sequence {
    fn of(text: &str) -> Option<Self> {
        let mut pieces = text.split("..");
        let (from, to) = (pieces.next()?, pieces.next()?);
        let step = pieces.next().map_or(Some(1), |step| step.parse().ok())?;
        if pieces.next().is_some() {
            return None;
        }
        let letter = |text: &str| match text.as_bytes() {
            [letter] if letter.is_ascii_alphabetic() => Some(i64::from(*letter)),
            _ => None,
        };
        if let (Some(first), Some(last)) = (letter(from), letter(to)) {
            return Some(Self { first, last, step, width: 0, is_of_letters: true });
        }
        let is_padded = |text: &str| {
            let digits = text.strip_prefix('-').unwrap_or(text);
            digits.starts_with('0') && digits.len() > 1
        };
        let is_wide = is_padded(from) || is_padded(to);
        let width = if is_wide { from.len().max(to.len()) } else { 0 };
        let (first, last) = (from.parse().ok()?, to.parse().ok()?);
        Some(Self { first, last, step, width, is_of_letters: false })
    }

    /// Its texts; [`None`]: too many, or not known.
    fn texts(&self) -> Option<Vec<String>> {
        let step = i128::from(self.step.unsigned_abs().max(1));
        let (first, last) = (i128::from(self.first), i128::from(self.last));
        let steps = (last - first).abs() / step;
        let steps = usize::try_from(steps).ok().filter(|steps| *steps < MOST_WORDS)?;
        let signed = if first > last { -step } else { step };
        let width = self.width;
        let numbers = (0_i128..).take(steps + 1).map(|index| first + index * signed);
        if !self.is_of_letters {
            let may = width <= MOST_WORDS;
            return may.then(|| numbers.map(|number| format!("{number:0width$}")).collect());
        }
        let text = |code: i128| {
            // Between the two alphabets stand signs that the shell reads once more.
            let letter = u8::try_from(code).ok().filter(u8::is_ascii_alphabetic)?;
            Some(char::from(letter).to_string())
        };
        numbers.map(text).collect()
    }
}

struct List<'a> {
    tokens: &'a [Token],
    groups: &'a [Option<Group>],
    spent: &'a Spent,
}

impl List<'_> {
    /// The words of a range of tokens; [`None`]: too many.
    fn words(&self, begin: usize, end: usize) -> Option<Vec<Word>> {
        let mut words = vec![Word::new()];
        let mut at = begin;
        while at < end {
            match (&self.groups[at], &self.tokens[at]) {
                (Some(group), _) => {
                    words = self.each(&words, &self.alternatives(at, group)?)?;
                    at = group.ends.last().copied()?;
                }
                (None, Token::Part(part)) => {
                    self.charge(words.len() * length(part))?;
                    words.iter_mut().for_each(|word| word.push(part.clone()));
                }
                (None, Token::Sign(letter)) => {
                    self.charge(words.len())?;
                    let text = Part::Text((*letter).into());
                    words.iter_mut().for_each(|word| word.push(text.clone()));
                }
            }
            at += 1;
        }
        Some(words)
    }

    /// What stands in one pair of braces.
    fn alternatives(&self, at: usize, group: &Group) -> Option<Vec<Word>> {
        if let Some(sequence) = &group.sequence {
            self.charge(0)?;
            let texts = sequence.texts()?.into_iter();
            return Some(texts.map(|text| vec![Part::Text(text)]).collect());
        }
        let (mut all, mut begin) = (Vec::new(), at + 1);
        for end in &group.ends {
            all.append(&mut self.words(begin, *end)?);
            if all.len() > MOST_WORDS {
                return None;
            }
            begin = end + 1;
        }
        Some(all)
    }

    /// Each word with each of the alternatives behind it.
    fn each(&self, words: &[Word], alternatives: &[Word]) -> Option<Vec<Word>> {
        if words.len() * alternatives.len() > MOST_WORDS {
            return None;
        }
        let mut all = Vec::new();
        for word in words {
            for alternative in alternatives {
                let both: Word = word.iter().chain(alternative).cloned().collect();
                self.charge(both.iter().map(length).sum::<usize>() + WORD_COST)?;
                all.push(both);
            }
        }
        Some(all)
    }

    fn charge(&self, letters: usize) -> Option<()> {
        let lists = self.spent.lists.get() + letters;
        let may = lists < ALL_LETTERS;
        self.spent.lists.set(lists.min(ALL_LETTERS));
        may.then_some(())
    }

    /// The word with a text that is not known instead of its outermost braces.
    fn outside(&self) -> Word {
        let (mut word, mut at) = (Word::new(), 0);
        while let Some(token) = self.tokens.get(at) {
            match (&self.groups[at], token) {
                (Some(group), _) => {
                    word.push(Part::Text(UNKNOWN.into()));
                    at = group.ends.last().copied().unwrap_or(at);
                }
                (None, Token::Part(part)) => word.push(part.clone()),
                (None, Token::Sign(letter)) => word.push(Part::Text((*letter).into())),
            }
            at += 1;
        }
        word
    }
}

fn length(part: &Part) -> usize {
    match part {
        Part::Text(text) => text.len(),
        Part::Variable { .. } | Part::Arithmetic(_) | Part::Elements { .. } => WORD_COST,
        Part::Array(elements) => elements.iter().flatten().map(length).sum(),
    }
}
