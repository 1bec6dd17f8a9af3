//! Open-file-description locks (`fcntl_locking(2)`): they belong to the open file, not to the process, so they may be
//! handed over with the descriptor and end when its last copy is closed.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::call::{check, retry};

fn whole_file_write_lock() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// Takes the exclusive lock on the whole file; `false` when somebody else holds it.
///
/// # Errors
/// Any failure of `F_OFD_SETLK` other than a conflicting lock; the file must be open for writing.
pub fn try_lock(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let lock = whole_file_write_lock();
    // SAFETY: `lock` is a valid `struct flock` that outlives the call.
    let taken = retry(|| check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) }.into()));
    match taken {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether another open file description holds a lock that would be in the way. Works on a read-only descriptor.
///
/// # Errors
/// Any failure of `F_OFD_GETLK`.
pub fn is_locked(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut lock = whole_file_write_lock();
    // SAFETY: `lock` is a valid, writable `struct flock` that outlives the call.
    retry(|| check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) }.into()))?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    #[test]
    fn a_lock_belongs_to_the_open_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let holder = File::create(&path).unwrap();
        let second = File::options().write(true).open(&path).unwrap();
        let reader = File::open(&path).unwrap();
        assert!(!is_locked(reader.as_fd()).unwrap());
        assert!(try_lock(holder.as_fd()).unwrap());
        assert!(is_locked(reader.as_fd()).unwrap());
        assert!(!try_lock(second.as_fd()).unwrap());
        let copy = holder.try_clone().unwrap();
        drop(holder);
        assert!(is_locked(reader.as_fd()).unwrap(), "a copy keeps the lock");
        drop(copy);
        assert!(try_lock(second.as_fd()).unwrap());
    }
}
