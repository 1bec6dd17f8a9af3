//! Deleting a directory tree by descriptors: no path is ever resolved twice, no symbolic link followed, no mount entered.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;

/// A directory full of names that come back is given up after this many readings.
const MAX_READINGS: u32 = 16;
/// Each beginning anew means that somebody else deleted a directory of the same tree.
const MAX_RESTARTS: u32 = 100_000;

/// One directory on the way down.
struct Level {
    name: CString,
    device: u64,
    inode: u64,
    /// Subdirectories still to be entered.
    pending: Vec<CString>,
    readings: u32,
}

/// Deletes `name` beneath `parent`, a file or a whole tree, and returns the number of deleted entries (0 when it was not
/// there). Depth is bounded by neither the stack nor the number of descriptors: one directory is open at a time.
///
/// # Errors
/// `EBUSY` or `EXDEV` when something is mounted in the tree (nothing beyond the mount is touched), `ESTALE` when a
/// directory was moved meanwhile, else what the kernel reported.
pub fn remove_tree(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<u64> {
    let name = CString::new(name.as_bytes())?;
    let mut removed = 0;
    for _ in 0..MAX_RESTARTS {
        match remove_once(parent, &name, &mut removed) {
            // A directory vanished while it was open: somebody else deletes the same tree, and is welcome to.
            Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {}
            other => return other.map(|()| removed),
        }
    }
    Err(Errno::BUSY.into())
}

fn remove_once(parent: BorrowedFd<'_>, name: &CStr, removed: &mut u64) -> io::Result<()> {
    if unlink_unless_directory(parent, name, removed)? {
        return Ok(());
    }
    let Some((mut current, top)) = enter(parent, name.to_owned())? else { return Ok(()) };
    let mut levels = vec![top];
    read_directory(current.as_fd(), &mut levels[0], removed)?;
    while let Some(level) = levels.last_mut() {
        if let Some(child) = level.pending.pop() {
            if let Some((directory, mut below)) = enter(current.as_fd(), child)? {
                read_directory(directory.as_fd(), &mut below, removed)?;
                current = directory;
                levels.push(below);
            }
            continue;
        }
        let above = match levels.len().checked_sub(2).map(|index| &levels[index]) {
            Some(expected) => Some(ascend(current.as_fd(), expected)?),
            None => None,
        };
        let Some(level) = levels.last_mut() else { break };
        let holder = above.as_ref().map_or(parent, AsFd::as_fd);
        match rustix::fs::unlinkat(holder, &level.name, AtFlags::REMOVEDIR) {
            Ok(()) => *removed += 1,
            Err(Errno::NOENT) => {}
            // Some file systems skip entries when others are deleted during the reading.
            Err(Errno::NOTEMPTY | Errno::EXIST) if level.readings < MAX_READINGS => {
                read_directory(current.as_fd(), level, removed)?;
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        levels.pop();
        if let Some(above) = above {
            current = above;
        }
    }
    Ok(())
}

/// Whether `name` needs no further work: it was deleted, or was not there.
fn unlink_unless_directory(parent: BorrowedFd<'_>, name: &CStr, removed: &mut u64) -> io::Result<bool> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) => {
            *removed += 1;
            Ok(true)
        }
        Err(Errno::NOENT) => Ok(true),
        Err(Errno::ISDIR | Errno::PERM) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn open_directory(parent: BorrowedFd<'_>, name: &CStr, resolve: ResolveFlags) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat2(
        parent,
        name,
        flags,
        Mode::empty(),
        resolve | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV,
    )
}

fn enter(parent: BorrowedFd<'_>, name: CString) -> io::Result<Option<(OwnedFd, Level)>> {
    let directory = match open_directory(parent, &name, ResolveFlags::BENEATH) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let status = rustix::fs::fstat(&directory)?;
    let level = Level { name, device: status.st_dev, inode: status.st_ino, pending: Vec::new(), readings: 0 };
    Ok(Some((directory, level)))
}

/// Back to the directory that `expected` describes, and to no other.
fn ascend(current: BorrowedFd<'_>, expected: &Level) -> io::Result<OwnedFd> {
    let above = open_directory(current, c"..", ResolveFlags::empty())?;
    let status = rustix::fs::fstat(&above)?;
    if (status.st_dev, status.st_ino) == (expected.device, expected.inode) {
        Ok(above)
    } else {
        Err(Errno::STALE.into())
    }
}

/// Deletes everything but subdirectories, which are remembered.
fn read_directory(directory: BorrowedFd<'_>, level: &mut Level, removed: &mut u64) -> io::Result<()> {
    level.readings += 1;
    rustix::fs::seek(directory, rustix::fs::SeekFrom::Start(0))?;
    let mut buffer = vec![MaybeUninit::uninit(); 32 << 10];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let is_directory =
            entry.file_type() == FileType::Directory || !unlink_unless_directory(directory, name, removed)?;
        if is_directory {
            level.pending.push(name.to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::symlink;

    #[test]
    fn trees_files_and_absent_names() {
        let directory = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("canary"), "x").unwrap();
        let tree = directory.path().join("tree");
        std::fs::create_dir_all(tree.join("a/b/c")).unwrap();
        std::fs::write(tree.join("a/file"), "x").unwrap();
        symlink(outside.path(), tree.join("a/b/link")).unwrap();
        symlink("nowhere", tree.join("dangling")).unwrap();
        let parent = File::open(directory.path()).unwrap();
        assert_eq!(remove_tree(parent.as_fd(), OsStr::new("tree")).unwrap(), 7);
        assert!(!tree.exists());
        assert!(outside.path().join("canary").exists());
        std::fs::write(directory.path().join("file"), "x").unwrap();
        assert_eq!(remove_tree(parent.as_fd(), OsStr::new("file")).unwrap(), 1);
        assert_eq!(remove_tree(parent.as_fd(), OsStr::new("file")).unwrap(), 0);
    }

    #[test]
    fn a_deep_tree_needs_neither_stack_nor_descriptors() {
        let directory = tempfile::tempdir().unwrap();
        let parent = File::open(directory.path()).unwrap();
        let depth = 5000;
        let mut current: OwnedFd = parent.try_clone().unwrap().into();
        for _ in 0..depth {
            rustix::fs::mkdirat(&current, "d", Mode::RWXU).unwrap();
            current = open_directory(current.as_fd(), c"d", ResolveFlags::BENEATH).unwrap();
        }
        drop(current);
        assert_eq!(remove_tree(parent.as_fd(), OsStr::new("d")).unwrap(), depth);
    }

    #[test]
    fn a_wide_tree() {
        let directory = tempfile::tempdir().unwrap();
        let parent = File::open(directory.path()).unwrap();
        for number in 0..3000 {
            std::fs::create_dir_all(directory.path().join(format!("t/{number}"))).unwrap();
            std::fs::write(directory.path().join(format!("t/f{number}")), "").unwrap();
        }
        assert_eq!(remove_tree(parent.as_fd(), OsStr::new("t")).unwrap(), 6001);
    }

    #[test]
    fn several_may_delete_the_same_tree() {
        let directory = tempfile::tempdir().unwrap();
        for outer in 0..60 {
            for inner in 0..20 {
                std::fs::create_dir_all(directory.path().join(format!("t/{outer}/{inner}/x"))).unwrap();
                std::fs::write(directory.path().join(format!("t/{outer}/{inner}/f")), "").unwrap();
            }
        }
        let removed: u64 = std::thread::scope(|scope| {
            let delete = || remove_tree(File::open(directory.path()).unwrap().as_fd(), OsStr::new("t")).unwrap();
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(delete)).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(removed, 1 + 60 + 60 * 20 * 3);
        assert!(!directory.path().join("t").exists());
    }

    #[test]
    fn a_mount_is_never_deleted_through() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: mounting needs root");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let mounted = directory.path().join("t/mounted");
        std::fs::create_dir_all(&mounted).unwrap();
        rustix::mount::mount("tmpfs", &mounted, "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
        std::fs::write(mounted.join("canary"), "x").unwrap();
        let parent = File::open(directory.path()).unwrap();
        let result = remove_tree(parent.as_fd(), OsStr::new("t"));
        let survived = mounted.join("canary").exists();
        rustix::mount::unmount(&mounted, rustix::mount::UnmountFlags::DETACH).unwrap();
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EXDEV));
        assert!(survived);
    }
}
