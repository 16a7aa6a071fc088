//! Netlink as this crate asks it: one socket with one request in flight.
//!
//! A `Connection` belongs to the network namespace of the thread that opened it, for good, wherever
//! it is used later. It is connected to the kernel (port 0), so that no process can slip a reply in,
//! and replies are matched by sequence number. What is read is the kernel's, and is checked all the
//! same: a message that is cut short or does not add up is an error, never a panic.
//!
//! Generic netlink (ethtool, netdev) gives its families numbers at boot; a `Family` is a connection
//! with such a number. Kernel: extended acknowledgements need 4.12, ethtool netlink 5.6, the family
//! netdev 6.3.

use std::io;

use netlink_packet_core::{
    DefaultNla, Emitable, NLA_F_NESTED, NLM_F_ACK, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR,
    NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NetlinkBuffer, NetlinkHeader, NlasIterator,
    parse_i32, parse_u16,
};
use netlink_packet_generic::{
    GenlFamily, GenlHeader, GenlMessage,
    constants::CTRL_ATTR_FAMILY_ID,
    ctrl::{GenlCtrl, GenlCtrlCmd, nlas::GenlCtrlAttrs},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

/// The kernel sends dumps in pieces of at most 32 KiB (`netlink_dump`); twice that always fits.
pub(super) const DATAGRAM_CAPACITY_BYTES: usize = 64 << 10;
const HEADER_LEN_BYTES: usize = 16;
/// Length of `struct genlmsghdr`.
const GENERIC_HEADER_LEN_BYTES: usize = 4;
/// `NLMSGERR_ATTR_MSG`: the text of an extended acknowledgement.
const EXTACK_MESSAGE: u16 = 1;

/// Why a request was refused.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The request or its answer did not get through, or the answer is not understood.
    Io(io::Error),
    /// The kernel said no.
    Kernel { errno: i32, text: Option<String> },
}

impl Refusal {
    pub(super) fn into_io(self) -> io::Error {
        match self {
            Self::Io(error) => error,
            Self::Kernel { errno, .. } => io::Error::from_raw_os_error(errno),
        }
    }

    pub(super) fn errno(&self) -> Option<i32> {
        match self {
            Self::Io(_) => None,
            Self::Kernel { errno, .. } => Some(*errno),
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// One netlink socket with at most one request in flight.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Socket,
    sequence: u32,
    datagram: Vec<u8>,
}

impl Connection {
    /// Opens a socket of `protocol` (`NETLINK_*`) in the calling thread's network namespace.
    pub(super) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_ext_ack(true)?;
        // Errors then carry the request's header only, not the whole request.
        socket.set_cap_ack(true)?;
        Ok(Self { socket, sequence: 0, datagram: Vec::with_capacity(DATAGRAM_CAPACITY_BYTES) })
    }

    /// Sends one request and hands the body of each answer to `each`.
    pub(super) fn ask(
        &mut self,
        (message_type, flags): (u16, u16),
        body: &dyn Emitable,
        mut each: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), Refusal> {
        self.send(message_type, flags, body)?;
        loop {
            self.datagram.clear();
            let len_bytes =
                uninterrupted(|| self.socket.recv(&mut self.datagram, libc::MSG_TRUNC))?;
            if len_bytes > self.datagram.len() {
                return Err(malformed("an answer is longer than any may be").into());
            }
            if read(&self.datagram, self.sequence, &mut each)? {
                return Ok(());
            }
        }
    }

    fn send(&mut self, message_type: u16, flags: u16, body: &dyn Emitable) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let len_bytes = HEADER_LEN_BYTES + body.buffer_len();
        let mut header = NetlinkHeader::default();
        header.length = u32::try_from(len_bytes).map_err(io::Error::other)?;
        header.message_type = message_type;
        header.flags = flags | NLM_F_REQUEST | NLM_F_ACK;
        header.sequence_number = self.sequence;
        let mut message = vec![0; len_bytes];
        header.emit(&mut message);
        body.emit(&mut message[HEADER_LEN_BYTES..]);
        uninterrupted(|| self.socket.send(&message, 0)).map(drop)
    }
}

/// A connection to one family of generic netlink.
#[derive(Debug)]
pub(super) struct Family {
    connection: Connection,
    id: u16,
}

impl Family {
    /// Opens a socket in the calling thread's network namespace and looks `name` up.
    pub(super) fn open(name: &str) -> Result<Self, Refusal> {
        let mut connection = Connection::open(NETLINK_GENERIC)?;
        let lookup = GenlMessage::from_payload(GenlCtrl {
            cmd: GenlCtrlCmd::GetFamily,
            nlas: vec![GenlCtrlAttrs::FamilyName(name.to_owned())],
        });
        let mut id = None;
        connection.ask((lookup.payload.family_id(), 0), &lookup, |body| {
            for attribute in attributes(generic_body(body)) {
                if let (CTRL_ATTR_FAMILY_ID, value) = attribute? {
                    id = Some(parse_u16(value).map_err(io::Error::other)?);
                }
            }
            Ok(())
        })?;
        let id = id.ok_or_else(|| malformed("the answer has no family number"))?;
        Ok(Self { connection, id })
    }

    /// Sends `command` and hands the attributes of each answer to `each`.
    pub(super) fn ask(
        &mut self,
        command: u8,
        attributes: Vec<DefaultNla>,
        each: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), Refusal> {
        self.request(command, 0, attributes, each)
    }

    /// Asks for everything of a kind that fits `attributes`.
    pub(super) fn dump(
        &mut self,
        command: u8,
        attributes: Vec<DefaultNla>,
        each: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), Refusal> {
        self.request(command, NLM_F_DUMP, attributes, each)
    }

    fn request(
        &mut self,
        command: u8,
        flags: u16,
        attributes: Vec<DefaultNla>,
        mut each: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), Refusal> {
        let body = Command { header: GenlHeader { cmd: command, version: 1 }, attributes };
        self.connection.ask((self.id, flags), &body, |body| each(generic_body(body)))
    }
}

struct Command {
    header: GenlHeader,
    attributes: Vec<DefaultNla>,
}

impl Emitable for Command {
    fn buffer_len(&self) -> usize {
        GENERIC_HEADER_LEN_BYTES + self.attributes.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        let (header, attributes) = buffer.split_at_mut(GENERIC_HEADER_LEN_BYTES);
        self.header.emit(header);
        self.attributes.as_slice().emit(attributes);
    }
}

/// Wraps `children` into one nested attribute.
pub(super) fn nest(kind: u16, children: &[DefaultNla]) -> DefaultNla {
    let mut value = vec![0; children.buffer_len()];
    children.emit(&mut value);
    DefaultNla::new(kind | NLA_F_NESTED, value)
}

/// Walks the attributes of `bytes` as `(kind without flags, value)`.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = io::Result<(u16, &[u8])>> {
    NlasIterator::new(bytes).map(|attribute| {
        let attribute = attribute.map_err(io::Error::other)?;
        let (kind, len_bytes) = (attribute.kind(), attribute.value_length());
        Ok((kind, &attribute.into_inner()[4..4 + len_bytes]))
    })
}

/// Reads a string attribute, which may end in NUL.
pub(super) fn string(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

pub(super) fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Splits a datagram into its messages: `(type, sequence number, flags, body)`.
pub(super) fn messages(
    mut datagram: &[u8],
) -> impl Iterator<Item = io::Result<(u16, u32, u16, &[u8])>> {
    std::iter::from_fn(move || {
        if datagram.is_empty() {
            return None;
        }
        let Ok(header) = NetlinkBuffer::new_checked(datagram) else {
            datagram = &[];
            return Some(Err(malformed("a netlink message is cut short")));
        };
        let len_bytes = header.length() as usize;
        let body = &datagram[HEADER_LEN_BYTES..len_bytes];
        datagram = datagram.get(len_bytes.next_multiple_of(4)..).unwrap_or_default();
        Some(Ok((header.message_type(), header.sequence_number(), header.flags(), body)))
    })
}

fn generic_body(body: &[u8]) -> &[u8] {
    body.get(GENERIC_HEADER_LEN_BYTES..).unwrap_or_default()
}

/// Reads one datagram of an answer; gives whether it ends it.
fn read(
    datagram: &[u8],
    sequence: u32,
    each: &mut impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<bool, Refusal> {
    for message in messages(datagram) {
        let (message_type, number, flags, body) = message?;
        // Left over from a request that was given up.
        if number != sequence {
            continue;
        }
        if flags & NLM_F_DUMP_INTR != 0 {
            return Err(io::Error::other("interrupted by a change").into());
        }
        match message_type {
            NLMSG_NOOP => {}
            NLMSG_ERROR | NLMSG_DONE => {
                // The end of a dump may come without an errno.
                let (code, rest) = body.split_at_checked(4).unwrap_or((&[0; 4], &[]));
                let code = parse_i32(code).map_err(io::Error::other)?;
                if code == 0 {
                    return Ok(true);
                }
                let text = if message_type == NLMSG_ERROR { extack(rest, flags) } else { None };
                return Err(Refusal::Kernel { errno: code.saturating_abs(), text });
            }
            _ => each(body)?,
        }
    }
    Ok(false)
}

/// The text of an extended acknowledgement: behind the request's header, which is all that a capped
/// error repeats.
fn extack(repeated: &[u8], flags: u16) -> Option<String> {
    let request = repeated.get(..HEADER_LEN_BYTES)?;
    let skip = if flags & NLM_F_CAPPED != 0 {
        HEADER_LEN_BYTES
    } else {
        let len_bytes = u32::from_ne_bytes(request.get(..4)?.try_into().ok()?);
        (len_bytes as usize).next_multiple_of(4)
    };
    let found =
        attributes(repeated.get(skip..)?).flatten().find(|(kind, _)| *kind == EXTACK_MESSAGE);
    Some(string(found?.1).trim_end_matches(['\n', '.']).to_owned())
}

pub(super) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
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

    fn message(message_type: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let len = u32::try_from(HEADER_LEN_BYTES + body.len()).unwrap();
        let mut bytes = len.to_ne_bytes().to_vec();
        bytes.extend([message_type.to_ne_bytes(), flags.to_ne_bytes()].concat());
        bytes.extend([sequence.to_ne_bytes(), [0; 4]].concat());
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn refusal(flags: u16, echoed: &[u8], text: &str) -> Vec<u8> {
        let mut body = (-22i32).to_ne_bytes().to_vec();
        body.extend(echoed);
        let mut nla = vec![0; 4 + text.len() + 1];
        let len = u16::try_from(nla.len()).unwrap();
        nla[..2].copy_from_slice(&len.to_ne_bytes());
        nla[2..4].copy_from_slice(&EXTACK_MESSAGE.to_ne_bytes());
        nla[4..4 + text.len()].copy_from_slice(text.as_bytes());
        body.extend(nla);
        message(NLMSG_ERROR, flags, 7, &body)
    }

    fn bodies(datagram: &[u8]) -> (Vec<Vec<u8>>, Result<bool, Refusal>) {
        let mut bodies = Vec::new();
        let ended = read(datagram, 7, &mut |body| {
            bodies.push(body.to_vec());
            Ok(())
        });
        (bodies, ended)
    }

    #[test]
    fn an_answer_is_told_from_leftovers() {
        let stale = [message(NLMSG_ERROR, 0, 6, &[1; 4]), message(16, 2, 6, b"old.")].concat();
        let datagram = [stale, message(16, 2, 7, b"new.")].concat();
        let (found, ended) = bodies(&datagram);
        assert_eq!((found, ended.unwrap()), (vec![b"new.".to_vec()], false));
        for end in [message(NLMSG_DONE, 2, 7, &[]), message(NLMSG_ERROR, 0, 7, &[0; 4])] {
            assert!(bodies(&end).1.unwrap());
        }
        let interrupted = bodies(&message(16, NLM_F_DUMP_INTR, 7, b"half")).1.unwrap_err();
        assert_eq!(interrupted.errno(), None);
    }

    #[test]
    fn the_kernels_words_are_found() {
        let request = message(16, 5, 7, b"the whole request");
        for (flags, echoed) in [(NLM_F_CAPPED, &request[..16]), (0, &request[..])] {
            match bodies(&refusal(flags, echoed, "no room.")).1.unwrap_err() {
                Refusal::Kernel { errno: 22, text } => assert_eq!(text.as_deref(), Some("no room")),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn damaged_answers_are_errors_not_panics() {
        let nested = nest(3, &[DefaultNla::new(1, vec![1, 2, 3, 4])]);
        let mut body = vec![0; nested.buffer_len()];
        nested.emit(&mut body);
        let request = message(16, 5, 7, b"request!");
        let good = [message(16, 2, 7, &body), refusal(0, &request, "text")].concat();
        let mut walk = |body: &[u8]| attributes(body).try_for_each(|nla| nla.map(drop));
        for position in 0..good.len() {
            let cut = read(&good[..position], 7, &mut walk);
            assert!(!matches!(cut, Ok(true)), "{position}: an end that is not there");
            for value in 0..=255 {
                let mut damaged = good.clone();
                damaged[position] = value;
                let _ = read(&damaged, 7, &mut walk);
            }
        }
    }
}
