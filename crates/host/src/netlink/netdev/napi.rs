//! What polls queues (`NETDEV_CMD_NAPI_GET`): interrupt, thread, and when it is put off.

use serde::Serialize;

use super::super::{attributes, u32_at, uint};
use super::Netdev;
use crate::error::{Cause, Error, Result};

// include/uapi/linux/netdev.h
const CMD_NAPI_GET: u8 = 11;
const NAPI_IFINDEX: u16 = 1;
const NAPI_ID: u16 = 2;
const NAPI_IRQ: u16 = 3;
const NAPI_PID: u16 = 4;
const NAPI_DEFER_HARD_IRQS: u16 = 5;
const NAPI_GRO_FLUSH_TIMEOUT: u16 = 6;
const NAPI_IRQ_SUSPEND_TIMEOUT: u16 = 7;

/// A NAPI of an interface that is up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Napi {
    /// Index of its interface.
    pub ifindex: u32,
    /// Number among all of the machine.
    pub id: u32,
    /// Number of its interrupt, as in `/proc/interrupts`, if the driver has said.
    pub irq: Option<u32>,
    /// Process id of the kernel's thread that polls it; none if softirq does.
    pub thread_pid: Option<u32>,
    /// How many empty polls in a row until interrupts are on again; kernel 6.13.
    pub defer_hard_irqs: Option<u32>,
    /// How long packets may be held back for merging, in nanoseconds; kernel 6.13.
    pub gro_flush_timeout_ns: Option<u64>,
    /// How long interrupts stay off while a program polls, in nanoseconds; kernel 6.13.
    pub irq_suspend_timeout_ns: Option<u64>,
}

impl Netdev {
    /// Returns the NAPIs of all interfaces that are up.
    ///
    /// # Errors
    /// The kernel does not know the request (`EOPNOTSUPP`), or the reply is not understood.
    pub fn napis(&mut self) -> Result<Vec<Napi>> {
        self.family
            .dump(CMD_NAPI_GET, Napi::parse)
            .map_err(|cause| Error::new("list", "NAPIs", cause))
    }
}

impl Napi {
    /// Parses the attributes of an answer.
    ///
    /// # Errors
    /// The bytes are cut, or there is no number or interface.
    pub fn parse(body: &[u8]) -> Result<Self, Cause> {
        let (mut ifindex, mut id, mut napi) = (None, None, Self::default());
        for attribute in attributes(body) {
            let (kind, value) = attribute?;
            match kind {
                NAPI_IFINDEX => ifindex = Some(u32_at(value, 0)?),
                NAPI_ID => id = Some(u32_at(value, 0)?),
                NAPI_IRQ => napi.irq = Some(u32_at(value, 0)?),
                NAPI_PID => napi.thread_pid = Some(u32_at(value, 0)?),
                NAPI_DEFER_HARD_IRQS => napi.defer_hard_irqs = Some(u32_at(value, 0)?),
                NAPI_GRO_FLUSH_TIMEOUT => napi.gro_flush_timeout_ns = Some(uint(value)?),
                NAPI_IRQ_SUSPEND_TIMEOUT => napi.irq_suspend_timeout_ns = Some(uint(value)?),
                _ => {}
            }
        }
        match (ifindex, id) {
            (Some(ifindex), Some(id)) => Ok(Self { ifindex, id, ..napi }),
            _ => Err(Cause::Malformed("a NAPI without number or interface".to_owned())),
        }
    }
}
