//! Why a capture file was not read, or not to its end.

use std::{fmt, io};

/// What is wrong, and where in the file the part with the fault begins.
#[derive(Debug)]
pub struct CaptureError {
    /// Offset of the record, the block or the header.
    pub offset_bytes: u64,
    /// What is wrong.
    pub cause: Cause,
}

/// What is wrong with a capture file.
#[derive(Debug)]
pub enum Cause {
    /// The system did not give the bytes.
    Io(io::Error),
    /// There are no bytes at all.
    Empty,
    /// It begins as no capture does; its first bytes.
    NoCapture(Vec<u8>),
    /// A capture of a kind that is not read here.
    Unsupported(&'static str),
    /// The file ends inside a part.
    Cut {
        /// The part.
        part: &'static str,
        /// How many bytes it has or needs at least.
        needed_bytes: u64,
        /// How many of them there are.
        available_bytes: u64,
    },
    /// A field has a value that cannot be.
    Damaged {
        /// The part.
        part: &'static str,
        /// What it says, and what may be.
        what: String,
    },
}

impl CaptureError {
    /// The one line that may help.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match &self.cause {
            Cause::Io(error) if error.kind() == io::ErrorKind::IsADirectory => {
                Some("name a file in it, or - for standard input")
            }
            Cause::Io(error) if error.kind() == io::ErrorKind::NotFound => {
                Some("check the path; - reads standard input")
            }
            Cause::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Some("check the file's owner and mode")
            }
            Cause::Empty => Some("nothing was captured, or the capture is not written out yet"),
            Cause::NoCapture(start) if start.starts_with(&[0x1f, 0x8b]) => {
                Some("it is compressed by gzip: zcat FILE | netmem read -")
            }
            Cause::NoCapture(start) if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) => {
                Some("it is compressed by zstd: zstdcat FILE | netmem read -")
            }
            Cause::NoCapture(start) if start.starts_with(b"\xfd7zX") => {
                Some("it is compressed by xz: xzcat FILE | netmem read -")
            }
            Cause::NoCapture(_) => Some("netmem reads pcap and pcapng; editcap converts others"),
            Cause::Unsupported(_) => Some("editcap -F pcapng converts it"),
            Cause::Io(_) | Cause::Cut { .. } | Cause::Damaged { .. } => None,
        }
    }
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = self.offset_bytes;
        match &self.cause {
            Cause::Io(error) => {
                let text = error.to_string();
                let cause = text.split(" (os error").next().unwrap_or_default().to_lowercase();
                write!(f, "at byte {offset}: {cause}")
            }
            Cause::Empty => f.write_str("the file is empty"),
            Cause::NoCapture(start) => {
                f.write_str("no capture file: it begins with")?;
                start.iter().try_for_each(|byte| write!(f, " {byte:02x}"))
            }
            Cause::Unsupported(kind) => write!(f, "{kind} is not supported"),
            Cause::Cut { part, needed_bytes, available_bytes } => write!(
                f,
                "{part} at byte {offset}: {needed_bytes} bytes needed, the file ends after \
                 {available_bytes}"
            ),
            Cause::Damaged { part, what } => write!(f, "{part} at byte {offset}: {what}"),
        }
    }
}

impl std::error::Error for CaptureError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Io(error) => Some(error),
            _ => None,
        }
    }
}
