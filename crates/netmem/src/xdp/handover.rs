//! Ports and their memory, handed to another process over a Unix socket.
//!
//! ```text
//!   parent: PortControl (program, socket)      worker: Pool, UnstartedPort
//!              '--- socketpair --- send(ports, handle) ---> receive() ---'
//!                   numbers; descriptors of the memory and of each AF_XDP socket (SCM_RIGHTS)
//! ```
//!
//! The parent binds ports with its privileges, splits them and sends the halves that move packets; the
//! worker needs no privilege to take them over, and has nothing else. Memory is one region made with
//! [`Sharing::Memfd`](crate::mem::region::Sharing::Memfd), whose pages both map. From then on the
//! slots are the worker's (P2): the parent's pool hands out nothing more.
//!
//! The worker maps the rings of bound sockets, which kernels before 6.4 refuse. Both ends are one program of one version: what is received is checked for being whole and in range,
//! not against malice. A worker that is done for says so by its end; the parent closes its halves
//! ([`PortControl::close`](super::PortControl::close)) and sees the queues free (D5).

use std::{
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::Arc,
    time::Duration,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::{
    BusyPoll, DoneBy, Offload, PortReport, RingSizes, TxMetadataReport, UnstartedPort, XdpMode,
    metadata::MAX_TIMESTAMPS, socket::Socket, umem,
};
use crate::{
    Error, Result,
    mem::{PageTier, Pool, PoolConfig, PoolHandle, Region, RegionReport, Seed},
    sys::xsk::TX_METADATA_BYTES,
};

/// The first bytes of a message; the last two are its version.
const MAGIC: [u8; 8] = *b"netmem02";
/// Descriptors of one message: below the kernel's 253 (`SCM_MAX_FD`, include/net/scm.h).
const FDS_PER_MESSAGE: usize = 64;
/// The longest list of numbers that is believed: 16 Mi slots and some.
const MAX_BYTES: u64 = 1 << 27;

/// What a worker process was given.
#[derive(Debug)]
pub struct HandedOver {
    /// The memory's slots.
    pub pool: Arc<Pool>,
    /// The ports, in the order in which they were sent.
    pub ports: Vec<UnstartedPort>,
}

/// Sends `ports` and the memory behind them to the process at the other end of `stream`. `handle` is
/// the last one of its pool that has slots.
///
/// # Errors
/// When the region was not made to be shared, slots of the pool are held by packets or other ports, or
/// the other end is gone. The ports are gone then, too.
pub fn send(stream: &UnixStream, ports: Vec<UnstartedPort>, handle: &PoolHandle) -> Result<()> {
    let pool = handle.pool();
    let Some(memory) = pool.region().memfd() else {
        let why = "the region is private: build it with Sharing::Memfd";
        return Err(Error::refused("hand over", "packet memory", why));
    };
    let in_devices = ports.iter().map(|port| port.filled).sum();
    let seed = pool.give_up(handle, in_devices)?;
    let mut numbers = Numbers::default();
    numbers.region(pool.region().report());
    numbers.seed(&seed);
    numbers.put(ports.len() as u64);
    let mut sockets = Vec::new();
    for mut port in ports {
        // From here on its slots are the worker's, whether or not it gets them.
        if let Some((rings, socket)) = port.held.take() {
            numbers.port(rings.sizes(), port.filled, &port.report);
            sockets.push(socket.fd);
        }
    }
    let mut fds = vec![memory];
    fds.extend(sockets.iter().map(AsFd::as_fd));
    let send = || -> io::Result<()> {
        let mut stream = stream;
        stream.write_all(&MAGIC)?;
        stream.write_all(&(numbers.0.len() as u64).to_le_bytes())?;
        stream.write_all(&numbers.0)?;
        fds.chunks(FDS_PER_MESSAGE).try_for_each(|fds| send_fds(stream, fds))
    };
    send().map_err(|error| Error::os("hand over", "ports to a worker process", error))
}

/// Receives what [`send`] has sent.
///
/// # Errors
/// When the other end is gone, is another version, or sent what makes no sense.
pub fn receive(stream: &UnixStream) -> Result<HandedOver> {
    let lost = |error: io::Error| {
        let target = "ports from the parent process";
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Error::refused("take over", target, "it is gone"),
            _ => Error::os("take over", target, error),
        }
    };
    let bytes = read_numbers(stream).map_err(lost)?;
    let mut numbers = Reader(&bytes);
    let parsed = numbers.all().filter(|_| numbers.0.is_empty());
    let Some((report, seed, ports)) = parsed else {
        let why = "the parent sent something else: is it another version?";
        return Err(Error::refused("take over", "ports from the parent process", why));
    };
    let mut fds = receive_fds(stream, ports.len() + 1).map_err(lost)?.into_iter();
    let memory = fds.next().ok_or_else(|| lost(io::ErrorKind::UnexpectedEof.into()))?;
    let pool = Pool::grow(Region::of_memfd(memory, report)?, &seed)?;
    let mut started = Vec::new();
    for (fd, (sizes, filled, report)) in fds.zip(ports) {
        sizes.check()?;
        let rings = umem::map_rings(fd.as_fd(), &sizes).map_err(too_old)?;
        let held = Some((rings, Socket::of_other_process(fd, &report)));
        started.push(UnstartedPort { held, filled, report, pool: Arc::clone(&pool) });
    }
    Ok(HandedOver { pool, ports: started })
}

/// Sends one descriptor, which stays open here.
///
/// # Errors
/// When the other end is gone.
pub fn send_descriptor(stream: &UnixStream, descriptor: impl AsFd) -> Result<()> {
    let sent = send_fds(stream, &[descriptor.as_fd()]);
    sent.map_err(|error| Error::os("send", "a descriptor to another process", error))
}

/// Receives what [`send_descriptor`] has sent.
///
/// # Errors
/// When the other end is gone, or sent something else.
pub fn receive_descriptor(stream: &UnixStream) -> Result<OwnedFd> {
    let target = "a descriptor from another process";
    let fds = receive_fds(stream, 1).map_err(|error| Error::os("receive", target, error))?;
    let one = <[OwnedFd; 1]>::try_from(fds);
    one.map(|[fd]| fd).map_err(|_| Error::refused("receive", target, "more than one came"))
}

/// Numbers on their way out: little-endian words and counted bytes.
#[derive(Debug, Default)]
struct Numbers(Vec<u8>);

impl Numbers {
    fn put(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    fn put_all<const N: usize>(&mut self, numbers: [u64; N]) {
        numbers.into_iter().for_each(|number| self.put(number));
    }

    fn region(&mut self, report: &RegionReport) {
        let tier = PageTier::ALL.iter().position(|&tier| tier == report.tier).unwrap_or_default();
        let node = report.numa_node.map_or(u64::MAX, u64::from);
        self.put_all([tier as u64, report.bytes as u64, node]);
    }

    fn seed(&mut self, seed: &Seed) {
        let PoolConfig { frame_bytes, cache, refill, headroom_bytes, .. } = seed.config;
        self.put_all([frame_bytes, cache, refill, headroom_bytes].map(u64::from));
        self.put_all([seed.slots, seed.never_used].map(u64::from));
        self.put(seed.free.len() as u64);
        for slot in &seed.free {
            self.0.extend(slot.to_le_bytes());
        }
    }

    fn port(&mut self, sizes: RingSizes, filled: u32, report: &PortReport) {
        let RingSizes { rx, tx, fill, completion } = sizes;
        let mode = XdpMode::ALL.iter().position(|&mode| mode == report.mode).unwrap_or_default();
        self.put_all([rx, tx, fill, completion, filled].map(u64::from));
        self.put_all([report.ifindex, report.queue].map(u64::from));
        let flags = [report.need_wakeup, report.multi_buffer, report.shares_umem];
        self.put(mode as u64);
        self.put_all(flags.map(u64::from));
        self.put(u64::from(report.tx_max_frames));
        self.put(report.tx_budget.map_or(u64::MAX, u64::from));
        let poll = report.busy_poll;
        let every = poll.map_or(u64::MAX, |poll| poll.every.as_micros().try_into().unwrap_or(0));
        let (timeout, budget) = poll.map_or((0, 0), |poll| (poll.timeout_us, poll.budget));
        self.put_all([every, u64::from(timeout), u64::from(budget)]);
        self.text(&report.interface);
        self.put(u64::from(report.tx_metadata.is_some()));
        let Some(metadata) = &report.tx_metadata else { return };
        self.put_all([metadata.timestamps, metadata.headroom_bytes].map(u64::from));
        for offload in [&metadata.checksum, &metadata.timestamp] {
            let by = DoneBy::ALL.iter().position(|&by| by == offload.by).unwrap_or_default();
            self.put(by as u64);
            self.text(&offload.why);
        }
    }

    fn text(&mut self, text: &str) {
        self.put(text.len() as u64);
        self.0.extend(text.as_bytes());
    }
}

/// Numbers as they were received; `None` where there are too few or one is out of its range.
struct Reader<'b>(&'b [u8]);

type Port = (RingSizes, u32, PortReport);

impl Reader<'_> {
    fn all(&mut self) -> Option<(RegionReport, Seed, Vec<Port>)> {
        let region = self.region()?;
        let seed = self.seed()?;
        let count = self.number()?;
        let mut ports = Vec::new();
        for _ in 0..count {
            ports.push(self.port()?);
        }
        Some((region, seed, ports))
    }

    fn bytes(&mut self, count: usize) -> Option<&[u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn number(&mut self) -> Option<u64> {
        self.bytes(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    fn to<T: TryFrom<u64>>(&mut self) -> Option<T> {
        T::try_from(self.number()?).ok()
    }

    fn flag(&mut self) -> Option<bool> {
        match self.number()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn region(&mut self) -> Option<RegionReport> {
        let tier = *PageTier::ALL.get(self.to::<usize>()?)?;
        let bytes = self.to()?;
        let node = self.number()?;
        let numa_node = if node == u64::MAX { None } else { Some(node.try_into().ok()?) };
        Some(RegionReport { tier, bytes, numa_node, refused: Vec::new() })
    }

    fn seed(&mut self) -> Option<Seed> {
        let (frame_bytes, cache) = (self.to()?, self.to()?);
        let (refill, headroom_bytes) = (self.to()?, self.to()?);
        let (slots, never_used) = (self.to()?, self.to()?);
        let frames = Some(slots);
        let config = PoolConfig { frame_bytes, frames, cache, refill, headroom_bytes };
        let count: usize = self.to()?;
        let free = self.bytes(count.checked_mul(4)?)?.as_chunks().0;
        let free = free.iter().map(|&slot| u32::from_le_bytes(slot)).collect();
        Some(Seed { config, slots, never_used, free })
    }

    fn port(&mut self) -> Option<Port> {
        let rings =
            RingSizes { rx: self.to()?, tx: self.to()?, fill: self.to()?, completion: self.to()? };
        let filled: u32 = self.to()?;
        let (ifindex, queue) = (self.to()?, self.to()?);
        let mode = *XdpMode::ALL.get(self.to::<usize>()?)?;
        let (need_wakeup, multi_buffer) = (self.flag()?, self.flag()?);
        let (shares_umem, tx_max_frames) = (self.flag()?, self.to()?);
        let budget = self.number()?;
        let tx_budget = if budget == u64::MAX { None } else { Some(budget.try_into().ok()?) };
        let every = self.number()?;
        let (timeout_us, budget) = (self.to()?, self.to()?);
        let poll = BusyPoll { timeout_us, budget, every: Duration::from_micros(every) };
        let interface = self.text()?;
        let tx_metadata = if self.flag()? { Some(self.tx_metadata()?) } else { None };
        let report = PortReport {
            need_wakeup,
            tx_budget,
            multi_buffer,
            shares_umem,
            tx_max_frames,
            busy_poll: (every != u64::MAX).then_some(poll),
            tx_metadata,
            ..PortReport::new(&interface, ifindex, queue, mode)
        };
        (filled <= rings.fill).then_some((rings, filled, report))
    }

    fn tx_metadata(&mut self) -> Option<TxMetadataReport> {
        let (timestamps, headroom_bytes) = (self.to()?, self.to()?);
        let mut offload = || {
            let by = *DoneBy::ALL.get(self.to::<usize>()?)?;
            Some(Offload { by, why: self.text()? })
        };
        let (checksum, timestamp) = (offload()?, offload()?);
        // A port makes room for so many of each: no more than a ring has entries.
        let is_in_range = timestamps <= MAX_TIMESTAMPS && headroom_bytes <= TX_METADATA_BYTES;
        is_in_range.then_some(TxMetadataReport { checksum, timestamp, timestamps, headroom_bytes })
    }

    fn text(&mut self) -> Option<String> {
        let len = self.to()?;
        str::from_utf8(self.bytes(len)?).ok().map(str::to_owned)
    }
}

/// Whether this kernel lets another process map the rings of a bound socket: since 6.4.
fn too_old(error: Error) -> Error {
    match error.errno() {
        Some(libc::EBUSY) => error.with_hint("kernels before 6.4 map rings before the bind only"),
        _ => error,
    }
}

fn read_numbers(mut stream: &UnixStream) -> io::Result<Vec<u8>> {
    let mut head = [0; 16];
    stream.read_exact(&mut head)?;
    let (magic, len) = head.split_at(8);
    let len = u64::from_le_bytes(len.try_into().expect("the second half of 16"));
    if magic != MAGIC || len > MAX_BYTES {
        return Ok(Vec::new());
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Sends up to [`FDS_PER_MESSAGE`] descriptors beside one byte.
fn send_fds(stream: &UnixStream, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_PER_MESSAGE))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fits = ancillary.push(SendAncillaryMessage::ScmRights(fds));
    debug_assert!(fits, "space for {FDS_PER_MESSAGE}");
    loop {
        match sendmsg(stream, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            sent => return sent.map(drop).map_err(Into::into),
        }
    }
}

fn receive_fds(stream: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut fds = Vec::new();
    while fds.len() < count {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_PER_MESSAGE))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let mut parts = [IoSliceMut::new(&mut byte)];
        let got = match recvmsg(stream, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => continue,
            got => got?,
        };
        let before = fds.len();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(more) = message {
                fds.extend(more);
            }
        }
        if got.bytes == 0 || fds.len() == before {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(fds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_cut_or_changed_ones_are_refused() {
        let report = RegionReport {
            tier: PageTier::Thp,
            bytes: 4 << 20,
            numa_node: Some(3),
            refused: vec![],
        };
        let config = PoolConfig { frames: Some(9), ..PoolConfig::default() };
        let seed = Seed { config, slots: 9, never_used: 5, free: vec![2, 4] };
        let poll = BusyPoll { timeout_us: 7, budget: 8, every: Duration::from_micros(9) };
        let port_report = PortReport {
            tx_budget: Some(64),
            multi_buffer: true,
            tx_max_frames: 8,
            busy_poll: Some(poll),
            tx_metadata: Some(TxMetadataReport {
                checksum: Offload { by: DoneBy::Device, why: "it can".into() },
                timestamp: Offload { by: DoneBy::Nobody, why: String::new() },
                timestamps: 11,
                headroom_bytes: 24,
            }),
            ..PortReport::new("eth9", 5, 6, XdpMode::Generic)
        };
        let rings = RingSizes { rx: 2, tx: 4, fill: 8, completion: 16 };
        let mut numbers = Numbers::default();
        numbers.region(&report);
        numbers.seed(&seed);
        numbers.put(1);
        numbers.port(rings, 3, &port_report);
        let mut reader = Reader(&numbers.0);
        let (got_region, got_seed, got_ports) = reader.all().unwrap();
        assert_eq!((got_region, got_seed), (report, seed));
        assert_eq!(got_ports, [(rings, 3, port_report)]);
        assert!(reader.0.is_empty());
        // Whatever is cut off or changed: no panic, and a cut one is never taken for a whole one.
        for len in 0..numbers.0.len() {
            assert_eq!(Reader(&numbers.0[..len]).all(), None, "{len}");
        }
        for at in 0..numbers.0.len() {
            let mut changed = numbers.0.clone();
            changed[at] ^= 0xff;
            let _ = Reader(&changed).all();
        }
    }
}
