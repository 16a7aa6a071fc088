//! What the kernel says of one interface, by rtnetlink: its index, address, size, and the XDP
//! program that sits on it; and why it refuses to attach one.

use std::{fmt, io, os::fd::AsRawFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CAPPED, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NlasIterator,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkFlags, LinkMessage, LinkXdp, XdpAttached},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::{Error, Result};

const XDP_FLAGS_UPDATE_IF_NOEXIST: u32 = 1;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
const EXTACK_MESSAGE: u16 = 1;

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
    /// The XDP program that sits on it.
    pub xdp: Option<AttachedProgram>,
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
            let answer = call(RouteNetlinkMessage::GetLink(request)).map_err(Refusal::into_io)?;
            answer.map(Self::from_message).ok_or_else(|| io::Error::other("no answer"))
        };
        find().map_err(|error| {
            let error = Error::os("find interface", name, error);
            error.with_hint("names are those of this network namespace: ip link shows them")
        })
    }

    fn from_message(message: LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            mac: None,
            mtu_bytes: 0,
            queues: 1,
            is_up: message.header.flags.contains(LinkFlags::Up),
            xdp: None,
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Mtu(mtu) => link.mtu_bytes = mtu,
                LinkAttribute::NumRxQueues(queues) | LinkAttribute::NumTxQueues(queues) => {
                    link.queues = link.queues.max(queues);
                }
                LinkAttribute::Address(address) => link.mac = address.try_into().ok(),
                LinkAttribute::Xdp(xdp) => link.xdp = attached(&xdp),
                _ => {}
            }
        }
        link
    }
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
        call(RouteNetlinkMessage::SetLink(request))
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

/// Why a request was refused.
enum Refusal {
    Io(io::Error),
    Kernel { errno: i32, text: Option<String> },
}

impl Refusal {
    fn into_io(self) -> io::Error {
        match self {
            Self::Io(error) => error,
            Self::Kernel { errno, .. } => io::Error::from_raw_os_error(errno),
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Sends one request and returns the link it answers with, if any.
fn call(message: RouteNetlinkMessage) -> std::result::Result<Option<LinkMessage>, Refusal> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.set_ext_ack(true)?;
    socket.set_cap_ack(true)?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK;
    header.sequence_number = 1;
    let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

    let mut link = None;
    loop {
        let mut datagram = Vec::with_capacity(64 << 10);
        socket.recv(&mut datagram, 0)?;
        let mut rest = &datagram[..];
        while !rest.is_empty() {
            let (step, done) = read(rest, &mut link)?;
            if done {
                return Ok(link);
            }
            rest = rest.get(step..).unwrap_or_default();
        }
    }
}

/// Reads one message: its length in bytes, and whether it ends the answer.
fn read(
    bytes: &[u8],
    link: &mut Option<LinkMessage>,
) -> std::result::Result<(usize, bool), Refusal> {
    let step = NetlinkBuffer::new_checked(bytes).map_err(io::Error::other)?.length() as usize;
    let message =
        NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes).map_err(io::Error::other)?;
    match message.payload {
        NetlinkPayload::Error(error) => match error.code {
            None => Ok((step, true)),
            Some(code) => {
                let text = extack(&error.header, message.header.flags);
                Err(Refusal::Kernel { errno: -code.get(), text })
            }
        },
        NetlinkPayload::Done(_) => Ok((step, true)),
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message)) => {
            *link = Some(message);
            Ok((step.next_multiple_of(4), false))
        }
        _ => Ok((step.next_multiple_of(4), false)),
    }
}

/// The text of an extended acknowledgement: behind the request's header, which is all that a capped
/// error repeats.
fn extack(repeated: &[u8], flags: u16) -> Option<String> {
    let request = NetlinkBuffer::new_checked(repeated.get(..16)?).ok();
    let skip = if flags & NLM_F_CAPPED != 0 {
        16
    } else {
        (request?.length() as usize).next_multiple_of(4)
    };
    let attributes = NlasIterator::new(repeated.get(skip..)?);
    let text = attributes.flatten().find(|nla| nla.kind() == EXTACK_MESSAGE)?;
    let text = String::from_utf8_lossy(text.value());
    Some(text.trim_end_matches(['\0', '\n', '.']).to_owned())
}

#[cfg(test)]
mod tests {
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
}
