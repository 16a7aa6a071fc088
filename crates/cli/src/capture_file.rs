//! Capture files, read record by record: pcap and pcapng, from a file or a pipe.
//!
//! ```text
//!  pcap    | magic version zone snaplen link 24 | record 16 + bytes | record 16 + bytes | ..
//!  pcapng  | section | interface | interface | packet | packet | statistics | section | ..
//!            each block: type 4, length 4, body, length 4
//! ```
//!
//! pcap: draft-ietf-opsawg-pcap, pcapng: draft-ietf-opsawg-pcapng. Both byte orders, micro- and
//! nanoseconds, the swapped lengths of old pcap versions; for pcapng any number of sections and
//! interfaces, `if_tsresol`, `if_tsoffset`, enhanced, simple and obsolete packet blocks. Other blocks
//! are passed over without being kept.
//!
//! A reader holds one record at a time, in a buffer that is used again. A record is as long as
//! its bytes are really there: a length is checked against [`limit_bytes`] first, and the buffer grows
//! with what arrives, not with what is claimed. Everything before a damaged record is delivered; the
//! error then says at which byte of the file it begins.
//!
//! Why not a crate, tried on tcpdump's 414 regression files and 24,840 damaged copies of them:
//! pcap-file 3.0.0-rc.3 refuses 16 of the files (bytes beyond the snap length). pcap-parser 0.17.0 reads all and never panicked. But it wants each block in
//! memory at once, and a packet that claims more than its block makes it read on to the end of the file
//! instead of saying so; a pipe whose first read is short is refused as no capture; and its errors
//! name neither a place nor a length nor the system's cause.
//!
//! Not read: the "modified" pcap of 1990s Linux patches (magic 0xa1b2cd34), compressed files. Both are
//! refused by name.

mod error;
mod pcap;
mod pcapng;
mod source;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use crate::stop::Stop;
pub use error::{CaptureError, Cause};
use source::{Interruptible, Source};

/// Longest record that is taken, in bytes, by LINKTYPE number: libpcap's and Wireshark's own limits.
#[must_use]
pub const fn limit_bytes(link_type: u32) -> u32 {
    match link_type {
        // D-Bus, and USB in its three forms: messages of up to 128 MiB.
        189 | 220 | 231 | 249 => 128 << 20,
        // Elektrobit's high-speed recorder.
        279 => 8 << 20,
        _ => 256 << 10,
    }
}

/// When a packet was seen: since 1970, as the capturing machine's clock had it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Whole seconds.
    pub seconds: i64,
    /// The rest, below 10^9.
    pub nanoseconds: u32,
}

/// One captured packet; its bytes are the reader's until the next is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'b> {
    /// When; zero for a simple packet block, which has no time.
    pub timestamp: Timestamp,
    /// LINKTYPE number of this packet.
    pub link_type: u32,
    /// Length of the packet on the wire.
    pub original_len_bytes: u32,
    /// What was captured of it.
    pub bytes: &'b [u8],
    /// Where the record begins in the file.
    pub offset_bytes: u64,
}

/// What a format's reader says of a record whose bytes are in the buffer.
#[derive(Debug, Clone, Copy)]
struct Head {
    timestamp: Timestamp,
    link_type: u32,
    original_len_bytes: u32,
    offset_bytes: u64,
}

/// A capture file that is being read.
#[derive(Debug)]
pub struct CaptureFile<R> {
    source: Source<R>,
    format: Format,
    bytes: Vec<u8>,
    /// After an error there is nothing more to read: where the next record begins is not known.
    ended: bool,
}

#[derive(Debug)]
enum Format {
    Pcap(pcap::Pcap),
    Pcapng(pcapng::Pcapng),
}

impl CaptureFile<Box<dyn Read>> {
    /// Opens a file, or standard input for `-`. With `stop` set, a pipe that waits for data ends.
    ///
    /// # Errors
    /// When it cannot be read or is no capture.
    pub(crate) fn open(path: &Path, stop: &Stop) -> Result<Self, CaptureError> {
        let at_start = |cause| CaptureError { offset_bytes: 0, cause };
        let file = if path.as_os_str() == "-" {
            File::from(standard_input().map_err(|error| at_start(Cause::Io(error)))?)
        } else {
            File::open(path).map_err(|error| at_start(Cause::Io(error)))?
        };
        Self::new(Box::new(Interruptible::new(file, stop.clone())))
    }
}

/// Standard input as a file of its own, so that it is polled and read by the same descriptor.
fn standard_input() -> io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::AsFd;
    io::stdin().as_fd().try_clone_to_owned()
}

impl<R: Read> CaptureFile<R> {
    /// Starts to read `source`, whose first bytes say which format it is.
    ///
    /// # Errors
    /// When it cannot be read or is no capture.
    pub fn new(source: R) -> Result<Self, CaptureError> {
        let mut source = Source::new(source);
        let mut magic = [0; 4];
        let got = source.read_up_to(&mut magic)?;
        let fault = |cause| Err(CaptureError { offset_bytes: 0, cause });
        if got == 0 {
            return fault(Cause::Empty);
        }
        if got < magic.len() {
            return fault(Cause::NoCapture(Vec::from(&magic[..got])));
        }
        let format = if magic == pcapng::SECTION {
            Format::Pcapng(pcapng::Pcapng::start(&mut source)?)
        } else {
            Format::Pcap(pcap::Pcap::start(&mut source, magic)?)
        };
        Ok(Self { source, format, bytes: Vec::new(), ended: false })
    }

    /// Reads the next record; `None` at the end of the file, and after an error.
    ///
    /// # Errors
    /// When the file is damaged or cut here, or cannot be read on.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, CaptureError> {
        if self.ended {
            return Ok(None);
        }
        let next = match &mut self.format {
            Format::Pcap(pcap) => pcap.next_record(&mut self.source, &mut self.bytes),
            Format::Pcapng(pcapng) => pcapng.next_record(&mut self.source, &mut self.bytes),
        };
        self.ended = !matches!(next, Ok(Some(_)));
        let Some(head) = next? else { return Ok(None) };
        let Head { timestamp, link_type, original_len_bytes, offset_bytes } = head;
        let bytes = self.bytes.as_slice();
        Ok(Some(Record { timestamp, link_type, original_len_bytes, bytes, offset_bytes }))
    }

    /// How far the file was read, in bytes.
    #[must_use]
    pub fn offset_bytes(&self) -> u64 {
        self.source.offset_bytes()
    }
}

/// The byte order of a file or of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let word = [bytes[at], bytes[at + 1]];
        match self {
            Self::Little => u16::from_le_bytes(word),
            Self::Big => u16::from_be_bytes(word),
        }
    }

    fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let word = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        match self {
            Self::Little => u32::from_le_bytes(word),
            Self::Big => u32::from_be_bytes(word),
        }
    }

    fn u64(self, bytes: &[u8], at: usize) -> u64 {
        let (first, second) = (u64::from(self.u32(bytes, at)), u64::from(self.u32(bytes, at + 4)));
        match self {
            Self::Little => second << 32 | first,
            Self::Big => first << 32 | second,
        }
    }
}
