//! What can only be found out by trying: sockets that are opened and closed again, none of them bound to
//! a queue, and one exchange over loopback.
//!
//! `MSG_ZEROCOPY` is tried on a TCP connection of this process with itself over 127.0.0.1. What a send
//! over loopback refers to is delivered to a receiver on the same machine, so the kernel copies it before
//! that (`skb_orphan_frags_rx` in net/core/dev.c, 6.18) and the notification says so
//! (`SO_EE_CODE_ZEROCOPY_COPIED`): the probe proves that the path is there and notifications come, not
//! that a device sends without a copy.

use std::{
    io::{self, IoSliceMut, Read},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::fd::{AsFd, AsRawFd},
    time::{Duration, Instant},
};

use io_uring::{IoUring, Probe, opcode};
use netmem_host::source::{Reading, SourceState, Unavailable};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, send, setsockopt, sockopt},
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// Names of the probes that can be asked for by name.
pub const XDP_SOCKET: &str = "AF_XDP socket";
/// As [`XDP_SOCKET`].
pub const ZEROCOPY: &str = "MSG_ZEROCOPY on loopback";

/// How long a notification may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// What is sent: more than any kernel copies for being small.
const MESSAGE_LEN_BYTES: usize = 16 << 10;
// include/uapi/linux/errqueue.h
const SO_EE_ORIGIN_ZEROCOPY: u8 = 5;
const SO_EE_CODE_ZEROCOPY_COPIED: u8 = 1;

nix::setsockopt_impl!(ZeroCopy, libc::SOL_SOCKET, libc::SO_ZEROCOPY, bool, sockopt::SetBool);

/// The socket option `SO_ZEROCOPY`.
#[derive(Debug, Clone, Copy)]
struct ZeroCopy;

/// What became of a send with `MSG_ZEROCOPY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The notification says that the kernel copied.
    Copied,
    /// It does not say so.
    Referred,
}

/// What io_uring offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uring {
    /// Whether it has `IORING_OP_SEND_ZC` (kernel 6.0).
    pub has_send_zc: bool,
}

/// Runs a probe, and says in words what came out.
///
/// # Errors
/// When it cannot be run, or was refused.
pub(crate) fn by_name(name: &str) -> Reading<String> {
    match name {
        XDP_SOCKET => xdp_socket().map(|()| "can be opened".to_owned()),
        ZEROCOPY => zerocopy().map(|sent| match sent {
            Sent::Copied => "works; copied, as always on loopback".to_owned(),
            Sent::Referred => "works; not copied".to_owned(),
        }),
        _ => Err(Unavailable::absent(name, "no such probe")),
    }
}

/// Opens an AF_XDP socket and closes it.
///
/// # Errors
/// Without `CAP_NET_RAW`, or when the kernel has no AF_XDP.
pub(crate) fn xdp_socket() -> Reading<()> {
    let opened = socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None);
    opened.map(drop).map_err(|errno| Unavailable::by_errno(XDP_SOCKET, errno.raw_os_error()))
}

/// Sends with `MSG_ZEROCOPY` over loopback, and reads what the notification says.
///
/// # Errors
/// When loopback is down, the kernel refuses, or no notification comes within a second.
pub(crate) fn zerocopy() -> Reading<Sent> {
    let unavailable = |error: io::Error| match error.kind() {
        io::ErrorKind::TimedOut => Unavailable {
            state: SourceState::Stale,
            source: ZEROCOPY.to_owned(),
            reason: error.to_string(),
        },
        _ => Unavailable::by_io(ZEROCOPY, &error),
    };
    exchange().map_err(unavailable)
}

fn exchange() -> io::Result<Sent> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let sender = TcpStream::connect_timeout(&listener.local_addr()?, PATIENCE)?;
    let (mut receiver, _) = listener.accept()?;
    receiver.set_read_timeout(Some(PATIENCE))?;
    setsockopt(&sender, ZeroCopy, &true)?;
    let message = vec![0x5a_u8; MESSAGE_LEN_BYTES];
    let flags = MsgFlags::from_bits_retain(libc::MSG_ZEROCOPY);
    let sent = send(sender.as_raw_fd(), &message, flags)?;
    // What is read ends the kernel's use of the message.
    let mut received = vec![0; sent];
    receiver.read_exact(&mut received)?;
    notification(&sender)
}

/// Waits for the notification of a send.
fn notification(sender: &TcpStream) -> io::Result<Sent> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut space = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in);
        let mut payload = [0_u8; 1];
        let mut parts = [IoSliceMut::new(&mut payload)];
        let fd = sender.as_raw_fd();
        match recvmsg::<SockaddrIn>(fd, &mut parts, Some(&mut space), MsgFlags::MSG_ERRQUEUE) {
            Ok(message) => {
                for control in message.cmsgs()? {
                    if let ControlMessageOwned::Ipv4RecvErr(error, _) = control
                        && error.ee_origin == SO_EE_ORIGIN_ZEROCOPY
                    {
                        let is_copied = error.ee_code & SO_EE_CODE_ZEROCOPY_COPIED != 0;
                        return Ok(if is_copied { Sent::Copied } else { Sent::Referred });
                    }
                }
            }
            Err(Errno::EAGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).map_err(io::Error::other)?;
        // Errors, which notifications are, need not be asked for.
        if poll(&mut [PollFd::new(sender.as_fd(), PollFlags::empty())], timeout)? == 0 {
            let late = "no notification within a second";
            return Err(io::Error::new(io::ErrorKind::TimedOut, late));
        }
    }
}

/// Makes a ring of io_uring with two entries, asks for its operations, and closes it.
///
/// # Errors
/// When the kernel has none, or it is turned off for this process.
pub(crate) fn io_uring() -> Reading<Uring> {
    let ask = || -> io::Result<Uring> {
        let ring = IoUring::new(2)?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        Ok(Uring { has_send_zc: probe.is_supported(opcode::SendZc::CODE) })
    };
    ask().map_err(|error| Unavailable::by_io("io_uring", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted and caught: the code not looked at (every send is then called referred).
    #[test]
    fn loopback_copies_and_says_so() {
        assert_eq!(zerocopy(), Ok(Sent::Copied));
    }

    #[test]
    fn a_probe_that_nobody_knows_is_absent() {
        assert_eq!(by_name("no such").unwrap_err().state, SourceState::Absent);
    }
}
