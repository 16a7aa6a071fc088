//! TCP, UDP, UDP-Lite and RAW sockets of a namespace, over IPv4 and IPv6.
//!
//! ```text
//!  struct inet_diag_req_v2, 56 bytes        struct inet_diag_msg, 72 bytes
//!   0 family  1 protocol  2 ext  3 pad       0 family  1 state  2 timer  3 retrans
//!   4 states  8 sockid (48)                  4 sockid (48)  52 expires  56 rqueue  60 wqueue
//!                                           64 uid  68 inode                then attributes
//!  struct inet_diag_sockid, 48 bytes
//!   0 source port  2 destination port (network order)  4 source (16)  20 destination (16)
//!  36 interface  40 cookie (8)
//! ```
//! A machine may have very many connections, so a dump keeps nothing: each socket is parsed from the
//! receive buffer into one record, which a closure looks at. What costs is what the kernel writes:
//! `TCP_INFO` takes the socket's lock and 280 bytes, so it is asked for only where wanted.
//!
//! The sockets change while they are listed, and the kernel does not say so for this family: one that
//! moves may be missing or be there twice. A kernel without `CONFIG_INET_RAW_DIAG` may answer a dump of
//! RAW with no rows and no error: [`sockets`](crate::sockets) tells that from none.
//!
//! Kernel: net/ipv4/inet_diag.c, `CONFIG_INET_DIAG`, `CONFIG_INET_UDP_DIAG`, `CONFIG_INET_RAW_DIAG`;
//! control groups 5.9, options 5.12.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netlink_packet_core::Emitable;
use nix::libc;
use serde::Serialize;

use super::{
    Request, SOCK_DIAG_BY_FAMILY, SockDiag, SocketMemory, TcpInfo, attributes, cut, u32_at, u64_at,
};
use crate::error::{Cause, Error, Result};

const REQUEST_LEN_BYTES: usize = 56;
const MESSAGE_LEN_BYTES: usize = 72;
const FAMILY_INET: u8 = 2;
const FAMILY_INET6: u8 = 10;
const _: () = assert!(libc::AF_INET == FAMILY_INET as i32 && libc::AF_INET6 == FAMILY_INET6 as i32);
// include/uapi/linux/inet_diag.h
const DIAG_INFO: u16 = 2;
const DIAG_SKMEMINFO: u16 = 7;
const DIAG_CGROUP_ID: u16 = 21;
const DIAG_SOCKOPT: u16 = 22;
/// Names of the bits of `struct inet_diag_sockopt`, in their order.
const OPTIONS: [&str; 11] = [
    "recverr",
    "is_icsk",
    "freebind",
    "hdrincl",
    "mc_loop",
    "transparent",
    "mc_all",
    "nodefrag",
    "bind_address_no_port",
    "recverr_rfc4884",
    "defer_connect",
];

/// Which sockets, and what of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct InetDump {
    protocol: InetProtocol,
    extensions: u8,
    states: u32,
    families: &'static [u8],
}

/// A protocol over IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InetProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// UDP-Lite; gone from kernels since 7.1.
    UdpLite,
    /// RAW sockets, of whatever protocol.
    Raw,
}

/// A socket over IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct InetSocket {
    /// Its protocol.
    pub protocol: InetProtocol,
    /// Its state; UDP and RAW have [`Established`](SocketState::Established) if connected, else
    /// [`Close`](SocketState::Close).
    pub state: SocketState,
    /// Its own address and port; the port of a RAW socket is its protocol.
    pub source: SocketAddr,
    /// The peer's address and port; zeros without one.
    pub destination: SocketAddr,
    /// Index of the interface that it is bound to; 0 if to none.
    pub ifindex: u32,
    /// Number of the socket among all that ever were, since boot.
    pub cookie: u64,
    /// Bytes received and not read. A TCP listener: connections that wait to be accepted.
    pub rqueue: u32,
    /// Bytes written and not acknowledged (TCP) or not sent (UDP). A TCP listener: how many connections
    /// may wait.
    pub wqueue: u32,
    /// User id of its owner.
    pub uid: u32,
    /// Number of the socket, as in the names of its descriptors: `socket:[123]`; 0 if no descriptor is
    /// left (orphan, TIME-WAIT) or there is none yet (waits to be accepted).
    pub inode: u32,
    /// Number of its control group in the hierarchy of version 2, if told.
    pub cgroup_id: Option<u64>,
    /// Its options, if told.
    pub options: Option<SocketOptions>,
    /// Its memory; none for connections without a full socket (TIME-WAIT, SYN-RECEIVED).
    pub memory: Option<SocketMemory>,
    /// How its connection does, if asked for.
    pub tcp: Option<TcpInfo>,
}

/// State of a socket, by the kernel's names (`TCP_*` in include/net/tcp_states.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[allow(missing_docs, reason = "RFC 9293 and the kernel say what they are")]
#[non_exhaustive]
pub enum SocketState {
    Established,
    SynSent,
    SynRecv,
    FinWait1,
    FinWait2,
    TimeWait,
    Close,
    CloseWait,
    LastAck,
    Listen,
    Closing,
    NewSynRecv,
    BoundInactive,
    /// A newer kernel's.
    Other(u8),
}

/// Options of a socket, as bits (`struct inet_diag_sockopt`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SocketOptions(u16);

impl InetDump {
    /// All sockets of a protocol, with their memory.
    pub fn new(protocol: InetProtocol) -> Self {
        let extensions = extension(DIAG_SKMEMINFO);
        Self { protocol, extensions, states: u32::MAX, families: &[FAMILY_INET, FAMILY_INET6] }
    }

    /// With [`TcpInfo`] too: more than doubles what the kernel does for each.
    pub fn with_tcp_info(self) -> Self {
        Self { extensions: self.extensions | extension(DIAG_INFO), ..self }
    }

    /// Without those over IPv6: where there are none, the kernel need not go through its table for them.
    pub fn without_ipv6(self) -> Self {
        Self { families: &[FAMILY_INET], ..self }
    }

    /// Without memory.
    pub fn without_memory(self) -> Self {
        Self { extensions: self.extensions & !extension(DIAG_SKMEMINFO), ..self }
    }

    /// Only sockets in one of these states.
    pub fn states(self, states: &[SocketState]) -> Self {
        let bits = states.iter().map(|state| 1u32.checked_shl(state.number().into()).unwrap_or(0));
        Self { states: bits.fold(0, |all, bit| all | bit), ..self }
    }

    /// Returns whose sockets.
    pub fn protocol(self) -> InetProtocol {
        self.protocol
    }

    /// Tells whether sockets of every state are asked for.
    pub fn is_of_all_states(self) -> bool {
        self.states == u32::MAX
    }
}

impl InetProtocol {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Udp, Self::UdpLite, Self::Raw];

    /// Its name, as in `/proc/net/sockstat`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::UdpLite => "UDPLITE",
            Self::Raw => "RAW",
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::UdpLite => 136,
            Self::Raw => 255,
        }
    }
}

impl SockDiag {
    /// Shows every socket that is asked for to `visit`, and returns how many there were.
    ///
    /// Nothing is allocated for a socket: what is to be kept has to be copied.
    ///
    /// # Errors
    /// The kernel cannot tell of that protocol (`ENOENT`), or the reply is not understood.
    pub fn for_each_inet(
        &mut self,
        dump: InetDump,
        mut visit: impl FnMut(&InetSocket),
    ) -> Result<u64> {
        let mut count = 0;
        for &family in dump.families {
            let request = InetRequest { family, dump };
            let request = Request::dump(SOCK_DIAG_BY_FAMILY, &request);
            let visited = self.connection.visit(&request, |_, body| {
                visit(&InetSocket::parse(dump.protocol, body)?);
                count += 1;
                Ok(())
            });
            let target = || format!("{} sockets", dump.protocol.name());
            visited.map_err(|cause| Error::new("list", target(), cause))?;
        }
        Ok(count)
    }
}

impl InetSocket {
    /// Parses an answer: `struct inet_diag_msg` and the attributes behind it.
    ///
    /// # Errors
    /// The bytes are cut, or tell of a socket of another family.
    pub fn parse(protocol: InetProtocol, body: &[u8]) -> Result<Self, Cause> {
        let header = body.first_chunk::<MESSAGE_LEN_BYTES>().ok_or_else(|| cut("socket", body))?;
        let family = header[0];
        let mut socket = Self {
            protocol,
            state: SocketState::new(header[1]),
            source: address(family, header, 4, 8)?,
            destination: address(family, header, 6, 24)?,
            ifindex: u32_at(header, 40)?,
            cookie: u64_at(header, 44)?,
            rqueue: u32_at(header, 56)?,
            wqueue: u32_at(header, 60)?,
            uid: u32_at(header, 64)?,
            inode: u32_at(header, 68)?,
            cgroup_id: None,
            options: None,
            memory: None,
            tcp: None,
        };
        for attribute in attributes(&body[MESSAGE_LEN_BYTES..]) {
            let (kind, value) = attribute?;
            match kind {
                DIAG_INFO => socket.tcp = Some(TcpInfo::parse(value)?),
                DIAG_SKMEMINFO => socket.memory = Some(SocketMemory::parse(value)?),
                DIAG_CGROUP_ID => socket.cgroup_id = Some(u64_at(value, 0)?),
                DIAG_SOCKOPT => socket.options = Some(SocketOptions::parse(value)?),
                _ => {}
            }
        }
        Ok(socket)
    }
}

impl SocketState {
    pub(super) fn new(number: u8) -> Self {
        match number {
            1 => Self::Established,
            2 => Self::SynSent,
            3 => Self::SynRecv,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            7 => Self::Close,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listen,
            11 => Self::Closing,
            12 => Self::NewSynRecv,
            13 => Self::BoundInactive,
            other => Self::Other(other),
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Established => 1,
            Self::SynSent => 2,
            Self::SynRecv => 3,
            Self::FinWait1 => 4,
            Self::FinWait2 => 5,
            Self::TimeWait => 6,
            Self::Close => 7,
            Self::CloseWait => 8,
            Self::LastAck => 9,
            Self::Listen => 10,
            Self::Closing => 11,
            Self::NewSynRecv => 12,
            Self::BoundInactive => 13,
            Self::Other(number) => number,
        }
    }
}

impl SocketOptions {
    /// The kernel's names of the options that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        (0..).zip(OPTIONS).filter(move |(bit, _)| self.0 & 1 << bit != 0).map(|(_, name)| name)
    }

    /// Reads the structure: bits from the lowest up, byte by byte.
    fn parse(value: &[u8]) -> Result<Self, Cause> {
        let bits = value.first_chunk::<2>().ok_or_else(|| cut("socket's options", value))?;
        Ok(Self(u16::from_le_bytes(*bits)))
    }
}

/// `struct inet_diag_req_v2`; a dump takes the socket's identity for nothing.
struct InetRequest {
    family: u8,
    dump: InetDump,
}

impl Emitable for InetRequest {
    fn buffer_len(&self) -> usize {
        REQUEST_LEN_BYTES
    }

    fn emit(&self, buffer: &mut [u8]) {
        buffer[..REQUEST_LEN_BYTES].fill(0);
        buffer[0] = self.family;
        buffer[1] = self.dump.protocol.number();
        buffer[2] = self.dump.extensions;
        buffer[4..8].copy_from_slice(&self.dump.states.to_ne_bytes());
    }
}

/// The bit that asks for an attribute.
fn extension(attribute: u16) -> u8 {
    1 << (attribute - 1)
}

/// Reads a port and an address, each in network order, at their places in the message.
fn address(family: u8, header: &[u8], port: usize, address: usize) -> Result<SocketAddr, Cause> {
    let octets = header.get(address..).and_then(<[u8]>::first_chunk::<16>);
    let octets = octets.ok_or_else(|| cut("address", header))?;
    let ip = match family {
        FAMILY_INET => IpAddr::V4(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3])),
        FAMILY_INET6 => IpAddr::V6(Ipv6Addr::from(*octets)),
        other => return Err(Cause::Malformed(format!("a socket of family {other}"))),
    };
    let port = header.get(port..).and_then(<[u8]>::first_chunk::<2>);
    let port = port.ok_or_else(|| cut("port", header))?;
    Ok(SocketAddr::new(ip, u16::from_be_bytes(*port)))
}
