//! Why a mode could not be had: what the kernel's answer to a bind means, and whether the next mode may work.

use std::io;

use super::super::{PortReport, XdpMode};
use crate::{Error, error::errno_text};

/// Why one mode could not be had: the next may work, or none will.
pub(in crate::xdp) enum Attempt {
    Refused(String),
    Fatal(Error),
}

impl From<Error> for Attempt {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

/// Of a bind's error.
pub(super) fn bind_refusal(report: &PortReport, error: io::Error) -> Attempt {
    let errno = error.raw_os_error();
    let is_zero_copy = report.mode == XdpMode::ZeroCopy;
    if is_zero_copy && errno != Some(libc::ENODEV) {
        // The kernel gives a number only, and a driver may answer any: the reading is ours. What
        // has nothing to do with zero copy, such as a privilege, refuses the next mode as well.
        let reading = match errno {
            Some(libc::EOPNOTSUPP) if report.multi_buffer => {
                "the driver offers copy mode only, or zero copy for packets of one frame only"
            }
            Some(libc::EOPNOTSUPP) => "the driver offers copy mode only",
            Some(libc::EBUSY) => "another AF_XDP socket has this queue",
            _ => "the driver refuses this set-up for zero copy",
        };
        return Attempt::Refused(format!("bind: {} (our reading: {reading})", errno_text(&error)));
    }
    if report.multi_buffer && errno == Some(libc::EINVAL) {
        let reading = "packets of several frames need kernel 6.6";
        return Attempt::Refused(format!("bind: {} (our reading: {reading})", errno_text(&error)));
    }
    let hint = match errno {
        Some(libc::EBUSY) => Some("another AF_XDP socket has this queue"),
        Some(libc::EINVAL) => {
            Some("the queue number must be below the number of queues in use: ethtool -l")
        }
        Some(libc::ENETDOWN) => Some("the interface is down: ip link set up"),
        Some(libc::EPERM) => Some("binding AF_XDP sockets needs CAP_NET_RAW"),
        _ => None,
    };
    let error = Error::os("bind", report.to_string(), error);
    Attempt::Fatal(match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    })
}
