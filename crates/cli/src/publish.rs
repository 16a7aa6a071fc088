//! How a running command shows itself to `netmem list`: a page of [`netmem::stats`], into which its
//! worker puts what it has and did, at the start and twice a second.
//!
//! The worker publishes itself, between two batches: levels from ring indices, one system call for the
//! kernel's counters, no slot looked at. A command runs without a page where the kernel refuses one,
//! and says so.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use netmem::{
    device::Device,
    mem::PoolHandle,
    stats::{Area, PacketRecord, Page, PoolRecord, PortRecord, Snapshot, WorkerRecord},
    xdp::Port,
};

use crate::report;

/// How often a worker publishes.
const INTERVAL: Duration = Duration::from_millis(500);

/// A worker with one port, as others see it.
#[derive(Debug)]
pub(crate) struct Published {
    area: Area,
    snapshot: Snapshot,
    due: Instant,
}

impl Published {
    /// Makes the page and publishes for the first time, in the worker's thread and network namespace.
    pub(crate) fn start(
        command: &str,
        port: &Port,
        handle: &PoolHandle,
        notes: &mut dyn Write,
    ) -> Option<Self> {
        let area = match Page::create(command, INTERVAL).and_then(|page| page.area()) {
            Ok(area) => area,
            Err(error) => {
                // Nobody may be listening: that ends nothing.
                let _ = report::row(notes, "not listed", error);
                return None;
            }
        };
        let pool = handle.pool();
        let snapshot = Snapshot {
            packets: Some(PacketRecord::new()),
            regions: vec![pool.region().as_ref().into()],
            pools: vec![PoolRecord::default()],
            ports: vec![PortRecord::new(port)],
            ..Snapshot::of_this_thread()
        };
        let mut published = Self { area, snapshot, due: Instant::now() };
        published.publish(port, handle, WorkerRecord::default());
        Some(published)
    }

    /// Publishes if it is time to.
    #[inline]
    pub(crate) fn tick(
        &mut self,
        now: Instant,
        port: &Port,
        handle: &PoolHandle,
        work: WorkerRecord,
    ) {
        if now >= self.due {
            self.due = now + INTERVAL;
            self.publish(port, handle, work);
        }
    }

    #[cold]
    fn publish(&mut self, port: &Port, handle: &PoolHandle, work: WorkerRecord) {
        let Snapshot { worker, packets, pools, ports, .. } = &mut self.snapshot;
        let worker = worker.insert(work);
        worker.look();
        let mut counts = port.counts();
        counts.add(&handle.counts());
        if let Some(packets) = packets {
            packets.set(&counts);
        }
        for record in ports {
            let levels = record.update(port);
            for pool in pools.iter_mut() {
                *pool = PoolRecord::of_levels(handle.pool(), [&levels]);
            }
        }
        self.area.publish(&self.snapshot);
    }
}
