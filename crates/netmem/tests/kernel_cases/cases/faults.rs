//! What goes wrong under traffic: slots that run out, a link that goes, ports that come and go. Packets
//! may be lost then, and not be changed or come twice; and traffic goes on afterwards.
//!
//! These are not in the kernel's suite. On a device they are what a driver's own rings are tested by.

use std::time::{Duration, Instant};

use netmem::{
    device::{Device, Verdict},
    link::{Link, LinkEvent, LinkWatch},
    mem::Packet as OwnedPacket,
};
use netmem_host::netlink::{AdminState, Route};

use crate::{
    bed::{Bed, Nic, PATIENCE, Stop, driver},
    end::{End, PortEnd, PortShape, pool},
    programs::Loaded,
    raw_end::Shape,
    stream::{MIN_BYTES, Seen, packets},
    traffic::{Ends, Kind, Quiet, complete_all},
};

/// How long nothing has to come until nothing more will.
const QUIET: Duration = Duration::from_millis(250);
/// The slots of a receiver that keeps all it gets: less than a driver's ring, and as many.
const FEW: u32 = 64;
const MANY: u32 = 256;
const ROUNDS: usize = 3;
const REBINDS: usize = 10;

/// The receiver keeps every packet until its pool has no slot left, and gives them back.
pub(crate) fn fault_fill_ring_starved(bed: &Bed) -> Result<(), Stop> {
    starve_port(bed, FEW, 1)
}

/// The same three times, with every index far beyond the end of a driver's own ring.
pub(crate) fn fault_fill_ring_starved_often(bed: &Bed) -> Result<(), Stop> {
    starve_driver(bed)?;
    starve_port(bed, MANY, ROUNDS)
}

fn starve_port(bed: &Bed, slots: u32, rounds: usize) -> Result<(), Stop> {
    let mut rx = PortShape { frames: slots, ..PortShape::default() };
    (rx.rings.fill, rx.rings.rx) = (slots / 2, slots / 2);
    let mut ends = Ends::ports(bed, PortShape::default(), rx, Kind::Redirect)?;
    ends.window = slots as usize / 4;
    for _ in 0..rounds {
        ends.meet(MIN_BYTES)?;
        let before = starved(&mut ends)?;
        let mut kept: Vec<OwnedPacket> = Vec::new();
        keep_all(&mut ends, &mut kept, slots)?;
        if starved(&mut ends)? == before || kept.len() < slots as usize / 2 {
            return Err(Stop::Failed(format!("{} were kept, and nothing starved", kept.len())));
        }
        // What is kept did not change while others came.
        let mut seen = Seen::default();
        kept.iter().try_for_each(|packet| seen.note(packet.bytes())).map_err(Stop::Failed)?;
        kept.drain(..).for_each(OwnedPacket::consume);
        drain(&mut ends, &mut seen)?;
        ends.pass(&packets(slots as usize, MIN_BYTES))?;
    }
    ends.close()
}

/// The same without a port, whose memory a driver's mistake would break.
///
/// Where the fill ring has fewer frames than igb wants up to the end of its own ring,
/// `igb_alloc_rx_buffers_zc` (igb_xsk.c, kernel 6.14 to 7.3) ends early and leaves in the descriptor that
/// comes next the length of the round before: its old frame counts as received once more, while it is
/// somebody else's. Before the ring's first wrap there is no such length, so the short case passes.
fn starve_driver(bed: &Bed) -> Result<(), Stop> {
    let rx = Shape { filled: MANY, ..Shape::default() };
    let mut ends = Ends::raw(bed, Shape::default(), rx, Kind::Redirect)?;
    let mut starve = || {
        for _ in 0..ROUNDS {
            ends.meet(MIN_BYTES)?;
            ends.rx.refill = false;
            let (mut seen, mut taken) = (Seen::default(), 0);
            send_until_quiet(&mut ends, MANY, |ends| {
                let received = ends.rx.receive(64)?;
                taken += u32::try_from(received.len()).map_err(Stop::failed)?;
                let noted = received.iter().try_for_each(|received| seen.note(&received.bytes));
                noted.map_err(Stop::Failed)?;
                Ok(received.len())
            })?;
            ends.rx.refill = true;
            ends.rx.fill(taken)?;
            send_until_quiet(&mut ends, 0, |ends| {
                let received = ends.rx.receive(64)?;
                Ok(received.len() + usize::from(ends.tx.outstanding() > 0))
            })?;
            ends.pass(&packets(512, MIN_BYTES))?;
        }
        Ok(())
    };
    let starved = starve();
    if bed.way.copies() || driver() != "igb" {
        return starved;
    }
    // Whether the raw end meets it is chance; a port would have two owners of one slot.
    let met = starved.err().map_or_else(String::new, |stop| format!(", here {stop:?}"));
    let what = "igb takes frames for received that are not, when its fill ring runs short";
    Err(Stop::Impossible(format!("{what} (igb_alloc_rx_buffers_zc){met}")))
}

/// Sends `slots` packets and half as many more, as far as the wire takes them, until none comes for a
/// while. `take` says how many came.
fn send_until_quiet<E: End>(
    ends: &mut Ends<E>,
    slots: u32,
    mut take: impl FnMut(&mut Ends<E>) -> Result<usize, Stop>,
) -> Result<(), Stop> {
    let mut all = packets((slots + slots / 2) as usize, MIN_BYTES).into_iter().peekable();
    let (mut quiet, deadline) = (Quiet::start(), Instant::now() + PATIENCE);
    while !quiet.lasts(QUIET) {
        if let Some(packet) = all.peek()
            && ends.tx.send(&packet.bytes())?
        {
            all.next();
        }
        ends.tx.pump()?;
        quiet.look(take(ends)? > 0);
        if Instant::now() > deadline {
            let outstanding = ends.tx.outstanding();
            return Err(Stop::Failed(format!("no end, and {outstanding} are outstanding")));
        }
    }
    Ok(())
}

/// How often the kernel found the receiver's fill ring empty.
fn starved(ends: &mut Ends<PortEnd>) -> Result<u64, Stop> {
    let statistics = ends.rx.port().statistics().map_err(Stop::failed)?;
    Ok(statistics.rx_fill_ring_empty_descs)
}

/// Sends more than the receiver has slots, which keeps all that comes.
fn keep_all(ends: &mut Ends<PortEnd>, kept: &mut Vec<OwnedPacket>, slots: u32) -> Result<(), Stop> {
    send_until_quiet(ends, slots, |ends| {
        let received = ends.rx.port().receive(64, kept, |_| Verdict::Keep).received;
        ends.rx.port().flush().map_err(Stop::failed)?;
        Ok(received as usize)
    })
}

/// Each end goes down and up again while packets are on their way; the port stays, and the interface's
/// watch tells both by name.
pub(crate) fn fault_link_flap(bed: &Bed) -> Result<(), Stop> {
    let shape = PortShape::default();
    let mut ends = Ends::ports(bed, shape, shape, Kind::Redirect)?;
    ends.meet(MIN_BYTES)?;
    for nic in [&bed.rx, &bed.tx, &bed.rx] {
        let mut watch = watch(nic)?;
        let mut route = Route::open().map_err(Stop::failed)?;
        let all = packets(192, MIN_BYTES);
        let mut seen = Seen::default();
        for (number, packet) in all.iter().enumerate() {
            if number == all.len() / 3 {
                route.set_state(&nic.name, AdminState::Down).map_err(Stop::failed)?;
                tells(&mut watch, &LinkEvent::Down)?;
            }
            // Without room it is lost here.
            ends.tx.send(&packet.bytes())?;
            ends.tx.pump()?;
            receive(&mut ends, &mut seen)?;
        }
        route.set_state(&nic.name, AdminState::Up).map_err(Stop::failed)?;
        tells(&mut watch, &LinkEvent::Up)?;
        bed.wait_until_up()?;
        complete_all(&mut ends.tx)?;
        drain(&mut ends, &mut seen)?;
        go_on(&mut ends)?;
    }
    for (end, nic) in [(&mut ends.tx, &bed.tx), (&mut ends.rx, &bed.rx)] {
        if !end.port().is_attached().map_err(Stop::failed)? {
            return Err(Stop::Failed(format!("the program of {} is off", nic.name)));
        }
    }
    ends.close()
}

/// Ports on one queue over one pool, one after the other: each close sees its queue free, and the next
/// has it.
pub(crate) fn fault_rebind(bed: &Bed) -> Result<(), Stop> {
    // A zero-copy driver's own ring stays out of use each time.
    let shape = PortShape { frames: 8192, ..PortShape::default() };
    let (at_tx, at_rx) = (pool(shape)?, pool(shape)?);
    let (mut tx_ended, mut rx_ended) = (Vec::new(), Vec::new());
    for _ in 0..REBINDS {
        let (program, memory) = Loaded::new(Kind::Redirect)?.for_port();
        let mut rx = PortEnd::over(&at_rx, (bed.way, &bed.rx), shape, program)?;
        let (program, _) = Loaded::new(Kind::Redirect)?.for_port();
        let mut tx = PortEnd::over(&at_tx, (bed.way, &bed.tx), shape, program)?;
        (rx.ended, tx.ended) = (rx_ended, tx_ended);
        bed.wait_until_up()?;
        let mut ends = Ends::of(bed, tx, rx, memory);
        ends.pass(&packets(128, MIN_BYTES))?;
        tx_ended = ends.tx.close()?;
        rx_ended = ends.rx.close()?;
    }
    Ok(())
}

fn receive(ends: &mut Ends<PortEnd>, seen: &mut Seen) -> Result<usize, Stop> {
    let received = ends.rx.receive(64)?;
    let noted = received.iter().try_for_each(|received| seen.note(&received.bytes));
    noted.map_err(Stop::Failed)?;
    ends.rx.port().flush().map_err(Stop::failed)?;
    Ok(received.len())
}

/// Takes what is still on its way.
fn drain(ends: &mut Ends<PortEnd>, seen: &mut Seen) -> Result<(), Stop> {
    send_until_quiet(ends, 0, |ends| {
        Ok(receive(ends, seen)? + usize::from(ends.tx.outstanding() > 0))
    })
}

/// Traffic is as if nothing had been.
fn go_on(ends: &mut Ends<PortEnd>) -> Result<(), Stop> {
    ends.pass(&packets(512, MIN_BYTES))
}

fn watch(nic: &Nic) -> Result<LinkWatch, Stop> {
    let link = Link::by_name(&nic.name).map_err(Stop::failed)?;
    LinkWatch::new(&link).map_err(Stop::failed)
}

/// Waits until the watch tells `event`.
fn tells(watch: &mut LinkWatch, event: &LinkEvent) -> Result<(), Stop> {
    let deadline = Instant::now() + PATIENCE;
    while !watch.look().map_err(Stop::failed)?.contains(event) {
        if Instant::now() > deadline {
            return Err(Stop::Failed(format!("the watch does not tell {event:?}")));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
