//! Multicast listener discovery, versions 1 (RFC 2710) and 2 (RFC 3810).
//!
//! ```text
//!  bytes 0     1     2         4                       6           8                24
//!  130   | type| code| checksum| maximum response 16   | reserved  | group, or ::   |    query
//!  131   |                     | 0                     | 0         | group          |    report
//!  132   |                     | 0                     | 0         | group          |    done
//!  130   24: reserved 4 | S | QRV 3 | QQIC 8 | number of sources 16 | sources      query, v2
//!  143   |                     | reserved 16           | records 16| records          report, v2
//!
//!  record   | type 8 | aux length / 4, 8 | number of sources 16 | group | sources | aux
//! ```
//!
//! A query of 24 bytes is of version 1, one of 28 or more of version 2. The views begin with the
//! type; code and checksum belong to [`Icmpv6`](crate::Icmpv6) over the same bytes. Reports go with
//! hop limit 1 and a router alert option.
//!
//! ```
//! use netmem_wire::icmpv6::mld::{MldReportV2, Record, record_type};
//!
//! let group = "ff02::fb".parse().unwrap();
//! let record = Record { record_type: record_type::TO_EXCLUDE, group, sources: &[], aux: &[] };
//! let mut message = [0; 28];
//! record.emit(&mut message[8..])?;
//! MldReportV2::emit(&mut message, 1)?;
//!
//! let view = MldReportV2::new_checked(&message)?;
//! assert_eq!(view.records().next(), Some(Ok(record)));
//! # Ok::<(), netmem_wire::Error>(())
//! ```

use core::net::Ipv6Addr;

use super::icmp_type;
use crate::{Error, Layer, be16, bytes, set_be16};

const LAYER: Layer = Layer::Icmpv6;

/// What a record says of its sources (RFC 3810 section 5.2.12).
pub mod record_type {
    /// Listens to these sources only, as before.
    pub const IS_INCLUDE: u8 = 1;
    /// Listens to all but these sources, as before.
    pub const IS_EXCLUDE: u8 = 2;
    /// Listens to these sources only from now on.
    pub const TO_INCLUDE: u8 = 3;
    /// Listens to all but these sources from now on.
    pub const TO_EXCLUDE: u8 = 4;
    /// Listens to these sources too.
    pub const ALLOW_NEW: u8 = 5;
    /// Listens to these sources no more.
    pub const BLOCK_OLD: u8 = 6;
}

/// A view of a message of version 1, or of what a query of version 2 shares with it.
#[derive(Clone, Copy, Debug)]
pub struct Mld<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Mld<T> {
    /// Bytes of a message of version 1.
    pub const LEN_BYTES: usize = 24;

    /// Checks the type and that 24 bytes are there. No setter voids the check.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] for a type other than query, report and done.
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        let message = buffer.as_ref();
        Error::check_header(LAYER, Self::LEN_BYTES, message.len())?;
        let known = icmp_type::MULTICAST_LISTENER_QUERY..=icmp_type::MULTICAST_LISTENER_DONE;
        Error::check_field(LAYER, 0, "type", known.contains(&message[0]))?;
        Ok(Self { buffer })
    }

    /// Reads the type: query, report or done; see [`icmp_type`].
    #[inline]
    pub fn icmp_type(&self) -> u8 {
        self.header()[0]
    }

    /// Reads the maximum response code of a query.
    #[inline]
    pub fn max_response_code(&self) -> u16 {
        be16(self.header(), 4)
    }

    /// Computes how long a listener may take to answer: the code itself in version 1; in version 2
    /// codes above 32767 are floating point, up to 8387584 ms (RFC 3810 section 5.1.3).
    pub fn max_response_ms(&self) -> u32 {
        let code = u32::from(self.max_response_code());
        if self.buffer.as_ref().len() < MldQueryV2::<T>::HEADER_LEN_BYTES || code < 0x8000 {
            return code;
        }
        (code & 0x0fff | 0x1000) << ((code >> 12 & 7) + 3)
    }

    /// Reads the group; unspecified in a general query.
    #[inline]
    pub fn group(&self) -> Ipv6Addr {
        Ipv6Addr::from(bytes::<16>(self.header(), 8))
    }

    /// Gives the buffer back.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    fn header(&self) -> &[u8; 24] {
        self.buffer.as_ref().first_chunk().expect("new_checked saw 24 bytes")
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Mld<T> {
    /// Writes the maximum response code of a query.
    #[inline]
    pub fn set_max_response_code(&mut self, code: u16) {
        set_be16(self.header_mut(), 4, code);
    }

    /// Writes the group.
    #[inline]
    pub fn set_group(&mut self, group: Ipv6Addr) {
        self.header_mut()[8..24].copy_from_slice(&group.octets());
    }

    fn header_mut(&mut self) -> &mut [u8; 24] {
        self.buffer.as_mut().first_chunk_mut().expect("new_checked saw 24 bytes")
    }
}

/// A message of version 1 as plain values; the checksum is computed by
/// [`Icmpv6::fill_checksum`](crate::Icmpv6::fill_checksum).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MldRepr {
    /// Query, report or done; see [`icmp_type`].
    pub icmp_type: u8,
    /// Maximum response code; zero but in a query.
    pub max_response_code: u16,
    /// The group; unspecified in a general query.
    pub group: Ipv6Addr,
}

impl MldRepr {
    /// Reads all fields; the checksum is not looked at.
    pub fn parse<T: AsRef<[u8]>>(view: &Mld<T>) -> Self {
        Self {
            icmp_type: view.icmp_type(),
            max_response_code: view.max_response_code(),
            group: view.group(),
        }
    }

    /// Writes the first 24 bytes of `message`, with a checksum of zero.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] for a type other than query, report and done.
    pub fn emit<'b>(&self, message: &'b mut [u8]) -> Result<Mld<&'b mut [u8]>, Error> {
        Error::check_header(LAYER, 24, message.len())?;
        message[..24].fill(0);
        message[0] = self.icmp_type;
        let mut view = Mld::new_checked(message)?;
        view.set_max_response_code(self.max_response_code);
        view.set_group(self.group);
        Ok(view)
    }
}

/// A view of a query of version 2; its first 24 bytes are those of [`Mld`].
#[derive(Clone, Copy, Debug)]
pub struct MldQueryV2<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> MldQueryV2<T> {
    /// Bytes in front of the sources.
    pub const HEADER_LEN_BYTES: usize = 28;

    /// Checks the type and that all sources are there.
    /// [`set_source_count`](Self::set_source_count) voids the check: afterwards sources are cut to
    /// what the buffer has.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] for another type; [`Error::Truncated`] for more sources
    /// than bytes.
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        let available_bytes = buffer.as_ref().len();
        Error::check_header(LAYER, Self::HEADER_LEN_BYTES, available_bytes)?;
        let view = Self { buffer };
        let query = view.header()[0] == icmp_type::MULTICAST_LISTENER_QUERY;
        Error::check_field(LAYER, 0, "type", query)?;
        let needed_bytes = Self::HEADER_LEN_BYTES + 16 * usize::from(view.source_count());
        Error::check_len(LAYER, 26, needed_bytes, available_bytes)?;
        Ok(view)
    }

    /// Tells whether routers are not to update their timers (S).
    #[inline]
    pub fn suppress(&self) -> bool {
        self.header()[24] & 8 != 0
    }

    /// Reads the querier's robustness variable, 0 to 7.
    #[inline]
    pub fn robustness(&self) -> u8 {
        self.header()[24] & 7
    }

    /// Reads the querier's query interval code.
    #[inline]
    pub fn query_interval_code(&self) -> u8 {
        self.header()[25]
    }

    /// Computes the querier's query interval in seconds, up to 31744 (section 5.1.9).
    #[inline]
    pub fn query_interval_s(&self) -> u32 {
        crate::igmp::decode_u8(self.query_interval_code())
    }

    /// Reads the number of sources.
    #[inline]
    pub fn source_count(&self) -> u16 {
        be16(self.header(), 26)
    }

    /// Lends the sources.
    pub fn sources(&self) -> &[[u8; 16]] {
        let sources = self.buffer.as_ref()[Self::HEADER_LEN_BYTES..].as_chunks().0;
        &sources[..sources.len().min(self.source_count().into())]
    }

    /// Gives the buffer back.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    fn header(&self) -> &[u8; 28] {
        self.buffer.as_ref().first_chunk().expect("new_checked saw the whole header")
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> MldQueryV2<T> {
    /// Writes whether routers are not to update their timers.
    #[inline]
    pub fn set_suppress(&mut self, suppress: bool) {
        let header = self.header_mut();
        header[24] = header[24] & !8 | u8::from(suppress) << 3;
    }

    /// Writes the querier's robustness variable: the low 3 bits of `robustness`.
    #[inline]
    pub fn set_robustness(&mut self, robustness: u8) {
        let header = self.header_mut();
        header[24] = header[24] & !7 | robustness & 7;
    }

    /// Writes the querier's query interval code.
    #[inline]
    pub fn set_query_interval_code(&mut self, code: u8) {
        self.header_mut()[25] = code;
    }

    /// Writes the number of sources. Voids the check.
    #[inline]
    pub fn set_source_count(&mut self, count: u16) {
        set_be16(self.header_mut(), 26, count);
    }

    /// Lends the sources for writing.
    pub fn sources_mut(&mut self) -> &mut [[u8; 16]] {
        let count = self.sources().len();
        &mut self.buffer.as_mut()[Self::HEADER_LEN_BYTES..].as_chunks_mut().0[..count]
    }

    fn header_mut(&mut self) -> &mut [u8; 28] {
        self.buffer.as_mut().first_chunk_mut().expect("new_checked saw the whole header")
    }
}

/// A view of a report of version 2.
#[derive(Clone, Copy, Debug)]
pub struct MldReportV2<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> MldReportV2<T> {
    /// Checks type and header; [`Records`] checks the records. No setter voids the check.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] for another type.
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        let message = buffer.as_ref();
        Error::check_header(LAYER, 8, message.len())?;
        let report = message[0] == icmp_type::MULTICAST_LISTENER_REPORT_V2;
        Error::check_field(LAYER, 0, "type", report)?;
        Ok(Self { buffer })
    }

    /// Reads the number of records.
    #[inline]
    pub fn record_count(&self) -> u16 {
        let header: &[u8; 8] = self.buffer.as_ref().first_chunk().expect("new_checked saw it");
        be16(header, 6)
    }

    /// Goes through the records.
    pub fn records(&self) -> Records<'_> {
        Records { bytes: &self.buffer.as_ref()[8..], left: self.record_count(), at_bytes: 8 }
    }

    /// Gives the buffer back.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> MldReportV2<T> {
    /// Writes the number of records.
    #[inline]
    pub fn set_record_count(&mut self, count: u16) {
        self.buffer.as_mut()[6..8].copy_from_slice(&count.to_be_bytes());
    }
}

impl<'b> MldReportV2<&'b mut [u8]> {
    /// Writes the 8 bytes in front of `record_count` records that are in `message` already, with a
    /// checksum of zero.
    ///
    /// # Errors
    /// [`Error::Short`].
    pub fn emit(message: &'b mut [u8], record_count: u16) -> Result<Self, Error> {
        Error::check_header(LAYER, 8, message.len())?;
        message[..8].fill(0);
        message[0] = icmp_type::MULTICAST_LISTENER_REPORT_V2;
        let mut view = Self { buffer: message };
        view.set_record_count(record_count);
        Ok(view)
    }
}

/// One record of a report of version 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record<'a> {
    /// What is said; see [`record_type`].
    pub record_type: u8,
    /// The group it is said of.
    pub group: Ipv6Addr,
    /// The sources, up to 65535.
    pub sources: &'a [[u8; 16]],
    /// Auxiliary data, up to 255 times 4 bytes; none are defined.
    pub aux: &'a [[u8; 4]],
}

impl Record<'_> {
    /// Computes how many bytes [`emit`](Self::emit) writes.
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        20 + self.sources.as_flattened().len() + self.aux.as_flattened().len()
    }

    /// Writes the record at the start of `buffer` and returns how many bytes it took.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] for too many sources or auxiliary data.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let refused = |offset_bytes, field| Error::Field { layer: LAYER, offset_bytes, field };
        let aux = u8::try_from(self.aux.len()).map_err(|_| refused(1, "auxiliary data length"))?;
        let count =
            u16::try_from(self.sources.len()).map_err(|_| refused(2, "number of sources"))?;
        let len_bytes = self.len_bytes();
        Error::check_header(LAYER, len_bytes, buffer.len())?;
        let sources_end = len_bytes - self.aux.as_flattened().len();
        (buffer[0], buffer[1]) = (self.record_type, aux);
        buffer[2..4].copy_from_slice(&count.to_be_bytes());
        buffer[4..20].copy_from_slice(&self.group.octets());
        buffer[20..sources_end].copy_from_slice(self.sources.as_flattened());
        buffer[sources_end..len_bytes].copy_from_slice(self.aux.as_flattened());
        Ok(len_bytes)
    }
}

/// Goes through the records of a report; ends after the last, or with an error if one is cut.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    left: u16,
    at_bytes: usize,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (rest, at_bytes) = (self.bytes, self.at_bytes);
        let needed_bytes = match rest.first_chunk::<4>() {
            Some(head) => 20 + 16 * usize::from(be16(head, 2)) + 4 * usize::from(head[1]),
            None => 20,
        };
        if let Err(error) = Error::check_len(LAYER, at_bytes, needed_bytes, rest.len()) {
            self.left = 0;
            return Some(Err(error));
        }
        let (record, after) = rest.split_at(needed_bytes);
        (self.bytes, self.at_bytes) = (after, at_bytes + needed_bytes);
        let (sources, aux) = record[20..].split_at(needed_bytes - 20 - 4 * usize::from(record[1]));
        Some(Ok(Record {
            record_type: record[0],
            group: Ipv6Addr::from(bytes::<16>(record, 4)),
            sources: sources.as_chunks().0,
            aux: aux.as_chunks().0,
        }))
    }
}

#[cfg(test)]
mod tests;
