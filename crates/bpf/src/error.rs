//! The crate's error: what was tried, on what, and what the kernel said.
//!
//! bpf(2) answers with an errno only, except for program load, which also has the verifier's log.
//! The error owns a copy of the end of that log; nothing refers to kernel memory.

use std::{fmt, io};

/// Errno of kernel-internal ENOTSUPP, which reaches user space from bpf(2) and has no libc name.
const ENOTSUPP: i32 = 524;

/// Says which operation on which object failed, and why.
#[derive(Debug)]
pub struct Error {
    /// What was tried, e.g. `load xdp program`.
    pub operation: &'static str,
    /// The object it was tried on: a name, an id or an interface index; may be empty.
    pub target: String,
    /// The kernel's answer, or what was wrong with the arguments.
    pub source: io::Error,
    /// The last lines of the verifier's log, where the verifier wrote one.
    pub log: Option<String>,
    hint: Option<&'static str>,
}

impl Error {
    pub(crate) fn new(
        operation: &'static str,
        target: impl Into<String>,
        source: io::Error,
    ) -> Self {
        let hint = match source.raw_os_error() {
            Some(libc::EPERM) => Some("needs CAP_BPF and CAP_NET_ADMIN"),
            Some(libc::ENOSYS) => Some("needs a kernel built with CONFIG_BPF_SYSCALL"),
            _ => None,
        };
        Self { operation, target: target.into(), source, log: None, hint }
    }

    /// Makes the error of an argument that the crate itself refuses.
    pub(crate) fn invalid(
        operation: &'static str,
        target: impl Into<String>,
        cause: String,
    ) -> Self {
        Self::new(operation, target, io::Error::new(io::ErrorKind::InvalidInput, cause))
    }

    /// Replaces the hint if the kernel answered with one of `errnos`.
    pub(crate) fn hint_on(mut self, errnos: &[i32], hint: &'static str) -> Self {
        if self.errno().is_some_and(|errno| errnos.contains(&errno)) {
            self.hint = Some(hint);
        }
        self
    }

    /// Says what would help, where a fix is known: half a sentence for a `hint:` line.
    pub fn hint(&self) -> Option<&str> {
        self.hint
    }

    /// Returns the kernel's errno; `None` if the crate refused the arguments itself.
    ///
    /// `ENOENT` from the functions that take an id means that the object is gone.
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }

    /// Returns the line of the verifier's log that says why; the trailing statistics do not.
    fn reason_from_log(&self) -> Option<&str> {
        let mut lines = self.log.as_deref()?.lines().rev().map(str::trim);
        lines.find(|line| !line.is_empty() && !is_statistics(line))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.operation)?;
        if !self.target.is_empty() {
            write!(f, " {}", self.target)?;
        }
        match self.errno() {
            Some(errno) => write!(f, ": {}", Errno(errno))?,
            None => write!(f, ": {}", self.source)?,
        }
        match self.reason_from_log() {
            Some(line) => write!(f, ": verifier: {line}"),
            None => Ok(()),
        }
    }
}

// `source()` stays `None`: the cause is already part of the message and would be printed twice.
impl std::error::Error for Error {}

/// Tells the verifier's closing statistics from its findings.
fn is_statistics(line: &str) -> bool {
    ["processed ", "verification time ", "stack depth "].iter().any(|s| line.starts_with(s))
}

/// Prints an errno as `text (NAME)`.
struct Errno(i32);

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == ENOTSUPP {
            return write!(f, "operation not supported (ENOTSUPP)");
        }
        let full = io::Error::from_raw_os_error(self.0).to_string();
        let text = full.split(" (os error").next().unwrap_or(&full);
        let (first, rest) = text.split_at(text.chars().next().map_or(0, char::len_utf8));
        match name(self.0) {
            Some(name) => write!(f, "{}{rest} ({name})", first.to_lowercase()),
            None => write!(f, "{}{rest} (errno {})", first.to_lowercase(), self.0),
        }
    }
}

/// Names the errnos that bpf(2) is known to answer with.
fn name(errno: i32) -> Option<&'static str> {
    Some(match errno {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::EINTR => "EINTR",
        libc::E2BIG => "E2BIG",
        libc::EBADF => "EBADF",
        libc::EAGAIN => "EAGAIN",
        libc::ENOMEM => "ENOMEM",
        libc::EACCES => "EACCES",
        libc::EFAULT => "EFAULT",
        libc::EBUSY => "EBUSY",
        libc::EEXIST => "EEXIST",
        libc::ENODEV => "ENODEV",
        libc::EINVAL => "EINVAL",
        libc::ENFILE => "ENFILE",
        libc::EMFILE => "EMFILE",
        libc::ENOSPC => "ENOSPC",
        libc::ERANGE => "ERANGE",
        libc::ENOSYS => "ENOSYS",
        libc::ENOLINK => "ENOLINK",
        libc::EPROTO => "EPROTO",
        libc::EOVERFLOW => "EOVERFLOW",
        libc::ENOTSOCK => "ENOTSOCK",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(errno: i32) -> Error {
        Error::new("load xdp program", "netmem_respond", io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn message_is_operation_target_cause() {
        let denied = os(libc::EPERM);
        assert_eq!(
            denied.to_string(),
            "load xdp program netmem_respond: operation not permitted (EPERM)"
        );
        assert_eq!(denied.hint(), Some("needs CAP_BPF and CAP_NET_ADMIN"));
        assert!(os(ENOTSUPP).to_string().ends_with(": operation not supported (ENOTSUPP)"));
        assert!(os(libc::EXDEV).to_string().ends_with("(errno 18)"));
        let refused = Error::invalid("look up", "", "key of 3 bytes".into());
        assert_eq!(refused.to_string(), "look up: key of 3 bytes");
        assert_eq!((refused.errno(), refused.hint()), (None, None));
    }

    #[test]
    fn message_ends_with_the_verifiers_reason() {
        let mut error = os(libc::EACCES);
        error.log = Some("0: (95) exit\nR0 !read_ok\nprocessed 1 insns (limit 1000000)\n".into());
        assert_eq!(
            error.to_string(),
            "load xdp program netmem_respond: permission denied (EACCES): verifier: R0 !read_ok"
        );
    }
}
