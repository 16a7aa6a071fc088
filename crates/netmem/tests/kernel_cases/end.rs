//! One end of the wire: a way to send and to receive whole packets that watches the other side.
//!
//! [`PortEnd`] is a program that behaves: the public API and its audit. [`RawEnd`](crate::raw_end) does
//! what a port never would, and keeps its own books.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use netmem::{
    device::{Device, Verdict},
    mem::{Audit, Packet, PageTier, Pool, PoolConfig, PoolHandle, Region},
    xdp::{BusyPoll, Port, RingSizes, program::XdpProgram},
};

use crate::bed::{Nic, Stop, Way};

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
    pub(crate) frame_bytes: u32,
    pub(crate) headroom_bytes: u32,
    pub(crate) drive: Drive,
}

impl Default for PortShape {
    fn default() -> Self {
        Self { frame_bytes: 4096, headroom_bytes: 0, drive: Drive::Spin }
    }
}

/// An end that is a port.
#[derive(Debug)]
pub(crate) struct PortEnd {
    port: Port,
    handle: PoolHandle,
    shape: PortShape,
}

impl PortEnd {
    pub(crate) fn new(
        way: Way,
        nic: &Nic,
        shape: PortShape,
        program: Arc<XdpProgram>,
    ) -> Result<Self, Stop> {
        let frames = 1024;
        let region = Region::builder(frames * shape.frame_bytes as usize)
            .tiers(&[PageTier::Base4K])
            .build()
            .map_err(Stop::failed)?;
        let config = PoolConfig { frame_bytes: shape.frame_bytes, ..PoolConfig::default() };
        let handle = Pool::new(region, config).map_err(Stop::failed)?.handle();
        let rings = RingSizes { rx: 256, tx: 256, fill: 512, completion: 512 };
        let mut builder = Port::with_program(&nic.name, program)
            .modes(&[way.mode])
            .rings(rings)
            .headroom(shape.headroom_bytes);
        if way.busy_poll {
            builder = builder.busy_poll(BusyPoll::default());
        }
        let port = builder.open(&handle).map_err(|error| match error.to_string() {
            why if !way.copies() && why.contains("our reading") => Stop::Impossible(why),
            why if !way.copies() && why.contains("would be cut") => Stop::Impossible(why),
            why => Stop::Failed(why),
        })?;
        let report = port.report();
        if report.mode != way.mode || report.busy_poll.is_some() != way.busy_poll {
            return Err(Stop::Failed(format!("not what was asked for: {report:?}")));
        }
        Ok(Self { port, handle, shape })
    }

    /// Closes the port and finds every slot in its pool.
    pub(crate) fn close(mut self) -> Result<(), Stop> {
        self.audit()?;
        let closed = self.port.close();
        if closed.quarantined > 0 {
            return Err(Stop::Failed(format!("{} slots are quarantined", closed.quarantined)));
        }
        let audit = Audit::of(self.handle.pool(), [self.handle.walk(), closed.walk]);
        if !audit.is_ok() || audit.held > 0 {
            return Err(Stop::Failed(format!("after the close: {:?}", audit.findings)));
        }
        Ok(())
    }
}

impl End for PortEnd {
    fn send(&mut self, bytes: &[u8]) -> Result<bool, Stop> {
        if self.port.tx_room() == 0 {
            return Ok(false);
        }
        let Some(mut packet) = self.handle.alloc() else { return Ok(false) };
        let len = u32::try_from(bytes.len()).map_err(Stop::failed)?;
        packet.put(len).map_err(Stop::failed)?.copy_from_slice(bytes);
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
                bytes: packet.bytes().to_vec(),
                headroom: packet.headroom(),
                frames: packet.frame_count(),
                in_front: Vec::new(),
            });
            Verdict::Consume
        });
        Ok(received)
    }

    fn expected_headroom(&self) -> usize {
        XDP_PACKET_HEADROOM + self.shape.headroom_bytes as usize
    }

    fn audit(&mut self) -> Result<(), Stop> {
        let audit = Audit::of(self.handle.pool(), [self.handle.walk(), self.port.walk()]);
        if audit.is_ok() { Ok(()) } else { Err(Stop::Failed(format!("{:?}", audit.findings))) }
    }
}
