//! Slots that come back: sent ones by the completion ring, and free ones of the pool into the fill ring
//! (X1, X2). Every address from the completion ring is one that this port has put into its tx ring.

use super::{Port, pass::Memory};

impl Port {
    /// Takes back the slots that were sent: into the fill ring as far as X1 allows, else to the pool.
    pub(super) fn reap(&mut self) {
        let count = self.rings.completion.available(1).min(self.tx_side);
        if count == 0 {
            return;
        }
        let wanted = count.min(self.rings.fill.size().saturating_sub(self.rx_side));
        let mut room = self.rings.fill.free(wanted).min(wanted);
        let (mut bad_slots, mut continued) = (0, 0);
        // SAFETY: counted as available above, and passed and released below, after the loop.
        for segment in unsafe { self.rings.completion.unbound_segments(count) } {
            if self.waits_for_stamps() {
                self.read_stamps(segment);
            }
            if self.continued.count() > 0 {
                let memory = self.memory;
                let slots = segment.iter().map(|&addr| memory.slot_of(addr));
                continued += self.continued.remove_all(slots);
            }
            let addr = segment.iter().fold(0, |all, &addr| all | addr);
            if addr >= self.memory.fast_bytes && !self.memory.are_masked(segment) {
                let (refilled, bad) = self.take_back(segment, room);
                room -= refilled;
                self.rx_side += refilled;
                bad_slots += bad;
                continue;
            }
            let (refill, rest) = segment.split_at(segment.len().min(room as usize));
            self.rings.fill.push_all(refill);
            #[allow(clippy::cast_possible_truncation, reason = "at most `room`")]
            let refilled = refill.len() as u32;
            room -= refilled;
            self.rx_side += refilled;
            if !rest.is_empty() {
                self.handle.return_from_device(rest.iter().copied());
            }
        }
        self.rings.completion.pass(count);
        self.rings.completion.release();
        self.rings.fill.publish();
        self.tx_side -= count;
        self.counts.transmitted += u64::from(count - continued);
        self.quarantine(bad_slots);
    }

    /// Tops up the fill ring from the pool (X1).
    pub(super) fn refill(&mut self) {
        let wanted = self.rings.fill.size().saturating_sub(self.rx_side);
        let wanted = wanted.min(self.rings.fill.free(wanted));
        let fill = &mut self.rings.fill;
        let got = self.handle.take_for_device(wanted, |offset| fill.push(offset));
        if got > 0 {
            fill.publish();
            self.rx_side += got;
        }
    }

    /// Takes back a segment of the completion ring one by one: into the fill ring while there is `room`,
    /// else to the pool. Returns how many went to the fill ring, and how many are no addresses.
    #[cold]
    fn take_back(&mut self, segment: &[u64], room: u32) -> (u32, u64) {
        let Memory { bytes, size, .. } = self.memory;
        let (mut refilled, mut bad) = (0, 0);
        for &addr in segment {
            if addr >= bytes {
                bad += 1;
                continue;
            }
            let start = size.start_of(size.slot_of(addr));
            if refilled < room {
                self.rings.fill.push(start);
                refilled += 1;
            } else {
                self.handle.return_from_device([start].into_iter());
            }
        }
        (refilled, bad)
    }
}
