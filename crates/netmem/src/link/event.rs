//! What can happen to an interface while a port is on it, and what that means for the port.

use std::fmt;

use super::{AttachedProgram, DriverRings, Link};

/// What happened to an interface between two looks of a [`LinkWatch`](super::LinkWatch).
///
/// Its text is one line for a user: what happened, and what it means for a port on the interface.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkEvent {
    /// It was set down.
    Down,
    /// It was set up.
    Up,
    /// Its carrier went, while it was up.
    CarrierLost,
    /// Its carrier came back, while it was up.
    CarrierBack,
    /// Its carrier went and came back, or came and went, beside what it is now.
    Flapped {
        /// How often.
        times: u32,
    },
    /// Its MTU was changed.
    MtuChanged {
        /// The MTU before, in bytes behind the Ethernet header.
        from_bytes: u32,
        /// The MTU now.
        to_bytes: u32,
        /// The longest packet that the port takes, in bytes with the Ethernet header, if the watch
        /// was told and longer ones may come now.
        longest_bytes: Option<u32>,
    },
    /// The number of its receive queues in use was changed.
    QueuesChanged {
        /// How many there were.
        from: u32,
        /// How many there are.
        to: u32,
    },
    /// The driver's descriptor rings were changed.
    RingsChanged {
        /// What they were.
        from: DriverRings,
        /// What they are.
        to: DriverRings,
    },
    /// It has another name.
    Renamed {
        /// The name before.
        from: String,
        /// The name now.
        to: String,
    },
    /// It went to another network namespace.
    MovedNamespace,
    /// It is gone: deleted, its driver unloaded, or moved where the kernel's word of it was lost.
    Removed,
    /// Its Ethernet address was changed.
    AddressChanged {
        /// The address before.
        from: Option<[u8; 6]>,
        /// The address now.
        to: Option<[u8; 6]>,
    },
    /// An XDP program was attached where none was.
    ProgramAttached {
        /// The program.
        by: AttachedProgram,
    },
    /// Its XDP program was taken off.
    ProgramDetached {
        /// The program that is gone.
        was: AttachedProgram,
    },
    /// Its XDP program was replaced by another, or by the same in another mode.
    ProgramReplaced {
        /// The program that is there now.
        by: AttachedProgram,
    },
}

impl LinkEvent {
    /// Whether a port on the interface is of no use any more: the kernel has taken its socket off the
    /// queue, and it has to be closed.
    #[must_use]
    pub const fn ends_ports(&self) -> bool {
        matches!(self, Self::MovedNamespace | Self::Removed)
    }
}

impl fmt::Display for LinkEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => f.write_str("set down: the port waits until it is set up again"),
            Self::Up => f.write_str("set up: the port goes on"),
            Self::CarrierLost => {
                f.write_str("carrier lost: nothing comes, and what is sent does not arrive")
            }
            Self::CarrierBack => f.write_str("carrier back: packets pass again"),
            Self::Flapped { times } => {
                let plural = if *times == 1 { "" } else { "s" };
                write!(f, "carrier flapped {times} time{plural}: packets may have been lost")
            }
            Self::MtuChanged { from_bytes, to_bytes, longest_bytes } => {
                write!(f, "mtu changed from {from_bytes} to {to_bytes}")?;
                match longest_bytes {
                    Some(longest) => write!(
                        f,
                        ": packets longer than {longest} bytes are dropped by the kernel until it is \
                         lowered or the port has larger frames"
                    ),
                    None => Ok(()),
                }
            }
            Self::QueuesChanged { from, to } => queues_changed(f, *from, *to),
            Self::RingsChanged { from, to } => write!(
                f,
                "driver rings changed from rx {} tx {} to rx {} tx {}: a fill ring should hold at \
                 least the driver's rx ring and the port's",
                from.rx, from.tx, to.rx, to.tx
            ),
            Self::Renamed { from, to } => {
                write!(f, "renamed from {from} to {to}: the port stays on it")
            }
            Self::MovedNamespace => f.write_str(
                "moved to another network namespace: ports on it are unbound, close them",
            ),
            Self::Removed => f.write_str("removed: ports on it are unbound, close them"),
            Self::AddressChanged { from, to } => write!(
                f,
                "address changed from {} to {}: frames for the old one may not come any more",
                Address(*from),
                Address(*to)
            ),
            Self::ProgramAttached { by } => {
                write!(f, "{by} attached: it decides what reaches a port from now on")
            }
            Self::ProgramDetached { was } => write!(
                f,
                "{} program id {} taken off: all packets pass to the kernel, none to a port",
                was.mode, was.id
            ),
            Self::ProgramReplaced { by } => {
                write!(
                    f,
                    "xdp program replaced by {by}: a port receives what that sends it, if any"
                )
            }
        }
    }
}

fn queues_changed(f: &mut fmt::Formatter<'_>, from: u32, to: u32) -> fmt::Result {
    write!(f, "receive queues changed from {from} to {to}: ")?;
    if to < from {
        write!(f, "a port on queue {to} or above receives nothing")
    } else {
        write!(f, "what comes on queue {from} or above passes to the kernel unless a port is there")
    }
}

struct Address(Option<[u8; 6]>);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some([a, b, c, d, e, last]) = self.0 else { return f.write_str("none") };
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{last:02x}")
    }
}

/// What is compared between two looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) link: Link,
    pub(super) rx_queues: Option<u32>,
    pub(super) rings: Option<DriverRings>,
}

/// Length of an Ethernet header, in bytes.
const ETHERNET_LEN_BYTES: u32 = 14;

impl Snapshot {
    /// Takes over what is not told this time, to be compared when it is told again.
    pub(super) fn keep_untold(&mut self, last: &Self) {
        self.rx_queues = self.rx_queues.or(last.rx_queues);
        self.rings = self.rings.or(last.rings);
    }

    /// What happened since `last`. `longest_bytes` is the longest packet that a port takes.
    pub(super) fn since(&self, last: &Self, longest_bytes: Option<u32>) -> Vec<LinkEvent> {
        let (old, new) = (&last.link, &self.link);
        let mut events = Vec::new();
        if old.name != new.name {
            events.push(LinkEvent::Renamed { from: old.name.clone(), to: new.name.clone() });
        }
        carrier(old, new, &mut events);
        if old.mtu_bytes != new.mtu_bytes {
            let may_come = new.mtu_bytes.saturating_add(ETHERNET_LEN_BYTES);
            events.push(LinkEvent::MtuChanged {
                from_bytes: old.mtu_bytes,
                to_bytes: new.mtu_bytes,
                longest_bytes: longest_bytes.filter(|longest| *longest < may_come),
            });
        }
        if let (Some(from), Some(to)) = (last.rx_queues, self.rx_queues)
            && from != to
        {
            events.push(LinkEvent::QueuesChanged { from, to });
        }
        if let (Some(from), Some(to)) = (last.rings, self.rings)
            && (from.rx, from.tx) != (to.rx, to.tx)
        {
            events.push(LinkEvent::RingsChanged { from, to });
        }
        if old.mac != new.mac {
            events.push(LinkEvent::AddressChanged { from: old.mac, to: new.mac });
        }
        match (old.xdp, new.xdp) {
            (None, Some(by)) => events.push(LinkEvent::ProgramAttached { by }),
            (Some(was), None) => events.push(LinkEvent::ProgramDetached { was }),
            (Some(was), Some(by)) if was != by => events.push(LinkEvent::ProgramReplaced { by }),
            _ => {}
        }
        events
    }
}

/// Up, down and the carrier. The carrier that goes with a link that is set down, and comes with one
/// that is set up, is part of that; the count of changes tells what went by in between.
fn carrier(old: &Link, new: &Link, events: &mut Vec<LinkEvent>) {
    match (old.is_up, new.is_up) {
        (true, false) => events.push(LinkEvent::Down),
        (false, true) => events.push(LinkEvent::Up),
        _ => {}
    }
    let stays_up = old.is_up && new.is_up;
    match (old.has_carrier, new.has_carrier) {
        (Some(true), Some(false)) if stays_up => events.push(LinkEvent::CarrierLost),
        (Some(false), Some(true)) if stays_up => events.push(LinkEvent::CarrierBack),
        _ => {}
    }
    if let (Some(before), Some(now)) = (old.carrier_changes, new.carrier_changes) {
        // An odd one is the change that stays, told above.
        let times = now.wrapping_sub(before) / 2;
        if times > 0 {
            events.push(LinkEvent::Flapped { times });
        }
    }
}
