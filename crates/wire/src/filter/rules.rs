//! Ordered rules: which class a frame belongs to and what happens to it.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use super::{Expr, Fields, Ipv4Net, Ipv6Net, Test};
use crate::ethernet::ether_type;
use crate::ipv4::protocol;
use crate::ipv6::next_header;
use crate::{arp, icmpv4, icmpv6};

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

/// What netmem's responder answers, as [`responder`] needs to know it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ResponderConfig {
    /// IPv4 addresses whose ARP requests and pings are answered.
    pub addresses: Vec<Ipv4Addr>,
    /// IPv6 addresses whose neighbor solicitations and pings are answered.
    pub addresses6: Vec<Ipv6Addr>,
    /// IPv4 networks for whose addresses ARP requests are answered (RFC 1027), probes not.
    pub proxied: Vec<Ipv4Net>,
    /// IPv6 networks for whose addresses neighbor solicitations are answered (RFC 4861 section
    /// 7.2.8), those of duplicate address detection not.
    pub proxied6: Vec<Ipv6Net>,
    /// The only frames to look at; all others pass.
    pub only: Option<Expr>,
}

impl ResponderConfig {
    /// Makes a configuration with IPv4 addresses alone.
    #[must_use]
    pub fn ipv4(addresses: &[Ipv4Addr]) -> Self {
        Self { addresses: addresses.to_vec(), ..Self::default() }
    }
}

/// Builds the rules of netmem's responder, which answers ARP requests, neighbor solicitations and
/// pings.
///
/// It takes exactly those, untagged or priority-tagged, and passes everything else in classes of
/// its own: `vlan`, `arp_other`, `icmp_other`, `icmp6_other`, `tcp`, `udp`, `ipv4_other`, `ipv6`,
/// `other`. A damaged ARP packet counts as `arp_other`, a damaged IPv4 header as `ipv4_other`.
///
/// With [`only`](ResponderConfig::only) the first class is `outside_filter`: what does not match
/// that expression passes, whatever it is. Classes of IPv6 but `ipv6` itself are there if it has
/// IPv6 addresses or networks, classes of proxying if it has networks: what nobody asks for costs
/// nothing per frame.
///
/// A test compares a field with values, not with another field. So two kinds of frames are taken
/// that the responder then drops: ARP announcements of addresses in its networks, and pings that
/// it does not answer because of what is in their headers.
#[must_use]
pub fn responder(config: &ResponderConfig) -> Rules {
    let ResponderConfig { addresses, addresses6, proxied, proxied6, only } = config;
    let has_ipv6 = !(addresses6.is_empty() && proxied6.is_empty());
    let other_vlan = [Test::Vlan(None).into(), Expr::not(Test::UntaggedOrPriority)];
    let outside = only.iter().map(|only| pass("outside_filter", Expr::not(only.clone())));
    let other6 = pass("icmp6_other", Test::Ip6Protocol(next_header::ICMPV6).into());
    let others = [
        pass("vlan", Expr::all(other_vlan)),
        pass("arp_other", Test::EtherType(ether_type::ARP).into()),
        pass("icmp_other", Test::IpProtocol(protocol::ICMP).into()),
        pass("tcp", Test::IpProtocol(protocol::TCP).into()),
        pass("udp", Test::IpProtocol(protocol::UDP).into()),
        pass("ipv4_other", Test::EtherType(ether_type::IPV4).into()),
    ];
    let rules = outside.chain(taken4(addresses, proxied)).chain(taken6(addresses6, proxied6));
    let rules = rules.chain(others).chain(has_ipv6.then_some(other6));
    Rules::new(rules.chain([pass("ipv6", Test::EtherType(ether_type::IPV6).into())]))
}

/// What is answered of ARP and IPv4.
fn taken4(addresses: &[Ipv4Addr], proxied: &[Ipv4Net]) -> impl Iterator<Item = Rule> {
    let hosts = || addresses.iter().map(|address| Ipv4Net::host(*address));
    let request = [Test::EtherType(ether_type::ARP), Test::ArpOperation(arp::operation::REQUEST)];
    let echo = [
        Test::Ipv4,
        Test::IpProtocol(protocol::ICMP),
        Test::FirstFragment,
        Test::IcmpType(icmpv4::icmp_type::ECHO_REQUEST),
    ];
    let probe = Test::ArpSender(Ipv4Net::host(Ipv4Addr::UNSPECIFIED));
    let proxy = (!proxied.is_empty()).then(|| {
        let target = Expr::any(proxied.iter().map(|net| Test::ArpTarget(*net)));
        take("arp_proxy", &request, [Expr::not(probe), target])
    });
    [
        take("arp_request", &request, [Expr::any(hosts().map(Test::ArpTarget))]),
        take("echo_request", &echo, [Expr::any(hosts().map(Test::DestinationNet))]),
    ]
    .into_iter()
    .chain(proxy)
}

/// What is answered of IPv6: nothing, and at no cost, without addresses and networks.
fn taken6(addresses: &[Ipv6Addr], proxied: &[Ipv6Net]) -> impl Iterator<Item = Rule> {
    let hosts = || addresses.iter().map(|address| Ipv6Net::host(*address));
    let solicitation = [Test::Ipv6, Test::Icmp6Type(icmpv6::icmp_type::NEIGHBOR_SOLICITATION)];
    let echo = [Test::Ipv6, Test::Icmp6Type(icmpv6::icmp_type::ECHO_REQUEST)];
    let detection = Test::Source6Net(Ipv6Net::host(Ipv6Addr::UNSPECIFIED));
    let own = (!addresses.is_empty()).then(|| {
        let target = Expr::any(hosts().map(Test::NdTarget));
        [
            take("neighbor_solicitation", &solicitation, [target]),
            take("echo_request6", &echo, [Expr::any(hosts().map(Test::Destination6Net))]),
        ]
    });
    let proxy = (!proxied.is_empty()).then(|| {
        let target = Expr::any(proxied.iter().map(|net| Test::NdTarget(*net)));
        take("ndp_proxy", &solicitation, [Expr::not(detection), target])
    });
    own.into_iter().flatten().chain(proxy)
}

/// Takes what is of no VLAN, passes all `tests` and matches all `parts`.
fn take<const N: usize>(class: &'static str, tests: &[Test], parts: [Expr; N]) -> Rule {
    let tests = [Test::UntaggedOrPriority].iter().chain(tests).map(|test| (*test).into());
    Rule::new(class, Expr::all(tests.chain(parts)), Action::Take)
}

fn pass(class: &'static str, when: Expr) -> Rule {
    Rule::new(class, when, Action::Pass)
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};
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
        let two = [OURS, Ipv4Addr::new(10, 0, 0, 3)];
        let text = responder(&ResponderConfig::ipv4(&two)).to_string();
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
        let rules = responder(&ResponderConfig::ipv4(&[Ipv4Addr::new(10, 0, 0, 9), OURS]));
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
        let rules = responder(&ResponderConfig::default());
        let taking = rules.as_slice().iter().filter(|rule| rule.action == Action::Take);
        assert_eq!(taking.filter(|rule| rule.when.to_string().ends_with("never")).count(), 2);
    }

    const OURS6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

    /// A configuration with something of everything.
    fn full() -> ResponderConfig {
        ResponderConfig {
            addresses: [OURS].into(),
            addresses6: [OURS6].into(),
            proxied: ["10.1.0.0/16".parse().unwrap()].into(),
            proxied6: ["2001:db8:1::/48".parse().unwrap()].into(),
            only: Some("not host 10.0.0.9".parse().unwrap()),
        }
    }

    #[test]
    fn the_full_responder_reads_as_it_should() {
        let text = responder(&full()).to_string();
        let taken = "pass outside_filter: not not (source 10.0.0.9/32 or destination 10.0.0.9/32 \
             or arp_sender 10.0.0.9/32 or arp_target 10.0.0.9/32)\n\
             take arp_request: untagged_or_priority and ether_type 0x0806 and arp_operation 1 \
             and arp_target 10.0.0.2/32\n\
             take echo_request: untagged_or_priority and ipv4 and ip_protocol 1 and \
             first_fragment and icmp_type 8 and destination 10.0.0.2/32\n\
             take arp_proxy: untagged_or_priority and ether_type 0x0806 and arp_operation 1 and \
             not arp_sender 0.0.0.0/32 and arp_target 10.1.0.0/16\n\
             take neighbor_solicitation: untagged_or_priority and ipv6 and icmp6_type 135 and \
             nd_target 2001:db8::2/128\n\
             take echo_request6: untagged_or_priority and ipv6 and icmp6_type 128 and \
             destination6 2001:db8::2/128\n\
             take ndp_proxy: untagged_or_priority and ipv6 and icmp6_type 135 and not source6 \
             ::/128 and nd_target 2001:db8:1::/48\n\
             pass vlan: ";
        assert_eq!(text.split_inclusive("pass vlan: ").next(), Some(taken));
        assert!(
            text.contains("pass ipv4_other: ether_type 0x0800\npass icmp6_other: ip6_protocol 58")
        );
    }

    fn class_of(config: &ResponderConfig, tags: &[(u16, u16)], kind: u16, l3: &[u8]) -> String {
        let rules = responder(config);
        let fields = Fields::parse(&Described::new(tags, kind, l3).frame());
        let (index, action) = rules.classify(&fields);
        let name = rules.classes().nth(index).unwrap().to_string();
        let taken =
            ["arp_", "echo_", "neighbor_", "ndp_"].iter().any(|word| name.starts_with(word));
        assert_eq!(action == Action::Take, taken && name != "arp_other", "{name}");
        name
    }

    // Planted and caught: detection and probes taken for networks; another type; `only` inverted.
    #[test]
    fn the_full_responder_takes_what_it_answers_and_nothing_else() {
        let config = full();
        let arp = |sender: [u8; 4], target: [u8; 4]| {
            let start = b"\0\x01\x08\0\x06\x04\0\x01......";
            [&start[..], &sender, b"......", &target].concat()
        };
        let class = |kind, l3: &[u8]| class_of(&config, &[], kind, l3);
        assert_eq!(class(0x0806, &arp([10, 0, 0, 1], [10, 1, 2, 3])), "arp_proxy");
        assert_eq!(class(0x0806, &arp([10, 0, 0, 1], [10, 2, 2, 3])), "arp_other");
        assert_eq!(class(0x0806, &arp([0; 4], [10, 1, 2, 3])), "arp_other", "a probe");
        assert_eq!(class(0x0806, &arp([0; 4], [10, 0, 0, 2])), "arp_request");
        assert_eq!(class(0x0806, &arp([10, 0, 0, 9], [10, 0, 0, 2])), "outside_filter");

        let packet = |from: &str, to: &str, message: &[u8]| {
            let addresses = [from, to].map(|text| text.parse::<Ipv6Addr>().unwrap().octets());
            [&[0x60, 0, 0, 0, 0, 0, 58, 255][..], &addresses.concat(), message].concat()
        };
        let ask = |from, target: &str| {
            let target = target.parse::<Ipv6Addr>().unwrap().octets();
            packet(from, "ff02::1", &[&[135, 0, 0, 0, 0, 0, 0, 0][..], &target].concat())
        };
        let ping = packet("fe80::1", "2001:db8::2", &[128, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(class(0x86dd, &ask("fe80::1", "2001:db8::2")), "neighbor_solicitation");
        assert_eq!(class(0x86dd, &ask("::", "2001:db8::2")), "neighbor_solicitation");
        assert_eq!(class(0x86dd, &ask("fe80::1", "2001:db8::3")), "icmp6_other");
        assert_eq!(class(0x86dd, &ask("fe80::1", "2001:db8:1::3")), "ndp_proxy");
        assert_eq!(class(0x86dd, &ask("::", "2001:db8:1::3")), "icmp6_other", "detection");
        assert_eq!(class(0x86dd, &ping), "echo_request6");
        assert_eq!(class_of(&config, &[(0x8100, 0)], 0x86dd, &ping), "echo_request6");
        assert_eq!(class_of(&config, &[(0x8100, 7)], 0x86dd, &ping), "vlan");
        assert_eq!(class_of(&ResponderConfig::ipv4(&[OURS]), &[], 0x86dd, &ping), "ipv6");
        for (at, value, name) in
            [(40, 129, "icmp6_other"), (39, 3, "icmp6_other"), (6, 17, "ipv6"), (0, 0x40, "ipv6")]
        {
            let mut other = ping.clone();
            other[at] = value;
            assert_eq!(class(0x86dd, &other), name);
        }
        assert_eq!(class(0x86dd, &ping[..43]), "icmp6_other", "cut");
    }

    proptest! {
        // Planted and caught: the last match wins; a default that takes.
        #[test]
        fn every_frame_has_one_class(described in described(), address: [u8; 4]) {
            let fields = Fields::parse(&described.frame());
            let host = |address| Ipv6Net::new(address, 128).unwrap();
            let rules = responder(&ResponderConfig {
                addresses: [address.into(), fields.arp_target, fields.ip_destination].into(),
                addresses6: [fields.ip6_destination].into(),
                proxied: [Ipv4Net::new(fields.arp_target, 8).unwrap()].into(),
                proxied6: [host(fields.nd_target)].into(),
                only: Some(Expr::not(Test::IpProtocol(address[0]))),
            });
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
