//! Which fields a test reads, what it asks of them, and in which frames the answer matters.

use netmem_wire::{
    ethernet::ether_type,
    filter::{Expr, Ipv4Net, Ipv6Net, Test},
};

/// What a slot holds where the frame lacks the field: all bits set. Fields have 48 bits or fewer,
/// but for the halves of IPv6 addresses: see [`in_ipv6_net`].
pub(super) const ABSENT: i32 = -1;
/// Where the key of the class counter lies, from R10.
pub(super) const KEY: i16 = -8;
/// Where a part of the frame is copied to, from R10: as many bytes as a neighbor message has up to
/// the end of its target.
pub(super) const COPY: i16 = KEY - 8 * (Slot::Last as i16) - 24;
/// Where the fragment words of the walk are put together, from R10.
pub(super) const FRAGMENT_WORD: i16 = COPY - 8;
/// The bits of the IPv4 fragment word: `more fragments` and the offset. Those of the IPv6 fragment
/// header are brought into this order.
pub(super) const FRAGMENT_BITS: i32 = 0x3fff;
pub(super) const FRAGMENT_OFFSET_BITS: i32 = 0x1fff;
/// No frame in one piece is as long; the verifier adds up to 2^29 to a packet pointer.
const LEN_LIMIT_BYTES: i32 = 1 << 28;

const _: () = assert!(FRAGMENT_WORD >= -512);

/// A field of the frame on the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i16)]
pub(super) enum Slot {
    SourceMac,
    DestinationMac,
    EtherType,
    /// The outermost tag's id.
    VlanId,
    /// Zero where [`Test::UntaggedOrPriority`] holds, else absent.
    Untagged,
    ArpOperation,
    ArpSender,
    ArpTarget,
    IpProtocol,
    IpSource,
    IpDestination,
    /// Zero where there is an IPv6 header, else absent.
    Ipv6,
    Ip6SourceHigh,
    Ip6SourceLow,
    Ip6DestinationHigh,
    Ip6DestinationLow,
    Ip6Protocol,
    /// The [`FRAGMENT_BITS`].
    Fragment,
    IcmpType,
    IcmpCode,
    Icmp6Type,
    /// Zero where there is a target, else absent.
    Nd,
    NdTargetHigh,
    NdTargetLow,
    SourcePort,
    DestinationPort,
    TcpFlags,
    /// The number of slots.
    Last,
}

impl Slot {
    pub(super) const ARP: [Self; 3] = [Self::ArpOperation, Self::ArpSender, Self::ArpTarget];
    pub(super) const IPV4: [Self; 3] = [Self::IpProtocol, Self::IpSource, Self::IpDestination];
    pub(super) const IPV6: [Self; 5] = [
        Self::Ipv6,
        Self::Ip6SourceHigh,
        Self::Ip6SourceLow,
        Self::Ip6DestinationHigh,
        Self::Ip6DestinationLow,
    ];
    pub(super) const ICMP: [Self; 2] = [Self::IcmpType, Self::IcmpCode];
    pub(super) const ND: [Self; 3] = [Self::Nd, Self::NdTargetHigh, Self::NdTargetLow];
    pub(super) const PORTS: [Self; 2] = [Self::SourcePort, Self::DestinationPort];

    /// Where the slot lies, from R10.
    pub(super) const fn offset(self) -> i16 {
        KEY - 8 * (self as i16 + 1)
    }
}

/// What a test asks of a slot's value, 64 bits with [`ABSENT`] sign-extended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Check {
    Present,
    Equals(i32),
    /// Equals a number of up to 63 bits.
    EqualsWide(u64),
    /// No bit of these is set.
    Clear(i32),
    /// Present and not zero.
    Positive,
    /// One of these, the first not above the last.
    Between(u16, u16),
    /// Shifted right by `shift`, which leaves eight bits, those in `mask` are `value`.
    Masked {
        shift: i32,
        mask: u8,
        value: u8,
    },
    /// An IPv4 address of the network.
    In(Ipv4Net),
    /// The first `len_bits` (1 to 64) of the 64 are these.
    Prefix {
        len_bits: i32,
        bits: u64,
    },
}

/// A test is true if all its conditions are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Condition {
    Slot(Slot, Check),
    /// The frame has as many bytes or more.
    LenAtLeast(i32),
}

pub(super) fn conditions(test: Test) -> Vec<Condition> {
    use Slot as S;
    let equals = |slot, value: u16| (slot, Check::Equals(value.into()));
    let (slot, check) = match test {
        Test::SourceMac(address) => (S::SourceMac, Check::EqualsWide(wide(address.0))),
        Test::DestinationMac(address) => (S::DestinationMac, Check::EqualsWide(wide(address.0))),
        Test::DestinationMacGroup => {
            (S::DestinationMac, Check::Masked { shift: 40, mask: 1, value: 1 })
        }
        Test::EtherType(value) => equals(S::EtherType, value),
        Test::Vlan(None) => (S::VlanId, Check::Present),
        Test::Vlan(Some(id)) => equals(S::VlanId, id),
        Test::UntaggedOrPriority => (S::Untagged, Check::Present),
        Test::ArpOperation(value) => equals(S::ArpOperation, value),
        Test::ArpTarget(net) => (S::ArpTarget, Check::In(net)),
        Test::ArpSender(net) => (S::ArpSender, Check::In(net)),
        Test::Ipv4 => (S::IpProtocol, Check::Present),
        Test::IpProtocol(value) => equals(S::IpProtocol, value.into()),
        Test::SourceNet(net) => (S::IpSource, Check::In(net)),
        Test::DestinationNet(net) => (S::IpDestination, Check::In(net)),
        Test::Ipv6 => (S::Ipv6, Check::Present),
        Test::Ip6Protocol(value) => equals(S::Ip6Protocol, value.into()),
        Test::Source6Net(net) => {
            return in_ipv6_net(net, S::Ipv6, [S::Ip6SourceHigh, S::Ip6SourceLow]);
        }
        Test::Destination6Net(net) => {
            return in_ipv6_net(net, S::Ipv6, [S::Ip6DestinationHigh, S::Ip6DestinationLow]);
        }
        Test::FirstFragment => (S::Fragment, Check::Clear(FRAGMENT_OFFSET_BITS)),
        Test::Fragment => (S::Fragment, Check::Positive),
        Test::IcmpType(value) => equals(S::IcmpType, value.into()),
        Test::IcmpCode(value) => equals(S::IcmpCode, value.into()),
        Test::Icmp6Type(value) => equals(S::Icmp6Type, value.into()),
        Test::NdTarget(net) => return in_ipv6_net(net, S::Nd, [S::NdTargetHigh, S::NdTargetLow]),
        Test::SourcePort(value) => equals(S::SourcePort, value),
        Test::DestinationPort(value) => equals(S::DestinationPort, value),
        Test::SourcePortIn { first, last } => (S::SourcePort, Check::Between(first, last)),
        Test::DestinationPortIn { first, last } => {
            (S::DestinationPort, Check::Between(first, last))
        }
        Test::TcpFlags { mask, value } => (S::TcpFlags, Check::Masked { shift: 0, mask, value }),
        Test::LenAtLeast(len_bytes) => {
            let len_bytes = i32::try_from(len_bytes).unwrap_or(LEN_LIMIT_BYTES);
            return vec![Condition::LenAtLeast(len_bytes)];
        }
    };
    vec![Condition::Slot(slot, check)]
}

/// The conditions that an address, in two halves, is in a network.
///
/// An address that is absent looks like the one of all ones: only for networks that have that one
/// it is asked for whether there is an address, in a slot of its own.
fn in_ipv6_net(net: Ipv6Net, presence: Slot, [high, low]: [Slot; 2]) -> Vec<Condition> {
    let mut conditions = Vec::new();
    if net.contains(u128::MAX.into()) {
        conditions.push((presence, Check::Present));
    }
    let len_bits = i32::from(net.prefix_len());
    let halves = bytes_of_halves(net).map(u64::from_be_bytes);
    for (slot, bits, len_bits) in [(high, halves[0], len_bits), (low, halves[1], len_bits - 64)] {
        if len_bits > 0 {
            let len_bits = len_bits.min(64);
            conditions.push((slot, Check::Prefix { len_bits, bits: bits >> (64 - len_bits) }));
        }
    }
    conditions.into_iter().map(|(slot, check)| Condition::Slot(slot, check)).collect()
}

fn bytes_of_halves(net: Ipv6Net) -> [[u8; 8]; 2] {
    let [high, low] = [0, 8].map(|from| {
        let octets = net.address().octets();
        std::array::from_fn(|index| octets[from + index])
    });
    [high, low]
}

fn wide(mac: [u8; 6]) -> u64 {
    mac.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// The answer of an expression that is the same for every frame.
pub(super) fn constant(expr: &Expr) -> Option<bool> {
    match expr {
        Expr::Always => Some(true),
        Expr::Never => Some(false),
        Expr::Test(test) => constant_test(*test),
        Expr::Not(inner) => constant(inner).map(|value| !value),
        Expr::All(parts) => constant_list(parts, false),
        Expr::Any(parts) => constant_list(parts, true),
    }
}

fn constant_test(test: Test) -> Option<bool> {
    match test {
        Test::LenAtLeast(0) => Some(true),
        Test::LenAtLeast(len_bytes) if len_bytes >= LEN_LIMIT_BYTES.cast_unsigned() => Some(false),
        Test::SourcePortIn { first, last } | Test::DestinationPortIn { first, last }
            if first > last =>
        {
            Some(false)
        }
        _ => None,
    }
}

/// As [`constant`], for a list that one part equal to `decisive` decides.
fn constant_list(parts: &[Expr], decisive: bool) -> Option<bool> {
    let mut value = Some(!decisive);
    for part in parts {
        match constant(part) {
            Some(part) if part == decisive => return Some(decisive),
            Some(_) => {}
            None => value = None,
        }
    }
    value
}

/// Kinds of frames by their Ethernet type after the tags: a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    pub(super) const NONE: Self = Self(0);
    pub(super) const IPV4: Self = Self(1);
    pub(super) const IPV6: Self = Self(1 << 1);
    pub(super) const OTHER: Self = Self(1 << 2);
    pub(super) const ALL: Self = Self(Self::IPV4.0 | Self::IPV6.0 | Self::OTHER.0);
    const IP: Self = Self(Self::IPV4.0 | Self::IPV6.0);

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The kinds that an expression may match, even if the slots it reads were left absent: a test
    /// on an absent slot is false.
    pub(super) fn of(expr: &Expr) -> Self {
        match expr {
            Expr::Always | Expr::Not(_) => Self::ALL,
            Expr::Never => Self::NONE,
            Expr::Test(test) => Self::of_test(*test),
            Expr::All(parts) => parts.iter().map(Self::of).fold(Self::ALL, Self::and),
            Expr::Any(parts) => parts.iter().map(Self::of).fold(Self::NONE, Self::or),
        }
    }

    const fn of_test(test: Test) -> Self {
        match test {
            Test::EtherType(ether_type::IPV4)
            | Test::Ipv4
            | Test::IpProtocol(_)
            | Test::SourceNet(_)
            | Test::DestinationNet(_)
            | Test::IcmpType(_)
            | Test::IcmpCode(_) => Self::IPV4,
            Test::EtherType(ether_type::IPV6)
            | Test::Ipv6
            | Test::Ip6Protocol(_)
            | Test::Source6Net(_)
            | Test::Destination6Net(_)
            | Test::Icmp6Type(_)
            | Test::NdTarget(_) => Self::IPV6,
            Test::FirstFragment
            | Test::Fragment
            | Test::SourcePort(_)
            | Test::DestinationPort(_)
            | Test::SourcePortIn { .. }
            | Test::DestinationPortIn { .. }
            | Test::TcpFlags { .. } => Self::IP,
            Test::EtherType(_)
            | Test::ArpOperation(_)
            | Test::ArpTarget(_)
            | Test::ArpSender(_) => Self::OTHER,
            Test::SourceMac(_)
            | Test::DestinationMac(_)
            | Test::DestinationMacGroup
            | Test::Vlan(_)
            | Test::UntaggedOrPriority
            | Test::LenAtLeast(_) => Self::ALL,
        }
    }
}
