//! Mapped memory for packets: an ordered list of page sizes is tried, and what was got, and why
//! nothing better, is said.
//!
//! ```text
//!   reservation (address space only)
//!   |<- alignment ->|<---------- len_bytes: populated pages --------->|<- guard: faults ->|
//! ```
//!
//! The order for each tier is: map, bind to the NUMA node, then `MADV_POPULATE_WRITE`, so that a
//! shortage is an error here and not a SIGBUS later. `MADV_DONTFORK` keeps a forked child from
//! holding the pages (D5). netmem never reserves huge pages on its own: a refused tier says how many
//! there were. What is more than the machine has free is refused before it is touched. Needs kernel 5.14 for the populate; older kernels get the pages touched one by one.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    ptr::NonNull,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::fs::{SealFlags, fcntl_add_seals, fcntl_get_seals, fstat};

use crate::{
    Error, Result,
    error::errno_text,
    sync::Arc,
    sys::mmap::{Mapping, Place, memfd},
};

/// Inaccessible bytes behind every region: one more than the longest packet of a frame can overrun.
pub const GUARD_BYTES: usize = 64 << 10;
/// Regions below this do not try 1 GiB pages unless asked to.
pub const HUGE_1G_FROM_BYTES: usize = 512 << 20;

const BASE_PAGE_BYTES: usize = 4096;
/// Who has mapped the file need not fear that its pages go.
const FIXED_SIZE: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// A size of page, in the order in which they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PageTier {
    /// 1 GiB pages of hugetlb.
    Huge1G,
    /// 2 MiB pages of hugetlb.
    Huge2M,
    /// Transparent huge pages of 2 MiB: all of the region, or the tier counts as refused.
    Thp,
    /// Base pages of 4 KiB.
    Base4K,
}

impl PageTier {
    /// Every tier, best first.
    pub const ALL: [Self; 4] = [Self::Huge1G, Self::Huge2M, Self::Thp, Self::Base4K];

    /// The name that `--pages` takes: `1g`, `2m`, `thp`, `4k`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Huge1G => "1g",
            Self::Huge2M => "2m",
            Self::Thp => "thp",
            Self::Base4K => "4k",
        }
    }

    /// The size of a page of this tier in bytes.
    #[must_use]
    pub const fn page_bytes(self) -> usize {
        match self {
            Self::Huge1G => 1 << 30,
            Self::Huge2M | Self::Thp => 2 << 20,
            Self::Base4K => BASE_PAGE_BYTES,
        }
    }

    const fn huge_shift(self) -> Option<u32> {
        match self {
            Self::Huge1G => Some(30),
            Self::Huge2M => Some(21),
            Self::Thp | Self::Base4K => None,
        }
    }
}

/// A tier that was tried and not got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedTier {
    /// Which tier.
    pub tier: PageTier,
    /// The kernel's error number; 0 where the call succeeded but the pages did not come.
    pub errno: i32,
    /// The reason in words, with the machine's figures.
    pub why: String,
}

/// What a region was built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionReport {
    /// The tier that was got.
    pub tier: PageTier,
    /// The region's length in bytes, rounded up to whole pages of the tier.
    pub bytes: usize,
    /// The NUMA node that the region was bound to; `None` when none was asked for.
    pub numa_node: Option<u32>,
    /// The better tiers that were tried, in order, and why each was refused.
    pub refused: Vec<RefusedTier>,
}

/// Whether other processes can be given the region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// Private memory.
    #[default]
    Private,
    /// An anonymous file, whose descriptor can be handed to another process.
    Memfd,
}

/// How to build a [`Region`].
#[derive(Debug, Clone)]
pub struct RegionBuilder {
    bytes: usize,
    tiers: Option<Vec<PageTier>>,
    numa_node: Option<u32>,
    sharing: Sharing,
}

impl RegionBuilder {
    /// Names the tiers to try, in order. Default: 1 GiB from [`HUGE_1G_FROM_BYTES`] on, 2 MiB, THP,
    /// 4 KiB.
    #[must_use]
    pub fn tiers(mut self, tiers: &[PageTier]) -> Self {
        self.tiers = Some(tiers.to_vec());
        self
    }

    /// Binds the pages to NUMA node `node` (0..=63).
    #[must_use]
    pub fn numa_node(mut self, node: u32) -> Self {
        self.numa_node = Some(node);
        self
    }

    /// Chooses private memory or an anonymous file.
    #[must_use]
    pub fn sharing(mut self, sharing: Sharing) -> Self {
        self.sharing = sharing;
        self
    }

    /// Maps and populates the memory.
    ///
    /// # Errors
    /// When no tier of the list could be had; the message has the reason of each.
    pub fn build(self) -> Result<Arc<Region>> {
        let target = format!("{} bytes", self.bytes);
        if self.bytes == 0 || self.bytes > isize::MAX as usize / 4 {
            return Err(Error::refused("map memory", target, "the size must be 1 byte to 2 EiB"));
        }
        let tiers = self.tiers.clone().unwrap_or_else(|| {
            let from = usize::from(self.bytes < HUGE_1G_FROM_BYTES);
            PageTier::ALL[from..].to_vec()
        });
        let mut refused = Vec::new();
        for &tier in &tiers {
            match self.try_tier(tier) {
                Ok((reservation, base, bytes, fd)) => {
                    let report = RegionReport { tier, bytes, numa_node: self.numa_node, refused };
                    let divided = AtomicBool::new(false);
                    return Ok(Arc::new(Region {
                        base,
                        report,
                        fd,
                        divided,
                        _reservation: reservation,
                    }));
                }
                Err(why) => refused.push(why),
            }
        }
        let reasons: Vec<_> =
            refused.iter().map(|r| format!("{}: {}", r.tier.name(), r.why)).collect();
        let why =
            if reasons.is_empty() { "no page size was named".into() } else { reasons.join("; ") };
        let hint = if tiers.contains(&PageTier::Base4K) {
            "free memory, or ask for less"
        } else {
            "add 4k to the list of page sizes, or free memory"
        };
        Err(Error::refused("map memory", target, why).with_hint(hint))
    }

    fn try_tier(
        &self,
        tier: PageTier,
    ) -> std::result::Result<(Mapping, NonNull<u8>, usize, Option<OwnedFd>), RefusedTier> {
        let bytes = self.bytes.next_multiple_of(tier.page_bytes());
        check_available(tier, bytes)?;
        let refuse = |error: io::Error| RefusedTier {
            tier,
            errno: error.raw_os_error().unwrap_or(0),
            why: explain(tier, bytes, &error),
        };
        let mut reservation =
            Mapping::reserve(bytes + tier.page_bytes() + GUARD_BYTES).map_err(refuse)?;
        let start = reservation.start().as_ptr() as usize;
        let offset = start.next_multiple_of(tier.page_bytes()) - start;

        let fd = match self.sharing {
            Sharing::Private => None,
            Sharing::Memfd => {
                let fd = memfd(c"netmem-region", bytes, tier.huge_shift()).map_err(refuse)?;
                fcntl_add_seals(&fd, FIXED_SIZE).map_err(|error| refuse(error.into()))?;
                Some(fd)
            }
        };
        let what = match (&fd, tier.huge_shift()) {
            (Some(fd), _) => Place::Shared(fd.as_fd()),
            (None, Some(shift)) => Place::Huge { shift },
            (None, None) => Place::Anonymous,
        };
        reservation.place(offset, bytes, what).map_err(refuse)?;
        if let Some(node) = self.numa_node {
            reservation.bind_node(offset, bytes, node).map_err(refuse)?;
        }
        if tier == PageTier::Thp {
            reservation.advise(offset, bytes, libc::MADV_HUGEPAGE).map_err(refuse)?;
        } else if tier == PageTier::Base4K && fd.is_none() {
            // Without this an `always` setting could hand out huge pages that were not asked for,
            // and the report would be wrong; a kernel without THP answers EINVAL.
            let _ = reservation.advise(offset, bytes, libc::MADV_NOHUGEPAGE);
        }
        populate(&reservation, offset, bytes).map_err(refuse)?;
        if tier == PageTier::Thp {
            verify_thp(&reservation, offset, bytes)?;
        }
        reservation.advise(offset, bytes, libc::MADV_DONTFORK).map_err(refuse)?;
        let base = NonNull::new((start + offset) as *mut u8).expect("a mapping is not at 0");
        let base = reservation.start().with_addr(base.addr());
        Ok((reservation, base, bytes, fd))
    }
}

/// A span of mapped, populated memory (R1); unmapped when the last holder is gone (R3).
#[derive(Debug)]
pub struct Region {
    base: NonNull<u8>,
    report: RegionReport,
    fd: Option<OwnedFd>,
    /// Whether a pool has it: its slots have one owner only if there is one pool (P2).
    divided: AtomicBool,
    _reservation: Mapping,
}

// SAFETY: a region is memory plus immutable facts about it; its bytes are reached only through slots,
// each of which has one owner (P2).
unsafe impl Send for Region {}
// SAFETY: as above: `&Region` alone reaches no byte.
unsafe impl Sync for Region {}

impl Region {
    /// Starts the description of a region of at least `bytes` bytes.
    #[must_use]
    pub fn builder(bytes: usize) -> RegionBuilder {
        RegionBuilder { bytes, tiers: None, numa_node: None, sharing: Sharing::Private }
    }

    /// The length in bytes: what was asked for, rounded up to whole pages.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.report.bytes
    }

    /// Maps a region that another process has made with [`Sharing::Memfd`].
    ///
    /// # Errors
    /// When the file has not that size, could still change it, or cannot be mapped.
    pub(crate) fn of_memfd(fd: OwnedFd, report: RegionReport) -> Result<Arc<Self>> {
        let target = format!("{} bytes of another process", report.bytes);
        let map = || -> io::Result<(Mapping, NonNull<u8>)> {
            let is_fixed = fcntl_get_seals(&fd)?.contains(FIXED_SIZE);
            if !is_fixed || usize::try_from(fstat(&fd)?.st_size).ok() != Some(report.bytes) {
                return Err(io::Error::from_raw_os_error(libc::EINVAL));
            }
            let page_bytes = report.tier.page_bytes();
            let mut mapping = Mapping::reserve(report.bytes + page_bytes + GUARD_BYTES)?;
            let start = mapping.start().as_ptr() as usize;
            let offset = start.next_multiple_of(page_bytes) - start;
            mapping.place(offset, report.bytes, Place::Shared(fd.as_fd()))?;
            populate(&mapping, offset, report.bytes)?;
            mapping.advise(offset, report.bytes, libc::MADV_DONTFORK)?;
            let base = NonNull::new((start + offset) as *mut u8).expect("a mapping is not at 0");
            let base = mapping.start().with_addr(base.addr());
            Ok((mapping, base))
        };
        let (reservation, base) = map().map_err(|error| Error::os("map", target, error))?;
        let divided = AtomicBool::new(false);
        Ok(Arc::new(Self { base, report, fd: Some(fd), divided, _reservation: reservation }))
    }

    /// What was got, and why nothing better.
    #[must_use]
    pub fn report(&self) -> &RegionReport {
        &self.report
    }

    /// The anonymous file behind the region, when [`Sharing::Memfd`] was asked for.
    #[must_use]
    pub fn memfd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// Gives the region to a pool; `false` when one has it already.
    pub(crate) fn divide(&self) -> bool {
        !self.divided.swap(true, Ordering::Relaxed)
    }

    /// The first byte. Reading or writing through it needs the ownership of the slot (P2).
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }
}

/// Refuses pages that the machine does not have free: populating them would not fail, it would make
/// the kernel kill processes (`MADV_POPULATE_WRITE` and the OOM killer, mm/oom_kill.c, kernel 6.18).
/// Pages of hugetlb are set apart beforehand: the mapping itself fails where they are short.
fn check_available(tier: PageTier, bytes: usize) -> std::result::Result<(), RefusedTier> {
    let meminfo = match tier.huge_shift() {
        Some(_) => return Ok(()),
        None => fs::read_to_string("/proc/meminfo").unwrap_or_default(),
    };
    match available_bytes(&meminfo) {
        // A sixteenth stays for page tables and for what else grows meanwhile.
        Some(available) if bytes > available - available / 16 => Err(RefusedTier {
            tier,
            errno: libc::ENOMEM,
            why: format!(
                "needs {} MiB, only {} MiB are free or can be freed (MemAvailable)",
                bytes >> 20,
                available >> 20
            ),
        }),
        _ => Ok(()),
    }
}

fn available_bytes(meminfo: &str) -> Option<usize> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: usize = line.split_ascii_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// Populates the pages, so that running out of memory is an error now.
fn populate(mapping: &Mapping, offset: usize, bytes: usize) -> io::Result<()> {
    match mapping.advise(offset, bytes, libc::MADV_POPULATE_WRITE) {
        // EINVAL: a kernel before 5.14. The pages then come when they are first touched.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        other => other,
    }
}

/// Asks for the huge pages now (kernel 6.1) and checks in smaps that all of them came.
fn verify_thp(
    mapping: &Mapping,
    offset: usize,
    bytes: usize,
) -> std::result::Result<(), RefusedTier> {
    let collapse = mapping.advise(offset, bytes, libc::MADV_COLLAPSE);
    let start = mapping.start().as_ptr() as usize + offset;
    let refuse = |errno, why| Err(RefusedTier { tier: PageTier::Thp, errno, why });
    match smaps_huge_bytes(start, bytes) {
        Ok(got) if got >= bytes => Ok(()),
        Ok(got) => {
            let errno = collapse.as_ref().err().and_then(io::Error::raw_os_error).unwrap_or(0);
            let mode = thp_mode();
            refuse(errno, format!("{} of {} KiB came as huge pages{mode}", got >> 10, bytes >> 10))
        }
        Err(error) => refuse(error.raw_os_error().unwrap_or(0), format!("read smaps: {error}")),
    }
}

fn thp_mode() -> String {
    fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled")
        .map(|text| format!(" (transparent_hugepage/enabled: {})", text.trim()))
        .unwrap_or_default()
}

/// Sums the bytes of transparent huge pages of the mappings inside `start..start + bytes`.
fn smaps_huge_bytes(start: usize, bytes: usize) -> io::Result<usize> {
    let smaps = fs::read_to_string("/proc/self/smaps")?;
    let mut inside = false;
    let mut sum = 0;
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        let first = words.next().unwrap_or_default();
        if let Some((low, high)) = parse_range(first) {
            inside = low >= start && high <= start + bytes;
        } else if inside && matches!(first, "AnonHugePages:" | "ShmemPmdMapped:") {
            sum += words.next().and_then(|n| n.parse::<usize>().ok()).unwrap_or(0) << 10;
        }
    }
    Ok(sum)
}

fn parse_range(word: &str) -> Option<(usize, usize)> {
    let (low, high) = word.split_once('-')?;
    Some((usize::from_str_radix(low, 16).ok()?, usize::from_str_radix(high, 16).ok()?))
}

/// Says why a tier was refused, with the machine's figures.
fn explain(tier: PageTier, bytes: usize, error: &io::Error) -> String {
    let cause = errno_text(error);
    if tier.huge_shift().is_none() {
        return cause;
    }
    let kib = tier.page_bytes() >> 10;
    let directory = format!("/sys/kernel/mm/hugepages/hugepages-{kib}kB");
    let figure = |name: &str| -> Option<u64> {
        fs::read_to_string(format!("{directory}/{name}")).ok()?.trim().parse().ok()
    };
    let needed = bytes / tier.page_bytes();
    let name = tier.name();
    match (figure("nr_hugepages"), figure("free_hugepages"), figure("resv_hugepages")) {
        (Some(total), Some(free), Some(reserved)) => format!(
            "{cause}: needs {needed} pages of {name}, {} of {total} are free{}",
            free.saturating_sub(reserved),
            could_be_had(tier, needed)
        ),
        _ => format!("{cause}: this kernel has no pages of {name}"),
    }
}

/// Whether memory is free in large enough blocks to reserve the pages by hand, from buddyinfo.
fn could_be_had(tier: PageTier, needed: usize) -> String {
    // Orders of 4 KiB pages: 2 MiB is order 9; 1 GiB is above the buddy allocator's largest block.
    if tier != PageTier::Huge2M {
        return String::new();
    }
    let Ok(text) = fs::read_to_string("/proc/buddyinfo") else { return String::new() };
    let free = free_2m_blocks(&text);
    if free >= needed {
        format!("; memory for {free} more is unfragmented: sysctl vm.nr_hugepages can reserve them")
    } else {
        format!("; memory for only {free} more is unfragmented")
    }
}

fn free_2m_blocks(buddyinfo: &str) -> usize {
    const ORDER_2M: usize = 9;
    let zone = |line: &str| -> usize {
        let counts = line.split_once("zone").map_or("", |(_, rest)| rest);
        let counts = counts.split_ascii_whitespace().skip(1).enumerate();
        counts
            .filter(|&(order, _)| order >= ORDER_2M)
            .map(|(order, n)| n.parse::<usize>().unwrap_or(0) << (order - ORDER_2M))
            .sum()
    };
    buddyinfo.lines().map(zone).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_region_is_rounded_up_and_the_refusals_are_in_order() {
        let region = Region::builder(5000).tiers(&[PageTier::Base4K]).build().unwrap();
        assert_eq!(region.len_bytes(), 8192);
        assert!(region.report().refused.is_empty());

        let region = Region::builder(3 << 20).build().unwrap();
        let report = region.report();
        let tried: Vec<_> = report.refused.iter().map(|refused| refused.tier).collect();
        let better = [PageTier::Huge2M, PageTier::Thp, PageTier::Base4K];
        assert_eq!(tried, better[..better.iter().position(|&t| t == report.tier).unwrap()]);
        assert!(report.refused.iter().all(|refused| !refused.why.is_empty()));
        assert_eq!(region.len_bytes() % report.tier.page_bytes(), 0);
    }

    #[test]
    fn a_region_that_is_too_large_names_every_reason() {
        let error = Region::builder(1 << 50).tiers(&[PageTier::Huge2M]).build().unwrap_err();
        assert!(error.to_string().contains("2m: "), "{error}");
        assert!(error.hint().is_some());
        assert!(Region::builder(0).build().is_err());
        assert!(Region::builder(4096).tiers(&[]).build().is_err());
    }

    /// More than is available, but less than the machine has, so that the kernel would let it be
    /// mapped and kill for it when it is populated.
    #[test]
    fn more_than_is_available_is_refused_before_it_is_populated() {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
        let available = available_bytes(&meminfo).unwrap();
        for tier in [PageTier::Thp, PageTier::Base4K] {
            let refused = check_available(tier, available).unwrap_err();
            assert_eq!((refused.tier, refused.errno), (tier, libc::ENOMEM));
            assert!(refused.why.contains("MemAvailable"), "{}", refused.why);
            assert_eq!(check_available(tier, available / 2), Ok(()));
        }
        assert_eq!(check_available(PageTier::Huge2M, available), Ok(()), "mmap says it better");
        let error = Region::builder(1 << 50).tiers(&[PageTier::Base4K]).build().unwrap_err();
        assert!(error.to_string().contains("4k: needs 1073741824 MiB"), "{error}");
        assert_eq!(error.hint(), Some("free memory, or ask for less"));
        assert_eq!(available_bytes("MemFree: 7 kB\nMemAvailable:   12 kB\n"), Some(12 << 10));
        assert_eq!(available_bytes("MemFree: 7 kB\n"), None);
    }

    #[test]
    fn a_memfd_region_has_its_descriptor_and_a_private_one_has_none() {
        let tiers = [PageTier::Base4K];
        let shared = Region::builder(4096).tiers(&tiers).sharing(Sharing::Memfd).build().unwrap();
        assert!(shared.memfd().is_some());
        let private = Region::builder(4096).tiers(&tiers).build().unwrap();
        assert!(private.memfd().is_none());
    }

    #[test]
    fn numa_node_0_is_bound_and_a_missing_node_is_refused() {
        let tiers = [PageTier::Base4K];
        let region = Region::builder(4096).tiers(&tiers).numa_node(0).build();
        assert_eq!(region.unwrap().report().numa_node, Some(0));
        assert!(Region::builder(4096).tiers(&tiers).numa_node(63).build().is_err());
        assert!(Region::builder(4096).tiers(&tiers).numa_node(64).build().is_err());
    }

    #[test]
    fn thp_is_only_reported_when_smaps_agrees() {
        match Region::builder(4 << 20).tiers(&[PageTier::Thp]).build() {
            Ok(region) => {
                let start = region.base().as_ptr() as usize;
                let bytes = region.len_bytes();
                assert_eq!(smaps_huge_bytes(start, bytes).unwrap(), bytes);
            }
            Err(error) => assert!(error.to_string().contains("thp: "), "{error}"),
        }
    }

    /// D5: a forked child has no copy of the mapping, and so cannot hold its pages.
    #[test]
    fn a_region_is_hidden_from_forked_children() {
        let region = Region::builder(8192).tiers(&[PageTier::Base4K]).build().unwrap();
        let start = region.base().as_ptr() as usize;
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = smaps.lines().skip_while(|line| {
            let range = line.split(' ').next().and_then(parse_range);
            !range.is_some_and(|(low, high)| low <= start && start < high)
        });
        let flags = lines.find(|line| line.starts_with("VmFlags:")).unwrap();
        assert!(flags.split(' ').any(|flag| flag == "dc"), "do not copy on fork: {flags}");
    }

    #[test]
    fn buddyinfo_blocks_are_counted_in_pages_of_2m() {
        let text = "Node 0, zone   Normal   1 2 3 4 5 6 7 8 9 10 11\n\
                    Node 0, zone      DMA   0 0 0 0 0 0 0 0 0 1 0\n";
        assert_eq!(free_2m_blocks(text), 10 + 2 * 11 + 1);
    }
}
