//! The five messages as plain values.

use core::net::Ipv6Addr;

use super::{
    NeighborAdvertisement, NeighborSolicitation, Preference, Redirect, RouterAdvertisement,
    RouterSolicitation,
};
use crate::icmpv6::{Icmpv6, icmp_type};
use crate::{Error, Layer};

/// What a router says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RouterAdvertisementRepr {
    /// Hop limit that hosts should send with; 0 leaves it open.
    pub current_hop_limit: u8,
    /// Addresses come by DHCPv6.
    pub managed: bool,
    /// Other configuration comes by DHCPv6.
    pub other_config: bool,
    /// The router is a home agent too (RFC 6275).
    pub home_agent: bool,
    /// How much hosts should like the router (RFC 4191).
    pub preference: Preference,
    /// A proxy forwarded the message (RFC 4389).
    pub proxied: bool,
    /// Seconds for which it is a default router; 0 if it is none.
    pub router_lifetime_s: u16,
    /// How long a neighbor counts as reachable; 0 leaves it open.
    pub reachable_time_ms: u32,
    /// Time between solicitations; 0 leaves it open.
    pub retrans_timer_ms: u32,
}

/// A neighbor discovery message as plain values, without its options; the checksum is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NdpRepr {
    /// Asks routers to speak up.
    RouterSolicitation,
    /// A router speaks up.
    RouterAdvertisement(RouterAdvertisementRepr),
    /// Asks for the link-layer address of the target.
    NeighborSolicitation {
        /// Whose link-layer address is asked for; never multicast.
        target: Ipv6Addr,
    },
    /// Tells the link-layer address of the target.
    NeighborAdvertisement {
        /// The sender is a router.
        router: bool,
        /// A solicitation is answered.
        solicited: bool,
        /// A cached link-layer address is to be replaced.
        override_cached: bool,
        /// Whose link-layer address is told; never multicast.
        target: Ipv6Addr,
    },
    /// A router tells of a better first hop.
    Redirect {
        /// The better first hop, or the destination itself if it is a neighbor.
        target: Ipv6Addr,
        /// Which destination it is better for.
        destination: Ipv6Addr,
    },
}

impl NdpRepr {
    /// Bytes of the message without options.
    #[must_use]
    pub const fn header_len_bytes(&self) -> usize {
        match self {
            Self::RouterSolicitation => 8,
            Self::RouterAdvertisement(_) => 16,
            Self::NeighborSolicitation { .. } | Self::NeighborAdvertisement { .. } => 24,
            Self::Redirect { .. } => 40,
        }
    }

    /// Reads a message whose checksum is right between these addresses. Whether the rest is as it
    /// must be [`validate`](super::validate) tells.
    ///
    /// # Errors
    /// [`Error::Short`]; [`Error::Field`] for a wrong checksum, another type, or a code that is
    /// not zero.
    pub fn parse(message: &[u8], source: Ipv6Addr, destination: Ipv6Addr) -> Result<Self, Error> {
        let icmp = Icmpv6::new_checked(message)?;
        let right = icmp.verify_checksum(source, destination);
        Error::check_field(Layer::Icmpv6, 2, "checksum", right)?;
        Error::check_field(Layer::Icmpv6, 1, "code", icmp.icmp_code() == 0)?;
        match icmp.icmp_type() {
            icmp_type::ROUTER_ADVERTISEMENT => {
                let view = RouterAdvertisement::new_checked(message)?;
                Ok(Self::RouterAdvertisement(RouterAdvertisementRepr {
                    current_hop_limit: view.current_hop_limit(),
                    managed: view.managed(),
                    other_config: view.other_config(),
                    home_agent: view.home_agent(),
                    preference: view.preference(),
                    proxied: view.proxied(),
                    router_lifetime_s: view.router_lifetime_s(),
                    reachable_time_ms: view.reachable_time_ms(),
                    retrans_timer_ms: view.retrans_timer_ms(),
                }))
            }
            icmp_type::NEIGHBOR_SOLICITATION => {
                let target = NeighborSolicitation::new_checked(message)?.target();
                Ok(Self::NeighborSolicitation { target })
            }
            icmp_type::NEIGHBOR_ADVERTISEMENT => {
                let view = NeighborAdvertisement::new_checked(message)?;
                Ok(Self::NeighborAdvertisement {
                    router: view.router(),
                    solicited: view.solicited(),
                    override_cached: view.override_cached(),
                    target: view.target(),
                })
            }
            icmp_type::REDIRECT => {
                let view = Redirect::new_checked(message)?;
                Ok(Self::Redirect { target: view.target(), destination: view.destination() })
            }
            _ => RouterSolicitation::new_checked(message).map(|_| Self::RouterSolicitation),
        }
    }

    /// Writes the message in front of the options that are in `message` already, checksum over all
    /// included. `message` is that and nothing more.
    ///
    /// # Errors
    /// [`Error::Short`].
    pub fn emit(
        &self,
        message: &mut [u8],
        source: Ipv6Addr,
        destination: Ipv6Addr,
    ) -> Result<(), Error> {
        Error::check_header(Layer::Icmpv6, self.header_len_bytes(), message.len())?;
        message[..self.header_len_bytes()].fill(0);
        message[0] = self.icmp_type();
        match *self {
            Self::RouterSolicitation => {}
            Self::RouterAdvertisement(repr) => repr.write(message)?,
            Self::NeighborSolicitation { target } => {
                NeighborSolicitation::new_checked(&mut *message)?.set_target(target);
            }
            Self::NeighborAdvertisement { router, solicited, override_cached, target } => {
                let mut view = NeighborAdvertisement::new_checked(&mut *message)?;
                view.set_router(router);
                view.set_solicited(solicited);
                view.set_override_cached(override_cached);
                view.set_target(target);
            }
            Self::Redirect { target, destination } => {
                let mut view = Redirect::new_checked(&mut *message)?;
                view.set_target(target);
                view.set_destination(destination);
            }
        }
        Icmpv6::new_checked(message)?.fill_checksum(source, destination);
        Ok(())
    }

    const fn icmp_type(&self) -> u8 {
        match self {
            Self::RouterSolicitation => icmp_type::ROUTER_SOLICITATION,
            Self::RouterAdvertisement(_) => icmp_type::ROUTER_ADVERTISEMENT,
            Self::NeighborSolicitation { .. } => icmp_type::NEIGHBOR_SOLICITATION,
            Self::NeighborAdvertisement { .. } => icmp_type::NEIGHBOR_ADVERTISEMENT,
            Self::Redirect { .. } => icmp_type::REDIRECT,
        }
    }
}

impl RouterAdvertisementRepr {
    fn write(&self, message: &mut [u8]) -> Result<(), Error> {
        let mut view = RouterAdvertisement::new_checked(message)?;
        view.set_current_hop_limit(self.current_hop_limit);
        view.set_managed(self.managed);
        view.set_other_config(self.other_config);
        view.set_home_agent(self.home_agent);
        view.set_preference(self.preference);
        view.set_proxied(self.proxied);
        view.set_router_lifetime_s(self.router_lifetime_s);
        view.set_reachable_time_ms(self.reachable_time_ms);
        view.set_retrans_timer_ms(self.retrans_timer_ms);
        Ok(())
    }
}
