//! What the scenarios share: running the command, a pair of namespaces, and looking for traces.
#![allow(clippy::unwrap_used, reason = "a test helper: what cannot go on, panics")]

use std::{
    collections::BTreeSet,
    fs,
    io::Read as _,
    net::Ipv4Addr,
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use netmem::{link::Link, packet::FrameSocket};
use netmem_bpf::{
    AttachMode, Frags, LoadSpec, Program, ProgramInfo, XdpAction, XdpLink,
    asm::{Assembler, Reg},
    link_ids, program_ids,
};
use netmem_cli::lab::ledger::{Endpoints, Ledger};
use netmem_host::{
    lab::{Lab, ServerAddress, missing_privilege, skip},
    netlink::Route,
};

pub(crate) const NETMEM: &str = env!("CARGO_BIN_EXE_netmem");

/// A finished run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The right to run alone among the scenarios, which look for traces in the whole machine; `None`
/// without the privilege to run at all, which is noted as a skip.
pub(crate) fn turn(test: &str) -> Option<MutexGuard<'static, ()>> {
    static TURN: Mutex<()> = Mutex::new(());
    if let Some(missing) = missing_privilege() {
        skip(test, &missing);
        return None;
    }
    Some(TURN.lock().unwrap_or_else(PoisonError::into_inner))
}

pub(crate) fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

pub(crate) fn run(words: &[&str]) -> Ran {
    start(words).wait(Duration::from_secs(60))
}

pub(crate) fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A running netmem; killed when dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
}

pub(crate) fn start(words: &[&str]) -> Running {
    let mut command = Command::new(NETMEM);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running { child: command.spawn().unwrap() }
}

impl Running {
    /// Waits for the end and collects the output, which must fit into a pipe.
    pub(crate) fn wait(&mut self, timeout: Duration) -> Ran {
        let deadline = Instant::now() + timeout;
        let code = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status.code();
            }
            assert!(Instant::now() < deadline, "still running after {timeout:?}");
            std::thread::sleep(Duration::from_millis(5));
        };
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        Ran { code, stdout, stderr }
    }

    /// Ctrl-C, then the end.
    pub(crate) fn interrupt(&mut self) -> Ran {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        self.wait(Duration::from_secs(5))
    }
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
        let ip = bed.server_ip().to_string();
        let words = [&["respond", bed.interface(), "--ip", &ip], extra].concat();
        let mut running = bed.lab.server.run(|| start(&words)).unwrap();
        let started = Instant::now();
        while !bed.has_program() {
            if let Some(status) = running.child.try_wait().unwrap() {
                panic!("ended with {status}: {:?}", running.wait(Duration::ZERO));
            }
            assert!(started.elapsed() < Duration::from_secs(5), "attaches its program");
            std::thread::sleep(Duration::from_millis(2));
        }
        running
    }
}

/// Two namespaces and a pair whose server end has its address in the kernel too: with no responder,
/// the kernel answers.
pub(crate) struct Bed {
    pub(crate) lab: Lab,
}

pub(crate) fn bed() -> Bed {
    Bed { lab: Lab::builder().server_address(ServerAddress::Kernel).build().unwrap() }
}

impl Bed {
    pub(crate) fn interface(&self) -> &str {
        &self.lab.server_link().name
    }

    pub(crate) fn server_ip(&self) -> Ipv4Addr {
        self.lab.server_link().interface.address
    }

    fn link(&self) -> netmem_host::netlink::LinkInfo {
        self.lab.server.run(|| Route::open()?.link(self.interface())).unwrap().unwrap()
    }

    fn has_program(&self) -> bool {
        self.link().xdp.is_some()
    }

    pub(crate) fn is_promiscuous(&self) -> bool {
        self.link().promiscuity > 0
    }

    pub(crate) fn netmem_in_server(&self, words: &[&str]) -> Ran {
        self.lab.server.run(|| run(words)).unwrap()
    }

    pub(crate) fn delete_interface(&self) {
        self.lab.server.run(|| Route::open()?.delete_link(self.interface())).unwrap().unwrap();
    }

    fn endpoints(&self, server_mac: [u8; 6]) -> Endpoints {
        let (client, server) = (self.lab.client_link(), self.lab.server_link());
        Endpoints {
            client_mac: client.mac,
            server_mac,
            client_ip: client.interface.address,
            server_ip: server.interface.address,
        }
    }

    /// Floods the server with distinct requests for `time`, whether they are answered or not.
    pub(crate) fn flood(&self, time: Duration) -> JoinHandle<()> {
        let endpoints = self.endpoints(self.lab.server_link().mac);
        let name = self.lab.client_link().name.clone();
        let flood = move || {
            let link = Link::by_name(&name).unwrap();
            let mut socket = FrameSocket::open(&link, 64, 2048).unwrap();
            let ledger = Ledger::new(endpoints, 1);
            let (mut number, mut frame) = (0, Vec::new());
            let end = Instant::now() + time;
            while Instant::now() < end {
                ledger.write_request(number, &mut frame);
                number += 1;
                socket.send(&[&frame]).unwrap();
                socket.receive(|_| {}).unwrap();
            }
        };
        self.lab.client.spawn("flood", flood).unwrap()
    }

    /// One request to `server_mac`, rightly answered from there.
    pub(crate) fn assert_answered_by(&self, server_mac: [u8; 6]) {
        let endpoints = self.endpoints(server_mac);
        let name = self.lab.client_link().name.clone();
        let ask = || {
            let link = Link::by_name(&name).unwrap();
            let mut socket = FrameSocket::open(&link, 64, 2048).unwrap();
            let mut ledger = Ledger::new(endpoints, 1);
            let mut frame = Vec::new();
            let deadline = Instant::now() + Duration::from_secs(1);
            while ledger.score().right == 0 && Instant::now() < deadline {
                ledger.write_request(ledger.next_number(), &mut frame);
                ledger.sent(socket.send(&[&frame]).unwrap());
                socket.wait(Duration::from_millis(20)).unwrap();
                socket
                    .receive(|frame| {
                        ledger.check(frame);
                    })
                    .unwrap();
            }
            assert!(ledger.score().right > 0, "{:?}", ledger.score());
        };
        self.lab.client.run(ask).unwrap();
    }

    /// The interface passes traffic to its kernel again.
    pub(crate) fn assert_kernel_answers(&self) {
        assert!(!self.has_program());
        // The kernel's reply differs from the request in what the ledger does not allow (its own
        // identification field is free); so a UDP exchange shows it.
        let server = self.server_ip();
        let udp = |ns: &netmem_host::lab::NetNs, at: Ipv4Addr| {
            ns.run(|| std::net::UdpSocket::bind((at, 0)).unwrap()).unwrap()
        };
        let echo = udp(&self.lab.server, server);
        let client = udp(&self.lab.client, Ipv4Addr::UNSPECIFIED);
        echo.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        client.send_to(b"through", echo.local_addr().unwrap()).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(echo.recv(&mut buffer).unwrap(), 7);
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

/// The XDP programs in the kernel that carry the responder's name.
pub(crate) fn ours_in_kernel() -> Vec<String> {
    let ids = program_ids().unwrap();
    let infos = ids.into_iter().filter_map(|id| ProgramInfo::by_id(id).ok());
    infos
        .filter(|info| info.name == "netmem_respon" || info.name == "netmem_respond")
        .map(|info| info.name)
        .collect()
}

/// What a process could leave behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Traces {
    namespaces: BTreeSet<String>,
    programs: Vec<String>,
    links: BTreeSet<u32>,
    processes: usize,
    free_huge_pages: String,
}

impl Traces {
    pub(crate) fn now() -> Self {
        let huge = fs::read_to_string("/proc/meminfo").unwrap();
        let free = huge.lines().find(|line| line.starts_with("HugePages_Free"));
        Self {
            namespaces: namespaces(),
            programs: ours_in_kernel(),
            links: link_ids().unwrap().into_iter().collect(),
            processes: processes(),
            free_huge_pages: free.unwrap_or_default().to_owned(),
        }
    }

    /// Asserts that everything is as it was, at the latest `within` after `since`.
    pub(crate) fn assert_same_within(&self, within: Duration, since: Instant) {
        loop {
            let now = Self::now();
            if now == *self {
                return;
            }
            assert!(since.elapsed() < within, "left behind: {now:?}\nbefore: {self:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The network namespaces that any thread is in or any descriptor holds.
fn namespaces() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for process in numbered("/proc") {
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
        fs::read_link(format!("{process}/exe")).is_ok_and(|exe| exe.as_os_str() == NETMEM)
    };
    numbered("/proc").iter().filter(|process| of_us(process)).count()
}
