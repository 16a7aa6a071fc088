//! `netmem top` against what others say of the same sockets, and its screen in a real terminal.
//!
//! Planted and caught here or by the view's own tests: drops read from another number; what was received left
//! out of what is charged; namespaces that only a descriptor holds not looked for; the terminal left raw; pages
//! told as bytes; a key, a filter or the cursor's page that does nothing; sockets that are not told shown as
//! none; columns, units and control characters.
#![allow(clippy::unwrap_used, reason = "tests: what cannot go on, panics")]

#[path = "support/screen.rs"]
mod screen;

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    ops::Deref,
    path::Path,
    process::{Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use netmem_cli::{Outcome, args::TopArgs, top};
use netmem_host::{
    lab::{NetNs, missing_privilege, skip},
    netlink::{AdminState, Route},
    source::Root,
};
use rustix::process::{Pid, Resource, Rlimit, WaitId, WaitIdOptions, getrlimit, setrlimit, waitid};
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};

use self::screen::{Screen, has_program};

const NETMEM: &str = env!("CARGO_BIN_EXE_netmem");
const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../host/tests/fixtures/6.18");

/// A namespace with its loopback up, and the right to run alone: other tests' sockets count in what is told of
/// the whole machine, and their work in what a sample costs.
struct Inside {
    namespace: NetNs,
    _turn: MutexGuard<'static, ()>,
}

impl Deref for Inside {
    type Target = NetNs;

    fn deref(&self) -> &NetNs {
        &self.namespace
    }
}

/// `None` without the privilege, which is noted as a skip.
fn namespace(test: &str) -> Option<Inside> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(missing) = missing_privilege() {
        skip(test, &missing);
        return None;
    }
    let namespace = NetNs::create().unwrap();
    namespace.run(|| Route::open()?.set_state("lo", AdminState::Up)).unwrap().unwrap();
    Some(Inside { namespace, _turn: turn })
}

fn netmem(words: &[&str]) -> Output {
    Command::new(NETMEM).args(words).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn print(args: &TopArgs) -> (Outcome, String) {
    let mut out = Vec::new();
    let outcome = top::print(args, Root::at(RECORDED), &mut out).unwrap();
    (outcome, String::from_utf8(out).unwrap())
}

fn source<'a>(part: &'a Value, name: &str) -> &'a Value {
    let all = part["sources"].as_array().unwrap();
    all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name}: {part}"))
}

#[test]
fn a_recorded_machine_as_text_and_json() {
    let (outcome, text) = print(&TopArgs::default());
    assert_eq!(outcome, Outcome::Done);
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert!(text.contains("Totals only"), "{text}");
    assert!(text.contains("not known: socket diagnosis: absent"), "{text}");
    assert!(!text.contains("no packet socket"), "{text}");

    let (outcome, text) = print(&TopArgs { json: true, strict: true, ..TopArgs::default() });
    assert_eq!(outcome, Outcome::Missing);
    let top: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(top["schema"], "netmem.top/1");
    let sockstat = fs::read_to_string(Path::new(RECORDED).join("proc/net/sockstat")).unwrap();
    let tcp = sockstat.lines().find_map(|line| line.strip_prefix("TCP: ")).unwrap();
    let words: Vec<&str> = tcp.split(' ').collect();
    let figure = |name| {
        let at = words.iter().position(|word| *word == name).unwrap();
        words[at + 1].parse::<u64>().unwrap()
    };
    let protocol = &top["machine"]["protocols"][0];
    assert_eq!(protocol["pages"], figure("mem"));
    assert_eq!(protocol["bytes"], 4096 * figure("mem"));
    let namespace = &top["namespaces"][0];
    assert_eq!(namespace["sockstat"]["tcp_inuse"], figure("inuse"));
    // Not told is null with a reason, and neither 0 nor an empty list.
    assert_eq!((&namespace["sockets"], &namespace["packet_sockets"]), (&Value::Null, &Value::Null));
    assert_eq!(source(namespace, "packet-sockets")["state"], "absent");
    assert_eq!(source(&top["machine"], "softnet")["state"], "ok");
    assert_eq!(top["rates"], Value::Null);
}

/// A full receive buffer: what is shown of the socket is what it, `ss` and the kernel's files say.
#[test]
fn lab_top_shows_drops_as_others_count_them() {
    let test = "lab_top_shows_drops_as_others_count_them";
    let Some(inside) = namespace(test) else { return };
    let received = inside.run(|| {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        socket.set_recv_buffer_size(8192).unwrap();
        let socket: UdpSocket = {
            let any = "127.0.0.1:0".parse::<SocketAddr>().unwrap();
            socket.bind(&any.into()).unwrap();
            socket.into()
        };
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..50 {
            sender.send_to(&[7; 1000], socket.local_addr().unwrap()).unwrap();
        }
        let top = json(&netmem(&["top", "--json"]));
        let port = socket.local_addr().unwrap().port();
        let ss = Command::new("ss").args(["-H", "-u", "-a", "-m", "-n"]).output();
        let udp = fs::read_to_string("/proc/thread-self/net/udp").unwrap();
        socket.set_nonblocking(true).unwrap();
        let received = (0..50).filter(|_| socket.recv(&mut [0; 2000]).is_ok()).count();
        (top, port, ss, udp, received)
    });
    let (top, port, ss, udp, received) = received.unwrap();
    let drops = 50 - received as u64;
    assert!(received > 0 && drops > 0, "{received}");
    let namespace = &top["namespaces"][0];
    assert_eq!(namespace["counters"]["UdpRcvbufErrors"], drops);
    let all = namespace["sockets"]["top"].as_array().unwrap();
    let source = format!("127.0.0.1:{port}");
    let ours = all.iter().find(|one| one["socket"]["source"] == *source).unwrap();
    let memory = &ours["socket"]["memory"];
    assert_eq!(memory["drops"], drops);
    assert_eq!(ours["locks"]["is_rcvbuf_locked"], true);
    assert_eq!(ours["owners"][0]["pid"], std::process::id());
    let row = udp.lines().find(|line| line.contains(&format!(":{port:04X} "))).unwrap();
    assert_eq!(row.split_whitespace().last().unwrap(), drops.to_string());
    // Nobody else has sockets here: the sums are those of the two.
    let sums = namespace["sockets"]["processes"].as_array().unwrap();
    assert_eq!((sums.len(), &sums[0]["sum"]["drops"]), (1, &drops.into()));
    if let Ok(ss) = ss {
        let ss = String::from_utf8_lossy(&ss.stdout).into_owned();
        let at = ss.find(&format!("127.0.0.1:{port}")).unwrap();
        let skmem = ss[at..].split("skmem:(").nth(1).unwrap().split(')').next().unwrap();
        let figure = |name: &str| memory[name].as_u64().unwrap();
        let ours = format!(
            "r{},rb{},t{},tb{},f{},w{},o{},bl{},d{}",
            figure("rmem_alloc_bytes"),
            figure("rcvbuf_bytes"),
            figure("wmem_alloc_bytes"),
            figure("sndbuf_bytes"),
            figure("fwd_alloc_bytes"),
            figure("wmem_queued_bytes"),
            figure("optmem_bytes"),
            figure("backlog_bytes"),
            figure("drops"),
        );
        assert_eq!(ours, skmem);
    }
}

/// A kernel that lists no RAW socket while it counts one cannot tell; one that can lists it.
#[test]
fn lab_top_tells_none_from_cannot_tell() {
    let Some(inside) = namespace("lab_top_tells_none_from_cannot_tell") else { return };
    let (none, one) = inside
        .run(|| {
            let none = json(&netmem(&["top", "--json"]));
            let _raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
            (none, netmem(&["top", "--json", "--strict"]))
        })
        .unwrap();
    let raw = |top: &Value| {
        let all = top["namespaces"][0]["sockets"]["protocols"].as_array().unwrap().clone();
        all.into_iter().find(|one| one["protocol"] == "raw").unwrap()["sum"].clone()
    };
    // A kernel without CONFIG_INET_RAW_DIAG may refuse even when there is none.
    match (raw(&none), &source(&none["namespaces"][0], "raw-sockets")["state"]) {
        (Value::Null, state) => assert_eq!(state, "absent"),
        (sum, state) => assert_eq!((&sum["sockets"], state), (&0.into(), &"ok".into())),
    }
    let (code, one) = (one.status.code(), json(&one));
    assert_eq!(one["namespaces"][0]["sockstat"]["raw_inuse"], 1);
    let state = source(&one["namespaces"][0], "raw-sockets")["state"].clone();
    match raw(&one) {
        Value::Null => assert_eq!((code, state), (Some(3), "absent".into())),
        sum => assert_eq!((&sum["sockets"], state), (&1.into(), "ok".into())),
    }
}

/// A namespace that only a descriptor holds is among all, and can be named by a process in it.
#[test]
fn lab_top_finds_namespaces() {
    let Some(inside) = namespace("lab_top_finds_namespaces") else { return };
    let _listener = inside.run(|| TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    let top = json(&netmem(&["top", "--json", "--netns", "all"]));
    let all = top["namespaces"].as_array().unwrap();
    assert!(all.len() > 1, "{}", all.len());
    let ours: Vec<_> = all.iter().filter(|one| one["inode"] == inside.inode()).collect();
    assert_eq!(ours.len(), 1);
    assert_eq!(ours[0]["sockstat"]["tcp_inuse"], 1);
    assert_eq!(ours[0]["sockets"]["protocols"][0]["sum"]["sockets"], 1);
    assert!(ours[0]["descriptor_count"].as_u64().unwrap() > 0);

    let mut child = inside.run(|| Command::new("sleep").arg("60").spawn().unwrap()).unwrap();
    let pid = child.id().to_string();
    let named = netmem(&["top", "--json", "--netns", &pid]);
    let _ = child.kill();
    let _ = child.wait();
    assert_eq!(json(&named)["namespaces"][0]["inode"], inside.inode());

    let refused = netmem(&["top", "--netns", "no-such-namespace"]);
    // Where some process may not be looked into, it may be there.
    let is_whole = all[0]["sources"].as_array().unwrap().iter().all(|s| s["name"] != "namespaces");
    assert_eq!(refused.status.code(), Some(if is_whole { 4 } else { 3 }), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no-such-namespace"), "{refused:?}");
}

/// The machine's count of TCP's memory, and of its sockets, against the sum over all sockets that are shown.
#[test]
fn lab_top_adds_up_to_the_machines_count() {
    const PAIRS: usize = 32;
    let Some(inside) = namespace("lab_top_adds_up_to_the_machines_count") else { return };
    let all = || json(&netmem(&["top", "--json", "--netns", "all"]));
    let sockstat = |top: &Value, name: &str| {
        let spaces = top["namespaces"].as_array().unwrap();
        let ours = spaces.iter().find(|one| one["inode"] == inside.inode()).unwrap();
        ours["sockstat"][name].as_u64().unwrap()
    };
    let tcp = |top: &Value| {
        let protocols = top["machine"]["protocols"].as_array().unwrap().clone();
        protocols.into_iter().find(|one| one["protocol"] == "tcp").unwrap()
    };
    let charged = |top: &Value| -> u64 {
        let spaces = top["namespaces"].as_array().unwrap().iter();
        let sums = spaces.map(|one| &one["sockets"]["protocols"][0]);
        sums.map(|one| (one["protocol"] == "tcp").then(|| one["sum"]["charged_bytes"].as_u64()))
            .map(|charged| charged.unwrap().unwrap())
            .sum()
    };
    let before = all();
    let _held = inside
        .run(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let streams = (0..PAIRS).flat_map(|_| {
                let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                near.set_nonblocking(true).unwrap();
                // As much as both ends take, which nobody reads.
                while near.write(&[7; 1 << 16]).is_ok() {}
                [near, listener.accept().unwrap().0]
            });
            (streams.collect::<Vec<_>>(), listener)
        })
        .unwrap();
    // What others send and receive between two of its sources is no fault of the sum: it adds up in one
    // sample of some.
    let mut after = all();
    for _ in 0..20 {
        let figure = |name: &str| tcp(&after)[name].as_u64().unwrap();
        if figure("bytes").abs_diff(charged(&after)) <= figure("error_bar_bytes") {
            break;
        }
        thread::sleep(Duration::from_millis(200));
        after = all();
    }
    let grown = |name| sockstat(&after, name) - sockstat(&before, name);
    assert_eq!(grown("tcp_inuse"), 2 * PAIRS as u64 + 1);
    let protocol = tcp(&after);
    let figure = |name: &str| protocol[name].as_u64().unwrap();
    assert_eq!(figure("bytes"), figure("pages") * rustix::param::page_size() as u64);
    let (sum, error_bar) = (charged(&after), figure("error_bar_bytes"));
    assert!(sum > 4 * error_bar, "too little to tell: {sum} of {error_bar}");
    assert!(figure("bytes").abs_diff(sum) <= error_bar, "{sum}: {protocol}");
}

#[test]
fn lab_top_on_a_terminal() {
    let test = "lab_top_on_a_terminal";
    let Some(inside) = namespace(test) else { return };
    if !has_program(test, "tmux") {
        return;
    }
    let screen = inside.run(|| Screen::new("top")).unwrap();
    let _listener = inside.run(|| TcpListener::bind("127.0.0.1:4321").unwrap()).unwrap();
    let begin = format!("stty -g; {NETMEM} top; echo code $?; stty -g");
    screen.keys(&[&begin, "Enter"]);
    screen.until("the first pane", |shown| {
        shown.contains("Memory of protocols") && shown.contains("? help")
    });
    screen.keys(&["4"]);
    screen.until("the links", |shown| shown.contains("Links") && shown.contains("lo"));
    screen.keys(&["?"]);
    screen.until("the help", |shown| shown.contains("Any key goes back."));
    screen.keys(&["x", "/"]);
    screen.keys(&["-l", "nothing-like-it"]);
    screen.keys(&["Enter"]);
    screen.until("no rows", |shown| shown.contains("no row has the filter's text"));
    screen.keys(&["Escape"]);
    screen.until("all rows", |shown| !shown.contains("no row has the filter's text"));
    screen.keys(&["p"]);
    screen.until("a pause", |shown| shown.contains("PAUSED"));
    screen.tmux(&["resize-window", "-x", "40", "-y", "10"]);
    let small = screen.until("the small window", |shown| shown.contains("of 8, Tab"));
    assert!(small.lines().all(|line| line.chars().count() <= 40), "{small}");
    screen.tmux(&["resize-window", "-x", "120", "-y", "40"]);
    screen.keys(&["q"]);
    // The terminal is in the mode that it was in: the two lines of `stty -g`, and nothing of the screen.
    let modes = |shown: &str| -> Vec<String> {
        // A prompt may stand in front of it.
        let last = shown.lines().filter_map(|line| line.split_whitespace().last());
        last.filter(|word| word.matches(':').count() > 20).map(str::to_owned).collect()
    };
    // The end is when the second one is there.
    let is_left = |shown: &str| shown.contains("code 0") && modes(shown).len() == 2;
    let left = screen.until("the end", is_left);
    let found = modes(&left);
    assert_eq!(found[0], found[1], "{left}");
    assert!(!left.contains("Links"), "{left}");

    // And after a signal.
    screen.keys(&["clear", "Enter"]);
    screen.keys(&[&begin, "Enter"]);
    screen.until("the second time", |shown| shown.contains("Memory of protocols"));
    let child = &child_of(&screen);
    assert_eq!(fs::read_to_string(format!("/proc/{child}/comm")).unwrap(), "netmem\n");
    assert!(Command::new("kill").args(["-TERM", child]).status().unwrap().success());
    let left = screen.until("the end by a signal", is_left);
    let found = modes(&left);
    assert_eq!(found[0], found[1], "{left}");
}

/// The process that the shell of a terminal has started last.
fn child_of(screen: &Screen) -> String {
    let shell = screen.tmux(&["display-message", "-p", "#{pane_pid}"]);
    let children = format!("/proc/{0}/task/{0}/children", shell.trim());
    let children = fs::read_to_string(children).unwrap();
    children.split_whitespace().last().unwrap().to_owned()
}

/// From a terminal that has gone nothing but its end can be read, again and again.
///
/// Planted and caught: keys waited for by the library, which then takes a whole CPU for ever.
#[test]
fn lab_top_ends_with_its_terminal() {
    let test = "lab_top_ends_with_its_terminal";
    let Some(inside) = namespace(test) else { return };
    if !has_program(test, "tmux") {
        return;
    }
    let screen = inside.run(|| Screen::new("top-ends")).unwrap();
    screen.keys(&[&format!("{NETMEM} top"), "Enter"]);
    screen.until("the first pane", |shown| shown.contains("Memory of protocols"));
    let child = format!("/proc/{}/stat", child_of(&screen));
    drop(screen);
    let deadline = Instant::now() + Duration::from_secs(60);
    // Gone, or not waited for yet.
    while fs::read_to_string(&child).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(Instant::now() < deadline, "it goes on without a terminal");
        thread::sleep(Duration::from_millis(20));
    }
}

/// CPU time of a process's first thread, in nanoseconds; to be asked of one that has ended as well, until
/// it is waited for.
fn cpu_ns(pid: u32) -> u64 {
    let schedstat = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    schedstat.split(' ').next().unwrap().parse().unwrap()
}

/// CPU time of a program that runs to its end, its output thrown away.
fn cpu_of_run_ns(program: &str, words: &[&str]) -> u64 {
    let mut child = Command::new(program).args(words).stdout(Stdio::null()).spawn().unwrap();
    let pid = Pid::from_child(&child);
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    let spent_ns = cpu_ns(child.id());
    assert!(child.wait().unwrap().success(), "{program}");
    spent_ns
}

/// At one sample a second a machine with nothing to see has more than 99.5 % of a core left.
#[test]
fn lab_top_costs_an_idle_machine_little() {
    const SAMPLES: usize = 12;
    const BOUND_NS: u64 = 5_000_000;
    let Some(inside) = namespace("lab_top_costs_an_idle_machine_little") else { return };
    let costs_ns: Vec<u64> = inside
        .run(|| {
            let mut top = Command::new(NETMEM)
                .args(["top", "--json", "--interval", "1"])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(top.stdout.take().unwrap()).lines();
            lines.next().unwrap().unwrap();
            let mut last_ns = cpu_ns(top.id());
            let mut costs = Vec::new();
            // Longer where the machine is busy all the time.
            while costs.len() < SAMPLES
                || costs.len() < 5 * SAMPLES && costs[costs.len() / 4] >= BOUND_NS
            {
                lines.next().unwrap().unwrap();
                let now_ns = cpu_ns(top.id());
                costs.push(now_ns - std::mem::replace(&mut last_ns, now_ns));
                costs.sort_unstable();
            }
            top.kill().unwrap();
            top.wait().unwrap();
            costs
        })
        .unwrap();
    // Whoever else is at work makes caches cold, and never a sample cheaper: of a busy machine's samples the
    // cheap ones tell what they cost by themselves.
    assert!(costs_ns[costs_ns.len() / 4] < BOUND_NS, "CPU time of samples in ns: {costs_ns:?}");
}

/// `count` connections over loopback, of which half are accepted, and their listeners.
fn connections(count: usize) -> (Vec<TcpStream>, Vec<TcpListener>) {
    let (mut all, mut listeners) = (Vec::new(), Vec::new());
    // A listener keeps as many as net.core.somaxconn.
    for _ in 0..count / 1000 {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        listener.listen(1000).unwrap();
        let listener = TcpListener::from(listener);
        let near: Vec<_> = (0..1000)
            .map(|at| {
                let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                if at % 2 == 0 {
                    all.push(listener.accept().unwrap().0);
                }
                stream
            })
            .collect();
        all.extend(near);
        // What is not accepted lasts as long as its listener.
        listeners.push(listener);
    }
    (all, listeners)
}

/// A sample of 10,000 connections costs at most half of what `ss -tmni` takes to print them, and little
/// memory. CPU times, of each the cheapest: what else is at work makes none cheaper.
#[test]
fn lab_top_costs_less_than_ss() {
    const COUNT: usize = 10_000;
    let test = "lab_top_costs_less_than_ss";
    let Some(inside) = namespace(test) else { return };
    let limit = getrlimit(Resource::Nofile);
    let enough = COUNT as u64 * 3 / 2 + 100;
    if limit.maximum.is_some_and(|most| most < enough) {
        return skip(test, &format!("fewer than {enough} open files are allowed"));
    }
    if !has_program(test, "ss") {
        return;
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let _held = inside.run(|| connections(COUNT)).unwrap();
    inside
        .run(|| {
            let mut top = Command::new(NETMEM)
                .args(["top", "--json", "--interval", "1"])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(top.stdout.take().unwrap()).lines();
            let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            let tcp = &first["namespaces"][0]["sockets"]["protocols"][0]["sum"]["sockets"];
            assert!(tcp.as_u64().unwrap() >= 2 * COUNT as u64, "{tcp}");
            let mut last_ns = cpu_ns(top.id());
            // From one sample printed to the next: each has one whole.
            let ours: Vec<u64> = (0..5)
                .map(|_| {
                    lines.next().unwrap().unwrap();
                    let now_ns = cpu_ns(top.id());
                    now_ns - std::mem::replace(&mut last_ns, now_ns)
                })
                .collect();
            let status = fs::read_to_string(format!("/proc/{}/status", top.id())).unwrap();
            top.kill().unwrap();
            top.wait().unwrap();
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
            let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
            let theirs: Vec<u64> = (0..5).map(|_| cpu_of_run_ns("ss", &["-tmni"])).collect();
            let least = |all: &[u64]| *all.iter().min().unwrap();
            assert!(least(&ours) > 0, "{ours:?}");
            assert!(least(&ours) * 2 < least(&theirs), "CPU ns: {ours:?}, ss -tmni {theirs:?}");
            assert!(peak_kib < 30 << 10, "{peak_kib} KiB");
        })
        .unwrap();
}
