//! The protocol numbers that this crate knows; [`names`](crate::names) names them.

/// IPv6 hop-by-hop options.
pub const HOP_BY_HOP: u8 = 0;
/// ICMP.
pub const ICMP: u8 = 1;
/// IGMP.
pub const IGMP: u8 = 2;
/// Gateway-to-gateway.
pub const GGP: u8 = 3;
/// IPv4 in IP.
pub const IPV4: u8 = 4;
/// Stream.
pub const ST: u8 = 5;
/// TCP.
pub const TCP: u8 = 6;
/// CBT.
pub const CBT: u8 = 7;
/// Exterior gateway.
pub const EGP: u8 = 8;
/// Any private interior gateway.
pub const IGP: u8 = 9;
/// Network voice.
pub const NVP: u8 = 11;
/// PUP.
pub const PUP: u8 = 12;
/// Chaos.
pub const CHAOS: u8 = 16;
/// UDP.
pub const UDP: u8 = 17;
/// Host monitoring.
pub const HMP: u8 = 20;
/// Xerox NS IDP.
pub const XNS_IDP: u8 = 22;
/// Reliable data.
pub const RDP: u8 = 27;
/// Internet reliable transaction.
pub const IRTP: u8 = 28;
/// ISO transport class 4.
pub const ISO_TP4: u8 = 29;
/// DCCP.
pub const DCCP: u8 = 33;
/// Inter-domain policy routing.
pub const IDPR: u8 = 35;
/// IPv6 in IP.
pub const IPV6: u8 = 41;
/// IPv6 routing header.
pub const IPV6_ROUTE: u8 = 43;
/// IPv6 fragment header.
pub const IPV6_FRAGMENT: u8 = 44;
/// Inter-domain routing.
pub const IDRP: u8 = 45;
/// Resource reservation.
pub const RSVP: u8 = 46;
/// GRE.
pub const GRE: u8 = 47;
/// Dynamic source routing.
pub const DSR: u8 = 48;
/// IPsec encapsulating security payload.
pub const ESP: u8 = 50;
/// IPsec authentication header.
pub const AH: u8 = 51;
/// NBMA address resolution.
pub const NARP: u8 = 54;
/// Minimal IPv4 encapsulation.
pub const MINIMAL_IPV4: u8 = 55;
/// SKIP.
pub const SKIP: u8 = 57;
/// `ICMPv6`.
pub const ICMPV6: u8 = 58;
/// Nothing follows an IPv6 header.
pub const IPV6_NO_NEXT: u8 = 59;
/// IPv6 destination options.
pub const IPV6_OPTIONS: u8 = 60;
/// VMTP.
pub const VMTP: u8 = 81;
/// EIGRP.
pub const EIGRP: u8 = 88;
/// OSPF.
pub const OSPF: u8 = 89;
/// Multicast transport.
pub const MTP: u8 = 92;
/// IP in IP encapsulation, KA9Q.
pub const IPIP: u8 = 94;
/// Ethernet in IP (RFC 3378).
pub const ETHERIP: u8 = 97;
/// Encapsulation header.
pub const ENCAP: u8 = 98;
/// Protocol independent multicast.
pub const PIM: u8 = 103;
/// IP payload compression.
pub const IPCOMP: u8 = 108;
/// Virtual router redundancy; CARP uses it too.
pub const VRRP: u8 = 112;
/// Reliable multicast.
pub const PGM: u8 = 113;
/// L2TP version 3.
pub const L2TP: u8 = 115;
/// Schedule transfer.
pub const STP: u8 = 118;
/// IS-IS over IPv4.
pub const ISIS: u8 = 124;
/// SCTP.
pub const SCTP: u8 = 132;
/// Fibre channel.
pub const FC: u8 = 133;
/// RSVP-E2E-IGNORE (RFC 3175).
pub const RSVP_E2E_IGNORE: u8 = 134;
/// Mobile IPv6 header.
pub const MOBILITY: u8 = 135;
/// UDP-Lite.
pub const UDP_LITE: u8 = 136;
/// MPLS in IP.
pub const MPLS: u8 = 137;
/// Mobile ad hoc networks (RFC 5498).
pub const MANET: u8 = 138;
/// Host identity.
pub const HIP: u8 = 139;
/// Shim6.
pub const SHIM6: u8 = 140;
/// Wrapped ESP.
pub const WESP: u8 = 141;
/// Robust header compression.
pub const ROHC: u8 = 142;
/// Ethernet (RFC 8986).
pub const ETHERNET: u8 = 143;
/// ESP payload of aggregated packets (RFC 9347).
pub const AGGFRAG: u8 = 144;
/// For experiments (RFC 3692).
pub const EXPERIMENT_1: u8 = 253;
/// For experiments (RFC 3692).
pub const EXPERIMENT_2: u8 = 254;
/// Reserved.
pub const RESERVED: u8 = 255;
