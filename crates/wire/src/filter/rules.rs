//! Ordered rules: which class a frame belongs to and what happens to it.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;

use super::{Expr, Fields, Ipv4Net, Test};
use crate::ethernet::ether_type;
use crate::ipv4::protocol;
use crate::{arp, icmpv4};

/// The name of a class, as counters show it.
pub type ClassName = Cow<'static, str>;

/// The class of frames that no rule matches.
pub const DEFAULT_CLASS: &str = "other";

/// What happens to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The frame comes to netmem; the kernel does not see it.
    Take,
    /// The frame goes on to the kernel.
    Pass,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// The class that its frames are counted in.
    pub class: ClassName,
    /// Which frames it is about.
    pub when: Expr,
    /// What happens to them.
    pub action: Action,
}

impl Rule {
    /// Makes a rule.
    #[must_use]
    pub fn new(class: impl Into<ClassName>, when: Expr, action: Action) -> Self {
        Self { class: class.into(), when, action }
    }
}

/// Rules in order: the first that matches decides; where none does, the frame passes.
///
/// A class is a rule's position, so two rules of the same name count apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// Makes a list of rules, the first one first.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        Self(rules.into_iter().collect())
    }

    /// Returns the rules in order, without the default.
    #[must_use]
    pub fn as_slice(&self) -> &[Rule] {
        &self.0
    }

    /// Returns the number of classes: one per rule and the default.
    #[must_use]
    pub fn class_count(&self) -> usize {
        self.0.len() + 1
    }

    /// Iterates over the names of the classes by index; the last one is [`DEFAULT_CLASS`].
    pub fn classes(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|rule| &*rule.class).chain([DEFAULT_CLASS])
    }

    /// Returns the index of a frame's class, below [`class_count`](Self::class_count), and what
    /// happens to the frame.
    #[must_use]
    pub fn classify(&self, fields: &Fields) -> (usize, Action) {
        self.0
            .iter()
            .enumerate()
            .find(|(_, rule)| rule.when.matches(fields))
            .map_or((self.0.len(), Action::Pass), |(index, rule)| (index, rule.action))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Take => "take",
            Self::Pass => "pass",
        })
    }
}

impl fmt::Display for Rules {
    /// Writes one rule a line, the default last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Rule { class, when, action } in &self.0 {
            writeln!(f, "{action} {class}: {when}")?;
        }
        write!(f, "{} {DEFAULT_CLASS}: always", Action::Pass)
    }
}

/// Builds the rules of netmem's responder, which answers ARP requests and pings for `addresses`.
///
/// It takes exactly those, untagged or priority-tagged, and passes everything else in classes of
/// its own: `vlan`, `arp_other`, `icmp_other`, `tcp`, `udp`, `ipv4_other`, `ipv6`, `other`.
/// A damaged ARP packet counts as `arp_other`, a damaged IPv4 header as `ipv4_other`.
#[must_use]
pub fn responder(addresses: &[Ipv4Addr]) -> Rules {
    let one_of = |test: fn(Ipv4Net) -> Test| {
        Expr::any(addresses.iter().map(|address| test(Ipv4Net::host(*address))))
    };
    let take = |class, tests: &[Test], address| {
        let tests = [Test::UntaggedOrPriority].iter().chain(tests).map(|test| (*test).into());
        Rule::new(class, Expr::all(tests.chain([address])), Action::Take)
    };
    let pass = |class, when: Expr| Rule::new(class, when, Action::Pass);
    let other_vlan = [Test::Vlan(None).into(), Expr::not(Test::UntaggedOrPriority)];
    Rules::new([
        take(
            "arp_request",
            &[Test::EtherType(ether_type::ARP), Test::ArpOperation(arp::operation::REQUEST)],
            one_of(Test::ArpTarget),
        ),
        take(
            "echo_request",
            &[
                Test::Ipv4,
                Test::IpProtocol(protocol::ICMP),
                Test::FirstFragment,
                Test::IcmpType(icmpv4::icmp_type::ECHO_REQUEST),
            ],
            one_of(Test::DestinationNet),
        ),
        pass("vlan", Expr::all(other_vlan)),
        pass("arp_other", Test::EtherType(ether_type::ARP).into()),
        pass("icmp_other", Test::IpProtocol(protocol::ICMP).into()),
        pass("tcp", Test::IpProtocol(protocol::TCP).into()),
        pass("udp", Test::IpProtocol(protocol::UDP).into()),
        pass("ipv4_other", Test::EtherType(ether_type::IPV4).into()),
        pass("ipv6", Test::EtherType(ether_type::IPV6).into()),
    ])
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::super::fields::tests::{Described, described};
    use super::*;

    const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    #[test]
    fn the_first_match_wins_and_the_default_passes() {
        let rules = Rules::new([
            Rule::new("a", Test::Ipv4.into(), Action::Pass),
            Rule::new(ClassName::Owned("b".to_string()), Expr::Always, Action::Take),
            Rule::new("c", Expr::Always, Action::Pass),
        ]);
        assert_eq!(rules.classify(&Fields::NONE), (1, Action::Take));
        assert_eq!(rules.classes().collect::<Vec<_>>(), ["a", "b", "c", "other"]);
        assert_eq!((rules.class_count(), rules.as_slice().len()), (4, 3));
        assert_eq!(Rules::default().classify(&Fields::NONE), (0, Action::Pass));
        assert_eq!(
            rules.to_string(),
            "pass a: ipv4\ntake b: always\npass c: always\npass other: always"
        );
    }

    #[test]
    fn the_responder_reads_as_it_should() {
        let text = responder(&[OURS, Ipv4Addr::new(10, 0, 0, 3)]).to_string();
        assert_eq!(
            text,
            "take arp_request: untagged_or_priority and ether_type 0x0806 and arp_operation 1 \
             and (arp_target 10.0.0.2/32 or arp_target 10.0.0.3/32)\n\
             take echo_request: untagged_or_priority and ipv4 and ip_protocol 1 and \
             first_fragment and icmp_type 8 and (destination 10.0.0.2/32 or destination \
             10.0.0.3/32)\n\
             pass vlan: vlan and not untagged_or_priority\n\
             pass arp_other: ether_type 0x0806\n\
             pass icmp_other: ip_protocol 1\n\
             pass tcp: ip_protocol 6\n\
             pass udp: ip_protocol 17\n\
             pass ipv4_other: ether_type 0x0800\n\
             pass ipv6: ether_type 0x86dd\n\
             pass other: always"
        );
    }

    fn class(tags: &[(u16, u16)], ether_type: u16, l3: &[u8]) -> (&'static str, Action) {
        let frame = Described::new(tags, ether_type, l3).frame();
        let rules = responder(&[Ipv4Addr::new(10, 0, 0, 9), OURS]);
        let (index, action) = rules.classify(&Fields::parse(&frame));
        let names = [
            "arp_request",
            "echo_request",
            "vlan",
            "arp_other",
            "icmp_other",
            "tcp",
            "udp",
            "ipv4_other",
            "ipv6",
            "other",
        ];
        assert!(rules.classes().eq(names));
        (names[index], action)
    }

    #[test]
    fn the_responder_takes_what_it_answers_and_nothing_else() {
        let arp = *b"\0\x01\x08\0\x06\x04\0\x01......\x0a\0\0\x01......\x0a\0\0\x02";
        let taken = ("arp_request", Action::Take);
        assert_eq!(class(&[], 0x0806, &arp), taken);
        assert_eq!(class(&[(0x8100, 0xe000)], 0x0806, &arp), taken);
        assert_eq!(class(&[(0x8100, 7)], 0x0806, &arp), ("vlan", Action::Pass));
        assert_eq!(class(&[(0x8100, 0), (0x8100, 0)], 0x0806, &arp).0, "vlan");
        assert_eq!(class(&[], 0x0806, &arp[..27]).0, "arp_other");
        for (at, value) in [(7, 2), (27, 3)] {
            let mut other = arp;
            other[at] = value;
            assert_eq!(class(&[], 0x0806, &other), ("arp_other", Action::Pass));
        }

        let ping = *b"\x45\0\0\x1c\0\0\0\0\x40\x01\0\0\x0a\0\0\x01\x0a\0\0\x02\x08\0\0\0\0\0\0\0";
        assert_eq!(class(&[], 0x0800, &ping), ("echo_request", Action::Take));
        assert_eq!(class(&[(0x8100, 7)], 0x0800, &ping).0, "vlan");
        assert_eq!(class(&[], 0x0800, &ping[..23]).0, "icmp_other");
        assert_eq!(class(&[], 0x0800, &ping[..19]).0, "ipv4_other");
        let changes = [
            (7, 1, "icmp_other"),
            (19, 3, "icmp_other"),
            (20, 0, "icmp_other"),
            (9, 6, "tcp"),
            (9, 17, "udp"),
            (9, 47, "ipv4_other"),
            (0, 0x44, "ipv4_other"),
        ];
        for (at, value, name) in changes {
            let mut other = ping;
            other[at] = value;
            assert_eq!(class(&[], 0x0800, &other), (name, Action::Pass));
        }
        assert_eq!(class(&[], 0x86dd, &ping).0, "ipv6");
        assert_eq!(class(&[], 0x9100, &ping).0, "other");
        assert_eq!(class(&[], 0x8100, &ping[..3]).0, "other");
    }

    #[test]
    fn a_responder_without_addresses_takes_nothing() {
        let rules = responder(&[]);
        let taking = rules.as_slice().iter().filter(|rule| rule.action == Action::Take);
        assert_eq!(taking.filter(|rule| rule.when.to_string().ends_with("never")).count(), 2);
    }

    proptest! {
        // Planted and caught: the last match wins; a default that takes.
        #[test]
        fn every_frame_has_one_class(described in described(), address: [u8; 4]) {
            let fields = Fields::parse(&described.frame());
            let rules = responder(&[address.into(), fields.arp_target, fields.ip_destination]);
            let (index, action) = rules.classify(&fields);
            let earlier = &rules.as_slice()[..index];
            prop_assert!(earlier.iter().all(|rule| !rule.when.matches(&fields)));
            match rules.as_slice().get(index) {
                Some(rule) => prop_assert!(rule.when.matches(&fields) && rule.action == action),
                None => prop_assert_eq!((index, action), (rules.class_count() - 1, Action::Pass)),
            }
        }
    }
}
