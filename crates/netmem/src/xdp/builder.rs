//! The description of a port, or of the ports on several queues of an interface.

use std::sync::Arc;

use netmem_wire::filter::Rules;

use super::{
    BoundPort, BusyPoll, MultiBuffer, PortSet, RingSizes, TxMetadata, XdpMode, port::Port,
    program::XdpProgram,
};
use crate::{
    Error, Result,
    link::{Link, LinkDetails},
    mem::PoolHandle,
};

/// Describes a port, or one port for each of several queues. `Send`, so that it can be made in one
/// thread and opened in the worker's (K7).
#[derive(Debug, Clone)]
pub struct PortBuilder {
    pub(super) interface: String,
    pub(super) queues: Queues,
    pub(super) modes: Vec<XdpMode>,
    pub(super) rings: RingSizes,
    pub(super) multi_buffer: MultiBuffer,
    pub(super) busy_poll: Option<BusyPoll>,
    pub(super) umem: UmemOptions,
    pub(super) tx_metadata: Option<TxMetadata>,
    pub(super) takes: Takes,
    pub(super) name: String,
}

/// Which queues of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Queues {
    /// Every receive queue that the interface uses.
    All,
    /// These, each once.
    These(Vec<u32>),
}

/// What belongs to the memory's registration more than to a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct UmemOptions {
    pub(super) headroom_bytes: u32,
}

/// What a port receives.
#[derive(Debug, Clone)]
pub(super) enum Takes {
    /// What these rules take, by a program made from them.
    Rules(Rules),
    /// What this program redirects to its map of sockets.
    Program(Arc<XdpProgram>),
}

const _: fn() = || {
    fn needs_send<T: Send>() {}
    needs_send::<PortBuilder>();
    needs_send::<BoundPort>();
};

impl Port {
    /// Starts the description of a port on queue 0 of `interface` that receives what `rules` take.
    #[must_use]
    pub fn builder(interface: &str, rules: Rules) -> PortBuilder {
        PortBuilder {
            interface: interface.to_owned(),
            queues: Queues::These(vec![0]),
            modes: XdpMode::ALL.to_vec(),
            rings: RingSizes::default(),
            multi_buffer: MultiBuffer::default(),
            busy_poll: None,
            umem: UmemOptions::default(),
            tx_metadata: None,
            takes: Takes::Rules(rules),
            name: "netmem".to_owned(),
        }
    }

    /// Starts the description of a port on queue 0 of `interface` that receives what `program`, made
    /// by the caller, redirects to its socket.
    #[must_use]
    pub fn with_program(interface: &str, program: Arc<XdpProgram>) -> PortBuilder {
        let takes = Takes::Program(program);
        PortBuilder { takes, ..Self::builder(interface, Rules::new([])) }
    }
}

impl PortBuilder {
    /// Chooses one queue, from 0.
    #[must_use]
    pub fn queue(self, queue: u32) -> Self {
        self.queues(Queues::These(vec![queue]))
    }

    /// Chooses the queues; [`bind`](Self::bind) makes a port for each.
    #[must_use]
    pub fn queues(mut self, queues: Queues) -> Self {
        self.queues = queues;
        self
    }

    /// Names the modes to try, in order. Default: [`XdpMode::ALL`].
    #[must_use]
    pub fn modes(mut self, modes: &[XdpMode]) -> Self {
        self.modes = modes.to_vec();
        self
    }

    /// Sets the ring sizes.
    #[must_use]
    pub fn rings(mut self, rings: RingSizes) -> Self {
        self.rings = rings;
        self
    }

    /// Says whether packets may span several frames. Default: where the MTU asks for it.
    #[must_use]
    pub fn multi_buffer(mut self, multi_buffer: MultiBuffer) -> Self {
        self.multi_buffer = multi_buffer;
        self
    }

    /// Polls the driver from the worker's own calls. Default: the driver interrupts.
    #[must_use]
    pub fn busy_poll(mut self, busy_poll: BusyPoll) -> Self {
        self.busy_poll = Some(busy_poll);
        self
    }

    /// Leaves this many bytes free in front of each received packet, besides the 256 of the kernel
    /// (XDP_PACKET_HEADROOM). It is the UMEM's: ports that share one must agree. A frame has 448 bytes
    /// more for the kernel and the shortest packet: of 2048, 1344 may be headroom.
    #[must_use]
    pub fn headroom(mut self, headroom_bytes: u32) -> Self {
        self.umem.headroom_bytes = headroom_bytes;
        self
    }

    /// Lets packets ask for a checksum or a timestamp when they are sent, in place
    /// ([`PacketMut::request_checksum`](crate::mem::PacketMut::request_checksum)) and owned. Who does
    /// which, and why, is in the port's report
    /// ([`tx_metadata`](super::PortReport::tx_metadata)); a checksum is always done. Default: not.
    ///
    /// Such a port lends its packets one by one, which costs some more instructions for each. Where the
    /// kernel takes part, each frame that is sent needs 24 bytes of headroom, whether it asks for something
    /// or not: one with less is dropped as
    /// [`NoHeadroom`](crate::mem::DropReason::NoHeadroom).
    #[must_use]
    pub fn tx_metadata(mut self, asked: TxMetadata) -> Self {
        self.tx_metadata = Some(asked);
        self
    }

    /// Names the XDP program, as `bpftool prog` shows it: up to 15 letters, digits, `_` and `.`.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// How many ports it describes: one for each queue.
    ///
    /// # Errors
    /// When the interface is missing, or has not the queues.
    pub fn queue_count(&self) -> Result<u32> {
        let link = Link::by_name(&self.interface)?;
        let queues = self.queues.on(&link, &link.details())?;
        Ok(u32::try_from(queues.len()).unwrap_or(u32::MAX))
    }

    /// Opens the port over `handle`'s pool, in the calling thread and its network namespace.
    ///
    /// # Errors
    /// As [`bind`](Self::bind); and when the description is of more than one queue.
    pub fn open(self, handle: &PoolHandle) -> Result<Port> {
        let interface = self.interface.clone();
        let mut ports = self.bind(handle)?;
        match (ports.pop(), ports.is_empty()) {
            (Some(port), true) => port.start(handle),
            (_, _) => {
                let why = "the description is not of one queue: bind them, and start each";
                Err(Error::refused("open port on", interface, why))
            }
        }
    }

    /// Binds a port for each queue, over `handle`'s pool, in the calling thread's network namespace.
    /// Packets are taken from then on; each port is started in the thread that uses it. See
    /// [`PortSet`] for ports on several interfaces.
    ///
    /// # Errors
    /// When no mode of the list could be had for all of the queues, with the reason of each; when
    /// another XDP program sits on the interface, which is never replaced; when the interface, a queue
    /// or a privilege is missing.
    pub fn bind(self, handle: &PoolHandle) -> Result<Vec<BoundPort>> {
        PortSet::new(handle).port(self).bind()
    }
}

impl Queues {
    /// The queues' numbers on `link`.
    ///
    /// The kernel takes numbers below the receive or the transmit queues in use, whichever are more
    /// (`xsk_reg_pool_at_qid` in net/xdp/xsk.c, kernel 6.18). Where it does not tell them, the queues
    /// that the interface was made with count, and the bind says the rest.
    pub(super) fn on(&self, link: &Link, details: &LinkDetails) -> Result<Vec<u32>> {
        let refuse = |queue: u32, why: String| {
            Err(Error::refused("open port on", format!("{} queue {queue}", link.name), why))
        };
        let known = |queues: u32| Some(queues).filter(|queues| *queues > 0);
        let Self::These(queues) = self else {
            let rx_queues = details.rx_queues.as_ref().ok().and_then(|queues| known(*queues));
            return Ok((0..rx_queues.unwrap_or(link.queues)).collect());
        };
        let channels = details.channels.as_ref().ok();
        let in_use = channels.and_then(|got| known(got.rx_queues().max(got.tx_queues())));
        let in_use = in_use.unwrap_or(link.queues);
        for (n, &queue) in queues.iter().enumerate() {
            if queue >= in_use {
                // Before anything is sized by the number; the kernel says EINVAL, and not why.
                return refuse(queue, format!("the interface's last queue is {}", in_use - 1));
            }
            if queues[..n].contains(&queue) {
                return refuse(queue, "the queue is named twice".into());
            }
        }
        if queues.is_empty() {
            return Err(Error::refused("open port on", &link.name, "no queue was named"));
        }
        Ok(queues.clone())
    }
}
