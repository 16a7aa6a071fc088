//! Packets arrive once, in order and intact: by every shape of memory, drive and number of sockets.

use netmem::xdp::RingSizes;

use crate::{
    bed::{Bed, Stop},
    end::{Drive, End, PortShape},
    raw_end::{RawEnd, Shape},
    stream::{MIN_BYTES, Packet, packets},
    traffic::{Ends, Kind, expect, pass, send_all},
};

/// Wraps every ring's array several times.
const COUNT: usize = 2048;
/// The largest packet of an MTU of 9,000 that the kernel's own suite sends.
pub(crate) const JUMBO_BYTES: usize = 9000;
/// The largest packet of an MTU of 1,500, of which more than a third lie across the end of a page.
const LONG_BYTES: usize = 1514;
/// Frames that lie across pages, all of them in one huge page.
const UNALIGNED: PortShape = PortShape {
    frames: 512,
    frame_bytes: 4000,
    rings: RingSizes { rx: 256, tx: 256, fill: 256, completion: 256 },
    ..PortShape::DEFAULT
};
/// How far the headroom of a UMEM moves packets.
const HEADROOM_BYTES: u32 = 128;

/// Every packet arrives once, in order, intact.
pub(crate) fn send_receive(bed: &Bed) -> Result<(), Stop> {
    well_behaved(bed, PortShape::default(), COUNT)
}

/// The same with frames of 2,048 bytes.
pub(crate) fn send_receive_2k_frame(bed: &Bed) -> Result<(), Stop> {
    well_behaved(bed, PortShape { frame_bytes: 2048, ..PortShape::default() }, COUNT)
}

/// A lone packet is not held back to be sent with others.
pub(crate) fn send_receive_single_pkt(bed: &Bed) -> Result<(), Stop> {
    well_behaved(bed, PortShape::default(), 1)
}

/// The receiver waits by poll(POLLIN) alone.
pub(crate) fn poll_rx(bed: &Bed) -> Result<(), Stop> {
    well_behaved(bed, PortShape { drive: Drive::Poll, ..PortShape::default() }, COUNT / 2)
}

/// The sender calls nothing but poll(POLLOUT).
pub(crate) fn poll_tx(bed: &Bed) -> Result<(), Stop> {
    let tx = Shape { drive: Drive::Poll, ..Shape::default() };
    Ends::raw(bed, tx, Shape::default(), Kind::Redirect)?.pass(&packets(COUNT / 4, MIN_BYTES))
}

/// Headroom moves packets by exactly as much.
pub(crate) fn umem_headroom(bed: &Bed) -> Result<(), Stop> {
    well_behaved(
        bed,
        PortShape { headroom_bytes: HEADROOM_BYTES, ..PortShape::default() },
        COUNT / 4,
    )
}

/// Both send and both receive; then the roles change on the same sockets.
pub(crate) fn bidirectional(bed: &Bed) -> Result<(), Stop> {
    let shape = PortShape::default();
    let mut ends = Ends::ports(bed, shape, shape, Kind::Redirect)?;
    ends.meet(MIN_BYTES)?;
    let all = packets(COUNT / 4, MIN_BYTES);
    for chunk in all.chunks(32) {
        send_all(&mut ends.tx, chunk)?;
        send_all(&mut ends.rx, chunk)?;
        expect(&mut ends.rx, chunk)?;
        expect(&mut ends.tx, chunk)?;
    }
    ends.audit()?;
    pass(&mut ends.rx, &mut ends.tx, &all)?;
    ends.close()
}

/// Packets of three frames.
pub(crate) fn send_receive_9k_packets(bed: &Bed) -> Result<(), Stop> {
    jumbo(bed, PortShape::default())
}

/// Frames that do not divide a page: many packets lie across the end of one, where they are sent and
/// where they are received.
pub(crate) fn send_receive_unaligned(bed: &Bed) -> Result<(), Stop> {
    let mut ends = Ends::ports(bed, UNALIGNED, UNALIGNED, Kind::Redirect)?;
    ends.pass(&packets(COUNT, LONG_BYTES))?;
    ends.close()
}

/// Packets of three such frames.
pub(crate) fn send_receive_unaligned_9k_packets(bed: &Bed) -> Result<(), Stop> {
    jumbo(bed, UNALIGNED)
}

/// Made, used and taken down ten times: no queue stays busy, no slot is lost.
pub(crate) fn teardown(bed: &Bed) -> Result<(), Stop> {
    (0..10).try_for_each(|_| well_behaved(bed, PortShape::default(), 64))
}

/// Two sockets on one queue: the map's entry goes to the second one, and traffic goes on.
pub(crate) fn xdp_prog_cleanup(bed: &Bed) -> Result<(), Stop> {
    let shape = Shape { sockets: 2, ..Shape::default() };
    let mut ends = Ends::raw(bed, shape, shape, Kind::Redirect)?;
    let all = packets(COUNT / 4, MIN_BYTES);
    ends.pass(&all)?;
    let (_, at_rx) = ends.attached.as_ref().expect("raw ends have their programs");
    at_rx.set_socket(0, &ends.rx.sockets[1])?;
    (ends.tx.active, ends.rx.active) = (1, 1);
    ends.pass(&all)?;
    ends.rx.active = 0;
    expect_nothing(&mut ends.rx)
}

/// Two sockets over one UMEM at each end: each gets its own packets, by their address.
pub(crate) fn xdp_shared_umem(bed: &Bed) -> Result<(), Stop> {
    let shape = Shape { sockets: 2, ..Shape::default() };
    let mut ends = Ends::raw(bed, shape, shape, Kind::ByAddress)?;
    ends.meet(MIN_BYTES)?;
    let all: Vec<Packet> = packets(COUNT / 2, MIN_BYTES)
        .into_iter()
        .map(|packet| Packet { to: if packet.number % 2 == 0 { 0 } else { 2 }, ..packet })
        .collect();
    for chunk in all.chunks(64) {
        let (even, odd): (Vec<_>, Vec<_>) =
            chunk.iter().copied().partition(|packet| packet.number % 2 == 0);
        for (socket, own) in [(0, &even), (1, &odd)] {
            ends.tx.active = socket;
            send_all(&mut ends.tx, own)?;
        }
        for (socket, own) in [(1, &odd), (0, &even)] {
            ends.rx.active = socket;
            expect(&mut ends.rx, own)?;
        }
    }
    for socket in [0, 1] {
        ends.rx.active = socket;
        expect_nothing(&mut ends.rx)?;
    }
    ends.audit()
}

fn jumbo(bed: &Bed, shape: PortShape) -> Result<(), Stop> {
    let _mtu = bed.mtu(9000)?;
    let shape = PortShape { segments: true, ..shape };
    let mut ends = Ends::ports(bed, shape, shape, Kind::Redirect)?;
    ends.pass_and(&packets(COUNT / 8, JUMBO_BYTES), |packet, received| match received.frames {
        3 => Ok(()),
        frames => Err(Stop::Failed(format!("packet {} came in {frames} frames", packet.number))),
    })?;
    ends.close()
}

/// Traffic between two ports.
fn well_behaved(bed: &Bed, shape: PortShape, count: usize) -> Result<(), Stop> {
    let tx = PortShape { frame_bytes: shape.frame_bytes, ..PortShape::default() };
    let mut ends = Ends::ports(bed, tx, shape, Kind::Redirect)?;
    ends.pass(&packets(count, MIN_BYTES))?;
    ends.close()
}

fn expect_nothing(rx: &mut RawEnd) -> Result<(), Stop> {
    match rx.receive(1)?.first() {
        None => Ok(()),
        Some(received) => Err(Stop::Failed(format!("{received:?} came to the wrong socket"))),
    }
}
