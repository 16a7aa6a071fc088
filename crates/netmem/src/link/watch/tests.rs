//! Each thing that can happen to an interface, done to a veth in a namespace of its own: exactly the
//! event of that name, once.
//!
//! Planted and caught: a carrier that goes with a link set down told beside it; flaps counted twice, not
//! across the wrap of their count; fewer queues not told; programs told apart by mode only, one taken off
//! not told; a size that just fits told not to; what was not told once never compared again; the last
//! look kept for ever; messages of a bridge, of another interface or cut short believed, those of a move
//! taken for an end, not looked at while an interface of that index is there, only one read by a look;
//! lost messages as an error; an interface that has left asked for again; the peer's namespace and its
//! checksums mistaken.

use std::{os::fd::AsRawFd, time::Duration};

use netlink_packet_core::Emitable;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, LinkXdp};
use netmem_bpf::{
    AttachMode, Frags, LoadSpec, Program, XdpAction, XdpLink,
    asm::{Assembler, Reg},
};
use netmem_host::{
    lab::{NetNs, missing_privilege, skip},
    netlink::{AdminState, LinkSpec, Route},
};

use super::*;
use crate::{
    link::{AttachedProgram, DriverRings, Peer, Untold, XdpFeatures, ethtool::Ethtool},
    sys::socket,
};

const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// A veth pair, `near` and `far`, in a namespace of its own, and the watch of `near`.
struct Pair {
    route: Route,
    watch: LinkWatch,
}

/// Runs `check` in a namespace with a pair whose ends are up; without privilege the test is recorded
/// as skipped.
fn with_pair(test: &str, check: impl FnOnce(&mut Pair) + Send) {
    if let Some(missing) = missing_privilege() {
        return skip(test, &missing);
    }
    let check = || {
        let mut route = Route::open().unwrap();
        let mut near = LinkSpec::new("near");
        (near.rx_queues, near.tx_queues) = (Some(4), Some(4));
        route.create_veth(&near, &LinkSpec::new("far"), NetNs::current().unwrap()).unwrap();
        route.set_state("near", AdminState::Up).unwrap();
        route.set_state("far", AdminState::Up).unwrap();
        let watch = LinkWatch::new(&Link::by_name("near").unwrap()).unwrap();
        check(&mut Pair { route, watch });
    };
    NetNs::create().unwrap().run(check).unwrap();
}

impl Pair {
    /// Does something, and checks that the watch tells it as `expected`, once.
    fn expect(&mut self, act: impl FnOnce(&mut Self), expected: &[LinkEvent]) {
        act(self);
        assert_eq!(self.watch.look().unwrap(), expected);
        assert_eq!(self.watch.look().unwrap(), [], "told twice: {expected:?}");
    }

    fn set(&mut self, name: &str, state: AdminState) {
        self.route.set_state(name, state).unwrap();
    }

    /// Changes `near` by route netlink.
    fn change(&mut self, attribute: LinkAttribute) {
        let mut request = LinkMessage::default();
        request.header.index = self.watch.link().index;
        request.attributes.push(attribute);
        let mut connection = Connection::open(NETLINK_ROUTE).unwrap();
        connection.ask((libc::RTM_SETLINK, 0), &request, |_| Ok(())).unwrap();
    }

    /// Sets the program of `near` without a link, over one that is there; -1 takes it off.
    fn set_program(&mut self, fd: i32) {
        let xdp = vec![LinkXdp::Fd(fd), LinkXdp::Flags(XDP_FLAGS_DRV_MODE)];
        self.change(LinkAttribute::Xdp(xdp));
    }
}

fn pass(name: &str) -> Program {
    let mut assembler = Assembler::new();
    assembler.mov(Reg::R0, XdpAction::Pass).exit();
    let instructions = assembler.finish().unwrap();
    Program::load(&LoadSpec { name, instructions: &instructions, frags: Frags::No }).unwrap()
}

#[test]
fn lab_up_down_and_carrier_are_told_once() {
    with_pair("lab_up_down_and_carrier_are_told_once", |pair| {
        use AdminState::{Down, Up};
        pair.expect(|_| {}, &[]);
        pair.expect(|pair| pair.set("near", Down), &[LinkEvent::Down]);
        pair.expect(|pair| pair.set("near", Up), &[LinkEvent::Up]);
        pair.expect(|pair| pair.set("far", Down), &[LinkEvent::CarrierLost]);
        pair.expect(|pair| pair.set("far", Up), &[LinkEvent::CarrierBack]);
        // Between two looks, up at the end as at the beginning.
        let flap = |pair: &mut Pair| {
            for _ in 0..3 {
                pair.set("far", Down);
                pair.set("far", Up);
            }
        };
        pair.expect(flap, &[LinkEvent::Flapped { times: 3 }]);
        let flap_and_lose = |pair: &mut Pair| {
            flap(pair);
            pair.set("far", Down);
        };
        pair.expect(flap_and_lose, &[LinkEvent::CarrierLost, LinkEvent::Flapped { times: 3 }]);
        // Without a carrier, setting it down changes none.
        pair.expect(|pair| pair.set("near", Down), &[LinkEvent::Down]);
        pair.expect(|pair| pair.set("near", Up), &[LinkEvent::Up]);
    });
}

#[test]
fn lab_changes_of_size_queues_name_and_address_are_told_once() {
    with_pair("lab_changes_of_size_queues_name_and_address_are_told_once", |pair| {
        let mtu = |from_bytes, to_bytes, longest_bytes| {
            [LinkEvent::MtuChanged { from_bytes, to_bytes, longest_bytes }]
        };
        let set_mtu = |mtu: u32| move |pair: &mut Pair| pair.route.set_mtu("near", mtu).unwrap();
        pair.expect(set_mtu(9000), &mtu(1500, 9000, None));
        let watch = LinkWatch::new(&Link::by_name("near").unwrap()).unwrap();
        pair.watch = watch.longest_packet(1792);
        pair.expect(set_mtu(1779), &mtu(9000, 1779, Some(1792)));
        pair.expect(set_mtu(1778), &mtu(1779, 1778, None));

        let from = pair.watch.link().mac;
        let to = [2, 0, 0, 0, 0, 9];
        let set_mac = |pair: &mut Pair| pair.route.set_mac("near", to).unwrap();
        pair.expect(set_mac, &[LinkEvent::AddressChanged { from, to: Some(to) }]);

        let index = pair.watch.link().index;
        let channels =
            |rx| move |_: &mut Pair| Ethtool::open().unwrap().set_channels(index, rx, 4).unwrap();
        // A veth that is up restarts for it, without a carrier meanwhile.
        let restarted = LinkEvent::Flapped { times: 1 };
        pair.expect(channels(2), &[restarted, LinkEvent::QueuesChanged { from: 4, to: 2 }]);
        pair.expect(|pair| pair.set("near", AdminState::Down), &[LinkEvent::Down]);
        pair.expect(channels(3), &[LinkEvent::QueuesChanged { from: 2, to: 3 }]);

        // Older kernels rename only what is down.
        let renamed = LinkEvent::Renamed { from: "near".to_owned(), to: "new".to_owned() };
        pair.expect(|pair| pair.change(LinkAttribute::IfName("new".to_owned())), &[renamed]);
        assert_eq!(pair.watch.link().name, "new");
        // What happens between two looks comes with one.
        let both = |pair: &mut Pair| {
            pair.set("new", AdminState::Up);
            pair.route.set_mtu("new", 1400).unwrap();
        };
        let mtu = LinkEvent::MtuChanged { from_bytes: 1778, to_bytes: 1400, longest_bytes: None };
        pair.expect(both, &[LinkEvent::Up, mtu]);
    });
}

#[test]
fn lab_another_ones_programs_are_told_once() {
    with_pair("lab_another_ones_programs_are_told_once", |pair| {
        let (first, second) = (pass("first"), pass("second"));
        let native =
            |program: &Program| AttachedProgram { id: program.info().unwrap().id, mode: "native" };
        let index = pair.watch.link().index;
        let mut link = None;
        let attach = |_: &mut Pair| {
            link = Some(XdpLink::attach(&first, index, AttachMode::Native).unwrap());
        };
        pair.expect(attach, &[LinkEvent::ProgramAttached { by: native(&first) }]);
        pair.expect(|_| drop(link), &[LinkEvent::ProgramDetached { was: native(&first) }]);
        let set = |program: &Program| {
            let fd = program.as_fd().as_raw_fd();
            move |pair: &mut Pair| pair.set_program(fd)
        };
        pair.expect(set(&second), &[LinkEvent::ProgramAttached { by: native(&second) }]);
        pair.expect(set(&first), &[LinkEvent::ProgramReplaced { by: native(&first) }]);
        // Taken off and another put on, between two looks.
        let swap = |pair: &mut Pair| {
            pair.set_program(-1);
            set(&second)(pair);
        };
        pair.expect(swap, &[LinkEvent::ProgramReplaced { by: native(&second) }]);
        pair.expect(
            |pair| pair.set_program(-1),
            &[LinkEvent::ProgramDetached { was: native(&second) }],
        );
    });
}

#[test]
fn lab_an_interface_that_goes_is_told_from_one_that_moves() {
    const NAME: &str = "lab_an_interface_that_goes_is_told_from_one_that_moves";
    with_pair(NAME, |pair| {
        let delete = |pair: &mut Pair| pair.route.delete_link("near").unwrap();
        pair.expect(delete, &[LinkEvent::Removed]);
    });
    with_pair(NAME, |pair| {
        let elsewhere = NetNs::create().unwrap();
        let to = elsewhere.as_fd().as_raw_fd();
        let go = |pair: &mut Pair| pair.change(LinkAttribute::NetNsFd(to));
        pair.expect(go, &[LinkEvent::MovedNamespace]);
    });
    // Gone and come back between two looks: the kernel has unbound the ports on it all the same.
    with_pair(NAME, |pair| {
        let elsewhere = NetNs::create().unwrap();
        let (to, back) = (elsewhere.as_fd().as_raw_fd(), NetNs::current().unwrap());
        let index = pair.watch.link().index;
        let go = |pair: &mut Pair| {
            pair.change(LinkAttribute::NetNsFd(to));
            elsewhere.run(|| move_near(&back)).unwrap();
            assert_eq!(Link::by_name("near").unwrap().index, index, "as before");
        };
        pair.expect(go, &[LinkEvent::MovedNamespace]);
    });
    // Another interface's end is not this one's, nor is a lost message the end.
    with_pair(NAME, |pair| {
        let others = |pair: &mut Pair| {
            let here = NetNs::current().unwrap();
            for _ in 0..60 {
                pair.route.create_veth(&LinkSpec::new("a"), &LinkSpec::new("b"), &here).unwrap();
                pair.route.delete_link("a").unwrap();
            }
        };
        pair.expect(others, &[]);
        let delete = |pair: &mut Pair| {
            others(pair);
            pair.route.delete_link("near").unwrap();
        };
        pair.expect(delete, &[LinkEvent::Removed]);
    });
}

fn move_near(to: &NetNs) {
    let mut request = LinkMessage::default();
    request.attributes.push(LinkAttribute::IfName("near".to_owned()));
    request.attributes.push(LinkAttribute::NetNsFd(to.as_fd().as_raw_fd()));
    let mut connection = Connection::open(NETLINK_ROUTE).unwrap();
    connection.ask((libc::RTM_SETLINK, 0), &request, |_| Ok(())).unwrap();
}

#[test]
fn lab_a_poller_wakes_when_something_is_told() {
    with_pair("lab_a_poller_wakes_when_something_is_told", |pair| {
        let wait = |pair: &Pair, millis| {
            let timeout = Duration::from_millis(millis);
            socket::wait_readable(pair.watch.as_fd(), timeout).unwrap() != 0
        };
        // The operational state follows up to a second later, and is told, too.
        while wait(pair, 1200) {
            pair.watch.look().unwrap();
        }
        for mtu_bytes in [1400, 1300, 1200] {
            pair.route.set_mtu("near", mtu_bytes).unwrap();
        }
        assert!(wait(pair, 0));
        let mtu = LinkEvent::MtuChanged { from_bytes: 1500, to_bytes: 1200, longest_bytes: None };
        assert_eq!(pair.watch.look().unwrap(), [mtu]);
        assert!(!wait(pair, 0), "one look reads all");
    });
}

#[test]
fn lab_details_tell_no_from_unknown() {
    with_pair("lab_details_tell_no_from_unknown", |pair| {
        let near = Link::by_name("near").unwrap();
        let far = Link::by_name("far").unwrap();
        assert_eq!(near.peer, Some(Peer { index: far.index, netns_id: None }));
        assert_eq!((near.kind.as_deref(), near.has_carrier), (Some("veth"), Some(true)));
        let details = near.details();
        assert_eq!(details.driver.as_deref(), Ok("veth"));
        let channels = details.channels.unwrap();
        assert_eq!((channels.rx_queues(), channels.tx_queues(), channels.rx_max), (4, 4, 4));
        assert_eq!(details.rx_queues, Ok(4));
        assert_eq!(details.rings, Err(Untold::NotSupported));
        assert_eq!((details.tx_checksum, details.peer_tx_checksum), (Ok(true), Some(Ok(true))));
        match details.xdp {
            Ok(XdpFeatures { basic, redirect, xsk_zerocopy, hw_offload, rx_sg, .. }) => {
                let features = (basic, redirect, xsk_zerocopy, hw_offload, rx_sg);
                assert_eq!(features, (true, true, false, false, true));
            }
            // Before 6.3.
            Err(untold) => assert_eq!(untold, Untold::NotSupported),
        }
        let offloads = netmem_host::netlink::Ethtool::open().unwrap().offloads_off("far").unwrap();
        assert!(!offloads.turned_off.is_empty());
        let details = near.details();
        assert_eq!((details.tx_checksum, details.peer_tx_checksum), (Ok(true), Some(Ok(false))));
        assert_eq!(far.details().tx_checksum, Ok(false));

        // Loopback has neither driver nor channels nor another end; down, it has no queue either.
        let lo = Link::by_name("lo").unwrap();
        let down = lo.details();
        assert_eq!((down.driver, down.channels), (Err(Untold::Absent), Err(Untold::NotSupported)));
        assert_eq!((lo.peer, down.peer_tx_checksum), (None, None));
        assert!(down.rx_queues.is_err(), "{:?}", down.rx_queues);
        pair.set("lo", AdminState::Up);
        let up = lo.details().rx_queues;
        assert!(matches!(up, Ok(1) | Err(Untold::NotSupported)), "{up:?}");

        // The peer in another namespace.
        let elsewhere = NetNs::create().unwrap();
        pair.change(LinkAttribute::NetNsFd(elsewhere.as_fd().as_raw_fd()));
        let far = Link::by_name("far").unwrap();
        assert!(far.peer.unwrap().netns_id.is_some(), "{far:?}");
        assert_eq!(far.details().peer_tx_checksum, Some(Err(Untold::OtherNamespace)));
    });
}

/// A link that is up, with a carrier, as a reader of messages finds it.
fn snapshot_of(name: &str) -> Snapshot {
    let mut message = LinkMessage::default();
    message.header.index = 5;
    message.header.flags = LinkFlags::Up;
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Mtu(1500),
        LinkAttribute::Carrier(1),
        LinkAttribute::CarrierChanges(u32::MAX),
    ];
    let mut body = vec![0; message.buffer_len()];
    message.emit(&mut body);
    let rings = DriverRings { rx: 512, tx: 512, rx_max: 4096, tx_max: 4096 };
    Snapshot { link: Link::parse(&body).unwrap(), rx_queues: Some(4), rings: Some(rings) }
}

#[test]
fn what_is_not_told_is_no_event() {
    let last = snapshot_of("a");
    let mut now = last.clone();
    (now.rx_queues, now.rings) = (None, None);
    now.link.carrier_changes = None;
    assert_eq!(now.since(&last, None), []);
    assert_eq!(last.since(&now, None), []);
    // It is compared with what was told before that.
    now.keep_untold(&last);
    let mut later = last.clone();
    later.rx_queues = Some(2);
    assert_eq!(later.since(&now, None), [LinkEvent::QueuesChanged { from: 4, to: 2 }]);
    // What it could be is not what it is.
    let mut now = last.clone();
    now.rings.as_mut().unwrap().rx_max = 8192;
    assert_eq!(now.since(&last, None), []);
}

#[test]
fn rings_and_a_wrapped_count_of_the_carrier_are_told() {
    let last = snapshot_of("a");
    let mut now = last.clone();
    now.link.carrier_changes = Some(3);
    now.rings.as_mut().unwrap().rx = 1024;
    let (from, to) = (last.rings.unwrap(), now.rings.unwrap());
    let expected = [LinkEvent::Flapped { times: 2 }, LinkEvent::RingsChanged { from, to }];
    assert_eq!(now.since(&last, None), expected);
    // Carriers of a driver whose link state does not follow its being set down.
    let mut now = last.clone();
    now.link.is_up = false;
    assert_eq!(now.since(&last, None), [LinkEvent::Down]);
}

#[test]
fn every_event_is_one_line_that_says_what_it_means() {
    let by = AttachedProgram { id: u32::MAX, mode: "native" };
    let rings = snapshot_of("a").rings.unwrap();
    let name = "a".to_owned();
    let mtu =
        |longest_bytes| LinkEvent::MtuChanged { from_bytes: 1500, to_bytes: 9000, longest_bytes };
    let events = [
        LinkEvent::Down,
        LinkEvent::Up,
        LinkEvent::CarrierLost,
        LinkEvent::CarrierBack,
        LinkEvent::Flapped { times: 1 },
        mtu(None),
        mtu(Some(1792)),
        LinkEvent::QueuesChanged { from: 4, to: 2 },
        LinkEvent::QueuesChanged { from: 2, to: 4 },
        LinkEvent::RingsChanged { from: rings, to: rings },
        LinkEvent::Renamed { from: name.clone(), to: name },
        LinkEvent::MovedNamespace,
        LinkEvent::Removed,
        LinkEvent::AddressChanged { from: None, to: Some([2, 0, 0, 0, 0, 0xfe]) },
        LinkEvent::ProgramAttached { by },
        LinkEvent::ProgramDetached { was: by },
        LinkEvent::ProgramReplaced { by },
    ];
    for event in &events {
        let line = event.to_string();
        assert!(!line.contains('\n') && !line.contains("  ") && !line.ends_with('.'), "{line}");
        assert!(line.contains(':') || *event == mtu(None), "says no meaning: {line}");
    }
    assert_eq!(
        mtu(Some(1792)).to_string(),
        "mtu changed from 1500 to 9000: packets longer than 1792 bytes are dropped by the kernel until \
         it is lowered or the port has larger frames"
    );
    assert!(events[7].to_string().ends_with("queue 2 or above receives nothing"));
    assert!(events[13].to_string().contains("from none to 02:00:00:00:00:fe"));
    let ends: Vec<_> = events.iter().filter(|event| event.ends_ports()).collect();
    assert_eq!(ends, [&LinkEvent::MovedNamespace, &LinkEvent::Removed]);
}

/// A message about link 5 or another, as the kernel sends it.
fn message(kind: u16, family: AddressFamily, index: u32, moved: bool) -> Vec<u8> {
    let mut message = LinkMessage::default();
    (message.header.interface_family, message.header.index) = (family, index);
    message.attributes = vec![LinkAttribute::IfName("a".to_owned())];
    if moved {
        message.attributes.push(LinkAttribute::NewNetnsId(0));
    }
    let len = 16 + message.buffer_len();
    let mut bytes = vec![0; len];
    bytes[..4].copy_from_slice(&u32::try_from(len).unwrap().to_ne_bytes());
    bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
    message.emit(&mut bytes[16..]);
    bytes
}

#[test]
fn only_the_message_that_it_left_is_a_departure() {
    use AddressFamily::{Bridge, Unspec};
    let stays = [
        message(libc::RTM_NEWLINK, Unspec, 5, true),
        message(libc::RTM_DELLINK, Bridge, 5, false),
        message(libc::RTM_DELLINK, Unspec, 6, false),
    ]
    .concat();
    assert_eq!(departure(&stays, 5).unwrap(), None);
    let gone = [stays.clone(), message(libc::RTM_DELLINK, Unspec, 5, false)].concat();
    assert_eq!(departure(&gone, 5).unwrap(), Some(LinkEvent::Removed));
    let moved = [stays, message(libc::RTM_DELLINK, Unspec, 5, true)].concat();
    assert_eq!(departure(&moved, 5).unwrap(), Some(LinkEvent::MovedNamespace));
}

#[test]
fn damaged_messages_are_errors_not_panics() {
    let good = message(libc::RTM_DELLINK, AddressFamily::Unspec, 5, true);
    for position in 0..good.len() {
        // A cut message is no departure: the interface may be another one.
        if position > 0 {
            assert!(departure(&good[..position], 5).is_err(), "{position}");
        }
        for value in 0..=255 {
            let mut damaged = good.clone();
            damaged[position] = value;
            let _ = departure(&damaged, 5);
        }
    }
}
