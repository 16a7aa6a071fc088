//! Where the machine's figures come from, and what it means when one of them cannot be had.
//!
//! ```text
//!   Root  --read-->  bytes  --parse (pure, never panics)-->  struct
//!     |                |                                       |
//!     +-- Unavailable: absent | denied | stale | malformed ----+   (never a zero)
//! ```
//! Every reader gives a [`Reading`]: the figure, or why there is none. "No sockets" is a value;
//! "the kernel cannot tell" is an [`Unavailable`]. A [`Root`] is the live machine, or a folder with
//! a `proc` and a `sys` in it, as tests and recorded machines have.
//!
//! Files below `/proc/net` belong to a network namespace: [`Root::net`] is that of the calling thread
//! (`/proc/thread-self/net`), because `/proc/net` is that of the process's main thread.

use std::{
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use nix::errno::Errno;
use serde::{Serialize, Serializer};

use crate::error::Error;

/// A file larger than this is not read: no source here comes near it.
const LARGEST_FILE_BYTES: u64 = 64 << 20;

/// A figure, or why there is none.
pub type Reading<T> = Result<T, Unavailable>;

/// Why a source gives nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unavailable {
    /// What kind of reason.
    pub state: SourceState,
    /// The source, as a person would look it up: a path, or a netlink family and request.
    pub source: String,
    /// The reason, in a sentence without its end: `CONFIG_PAGE_POOL_STATS is off`.
    pub reason: String,
}

/// What a source says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceState {
    /// It answers.
    Ok,
    /// This kernel does not have it: not configured, too old, or not loaded.
    Absent,
    /// It is there, and this process may not read it.
    Denied,
    /// It answered once, and does not any more: its owner has gone.
    Stale,
    /// It answers, in a form that is not understood.
    Malformed,
}

/// Where `/proc` and `/sys` are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    proc: PathBuf,
    sys: PathBuf,
    net: PathBuf,
}

impl Unavailable {
    /// The kernel does not have it.
    pub fn absent(source: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { state: SourceState::Absent, source: source.into(), reason: reason.into() }
    }

    /// It may not be read.
    pub fn denied(source: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { state: SourceState::Denied, source: source.into(), reason: reason.into() }
    }

    /// Its owner has gone.
    pub fn stale(source: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { state: SourceState::Stale, source: source.into(), reason: reason.into() }
    }

    /// Its answer is not understood.
    pub fn malformed(source: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { state: SourceState::Malformed, source: source.into(), reason: reason.into() }
    }

    /// What a refusal with an error number means: no privilege, or not there.
    pub fn by_errno(source: impl Into<String>, errno: i32) -> Self {
        let errno = Errno::from_raw(errno);
        let reason = format!("{} ({errno:?})", errno.desc().to_lowercase());
        match errno {
            Errno::EACCES | Errno::EPERM => Self::denied(source, reason),
            _ => Self::absent(source, reason),
        }
    }

    /// What an error of a file means.
    pub fn by_io(source: impl Into<String>, error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => Self::by_errno(source, errno),
            None => Self::malformed(source, error.to_string()),
        }
    }
}

impl From<&Error> for Unavailable {
    fn from(error: &Error) -> Self {
        let source = format!("{} {}", error.operation(), error.target());
        match error.errno() {
            Some(errno) => Self::by_errno(source, errno),
            None => Self::malformed(source, error.cause().to_string()),
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.source, self.state, self.reason)
    }
}

impl std::error::Error for Unavailable {}

impl SourceState {
    /// Its name, as it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Absent => "absent",
            Self::Denied => "denied",
            Self::Stale => "stale",
            Self::Malformed => "malformed",
        }
    }

    /// The state of a reading.
    pub fn of<T>(reading: &Reading<T>) -> Self {
        reading.as_ref().map_or_else(|unavailable| unavailable.state, |_| Self::Ok)
    }
}

impl fmt::Display for SourceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Root {
    /// The machine as it is now, in the calling thread's network namespace.
    pub fn live() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into(), net: "/proc/thread-self/net".into() }
    }

    /// A recorded machine: `folder/proc`, `folder/sys`, and `folder/proc/net`.
    pub fn at(folder: impl AsRef<Path>) -> Self {
        let folder = folder.as_ref();
        Self { proc: folder.join("proc"), sys: folder.join("sys"), net: folder.join("proc/net") }
    }

    /// The path of a file below `/proc`.
    pub fn proc(&self, path: impl AsRef<Path>) -> PathBuf {
        self.proc.join(path)
    }

    /// The path of a file below `/sys`.
    pub fn sys(&self, path: impl AsRef<Path>) -> PathBuf {
        self.sys.join(path)
    }

    /// The path of a file below `/proc/net`, in the calling thread's network namespace.
    pub fn net(&self, path: impl AsRef<Path>) -> PathBuf {
        self.net.join(path)
    }

    /// Is this the machine itself, and not a recorded one?
    pub fn is_live(&self) -> bool {
        *self == Self::live()
    }
}

/// Reads a file whole.
///
/// # Errors
/// When it is not there, may not be read, or is absurdly large.
pub fn read(path: &Path) -> Reading<Vec<u8>> {
    let name = || path.display().to_string();
    let attempt = || {
        // Room for most of them: what has none is first read by 32 bytes, then by 64, ...
        let mut bytes = Vec::with_capacity(8 << 10);
        fs::File::open(path)?.take(LARGEST_FILE_BYTES).read_to_end(&mut bytes).map(|_| bytes)
    };
    let bytes = attempt().map_err(|error| Unavailable::by_io(name(), &error))?;
    if bytes.len() as u64 == LARGEST_FILE_BYTES {
        return Err(Unavailable::malformed(name(), "larger than 64 MiB"));
    }
    Ok(bytes)
}

/// Reads a file and parses it; `None` of the parser means that the form is not understood.
///
/// # Errors
/// As [`read`], and when the parser does not understand it.
pub fn read_with<T>(path: &Path, parse: impl FnOnce(&[u8]) -> Option<T>) -> Reading<T> {
    parse(&read(path)?).ok_or_else(|| {
        Unavailable::malformed(path.display().to_string(), "not in the form that is known")
    })
}

/// For `#[serde(serialize_with = "...")]`: the value, or null; the reason stands in the list of sources.
///
/// # Errors
/// The serializer's.
pub fn or_null<T: Serialize, S: Serializer>(
    reading: &Reading<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    reading.as_ref().ok().serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_absent_and_not_empty() {
        let path = Path::new("/proc/net/no-such-file");
        let unavailable = read(path).unwrap_err();
        assert_eq!(unavailable.state, SourceState::Absent);
        assert_eq!(unavailable.source, "/proc/net/no-such-file");
        assert!(unavailable.reason.ends_with("(ENOENT)"), "{unavailable}");
    }

    #[test]
    fn a_refusal_is_told_from_an_absence() {
        let states = [state_of(Errno::EACCES), state_of(Errno::EPERM), state_of(Errno::EOPNOTSUPP)];
        assert_eq!(states, [SourceState::Denied, SourceState::Denied, SourceState::Absent]);
    }

    #[test]
    fn a_form_that_is_not_known_is_malformed() {
        let reading = read_with(Path::new("/proc/self/comm"), |_| None::<u32>);
        assert_eq!(SourceState::of(&reading), SourceState::Malformed);
        assert!(read_with(Path::new("/proc/self/comm"), |bytes| Some(bytes.len())).unwrap() > 0);
    }

    #[test]
    fn a_recorded_machine_is_below_its_folder() {
        let root = Root::at("/recorded");
        assert_eq!(root.net("sockstat"), Path::new("/recorded/proc/net/sockstat"));
        assert_eq!(root.sys("kernel/slab"), Path::new("/recorded/sys/kernel/slab"));
        assert!(!root.is_live() && Root::live().is_live());
    }

    fn state_of(errno: Errno) -> SourceState {
        Unavailable::by_errno("x", errno as i32).state
    }
}
