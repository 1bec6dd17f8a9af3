//! Making files of an archive's entries, all of them beneath one root directory.

mod beneath;
mod deferred;
mod links;
mod metadata;
mod name;
mod whiteout;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, ftruncate, mkdirat, mknodat, openat, statat, unlinkat};
use rustix::io::{Errno, pwrite, write};

use super::pipeline::too_large;
use super::tar::{ArchiveReader, ByteSource, Entry, EntryKind, Timestamp, display, hostile, malformed};
use crate::progress::Progress;
use crate::{Error, ErrorKind, Result};
use beneath::{Beneath, open_child};
use deferred::Deferred;
use metadata::{Maker, present_mode};
use name::CleanPath;

pub use whiteout::{is_opaque, is_whiteout};

/// What an archive is unpacked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A layer in overlayfs form: whiteouts, owners, devices, attributes.
    Layer,
    /// Files to be read by ourselves: names are kept as they are, everything is ours, devices and fifos are left out.
    Scratch,
}

/// How an archive is applied.
pub struct Options<'a> {
    /// What for.
    pub purpose: Purpose,
    /// Greatest sum of file sizes, bytes.
    pub max_bytes: u64,
    /// An archive that ends between two entries without an end marker is an error.
    pub needs_end_marker: bool,
    /// Asked between entries whether to stop.
    pub progress: Option<&'a Progress>,
}

/// What was made.
#[derive(Debug, Default)]
pub struct Applied {
    /// Sum of the sizes of regular files, bytes.
    pub disk_bytes: u64,
    /// Entries that were applied.
    pub entries: u64,
    /// Directories that had to be made although the archive has no entry for them; the empty path is the root.
    pub implied: BTreeSet<Vec<u8>>,
    /// The root itself is opaque: nothing below this layer is visible.
    pub is_root_opaque: bool,
}

/// More implied directories than any honest archive has, bytes of their names; bounds memory.
const MAX_IMPLIED_BYTES: usize = 16 << 20;
/// Mode of a directory that the archive only implies.
const IMPLIED_MODE: u32 = 0o755;

/// Applies the archive in `source` to the empty directory `root`. `work` is a directory on the same file system outside
/// of `root`. The calling thread must be one of our own: its file creation mask may change.
pub fn apply<S: ByteSource>(source: S, root: OwnedFd, work: BorrowedFd<'_>, options: &Options<'_>) -> Result<Applied> {
    let maker = Maker::here(&root, options.purpose == Purpose::Layer);
    prepare_root(&root).map_err(|errno| failure("prepare the root of", b"", errno))?;
    let mut applier = Applier {
        archive: ArchiveReader::new(source, options.needs_end_marker),
        root: Beneath::new(root),
        work,
        options,
        maker,
        deferred: Deferred::new(),
        applied: Applied::default(),
        implied_bytes: 0,
    };
    applier.imply(b"")?;
    let (mut entry, mut path) = (Entry::default(), CleanPath::default());
    while applier.archive.next(&mut entry)? {
        if let Some(progress) = options.progress {
            progress.check()?;
        }
        path.assign(&entry.path, "entry")?;
        applier.take(&entry, &path)?;
    }
    applier.deferred.finish(&mut applier.root)?;
    Ok(applier.applied)
}

/// Takes away what a new directory may have inherited from its parent: group, set-group-id bit, default access list.
fn prepare_root(root: &OwnedFd) -> Result<(), Errno> {
    rustix::fs::fchown(root, Some(rustix::process::geteuid()), Some(rustix::process::getegid()))?;
    rustix::fs::fchmod(root, Mode::from_raw_mode(IMPLIED_MODE))?;
    match rustix::fs::fremovexattr(root, "system.posix_acl_default") {
        Err(Errno::NODATA | Errno::OPNOTSUPP) | Ok(()) => Ok(()),
        Err(errno) => Err(errno),
    }
}

struct Applier<'a, S> {
    archive: ArchiveReader<S>,
    root: Beneath,
    work: BorrowedFd<'a>,
    options: &'a Options<'a>,
    maker: Maker,
    deferred: Deferred,
    applied: Applied,
    implied_bytes: usize,
}

impl<S: ByteSource> Applier<'_, S> {
    fn take(&mut self, entry: &Entry, path: &CleanPath) -> Result<()> {
        if self.options.purpose == Purpose::Layer && self.take_whiteout(path)? {
            self.applied.entries += 1;
            return Ok(());
        }
        if path.is_root() {
            return self.take_root(entry);
        }
        match entry.kind {
            EntryKind::Directory => self.make_directory(entry, path)?,
            EntryKind::File => self.make_file(entry, path)?,
            EntryKind::HardLink => self.make_hard_link(entry, path)?,
            EntryKind::Symlink => self.make_symlink(entry, path)?,
            EntryKind::CharDevice | EntryKind::BlockDevice | EntryKind::Fifo => {
                if self.options.purpose == Purpose::Scratch {
                    return Ok(());
                }
                self.make_node(entry, path)?;
            }
        }
        self.applied.entries += 1;
        if self.applied.implied.remove(path.path()) {
            self.implied_bytes -= path.path().len();
        }
        Ok(())
    }

    fn take_root(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != EntryKind::Directory {
            return Err(malformed("the archive's root is not a directory"));
        }
        if self.options.purpose == Purpose::Scratch {
            return Ok(());
        }
        self.maker.complete_directory(self.root.root(), entry, b".", false)?;
        self.deferred.push(self.work, b"", entry.mtime, entry.mode)?;
        self.applied.implied.remove(&b""[..]);
        self.applied.entries += 1;
        Ok(())
    }

    fn make_directory(&mut self, entry: &Entry, path: &CleanPath) -> Result<()> {
        let is_layer = self.options.purpose == Purpose::Layer;
        let parent = self.parent(path, &entry.path)?;
        let mode = Mode::from_raw_mode(present_mode(entry.mode));
        let (mut is_new, mut is_opaque) = (true, false);
        match mkdirat(parent, path.leaf(), mode) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let present = stat(parent, path.leaf(), &entry.path)?;
                if FileType::from_raw_mode(present.st_mode) == FileType::Directory {
                    is_new = false;
                } else {
                    // Whether a whiteout or a file of this layer: what lies below is hidden, and stays so.
                    is_opaque = is_layer;
                    unlink(parent, path.leaf(), &entry.path)?;
                    mkdirat(parent, path.leaf(), mode).map_err(|errno| failure("make", &entry.path, errno))?;
                }
            }
            Err(errno) => return Err(failure("make", &entry.path, errno)),
        }
        let fd = open_child(parent, path.leaf()).map_err(|errno| failure("open", &entry.path, errno))?;
        if is_opaque {
            whiteout::set_opaque(fd.as_fd(), &entry.path)?;
        }
        if !is_layer {
            self.root.remember(path.path(), fd);
            return Ok(());
        }
        self.maker.complete_directory(fd.as_fd(), entry, &entry.path, is_new)?;
        self.root.remember(path.path(), fd);
        self.deferred.push(self.work, path.path(), entry.mtime, entry.mode)
    }

    fn make_file(&mut self, entry: &Entry, path: &CleanPath) -> Result<()> {
        self.applied.disk_bytes = self.applied.disk_bytes.saturating_add(entry.size);
        if self.applied.disk_bytes > self.options.max_bytes {
            return Err(too_large(self.options.max_bytes));
        }
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = match self.options.purpose {
            Purpose::Layer => entry.mode,
            Purpose::Scratch => 0o600,
        };
        let fd = self.make_anew(entry, path, |parent, leaf| openat(parent, leaf, flags, Mode::from_raw_mode(mode)))?;
        if entry.is_sparse {
            self.write_sparse(entry, &fd)?;
        } else {
            self.write_whole(entry, &fd)?;
        }
        if self.options.purpose == Purpose::Scratch {
            return Ok(());
        }
        self.maker.complete_file(fd.as_fd(), entry, &entry.path)
    }

    fn write_whole(&mut self, entry: &Entry, fd: &OwnedFd) -> Result<()> {
        loop {
            let data = self.archive.data()?;
            if data.is_empty() {
                return Ok(());
            }
            let count = retry(|| write(fd, data)).map_err(|errno| failure("write", &entry.path, errno))?;
            self.archive.consume(count);
            if let Some(progress) = self.options.progress {
                progress.check()?;
            }
        }
    }

    fn write_sparse(&mut self, entry: &Entry, fd: &OwnedFd) -> Result<()> {
        for segment in &entry.segments {
            let mut done = 0;
            while done < segment.length {
                let data = self.archive.data()?;
                let length = usize::try_from(segment.length - done).unwrap_or(usize::MAX).min(data.len());
                let written = retry(|| pwrite(fd, &data[..length], segment.offset + done));
                let count = written.map_err(|errno| failure("write", &entry.path, errno))?;
                self.archive.consume(count);
                done += count as u64;
            }
        }
        ftruncate(fd, entry.size).map_err(|errno| failure("set the size of", &entry.path, errno))
    }

    fn make_node(&mut self, entry: &Entry, path: &CleanPath) -> Result<()> {
        let (kind, device) = match entry.kind {
            EntryKind::CharDevice if entry.device == (0, 0) => {
                let name = display(&entry.path);
                return Err(hostile(format!("entry `{name}` is the device 0:0, which overlayfs takes for a whiteout")));
            }
            EntryKind::CharDevice => (FileType::CharacterDevice, entry.device),
            EntryKind::BlockDevice => (FileType::BlockDevice, entry.device),
            _ => (FileType::Fifo, (0, 0)),
        };
        let device = rustix::fs::makedev(device.0, device.1);
        let mode = Mode::from_raw_mode(entry.mode);
        self.make_anew(entry, path, |parent, leaf| mknodat(parent, leaf, kind, mode, device))?;
        let maker = self.maker;
        maker.complete_node(self.parent(path, &entry.path)?, path.leaf(), entry, false)
    }

    /// Makes something that is no directory; what has its name is removed first.
    fn make_anew<T>(
        &mut self,
        entry: &Entry,
        path: &CleanPath,
        make: impl Fn(BorrowedFd<'_>, &[u8]) -> Result<T, Errno>,
    ) -> Result<T> {
        let parent = self.parent(path, &entry.path)?;
        match make(parent, path.leaf()) {
            Err(Errno::EXIST) => {
                self.remove_present(path, &entry.path)?;
                make(self.parent(path, &entry.path)?, path.leaf())
            }
            other => other,
        }
        .map_err(|errno| failure("make", &entry.path, errno))
    }

    fn remove_present(&mut self, path: &CleanPath, raw: &[u8]) -> Result<()> {
        let parent = self.parent(path, raw)?;
        if FileType::from_raw_mode(stat(parent, path.leaf(), raw)?.st_mode) != FileType::Directory {
            return unlink(parent, path.leaf(), raw);
        }
        let removed = ctr_sys::tree::remove_tree(parent, OsStr::from_bytes(path.leaf()));
        removed.map_err(|cause| failure("replace the directory", raw, cause))?;
        // Open descriptors of directories that are gone would swallow later entries, or fail them.
        self.root.forget();
        let prefix = [path.path(), b"/"].concat();
        self.applied.implied.retain(|implied| implied != path.path() && !implied.starts_with(&prefix));
        self.implied_bytes = self.applied.implied.iter().map(Vec::len).sum();
        Ok(())
    }

    /// The directory in which an entry is made; directories on the way are made when the archive has none.
    fn parent(&mut self, path: &CleanPath, raw: &[u8]) -> Result<BorrowedFd<'_>> {
        match self.root.directory(path.parent()) {
            Ok(_) => {}
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => self.make_parents(path, raw)?,
            Err(errno) => return Err(failure("open the parent directory of", raw, errno)),
        }
        // Asked again, from the cache: the borrow checker does not let the first answer out of the match.
        self.root.directory(path.parent()).map_err(|errno| failure("open the parent directory of", raw, errno))
    }

    fn make_parents(&mut self, path: &CleanPath, raw: &[u8]) -> Result<()> {
        let whole = path.parent();
        let mut start = 0;
        while start <= whole.len() {
            let end = whole[start..].iter().position(|byte| *byte == b'/').map_or(whole.len(), |slash| start + slash);
            let (above, leaf, here) = (&whole[..start.saturating_sub(1)], &whole[start..end], &whole[..end]);
            let parent = self.root.directory(above).map_err(|errno| failure("open a parent of", raw, errno))?;
            let mut is_opaque = false;
            let is_made = match mkdirat(parent, leaf, Mode::from_raw_mode(IMPLIED_MODE)) {
                Ok(()) => true,
                Err(Errno::EXIST) => {
                    let present = stat(parent, leaf, raw)?;
                    match FileType::from_raw_mode(present.st_mode) {
                        FileType::Directory => false,
                        FileType::Symlink => {
                            let (name, link) = (display(raw), display(here));
                            let message = format!("entry `{name}` goes through the symbolic link `{link}`");
                            return Err(hostile(message));
                        }
                        _ if is_whiteout(&present) && self.options.purpose == Purpose::Layer => {
                            unlink(parent, leaf, raw)?;
                            let made = mkdirat(parent, leaf, Mode::from_raw_mode(IMPLIED_MODE));
                            made.map_err(|errno| failure("make a parent of", raw, errno))?;
                            is_opaque = true;
                            true
                        }
                        _ => {
                            let (name, file) = (display(raw), display(here));
                            return Err(malformed(format!(
                                "entry `{name}` is beneath `{file}`, which is no directory"
                            )));
                        }
                    }
                }
                Err(errno) => return Err(failure("make a parent of", raw, errno)),
            };
            if is_made {
                let fd = open_child(parent, leaf).map_err(|errno| failure("open a parent of", raw, errno))?;
                let chmod = rustix::fs::fchmod(&fd, Mode::from_raw_mode(IMPLIED_MODE));
                chmod.map_err(|errno| failure("set the mode of a parent of", raw, errno))?;
                if is_opaque {
                    whiteout::set_opaque(fd.as_fd(), raw)?;
                }
                self.imply(here)?;
                self.root.remember(here, fd);
            }
            start = end + 1;
        }
        Ok(())
    }

    /// Notes a directory that the archive has no entry for (yet). Its time is the epoch: the same archive gives the same
    /// layer at any time.
    fn imply(&mut self, path: &[u8]) -> Result<()> {
        self.deferred.push(self.work, path, Timestamp::default(), IMPLIED_MODE)?;
        self.implied_bytes += path.len();
        if self.implied_bytes > MAX_IMPLIED_BYTES {
            let message = "the archive lacks entries for too many of its directories";
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        self.applied.implied.insert(path.to_vec());
        Ok(())
    }
}

fn stat(parent: BorrowedFd<'_>, leaf: &[u8], raw: &[u8]) -> Result<Stat> {
    statat(parent, leaf, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| failure("look at", raw, errno))
}

fn unlink(parent: BorrowedFd<'_>, leaf: &[u8], raw: &[u8]) -> Result<()> {
    unlinkat(parent, leaf, AtFlags::empty()).map_err(|errno| failure("replace", raw, errno))
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// The error of a failed system call for the entry `path`.
fn failure(action: &str, path: &[u8], cause: impl Into<std::io::Error>) -> Error {
    let cause: std::io::Error = cause.into();
    let errno = cause.raw_os_error().map(Errno::from_raw_os_error);
    let shown = display(path);
    let error = Error::io(action, Path::new(&shown), cause).context("cannot unpack the archive");
    match errno {
        Some(Errno::NAMETOOLONG | Errno::ILSEQ) => error.with_kind(ErrorKind::MalformedArchive),
        Some(Errno::LOOP | Errno::XDEV) => error.with_kind(ErrorKind::HostileArchive),
        _ => error,
    }
}
