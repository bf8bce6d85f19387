//! What a worker process gives up before its task starts, so that even a guest that broke out of WebAssembly finds little.
//!
//! In this order, because each step needs what the next one takes away: limits of the kernel, another user (where the
//! server is root), the filter of system calls for every thread. There is no way back from any of them.
//!
//! The filter is a list of what is allowed; everything else fails with `EPERM`, as in a container engine, so that a library
//! that only tries something goes on. Not in it: `execve`, `fork` (threads only), `ptrace`, other processes' memory,
//! mounts, namespaces, modules, keys, BPF, io_uring, sockets of any kind but IPv4 and IPv6.

use std::collections::BTreeMap;
use std::io;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, set_dumpable_behavior, set_parent_process_death_signal, setrlimit,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// The worker cannot be locked down; then it must not run.
#[derive(Debug, thiserror::Error)]
pub enum LockdownError {
    #[error("cannot set a limit of the kernel")]
    Limit(#[from] rustix::io::Errno),
    #[error("cannot read /proc/self/status")]
    Status(#[source] io::Error),
    #[error("cannot become user {user}")]
    User {
        user: u32,
        #[source]
        source: io::Error,
    },
    #[error("cannot install the filter of system calls: {0}")]
    Filter(String),
}

/// What this process may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Writable memory that the process may map beyond what it has mapped now (`RLIMIT_DATA`, which counts mappings and not
    /// what is resident): the linear memories that its task may grow, and what the host allocates for them.
    pub more_data_bytes: u64,
    /// Sockets, files and what the runtime itself has open.
    pub open_files: u64,
    /// As root only: the user and group that the process becomes.
    pub user: Option<u32>,
}

/// To be called as early as possible: the process dies with its server, and leaves no core.
pub fn die_with_parent() -> Result<(), LockdownError> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}

/// Gives up everything that a task does not need, for all threads of this process.
pub fn lock_down(limits: &Limits) -> Result<(), LockdownError> {
    let both = |value| Rlimit { current: Some(value), maximum: Some(value) };
    setrlimit(Resource::Core, both(0))?;
    setrlimit(Resource::Nofile, both(limits.open_files))?;
    setrlimit(Resource::Data, both(mapped_data_bytes()?.saturating_add(limits.more_data_bytes)))?;
    setrlimit(Resource::Msgqueue, both(0))?;
    setrlimit(Resource::Memlock, both(0))?;
    if let Some(user) = limits.user {
        become_user(user)?;
    }
    // Changing the user took the process's own `/proc` entries away from it, which `/proc/self/fd` needs.
    set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    filter()
}

/// Writable memory that this process has mapped, pools included: `VmData` of `/proc/self/status`, in kB.
fn mapped_data_bytes() -> Result<u64, LockdownError> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(LockdownError::Status)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| kib << 10).ok_or_else(|| LockdownError::Status(io::Error::other("it has no VmData")))
}

/// Through the C library, because the kernel's own call changes one thread only.
fn become_user(user: u32) -> Result<(), LockdownError> {
    let done = |result: libc::c_int| match result {
        0 => Ok(()),
        _ => Err(LockdownError::User { user, source: io::Error::last_os_error() }),
    };
    // SAFETY: no group is read from the null pointer, because there are none of them.
    done(unsafe { libc::setgroups(0, std::ptr::null()) })?;
    // SAFETY: takes numbers only.
    done(unsafe { libc::setresgid(user, user, user) })?;
    // SAFETY: takes numbers only.
    done(unsafe { libc::setresuid(user, user, user) })?;
    // Setting the user clears the signal that ends us with our parent.
    die_with_parent()
}

fn filter() -> Result<(), LockdownError> {
    let failed = |error: &dyn std::fmt::Display| LockdownError::Filter(error.to_string());
    let arch: TargetArch =
        std::env::consts::ARCH.try_into().map_err(|error: seccompiler::BackendError| failed(&error))?;
    // The arguments of `clone3` lie in memory, where a filter cannot look: told that there is none, the C library uses
    // `clone`, whose flags can be seen. The stricter of two filters counts.
    let no_clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let no_system_call = SeccompAction::Errno(u32::try_from(libc::ENOSYS).unwrap_or(u32::MAX));
    let not_permitted = SeccompAction::Errno(u32::try_from(libc::EPERM).unwrap_or(u32::MAX));
    let allowed = allowed().map_err(|error| failed(&error))?;
    for (rules, otherwise, matched) in
        [(no_clone3, SeccompAction::Allow, no_system_call), (allowed, not_permitted, SeccompAction::Allow)]
    {
        let filter = SeccompFilter::new(rules, otherwise, matched, arch).map_err(|error| failed(&error))?;
        let program: BpfProgram = filter.try_into().map_err(|error: seccompiler::BackendError| failed(&error))?;
        seccompiler::apply_filter_all_threads(&program).map_err(|error| failed(&error))?;
    }
    Ok(())
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn allowed() -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules = ALWAYS.iter().chain(OF_THIS_PROCESSOR).map(|number| (*number, Vec::new())).collect();
    // Threads of this process, and no other process.
    let thread = u64::try_from(libc::CLONE_THREAD).unwrap_or(u64::MAX);
    rules.insert(libc::SYS_clone, vec![when(0, SeccompCmpOp::MaskedEq(thread), thread)?]);
    // Signals to ourselves: a panic of the host aborts.
    rules.insert(libc::SYS_tgkill, one_of([i64::from(std::process::id())])?);
    rules.insert(libc::SYS_socket, one_of([libc::AF_INET, libc::AF_INET6].map(i64::from))?);
    // The names of threads and of mappings.
    rules.insert(libc::SYS_prctl, one_of([libc::PR_SET_NAME, libc::PR_SET_VMA].map(i64::from))?);
    Ok(rules)
}

/// Allowed where the first argument is one of these.
fn one_of<const N: usize>(values: [i64; N]) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    values.into_iter().map(|value| when(0, SeccompCmpOp::Eq, u64::try_from(value).unwrap_or(u64::MAX))).collect()
}

fn when(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value)?])
}

/// Threads, memory, time, sockets, and files below directories that are open.
#[rustfmt::skip]
const ALWAYS: &[i64] = &[
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64, libc::SYS_pwrite64,
    libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_preadv2, libc::SYS_pwritev2, libc::SYS_lseek, libc::SYS_close,
    libc::SYS_dup, libc::SYS_dup3, libc::SYS_fcntl, libc::SYS_ioctl, libc::SYS_pipe2, libc::SYS_eventfd2,
    libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_ppoll,
    libc::SYS_pselect6, libc::SYS_timerfd_create, libc::SYS_timerfd_settime,
    libc::SYS_openat, libc::SYS_openat2, libc::SYS_newfstatat, libc::SYS_fstat, libc::SYS_statx, libc::SYS_faccessat,
    libc::SYS_faccessat2, libc::SYS_readlinkat, libc::SYS_unlinkat, libc::SYS_renameat2, libc::SYS_linkat,
    libc::SYS_symlinkat, libc::SYS_mkdirat, libc::SYS_getdents64, libc::SYS_ftruncate, libc::SYS_fallocate,
    libc::SYS_fadvise64, libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_sync_file_range, libc::SYS_utimensat,
    libc::SYS_fstatfs, libc::SYS_fchmod, libc::SYS_copy_file_range, libc::SYS_getcwd,
    libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mprotect, libc::SYS_mremap, libc::SYS_madvise, libc::SYS_brk,
    libc::SYS_membarrier, libc::SYS_mincore,
    libc::SYS_futex, libc::SYS_futex_waitv, libc::SYS_set_robust_list, libc::SYS_get_robust_list, libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_sched_yield, libc::SYS_sched_getaffinity, libc::SYS_setpriority, libc::SYS_getpriority,
    libc::SYS_gettid, libc::SYS_getpid, libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid,
    libc::SYS_getrusage, libc::SYS_sysinfo, libc::SYS_uname, libc::SYS_getrandom,
    libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_clock_nanosleep, libc::SYS_nanosleep,
    libc::SYS_gettimeofday, libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_sigaltstack,
    libc::SYS_exit, libc::SYS_exit_group,
    libc::SYS_bind, libc::SYS_listen, libc::SYS_accept4, libc::SYS_connect, libc::SYS_shutdown,
    libc::SYS_getsockname, libc::SYS_getpeername, libc::SYS_setsockopt, libc::SYS_getsockopt,
    libc::SYS_sendto, libc::SYS_recvfrom, libc::SYS_sendmsg, libc::SYS_recvmsg, libc::SYS_sendmmsg, libc::SYS_recvmmsg,
    // Refused by the filter below it with "there is no such call".
    libc::SYS_clone3,
];

/// Older forms that this processor's kernel still has, and C libraries use.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const OF_THIS_PROCESSOR: &[i64] = &[
    libc::SYS_poll, libc::SYS_epoll_wait, libc::SYS_epoll_create, libc::SYS_eventfd, libc::SYS_select, libc::SYS_dup2,
    libc::SYS_pipe, libc::SYS_accept, libc::SYS_time, libc::SYS_arch_prctl, libc::SYS_renameat,
];
#[cfg(not(target_arch = "x86_64"))]
const OF_THIS_PROCESSOR: &[i64] = &[];
