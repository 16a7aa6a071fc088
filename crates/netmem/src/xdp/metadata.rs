//! What packets may ask for when they are sent, and who does it: the device, the kernel or netmem.
//!
//! AF_XDP takes requests in a `struct xsk_tx_metadata` right in front of a packet's first byte, where the
//! descriptor's `XDP_TX_METADATA` says that one is there (kernel 6.8; include/uapi/linux/if_xdp.h and
//! Documentation/networking/xsk-tx-metadata.rst). Room for it is registered with the memory: from then
//! on the kernel refuses every descriptor that has less room in front of it in its slot, with a request
//! or without (`xp_aligned_validate_desc` in net/xdp/xsk_queue.h, kernel 6.18), and never completes it.
//! So the room is registered only where the kernel takes part in something.
//!
//! | mode | checksum | timestamp |
//! |---|---|---|
//! | zero-copy | the device, if its driver announces `tx-checksum` | the device, if it announces `tx-timestamp` |
//! | native, generic | the kernel, while it copies | the kernel, when it is done with its copy |
//! | else | netmem, before the packet is queued | nobody |
//!
//! What a driver announces is `xsk-features` of the netlink family `netdev`; one that ignores requests
//! says nothing when it gets some.
//!
//! # Checksums in copy mode
//!
//! By itself the kernel marks its copy as `CHECKSUM_PARTIAL` and leaves the sum to the driver below. A
//! veth says that it fills sums in, and passes the packet on unfilled as long as its transmit checksums
//! are on: a program at the far end sees a wrong one. So netmem always registers
//! `XDP_UMEM_TX_SW_CSUM`: the kernel sums what it has just copied, and what leaves the port is right on
//! every device. The kernel's documentation calls the flag slow; it is the same work as a sum by netmem.
//! There are two holes in it, which netmem fills (`xsk_skb_metadata` and `xsk_build_skb_zerocopy` in
//! net/xdp/xsk.c, kernel 6.18): the kernel sums before it has the further frames of a chain, so netmem
//! sums chains; and on devices that take packets without a linear part (`IFF_TX_SKB_NO_LINEAR`:
//! virtio_net) it sums before it has any bytes and fails, so netmem sums there.
//!
//! # Timestamps
//!
//! A device gives the time of its own clock in nanoseconds, as its driver converts it: mostly that of
//! the PTP hardware clock. In copy mode the kernel gives CLOCK_TAI in nanoseconds, taken when its copy
//! is freed (`xsk_destruct_skb`): after the packet was sent, received by a peer on the same machine, or
//! dropped. It is an upper bound, and no proof of sending.
//!
//! # Not here
//!
//! The third request, the launch time (kernel 6.15, `XDP_TXMD_FLAGS_LAUNCH_TIME`), has its room in the
//! 24 bytes; [`TxMetadata`] is where it would be asked for. What a device knows of a *received* packet
//! an XDP program can ask (kfuncs: `bpf_xdp_metadata_rx_timestamp` and others) and put in front of it,
//! where [`PacketMut::in_front`](crate::mem::PacketMut::in_front) reads it.

use std::{fmt, io};

use super::XdpMode;
use crate::{
    error::errno_text,
    link::{LinkDetails, XskFeatures},
    sys::xsk,
};

/// The longest list of timestamps.
pub(super) const MAX_TIMESTAMPS: u32 = 1 << 20;
/// Drivers whose copies the kernel cannot sum: `IFF_TX_SKB_NO_LINEAR`, kernel 6.18.
const NO_LINEAR: [&str; 1] = ["virtio_net"];

/// What the packets of a port may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxMetadata {
    timestamps: u32,
}

impl TxMetadata {
    /// Checksums, and no timestamps.
    #[must_use]
    pub const fn checksums() -> Self {
        Self { timestamps: 0 }
    }

    /// Timestamps as well, of which up to `count`, at most 1,048,576, wait to be read
    /// ([`Port::timestamps`](super::Port::timestamps)).
    #[must_use]
    pub const fn timestamps(mut self, count: u32) -> Self {
        self.timestamps = count;
        self
    }
}

/// Who does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DoneBy {
    /// The device.
    Device,
    /// The kernel, in software.
    Kernel,
    /// netmem, in software.
    Netmem,
    /// Nobody.
    Nobody,
}

impl DoneBy {
    pub(super) const ALL: [Self; 4] = [Self::Device, Self::Kernel, Self::Netmem, Self::Nobody];

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Kernel => "kernel",
            Self::Netmem => "netmem",
            Self::Nobody => "nobody",
        }
    }

    const fn needs_kernel(self) -> bool {
        matches!(self, Self::Device | Self::Kernel)
    }
}

/// Who does one of the things that packets may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offload {
    /// Who does it.
    pub by: DoneBy,
    /// Why they, and what that means.
    pub why: String,
}

impl fmt::Display for Offload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.by.name(), self.why)
    }
}

/// What a port does of what its packets ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxMetadataReport {
    /// Who fills in checksums. In copy mode netmem does it for packets of several frames, whoever is
    /// named here.
    pub checksum: Offload,
    /// Who takes timestamps: the device, the kernel or nobody.
    pub timestamp: Offload,
    /// How many timestamps wait to be read at most.
    pub timestamps: u32,
    /// Headroom in bytes that each frame needs to be sent: 24, or 0 where the kernel takes no part.
    pub headroom_bytes: u32,
}

impl TxMetadataReport {
    /// What will be, if the kernel takes metadata.
    pub(super) fn of(asked: TxMetadata, mode: XdpMode, details: &LinkDetails) -> Self {
        let driver = details.driver.as_deref().unwrap_or_default();
        let (checksum, mut timestamp) = match mode {
            XdpMode::ZeroCopy => in_zero_copy(details),
            XdpMode::Native | XdpMode::Generic => in_copy_mode(driver),
        };
        if asked.timestamps == 0 {
            timestamp = by(DoneBy::Nobody, "the port was opened without timestamps");
        }
        let needs_kernel = checksum.by.needs_kernel() || timestamp.by.needs_kernel();
        let headroom_bytes = if needs_kernel { xsk::TX_METADATA_BYTES } else { 0 };
        let timestamps = asked.timestamps.min(MAX_TIMESTAMPS);
        Self { checksum, timestamp, timestamps, headroom_bytes }
    }

    /// What is, after the kernel has refused metadata.
    pub(super) fn refused(self, error: &io::Error) -> Self {
        let errno = errno_text(error);
        let why = format!("register umem: {errno} (our reading: kernels before 6.8 take none)");
        let instead = |offload: Offload, by: DoneBy| match offload.by.needs_kernel() {
            true => Offload { by, why: why.clone() },
            false => offload,
        };
        Self {
            checksum: instead(self.checksum, DoneBy::Netmem),
            timestamp: instead(self.timestamp, DoneBy::Nobody),
            headroom_bytes: 0,
            ..self
        }
    }
}

fn in_zero_copy(details: &LinkDetails) -> (Offload, Offload) {
    let announced = match &details.xdp {
        Ok(features) => features.xsk.ok_or_else(|| "the kernel is too old to tell".to_owned()),
        Err(untold) => Err(untold.to_string()),
    };
    let offload = |name: &str, has: fn(&XskFeatures) -> bool, otherwise: DoneBy| match &announced {
        Ok(features) if has(features) => {
            by(DoneBy::Device, &format!("the driver announces {name}"))
        }
        Ok(_) => by(otherwise, &format!("the driver does not announce {name}")),
        Err(why) => by(otherwise, &format!("whether the driver does {name} is not known: {why}")),
    };
    let checksum = offload("tx-checksum", |features| features.tx_checksum, DoneBy::Netmem);
    let timestamp = offload("tx-timestamp", |features| features.tx_timestamp, DoneBy::Nobody);
    (checksum, timestamp)
}

fn in_copy_mode(driver: &str) -> (Offload, Offload) {
    let checksum = if NO_LINEAR.contains(&driver) {
        let why = format!("copy mode: {driver} takes packets in a form that the kernel cannot sum");
        Offload { by: DoneBy::Netmem, why }
    } else {
        by(DoneBy::Kernel, "copy mode: the kernel sums what it copies (XDP_UMEM_TX_SW_CSUM)")
    };
    let why = "copy mode: CLOCK_TAI when the kernel is done with its copy, sent or dropped";
    (checksum, by(DoneBy::Kernel, why))
}

fn by(by: DoneBy, why: &str) -> Offload {
    Offload { by, why: why.to_owned() }
}

#[cfg(test)]
mod tests;
