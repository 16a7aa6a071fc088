//! The nine flags as a set.

/// A set of TCP flags: nine bits, in the places that they have in bytes 12 and 13 of the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u16);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// The sender has no more payload.
    pub const FIN: Self = Self(0x001);
    /// Sequence numbers are synchronised.
    pub const SYN: Self = Self(0x002);
    /// The connection is reset.
    pub const RST: Self = Self(0x004);
    /// The receiver hands payload over at once.
    pub const PSH: Self = Self(0x008);
    /// The acknowledgment number has a meaning.
    pub const ACK: Self = Self(0x010);
    /// The urgent pointer has a meaning.
    pub const URG: Self = Self(0x020);
    /// ECN echo.
    pub const ECE: Self = Self(0x040);
    /// Congestion window reduced.
    pub const CWR: Self = Self(0x080);
    /// Accurate ECN (RFC 9768); NS in RFC 3540.
    pub const AE: Self = Self(0x100);
    /// All nine.
    pub const ALL: Self = Self(0x1ff);

    /// Takes the low 9 bits of `bits`.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// Gives the flags as a number, 0 to 0x1ff.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Tells whether all flags of `other` are in this set.
    #[inline]
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Gives the flags that are in this set, in `other`, or in both.
    #[inline]
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Gives this set with the flags of `other` added (`is_set`) or taken out.
    #[inline]
    #[must_use]
    pub const fn with(self, other: Self, is_set: bool) -> Self {
        Self(if is_set { self.0 | other.0 } else { self.0 & !other.0 })
    }
}

impl core::ops::BitOr for Flags {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}
