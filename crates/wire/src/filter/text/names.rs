//! Names for numbers: ports, protocols, Ethernet types, message types, TCP flags.
//!
//! The tables are part of the grammar so that a text means the same on every machine; a name that
//! is not here is written as its number.

/// Transport protocols as a set of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Transports(u8);

impl Transports {
    pub(super) const TCP: Self = Self(1);
    pub(super) const UDP: Self = Self(2);
    pub(super) const SCTP: Self = Self(4);
    pub(super) const TCP_UDP: Self = Self(3);
    /// Every protocol with ports.
    pub(super) const ALL: Self = Self(0xff);

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The IP protocol numbers, if not all protocols are meant.
    pub(super) fn numbers(self) -> impl Iterator<Item = u8> {
        let all = self == Self::ALL;
        [(Self::TCP, 6), (Self::UDP, 17), (Self::SCTP, 132)]
            .into_iter()
            .filter(move |(one, _)| !all && !self.and(*one).is_empty())
            .map(|(_, number)| number)
    }
}

const T: Transports = Transports::TCP;
const U: Transports = Transports::UDP;
const TU: Transports = Transports::TCP_UDP;

/// Services: name, port, and the protocols that the name is used with (IANA's registry, as far as
/// services are in use).
pub(super) const SERVICES: &[(&str, u16, Transports)] = &[
    ("echo", 7, TU),
    ("discard", 9, TU),
    ("daytime", 13, TU),
    ("chargen", 19, TU),
    ("ftp-data", 20, T),
    ("ftp", 21, T),
    ("ssh", 22, T),
    ("telnet", 23, T),
    ("smtp", 25, T),
    ("time", 37, TU),
    ("whois", 43, T),
    ("tacacs", 49, TU),
    ("domain", 53, TU),
    ("dns", 53, TU),
    ("bootps", 67, U),
    ("bootpc", 68, U),
    ("tftp", 69, U),
    ("gopher", 70, T),
    ("finger", 79, T),
    ("http", 80, T),
    ("www", 80, T),
    ("kerberos", 88, TU),
    ("pop3", 110, T),
    ("sunrpc", 111, TU),
    ("auth", 113, T),
    ("nntp", 119, T),
    ("ntp", 123, U),
    ("netbios-ns", 137, U),
    ("netbios-dgm", 138, U),
    ("netbios-ssn", 139, T),
    ("imap", 143, T),
    ("imap2", 143, T),
    ("snmp", 161, TU),
    ("snmp-trap", 162, TU),
    ("bgp", 179, T),
    ("ldap", 389, TU),
    ("https", 443, TU),
    ("microsoft-ds", 445, T),
    ("submissions", 465, T),
    ("isakmp", 500, U),
    ("syslog", 514, U),
    ("printer", 515, T),
    ("router", 520, U),
    ("dhcpv6-client", 546, U),
    ("dhcpv6-server", 547, U),
    ("submission", 587, T),
    ("ldaps", 636, TU),
    ("ldp", 646, TU),
    ("domain-s", 853, TU),
    ("rsync", 873, T),
    ("imaps", 993, T),
    ("pop3s", 995, T),
    ("socks", 1080, T),
    ("openvpn", 1194, TU),
    ("radius", 1812, TU),
    ("radius-acct", 1813, TU),
    ("nfs", 2049, TU),
    ("iscsi-target", 3260, T),
    ("mysql", 3306, T),
    ("ms-wbt-server", 3389, T),
    ("ipsec-nat-t", 4500, U),
    ("vxlan", 4789, U),
    ("sip", 5060, TU),
    ("sip-tls", 5061, TU),
    ("xmpp-client", 5222, T),
    ("xmpp-server", 5269, T),
    ("mdns", 5353, U),
    ("postgresql", 5432, T),
    ("geneve", 6081, U),
    ("redis", 6379, T),
    ("http-alt", 8080, T),
];

/// IP protocols by the names of IANA's registry and of `/etc/protocols`.
const PROTOCOLS: &[(&str, u8)] = &[
    ("icmp", 1),
    ("igmp", 2),
    ("ipip", 4),
    ("ipencap", 4),
    ("tcp", 6),
    ("igrp", 9),
    ("udp", 17),
    ("dccp", 33),
    ("ipv6", 41),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmp6", 58),
    ("ipv6-icmp", 58),
    ("eigrp", 88),
    ("ospf", 89),
    ("pim", 103),
    ("vrrp", 112),
    ("carp", 112),
    ("l2tp", 115),
    ("sctp", 132),
    ("udplite", 136),
];

const ETHER_TYPES: &[(&str, u16)] = &[
    ("ip", 0x0800),
    ("arp", 0x0806),
    ("mopdl", 0x6001),
    ("moprc", 0x6002),
    ("decnet", 0x6003),
    ("lat", 0x6004),
    ("sca", 0x6007),
    ("rarp", 0x8035),
    ("ip6", 0x86dd),
    ("lldp", 0x88cc),
    ("loopback", 0x9000),
];

/// The flags of TCP (RFC 9293 section 3.1, RFC 3168 section 6.1), as bits of byte 13.
const TCP_FLAGS: &[(&str, u8)] = &[
    ("tcp-fin", 0x01),
    ("tcp-syn", 0x02),
    ("tcp-rst", 0x04),
    ("tcp-push", 0x08),
    ("tcp-ack", 0x10),
    ("tcp-urg", 0x20),
    ("tcp-ece", 0x40),
    ("tcp-cwr", 0x80),
];

/// Types of ICMP (RFC 792, 950, 1256) by the names of pcap-filter(7).
const ICMP_TYPES: &[(&str, u8)] = &[
    ("icmp-echoreply", 0),
    ("icmp-unreach", 3),
    ("icmp-sourcequench", 4),
    ("icmp-redirect", 5),
    ("icmp-echo", 8),
    ("icmp-routeradvert", 9),
    ("icmp-routersolicit", 10),
    ("icmp-timxceed", 11),
    ("icmp-paramprob", 12),
    ("icmp-tstamp", 13),
    ("icmp-tstampreply", 14),
    ("icmp-ireq", 15),
    ("icmp-ireqreply", 16),
    ("icmp-maskreq", 17),
    ("icmp-maskreply", 18),
];

/// Types of ICMPv6 (RFC 4443, 2710, 4861, 3810) by the names of pcap-filter(7).
const ICMP6_TYPES: &[(&str, u8)] = &[
    ("icmp6-destinationunreach", 1),
    ("icmp6-packettoobig", 2),
    ("icmp6-timeexceeded", 3),
    ("icmp6-parameterproblem", 4),
    ("icmp6-echo", 128),
    ("icmp6-echoreply", 129),
    ("icmp6-multicastlistenerquery", 130),
    ("icmp6-multicastlistenerreportv1", 131),
    ("icmp6-multicastlistenerdone", 132),
    ("icmp6-routersolicit", 133),
    ("icmp6-routeradvert", 134),
    ("icmp6-neighborsolicit", 135),
    ("icmp6-neighboradvert", 136),
    ("icmp6-redirect", 137),
    ("icmp6-routerrenum", 138),
    ("icmp6-nodeinformationquery", 139),
    ("icmp6-nodeinformationresponse", 140),
    ("icmp6-ineighbordiscoverysolicit", 141),
    ("icmp6-ineighbordiscoveryadvert", 142),
    ("icmp6-multicastlistenerreportv2", 143),
    ("icmp6-homeagentdiscoveryrequest", 144),
    ("icmp6-homeagentdiscoveryreply", 145),
    ("icmp6-mobileprefixsolicit", 146),
    ("icmp6-mobileprefixadvert", 147),
    ("icmp6-certpathsolicit", 148),
    ("icmp6-certpathadvert", 149),
    ("icmp6-multicastrouteradvert", 151),
    ("icmp6-multicastroutersolicit", 152),
    ("icmp6-multicastrouterterm", 153),
];

pub(super) fn service(name: &str) -> Option<(u16, Transports)> {
    SERVICES.iter().find(|service| service.0 == name).map(|service| (service.1, service.2))
}

pub(super) fn protocol(name: &str) -> Option<u8> {
    number(PROTOCOLS, name)
}

pub(super) fn ether_type(name: &str) -> Option<u16> {
    number(ETHER_TYPES, name)
}

pub(super) fn tcp_flag(name: &str) -> Option<u8> {
    number(TCP_FLAGS, name)
}

pub(super) fn icmp_type(name: &str) -> Option<u8> {
    number(ICMP_TYPES, name)
}

pub(super) fn icmp6_type(name: &str) -> Option<u8> {
    number(ICMP6_TYPES, name)
}

fn number<N: Copy>(table: &[(&str, N)], name: &str) -> Option<N> {
    table.iter().find(|entry| entry.0 == name).map(|entry| entry.1)
}
