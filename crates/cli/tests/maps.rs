//! `netmem maps` on processes that run: our own responder, DPDK's testpmd, tcpdump, and ones that may not
//! be looked into.
//!
//! Planted and caught: a ring's mapping of ours that is not unmapped; the descriptor of ours leaked; producer
//! and consumer exchanged; a packet ring taken for an rx ring; the guess kept beside what netmem-stats says;
//! a guess written as certain; a socket shown in every namespace, or in that of its process; mappings of a
//! program that starts read before its sockets, and not again.
#![allow(clippy::unwrap_used, reason = "tests: what cannot go on, panics")]

#[path = "lab/support.rs"]
mod support;

use std::{
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use netmem::{
    device::{Device, Verdict},
    link::Link,
    mem::{Pool, PoolConfig, Region},
    packet::FrameSocket,
    xdp::{Port, RingSizes},
};
use netmem_host::{
    maps::{AddressSpace, Kind, Place, Ring, look},
    source::Root,
};
use netmem_wire::filter::{Action, Rule, Rules};
use serde_json::Value;
use support::{
    Bed, PATIENCE, Ran, Respond, alone, bed, has_programs, json, netmem, run, texts, turn,
};

/// A program under observation; killed when dropped.
struct Watched(Child);

impl Drop for Watched {
    fn drop(&mut self) {
        // Both fail only when the process has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Watched {
    /// Starts a program in the server's namespace; it reads from a pipe that stays open.
    fn start(bed: &Bed, words: &[&str]) -> Self {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(bed.lab.server.run(|| command.spawn().unwrap()).unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn signal(&self, name: &str) {
        let words = [format!("-{name}"), self.pid().to_string()];
        assert!(Command::new("kill").args(words).status().unwrap().success());
    }
}

/// Runs the command; what it prints is more than fits into a pipe.
fn maps_ran(pid: u32, words: &[&str]) -> Ran {
    let mut command = Command::new(netmem());
    let output = command.arg("maps").arg(pid.to_string()).args(words).output().unwrap();
    let (stdout, stderr) = texts(&output);
    Ran { code: output.status.code(), stdout, stderr }
}

/// What the command says of a process, which is all that there is to say.
fn maps(pid: u32) -> Value {
    let ran = maps_ran(pid, &["--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let maps = json(&ran.stdout);
    assert_eq!((&maps["schema"], &maps["pid"]), (&"netmem.maps/1".into(), &pid.into()));
    maps
}

/// Looks until the process has got as far as the test wants it.
fn maps_when(pid: u32, ready: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        let maps = maps(pid);
        if ready(&maps) {
            return maps;
        }
        assert!(started.elapsed() < PATIENCE, "not ready: {maps}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Is the only socket bound, and are there frames in its fill ring? A program maps its rings one by one,
/// binds then, and a look may come between any two of these.
fn receives(maps: &Value) -> bool {
    let Some([socket]) = maps["sockets"].as_array().map(Vec::as_slice) else { return false };
    let rings = socket["rings"].as_array().unwrap();
    let fill = rings.iter().find(|ring| ring["ring"] == "fill");
    let given = fill.and_then(|ring| ring["indices"]["producer"].as_u64());
    socket["place"]["state"] == "bound" && given.is_some_and(|given| given > 0)
}

fn areas<'m>(maps: &'m Value, kind: &str) -> Vec<&'m Value> {
    let all = maps["mappings"].as_array().unwrap();
    all.iter().filter(|area| area["kind"] == kind).collect()
}

fn address(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

/// A ring of the only socket.
fn ring<'m>(maps: &'m Value, name: &str) -> &'m Value {
    let sockets = maps["sockets"].as_array().unwrap();
    assert_eq!(sockets.len(), 1, "{maps}");
    let rings = sockets[0]["rings"].as_array().unwrap();
    rings.iter().find(|ring| ring["ring"] == name).unwrap_or_else(|| panic!("{name}: {maps}"))
}

/// The four rings: their entries, each in a mapping of its kind.
fn assert_rings(maps: &Value, entries: [(&str, Value); 4]) {
    for (name, entries) in entries {
        let ring = ring(maps, name);
        assert_eq!(ring["entries"], entries, "{name}: {ring}");
        let [area] = areas(maps, &format!("{name} ring"))[..] else { panic!("{name}: {maps}") };
        assert_eq!((&ring["mapping"], &area["certainty"]), (&area["start"], &"certain".into()));
    }
}

fn exactly(entries: u32) -> Value {
    serde_json::json!({ "exactly": entries })
}

fn level(maps: &Value, name: &str) -> u64 {
    ring(maps, name)["level"].as_u64().unwrap()
}

fn index(maps: &Value, name: &str, side: &str) -> u64 {
    ring(maps, name)["indices"][side].as_u64().unwrap()
}

fn only_queue(maps: &Value) -> &Value {
    let place = &maps["sockets"][0]["place"];
    assert_eq!(place["state"], "bound", "{place}");
    &place["queue"]
}

/// The process in which a responder's packets are looked at.
fn worker_of(respond: &Respond) -> u32 {
    let pid = respond.child.id();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.trim().parse().unwrap()
}

/// Sends so many echo requests to the server's interface when called.
fn pings(bed: &Bed, count: usize) -> impl Fn() + Sync + '_ {
    let (client, server) = (bed.lab.client_link().clone(), bed.lab.server_link().clone());
    let namespace = &bed.lab.client;
    // Opened there, it stays there.
    let link = namespace.run(|| Link::by_name(&client.name).unwrap()).unwrap();
    move || {
        let mut frame = [0u8; 98];
        frame[..6].copy_from_slice(&server.mac);
        frame[6..12].copy_from_slice(&client.mac);
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[14..24].copy_from_slice(&[0x45, 0, 0, 84, 0, 0, 0, 0, 64, 1]);
        frame[26..30].copy_from_slice(&client.interface.address.octets());
        frame[30..34].copy_from_slice(&server.interface.address.octets());
        frame[34] = 8;
        let frames = vec![&frame[..]; count];
        let send = || FrameSocket::open(&link, 64, 2048).unwrap().send(&frames).unwrap();
        assert_eq!(namespace.run(send).unwrap(), count);
    }
}

const RINGS: [&str; 8] =
    ["--rx-ring", "1024", "--tx-ring", "512", "--fill-ring", "2048", "--completion-ring", "256"];

/// Sizes as they were asked for, indices that count the packets, memory that is known for sure.
#[test]
fn responder() {
    let Some(_turn) = turn("maps::responder") else { return };
    let bed = bed();
    let respond = Respond::start(&bed, &RINGS);
    let worker = worker_of(&respond);
    bed.assert_bursts_answered(3, 64);
    // The last reply is here before its thread has told so by the rings.
    let maps = maps_when(worker, |maps| {
        let rings = maps["sockets"][0]["rings"].as_array().unwrap();
        let moved = rings.iter().filter(|ring| ring["ring"] == "rx" || ring["ring"] == "tx");
        moved.clone().count() == 2 && moved.clone().all(|ring| ring["level"] == 0)
    });
    assert_rings(
        &maps,
        [
            ("rx", exactly(1024)),
            ("tx", exactly(512)),
            ("fill", exactly(2048)),
            // 256 entries and fewer take one page.
            ("completion", serde_json::json!({ "at_most": 256 })),
        ],
    );
    // At rest: all received, all sent, the fill ring has what the program gave and the kernel left.
    assert!(index(&maps, "rx", "producer") >= 3 * 64, "{maps}");
    assert_eq!((level(&maps, "rx"), level(&maps, "tx")), (0, 0));
    assert!(index(&maps, "tx", "producer") >= 3 * 64, "{maps}");
    let given = index(&maps, "fill", "producer");
    assert_eq!(level(&maps, "fill"), given - index(&maps, "fill", "consumer"));
    assert_eq!(maps["sockets"][0]["statistics"]["rx_dropped"], 0);
    assert_eq!(maps["sockets"][0]["zero_copy"], false);
    let queue = only_queue(&maps);
    assert_eq!((&queue["interface"], &queue["queue"]), (&bed.interface().into(), &0.into()));
    assert_eq!(maps["netmem"], "respond");
    let [umem] = areas(&maps, "umem")[..] else { panic!("{maps}") };
    assert_eq!(umem["certainty"], "certain");
    assert_eq!(umem["name"], "/memfd:netmem-region (deleted)");
    assert_eq!(address(&umem["end"]) - address(&umem["start"]), 4096 * 2048);
    assert_eq!(maps["totals"]["umem_bytes"], 4096 * 2048);

    // Who holds the socket and has no ring mapped is shown with what the rings themselves tell.
    let parent = self::maps(respond.child.id());
    assert_eq!(ring(&parent, "rx")["mapping"], Value::Null);
    assert_eq!(index(&parent, "rx", "producer"), index(&maps, "rx", "producer"));
    assert_eq!(parent["sockets"][0]["inode"], maps["sockets"][0]["inode"]);

    // With a second socket in the namespace nothing proves the queue but netmem's own word.
    let table = maps_ran(worker, &[]);
    assert!(table.stdout.contains("surely: its netmem-stats"), "{table:?}");
    let is_wide = |line: &&str| line.chars().count() > 100 && !line.contains(" = ");
    let wide: Vec<_> = table.stdout.lines().filter(is_wide).collect();
    assert!(wide.is_empty(), "{wide:#?}");
}

/// A port in this process: indices and levels are its own count of packets, at each step; and a look leaves
/// neither a descriptor nor a mapping, so that the queue is free with the port.
#[test]
fn exact_and_gone() {
    let Some(_turn) = turn("maps::exact_and_gone") else { return };
    let bed = bed();
    let all = Rules::new([Rule::new("icmp", "icmp".parse().unwrap(), Action::Take)]);
    let sizes = RingSizes { rx: 256, tx: 512, fill: 1024, completion: 2048 };
    let name = bed.interface().to_owned();
    let client = pings(&bed, 60);
    let open_descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let check = || {
        let region = Region::builder(4096 * 2048).build().unwrap();
        let handle = Pool::new(region, PoolConfig::default()).unwrap().handle();
        let open = || Port::builder(&name, all.clone()).rings(sizes).open(&handle).unwrap();
        let mut port = open();
        let rings = |space: &AddressSpace| {
            let [socket] = &space.sockets[..] else { panic!("{:?}", space.sockets) };
            // This process is in another namespace than its thread here and the socket.
            let is_elsewhere = matches!(&socket.place, Place::NotKnown { why } if why.contains("another network namespace"));
            assert!(is_elsewhere, "{:?}", socket.place);
            socket.rings.clone()
        };
        client();
        let started = Instant::now();
        let looked = || look(&Root::live(), std::process::id()).unwrap();
        let of = |space: &AddressSpace, ring: Ring| {
            rings(space).into_iter().find(|look| look.ring == ring).unwrap()
        };
        // Delivered, and not taken yet.
        while of(&looked(), Ring::Rx).level != Some(60) {
            assert!(started.elapsed() < PATIENCE, "{:?}", rings(&looked()));
        }
        let before = open_descriptors();
        for _ in 0..20 {
            let space = looked();
            let fill = of(&space, Ring::Fill);
            assert_eq!(fill.indices.unwrap().consumer, 60);
            assert_eq!(u64::from(fill.indices.unwrap().producer), port.progress().filled);
            assert_eq!(of(&space, Ring::Tx).level, Some(0));
            let mapped = |area: &&netmem_host::maps::Area| matches!(area.class.kind, Kind::Ring(_));
            assert_eq!(space.mappings.iter().filter(mapped).count(), 4, "none of ours is left");
        }
        assert_eq!(open_descriptors(), before);
        let mut left = 30;
        while left > 0 {
            left -= port.receive(left, &mut (), |_| Verdict::Consume).received;
        }
        let rx = of(&looked(), Ring::Rx);
        assert_eq!((rx.indices.unwrap().producer, rx.indices.unwrap().consumer), (60, 30));
        assert_eq!((rx.level, rx.of_one_moment), (Some(30), true));
        drop(port);
        // Freed at once: the next port takes it.
        drop(open());
    };
    bed.lab.server.run(check).unwrap();
}

/// `top` of the same socket: it belongs to the namespace that it was opened in, whoever holds it.
#[test]
fn levels_in_top() {
    let Some(_turn) = turn("maps::levels_in_top") else { return };
    let bed = bed();
    let all = Rules::new([Rule::new("icmp", "icmp".parse().unwrap(), Action::Take)]);
    let sizes = RingSizes { rx: 256, tx: 512, fill: 1024, completion: 2048 };
    let client = pings(&bed, 60);
    let top = |format: &str| {
        let output = Command::new(netmem()).args(["top", format]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let numbers = |top: &Value| -> Vec<u64> {
        let all = top["namespaces"][0]["xdp_sockets"]["all"].as_array().unwrap();
        all.iter().map(|socket| socket["inode"].as_u64().unwrap()).collect()
    };
    let port_of_here = || {
        let region = Region::builder(4096 * 64).build().unwrap();
        let handle = Pool::new(region, PoolConfig::default()).unwrap().handle();
        let name = &bed.lab.client_link().name;
        let port = Port::builder(name, all.clone()).open(&handle).unwrap();
        let seen: Value = serde_json::from_str(&top("--json")).unwrap();
        drop(port);
        numbers(&seen)
    };
    let check = || {
        let region = Region::builder(4096 * 2048).build().unwrap();
        let handle = Pool::new(region, PoolConfig::default()).unwrap().handle();
        let name = bed.interface();
        let port = Port::builder(name, all.clone()).rings(sizes).open(&handle).unwrap();
        // 300 into a ring of 256; a veth keeps no more than 256 meanwhile, and loses the rest unseen.
        for sent in [60, 120, 180, 240, 300] {
            client();
            let started = Instant::now();
            let there = || u64::from(rx_level()) + port.statistics().unwrap().rx_ring_full;
            while there() < sent {
                assert!(started.elapsed() < PATIENCE, "{sent}: {:?}", port.statistics());
            }
        }
        let seen: Value = serde_json::from_str(&top("--json")).unwrap();
        let socket = &seen["namespaces"][0]["xdp_sockets"]["all"][0];
        assert_eq!(numbers(&seen).len(), 1, "{seen}");
        assert_levels(socket, &port, name);
        let metrics = top("--openmetrics");
        let used = format!(
            "netmem_xsk_socket_ring_entries_used{{ino=\"{}\",device=\"{name}\",queue=\"0\",ring=\"rx\"}} 256\n",
            socket["inode"]
        );
        assert!(metrics.contains(&used), "{metrics}");
        assert!(metrics.ends_with("# EOF\n"));
        // This process holds sockets of both namespaces, and each shows where it was opened.
        let others = bed.lab.client.run(port_of_here).unwrap();
        assert!(others.len() == 1 && others != numbers(&seen), "{others:?}");
    };
    bed.lab.server.run(check).unwrap();
}

/// How full the rx ring of this process's only port is.
fn rx_level() -> u32 {
    let space = look(&Root::live(), std::process::id()).unwrap();
    let [socket] = &space.sockets[..] else { panic!("{:?}", space.sockets) };
    let rx = socket.rings.iter().find(|look| look.ring == Ring::Rx);
    rx.unwrap().level.unwrap()
}

/// A full rx ring and the other three, as the port has them.
fn assert_levels(socket: &Value, port: &Port, interface: &str) {
    assert_eq!(socket["owners"][0]["pid"], std::process::id());
    let look = &socket["look"];
    let place = &look["place"];
    assert_eq!((&place["state"], &place["queue"]["queue"]), (&"bound".into(), &0.into()));
    assert_eq!(place["queue"]["interface"], interface);
    let ring = |name: &str| {
        let rings = look["rings"].as_array().unwrap();
        rings.iter().find(|ring| ring["ring"] == name).unwrap()
    };
    let exactly = |name: &str| ring(name)["entries"]["exactly"].as_u64().unwrap();
    let entries = ["rx", "tx", "fill", "completion"].map(exactly);
    assert_eq!(entries, [256, 512, 1024, 2048]);
    let filled = port.progress().filled;
    assert_eq!(ring("fill")["indices"]["producer"].as_u64().unwrap(), filled);
    assert_eq!((&ring("rx")["level"], &ring("tx")["level"]), (&256.into(), &0.into()));
    let kernel = port.statistics().unwrap();
    assert_eq!(look["statistics"]["rx_ring_full"], kernel.rx_ring_full);
    assert_eq!(look["statistics"]["rx_dropped"], kernel.rx_dropped);
}

/// Sets a flag when dropped.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Fifty looks at a process under load lose no packet; killed during looks, it leaves its queue free.
#[test]
fn unharmed() {
    let Some(_turn) = turn("maps::unharmed") else { return };
    let bed = bed();
    for round in 0..5 {
        let mut respond = Respond::start(&bed, &[]);
        let worker = worker_of(&respond);
        let (over, looks) = (AtomicBool::new(false), AtomicU32::new(0));
        thread::scope(|scope| {
            let look = || {
                while !over.load(Ordering::Relaxed) {
                    let ran = maps_ran(worker, &["--json"]);
                    // It may have been killed meanwhile.
                    assert!(matches!(ran.code, Some(0 | 4)), "{ran:?}");
                    looks.fetch_add(u32::from(ran.code == Some(0)), Ordering::Relaxed);
                }
            };
            let looking = scope.spawn(look);
            // Also when an assertion fails: the scope waits for the thread.
            let _end = SetAtEnd(&over);
            let started = Instant::now();
            bed.assert_bursts_answered(30, 64);
            while looks.load(Ordering::Relaxed) == 0 {
                assert!(started.elapsed() < PATIENCE, "no look");
                bed.assert_bursts_answered(1, 64);
            }
            respond.child.kill().unwrap();
            respond.child.wait().unwrap();
            let killed = Instant::now();
            let mut next = Respond::start(&bed, &["--json"]);
            assert!(killed.elapsed() < Duration::from_secs(20), "{:?}", killed.elapsed());
            bed.assert_bursts_answered(1, 64);
            next.interrupt().assert_ended_well();
            over.store(true, Ordering::Relaxed);
            looking.join().unwrap();
        });
        assert!(looks.into_inner() > 0, "round {round}");
    }
}

/// DPDK's testpmd: its rings, its memory by guess, its sections as readelf has them.
#[test]
fn testpmd() {
    const TESTPMD: &str = "dpdk-testpmd --lcores=0@0,1@1 --no-pci --no-huge -m 512 --no-telemetry \
        --file-prefix=netmem_maps --vdev=net_af_xdp0,iface=IFACE,start_queue=0,queue_count=1,busy_budget=0 \
        -- --forward-mode=macswap --auto-start --burst=64 --rxd=2048 --txd=1024 --total-num-mbufs=16384 \
        --nb-cores=1 --no-lsc-interrupt --no-rmv-interrupt";
    let Some(_turn) = turn("maps::testpmd") else { return };
    if !has_programs("maps::testpmd", &["dpdk-testpmd", "readelf"]) {
        return;
    }
    let bed = bed();
    let words = TESTPMD.replace("IFACE", bed.interface());
    let testpmd = Watched::start(&bed, &words.split_whitespace().collect::<Vec<_>>());
    let maps = maps_when(testpmd.pid(), receives);
    assert_rings(
        &maps,
        [
            ("rx", exactly(2048)),
            // Its driver has its own number for both, whatever is asked for.
            ("tx", exactly(2048)),
            ("completion", exactly(2048)),
            ("fill", exactly(4096)),
        ],
    );
    let queue = only_queue(&maps);
    assert_eq!((&queue["interface"], &queue["queue"]), (&bed.interface().into(), &0.into()));
    let [umem] = areas(&maps, "umem")[..] else { panic!("{maps}") };
    assert_eq!(umem["certainty"], "likely");
    assert!(umem["name"].as_str().unwrap().contains("nohuge"), "{umem}");
    assert!(umem["why"].as_str().unwrap().contains("the fill ring's addresses reach to"), "{umem}");
    assert_sections_as_readelf(&maps, "/usr/bin/dpdk-testpmd");
    assert!(!areas(&maps, "thread stack").is_empty() && !areas(&maps, "library code").is_empty());
}

/// Every section that takes memory is in a mapping of the program, where readelf says.
fn assert_sections_as_readelf(maps: &Value, program: &str) {
    let output = Command::new("readelf").args(["-SW", program]).output().unwrap();
    let (text, _) = texts(&output);
    let own: Vec<_> = ["code", "read-only data", "data", "bss"]
        .iter()
        .flat_map(|kind| areas(maps, kind))
        .collect();
    let first =
        own.iter().filter(|area| area["offset"] == "0x0").map(|area| address(&area["start"])).min();
    let base = first.unwrap();
    let mut checked = 0;
    for line in text.lines() {
        let Some((_, line)) = line.split_once(']') else { continue };
        let words: Vec<_> = line.split_whitespace().collect();
        let [name, kind, start, _, size, _, flags, ..] = words[..] else { continue };
        let number = |text| u64::from_str_radix(text, 16);
        let (Ok(start), Ok(size)) = (number(start), number(size)) else { continue };
        if !flags.contains('A') || size == 0 || (kind == "NOBITS" && flags.contains('T')) {
            continue;
        }
        let has = |area: &&&Value| {
            let sections = area["sections"].as_array().unwrap();
            sections.iter().any(|section| *section == name)
                && (address(&area["start"])..address(&area["end"])).contains(&(base + start))
        };
        assert!(own.iter().any(|area| has(&area)), "{name} at {start:#x}: {own:#?}");
        let code = own.iter().find(has).unwrap()["kind"] == "code";
        assert_eq!(code, flags.contains('X'), "{name}");
        checked += 1;
    }
    assert!(checked > 10, "{text}");
}

/// A packet ring is one, and neither a ring of AF_XDP nor packet memory.
#[test]
fn tcpdump() {
    let Some(_turn) = turn("maps::tcpdump") else { return };
    if !has_programs("maps::tcpdump", &["tcpdump"]) {
        return;
    }
    let bed = bed();
    let words = ["tcpdump", "-i", bed.interface(), "-w", "/dev/null"];
    let tcpdump = Watched::start(&bed, &words);
    let maps = maps_when(tcpdump.pid(), |maps| {
        // Its ring is mapped before it takes packets.
        let socket = &maps["packet_sockets"][0];
        socket["ifindex"].as_u64() > Some(0) && socket["ether_type"].as_u64() > Some(0)
    });
    let [ring] = areas(&maps, "packet ring")[..] else { panic!("{maps}") };
    assert_eq!((&ring["offset"], &ring["permissions"]), (&"0x0".into(), &"rw-s".into()));
    assert_eq!(address(&ring["end"]) - address(&ring["start"]), 2 << 20, "tcpdump's usual 2 MiB");
    assert_eq!(maps["sockets"], Value::Array(Vec::new()));
    let geometry = &maps["packet_sockets"][0]["rx_ring"];
    let number = |name: &str| geometry[name].as_u64().unwrap();
    assert_eq!(number("blocks") * number("block_bytes"), 2 << 20, "{geometry}");
    assert_eq!(maps["packet_sockets"][0]["inode"], ring["inode"]);
    // What it does not take stays in the ring, until it may again.
    let used = |maps: &Value| maps["packet_sockets"][0]["levels"]["rx"]["used"].as_u64().unwrap();
    let until = |what: &dyn Fn(u64) -> bool| {
        let started = Instant::now();
        while !what(used(&self::maps(tcpdump.pid()))) {
            assert!(started.elapsed() < PATIENCE, "{}", self::maps(tcpdump.pid()));
        }
    };
    until(&|used| used == 0);
    tcpdump.signal("STOP");
    pings(&bed, 60)();
    until(&|used| used > 0);
    tcpdump.signal("CONT");
    until(&|used| used == 0);
    for kind in ["umem", "rx ring", "huge pages"] {
        assert!(areas(&maps, kind).is_empty(), "{kind}: {maps}");
    }
}

/// The picture has every mapping and every ring of the table.
#[test]
fn picture() {
    let Some(_turn) = turn("maps::picture") else { return };
    let bed = bed();
    let respond = Respond::start(&bed, &["--no-sandbox"]);
    let path = std::env::temp_dir().join(format!("netmem-maps-{}.svg", std::process::id()));
    let ran = maps_ran(respond.child.id(), &["--json", "--svg", path.to_str().unwrap()]);
    let picture = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let maps = json(&ran.stdout);
    let document = roxmltree::Document::parse(&picture).unwrap();
    let attributes = |class: &str, name: &str| {
        let nodes = document.descendants().filter(|node| node.attribute("class") == Some(class));
        let mut all: Vec<_> = nodes.map(|node| node.attribute(name).unwrap().to_owned()).collect();
        all.sort_unstable();
        all
    };
    let mut starts: Vec<_> =
        maps["mappings"].as_array().unwrap().iter().map(|m| m["start"].as_str().unwrap()).collect();
    starts.sort_unstable();
    assert_eq!(attributes("mapping", "data-start"), starts);
    assert_eq!(attributes("ring", "data-ring"), ["completion", "fill", "rx", "tx"]);
    assert_eq!(attributes("ring", "data-entries"), ["2048"; 4]);
    let fill = level(&maps, "fill").to_string();
    assert!(attributes("ring", "data-level").contains(&fill), "{fill}");
    let refused = maps_ran(respond.child.id(), &["--svg", "/proc/no/such"]);
    refused.assert_refused(4, &["write /proc/no/such: "]);
}

/// Without privilege: nothing of others, and of one's own all but page frames.
#[test]
fn unprivileged() {
    let Some(_turn) = turn("maps::unprivileged") else { return };
    let copy = std::env::temp_dir().join(format!("netmem-maps-{}", std::process::id()));
    std::fs::copy(netmem(), &copy).unwrap();
    let as_nobody = |program: &std::ffi::OsStr| {
        let mut command = Command::new(program);
        command
            .uid(65534)
            .gid(65534)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    };
    let mut own = Watched(as_nobody("sleep".as_ref()).arg("60").spawn().unwrap());
    let look =
        |pid: u32| as_nobody(copy.as_os_str()).args(["maps", &pid.to_string()]).output().unwrap();
    let (others, ours) = (look(std::process::id()), look(own.pid()));
    std::fs::remove_file(&copy).unwrap();
    own.0.kill().unwrap();
    let (stdout, stderr) = texts(&others);
    assert_eq!((others.status.code(), stdout.as_str()), (Some(3), ""), "{stderr}");
    assert!(stderr.contains("permission denied") && stderr.contains("hint: "), "{stderr}");
    let (stdout, stderr) = texts(&ours);
    assert_eq!(ours.status.code(), Some(3), "{stdout}{stderr}");
    assert!(stdout.contains("[stack]") && stdout.contains("sleep .init"), "{stdout}");
    let why = "pagemap: denied: page frames read as zero, which CAP_SYS_ADMIN may change";
    assert!(stdout.contains(why), "{stdout}");
}

#[test]
fn who_is_not_there() {
    // Others count the descriptors of this process.
    let _alone = alone();
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    maps_ran(child.id(), &[])
        .assert_refused(4, &["look into process", "hint: there is no such process"]);
    assert_eq!(run(&["maps", "0"]).code, Some(2));
    // A kernel thread.
    let kthreadd = std::fs::read_to_string("/proc/2/comm").unwrap_or_default();
    if kthreadd.trim() == "kthreadd" {
        run(&["pmap", "2"]).assert_refused(4, &["no address space"]);
    }
}
