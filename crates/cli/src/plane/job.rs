//! What workers do with the packets of their ports.

use std::net::{Ipv4Addr, Ipv6Addr};

use netmem::{
    device::Verdict,
    mem::{DropReason, PacketMut},
};
use netmem_wire::{Ethernet, MacAddr, filter::ResponderConfig};
use serde::{Deserialize, Serialize};

use crate::{Failure, responder::Responder};

/// What the workers of a command do; told to a worker process as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Job {
    /// Answer ARP, neighbor solicitations and ping.
    Respond(RespondJob),
    /// Send each packet on.
    Forward(ForwardJob),
}

/// What is answered, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RespondJob {
    pub(crate) mac: [u8; 6],
    pub(crate) addresses: Vec<Ipv4Addr>,
    pub(crate) addresses6: Vec<Ipv6Addr>,
    /// Networks, as text.
    pub(crate) proxied: Vec<String>,
    pub(crate) proxied6: Vec<String>,
}

/// What becomes of forwarded packets, and where they go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ForwardJob {
    pub(crate) mac: MacRule,
    /// Interfaces: packets of one go out by the other; of one alone, where they came from.
    pub(crate) interfaces: Vec<String>,
}

/// What becomes of a forwarded packet's Ethernet addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MacRule {
    /// They stay.
    Keep,
    /// They are exchanged.
    Swap,
    /// These are set.
    Set { source: Option<[u8; 6]>, destination: Option<[u8; 6]> },
}

impl RespondJob {
    pub(crate) fn new(mac: MacAddr, config: &ResponderConfig) -> Self {
        Self {
            mac: mac.0,
            addresses: config.addresses.clone(),
            addresses6: config.addresses6.clone(),
            proxied: config.proxied.iter().map(ToString::to_string).collect(),
            proxied6: config.proxied6.iter().map(ToString::to_string).collect(),
        }
    }

    /// What answers.
    pub(super) fn responder(&self) -> Result<Responder, Failure> {
        let bad = |error| Failure::usage(format!("read the job: {error}"));
        let proxied = self.proxied.iter().map(|network| network.parse());
        let proxied6 = self.proxied6.iter().map(|network| network.parse());
        let config = ResponderConfig {
            addresses: self.addresses.clone(),
            addresses6: self.addresses6.clone(),
            proxied: proxied.collect::<Result<_, _>>().map_err(|error| bad(format!("{error}")))?,
            proxied6: proxied6
                .collect::<Result<_, _>>()
                .map_err(|error| bad(format!("{error}")))?,
            ..ResponderConfig::default()
        };
        Ok(Responder::new(MacAddr(self.mac), &config))
    }
}

/// Exchanges the addresses and sends.
#[inline]
pub(super) fn swap(packet: &mut PacketMut<'_>) -> Verdict {
    match Ethernet::new_checked(packet.bytes_mut()) {
        Ok(mut ethernet) => {
            ethernet.swap_addresses();
            Verdict::Transmit
        }
        Err(_) => Verdict::Drop(DropReason::PktTooSmall),
    }
}

/// Sets addresses and sends.
#[inline]
pub(super) fn set(
    packet: &mut PacketMut<'_>,
    source: Option<[u8; 6]>,
    destination: Option<[u8; 6]>,
) -> Verdict {
    let Ok(mut ethernet) = Ethernet::new_checked(packet.bytes_mut()) else {
        return Verdict::Drop(DropReason::PktTooSmall);
    };
    if let Some(source) = source {
        ethernet.set_source(MacAddr(source));
    }
    if let Some(destination) = destination {
        ethernet.set_destination(MacAddr(destination));
    }
    Verdict::Transmit
}
