//! Ports in two halves: one keeps the program, the other moves packets.

use std::{
    sync::{Arc, mpsc},
    thread,
};

use netmem::{
    link::Link,
    mem::{Audit, audit::Owner},
    xdp::{Port, XdpMode},
};
use netmem_host::lab::{missing_privilege, skip};

use crate::bed::{Bed, WEST, assert_closed, expect, frame, handle, number_of, rules};

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
