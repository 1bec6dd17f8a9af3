//! A container's directory, held open: every access is by name beneath its descriptor, so that a rename changes nothing.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ctr_spec::{ExitRecord, StartedRecord, files};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use serde::de::DeserializeOwned;

use super::interrupt::{Interrupt, deadline_after, pause};
use crate::{Error, ErrorKind, Result};

/// How long a shim that has written its exit record may take for the rest of its cleaning.
const ENDING_S: u64 = 2;
/// No record of a shim, and no specification, is longer.
const MAX_DOCUMENT_BYTES: u64 = 16 << 20;

/// An open container directory.
#[derive(Debug)]
pub struct ContainerDir {
    fd: OwnedFd,
    path: PathBuf,
}

impl ContainerDir {
    /// Opens the directory; `None` when there is none.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        match rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => Ok(Some(Self { fd, path: path.to_path_buf() })),
            Err(Errno::NOENT) => Ok(None),
            Err(cause) => Err(Error::io("open the container directory", path, cause)),
        }
    }

    /// Opens the directory; kind `NotFound` when there is none.
    pub fn open_existing(path: &Path) -> Result<Self> {
        Self::open(path)?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("there is no container directory `{}`", path.display()))
        })
    }

    /// The whole content of a file; `None` when it is not there.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(cause) => return Err(Error::io("open", &self.path.join(name), cause)),
        };
        let mut bytes = Vec::new();
        File::from(fd)
            .take(MAX_DOCUMENT_BYTES)
            .read_to_end(&mut bytes)
            .map_err(|cause| Error::io("read", &self.path.join(name), cause))?;
        Ok(Some(bytes))
    }

    fn read_record<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|cause| {
            let path = self.path.join(name);
            Error::new(ErrorKind::Internal, format!("`{}` is not a record of ours: {cause}", path.display()))
        })
    }

    /// `started.json`.
    pub fn started(&self) -> Result<Option<StartedRecord>> {
        self.read_record(files::STARTED)
    }

    /// `exit.json`.
    pub fn exit(&self) -> Result<Option<ExitRecord>> {
        self.read_record(files::EXIT)
    }

    /// Writes a file under a temporary name and renames it: it is there whole or not at all.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let temporary = format!(".{name}.{}", std::process::id());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let failed = |cause: std::io::Error| Error::io("write", &self.path.join(name), cause);
        let fd = rustix::fs::openat(&self.fd, &temporary, flags, Mode::from_raw_mode(0o600))
            .map_err(|cause| failed(cause.into()))?;
        let written = File::from(fd)
            .write_all(bytes)
            .and_then(|()| Ok(rustix::fs::renameat(&self.fd, &temporary, &self.fd, name)?));
        if written.is_err() {
            let _ = rustix::fs::unlinkat(&self.fd, &temporary, AtFlags::empty());
        }
        written.map_err(failed)
    }

    /// Removes a file; one that is not there is fine.
    pub fn unlink(&self, name: &str) -> Result<()> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(cause) => Err(Error::io("remove", &self.path.join(name), cause)),
        }
    }

    /// Whether a shim (or whoever prepares for one) holds the lock.
    pub fn is_locked(&self) -> Result<bool> {
        let Some(lock) = self.open_lock(OFlags::RDONLY)? else { return Ok(false) };
        ctr_sys::lock::is_locked(lock.as_fd()).map_err(|cause| self.lock_error(cause))
    }

    /// Whether there is a lock file: it is the first to be made and among the first to be deleted.
    pub fn has_lock_file(&self) -> bool {
        rustix::fs::accessat(&self.fd, files::LOCK, rustix::fs::Access::EXISTS, AtFlags::empty()).is_ok()
    }

    /// Takes the lock; `None` when somebody holds it. It lasts as long as the descriptor and its copies.
    pub fn try_lock(&self) -> Result<Option<OwnedFd>> {
        let Some(lock) = self.open_lock(OFlags::RDWR)? else {
            let message = format!("the container directory `{}` has no lock file", self.path.display());
            return Err(Error::new(ErrorKind::NotFound, message));
        };
        let is_ours = ctr_sys::lock::try_lock(lock.as_fd()).map_err(|cause| self.lock_error(cause))?;
        Ok(is_ours.then_some(lock))
    }

    /// Takes the lock. A shim whose container has ended is given time to finish; kind `AlreadyRunning` for others.
    pub fn lock_when_ended(&self, interrupt: Interrupt<'_>) -> Result<OwnedFd> {
        let deadline = deadline_after(Some(Duration::from_secs(ENDING_S)));
        loop {
            if let Some(lock) = self.try_lock()? {
                return Ok(lock);
            }
            if !self.is_ending()? || !pause(Duration::from_millis(1), deadline, interrupt)? {
                return Err(Error::new(ErrorKind::AlreadyRunning, "the container is running"));
            }
        }
    }

    /// Whether the container has ended and only its shim still cleans up.
    fn is_ending(&self) -> Result<bool> {
        let exit = rustix::fs::accessat(&self.fd, files::EXIT, rustix::fs::Access::EXISTS, AtFlags::empty());
        if exit.is_ok() {
            return Ok(true);
        }
        // A container that removes itself leaves no exit record; but its first process is dead.
        Ok(match self.started()? {
            Some(started) => !is_alive(started.pid, started.pid_start_time),
            // It is starting, or deletes its directory, which it has moved to the trash for that.
            None => self.is_moved(),
        })
    }

    /// Whether the path names another directory by now, or none.
    fn is_moved(&self) -> bool {
        let identity = |status: rustix::fs::Stat| (status.st_dev, status.st_ino);
        let ours = rustix::fs::fstat(&self.fd).map(identity);
        rustix::fs::lstat(&self.path).map(identity) != ours
    }

    fn open_lock(&self, access: OFlags) -> Result<Option<OwnedFd>> {
        let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.fd, files::LOCK, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT) => Ok(None),
            Err(cause) => Err(self.lock_error(cause.into())),
        }
    }

    fn lock_error(&self, cause: std::io::Error) -> Error {
        Error::io("lock", &self.path.join(files::LOCK), cause)
    }

    /// Connects to the shim; `None` when none listens.
    pub fn connect(&self) -> Result<Option<UnixStream>> {
        // A socket's address has room for 107 bytes; the detour through the descriptor is always short enough.
        let address = format!("/proc/self/fd/{}/{}", self.fd.as_raw_fd(), files::SOCKET);
        match UnixStream::connect(address) {
            Ok(stream) => Ok(Some(stream)),
            Err(cause) if matches!(cause.raw_os_error(), Some(2 | 111)) => Ok(None),
            Err(cause) => Err(Error::io("connect to", &self.path.join(files::SOCKET), cause)),
        }
    }
}

impl AsFd for ContainerDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether this very process lives: field 3 of `/proc/<pid>/stat` is its state, field 22 its start time.
fn is_alive(pid: u32, start_time: u64) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The name in field 2 may contain anything but ends with the last parenthesis.
    let Some((_, fields)) = status.rsplit_once(") ") else { return false };
    let mut fields = fields.split(' ');
    let is_dead = matches!(fields.next(), Some("Z" | "X"));
    !is_dead && fields.nth(18).and_then(|field| field.parse().ok()) == Some(start_time)
}

/// Opens the directory of what is to be deleted, and makes it when missing.
pub fn open_trash(path: &Path) -> Result<OwnedFd> {
    let open = || rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let opened = match open() {
        Err(Errno::NOENT) => {
            match rustix::fs::mkdir(path, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(cause) => return Err(Error::io("create", path, cause)),
            }
            open()
        }
        other => other,
    };
    opened.map_err(|cause| Error::io("open", path, cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_time() {
        let own = std::process::id();
        let status = std::fs::read_to_string("/proc/self/stat").unwrap();
        let start_time = status.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap();
        assert!(is_alive(own, start_time));
        assert!(!is_alive(own, start_time + 1));
        assert!(!is_alive(u32::MAX, start_time));
    }

    #[test]
    fn a_shim_that_deletes_its_directory_is_waited_for() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("container");
        std::fs::create_dir(&path).unwrap();
        let lock = File::create(path.join(files::LOCK)).unwrap();
        assert!(ctr_sys::lock::try_lock(lock.as_fd()).unwrap());
        let directory = ContainerDir::open_existing(&path).unwrap();
        let never = &mut crate::container::never();
        assert_eq!(directory.lock_when_ended(never).unwrap_err().kind, ErrorKind::AlreadyRunning, "it is starting");
        // Moved to the trash, its records deleted, the lock not yet.
        std::fs::rename(&path, parent.path().join("trash")).unwrap();
        let shim = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            drop(lock);
        });
        directory.lock_when_ended(never).unwrap();
        shim.join().unwrap();
    }

    #[test]
    fn a_file_is_put_whole_and_records_are_read() {
        let parent = tempfile::tempdir().unwrap();
        let directory = ContainerDir::open_existing(parent.path()).unwrap();
        assert!(directory.exit().unwrap().is_none());
        directory.put(files::EXIT, b"{}").unwrap();
        assert_eq!(directory.exit().unwrap_err().kind, ErrorKind::Internal);
        assert_eq!(directory.read(files::EXIT).unwrap().unwrap(), b"{}");
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1, "no temporary file stays");
        directory.unlink(files::EXIT).unwrap();
        directory.unlink(files::EXIT).unwrap();
        assert!(directory.connect().unwrap().is_none());
        assert!(!directory.is_locked().unwrap());
        assert_eq!(directory.try_lock().unwrap_err().kind, ErrorKind::NotFound);
    }
}
