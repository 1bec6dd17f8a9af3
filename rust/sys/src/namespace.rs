//! Leaving namespaces and joining others. Both act on the calling thread: for single-threaded programs.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::call::check;

/// A new cgroup namespace, rooted at the current control groups.
pub const CGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
/// A new IPC namespace.
pub const IPC: u64 = libc::CLONE_NEWIPC as u64;
/// A new mount namespace.
pub const MOUNT: u64 = libc::CLONE_NEWNS as u64;
/// A new network namespace.
pub const NETWORK: u64 = libc::CLONE_NEWNET as u64;
/// A new pid namespace.
pub const PID: u64 = libc::CLONE_NEWPID as u64;
/// A new UTS namespace.
pub const UTS: u64 = libc::CLONE_NEWUTS as u64;

/// `unshare(2)` with namespace flags only.
///
/// # Errors
/// `EINVAL` for other flags, else what the kernel reported.
pub fn unshare(namespaces: u64) -> io::Result<()> {
    if namespaces & !(CGROUP | IPC | MOUNT | NETWORK | PID | UTS) != 0 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: with namespace flags alone no memory or descriptor table is unshared.
    check(unsafe { libc::syscall(libc::SYS_unshare, namespaces) }).map(drop)
}

/// Joins the namespaces of the process behind `pidfd`.
///
/// # Errors
/// `ESRCH` when the process is gone, else what `setns(2)` reported.
pub fn join(pidfd: BorrowedFd<'_>, namespaces: u64) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::syscall(libc::SYS_setns, pidfd.as_raw_fd(), namespaces) }).map(drop)
}

/// Sets the host name of the current UTS namespace.
///
/// # Errors
/// What `sethostname(2)` reported.
pub fn set_host_name(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length describe the string.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }.into()).map(drop)
}

/// Sets the NIS domain name of the current UTS namespace.
///
/// # Errors
/// What `setdomainname(2)` reported.
pub fn set_domain_name(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length describe the string.
    check(unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) }.into()).map(drop)
}
