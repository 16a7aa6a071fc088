//! What is composed is dissected as intended, with checksums that an oracle of its own finds right.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::vec;
use std::vec::Vec;

use proptest::collection::vec as vec_of;
use proptest::prelude::*;

use super::*;
use crate::dissect::{Dissection, Link, LinkType, Network, Transport as Upper, dissect};
use crate::ethernet::ether_type;
use crate::geneve::GeneveRepr;
use crate::icmpv6::ndp::NdpRepr;
use crate::icmpv6::ndp::options::NdpOption;
use crate::ipv4::{Ipv4Option, protocol};
use crate::ipv6::extension::FragmentRepr;
use crate::llc::{Control, LlcRepr};
use crate::tcp::{Flags, TcpOption, Timestamps};
use crate::{
    ArpRepr, Ethernet, EthernetRepr, GreRepr, Icmpv4Repr, Icmpv6Repr, Ipv4, Ipv4Repr, Ipv6,
    Ipv6Repr, MacAddr, SctpRepr, Tcp, TcpRepr, Udp, UdpRepr, VlanRepr, VxlanRepr,
};

mod presets;
mod tcpdump;

const MAC_A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const MAC_B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const V4_A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const V4_B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const V6_A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const V6_B: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

/// RFC 1071 by the letter: 16-bit words, one after the other.
fn folded(pieces: &[&[u8]]) -> u16 {
    let mut sum = 0_u64;
    for (at, byte) in pieces.concat().iter().enumerate() {
        sum += u64::from(*byte) << if at % 2 == 0 { 8 } else { 0 };
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

/// CRC32c by the letter: one bit after the other (RFC 9260 appendix A).
fn crc32c(bytes: &[u8]) -> u32 {
    let mut register = u32::MAX;
    for byte in bytes {
        register ^= u32::from(*byte);
        for _ in 0..8 {
            register = register >> 1 ^ if register & 1 != 0 { 0x82f6_3b78 } else { 0 };
        }
    }
    !register
}

/// Checks all checksums of a frame that is not quoted, and returns how many there are.
fn verify(frame: &[u8]) -> usize {
    dissect(LinkType::Ethernet, frame)
        .levels()
        .filter(|level| !level.is_quoted())
        .map(|level| verify_level(&level))
        .sum()
}

fn verify_level(level: &Dissection<'_>) -> usize {
    let (packet, upper) = (level.network_bytes(), level.transport_bytes());
    let mut count = 0;
    let addresses = match level.network() {
        Network::Ipv4 => {
            assert_eq!(folded(&[&packet[..usize::from(packet[0] & 15) * 4]]), 0xffff);
            count += 1;
            &packet[12..20]
        }
        Network::Ipv6 => &packet[8..40],
        _ => return 0,
    };
    if level.fragment().is_some() {
        return count;
    }
    let len = u32::try_from(upper.len()).unwrap().to_be_bytes();
    let pseudo = [addresses, &len, &[0, 0, 0, level.protocol().unwrap()]].concat();
    let is_right = match level.transport() {
        Upper::Udp if upper[6..8] == [0, 0] => {
            assert_eq!(level.network(), Network::Ipv4);
            return count;
        }
        Upper::Udp | Upper::Tcp | Upper::Icmpv6 => folded(&[&pseudo, upper]) == 0xffff,
        Upper::Icmpv4 => folded(&[upper]) == 0xffff,
        Upper::Gre if upper[0] & 0x80 == 0 => return count,
        Upper::Gre => folded(&[upper]) == 0xffff,
        Upper::Sctp => {
            let zeroed = [&upper[..8], &[0; 4], &upper[12..]].concat();
            crc32c(&zeroed).to_le_bytes() == upper[8..12]
        }
        _ => return count,
    };
    assert!(is_right, "{level}");
    count + 1
}

/// One call of the composer.
#[derive(Clone, Debug)]
enum Step {
    Udp(u16, u16, UdpChecksum),
    Tcp(TcpRepr, bool),
    Sctp(u16, u16),
    Echo4(u16),
    Echo6(u16),
    Ndp(NdpRepr),
    Arp,
    V4(u8, usize),
    V6(u8),
    HopByHop(usize),
    Options(usize),
    Atomic(u32),
    Vlan(bool, u8, u16),
    Ethernet,
    Snap,
    Llc(Control),
    Gre(bool, Option<u32>, Option<u32>),
    Vxlan(u32, UdpChecksum),
    Geneve(u32, usize, UdpChecksum),
    Pad,
}

impl Step {
    fn apply(&self, composer: &mut Composer<'_>) -> Result<(), Error> {
        match *self {
            Self::Udp(source, destination, checksum) => {
                composer.udp_with(source, destination, checksum)
            }
            Self::Tcp(ref repr, has_more) => {
                let options = [TcpOption::FastOpen(b"cookie")];
                composer.tcp_with(repr, if has_more { &options } else { &[] })
            }
            Self::Sctp(source_port, destination_port) => {
                composer.sctp(&SctpRepr { source_port, destination_port, verification_tag: 7 })
            }
            Self::Echo4(sequence) => composer.icmpv4(&Icmpv4Repr::echo_request(1, sequence)),
            Self::Echo6(sequence) => {
                composer.icmpv6(&Icmpv6Repr::EchoRequest { identifier: 1, sequence })
            }
            Self::Ndp(ref repr) => composer.ndp(
                repr,
                &[NdpOption::SourceLinkLayer(&MAC_A.0), NdpOption::Mtu { mtu_bytes: 1500 }],
            ),
            Self::Arp => composer.arp(&ArpRepr {
                operation: 1,
                sender_mac: MAC_A,
                sender_ip: V4_A,
                target_mac: MacAddr::default(),
                target_ip: V4_B,
            }),
            Self::V4(ttl, count) => composer.ipv4_with(
                &Ipv4Repr { ttl, ..ipv4_between(V4_A, V4_B) },
                &[Ipv4Option::Nop; 40][..count],
            ),
            Self::V6(ecn) => composer.ipv6_with(&Ipv6Repr {
                ecn,
                flow_label: 0x12345,
                ..ipv6_between(V6_A, V6_B)
            }),
            Self::HopByHop(pad_count) => composer.hop_by_hop_options(&vec![0; pad_count]),
            Self::Options(pad_count) => composer.destination_options(&vec![0; pad_count]),
            Self::Atomic(identification) => composer.ipv6_fragment(&FragmentRepr {
                next_header: 0,
                fragment_offset_bytes: 0,
                more_fragments: false,
                identification,
            }),
            _ => return self.apply_outer(composer),
        }
        .map(|_| ())
    }

    /// What the header is dissected as, with its ports.
    fn meant(&self) -> (Upper, Option<(u16, u16)>) {
        match *self {
            Self::Udp(a, b, _) => (Upper::Udp, Some((a, b))),
            Self::Tcp(ref repr, _) => (Upper::Tcp, Some((repr.source_port, repr.destination_port))),
            Self::Sctp(a, b) => (Upper::Sctp, Some((a, b))),
            Self::Echo4(_) => (Upper::Icmpv4, None),
            Self::Echo6(_) => (Upper::Icmpv6, None),
            Self::Gre(..) => (Upper::Gre, None),
            Self::Vxlan(id, _) => (Upper::Udp, Some((source_port(id ^ 0xabcd), 4789))),
            Self::Geneve(id, ..) => (Upper::Udp, Some((source_port(id), 6081))),
            _ => unreachable!(),
        }
    }

    /// Link headers and tunnels.
    fn apply_outer(&self, composer: &mut Composer<'_>) -> Result<(), Error> {
        match *self {
            Self::Vlan(is_service, priority, id) => composer.vlan_with(
                tpid(is_service),
                &VlanRepr { priority, drop_eligible: is_service, id, ether_type: 0 },
            ),
            Self::Ethernet => composer.ethernet(MAC_B, MAC_A),
            Self::Snap => composer.snap(),
            Self::Llc(control) => composer.llc(&LlcRepr::Llc { dsap: 0x42, ssap: 0x42, control }),
            Self::Gre(has_checksum, key, sequence) => {
                composer.gre(&GreRepr { has_checksum, key, sequence, protocol_type: 0 })
            }
            Self::Vxlan(network_id, checksum) => {
                composer.vxlan(&VxlanRepr { network_id }, network_id ^ 0xabcd, checksum)
            }
            Self::Geneve(network_id, option_count, checksum) => {
                let repr = GeneveRepr {
                    is_control: false,
                    has_critical: false,
                    protocol_type: 0,
                    network_id,
                    options_len_bytes: 0,
                };
                composer.geneve(&repr, &[1, 2, 3, 0].repeat(option_count), network_id, checksum)
            }
            _ => composer.pad_to_bytes(60),
        }
        .map(|_| ())
    }
}

/// Composes `steps` in front of `payload` with that much headroom and tailroom, and checks that a
/// refused step changes nothing. Returns the frame, the headroom that is left, and the first error.
fn compose(
    payload: &[u8],
    steps: &[Step],
    (headroom, tailroom): (usize, usize),
) -> (Vec<u8>, usize, Option<Error>) {
    let at = headroom..headroom + payload.len();
    let mut buffer = vec![0xa5; at.end + tailroom];
    buffer[at.clone()].copy_from_slice(payload);
    let mut composer = Composer::new(&mut buffer, at.clone()).unwrap();
    let mut first = None;
    for step in steps {
        let before = (composer.range(), composer.kind(), composer.buffer.to_vec());
        if let Err(error) = step.apply(&mut composer) {
            assert_eq!((composer.range(), composer.kind(), composer.buffer.to_vec()), before);
            if let Error::Short { needed_bytes, available_bytes, .. } = error {
                assert!(needed_bytes > available_bytes);
            }
            first = first.or(Some(error));
        } else {
            let (range, is_pad) = (composer.range(), matches!(step, Step::Pad));
            assert_eq!(range.start < before.0.start, !is_pad);
            assert!(range.end == before.0.end || is_pad);
            assert_eq!(&composer.buffer[..range.start], &before.2[..range.start]);
        }
    }
    assert_eq!(&composer.buffer[at], payload, "payload untouched");
    let (frame, start) = (composer.bytes().to_vec(), composer.start());
    (frame, start, first)
}

fn checksum_choice() -> impl Strategy<Value = UdpChecksum> {
    prop_oneof![Just(UdpChecksum::Computed), Just(UdpChecksum::Absent)]
}

fn tcp_repr() -> impl Strategy<Value = TcpRepr> {
    let options = (any::<Option<u16>>(), any::<Option<u32>>(), any::<bool>());
    (any::<(u16, u16, u32, u32, u16)>(), 0_u16..512, options).prop_map(
        |((source, destination, sequence, acknowledgment, window), flags, options)| TcpRepr {
            sequence,
            acknowledgment,
            window,
            flags: Flags::from_bits(flags),
            mss: options.0,
            timestamps: options.1.map(|value| Timestamps { value, echo_reply: 9 }),
            sack_permitted: options.2,
            window_scale: options.2.then_some(7),
            ..TcpRepr::new(source, destination)
        },
    )
}

const fn tpid(is_service: bool) -> u16 {
    if is_service { ether_type::VLAN_SERVICE } else { ether_type::VLAN }
}

/// Ports that announce no tunnel.
fn port() -> impl Strategy<Value = u16> {
    1_u16..4000
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (port(), port(), checksum_choice()).prop_map(|(a, b, c)| Step::Udp(a, b, c)),
        (tcp_repr(), any::<bool>()).prop_map(|(repr, more)| Step::Tcp(repr, more)),
        (port(), port()).prop_map(|(a, b)| Step::Sctp(a, b)),
        any::<u16>().prop_map(Step::Echo4),
        any::<u16>().prop_map(Step::Echo6),
        Just(Step::Ndp(NdpRepr::NeighborSolicitation { target: V6_B })),
        Just(Step::Arp),
        (any::<u8>(), 0_usize..=40).prop_map(|(ttl, count)| Step::V4(ttl, count)),
        (0_u8..=4).prop_map(Step::V6),
        (0_usize..20).prop_map(Step::HopByHop),
        prop_oneof![0_usize..20, 2040..2050_usize].prop_map(Step::Options),
        any::<u32>().prop_map(Step::Atomic),
        (any::<bool>(), 0_u8..=8, 0_u16..=4096).prop_map(|(a, b, c)| Step::Vlan(a, b, c)),
        Just(Step::Ethernet),
        Just(Step::Snap),
        prop_oneof![
            Just(Control::Unnumbered(3)),
            any::<u8>().prop_map(|control| Control::Unnumbered(control | 3)),
            any::<u16>().prop_map(|control| Control::Numbered(control & 0xfeff)),
        ]
        .prop_map(Step::Llc),
        any::<(bool, Option<u32>, Option<u32>)>().prop_map(|(a, b, c)| Step::Gre(a, b, c)),
        (0_u32..0x0180_0000, checksum_choice()).prop_map(|(id, c)| Step::Vxlan(id, c)),
        (0_u32..0x0180_0000, 0_usize..66, checksum_choice())
            .prop_map(|(id, count, c)| Step::Geneve(id, count, c)),
        Just(Step::Pad),
    ]
}

/// What a level is meant to be.
#[derive(Clone, Debug, PartialEq)]
struct Meant {
    link: Link,
    /// Protocol identifier, priority, whether to drop first, id.
    tags: Vec<(u16, u8, bool, u16)>,
    network: Network,
    transport: Upper,
    ports: Option<(u16, u16)>,
}

impl Meant {
    fn of(level: &Dissection<'_>) -> Self {
        let mut tpid = level.ethernet().map_or(0, |ethernet| ethernet.ether_type());
        let tags = level.vlans().map(|tag| {
            let tag_protocol_id = core::mem::replace(&mut tpid, tag.ether_type());
            (tag_protocol_id, tag.priority(), tag.drop_eligible(), tag.id())
        });
        Self {
            link: level.link(),
            tags: tags.collect(),
            network: level.network(),
            transport: level.transport(),
            ports: level.ports(),
        }
    }
}

/// A transport header in front of a payload; neighbor discovery has none.
fn transport_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (port(), port()).prop_map(|(a, b)| Step::Udp(a, b, UdpChecksum::Computed)),
        (tcp_repr(), any::<bool>()).prop_filter_map("options fit", |(repr, more)| {
            (repr.header_len_bytes() <= 48).then_some(Step::Tcp(repr, more))
        }),
        (port(), port()).prop_map(|(a, b)| Step::Sctp(a, b)),
        any::<u16>().prop_map(Step::Echo4),
        any::<u16>().prop_map(Step::Echo6),
    ]
}

/// A sane stack of levels, from the inside out, and what they are.
fn stack() -> impl Strategy<Value = (Vec<Step>, Vec<Meant>)> {
    let tags = vec_of((any::<bool>(), 0_u8..8, 0_u16..4096), 0..4);
    let extensions = vec_of(
        prop_oneof![(0_usize..20).prop_map(Step::Options), any::<u32>().prop_map(Step::Atomic),],
        0..3,
    );
    let tunnel = prop_oneof![
        any::<(bool, Option<u32>, Option<u32>)>().prop_map(|(a, b, c)| Step::Gre(a, b, c)),
        (0_u32..0x0100_0000, checksum_choice()).prop_map(|(id, c)| Step::Vxlan(id, c)),
        (0_u32..0x0100_0000, 0_usize..64, checksum_choice())
            .prop_map(|(id, count, c)| Step::Geneve(id, count, c)),
    ];
    let level = (any::<bool>(), tags, extensions, any::<Option<bool>>(), 0_usize..=40, tunnel);
    (transport_step(), vec_of(level, 1..5)).prop_map(|(upper, levels)| {
        let (mut steps, mut meant) = (vec![], vec![]);
        let mut upper = upper;
        for (is_v4, tags, extensions, with_link, option_count, tunnel) in levels {
            let (transport, ports) = upper.meant();
            let is_v4 = match upper {
                Step::Echo4(_) => true,
                Step::Echo6(_) => false,
                Step::Vxlan(_, UdpChecksum::Absent) | Step::Geneve(.., UdpChecksum::Absent) => true,
                _ => is_v4,
            };
            steps.push(upper);
            if is_v4 {
                steps.push(Step::V4(9, option_count));
            } else {
                steps.extend(extensions);
                steps.push(Step::V6(1));
            }
            // VXLAN needs a frame, the others take a packet too.
            let with_link = with_link == Some(true) || matches!(tunnel, Step::Vxlan(..));
            if with_link {
                steps.extend(tags.iter().map(|(a, b, c)| Step::Vlan(*a, *b, *c)));
                steps.push(Step::Ethernet);
            }
            meant.push(Meant {
                link: if with_link { Link::Ethernet } else { Link::None },
                tags: if with_link {
                    tags.iter().rev().map(|tag| (tpid(tag.0), tag.1, tag.0, tag.2)).collect()
                } else {
                    vec![]
                },
                network: if is_v4 { Network::Ipv4 } else { Network::Ipv6 },
                transport,
                ports,
            });
            upper = tunnel;
        }
        let outermost = meant.last_mut().unwrap();
        if outermost.link == Link::None {
            steps.push(Step::Ethernet);
            outermost.link = Link::Ethernet;
        }
        meant.reverse();
        (steps, meant)
    })
}

proptest! {
    // Planted and caught: a checksum that is filled without telling the sum; an IPv4 header that
    // adds up to something else than -0; extension headers counted in the pseudo header's length; a
    // data offset without the options behind; another tag protocol identifier; a tunnel's protocol
    // type that is always IPv4.
    #[test]
    fn a_stack_is_dissected_as_intended(
        (steps, meant) in stack(), payload in vec_of(any::<u8>(), 0..80),
    ) {
        let (frame, left, error) = compose(&payload, &steps, (4000, 60));
        prop_assert_eq!(error, None);
        let levels: Vec<_> = dissect(LinkType::Ethernet, &frame).levels().collect();
        prop_assert_eq!(levels.iter().map(Meant::of).collect::<Vec<_>>(), meant);
        prop_assert!(levels.iter().all(|level| level.error().is_none() && !level.is_cut()));
        prop_assert_eq!(levels.last().unwrap().payload(), &payload[..]);
        verify(&frame);
        // The same with exactly the headroom, and with one byte less.
        let headroom = 4000 - left;
        prop_assert_eq!(compose(&payload, &steps, (headroom, 0)), (frame, 0, None));
        let (_, _, error) = compose(&payload, &steps, (headroom - 1, 0));
        let is_short = matches!(error, Some(Error::Short { .. }));
        prop_assert!(is_short, "{:?}", error);
    }

    // Planted and caught: a tunnel's header written before the UDP header's room is checked; a
    // write before the check of a field.
    #[test]
    fn any_steps_change_nothing_or_write_a_header(
        steps in vec_of(any_step(), 0..12), payload in vec_of(any::<u8>(), 0..80),
        headroom in prop_oneof![0_usize..400, Just(6000)], tailroom in 0_usize..60,
    ) {
        let (frame, _, _) = compose(&payload, &steps, (headroom, tailroom));
        if steps.last().is_some_and(|step| matches!(step, Step::Ethernet)) {
            let _ = dissect(LinkType::Ethernet, &frame).levels().count();
        }
    }

    // Planted and caught: the room of a header without what is behind; an option left out.
    #[test]
    fn what_is_parsed_is_composed_again(
        (steps, _) in stack(), payload in vec_of(any::<u8>(), 0..80),
    ) {
        let (frame, ..) = compose(&payload, &steps, (4000, 0));
        let ethernet = Ethernet::new_checked(&frame[..]).unwrap();
        let level = dissect(LinkType::Ethernet, &frame);
        let at = level.payload_offset_bytes();
        let mut copy = frame.clone();
        copy[..at].fill(0xee);
        let mut composer = Composer::new(&mut copy, at..frame.len()).unwrap();
        let (packet, upper) = (level.network_bytes(), level.transport_bytes());
        let v4 = Ipv4::new_checked(packet).ok();
        let v6 = Ipv6::new_checked(packet).ok();
        // Extension headers are bytes for the reader; only packets without them are read here.
        let simple = v6.as_ref().is_none_or(|ip| level.protocol() == Some(ip.next_header()));
        if !simple {
            return Ok(());
        }
        match level.transport() {
            Upper::Udp if !matches!(level.ports(), Some((_, 4789 | 6081))) => {
                let view = Udp::new_checked(upper).unwrap();
                let repr = match &v4 {
                    Some(ip) => UdpRepr::parse(&view, ip.source(), ip.destination()),
                    None => UdpRepr::parse_v6(&view, V6_A, V6_B),
                }.unwrap();
                composer.udp(repr.source_port, repr.destination_port).unwrap();
            }
            Upper::Tcp => {
                let view = Tcp::new_checked(upper).unwrap();
                let repr = match &v4 {
                    Some(ip) => TcpRepr::parse(&view, ip.source(), ip.destination()),
                    None => TcpRepr::parse_v6(&view, V6_A, V6_B),
                };
                // Fast open is not in the repr.
                let Ok(repr) = repr else { return Ok(()) };
                composer.tcp(&repr).unwrap();
            }
            _ => return Ok(()),
        }
        match &v4 {
            Some(ip) => {
                let (repr, options) = Ipv4Repr::parse_with_options(ip).unwrap();
                let options: Vec<_> = options.map(Result::unwrap).collect();
                composer.ipv4_with(&repr, &options).unwrap();
            }
            None => {
                composer.ipv6_with(&Ipv6Repr::parse(&v6.unwrap()).unwrap()).unwrap();
            }
        }
        let mut tags: Vec<_> = level.vlans().map(|tag| VlanRepr::parse(&tag)).collect();
        while let Some(tag) = tags.pop() {
            let tpid = tags.last().map_or_else(|| ethernet.ether_type(), |outer| outer.ether_type);
            composer.vlan_with(tpid, &tag).unwrap();
        }
        let repr = EthernetRepr::parse(&ethernet);
        composer.ethernet(repr.destination, repr.source).unwrap();
        prop_assert_eq!(composer.start(), 0);
        prop_assert_eq!(copy, frame);
    }
}

#[test]
fn a_computed_zero_is_sent_as_all_ones() {
    for is_v4 in [true, false] {
        let write = |payload: [u8; 2]| {
            let steps = [
                Step::Udp(7, 9, UdpChecksum::Computed),
                if is_v4 { Step::V4(64, 0) } else { Step::V6(0) },
                Step::Ethernet,
            ];
            compose(&payload, &steps, (100, 0)).0
        };
        let frame = write([0; 2]);
        let at = dissect(LinkType::Ethernet, &frame).transport_offset_bytes() + 6;
        // With its own checksum as payload the sum is -0, so 0 is computed.
        let frame = write([frame[at], frame[at + 1]]);
        assert_eq!(frame[at..at + 2], [0xff, 0xff]);
        assert_eq!(verify(&frame), 1 + usize::from(is_v4));
    }
}

#[test]
fn a_sum_goes_on_behind_an_odd_header() {
    let inner = [Step::Udp(7, 9, UdpChecksum::Computed), Step::V4(64, 0)];
    let outer = [
        Step::Llc(Control::Unnumbered(3)),
        Step::Ethernet,
        Step::Vxlan(5, UdpChecksum::Computed),
        Step::V6(0),
        Step::Ethernet,
    ];
    for payload in [&b"even"[..], b"odd"] {
        let (frame, _, error) = compose(payload, &[&inner[..], &outer].concat(), (200, 0));
        assert_eq!((error, verify(&frame)), (None, 1));
    }
}

#[test]
fn given_fields_are_written() {
    let v4 = Ipv4Repr {
        dscp: 46,
        ecn: 2,
        identification: 0x1234,
        dont_fragment: false,
        ttl: 3,
        payload_len_bytes: 11,
        protocol: protocol::UDP,
        ..ipv4_between(V4_A, V4_B)
    };
    let v6 = Ipv6Repr {
        dscp: 46,
        ecn: 2,
        flow_label: 0xabcde,
        hop_limit: 3,
        next_header: protocol::UDP,
        payload_len_bytes: 11,
        ..ipv6_between(V6_A, V6_B)
    };
    let mut buffer = [0; 60];
    let mut composer = Composer::new(&mut buffer, 57..60).unwrap();
    composer.udp(1, 2).unwrap().ipv4_with(&v4, &[]).unwrap();
    let view = Ipv4::new_checked(composer.bytes()).unwrap();
    assert_eq!(Ipv4Repr::parse(&view), Ok(v4));
    let mut composer = Composer::new(&mut buffer, 57..60).unwrap();
    composer.udp(1, 2).unwrap().ipv6_with(&v6).unwrap();
    let view = Ipv6::new_checked(composer.bytes()).unwrap();
    assert_eq!(Ipv6Repr::parse(&view), Ok(v6));
}

#[test]
fn options_of_ipv6_are_padded() {
    // Router alert takes 4 of 6 bytes, then PadN of none; with 5 bytes one Pad1 is left.
    for (options, header) in [
        (&[5, 2, 0, 0][..], &[17, 0, 5, 2, 0, 0, 1, 0][..]),
        (&[0, 5, 2, 0, 0], &[17, 0, 0, 5, 2, 0, 0, 0]),
        (&[0, 0, 5, 2, 0, 0], &[17, 0, 0, 0, 5, 2, 0, 0]),
        (&[], &[17, 0, 1, 4, 0, 0, 0, 0]),
        (&[0; 7], &[17, 1, 0, 0, 0, 0, 0, 0, 0, 1, 5, 0, 0, 0, 0, 0]),
    ] {
        let mut buffer = [0xee; 100];
        let mut composer = Composer::new(&mut buffer, 90..100).unwrap();
        composer.udp(1, 2).unwrap().hop_by_hop_options(options).unwrap();
        assert_eq!(composer.bytes()[..header.len()], *header);
        assert_eq!(composer.len_bytes(), header.len() + 18);
    }
}

#[test]
fn udp_without_checksum_is_for_ipv4() {
    let absent = Step::Udp(7, 9, UdpChecksum::Absent);
    let (packet, _, error) = compose(b"abc", &[absent.clone(), Step::V4(64, 0)], (100, 0));
    assert_eq!((error, &packet[26..28]), (None, &[0, 0][..]));
    let (_, _, error) = compose(b"abc", &[absent, Step::V6(0)], (100, 0));
    let refused = Error::Field { layer: Layer::Udp, offset_bytes: 6, field: "checksum" };
    assert_eq!(error, Some(refused));
}

#[test]
fn lengths_are_limited() {
    let zeros = vec![0; 70_000];
    let field =
        |len_bytes: usize, steps: &[Step]| match compose(&zeros[..len_bytes], steps, (100, 0)).2 {
            Some(Error::Field { layer, field, .. }) => Some((layer, field)),
            None => None,
            other => panic!("{other:?}"),
        };
    let udp = Step::Udp(7, 9, UdpChecksum::Computed);
    assert_eq!(field(65_527, std::slice::from_ref(&udp)), None);
    assert_eq!(field(65_528, std::slice::from_ref(&udp)), Some((Layer::Udp, "length")));
    assert_eq!(field(70_000, std::slice::from_ref(&udp)), Some((Layer::Udp, "length")));
    let v4 = [Step::Echo4(1), Step::V4(64, 0)];
    assert_eq!(field(65_535 - 28, &v4), None);
    assert_eq!(field(65_535 - 27, &v4), Some((Layer::Ipv4, "total length")));
    let v4 = [Step::Echo4(1), Step::V4(64, 40)];
    assert_eq!(field(65_535 - 68, &v4), None);
    assert_eq!(field(65_535 - 67, &v4), Some((Layer::Ipv4, "total length")));
    let v6 = [Step::Echo6(1), Step::V6(0)];
    assert_eq!(field(65_535 - 8, &v6), None);
    assert_eq!(field(65_535 - 7, &v6), Some((Layer::Ipv6, "payload length")));
    let llc = [Step::Llc(Control::Unnumbered(3)), Step::Ethernet];
    assert_eq!(field(1497, &llc), None);
    assert_eq!(field(1498, &llc), Some((Layer::Ethernet, "length")));
    assert!(Composer::new(&mut [0; 4], 3..5).is_err());
    let (start, end) = (3, 2);
    assert!(Composer::new(&mut [0; 4], start..end).is_err());
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let udp = || Step::Udp(7, 9, UdpChecksum::Computed);
    let refused = |steps: &[Step]| compose(b"", steps, (500, 60)).2.is_some();
    assert!(refused(&[udp(), udp()]));
    assert!(refused(&[Step::V4(64, 0)]), "data without protocol");
    assert!(refused(&[udp(), Step::Ethernet]));
    assert!(refused(&[udp(), Step::Pad]));
    assert!(refused(&[Step::Echo6(1), Step::V4(64, 0)]));
    assert!(refused(&[udp(), Step::Options(0), Step::V4(64, 0)]));
    assert!(refused(&[udp(), Step::HopByHop(0), Step::Options(0)]));
    assert!(!refused(&[udp(), Step::Options(0), Step::HopByHop(0), Step::V6(0)]));
    assert!(refused(&[udp(), Step::V4(64, 0), Step::Vxlan(1, UdpChecksum::Absent)]));
    assert!(refused(&[udp(), Step::Gre(false, None, None)]));
    assert!(!refused(&[udp(), Step::V4(64, 0), Step::V6(0), Step::V4(64, 0)]));
    // A fragment is composed in front of bytes, not of a whole datagram.
    let mut buffer = [0; 100];
    let mut composer = Composer::new(&mut buffer, 90..100).unwrap();
    composer.udp(7, 9).unwrap();
    let first = Ipv4Repr { more_fragments: true, ..ipv4_between(V4_A, V4_B) };
    assert!(composer.ipv4_with(&first, &[]).is_err());
    let kind = Kind::Protocol(protocol::UDP);
    let mut composer = Composer::with_kind(&mut buffer, 84..100, kind).unwrap();
    composer.ipv4_with(&first, &[]).unwrap().ethernet(MAC_B, MAC_A).unwrap();
    let fragment = dissect(LinkType::Ethernet, composer.bytes()).fragment().unwrap();
    assert!(fragment.more);
}

#[test]
fn an_802_3_frame_has_its_length_and_padding() {
    let steps = [Step::Arp, Step::Snap, Step::Vlan(false, 1, 5), Step::Ethernet, Step::Pad];
    let (frame, _, error) = compose(b"", &steps, (100, 60));
    assert_eq!((error, frame.len()), (None, 60));
    assert_eq!(frame[12..18], [0x81, 0, 0x20, 5, 0, 36]);
    assert_eq!(frame[18..26], [0xaa, 0xaa, 3, 0, 0, 0, 8, 6]);
    let level = dissect(LinkType::Ethernet, &frame);
    assert_eq!((level.network(), level.end_offset_bytes()), (Network::Arp, 54));
    assert_eq!(frame[54..], [0; 6]);
    // No tailroom, no padding.
    let (_, _, error) = compose(b"", &steps, (100, 5));
    let short = Error::Short {
        layer: Layer::Ethernet,
        offset_bytes: 54,
        needed_bytes: 6,
        available_bytes: 5,
    };
    assert_eq!(error, Some(short));
}

#[test]
fn neighbor_discovery_has_hop_limit_255_and_its_options() {
    use crate::icmpv6::ndp::{RouterAdvertisementRepr, validate};
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    for repr in [
        NdpRepr::RouterSolicitation,
        NdpRepr::RouterAdvertisement(RouterAdvertisementRepr::default()),
        NdpRepr::NeighborSolicitation { target: V6_B },
        NdpRepr::Redirect { target: V6_B, destination: V6_B },
    ] {
        let mut buffer = [0; 200];
        let mut composer = Composer::new(&mut buffer, 200..200).unwrap();
        let options = [NdpOption::SourceLinkLayer(&MAC_A.0), NdpOption::Mtu { mtu_bytes: 1280 }];
        composer.ndp(&repr, &options).unwrap().ipv6(link_local, V6_B).unwrap();
        let ip = Ipv6::new_checked(composer.bytes()).unwrap();
        assert_eq!(ip.hop_limit(), 255);
        assert_eq!(validate(ip.payload(), link_local, V6_B, 255), Ok(()));
        assert_eq!(NdpRepr::parse(ip.payload(), link_local, V6_B), Ok(repr));
    }
}
