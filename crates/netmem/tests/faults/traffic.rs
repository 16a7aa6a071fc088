//! Frames that keep coming while something goes wrong, and the books on where each of them went.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use netmem::{
    device::{Device, Verdict},
    link::Link,
    packet::FrameSocket,
    xdp::{Port, PortBuilder, Statistics, XdpMode},
};
use netmem_host::lab::NetNs;

use crate::bed::{ETHERTYPE, PATIENCE, PEER, WEST, frame, number_of, rules};

/// Frames 0, 1, 2, ... from `nm-peer`, until it is stopped or dropped.
pub(crate) struct Traffic {
    is_over: Arc<AtomicBool>,
    sent: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Traffic {
    /// Begins to send from `peer`, some at a time: some thousand a second. What the interface refuses
    /// is sent again.
    pub(crate) fn start(peer: &NetNs) -> Self {
        let (is_over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (ended, count) = (Arc::clone(&is_over), Arc::clone(&sent));
        let work = move || {
            let mut socket = FrameSocket::open(&Link::by_name(PEER).unwrap(), 64, 2048).unwrap();
            let mut next = 0;
            while !ended.load(Ordering::Relaxed) {
                let frames: Vec<_> = (next..next + 4).map(frame).collect();
                let frames: Vec<_> = frames.iter().map(Vec::as_slice).collect();
                // It may be down, or gone: that is what is tested.
                next += u32::try_from(socket.send(&frames).unwrap_or(0)).unwrap();
                count.store(next, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(1));
            }
        };
        let thread = Some(peer.spawn("traffic", work).unwrap());
        Self { is_over, sent, thread }
    }

    /// How many frames the peer's interface has taken.
    pub(crate) fn sent(&self) -> u32 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends it, and returns how many frames the peer's interface has taken.
    pub(crate) fn stop(mut self) -> u32 {
        self.end().unwrap();
        self.sent()
    }

    fn end(&mut self) -> thread::Result<()> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.take().map_or(Ok(()), JoinHandle::join)
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// The numbers of the frames that came, each once and intact.
#[derive(Debug, Default)]
pub(crate) struct Seen(pub(crate) BTreeSet<u32>);

impl Seen {
    pub(crate) fn note(&mut self, bytes: &[u8]) {
        let number = number_of(bytes);
        assert!(self.0.insert(number), "frame {number} came twice");
    }

    /// As [`note`](Self::note), from a socket that sees other frames too.
    pub(crate) fn note_ours(&mut self, bytes: &[u8]) {
        if bytes.get(12..14) == Some(&ETHERTYPE[..]) {
            self.note(bytes);
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len() as u64
    }
}

/// What comes to the kernel's stack on this interface of the calling thread's namespace.
pub(crate) fn kernel_socket() -> FrameSocket {
    FrameSocket::open(&Link::by_name(WEST).unwrap(), 64, 2048).unwrap()
}

/// What comes to the kernel's stack, read by a thread of its own: the socket's buffer holds the frames
/// of a second or two.
pub(crate) struct Passed {
    is_over: Arc<AtomicBool>,
    count: Arc<AtomicU32>,
    thread: JoinHandle<Seen>,
}

impl Passed {
    pub(crate) fn collect() -> Self {
        let mut socket = kernel_socket();
        let (is_over, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (ended, counted) = (Arc::clone(&is_over), Arc::clone(&count));
        let work = move || {
            let mut seen = Seen::default();
            while !ended.load(Ordering::Relaxed) {
                socket.receive(|bytes| seen.note_ours(bytes)).unwrap();
                counted.store(u32::try_from(seen.0.len()).unwrap(), Ordering::Relaxed);
                socket.wait(Duration::from_millis(5)).unwrap();
            }
            seen
        };
        Self { is_over, count, thread: thread::spawn(work) }
    }

    /// How many came so far.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed).into()
    }

    pub(crate) fn stop(self) -> Seen {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Describes a port on queue 0 of the middle's western interface.
pub(crate) fn by(mode: XdpMode) -> PortBuilder {
    Port::builder(WEST, rules()).modes(&[mode])
}

/// Receives, by nothing but [`Device::receive`] and [`Device::wait`], until `until` says so.
pub(crate) fn receive_until(
    port: &mut Port,
    seen: &mut Seen,
    mut until: impl FnMut(&Port, &Seen) -> bool,
) {
    let deadline = Instant::now() + PATIENCE;
    while !until(port, seen) {
        let figures = || format!("{:?} {:?}", port.progress(), port.statistics());
        assert!(Instant::now() < deadline, "{} frames: {}", seen.count(), figures());
        let tally = port.receive(64, &mut (), |packet| {
            seen.note(packet.bytes());
            Verdict::Consume
        });
        if tally.received == 0 {
            port.wait(Duration::from_millis(5)).unwrap();
        }
    }
}

/// Receives `count` more frames.
pub(crate) fn receive(port: &mut Port, seen: &mut Seen, count: u64) {
    let end = seen.count() + count;
    receive_until(port, seen, |_, seen| seen.count() >= end);
}

/// Receives until every frame that the program took was received or counted by the kernel as lost.
pub(crate) fn settle(port: &mut Port, seen: &mut Seen) {
    receive_until(port, seen, |port, _| {
        let taken: u64 = port.classes().unwrap().iter().map(|(_, count)| count).sum();
        port.progress().received + lost(&port.statistics().unwrap()) == taken
    });
}

/// Frames that came to the socket and not into its rx ring (`xsk_rcv` in net/xdp/xsk.c, kernel 6.18);
/// those that found the fill ring empty are among `rx_dropped`.
pub(crate) fn lost(statistics: &Statistics) -> u64 {
    statistics.rx_dropped + statistics.rx_ring_full
}

/// Polls `done` until it is true.
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Frames that an interface of the calling thread's namespace has dropped: received, and to be sent.
pub(crate) fn dropped_by(interface: &str) -> (u64, u64) {
    let table = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let row = table.lines().find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':'));
    let row: Vec<u64> = row.unwrap().split_whitespace().map(|word| word.parse().unwrap()).collect();
    (row[3], row[11])
}
