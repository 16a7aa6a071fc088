//! What a script is made of: words in their pieces, redirections, commands, and lines of settings.

/// Stands for a piece of text that is not known.
pub(super) const UNKNOWN: char = '\0';
/// How deep commands are followed into commands.
pub(super) const DEEPEST: usize = 6;

/// A piece of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    /// A variable, what stands for it where it is not set, and whether it stands in quotes.
    Variable {
        name: String,
        default: Option<Instead>,
        quoted: bool,
    },
    /// What stands in `$(( ))`.
    Arithmetic(Word),
    /// The elements of an array that is assigned: `A=(a b)`.
    Array(Vec<Word>),
    /// All elements of an array as words of their own: `"${A[@]}"`, or `${A[@]}`.
    Elements {
        name: String,
        quoted: bool,
    },
}

/// What stands for a variable that is not set: of `${x:-5}` it is 5.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Instead {
    pub(super) text: String,
    /// `:-`, `:=`: also for one that is empty.
    pub(super) is_for_empty: bool,
    /// `:=`, `=`: it is assigned too.
    pub(super) is_assigned: bool,
}

/// A word, in its pieces.
pub(super) type Word = Vec<Part>;

/// What a command reads from the script itself.
#[derive(Debug, Clone)]
pub(super) struct Body {
    pub(super) line: usize,
    pub(super) text: Word,
}

/// What a redirection is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Input,
    /// What the command prints.
    Output,
    /// What was printed there, but for a redirection behind it: the file is opened and gets nothing.
    Replaced,
    /// One of several files of one redirection, which the shell refuses.
    Ambiguous,
    /// The errors of the command.
    Errors,
    /// Another descriptor, to which it may print.
    Other,
}

/// A redirection to or from a file.
#[derive(Debug, Clone)]
pub(super) struct Redirect {
    pub(super) direction: Direction,
    pub(super) target: Word,
}

/// On what it depends that a command runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Joint {
    /// On nothing: it is the first of a list.
    #[default]
    First,
    /// `&&`: that the one before it succeeds.
    And,
    /// `||`: that the one before it fails.
    Or,
}

/// A command without operators.
#[derive(Debug, Clone, Default)]
pub(super) struct Simple {
    pub(super) line: usize,
    pub(super) words: Vec<Word>,
    pub(super) redirects: Vec<Redirect>,
    pub(super) body: Option<Body>,
    /// Whether the next one reads what this one prints.
    pub(super) piped: bool,
    /// Whether it ends a `( )`, and has what stands behind that.
    pub(super) is_end: bool,
    pub(super) joint: Joint,
    /// Whether `&` ends it.
    pub(super) is_background: bool,
    /// Whether it prints to another descriptor: `>&2`.
    pub(super) is_diverted: bool,
}

/// One thing that the text says.
#[derive(Debug, Clone)]
pub(super) enum Item {
    Command(Simple),
    /// A line as sysctl.conf(5) has it.
    Setting {
        line: usize,
        text: String,
    },
    /// `(`.
    Open {
        joint: Joint,
    },
    /// What follows stood in words before it: whatever is open is none of it.
    Inside,
}

/// The text of a word that has no variable.
pub(super) fn literal(word: &Word) -> Option<&str> {
    match word.as_slice() {
        [Part::Text(text)] => Some(text),
        _ => None,
    }
}

/// A word that assigns: its name, what it assigns, and whether that is added to what is there.
pub(super) fn assignment(word: &Word) -> Option<(String, Word, bool)> {
    let (Part::Text(text), rest) = word.split_first()? else { return None };
    let (name, value) = text.split_once('=')?;
    let (name, is_added) = match name.strip_suffix('+') {
        Some(name) => (name, true),
        None => (name, false),
    };
    if !is_name(name) {
        return None;
    }
    let mut value: Word = vec![Part::Text(value.to_owned())];
    value.extend_from_slice(rest);
    Some((name.to_owned(), value, is_added))
}

/// Whether a variable may have this name.
pub(super) fn is_name(text: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.starts_with(|letter: char| is_letter(letter) && !letter.is_ascii_digit())
        && text.chars().all(is_letter)
}

/// Whether sysctl(8) and the kernel take a letter for a blank: those of ASCII only.
pub(super) fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t'..='\r')
}

/// Whether a letter looks like a blank or like nothing, and is none to them.
pub(super) fn is_false_blank(letter: char) -> bool {
    let is_unseen = matches!(letter, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}');
    !letter.is_ascii() && (letter.is_whitespace() || is_unseen)
}

/// Whether a line sets something as sysctl.conf(5) has it: it is no command, because of its dots.
pub(super) fn is_setting(line: &str) -> bool {
    let is_around = |letter| is_blank(letter) || is_false_blank(letter);
    let line = line.trim_start_matches(is_around);
    let Some((key, _)) = line.strip_prefix('-').unwrap_or(line).split_once('=') else {
        return false;
    };
    let key = key.trim_matches(is_around);
    let folder = key.split(['.', '/']).next().unwrap_or_default();
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._/-*:".contains(c);
    let folders = ["net", "vm", "kernel", "fs", "dev", "user", "debug", "abi", "sunrpc", "crypto"];
    folders.contains(&folder) && folder.len() < key.len() && key.chars().all(is_name)
}

/// The name and the value of a line that was meant to set something as sysctl.conf(5) has it, and has no `=`.
pub(super) fn unassigned(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_matches(is_blank);
    let (key, value) = line.split_once(|letter| letter == ':' || is_blank(letter))?;
    let value = value.trim_matches(|letter| letter == ':' || is_blank(letter));
    let is_value =
        |letter: char| letter.is_ascii_alphanumeric() || is_blank(letter) || "-_".contains(letter);
    // `-` in front of a name without `=` keeps it from being set by patterns.
    let is_one = !key.starts_with('-') && !value.is_empty() && value.chars().all(is_value);
    (is_one && is_setting(&format!("{key}="))).then_some((key, value))
}

/// Whether a text is a file of settings of which some lines have no `=`.
///
/// One that has a colon in each line is of another form, in which that is right.
pub(super) fn lacks_signs(text: &str) -> bool {
    let lines = || {
        let lines = text.lines().map(|line| line.trim_matches(is_blank));
        lines.filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
    };
    let is_colon = |line: &str| {
        unassigned(line).is_some_and(|(key, _)| line[key.len()..].trim_start().starts_with(':'))
    };
    lines().all(|line| is_setting(line) || unassigned(line).is_some())
        && lines().any(|line| !is_setting(line))
        && lines().any(|line| !is_colon(line))
}
