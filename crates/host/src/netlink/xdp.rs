//! How an XDP program sits on a link, and taking one off that no BPF link holds.

use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_route::link::{LinkAttribute, LinkXdp};
use nix::libc;

use super::route::{Route, named};
use super::{XdpAttached, XdpMode};
use crate::error::{Cause, Error, Result};

// include/uapi/linux/if_link.h
const XDP_FLAGS_UPDATE_IF_NOEXIST: u32 = 1;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
const XDP_FLAGS_HW_MODE: u32 = 1 << 3;
const XDP_FLAGS_REPLACE: u32 = 1 << 4;
/// The number that stands for no program.
const NO_PROGRAM: i32 = -1;

/// What keeps an XDP program on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XdpAttachment {
    /// A BPF link: until that is detached or its last descriptor or pin goes.
    Link,
    /// The interface itself: until somebody takes it off by route netlink.
    Netlink,
}

impl Route {
    /// Tells what keeps the program of this mode on an interface; `None` without a program.
    ///
    /// Nothing else tells a link of this namespace from one of another namespace that has an
    /// interface of the same index. Asked by a request that changes nothing: replace no program by
    /// no program. Where a link is, the kernel refuses that with `EBUSY`, and where another program
    /// is, with `EEXIST` (`dev_xdp_attach` in net/core/dev.c, 6.18).
    ///
    /// # Errors
    /// There is no such interface (`ENODEV`), or the caller lacks `CAP_NET_ADMIN` (`EPERM`).
    pub fn xdp_attachment(&mut self, name: &str, mode: XdpMode) -> Result<Option<XdpAttachment>> {
        let nothing = NO_PROGRAM.cast_unsigned();
        let expected = LinkXdp::ExpectedFd(nothing);
        let flags = flag(mode) | XDP_FLAGS_REPLACE;
        match self.set_program(name, NO_PROGRAM, flags, Some(expected)) {
            Ok(()) => Ok(None),
            Err(Cause::Kernel { errno: libc::EBUSY, .. }) => Ok(Some(XdpAttachment::Link)),
            Err(Cause::Kernel { errno: libc::EEXIST, .. }) => Ok(Some(XdpAttachment::Netlink)),
            Err(cause) => Err(Error::new("ask what holds the xdp program of", name, cause)),
        }
    }

    /// Attaches a program without a link, if the interface has none: it stays until somebody takes it
    /// off, whatever becomes of this process. A link is better wherever that is not what is wanted.
    ///
    /// # Errors
    /// There is no such interface (`ENODEV`), it has a program (`EBUSY`, `EEXIST`) or takes none of
    /// this mode (`EOPNOTSUPP`), or the caller lacks `CAP_NET_ADMIN` (`EPERM`).
    pub fn attach_xdp(&mut self, name: &str, program: impl AsFd, mode: XdpMode) -> Result<()> {
        let flags = flag(mode) | XDP_FLAGS_UPDATE_IF_NOEXIST;
        self.set_program(name, program.as_fd().as_raw_fd(), flags, None)
            .map_err(|cause| Error::new("attach xdp program to", name, cause))
    }

    /// Takes the program of this mode off an interface, if no link holds it.
    ///
    /// # Errors
    /// There is no such interface (`ENODEV`), a link holds the program (`EBUSY`), or the caller
    /// lacks `CAP_NET_ADMIN` (`EPERM`).
    pub fn detach_xdp(&mut self, name: &str, attached: XdpAttached) -> Result<()> {
        self.set_program(name, NO_PROGRAM, flag(attached.mode), None).map_err(|cause| {
            let target = format!("{} from {name}", attached.program_id);
            Error::new("detach xdp program", target, cause)
        })
    }

    fn set_program(
        &mut self,
        name: &str,
        program: i32,
        flags: u32,
        expected: Option<LinkXdp>,
    ) -> Result<(), Cause> {
        let mut xdp = vec![LinkXdp::Fd(program), LinkXdp::Flags(flags)];
        xdp.extend(expected);
        let mut message = named(name);
        message.attributes.push(LinkAttribute::Xdp(xdp));
        self.change(libc::RTM_SETLINK, 0, &message)
    }
}

fn flag(mode: XdpMode) -> u32 {
    match mode {
        XdpMode::Native => XDP_FLAGS_DRV_MODE,
        XdpMode::Generic => XDP_FLAGS_SKB_MODE,
        XdpMode::Hardware => XDP_FLAGS_HW_MODE,
    }
}
