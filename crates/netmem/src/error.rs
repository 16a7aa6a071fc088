//! The crate's one error: what was tried, on what, why it was refused, and what would help.

use std::{fmt, io};

/// What netmem's own calls return.
pub type Result<T> = std::result::Result<T, Error>;

/// A refused operation: `bind veth0 queue 3 (zero-copy): operation not supported (EOPNOTSUPP)`.
#[derive(Debug)]
pub struct Error {
    operation: &'static str,
    target: String,
    cause: Cause,
    hint: Option<String>,
}

#[derive(Debug)]
enum Cause {
    Os(io::Error),
    Bpf(Box<netmem_bpf::Error>),
    Text(String),
}

impl Error {
    /// Says that the kernel refused `operation` on `target`.
    pub(crate) fn os(operation: &'static str, target: impl Into<String>, cause: io::Error) -> Self {
        Self { operation, target: target.into(), cause: Cause::Os(cause), hint: None }
    }

    /// Says that `operation` on `target` was refused here, before the kernel was asked.
    pub(crate) fn refused(
        operation: &'static str,
        target: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self { operation, target: target.into(), cause: Cause::Text(why.into()), hint: None }
    }

    /// Wraps an error of the eBPF loader, which names its own operation.
    pub(crate) fn bpf(
        operation: &'static str,
        target: impl Into<String>,
        cause: netmem_bpf::Error,
    ) -> Self {
        Self { operation, target: target.into(), cause: Cause::Bpf(Box::new(cause)), hint: None }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The operation that was refused, as a verb phrase: "bind", "register umem".
    #[must_use]
    pub fn operation(&self) -> &str {
        self.operation
    }

    /// What the operation was tried on.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The one line that may help, where a remedy is known.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match (&self.hint, &self.cause) {
            (Some(hint), _) => Some(hint),
            (None, Cause::Bpf(error)) => error.hint(),
            (None, _) => None,
        }
    }

    /// The kernel's error number, where the kernel refused.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match &self.cause {
            Cause::Os(error) => error.raw_os_error(),
            Cause::Bpf(error) => error.errno(),
            Cause::Text(_) => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.operation, self.target)?;
        match &self.cause {
            Cause::Os(error) => f.write_str(&errno_text(error)),
            Cause::Bpf(error) => error.fmt(f),
            Cause::Text(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Os(error) => Some(error),
            Cause::Bpf(error) => Some(error.as_ref()),
            Cause::Text(_) => None,
        }
    }
}

/// Spells an operating system error in lower case with the errno's name where it is a usual one.
pub(crate) fn errno_text(error: &io::Error) -> String {
    let Some(errno) = error.raw_os_error() else { return error.to_string() };
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default().to_lowercase();
    match errno_name(errno) {
        Some(name) => format!("{text} ({name})"),
        None => format!("{text} (errno {errno})"),
    }
}

fn errno_name(errno: i32) -> Option<&'static str> {
    Some(match errno {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::EINTR => "EINTR",
        libc::ENXIO => "ENXIO",
        libc::EAGAIN => "EAGAIN",
        libc::ENOMEM => "ENOMEM",
        libc::EACCES => "EACCES",
        libc::EFAULT => "EFAULT",
        libc::EBUSY => "EBUSY",
        libc::EEXIST => "EEXIST",
        libc::ENODEV => "ENODEV",
        libc::EINVAL => "EINVAL",
        libc::ENOSPC => "ENOSPC",
        libc::ERANGE => "ERANGE",
        libc::ENOSYS => "ENOSYS",
        libc::ENOPROTOOPT => "ENOPROTOOPT",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        libc::EAFNOSUPPORT => "EAFNOSUPPORT",
        libc::ENETDOWN => "ENETDOWN",
        libc::ENOBUFS => "ENOBUFS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_operation_target_and_cause() {
        let cause = io::Error::from_raw_os_error(libc::EOPNOTSUPP);
        let error = Error::os("bind", "veth0 queue 3 (zero-copy)", cause);
        assert_eq!(
            error.to_string(),
            "bind veth0 queue 3 (zero-copy): operation not supported (EOPNOTSUPP)"
        );
        assert_eq!(error.errno(), Some(libc::EOPNOTSUPP));
    }
}
