//! `netmem export` and `--metrics`: figures beside the kernel's, the commands' own, and node_exporter's;
//! both formats by readers of others; dashboard and alerts by what is really there.
//!
//! Names with `lab_` run in namespaces of their own; everything is on their loopback.
#![allow(clippy::unwrap_used, reason = "tests: what cannot go on, panics")]

#[path = "metrics/openmetrics.rs"]
mod openmetrics;
#[path = "lab/support.rs"]
mod support;

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use netmem::{link::Link, packet::FrameSocket};
use netmem_cli::{
    lab::ledger::Ledger,
    metrics::{Choice, Families, classic},
};
use netmem_host::{
    sample::{NamespaceChoice, Sampler},
    source::Root,
};
use openmetrics::{Samples, parse};
use support::{Bed, PATIENCE, Respond, Running, has_programs, read_all, scenario, start_by};

const CLASSIC: &str = "text/plain";
/// Of the only command that runs.
const RECEIVED: &str = "netmem_packets_received_total{";

/// A recorded machine (kernel 6.18, two CPUs), whose figures were taken out of its files by hand too.
#[test]
fn a_recorded_machine_is_encoded_as_before() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/machine");
    let root = Root::at(&folder);
    let sample = Sampler::new(root, NamespaceChoice::Own, 0).sample().unwrap();
    let families = Families::of_sample(&sample, &Choice::default());
    let text = netmem_cli::metrics::openmetrics(families);
    let samples = parse(&text).unwrap();
    assert_eq!(samples["netmem_proto_memory_bytes{proto=\"tcp\"}"], 118.0 * 4096.0);
    assert_eq!(samples["netmem_softnet_processed_total{cpu=\"0\"}"], f64::from(0x032f_7b8e));
    assert_eq!(samples["netmem_softnet_time_squeeze_total{cpu=\"1\"}"], f64::from(0x12));
    assert_eq!(samples["netmem_slab_bytes{cache=\"TCP\"}"], 12.0 * 8.0 * 4096.0);
    assert_eq!(samples["netmem_source_up{source=\"links\"}"], 0.0);
    let text = text.replace(&format!("version=\"{}\"", env!("CARGO_PKG_VERSION")), "version=\"V\"");
    let golden = folder.with_extension("openmetrics");
    if std::env::var_os("NETMEM_BLESS").is_some() {
        fs::write(&golden, &text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(golden).unwrap(), "NETMEM_BLESS=1 writes it anew");
    if has_programs("a_recorded_machine_is_encoded_as_before", &["promtool"]) {
        check_with_promtool(&classic(&text));
    }
}

/// What the responder serves is what it says of itself at its end, and what `export` says of it from
/// outside; dashboard and alerts use metrics that are there.
#[test]
fn lab_respond_serves_what_its_summary_says() {
    scenario("lab_respond_serves_what_its_summary_says", |bed| {
        let words = ["--metrics", "127.0.0.1:9774", "--json", "--interval", "0"];
        let mut respond = Respond::start(bed, &words);
        let mut export = export(bed, &["--listen", "127.0.0.1:9775"]);
        bed.assert_bursts_answered(10, 64);
        let early =
            scrape_when(bed, 9774, |early| early.keys().any(|key| key.starts_with(RECEIVED)));
        bed.assert_bursts_answered(10, 64);
        send_damaged(bed, 7);
        // Workers publish twice a second, and in a while all of it.
        std::thread::sleep(Duration::from_millis(1200));
        let all = |samples: &Samples| {
            let dropped = sum(samples, "netmem_packets_dropped_total{");
            let sent = sum(samples, "netmem_packets_transmitted_total{");
            sum(samples, RECEIVED) >= 1287.0 && sent >= 1280.0 && dropped >= 7.0
        };
        let served = scrape_when(bed, 9774, all);
        let exported = scrape_when(bed, 9775, all);
        let older = get(bed, 9774, CLASSIC);
        uses_what_is_there(&exported);
        let summary = respond.interrupt().assert_ended_well();
        let ended = export.interrupt();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains("scrapes of"), "{ended:?}");

        let of = |samples: &Samples, name: &str, more: &str| {
            let key =
                format!("{name}{{command=\"respond\",interface=\"{}\"{more}}}", bed.interface());
            *samples.get(&key).unwrap_or_else(|| panic!("no {key}: {samples:#?}"))
        };
        let counts = &summary["counts"];
        for samples in [&served, &exported] {
            for name in ["received", "transmitted", "consumed"] {
                let told = counts[name].as_f64().unwrap();
                assert_eq!(
                    of(samples, &format!("netmem_packets_{name}_total"), ""),
                    told,
                    "{name}"
                );
            }
            for (reason, told) in counts["dropped"].as_object().unwrap() {
                let dropped = format!(",reason=\"{reason}\"");
                let ours = of(samples, "netmem_packets_dropped_total", &dropped);
                assert_eq!(ours, told.as_f64().unwrap(), "{reason}");
            }
            let slots: f64 = sum(samples, "netmem_pool_slots{");
            assert_eq!(slots, summary["audit"]["slots"].as_f64().unwrap());
            let full = sum(samples, "netmem_xsk_rx_ring_full_total{");
            assert_eq!(full, summary["kernel"]["rx_ring_full"].as_f64().unwrap());
        }
        let dropped: f64 = sum(&served, "netmem_packets_dropped_total{");
        assert_eq!(dropped, 7.0, "the damaged ones");
        assert!(of(&served, "netmem_packets_received_total", "") >= 1280.0 + 7.0);
        let first = of(&early, "netmem_packets_received_total", "");
        assert!(first < of(&served, "netmem_packets_received_total", ""), "{first}");
        if has_programs("lab_respond_serves_what_its_summary_says", &["promtool"]) {
            check_with_promtool(&older);
        }
    });
}

/// Before anything is set up: both end at once.
#[test]
fn lab_an_address_in_use_is_refused_with_words() {
    scenario("lab_an_address_in_use_is_refused_with_words", |bed| {
        let mut export = export(bed, &["--listen", "127.0.0.1:9774"]);
        let listen = ["export", "--listen", "127.0.0.1:9774"];
        let respond =
            ["respond", bed.interface(), "--ip", "10.9.9.9", "--metrics", "127.0.0.1:9774"];
        for words in [&listen[..], &respond[..]] {
            let refused = bed.netmem_in_server(words);
            refused
                .assert_refused(4, &["listen on 127.0.0.1:9774: address already in use", "hint: "]);
        }
        bed.netmem_in_server(&["export", "--listen", "127.0.0.1:0", "--netns", "no-such"])
            .assert_refused(3, &["no-such"]);
        assert_eq!(export.signal("TERM").code, Some(0));
        let mut open =
            bed.lab.server.run(|| start_by(&[], &["export", "--listen", "0.0.0.0:9774"]));
        let open = open.as_mut().unwrap();
        await_listener(bed, 9774, open);
        let ran = open.interrupt();
        assert!(ran.stderr.contains("not loopback"), "{ran:?}");
    });
}

/// Sockets and drops of a namespace, beside what the test itself did to it; the namespace is looked at
/// from inside, and from outside with its label.
#[test]
fn lab_sockets_and_drops_are_those_of_the_namespace() {
    scenario("lab_sockets_and_drops_are_those_of_the_namespace", |bed| {
        let mut inside = export(bed, &["--listen", "127.0.0.1:9774", "--per-cgroup"]);
        let pid = inside.child.id().to_string();
        let outside_words = ["export", "--listen", "127.0.0.1:9775", "--netns", &pid];
        let mut outside = bed.lab.client.run(|| start_by(&[], &outside_words)).unwrap();
        let before = scrape(bed, 9774);
        let (sockets, lost) = bed.lab.server.run(overflow).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let after = scrape(bed, 9774);
        let grown = |name: &str| after[name] - before[name];
        assert_eq!(grown("netmem_sockstat_sockets{proto=\"udp\",state=\"inuse\"}"), 6.0);
        assert_eq!(grown("netmem_sockets{proto=\"udp\"}"), 6.0);
        assert!(lost > 0.0, "the buffer overflows");
        assert_eq!(grown("netmem_netstat_total{name=\"UdpRcvbufErrors\"}"), lost);
        assert_eq!(grown("netmem_socket_drops{proto=\"udp\"}"), lost);
        assert!(after["netmem_socket_held_bytes{proto=\"udp\"}"] > 0.0);
        assert!(after.keys().any(|key| key.starts_with("netmem_cgroup_socket_held_bytes{")));
        let from_outside = bed.lab.client.run(|| wait_for(9775, &mut outside)).unwrap();
        let from_outside = parse(&from_outside).unwrap();
        let label =
            from_outside.keys().find(|key| key.starts_with("netmem_sockets_used{")).unwrap();
        let netns = label.split('"').nth(1).unwrap();
        let udp = format!("netmem_sockets{{proto=\"udp\",netns=\"{netns}\"}}");
        assert_eq!(from_outside[&udp], after["netmem_sockets{proto=\"udp\"}"]);
        drop(sockets);
        assert_eq!(outside.interrupt().code, Some(0));
        assert_eq!(inside.interrupt().code, Some(0));
    });
}

/// node_exporter's figures lie between two of ours.
#[test]
fn lab_figures_are_those_of_node_exporter() {
    let test = "lab_figures_are_those_of_node_exporter";
    if !has_programs(test, &["prometheus-node-exporter"]) {
        return;
    }
    scenario(test, |bed| {
        let mut export = export(bed, &["--listen", "127.0.0.1:9774"]);
        let words = [
            "--web.listen-address=127.0.0.1:9775",
            "--collector.disable-defaults",
            "--collector.sockstat",
            "--collector.softnet",
            "--collector.netstat",
        ];
        let spawn = || {
            let mut command = Command::new("prometheus-node-exporter");
            command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            Running::of(command.spawn().unwrap())
        };
        let mut theirs = bed.lab.server.run(spawn).unwrap();
        await_listener(bed, 9775, &mut theirs);
        let (sockets, _) = bed.lab.server.run(overflow).unwrap();
        let before = scrape(bed, 9774);
        let theirs = get(bed, 9775, CLASSIC);
        std::thread::sleep(Duration::from_millis(300));
        let after = scrape(bed, 9774);
        let mut compared = 0;
        for line in theirs.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let Some(ours) = our_name(name) else { continue };
            let Some((low, high)) = before.get(&ours).zip(after.get(&ours)) else { continue };
            let value: f64 = value.parse().unwrap();
            assert!(*low <= value && value <= *high, "{name} {value}, ours {low} to {high}");
            compared += 1;
        }
        // Three of each CPU, five of sockstat, and the counters that both show.
        assert!(compared > 3 + 5 + 8, "{compared} of {theirs}");
        drop(sockets);
        assert_eq!(export.interrupt().code, Some(0));
    });
}

/// What a figure of node_exporter is called here; `None` for those that have no twin, or move both ways.
fn our_name(theirs: &str) -> Option<String> {
    if let Some(counter) = theirs.strip_prefix("node_netstat_") {
        let name = counter.replace('_', "");
        return Some(format!("netmem_netstat_total{{name=\"{name}\"}}"));
    }
    if let Some(rest) = theirs.strip_prefix("node_softnet_") {
        let (name, labels) = rest.split_once('{')?;
        let name = name.replace("times_squeezed", "time_squeeze");
        return Some(format!("netmem_softnet_{name}{{{labels}"));
    }
    let gauge = match theirs {
        "node_sockstat_UDP_inuse" => "netmem_sockstat_sockets{proto=\"udp\",state=\"inuse\"}",
        "node_sockstat_UDP6_inuse" => "netmem_sockstat_sockets{proto=\"udp6\",state=\"inuse\"}",
        "node_sockstat_RAW_inuse" => "netmem_sockstat_sockets{proto=\"raw\",state=\"inuse\"}",
        "node_sockstat_FRAG_inuse" => "netmem_fragment_queues{family=\"ipv4\"}",
        "node_sockstat_FRAG_memory" => "netmem_fragment_memory_bytes{family=\"ipv4\"}",
        _ => return None,
    };
    Some(gauge.to_owned())
}

/// Every metric that the dashboard and the alerts name is served, or is one that this kernel has no
/// source for.
fn uses_what_is_there(exported: &Samples) {
    // No driver here lists a page pool.
    const NOT_HERE: [&str; 2] =
        ["netmem_page_pool_detached_seconds", "netmem_page_pool_inflight_bytes"];
    // The limits of the protocols are not told in the lab's namespace.
    let sample = Sampler::new(Root::live(), NamespaceChoice::Own, 0).sample().unwrap();
    let families = Families::of_sample(&sample, &Choice::default());
    let here = parse(&netmem_cli::metrics::openmetrics(families)).unwrap();
    let keys = exported.keys().chain(here.keys());
    let served: BTreeSet<&str> = keys.map(|key| key.split('{').next().unwrap()).collect();
    for file in ["grafana/netmem.json", "prometheus/netmem.rules.yml"] {
        let text = fs::read_to_string(contrib(file)).unwrap();
        let mut used = BTreeSet::new();
        for line in text.lines().map(str::trim) {
            // Expressions only: the words of an alert speak of commands.
            let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            used.extend(words.filter(|word| word.starts_with("netmem_")));
        }
        assert!(used.len() > 15, "{file}: {used:?}");
        for name in used {
            assert!(
                served.contains(name) || NOT_HERE.contains(&name),
                "{file}: {name} is not served"
            );
        }
    }
    let dashboard = fs::read_to_string(contrib("grafana/netmem.json")).unwrap();
    let panels = support::json(&dashboard);
    assert!(panels["panels"].as_array().unwrap().len() > 15);
}

/// The alerts are what Prometheus takes.
#[test]
fn promtool_takes_the_alerts() {
    if !has_programs("promtool_takes_the_alerts", &["promtool"]) {
        return;
    }
    let rules = contrib("prometheus/netmem.rules.yml");
    let output = Command::new("promtool").args(["check", "rules"]).arg(rules).output().unwrap();
    let (stdout, stderr) = support::texts(&output);
    assert!(output.status.success() && stdout.contains("SUCCESS"), "{stdout}{stderr}");
}

fn contrib(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib").join(file)
}

fn check_with_promtool(text: &str) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let (stdout, stderr) = support::texts(&output);
    assert!(output.status.success() && stderr.is_empty(), "{stdout}{stderr}");
}

/// `netmem export` in the server's namespace, once it listens.
fn export(bed: &Bed, words: &[&str]) -> Running {
    let words = [&["export"], words].concat();
    let mut running = bed.lab.server.run(|| start_by(&[], &words)).unwrap();
    let port = words[2].rsplit(':').next().unwrap().parse().unwrap();
    await_listener(bed, port, &mut running);
    running
}

fn await_listener(bed: &Bed, port: u16, running: &mut Running) {
    bed.lab.server.run(|| wait_for(port, running)).unwrap();
}

/// The first answer at a port, as soon as there is one.
fn wait_for(port: u16, running: &mut Running) -> String {
    let started = Instant::now();
    loop {
        if let Some(answer) = try_get(port, "*/*") {
            return answer;
        }
        let ended = running.child.try_wait().unwrap();
        assert!(ended.is_none(), "{ended:?}: {:?}", running.wait(Duration::ZERO));
        assert!(started.elapsed() < PATIENCE, "listens at {port}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The metrics at a port of the server's namespace.
fn scrape(bed: &Bed, port: u16) -> Samples {
    let text = get(bed, port, "application/openmetrics-text");
    parse(&text).unwrap_or_else(|why| panic!("{why}\n{text}"))
}

/// As [`scrape`], again until the figures are as they shall be.
fn scrape_when(bed: &Bed, port: u16, is_so: impl Fn(&Samples) -> bool) -> Samples {
    let started = Instant::now();
    loop {
        let samples = scrape(bed, port);
        if is_so(&samples) {
            return samples;
        }
        assert!(started.elapsed() < PATIENCE, "{samples:#?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn get(bed: &Bed, port: u16, accept: &str) -> String {
    let answer = bed.lab.server.run(|| try_get(port, accept)).unwrap();
    answer.unwrap_or_else(|| panic!("no answer at {port}"))
}

/// The body of an answer with status 200.
fn try_get(port: u16, accept: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "GET /metrics HTTP/1.0\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    assert!(head.contains(" 200 "), "{head}");
    Some(body.to_owned())
}

fn sum(samples: &Samples, prefix: &str) -> f64 {
    samples.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(_, value)| value).sum()
}

/// Six sockets, one of which is sent more than it holds; and how many datagrams were lost.
fn overflow() -> (Vec<UdpSocket>, f64) {
    let mut sockets: Vec<UdpSocket> =
        (0..6).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    socket2::SockRef::from(&sockets[0]).set_recv_buffer_size(8192).unwrap();
    let to = sockets[0].local_addr().unwrap();
    for _ in 0..50 {
        sockets[1].send_to(&[7; 1000], to).unwrap();
    }
    let held = u32::try_from(read_all(&sockets[0], 50, 0)).unwrap();
    // One stays in the buffer, to be seen.
    sockets[1].send_to(&[7; 1000], to).unwrap();
    sockets.shrink_to_fit();
    (sockets, f64::from(50 - held))
}

/// Pings whose ICMP checksum is wrong.
fn send_damaged(bed: &Bed, count: u32) {
    let endpoints = bed.endpoints(bed.lab.server_link().mac);
    let name = bed.lab.client_link().name.clone();
    let send = || {
        let link = Link::by_name(&name).unwrap();
        let mut socket = FrameSocket::open(&link, 64, 2048).unwrap();
        let ledger = Ledger::new(endpoints, 1);
        let mut frame = Vec::new();
        ledger.write_request(0, &mut frame);
        *frame.last_mut().unwrap() ^= 0x55;
        for _ in 0..count {
            assert_eq!(socket.send(&[&frame]).unwrap(), 1);
        }
    };
    bed.lab.client.run(send).unwrap();
}
