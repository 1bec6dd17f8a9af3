//! Making and signalling processes.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::call::check;

/// A child made by [`clone_with_pidfd`].
#[derive(Debug)]
pub struct Child {
    /// Process id in the caller's pid namespace.
    pub pid: u32,
    /// Refers to the process for as long as it is open.
    pub pidfd: OwnedFd,
}

/// `clone3(2)` like `fork(2)`, into new `namespaces` (flags of [`crate::namespace`]) and, when given, straight into a
/// v2 control group. The child runs `body` and exits with what it returns.
///
/// # Errors
/// `EDEADLK` when the process has several threads (a lock of another thread could never be released in the child), else
/// what `clone3(2)` reported.
pub fn clone_with_pidfd(
    namespaces: u64,
    into_cgroup: Option<BorrowedFd<'_>>,
    body: impl FnOnce() -> i32,
) -> io::Result<Child> {
    clone(namespaces, libc::SIGCHLD, into_cgroup, body)
}

/// As [`clone_with_pidfd`], but the new process is the caller's sibling: its parent is the caller's parent, which alone can
/// wait for it. It is born into the pid namespace that the caller has joined for its children.
///
/// # Errors
/// As [`clone_with_pidfd`]; `ENOMEM` also when that pid namespace has come to its end.
pub fn clone_sibling(body: impl FnOnce() -> i32) -> io::Result<Child> {
    // With this flag the exit signal is the caller's own, and none may be named.
    clone(libc::CLONE_PARENT as u64, 0, None, body)
}

fn clone(
    flags: u64,
    exit_signal: libc::c_int,
    into_cgroup: Option<BorrowedFd<'_>>,
    body: impl FnOnce() -> i32,
) -> io::Result<Child> {
    // The link count of the task directory is two more than the number of threads.
    if rustix::fs::stat("/proc/self/task").is_ok_and(|status| status.st_nlink > 3) {
        return Err(io::Error::from_raw_os_error(libc::EDEADLK));
    }
    let mut pidfd: libc::c_int = -1;
    // SAFETY: all zeroes is the documented "nothing asked for" of `struct clone_args`.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = flags | libc::CLONE_PIDFD as u64;
    arguments.pidfd = (&raw mut pidfd) as u64;
    arguments.exit_signal = exit_signal as u64;
    if let Some(cgroup) = into_cgroup {
        arguments.flags |= 0x2_0000_0000; // CLONE_INTO_CGROUP: libc's constant does not fit its own type
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: the structure is valid and memory is not shared, so the child is an ordinary fork of a single-threaded
    // process: its heap and locks are consistent.
    let made =
        match check(unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()) }) {
            // Behind a filter that hides or forbids clone3, as containers have it: the older call can do all but groups.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) && into_cgroup.is_none() => {
                let flags = arguments.flags as libc::c_ulong | exit_signal as libc::c_ulong;
                let zero: libc::c_ulong = 0;
                // SAFETY: as above; without a stack of its own the child goes on with a copy of this one.
                check(unsafe { libc::syscall(libc::SYS_clone, flags, zero, &raw mut pidfd, zero, zero) })?
            }
            other => other?,
        };
    match made {
        0 => {
            let status = body();
            // SAFETY: ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(status) }
        }
        // SAFETY: the kernel has stored a new descriptor that nobody else owns.
        pid => Ok(Child { pid: pid as u32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } }),
    }
}

/// Sends any signal number (real-time ones too) to the process behind `pidfd`; 0 only asks whether it is there.
///
/// # Errors
/// `ESRCH` when it is gone, `EINVAL` for a number that is no signal, else what the kernel reported.
pub fn signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: a null siginfo means the same as for kill(2).
    check(unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<libc::siginfo_t>(), 0)
    })
    .map(drop)
}

/// `kill(2)` by number, for PID 1 of a pid namespace (whose children cannot be replaced behind its back).
///
/// # Errors
/// What `kill(2)` reported.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::kill(pid, signal) }.into()).map(drop)
}

/// Resource limits `(soft, hard)` of the calling process by kernel number; `u64::MAX` is unlimited.
///
/// # Errors
/// `EINVAL` for an unknown number.
pub fn resource_limit(resource: u32) -> io::Result<(u64, u64)> {
    let mut old = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a null new limit only reads; `old` is writable.
    check(unsafe {
        libc::syscall(libc::SYS_prlimit64, 0, resource, std::ptr::null::<libc::rlimit64>(), &raw mut old)
    })?;
    Ok((old.rlim_cur, old.rlim_max))
}

/// Sets a resource limit of the calling process by kernel number.
///
/// # Errors
/// `EPERM` above the hard limit without `CAP_SYS_RESOURCE`, `EINVAL` for soft above hard or an unknown number.
pub fn set_resource_limit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let new = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `new` is valid, a null old limit is not written.
    check(unsafe {
        libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const new, std::ptr::null_mut::<libc::rlimit64>())
    })
    .map(drop)
}

/// Ends the process at once, without exit handlers.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: no destructor is relied upon for soundness.
    unsafe { libc::_exit(status) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_reads_back() {
        let (soft, hard) = resource_limit(7).unwrap();
        assert!(soft <= hard);
        set_resource_limit(7, soft, hard).unwrap();
        assert_eq!(set_resource_limit(7, hard, hard - 1).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn a_program_with_threads_does_not_fork() {
        let (keep, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv().ok());
        let error = clone_with_pidfd(0, None, || 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EDEADLK));
        drop(keep);
        thread.join().unwrap();
    }
}
