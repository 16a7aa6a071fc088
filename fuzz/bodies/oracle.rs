//! Which frames get an answer, and which one: written from the RFCs, without netmem's code, to judge
//! that code.
//!
//! Answered are, for a host with one Ethernet address and some IPv4 and IPv6 addresses:
//! - ARP requests for one of them (RFC 826), probes included (RFC 5227);
//! - echo requests to one of them (RFC 792) that are no fragments, come from one host (RFC 1122,
//!   3.2.1.3), and whose options can be answered (RFC 791, RFC 1122 3.2.2.6);
//! - neighbor solicitations for one of them (RFC 4861), duplicate address detection included;
//! - ICMPv6 echo requests to one of them (RFC 4443) that are no fragments and come from one host, past
//!   extension headers that may be skipped (RFC 8200);
//! - ARP requests and neighbor solicitations for a network that it proxies (RFC 1027, RFC 4861 7.2.8)
//!   by somebody else than the one asked for; no probe and no detection.
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
    /// Its IPv6 addresses.
    pub addresses6: &'static [[u8; 16]],
    /// The first bytes of the IPv4 addresses that it proxies.
    pub proxied: &'static [u8],
    /// The first bytes of the IPv6 addresses that it proxies.
    pub proxied6: &'static [u8],
}

/// What a reply must be.
#[derive(Debug, Default)]
pub struct Reply {
    /// Its bytes, but for the checksums and times.
    bytes: Vec<u8>,
    /// What must sum up right, and where in it the checksum is.
    summed: Vec<(Range<usize>, usize)>,
    /// What must sum up right together with the pseudo header of an IPv6 packet that begins at the
    /// second byte number.
    summed6: Option<(Range<usize>, usize)>,
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
        if let Some((range, l3)) = self.summed6 {
            let addresses = &actual[l3 + 8..l3 + 40];
            assert!(sums_up6(addresses, &actual[range.clone()]), "a wrong checksum of ICMPv6");
            self.bytes[range.start + 2..range.start + 4]
                .copy_from_slice(&actual[range.start + 2..range.start + 4]);
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
        [0x86, 0xdd] => ipv6(host, frame, l3),
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
    // Nobody else's: the question where to send comes from one host, and it is not that one; and what is
    // asked for is one host too.
    let proxied = target.starts_with(host.proxied)
        && !matches!(target[0], 0 | 127 | 224..)
        && sender_ip != [0; 4]
        && sender_ip != target;
    // Our own address as a sender's is a conflict (RFC 5227), no question.
    if sender_mac[0] & 1 != 0 || !(ours(target) || proxied) || ours(sender_ip) {
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
        ..Reply::default()
    })
}

/// As [`sums_up`], for a message of ICMPv6 between two addresses (RFC 8200, 8.1).
fn sums_up6(addresses: &[u8], message: &[u8]) -> bool {
    let Ok(len) = u32::try_from(message.len()) else { return false };
    sums_up(&[addresses, &len.to_be_bytes(), &[0, 0, 0, 58], message].concat())
}

fn ipv6(host: Host, frame: &[u8], l3: usize) -> Option<Reply> {
    let header = frame.get(l3..l3 + 40)?;
    let len = usize::from(header[4]) << 8 | usize::from(header[5]);
    let payload = frame.get(l3 + 40..l3 + 40 + len)?;
    let destination = &header[24..40];
    // RFC 2464, section 7: a group's frames go to an Ethernet group, or (RFC 6085) to one of its hosts.
    let group = [&[0x33, 0x33], &destination[12..]].concat();
    let to_us = frame[..6] == host.mac || destination[0] == 0xff && frame[..6] == group;
    if header[0] >> 4 != 6 || !to_us {
        return None;
    }
    let (skipped, has_fragment_header) = extensions(header[6], payload)?;
    let message = &payload[skipped..];
    // The shortest message has 8 bytes.
    if message.len() < 8 || !sums_up6(&header[8..], message) || message[1] != 0 {
        return None;
    }
    match message[0] {
        128 => echo6(host, frame, l3, message),
        135 if !has_fragment_header && header[7] == 255 => solicitation(host, frame, l3, message),
        _ => None,
    }
}

fn is_ours6(host: Host, ip: &[u8]) -> bool {
    host.addresses6.iter().any(|address| address == ip)
}

fn echo6(host: Host, frame: &[u8], l3: usize, message: &[u8]) -> Option<Reply> {
    let (source, destination) = (&frame[l3 + 8..l3 + 24], &frame[l3 + 24..l3 + 40]);
    if !is_one_host6(source) || is_ours6(host, source) || !is_ours6(host, destination) {
        return None;
    }
    let ethernet = [&frame[6..12], &host.mac, &frame[12..l3]].concat();
    let len = u16::try_from(message.len()).ok()?.to_be_bytes();
    let fixed = [&frame[l3..l3 + 4], &len, &[58, 64], destination, source].concat();
    let bytes = [&ethernet[..], &fixed, &[129, 0, 0, 0], &message[4..]].concat();
    let end = bytes.len();
    Some(Reply { bytes, summed6: Some((l3 + 40..end, l3)), ..Reply::default() })
}

fn solicitation(host: Host, frame: &[u8], l3: usize, message: &[u8]) -> Option<Reply> {
    let (source, destination) = (&frame[l3 + 8..l3 + 24], &frame[l3 + 24..l3 + 40]);
    let (target, options) = (message.get(8..24)?, &message[24..]);
    let named = source_option(options)?;
    // RFC 4291, 2.7.1.
    let solicited = [&[0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff][..], &target[13..]].concat();
    if target[0] == 0xff || destination != target && destination != solicited {
        return None;
    }
    let is_ours = is_ours6(host, target);
    let proxied = !is_ours && target.starts_with(host.proxied6) && is_one_host6(target);
    let is_detection = source == [0; 16];
    let answered = if is_detection {
        // RFC 4861, 7.1.1: to the group, without the option.
        is_ours && destination == solicited && named.is_none()
    } else {
        let from_one = is_one_host6(source) && !is_ours6(host, source);
        from_one && (is_ours || proxied && source != target)
    };
    if !answered {
        return None;
    }
    let all = [&[0xff, 2][..], &[0; 13], &[1]].concat();
    let (to_mac, to) = match (is_detection, named) {
        (true, _) => (&[0x33, 0x33, 0, 0, 0, 1][..], &all[..]),
        (false, Some(mac)) if mac.len() == 6 && mac[0] & 1 == 0 => (mac, source),
        (false, Some(_)) => return None,
        (false, None) => (&frame[6..12], source),
    };
    // Solicited and override.
    let flags = if is_detection { 0 } else { 0x40 } | if proxied { 0 } else { 0x20 };
    let ethernet = [to_mac, &host.mac, &frame[12..l3]].concat();
    let fixed = [&[0x60, 0, 0, 0, 0, 32, 58, 255], target, to].concat();
    let message = [&[136, 0, 0, 0, flags, 0, 0, 0], target, &[2, 1], &host.mac].concat();
    let bytes = [ethernet, fixed, message].concat();
    let end = bytes.len();
    Some(Reply { bytes, summed6: Some((end - 32..end, l3)), ..Reply::default() })
}

/// RFC 4291: no group, not the unspecified address, no loopback, no mapped IPv4 address.
fn is_one_host6(address: &[u8]) -> bool {
    let is_low = |high: usize| address[..high].iter().all(|byte| *byte == 0);
    let is_mapped = is_low(10) && address[10..12] == [0xff; 2];
    address[0] != 0xff && !(is_low(15) && address[15] <= 1) && !is_mapped
}

/// Where ICMPv6 begins behind extension headers that may be skipped, at most six as for the filter, and
/// whether one is a fragment header (of a whole packet, RFC 6946).
fn extensions(first: u8, payload: &[u8]) -> Option<(usize, bool)> {
    let (mut kind, mut at, mut has_fragment_header) = (first, 0, false);
    for number in 0..=6 {
        if kind == 58 {
            return Some((at, has_fragment_header));
        }
        let header = payload.get(at..at + 8)?;
        let len = if kind == 44 { 8 } else { (usize::from(header[1]) + 1) * 8 };
        let header = payload.get(at..at + len)?;
        let may_pass = match kind {
            0 => number == 0 && may_be_skipped(&header[2..]),
            60 => may_be_skipped(&header[2..]),
            43 => header[3] == 0,
            // Offset and more fragments; two bits in between are reserved.
            44 => header[2] == 0 && header[3] & 0xf9 == 0,
            _ => false,
        };
        if !may_pass {
            return None;
        }
        has_fragment_header |= kind == 44;
        (kind, at) = (header[0], at + len);
    }
    None
}

/// RFC 8200, 4.2: every option's upper two bits are clear, and each ends inside of its header. That of
/// router alert (RFC 2711) has two bytes.
fn may_be_skipped(mut options: &[u8]) -> bool {
    while let [kind, rest @ ..] = options {
        options = match (kind, rest) {
            (0, _) => rest,
            (5, [len, ..]) if *len != 2 => return false,
            (1..64, [len, rest @ ..]) if usize::from(*len) <= rest.len() => {
                &rest[usize::from(*len)..]
            }
            _ => return false,
        };
    }
    true
}

/// RFC 4861, 4.6: what the first source link-layer address option holds, `Some(None)` without one, and
/// `None` if an option has no length or ends behind the message.
#[allow(clippy::option_option, reason = "malformed, or without")]
fn source_option(mut options: &[u8]) -> Option<Option<&[u8]>> {
    let mut found = None;
    while !options.is_empty() {
        let len = usize::from(*options.get(1)?) * 8;
        let (option, rest) = options.split_at_checked(len).filter(|_| len > 0)?;
        if option[0] == 1 && found.is_none() {
            found = Some(&option[2..]);
        }
        options = rest;
    }
    Some(found)
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
