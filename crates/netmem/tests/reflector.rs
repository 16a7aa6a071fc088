//! The first example, as a user runs it: a program of its own on a veth, with the kernel's UDP as the
//! other side. Every datagram comes back as it was sent.
//!
//! Planted and caught: ports not exchanged, one address kept, everything dropped.
#![allow(clippy::unwrap_used, reason = "a test: an error where none may be is a failure")]

use std::{
    env,
    net::UdpSocket,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use netmem_host::lab::{Lab, ServerAddress, missing_privilege, skip};

/// How long anything may take that must happen: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// The example, ended with the test.
struct Reflector(Child);

impl Drop for Reflector {
    fn drop(&mut self) {
        // It may have ended on its own: then there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn lab_the_example_sends_every_datagram_back() {
    if let Some(missing) = missing_privilege() {
        return skip("lab_the_example_sends_every_datagram_back", &missing);
    }
    // The server's kernel answers ARP: the example leaves it alone.
    let lab = Lab::builder().server_address(ServerAddress::Kernel).build().unwrap();
    // Built with all the tests, beside their folder; `--test` alone does not build it.
    let program = env::current_exe().unwrap();
    let program = program.ancestors().nth(2).unwrap().join("examples/reflector");
    let interface = lab.server_link().name.clone();
    let start = || Command::new(&program).arg(interface).spawn();
    let started = lab.server.run(start).unwrap();
    let mut reflector = Reflector(started.unwrap_or_else(|e| panic!("{}: {e}", program.display())));
    let server = lab.server_link().interface.address;
    let client = lab.client_link().interface.address;
    let socket = lab.client.run(|| UdpSocket::bind((client, 4000))).unwrap().unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut answer = [0; 2048];
    // Until it is attached, the server's kernel says that nobody listens.
    let patience = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < patience, "no answer");
        assert!(reflector.0.try_wait().unwrap().is_none(), "the example has ended");
        socket.send_to(b"there?", (server, 9)).unwrap();
        if socket.recv(&mut answer).is_ok() {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    for len in (0..=1472_usize).step_by(7) {
        let number = u8::try_from(len % 251).unwrap();
        let payload: Vec<u8> =
            (0..len).map(|at| number.wrapping_add(at.to_le_bytes()[0])).collect();
        socket.send_to(&payload, (server, 9)).unwrap();
        // An answer to an earlier question may still come.
        loop {
            let (count, from) = socket.recv_from(&mut answer).unwrap();
            assert_eq!(from, (server, 9).into());
            if answer[..count] == payload {
                break;
            }
            assert_eq!(&answer[..count], b"there?");
        }
    }
}
