//! What stands behind an interface: its driver, queues, rings, and what the driver can do.
//!
//! The kernel tells this over three families of netlink, and each driver answers what it implements.
//! What is not told is never taken for a no: each answer is a [`Told`], with why there is none.
//!
//! The driver's name comes without a system call of its own. A virtual interface's is its kind
//! (`IFLA_INFO_KIND`). A device's parent is named by rtnetlink (`IFLA_PARENT_DEV_NAME`, kernel 5.14),
//! and its driver stands in `/sys/bus/BUS/devices/NAME/driver`, which is the same in every network
//! namespace, unlike `/sys/class/net`; ethtool's own default is that name, too
//! (`ethtool_get_drvinfo` in net/ethtool/ioctl.c, 6.18).

use std::{fmt, fs, io, path::Path};

use super::{
    Link,
    ethtool::{Channels, DriverRings, Ethtool},
    netdev::{Netdev, XdpFeatures},
    netlink::Refusal,
};
use crate::error::errno_text;

/// What the kernel says, or why it does not.
pub type Told<T> = Result<T, Untold>;

/// Why something is not known. It never means no.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Untold {
    /// The kernel or the driver does not answer such a request.
    NotSupported,
    /// There was an answer, and this was not in it.
    Absent,
    /// It belongs to an interface in another network namespace.
    OtherNamespace,
    /// The question failed, for this reason.
    Failed(String),
}

impl fmt::Display for Untold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSupported => f.write_str("unknown: the kernel or the driver does not tell"),
            Self::Absent => f.write_str("unknown: the kernel's answer does not have it"),
            Self::OtherNamespace => f.write_str("unknown: it is in another network namespace"),
            Self::Failed(why) => write!(f, "unknown: {why}"),
        }
    }
}

impl Untold {
    /// Of the search for a family of generic netlink.
    pub(super) fn from_family(refusal: Refusal) -> Self {
        match refusal.errno() {
            Some(libc::ENOENT) => Self::NotSupported,
            _ => Self::Failed(errno_text(&refusal.into_io())),
        }
    }

    pub(super) fn from_request(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Kernel { errno: libc::EOPNOTSUPP, .. } => Self::NotSupported,
            Refusal::Kernel { errno, .. } => {
                Self::Failed(errno_text(&io::Error::from_raw_os_error(*errno)))
            }
            Refusal::Io(error) => Self::Failed(errno_text(error)),
        }
    }
}

/// What stands behind an interface, as far as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkDetails {
    /// The driver's name; of a virtual interface its kind, such as `veth`. It finds the driver's
    /// [`quirks`](crate::xdp::quirks).
    pub driver: Told<String>,
    /// Channels in use and the most there can be.
    pub channels: Told<Channels>,
    /// Receive queues in use: those of the channels, else counted by the kernel.
    pub rx_queues: Told<u32>,
    /// The driver's own descriptor rings.
    pub rings: Told<DriverRings>,
    /// What the driver can do with XDP.
    pub xdp: Told<XdpFeatures>,
    /// Whether the kernel leaves checksums of what it sends to the interface.
    pub tx_checksum: Told<bool>,
    /// The same of the other end, for a veth, whose kernel's packets then come with checksums that
    /// are not filled in. `None` for an interface without another end.
    pub peer_tx_checksum: Option<Told<bool>>,
}

impl Link {
    /// Asks what stands behind the interface, in the calling thread's network namespace. It does not
    /// fail: what is not told says why.
    #[must_use]
    pub fn details(&self) -> LinkDetails {
        let mut questions = Questions::open();
        let peer_tx_checksum = self.peer.map(|peer| match peer.netns_id {
            None => questions.ethtool().and_then(|ethtool| ethtool.tx_checksum(peer.index)),
            Some(_) => Err(Untold::OtherNamespace),
        });
        LinkDetails {
            driver: self.driver(),
            channels: questions.ethtool().and_then(|ethtool| ethtool.channels(self.index)),
            rx_queues: questions.rx_queues(self.index),
            rings: questions.rings(self.index),
            xdp: questions.netdev().and_then(|netdev| netdev.xdp_features(self.index)),
            tx_checksum: questions.ethtool().and_then(|ethtool| ethtool.tx_checksum(self.index)),
            peer_tx_checksum,
        }
    }

    fn driver(&self) -> Told<String> {
        if let Some(kind) = &self.kind {
            return Ok(kind.clone());
        }
        let Some((bus, device)) = &self.parent else { return Err(Untold::Absent) };
        driver_of(Path::new("/sys/bus"), bus, device)
    }
}

/// The families that answer, opened once in one network namespace.
#[derive(Debug)]
pub(super) struct Questions {
    ethtool: Told<Ethtool>,
    netdev: Told<Netdev>,
}

impl Questions {
    pub(super) fn open() -> Self {
        Self { ethtool: Ethtool::open(), netdev: Netdev::open() }
    }

    pub(super) fn rings(&mut self, ifindex: u32) -> Told<DriverRings> {
        self.ethtool()?.rings(ifindex)
    }

    /// Receive queues in use: the channels' where the driver tells channels, so that one interface
    /// always has its number from the same source.
    pub(super) fn rx_queues(&mut self, ifindex: u32) -> Told<u32> {
        match self.ethtool().and_then(|ethtool| ethtool.channels(ifindex)) {
            Ok(channels) => Ok(channels.rx_queues()),
            Err(Untold::NotSupported) => self.netdev()?.rx_queues(ifindex),
            Err(untold) => Err(untold),
        }
    }

    fn ethtool(&mut self) -> Told<&mut Ethtool> {
        self.ethtool.as_mut().map_err(|untold| untold.clone())
    }

    fn netdev(&mut self) -> Told<&mut Netdev> {
        self.netdev.as_mut().map_err(|untold| untold.clone())
    }
}

fn driver_of(root: &Path, bus: &str, device: &str) -> Told<String> {
    let is_name = |name: &str| !matches!(name, "" | "." | "..") && !name.contains(['/', '\0']);
    if !is_name(bus) || !is_name(device) {
        return Err(Untold::Failed(format!("device {device:?} on bus {bus:?} is no name")));
    }
    let path = root.join(bus).join("devices").join(device).join("driver");
    let target = fs::read_link(&path).map_err(|error| {
        Untold::Failed(format!("read {}: {}", path.display(), errno_text(&error)))
    })?;
    let name = target.file_name().ok_or(Untold::Absent)?;
    Ok(name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_driver_is_read_from_its_bus() {
        let root = std::env::temp_dir().join(format!("netmem-driver-{}", std::process::id()));
        let device = root.join("pci/devices/0000:00:03.0");
        fs::create_dir_all(&device).unwrap();
        symlink("../../../../bus/pci/drivers/i40e", device.join("driver")).unwrap();
        let found = driver_of(&root, "pci", "0000:00:03.0");
        let missing = driver_of(&root, "pci", "0000:00:04.0");
        let outside = driver_of(&root.join("pci/devices"), "..", "0000:00:03.0");
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(found.as_deref(), Ok("i40e"));
        assert!(matches!(missing, Err(Untold::Failed(why)) if why.contains("ENOENT")));
        assert!(matches!(outside, Err(Untold::Failed(why)) if why.contains("no name")));
    }

    #[test]
    fn a_refusal_is_told_from_a_request_that_nobody_answers() {
        let kernel = |errno| Refusal::Kernel { errno, text: None };
        assert_eq!(Untold::from_request(&kernel(libc::EOPNOTSUPP)), Untold::NotSupported);
        assert_eq!(Untold::from_family(kernel(libc::ENOENT)), Untold::NotSupported);
        let gone = Untold::from_request(&kernel(libc::ENODEV)).to_string();
        assert_eq!(gone, "unknown: no such device (ENODEV)");
        let io = Refusal::Io(io::Error::other("cut short"));
        assert_eq!(Untold::from_family(io), Untold::Failed("cut short".to_owned()));
    }
}
