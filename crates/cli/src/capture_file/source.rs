//! The bytes of a file in order, counted.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    os::fd::AsFd,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::error::{CaptureError, Cause};
use crate::stop::Stop;

/// How long a pipe is waited for before the request to stop is looked at.
const NAP_MILLIS: u16 = 100;

/// A file that ends when the request to stop comes, also while nothing arrives.
#[derive(Debug)]
pub(super) struct Interruptible {
    file: File,
    stop: Stop,
}

impl Interruptible {
    pub(super) fn new(file: File, stop: Stop) -> Self {
        Self { file, stop }
    }
}

impl Read for Interruptible {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.stop.is_set() {
                return Ok(0);
            }
            let mut wanted = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            match poll(&mut wanted, PollTimeout::from(NAP_MILLIS)) {
                Ok(0) | Err(nix::errno::Errno::EINTR) => {}
                // Whatever else poll says, reading says it better.
                _ => return self.file.read(bytes),
            }
        }
    }
}

/// Counts what it reads.
#[derive(Debug)]
pub(super) struct Source<R> {
    reader: BufReader<R>,
    offset_bytes: u64,
}

/// A part of the file that is being read, for errors about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) name: &'static str,
    /// Where it begins.
    pub(super) offset_bytes: u64,
    /// How long it is, or at least.
    pub(super) needed_bytes: u64,
}

impl Part {
    /// The error that this part says `what`.
    pub(super) fn damaged(self, what: impl Into<String>) -> CaptureError {
        let cause = Cause::Damaged { part: self.name, what: what.into() };
        CaptureError { offset_bytes: self.offset_bytes, cause }
    }

    /// The error that the file ends at `end_bytes`, inside this part.
    pub(super) fn cut(self, end_bytes: u64) -> CaptureError {
        let available_bytes = end_bytes.saturating_sub(self.offset_bytes);
        let (part, needed_bytes) = (self.name, self.needed_bytes);
        let cause = Cause::Cut { part, needed_bytes, available_bytes };
        CaptureError { offset_bytes: self.offset_bytes, cause }
    }
}

impl<R: Read> Source<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader: BufReader::with_capacity(64 << 10, reader), offset_bytes: 0 }
    }

    /// How many bytes were read.
    pub(super) fn offset_bytes(&self) -> u64 {
        self.offset_bytes
    }

    /// Fills `bytes` as far as the file goes; returns how far that was.
    pub(super) fn read_up_to(&mut self, bytes: &mut [u8]) -> Result<usize, CaptureError> {
        let mut got = 0;
        while got < bytes.len() {
            match self.reader.read(&mut bytes[got..]) {
                Ok(0) => break,
                Ok(count) => {
                    got += count;
                    self.offset_bytes += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(got)
    }

    /// Fills `bytes`, which are of `part`.
    pub(super) fn read(&mut self, bytes: &mut [u8], part: Part) -> Result<(), CaptureError> {
        match self.read_up_to(bytes)? == bytes.len() {
            true => Ok(()),
            false => Err(part.cut(self.offset_bytes)),
        }
    }

    /// Replaces what is in `bytes` by the next `count`. The buffer grows with what arrives.
    pub(super) fn read_into(
        &mut self,
        bytes: &mut Vec<u8>,
        count: u32,
        part: Part,
    ) -> Result<(), CaptureError> {
        bytes.clear();
        let read = self.reader.by_ref().take(count.into()).read_to_end(bytes);
        self.offset_bytes += bytes.len() as u64;
        read.map_err(|error| self.failed(error))?;
        match bytes.len() as u64 == u64::from(count) {
            true => Ok(()),
            false => Err(part.cut(self.offset_bytes)),
        }
    }

    /// Passes over `count` bytes of `part` without keeping them.
    pub(super) fn skip(&mut self, count: u64, part: Part) -> Result<(), CaptureError> {
        let skipped = io::copy(&mut self.reader.by_ref().take(count), &mut io::sink());
        let skipped = skipped.map_err(|error| self.failed(error))?;
        self.offset_bytes += skipped;
        if skipped == count { Ok(()) } else { Err(part.cut(self.offset_bytes)) }
    }

    fn failed(&self, error: io::Error) -> CaptureError {
        CaptureError { offset_bytes: self.offset_bytes, cause: Cause::Io(error) }
    }
}
