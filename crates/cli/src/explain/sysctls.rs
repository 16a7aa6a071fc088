//! The sysctls that the articles name, each an entry of its own with the words of the articles for it:
//! `netmem explain KEY`.
//!
//! Form, unit, scope and default are said by [`netmem_host::sysctl::KEYS`] alone, which has the others too.

use netmem_host::sysctl::{KEYS as HOST_KEYS, Key as HostKey};

use super::{Entry, Now, plain};

/// A sysctl.
struct Key {
    /// Its name, with dots.
    name: &'static str,
    /// What it is said by, beside its name without the folder.
    aliases: &'static str,
    /// What it means, with its unit and scope: three sentences.
    what: &'static str,
    /// Where the kernel documents or handles it.
    kernel: &'static str,
    /// Its value.
    now: [Now; 1],
}

/// Every sysctl as an entry.
pub(super) fn all() -> impl Iterator<Item = Entry> {
    KEYS.iter().map(entry)
}

/// The sysctls of that name, or whose name ends in it, in the form of [`plain`].
pub(super) fn others(asked: &str) -> impl Iterator<Item = &'static HostKey> {
    let is_named = move |key: &&HostKey| {
        let name = plain(key.name);
        name == asked || name.rsplit('.').next() == Some(asked)
    };
    HOST_KEYS.iter().filter(is_named)
}

fn entry(key: &'static Key) -> Entry {
    Entry {
        word: key.name,
        aliases: key.aliases,
        what: key.what,
        kernel: key.kernel,
        api: &[],
        commands: "netmem tune, netmem doctor, netmem explain",
        note: "`netmem tune explain` has its bounds and what people get wrong about it",
        now: &key.now,
    }
}

const NET: &str = "Documentation/admin-guide/sysctl/net.rst";
const IP: &str = "Documentation/networking/ip-sysctl.rst";
const VM: &str = "Documentation/admin-guide/sysctl/vm.rst";

static KEYS: &[Key] = &[
    Key {
        name: "net.core.rmem_default",
        aliases: "rmem_default, sysctl_rmem_default, 默认接收缓冲区, 接收缓冲默认/上限, 接收缓冲默认",
        what: "The receive buffer that a socket starts with, in bytes of truesize; 212992 by \
            default. It is for UDP, raw and packet sockets: TCP starts with tcp_rmem[1]. It counts \
            for sockets that are made later, and in a namespace it is read-only (6.18) or absent.",
        kernel: NET,
        now: [Now::Sysctl("net.core.rmem_default")],
    },
    Key {
        name: "net.core.rmem_max",
        aliases: "rmem_max, sysctl_rmem_max, 最大接收缓冲区, 接收缓冲上限",
        what: "The most that SO_RCVBUF may ask for, in bytes, which the kernel then doubles; \
            4194304 by default since 6.18, 212992 before. It does not bound the growth of TCP \
            buffers by themselves: tcp_rmem[2] does. SO_RCVBUFFORCE passes it with CAP_NET_ADMIN.",
        kernel: NET,
        now: [Now::Sysctl("net.core.rmem_max")],
    },
    Key {
        name: "net.core.wmem_default",
        aliases: "wmem_default, sysctl_wmem_default, 默认发送缓冲区, 发送缓冲默认/上限, 发送缓冲默认",
        what: "The send buffer that a socket starts with, in bytes of truesize; 212992 by default. \
            TCP starts with tcp_wmem[1] instead. It counts for sockets that are made later.",
        kernel: NET,
        now: [Now::Sysctl("net.core.wmem_default")],
    },
    Key {
        name: "net.core.wmem_max",
        aliases: "wmem_max, sysctl_wmem_max, 最大发送缓冲区, 发送缓冲上限",
        what: "The most that SO_SNDBUF may ask for, in bytes, which the kernel then doubles; \
            4194304 by default since 6.18, 212992 before. It does not bound the growth of TCP \
            buffers by themselves: tcp_wmem[2] does. SO_SNDBUFFORCE passes it with CAP_NET_ADMIN.",
        kernel: NET,
        now: [Now::Sysctl("net.core.wmem_max")],
    },
    Key {
        name: "net.core.optmem_max",
        aliases: "optmem_max, optmem, 每socket可选项缓冲上限, 可选项缓冲上限",
        what: "How many bytes of ancillary data and options one socket may hold; 131072 by default \
            since 6.8, 20480 before. Unread notifications of MSG_ZEROCOPY count against it, about \
            832 bytes each, and a send fails with ENOBUFS at the limit. It is of the network \
            namespace since 6.8.",
        kernel: NET,
        now: [Now::Sysctl("net.core.optmem_max")],
    },
    Key {
        name: "net.core.netdev_max_backlog",
        aliases: "netdev_max_backlog, 软中断队列最大积压, 增加backlog, 积压",
        what: "How many packets may wait in the backlog of one CPU; 1000 by default, one number \
            for the machine. Only what goes by the backlog is concerned: loopback, RPS, tunnels, \
            veth without NAPI. What does not fit is dropped and counted in the second column of \
            softnet_stat.",
        kernel: NET,
        now: [Now::Sysctl("net.core.netdev_max_backlog")],
    },
    Key {
        name: "net.core.netdev_budget",
        aliases: "netdev_budget, 软中断预算, 增加软中断预算, 每轮RX软中断预算, 每轮RX软中断预算/时限",
        what: "How many packets all NAPI instances of a CPU may take in one softirq; 300 by \
            default, one number for the machine. The poll also ends after netdev_budget_usecs, so \
            it changes nothing where packets take that long. time_squeeze in softnet_stat counts polls that \
            ended with work left.",
        kernel: NET,
        now: [Now::Sysctl("net.core.netdev_budget")],
    },
    Key {
        name: "net.core.netdev_budget_usecs",
        aliases: "netdev_budget_usecs, netdev_budget_usecs时限, 时限",
        what: "How many microseconds one softirq may poll; two ticks of the kernel by default, \
            8000 at 250 Hz. The poll ends at this or at netdev_budget, whichever comes first. It \
            is one number for the machine.",
        kernel: NET,
        now: [Now::Sysctl("net.core.netdev_budget_usecs")],
    },
    Key {
        name: "net.core.busy_poll",
        aliases: "busy_poll, busy polling, 忙轮询时间",
        what: "How many microseconds poll(2) and select(2) may busy poll for packets; 0, off, by \
            default, and 50 is advised. It concerns sockets with SO_BUSY_POLL set. It costs CPU \
            and power.",
        kernel: NET,
        now: [Now::Sysctl("net.core.busy_poll")],
    },
    Key {
        name: "net.core.busy_read",
        aliases: "busy_read",
        what: "How many microseconds a read may busy poll, as the default of SO_BUSY_POLL for new \
            sockets; 0, off, by default, and 50 is advised. The device's driver must support it. \
            It costs CPU and power.",
        kernel: NET,
        now: [Now::Sysctl("net.core.busy_read")],
    },
    Key {
        name: "net.core.mem_pcpu_rsv",
        aliases: "mem_pcpu_rsv",
        what: "How many pages each CPU keeps back from a protocol's counter of memory, so that \
            CPUs do not share a line; 256 by default. mem in sockstat is wrong by at most this \
            many pages times the CPUs. It is one number for the machine.",
        kernel: NET,
        now: [Now::Sysctl("net.core.mem_pcpu_rsv")],
    },
    Key {
        name: "net.core.somaxconn",
        aliases: "somaxconn",
        what: "The most connections that may wait for accept(2) on one socket, whatever listen(2) \
            asks; 4096 by default. More are dropped, which ListenOverflows counts. It is of the \
            network namespace.",
        kernel: IP,
        now: [Now::Sysctl("net.core.somaxconn")],
    },
    Key {
        name: "net.core.high_order_alloc_disable",
        aliases: "high_order_alloc_disable",
        what: "1 makes packet fragments take single pages instead of blocks of 32 KiB; 0 by \
            default. Single pages are always there, blocks need unfragmented memory. It is one \
            number for the machine.",
        kernel: NET,
        now: [Now::Sysctl("net.core.high_order_alloc_disable")],
    },
    Key {
        name: "net.core.default_qdisc",
        aliases: "default_qdisc, qdisc",
        what: "The queueing discipline that new interfaces get; pfifo_fast unless the system sets \
            another. AF_XDP's copy mode sends past the discipline, straight to the device's queue. \
            It is one name for the machine.",
        kernel: NET,
        now: [Now::Sysctl("net.core.default_qdisc")],
    },
    Key {
        name: "net.ipv4.tcp_rmem",
        aliases: "tcp_rmem, sysctl_tcp_rmem, TCP接收内存, TCP三元组内存调优, 三元组",
        what: "Least, first and largest receive buffer of a TCP socket, in bytes; 4096 131072 and \
            33554432 since 6.16, 6291456 before, less on small machines. The kernel grows a buffer \
            up to the third by itself unless the program set SO_RCVBUF. 16777216, a largest that is \
            often copied, lowers it on kernels from 6.16 on. It is of the network namespace.",
        kernel: IP,
        now: [Now::Sysctl("net.ipv4.tcp_rmem")],
    },
    Key {
        name: "net.ipv4.tcp_wmem",
        aliases: "tcp_wmem, sysctl_tcp_wmem, TCP发送内存",
        what: "Least, first and largest send buffer of a TCP socket, in bytes; 4096 16384 4194304 \
            by default. The kernel grows a buffer up to the third by itself unless the program set \
            SO_SNDBUF. It is of the network namespace.",
        kernel: IP,
        now: [Now::Sysctl("net.ipv4.tcp_wmem")],
    },
    Key {
        name: "net.ipv4.tcp_mem",
        aliases: "tcp_mem, sysctl_tcp_mem, TCP总内存, TCP内存限制",
        what: "Low, pressure and high limits of the memory of all TCP sockets together, in pages \
            and not in bytes; by default about 4.7, 6.3 and 9.4 % of the free memory at boot. \
            Above the second buffers shrink, above the third memory is refused. It is one triple \
            for the machine. 8388608 12582912 16777216, numbers that are often copied, would be \
            32, 48 and 64 GiB with pages of 4 KiB.",
        kernel: IP,
        now: [Now::Sysctl("net.ipv4.tcp_mem")],
    },
    Key {
        name: "net.ipv4.tcp_window_scaling",
        aliases: "tcp_window_scaling, TCP窗口扩展, 窗口扩展, 启用TCP窗口扩展, window scaling",
        what: "1 lets windows be larger than 64 KiB (RFC 7323); 1 by default, so setting it \
            changes nothing. 0 bounds every connection to 64 KiB in flight. It is of the network \
            namespace.",
        kernel: IP,
        now: [Now::Sysctl("net.ipv4.tcp_window_scaling")],
    },
    Key {
        name: "net.ipv4.tcp_moderate_rcvbuf",
        aliases: "tcp_moderate_rcvbuf, TCP缓冲区自动调节, 缓冲区自动调节, autotuning, 自动调节",
        what: "1 lets the kernel grow receive buffers by itself, up to tcp_rmem[2]; 1 by default, \
            so setting it changes nothing. A socket whose program set SO_RCVBUF does not take \
            part. It is of the network namespace.",
        kernel: IP,
        now: [Now::Sysctl("net.ipv4.tcp_moderate_rcvbuf")],
    },
    Key {
        name: "net.ipv4.tcp_notsent_lowat",
        aliases: "tcp_notsent_lowat, 未发送阈值",
        what: "How many bytes not yet sent a TCP socket may hold before it no longer counts as \
            writable; 4294967295, off, by default. A low value keeps data in the program, where it \
            can still be changed, and saves kernel memory. It is of the network namespace and \
            TCP_NOTSENT_LOWAT sets it per socket.",
        kernel: IP,
        now: [Now::Sysctl("net.ipv4.tcp_notsent_lowat")],
    },
    Key {
        name: "net.ipv4.tcp_mtu_probing",
        aliases: "tcp_mtu_probing, PMTUD, PMTU, MTU, MTU探测, PMTUD失败时的MTU探测, path MTU",
        what: "Whether TCP looks for the largest packet of a path by itself: 0 never, 1 after it \
            lost packets to a black hole, 2 always; 0 by default. It helps where ICMP messages \
            about sizes are filtered. It is of the network namespace.",
        kernel: IP,
        now: [Now::Sysctl("net.ipv4.tcp_mtu_probing")],
    },
    Key {
        name: "net.ipv4.tcp_limit_output_bytes",
        aliases: "tcp_limit_output_bytes, TSQ",
        what: "How many bytes of one TCP socket may lie in queues and device below it; 1048576 on \
            kernel 6.1, 4194304 on 6.18. It keeps queues short; devices that complete late may \
            need more. It is of the network namespace.",
        kernel: IP,
        now: [Now::Sysctl("net.ipv4.tcp_limit_output_bytes")],
    },
    Key {
        name: "net.ipv4.tcp_max_orphans",
        aliases: "tcp_max_orphans",
        what: "How many TCP connections without a process may be there before they are reset; by \
            default as many as there are hash buckets of connections. Each may hold up to 64 KiB \
            of unswappable memory. It is one number for the machine.",
        kernel: IP,
        now: [Now::Sysctl("net.ipv4.tcp_max_orphans")],
    },
    Key {
        name: "net.ipv4.tcp_adv_win_scale",
        aliases: "tcp_adv_win_scale",
        what: "Once told what part of a receive buffer is overhead; obsolete since 6.6, where the \
            kernel measures it. Setting it changes nothing there. It is of the network namespace.",
        kernel: IP,
        now: [Now::Sysctl("net.ipv4.tcp_adv_win_scale")],
    },
    Key {
        name: "net.ipv4.tcp_available_ulp",
        aliases: "tcp_available_ulp",
        what: "The upper layer protocols that can be attached to a TCP socket by TCP_ULP and are \
            loaded, such as tls. It is read-only. A module that is not loaded does not show, and \
            is loaded when it is asked for by a privileged program.",
        kernel: IP,
        now: [Now::Sysctl("net.ipv4.tcp_available_ulp")],
    },
    Key {
        name: "net.ipv4.udp_mem",
        aliases: "udp_mem, sysctl_udp_mem, UDP内存阈值, UDP内存限制",
        what: "Limit of the memory of all UDP sockets together, in pages and not in bytes; by \
            default about twice that of TCP. Above the first of the three a socket gets no more \
            than its udp_rmem_min, above the third not even that: packets are dropped, which \
            UdpMemErrors counts. The second does nothing, as UDP has no pressure state. It is one \
            triple for the machine: a single number sets the first only.",
        kernel: IP,
        now: [Now::Sysctl("net.ipv4.udp_mem")],
    },
    Key {
        name: "net.ipv4.udp_rmem_min",
        aliases: "udp_rmem_min",
        what: "Receive buffer in bytes that each UDP socket may use even above udp_mem[0]; one \
            page by default. It is one number: of three, as scripts often write, the kernel takes \
            the first and says nothing. It is of the network namespace.",
        kernel: IP,
        now: [Now::Sysctl("net.ipv4.udp_rmem_min")],
    },
    Key {
        name: "net.ipv4.udp_wmem_min",
        aliases: "udp_wmem_min",
        what: "Without effect: UDP does not account for what it sends. It is one number, one page \
            by default. It is of the network namespace.",
        kernel: IP,
        now: [Now::Sysctl("net.ipv4.udp_wmem_min")],
    },
    Key {
        name: "net.ipv4.ipfrag_high_thresh",
        aliases: "ipfrag_high_thresh",
        what: "How many bytes of IPv4 fragments may wait to be put together; 4194304 by default. \
            More are dropped. It is of the network namespace.",
        kernel: IP,
        now: [Now::Sysctl("net.ipv4.ipfrag_high_thresh")],
    },
    Key {
        name: "vm.nr_hugepages",
        aliases: "nr_hugepages, reserved huge pages",
        what: "How many huge pages of the default size are reserved. Raising it later succeeds as \
            far as memory is unfragmented: read it back. It is one number for the machine; each \
            size and node has its own below /sys.",
        kernel: VM,
        now: [Now::Sysctl("vm.nr_hugepages")],
    },
    Key {
        name: "vm.min_free_kbytes",
        aliases: "min_free_kbytes",
        what: "How many KiB the kernel keeps free for allocations that may not wait, such as those \
            of packets in a softirq. Too little shows as dropped packets and order-0 allocation \
            failures. It is one number for the machine.",
        kernel: VM,
        now: [Now::Sysctl("vm.min_free_kbytes")],
    },
];
