//! The typed filter: which frames to take and which to pass.
//!
//! Two back ends share it: [`Expr::matches`] here, and the XDP bytecode that crate `netmem`
//! generates from the same [`Expr`] and [`Rules`]. Both start from one bounded parse of the frame
//! ([`Fields::parse`]), never from the expression, so that they agree on every frame. This page is
//! the specification of that parse; a back end follows it step by step.
//!
//! # The parse
//!
//! "Needs n bytes at o" is the bounds check `o + n <= frame length`; if it fails, the parse ends
//! there and all fields set so far stand. Multi-byte values are big-endian. All fields are zero and
//! all [`Present`] bits clear at the start. Only the outermost headers are looked at: what a tunnel
//! or an ICMP error carries is payload.
//!
//! 1. **Length and Ethernet.** `len_bytes` is the frame's length, which is always there. Needs 14
//!    bytes at 0. Sets [`ETHERNET`](Present::ETHERNET), `destination_mac` from bytes 0..6,
//!    `source_mac` from 6..12 and `ether_type` from 12..14. `l3 = 14`.
//! 2. **Tags**, at most twice: while `ether_type` is 0x8100 or 0x88a8 (0x9100 is no tag): needs 4
//!    bytes at `l3`. `vlan_ids[vlan_count]` is the low 12 bits of bytes 0..2 there, `ether_type`
//!    becomes bytes 2..4, `vlan_count` grows by one, [`VLAN`](Present::VLAN) is set, `l3` grows by
//!    4. After that an `ether_type` that still announces a tag says that a tag was cut off, or that
//!    there are more than two.
//! 3. **ARP**, if `ether_type` is 0x0806: needs 28 bytes at `l3`; bytes 0..6 must be
//!    `00 01 08 00 06 04`, else the parse ends. Sets [`ARP`](Present::ARP), `arp_operation` from
//!    bytes 6..8, `arp_sender` from 14..18 and `arp_target` from 24..28. Ends.
//! 4. **IPv4**, if `ether_type` is 0x0800: needs 20 bytes at `l3`; the high half of byte 0 must be
//!    4 and its low half at least 5, else the parse ends. Sets [`IPV4`](Present::IPV4) and
//!    [`FRAGMENT`](Present::FRAGMENT), `header_len_bytes` (4 times the low half of byte 0),
//!    `more_fragments` (bit 0x2000 of bytes 6..8), `fragment_offset_bytes` (their low 13 bits times
//!    8), `ip_protocol` from byte 9, `ip_source` from 12..16, `ip_destination` from 16..20. Total
//!    length and checksum are not looked at: who takes a packet checks them. Ends if
//!    `fragment_offset_bytes` is not 0. `l4 = l3 + header_len_bytes` (at most 82); goes on at 7. An
//!    authentication header (protocol 51) is not walked over.
//! 5. **IPv6**, if `ether_type` is 0x86dd: needs 40 bytes at `l3`; the high half of byte 0 must be
//!    6, else the parse ends. Sets [`IPV6`](Present::IPV6), `ip6_source` from bytes 8..24 and
//!    `ip6_destination` from 24..40. `next` is byte 6, `l4 = l3 + 40`. The payload length is not
//!    looked at.
//! 6. **Extension headers**, at most six times: while `next` is 0 (hop-by-hop options), 43
//!    (routing), 44 (fragment), 51 (authentication) or 60 (destination options): needs 8 bytes at
//!    `l4`. For 44: sets [`FRAGMENT`](Present::FRAGMENT), `more_fragments` if the lowest bit of
//!    bytes 2..4 is set (it stays set), and `fragment_offset_bytes`, those bytes without their
//!    lowest three bits. `next` becomes byte 0. If `fragment_offset_bytes` is not 0: sets
//!    [`IP6_PROTOCOL`](Present::IP6_PROTOCOL) and `ip6_protocol = next`; ends. `l4` grows by 8 for
//!    44, by `(byte 1 + 2) * 4` for 51 and by `(byte 1 + 1) * 8` for the others. If `next` is one
//!    of the five even now, the parse ends. Sets `IP6_PROTOCOL`, `ip6_protocol = next` and
//!    `FRAGMENT`: the packet is not fragmented unless a header said so.
//! 7. **Transport.** For protocol 1 (ICMP) in IPv4: needs 4 bytes at `l4`; sets
//!    [`ICMP`](Present::ICMP), `icmp_type` from byte 0 and `icmp_code` from byte 1. For protocol 58
//!    (`ICMPv6`) in IPv6: needs 4 bytes at `l4`; sets [`ICMP6`](Present::ICMP6), `icmp6_type` and
//!    `icmp6_code`; for type 135 or 136 needs 24 bytes at `l4` and sets
//!    [`ND_TARGET`](Present::ND_TARGET) and `nd_target` from bytes 8..24. For protocols 6 (TCP), 17
//!    (UDP), 132 (SCTP) and 136 (UDP-Lite) in either: needs 4 bytes at `l4`; sets
//!    [`PORTS`](Present::PORTS), `source_port` from bytes 0..2 and `destination_port` from 2..4;
//!    for TCP needs 14 bytes at `l4` and sets [`TCP_FLAGS`](Present::TCP_FLAGS) and `tcp_flags`
//!    from byte 13. Ends.
//!
//! A [`Test`] on a field that is absent is false, so its negation is true: a truncated frame never
//! matches by what it lacks unless the expression says `not`.
//!
//! A VLAN tag that the device strips is not in the frame and so is not seen, neither here nor by
//! an XDP program.
//!
//! ```
//! use netmem_wire::filter::{Action, Expr, Fields, Rule, Rules, Test};
//!
//! let dns = Expr::all([Test::IpProtocol(17), Test::DestinationPort(53)]);
//! assert_eq!(dns.to_string(), "ip_protocol 17 and destination_port 53");
//! let rules = Rules::new([Rule::new("dns", dns, Action::Take)]);
//! let (class, action) = rules.classify(&Fields::parse(&[0; 60]));
//! assert_eq!((rules.classes().nth(class), action), (Some("other"), Action::Pass));
//! ```

mod expr;
mod fields;
mod net;
mod rules;
pub mod text;

pub use expr::{Expr, Test};
pub use fields::{Fields, Present};
pub use net::{Ipv4Net, Ipv6Net};
pub use rules::{Action, ClassName, DEFAULT_CLASS, ResponderConfig, Rule, Rules, responder};
pub use text::ParseError;
