//! Words of accounting and pressure: what a socket, a protocol and a cgroup are charged and refused.

use super::{Entry, Now, api};

pub(super) static ENTRIES: &[Entry] = &[
    Entry {
        word: "forward_alloc",
        aliases: "sk_forward_alloc, fwd_alloc, reclaimable, sk_unused_reserved_mem, \
            SO_RESERVE_MEM, SK_MEM_QUANTUM, SK_MEM_QUANTUM_SHIFT, sk_mem_pages, sk_has_account, \
            sk_forced_mem_schedule, force_schedule, 强制调度, quantum",
        what: "Memory that a socket has charged to its protocol and not used yet: it is taken in \
            whole pages, and packets are charged against it without touching the shared counter. \
            It is `f` in the skmem of ss. The unit was SK_MEM_QUANTUM until 6.0 and is the page \
            since.",
        kernel: "include/net/sock.h, net/core/sock.c",
        api: &[],
        commands: "netmem top",
        note: "budgets of ports and tenants are planned",
        now: &[Now::Line("net/sockstat", "TCP:")],
    },
    Entry {
        word: "sk_mem_reclaim",
        aliases: "__sk_mem_reclaim, 套接字内存回收, 内存回收, 内存回收机制, reclaim, sk_memory_allocated_sub, 回收内存, \
            amount, amt, __sk_mem_reduce_allocated",
        what: "Gives a socket's unused whole pages of forward_alloc back to its protocol's \
            counter, and ends memory pressure when that falls below the first limit. It frees no \
            memory itself: that was freed with the packets. No counter shows it; forward_alloc \
            falling does.",
        kernel: "net/core/sock.c, include/net/sock.h",
        api: &[],
        commands: "netmem top",
        note: "",
        now: &[Now::Line("net/sockstat", "TCP:")],
    },
    Entry {
        word: "memory pressure",
        aliases: "内存压力, 网络内存压力, 网络内存压力处理, 内存压力检测, memory_pressure, sk_under_memory_pressure, \
            sk_enter_memory_pressure, sk_leave_memory_pressure, tcp_enter_memory_pressure, \
            tcp_leave_memory_pressure, tcp_memory_pressure, enter_memory_pressure, \
            leave_memory_pressure, LINUX_MIB_TCPMEMORYPRESSURES, TCPMemoryPressures, \
            TCPMemoryPressuresChrono, mem_cgroup_under_socket_pressure, 离开内存压力, 进入内存压力, TCP内存压力, \
            NET_INC_STATS, 全局网络内存压力控制, cmpxchg, jiffies",
        what: "A flag of a protocol: entered when its memory passes the second limit (pressure), \
            left below the first (low), and meanwhile buffers shrink and windows do not grow. \
            TCPMemoryPressures counts the entries and TCPMemoryPressuresChrono the milliseconds; \
            UDP has no such flag. A memory cgroup under pressure acts on its own sockets without \
            it.",
        kernel: "net/core/sock.c, net/ipv4/tcp.c",
        api: &[],
        commands: "netmem top, netmem doctor",
        note: "",
        now: &[
            Now::Column("net/protocols", "TCP", "press"),
            Now::Netstat("TCPMemoryPressures"),
            Now::Netstat("TCPMemoryPressuresChrono"),
        ],
    },
    Entry {
        word: "sk_stream_moderate_sndbuf",
        aliases: "moderate_sndbuf, 调节发送缓冲区, SOCK_SNDBUF_LOCK, SOCK_RCVBUF_LOCK, sk_userlocks, \
            SOCK_MIN_SNDBUF, sk_sndbuf, SO_SNDBUF, SO_RCVBUF, SO_BUF_LOCK, 套接字缓冲区, 套接字缓冲区管理, \
            网络缓冲区调优, 缓冲区自动调节, 缓冲区, buffer, 动态调整发送缓冲区",
        what: "Under pressure a TCP socket's send buffer is set to half of what it has queued, but \
            not below 4608 bytes or so, unless the program fixed its size. SO_SNDBUF and SO_RCVBUF \
            fix it: they end the automatic growth of that socket, are capped by wmem_max and \
            rmem_max, and read back doubled. `tb` in the skmem of ss shows the size.",
        kernel: "include/net/sock.h, net/core/sock.c",
        api: &[],
        commands: "netmem top",
        note: "",
        now: &[Now::Sysctl("net.core.wmem_max"), Now::Sysctl("net.core.rmem_max")],
    },
    Entry {
        word: "__sk_mem_schedule",
        aliases: "sk_wmem_schedule, sk_rmem_schedule, __sk_mem_raise_allocated, \
            sk_memory_allocated, sk_memory_allocated_add, sk_prot_mem_limits, suppress_allocation, \
            SK_MEM_SEND, SK_MEM_RECV, mem_scheduled, 记账, 套接字记账, 调度写内存, 超限, sock_exceed_buf_limit, \
            sk_mem_charge, 内存调度, 限额, proto_memory_allocated, memory_allocated, allocated, charged, \
            背压, 多维度限额与背压",
        what: "Charges a socket: from forward_alloc, else pages from the protocol's counter and \
            the cgroup. Up to the first limit all is granted, above the second pressure begins, \
            above the third it is refused, but a socket below its guaranteed minimum (tcp_rmem[0], \
            tcp_wmem[0]) or its fair share gets it still. A refusal undoes both charges and fires \
            sock:sock_exceed_buf_limit; a stream that sends is granted by force when its buffer is \
            full.",
        kernel: "net/core/sock.c",
        api: &[],
        commands: "netmem top",
        note: "budgets are planned",
        now: &[Now::Tracepoint("sock/sock_exceed_buf_limit"), Now::Sysctl("net.core.mem_pcpu_rsv")],
    },
    Entry {
        word: "sk_stream_alloc_skb",
        aliases: "tcp_stream_alloc_skb, sk_tx_skb_cache, 为流套接字分配sk_buff, stream_memory_free, \
            tcp_stream_memory_free, 流协议",
        what: "Allocates a packet for TCP to send, with room for its clone, and charges the \
            socket. It is tcp_stream_alloc_skb since 5.16, and the cached packet sk_tx_skb_cache \
            is gone since then. When nothing can be had the protocol enters pressure.",
        kernel: "net/ipv4/tcp.c",
        api: api![netmem::mem::PoolHandle],
        commands: "",
        note: "",
        now: &[],
    },
    Entry {
        word: "sk_wmem_queued",
        aliases: "wmem_queued, sk_wmem_alloc, sk_rmem_alloc, rmem_alloc, wmem_alloc, skmem, \
            SO_MEMINFO, INET_DIAG_SKMEMINFO, sk_receive_queue, backlog, optmem, 发送内存, 接收内存, \
            sk_backlog",
        what: "What a socket has in its queues, in bytes of truesize: wmem_queued is written and \
            not acknowledged, rmem_alloc received and not read, backlog received while the socket \
            was in use. ss -m shows them as skmem (r, rb, t, tb, f, w, o, bl, d), and SO_MEMINFO \
            gives nine numbers. d counts packets dropped at the socket.",
        kernel: "include/net/sock.h, include/uapi/linux/sock_diag.h",
        api: &[],
        commands: "netmem top",
        note: "",
        now: &[],
    },
    Entry {
        word: "struct proto",
        aliases: "proto, tcp_prot, udp_prot, raw_prot, udplite_prot, sk_prot, /proc/net/protocols, \
            sysctl_mem, obj_size, tcp_sock, proto_ops, tcp_hashinfo, hashinfo, twsk_prot, \
            tcp_timewait_sock_ops, rsk_prot, tcp_request_sock_ops, tcp_abort, diag_destroy, \
            no_autobind, sysctl_wmem_offset, sysctl_rmem_offset, sk_type, SOCK_STREAM, SOCK_DGRAM, \
            struct sock, TCP, UDP, RAW",
        what: "The table of a protocol: its counter of memory, its pressure flag, its limits \
            (sysctl_mem) and its functions. Without memory_allocated, per_cpu_fw_alloc, \
            sockets_allocated and sysctl_mem, which shortened listings leave out, nothing is \
            accounted. /proc/net/protocols shows them in rows; those of TCP, TCPv6 and MPTCP \
            repeat one counter and must not be summed.",
        kernel: "include/net/sock.h, net/ipv4/tcp_ipv4.c, net/core/sock.c",
        api: &[],
        commands: "netmem top",
        note: "",
        now: &[
            Now::Column("net/protocols", "TCP", "memory"),
            Now::Column("net/protocols", "UDP", "memory"),
        ],
    },
    Entry {
        word: "memcg",
        aliases: "cgroup, memory cgroup, cgroup 内存会计, cgroup内存会计, 内存会计, mem_cgroup, sk_memcg, \
            sk->sk_memcg, mem_cgroup_sockets_enabled, mem_cgroup_charge_skmem, \
            mem_cgroup_uncharge_skmem, mem_cgroup_sk_charge, gfp_memcg_charge, page_counter, \
            memcg配额不足, memory.stat sock, kmem.tcp, 配额, 关联到cgroup",
        what: "A cgroup with a limit of memory: sockets made in it are charged to it as well as to \
            their protocol. Version 2 counts them in memory.current and as `sock` in memory.stat; \
            version 1 has memory.kmem.tcp.* apart. A socket whose charge is refused is treated as \
            under pressure, and the kernel's function is mem_cgroup_sk_charge in 6.18 \
            (mem_cgroup_charge_skmem before).",
        kernel: "mm/memcontrol.c, Documentation/admin-guide/cgroup-v2.rst",
        api: &[],
        commands: "netmem top",
        note: "a UMEM is charged as memory of the process, not as `sock`",
        now: &[
            Now::Line("self/cgroup", ""),
            Now::Sys("fs/cgroup/memory/memory.kmem.tcp.usage_in_bytes"),
            Now::Sys("fs/cgroup/memory/memory.kmem.tcp.limit_in_bytes"),
        ],
    },
    Entry {
        word: "orphan",
        aliases: "orphans, tcp_orphan_count, tcp_death_row, tw_count, tw, TIME_WAIT, \
            percpu_counter_sum_positive, tcp_max_orphans, time wait",
        what: "TCP connections that no process holds any more but that are not over: orphans still \
            send what is queued and keep its memory, those in TIME_WAIT are small records. Above \
            tcp_max_orphans, or under pressure, orphans are reset. Orphans are counted for the \
            whole machine, TIME_WAIT per namespace.",
        kernel: "net/ipv4/tcp.c, net/ipv4/inet_timewait_sock.c",
        api: &[],
        commands: "netmem top",
        note: "",
        now: &[Now::Line("net/sockstat", "TCP:"), Now::Sysctl("net.ipv4.tcp_max_orphans")],
    },
];
