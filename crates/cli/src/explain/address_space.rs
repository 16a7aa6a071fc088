//! Words of the address space: what `pmap` prints of an AF_XDP program, and where its memory comes from.

use super::{Entry, Now, api};

pub(super) static ENTRIES: &[Entry] = &[
    Entry {
        word: "address space",
        aliases: "virtual memory, VM, 虚拟内存, 虚拟地址, 地址空间, 内存布局, 程序内存布局, user space, kernel space, \
            用户态, 内核态, 用户空间, 内核空间, 用户虚拟地址, vm_area_struct, 虚拟内存区域, va, mm, vma, 4级页表, 5级页表, 页表, \
            page table, TASK_SIZE, vm_start, vm_end, vm_pgoff, vm_ops",
        what: "Each process has page tables of its own for the lower half of the addresses, and \
            all share the kernel's upper half, which user code cannot read. With 4-level page \
            tables on x86-64 each half is 128 TiB, with 5-level ones 64 PiB, of which a process \
            gets the first 128 TiB unless it asks for higher addresses. A mapping (vm_area_struct) \
            is one run of addresses with the same owner and rights: a line of /proc/PID/maps.",
        kernel: "Documentation/arch/x86/x86_64/mm.rst, include/linux/mm_types.h",
        api: &[],
        commands: "netmem maps",
        note: "",
        now: &[Now::Line("self/status", "VmSize:"), Now::Line("self/status", "VmPTE:")],
    },
    Entry {
        word: "kernel address layout",
        aliases: "page_offset_base, vmalloc_base, vmemmap_base, vmalloc, ioremap, vmemmap, KASAN, \
            KASAN shadow memory, KASLR, PTI, LDT, LDT remap, direct map, 直接映射物理内存, 直接映射, 直接映射区, \
            PAGE_OFFSET, virtual memory map, kasan_unpoison_object_data",
        what: "The upper half holds the direct map of all physical memory (page_offset_base), the \
            vmalloc and ioremap space (vmalloc_base), the array of struct page (vmemmap_base), the \
            KASAN shadow, and small areas such as the LDT remap for PTI. KASLR moves the first \
            three at boot, so the addresses of the table in the documentation are those without \
            it. Packet data that the kernel allocates lies in the direct map, where an address and \
            its physical page differ by a constant.",
        kernel: "Documentation/arch/x86/x86_64/mm.rst, arch/x86/mm/kaslr.c",
        api: &[],
        commands: "",
        note: "netmem never uses kernel addresses",
        now: &[Now::Line("meminfo", "VmallocTotal:"), Now::Line("meminfo", "VmallocUsed:")],
    },
    Entry {
        word: "static area",
        aliases: "code, text, data, bss, rodata, 静态区, 静态, 代码段, 数据段",
        what: "The parts of a program that its file describes: code (r-x), read-only data (r--), \
            data (rw-, private copies of file pages), and BSS (rw-, zero at start and not in the \
            file). Code and read-only data are shared through the page cache by all processes of \
            one file. In /proc/PID/maps the BSS is the nameless mapping behind the file's.",
        kernel: "fs/binfmt_elf.c",
        api: &[],
        commands: "netmem maps",
        note: "",
        now: &[Now::Line("self/status", "VmExe:"), Now::Line("self/status", "VmData:")],
    },
    Entry {
        word: "heap",
        aliases: "brk, 堆, [heap], malloc",
        what: "The mapping behind the BSS that brk(2) grows, called [heap] in /proc/PID/maps. \
            Allocators take large pieces and those of other threads by mmap instead, so most \
            memory of a threaded program is not in it. Packet memory never comes from it here.",
        kernel: "mm/mmap.c",
        api: api![netmem::mem::Region],
        commands: "netmem maps",
        note: "",
        now: &[Now::Line("self/status", "VmData:")],
    },
    Entry {
        word: "stack",
        aliases: "RLIMIT_STACK, 栈, 栈空间, 栈限制, [stack], guard page, thread stack",
        what: "The stack of the main thread grows downwards up to RLIMIT_STACK, 8 MiB by default, \
            and is called [stack]; stacks of other threads are plain mappings with an inaccessible \
            guard page below. The limit is read when the program starts and when a thread is made: \
            raising it later changes nothing for threads that run. A packet program needs no \
            unlimited stack, since no packet lies on it.",
        kernel: "fs/exec.c, mm/mmap.c",
        api: &[],
        commands: "netmem maps",
        note: "workers of netmem have stacks of a fixed size",
        now: &[Now::Line("self/limits", "Max stack size"), Now::Line("self/status", "VmStk:")],
    },
    Entry {
        word: "mmap",
        aliases: "内存映射, 内存映射区域, MAP_PRIVATE, MAP_SHARED, MAP_ANONYMOUS, MAP_POPULATE, MAP_FIXED, \
            PROT_READ, PROT_WRITE, munmap, madvise, mmap零拷贝, MMAP_ZERO, syscall.Mmap, anonymous \
            page, 匿名页, MADV_POPULATE_WRITE, vm_insert_page, 缺页异常, page fault, 匿名的文件, 用户缓冲区, \
            USER_BUF",
        what: "mmap(2) puts pages of a file, of a device or new ones (anonymous) into the address \
            space; pages come at the first access (a page fault) unless MAP_POPULATE asks for all \
            at once. MAP_POPULATE hides a shortage, and the program is killed later by SIGBUS; \
            MADV_POPULATE_WRITE (kernel 5.14) reports it as an error. A shared mapping of a \
            socket, as of AF_XDP and packet rings, is the kernel's own pages at a second address.",
        kernel: "mm/mmap.c, mm/madvise.c",
        api: api![netmem::mem::Region],
        commands: "netmem maps",
        note: "",
        now: &[Now::Sysctl("vm.max_map_count")],
    },
    Entry {
        word: "huge page",
        aliases: "hugepage, hugepages, Hugepage, hugetlb, MAP_HUGETLB, MAP_HUGE_SHIFT, \
            MAP_HUGE_2MB, MAP_HUGE_1GB, UseHugePage, HugePage1Gb, 大页, 1G的页面, anon_hugepage, \
            nr_hugepages, Private_Hugetlb, Shared_Hugetlb, hugetlbfs, 2M大页, 1G大页",
        what: "Pages of 2 MiB or 1 GiB (x86-64) from a reserved pool: one entry of the TLB covers \
            512 or 262144 small pages, and they are never swapped. The pool is set by \
            vm.nr_hugepages, per size and node in /sys, and 1 GiB pages are best reserved at boot, \
            before memory is fragmented. They count in Private_Hugetlb or Shared_Hugetlb and not \
            in Rss.",
        kernel: "mm/hugetlb.c, Documentation/admin-guide/mm/hugetlbpage.rst",
        api: api![netmem::mem::PageTier, netmem::mem::RegionReport],
        commands: "netmem doctor, netmem maps",
        note: "a Region takes an ordered list of page sizes and says what it got and why not \
            better; netmem never reserves huge pages itself",
        now: &[
            Now::Line("meminfo", "HugePages_Total:"),
            Now::Line("meminfo", "HugePages_Free:"),
            Now::Line("meminfo", "Hugepagesize:"),
            Now::Sysctl("vm.nr_hugepages"),
        ],
    },
    Entry {
        word: "transparent huge page",
        aliases: "THP, THPeligible, ShmemPmdMapped, FilePmdMapped, khugepaged, 透明大页, \
            AnonHugePages, MADV_HUGEPAGE",
        what: "The kernel backs a large enough anonymous mapping by 2 MiB pages by itself, when it \
            is set to always, or to madvise and the program asks. It needs no reserve, but may \
            fail silently when memory is fragmented, and such pages may be split again. \
            THPeligible, ShmemPmdMapped and FilePmdMapped in smaps say whether a mapping may have \
            them and has them.",
        kernel: "mm/huge_memory.c, Documentation/admin-guide/mm/transhuge.rst",
        api: api![netmem::mem::PageTier],
        commands: "netmem doctor",
        note: "",
        now: &[
            Now::Sys("kernel/mm/transparent_hugepage/enabled"),
            Now::Line("meminfo", "AnonHugePages:"),
        ],
    },
    Entry {
        word: "pmap",
        aliases: "smaps, Rss, Pss, RSS, Referenced, Anonymous, LazyFree, Swap, SwapPss, Locked, \
            Perm, Offset, Inode, Mapping, /proc/PID/maps, VmRSS, 内存使用情况",
        what: "pmap prints /proc/PID/smaps: for each mapping its rights, offset and file, and how \
            much of it is resident (Rss), shared out among its users (Pss), in huge pages, swapped \
            or locked. Pages that belong to the kernel, as those of AF_XDP rings, counted 0 in Rss \
            up to kernel 5.15 at least and count on 6.18; huge pages of hugetlb never count there. \
            A pinned UMEM shows in neither VmLck nor VmPin, though it is held.",
        kernel: "fs/proc/task_mmu.c, Documentation/filesystems/proc.rst",
        api: &[],
        commands: "netmem maps",
        note: "",
        now: &[Now::Line("self/status", "VmRSS:"), Now::Line("self/status", "VmLck:")],
    },
    Entry {
        word: "RLIMIT_MEMLOCK",
        aliases: "memlock, ulimit -l, 可锁定的内存限制, 可锁定内存, locked memory, locked_vm, CAP_IPC_LOCK, \
            user_struct, VmPin, VmLck",
        what: "How much memory a user may pin: a UMEM counts against it when it is registered, and \
            MSG_ZEROCOPY's pages do while they are in flight. CAP_IPC_LOCK lifts it; since kernel \
            5.11 BPF maps and programs count to the memory cgroup instead. Failing to raise it \
            need not be fatal: only the registration decides.",
        kernel: "net/xdp/xdp_umem.c, include/uapi/asm-generic/resource.h",
        api: api![netmem::xdp::PortBuilder],
        commands: "netmem doctor",
        note: "",
        now: &[Now::Line("self/limits", "Max locked memory")],
    },
    Entry {
        word: "vdso",
        aliases: "vvar, vsyscall, [vdso], [vvar], [vsyscall]",
        what: "Pages that the kernel maps into every process: [vdso] has the code of clock_gettime \
            and others that need no system call, [vvar] the data that they read. [vsyscall] is the \
            old one at a fixed address in the kernel's half, kept for old programs. None of them \
            is memory of the program.",
        kernel: "arch/x86/entry/vdso, arch/x86/entry/vsyscall/vsyscall_64.c",
        api: &[],
        commands: "netmem maps",
        note: "",
        now: &[],
    },
    Entry {
        word: "file descriptor",
        aliases: "fd, 文件描述符, xsk.fd, socket:[inode], socket, 套接字, 套接字的描述符, fdget, fdput, in_fd, \
            out_fd",
        what: "A number that names an open file, socket, map or link of one process; the object \
            lives as long as one descriptor or mapping of it. A socket is an inode of its own file \
            system, so its mappings and descriptors are called socket:[INODE]. Whoever has the \
            right to trace a process can copy its descriptors by pidfd_getfd(2), kernel 5.6.",
        kernel: "fs/file.c, net/socket.c",
        api: api![netmem_host::process::Holders],
        commands: "netmem list",
        note: "",
        now: &[Now::Line("self/limits", "Max open files"), Now::Sysctl("fs.file-nr")],
    },
    Entry {
        word: "NUMA",
        aliases: "numa_node, NUMA_NO_NODE, nid, 节点, mbind, numa_maps",
        what: "Memory is near to some CPUs and far from others; a device is near to one node as \
            well. Packet memory on another node than the device or the worker costs bandwidth and \
            latency. Page pools prefer the device's node, and pages of another are given back.",
        kernel: "mm/mempolicy.c, Documentation/admin-guide/mm/numa_memory_policy.rst",
        api: api![netmem::mem::region::RegionBuilder],
        commands: "netmem doctor",
        note: "",
        now: &[Now::Sys("devices/system/node/online")],
    },
    Entry {
        word: "network namespace",
        aliases: "namespace, netns, 命名空间, struct net, init_net, net_eq, dev_net, sock_net",
        what: "A set of interfaces, routes, sockets, sysctls and files below /proc/net of its own; \
            the memory limits tcp_mem and udp_mem and the counters of protocol memory are one for \
            all. Processes in a namespace still share one kernel and its memory. /proc/net is that \
            of the process's main thread, /proc/thread-self/net that of the thread.",
        kernel: "net/core/net_namespace.c, Documentation/networking/netdevices.rst",
        api: api![netmem_host::lab::NetNs],
        commands: "netmem lab",
        note: "",
        now: &[Now::Link("thread-self/ns/net")],
    },
];
