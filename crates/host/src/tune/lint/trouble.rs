//! What keeps a write from being made, though the setting and the value are good.

use super::Judgement;

const REDIRECTED_BY_SUDO: &str = "\
    the file is opened by the shell, without sudo's privileges: refused unless the shell is \
    root; `| sudo tee FILE` works";
const GETS_NOTHING: &str = "\
    the file is opened and nothing is written there: of several `>` the last one gets what is \
    printed, and a number right in front of `>` is a descriptor";
const AMBIGUOUS: &str = "\
    a redirection goes to one file: the shell refuses several of them (ambiguous redirect), and \
    does not run the command; `| tee FILE FILE` works";
const NO_SHELL: &str = "\
    no shell reads this `>`: it is an argument of the command, and no file is opened; `sh -c \
    '...'` works";
const CARRIAGE_RETURN: &str = "\
    the line ends in CR LF, and a shell takes the CR for a letter of the last word, of a number \
    or a file's name: not judged before it is gone";

/// What keeps a write from being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// `sysctl -w key = value`: three arguments where one is wanted.
    SpacesAroundEquals,
    /// `sysctl -w key value`: no `=` where one is wanted.
    NotAssigned,
    /// `key value` in a file of settings: no `=` where one is wanted.
    NoSign,
    /// In a folder of settings, a file that no loader reads.
    NotLoaded,
    /// `sysctl key value`: the setting is shown.
    OnlyRead,
    /// `sysctl -p key=value`: the name of a file.
    NamesOfFiles,
    /// A name with blanks at its begin or end, which the kernel keeps.
    Blanks,
    /// A mark of the order of bytes in front of the first line.
    ByteOrderMark,
    /// `sudo echo 1 > file`: the shell opens the file, and not sudo.
    RedirectedBySudo,
    /// `echo 1 > file > other`, `echo 2> file`: the file is opened, and gets nothing.
    GetsNothing,
    /// `echo 1 > {file,other}`: bash opens neither.
    Ambiguous,
    /// `ExecStart=echo 1 > file`: `>` is one of the words.
    NoShell,
    /// The line ends in CR LF.
    CarriageReturn,
    /// A setting of the whole machine, from a network namespace that is not the initial one.
    InNamespace,
    /// The same from one that may be the initial one.
    MaybeInNamespace,
    /// A line of settings in a file of which the text does not tell that it is one of settings.
    FileNotTold,
    /// `/host/proc/sys`: a /proc that is mounted elsewhere.
    MountedElsewhere,
}

impl Trouble {
    /// What it makes of the write.
    pub(super) fn judgement(self) -> Judgement {
        match self {
            Self::CarriageReturn
            | Self::MaybeInNamespace
            | Self::FileNotTold
            | Self::MountedElsewhere => Judgement::Unknown,
            _ => Judgement::NoEffect,
        }
    }

    /// Why it keeps the write from being made.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::SpacesAroundEquals => {
                "sysctl wants `key=value` as one argument: with blanks around `=` it refuses all three"
            }
            Self::NotAssigned => {
                "`sysctl -w` wants `key=value` as one argument: what has no `=` it refuses"
            }
            Self::NoSign => {
                "a line of a file of settings is `key = value`: without `=` it is a syntax error, which is \
                 told, and nothing is set"
            }
            Self::NotLoaded => {
                "no loader reads this file: those of sysctl.d that sysctl(8) and systemd-sysctl(8) read end \
                 in `.conf`"
            }
            Self::OnlyRead => {
                "without `=` sysctl shows the setting, and takes the number for the name of another one: \
                 nothing is set; `key=value` works"
            }
            Self::NamesOfFiles => {
                "with `-p` sysctl takes each word for the name of a file of settings, wherever the option \
                 stands, and there is none of this name: nothing is set"
            }
            Self::Blanks => {
                "the kernel compares the whole text with its names, blanks too, and finds none: refused; \
                 sysctl(8) takes them off"
            }
            Self::ByteOrderMark => {
                "the text begins with a mark of the order of bytes (U+FEFF), which is read as a part of the \
                 key: there is no such file; save it as UTF-8 without one"
            }
            Self::RedirectedBySudo => REDIRECTED_BY_SUDO,
            Self::GetsNothing => GETS_NOTHING,
            Self::Ambiguous => AMBIGUOUS,
            Self::NoShell => NO_SHELL,
            Self::CarriageReturn => CARRIAGE_RETURN,
            Self::InNamespace => {
                "it is a setting of the whole machine, and in another network namespace to read only or not \
                 there: the write is refused (EACCES, ENOENT)"
            }
            Self::MaybeInNamespace => {
                "it is a setting of the whole machine, which is written in the initial network namespace \
                 only, and the text does not tell whether this is the one: not judged"
            }
            Self::MountedElsewhere => {
                "it goes through a /proc that is mounted elsewhere: which network namespace it reaches is \
                 the writer's, and not that of the machine whose /proc it is: not judged"
            }
            Self::FileNotTold => {
                "it goes into a file, and the text does not tell whether somebody reads the settings there: \
                 not judged"
            }
        }
    }
}
