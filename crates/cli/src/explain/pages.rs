//! Words of page memory: fragments, page pools, DMA and the rings of devices.

use super::{Entry, Now, api};

pub(super) static ENTRIES: &[Entry] = &[
    Entry {
        word: "page_frag_cache",
        aliases: "page_frag, page_frag_alloc, __page_frag_cache_refill, pagecnt_bias, \
            PAGE_FRAG_CACHE_MAX_SIZE, PAGE_FRAG_CACHE_MAX_ORDER, page_frag_free, 页面分片缓存, 页面分片分配器, \
            页面分片, 分片内存池, FRAG_POOL, fragsz, pagecount偏移, free_the_page, virt_to_page, \
            compound_order, 分片大小, 分片, frag_page, 页面分片结构",
        what: "Cuts pieces of any size out of one block of 32 KiB (a single page when memory is \
            fragmented) and counts references per block. It takes a large number of references at \
            once and gives them out without atomics (pagecnt_bias); a block whose other references \
            are all back is used again in place. Since 6.13 the structure is {encoded_page, \
            offset, pagecnt_bias} in mm/page_frag_cache.c and pieces are cut upwards; before it \
            was in mm/page_alloc.c, downwards.",
        kernel: "mm/page_frag_cache.c, include/linux/page_frag_cache.h",
        api: api![netmem::mem::Pool],
        commands: "",
        note: "pieces of slots are planned; today a packet takes a whole slot",
        now: &[],
    },
    Entry {
        word: "netdev_alloc_cache",
        aliases: "网络设备分配缓存, 网络设备内存池, netdev_alloc_frag, napi_alloc_frag, 网络内存池, 网络内存池管理, 内存池",
        what: "The page fragment cache of each CPU for packets that are received outside of a NAPI \
            poll; napi_alloc_cache has another for the poll. Only one context uses each at a time, \
            so neither takes a lock. Its memory stays with the CPU until the block is used up.",
        kernel: "net/core/skbuff.c",
        api: api![netmem::mem::PoolHandle],
        commands: "",
        note: "",
        now: &[],
    },
    Entry {
        word: "sk_page_frag_refill",
        aliases: "skb_page_frag_refill, pfrag, sk_page_frag, 重新填充页面分片, sk_allocation, 套接字页面分片",
        what: "Gets page memory for what a socket sends: each task or socket has a block of 32 \
            KiB that copied data is appended to. When no page can be had the protocol enters \
            memory pressure and the socket's send buffer is made smaller. It is the buffer for \
            copied data, and not for zero-copy sends.",
        kernel: "net/core/sock.c",
        api: &[],
        commands: "netmem top",
        note: "",
        now: &[],
    },
    Entry {
        word: "page allocator",
        aliases: "PAGE_ALLOC, alloc_pages_node, alloc_pages, 页面分配器, PAGE_SIZE, buddy, buddyinfo, \
            fragmentation, 物理内存, RAM, 内存碎片, 内存碎片控制, page_address, struct page, offset_in_page, 页面, \
            get_order, order, 页",
        what: "Gives out physical memory in blocks of 2^n pages from free lists per node and zone. \
            Large blocks get rare as memory is fragmented, which /proc/buddyinfo shows: page \
            fragments then fall back to single pages, and huge pages cannot be had. It is the slow \
            path that all the caches of the network stack are there to avoid.",
        kernel: "mm/page_alloc.c",
        api: api![netmem::mem::PageTier],
        commands: "netmem doctor",
        note: "",
        now: &[Now::Line("buddyinfo", ""), Now::Line("meminfo", "MemFree:")],
    },
    Entry {
        word: "page_pool",
        aliases: "page pool, 页池, 页面池, 页面池管理, page_pool_create, page_pool_params, \
            page_pool_alloc_pages, page_pool_alloc_cached, page_pool_alloc_new, \
            page_pool_fragment_page, pool_size, page_pool_dma_sync_for_device, \
            page_pool_set_dma_addr, PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV, frag_offset, \
            frag_users, max_len, RX_POOL, TX_POOL, 接收内存池, 发送内存池, /sys/kernel/debug/page_pool, \
            net.core.xdp, 页池观测, 页面池参数, 页面回收优化",
        what: "A driver's supply of receive pages for one queue: an array of 128 pages for the \
            poll that owns it without locks, then a ring that other CPUs return pages to, then the \
            page allocator. Pages stay mapped for DMA while they go round. There is no folder \
            /sys/kernel/debug/page_pool and no sysctl net.core.xdp: the netdev netlink family \
            lists pools since 6.8.",
        kernel: "net/core/page_pool.c, include/net/page_pool/types.h, \
            Documentation/networking/page_pool.rst",
        api: api![netmem::mem::Pool, netmem::mem::PoolStatistics],
        commands: "netmem top, netmem doctor",
        note: "",
        now: &[Now::Tracepoint("page_pool/page_pool_state_hold")],
    },
    Entry {
        word: "ptr_ring",
        aliases: "ptr_ring_init, ptr_ring_consume, ring_qsize",
        what: "A ring of pointers with one lock for producers and one for consumers, where an \
            empty place holds NULL. A page pool has one (1024 entries by default) for pages that \
            come back from other CPUs; when it is full the page is freed. The poll takes many at \
            once.",
        kernel: "include/linux/ptr_ring.h",
        api: api![netmem::mem::Pool],
        commands: "",
        note: "slots of other threads come back by the pool's shared stack, in chains",
        now: &[],
    },
    Entry {
        word: "page pool in flight",
        aliases: "inflight, in-flight, pages_state_hold_cnt, pages_state_release_cnt, \
            page_pool_release_retry, release_dw, defer_start, defer_warn, delayed_work, \
            INIT_DELAYED_WORK, disconnect, deferred destroy, 延迟释放工作, 延迟警告时间, 断开连接回调, stalled pool \
            shutdown, 延迟开始时间",
        what: "Pages held out by a pool minus pages released, as a signed distance of two counters \
            of 32 bits. A pool that is destroyed lives on until the last page is back, looks again \
            every second, and warns each minute (stalled pool shutdown). netdev netlink shows such \
            pools with a detach time: one that stays is a leak of somebody who holds its packets.",
        kernel: "net/core/page_pool.c, net/core/page_pool_user.c",
        api: api![netmem::mem::Drain],
        commands: "netmem top",
        note: "`Pool::close` drains and says who still holds what",
        now: &[Now::Tracepoint("page_pool/page_pool_state_release")],
    },
    Entry {
        word: "page pool statistics",
        aliases: "page_pool_get_stats, page_pool_stats, alloc_stats, page_pool_alloc_stats, \
            page_pool_stats_percpu, stats_percpu, CONFIG_PAGE_POOL_STATS, 页面池统计, 页池统计, \
            u64_stats_init, syncp, cached, refill, recycle stats",
        what: "Counts of allocations (fast, slow, slow_high_order, empty, refill, waive) and of \
            returns (cached, cache_full, ring, ring_full, released_refcnt) of each pool. They need \
            CONFIG_PAGE_POOL_STATS and are read by netdev netlink (page-pool-stats-get, 6.8) or, \
            for some drivers, ethtool -S. Without the option the kernel answers EOPNOTSUPP.",
        kernel: "net/core/page_pool.c, Documentation/netlink/specs/netdev.yaml",
        api: api![netmem::mem::PoolStatistics],
        commands: "netmem doctor, netmem top",
        note: "",
        now: &[Now::Config("CONFIG_PAGE_POOL_STATS")],
    },
    Entry {
        word: "DMA",
        aliases: "DMA_ENGINE, DMA引擎, DMA_POOL, DMA内存池, DMA内存管理, 网络设备DMA管理, DMA地址, dma_addr_t, \
            dma_addr, dma_handle, dma_map_ops, get_dma_ops, DMA一致性, direct memory access, 网卡缓冲区, \
            NIC_BUF, NIC, 网卡",
        what: "A device reads and writes memory by itself, at addresses that the kernel gives it \
            (dma_addr_t), which differ from the CPU's where there is an IOMMU. Memory is the \
            device's between map and unmap, or between two syncs, and the CPU must not touch it \
            then. With neither IOMMU nor bounce buffers, the calls go straight through \
            (dma-direct) and there are no dma_map_ops.",
        kernel: "kernel/dma/mapping.c, Documentation/core-api/dma-api.rst",
        api: api![netmem::mem::Region],
        commands: "netmem doctor",
        note: "registering a UMEM is one long-lived mapping; who may touch a slot is a type",
        now: &[],
    },
    Entry {
        word: "coherent DMA memory",
        aliases: "dma_alloc_coherent, dma_free_coherent, DMA_COHERENT, DMA_ATTR_NON_CONSISTENT, \
            一致性DMA, 一致性内存, DMA一致性内存, dma_release_from_dev_coherent, debug_dma_alloc_coherent, \
            debug_dma_free_coherent, 分配DMA一致性内存",
        what: "Memory that CPU and device may both use at any time without syncs, as descriptor \
            rings do; barriers still order what is written. It is allocated by dma_alloc_coherent \
            and lives as long as the ring. DMA_ATTR_NON_CONSISTENT, which old drivers pass, was \
            removed in 5.10.",
        kernel: "kernel/dma/mapping.c, Documentation/core-api/dma-api-howto.rst",
        api: &[],
        commands: "",
        note: "",
        now: &[],
    },
    Entry {
        word: "streaming DMA",
        aliases: "DMA_STREAMING, 流式DMA, dma_map_single, dma_unmap_single, dma_mapping_error, \
            dma_need_sync, dma_dir, map_page, unmap_page, DMA_FROM_DEVICE, DMA_TO_DEVICE, \
            DMA_BIDIRECTIONAL, dma_data_direction, valid_dma_direction, debug_dma_map_single, \
            debug_dma_unmap_single, dma_sync_single_for_cpu, DMA映射, DMA方向, 映射单个DMA缓冲区",
        what: "Memory that is handed to the device for one transfer, with a direction, and taken \
            back by unmap or a sync. Each mapping can fail and must be checked by \
            dma_mapping_error, and is undone once with the same size and direction. Page pools and \
            UMEMs map once and only sync each time.",
        kernel: "kernel/dma/mapping.c, include/linux/dma-mapping.h",
        api: &[],
        commands: "",
        note: "",
        now: &[],
    },
    Entry {
        word: "IOMMU",
        aliases: "iommu, IOMMU映射, IOVA, VFIO, iommu_group, DMA domain, identity domain",
        what: "Translates the addresses of devices, so that each can reach only what was mapped \
            for it. A domain is strict (DMA: unmapped at once), lazy (DMA-FQ: in batches) or \
            passed through (identity); the group's type in /sys/kernel/iommu_groups says which. \
            Strict mapping of each packet is slow; pools that stay mapped avoid it.",
        kernel: "drivers/iommu/iommu.c, Documentation/ABI/testing/sysfs-kernel-iommu_groups",
        api: &[],
        commands: "netmem doctor",
        note: "",
        now: &[Now::Count("sys", "kernel/iommu_groups", "groups")],
    },
    Entry {
        word: "bounce buffer",
        aliases: "swiotlb, BOUNCE, 反弹缓冲区, bounce buffers, SWIOTLB",
        what: "Memory that a device can reach, into which the kernel copies when it cannot reach \
            the packet: 32-bit devices and encrypted guests. swiotlb is its pool, 64 MiB by \
            default where it is used. Each packet is copied once by the CPU, so a zero-copy path \
            over it is none.",
        kernel: "kernel/dma/swiotlb.c, Documentation/core-api/swiotlb.rst",
        api: &[],
        commands: "netmem doctor",
        note: "",
        now: &[Now::Debug("swiotlb/io_tlb_used"), Now::Tracepoint("swiotlb/swiotlb_bounced")],
    },
    Entry {
        word: "device descriptor ring",
        aliases: "netdev_dma_ring, next_to_use, next_to_clean, netdev_alloc_dma_ring, \
            netdev_setup_rx_dma_buffers, desc_dma, netdev_clean_rx_dma_buffers, desc_size, \
            dma_buffer, skb_buffer, 描述符环, DMA环, DMA环形缓冲区, 环大小, 描述符数量, rx ring size, 网络设备DMA环形缓冲区, \
            ethtool -g, RX descriptor, 描述符大小, ring size",
        what: "The ring in coherent memory that driver and device share: the driver fills from \
            next_to_use and tells the device by a doorbell, and cleans what the device has done \
            from next_to_clean. An array beside it remembers the packet and DMA address of each \
            descriptor. Each driver has functions of its own, and their error paths free what was \
            set up.",
        kernel: "drivers/net/ethernet/intel/e1000e/netdev.c, net/ethtool/rings.c",
        api: api![netmem::link::DriverRings, netmem_host::netlink::DeviceRings],
        commands: "netmem doctor",
        note: "",
        now: &[],
    },
    Entry {
        word: "CPU cache locality",
        aliases: "CPU缓存, 缓存局部性, cache line, 缓存行, false sharing, false-sharing, CACHE, 缓存访问模式, \
            SLAB缓存行, prefetch",
        what: "Memory that the CPU has used lately is near; a packet that another CPU wrote is \
            not. Caches of the network stack are stacks per CPU, so that what was freed last, and \
            is warm, is used next. Two values written by two CPUs in one cache line slow both down \
            (false sharing).",
        kernel: "include/linux/cache.h, net/core/skbuff.c",
        api: api![netmem::mem::PoolHandle],
        commands: "",
        note: "",
        now: &[],
    },
];
