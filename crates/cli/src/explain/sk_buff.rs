//! Words of the sk_buff: how the kernel allocates, shares and frees a packet.

use super::{Entry, Now, api};

pub(super) static ENTRIES: &[Entry] = &[
    Entry {
        word: "sk_buff",
        aliases: "skb, skbuff, struct sk_buff, sk_buff管理, sk_buff内存管理, sk_buff分配器, sk_buff内存池, \
            SKB_POOL, sk_buff结构指针, skb_is_nonlinear, skb_has_frag_list, skb_has_extensions, \
            mac_header, skb_init, transport_header, skb_mac_header, skb_network_offset, \
            skb_reset_tail_pointer, skb_head, skb->head, skb->data, tail, end, head, TCP_SKB_CB, \
            tcp_skb_cb, cb, pkt_type, packet_type, PACKET_OUTGOING, skb_len, data_len, \
            tcp_tsorted_anchor",
        what: "The kernel's packet: a header of about 230 bytes with pointers into a data buffer \
            (head, data, tail, end) and up to 17 further pieces. The header comes from a slab \
            cache and the data from elsewhere: a slab, a page fragment or a page pool. What a \
            socket is charged is its truesize, header and buffer, and not the payload.",
        kernel: "include/linux/skbuff.h, net/core/skbuff.c, Documentation/networking/skbuff.rst",
        api: api![netmem::mem::Packet, netmem::mem::PacketMut],
        commands: "",
        note: "",
        now: &[Now::Slab("skbuff_head_cache"), Now::Slab("skbuff_small_head")],
    },
    Entry {
        word: "skbuff_head_cache",
        aliases: "sk_buff头部缓存, sk_buff缓存, SKB_CACHE, skbuff_cache_init, skbuff_fclone_cache, \
            skbuff_ext_cache, skbuff_small_head, SKB_EXT_ALIGN_VALUE, sk_buff fclone缓存, fclone, \
            sk_buff_fclones, 共享信息缓存, kmem_cache_create, kmem_cache_create_usercopy, \
            alloc_skb_fclone, SLAB_HWCACHE_ALIGN, SLAB_PANIC, skb_ext, 头部缓存",
        what: "The slab caches of packets: headers (skbuff_head_cache), pairs of a header and its \
            clone for TCP's sends (skbuff_fclone_cache), extensions (skbuff_ext_cache), and since \
            6.3 small data heads (skbuff_small_head). The third one is not of the shared info, as \
            is often said: skb_shared_info lies at the end of each data buffer. Caches of one \
            size may be merged, and then miss in /proc/slabinfo under their own name.",
        kernel: "net/core/skbuff.c, include/net/hotdata.h",
        api: api![netmem::mem::Pool],
        commands: "netmem top",
        note: "",
        now: &[
            Now::Slab("skbuff_head_cache"),
            Now::Slab("skbuff_fclone_cache"),
            Now::Slab("skbuff_ext_cache"),
            Now::Slab("skbuff_small_head"),
        ],
    },
    Entry {
        word: "skb_shared_info",
        aliases: "shinfo, skb_shinfo, 共享信息, frags, nr_frags, frag_list, SKB_FRAG, sk_buff分片, \
            MAX_SKB_FRAGS, __skb_frag_unref, SKBTX_DEV_ZEROCOPY, tx_flags, 共享区域, skb_frag_t, \
            sk_buff分片页",
        what: "The end of a data buffer: the reference count of the data (dataref), the list of \
            further pages (frags, 17 by default, CONFIG_MAX_SKB_FRAGS since 6.4), a list of \
            further packets (frag_list), and what segmentation needs. It is shared by all clones, \
            unlike the header. It takes 320 bytes of every buffer, which counts in truesize.",
        kernel: "include/linux/skbuff.h",
        api: api![netmem::mem::Packet],
        commands: "",
        note: "a packet of several frames is a chain of slots: `Packet::frames`",
        now: &[Now::Sysctl("net.core.max_skb_frags")],
    },
    Entry {
        word: "dataref",
        aliases: "SKB_DATAREF_SHIFT, nohdr, cloned, skb_cloned, clone, sk_buff克隆, SKB_CLONE, \
            skb_shared, users, refcount, 引用计数, refcount_set, skb_unref, _refcount, 克隆, 引用计数管理, \
            copy_skb, page_ref_sub_and_test",
        what: "The count of headers that share one data buffer: the lower 16 bits count all, the \
            upper 16 those that only use the payload (nohdr). A clone is a new header over the \
            same data; who still wants to write must copy first. The last holder frees the pages, \
            and a clone must not recycle them to a page pool as well.",
        kernel: "include/linux/skbuff.h, net/core/skbuff.c",
        api: api![netmem::mem::Counts],
        commands: "",
        note: "a slot has one owner, so there is no such count here; clones are planned",
        now: &[],
    },
    Entry {
        word: "truesize",
        aliases: "SKB_TRUESIZE, SKB_WITH_OVERHEAD, SKB_DATA_ALIGN, ksize, buffer_size, 内存大小",
        what: "What a packet costs: the header, the whole buffer and its shared info, not the \
            payload. A datagram of 1000 bytes was charged 2304 on kernel 6.18, so SO_RCVBUF of \
            8192, doubled to 16384, holds seven of them. Socket buffers and tcp_mem are limits of \
            truesize.",
        kernel: "include/linux/skbuff.h, include/net/sock.h",
        api: api![netmem::mem::PoolConfig],
        commands: "netmem top",
        note: "",
        now: &[],
    },
    Entry {
        word: "__netdev_alloc_skb",
        aliases: "netdev_alloc_skb, netdev_alloc_skb_ip_align, __alloc_skb, alloc_skb, \
            SKB_ALLOC_RX, 分配sk_buff, napi_alloc_skb, 分配路径, gfp_mask, gfp_t, GFP_ATOMIC, \
            GFP_KERNEL, GFP_DMA, __GFP_NOWARN, __GFP_DIRECT_RECLAIM, __GFP_MEMALLOC, __GFP_COMP, \
            __GFP_NORETRY, __GFP_NOMEMALLOC, 小包, 为网络设备分配sk_buff",
        what: "How a driver gets a packet to receive into: small buffers up to about 1 KiB and \
            those larger than a page come from slabs, those between from page fragments of the \
            CPU. In the poll of a NAPI instance napi_alloc_skb does the same from the instance's \
            per-CPU cache without disabling interrupts. Descriptions often have the condition the \
            other way round.",
        kernel: "net/core/skbuff.c",
        api: api![netmem::mem::PoolHandle],
        commands: "",
        note: "`PoolHandle::alloc`",
        now: &[],
    },
    Entry {
        word: "build_skb",
        aliases: "__build_skb_around, __napi_build_skb, build_skb_around, napi_build_skb, \
            构建sk_buff, frag_size, head_frag",
        what: "Makes a sk_buff around memory that already holds a packet, such as a page of the \
            driver's ring: nothing is copied. The buffer needs room for headroom in front and for \
            skb_shared_info behind. napi_build_skb takes the header from the CPU's NAPI cache.",
        kernel: "net/core/skbuff.c",
        api: api![netmem::mem::PacketMut],
        commands: "",
        note: "a received slot becomes a packet where it lies",
        now: &[],
    },
    Entry {
        word: "NET_SKB_PAD",
        aliases: "NET_IP_ALIGN, 对齐, IP alignment",
        what: "Headroom that the kernel leaves in front of received packets: the larger of 32 \
            bytes and a cache line. NET_IP_ALIGN is 2 bytes more, so that the IP header is \
            aligned; on x86 and some others it is 0, because unaligned reads cost less than \
            unaligned DMA. AF_XDP packets have 256 bytes instead.",
        kernel: "include/linux/skbuff.h",
        api: api![netmem::mem::PacketMut],
        commands: "",
        note: "",
        now: &[],
    },
    Entry {
        word: "kfree_skb",
        aliases: "__kfree_skb, consume_skb, trace_consume_skb, skb_release_all, skb_release_data, \
            skb_free_head, skb_release_head_state, kfree_skbmem, kfree_skb_list, dev_kfree_skb, \
            skb_free_frag, kfree, 释放sk_buff, sk_buff内存回收, drop reason, drop_n_account, \
            drop_n_restore, SKB_DROP_REASON, 正常消费, 析构函数, is_drop_n_account, dropped, drop",
        what: "The two ends of a packet: consume_skb for one that was used, kfree_skb for one that \
            was dropped, with a reason since 5.17 (SKB_DROP_REASON_*). Both release the header's \
            state, then the data when its last holder goes, and each part returns to where it came \
            from. The tracepoints skb:kfree_skb and skb:consume_skb tell them apart.",
        kernel: "net/core/skbuff.c, include/net/dropreason-core.h",
        api: api![netmem::mem::DropReason, netmem::device::Verdict, netmem::mem::Drops],
        commands: "netmem respond, netmem top",
        note: "every packet ends as sent, consumed, or dropped for a named reason",
        now: &[Now::Tracepoint("skb/kfree_skb")],
    },
    Entry {
        word: "skb recycling",
        aliases: "skb_recycle, __skb_recycle, pp_recycle, skb_pp_recycle, skb_zcopy_clear, \
            recycle, 回收到内存池, 回收到per-CPU缓存, 回收, 将sk_buff回收到内存池中",
        what: "Using the memory of a packet again without the page allocator. skb_recycle, which \
            old texts show, was removed in kernel 3.7; today the flag pp_recycle sends the pages \
            of a packet back to their page pool when the last reference goes. The header goes to \
            the CPU's NAPI cache.",
        kernel: "net/core/skbuff.c, net/core/page_pool.c",
        api: api![netmem::device::Verdict],
        commands: "",
        note: "a consumed or dropped packet's slot goes to the fill ring at once",
        now: &[],
    },
    Entry {
        word: "pfmemalloc",
        aliases: "pfmemalloc_match, sk_memalloc_socks, SOCK_MEMALLOC, memalloc, 紧急内存, emergency \
            reserve, PFMemallocDrop",
        what: "Memory from the emergency reserve, taken when there was no other: a packet in such \
            memory is marked, and dropped unless its socket serves swapping (SOCK_MEMALLOC). So \
            the reserve is not spent on packets that cannot free memory. Such pages are never put \
            back into caches.",
        kernel: "net/core/sock.c, include/linux/skbuff.h, mm/page_alloc.c",
        api: api![netmem::mem::Pool],
        commands: "netmem top",
        note: "a reserve per pool for control traffic is planned",
        now: &[Now::Netstat("PFMemallocDrop"), Now::Sysctl("vm.min_free_kbytes")],
    },
    Entry {
        word: "NAPI",
        aliases: "napi, napi_struct, budget, 预算, 预算值, NAPI上下文, NAPI轮询, softirq, 软中断, ksoftirqd, \
            local_irq_disable, local_irq_enable, irqs_disabled, threaded NAPI, net_device, \
            NAPI轮询上下文",
        what: "How drivers receive: the first packet raises an interrupt, then the driver is \
            polled in a softirq with a budget of 64 packets an instance until nothing is left, and \
            interrupts are on again. All instances of a CPU share netdev_budget packets and \
            netdev_budget_usecs. A budget of 0 means not in a poll: per-CPU caches are then not to \
            be used.",
        kernel: "net/core/dev.c, Documentation/networking/napi.rst",
        api: api![netmem::xdp::BusyPoll],
        commands: "netmem doctor, netmem top",
        note: "",
        now: &[Now::Sysctl("net.core.netdev_budget"), Now::Sysctl("net.core.netdev_budget_usecs")],
    },
    Entry {
        word: "napi cache",
        aliases: "napi_alloc_cache, NAPI分配缓存, NAPI本地缓存, NAPI缓存, napi_skb_cache_get, \
            napi_skb_cache_put, napi_consume_skb, NAPI_SKB_CACHE_SIZE, NAPI_SKB_CACHE_BULK, \
            skb_cache, skb_count, kmem_cache_alloc_bulk, sk_buff缓存数组, per-CPU缓存, per-CPU cache, \
            DEFINE_PER_CPU, this_cpu_ptr, per_cpu_ptr, __percpu, percpu, skb_defer_max, 本地缓存, \
            sk_buff计数",
        what: "A per-CPU stack of free packet headers for the softirq (64 entries in 6.18), \
            refilled from the slab in bulk and half emptied in bulk when full; beside it the \
            CPU's page fragments. napi_consume_skb frees into it when it is called from a poll, \
            and as consume_skb otherwise (budget 0). It caches headers, not data.",
        kernel: "net/core/skbuff.c",
        api: api![netmem::mem::PoolHandle],
        commands: "",
        note: "each thread's PoolHandle is such a cache of slots, filled and flushed in bulk",
        now: &[Now::Sysctl("net.core.skb_defer_max")],
    },
    Entry {
        word: "slab",
        aliases: "SLAB, SLUB, slabinfo, slab_flags, kmem_cache, kmalloc, KMALLOC, SLAB分配器, \
            SLUB分配器, kmalloc分配, SLAB缓存, sk_buff SLAB统计, slabtop, SLAB_TYPESAFE_BY_RCU, kcalloc, \
            kzalloc_node, 内存分配器, 分配器, /proc/slabinfo",
        what: "The kernel's allocator of objects of one size. SLUB is the only one since 6.8, when \
            SLAB was removed; kmalloc takes the next size class from caches of its own. \
            /proc/slabinfo is for root, shows merged caches under one name, and counts objects in \
            per-CPU lists as active.",
        kernel: "mm/slub.c, mm/slab_common.c",
        api: api![netmem::mem::Pool],
        commands: "netmem top",
        note: "",
        now: &[
            Now::Line("meminfo", "Slab:"),
            Now::Line("meminfo", "SUnreclaim:"),
            Now::Slab("skbuff_head_cache"),
        ],
    },
    Entry {
        word: "GSO and TSO",
        aliases: "GSO, TSO, GRO, LRO, segmentation offload, offload, 卸载, 大包, 硬件卸载",
        what: "The stack sends one large packet, and the device (TSO) or the last software step \
            (GSO) cuts it into segments; GRO and LRO join received ones. XDP programs see what the \
            driver has, so LRO is turned off or refuses native mode, and packets joined by GRO in \
            front of a veth may be longer than a frame. They change how much memory one packet \
            takes.",
        kernel: "net/core/gso.c, net/core/gro.c, \
            Documentation/networking/segmentation-offloads.rst",
        api: api![netmem_host::netlink::Ethtool],
        commands: "netmem doctor",
        note: "",
        now: &[],
    },
];
