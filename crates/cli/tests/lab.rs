//! The commands end to end, in namespaces of their own: each test is a scenario of `cargo xtask lab`.
#![allow(clippy::print_stdout, reason = "the figures are what the scenarios are run for")]

#[path = "lab/doctor.rs"]
mod doctor;
#[path = "lab/forward.rs"]
mod forward;
#[path = "lab/ipv6.rs"]
mod ipv6;
#[path = "lab/list.rs"]
mod list;
#[path = "lab/support.rs"]
mod support;

use std::{
    collections::BTreeSet,
    net::{TcpListener, TcpStream, UdpSocket},
    process::Command,
    time::{Duration, Instant},
};

use support::{
    PATIENCE, Respond, assert_none_in_kernel, bed, json, netmem, ours_in_kernel, run, turn,
};

/// The program behind the first article got between 12 % and 67 % of these right, with no loss in its
/// counters.
#[test]
fn bursts() {
    let Some(_turn) = turn("bursts") else { return };
    let words = ["lab", "--bursts", "100", "--latency", "0", "--flood", "0", "--json"];
    let ran = run(&words);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let report = json(&ran.stdout);
    let phase =
        report["phases"].as_array().unwrap().iter().find(|p| p["name"] == "bursts").unwrap();
    println!("bursts: {} of {} replies right", phase["right"], phase["sent"]);
    assert_eq!((&phase["sent"], &phase["right"]), (&6400.into(), &6400.into()));
    assert_eq!((&phase["wrong"], &phase["duplicate"]), (&0.into(), &0.into()));
    assert_eq!(report["backend"], "af_xdp");
    assert_eq!(report["audit"]["ok"], true);
}

/// The schema that programs read, and the sums in it.
#[test]
fn report() {
    let Some(_turn) = turn("report") else { return };
    let ran = run(&["lab", "--bursts", "5", "--latency", "1", "--flood", "1", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let report = json(&ran.stdout);
    assert_eq!(report["schema"], "netmem.lab/1");
    assert_eq!(report["ok"], true);
    let xdp = &report["xdp"];
    assert_eq!(xdp["mode"], "native");
    assert_eq!(xdp["refused"][0]["mode"], "zero-copy");
    assert!(xdp["refused"][0]["why"].as_str().unwrap().contains("EOPNOTSUPP"));
    let requests = &report["requests"];
    assert_eq!(requests["sent"], requests["right"]);
    assert!(requests["sent"].as_u64().unwrap() > 1000 + 320);
    assert!(report["replies_per_second"].as_f64().unwrap() > 0.0);
    let latency = &report["latency_ns"];
    let at = |name: &str| latency[name].as_u64().unwrap();
    assert!(0 < at("p50") && at("p50") <= at("p99") && at("p99") <= at("max"));
    let counts = &report["counts"];
    let count = |name: &str| counts[name].as_u64().unwrap();
    let dropped: u64 =
        counts["dropped"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(
        count("received") + count("created") + count("cloned"),
        count("transmitted") + count("consumed") + dropped + count("held")
    );
    // Every request, and at least one ARP request, went through the responder.
    assert!(count("transmitted") > requests["sent"].as_u64().unwrap());
    let owners = report["audit"]["owners"].as_object().unwrap();
    let slots: u64 = owners.values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(slots, report["audit"]["slots"].as_u64().unwrap());
    assert!(report["memory"]["page_bytes"].as_u64().unwrap() >= 4096);
}

/// Generic mode is named, and gets everything right too.
#[test]
fn generic() {
    let Some(_turn) = turn("generic") else { return };
    let words = ["lab", "--mode", "generic", "--bursts", "20", "--latency", "0", "--flood", "1"];
    let ran = run(&[&words[..], &["--json"]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(json(&ran.stdout)["xdp"]["mode"], "generic");
}

/// Each tier of memory is got when asked for, or refused with a reason.
#[test]
fn pages() {
    let Some(_turn) = turn("pages") else { return };
    for (pages, page_bytes) in [("4k", 4096), ("thp,4k", 2 << 20)] {
        let words = ["lab", "--bursts", "2", "--latency", "0", "--flood", "0", "--json", "--pages"];
        let ran = run(&[&words[..], &[pages]].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let memory = &json(&ran.stdout)["memory"];
        if memory["page_bytes"] != page_bytes {
            assert!(!memory["refused"][0]["why"].as_str().unwrap().is_empty(), "{memory}");
        }
    }
    let ran = run(&["lab", "--pages", "1g"]);
    if ran.code != Some(0) {
        assert_eq!(ran.code, Some(4), "{ran:?}");
        assert!(ran.stderr.contains("1g: ") && ran.stderr.contains("hint: "), "{ran:?}");
    }
}

/// Without privilege the lab says in one sentence what is missing, and runs in memory.
#[test]
fn unprivileged() {
    use std::os::unix::process::CommandExt;
    let Some(_turn) = turn("unprivileged") else { return };
    // Another user may not be able to reach the build's folder.
    let copy = std::env::temp_dir().join(format!("netmem-unprivileged-{}", std::process::id()));
    std::fs::copy(netmem(), &copy).unwrap();
    let mut command = Command::new(&copy);
    command.args(["lab", "--bursts", "10", "--latency", "0", "--flood", "0", "--json"]);
    let output = command.uid(65534).gid(65534).output().unwrap();
    let respond = Command::new(&copy)
        .args(["respond", "lo", "--ip", "192.0.2.2"])
        .uid(65534)
        .gid(65534)
        .output();
    std::fs::remove_file(&copy).unwrap();
    let (stdout, stderr) = support::texts(&output);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("CAP_") && stderr.contains("in-memory device"), "{stderr}");
    assert_eq!(json(&stdout)["backend"], "loopback");
    assert_eq!(json(&stdout)["ok"], true);
    let respond = respond.unwrap();
    let (_, stderr) = support::texts(&respond);
    assert_eq!(respond.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("hint: "), "{stderr}");
}

/// 20 times: the lab is killed in mid-flood and leaves no process, namespace, program or link.
/// 20 times: the responder is killed in mid-flood; its interface passes traffic, and the next one
/// answers within a second, where nothing else keeps the machine busy.
#[test]
fn sigkill() {
    let Some(_turn) = turn("sigkill") else { return };
    let before = support::Traces::now();
    for round in 0..20u64 {
        let words = ["lab", "--bursts", "0", "--latency", "0", "--flood", "60"];
        let mut lab = support::start(&words);
        assert!(lab.has_said("lab: flood", PATIENCE), "{:?}", lab.wait(PATIENCE));
        std::thread::sleep(Duration::from_millis(100 + round * 7));
        assert!(!ours_in_kernel().is_empty());
        lab.child.kill().unwrap();
        lab.child.wait().unwrap();
        before.assert_nothing_more();
    }
    println!("sigkill: 20 labs killed in mid-flood left nothing");

    let bed = bed();
    let mut starts = Vec::new();
    for _ in 0..20 {
        let started = Instant::now();
        let mut respond = Respond::start(&bed, &[]);
        starts.push(started.elapsed());
        let flood = bed.flood(Duration::from_millis(300));
        std::thread::sleep(Duration::from_millis(150));
        respond.child.kill().unwrap();
        respond.child.wait().unwrap();
        flood.join().unwrap();
        assert_none_in_kernel();
        bed.assert_kernel_answers();
    }
    // What is busy slows down some, and not all.
    starts.sort_unstable();
    assert!(starts[5] < Duration::from_secs(1), "starts within a second: {starts:?}");
    println!("sigkill: 20 responders killed in mid-flood, restarted within {:?}", starts[19]);
    drop(bed);
    before.assert_nothing_more();
}

/// What would work better otherwise is told, once for all queues, on standard error and in the JSON.
#[test]
fn advice() {
    let Some(_turn) = turn("advice") else { return };
    let bed = bed();
    let mut respond = Respond::start(&bed, &["--json", "--fill-ring", "512"]);
    let ended = respond.interrupt();
    let text = "fill ring of 512: at least 2048 is advised, for the port's rx ring of 2048";
    let advice = &ended.assert_ended_well()["advice"];
    let wanted = serde_json::json!([{ "interface": bed.interface(), "queues": [0], "text": text }]);
    assert_eq!(*advice, wanted);
    let line = format!("advice         {} queue 0: {text}\n", bed.interface());
    assert!(ended.stderr.contains(&line), "{ended:?}");
}

/// Ctrl-C ends with the summary, the program off and nothing left.
#[test]
fn interrupt() {
    let Some(_turn) = turn("interrupt") else { return };
    let bed = bed();
    let mut respond = Respond::start(&bed, &["--json", "--interval", "1"]);
    bed.assert_bursts_answered(2, 64);
    let flood = bed.flood(Duration::from_millis(1200));
    assert!(respond.has_printed("\n", PATIENCE));
    flood.join().unwrap();
    let ended = respond.interrupt();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines: Vec<_> = ended.stdout.lines().map(json).collect();
    let summary = lines.last().unwrap();
    assert!(lines.len() >= 2, "a status block and the summary: {ended:?}");
    assert_eq!(lines[0]["kind"], "status");
    assert_eq!(summary["kind"], "summary");
    assert_eq!(summary["audit"]["ok"], true, "{summary}");
    assert_eq!(summary["counts"]["held"], 0);
    assert!(summary["completed"].as_u64().unwrap() > 100, "{summary}");
    assert_eq!(summary["transmitted"], summary["completed"]);
    assert_none_in_kernel();
    bed.assert_kernel_answers();

    let before = support::Traces::now();
    let mut child = support::start(&["lab", "--bursts", "0", "--latency", "0", "--flood", "60"]);
    assert!(child.has_said("lab: flood", PATIENCE), "{:?}", child.wait(PATIENCE));
    std::thread::sleep(Duration::from_millis(300));
    let ended = child.interrupt();
    // Not everything was checked, and that is not a success.
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("audit          closed"), "{ended:?}");
    assert!(ended.stdout.contains("interrupted") && ended.stdout.contains(" 0 wrong, 0 missing"));
    before.assert_nothing_more();
}

/// Everything but ARP and echo requests for the named address passes to the kernel, and is classed.
#[test]
fn passes_the_rest() {
    let Some(_turn) = turn("passes_the_rest") else { return };
    let bed = bed();
    let mut respond = Respond::start(&bed, &["--json"]);
    let server = bed.server_ip();
    let echo = bed.lab.server.run(|| UdpSocket::bind((server, 7000)).unwrap()).unwrap();
    let listener = bed.lab.server.run(|| TcpListener::bind((server, 7001)).unwrap()).unwrap();
    let client = bed.lab.client.run(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    echo.set_read_timeout(Some(PATIENCE)).unwrap();
    for n in 0..10u8 {
        client.send_to(&[n; 100], (server, 7000)).unwrap();
        let mut buffer = [0; 200];
        let (len, from) = echo.recv_from(&mut buffer).unwrap();
        assert_eq!(buffer[..len], [n; 100]);
        echo.send_to(&buffer[..len], from).unwrap();
        assert_eq!(client.recv(&mut buffer).unwrap(), 100);
    }
    let connected = bed.lab.client.run(|| TcpStream::connect((server, 7001)).unwrap()).unwrap();
    drop((listener.accept().unwrap(), connected));
    let ended = respond.interrupt();
    let summary = json(ended.stdout.lines().last().unwrap());
    let classes = summary["classes"].as_array().unwrap();
    let class = |name: &str| {
        let found = classes.iter().find(|class| class[0] == name);
        found.map_or(0, |class| class[1].as_u64().unwrap())
    };
    assert_eq!(class("udp"), 10, "{summary}");
    assert!(class("tcp") >= 3 && class("arp_request") >= 1, "{summary}");
    assert_eq!(class("echo_request"), 0);
}

/// The kernel's own ping program as client: payload lengths, record route and timestamps.
#[test]
fn ping_program() {
    let Some(_turn) = turn("ping_program") else { return };
    if Command::new("ping").arg("-V").output().is_err() {
        netmem_host::lab::skip("ping_program", "the ping program is not installed");
        return;
    }
    let bed = bed();
    let mut respond = Respond::start(&bed, &["--json"]);
    let server = bed.server_ip().to_string();
    let cases: [&[&str]; 6] = [
        &["-s", "0"],
        &["-s", "57"],
        &["-s", "1472", "-M", "do"],
        &["-R"],
        &["-T", "tsonly"],
        &["-T", "tsandaddr", "-s", "33"],
    ];
    for extra in cases {
        support::pings(&bed, 5, &[extra, &[&server]].concat());
    }
    let summary = json(respond.interrupt().stdout.lines().last().unwrap());
    // A handful of ARP requests may come beside the 30 pings.
    assert!(summary["completed"].as_u64().unwrap() >= 30, "{summary}");
    assert_eq!(summary["counts"]["dropped"].as_object().unwrap().len(), 0, "{summary}");
}

/// A foreign XDP program is never replaced; its id and name are in the message.
#[test]
fn foreign_program() {
    let Some(_turn) = turn("foreign_program") else { return };
    let bed = bed();
    let (link, id) = bed.attach_foreign("somebody_else");
    let ran = bed.netmem_in_server(&["respond", bed.interface(), "--ip", "192.0.2.2"]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.stderr.contains("\"somebody_else\""), "{ran:?}");
    assert!(ran.stderr.contains(&format!("id {id}")), "{ran:?}");
    assert!(link.is_attached().unwrap(), "left alone");
}

/// What cannot be had is refused with a message, a hint and the right exit code.
#[test]
fn refusals() {
    let Some(_turn) = turn("refusals") else { return };
    let bed = bed();
    let interface = bed.interface();
    let cases: [(&[&str], i32, &str); 8] = [
        (&["respond", "nm-missing", "--ip", "192.0.2.2"], 4, "find interface nm-missing"),
        (&["respond", interface, "--ip", "192.0.2.2", "--queue", "7"], 4, "queue 7"),
        (&["respond", interface], 2, "--ip"),
        (&["respond", interface, "--ip", "224.0.0.1"], 2, "not an address of one host"),
        (&["respond", interface, "--ip", "192.0.2.2", "--rx-ring", "1000"], 2, "power of two"),
        (&["respond", interface, "--ip", "192.0.2.2", "--frames", "0"], 2, "--frames"),
        (&["respond", interface, "--ip", "192.0.2.2", "--mac", "ff:ff:ff:ff:ff:ff"], 2, "--mac"),
        (&["frobnicate"], 2, "frobnicate"),
    ];
    for (words, code, text) in cases {
        let ran = bed.netmem_in_server(words);
        assert_eq!(ran.code, Some(code), "{words:?}: {ran:?}");
        assert!(ran.stderr.contains(text), "{words:?}: {ran:?}");
    }
    assert_none_in_kernel();
    bed.assert_kernel_answers();
}

/// An address that is not the interface's own is heard by promiscuous membership, which ends with the
/// process.
#[test]
fn other_mac() {
    let Some(_turn) = turn("other_mac") else { return };
    let bed = bed();
    let mut respond = Respond::start(&bed, &["--mac", "02:00:00:00:99:99"]);
    assert!(bed.is_promiscuous());
    bed.assert_answered_by([2, 0, 0, 0, 0x99, 0x99]);
    assert_eq!(respond.interrupt().code, Some(0));
    assert!(!bed.is_promiscuous());
}

/// The interface goes away under the responder: one message, exit code 4, the audit closed.
#[test]
fn interface_removed() {
    let Some(_turn) = turn("interface_removed") else { return };
    let bed = bed();
    let mut respond = Respond::start(&bed, &["--json"]);
    bed.flood(Duration::from_millis(100)).join().unwrap();
    bed.delete_interface();
    let ended = respond.wait(PATIENCE);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("removed"), "{ended:?}");
    let summary = json(ended.stdout.lines().last().unwrap());
    assert_eq!(summary["audit"]["ok"], true, "{summary}");
}

/// The responder beside the kernel's own stack: content is checked, the figures are for the record.
/// `NETMEM_RECORD=FILE` writes them as JSON.
#[test]
fn compare() {
    let Some(_turn) = turn("compare") else { return };
    let rounds = std::env::var("NETMEM_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(7);
    let window = Duration::from_millis(800);
    let result = netmem_cli::lab::compare::run(rounds, window, &mut std::io::stderr()).unwrap();
    netmem_cli::lab::compare::print(&mut std::io::stdout(), &result).unwrap();
    for round in &result.rounds {
        assert_eq!(round.netmem.not_right, 0, "{round:?}");
        assert!(round.netmem.replies_per_second > 0.0, "{round:?}");
    }
    // A busy machine has slow rounds.
    let best =
        result.rounds.iter().map(|round| round.netmem.replies_per_second).fold(0.0, f64::max);
    assert!(best > 10_000.0, "{:?}", result.rounds);
    if let Some(path) = std::env::var_os("NETMEM_RECORD") {
        std::fs::write(path, serde_json::to_string_pretty(&result).unwrap() + "\n").unwrap();
    }
}

/// Nothing of a lab is ever seen in the namespace that it was started from.
#[test]
fn default_namespace_untouched() {
    let Some(_turn) = turn("default_namespace_untouched") else { return };
    // Others may make and remove links of theirs meanwhile.
    let links = || -> BTreeSet<String> {
        let mut route = netmem_host::netlink::Route::open().unwrap();
        let names = route.links().unwrap().into_iter().map(|link| link.name);
        names.filter(|name| name.starts_with("nm-")).collect()
    };
    let before = links();
    let mut child = support::start(&["lab", "--bursts", "0", "--latency", "0", "--flood", "1"]);
    for _ in 0..20 {
        assert_eq!(links(), before);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(child.wait(PATIENCE).code, Some(0));
}
