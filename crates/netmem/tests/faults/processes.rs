//! One of the two processes of a handed-over port is killed: this test binary, started again.

use std::{
    env,
    io::{ErrorKind, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use netmem::{
    device::{Device, Verdict},
    link::Link,
    mem::{Audit, Pool, PoolConfig, Region, region::Sharing},
    xdp::{Port, PortControl, Queues, XdpMode, handover},
};
use netmem_host::lab::{missing_privilege, skip};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    bed::{Bed, PATIENCE, WEST, assert_closed, handle, number_of, rules},
    traffic::{Seen, Traffic, by, kernel_socket, receive, wait_until},
};

/// Set for a process that plays a part: its value is the part.
const PART: &str = "NETMEM_TEST_PART";
/// What a worker says once it has received that many frames.
const ENOUGH: u32 = 300;

/// A process of this binary that plays a part; killed when dropped.
struct Player {
    child: Child,
    /// Its standard input, both ways.
    stream: UnixStream,
}

impl Player {
    fn start(part: &str, test: &str, stdout: Stdio) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", &format!("processes::{test}"), "--nocapture"]);
        command.env(PART, part).stdin(Stdio::from(OwnedFd::from(theirs)));
        command.stdout(stdout);
        Self { child: command.spawn().unwrap(), stream: ours }
    }

    /// Waits until it says something.
    fn hear(&mut self) {
        self.stream.read_exact(&mut [0]).unwrap();
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other end of a player's stream.
fn stdin() -> UnixStream {
    UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap())
}

/// Binds all queues of the interface, and hands the ports over to a worker that is started after that.
fn hand_over(test: &str) -> (Player, Vec<PortControl>) {
    let region = Region::builder(8192 * 2048).sharing(Sharing::Memfd).build().unwrap();
    let handle = Pool::new(region, PoolConfig::default()).unwrap().handle();
    let builder = Port::builder(WEST, rules()).modes(&[XdpMode::Native]).queues(Queues::All);
    let ports = builder.bind(&handle).unwrap();
    let halves = ports.into_iter().map(|port| port.split().unwrap());
    let (controls, ports): (Vec<_>, Vec<_>) = halves.unzip();
    let worker = Player::start("worker", test, Stdio::inherit());
    handover::send(&worker.stream, ports, &handle).unwrap();
    (worker, controls)
}

/// Receives until it is killed, or its parent has been gone for a while.
fn worker() {
    let stream = stdin();
    let handover::HandedOver { pool, ports } = handover::receive(&stream).unwrap();
    let handle = pool.handle();
    let mut ports: Vec<_> = ports.into_iter().map(|port| port.start(&handle).unwrap()).collect();
    let (mut left, mut end) = (Some(ENOUGH), None);
    stream.set_nonblocking(true).unwrap();
    while end.is_none_or(|end| Instant::now() < end) {
        for port in &mut ports {
            let tally = port.receive(64, &mut (), |packet| {
                number_of(packet.bytes());
                Verdict::Consume
            });
            left = left.map(|left| left.saturating_sub(tally.received));
            port.wait(Duration::from_millis(1)).unwrap();
        }
        if left == Some(0) {
            left = None;
            (&stream).write_all(&[1]).unwrap();
        }
        match (&stream).read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => end = end.or_else(|| Some(Instant::now() + 2 * PATIENCE)),
        }
    }
}

/// The queues are there for others: a port in this process receives on them, at once.
fn take_over() {
    let handle = handle(8192);
    let mut port = by(XdpMode::Native).open(&handle).unwrap();
    let mut seen = Seen::default();
    receive(&mut port, &mut seen, 300);
    let walk = port.close().walk;
    assert_closed(&Audit::of(handle.pool(), [walk, handle.walk()]));
}

/// The worker gets SIGKILL under traffic: the parent closes its halves, sees the queues free, and the
/// next port has them at once.
#[test]
fn lab_worker_process_killed() {
    const NAME: &str = "lab_worker_process_killed";
    if env::var_os(PART).is_some() {
        return worker();
    }
    if let Some(missing) = missing_privilege() {
        return skip(NAME, &missing);
    }
    let bed = Bed::new(1);
    let check = || {
        let (mut worker, controls) = hand_over(NAME);
        let _traffic = Traffic::start(&bed.west);
        worker.hear();
        worker.kill();
        for control in controls {
            assert!(control.is_attached().unwrap(), "the program is the parent's");
            let started = Instant::now();
            assert!(control.close(), "the queue is not free");
            assert!(started.elapsed() < PATIENCE, "not at once, and not for ever");
        }
        assert_eq!(Link::by_name(WEST).unwrap().xdp, None);
        take_over();
    };
    bed.mid.run(check).unwrap();
}

/// The parent gets SIGKILL: the program comes off, frames pass to the kernel, and when the worker has
/// ended too the queue is there for others.
#[test]
fn lab_parent_process_killed() {
    const NAME: &str = "lab_parent_process_killed";
    match env::var(PART).as_deref() {
        Ok("worker") => return worker(),
        Ok(_) => return parent(NAME),
        Err(_) => {}
    }
    if let Some(missing) = missing_privilege() {
        return skip(NAME, &missing);
    }
    let bed = Bed::new(1);
    let check = || {
        // Open for as long as one of the two is alive.
        let mut parent = Player::start("parent", NAME, Stdio::piped());
        let mut stdout = parent.child.stdout.take().unwrap();
        let mut kernel = kernel_socket();
        // Only what comes while the program is on is the worker's.
        wait_until("a program", || Link::by_name(WEST).unwrap().xdp.is_some());
        let traffic = Traffic::start(&bed.west);
        let mut id = [0; 4];
        parent.stream.read_exact(&mut id).unwrap();
        let worker = Orphan(Pid::from_raw(i32::from_le_bytes(id)));
        let mut passed = Seen::default();
        kernel.receive(|bytes| passed.note_ours(bytes)).unwrap();
        assert_eq!(passed.count(), 0, "all came to the worker");
        parent.kill();
        wait_until("the program is off", || Link::by_name(WEST).unwrap().xdp.is_none());
        wait_until("frames pass to the kernel", || {
            kernel.receive(|bytes| passed.note_ours(bytes)).unwrap();
            passed.count() > 300
        });
        // All that with the worker still at its rings.
        kill(worker.0, None).unwrap();
        drop(worker);
        stdout.read_to_end(&mut Vec::new()).unwrap();
        take_over();
        traffic.stop();
    };
    bed.mid.run(check).unwrap();
}

/// A process that is not our child; killed when dropped.
struct Orphan(Pid);

impl Drop for Orphan {
    fn drop(&mut self) {
        // It may have ended.
        let _ = kill(self.0, Signal::SIGKILL);
    }
}

/// Has a worker, says who that is when it has received enough, and waits to be killed.
fn parent(test: &str) {
    let mut stream = stdin();
    let (mut worker, _controls) = hand_over(test);
    worker.hear();
    stream.write_all(&worker.child.id().to_le_bytes()).unwrap();
    // It ends with the test, too.
    let _ = stream.read(&mut [0]);
}
