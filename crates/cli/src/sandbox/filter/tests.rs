//! The three filters as the kernel runs them, over every call: a small machine for classic BPF.
//!
//! Kills, each planted once: `SYS_socket` put into `ALLOWED`; `SYS_openat` killed; `mprotect` allowed
//! whatever the protection; `clone` allowed by `CLONE_VM` alone; `clone3` answered with EPERM, or
//! allowed; `control` not compared; `tgkill` of the own process killed and of others not.
use seccompiler::sock_filter;

use super::*;

/// What the kernel does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Allow,
    Errno(i32),
    Kill,
}

const EPERM: Verdict = Verdict::Errno(libc::EPERM);
const CONTROL: RawFd = 7;
const PID: u32 = 4711;
#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7;

/// Runs one program over `struct seccomp_data` (include/uapi/linux/seccomp.h), little endian.
fn run(program: &[sock_filter], data: &[u8; 64]) -> u32 {
    let (mut at, mut a) = (0_usize, 0_u32);
    loop {
        let op = &program[at];
        at += 1;
        let jump = |taken: bool| usize::from(if taken { op.jt } else { op.jf });
        match op.code {
            0x20 => {
                let offset = op.k as usize;
                a = u32::from_le_bytes(data[offset..offset + 4].try_into().unwrap());
            }
            0x54 => a &= op.k,
            0x05 => at += op.k as usize,
            0x15 => at += jump(a == op.k),
            0x25 => at += jump(a > op.k),
            0x35 => at += jump(a >= op.k),
            0x06 => return op.k,
            code => panic!("instruction {code:#x}"),
        }
    }
}

fn judge_on(arch: u32, call: i64, arguments: &[u64]) -> Verdict {
    let mut data = [0; 64];
    data[..4].copy_from_slice(&u32::try_from(call).unwrap().to_le_bytes());
    data[4..8].copy_from_slice(&arch.to_le_bytes());
    for (bytes, argument) in data[16..].chunks_exact_mut(8).zip(arguments) {
        bytes.copy_from_slice(&argument.to_le_bytes());
    }
    // The least action as a signed number wins, and the last installed among equal ones.
    let programs = programs(CONTROL, PID).unwrap();
    let answers = programs.iter().rev().map(|program| run(program, &data));
    let strictest = answers.min_by_key(|answer| (answer & 0xffff_0000).cast_signed()).unwrap();
    match strictest & 0xffff_0000 {
        0x7fff_0000 => Verdict::Allow,
        0x0005_0000 => Verdict::Errno(i32::from(u16::try_from(strictest & 0xffff).unwrap())),
        0x8000_0000 => Verdict::Kill,
        action => panic!("action {action:#x}"),
    }
}

fn judge(call: i64, arguments: &[u64]) -> Verdict {
    judge_on(ARCH, call, arguments)
}

fn bits(flags: i32) -> u64 {
    flags.cast_unsigned().into()
}

#[test]
fn the_lists_say_what_happens() {
    // Calls with an argument that decides are in neither list, and no call is in both.
    let conditional: Vec<i64> = conditions(CONTROL, PID)
        .unwrap()
        .into_iter()
        .filter(|r| !r.1.is_empty())
        .map(|r| r.0)
        .collect();
    let allowed: Vec<i64> = [ALLOWED, ALLOWED_HERE].concat();
    let killed: Vec<i64> = [KILLED, KILLED_HERE].concat();
    assert!(!allowed.iter().any(|call| killed.contains(call) || conditional.contains(call)));
    assert!(!killed.iter().any(|call| conditional.contains(call)));
    for call in 0..1024 {
        if conditional.contains(&call)
            || call == libc::SYS_clone3
            || call == libc::SYS_pkey_mprotect
        {
            continue;
        }
        let expected = match call {
            call if allowed.contains(&call) => Verdict::Allow,
            call if killed.contains(&call) => Verdict::Kill,
            _ => EPERM,
        };
        for arguments in [[0; 6], [u64::MAX; 6], [bits(CONTROL); 6]] {
            assert_eq!(judge(call, &arguments), expected, "call {call} of {arguments:?}");
        }
    }
}

/// By name, so that a slip in a list shows.
#[test]
fn no_way_out() {
    for call in [
        libc::SYS_socket,
        libc::SYS_socketpair,
        libc::SYS_bind,
        libc::SYS_connect,
        libc::SYS_bpf,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_ptrace,
        libc::SYS_pidfd_open,
        libc::SYS_pidfd_getfd,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_mount,
        libc::SYS_init_module,
        libc::SYS_keyctl,
        libc::SYS_perf_event_open,
        libc::SYS_io_uring_setup,
        libc::SYS_userfaultfd,
        libc::SYS_kexec_load,
        libc::SYS_kill,
    ] {
        assert_eq!(judge(call, &[]), Verdict::Kill, "call {call}");
    }
    for call in [
        libc::SYS_openat,
        libc::SYS_openat2,
        libc::SYS_readlinkat,
        libc::SYS_newfstatat,
        libc::SYS_statx,
        libc::SYS_setsockopt,
        libc::SYS_ioctl,
        libc::SYS_fcntl,
        libc::SYS_dup,
        libc::SYS_seccomp,
        libc::SYS_personality,
        libc::SYS_memfd_create,
        libc::SYS_prlimit64,
        libc::SYS_tkill,
        libc::SYS_sendmmsg,
    ] {
        assert_eq!(judge(call, &[]), EPERM, "call {call}");
    }
}

#[test]
fn memory_is_never_code() {
    let data = bits(libc::PROT_READ | libc::PROT_WRITE);
    for code in [libc::PROT_EXEC, libc::PROT_READ | libc::PROT_EXEC, 7] {
        for call in [libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_pkey_mprotect] {
            assert_eq!(judge(call, &[0, 4096, bits(code)]), Verdict::Kill);
            assert_eq!(judge(call, &[0, 4096, bits(code) | 1 << 40]), Verdict::Kill);
        }
    }
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        assert_eq!(judge(call, &[0, 4096, data]), Verdict::Allow);
        assert_eq!(judge(call, &[bits(-1), bits(-1), 0]), Verdict::Allow);
    }
    for advice in [libc::MADV_DONTNEED, libc::MADV_FREE, libc::MADV_DONTFORK, 102, 103] {
        assert_eq!(judge(libc::SYS_madvise, &[0, 0, bits(advice)]), Verdict::Allow, "{advice}");
    }
    for advice in [libc::MADV_DOFORK, libc::MADV_DODUMP, libc::MADV_REMOVE, libc::MADV_HWPOISON] {
        assert_eq!(judge(libc::SYS_madvise, &[0, 0, bits(advice)]), EPERM, "{advice}");
    }
}

#[test]
fn clone_makes_threads_only() {
    let clone = |flags| judge(libc::SYS_clone, &[bits(flags)]);
    // As glibc and musl make a thread.
    let thread = THREAD
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SYSVSEM
        | libc::CLONE_SETTLS
        | libc::CLONE_PARENT_SETTID
        | libc::CLONE_CHILD_CLEARTID;
    assert_eq!(clone(thread), Verdict::Allow);
    assert_eq!(clone(thread | libc::CLONE_DETACHED), Verdict::Allow);
    assert_eq!(clone(libc::SIGCHLD), Verdict::Kill);
    assert_eq!(clone(libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD), Verdict::Kill);
    for namespace in (0..32).map(|bit| NAMESPACES & 1_i32.wrapping_shl(bit)).filter(|bit| *bit != 0)
    {
        assert_eq!(clone(thread | namespace), EPERM);
        assert_eq!(clone(namespace), Verdict::Kill);
    }
    assert_eq!(clone(thread & !libc::CLONE_VM), EPERM);
    assert_eq!(judge(libc::SYS_clone3, &[1, 88]), Verdict::Errno(libc::ENOSYS));
}

#[test]
fn arguments_name_the_own_process() {
    let own = u64::from(PID);
    assert_eq!(judge(libc::SYS_tgkill, &[own, 5, 6]), Verdict::Allow);
    for other in [1, own + 1, bits(-1)] {
        assert_eq!(judge(libc::SYS_tgkill, &[other, own, 6]), Verdict::Kill, "{other}");
    }
    for call in [libc::SYS_sendmsg, libc::SYS_recvmsg] {
        assert_eq!(judge(call, &[bits(CONTROL)]), Verdict::Allow);
        assert_eq!(judge(call, &[bits(CONTROL) + 1, bits(CONTROL)]), EPERM);
    }
    assert_eq!(judge(libc::SYS_sched_setaffinity, &[0, 8]), Verdict::Allow);
    assert_eq!(judge(libc::SYS_sched_setaffinity, &[own, 8]), EPERM);
    assert_eq!(judge(libc::SYS_prctl, &[bits(libc::PR_SET_NAME)]), Verdict::Allow);
    for option in [libc::PR_SET_DUMPABLE, libc::PR_SET_PDEATHSIG, libc::PR_SET_SECCOMP] {
        assert_eq!(judge(libc::SYS_prctl, &[bits(option)]), EPERM);
    }
}

#[test]
fn other_architectures_are_refused() {
    const AUDIT_ARCH_I386: u32 = 0x4000_0003;
    const AUDIT_ARCH_ARM: u32 = 0x4000_0028;
    const X32: i64 = 0x4000_0000;
    for arch in [AUDIT_ARCH_I386, AUDIT_ARCH_ARM, 0] {
        assert_eq!(judge_on(arch, libc::SYS_read, &[]), Verdict::Kill);
    }
    for call in 0..1024 {
        assert_eq!(judge(X32 | call, &[]), EPERM, "call {call} by x32");
    }
}
