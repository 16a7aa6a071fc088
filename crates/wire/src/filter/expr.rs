//! Tests on fields, and expressions over them.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use super::{Fields, Ipv4Net, Ipv6Net, Present};
use crate::{MacAddr, vlan};

/// One question about a frame; false if the field it asks about is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Test {
    /// The Ethernet source address is this one.
    SourceMac(MacAddr),
    /// The Ethernet destination address is this one.
    DestinationMac(MacAddr),
    /// The Ethernet destination is a group: multicast or broadcast.
    DestinationMacGroup,
    /// The Ethernet type after the tags is this one.
    EtherType(u16),
    /// There is a tag; with an id: the outermost tag's id is this one.
    Vlan(Option<u16>),
    /// The frame belongs to no VLAN: it has no tag, or exactly one with id 0. A frame whose tags
    /// are cut off or more than two (its Ethernet type still announces a tag) does not count.
    UntaggedOrPriority,
    /// The ARP operation is this one.
    ArpOperation(u16),
    /// The IPv4 address that ARP asks for is in the network.
    ArpTarget(Ipv4Net),
    /// The IPv4 address of the ARP sender is in the network.
    ArpSender(Ipv4Net),
    /// There is an IPv4 header.
    Ipv4,
    /// The IPv4 protocol is this one.
    IpProtocol(u8),
    /// The IPv4 source address is in the network.
    SourceNet(Ipv4Net),
    /// The IPv4 destination address is in the network.
    DestinationNet(Ipv4Net),
    /// There is an IPv6 header.
    Ipv6,
    /// The protocol behind the IPv6 extension headers is this one. Of a later fragment it is the
    /// fragment header's next header.
    Ip6Protocol(u8),
    /// The IPv6 source address is in the network.
    Source6Net(Ipv6Net),
    /// The IPv6 destination address is in the network.
    Destination6Net(Ipv6Net),
    /// The packet, of IPv4 or IPv6, is not fragmented, or this is its first fragment.
    FirstFragment,
    /// The packet, of IPv4 or IPv6, is a fragment, the first or another.
    Fragment,
    /// The type of the ICMP message (of IPv4) is this one.
    IcmpType(u8),
    /// The code of the ICMP message (of IPv4) is this one.
    IcmpCode(u8),
    /// The type of the `ICMPv6` message is this one.
    Icmp6Type(u8),
    /// The target of the neighbor solicitation or advertisement (`ICMPv6` 135, 136) is in the
    /// network.
    NdTarget(Ipv6Net),
    /// The source port of TCP, UDP, UDP-Lite or SCTP is this one.
    SourcePort(u16),
    /// The destination port of TCP, UDP, UDP-Lite or SCTP is this one.
    DestinationPort(u16),
    /// The source port is one of these; none is if `first` is above `last`.
    SourcePortIn {
        /// Lowest port.
        first: u16,
        /// Highest port.
        last: u16,
    },
    /// The destination port is one of these; none is if `first` is above `last`.
    DestinationPortIn {
        /// Lowest port.
        first: u16,
        /// Highest port.
        last: u16,
    },
    /// Of the TCP flags (byte 13 of the header), those in `mask` are `value`. No flags are, if
    /// `value` has bits that `mask` has not.
    TcpFlags {
        /// Which flags are looked at.
        mask: u8,
        /// What they shall be.
        value: u8,
    },
    /// The frame has this many bytes or more. `less n` is not `LenAtLeast(n + 1)`.
    LenAtLeast(u32),
}

impl Test {
    /// Returns which fields must be there for the test to be true.
    #[inline]
    #[must_use]
    pub const fn needs(self) -> Present {
        match self {
            Self::SourceMac(_)
            | Self::DestinationMac(_)
            | Self::DestinationMacGroup
            | Self::EtherType(_)
            | Self::UntaggedOrPriority => Present::ETHERNET,
            Self::Vlan(_) => Present::VLAN,
            Self::ArpOperation(_) | Self::ArpTarget(_) | Self::ArpSender(_) => Present::ARP,
            Self::Ipv4 | Self::IpProtocol(_) | Self::SourceNet(_) | Self::DestinationNet(_) => {
                Present::IPV4
            }
            Self::Ipv6 | Self::Source6Net(_) | Self::Destination6Net(_) => Present::IPV6,
            Self::Ip6Protocol(_) => Present::IP6_PROTOCOL,
            Self::FirstFragment | Self::Fragment => Present::FRAGMENT,
            Self::IcmpType(_) | Self::IcmpCode(_) => Present::ICMP,
            Self::Icmp6Type(_) => Present::ICMP6,
            Self::NdTarget(_) => Present::ND_TARGET,
            Self::SourcePort(_)
            | Self::DestinationPort(_)
            | Self::SourcePortIn { .. }
            | Self::DestinationPortIn { .. } => Present::PORTS,
            Self::TcpFlags { .. } => Present::TCP_FLAGS,
            Self::LenAtLeast(_) => Present::NONE,
        }
    }

    /// Answers the question for a frame.
    #[must_use]
    pub fn matches(self, fields: &Fields) -> bool {
        fields.present.contains(self.needs())
            && match self {
                Self::SourceMac(address) => fields.source_mac == address,
                Self::DestinationMac(address) => fields.destination_mac == address,
                Self::DestinationMacGroup => fields.destination_mac.is_multicast(),
                Self::EtherType(ether_type) => fields.ether_type == ether_type,
                Self::Vlan(id) => id.is_none_or(|id| fields.vlan_ids[0] == id),
                Self::UntaggedOrPriority => {
                    !vlan::is_tag(fields.ether_type)
                        && (fields.vlan_count == 0
                            || fields.vlan_count == 1 && fields.vlan_ids[0] == 0)
                }
                Self::ArpOperation(operation) => fields.arp_operation == operation,
                Self::ArpTarget(net) => net.contains(fields.arp_target),
                Self::ArpSender(net) => net.contains(fields.arp_sender),
                Self::Ipv4 | Self::Ipv6 => true,
                Self::IpProtocol(protocol) => fields.ip_protocol == protocol,
                Self::SourceNet(net) => net.contains(fields.ip_source),
                Self::DestinationNet(net) => net.contains(fields.ip_destination),
                Self::Ip6Protocol(protocol) => fields.ip6_protocol == protocol,
                Self::Source6Net(net) => net.contains(fields.ip6_source),
                Self::Destination6Net(net) => net.contains(fields.ip6_destination),
                Self::FirstFragment => fields.fragment_offset_bytes == 0,
                Self::Fragment => fields.fragment_offset_bytes != 0 || fields.more_fragments,
                Self::IcmpType(icmp_type) => fields.icmp_type == icmp_type,
                Self::IcmpCode(icmp_code) => fields.icmp_code == icmp_code,
                Self::Icmp6Type(icmp6_type) => fields.icmp6_type == icmp6_type,
                Self::NdTarget(net) => net.contains(fields.nd_target),
                Self::SourcePort(port) => fields.source_port == port,
                Self::DestinationPort(port) => fields.destination_port == port,
                Self::SourcePortIn { first, last } => (first..=last).contains(&fields.source_port),
                Self::DestinationPortIn { first, last } => {
                    (first..=last).contains(&fields.destination_port)
                }
                Self::TcpFlags { mask, value } => fields.tcp_flags & mask == value,
                Self::LenAtLeast(len_bytes) => fields.len_bytes >= len_bytes,
            }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SourceMac(address) => write!(f, "source_mac {address}"),
            Self::DestinationMac(address) => write!(f, "destination_mac {address}"),
            Self::DestinationMacGroup => f.write_str("destination_mac_group"),
            Self::EtherType(ether_type) => write!(f, "ether_type {ether_type:#06x}"),
            Self::Vlan(None) => f.write_str("vlan"),
            Self::Vlan(Some(id)) => write!(f, "vlan {id}"),
            Self::UntaggedOrPriority => f.write_str("untagged_or_priority"),
            Self::ArpOperation(operation) => write!(f, "arp_operation {operation}"),
            Self::ArpTarget(net) => write!(f, "arp_target {net}"),
            Self::ArpSender(net) => write!(f, "arp_sender {net}"),
            Self::Ipv4 => f.write_str("ipv4"),
            Self::IpProtocol(protocol) => write!(f, "ip_protocol {protocol}"),
            Self::SourceNet(net) => write!(f, "source {net}"),
            Self::DestinationNet(net) => write!(f, "destination {net}"),
            Self::Ipv6 => f.write_str("ipv6"),
            Self::Ip6Protocol(protocol) => write!(f, "ip6_protocol {protocol}"),
            Self::Source6Net(net) => write!(f, "source6 {net}"),
            Self::Destination6Net(net) => write!(f, "destination6 {net}"),
            Self::FirstFragment => f.write_str("first_fragment"),
            Self::Fragment => f.write_str("fragment"),
            Self::IcmpType(icmp_type) => write!(f, "icmp_type {icmp_type}"),
            Self::IcmpCode(icmp_code) => write!(f, "icmp_code {icmp_code}"),
            Self::Icmp6Type(icmp6_type) => write!(f, "icmp6_type {icmp6_type}"),
            Self::NdTarget(net) => write!(f, "nd_target {net}"),
            Self::SourcePort(port) => write!(f, "source_port {port}"),
            Self::DestinationPort(port) => write!(f, "destination_port {port}"),
            Self::SourcePortIn { first, last } => write!(f, "source_port {first}-{last}"),
            Self::DestinationPortIn { first, last } => write!(f, "destination_port {first}-{last}"),
            Self::TcpFlags { mask, value } => write!(f, "tcp_flags {value:#04x}/{mask:#04x}"),
            Self::LenAtLeast(len_bytes) => write!(f, "len_at_least {len_bytes}"),
        }
    }
}

/// A filter expression.
///
/// Evaluation recurses as deep as the expression is nested; who builds one from foreign text limits
/// the depth.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expr {
    /// Matches every frame.
    Always,
    /// Matches no frame.
    Never,
    /// Matches what the test does.
    Test(Test),
    /// Matches what the inner expression does not.
    Not(Box<Self>),
    /// Matches what all of these do; an empty list matches every frame.
    All(Vec<Self>),
    /// Matches what at least one of these does; an empty list matches no frame.
    Any(Vec<Self>),
}

impl Expr {
    /// Makes the negation of a test or expression.
    #[must_use]
    pub fn not(inner: impl Into<Self>) -> Self {
        Self::Not(Box::new(inner.into()))
    }

    /// Makes the conjunction of tests or expressions.
    #[must_use]
    pub fn all<E: Into<Self>>(parts: impl IntoIterator<Item = E>) -> Self {
        Self::All(parts.into_iter().map(Into::into).collect())
    }

    /// Makes the disjunction of tests or expressions.
    #[must_use]
    pub fn any<E: Into<Self>>(parts: impl IntoIterator<Item = E>) -> Self {
        Self::Any(parts.into_iter().map(Into::into).collect())
    }

    /// Tells whether a frame with these fields matches.
    #[must_use]
    pub fn matches(&self, fields: &Fields) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Test(test) => test.matches(fields),
            Self::Not(inner) => !inner.matches(fields),
            Self::All(parts) => parts.iter().all(|part| part.matches(fields)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(fields)),
        }
    }

    /// Writes a part of a larger expression: in parentheses if it is a list of several.
    fn fmt_part(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(parts) | Self::Any(parts) => match &parts[..] {
                [] => write!(f, "{self}"),
                [part] => part.fmt_part(f),
                _ => write!(f, "({self})"),
            },
            _ => write!(f, "{self}"),
        }
    }
}

impl From<Test> for Expr {
    fn from(test: Test) -> Self {
        Self::Test(test)
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parts, word, empty) = match self {
            Self::Always => return f.write_str("always"),
            Self::Never => return f.write_str("never"),
            Self::Test(test) => return write!(f, "{test}"),
            Self::Not(inner) => {
                f.write_str("not ")?;
                return inner.fmt_part(f);
            }
            Self::All(parts) => (parts, " and ", "always"),
            Self::Any(parts) => (parts, " or ", "never"),
        };
        let Some((first, others)) = parts.split_first() else { return f.write_str(empty) };
        if others.is_empty() {
            // A list of one is that one.
            return write!(f, "{first}");
        }
        first.fmt_part(f)?;
        for part in others {
            f.write_str(word)?;
            part.fmt_part(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec;

    use proptest::prelude::*;

    use super::super::fields::tests::{Described, described};
    use super::*;

    /// Every test with a value that the frames below have, or not.
    fn samples(net: Ipv4Net) -> [Test; 16] {
        [
            Test::EtherType(0x0800),
            Test::Vlan(None),
            Test::Vlan(Some(5)),
            Test::UntaggedOrPriority,
            Test::ArpOperation(1),
            Test::ArpTarget(net),
            Test::ArpSender(net),
            Test::Ipv4,
            Test::IpProtocol(17),
            Test::SourceNet(net),
            Test::DestinationNet(net),
            Test::FirstFragment,
            Test::Fragment,
            Test::IcmpType(8),
            Test::SourcePort(53),
            Test::DestinationPort(53),
        ]
    }

    fn tests() -> impl Strategy<Value = Test> {
        let net = prop::sample::select(vec!["0.0.0.0/0", "128.0.0.0/1", "10.0.0.0/8"]);
        (net, 0_usize..16).prop_map(|(net, i)| samples(net.parse().unwrap())[i])
    }

    fn exprs() -> impl Strategy<Value = Expr> {
        let leaf = prop_oneof![
            8 => tests().prop_map(Expr::Test),
            1 => Just(Expr::Always),
            1 => Just(Expr::Never),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                inner.clone().prop_map(Expr::not),
                prop::collection::vec(inner.clone(), 0..4).prop_map(Expr::All),
                prop::collection::vec(inner, 0..4).prop_map(Expr::Any),
            ]
        })
    }

    /// The value of an expression over given answers, as arithmetic: `and` is a product, `or` the
    /// complement of a product of complements.
    fn value(expr: &Expr, answer: &dyn Fn(Test) -> bool) -> u32 {
        match expr {
            Expr::Always => 1,
            Expr::Never => 0,
            Expr::Test(test) => answer(*test).into(),
            Expr::Not(inner) => 1 - value(inner, answer),
            Expr::All(parts) => parts.iter().map(|part| value(part, answer)).product(),
            Expr::Any(parts) => {
                1 - parts.iter().map(|part| 1 - value(part, answer)).product::<u32>()
            }
        }
    }

    fn matching(tags: &[(u16, u16)], ether_type: u16, l3: &[u8]) -> Vec<usize> {
        let frame = Described::new(tags, ether_type, l3).frame();
        let fields = Fields::parse(&frame);
        let tests = samples("10.0.0.0/8".parse().unwrap());
        (0..tests.len()).filter(|i| tests[*i].matches(&fields)).collect()
    }

    #[test]
    fn each_test_says_yes_and_no() {
        let mut arp = *b"\0\x01\x08\0\x06\x04\0\x01......\x0a\0\0\x01......\x0a\0\0\x02";
        assert_eq!(matching(&[], 0x0806, &arp), [3, 4, 5, 6]);
        arp[14] = 11;
        assert_eq!(matching(&[], 0x0806, &arp), [3, 4, 5]);
        arp[24] = 11;
        arp[7] = 2;
        assert_eq!(matching(&[], 0x0806, &arp), [3]);

        let mut ip =
            *b"\x45\0\0\x1c\0\0\0\0\x40\x11\0\0\x0a\0\0\x01\x0a\0\0\x02\0\x35\0\x35\0\x08\0\0";
        assert_eq!(matching(&[], 0x0800, &ip), [0, 3, 7, 8, 9, 10, 11, 14, 15]);
        // The first fragment has ports, a later one has none, and the last one is a fragment too.
        ip[6] = 0x20;
        assert_eq!(matching(&[], 0x0800, &ip), [0, 3, 7, 8, 9, 10, 11, 12, 14, 15]);
        ip[7] = 1;
        assert_eq!(matching(&[], 0x0800, &ip), [0, 3, 7, 8, 9, 10, 12]);
        ip[6] = 0;
        assert_eq!(matching(&[], 0x0800, &ip), [0, 3, 7, 8, 9, 10, 12]);
        ip[7] = 0;
        ip[12] = 11;
        ip[21] = 54;
        assert_eq!(matching(&[], 0x0800, &ip), [0, 3, 7, 8, 10, 11, 15]);
        ip[16] = 11;
        ip[23] = 54;
        assert_eq!(matching(&[], 0x0800, &ip), [0, 3, 7, 8, 11]);
        ip[9] = 1;
        ip[20] = 8;
        assert_eq!(matching(&[], 0x0800, &ip), [0, 3, 7, 11, 13]);
        ip[20] = 0;
        assert_eq!(matching(&[], 0x0800, &ip), [0, 3, 7, 11]);
        ip[0] = 0x65;
        assert_eq!(matching(&[], 0x0800, &ip), [0, 3]);
    }

    #[test]
    fn tags_decide_who_is_untagged() {
        assert_eq!(matching(&[], 0x86dd, &[]), [3]);
        assert_eq!(matching(&[(0x8100, 0xe000)], 0x86dd, &[]), [1, 3]);
        assert_eq!(matching(&[(0x88a8, 0xe005)], 0x86dd, &[]), [1, 2]);
        assert_eq!(matching(&[(0x8100, 0), (0x8100, 0)], 0x86dd, &[]), [1]);
        assert_eq!(matching(&[(0x8100, 0), (0x8100, 5)], 0x86dd, &[]), [1]);
        assert_eq!(matching(&[(0x8100, 5), (0x8100, 0)], 0x86dd, &[]), [1, 2]);
        // Cut in its tag: neither tagged nor untagged.
        assert_eq!(matching(&[], 0x8100, &[0, 0, 8]), [0; 0]);
        assert_eq!(matching(&[(0x8100, 0)], 0x88a8, &[0, 0, 8]), [1]);
    }

    #[test]
    fn expressions_print_readably() {
        let net: Ipv4Net = "10.0.0.0/8".parse().unwrap();
        let text = samples(net).map(|test| test.to_string()).join(", ");
        assert_eq!(
            text,
            "ether_type 0x0800, vlan, vlan 5, untagged_or_priority, arp_operation 1, \
             arp_target 10.0.0.0/8, arp_sender 10.0.0.0/8, ipv4, ip_protocol 17, \
             source 10.0.0.0/8, destination 10.0.0.0/8, first_fragment, fragment, icmp_type 8, \
             source_port 53, destination_port 53"
        );
        let one = Expr::any([Test::Ipv4]);
        let two = Expr::any([Test::Vlan(None), Test::Fragment]);
        let expr = Expr::all([one.clone(), two.clone(), Expr::not(two), Expr::not(one)]);
        assert_eq!(
            expr.to_string(),
            "ipv4 and (vlan or fragment) and not (vlan or fragment) and not ipv4"
        );
        let nested = Expr::any([Expr::All(vec![expr]), Expr::Always]);
        assert!(nested.to_string().starts_with("(ipv4 and "), "{nested}");
        let empty = Expr::any([Expr::All(vec![]), Expr::Any(vec![]), Expr::Never]);
        assert_eq!(empty.to_string(), "always or never or never");
    }

    proptest! {
        // Planted and caught: any as all; an empty all that is false; not without effect.
        #[test]
        fn an_expression_is_arithmetic_over_its_tests(described in described(), expr in exprs()) {
            let fields = Fields::parse(&described.frame());
            let expected = value(&expr, &|test| test.matches(&fields)) == 1;
            prop_assert_eq!(expr.matches(&fields), expected);
        }

        // Planted and caught: SourcePort, IcmpType and FirstFragment that do not look at presence.
        #[test]
        fn a_test_on_an_absent_field_is_false(
            described in described(), test in tests(), len in 0_usize..100,
        ) {
            let frame = described.frame();
            let fields = Fields::parse(&frame[..len.min(frame.len())]);
            if !fields.present.contains(test.needs()) {
                prop_assert!(!test.matches(&fields));
            }
            prop_assert!(!test.matches(&Fields::NONE));
        }
    }
}
