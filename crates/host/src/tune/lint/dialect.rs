//! Which shell reads a script, where that changes what the script does.
//!
//! bash(1), zsh(1) and ksh(1) read lists in braces, `&>` and `$[ ]`; for dash(1) braces and brackets are letters, and
//! `&` ends the command before `>`; its echo has `-n` only, and knows escapes always. zsh does not divide what stands
//! in a variable. `sh` is dash on one machine and bash on another: what differs there is not known. busybox has no
//! lists, and reads `&>` as it was built. A text that names no shell is taken for one of bash. What else they differ
//! in is as in bash.

/// A shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shell {
    /// Also ksh, and what nobody names.
    Bash,
    /// As bash, but a text goes to each of several files.
    Zsh,
    /// Whatever the machine has by this name.
    Sh,
    Dash,
    Busybox,
}

impl Shell {
    /// The shell of a script, by its first line.
    pub(super) fn of(text: &str) -> Self {
        let line = text.lines().next().and_then(|line| line.strip_prefix("#!"));
        let words = line.unwrap_or_default().split_whitespace().rev();
        let mut names = words.map(|word| word.rsplit('/').next().unwrap_or(word));
        // env(1) and its options stand before the name.
        names.find_map(Self::named).unwrap_or(Self::Bash)
    }

    /// The shell of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "bash" | "ksh" | "mksh" => Some(Self::Bash),
            "zsh" => Some(Self::Zsh),
            "sh" => Some(Self::Sh),
            "dash" => Some(Self::Dash),
            "ash" | "busybox" => Some(Self::Busybox),
            _ => None,
        }
    }

    /// Whether lists in braces become words; [`None`]: nobody knows.
    pub(super) fn has_lists(self) -> Option<bool> {
        match self {
            Self::Bash | Self::Zsh => Some(true),
            Self::Sh => None,
            Self::Dash | Self::Busybox => Some(false),
        }
    }

    /// Whether lists in braces are done before variables.
    pub(super) fn expands_lists_first(self) -> bool {
        matches!(self, Self::Bash | Self::Sh)
    }

    /// Whether `$[ ]` is arithmetic; [`None`]: nobody knows.
    pub(super) fn has_brackets(self) -> Option<bool> {
        self.has_lists()
    }

    /// Whether `&>` sends both what is printed and errors to a file; [`None`]: nobody knows.
    pub(super) fn joins_errors(self) -> Option<bool> {
        match self {
            Self::Bash | Self::Zsh => Some(true),
            Self::Sh | Self::Busybox => None,
            Self::Dash => Some(false),
        }
    }
}
