//! The built-in profile: what Docker's default allows, by topic, on x86 and Arm.
//!
//! Stronger than Docker's in three places: arguments that the kernel reads as 32-bit numbers are compared as such (a
//! caller cannot hide a socket family behind rubbish in the upper half of a register); 32-bit x86 programs get
//! `ENOSYS` for `socketcall`, whose arguments are in memory and cannot be inspected (libraries fall back to the separate
//! calls, which every kernel since 4.3 has); calls of the x32 variant are refused.

use super::policy::{Action, Arch, ArgCheck, Comparison, Policy, Rule};

const EPERM: u16 = 1;
const ENOSYS: u16 = 38;

/// Opening, reading, writing and describing files.
const FILES: &str = "\
    _llseek access cachestat close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 \
    fadvise64 fadvise64_64 fallocate fcntl fcntl64 fdatasync flock fstat fstat64 fstatat64 fstatfs fstatfs64 \
    fsync ftruncate ftruncate64 ioctl listmount lseek lstat lstat64 name_to_handle_at newfstatat open openat \
    openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readv sendfile sendfile64 splice \
    stat stat64 statfs statfs64 statmount statx sync sync_file_range syncfs tee truncate truncate64 umask \
    vmsplice write writev";

/// Names, directories, links, owners, modes, times.
const DIRECTORIES: &str = "\
    chdir chmod chown chown32 fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat futimesat getcwd \
    getdents getdents64 lchown lchown32 link linkat mkdir mkdirat mknod mknodat readlink readlinkat rename \
    renameat renameat2 rmdir symlink symlinkat unlink unlinkat utime utimensat utimensat_time64 utimes";

/// Extended attributes.
const XATTRS: &str = "\
    fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat llistxattr \
    lremovexattr lsetxattr removexattr removexattrat setxattr setxattrat";

/// Waiting for files: select, poll, epoll, inotify, eventfd, signalfd.
const NOTIFICATION: &str = "\
    _newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait \
    epoll_wait_old eventfd eventfd2 fanotify_mark inotify_add_watch inotify_init inotify_init1 inotify_rm_watch \
    pipe pipe2 poll ppoll ppoll_time64 pselect6 pselect6_time64 select signalfd signalfd4";

/// Classic asynchronous input and output (`io_uring` is not among them).
const ASYNC_IO: &str = "\
    io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit";

/// Address space.
const MEMORY: &str = "\
    brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2 \
    mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_mrelease \
    remap_file_pages";

/// Sockets; `socket` itself is conditional.
const SOCKETS: &str = "\
    accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64 \
    recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketpair";

/// System V and POSIX message queues, semaphores, shared memory.
const IPC: &str = "\
    ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 \
    mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt \
    shmget";

/// Processes and threads; `clone` is conditional.
const PROCESSES: &str = "\
    execve execveat exit exit_group fork futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake \
    get_robust_list get_thread_area getcpu getpgid getpgrp getpid getppid getsid gettid landlock_add_rule \
    landlock_create_ruleset landlock_restrict_self pidfd_open pidfd_send_signal prctl restart_syscall \
    riscv_hwprobe rseq seccomp set_robust_list set_thread_area set_tid_address setpgid setsid uretprobe vfork \
    wait4 waitid waitpid";

/// Scheduling, priorities and resource use.
const SCHEDULING: &str = "\
    getpriority getrandom getrlimit getrusage ioprio_get ioprio_set prlimit64 sched_get_priority_max \
    sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler \
    sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam \
    sched_setscheduler sched_yield setpriority setrlimit sysinfo times ugetrlimit uname";

/// Users, groups, capabilities.
const IDENTITY: &str = "\
    capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid \
    getresgid32 getresuid getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 \
    setgroups setgroups32 setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 \
    setuid setuid32";

/// Signals.
const SIGNALS: &str = "\
    kill pause rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend \
    rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack sigprocmask sigreturn tgkill tkill";

/// Clocks and timers; setting the clock is for holders of `CAP_SYS_TIME`.
const TIME: &str = "\
    adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 \
    clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create \
    timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create \
    timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64";

/// Peeking at processes of the same user: safe since Linux 4.8, which no supported kernel is older than.
const TRACING: &str = "process_vm_readv process_vm_writev ptrace";

/// Calls of one architecture.
const X86_ONLY: &str = "arch_prctl modify_ldt";

/// Calls that come with a capability.
const WITH_CAPABILITY: &[(u32, &str)] = &[
    (CAP_DAC_READ_SEARCH, "open_by_handle_at"),
    (CAP_SYS_MODULE, "delete_module finit_module init_module"),
    (CAP_SYS_RAWIO, "ioperm iopl"),
    (CAP_SYS_CHROOT, "chroot"),
    (CAP_SYS_PTRACE, "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"),
    (CAP_SYS_PACCT, "acct"),
    (
        CAP_SYS_ADMIN,
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr \
         lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl \
         quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    (CAP_SYS_BOOT, "reboot"),
    (CAP_SYS_NICE, "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    (CAP_SYS_TIME, "clock_settime clock_settime64 settimeofday stime"),
    (CAP_SYS_TTY_CONFIG, "vhangup"),
    (CAP_SYSLOG, "syslog"),
    (CAP_PERFMON, "perf_event_open"),
    (CAP_BPF, "bpf"),
];

// Capability numbers (`linux/capability.h`).
const CAP_DAC_READ_SEARCH: u32 = 2;
const CAP_SYS_MODULE: u32 = 16;
const CAP_SYS_RAWIO: u32 = 17;
const CAP_SYS_CHROOT: u32 = 18;
const CAP_SYS_PTRACE: u32 = 19;
const CAP_SYS_PACCT: u32 = 20;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYS_BOOT: u32 = 22;
const CAP_SYS_NICE: u32 = 23;
const CAP_SYS_TIME: u32 = 25;
const CAP_SYS_TTY_CONFIG: u32 = 26;
const CAP_SYSLOG: u32 = 34;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Every `CLONE_NEW*` flag that `clone` takes (`NEWNS`, `NEWCGROUP`, `NEWUTS`, `NEWIPC`, `NEWUSER`, `NEWPID`, `NEWNET`).
const CLONE_NAMESPACES: u64 = 0x7e02_0000;

/// `AF_ALG`, whose kernel code has been a way out of containers.
const AF_ALG: u64 = 38;
/// `AF_VSOCK`, which reaches the hypervisor past every network namespace.
const AF_VSOCK: u64 = 40;

/// `PER_LINUX`, `PER_LINUX32`, both with `UNAME26`, and the question which one it is.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// The profile for a process with these capabilities (bit n = capability n).
#[must_use]
pub fn default_policy(capabilities: u64, arches: &[Arch]) -> Policy {
    let holds = |capability: u32| capabilities & (1 << capability) != 0;
    let topics = [
        FILES,
        DIRECTORIES,
        XATTRS,
        NOTIFICATION,
        ASYNC_IO,
        MEMORY,
        SOCKETS,
        IPC,
        PROCESSES,
        SCHEDULING,
        IDENTITY,
        SIGNALS,
        TIME,
        TRACING,
    ];
    let mut rules: Vec<Rule> = topics.iter().map(|topic| allow(topic)).collect();
    if arches.contains(&Arch::X86_64) || arches.contains(&Arch::I386) {
        rules.push(allow(X86_ONLY));
    }
    rules.extend(WITH_CAPABILITY.iter().filter(|(capability, _)| holds(*capability)).map(|(_, names)| allow(names)));
    rules.push(allow_if("socket", Comparison::Less, AF_ALG));
    rules.push(allow_if("socket", Comparison::Equal, AF_ALG + 1));
    rules.push(allow_if("socket", Comparison::Greater, AF_VSOCK));
    rules.extend(PERSONALITIES.map(|persona| allow_if("personality", Comparison::Equal, persona)));
    if !holds(CAP_SYS_ADMIN) {
        rules.push(allow_if("clone", Comparison::MaskedEqual { mask: CLONE_NAMESPACES }, 0));
        // Its flags are in memory and cannot be inspected; libraries fall back to `clone`.
        rules.push(Rule { action: Action::Errno(ENOSYS), ..allow("clone3") });
    }
    rules.push(Rule { action: Action::Errno(ENOSYS), ..allow("socketcall") });
    Policy { default_action: Action::Errno(EPERM), arches: arches.to_vec(), rules }
}

fn allow(names: &str) -> Rule {
    Rule {
        names: names.split_ascii_whitespace().map(str::to_owned).collect(),
        action: Action::Allow,
        checks: Vec::new(),
    }
}

fn allow_if(name: &str, comparison: Comparison, value: u64) -> Rule {
    Rule { checks: vec![ArgCheck { index: 0, comparison, value }], ..allow(name) }
}
