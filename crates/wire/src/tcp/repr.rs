//! A TCP header as plain values.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::{
    Flags, HEADER_LEN_BYTES, MAX_OPTIONS_LEN_BYTES, Tcp, TcpOption, Timestamps, write_options,
};
use crate::{Error, Layer};

/// The largest window scale (RFC 7323 section 2.3).
const MAX_WINDOW_SCALE: u8 = 14;

/// A TCP header with the usual options as plain values; the checksum is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TcpRepr {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Sequence number of the first byte of payload, or of SYN.
    pub sequence: u32,
    /// Acknowledgment number.
    pub acknowledgment: u32,
    /// The nine flags.
    pub flags: Flags,
    /// Window, not scaled.
    pub window: u16,
    /// Urgent pointer.
    pub urgent_pointer: u16,
    /// Maximum segment size in bytes.
    pub mss: Option<u16>,
    /// By how many bits windows are shifted, 0 to 14.
    pub window_scale: Option<u8>,
    /// Whether the sender understands SACK.
    pub sack_permitted: bool,
    /// Timestamps.
    pub timestamps: Option<Timestamps>,
}

impl TcpRepr {
    /// A header between these ports, everything else zero.
    #[must_use]
    pub const fn new(source_port: u16, destination_port: u16) -> Self {
        Self {
            source_port,
            destination_port,
            sequence: 0,
            acknowledgment: 0,
            flags: Flags::NONE,
            window: 0,
            urgent_pointer: 0,
            mss: None,
            window_scale: None,
            sack_permitted: false,
            timestamps: None,
        }
    }

    /// Tells how long the header with its options is: 20 to 40 bytes. The payload begins there.
    #[must_use]
    pub fn header_len_bytes(&self) -> usize {
        let (options, count) = self.options();
        let len_bytes: usize = options[..count].iter().map(TcpOption::len_bytes).sum();
        HEADER_LEN_BYTES + len_bytes.next_multiple_of(4)
    }

    /// Reads all fields of a segment between these addresses whose checksum is right.
    ///
    /// Where NOPs stood is not represented: [`emit`](Self::emit) puts the options in the order and
    /// with the padding of the kernel's `tcp_options_write` (net/ipv4/tcp_output.c, 6.1).
    ///
    /// # Errors
    /// [`Error::Field`] for a wrong checksum, and for what is not representable: reserved bits, any
    /// other option, an option twice, a window scale above 14; the error of an option that is cut.
    pub fn parse<T: AsRef<[u8]>>(
        view: &Tcp<T>,
        source: Ipv4Addr,
        destination: Ipv4Addr,
    ) -> Result<Self, Error> {
        let right = view.verify_checksum(source, destination);
        Error::check_field(Layer::Tcp, 16, "checksum", right)?;
        Self::fields(view)
    }

    /// As [`parse`](Self::parse), over IPv6; behind a routing header the destination is the final
    /// one.
    ///
    /// # Errors
    /// Those of [`parse`](Self::parse).
    pub fn parse_v6<T: AsRef<[u8]>>(
        view: &Tcp<T>,
        source: Ipv6Addr,
        destination: Ipv6Addr,
    ) -> Result<Self, Error> {
        let right = view.verify_checksum_v6(source, destination);
        Error::check_field(Layer::Tcp, 16, "checksum", right)?;
        Self::fields(view)
    }

    /// Writes the header in front of the payload that is in `segment` already (at
    /// [`header_len_bytes`](Self::header_len_bytes)), checksum over both included, and returns the
    /// view. `segment` is header and payload and nothing more.
    ///
    /// # Errors
    /// [`Error::Field`] for a window scale above 14, [`Error::Short`] if the header does not fit.
    pub fn emit<'b>(
        &self,
        segment: &'b mut [u8],
        source: Ipv4Addr,
        destination: Ipv4Addr,
    ) -> Result<Tcp<&'b mut [u8]>, Error> {
        let mut view = self.write(segment)?;
        view.fill_checksum(source, destination);
        Ok(view)
    }

    /// As [`emit`](Self::emit), over IPv6; behind a routing header the destination is the final
    /// one.
    ///
    /// # Errors
    /// Those of [`emit`](Self::emit).
    pub fn emit_v6<'b>(
        &self,
        segment: &'b mut [u8],
        source: Ipv6Addr,
        destination: Ipv6Addr,
    ) -> Result<Tcp<&'b mut [u8]>, Error> {
        let mut view = self.write(segment)?;
        view.fill_checksum_v6(source, destination);
        Ok(view)
    }

    /// The options with padding in front, so that numbers are aligned, and how many there are.
    fn options(&self) -> ([TcpOption<'static>; 8], usize) {
        const NOP: TcpOption<'static> = TcpOption::Nop;
        let mut list = [NOP; 8];
        let mut count = 0;
        let mut push = |options: &[TcpOption<'static>]| {
            for option in options {
                list[count] = *option;
                count += 1;
            }
        };
        if let Some(mss) = self.mss {
            push(&[TcpOption::Mss(mss)]);
        }
        match (self.timestamps.map(TcpOption::Timestamps), self.sack_permitted) {
            (Some(timestamps), true) => push(&[TcpOption::SackPermitted, timestamps]),
            (Some(timestamps), false) => push(&[NOP, NOP, timestamps]),
            (None, true) => push(&[NOP, NOP, TcpOption::SackPermitted]),
            (None, false) => {}
        }
        if let Some(shift) = self.window_scale {
            push(&[NOP, TcpOption::WindowScale(shift)]);
        }
        (list, count)
    }

    fn fields<T: AsRef<[u8]>>(view: &Tcp<T>) -> Result<Self, Error> {
        Error::check_field(Layer::Tcp, 12, "reserved bits", view.reserved() == 0)?;
        let mut repr = Self {
            sequence: view.sequence(),
            acknowledgment: view.acknowledgment(),
            flags: view.flags(),
            window: view.window(),
            urgent_pointer: view.urgent_pointer(),
            ..Self::new(view.source_port(), view.destination_port())
        };
        for option in view.options_iter() {
            let is_first = match option? {
                TcpOption::End | TcpOption::Nop => true,
                TcpOption::Mss(mss) => repr.mss.replace(mss).is_none(),
                TcpOption::WindowScale(shift) => {
                    repr.window_scale.replace(shift).is_none() && shift <= MAX_WINDOW_SCALE
                }
                TcpOption::SackPermitted => !core::mem::replace(&mut repr.sack_permitted, true),
                TcpOption::Timestamps(timestamps) => repr.timestamps.replace(timestamps).is_none(),
                _ => false,
            };
            Error::check_field(Layer::Tcp, HEADER_LEN_BYTES, "options", is_first)?;
        }
        Ok(repr)
    }

    /// Writes everything but the checksum.
    fn write<'b>(&self, segment: &'b mut [u8]) -> Result<Tcp<&'b mut [u8]>, Error> {
        let small = self.window_scale.is_none_or(|shift| shift <= MAX_WINDOW_SCALE);
        Error::check_field(Layer::Tcp, HEADER_LEN_BYTES, "window scale", small)?;
        let header_len_bytes = self.header_len_bytes();
        Error::check_header(Layer::Tcp, header_len_bytes, segment.len())?;
        let (options, count) = self.options();
        let mut room = [0; MAX_OPTIONS_LEN_BYTES];
        write_options(&options[..count], &mut room)?;
        segment[..HEADER_LEN_BYTES].fill(0);
        let mut view = Tcp { buffer: segment };
        view.set_header_len_bytes(header_len_bytes);
        let len_bytes = view.options().len();
        view.options_mut().copy_from_slice(&room[..len_bytes]);
        view.set_source_port(self.source_port);
        view.set_destination_port(self.destination_port);
        view.set_sequence(self.sequence);
        view.set_acknowledgment(self.acknowledgment);
        view.set_flags(self.flags);
        view.set_window(self.window);
        view.set_urgent_pointer(self.urgent_pointer);
        Ok(view)
    }
}
