//! Checks of an interface: facts in, lines out.

use netmem::xdp::quirks::{self, Handling};
use netmem_host::{
    netlink::Feature,
    source::{Reading, SourceState},
};

use super::{
    Line,
    facts::{Host, Interface},
};

/// A check of an interface.
type InterfaceCheck = fn(&Host, &Interface) -> Vec<Line>;

/// All checks, in the order that they are shown in.
pub(super) static CHECKS: &[InterfaceCheck] = &[
    state,
    native,
    zero_copy,
    multi_buffer,
    redirect_target,
    queues,
    rss,
    rings,
    offloads,
    checksums,
    copied_sends,
    tls,
    device,
    program,
    default_route,
    known_quirks,
];

/// The longest packet that a frame of 4096 bytes takes behind the headroom of 256, less what native mode
/// keeps at its end for the shared info of a sk_buff, on x86-64.
const ONE_BUFFER_MTU_BYTES: u32 = 3498;

fn state(_: &Host, interface: &Interface) -> Vec<Line> {
    let evidence = format!(
        "{}, {}",
        if interface.is_up { "up" } else { "down" },
        match interface.has_carrier {
            Some(true) => "carrier",
            Some(false) => "no carrier",
            None => "carrier not told",
        }
    );
    vec![match (interface.is_up, interface.has_carrier) {
        (false, _) => Line::note("state", "the interface is down", evidence)
            .fix(format!("ip link set {} up", interface.name)),
        (true, Some(false)) => Line::finding("state", "nothing is at the other end", evidence)
            .fix("plug the cable in, or set the peer up"),
        (true, _) => Line::ok("state", "the interface is ready", evidence),
    }]
}

fn native(_: &Host, interface: &Interface) -> Vec<Line> {
    vec![match &interface.xdp {
        Err(why) => Line::unknown("xdp", "whether the driver runs XDP programs itself", why),
        Ok(xdp) if xdp.basic && xdp.redirect => {
            Line::ok("xdp", "native: the driver runs programs and redirects", driver(interface))
        }
        Ok(_) => {
            let what = "generic only: every packet becomes a sk_buff first, which is slow";
            let evidence = format!("{}: no NETDEV_XDP_ACT_BASIC with REDIRECT", driver(interface));
            Line::note("xdp", what, evidence).fix(generic_reason(interface))
        }
    }]
}

fn generic_reason(interface: &Interface) -> String {
    let of_driver = interface.driver.as_ref().ok().map(|driver| quirks::of(driver));
    let mut reasons =
        of_driver.into_iter().flatten().filter(|quirk| quirk.handling == Handling::ExplainsRefusal);
    match reasons.next() {
        Some(quirk) => format!("{} ({})", quirk.hint, quirk.source),
        None => "a driver with native XDP; `--mode generic` works meanwhile".to_owned(),
    }
}

fn zero_copy(_: &Host, interface: &Interface) -> Vec<Line> {
    let Ok(xdp) = &interface.xdp else { return Vec::new() };
    vec![if xdp.xsk_zerocopy {
        let segments =
            xdp.zc_max_segs.map_or_else(|| "not told".to_owned(), |segs| segs.to_string());
        let evidence = format!("NETDEV_XDP_ACT_XSK_ZEROCOPY; frames of one packet: {segments}");
        Line::ok(
            "zero copy",
            "the driver offers it; `--probe` shows whether a bind gets it",
            evidence,
        )
    } else {
        let what = "copy mode: the kernel copies each packet between its memory and ours";
        Line::note("zero copy", what, format!("{}: no XSK_ZEROCOPY", driver(interface)))
    }]
}

fn multi_buffer(_: &Host, interface: &Interface) -> Vec<Line> {
    // In generic mode packets are one buffer by then, however long.
    let Some(xdp) = interface.xdp.as_ref().ok().filter(|xdp| xdp.basic) else { return Vec::new() };
    let evidence = format!(
        "MTU {}, {} NETDEV_XDP_ACT_RX_SG",
        interface.mtu_bytes,
        if xdp.rx_sg { "with" } else { "without" }
    );
    vec![if xdp.rx_sg {
        Line::ok("multi-buffer", "packets may take several buffers", evidence)
    } else if interface.mtu_bytes > ONE_BUFFER_MTU_BYTES {
        let what = "the MTU allows packets longer than one buffer, so native programs are refused";
        Line::finding("multi-buffer", what, evidence)
            .fix(format!("ip link set {} mtu {ONE_BUFFER_MTU_BYTES}", interface.name))
    } else {
        Line::note("multi-buffer", "a packet takes one buffer, which the MTU allows", evidence)
    }]
}

fn redirect_target(_: &Host, interface: &Interface) -> Vec<Line> {
    let Ok(xdp) = &interface.xdp else { return Vec::new() };
    vec![if xdp.ndo_xmit {
        let evidence = "NETDEV_XDP_ACT_NDO_XMIT";
        Line::ok("ndo_xmit", "programs of other interfaces may redirect packets here", evidence)
    } else {
        let what = "what other programs redirect here is lost, without an error";
        let line = Line::note("ndo_xmit", what, "no NETDEV_XDP_ACT_NDO_XMIT");
        match interface.driver.as_deref() {
            Ok("veth") => line.fix("ethtool -K PEER gro on, or a native XDP program on the peer"),
            _ => line,
        }
    }]
}

fn queues(host: &Host, interface: &Interface) -> Vec<Line> {
    let count = match &interface.rx_queues {
        Ok(count) => *count,
        // A down interface has none, and one without channels says nothing.
        Err(why) if !interface.is_up || why.state != SourceState::Denied => {
            return vec![Line::unknown_aside("queues", "how many receive queues are in use", why)];
        }
        Err(why) => {
            return vec![Line::unknown("queues", "how many receive queues are in use", why)];
        }
    };
    let cpus = host.cpus.as_ref().ok().copied();
    let most = interface.channels.as_ref().ok().map(|c| c.combined_max.max(c.rx_max));
    let (cpus_text, most_text) = (told(cpus), told(most));
    let evidence = format!("{count} in use, {most_text} possible, {cpus_text} CPUs");
    let useful = most.zip(cpus).map(|(most, cpus)| most.min(cpus));
    vec![match useful {
        Some(useful) if count < useful => {
            let what = "fewer receive queues than CPUs that could take packets";
            Line::finding("queues", what, evidence).fix(channels_fix(interface, useful))
        }
        _ => Line::ok("queues", "a port a queue takes all packets", evidence),
    }]
}

fn channels_fix(interface: &Interface, count: u32) -> String {
    let is_combined = interface.channels.as_ref().is_ok_and(|channels| channels.combined_max > 0);
    let kind = if is_combined { "combined" } else { "rx" };
    format!("ethtool -L {} {kind} {count}", interface.name)
}

fn rss(_: &Host, interface: &Interface) -> Vec<Line> {
    let Ok(queues) = interface.rx_queues else { return Vec::new() };
    if queues < 2 {
        return vec![Line::ok(
            "rss",
            "one queue: all packets come to it",
            format!("{queues} queue"),
        )];
    }
    let table = match &interface.rss {
        Ok(table) if !table.is_empty() => table,
        Ok(_) => {
            return vec![Line::note("rss", "no table spreads packets", "empty indirection table")];
        }
        Err(why) => return vec![Line::unknown_aside("rss", "which queues get packets", why)],
    };
    let unused: Vec<_> =
        (0..queues).filter(|queue| !table.contains(queue)).map(|queue| queue.to_string()).collect();
    let evidence = format!("indirection table of {} entries over {queues} queues", table.len());
    vec![if unused.is_empty() {
        Line::ok("rss", "packets are spread over all queues in use", evidence)
    } else {
        let what = format!("no packet is spread to queue {}", unused.join(", "));
        Line::finding("rss", what, evidence)
            .fix(format!("ethtool -X {} equal {queues}", interface.name))
    }]
}

fn rings(_: &Host, interface: &Interface) -> Vec<Line> {
    vec![match &interface.rings {
        Err(why) => Line::unknown_aside("rings", "how many descriptors the driver has", why),
        Ok(rings) if rings.rx == 0 => {
            Line::note("rings", "the driver does not say what its rings hold", "0 descriptors")
        }
        Ok(rings) => {
            let evidence = format!(
                "rx {} of at most {}, tx {} of at most {}",
                rings.rx, rings.rx_max, rings.tx, rings.tx_max
            );
            let what =
                format!("in zero copy a fill ring wants {} entries and the rx ring's", rings.rx);
            Line::ok("rings", what, evidence)
        }
    }]
}

/// Receive offloads that change what an XDP program sees.
fn offloads(_: &Host, interface: &Interface) -> Vec<Line> {
    if let Err(why) = &interface.features {
        return vec![Line::unknown("offloads", "which offloads are on", why)];
    }
    let hurting = [
        (
            "rx-lro",
            "lro",
            "the device joins received packets: native XDP is refused or turns it off",
        ),
        ("rx-gro-hw", "rx-gro-hw", "the device joins received packets before a program sees them"),
        (
            "rx-udp-gro-forwarding",
            "rx-udp-gro-forwarding",
            "UDP packets are joined into longer ones",
        ),
    ];
    let found = hurting.iter().filter(|(feature, _, _)| is_on(interface, feature));
    let mut lines: Vec<_> = found
        .map(|(feature, short, what)| {
            Line::finding("offloads", *what, format!("{feature} on"))
                .fix(format!("ethtool -K {} {short} off", interface.name))
        })
        .collect();
    if lines.is_empty() {
        let evidence = "rx-lro, rx-gro-hw, rx-udp-gro-forwarding off";
        lines.push(Line::ok("offloads", "none joins received packets", evidence));
    }
    if is_on(interface, "rx-vlan-hw-parse") {
        let what = "VLAN tags of received packets may be taken off before a program sees them";
        let line = Line::note("vlan", what, "rx-vlan-hw-parse on");
        lines.push(
            line.fix(format!("ethtool -K {} rxvlan off, if a filter names VLANs", interface.name)),
        );
    }
    lines
}

fn checksums(_: &Host, interface: &Interface) -> Vec<Line> {
    vec![match &interface.peer_tx_checksum {
        None => return Vec::new(),
        Some(Ok(false)) => Line::ok(
            "checksums",
            "packets of the peer's kernel come with checksums",
            "peer: tx off",
        ),
        Some(Ok(true)) => {
            let what = "packets of the peer's kernel come with TCP and UDP checksums not filled in";
            Line::finding("checksums", what, "peer: tx-checksum on").fix("ethtool -K PEER tx off")
        }
        Some(Err(why)) => {
            Line::unknown_aside("checksums", "whether the peer's packets come with checksums", why)
        }
    }]
}

/// TCP takes pages of a program only for an interface with scatter-gather (`tcp_sendmsg_locked` in
/// net/ipv4/tcp.c, 6.18).
fn copied_sends(_: &Host, interface: &Interface) -> Vec<Line> {
    if interface.features.is_err() {
        return Vec::new();
    }
    vec![if interface.device.is_none() {
        let what =
            "what MSG_ZEROCOPY sends by a virtual interface is copied where this host receives it";
        Line::note("msg_zerocopy", what, driver(interface))
    } else if is_on(interface, "tx-scatter-gather") {
        let what =
            "sends by MSG_ZEROCOPY may go without a copy: not proven, its notifications tell";
        Line::note("msg_zerocopy", what, "tx-scatter-gather on")
    } else {
        Line::note("msg_zerocopy", "sends by MSG_ZEROCOPY are copied", "tx-scatter-gather off")
            .fix(format!("ethtool -K {} sg on, if the device can", interface.name))
    }]
}

fn tls(_: &Host, interface: &Interface) -> Vec<Line> {
    let Ok(features) = &interface.features else { return Vec::new() };
    let of_tls: Vec<_> = features
        .iter()
        .filter(|feature| feature.name.starts_with("tls-hw-"))
        .filter(|feature| feature.active == Feature::On || feature.changeable)
        .map(|feature| {
            let state = if feature.active == Feature::On { "on" } else { "off, can be turned on" };
            format!("{} {state}", feature.name)
        })
        .collect();
    vec![if of_tls.is_empty() {
        Line::note("ktls", "the device makes no TLS records: kTLS is software here", "no tls-hw-*")
    } else {
        Line::note("ktls", "the device makes TLS records", of_tls.join(", "))
    }]
}

fn device(host: &Host, interface: &Interface) -> Vec<Line> {
    let Some(device) = &interface.device else {
        return vec![Line::note("device", "no device: packets stay in memory", driver(interface))];
    };
    let node = match &device.numa_node {
        Ok(-1) => "NUMA node not told".to_owned(),
        Ok(node) => format!("NUMA node {node}"),
        Err(why) => format!("NUMA node not known: {}", why.reason),
    };
    let place = format!("{} {}, {node}", device.bus, device.name);
    let no_groups = matches!(host.iommu_groups, Ok(0));
    vec![match &device.domain {
        Ok(domain) if domain == "DMA" => {
            let what = "strict IOMMU domain: mapping per packet is slow; pools and UMEMs map once";
            Line::note("device", what, format!("{place}, domain DMA"))
                .fix("iommu.strict=0, if devices may reach freed memory for a moment")
        }
        Ok(domain) => {
            Line::ok("device", "its IOMMU domain costs little", format!("{place}, domain {domain}"))
        }
        Err(_) if no_groups => Line::ok("device", "no IOMMU between it and memory", place),
        Err(why) => Line::unknown_aside("device", format!("IOMMU domain of {place}"), why),
    }]
}

fn program(_: &Host, interface: &Interface) -> Vec<Line> {
    vec![match &interface.program {
        None => Line::ok("program", "no XDP program is attached", "IFLA_XDP"),
        Some(program) => Line::finding(
            "program",
            "another program is attached, which is never replaced",
            program,
        )
        .fix(format!("netmem list {0}; netmem detach {0}, if its owner is gone", interface.name)),
    }]
}

fn default_route(_: &Host, interface: &Interface) -> Vec<Line> {
    if !interface.has_default_route {
        return Vec::new();
    }
    let what = "the default route goes here: what takes all packets wants --force";
    vec![Line::note("route", what, "default route")]
}

fn known_quirks(_: &Host, interface: &Interface) -> Vec<Line> {
    let Ok(driver) = &interface.driver else { return Vec::new() };
    let reported = quirks::of(driver)
        .filter(|quirk| matches!(quirk.handling, Handling::Reported | Handling::FillsWholeKib(_)));
    reported.map(|quirk| Line::note("driver", quirk.what, quirk.source).fix(quirk.hint)).collect()
}

fn is_on(interface: &Interface, feature: &str) -> bool {
    let features: &Reading<_> = &interface.features;
    let mut all = features.iter().flatten();
    all.any(|state| state.name == feature && state.active == Feature::On)
}

fn driver(interface: &Interface) -> String {
    match &interface.driver {
        Ok(driver) => format!("driver {driver}"),
        Err(_) => "driver not told".to_owned(),
    }
}

fn told(count: Option<u32>) -> String {
    count.map_or_else(|| "an unknown number".to_owned(), |count| count.to_string())
}
