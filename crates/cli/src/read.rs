//! `netmem read`: the packets of a capture file, one a line.
//!
//! Reads pcap and pcapng ([`crate::capture_file`]) packet by packet, from a file or from a pipe, and
//! prints what [`netmem_wire::dissect`] says of each: its one line, or with `--json` all fields of all
//! layers. The summary goes to standard error.
//!
//! A filter sees Ethernet frames. A packet of a link type without Ethernet header (raw IP, Linux cooked,
//! loopback) is given one for it, with addresses of zero and the type of its network header; one whose
//! link type is not dissected never matches.
//!
//! Exit codes: 0 the whole file was read, or as much of it as was wanted; 1 it is damaged or cut behind
//! its header; 3 it cannot be read, or is no capture.

pub mod layers;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    fmt,
    io::{self, BufWriter, Write},
    path::Path,
};

use netmem_wire::{
    dissect::{Dissection, Link, LinkType, Stop as End, dissect},
    filter::{Expr, Fields, ParseError},
};
use serde::Serialize;

use crate::{
    Failure, Outcome,
    args::ReadArgs,
    capture_file::{CaptureError, CaptureFile, Cause, Record, Timestamp},
    stop::Stop,
};
use layers::{Layer, layers};

/// One packet, as `--json` prints it.
#[derive(Debug, Clone, Serialize)]
pub struct Packet {
    /// Counted from 1, those that do not match included.
    pub number: u64,
    /// When it was captured, in UTC.
    pub time: String,
    /// LINKTYPE number.
    pub link_type: u32,
    /// Its length on the wire.
    pub original_len_bytes: u32,
    /// How much of it was captured.
    pub captured_len_bytes: usize,
    /// The one line.
    pub summary: String,
    /// All headers, from the outside in.
    pub layers: Vec<Layer>,
    /// Length of what is behind the innermost header.
    pub payload_len_bytes: usize,
    /// What is malformed or cut off, if something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What was read.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    read: u64,
    matched: u64,
    other_link_types: u64,
    malformed: u64,
}

/// Runs the command until the file ends, its reader goes or a signal stops it.
///
/// # Errors
/// When the file cannot be read, the filter does not parse, or the output takes no more.
pub fn run(
    args: &ReadArgs,
    out: &mut dyn Write,
    notes: &mut dyn Write,
) -> Result<Outcome, Failure> {
    let filter = parse_filter(&args.filter)?;
    let stop = Stop::by_signal()?;
    let file = CaptureFile::open(&args.file, &stop);
    let mut file = file.map_err(|error| unreadable(&args.file, &error))?;
    let mut out = BufWriter::with_capacity(64 << 10, out);
    let mut counts = Counts::default();
    // Who waits at the other end of a pipe sees each packet when it comes.
    let is_live = args.file.as_os_str() == "-";
    let ended = loop {
        match file.next_record() {
            // A stopped pipe ends as if it were cut.
            _ if stop.is_set() => break None,
            Ok(None) => break None,
            Err(error) => break Some(error),
            Ok(Some(record)) => {
                counts
                    .take(&record, filter.as_ref(), args.json, &mut out)
                    .and_then(|()| if is_live { out.flush() } else { Ok(()) })
                    .map_err(Failure::output)?;
            }
        }
    };
    out.flush().map_err(Failure::output)?;
    let how = match (&ended, stop.is_set()) {
        (Some(error), _) => format!("stopped: {error}"),
        (None, true) => format!("interrupted at byte {}", file.offset_bytes()),
        (None, false) => "whole file".to_owned(),
    };
    writeln!(notes, "{counts}; {how}").map_err(Failure::output)?;
    match ended {
        None => Ok(Outcome::Done),
        Some(error) if matches!(error.cause, Cause::Io(_)) => Err(unreadable(&args.file, &error)),
        Some(_) => Ok(Outcome::Finding),
    }
}

/// The words of a filter as one expression; `None` when there are none.
fn parse_filter(words: &[String]) -> Result<Option<Expr>, Failure> {
    let text = words.join(" ");
    if text.trim().is_empty() {
        return Ok(None);
    }
    text.parse::<Expr>()
        .map(Some)
        .map_err(|error: ParseError| Failure::usage(format!("{error}\n{}", error.caret(&text))))
}

/// The source is missing, or what it holds cannot be read.
fn unreadable(path: &Path, error: &CaptureError) -> Failure {
    let name =
        if path.as_os_str() == "-" { "standard input".into() } else { path.display().to_string() };
    let failure = Failure::missing(format!("read {name}: {error}"));
    match error.hint() {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

impl Counts {
    fn take(
        &mut self,
        record: &Record<'_>,
        filter: Option<&Expr>,
        as_json: bool,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        self.read += 1;
        let link_type = u16::try_from(record.link_type)
            .map_or(LinkType::Other(u16::MAX), LinkType::from_linktype);
        let level = dissect(link_type, record.bytes);
        self.other_link_types += u64::from(!link_type.is_supported());
        self.malformed += u64::from(level.levels().any(|level| level.error().is_some()));
        if !filter.is_none_or(|filter| matches(filter, &level)) {
            return Ok(());
        }
        self.matched += 1;
        if as_json {
            serde_json::to_writer(&mut *out, &Packet::new(self.read, record, &level))?;
            return writeln!(out);
        }
        let time = Utc(record.timestamp);
        match link_type.is_supported() {
            true => writeln!(out, "{time} {level}"),
            false => {
                let (kind, len) = (record.link_type, record.bytes.len());
                writeln!(out, "{time} link type {kind} is not dissected, length {len}")
            }
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} packets read, {} matched", self.read, self.matched)?;
        if self.other_link_types > 0 {
            write!(f, ", {} of link types that are not dissected", self.other_link_types)?;
        }
        if self.malformed > 0 {
            write!(f, ", {} malformed or cut", self.malformed)?;
        }
        Ok(())
    }
}

impl Packet {
    /// A packet with its layers.
    #[must_use]
    pub fn new(number: u64, record: &Record<'_>, outermost: &Dissection<'_>) -> Self {
        let innermost = outermost.levels().last().unwrap_or(*outermost);
        Self {
            number,
            time: format!("{}", Utc(record.timestamp)),
            link_type: record.link_type,
            original_len_bytes: record.original_len_bytes,
            captured_len_bytes: record.bytes.len(),
            summary: outermost.to_string(),
            layers: layers(outermost),
            payload_len_bytes: innermost.payload().len(),
            error: innermost.error().map(|error| error.to_string()),
        }
    }
}

/// Whether a filter takes a packet; see the module's head for those without Ethernet header.
fn matches(filter: &Expr, level: &Dissection<'_>) -> bool {
    let frame: Cow<'_, [u8]> = match (level.link(), level.ether_type(), level.stop()) {
        (Link::Ethernet, ..) => level.frame().into(),
        (_, _, End::LinkType(_)) | (_, None, _) => return false,
        // Type and tags as they came.
        (Link::Sll, ..) => [&[0; 12], &level.frame()[14..]].concat().into(),
        (Link::Sll2, ..) => [&[0; 12], &level.frame()[..2], &level.frame()[20..]].concat().into(),
        (_, Some(ether_type), _) => {
            let network = level.frame().get(level.network_offset_bytes()..).unwrap_or_default();
            [&[0; 12], ether_type.to_be_bytes().as_slice(), network].concat().into()
        }
    };
    filter.matches(&Fields::parse(&frame))
}

/// A time as RFC 3339 spells it, in UTC.
struct Utc(Timestamp);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY: i64 = 86_400;
        let Timestamp { seconds, nanoseconds } = self.0;
        let (year, month, day) = date(seconds.div_euclid(DAY));
        let of_day = seconds.rem_euclid(DAY);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        write!(f, ".{nanoseconds:09}Z")
    }
}

/// Year, month and day of a number of days since 1970, in the Gregorian calendar.
fn date(days: i64) -> (i64, i64, i64) {
    const DAYS_IN_400_YEARS: i64 = 146_097;
    const TO_MARCH_OF_YEAR_0: i64 = 719_468;
    // Years begin in March here, so that a leap day is the last of its year.
    let days = days + TO_MARCH_OF_YEAR_0;
    let (era, day) = (days.div_euclid(DAYS_IN_400_YEARS), days.rem_euclid(DAYS_IN_400_YEARS));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day_of_month)
}
