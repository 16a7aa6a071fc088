use std::net::{Ipv4Addr, Ipv6Addr};
use std::string::{String, ToString};
use std::time::Duration;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::MacAddr;
use crate::filter::{Fields, Ipv4Net, Ipv6Net, Test};

/// Texts, and the expression each becomes.
const MEANINGS: &[(&str, &str)] = &[
    ("", "always"),
    (" \t\n", "always"),
    ("always", "always"),
    ("ip", "ether_type 0x0800"),
    ("ip6", "ether_type 0x86dd"),
    ("arp", "ether_type 0x0806"),
    ("rarp", "ether_type 0x8035"),
    ("icmp", "ip_protocol 1"),
    ("icmp6", "ip6_protocol 58"),
    ("igmp", "ip_protocol 2"),
    ("tcp", "ip_protocol 6 or ip6_protocol 6"),
    ("udp", "ip_protocol 17 or ip6_protocol 17"),
    ("sctp", "ip_protocol 132 or ip6_protocol 132"),
    ("ah", "ip_protocol 51"),
    ("esp", "ip_protocol 50 or ip6_protocol 50"),
    ("pim", "ip_protocol 103 or ip6_protocol 103"),
    ("igrp", "ip_protocol 9"),
    ("vrrp", "ip_protocol 112"),
    ("carp", "ip_protocol 112"),
    ("vlan", "vlan"),
    ("vlan 5", "vlan 5"),
    ("vlan 0xfff and tcp", "vlan 4095 and (ip_protocol 6 or ip6_protocol 6)"),
    ("fragment", "fragment"),
    ("broadcast", "destination_mac ff:ff:ff:ff:ff:ff"),
    ("ether broadcast", "destination_mac ff:ff:ff:ff:ff:ff"),
    ("multicast", "destination_mac_group"),
    ("ether multicast", "destination_mac_group"),
    ("ip multicast", "destination 224.0.0.0/3"),
    ("ip6 multicast", "destination6 ff00::/8"),
    ("less 64", "not len_at_least 65"),
    ("greater 64", "len_at_least 64"),
    ("less 4294967295", "not never"),
    ("len > 60", "len_at_least 61"),
    ("len >= 0x40", "len_at_least 64"),
    ("len < 60", "not len_at_least 60"),
    ("len <= 60", "not len_at_least 61"),
    ("len == 60", "len_at_least 60 and not len_at_least 61"),
    ("len != 60", "not (len_at_least 60 and not len_at_least 61)"),
    (
        "host 10.0.0.1",
        "source 10.0.0.1/32 or destination 10.0.0.1/32 or arp_sender 10.0.0.1/32 or arp_target 10.0.0.1/32",
    ),
    ("src host 10.0.0.1", "source 10.0.0.1/32 or arp_sender 10.0.0.1/32"),
    ("dst 10.0.0.1", "destination 10.0.0.1/32 or arp_target 10.0.0.1/32"),
    (
        "src or dst 10.0.0.1",
        "source 10.0.0.1/32 or destination 10.0.0.1/32 or arp_sender 10.0.0.1/32 or arp_target 10.0.0.1/32",
    ),
    (
        "dst or src host 10.0.0.1",
        "source 10.0.0.1/32 or destination 10.0.0.1/32 or arp_sender 10.0.0.1/32 or arp_target 10.0.0.1/32",
    ),
    (
        "src and dst host 10.0.0.1",
        "(source 10.0.0.1/32 and destination 10.0.0.1/32) or (arp_sender 10.0.0.1/32 and arp_target 10.0.0.1/32)",
    ),
    (
        "src && dst host 10.0.0.1",
        "(source 10.0.0.1/32 and destination 10.0.0.1/32) or (arp_sender 10.0.0.1/32 and arp_target 10.0.0.1/32)",
    ),
    ("ip host 10.0.0.1", "source 10.0.0.1/32 or destination 10.0.0.1/32"),
    ("ip src 10.0.0.1", "source 10.0.0.1/32"),
    ("arp host 10.0.0.1", "arp_sender 10.0.0.1/32 or arp_target 10.0.0.1/32"),
    ("arp src host 10.0.0.1", "arp_sender 10.0.0.1/32"),
    ("arp dst net 10", "arp_target 10.0.0.0/8"),
    ("host 2001:db8::1", "source6 2001:db8::1/128 or destination6 2001:db8::1/128"),
    ("ip6 src host ::1", "source6 ::1/128"),
    ("dst host fe80::1", "destination6 fe80::1/128"),
    ("ip6 dst and src ::", "source6 ::/128 and destination6 ::/128"),
    (
        "net 10.0.0.0/8",
        "source 10.0.0.0/8 or destination 10.0.0.0/8 or arp_sender 10.0.0.0/8 or arp_target 10.0.0.0/8",
    ),
    (
        "net 10",
        "source 10.0.0.0/8 or destination 10.0.0.0/8 or arp_sender 10.0.0.0/8 or arp_target 10.0.0.0/8",
    ),
    (
        "net 192.168",
        "source 192.168.0.0/16 or destination 192.168.0.0/16 or arp_sender 192.168.0.0/16 or arp_target 192.168.0.0/16",
    ),
    (
        "net 192.168.1",
        "source 192.168.1.0/24 or destination 192.168.1.0/24 or arp_sender 192.168.1.0/24 or arp_target 192.168.1.0/24",
    ),
    (
        "net 10.0.0.1",
        "source 10.0.0.1/32 or destination 10.0.0.1/32 or arp_sender 10.0.0.1/32 or arp_target 10.0.0.1/32",
    ),
    (
        "net 10/8",
        "source 10.0.0.0/8 or destination 10.0.0.0/8 or arp_sender 10.0.0.0/8 or arp_target 10.0.0.0/8",
    ),
    (
        "net 172.16/12",
        "source 172.16.0.0/12 or destination 172.16.0.0/12 or arp_sender 172.16.0.0/12 or arp_target 172.16.0.0/12",
    ),
    (
        "net 10.0.0.0 mask 255.0.0.0",
        "source 10.0.0.0/8 or destination 10.0.0.0/8 or arp_sender 10.0.0.0/8 or arp_target 10.0.0.0/8",
    ),
    ("src net 10.0.0.0 mask 255.255.255.255", "source 10.0.0.0/32 or arp_sender 10.0.0.0/32"),
    (
        "net 0.0.0.0/0",
        "source 0.0.0.0/0 or destination 0.0.0.0/0 or arp_sender 0.0.0.0/0 or arp_target 0.0.0.0/0",
    ),
    ("src 10.0.0.0/8", "source 10.0.0.0/8 or arp_sender 10.0.0.0/8"),
    ("net 2001:db8::/32", "source6 2001:db8::/32 or destination6 2001:db8::/32"),
    ("dst net 2001:db8::", "destination6 2001:db8::/128"),
    ("ip6 src net fe80::/10", "source6 fe80::/10"),
    (
        "net 0",
        "source 0.0.0.0/8 or destination 0.0.0.0/8 or arp_sender 0.0.0.0/8 or arp_target 0.0.0.0/8",
    ),
    (
        "ether host 02:00:00:00:00:01",
        "source_mac 02:00:00:00:00:01 or destination_mac 02:00:00:00:00:01",
    ),
    ("ether src 2:0:0:0:0:1", "source_mac 02:00:00:00:00:01"),
    ("ether dst 0200.0000.0001", "destination_mac 02:00:00:00:00:01"),
    ("ether dst 020000000001", "destination_mac 02:00:00:00:00:01"),
    (
        "ether 02-00-00-00-00-01",
        "source_mac 02:00:00:00:00:01 or destination_mac 02:00:00:00:00:01",
    ),
    (
        "ether src and dst host 02:00:00:00:00:01",
        "source_mac 02:00:00:00:00:01 and destination_mac 02:00:00:00:00:01",
    ),
    (
        "ether dst 02:00:00:00:00:01 or 02:00:00:00:00:02",
        "destination_mac 02:00:00:00:00:01 or destination_mac 02:00:00:00:00:02",
    ),
    ("port 53", "source_port 53 or destination_port 53"),
    ("src port 53", "source_port 53"),
    ("dst port 0x35", "destination_port 53"),
    ("src and dst port 53", "source_port 53 and destination_port 53"),
    (
        "tcp port 80",
        "(ip_protocol 6 or ip6_protocol 6) and (source_port 80 or destination_port 80)",
    ),
    ("udp dst port 53", "(ip_protocol 17 or ip6_protocol 17) and destination_port 53"),
    ("sctp src port 7", "(ip_protocol 132 or ip6_protocol 132) and source_port 7"),
    ("ip port 80", "ether_type 0x0800 and (source_port 80 or destination_port 80)"),
    ("ip6 dst port 80", "ether_type 0x86dd and destination_port 80"),
    ("port domain", "source_port 53 or destination_port 53"),
    ("port http", "(ip_protocol 6 or ip6_protocol 6) and (source_port 80 or destination_port 80)"),
    (
        "tcp port https",
        "(ip_protocol 6 or ip6_protocol 6) and (source_port 443 or destination_port 443)",
    ),
    (
        "udp port ntp",
        "(ip_protocol 17 or ip6_protocol 17) and (source_port 123 or destination_port 123)",
    ),
    (
        "port ftp or ftp-data",
        "((ip_protocol 6 or ip6_protocol 6) and (source_port 21 or destination_port 21)) or ((ip_protocol 6 or ip6_protocol 6) and (source_port 20 or destination_port 20))",
    ),
    ("portrange 6000-6008", "source_port 6000-6008 or destination_port 6000-6008"),
    ("tcp dst portrange 1-1023", "(ip_protocol 6 or ip6_protocol 6) and destination_port 1-1023"),
    (
        "portrange 20-ssh",
        "(ip_protocol 6 or ip6_protocol 6) and (source_port 20-22 or destination_port 20-22)",
    ),
    ("src portrange ftp-data-ssh", "(ip_protocol 6 or ip6_protocol 6) and source_port 20-22"),
    ("portrange 80", "source_port 80 or destination_port 80"),
    ("portrange 90-80", "source_port 80-90 or destination_port 80-90"),
    (
        "udp portrange domain",
        "(ip_protocol 17 or ip6_protocol 17) and (source_port 53 or destination_port 53)",
    ),
    ("ip proto 17", "ip_protocol 17"),
    ("ip proto tcp", "ip_protocol 6"),
    ("ip proto \\udp", "ip_protocol 17"),
    ("ip6 proto 17", "ip6_protocol 17"),
    ("proto 6", "ip_protocol 6 or ip6_protocol 6"),
    ("proto gre", "ip_protocol 47 or ip6_protocol 47"),
    ("ip proto 51", "ip_protocol 51"),
    ("ether proto 0x88cc", "ether_type 0x88cc"),
    ("ether proto arp", "ether_type 0x0806"),
    ("ether proto \\ip or \\arp", "ether_type 0x0800 or ether_type 0x0806"),
    ("ip proto (tcp or udp)", "ip_protocol 6 or ip_protocol 17"),
    ("ip6 proto ipv6-icmp", "ip6_protocol 58"),
    ("tcp[tcpflags] & (tcp-syn|tcp-ack) != 0", "tcp_flags 0x00/0x00 and not tcp_flags 0x00/0x12"),
    ("tcp[13] & 2 != 0", "tcp_flags 0x02/0x02"),
    ("tcp[tcpflags] == tcp-syn", "tcp_flags 0x02/0xff"),
    ("tcp[13] = 0x12", "tcp_flags 0x12/0xff"),
    ("tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn | tcp-ack", "tcp_flags 0x12/0x12"),
    ("(tcp[13] & 2) != 0", "tcp_flags 0x02/0x02"),
    ("(tcp[13]) == 2 or arp", "tcp_flags 0x02/0xff or ether_type 0x0806"),
    ("(tcp[13] & 2 != 0)", "tcp_flags 0x02/0x02"),
    ("tcp[13:1]&0xff=3", "tcp_flags 0x03/0xff"),
    ("tcp[tcpflags] & tcp-rst > 0", "tcp_flags 0x04/0x04"),
    ("tcp[tcpflags] != tcp-ack", "tcp_flags 0x00/0x00 and not tcp_flags 0x10/0xff"),
    ("icmp[icmptype] == icmp-echo", "icmp_type 8"),
    ("icmp[0] = 8", "icmp_type 8"),
    ("icmp[icmptype] != icmp-echo", "(ip_protocol 1 and first_fragment) and not icmp_type 8"),
    ("icmp[icmpcode] == 3", "icmp_code 3"),
    ("icmp6[icmp6type] == icmp6-neighborsolicit", "icmp6_type 135"),
    ("icmp6[0] != 135", "(ip6_protocol 58 and first_fragment) and not icmp6_type 135"),
    ("not tcp", "not (ip_protocol 6 or ip6_protocol 6)"),
    ("!tcp", "not (ip_protocol 6 or ip6_protocol 6)"),
    ("! (arp)", "not ether_type 0x0806"),
    ("not not arp", "not not ether_type 0x0806"),
    (
        "arp or ip and udp",
        "(ether_type 0x0806 or ether_type 0x0800) and (ip_protocol 17 or ip6_protocol 17)",
    ),
    (
        "arp or (ip and udp)",
        "ether_type 0x0806 or (ether_type 0x0800 and (ip_protocol 17 or ip6_protocol 17))",
    ),
    (
        "arp and ip or udp or igmp and icmp",
        "((ether_type 0x0806 and ether_type 0x0800) or (ip_protocol 17 or ip6_protocol 17) or ip_protocol 2) and ip_protocol 1",
    ),
    (
        "arp && ip || udp",
        "(ether_type 0x0806 and ether_type 0x0800) or (ip_protocol 17 or ip6_protocol 17)",
    ),
    (
        "host 10.0.0.1 or 10.0.0.2",
        "(source 10.0.0.1/32 or destination 10.0.0.1/32 or arp_sender 10.0.0.1/32 or arp_target 10.0.0.1/32) or (source 10.0.0.2/32 or destination 10.0.0.2/32 or arp_sender 10.0.0.2/32 or arp_target 10.0.0.2/32)",
    ),
    (
        "tcp port 80 or 443",
        "((ip_protocol 6 or ip6_protocol 6) and (source_port 80 or destination_port 80)) or ((ip_protocol 6 or ip6_protocol 6) and (source_port 443 or destination_port 443))",
    ),
    (
        "port 80 and not 443",
        "(source_port 80 or destination_port 80) and not (source_port 443 or destination_port 443)",
    ),
    (
        "not port 80 or 443",
        "not (source_port 80 or destination_port 80) or (source_port 443 or destination_port 443)",
    ),
    ("port not 80", "not (source_port 80 or destination_port 80)"),
    (
        "tcp port (80 or 443) and arp",
        "(((ip_protocol 6 or ip6_protocol 6) and (source_port 80 or destination_port 80)) or ((ip_protocol 6 or ip6_protocol 6) and (source_port 443 or destination_port 443))) and ether_type 0x0806",
    ),
    (
        "host 10.0.0.1 and (10.0.0.2 or 10.0.0.3) or 10.0.0.4",
        "((source 10.0.0.1/32 or destination 10.0.0.1/32 or arp_sender 10.0.0.1/32 or arp_target 10.0.0.1/32) and ((source 10.0.0.2/32 or destination 10.0.0.2/32 or arp_sender 10.0.0.2/32 or arp_target 10.0.0.2/32) or (source 10.0.0.3/32 or destination 10.0.0.3/32 or arp_sender 10.0.0.3/32 or arp_target 10.0.0.3/32))) or (source 10.0.0.4/32 or destination 10.0.0.4/32 or arp_sender 10.0.0.4/32 or arp_target 10.0.0.4/32)",
    ),
    (
        "port 80 or tcp port 443 or 22",
        "(source_port 80 or destination_port 80) or ((ip_protocol 6 or ip6_protocol 6) and (source_port 443 or destination_port 443)) or ((ip_protocol 6 or ip6_protocol 6) and (source_port 22 or destination_port 22))",
    ),
    (
        "ip proto 6 or \\udp or udp",
        "ip_protocol 6 or ip_protocol 17 or (ip_protocol 17 or ip6_protocol 17)",
    ),
    (
        "net 10 or 192.168",
        "(source 10.0.0.0/8 or destination 10.0.0.0/8 or arp_sender 10.0.0.0/8 or arp_target 10.0.0.0/8) or (source 192.168.0.0/16 or destination 192.168.0.0/16 or arp_sender 192.168.0.0/16 or arp_target 192.168.0.0/16)",
    ),
    ("(port 80) and arp", "(source_port 80 or destination_port 80) and ether_type 0x0806"),
    ("vlan and ip", "vlan and ether_type 0x0800"),
    (
        "host(10.0.0.1)",
        "source 10.0.0.1/32 or destination 10.0.0.1/32 or arp_sender 10.0.0.1/32 or arp_target 10.0.0.1/32",
    ),
    (
        "arp and (ip or udp)",
        "ether_type 0x0806 and (ether_type 0x0800 or (ip_protocol 17 or ip6_protocol 17))",
    ),
    (
        "(arp or ip) or udp",
        "(ether_type 0x0806 or ether_type 0x0800) or (ip_protocol 17 or ip6_protocol 17)",
    ),
    (
        "net 10 or 2001:db8::/32",
        "(source 10.0.0.0/8 or destination 10.0.0.0/8 or arp_sender 10.0.0.0/8 or arp_target 10.0.0.0/8) or (source6 2001:db8::/32 or destination6 2001:db8::/32)",
    ),
    (
        "port http and host 10.0.0.1 or 10.0.0.2",
        "(((ip_protocol 6 or ip6_protocol 6) and (source_port 80 or destination_port 80)) and (source 10.0.0.1/32 or destination 10.0.0.1/32 or arp_sender 10.0.0.1/32 or arp_target 10.0.0.1/32)) or (source 10.0.0.2/32 or destination 10.0.0.2/32 or arp_sender 10.0.0.2/32 or arp_target 10.0.0.2/32)",
    ),
];

/// Texts with their fault: where it is, how long, and what is said.
const FAULTS: &[(&str, usize, usize, &str)] = &[
    ("and tcp", 0, 3, "expected a primitive such as `tcp` or `host 10.0.0.1`, not `and`"),
    ("tcp or or udp", 7, 2, "expected a primitive such as `tcp` or `host 10.0.0.1`, not `or`"),
    ("(tcp", 0, 1, "this parenthesis is not closed"),
    ("tcp)", 3, 1, "this parenthesis was not opened"),
    ("(tcp udp)", 5, 3, "expected `and`, `or` or `)`, not `udp`"),
    ("tcp udp", 4, 3, "expected `and`, `or` or the end, not `udp`"),
    ("tcp 80", 4, 2, "expected `and`, `or` or the end, not `80`; a port is `port 80`"),
    ("()", 1, 1, "expected a primitive such as `tcp` or `host 10.0.0.1`, not `)`"),
    ("not", 3, 0, "expected a primitive such as `tcp` or `host 10.0.0.1`, but the filter ends"),
    ("host", 4, 0, "expected an address, but the filter ends"),
    ("host example.com", 5, 11, "host names are not resolved: write the address of `example.com`"),
    ("host füü.example", 5, 13, "host names are not resolved: write the address of `füü.example`"),
    ("net loopback", 4, 8, "network names are not looked up: write `loopback` as numbers"),
    ("host 10.1", 5, 4, "not a whole address; a network is `net 10.1`"),
    ("host 10", 5, 2, "not a whole address; a network is `net 10`"),
    ("src 80", 4, 2, "not a whole address; a network is `net 80`"),
    ("tcp src 80", 8, 2, "expected `port` or `portrange` behind the protocol"),
    ("host 10.0.0.256", 5, 10, "`10.0.0.256` is no IPv4 or IPv6 address"),
    ("host 1::2::3", 5, 7, "`1::2::3` is no IPv4 or IPv6 address"),
    (
        "host 02:00:00:00:00:01",
        5,
        17,
        "`02:00:00:00:00:01` is an Ethernet address: write `ether host`",
    ),
    ("host tcp", 5, 3, "expected an address, not `tcp`"),
    ("net 10.1.2.3/8", 4, 10, "bits are set behind the prefix; the network is 10.0.0.0/8"),
    ("net 2001:db8::1/32", 4, 14, "bits are set behind the prefix; the network is 2001:db8::/32"),
    ("net 10.0.0.0/33", 13, 2, "prefix length `33` is above 32"),
    ("net ::/129", 7, 3, "prefix length `129` is above 128"),
    ("net 10/x", 7, 1, "`x` is no prefix length"),
    ("host 10.0.0.0/8", 5, 9, "a host has no prefix length: write `net`"),
    ("net 10.0.0.0 mask 255.0.255.0", 18, 11, "a mask with gaps is not supported"),
    (
        "net 10.0.0.1 mask 255.0.0.0",
        4,
        23,
        "bits are set behind the prefix; the network is 10.0.0.0/8",
    ),
    ("net 10 mask foo", 12, 3, "expected a mask such as 255.0.0.0, not `foo`"),
    ("net :: mask ff::", 7, 4, "expected `and`, `or` or the end, not `mask`"),
    ("ip host ::1", 8, 3, "this is an IPv6 address, which `ip` and `arp` have not"),
    ("ip6 host 10.0.0.1", 9, 8, "this is an IPv4 address, which `ip6` has not"),
    ("arp port 80", 4, 4, "ARP has addresses only"),
    ("rarp host 10.0.0.1", 5, 4, "the addresses in RARP cannot be tested"),
    ("tcp host 10.0.0.1", 4, 4, "TCP, UDP and SCTP have ports only: write `tcp and host ..`"),
    ("ether net 10", 6, 3, "Ethernet has addresses and types only"),
    ("ether", 5, 0, "expected `host`, `src`, `dst`, `proto` or an address, but the filter ends"),
    ("ether host 10.0.0.1", 11, 8, "`10.0.0.1` is no Ethernet address"),
    ("ether host 02:00:00:00:00", 11, 14, "`02:00:00:00:00` is no Ethernet address"),
    ("port 65536", 5, 5, "port `65536` is above 65535"),
    ("port 080", 5, 3, "a leading zero would be octal for tcpdump: write the number without it"),
    ("port -1", 5, 2, "`-1` is no port that has a name here; a range is `portrange`"),
    ("port 0x", 5, 2, "`0x` is no port"),
    ("port foo", 5, 3, "`foo` is no port that has a name here"),
    ("udp port ssh", 9, 3, "`ssh` is a port of another protocol: write its number"),
    ("portrange 1-70000", 10, 7, "port `70000` is above 65535"),
    ("portrange 1-2-3", 10, 5, "expected a range of ports such as 6000-6008, not `1-2-3`"),
    ("portrange -", 10, 1, "expected a range of ports such as 6000-6008, not `-`"),
    ("port 1-2", 5, 3, "`1-2` is no port that has a name here; a range is `portrange`"),
    ("src proto 6", 4, 5, "a protocol has no direction"),
    ("ip proto 256", 9, 3, "protocol `256` is above 255"),
    ("ip proto foo", 9, 3, "`foo` is no protocol that has a name here: write its number"),
    (
        "ip6 proto 44",
        10,
        2,
        "protocol 44 is an IPv6 extension header, which the filter looks behind; for IPv4 write `ip proto 44`",
    ),
    (
        "proto 0",
        6,
        1,
        "protocol 0 is an IPv6 extension header, which the filter looks behind; for IPv4 write `ip proto 0`",
    ),
    ("ether proto 0x8100", 12, 6, "the filter looks behind tags: write `vlan`"),
    ("ether proto 100", 12, 3, "below 0x600 it is a length; LLC is not supported"),
    ("ether proto stp", 12, 3, "`stp` is no protocol that has a name here: write its number"),
    ("vlan 4096", 5, 4, "VLAN id `4096` is above 4095"),
    ("vlan x", 5, 1, "`x` is no VLAN id"),
    ("less", 4, 0, "expected a length in bytes, but the filter ends"),
    ("less 4294967296", 5, 10, "length `4294967296` is above 4294967295"),
    ("greater tcp", 8, 3, "`tcp` is no length"),
    ("len", 3, 0, "expected a comparison such as `<= 128`, but the filter ends"),
    ("len 5", 4, 1, "expected a comparison such as `<= 128`, not `5`"),
    ("len < tcp", 6, 3, "`tcp` is no length"),
    (
        "ip[6:2] & 0x1fff = 0",
        0,
        7,
        "of bytes by offset only tcp[tcpflags], icmp[icmptype], icmp[icmpcode] and icmp6[icmp6type] can be tested",
    ),
    (
        "ether[0] & 1 != 0",
        0,
        8,
        "of bytes by offset only tcp[tcpflags], icmp[icmptype], icmp[icmpcode] and icmp6[icmp6type] can be tested",
    ),
    (
        "tcp[12] = 5",
        0,
        7,
        "of bytes by offset only tcp[tcpflags], icmp[icmptype], icmp[icmpcode] and icmp6[icmp6type] can be tested",
    ),
    ("tcp[", 4, 0, "expected `tcpflags`, `icmptype` or `icmp6type`, but the filter ends"),
    ("tcp[tcpflags", 12, 0, "expected `]`, but the filter ends"),
    ("tcp[tcpflags]", 13, 0, "expected a comparison such as `!= 0`, but the filter ends"),
    ("tcp[tcpflags] & tcp-syn", 23, 0, "expected a comparison such as `!= 0`, but the filter ends"),
    ("tcp[tcpflags] & tcp-syn|tcp-ack != 0", 23, 1, "put the mask in parentheses"),
    ("tcp[tcpflags] & (tcp-syn|tcp-foo) != 0", 25, 7, "`tcp-foo` is no TCP flag"),
    ("tcp[tcpflags] & (tcp-syn != 0", 25, 2, "expected `)` or `|`, not `!=`"),
    ("tcp[13] = 256", 10, 3, "value of one byte `256` is above 255"),
    ("tcp[13] > 1", 10, 1, "`>` is for 0 only: write `==` or `!=`"),
    ("tcp[13] < 2", 8, 1, "a field is compared with `==` or `!=` only"),
    ("(tcp[13] & 2 | 3) != 0", 13, 1, "put the mask in parentheses"),
    ("icmp[icmptype] & 1 = 1", 15, 1, "only TCP flags can be masked"),
    ("icmp[icmptype] > 3", 15, 1, "a field is compared with `==` or `!=` only"),
    ("icmp[icmptype] = tcp-syn", 17, 7, "`tcp-syn` is no ICMP type"),
    (
        "ip broadcast",
        0,
        12,
        "the netmask is not known here: write `dst host` with the broadcast address",
    ),
    ("ip6 broadcast", 0, 13, "ip6 has no broadcast"),
    ("arp multicast", 0, 13, "arp has no multicast"),
    ("gateway 10.0.0.1", 0, 7, "`gateway` of tcpdump is not supported"),
    ("ip protochain 6", 3, 10, "`protochain` of tcpdump is not supported"),
    ("mpls 5", 0, 4, "`mpls` of tcpdump is not supported"),
    ("mask 255.0.0.0", 0, 4, "`mask` stands behind `net` and an address"),
    ("TCP", 0, 3, "`TCP` is no primitive; keywords are in lower case: `tcp`"),
    ("10.0.0.1", 0, 8, "`10.0.0.1` is no primitive; an address is `host 10.0.0.1`"),
    ("80", 0, 2, "`80` is no primitive; a port is `port 80`"),
    ("http", 0, 4, "`http` is no primitive; a service is `port http`"),
    ("tcp or 80", 7, 2, "`80` is no primitive; a port is `port 80`"),
    ("foo", 0, 3, "unknown word `foo`"),
    ("\\tcp", 0, 4, "`\\tcp` is a name; `ip proto` or another qualifier goes in front"),
    ("tcp & udp", 4, 1, "expected `and`, `or` or the end, not `&`; that is `&&`, one is for flags"),
    (
        "host 10.0.0.1 + 1",
        14,
        1,
        "unexpected character `+`: there is no arithmetic but `&` and `|` on constants",
    ),
    ("port \"80\"", 5, 1, "unexpected character `\"`: the filter has no quotes"),
    (
        "fe80::1%eth0",
        7,
        1,
        "unexpected character `%`: an address has no zone here, and there is no remainder",
    ),
    ("tcp port 80 ünd udp", 12, 4, "expected `and`, `or` or the end, not `ünd`"),
    ("tcp und 日本 port", 4, 3, "expected `and`, `or` or the end, not `und`"),
];

fn parse(text: &str) -> Result<Expr, ParseError> {
    text.parse()
}

// Planted and caught: `and` before `or`; `src and dst` as `or`; a name without its protocol; `less`
// without the length itself; a value that inherits nothing after `not`.
#[test]
fn texts_mean_what_the_table_says() {
    for (text, meaning) in MEANINGS {
        let expr = parse(text).unwrap_or_else(|error| panic!("{error}\n{}", error.caret(text)));
        assert_eq!(expr.to_string(), *meaning, "{text}");
    }
}

#[test]
fn texts_become_typed_expressions() {
    let ten = Ipv4Net::new(Ipv4Addr::new(10, 0, 0, 0), 8).unwrap();
    let one = Ipv6Net::host(Ipv6Addr::LOCALHOST);
    let mac = MacAddr([2, 0, 0, 0, 0, 1]);
    let tcp = Expr::any([Test::IpProtocol(6), Test::Ip6Protocol(6)]);
    let (first, last) = (1, 9);
    let cases = [
        ("", Expr::Always),
        ("arp", Test::EtherType(0x0806).into()),
        ("not ip6 src ::1", Expr::not(Test::Source6Net(one))),
        ("ip net 10", Expr::any([Test::SourceNet(ten), Test::DestinationNet(ten)])),
        ("arp src and dst net 10", Expr::all([Test::ArpSender(ten), Test::ArpTarget(ten)])),
        ("ether src 2:0:0:0:0:1", Test::SourceMac(mac).into()),
        ("tcp[13] & 6 == 2", Test::TcpFlags { mask: 6, value: 2 }.into()),
        ("tcp src portrange 1-9", Expr::all([tcp, Test::SourcePortIn { first, last }.into()])),
        ("vlan 5 and icmp", Expr::all([Test::Vlan(Some(5)), Test::IpProtocol(1)])),
        ("less 63", Expr::not(Test::LenAtLeast(64))),
    ];
    for (text, expr) in cases {
        assert_eq!(parse(text), Ok(expr), "{text}");
    }
}

// Planted and caught: a length that forgets the last token.
#[test]
fn faults_are_found_where_the_table_says() {
    for (text, offset_bytes, len_bytes, message) in FAULTS {
        let error = parse(text).expect_err(text);
        assert_eq!(error.message(), *message, "{text}");
        assert_eq!(
            (error.offset_bytes(), error.len_bytes()),
            (*offset_bytes, *len_bytes),
            "{text}"
        );
        assert_eq!(error.to_string(), std::format!("filter at byte {offset_bytes}: {message}"));
    }
}

// Planted and caught: an offset in characters; a word cut for a message at byte 40.
#[test]
fn faults_are_counted_in_bytes() {
    let error = parse("tcp\u{3000}and\u{3000}prot x").unwrap_err();
    assert_eq!((error.offset_bytes(), error.len_bytes()), (12, 4));
    let error = parse(&("x".to_string() + &"\u{fc}".repeat(60))).unwrap_err();
    assert_eq!((error.offset_bytes(), error.len_bytes()), (0, 121));
}

fn caret(text: &str) -> String {
    parse(text).unwrap_err().caret(text).to_string()
}

// Planted and caught: a mark placed by bytes, and by characters.
#[test]
fn the_mark_stands_below_the_fault() {
    assert_eq!(caret("tcp prot 80"), "tcp prot 80\n    ^~~~");
    assert_eq!(caret("tcp and"), "tcp and\n       ^");
    assert_eq!(caret("(arp"), "(arp\n^");
    assert_eq!(caret("host \u{fc}\u{fc} or prot"), "host \u{fc}\u{fc} or prot\n     ^~");
    // Two columns a character, and a mark of its own for a combining one: none.
    assert_eq!(caret("tcp \u{65e5}\u{672c} x"), "tcp \u{65e5}\u{672c} x\n    ^~~~");
    assert_eq!(caret("port e\u{301}x"), "port e\u{301}x\n      ^");
    assert_eq!(caret("tcp\t\n\u{1b} x"), "tcp   \u{20}x\n     ^");
    let long = "arp or ".repeat(40) + "prot" + &" and arp".repeat(40);
    let shown = caret(&long);
    let (text, mark) = shown.split_once('\n').unwrap();
    assert!(text.starts_with("...") && text.ends_with("...") && text.len() < 140, "{text}");
    assert_eq!(text.find("prot"), mark.find('^'), "{shown}");
    assert!(mark.ends_with("^~~~"));
    // Another text than was parsed.
    let error = parse("host 10.0.0.1 and (tcp").unwrap_err();
    for other in ["", "\u{65e5}\u{672c}\u{65e5}\u{672c}\u{65e5}\u{672c}\u{65e5}\u{672c}"] {
        assert!(error.caret(other).to_string().starts_with(other));
    }
}

#[test]
fn depth_and_length_are_limited() {
    let depth = MAX_TEXT_DEPTH;
    let open = |count: usize| "(".repeat(count) + "arp" + &")".repeat(count);
    assert_eq!(parse(&open(depth)), parse("arp"));
    assert_eq!(parse(&open(depth + 1)).unwrap_err().offset_bytes(), depth);
    assert!(parse(&("!".repeat(depth - 1) + "arp")).is_ok());
    for (text, offset_bytes) in [
        ("!".repeat(depth) + "arp", 0),
        ("not ".repeat(16000) + "arp", 4 * depth),
        ("(".repeat(60000), depth),
        ("host ".to_string() + &"(".repeat(60000), 5 + depth),
        (std::format!("tcp[13] = {}", "(".repeat(50000)), 10 + depth),
        ("arp".to_string() + &" or ip and arp".repeat(33), 3 + 14 * 31 + 7),
    ] {
        let error = parse(&text).unwrap_err();
        assert!(error.message().contains("nests at most"), "{error}");
        assert_eq!(error.offset_bytes(), offset_bytes, "{}", &text[..20]);
    }
    // Width is no depth.
    assert!(parse(&("arp".to_string() + &" or ip".repeat(5000))).is_ok());
    let error = parse(&"\u{fc}".repeat(MAX_TEXT_LEN_BYTES)).unwrap_err();
    assert_eq!(error.offset_bytes(), MAX_TEXT_LEN_BYTES);
    assert!(parse(&" ".repeat(MAX_TEXT_LEN_BYTES)).is_ok());
}

/// Processor time of this thread so far: others may have the CPU meanwhile.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

// A bound that only a quadratic parser misses. Planted and caught: the tokens copied by each look
// ahead.
#[test]
fn the_longest_texts_are_read_at_once() {
    for part in ["arp or ", "(tcp[13] & 2) != 0 or ", "(tcp[", "(tcp[13] ", "1-2-3-", "-", "port "]
    {
        let text = part.repeat(MAX_TEXT_LEN_BYTES / part.len());
        let before = cpu();
        for text in [text.clone(), text.clone() + "arp", "portrange 1".to_string() + &text] {
            let _ = parse(&text).map_err(|error| error.caret(&text).to_string());
        }
        assert!(cpu() - before < Duration::from_secs(5), "{part}");
    }
}

#[test]
fn the_names_of_ports_are_ports() {
    for (index, (name, port, transports)) in names::SERVICES.iter().enumerate() {
        assert!(names::SERVICES[..index].iter().all(|earlier| earlier.0 != *name), "{name}");
        let expr = parse(&std::format!("src port {name}")).unwrap().to_string();
        assert!(expr.ends_with(&std::format!("source_port {port}")), "{expr}");
        let single = *transports != names::Transports::TCP_UDP;
        assert_eq!(expr.contains("ip_protocol"), single, "{expr}");
        // Also as an end of a range, whatever hyphens it has.
        assert!(parse(&std::format!("portrange {name}-{name}")).is_ok(), "{name}");
    }
}

/// Words and symbols of the grammar, and some that are not.
const WORDS: &[&str] = &[
    "and",
    "or",
    "not",
    "!",
    "(",
    ")",
    "[",
    "]",
    "&",
    "|",
    "&&",
    "||",
    "=",
    "!=",
    ">",
    "/",
    "ip",
    "ip6",
    "arp",
    "tcp",
    "udp",
    "icmp",
    "icmp6",
    "ether",
    "vlan",
    "src",
    "dst",
    "host",
    "net",
    "mask",
    "port",
    "portrange",
    "proto",
    "less",
    "len",
    "multicast",
    "broadcast",
    "tcpflags",
    "tcp-syn",
    "icmptype",
    "13",
    "0",
    "10.0.0.1",
    "10",
    "8",
    "::1",
    "http",
    "2:0:0:0:0:1",
    "1-2",
    "\\tcp",
    "255.0.0.0",
    "\u{fc}",
    "x",
    "always",
    "fragment",
];

/// Words in any order.
fn soup() -> impl Strategy<Value = String> {
    let word = prop::sample::select(WORDS);
    let pair = (word, prop::sample::select(&["", " "][..]));
    prop::collection::vec(pair, 0..24)
        .prop_map(|pairs| pairs.iter().map(|(word, space)| [*word, *space].concat()).collect())
}

/// Pieces of texts that mean something, so that whole texts often do.
fn pieces() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..MEANINGS.len(), 1..6)
}

/// An error is in the text, between characters, and in one line.
fn check_error(error: &ParseError, text: &str) {
    let (start, len_bytes) = (error.offset_bytes(), error.len_bytes());
    assert!(text.get(start..start + len_bytes).is_some(), "{error:?}");
    assert!(!error.to_string().contains(char::is_control), "{error:?}");
    assert_eq!(error.caret(text).to_string().lines().count(), 2, "{error:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    // Planted and caught: a shown text cut inside a character; a step behind the last token.
    #[test]
    fn no_text_panics(text in prop_oneof![soup(), any::<String>(), "\\PC{0,60}"]) {
        let first = parse(&text);
        prop_assert_eq!(&first, &parse(&text));
        match first {
            Ok(expr) => _ = expr.matches(&Fields::NONE),
            Err(error) => check_error(&error, &text),
        }
    }

    // Planted and caught: `and` before `or`; nothing inherited behind `not` or a parenthesis.
    #[test]
    fn parts_group_from_left_to_right(
        parts in pieces(), ors: [bool; 6], negated: [bool; 6], ether: [u8; 64],
    ) {
        let fields = Fields::parse(&ether);
        let (mut text, mut expected) = (String::new(), None);
        for (i, part) in parts.iter().enumerate() {
            let part = MEANINGS[*part].0;
            let part = if part.trim().is_empty() { "always" } else { part };
            let value = parse(part).unwrap().matches(&fields) != negated[i];
            let join = ["and", "||"][usize::from(ors[i])];
            let not = ["", "not "][usize::from(negated[i])];
            expected = match expected {
                None => Some(value),
                Some(left) if ors[i] => Some(left || value),
                Some(left) => Some(left && value),
            };
            text += &if i == 0 { std::format!("{not}({part})") } else { std::format!(" {join} {not}({part})") };
        }
        prop_assert_eq!(parse(&text).unwrap().matches(&fields), expected.unwrap(), "{}", text);
    }
}
