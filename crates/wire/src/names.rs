//! Names of well-known numbers, in lower case, for those who print.
//!
//! Keywords and names are those of the registries of IEEE (Ethernet types) and IANA (all others),
//! where these have a short one.
//!
//! ```
//! use netmem_wire::names;
//!
//! assert_eq!(names::ether_type(0x86dd), Some("ipv6"));
//! assert_eq!(names::protocol(58), Some("ipv6-icmp"));
//! assert_eq!(names::icmpv6_type(135), Some("neighbor solicitation"));
//! assert_eq!(names::protocol(200), None);
//! ```

use crate::ethernet::ether_type as ether;
use crate::icmpv6::icmp_type as icmpv6;
use crate::ipv4::protocol as ip;

/// Names an Ethernet type.
#[expect(clippy::too_many_lines, reason = "a table")]
#[must_use]
pub const fn ether_type(number: u16) -> Option<&'static str> {
    Some(match number {
        ether::XNS_IDP => "xns-idp",
        ether::IPV4 => "ipv4",
        ether::X25 => "x25",
        ether::ARP => "arp",
        ether::WAKE_ON_LAN => "wake-on-lan",
        ether::MSRP => "msrp",
        ether::AVTP => "avtp",
        ether::TRILL => "trill",
        ether::L2_ISIS => "l2-is-is",
        ether::DEC_MOP_DUMP => "mop-dl",
        ether::DEC_MOP_CONSOLE => "mop-rc",
        ether::DECNET => "decnet",
        ether::LAT => "lat",
        ether::TRANS_ETHER_BRIDGING => "trans-ether-bridging",
        ether::RAW_FRAME_RELAY => "raw-frame-relay",
        ether::REVERSE_ARP => "rarp",
        ether::APPLETALK => "appletalk",
        ether::APPLETALK_ARP => "aarp",
        ether::VLAN => "vlan",
        ether::IPX => "ipx",
        ether::SNMP => "snmp",
        ether::IPV6 => "ipv6",
        ether::FLOW_CONTROL => "mac-control",
        ether::SLOW_PROTOCOLS => "slow-protocols",
        ether::PPP => "ppp",
        ether::GSMP => "gsmp",
        ether::MPLS => "mpls",
        ether::MPLS_UPSTREAM => "mpls-upstream",
        ether::PPPOE_DISCOVERY => "pppoe-discovery",
        ether::PPPOE_SESSION => "pppoe-session",
        ether::EAPOL => "eapol",
        ether::PROFINET => "profinet",
        ether::HYPERSCSI => "hyperscsi",
        ether::ATA_OVER_ETHERNET => "aoe",
        ether::ETHERCAT => "ethercat",
        ether::VLAN_SERVICE => "vlan-service",
        ether::POWERLINK => "powerlink",
        ether::EXPERIMENT_1 => "local-experimental-1",
        ether::EXPERIMENT_2 => "local-experimental-2",
        ether::OUI_EXTENDED => "oui-extended",
        ether::GOOSE => "goose",
        ether::GSE => "gse",
        ether::SAMPLED_VALUES => "sv",
        ether::PREAUTHENTICATION => "rsn-preauth",
        ether::LLDP => "lldp",
        ether::SERCOS => "sercos-iii",
        ether::HOMEPLUG_AV => "homeplug-av",
        ether::MRP => "mrp",
        ether::MACSEC => "macsec",
        ether::BACKBONE_BRIDGE => "pbb",
        ether::MVRP => "mvrp",
        ether::MMRP => "mmrp",
        ether::PTP => "ptp",
        ether::NCSI => "nc-si",
        ether::PRP => "prp",
        ether::CFM => "cfm",
        ether::FCOE => "fcoe",
        ether::FCOE_INITIALIZATION => "fip",
        ether::ROCE => "roce",
        ether::TTE => "tte",
        ether::HSR => "hsr",
        ether::NSH => "nsh",
        ether::LOOPBACK => "loopback",
        ether::QINQ_1 => "qinq-9100",
        ether::QINQ_2 => "qinq-9200",
        ether::VERITAS_LLT => "llt",
        ether::RTAG => "r-tag",
        _ => return None,
    })
}

/// Names an IP protocol number, which is a next header of IPv6 too.
#[expect(clippy::too_many_lines, reason = "a table")]
#[must_use]
pub const fn protocol(number: u8) -> Option<&'static str> {
    Some(match number {
        ip::HOP_BY_HOP => "hopopt",
        ip::ICMP => "icmp",
        ip::IGMP => "igmp",
        ip::GGP => "ggp",
        ip::IPV4 => "ipv4",
        ip::ST => "st",
        ip::TCP => "tcp",
        ip::CBT => "cbt",
        ip::EGP => "egp",
        ip::IGP => "igp",
        ip::NVP => "nvp-ii",
        ip::PUP => "pup",
        ip::CHAOS => "chaos",
        ip::UDP => "udp",
        ip::HMP => "hmp",
        ip::XNS_IDP => "xns-idp",
        ip::RDP => "rdp",
        ip::IRTP => "irtp",
        ip::ISO_TP4 => "iso-tp4",
        ip::DCCP => "dccp",
        ip::IDPR => "idpr",
        ip::IPV6 => "ipv6",
        ip::IPV6_ROUTE => "ipv6-route",
        ip::IPV6_FRAGMENT => "ipv6-frag",
        ip::IDRP => "idrp",
        ip::RSVP => "rsvp",
        ip::GRE => "gre",
        ip::DSR => "dsr",
        ip::ESP => "esp",
        ip::AH => "ah",
        ip::NARP => "narp",
        ip::MINIMAL_IPV4 => "min-ipv4",
        ip::SKIP => "skip",
        ip::ICMPV6 => "ipv6-icmp",
        ip::IPV6_NO_NEXT => "ipv6-nonxt",
        ip::IPV6_OPTIONS => "ipv6-opts",
        ip::VMTP => "vmtp",
        ip::EIGRP => "eigrp",
        ip::OSPF => "ospfigp",
        ip::MTP => "mtp",
        ip::IPIP => "ipip",
        ip::ETHERIP => "etherip",
        ip::ENCAP => "encap",
        ip::PIM => "pim",
        ip::IPCOMP => "ipcomp",
        ip::VRRP => "vrrp",
        ip::PGM => "pgm",
        ip::L2TP => "l2tp",
        ip::STP => "stp",
        ip::ISIS => "isis over ipv4",
        ip::SCTP => "sctp",
        ip::FC => "fc",
        ip::RSVP_E2E_IGNORE => "rsvp-e2e-ignore",
        ip::MOBILITY => "mobility header",
        ip::UDP_LITE => "udplite",
        ip::MPLS => "mpls-in-ip",
        ip::MANET => "manet",
        ip::HIP => "hip",
        ip::SHIM6 => "shim6",
        ip::WESP => "wesp",
        ip::ROHC => "rohc",
        ip::ETHERNET => "ethernet",
        ip::AGGFRAG => "aggfrag",
        ip::EXPERIMENT_1 => "experiment-1",
        ip::EXPERIMENT_2 => "experiment-2",
        ip::RESERVED => "reserved",
        _ => return None,
    })
}

/// Names a message type of `ICMPv4`.
#[must_use]
pub const fn icmpv4_type(number: u8) -> Option<&'static str> {
    Some(match number {
        0 => "echo reply",
        3 => "destination unreachable",
        4 => "source quench",
        5 => "redirect",
        6 => "alternate host address",
        8 => "echo",
        9 => "router advertisement",
        10 => "router solicitation",
        11 => "time exceeded",
        12 => "parameter problem",
        13 => "timestamp",
        14 => "timestamp reply",
        15 => "information request",
        16 => "information reply",
        17 => "address mask request",
        18 => "address mask reply",
        30 => "traceroute",
        40 => "photuris",
        42 => "extended echo request",
        43 => "extended echo reply",
        253 => "experiment 1",
        254 => "experiment 2",
        _ => return None,
    })
}

/// Names a message type of `ICMPv6`.
#[must_use]
pub const fn icmpv6_type(number: u8) -> Option<&'static str> {
    Some(match number {
        icmpv6::DESTINATION_UNREACHABLE => "destination unreachable",
        icmpv6::PACKET_TOO_BIG => "packet too big",
        icmpv6::TIME_EXCEEDED => "time exceeded",
        icmpv6::PARAMETER_PROBLEM => "parameter problem",
        icmpv6::ECHO_REQUEST => "echo request",
        icmpv6::ECHO_REPLY => "echo reply",
        icmpv6::MULTICAST_LISTENER_QUERY => "multicast listener query",
        icmpv6::MULTICAST_LISTENER_REPORT => "multicast listener report",
        icmpv6::MULTICAST_LISTENER_DONE => "multicast listener done",
        icmpv6::ROUTER_SOLICITATION => "router solicitation",
        icmpv6::ROUTER_ADVERTISEMENT => "router advertisement",
        icmpv6::NEIGHBOR_SOLICITATION => "neighbor solicitation",
        icmpv6::NEIGHBOR_ADVERTISEMENT => "neighbor advertisement",
        icmpv6::REDIRECT => "redirect message",
        icmpv6::ROUTER_RENUMBERING => "router renumbering",
        icmpv6::NODE_INFORMATION_QUERY => "icmp node information query",
        icmpv6::NODE_INFORMATION_RESPONSE => "icmp node information response",
        icmpv6::INVERSE_NEIGHBOR_SOLICITATION => "inverse neighbor discovery solicitation message",
        icmpv6::INVERSE_NEIGHBOR_ADVERTISEMENT => {
            "inverse neighbor discovery advertisement message"
        }
        icmpv6::MULTICAST_LISTENER_REPORT_V2 => "version 2 multicast listener report",
        icmpv6::HOME_AGENT_REQUEST => "home agent address discovery request message",
        icmpv6::HOME_AGENT_REPLY => "home agent address discovery reply message",
        icmpv6::MOBILE_PREFIX_SOLICITATION => "mobile prefix solicitation",
        icmpv6::MOBILE_PREFIX_ADVERTISEMENT => "mobile prefix advertisement",
        icmpv6::CERTIFICATION_PATH_SOLICITATION => "certification path solicitation message",
        icmpv6::CERTIFICATION_PATH_ADVERTISEMENT => "certification path advertisement message",
        icmpv6::MULTICAST_ROUTER_ADVERTISEMENT => "multicast router advertisement",
        icmpv6::MULTICAST_ROUTER_SOLICITATION => "multicast router solicitation",
        icmpv6::MULTICAST_ROUTER_TERMINATION => "multicast router termination",
        icmpv6::RPL_CONTROL => "rpl control message",
        icmpv6::DUPLICATE_ADDRESS_REQUEST => "duplicate address request",
        icmpv6::DUPLICATE_ADDRESS_CONFIRMATION => "duplicate address confirmation",
        icmpv6::EXTENDED_ECHO_REQUEST => "extended echo request",
        icmpv6::EXTENDED_ECHO_REPLY => "extended echo reply",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_short_lower_case_and_of_one_number_each() {
        fn check(names: impl Iterator<Item = Option<&'static str>>) -> usize {
            let names: std::vec::Vec<_> = names.flatten().collect();
            let set: BTreeSet<_> = names.iter().collect();
            assert_eq!(set.len(), names.len(), "a name stands twice");
            let shape = |byte: u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b" -".contains(&byte)
            };
            for name in &names {
                assert!(!name.is_empty() && name.bytes().all(shape), "{name}");
            }
            names.len()
        }
        assert!(check((0..=u16::MAX).map(ether_type)) >= 40);
        assert!(check((0..=u8::MAX).map(protocol)) >= 40);
        assert!(check((0..=u8::MAX).map(icmpv4_type)) >= 20);
        assert!(check((0..=u8::MAX).map(icmpv6_type)) >= 30);
    }

    #[test]
    fn some_by_hand() {
        let types = [0x0800, 0x0806, 0x8100, 0x8847, 0x88cc, 0x88f7, 0x05ff].map(ether_type);
        let expected = ["ipv4", "arp", "vlan", "mpls", "lldp", "ptp"].map(Some);
        assert_eq!((&types[..6], types[6]), (&expected[..], None));
        let protocols = [0, 1, 2, 6, 17, 47, 50, 132, 146].map(protocol);
        let expected = ["hopopt", "icmp", "igmp", "tcp", "udp", "gre", "esp", "sctp"].map(Some);
        assert_eq!((&protocols[..8], protocols[8]), (&expected[..], None));
        assert_eq!([0, 8, 11].map(icmpv4_type), ["echo reply", "echo", "time exceeded"].map(Some));
        assert_eq!(icmpv6_type(143), Some("version 2 multicast listener report"));
        assert_eq!(icmpv4_type(1), None);
    }
}
