//! IGMP: who listens to which IPv4 group. Versions 1 (RFC 1112), 2 (RFC 2236), 3 (RFC 3376).
//!
//! ```text
//!  bytes 0      1                   2           4               8
//!  0x11  | type | max response code | checksum  | group, or 0   |                  query
//!  0x12, 0x16, 0x17                 |           | group         |    report, report v2, leave
//!  0x11  8: reserved 4 | S | QRV 3 | QQIC 8 | number of sources 16 | sources      query, v3
//!  0x22  | type | reserved          | checksum  | reserved 16 | records 16 | records   report, v3
//!
//!  record   | type 8 | aux length / 4, 8 | number of sources 16 | group | sources | aux
//! ```
//!
//! A query of 8 bytes is of version 1 if its maximum response code is 0, else of version 2; one of
//! 12 or more is of version 3. The checksum covers the message, which is the whole payload of IPv4:
//! give the views exactly that. Messages go with TTL 1, and with a router alert option.
//!
//! ```
//! use netmem_wire::igmp::{Igmp, IgmpRepr, igmp_type};
//!
//! let group = "239.1.2.3".parse().unwrap();
//! let repr = IgmpRepr { igmp_type: igmp_type::REPORT_V2, max_response_code: 0, group };
//! let mut message = [0; 8];
//! repr.emit(&mut message)?;
//! let view = Igmp::new_checked(&message)?;
//! assert!(view.verify_checksum());
//! assert_eq!(view.group(), group);
//! # Ok::<(), netmem_wire::Error>(())
//! ```

use core::net::Ipv4Addr;

use crate::{Error, Layer, be16, bytes, checksum, set_be16};

pub use crate::icmpv6::mld::record_type;

const LAYER: Layer = Layer::Igmp;

/// The message types.
pub mod igmp_type {
    /// Query, all versions.
    pub const QUERY: u8 = 0x11;
    /// Report, version 1.
    pub const REPORT_V1: u8 = 0x12;
    /// Report, version 2.
    pub const REPORT_V2: u8 = 0x16;
    /// Leave, version 2.
    pub const LEAVE: u8 = 0x17;
    /// Report, version 3.
    pub const REPORT_V3: u8 = 0x22;
}

/// Decodes a code of 8 bits: itself below 128, else floating point (RFC 3376 section 4.1.1).
pub(crate) fn decode_u8(code: u8) -> u32 {
    let code = u32::from(code);
    if code < 128 { code } else { (code & 0x0f | 0x10) << ((code >> 4 & 7) + 3) }
}

/// Computes and writes the checksum of a message of at least 8 bytes.
fn fill(message: &mut [u8]) {
    message[2..4].fill(0);
    let checksum = checksum::internet(message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
}

/// A view of a message of version 1 or 2, or of what messages of version 3 share with it.
#[derive(Clone, Copy, Debug)]
pub struct Igmp<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Igmp<T> {
    /// Bytes of a message of version 1 or 2.
    pub const LEN_BYTES: usize = 8;

    /// Checks that 8 bytes are there. No setter voids the check.
    ///
    /// # Errors
    /// [`Error::Short`].
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        Error::check_header(LAYER, Self::LEN_BYTES, buffer.as_ref().len())?;
        Ok(Self { buffer })
    }

    /// Reads the type; see [`igmp_type`].
    #[inline]
    pub fn igmp_type(&self) -> u8 {
        self.header()[0]
    }

    /// Reads the maximum response code of a query; 0 in version 1.
    #[inline]
    pub fn max_response_code(&self) -> u8 {
        self.header()[1]
    }

    /// Computes how long a listener may take to answer a query, in milliseconds: the code in
    /// tenths of a second, floating point in version 3, and 10 seconds in version 1.
    pub fn max_response_ms(&self) -> u32 {
        let code = self.max_response_code();
        let v3 = self.buffer.as_ref().len() >= IgmpQueryV3::<T>::HEADER_LEN_BYTES;
        match (v3, code) {
            (true, _) => decode_u8(code) * 100,
            (false, 0) => 10_000,
            (false, _) => u32::from(code) * 100,
        }
    }

    /// Reads the checksum as it stands.
    #[inline]
    pub fn checksum(&self) -> u16 {
        be16(self.header(), 2)
    }

    /// Reads the group; 0 in a general query.
    #[inline]
    pub fn group(&self) -> Ipv4Addr {
        Ipv4Addr::from(bytes::<4>(self.header(), 4))
    }

    /// Tells whether the message's checksum is right.
    #[inline]
    pub fn verify_checksum(&self) -> bool {
        checksum::verify(self.buffer.as_ref())
    }

    /// Gives the buffer back.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    fn header(&self) -> &[u8; 8] {
        self.buffer.as_ref().first_chunk().expect("new_checked saw 8 bytes")
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Igmp<T> {
    /// Writes the type; the checksum stays as it was.
    #[inline]
    pub fn set_igmp_type(&mut self, igmp_type: u8) {
        self.header_mut()[0] = igmp_type;
    }

    /// Writes the maximum response code; the checksum stays as it was.
    #[inline]
    pub fn set_max_response_code(&mut self, code: u8) {
        self.header_mut()[1] = code;
    }

    /// Writes a checksum computed elsewhere.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        set_be16(self.header_mut(), 2, checksum);
    }

    /// Writes the group; the checksum stays as it was.
    #[inline]
    pub fn set_group(&mut self, group: Ipv4Addr) {
        self.header_mut()[4..8].copy_from_slice(&group.octets());
    }

    /// Computes and writes the checksum over the whole message.
    #[inline]
    pub fn fill_checksum(&mut self) {
        fill(self.buffer.as_mut());
    }

    fn header_mut(&mut self) -> &mut [u8; 8] {
        self.buffer.as_mut().first_chunk_mut().expect("new_checked saw 8 bytes")
    }
}

/// A message of version 1 or 2 as plain values; the checksum is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IgmpRepr {
    /// Type; see [`igmp_type`].
    pub igmp_type: u8,
    /// Maximum response code, in tenths of a second; zero but in a query.
    pub max_response_code: u8,
    /// The group; 0 in a general query.
    pub group: Ipv4Addr,
}

impl IgmpRepr {
    /// Reads a message of 8 bytes whose checksum is right.
    ///
    /// # Errors
    /// [`Error::Field`] for a wrong checksum and for a longer message.
    pub fn parse<T: AsRef<[u8]>>(view: &Igmp<T>) -> Result<Self, Error> {
        Error::check_field(LAYER, 2, "checksum", view.verify_checksum())?;
        Error::check_field(LAYER, 8, "length", view.buffer.as_ref().len() == 8)?;
        Ok(Self {
            igmp_type: view.igmp_type(),
            max_response_code: view.max_response_code(),
            group: view.group(),
        })
    }

    /// Writes a message of 8 bytes at the start of `buffer`, checksum included, and returns the
    /// view of it.
    ///
    /// # Errors
    /// [`Error::Short`].
    pub fn emit<'b>(&self, buffer: &'b mut [u8]) -> Result<Igmp<&'b mut [u8]>, Error> {
        Error::check_header(LAYER, 8, buffer.len())?;
        let mut view = Igmp::new_checked(&mut buffer[..8])?;
        view.set_igmp_type(self.igmp_type);
        view.set_max_response_code(self.max_response_code);
        view.set_group(self.group);
        view.fill_checksum();
        Ok(view)
    }
}

/// A view of a query of version 3; its first 8 bytes are those of [`Igmp`].
#[derive(Clone, Copy, Debug)]
pub struct IgmpQueryV3<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> IgmpQueryV3<T> {
    /// Bytes in front of the sources.
    pub const HEADER_LEN_BYTES: usize = 12;

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
        let query = view.header()[0] == igmp_type::QUERY;
        Error::check_field(LAYER, 0, "type", query)?;
        let needed_bytes = Self::HEADER_LEN_BYTES + 4 * usize::from(view.source_count());
        Error::check_len(LAYER, 10, needed_bytes, available_bytes)?;
        Ok(view)
    }

    /// Tells whether routers are not to update their timers (S).
    #[inline]
    pub fn suppress(&self) -> bool {
        self.header()[8] & 8 != 0
    }

    /// Reads the querier's robustness variable, 0 to 7.
    #[inline]
    pub fn robustness(&self) -> u8 {
        self.header()[8] & 7
    }

    /// Reads the querier's query interval code.
    #[inline]
    pub fn query_interval_code(&self) -> u8 {
        self.header()[9]
    }

    /// Computes the querier's query interval in seconds, up to 31744 (RFC 3376 section 4.1.7).
    #[inline]
    pub fn query_interval_s(&self) -> u32 {
        decode_u8(self.query_interval_code())
    }

    /// Reads the number of sources.
    #[inline]
    pub fn source_count(&self) -> u16 {
        be16(self.header(), 10)
    }

    /// Lends the sources.
    pub fn sources(&self) -> &[[u8; 4]] {
        let sources = self.buffer.as_ref()[Self::HEADER_LEN_BYTES..].as_chunks().0;
        &sources[..sources.len().min(self.source_count().into())]
    }

    /// Gives the buffer back.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    fn header(&self) -> &[u8; 12] {
        self.buffer.as_ref().first_chunk().expect("new_checked saw the whole header")
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> IgmpQueryV3<T> {
    /// Writes whether routers are not to update their timers.
    #[inline]
    pub fn set_suppress(&mut self, suppress: bool) {
        let header = self.header_mut();
        header[8] = header[8] & !8 | u8::from(suppress) << 3;
    }

    /// Writes the querier's robustness variable: the low 3 bits of `robustness`.
    #[inline]
    pub fn set_robustness(&mut self, robustness: u8) {
        let header = self.header_mut();
        header[8] = header[8] & !7 | robustness & 7;
    }

    /// Writes the querier's query interval code.
    #[inline]
    pub fn set_query_interval_code(&mut self, code: u8) {
        self.header_mut()[9] = code;
    }

    /// Writes the number of sources. Voids the check.
    #[inline]
    pub fn set_source_count(&mut self, count: u16) {
        set_be16(self.header_mut(), 10, count);
    }

    /// Lends the sources for writing.
    pub fn sources_mut(&mut self) -> &mut [[u8; 4]] {
        let count = self.sources().len();
        &mut self.buffer.as_mut()[Self::HEADER_LEN_BYTES..].as_chunks_mut().0[..count]
    }

    fn header_mut(&mut self) -> &mut [u8; 12] {
        self.buffer.as_mut().first_chunk_mut().expect("new_checked saw the whole header")
    }
}

/// A view of a report of version 3.
#[derive(Clone, Copy, Debug)]
pub struct IgmpReportV3<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> IgmpReportV3<T> {
    /// Checks type and header; [`Records`] checks the records. No setter voids the check.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] for another type.
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        let message = buffer.as_ref();
        Error::check_header(LAYER, 8, message.len())?;
        let report = message[0] == igmp_type::REPORT_V3;
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

impl<T: AsRef<[u8]> + AsMut<[u8]>> IgmpReportV3<T> {
    /// Writes the number of records.
    #[inline]
    pub fn set_record_count(&mut self, count: u16) {
        self.buffer.as_mut()[6..8].copy_from_slice(&count.to_be_bytes());
    }
}

impl<'b> IgmpReportV3<&'b mut [u8]> {
    /// Writes the 8 bytes in front of `record_count` records that are in `message` already,
    /// checksum over all included. `message` is that and nothing more.
    ///
    /// # Errors
    /// [`Error::Short`].
    pub fn emit(message: &'b mut [u8], record_count: u16) -> Result<Self, Error> {
        Error::check_header(LAYER, 8, message.len())?;
        message[..8].fill(0);
        message[0] = igmp_type::REPORT_V3;
        let mut view = Self { buffer: message };
        view.set_record_count(record_count);
        fill(view.buffer);
        Ok(view)
    }
}

/// One record of a report of version 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record<'a> {
    /// What is said; see [`record_type`].
    pub record_type: u8,
    /// The group it is said of.
    pub group: Ipv4Addr,
    /// The sources, up to 65535.
    pub sources: &'a [[u8; 4]],
    /// Auxiliary data, up to 255 times 4 bytes; none are defined.
    pub aux: &'a [[u8; 4]],
}

impl Record<'_> {
    /// Computes how many bytes [`emit`](Self::emit) writes.
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        8 + self.sources.as_flattened().len() + self.aux.as_flattened().len()
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
        buffer[4..8].copy_from_slice(&self.group.octets());
        buffer[8..sources_end].copy_from_slice(self.sources.as_flattened());
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
            Some(head) => 8 + 4 * usize::from(be16(head, 2)) + 4 * usize::from(head[1]),
            None => 8,
        };
        if let Err(error) = Error::check_len(LAYER, at_bytes, needed_bytes, rest.len()) {
            self.left = 0;
            return Some(Err(error));
        }
        let (record, after) = rest.split_at(needed_bytes);
        (self.bytes, self.at_bytes) = (after, at_bytes + needed_bytes);
        let (sources, aux) = record[8..].split_at(needed_bytes - 8 - 4 * usize::from(record[1]));
        Some(Ok(Record {
            record_type: record[0],
            group: Ipv4Addr::from(bytes::<4>(record, 4)),
            sources: sources.as_chunks().0,
            aux: aux.as_chunks().0,
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_by_hand() {
        // A general query of version 2: 0x1164 complemented.
        let bytes = [0x11, 0x64, 0xee, 0x9b, 0, 0, 0, 0];
        let view = Igmp::new_checked(bytes).unwrap();
        assert!(view.verify_checksum());
        assert_eq!(view.max_response_ms(), 10_000);
        let query = [0x11, 0xff, 0, 0, 0, 0, 0, 0, 0x0a, 0x80, 0, 0];
        assert_eq!(Igmp::new_checked(&query[..]).unwrap().max_response_ms(), 3_174_400);
        assert_eq!(Igmp::new_checked(&query[..8]).unwrap().max_response_ms(), 25_500);
        assert!(Igmp::new_checked(&query[..7]).is_err());
        let mut view = IgmpQueryV3::new_checked(query).unwrap();
        assert_eq!((view.suppress(), view.robustness(), view.query_interval_s()), (true, 2, 128));
        view.set_source_count(9);
        assert!(view.sources().is_empty());
        assert!(matches!(
            IgmpQueryV3::new_checked(view.into_inner()),
            Err(Error::Truncated { .. })
        ));
        assert!(IgmpReportV3::new_checked(query).is_err());
    }

    proptest! {
        // Planted and caught: set_group from byte 3 on; set_query_interval_code writes S and QRV.
        #[test]
        fn a_setter_changes_its_field_only(
            mut bytes in vec(any::<u8>(), 12..40), i in 0_usize..7, value: u16, group: [u8; 4],
        ) {
            bytes[0] = igmp_type::QUERY;
            bytes[10..12].fill(0);
            let mut expected = bytes.clone();
            let [_, low] = value.to_be_bytes();
            if i < 4 {
                let mut view = Igmp::new_checked(bytes.as_mut_slice()).unwrap();
                match i {
                    0 => view.set_igmp_type(low),
                    1 => view.set_max_response_code(low),
                    2 => view.set_checksum(value),
                    _ => view.set_group(group.into()),
                }
                match i {
                    0 => prop_assert_eq!(view.igmp_type(), low),
                    1 => prop_assert_eq!(view.max_response_code(), low),
                    2 => prop_assert_eq!(view.checksum(), value),
                    _ => prop_assert_eq!(view.group(), Ipv4Addr::from(group)),
                }
            } else {
                let mut view = IgmpQueryV3::new_checked(bytes.as_mut_slice()).unwrap();
                match i {
                    4 => view.set_suppress(low & 1 != 0),
                    5 => view.set_robustness(low),
                    _ => view.set_query_interval_code(low),
                }
                match i {
                    4 => prop_assert_eq!(view.suppress(), low & 1 != 0),
                    5 => prop_assert_eq!(view.robustness(), low & 7),
                    _ => prop_assert_eq!(view.query_interval_code(), low),
                }
            }
            match i {
                0 | 1 => expected[i] = low,
                2 => expected[2..4].copy_from_slice(&value.to_be_bytes()),
                3 => expected[4..8].copy_from_slice(&group),
                4 => expected[8] = expected[8] & 0xf7 | (low & 1) << 3,
                5 => expected[8] = expected[8] & 0xf8 | low & 7,
                _ => expected[9] = low,
            }
            prop_assert_eq!(bytes, expected);
        }

        // Planted and caught: emit leaves out the code.
        #[test]
        fn emit_undoes_parse(mut bytes: [u8; 8]) {
            Igmp::new_checked(&mut bytes[..]).unwrap().fill_checksum();
            let repr = IgmpRepr::parse(&Igmp::new_checked(bytes).unwrap());
            // All zeros have a checksum of 0xffff, which verifies.
            let mut copy = [0xa5; 8];
            repr.unwrap().emit(&mut copy).unwrap();
            prop_assert_eq!(copy, bytes);
        }

        // Planted and caught: auxiliary data written in place of the sources; no checksum.
        #[test]
        fn records_come_back(
            kinds: [u8; 2], group: [u8; 4], sources in vec(any::<[u8; 4]>(), 0..4),
            aux in vec(any::<[u8; 4]>(), 0..4),
        ) {
            let record = |i: usize| Record {
                record_type: kinds[i],
                group: group.into(),
                sources: &sources[..sources.len() / (i + 1)],
                aux: &aux,
            };
            let mut message = [0xa5; 100];
            let mut end = 8;
            for i in 0..2 {
                end += record(i).emit(&mut message[end..]).unwrap();
            }
            let view = IgmpReportV3::emit(&mut message[..end], 3).unwrap();
            let mut records = view.records();
            prop_assert_eq!(records.next(), Some(Ok(record(0))));
            prop_assert_eq!(records.next(), Some(Ok(record(1))));
            let cut = matches!(records.next(), Some(Err(Error::Truncated { .. })));
            prop_assert!(cut);
            prop_assert_eq!(records.next(), None);
            prop_assert!(Igmp::new_checked(&message[..end]).unwrap().verify_checksum());
        }
    }
}
