//! `/dev/shm` of the host or of a container whose IPC namespace is shared.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ctr_sys::namespace;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::new_mount::copy_of;

/// `TMPFS_MAGIC`
const TMPFS: i64 = 0x0102_1994;

/// A detached copy of the host's `/dev/shm`.
///
/// # Errors
/// What any of the calls reported; `ENOENT` on a host that has none.
pub fn of_host() -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    copy_of(rustix::fs::openat(CWD, "/dev/shm", flags, Mode::empty())?.as_fd(), false)
}

/// Takes a detached copy of `/dev/shm` as the process behind `pidfd` sees it; `None` when what lies there is not a tmpfs.
/// Goes into its mount namespace for that and comes back; the working directory stays what it is.
///
/// # Errors
/// What any of the calls reported; the caller may then be in the wrong namespace and must end.
pub fn copy_from(pidfd: BorrowedFd<'_>) -> std::io::Result<Option<OwnedFd>> {
    let referring = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let here = rustix::fs::openat(CWD, ".", referring, Mode::empty())?;
    let own = rustix::fs::open("/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    namespace::join(pidfd, namespace::MOUNT)?;
    // The other container decides what lies at this path: links are not followed.
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let copied = rustix::fs::openat2(CWD, "/dev/shm", referring, Mode::empty(), resolve)
        .and_then(|found| {
            let is_tmpfs = rustix::fs::fstatfs(&found)?.f_type as i64 == TMPFS;
            if is_tmpfs { copy_of(found.as_fd(), false).map(Some) } else { Ok(None) }
        })
        .unwrap_or(None);
    move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::Mount))?;
    rustix::process::fchdir(&here)?;
    Ok(copied)
}
