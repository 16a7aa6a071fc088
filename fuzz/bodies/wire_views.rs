//! Bytes into every view and into the filter's parse: which are accepted is as the formats say, no
//! accessor and no setter panics, a repr written back is what was read, and both parsers agree.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use netmem_wire::{
    Arp, ArpRepr, Ethernet, EthernetRepr, Icmpv4, Icmpv4Repr, Ipv4, Ipv4Repr, MacAddr, Udp,
    UdpRepr, Vlan, VlanRepr, checksum,
    filter::{self, Fields, Ipv4Net, Present, ResponderConfig},
    vlan,
};

use super::oracle::sums_up;

/// Where a layer begins in frames with 0 to 2 tags, with and without options.
const LAYERS: [usize; 8] = [0, 14, 18, 22, 34, 38, 42, 54];

/// Takes the bytes for each layer, at each place where a layer may begin.
pub fn run(bytes: &[u8]) {
    for start in LAYERS {
        let Some(layer) = bytes.get(start..) else { break };
        ethernet(layer);
        tag(layer);
        arp(layer);
        ipv4(layer);
        icmpv4(layer);
        udp(layer);
        assert_eq!(checksum::verify(layer), sums_up(layer));
    }
    fields(bytes);
    text::<MacAddr>(bytes);
    text::<Ipv4Net>(bytes);
}

/// Values for setters, out of the input's end: around and around.
struct Values<'a>(std::iter::Cycle<std::iter::Rev<std::slice::Iter<'a, u8>>>);

impl<'a> Values<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Self(bytes.iter().rev().cycle())
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        [(); N].map(|()| self.0.next().copied().unwrap_or_default())
    }

    fn byte(&mut self) -> u8 {
        self.bytes::<1>()[0]
    }

    fn word(&mut self) -> u16 {
        u16::from_be_bytes(self.bytes())
    }
}

fn ethernet(bytes: &[u8]) {
    let mut buffer = bytes.to_vec();
    let view = Ethernet::new_checked(buffer.as_mut_slice());
    assert_eq!(view.is_ok(), bytes.len() >= 14);
    let Ok(mut view) = view else { return };
    assert_eq!(view.payload(), &bytes[14..]);
    assert_eq!(view.payload_mut(), &bytes[14..]);
    let repr = EthernetRepr::parse(&view);
    let (destination, source) = (view.destination(), view.source());
    view.swap_addresses();
    assert_eq!((view.destination(), view.source()), (source, destination));
    let values = &mut Values::of(bytes);
    let (a, b, kind) = (MacAddr(values.bytes()), MacAddr(values.bytes()), values.word());
    view.set_destination(a);
    view.set_source(b);
    view.set_ether_type(kind);
    assert_eq!((view.destination(), view.source(), view.ether_type()), (a, b, kind));
    repr.emit(&mut buffer).expect("as long as what was read");
    assert_eq!(buffer, bytes);
}

fn tag(bytes: &[u8]) {
    let mut buffer = bytes.to_vec();
    let view = Vlan::new_checked(buffer.as_mut_slice());
    assert_eq!(view.is_ok(), bytes.len() >= 4);
    let Ok(mut view) = view else { return };
    assert_eq!(view.payload(), &bytes[4..]);
    assert_eq!(view.payload_mut(), &bytes[4..]);
    let repr = VlanRepr::parse(&view);
    let values = &mut Values::of(bytes);
    let (priority, eligible, id) = (values.byte(), values.byte() & 1 == 1, values.word());
    view.set_priority(priority);
    view.set_drop_eligible(eligible);
    view.set_id(id);
    view.set_ether_type(id);
    view.set_drop_eligible(eligible);
    view.set_priority(priority);
    let written = (view.priority(), view.drop_eligible(), view.id(), view.ether_type());
    assert_eq!(written, (priority & 7, eligible, id & 0xfff, id));
    repr.emit(&mut buffer).expect("as long as what was read");
    assert_eq!(buffer, bytes);
}

fn arp(bytes: &[u8]) {
    let mut buffer = bytes.to_vec();
    let view = Arp::new_checked(buffer.as_mut_slice());
    assert_eq!(view.is_ok(), bytes.len() >= 28 && bytes.starts_with(&[0, 1, 8, 0, 6, 4]));
    let Ok(mut view) = view else { return };
    let repr = ArpRepr::parse(&view);
    let values = &mut Values::of(bytes);
    let written = ArpRepr {
        operation: values.word(),
        sender_mac: MacAddr(values.bytes()),
        sender_ip: values.bytes().into(),
        target_mac: MacAddr(values.bytes()),
        target_ip: values.bytes().into(),
    };
    view.set_operation(written.operation);
    view.set_sender_mac(written.sender_mac);
    view.set_sender_ip(written.sender_ip);
    view.set_target_mac(written.target_mac);
    view.set_target_ip(written.target_ip);
    assert_eq!(ArpRepr::parse(&view), written);
    repr.emit(&mut buffer).expect("as long as what was read");
    assert_eq!(buffer, bytes);
}

fn ipv4(bytes: &[u8]) {
    let mut buffer = bytes.to_vec();
    let view = Ipv4::new_checked(buffer.as_mut_slice());
    let lengths = bytes.first_chunk().map(|&[first, _, a, b]| {
        (usize::from(first & 0x0f) * 4, usize::from(a) << 8 | usize::from(b), first >> 4)
    });
    let right = |(header_len, total_len, version): &(usize, usize, u8)| {
        *version == 4 && (20..=*total_len).contains(header_len) && *total_len <= bytes.len()
    };
    let lengths = lengths.filter(|lengths| bytes.len() >= 20 && right(lengths));
    assert_eq!(view.is_ok(), lengths.is_some());
    let (Ok(mut view), Some((header_len, total_len, _))) = (view, lengths) else { return };
    assert_eq!(view.options(), &bytes[20..header_len]);
    assert_eq!(view.payload(), &bytes[header_len..total_len]);
    assert_eq!(view.payload_mut(), &bytes[header_len..total_len]);
    assert_eq!(view.verify_checksum(), sums_up(&bytes[..header_len]));
    let repr = Ipv4Repr::parse(&view);
    let plain = header_len == 20 && bytes[6] & 0x80 == 0;
    assert_eq!(repr.is_ok(), plain && view.verify_checksum());
    view.fill_checksum();
    assert!(view.verify_checksum());
    set_ipv4(&mut view, &mut Values::of(bytes));
    let Ok(repr) = repr else { return };
    repr.emit(&mut buffer).expect("as long as what was read");
    // A checksum of minus zero is written as zero; both are right.
    assert!(sums_up(&buffer[..20]) && buffer[20..] == bytes[20..]);
    assert_eq!((&buffer[..10], &buffer[12..20]), (&bytes[..10], &bytes[12..20]));
}

/// Sets every field, then those that void the check: afterwards slices are cut to the buffer.
fn set_ipv4(view: &mut Ipv4<&mut [u8]>, values: &mut Values<'_>) {
    let payload = view.payload().to_vec();
    let (byte, word) = (values.byte(), values.word());
    let (source, destination): (Ipv4Addr, Ipv4Addr) =
        (values.bytes().into(), values.bytes().into());
    // Those that share a byte twice: neither may undo the other.
    view.set_dscp(byte);
    view.set_ecn(byte);
    view.set_dscp(byte);
    view.set_identification(word);
    view.set_dont_fragment(byte & 1 == 1);
    view.set_more_fragments(byte & 2 == 2);
    view.set_fragment_offset_bytes(word);
    view.set_ttl(byte);
    view.set_protocol(byte);
    view.set_source(source);
    view.set_destination(destination);
    assert_eq!((view.dscp(), view.ecn(), view.identification()), (byte & 63, byte & 3, word));
    assert_eq!((view.dont_fragment(), view.more_fragments()), (byte & 1 == 1, byte & 2 == 2));
    assert_eq!((view.ttl(), view.protocol()), (byte, byte));
    assert_eq!(view.fragment_offset_bytes(), word & !7);
    assert_eq!((view.source(), view.destination()), (source, destination));
    assert_eq!(view.payload(), payload, "a setter of the header changes no payload");
    view.options_mut().fill(byte);
    view.fill_checksum();
    assert!(view.verify_checksum());
    view.set_total_len_bytes(values.word());
    let _ = (view.payload_mut().len(), Ipv4Repr::parse(view));
    view.set_header_len_bytes(values.byte().into());
    view.set_version(values.byte());
    let _ = (view.options().len(), view.options_mut().len(), view.payload_mut().len());
    view.fill_checksum();
    let _ = (view.verify_checksum(), Ipv4Repr::parse(view));
}

fn icmpv4(bytes: &[u8]) {
    let mut buffer = bytes.to_vec();
    let view = Icmpv4::new_checked(buffer.as_mut_slice());
    assert_eq!(view.is_ok(), bytes.len() >= 8);
    let Ok(mut view) = view else { return };
    let right = sums_up(bytes);
    assert_eq!(view.verify_checksum(), right);
    assert_eq!(view.payload(), &bytes[8..]);
    assert_eq!(view.payload_mut(), &bytes[8..]);
    let repr = Icmpv4Repr::parse(&view);
    assert_eq!(repr.is_ok(), right);
    // An echo request's reply is as right as the request, damage and both zeros included.
    view.turn_into_echo_reply();
    assert_eq!((view.icmp_type(), view.icmp_code()), (0, bytes[1]));
    assert!(!right || view.verify_checksum());
    let values = &mut Values::of(bytes);
    let (kind, code, word) = (values.byte(), values.byte(), values.word());
    view.set_icmp_type(kind);
    view.set_icmp_code(code);
    view.set_identifier(word);
    view.set_sequence(!word);
    view.fill_checksum();
    let written = (view.icmp_type(), view.icmp_code(), view.identifier(), view.sequence());
    assert_eq!(written, (kind, code, word, !word));
    assert!(view.verify_checksum());
    assert_eq!(view.payload(), &bytes[8..]);
    let Ok(repr) = repr else { return };
    repr.emit(&mut buffer).expect("as long as what was read");
    assert!(sums_up(&buffer) && buffer[..2] == bytes[..2] && buffer[4..] == bytes[4..]);
}

fn udp(bytes: &[u8]) {
    let mut buffer = bytes.to_vec();
    let view = Udp::new_checked(buffer.as_mut_slice());
    let len = bytes.get(4..6).map_or(0, |len| usize::from(len[0]) << 8 | usize::from(len[1]));
    assert_eq!(view.is_ok(), bytes.len() >= 8 && (8..=bytes.len()).contains(&len));
    let Ok(mut view) = view else { return };
    assert_eq!((view.payload(), usize::from(view.len_bytes())), (&bytes[8..len], len));
    let values = &mut Values::of(bytes);
    let (source, destination): (Ipv4Addr, Ipv4Addr) =
        (values.bytes().into(), values.bytes().into());
    let pseudo = [&source.octets()[..], &destination.octets(), &[0, 17], &bytes[4..6]].concat();
    let right = |datagram: &[u8]| sums_up(&[&pseudo, datagram].concat());
    let verified = view.verify_checksum(source, destination);
    assert_eq!(verified, bytes[6..8] == [0, 0] || right(&bytes[..len]));
    let repr = UdpRepr::parse(&view, source, destination);
    assert_eq!(repr.is_ok(), verified);
    let (a, b) = (values.word(), values.word());
    view.set_source_port(a);
    view.set_destination_port(b);
    view.fill_checksum(source, destination);
    assert_eq!((view.source_port(), view.destination_port()), (a, b));
    assert!(view.checksum() != 0 && view.verify_checksum(source, destination));
    assert_eq!(view.payload(), &bytes[8..len]);
    view.set_len_bytes(values.word());
    let _ = (view.payload_mut().len(), UdpRepr::parse(&view, source, destination));
    view.fill_checksum(source, destination);
    let Ok(repr) = repr else { return };
    repr.emit(&mut buffer, source, destination).expect("as long as what was read");
    assert!(right(&buffer[..len]) && buffer[..6] == bytes[..6] && buffer[8..] == bytes[8..]);
}

/// The filter's parse finds what the views find, one layer after the other, and classifies it.
fn fields(frame: &[u8]) {
    let fields = Fields::parse(frame);
    let is = |present| fields.present.contains(present);
    let addresses = [fields.arp_target, fields.ip_destination];
    let rules = filter::responder(&ResponderConfig::ipv4(&addresses));
    assert!(rules.classify(&fields).0 < rules.class_count());
    let Ok(ethernet) = Ethernet::new_checked(frame) else {
        let len_bytes = u32::try_from(frame.len()).expect("inputs are short");
        return assert_eq!(fields, Fields { len_bytes, ..Fields::NONE });
    };
    let (mut kind, mut rest, mut ids) = (ethernet.ether_type(), ethernet.payload(), Vec::new());
    while vlan::is_tag(kind) && ids.len() < 2 {
        let Ok(tag) = Vlan::new_checked(rest) else { break };
        ids.push(tag.id());
        (kind, rest) = (tag.ether_type(), &rest[4..]);
    }
    assert!(is(Present::ETHERNET) && is(Present::VLAN) != ids.is_empty());
    assert_eq!((usize::from(fields.vlan_count), fields.ether_type), (ids.len(), kind));
    assert_eq!(fields.vlan_ids[..ids.len()], ids);
    let arp = Arp::new_checked(rest).ok().filter(|_| kind == 0x0806);
    assert_eq!(is(Present::ARP), arp.is_some());
    if let Some(arp) = arp {
        let read = (fields.arp_operation, fields.arp_sender, fields.arp_target);
        assert_eq!(read, (arp.operation(), arp.sender_ip(), arp.target_ip()));
    }
    let has_ipv4 = kind == 0x0800 && rest.len() >= 20 && matches!(rest[0], 0x45..=0x4f);
    assert_eq!(is(Present::IPV4), has_ipv4);
    let has_ipv6 = kind == 0x86dd && rest.len() >= 40 && rest[0] >> 4 == 6;
    assert_eq!(is(Present::IPV6), has_ipv6);
    assert!(has_ipv4 || has_ipv6 || !fields.present.intersects(Present::L4));
    let Some(ip) = Ipv4::new_checked(rest).ok().filter(|_| kind == 0x0800) else { return };
    let header_len = ip.header_len_bytes();
    assert!(is(Present::IPV4) && usize::from(fields.header_len_bytes) == header_len);
    assert_eq!((fields.ip_source, fields.ip_destination), (ip.source(), ip.destination()));
    let read = (fields.ip_protocol, fields.more_fragments, fields.fragment_offset_bytes);
    assert_eq!(read, (ip.protocol(), ip.more_fragments(), ip.fragment_offset_bytes()));
    let l4 = rest[header_len..].first_chunk::<4>().filter(|_| ip.fragment_offset_bytes() == 0);
    let with_ports = matches!(ip.protocol(), 6 | 17 | 132 | 136);
    assert_eq!(is(Present::ICMP), l4.is_some() && ip.protocol() == 1);
    assert_eq!(is(Present::PORTS), l4.is_some() && with_ports);
    let Some(&[a, b, c, d]) = l4 else { return };
    if is(Present::ICMP) {
        assert_eq!((fields.icmp_type, fields.icmp_code), (a, b));
    } else if is(Present::PORTS) {
        let ports = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        assert_eq!((fields.source_port, fields.destination_port), ports);
    }
}

/// What a text is read as is written and read again as the same.
fn text<T: FromStr + fmt::Display + fmt::Debug + PartialEq>(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(value) = text.parse::<T>() else { return };
    assert_eq!(value.to_string().parse().ok(), Some(value), "{text:?}");
}
