//! Generic netlink: families of commands (ethtool, netdev, ...) under numbers given out at boot.

use netlink_packet_core::{DefaultNla, Emitable, NLA_F_NESTED, NLM_F_DUMP, parse_u16};
use netlink_packet_generic::constants::CTRL_ATTR_FAMILY_ID;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd, nlas::GenlCtrlAttrs};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};
use netlink_sys::protocols::NETLINK_GENERIC;

use super::{Connection, Request, attributes};
use crate::error::{Cause, Error, Result};

/// Length of `struct genlmsghdr`.
const GENERIC_HEADER_LEN_BYTES: usize = 4;

/// A connection to one family of generic netlink.
#[derive(Debug)]
pub(crate) struct Family {
    connection: Connection,
    id: u16,
    version: u8,
}

impl Family {
    /// Opens a socket in the calling thread's network namespace and looks `name` up.
    pub(crate) fn open(name: &str, version: u8) -> Result<Self> {
        let failed = |cause| Error::new("open generic netlink family", name, cause);
        let mut connection = Connection::open(NETLINK_GENERIC).map_err(|e| failed(e.into()))?;
        let lookup = GenlMessage::from_payload(GenlCtrl {
            cmd: GenlCtrlCmd::GetFamily,
            nlas: vec![GenlCtrlAttrs::FamilyName(name.to_owned())],
        });
        let request = Request { message_type: lookup.payload.family_id(), flags: 0, body: &lookup };
        let id = connection
            .query(&request, |_, body| {
                let mut id = None;
                for attribute in attributes(body.get(GENERIC_HEADER_LEN_BYTES..).unwrap_or(&[])) {
                    let (kind, value) = attribute?;
                    if kind == CTRL_ATTR_FAMILY_ID {
                        id = Some(parse_u16(value)?);
                    }
                }
                Ok(id)
            })
            .and_then(|ids| {
                let id = ids.into_iter().flatten().next();
                id.ok_or_else(|| Cause::Malformed("the reply has no family number".to_owned()))
            })
            .map_err(failed)?;
        Ok(Self { connection, id, version })
    }

    /// Sends `command` and returns the answers, each parsed from its attributes.
    pub(crate) fn query<T>(
        &mut self,
        command: u8,
        attributes: Vec<DefaultNla>,
        parse: impl FnMut(&[u8]) -> Result<T, Cause>,
    ) -> Result<Vec<T>, Cause> {
        self.ask(command, 0, attributes, parse)
    }

    /// Asks for everything of a kind, and returns the answers, each parsed from its attributes.
    pub(crate) fn dump<T>(
        &mut self,
        command: u8,
        parse: impl FnMut(&[u8]) -> Result<T, Cause>,
    ) -> Result<Vec<T>, Cause> {
        self.dump_some(command, Vec::new(), parse)
    }

    /// As [`dump`](Self::dump), of what `attributes` ask for.
    pub(crate) fn dump_some<T>(
        &mut self,
        command: u8,
        attributes: Vec<DefaultNla>,
        parse: impl FnMut(&[u8]) -> Result<T, Cause>,
    ) -> Result<Vec<T>, Cause> {
        self.ask(command, NLM_F_DUMP, attributes, parse)
    }

    fn ask<T>(
        &mut self,
        command: u8,
        flags: u16,
        attributes: Vec<DefaultNla>,
        mut parse: impl FnMut(&[u8]) -> Result<T, Cause>,
    ) -> Result<Vec<T>, Cause> {
        let header = GenlHeader { cmd: command, version: self.version };
        let body = Command { header, attributes };
        let request = Request { message_type: self.id, flags, body: &body };
        self.connection
            .query(&request, |_, reply| parse(reply.get(GENERIC_HEADER_LEN_BYTES..).unwrap_or(&[])))
    }
}

/// Wraps `children` into one nested attribute.
pub(crate) fn nest(kind: u16, children: &[DefaultNla]) -> DefaultNla {
    let mut value = vec![0; children.buffer_len()];
    children.emit(&mut value);
    DefaultNla::new(kind | NLA_F_NESTED, value)
}

/// Builds a string attribute with its ending NUL.
pub(crate) fn text(kind: u16, text: &str) -> DefaultNla {
    let mut value = text.as_bytes().to_vec();
    value.push(0);
    DefaultNla::new(kind, value)
}

struct Command {
    header: GenlHeader,
    attributes: Vec<DefaultNla>,
}

impl Emitable for Command {
    fn buffer_len(&self) -> usize {
        self.header.buffer_len() + self.attributes.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        let (header, attributes) = buffer.split_at_mut(self.header.buffer_len());
        self.header.emit(header);
        self.attributes.as_slice().emit(attributes);
    }
}
