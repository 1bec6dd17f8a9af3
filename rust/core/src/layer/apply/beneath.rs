//! The one way to a parent directory: `openat2` beneath the root, through no symbolic link, on no other mount.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// How many directories stay open.
const CACHED: usize = 16;

/// A root directory and the directories beneath it that were used last.
pub struct Beneath {
    root: OwnedFd,
    cached: Vec<(Vec<u8>, OwnedFd)>,
    next_victim: usize,
}

impl Beneath {
    /// Everything happens beneath `root`.
    pub fn new(root: OwnedFd) -> Self {
        Self { root, cached: Vec::with_capacity(CACHED), next_victim: 0 }
    }

    /// The root itself.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens the directory at the clean path `path`. `ELOOP` means that a symbolic link is on the way (`ENOTDIR` when
    /// it is the last component), `EXDEV` that the path leaves the root.
    pub fn directory(&mut self, path: &[u8]) -> Result<BorrowedFd<'_>, Errno> {
        if path.is_empty() {
            return Ok(self.root.as_fd());
        }
        // Searched from the end: the newest are there until the cache is full.
        if let Some(index) = self.cached.iter().rposition(|(cached, _)| cached == path) {
            return Ok(self.cached[index].1.as_fd());
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let fd = loop {
            match openat2(&self.root, path, flags, Mode::empty(), resolve) {
                // EAGAIN: a rename elsewhere made the kernel unsure; trying again is what it asks for.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => break other?,
            }
        };
        let index = self.remember(path, fd);
        Ok(self.cached[index].1.as_fd())
    }

    /// Keeps the open directory `path` for the entries that follow it.
    pub fn remember(&mut self, path: &[u8], fd: OwnedFd) -> usize {
        if let Some(index) = self.cached.iter().position(|(cached, _)| cached == path) {
            self.cached[index].1 = fd;
            return index;
        }
        if self.cached.len() < CACHED {
            self.cached.push((path.to_vec(), fd));
            return self.cached.len() - 1;
        }
        let index = self.next_victim;
        self.next_victim = (index + 1) % CACHED;
        self.cached[index].0.clear();
        self.cached[index].0.extend_from_slice(path);
        self.cached[index].1 = fd;
        index
    }

    /// Forgets every open directory; needed when one is removed.
    pub fn forget(&mut self) {
        self.cached.clear();
        self.next_victim = 0;
    }
}

/// Opens the directory `name` in `parent` for reading; never through a symbolic link.
pub fn open_child(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}
