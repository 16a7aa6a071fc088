//! An end without a port: one UMEM, its sockets, and books that say who has each frame.
//!
//! Every frame is free, with the kernel to be received into, or with the kernel to be sent. What the
//! kernel hands back must be what it has: a frame that arrives or completes twice, or that it was
//! never given, stops the case.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use netmem::{
    mem::{PageTier, Region},
    xdp::{
        RingSizes, XdpDesc, XdpMode,
        raw::{
            PollFor, RawSocket, RawUmem, RawUmemConfig, XDP_COPY, XDP_PKT_CONTD,
            XDP_USE_NEED_WAKEUP, XDP_USE_SG, XDP_ZEROCOPY,
        },
    },
};
use nix::libc;

use crate::{
    bed::{Nic, PATIENCE, Stop, Way},
    end::{Drive, End, Received, XDP_PACKET_HEADROOM},
};

/// In unaligned mode, where in an address the offset of the packet in its frame begins.
const OFFSET_SHIFT: u32 = 48;

/// Where frames lie in the UMEM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One after the other, as the kernel has it.
    Aligned,
    /// One after the other, in unaligned mode.
    Unaligned,
}

/// What a [`RawEnd`] shall be like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) frames: u32,
    pub(crate) frame_bytes: u32,
    pub(crate) headroom_bytes: u32,
    pub(crate) layout: Layout,
    pub(crate) rings: RingSizes,
    /// How many frames the kernel gets to receive into, at the start.
    pub(crate) filled: u32,
    /// Whether packets may have several frames.
    pub(crate) segments: bool,
    pub(crate) sockets: usize,
    pub(crate) drive: Drive,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            frames: 1024,
            frame_bytes: 4096,
            headroom_bytes: 0,
            layout: Layout::Aligned,
            rings: RingSizes { rx: 256, tx: 256, fill: 512, completion: 512 },
            filled: 512,
            segments: false,
            sockets: 1,
            drive: Drive::Spin,
        }
    }
}

/// Who has a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    Free,
    ToReceive,
    ToSend,
}

#[derive(Debug)]
pub(crate) struct RawEnd {
    pub(crate) sockets: Vec<RawSocket>,
    /// The socket that sends and receives.
    pub(crate) active: usize,
    /// Whether received entries go back to the kernel.
    pub(crate) release: bool,
    /// Whether received frames do.
    pub(crate) refill: bool,
    umem: Rc<RawUmem>,
    shape: Shape,
    by_base: BTreeMap<u64, usize>,
    bases: Vec<u64>,
    holders: Vec<Holder>,
    free: Vec<usize>,
    /// Frames to be sent, by the address that was given for them.
    sent: BTreeMap<u64, usize>,
    /// How often each address was given in a descriptor that the kernel must refuse. Older kernels
    /// pass those in silence, 6.18.44 completes each of them, once.
    refused: BTreeMap<u64, u32>,
    /// The descriptors so far of a packet whose end has not come, by socket.
    chains: Vec<Vec<XdpDesc>>,
    busy_poll: bool,
    is_copied: bool,
}

impl RawEnd {
    pub(crate) fn new(way: Way, nic: &Nic, shape: Shape) -> Result<Self, Stop> {
        let frame_bytes = u64::from(shape.frame_bytes);
        let bases: Vec<_> = (0..u64::from(shape.frames)).map(|frame| frame * frame_bytes).collect();
        let len_bytes = frame_bytes * u64::from(shape.frames);
        // Where the kernel does not copy, what crosses pages must lie in pages that are neighbours.
        let tier = match shape.layout {
            Layout::Unaligned if !way.copies() => PageTier::Huge2M,
            Layout::Unaligned | Layout::Aligned => PageTier::Base4K,
        };
        let region = Region::builder(usize::try_from(len_bytes).map_err(Stop::failed)?)
            .tiers(&[tier])
            .build()
            .map_err(Stop::failed)?;
        let config = RawUmemConfig {
            len_bytes,
            chunk_bytes: shape.frame_bytes,
            headroom_bytes: shape.headroom_bytes,
            unaligned: shape.layout != Layout::Aligned,
        };
        let umem = RawUmem::new(region, config).map_err(Stop::failed)?;
        let socket = RawSocket::open(&umem, &shape.rings).map_err(|error| refusal(way, &error))?;
        let mut end = Self {
            sockets: vec![socket],
            active: 0,
            release: true,
            refill: true,
            umem,
            shape,
            by_base: bases.iter().copied().zip(0..).collect(),
            holders: vec![Holder::Free; bases.len()],
            free: (0..bases.len()).rev().collect(),
            bases,
            sent: BTreeMap::new(),
            refused: BTreeMap::new(),
            chains: vec![Vec::new(); shape.sockets],
            busy_poll: way.busy_poll,
            is_copied: way.copies(),
        };
        // Zero-copy drivers take frames when they are bound.
        end.fill(shape.filled)?;
        end.bind(way, nic)?;
        Ok(end)
    }

    fn bind(&mut self, way: Way, nic: &Nic) -> Result<(), Stop> {
        let copy = if way.mode == XdpMode::ZeroCopy { XDP_ZEROCOPY } else { XDP_COPY };
        let segments = if self.shape.segments { XDP_USE_SG } else { 0 };
        let flags = copy | segments | XDP_USE_NEED_WAKEUP;
        self.sockets[0].bind(nic.index, 0, flags).map_err(|error| {
            let asks = self.shape.segments || !way.copies();
            let refused = matches!(error.errno(), Some(libc::EOPNOTSUPP | libc::EINVAL));
            if asks && refused { Stop::Impossible(error.to_string()) } else { Stop::failed(error) }
        })?;
        for _ in 1..self.shape.sockets {
            let rings = RingSizes { fill: 0, completion: 0, ..self.shape.rings };
            let socket = RawSocket::sharing(&self.umem, &rings).map_err(Stop::failed)?;
            socket.bind_sharing(&self.sockets[0], nic.index, 0).map_err(Stop::failed)?;
            self.sockets.push(socket);
        }
        if way.busy_poll {
            for socket in &self.sockets {
                socket.prefer_busy_poll(64).map_err(Stop::failed)?;
            }
        }
        Ok(())
    }

    /// The length of the UMEM in bytes.
    pub(crate) fn umem_bytes(&self) -> u64 {
        self.umem.config().len_bytes
    }

    /// Gives the kernel up to `count` free frames to receive into.
    pub(crate) fn fill(&mut self, count: u32) -> Result<(), Stop> {
        for _ in 0..count {
            let Some(frame) = self.free.pop() else { break };
            self.fill_one(frame)?;
        }
        Ok(())
    }

    fn fill_one(&mut self, frame: usize) -> Result<(), Stop> {
        if self.sockets[0].fill(&[self.bases[frame]]) == 0 {
            return Err(Stop::failed("the fill ring is full of frames that arrived"));
        }
        self.holders[frame] = Holder::ToReceive;
        Ok(())
    }

    /// Queues a descriptor as it is; the frame at `addr`, if there is one, is not looked at. `bytes`
    /// are written there before, and expected to complete.
    pub(crate) fn send_as_is(&mut self, desc: XdpDesc, bytes: Option<&[u8]>) -> Result<(), Stop> {
        if let Some(bytes) = bytes {
            let frame = self.frame_around(desc.addr)?;
            self.free.retain(|&free| free != frame);
            if self.holders[frame] != Holder::Free {
                return Err(Stop::Failed(format!("frame {frame} is in use")));
            }
            self.holders[frame] = Holder::ToSend;
            self.sent.insert(completed(desc.addr), frame);
            self.umem.write(desc.addr, bytes);
        } else {
            *self.refused.entry(completed(desc.addr)).or_default() += 1;
        }
        match self.sockets[self.active].send(&[desc]) {
            1 => Ok(()),
            _ => Err(Stop::failed("no room in the tx ring")),
        }
    }

    fn frame_around(&self, addr: u64) -> Result<usize, Stop> {
        let frame = self.by_base.range(..=addr).next_back();
        let frame = frame.filter(|(_, frame)| **frame < self.holders.len());
        frame.map(|(_, &frame)| frame).ok_or_else(|| Stop::Failed(format!("no frame at {addr:#x}")))
    }

    /// Takes what completed. Each must have been sent, and not have completed before.
    pub(crate) fn reap(&mut self) -> Result<usize, Stop> {
        let addresses = self.sockets[0].complete(u32::MAX);
        for &addr in &addresses {
            let Some(frame) = self.sent.remove(&completed(addr)) else {
                match self.refused.get_mut(&completed(addr)) {
                    Some(count @ 1..) => *count -= 1,
                    _ => {
                        return Err(Stop::Failed(format!(
                            "more completions than outstanding: {addr:#x} was not sent"
                        )));
                    }
                }
                continue;
            };
            self.holders[frame] = Holder::Free;
            self.free.push(frame);
        }
        Ok(addresses.len())
    }

    /// Calls sendto(2) once; what only says "later" is no error. With busy polling it polls for packets,
    /// which not every driver sends by: then poll(2) wakes it.
    pub(crate) fn kick(&self) -> Result<(), Stop> {
        self.send_to()?;
        if self.busy_poll && self.socket().tx_queued() > 0 {
            self.socket().poll(PollFor::Writable, Duration::ZERO).map_err(Stop::failed)?;
        }
        Ok(())
    }

    fn send_to(&self) -> Result<(), Stop> {
        match self.sockets[self.active].kick_tx() {
            Err(error)
                if !matches!(
                    error.errno(),
                    Some(
                        libc::EAGAIN | libc::EBUSY | libc::ENOBUFS | libc::ENOMEM | libc::ENETDOWN
                    )
                ) =>
            {
                Err(Stop::failed(error))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn socket(&self) -> &RawSocket {
        &self.sockets[self.active]
    }

    fn take(&mut self, chain: &[XdpDesc]) -> Result<Received, Stop> {
        let mut received =
            Received { bytes: Vec::new(), headroom: 0, frames: chain.len(), in_front: Vec::new() };
        for (at, desc) in chain.iter().enumerate() {
            let (base, offset) = self.split(desc.addr);
            let Some(&frame) = self.by_base.get(&base) else {
                return Err(Stop::Failed(format!("a packet at {:#x}, in no frame", desc.addr)));
            };
            if self.holders[frame] != Holder::ToReceive {
                return Err(Stop::Failed(format!("frame {frame} arrived, but was not given")));
            }
            if offset + u64::from(desc.len) > u64::from(self.shape.frame_bytes) {
                return Err(Stop::Failed(format!("{desc:?} leaves its frame")));
            }
            let headroom = usize::try_from(offset).map_err(Stop::failed)?;
            if headroom != self.expected_headroom() {
                let expected = self.expected_headroom();
                return Err(Stop::Failed(format!(
                    "frame {at} of a packet starts at {headroom}, not at {expected}"
                )));
            }
            if at == 0 {
                received.headroom = headroom;
            }
            received.bytes.extend(self.umem.read(base + offset, desc.len as usize));
            if self.refill {
                self.fill_one(frame)?;
            } else {
                self.holders[frame] = Holder::Free;
                self.free.push(frame);
            }
        }
        Ok(received)
    }

    /// The start of the frame that a received packet lies in, and how far into it.
    fn split(&self, addr: u64) -> (u64, u64) {
        match self.shape.layout {
            Layout::Aligned => {
                let offset = addr % u64::from(self.shape.frame_bytes);
                (addr - offset, offset)
            }
            _ => (addr & ((1 << OFFSET_SHIFT) - 1), addr >> OFFSET_SHIFT),
        }
    }

    fn check_books(&self) -> Result<(), Stop> {
        let walk = self.sockets[0].walk();
        let mut waiting = vec![false; self.holders.len()];
        for addr in &walk.fill {
            let frame = *self.by_base.get(addr).ok_or_else(|| Stop::failed("a strange fill"))?;
            if std::mem::replace(&mut waiting[frame], true) {
                return Err(Stop::Failed(format!("frame {frame} is twice in the fill ring")));
            }
            if self.holders[frame] != Holder::ToReceive {
                return Err(Stop::Failed(format!(
                    "frame {frame} is in the fill ring and elsewhere"
                )));
            }
        }
        let count = |holder| self.holders.iter().filter(|&&h| h == holder).count();
        let (free, inside) = (self.free.len(), count(Holder::ToReceive) - walk.fill.len());
        let at_rest = self
            .sockets
            .iter()
            .map(RawSocket::walk)
            .all(|walk| walk.rx.is_empty() && walk.tx.is_empty() && walk.completion.is_empty());
        if !at_rest || count(Holder::ToSend) != self.sent.len() || count(Holder::Free) != free {
            return Err(Stop::Failed(format!("the books are open: {walk:?}")));
        }
        // A packet that was dropped after it got its frames leaves them with the kernel, for the next.
        let drivers_ring = if self.is_copied { 18 } else { usize::MAX };
        if inside > drivers_ring {
            return Err(Stop::Failed(format!("the kernel keeps {inside} frames")));
        }
        Ok(())
    }
}

impl End for RawEnd {
    fn send(&mut self, bytes: &[u8]) -> Result<bool, Stop> {
        let frame_bytes = self.shape.frame_bytes as usize;
        let parts: Vec<&[u8]> = bytes.chunks(frame_bytes).collect();
        let queued = self.socket().tx_queued() as usize;
        if queued + parts.len() > self.shape.rings.tx as usize || self.free.len() < parts.len() {
            return Ok(false);
        }
        let last = parts.len() - 1;
        for (at, part) in parts.into_iter().enumerate() {
            let frame = self.free.pop().expect("counted above");
            self.free.push(frame);
            let desc = XdpDesc {
                addr: self.bases[frame],
                len: u32::try_from(part.len()).map_err(Stop::failed)?,
                options: if at == last { 0 } else { XDP_PKT_CONTD },
            };
            self.send_as_is(desc, Some(part))?;
        }
        Ok(true)
    }

    fn pump(&mut self) -> Result<(), Stop> {
        if self.shape.drive == Drive::Poll {
            if !self.socket().poll(PollFor::Writable, PATIENCE).map_err(Stop::failed)? {
                return Err(Stop::failed("poll(POLLOUT) timed out"));
            }
        } else if self.socket().tx_queued() > 0 || self.busy_poll || !self.sent.is_empty() {
            self.kick()?;
        }
        self.reap().map(drop)
    }

    fn outstanding(&self) -> u64 {
        self.sent.len() as u64
    }

    fn receive(&mut self, budget: u32) -> Result<Vec<Received>, Stop> {
        if self.shape.drive == Drive::Poll {
            let wait = Duration::from_millis(20);
            self.socket().poll(PollFor::Readable, wait).map_err(Stop::failed)?;
        }
        let active = self.active;
        let descs = self.sockets[active].receive(budget);
        if descs.is_empty() && self.shape.drive == Drive::Spin {
            // Busy polling happens in here, and a driver without frames is woken.
            self.sockets[active].kick_rx().map_err(Stop::failed)?;
        }
        let mut received = Vec::new();
        for desc in descs {
            let mut chain = std::mem::take(&mut self.chains[active]);
            chain.push(desc);
            if desc.options & XDP_PKT_CONTD == 0 {
                received.push(self.take(&chain)?);
            } else {
                self.chains[active] = chain;
            }
        }
        if self.release {
            self.sockets[active].release_rx();
        }
        Ok(received)
    }

    fn expected_headroom(&self) -> usize {
        XDP_PACKET_HEADROOM + self.shape.headroom_bytes as usize
    }

    fn audit(&mut self) -> Result<(), Stop> {
        self.reap()?;
        if !self.sent.is_empty() {
            return Err(Stop::Failed(format!("{} frames never completed", self.sent.len())));
        }
        if self.chains.iter().any(|chain| !chain.is_empty()) {
            return Err(Stop::failed("the end of a packet never came"));
        }
        self.check_books()
    }
}

/// How an address comes back by the completion ring: kernel 6.18 keeps it in a pointer whose lowest
/// bit says what it is, so an odd one loses that bit in copy mode (`xsk_skb_destructor_get_addr` in
/// net/xdp/xsk.c).
fn completed(addr: u64) -> u64 {
    addr & !1
}

fn refusal(way: Way, error: &netmem::Error) -> Stop {
    if way.copies() { Stop::failed(error) } else { Stop::Impossible(error.to_string()) }
}
