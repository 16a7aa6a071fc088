//! ICMP errors that quote the frame they answer, and when none may be sent.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use super::{Address, Addresses};
use crate::compose::Composer;
use crate::dissect::{Dissection, LinkType, MAX_TAGS, Network, Stop, dissect};
use crate::icmpv6::{icmp_type, parameter_problem_code};
use crate::ipv4::protocol;
use crate::{
    Error, Icmpv4Repr, Icmpv6Repr, Ipv4, Ipv6, Layer, MacAddr, VlanRepr, ethernet, icmpv4, vlan,
};

/// The longest IPv4 packet with an error (RFC 1812 section 4.3.2.3).
const MAX_LEN_BYTES_V4: usize = 576;
/// The longest IPv6 packet with an error: the smallest MTU (RFC 4443 section 2.4 (c)).
const MAX_LEN_BYTES_V6: usize = 1280;

/// Why a frame is not answered by an ICMP error: RFC 1122 section 3.2.2, RFC 1812 section 4.3.2.7,
/// RFC 4443 section 2.4 (e).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// It has no IP header of this version, or one that is cut or wrong.
    NotIp,
    /// It is an ICMP error, or may be one: its ICMP header is cut or in another fragment.
    IcmpError,
    /// It is an `ICMPv6` redirect.
    Redirect,
    /// It went to a group or to everybody, by its IP address.
    Destination,
    /// It went to a group or to everybody, by its Ethernet address.
    DestinationMac,
    /// It came from an address that is not one host's.
    Source,
    /// It is not the first fragment of its packet (IPv4).
    LaterFragment,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NotIp => "no sane ip header",
            Self::IcmpError => "icmp error",
            Self::Redirect => "icmpv6 redirect",
            Self::Destination => "destination is a group",
            Self::DestinationMac => "ethernet destination is a group",
            Self::Source => "source is not one host",
            Self::LaterFragment => "not the first fragment",
        })
    }
}

/// Why an ICMP error was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotSent {
    /// None may be sent.
    Rule(Rule),
    /// It could not be written.
    Error(Error),
}

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => write!(f, "no icmp error may be sent: {rule}"),
            Self::Error(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for NotSent {}

impl From<Rule> for NotSent {
    fn from(rule: Rule) -> Self {
        Self::Rule(rule)
    }
}

impl From<Error> for NotSent {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Checks whether an `ICMPv4` error may answer `frame`, an Ethernet frame with an IPv4 packet.
///
/// The broadcast address of a subnet looks like a host's: only who knows its prefix can tell. The
/// Ethernet header shows it too, except to a router.
///
/// # Errors
/// The first [`Rule`] that forbids it.
pub fn check_icmpv4_error(frame: &[u8]) -> Result<(), Rule> {
    read_v4(frame).map(|_| ())
}

/// Checks whether the `ICMPv6` error `error` may answer `frame`, an Ethernet frame with an IPv6
/// packet. What went to a group may be answered by packet too big, and by parameter problem with
/// code 2, unrecognized option.
///
/// Later fragments may be answered, but for those of `ICMPv6`, which may be errors.
///
/// # Errors
/// The first [`Rule`] that forbids it.
pub fn check_icmpv6_error(frame: &[u8], error: &Icmpv6Repr) -> Result<(), Rule> {
    read_v6(frame, error).map(|_| ())
}

/// Answers `frame` (Ethernet, tags and all) by an `ICMPv4` error from the addresses `source`, and
/// returns the length of the answer, which goes back with the same tags. It quotes as much as fits
/// into 576 bytes of IPv4. `error` has type, code and the four bytes that go with them.
///
/// # Errors
/// [`NotSent::Rule`]; [`Error::Short`], and [`Error::Field`] for a type that is no error.
pub fn icmpv4_error(
    buffer: &mut [u8],
    frame: &[u8],
    source: (MacAddr, Ipv4Addr),
    error: &Icmpv4Repr,
) -> Result<usize, NotSent> {
    let is_error = is_icmpv4_error(error.icmp_type);
    Error::check_field(Layer::Icmpv4, 0, "type", is_error)?;
    let offender = read_v4(frame)?;
    answer(buffer, &offender, source, MAX_LEN_BYTES_V4, |composer| {
        composer.icmpv4(error).map(|_| ())
    })
}

/// Answers `frame` (Ethernet, tags and all) by an `ICMPv6` error from the addresses `source`, and
/// returns the length of the answer, which goes back with the same tags. It quotes as much as fits
/// into 1280 bytes of IPv6.
///
/// # Errors
/// [`NotSent::Rule`]; [`Error::Short`], and [`Error::Field`] for an echo message.
pub fn icmpv6_error(
    buffer: &mut [u8],
    frame: &[u8],
    source: (MacAddr, Ipv6Addr),
    error: &Icmpv6Repr,
) -> Result<usize, NotSent> {
    let is_echo = matches!(error, Icmpv6Repr::EchoRequest { .. } | Icmpv6Repr::EchoReply { .. });
    Error::check_field(Layer::Icmpv6, 0, "type", !is_echo)?;
    let offender = read_v6(frame, error)?;
    answer(buffer, &offender, source, MAX_LEN_BYTES_V6, |composer| {
        composer.icmpv6(error).map(|_| ())
    })
}

/// A frame that may be answered.
struct Offender<'a, A> {
    level: Dissection<'a>,
    mac: MacAddr,
    source: A,
}

/// The protocol's header, or nothing where a later fragment has none.
fn icmp_type_of(level: &Dissection<'_>) -> Option<u8> {
    level.transport_bytes().first().copied()
}

const fn is_icmpv4_error(icmp_type: u8) -> bool {
    matches!(icmp_type, 3 | 4 | 5 | 11 | 12)
}

fn read_v4(frame: &[u8]) -> Result<Offender<'_, Ipv4Addr>, Rule> {
    let level = dissect(LinkType::Ethernet, frame);
    let ethernet = level.ethernet().ok_or(Rule::NotIp)?;
    keep(Rule::NotIp, level.network() == Network::Ipv4)?;
    let ip = Ipv4::new_truncated(level.network_bytes()).map_err(|_| Rule::NotIp)?;
    keep(Rule::NotIp, ip.verify_checksum())?;
    let (source, destination) = (ip.source(), ip.destination());
    keep(Rule::LaterFragment, ip.fragment_offset_bytes() == 0)?;
    let is_group = destination.is_multicast() || destination.is_broadcast();
    keep(Rule::Destination, !is_group)?;
    keep(Rule::DestinationMac, !ethernet.destination().is_multicast())?;
    // 0/8, 127/8, 224/4, and 240/4 with the broadcast address.
    let is_host = !matches!(source.octets()[0], 0 | 127 | 224..);
    keep(Rule::Source, is_host && !ethernet.source().is_multicast())?;
    if level.protocol() == Some(protocol::ICMP) {
        let is_error = icmp_type_of(&level).is_none_or(is_icmpv4_error);
        keep(Rule::IcmpError, !is_error)?;
    }
    Ok(Offender { level, mac: ethernet.source(), source })
}

fn read_v6<'a>(frame: &'a [u8], error: &Icmpv6Repr) -> Result<Offender<'a, Ipv6Addr>, Rule> {
    let level = dissect(LinkType::Ethernet, frame);
    let ethernet = level.ethernet().ok_or(Rule::NotIp)?;
    keep(Rule::NotIp, level.network() == Network::Ipv6)?;
    let ip = Ipv6::new_truncated(level.network_bytes()).map_err(|_| Rule::NotIp)?;
    if level.protocol() == Some(protocol::ICMPV6) {
        let is_later = level.stop() == Stop::Fragment;
        let icmp_type = icmp_type_of(&level).filter(|_| !is_later);
        keep(Rule::IcmpError, icmp_type.is_some_and(|icmp_type| icmp_type >= 128))?;
        keep(Rule::Redirect, icmp_type != Some(icmp_type::REDIRECT))?;
    }
    let answers_group = matches!(
        error,
        Icmpv6Repr::PacketTooBig { .. }
            | Icmpv6Repr::ParameterProblem { code: parameter_problem_code::OPTION, .. }
    );
    keep(Rule::Destination, answers_group || !ip.destination().is_multicast())?;
    let is_group = ethernet.destination().is_multicast();
    keep(Rule::DestinationMac, answers_group || !is_group)?;
    let source = ip.source();
    let is_host = !source.is_unspecified() && !source.is_multicast() && !source.is_loopback();
    keep(Rule::Source, is_host && !ethernet.source().is_multicast())?;
    Ok(Offender { level, mac: ethernet.source(), source })
}

fn keep(rule: Rule, is_kept: bool) -> Result<(), Rule> {
    if is_kept { Ok(()) } else { Err(rule) }
}

/// Copies the quote, and writes all headers in front of it.
fn answer<A: Address>(
    buffer: &mut [u8],
    offender: &Offender<'_, A>,
    (source_mac, source): (MacAddr, A),
    max_len_bytes: usize,
    icmp: impl FnOnce(&mut Composer<'_>) -> Result<(), Error>,
) -> Result<usize, NotSent> {
    let level = &offender.level;
    let upper_len_bytes = A::HEADER_LEN_BYTES + icmpv4::HEADER_LEN_BYTES;
    let packet = level.network_bytes();
    let quoted = &packet[..packet.len().min(max_len_bytes - upper_len_bytes)];
    let link_len_bytes = ethernet::HEADER_LEN_BYTES + level.vlans().len() * vlan::HEADER_LEN_BYTES;
    let at = link_len_bytes + upper_len_bytes;
    let len_bytes = at + quoted.len();
    Error::check_header(Layer::Ethernet, len_bytes, buffer.len())?;
    buffer[at..len_bytes].copy_from_slice(quoted);
    let mut composer = Composer::new(buffer, at..len_bytes)?;
    icmp(&mut composer)?;
    let between = Addresses {
        source_mac,
        destination_mac: offender.mac,
        source,
        destination: offender.source,
    };
    A::network(&mut composer, &between)?;
    let mut tags = [None; MAX_TAGS as usize];
    let mut tag_protocol_id = level.ethernet().map_or(0, |ethernet| ethernet.ether_type());
    for (tag, view) in tags.iter_mut().zip(level.vlans()) {
        let repr = VlanRepr::parse(&view);
        *tag = Some((tag_protocol_id, repr));
        tag_protocol_id = repr.ether_type;
    }
    for (tag_protocol_id, repr) in tags.iter().rev().flatten() {
        composer.vlan_with(*tag_protocol_id, repr)?;
    }
    composer.ethernet(between.destination_mac, between.source_mac)?;
    Ok(len_bytes)
}
