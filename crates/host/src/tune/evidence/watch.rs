//! Sockets over a time: what each grew by, what it held at most, and whether its program keeps up.
//!
//! A socket counts from when it was first seen: a dump may miss one, and what that one counted in its life
//! is not of this time. One that is known to be younger than the first look counts from zero: its cookie is
//! higher than all of that look. The kernel gives a socket its cookie when it is first asked for, each CPU
//! from a block of its own (`__sock_gen_cookie` in net/core/sock_diag.c, kernel 6.18). So it is a sample's dump
//! before the first look that gave cookies to what that look may miss, and a younger socket that got a lower
//! one from another CPU counts from when it was seen. One that is gone before the last look keeps what was
//! seen of it.
//!
//! ```text
//!   sockets   known before this look     those that it did not find leave, if the new ones need their places
//!   fresh     found by it for the first time             |
//!   ended     what may be a limit of those that left  <--'    comes back with its socket, if a look missed it
//! ```
//! Of what left, no more is kept than rules can be told, so what many connections that follow each other
//! take is bounded as well.
//!
//! What a reader lost in one pause is what was dropped from look to look while drops grew or its buffer
//! stayed more than half full: a pause ends when a look finds neither. Two pauses between two looks are one.

use std::collections::{BTreeMap, BTreeSet};

use super::{Listener, OptmemUser, TcpFlow, UdpReader};
use crate::netlink::{InetDump, InetProtocol, InetSocket, SockDiag, SocketMemory, SocketState};
use crate::process::Identity;
use crate::sockets::{BufferLocks, Owners, buffer_locks, for_each};
use crate::source::{Reading, Root, Unavailable};

/// More sockets of a protocol than that are not looked at: some megabytes, twice while it is looked.
const SOCKETS_MAX: usize = 16_384;
/// Connections and readers that are kept for rules.
const KEPT: usize = 64;
/// A connection that moved less says nothing of buffers.
const MOVED_MIN_BYTES: u64 = 64 << 10;

/// What has been seen so far.
#[derive(Debug, Default)]
pub(super) struct Watch {
    looks: u32,
    /// The highest cookie of the first look.
    newest_at_first: u64,
    /// By their cookies.
    sockets: BTreeMap<u64, Watched>,
    /// Those that the look that goes on found for the first time.
    fresh: BTreeMap<u64, Watched>,
    /// What rules may be told of those that left.
    ended: BTreeMap<u64, Watched>,
    /// How many there are of each protocol: many of one leave the other its own.
    counts: BTreeMap<InetProtocol, Count>,
}

/// Sockets of a protocol.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    kept: usize,
    fresh: usize,
    has_more: bool,
}

/// What rules are told.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) tcp: Vec<TcpFlow>,
    pub(super) udp: Vec<UdpReader>,
    pub(super) listeners: Vec<Listener>,
    pub(super) optmem: Vec<OptmemUser>,
    pub(super) not_known: Vec<String>,
}

/// A socket.
#[derive(Debug)]
struct Watched {
    /// Counters when it was first seen, or nothing if it is younger than the first look.
    base: Totals,
    last: InetSocket,
    /// The number of the look that found it last.
    last_look: u32,
    looks: u32,
    looks_unread: u32,
    optmem_peak_bytes: u32,
    /// Connections that waited to be accepted, of a listener.
    accept_queue_peak: u32,
    pauses: Pauses,
}

/// Datagrams that were dropped in the pauses of a reader.
#[derive(Debug, Clone, Copy, Default)]
struct Pauses {
    /// Its counter at the last look.
    counted: u32,
    /// In the one that goes on.
    drops: u32,
    /// In the one that lost most.
    worst_drops: u32,
}

/// A socket's counters.
#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    drops: u32,
    received_bytes: u64,
    acked_bytes: u64,
    busy_us: u64,
    rwnd_limited_us: u64,
    sndbuf_limited_us: u64,
}

impl Watch {
    /// Looks once, in the calling thread's network namespace.
    ///
    /// # Errors
    /// Socket diagnosis cannot tell of TCP or UDP.
    pub(super) fn look(&mut self, root: &Root) -> Reading<()> {
        let mut diag = SockDiag::open().map_err(|error| Unavailable::from(&error))?;
        self.looks += 1;
        for dump in
            [InetDump::new(InetProtocol::Tcp).with_tcp_info(), InetDump::new(InetProtocol::Udp)]
        {
            for_each(root, &mut diag, dump, |socket| self.add(socket))?;
        }
        self.settle();
        Ok(())
    }

    fn add(&mut self, socket: &InetSocket) {
        if self.looks == 1 {
            self.newest_at_first = self.newest_at_first.max(socket.cookie);
        }
        let Some(memory) = socket.memory else { return };
        if !self.sockets.contains_key(&socket.cookie) && !self.fresh.contains_key(&socket.cookie) {
            let count = self.counts.entry(socket.protocol).or_default();
            if count.fresh >= SOCKETS_MAX {
                count.has_more = true;
                return;
            }
            count.fresh += 1;
            let ended = self.ended.remove(&socket.cookie);
            let watched = ended.unwrap_or_else(|| self.begun(socket));
            self.fresh.insert(socket.cookie, watched);
        }
        let known = self.sockets.get_mut(&socket.cookie);
        let Some(watched) = known.or_else(|| self.fresh.get_mut(&socket.cookie)) else { return };
        watched.last = *socket;
        watched.last_look = self.looks;
        watched.looks += 1;
        let is_unread = is_mostly_unread(&memory);
        watched.looks_unread += u32::from(is_unread);
        watched.pauses.add(memory.drops, is_unread);
        watched.optmem_peak_bytes = watched.optmem_peak_bytes.max(memory.optmem_bytes);
        if socket.state == SocketState::Listen {
            watched.accept_queue_peak = watched.accept_queue_peak.max(socket.rqueue);
        }
    }

    /// A socket that is seen for the first time.
    fn begun(&self, socket: &InetSocket) -> Watched {
        let is_younger = self.looks > 1 && socket.cookie > self.newest_at_first;
        let base = if is_younger { Totals::default() } else { Totals::of(socket) };
        Watched {
            base,
            last: *socket,
            last_look: self.looks,
            looks: 0,
            looks_unread: 0,
            optmem_peak_bytes: 0,
            accept_queue_peak: 0,
            pauses: Pauses { counted: base.drops, ..Pauses::default() },
        }
    }

    /// Ends a look: gives the sockets that it found for the first time their places.
    fn settle(&mut self) {
        let look = self.looks;
        let all = self.counts.iter();
        let crowded = all.filter(|(_, count)| count.kept + count.fresh > SOCKETS_MAX);
        let crowded: Vec<InetProtocol> = crowded.map(|(protocol, _)| *protocol).collect();
        let mut left: Vec<(u64, Watched)> = Vec::new();
        if !crowded.is_empty() {
            let has_ended = |_: &u64, watched: &mut Watched| {
                watched.last_look != look && crowded.contains(&watched.last.protocol)
            };
            left.extend(self.sockets.extract_if(.., has_ended));
        }
        for (_, watched) in &left {
            self.counts.entry(watched.last.protocol).or_default().kept -= 1;
        }
        for (cookie, watched) in std::mem::take(&mut self.fresh) {
            let count = self.counts.entry(watched.last.protocol).or_default();
            if count.kept < SOCKETS_MAX {
                count.kept += 1;
                self.sockets.insert(cookie, watched);
            } else {
                count.has_more = true;
                left.push((cookie, watched));
            }
        }
        self.counts.values_mut().for_each(|count| count.fresh = 0);
        if !left.is_empty() {
            self.ended.extend(left);
            let told = Kinds::of(self.ended.values()).cookies();
            self.ended.retain(|cookie, _| told.contains(cookie));
        }
    }

    /// Ends: keeps what may be a limit, and asks who holds it.
    pub(super) fn finish(self, root: &Root) -> Seen {
        let kinds = Kinds::of(self.sockets.values().chain(self.ended.values()));
        let mut owners = Owners::default();
        let wanted: Vec<u32> = kinds.all().map(|watched| watched.last.inode).collect();
        let Kinds { listeners, tcp, udp, optmem } = kinds;
        if !wanted.is_empty() {
            owners.scan(root, wanted.into_iter());
        }
        let named = |watched: &Watched| Held::of(root, &owners, &watched.last);
        let mut not_asked = NotAsked::default();
        let mut asked = |watched: &Watched| {
            let held = named(watched);
            not_asked.add(&held);
            held
        };
        let mut seen = Seen {
            tcp: tcp.iter().map(|watched| watched.tcp(asked(watched))).collect(),
            udp: udp.iter().map(|watched| watched.udp(asked(watched))).collect(),
            ..Seen::default()
        };
        seen.not_known.extend(not_asked.told());
        let listeners = listeners.iter();
        seen.listeners = listeners.map(|watched| watched.listener(named(watched).label)).collect();
        seen.optmem = optmem
            .iter()
            .map(|watched| OptmemUser {
                label: named(watched).label,
                peak_bytes: watched.optmem_peak_bytes.into(),
            })
            .collect();
        let too_many = self.counts.iter().filter(|(_, count)| count.has_more);
        seen.not_known.extend(too_many.map(|(protocol, _)| {
            format!("{} sockets beyond the first {SOCKETS_MAX}", protocol.name())
        }));
        seen.not_known.extend(owners.gap().map(|gap| format!("who holds some sockets: {gap}")));
        seen
    }
}

/// Sockets that may be told, by what is told of them, the largest first.
struct Kinds<'a> {
    listeners: Vec<&'a Watched>,
    tcp: Vec<&'a Watched>,
    udp: Vec<&'a Watched>,
    optmem: Vec<&'a Watched>,
}

impl<'a> Kinds<'a> {
    fn of(sockets: impl Iterator<Item = &'a Watched>) -> Self {
        let is = |protocol| move |watched: &&Watched| watched.last.protocol == protocol;
        let (listeners, others): (Vec<_>, Vec<_>) = sockets.partition(is_listener);
        let others = || others.iter().copied();
        let mut tcp = largest(others().filter(is(InetProtocol::Tcp)), Watched::moved);
        tcp.retain(|watched| watched.moved() >= MOVED_MIN_BYTES);
        Self {
            listeners: largest(listeners.into_iter(), Watched::drops),
            tcp,
            udp: largest(others().filter(is(InetProtocol::Udp)), Watched::drops),
            optmem: largest(others(), |watched| watched.optmem_peak_bytes.into()),
        }
    }

    fn all(&self) -> impl Iterator<Item = &'a Watched> {
        [&self.tcp, &self.udp, &self.listeners, &self.optmem].into_iter().flatten().copied()
    }

    fn cookies(&self) -> BTreeSet<u64> {
        self.all().map(|watched| watched.last.cookie).collect()
    }
}

/// What a socket is called, and its locks; `None` if no process was seen that has it.
struct Held {
    label: String,
    locks: Option<Reading<BufferLocks>>,
}

/// Sockets whose locks could not be asked for, and the first reason.
#[derive(Default)]
struct NotAsked {
    count: u64,
    first: Option<String>,
}

impl NotAsked {
    fn add(&mut self, held: &Held) {
        if let Some(Err(why)) = &held.locks {
            self.count += 1;
            self.first.get_or_insert_with(|| format!("{}: {why}", held.label));
        }
    }

    fn told(self) -> Option<String> {
        let (count, first) = (self.count, self.first?);
        Some(format!("whether programs fixed the buffers of {count} sockets: {first}"))
    }
}

impl Held {
    fn of(root: &Root, owners: &Owners, socket: &InetSocket) -> Self {
        let mut label = format!("{} {}", socket.protocol.name().to_lowercase(), socket.source);
        if socket.destination.port() != 0 {
            label += &format!(" - {}", socket.destination);
        }
        let Some(owner) = owners.of(socket.inode).first() else {
            return Self { label, locks: None };
        };
        let name = Identity::read(root, owner.pid).map(|identity| identity.name);
        label += &format!(" ({} {})", name.as_deref().unwrap_or("ended"), owner.pid);
        Self { label, locks: Some(buffer_locks(owner.pid, owner.fd, socket.inode)) }
    }

    fn known(&self) -> Option<BufferLocks> {
        self.locks.as_ref()?.as_ref().ok().copied()
    }
}

impl Watched {
    fn moved(&self) -> u64 {
        let grown = self.grown();
        grown.received_bytes.saturating_add(grown.acked_bytes)
    }

    fn drops(&self) -> u64 {
        self.grown().drops.into()
    }

    fn grown(&self) -> Totals {
        let (now, base) = (Totals::of(&self.last), &self.base);
        Totals {
            drops: now.drops.wrapping_sub(base.drops),
            received_bytes: now.received_bytes.saturating_sub(base.received_bytes),
            acked_bytes: now.acked_bytes.saturating_sub(base.acked_bytes),
            busy_us: now.busy_us.saturating_sub(base.busy_us),
            rwnd_limited_us: now.rwnd_limited_us.saturating_sub(base.rwnd_limited_us),
            sndbuf_limited_us: now.sndbuf_limited_us.saturating_sub(base.sndbuf_limited_us),
        }
    }

    fn tcp(&self, held: Held) -> TcpFlow {
        let grown = self.grown();
        let memory = self.last.memory.unwrap_or_default();
        let rtt = self.last.tcp.and_then(|tcp| {
            let sent = Some(tcp.min_rtt_us).filter(|us| (1..u32::MAX).contains(us));
            sent.or_else(|| Some(tcp.rcv_rtt_us).filter(|us| *us > 0))
        });
        TcpFlow {
            locks: held.known(),
            label: held.label,
            rcvbuf_bytes: memory.rcvbuf_bytes.into(),
            sndbuf_bytes: memory.sndbuf_bytes.into(),
            looks: self.looks,
            looks_unread: self.looks_unread,
            received_bytes: grown.received_bytes,
            acked_bytes: grown.acked_bytes,
            busy_us: grown.busy_us,
            rwnd_limited_us: grown.rwnd_limited_us,
            sndbuf_limited_us: grown.sndbuf_limited_us,
            rtt_us: rtt.map(u64::from),
        }
    }

    fn listener(&self, label: String) -> Listener {
        Listener {
            label,
            drops: self.drops(),
            accept_queue_peak: self.accept_queue_peak.into(),
            backlog: self.last.wqueue.into(),
        }
    }

    fn udp(&self, held: Held) -> UdpReader {
        UdpReader {
            is_rcvbuf_locked: held.known().map(|locks| locks.is_rcvbuf_locked),
            label: held.label,
            rcvbuf_bytes: self.last.memory.unwrap_or_default().rcvbuf_bytes.into(),
            drops: self.drops(),
            worst_pause_drops: self.pauses.worst_drops.into(),
            looks: self.looks,
            looks_unread: self.looks_unread,
        }
    }
}

impl Pauses {
    /// Adds a look: the counter of drops, and whether the reader lets lie what came.
    fn add(&mut self, counted: u32, is_unread: bool) {
        let grown = counted.wrapping_sub(self.counted);
        self.counted = counted;
        self.drops = match grown > 0 || is_unread {
            true => self.drops.saturating_add(grown),
            false => 0,
        };
        self.worst_drops = self.worst_drops.max(self.drops);
    }
}

impl Totals {
    fn of(socket: &InetSocket) -> Self {
        let tcp = socket.tcp.unwrap_or_default();
        Self {
            drops: socket.memory.map_or(0, |memory| memory.drops),
            received_bytes: tcp.bytes_received,
            acked_bytes: tcp.bytes_acked,
            busy_us: tcp.busy_us,
            rwnd_limited_us: tcp.rwnd_limited_us,
            sndbuf_limited_us: tcp.sndbuf_limited_us,
        }
    }
}

fn is_listener(watched: &&Watched) -> bool {
    watched.last.state == SocketState::Listen
}

/// Tells whether a program lets lie more than half of what its socket may hold.
fn is_mostly_unread(memory: &SocketMemory) -> bool {
    u64::from(memory.rmem_alloc_bytes) * 2 > memory.rcvbuf_bytes.into()
}

/// The largest by a figure, without those of which it is 0.
fn largest<'a>(
    sockets: impl Iterator<Item = &'a Watched>,
    figure: impl Fn(&Watched) -> u64,
) -> Vec<&'a Watched> {
    let mut all: Vec<_> = sockets.filter(|watched| figure(watched) > 0).collect();
    all.sort_by_key(|watched| (std::cmp::Reverse(figure(watched)), watched.last.cookie));
    all.truncate(KEPT);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::TcpInfo;

    fn worst(counted: u32, looks: &[(u32, bool)]) -> u32 {
        let mut pauses = Pauses { counted, ..Pauses::default() };
        looks.iter().for_each(|(counted, is_unread)| pauses.add(*counted, *is_unread));
        pauses.worst_drops
    }

    fn socket(cookie: u64, drops: u32) -> InetSocket {
        let address = "192.0.2.1:9".parse().unwrap();
        InetSocket {
            protocol: InetProtocol::Udp,
            state: SocketState::Close,
            source: address,
            destination: address,
            ifindex: 0,
            cookie,
            rqueue: 0,
            wqueue: 0,
            uid: 0,
            inode: 0,
            cgroup_id: None,
            options: None,
            memory: Some(SocketMemory { drops, ..SocketMemory::default() }),
            tcp: None,
        }
    }

    /// A connection that received so much.
    fn connection(cookie: u64, bytes_received: u64) -> InetSocket {
        InetSocket {
            protocol: InetProtocol::Tcp,
            state: SocketState::Established,
            tcp: Some(TcpInfo { bytes_received, ..TcpInfo::default() }),
            ..socket(cookie, 0)
        }
    }

    fn fixture() -> Root {
        Root::at(format!("{}/tests/fixtures/6.18", env!("CARGO_MANIFEST_DIR")))
    }

    /// Has failed with: every socket of a later look taken for a young one; none; the cookies of all looks for
    /// those of the first one; a socket without memory left out of them.
    #[test]
    fn a_socket_that_a_look_missed_brings_no_drops_of_its_life() {
        let mut watch = Watch::default();
        let look = |watch: &mut Watch, all: &[(u64, u32)]| {
            watch.looks += 1;
            all.iter().for_each(|(cookie, drops)| watch.add(&socket(*cookie, *drops)));
            watch.settle();
        };
        watch.looks = 1;
        watch.add(&InetSocket { memory: None, ..socket(9, 0) });
        watch.looks = 0;
        look(&mut watch, &[(3, 100), (7, 0)]);
        look(&mut watch, &[(3, 101), (5, 5_000_000), (8, 7), (12, 40)]);
        look(&mut watch, &[(3, 103), (5, 5_000_004), (8, 8), (12, 40), (11, 6)]);
        let drops = |cookie| {
            let watched: &Watched = &watch.sockets[&cookie];
            (watched.drops(), watched.pauses.worst_drops)
        };
        assert_eq!([3, 7].map(drops), [(3, 3), (0, 0)]);
        assert_eq!(drops(5), (4, 4), "its first look missed it");
        assert_eq!(drops(8), (1, 1), "the first look saw a younger one");
        assert_eq!([12, 11].map(drops), [(40, 40), (6, 6)], "both are younger");
    }

    /// Has failed with: one count for both.
    #[test]
    fn many_sockets_of_one_protocol_leave_the_other_its_own() {
        let mut watch = Watch { looks: 1, ..Watch::default() };
        let most = SOCKETS_MAX as u64;
        for cookie in 1..=most {
            watch.add(&connection(cookie, 0));
        }
        watch.settle();
        assert!(watch.counts.values().all(|count| !count.has_more));
        watch.looks = 2;
        // One that is known is no further one.
        for cookie in 1..=most + 1 {
            watch.add(&connection(cookie, 0));
        }
        watch.add(&socket(most + 2, 9));
        watch.settle();
        assert_eq!(watch.sockets[&1].looks, 2);
        assert!(!watch.sockets.contains_key(&(most + 1)), "those that are known stay");
        let seen = watch.finish(&fixture());
        assert_eq!(seen.udp.len(), 1, "{seen:?}");
        assert_eq!(beyond(&seen), ["TCP sockets beyond the first 16384"]);
    }

    /// What is said of too many sockets.
    fn beyond(seen: &Seen) -> Vec<&str> {
        let all = seen.not_known.iter().map(String::as_str);
        all.filter(|it| it.contains("beyond the first")).collect()
    }

    /// Each look finds other connections, as many as are looked at.
    ///
    /// Has failed with: no place given back; what left forgotten, and kept whatever it gave; one kind of what
    /// it gave left out; a socket told twice that a look missed; one that a look missed gone where there is
    /// room; one count of fresh sockets for all looks.
    #[test]
    fn sockets_that_ended_give_their_places_back_and_keep_what_they_gave() {
        let most = SOCKETS_MAX as u64;
        let listener = |cookie| InetSocket {
            protocol: InetProtocol::Tcp,
            state: SocketState::Listen,
            ..socket(cookie, 3)
        };
        let memory = SocketMemory { optmem_bytes: 832, ..SocketMemory::default() };
        let with_optmem = InetSocket { memory: Some(memory), ..connection(5 << 32, 0) };
        let mut watch = Watch::default();
        // A socket that the second and the third look miss.
        let missed = |watch: &mut Watch, drops| watch.add(&socket(7, drops));
        for look in 1..=4 {
            watch.looks = look;
            if [1, 4].contains(&look) {
                missed(&mut watch, look);
            }
            // All are younger than those of the first look; each of the second moves more than any later.
            let moved = if look == 2 { 4 * MOVED_MIN_BYTES } else { MOVED_MIN_BYTES };
            let (first, others) = (u64::from(look) << 20, if look == 2 { 3 } else { 0 });
            for at in others..most {
                watch.add(&connection(first + at, moved + at));
            }
            if look == 2 {
                [listener(3 << 32), with_optmem, connection(6 << 32, 9 * MOVED_MIN_BYTES)]
                    .iter()
                    .for_each(|socket| watch.add(socket));
            }
            watch.settle();
            assert_eq!(watch.sockets.len() as u64, most + 1, "look {look}");
            assert!(watch.fresh.is_empty() && watch.ended.len() <= 4 * KEPT, "look {look}");
        }
        let of_missed = &watch.sockets[&7];
        assert_eq!((of_missed.looks, of_missed.drops()), (2, 3));
        // Looks three and four missed it, and it comes back.
        watch.looks = 5;
        watch.add(&connection(6 << 32, 10 * MOVED_MIN_BYTES));
        watch.settle();
        let seen = watch.finish(&fixture());
        assert_eq!(beyond(&seen), [""; 0]);
        let moved: Vec<u64> = seen.tcp.iter().map(|flow| flow.received_bytes).collect();
        assert_eq!((moved[0], seen.tcp[0].looks), (10 * MOVED_MIN_BYTES, 2), "once, and whole");
        let largest = (0..63).map(|at| 4 * MOVED_MIN_BYTES + most - 1 - at);
        assert!(moved[1..].iter().copied().eq(largest), "{moved:?}");
        let of_kinds = [seen.listeners.len(), seen.optmem.len(), seen.udp.len()];
        assert_eq!(of_kinds, [1, 1, 1], "{seen:?}");
        assert_eq!((seen.listeners[0].drops, seen.optmem[0].peak_bytes), (3, 832));
    }

    /// Has failed with: the queue of the last look; a listener's queue taken for a connection's; listeners that
    /// dropped nothing told.
    #[test]
    fn a_listener_is_told_by_what_waited_at_most() {
        let listener = |cookie, drops, rqueue| InetSocket {
            protocol: InetProtocol::Tcp,
            state: SocketState::Listen,
            rqueue,
            wqueue: 4,
            ..socket(cookie, drops)
        };
        let mut watch = Watch::default();
        for (drops, rqueue) in [(7, 2), (8, 5), (9, 3)] {
            watch.looks += 1;
            watch.add(&listener(1, drops, rqueue));
            watch.add(&listener(2, 0, 4));
            watch.add(&InetSocket { rqueue: 1 << 20, ..socket(3, 0) });
            watch.settle();
        }
        assert_eq!(watch.sockets[&3].accept_queue_peak, 0);
        let seen = watch.finish(&fixture());
        let label = "tcp 192.0.2.1:9 - 192.0.2.1:9".to_owned();
        let expected = Listener { label, drops: 2, accept_queue_peak: 5, backlog: 4 };
        assert_eq!(seen.listeners, [expected]);
        assert_eq!((seen.tcp, seen.udp), (vec![], vec![]));
    }

    /// Has failed with: all drops in one pause; a pause that only growth keeps up; the last pause for the
    /// worst; a difference that does not wrap.
    #[test]
    fn a_pause_is_what_drops_without_a_look_that_finds_it_over() {
        assert_eq!(worst(7, &[(7, true), (7, false)]), 0, "nothing was dropped");
        // Twenty pauses of fifty, each over before the next one.
        let twenty: Vec<_> = (1..=20).flat_map(|at| [(at * 50, true), (at * 50, false)]).collect();
        assert_eq!(worst(0, &twenty), 50);
        assert_eq!(worst(10, &[(20, true), (50, false), (50, false), (60, true)]), 40);
        // Nothing came in between, and nobody read.
        assert_eq!(worst(0, &[(5, true), (5, true), (9, true)]), 9);
        assert_eq!(worst(u32::MAX - 1, &[(3, true), (3, false)]), 5);
    }
}
