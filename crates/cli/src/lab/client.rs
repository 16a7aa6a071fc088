//! The lab's client: its phases, over whatever carries frames to the server and back.

use std::{
    collections::VecDeque,
    io::{Read, Write as _},
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

use netmem::{
    device::{Device, Verdict},
    loopback::Loopback,
    mem::{Packet, Pool, PoolConfig, PoolHandle, Region},
    packet::FrameSocket,
    xdp::Port,
};
use netmem_wire::{
    filter::{Action, Expr, Ipv4Net, Rule, Rules, Test},
    icmpv4::icmp_type,
    ipv4::protocol,
};
use socket2::{Domain, Protocol, Socket, Type};

use super::ledger::{Endpoints, Ledger, MAX_FRAME, Payload, Score};
use crate::{Failure, responder::Responder, stop::Stop};

/// Pings in a burst, and requests per call of a device.
pub const BURST: usize = 64;
/// Requests in flight during the flood: below the 256 entries of a veth's ring.
const WINDOW: u64 = 192;
/// How long a reply may take before its request counts as missing.
const PATIENCE: Duration = Duration::from_secs(3);
/// Requests per second of the latency phase.
const LATENCY_RATE: u32 = 1000;

/// Carries frames to the server and its replies back.
pub trait Link {
    /// Sends frames; returns how many of the first ones were taken.
    ///
    /// # Errors
    /// When the way is gone.
    fn send(&mut self, frames: &[&[u8]]) -> Result<usize, Failure>;
    /// Shows the frames that have arrived; returns how many.
    ///
    /// # Errors
    /// When the way is gone.
    fn receive(&mut self, visit: &mut dyn FnMut(&[u8])) -> Result<usize, Failure>;
    /// Waits until a frame has arrived or `timeout` is over.
    ///
    /// # Errors
    /// When the way is gone.
    fn wait(&mut self, timeout: Duration) -> Result<(), Failure>;
}

impl Link for FrameSocket {
    fn send(&mut self, frames: &[&[u8]]) -> Result<usize, Failure> {
        Ok(Self::send(self, frames)?)
    }

    fn receive(&mut self, visit: &mut dyn FnMut(&[u8])) -> Result<usize, Failure> {
        Ok(Self::receive(self, visit)?)
    }

    fn wait(&mut self, timeout: Duration) -> Result<(), Failure> {
        Ok(Self::wait(self, timeout)?)
    }
}

/// The in-memory way: the responder sits at the far end and runs in this thread.
#[derive(Debug)]
pub struct InMemory {
    /// The client's end.
    pub near: Loopback,
    /// The server's end.
    pub far: Loopback,
    /// The thread's way into the pool.
    pub handle: PoolHandle,
    /// What answers at the far end.
    pub responder: Responder,
}

impl Link for InMemory {
    fn send(&mut self, frames: &[&[u8]]) -> Result<usize, Failure> {
        let mut queue: VecDeque<Packet> = VecDeque::new();
        for frame in frames.iter().take(self.near.tx_room() as usize) {
            let Some(mut packet) = self.handle.alloc() else { break };
            let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
            let room = packet.put(len).map_err(|error| Failure::refused(error.to_string()))?;
            room.copy_from_slice(frame);
            queue.push_back(packet);
        }
        let sent = self.near.transmit(&mut queue);
        let sent = sent.map_err(|error| Failure::refused(error.to_string()))?;
        let responder = &self.responder;
        self.far.receive(u32::MAX, &mut (), |packet| responder.verdict(packet));
        Ok(sent)
    }

    fn receive(&mut self, visit: &mut dyn FnMut(&[u8])) -> Result<usize, Failure> {
        let tally = self.near.receive(u32::MAX, &mut (), |packet| {
            visit(packet.bytes());
            Verdict::Consume
        });
        Ok(tally.received as usize)
    }

    fn wait(&mut self, _timeout: Duration) -> Result<(), Failure> {
        Ok(())
    }
}

/// An AF_XDP port as the client's end: the cheapest way to ask as fast as anybody answers.
#[derive(Debug)]
pub struct XdpClient {
    port: Port,
    handle: PoolHandle,
    queue: VecDeque<Packet>,
}

impl XdpClient {
    /// Opens queue 0 of `interface` for echo replies from `server`; the rest passes to the kernel.
    ///
    /// # Errors
    /// What was refused.
    pub fn open(interface: &str, server: Ipv4Addr) -> Result<Self, Failure> {
        let reply = [
            Test::Ipv4,
            Test::IpProtocol(protocol::ICMP),
            Test::IcmpType(icmp_type::ECHO_REPLY),
            Test::SourceNet(Ipv4Net::host(server)),
        ];
        let rules = Rules::new([Rule::new("echo_reply", Expr::all(reply), Action::Take)]);
        let region = Region::builder(4096 * 2048).build()?;
        let handle = Pool::new(region, PoolConfig::default())?.handle();
        let port = Port::builder(interface, rules).name("netmem_client").open(&handle)?;
        Ok(Self { port, handle, queue: VecDeque::with_capacity(BURST) })
    }
}

impl Link for XdpClient {
    fn send(&mut self, frames: &[&[u8]]) -> Result<usize, Failure> {
        for frame in frames.iter().take(self.port.tx_room() as usize) {
            let Some(mut packet) = self.handle.alloc() else { break };
            let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
            let room = packet.put(len).map_err(|error| Failure::refused(error.to_string()))?;
            room.copy_from_slice(frame);
            self.queue.push_back(packet);
        }
        let sent = self.port.transmit(&mut self.queue);
        let sent = sent.map_err(|error| Failure::refused(error.to_string()))?;
        self.port.flush()?;
        Ok(sent)
    }

    fn receive(&mut self, visit: &mut dyn FnMut(&[u8])) -> Result<usize, Failure> {
        let tally = self.port.receive(256, &mut (), |packet| {
            visit(packet.bytes());
            Verdict::Consume
        });
        Ok(tally.received as usize)
    }

    fn wait(&mut self, _timeout: Duration) -> Result<(), Failure> {
        // Never sleeps: the client is not what is measured.
        Ok(self.port.flush()?)
    }
}

/// Plays the client over `link`, phase by phase; request numbers go on from phase to phase.
pub struct Client<'a> {
    /// The way to the server.
    pub link: &'a mut dyn Link,
    endpoints: Endpoints,
    stop: &'a Stop,
    next: u32,
    payload: Payload,
    frames: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Client<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("next", &self.next).finish_non_exhaustive()
    }
}

impl<'a> Client<'a> {
    /// Starts with request number 1.
    pub(crate) fn new(link: &'a mut dyn Link, endpoints: Endpoints, stop: &'a Stop) -> Self {
        let frames = (0..BURST).map(|_| Vec::with_capacity(MAX_FRAME)).collect();
        Self { link, endpoints, stop, next: 1, payload: Payload::Every, frames }
    }

    /// Chooses how long the payloads are. Default: [`Payload::Every`].
    #[must_use]
    pub fn payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }

    fn ledger(&self) -> Ledger {
        Ledger::new(self.endpoints, self.next).payload(self.payload)
    }

    /// `count` bursts of [`BURST`] requests, each burst sent at once and awaited.
    ///
    /// # Errors
    /// When the way to the server is gone.
    pub fn bursts(&mut self, count: u32) -> Result<Score, Failure> {
        let mut ledger = self.ledger();
        let mut given_up = 0;
        for _ in 0..count {
            if self.stop.is_set() {
                break;
            }
            let mut left = BURST;
            let deadline = Instant::now() + PATIENCE;
            while left > 0 && Instant::now() < deadline {
                left -= self.send(&mut ledger, left)?;
            }
            let answered = ledger.score().right;
            self.settle(&mut ledger, given_up)?;
            given_up = ledger.open();
            if ledger.score().right == answered {
                break; // not one of a whole burst: nobody is there
            }
        }
        self.next = ledger.next_number();
        Ok(ledger.score())
    }

    /// One request at a time, `LATENCY_RATE` a second, for `seconds`; the times in nanoseconds from
    /// before the send to after the receive, sorted.
    ///
    /// # Errors
    /// When the way to the server is gone.
    pub fn latency(&mut self, seconds: u32) -> Result<(Score, Vec<u64>), Failure> {
        let mut ledger = self.ledger();
        let mut times = Vec::new();
        let period = Duration::from_secs(1) / LATENCY_RATE;
        let mut due = Instant::now();
        for _ in 0..seconds * LATENCY_RATE {
            if self.stop.is_set() {
                break;
            }
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            due += period;
            let started = Instant::now();
            while self.send(&mut ledger, 1)? == 0 && started.elapsed() < PATIENCE {}
            let given_up = ledger.open().saturating_sub(1);
            let right = ledger.score().right;
            self.settle(&mut ledger, given_up)?;
            if ledger.score().right > right {
                times.push(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX));
            } else if ledger.open() > 3 {
                break; // nobody is there any more
            }
        }
        times.sort_unstable();
        self.next = ledger.next_number();
        Ok((ledger.score(), times))
    }

    /// As many requests as are answered, `WINDOW` in flight, for `time`; the score and how long it
    /// really took.
    ///
    /// # Errors
    /// When the way to the server is gone.
    pub fn flood(&mut self, time: Duration) -> Result<(Score, Duration), Failure> {
        let mut ledger = self.ledger();
        let started = Instant::now();
        let end = started + time;
        let mut last_right = started;
        let mut right = 0;
        while Instant::now() < end && !self.stop.is_set() {
            let room = usize::try_from(WINDOW.saturating_sub(ledger.open())).unwrap_or(0);
            // Whole bursts only: a system call for each reply that made room would be the bottleneck.
            let sent = if room < BURST { 0 } else { self.send(&mut ledger, BURST)? };
            let got = self.collect(&mut ledger)?;
            let now = ledger.score().right;
            if now > right {
                (right, last_right) = (now, Instant::now());
            } else if sent == 0 && got == 0 {
                if last_right.elapsed() > PATIENCE {
                    break;
                }
                self.link.wait(Duration::from_millis(1))?;
            }
        }
        let took = started.elapsed();
        self.settle(&mut ledger, 0)?;
        self.next = ledger.next_number();
        Ok((ledger.score(), took))
    }

    /// Sends up to `count` new requests; returns how many were taken.
    fn send(&mut self, ledger: &mut Ledger, count: usize) -> Result<usize, Failure> {
        let count = count.min(BURST);
        let mut number = ledger.next_number();
        for frame in &mut self.frames[..count] {
            ledger.write_request(number, frame);
            number = number.wrapping_add(1);
        }
        let frames: Vec<&[u8]> = self.frames[..count].iter().map(Vec::as_slice).collect();
        let sent = self.link.send(&frames)?;
        ledger.sent(sent);
        Ok(sent)
    }

    fn collect(&mut self, ledger: &mut Ledger) -> Result<usize, Failure> {
        self.link.receive(&mut |frame| {
            ledger.check(frame);
        })
    }

    /// Waits until no more than `given_up` requests are open, or nothing right has come for a while.
    fn settle(&mut self, ledger: &mut Ledger, given_up: u64) -> Result<(), Failure> {
        let mut last = (ledger.open(), Instant::now());
        while ledger.open() > given_up {
            if self.collect(ledger)? == 0 {
                self.link.wait(Duration::from_millis(10))?;
            }
            if ledger.open() < last.0 {
                last = (ledger.open(), Instant::now());
            } else if last.1.elapsed() > PATIENCE {
                // Also after a request to stop: what is under way is no loss.
                break;
            }
        }
        // A duplicate may still be on its way.
        self.collect(ledger).map(drop)
    }
}

/// Pings the server through the kernel's own stack, which has to resolve its address by ARP first:
/// a raw ICMP socket, one request after the other, of each of `lens` payload bytes.
///
/// # Errors
/// When the socket cannot be had.
pub(crate) fn kernel_pings(ends: Endpoints, lens: &[usize], stop: &Stop) -> Result<Score, Failure> {
    let failed = |what: &str, error: std::io::Error| {
        Failure::refused(format!("{what} raw icmp socket to {}: {error}", ends.server_ip))
    };
    let mut socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))
        .map_err(|error| failed("open", error))?;
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .and_then(|()| socket.connect(&SocketAddrV4::new(ends.server_ip, 0).into()))
        .map_err(|error| failed("connect", error))?;
    let mut score = Score::default();
    let mut seen = vec![false; lens.len()];
    let mut buffer = vec![0; 2048];
    for (sequence, &len) in (0u16..).zip(lens) {
        if stop.is_set() {
            break;
        }
        let request = ping(sequence, len);
        socket.write_all(&request).map_err(|error| failed("send on", error))?;
        score.sent += 1;
        let deadline = Instant::now() + PATIENCE;
        while !seen[usize::from(sequence)] && Instant::now() < deadline {
            let Ok(got) = socket.read(&mut buffer) else { continue };
            judge_ping(&buffer[..got], ends.server_ip, lens, &mut seen, &mut score);
        }
    }
    score.missing = score.sent - score.right;
    Ok(score)
}

const PING_ID: u16 = 0x6e6d;

fn ping(sequence: u16, len: usize) -> Vec<u8> {
    let seed = sequence.to_le_bytes()[0];
    let mut message = vec![8, 0, 0, 0];
    message.extend(PING_ID.to_be_bytes().iter().chain(&sequence.to_be_bytes()));
    message.extend((0..=255u8).cycle().map(|at| at.wrapping_mul(31) ^ seed).take(len));
    let sum = super::ledger::rfc1071(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// Judges what a raw socket received: an IPv4 packet with its header.
fn judge_ping(
    packet: &[u8],
    server: Ipv4Addr,
    lens: &[usize],
    seen: &mut [bool],
    score: &mut Score,
) {
    let header_len = usize::from(packet.first().copied().unwrap_or(0) & 15) * 4;
    let Some(icmp) = packet.get(header_len..).filter(|icmp| icmp.len() >= 8) else { return };
    if packet[12..16] != server.octets() || icmp[0] != 0 || icmp[4..6] != PING_ID.to_be_bytes() {
        return;
    }
    let sequence = u16::from_be_bytes([icmp[6], icmp[7]]);
    let Some(&len) = lens.get(usize::from(sequence)) else {
        score.wrong += 1;
        return;
    };
    let right = super::ledger::rfc1071(icmp) == 0 && icmp[8..] == ping(sequence, len)[8..];
    match (right, std::mem::replace(&mut seen[usize::from(sequence)], true)) {
        (false, _) => score.wrong += 1,
        (true, true) => score.duplicate += 1,
        (true, false) => score.right += 1,
    }
}
