//! The free list that all threads of a pool share: a stack of slot numbers with a tagged head.
//!
//! ```text
//!   head = tag:32 | top + 1:32        next[slot] = below + 1, or 0 at the bottom
//! ```
//!
//! A whole chain is pushed or popped with one compare-and-swap, so a batch costs one locked
//! instruction. The tag counts every change of the head: a popper that walked a chain which somebody
//! changed meanwhile fails its compare-and-swap and walks again, whatever it read (P2). The swaps
//! form one release sequence, so whoever pops a slot has seen every write that was made before the
//! slot was pushed, also when others were pushed above it later (P3).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

#[derive(Debug)]
pub(crate) struct SharedStack {
    head: AtomicU64,
    next: Box<[AtomicU32]>,
}

const LINK: u64 = 0xffff_ffff;
const TAG: u64 = LINK + 1;

impl SharedStack {
    pub(crate) fn new(slots: u32) -> Self {
        let next = (0..slots).map(|_| AtomicU32::new(0)).collect();
        Self { head: AtomicU64::new(0), next }
    }

    /// Pushes every slot of `slots`, which the caller owns; the last one becomes the top.
    pub(crate) fn push(&self, slots: &[u32]) {
        let (Some(&bottom), Some(&top)) = (slots.first(), slots.last()) else { return };
        for pair in slots.windows(2) {
            // Relaxed: published by the compare-and-swap below.
            self.next[pair[1] as usize].store(pair[0] + 1, Ordering::Relaxed);
        }
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            self.next[bottom as usize].store(link(head), Ordering::Relaxed);
            let new = tag(head) | u64::from(top + 1);
            // Release: pairs with the Acquire in `pop`; the slots' bytes and links come before (P3).
            match self.head.compare_exchange_weak(head, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Pops up to `max` slots onto `out`; returns how many.
    pub(crate) fn pop(&self, max: usize, out: &mut Vec<u32>) -> usize {
        let start = out.len();
        // Acquire: pairs with the Release in `push`.
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let mut top = link(head);
            while top != 0 && out.len() - start < max {
                out.push(top - 1);
                // Relaxed: a stale link means that the head moved, and then the swap fails.
                top = self.next[(top - 1) as usize].load(Ordering::Relaxed);
            }
            if out.len() == start {
                return 0;
            }
            let new = tag(head) | u64::from(top);
            match self.head.compare_exchange_weak(head, new, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return out.len() - start,
                Err(now) => {
                    head = now;
                    out.truncate(start);
                }
            }
        }
    }

    /// Walks the stack from the top; exact only while nobody pushes or pops. Stops after as many
    /// steps as there are slots, so that a corrupted chain cannot hang an audit.
    pub(crate) fn walk(&self, mut visit: impl FnMut(u32)) {
        let mut top = link(self.head.load(Ordering::Acquire));
        for _ in 0..self.next.len() {
            if top == 0 {
                return;
            }
            visit(top - 1);
            top = self.next[(top - 1) as usize].load(Ordering::Relaxed);
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "masked to 32 bits")]
fn link(head: u64) -> u32 {
    (head & LINK) as u32
}

fn tag(head: u64) -> u64 {
    (head & !LINK).wrapping_add(TAG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_come_back_newest_first() {
        let stack = SharedStack::new(8);
        stack.push(&[0, 1, 2]);
        stack.push(&[5]);
        stack.push(&[]);
        let mut out = vec![7];
        assert_eq!(stack.pop(2, &mut out), 2);
        assert_eq!(out, [7, 5, 2]);
        let mut seen = Vec::new();
        stack.walk(|slot| seen.push(slot));
        assert_eq!(seen, [1, 0]);
        assert_eq!(stack.pop(64, &mut out), 2);
        assert_eq!(stack.pop(64, &mut out), 0);
    }

    #[test]
    fn the_tag_wraps_without_touching_the_link() {
        let stack = SharedStack::new(4);
        stack.head.store(!LINK, Ordering::Relaxed);
        stack.push(&[3]);
        assert_eq!(stack.head.load(Ordering::Relaxed), 4);
    }
}
