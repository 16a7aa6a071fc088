//! A seqlock over words: one writer that never waits, and readers that see a whole state or know that
//! they did not.
//!
//! ```text
//!   word 0: sequence, odd while the writer is at work | words 1..: content
//! ```
//!
//! The order (**Q1**): the writer makes the sequence odd before it stores any content, by the Release
//! fence between them, and makes it even by a Release store after all of it. A reader that has loaded a
//! word of a later state sees, behind its Acquire fence, a sequence that has moved on. All accesses are
//! atomic: what is torn is detected, and is never a data race.

use crate::sync::{AtomicU64, Loads, Ordering, fence};

/// Lets `content` store a new state into the words behind the sequence. The caller is the only writer.
pub(crate) fn write(words: &[AtomicU64], content: impl FnOnce(&[AtomicU64])) {
    let Some((sequence, rest)) = words.split_first() else { return };
    // Relaxed: the caller alone writes it.
    let before = sequence.load(Ordering::Relaxed);
    sequence.store(before.wrapping_add(1), Ordering::Relaxed);
    // Pairs with the reader's Acquire fence: content comes after the odd sequence (Q1).
    fence(Ordering::Release);
    content(rest);
    // Release: pairs with the reader's first load; content comes before the even sequence (Q1).
    sequence.store(before.wrapping_add(2), Ordering::Release);
}

/// Copies the content into `copy`, as many words as its first one says after itself, and as there are
/// at most. Looks once; `false` means that the writer was at work, and that `copy` is worth nothing.
pub(crate) fn try_read(words: &Loads<'_>, copy: &mut Vec<u64>) -> bool {
    copy.clear();
    let Some(room) = words.len().checked_sub(2) else { return true };
    // Acquire: pairs with the writer's last store; the content that it was for is visible (Q1).
    let before = words.load(0, Ordering::Acquire);
    if before % 2 == 1 {
        return false;
    }
    let first = words.load(1, Ordering::Relaxed);
    copy.push(first);
    let used = usize::try_from(first).unwrap_or(room).min(room);
    copy.extend((2..2 + used).map(|at| words.load(at, Ordering::Relaxed)));
    // Pairs with the writer's Release fence: the loads above come before the one below (Q1).
    fence(Ordering::Acquire);
    words.load(0, Ordering::Relaxed) == before
}

#[cfg(test)]
#[cfg(loom)]
mod models {
    use loom::thread;

    use super::*;
    use crate::sync::{Arc, explore};

    /// Q1: whatever the order of the steps, a reader gets one state whole, not older than what it has
    /// got before, or says that it could not.
    ///
    /// Kills: no Release fence in `write`; no Acquire fence in `try_read`; the odd and the even store
    /// swapped; the last store or the first load Relaxed; a content word stored before or after `write`; `try_read` that
    /// does not look at the sequence again, or not for odd ones.
    #[test]
    fn loom_a_state_is_read_whole_or_not_at_all() {
        explore(None, || {
            let words: Arc<Vec<AtomicU64>> =
                Arc::new([0, 2, 0, 0].map(AtomicU64::new).into_iter().collect());
            let writer = {
                let words = Arc::clone(&words);
                thread::spawn(move || {
                    for state in 1..=2 {
                        write(&words, |rest| {
                            rest[1].store(state, Ordering::Relaxed);
                            rest[2].store(state, Ordering::Relaxed);
                        });
                    }
                })
            };
            let (mut copy, mut seen) = (Vec::new(), 0);
            for _ in 0..2 {
                if try_read(&Loads::from(&words[..]), &mut copy) {
                    assert_eq!(copy[1], copy[2], "torn");
                    assert!(copy[1] >= seen, "older than before");
                    seen = copy[1];
                }
            }
            writer.join().unwrap();
            assert!(try_read(&Loads::from(&words[..]), &mut copy), "at rest");
            assert_eq!(copy, [2, 2, 2]);
        });
    }
}
