//! Passes packets from one end to the other and holds each against what was sent: once, in order,
//! every byte, at the right place in its frame, and never more completions than outstanding.

use std::{
    thread,
    time::{Duration, Instant},
};

pub(crate) use crate::programs::Kind;
use crate::{
    bed::{Bed, PATIENCE, Stop},
    end::{End, PortEnd, PortShape, Received},
    programs::{Attached, Loaded, Memory},
    raw_end::{RawEnd, Shape},
    stream::{HELLO, Packet, is_ours, number_of},
};

/// How many packets are on their way at most: a veth holds 256 and drops the rest.
const WINDOW: usize = 64;
/// How many packets are taken at once.
const BUDGET: u32 = 64;
/// How long a link may pass nothing before another packet tries.
const HELLO_EVERY: Duration = Duration::from_millis(50);

/// Both ends of the wire, and what the receiver's program remembers.
#[derive(Debug)]
pub(crate) struct Ends<E> {
    pub(crate) tx: E,
    pub(crate) rx: E,
    pub(crate) memory: Memory,
    /// How many packets are on their way at most.
    pub(crate) window: usize,
    /// The sender's program and the receiver's, where no port has them.
    pub(crate) attached: Option<(Attached, Attached)>,
    is_given: bool,
}

impl Ends<RawEnd> {
    /// Both ends without ports. The receiver's program redirects to its first socket, or to each of its
    /// sockets by number; drivers want a program at the sender as well for zero copy.
    pub(crate) fn raw(bed: &Bed, tx: Shape, rx: Shape, kind: Kind) -> Result<Self, Stop> {
        let mode = bed.way.attach_mode();
        // A driver may take no program with such an MTU, whatever the program.
        let too_long = |stop| match stop {
            Stop::Failed(why) if rx.segments && why.contains("(EINVAL)") => Stop::Impossible(why),
            stop => stop,
        };
        let (at_tx, _) = Loaded::new(Kind::Redirect)?.attach(&bed.tx, mode).map_err(too_long)?;
        let (at_rx, memory) = Loaded::new(kind)?.attach(&bed.rx, mode).map_err(too_long)?;
        bed.wait_until_up()?;
        let rx = RawEnd::new(bed.way, &bed.rx, rx)?;
        let tx = RawEnd::new(bed.way, &bed.tx, tx)?;
        for (index, socket) in (0..).zip(&rx.sockets) {
            at_rx.set_socket(index, socket)?;
        }
        at_tx.set_socket(0, &tx.sockets[0])?;
        bed.wait_until_up()?;
        let (window, is_given) = (WINDOW, bed.is_given);
        Ok(Self { tx, rx, memory, window, attached: Some((at_tx, at_rx)), is_given })
    }
}

impl Ends<PortEnd> {
    /// Both ends as programs have them.
    pub(crate) fn ports(bed: &Bed, tx: PortShape, rx: PortShape, kind: Kind) -> Result<Self, Stop> {
        let (program, memory) = Loaded::new(kind)?.for_port();
        let rx = PortEnd::new(bed.way, &bed.rx, rx, program)?;
        let (program, _) = Loaded::new(Kind::Redirect)?.for_port();
        let tx = PortEnd::new(bed.way, &bed.tx, tx, program)?;
        bed.wait_until_up()?;
        Ok(Self::of(bed, tx, rx, memory))
    }

    /// Ends of ports that there are already.
    pub(crate) fn of(bed: &Bed, tx: PortEnd, rx: PortEnd, memory: Memory) -> Self {
        Self { tx, rx, memory, window: WINDOW, attached: None, is_given: bed.is_given }
    }

    /// Closes both, and finds every slot in its pool.
    pub(crate) fn close(self) -> Result<(), Stop> {
        self.tx.close()?;
        self.rx.close().map(drop)
    }
}

impl<E: End> Ends<E> {
    /// Passes `packets` and looks at every frame afterwards.
    pub(crate) fn pass(&mut self, packets: &[Packet]) -> Result<(), Stop> {
        self.pass_and(packets, |_, _| Ok(()))
    }

    /// As [`pass`](Self::pass), with one more look at each packet.
    pub(crate) fn pass_and(
        &mut self,
        packets: &[Packet],
        look: impl FnMut(&Packet, &Received) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let first = packets.first().map_or(0, |packet| packet.len_bytes);
        self.meet(first)?;
        let memory = &self.memory;
        let refuses = || memory.refusal().is_ok_and(|refusal| refusal != 0);
        pass_within(self.window, (&mut self.tx, &mut self.rx), packets, look, refuses)?;
        self.audit()
    }

    /// Finds out that the link passes packets, where others own it; and counts from there.
    pub(crate) fn meet(&mut self, len_bytes: usize) -> Result<(), Stop> {
        if self.is_given {
            meet(&mut self.tx, &mut self.rx, len_bytes)?;
            self.memory.reset()?;
        }
        Ok(())
    }

    pub(crate) fn audit(&mut self) -> Result<(), Stop> {
        self.tx.audit()?;
        self.rx.audit()
    }
}

/// Passes `packets` from `tx` to `rx`. Those that shall not arrive are proved lost by one behind them.
pub(crate) fn pass(tx: &mut dyn End, rx: &mut dyn End, packets: &[Packet]) -> Result<(), Stop> {
    pass_within(WINDOW, (tx, rx), packets, |_, _| Ok(()), || false)
}

fn pass_within(
    window: usize,
    (tx, rx): (&mut dyn End, &mut dyn End),
    packets: &[Packet],
    mut look: impl FnMut(&Packet, &Received) -> Result<(), Stop>,
    refuses: impl Fn() -> bool,
) -> Result<(), Stop> {
    // Not a power of two, so that batches lie across the wrap of the ring's array.
    let budget = u32::try_from(window - window / 16).map_err(Stop::failed)?;
    let (mut sent, mut next) = (0, 0);
    let mut clock = Clock::start();
    let skip_lost = |next: usize| {
        next + packets[next..].iter().take_while(|packet| packet.arrives.is_none()).count()
    };
    next = skip_lost(next);
    while next < packets.len() || sent < packets.len() || tx.outstanding() > 0 {
        let before = (sent, next, tx.outstanding());
        while sent < packets.len() && sent < next + window && tx.send(&packets[sent].bytes())? {
            sent += 1;
        }
        tx.pump()?;
        for received in rx.receive(budget)? {
            if is_strange(&received)? {
                continue;
            }
            let Some(packet) = packets[..sent].get(next) else {
                return Err(too_many(&received));
            };
            check(packet, &received, rx)?;
            look(packet, &received)?;
            next = skip_lost(next + 1);
        }
        let why = || format!("sent {sent} and received {next} of {}", packets.len());
        let progress = before != (sent, next, tx.outstanding());
        if !progress && refuses() {
            return Err(Stop::failed("the program refuses packets"));
        }
        clock.tick(progress, why)?;
    }
    match rx.receive(1)?.first() {
        Some(received) if !is_strange(received)? => Err(too_many(received)),
        _ => Ok(()),
    }
}

/// Takes exactly `packets`, which are on their way.
pub(crate) fn expect(rx: &mut dyn End, packets: &[Packet]) -> Result<(), Stop> {
    let mut next = 0;
    let mut clock = Clock::start();
    while next < packets.len() {
        let received = rx.receive(BUDGET)?;
        clock.tick(!received.is_empty(), || format!("received {next} of {}", packets.len()))?;
        for received in received {
            if !is_strange(&received)? {
                let Some(packet) = packets.get(next) else { return Err(too_many(&received)) };
                check(packet, &received, rx)?;
                next += 1;
            }
        }
    }
    Ok(())
}

/// Sends all of `packets`, which must have room, and waits until they have completed.
pub(crate) fn send_all(tx: &mut dyn End, packets: &[Packet]) -> Result<(), Stop> {
    for packet in packets {
        if !tx.send(&packet.bytes())? {
            return Err(Stop::failed("no room in an empty tx ring"));
        }
    }
    complete_all(tx)
}

/// Waits until nothing is outstanding.
pub(crate) fn complete_all(tx: &mut dyn End) -> Result<(), Stop> {
    let mut clock = Clock::start();
    while tx.outstanding() > 0 {
        let before = tx.outstanding();
        tx.pump()?;
        clock.tick(tx.outstanding() < before, || format!("{before} frames outstanding"))?;
    }
    Ok(())
}

/// Sends packets that no case expects until one arrives, and takes all of them.
fn meet(tx: &mut dyn End, rx: &mut dyn End, len_bytes: usize) -> Result<(), Stop> {
    let hello = Packet { number: HELLO, ..Packet::new(0, len_bytes.max(crate::stream::MIN_BYTES)) };
    let deadline = Instant::now() + PATIENCE;
    let (mut sent, mut received) = (0, 0);
    while received == 0 {
        if Instant::now() > deadline {
            return Err(Stop::failed("the link passes nothing"));
        }
        sent += usize::from(tx.send(&hello.bytes())?);
        let until = Instant::now() + HELLO_EVERY;
        while Instant::now() < until && received == 0 {
            tx.pump()?;
            received += rx.receive(1)?.len();
            thread::sleep(Duration::from_millis(1));
        }
    }
    complete_all(tx)?;
    // Those behind it, as far as the link passed them.
    let until = Instant::now() + HELLO_EVERY;
    while received < sent && Instant::now() < until {
        received += rx.receive(1)?.len();
    }
    Ok(())
}

/// What another program sent on this wire, or a packet that only tried it.
fn is_strange(received: &Received) -> Result<bool, Stop> {
    if is_ours(&received.bytes) {
        return Ok(number_of(&received.bytes) == Some(HELLO));
    }
    if crate::bed::pair().is_some() {
        return Ok(true);
    }
    Err(Stop::Failed(format!("nobody sent {:02x?}", received.bytes)))
}

fn check(packet: &Packet, received: &Received, rx: &dyn End) -> Result<(), Stop> {
    packet.check(&received.bytes).map_err(Stop::Failed)?;
    if received.headroom == rx.expected_headroom() {
        return Ok(());
    }
    let (got, expected) = (received.headroom, rx.expected_headroom());
    Err(Stop::Failed(format!("packet {} starts at {got}, not at {expected}", packet.number)))
}

fn too_many(received: &Received) -> Stop {
    Stop::Failed(format!("one too many: packet {:?}", number_of(&received.bytes)))
}

/// How long nothing has come, by looks: what is between two of them counts for a millisecond at most, for
/// the thread may have waited for a CPU.
pub(crate) struct Quiet {
    so_far: Duration,
    looked: Instant,
}

impl Quiet {
    pub(crate) fn start() -> Self {
        Self { so_far: Duration::ZERO, looked: Instant::now() }
    }

    /// Takes the result of another look.
    pub(crate) fn look(&mut self, has_come: bool) {
        let between = self.looked.elapsed().min(Duration::from_millis(1));
        self.so_far = if has_come { Duration::ZERO } else { self.so_far + between };
        self.looked = Instant::now();
    }

    pub(crate) fn lasts(&self, wanted: Duration) -> bool {
        self.so_far >= wanted
    }
}

/// Gives up when nothing has happened for a long time, and lets others work meanwhile.
struct Clock {
    last: Instant,
}

impl Clock {
    fn start() -> Self {
        Self { last: Instant::now() }
    }

    fn tick(&mut self, progress: bool, state: impl Fn() -> String) -> Result<(), Stop> {
        if progress {
            self.last = Instant::now();
        } else if self.last.elapsed() > PATIENCE {
            return Err(Stop::Failed(format!("nothing happens: {}", state())));
        } else {
            thread::sleep(Duration::from_micros(50));
        }
        Ok(())
    }
}
