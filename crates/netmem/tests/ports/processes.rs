//! Ports handed to another process: this test binary, started a second time.

use std::{
    env,
    io::{Read, Write},
    os::{fd::AsFd, fd::OwnedFd, unix::net::UnixStream},
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use netmem::{
    device::{Device, Verdict},
    link::Link,
    mem::{Audit, Packet, Pool, PoolConfig, Region, audit::Owner, region::Sharing},
    xdp::{BoundPort, Port, Queues, XdpMode, handover},
};
use netmem_host::lab::{missing_privilege, skip};

use crate::bed::{Bed, PATIENCE, WEST, complete, frame, number_of, rules};

const COUNT: u32 = 500;
/// Set for the process that plays the worker.
const WORKER: &str = "NETMEM_TEST_WORKER";

#[test]
fn lab_a_worker_process_moves_the_packets() {
    const NAME: &str = "lab_a_worker_process_moves_the_packets";
    if env::var_os(WORKER).is_some() {
        return worker();
    }
    if let Some(missing) = missing_privilege() {
        return skip(NAME, &missing);
    }
    let bed = Bed::new(2);
    let parent = || {
        let region = Region::builder(8192 * 2048).sharing(Sharing::Memfd).build().unwrap();
        let handle = Pool::new(region, PoolConfig::default()).unwrap().handle();
        let builder = Port::builder(WEST, rules()).modes(&[XdpMode::Native]).queues(Queues::All);
        // Once taken down again: the free slots are in disorder.
        builder.clone().bind(&handle).unwrap().into_iter().for_each(BoundPort::close);
        let ports = builder.bind(&handle).unwrap();
        let halves = ports.into_iter().map(|port| port.split().unwrap());
        let (mut controls, ports): (Vec<_>, Vec<_>) = halves.unzip();
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        // Our copy of the worker's end goes with the command.
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", &format!("processes::{NAME}"), "--nocapture"])
            .env(WORKER, "1")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .unwrap();
        handover::send(&ours, ports, &handle).unwrap();
        assert!(handle.alloc().is_none(), "the memory is the worker's");
        Bed::send(&bed.west, &(0..COUNT).map(frame).collect::<Vec<_>>());
        let mut byte = [0];
        ours.read_exact(&mut byte).unwrap();
        for control in &mut controls {
            assert!(control.is_attached().unwrap());
            control.detach();
        }
        assert_eq!(Link::by_name(WEST).unwrap().xdp, None);
        ours.write_all(&[1]).unwrap();
        assert!(child.wait().unwrap().success());
        for control in controls {
            assert!(control.close(), "the queue is not free");
        }
    };
    let work = || bed.mid.run(parent).unwrap();
    let (got, ()) = Bed::collect(&bed.west, COUNT as usize, work);
    let mut numbers: Vec<_> = got.iter().map(|bytes| number_of(bytes)).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..COUNT).collect::<Vec<_>>());
}

/// Sends every frame back, and audits at the end.
fn worker() {
    let stream = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let mut stream = UnixStream::from(stream);
    let handover::HandedOver { pool, ports } = handover::receive(&stream).unwrap();
    assert_eq!((pool.slots(), pool.in_flight(), ports.len()), (8192, 4096, 2));
    let handle = pool.handle();
    // All that is free can be had, and nothing that a device has.
    let all: Vec<Packet> = std::iter::from_fn(|| handle.alloc()).collect();
    assert_eq!(all.len(), 4096);
    all.into_iter().for_each(Packet::consume);
    let mut ports: Vec<_> = ports.into_iter().map(|port| port.start(&handle).unwrap()).collect();
    let mut left = COUNT;
    let deadline = Instant::now() + PATIENCE;
    while left > 0 {
        assert!(Instant::now() < deadline, "{left} frames did not come");
        for port in &mut ports {
            let tally = port.receive(64, &mut (), |packet| {
                assert!(number_of(packet.bytes()) < COUNT);
                Verdict::Transmit
            });
            left -= tally.transmitted;
        }
        thread::yield_now();
    }
    // A close waits a moment only for what is still to be sent.
    ports.iter_mut().for_each(complete);
    stream.write_all(&[1]).unwrap();
    let mut byte = [0];
    stream.read_exact(&mut byte).unwrap();
    let mut walks = vec![handle.walk()];
    for port in ports {
        // The parent will see the queue free: here what the kernel has stays out of use.
        walks.push(port.close().walk);
    }
    walks[0] = handle.walk();
    let audit = Audit::of(&pool, walks);
    assert!(audit.is_ok() && audit.held == 0, "{audit:?}");
    assert_eq!(audit.counts.transmitted, u64::from(COUNT));
    assert_eq!(audit.owners[Owner::Free] + audit.owners[Owner::Quarantined], 8192, "{audit:?}");
}

#[test]
fn lab_memory_that_is_private_or_in_use_is_not_handed_over() {
    const NAME: &str = "lab_memory_that_is_private_or_in_use_is_not_handed_over";
    if let Some(missing) = missing_privilege() {
        return skip(NAME, &missing);
    }
    let bed = Bed::new(1);
    let check = || {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        for (sharing, held, why) in [
            (Sharing::Private, 0, "the region is private"),
            (Sharing::Memfd, 3, "3 frames are still with packets"),
        ] {
            let region = Region::builder(4096 * 2048).sharing(sharing).build().unwrap();
            let handle = Pool::new(region, PoolConfig::default()).unwrap().handle();
            let held: Vec<_> = (0..held).map(|_| handle.alloc().unwrap()).collect();
            let builder = Port::builder(WEST, rules()).modes(&[XdpMode::Native]);
            let port = builder.bind(&handle).unwrap().pop().unwrap();
            let (control, port) = port.split().unwrap();
            let error = handover::send(&ours, vec![port], &handle).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            assert!(control.close());
            held.into_iter().for_each(Packet::consume);
        }
    };
    bed.mid.run(check).unwrap();
}

#[test]
fn what_is_no_handover_is_refused() {
    for (bytes, why) in [
        (&b""[..], "it is gone"),
        (b"netmem00\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "another version"),
        (b"netmem01\xff\xff\xff\xff\xff\xff\xff\xff", "another version"),
        (b"netmem01\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "another version"),
    ] {
        let (mut parent, worker) = UnixStream::pair().unwrap();
        parent.write_all(bytes).unwrap();
        drop(parent);
        let error = handover::receive(&worker).unwrap_err().to_string();
        assert!(error.contains(why), "{bytes:?}: {error}");
    }
}
