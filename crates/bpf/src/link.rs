//! Links: a program attached to an interface, for as long as someone holds the link.
//!
//! An [`XdpLink`] owns the descriptor of an unpinned `bpf_link`: when it closes, by
//! [`XdpLink::detach`], by drop or because the process died, the kernel detaches the program. Two
//! things detach it earlier: the interface goes away, or somebody forces it ([`detach_by_id`]);
//! the link then stays as an object that leads nowhere ([`XdpLink::is_attached`]).
//!
//! Interface indices are those of a network namespace: of the calling thread's when attaching, of
//! the interface's own in [`LinkInfo`].
//!
//! Kernel: 5.15 or later (XDP links since 5.9). Attaching needs CAP_NET_ADMIN in the namespace.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use crate::{
    Error,
    program::{Program, collect_ids},
    sys::{self, RawLinkInfo},
};

const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
const BPF_LINK_TYPE_XDP: u32 = 6;
const NEEDS_SYS_ADMIN: &str = "needs CAP_SYS_ADMIN";

/// Where in the receive path a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachMode {
    /// In the driver, before the kernel makes a socket buffer; the driver must support it.
    Native,
    /// In the stack, on socket buffers (SKB mode): on every interface, and slower.
    Generic,
}

/// Type of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// A program on an interface.
    Xdp,
    /// Any other, as the kernel numbers it (`enum bpf_link_type`).
    Other(u32),
}

/// What the kernel says of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkInfo {
    /// Id, unique among links since boot.
    pub id: u32,
    /// Type of the link.
    pub link_type: LinkType,
    /// Id of the attached program.
    pub program_id: u32,
    /// Index of the interface in its own namespace; 0 once detached, and for links other than XDP.
    pub ifindex: u32,
}

impl LinkInfo {
    /// Asks the kernel about any link, by id.
    ///
    /// # Errors
    /// `ENOENT` if there is none (any more), `EPERM` without CAP_SYS_ADMIN.
    pub fn by_id(id: u32) -> Result<Self, Error> {
        let read = |fd: OwnedFd| Self::read(fd.as_fd());
        sys::link_get_fd_by_id(id)
            .and_then(read)
            .map_err(|e| by_id_error("read info of link", id, e))
    }

    /// Tells whether an XDP link still leads to an interface.
    pub fn is_attached(&self) -> bool {
        self.link_type == LinkType::Xdp && self.ifindex != 0
    }

    fn read(link: BorrowedFd<'_>) -> io::Result<Self> {
        let raw: RawLinkInfo = sys::obj_get_info_by_fd(link)?;
        let (link_type, ifindex) = match raw.link_type {
            BPF_LINK_TYPE_XDP => (LinkType::Xdp, raw.ifindex),
            other => (LinkType::Other(other), 0),
        };
        Ok(Self { id: raw.id, link_type, program_id: raw.prog_id, ifindex })
    }
}

/// Lists the ids of all links, of any type and namespace.
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN.
pub fn link_ids() -> Result<Vec<u32>, Error> {
    collect_ids(sys::link_get_next_id)
        .map_err(|e| Error::new("list links", "", e).hint_on(&[libc::EPERM], NEEDS_SYS_ADMIN))
}

/// Detaches any link, by id, whoever holds it; the holder's descriptor stays open.
///
/// # Errors
/// `ENOENT` if there is no such link, `EOPNOTSUPP` for link types that cannot be detached, `EPERM`
/// without CAP_SYS_ADMIN.
pub fn detach_by_id(link_id: u32) -> Result<(), Error> {
    let detach = |fd: OwnedFd| sys::link_detach(fd.as_fd());
    sys::link_get_fd_by_id(link_id)
        .and_then(detach)
        .map_err(|e| by_id_error("detach link", link_id, e))
}

/// A program attached to an interface until this is dropped.
#[derive(Debug)]
pub struct XdpLink {
    fd: OwnedFd,
    ifindex: u32,
}

impl XdpLink {
    /// Attaches `program` to the interface `ifindex` of the calling thread's network namespace.
    ///
    /// # Errors
    /// `EBUSY` or `EEXIST` if another program is attached there, `EINVAL` if there is no such
    /// interface or a driver refuses the program, `EOPNOTSUPP` if the driver has no native XDP.
    pub fn attach(program: &Program, ifindex: u32, mode: AttachMode) -> Result<Self, Error> {
        let (flags, mode) = match mode {
            AttachMode::Native => (XDP_FLAGS_DRV_MODE, "native"),
            AttachMode::Generic => (XDP_FLAGS_SKB_MODE, "generic"),
        };
        let fd = sys::link_create(program.as_fd(), ifindex, flags).map_err(|e| {
            let target = format!("{} to interface {ifindex} ({mode})", program.name());
            Error::new("attach xdp program", target, e)
                .hint_on(
                    &[libc::EBUSY, libc::EEXIST],
                    "another xdp program is attached to the interface",
                )
                .hint_on(
                    &[libc::EOPNOTSUPP],
                    "the driver has no native xdp; generic mode works on every interface",
                )
        })?;
        Ok(Self { fd, ifindex })
    }

    /// Detaches the program now and closes the link; dropping it does the same without an answer.
    ///
    /// # Errors
    /// What the kernel answers; the link is closed nonetheless. A link that was detached from
    /// outside is not an error.
    pub fn detach(self) -> Result<(), Error> {
        sys::link_detach(self.as_fd()).map_err(|e| self.error("detach xdp link", e))
    }

    /// Asks the kernel about the link.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn info(&self) -> Result<LinkInfo, Error> {
        LinkInfo::read(self.as_fd()).map_err(|e| self.error("read info of xdp link", e))
    }

    /// Asks the kernel whether the link still leads to its interface; `false` if the interface
    /// has gone or somebody detached the link.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn is_attached(&self) -> Result<bool, Error> {
        Ok(self.info()?.is_attached())
    }

    fn error(&self, operation: &'static str, source: io::Error) -> Error {
        Error::new(operation, format!("of interface {}", self.ifindex), source)
    }
}

impl AsFd for XdpLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn by_id_error(operation: &'static str, id: u32, source: io::Error) -> Error {
    Error::new(operation, format!("id {id}"), source).hint_on(&[libc::EPERM], NEEDS_SYS_ADMIN)
}
