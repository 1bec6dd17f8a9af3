//! What directories get only at the end: their time (every entry made in them changes it), and their mode, which may get in
//! the way before.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, fchmod, futimens, openat, unlinkat};
use rustix::io::Errno;

use super::super::tar::Timestamp;
use super::beneath::{Beneath, open_child};
use super::failure;
use super::metadata::timestamps;
use crate::Result;

/// Records kept in memory, bytes; further ones go to a nameless file.
const MEMORY_BYTES: usize = 1 << 20;
const SPILL_NAME: &str = "directories";

/// The list of directories to finish, in the order of the archive.
pub struct Deferred {
    records: Vec<u8>,
    spill: Option<File>,
}

impl Deferred {
    /// An empty list.
    pub fn new() -> Self {
        Self { records: Vec::new(), spill: None }
    }

    /// Notes the time and the mode of the directory `path`; what is noted last for a path holds. `work` is a directory
    /// outside of the root for what memory does not hold.
    pub fn push(&mut self, work: BorrowedFd<'_>, path: &[u8], mtime: Timestamp, mode: u32) -> Result<()> {
        self.records.extend_from_slice(&(path.len() as u32).to_le_bytes());
        self.records.extend_from_slice(&mtime.seconds.to_le_bytes());
        self.records.extend_from_slice(&mtime.nanoseconds.to_le_bytes());
        self.records.extend_from_slice(&mode.to_le_bytes());
        self.records.extend_from_slice(path);
        if self.records.len() >= MEMORY_BYTES {
            self.spill(work).map_err(|cause| failure("keep the list of directories of", path, cause))?;
        }
        Ok(())
    }

    fn spill(&mut self, work: BorrowedFd<'_>) -> std::io::Result<()> {
        let mut file = match self.spill.take() {
            Some(file) => file,
            None => open_spill(work)?.into(),
        };
        file.write_all(&self.records)?;
        self.records.clear();
        self.spill = Some(file);
        Ok(())
    }

    /// Finishes every directory. A directory that was replaced since is left alone.
    pub fn finish(self, root: &mut Beneath) -> Result<()> {
        let mut restrictive = BTreeMap::new();
        if let Some(mut file) = self.spill {
            let rewound = file.seek(SeekFrom::Start(0));
            rewound.map_err(|cause| failure("read the list of directories of", b"", cause))?;
            finish_records(&mut BufReader::new(file), root, &mut restrictive)?;
        }
        finish_records(&mut &self.records[..], root, &mut restrictive)?;
        // Deepest first, so that no directory closes the way to a later one; only an unprivileged user has these.
        for (path, mode) in restrictive.iter().rev() {
            finish_directory(root, path, None, Some(*mode))?;
        }
        Ok(())
    }
}

fn open_spill(work: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    let fd = openat(work, SPILL_NAME, flags, Mode::RUSR | Mode::WUSR)?;
    unlinkat(work, SPILL_NAME, rustix::fs::AtFlags::empty())?;
    Ok(fd)
}

fn finish_records(records: &mut impl Read, root: &mut Beneath, restrictive: &mut BTreeMap<Vec<u8>, u32>) -> Result<()> {
    let is_privileged = rustix::process::geteuid().is_root();
    let mut path = Vec::new();
    while let Some((mtime, mode)) =
        next_record(records, &mut path).map_err(|cause| failure("read the list of directories of", &path, cause))?
    {
        if !is_privileged && mode & 0o700 != 0o700 {
            finish_directory(root, &path, Some(mtime), None)?;
            restrictive.insert(path.clone(), mode);
        } else {
            restrictive.remove(&path);
            finish_directory(root, &path, Some(mtime), Some(mode))?;
        }
    }
    Ok(())
}

fn next_record(records: &mut impl Read, path: &mut Vec<u8>) -> std::io::Result<Option<(Timestamp, u32)>> {
    let mut head = [0u8; 20];
    if records.read(&mut head[..1])? == 0 {
        return Ok(None);
    }
    records.read_exact(&mut head[1..])?;
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    path.resize(word(0) as usize, 0);
    records.read_exact(path)?;
    let seconds = (u64::from(word(8)) << 32 | u64::from(word(4))).cast_signed();
    let mtime = Timestamp { seconds, nanoseconds: word(12) };
    Ok(Some((mtime, word(16))))
}

fn finish_directory(root: &mut Beneath, path: &[u8], mtime: Option<Timestamp>, mode: Option<u32>) -> Result<()> {
    let (parent, leaf) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&b""[..], path),
    };
    let opened =
        root.directory(parent).and_then(|parent| open_child(parent, if path.is_empty() { b"." } else { leaf }));
    let fd = match opened {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        Err(errno) => return Err(failure("finish the directory", path, errno)),
    };
    if let Some(mode) = mode {
        fchmod(&fd, Mode::from_raw_mode(mode)).map_err(|errno| failure("set the mode of", path, errno))?;
    }
    if let Some(mtime) = mtime {
        futimens(&fd, &timestamps(mtime)).map_err(|errno| failure("set the time of", path, errno))?;
    }
    Ok(())
}
