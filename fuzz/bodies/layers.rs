//! A frame, behind a byte that chooses its link type, through the whole engine: all levels, the line of
//! text, the flow key, the filter's fields, and every view that fits a layer that was found. Bounds hold
//! on each level, and what two parsers both know they say alike.

use std::fmt::{self, Write};

use netmem_wire::{
    Arp, ArpHeader, Dissection, Error, Icmpv4, Icmpv6, Ipv4, Ipv6, LinkType, Llc, Loopback, Sll,
    Sll2, Tcp, Udp,
    dissect::{self, Link, Network, Stop, Transport},
    filter::{Expr, Fields, Present},
    icmpv6::{mld, ndp},
    igmp,
    ipv6::extension,
};

/// What the first byte of an input chooses from.
pub const LINK_TYPES: [LinkType; 8] = [
    LinkType::Ethernet,
    LinkType::RawIp,
    LinkType::Ipv4,
    LinkType::Ipv6,
    LinkType::Sll,
    LinkType::Sll2,
    LinkType::Null,
    LinkType::Loop,
];

/// Takes the first byte as the link type, the rest as the frame.
pub fn run(bytes: &[u8]) {
    let Some((choice, frame)) = bytes.split_first() else { return };
    let link_type = LINK_TYPES[usize::from(*choice) % LINK_TYPES.len()];
    let outermost = dissect::dissect(link_type, frame);
    assert_eq!(dissect::flow_key(link_type, frame), outermost.flow_key());
    let mut line = Length(0);
    write!(line, "{outermost}").expect("a length takes all");
    assert!(line.0 > 0);
    let mut before = 0;
    for level in outermost.levels() {
        bounds(&level, before, frame.len());
        before = level.payload_offset_bytes();
        links(&level);
        networks(&level);
        transports(&level);
    }
    if link_type == LinkType::Ethernet {
        fields(frame, &outermost);
    }
    if let Ok(text) = std::str::from_utf8(frame)
        && let Err(error) = text.parse::<Expr>()
    {
        assert!(error.offset_bytes() + error.len_bytes() <= text.len() + 1);
        let _ = write!(line, "{error}{}", error.caret(text));
    }
}

/// Counts what is written.
struct Length(usize);

impl Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

fn bounds(level: &Dissection<'_>, before: usize, frame_len: usize) {
    let offsets = [
        before,
        level.link_offset_bytes(),
        level.network_offset_bytes(),
        level.payload_offset_bytes(),
        level.end_offset_bytes(),
        frame_len,
    ];
    assert!(offsets.is_sorted(), "{offsets:?}");
    assert!(level.transport_offset_bytes() <= level.payload_offset_bytes());
    assert!(level.depth() <= dissect::MAX_DEPTH);
    assert_eq!(level.inner().is_some(), level.stop() == Stop::Inner);
    if let Some(Error::Short { offset_bytes, needed_bytes, available_bytes, .. }) = level.error() {
        assert!(needed_bytes > available_bytes && offset_bytes + available_bytes <= frame_len);
    }
}

fn links(level: &Dissection<'_>) {
    let bytes = &level.frame()[level.link_offset_bytes()..];
    match level.link() {
        Link::None => {}
        // A level stops behind the link header at most; then there is no view.
        Link::Ethernet => {
            let view = level.ethernet();
            assert!(view.is_some() || level.error().is_some());
            if let (Some(view), Stop::Llc(dsap)) = (view, level.stop()) {
                let llc = Llc::new_checked(&view.payload()[4 * level.vlans().len()..]);
                assert!(llc.is_err() || llc.is_ok_and(|llc| llc.dsap() == dsap));
            }
        }
        Link::Sll => assert!(Sll::new_checked(bytes).is_ok()),
        Link::Sll2 => assert!(Sll2::new_checked(bytes).is_ok()),
        Link::Loopback => assert!(Loopback::new_checked(bytes).is_ok()),
    }
    for tag in level.vlans() {
        assert!(tag.id() < 4096 && tag.priority() < 8);
    }
}

fn networks(level: &Dissection<'_>) {
    let bytes = level.network_bytes();
    match level.network() {
        Network::None => {}
        Network::Arp => {
            if level.error().is_none() {
                let header = ArpHeader::new_checked(bytes).expect("dissected as whole");
                let _ = (header.operation(), Arp::new_checked(bytes).is_ok());
            }
        }
        Network::Ipv4 => {
            let Ok(view) = Ipv4::new_truncated(bytes) else {
                assert!(level.error().is_some());
                return;
            };
            let Some(key) = level.flow_key() else {
                assert!(level.error().is_some());
                return;
            };
            assert_eq!(
                (key.source(), key.destination()),
                (view.source().into(), view.destination().into())
            );
            assert!(view.options_iter().count() <= 40);
            assert_eq!(view.is_fragment(), level.fragment().is_some());
            let _ = (view.verify_checksum(), view.payload().len());
        }
        Network::Ipv6 => ipv6(level, bytes),
    }
}

fn ipv6(level: &Dissection<'_>, bytes: &[u8]) {
    let view = Ipv6::new_truncated(bytes).expect("the fixed header is there");
    let key = level.flow_key().expect("an IP packet has a key");
    assert_eq!(
        (key.source(), key.destination()),
        (view.source().into(), view.destination().into())
    );
    let _ = (view.jumbo_len_bytes(), view.payload().len());
    for extension in extension::Extensions::new(view.next_header(), &bytes[40..]) {
        let Ok(extension) = extension else { break };
        assert!(extension::Options::new(extension.bytes).count() <= extension.bytes.len());
        let _ = extension::Routing::new_checked(extension.bytes)
            .map(|routing| routing.final_destination());
    }
    // The two walks.
    match extension::upper_layer(view.next_header(), &bytes[40..]) {
        Ok(upper) => {
            assert_eq!(level.protocol(), Some(upper.protocol));
            assert_eq!(
                level.transport_offset_bytes(),
                level.network_offset_bytes() + 40 + upper.offset_bytes
            );
            assert_eq!(upper.is_fragment(), level.fragment().is_some());
        }
        Err(_) => assert!(level.error().is_some()),
    }
}

fn transports(level: &Dissection<'_>) {
    let bytes = level.transport_bytes();
    let is_whole = level.error().is_none();
    match level.transport() {
        Transport::Tcp => match Tcp::new_checked(bytes) {
            Ok(view) => {
                let ports = (view.source_port(), view.destination_port());
                assert_eq!(level.ports(), Some(ports));
                assert!(view.options_iter().count() <= 40);
                assert_eq!(view.payload(), level.payload());
            }
            Err(_) => assert!(!is_whole),
        },
        Transport::Udp => {
            if let Ok(view) = Udp::new_truncated(bytes) {
                let ports = (view.source_port(), view.destination_port());
                assert_eq!(level.ports(), Some(ports));
            }
        }
        Transport::Icmpv4 => {
            if let Ok(view) = Icmpv4::new_checked(bytes) {
                let _ = (view.verify_checksum(), view.quoted(), view.icmp_code());
            }
        }
        Transport::Icmpv6 => icmpv6(level, bytes),
        Transport::Igmp => {
            if let Ok(report) = igmp::IgmpReportV3::new_checked(bytes) {
                assert!(report.records().count() <= bytes.len());
            }
            let _ = igmp::Igmp::new_checked(bytes).map(|view| view.verify_checksum());
        }
        Transport::None | Transport::UdpLite | Transport::Sctp | Transport::Gre => {}
    }
}

fn icmpv6(level: &Dissection<'_>, bytes: &[u8]) {
    let Ok(view) = Icmpv6::new_checked(bytes) else { return };
    let Some(key) = level.flow_key() else { return };
    if let (std::net::IpAddr::V6(source), std::net::IpAddr::V6(destination)) =
        (key.source(), key.destination())
    {
        let right = view.verify_checksum(source, destination);
        let valid = ndp::validate(bytes, source, destination, 255);
        assert!(right || valid.is_err());
        let _ = ndp::NdpRepr::parse(bytes, source, destination);
    }
    let _ = view.quoted_packet();
    for start in [8, 16, 24, 40] {
        let options = ndp::options::Options::new(bytes.get(start..).unwrap_or_default());
        assert!(options.count() <= bytes.len());
    }
    if let Ok(report) = mld::MldReportV2::new_checked(bytes) {
        assert!(report.records().count() <= bytes.len());
    }
}

/// The filter's own parse of the same frame, where both go: two tags, no 802.3, the outermost level.
fn fields(frame: &[u8], level: &Dissection<'_>) {
    let fields = Fields::parse(frame);
    let ids: Vec<u16> = level.vlans().map(|tag| tag.id()).take(2).collect();
    assert_eq!(&fields.vlan_ids[..usize::from(fields.vlan_count)], ids);
    if level.network() == Network::Ipv4 && level.ether_type() == Some(fields.ether_type) {
        assert!(fields.present.contains(Present::IPV4));
        if let Some(key) = level.flow_key() {
            assert_eq!(key.source(), fields.ip_source);
            assert_eq!(key.destination(), fields.ip_destination);
        }
    }
    // A length that ends the packet is not the filter's business, nor is AH in IPv4.
    if let Some(ports) = level.ports()
        && level.ether_type() == Some(fields.ether_type)
        && fields.present.contains(Present::PORTS)
    {
        assert_eq!((fields.source_port, fields.destination_port), ports);
    }
}
