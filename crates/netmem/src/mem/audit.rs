//! The audit: at rest, every slot is found exactly once (P1, P2), and every packet began and ended
//! once (K6). There is no remainder term: what is not found is a finding.
//!
//! Each owner that can see slots writes a [`Walk`]: the pool its shared stack and never-used slots,
//! each thread its cache, each port its four rings. Slots inside the kernel cannot be seen, but their
//! number is known from the ring indices; the slots that nobody found must be exactly as many.

use std::fmt;

use super::{Counts, Pool};

/// Who has a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// In the pool: cached by a thread, shared, or never used.
    Free,
    /// In a fill ring, not yet taken by the kernel.
    Fill,
    /// Taken by the kernel from a fill ring, not yet delivered.
    KernelRx,
    /// Delivered into an rx ring, not yet looked at.
    Rx,
    /// With the program: an owned packet, or lent and never given back.
    User,
    /// In a tx ring, not yet taken by the kernel.
    Tx,
    /// Taken by the kernel from a tx ring, not yet completed.
    KernelTx,
    /// In a completion ring, not yet reaped.
    Completion,
    /// With another process.
    Peer,
    /// Out of use until the region goes.
    Quarantined,
}

impl Owner {
    /// Every owner, in the order of a slot's life.
    pub const ALL: [Self; 10] = [
        Self::Free,
        Self::Fill,
        Self::KernelRx,
        Self::Rx,
        Self::User,
        Self::Tx,
        Self::KernelTx,
        Self::Completion,
        Self::Peer,
        Self::Quarantined,
    ];

    /// The owner's name in reports: `kernel_rx`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Fill => "fill",
            Self::KernelRx => "kernel_rx",
            Self::Rx => "rx",
            Self::User => "user",
            Self::Tx => "tx",
            Self::KernelTx => "kernel_tx",
            Self::Completion => "completion",
            Self::Peer => "peer",
            Self::Quarantined => "quarantined",
        }
    }
}

/// How many slots each owner has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Owners([u64; Owner::ALL.len()]);

impl Owners {
    /// Every owner with its number of slots.
    pub fn iter(&self) -> impl Iterator<Item = (Owner, u64)> + '_ {
        Owner::ALL.iter().map(|&owner| (owner, self[owner]))
    }

    /// Slots of packets on their way out or with the program: begun and not ended (K6). Descriptors in
    /// an rx ring are not received yet.
    fn held_slots(&self) -> u64 {
        self[Owner::User] + self[Owner::Tx] + self[Owner::KernelTx] + self[Owner::Completion]
    }
}

impl std::ops::Index<Owner> for Owners {
    type Output = u64;
    fn index(&self, owner: Owner) -> &u64 {
        &self.0[owner as usize]
    }
}

impl std::ops::IndexMut<Owner> for Owners {
    fn index_mut(&mut self, owner: Owner) -> &mut u64 {
        &mut self.0[owner as usize]
    }
}

/// What one owner sees: slots by number, and slots inside the kernel by count.
#[derive(Debug, Clone, Default)]
pub struct Walk {
    found: Vec<(u32, Owner)>,
    unseen: Owners,
    /// Slots of held packets besides one for each packet.
    continued: u64,
    counts: Counts,
}

impl Walk {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn found(&mut self, slot: u32, owner: Owner) {
        self.found.push((slot, owner));
    }

    pub(crate) fn unseen(&mut self, owner: Owner, count: u64) {
        self.unseen[owner] += count;
    }

    /// Names slots of held packets that continue another slot's packet.
    pub(crate) fn continued(&mut self, count: u64) {
        self.continued += count;
    }

    /// The counts alone: for a thread whose handle, and with it the cache, is about to end.
    #[must_use]
    pub fn counts_only(&self) -> Self {
        Self { counts: self.counts, continued: self.continued, ..Self::default() }
    }

    /// What its owner's packets began and ended as.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(crate) fn count(&mut self, counts: &Counts) {
        self.counts.add(counts);
    }
}

/// Something that an audit found wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A slot has two owners.
    Twice {
        /// Which slot.
        slot: u32,
        /// Where it was found first.
        first: Owner,
        /// Where it was found again.
        again: Owner,
    },
    /// A ring names a slot that the pool does not have.
    Unknown {
        /// The slot number.
        slot: u32,
        /// Where it was found.
        owner: Owner,
    },
    /// More slots were found nowhere than the kernel and the program can have.
    Lost {
        /// How many too many.
        count: u64,
        /// The lowest of the slots that were found nowhere, at most 8.
        candidates: Vec<u32>,
    },
    /// Fewer slots were found nowhere than the kernel must have.
    Surplus {
        /// How many too few.
        count: u64,
    },
    /// The packet counts do not add up.
    Identity {
        /// Packets that the counts leave open.
        outstanding: i128,
        /// Packets that are really held.
        held: u64,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twice { slot, first, again } => {
                write!(f, "slot {slot} has two owners: {} and {}", first.name(), again.name())
            }
            Self::Unknown { slot, owner } => {
                write!(f, "{} names slot {slot}, which the pool does not have", owner.name())
            }
            Self::Lost { count, candidates } => {
                write!(f, "{count} slots have no owner, among {candidates:?}")
            }
            Self::Surplus { count } => {
                write!(f, "{count} slots are in the program's sight and inside the kernel")
            }
            Self::Identity { outstanding, held } => {
                write!(f, "the packet counts leave {outstanding} packets open, {held} are held")
            }
        }
    }
}

/// The verdict over all slots and packets of a pool.
#[derive(Debug, Clone)]
pub struct Audit {
    /// How many slots the pool has.
    pub slots: u32,
    /// How many each owner has.
    pub owners: Owners,
    /// The packet counts of all walks, summed.
    pub counts: Counts,
    /// Packets that began and have not ended: with the program or on their way out.
    pub held: u64,
    /// What is wrong; empty when everything adds up.
    pub findings: Vec<Finding>,
}

impl Audit {
    /// Joins the pool's own walk with those of all its threads and ports. Exact at rest: while no
    /// thread moves packets and the kernel has none to move.
    #[must_use]
    pub fn of(pool: &Pool, walks: impl IntoIterator<Item = Walk>) -> Self {
        let slots = pool.slots();
        let mut seen: Vec<Option<Owner>> = vec![None; slots as usize];
        let mut owners = Owners::default();
        let mut counts = Counts::default();
        let mut findings = Vec::new();
        let (mut unseen, mut continued) = (0, 0);
        for walk in std::iter::once(pool.walk()).chain(walks) {
            for (slot, owner) in walk.found {
                match seen.get_mut(slot as usize) {
                    None => findings.push(Finding::Unknown { slot, owner }),
                    Some(Some(first)) => {
                        findings.push(Finding::Twice { slot, first: *first, again: owner });
                    }
                    Some(place) => {
                        *place = Some(owner);
                        owners[owner] += 1;
                    }
                }
            }
            for (owner, count) in walk.unseen.iter() {
                owners[owner] += count;
                unseen += count;
            }
            continued += walk.continued;
            counts.add(&walk.counts);
        }
        let nowhere = (0u32..).zip(&seen).filter(|(_, owner)| owner.is_none());
        let missing = nowhere.clone().count() as u64;
        if missing > unseen {
            let candidates = nowhere.map(|(slot, _)| slot).take(8).collect();
            findings.push(Finding::Lost { count: missing - unseen, candidates });
        } else if missing < unseen {
            findings.push(Finding::Surplus { count: unseen - missing });
        }
        let held = owners.held_slots().saturating_sub(continued);
        let outstanding = counts.outstanding();
        if outstanding != i128::from(held) {
            findings.push(Finding::Identity { outstanding, held });
        }
        Self { slots, owners, counts, held, findings }
    }

    /// Whether every slot was found once and every packet is accounted for.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.findings.is_empty()
    }
}
