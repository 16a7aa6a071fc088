//! Words of sending and receiving without copies: sendfile, splice, packet rings, MSG_ZEROCOPY, kTLS.

use super::{Entry, Now, api};

pub(super) static ENTRIES: &[Entry] = &[
    Entry {
        word: "sendfile",
        aliases: "SENDFILE, do_sendfile, do_splice_direct, sendfile零拷贝, sendfile系统调用, \
            MAX_RW_COUNT, ppos, 零拷贝文件传输, s_maxbytes, EOVERFLOW, ESPIPE, EBADF, EINVAL, \
            rw_verify_area, FMODE_READ, FMODE_WRITE, FMODE_PREAD, FMODE_NOWAIT, add_rchar, \
            inc_syscr, fsnotify_access",
        what: "sendfile(2) sends a file's pages from the page cache without a copy to user space, \
            at most 0x7ffff000 bytes a call, and returns what was sent. Any output works: through \
            a pipe of the task's own (do_splice_direct) unless it is a pipe itself; that all but \
            pipes are refused is a mistake. The pages are not a snapshot: a later write to the \
            file may change what is still to be sent.",
        kernel: "fs/read_write.c, fs/splice.c",
        api: &[],
        commands: "",
        note: "planned: `relay`, `send` and `recv`",
        now: &[],
    },
    Entry {
        word: "splice",
        aliases: "SPLICE, splice机制, splice_to_socket, splice_from_pipe, splice_write, \
            splice_pipe_desc, splice_file_to_socket, sock_splice_actor, splice_sock_release, \
            SPLICE_F_MORE, SPLICE_F_NONBLOCK, MSG_SPLICE_PAGES, PIPE_DEF_BUFFERS, pipe, 管道, \
            pipe_inode_info, get_pipe_info, nosteal_pipe_buf_ops, tee, MSG_MORE, sock_from_file, \
            ENOTSOCK, sock_update_sent_stats, spd_release, nr_pages_max",
        what: "splice(2) moves references to pages between a pipe and a file or socket instead of \
            copying bytes; a pipe has 16 such buffers by default. Since 6.5 splice_to_socket \
            hands up to 16 pages at a time to sendmsg with MSG_SPLICE_PAGES, and sendpage is \
            gone. splice_file_to_socket, sock_splice_actor and splice_sock_release, which some \
            texts name, never existed.",
        kernel: "fs/splice.c, net/socket.c",
        api: &[],
        commands: "",
        note: "planned: `relay`",
        now: &[Now::Sysctl("fs.pipe-max-size"), Now::Sysctl("fs.pipe-user-pages-soft")],
    },
    Entry {
        word: "packet_mmap",
        aliases: "PACKET_MMAP, TPACKET, TPACKET_V3, PACKET_RX_RING, PACKET_TX_RING, \
            packet_mmap_ops, packet_ring_buffer, rx_ring, tx_ring, pg_vec, pg_vec_len, \
            pg_vec_pages, pg_vec_lock, pgv_to_page, packet socket, AF_PACKET, packet_sock, pkt_sk, \
            sockaddr_ll, af_packet_priv, 数据包套接字, 数据包套接字内存映射, 环形缓冲区空间, po->mapped, 零拷贝数据包捕获",
        what: "Rings of a packet socket (AF_PACKET) that the program maps: the kernel copies each \
            packet into them, so that no system call per packet is needed. The mapping starts at \
            offset 0 and is exactly as long as both rings. Version 3 hands over blocks of packets \
            with a time-out.",
        kernel: "net/packet/af_packet.c, Documentation/networking/packet_mmap.rst",
        api: api![netmem::packet::FrameSocket],
        commands: "netmem maps",
        note: "FrameSocket is a plain packet socket; packet rings, `capture` and `replay` are \
            planned",
        now: &[Now::Lines("packet", "packet sockets in this namespace")],
    },
    Entry {
        word: "tpacket_rcv",
        aliases: "tpacket_rcv_ring, tpacket_uhdr, TP_STATUS_USER, TP_STATUS_KERNEL, \
            TP_STATUS_LOSE, TP_STATUS_LOSING, TP_STATUS_DROP, tp_drops, snaplen, macoff, netoff, \
            hdrlen, run_filter, __packet_get_status, PACKET_STATISTICS, do_vnet, \
            sock_def_readable, sk_data_ready, ts_status, 检查环形缓冲区空间, orig_dev, header_ops",
        what: "Puts a packet into the ring of a packet socket: runs the filter, copies up to \
            snaplen bytes (skb_copy_bits) and then hands the block over by its status. It saves \
            system calls and the copy to user space, but it is a copy, though often called \
            zero-copy. Who reads may touch a block only after TP_STATUS_USER, and \
            PACKET_STATISTICS is cleared when it is read.",
        kernel: "net/packet/af_packet.c",
        api: &[],
        commands: "",
        note: "planned with packet rings",
        now: &[],
    },
    Entry {
        word: "MSG_ZEROCOPY",
        aliases: "SO_ZEROCOPY, SO_EE_ORIGIN_ZEROCOPY, SO_EE_CODE_ZEROCOPY_COPIED, zerocopy完成, \
            零拷贝发送, 用户态启用零拷贝, tcp_sendmsg_locked, ubuf_info, MSG_ZEROCOPY 与错误队列完成通知, sendmsg, \
            msghdr, msg_iov, msg_flags, SEND_ZC, io_uring, 拥塞, 普通拷贝, 回退到普通拷贝, sendmsg_zc, iov, \
            ENOBUFS, setsockopt, SOL_SOCKET",
        what: "A flag of send(2), after SO_ZEROCOPY was set: the packet refers to the program's \
            pages, which must not change until a notification says so. Each send has a number of \
            32 bits, notifications are ranges of them, and code 1 (SO_EE_CODE_ZEROCOPY_COPIED) \
            says that the kernel copied after all, as it always does on loopback. It pays from \
            about 10 KB a send, and unread notifications count against optmem_max until ENOBUFS.",
        kernel: "net/core/skbuff.c, net/ipv4/tcp.c, Documentation/networking/msg_zerocopy.rst",
        api: &[],
        commands: "netmem doctor",
        note: "the probe of `doctor` says what it proves; zero-copy sends in the library are \
            planned",
        now: &[Now::Probe("MSG_ZEROCOPY on loopback"), Now::Sysctl("net.core.optmem_max")],
    },
    Entry {
        word: "error queue",
        aliases: "错误队列, MSG_ERRQUEUE, sk_error_queue, IP_RECVERR, sock_extended_err, CMSG, cbuf, \
            msg_control, msg_controllen, SOL_IP, 完成通知, ee_code, ee_info, ee_data, POLLERR, \
            recvmsg, 零拷贝完成CMSG, 错误队列完成通知, origin",
        what: "A second queue of a socket that recvmsg(2) reads with MSG_ERRQUEUE: ICMP errors, \
            timestamps and zero-copy notifications, each as a sock_extended_err in a control \
            message. It never blocks: wait for POLLERR. IP_RECVERR is for ICMP errors, and not \
            needed for zero-copy notifications.",
        kernel: "net/core/skbuff.c, net/ipv4/ip_sockglue.c, include/uapi/linux/errqueue.h",
        api: &[],
        commands: "netmem doctor",
        note: "planned with zero-copy sends",
        now: &[],
    },
    Entry {
        word: "kTLS",
        aliases: "ktls, TLS, SOL_TLS, TLS_TX, TLS_RX, TLS_SW, TLS_HW, ULP, TCP_ULP, \
            tls12_crypto_info_aes_gcm_128, tls_set_sw_offload, tls_context, tls_ctx_create, \
            tls_prots, tx_conf, sw_proto, AES, GCM, AES/GCM, NIC TLS引擎, 内核TLS, 内核TLS与硬件卸载, TLS记录层, \
            记录层分片与加密, tls-hw-tx-offload, tls-hw-rx-offload, crypto, 传输卸载, IV",
        what: "TLS records made and read in the kernel: the program does the handshake, attaches \
            the ULP \"tls\" by TCP_ULP (a step that is often left out) and then gives the keys by \
            TLS_TX and TLS_RX. In software the data is encrypted into new pages, so only a device \
            that offers tls-hw-tx-offload sends without touching it. sendfile and splice work \
            over it.",
        kernel: "net/tls/tls_main.c, net/tls/tls_sw.c, Documentation/networking/tls.rst",
        api: &[],
        commands: "netmem doctor",
        note: "planned in the library",
        now: &[Now::Sysctl("net.ipv4.tcp_available_ulp"), Now::Config("CONFIG_TLS")],
    },
    Entry {
        word: "busy polling",
        aliases: "busy poll, busy_poll微秒数, busy polling微秒数, SO_BUSY_POLL, SO_PREFER_BUSY_POLL, \
            SO_BUSY_POLL_BUDGET, 忙轮询, napi_defer_hard_irqs, gro_flush_timeout",
        what: "A thread that waits for packets polls the device itself instead of sleeping until \
            an interrupt: less latency for a busy CPU. Per socket by SO_BUSY_POLL, for poll(2) and \
            select(2) by net.core.busy_poll. With SO_PREFER_BUSY_POLL (kernel 5.11), \
            napi_defer_hard_irqs and gro_flush_timeout interrupts stay off while the program \
            polls.",
        kernel: "net/core/dev.c, Documentation/networking/napi.rst",
        api: api![netmem::xdp::BusyPoll],
        commands: "netmem doctor",
        note: "",
        now: &[Now::Sysctl("net.core.busy_poll"), Now::Sysctl("net.core.busy_read")],
    },
];
