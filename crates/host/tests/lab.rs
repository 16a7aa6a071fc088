//! Labs and namespaces on the running kernel: what is made, what can be seen of it, what remains.
//!
//! Each test has namespaces of its own, so that all may run at once.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::UdpSocket;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use netmem_host::lab::{Lab, NetNs, ServerAddress, missing_privilege, skip};
use netmem_host::netlink::{Ethtool, Feature, LinkSpec, OperState, Route};

/// Tells a test that it is the child of its own process, and what to do as such.
const ROLE: &str = "NETMEM_TEST_ROLE";

/// Whether labs can be made; records a skip of `test` if not.
fn able(test: &str) -> bool {
    let missing = missing_privilege();
    if let Some(reason) = &missing {
        skip(test, reason);
    }
    missing.is_none()
}

/// Runs `test` again in a process of its own, where `is_child` holds.
fn child_of(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(ROLE, test);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

fn is_child(test: &str) -> bool {
    std::env::var_os(ROLE).is_some_and(|role| role == test)
}

/// Whether any thread is in, or any file descriptor refers to, the namespace `inode`.
fn is_held(inode: u64) -> bool {
    let target = format!("net:[{inode}]");
    let entries = |path: &std::path::Path| fs::read_dir(path).into_iter().flatten().flatten();
    let leads_there = |path| fs::read_link(path).is_ok_and(|link| link.as_os_str() == &target[..]);
    entries("/proc".as_ref()).any(|process| {
        entries(&process.path().join("fd")).any(|fd| leads_there(fd.path()))
            || entries(&process.path().join("task"))
                .any(|task| leads_there(task.path().join("ns/net")))
    })
}

/// Polls `condition` for at most a minute: machines that run tests are busy, and the number of a
/// namespace that is gone may be that of another test's for a while.
fn soon(condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    std::iter::repeat_with(condition).any(|holds| {
        if !holds {
            std::thread::sleep(Duration::from_millis(10));
        }
        holds || Instant::now() >= deadline
    }) && Instant::now() < deadline
}

/// Ties a veth pair between the namespace of `route` and each of those of `lab`: the ends here go
/// when the kernel has freed the namespaces there.
fn tie(route: &mut Route, lab: &Lab) {
    for (name, ns) in [("tie-client", &lab.client), ("tie-server", &lab.server)] {
        route.create_veth(&LinkSpec::new(name), &LinkSpec::new("tie"), ns).unwrap();
    }
}

/// Names of the veths; a namespace may also have tunnels that the kernel put there.
fn veths(route: &mut Route) -> Vec<String> {
    let links = route.links().unwrap().into_iter();
    links.filter(|link| link.kind.as_deref() == Some("veth")).map(|link| link.name).collect()
}

/// Packets received by `interface` of the calling thread's namespace.
fn received(interface: &str) -> u64 {
    let table = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let row = table.lines().find_map(|row| row.trim().strip_prefix(interface)).unwrap();
    row.trim_start_matches(':').split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn both_ends_are_as_asked() {
    if !able("both_ends_are_as_asked") {
        return;
    }
    let (client, server) = ("10.9.0.1/16".parse().unwrap(), "10.9.0.2/16".parse().unwrap());
    let builder = Lab::builder().queues(3).mtu(3000).addresses(client, server);
    let lab = builder.names("left", "right").macs([2; 6], [6; 6]).build().unwrap();
    let ends = [
        (&lab.client, lab.client_link(), lab.server_link()),
        (&lab.server, lab.server_link(), lab.client_link()),
    ];
    for (ns, end, other) in ends {
        let mut route = ns.run(Route::open).unwrap().unwrap();
        let (link, list) = (route.link(&end.name).unwrap(), route.links().unwrap());
        assert_eq!((link.index, link.mac, link.mtu), (end.index, Some(end.mac), 3000));
        assert_eq!((link.rx_queues, link.tx_queues), (3, 3));
        assert!(link.flags.up && link.flags.lower_up && !link.flags.promisc);
        assert_eq!((link.oper_state, link.kind.as_deref()), (OperState::Up, Some("veth")));
        assert_eq!((link.peer_index, link.xdp), (Some(other.index), None));
        assert!(link.peer_netnsid.is_some());
        assert_eq!(veths(&mut route), [end.name.as_str()]);
        assert!(list.iter().any(|l| l.name == "lo" && l.flags.loopback && l.flags.up));
        assert!(list.contains(&link));
        ns.run(|| match fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6") {
            Ok(disabled) => assert_eq!(disabled.trim(), "1"),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound),
        })
        .unwrap();
    }
    assert_eq!((lab.client_link().mac, lab.server_link().mac), ([2; 6], [6; 6]));
    let bind = |ns: &NetNs, address| ns.run(move || UdpSocket::bind((address, 0))).unwrap();
    assert!(bind(&lab.client, client.address).is_ok());
    let refused = bind(&lab.server, server.address).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AddrNotAvailable, "the server's kernel has none");
}

#[test]
fn kernels_talk() {
    if !able("kernels_talk") {
        return;
    }
    let lab = Lab::builder().server_address(ServerAddress::Kernel).build().unwrap();
    let bind = |ns: &NetNs, address| ns.run(move || UdpSocket::bind((address, 0))).unwrap();
    let client = bind(&lab.client, lab.client_link().interface.address).unwrap();
    let server = bind(&lab.server, lab.server_link().interface.address).unwrap();
    let mut buffer = [0; 64];
    for (from, to) in [(&client, &server), (&server, &client)] {
        to.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        from.send_to(b"from one kernel to the other", to.local_addr().unwrap()).unwrap();
        let (len, sender) = to.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"from one kernel to the other");
        assert_eq!(sender, from.local_addr().unwrap());
    }
}

#[test]
fn nothing_flows_unasked() {
    if !able("nothing_flows_unasked") {
        return;
    }
    let lab = Lab::builder().build().unwrap();
    let count = || lab.server.run(|| received("nm-server")).unwrap();
    assert_eq!((count(), lab.client.run(|| received("nm-client")).unwrap()), (0, 0));

    // With a permanent neighbour a datagram is one frame: no ARP before it.
    let server = lab.server_link();
    let socket = lab
        .client
        .run(|| {
            let mut route = Route::open().unwrap();
            route.add_neighbour("nm-client", server.interface.address, server.mac).unwrap();
            UdpSocket::bind((lab.client_link().interface.address, 0)).unwrap()
        })
        .unwrap();
    socket.send_to(b"one", (server.interface.address, 9)).unwrap();
    assert!(soon(|| count() == 1));
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(count(), 1);
}

#[test]
fn offloads_are_off() {
    if !able("offloads_are_off") {
        return;
    }
    let lab = Lab::builder().build().unwrap();
    let states =
        lab.client.run(|| Ethtool::open().unwrap().features("nm-client").unwrap()).unwrap();
    let state = |name| states.iter().find(|state| state.name == name).unwrap().active;
    for name in [
        "tx-checksum-ip-generic",
        "tx-checksum-sctp",
        "tx-tcp-segmentation",
        "tx-tcp6-segmentation",
        "tx-tcp-ecn-segmentation",
        "tx-generic-segmentation",
        "tx-udp-segmentation",
        "tx-vlan-hw-insert",
        "tx-vlan-stag-hw-insert",
        "rx-vlan-hw-parse",
        "rx-vlan-stag-hw-parse",
    ] {
        assert_eq!(state(name), Feature::Off, "{name}");
    }
    assert_eq!(state("tx-scatter-gather"), Feature::On, "others stay as they were");
    // The server's kernel has no address, hence nothing to send: its end is left alone.
    let mut ethtool = lab.server.run(Ethtool::open).unwrap().unwrap();
    let states = ethtool.features("nm-server").unwrap();
    assert!(states.iter().any(|s| s.name.starts_with("tx-checksum-") && s.active == Feature::On));
    let off = ethtool.offloads_off("nm-server").unwrap();
    assert!(off.turned_off.iter().any(|name| name == "tx-checksum-ip-generic"), "{off:?}");
    assert!(off.still_on.is_empty(), "{off:?}");
    assert_eq!(ethtool.offloads_off("nm-server").unwrap(), Default::default(), "nothing left on");
}

#[test]
fn features_are_set_and_read_back() {
    if !able("features_are_set_and_read_back") {
        return;
    }
    let lab = Lab::builder().build().unwrap();
    let mut ethtool = lab.client.run(Ethtool::open).unwrap().unwrap();
    for wish in [Feature::On, Feature::Off, Feature::On] {
        ethtool.set_gro("nm-client", wish).unwrap();
        let states = ethtool.features("nm-client").unwrap();
        let gro = states.iter().find(|state| state.name == "rx-gro").unwrap();
        assert_eq!((gro.active, gro.wanted, gro.changeable), (wish, wish, true));
    }
    // Segmentation needs checksums, which are off: the kernel accepts the wish and does not act.
    let error = ethtool.set_features("nm-client", &[("tx-tcp-segmentation", Feature::On)]);
    assert_eq!(
        error.unwrap_err().to_string(),
        "set features of nm-client: tx-tcp-segmentation stays off"
    );
    let error = ethtool.set_features("nm-client", &[("tx-warp", Feature::On)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "set features of nm-client: operation not supported (EOPNOTSUPP): bit name not found"
    );
    let error = ethtool.features("nm-absent").unwrap_err();
    assert!(
        error.to_string().starts_with("read features of nm-absent: no such device (ENODEV)"),
        "{error}"
    );
}

#[test]
fn the_default_namespace_sees_nothing() {
    if !able("the_default_namespace_sees_nothing") {
        return;
    }
    const RTMGRP_LINK: u32 = 1;
    let mut watch = Socket::new(NETLINK_ROUTE).unwrap();
    watch.bind(&SocketAddr::new(0, RTMGRP_LINK)).unwrap();
    watch.set_non_blocking(true).unwrap();
    let mut route = Route::open().unwrap();
    let before = veths(&mut route);

    let lab = Lab::builder().names("nm-unseen-c", "nm-unseen-s").build().unwrap();
    let during = veths(&mut route);
    drop(lab);
    let after = veths(&mut route);

    let ours = |names: &[String]| names.iter().any(|name| name.starts_with("nm-"));
    assert!(!ours(&before) && !ours(&during) && !ours(&after), "{before:?} {during:?} {after:?}");
    let mut news = Vec::with_capacity(1 << 16);
    while watch.recv(&mut news, 0).is_ok() {
        assert!(!news.windows(9).any(|bytes| bytes == b"nm-unseen"), "seen for a moment");
        news.clear();
    }
}

#[test]
fn a_dropped_lab_is_gone() {
    if !able("a_dropped_lab_is_gone") {
        return;
    }
    let mut route = NetNs::create().unwrap().run(Route::open).unwrap().unwrap();
    let lab = Lab::builder().build().unwrap();
    tie(&mut route, &lab);
    let inodes = [lab.client.inode(), lab.server.inode()];
    assert!(inodes.iter().all(|inode| is_held(*inode)));
    assert_eq!(veths(&mut route).len(), 2);
    drop(lab);
    assert!(soon(|| veths(&mut route).is_empty()), "the kernel frees both namespaces");
    assert!(soon(|| !inodes.iter().any(|inode| is_held(*inode))));
}

#[test]
fn a_namespace_in_use_outlives_the_lab_without_its_link() {
    if !able("a_namespace_in_use_outlives_the_lab_without_its_link") {
        return;
    }
    let lab = Lab::builder().build().unwrap();
    let mut routes = [&lab.client, &lab.server].map(|ns| ns.run(Route::open).unwrap().unwrap());
    drop(lab);
    assert!(routes.each_mut().map(veths).iter().all(Vec::is_empty));
}

#[test]
fn a_lab_without_its_link_drops_well() {
    if !able("a_lab_without_its_link_drops_well") {
        return;
    }
    let mut route = NetNs::create().unwrap().run(Route::open).unwrap().unwrap();
    let lab = Lab::builder().build().unwrap();
    tie(&mut route, &lab);
    let mut server = lab.server.run(Route::open).unwrap().unwrap();
    server.delete_link("nm-server").unwrap();
    let gone = lab.client.run(|| Route::open().unwrap().link("nm-client")).unwrap().unwrap_err();
    assert!(gone.to_string().starts_with("read link nm-client: no such device (ENODEV)"), "{gone}");
    drop((lab, server));
    assert!(soon(|| veths(&mut route).is_empty()));
}

#[test]
fn a_killed_owner_leaves_nothing() {
    const TEST: &str = "a_killed_owner_leaves_nothing";
    if is_child(TEST) {
        let lab = Lab::builder().build().unwrap();
        tie(&mut Route::open().unwrap(), &lab);
        let mut out = io::stdout();
        writeln!(out, "\ninodes {} {}", lab.client.inode(), lab.server.inode()).unwrap();
        // Until killed; the end of the parent ends it as well.
        io::stdin().read_to_end(&mut Vec::new()).unwrap();
        return;
    }
    if !able(TEST) {
        return;
    }
    let home = NetNs::create().unwrap();
    let mut route = home.run(Route::open).unwrap().unwrap();
    let mut owner: Child = home.run(|| child_of(TEST).spawn()).unwrap().unwrap();
    let inodes: Vec<u64> = BufReader::new(owner.stdout.take().unwrap())
        .lines()
        .find_map(|line| {
            let line = line.unwrap();
            let inodes = line.strip_prefix("inodes ")?;
            Some(inodes.split(' ').map(|inode| inode.parse().unwrap()).collect())
        })
        .unwrap();
    assert!(inodes.len() == 2 && inodes.iter().all(|inode| is_held(*inode)));
    assert_eq!(veths(&mut route).len(), 2);
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert!(soon(|| veths(&mut route).is_empty()), "the kernel frees both namespaces");
    assert!(soon(|| !inodes.iter().any(|inode| is_held(*inode))));
}

#[test]
fn threads_and_children_are_in_the_namespace() {
    if !able("threads_and_children_are_in_the_namespace") {
        return;
    }
    let here = NetNs::current().unwrap().inode();
    let ns = NetNs::create().unwrap();
    assert_ne!(ns.inode(), here);
    let inside = || NetNs::current().unwrap().inode();
    assert_eq!(ns.run(inside).unwrap(), ns.inode());
    let thread = ns
        .spawn("dweller", move || (inside(), std::thread::current().name().map(str::to_owned)))
        .unwrap();
    assert_eq!(thread.join().unwrap(), (ns.inode(), Some("dweller".to_owned())));

    let mut route = ns.run(Route::open).unwrap().unwrap();
    route.create_veth(&LinkSpec::new("nm-mark"), &LinkSpec::new("nm-peer"), &ns).unwrap();
    let child = ns.run(|| Command::new("/bin/cat").arg("/proc/self/net/dev").output()).unwrap();
    let table = String::from_utf8(child.unwrap().stdout).unwrap();
    assert!(table.lines().any(|row| row.trim_start().starts_with("nm-mark:")), "{table}");

    let entered = std::thread::scope(|scope| {
        let visit = scope.spawn(|| {
            ns.enter().unwrap();
            let grandchild = std::thread::spawn(inside).join().unwrap();
            (inside(), grandchild)
        });
        visit.join().unwrap()
    });
    assert_eq!(entered, (ns.inode(), ns.inode()));
    assert_eq!(NetNs::current().unwrap().inode(), here, "the caller never moves");
}

#[test]
fn panics_are_passed_on() {
    if !able("panics_are_passed_on") {
        return;
    }
    let ns = NetNs::create().unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| ns.run(|| -> u8 { panic!("inside") })));
    assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"inside"));
}

#[test]
fn a_missing_privilege_is_named() {
    const TEST: &str = "a_missing_privilege_is_named";
    if is_child(TEST) {
        writeln!(io::stdout(), "\n{}", missing_privilege().unwrap()).unwrap();
        writeln!(io::stdout(), "{}", Lab::builder().build().unwrap_err()).unwrap();
        return;
    }
    if !able(TEST) {
        return;
    }
    // Under another user the capabilities of root are gone.
    let output = match child_of(TEST).uid(65534).gid(65534).output() {
        Ok(output) => output,
        Err(error) => return skip(TEST, &format!("no other user can run this test: {error}")),
    };
    let said = String::from_utf8(output.stdout).unwrap();
    for line in [
        "a lab needs CAP_NET_ADMIN and CAP_SYS_ADMIN, which this process lacks (user namespaces \
         are not used)",
        "create network namespace: operation not permitted (EPERM)",
    ] {
        assert!(said.lines().any(|l| l == line), "{said}");
    }
}

#[test]
fn skips_are_recorded() {
    const TEST: &str = "skips_are_recorded";
    if is_child(TEST) {
        skip("some_test", "no device");
        return skip("other_test", "no kernel");
    }
    let path = std::env::temp_dir().join(format!("netmem-skips-{}", std::process::id()));
    let mut child = child_of(TEST);
    let output = child.env("NETMEM_SKIPS", &path).stderr(Stdio::piped()).output().unwrap();
    let recorded = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(recorded, "some_test: no device\nother_test: no kernel\n");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("SKIPPED some_test: no device\nSKIPPED other_test: no kernel\n"));
}
