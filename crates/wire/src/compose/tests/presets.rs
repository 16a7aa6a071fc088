//! Each preset: what it writes, by the fields that its RFC prescribes.

use std::string::{String, ToString};

use super::*;
use crate::Arp;
use crate::compose::preset::{
    Addresses, Echo, Neighbor, NotSent, Rule, arp_announcement, arp_probe, arp_reply,
    arp_reply_in_place, arp_request, check_icmpv4_error, check_icmpv6_error, echo, icmpv4_error,
    icmpv6_error, multicast_mac, neighbor_advertisement, neighbor_solicitation, tcp_reset, tcp_syn,
    tcp_syn_ack, udp,
};
use crate::icmpv6::ndp::validate;

pub(super) const V4: Addresses<Ipv4Addr> =
    Addresses { source_mac: MAC_A, destination_mac: MAC_B, source: V4_A, destination: V4_B };
pub(super) const V6: Addresses<Ipv6Addr> =
    Addresses { source_mac: MAC_A, destination_mac: MAC_B, source: V6_A, destination: V6_B };

/// Calls a preset with a buffer that is just long enough, and with one that is a byte shorter.
fn exact(write: impl Fn(&mut [u8]) -> Result<usize, Error>) -> Vec<u8> {
    let mut buffer = vec![0xa5; 200];
    let len_bytes = write(&mut buffer).unwrap();
    assert_eq!(buffer[len_bytes..], vec![0xa5; 200 - len_bytes]);
    let mut just = vec![0x5a; len_bytes];
    assert_eq!(write(&mut just), Ok(len_bytes));
    assert_eq!(just, buffer[..len_bytes]);
    let mut short = vec![0x5a; len_bytes - 1];
    assert!(matches!(write(&mut short), Err(Error::Short { .. })));
    assert_eq!(short, vec![0x5a; len_bytes - 1], "nothing changed");
    just
}

/// As `exact`, for a preset in front of a payload.
fn exact_range(
    payload: &[u8],
    write: impl Fn(&mut [u8], Range<usize>) -> Result<Range<usize>, Error>,
) -> Vec<u8> {
    let with = |headroom: usize| {
        let mut buffer = vec![0xa5; headroom];
        buffer.extend(payload);
        let range = write(&mut buffer, headroom..headroom + payload.len());
        assert_eq!(&buffer[headroom..], payload, "payload untouched");
        range.map(|range| buffer[range].to_vec())
    };
    let frame = with(300).unwrap();
    let headroom = frame.len() - payload.len();
    assert_eq!(with(headroom), Ok(frame.clone()));
    assert!(matches!(with(headroom - 1), Err(Error::Short { .. })));
    frame
}

fn text(frame: &[u8]) -> String {
    dissect(LinkType::Ethernet, frame).to_string()
}

fn ends(frame: &[u8]) -> (MacAddr, MacAddr) {
    let view = Ethernet::new_checked(frame).unwrap();
    (view.source(), view.destination())
}

#[test]
fn arp() {
    let read = |frame: &[u8]| ArpRepr::parse(&Arp::new_checked(&frame[14..]).unwrap());
    let request = exact(|buffer| arp_request(buffer, MAC_A, V4_A, V4_B));
    let repr = ArpRepr {
        operation: 1,
        sender_mac: MAC_A,
        sender_ip: V4_A,
        target_mac: MacAddr::default(),
        target_ip: V4_B,
    };
    assert_eq!((read(&request), ends(&request)), (repr, (MAC_A, MacAddr::BROADCAST)));
    let probe = exact(|buffer| arp_probe(buffer, MAC_A, V4_B));
    assert!(read(&probe).is_probe() && read(&probe).target_ip == V4_B);
    let announcement = exact(|buffer| arp_announcement(buffer, MAC_A, V4_B));
    assert!(read(&announcement).is_announcement() && read(&announcement).sender_ip == V4_B);

    let reply = exact(|buffer| arp_reply(buffer, &repr, MAC_B));
    let answer = ArpRepr {
        operation: 2,
        sender_mac: MAC_B,
        sender_ip: V4_B,
        target_mac: MAC_A,
        target_ip: V4_A,
    };
    assert_eq!((read(&reply), ends(&reply)), (answer, (MAC_B, MAC_A)));
    assert!(arp_reply(&mut [0; 60], &answer, MAC_B).is_err());
    // In place the same, tags and padding kept.
    let mut frame = request.clone();
    assert_eq!(arp_reply_in_place(&mut frame, MAC_B), Ok(42));
    assert_eq!(frame, reply);
    assert!(arp_reply_in_place(&mut frame, MAC_B).is_err());
    assert_eq!(frame, reply);
    let steps = [Step::Arp, Step::Vlan(true, 3, 9), Step::Ethernet, Step::Pad];
    let (mut tagged, ..) = compose(b"", &steps, (100, 60));
    assert_eq!(arp_reply_in_place(&mut tagged, MAC_B), Ok(60));
    assert_eq!((&tagged[14..18], ends(&tagged)), (&[0x60 | 0x10, 9, 8, 6][..], (MAC_B, MAC_A)));
    assert_eq!(ArpRepr::parse(&Arp::new_checked(&tagged[18..]).unwrap()), answer);
    assert!(arp_reply_in_place(&mut [0; 10], MAC_B).is_err());
}

#[test]
fn echo_and_udp() {
    let request = Echo::Request { identifier: 3, sequence: 4 };
    let reply = Echo::Reply { identifier: 3, sequence: 4 };
    for (echo_message, types) in [(request, (8, 128)), (reply, (0, 129))] {
        let frame = exact_range(b"ping", |buffer, at| echo(buffer, at, &V4, echo_message));
        assert_eq!((verify(&frame), frame[34], ends(&frame)), (2, types.0, (MAC_A, MAC_B)));
        assert_eq!(frame[38..], *b"\0\x03\0\x04ping");
        let frame = exact_range(b"ping", |buffer, at| echo(buffer, at, &V6, echo_message));
        assert_eq!((verify(&frame), frame[54]), (1, types.1));
        assert_eq!(frame[58..], *b"\0\x03\0\x04ping");
    }
    let frame = exact_range(b"hi", |buffer, at| udp(buffer, at, &V4, 5, 53));
    assert_eq!(text(&frame), "IP 10.0.0.1.5 > 10.0.0.2.53: UDP, length 2");
    assert_eq!(verify(&frame), 2);
    let frame = exact_range(b"", |buffer, at| udp(buffer, at, &V6, 5, 53));
    assert_eq!(text(&frame), "IP6 2001:db8::1.5 > 2001:db8::2.53: UDP, length 0");
    assert_eq!(verify(&frame), 1);
}

pub(super) fn syn() -> TcpRepr {
    TcpRepr {
        sequence: u32::MAX,
        window: 1000,
        mss: Some(1460),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some(Timestamps { value: 77, echo_reply: 0 }),
        ..TcpRepr::new(4000, 80)
    }
}

fn read_tcp(frame: &[u8], is_v4: bool) -> TcpRepr {
    let at = dissect(LinkType::Ethernet, frame).transport_offset_bytes();
    let view = Tcp::new_checked(&frame[at..]).unwrap();
    if is_v4 { TcpRepr::parse(&view, V4_A, V4_B) } else { TcpRepr::parse_v6(&view, V6_A, V6_B) }
        .unwrap()
}

#[test]
fn handshake() {
    let sent = TcpRepr { flags: Flags::SYN, ..syn() };
    let frame = exact(|buffer| tcp_syn(buffer, &V4, &syn()));
    assert_eq!((verify(&frame), read_tcp(&frame, true)), (2, sent));
    let frame = exact(|buffer| tcp_syn(buffer, &V6, &syn()));
    assert_eq!((verify(&frame), read_tcp(&frame, false)), (1, sent));

    let ours =
        TcpRepr { sequence: 5, timestamps: Some(Timestamps { value: 99, echo_reply: 1 }), ..syn() };
    let frame = exact(|buffer| tcp_syn_ack(buffer, &V4, &sent, &ours));
    let answer = TcpRepr {
        source_port: 80,
        destination_port: 4000,
        flags: Flags::SYN | Flags::ACK,
        acknowledgment: 0,
        timestamps: Some(Timestamps { value: 99, echo_reply: 77 }),
        ..ours
    };
    assert_eq!((read_tcp(&frame, true), ends(&frame)), (answer, (MAC_B, MAC_A)));
    // Options are answered, not begun.
    let plain = TcpRepr { flags: Flags::SYN, sequence: 9, ..TcpRepr::new(4000, 80) };
    let frame = exact(|buffer| tcp_syn_ack(buffer, &V6, &plain, &ours));
    let answer = TcpRepr {
        acknowledgment: 10,
        window_scale: None,
        sack_permitted: false,
        timestamps: None,
        ..answer
    };
    assert_eq!(read_tcp(&frame, false), answer);
}

#[test]
fn reset() {
    let answer = |flags: Flags, len_bytes: u16| {
        let segment = TcpRepr { flags, sequence: 100, acknowledgment: 7, ..TcpRepr::new(1, 2) };
        let mut buffer = [0; 100];
        let len_bytes = tcp_reset(&mut buffer, &V4, &segment, len_bytes).unwrap()?;
        assert_eq!((len_bytes, verify(&buffer[..54]), ends(&buffer)), (54, 2, (MAC_B, MAC_A)));
        let repr = read_tcp(&buffer[..54], true);
        assert_eq!((repr.source_port, repr.destination_port, repr.window), (2, 1, 0));
        Some((repr.flags, repr.sequence, repr.acknowledgment))
    };
    let rst_ack = Flags::RST | Flags::ACK;
    assert_eq!(answer(Flags::SYN, 0), Some((rst_ack, 0, 101)));
    assert_eq!(answer(Flags::SYN | Flags::FIN, 10), Some((rst_ack, 0, 112)));
    assert_eq!(answer(Flags::NONE, 10), Some((rst_ack, 0, 110)));
    assert_eq!(answer(Flags::ACK, 10), Some((Flags::RST, 7, 0)));
    assert_eq!(answer(Flags::SYN | Flags::ACK, 0), Some((Flags::RST, 7, 0)));
    assert_eq!(answer(Flags::RST, 0), None);
    assert_eq!(answer(rst_ack, 5), None);
    let segment = TcpRepr { flags: Flags::ACK, ..TcpRepr::new(1, 2) };
    exact(|buffer| tcp_reset(buffer, &V6, &segment, 0).map(Option::unwrap));
}

#[test]
fn neighbors() {
    let check = |frame: &[u8]| {
        let ip = Ipv6::new_checked(&frame[14..]).unwrap();
        let (source, destination) = (ip.source(), ip.destination());
        assert_eq!(validate(ip.payload(), source, destination, ip.hop_limit()), Ok(()));
        assert_eq!(verify(frame), 1);
        (source, destination, NdpRepr::parse(ip.payload(), source, destination).unwrap())
    };
    let target = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x12, 0x3456);
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff12, 0x3456);
    let group_mac = MacAddr([0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
    assert_eq!(multicast_mac(group), group_mac);
    let solicitation = NdpRepr::NeighborSolicitation { target };
    let frame = exact(|buffer| neighbor_solicitation(buffer, MAC_A, V6_A, target));
    assert_eq!(check(&frame), (V6_A, group, solicitation));
    assert_eq!((ends(&frame), &frame[78..]), ((MAC_A, group_mac), &[1, 1, 2, 0, 0, 0, 0, 1][..]));
    // Duplicate address detection.
    let nobody = Ipv6Addr::UNSPECIFIED;
    let frame = exact(|buffer| neighbor_solicitation(buffer, MAC_A, nobody, target));
    assert_eq!((check(&frame), frame.len()), ((nobody, group, solicitation), 78));
    assert!(neighbor_solicitation(&mut [0; 99], MAC_A, V6_A, group).is_err());

    let received = Addresses { destination: group, destination_mac: group_mac, ..V6 };
    for (is_router, override_cached) in [(true, false), (false, true)] {
        let neighbor = Neighbor { mac: MAC_B, is_router, override_cached };
        let frame = exact(|buffer| neighbor_advertisement(buffer, &received, target, &neighbor));
        let repr = NdpRepr::NeighborAdvertisement {
            router: is_router,
            solicited: true,
            override_cached,
            target,
        };
        assert_eq!((check(&frame), ends(&frame)), ((target, V6_A, repr), (MAC_B, MAC_A)));
        assert_eq!(frame[78..], [2, 1, 2, 0, 0, 0, 0, 2]);
        let probe = Addresses { source: nobody, ..received };
        let frame = exact(|buffer| neighbor_advertisement(buffer, &probe, target, &neighbor));
        let (_, destination, repr) = check(&frame);
        assert_eq!(destination, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
        assert_eq!(ends(&frame).1, MacAddr([0x33, 0x33, 0, 0, 0, 1]));
        assert!(matches!(repr, NdpRepr::NeighborAdvertisement { solicited: false, .. }));
    }
}

/// Port unreachable.
pub(super) const UNREACHABLE: Icmpv4Repr = Icmpv4Repr { icmp_type: 3, icmp_code: 3, rest: [0; 4] };
pub(super) const UNREACHABLE6: Icmpv6Repr = Icmpv6Repr::DestinationUnreachable { code: 4 };

#[test]
fn icmp_errors_quote_what_fits() {
    for len_bytes in [0, 18, 520, 521, 1184, 1185, 1400] {
        let payload = vec![7; len_bytes];
        let frame = exact_range(&payload, |buffer, at| udp(buffer, at, &V4, 5, 53));
        let mut buffer = vec![0; 2000];
        let len = icmpv4_error(&mut buffer, &frame, (MAC_B, V4_B), &UNREACHABLE).unwrap();
        let quoted_len = (frame.len() - 14).min(576 - 28);
        assert_eq!(len, 42 + quoted_len);
        assert_eq!(buffer[42..len], frame[14..14 + quoted_len]);
        assert_eq!((verify(&buffer[..len]), ends(&buffer)), (2, (MAC_B, MAC_A)));
        assert_eq!(buffer[26..34], [10, 0, 0, 2, 10, 0, 0, 1]);
        assert_eq!(buffer[34..36], [3, 3]);
        let inner = dissect(LinkType::Ethernet, &buffer[..len]).inner().unwrap();
        assert!(inner.is_quoted() && inner.ports() == Some((5, 53)));
        let mut short = vec![0x5a; len - 1];
        let refused = icmpv4_error(&mut short, &frame, (MAC_B, V4_B), &UNREACHABLE);
        assert!(matches!(refused, Err(NotSent::Error(Error::Short { .. }))));
        assert_eq!(short, vec![0x5a; len - 1]);

        let frame = exact_range(&payload, |buffer, at| udp(buffer, at, &V6, 5, 53));
        let len = icmpv6_error(&mut buffer, &frame, (MAC_B, V6_B), &UNREACHABLE6).unwrap();
        let quoted_len = (frame.len() - 14).min(1280 - 48);
        assert_eq!(len, 62 + quoted_len);
        assert_eq!(buffer[62..len], frame[14..14 + quoted_len]);
        assert_eq!((verify(&buffer[..len]), buffer[54], buffer[55]), (1, 1, 4));
    }
    // Tags go back as they came, padding does not.
    let udp = Step::Udp(5, 53, UdpChecksum::Computed);
    let tags = [Step::Vlan(false, 2, 7), Step::Vlan(true, 3, 9), Step::Ethernet, Step::Pad];
    let steps = [&[udp, Step::V4(1, 4)], &tags[..]].concat();
    let (frame, ..) = compose(b"x", &steps, (100, 60));
    let mut buffer = [0; 200];
    let len = icmpv4_error(&mut buffer, &frame, (MAC_B, V4_B), &UNREACHABLE).unwrap();
    assert_eq!(buffer[12..22], frame[12..22]);
    assert_eq!((len, &buffer[50..len]), (50 + 33, &frame[22..55]));
    let echo_is_no_error = Icmpv4Repr::echo_request(1, 1);
    let refused = icmpv4_error(&mut buffer, &frame, (MAC_B, V4_B), &echo_is_no_error);
    assert!(matches!(refused, Err(NotSent::Error(Error::Field { field: "type", .. }))));
}

#[test]
fn icmpv4_errors_keep_their_rules() {
    let base = exact_range(b"abcdefgh", |buffer, at| udp(buffer, at, &V4, 5, 53));
    let rule = |change: &dyn Fn(&mut [u8])| {
        let mut frame = base.clone();
        change(&mut frame);
        Ipv4::new_checked(&mut frame[14..]).unwrap().fill_checksum();
        let checked = check_icmpv4_error(&frame);
        let written = icmpv4_error(&mut [0; 200], &frame, (MAC_B, V4_B), &UNREACHABLE);
        assert_eq!(written.map(|_| ()), checked.map_err(NotSent::Rule));
        checked
    };
    let source = |octets: [u8; 4]| rule(&|frame| frame[26..30].copy_from_slice(&octets));
    let destination = |octets: [u8; 4]| rule(&|frame| frame[30..34].copy_from_slice(&octets));
    let icmp = |icmp_type: u8| rule(&|frame| (frame[23], frame[34]) = (1, icmp_type));
    assert_eq!(rule(&|_| {}), Ok(()));
    assert_eq!(rule(&|frame| frame[0] = 1), Err(Rule::DestinationMac));
    assert_eq!(rule(&|frame| frame[..6].fill(0xff)), Err(Rule::DestinationMac));
    assert_eq!(rule(&|frame| frame[6] = 1), Err(Rule::Source));
    for octets in [[0; 4], [0, 1, 2, 3], [127, 0, 0, 1], [224, 0, 0, 1], [240, 0, 0, 1], [255; 4]] {
        assert_eq!(source(octets), Err(Rule::Source), "{octets:?}");
    }
    assert_eq!(source([223, 255, 255, 1]), Ok(()));
    for octets in [[224, 0, 0, 1], [239, 1, 1, 1], [255; 4]] {
        assert_eq!(destination(octets), Err(Rule::Destination), "{octets:?}");
    }
    for icmp_type in [3, 4, 5, 11, 12] {
        assert_eq!(icmp(icmp_type), Err(Rule::IcmpError));
    }
    assert_eq!((icmp(0), icmp(8), icmp(13)), (Ok(()), Ok(()), Ok(())));
    assert_eq!(rule(&|frame| frame[20..22].copy_from_slice(&[0x20, 0])), Ok(()));
    assert_eq!(rule(&|frame| frame[20..22].copy_from_slice(&[0, 1])), Err(Rule::LaterFragment));
    let mut damaged = base.clone();
    damaged[24] ^= 1;
    assert_eq!(check_icmpv4_error(&damaged), Err(Rule::NotIp));
    assert_eq!(check_icmpv4_error(&base[..30]), Err(Rule::NotIp));
    assert_eq!(check_icmpv4_error(&[]), Err(Rule::NotIp));
    let arp = exact(|buffer| arp_request(buffer, MAC_A, V4_A, V4_B));
    assert_eq!(check_icmpv4_error(&arp), Err(Rule::NotIp));
}

#[test]
fn icmpv6_errors_keep_their_rules() {
    let base = exact_range(b"abcdefgh", |buffer, at| udp(buffer, at, &V6, 5, 53));
    let too_big = Icmpv6Repr::PacketTooBig { mtu_bytes: 1280 };
    let option = Icmpv6Repr::ParameterProblem { code: 2, pointer_bytes: 40 };
    let field = Icmpv6Repr::ParameterProblem { code: 0, pointer_bytes: 40 };
    let rule = |error: &Icmpv6Repr, change: &dyn Fn(&mut [u8])| {
        let mut frame = base.clone();
        change(&mut frame);
        let checked = check_icmpv6_error(&frame, error);
        let written = icmpv6_error(&mut [0; 200], &frame, (MAC_B, V6_B), error);
        assert_eq!(written.map(|_| ()), checked.map_err(NotSent::Rule));
        checked
    };
    let icmp = |icmp_type: u8| rule(&too_big, &|frame| (frame[20], frame[54]) = (58, icmp_type));
    assert_eq!(rule(&UNREACHABLE6, &|_| {}), Ok(()));
    for (change, broken) in [
        (&(|frame: &mut [u8]| frame[38] = 0xff) as &dyn Fn(&mut [u8]), Rule::Destination),
        (&|frame: &mut [u8]| frame[0] = 0x33, Rule::DestinationMac),
        (&|frame: &mut [u8]| frame[..6].fill(0xff), Rule::DestinationMac),
    ] {
        assert_eq!(rule(&UNREACHABLE6, change), Err(broken));
        assert_eq!(rule(&field, change), Err(broken));
        assert_eq!((rule(&too_big, change), rule(&option, change)), (Ok(()), Ok(())));
    }
    assert_eq!(rule(&too_big, &|frame| frame[22..38].fill(0)), Err(Rule::Source));
    assert_eq!(rule(&too_big, &|frame| frame[22] = 0xff), Err(Rule::Source));
    assert_eq!(rule(&too_big, &|frame| frame[6] |= 1), Err(Rule::Source));
    assert_eq!((icmp(1), icmp(4)), (Err(Rule::IcmpError), Err(Rule::IcmpError)));
    assert_eq!((icmp(127), icmp(137)), (Err(Rule::IcmpError), Err(Rule::Redirect)));
    assert_eq!((icmp(128), icmp(135)), (Ok(()), Ok(())));
    assert_eq!(check_icmpv6_error(&base[..50], &too_big), Err(Rule::NotIp));
    // A later fragment of ICMPv6 may be an error's; one of UDP is none.
    for (protocol, answered) in [(58, Err(Rule::IcmpError)), (17, Ok(()))] {
        let mut buffer = [0x90; 100];
        let kind = Kind::Protocol(protocol);
        let mut composer = Composer::with_kind(&mut buffer, 84..100, kind).unwrap();
        let repr = FragmentRepr {
            next_header: 0,
            fragment_offset_bytes: 8,
            more_fragments: false,
            identification: 1,
        };
        composer.ipv6_fragment(&repr).unwrap().ipv6(V6_A, V6_B).unwrap();
        composer.ethernet(MAC_B, MAC_A).unwrap();
        assert_eq!(check_icmpv6_error(composer.bytes(), &too_big), answered);
    }
}
