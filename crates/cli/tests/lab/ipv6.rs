//! IPv6, proxied networks and the filter: against the kernel's own neighbor discovery and pings.
#![allow(clippy::unwrap_used, reason = "tests: what cannot go on, panics")]

use std::{
    fs,
    net::UdpSocket,
    ops::RangeInclusive,
    process::Command,
    time::{Duration, Instant},
};

use crate::support::{Bed, PATIENCE, Respond, Running, bed, json, pings, start, texts, turn};

const MAC: &str = "02:6e:6d:00:00:02";

/// A bed whose kernels have IPv6 on their ends: fd00::1 is the client's; of the addresses that
/// netmem answers for the server's kernel has none.
fn bed6() -> Bed {
    let bed = bed();
    for (namespace, link) in
        [(&bed.lab.client, bed.lab.client_link()), (&bed.lab.server, bed.lab.server_link())]
    {
        let set = |name: &str, value: &str| {
            let path = format!("/proc/sys/net/ipv6/conf/{}/{name}", link.name);
            namespace.run(|| fs::write(&path, value)).unwrap().unwrap();
        };
        set("accept_dad", "0");
        set("accept_ra", "0");
        set("disable_ipv6", "0");
    }
    ip(&bed, "-6 addr add fd00::1/64 dev nm-client nodad");
    bed
}

/// Runs `ip` with these words in the client's namespace.
fn ip(bed: &Bed, words: &str) -> String {
    command(bed, "ip", &words.split(' ').collect::<Vec<_>>())
}

fn command(bed: &Bed, program: &str, words: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(words);
    let output = bed.lab.client.run(|| command.output().unwrap()).unwrap();
    let (stdout, stderr) = texts(&output);
    format!("{stdout}{stderr}")
}

/// Asks until the answer is as it shall be.
fn until(ask: impl Fn() -> String, is_so: impl Fn(&str) -> bool) -> String {
    let since = Instant::now();
    loop {
        let answer = ask();
        if is_so(&answer) {
            return answer;
        }
        assert!(since.elapsed() < PATIENCE, "{answer}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Starts the responder with these words behind the interface, waits until it is there.
fn respond(bed: &Bed, words: &[&str]) -> Running {
    let words = [&["respond", bed.interface(), "--json"], words].concat();
    Respond::ready(bed, bed.lab.server.run(|| start(&words)).unwrap())
}

fn class(summary: &serde_json::Value, name: &str) -> u64 {
    let classes = summary["classes"].as_array().unwrap();
    let found = classes.iter().find(|class| class[0] == name);
    found.unwrap_or_else(|| panic!("no class {name}: {summary}"))[1].as_u64().unwrap()
}

fn summary(respond: &mut Running) -> serde_json::Value {
    respond.interrupt().assert_ended_well()
}

/// What all of them saw answered, to what they sent.
fn sum(asked: &[RangeInclusive<u64>]) -> RangeInclusive<u64> {
    asked.iter().map(|it| *it.start()).sum()..=asked.iter().map(|it| *it.end()).sum()
}

fn has_programs(test: &str) -> bool {
    crate::support::has_programs(test, &["ping", "ip"])
}

/// The kernel's ping over IPv6 to global and link-local addresses; its own neighbor discovery finds
/// ours, and asks us again.
#[test]
fn ping6() {
    let Some(_turn) = turn("ping6") else { return };
    if !has_programs("ping6") {
        return;
    }
    let bed = bed6();
    let mut respond = respond(&bed, &["--ip", "fd00::2,fe80::99,192.0.2.2"]);
    let mut asked = vec![pings(&bed, 5, &["-6", "fd00::2"])];
    let neighbor = ip(&bed, "-6 neigh show fd00::2");
    assert!(neighbor.contains(MAC) && neighbor.contains("REACHABLE"), "{neighbor}");
    assert!(!neighbor.contains("router"), "{neighbor}");
    for size in (0..64).chain([255, 511, 1000, 1001, 1451, 1452]) {
        asked.push(pings(&bed, 2, &["-6", "-s", &size.to_string(), "-M", "do", "fd00::2"]));
    }
    asked.push(pings(&bed, 5, &["-6", "fe80::99%nm-client"]));
    asked.push(pings(&bed, 5, &["-6", "-Q", "0xb8", "-F", "0x12345", "fd00::2"]));
    pings(&bed, 5, &["192.0.2.2"]);
    let neighbor = ip(&bed, "-6 neigh show fe80::99");
    assert!(neighbor.contains(MAC), "{neighbor}");
    // Known already: asked by unicast whether it is still there.
    ip(&bed, "-6 neigh change fd00::2 dev nm-client nud probe");
    until(|| ip(&bed, "-6 neigh show fd00::2"), |state| state.contains("REACHABLE"));
    let summary = summary(&mut respond);
    assert!(class(&summary, "neighbor_solicitation") >= 3, "{summary}");
    assert!(sum(&asked).contains(&class(&summary, "echo_request6")), "{asked:?}: {summary}");
    assert_eq!(summary["counts"]["dropped"].as_object().unwrap().len(), 0, "{summary}");
}

/// What is fragmented is not answered: the fragment with the header is dropped by its reason, the others
/// pass.
#[test]
fn fragments6() {
    let Some(_turn) = turn("fragments6") else { return };
    if !has_programs("fragments6") {
        return;
    }
    let bed = bed6();
    let mut respond = respond(&bed, &["--ip", "fd00::2"]);
    let fragmented = command(&bed, "ping", &["-6", "-c1", "-W1", "-n", "-s", "3000", "fd00::2"]);
    assert!(fragmented.contains(" 0 received"), "{fragmented}");
    pings(&bed, 2, &["-6", "fd00::2"]);
    let summary = summary(&mut respond);
    assert_eq!(summary["counts"]["dropped"]["NETMEM_FRAGMENT"], 1, "{summary}");
    // The later fragments have no type and pass.
    assert!(class(&summary, "icmp6_other") >= 2, "{summary}");
}

/// Another host that wants one of our addresses finds out that it is taken.
#[test]
fn duplicate_address() {
    let Some(_turn) = turn("duplicate_address") else { return };
    if !has_programs("duplicate_address") {
        return;
    }
    let bed = bed6();
    let respond_to = ["--ip", "fd00::2", "--proxy-arp", "fd00:0:0:1::/64"];
    let mut respond = respond(&bed, &respond_to);
    let set = |name: &str, value: &str| {
        let path = format!("/proc/sys/net/ipv6/{name}");
        bed.lab.client.run(|| fs::write(&path, value)).unwrap().unwrap();
    };
    set("conf/nm-client/accept_dad", "1");
    // Who has it already has more than the usual second to say so.
    set("neigh/nm-client/retrans_time_ms", "5000");
    let settled = |address: &str| {
        let line = || {
            let all = ip(&bed, "-6 addr show dev nm-client");
            all.lines().find(|line| line.contains(address)).unwrap_or_default().to_owned()
        };
        until(line, |line| line.contains("dadfailed") || !line.contains("tentative"))
    };
    for address in ["fd00::2", "fd00::3", "fd00:0:0:1::3"] {
        ip(&bed, &format!("-6 addr add {address}/64 dev nm-client"));
    }
    assert!(settled("fd00::2/64").contains("dadfailed"), "ours");
    assert!(!settled("fd00::3/64").contains("dadfailed"), "nobody's");
    assert!(!settled("fd00:0:0:1::3/64").contains("dadfailed"), "proxied, not taken");
    let summary = summary(&mut respond);
    assert_eq!(class(&summary, "neighbor_solicitation"), 1, "{summary}");
    assert_eq!(class(&summary, "ndp_proxy"), 0, "{summary}");
}

/// The solicited-node groups are joined while it runs, and all of them for a proxied network.
#[test]
fn groups() {
    let Some(_turn) = turn("groups") else { return };
    if !has_programs("groups") {
        return;
    }
    let bed = bed6();
    let shown = |words: &[&str]| {
        let mut ip = Command::new("ip");
        ip.args(words);
        texts(&bed.lab.server.run(|| ip.output().unwrap()).unwrap()).0
    };
    let groups = || shown(&["maddr", "show", "dev", bed.interface()]);
    let all = || shown(&["-d", "link", "show", bed.interface()]);
    let mut first = respond(&bed, &["--ip", "fd00::2,fd00::ab:cdef"]);
    let joined = groups();
    assert!(
        joined.contains("33:33:ff:00:00:02") && joined.contains("33:33:ff:ab:cd:ef"),
        "{joined}"
    );
    assert!(all().contains("allmulti 0 "), "{}", all());
    summary(&mut first);
    assert!(!groups().contains("33:33:ff:ab:cd:ef"));
    let mut second = respond(&bed, &["--proxy-arp", "fd00::/16"]);
    assert!(all().contains("allmulti 1 "), "{}", all());
    second.child.kill().unwrap();
    second.child.wait().unwrap();
    until(all, |all| all.contains("allmulti 0 "));
}

/// Whole networks are told to be here; what then comes for them is the kernel's.
#[test]
fn proxy() {
    let Some(_turn) = turn("proxy") else { return };
    if !has_programs("proxy") {
        return;
    }
    let bed = bed6();
    let words = ["--ip", "192.0.2.2", "--proxy-arp", "10.1.0.0/16,fd00:1::/32"];
    let mut respond = respond(&bed, &words);
    ip(&bed, "route add 10.1.0.0/16 dev nm-client");
    ip(&bed, "-6 route add fd00:1::/32 dev nm-client");
    // The kernel behind has two of the addresses, not on the interface that asks.
    let server = |words: &str| {
        let mut command = Command::new("ip");
        command.args(words.split(' '));
        bed.lab.server.run(|| assert!(command.status().unwrap().success())).unwrap();
    };
    server("addr add 10.1.2.3/32 dev lo");
    server("addr add 10.1.255.254/32 dev lo");
    for address in ["10.1.2.3", "10.1.255.254"] {
        let there = bed.lab.server.run(|| UdpSocket::bind((address, 7000)).unwrap()).unwrap();
        there.set_read_timeout(Some(PATIENCE)).unwrap();
        let here = bed.lab.client.run(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
        here.send_to(b"proxied", (address, 7000)).unwrap();
        assert_eq!(there.recv(&mut [0; 16]).unwrap(), 7, "{address}");
        let neighbor = ip(&bed, &format!("neigh show {address}"));
        assert!(neighbor.contains(MAC), "{neighbor}");
    }
    command(&bed, "ping", &["-6", "-c1", "-W1", "-n", "fd00:1::7:8"]);
    until(|| ip(&bed, "-6 neigh show fd00:1::7:8"), |neighbor| neighbor.contains(MAC));
    ip(&bed, "route add 10.2.0.0/16 dev nm-client");
    command(&bed, "ping", &["-c1", "-W1", "-n", "10.2.0.1"]);
    let neighbor = ip(&bed, "neigh show 10.2.0.1");
    assert!(!neighbor.contains(MAC), "outside: {neighbor}");
    let summary = summary(&mut respond);
    assert!(class(&summary, "arp_proxy") >= 2 && class(&summary, "ndp_proxy") >= 1, "{summary}");
    assert!(class(&summary, "arp_other") >= 1, "{summary}");
    assert_eq!(summary["counts"]["dropped"].as_object().unwrap().len(), 0, "{summary}");
}

/// A filter narrows what is looked at: the host that it leaves out gets no answer to its pings from
/// here (and the server's kernel gives none), all others do.
#[test]
fn narrowed() {
    let Some(_turn) = turn("narrowed") else { return };
    if !has_programs("narrowed") {
        return;
    }
    let bed = bed6();
    ip(&bed, "addr add 192.0.2.9/24 dev nm-client");
    ip(&bed, "-6 addr add fd00::9/64 dev nm-client nodad");
    let filter = "not host 192.0.2.9 and not host fd00::9";
    let mut first = respond(&bed, &["--ip", "192.0.2.2,fd00::2", "--filter", filter]);
    let asked = pings(&bed, 3, &["-I", "192.0.2.1", "192.0.2.2"]);
    let asked6 = pings(&bed, 3, &["-6", "-I", "fd00::1", "fd00::2"]);
    for words in [["-4", "192.0.2.9", "192.0.2.2"], ["-6", "fd00::9", "fd00::2"]] {
        let [family, from, to] = words;
        let all = [family, "-c3", "-i0.01", "-W1", "-n", "-I", from, to];
        let text = command(&bed, "ping", &all);
        assert!(text.contains(" 0 received"), "{text}");
    }
    let first = summary(&mut first);
    assert!(asked.contains(&class(&first, "echo_request")), "{asked:?}: {first}");
    assert!(asked6.contains(&class(&first, "echo_request6")), "{asked6:?}: {first}");
    assert!(class(&first, "outside_filter") >= 6, "{first}");

    // Without the filter both are answered: it was the filter.
    let mut second = respond(&bed, &["--ip", "192.0.2.2,fd00::2"]);
    pings(&bed, 3, &["-I", "192.0.2.9", "192.0.2.2"]);
    pings(&bed, 3, &["-6", "-I", "fd00::9", "fd00::2"]);
    summary(&mut second);
}

/// What makes no sense is refused with code 2, a bad filter with its place in the text.
#[test]
fn refusals6() {
    let Some(_turn) = turn("refusals6") else { return };
    let bed = bed();
    let cases: [(&[&str], &str); 8] = [
        (&["--ip", "ff02::1"], "not an address of one host"),
        (&["--ip", "::"], "not an address of one host"),
        (&["--ip", "::1"], "not an address of one host"),
        (&["--ip", "::ffff:192.0.2.1"], "not an address of one host"),
        (&["--ip", "fd00::2/64"], "--ip"),
        (&["--proxy-arp", "10.1.2.3/16"], "the network of that address is 10.1.0.0/16"),
        (
            &["--ip", "fd00::2", "--filter", "host fd00::1 and prot 6"],
            "and prot 6\n                 ^~~~\n",
        ),
        (&["--filter", "ip"], "--ip"),
    ];
    for (words, text) in cases {
        let words = [&["respond", bed.interface()], words].concat();
        let ran = bed.netmem_in_server(&words);
        assert_eq!(ran.code, Some(2), "{words:?}: {ran:?}");
        assert!(ran.stderr.contains(text), "{words:?}: {ran:?}");
    }
    assert_eq!(bed.program_id(), None);
    // What is answered is told, and how the filter was understood.
    let words = ["--ip", "fd00::2", "--proxy-arp", "10.1.0.0/16", "--filter", "not tcp"];
    let mut running = respond(&bed, &words);
    let ended = running.interrupt();
    assert!(
        ended
            .stderr
            .contains("neighbor solicitations and ping for fd00::2, proxy ARP for 10.1.0.0/16"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("filter         only not "), "{ended:?}");
    assert!(json(ended.stdout.lines().last().unwrap())["audit"]["ok"] == true);
}
