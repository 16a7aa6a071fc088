//! The bytes of every slot as they should be, and packet operations carried out on both sides.

use netmem::mem::{NoRoom, Packet, PacketMut, PoolHandle};
use proptest::prelude::*;

/// Bytes of a slot: what the port's peer needs behind its 256 bytes of headroom, and no more, so that
/// the ends of a slot are often reached.
pub(crate) const FRAME_BYTES: u32 = 512;

/// How much an operation asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Amount {
    Bytes(u32),
    /// All that there is, or one byte less or more.
    All(i8),
}

impl Amount {
    fn of(self, available: u32) -> u32 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::All(off) => available.saturating_add_signed(off.into()),
        }
    }
}

/// What a program does to a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    Push(Amount, u8),
    Pull(Amount),
    Put(Amount, u8),
    Trim(Amount),
    Reserve(Amount),
    /// Adds the value to every n-th byte.
    Write(u8, u8),
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let amount = || {
        prop_oneof![
            5 => (0..80u32).prop_map(Amount::Bytes),
            2 => (-1..2i8).prop_map(Amount::All),
            1 => prop_oneof![0..2 * FRAME_BYTES, u32::MAX - 600..=u32::MAX].prop_map(Amount::Bytes),
        ]
    };
    prop_oneof![
        (amount(), any::<u8>()).prop_map(|(n, byte)| Op::Push(n, byte)),
        amount().prop_map(Op::Pull),
        (amount(), any::<u8>()).prop_map(|(n, byte)| Op::Put(n, byte)),
        amount().prop_map(Op::Trim),
        amount().prop_map(Op::Reserve),
        (any::<u8>(), any::<u8>()).prop_map(|(step, add)| Op::Write(step, add)),
    ]
}

/// The operations that owned packets and those in a ring have in common.
pub(crate) trait Bytes {
    fn all(&self) -> &[u8];
    fn all_mut(&mut self) -> &mut [u8];
    fn rooms(&self) -> [usize; 3];
    fn change(&mut self, op: &Op, n: u32) -> Result<Option<&mut [u8]>, NoRoom>;
}

macro_rules! bytes {
    ($($packet:ty),+) => {$(
        impl Bytes for $packet {
            fn all(&self) -> &[u8] {
                self.bytes()
            }

            fn all_mut(&mut self) -> &mut [u8] {
                self.bytes_mut()
            }

            fn rooms(&self) -> [usize; 3] {
                assert_eq!(self.is_empty(), self.len() == 0);
                [self.headroom(), self.len(), self.tailroom()]
            }

            fn change(&mut self, op: &Op, n: u32) -> Result<Option<&mut [u8]>, NoRoom> {
                match op {
                    Op::Push(..) => self.push(n).map(Some),
                    Op::Pull(_) => self.pull(n).map(|()| None),
                    Op::Put(..) => self.put(n).map(Some),
                    Op::Trim(_) => self.trim(n).map(|()| None),
                    Op::Reserve(_) => self.reserve(n).map(|()| None),
                    Op::Write(..) => Ok(None),
                }
            }
        }
    )+};
}

bytes!(Packet, PacketMut<'_>);

/// Where a packet should lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) slot: usize,
    pub(crate) headroom: u32,
    pub(crate) len: u32,
}

impl Place {
    fn tailroom(&self) -> u32 {
        FRAME_BYTES - self.headroom - self.len
    }
}

/// The bytes of every slot.
#[derive(Debug)]
pub(crate) struct Frames {
    base: usize,
    bytes: Vec<Vec<u8>>,
}

impl Frames {
    /// Finds where the slots of a pool that is new lie; their bytes are zero.
    pub(crate) fn of(handle: &PoolHandle) -> Self {
        let first = handle.alloc().unwrap();
        let base = first.bytes().as_ptr().addr() - first.headroom();
        assert!(base.is_multiple_of(4096), "the first packet of a pool has its first slot");
        first.consume();
        Self { base, bytes: vec![vec![0; FRAME_BYTES as usize]; handle.pool().slots() as usize] }
    }

    /// Where a packet lies: its slot by its address.
    pub(crate) fn place(&self, packet: &impl Bytes) -> Place {
        let [headroom, len, _] = packet.rooms();
        let offset = packet.all().as_ptr().addr() - headroom - self.base;
        assert!(offset.is_multiple_of(FRAME_BYTES as usize), "headroom leads to the slot's start");
        let [headroom, len] = [headroom, len].map(|bytes| u32::try_from(bytes).unwrap());
        Place { slot: offset / FRAME_BYTES as usize, headroom, len }
    }

    /// The bytes that a packet should have.
    pub(crate) fn bytes(&self, place: &Place) -> &[u8] {
        &self.bytes[place.slot][place.headroom as usize..][..place.len as usize]
    }

    pub(crate) fn bytes_mut(&mut self, place: &Place) -> &mut [u8] {
        &mut self.bytes[place.slot][place.headroom as usize..][..place.len as usize]
    }

    /// K1: the packet is where it should be and has the bytes that it should have.
    pub(crate) fn check(&self, packet: &impl Bytes, place: &Place) {
        assert_eq!(self.place(packet), *place);
        let [headroom, len, tailroom] = packet.rooms();
        assert_eq!(headroom + len + tailroom, FRAME_BYTES as usize, "K1");
        assert_eq!(packet.all(), self.bytes(place), "K1");
    }

    /// Does `op` to a packet and to its model, and checks that both agree (K1, K2).
    pub(crate) fn apply(&mut self, op: &Op, packet: &mut impl Bytes, place: &mut Place) {
        let Place { headroom, len, .. } = *place;
        let (amount, available) = match *op {
            Op::Push(amount, _) => (amount, headroom),
            Op::Pull(amount) | Op::Trim(amount) => (amount, len),
            Op::Put(amount, _) => (amount, place.tailroom()),
            Op::Reserve(amount) => (amount, if len == 0 { place.tailroom() } else { 0 }),
            Op::Write(step, add) => {
                let step = usize::from(step) % 7 + 1;
                for bytes in [packet.all_mut(), self.bytes_mut(place)] {
                    bytes.iter_mut().step_by(step).for_each(|byte| *byte = byte.wrapping_add(add));
                }
                return self.check(packet, place);
            }
        };
        let wanted = amount.of(available);
        let changed = packet.change(op, wanted);
        if wanted > available {
            let refused = NoRoom { wanted_bytes: wanted, available_bytes: available };
            assert_eq!(changed, Err(refused), "K2: {op:?}");
            return self.check(packet, place);
        }
        let new_bytes = changed.unwrap();
        assert!(new_bytes.as_ref().is_none_or(|bytes| bytes.len() == wanted as usize), "{op:?}");
        let (headroom, len, grown) = match op {
            Op::Push(_, value) => (headroom - wanted, len + wanted, Some((0, *value))),
            Op::Put(_, value) => (headroom, len + wanted, Some((len as usize, *value))),
            Op::Pull(_) => (headroom + wanted, len - wanted, None),
            Op::Trim(_) => (headroom, len - wanted, None),
            Op::Reserve(_) | Op::Write(..) => (headroom + wanted, len, None),
        };
        (place.headroom, place.len) = (headroom, len);
        if let (Some((start, value)), Some(new_bytes)) = (grown, new_bytes) {
            let model = &mut self.bytes_mut(place)[start..start + wanted as usize];
            assert_eq!(new_bytes, model, "{op:?} shows what the slot held");
            new_bytes.fill(value);
            model.fill(value);
        }
        self.check(packet, place);
    }
}
