//! What the scenarios share: running the command, a pair of namespaces, and looking for traces.
#![allow(clippy::unwrap_used, reason = "a test helper: what cannot go on, panics")]
#![allow(dead_code, reason = "each of the test programs uses its part")]

use std::{
    collections::BTreeSet,
    env, fs,
    io::Read,
    net::{Ipv4Addr, UdpSocket},
    ops::RangeInclusive,
    os::fd::AsFd,
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use netmem::{link::Link, packet::FrameSocket};
use netmem_bpf::{
    AttachMode, Frags, LoadSpec, Program, ProgramInfo, XdpAction, XdpLink,
    asm::{Assembler, Reg},
    link_ids, program_ids,
};
use netmem_cli::lab::ledger::{Endpoints, Ledger, Score};
use netmem_host::{
    lab::{Lab, ServerAddress, missing_privilege, skip},
    netlink::{AdminState, LinkInfo, OperState, Route},
};
use nix::poll::{PollFd, PollFlags, poll};

/// How long anything may take that has to come: not for ever, and longer than a busy machine keeps a
/// program waiting.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The command that runs: that of `cargo xtask lab`, else the one that was built with the tests.
pub(crate) fn netmem() -> &'static str {
    static PATH: LazyLock<String> = LazyLock::new(|| {
        let named = env::var("NETMEM_COMMAND");
        let path = named.unwrap_or_else(|_| env!("CARGO_BIN_EXE_netmem").to_owned());
        // As the kernel names what a process runs.
        fs::canonicalize(path).unwrap().into_os_string().into_string().unwrap()
    });
    &PATH
}

/// A finished run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Ended with `code` and one message, which has each of `texts`.
    pub(crate) fn assert_refused(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        let lines = || self.stderr.lines().skip_while(|line| !line.starts_with("netmem: "));
        let message: String = lines().collect::<Vec<_>>().join("\n");
        for text in texts {
            assert!(message.contains(text), "no {text:?}: {self:?}");
        }
        // The message is the last thing said: one line, and one more where there is a hint.
        let hints = lines().skip(1).filter(|line| line.starts_with("hint: ")).count();
        assert!(lines().count() == 1 + hints && hints <= 1, "one message: {self:?}");
    }

    /// The last line of standard output: the summary, with its audit closed and nothing held.
    pub(crate) fn closed_summary(&self) -> serde_json::Value {
        let summary = json(self.stdout.lines().last().unwrap_or_else(|| panic!("{self:?}")));
        assert_eq!(summary["kind"], "summary", "{self:?}");
        let audit = &summary["audit"];
        assert_eq!(
            (&audit["ok"], &summary["counts"]["held"]),
            (&true.into(), &0.into()),
            "{audit}"
        );
        summary
    }

    /// Ended with code 0 and no message, the summary as above, and every frame back in the pool.
    pub(crate) fn assert_ended_well(&self) -> serde_json::Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert!(!self.stderr.contains("netmem: "), "{self:?}");
        let summary = self.closed_summary();
        let audit = &summary["audit"];
        assert_eq!(audit["owners"]["free"], audit["slots"], "{audit}");
        summary
    }
}

/// The right to run alone among the scenarios, which look for traces in the whole machine; `None`
/// without the privilege to run at all, which is noted as a skip.
pub(crate) fn turn(test: &str) -> Option<MutexGuard<'static, ()>> {
    // First: to look for the privilege makes a namespace, which another test might see.
    let turn = alone();
    if let Some(missing) = missing_privilege() {
        skip(test, &missing);
        return None;
    }
    Some(turn)
}

/// The same right, for a test that needs no privilege.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

pub(crate) fn run(words: &[&str]) -> Ran {
    start(words).wait(PATIENCE)
}

pub(crate) fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A running netmem; killed when dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    /// What has been read of its standard error.
    pub(crate) said: String,
    /// What has been read of its standard output.
    printed: String,
}

pub(crate) fn start(words: &[&str]) -> Running {
    start_by(&[], words)
}

/// Starts netmem by `wrapper`, a program with arguments that takes the command to become.
pub(crate) fn start_by(wrapper: &[&str], words: &[&str]) -> Running {
    let all = [wrapper, &[netmem()], words].concat();
    let mut command = Command::new(all[0]);
    // A confined worker that may be asked for a backtrace reads its symbols first, for a second and more
    // in a debug build: whoever runs these tests may have asked for those of the tests.
    command.env("RUST_BACKTRACE", "0");
    command.args(&all[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", all[0]));
    Running::of(child)
}

/// How many datagrams the kernel has dropped of a UDP socket of the thread's namespace.
pub(crate) fn drops_of(socket: &UdpSocket) -> usize {
    let port = socket.local_addr().unwrap().port();
    let table = fs::read_to_string("/proc/thread-self/net/udp").unwrap();
    let row = table.lines().find(|row| row.contains(&format!(":{port:04X} ")));
    row.unwrap().split_whitespace().last().unwrap().parse().unwrap()
}

/// Reads what a UDP socket holds of `count` datagrams that were sent to it over loopback when it had
/// dropped so many, and returns how many these were: all that the kernel does not drop, and has under way.
pub(crate) fn read_all(socket: &UdpSocket, count: usize, dropped_before: usize) -> usize {
    socket.set_nonblocking(true).unwrap();
    let (since, mut read) = (Instant::now(), 0);
    loop {
        while socket.recv(&mut [0; 2000]).is_ok() {
            read += 1;
        }
        let dropped = drops_of(socket) - dropped_before;
        if read + dropped >= count {
            return read;
        }
        assert!(since.elapsed() < PATIENCE, "{read} read, {dropped} dropped of {count}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs the kernel's ping in the client's namespace until `count` of its requests are answered, each with the
/// content that was sent. Returns how many it sent and how many of them it saw answered: the last ones may
/// still be under way when it ends.
pub(crate) fn pings(bed: &Bed, count: u64, words: &[&str]) -> RangeInclusive<u64> {
    // With -W alone it waits for two round trips after its last request, which a busy machine exceeds.
    let count_text = count.to_string();
    let words = [&["-c", &count_text, "-i", "0.01", "-w", "60", "-n"], words].concat();
    let mut ping = Command::new("ping");
    ping.args(&words);
    let output = bed.lab.client.run(|| ping.output().unwrap()).unwrap();
    let (stdout, stderr) = texts(&output);
    for complaint in ["DUP!", "wrong data", "BAD CHECKSUM", "truncated"] {
        assert!(!stdout.contains(complaint), "ping {words:?}: {stdout}");
    }
    let number = |behind: &str| {
        let word =
            stdout.split_once(behind).and_then(|(before, _)| before.rsplit([' ', '\n']).next());
        word.and_then(|word| word.parse::<u64>().ok())
    };
    let seen = (number(" received"), number(" packets transmitted"));
    let (Some(answered), Some(sent)) = seen else { panic!("ping {words:?}: {stdout}{stderr}") };
    assert!(answered >= count && sent >= answered, "ping {words:?}: {stdout}{stderr}");
    answered..=sent
}

/// Whether the programs are installed; else the test is noted as a skip.
pub(crate) fn has_programs(test: &str, names: &[&str]) -> bool {
    let is_missing = |name: &&&str| {
        let path = env::var_os("PATH").unwrap_or_default();
        !env::split_paths(&path).any(|folder| folder.join(name).exists())
    };
    let missing = names.iter().find(is_missing);
    if let Some(missing) = missing {
        skip(test, &format!("the {missing} program is not installed"));
    }
    missing.is_none()
}

impl Running {
    pub(crate) fn of(child: Child) -> Self {
        Self { child, said: String::new(), printed: String::new() }
    }

    /// Reads its standard error until `text` stands there; `false` when it ends before.
    pub(crate) fn has_said(&mut self, text: &str, timeout: Duration) -> bool {
        let pipe = self.child.stderr.as_mut();
        pipe.is_some_and(|pipe| read_until(pipe, &mut self.said, text, timeout))
    }

    /// As [`has_said`](Self::has_said), of its standard output.
    pub(crate) fn has_printed(&mut self, text: &str, timeout: Duration) -> bool {
        let pipe = self.child.stdout.as_mut();
        pipe.is_some_and(|pipe| read_until(pipe, &mut self.printed, text, timeout))
    }

    /// Waits for the end and collects the output.
    pub(crate) fn wait(&mut self, timeout: Duration) -> Ran {
        let deadline = Instant::now() + timeout;
        // Read meanwhile: one that prints more than fits into a pipe would not end.
        let stdout = self.child.stdout.take().map(rest_of);
        let stderr = self.child.stderr.take().map(rest_of);
        let code = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status.code();
            }
            assert!(Instant::now() < deadline, "still running after {timeout:?}");
            std::thread::sleep(Duration::from_millis(5));
        };
        // What it left behind may have its pipes.
        let deadline = deadline + PATIENCE;
        for rest in [&stdout, &stderr].into_iter().flatten() {
            while !rest.is_finished() {
                assert!(Instant::now() < deadline, "somebody holds its output open");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let all = |read: &mut String, rest: Option<JoinHandle<String>>| {
            std::mem::take(read) + &rest.map_or_else(String::new, |rest| rest.join().unwrap())
        };
        Ran { code, stdout: all(&mut self.printed, stdout), stderr: all(&mut self.said, stderr) }
    }

    /// Ctrl-C, then the end.
    pub(crate) fn interrupt(&mut self) -> Ran {
        self.signal("INT")
    }

    /// The signal of that name, then the end.
    pub(crate) fn signal(&mut self, name: &str) -> Ran {
        let (pid, option) = (self.child.id().to_string(), format!("-{name}"));
        assert!(Command::new("kill").args([&option, &pid]).status().unwrap().success());
        self.wait(PATIENCE)
    }
}

/// Reads a pipe until `text` stands in what was read; `false` when it ends before.
fn read_until(
    pipe: &mut (impl Read + AsFd),
    read: &mut String,
    text: &str,
    timeout: Duration,
) -> bool {
    let deadline = Instant::now() + timeout;
    while !read.contains(text) {
        assert!(Instant::now() < deadline, "no {text:?} after {timeout:?}: {read}");
        let mut fds = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, 50u8).unwrap() == 0 {
            continue;
        }
        let mut some = [0; 4096];
        match pipe.read(&mut some).unwrap() {
            0 => return false,
            len => *read += std::str::from_utf8(&some[..len]).unwrap(),
        }
    }
    true
}

/// Reads a pipe to its end.
fn rest_of(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    let read = move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        text
    };
    std::thread::spawn(read)
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `netmem respond` on a bed's server interface.
pub(crate) type Respond = Running;

impl Respond {
    /// Starts it and waits until its program is attached.
    pub(crate) fn start(bed: &Bed, extra: &[&str]) -> Self {
        Self::start_by(bed, &[], extra)
    }

    /// As [`start`](Self::start), by a wrapper.
    pub(crate) fn start_by(bed: &Bed, wrapper: &[&str], extra: &[&str]) -> Self {
        let ip = bed.server_ip().to_string();
        let words = [&["respond", bed.interface(), "--ip", &ip], extra].concat();
        Self::ready(bed, bed.lab.server.run(|| start_by(wrapper, &words)).unwrap())
    }

    /// Waits until `running` says that it answers; one that cannot say so, until its program is attached,
    /// its workers are at work, and it answers.
    pub(crate) fn ready(bed: &Bed, mut running: Self) -> Self {
        let started = Instant::now();
        if running.has_said("answering ", PATIENCE) {
            assert!(bed.has_program());
            return running;
        }
        while !(bed.has_program() && has_workers(running.child.id())) {
            if let Some(status) = running.child.try_wait().unwrap() {
                panic!("ended with {status}: {:?}", running.wait(Duration::ZERO));
            }
            assert!(started.elapsed() < PATIENCE, "attaches its program");
            std::thread::sleep(Duration::from_millis(2));
        }
        // The sockets are registered next; until then the kernel gets all, which answers no ping.
        bed.assert_answered_by(bed.lab.server_link().mac);
        running
    }
}

/// Whether a command, or the process that it has started, has made its worker threads.
fn has_workers(pid: u32) -> bool {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let has_threads = |pid: &str| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let threads = status.lines().find_map(|line| line.strip_prefix("Threads:"));
        threads.is_some_and(|threads| threads.trim() != "1")
    };
    has_threads(&pid.to_string()) || children.split_whitespace().any(has_threads)
}

/// Two namespaces and a pair whose server end has its address in the kernel too: with no responder,
/// the kernel answers, except to pings, so that each of their replies is the responder's.
pub(crate) struct Bed {
    pub(crate) lab: Lab,
}

pub(crate) fn bed() -> Bed {
    let lab = Lab::builder().server_address(ServerAddress::Kernel).build().unwrap();
    let ignore = || fs::write("/proc/sys/net/ipv4/icmp_echo_ignore_all", "1");
    lab.server.run(ignore).unwrap().unwrap();
    Bed { lab }
}

impl Bed {
    pub(crate) fn interface(&self) -> &str {
        &self.lab.server_link().name
    }

    pub(crate) fn server_ip(&self) -> Ipv4Addr {
        self.lab.server_link().interface.address
    }

    fn link(&self) -> LinkInfo {
        self.lab.server.run(|| Route::open()?.link(self.interface())).unwrap().unwrap()
    }

    /// The id of the XDP program on the server's interface.
    pub(crate) fn program_id(&self) -> Option<u32> {
        self.link().xdp.map(|xdp| xdp.program_id)
    }

    /// Sets the server's interface down and up `times` times, then waits until it passes packets.
    pub(crate) fn flap(&self, times: u32, pause: Duration) {
        for _ in 0..times {
            self.set_state(AdminState::Down);
            std::thread::sleep(pause);
            self.set_state(AdminState::Up);
            std::thread::sleep(pause);
        }
        self.wait_until_up();
    }

    /// Does `work` while the server's interface is down.
    pub(crate) fn while_down<T>(&self, work: impl FnOnce() -> T) -> T {
        self.set_state(AdminState::Down);
        let result = work();
        self.set_state(AdminState::Up);
        self.wait_until_up();
        result
    }

    fn set_state(&self, state: AdminState) {
        let set = || Route::open()?.set_state(self.interface(), state);
        self.lab.server.run(set).unwrap().unwrap();
    }

    fn wait_until_up(&self) {
        let since = Instant::now();
        let passes = |ns: &netmem_host::lab::NetNs, name: &str| {
            let link = ns.run(|| Route::open()?.link(name)).unwrap().unwrap();
            link.oper_state == OperState::Up && link.qdisc != "noop"
        };
        let client = &self.lab.client_link().name;
        while !(passes(&self.lab.server, self.interface()) && passes(&self.lab.client, client)) {
            assert!(since.elapsed() < PATIENCE, "the link comes up again");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn has_program(&self) -> bool {
        self.link().xdp.is_some()
    }

    pub(crate) fn is_promiscuous(&self) -> bool {
        self.link().promiscuity > 0
    }

    pub(crate) fn netmem_in_server(&self, words: &[&str]) -> Ran {
        self.netmem_in_server_by(&[], words)
    }

    pub(crate) fn netmem_in_server_by(&self, wrapper: &[&str], words: &[&str]) -> Ran {
        let run = || start_by(wrapper, words).wait(PATIENCE);
        self.lab.server.run(run).unwrap()
    }

    pub(crate) fn delete_interface(&self) {
        self.lab.server.run(|| Route::open()?.delete_link(self.interface())).unwrap().unwrap();
    }

    pub(crate) fn endpoints(&self, server_mac: [u8; 6]) -> Endpoints {
        let (client, server) = (self.lab.client_link(), self.lab.server_link());
        Endpoints {
            client_mac: client.mac,
            server_mac,
            client_ip: client.interface.address,
            server_ip: server.interface.address,
        }
    }

    /// Floods the server with distinct requests for `time`, 256 at least, whether they are answered or not.
    pub(crate) fn flood(&self, time: Duration) -> JoinHandle<()> {
        let endpoints = self.endpoints(self.lab.server_link().mac);
        let name = self.lab.client_link().name.clone();
        let flood = move || {
            let link = Link::by_name(&name).unwrap();
            let mut socket = FrameSocket::open(&link, 64, 2048).unwrap();
            let ledger = Ledger::new(endpoints, 1);
            let (mut number, mut frame) = (0, Vec::new());
            let end = Instant::now() + time;
            while Instant::now() < end || number < 256 {
                ledger.write_request(number, &mut frame);
                number += 1;
                socket.send(&[&frame]).unwrap();
                socket.receive(|_| {}).unwrap();
            }
        };
        self.lab.client.spawn("flood", flood).unwrap()
    }

    /// Requests as fast as they go, answered or not and whatever the link does, until stopped.
    pub(crate) fn traffic(&self) -> Traffic {
        let endpoints = self.endpoints(self.lab.server_link().mac);
        let name = self.lab.client_link().name.clone();
        let told = Arc::new(Told::default());
        let ours = Arc::clone(&told);
        let send_and_check = move || {
            let mut client = Client::open(&name, endpoints);
            let mut frame = Vec::new();
            while !told.is_over.load(Ordering::Acquire) {
                client.ledger.write_request(client.ledger.next_number(), &mut frame);
                // An error is the interface that went: the requests are missing then.
                client.ledger.sent(client.socket.send(&[&frame]).unwrap_or(0));
                client.take();
                told.right.store(client.ledger.score().right, Ordering::Relaxed);
            }
            if told.settles.load(Ordering::Relaxed) {
                client.settle();
            } else {
                // What was sent before the stop may still be answered for a while.
                let until = Instant::now() + Duration::from_millis(100);
                while Instant::now() < until {
                    client.take();
                }
            }
            client.ledger.score()
        };
        let thread = self.lab.client.spawn("traffic", send_and_check).unwrap();
        Traffic { told: ours, thread: Some(thread) }
    }

    /// `count` bursts of `size` requests, each sent at once and awaited until `patience` ends. Afterwards
    /// none of them is under way any more.
    pub(crate) fn bursts(&self, count: u32, size: usize, patience: Duration) -> Score {
        let endpoints = self.endpoints(self.lab.server_link().mac);
        let name = self.lab.client_link().name.clone();
        let exchange = || {
            let mut client = Client::open(&name, endpoints);
            for _ in 0..count {
                client.burst(size, patience);
            }
            if client.ledger.open() > 0 {
                client.settle();
            }
            client.ledger.score()
        };
        self.lab.client.run(exchange).unwrap()
    }

    /// As [`bursts`](Self::bursts), of which every reply is right, however late.
    pub(crate) fn assert_bursts_answered(&self, count: u32, size: usize) -> Score {
        let endpoints = self.endpoints(self.lab.server_link().mac);
        let name = self.lab.client_link().name.clone();
        let exchange = || {
            let mut client = Client::open(&name, endpoints);
            for _ in 0..count {
                client.burst(size, PATIENCE);
                assert!(client.ledger.score().is_perfect(), "{:?}", client.ledger.score());
            }
            client.ledger.score()
        };
        self.lab.client.run(exchange).unwrap()
    }

    /// Requests to `server_mac`, until one is rightly answered from there.
    pub(crate) fn assert_answered_by(&self, server_mac: [u8; 6]) {
        let endpoints = self.endpoints(server_mac);
        let name = self.lab.client_link().name.clone();
        self.lab.client.run(|| Client::open(&name, endpoints).settle()).unwrap();
    }

    /// The interface passes traffic to its kernel again.
    pub(crate) fn assert_kernel_answers(&self) {
        let since = Instant::now();
        while self.has_program() {
            assert!(since.elapsed() < PATIENCE, "the program goes");
            std::thread::sleep(Duration::from_millis(2));
        }
        // The kernel's reply differs from the request in what the ledger does not allow (its own
        // identification field is free); so a UDP exchange shows it.
        let server = self.server_ip();
        let udp = |ns: &netmem_host::lab::NetNs, at: Ipv4Addr| {
            ns.run(|| UdpSocket::bind((at, 0)).unwrap()).unwrap()
        };
        let echo = udp(&self.lab.server, server);
        let client = udp(&self.lab.client, Ipv4Addr::UNSPECIFIED);
        echo.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let mut buffer = [0; 16];
        let len = loop {
            client.send_to(b"through", echo.local_addr().unwrap()).unwrap();
            // One that waited for an address that was not told in time is dropped.
            if let Ok(len) = echo.recv(&mut buffer) {
                break len;
            }
            assert!(since.elapsed() < PATIENCE, "the kernel gets it");
        };
        assert_eq!(&buffer[..len], b"through");
    }

    /// Attaches a program that passes everything, under a name that is not ours.
    pub(crate) fn attach_foreign(&self, name: &str) -> (XdpLink, u32) {
        let mut assembler = Assembler::new();
        assembler.mov(Reg::R0, XdpAction::Pass).exit();
        let instructions = assembler.finish().unwrap();
        let spec = LoadSpec { name, instructions: &instructions, frags: Frags::No };
        let program = Program::load(&spec).unwrap();
        let id = program.info().unwrap().id;
        let index = self.lab.server_link().index;
        let attach = || XdpLink::attach(&program, index, AttachMode::Native).unwrap();
        (self.lab.server.run(attach).unwrap(), id)
    }
}

/// A client on a packet socket, with the books of what it asks.
struct Client {
    socket: FrameSocket,
    ledger: Ledger,
}

impl Client {
    /// Opens it on the interface of that name, in the thread's namespace.
    fn open(name: &str, endpoints: Endpoints) -> Self {
        let link = Link::by_name(name).unwrap();
        let socket = FrameSocket::open(&link, 64, 2048).unwrap();
        Self { socket, ledger: Ledger::new(endpoints, 1) }
    }

    /// Checks what has come; the number of the last request that was rightly answered. An error is the
    /// interface that went.
    fn take(&mut self) -> Option<u32> {
        let mut last = None;
        let _ = self.socket.receive(|frame| last = self.ledger.check(frame).or(last));
        last
    }

    /// Sends `size` requests at once, and waits until all are answered or `patience` ends.
    fn burst(&mut self, size: usize, patience: Duration) {
        let mut frames = vec![Vec::new(); size];
        let first = self.ledger.next_number();
        (first..).zip(&mut frames).for_each(|(n, frame)| self.ledger.write_request(n, frame));
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let (mut left, full) = (&frames[..], Instant::now() + PATIENCE);
        while !left.is_empty() {
            assert!(Instant::now() < full, "the link has no room");
            let sent = self.socket.send(left).unwrap();
            self.ledger.sent(sent);
            left = &left[sent..];
        }
        let deadline = Instant::now() + patience;
        let all = self.ledger.score().right + size as u64;
        while self.ledger.score().right < all && Instant::now() < deadline {
            self.socket.wait(Duration::from_millis(10)).unwrap();
            self.take();
        }
    }

    /// Asks until the last request is answered. Replies come in the order of their requests, so that
    /// nothing is under way then: no late reply is left for who counts afterwards, or comes next.
    fn settle(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let mut frame = Vec::new();
        // Only the newest request's answer counts, so that later ones are given longer.
        let mut pause = Duration::from_millis(50);
        loop {
            let number = self.ledger.next_number();
            self.ledger.write_request(number, &mut frame);
            self.ledger.sent(self.socket.send(&[&frame]).unwrap_or(0));
            let until = Instant::now() + pause;
            pause *= 2;
            while Instant::now() < until {
                self.socket.wait(Duration::from_millis(10)).unwrap();
                if self.take() == Some(number) {
                    return;
                }
            }
            assert!(Instant::now() < deadline, "no answer: {:?}", self.ledger.score());
        }
    }
}

/// A client that sends until it is stopped.
pub(crate) struct Traffic {
    told: Arc<Told>,
    /// Until it is stopped.
    thread: Option<JoinHandle<Score>>,
}

/// What the two sides of a [`Traffic`] tell each other.
#[derive(Default)]
struct Told {
    /// Requests that were rightly answered so far.
    right: AtomicU64,
    /// To be set before the end.
    settles: AtomicBool,
    is_over: AtomicBool,
}

impl Traffic {
    /// Waits until so many requests were rightly answered.
    pub(crate) fn until_right(&self, count: u64) {
        let since = Instant::now();
        while self.right() < count {
            assert!(since.elapsed() < PATIENCE, "{} of {count} answered", self.right());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Stops sending; how it came out. No reply was wrong or came twice, whatever happened.
    pub(crate) fn stop(mut self) -> Score {
        self.told.is_over.store(true, Ordering::Release);
        let score = self.thread.take().unwrap().join().unwrap();
        assert_eq!((score.wrong, score.duplicate), (0, 0), "{score:?}");
        score
    }

    /// As [`stop`](Self::stop), when none of the requests is under way any more: of a responder that goes
    /// on.
    pub(crate) fn settle(self) -> Score {
        self.told.settles.store(true, Ordering::Relaxed);
        self.stop()
    }

    /// Requests that were rightly answered so far.
    pub(crate) fn right(&self) -> u64 {
        self.told.right.load(Ordering::Relaxed)
    }

    /// More of them are answered from now on.
    pub(crate) fn goes_on(&self) {
        // Rings have room for no more.
        self.until_right(self.right() + 5000);
    }
}

impl Drop for Traffic {
    /// A test that has failed leaves no thread that keeps a processor busy.
    fn drop(&mut self) {
        self.told.is_over.store(true, Ordering::Release);
    }
}

/// Runs `work` on a bed of its own; afterwards the interface, where it is still there, passes traffic
/// to its kernel, and nothing is left behind.
pub(crate) fn scenario(test: &str, work: impl FnOnce(&Bed)) {
    let Some(_turn) = turn(test) else { return };
    let before = Traces::now();
    let bed = bed();
    work(&bed);
    let is_there = bed.lab.server.run(|| Route::open()?.link(bed.interface())).unwrap().is_ok();
    if is_there {
        bed.assert_kernel_answers();
    }
    drop(bed);
    before.assert_nothing_more();
}

/// The XDP programs in the kernel that carry the responder's name, and are not somebody else's.
pub(crate) fn ours_in_kernel() -> Vec<u32> {
    let ids = program_ids().unwrap();
    let infos = ids.into_iter().filter_map(|id| ProgramInfo::by_id(id).ok());
    let is_named = |info: &ProgramInfo| matches!(&*info.name, "netmem_respon" | "netmem_respond");
    let mut ours: Vec<u32> = infos.filter(is_named).map(|info| info.id).collect();
    if !ours.is_empty() {
        let theirs = of_others("prog_id");
        ours.retain(|id| !theirs.contains(id));
    }
    ours
}

/// Waits until none of these is left.
pub(crate) fn assert_none_in_kernel() {
    let since = Instant::now();
    while !ours_in_kernel().is_empty() {
        assert!(since.elapsed() < PATIENCE, "the kernel takes program and link off");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The BPF objects that processes hold which run neither this test program nor the command under test.
fn of_others(key: &str) -> BTreeSet<u32> {
    let others = numbered("/proc").into_iter().filter(|process| !is_ours(process));
    let held = others.flat_map(|process| bpf_descriptors(&process));
    held.filter(|(name, _)| name == key).map(|(_, id)| id).collect()
}

/// What a process could leave behind. What belongs to processes that run neither this test program
/// nor the command under test is left out.
#[derive(Debug)]
pub(crate) struct Traces {
    namespaces: BTreeSet<String>,
    programs: BTreeSet<u32>,
    links: BTreeSet<u32>,
    processes: usize,
    huge_pages: u64,
    free_huge_pages: u64,
}

impl Traces {
    pub(crate) fn now() -> Self {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
        let figure = |name: &str| {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(name));
            line.map_or(0, |line| line.trim().parse::<u64>().unwrap())
        };
        let theirs = of_others("link_id");
        let links = link_ids().unwrap().into_iter().filter(|id| !theirs.contains(id));
        Self {
            namespaces: namespaces(),
            programs: ours_in_kernel().into_iter().collect(),
            links: links.collect(),
            processes: processes(),
            huge_pages: figure("HugePages_Total:"),
            free_huge_pages: figure("HugePages_Free:"),
        }
    }

    /// Asserts that nothing is left that was not there at the time of this, as soon as the kernel and
    /// threads that end have let go. What they had not let go of at that time may be gone since.
    pub(crate) fn assert_nothing_more(&self) {
        let since = Instant::now();
        loop {
            let now = Self::now();
            if now.has_nothing_beyond(self) {
                return;
            }
            assert!(since.elapsed() < PATIENCE, "left behind: {now:?}\nbefore: {self:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn has_nothing_beyond(&self, before: &Self) -> bool {
        self.namespaces.is_subset(&before.namespaces)
            && self.programs.is_subset(&before.programs)
            && self.links.is_subset(&before.links)
            && self.processes <= before.processes
            && self.huge_pages == before.huge_pages
            && self.free_huge_pages >= before.free_huge_pages
    }
}

/// Whether a process runs this test program or the command under test.
fn is_ours(process: &str) -> bool {
    let exe = fs::read_link(format!("{process}/exe"));
    exe.is_ok_and(|exe| {
        exe.as_os_str() == netmem() || env::current_exe().is_ok_and(|own| own == exe)
    })
}

/// What the descriptors of a process say of BPF objects: `prog_id` and `link_id` with their numbers.
fn bpf_descriptors(process: &str) -> Vec<(String, u32)> {
    let infos = fs::read_dir(format!("{process}/fdinfo")).into_iter().flatten().flatten();
    let texts = infos.filter_map(|info| fs::read_to_string(info.path()).ok());
    let read = |line: &str| {
        let (key, number) = line.split_once(':')?;
        Some((key.to_owned(), number.trim().parse().ok()?))
    };
    texts.flat_map(|text| text.lines().filter_map(read).collect::<Vec<_>>()).collect()
}

/// The network namespaces that our threads are in or our descriptors hold.
fn namespaces() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for process in numbered("/proc").into_iter().filter(|process| is_ours(process)) {
        for thread in numbered(&format!("{process}/task")) {
            found.extend(target(&format!("{thread}/ns/net")));
        }
        let fds = fs::read_dir(format!("{process}/fd")).into_iter().flatten().flatten();
        found.extend(fds.filter_map(|fd| target(&fd.path().to_string_lossy())));
    }
    found
}

fn numbered(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.path().to_string_lossy().into_owned());
    names.filter(|path| path.ends_with(|last: char| last.is_ascii_digit())).collect()
}

fn target(link: &str) -> Option<String> {
    let target = fs::read_link(link).ok()?.to_string_lossy().into_owned();
    target.starts_with("net:").then_some(target)
}

/// How many processes run the command under test.
fn processes() -> usize {
    let of_us = |process: &String| {
        fs::read_link(format!("{process}/exe")).is_ok_and(|exe| exe.as_os_str() == netmem())
    };
    numbered("/proc").iter().filter(|process| of_us(process)).count()
}
