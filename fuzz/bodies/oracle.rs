//! Which frames get an answer, and which one: written from the RFCs, without netmem's code, to judge
//! that code.
//!
//! Answered are, for a host with one Ethernet address and some IPv4 addresses:
//! - ARP requests for one of them (RFC 826), probes included (RFC 5227);
//! - echo requests to one of them (RFC 792) that are no fragments, come from one host (RFC 1122,
//!   3.2.1.3), and whose options can be answered (RFC 791, RFC 1122 3.2.2.6).
//!
//! Where an RFC leaves a choice, the choice is the one that netmem's responder documents.

use std::ops::Range;

/// A host.
#[derive(Debug, Clone, Copy)]
pub struct Host {
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Its IPv4 addresses.
    pub addresses: &'static [[u8; 4]],
}

/// What a reply must be.
#[derive(Debug, Default)]
pub struct Reply {
    /// Its bytes, but for the checksums and times.
    bytes: Vec<u8>,
    /// What must sum up right, and where in it the checksum is.
    summed: Vec<(Range<usize>, usize)>,
    /// Where times are, in milliseconds since midnight.
    times: Vec<usize>,
}

impl Reply {
    /// Panics with what is wrong with `actual`.
    pub fn check(mut self, actual: &[u8]) {
        assert_eq!(actual.len(), self.bytes.len(), "the reply's length");
        for (range, checksum) in self.summed {
            assert!(sums_up(&actual[range.clone()]), "a wrong checksum over bytes {range:?}");
            self.bytes[checksum..checksum + 2].copy_from_slice(&actual[checksum..checksum + 2]);
        }
        for at in self.times {
            let time =
                actual[at..at + 4].iter().fold(0u32, |all, byte| all << 8 | u32::from(*byte));
            assert!(time < 86_400_000, "the time at byte {at} is not of a day");
            self.bytes[at..at + 4].copy_from_slice(&actual[at..at + 4]);
        }
        assert_eq!(actual, self.bytes, "the reply's bytes");
    }
}

/// The Internet checksum (RFC 1071): all 16-bit words, checksum included, sum up to minus zero.
pub fn sums_up(bytes: &[u8]) -> bool {
    let mut sum: u64 =
        (0u64..).zip(bytes).map(|(n, byte)| u64::from(*byte) << (8 * (1 - n % 2))).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum == 0xffff
}

/// The reply to `frame`, if there must be one; if not, there must be none.
pub fn reply(host: Host, frame: &[u8]) -> Option<Reply> {
    let source = frame.get(6..12)?;
    // A group address is no source (IEEE 802.3).
    if source[0] & 1 != 0 {
        return None;
    }
    let (mut kind, mut l3) = (frame.get(12..14)?, 14);
    if matches!(kind, [0x81, 0x00] | [0x88, 0xa8]) {
        // One tag without a VLAN.
        let tag = frame.get(14..18)?;
        if tag[0] & 0x0f != 0 || tag[1] != 0 {
            return None;
        }
        (kind, l3) = (&tag[2..], 18);
    }
    match kind {
        [0x08, 0x06] => arp(host, frame, l3),
        [0x08, 0x00] => echo(host, frame, l3),
        _ => None,
    }
}

fn arp(host: Host, frame: &[u8], l3: usize) -> Option<Reply> {
    let packet = frame.get(l3..l3 + 28)?;
    let to_us = frame[..6] == host.mac || frame[..6] == [0xff; 6];
    // Ethernet, IPv4, their lengths, request.
    if !to_us || packet[..8] != [0, 1, 8, 0, 6, 4, 0, 1] {
        return None;
    }
    let (sender_mac, sender_ip) = (&packet[8..14], &packet[14..18]);
    let target = &packet[24..28];
    let ours = |ip: &[u8]| host.addresses.iter().any(|address| address == ip);
    // Our own address as a sender's is a conflict (RFC 5227), no question.
    if sender_mac[0] & 1 != 0 || !ours(target) || ours(sender_ip) {
        return None;
    }
    // RFC 826: to the sender's hardware address, with the two pairs exchanged.
    let head = [sender_mac, &host.mac, &frame[12..l3], &packet[..7], &[2]].concat();
    let pairs = [&host.mac[..], target, sender_mac, sender_ip].concat();
    Some(Reply { bytes: padded(frame, [head, pairs].concat()), ..Reply::default() })
}

fn echo(host: Host, frame: &[u8], l3: usize) -> Option<Reply> {
    let ip = &frame[l3..];
    let header_len = usize::from(ip.first()? & 0x0f) * 4;
    let header = ip.get(..header_len)?;
    if frame[..6] != host.mac || header_len < 20 || ip[0] >> 4 != 4 || !sums_up(header) {
        return None;
    }
    let total_len = usize::from(ip[2]) << 8 | usize::from(ip[3]);
    let icmp = ip.get(header_len..total_len)?;
    let (source, destination) = (&ip[12..16], &ip[16..20]);
    let ours = |ip: &[u8]| host.addresses.iter().any(|address| address == ip);
    // RFC 1122, 3.2.1.3: a source is one host, and not this one; class E is reserved.
    let one_host = !matches!(source[0], 0 | 127 | 224..) && !ours(source);
    let is_fragment = ip[6] & 0x3f != 0 || ip[7] != 0;
    if !one_host || !ours(destination) || is_fragment || ip[9] != 1 {
        return None;
    }
    if icmp.len() < 8 || icmp[..2] != [8, 0] || !sums_up(icmp) {
        return None;
    }
    let mut options = header[20..].to_vec();
    let times = answer_options(host, &mut options, destination)?;
    let ethernet = [&frame[6..12], &host.mac, &frame[12..l3]].concat();
    // Type of service, identification and flags as they came (RFC 1122, 3.2.1.6).
    let fixed = [&ip[..8], &[64, 1, 0, 0], destination, source].concat();
    let message = [&[0; 4][..], &icmp[4..]].concat();
    let l4 = l3 + header_len;
    Some(Reply {
        bytes: padded(frame, [ethernet, fixed, options, message].concat()),
        summed: vec![(l3..l4, l3 + 10), (l4..l3 + total_len, l4 + 2)],
        times: times.iter().map(|at| l3 + 20 + at).collect(),
    })
}

/// Padding up to the shortest Ethernet frame stays as it came, and what is behind it is cut.
fn padded(frame: &[u8], mut reply: Vec<u8>) -> Vec<u8> {
    let end = reply.len().max(60).min(frame.len());
    let padding = &frame[reply.len()..end];
    reply.extend(padding);
    reply
}

/// Turns options into those of the reply: where times were written, or `None` if the packet is
/// malformed or asks for a source route.
fn answer_options(host: Host, options: &mut [u8], own: &[u8]) -> Option<Vec<usize>> {
    let (mut at, mut times, mut seen) = (0, Vec::new(), Vec::new());
    while at < options.len() && options[at] != 0 {
        if options[at] == 1 {
            at += 1;
            continue;
        }
        let kind = options[at];
        let len = usize::from(*options.get(at + 1)?);
        if len < 2 || at + len > options.len() {
            return None;
        }
        let option = &mut options[at..at + len];
        match kind {
            // RFC 791: "appears at most once in a datagram".
            7 | 68 if seen.contains(&kind) => return None,
            7 => record_route(option, own)?,
            68 => times.extend(timestamp(host, option, own)?.map(|inside| at + inside)),
            131 | 137 => return None,
            _ => option.fill(1),
        }
        seen.push(kind);
        at += len;
    }
    Some(times)
}

/// RFC 791: the pointer counts from 1, its least value is 4, and a full route stays as it is.
fn record_route(option: &mut [u8], own: &[u8]) -> Option<()> {
    let (len, pointer) = (option.len(), usize::from(*option.get(2)?));
    if len % 4 != 3 || pointer < 4 || pointer % 4 != 0 {
        return None;
    }
    if pointer < len {
        option[pointer - 1..pointer + 3].copy_from_slice(own);
        option[2] += 4;
    }
    Some(())
}

/// RFC 791: where a time was written, if one was. A part of an entry's room is an error, and so is an
/// overflow count that overflows. Addresses that the sender has named (flag 3) are no lack of room.
fn timestamp(host: Host, option: &mut [u8], own: &[u8]) -> Option<Option<usize>> {
    let &mut [_, _, pointer, overflow_flag, ..] = option else { return None };
    let entry_len = match overflow_flag & 15 {
        0 => 4,
        1 | 3 => 8,
        _ => return None,
    };
    let start = usize::from(pointer).checked_sub(1)?;
    if start < 4 || (start - 4) % entry_len != 0 {
        return None;
    }
    if start >= option.len() {
        match overflow_flag {
            _ if entry_len == 8 && overflow_flag & 2 != 0 => {}
            0xf0.. => return None,
            _ => option[3] += 0x10,
        }
        return Some(None);
    }
    let entry = option.get_mut(start..start + entry_len)?;
    match overflow_flag & 15 {
        1 => entry[..4].copy_from_slice(own),
        3 if !host.addresses.iter().any(|address| address == &entry[..4]) => return Some(None),
        _ => {}
    }
    option[2] += if entry_len == 8 { 8 } else { 4 };
    Some(Some(start + entry_len - 4))
}
