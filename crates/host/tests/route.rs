//! Link, address and neighbour operations on the running kernel, in namespaces of their own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::sync::mpsc;

use netmem_host::Error;
use netmem_host::lab::{NetNs, missing_privilege, skip};
use netmem_host::netlink::{AdminState, LinkSpec, Route};

/// A namespace of its own and a connection to it; records a skip of `test` if there can be none.
fn start(test: &str) -> Option<(NetNs, Route)> {
    if let Some(reason) = missing_privilege() {
        skip(test, &reason);
        return None;
    }
    let ns = NetNs::create().unwrap();
    let route = ns.run(Route::open).unwrap().unwrap();
    Some((ns, route))
}

/// Names of the veths, in order; a namespace may also have tunnels that the kernel put there.
fn veths(route: &mut Route) -> Vec<String> {
    let links = route.links().unwrap().into_iter();
    let veths = links.filter(|link| link.kind.as_deref() == Some("veth"));
    let mut names: Vec<_> = veths.map(|link| link.name).collect();
    names.sort_unstable();
    names
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, expected: &str) {
    let error = result.unwrap_err();
    assert!(error.errno().is_some(), "{error:?}");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_link_is_changed() {
    let Some((ns, mut route)) = start("a_link_is_changed") else { return };
    let near = LinkSpec { tx_queues: Some(2), rx_queues: Some(4), ..LinkSpec::new("near") };
    let far = LinkSpec { mac: Some([2, 1, 1, 1, 1, 1]), mtu: Some(900), ..LinkSpec::new("far") };
    route.create_veth(&near, &far, ns.as_fd()).unwrap();
    let (near, far) = (route.link("near").unwrap(), route.link("far").unwrap());
    assert_eq!((near.rx_queues, near.tx_queues, near.mtu), (4, 2, 1500));
    assert_eq!((far.mac, far.mtu), (Some([2, 1, 1, 1, 1, 1]), 900));
    assert_eq!((near.peer_index, near.peer_netnsid), (Some(far.index), None));
    assert!(!near.flags.up);

    route.set_mtu("near", 1200).unwrap();
    route.set_mac("near", [2, 2, 2, 2, 2, 2]).unwrap();
    route.set_state("near", AdminState::Up).unwrap();
    let near = route.link("near").unwrap();
    assert_eq!((near.mtu, near.mac, near.flags.up), (1200, Some([2; 6]), true));
    route.set_state("near", AdminState::Down).unwrap();
    assert!(!route.link("near").unwrap().flags.up);

    route.delete_link("far").unwrap();
    assert!(veths(&mut route).is_empty(), "the peer goes as well");
}

#[test]
fn addresses_and_neighbours_are_added() {
    let Some((ns, mut route)) = start("addresses_and_neighbours_are_added") else { return };
    route.create_veth(&LinkSpec::new("near"), &LinkSpec::new("far"), &ns).unwrap();
    let interface = "10.3.0.1/24".parse().unwrap();
    route.add_address("near", interface).unwrap();
    let twice = route.add_address("near", interface).unwrap_err();
    assert!(
        twice.to_string().starts_with("add address 10.3.0.1/24 to near: file exists (EEXIST)"),
        "{twice}"
    );
    route.set_state("near", AdminState::Up).unwrap();
    let neighbour = Ipv4Addr::new(10, 3, 0, 9);
    for mac in [[2, 0, 0, 0, 0, 8], [2, 0, 0, 0, 0, 9]] {
        route.add_neighbour("near", neighbour, mac).unwrap();
    }
    let table = ns.run(|| std::fs::read_to_string("/proc/thread-self/net/arp")).unwrap().unwrap();
    let row: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
    // Flags: complete and permanent (ATF_COM | ATF_PERM).
    assert_eq!(row, ["10.3.0.9", "0x1", "0x6", "02:00:00:00:00:09", "*", "near"]);
}

#[test]
fn a_dump_of_many_links_is_whole() {
    let Some((ns, mut route)) = start("a_dump_of_many_links_is_whole") else { return };
    for number in 0..60 {
        let ends = ["a", "b"].map(|end| LinkSpec::new(format!("{end}{number}")));
        route.create_veth(&ends[0], &ends[1], &ns).unwrap();
    }
    let mut names = veths(&mut route);
    assert_eq!(names.len(), 120);
    names.dedup();
    assert_eq!(names.len(), 120);
}

#[test]
fn a_dump_amid_changes_is_one_state() {
    let Some((ns, mut route)) = start("a_dump_amid_changes_is_one_state") else { return };
    for number in 0..30 {
        let ends = ["a", "b"].map(|end| LinkSpec::new(format!("{end}{number}")));
        route.create_veth(&ends[0], &ends[1], &ns).unwrap();
    }
    // Moves the oldest pair to the end, over and over; of the dumps some are interrupted.
    let (stop, stopped) = mpsc::channel::<()>();
    let changer = ns
        .spawn("changer", move || {
            let (mut route, ns) = (Route::open().unwrap(), NetNs::current().unwrap());
            for number in (0..30).cycle() {
                let [a, b] = ["a", "b"].map(|end| LinkSpec::new(format!("{end}{number}")));
                route.delete_link(&a.name).unwrap();
                route.create_veth(&a, &b, &ns).unwrap();
                if stopped.try_recv() == Err(mpsc::TryRecvError::Disconnected) {
                    return;
                }
            }
        })
        .unwrap();
    for _ in 0..500 {
        let mut names = veths(&mut route);
        let len = names.len();
        names.dedup();
        assert_eq!(names.len(), len);
        assert!(len == 60 || len == 58, "{len} links, {names:?}");
    }
    drop(stop);
    changer.join().unwrap();
}

#[test]
fn the_kernel_says_why() {
    let Some((ns, mut route)) = start("the_kernel_says_why") else { return };
    route.create_veth(&LinkSpec::new("near"), &LinkSpec::new("far"), &ns).unwrap();
    refused(
        route.create_veth(&LinkSpec::new("near"), &LinkSpec::new("other"), &ns),
        "create veth near (peer other): file exists (EEXIST)",
    );
    refused(
        route.set_mtu("near", 10),
        "set mtu of near: invalid argument (EINVAL): mtu less than device minimum",
    );
    let none = LinkSpec { tx_queues: Some(0), ..LinkSpec::new("none") };
    refused(
        route.create_veth(&none, &LinkSpec::new("other"), &ns),
        "create veth none (peer other): invalid argument (EINVAL): invalid number of transmit \
         queues",
    );
    refused(
        route.link("a-name-beyond-fifteen-bytes"),
        "read link a-name-beyond-fifteen-bytes: numerical result out of range (ERANGE): attribute \
         failed policy validation",
    );
    refused(
        route.set_mac("near", [1; 6]),
        "set mac address of near: cannot assign requested address (EADDRNOTAVAIL)",
    );
    refused(route.delete_link("absent"), "delete link absent: no such device (ENODEV)");
    refused(route.delete_link("lo"), "delete link lo: operation not supported (EOPNOTSUPP)");
    assert_eq!(veths(&mut route).len(), 2, "refusals leave the connection in order");
}
