//! Why a packet was dropped: the kernel's name where one has the same meaning
//! (`include/net/dropreason-core.h`, kernel 6.18), one of netmem's own otherwise.

use std::ops::{Index, IndexMut};

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// Why a packet was dropped.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[doc(alias = "skb_drop_reason")]
        #[repr(u8)]
        pub enum DropReason { $($(#[$doc])* $variant,)+ }

        impl DropReason {
            /// Every reason, in the order of its number.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The kernel's name of the reason without its `SKB_DROP_REASON_` prefix, or netmem's
            /// own, which starts with `NETMEM_`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

reasons! {
    /// Dropped without a word: an owned packet went out of scope.
    NotSpecified = "NOT_SPECIFIED",
    /// Shorter than its own headers announce, or than what can be sent.
    PktTooSmall = "PKT_TOO_SMALL",
    /// Ends inside of a header.
    HdrTrunc = "HDR_TRUNC",
    /// An IPv4 header checksum is wrong.
    IpCsum = "IP_CSUM",
    /// An IPv4 header is malformed.
    IpInhdr = "IP_INHDR",
    /// An ICMP checksum is wrong.
    IcmpCsum = "ICMP_CSUM",
    /// Addressed to somebody else.
    Otherhost = "OTHERHOST",
    /// From an address that nobody may answer: multicast, broadcast or unspecified.
    IpInvalidSource = "IP_INVALID_SOURCE",
    /// A unicast packet in a frame to everybody.
    UnicastInL2Multicast = "UNICAST_IN_L2_MULTICAST",
    /// A protocol that nobody here handles.
    UnhandledProto = "UNHANDLED_PROTO",
    /// IPv6 extension headers that are malformed, too many, or not accepted.
    Ipv6BadExthdr = "IPV6_BAD_EXTHDR",
    /// A neighbor discovery message with a fragment header (RFC 6980).
    Ipv6NdiscFrag = "IPV6_NDISC_FRAG",
    /// A neighbor discovery message that may come from beyond the link.
    Ipv6NdiscHopLimit = "IPV6_NDISC_HOP_LIMIT",
    /// A neighbor discovery message with a code.
    Ipv6NdiscBadCode = "IPV6_NDISC_BAD_CODE",
    /// A neighbor discovery message with malformed or forbidden options.
    Ipv6NdiscBadOptions = "IPV6_NDISC_BAD_OPTIONS",
    /// The tx ring had no room.
    FullRing = "FULL_RING",
    /// The pool had no free slot.
    Nomem = "NOMEM",
    /// Still queued when its port was closed.
    QueuePurge = "QUEUE_PURGE",
    /// A fragment, and nothing here reassembles.
    Fragment = "NETMEM_FRAGMENT",
    /// The program's closure unwound while it held the packet.
    Unwound = "NETMEM_UNWOUND",
    /// A descriptor that the other side of a ring wrote was out of bounds.
    BadDescriptor = "NETMEM_BAD_DESCRIPTOR",
    /// Less room in front of a frame than the kernel wants on a port with tx metadata.
    NoHeadroom = "NETMEM_NO_HEADROOM",
}

/// One counter per [`DropReason`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drops([u64; DropReason::ALL.len()]);

impl Drops {
    /// The reasons that were counted at all, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|&reason| (reason, self[reason])).filter(|&(_, n)| n > 0)
    }

    /// The sum over all reasons.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds every counter of `other`.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}

impl Index<DropReason> for Drops {
    type Output = u64;
    #[inline]
    fn index(&self, reason: DropReason) -> &u64 {
        &self.0[reason as usize]
    }
}

impl IndexMut<DropReason> for Drops {
    #[inline]
    fn index_mut(&mut self, reason: DropReason) -> &mut u64 {
        &mut self.0[reason as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_counters_are_kept_apart() {
        let mut names: Vec<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::ALL.len());

        let mut drops = Drops::default();
        drops[DropReason::IpCsum] += 2;
        let mut sum = drops;
        sum.add(&drops);
        assert_eq!(sum.iter().collect::<Vec<_>>(), [(DropReason::IpCsum, 4)]);
        assert_eq!(sum.total(), 4);
    }
}
