//! Ports in two halves: one keeps the program, the other moves packets.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use netmem::{
    link::Link,
    mem::{Audit, audit::Owner},
    packet::FrameSocket,
    xdp::{Port, PortSet, XdpMode},
};
use netmem_host::lab::{missing_privilege, skip};

use crate::bed::{Bed, PATIENCE, WEST, assert_closed, expect, frame, handle, number_of, rules};

#[test]
fn lab_a_control_keeps_the_port_that_a_worker_uses() {
    if let Some(missing) = missing_privilege() {
        return skip("lab_a_control_keeps_the_port_that_a_worker_uses", &missing);
    }
    let bed = Bed::new(1);
    let check = || {
        let handle = handle(4096);
        let builder = Port::builder(WEST, rules()).modes(&[XdpMode::Native]);
        let port = builder.clone().bind(&handle).unwrap().pop().unwrap();
        let (mut control, port) = port.split().unwrap();
        let pool = Arc::clone(handle.pool());
        let (say, hear) = mpsc::channel::<()>();
        let worker = thread::spawn(move || {
            let handle = pool.handle();
            let mut port = port.start(&handle).unwrap();
            let mut next = 0;
            let visit = |bytes: &[u8]| {
                assert_eq!(number_of(bytes), next);
                next += 1;
            };
            expect(&mut port, visit, 200);
            // Until the control says that traffic has ended.
            hear.recv().unwrap();
            let closed = port.close();
            (closed, handle.walk().counts_only())
        });
        Bed::send(&bed.west, &(0..200).map(frame).collect::<Vec<_>>());
        while control.statistics().unwrap().rx_ring_full == 0
            && control.classes().unwrap()[0].1 < 200
        {
            thread::yield_now();
        }
        assert!(control.is_attached().unwrap());
        control.detach();
        assert_eq!(Link::by_name(WEST).unwrap().xdp, None);
        say.send(()).unwrap();
        let (closed, counts) = worker.join().unwrap();
        // The worker could not see the queue free: the control still has the socket.
        assert_eq!(closed.quarantined, 2048);
        assert!(control.close(), "the queue is not free");
        let audit = Audit::of(handle.pool(), [closed.walk, counts, handle.walk()]);
        assert!(audit.is_ok() && audit.held == 0, "{audit:?}");
        assert_eq!(audit.owners[Owner::Quarantined], 2048);
        assert_eq!(audit.counts.received, 200);
        // The queue is free at once.
        let port = builder.open(&handle).unwrap();
        let closed = port.close();
        assert_eq!(closed.quarantined, 0);
    };
    bed.mid.run(check).unwrap();
}

#[test]
fn lab_a_port_is_started_over_its_own_pool_only() {
    if let Some(missing) = missing_privilege() {
        return skip("lab_a_port_is_started_over_its_own_pool_only", &missing);
    }
    let bed = Bed::new(1);
    let check = || {
        let (ours, other) = (handle(4096), handle(4096));
        let port = Port::builder(WEST, rules()).modes(&[XdpMode::Native]);
        let port = port.bind(&ours).unwrap().pop().unwrap();
        let error = port.start(&other).unwrap_err().to_string();
        assert!(error.contains("another pool"), "{error}");
        assert_closed(&Audit::of(other.pool(), [other.walk()]));
        // Nobody waited for the queue: its slots stay out of use.
        let audit = Audit::of(ours.pool(), [ours.walk()]);
        assert!(audit.is_ok(), "{audit:?}");
        assert_eq!(audit.owners[Owner::Quarantined], 2048);
    };
    bed.mid.run(check).unwrap();
}

/// Registered later, a port is attached and gets nothing: packets pass to the kernel until it is said
/// that somebody looks at them, and none waits meanwhile.
#[test]
fn lab_packets_pass_to_the_kernel_until_a_port_is_registered() {
    if let Some(missing) = missing_privilege() {
        return skip("lab_packets_pass_to_the_kernel_until_a_port_is_registered", &missing);
    }
    let bed = Bed::new(1);
    let check = || {
        let handle = handle(4096);
        let mut kernel = FrameSocket::open(&Link::by_name(WEST).unwrap(), 64, 2048).unwrap();
        let bind = || {
            let builder = Port::builder(WEST, rules()).modes(&[XdpMode::Native]);
            let ports = PortSet::new(&handle).register_later().port(builder).bind();
            ports.unwrap().pop().unwrap()
        };
        for splits in [true, false] {
            let port = bind();
            assert!(Link::by_name(WEST).unwrap().xdp.is_some(), "attached");
            Bed::send(&bed.west, &(0..100).map(frame).collect::<Vec<_>>());
            let mut next = 0;
            let deadline = Instant::now() + PATIENCE;
            while next < 100 && Instant::now() < deadline {
                kernel.wait(Duration::from_millis(10)).unwrap();
                let visit = |bytes: &[u8]| {
                    assert_eq!(number_of(bytes), next);
                    next += 1;
                };
                kernel.receive(visit).unwrap();
            }
            assert_eq!(next, 100, "the kernel has them");
            let (control, mut port) = if splits {
                let (control, port) = port.split().unwrap();
                // A second time changes nothing.
                control.register().and_then(|()| control.register()).unwrap();
                (Some(control), port.start(&handle).unwrap())
            } else {
                port.register().unwrap();
                (None, port.start(&handle).unwrap())
            };
            Bed::send(&bed.west, &(100..300).map(frame).collect::<Vec<_>>());
            let visit = |bytes: &[u8]| {
                assert_eq!(number_of(bytes), next);
                next += 1;
            };
            expect(&mut port, visit, 200);
            kernel.receive(|bytes| panic!("the kernel got {bytes:02x?}")).unwrap();
            let statistics = port.statistics().unwrap();
            assert_eq!((statistics.rx_dropped, statistics.rx_ring_full), (0, 0));
            let closed = port.close();
            if let Some(control) = control {
                assert!(control.close(), "the queue is not free");
            } else {
                assert_eq!(closed.quarantined, 0);
            }
        }
        let audit = Audit::of(handle.pool(), [handle.walk()]);
        assert_eq!(audit.owners[Owner::Free] + audit.owners[Owner::Quarantined], 4096);
    };
    bed.mid.run(check).unwrap();
}
