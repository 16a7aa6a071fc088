//! What drivers count for each queue (`NETDEV_CMD_QSTATS_GET`).
//!
//! Only drivers with `netdev_stat_ops` answer; a driver leaves out what it does not count, and that is
//! no zero. The counters are of 8 bytes, and begin at 0 when the device is made.

use netlink_packet_core::DefaultNla;
use serde::Serialize;

use super::super::{attributes, u32_at, uint};
use super::{Direction, Netdev};
use crate::error::{Cause, Error, Result};

// include/uapi/linux/netdev.h
const CMD_QSTATS_GET: u8 = 12;
const QSTATS_IFINDEX: u16 = 1;
const QSTATS_QUEUE_TYPE: u16 = 2;
const QSTATS_QUEUE_ID: u16 = 3;
const QSTATS_SCOPE: u16 = 4;
const QSTATS_RX_PACKETS: u16 = 8;
const QSTATS_RX_BYTES: u16 = 9;
const QSTATS_TX_PACKETS: u16 = 10;
const QSTATS_TX_BYTES: u16 = 11;
const QSTATS_RX_ALLOC_FAIL: u16 = 12;
const QSTATS_RX_HW_DROPS: u16 = 13;
const QSTATS_RX_HW_DROP_OVERRUNS: u16 = 14;
const QSTATS_RX_HW_DROP_RATELIMITS: u16 = 23;
const QSTATS_TX_HW_DROPS: u16 = 24;
const QSTATS_TX_HW_DROP_ERRORS: u16 = 25;
const QSTATS_TX_HW_DROP_RATELIMITS: u16 = 32;
const QSTATS_TX_STOP: u16 = 33;
const QSTATS_TX_WAKE: u16 = 34;
const SCOPE_QUEUE: u32 = 1;

/// What a driver has counted for a queue; `None` is not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct QueueStatistics {
    /// Index of its interface.
    pub ifindex: u32,
    /// Which way packets go.
    pub direction: Direction,
    /// Number among the interface's queues of its direction, 0 and up.
    pub queue: u32,
    /// Packets received.
    pub rx_packets: Option<u64>,
    /// Bytes received.
    pub rx_bytes: Option<u64>,
    /// Packets sent.
    pub tx_packets: Option<u64>,
    /// Bytes sent.
    pub tx_bytes: Option<u64>,
    /// Times that there was no memory for a received packet; the packet need not be lost.
    pub rx_alloc_fail: Option<u64>,
    /// Packets that reached the device and no program or kernel.
    pub rx_hw_drops: Option<u64>,
    /// Of them, those for want of descriptors or room in the device.
    pub rx_hw_drop_overruns: Option<u64>,
    /// Of them, those above a rate that the device allows.
    pub rx_hw_drop_ratelimits: Option<u64>,
    /// Packets that the kernel gave to the device and the device did not send.
    pub tx_hw_drops: Option<u64>,
    /// Of them, those that were not valid.
    pub tx_hw_drop_errors: Option<u64>,
    /// Of them, those above a rate that the device allows.
    pub tx_hw_drop_ratelimits: Option<u64>,
    /// Times that the queue was stopped for want of descriptors.
    pub tx_stop: Option<u64>,
    /// Times that it was started again.
    pub tx_wake: Option<u64>,
}

impl Netdev {
    /// Returns what is counted for each queue of the interfaces whose drivers count.
    ///
    /// # Errors
    /// The kernel does not know the request (`EOPNOTSUPP`), or the reply is not understood.
    pub fn queue_statistics(&mut self) -> Result<Vec<QueueStatistics>> {
        let scope = DefaultNla::new(QSTATS_SCOPE, SCOPE_QUEUE.to_ne_bytes().to_vec());
        self.family
            .dump_some(CMD_QSTATS_GET, vec![scope], QueueStatistics::parse)
            .map_err(|cause| Error::new("list", "statistics of queues", cause))
    }
}

impl QueueStatistics {
    /// Parses the attributes of an answer about one queue.
    ///
    /// # Errors
    /// The bytes are cut, or there is no number, direction or interface.
    pub fn parse(body: &[u8]) -> Result<Self, Cause> {
        let (mut ifindex, mut direction, mut queue) = (None, None, None);
        let mut statistics = Self::default();
        for attribute in attributes(body) {
            let (kind, value) = attribute?;
            match kind {
                QSTATS_IFINDEX => ifindex = Some(u32_at(value, 0)?),
                QSTATS_QUEUE_TYPE => direction = Some(Direction::parse(value)?),
                QSTATS_QUEUE_ID => queue = Some(u32_at(value, 0)?),
                _ => {
                    if let Some(field) = statistics.field(kind) {
                        *field = Some(uint(value)?);
                    }
                }
            }
        }
        match (ifindex, direction, queue) {
            (Some(ifindex), Some(direction), Some(queue)) => {
                Ok(Self { ifindex, direction, queue, ..statistics })
            }
            _ => Err(Cause::Malformed("statistics of no queue".to_owned())),
        }
    }

    fn field(&mut self, kind: u16) -> Option<&mut Option<u64>> {
        Some(match kind {
            QSTATS_RX_PACKETS => &mut self.rx_packets,
            QSTATS_RX_BYTES => &mut self.rx_bytes,
            QSTATS_TX_PACKETS => &mut self.tx_packets,
            QSTATS_TX_BYTES => &mut self.tx_bytes,
            QSTATS_RX_ALLOC_FAIL => &mut self.rx_alloc_fail,
            QSTATS_RX_HW_DROPS => &mut self.rx_hw_drops,
            QSTATS_RX_HW_DROP_OVERRUNS => &mut self.rx_hw_drop_overruns,
            QSTATS_RX_HW_DROP_RATELIMITS => &mut self.rx_hw_drop_ratelimits,
            QSTATS_TX_HW_DROPS => &mut self.tx_hw_drops,
            QSTATS_TX_HW_DROP_ERRORS => &mut self.tx_hw_drop_errors,
            QSTATS_TX_HW_DROP_RATELIMITS => &mut self.tx_hw_drop_ratelimits,
            QSTATS_TX_STOP => &mut self.tx_stop,
            QSTATS_TX_WAKE => &mut self.tx_wake,
            _ => return None,
        })
    }
}
