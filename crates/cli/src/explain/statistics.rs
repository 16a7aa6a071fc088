//! Words of monitoring: the files that show the network's memory, and the counters in them.

use super::{Entry, Now, api};

pub(super) static ENTRIES: &[Entry] = &[
    Entry {
        word: "sockstat",
        aliases: "/proc/net/sockstat, sockstat_seq_show, 套接字统计, 套接字内存统计, inuse, sock_inuse_get, \
            sock_prot_inuse_get, sockets, alloc, mem, 内存使用统计, 网络内存统计, 网络内存统计和监控, sockstat6, \
            seq_file, seq_printf, 网络内存使用统计",
        what: "Sockets and protocol memory in a few lines: inuse, tw and FRAG are of this network \
            namespace, orphan, alloc and mem of the whole machine. mem is in pages and FRAG \
            memory in bytes; since 6.0 mem lags by up to mem_pcpu_rsv pages a CPU. alloc counts \
            all allocated TCP sockets, and is not the same as inuse.",
        kernel: "net/ipv4/proc.c",
        api: api![netmem_host::source::Root],
        commands: "netmem top",
        note: "",
        now: &[
            Now::Line("net/sockstat", "sockets:"),
            Now::Line("net/sockstat", "TCP:"),
            Now::Line("net/sockstat", "UDP:"),
            Now::Line("net/sockstat", "FRAG:"),
        ],
    },
    Entry {
        word: "IP fragments",
        aliases: "FRAG, frag_mem_limit, ipv4.frags, ipfrag_high_thresh, 分片重组",
        what: "Packets that came in pieces wait for the rest in queues of the network namespace, \
            up to ipfrag_high_thresh bytes. FRAG in sockstat has the number of queues and their \
            memory in bytes. When the limit is reached new pieces are dropped.",
        kernel: "net/ipv4/ip_fragment.c, net/ipv4/inet_fragment.c",
        api: &[],
        commands: "netmem top",
        note: "",
        now: &[Now::Line("net/sockstat", "FRAG:"), Now::Sysctl("net.ipv4.ipfrag_high_thresh")],
    },
    Entry {
        word: "UDPLITE",
        aliases: "udplite, UDP-Lite",
        what: "UDP with checksums over a part of the packet (RFC 3828), counted apart in sockstat. \
            It shares UDP's memory limits. Newer kernels may be without it.",
        kernel: "Documentation/networking/udplite.rst",
        api: &[],
        commands: "netmem top",
        note: "",
        now: &[Now::Line("net/sockstat", "UDPLITE:")],
    },
    Entry {
        word: "device counters",
        aliases: "rx_fifo_errors, tx_dropped, RX dropped, TX dropped, RX fifo errors, 网络设备统计, \
            网络设备内存统计, /sys/class/net, rx_missed_errors, rx_nohandler, statistics, 网络设备队列, dropped \
            packets, dropped",
        what: "Counters of an interface by netlink (rtnl_link_stats64): rx_dropped and tx_dropped \
            are the stack's and driver's drops, rx_missed_errors and rx_fifo_errors those of a \
            device without room, rx_nohandler those nobody wanted. What a device counts where \
            differs by driver; ethtool -S has more. /sys/class/net shows the namespace that /sys \
            was mounted in.",
        kernel: "include/uapi/linux/if_link.h, Documentation/networking/statistics.rst",
        api: api![netmem::link::Link],
        commands: "netmem top",
        note: "",
        now: &[],
    },
    Entry {
        word: "softnet_stat",
        aliases: "/proc/net/softnet_stat, time_squeeze, softnet, 软中断队列",
        what: "One line of hexadecimal numbers per online CPU: packets processed, dropped because \
            the backlog was full, and time_squeeze, polls that ended before all was done. Numbers \
            are of 32 bits and wrap. dropped moves only for what goes by the backlog: RPS, \
            loopback, veth without NAPI, tunnels.",
        kernel: "net/core/net-procfs.c",
        api: &[],
        commands: "netmem top",
        note: "",
        now: &[Now::Line("net/softnet_stat", "")],
    },
    Entry {
        word: "sysctl",
        aliases: "ctl_table, netns_core_table, proc_dointvec, proc_dointvec_minmax, procname, \
            maxlen, proc_handler, extra1, /proc/sys, 调优, 网络内存sysctl参数, 内存调优参数, 网络内存性能调优, sysctl速查, \
            速查, tune_network_memory, monitor_network_memory, 调优脚本, 监控脚本",
        what: "Settings of the kernel as files below /proc/sys, a name's dots being slashes. Some \
            belong to the network namespace, some to the machine, and in a namespace the latter \
            are absent or read-only. A scalar given three numbers takes the first and says \
            nothing, and limits such as tcp_mem are in pages: scripts that are copied have both \
            mistakes.",
        kernel: "kernel/sysctl.c, net/core/sysctl_net_core.c, \
            Documentation/admin-guide/sysctl/net.rst",
        api: api![netmem_host::source::Root],
        commands: "netmem tune, netmem explain, netmem doctor",
        note: "`netmem tune explain KEY` for each key; `netmem tune lint FILE` judges a script",
        now: &[],
    },
];
