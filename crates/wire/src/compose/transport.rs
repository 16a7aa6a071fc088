//! UDP, TCP, SCTP, ICMP and neighbor discovery.

use core::net::Ipv6Addr;

use super::{Composer, Kind, Transport};
use crate::icmpv6::ndp::NdpRepr;
use crate::icmpv6::ndp::options::NdpOption;
use crate::ipv4::protocol;
use crate::tcp::{TcpOption, write_options};
use crate::{
    Error, Icmpv4, Icmpv4Repr, Icmpv6Repr, Layer, SctpRepr, Tcp, TcpRepr, icmpv4, icmpv6, sctp,
    tcp, udp,
};

/// Whether a UDP header gets a checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UdpChecksum {
    /// Computed; 0xffff where 0 comes out.
    #[default]
    Computed,
    /// Zero, which says that there is none; in IPv4 only.
    Absent,
}

/// Any address: what a repr sums is replaced.
const NOBODY: Ipv6Addr = Ipv6Addr::UNSPECIFIED;

impl Composer<'_> {
    /// Writes a UDP header whose checksum the network header will finish.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] for a payload of more than 65527 bytes, and in front of
    /// another transport header.
    pub fn udp(&mut self, source_port: u16, destination_port: u16) -> Result<&mut Self, Error> {
        self.udp_with(source_port, destination_port, UdpChecksum::Computed)
    }

    /// As [`udp`](Self::udp), with or without checksum.
    ///
    /// # Errors
    /// Those of [`udp`](Self::udp).
    pub fn udp_with(
        &mut self,
        source_port: u16,
        destination_port: u16,
        checksum: UdpChecksum,
    ) -> Result<&mut Self, Error> {
        const LAYER: Layer = Layer::Udp;
        self.check_payload(LAYER)?;
        let bad_len = Error::Field { layer: LAYER, offset_bytes: 4, field: "length" };
        let len_bytes = self.len_u16(LAYER, 4, "length")?.checked_add(8).ok_or(bad_len)?;
        let mut header = [0; udp::HEADER_LEN_BYTES];
        for (field, value) in
            header.as_chunks_mut::<2>().0.iter_mut().zip([source_port, destination_port, len_bytes])
        {
            *field = value.to_be_bytes();
        }
        self.push(LAYER, &header, Kind::Protocol(protocol::UDP))?;
        match checksum {
            UdpChecksum::Computed => self.await_network(6, protocol::UDP),
            UdpChecksum::Absent => self.transport = Transport::WithoutChecksum,
        }
        Ok(self)
    }

    /// Writes a TCP header with the options of `repr`; the network header will finish its checksum.
    ///
    /// # Errors
    /// Those of [`tcp_with`](Self::tcp_with).
    pub fn tcp(&mut self, repr: &TcpRepr) -> Result<&mut Self, Error> {
        self.tcp_with(repr, &[])
    }

    /// Writes a TCP header with the options of `repr` and `options` behind them.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] for a window scale above 14, for options that are out of
    /// range or longer than 40 bytes together, and in front of another transport header.
    pub fn tcp_with(
        &mut self,
        repr: &TcpRepr,
        options: &[TcpOption<'_>],
    ) -> Result<&mut Self, Error> {
        const LAYER: Layer = Layer::Tcp;
        const MAX_LEN_BYTES: usize = tcp::HEADER_LEN_BYTES + tcp::MAX_OPTIONS_LEN_BYTES;
        self.check_payload(LAYER)?;
        let mut header = [0; MAX_LEN_BYTES];
        let repr_len_bytes = repr.header_len_bytes();
        repr.emit_v6(&mut header[..repr_len_bytes], NOBODY, NOBODY)?;
        let mut room = [0; tcp::MAX_OPTIONS_LEN_BYTES];
        let options_len_bytes = write_options(options, &mut room)?;
        let len_bytes = repr_len_bytes + options_len_bytes;
        let fits = len_bytes <= MAX_LEN_BYTES;
        Error::check_field(LAYER, tcp::HEADER_LEN_BYTES, "options length", fits)?;
        header[repr_len_bytes..len_bytes].copy_from_slice(&room[..options_len_bytes]);
        let mut view = Tcp::new_checked(&mut header[..])?;
        view.set_header_len_bytes(len_bytes);
        view.set_checksum(0);
        self.push(LAYER, &header[..len_bytes], Kind::Protocol(protocol::TCP))?;
        self.await_network(16, protocol::TCP);
        Ok(self)
    }

    /// Writes an SCTP common header in front of chunks, and the CRC32c of all.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] in front of a transport header.
    pub fn sctp(&mut self, repr: &SctpRepr) -> Result<&mut Self, Error> {
        self.check_payload(Layer::Sctp)?;
        repr.emit(self.room(Layer::Sctp, sctp::HEADER_LEN_BYTES)?)?;
        self.advance(sctp::HEADER_LEN_BYTES, Kind::Protocol(protocol::SCTP));
        self.transport = Transport::Complete;
        Ok(self)
    }

    /// Writes an `ICMPv4` header in front of an echo's payload, or of the packet that an error
    /// quotes, and its checksum.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] in front of a transport header.
    pub fn icmpv4(&mut self, repr: &Icmpv4Repr) -> Result<&mut Self, Error> {
        self.check_payload(Layer::Icmpv4)?;
        let mut header = [0; icmpv4::HEADER_LEN_BYTES];
        repr.emit(&mut header)?;
        Icmpv4::new_checked(&mut header[..])?.set_checksum(0);
        self.push(Layer::Icmpv4, &header, Kind::Protocol(protocol::ICMP))?;
        let checksum = self.sum().finish();
        self.fill(self.start + 2, checksum);
        self.transport = Transport::Complete;
        Ok(self)
    }

    /// Writes an `ICMPv6` header in front of an echo's payload, or of the packet that an error
    /// quotes; the network header will finish its checksum.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] in front of a transport header.
    pub fn icmpv6(&mut self, repr: &Icmpv6Repr) -> Result<&mut Self, Error> {
        self.check_payload(Layer::Icmpv6)?;
        let mut header = [0; icmpv6::HEADER_LEN_BYTES];
        repr.emit(&mut header, NOBODY, NOBODY)?;
        header[2..4].fill(0);
        self.push(Layer::Icmpv6, &header, Kind::Protocol(protocol::ICMPV6))?;
        self.await_network(2, protocol::ICMPV6);
        Ok(self)
    }

    /// Writes a neighbor discovery message with its options; the network header will finish its
    /// checksum. Its hop limit has to be [`HOP_LIMIT`](crate::icmpv6::ndp::HOP_LIMIT):
    /// [`ipv6`](Self::ipv6) does that.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] if there is a payload already, and for an option out of
    /// range; then the headroom may have been written to.
    pub fn ndp(&mut self, repr: &NdpRepr, options: &[NdpOption<'_>]) -> Result<&mut Self, Error> {
        const LAYER: Layer = Layer::Icmpv6;
        let header_len_bytes = repr.header_len_bytes();
        Error::check_field(LAYER, header_len_bytes, "payload", self.len_bytes() == 0)?;
        let len_bytes = options
            .iter()
            .fold(header_len_bytes, |sum, option| sum.saturating_add(option.len_bytes()));
        let message = self.room(LAYER, len_bytes)?;
        let mut at = header_len_bytes;
        for option in options {
            at += option.emit(&mut message[at..])?;
        }
        repr.emit(&mut message[..header_len_bytes], NOBODY, NOBODY)?;
        message[2..4].fill(0);
        self.advance(len_bytes, Kind::Protocol(protocol::ICMPV6));
        self.await_network(2, protocol::ICMPV6);
        Ok(self)
    }

    /// Checks that no transport header, nor anything else that only IP carries, is behind.
    fn check_payload(&self, layer: Layer) -> Result<(), Error> {
        let is_carried = !matches!(self.kind, Kind::Protocol(_));
        Error::check_field(layer, 0, "payload", is_carried)
    }

    /// Sums the message that begins with the header just written.
    fn await_network(&mut self, checksum_offset_bytes: usize, protocol: u8) {
        let (header_at, checksum_at) = (self.start, self.start + checksum_offset_bytes);
        self.sum();
        self.transport = Transport::Awaiting { header_at, checksum_at, protocol };
    }
}
