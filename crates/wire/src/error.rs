//! The crate's one error type.

use core::fmt;

/// Which protocol's header an [`Error`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layer {
    /// Ethernet II header, or 802.3 header with a length.
    Ethernet,
    /// 802.2 LLC header, with SNAP where it follows.
    Llc,
    /// Linux cooked capture header, version 1.
    Sll,
    /// Linux cooked capture header, version 2.
    Sll2,
    /// BSD loopback header: four bytes of address family.
    Loopback,
    /// One 802.1Q or 802.1ad tag.
    Vlan,
    /// ARP packet.
    Arp,
    /// IPv4 header.
    Ipv4,
    /// IPv6 header.
    Ipv6,
    /// One IPv6 extension header.
    Ipv6Extension,
    /// `ICMPv4` message.
    Icmpv4,
    /// `ICMPv6` message, NDP and MLD included.
    Icmpv6,
    /// IGMP message.
    Igmp,
    /// TCP header.
    Tcp,
    /// UDP header.
    Udp,
    /// SCTP common header or chunk.
    Sctp,
    /// GRE header.
    Gre,
    /// VXLAN header.
    Vxlan,
    /// GENEVE header.
    Geneve,
}

/// Says why bytes or text could not be read as, or written from, what was asked for.
///
/// Offsets count from the first byte of the layer's own header, or, in an error that
/// [`dissect`](crate::dissect) gives, from the first byte of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Error {
    /// The buffer ends before the header does.
    Short {
        /// Whose header it is.
        layer: Layer,
        /// Where the missing part begins.
        offset_bytes: usize,
        /// How many bytes are needed from there.
        needed_bytes: usize,
        /// How many bytes are there.
        available_bytes: usize,
    },
    /// The header is complete and sane, but the packet it announces was cut: the buffer is shorter.
    Truncated {
        /// Whose header it is.
        layer: Layer,
        /// Where the length field is.
        offset_bytes: usize,
        /// The length the field announces, header included.
        needed_bytes: usize,
        /// How many bytes the buffer has, header included.
        available_bytes: usize,
    },
    /// A field has a value that the layer does not allow, or that the repr does not represent.
    Field {
        /// Whose header it is.
        layer: Layer,
        /// Where the field is.
        offset_bytes: usize,
        /// The field's name.
        field: &'static str,
    },
    /// A text or a number is not what it should be.
    Text {
        /// What was to be made of it.
        target: &'static str,
        /// What is wrong with it.
        cause: &'static str,
    },
}

impl Error {
    /// Checks that a fixed header of `needed_bytes` fits in `available_bytes`.
    #[inline]
    pub(crate) const fn check_header(
        layer: Layer,
        needed_bytes: usize,
        available_bytes: usize,
    ) -> Result<(), Self> {
        if available_bytes < needed_bytes {
            return Err(Self::Short { layer, offset_bytes: 0, needed_bytes, available_bytes });
        }
        Ok(())
    }

    /// Checks that the `needed_bytes` that the length field at `offset_bytes` announces are there.
    #[inline]
    pub(crate) const fn check_len(
        layer: Layer,
        offset_bytes: usize,
        needed_bytes: usize,
        available_bytes: usize,
    ) -> Result<(), Self> {
        if available_bytes < needed_bytes {
            return Err(Self::Truncated { layer, offset_bytes, needed_bytes, available_bytes });
        }
        Ok(())
    }

    /// Checks that a field's value is allowed.
    #[inline]
    pub(crate) fn check_field(
        layer: Layer,
        offset_bytes: usize,
        field: &'static str,
        allowed: bool,
    ) -> Result<(), Self> {
        if allowed { Ok(()) } else { Err(Self::Field { layer, offset_bytes, field }) }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ethernet => "ethernet",
            Self::Llc => "llc",
            Self::Sll => "sll",
            Self::Sll2 => "sll2",
            Self::Loopback => "loopback",
            Self::Vlan => "vlan",
            Self::Arp => "arp",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Ipv6Extension => "ipv6 extension",
            Self::Icmpv4 => "icmpv4",
            Self::Icmpv6 => "icmpv6",
            Self::Igmp => "igmp",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
            Self::Gre => "gre",
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Short { layer, offset_bytes, needed_bytes, available_bytes } => write!(
                f,
                "{layer} header at byte {offset_bytes}: {needed_bytes} bytes needed, \
                 {available_bytes} available"
            ),
            Self::Truncated { layer, offset_bytes, needed_bytes, available_bytes } => write!(
                f,
                "{layer} length at byte {offset_bytes}: {needed_bytes} bytes announced, \
                 {available_bytes} available"
            ),
            Self::Field { layer, offset_bytes, field } => {
                write!(f, "{layer} header at byte {offset_bytes}: bad {field}")
            }
            Self::Text { target, cause } => write!(f, "parse {target}: {cause}"),
        }
    }
}

impl core::error::Error for Error {}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn messages_are_one_lower_case_line() {
        let layer = Layer::Ipv4;
        let short = Error::Short { layer, offset_bytes: 20, needed_bytes: 4, available_bytes: 1 };
        assert_eq!(short.to_string(), "ipv4 header at byte 20: 4 bytes needed, 1 available");
        let cut =
            Error::Truncated { layer, offset_bytes: 2, needed_bytes: 84, available_bytes: 60 };
        assert_eq!(cut.to_string(), "ipv4 length at byte 2: 84 bytes announced, 60 available");
        let field = Error::Field { layer, offset_bytes: 0, field: "version" };
        assert_eq!(field.to_string(), "ipv4 header at byte 0: bad version");
        let text = Error::Text { target: "mac address", cause: "six pairs of hex digits expected" };
        assert_eq!(text.to_string(), "parse mac address: six pairs of hex digits expected");
    }
}
