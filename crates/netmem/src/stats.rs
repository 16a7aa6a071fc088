//! How a process with netmem in it is seen from outside: a memfd named `netmem-stats`, in which its
//! workers publish what they have and did, and which anybody reads who may look into the process.
//!
//! ```text
//!   worker 0 --publish--> area 0 \                                     /proc/PID/fd/9 -> /memfd:netmem-stats (deleted)
//!   worker 1 --publish--> area 1  > memfd, sealed: nobody else writes <--- read_fd, of_process, all
//!   header, written once ------> /
//! ```
//!
//! No daemon, no socket, nothing on a disk: the page goes with the process, however it ends. The maker
//! maps the file and seals it then against every other writer, against a change of its size, and
//! against other seals (`F_SEAL_FUTURE_WRITE`, kernel 5.1). It is closed on exec and its mapping is
//! hidden from forked children.
//!
//! A [`Page`] is the process's, an [`Area`] one worker's, its only writer (**W2**). An area is a seqlock
//! (**Q1**, in `seqlock`): publishing waits for nobody, allocates nothing and makes no system call but
//! the clock's; a reader gets a state whole or says that it could not. Readers trust nothing (D6): a
//! page is somebody else's bytes.
//!
//! # Layout, version 1
//!
//! Words of 64 bits in the byte order of the machine. Header, at byte 0:
//!
//! ```text
//!   0 "netmem\0s"   1 0x0102030405060708   2 version   3 header bytes   4 bytes of an area   5 areas
//!   6 pid, in its own pid namespace   7 start, CLOCK_BOOTTIME ns   8 interval, ns   9..13 command, 32 bytes
//! ```
//!
//! The areas follow the header; word 0 of each is the sequence, 1 the number of words in use behind it,
//! then come the words that `record` shows. An area that was never given out is zeroes and no memory.
//!
//! ```
//! use std::time::Duration;
//! use netmem::stats::{Page, Snapshot, read_fd};
//!
//! # fn main() -> netmem::Result<()> {
//! let page = Page::create("example", Duration::from_millis(500))?;
//! let mut area = page.area()?;
//! area.publish(&Snapshot::of_this_thread());
//!
//! let read = read_fd(&page)?;
//! assert_eq!(read.command.to_string(), "example");
//! assert_eq!(read.areas[0].publishes, 1);
//! # Ok(())
//! # }
//! ```

mod reader;
mod record;
pub(crate) mod seqlock;
mod text;

use std::{
    ffi::CStr,
    os::fd::{AsFd, BorrowedFd},
    process,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub use self::{
    reader::{
        AreaReport, AreaState, Census, Found, PageReport, Standing, all, of_process, read_fd,
    },
    record::{
        PacketRecord, PoolRecord, PortRecord, RegionRecord, RingRecord, Snapshot, WorkerRecord,
    },
    text::{LongName, Name, Text},
};
use crate::{
    Error, Result,
    sync::{AtomicU64, Ordering, fence},
    sys::memfd::{Words, boottime_ns},
};

/// The name of the memfd: its link in `/proc/PID/fd` reads `/memfd:netmem-stats (deleted)`.
pub const NAME: &str = "netmem-stats";
/// How many areas a page has: workers that publish at the same time.
pub const AREAS: usize = 256;

const C_NAME: &CStr = c"netmem-stats";
const MAGIC: u64 = u64::from_ne_bytes(*b"netmem\0s");
const BYTE_ORDER: u64 = 0x0102_0304_0506_0708;
const VERSION: u64 = 1;
const WORD_BYTES: usize = size_of::<u64>();
const HEADER_BYTES: usize = 4096;
const HEADER_WORDS: usize = 13;
const AREA_BYTES: usize = 8192;
const AREA_WORDS: usize = AREA_BYTES / WORD_BYTES;
/// Words of an area in front of its records, behind the sequence and the number of words in use.
const FIXED_WORDS: usize = 4;

/// The process's page. Areas keep it: it is seen until the last of both is gone.
#[derive(Debug, Clone)]
pub struct Page(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    words: Words,
    given: Mutex<Given>,
}

/// Which areas have a worker (W2).
#[derive(Debug, Default)]
struct Given {
    never_used: usize,
    ended: Vec<usize>,
}

/// A worker's part of the page. `Send`: made by whoever starts the worker, and given to it.
#[derive(Debug)]
pub struct Area {
    page: Page,
    index: usize,
    publishes: u64,
}

impl Page {
    /// Makes the page of this process. `command` says what it does, in at most 32 bytes: `respond`.
    /// Each worker means to publish once per `interval`; one that has not for ten is shown as stale.
    ///
    /// # Errors
    /// When the kernel refuses the file, its mapping or its seals (before 5.1).
    pub fn create(command: &str, interval: Duration) -> Result<Self> {
        let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        let [w0, w1, w2, w3] = LongName::from(command).words();
        let header: [u64; HEADER_WORDS] = [
            MAGIC,
            BYTE_ORDER,
            VERSION,
            HEADER_BYTES as u64,
            AREA_BYTES as u64,
            AREAS as u64,
            process::id().into(),
            boottime_ns(),
            interval_ns,
            w0,
            w1,
            w2,
            w3,
        ];
        let write = |words: &[AtomicU64]| {
            for (word, value) in words.iter().zip(header) {
                word.store(value, Ordering::Relaxed);
            }
            // Pairs with the fence in `reader` behind its look at the seals, which are put on next.
            fence(Ordering::Release);
        };
        let words = Words::create(C_NAME, HEADER_BYTES + AREAS * AREA_BYTES, write)
            .map_err(|error| Error::os("make", format!("memfd {NAME}"), error))?;
        Ok(Self(Arc::new(Shared { words, given: Mutex::default() })))
    }

    /// Gives out an area and gets its memory.
    ///
    /// # Errors
    /// When all [`AREAS`] have a worker, or there is no memory.
    pub fn area(&self) -> Result<Area> {
        let target = || format!("memfd {NAME}");
        let mut given = self.0.given.lock().unwrap_or_else(PoisonError::into_inner);
        // One that was never used first: the last figures of a worker that ended stay to be seen.
        let index = if given.never_used < AREAS {
            given.never_used += 1;
            given.never_used - 1
        } else {
            let none = || format!("all {AREAS} areas have a worker");
            let ended = given.ended.pop();
            ended.ok_or_else(|| Error::refused("give out area of", target(), none()))?
        };
        let first = first_word(index);
        if let Err(error) = self.0.words.populate(first, AREA_WORDS) {
            given.ended.push(index);
            return Err(Error::os("get memory of", target(), error));
        }
        let area = Area { page: self.clone(), index, publishes: 0 };
        // Before the next is given out: a reader stops at the first area that was never written.
        area.store(AreaState::Live, &Snapshot::default());
        Ok(area)
    }
}

/// The descriptor, for [`read_fd`] and to give to others: it is no way to write.
impl AsFd for Page {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.words.as_fd()
    }
}

impl Area {
    /// Shows `snapshot` instead of what was shown before. Waits for nobody and allocates nothing;
    /// records that find no room are left out, the ports last, and counted.
    pub fn publish(&mut self, snapshot: &Snapshot) {
        self.publishes += 1;
        self.store(AreaState::Live, snapshot);
    }

    fn words(&self) -> &[AtomicU64] {
        &self.page.0.words.as_slice()[first_word(self.index)..][..AREA_WORDS]
    }

    fn store(&self, state: AreaState, snapshot: &Snapshot) {
        let publishes = self.publishes;
        let now_ns = boottime_ns();
        seqlock::write(self.words(), |words| {
            let (fixed, records) = words[1..].split_at(FIXED_WORDS);
            let (used, left_out) = record::encode(snapshot, records);
            let values = [state as u64, now_ns, publishes, left_out];
            for (word, value) in fixed.iter().zip(values) {
                word.store(value, Ordering::Relaxed);
            }
            words[0].store((FIXED_WORDS + used) as u64, Ordering::Relaxed);
        });
    }
}

/// Its last figures stay, marked as ended.
impl Drop for Area {
    fn drop(&mut self) {
        let ended = AreaState::Ended as u64;
        seqlock::write(self.words(), |words| words[1].store(ended, Ordering::Relaxed));
        let mut given = self.page.0.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.ended.push(self.index);
    }
}

fn first_word(area: usize) -> usize {
    (HEADER_BYTES + area * AREA_BYTES) / WORD_BYTES
}

#[cfg(test)]
mod tests;
