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

use crate::sync::{AtomicU32, AtomicU64, Ordering};

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

/// The stack under the model checker (see `crate::sync`). Each model names the faults that were planted
/// in the stack and failed it.
#[cfg(test)]
#[cfg(loom)]
mod models {
    use loom::thread;

    use super::*;
    use crate::sync::{Accesses, Arc, explore};

    /// A stack of `slots` slots, all pushed, and their bytes as the checker sees them.
    fn full(slots: u32) -> Arc<(SharedStack, Accesses)> {
        let stack = SharedStack::new(slots);
        stack.push(&(0..slots).collect::<Vec<_>>());
        Arc::new((stack, Accesses::to(slots)))
    }

    /// Pops up to `max` slots, as their new owner reading what is there and writing over it (P3).
    fn take(shared: &(SharedStack, Accesses), max: usize) -> Vec<u32> {
        let mut slots = Vec::new();
        assert_eq!(shared.0.pop(max, &mut slots), slots.len());
        for &slot in &slots {
            shared.1.read(slot as usize, 1);
            shared.1.write(slot as usize, 1);
        }
        slots
    }

    /// P2, P4: every slot is held by one of `held` or on the stack, once.
    fn assert_each_once(shared: &(SharedStack, Accesses), slots: u32, held: &[&[u32]]) {
        let mut seen = held.concat();
        shared.0.walk(|slot| seen.push(slot));
        let held = seen.clone();
        seen.sort_unstable();
        assert!(seen.iter().copied().eq(0..slots), "P2, P4: {held:?}");
    }

    /// P2: a popper that is interrupted between its look at the head and its swap, while another pops
    /// that slot and the one below and pushes the first one back: the head has the same top, the chain
    /// below it is another's (ABA).
    ///
    /// Kills: a head without a tag. (A tag that only `push` or only `pop` counts would do: a slot that
    /// comes back was popped and pushed.)
    #[test]
    fn loom_a_slot_that_went_and_came_back_does_not_fool_a_popper() {
        explore(None, || {
            let shared = full(3);
            let other = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let (first, second) = (take(&shared, 1), take(&shared, 1));
                    shared.0.push(&first);
                    second
                })
            };
            let mine = take(&shared, 1);
            let theirs = other.join().unwrap();
            assert_each_once(&shared, 3, &[&mine, &theirs]);
        });
    }

    /// P2, P3, P4: two threads pop chains of two, write to them and push them back, in the other order.
    ///
    /// Kills: Release -> Relaxed in `push`; Acquire -> Relaxed in both loads of the head in `pop`; a
    /// `pop`, in the first one alone, in the one of a lost swap alone; a `pop` that keeps what it walked
    /// before a lost swap; a `push` that links its bottom to the head it saw first; a `push` whose swap
    /// is a store. (Relaxed for a swap of `pop` that succeeds would do: it finds the store that the load
    /// before has acquired, by its tag.)
    #[test]
    fn loom_chains_move_between_threads_with_their_bytes() {
        explore(None, || {
            let shared = full(3);
            let turn = |shared: &(SharedStack, Accesses)| {
                let mut slots = take(shared, 2);
                slots.reverse();
                shared.0.push(&slots);
            };
            let other = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || turn(&shared))
            };
            turn(&shared);
            let mine = take(&shared, 2);
            other.join().unwrap();
            assert_each_once(&shared, 3, &[&mine]);
        });
    }

    /// P3 over a release sequence: a slot is popped from under one that a third thread has pushed
    /// above it since. The popper waits for both: the checker does not come to let its first look wait.
    ///
    /// Kills: Release -> Relaxed in `push`; Acquire -> Relaxed in all of `pop`; a `push` that links its
    /// bottom to the head it saw first; a `push` whose swap is a store.
    #[test]
    fn loom_a_slot_below_anothers_has_its_bytes_too() {
        explore(3, || {
            let shared = Arc::new((SharedStack::new(2), Accesses::to(2)));
            let pushers: Vec<_> = (0..2)
                .map(|slot| {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || {
                        shared.1.write(slot as usize, 1);
                        shared.0.push(&[slot]);
                    })
                })
                .collect();
            let mut mine = Vec::new();
            while mine.len() < 2 {
                mine.extend(take(&shared, 2));
                thread::yield_now();
            }
            pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
            assert_each_once(&shared, 2, &[&mine]);
        });
    }
}
