//! What keeps a write from being made, though the setting and the value are good.

/// What keeps a write from being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// `sysctl -w key = value`: three arguments where one is wanted.
    SpacesAroundEquals,
    /// `sudo echo 1 > file`: the shell opens the file, and not sudo.
    RedirectedBySudo,
    /// `echo 1 > file > other`, `echo 2> file`: the file is opened, and gets nothing.
    GetsNothing,
    /// `echo 1 > {file,other}`: bash opens neither.
    Ambiguous,
    /// A setting of the whole machine, from a network namespace that is not the initial one.
    InNamespace,
}

impl Trouble {
    /// Why it keeps the write from being made.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::SpacesAroundEquals => {
                "sysctl wants `key=value` as one argument: with blanks around `=` it refuses all three"
            }
            Self::RedirectedBySudo => {
                "the file is opened by the shell, without sudo's privileges: refused unless the shell is \
                 root; `| sudo tee FILE` works"
            }
            Self::GetsNothing => {
                "the file is opened and nothing is written there: of several `>` the last one gets what is \
                 printed, and a number right in front of `>` is a descriptor"
            }
            Self::Ambiguous => {
                "a redirection goes to one file: the shell refuses several of them (ambiguous redirect), and \
                 does not run the command; `| tee FILE FILE` works"
            }
            Self::InNamespace => {
                "it is a setting of the whole machine, and in another network namespace to read only or not \
                 there: the write is refused (EACCES, ENOENT)"
            }
        }
    }
}
