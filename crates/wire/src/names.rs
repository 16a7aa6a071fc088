//! Names of numbers, as the registries of IEEE and IANA have them.

/// Names a well-known Ethernet type.
#[must_use]
pub const fn ether_type(kind: u16) -> Option<&'static str> {
    Some(match kind {
        0x8847 => "mpls",
        0x88cc => "lldp",
        _ => return None,
    })
}

/// Names an IP protocol.
#[must_use]
pub const fn ip_protocol(kind: u8) -> Option<&'static str> {
    Some(match kind {
        6 => "tcp",
        17 => "udp",
        50 => "esp",
        89 => "ospf",
        _ => return None,
    })
}

/// Names an `ICMPv4` type.
#[must_use]
pub const fn icmpv4_type(kind: u8) -> Option<&'static str> {
    Some(match kind {
        0 => "echo reply",
        8 => "echo request",
        _ => return None,
    })
}

/// Names an `ICMPv6` type.
#[must_use]
pub const fn icmpv6_type(kind: u8) -> Option<&'static str> {
    Some(match kind {
        128 => "echo request",
        129 => "echo reply",
        _ => return None,
    })
}
