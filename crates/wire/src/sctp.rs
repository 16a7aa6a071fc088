//! SCTP (RFC 9260 section 3): a common header of 12 bytes, then chunks, each padded to 4 bytes.
//!
//! ```text
//!  0             2                  4                  8          12
//!  | source port | destination port | verification tag | CRC32c   | chunks
//!  chunk   | type 8 | flags 8 | length 16 | value            | 0 to 3 of padding
//!  INIT    | 1, 2   | 0       |           | initiate tag 32 | window 32 | out 16 | in 16 | TSN 32 | parameters
//!  DATA    | 0      | I U B E |           | TSN 32 | stream 16 | sequence 16 | protocol id 32 | payload
//! ```
//!
//! The CRC32c covers the whole packet, its own four bytes taken as zero, and stands with its low
//! byte first (RFC 9260 appendix A), unlike every number around it. SCTP has no length of its own:
//! give the view exactly the payload of IP. A chunk's length counts its header but not its padding.
//!
//! ```
//! use netmem_wire::{Sctp, SctpRepr, sctp::{DataRepr, chunk_type}};
//!
//! let mut buffer = *b"....................\0\0\0\0....hi\0\0";
//! let data = DataRepr { flags: 3, tsn: 1, stream: 2, sequence: 3, protocol_id: 4, payload_len_bytes: 2 };
//! data.emit(&mut buffer[12..])?;
//! SctpRepr { source_port: 9, destination_port: 7, verification_tag: 5 }.emit(&mut buffer)?;
//!
//! let view = Sctp::new_checked(&buffer)?;
//! assert!(view.verify_checksum());
//! let chunk = view.chunks().next().expect("there is one")?;
//! assert_eq!(chunk.chunk_type, chunk_type::DATA);
//! assert_eq!(DataRepr::parse(&chunk)?, (data, &b"hi"[..]));
//! # Ok::<(), netmem_wire::Error>(())
//! ```

use crate::crc32c::Crc32c;
use crate::{Error, Layer, be16, bytes, set_be16};

/// Bytes of the common header.
pub const HEADER_LEN_BYTES: usize = 12;
/// Bytes of a chunk's header.
pub const CHUNK_HEADER_LEN_BYTES: usize = 4;

/// The chunk types of RFC 9260.
pub mod chunk_type {
    /// Payload data.
    pub const DATA: u8 = 0;
    /// Initiation.
    pub const INIT: u8 = 1;
    /// Initiation acknowledgment.
    pub const INIT_ACK: u8 = 2;
    /// Selective acknowledgment.
    pub const SACK: u8 = 3;
    /// Heartbeat request.
    pub const HEARTBEAT: u8 = 4;
    /// Heartbeat acknowledgment.
    pub const HEARTBEAT_ACK: u8 = 5;
    /// Abort.
    pub const ABORT: u8 = 6;
    /// Shutdown.
    pub const SHUTDOWN: u8 = 7;
    /// Shutdown acknowledgment.
    pub const SHUTDOWN_ACK: u8 = 8;
    /// Operation error.
    pub const ERROR: u8 = 9;
    /// State cookie.
    pub const COOKIE_ECHO: u8 = 10;
    /// Cookie acknowledgment.
    pub const COOKIE_ACK: u8 = 11;
    /// Shutdown complete.
    pub const SHUTDOWN_COMPLETE: u8 = 14;
}

const LAYER: Layer = Layer::Sctp;

/// A view of an SCTP packet.
#[derive(Clone, Copy, Debug)]
pub struct Sctp<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Sctp<T> {
    /// Checks that the common header is there. No setter voids the check. Chunks are checked as
    /// [`chunks`](Self::chunks) comes to them, the checksum by
    /// [`verify_checksum`](Self::verify_checksum).
    ///
    /// # Errors
    /// [`Error::Short`].
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        Error::check_header(LAYER, HEADER_LEN_BYTES, buffer.as_ref().len())?;
        Ok(Self { buffer })
    }

    /// Reads the source port.
    #[inline]
    pub fn source_port(&self) -> u16 {
        be16(self.header(), 0)
    }

    /// Reads the destination port.
    #[inline]
    pub fn destination_port(&self) -> u16 {
        be16(self.header(), 2)
    }

    /// Reads the verification tag.
    #[inline]
    pub fn verification_tag(&self) -> u32 {
        u32::from_be_bytes(bytes(self.header(), 4))
    }

    /// Reads the CRC32c as it stands, as a number: its low byte comes first.
    #[inline]
    pub fn checksum(&self) -> u32 {
        u32::from_le_bytes(bytes(self.header(), 8))
    }

    /// Tells whether the CRC32c over the whole buffer is right.
    #[inline]
    pub fn verify_checksum(&self) -> bool {
        self.checksum() == self.crc()
    }

    /// Walks over the chunks.
    #[inline]
    pub fn chunks(&self) -> Chunks<'_> {
        Chunks { bytes: self.payload(), at_bytes: HEADER_LEN_BYTES }
    }

    /// Lends the bytes after the common header: all chunks.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.buffer.as_ref()[HEADER_LEN_BYTES..]
    }

    /// Gives the buffer back.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    fn crc(&self) -> u32 {
        let mut crc = Crc32c::new();
        crc.update(&self.header()[..8]);
        crc.update(&[0; 4]);
        crc.update(self.payload());
        crc.finish()
    }

    fn header(&self) -> &[u8; HEADER_LEN_BYTES] {
        self.buffer.as_ref().first_chunk().expect("new_checked saw the whole header")
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Sctp<T> {
    /// Writes the source port; the checksum stays as it was.
    #[inline]
    pub fn set_source_port(&mut self, port: u16) {
        set_be16(self.header_mut(), 0, port);
    }

    /// Writes the destination port; the checksum stays as it was.
    #[inline]
    pub fn set_destination_port(&mut self, port: u16) {
        set_be16(self.header_mut(), 2, port);
    }

    /// Writes the verification tag; the checksum stays as it was.
    #[inline]
    pub fn set_verification_tag(&mut self, tag: u32) {
        self.header_mut()[4..8].copy_from_slice(&tag.to_be_bytes());
    }

    /// Writes a CRC32c computed elsewhere.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u32) {
        self.header_mut()[8..12].copy_from_slice(&checksum.to_le_bytes());
    }

    /// Computes and writes the CRC32c over the whole buffer.
    #[inline]
    pub fn fill_checksum(&mut self) {
        let checksum = self.crc();
        self.set_checksum(checksum);
    }

    /// Lends the chunks for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.buffer.as_mut()[HEADER_LEN_BYTES..]
    }

    fn header_mut(&mut self) -> &mut [u8; HEADER_LEN_BYTES] {
        self.buffer.as_mut().first_chunk_mut().expect("new_checked saw the whole header")
    }
}

/// One chunk as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Chunk<'b> {
    /// Type; see [`chunk_type`].
    pub chunk_type: u8,
    /// Flags, whose meaning depends on the type.
    pub flags: u8,
    /// What the length covers behind the chunk's header, padding left out: 0 to 65531 bytes.
    pub value: &'b [u8],
}

impl Chunk<'_> {
    /// Writes the chunk and its padding at the start of `buffer` and returns the length of both.
    ///
    /// # Errors
    /// [`Error::Field`] for a value that is too long, [`Error::Short`].
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let value_len_bytes = self.value.len();
        let padded_len_bytes = padded(CHUNK_HEADER_LEN_BYTES + value_len_bytes);
        Error::check_header(LAYER, padded_len_bytes, buffer.len())?;
        put_chunk_header(buffer, (self.chunk_type, self.flags), value_len_bytes)?;
        let (value, padding) =
            buffer[CHUNK_HEADER_LEN_BYTES..padded_len_bytes].split_at_mut(value_len_bytes);
        value.copy_from_slice(self.value);
        padding.fill(0);
        Ok(padded_len_bytes)
    }
}

/// Walks over chunks; ends after the first one that is not all there.
#[derive(Clone, Debug)]
pub struct Chunks<'b> {
    bytes: &'b [u8],
    at_bytes: usize,
}

impl<'b> Iterator for Chunks<'b> {
    type Item = Result<Chunk<'b>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let (all, at_bytes) = (self.bytes, self.at_bytes);
        // Nothing follows an error.
        self.bytes = &[];
        Some(Self::split(all, at_bytes).map(|(chunk, len_bytes)| {
            // The last chunk's padding may be missing.
            self.bytes = all.get(padded(len_bytes)..).unwrap_or_default();
            self.at_bytes = at_bytes + padded(len_bytes);
            chunk
        }))
    }
}

impl<'b> Chunks<'b> {
    /// Reads the first chunk and its length without padding.
    fn split(all: &'b [u8], at_bytes: usize) -> Result<(Chunk<'b>, usize), Error> {
        let available_bytes = all.len();
        let Some((head, _)) = all.split_first_chunk::<CHUNK_HEADER_LEN_BYTES>() else {
            return Err(Error::Short {
                layer: LAYER,
                offset_bytes: at_bytes,
                needed_bytes: CHUNK_HEADER_LEN_BYTES,
                available_bytes,
            });
        };
        let needed_bytes = usize::from(be16(head, 2));
        let has_header = needed_bytes >= CHUNK_HEADER_LEN_BYTES;
        Error::check_field(LAYER, at_bytes + 2, "chunk length", has_header)?;
        Error::check_len(LAYER, at_bytes + 2, needed_bytes, available_bytes)?;
        let value = &all[CHUNK_HEADER_LEN_BYTES..needed_bytes];
        Ok((Chunk { chunk_type: head[0], flags: head[1], value }, needed_bytes))
    }
}

/// The common header as plain values; the checksum is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SctpRepr {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Verification tag; 0 in a packet with an INIT.
    pub verification_tag: u32,
}

impl SctpRepr {
    /// Reads all fields of a packet whose checksum is right.
    ///
    /// # Errors
    /// [`Error::Field`] for a wrong checksum.
    pub fn parse<T: AsRef<[u8]>>(view: &Sctp<T>) -> Result<Self, Error> {
        Error::check_field(LAYER, 8, "checksum", view.verify_checksum())?;
        Ok(Self {
            source_port: view.source_port(),
            destination_port: view.destination_port(),
            verification_tag: view.verification_tag(),
        })
    }

    /// Writes the header in front of the chunks that are in `buffer` already and end where that
    /// does, CRC32c over all included, and returns the view.
    ///
    /// # Errors
    /// [`Error::Short`].
    pub fn emit<'b>(&self, buffer: &'b mut [u8]) -> Result<Sctp<&'b mut [u8]>, Error> {
        let mut view = Sctp::new_checked(buffer)?;
        view.set_source_port(self.source_port);
        view.set_destination_port(self.destination_port);
        view.set_verification_tag(self.verification_tag);
        view.fill_checksum();
        Ok(view)
    }
}

/// The fixed part of an INIT or INIT ACK chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InitRepr {
    /// Whether it is the acknowledgment.
    pub is_ack: bool,
    /// The tag that packets to its sender carry; not 0.
    pub initiate_tag: u32,
    /// Advertised receiver window.
    pub window_bytes: u32,
    /// Streams that its sender wants to send on; not 0.
    pub outbound_streams: u16,
    /// Most streams that its sender receives on; not 0.
    pub inbound_streams: u16,
    /// First transmission sequence number.
    pub initial_tsn: u32,
    /// Length of the parameters, 0 to 65515.
    pub parameters_len_bytes: u16,
}

impl InitRepr {
    const FIXED_LEN_BYTES: usize = 16;

    /// Reads a chunk; returns its parameters too.
    ///
    /// # Errors
    /// [`Error::Field`] for another type of chunk, for flags, for a length below 20, and for a tag or
    /// a number of streams of 0 (RFC 9260 section 3.3.2). Offsets count from the chunk's header.
    pub fn parse<'b>(chunk: &Chunk<'b>) -> Result<(Self, &'b [u8]), Error> {
        let is_ack = chunk.chunk_type == chunk_type::INIT_ACK;
        let is_init = is_ack || chunk.chunk_type == chunk_type::INIT;
        Error::check_field(LAYER, 0, "chunk type", is_init)?;
        Error::check_field(LAYER, 1, "chunk flags", chunk.flags == 0)?;
        let (fixed, parameters) = split_value::<{ Self::FIXED_LEN_BYTES }>(chunk.value)?;
        let repr = Self {
            is_ack,
            initiate_tag: u32::from_be_bytes(bytes(fixed, 0)),
            window_bytes: u32::from_be_bytes(bytes(fixed, 4)),
            outbound_streams: be16(fixed, 8),
            inbound_streams: be16(fixed, 10),
            initial_tsn: u32::from_be_bytes(bytes(fixed, 12)),
            parameters_len_bytes: u16::try_from(parameters.len()).unwrap_or(u16::MAX),
        };
        repr.check()?;
        Ok((repr, parameters))
    }

    /// Writes the chunk in front of the parameters that are or will be in `buffer`, zeros as the
    /// padding behind them, and returns the length of all.
    ///
    /// # Errors
    /// [`Error::Field`] for values that [`parse`](Self::parse) refuses, [`Error::Short`].
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.check()?;
        let kind = if self.is_ack { chunk_type::INIT_ACK } else { chunk_type::INIT };
        let value_len_bytes = Self::FIXED_LEN_BYTES + usize::from(self.parameters_len_bytes);
        let len_bytes = put_chunk(buffer, (kind, 0), value_len_bytes)?;
        let words = [
            self.initiate_tag,
            self.window_bytes,
            u32::from(self.outbound_streams) << 16 | u32::from(self.inbound_streams),
            self.initial_tsn,
        ];
        put_words(buffer, words);
        Ok(len_bytes)
    }

    fn check(&self) -> Result<(), Error> {
        Error::check_field(LAYER, 4, "initiate tag", self.initiate_tag != 0)?;
        Error::check_field(LAYER, 12, "outbound streams", self.outbound_streams != 0)?;
        Error::check_field(LAYER, 14, "inbound streams", self.inbound_streams != 0)
    }
}

/// The header of a DATA chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DataRepr {
    /// Flags, 0 to 15: 8 immediate acknowledgment (I), 4 unordered (U), 2 first (B) and 1 last (E)
    /// fragment of a message.
    pub flags: u8,
    /// Transmission sequence number.
    pub tsn: u32,
    /// Stream.
    pub stream: u16,
    /// Sequence number in the stream.
    pub sequence: u16,
    /// Payload protocol identifier.
    pub protocol_id: u32,
    /// Length of the payload, 1 to 65519.
    pub payload_len_bytes: u16,
}

impl DataRepr {
    const FIXED_LEN_BYTES: usize = 12;

    /// Reads a chunk; returns its payload too.
    ///
    /// # Errors
    /// [`Error::Field`] for another type of chunk, for reserved flags, and for a chunk without
    /// payload (RFC 9260 section 3.3.1). Offsets count from the chunk's header.
    pub fn parse<'b>(chunk: &Chunk<'b>) -> Result<(Self, &'b [u8]), Error> {
        let is_data = chunk.chunk_type == chunk_type::DATA;
        Error::check_field(LAYER, 0, "chunk type", is_data)?;
        let (fixed, payload) = split_value::<{ Self::FIXED_LEN_BYTES }>(chunk.value)?;
        let repr = Self {
            flags: chunk.flags,
            tsn: u32::from_be_bytes(bytes(fixed, 0)),
            stream: be16(fixed, 4),
            sequence: be16(fixed, 6),
            protocol_id: u32::from_be_bytes(bytes(fixed, 8)),
            payload_len_bytes: u16::try_from(payload.len()).unwrap_or(u16::MAX),
        };
        repr.check()?;
        Ok((repr, payload))
    }

    /// Writes the chunk in front of the payload that is or will be in `buffer`, zeros as the
    /// padding behind it, and returns the length of all.
    ///
    /// # Errors
    /// [`Error::Field`] for values that [`parse`](Self::parse) refuses, [`Error::Short`].
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.check()?;
        let value_len_bytes = Self::FIXED_LEN_BYTES + usize::from(self.payload_len_bytes);
        let len_bytes = put_chunk(buffer, (chunk_type::DATA, self.flags), value_len_bytes)?;
        let stream = u32::from(self.stream) << 16 | u32::from(self.sequence);
        put_words(buffer, [self.tsn, stream, self.protocol_id]);
        Ok(len_bytes)
    }

    fn check(&self) -> Result<(), Error> {
        Error::check_field(LAYER, 1, "chunk flags", self.flags <= 15)?;
        Error::check_field(LAYER, 2, "chunk length", self.payload_len_bytes != 0)
    }
}

/// The length with padding.
const fn padded(len_bytes: usize) -> usize {
    len_bytes.next_multiple_of(4)
}

/// Splits a chunk's value behind its fixed part.
fn split_value<const N: usize>(value: &[u8]) -> Result<(&[u8; N], &[u8]), Error> {
    let bad_len = Error::Field { layer: LAYER, offset_bytes: 2, field: "chunk length" };
    value.split_first_chunk().ok_or(bad_len)
}

/// Writes a chunk's header, and zeros as its padding; returns the length of all.
fn put_chunk(buffer: &mut [u8], kind: (u8, u8), value_len_bytes: usize) -> Result<usize, Error> {
    let len_bytes = CHUNK_HEADER_LEN_BYTES + value_len_bytes;
    Error::check_header(LAYER, padded(len_bytes), buffer.len())?;
    put_chunk_header(buffer, kind, value_len_bytes)?;
    buffer[len_bytes..padded(len_bytes)].fill(0);
    Ok(padded(len_bytes))
}

fn put_chunk_header(
    buffer: &mut [u8],
    (chunk_type, flags): (u8, u8),
    value_len_bytes: usize,
) -> Result<(), Error> {
    let bad_len = Error::Field { layer: LAYER, offset_bytes: 2, field: "chunk length" };
    let len_bytes = u16::try_from(CHUNK_HEADER_LEN_BYTES + value_len_bytes).map_err(|_| bad_len)?;
    let [high, low] = len_bytes.to_be_bytes();
    buffer[..CHUNK_HEADER_LEN_BYTES].copy_from_slice(&[chunk_type, flags, high, low]);
    Ok(())
}

/// Writes the words of a fixed part, which `put_chunk` found room for.
fn put_words<const N: usize>(buffer: &mut [u8], words: [u32; N]) {
    let room = buffer[CHUNK_HEADER_LEN_BYTES..].as_chunks_mut::<4>().0;
    for (place, word) in room.iter_mut().zip(words) {
        *place = word.to_be_bytes();
    }
}

#[cfg(test)]
mod tests;
