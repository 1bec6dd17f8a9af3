//! Owner, mode, extended attributes and time of what was just made.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::fs::{chmodat, chownat, fchmod, fchown, fsetxattr, utimensat};
use rustix::io::Errno;

use super::super::tar::{Entry, Timestamp, display, malformed};
use super::failure;
use crate::Result;

/// Who makes the files, and so what needs no further system call.
#[derive(Clone, Copy)]
pub struct Maker {
    uid: u32,
    gid: u32,
    /// This thread's file creation mask is known to be 0.
    has_clear_umask: bool,
    /// New files get the group of their directory (mount option `grpid`).
    inherits_group: bool,
    /// Owners are applied; otherwise everything stays the maker's.
    keeps_owners: bool,
}

impl Maker {
    /// Looks at the calling thread, which must be one of our own: its file creation mask becomes 0 when the kernel lets
    /// it have one of its own. `root` is the new root directory.
    pub fn here(root: &OwnedFd, keeps_owners: bool) -> Self {
        let has_clear_umask = ctr_sys::umask::clear_for_this_thread().is_ok();
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Self { uid, gid, has_clear_umask, inherits_group: inherits_group(root), keeps_owners }
    }

    fn is_owner(&self, entry: &Entry) -> bool {
        !self.keeps_owners || (entry.uid == self.uid && entry.gid == self.gid && !self.inherits_group)
    }

    /// A new thing of this mode needs an explicit `chmod` after it was made (and perhaps given away).
    fn needs_mode(&self, entry: &Entry) -> bool {
        // Giving a file away takes its set-id bits, and so may making it.
        !self.has_clear_umask || entry.mode & 0o6000 != 0
    }

    /// Completes a file through its descriptor. Attributes come after the owner: a new owner takes capabilities away.
    pub fn complete_file(&self, fd: BorrowedFd<'_>, entry: &Entry, path: &[u8]) -> Result<()> {
        self.own(fd, entry, path)?;
        if self.needs_mode(entry) {
            fchmod(fd, Mode::from_raw_mode(entry.mode)).map_err(|errno| failure("set the mode of", path, errno))?;
        }
        self.set_xattrs(fd, entry, path)?;
        let times = timestamps(entry.mtime);
        rustix::fs::futimens(fd, &times).map_err(|errno| failure("set the time of", path, errno))
    }

    /// Completes a directory but for its time and its final mode.
    pub fn complete_directory(&self, fd: BorrowedFd<'_>, entry: &Entry, path: &[u8], is_new: bool) -> Result<()> {
        if is_new {
            self.own(fd, entry, path)?;
        } else if self.keeps_owners {
            give(fd, entry, path)?;
        }
        if !self.has_clear_umask || !is_new {
            let mode = Mode::from_raw_mode(present_mode(entry.mode));
            fchmod(fd, mode).map_err(|errno| failure("set the mode of", path, errno))?;
        }
        self.set_xattrs(fd, entry, path)
    }

    /// Completes a link, device or fifo, which cannot be opened.
    pub fn complete_node(&self, parent: BorrowedFd<'_>, leaf: &[u8], entry: &Entry, is_symlink: bool) -> Result<()> {
        let path = &entry.path;
        if !self.is_owner(entry) {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            let result = chownat(parent, leaf, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
            result.map_err(|errno| failure("set the owner of", path, errno))?;
        }
        if !is_symlink && self.needs_mode(entry) {
            // By name, which nobody else can change: the tree is still private.
            let mode = Mode::from_raw_mode(entry.mode);
            chmodat(parent, leaf, mode, AtFlags::empty()).map_err(|errno| failure("set the mode of", path, errno))?;
        }
        let times = timestamps(entry.mtime);
        let result = utimensat(parent, leaf, &times, AtFlags::SYMLINK_NOFOLLOW);
        result.map_err(|errno| failure("set the time of", path, errno))
    }

    fn own(&self, fd: BorrowedFd<'_>, entry: &Entry, path: &[u8]) -> Result<()> {
        if self.is_owner(entry) { Ok(()) } else { give(fd, entry, path) }
    }

    fn set_xattrs(&self, fd: BorrowedFd<'_>, entry: &Entry, path: &[u8]) -> Result<()> {
        if !self.keeps_owners {
            return Ok(());
        }
        for (name, value) in entry.xattrs.iter().filter(|(name, _)| is_kept(name)) {
            match fsetxattr(fd, name.as_slice(), value, XattrFlags::empty()) {
                // A file system without user attributes loses them, as everywhere; capabilities are never lost silently.
                Err(Errno::OPNOTSUPP) if name.starts_with(b"user.") => {}
                Err(Errno::INVAL | Errno::RANGE) => {
                    let (path, name) = (display(path), display(name));
                    return Err(malformed(format!("entry `{path}` has a malformed extended attribute `{name}`")));
                }
                other => other.map_err(|errno| failure("set an extended attribute of", path, errno))?,
            }
        }
        Ok(())
    }
}

fn give(fd: BorrowedFd<'_>, entry: &Entry, path: &[u8]) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    fchown(fd, Some(uid), Some(gid)).map_err(|errno| failure("set the owner of", path, errno))
}

/// The mode of a directory while its content is being made: open to its owner, and without the set-id bits that would
/// pass groups on to what is made in it.
pub fn present_mode(mode: u32) -> u32 {
    (mode & !0o6000) | 0o700
}

/// Which extended attributes of an archive are applied: the user's own and file capabilities.
///
/// `trusted.*` and `user.overlay.*` steer overlayfs (redirects, opaque directories, metadata-only copies), `system.*`
/// holds access lists and `security.*` labels of another machine. They are dropped, not refused: an honest builder that
/// worked on an overlay leaks them into its archives, and a dropped attribute can do no harm.
fn is_kept(name: &[u8]) -> bool {
    name == b"security.capability" || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
}

/// Access and modification time, both `mtime`: archives tell no other.
pub fn timestamps(mtime: Timestamp) -> Timestamps {
    let time = Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// Tries the mount option `grpid` out: a directory in a directory of another group. When it cannot be tried (an
/// unprivileged user), owners are always set.
fn inherits_group(root: &OwnedFd) -> bool {
    use rustix::fs::{mkdirat, statat, unlinkat};
    let (outer, inner) = (".grpid-probe", ".grpid-probe/inner");
    let own_group = rustix::process::getegid().as_raw();
    let other_group = Gid::from_raw(own_group.wrapping_add(1) & 0xffff);
    let probe = || -> Result<bool, Errno> {
        mkdirat(root, outer, Mode::RWXU)?;
        chownat(root, outer, None, Some(other_group), AtFlags::SYMLINK_NOFOLLOW)?;
        mkdirat(root, inner, Mode::RWXU)?;
        Ok(statat(root, inner, AtFlags::SYMLINK_NOFOLLOW)?.st_gid != own_group)
    };
    let inherits = probe().unwrap_or(true);
    let _ = unlinkat(root, inner, AtFlags::REMOVEDIR);
    let _ = unlinkat(root, outer, AtFlags::REMOVEDIR);
    inherits
}
