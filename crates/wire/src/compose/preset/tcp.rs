//! The TCP segments of a handshake, and the reset.

use super::{Address, Addresses, at_front, lower};
use crate::tcp::{Flags, Timestamps};
use crate::{Error, TcpRepr, ethernet};

/// Writes the SYN that opens a connection; returns the frame's length. Ports, sequence number,
/// window and options are those of `syn`; its flags and its acknowledgment are not looked at.
///
/// # Errors
/// [`Error::Short`]; [`Error::Field`] for a window scale above 14.
pub fn tcp_syn<A: Address>(
    buffer: &mut [u8],
    between: &Addresses<A>,
    syn: &TcpRepr,
) -> Result<usize, Error> {
    segment(buffer, between, &TcpRepr { flags: Flags::SYN, acknowledgment: 0, ..*syn })
}

/// Answers the SYN that came by `received` with a SYN that acknowledges it; returns the frame's
/// length. Sequence number, window and options are those of `ours`, the rest follows from `syn`.
/// Options that answer one are written if `syn` had it: window scale (RFC 7323 section 2.2), SACK
/// permitted (RFC 2018 section 2), and timestamps, which echo (RFC 7323 section 3.2).
///
/// # Errors
/// [`Error::Short`]; [`Error::Field`] for a window scale above 14.
pub fn tcp_syn_ack<A: Address>(
    buffer: &mut [u8],
    received: &Addresses<A>,
    syn: &TcpRepr,
    ours: &TcpRepr,
) -> Result<usize, Error> {
    let timestamps = ours.timestamps.zip(syn.timestamps);
    let repr = TcpRepr {
        source_port: syn.destination_port,
        destination_port: syn.source_port,
        flags: Flags::SYN | Flags::ACK,
        acknowledgment: syn.sequence.wrapping_add(1),
        window_scale: ours.window_scale.filter(|_| syn.window_scale.is_some()),
        sack_permitted: ours.sack_permitted && syn.sack_permitted,
        timestamps: timestamps
            .map(|(ours, theirs)| Timestamps { echo_reply: theirs.value, ..ours }),
        ..*ours
    };
    segment(buffer, &received.reversed(), &repr)
}

/// Answers a segment that belongs to no connection, and that came by `received`, with a reset (RFC
/// 9293 section 3.10.7.1); returns the frame's length, or `None` for a reset, which nobody answers.
/// `segment_payload_len_bytes` is the length of its payload.
///
/// # Errors
/// [`Error::Short`].
pub fn tcp_reset<A: Address>(
    buffer: &mut [u8],
    received: &Addresses<A>,
    segment_header: &TcpRepr,
    segment_payload_len_bytes: u16,
) -> Result<Option<usize>, Error> {
    let flags = segment_header.flags;
    if flags.contains(Flags::RST) {
        return Ok(None);
    }
    let ports = TcpRepr::new(segment_header.destination_port, segment_header.source_port);
    let repr = if flags.contains(Flags::ACK) {
        TcpRepr { sequence: segment_header.acknowledgment, flags: Flags::RST, ..ports }
    } else {
        // SYN and FIN take a sequence number each (section 3.4).
        let segment_len = u32::from(segment_payload_len_bytes)
            + u32::from(flags.contains(Flags::SYN))
            + u32::from(flags.contains(Flags::FIN));
        let acknowledgment = segment_header.sequence.wrapping_add(segment_len);
        TcpRepr { acknowledgment, flags: Flags::RST | Flags::ACK, ..ports }
    };
    segment(buffer, &received.reversed(), &repr).map(Some)
}

fn segment<A: Address>(
    buffer: &mut [u8],
    between: &Addresses<A>,
    repr: &TcpRepr,
) -> Result<usize, Error> {
    let lower_len_bytes = ethernet::HEADER_LEN_BYTES + A::HEADER_LEN_BYTES;
    let mut composer = at_front(buffer, lower_len_bytes + repr.header_len_bytes())?;
    composer.tcp(repr)?;
    lower(&mut composer, between)?;
    Ok(composer.end())
}
