"""Which system calls a sandbox may make: an allow-list of our own.

What is not on it fails with ENOSYS, as on an older kernel, so that programs fall back. What is
deliberately kept out, and why:

- namespaces and mounts (`mount unshare setns pivot_root fsopen open_tree ...`, `clone` with a namespace
  flag, `clone3` whose flags a filter cannot see): most ways out of a container begin there;
- the kernel's interpreters and fault handlers (`bpf io_uring_* userfaultfd perf_event_open`);
- what is not namespaced (`keyctl add_key request_key syslog kexec_* *_module settimeofday quotactl`, and
  `io_setup`: fs.aio-max-nr is one number for the whole machine, which a sandbox could use up);
- handles that cross mounts (`open_by_handle_at`, CVE-2014-9357's neighbour) and `fanotify`;
- terminals: `ioctl` TIOCSTI and TIOCLINUX type into the terminal of whoever looks (CVE-2017-5226);
- sockets other than unix, inet, inet6 and netlink: AF_VSOCK reaches the hypervisor, AF_ALG and AF_PACKET
  the kernel.

`ptrace` stays, for debuggers and sanitizers: it cannot leave the user and pid namespaces.
"""

import platform

ALLOWED = """
    accept accept4 access alarm arch_prctl bind brk cachestat capget capset chdir chmod chown chroot
    clock_getres clock_gettime clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3
    epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 execve execveat
    exit exit_group faccessat faccessat2 fadvise64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat
    fcntl fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstatfs fsync ftruncate futex
    futex_requeue futex_wait futex_waitv futex_wake futimesat get_robust_list get_thread_area getcpu getcwd
    getdents getdents64 getegid geteuid getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid
    getpriority getrandom getresgid getresuid getrlimit getrusage getsid getsockname getsockopt gettid
    gettimeofday getuid getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch
    ioprio_get ioprio_set kill
    landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lgetxattr link linkat listen
    listxattr listxattrat llistxattr lremovexattr lseek lsetxattr lstat madvise map_shadow_stack membarrier
    memfd_create mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mprotect mq_getsetattr mq_notify
    mq_open mq_timedreceive mq_timedsend mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock
    munlockall munmap nanosleep newfstatat open openat openat2 pause pidfd_getfd pidfd_open pidfd_send_signal
    pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll prctl pread64 preadv preadv2 prlimit64
    process_mrelease process_vm_readv process_vm_writev pselect6 ptrace pwrite64 pwritev pwritev2 read readahead
    readlink readlinkat readv recvfrom recvmmsg recvmsg remap_file_pages removexattr removexattrat rename
    renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
    rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min
    sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity
    sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop
    sendfile sendmmsg sendmsg sendto set_robust_list set_thread_area set_tid_address setfsgid setfsuid setgid
    setgroups setitimer setpgid setpriority setregid setresgid setresuid setreuid setrlimit setsid setsockopt
    setuid setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 socketpair
    splice stat statfs statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create
    timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime
    times tkill truncate umask uname unlink unlinkat utime utimensat utimes vfork vmsplice wait4 waitid write
    writev
""".split()

_CLONE_NAMESPACES = 0x7E020000
"""CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}."""
_TIOCSTI = 0x5412
_TIOCLINUX = 0x541C
_SOCKET_FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
_PERSONALITIES = (0x0, 0x40000, 0xFFFFFFFF)
"""Linux, the same without address randomisation (debuggers), and the question for the present one."""
_ENOSYS = 38
_ARCHITECTURES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}


def profile() -> dict[str, object]:
    """Return the profile as the OCI runtime specification's `linux.seccomp`.

    Only the machine's own architecture is listed: a 32-bit call kills the program that makes it.
    """
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _ENOSYS,
        "architectures": [_ARCHITECTURES[platform.machine()]],
        "syscalls": [
            {"names": ALLOWED, "action": "SCMP_ACT_ALLOW"},
            _allow("clone", _argument(0, _CLONE_NAMESPACES, "SCMP_CMP_MASKED_EQ", 0)),
            *(_allow("socket", _argument(0, family, "SCMP_CMP_EQ")) for family in _SOCKET_FAMILIES.values()),
            *(_allow("personality", _argument(0, value, "SCMP_CMP_EQ")) for value in _PERSONALITIES),
            *(_allow("ioctl", condition) for condition in _neither(_TIOCSTI, _TIOCLINUX)),
        ],
    }


def _neither(one: int, other: int) -> list[dict[str, object]]:
    """Return conditions on argument 1, joined by "or", that hold unless its low 32 bits are one of two numbers.

    The kernel reads 32 bits of ioctl's request, a filter compares 64, so "not equal" would be passed by
    setting a high bit (CVE-2019-10063). Each condition therefore looks at some of the low bits only.
    """
    differing = one ^ other
    shared = [1 << bit for bit in range(32) if not differing & (1 << bit)]
    patterns = {value for value in range(differing + 1) if value & ~differing == 0}
    return [
        *(_argument(1, bit, "SCMP_CMP_MASKED_EQ", ~one & bit) for bit in shared),
        *(
            _argument(1, differing, "SCMP_CMP_MASKED_EQ", pattern)
            for pattern in sorted(patterns - {one & differing, other & differing})
        ),
    ]


def _allow(name: str, condition: dict[str, object]) -> dict[str, object]:
    return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": [condition]}


def _argument(index: int, value: int, operator: str, value_two: int = 0) -> dict[str, object]:
    return {"index": index, "value": value, "valueTwo": value_two, "op": operator}
