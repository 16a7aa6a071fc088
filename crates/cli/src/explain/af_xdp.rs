//! Words of XDP and AF_XDP: the rings, their memory, their modes and their counters.

use super::{Entry, Now, api};

pub(super) static ENTRIES: &[Entry] = &[
    Entry {
        word: "XDP",
        aliases: "eBPF, eBPF XDP, express data path, bpf, BPF, XDP_REDIRECT, REDIRECT, XDP_PASS, \
            XDP_DROP, XDP_TX, bpf_redirect_map, XSKMAP, xsks_map, xdp_buff, xdp_rxq_info, \
            bpf_link, libbpf, libxdp, ingress filter, XDP程序, xdp_rxq, rxq, data_end",
        what: "A program of BPF that runs on each received packet before the kernel makes a \
            sk_buff of it, and passes, drops, sends back or redirects it. bpf_redirect_map on an \
            XSKMAP hands the packet to the AF_XDP socket of its receive queue. Attached by a \
            bpf_link it goes with the process that holds the link; attached by netlink it stays \
            until somebody takes it off.",
        kernel: "net/core/dev.c, net/core/filter.c, kernel/bpf/devmap.c, net/xdp/xskmap.c",
        api: api![netmem::xdp::program::XdpProgram, netmem_host::xdp::survey],
        commands: "netmem list, netmem detach, netmem doctor",
        note: "",
        now: &[
            Now::Sysctl("net.core.bpf_jit_enable"),
            Now::Sysctl("kernel.unprivileged_bpf_disabled"),
        ],
    },
    Entry {
        word: "AF_XDP",
        aliases: "xsk, XSK, xsk_socket, XDP socket, XDP的套接字, AF_XDP 零拷贝路径, AF_XDP零拷贝, struct \
            xdp_sock, xsk_buff_pool, xsk_pool, SOL_XDP, XDP_MMAP_OFFSETS, XDP_PGOFF_TX_RING, \
            XDP_PGOFF_RX_RING, XDP_UMEM_PGOFF_FILL_RING, XDP_UMEM_PGOFF_COMPLETION_RING, \
            sxdp_queue_id, qid, asavie",
        what: "A socket bound to one receive and transmit queue of one interface, which exchanges \
            packets with user space through four rings of descriptors into a memory of the \
            program's own, the UMEM. It receives only what an XDP program on that interface \
            redirects to it. It needs CAP_NET_RAW to open, and the interface's queue is held until \
            the socket and every mapping of its rings are gone.",
        kernel: "net/xdp/xsk.c, include/uapi/linux/if_xdp.h, Documentation/networking/af_xdp.rst",
        api: api![netmem::xdp::PortBuilder, netmem::xdp::Port, netmem::xdp::PortSet],
        commands: "netmem respond, netmem forward, netmem list, netmem doctor",
        note: "",
        now: &[Now::Probe("AF_XDP socket")],
    },
    Entry {
        word: "umem",
        aliases: "UMEM, xdp_umem, xdp_umem_reg, XDP_UMEM_REG, NumFrame, SizeFrame, chunk, \
            chunk_size, 块大小, frame, 页帧, UMEM页帧, UMEM大小, UMEM地址空间, AF_XDP用户态UMEM注册, addrs, \
            umem_addr_to_kaddr, xsk.umem, unaligned chunks, shared umem, XDP_SHARED_UMEM, memBuf, \
            memBufSize",
        what: "The memory that AF_XDP packets lie in: one range of the program's addresses, \
            divided into chunks of 2048 or 4096 bytes, pinned and mapped for DMA once when it is \
            registered. A chunk is at most a small page, also on huge pages, so longer packets \
            take several. Since 5.10 its fill and completion rings belong to a pool per interface \
            and queue (xsk_buff_pool), and not to xdp_umem any more.",
        kernel: "net/xdp/xdp_umem.c, net/xdp/xsk_buff_pool.c, include/net/xdp_sock.h",
        api: api![netmem::mem::Region, netmem::mem::Pool, netmem::mem::PoolConfig],
        commands: "netmem list, netmem maps",
        note: "",
        now: &[Now::Line("self/limits", "Max locked memory")],
    },
    Entry {
        word: "fill ring",
        aliases: "Fill Queue, fill queue, FQ, fq, Fill, Filled, xdp_umem_fq, XDP_UMEM_FILL_RING, \
            xdp_umem_peek_addr, fillDescs, fill, 填充队列, NumFillRingDesc, rx_fill_ring_empty_descs",
        what: "The ring by which the program gives the kernel empty chunks to receive into: 64-bit \
            offsets into the UMEM, written by user space and read by the kernel. In zero-copy mode \
            the driver takes them long before a packet comes; in copy mode the kernel takes one \
            per packet. When it is empty packets are dropped and rx_fill_ring_empty_descs counts, \
            so it should hold the driver's ring and the rx ring together.",
        kernel: "net/xdp/xsk_queue.h, Documentation/networking/af_xdp.rst",
        api: api![netmem::xdp::RingSizes, netmem::xdp::check_rings],
        commands: "netmem list",
        note: "`--fill-ring` of respond and forward",
        now: &[],
    },
    Entry {
        word: "completion ring",
        aliases: "Completion Queue, completion queue, CQ, cq, Completion, Completed, xdp_umem_cq, \
            XDP_UMEM_COMPLETION_RING, Complete, 完成队列, NumCompletionRingDesc",
        what: "The ring by which the kernel gives back chunks that were sent: offsets written by \
            the kernel and read by user space. Until a chunk is there it is the kernel's and must \
            not be written or given to the fill ring. The kernel takes no packet from the tx ring \
            unless its completion has room.",
        kernel: "net/xdp/xsk_queue.h, net/xdp/xsk.c",
        api: api![netmem::xdp::RingSizes, netmem::mem::Audit],
        commands: "netmem list",
        note: "completed slots go straight back into the fill ring",
        now: &[],
    },
    Entry {
        word: "rx ring",
        aliases: "RX ring, RX环, RX描述符环, Received, XDP_RX_RING, xskq_prod_reserve, \
            xskq_prod_submit, xsk_rcv_zc, xsk_rcv, XDP零拷贝接收路径, 零拷贝接收路径, NumRxRingDesc, \
            rx_ring_full, RxDropped",
        what: "The ring of descriptors (offset, length, options) of received packets, written by \
            the kernel and read by user space. xsk_rcv copies a packet into a chunk of the fill \
            ring, xsk_rcv_zc posts the chunk that the device already wrote: there the chunk was \
            taken before the packet came. When it is full the packet is dropped and rx_ring_full \
            counts.",
        kernel: "net/xdp/xsk.c, net/xdp/xsk_queue.h",
        api: api![netmem::device::Device, netmem::xdp::XdpDesc],
        commands: "netmem list",
        note: "`Device::receive` lends each packet where it lies",
        now: &[],
    },
    Entry {
        word: "tx ring",
        aliases: "TX ring, TX环, TX描述符环, Transmitted, XDP_TX_RING, Transmit, txRingSlice, \
            NumTxRingDesc, XDP_MAX_TX_SKB_BUDGET, TX_BATCH_SIZE, sendto, TX完成, offsets.Tx.Desc",
        what: "The ring of descriptors to send, written by user space and read by the kernel when \
            it is kicked by sendto(2) or poll(2), or by the driver itself. In copy mode a sk_buff \
            is made of each, at most 32 a system call unless XDP_MAX_TX_SKB_BUDGET, where the \
            kernel has it, allows more. Sent is what came back by the completion ring, not what \
            was written here.",
        kernel: "net/xdp/xsk.c",
        api: api![netmem::device::Device, netmem::xdp::XdpDesc],
        commands: "netmem list",
        note: "",
        now: &[],
    },
    Entry {
        word: "ring",
        aliases: "Ringbuf, ringbuf, Ring, 环, 环形缓冲区, ring buffer, 生产者, 消费者, producer, consumer, \
            单生产者单消费者, SPSC, 无锁, 完全无锁, 无锁环, lock-free, 回绕, 绕回, wrap, free-running, uint32, 无符号整形, \
            溢出, 环形队列, xsk_queue",
        what: "An array of 2^n entries between one producer and one consumer, each with an index \
            of 32 bits that only grows and wraps at 2^32 by itself. Producer minus consumer, \
            modulo 2^32, is the number of entries, also after a wrap: only the place in the array \
            is index modulo 2^n. The producer's store of its index is a release, the consumer's \
            load an acquire, and nothing else needs a lock.",
        kernel: "net/xdp/xsk_queue.h, Documentation/core-api/circular-buffers.rst",
        api: api![netmem::xdp::RingSizes],
        commands: "netmem list, netmem maps",
        note: "checked over all orders of its steps by `cargo xtask loom`",
        now: &[],
    },
    Entry {
        word: "descriptor",
        aliases: "Desc, desc, xdp_desc, struct xdp_desc, []Desc, 描述符, XDP_PKT_CONTD, 结构体数组, 索引, \
            RxInvalidDescs, TxInvalidDescs",
        what: "16 bytes in the rx or tx ring: the offset into the UMEM, the length and options; \
            fill and completion rings hold 8-byte offsets only. The option XDP_PKT_CONTD says that \
            the packet goes on in the next descriptor (kernel 6.6). One that points outside is \
            dropped and counted as rx_invalid_descs or tx_invalid_descs.",
        kernel: "include/uapi/linux/if_xdp.h",
        api: api![netmem::xdp::XdpDesc, netmem::xdp::MultiBuffer],
        commands: "",
        note: "",
        now: &[],
    },
    Entry {
        word: "headroom",
        aliases: "头部预留, XDP_PACKET_HEADROOM, skb_reserve, skb_push, skb_pull, skb_put, tailroom, \
            reserved_tailroom, pskb_trim, skb_headroom, max_header, MAX_TCP_HEADER, 头部",
        what: "Room in front of a packet's first byte, where headers can be put without moving the \
            rest; tailroom is the room behind it. The kernel keeps NET_SKB_PAD in front of \
            received data, and XDP and AF_XDP 256 bytes (XDP_PACKET_HEADROOM) and the UMEM's own \
            headroom. Headroom, length and tailroom together are always the buffer.",
        kernel: "include/linux/skbuff.h, include/uapi/linux/bpf.h",
        api: api![netmem::mem::PacketMut, netmem::mem::Packet],
        commands: "",
        note: "",
        now: &[],
    },
    Entry {
        word: "zero-copy mode",
        aliases: "XDP_ZEROCOPY, ZC, zc, XDP_COPY, copy mode, NIC DMA, 零拷贝, 零拷贝模式, zero copy, \
            zerocopy, 绑定驱动队列, XDP_OPTIONS_ZEROCOPY, 零拷贝技术, zero-copy, 零拷贝路径, DMA零拷贝, DMA_ZERO",
        what: "The device writes packets into the UMEM and sends from it, so no CPU copies bytes; \
            without it the kernel copies each packet once. Only drivers with ndo_xsk_wakeup offer \
            it, and the netdev netlink family says which (xdp-features, kernel 6.3). Asked by \
            XDP_ZEROCOPY at the bind; without a flag the kernel falls back to copying in silence, \
            and XDP_OPTIONS says which it was.",
        kernel: "net/xdp/xsk_buff_pool.c, net/core/netdev-genl.c, include/uapi/linux/netdev.h",
        api: api![netmem::xdp::XdpMode, netmem::xdp::PortReport, netmem::link::XdpFeatures],
        commands: "netmem doctor, netmem respond, netmem forward",
        note: "`--mode` asks for one mode; the report says why each better one was refused",
        now: &[],
    },
    Entry {
        word: "native and generic XDP",
        aliases: "XDP_SKB, XDP_DRV, native XDP, generic XDP, native, generic, SKB mode, DRV mode, \
            XDP_FLAGS_SKB_MODE, XDP_FLAGS_DRV_MODE, 回退, 通用模式",
        what: "Native (XDP_DRV) runs the program in the driver, before a sk_buff exists; generic \
            (XDP_SKB) runs it later, on a sk_buff, and works with every interface. Both copy \
            packets for AF_XDP unless zero copy was bound, and generic mode is much slower. They \
            are easily taken the wrong way round: DRV is native and SKB is generic.",
        kernel: "net/core/dev.c, include/uapi/linux/if_link.h",
        api: api![netmem::xdp::XdpMode],
        commands: "netmem list, netmem doctor",
        note: "",
        now: &[],
    },
    Entry {
        word: "need_wakeup",
        aliases: "XDP_USE_NEED_WAKEUP, XDP_RING_NEED_WAKEUP, Poll, poll, 轮询, wakeup, wake-up, \
            epoll",
        what: "A flag in the fill and tx rings by which a driver says that it sleeps and wants a \
            system call to go on; without the flag the call can be left out. It is asked for at \
            the bind (XDP_USE_NEED_WAKEUP, kernel 5.4). In copy mode sending always needs the \
            call.",
        kernel: "net/xdp/xsk.c, include/net/xdp_sock_drv.h",
        api: api![netmem::xdp::Progress],
        commands: "netmem doctor",
        note: "a port wakes the driver by itself, and only when it asks",
        now: &[],
    },
    Entry {
        word: "XDP_STATISTICS",
        aliases: "xdp_statistics, [K]RxDropped, [K]RxInvalidDescs, [K]TxInvalidDescs, Status, \
            [Status], 丢包, rx_dropped, rx_invalid_descs, tx_invalid_descs, tx_ring_empty_descs, 丢包率",
        what: "A socket option that gives the kernel's six counters of an AF_XDP socket: \
            rx_dropped, rx_invalid_descs, tx_invalid_descs, and since 5.9 rx_ring_full, \
            rx_fill_ring_empty_descs and tx_ring_empty_descs. Other processes see them by the \
            socket diagnosis of kernels with CONFIG_XDP_SOCKETS_DIAG. Transmitted minus completed \
            is what is in flight, not what was lost.",
        kernel: "net/xdp/xsk.c, net/xdp/xsk_diag.c",
        api: api![netmem::xdp::Statistics, netmem_host::netlink::SocketStatistics],
        commands: "netmem list, netmem respond",
        note: "",
        now: &[],
    },
    Entry {
        word: "l2fwd",
        aliases: "forward, 转发, 转发率, kpps, Mpps, 包转发率, starOcean, xdpsock, 压测, 线速, DPDK, Intel \
            DPDK, l2fwd例程, DPDK编程指南, 稳定性测试, sendicmpv4",
        what: "The program that sends each received frame back, or on to another port, with its \
            addresses exchanged: the usual measure of packet frameworks, in millions of packets \
            per second (Mpps) of a CPU. Figures mean something only with frame size, mode, driver, \
            the CPU time of the kernel included, and with replies whose contents were checked. \
            DPDK takes the device from the kernel; AF_XDP leaves the driver there.",
        kernel: "Documentation/networking/af_xdp.rst",
        api: api![netmem::device::Device, netmem::device::Verdict],
        commands: "netmem forward, netmem l2fwd",
        note: "`cargo xtask bench reflect` measures beside DPDK's testpmd",
        now: &[],
    },
    Entry {
        word: "packet engine",
        aliases: "零拷贝的包解析与构造引擎, 包解析与构造引擎, 包解析, ICMP, icmpv4, ping, ARP, checksum",
        what: "Headers read and written where the packet lies, without a copy of it. The kernel \
            does the same on sk_buff with pointers to the link, network and transport header. A \
            program must check each length against the bytes that are there before it reads.",
        kernel: "net/ipv4/icmp.c, net/core/flow_dissector.c",
        api: api![netmem_wire::dissect::dissect, netmem_wire::compose],
        commands: "netmem read, netmem respond",
        note: "",
        now: &[],
    },
];
