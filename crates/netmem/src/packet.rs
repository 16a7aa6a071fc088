//! Plain AF_PACKET sockets: whole frames sent and received by copy, promiscuous membership and that
//! of Ethernet groups.
//! What a test client or a slow path needs; the mapped packet rings are another thing.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use crate::{Error, Result, link::Link, sys::socket};

const ETH_P_ALL: u16 = 3;

/// Makes an interface receive every frame on its wire while this is held. The kernel undoes it when
/// the socket closes, however the process ends (PACKET_MR_PROMISC).
#[derive(Debug)]
pub struct Promiscuous {
    _fd: OwnedFd,
}

impl Promiscuous {
    /// Joins the promiscuous membership of `link`.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or when the interface is gone.
    pub fn join(link: &Link) -> Result<Self> {
        let join = || {
            let fd = socket::open_packet(0)?;
            socket::join_promiscuous(fd.as_fd(), link.index).map(|()| fd)
        };
        let fd = join().map_err(|error| {
            let error = Error::os("set promiscuous", &link.name, error);
            error.with_hint("joining PACKET_MR_PROMISC needs CAP_NET_RAW")
        })?;
        Ok(Self { _fd: fd })
    }
}

/// Makes an interface receive frames to Ethernet groups while this is held. The kernel undoes it
/// when the socket closes, however the process ends.
#[derive(Debug)]
pub struct Multicast {
    _fd: OwnedFd,
}

impl Multicast {
    /// Joins every group of `groups` on `link` (PACKET_MR_MULTICAST).
    ///
    /// # Errors
    /// Without CAP_NET_RAW, when the interface is gone, or when one of them is no group.
    pub fn join(link: &Link, groups: &[[u8; 6]]) -> Result<Self> {
        Self::join_by(link, "join multicast groups on", |fd| {
            groups.iter().try_for_each(|&group| socket::join_multicast(fd, link.index, group))
        })
    }

    /// Joins all groups of `link` (PACKET_MR_ALLMULTI).
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or when the interface is gone.
    pub fn join_all(link: &Link) -> Result<Self> {
        let join = |fd: BorrowedFd<'_>| socket::join_all_multicast(fd, link.index);
        Self::join_by(link, "join all multicast groups on", join)
    }

    fn join_by(
        link: &Link,
        operation: &'static str,
        join: impl Fn(BorrowedFd<'_>) -> io::Result<()>,
    ) -> Result<Self> {
        let joined = socket::open_packet(0).and_then(|fd| join(fd.as_fd()).map(|()| fd));
        let fd = joined.map_err(|error| {
            let error = Error::os(operation, &link.name, error);
            error.with_hint("joining groups by a packet socket needs CAP_NET_RAW")
        })?;
        Ok(Self { _fd: fd })
    }
}

/// Sends and receives whole Ethernet frames of one interface, by copy.
#[derive(Debug)]
pub struct FrameSocket {
    fd: OwnedFd,
    target: String,
    buffers: Vec<Box<[u8]>>,
    lens: Vec<usize>,
}

impl FrameSocket {
    /// Opens a socket on `link` that sees frames from the wire, not those sent by this host.
    /// `batch` frames of up to `frame_bytes` bytes are received per call.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or when the interface is gone.
    pub fn open(link: &Link, batch: usize, frame_bytes: usize) -> Result<Self> {
        let open = || -> io::Result<OwnedFd> {
            let fd = socket::open_packet(0)?;
            socket::ignore_outgoing(fd.as_fd())?;
            socket::set_receive_buffer(fd.as_fd(), 8 << 20)?;
            socket::bind_packet(fd.as_fd(), link.index, ETH_P_ALL)?;
            Ok(fd)
        };
        let fd = open().map_err(|error| Error::os("open packet socket on", &link.name, error))?;
        let buffers = (0..batch).map(|_| vec![0; frame_bytes].into_boxed_slice()).collect();
        Ok(Self { fd, target: link.name.clone(), buffers, lens: Vec::with_capacity(batch) })
    }

    /// Sends whole frames; returns how many of the first ones the kernel took. 0 means that it has
    /// no room now.
    ///
    /// # Errors
    /// When the interface is down or gone, or refuses a frame.
    pub fn send(&mut self, frames: &[&[u8]]) -> Result<usize> {
        if frames.is_empty() {
            return Ok(0);
        }
        match socket::send_many(self.fd.as_fd(), frames) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS)) => {
                Ok(0)
            }
            result => result.map_err(|error| Error::os("send frames on", &self.target, error)),
        }
    }

    /// Receives what is there and shows each frame to `visit`, cut to the `frame_bytes` of
    /// [`open`](Self::open); returns how many there were.
    ///
    /// # Errors
    /// When the interface is down or gone.
    pub fn receive(&mut self, mut visit: impl FnMut(&[u8])) -> Result<usize> {
        let got = match socket::receive_many(self.fd.as_fd(), &mut self.buffers, &mut self.lens) {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => 0,
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => 0,
            result => {
                result.map_err(|error| Error::os("receive frames on", &self.target, error))?
            }
        };
        for (buffer, &len) in self.buffers.iter().zip(&self.lens).take(got) {
            visit(&buffer[..len.min(buffer.len())]);
        }
        Ok(got)
    }

    /// Waits until a frame can be received, a signal came, or `timeout` is over.
    ///
    /// # Errors
    /// When poll(2) is refused.
    pub fn wait(&self, timeout: Duration) -> Result<()> {
        let result = socket::wait_readable(self.fd.as_fd(), timeout);
        result.map(drop).map_err(|error| Error::os("wait for frames on", &self.target, error))
    }
}
