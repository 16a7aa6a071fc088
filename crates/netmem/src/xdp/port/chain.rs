//! Packets that no plain run has: chains of frames (`XDP_USE_SG`, kernel 6.6), all packets of a UMEM in
//! the unaligned mode, and all that may ask for something when they are sent
//! ([`metadata`](super::metadata)). Each is composed here from its descriptors, lent as a run of its own
//! ([`Pass`](super::pass::Pass)), and committed here. Out of line: the plain packet's way is not longer
//! for them.
//!
//! A packet is counted once (K6), its slots each: `rx_side` and `tx_side` are slots (X1, X2). A chain is
//! lent when all of it is in the ring; until then it stays there, and the batch ends. It is sent whole or
//! not at all (M3).
//!
//! # Completions
//!
//! Each slot completes for itself, and in copy mode not in the order of sending: the kernel writes a
//! packet's addresses when its socket buffer is freed (`xsk_cq_submit_addr_locked` in net/xdp/xsk.c,
//! kernel 6.18). So a bit per slot says that the slot's packet goes on in another one: reaped, it is a
//! slot that came back and not yet a packet that was sent ([`Continued`]).

use std::ptr::NonNull;

use super::Port;
use crate::{
    mem::{DropReason, Rest, Slot, span::Span},
    sys::xsk::{XDP_PKT_CONTD, XdpDesc},
};

/// What a run has beside its descriptors. For a plain run: nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lone {
    /// The UMEM offset that the run's addresses count from: the start of the packet's slot, or 0.
    pub(super) origin: u64,
    /// How many descriptors of the rx ring the packet came in; 0 for a plain run.
    pub(super) descriptors: u32,
    /// The frames behind the packet's first: owned from `with_rest` until `take_rest`.
    pub(super) rest: Option<NonNull<Rest>>,
}

/// What the rx ring has next, where that is no plain run.
pub(super) enum Next {
    /// So many plain descriptors, and then something else.
    Plain(usize),
    /// One packet: a descriptor for the loop. What is behind it is in the port.
    Lone(XdpDesc),
    /// A packet that cannot be lent: it was passed and counted.
    Bad,
    /// A chain whose end has not come yet.
    Incomplete,
}

/// The slots on a port's tx side whose packet goes on in another slot.
#[derive(Debug)]
pub(super) struct Continued {
    bits: Box<[u64]>,
    count: u32,
}

impl Continued {
    pub(super) fn none_of(slots: u32) -> Self {
        Self { bits: vec![0; slots.div_ceil(64) as usize].into_boxed_slice(), count: 0 }
    }

    #[inline]
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    fn insert(&mut self, slot: u32) {
        let word = &mut self.bits[(slot / 64) as usize];
        debug_assert_eq!(*word & 1 << (slot % 64), 0, "slot {slot} is sent twice (P2)");
        *word |= 1 << (slot % 64);
        self.count += 1;
    }

    /// How many of `slots`, which came back, continued in another; they do not any more.
    #[cold]
    pub(super) fn remove_all(&mut self, slots: impl Iterator<Item = u32>) -> u32 {
        let before = self.count;
        for slot in slots {
            let Some(word) = self.bits.get_mut((slot / 64) as usize) else { continue };
            self.count -= u32::from(*word & 1 << (slot % 64) != 0);
            *word &= !(1 << (slot % 64));
        }
        before - self.count
    }
}

impl Port {
    /// Looks at `descs`, which are next in the rx ring and not all plain.
    #[cold]
    pub(super) fn next_of(&mut self, descs: &[XdpDesc]) -> Next {
        let memory = self.memory;
        let plain = descs.iter().take_while(|desc| memory.is_plain(desc)).count();
        if plain > 0 {
            return Next::Plain(plain);
        }
        // The chain may go on behind `descs`, past the wrap or the budget.
        let rx = &mut self.rings.rx;
        let mut descriptors = 0;
        loop {
            if descriptors == rx.available(descriptors + 1) {
                if descriptors < rx.size() {
                    return Next::Incomplete;
                }
                break; // it fills the ring: its end can never come
            }
            descriptors += 1;
            if rx.peek(descriptors as usize - 1).options & XDP_PKT_CONTD == 0 {
                break;
            }
        }
        self.compose(descriptors)
    }

    /// How many descriptors behind the composed packet can be looked at for `budget` packets.
    pub(super) fn left_behind(&mut self, budget: u32) -> u32 {
        let descriptors = self.lone.descriptors;
        let available = self.rings.rx.available(budget.saturating_add(descriptors));
        budget.min(available - descriptors)
    }

    /// Makes one packet of the next `descriptors` of the rx ring.
    fn compose(&mut self, descriptors: u32) -> Next {
        let memory = self.memory;
        let desc = |index: u32| self.rings.rx.peek(index as usize);
        let is_good = |index| {
            let is_last = index + 1 == descriptors;
            let options = if is_last { 0 } else { XDP_PKT_CONTD };
            desc(index).options == options && memory.locate(&desc(index)).is_some()
        };
        if !(0..descriptors).all(is_good) {
            self.pass_bad(descriptors);
            return Next::Bad;
        }
        let (first, span) = memory.locate(&desc(0)).expect("looked at above");
        let lone = Lone { origin: memory.size.start_of(first), descriptors, rest: None };
        let addr = u64::from(span.headroom);
        let desc_of_first = XdpDesc { addr, len: span.len, options: 0 };
        if descriptors == 1 && self.offer.is_none() {
            self.lone = lone;
            return Next::Lone(desc_of_first);
        }
        let mut rest = self.handle.spare_rest();
        rest.offer = self.offer;
        for (slot, span) in (1..descriptors).filter_map(|index| memory.locate(&desc(index))) {
            rest.push(Slot::claimed(slot), span);
        }
        self.lone = lone.with_rest(rest);
        Next::Lone(desc_of_first)
    }

    /// Passes a packet with a descriptor that no kernel would write, and counts it (X3). Slots that it
    /// names well go back to the fill ring.
    fn pass_bad(&mut self, descriptors: u32) {
        let descs = self.rings.rx.segments(descriptors).concat();
        let slots: Vec<u32> =
            descs.iter().filter_map(|desc| Some(self.memory.locate(desc)?.0)).collect();
        self.count_lone(descriptors);
        self.rx_side = self.rx_side.saturating_sub(descriptors);
        self.quarantine(descs.len() as u64 - slots.len() as u64);
        self.counts.dropped[DropReason::BadDescriptor] += 1;
        self.put_back_slots(slots.into_iter());
    }

    /// Passes the packet that the next `descriptors` of the rx ring are, and counts it as received.
    pub(super) fn count_lone(&mut self, descriptors: u32) {
        self.rings.rx.pass(descriptors);
        self.counts.received += 1;
        self.rx_continued += u64::from(descriptors - 1);
    }

    /// Gives slots that were taken from the rx side back to the fill ring, which has room (X1).
    pub(super) fn put_back_slots(&mut self, slots: impl Iterator<Item = u32>) {
        for slot in slots {
            self.rings.fill.put_back(self.memory.size.start_of(slot));
            self.rx_side += 1;
        }
    }

    /// Puts a packet into the tx ring, which has room: those of its frames that have bytes.
    pub(super) fn send_lone(&mut self, first: XdpDesc, rest: Option<&Rest>) {
        let frames = rest.map_or(&[][..], Rest::frames);
        let size = self.memory.size;
        let mut last = first;
        for frame in frames {
            let Span { headroom, len, .. } = frame.span;
            if len == 0 {
                continue;
            }
            let addr = size.start_of(frame.slot.index()) + u64::from(headroom);
            self.push_continued(last);
            last = XdpDesc { addr, len, options: 0 };
        }
        self.push_last(last);
    }

    /// Puts a frame into the tx ring whose packet goes on in the next one.
    pub(super) fn push_continued(&mut self, desc: XdpDesc) {
        self.continued.insert(self.memory.size.slot_of(desc.addr));
        self.push_last(XdpDesc { options: desc.options | XDP_PKT_CONTD, ..desc });
    }

    /// Puts the last frame of a packet into the tx ring.
    pub(super) fn push_last(&mut self, desc: XdpDesc) {
        self.rings.tx.push(desc);
        self.tx_side += 1;
        self.unkicked = true;
    }

    /// How many frames a packet may have to be sent ever.
    pub(super) fn longest_sent(&self) -> u32 {
        self.report.tx_max_frames.min(self.rings.tx.size()).min(self.rings.completion.size())
    }
}
