use super::*;

const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OWN_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

/// The checksum as RFC 1071 spells it out, independent of the code under test.
fn plain_sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// An echo request with `options` (a multiple of 4 bytes) and `payload`, without padding.
fn request(options: &[u8], payload: &[u8]) -> Vec<u8> {
    let header_len = 20 + options.len();
    let mut frame = [&OWN_MAC.0[..], &PEER_MAC.0, &[8, 0]].concat();
    let mut ip = vec![
        0x40 | u8::try_from(header_len / 4).unwrap(),
        0,
        0,
        0,
        0x12,
        0x34,
        0x40,
        0,
        7,
        1,
        0,
        0,
    ];
    put16(&mut ip, 2, u16::try_from(header_len + 8 + payload.len()).unwrap());
    ip.extend(PEER.octets().iter().chain(&OWN.octets()).chain(options));
    let sum = plain_sum(&ip);
    put16(&mut ip, 10, sum);
    let mut icmp = [&[8, 0, 0, 0, 0xab, 0xcd, 0, 9][..], payload].concat();
    let sum = plain_sum(&icmp);
    put16(&mut icmp, 2, sum);
    frame.extend(ip);
    frame.extend(icmp);
    frame
}

fn arp_request(target: Ipv4Addr, sender: Ipv4Addr) -> Vec<u8> {
    let mut frame = [&[0xff; 6][..], &PEER_MAC.0, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
    frame.extend(PEER_MAC.0.iter().chain(&sender.octets()).chain(&[0; 6]));
    frame.extend(target.octets());
    frame.resize(60, 0);
    frame
}

fn answer(frame: &[u8]) -> Result<Vec<u8>, DropReason> {
    let mut bytes = frame.to_vec();
    match Responder::new(OWN_MAC, &ResponderConfig::ipv4(&[OWN])).answer(&mut bytes) {
        Answer::Drop(reason) => Err(reason),
        Answer::Reply { len_bytes } => {
            bytes.truncate(len_bytes);
            Ok(bytes)
        }
        Answer::NeedsRoom { .. } => panic!("no reply of IPv4 is longer than its request"),
    }
}

/// Checks everything that a reply must have, given its request.
fn assert_reply_to(request: &[u8], reply: &[u8]) {
    let header_len = usize::from(reply[14] & 15) * 4;
    let total_len = usize::from(u16::from_be_bytes([reply[16], reply[17]]));
    assert_eq!(reply[..6], PEER_MAC.0);
    assert_eq!(reply[6..12], OWN_MAC.0);
    assert_eq!(reply[26..30], OWN.octets());
    assert_eq!(reply[30..34], PEER.octets());
    assert_eq!(reply[22], TTL);
    assert_eq!(plain_sum(&reply[14..14 + header_len]), 0, "ip checksum");
    let icmp = &reply[14 + header_len..14 + total_len];
    assert_eq!(plain_sum(icmp), 0, "icmp checksum");
    assert_eq!(icmp[..2], [0, 0]);
    assert_eq!(icmp[4..], request[14 + header_len + 4..14 + total_len], "id, sequence, payload");
}

#[test]
fn every_payload_length_is_answered_right() {
    for len in 0..=1472u16 {
        let payload: Vec<u8> =
            (0..len).map(|n| n.wrapping_mul(7).wrapping_add(len).to_le_bytes()[0]).collect();
        let request = request(&[], &payload);
        assert_reply_to(&request, &answer(&request).unwrap());
    }
}

#[test]
fn padding_is_kept_to_the_minimum_frame_and_cut_behind_it() {
    let mut short = request(&[], b"abc");
    short.resize(60, 0xee);
    let reply = answer(&short).unwrap();
    assert_eq!(reply.len(), 60);
    assert_reply_to(&short, &reply);
    let mut long = request(&[], &[5; 100]);
    let len = long.len();
    long.resize(len + 300, 0xee);
    let reply = answer(&long).unwrap();
    assert_eq!(reply.len(), len, "trailing bytes are not sent back");
    assert_reply_to(&long, &reply);
}

#[test]
fn options_are_answered_and_summed() {
    let mut options = [1u8; 40];
    options[..40].copy_from_slice(&[&[7, 39, 4][..], &[0; 37]].concat());
    let with_route = request(&options, b"payload");
    let reply = answer(&with_route).unwrap();
    assert_reply_to(&with_route, &reply);
    assert_eq!(reply[34..41], [7, 39, 8, 192, 0, 2, 2]);
    let routed = request(&[131, 7, 4, 1, 2, 3, 4, 0], b"x");
    assert_eq!(answer(&routed), Err(DropReason::IpInhdr));
}

#[test]
fn a_priority_tag_is_kept_and_another_vlan_is_not_ours() {
    let plain = request(&[], b"tagged");
    let tagged = |tag: [u8; 4]| [&plain[..12], &tag, &plain[12..]].concat();
    let reply = answer(&tagged([0x81, 0, 0xe0, 0])).unwrap();
    assert_eq!(reply[12..16], [0x81, 0, 0xe0, 0]);
    assert_reply_to(&plain, &[&reply[..12], &reply[16..]].concat());
    assert_eq!(answer(&tagged([0x81, 0, 0, 5])), Err(DropReason::UnhandledProto));
}

#[test]
fn what_must_not_be_answered_is_dropped_with_its_reason() {
    let good = request(&[], b"payload");
    let changed = |at: usize, to: u8| {
        let mut frame = good.clone();
        frame[at] = to;
        frame
    };
    let summed = |changes: &[(usize, u8)]| {
        let mut frame = good.clone();
        changes.iter().for_each(|&(at, to)| frame[at] = to);
        put16(&mut frame, 24, 0);
        let sum = plain_sum(&frame[14..34]);
        put16(&mut frame, 24, sum);
        frame
    };
    let expect = |frame: &[u8], reason| assert_eq!(answer(frame), Err(reason));
    expect(&changed(25, good[25] ^ 1), DropReason::IpCsum);
    expect(&changed(40, 0x77), DropReason::IcmpCsum);
    expect(&changed(5, 9), DropReason::Otherhost);
    expect(&changed(0, 3), DropReason::UnicastInL2Multicast);
    expect(&changed(6, 3), DropReason::IpInvalidSource);
    expect(&changed(14, 0x65), DropReason::IpInhdr);
    expect(&changed(14, 0x44), DropReason::IpInhdr);
    expect(&changed(12, 0x86), DropReason::UnhandledProto);
    expect(&summed(&[(20, 0x20)]), DropReason::Fragment);
    expect(&summed(&[(21, 2)]), DropReason::Fragment);
    expect(&summed(&[(23, 17)]), DropReason::UnhandledProto);
    expect(&summed(&[(33, 77)]), DropReason::Otherhost);
    for first in [0, 127, 224, 240, 255] {
        expect(&summed(&[(26, first)]), DropReason::IpInvalidSource);
    }
    expect(&summed(&[(29, 2)]), DropReason::IpInvalidSource);
    let reply = answer(&good).unwrap();
    let mut echoed = reply;
    echoed[..12].rotate_left(6);
    expect(&echoed, DropReason::Otherhost);
    for len in 0..good.len() {
        let reason = answer(&good[..len]).unwrap_err();
        let expected = if len < 34 { DropReason::HdrTrunc } else { DropReason::PktTooSmall };
        assert_eq!(reason, expected, "cut to {len} bytes");
    }
    // A datagram that ends inside of its ICMP header.
    expect(&summed(&[(16, 0), (17, 27)]), DropReason::HdrTrunc);
}

#[test]
fn arp_is_answered_for_our_address_only() {
    let reply = answer(&arp_request(OWN, PEER)).unwrap();
    assert_eq!(reply.len(), 60);
    let expected = [&PEER_MAC.0[..], &OWN_MAC.0, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2]].concat();
    assert_eq!(reply[..22], expected);
    let addresses = [&OWN_MAC.0[..], &OWN.octets(), &PEER_MAC.0, &PEER.octets()].concat();
    assert_eq!(reply[22..42], addresses);
    let probe = answer(&arp_request(OWN, Ipv4Addr::UNSPECIFIED)).unwrap();
    assert_eq!(probe[38..42], [0; 4]);
    let mut relayed = arp_request(OWN, PEER);
    relayed[27] = 9;
    assert_eq!(answer(&relayed).unwrap()[..6], [2, 0, 0, 0, 0, 9], "to the sender it names");
    assert_eq!(answer(&arp_request(PEER, PEER)), Err(DropReason::Otherhost));
    assert_eq!(answer(&arp_request(OWN, OWN)), Err(DropReason::IpInvalidSource));
    let mut reply_from_peer = arp_request(OWN, PEER);
    reply_from_peer[21] = 2;
    assert_eq!(answer(&reply_from_peer), Err(DropReason::UnhandledProto));
    assert_eq!(answer(&arp_request(OWN, PEER)[..41]), Err(DropReason::HdrTrunc));
}

#[test]
fn arp_for_a_proxied_network_is_answered_but_to_probes_and_announcements() {
    let proxied = ["10.1.0.0/16", "127.0.0.0/8", "224.0.0.0/3", "0.0.0.0/8"];
    let config = ResponderConfig {
        proxied: proxied.iter().map(|text| text.parse().unwrap()).collect(),
        ..ResponderConfig::ipv4(&[OWN])
    };
    let responder = Responder::new(OWN_MAC, &config);
    let answer = |target: [u8; 4], sender: Ipv4Addr| {
        let mut frame = arp_request(target.into(), sender);
        (responder.answer(&mut frame), frame)
    };
    let inside = Ipv4Addr::new(10, 1, 2, 3);
    for sender in [PEER, Ipv4Addr::new(10, 1, 2, 4)] {
        let (answered, reply) = answer(inside.octets(), sender);
        assert_eq!(answered, Answer::Reply { len_bytes: 60 });
        let pairs = [&OWN_MAC.0[..], &inside.octets(), &PEER_MAC.0, &sender.octets()].concat();
        assert_eq!((&reply[20..22], &reply[22..42]), (&[0, 2][..], &pairs[..]));
    }
    let dropped = |reason| Answer::Drop(reason);
    for sender in [Ipv4Addr::UNSPECIFIED, inside, OWN] {
        assert_eq!(answer(inside.octets(), sender).0, dropped(DropReason::IpInvalidSource));
    }
    for target in [[10, 2, 0, 1], [127, 0, 0, 1], [224, 0, 0, 5], [255; 4], [0, 0, 0, 9]] {
        assert_eq!(answer(target, PEER).0, dropped(DropReason::Otherhost), "{target:?}");
    }
    let (answered, _) = answer(OWN.octets(), Ipv4Addr::UNSPECIFIED);
    assert_eq!(answered, Answer::Reply { len_bytes: 60 }, "a probe for our own");
    // What is proxied is not pinged.
    let mut ping = request(&[], b"payload");
    ping[30..34].copy_from_slice(&inside.octets());
    let mut ping = sealed(ping);
    assert_eq!(responder.answer(&mut ping), dropped(DropReason::Otherhost));
}

/// Fills both checksums of a request without options.
fn sealed(mut frame: Vec<u8>) -> Vec<u8> {
    for (at, range) in [(24, 14..34), (36, 34..frame.len())] {
        put16(&mut frame, at, 0);
        let sum = plain_sum(&frame[range]);
        put16(&mut frame, at, sum);
    }
    frame
}

/// Checks that the usual frame's path does what the full one does, or nothing; tells which.
fn is_usual(responder: &Responder, frame: &[u8]) -> bool {
    let (mut usual, mut full) = (frame.to_vec(), frame.to_vec());
    let answered = responder.answer_usual(&mut usual);
    match answered {
        Some(len) => {
            assert_eq!(responder.try_answer(&mut full), Ok(len), "{frame:02x?}");
            assert_eq!(usual, full, "the reply to {frame:02x?}");
        }
        None => assert_eq!(usual, frame, "touched without an answer"),
    }
    answered.is_some()
}

// Planted and caught: a mask with one bit less, of addresses, of kind and of fragments; the source not
// looked up among our addresses; a length compared with one byte more than the frame.
#[test]
fn the_usual_path_agrees_with_the_full_one_on_every_changed_bit() {
    let one = Responder::new(OWN_MAC, &ResponderConfig::ipv4(&[OWN]));
    let two = Responder::new(OWN_MAC, &ResponderConfig::ipv4(&[Ipv4Addr::new(192, 0, 2, 9), OWN]));
    for len in [10, 17, 18, 19, 55, 56, 57, 88, 300] {
        let good = sealed(request(&[], &vec![0x5c; len]));
        assert_eq!(is_usual(&one, &good), len >= 18, "{len} bytes of payload");
        assert_eq!(is_usual(&two, &good), len >= 18);
        for bit in 0..8 * (42 + 4) {
            let mut frame = good.clone();
            frame[bit / 8] ^= 1 << (bit % 8);
            let changed = [sealed(frame.clone()), frame];
            changed.iter().for_each(|frame| _ = (is_usual(&one, frame), is_usual(&two, frame)));
        }
        for cut in 0..good.len() {
            assert!(!is_usual(&one, &good[..cut]), "cut to {cut} bytes");
        }
        let own_as_source = [&good[..26], &OWN.octets(), &good[30..]].concat();
        assert!(!is_usual(&one, &sealed(own_as_source.clone())));
        assert!(!is_usual(&two, &sealed(own_as_source)));
    }
    assert!(!is_usual(
        &Responder::new(OWN_MAC, &ResponderConfig::ipv4(&[])),
        &sealed(request(&[], &[0; 56]))
    ));
    let mut padded = sealed(request(&[], &[7; 56]));
    padded.extend([0xee; 9]);
    assert!(is_usual(&one, &padded));
    for first in 0..=255 {
        let mut frame = sealed(request(&[], &[7; 56]));
        frame[26] = first;
        assert_eq!(is_usual(&one, &sealed(frame)), may_be_answered([first, 0, 2, 1].into()));
    }
}

// Planted and caught: a range of one more, or none at all; old and new time to live exchanged.
#[test]
fn the_usual_path_updates_every_checksum_as_the_full_one_does() {
    let one = Responder::new(OWN_MAC, &ResponderConfig::ipv4(&[OWN]));
    let mut frame = sealed(request(&[], &[0; 18]));
    let mut rare = 0;
    for word in 0..=u16::MAX {
        // Identification and sequence: each takes the checksum to every value it can have.
        put16(&mut frame, 18, word);
        put16(&mut frame, 38, 0);
        put16(&mut frame, 40, word);
        frame[22] = [0, 1, 63, 64, 65, 255][usize::from(word % 6)];
        frame = sealed(frame);
        rare += u32::from(!is_usual(&one, &frame));
    }
    assert!((1..700).contains(&rare), "{rare} of 65536 take the full path");
}
