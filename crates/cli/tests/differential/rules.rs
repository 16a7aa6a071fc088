//! Where the two may differ, and why. A rule looks at what was said, never at where it came from.

use netmem_wire::{Error, Layer, dissect::Stop};

use crate::{fields::Values, tshark::Packet};

/// The name of the rule that allows this field to differ, if there is one.
pub(crate) fn allowing(
    name: &str,
    our: &Values,
    their: &Packet,
    theirs: &[String],
) -> Option<&'static str> {
    let ours = our.get(name);
    let they_have_more = theirs.starts_with(ours);
    let we_have_more = ours.starts_with(theirs);
    if let Stop::Error(error) = our.stop {
        match error {
            // The kernel drops such a packet (ip_rcv_core, net/ipv4/ip_input.c); tshark goes by the
            // version whatever the Ethernet type or the link type says.
            Error::Field { field: "version", .. } if they_have_more => {
                return Some("another IP version than announced: tshark reads that");
            }
            // Below the header's own length: the header is there, and so are its fields.
            Error::Field { field: "total length", .. }
                if we_have_more && name.starts_with("ip.") =>
            {
                return Some("total length below the header's: tshark stops at that field");
            }
            Error::Field { layer: Layer::Tcp, field: "data offset", .. }
                if we_have_more && name.starts_with("tcp.") =>
            {
                return Some("data offset below the header's length: tshark stops at that field");
            }
            _ if they_have_more && is_of(name, layer(error)) => {
                return Some("header cut or malformed: tshark shows the fields before the fault");
            }
            _ => {}
        }
    }
    // ATM's ARP has fields of its own there.
    if name.starts_with("arp.") && theirs.is_empty() && their.protocols.ends_with(":atmarp") {
        return Some("ARP over ATM: tshark has other names for its fields");
    }
    // DVMRP, PIMv1, RGMP and traces are IGMP messages with fields of their own there.
    if name.starts_with("igmp.") && theirs.is_empty() && their.protocols.contains(":igmp:") {
        return Some("protocols inside IGMP: tshark has other names for the header's fields");
    }
    // FabricPath wraps one Ethernet header in another; tshark names the outer one's fields `cfp`.
    if name.starts_with("eth.") && their.protocols.contains(":cfp:") {
        return Some("FabricPath: tshark has other names for the outer header's fields");
    }
    let has_zero = |field| our.get(field).iter().any(|value| value == "0");
    if name == "ip.len" && has_zero("ip.len") && ours.len() >= theirs.len() {
        return Some(
            "total length 0 (segmentation in hardware): tshark puts the frame's in its place",
        );
    }
    if name.ends_with(".status") && ours.len() == theirs.len() {
        // A datagram may be whole in a packet that is cut: then we verify it, and tshark does not.
        let unverified = |(ours, theirs): (&String, &String)| {
            ours == theirs || ours == "2" || (theirs == "2" && our.is_cut)
        };
        if (our.is_cut || our.is_long) && ours.iter().zip(theirs).all(unverified) {
            return Some(
                "cut, or longer than a pseudo header says: one of the two does not verify",
            );
        }
    }
    // BIG TCP: lengths of 0 with 80,000 bytes behind them, which the kernel sends and takes.
    if our.is_long && we_have_more && (has_zero("udp.length") || has_zero("ipv6.plen")) {
        return Some("length 0 above 64 KiB (BIG TCP): tshark takes it for empty");
    }
    None
}

/// Whose header a fault is in.
fn layer(error: Error) -> Option<Layer> {
    match error {
        Error::Short { layer, .. }
        | Error::Truncated { layer, .. }
        | Error::Field { layer, .. } => Some(layer),
        Error::Text { .. } => None,
    }
}

/// Whether a field is of that header.
fn is_of(name: &str, layer: Option<Layer>) -> bool {
    let prefix = match layer {
        Some(Layer::Ethernet) => "eth.",
        Some(Layer::Vlan) => return name == "vlan.id" || name == "ieee8021ad.id",
        Some(Layer::Arp) => "arp.",
        Some(Layer::Ipv4) => "ip.",
        Some(Layer::Ipv6) => "ipv6.",
        Some(Layer::Ipv6Extension) => "ipv6.fraghdr.",
        Some(Layer::Tcp) => "tcp.",
        Some(Layer::Udp) => "udp.",
        Some(Layer::Icmpv4) => "icmp.",
        Some(Layer::Icmpv6) => "icmpv6.",
        Some(Layer::Sctp) => "sctp.",
        _ => return false,
    };
    name.starts_with(prefix)
}
