//! The descriptor table as a whole.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::call::check;

/// Closes every descriptor from `first` on, or only marks them close-on-exec.
///
/// A program that owns descriptors from `first` on must not use them afterwards: for the very start of a process and the
/// last step before `execve` only.
///
/// # Errors
/// What `close_range(2)` reported.
pub fn close_from(first: u32, only_mark: bool) -> io::Result<()> {
    let flags = if only_mark { libc::CLOSE_RANGE_CLOEXEC } else { 0 };
    // SAFETY: no memory is involved; ownership of descriptors is the documented duty of the caller.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) }).map(drop)
}

/// Closes every descriptor from 3 on except one.
///
/// A program that owns others must not use, nor drop, them afterwards: for the last stretch of a process.
///
/// # Errors
/// What `close_range(2)` reported.
pub fn close_all_but(kept: BorrowedFd<'_>) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let kept = kept.as_raw_fd() as u32;
    if kept > 3 {
        // SAFETY: no memory is involved; ownership of descriptors is the documented duty of the caller.
        check(unsafe { libc::syscall(libc::SYS_close_range, 3, kept - 1, 0) })?;
    }
    close_from(kept.max(2) + 1, false)
}

/// Takes ownership of an inherited descriptor, for the very start of a process; `None` when it is not open.
#[must_use]
pub fn take_inherited(fd: RawFd) -> Option<OwnedFd> {
    // SAFETY: only asks for the descriptor's flags.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return None;
    }
    // SAFETY: the descriptor is open, and by this function's contract nobody else in the process owns it.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Puts `source` at the number `target` (0, 1 or 2), to be inherited by the next program.
///
/// # Errors
/// What `dup2(2)` reported.
pub fn place(source: BorrowedFd<'_>, target: RawFd) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    if source.as_raw_fd() == target {
        // dup2 onto itself would leave close-on-exec as it is.
        rustix::io::fcntl_setfd(source, rustix::io::FdFlags::empty())?;
        return Ok(());
    }
    // SAFETY: replaces a standard stream of this process; no owned descriptor has these numbers.
    check(unsafe { libc::dup2(source.as_raw_fd(), target) }.into()).map(drop)
}

/// A duplicate of the descriptor number `fd`, whoever owns it; close-on-exec.
///
/// # Errors
/// `EBADF` when it is not open, else what `fcntl(2)` reported.
pub fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: makes a new descriptor and leaves `fd` as it is; no memory is involved.
    let copy = check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) }.into())?;
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(copy as RawFd) })
}
