//! The folders of a store in which things come into being and end: `tmp/` and `trash/`.
//!
//! A folder in `tmp/` is named after the process that made it, which also holds a lock on it, so that whoever comes next
//! can tell what a killed process left behind. What is in `trash/` is of no use to anybody.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags, flock, mkdirat, open, openat, renameat};
use rustix::io::Errno;

use crate::{Error, ErrorKind, Result};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The root of a store with its `tmp/` and `trash/`.
#[derive(Debug)]
pub struct Scratch {
    root: PathBuf,
    root_fd: OwnedFd,
    tmp: OwnedFd,
    trash: OwnedFd,
    /// Folders that were handed out by path, with the locks that keep them.
    kept: Mutex<HashMap<PathBuf, ScratchFolder>>,
}

impl Scratch {
    /// Opens the store at `root`; makes it, `tmp/` and `trash/` (mode 0700) when missing.
    pub fn open(root: &Path) -> Result<Arc<Self>> {
        let io = |cause: std::io::Error| Error::io("open the store", root, cause);
        if !root.is_absolute() {
            let message = format!("the store's path `{}` is not absolute", root.display());
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        let root_fd = match open(root, DIRECTORY.difference(OFlags::NOFOLLOW), Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => {
                use std::os::unix::fs::DirBuilderExt;
                std::fs::DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(io)?;
                open(root, DIRECTORY.difference(OFlags::NOFOLLOW), Mode::empty()).map_err(|errno| io(errno.into()))?
            }
            Err(errno) => return Err(io(errno.into())),
        };
        let tmp = make_folder(root_fd.as_fd(), "tmp").map_err(|errno| io(errno.into()))?;
        let trash = make_folder(root_fd.as_fd(), "trash").map_err(|errno| io(errno.into()))?;
        Ok(Arc::new(Self { root: root.to_path_buf(), root_fd, tmp, trash, kept: Mutex::default() }))
    }

    /// The store's root.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Opens a folder of the store; `path` is relative; makes it (mode 0700) when missing.
    pub fn folder(&self, path: &str) -> Result<OwnedFd> {
        let io = |errno: Errno| Error::io("open the folder", &self.root.join(path), errno);
        let mut names = path.split('/');
        let mut folder = make_folder(self.root_fd.as_fd(), names.next().unwrap_or_default()).map_err(io)?;
        for name in names {
            folder = make_folder(folder.as_fd(), name).map_err(io)?;
        }
        Ok(folder)
    }

    /// A fresh folder in `tmp/`, kept from [`Self::sweep`] as long as the value lives.
    pub fn new_folder(self: &Arc<Self>) -> Result<ScratchFolder> {
        let io = |errno: Errno| Error::io("make a folder in", &self.root.join("tmp"), errno);
        loop {
            let name = unique_name()?;
            match mkdirat(&self.tmp, &name, Mode::RWXU) {
                Err(Errno::EXIST) => continue,
                other => other.map_err(io)?,
            }
            let fd = openat(&self.tmp, &name, DIRECTORY, Mode::empty()).map_err(io)?;
            flock(&fd, FlockOperation::NonBlockingLockShared).map_err(io)?;
            return Ok(ScratchFolder { scratch: Arc::clone(self), name, fd });
        }
    }

    /// Keeps a folder until [`Self::discard`] is called with the path of its member `name`, which is returned, or the
    /// process ends.
    pub fn keep(&self, folder: ScratchFolder, name: &str) -> PathBuf {
        let path = folder.path().join(name);
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone(), folder);
        path
    }

    /// Moves `name` of `parent` (the same file system) to the trash and deletes it there; false when it was gone.
    pub fn remove(&self, parent: BorrowedFd<'_>, name: &OsStr) -> Result<bool> {
        let io = |cause: std::io::Error| Error::io("remove", Path::new(name), cause);
        let target = unique_name()?;
        match renameat(parent, name, &self.trash, &target) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(io(errno.into())),
        }
        ctr_sys::tree::remove_tree(self.trash.as_fd(), OsStr::new(&target)).map_err(io)?;
        Ok(true)
    }

    /// Moves the file or folder at the absolute path `path` to the trash and deletes it; no error when it is gone.
    pub fn discard(&self, path: &Path) -> Result<()> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
        if let Some(folder) = kept {
            return folder.remove();
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            let message = format!("`{}` cannot be discarded", path.display());
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        };
        let parent = match open(parent, DIRECTORY.difference(OFlags::NOFOLLOW), Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(Error::io("discard", path, errno)),
        };
        self.remove(parent.as_fd(), name).map(|_| ())
    }

    /// Deletes what killed processes left in `tmp/`, and whatever is in `trash/`.
    pub fn sweep(&self) -> Result<()> {
        for name in names(self.tmp.as_fd())? {
            if self.is_abandoned(&name) {
                self.remove(self.tmp.as_fd(), &name)?;
            }
        }
        for name in names(self.trash.as_fd())? {
            // Two may delete the same tree at once: what the other one took is simply gone.
            let removed = ctr_sys::tree::remove_tree(self.trash.as_fd(), &name);
            removed.map_err(|cause| Error::io("empty the trash of", &self.root.join("trash").join(&name), cause))?;
        }
        Ok(())
    }

    /// Its maker is dead, and nobody holds it: the lock also tells when the maker's number means nothing here (another
    /// process namespace).
    fn is_abandoned(&self, name: &OsStr) -> bool {
        let Some(owner) = name.to_str().and_then(parse_owner) else { return false };
        if start_time(owner.0) == Some(owner.1) {
            return false;
        }
        let Ok(fd) = openat(&self.tmp, name, DIRECTORY, Mode::empty()) else { return false };
        flock(&fd, FlockOperation::NonBlockingLockExclusive).is_ok()
    }
}

/// A folder in `tmp/`; deleted when dropped, unless it was moved away.
#[derive(Debug)]
pub struct ScratchFolder {
    scratch: Arc<Scratch>,
    name: String,
    fd: OwnedFd,
}

impl ScratchFolder {
    /// The folder itself.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Its absolute path.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.scratch.root.join("tmp").join(&self.name)
    }

    /// Makes a subdirectory (mode 0755) and opens it.
    pub fn make(&self, name: &str) -> Result<OwnedFd> {
        let made = mkdirat(&self.fd, name, Mode::from_raw_mode(0o755));
        let opened = made.and_then(|()| openat(&self.fd, name, DIRECTORY, Mode::empty()));
        opened.map_err(|errno| Error::io("make", &self.path().join(name), errno))
    }

    /// Renames the folder to `name` in `target`. False, with nothing changed, when there is one already.
    pub fn seal(&self, target: BorrowedFd<'_>, name: &str) -> Result<bool> {
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(&self.scratch.tmp, &self.name, target, name, flags) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST | Errno::NOTEMPTY) => Ok(false),
            Err(errno) => Err(Error::io("put in place", &self.path(), errno)),
        }
    }

    /// Deletes it now, and reports what goes wrong.
    pub fn remove(self) -> Result<()> {
        self.scratch.remove(self.scratch.tmp.as_fd(), OsStr::new(&self.name)).map(|_| ())
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        // Whatever fails here is left to the next sweep.
        let _ = self.scratch.remove(self.scratch.tmp.as_fd(), OsStr::new(&self.name));
    }
}

/// The names in a directory.
pub(crate) fn names(folder: BorrowedFd<'_>) -> Result<Vec<OsString>> {
    let io = |errno: Errno| Error::io("list", Path::new("a folder of the store"), errno);
    let mut names = Vec::new();
    for entry in Dir::read_from(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

fn make_folder(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    // Looked for first: a directory that is there costs no write.
    match openat(parent, name, DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    match mkdirat(parent, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => openat(parent, name, DIRECTORY, Mode::empty()),
        Err(errno) => Err(errno),
    }
}

/// `pid-starttime-random`.
fn unique_name() -> Result<String> {
    let pid = std::process::id();
    let Some(start) = start_time(pid) else {
        return Err(Error::new(ErrorKind::Internal, "cannot read this process's start time in `/proc`"));
    };
    let mut random = [0u8; 8];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random)
        .map_err(|_| Error::new(ErrorKind::Internal, "the kernel gave no random bytes"))?;
    Ok(format!("{pid}-{start}-{:016x}", u64::from_le_bytes(random)))
}

fn parse_owner(name: &str) -> Option<(u32, u64)> {
    let mut parts = name.splitn(3, '-');
    let owner = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().map(|_| owner)
}

/// When a process began, in clock ticks since boot; `None` when it is gone (`proc(5)`, field 22 of `stat`).
fn start_time(pid: u32) -> Option<u64> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may have anything in it; fields are counted after it.
    let after_name = text.iter().rposition(|byte| *byte == b')')? + 2;
    let mut fields = text.get(after_name..)?.split(|byte| *byte == b' ');
    std::str::from_utf8(fields.nth(19)?).ok()?.parse().ok()
}

/// A lock file's lock is held as long as this lives.
#[derive(Debug)]
pub struct HeldLock {
    _file: OwnedFd,
}

/// Takes the lock `name` in the lock folder if nobody holds it.
pub(crate) fn try_lock(locks: BorrowedFd<'_>, name: &str) -> Result<Option<HeldLock>, Errno> {
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(locks, name, flags, Mode::RUSR | Mode::WUSR)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK | Errno::INTR) => return Ok(None),
        Err(errno) => return Err(errno),
    }
    // Whoever held it may have deleted the file meanwhile: a lock on a nameless file excludes nobody.
    let held = rustix::fs::fstat(&file)?;
    match rustix::fs::statat(locks, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) if (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino) => Ok(Some(HeldLock { _file: file })),
        Ok(_) | Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_go_when_dropped_and_stay_when_kept() {
        let root = tempfile::tempdir().unwrap();
        let scratch = Scratch::open(root.path()).unwrap();
        let folder = scratch.new_folder().unwrap();
        let path = folder.path();
        folder.make("a").unwrap();
        scratch.sweep().unwrap();
        assert!(path.join("a").exists());
        drop(folder);
        assert!(!path.exists());
        let kept = scratch.keep(scratch.new_folder().unwrap(), "files");
        std::fs::create_dir(&kept).unwrap();
        scratch.sweep().unwrap();
        assert!(kept.exists());
        scratch.discard(&kept).unwrap();
        scratch.discard(&kept).unwrap();
        assert!(!kept.exists());
        assert_eq!(names(scratch.trash.as_fd()).unwrap().len(), 0);
    }

    #[test]
    fn a_sweep_takes_what_the_dead_left_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let scratch = Scratch::open(root.path()).unwrap();
        let tmp = root.path().join("tmp");
        let pid = std::process::id();
        let dead = [tmp.join("4194304-1-00"), tmp.join(format!("{pid}-1-00"))];
        let alive = tmp.join(format!("{pid}-{}-00", start_time(pid).unwrap()));
        let locked = tmp.join("4194304-2-00");
        let foreign = tmp.join("notes");
        for folder in dead.iter().chain([&alive, &locked, &foreign]) {
            std::fs::create_dir_all(folder.join("deep/er")).unwrap();
        }
        std::fs::create_dir_all(root.path().join("trash/anything/x")).unwrap();
        let lock = std::fs::File::open(&locked).unwrap();
        flock(&lock, FlockOperation::LockShared).unwrap();
        scratch.sweep().unwrap();
        assert!(dead.iter().all(|folder| !folder.exists()));
        assert!(alive.exists() && locked.exists() && foreign.exists());
        assert!(!root.path().join("trash/anything").exists());
    }

    #[test]
    fn a_lock_on_a_deleted_file_is_no_lock() {
        let root = tempfile::tempdir().unwrap();
        let folder = std::fs::File::open(root.path()).unwrap();
        let first = try_lock(folder.as_fd(), "x").unwrap().unwrap();
        assert!(try_lock(folder.as_fd(), "x").unwrap().is_none());
        drop(first);
        assert!(try_lock(folder.as_fd(), "x").unwrap().is_some());
    }
}
