//! The interface is changed, goes down, loses queues or its program, or is deleted.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use netmem::{
    Error,
    device::{Device, Verdict},
    link::{Link, LinkEvent, LinkWatch},
    mem::{Audit, Packet, Pool, Walk, audit::Owner},
    packet::FrameSocket,
    xdp::{BoundPort, Closed, MultiBuffer, Port, Queues, UnstartedPort, XdpMode},
};
use netmem_bpf::{LinkInfo, detach_by_id, link_ids};
use netmem_host::{
    lab::{missing_privilege, skip},
    netlink::{AdminState, Route},
};

use crate::{
    bed::{Bed, PEER, WEST, assert_closed, frame, handle, number_of},
    channels::set_channels,
    traffic::{Seen, Traffic, by, kernel_socket, receive, receive_until, settle, wait_until},
};

fn watch() -> LinkWatch {
    LinkWatch::new(&Link::by_name(WEST).unwrap()).unwrap()
}

/// A frame of `len_bytes`, longer than those of [`frame`].
fn long_frame(len_bytes: usize) -> Vec<u8> {
    let mut long = frame(0);
    long.resize(len_bytes, 0xa5);
    long
}

/// A larger MTU at the far end: a driver that runs a program without fragments refuses one that its
/// pages do not hold, and what is accepted brings longer packets than a slot holds. Those are counted
/// by the kernel, and the others go on.
#[test]
fn lab_mtu_raised_above_what_the_program_allows() {
    if let Some(missing) = missing_privilege() {
        return skip("lab_mtu_raised_above_what_the_program_allows", &missing);
    }
    for (mode, mtu_bytes) in [(XdpMode::Native, 3000), (XdpMode::Generic, 9000)] {
        let bed = Bed::new(1);
        let check = || {
            let handle = handle(4096);
            let mut port = by(mode).multi_buffer(MultiBuffer::Never).open(&handle).unwrap();
            let mut watch = watch().longest_packet(1792);
            let raise = |mtu| bed.west.run(|| Route::open().unwrap().set_mtu(PEER, mtu)).unwrap();
            let refused = raise(9000).err().map(|error| error.to_string());
            let words = "mtu greater than device maximum";
            let is_refused = refused.as_ref().is_some_and(|error| error.contains(words));
            assert_eq!(is_refused, mode == XdpMode::Native, "{mode:?}: {refused:?}");
            raise(mtu_bytes).unwrap();
            assert_eq!(watch.look().unwrap(), [], "the far end's is not ours");
            Route::open().unwrap().set_mtu(WEST, mtu_bytes).unwrap();
            let changed = LinkEvent::MtuChanged {
                from_bytes: 1500,
                to_bytes: mtu_bytes,
                longest_bytes: Some(1792),
            };
            assert_eq!(watch.look().unwrap(), [changed]);
            let len_bytes = mtu_bytes as usize - 500;
            let mixed = (0..300).flat_map(|number| [frame(number), long_frame(len_bytes)]);
            Bed::send(&bed.west, &mixed.collect::<Vec<_>>());
            let mut seen = Seen::default();
            let is_done = |port: &Port, seen: &Seen| {
                seen.count() == 300 && port.statistics().unwrap().rx_dropped == 300
            };
            receive_until(&mut port, &mut seen, is_done);
            settle(&mut port, &mut seen);
            let walk = port.close().walk;
            let audit = Audit::of(handle.pool(), [walk, handle.walk()]);
            assert_closed(&audit);
            assert_eq!(audit.counts.received, 300);
        };
        bed.mid.run(check).unwrap();
    }
}

/// Down and up five times while frames come: the port goes on, what it was given to send while it was
/// down goes out afterwards, and each change is told once.
#[test]
fn lab_link_flaps_under_traffic() {
    const OWN: u32 = 1 << 24;
    if let Some(missing) = missing_privilege() {
        return skip("lab_link_flaps_under_traffic", &missing);
    }
    for mode in [XdpMode::Native, XdpMode::Generic] {
        let bed = Bed::new(1);
        let work = || {
            let handle = handle(4096);
            let mut port = by(mode).open(&handle).unwrap();
            let (mut watch, mut seen) = (watch(), Seen::default());
            let mut route = Route::open().unwrap();
            let traffic = Traffic::start(&bed.west);
            for flap in 0..5 {
                receive(&mut port, &mut seen, 200);
                route.set_state(WEST, AdminState::Down).unwrap();
                let fill = |number| {
                    let bytes = frame(OWN + number);
                    let mut packet = handle.alloc().unwrap();
                    packet
                        .put(u32::try_from(bytes.len()).unwrap())
                        .unwrap()
                        .copy_from_slice(&bytes);
                    packet
                };
                let mut own: VecDeque<Packet> = (flap * 10..flap * 10 + 10).map(fill).collect();
                assert_eq!(port.transmit(&mut own).unwrap(), 10);
                let transmitted = port.progress();
                assert_eq!(transmitted.transmitted, transmitted.completed + 10);
                // What is in the rx ring still comes; then nothing, and no error either.
                for _ in 0..20 {
                    port.receive(64, &mut (), |packet| {
                        seen.note(packet.bytes());
                        Verdict::Consume
                    });
                    port.wait(Duration::from_millis(1)).unwrap();
                }
                assert_eq!(port.levels().tx, 10, "nothing is sent while it is down");
                assert_eq!(watch.look().unwrap(), [LinkEvent::Down]);
                route.set_state(WEST, AdminState::Up).unwrap();
                assert_eq!(watch.look().unwrap(), [LinkEvent::Up]);
                // Waking the kernel is the port's business, also where nobody polls.
                wait_until("what was queued is sent", || {
                    port.flush().unwrap();
                    port.progress().completed == port.progress().transmitted
                });
            }
            receive(&mut port, &mut seen, 200);
            assert!(port.is_attached().unwrap());
            let sent = traffic.stop();
            settle(&mut port, &mut seen);
            assert!(seen.0.iter().all(|&number| number < sent));
            let walk = port.close().walk;
            let audit = Audit::of(handle.pool(), [walk, handle.walk()]);
            assert_closed(&audit);
            assert_eq!((audit.counts.received, audit.counts.transmitted), (seen.count(), 50));
        };
        let (got, ()) = Bed::collect(&bed.west, 50, || bed.mid.run(work).unwrap());
        let numbers: Vec<_> = got.iter().map(|bytes| number_of(bytes)).collect();
        assert_eq!(numbers, (OWN..OWN + 50).collect::<Vec<_>>(), "{mode:?}");
    }
}

/// Receives at all of `ports` and at the kernel's socket, until `seen` has `count` more.
fn receive_at_all(ports: &mut [Port], kernel: &mut FrameSocket, seen: &mut Seen, count: u64) {
    let end = seen.count() + count;
    wait_until("frames come", || {
        for port in &mut *ports {
            port.receive(64, &mut (), |packet| {
                seen.note(packet.bytes());
                Verdict::Consume
            });
            port.wait(Duration::ZERO).unwrap();
        }
        kernel.receive(|bytes| seen.note_ours(bytes)).unwrap();
        seen.count() >= end
    });
}

/// `ethtool -L` to two queues of four while ports are on all: the kernel refuses to take away a queue
/// that a socket has, and says so. Once those are closed it is done, told, and the others go on.
#[test]
fn lab_queue_count_changed_under_traffic() {
    if let Some(missing) = missing_privilege() {
        return skip("lab_queue_count_changed_under_traffic", &missing);
    }
    let bed = Bed::new(4);
    let check = || {
        let handle = handle(16384);
        let builder = by(XdpMode::Native).queues(Queues::All);
        let start = |port: BoundPort| port.start(&handle).unwrap();
        let mut ports: Vec<_> =
            builder.clone().bind(&handle).unwrap().into_iter().map(start).collect();
        assert_eq!(ports.len(), 4);
        let (mut watch, mut kernel, mut seen) = (watch(), kernel_socket(), Seen::default());
        let traffic = Traffic::start(&bed.west);
        receive_at_all(&mut ports, &mut kernel, &mut seen, 300);
        // A veth sends on no more queues than the other end receives on while that has a program.
        let peer = |count| bed.west.run(|| set_channels(PEER, count, count)).unwrap();
        peer(2).unwrap();
        let (errno, words) = set_channels(WEST, 2, 2).unwrap_err();
        assert!(errno == libc::EINVAL && words.contains("AF_XDP sockets"), "{errno} {words}");
        receive_at_all(&mut ports, &mut kernel, &mut seen, 300);
        let mut walks: Vec<_> = ports.drain(2..).map(|port| port.close().walk).collect();
        // Each close looked at its queue by a socket, which the kernel lets go of a little later.
        wait_until("the queues are let go of", || set_channels(WEST, 2, 2).is_ok());
        let changed = |from, to| LinkEvent::QueuesChanged { from, to };
        let told = |watch: &mut LinkWatch| {
            let is_flap = |event: &LinkEvent| matches!(event, LinkEvent::Flapped { .. });
            let mut events = watch.look().unwrap();
            // Both ends restart for it, without a carrier meanwhile.
            events.retain(|event| !is_flap(event));
            events
        };
        assert_eq!(told(&mut watch), [changed(4, 2)]);
        receive_at_all(&mut ports, &mut kernel, &mut seen, 300);
        let error = builder.clone().queue(3).bind(&handle).unwrap_err().to_string();
        assert!(error.contains("queue 3: the interface's last queue is 1"), "{error}");
        set_channels(WEST, 4, 4).unwrap();
        peer(4).unwrap();
        assert_eq!(told(&mut watch), [changed(2, 4)]);
        receive_at_all(&mut ports, &mut kernel, &mut seen, 300);
        walks.extend(ports.into_iter().map(|port| port.close().walk));
        // All four again, at once.
        let mut ports: Vec<_> =
            builder.clone().bind(&handle).unwrap().into_iter().map(start).collect();
        receive_at_all(&mut ports, &mut kernel, &mut seen, 300);
        traffic.stop();
        walks.extend(ports.into_iter().map(|port| port.close().walk));
        walks.push(handle.walk());
        assert_closed(&Audit::of(handle.pool(), walks));
    };
    bed.mid.run(check).unwrap();
}

/// A thread with the half of a port that moves packets, until it is told to end or its wait fails.
struct Worker {
    is_over: Arc<AtomicBool>,
    received: Arc<AtomicU32>,
    thread: JoinHandle<Ended>,
}

struct Ended {
    seen: Seen,
    error: Option<Error>,
    closed: Closed,
    counts: Walk,
}

impl Worker {
    fn start(port: UnstartedPort, pool: &Arc<Pool>) -> Self {
        let (is_over, received) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (ended, count, pool) = (Arc::clone(&is_over), Arc::clone(&received), Arc::clone(pool));
        let work = move || {
            let handle = pool.handle();
            let (mut port, mut seen) = (port.start(&handle).unwrap(), Seen::default());
            let mut error = None;
            while error.is_none() && !ended.load(Ordering::Relaxed) {
                let tally = port.receive(64, &mut (), |packet| {
                    seen.note(packet.bytes());
                    Verdict::Consume
                });
                count.fetch_add(tally.received, Ordering::Relaxed);
                error = port.wait(Duration::from_millis(5)).err();
            }
            let closed = port.close();
            Ended { seen, error, closed, counts: handle.walk().counts_only() }
        };
        Self { is_over, received, thread: thread::spawn(work) }
    }

    fn received(&self) -> u32 {
        self.received.load(Ordering::Relaxed)
    }

    fn stop(self) -> Ended {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Asserts that all packets of the pool have ended, and what its worker could not see free is known.
fn assert_ended(pool: &Pool, ended: Ended, rest: Walk) {
    let Ended { seen, closed, counts, .. } = ended;
    let audit = Audit::of(pool, [closed.walk, counts, rest]);
    assert!(audit.is_ok() && audit.held == 0, "{audit:?}");
    assert_eq!(audit.owners[Owner::Quarantined], closed.quarantined);
    // What waited in the rx ring was dropped at the close.
    assert_eq!(audit.counts.received, seen.count() + audit.counts.dropped.total());
}

/// Deleted while a worker receives: the worker's wait is an error that says so, the control sees that
/// the program is off, and both close without waiting for a queue that is no more.
#[test]
fn lab_device_deleted_under_traffic() {
    if let Some(missing) = missing_privilege() {
        return skip("lab_device_deleted_under_traffic", &missing);
    }
    let bed = Bed::new(1);
    let check = || {
        let handle = handle(4096);
        let port = by(XdpMode::Native).bind(&handle).unwrap().pop().unwrap();
        let mut watch = watch();
        let (control, port) = port.split().unwrap();
        let worker = Worker::start(port, handle.pool());
        let _traffic = Traffic::start(&bed.west);
        wait_until("frames come", || worker.received() > 300);
        assert!(control.is_attached().unwrap());
        Route::open().unwrap().delete_link(WEST).unwrap();
        wait_until("the worker ends", || worker.thread.is_finished());
        let ended = worker.stop();
        let error = ended.error.as_ref().unwrap();
        let message = error.to_string();
        assert!(message.starts_with(&format!("receive on {WEST} queue 0 (native)")), "{message}");
        assert!(error.hint().unwrap().contains("the interface was removed"), "{error:?}");
        let events = watch.look().unwrap();
        assert_eq!(events, [LinkEvent::Removed]);
        assert!(events[0].ends_ports() && !control.is_attached().unwrap());
        assert_eq!(ended.closed.quarantined, 2048, "the worker cannot see that the queue is gone");
        assert!(control.close(), "the queue went with its interface");
        assert_ended(handle.pool(), ended, handle.walk());
    };
    bed.mid.run(check).unwrap();
}

/// `BPF_LINK_DETACH` by somebody else: the control and the watch say so, every frame comes to the
/// worker or to the kernel, and the next port has the queue at once.
#[test]
fn lab_program_detached_from_outside() {
    if let Some(missing) = missing_privilege() {
        return skip("lab_program_detached_from_outside", &missing);
    }
    let bed = Bed::new(1);
    let check = || {
        let handle = handle(4096);
        let port = by(XdpMode::Native).bind(&handle).unwrap().pop().unwrap();
        let (mut watch, mut kernel) = (watch(), kernel_socket());
        let was = watch.link().xdp.unwrap();
        let (control, port) = port.split().unwrap();
        let worker = Worker::start(port, handle.pool());
        let traffic = Traffic::start(&bed.west);
        wait_until("frames come", || worker.received() > 300);
        assert!(control.is_attached().unwrap() && watch.look().unwrap().is_empty());
        let detach = move || {
            let infos = link_ids().unwrap().into_iter().filter_map(|id| LinkInfo::by_id(id).ok());
            let link = infos.into_iter().find(|info| info.program_id == was.id).unwrap();
            detach_by_id(link.id).unwrap();
        };
        thread::spawn(detach).join().unwrap();
        assert!(!control.is_attached().unwrap());
        assert_eq!(watch.look().unwrap(), [LinkEvent::ProgramDetached { was }]);
        let mut passed = Seen::default();
        wait_until("frames pass to the kernel", || {
            kernel.receive(|bytes| passed.note_ours(bytes)).unwrap();
            passed.count() > 300
        });
        let sent = traffic.stop();
        let ended = worker.stop();
        assert!(ended.error.is_none(), "the socket is as good as before: {:?}", ended.error);
        assert!(control.close(), "the queue is not free");
        let seen = &ended.seen.0;
        assert!(seen.last() < passed.0.first(), "first the port, then the kernel");
        assert!(*passed.0.last().unwrap() < sent);
        assert_ended(handle.pool(), ended, handle.walk());
        // The next one.
        let mut port = by(XdpMode::Native).open(&handle).unwrap();
        Bed::send(&bed.west, &(0..200).map(frame).collect::<Vec<_>>());
        let mut seen = Seen::default();
        receive_until(&mut port, &mut seen, |_, seen| seen.count() == 200);
        assert_eq!(port.close().quarantined, 0);
    };
    bed.mid.run(check).unwrap();
}
