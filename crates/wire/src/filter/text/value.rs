//! Values and the qualifiers in front of them.

use alloc::format;
use core::net::{Ipv4Addr, Ipv6Addr};

use super::error::{ParseError, quoted};
use super::lexer::{Kind, Token};
use super::names::{self, Transports};
use super::primitive::either_protocol;
use super::{Parser, Part};
use crate::MacAddr;
use crate::ethernet::ether_type;
use crate::filter::{Expr, Ipv4Net, Ipv6Net, Test};

/// The protocol in front of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Any,
    Ether,
    Ip,
    Ip6,
    Arp,
    Rarp,
    Tcp,
    Udp,
    Sctp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Source,
    Destination,
    Either,
    Both,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Host,
    Net,
    Port,
    PortRange,
    Protocol,
    /// Only a direction was given: a host, or a network if it has a prefix length.
    Unnamed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Qualifiers {
    pub(super) family: Family,
    pub(super) direction: Direction,
    pub(super) subject: Subject,
}

impl Qualifiers {
    /// Refuses combinations without meaning; `token` is the subject, or what stands in its place.
    pub(super) fn check(self, token: Token<'_>) -> Result<(), ParseError> {
        use Family::{Any, Arp, Ether, Ip, Ip6, Rarp, Sctp, Tcp, Udp};
        let ports = matches!(self.subject, Subject::Port | Subject::PortRange);
        let wrong = match (self.family, self.subject) {
            (Any | Ip | Ip6, _) => None,
            (Ether, Subject::Host | Subject::Unnamed | Subject::Protocol) => None,
            (Ether, _) => Some("Ethernet has addresses and types only"),
            (Arp, Subject::Host | Subject::Net | Subject::Unnamed) => None,
            (Arp, _) => Some("ARP has addresses only"),
            (Rarp, _) => Some("the addresses in RARP cannot be tested"),
            (Tcp | Udp | Sctp, _) if ports => None,
            (Tcp | Udp | Sctp, Subject::Unnamed) => {
                Some("expected `port` or `portrange` behind the protocol")
            }
            (Tcp | Udp | Sctp, _) => {
                Some("TCP, UDP and SCTP have ports only: write `tcp and host ..`")
            }
        };
        wrong.map_or(Ok(()), |message| Err(token.error(message)))
    }

    /// What a value should look like, for messages.
    pub(super) const fn what(self) -> &'static str {
        match (self.subject, self.family) {
            (Subject::Host | Subject::Unnamed, Family::Ether) => "an Ethernet address",
            (Subject::Host | Subject::Unnamed, _) => "an address",
            (Subject::Net, _) => "a network such as 10.0.0.0/8",
            (Subject::Port, _) => "a port",
            (Subject::PortRange, _) => "a range of ports such as 6000-6008",
            (Subject::Protocol, _) => "a protocol",
        }
    }

    /// The tests on source and destination as the direction joins them.
    fn directed<const N: usize>(self, pairs: [(Test, Test); N]) -> Expr {
        let tests = pairs.into_iter();
        match self.direction {
            Direction::Source => Expr::any(tests.map(|pair| pair.0)).unlisted(),
            Direction::Destination => Expr::any(tests.map(|pair| pair.1)).unlisted(),
            Direction::Either => Expr::any(tests.flat_map(|(source, dest)| [source, dest])),
            Direction::Both => {
                Expr::any(tests.map(|(source, dest)| Expr::all([source, dest]))).unlisted()
            }
        }
    }

    fn ip(self, net: Ipv4Net, token: Token<'_>) -> Result<Expr, ParseError> {
        let ip = (Test::SourceNet(net), Test::DestinationNet(net));
        let arp = (Test::ArpSender(net), Test::ArpTarget(net));
        match self.family {
            Family::Any => Ok(self.directed([ip, arp])),
            Family::Ip => Ok(self.directed([ip])),
            Family::Arp => Ok(self.directed([arp])),
            _ => Err(token.error("this is an IPv4 address, which `ip6` has not")),
        }
    }

    fn ip6(self, net: Ipv6Net, token: Token<'_>) -> Result<Expr, ParseError> {
        match self.family {
            Family::Any | Family::Ip6 => {
                Ok(self.directed([(Test::Source6Net(net), Test::Destination6Net(net))]))
            }
            _ => Err(token.error("this is an IPv6 address, which `ip` and `arp` have not")),
        }
    }

    /// Ports from `first` to `last` of the transports that the name and the family allow.
    fn ports(self, first: u16, last: u16, named: Transports) -> Option<Expr> {
        let (family, allowed): (Option<u16>, _) = match self.family {
            Family::Tcp => (None, Transports::TCP),
            Family::Udp => (None, Transports::UDP),
            Family::Sctp => (None, Transports::SCTP),
            Family::Ip => (Some(ether_type::IPV4), Transports::ALL),
            Family::Ip6 => (Some(ether_type::IPV6), Transports::ALL),
            _ => (None, Transports::ALL),
        };
        let transports = allowed.and(named);
        if transports.is_empty() {
            return None;
        }
        let ports = self.directed([match first == last {
            true => (Test::SourcePort(first), Test::DestinationPort(first)),
            false => (Test::SourcePortIn { first, last }, Test::DestinationPortIn { first, last }),
        }]);
        // A name that TCP and UDP share asks for neither, as in libpcap.
        let transports =
            if transports == Transports::TCP_UDP { Transports::ALL } else { transports };
        let family = family.map(|number| Test::EtherType(number).into());
        let transport = transports.numbers().next().map(either_protocol);
        let parts = family.into_iter().chain(transport).chain([ports]);
        Some(Expr::all(parts).unlisted())
    }
}

impl Expr {
    /// A list of one as that one.
    fn unlisted(self) -> Self {
        match self {
            Self::All(mut parts) | Self::Any(mut parts) if parts.len() == 1 => parts.remove(0),
            other => other,
        }
    }
}

impl<'t> Parser<'t> {
    /// One value, the next token.
    pub(super) fn value(&mut self, qualifiers: Qualifiers) -> Result<Part, ParseError> {
        let token = self.next();
        let expr = match (qualifiers.subject, qualifiers.family) {
            (Subject::Port, _) => {
                let (port, named) = port(token, token.name())?;
                qualifiers.ports(port, port, named).ok_or_else(|| other_protocol(token))?
            }
            (Subject::PortRange, _) => {
                let ((a, a_named), (b, b_named)) = port_range(token)?;
                let named = a_named.and(b_named);
                qualifiers.ports(a.min(b), a.max(b), named).ok_or_else(|| other_protocol(token))?
            }
            (Subject::Protocol, _) => protocol(qualifiers.family, token)?,
            (_, Family::Ether) => {
                let mac = mac(token.text).ok_or_else(|| {
                    token.error(format!("{} is no Ethernet address", quoted(token.text)))
                })?;
                qualifiers.directed([(Test::SourceMac(mac), Test::DestinationMac(mac))])
            }
            _ => self.address(qualifiers, token)?,
        };
        Ok(Part::qualified(expr, qualifiers))
    }

    /// A host or network: an address, and what may follow it.
    fn address(&mut self, qualifiers: Qualifiers, first: Token<'t>) -> Result<Expr, ParseError> {
        let net = qualifiers.subject == Subject::Net;
        if let Ok(address) = first.text.parse::<Ipv6Addr>() {
            let (last, prefix_len) = self.prefix_len(qualifiers, first, 128)?;
            let parsed = Ipv6Net::new(address, prefix_len.unwrap_or(128))
                .map_err(|_| last.error("prefix length above 128"))?;
            if parsed.address() != address {
                return Err(host_bits(first, last, &parsed));
            }
            return qualifiers.ip6(parsed, first);
        }
        let (address, width) = match (first.text.parse(), partial(first.text)) {
            (Ok(address), _) => (address, 32),
            (_, Some(partial)) if net || self.peek(0).kind == Kind::Slash => partial,
            (_, Some(_)) => {
                let message = format!("not a whole address; a network is `net {}`", first.text);
                return Err(first.error(message));
            }
            _ => return Err(no_address(qualifiers, first)),
        };
        let (last, prefix_len) = match self.peek(0).keyword() {
            "mask" if net => self.mask()?,
            _ => self.prefix_len(qualifiers, first, 32)?,
        };
        let parsed = Ipv4Net::new(address, prefix_len.unwrap_or(width))
            .map_err(|_| last.error("prefix length above 32"))?;
        if parsed.address() != address {
            return Err(host_bits(first, last, &parsed));
        }
        qualifiers.ip(parsed, first)
    }

    /// A prefix length, if a slash follows, and the last token of the network.
    fn prefix_len(
        &mut self,
        qualifiers: Qualifiers,
        address: Token<'t>,
        max: u8,
    ) -> Result<(Token<'t>, Option<u8>), ParseError> {
        if self.peek(0).kind != Kind::Slash {
            return Ok((address, None));
        }
        let slash = self.next();
        if qualifiers.subject == Subject::Host {
            return Err(address.error_to(slash, "a host has no prefix length: write `net`"));
        }
        let token = self.next();
        if token.kind != Kind::Word {
            return Err(token.expected("a prefix length"));
        }
        Ok((token, Some(int(token, max, "prefix length")?)))
    }

    fn mask(&mut self) -> Result<(Token<'t>, Option<u8>), ParseError> {
        self.next();
        let token = self.next();
        let Ok(mask) = token.text.parse::<Ipv4Addr>() else {
            return Err(token.expected("a mask such as 255.0.0.0"));
        };
        let bits = mask.to_bits();
        if bits.leading_ones() + bits.trailing_zeros() < 32 {
            return Err(token.error("a mask with gaps is not supported"));
        }
        // At most 32.
        Ok((token, u8::try_from(bits.leading_ones()).ok()))
    }
}

/// Reads a number of C's syntax, decimal or 0x, up to `max`.
pub(super) fn int<N>(token: Token<'_>, max: N, what: &str) -> Result<N, ParseError>
where
    N: TryFrom<u64> + PartialOrd + core::fmt::Display + Copy,
{
    let text = token.text;
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(token.error(format!("{} is no {what}", quoted(text))));
    }
    if radix == 10 && digits.len() > 1 && digits.starts_with('0') {
        let message = "a leading zero would be octal for tcpdump: write the number without it";
        return Err(token.error(message));
    }
    let value = u64::from_str_radix(digits, radix).ok().and_then(|value| N::try_from(value).ok());
    value
        .filter(|value| *value <= max)
        .ok_or_else(|| token.error(format!("{what} {} is above {max}", quoted(text))))
}

fn port(token: Token<'_>, text: &str) -> Result<(u16, Transports), ParseError> {
    if let Some(service) = names::service(text) {
        return Ok(service);
    }
    let range = if text.contains('-') { "; a range is `portrange`" } else { "" };
    if range.is_empty() && text.starts_with(|c: char| c.is_ascii_digit()) {
        let port = int(Token { text, ..token }, u16::MAX, "port");
        return Ok((port.map_err(|error| token.error(error.message()))?, Transports::ALL));
    }
    Err(token.error(format!("{} is no port that has a name here{range}", quoted(text))))
}

type NamedPort = (u16, Transports);

/// Two ports with a hyphen between, or one. Names may have hyphens, too.
fn port_range(token: Token<'_>) -> Result<(NamedPort, NamedPort), ParseError> {
    let text = token.name();
    if let Some(service) = names::service(text) {
        return Ok((service, service));
    }
    // No name has more than two hyphens, so few places need a look.
    for (at, _) in text.match_indices('-').take(6) {
        let ends = (port(token, &text[..at]), port(token, &text[at + 1..]));
        if let (Ok(first), Ok(last)) = ends {
            return Ok((first, last));
        }
    }
    match text.split_once('-') {
        None => port(token, text).map(|port| (port, port)),
        Some((first, last)) if !first.is_empty() && !last.is_empty() && !last.contains('-') => {
            // One of them is the culprit.
            port(token, first).and_then(|first| Ok((first, port(token, last)?)))
        }
        Some(_) => Err(token.expected("a range of ports such as 6000-6008")),
    }
}

fn other_protocol(token: Token<'_>) -> ParseError {
    let name = quoted(token.text);
    token.error(format!("{name} is a port of another protocol: write its number"))
}

fn protocol(family: Family, token: Token<'_>) -> Result<Expr, ParseError> {
    let name = token.name();
    let digit = name.starts_with(|c: char| c.is_ascii_digit());
    let unknown = || {
        let message = format!("{} is no protocol that has a name here", quoted(token.text));
        token.error(format!("{message}: write its number"))
    };
    if family == Family::Ether {
        let number = if digit { Some(int(token, u16::MAX, "Ethernet type")?) } else { None };
        let number = number.or_else(|| names::ether_type(name)).ok_or_else(unknown)?;
        return match number {
            0..0x0600 => Err(token.error("below 0x600 it is a length; LLC is not supported")),
            ether_type::VLAN | ether_type::VLAN_SERVICE => {
                Err(token.error("the filter looks behind tags: write `vlan`"))
            }
            _ => Ok(Test::EtherType(number).into()),
        };
    }
    let number = if digit { Some(int(token, u8::MAX, "protocol")?) } else { None };
    let number = number.or_else(|| names::protocol(name)).ok_or_else(unknown)?;
    let extension = matches!(number, 0 | 43 | 44 | 51 | 60);
    match family {
        Family::Ip => Ok(Test::IpProtocol(number).into()),
        _ if extension => Err(token.error(format!(
            "protocol {number} is an IPv6 extension header, which the filter looks behind; for \
             IPv4 write `ip proto {number}`"
        ))),
        Family::Ip6 => Ok(Test::Ip6Protocol(number).into()),
        _ => Ok(either_protocol(number)),
    }
}

/// The first one to three numbers of an IPv4 address, and how many bits they are.
fn partial(text: &str) -> Option<(Ipv4Addr, u8)> {
    let mut octets = [0; 4];
    let mut width = 0;
    for (place, part) in text.split('.').enumerate() {
        let plain = part.bytes().all(|byte| byte.is_ascii_digit());
        let short = part == "0" || !part.starts_with('0');
        *octets.get_mut(place)? = part.parse().ok().filter(|_| plain && short)?;
        width += 8;
    }
    Some((octets.into(), width))
}

/// The error for a word that is no address.
fn no_address(qualifiers: Qualifiers, token: Token<'_>) -> ParseError {
    let word = quoted(token.text);
    if super::primitive::is_keyword(token.keyword()) {
        return token.expected(qualifiers.what());
    }
    if mac(token.text).is_some_and(|_| token.text.contains([':', '-'])) {
        return token.error(format!("{word} is an Ethernet address: write `ether host`"));
    }
    let numeric = |c: char| c.is_ascii_digit() || c == '.';
    if token.text.chars().all(numeric) || token.text.contains(':') {
        return token.error(format!("{word} is no IPv4 or IPv6 address"));
    }
    match qualifiers.subject {
        Subject::Net => {
            token.error(format!("network names are not looked up: write {word} as numbers"))
        }
        _ => token.error(format!("host names are not resolved: write the address of {word}")),
    }
}

fn host_bits(first: Token<'_>, last: Token<'_>, net: &dyn core::fmt::Display) -> ParseError {
    first.error_to(last, format!("bits are set behind the prefix; the network is {net}"))
}

/// Reads an Ethernet address: six bytes with `:`, `-` or `.` between, three groups of four digits
/// with `.` between, or twelve digits.
fn mac(text: &str) -> Option<MacAddr> {
    let mut octets = [0; 6];
    let places = text.split([':', '-', '.']).count();
    let group_digits = match places {
        1 => 12,
        3 => 4,
        6 => 2,
        _ => return None,
    };
    let mut rest = &mut octets[..];
    for group in text.split([':', '-', '.']) {
        let short = places == 6 && !group.is_empty() && group.len() <= 2;
        if !(short || group.len() == group_digits) || !group.is_ascii() {
            return None;
        }
        if !group.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let bits = u64::from_str_radix(group, 16).ok()?.to_be_bytes();
        let (here, after) = rest.split_at_mut(group_digits / 2);
        here.copy_from_slice(&bits[8 - here.len()..]);
        rest = after;
    }
    Some(MacAddr(octets))
}
