//! A queue that goes from one socket to the next, and a port that is used where it was not bound.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use netmem::{
    device::{Device, Verdict},
    link::Link,
    mem::{Audit, audit::Owner},
    xdp::XdpMode,
};
use netmem_host::{
    lab::{missing_privilege, skip},
    netlink::{Ethtool, Feature},
};

use crate::{
    bed::{Bed, PATIENCE, PEER, WEST, assert_closed, frame, handle, number_of},
    traffic::{Passed, Seen, Traffic, by, dropped_by, receive, wait_until},
};

const ROUNDS: usize = 6;

/// One port after another takes over the queue while frames come. The next is bound at once, also where
/// nobody waited for the queue of the last: no EBUSY gets to the caller. Each frame comes to one of the
/// ports or to the kernel, once, or the kernel counts it as dropped.
#[test]
fn lab_queue_moved_between_sockets_under_traffic() {
    if let Some(missing) = missing_privilege() {
        return skip("lab_queue_moved_between_sockets_under_traffic", &missing);
    }
    let bed = Bed::new(1);
    let check = || {
        // Without NAPI of its own a veth forgets what it has queued when its program goes, uncounted
        // (veth_disable_xdp in drivers/net/veth.c, kernel 6.18).
        Ethtool::open().unwrap().set_gro(WEST, Feature::On).unwrap();
        let dropped = || {
            let at_peer = bed.west.run(|| dropped_by(PEER)).unwrap();
            dropped_by(WEST).0 + at_peer.1
        };
        let (before, passed, mut seen) = (dropped(), Passed::collect(), Seen::default());
        let traffic = Traffic::start(&bed.west);
        let mut purged = 0;
        for round in 0..ROUNDS {
            let handle = handle(4096);
            let port = by(XdpMode::Native).bind(&handle).unwrap().pop().unwrap();
            let (mut control, port) = port.split().unwrap();
            let mut port = port.start(&handle).unwrap();
            let first = seen.count();
            receive(&mut port, &mut seen, 300);
            control.detach();
            // What came before is taken; what is still on its way through the program is purged.
            while port.levels().rx > 0 {
                port.receive(64, &mut (), |packet| {
                    seen.note(packet.bytes());
                    Verdict::Consume
                });
            }
            let here = seen.count() - first;
            let closed = port.close();
            if round % 2 == 0 {
                // Waits for the queue.
                let _ = control.close();
            } else {
                drop(control);
            }
            let audit = Audit::of(handle.pool(), [closed.walk, handle.walk()]);
            assert!(audit.is_ok() && audit.held == 0, "{audit:?}");
            assert_eq!(audit.owners[Owner::Quarantined], closed.quarantined, "{audit:?}");
            assert_eq!(audit.counts.received, here + audit.counts.dropped.total());
            purged += audit.counts.dropped.total();
        }
        let sent = u64::from(traffic.stop());
        let found = || seen.count() + passed.count() + purged + dropped() - before;
        let deadline = Instant::now() + PATIENCE;
        while found() < sent && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        let figures = (passed.count(), purged, dropped() - before);
        assert_eq!(found(), sent, "passed, purged and dropped: {figures:?}");
        let passed = passed.stop();
        let twice: Vec<_> = seen.0.intersection(&passed.0).collect();
        assert!(twice.is_empty(), "came to a port and to the kernel: {twice:?}");
        assert!(seen.count() >= 300 * ROUNDS as u64);
    };
    bed.mid.run(check).unwrap();
}

/// Bound by a thread in the interface's namespace, used and closed by one in another: it receives and
/// sends, and what its close cannot look at it does not claim, though an interface of the same index is
/// there.
#[test]
fn lab_port_in_another_namespace() {
    const COUNT: u32 = 300;
    if let Some(missing) = missing_privilege() {
        return skip("lab_port_in_another_namespace", &missing);
    }
    for mode in [XdpMode::Native, XdpMode::Generic] {
        let bed = Bed::new(1);
        let handle = handle(8192);
        let pool = Arc::clone(handle.pool());
        let bind = || by(mode).bind(&pool.handle()).unwrap().pop().unwrap();
        let port = bed.mid.run(bind).unwrap();
        let ifindex = port.report().ifindex;
        let pool = Arc::clone(handle.pool());
        let stranger = move || {
            let mine = Link::by_name(PEER).unwrap();
            assert_eq!(mine.index, ifindex, "of the same index, to lead a close astray");
            let handle = pool.handle();
            let mut port = port.start(&handle).unwrap();
            let mut seen = Seen::default();
            wait_until("frames come and go", || {
                port.receive(64, &mut (), |packet| {
                    seen.note(packet.bytes());
                    Verdict::Transmit
                });
                port.wait(Duration::from_millis(1)).unwrap();
                port.progress().completed == u64::from(COUNT)
            });
            assert!(port.is_attached().unwrap());
            let closed = port.close();
            (closed, handle.walk().counts_only())
        };
        let work = || {
            Bed::send(&bed.west, &(0..COUNT).map(frame).collect::<Vec<_>>());
            bed.east.run(stranger).unwrap()
        };
        let (got, (closed, counts)) = Bed::collect(&bed.west, COUNT as usize, work);
        let mut numbers: Vec<_> = got.iter().map(|bytes| number_of(bytes)).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..COUNT).collect::<Vec<_>>(), "{mode:?}");
        assert_eq!(closed.quarantined, 2048, "{mode:?}: nobody saw the queue free");
        let audit = Audit::of(handle.pool(), [closed.walk, counts, handle.walk()]);
        assert!(audit.is_ok() && audit.held == 0, "{audit:?}");
        assert_eq!(audit.owners[Owner::Quarantined], 2048, "{mode:?}");
        assert_eq!(audit.counts.transmitted, u64::from(COUNT));
        // All the same it is, and where the interface is that can be seen.
        let again = || {
            assert_eq!(Link::by_name(WEST).unwrap().xdp, None);
            let handle = crate::bed::handle(4096);
            let port = by(mode).open(&handle).unwrap();
            assert_eq!(port.close().quarantined, 0, "{mode:?}");
            assert_closed(&Audit::of(handle.pool(), [handle.walk()]));
        };
        bed.mid.run(again).unwrap();
    }
}
