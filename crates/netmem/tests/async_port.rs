//! Ports in a tokio runtime, on a veth with the kernel's UDP as the other side.
//!
//! Planted and caught: a wait that does not look into the rings first; readiness that is never cleared
//! (the test then does not end); packets left in the queue when there was no room.
#![allow(clippy::unwrap_used, reason = "a test: an error where none may be is a failure")]

use std::{collections::VecDeque, time::Duration};

use netmem::{
    device::Verdict,
    link::Link,
    mem::{Audit, Packet, Pool, PoolConfig, PoolHandle, Region},
    packet::FrameSocket,
    xdp::{Port, RingSizes, XdpMode, tokio::AsyncPort},
};
use netmem_host::{
    lab::{Lab, missing_privilege, skip},
    netlink::{AdminState, Route},
};
use netmem_wire::filter::{Action, Expr, Rule, Rules};
use tokio::{runtime::Builder, time};

/// How long anything may take that must happen: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

fn open(lab: &Lab) -> (PoolHandle, Port) {
    let region = Region::builder(4096 * 2048).build().unwrap();
    let handle = Pool::new(region, PoolConfig::default()).unwrap().handle();
    let when: Expr = "ether proto 0x88b5".parse().unwrap();
    let rings = RingSizes { tx: 64, completion: 64, ..RingSizes::default() };
    let builder =
        Port::builder(&lab.server_link().name, Rules::new([Rule::new("test", when, Action::Take)]));
    let port = builder.modes(&[XdpMode::Native]).rings(rings).open(&handle).unwrap();
    (handle, port)
}

fn frame(number: u16) -> Vec<u8> {
    let mut frame = vec![0xff; 12];
    frame.extend([0x88, 0xb5]);
    frame.extend(number.to_be_bytes());
    frame.resize(60 + usize::from(number) % 600, number.to_le_bytes()[0]);
    frame
}

/// Processor time of this thread so far.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

/// Nothing comes: the future waits, and the thread sleeps.
async fn sleeps(port: &mut AsyncPort) {
    let before = cpu();
    let mut none = ();
    let nothing = port.receive(64, &mut none, |_| Verdict::Consume);
    assert!(time::timeout(Duration::from_millis(300), nothing).await.is_err());
    assert!(cpu() - before < Duration::from_millis(100), "{:?}", cpu() - before);
}

#[test]
fn lab_packets_are_awaited_and_sent() {
    const NAME: &str = "lab_packets_are_awaited_and_sent";
    if let Some(missing) = missing_privilege() {
        return skip(NAME, &missing);
    }
    const COUNT: u16 = 500;
    let lab = Lab::builder().build().unwrap();
    let client = |link: &str| FrameSocket::open(&Link::by_name(link).unwrap(), 64, 2048).unwrap();
    let name = lab.client_link().name.clone();
    let mut client = lab.client.run(|| client(&name)).unwrap();
    let server = || {
        let (handle, port) = open(&lab);
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let port = runtime.block_on(async {
            let mut port = AsyncPort::new(port).unwrap();
            sleeps(&mut port).await;
            let send = tokio::task::spawn_blocking(move || {
                for number in 0..COUNT {
                    let frame = frame(number);
                    while client.send(&[&frame]).unwrap() == 0 {}
                    if number % 50 == 0 {
                        std::thread::sleep(Duration::from_millis(3));
                    }
                }
                client
            });
            // All of them are kept first, and are then far more than the tx ring has room for.
            let mut kept: VecDeque<Packet> = VecDeque::new();
            while kept.len() < usize::from(COUNT) {
                let receive = port.receive(64, &mut kept, |_| Verdict::Keep);
                let tally = time::timeout(PATIENCE, receive).await.unwrap().unwrap();
                assert_eq!(tally.received, tally.kept);
            }
            let numbers = kept
                .iter()
                .map(|packet| u16::from_be_bytes([packet.bytes()[14], packet.bytes()[15]]));
            assert!(numbers.eq(0..COUNT));
            let transmit = port.transmit(&mut kept);
            time::timeout(PATIENCE, transmit).await.unwrap().unwrap();
            assert!(kept.is_empty());
            let mut client = send.await.unwrap();
            let mut next = 0;
            let deadline = time::Instant::now() + PATIENCE;
            while next < COUNT && time::Instant::now() < deadline {
                let check = |bytes: &[u8]| {
                    if bytes.get(12..14) == Some(&[0x88, 0xb5][..]) {
                        assert_eq!(bytes, frame(next));
                        next += 1;
                    }
                };
                client.receive(check).unwrap();
                client.wait(Duration::from_millis(10)).unwrap();
            }
            assert_eq!(next, COUNT);
            sleeps(&mut port).await;
            port.into_port()
        });
        let audit = Audit::of(handle.pool(), [port.close().walk, handle.walk()]);
        assert!(audit.is_ok() && audit.held == 0, "{audit:?}");
    };
    lab.server.run(server).unwrap();
}

#[test]
fn lab_an_interface_that_goes_ends_the_wait() {
    const NAME: &str = "lab_an_interface_that_goes_ends_the_wait";
    if let Some(missing) = missing_privilege() {
        return skip(NAME, &missing);
    }
    let lab = Lab::builder().build().unwrap();
    let server = || {
        let (_handle, port) = open(&lab);
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut port = AsyncPort::new(port).unwrap();
            let name = lab.server_link().name.clone();
            let mut none = ();
            let receive = port.receive(64, &mut none, |_| Verdict::Consume);
            let go = async {
                time::sleep(Duration::from_millis(100)).await;
                let mut route = Route::open().unwrap();
                route.set_state(&name, AdminState::Down).unwrap();
                route.delete_link(&name).unwrap();
            };
            let both = async { tokio::join!(receive, go).0 };
            let error = time::timeout(PATIENCE, both).await.unwrap().unwrap_err();
            assert!(error.to_string().starts_with("receive on "), "{error}");
            assert!(error.hint().unwrap().contains("was removed"), "{error}");
        });
    };
    lab.server.run(server).unwrap();
}
