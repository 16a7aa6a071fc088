//! What listing ten thousand connections costs, beside `ss`, in processor time. In a file of its own: the
//! time of children is that of the whole process.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stderr, reason = "what was measured")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use netmem_host::lab::{NetNs, missing_privilege, skip};
use netmem_host::netlink::{AdminState, InetDump, InetProtocol, Route, SockDiag, SocketState};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

const LISTENERS: usize = 5;
/// Both ends are sockets; those that wait to be accepted have no descriptor.
const CONNECTIONS: usize = 5000;

/// Processor time in microseconds, user and kernel.
fn used_us(who: UsageWho) -> i64 {
    let usage = getrusage(who).unwrap();
    (usage.user_time() + usage.system_time()).num_microseconds()
}

/// So often each is run at least, and at most while others that use this machine too are in the way.
const RUNS: std::ops::RangeInclusive<usize> = 5..=40;

/// The least of some runs of each, one beside the other.
fn least(mut own: impl FnMut() -> i64, mut ss: impl FnMut() -> i64) -> (i64, i64) {
    let mut least = (i64::MAX, i64::MAX);
    for run in 1..=*RUNS.end() {
        least = (least.0.min(own()), least.1.min(ss()));
        if run >= *RUNS.start() && least.0 * 2 <= least.1 {
            break;
        }
    }
    least
}

#[test]
fn lab_ten_thousand_connections_cost_half_of_ss() {
    let test = "lab_ten_thousand_connections_cost_half_of_ss";
    if let Some(reason) = missing_privilege() {
        return skip(test, &reason);
    }
    if Command::new("ss").arg("-V").output().is_err() {
        return skip(test, "no ss (iproute2)");
    }
    let ns = NetNs::create().unwrap();
    let (own_us, ss_us) = ns
        .run(|| {
            Route::open().unwrap().set_state("lo", AdminState::Up).unwrap();
            // Of this namespace alone; gone with it.
            fs::write("/proc/sys/net/core/somaxconn", "4096").unwrap();
            let listeners: Vec<_> =
                (0..LISTENERS).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
            listeners.iter().for_each(|listener| rustix::net::listen(listener, 4096).unwrap());
            let connect =
                |at: usize| TcpStream::connect(listeners[at % LISTENERS].local_addr().unwrap());
            let clients: Result<Vec<_>, _> = (0..CONNECTIONS).map(connect).collect();
            let Ok(_clients) = clients else { return (0, 0) };
            let mut diag = SockDiag::open().unwrap();
            // The last connections may wait for the third packet of their handshake.
            let established = InetDump::new(InetProtocol::Tcp).states(&[SocketState::Established]);
            let patience = Instant::now() + Duration::from_secs(60);
            while diag.for_each_inet(established, |_| ()) != Ok(2 * CONNECTIONS as u64) {
                assert!(Instant::now() < patience, "not all connections are established");
                thread::sleep(Duration::from_millis(10));
            }
            let own = || {
                let before = used_us(UsageWho::RUSAGE_THREAD);
                let (mut held, mut seen) = (0, 0);
                let dump = InetDump::new(InetProtocol::Tcp).with_tcp_info();
                let count = diag.for_each_inet(dump, |socket| {
                    held += socket.memory.map_or(0, |memory| memory.held_bytes());
                    seen += usize::from(socket.tcp.is_some());
                });
                assert_eq!(count, Ok((2 * CONNECTIONS + LISTENERS) as u64));
                assert_eq!(seen, 2 * CONNECTIONS + LISTENERS);
                used_us(UsageWho::RUSAGE_THREAD) - before
            };
            let ss = || {
                let before = used_us(UsageWho::RUSAGE_CHILDREN);
                let ss = Command::new("ss").args(["-tmni"]).stdout(Stdio::null()).status();
                assert!(ss.unwrap().success());
                used_us(UsageWho::RUSAGE_CHILDREN) - before
            };
            least(own, ss)
        })
        .unwrap();
    if ss_us == 0 {
        return skip(test, "no descriptors for 5000 connections");
    }
    eprintln!("{} sockets: {own_us} us, ss -tmni {ss_us} us", 2 * CONNECTIONS + LISTENERS);
    assert!(own_us * 2 <= ss_us, "{own_us} us, ss -tmni {ss_us} us");
}
