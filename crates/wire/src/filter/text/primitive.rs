//! Primitives: everything that begins with a keyword.

use alloc::format;
use core::net::{Ipv4Addr, Ipv6Addr};

use super::error::{ParseError, quoted};
use super::lexer::{Kind, Token};
use super::value::{Direction, Family, Qualifiers, Subject, int};
use super::{Context, Parser, Part};
use crate::MacAddr;
use crate::ethernet::ether_type;
use crate::filter::{Expr, Ipv4Net, Ipv6Net, Test};

const RARP: u16 = 0x8035;

/// Words that begin a primitive, also where a value could stand.
const KEYWORDS: &[&str] = &[
    "ip",
    "ip6",
    "arp",
    "rarp",
    "icmp",
    "icmp6",
    "igmp",
    "tcp",
    "udp",
    "sctp",
    "ah",
    "esp",
    "pim",
    "igrp",
    "vrrp",
    "carp",
    "ether",
    "src",
    "dst",
    "host",
    "net",
    "mask",
    "port",
    "portrange",
    "proto",
    "broadcast",
    "multicast",
    "vlan",
    "less",
    "greater",
    "len",
    "fragment",
    "always",
];

/// Words that tcpdump knows and this filter does not.
const UNSUPPORTED: &[&str] = &[
    "gateway",
    "protochain",
    "mpls",
    "pppoed",
    "pppoes",
    "geneve",
    "llc",
    "inbound",
    "outbound",
    "iso",
    "clnp",
    "esis",
    "isis",
    "stp",
    "ipx",
    "netbeui",
    "atalk",
    "aarp",
    "decnet",
    "lat",
    "moprc",
    "mopdl",
    "sca",
    "fddi",
    "tr",
    "wlan",
    "ppp",
    "slip",
    "link",
    "radio",
    "ifname",
    "on",
    "type",
    "subtype",
    "dir",
    "action",
    "reason",
    "rnr",
    "rulenum",
    "rset",
    "ruleset",
    "vpi",
    "vci",
];

pub(super) fn is_keyword(word: &str) -> bool {
    KEYWORDS.contains(&word) || UNSUPPORTED.contains(&word)
}

/// The test for a protocol of IPv4 or IPv6.
pub(super) fn either_protocol(number: u8) -> Expr {
    Expr::any([Test::IpProtocol(number), Test::Ip6Protocol(number)])
}

impl Parser<'_> {
    /// A primitive that begins with the next token, a word.
    pub(super) fn primitive(&mut self) -> Result<Part, ParseError> {
        let first = self.peek(0);
        let number = match first.keyword() {
            "ip" => return self.family(Family::Ip),
            "ip6" => return self.family(Family::Ip6),
            "arp" => return self.family(Family::Arp),
            "rarp" => return self.family(Family::Rarp),
            "ether" => return self.family(Family::Ether),
            "tcp" => return self.family(Family::Tcp),
            "udp" => return self.family(Family::Udp),
            "sctp" => return self.family(Family::Sctp),
            "src" | "dst" | "host" | "net" | "port" | "portrange" | "proto" => {
                return self.qualified(Family::Any);
            }
            "icmp" | "icmp6" | "len" => return self.field_or_protocol(),
            "igmp" => Test::IpProtocol(2).into(),
            "igrp" => Test::IpProtocol(9).into(),
            "vrrp" | "carp" => Test::IpProtocol(112).into(),
            "esp" => either_protocol(50),
            "pim" => either_protocol(103),
            // In IPv6 it is an extension header, which the filter looks behind.
            "ah" => Test::IpProtocol(51).into(),
            "broadcast" => Test::DestinationMac(MacAddr::BROADCAST).into(),
            "multicast" => Test::DestinationMacGroup.into(),
            "fragment" => Test::Fragment.into(),
            "always" => Expr::Always,
            "vlan" => return self.vlan(),
            "less" | "greater" => return self.length(),
            _ => return Err(unknown(first)),
        };
        self.next();
        Ok(Part::plain(number))
    }

    /// A primitive that begins with a protocol's name, which may be all of it.
    fn family(&mut self, family: Family) -> Result<Part, ParseError> {
        let first = self.peek(0);
        let second = self.peek(1);
        if second.kind == Kind::OpenIndex {
            return self.field();
        }
        self.next();
        match second.keyword() {
            "src" | "dst" | "host" | "net" | "port" | "portrange" | "proto" => {
                return self.qualified(family);
            }
            "broadcast" | "multicast" => {
                self.next();
                return group(family, first, second).map(Part::plain);
            }
            "protochain" | "gateway" => return Err(unknown(second)),
            _ => {}
        }
        Ok(Part::plain(match family {
            Family::Ether if second.kind == Kind::Word => {
                let qualifiers =
                    Qualifiers { family, direction: Direction::Either, subject: Subject::Host };
                return self.value(qualifiers);
            }
            Family::Any | Family::Ether => {
                return Err(second.expected("`host`, `src`, `dst`, `proto` or an address"));
            }
            Family::Ip => Test::EtherType(ether_type::IPV4).into(),
            Family::Ip6 => Test::EtherType(ether_type::IPV6).into(),
            Family::Arp => Test::EtherType(ether_type::ARP).into(),
            Family::Rarp => Test::EtherType(RARP).into(),
            Family::Tcp => either_protocol(6),
            Family::Udp => either_protocol(17),
            Family::Sctp => either_protocol(132),
        }))
    }

    /// Direction and subject, at least one of them, then values.
    fn qualified(&mut self, family: Family) -> Result<Part, ParseError> {
        let direction = self.direction();
        let token = self.peek(0);
        let subject = match token.keyword() {
            "host" => Subject::Host,
            "net" => Subject::Net,
            "port" => Subject::Port,
            "portrange" => Subject::PortRange,
            "proto" => Subject::Protocol,
            _ => Subject::Unnamed,
        };
        if subject == Subject::Protocol && direction.is_some() {
            return Err(token.error("a protocol has no direction"));
        }
        let direction = direction.unwrap_or(Direction::Either);
        let qualifiers = Qualifiers { family, direction, subject };
        qualifiers.check(token)?;
        if subject != Subject::Unnamed {
            self.next();
        }
        let part = self.operand(Context::Values(qualifiers))?;
        Ok(Part { qualifiers: Some(qualifiers), ..part })
    }

    fn direction(&mut self) -> Option<Direction> {
        let (one, other) = match self.peek(0).keyword() {
            "src" => (Direction::Source, "dst"),
            "dst" => (Direction::Destination, "src"),
            _ => return None,
        };
        self.next();
        let both = match self.peek(0).kind {
            Kind::Or => Direction::Either,
            Kind::And => Direction::Both,
            _ => return Some(one),
        };
        if self.peek(1).keyword() != other {
            return Some(one);
        }
        self.next();
        self.next();
        Some(both)
    }

    fn vlan(&mut self) -> Result<Part, ParseError> {
        self.next();
        let token = self.peek(0);
        if token.kind != Kind::Word || is_keyword(token.keyword()) {
            return Ok(Part::plain(Test::Vlan(None)));
        }
        let id = int(token, 4095, "VLAN id")?;
        self.next();
        Ok(Part::plain(Test::Vlan(Some(id))))
    }

    /// `less` and `greater`, both including the number itself.
    fn length(&mut self) -> Result<Part, ParseError> {
        let word = self.next();
        let token = self.next();
        if token.kind != Kind::Word {
            return Err(token.expected("a length in bytes"));
        }
        let len_bytes: u32 = int(token, u32::MAX, "length")?;
        Ok(Part::plain(match word.text {
            "greater" => Test::LenAtLeast(len_bytes).into(),
            _ => Expr::not(above(len_bytes)),
        }))
    }
}

/// The frame is longer than this.
pub(super) fn above(len_bytes: u32) -> Expr {
    len_bytes.checked_add(1).map_or(Expr::Never, |more| Test::LenAtLeast(more).into())
}

/// `broadcast` and `multicast` behind a protocol.
fn group(family: Family, first: Token<'_>, second: Token<'_>) -> Result<Test, ParseError> {
    // No shorter prefix than the widths allow, so neither fails.
    let ip = Ipv4Net::new(Ipv4Addr::new(224, 0, 0, 0), 3);
    let ip6 = Ipv6Net::new(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8);
    match (family, second.text, ip, ip6) {
        (Family::Ether, "broadcast", ..) => Ok(Test::DestinationMac(MacAddr::BROADCAST)),
        (Family::Ether, ..) => Ok(Test::DestinationMacGroup),
        // As libpcap has it: everything from 224.0.0.0 up, the broadcast address included.
        (Family::Ip, "multicast", Ok(net), _) => Ok(Test::DestinationNet(net)),
        (Family::Ip6, "multicast", _, Ok(net)) => Ok(Test::Destination6Net(net)),
        (Family::Ip, ..) => Err(first.error_to(
            second,
            "the netmask is not known here: write `dst host` with the broadcast address",
        )),
        _ => Err(first.error_to(second, format!("{} has no {}", first.text, second.text))),
    }
}

/// The error for a word that begins nothing.
fn unknown(token: Token<'_>) -> ParseError {
    let word = quoted(token.text);
    let keyword = token.keyword();
    if UNSUPPORTED.contains(&keyword) {
        return token.error(format!("{word} of tcpdump is not supported"));
    }
    if matches!(keyword, "mask") {
        return token.error("`mask` stands behind `net` and an address");
    }
    let lower = token.text.to_ascii_lowercase();
    let hint = if lower != token.text && is_keyword(&lower) {
        format!("; keywords are in lower case: `{lower}`")
    } else if token.text.parse::<core::net::IpAddr>().is_ok() {
        format!("; an address is `host {}`", token.text)
    } else if token.text.parse::<u16>().is_ok() {
        format!("; a port is `port {}`", token.text)
    } else if super::names::service(token.text).is_some() {
        format!("; a service is `port {}`", token.text)
    } else if token.text.starts_with('\\') {
        return token
            .error(format!("{word} is a name; `ip proto` or another qualifier goes in front"));
    } else {
        return token.error(format!("unknown word {word}"));
    };
    token.error(format!("{word} is no primitive{hint}"))
}
