//! The devices of a guest: what QEMU is told, which driver serves them, and what they must be able to.
//!
//! AF_XDP zero copy needs a driver that has it: virtio_net since 6.13, igb since 6.14. Everything here
//! was seen with kernel 7.3.

/// A pair of joined interfaces.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) name: &'static str,
    /// One line for `--list`.
    pub(super) summary: &'static str,
    /// `None` when the test program makes its own interfaces.
    pub(super) driver: Option<&'static str>,
    /// Loaded into the guest where they are no part of the kernel.
    pub(super) modules: &'static [&'static str],
    /// Which kernel packages have the driver.
    pub(super) flavour: &'static str,
    /// For `NETMEM_CASES_MODES`.
    pub(super) modes: &'static str,
    /// The errno that every mode must be refused with.
    pub(super) refused: Option<&'static str>,
    /// The oldest QEMU that has it: major, minor.
    pub(super) qemu: (u32, u32),
    /// QEMU's arguments, one a word.
    pub(super) arguments: &'static str,
}

/// Without these a program gets no AF_XDP socket over rtnetlink's veth, no socket diagnosis, no kTLS: a
/// guest's kernel loads nothing by itself.
pub(super) const COMMON_MODULES: &[&str] = &[
    "af_packet",
    "veth",
    "tcp_diag",
    "udp_diag",
    "raw_diag",
    "unix_diag",
    "af_packet_diag",
    "xsk_diag",
    "tls",
];

pub(super) const DEVICES: &[Device] = &[
    Device {
        name: "virtio",
        summary: "two virtio-net on a hub: zero copy",
        driver: Some("virtio_net"),
        modules: &["virtio_pci", "virtio_net"],
        flavour: "cloud-amd64",
        modes: "zero-copy",
        refused: None,
        qemu: (7, 2),
        // With iommu_platform the driver has a DMA device; XDP and big receive buffers exclude each
        // other, so guest offloads are off.
        arguments: "-netdev hubport,hubid=0,id=n0 -device virtio-net-pci,netdev=n0,romfile=,disable-legacy=on,iommu_platform=on,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,guest_csum=off \
             -netdev hubport,hubid=0,id=n1 -device virtio-net-pci,netdev=n1,romfile=,disable-legacy=on,iommu_platform=on,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,guest_csum=off",
    },
    Device {
        name: "virtio-plain",
        summary: "as virtio without a DMA device: zero copy must be refused (EINVAL)",
        driver: Some("virtio_net"),
        modules: &["virtio_pci", "virtio_net"],
        flavour: "cloud-amd64",
        modes: "zero-copy",
        refused: Some("EINVAL"),
        qemu: (7, 2),
        arguments: "-netdev hubport,hubid=0,id=n0 -device virtio-net-pci,netdev=n0,romfile=,disable-legacy=on \
             -netdev hubport,hubid=0,id=n1 -device virtio-net-pci,netdev=n1,romfile=,disable-legacy=on",
    },
    Device {
        name: "igb",
        summary: "two Intel 82576 on a hub, two queues each: zero copy",
        driver: Some("igb"),
        modules: &["igb"],
        flavour: "amd64",
        modes: "zero-copy",
        refused: None,
        qemu: (8, 0),
        arguments: "-M q35 -device pcie-root-port,id=rp0,chassis=1,slot=1 -device pcie-root-port,id=rp1,chassis=2,slot=2 \
             -netdev hubport,hubid=0,id=n0 -device igb,bus=rp0,netdev=n0,romfile= \
             -netdev hubport,hubid=0,id=n1 -device igb,bus=rp1,netdev=n1,romfile=",
    },
    Device {
        name: "veth",
        summary: "veth pairs that the program makes: native and generic",
        driver: None,
        modules: &[],
        flavour: "cloud-amd64",
        modes: "native,generic",
        refused: None,
        qemu: (7, 2),
        arguments: "-nic none",
    },
];

/// The machines that run when none is named: kernel series and device.
pub(super) const MACHINES: &[(&str, &str)] = &[
    ("7.3", "virtio"),
    ("7.3", "virtio-plain"),
    ("7.3", "igb"),
    ("7.3", "veth"),
    ("6.12", "veth"),
    ("6.1", "veth"),
];
