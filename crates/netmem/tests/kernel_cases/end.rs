//! One end of the wire: a way to send and to receive whole packets that watches the other side.
//!
//! [`PortEnd`] is a program that behaves: the public API and its audit. [`RawEnd`](crate::raw_end) does
//! what a port never would, and keeps its own books.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use netmem::{
    device::{Device, Verdict},
    mem::{Audit, Packet, PageTier, Pool, PoolConfig, PoolHandle, Region, Walk, audit::Owner},
    xdp::{BusyPoll, MultiBuffer, Port, RingSizes, program::XdpProgram},
};

use crate::{
    bed::{Nic, Stop, Way},
    programs::META_BYTES,
};

/// What the kernel keeps free in front of every packet for XDP programs.
pub(crate) const XDP_PACKET_HEADROOM: usize = 256;

/// A packet as it was received.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) bytes: Vec<u8>,
    /// How far into its frame it started.
    pub(crate) headroom: usize,
    /// How many frames it took.
    pub(crate) frames: usize,
    /// The bytes in front of it, where a program may have put metadata.
    pub(crate) in_front: Vec<u8>,
}

/// How an end waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drive {
    /// It looks into its rings, and calls the kernel where that is needed.
    Spin,
    /// By poll(2) alone.
    Poll,
}

pub(crate) trait End {
    /// Queues a packet; `false` when there is no room now.
    fn send(&mut self, bytes: &[u8]) -> Result<bool, Stop>;
    /// Makes the kernel send, and takes back what was sent.
    fn pump(&mut self) -> Result<(), Stop>;
    /// Frames that were queued and have not come back.
    fn outstanding(&self) -> u64;
    /// Takes up to `budget` packets.
    fn receive(&mut self, budget: u32) -> Result<Vec<Received>, Stop>;
    /// How far into a frame every received packet must start.
    fn expected_headroom(&self) -> usize;
    /// Finds every frame, once.
    fn audit(&mut self) -> Result<(), Stop>;
}

/// What a [`PortEnd`] shall be like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PortShape {
    pub(crate) frames: u32,
    pub(crate) frame_bytes: u32,
    pub(crate) headroom_bytes: u32,
    pub(crate) rings: RingSizes,
    /// Whether packets may have several frames.
    pub(crate) segments: bool,
    pub(crate) drive: Drive,
}

impl PortShape {
    pub(crate) const DEFAULT: Self = Self {
        frames: 1024,
        frame_bytes: 4096,
        headroom_bytes: 0,
        rings: RingSizes { rx: 256, tx: 256, fill: 512, completion: 512 },
        segments: false,
        drive: Drive::Spin,
    };
}

impl Default for PortShape {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// An end that is a port.
#[derive(Debug)]
pub(crate) struct PortEnd {
    port: Port,
    handle: PoolHandle,
    shape: PortShape,
    is_copied: bool,
    /// What earlier ports over the same pool did.
    pub(crate) ended: Vec<Walk>,
}

impl PortEnd {
    pub(crate) fn new(
        way: Way,
        nic: &Nic,
        shape: PortShape,
        program: Arc<XdpProgram>,
    ) -> Result<Self, Stop> {
        Self::over(&pool(shape)?, (way, nic), shape, program)
    }

    /// A port over a pool that there is already, as earlier ports left it.
    pub(crate) fn over(
        handle: &PoolHandle,
        (way, nic): (Way, &Nic),
        shape: PortShape,
        program: Arc<XdpProgram>,
    ) -> Result<Self, Stop> {
        let handle = handle.clone();
        let mut builder = Port::with_program(&nic.name, program)
            .modes(&[way.mode])
            .rings(shape.rings)
            .headroom(shape.headroom_bytes);
        if shape.segments {
            builder = builder.multi_buffer(MultiBuffer::Always);
        }
        if way.busy_poll {
            builder = builder.busy_poll(BusyPoll::default());
        }
        let asks = shape.segments || !way.copies();
        let port = builder.open(&handle).map_err(|error| match told(&error) {
            why if asks && why.contains("our reading") => Stop::Impossible(why),
            why if asks && why.contains("would be cut") => Stop::Impossible(why),
            why if asks && why.contains("lie across pages") => Stop::Impossible(why),
            why => Stop::Failed(why),
        })?;
        let report = port.report();
        if report.mode != way.mode || report.busy_poll.is_some() != way.busy_poll {
            return Err(Stop::Failed(format!("not what was asked for: {report:?}")));
        }
        Ok(Self { port, handle, shape, is_copied: way.copies(), ended: Vec::new() })
    }

    pub(crate) fn port(&mut self) -> &mut Port {
        &mut self.port
    }

    /// Closes the port and finds every slot in its pool. Returns what it and earlier ones did.
    pub(crate) fn close(mut self) -> Result<Vec<Walk>, Stop> {
        let before = self.books()?.owners[Owner::Quarantined];
        let closed = self.port.close();
        // Slots that a zero-copy driver had in its own rings are known by their number only.
        if closed.with_kernel > 0 || (self.is_copied && closed.quarantined > 0) {
            return Err(Stop::Failed(format!("slots are out of use: {closed:?}")));
        }
        self.ended.push(closed.walk.counts_only());
        let walks = self.ended.iter().cloned().chain([self.handle.walk()]);
        let audit = Audit::of(self.handle.pool(), walks);
        let quarantined = audit.owners[Owner::Quarantined] - before;
        if !audit.is_ok() || audit.held > 0 || quarantined != closed.quarantined {
            return Err(Stop::Failed(format!("after the close: {audit:?}")));
        }
        Ok(self.ended)
    }

    fn books(&self) -> Result<Audit, Stop> {
        let walks = self.ended.iter().cloned().chain([self.handle.walk(), self.port.walk()]);
        let audit = Audit::of(self.handle.pool(), walks);
        if audit.is_ok() { Ok(audit) } else { Err(Stop::Failed(format!("{:?}", audit.findings))) }
    }

    /// A packet of as many frames as its bytes need; `None` when the pool has too few now.
    fn packet(&self, bytes: &[u8]) -> Result<Option<Packet>, Stop> {
        let mut whole: Option<Packet> = None;
        for part in bytes.chunks(self.room_bytes()) {
            let Some(mut packet) = self.handle.alloc() else { return Ok(None) };
            let len = u32::try_from(part.len()).map_err(Stop::failed)?;
            packet.put(len).map_err(Stop::failed)?.copy_from_slice(part);
            match &mut whole {
                None => whole = Some(packet),
                Some(whole) => {
                    let appended = whole.append(packet);
                    appended.map_err(|_| Stop::failed("a chain takes no more frames"))?;
                }
            }
        }
        Ok(whole)
    }

    /// How many bytes a frame has behind the headroom.
    fn room_bytes(&self) -> usize {
        self.shape.frame_bytes as usize - XDP_PACKET_HEADROOM
    }
}

/// What an error says of this refusal; not what is known of the driver besides.
fn told(error: &netmem::Error) -> String {
    let why = error.to_string();
    why.split("; known of").next().unwrap_or_default().to_owned()
}

/// Memory for a port.
pub(crate) fn pool(shape: PortShape) -> Result<PoolHandle, Stop> {
    // Zero-copy drivers take no frame across pages that are not neighbours in memory.
    let tiers: &[_] = match shape.frame_bytes.is_power_of_two() {
        true => &[PageTier::Base4K],
        false => &[PageTier::Huge2M, PageTier::Base4K],
    };
    let region = Region::builder((shape.frames * shape.frame_bytes) as usize)
        .tiers(tiers)
        .build()
        .map_err(Stop::failed)?;
    let (frame_bytes, frames) = (shape.frame_bytes, Some(shape.frames));
    let config = PoolConfig { frame_bytes, frames, ..PoolConfig::default() };
    Ok(Pool::new(region, config).map_err(Stop::failed)?.handle())
}

impl End for PortEnd {
    fn send(&mut self, bytes: &[u8]) -> Result<bool, Stop> {
        if (self.port.tx_room() as usize) < bytes.len().div_ceil(self.room_bytes()) {
            return Ok(false);
        }
        let Some(packet) = self.packet(bytes)? else { return Ok(false) };
        let mut queue: VecDeque<Packet> = [packet].into();
        let sent = self.port.transmit(&mut queue).map_err(Stop::failed)?;
        if sent == 1 { Ok(true) } else { Err(Stop::failed("the tx ring had room and has none")) }
    }

    fn pump(&mut self) -> Result<(), Stop> {
        self.port.flush().map_err(Stop::failed)?;
        let progress = self.port.progress();
        if progress.completed > progress.transmitted {
            return Err(Stop::Failed(format!("more completions than outstanding: {progress:?}")));
        }
        Ok(())
    }

    fn outstanding(&self) -> u64 {
        let progress = self.port.progress();
        progress.transmitted - progress.completed
    }

    fn receive(&mut self, budget: u32) -> Result<Vec<Received>, Stop> {
        if self.shape.drive == Drive::Poll {
            self.port.wait(Duration::from_millis(20)).map_err(Stop::failed)?;
        }
        let mut received = Vec::new();
        self.port.receive(budget, &mut (), |packet| {
            received.push(Received {
                bytes: packet.frames().flatten().copied().collect(),
                headroom: packet.headroom(),
                frames: packet.frame_count(),
                in_front: packet.in_front(META_BYTES).unwrap_or_default().to_vec(),
            });
            Verdict::Consume
        });
        Ok(received)
    }

    fn expected_headroom(&self) -> usize {
        XDP_PACKET_HEADROOM + self.shape.headroom_bytes as usize
    }

    fn audit(&mut self) -> Result<(), Stop> {
        self.books().map(drop)
    }
}
