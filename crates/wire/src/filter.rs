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
//! all [`Present`] bits clear at the start.
//!
//! 1. **Ethernet.** Needs 14 bytes at 0. Sets [`ETHERNET`](Present::ETHERNET) and `ether_type`
//!    from bytes 12..14. `l3 = 14`.
//! 2. **Tags**, at most twice: while `ether_type` is 0x8100 or 0x88a8 (0x9100 is no tag): needs 4
//!    bytes at `l3`. `vlan_ids[vlan_count]` is the low 12 bits of bytes 0..2 there, `ether_type`
//!    becomes bytes 2..4, `vlan_count` grows by one, [`VLAN`](Present::VLAN) is set, `l3` grows by
//!    4. After that an `ether_type` that still announces a tag says that a tag was cut off, or that
//!    there are more than two.
//! 3. **ARP**, if `ether_type` is 0x0806: needs 28 bytes at `l3`; bytes 0..6 must be
//!    `00 01 08 00 06 04`, else the parse ends. Sets [`ARP`](Present::ARP), `arp_operation` from
//!    bytes 6..8, `arp_sender` from 14..18 and `arp_target` from 24..28. Ends.
//! 4. **IPv4**, if `ether_type` is 0x0800: needs 20 bytes at `l3`; the high half of byte 0 must be
//!    4 and its low half at least 5, else the parse ends. Sets [`IPV4`](Present::IPV4),
//!    `header_len_bytes` (4 times the low half of byte 0), `more_fragments` (bit 0x2000 of bytes
//!    6..8), `fragment_offset_bytes` (their low 13 bits times 8), `ip_protocol` from byte 9,
//!    `ip_source` from 12..16, `ip_destination` from 16..20. Total length and checksum are not
//!    looked at: who takes a packet checks them.
//! 5. **Transport**, if `fragment_offset_bytes` is 0. `l4 = l3 + header_len_bytes` (at most 82).
//!    For protocol 1 (ICMP): needs 4 bytes at `l4`; sets [`ICMP`](Present::ICMP), `icmp_type` from
//!    byte 0 and `icmp_code` from byte 1. For protocols 6 (TCP), 17 (UDP), 132 (SCTP) and 136
//!    (UDP-Lite): needs 4 bytes at `l4`; sets [`PORTS`](Present::PORTS), `source_port` from bytes
//!    0..2 and `destination_port` from 2..4. Ends.
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

pub use expr::{Expr, Test};
pub use fields::{Fields, Present};
pub use net::{Ipv4Net, Ipv6Net};
pub use rules::{Action, ClassName, DEFAULT_CLASS, Rule, Rules, responder};
