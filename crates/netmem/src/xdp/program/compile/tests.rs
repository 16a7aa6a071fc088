//! The bytecode, run by the kernel, against `Rules::classify`.
//!
//! Planted and caught: ports or addresses not swapped, one swapped for the other; options ignored,
//! one word of them too few; each bounds check one byte short (the verifier) and long, or refusing a
//! frame that ends there; each fragment mask one bit short and long; ports of later fragments; a VLAN
//! id with its priority, of the inner tag, any id as priority; a tag of 0x9100, none of 0x88a8, not
//! skipped, its type not stored; header length 4, version 5; half of the ARP lengths unchecked; no
//! SCTP, no UDP-Lite, ICMP of any protocol; a prefix one bit long, an address sign-extended, a slot's
//! upper half left absent; absent as a fragment, as a first fragment; R1 trusted across a label; a
//! list without its own end, as the other list, empty ones swapped; `not` ignored; the next class
//! counted, or twice; taken frames passed, aborted without a socket, sent by interface index.
//! Of the tests that IPv4 and ARP do not have: the first two bytes of an extension header asked for; each
//! length in the other unit, that of a fragment header believed; five headers or seven, one more
//! believed to be the upper layer; `more fragments` of the last fragment header alone or one bit low,
//! its offset's highest bit ignored; a later fragment without protocol; no fragment field without a
//! fragment header; version 7; tags forgotten in the offset of the walk; neighbor messages of one type
//! only, cut off; flags cut off, or of byte 12; half of an address, one of them the other, a prefix one
//! bit off; absent as a multicast address, as flags; a range by signed comparison; a length one byte
//! off; the group bit of another byte; the Ethernet addresses exchanged; ports in IPv6 as nothing to
//! look for, all frames of a list as IPv4, a negation as its contrary's kind.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd, BorrowedFd},
};

use netmem_bpf::{MapKind, MapSpec, asm::disassemble};
use netmem_host::{
    lab::{NetNs, missing_privilege, skip},
    netlink::{AdminState, Route},
};
use netmem_wire::{
    MacAddr,
    filter::{Fields, Ipv4Net, Ipv6Net, ResponderConfig, Rule, responder},
};
use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{Config, TestRunner},
};

use super::*;
use crate::{
    link::Link,
    mem::{PageTier, Pool, PoolConfig, Region},
    sys::xsk,
    xdp::{RingSizes, builder::UmemOptions, program::XdpProgram, umem},
};

mod perfmon;

const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);

/// A loaded program, and what its counters should say.
struct Run<'r> {
    program: XdpProgram,
    rules: &'r Rules,
    counts: Vec<u64>,
    /// Whether queue 0 has a socket.
    redirects: bool,
}

impl<'r> Run<'r> {
    /// Loads the rules; `None` where this process may not, with the test recorded as skipped.
    fn load(test: &str, rules: &'r Rules) -> Option<Self> {
        match XdpProgram::load("netmem_compile", rules, 2) {
            Ok(program) => {
                let counts = vec![0; rules.class_count()];
                Some(Self { program, rules, counts, redirects: false })
            }
            Err(error) if error.errno() == Some(libc::EPERM) => {
                skip(test, &error.to_string());
                None
            }
            Err(error) => panic!("{error:?}\n{rules}"),
        }
    }

    /// Loads the rules, as [`load`](Self::load) could before, for a queue with a socket.
    fn load_with(test: &str, rules: &'r Rules, socket: BorrowedFd<'_>) -> Self {
        let mut run = Self::load(test, rules).expect("may load, as before");
        run.program.set_socket(0, socket).unwrap();
        run.redirects = true;
        run
    }

    /// Runs a frame; gives the index of its class and what became of it.
    fn classify(&mut self, frame: &[u8]) -> (usize, XdpAction) {
        let verdict = self.program.test_run(frame).unwrap();
        let (class, action) = self.rules.classify(&Fields::parse(frame));
        let redirected = self.redirects && action == Action::Take;
        let wanted = if redirected { XdpAction::Redirect } else { XdpAction::Pass };
        assert_eq!(verdict, wanted, "class {class} of {frame:02x?} by\n{}", self.rules);
        self.counts[class] += 1;
        let index = u32::try_from(class).unwrap();
        let counted = self.program.counters.as_ref().unwrap().sum_u64(index).unwrap();
        let rules = self.rules;
        assert_eq!(counted, self.counts[class], "class {class} of {frame:02x?} by\n{rules}");
        (class, verdict)
    }

    /// Checks that nothing else was counted: each frame was counted once, in its class.
    fn finish(self) {
        let counted: Vec<u64> =
            self.program.classes().unwrap().into_iter().map(|(_, count)| count).collect();
        assert_eq!(counted, self.counts, "by\n{}", self.rules);
    }
}

fn framed(tags: &[(u16, u16)], ether_type: u16, l3: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    for (tpid, control) in tags {
        frame.extend([tpid.to_be_bytes(), control.to_be_bytes()].concat());
    }
    frame.extend(ether_type.to_be_bytes());
    frame.extend(l3);
    frame
}

fn arp(operation: u8, target: Ipv4Addr) -> Vec<u8> {
    let mut packet = b"\0\x01\x08\0\x06\x04\0\x01......\x0a\0\0\x01......".to_vec();
    packet[7] = operation;
    packet.extend(target.octets());
    packet
}

/// An IPv4 packet to `OURS` with a header of `words` words and a ping as payload.
fn ip(protocol: u8, words: u8, fragment: u16) -> Vec<u8> {
    let mut packet = b"\x40\0\0\x1c\0\0\0\0\x40\x01\0\0\x0a\0\0\x01".to_vec();
    packet[0] |= words;
    packet[6..8].copy_from_slice(&fragment.to_be_bytes());
    packet[9] = protocol;
    packet.extend(OURS.octets());
    // The options look like no ping: type 3.
    packet.resize(usize::from(words.max(5)) * 4, 3);
    packet.extend(b"\x08\0\xf7\xff\0\0\0\0odd");
    packet
}

/// Frames of each kind with the class that they shall be in, by the responder's rules for `OURS`.
fn responder_frames() -> Vec<(Vec<u8>, &'static str)> {
    let plain = |ether_type, l3: &[u8]| framed(&[], ether_type, l3);
    let mut to_other = ip(1, 5, 0);
    to_other[19] = 3;
    let mut reply = ip(1, 5, 0);
    reply[20] = 0;
    let mut broken_arp = arp(1, OURS);
    broken_arp[5] = 6;
    let tagged = |tags: &[(u16, u16)]| framed(tags, 0x0800, &ip(1, 5, 0));
    let mut frames = vec![
        (plain(0x0806, &arp(1, OURS)), "arp_request"),
        (plain(0x0806, &[arp(1, OURS), vec![0; 18]].concat()), "arp_request"),
        (framed(&[(0x8100, 0xe000)], 0x0806, &arp(1, OURS)), "arp_request"),
        (plain(0x0806, &arp(1, OTHER)), "arp_other"),
        (plain(0x0806, &arp(2, OURS)), "arp_other"),
        (plain(0x0806, &broken_arp), "arp_other"),
        (framed(&[(0x8100, 5)], 0x0806, &arp(1, OURS)), "vlan"),
        (tagged(&[(0x8100, 0)]), "echo_request"),
        (tagged(&[(0x88a8, 0x1000)]), "echo_request"),
        (tagged(&[(0x8100, 5)]), "vlan"),
        (tagged(&[(0x88a8, 0), (0x8100, 0)]), "vlan"),
        (tagged(&[(0x8100, 0), (0x8100, 5), (0x8100, 0)]), "vlan"),
        (tagged(&[(0x9100, 0)]), "other"),
        // First fragment, one whose offset is the lowest and highest bit, unused bit, don't fragment.
        (plain(0x0800, &ip(1, 5, 0x2000)), "echo_request"),
        (plain(0x0800, &ip(1, 5, 0x0001)), "icmp_other"),
        (plain(0x0800, &ip(1, 5, 0x3000)), "icmp_other"),
        (plain(0x0800, &ip(1, 5, 0x8000)), "echo_request"),
        (plain(0x0800, &ip(1, 5, 0x4000)), "echo_request"),
        (plain(0x0800, &to_other), "icmp_other"),
        (plain(0x0800, &reply), "icmp_other"),
        (plain(0x0800, &ip(6, 5, 0)), "tcp"),
        (plain(0x0800, &ip(17, 6, 0)), "udp"),
        (plain(0x0800, &ip(47, 5, 0)), "ipv4_other"),
        (plain(0x0800, &ip(1, 4, 0)), "ipv4_other"),
        (plain(0x86dd, &[0x60; 60]), "ipv6"),
        (plain(0x88cc, &[0; 46]), "other"),
    ];
    frames.extend((5..=15).map(|words| (plain(0x0800, &ip(1, words, 0)), "echo_request")));
    frames
}

#[test]
fn the_responder_decides_as_specified_at_every_length() {
    let rules = responder(&ResponderConfig::ipv4(&[OURS]));
    let Some(mut run) = Run::load("the_responder_decides_as_specified_at_every_length", &rules)
    else {
        return;
    };
    let names: Vec<&str> = rules.classes().collect();
    for (frame, name) in responder_frames() {
        let (class, verdict) = run.classify(&frame);
        assert_eq!(names[class], name, "{frame:02x?}");
        // There is no socket: what is taken passes.
        assert_eq!(verdict, XdpAction::Pass);
        for len in 14..frame.len() {
            run.classify(&frame[..len]);
        }
    }
    run.finish();
}

/// The responder with IPv6, networks and a filter in front, at every length of frames of each class.
#[test]
fn the_full_responder_decides_as_specified_at_every_length() {
    const NAME: &str = "the_full_responder_decides_as_specified_at_every_length";
    const OURS6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
    let rules = responder(&ResponderConfig {
        addresses6: [OURS6].into(),
        proxied: ["10.1.0.0/16".parse().unwrap()].into(),
        proxied6: ["2001:db8:1::/48".parse().unwrap()].into(),
        only: Some("not net 10.9/16 and not ip6 src net 2001:db8:9::/48".parse().unwrap()),
        ..ResponderConfig::ipv4(&[OURS])
    });
    let Some(mut run) = Run::load(NAME, &rules) else { return };
    let at = |text: &str| text.parse::<Ipv6Addr>().unwrap();
    let ipv6 = |from: &str, to: Ipv6Addr, next: u8, rest: &[u8]| {
        let head = [0x60, 0, 0, 0, 0, 0, next, 255];
        framed(&[], 0x86dd, &[&head[..], &at(from).octets(), &to.octets(), rest].concat())
    };
    let ask = |from, target: &str| {
        let message = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &at(target).octets(), b"option"].concat();
        ipv6(from, at("ff02::1"), 58, &message)
    };
    let ping = [128, 0, 0, 0, 0, 0, 0, 0];
    let behind = |first: u8| [&[first, 0, 1, 4, 0, 0, 0, 0][..], &ping].concat();
    let mut announced = arp(1, Ipv4Addr::new(10, 1, 2, 3));
    let mut frames = vec![
        (framed(&[], 0x0806, &announced), "arp_proxy"),
        (ask("fe80::1", "2001:db8::2"), "neighbor_solicitation"),
        (ask("::", "2001:db8::2"), "neighbor_solicitation"),
        (ask("fe80::1", "2001:db8:1::2"), "ndp_proxy"),
        (ask("::", "2001:db8:1::2"), "icmp6_other"),
        (ask("2001:db8:9::1", "2001:db8::2"), "outside_filter"),
        (ipv6("fe80::1", OURS6, 58, &ping), "echo_request6"),
        (ipv6("fe80::1", at("2001:db8::3"), 58, &ping), "icmp6_other"),
        (ipv6("fe80::1", OURS6, 0, &behind(58)), "echo_request6"),
        (ipv6("fe80::1", OURS6, 60, &behind(17)), "ipv6"),
        (ipv6("fe80::1", OURS6, 44, &[58, 0, 0, 1, 0, 0, 0, 1, 128, 0, 0, 0]), "echo_request6"),
        (ipv6("fe80::1", OURS6, 44, &[58, 0, 0, 8, 0, 0, 0, 1, 128, 0, 0, 0]), "icmp6_other"),
        (ipv6("fe80::1", OURS6, 6, &[0; 20]), "ipv6"),
    ];
    announced[14..18].fill(0);
    frames.push((framed(&[], 0x0806, &announced), "arp_other"));
    frames.extend(responder_frames());
    let names: Vec<&str> = rules.classes().collect();
    for (frame, name) in frames {
        assert_eq!(names[run.classify(&frame).0], name, "{frame:02x?}");
        for len in 14..frame.len() {
            run.classify(&frame[..len]);
        }
    }
    run.finish();
}

/// Calls `check` with a socket that is bound to queue 0 of the loopback interface of a namespace of
/// its own; without privilege the test is recorded as skipped.
fn with_socket(test: &str, check: impl FnOnce(BorrowedFd<'_>) + Send) {
    if let Some(missing) = missing_privilege() {
        return skip(test, &missing);
    }
    let check = || {
        Route::open().unwrap().set_state("lo", AdminState::Up).unwrap();
        let region = Region::builder(16 * 2048).tiers(&[PageTier::Base4K]).build().unwrap();
        let pool = Pool::new(region, PoolConfig::default()).unwrap();
        let shape = umem::Shape::of(&pool, UmemOptions::default()).unwrap();
        let socket = umem::open(&pool, &shape).unwrap().fd;
        let sizes = RingSizes { rx: 2, tx: 2, fill: 2, completion: 2 };
        umem::set_ring_sizes(socket.as_fd(), &sizes).unwrap();
        let _rings = umem::map_rings(socket.as_fd(), &sizes).unwrap();
        let lo = Link::by_name("lo").unwrap().index;
        let to = xsk::BindTo::Own { flags: xsk::XDP_COPY };
        xsk::bind(socket.as_fd(), lo, 0, &to).unwrap();
        check(socket.as_fd());
    };
    NetNs::create().unwrap().run(check).unwrap();
}

#[test]
fn taken_frames_go_to_the_socket_of_their_queue() {
    const NAME: &str = "taken_frames_go_to_the_socket_of_their_queue";
    with_socket(NAME, |socket| {
        let rules = responder(&ResponderConfig::ipv4(&[OURS]));
        let Some(mut run) = Run::load(NAME, &rules) else { return };
        let request = framed(&[], 0x0806, &arp(1, OURS));
        // Test runs are on queue 0, which has no socket yet.
        run.program.set_socket(1, socket).unwrap();
        assert_eq!(run.classify(&request), (0, XdpAction::Pass));
        run.program.set_socket(0, socket).unwrap();
        run.redirects = true;
        for (frame, name) in responder_frames() {
            let is_ours = name == "arp_request" || name == "echo_request";
            let wanted = if is_ours { XdpAction::Redirect } else { XdpAction::Pass };
            assert_eq!(run.classify(&frame).1, wanted, "{name}: {frame:02x?}");
        }
        run.finish();
    });
}

/// Values that tests ask for and frames have: a few, so that they meet, some of them another's bytes
/// in the other order.
fn number() -> impl Strategy<Value = u16> {
    prop_oneof![8 => select(vec![0_u16, 1, 53, 0x3500, 0xffff]), 1 => any::<u16>()]
}

fn ether_types() -> impl Strategy<Value = u16> {
    let known = select(vec![0x0800_u16, 0x0806, 0x86dd, 0x8100, 0x88a8, 0x9100, 0x0008, 0]);
    prop_oneof![8 => known, 1 => any::<u16>()]
}

fn protocols() -> impl Strategy<Value = u8> {
    prop_oneof![8 => select(vec![1_u8, 6, 17, 132, 136]), 1 => any::<u8>()]
}

fn addresses() -> impl Strategy<Value = [u8; 4]> {
    let known = [[10, 0, 0, 1], [1, 0, 0, 10], [10, 0, 128, 1], [0; 4], [255; 4], [128, 0, 0, 0]];
    prop_oneof![8 => select(known.to_vec()), 1 => any::<[u8; 4]>()]
}

fn nets() -> impl Strategy<Value = Ipv4Net> {
    let prefix_len = prop_oneof![2 => Just(32_u8), 1 => select(vec![0_u8, 1, 31]), 2 => 0..=32_u8];
    (addresses(), prefix_len).prop_map(|(address, len)| Ipv4Net::new(address.into(), len).unwrap())
}

fn tests() -> impl Strategy<Value = Test> {
    prop_oneof![old_tests(), new_tests()]
}

/// Tests on ARP, IPv4 and what IPv6 has as well.
fn old_tests() -> impl Strategy<Value = Test> {
    let vlan_ids = select(vec![0_u16, 5, 0x500, 0x1005, 0xffff]);
    prop_oneof![
        ether_types().prop_map(Test::EtherType),
        prop::option::of(vlan_ids).prop_map(Test::Vlan),
        Just(Test::UntaggedOrPriority),
        number().prop_map(Test::ArpOperation),
        nets().prop_map(Test::ArpTarget),
        nets().prop_map(Test::ArpSender),
        Just(Test::Ipv4),
        protocols().prop_map(Test::IpProtocol),
        nets().prop_map(Test::SourceNet),
        nets().prop_map(Test::DestinationNet),
        Just(Test::FirstFragment),
        Just(Test::Fragment),
        select(vec![0_u8, 1, 53, 255]).prop_map(Test::IcmpType),
        select(vec![0_u8, 1, 53, 255]).prop_map(Test::IcmpCode),
        number().prop_map(Test::SourcePort),
        number().prop_map(Test::DestinationPort),
        (number(), number()).prop_map(|(first, last)| Test::SourcePortIn { first, last }),
        (number(), number()).prop_map(|(first, last)| Test::DestinationPortIn { first, last }),
    ]
}

/// Tests on what IPv4 and ARP do not have.
fn new_tests() -> impl Strategy<Value = Test> {
    let flags = || select(vec![0_u8, 0x02, 0x12, 0x10, 0xff, 0x80]);
    let len_bytes =
        prop_oneof![8 => 0_u32..160, 1 => select(vec![2150_u32, 1 << 16, 1 << 28, u32::MAX])];
    prop_oneof![
        macs().prop_map(Test::SourceMac),
        macs().prop_map(Test::DestinationMac),
        Just(Test::DestinationMacGroup),
        Just(Test::Ipv6),
        upper_protocols().prop_map(Test::Ip6Protocol),
        nets6().prop_map(Test::Source6Net),
        nets6().prop_map(Test::Destination6Net),
        select(vec![0_u8, 135, 136, 53, 255]).prop_map(Test::Icmp6Type),
        nets6().prop_map(Test::NdTarget),
        (flags(), flags()).prop_map(|(mask, value)| Test::TcpFlags { mask, value }),
        len_bytes.prop_map(Test::LenAtLeast),
    ]
}

fn macs() -> impl Strategy<Value = MacAddr> {
    let known = [[2; 6], [3, 2, 2, 2, 2, 2], [0xff; 6], [0x33, 0x33, 0, 0, 0, 1], [0; 6]];
    select(known.to_vec()).prop_map(MacAddr)
}

fn upper_protocols() -> impl Strategy<Value = u8> {
    let known = select(vec![58_u8, 6, 17, 132, 136, 1, 59, 0, 43, 44, 51, 60]);
    prop_oneof![4 => Just(58), 2 => Just(6), 8 => known, 1 => any::<u8>()]
}

/// Some differ in one half only.
fn addresses6() -> impl Strategy<Value = Ipv6Addr> {
    let known =
        ["::", "::1", "fe80::1", "fe80::2", "fe80:0:0:1::1", "ff02::1:ff00:1", "ff02::1:ff00:2"];
    let known = known.map(|address| address.parse().unwrap());
    let ones = [u128::MAX, u128::MAX - 1, u128::MAX << 64, u128::MAX >> 64].map(Ipv6Addr::from);
    select([known.to_vec(), ones.to_vec()].concat())
}

fn nets6() -> impl Strategy<Value = Ipv6Net> {
    let known = select(vec![0_u8, 1, 8, 31, 32, 33, 63, 64, 65, 96, 104, 127, 128]);
    let prefix_len = prop_oneof![2 => Just(128_u8), 3 => known, 1 => 0..=128_u8];
    (addresses6(), prefix_len).prop_map(|(address, len)| Ipv6Net::new(address, len).unwrap())
}

fn exprs() -> impl Strategy<Value = Expr> {
    let leaf = prop_oneof![
        16 => tests().prop_map(Expr::Test),
        1 => Just(Expr::Always),
        1 => Just(Expr::Never),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(Expr::not),
            vec(inner.clone(), 0..4).prop_map(Expr::All),
            vec(inner, 0..4).prop_map(Expr::Any),
        ]
    })
}

fn rules() -> impl Strategy<Value = Rules> {
    let action = prop_oneof![Just(Action::Take), Just(Action::Pass)];
    let rule = (exprs(), action).prop_map(|(when, action)| Rule::new("class", when, action));
    vec(rule, 0..6).prop_map(Rules::new)
}

fn arp_bytes() -> impl Strategy<Value = Vec<u8>> {
    (number(), addresses(), addresses(), 0_usize..24).prop_map(|(operation, sender, target, at)| {
        let mut packet = arp(1, target.into());
        packet[6..8].copy_from_slice(&operation.to_be_bytes());
        packet[14..18].copy_from_slice(&sender);
        if at < 6 {
            packet[at] ^= 1;
        }
        packet
    })
}

fn ipv4_bytes() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![4 => Just(0x45_u8), 4 => 0x44_u8..=0x50, 1 => any::<u8>()];
    let fragment = prop_oneof![6 => Just(0_u16), 3 => select(vec![0x2000, 1, 0x1000, 0xc000]), 1 => any::<u16>()];
    let header = (first, fragment, protocols(), addresses(), addresses());
    (header, number(), number(), 0_usize..8).prop_map(
        |((first, fragment, protocol, source, destination), port, other_port, more)| {
            let mut packet = ip(protocol, first & 15, fragment);
            packet[0] = first;
            packet[12..16].copy_from_slice(&source);
            packet[16..20].copy_from_slice(&destination);
            packet.truncate(usize::from(first & 15).max(5) * 4);
            packet.extend(port.to_be_bytes());
            packet.extend(other_port.to_be_bytes());
            packet.resize(packet.len() + more, 0);
            packet
        },
    )
}

/// An extension header of this kind, but for its next header.
fn extension(kind: u8, len: u8, word: u16) -> Vec<u8> {
    let len_bytes = match kind {
        44 => 8,
        51 => 8 + 4 * usize::from(len),
        _ => 8 + 8 * usize::from(len),
    };
    let mut rest = vec![3; len_bytes - 1];
    rest[0] = len;
    if kind == 44 {
        rest[1..3].copy_from_slice(&word.to_be_bytes());
    }
    rest
}

/// An IPv6 packet with these extension headers, the last of which says `protocol`.
fn ip6(extensions: &[(u8, Vec<u8>)], protocol: u8, l4: &[u8]) -> Vec<u8> {
    let mut kinds = extensions.iter().map(|extension| extension.0).chain([protocol]);
    let mut next = || kinds.next().unwrap();
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, next(), 64];
    packet.extend(Ipv6Addr::LOCALHOST.octets().repeat(2));
    for (_, rest) in extensions {
        packet.push(next());
        packet.extend(rest);
    }
    packet.extend(l4);
    packet
}

fn extensions() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let word =
        prop_oneof![3 => Just(0_u16), 3 => Just(1), 1 => select(vec![6_u16, 8, 9, 0x8000, 0xfff9])];
    let len = prop_oneof![40 => 0_u8..4, 1 => Just(255)];
    let one = (select(vec![0_u8, 43, 44, 51, 60]), len, word)
        .prop_map(|(kind, len, word)| (kind, extension(kind, len, word)));
    // One of the longest only, so that the frame fits a test run.
    prop_oneof![2 => Just(Vec::new()), 2 => vec(one.clone(), 1..3), 2 => vec(one, 0..9)].prop_map(
        |mut all| {
            let mut seen = false;
            all.retain(|extension| extension.1.len() < 1000 || !std::mem::replace(&mut seen, true));
            all
        },
    )
}

fn ipv6_bytes() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![20 => 0x60_u8..0x70, 1 => any::<u8>()];
    let icmp_type = select(vec![135_u8, 136, 0, 53]);
    let len = prop_oneof![1 => Just(24), 1 => 0_usize..24];
    let flags = select(vec![0_u8, 0x02, 0x12, 0x10, 0xff, 0x80]);
    let l4 = (icmp_type, number(), number(), flags, addresses6(), len).prop_map(
        |(icmp_type, port, other, flags, target, len)| {
            let mut l4 = [port.to_be_bytes(), other.to_be_bytes()].concat();
            l4.extend([0; 4]);
            l4.extend(target.octets());
            (l4[0], l4[13]) = if flags == 0 { (0, 0) } else { (icmp_type, flags) };
            l4.resize(l4.len().min(len), 7);
            l4
        },
    );
    (first, addresses6(), addresses6(), extensions(), upper_protocols(), l4).prop_map(
        |(first, source, destination, extensions, protocol, l4)| {
            let mut packet = ip6(&extensions, protocol, &l4);
            packet[0] = first;
            packet[8..24].copy_from_slice(&source.octets());
            packet[24..40].copy_from_slice(&destination.octets());
            packet
        },
    )
}

/// Frames with no to three tags around ARP, IPv4, IPv6 or anything, many of them damaged or cut off.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let control = select(vec![0_u16, 0xe000, 5, 0x1005, 0x0500, 0x0fff]);
    let tags = vec((select(vec![0x8100_u16, 0x88a8]), control), 0..4);
    let l3 = prop_oneof![
        4 => (Just(0x0800_u16), ipv4_bytes()),
        2 => (Just(0x0806_u16), arp_bytes()),
        8 => (Just(0x86dd_u16), ipv6_bytes()),
        1 => (ether_types(), ipv4_bytes()),
        1 => (ether_types(), vec(any::<u8>(), 0..60)),
    ];
    let flip = prop::option::weighted(0.2, (any::<prop::sample::Index>(), any::<u8>()));
    let cut = prop::option::weighted(0.3, any::<prop::sample::Index>());
    (tags, l3, flip, cut, macs()).prop_map(|(tags, (ether_type, l3), flip, cut, mac)| {
        let mut frame = framed(&tags, ether_type, &l3);
        frame[..6].copy_from_slice(&mac.0);
        if let Some((at, bits)) = flip {
            let at = at.index(frame.len());
            frame[at] ^= bits;
        }
        if let Some(cut) = cut {
            frame.truncate(14 + cut.index(frame.len() - 13));
        }
        frame
    })
}

#[test]
fn both_back_ends_agree() {
    const NAME: &str = "both_back_ends_agree";
    let config = Config { cases: 1000, failure_persistence: None, ..Config::default() };
    with_socket(NAME, |socket| {
        let check = |(rules, frames): (Rules, Vec<Vec<u8>>)| {
            let mut run = Run::load_with(NAME, &rules, socket);
            for frame in frames {
                run.classify(&frame);
            }
            run.finish();
            Ok(())
        };
        TestRunner::new(config).run(&(rules(), vec(frames(), 64)), check).unwrap();
    });
}

/// Each test alone, and its negation, over frames that have the value and frames that do not.
#[test]
fn each_test_alone_says_yes_and_no() {
    const NAME: &str = "each_test_alone_says_yes_and_no";
    let config = Config { cases: 600, failure_persistence: None, ..Config::default() };
    with_socket(NAME, |socket| {
        let check = |(test, frames): (Test, Vec<Vec<u8>>)| {
            // Both conditions are never constant together, so neither is folded away here.
            let rules = [Expr::not(test), test.into()];
            let rules = Rules::new(rules.map(|when| Rule::new("", when, Action::Take)));
            let mut run = Run::load_with(NAME, &rules, socket);
            for frame in frames {
                run.classify(&frame);
            }
            assert_eq!(run.counts[2], 0);
            run.finish();
            Ok(())
        };
        TestRunner::new(config).run(&(tests(), vec(frames(), 64)), check).unwrap();
    });
}

/// IPv6 frames at every length, by a few random tests, and by those on what lies deepest.
#[test]
fn ipv6_is_parsed_as_specified_at_every_length() {
    const NAME: &str = "ipv6_is_parsed_as_specified_at_every_length";
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    let deepest = [
        Test::NdTarget("fe80::1/128".parse().unwrap()),
        Test::NdTarget("::/0".parse().unwrap()),
        Test::TcpFlags { mask: 0xff, value: 0x12 },
        Test::TcpFlags { mask: 0, value: 0 },
        Test::Icmp6Type(0),
        Test::DestinationPortIn { first: 0, last: 0xffff },
        Test::Fragment,
        Test::Ip6Protocol(60),
        Test::FirstFragment,
    ];
    let each = |test: &Test| Rule::new("", (*test).into(), Action::Take);
    let deepest = Rules::new(deepest.iter().map(each));
    fn run(rules: &Rules, packets: &[Vec<u8>], socket: BorrowedFd<'_>) {
        let mut run = Run::load_with(NAME, rules, socket);
        for packet in packets {
            let frame = framed(&[], 0x86dd, packet);
            for len in 14..=frame.len() {
                run.classify(&frame[..len]);
            }
        }
        run.finish();
    }
    with_socket(NAME, |socket| {
        let check = |(tests, packets): (Vec<Test>, Vec<Vec<u8>>)| {
            run(&deepest, &packets, socket);
            run(&Rules::new(tests.iter().map(each)), &packets, socket);
            Ok(())
        };
        let input = (vec(new_tests(), 1..8), vec(ipv6_bytes(), 24));
        TestRunner::new(config).run(&input, check).unwrap();
    });
}

/// The packets of a capture file in the classic format, of whatever link type: where it is not
/// Ethernet, the bytes are frames that nobody would send.
fn packets_of(file: &[u8]) -> Vec<&[u8]> {
    let big_endian = match file.get(..4) {
        Some([0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d]) => true,
        Some([0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1]) => false,
        _ => return Vec::new(),
    };
    let mut packets = Vec::new();
    let mut rest = file.get(24..).unwrap_or_default();
    while let Some((header, after)) = rest.split_first_chunk::<16>() {
        let word = [header[8], header[9], header[10], header[11]];
        let captured = if big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) };
        let Some(packet) = after.get(..usize::try_from(captured).unwrap()) else { break };
        packets.push(packet);
        rest = &after[packet.len()..];
    }
    packets
}

/// The captures that are kept with the sources, or those in `NETMEM_PCAPS`.
fn captured_frames() -> Vec<Vec<u8>> {
    const CAPTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/pcaps");
    /// What fits a page with the room that a test run keeps.
    const FRAME_MAX_BYTES: usize = 3000;
    let directory = std::env::var_os("NETMEM_PCAPS").unwrap_or_else(|| CAPTURES.into());
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut frames = Vec::new();
    for entry in entries {
        let Ok(file) = std::fs::read(entry.unwrap().path()) else { continue };
        let packets = packets_of(&file).into_iter().filter(|packet| packet.len() >= 14);
        frames.extend(packets.map(|packet| packet[..packet.len().min(FRAME_MAX_BYTES)].to_vec()));
    }
    frames
}

#[test]
fn both_back_ends_agree_on_captured_frames() {
    const NAME: &str = "both_back_ends_agree_on_captured_frames";
    let frames = captured_frames();
    if frames.is_empty() {
        return skip(NAME, "no captures in tests/pcaps");
    }
    let nets = |text: &str| text.parse::<Ipv4Net>().unwrap();
    let nets6 = |text: &str| text.parse::<Ipv6Net>().unwrap();
    // The first few that match decide: the rarer come first, and then once more in reverse.
    let tests = [
        Test::NdTarget(nets6("fe80::/10")),
        Test::TcpFlags { mask: 0x12, value: 0x02 },
        Test::Icmp6Type(143),
        Test::IcmpCode(1),
        Test::Fragment,
        Test::Vlan(None),
        Test::Destination6Net(nets6("ff02::1:ff00:0/104")),
        Test::Ip6Protocol(58),
        Test::SourcePortIn { first: 1024, last: 49151 },
        Test::Source6Net(nets6("2000::/3")),
        Test::IcmpType(8),
        Test::DestinationPort(53),
        Test::SourceNet(nets("10.0.0.0/8")),
        Test::DestinationMac(MacAddr::BROADCAST),
        Test::DestinationMacGroup,
        Test::ArpOperation(1),
        Test::Ipv6,
        Test::FirstFragment,
        Test::LenAtLeast(128),
        Test::UntaggedOrPriority,
    ];
    with_socket(NAME, |socket| {
        let mut matched = [0; 20];
        for (index, test) in tests.into_iter().enumerate() {
            let alone = Rules::new([Rule::new("", test.into(), Action::Take)]);
            let mut run = Run::load_with(NAME, &alone, socket);
            for frame in &frames {
                run.classify(frame);
            }
            matched[index] = run.counts[0];
            run.finish();
        }
        let each = |test: &Test| Rule::new("", (*test).into(), Action::Take);
        for rules in
            [Rules::new(tests.iter().map(each)), Rules::new(tests.iter().rev().skip(3).map(each))]
        {
            let mut run = Run::load_with(NAME, &rules, socket);
            for frame in &frames {
                run.classify(frame);
            }
            run.finish();
        }
        assert!(matched.iter().filter(|count| **count > 0).count() > 10, "{matched:?}");
    });
}

/// The maps of a program that is not loaded; `None` as for [`Run::load`].
fn maps(test: &str) -> Option<(Map, Map)> {
    let map = |kind, value_bytes| {
        Map::create(&MapSpec { kind, key_bytes: 4, value_bytes, max_entries: 16, name: "" })
    };
    match map(MapKind::XskMap, 4) {
        Ok(sockets) => Some((sockets, map(MapKind::PerCpuArray, 8).unwrap())),
        Err(error) if error.errno() == Some(libc::EPERM) => {
            skip(test, &error.to_string());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn any_of(addresses: u32) -> Rules {
    let addresses = (0..addresses).map(|index| Ipv4Addr::from_bits(0x0a00_0000 + index));
    let tests = addresses.map(|address| Test::DestinationNet(address.into()));
    Rules::new([Rule::new("ours", Expr::any(tests), Action::Take)])
}

#[test]
fn long_lists_load_and_too_long_ones_are_told() {
    const NAME: &str = "long_lists_load_and_too_long_ones_are_told";
    let rules = any_of(4000);
    let Some(mut run) = Run::load(NAME, &rules) else { return };
    for (last, class) in [([10, 0, 0, 0], 0), ([10, 0, 15, 159], 0), ([10, 0, 15, 160], 1)] {
        let mut packet = ip(6, 5, 0);
        packet[16..20].copy_from_slice(&last);
        assert_eq!(run.classify(&framed(&[], 0x0800, &packet)).0, class);
    }
    let (sockets, counters) = maps(NAME).expect("may make maps, as above");
    // All but the last address jump over the rest of the list.
    assert!(matches!(
        compile(&any_of(20_000), &sockets, &counters),
        Err(AsmError::JumpTooFar { .. })
    ));
    // It fits the assembler, not the verifier.
    let error = XdpProgram::load("netmem_compile", &any_of(10_000), 1).unwrap_err();
    assert!(error.to_string().contains("too complex"), "{error}");
}

/// Without CAP_PERFMON the verifier refuses `(0f) r7 += r3`.
#[test]
fn the_responder_is_short_and_adds_no_variable_to_a_pointer() {
    let name = "the_responder_is_short_and_adds_no_variable_to_a_pointer";
    let Some((sockets, counters)) = maps(name) else { return };
    let ours: Vec<Ipv4Addr> = (1..17).map(|last| Ipv4Addr::new(10, 0, 0, last)).collect();
    let code = |count| {
        compile(&responder(&ResponderConfig::ipv4(&ours[..count])), &sockets, &counters).unwrap()
    };
    let (one, sixteen) = (code(1).len(), code(16).len());
    assert!(one <= 200, "{one} instructions");
    assert_eq!(sixteen - one, 15 * 2 * 2, "two instructions per address in two lists");
    let text = disassemble(&code(16));
    assert!(!text.contains("(0f)"));
    // It asks for IPv6 by Ethernet type once, and reads nothing of it.
    assert!(text.matches("0x86dd").count() == 1 && !text.contains("xdp_load_bytes"), "{text}");
}

#[test]
fn what_no_test_reads_is_not_parsed() {
    let Some((sockets, counters)) = maps("what_no_test_reads_is_not_parsed") else { return };
    let code = |expr| {
        let rules = Rules::new([Rule::new("", expr, Action::Take)]);
        disassemble(&compile(&rules, &sockets, &counters).unwrap())
    };
    let arp = code(Test::ArpOperation(1).into());
    assert!(arp.contains("0x806") && !arp.contains("0x800 "), "{arp}");
    // Behind extension headers nothing is looked for, nor anything of the other family.
    let of_ipv6 = code(Expr::all([Test::Ipv6, Test::Source6Net(Ipv6Addr::LOCALHOST.into())]));
    assert!(of_ipv6.contains("0x86dd") && !of_ipv6.contains("0x800 "), "{of_ipv6}");
    assert!(!of_ipv6.contains("xdp_load_bytes"), "{of_ipv6}");
    let port = Test::DestinationPort(53);
    let datagrams = code(Expr::all([Test::IpProtocol(17), port]));
    assert!(!datagrams.contains("0x86dd"), "{datagrams}");
    let both = code(Expr::any([Test::IpProtocol(17), port]));
    assert!(both.contains("0x86dd") && both.contains("0x800 "), "{both}");
    assert_eq!(both.matches("xdp_load_bytes").count(), 6 + 1, "{both}");
    // Neither default nor its tail is there, which nothing would reach.
    let all = code(Expr::Always);
    assert_eq!(all.matches("exit").count(), 1, "{all}");
}
