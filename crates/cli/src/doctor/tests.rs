//! Each check over made-up hosts: what triggers a finding, and what does not.
//!
//! Planted and caught: findings before closed sources in the exit code; CAP_SYS_ADMIN not taken for
//! CAP_BPF; pages of tcp_mem compared with bytes; queues missing in the RSS table not seen; zero copy said
//! of a driver that does not offer it.
#![allow(clippy::unwrap_used, reason = "tests: what cannot go on, panics")]

use netmem::link::{Channels, DriverRings, XdpFeatures};
use netmem_host::{
    netlink::{Feature, FeatureState},
    proc::FreeBlocks,
    source::{Reading, Unavailable},
};

use super::{
    facts::{Device, HugePages, Interface, OPTIONS, SYSCTLS, TRACEPOINTS},
    probe::{Sent, Uring},
    *,
};

/// All capabilities.
const ALL: u64 = (1 << 41) - 1;

fn absent<T>() -> Reading<T> {
    Err(Unavailable::absent("made up", "not there"))
}

fn denied<T>() -> Reading<T> {
    Err(Unavailable::denied("made up", "operation not permitted (EPERM)"))
}

/// A host with one interface on which nothing is found.
fn host() -> Host {
    let sysctl = |name: &'static str| {
        let value = match name {
            "kernel.io_uring_disabled" | "net.core.busy_poll" => "0",
            "net.core.netdev_budget" => "300",
            "net.core.netdev_budget_usecs" => "8000",
            "net.core.optmem_max" => "131072",
            "net.core.rmem_max" | "net.core.wmem_max" => "4194304",
            "net.ipv4.tcp_available_ulp" => "mptcp tls",
            "net.ipv4.tcp_mem" | "net.ipv4.udp_mem" => "287832 383779 575664",
            "net.ipv4.tcp_rmem" => "4096 131072 33554432",
            _ => "1",
        };
        (name, Ok(value.to_owned()))
    };
    Host {
        release: Ok("6.18.44".to_owned()),
        cpus: Ok(4),
        memory_bytes: Ok(24 << 30),
        page_bytes: 4096,
        capabilities: Ok(ALL),
        memlock_bytes: Ok(Some(8 << 20)),
        huge_pages: Ok(vec![HugePages { node: 0, page_bytes: 2 << 20, total: 8, free: 8 }]),
        zones: Ok(vec![zone(&[1, 2, 3, 4, 0, 0, 0, 0, 0, 3, 2])]),
        transparent_huge_pages: Ok("always [madvise] never".to_owned()),
        iommu_groups: Ok(0),
        bounce_slots: Ok(0),
        sysctls: SYSCTLS.map(sysctl).into(),
        tracepoints: TRACEPOINTS.map(|name| (name, Ok(()))).into(),
        options: OPTIONS.map(|name| (name, Ok("y".to_owned()))).into(),
        xdp_socket: Ok(()),
        xdp_sockets: Ok(0),
        zerocopy: Ok(Sent::Copied),
        io_uring: Ok(Uring { has_send_zc: true }),
        interfaces: vec![interface()],
    }
}

fn zone(blocks: &[u64]) -> FreeBlocks {
    FreeBlocks { node: 0, zone: "Normal".to_owned(), blocks_by_order: blocks.to_vec() }
}

fn interface() -> Interface {
    let channels = Channels { combined: 4, combined_max: 8, ..Channels::default() };
    let xdp = XdpFeatures {
        basic: true,
        redirect: true,
        ndo_xmit: true,
        xsk_zerocopy: true,
        rx_sg: true,
        zc_max_segs: Some(8),
        ..XdpFeatures::default()
    };
    Interface {
        name: "eth9".to_owned(),
        is_up: true,
        has_carrier: Some(true),
        mtu_bytes: 1500,
        driver: Ok("made_up".to_owned()),
        device: Some(Device {
            bus: "pci".to_owned(),
            name: "0000:00:03.0".to_owned(),
            domain: absent(),
            numa_node: Ok(-1),
        }),
        channels: Ok(channels),
        rx_queues: Ok(4),
        rings: Ok(DriverRings { rx: 512, tx: 512, rx_max: 4096, tx_max: 4096 }),
        xdp: Ok(xdp),
        features: Ok(vec![feature("tx-scatter-gather", Feature::On)]),
        rss: Ok(vec![0, 1, 2, 3, 0, 1, 2, 3]),
        peer_tx_checksum: None,
        program: None,
        has_default_route: false,
    }
}

fn feature(name: &str, active: Feature) -> FeatureState {
    FeatureState { name: name.to_owned(), active, wanted: active, changeable: true }
}

/// The report on the host above, changed.
fn report(change: impl FnOnce(&mut Host)) -> Report {
    let mut host = host();
    change(&mut host);
    Report::of(&host)
}

fn report_on(change: impl FnOnce(&mut Interface)) -> Report {
    report(|host| change(&mut host.interfaces[0]))
}

/// What a check says, by its verdicts.
fn verdicts(report: &Report, check: &str) -> Vec<Verdict> {
    let lines: Vec<_> = report.lines.iter().filter(|line| line.check == check).collect();
    for line in &lines {
        let wants_fix = line.verdict == Verdict::Finding;
        assert!(!wants_fix || line.fix.is_some(), "a finding says what helps: {line:?}");
        assert!(!line.what.is_empty() && !line.evidence.is_empty(), "{line:?}");
        assert!(!line.what.ends_with('.') && !line.what.contains("  "), "{line:?}");
    }
    lines.iter().map(|line| line.verdict).collect()
}

/// The report has this one finding, of `check`, and ends with code 1.
#[track_caller]
fn assert_found(report: &Report, check: &str, part: &str) {
    let found: Vec<_> =
        report.lines.iter().filter(|line| line.verdict == Verdict::Finding).collect();
    assert!(matches!(found[..], [line] if line.check == check), "{check}: {found:?}");
    assert!(found[0].what.contains(part), "{part}: {found:?}");
    verdicts(report, check);
    assert_eq!(report.outcome(), Outcome::Finding);
}

#[test]
fn nothing_is_found_where_nothing_stands_in_the_way() {
    let report = report(|_| {});
    for line in &report.lines {
        assert!(matches!(line.verdict, Verdict::Ok | Verdict::Note), "{line:?}");
    }
    assert_eq!(report.outcome(), Outcome::Done);
    let of_eth9 = report.lines.iter().filter(|line| line.interface.as_deref() == Some("eth9"));
    assert!(of_eth9.count() > 10 && report.lines[0].interface.is_none());
}

#[test]
fn each_finding_of_the_host_is_triggered_alone() {
    assert_found(&report(|h| h.release = Ok("5.10.0-8".to_owned())), "kernel", "older");
    let without_raw = ALL & !(1 << 13);
    assert_found(&report(|h| h.capabilities = Ok(without_raw)), "privileges", "CAP_NET_RAW");
    let unlocked = |h: &mut Host| {
        (h.capabilities, h.memlock_bytes) = (Ok(ALL & !(1 << 14)), Ok(Some(64 << 10)));
    };
    assert_found(&report(unlocked), "memlock", "less than the 8 MiB");
    let no_huge = |h: &mut Host| h.huge_pages = Ok(Vec::new());
    assert_found(&report(no_huge), "huge pages", "small pages");
    let small = |h: &mut Host| h.zones = Ok(vec![zone(&[900, 800, 700, 0, 0, 0])]);
    assert_found(&report(small), "fragmentation", "single pages");
    assert_found(&report(|h| h.xdp_socket = absent()), "af_xdp", "no AF_XDP");
    for (name, value, check, part) in [
        ("net.core.bpf_jit_enable", "0", "bpf jit", "interpreted"),
        ("net.core.optmem_max", "20480", "optmem_max", "about 24 sends"),
        // The article's own numbers: 64 GiB at the top, on 24 GiB.
        ("net.ipv4.tcp_mem", "8388608 12582912 16777216", "limits", "more than half"),
        ("net.ipv4.udp_mem", "16777216 383779 575664", "limits", "do not ascend"),
        ("net.core.rmem_max", "16384", "buffers", "less than"),
        ("net.ipv4.tcp_window_scaling", "0", "tcp", "64 KiB"),
        ("net.ipv4.tcp_moderate_rcvbuf", "0", "tcp", "do not grow"),
        ("net.ipv4.tcp_rmem", "8192 87380 16777216", "tcp", "less far"),
        ("net.core.netdev_budget", "0", "softirq", "nothing"),
    ] {
        let set = |h: &mut Host| drop(h.sysctls.insert(name, Ok(value.to_owned())));
        assert_found(&report(set), check, part);
    }
}

#[test]
fn what_only_looks_like_a_finding_is_none() {
    let is_clean = |report: Report| {
        let found: Vec<_> =
            report.lines.iter().filter(|line| line.verdict == Verdict::Finding).collect();
        assert!(found.is_empty(), "{found:?}");
        assert_eq!(report.outcome(), Outcome::Done);
    };
    // CAP_SYS_ADMIN stands for CAP_BPF, and CAP_IPC_LOCK for the limit.
    is_clean(report(|h| h.capabilities = Ok(ALL & !(1 << 39))));
    is_clean(report(|h| h.memlock_bytes = Ok(Some(0))));
    is_clean(report(|h| (h.capabilities, h.memlock_bytes) = (Ok(ALL & !(1 << 14)), Ok(None))));
    // 16 MiB is more than a kernel before 6.16 gives.
    is_clean(report(|h| {
        h.release = Ok("6.12.9".to_owned());
        h.sysctls.insert("net.ipv4.tcp_rmem", Ok("4096 131072 6291456".to_owned()));
    }));
    // In a network namespace the machine's limits do not show.
    is_clean(report(|h| drop(h.sysctls.insert("net.ipv4.tcp_mem", absent()))));
    is_clean(report(|h| h.io_uring = denied_by_policy(h)));
    is_clean(report(|h| h.bounce_slots = denied()));
    is_clean(report_on(|i| i.is_up = false));
    is_clean(report_on(|i| i.rx_queues = absent()));
    is_clean(report_on(|i| i.device = None));
    is_clean(report_on(|i| i.has_default_route = true));
    is_clean(report_on(|i| i.peer_tx_checksum = Some(Ok(false))));
}

fn denied_by_policy(host: &mut Host) -> Reading<Uring> {
    host.sysctls.insert("kernel.io_uring_disabled", Ok("2".to_owned()));
    denied()
}

#[test]
fn each_finding_of_an_interface_is_triggered_alone() {
    assert_found(&report_on(|i| i.has_carrier = Some(false)), "state", "other end");
    let jumbo = |i: &mut Interface| {
        i.mtu_bytes = 9000;
        i.xdp.as_mut().unwrap().rx_sg = false;
    };
    assert_found(&report_on(jumbo), "multi-buffer", "longer than one buffer");
    let fewer = |i: &mut Interface| (i.rx_queues, i.rss) = (Ok(2), Ok(vec![0, 1]));
    assert_found(&report_on(fewer), "queues", "fewer receive queues");
    assert_found(&report_on(|i| i.rss = Ok(vec![0, 1, 2, 2])), "rss", "to queue 3");
    for name in ["rx-lro", "rx-gro-hw", "rx-udp-gro-forwarding"] {
        let on = |i: &mut Interface| i.features.as_mut().unwrap().push(feature(name, Feature::On));
        assert_found(&report_on(on), "offloads", "join");
        let off =
            |i: &mut Interface| i.features.as_mut().unwrap().push(feature(name, Feature::Off));
        assert_eq!(report_on(off).outcome(), Outcome::Done);
    }
    let unfilled = |i: &mut Interface| i.peer_tx_checksum = Some(Ok(true));
    assert_found(&report_on(unfilled), "checksums", "not filled in");
    let attached = |i: &mut Interface| i.program = Some("native program \"x\" id 1".to_owned());
    assert_found(&report_on(attached), "program", "never replaced");
}

#[test]
fn what_a_driver_does_not_offer_is_said() {
    let copy = report_on(|i| i.xdp.as_mut().unwrap().xsk_zerocopy = false);
    let line = copy.lines.iter().find(|line| line.check == "zero copy").unwrap();
    assert_eq!(line.verdict, Verdict::Note);
    assert!(line.what.starts_with("copy mode"), "{line:?}");
    let generic = report_on(|i| i.xdp = Ok(XdpFeatures::default()));
    assert_eq!(verdicts(&generic, "xdp"), [Verdict::Note]);
    assert_eq!(verdicts(&generic, "ndo_xmit"), [Verdict::Note]);
    let veth = report_on(|i| {
        i.driver = Ok("veth".to_owned());
        i.xdp.as_mut().unwrap().ndo_xmit = false;
    });
    let line = veth.lines.iter().find(|line| line.check == "ndo_xmit").unwrap();
    assert!(line.fix.as_ref().unwrap().contains("gro on"), "{line:?}");
    // A send stays copied without scatter-gather, and where there is no device.
    let sends = |change: fn(&mut Interface)| {
        let report = report_on(change);
        report.lines.into_iter().rfind(|line| line.check == "msg_zerocopy").unwrap().what
    };
    assert!(sends(|_| {}).contains("not proven"));
    assert!(sends(|i| i.features = Ok(Vec::new())).ends_with("are copied"));
    assert!(sends(|i| i.device = None).contains("virtual"));
    let tls = report_on(|i| {
        i.features.as_mut().unwrap().push(feature("tls-hw-tx-offload", Feature::On));
    });
    let lines: Vec<_> = tls.lines.iter().filter(|line| line.check == "ktls").collect();
    assert!(lines[1].evidence.contains("tls-hw-tx-offload on"), "{lines:?}");
    // What is known of a driver comes with its source.
    let i40e = report_on(|i| i.driver = Ok("i40e".to_owned()));
    assert!(verdicts(&i40e, "driver").contains(&Verdict::Note));
    let strict = report(|h| {
        h.iommu_groups = Ok(3);
        h.interfaces[0].device.as_mut().unwrap().domain = Ok("DMA".to_owned());
    });
    assert_eq!(verdicts(&strict, "device"), [Verdict::Note]);
}

/// What a source does not tell is unknown, never ok; a closed one that matters ends with code 3, also
/// beside findings.
#[test]
fn unknown_is_never_ok() {
    let dark = report(|h| {
        *h = Host {
            release: absent(),
            capabilities: absent(),
            memlock_bytes: absent(),
            huge_pages: absent(),
            zones: absent(),
            transparent_huge_pages: absent(),
            iommu_groups: absent(),
            bounce_slots: absent(),
            sysctls: SYSCTLS.map(|name| (name, absent())).into(),
            options: OPTIONS.map(|name| (name, absent())).into(),
            zerocopy: absent(),
            ..h.clone()
        };
        let i = &mut h.interfaces[0];
        (i.xdp, i.features, i.rx_queues, i.rings) = (absent(), absent(), absent(), absent());
    });
    for check in [
        "kernel",
        "privileges",
        "memlock",
        "huge pages",
        "fragmentation",
        "thp",
        "bpf jit",
        "page pools",
        "iommu",
        "swiotlb",
        "xdp",
        "queues",
        "rings",
        "offloads",
    ] {
        assert_eq!(verdicts(&dark, check), [Verdict::Unknown], "{check}");
    }
    assert_eq!(verdicts(&dark, "zero copy"), [], "nothing is said of what is not known");
    assert_eq!(dark.outcome(), Outcome::Done);

    type Change = fn(&mut Host);
    let closed: [(&str, Change); 5] = [
        ("af_xdp", |h| h.xdp_socket = denied()),
        ("fragmentation", |h| h.zones = denied()),
        ("xdp", |h| h.interfaces[0].xdp = denied()),
        ("offloads", |h| h.interfaces[0].features = denied()),
        ("tracepoints", |h| drop(h.tracepoints.insert(TRACEPOINTS[0], denied()))),
    ];
    for (check, change) in closed {
        let report = report(|h| {
            change(h);
            h.interfaces[0].has_carrier = Some(false);
        });
        assert_eq!(verdicts(&report, check), [Verdict::Unknown], "{check}");
        assert_eq!(verdicts(&report, "state"), [Verdict::Finding]);
        assert_eq!(report.outcome(), Outcome::Missing, "{check}");
    }
}

#[test]
fn it_is_printed_and_serialized() {
    let report = report(|h| h.huge_pages = Ok(Vec::new()));
    let mut out = Vec::new();
    print(&mut out, &report).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("host\nkernel         ok       new enough"), "{text}");
    let part = "fix: sysctl vm.nr_hugepages=4 or more; memory for 7 is unfragmented\n";
    for part in [part, "\ninterface eth9\n", ", 1 finding, 0 unknown\n"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["schema"], "netmem.doctor/1");
    let lines = json["lines"].as_array().unwrap();
    let huge = lines.iter().find(|line| line["check"] == "huge pages").unwrap();
    assert_eq!(huge["verdict"], "finding");
    assert!(lines[0]["interface"].is_null() && lines[0]["fix"].is_null());
}
