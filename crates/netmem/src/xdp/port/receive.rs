//! A batch: what comes back and the fill ring first, then the rx ring run by run, then the kernel is shown
//! what was done. The packets of a run are [`Pass`]'s.

use std::{hint, slice};

use super::{Port, chain::Next, pass::Pass};
use crate::{
    device::{ForeignPort, Keep, Tally, Verdict},
    mem::PacketMut,
    sync::Arc,
};

impl Port {
    /// As [`Device::receive`](crate::device::Device::receive), with packets that are to be sent put into the tx ring of `out` where they
    /// lie: [`Verdict::Transmit`] means that port. Nothing is copied and no slot changes its state; the
    /// slots come back by `out`'s completions, into its fill ring as far as that has room, the rest into
    /// its thread's cache, from where this port's fill ring is topped up.
    ///
    /// M1 to M3 hold as for `receive`: without room in `out`'s tx ring a packet is dropped as
    /// [`DropReason::FullRing`](crate::mem::DropReason::FullRing), counted by this port.
    ///
    /// # Errors
    /// When the ports are of different pools (K8): nothing is received.
    #[inline]
    pub fn receive_to<K, F>(
        &mut self,
        out: &mut Self,
        budget: u32,
        sink: &mut K,
        mut verdict: F,
    ) -> Result<Tally, ForeignPort>
    where
        K: Keep + ?Sized,
        F: FnMut(&mut PacketMut<'_>) -> Verdict,
    {
        if !Arc::ptr_eq(self.handle.pool(), out.handle.pool()) {
            hint::cold_path();
            return Err(ForeignPort);
        }
        if out.tx_side > 0 {
            out.reap();
        }
        let asking = Asking::as_of(self, out);
        let tally = asking.0.receive_by(Some(&mut *out), budget, sink, &mut verdict);
        drop(asking);
        out.publish_sent();
        out.kick();
        Ok(tally)
    }

    /// Receives for [`Device::receive`](crate::device::Device::receive) and, with a port to send by, for [`receive_to`](Self::receive_to).
    #[inline(always)]
    pub(super) fn receive_by<K, F>(
        &mut self,
        mut out: Option<&mut Self>,
        mut budget: u32,
        sink: &mut K,
        verdict: &mut F,
    ) -> Tally
    where
        K: Keep + ?Sized,
        F: FnMut(&mut PacketMut<'_>) -> Verdict,
    {
        if self.tx_side > 0 {
            self.reap();
        }
        if self.rx_side <= self.refill_at {
            self.refill();
        }
        let mut left = self.left_of(budget);
        let mut tally = Tally::default();
        if left == 0 {
            self.wake();
            return tally;
        }
        while left > 0 {
            let lone_desc;
            // SAFETY: `run` descriptors are available and before the wrap; the slice is used before
            // they are released below.
            let mut descs = unsafe { self.rings.rx.run(self.run(left)) };
            if !self.memory.are_plain(descs) {
                hint::cold_path();
                match self.next_of(descs) {
                    Next::Plain(count) => descs = &descs[..count],
                    Next::Lone(desc) => {
                        left = 1 + self.left_behind(budget - tally.received - 1);
                        lone_desc = desc;
                        descs = slice::from_ref(&lone_desc);
                    }
                    Next::Bad => {
                        budget -= 1;
                        left = self.left_of(budget - tally.received);
                        continue;
                    }
                    Next::Incomplete => {
                        self.publish();
                        self.wake();
                        break;
                    }
                }
            }
            #[allow(clippy::cast_possible_truncation, reason = "a run has u32 packets")]
            let run = descs.len() as u32;
            left -= run;
            tally.received += run;
            Pass::over(self, out.as_deref_mut(), descs).lend_all(sink, verdict, &mut tally);
        }
        self.publish();
        if self.unkicked {
            self.kick();
        }
        tally
    }
}

/// A port whose packets may ask for what another one does, which sends them; as before when it is dropped.
struct Asking<'p>(&'p mut Port);

impl<'p> Asking<'p> {
    fn as_of(port: &'p mut Port, out: &Port) -> Self {
        port.lend_with(out.metadata.as_ref().map(|metadata| metadata.offer()));
        Self(port)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.lend_with(self.0.metadata.as_ref().map(|metadata| metadata.offer()));
    }
}
