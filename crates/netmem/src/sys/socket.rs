//! AF_PACKET sockets and poll(2).

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
    time::Duration,
};

use super::{check, socklen};

const AF_PACKET: u16 = 17;
const _: () = assert!(AF_PACKET as i32 == libc::AF_PACKET);
const PACKET_MR_PROMISC: u16 = 1;
const _: () = assert!(PACKET_MR_PROMISC as i32 == libc::PACKET_MR_PROMISC);
const PACKET_MR_MULTICAST: u16 = 0;
const _: () = assert!(PACKET_MR_MULTICAST as i32 == libc::PACKET_MR_MULTICAST);
const PACKET_MR_ALLMULTI: u16 = 2;
const _: () = assert!(PACKET_MR_ALLMULTI as i32 == libc::PACKET_MR_ALLMULTI);
const SO_PREFER_BUSY_POLL: i32 = 69;
const SO_BUSY_POLL_BUDGET: i32 = 70;

/// Opens an AF_PACKET socket that sees whole frames; `protocol` 0 receives nothing.
pub(crate) fn open_packet(protocol: u16) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no pointers are involved.
    let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, i32::from(protocol.to_be())) })?;
    // SAFETY: the descriptor is new and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Binds an AF_PACKET socket to one interface.
pub(crate) fn bind_packet(fd: BorrowedFd<'_>, ifindex: u32, protocol: u16) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: AF_PACKET,
        sll_protocol: protocol.to_be(),
        sll_ifindex: ifindex.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the kernel reads `size_of::<sockaddr_ll>()` bytes of `address`.
    check(unsafe {
        libc::bind(fd.as_raw_fd(), ptr::from_ref(&address).cast(), socklen::<libc::sockaddr_ll>())
    })
    .map(drop)
}

/// Joins the promiscuous membership of an interface; the kernel leaves it when the socket closes.
pub(crate) fn join_promiscuous(fd: BorrowedFd<'_>, ifindex: u32) -> io::Result<()> {
    join(fd, ifindex, PACKET_MR_PROMISC, None)
}

/// Joins one Ethernet group of an interface; the kernel leaves it when the socket closes.
pub(crate) fn join_multicast(fd: BorrowedFd<'_>, ifindex: u32, group: [u8; 6]) -> io::Result<()> {
    if group[0] & 1 == 0 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    join(fd, ifindex, PACKET_MR_MULTICAST, Some(group))
}

/// Joins all groups of an interface; the kernel leaves them when the socket closes.
pub(crate) fn join_all_multicast(fd: BorrowedFd<'_>, ifindex: u32) -> io::Result<()> {
    join(fd, ifindex, PACKET_MR_ALLMULTI, None)
}

fn join(fd: BorrowedFd<'_>, ifindex: u32, kind: u16, group: Option<[u8; 6]>) -> io::Result<()> {
    let [a, b, c, d, e, f] = group.unwrap_or_default();
    let request = libc::packet_mreq {
        mr_ifindex: ifindex.cast_signed(),
        mr_type: kind,
        mr_alen: if group.is_some() { 6 } else { 0 },
        mr_address: [a, b, c, d, e, f, 0, 0],
    };
    set_option(fd, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
}

/// Sets the receive buffer past the sysctl limit where the capability allows, else up to it.
pub(crate) fn set_receive_buffer(fd: BorrowedFd<'_>, len_bytes: i32) -> io::Result<()> {
    set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &len_bytes)
        .or_else(|_| set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, &len_bytes))
}

/// Leaves out frames that this host sent (kernel 4.20).
pub(crate) fn ignore_outgoing(fd: BorrowedFd<'_>) -> io::Result<()> {
    const PACKET_IGNORE_OUTGOING: i32 = 23;
    set_option(fd, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1i32)
}

/// Lets the calls on a socket poll the driver (kernel 5.11).
pub(crate) fn set_busy_poll(fd: BorrowedFd<'_>, timeout_us: u32, budget: u16) -> io::Result<()> {
    let budget = i32::from(budget);
    set_option(fd, libc::SOL_SOCKET, SO_PREFER_BUSY_POLL, &1i32)?;
    set_option(fd, libc::SOL_SOCKET, libc::SO_BUSY_POLL, &timeout_us)?;
    set_option(fd, libc::SOL_SOCKET, SO_BUSY_POLL_BUDGET, &budget)
}

fn set_option<T>(fd: BorrowedFd<'_>, level: i32, option: i32, value: &T) -> io::Result<()> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of `value`, which lives across the call.
    check(unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, option, ptr::from_ref(value).cast(), socklen::<T>())
    })
    .map(drop)
}

/// Sends each frame of `frames`; returns how many the kernel took.
pub(crate) fn send_many(fd: BorrowedFd<'_>, frames: &[&[u8]]) -> io::Result<usize> {
    let mut parts: Vec<libc::iovec> = frames
        .iter()
        .map(|frame| libc::iovec {
            iov_base: frame.as_ptr().cast_mut().cast(),
            iov_len: frame.len(),
        })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = parts.iter_mut().map(message).collect();
    let count = u32::try_from(messages.len()).map_err(io::Error::other)?;
    // SAFETY: `messages` holds `count` headers, each with one part that points at a frame; all of
    // them live across the call and the kernel only reads the frames.
    let sent = check(unsafe {
        libc::sendmmsg(fd.as_raw_fd(), messages.as_mut_ptr(), count, libc::MSG_DONTWAIT)
    })?;
    Ok(sent.cast_unsigned() as usize)
}

/// Receives up to `buffers.len()` frames; `lens` gets the length of each before truncation.
pub(crate) fn receive_many(
    fd: BorrowedFd<'_>,
    buffers: &mut [Box<[u8]>],
    lens: &mut Vec<usize>,
) -> io::Result<usize> {
    lens.clear();
    let mut parts: Vec<libc::iovec> = buffers
        .iter_mut()
        .map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = parts.iter_mut().map(message).collect();
    let count = u32::try_from(messages.len()).map_err(io::Error::other)?;
    let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
    // SAFETY: `messages` holds `count` headers, each with one part that points at a buffer of the
    // length it names; all live across the call, and the buffers are borrowed mutably here.
    let got = check(unsafe {
        libc::recvmmsg(fd.as_raw_fd(), messages.as_mut_ptr(), count, flags, ptr::null_mut())
    })?;
    let got = got.cast_unsigned() as usize;
    lens.extend(messages[..got].iter().map(|message| message.msg_len as usize));
    Ok(got)
}

fn message(part: &mut libc::iovec) -> libc::mmsghdr {
    let header = libc::msghdr {
        msg_name: ptr::null_mut(),
        msg_namelen: 0,
        msg_iov: part,
        msg_iovlen: 1,
        msg_control: ptr::null_mut(),
        msg_controllen: 0,
        msg_flags: 0,
    };
    libc::mmsghdr { msg_hdr: header, msg_len: 0 }
}

/// Waits until `fd` is readable, an error is pending, a signal came or `timeout` is over; the
/// returned events are 0 in the last two cases.
pub(crate) fn wait_readable(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<i16> {
    wait_for(fd, libc::POLLIN, timeout)
}

/// Waits for any of `events`, as [`wait_readable`] does.
pub(crate) fn wait_for(fd: BorrowedFd<'_>, events: i16, timeout: Duration) -> io::Result<i16> {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: one entry is passed, with count 1, and it lives across the call.
    match check(unsafe { libc::poll(&raw mut entry, 1, timeout_ms) }) {
        Ok(_) => Ok(entry.revents),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        Err(error) => Err(error),
    }
}

/// Tries to lift the locked-memory limit, which pinning a UMEM counts against without CAP_IPC_LOCK.
pub(crate) fn lift_memlock() -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the kernel reads one `rlimit` that lives across the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) }).map(drop)
}

/// The soft limit of locked memory in bytes; `None` when unlimited.
pub(crate) fn memlock_bytes() -> io::Result<Option<u64>> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one `rlimit`, which lives across the call.
    check(unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) })?;
    Ok((limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur))
}

/// Returns the error that is pending on a socket, and clears it.
pub(crate) fn pending_error(fd: BorrowedFd<'_>) -> io::Result<()> {
    match int_option(fd, libc::SO_ERROR)? {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Whether the calls on a socket poll the driver, and for how many microseconds.
#[cfg(any(test, feature = "test-util"))]
pub(crate) fn busy_poll(fd: BorrowedFd<'_>) -> io::Result<(bool, i32)> {
    Ok((int_option(fd, SO_PREFER_BUSY_POLL)? != 0, int_option(fd, libc::SO_BUSY_POLL)?))
}

fn int_option(fd: BorrowedFd<'_>, option: i32) -> io::Result<i32> {
    let mut value = 0i32;
    let mut len = socklen::<i32>();
    // SAFETY: the kernel writes at most `len` bytes to `value`; both live across the call.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            ptr::from_mut(&mut value).cast(),
            &raw mut len,
        )
    })?;
    Ok(value)
}
