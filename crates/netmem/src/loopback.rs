//! An in-memory device: two ends in one thread, over one pool. What one end sends, the other
//! receives; no bytes are copied. For tests, examples and machines without privilege.

use std::{cell::RefCell, collections::VecDeque, mem, rc::Rc, time::Duration};

use crate::{
    Result,
    device::{Device, ForeignPacket, Keep, Tally, Verdict},
    mem::{Counts, DropReason, Packet, PacketMut, PoolHandle, Walk},
};

type Queue = Rc<RefCell<VecDeque<Packet>>>;

/// One end of an in-memory pair. `!Send`, like every device (K7).
#[derive(Debug)]
pub struct Loopback {
    handle: PoolHandle,
    inbox: Queue,
    outbox: Queue,
    capacity: usize,
    counts: Counts,
}

impl Loopback {
    /// Makes both ends of a pair; each direction holds up to `capacity` packets.
    #[must_use]
    pub fn pair(handle: &PoolHandle, capacity: usize) -> (Self, Self) {
        let (one, other) = (Queue::default(), Queue::default());
        let end = |inbox: &Queue, outbox: &Queue| Self {
            handle: handle.clone(),
            inbox: Rc::clone(inbox),
            outbox: Rc::clone(outbox),
            capacity,
            counts: Counts::default(),
        };
        (end(&one, &other), end(&other, &one))
    }

    fn send(&mut self, mut packet: Packet) {
        if let Err(reason) = packet.settle_request() {
            return packet.discard(reason);
        }
        // The packet changes hands here, and the receiving end counts it as received: it is sent.
        self.counts.transmitted += 1;
        self.outbox.borrow_mut().push_back(packet);
    }

    fn settle<K: Keep + ?Sized>(
        &mut self,
        packet: Packet,
        verdict: Verdict,
        sink: &mut K,
    ) -> Tally {
        let mut tally = Tally { received: 1, ..Tally::default() };
        match verdict {
            Verdict::Consume => packet.consume(),
            Verdict::Drop(reason) => packet.discard(reason),
            Verdict::Transmit if self.tx_room() == 0 => packet.discard(DropReason::FullRing),
            Verdict::Transmit => {
                tally.transmitted = 1;
                self.send(packet);
            }
            Verdict::Keep => {
                tally.kept = 1;
                sink.keep(packet);
            }
        }
        tally
    }
}

/// Drops the packet it guards as unwound, unless it was taken out (M2).
struct Unwound(Option<Packet>);

impl Drop for Unwound {
    fn drop(&mut self) {
        if let Some(packet) = self.0.take() {
            packet.discard(DropReason::Unwound);
        }
    }
}

impl Device for Loopback {
    fn receive<K, F>(&mut self, budget: u32, sink: &mut K, mut verdict: F) -> Tally
    where
        K: Keep + ?Sized,
        F: FnMut(&mut PacketMut<'_>) -> Verdict,
    {
        let mut sum = Tally::default();
        for _ in 0..budget {
            let Some(packet) = self.inbox.borrow_mut().pop_front() else { break };
            self.counts.received += 1;
            let mut guard = Unwound(Some(packet));
            let packet = guard.0.as_mut().expect("filled in the line above");
            let mut view = packet.lend();
            let answer = verdict(&mut view);
            let span = view.span();
            packet.set_span(span);
            let packet = guard.0.take().expect("filled above");
            let tally = self.settle(packet, answer, sink);
            sum.received += 1;
            sum.transmitted += tally.transmitted;
            sum.kept += tally.kept;
        }
        sum
    }

    fn transmit(
        &mut self,
        packets: &mut VecDeque<Packet>,
    ) -> std::result::Result<usize, ForeignPacket> {
        let room = self.tx_room() as usize;
        for accepted in 0..room {
            let Some(packet) = packets.pop_front() else { return Ok(accepted) };
            if !packet.is_of(&self.handle) {
                return Err(ForeignPacket { packet, accepted });
            }
            self.send(packet);
        }
        Ok(room)
    }

    fn tx_room(&mut self) -> u32 {
        let room = self.capacity.saturating_sub(self.outbox.borrow().len());
        u32::try_from(room).unwrap_or(u32::MAX)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    fn wait(&mut self, _timeout: Duration) -> Result<()> {
        Ok(())
    }

    fn counts(&self) -> Counts {
        self.counts
    }

    fn walk(&self) -> Walk {
        let mut walk = Walk::new();
        // Queued packets count as received by the end that they wait for: they are in nobody's hands
        // but the device's, and their slots show as owned packets.
        let waiting = Counts { received: self.inbox.borrow().len() as u64, ..Counts::default() };
        walk.count(&self.counts);
        walk.count(&waiting);
        walk
    }
}

impl Drop for Loopback {
    /// What waits for an end that is gone is dropped with a reason.
    fn drop(&mut self) {
        for packet in mem::take(&mut *self.inbox.borrow_mut()) {
            packet.discard(DropReason::QueuePurge);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::{Audit, Pool, PoolConfig, Region};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn pool(slots: usize) -> PoolHandle {
        let region = Region::builder(slots * 2048).tiers(&[crate::mem::PageTier::Base4K]);
        Pool::new(region.build().unwrap(), PoolConfig::default()).unwrap().handle()
    }

    fn packets(handle: &PoolHandle, count: u8) -> VecDeque<Packet> {
        let one = |n| {
            let mut packet = handle.alloc().unwrap();
            packet.put(60).unwrap().fill(n);
            packet
        };
        (0..count).map(one).collect()
    }

    fn audit(handle: &PoolHandle, ends: &[&Loopback]) -> Audit {
        let walks = ends.iter().map(|end| end.walk()).chain([handle.walk()]);
        Audit::of(handle.pool(), walks)
    }

    #[test]
    fn verdicts_are_carried_out_and_the_audit_closes() {
        let handle = pool(16);
        let (mut near, mut far) = Loopback::pair(&handle, 8);
        assert_eq!(near.transmit(&mut packets(&handle, 4)).unwrap(), 4);
        let mut kept = Vec::new();
        let tally = far.receive(64, &mut kept, |packet| match packet.bytes()[0] {
            0 => Verdict::Consume,
            1 => Verdict::Drop(DropReason::IcmpCsum),
            2 => Verdict::Keep,
            _ => {
                packet.pull(10).unwrap();
                Verdict::Transmit
            }
        });
        assert_eq!(tally, Tally { received: 4, transmitted: 1, kept: 1 });
        assert_eq!(kept[0].bytes(), [2; 60]);
        let audit_now = audit(&handle, &[&near, &far]);
        assert!(audit_now.is_ok(), "{:?}", audit_now.findings);
        assert_eq!(audit_now.held, 2);
        near.receive(64, &mut (), |packet| {
            assert_eq!(packet.bytes(), [3; 50]);
            Verdict::Consume
        });
        drop(kept);
        let audit_now = audit(&handle, &[&near, &far]);
        assert!(audit_now.is_ok(), "{:?}", audit_now.findings);
        assert_eq!(audit_now.held, 0);
    }

    #[test]
    fn an_unwinding_closure_drops_only_its_packet() {
        let handle = pool(16);
        let (mut near, mut far) = Loopback::pair(&handle, 8);
        near.transmit(&mut packets(&handle, 3)).unwrap();
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            far.receive(64, &mut (), |packet| {
                assert_ne!(packet.bytes()[0], 1, "planned");
                Verdict::Consume
            })
        }));
        assert!(unwound.is_err());
        let rest = far.receive(64, &mut (), |packet| {
            assert_eq!(packet.bytes()[0], 2);
            Verdict::Consume
        });
        assert_eq!(rest.received, 1);
        let audit = audit(&handle, &[&near, &far]);
        assert!(audit.is_ok(), "{:?}", audit.findings);
        assert_eq!(audit.counts.dropped[DropReason::Unwound], 1);
    }

    #[test]
    fn a_full_queue_drops_with_a_reason_and_a_foreign_packet_comes_back() {
        let (handle, other) = (pool(16), pool(16));
        let (mut near, mut far) = Loopback::pair(&handle, 2);
        let mut queue = packets(&handle, 3);
        assert_eq!(near.transmit(&mut queue).unwrap(), 2);
        assert_eq!(queue.len(), 1);
        far.transmit(&mut packets(&handle, 2)).unwrap();
        far.receive(1, &mut (), |_| Verdict::Transmit);
        let foreign = {
            near.receive(1, &mut (), |_| Verdict::Consume);
            far.transmit(&mut packets(&other, 1)).unwrap_err()
        };
        assert_eq!((foreign.accepted, foreign.packet.len()), (0, 60));
        assert_eq!(handle.counts().dropped[DropReason::FullRing], 1);
    }

    /// Chains pass through with every frame, changed at both ends, and count as one packet each.
    #[test]
    fn chains_pass_through() {
        let handle = pool(16);
        let (mut near, mut far) = Loopback::pair(&handle, 8);
        let mut chain = packets(&handle, 3);
        let (mut first, rest) = (chain.pop_front().unwrap(), chain);
        rest.into_iter().for_each(|packet| first.append(packet).unwrap());
        assert_eq!((first.frame_count(), first.total_len()), (3, 180));
        assert_eq!(near.transmit(&mut [first].into()).unwrap(), 1);
        far.receive(64, &mut (), |packet| {
            packet.pull(1).unwrap();
            packet.trim(2).unwrap();
            packet.frame_mut(1).unwrap()[0] = 9;
            Verdict::Transmit
        });
        let mut kept = Vec::new();
        near.receive(64, &mut kept, |_| Verdict::Keep);
        let frames: Vec<_> = kept[0].frames().map(|frame| (frame.len(), frame[0])).collect();
        assert_eq!(frames, [(59, 0), (60, 9), (58, 2)]);
        let closed = audit(&handle, &[&near, &far]);
        assert!(closed.is_ok(), "{:?}", closed.findings);
        assert_eq!((closed.held, closed.counts.consumed), (1, 2));
        kept.clear();
        let closed = audit(&handle, &[&near, &far]);
        assert!(closed.is_ok() && closed.held == 0, "{:?}", closed.findings);
    }
}
