//! Sets of ports: one registration for a class of device, all queues, all or nothing.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use netmem::{
    device::{Device, Verdict},
    link::Link,
    mem::{Audit, Packet, Pool},
    packet::FrameSocket,
    xdp::{BoundPort, BusyPoll, MultiBuffer, Port, PortBuilder, PortSet, Queues, XdpMode, raw},
};
use netmem_host::{
    lab::{missing_privilege, skip},
    netlink::Route,
};

use crate::bed::{
    Bed, EAST, PATIENCE, WEST, assert_closed, complete, frame, handle, number_of, rules,
};

fn by(mode: XdpMode, interface: &str) -> PortBuilder {
    Port::builder(interface, rules()).modes(&[mode])
}

#[test]
fn lab_one_region_serves_two_devices() {
    if let Some(missing) = missing_privilege() {
        return skip("lab_one_region_serves_two_devices", &missing);
    }
    for mode in [XdpMode::Native, XdpMode::Generic] {
        let bed = Bed::new(1);
        let across = || {
            let handle = handle(8192);
            let set = PortSet::new(&handle).port(by(mode, WEST)).port(by(mode, EAST));
            let ports = set.bind().unwrap();
            let shares: Vec<_> = ports.iter().map(|port| port.report().shares_umem).collect();
            assert_eq!(shares, [false, true], "{mode:?}");
            let start = |port: BoundPort| port.start(&handle).unwrap();
            let mut ports: Vec<_> = ports.into_iter().map(start).collect();
            let mut east = ports.pop().unwrap();
            let mut west = ports.pop().unwrap();
            // From west to east by owned packets: the slot goes from one device's rings to the other's.
            let mut kept: VecDeque<Packet> = VecDeque::new();
            let deadline = Instant::now() + PATIENCE;
            let mut left = 600;
            while left > 0 && Instant::now() < deadline {
                let tally = west.receive(64, &mut kept, |_| Verdict::Keep);
                left -= tally.received;
                east.transmit(&mut kept).unwrap();
                if tally.received == 0 {
                    west.wait(Duration::from_millis(5)).unwrap();
                }
            }
            assert_eq!(left, 0);
            // A close waits a moment only for what is still to be sent.
            complete(&mut east);
            let walks = [west.close().walk, east.close().walk, handle.walk()];
            assert_closed(&Audit::of(handle.pool(), walks));
        };
        let work = || {
            thread::scope(|scope| {
                let port = scope.spawn(|| bed.mid.run(across).unwrap());
                // Until it is attached frames pass to the kernel, which drops them.
                wait_attached(&bed, &[WEST, EAST]);
                Bed::send(&bed.west, &(0..600).map(frame).collect::<Vec<_>>());
                port.join().unwrap();
            });
        };
        let (got, ()) = Bed::collect(&bed.east, 600, work);
        let numbers: Vec<_> = got.iter().map(|bytes| number_of(bytes)).collect();
        assert_eq!(numbers, (0..600).collect::<Vec<_>>(), "{mode:?}");
    }
}

/// Waits until these interfaces of the middle have a program.
fn wait_attached(bed: &Bed, names: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    let attached = |name: &&str| Link::by_name(name).unwrap().xdp.is_some();
    while !bed.mid.run(|| names.iter().all(attached)).unwrap() {
        assert!(Instant::now() < deadline, "no program");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn lab_every_queue_has_a_port_and_a_worker() {
    if let Some(missing) = missing_privilege() {
        return skip("lab_every_queue_has_a_port_and_a_worker", &missing);
    }
    const COUNT: u32 = 400;
    let bed = Bed::new(4);
    let handle = handle(16384);
    let bind = |pool: Arc<Pool>| {
        let builder = by(XdpMode::Native, WEST).queues(Queues::All);
        move || builder.bind(&pool.handle()).unwrap()
    };
    let ports = bed.mid.run(bind(Arc::clone(handle.pool()))).unwrap();
    let queues: Vec<_> = ports.iter().map(|port| port.report().queue).collect();
    assert_eq!(queues, [0, 1, 2, 3]);
    let total = AtomicU32::new(0);
    let work = |port: BoundPort| {
        let handle = port.pool().handle();
        let mut port = port.start(&handle).unwrap();
        let mut numbers = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while total.load(Ordering::Relaxed) < COUNT && Instant::now() < deadline {
            let tally = port.receive(64, &mut (), |packet| {
                numbers.push(number_of(packet.bytes()));
                Verdict::Consume
            });
            total.fetch_add(tally.received, Ordering::Relaxed);
            if tally.received == 0 {
                port.wait(Duration::from_millis(5)).unwrap();
            }
        }
        let closed = port.close().walk;
        (numbers, [closed, handle.walk()])
    };
    let results = thread::scope(|scope| {
        let start = |port| scope.spawn(|| bed.mid.run(|| work(port)).unwrap());
        let workers: Vec<_> = ports.into_iter().map(start).collect();
        // From each processor some: it chooses the queue.
        Bed::send(&bed.west, &(0..COUNT).map(frame).collect::<Vec<_>>());
        workers.into_iter().map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
    });
    let mut all = BTreeSet::new();
    let mut walks = vec![handle.walk()];
    for (numbers, ends) in results {
        for number in numbers {
            assert!(all.insert(number), "frame {number} came twice");
        }
        // The worker's handle is gone, and its cache with it: what it counted stays.
        let [port, handle] = ends;
        walks.extend([port, handle.counts_only()]);
    }
    assert_eq!(all, (0..COUNT).collect());
    assert_closed(&Audit::of(handle.pool(), walks));
}

#[test]
fn lab_a_set_that_fails_leaves_nothing_behind() {
    if let Some(missing) = missing_privilege() {
        return skip("lab_a_set_that_fails_leaves_nothing_behind", &missing);
    }
    let bed = Bed::new(2);
    let check = || {
        let handle = handle(8192);
        let both = |second: PortBuilder| {
            PortSet::new(&handle).port(by(XdpMode::Native, WEST).queues(Queues::All)).port(second)
        };
        // The second interface takes no zero copy, when the first is bound already.
        let error = both(by(XdpMode::ZeroCopy, EAST)).bind().unwrap_err();
        let words =
            format!("open port on {EAST} queue 0: zero-copy: bind: operation not supported");
        assert!(error.to_string().starts_with(&words), "{error}");
        let ours = |name| Link::by_name(name).unwrap().xdp;
        assert_eq!((ours(WEST), ours(EAST)), (None, None));
        assert_closed(&Audit::of(handle.pool(), [handle.walk()]));
        // Queues are free at once, ten times over.
        for _ in 0..10 {
            let ports = both(by(XdpMode::Generic, EAST)).bind().unwrap();
            assert_eq!(ports.len(), 3);
            ports.into_iter().for_each(BoundPort::close);
            assert_closed(&Audit::of(handle.pool(), [handle.walk()]));
        }
        // Refused before anything is bound.
        for (bad, why) in [
            (by(XdpMode::Native, "nm-missing"), "find interface nm-missing"),
            (by(XdpMode::Native, EAST).queue(2), "the interface's last queue is 1"),
            (by(XdpMode::Native, EAST).queues(Queues::These(vec![1, 1])), "named twice"),
            (by(XdpMode::Native, EAST).queues(Queues::These(Vec::new())), "no queue was named"),
            (by(XdpMode::Native, EAST).headroom(1792), "leaves no room"),
        ] {
            let error = both(bad).bind().unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            assert_eq!(ours(WEST), None);
        }
    };
    bed.mid.run(check).unwrap();
}

#[test]
fn lab_a_program_that_is_refused_frees_the_queues_for_the_next_mode() {
    const NAME: &str = "lab_a_program_that_is_refused_frees_the_queues_for_the_next_mode";
    if let Some(missing) = missing_privilege() {
        return skip(NAME, &missing);
    }
    let bed = Bed::new(2);
    // Too long for a program that takes packets in one piece only, at both ends of the pair.
    bed.west.run(|| Route::open().unwrap().set_mtu("nm-peer", 9000).unwrap()).unwrap();
    let check = || {
        Route::open().unwrap().set_mtu(WEST, 9000).unwrap();
        let handle = handle(8192);
        let builder = Port::builder(WEST, rules()).queues(Queues::All);
        let builder = builder.modes(&[XdpMode::Native, XdpMode::Generic]);
        let never = builder.clone().multi_buffer(MultiBuffer::Never);
        let ports = never.bind(&handle).unwrap();
        for port in &ports {
            let report = port.report();
            assert_eq!((report.mode, report.multi_buffer), (XdpMode::Generic, false));
            assert!(report.refused[0].why.contains("MTU is too large"), "{report:?}");
            let words = "the kernel drops packets longer than 1792 bytes, and the MTU of nm-west allows \
                         9022";
            assert_eq!(report.advice[0].to_string(), words);
        }
        ports.into_iter().for_each(BoundPort::close);
        assert_closed(&Audit::of(handle.pool(), [handle.walk()]));
        // By default the MTU decides.
        let ports = builder.bind(&handle).unwrap();
        for port in &ports {
            let report = port.report();
            assert_eq!((report.mode, report.multi_buffer), (XdpMode::Native, true));
            assert_eq!((&report.refused[..], &report.advice[..]), (&[][..], &[][..]));
        }
        ports.into_iter().for_each(BoundPort::close);
        assert_closed(&Audit::of(handle.pool(), [handle.walk()]));
    };
    bed.mid.run(check).unwrap();
}

#[test]
fn lab_a_program_passes_what_comes_to_a_queue_whose_port_has_gone() {
    const NAME: &str = "lab_a_program_passes_what_comes_to_a_queue_whose_port_has_gone";
    if let Some(missing) = missing_privilege() {
        return skip(NAME, &missing);
    }
    const COUNT: u32 = 300;
    let bed = Bed::new(2);
    let check = || {
        let handle = handle(8192);
        let builder = by(XdpMode::Native, WEST).queues(Queues::All);
        let mut ports = builder.bind(&handle).unwrap().into_iter();
        let start = |port: Option<BoundPort>| port.unwrap().start(&handle).unwrap();
        let (first, mut second) = (start(ports.next()), start(ports.next()));
        let first = first.close();
        assert!(second.is_attached().unwrap(), "the program is still the second port's");
        // Each frame comes to the port that is left, or passes to the kernel; none is lost.
        let mut kernel = FrameSocket::open(&Link::by_name(WEST).unwrap(), 64, 2048).unwrap();
        Bed::send(&bed.west, &(0..COUNT).map(frame).collect::<Vec<_>>());
        let mut seen = BTreeSet::new();
        let deadline = Instant::now() + PATIENCE;
        while seen.len() < COUNT as usize && Instant::now() < deadline {
            let tally = second.receive(64, &mut (), |packet| {
                assert!(seen.insert(number_of(packet.bytes())));
                Verdict::Consume
            });
            let passed = kernel.receive(|bytes| assert!(seen.insert(number_of(bytes)))).unwrap();
            if tally.received == 0 && passed == 0 {
                second.wait(Duration::from_millis(1)).unwrap();
            }
        }
        assert_eq!(seen, (0..COUNT).collect());
        let second = second.close();
        assert_eq!(Link::by_name(WEST).unwrap().xdp, None);
        assert_closed(&Audit::of(handle.pool(), [first.walk, second.walk, handle.walk()]));
    };
    bed.mid.run(check).unwrap();
}

#[test]
fn lab_a_busy_polled_port_receives_and_sends() {
    if let Some(missing) = missing_privilege() {
        return skip("lab_a_busy_polled_port_receives_and_sends", &missing);
    }
    let bed = Bed::new(1);
    // Only where it is asked for, and then for real.
    let unasked = || {
        let handle = handle(4096);
        let port = by(XdpMode::Native, WEST).open(&handle).unwrap();
        assert!(!raw::busy_poll(&port).unwrap().0);
        assert_closed(&Audit::of(handle.pool(), [port.close().walk, handle.walk()]));
    };
    bed.mid.run(unasked).unwrap();
    let reflect = || {
        let handle = handle(4096);
        let builder = by(XdpMode::Native, WEST).busy_poll(BusyPoll::default());
        let mut port = builder.open(&handle).unwrap();
        assert_eq!(port.report().busy_poll, Some(BusyPoll::default()));
        assert_eq!(raw::busy_poll(&port).unwrap(), (true, 20));
        let mut left = 300;
        let deadline = Instant::now() + PATIENCE;
        while left > 0 && Instant::now() < deadline {
            left -= port.receive(64, &mut (), |_| Verdict::Transmit).received;
        }
        assert_eq!(left, 0);
        complete(&mut port);
        assert_closed(&Audit::of(handle.pool(), [port.close().walk, handle.walk()]));
    };
    let work = || {
        thread::scope(|scope| {
            let port = scope.spawn(|| bed.mid.run(reflect).unwrap());
            wait_attached(&bed, &[WEST]);
            Bed::send(&bed.west, &(0..300).map(frame).collect::<Vec<_>>());
            port.join().unwrap();
        });
    };
    let (got, ()) = Bed::collect(&bed.west, 300, work);
    let numbers: Vec<_> = got.iter().map(|bytes| number_of(bytes)).collect();
    assert_eq!(numbers, (0..300).collect::<Vec<_>>());
}
