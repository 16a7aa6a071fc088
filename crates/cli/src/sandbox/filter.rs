//! Which system calls a confined worker may make: seccomp filters that no later step can take off.
//!
//! The rule, call by call:
//! - **Allowed** is what packets, time, memory and threads take: [`ALLOWED`] whatever the
//!   arguments, [`conditions`] with some of them. No call opens anything by name, makes a socket, a
//!   process or code, or means another process.
//! - **The process is killed** ([`KILLED`]) by calls that neither the worker nor any library in it
//!   makes: who makes one has taken the worker over, and gets no second try. The parent is told
//!   ([`Exit::Forbidden`](super::Exit::Forbidden)), the kernel's log names the call.
//! - **Everything else fails with `EPERM`**: calls that libraries try by themselves and can do
//!   without. Opening files is among them: the standard library reads its own program for a
//!   backtrace, glibc the number of CPUs for an allocator's arena. Refused they go on; killed, a
//!   panic could not be read.
//!
//! `clone3` has its flags in memory, where a filter cannot look. It fails with `ENOSYS`, so that
//! libc makes threads by `clone`, whose flags are checked: threads of this process, no namespace.
//!
//! Only 64-bit calls of the own architecture: any other architecture is killed, x32's numbers are
//! in no list and fail. A filter has one answer for what it matches and one for the rest, so there
//! are three; the kernel takes the strictest answer (kernel/seccomp.c, `seccomp_run_filters`).
//! Calls without conditions cost next to nothing: from kernel 5.11 on a bitmap answers them
//! (`seccomp_cache_check_allow`). So `sendto`, `recvfrom` and `poll`, which wake a port, have none.
//!
//! Needs kernel 4.14 (`SECCOMP_RET_KILL_PROCESS`).

use std::{
    collections::BTreeMap,
    os::fd::{AsRawFd, BorrowedFd, RawFd},
};

use seccompiler::{
    BackendError, BpfProgram, SeccompAction,
    SeccompCmpArgLen::Dword,
    SeccompCmpOp::{Eq, MaskedEq, Ne},
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

use crate::Failure;

/// Calls that are allowed with any arguments, on every architecture.
const ALLOWED: &[i64] = &[
    // Packets and what is said to the parent, on descriptors that are there.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_getsockopt,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_ppoll,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    // Time.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    // Memory; see also `conditions`.
    libc::SYS_brk,
    libc::SYS_mremap,
    libc::SYS_munmap,
    // Threads, and the own process.
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getcpu,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_membarrier,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
];

/// Those that later architectures do without.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[i64] = &[libc::SYS_poll, libc::SYS_epoll_wait, libc::SYS_time];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[i64] = &[];

/// Calls that end the process, on every architecture.
const KILLED: &[i64] = &[
    // New sockets and peers.
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    // Programs and processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_kill,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_ptrace,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    // Namespaces, mounts and privileges.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_mount_setattr,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    // The kernel's larger doors.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_syslog,
];

#[cfg(target_arch = "x86_64")]
const KILLED_HERE: &[i64] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_kexec_file_load,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
];
#[cfg(not(target_arch = "x86_64"))]
const KILLED_HERE: &[i64] = &[libc::SYS_kexec_file_load];

/// What `madvise` may be told: about memory of this process alone. Not `MADV_DOFORK`, which would
/// show rings and regions to a child, nor what takes pages from a shared region.
const ADVICE: &[i32] = &[
    libc::MADV_NORMAL,
    libc::MADV_WILLNEED,
    libc::MADV_DONTNEED,
    libc::MADV_FREE,
    libc::MADV_DONTFORK,
    libc::MADV_HUGEPAGE,
    libc::MADV_NOHUGEPAGE,
    libc::MADV_DONTDUMP,
    // MADV_GUARD_INSTALL and MADV_GUARD_REMOVE: thread stacks of glibc 2.42, kernel 6.13.
    102,
    103,
];

/// What `clone` must say, among what could be more than a thread.
const THREAD: i32 = libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
/// Flags of `clone` that make namespaces; `CLONE_NEWTIME` shares its bit with the exit signal.
const NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Installs the filters in the calling thread and all that it makes; sets `no_new_privs`, which an
/// unprivileged process must. `control` is where descriptors may be sent and received.
///
/// # Errors
/// When the kernel has no seccomp filters.
pub(super) fn install(control: BorrowedFd<'_>) -> Result<(), Failure> {
    let failed = |error| Failure::refused(format!("build the seccomp filters: {error}"));
    for program in programs(control.as_raw_fd(), std::process::id()).map_err(failed)? {
        apply_filter(&program).map_err(|error| {
            Failure::refused(format!("install a seccomp filter: {error}"))
                .with_hint("the kernel needs CONFIG_SECCOMP_FILTER")
        })?;
    }
    Ok(())
}

/// The three filters, in the order of installing: the last forbids installing any other.
fn programs(control: RawFd, pid: u32) -> Result<[BpfProgram; 3], BackendError> {
    use SeccompAction::{Allow, Errno, KillProcess};
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let build = |rules: Rules, matched, other| -> Result<BpfProgram, BackendError> {
        SeccompFilter::new(rules, other, matched, arch)?.try_into()
    };
    let errno = |errno: i32| Errno(errno.unsigned_abs());
    let no_such_call = Rules::from([(libc::SYS_clone3, vec![])]);
    Ok([
        build(killed(pid)?, KillProcess, Allow)?,
        build(no_such_call, errno(libc::ENOSYS), Allow)?,
        build(conditions(control, pid)?, Allow, errno(libc::EPERM))?,
    ])
}

/// What ends the process: [`KILLED`], and code, processes and signals by calls that are allowed
/// otherwise.
fn killed(pid: u32) -> Result<Rules, BackendError> {
    let mut rules = unconditional(&[KILLED, KILLED_HERE]);
    let new_code = masked(2, libc::PROT_EXEC, libc::PROT_EXEC)?;
    rules.insert(libc::SYS_mmap, vec![new_code.clone()]);
    rules.insert(libc::SYS_mprotect, vec![new_code.clone()]);
    rules.insert(libc::SYS_pkey_mprotect, vec![new_code]);
    rules.insert(libc::SYS_clone, vec![masked(0, libc::CLONE_THREAD, 0)?]);
    let other_process = SeccompCondition::new(0, Dword, Ne, pid.into())?;
    rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![other_process])?]);
    Ok(rules)
}

/// What is allowed: [`ALLOWED`], and the calls whose arguments decide.
fn conditions(control: RawFd, pid: u32) -> Result<Rules, BackendError> {
    let mut rules = unconditional(&[ALLOWED, ALLOWED_HERE]);
    // The filter above decides about it.
    rules.insert(libc::SYS_clone3, vec![]);
    // Signals within the process: abort, and threads among each other.
    rules.insert(libc::SYS_tgkill, vec![equal(0, pid)?]);
    let no_code = masked(2, libc::PROT_EXEC, 0)?;
    rules.insert(libc::SYS_mmap, vec![no_code.clone()]);
    rules.insert(libc::SYS_mprotect, vec![no_code]);
    rules.insert(libc::SYS_clone, vec![masked(0, THREAD | NAMESPACES, THREAD)?]);
    let advice = ADVICE.iter().map(|advice| equal(2, advice.unsigned_abs()));
    rules.insert(libc::SYS_madvise, advice.collect::<Result<_, _>>()?);
    // Descriptors come and go by the control socket only.
    for call in [libc::SYS_sendmsg, libc::SYS_recvmsg] {
        rules.insert(call, vec![equal(0, control.unsigned_abs())?]);
    }
    // A thread's name, and the CPUs of the calling thread; another process of the user has its own.
    rules.insert(libc::SYS_prctl, vec![equal(0, libc::PR_SET_NAME.unsigned_abs())?]);
    rules.insert(libc::SYS_sched_setaffinity, vec![equal(0, 0)?]);
    Ok(rules)
}

fn unconditional(lists: &[&[i64]]) -> Rules {
    lists.iter().flat_map(|list| list.iter()).map(|call| (*call, vec![])).collect()
}

/// The low 32 bits of an argument, all that the kernel reads of an `int`, equal `value`.
fn equal(argument: u8, value: u32) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, Dword, Eq, value.into())?])
}

/// Of the bits of `mask`, an argument has exactly those of `bits`. No flag is above bit 31.
fn masked(argument: u8, mask: i32, bits: i32) -> Result<SeccompRule, BackendError> {
    let (mask, bits) = (u64::from(mask.cast_unsigned()), u64::from(bits.cast_unsigned()));
    SeccompRule::new(vec![SeccompCondition::new(argument, Dword, MaskedEq(mask), bits)?])
}

#[cfg(test)]
mod tests;
