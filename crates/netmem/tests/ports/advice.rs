//! What a port takes from its interface, and what its report tells of it.
//!
//! Planted and caught: all queues that the interface was made with bound, and those that only transmit;
//! numbers compared with the receive queues only, and with all that there are; queues without a socket
//! told on every port, and not told; the checksums of a peer that is in another namespace told.

use std::{collections::BTreeSet, time::Instant};

use netmem::{
    device::{Device, Verdict},
    mem::Audit,
    xdp::{Advice, BoundPort, Port, PortBuilder, PortSet, Queues, RingSizes, XdpMode},
};
use netmem_host::{
    lab::{NetNs, missing_privilege, skip},
    netlink::{AdminState, Ethtool, LinkSpec, Route},
};

use crate::bed::{Bed, EAST, PATIENCE, WEST, assert_closed, frame, handle, number_of, rules};

fn native(interface: &str, queues: Queues) -> PortBuilder {
    Port::builder(interface, rules()).modes(&[XdpMode::Native]).queues(queues)
}

/// Queue and advice of each port.
fn told(ports: &[BoundPort]) -> Vec<(u32, Vec<String>)> {
    let reports = ports.iter().map(BoundPort::report);
    let lines = |advice: &[Advice]| advice.iter().map(ToString::to_string).collect();
    reports.map(|report| (report.queue, lines(&report.advice))).collect()
}

#[test]
fn lab_ports_are_on_the_queues_in_use() {
    if let Some(missing) = missing_privilege() {
        return skip("lab_ports_are_on_the_queues_in_use", &missing);
    }
    const COUNT: u32 = 200;
    let bed = Bed::new(4);
    // Native mode wants as many receive queues as the peer has to transmit.
    bed.west.run(|| Ethtool::open().unwrap().set_channels("nm-peer", 2, 2).unwrap()).unwrap();
    let check = || {
        let mut ethtool = Ethtool::open().unwrap();
        ethtool.set_channels(WEST, 2, 2).unwrap();
        let handle = handle(8192);
        let refused = |queue| {
            let error = native(WEST, Queues::These(vec![queue])).bind(&handle).unwrap_err();
            error.to_string()
        };
        let ports = native(WEST, Queues::All).bind(&handle).unwrap();
        assert_eq!(told(&ports), [(0, vec![]), (1, vec![])]);
        let mut ports: Vec<_> =
            ports.into_iter().map(|port| port.start(&handle).unwrap()).collect();
        let mut seen = BTreeSet::new();
        Bed::send(&bed.west, &(0..COUNT).map(frame).collect::<Vec<_>>());
        let deadline = Instant::now() + PATIENCE;
        while seen.len() < COUNT as usize && Instant::now() < deadline {
            for port in &mut ports {
                port.receive(64, &mut (), |packet| {
                    assert!(seen.insert(number_of(packet.bytes())));
                    Verdict::Consume
                });
            }
        }
        assert_eq!(seen, (0..COUNT).collect());
        let walks: Vec<_> = ports.into_iter().map(|port| port.close().walk).collect();
        let walks = walks.into_iter().chain([handle.walk()]);
        assert_closed(&Audit::of(handle.pool(), walks));
        assert!(refused(2).contains("queue 2: the interface's last queue is 1"), "{}", refused(2));

        // A queue that only transmits can be bound, and is none of all that receive.
        ethtool.set_channels(WEST, 2, 4).unwrap();
        let ports = native(WEST, Queues::All).bind(&handle).unwrap();
        assert_eq!(told(&ports), [(0, vec![]), (1, vec![])]);
        ports.into_iter().for_each(BoundPort::close);
        let ports = native(WEST, Queues::These(vec![3, 0])).bind(&handle).unwrap();
        let one = "packets of queue 1 pass to the kernel: no socket is bound there".to_owned();
        assert_eq!(told(&ports), [(3, vec![one]), (0, vec![])]);
        ports.into_iter().for_each(BoundPort::close);
        assert!(refused(4).contains("queue 4: the interface's last queue is 3"), "{}", refused(4));
    };
    bed.mid.run(check).unwrap();
}

#[test]
fn lab_queues_without_a_socket_are_told_once_per_interface() {
    if let Some(missing) = missing_privilege() {
        return skip("lab_queues_without_a_socket_are_told_once_per_interface", &missing);
    }
    let bed = Bed::new(4);
    let check = || {
        let handle = handle(8192);
        let small = RingSizes { fill: 512, rx: 1024, ..RingSizes::default() };
        let set = PortSet::new(&handle)
            .port(native(WEST, Queues::These(vec![2, 0])))
            .port(native(EAST, Queues::All).rings(small));
        let ports = set.bind().unwrap();
        let both = "packets of queues 1 and 3 pass to the kernel: no socket is bound there";
        let fill = "fill ring of 512: at least 1024 is advised, for the port's rx ring of 1024";
        let expected =
            [(2, Some(both)), (0, None)].into_iter().chain((0..4).map(|n| (n, Some(fill))));
        let line = |(queue, line): (u32, Option<&str>)| {
            (queue, line.into_iter().map(str::to_owned).collect())
        };
        assert_eq!(told(&ports), expected.map(line).collect::<Vec<_>>());
        ports.into_iter().for_each(BoundPort::close);
        assert_closed(&Audit::of(handle.pool(), [handle.walk()]));
    };
    bed.mid.run(check).unwrap();
}

#[test]
fn lab_a_peer_that_leaves_checksums_is_told() {
    if let Some(missing) = missing_privilege() {
        return skip("lab_a_peer_that_leaves_checksums_is_told", &missing);
    }
    let check = || {
        let mut route = Route::open().unwrap();
        let (near, far) = (LinkSpec::new("near"), LinkSpec::new("far"));
        route.create_veth(&near, &far, NetNs::current().unwrap()).unwrap();
        route.set_state("near", AdminState::Up).unwrap();
        route.set_state("far", AdminState::Up).unwrap();
        let handle = handle(4096);
        let advice = || {
            let ports = Port::builder("near", rules()).bind(&handle).unwrap();
            let told = told(&ports);
            ports.into_iter().for_each(BoundPort::close);
            told
        };
        let [(0, lines)] = &advice()[..] else { panic!("one port") };
        let [line] = &lines[..] else { panic!("{lines:?}") };
        let words = "veth: packets of the peer's kernel come with TCP and UDP checksums that are not \
                     filled in; turn transmit checksums off at the peer: ethtool -K PEER tx off \
                     (https://";
        assert!(line.starts_with(words), "{line}");
        assert!(Ethtool::open().unwrap().offloads_off("far").unwrap().still_on.is_empty());
        assert_eq!(advice(), [(0, vec![])]);
    };
    NetNs::create().unwrap().run(check).unwrap();
}
