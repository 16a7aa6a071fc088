//! What the kernel counts, and what it does when a ring is full, empty, or nobody is there.

use std::time::{Duration, Instant};

use netmem::{
    link::Link,
    xdp::{
        RingSizes, Statistics, XdpDesc,
        raw::{PollFor, XDP_PKT_CONTD},
    },
};
use netmem_host::netlink::RingCounts;
use nix::libc;

use crate::{
    bed::{Bed, Stop},
    end::{End, PortShape, Received},
    raw_end::{RawEnd, Shape},
    stream::{HELLO, MIN_BYTES, Packet, Seen, is_ours, number_of, packets},
    traffic::{Ends, Kind, Quiet, complete_all, expect, send_all},
};

/// What one sendto(2) takes in copy mode, unless told otherwise.
const TX_BUDGET: u32 = 32;
/// How long a poll that must find nothing may look.
const POLL_TIMEOUT: Duration = Duration::from_millis(60);
/// The size of a ring that shall overflow, and how much more is sent.
const SMALL: u32 = 64;
const OVER: usize = 32;

/// poll(POLLIN) without a sender ends with its timeout.
pub(crate) fn poll_rxq_full(bed: &Bed) -> Result<(), Stop> {
    let mut ends = Ends::raw(bed, Shape::default(), Shape::default(), Kind::Redirect)?;
    let started = Instant::now();
    let is_ready = ends.rx.socket().poll(PollFor::Readable, POLL_TIMEOUT).map_err(Stop::failed)?;
    if is_ready && !bed.is_given {
        return Err(Stop::failed("poll(POLLIN) found a packet that nobody sent"));
    }
    if !is_ready && started.elapsed() < POLL_TIMEOUT {
        return Err(Stop::Failed(format!("poll(POLLIN) ended after {:?}", started.elapsed())));
    }
    ends.pass(&packets(8, MIN_BYTES))
}

/// Nobody takes completions, so the kernel stops taking descriptors: poll(POLLOUT) on the full tx ring
/// ends with its timeout. When they are taken, everything is sent.
pub(crate) fn poll_txq_full(bed: &Bed) -> Result<(), Stop> {
    let rings = RingSizes { tx: SMALL, completion: SMALL, ..Shape::default().rings };
    let tx = Shape { rings, ..Shape::default() };
    let mut ends = Ends::raw(bed, tx, Shape::default(), Kind::Redirect)?;
    ends.meet(MIN_BYTES)?;
    let all = packets(2 * SMALL as usize, MIN_BYTES);
    let mut arrived = 0;
    let mut sent = 0;
    let patience = Instant::now() + crate::bed::PATIENCE;
    // First what the completion ring holds, then what the tx ring holds.
    while sent < all.len() {
        if ends.tx.send(&all[sent].bytes())? {
            sent += 1;
            continue;
        }
        if Instant::now() > patience {
            return Err(Stop::Failed(format!("{sent} sent with completions waiting")));
        }
        ends.tx.kick()?;
        let here = ends.rx.receive(TX_BUDGET)?;
        for received in here.iter().filter(|received| is_ours(&received.bytes)) {
            all[arrived].check(&received.bytes).map_err(Stop::Failed)?;
            arrived += 1;
        }
    }
    let started = Instant::now();
    let is_ready = ends.tx.socket().poll(PollFor::Writable, POLL_TIMEOUT).map_err(Stop::failed)?;
    if is_ready || started.elapsed() < POLL_TIMEOUT {
        return Err(Stop::Failed(format!("writable after {:?}: {is_ready}", started.elapsed())));
    }
    if ends.tx.socket().tx_queued() != SMALL {
        return Err(Stop::failed("the kernel took what it cannot complete"));
    }
    complete_all(&mut ends.tx)?;
    if !ends.tx.socket().poll(PollFor::Writable, crate::bed::PATIENCE).map_err(Stop::failed)? {
        return Err(Stop::failed("an empty tx ring is not writable"));
    }
    expect(&mut ends.rx, &all[arrived..])?;
    ends.audit()
}

/// Half of the packets are longer than what the headroom leaves: exactly those are dropped.
pub(crate) fn stat_rx_dropped(bed: &Bed) -> Result<(), Stop> {
    if !bed.way.copies() {
        return Err(Stop::Impossible("the device receives into whole frames".to_owned()));
    }
    let rx = Shape { headroom_bytes: 4096 - 256 - 512, ..Shape::default() };
    let mut ends = Ends::raw(bed, Shape::default(), rx, Kind::Redirect)?;
    let long = |packet: Packet| Packet { len_bytes: 1024, ..packet }.lost();
    let all: Vec<_> = packets(513, MIN_BYTES)
        .into_iter()
        .map(|packet| if packet.number % 2 == 1 { long(packet) } else { packet })
        .collect();
    ends.pass(&all)?;
    counted(&ends.rx, |statistics| statistics.rx_dropped == 256)
}

/// Half of the descriptors are too long: exactly those count as invalid.
pub(crate) fn stat_tx_invalid(bed: &Bed) -> Result<(), Stop> {
    let mut ends = Ends::raw(bed, Shape::default(), Shape::default(), Kind::Redirect)?;
    ends.meet(MIN_BYTES)?;
    let before = ends.tx.socket().statistics().map_err(Stop::failed)?.tx_invalid_descs;
    let all = packets(256, MIN_BYTES);
    for chunk in all.chunks(16) {
        for packet in chunk {
            ends.tx.send_as_is(XdpDesc { addr: 0, len: 9001, options: 0 }, None)?;
            if !ends.tx.send(&packet.bytes())? {
                return Err(Stop::failed("no room in the tx ring"));
            }
        }
        complete_all(&mut ends.tx)?;
        expect(&mut ends.rx, chunk)?;
    }
    ends.audit()?;
    counted(&ends.tx, |statistics| statistics.tx_invalid_descs - before == 256)
}

/// Entries of the rx ring are not given back: what does not fit is dropped and counted.
pub(crate) fn stat_rx_full(bed: &Bed) -> Result<(), Stop> {
    let rings = RingSizes { rx: SMALL, ..Shape::default().rings };
    let rx = Shape { rings, ..Shape::default() };
    let mut ends = Ends::raw(bed, Shape::default(), rx, Kind::Redirect)?;
    ends.meet(MIN_BYTES)?;
    ends.rx.release = false;
    overflow(bed, &mut ends)?;
    let counts = |statistics: &Statistics| statistics.rx_ring_full;
    wait_for_count(bed, &mut ends, counts)?;
    ends.rx.release = true;
    after(bed, &mut ends)
}

/// The fill ring is not filled again: what finds no frame is dropped and counted.
pub(crate) fn stat_fill_empty(bed: &Bed) -> Result<(), Stop> {
    let rx = Shape { filled: SMALL, ..Shape::default() };
    let mut ends = Ends::raw(bed, Shape::default(), rx, Kind::Redirect)?;
    ends.meet(MIN_BYTES)?;
    ends.rx.refill = false;
    overflow(bed, &mut ends)?;
    wait_for_count(bed, &mut ends, |statistics| statistics.rx_fill_ring_empty_descs)?;
    ends.rx.refill = true;
    ends.rx.fill(SMALL)?;
    after(bed, &mut ends)
}

/// One sendto(2) takes exactly its budget, and publishes how far it got.
pub(crate) fn tx_queue_consumer(bed: &Bed) -> Result<(), Stop> {
    if !bed.way.copies() {
        return Err(Stop::Impossible("the driver takes descriptors, not sendto(2)".to_owned()));
    }
    let mut ends = Ends::raw(bed, Shape::default(), Shape::default(), Kind::Redirect)?;
    ends.meet(MIN_BYTES)?;
    let all = packets(TX_BUDGET as usize + 1, MIN_BYTES);
    for packet in &all {
        ends.tx.send(&packet.bytes())?;
    }
    let before = ends.tx.socket().tx_consumed();
    let answer = ends.tx.socket().kick_tx();
    let taken = ends.tx.socket().tx_consumed().wrapping_sub(before);
    let errno = answer.err().and_then(|error| error.errno());
    let is_late = taken == 0 && errno == Some(libc::EAGAIN);
    if !is_late && (taken != TX_BUDGET || errno != Some(libc::EAGAIN)) {
        return Err(Stop::Failed(format!("sendto(2) took {taken} and answered {errno:?}")));
    }
    complete_all(&mut ends.tx)?;
    expect(&mut ends.rx, &all)?;
    ends.audit()?;
    match is_late {
        true => Err(Stop::Impossible(
            "this kernel publishes how far it got with the call that ends the ring, not with one that \
             its budget ended"
                .to_owned(),
        )),
        false => Ok(()),
    }
}

/// As many frames as the kernel takes pass; a packet that does not end there is dropped; the next one
/// is fine.
pub(crate) fn too_many_frags(bed: &Bed) -> Result<(), Stop> {
    let _mtu = bed.mtu(9000)?;
    let shape = Shape { segments: true, ..Shape::default() };
    let tx = Shape { filled: 0, ..shape };
    let mut ends = Ends::raw(bed, tx, shape, Kind::Redirect)?;
    ends.meet(MIN_BYTES)?;
    let limit = frags_limit(bed)?;
    let small = u32::try_from(MIN_BYTES).expect("a small number");
    let packet = Packet::new(1, MIN_BYTES * limit);
    let bytes = packet.bytes();
    send_all(&mut ends.tx, &[Packet::new(0, MIN_BYTES)])?;
    for (at, part) in bytes.chunks(MIN_BYTES).enumerate() {
        let options = if at + 1 == limit { 0 } else { XDP_PKT_CONTD };
        let desc = XdpDesc { addr: at as u64 * 4096, len: small, options };
        ends.tx.send_as_is(desc, Some(part))?;
    }
    complete_all(&mut ends.tx)?;
    for at in 0..limit {
        let desc = XdpDesc { addr: at as u64 * 4096, len: small, options: XDP_PKT_CONTD };
        ends.tx.send_as_is(desc, None)?;
    }
    // Older kernels begin a new packet behind the one that they drop, and send this as one; 6.18.44
    // takes it for the end of the one that it drops.
    let (end, last) = (Packet::new(2, MIN_BYTES), Packet::new(3, MIN_BYTES));
    send_all(&mut ends.tx, &[end])?;
    send_all(&mut ends.tx, &[last])?;
    let (mut due, deadline) = (vec![last, packet, Packet::new(0, MIN_BYTES)], patience());
    while let Some(next) = due.last() {
        if Instant::now() > deadline {
            return Err(Stop::Failed(format!("packet {} did not come", next.number)));
        }
        for received in ends.rx.receive(1)?.iter().filter(|received| is_one(received)) {
            let is_end = due.len() == 1 && number_of(&received.bytes) == Some(end.number);
            let expected = if is_end { end } else { *next };
            expected.check(&received.bytes).map_err(Stop::Failed)?;
            if !is_end {
                due.pop();
                break;
            }
        }
    }
    ends.audit()
}

/// The smallest rings that drivers take: packets one by one, and as many as the ring but one.
pub(crate) fn hw_sw_min_ring_size(bed: &Bed) -> Result<(), Stop> {
    let small = RingCounts { rx: 128, tx: 64 };
    let _rings = bed.rings(|_| small)?;
    let shape = PortShape::default();
    let mut ends = Ends::ports(bed, shape, shape, Kind::Redirect)?;
    for window in [1, small.tx as usize - 1] {
        ends.window = window;
        ends.pass(&packets(512, MIN_BYTES))?;
    }
    ends.close()
}

/// The largest rings that the device has: as many packets at once as there is room for, but 8.
pub(crate) fn hw_sw_max_ring_size(bed: &Bed) -> Result<(), Stop> {
    let rings = bed.rings(|limits| limits)?;
    let entries = 8192;
    let rings_of = RingSizes { rx: entries, tx: entries, fill: entries, completion: entries };
    let shape = PortShape { frames: 2 * entries, rings: rings_of, ..PortShape::default() };
    let mut ends = Ends::ports(bed, shape, shape, Kind::Redirect)?;
    // A device drops what finds no room in its own ring, of which a driver may refill halves.
    for window in [2048, rings.now.tx.saturating_sub(8).max(1)] {
        ends.window = window.min(rings.now.rx / 2).max(1) as usize;
        ends.pass(&packets(entries as usize, MIN_BYTES))?;
    }
    ends.close()
}

/// Sends what the receiver takes, and when it has looked at that and given nothing back, more.
fn overflow(bed: &Bed, ends: &mut Ends<RawEnd>) -> Result<(), Stop> {
    let all = packets(SMALL as usize + OVER, MIN_BYTES);
    let (fits, over) = all.split_at(SMALL as usize);
    for chunk in fits.chunks(OVER) {
        send_all(&mut ends.tx, chunk)?;
        expect(&mut ends.rx, chunk)?;
    }
    for packet in over {
        if !ends.tx.send(&packet.bytes())? {
            return Err(Stop::failed("no room in an empty tx ring"));
        }
    }
    // A wire that pushes back completes nothing before the receiver takes it.
    if bed.way.copies() { complete_all(&mut ends.tx) } else { ends.tx.pump() }
}

/// When the receiver behaves again, traffic goes on. What a device kept in queues of its own meanwhile
/// comes first.
fn after(bed: &Bed, ends: &mut Ends<RawEnd>) -> Result<(), Stop> {
    let mut late = Seen::default();
    let (mut quiet, deadline) = (Quiet::start(), patience());
    while !quiet.lasts(POLL_TIMEOUT) || ends.tx.outstanding() > 0 {
        if Instant::now() > deadline {
            return Err(Stop::failed("what was sent does not complete"));
        }
        ends.tx.pump()?;
        let received = ends.rx.receive(1)?;
        for received in &received {
            late.note(&received.bytes).map_err(Stop::Failed)?;
        }
        quiet.look(!received.is_empty());
    }
    let is_early = late.0.first().is_some_and(|&first| u32::from(first) < SMALL);
    if is_early || (bed.way.copies() && !late.0.is_empty()) {
        return Err(Stop::Failed(format!("{late:?} came too late or had no room")));
    }
    // A wire that does not push back loses what comes faster than the few slots are filled again.
    ends.window = ends.window.min(OVER / 2);
    ends.pass(&packets(128, MIN_BYTES))
}

/// Whether it is a packet of a case.
fn is_one(received: &Received) -> bool {
    is_ours(&received.bytes) && number_of(&received.bytes) != Some(HELLO)
}

fn patience() -> Instant {
    Instant::now() + crate::bed::PATIENCE
}

fn counted(end: &RawEnd, is_right: impl Fn(&Statistics) -> bool) -> Result<(), Stop> {
    let statistics = end.socket().statistics().map_err(Stop::failed)?;
    if is_right(&statistics) { Ok(()) } else { Err(Stop::Failed(format!("{statistics:?}"))) }
}

/// Waits until the kernel has counted what did not fit: all of it where it copies, something where a
/// device has queues of its own.
fn wait_for_count(
    bed: &Bed,
    ends: &mut Ends<RawEnd>,
    count: impl Fn(&Statistics) -> u64,
) -> Result<(), Stop> {
    let deadline = Instant::now() + crate::bed::PATIENCE;
    let wanted = if bed.way.copies() { OVER as u64 } else { 1 };
    loop {
        ends.tx.pump()?;
        let socket = ends.rx.socket();
        socket.kick_rx().map_err(Stop::failed)?;
        let statistics = socket.statistics().map_err(Stop::failed)?;
        if count(&statistics) >= wanted {
            let too_many = bed.way.copies() && !bed.is_given && count(&statistics) > wanted;
            return if too_many { Err(Stop::Failed(format!("{statistics:?}"))) } else { Ok(()) };
        }
        if Instant::now() > deadline {
            return Err(Stop::Failed(format!("{wanted} are missing, but {statistics:?}")));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// How many frames a packet may have.
fn frags_limit(bed: &Bed) -> Result<usize, Stop> {
    if bed.way.copies() {
        return Ok(crate::bed::max_skb_frags() + 1);
    }
    let features = Link::by_name(&bed.tx.name).map_err(Stop::failed)?.details().xdp;
    let segments = features.map_err(Stop::failed)?.zc_max_segs;
    let segments = segments.ok_or_else(|| Stop::failed("the driver tells no xdp_zc_max_segs"))?;
    usize::try_from(segments).map_err(Stop::failed)
}
