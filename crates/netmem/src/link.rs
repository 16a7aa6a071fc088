//! What the kernel says of one interface: by rtnetlink its index, address, size, carrier and the XDP
//! program that sits on it, and why it refuses to attach one; by ethtool and netdev netlink what stands
//! behind it ([`LinkDetails`]); and what happens to it later ([`LinkWatch`]).
//!
//! A [`Link`] is what was so at one moment. Only the attributes that are used are read; a newer
//! kernel's others are passed over.

mod details;
mod ethtool;
mod event;
mod netdev;
mod netlink;
mod watch;

use std::{fmt, io, os::fd::AsRawFd};

use netlink_packet_core::{Parseable, parse_i32, parse_u8, parse_u32};
use netlink_packet_route::link::{
    LinkAttribute, LinkFlags, LinkHeader, LinkMessage, LinkXdp, XdpAttached,
};
use netlink_sys::protocols::NETLINK_ROUTE;

use self::netlink::{Connection, Refusal, attributes, malformed, string};
pub use self::{
    details::{LinkDetails, Told, Untold},
    ethtool::{Channels, DriverRings},
    event::LinkEvent,
    netdev::{RxMetadata, XdpFeatures, XskFeatures},
    watch::LinkWatch,
};
use crate::{Error, Result};

const XDP_FLAGS_UPDATE_IF_NOEXIST: u32 = 1;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
/// Length of `struct ifinfomsg`.
const LINK_HEADER_LEN_BYTES: usize = 16;

/// An interface, as the calling thread's network namespace has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The interface's index, 1 or more.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its Ethernet address; `None` for an interface without one.
    pub mac: Option<[u8; 6]>,
    /// The largest packet behind the Ethernet header, in bytes.
    pub mtu_bytes: u32,
    /// Receive or transmit queues that it was made with, whichever are more; it may use fewer.
    pub queues: u32,
    /// Whether it is administratively up.
    pub is_up: bool,
    /// Whether it has a carrier: a cable with somebody at its other end, or a peer that is up.
    pub has_carrier: Option<bool>,
    /// How often the carrier came or went since the interface was made; it wraps at 2^32.
    pub carrier_changes: Option<u32>,
    /// Its operational state.
    pub oper_state: OperState,
    /// The kind of a virtual interface, such as `veth`; `None` for a device and for loopback.
    pub kind: Option<String>,
    /// The other end of a veth.
    pub peer: Option<Peer>,
    /// The XDP program that sits on it.
    pub xdp: Option<AttachedProgram>,
    /// Bus and name of the device behind it.
    parent: Option<(String, String)>,
}

/// The other end of a veth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its index, in its own network namespace.
    pub index: u32,
    /// The number that this network namespace has for the peer's; `None` if they are the same.
    pub netns_id: Option<i32>,
}

/// Operational state of an interface, as of RFC 2863 (`IF_OPER_*`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OperState {
    /// The driver does not say; loopback stays in it.
    #[default]
    Unknown,
    /// A component is missing.
    NotPresent,
    /// Down.
    Down,
    /// Down because what is below it is: for a veth, its peer.
    LowerLayerDown,
    /// Under test.
    Testing,
    /// Waits for something outside, such as authentication.
    Dormant,
    /// Ready to pass packets.
    Up,
}

/// An XDP program on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttachedProgram {
    /// Its id in the kernel.
    pub id: u32,
    /// How it is attached.
    pub mode: &'static str,
}

impl fmt::Display for AttachedProgram {
    /// `native program "name" id 12`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = netmem_bpf::ProgramInfo::by_id(self.id).map(|info| info.name);
        let name = name.unwrap_or_default();
        write!(f, "{} program \"{name}\" id {}", self.mode, self.id)
    }
}

impl Link {
    /// Looks an interface up by name.
    ///
    /// # Errors
    /// When there is none of that name in this network namespace.
    pub fn by_name(name: &str) -> Result<Self> {
        let mut request = LinkMessage::default();
        request.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let find = || -> io::Result<Self> {
            if name.is_empty() || name.len() > 15 {
                return Err(io::Error::from_raw_os_error(libc::ENODEV));
            }
            Self::ask(&mut Connection::open(NETLINK_ROUTE)?, &request).map_err(Refusal::into_io)
        };
        find().map_err(|error| {
            let error = Error::os("find interface", name, error);
            error.with_hint("names are those of this network namespace: ip link shows them")
        })
    }

    /// Bus and name of the device behind it, such as `pci` and `0000:00:03.0`; `None` for a virtual
    /// interface, and before kernel 5.14.
    #[must_use]
    pub fn device(&self) -> Option<(&str, &str)> {
        self.parent.as_ref().map(|(bus, name)| (bus.as_str(), name.as_str()))
    }

    /// Asks for an interface by index, in the connection's network namespace.
    fn by_index(connection: &mut Connection, index: u32) -> std::result::Result<Self, Refusal> {
        let mut request = LinkMessage::default();
        request.header.index = index;
        Self::ask(connection, &request)
    }

    fn ask(
        connection: &mut Connection,
        request: &LinkMessage,
    ) -> std::result::Result<Self, Refusal> {
        let mut link = None;
        connection.ask((libc::RTM_GETLINK, 0), request, |body| {
            link = Some(Self::parse(body)?);
            Ok(())
        })?;
        link.ok_or_else(|| io::Error::other("no answer").into())
    }

    /// Reads the body of an `RTM_NEWLINK` message.
    fn parse(body: &[u8]) -> io::Result<Self> {
        let header = LinkHeader::parse(body).map_err(io::Error::other)?;
        let mut link = Self {
            index: header.index,
            name: String::new(),
            mac: None,
            mtu_bytes: 0,
            queues: 1,
            is_up: header.flags.contains(LinkFlags::Up),
            has_carrier: None,
            carrier_changes: None,
            oper_state: OperState::Unknown,
            kind: None,
            peer: None,
            xdp: None,
            parent: None,
        };
        let (mut below, mut netns_id, mut device, mut bus) = (None, None, None, None);
        for attribute in attributes(body.get(LINK_HEADER_LEN_BYTES..).unwrap_or_default()) {
            let (kind, value) = attribute?;
            let number = || parse_u32(value).map_err(io::Error::other);
            let byte = || parse_u8(value).map_err(io::Error::other);
            match kind {
                libc::IFLA_IFNAME => link.name = string(value),
                libc::IFLA_MTU => link.mtu_bytes = number()?,
                libc::IFLA_NUM_RX_QUEUES | libc::IFLA_NUM_TX_QUEUES => {
                    link.queues = link.queues.max(number()?);
                }
                libc::IFLA_ADDRESS => link.mac = value.try_into().ok(),
                libc::IFLA_CARRIER => link.has_carrier = Some(byte()? != 0),
                libc::IFLA_CARRIER_CHANGES => link.carrier_changes = Some(number()?),
                libc::IFLA_OPERSTATE => link.oper_state = OperState::new(byte()?),
                libc::IFLA_LINKINFO => link.kind = parse_kind(value)?,
                libc::IFLA_LINK => below = Some(number()?),
                libc::IFLA_LINK_NETNSID => {
                    netns_id = Some(parse_i32(value).map_err(io::Error::other)?);
                }
                libc::IFLA_PARENT_DEV_NAME => device = Some(string(value)),
                libc::IFLA_PARENT_DEV_BUS_NAME => bus = Some(string(value)),
                libc::IFLA_XDP => link.xdp = parse_xdp(value)?,
                _ => {}
            }
        }
        if link.index == 0 || link.name.is_empty() {
            return Err(malformed("an interface without index or name"));
        }
        // Of other kinds, what is below: a VLAN's device, for example.
        let is_veth = link.kind.as_deref() == Some("veth");
        link.peer = below.filter(|_| is_veth).map(|index| Peer { index, netns_id });
        link.parent = bus.zip(device);
        Ok(link)
    }
}

impl OperState {
    fn new(state: u8) -> Self {
        match state {
            1 => Self::NotPresent,
            2 => Self::Down,
            3 => Self::LowerLayerDown,
            4 => Self::Testing,
            5 => Self::Dormant,
            6 => Self::Up,
            _ => Self::Unknown,
        }
    }
}

fn parse_kind(info: &[u8]) -> io::Result<Option<String>> {
    for attribute in attributes(info) {
        if let (libc::IFLA_INFO_KIND, kind) = attribute? {
            return Ok(Some(string(kind)));
        }
    }
    Ok(None)
}

fn parse_xdp(value: &[u8]) -> io::Result<Option<AttachedProgram>> {
    let mut xdp = Vec::new();
    for attribute in netlink_packet_core::NlasIterator::new(value) {
        let attribute = attribute.map_err(io::Error::other)?;
        xdp.push(LinkXdp::parse(&attribute).map_err(io::Error::other)?);
    }
    Ok(attached(&xdp))
}

fn attached(xdp: &[LinkXdp]) -> Option<AttachedProgram> {
    let mode = xdp.iter().find_map(|attribute| match attribute {
        LinkXdp::Attached(XdpAttached::Driver) => Some("native"),
        LinkXdp::Attached(XdpAttached::SocketBuffer) => Some("generic"),
        LinkXdp::Attached(XdpAttached::Hardware) => Some("offloaded"),
        LinkXdp::Attached(XdpAttached::Multiple) => Some("native and generic"),
        _ => None,
    })?;
    let id = xdp.iter().find_map(|attribute| match attribute {
        LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) => Some(*id),
        _ => None,
    })?;
    Some(AttachedProgram { id, mode })
}

/// Asks for the kernel's words on why `program` cannot be attached, which the attach by bpf(2) does
/// not give: by attaching it the older way, only if nothing is attached, and taking it off at once
/// if that works after all.
pub(crate) fn attach_refusal(
    ifindex: u32,
    program: &netmem_bpf::Program,
    mode: netmem_bpf::AttachMode,
) -> Option<String> {
    use std::os::fd::AsFd;
    let mode_flag = match mode {
        netmem_bpf::AttachMode::Native => XDP_FLAGS_DRV_MODE,
        netmem_bpf::AttachMode::Generic => XDP_FLAGS_SKB_MODE,
    };
    let set = |fd: i32, flags: u32| {
        let mut request = LinkMessage::default();
        request.header.index = ifindex;
        let attributes = vec![LinkXdp::Fd(fd), LinkXdp::Flags(flags | mode_flag)];
        request.attributes.push(LinkAttribute::Xdp(attributes));
        let mut connection = Connection::open(NETLINK_ROUTE)?;
        connection.ask((libc::RTM_SETLINK, 0), &request, |_| Ok(()))
    };
    match set(program.as_fd().as_raw_fd(), XDP_FLAGS_UPDATE_IF_NOEXIST) {
        Ok(_) => {
            // Nothing else can have come in between: attaching over it needs the flag left out.
            let _ = set(-1, 0);
            None
        }
        Err(Refusal::Kernel { text, .. }) => text,
        Err(Refusal::Io(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable;
    use netlink_packet_route::link::{InfoKind, LinkInfo, State};

    use super::*;

    #[test]
    fn the_loopback_interface_is_found_and_a_missing_one_is_named() {
        let lo = Link::by_name("lo").unwrap();
        assert_eq!((lo.index, lo.name.as_str()), (1, "lo"));
        assert!(lo.mtu_bytes > 0 && lo.xdp.is_none());
        for missing in ["", "nm-missing", "a-name-that-is-far-too-long"] {
            let error = Link::by_name(missing).unwrap_err();
            assert_eq!(error.errno(), Some(libc::ENODEV), "{error}");
        }
    }

    fn emitted(kind: InfoKind) -> Vec<u8> {
        let mut message = LinkMessage::default();
        message.header.index = 5;
        message.header.flags = LinkFlags::Up;
        message.attributes = vec![
            LinkAttribute::IfName("veth5".to_owned()),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 5]),
            LinkAttribute::Mtu(1400),
            LinkAttribute::NumTxQueues(4),
            LinkAttribute::NumRxQueues(3),
            LinkAttribute::Carrier(1),
            LinkAttribute::CarrierChanges(9),
            LinkAttribute::OperState(State::LowerLayerDown),
            LinkAttribute::Link(8),
            LinkAttribute::LinkNetNsId(0),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]),
            LinkAttribute::ParentDevName("0000:00:03.0".to_owned()),
            LinkAttribute::ParentDevBusName("pci".to_owned()),
            LinkAttribute::Xdp(vec![LinkXdp::Attached(XdpAttached::Driver), LinkXdp::ProgId(7)]),
        ];
        let mut body = vec![0; message.buffer_len()];
        message.emit(&mut body);
        body
    }

    #[test]
    fn an_interface_is_read() {
        let link = Link::parse(&emitted(InfoKind::Veth)).unwrap();
        let expected = Link {
            index: 5,
            name: "veth5".to_owned(),
            mac: Some([2, 0, 0, 0, 0, 5]),
            mtu_bytes: 1400,
            queues: 4,
            is_up: true,
            has_carrier: Some(true),
            carrier_changes: Some(9),
            oper_state: OperState::LowerLayerDown,
            kind: Some("veth".to_owned()),
            peer: Some(Peer { index: 8, netns_id: Some(0) }),
            xdp: Some(AttachedProgram { id: 7, mode: "native" }),
            parent: Some(("pci".to_owned(), "0000:00:03.0".to_owned())),
        };
        assert_eq!(link, expected);
        // What a VLAN hangs on is no other end.
        assert_eq!(Link::parse(&emitted(InfoKind::Vlan)).unwrap().peer, None);
    }

    #[test]
    fn damaged_interfaces_are_errors_not_panics() {
        let body = emitted(InfoKind::Veth);
        for position in 0..body.len() {
            let _ = Link::parse(&body[..position]);
            for value in [0, 1, 3, 0x7f, 0x80, 0xff] {
                let mut damaged = body.clone();
                damaged[position] = value;
                let _ = Link::parse(&damaged);
            }
        }
        assert!(Link::parse(&body[..LINK_HEADER_LEN_BYTES]).is_err(), "without a name");
    }
}
