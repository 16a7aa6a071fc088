//! One error for the crate: what was attempted, on what, and why it did not happen.
//!
//! Displayed on one line: `set mtu of nm-client: invalid argument (EINVAL): mtu less than device
//! minimum`.

use std::{fmt, io};

use netlink_packet_core::DecodeError;
use nix::errno::Errno;

/// The result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An operation that failed, the thing it was applied to, and the cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    operation: &'static str,
    target: String,
    cause: Cause,
}

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The kernel refused.
    Kernel {
        /// The error number, as in `errno(3)`; positive.
        errno: i32,
        /// The kernel's own words (netlink extended acknowledgement), where it gave some.
        explanation: Option<String>,
    },
    /// An input or a reply could not be understood.
    Malformed(String),
    /// The kernel accepted the request, but the state asked for did not come about.
    Unmet(String),
}

impl Error {
    pub(crate) fn new(
        operation: &'static str,
        target: impl Into<String>,
        cause: impl Into<Cause>,
    ) -> Self {
        Self { operation, target: target.into(), cause: cause.into() }
    }

    /// Returns what was attempted, for example `set mtu of`.
    pub fn operation(&self) -> &str {
        self.operation
    }

    /// Returns what it was attempted on: an interface, a file, a namespace.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Returns why it failed.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// Returns the kernel's error number, if it was the kernel that refused.
    pub fn errno(&self) -> Option<i32> {
        match self.cause {
            Cause::Kernel { errno, .. } => Some(errno),
            Cause::Malformed(_) | Cause::Unmet(_) => None,
        }
    }

    /// Returns the kernel's own words on its refusal, if it gave some.
    pub fn explanation(&self) -> Option<&str> {
        match &self.cause {
            Cause::Kernel { explanation, .. } => explanation.as_deref(),
            Cause::Malformed(_) | Cause::Unmet(_) => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.operation, self.target, self.cause)
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (errno, explanation) = match self {
            Self::Kernel { errno, explanation } => (*errno, explanation),
            Self::Malformed(what) | Self::Unmet(what) => return f.write_str(what),
        };
        match Errno::from_raw(errno) {
            Errno::UnknownErrno => write!(f, "unknown error ({errno})")?,
            name => {
                let described = io::Error::from_raw_os_error(errno).to_string();
                let text = described.split(" (os error").next().unwrap_or_default();
                write!(f, "{} ({name:?})", lower_first(text))?;
            }
        }
        match explanation {
            Some(text) => write!(f, ": {}", lower_first(text.trim_end_matches('.'))),
            None => Ok(()),
        }
    }
}

impl From<Errno> for Cause {
    fn from(errno: Errno) -> Self {
        Self::Kernel { errno: errno as i32, explanation: None }
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => Self::Kernel { errno, explanation: None },
            None => Self::Malformed(error.to_string()),
        }
    }
}

impl From<DecodeError> for Cause {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Lowers the first letter, except of an abbreviation such as `IPv4` or `MTU`.
fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lower_case_line() {
        let cause = Cause::Kernel { errno: 17, explanation: None };
        let error = Error::new("create veth", "nm-client", cause);
        assert_eq!(error.to_string(), "create veth nm-client: file exists (EEXIST)");
        assert_eq!((error.errno(), error.explanation()), (Some(17), None));

        let explanation = Some("MTU less than device minimum.".to_owned());
        let error = Error::new("set mtu of", "eth9", Cause::Kernel { errno: 22, explanation });
        assert_eq!(
            error.to_string(),
            "set mtu of eth9: invalid argument (EINVAL): MTU less than device minimum"
        );
        let cause = Cause::Kernel { errno: 4000, explanation: None };
        assert_eq!(cause.to_string(), "unknown error (4000)");
    }
}
