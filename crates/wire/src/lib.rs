//! Packet headers in place: bytes to meaning and back.
//!
//! A frame stays where the device or the kernel put it; this crate reads and writes its headers
//! there.
//!
//! ```text
//!  frame  | ethernet 14 | vlan 4 .. | arp 28                                          |
//!         | sll 16, 20  | llc 3, 8  | ipv4 20..60       | icmpv4 8, igmp 8, gre 4..16  | payload
//!         | loopback 4  |           | ipv6 40 + ext.    | icmpv6 8 (ndp, mld)          |
//!                                                       | udp 8 (vxlan 8, geneve 8..)  |
//!                                                       | tcp 20..60, sctp 12 + chunks |
//! ```
//!
//! | to | use |
//! |---|---|
//! | find all layers of a frame, through tunnels | [`dissect`] |
//! | find the flow that it belongs to, and nothing else | [`flow_key`](dissect::flow_key) |
//! | read and change one header | its view, such as [`Ipv4`] |
//! | write headers in front of a payload | [`compose`], with whole frames in [`compose::preset`] |
//! | sum, verify and update checksums | [`checksum`], [`crc32c`] |
//! | choose frames by an expression | [`filter`], as text [`filter::text`] |
//! | name numbers | [`names`] |
//!
//! Two levels per protocol:
//!
//! * a **view** (`Ipv4<T>`) keeps every bit of a header in a buffer it borrows or owns.
//!   `new_checked` checks once; after `Ok` no accessor and no setter panics. Setters of length
//!   fields void the check: each says so, and from then on slices are cut to what the buffer has
//!   instead. Every field has a getter and a setter, except those that an RFC reserves.
//! * a **repr** (`Ipv4Repr`) is a plain struct of the sane states. `emit(parse(x)) == x` for all
//!   that it can represent; what it cannot represent `parse` and `emit` refuse.
//!
//! A payload is in the buffer before the header in front of it is emitted (headers are written back
//! to front), so that `emit` can fill checksums.
//!
//! Who owns what: views own nothing but the `T` they are given, which must return the same slice
//! each time it is asked. The crate allocates only in [`filter`], never per packet.
//! Nothing here calls the kernel: it needs no kernel version, and no operating system either.
//!
//! Not here: reassembly of fragments and streams. What has no view (MPLS, PPP, ESP, ...) is recognised
//! by name and left opaque.
//!
//! ```
//! use netmem_wire::{Ethernet, Icmpv4, Ipv4, icmpv4};
//!
//! /// Answers a frame that the filter took as an echo request to one of our addresses.
//! fn answer(frame: &mut [u8]) -> Result<bool, netmem_wire::Error> {
//!     let mut ethernet = Ethernet::new_checked(frame)?;
//!     ethernet.swap_addresses();
//!     let mut ip = Ipv4::new_checked(ethernet.payload_mut())?;
//!     // Only a whole packet is a whole ICMP message.
//!     if ip.is_fragment() || !ip.verify_checksum() {
//!         return Ok(false);
//!     }
//!     // Exchanging two words of the header leaves its checksum as it is.
//!     let (source, destination) = (ip.source(), ip.destination());
//!     ip.set_source(destination);
//!     ip.set_destination(source);
//!     let mut icmp = Icmpv4::new_checked(ip.payload_mut())?;
//!     if icmp.icmp_type() != icmpv4::icmp_type::ECHO_REQUEST || !icmp.verify_checksum() {
//!         return Ok(false);
//!     }
//!     icmp.turn_into_echo_reply();
//!     Ok(true)
//! }
//! # assert!(answer(&mut [0; 64]).is_err());
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod arp;
pub mod checksum;
pub mod compose;
pub mod crc32c;
pub mod dissect;
pub mod ethernet;
pub mod filter;
pub mod geneve;
pub mod gre;
pub mod icmpv4;
pub mod icmpv6;
pub mod igmp;
pub mod ipv4;
pub mod ipv6;
pub mod llc;
pub mod loopback;
pub mod names;
pub mod sctp;
pub mod sll;
pub mod tcp;
pub mod udp;
pub mod vlan;
pub mod vxlan;

mod error;

pub use arp::{Arp, ArpHeader, ArpRepr};
pub use dissect::{Dissection, FlowKey, LinkType};
pub use error::{Error, Layer};
pub use ethernet::{Ethernet, EthernetRepr, MacAddr};
pub use geneve::{Geneve, GeneveRepr};
pub use gre::{Gre, GreRepr};
pub use icmpv4::{Icmpv4, Icmpv4Repr};
pub use icmpv6::{Icmpv6, Icmpv6Repr};
pub use igmp::{Igmp, IgmpRepr};
pub use ipv4::{Ipv4, Ipv4Repr};
pub use ipv6::{Ipv6, Ipv6Repr};
pub use llc::{Llc, LlcRepr};
pub use loopback::{Loopback, LoopbackRepr};
pub use sctp::{Sctp, SctpRepr};
pub use sll::{Sll, Sll2, SllRepr};
pub use tcp::{Tcp, TcpRepr};
pub use udp::{Udp, UdpRepr};
pub use vlan::{Vlan, VlanRepr};
pub use vxlan::{Vxlan, VxlanRepr};

/// Reads the big-endian 16-bit word at byte `at_bytes` of a header of fixed size.
#[inline]
const fn be16<const N: usize>(header: &[u8; N], at_bytes: usize) -> u16 {
    u16::from_be_bytes([header[at_bytes], header[at_bytes + 1]])
}

/// Writes `value` big-endian at byte `at_bytes` of a header of fixed size.
#[inline]
fn set_be16<const N: usize>(header: &mut [u8; N], at_bytes: usize, value: u16) {
    header[at_bytes..at_bytes + 2].copy_from_slice(&value.to_be_bytes());
}

/// Copies `N` bytes at byte `at_bytes` out of a header of fixed size.
#[inline]
fn bytes<const N: usize>(header: &[u8], at_bytes: usize) -> [u8; N] {
    let mut copy = [0; N];
    copy.copy_from_slice(&header[at_bytes..at_bytes + N]);
    copy
}
