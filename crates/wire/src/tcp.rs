//! TCP (RFC 9293): 20 bytes and up to 40 of options.
//!
//! ```text
//!   0  | source port 16                     | destination port 16            |  section 3.1
//!   4  | sequence number 32                                                  |
//!   8  | acknowledgment number 32                                            |
//!  12  | data offset 4 | reserved 3 | AE CWR ECE URG ACK PSH RST SYN FIN     |
//!  14  | window 16                          | checksum 16                    |
//!  18  | urgent pointer 16                  |
//!  20  | options, 0 to 40 bytes        (header length = 4 * data offset)     |
//!      | payload                                                             |
//! ```
//!
//! TCP has no length of its own: the segment, which the checksum covers as a whole, is the payload
//! of IP. Give the view exactly that ([`Ipv4::payload`](crate::Ipv4::payload)), never the rest of a
//! padded frame. The checksum covers a pseudo header (addresses, protocol, length) too; there is no
//! way to send none. AE is the flag of RFC 9768, CWR and ECE are those of RFC 3168.
//!
//! ```
//! use core::net::Ipv4Addr;
//!
//! use netmem_wire::tcp::Flags;
//! use netmem_wire::{Tcp, TcpRepr};
//!
//! # fn main() -> Result<(), netmem_wire::Error> {
//! let (a, b) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
//! let repr = TcpRepr { mss: Some(1460), flags: Flags::SYN, ..TcpRepr::new(4000, 80) };
//! let mut segment = [0; 24];
//! repr.emit(&mut segment, a, b)?;
//!
//! let view = Tcp::new_checked(&segment)?;
//! assert!(view.syn() && !view.ack() && view.verify_checksum(a, b));
//! assert_eq!(TcpRepr::parse(&view, a, b)?, repr);
//! # Ok(())
//! # }
//! ```

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::checksum::{self, Sum};
use crate::ipv4::protocol;
use crate::{Error, Layer, be16, bytes, set_be16};

mod flags;
mod options;
mod repr;

#[cfg(test)]
mod tests;

pub use flags::Flags;
pub use options::{
    Options, SackBlock, SackBlocks, TcpOption, Timestamps, option_kind, write_options,
};
pub use repr::TcpRepr;

/// Bytes of a header without options.
pub const HEADER_LEN_BYTES: usize = 20;

/// The most bytes that options take.
pub const MAX_OPTIONS_LEN_BYTES: usize = 40;

/// A view of a TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct Tcp<T> {
    buffer: T,
}

/// Makes a getter and a setter of one flag.
macro_rules! flag {
    ($name:ident, $flag:ident, $meaning:literal) => {
        #[doc = concat!("Tells whether ", stringify!($flag), " is set: ", $meaning, ".")]
        #[inline]
        pub fn $name(&self) -> bool {
            self.flags().contains(Flags::$flag)
        }
    };
    (set $set_name:ident, $flag:ident) => {
        #[doc = concat!("Sets or clears ", stringify!($flag), "; the checksum stays as it was.")]
        #[inline]
        pub fn $set_name(&mut self, is_set: bool) {
            self.set_flags(self.flags().with(Flags::$flag, is_set));
        }
    };
}

impl<T: AsRef<[u8]>> Tcp<T> {
    /// Checks the data offset against header and buffer. The checksum is not looked at.
    ///
    /// [`set_header_len_bytes`](Self::set_header_len_bytes) voids the check.
    ///
    /// # Errors
    /// [`Error::Short`] if the header or its options are not all there, [`Error::Field`] for a data
    /// offset below 20 bytes.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        const LAYER: Layer = Layer::Tcp;
        let available_bytes = buffer.as_ref().len();
        Error::check_header(LAYER, HEADER_LEN_BYTES, available_bytes)?;
        let view = Self { buffer };
        let header_len_bytes = view.header_len_bytes();
        Error::check_field(LAYER, 12, "data offset", header_len_bytes >= HEADER_LEN_BYTES)?;
        if available_bytes < header_len_bytes {
            return Err(Error::Short {
                layer: LAYER,
                offset_bytes: HEADER_LEN_BYTES,
                needed_bytes: header_len_bytes - HEADER_LEN_BYTES,
                available_bytes: available_bytes - HEADER_LEN_BYTES,
            });
        }
        Ok(view)
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

    /// Reads the sequence number: of the first byte of payload, or of SYN.
    #[inline]
    pub fn sequence(&self) -> u32 {
        u32::from_be_bytes(bytes(self.header(), 4))
    }

    /// Reads the acknowledgment number, which has a meaning if ACK is set.
    #[inline]
    pub fn acknowledgment(&self) -> u32 {
        u32::from_be_bytes(bytes(self.header(), 8))
    }

    /// Reads the header's length with options, in bytes: 20 to 60 in steps of 4.
    #[inline]
    pub fn header_len_bytes(&self) -> usize {
        usize::from(self.header()[12] >> 4) * 4
    }

    /// Reads the three reserved bits, 0 to 7.
    #[inline]
    pub fn reserved(&self) -> u8 {
        self.header()[12] >> 1 & 7
    }

    /// Reads all nine flags.
    #[inline]
    pub fn flags(&self) -> Flags {
        Flags::from_bits(be16(self.header(), 12))
    }

    flag!(fin, FIN, "the sender has no more payload");
    flag!(syn, SYN, "sequence numbers are synchronised");
    flag!(rst, RST, "the connection is reset");
    flag!(psh, PSH, "the receiver hands payload over at once");
    flag!(ack, ACK, "the acknowledgment number has a meaning");
    flag!(urg, URG, "the urgent pointer has a meaning");
    flag!(ece, ECE, "congestion was seen (RFC 3168), or a bit of ACE (RFC 9768)");
    flag!(cwr, CWR, "the window was reduced (RFC 3168), or a bit of ACE (RFC 9768)");
    flag!(ae, AE, "accurate ECN (RFC 9768)");

    /// Reads the window as it stands, not scaled.
    #[inline]
    pub fn window(&self) -> u16 {
        be16(self.header(), 14)
    }

    /// Reads the checksum as it stands.
    #[inline]
    pub fn checksum(&self) -> u16 {
        be16(self.header(), 16)
    }

    /// Reads the urgent pointer, which has a meaning if URG is set: the offset from the sequence
    /// number to the byte behind the urgent payload.
    #[inline]
    pub fn urgent_pointer(&self) -> u16 {
        be16(self.header(), 18)
    }

    /// Lends the options, padding included: 0 to 40 bytes.
    #[inline]
    pub fn options(&self) -> &[u8] {
        let data = self.buffer.as_ref();
        data.get(HEADER_LEN_BYTES..self.header_len_bytes().min(data.len())).unwrap_or_default()
    }

    /// Reads the options one by one.
    #[inline]
    pub fn options_iter(&self) -> Options<'_> {
        Options::new(self.options())
    }

    /// Lends the payload.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.buffer.as_ref().get(self.header_len_bytes()..).unwrap_or_default()
    }

    /// Tells whether the checksum is right between these addresses.
    #[inline]
    pub fn verify_checksum(&self, source: Ipv4Addr, destination: Ipv4Addr) -> bool {
        self.sum(source, destination).finish() == 0
    }

    /// Tells whether the checksum is right between these addresses; behind a routing header the
    /// destination is the final one.
    #[inline]
    pub fn verify_checksum_v6(&self, source: Ipv6Addr, destination: Ipv6Addr) -> bool {
        self.sum_v6(source, destination).finish() == 0
    }

    /// Gives the buffer back.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    fn sum(&self, source: Ipv4Addr, destination: Ipv4Addr) -> Sum {
        // A segment of 64 KiB or more (offloads make them) has 32 bits of length in the sum.
        let [a, b, c, d] = self.segment_len_bytes().to_be_bytes();
        let [low, high] = [[c, d], [a, b]].map(u16::from_be_bytes);
        checksum::pseudo_header(source, destination, protocol::TCP, low)
            .combine(Sum::of(&high.to_be_bytes()))
            .combine(Sum::of(self.buffer.as_ref()))
    }

    fn sum_v6(&self, source: Ipv6Addr, destination: Ipv6Addr) -> Sum {
        let len_bytes = self.segment_len_bytes();
        checksum::pseudo_header_v6(source, destination, protocol::TCP, len_bytes)
            .combine(Sum::of(self.buffer.as_ref()))
    }

    fn segment_len_bytes(&self) -> u32 {
        u32::try_from(self.buffer.as_ref().len()).unwrap_or(u32::MAX)
    }

    fn header(&self) -> &[u8; HEADER_LEN_BYTES] {
        self.buffer.as_ref().first_chunk().expect("new_checked saw the whole header")
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Tcp<T> {
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

    /// Writes the sequence number.
    #[inline]
    pub fn set_sequence(&mut self, sequence: u32) {
        self.header_mut()[4..8].copy_from_slice(&sequence.to_be_bytes());
    }

    /// Writes the acknowledgment number.
    #[inline]
    pub fn set_acknowledgment(&mut self, acknowledgment: u32) {
        self.header_mut()[8..12].copy_from_slice(&acknowledgment.to_be_bytes());
    }

    /// Writes the header's length, rounded down to a multiple of 4 and cut at 60 bytes. Voids the
    /// check: afterwards options and payload are cut to what the buffer has.
    #[inline]
    pub fn set_header_len_bytes(&mut self, len_bytes: usize) {
        let words = u8::try_from(len_bytes / 4).unwrap_or(u8::MAX).min(15);
        let header = self.header_mut();
        header[12] = header[12] & 0x0f | words << 4;
    }

    /// Writes the reserved bits: the low 3 bits of `reserved`.
    #[inline]
    pub fn set_reserved(&mut self, reserved: u8) {
        let header = self.header_mut();
        header[12] = header[12] & 0xf1 | (reserved & 7) << 1;
    }

    /// Writes all nine flags: sets some and clears the others.
    #[inline]
    pub fn set_flags(&mut self, flags: Flags) {
        let header = self.header_mut();
        let word = be16(header, 12) & !Flags::ALL.bits() | flags.bits();
        set_be16(header, 12, word);
    }

    flag!(set set_fin, FIN);
    flag!(set set_syn, SYN);
    flag!(set set_rst, RST);
    flag!(set set_psh, PSH);
    flag!(set set_ack, ACK);
    flag!(set set_urg, URG);
    flag!(set set_ece, ECE);
    flag!(set set_cwr, CWR);
    flag!(set set_ae, AE);

    /// Writes the window, not scaled.
    #[inline]
    pub fn set_window(&mut self, window: u16) {
        set_be16(self.header_mut(), 14, window);
    }

    /// Writes a checksum computed elsewhere.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        set_be16(self.header_mut(), 16, checksum);
    }

    /// Writes the urgent pointer.
    #[inline]
    pub fn set_urgent_pointer(&mut self, urgent_pointer: u16) {
        set_be16(self.header_mut(), 18, urgent_pointer);
    }

    /// Computes and writes the checksum between these addresses.
    #[inline]
    pub fn fill_checksum(&mut self, source: Ipv4Addr, destination: Ipv4Addr) {
        self.set_checksum(0);
        let checksum = self.sum(source, destination).finish();
        self.set_checksum(checksum);
    }

    /// Computes and writes the checksum between these addresses; behind a routing header the
    /// destination is the final one.
    #[inline]
    pub fn fill_checksum_v6(&mut self, source: Ipv6Addr, destination: Ipv6Addr) {
        self.set_checksum(0);
        let checksum = self.sum_v6(source, destination).finish();
        self.set_checksum(checksum);
    }

    /// Lends the options for writing.
    #[inline]
    pub fn options_mut(&mut self) -> &mut [u8] {
        let len_bytes = self.options().len();
        &mut self.buffer.as_mut()[HEADER_LEN_BYTES..HEADER_LEN_BYTES + len_bytes]
    }

    /// Lends the payload for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let start = self.header_len_bytes();
        self.buffer.as_mut().get_mut(start..).unwrap_or_default()
    }

    fn header_mut(&mut self) -> &mut [u8; HEADER_LEN_BYTES] {
        self.buffer.as_mut().first_chunk_mut().expect("new_checked saw the whole header")
    }
}
