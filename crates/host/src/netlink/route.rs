//! Links, addresses and neighbours over route netlink.

use std::fmt;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};
use std::str::FromStr;

use netlink_packet_core::{Emitable, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo as WireLinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::libc;

use super::{Connection, LinkInfo, Request};
use crate::error::{Cause, Error, Result};

/// A route netlink connection to one network namespace.
///
/// It belongs to the namespace of the thread that opened it, wherever it is used later, and keeps
/// that namespace alive.
#[derive(Debug)]
pub struct Route {
    pub(super) connection: Connection,
}

/// One end of a link to be made; what is `None` is left to the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkSpec {
    /// Interface name, 1 to 15 bytes.
    pub name: String,
    /// Hardware address; random and locally administered if not given.
    pub mac: Option<[u8; 6]>,
    /// Largest payload of a frame, in bytes, without the link header; 1500 if not given.
    pub mtu: Option<u32>,
    /// Receive queues, 1 to 4096; 1 in use if not given.
    pub rx_queues: Option<u32>,
    /// Transmit queues, 1 to 4096; 1 in use if not given.
    pub tx_queues: Option<u32>,
}

/// What the administrator wants a link to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminState {
    /// Passing packets.
    Up,
    /// Not passing packets.
    Down,
}

/// An IPv4 address of an interface and the length of its network's prefix, written `10.0.0.1/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Interface {
    /// The interface's own address.
    pub address: Ipv4Addr,
    /// Bits that the network's addresses share, 0 to 32.
    pub prefix_len: u8,
}

impl Route {
    /// Opens a connection in the calling thread's network namespace.
    ///
    /// # Errors
    /// No netlink socket could be opened.
    pub fn open() -> Result<Self> {
        let connection = Connection::open(NETLINK_ROUTE)
            .map_err(|error| Error::new("open", "route netlink socket", error))?;
        Ok(Self { connection })
    }

    /// Creates a veth pair: `link` in this connection's namespace, and `peer` directly in the
    /// namespace that `peer_ns` refers to.
    ///
    /// No other namespace ever sees either end. Both are down at first.
    ///
    /// # Errors
    /// A name is taken (`EEXIST`) or not allowed, an MTU or a number of queues is out of range
    /// (`EINVAL`), or the caller lacks `CAP_NET_ADMIN` over one of the namespaces (`EPERM`).
    pub fn create_veth(
        &mut self,
        link: &LinkSpec,
        peer: &LinkSpec,
        peer_ns: impl AsFd,
    ) -> Result<()> {
        let mut far = peer.message();
        far.attributes.push(LinkAttribute::NetNsFd(peer_ns.as_fd().as_raw_fd()));
        let mut near = link.message();
        near.attributes.push(LinkAttribute::LinkInfo(vec![
            WireLinkInfo::Kind(InfoKind::Veth),
            WireLinkInfo::Data(InfoData::Veth(InfoVeth::Peer(far))),
        ]));
        self.change(libc::RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &near).map_err(|cause| {
            Error::new("create veth", format!("{} (peer {})", link.name, peer.name), cause)
        })
    }

    /// Deletes a link; a veth's peer goes with it. The link is gone when this returns.
    ///
    /// # Errors
    /// There is no such link (`ENODEV`), it is not a virtual one (`EOPNOTSUPP`), or the caller
    /// lacks `CAP_NET_ADMIN` (`EPERM`).
    pub fn delete_link(&mut self, name: &str) -> Result<()> {
        self.change(libc::RTM_DELLINK, 0, &named(name))
            .map_err(|cause| Error::new("delete link", name, cause))
    }

    /// Sets a link up or down. Up does not mean that packets pass: see
    /// [`LinkInfo::oper_state`](super::LinkInfo::oper_state).
    ///
    /// # Errors
    /// There is no such link (`ENODEV`), or the caller lacks `CAP_NET_ADMIN` (`EPERM`).
    pub fn set_state(&mut self, name: &str, state: AdminState) -> Result<()> {
        let mut message = named(name);
        message.header.change_mask = LinkFlags::Up;
        message.header.flags = match state {
            AdminState::Up => LinkFlags::Up,
            AdminState::Down => LinkFlags::empty(),
        };
        self.set("set state of", name, message)
    }

    /// Sets the largest payload of a frame, in bytes, without the link header.
    ///
    /// # Errors
    /// There is no such link (`ENODEV`), it does not take that MTU (`EINVAL`), or the caller lacks
    /// `CAP_NET_ADMIN` (`EPERM`).
    pub fn set_mtu(&mut self, name: &str, mtu_bytes: u32) -> Result<()> {
        let mut message = named(name);
        message.attributes.push(LinkAttribute::Mtu(mtu_bytes));
        self.set("set mtu of", name, message)
    }

    /// Sets the hardware address, which must be that of one station (the lowest bit of the first
    /// byte clear).
    ///
    /// # Errors
    /// There is no such link (`ENODEV`), it does not take that address (`EADDRNOTAVAIL`, or `EBUSY`
    /// while up), or the caller lacks `CAP_NET_ADMIN` (`EPERM`).
    pub fn set_mac(&mut self, name: &str, mac: [u8; 6]) -> Result<()> {
        let mut message = named(name);
        message.attributes.push(LinkAttribute::Address(mac.to_vec()));
        self.set("set mac address of", name, message)
    }

    /// Adds an IPv4 address, and with it the route to its network.
    ///
    /// # Errors
    /// There is no such link (`ENODEV`), it has that address (`EEXIST`), or the caller lacks
    /// `CAP_NET_ADMIN` (`EPERM`).
    pub fn add_address(&mut self, name: &str, interface: Ipv4Interface) -> Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.prefix_len = interface.prefix_len;
        message.header.index = self.link(name)?.index;
        let address = interface.address.into();
        message.attributes =
            vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
        self.change(libc::RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &message)
            .map_err(|cause| Error::new("add address", format!("{interface} to {name}"), cause))
    }

    /// Adds a permanent neighbour: packets to `address` leave through `name` to `mac`, without ARP.
    /// An entry that is there is replaced.
    ///
    /// # Errors
    /// There is no such link (`ENODEV`), it is down (`ENETDOWN`), or the caller lacks
    /// `CAP_NET_ADMIN` (`EPERM`).
    pub fn add_neighbour(&mut self, name: &str, address: Ipv4Addr, mac: [u8; 6]) -> Result<()> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.ifindex = self.link(name)?.index;
        message.header.state = NeighbourState::Permanent;
        message.attributes = vec![
            NeighbourAttribute::Destination(address.into()),
            NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
        ];
        self.change(libc::RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &message)
            .map_err(|cause| Error::new("add neighbour", format!("{address} on {name}"), cause))
    }

    /// Returns what the kernel says about one link.
    ///
    /// # Errors
    /// There is no such link (`ENODEV`), or the reply is not understood.
    pub fn link(&mut self, name: &str) -> Result<LinkInfo> {
        let message = named(name);
        let request = Request { message_type: libc::RTM_GETLINK, flags: 0, body: &message };
        self.connection
            .query(&request, |_, body| LinkInfo::parse(body))
            .and_then(|links| {
                let link = links.into_iter().next();
                link.ok_or_else(|| Cause::Malformed("no reply".to_owned()))
            })
            .map_err(|cause| Error::new("read link", name, cause))
    }

    /// Returns every link of the namespace.
    ///
    /// # Errors
    /// The reply is not understood, or links change faster than they can be read.
    pub fn links(&mut self) -> Result<Vec<LinkInfo>> {
        let message = LinkMessage::default();
        let request = Request::dump(libc::RTM_GETLINK, &message);
        self.connection
            .query(&request, |_, body| LinkInfo::parse(body))
            .map_err(|cause| Error::new("list", "links", cause))
    }

    fn set(&mut self, operation: &'static str, name: &str, message: LinkMessage) -> Result<()> {
        self.change(libc::RTM_SETLINK, 0, &message)
            .map_err(|cause| Error::new(operation, name, cause))
    }

    pub(super) fn change(
        &mut self,
        message_type: u16,
        flags: u16,
        body: &dyn Emitable,
    ) -> std::result::Result<(), Cause> {
        self.connection.change(&Request { message_type, flags, body })
    }
}

impl LinkSpec {
    /// Describes a link by its name; all else is left to the kernel.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    fn message(&self) -> LinkMessage {
        let mut message = named(&self.name);
        message.attributes.extend(
            [
                self.mac.map(|mac| LinkAttribute::Address(mac.to_vec())),
                self.mtu.map(LinkAttribute::Mtu),
                self.rx_queues.map(LinkAttribute::NumRxQueues),
                self.tx_queues.map(LinkAttribute::NumTxQueues),
            ]
            .into_iter()
            .flatten(),
        );
        message
    }
}

impl fmt::Display for Ipv4Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

impl FromStr for Ipv4Interface {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.split_once('/')
            .and_then(|(address, prefix_len)| {
                let prefix_len = prefix_len.parse().ok().filter(|len| *len <= 32)?;
                Some(Self { address: address.parse().ok()?, prefix_len })
            })
            .ok_or_else(|| {
                let cause = Cause::Malformed("not of the form 10.0.0.1/24".to_owned());
                Error::new("read interface address", format!("{text:?}"), cause)
            })
    }
}

/// A message about the link called `name`.
pub(super) fn named(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_addresses_are_checked() {
        let interface: Ipv4Interface = "10.1.2.3/24".parse().unwrap();
        assert_eq!((interface.address, interface.prefix_len), (Ipv4Addr::new(10, 1, 2, 3), 24));
        assert_eq!(interface.to_string(), "10.1.2.3/24");
        for text in ["10.1.2.3", "10.1.2.3/33", "10.1.2/8", "10.1.2.3/", "::1/64", "10.1.2.3/-1"] {
            assert!(text.parse::<Ipv4Interface>().is_err(), "{text}");
        }
        let error = "x".parse::<Ipv4Interface>().unwrap_err();
        assert_eq!(error.to_string(), "read interface address \"x\": not of the form 10.0.0.1/24");
    }
}
