use netmem_wire::filter::ResponderConfig;

use super::*;
use crate::responder::Answer;

const OWN_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const SOURCE_OPTION: [u8; 8] = [1, 1, 2, 0, 0, 0, 0, 1];

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// Has fe80::2 and 2001:db8::a:b:2, and proxies 2001:db8:1::/48.
fn responder() -> Responder {
    let config = ResponderConfig {
        addresses6: vec![ip("fe80::2"), ip("2001:db8::a:b:2")],
        proxied6: vec!["2001:db8:1::/48".parse().unwrap()],
        ..ResponderConfig::default()
    };
    Responder::new(OWN_MAC, &config)
}

/// Sums as RFC 1071 and RFC 8200 section 8.1 spell it out, independent of the code under test.
fn plain_sum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let len = u32::try_from(message.len()).unwrap().to_be_bytes();
    let all = [&from.octets()[..], &to.octets(), &len, &[0, 0, 0, 58], message].concat();
    let mut sum = 0u32;
    for pair in all.chunks(2) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

/// A packet in the making: each test changes what it is about.
#[derive(Clone)]
struct Request {
    to_mac: MacAddr,
    from: Ipv6Addr,
    to: Ipv6Addr,
    hop_limit: u8,
    /// Each begins with a byte for the header behind it.
    extensions: Vec<(u8, Vec<u8>)>,
    message: Vec<u8>,
    /// Added to the right checksum.
    error: u16,
    trailer: Vec<u8>,
}

fn echo(from: &str, to: &str, payload: &[u8]) -> Request {
    Request {
        to_mac: OWN_MAC,
        from: ip(from),
        to: ip(to),
        hop_limit: 7,
        extensions: Vec::new(),
        message: [&[128, 0, 0, 0, 0xab, 0xcd, 0, 9][..], payload].concat(),
        error: 0,
        trailer: Vec::new(),
    }
}

/// A solicitation to the target's group.
fn solicitation(from: &str, target: &str, options: &[u8]) -> Request {
    let (target, [.., a, b, c]) = (ip(target), ip(target).octets());
    Request {
        to_mac: MacAddr([0x33, 0x33, 0xff, a, b, c]),
        to: format!("ff02::1:ff{a:02x}:{b:02x}{c:02x}").parse().unwrap(),
        hop_limit: 255,
        message: [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target.octets(), options].concat(),
        ..echo(from, "::", &[])
    }
}

impl Request {
    fn frame(&self) -> Vec<u8> {
        let mut message = self.message.clone();
        if message.len() >= 4 {
            let sum = plain_sum(self.from, self.to, &message).wrapping_add(self.error);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        let mut payload = message;
        let mut kind = 58;
        for (own, extension) in self.extensions.iter().rev() {
            let mut extension = extension.clone();
            extension[0] = kind;
            payload = [extension, payload].concat();
            kind = *own;
        }
        let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
        let ethernet = [&self.to_mac.0[..], &PEER_MAC.0, &[0x86, 0xdd]].concat();
        let fixed = [0x6b, 0xc1, 0x23, 0x45, len[0], len[1], kind, self.hop_limit];
        let addresses = [self.from.octets(), self.to.octets()].concat();
        [&ethernet[..], &fixed, &addresses, &payload, &self.trailer].concat()
    }

    /// The reply, with room made where it is asked for.
    fn answer(&self) -> Result<Vec<u8>, DropReason> {
        answer(self.frame())
    }

    #[track_caller]
    fn expect(&self, reason: DropReason) {
        assert_eq!(self.answer(), Err(reason));
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut changed = self.clone();
        change(&mut changed);
        changed
    }
}

fn answer(mut frame: Vec<u8>) -> Result<Vec<u8>, DropReason> {
    let before = frame.clone();
    let mut answer = responder().answer(&mut frame);
    if let Answer::NeedsRoom { len_bytes } = answer {
        assert_eq!(frame, before, "untouched");
        assert!(len_bytes > frame.len());
        frame.resize(len_bytes, 0xee);
        answer = responder().answer(&mut frame);
    }
    match answer {
        Answer::Drop(reason) => Err(reason),
        Answer::Reply { len_bytes } => {
            frame.truncate(len_bytes);
            Ok(frame)
        }
        Answer::NeedsRoom { .. } => panic!("asks for room twice"),
    }
}

/// The advertisement as RFC 4861 section 7.2.4 has it.
fn advertisement(to_mac: [u8; 6], target: &str, to: &str, flags: u8) -> Vec<u8> {
    let (target, to) = (ip(target), ip(to));
    let option = [&[2, 1][..], &OWN_MAC.0].concat();
    let mut message = [&[136, 0, 0, 0, flags, 0, 0, 0][..], &target.octets(), &option].concat();
    let sum = plain_sum(target, to, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let head = [&to_mac[..], &OWN_MAC.0, &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255]].concat();
    [head, [target.octets(), to.octets()].concat(), message].concat()
}

#[test]
fn echo_requests_of_every_length_are_answered_right() {
    for len in (0..=1452u16).chain([1472]) {
        let payload: Vec<u8> = (0..len).map(|n| n.wrapping_mul(len).to_le_bytes()[0]).collect();
        let request = echo("fe80::1", "fe80::2", &payload);
        let mut message = [&[129, 0, 0, 0, 0xab, 0xcd, 0, 9][..], &payload].concat();
        let sum = plain_sum(request.to, request.from, &message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut expected = request.frame();
        expected.truncate(54);
        expected[..6].copy_from_slice(&PEER_MAC.0);
        expected[6..12].copy_from_slice(&OWN_MAC.0);
        expected[21] = 64;
        expected[22..54].rotate_left(16);
        expected.extend(message);
        assert_eq!(request.answer(), Ok(expected.clone()), "{len} bytes");
        let padded = request.with(|request| request.trailer = vec![0xee; 5]);
        assert_eq!(padded.answer(), Ok(expected), "{len} bytes and a trailer");
    }
}

#[test]
fn pings_that_must_not_be_answered_are_dropped_with_their_reason() {
    let good = echo("2001:db8::1", "2001:db8::a:b:2", b"payload");
    assert!(good.answer().is_ok());
    good.with(|ping| ping.error = 1).expect(DropReason::IcmpCsum);
    good.with(|ping| ping.to = ip("2001:db8::3")).expect(DropReason::Otherhost);
    good.with(|ping| ping.to = ip("2001:db8:1::3")).expect(DropReason::Otherhost);
    good.with(|ping| ping.to_mac.0[5] = 9).expect(DropReason::Otherhost);
    good.with(|ping| ping.to_mac.0[0] = 3).expect(DropReason::UnicastInL2Multicast);
    for from in ["::", "::1", "ff02::1", "fe80::2", "2001:db8::a:b:2", "::ffff:192.0.2.1"] {
        good.with(|ping| ping.from = ip(from)).expect(DropReason::IpInvalidSource);
    }
    let to_all = good.with(|ping| {
        ping.to = ip("ff02::1");
        ping.to_mac = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
    });
    to_all.expect(DropReason::Otherhost);
    to_all.with(|ping| ping.to_mac.0[5] = 2).expect(DropReason::Otherhost);
    good.with(|ping| ping.message[1] = 1).expect(DropReason::UnhandledProto);
    good.with(|ping| ping.message[0] = 129).expect(DropReason::UnhandledProto);
    good.with(|ping| ping.message.truncate(7)).expect(DropReason::HdrTrunc);
    let frame = good.frame();
    for len in 14..frame.len() {
        let expected = if len < 54 { DropReason::HdrTrunc } else { DropReason::PktTooSmall };
        assert_eq!(answer(frame[..len].to_vec()), Err(expected), "cut to {len} bytes");
    }
    let mut other_version = frame.clone();
    other_version[14] = 0x4b;
    assert_eq!(answer(other_version), Err(DropReason::IpInhdr));
    let mut other_protocol = frame;
    other_protocol[20] = 17;
    assert_eq!(answer(other_protocol), Err(DropReason::UnhandledProto));
}

// Planted and caught: an option of types 64 to 127 skipped; segments left not looked at; the message
// not moved over the extension headers.
#[test]
fn extension_headers_are_left_out_or_refused() {
    let good = echo("fe80::1", "fe80::2", b"payload");
    let plain = good.answer();
    let with = |extensions: &[(u8, &[u8])]| {
        let all = extensions.iter().map(|&(kind, bytes)| (kind, bytes.to_vec())).collect();
        good.with(|ping| ping.extensions = all)
    };
    let padding = [0, 0, 1, 4, 0, 0, 0, 0];
    let alert = [0, 0, 5, 2, 0, 0, 1, 0];
    let unknown = [0, 1, 0x3e, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0];
    let (atomic, visited) = ([0, 0, 0, 6, 1, 2, 3, 4], [0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(with(&[(0, &padding)]).answer(), plain);
    assert_eq!(with(&[(0, &alert), (60, &unknown), (43, &visited), (44, &atomic)]).answer(), plain);
    assert_eq!(with(&[(60, &padding[..]); 6]).answer(), plain);
    with(&[(60, &padding[..]); 7]).expect(DropReason::Ipv6BadExthdr);
    with(&[(60, &padding), (0, &padding)]).expect(DropReason::Ipv6BadExthdr);
    for bad in [[0, 0, 0x41, 4, 0, 0, 0, 0], [0, 0, 0xc2, 4, 0, 1, 0, 0], [0, 0, 1, 9, 0, 0, 0, 0]]
    {
        with(&[(0, &bad)]).expect(DropReason::Ipv6BadExthdr);
        with(&[(60, &bad)]).expect(DropReason::Ipv6BadExthdr);
    }
    with(&[(43, &[0, 0, 0, 1, 0, 0, 0, 0])]).expect(DropReason::Ipv6BadExthdr);
    with(&[(60, &[0, 9, 1, 4, 0, 0, 0, 0])]).expect(DropReason::Ipv6BadExthdr);
    with(&[(44, &[0, 0, 0, 1, 0, 0, 0, 0])]).expect(DropReason::Fragment);
    with(&[(44, &[0, 0, 0, 8, 0, 0, 0, 0])]).expect(DropReason::Fragment);
    with(&[(51, &[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])]).expect(DropReason::UnhandledProto);
    with(&[(135, &padding)]).expect(DropReason::UnhandledProto);
}

// Planted and caught, and by the next two: the solicited flag for detection, detection not answered;
// the override flag for a proxied network; a solicitation with a fragment header.
#[test]
fn solicitations_are_answered_as_rfc_4861_says() {
    let target = "2001:db8::a:b:2";
    let solicited = |to_mac| advertisement(to_mac, target, "fe80::1", 0x60);
    let asked = solicitation("fe80::1", target, &SOURCE_OPTION);
    assert_eq!(asked.answer(), Ok(solicited(PEER_MAC.0)));
    let without = solicitation("fe80::1", target, &[]);
    assert_eq!(without.answer(), Ok(solicited(PEER_MAC.0)), "grown by the option");
    let named = solicitation("fe80::1", target, &[1, 1, 2, 0, 0, 0, 0, 9]);
    assert_eq!(named.answer(), Ok(solicited([2, 0, 0, 0, 0, 9])), "to the sender it names");
    let nonce = [&[14, 1, 1, 2, 3, 4, 5, 6], &SOURCE_OPTION[..], &[200, 2], &[0; 14]].concat();
    assert_eq!(solicitation("fe80::1", target, &nonce).answer(), Ok(solicited(PEER_MAC.0)));
    let to_one = asked.with(|asked| (asked.to, asked.to_mac) = (ip(target), OWN_MAC));
    assert_eq!(to_one.answer(), Ok(solicited(PEER_MAC.0)));
    let to_our_mac = asked.with(|asked| asked.to_mac = OWN_MAC);
    assert_eq!(to_our_mac.answer(), Ok(solicited(PEER_MAC.0)), "RFC 6085");
    let behind_options = asked.with(|asked| asked.extensions = vec![(0, vec![0; 8])]);
    assert_eq!(behind_options.answer(), Ok(solicited(PEER_MAC.0)));
    let detection = solicitation("::", target, &[]);
    let to_all = advertisement([0x33, 0x33, 0, 0, 0, 1], target, "ff02::1", 0x20);
    assert_eq!(detection.answer(), Ok(to_all.clone()));
    let with_nonce = solicitation("::", target, &[14, 1, 1, 2, 3, 4, 5, 6]);
    assert_eq!(with_nonce.answer(), Ok(to_all));
    let tagged = |frame: &[u8]| [&frame[..12], &[0x81, 0, 0xe0, 0], &frame[12..]].concat();
    for request in [&asked, &without] {
        assert_eq!(answer(tagged(&request.frame())), Ok(tagged(&solicited(PEER_MAC.0))));
    }
    // Enough room behind the packet: no more is asked for.
    let padded = without.with(|asked| asked.trailer = vec![0xee; 8]);
    assert_eq!(padded.answer(), Ok(solicited(PEER_MAC.0)));
}

#[test]
fn solicitations_that_must_not_be_answered_are_dropped_with_their_reason() {
    let good = solicitation("fe80::1", "fe80::2", &SOURCE_OPTION);
    assert!(good.answer().is_ok());
    good.with(|asked| asked.hop_limit = 254).expect(DropReason::Ipv6NdiscHopLimit);
    good.with(|asked| asked.error = 1).expect(DropReason::IcmpCsum);
    good.with(|asked| asked.message[1] = 1).expect(DropReason::Ipv6NdiscBadCode);
    good.with(|asked| asked.message.truncate(23)).expect(DropReason::HdrTrunc);
    good.with(|asked| asked.message[25] = 0).expect(DropReason::Ipv6NdiscBadOptions);
    good.with(|asked| asked.message[25] = 2).expect(DropReason::Ipv6NdiscBadOptions);
    good.with(|asked| asked.message[26] = 3).expect(DropReason::Ipv6NdiscBadOptions);
    let long = [&[1, 2], &[2; 14][..]].concat();
    solicitation("fe80::1", "fe80::2", &long).expect(DropReason::Ipv6NdiscBadOptions);
    solicitation("::", "fe80::2", &SOURCE_OPTION).expect(DropReason::Ipv6NdiscBadOptions);
    solicitation("fe80::1", "ff02::2", &SOURCE_OPTION).expect(DropReason::Otherhost);
    solicitation("fe80::1", "fe80::3", &SOURCE_OPTION).expect(DropReason::Otherhost);
    good.with(|asked| asked.message[0] = 136).expect(DropReason::UnhandledProto);
    for from in ["fe80::2", "2001:db8::a:b:2", "ff02::1", "::1", "::ffff:192.0.2.1"] {
        solicitation(from, "fe80::2", &[]).expect(DropReason::IpInvalidSource);
    }
    let to_all = good.with(|asked| {
        (asked.to, asked.to_mac) = (ip("ff02::1"), MacAddr([0x33, 0x33, 0, 0, 0, 1]));
    });
    to_all.expect(DropReason::Otherhost);
    to_all.with(|asked| asked.from = ip("::")).expect(DropReason::Otherhost);
    let to_another = good.with(|asked| (asked.to, asked.to_mac) = (ip("2001:db8::a:b:2"), OWN_MAC));
    to_another.expect(DropReason::Otherhost);
    let broadcast = good.with(|asked| asked.to_mac = MacAddr([0xff; 6]));
    broadcast.expect(DropReason::Otherhost);
    let atomic = good.with(|asked| asked.extensions = vec![(44, vec![0; 8])]);
    atomic.expect(DropReason::Ipv6NdiscFrag);
    let fragment = good.with(|asked| asked.extensions = vec![(44, vec![0, 0, 0, 1, 0, 0, 0, 0])]);
    fragment.expect(DropReason::Fragment);
}

#[test]
fn a_proxied_network_is_answered_for_those_who_ask_where_to_send() {
    let target = "2001:db8:1::7";
    let expected = |from| advertisement(PEER_MAC.0, target, from, 0x40);
    for from in ["fe80::1", "2001:db8:1::8"] {
        let asked = solicitation(from, target, &SOURCE_OPTION);
        assert_eq!(asked.answer(), Ok(expected(from)), "without override");
    }
    for from in ["::", target, "fe80::2", "ff02::1"] {
        solicitation(from, target, &[]).expect(DropReason::IpInvalidSource);
    }
    solicitation("fe80::1", "2001:db8:2::7", &SOURCE_OPTION).expect(DropReason::Otherhost);
    let everything =
        ResponderConfig { proxied6: vec!["::/0".parse().unwrap()], ..ResponderConfig::default() };
    let everything = Responder::new(OWN_MAC, &everything);
    for (target, is_one) in [("2001::7", true), ("::", false), ("::1", false), ("ff02::9", false)] {
        let mut frame = solicitation("fe80::1", target, &SOURCE_OPTION).frame();
        let is_answered = everything.answer(&mut frame) == Answer::Reply { len_bytes: 86 };
        assert_eq!(is_answered, is_one, "{target}");
    }
}
