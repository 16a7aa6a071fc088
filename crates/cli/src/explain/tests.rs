//! Planted and caught: an alias left out of an entry; case not passed over; the nearest words sorted the
//! wrong way; a value that cannot be had given as a zero; a command that is not there.
#![allow(clippy::unwrap_used, reason = "tests: what cannot go on, panics")]

use clap::CommandFactory as _;
use netmem_host::source::SourceState;

use super::*;

/// Technical words of the article on the memory of an AF_XDP program, in its order of topics.
const FIRST_ARTICLE: &str = "
    虚拟内存 用户态 内核态 用户空间 4级页表 5级页表 缺页异常 直接映射物理内存 命名空间 栈 堆 静态区 静态 内存映射区域 匿名页 大页 套接字 文件描述符 回绕 绕回
    生产者 消费者 单生产者单消费者 无锁 完全无锁 索引 零拷贝 包转发率 丢包率 转发率 稳定性测试 可锁定的内存限制 栈限制 内存布局 UMEM NumFrame
    SizeFrame Ringbuf Desc RLIMIT_STACK RLIMIT_MEMLOCK BSS Data Code heap stack pmap Hugepage
    MAP_PRIVATE MAP_SHARED MAP_ANONYMOUS MAP_POPULATE MAP_HUGETLB MAP_HUGE_SHIFT PROT_READ
    PROT_WRITE XDP_PGOFF_TX_RING mmap Filled Completed Received Transmitted RxDropped
    RxInvalidDescs TxInvalidDescs kpps Mpps l2fwd DPDK eBPF XDP AF_XDP vmalloc ioremap vmemmap
    page_offset_base vmalloc_base vmemmap_base KASAN PTI LDT vdso vvar vsyscall Rss Pss
    Referenced Anonymous LazyFree ShmemPmdMapped FilePmdMapped Shared_Hugetlb Private_Hugetlb
    Swap SwapPss Locked THPeligible Perm Offset Inode Mapping Fill Complete asavie starOcean
    [heap] [stack] anon_hugepage uint32 溢出";

/// Identifiers of the listings of the article on network memory.
const SECOND_ARTICLE: &str = "
    AES AF_XDP ARRAY_SIZE BOUNCE BUG_ON CACHE CMSG CONFIG_PAGE_POOL_STATS CPU DEFINE_PER_CPU
    DMA DMA_ATTR_NON_CONSISTENT DMA_COHERENT DMA_ENGINE DMA_FROM_DEVICE DMA_POOL DMA_STREAMING
    DMA_ZERO DPDK EBADF EINVAL ENOMEM ENOSPC ENOTSOCK EOVERFLOW ERR_PTR ESPIPE FMODE_NOWAIT
    FMODE_PREAD FMODE_READ FMODE_WRITE FRAG FRAG_POOL GCM GFP_ATOMIC GFP_DMA GFP_KERNEL GSO
    INIT_DELAYED_WORK INIT_LIST_HEAD INT_MAX IOMMU IP_RECVERR IV KMALLOC
    LINUX_MIB_TCPMEMORYPRESSURES MAX_RW_COUNT MAX_TCP_HEADER MMAP MMAP_ZERO MSG_DONTWAIT
    MSG_ERRQUEUE MSG_MORE MSG_SPLICE_PAGES MSG_ZEROCOPY MTU NAPI NAPI_SKB_CACHE_BULK
    NAPI_SKB_CACHE_SIZE NET_INC_STATS NET_IP_ALIGN NET_SKB_PAD NIC NIC_BUF NULL NUMA
    NUMA_NO_NODE O_NONBLOCK PACKET_OUTGOING PAGE_ALLOC PAGE_FRAG_CACHE_MAX_ORDER
    PAGE_FRAG_CACHE_MAX_SIZE PAGE_SIZE PIPE_DEF_BUFFERS PMTUD PP_FLAG_DMA_MAP
    PP_FLAG_DMA_SYNC_DEV RAM RAW READ READ_ONCE REDIRECT RX_POOL SENDFILE SKBTX_DEV_ZEROCOPY
    SKB_ALLOC_RX SKB_CACHE SKB_CLONE SKB_DATAREF_SHIFT SKB_DATA_ALIGN SKB_EXT_ALIGN_VALUE
    SKB_FRAG SKB_POOL SKB_TRUESIZE SKB_WITH_OVERHEAD SK_MEM_QUANTUM_SHIFT SK_MEM_SEND SLAB
    SLAB_HWCACHE_ALIGN SLAB_PANIC SLAB_TYPESAFE_BY_RCU SLUB SOCK_DGRAM SOCK_MIN_SNDBUF
    SOCK_SNDBUF_LOCK SOCK_STREAM SOL_IP SOL_SOCKET SOL_TLS SO_EE_ORIGIN_ZEROCOPY SO_ZEROCOPY
    SPLICE SPLICE_F_MORE SPLICE_F_NONBLOCK TCP TCP_SKB_CB THIS_MODULE TLS TLS_SW TLS_TX
    TP_STATUS_DROP TP_STATUS_LOSE TP_STATUS_USER TSO TX_POOL UDP UDPLITE ULP UMEM WRITE_ONCE
    XDP XDP_DRV XDP_SKB XDP_ZEROCOPY __GFP_COMP __GFP_DIRECT_RECLAIM __GFP_MEMALLOC
    __GFP_NOMEMALLOC __GFP_NORETRY __GFP_NOWARN __alloc_skb __build_skb_around __init
    __kfree_skb __napi_build_skb __netdev_alloc_skb __packet_get_status
    __page_frag_cache_refill __percpu __sk_mem_raise_allocated __sk_mem_reclaim
    __sk_mem_schedule __skb_frag_unref __skb_recycle __u16 __u32 add_rchar add_wchar
    af_packet_priv alloc alloc_pages_node alloc_skb_fclone alloc_stats atomic_inc atomic_read
    atomic_set atomic_sub_return backlog bpf_redirect_map budget buffer_size busy_poll
    busy_read cgroup chunk_size cloned cmpxchg compound_order consume_skb copy_skb cpu_addr
    ctl_table data_end data_len dataref debug_dma_alloc_coherent debug_dma_free_coherent
    debug_dma_map_single debug_dma_unmap_single defer_start defer_warn delayed_work desc_dma
    desc_size dev_kfree_skb dev_net diag_destroy dma_addr dma_addr_t dma_alloc_coherent
    dma_buffer dma_data_direction dma_dir dma_free_coherent dma_handle dma_map_ops
    dma_map_single dma_mapping_error dma_need_sync dma_release_from_dev_coherent
    dma_unmap_single do_sendfile do_splice_direct do_vnet drop_n_account drop_n_restore eBPF
    enter_memory_pressure err_dma_buffer err_ring err_skb_buffer expected_size f_flags f_mode
    f_op f_pos fclone file_inode for_each_possible_cpu force_schedule fput_in fput_out
    frag_list frag_mem_limit frag_offset frag_page frag_size frag_users frags free_the_page
    fsnotify_access fsnotify_modify get_cpu get_dma_ops get_online_cpus get_order
    get_pipe_info gfp_mask gfp_memcg_charge gfp_t hashinfo hdrlen head_frag header_ops
    headroom i_sb in_fd in_inode inc_syscr inc_syscw init_net inode inuse iommu iov
    irqs_disabled is_drop_n_account jiffies kTLS kasan_unpoison_object_data kfree kfree_skb
    kfree_skb_list kfree_skbmem kmalloc kmem_cache_alloc_bulk kmem_cache_create
    kmem_cache_create_usercopy kzalloc_node leave_memory_pressure libbpf local_irq_disable
    local_irq_enable loff_t mac_header macoff map_page max_header max_len max_t mem
    mem_cgroup_charge_skmem mem_cgroup_sockets_enabled mem_cgroup_uncharge_skmem
    mem_cgroup_under_socket_pressure mem_scheduled memcg memory_pressure mmap
    monitor_network_memory msg_control msg_controllen msg_flags msg_iov msg_iovlen mutex_lock
    mutex_unlock napi napi_alloc_cache napi_alloc_skb napi_consume_skb napi_skb_cache_get
    napi_struct net_device net_eq netdev_alloc_cache netdev_alloc_dma_ring
    netdev_alloc_skb_ip_align netdev_budget netdev_budget_usecs netdev_clean_rx_dma_buffers
    netdev_dma_ring netdev_max_backlog netdev_setup_rx_dma_buffers netns_core_table netoff
    next_to_clean next_to_use no_autobind nohdr nosteal_pipe_buf_ops nr_frags nr_pages_max
    num_possible_cpus numa_node obj_size offset_in_page optmem optmem_max orig_dev origin
    orphan orphans out_fd out_inode out_pos packet_mmap packet_mmap_ops packet_ring_buffer
    packet_sock packet_type page_address page_counter page_frag page_frag_alloc
    page_frag_cache page_pool page_pool_alloc_cached page_pool_alloc_new page_pool_alloc_pages
    page_pool_alloc_stats page_pool_create page_pool_dma_sync_for_device
    page_pool_fragment_page page_pool_get_stats page_pool_params page_pool_release_retry
    page_pool_set_dma_addr page_pool_stats_percpu page_ref_sub_and_test pagecnt_bias
    pages_state_hold_cnt pages_state_release_cnt per_cpu_ptr percpu
    percpu_counter_sum_positive pfmemalloc pfmemalloc_match pg_num pg_vec pg_vec_len
    pg_vec_lock pg_vec_pages pgv_to_page pipe pipe_inode_info pkt_sk pkt_type pool_size
    pp_recycle proc_dointvec proc_dointvec_minmax proc_handler proto_memory_allocated
    proto_ops pskb_trim ptr_ring ptr_ring_consume ptr_ring_init put_cpu raw_prot refcount_set
    refill release_dw reserved_tailroom ring_qsize rmem_default rmem_max rsk_prot run_filter
    rw_verify_area rx_dropped rx_fifo_errors rx_ring s_maxbytes sendfile seq_file seq_printf
    shinfo size_t sizeof_field sk_allocation sk_buff sk_buff_fclones sk_data_ready
    sk_enter_memory_pressure sk_error_queue sk_forced_mem_schedule sk_forward_alloc
    sk_has_account sk_leave_memory_pressure sk_mem_pages sk_mem_reclaim sk_memalloc_socks
    sk_memcg sk_memory_allocated sk_memory_allocated_add sk_memory_allocated_sub
    sk_page_frag_refill sk_prot sk_prot_mem_limits sk_receive_queue sk_sndbuf
    sk_stream_alloc_skb sk_stream_moderate_sndbuf sk_tx_skb_cache sk_type
    sk_under_memory_pressure sk_unused_reserved_mem sk_userlocks sk_wmem_queued
    sk_wmem_schedule skb skb_buffer skb_cache skb_cloned skb_count skb_free_frag skb_free_head
    skb_has_extensions skb_has_frag_list skb_head skb_init skb_is_nonlinear skb_len
    skb_mac_header skb_network_offset skb_page_frag_refill skb_pp_recycle skb_pull skb_push
    skb_recycle skb_release_all skb_release_data skb_release_head_state skb_reserve
    skb_reset_tail_pointer skb_shared skb_shared_info skb_shinfo skb_unref skb_zcopy_clear
    skbuff skbuff_cache_init skbuff_ext_cache skbuff_fclone_cache skbuff_head_cache slab_flags
    slabinfo snaplen sock_def_readable sock_extended_err sock_from_file sock_inuse_get
    sock_net sock_prot_inuse_get sock_splice_actor sock_update_sent_stats sockaddr_ll socket
    sockstat sockstat_seq_show spd_release spin_unlock splice splice_file_to_socket
    splice_from_pipe splice_pipe_desc splice_sock_release splice_to_socket splice_write
    ssize_t stats_percpu stream_memory_free suppress_allocation sw_proto sysctl
    sysctl_rmem_default sysctl_rmem_max sysctl_rmem_offset sysctl_tcp_rmem sysctl_tcp_wmem
    sysctl_wmem_default sysctl_wmem_max sysctl_wmem_offset tcp_abort tcp_death_row
    tcp_enter_memory_pressure tcp_hashinfo tcp_leave_memory_pressure tcp_mem
    tcp_memory_pressure tcp_moderate_rcvbuf tcp_mtu_probing tcp_notsent_lowat tcp_orphan_count
    tcp_prot tcp_request_sock_ops tcp_rmem tcp_sendmsg_locked tcp_skb_cb tcp_sock
    tcp_stream_memory_free tcp_timewait_sock_ops tcp_tsorted_anchor tcp_window_scaling
    tcp_wmem this_cpu_ptr tls12_crypto_info_aes_gcm_128 tls_context tls_ctx_create tls_prots
    tls_set_sw_offload tp_drops tpacket_rcv tpacket_rcv_ring tpacket_uhdr trace_consume_skb
    transport_header truesize ts_status tune_network_memory tw tw_count twsk_prot tx_conf
    tx_dropped tx_flags tx_ring u64_stats_init udp_mem udp_prot udp_rmem_min udp_wmem_min
    udplite_prot umem umem_addr_to_kaddr unmap_page user_struct valid_dma_direction
    virt_to_page vm_area_struct vm_end vm_insert_page vm_ops vm_pgoff vm_start wmem_default
    wmem_max wmem_queued xdp xdp_buff xdp_rxq_info xdp_umem xdp_umem_cq xdp_umem_fq
    xdp_umem_peek_addr xsk_pool xsk_rcv_zc xsk_socket xskq_prod_reserve xskq_prod_submit
    zerocopy";

/// Words of its text.
const SECOND_ARTICLE_TEXT: &str = "
    零拷贝 内存碎片 缓存局部性 DMA一致性 用户缓冲区 内存映射 sk_buff缓存 sk_buff内存池 sk_buff克隆 sk_buff分片 SLAB分配器 SLUB分配器
    kmalloc分配 页面分配器 接收内存池 发送内存池 分片内存池 DMA内存池 sendfile系统调用 splice机制 mmap零拷贝 DMA零拷贝 一致性DMA 流式DMA
    IOMMU映射 反弹缓冲区 物理内存 CPU缓存 DMA引擎 网卡缓冲区 引用计数 页面分片缓存 页面分片 per-CPU缓存 NAPI分配缓存 预算值 管道 数据包套接字
    环形缓冲区 一致性内存 描述符环 环大小 内存回收 内存压力 进入内存压力 离开内存压力 调节发送缓冲区 套接字缓冲区 强制调度 调度写内存 套接字统计 页面池 页面池参数
    延迟释放工作 延迟警告时间 断开连接回调 页池 页面池统计 错误队列 完成通知 内核TLS 内存会计 套接字记账 背压 软中断预算 软中断队列最大积压 busy_poll微秒数
    TCP三元组内存调优 UDP内存阈值 未发送阈值 MTU探测 PMTUD 头部预留 块大小 页帧 软中断 窗口扩展 缓冲区自动调节 原子操作 克隆 网络内存sysctl参数
    默认接收缓冲区 最大接收缓冲区 默认发送缓冲区 最大发送缓冲区 TCP接收内存 TCP发送内存 TCP总内存 虚拟地址";

#[test]
fn every_word_of_both_articles_is_found() {
    let words = [FIRST_ARTICLE, SECOND_ARTICLE, SECOND_ARTICLE_TEXT];
    let words: Vec<_> = words.iter().flat_map(|list| list.split_whitespace()).collect();
    assert!(words.len() > 700, "{}", words.len());
    let missing: Vec<_> = words.iter().filter(|word| find(word).is_empty()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn spelling_does_not_matter() {
    for (asked, word) in [
        ("Page-Pool", "page_pool"),
        ("napi cache", "napi cache"),
        ("NAPI_ALLOC_CACHE", "napi cache"),
        ("net/core/rmem_max", "net.core.rmem_max"),
        ("/proc/sys/net/core/rmem_max", "net.core.rmem_max"),
        ("rmem_max", "net.core.rmem_max"),
        ("struct sk_buff", "sk_buff"),
        ("consume_skb()", "kfree_skb"),
        ("页池", "page_pool"),
        (" fill ring ", "fill ring"),
    ] {
        let found = find(asked);
        assert_eq!(found.first().map(|(_, entry)| entry.word), Some(word), "{asked}");
    }
    // Two entries know it, and the one of that name comes first.
    let words: Vec<_> = find("rx_ring").iter().map(|(_, entry)| entry.word).collect();
    assert_eq!(words, ["rx ring", "packet_mmap"]);
    assert!(find("").is_empty() && find("no such word").is_empty());
}

#[test]
fn the_nearest_words_are_named() {
    for (asked, near) in [
        ("pagepol", "page pool"),
        ("rmem_maxx", "rmem_max"),
        ("zero_coppy", "zero-copy"),
        ("fwd_aloc", "fwd_alloc"),
        ("msgzerocopi", "MSG_ZEROCOPY"),
    ] {
        let nearest = nearest(asked);
        let is_near = nearest.iter().any(|word| plain(word) == plain(near));
        assert!(is_near && nearest.len() == NEAREST, "{asked}: {nearest:?}");
    }
    let failure = unknown("pagepol");
    assert_eq!(failure.outcome(), Outcome::Usage);
    assert_eq!(failure.to_string(), "explain pagepol: no such word");
}

#[test]
fn every_entry_is_whole() {
    let mut words = BTreeSet::new();
    for (topic, entry) in entries() {
        assert!(words.insert(plain(entry.word)), "{}: twice", entry.word);
        let sentences = entry.what.split_inclusive(['.', '?']).filter(|part| part.ends_with('.'));
        assert!(sentences.count() >= 3 && entry.what.ends_with('.'), "{topic}: {}", entry.what);
        assert!(!entry.what.contains("  "), "{}", entry.what);
        assert!(!entry.note.ends_with('.'), "{}", entry.note);
        let mut names: Vec<_> = names(&entry).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{}: a name twice", entry.word);
    }
}

/// A path of the kernel's source: a known folder at the top, and a file or folder of plain letters.
#[test]
fn kernel_files_look_like_paths() {
    let tops =
        ["arch", "Documentation", "drivers", "fs", "include", "kernel", "mm", "net", "tools"];
    for (_, entry) in entries() {
        assert!(!entry.kernel.is_empty(), "{}", entry.word);
        for path in listed(entry.kernel) {
            let (top, rest) = path.split_once('/').unwrap_or_else(|| panic!("{path}"));
            assert!(tops.contains(&top), "{path}");
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
            assert!(rest.chars().all(is_plain) && !rest.ends_with('/'), "{path}");
            let is_file =
                [".c", ".h", ".rst", ".txt", ".yaml"].iter().any(|end| path.ends_with(end));
            assert!(
                is_file || path.contains("/vdso") || path.starts_with("Documentation/ABI"),
                "{path}"
            );
        }
    }
}

/// Items of the libraries are checked by the compiler; commands are here.
#[test]
fn commands_are_there() {
    let tree = crate::args::Args::command();
    let exists = |name: &str| {
        tree.get_subcommands()
            .any(|c| c.get_name() == name || c.get_all_aliases().any(|a| a == name))
    };
    for (_, entry) in entries() {
        for command in listed(entry.commands) {
            let name = command.strip_prefix("netmem ").unwrap_or_else(|| panic!("{command}"));
            assert!(exists(name), "{}: {command}", entry.word);
        }
        for path in entry.api {
            assert!(path.starts_with("netmem"), "{path}");
        }
    }
}

#[test]
fn values_are_read_here_or_say_why_not() {
    for (_, entry) in entries() {
        for now in entry.now {
            // Probes have tests of their own.
            let Now::Probe(_) = now else {
                let value = now.read(&Root::live());
                assert_eq!(value.value.is_none(), value.unavailable.is_some(), "{value}");
                assert!(!value.source.is_empty() && !value.to_string().ends_with(": "), "{value}");
                continue;
            };
        }
    }
    let pid = Now::Line("self/status", "Pid:").read(&Root::live()).value.unwrap();
    assert_eq!(pid, format!("Pid: {}", std::process::id()));
    let tcp = Now::Column("net/protocols", "TCP", "memory").read(&Root::live()).value.unwrap();
    assert!(tcp.parse::<i64>().unwrap() >= 0, "{tcp}");
    let pressures = Now::Netstat("TCPMemoryPressures").read(&Root::live()).value.unwrap();
    assert!(pressures.parse::<u64>().is_ok(), "{pressures}");
}

/// A recorded machine that has nothing: every value says that it is absent, and none is a zero.
#[test]
fn a_machine_without_sources_tells_nothing() {
    let folder = std::env::temp_dir().join(format!("netmem-explain-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("proc/net")).unwrap();
    let root = Root::at(&folder);
    let table = "protocol size memory press\nTCP 2000 -1 no\n";
    std::fs::write(folder.join("proc/net/protocols"), table).unwrap();
    let absent = |now: Now| now.read(&root).unavailable.unwrap().state;
    let states = [
        absent(Now::Sysctl("net.core.rmem_max")),
        absent(Now::Line("net/sockstat", "TCP:")),
        absent(Now::Netstat("PFMemallocDrop")),
        absent(Now::Slab("skbuff_head_cache")),
        absent(Now::Tracepoint("skb/kfree_skb")),
        absent(Now::Config("CONFIG_TLS")),
        absent(Now::Column("net/protocols", "UDP", "memory")),
        absent(Now::Column("net/protocols", "TCP", "no such column")),
    ];
    let memory = Now::Column("net/protocols", "TCP", "memory").read(&root).value;
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(states, [SourceState::Absent; 8]);
    assert_eq!(memory.as_deref(), Some("-1"));
}

#[test]
fn it_is_printed_and_serialized() {
    let explanation = Explanation::of("page_pool", &Root::live()).unwrap();
    let mut out = Vec::new();
    print(&mut out, &explanation).unwrap();
    let text = String::from_utf8(out).unwrap();
    for part in
        ["word           page_pool (pages and DMA)\n", "net/core/page_pool.c", "netmem::mem::Pool"]
    {
        assert!(text.contains(part), "{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let json = serde_json::to_value(&explanation).unwrap();
    assert_eq!(json["schema"], "netmem.explain/1");
    assert_eq!(json["entries"][0]["word"], "page_pool");
    let words = serde_json::to_value(Words::all()).unwrap();
    assert_eq!(words["topics"].as_array().unwrap().len(), 9);
}

#[test]
fn every_sysctl_that_the_readers_know_is_explained_once_with_its_unit() {
    for key in KEYS {
        let last = key.name.rsplit('.').next().unwrap();
        for word in [key.name.to_owned(), key.name.replace('.', "/"), last.to_owned()] {
            let explanation = Explanation::of(&word, &Root::at("/nowhere")).unwrap();
            let of_key = |answer: &&Answer| answer.word == key.name;
            let answers: Vec<_> = explanation.entries.iter().filter(of_key).collect();
            assert_eq!(answers.len(), 1, "{word}");
            assert_eq!(answers[0].sysctl.unwrap().unit, key.unit, "{word}");
            assert!(answers[0].now.iter().any(|value| value.source == key.name), "{word}");
        }
    }
}

/// Unit, scope and default stand with the readers, for all that is memory of the network.
#[test]
fn each_sysctl_of_the_articles_is_one_that_the_readers_know() {
    let of_other_things = [
        "net.core.default_qdisc",
        "net.ipv4.tcp_available_ulp",
        "vm.nr_hugepages",
        "vm.min_free_kbytes",
    ];
    let unknown: Vec<_> =
        sysctls::all().map(|entry| entry.word).filter(|word| Key::named(word).is_none()).collect();
    assert_eq!(unknown, of_other_things);
}
