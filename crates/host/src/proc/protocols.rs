//! `/proc/net/protocols`: what each socket protocol accounts, and whether it is under memory pressure.
//!
//! ```text
//!  protocol  size sockets  memory press maxhdr  slab module     cl co ...
//!  UDP       1344      0       0   NI       0   yes  kernel      y  y
//!  TCP       2304      1      61   no     192   yes  kernel      y  y
//! ```
//! **Never sum the rows**: TCP, TCPv6, MPTCP and MPTCPv6 print the same counter of TCP, and the UDP rows
//! that of UDP. `press` NI (not implemented): the protocol has no pressure state, as UDP.
//! Sockets are those of the calling thread's namespace, memory is global.
//! Source: `proto_seq_printf` in net/core/sock.c, kernel 6.18.

use serde::Serialize;

use super::{memory_pages, text};
use crate::source::{Reading, Root, read_with};

/// `/proc/net/protocols`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Protocols {
    /// A row for each protocol, as the kernel orders them.
    pub rows: Vec<Protocol>,
}

/// A socket protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Protocol {
    /// Its name: `TCP`, `UDP`, `PACKET`.
    pub name: String,
    /// Size of one of its sockets, in bytes, without buffers.
    pub socket_bytes: u64,
    /// Its sockets in the namespace.
    pub sockets: u64,
    /// Memory that it has charged, in pages; global, and shared with its sisters. `None`: it does not
    /// account memory.
    pub memory_pages: Option<u64>,
    /// Whether it is under memory pressure; global.
    pub pressure: MemoryPressure,
    /// Most bytes of headers that it puts in front of a payload.
    pub max_header_bytes: u64,
    /// The module that it is in: `kernel` if built in.
    pub module: String,
}

/// Whether a protocol is under memory pressure: above the second number of its limits and not yet back
/// under the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryPressure {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// The protocol has no such state.
    NotImplemented,
}

impl Protocols {
    /// Parses the file of a kernel since 6.0; memory is as it is printed.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut lines = text(bytes)?.lines();
        let head = lines.next()?;
        let known = ["protocol", "size", "sockets", "memory", "press", "maxhdr", "slab", "module"];
        if !head.split_ascii_whitespace().zip(known).all(|(word, known)| word == known) {
            return None;
        }
        let rows = lines.filter(|line| !line.trim().is_empty()).map(Protocol::parse);
        Some(Self { rows: rows.collect::<Option<_>>()? })
    }

    /// Reads it for the calling thread's network namespace.
    ///
    /// # Errors
    /// The file is not there, or is not understood.
    pub fn read(root: &Root) -> Reading<Self> {
        let mut printed = read_with(&root.net("protocols"), Self::parse)?;
        let pages = memory_pages(root);
        for row in &mut printed.rows {
            row.memory_pages = row.memory_pages.map(&pages);
        }
        Ok(printed)
    }

    /// The row of a protocol.
    pub fn named(&self, name: &str) -> Option<&Protocol> {
        self.rows.iter().find(|row| row.name == name)
    }
}

impl Protocol {
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [name, size, sockets, memory, press, max_header, _slab, module, ..] = words[..] else {
            return None;
        };
        let memory_pages = match memory {
            "-1" => None,
            pages => Some(pages.parse().ok()?),
        };
        let pressure = match press {
            "yes" => MemoryPressure::Yes,
            "no" => MemoryPressure::No,
            "NI" => MemoryPressure::NotImplemented,
            _ => return None,
        };
        Some(Self {
            name: name.to_owned(),
            socket_bytes: size.parse().ok()?,
            sockets: sockets.parse().ok()?,
            memory_pages,
            pressure,
            max_header_bytes: max_header.parse().ok()?,
            module: module.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "protocol  size sockets  memory press maxhdr  slab module     cl co\n\
        PACKET    1600      2      -1   NI       0   no   kernel      n  n\n\
        UNIX-STREAM 1152      2      -1   NI       0   yes  kernel      y  n\n\
        UDP       1344      3       8   NI       0   yes  kernel      y  y\n\
        TCP       2304      1      61   yes    192   yes  kernel      y  y\n";

    #[test]
    fn not_accounted_and_no_pressure_state_are_told_apart_from_zero_and_no() {
        let protocols = Protocols::parse(PRINTED.as_bytes()).unwrap();
        let of = |name| protocols.named(name).map(|row| (row.memory_pages, row.pressure)).unwrap();
        assert_eq!(of("PACKET"), (None, MemoryPressure::NotImplemented));
        assert_eq!(of("UDP"), (Some(8), MemoryPressure::NotImplemented));
        assert_eq!(of("TCP"), (Some(61), MemoryPressure::Yes));
        assert_eq!(protocols.named("UNIX-STREAM").unwrap().socket_bytes, 1152);
        assert_eq!(protocols.named("TCP").unwrap().max_header_bytes, 192);
    }

    #[test]
    fn a_form_that_is_not_known_is_refused() {
        for (from, to) in [("memory", "bytes"), ("yes    192", "maybe  192"), ("2304", "x")] {
            assert_eq!(Protocols::parse(PRINTED.replace(from, to).as_bytes()), None, "{from}");
        }
        assert_eq!(Protocols::parse(b""), None);
        assert_eq!(Protocols::parse(b"protocol size\nTCP 1\n"), None);
    }
}
