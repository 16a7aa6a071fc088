//! Records to words and back. What is read may be anything (D6): a field that is not there makes the
//! record damaged, and a length that cannot be ends the reading.

use super::{
    PacketRecord, PoolRecord, PortRecord, RegionRecord, RingRecord, Snapshot, WorkerRecord,
};
use crate::{
    mem::audit::{Owner, Owners},
    stats::text::Text,
    sync::{AtomicU64, Ordering},
    xdp::{Progress, Statistics},
};

const REGION: u32 = 1;
const POOL: u32 = 2;
const PORT: u32 = 3;
const PACKETS: u32 = 4;
const WORKER: u32 = 5;

const NOT_KNOWN: u64 = u64::MAX;
const NEED_WAKEUP: u64 = 1;
const BUSY_POLL: u64 = 2;

/// Stores the records of `snapshot` from the front of `words`: returns how many words they take, and
/// how many records found no room. Neither allocates nor fails.
pub(in crate::stats) fn encode(snapshot: &Snapshot, words: &[AtomicU64]) -> (usize, u64) {
    let mut out = Out { words, at: 0, fits: true, left_out: 0 };
    // The small ones first: they are what is shown of a worker with many ports.
    if let Some(worker) = &snapshot.worker {
        out.record(WORKER, |out| worker.put(out));
    }
    if let Some(packets) = &snapshot.packets {
        out.record(PACKETS, |out| packets.put(out));
    }
    for region in &snapshot.regions {
        out.record(REGION, |out| region.put(out));
    }
    for pool in &snapshot.pools {
        out.record(POOL, |out| pool.put(out));
    }
    for port in &snapshot.ports {
        out.record(PORT, |out| port.put(out));
    }
    (out.at, out.left_out)
}

/// What stands in the words of an area.
#[derive(Debug, Default)]
pub(in crate::stats) struct Decoded {
    pub(in crate::stats) snapshot: Snapshot,
    /// Kinds that this version does not know, as often as they came.
    pub(in crate::stats) unknown_kinds: Vec<u32>,
    /// Whether a record is shorter than its kind, or longer than what is left.
    pub(in crate::stats) is_damaged: bool,
}

/// Reads records until there are no more words.
pub(in crate::stats) fn decode(mut words: &[u64]) -> Decoded {
    let mut all = Decoded::default();
    while let [header, ..] = *words {
        #[allow(clippy::cast_possible_truncation, reason = "the two halves of the word")]
        let (kind, len) = ((header >> 32) as u32, header as u32 as usize);
        // At least the header: each round gets on.
        let Some((record, rest)) = (len > 0).then(|| words.split_at_checked(len)).flatten() else {
            all.is_damaged = true;
            break;
        };
        words = rest;
        let mut fields = Fields(&record[1..]);
        let is_whole = match kind {
            WORKER => put_in(&mut all.snapshot.worker, WorkerRecord::take(&mut fields)),
            PACKETS => put_in(&mut all.snapshot.packets, PacketRecord::take(&mut fields)),
            REGION => push(&mut all.snapshot.regions, RegionRecord::take(&mut fields)),
            POOL => push(&mut all.snapshot.pools, PoolRecord::take(&mut fields)),
            PORT => push(&mut all.snapshot.ports, PortRecord::take(&mut fields)),
            unknown => push(&mut all.unknown_kinds, Some(unknown)),
        };
        all.is_damaged |= !is_whole;
    }
    all
}

fn put_in<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let is_whole = value.is_some() && place.is_none();
    *place = value.or_else(|| place.take());
    is_whole
}

fn push<T>(all: &mut Vec<T>, value: Option<T>) -> bool {
    let is_whole = value.is_some();
    all.extend(value);
    is_whole
}

struct Out<'words> {
    words: &'words [AtomicU64],
    at: usize,
    fits: bool,
    left_out: u64,
}

impl Out<'_> {
    fn record(&mut self, kind: u32, fields: impl FnOnce(&mut Self)) {
        let start = self.at;
        self.fits = true;
        self.put(0);
        fields(self);
        if self.fits {
            let header = u64::from(kind) << 32 | (self.at - start) as u64;
            self.words[start].store(header, Ordering::Relaxed);
        } else {
            self.at = start;
            self.left_out += 1;
        }
    }

    fn put(&mut self, value: u64) {
        // Relaxed: the seqlock around orders it (Q1).
        match self.words.get(self.at) {
            Some(word) => word.store(value, Ordering::Relaxed),
            None => self.fits = false,
        }
        self.at += 1;
    }

    fn put_all<const N: usize>(&mut self, values: [u64; N]) {
        values.into_iter().for_each(|value| self.put(value));
    }

    fn put_text<const N: usize>(&mut self, text: &Text<N>) {
        self.put_all(text.words());
    }
}

struct Fields<'words>(&'words [u64]);

impl Fields<'_> {
    fn take(&mut self) -> Option<u64> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn take_u32(&mut self) -> Option<u32> {
        self.take()?.try_into().ok()
    }

    fn take_all<const N: usize>(&mut self) -> Option<[u64; N]> {
        let (&all, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(all)
    }

    fn take_text<const N: usize>(&mut self) -> Option<Text<N>> {
        Some(Text::from_words(self.take_all()?))
    }
}

impl WorkerRecord {
    fn put(&self, out: &mut Out<'_>) {
        let Self { thread_id, cpu, batches, empty_polls, waits } = *self;
        out.put_all([thread_id.into(), cpu.into(), batches, empty_polls, waits]);
    }

    fn take(fields: &mut Fields<'_>) -> Option<Self> {
        let (thread_id, cpu) = (fields.take_u32()?, fields.take_u32()?);
        let [batches, empty_polls, waits] = fields.take_all()?;
        Some(Self { thread_id, cpu, batches, empty_polls, waits })
    }
}

impl PacketRecord {
    fn put(&self, out: &mut Out<'_>) {
        let Self { received, created, cloned, transmitted, consumed, held, dropped } = self;
        out.put_all([*received, *created, *cloned, *transmitted, *consumed, *held]);
        out.put(dropped.len() as u64);
        for (reason, count) in dropped {
            out.put_text(reason);
            out.put(*count);
        }
    }

    fn take(fields: &mut Fields<'_>) -> Option<Self> {
        let [received, created, cloned, transmitted, consumed, held, reasons] =
            fields.take_all()?;
        let mut dropped = Vec::new();
        // Ends with the fields, whatever number was written.
        for _ in 0..reasons {
            dropped.push((fields.take_text()?, fields.take()?));
        }
        Some(Self { received, created, cloned, transmitted, consumed, held, dropped })
    }
}

impl RegionRecord {
    fn put(&self, out: &mut Out<'_>) {
        let Self { bytes, page_bytes, numa_node, tier } = self;
        out.put_all([*bytes, *page_bytes, numa_node.map_or(NOT_KNOWN, u64::from)]);
        out.put_text(tier);
    }

    fn take(fields: &mut Fields<'_>) -> Option<Self> {
        let [bytes, page_bytes, node] = fields.take_all()?;
        let numa_node = u32::try_from(node).ok();
        Some(Self { bytes, page_bytes, numa_node, tier: fields.take_text()? })
    }
}

impl PoolRecord {
    fn put(&self, out: &mut Out<'_>) {
        out.put_all([self.slots, self.frame_bytes]);
        for owner in Owner::ALL {
            out.put(self.owners[owner]);
        }
    }

    fn take(fields: &mut Fields<'_>) -> Option<Self> {
        let [slots, frame_bytes] = fields.take_all()?;
        let mut owners = Owners::default();
        for owner in Owner::ALL {
            owners[owner] = fields.take()?;
        }
        Some(Self { slots, frame_bytes, owners })
    }
}

impl PortRecord {
    fn put(&self, out: &mut Out<'_>) {
        out.put_text(&self.interface);
        out.put_all([self.ifindex.into(), self.netns_inode.unwrap_or(NOT_KNOWN)]);
        out.put(self.queue.into());
        out.put_text(&self.mode);
        let flag = |is_set: bool, flag| if is_set { flag } else { 0 };
        out.put(flag(self.need_wakeup, NEED_WAKEUP) | flag(self.busy_poll, BUSY_POLL));
        for ring in [self.fill, self.rx, self.tx, self.completion] {
            out.put_all([ring.entries.into(), ring.level]);
        }
        out.put_all([self.kernel_rx, self.kernel_tx, self.quarantined]);
        let Progress { filled, received, transmitted, completed } = self.progress;
        out.put_all([filled, received, transmitted, completed]);
        out.put(self.statistics.is_some().into());
        let s = self.statistics.unwrap_or_default();
        out.put_all([s.rx_dropped, s.rx_invalid_descs, s.tx_invalid_descs]);
        out.put_all([s.rx_ring_full, s.rx_fill_ring_empty_descs, s.tx_ring_empty_descs]);
    }

    fn take(fields: &mut Fields<'_>) -> Option<Self> {
        let interface = fields.take_text()?;
        let (ifindex, netns) = (fields.take_u32()?, fields.take()?);
        let (queue, mode, flags) = (fields.take_u32()?, fields.take_text()?, fields.take()?);
        let mut ring = || Some(RingRecord { entries: fields.take_u32()?, level: fields.take()? });
        let (fill, rx, tx, completion) = (ring()?, ring()?, ring()?, ring()?);
        let [kernel_rx, kernel_tx, quarantined] = fields.take_all()?;
        let [filled, received, transmitted, completed] = fields.take_all()?;
        let knows = fields.take()? != 0;
        let [rx_dropped, rx_invalid_descs, tx_invalid_descs] = fields.take_all()?;
        let [rx_ring_full, rx_fill_ring_empty_descs, tx_ring_empty_descs] = fields.take_all()?;
        let statistics = Statistics {
            rx_dropped,
            rx_invalid_descs,
            tx_invalid_descs,
            rx_ring_full,
            rx_fill_ring_empty_descs,
            tx_ring_empty_descs,
        };
        Some(Self {
            interface,
            ifindex,
            netns_inode: (netns != NOT_KNOWN).then_some(netns),
            queue,
            mode,
            need_wakeup: flags & NEED_WAKEUP != 0,
            busy_poll: flags & BUSY_POLL != 0,
            fill,
            rx,
            tx,
            completion,
            kernel_rx,
            kernel_tx,
            quarantined,
            progress: Progress { filled, received, transmitted, completed },
            statistics: knows.then_some(statistics),
        })
    }
}
