//! What counts the whole machine, whatever the network namespace it is read in.

use serde::Serialize;

use super::SourceReport;
use crate::proc::{
    Bounds, Buddyinfo, NetworkCache, Pressure, ProtocolMemory, SlabAliases, Slabinfo,
    SocketCgroups, Softnet, network_caches, page_size_bytes,
};
use crate::source::{Reading, Root, Unavailable, or_null};

/// What page fragments are cut from, in bytes (`PAGE_FRAG_CACHE_MAX_SIZE` in
/// include/linux/mm_types_task.h, kernel 6.18).
const PAGE_FRAG_BLOCK_BYTES: u64 = 32 << 10;
/// Control groups are walked in every so manyeth sample: each costs some files.
const SAMPLES_PER_WALK: u32 = 10;
/// So old may the figures of object caches be, in nanoseconds.
const SLABS_KEPT_NS: u64 = 5_000_000_000;

/// The machine's part of a sample.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MachineSample {
    /// Size of a page, in bytes.
    #[serde(serialize_with = "or_null")]
    pub page_bytes: Reading<u64>,
    /// Memory of TCP and UDP against its limits.
    #[serde(serialize_with = "or_null")]
    pub protocols: Reading<[ProtocolMemory; 2]>,
    /// How long tasks waited for memory.
    #[serde(serialize_with = "or_null")]
    pub memory_pressure: Reading<Pressure>,
    /// Control groups with socket memory. Walked in every tenth sample only.
    #[serde(serialize_with = "or_null")]
    pub cgroups: Reading<SocketCgroups>,
    /// What each CPU's receive softirq did.
    #[serde(serialize_with = "or_null")]
    pub softnet: Reading<Softnet>,
    /// Object caches of packets and sockets. To count them the kernel locks every cache of the machine, so
    /// they are read again after 5 s and not before.
    #[serde(serialize_with = "or_null")]
    pub slabs: Reading<Vec<NetworkCache>>,
    /// Free blocks of the page allocator.
    #[serde(serialize_with = "or_null")]
    pub buddyinfo: Reading<Buddyinfo>,
    /// What each source said.
    pub sources: Vec<SourceReport>,
}

impl MachineSample {
    /// The order of the blocks that page fragments are cut from: 3 where pages have 4 KiB.
    pub fn page_frag_order(&self) -> Option<usize> {
        let page_bytes = *self.page_bytes.as_ref().ok()?;
        let pages = (PAGE_FRAG_BLOCK_BYTES / page_bytes.max(1)).max(1);
        Some(pages.ilog2() as usize)
    }
}

/// What is kept between samples.
#[derive(Debug, Default)]
pub(super) struct MachineState {
    aliases: Option<Reading<SlabAliases>>,
    cgroups: Option<Reading<SocketCgroups>>,
    /// With when they were read.
    slabs: Option<(u64, Reading<Vec<NetworkCache>>)>,
    samples: u32,
}

impl MachineState {
    pub(super) fn sample(&mut self, root: &Root, taken_ns: u64) -> MachineSample {
        let page_bytes = page_size_bytes(root);
        if self.samples.is_multiple_of(SAMPLES_PER_WALK) {
            self.cgroups = None;
        }
        self.samples = self.samples.wrapping_add(1);
        let walk = || SocketCgroups::read(root, Bounds::default());
        let mut sample = MachineSample {
            protocols: ProtocolMemory::read(root),
            memory_pressure: Pressure::read(root, "memory"),
            cgroups: self.cgroups.get_or_insert_with(walk).clone(),
            softnet: Softnet::read(root),
            slabs: self.slabs(root, &page_bytes, taken_ns),
            buddyinfo: Buddyinfo::read(root),
            page_bytes,
            sources: Vec::new(),
        };
        sample.sources = vec![
            SourceReport::of("protocol-memory", &sample.protocols),
            SourceReport::of("memory-pressure", &sample.memory_pressure),
            SourceReport::of("cgroups", &sample.cgroups),
            SourceReport::of("softnet", &sample.softnet),
            SourceReport::of("slabs", &sample.slabs),
            SourceReport::of("buddyinfo", &sample.buddyinfo),
        ];
        if let Ok([tcp, udp]) = &sample.protocols {
            sample.sources.push(SourceReport::of("tcp-limits", &tcp.limits));
            sample.sources.push(SourceReport::of("udp-limits", &udp.limits));
            sample.sources.push(SourceReport::of("tcp-pressure", &tcp.pressure));
        }
        sample
    }

    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    fn slabs(
        &mut self,
        root: &Root,
        page_bytes: &Reading<u64>,
        taken_ns: u64,
    ) -> Reading<Vec<NetworkCache>> {
        let is_young = |at: u64| taken_ns.checked_sub(at).is_some_and(|age| age < SLABS_KEPT_NS);
        if let Some((_, known)) = self.slabs.as_ref().filter(|(at, _)| is_young(*at)) {
            return known.clone();
        }
        let slabs = self.read_slabs(root, page_bytes);
        self.slabs = Some((taken_ns, slabs.clone()));
        slabs
    }

    fn read_slabs(&mut self, root: &Root, page_bytes: &Reading<u64>) -> Reading<Vec<NetworkCache>> {
        let page_bytes = page_bytes.clone()?;
        let slabinfo = Slabinfo::read(root)?;
        let aliases = self.aliases.get_or_insert_with(|| SlabAliases::read(root));
        let aliases = aliases.as_ref().map_err(Unavailable::clone)?;
        Ok(network_caches(&slabinfo, aliases, page_bytes))
    }
}
