//! Words of the kernel's code itself that listings use everywhere.

use super::{Entry, api};

pub(super) static ENTRIES: &[Entry] = &[
    Entry {
        word: "kernel atomics",
        aliases: "atomic_inc, atomic_read, atomic_set, atomic_sub_return, READ_ONCE, WRITE_ONCE, \
            原子操作, 原子写入, INT_MAX, atomic, barrier, 内存屏障, lock, mutex_lock, mutex_unlock, \
            spin_unlock, spin_lock, 原子计数器",
        what: "Operations on shared words that cannot be torn: atomic_* reads, adds and swaps in \
            one step, READ_ONCE and WRITE_ONCE only keep the compiler from splitting or repeating \
            an access. They order nothing by themselves unless they return a value; barriers or \
            acquire and release do. Each costs a cache line that moves between CPUs, which per-CPU \
            caches are there to avoid.",
        kernel: "include/linux/atomic.h, Documentation/atomic_t.txt, \
            Documentation/memory-barriers.txt",
        api: api![netmem::mem::PoolHandle],
        commands: "",
        note: "no atomic read-modify-write happens per packet",
        now: &[],
    },
    Entry {
        word: "per-CPU data",
        aliases: "get_cpu, put_cpu, for_each_possible_cpu, num_possible_cpus, get_online_cpus, \
            per-CPU, 每CPU, cpu_addr, CPU",
        what: "A variable with a copy for each CPU, used without locks while the task cannot move: \
            between get_cpu and put_cpu, or in a softirq. Loops over all CPUs add the copies up \
            when somebody reads. get_online_cpus keeps CPUs from going away; its name is \
            cpus_read_lock today, and page_pool_create does not use it.",
        kernel: "include/linux/percpu-defs.h, include/linux/cpu.h",
        api: api![netmem::mem::PoolHandle],
        commands: "",
        note: "",
        now: &[super::Now::Sys("devices/system/cpu/online")],
    },
    Entry {
        word: "kernel idioms",
        aliases: "likely, unlikely, __init, THIS_MODULE, ERR_PTR, BUG_ON, ARRAY_SIZE, \
            INIT_LIST_HEAD, sizeof_field, offsetof, max_t, min_t, __u16, __u32, size_t, ssize_t, \
            loff_t, NULL, typeof, goto, expected_size, pg_num, err_ring, err_dma_buffer, \
            err_skb_buffer, KASAN_unpoison",
        what: "What the kernel's C writes everywhere: likely and unlikely tell the compiler which \
            branch is usual, __init marks code that is freed after boot, ERR_PTR carries an error \
            number in a pointer. BUG_ON stops the kernel and is refused in new code. Errors leave \
            a function by goto through labels that undo what was done, in reverse.",
        kernel: "include/linux/compiler.h, include/linux/err.h, \
            Documentation/process/coding-style.rst",
        api: &[],
        commands: "",
        note: "",
        now: &[],
    },
    Entry {
        word: "file and error codes",
        aliases: "O_NONBLOCK, MSG_DONTWAIT, EAGAIN, ENOMEM, ENOSPC, f_flags, f_mode, f_op, f_pos, \
            file_inode, i_sb, in_inode, out_inode, out_pos, fput_in, fput_out, fsnotify_modify, \
            inc_syscw, add_wchar, READ, struct file, inode, msg_iovlen, 错误码, 非阻塞, errno",
        what: "An open file has flags (O_NONBLOCK), a mode, a position and functions (f_op), and \
            belongs to an inode on a superblock (i_sb). System calls answer with a count or a \
            negative number: EAGAIN would have had to wait, ENOMEM and ENOSPC have no room, EINVAL \
            do not make sense. What was done before an error is returned as a count first.",
        kernel: "include/linux/fs.h, include/uapi/asm-generic/errno-base.h",
        api: api![netmem::Error],
        commands: "",
        note: "errors of netmem name operation, target, cause, and where known what helps",
        now: &[],
    },
];
