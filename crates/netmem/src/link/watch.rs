//! Watches one interface: what the kernel says now against what it said at the last look.
//!
//! The state is polled, so a look never depends on every message having been read, and it costs a few
//! requests: twice a second from a control thread is plenty, never from a worker. What comes and goes
//! between two looks is told where the kernel counts it: the carrier. Messages about interfaces
//! (`RTNLGRP_LINK`) are read beside it for two things: to wake a poller early, and to tell an interface
//! that moved to another network namespace from one that is gone, since only the message that it has
//! left says which.
//!
//! The watch belongs to the network namespace of the thread that made it, wherever it is used later.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use netlink_packet_route::{AddressFamily, link::LinkHeader};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};

use super::{
    Link, LinkEvent,
    details::Questions,
    event::Snapshot,
    netlink::{
        Connection, DATAGRAM_CAPACITY_BYTES, Refusal, attributes, malformed, messages,
        uninterrupted,
    },
};
use crate::{Error, Result};

const LINK_HEADER_LEN_BYTES: usize = 16;
/// Messages read by one look; more of them wait for the next, or are lost, and the state tells.
const DATAGRAMS_PER_LOOK: usize = 4096;

/// Watches one interface of the network namespace that it was made in.
///
/// ```no_run
/// use netmem::link::{Link, LinkWatch};
///
/// let mut watch = LinkWatch::new(&Link::by_name("eth1")?)?;
/// for event in watch.look()? {
///     eprintln!("eth1 {event}");
/// }
/// # Ok::<(), netmem::Error>(())
/// ```
///
/// A control thread keeps the [`PortControl`](crate::xdp::PortControl)s of the interface's ports,
/// watches it, and ends the traffic when there can be none any more:
///
/// ```no_run
/// use std::{thread, time::Duration};
///
/// use netmem::{
///     link::{Link, LinkEvent, LinkWatch},
///     xdp::PortControl,
/// };
///
/// /// Watches the interface of ports that were bound and split, until it or their program has gone.
/// /// Each worker's port is closed after that, and the controls last.
/// fn watch(link: &Link, controls: &mut [PortControl]) -> Result<(), netmem::Error> {
///     let mut watch = LinkWatch::new(link)?;
///     loop {
///         for event in watch.look()? {
///             eprintln!("{} {event}", link.name);
///             match event {
///                 LinkEvent::Removed
///                 | LinkEvent::MovedNamespace
///                 | LinkEvent::ProgramDetached { .. } => {
///                     controls.iter_mut().for_each(PortControl::detach);
///                     return Ok(());
///                 }
///                 _ => {}
///             }
///         }
///         for control in &*controls {
///             let dropped = control.statistics()?.rx_dropped;
///             eprintln!("{}: {dropped} dropped", control.report());
///         }
///         thread::sleep(Duration::from_millis(500));
///     }
/// }
/// ```
#[derive(Debug)]
pub struct LinkWatch {
    route: Connection,
    questions: Questions,
    group: Group,
    last: Snapshot,
    longest_bytes: Option<u32>,
    has_left: bool,
}

impl LinkWatch {
    /// Begins to watch `link`; what happened since that was asked for comes with the first look. Make it
    /// after the ports on it are open, or their own program is the first event.
    ///
    /// # Errors
    /// When no netlink socket could be opened.
    pub fn new(link: &Link) -> Result<Self> {
        let failed = |error| Error::os("watch interface", &link.name, error);
        // First the messages, then the state: nothing falls in between.
        let group = Group::open(link.index).map_err(failed)?;
        let route = Connection::open(NETLINK_ROUTE).map_err(failed)?;
        let mut questions = Questions::open();
        let last = snapshot(link.clone(), &mut questions);
        Ok(Self { route, questions, group, last, longest_bytes: None, has_left: false })
    }

    /// Tells the longest packet that the ports take, in bytes with the Ethernet header: a frame less
    /// its headroom and the kernel's 256 bytes before it. An MTU above it is then said to lose packets.
    #[must_use]
    pub fn longest_packet(self, longest_bytes: u32) -> Self {
        Self { longest_bytes: Some(longest_bytes), ..self }
    }

    /// Looks at the interface, and returns what happened since the last look, each event once. After
    /// [`Removed`](LinkEvent::Removed) or [`MovedNamespace`](LinkEvent::MovedNamespace) nothing happens
    /// to it any more.
    ///
    /// # Errors
    /// When the kernel's answer did not get through; the next look tells what this one could not.
    pub fn look(&mut self) -> Result<Vec<LinkEvent>> {
        if self.has_left {
            return Ok(Vec::new());
        }
        let name = self.last.link.name.clone();
        let failed = |error| Error::os("watch interface", &name, error);
        let index = self.last.link.index;
        let mut left = self.group.departure().map_err(failed)?;
        let found = match Link::by_index(&mut self.route, index) {
            Ok(link) => Some(link),
            Err(Refusal::Kernel { errno: libc::ENODEV, .. }) => None,
            Err(refusal) => return Err(failed(refusal.into_io())),
        };
        if found.is_none() && left.is_none() {
            // It went between the two questions, unless its message was lost.
            left = Some(self.group.departure().map_err(failed)?.unwrap_or(LinkEvent::Removed));
        }
        // An interface of that index which has come back, or came after it, is another to a port.
        let (Some(link), None) = (found, &left) else {
            self.has_left = true;
            return Ok(left.into_iter().collect());
        };
        let mut now = snapshot(link, &mut self.questions);
        now.keep_untold(&self.last);
        let events = now.since(&self.last, self.longest_bytes);
        self.last = now;
        Ok(events)
    }

    /// The interface as the last look found it.
    #[must_use]
    pub fn link(&self) -> &Link {
        &self.last.link
    }
}

impl AsFd for LinkWatch {
    /// A descriptor that polls readable when the kernel has told something of any interface of the
    /// namespace; [`look`](LinkWatch::look) reads it empty. Not everything is told: channels and rings
    /// are not.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.group.socket.as_fd()
    }
}

fn snapshot(link: Link, questions: &mut Questions) -> Snapshot {
    let rx_queues = questions.rx_queues(link.index).ok();
    let rings = questions.rings(link.index).ok();
    Snapshot { link, rx_queues, rings }
}

/// The kernel's messages about the interfaces of a network namespace.
#[derive(Debug)]
struct Group {
    socket: Socket,
    ifindex: u32,
    datagram: Vec<u8>,
}

impl Group {
    fn open(ifindex: u32) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.add_membership(libc::RTNLGRP_LINK)?;
        Ok(Self { socket, ifindex, datagram: Vec::with_capacity(DATAGRAM_CAPACITY_BYTES) })
    }

    /// Reads what has come, and gives how the interface left the namespace, if it did.
    fn departure(&mut self) -> io::Result<Option<LinkEvent>> {
        let mut left = None;
        for _ in 0..DATAGRAMS_PER_LOOK {
            self.datagram.clear();
            let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
            match uninterrupted(|| self.socket.recv_from(&mut self.datagram, flags)) {
                // From the kernel, and whole.
                Ok((len_bytes, from)) if from.port_number() == 0 => {
                    if len_bytes == self.datagram.len() {
                        left = left.or(departure(&self.datagram, self.ifindex)?);
                    }
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Messages were lost; the state is asked for in any case.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(left)
    }
}

/// How an interface left the network namespace, by the messages of one datagram.
fn departure(datagram: &[u8], ifindex: u32) -> io::Result<Option<LinkEvent>> {
    for message in messages(datagram) {
        let (libc::RTM_DELLINK, _, _, body) = message? else { continue };
        let header = LinkHeader::parse(body).map_err(io::Error::other)?;
        // A bridge says so of a port that it lets go, in its own family; the port stays.
        if header.index != ifindex || header.interface_family != AddressFamily::Unspec {
            continue;
        }
        let rest = body.get(LINK_HEADER_LEN_BYTES..).ok_or_else(|| malformed("a short message"))?;
        for attribute in attributes(rest) {
            if let (libc::IFLA_NEW_NETNSID, _) = attribute? {
                return Ok(Some(LinkEvent::MovedNamespace));
            }
        }
        return Ok(Some(LinkEvent::Removed));
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
