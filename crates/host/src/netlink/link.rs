//! What the kernel says about a link (`RTM_NEWLINK`).
//!
//! Only the attributes that are shown are parsed; a newer kernel's others are passed over.

use netlink_packet_core::{NlasIterator, Parseable, parse_i32, parse_string, parse_u8, parse_u32};
use netlink_packet_route::link::{self as wire, LinkHeader, LinkXdp};
use nix::libc;

use super::{attributes, string};
use crate::error::Cause;

/// Length of `struct ifinfomsg`.
const LINK_HEADER_LEN_BYTES: usize = 16;

/// A link: a network interface of the namespace that was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkInfo {
    /// Interface index, 1 and up, unique in its namespace.
    pub index: u32,
    /// Interface name.
    pub name: String,
    /// Hardware address, if it is one of 6 bytes.
    pub mac: Option<[u8; 6]>,
    /// Largest payload of a frame, in bytes, without the link header.
    pub mtu: u32,
    /// How many want every frame on its wire (`IFLA_PROMISCUITY`): memberships of packet sockets
    /// count here and do not show in the flags.
    pub promiscuity: u32,
    /// Interface flags.
    pub flags: LinkFlags,
    /// Operational state as of RFC 2863.
    pub oper_state: OperState,
    /// Receive queues allocated; the device may use fewer.
    pub rx_queues: u32,
    /// Transmit queues allocated; the device may use fewer.
    pub tx_queues: u32,
    /// Kind of a virtual link (`veth`, `bridge`, ...); none for hardware and loopback.
    pub kind: Option<String>,
    /// Queueing discipline; `noop` until the link has been operational, and drops all until then.
    pub qdisc: String,
    /// The attached XDP program. With one in the hardware and one in the host, the one that sees
    /// packets first.
    pub xdp: Option<XdpAttached>,
    /// All attached XDP programs, in the order in which they see packets: a device with a program of
    /// its own may have another one in the host.
    pub xdp_programs: Vec<XdpAttached>,
    /// Index of the link this one hangs on (`IFLA_LINK`): a veth's peer, a VLAN's lower device.
    pub peer_index: Option<u32>,
    /// Number, in the asked namespace, of the namespace where `peer_index` counts, if another.
    pub peer_netnsid: Option<i32>,
}

/// Flags of a link (`IFF_*`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkFlags {
    /// Set up by the administrator (`IFF_UP`).
    pub up: bool,
    /// The carrier is there (`IFF_LOWER_UP`).
    pub lower_up: bool,
    /// Receives all packets (`IFF_PROMISC`), on the administrator's word.
    pub promisc: bool,
    /// Leads back to this host (`IFF_LOOPBACK`).
    pub loopback: bool,
}

/// Operational state of a link (`IF_OPER_*`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OperState {
    /// The driver does not say; loopback stays in it.
    #[default]
    Unknown,
    /// A component is missing.
    NotPresent,
    /// Down.
    Down,
    /// Down because the link below is.
    LowerLayerDown,
    /// Under test.
    Testing,
    /// Waits for something outside, for example authentication.
    Dormant,
    /// Ready to pass packets.
    Up,
}

/// An XDP program on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XdpAttached {
    /// Where it runs.
    pub mode: XdpMode,
    /// The program's number among the BPF programs of the machine.
    pub program_id: u32,
}

/// Where an XDP program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver, before a socket buffer exists.
    Native,
    /// In the stack, on socket buffers.
    Generic,
    /// On the device itself.
    Hardware,
}

impl LinkInfo {
    /// Parses the body of an `RTM_NEWLINK` message.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Cause> {
        let header = LinkHeader::parse(body)?;
        let has = |flag| header.flags.contains(flag);
        let flags = LinkFlags {
            up: has(wire::LinkFlags::Up),
            lower_up: has(wire::LinkFlags::LowerUp),
            promisc: has(wire::LinkFlags::Promisc),
            loopback: has(wire::LinkFlags::Loopback),
        };
        let mut link = Self { index: header.index, flags, ..Self::default() };
        for attribute in attributes(&body[LINK_HEADER_LEN_BYTES..]) {
            let (kind, value) = attribute?;
            match kind {
                libc::IFLA_IFNAME => link.name = string(value),
                libc::IFLA_ADDRESS => link.mac = value.try_into().ok(),
                libc::IFLA_MTU => link.mtu = parse_u32(value)?,
                libc::IFLA_OPERSTATE => link.oper_state = OperState::new(parse_u8(value)?),
                libc::IFLA_NUM_RX_QUEUES => link.rx_queues = parse_u32(value)?,
                libc::IFLA_NUM_TX_QUEUES => link.tx_queues = parse_u32(value)?,
                libc::IFLA_QDISC => link.qdisc = string(value),
                libc::IFLA_PROMISCUITY => link.promiscuity = parse_u32(value)?,
                libc::IFLA_LINK => link.peer_index = Some(parse_u32(value)?),
                libc::IFLA_LINK_NETNSID => link.peer_netnsid = Some(parse_i32(value)?),
                libc::IFLA_LINKINFO => link.kind = parse_kind(value)?,
                libc::IFLA_XDP => {
                    link.xdp_programs = parse_xdp(value)?;
                    link.xdp = link.xdp_programs.first().copied();
                }
                _ => {}
            }
        }
        if link.name.is_empty() {
            return Err(Cause::Malformed(format!("link {} has no name", link.index)));
        }
        Ok(link)
    }
}

impl OperState {
    fn new(state: u8) -> Self {
        match wire::State::from(state) {
            wire::State::NotPresent => Self::NotPresent,
            wire::State::Down => Self::Down,
            wire::State::LowerLayerDown => Self::LowerLayerDown,
            wire::State::Testing => Self::Testing,
            wire::State::Dormant => Self::Dormant,
            wire::State::Up => Self::Up,
            _ => Self::Unknown,
        }
    }
}

fn parse_kind(info: &[u8]) -> Result<Option<String>, Cause> {
    for attribute in attributes(info) {
        if let (libc::IFLA_INFO_KIND, kind) = attribute? {
            return Ok(Some(parse_string(kind)?));
        }
    }
    Ok(None)
}

/// Reads `IFLA_XDP`. The program ids per mode are there since 4.20, and say what
/// `IFLA_XDP_ATTACHED` and `IFLA_XDP_PROG_ID` say for a single program.
fn parse_xdp(xdp: &[u8]) -> Result<Vec<XdpAttached>, Cause> {
    let (mut native, mut generic, mut hardware) = (None, None, None);
    for attribute in NlasIterator::new(xdp) {
        match LinkXdp::parse(&attribute?)? {
            LinkXdp::HwProgId(id) => hardware = Some((XdpMode::Hardware, id)),
            LinkXdp::DrvProgId(id) => native = Some((XdpMode::Native, id)),
            LinkXdp::SkbProgId(id) => generic = Some((XdpMode::Generic, id)),
            _ => {}
        }
    }
    let attached = [hardware, native, generic].into_iter().flatten();
    Ok(attached.map(|(mode, program_id)| XdpAttached { mode, program_id }).collect())
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable;
    use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkMessage};

    use super::*;

    fn emitted(xdp: Vec<LinkXdp>) -> Vec<u8> {
        let mut message = LinkMessage::default();
        message.header.index = 5;
        message.header.flags = wire::LinkFlags::Up | wire::LinkFlags::Promisc;
        message.attributes = vec![
            LinkAttribute::IfName("veth5".to_owned()),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 5]),
            LinkAttribute::Mtu(1400),
            LinkAttribute::OperState(wire::State::LowerLayerDown),
            LinkAttribute::Link(9),
            LinkAttribute::LinkNetNsId(0),
            LinkAttribute::LinkInfo(vec![wire::LinkInfo::Kind(InfoKind::Veth)]),
            LinkAttribute::Xdp(xdp),
        ];
        let mut body = vec![0; message.buffer_len()];
        message.emit(&mut body);
        body
    }

    #[test]
    fn a_link_is_read() {
        let link = LinkInfo::parse(&emitted(vec![
            LinkXdp::Attached(wire::XdpAttached::Multiple),
            LinkXdp::SkbProgId(7),
            LinkXdp::DrvProgId(8),
        ]))
        .unwrap();
        assert_eq!((link.index, link.name.as_str(), link.mtu), (5, "veth5", 1400));
        assert_eq!(link.mac, Some([2, 0, 0, 0, 0, 5]));
        assert!(link.flags.up && link.flags.promisc && !link.flags.lower_up);
        assert_eq!(link.oper_state, OperState::LowerLayerDown);
        assert_eq!((link.peer_index, link.peer_netnsid), (Some(9), Some(0)));
        assert_eq!(link.kind.as_deref(), Some("veth"));
        assert_eq!(link.xdp, Some(XdpAttached { mode: XdpMode::Native, program_id: 8 }));
        let generic = XdpAttached { mode: XdpMode::Generic, program_id: 7 };
        assert_eq!(link.xdp_programs, [link.xdp.unwrap(), generic]);
    }

    #[test]
    fn no_program_is_none() {
        let none = vec![LinkXdp::Attached(wire::XdpAttached::None)];
        assert_eq!(LinkInfo::parse(&emitted(none)).unwrap().xdp, None);
    }

    #[test]
    fn damaged_links_are_errors_not_panics() {
        let body = emitted(vec![LinkXdp::HwProgId(1)]);
        for position in 0..body.len() {
            let _ = LinkInfo::parse(&body[..position]);
            for value in [0, 1, 3, 0x80, 0xff] {
                let mut damaged = body.clone();
                damaged[position] = value;
                let _ = LinkInfo::parse(&damaged);
            }
        }
        assert!(LinkInfo::parse(&body[..LINK_HEADER_LEN_BYTES]).is_err(), "a link without a name");
    }
}
