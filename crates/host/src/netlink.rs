//! Netlink: the kernel's own interface to links, addresses, neighbours and device features.
//!
//! ```text
//!   Route ----+                        request (sequence n, REQUEST | ACK [| DUMP])
//!   Ethtool --+-- Connection -- socket ------------------------------------------> kernel
//!   (others) -+      ^                                                               |
//!                    +------ replies n ... then ERROR n (errno or 0) or DONE n <-----+
//! ```
//! A `Connection` owns one socket and has one request in flight. The socket belongs to the
//! network namespace of the thread that opened it, for good: it may then be used from any thread,
//! and it keeps that namespace alive. It is connected to the kernel (port 0), so that no process
//! can slip a reply in (`netlink_getsockbyportid` in net/netlink/af_netlink.c refuses others), and
//! replies are matched by sequence number, so that the rest of an abandoned dump is never taken
//! for an answer. A dump that the kernel marks as interrupted by a change is asked for again.
//!
//! To add a protocol: hold a `Connection`, send `Request`s, parse bodies with `attributes`.
//!
//! Kernel: extended acknowledgements need 4.12; ethtool netlink with features needs 5.8.

mod ethtool;
mod generic;
mod link;
mod link_counters;
mod netdev;
mod route;
mod sock_diag;
mod xdp;

use std::io;

use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST,
    NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN, NetlinkBuffer, NetlinkHeader, NlasIterator,
    parse_i32,
};
use netlink_sys::{Socket, SocketAddr};
use nix::libc;

pub use self::ethtool::{DeviceRings, Ethtool, Feature, FeatureState, OffloadsOff, RingCounts};
pub use self::link::{LinkFlags, LinkInfo, OperState, XdpAttached, XdpMode};
pub use self::link_counters::LinkCounters;
pub use self::netdev::{
    Direction, Napi, Netdev, PagePool, PagePoolStatistics, Queue, QueueStatistics,
};
pub use self::route::{AdminState, Ipv4Interface, LinkSpec, Route};
pub use self::sock_diag::{
    InetDump, InetProtocol, InetSocket, PacketRing, PacketSocket, SockDiag, SocketMemory,
    SocketOptions, SocketState, SocketStatistics, TcpInfo, Umem, UnixSocket, XdpSocket,
};
pub use self::xdp::XdpAttachment;
use crate::error::Cause;

/// The kernel sends dumps in pieces of at most 32 KiB (`netlink_dump`); twice that always fits.
const DATAGRAM_CAPACITY_BYTES: usize = 64 * 1024;
/// How often a dump that was interrupted by a change is asked for again.
const DUMP_ATTEMPTS: u32 = 64;
const HEADER_LEN_BYTES: usize = 16;
/// `NLMSGERR_ATTR_MSG`: the text of an extended acknowledgement.
const EXTACK_MESSAGE: u16 = 1;

/// One netlink socket with at most one request in flight.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Socket,
    sequence: u32,
    datagram: Vec<u8>,
}

/// One request: its type, its flags beside `NLM_F_REQUEST | NLM_F_ACK`, and what follows the
/// header.
pub(crate) struct Request<'a> {
    pub(crate) message_type: u16,
    pub(crate) flags: u16,
    pub(crate) body: &'a dyn Emitable,
}

impl Connection {
    /// Opens a socket of `protocol` (`NETLINK_*`) in the calling thread's network namespace.
    pub(crate) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_ext_ack(true)?;
        // Errors then carry the request's header only, not the whole request.
        socket.set_cap_ack(true)?;
        Ok(Self { socket, sequence: 0, datagram: Vec::with_capacity(DATAGRAM_CAPACITY_BYTES) })
    }

    /// Sends a request that has no answer but its acknowledgement.
    pub(crate) fn change(&mut self, request: &Request<'_>) -> Result<(), Cause> {
        self.query(request, |_, _| Ok(())).map(drop)
    }

    /// Sends a request and returns its answers, each parsed from `(message type, body)`.
    ///
    /// With `NLM_F_DUMP` the answers are one consistent snapshot: an interrupted dump is repeated.
    pub(crate) fn query<T>(
        &mut self,
        request: &Request<'_>,
        mut parse: impl FnMut(u16, &[u8]) -> Result<T, Cause>,
    ) -> Result<Vec<T>, Cause> {
        first_whole(|| self.ask(request, &mut parse))
    }

    /// Sends a request and hands each answer, as `(message type, body)`, to `visit` where it lies in
    /// the receive buffer; nothing is kept. Says whether the dump was interrupted by a change: it is
    /// not asked for again, because `visit` cannot take back what it has seen.
    pub(crate) fn visit(
        &mut self,
        request: &Request<'_>,
        mut visit: impl FnMut(u16, &[u8]) -> Result<(), Cause>,
    ) -> Result<bool, Cause> {
        // A list of nothing takes no memory.
        self.ask(request, &mut visit).map(|answer| answer.interrupted)
    }

    fn ask<T>(
        &mut self,
        request: &Request<'_>,
        parse: &mut impl FnMut(u16, &[u8]) -> Result<T, Cause>,
    ) -> Result<Answer<T>, Cause> {
        let mut answer = Answer { sequence: self.send(request)?, ..Answer::default() };
        while !answer.complete {
            self.receive()?;
            answer.read(&self.datagram, parse)?;
        }
        Ok(answer)
    }

    /// Sends `request` under a new sequence number, which is returned.
    fn send(&mut self, request: &Request<'_>) -> Result<u32, Cause> {
        self.sequence = self.sequence.wrapping_add(1);
        let len_bytes = HEADER_LEN_BYTES + request.body.buffer_len();
        let mut header = NetlinkHeader::default();
        header.length = u32::try_from(len_bytes)
            .map_err(|_| Cause::Malformed(format!("request of {len_bytes} bytes is too long")))?;
        header.message_type = request.message_type;
        header.flags = request.flags | NLM_F_REQUEST | NLM_F_ACK;
        header.sequence_number = self.sequence;
        let mut message = vec![0; len_bytes];
        header.emit(&mut message);
        request.body.emit(&mut message[HEADER_LEN_BYTES..]);
        uninterrupted(|| self.socket.send(&message, 0))?;
        Ok(self.sequence)
    }

    /// Receives the next datagram, whole.
    fn receive(&mut self) -> Result<(), Cause> {
        self.datagram.clear();
        let len_bytes = uninterrupted(|| self.socket.recv(&mut self.datagram, libc::MSG_TRUNC))?;
        if len_bytes > self.datagram.len() {
            let room = self.datagram.len();
            return Err(Cause::Malformed(format!("reply of {len_bytes} bytes cut to {room}")));
        }
        Ok(())
    }
}

impl Request<'_> {
    /// A request for everything of a kind: `NLM_F_DUMP`.
    pub(crate) fn dump(message_type: u16, body: &dyn Emitable) -> Request<'_> {
        Request { message_type, flags: NLM_F_DUMP, body }
    }
}

/// What has been read of the answer to one request.
#[derive(Debug)]
struct Answer<T> {
    sequence: u32,
    items: Vec<T>,
    interrupted: bool,
    complete: bool,
}

// Not derived: that would ask for `T: Default`.
impl<T> Default for Answer<T> {
    fn default() -> Self {
        Self { sequence: 0, items: Vec::new(), interrupted: false, complete: false }
    }
}

impl<T> Answer<T> {
    /// Reads the messages of one datagram; an error message of the kernel is returned as `Err`.
    fn read(
        &mut self,
        mut datagram: &[u8],
        parse: &mut impl FnMut(u16, &[u8]) -> Result<T, Cause>,
    ) -> Result<(), Cause> {
        while !datagram.is_empty() && !self.complete {
            let message = NetlinkBuffer::new_checked(datagram)?;
            let next = (message.length() as usize).next_multiple_of(4);
            datagram = datagram.get(next..).unwrap_or_default();
            // Left over from a request that was given up.
            if message.sequence_number() != self.sequence {
                continue;
            }
            let (body, flags) = (message.payload(), message.flags());
            match message.message_type() {
                NLMSG_NOOP => {}
                NLMSG_OVERRUN => return Err(Cause::Malformed("replies were lost".to_owned())),
                NLMSG_ERROR => {
                    outcome(body, flags, Acknowledged::Request)?;
                    self.complete = true;
                }
                NLMSG_DONE => {
                    outcome(body, flags, Acknowledged::Dump)?;
                    self.interrupted |= flags & NLM_F_DUMP_INTR != 0;
                    self.complete = true;
                }
                message_type => {
                    self.interrupted |= flags & NLM_F_DUMP_INTR != 0;
                    self.items.push(parse(message_type, body)?);
                }
            }
        }
        Ok(())
    }
}

/// Returns what the first uninterrupted answer says; an interrupted one may hold a link twice or
/// miss one that was there all along.
fn first_whole<T>(mut ask: impl FnMut() -> Result<Answer<T>, Cause>) -> Result<Vec<T>, Cause> {
    for _ in 0..DUMP_ATTEMPTS {
        let answer = ask()?;
        if !answer.interrupted {
            return Ok(answer.items);
        }
    }
    Err(Cause::Unmet(format!("dump interrupted by changes {DUMP_ATTEMPTS} times in a row")))
}

/// What an errno in a reply is about; it decides where the attributes after it begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Acknowledged {
    /// `NLMSG_ERROR`: errno, then the request or its header, then attributes.
    Request,
    /// `NLMSG_DONE`: errno, then attributes.
    Dump,
}

/// Turns the body of an acknowledgement into success or the kernel's refusal.
fn outcome(body: &[u8], flags: u16, acknowledged: Acknowledged) -> Result<(), Cause> {
    // The end of a dump may come without an errno.
    let (code, rest) = body.split_at_checked(4).unwrap_or((&[0; 4], &[]));
    let code = parse_i32(code)?;
    if code == 0 {
        return Ok(());
    }
    let skip = match acknowledged {
        Acknowledged::Dump => 0,
        Acknowledged::Request if flags & NLM_F_CAPPED != 0 => HEADER_LEN_BYTES,
        Acknowledged::Request => {
            let len_bytes =
                NetlinkBuffer::new_checked(rest).map_or(rest.len(), |m| m.length() as usize);
            len_bytes.next_multiple_of(4)
        }
    };
    let explanation = rest
        .get(skip..)
        .filter(|_| flags & NLM_F_ACK_TLVS != 0)
        .and_then(|tail| attributes(tail).flatten().find(|(kind, _)| *kind == EXTACK_MESSAGE))
        .map(|(_, text)| string(text));
    Err(Cause::Kernel { errno: code.saturating_abs(), explanation })
}

/// Walks the attributes of `bytes` as `(kind without flags, value)`.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), Cause>> {
    NlasIterator::new(bytes).map(|attribute| {
        let attribute = attribute?;
        let (kind, len_bytes) = (attribute.kind(), attribute.value_length());
        Ok((kind, &attribute.into_inner()[4..4 + len_bytes]))
    })
}

/// Reads a `u32` of the host's order at `offset`.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Result<u32, Cause> {
    let number = bytes.get(offset..).and_then(<[u8]>::first_chunk);
    number.copied().map(u32::from_ne_bytes).ok_or_else(|| cut("number", bytes))
}

/// Reads a `u64` of the host's order at `offset`.
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> Result<u64, Cause> {
    let number = bytes.get(offset..).and_then(<[u8]>::first_chunk);
    number.copied().map(u64::from_ne_bytes).ok_or_else(|| cut("number", bytes))
}

/// Reads a number of the type `uint` of the netlink specifications: 4 or 8 bytes, as it needs.
pub(crate) fn uint(value: &[u8]) -> Result<u64, Cause> {
    match value.len() {
        4 => u32_at(value, 0).map(u64::from),
        8 => u64_at(value, 0),
        _ => Err(cut("number", value)),
    }
}

/// What is shorter than it must be.
pub(crate) fn cut(what: &str, bytes: &[u8]) -> Cause {
    Cause::Malformed(format!("a {what} cut to {} bytes", bytes.len()))
}

/// Reads a string attribute, which may end in NUL.
pub(crate) fn string(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds one message of a reply.
    fn message(message_type: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut header = NetlinkHeader::default();
        header.length = u32::try_from(HEADER_LEN_BYTES + body.len()).unwrap();
        header.message_type = message_type;
        header.flags = flags;
        header.sequence_number = sequence;
        let mut bytes = vec![0; HEADER_LEN_BYTES];
        header.emit(&mut bytes);
        bytes.extend_from_slice(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn read(answer: &mut Answer<Vec<u8>>, datagram: &[u8]) -> Result<(), Cause> {
        answer.read(datagram, &mut |_, body| Ok(body.to_vec()))
    }

    fn extack(text: &str) -> Vec<u8> {
        let len = u16::try_from(4 + text.len() + 1).unwrap();
        let mut bytes = [len.to_ne_bytes(), EXTACK_MESSAGE.to_ne_bytes()].concat();
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
        bytes
    }

    fn refusal(flags: u16, echoed: &[u8], text: &str) -> Vec<u8> {
        let mut body = (-22i32).to_ne_bytes().to_vec();
        body.extend_from_slice(echoed);
        body.extend_from_slice(&extack(text));
        message(NLMSG_ERROR, flags, 7, &body)
    }

    #[test]
    fn replies_of_other_requests_are_passed_over() {
        let mut answer = Answer { sequence: 7, ..Answer::default() };
        let stale = message(NLMSG_ERROR, 0, 6, &(-1i32).to_ne_bytes());
        let datagram = [
            stale,
            message(16, 2, 6, b"old."),
            message(16, 2, 7, b"new."),
            message(NLMSG_NOOP, 0, 7, b""),
        ]
        .concat();
        read(&mut answer, &datagram).unwrap();
        assert_eq!(
            (answer.items.as_slice(), answer.complete),
            ([b"new.".to_vec()].as_slice(), false)
        );
        read(&mut answer, &message(NLMSG_DONE, 2, 7, &[0; 4])).unwrap();
        assert!(answer.complete && !answer.interrupted);
    }

    #[test]
    fn an_interrupted_dump_is_known() {
        for at_end in [0, NLM_F_DUMP_INTR] {
            let mut answer = Answer { sequence: 7, ..Answer::default() };
            read(&mut answer, &message(16, NLM_F_DUMP_INTR ^ at_end, 7, b"link")).unwrap();
            read(&mut answer, &message(NLMSG_DONE, at_end, 7, &[])).unwrap();
            assert!(answer.complete && answer.interrupted);
        }
    }

    #[test]
    fn an_interrupted_dump_is_asked_for_again() {
        let answer = |attempt: u32, interrupted| {
            Ok(Answer { sequence: attempt, items: vec![attempt], interrupted, complete: true })
        };
        let mut attempts = 0..;
        let items = first_whole(|| attempts.next().map(|n| answer(n, n < 3)).unwrap());
        assert_eq!(items, Ok(vec![3]));
        let error = first_whole::<u32>(|| answer(0, true)).unwrap_err();
        assert_eq!(error.to_string(), "dump interrupted by changes 64 times in a row");
    }

    #[test]
    fn the_kernels_words_are_found() {
        let request = message(16, 5, 7, b"the whole request");
        let cases = [
            (refusal(NLM_F_ACK_TLVS | NLM_F_CAPPED, &request[..16], "no room"), Some("no room")),
            (refusal(NLM_F_ACK_TLVS, &request, "no room"), Some("no room")),
            (refusal(NLM_F_CAPPED, &request[..16], "not announced"), None),
        ];
        for (datagram, expected) in cases {
            let mut answer = Answer { sequence: 7, ..Answer::default() };
            let explanation = expected.map(str::to_owned);
            assert_eq!(read(&mut answer, &datagram), Err(Cause::Kernel { errno: 22, explanation }));
        }
        let mut body = (-95i32).to_ne_bytes().to_vec();
        body.extend_from_slice(&extack("no dump"));
        let mut answer = Answer { sequence: 7, ..Answer::default() };
        let refused = read(&mut answer, &message(NLMSG_DONE, NLM_F_ACK_TLVS | 2, 7, &body));
        let explanation = Some("no dump".to_owned());
        assert_eq!(refused, Err(Cause::Kernel { errno: 95, explanation }));
    }

    #[test]
    fn damaged_replies_are_errors_not_panics() {
        let good = [
            message(16, 2, 7, &extack("attribute")),
            refusal(NLM_F_ACK_TLVS, &message(16, 5, 7, b"request!"), "text"),
        ]
        .concat();
        let mut walk = |_, body: &[u8]| attributes(body).map(|a| a.map(|(_, v)| v.len())).sum();
        for len in 0..good.len() {
            let mut answer = Answer::<usize> { sequence: 7, ..Answer::default() };
            let _ = answer.read(&good[..len], &mut walk);
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = good.clone();
                damaged[len] = value;
                let mut answer = Answer::<usize> { sequence: 7, ..Answer::default() };
                let _ = answer.read(&damaged, &mut walk);
            }
        }
    }
}
