//! Whiteouts: names of an archive that take away what lower layers have (OCI image specification, "Whiteouts"), and how
//! overlayfs wants to see them (kernel: `Documentation/filesystems/overlayfs.rst`).

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FileType, Mode, Stat, XattrFlags, fgetxattr, fsetxattr, mknodat};
use rustix::io::Errno;

use super::super::tar::{ByteSource, display, hostile, malformed};
use super::beneath::open_child;
use super::name::CleanPath;
use super::{Applier, failure, stat};
use crate::Result;

const PREFIX: &[u8] = b".wh.";
/// Names that begin so belong to the union file system that had whiteouts first; but for one they mean nothing here.
const RESERVED_PREFIX: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

impl<S: ByteSource> Applier<'_, S> {
    /// Applies `path` when it is a whiteout (or to be left out); false when it is an ordinary name.
    ///
    /// A whiteout speaks of lower layers only: what this layer itself has, before it or after it, stays.
    pub(super) fn take_whiteout(&mut self, path: &CleanPath) -> Result<bool> {
        let leaf = path.leaf();
        if !path.path().windows(PREFIX.len()).any(|window| window == PREFIX) {
            return Ok(false);
        }
        if let Some(reserved) = path.parent().split(|byte| *byte == b'/').find(|name| name.starts_with(PREFIX)) {
            if reserved.starts_with(RESERVED_PREFIX) {
                return Ok(true);
            }
            return Err(malformed(format!("entry `{}` is beneath a whiteout", display(path.path()))));
        }
        if !leaf.starts_with(PREFIX) {
            return Ok(false);
        }
        if leaf == OPAQUE {
            self.make_opaque(path)?;
        } else if !leaf.starts_with(RESERVED_PREFIX) {
            self.make_whiteout(path, &leaf[PREFIX.len()..])?;
        }
        Ok(true)
    }

    fn make_opaque(&mut self, path: &CleanPath) -> Result<()> {
        if path.parent().is_empty() {
            // Overlayfs has no opaque root; the store ends the stack at this layer instead.
            self.applied.is_root_opaque = true;
            return Ok(());
        }
        let parent = self.parent(path, path.path())?;
        let fd = open_child(parent, b".").map_err(|errno| failure("open", path.path(), errno))?;
        set_opaque(fd.as_fd(), path.path())
    }

    fn make_whiteout(&mut self, path: &CleanPath, hidden: &[u8]) -> Result<()> {
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(hostile(format!("entry `{}` is a whiteout of no name", display(path.path()))));
        }
        let parent = self.parent(path, path.path())?;
        match mknodat(parent, hidden, FileType::CharacterDevice, Mode::empty(), 0) {
            Err(Errno::EXIST) => {}
            other => return other.map_err(|errno| failure("make the whiteout", path.path(), errno)),
        }
        if FileType::from_raw_mode(stat(parent, hidden, path.path())?.st_mode) == FileType::Directory {
            let fd = open_child(parent, hidden).map_err(|errno| failure("open", path.path(), errno))?;
            set_opaque(fd.as_fd(), path.path())?;
        }
        Ok(())
    }
}

/// What `stat` shows of a whiteout in overlayfs form: the character device 0:0.
pub fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// The attribute of opaque directories: the kernel lets only a privileged user have `trusted.*`, and reads `user.*` from
/// overlays mounted with `userxattr`.
fn opaque_attribute() -> &'static str {
    if rustix::process::geteuid().is_root() { "trusted.overlay.opaque" } else { "user.overlay.opaque" }
}

/// Makes a directory opaque; `path` is for messages.
pub fn set_opaque(fd: BorrowedFd<'_>, path: &[u8]) -> Result<()> {
    let set = fsetxattr(fd, opaque_attribute(), b"y", XattrFlags::empty());
    set.map_err(|errno| failure("make an opaque directory of", path, errno))
}

/// Whether a directory is opaque.
pub fn is_opaque(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut value = [0u8; 2];
    match fgetxattr(fd, opaque_attribute(), &mut value) {
        Ok(length) => Ok(&value[..length] == b"y"),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(errno) => Err(errno),
    }
}
