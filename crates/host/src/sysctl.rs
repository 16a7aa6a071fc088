//! Kernel settings under `/proc/sys/net`: what they are now, what they mean, and whom they rule.
//!
//! ```text
//!   net.ipv4.tcp_mem  <->  /proc/sys/net/ipv4/tcp_mem      dots are slashes
//!   net/ipv4/conf/eth0.100/mtu                              as sysctl(8): a name with dots wants slashes
//! ```
//! A setting is global, or one per network namespace. In a namespace other than the initial one a global
//! setting is absent, or there to read only; which of both changes between kernels, so [`scopes`] asks this
//! kernel, by looking at a namespace of its own. [`KEYS`] says what kernel 6.18 does.
//!
//! `/proc/sys/net` is that of the calling thread's namespace. Reading only: nothing here writes.

mod defaults;
mod keys;
mod scope;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde::Serialize;

pub use self::defaults::Machine;
pub use self::keys::KEYS;
pub use self::scope::{SeenInChild, scopes};
use crate::proc::Scope;
use crate::source::{self, Reading, Root, SourceState, Unavailable};

/// The value of a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// One number.
    Scalar(i64),
    /// Three numbers.
    Triple([i64; 3]),
    /// Anything else, without the newline behind it.
    Text(String),
}

/// What its file lets one do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// To be written by some, privileges granted: `rw-`.
    ReadWrite,
    /// To be read only, by anybody: `r--`.
    ReadOnly,
}

/// The form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Arity {
    /// One number.
    Scalar,
    /// Three numbers: min, default or pressure, max.
    Triple,
    /// Text.
    Text,
}

/// What a number is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Pages of memory.
    Pages,
    /// Bytes.
    Bytes,
    /// Packets, datagrams or segments.
    Packets,
    /// Microseconds.
    Microseconds,
    /// Seconds.
    Seconds,
    /// A number of something that the meaning names.
    Count,
    /// 0 or 1.
    Bool,
    /// One of several ways that the documentation numbers.
    Choice,
    /// No number.
    Text,
}

/// What is known of a setting.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Key {
    /// Its name: `net.ipv4.tcp_mem`.
    pub name: &'static str,
    /// The form of its value.
    pub arity: Arity,
    /// What its numbers are of.
    pub unit: Unit,
    /// Whom it rules, in kernel 6.18.
    pub scope: Scope,
    /// What it does, in a sentence.
    pub meaning: &'static str,
    /// How the kernel comes by the default.
    pub default_rule: &'static str,
    /// Where the kernel documents it, or a file of its source where it does not.
    pub citation: &'static str,
    #[serde(skip)]
    default: fn(&Machine) -> Option<Value>,
}

impl Key {
    /// The table's entry of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// The value that a machine like this boots with; `None` where it cannot be computed from what is
    /// known of it.
    pub fn default(&self, machine: &Machine) -> Option<Value> {
        (self.default)(machine)
    }
}

impl Value {
    /// Parses a file's content.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?.trim_end_matches(['\n', '\0']);
        let numbers = text.split_ascii_whitespace().map(|word| word.parse().ok());
        let numbers: Option<Vec<i64>> = numbers.collect();
        Some(match numbers.as_deref() {
            Some([number]) => Self::Scalar(*number),
            Some([first, second, third]) => Self::Triple([*first, *second, *third]),
            _ => Self::Text(text.to_owned()),
        })
    }

    /// The form that it has.
    pub fn arity(&self) -> Arity {
        match self {
            Self::Scalar(_) => Arity::Scalar,
            Self::Triple(_) => Arity::Triple,
            Self::Text(_) => Arity::Text,
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Scalar(number) => write!(f, "{number}"),
            Self::Triple([first, second, third]) => write!(f, "{first} {second} {third}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Unit {
    /// Its name, as it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pages => "pages",
            Self::Bytes => "bytes",
            Self::Packets => "packets",
            Self::Microseconds => "microseconds",
            Self::Seconds => "seconds",
            Self::Count => "count",
            Self::Bool => "bool",
            Self::Choice => "choice",
            Self::Text => "text",
        }
    }
}

/// The file of a setting, by its name with dots or with slashes.
///
/// # Errors
/// It is no name of a setting.
pub fn path(root: &Root, key: &str) -> Reading<PathBuf> {
    let separator = key.find(['.', '/']).map(|at| key.as_bytes()[at]);
    let swapped = |letter| match letter {
        '.' => '/',
        '/' => '.',
        letter => letter,
    };
    let path: String = match separator {
        Some(b'.') => key.chars().map(swapped).collect(),
        _ => key.to_owned(),
    };
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(Unavailable::malformed(key, "not the name of a setting"));
    }
    Ok(root.proc("sys").join(path))
}

/// Reads a setting, in the calling thread's network namespace.
///
/// # Errors
/// It is not there, which of a global setting may mean that this is not the initial network namespace;
/// it may not be read; or it is no name of a setting.
pub fn read(root: &Root, key: &str) -> Reading<Value> {
    let path = path(root, key)?;
    source::read_with(&path, Value::parse).map_err(|unavailable| explain(unavailable, key))
}

/// Reads what the file of a setting lets one do, in the calling thread's network namespace.
///
/// # Errors
/// As [`read`].
pub fn mode(root: &Root, key: &str) -> Reading<Mode> {
    let path = path(root, key)?;
    let metadata = fs::metadata(&path)
        .map_err(|error| explain(Unavailable::by_io(path.display().to_string(), &error), key))?;
    Ok(match metadata.permissions().mode() & 0o222 {
        0 => Mode::ReadOnly,
        _ => Mode::ReadWrite,
    })
}

/// Says of a global setting that is not there why that may be.
fn explain(unavailable: Unavailable, key: &str) -> Unavailable {
    let is_global = Key::named(key).is_some_and(|key| key.scope == Scope::Global);
    if unavailable.state != SourceState::Absent || !is_global {
        return unavailable;
    }
    let reason =
        format!("{}; the setting is global, and not in every namespace", unavailable.reason);
    Unavailable::absent(unavailable.source, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_form() {
        let parse = |text: &str| Value::parse(text.as_bytes()).unwrap();
        assert_eq!(parse("4194304\n"), Value::Scalar(4_194_304));
        assert_eq!(parse("-1\n"), Value::Scalar(-1));
        assert_eq!(parse("4294967295\n"), Value::Scalar(4_294_967_295));
        assert_eq!(parse("4096\t131072\t33554432\n"), Value::Triple([4096, 131_072, 33_554_432]));
        assert_eq!(parse("32768\t60999\n"), Value::Text("32768\t60999".to_owned()));
        assert_eq!(parse("reno bbr\n"), Value::Text("reno bbr".to_owned()));
        assert_eq!(parse("1 2 x\n").arity(), Arity::Text);
        assert_eq!(parse("\n"), Value::Text(String::new()));
        assert_eq!(parse("1 2 3\n").to_string(), "1 2 3");
        assert_eq!(Value::parse(b"\xff"), None);
    }

    #[test]
    fn names_with_dots_or_slashes() {
        let path = |key: &str| path(&Root::at("/r"), key).map(|path| path.display().to_string());
        assert_eq!(path("net.ipv4.tcp_mem").unwrap(), "/r/proc/sys/net/ipv4/tcp_mem");
        assert_eq!(
            path("net/ipv4/conf/eth0.5/mtu").unwrap(),
            "/r/proc/sys/net/ipv4/conf/eth0.5/mtu"
        );
        assert_eq!(
            path("net.ipv4.conf.eth0/5.mtu").unwrap(),
            "/r/proc/sys/net/ipv4/conf/eth0.5/mtu"
        );
        for bad in ["", "net..x", "/etc/passwd", "net/../../x", ".net", "net.", "../x", "net./..x"]
        {
            assert_eq!(path(bad).unwrap_err().state, SourceState::Malformed, "{bad}");
        }
    }

    #[test]
    fn absence_of_a_global_setting_is_explained() {
        let root = Root::at("/no-such-machine");
        let of = |key| read(&root, key).unwrap_err().reason;
        assert!(of("net.ipv4.tcp_mem").ends_with("not in every namespace"));
        assert!(of("net.ipv4.tcp_rmem").ends_with("(ENOENT)"));
        assert!(mode(&root, "net.core.busy_poll").unwrap_err().reason.contains("global"));
    }
}
