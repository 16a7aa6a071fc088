//! The usual frame's fast path: an untagged echo request without IP options, answered in place.
//!
//! ```text
//!   0        6    12     14   15    16      18   20     22    23      24    26       30    34
//!   | ours   | .. | 0800 | 45 | tos | total | id | frag | ttl | 01    | sum | source | own | 08 00 | sum
//! ```
//!
//! It looks first and writes only when it is sure of an answer. In every other case the frame is
//! untouched, and the full path finds the answer or the reason why there is none. So this path has
//! no reasons, and it may pass on whatever is rare.
//!
//! Fixed fields are compared several at a time, as the machine reads them. The checksums are
//! updated in the machine's byte order too (RFC 1071 section 2 (B)), and without folding: for a
//! checksum c, an old word m and a new one n, equation 3 of RFC 1624 is c + m - n, as long as that
//! is in 0 to 0xfffe. The few checksums that leave this range are passed on.

use std::net::Ipv4Addr;

use netmem_wire::{checksum, ethernet, icmpv4, ipv4};

use super::{MIN_FRAME_BYTES, Responder, TTL, may_be_answered};

/// Where the ICMP message begins.
const MESSAGE_AT_BYTES: usize = ethernet::HEADER_LEN_BYTES + ipv4::HEADER_LEN_BYTES;
/// The message that `ping` sends where it is told no size.
const PING_BYTES: usize = 64;
/// All headers together.
const HEADERS_BYTES: usize = MESSAGE_AT_BYTES + icmpv4::HEADER_LEN_BYTES;

/// Bytes 0 to 7: our address, and the group bit of the source's.
const LINK_MASK: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0]);
/// Bytes 12 to 15: IPv4 without options, any service.
const KIND_MASK: u32 = u32::from_ne_bytes([0xff, 0xff, 0xff, 0]);
const KIND: u32 = u32::from_ne_bytes([0x08, 0x00, super::IPV4_PLAIN, 0]);
/// Bytes 20 to 23: no fragment, any time to live, ICMP.
const WHOLE_MASK: u32 = u32::from_ne_bytes([0x3f, 0xff, 0, 0xff]);
const WHOLE: u32 = u32::from_ne_bytes([0, 0, 0, ipv4::protocol::ICMP]);
/// Bytes 34 and 35: type and code.
const REQUEST: u16 = u16::from_ne_bytes([icmpv4::icmp_type::ECHO_REQUEST, 0]);

impl Responder {
    /// Turns a usual echo request into its reply and returns the reply's length; `None` leaves the
    /// frame as it is.
    #[inline(always)]
    pub(super) fn answer_usual(&self, frame: &mut [u8]) -> Option<usize> {
        let head = frame.first_chunk::<HEADERS_BYTES>()?;
        let link = u64::from_ne_bytes(self.own_link);
        if (u64::from_ne_bytes(part(head, 0)) ^ link) & LINK_MASK != 0
            || (u32::from_ne_bytes(part(head, 12)) ^ KIND) & KIND_MASK != 0
            || u32::from_ne_bytes(part(head, 20)) & WHOLE_MASK != WHOLE
            || u16::from_ne_bytes(part(head, 34)) != REQUEST
        {
            return None;
        }
        let (source, own) = (Ipv4Addr::from(part(head, 26)), Ipv4Addr::from(part(head, 30)));
        if !self.has(own) || self.has(source) || !may_be_answered(source) {
            return None;
        }
        let end = ethernet::HEADER_LEN_BYTES + usize::from(u16::from_be_bytes(part(head, 16)));
        if end < MIN_FRAME_BYTES || end > frame.len() {
            return None;
        }
        if !checksum::verify(&part::<20>(head, ethernet::HEADER_LEN_BYTES)) {
            return None;
        }
        let message = &frame[MESSAGE_AT_BYTES..end];
        // A length that the compiler knows needs no loop.
        let is_right = match <&[u8; PING_BYTES]>::try_from(message) {
            Ok(ping) => checksum::verify(ping),
            Err(_) => checksum::verify(message),
        };
        if !is_right {
            return None;
        }
        let ip_sum = updated(part(head, 24), u16::from_ne_bytes([head[22], 0]), TTL_WORD)?;
        let message_sum = updated(part(head, 36), REQUEST, 0)?;

        let head = frame.first_chunk_mut::<HEADERS_BYTES>()?;
        // Two bytes more than an address, which the next line puts right.
        head.copy_within(6..14, 0);
        head[6..14].copy_from_slice(&self.own_link);
        head[22] = TTL;
        head[24..26].copy_from_slice(&ip_sum);
        head[26..34].rotate_left(4);
        head[34] = icmpv4::icmp_type::ECHO_REPLY;
        head[36..38].copy_from_slice(&message_sum);
        Some(end)
    }

    /// Whether `address` is one of ours. Most responders have one.
    #[inline(always)]
    fn has(&self, address: Ipv4Addr) -> bool {
        match self.addresses[..] {
            [one] => one == address,
            ref all => all.contains(&address),
        }
    }
}

/// The first two bytes that belong to the time to live of a reply.
const TTL_WORD: u16 = u16::from_ne_bytes([TTL, 0]);

/// The checksum after a word has changed, where that needs no folding.
#[inline(always)]
fn updated(checksum: [u8; 2], old_word: u16, new_word: u16) -> Option<[u8; 2]> {
    let [checksum, old, new] = [u16::from_ne_bytes(checksum), old_word, new_word].map(u32::from);
    let sum = (checksum + old).wrapping_sub(new);
    if sum >= 0xffff {
        return None;
    }
    u16::try_from(sum).ok().map(u16::to_ne_bytes)
}

/// Copies `N` bytes at byte `at` out of the headers.
#[inline(always)]
fn part<const N: usize>(head: &[u8; HEADERS_BYTES], at: usize) -> [u8; N] {
    let mut copy = [0; N];
    copy.copy_from_slice(&head[at..at + N]);
    copy
}
